//! Manifest and machine to the cells, each with why it can or cannot run here.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::runtime::{Installation, Obstacle, Probe};
use crate::vocabulary::{ArtifactKind, CellId, Library, Precision, RuntimeId, Status};

/// How far a cell can get on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "can")]
pub enum Ability {
    /// Everything.
    Run,
    /// The engine can be built, but not run.
    BuildOnly(Obstacle),
    /// Nothing.
    Nothing(Obstacle),
}

impl Ability {
    /// Why the cell cannot be run, if so.
    pub const fn obstacle(&self) -> Option<&Obstacle> {
        match self {
            Self::Run => None,
            Self::BuildOnly(obstacle) | Self::Nothing(obstacle) => Some(obstacle),
        }
    }
}

/// One cell of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCell {
    /// The cell.
    pub id: CellId,
    /// The portable artifact it starts from.
    pub artifact: ArtifactKind,
    /// The library that runs it, if it is here.
    pub installation: Option<Installation>,
    /// How far it can get.
    pub ability: Ability,
}

/// Which cells are wanted: empty lists want everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Runtimes, with or without version.
    pub runtimes: Vec<RuntimeId>,
    /// Precisions.
    pub precisions: Vec<Precision>,
    /// Batch sizes.
    pub batches: Vec<u32>,
    /// Runtimes that are planned beside those found here, so that their absence is reported.
    pub also: Vec<RuntimeId>,
}

impl Filter {
    /// Whether `id` is wanted.
    pub fn wants(&self, id: &CellId) -> bool {
        (self.runtimes.is_empty() || self.runtimes.iter().any(|selector| selector.selects(&id.runtime)))
            && (self.precisions.is_empty() || self.precisions.contains(&id.precision))
            && (self.batches.is_empty() || self.batches.contains(&id.batch))
    }
}

/// What was found of each library, in the order of the chain.
pub type Probes = Vec<(Library, Probe)>;

/// The cells of `manifest` on a machine where `probes` were found, in the order of the chain; those that `filter`
/// does not want are left out.
///
/// # Errors
/// If the filter names something that the manifest does not ask for: a gate that silently runs nothing proves nothing.
pub fn plan(manifest: &Manifest, probes: &Probes, filter: &Filter) -> Result<Vec<PlannedCell>> {
    check_filter(manifest, filter)?;
    let mut cells = Vec::new();
    for row in &manifest.matrix {
        let probe = probes.iter().find(|(library, _)| *library == row.library).map(|(_, probe)| probe);
        for target in targets(row.library, probe, filter) {
            for &precision in &row.precisions {
                for &batch in &manifest.batches {
                    let id = CellId { runtime: target.id.clone(), precision, batch };
                    if !filter.wants(&id) {
                        continue;
                    }
                    let artifact = row.library.source(precision);
                    let ability = ability(&target, precision);
                    cells.push(PlannedCell { id, artifact, installation: target.installation.cloned(), ability });
                }
            }
        }
    }
    Ok(cells)
}

/// One runtime that a row of the matrix stands for.
struct Target<'a> {
    id: RuntimeId,
    installation: Option<&'a Installation>,
    obstacle: Option<Obstacle>,
}

/// The installations of a library; where none is here, the versions that the filter names, or the bare library.
fn targets<'a>(library: Library, probe: Option<&'a Probe>, filter: &Filter) -> Vec<Target<'a>> {
    let mut targets: Vec<Target<'a>> = Vec::new();
    for installation in probe.map_or(&[][..], |probe| &probe.found) {
        if targets.iter().all(|target| target.id != installation.id) {
            targets.push(Target { id: installation.id.clone(), installation: Some(installation), obstacle: None });
        }
    }
    let missing = || {
        probe.and_then(|probe| probe.missing.clone()).unwrap_or_else(|| Obstacle {
            hint: Some("`trtgate doctor` lists what is here".to_owned()),
            ..Obstacle::unavailable(format!("`{library}` is not on this machine"))
        })
    };
    for wanted in filter.runtimes.iter().chain(&filter.also).filter(|wanted| wanted.library == library) {
        let satisfied = targets.iter().any(|target| wanted.selects(&target.id));
        if wanted.version.is_some() && !satisfied {
            let mut obstacle = missing();
            obstacle.reason = format!("`{wanted}` is not on this machine");
            targets.push(Target { id: wanted.clone(), installation: None, obstacle: Some(obstacle) });
        }
    }
    if targets.is_empty() {
        targets.push(Target { id: RuntimeId::unversioned(library), installation: None, obstacle: Some(missing()) });
    }
    targets
}

fn ability(target: &Target<'_>, precision: Precision) -> Ability {
    if let Some(obstacle) = &target.obstacle {
        return Ability::Nothing(obstacle.clone());
    }
    let Some(installation) = target.installation else {
        return Ability::Nothing(Obstacle::unavailable("the runtime is not on this machine"));
    };
    // What is damaged is not even known for what it can do.
    if let Some(damage) = installation.run_obstacle.as_ref().filter(|obstacle| obstacle.status == Status::Invalid) {
        return Ability::Nothing(damage.clone());
    }
    if let Err(obstacle) = crate::runtime::supports(installation, precision) {
        return Ability::Nothing(obstacle);
    }
    match (&installation.build_obstacle, &installation.run_obstacle) {
        (Some(build), Some(run)) => {
            // A known impossibility says more than an absence.
            let known = if run.status == Status::Unsupported { run } else { build };
            Ability::Nothing(known.clone())
        }
        (Some(build), None) => Ability::Nothing(build.clone()),
        (None, Some(run)) if installation.id.library.builds_engines() => Ability::BuildOnly(run.clone()),
        (None, Some(run)) => Ability::Nothing(run.clone()),
        (None, None) => Ability::Run,
    }
}

fn check_filter(manifest: &Manifest, filter: &Filter) -> Result<()> {
    for wanted in &filter.runtimes {
        if manifest.matrix.iter().all(|row| row.library != wanted.library) {
            let known: Vec<&str> = manifest.matrix.iter().map(|row| row.library.as_str()).collect();
            return Err(Error::usage(format!("the manifest asks nothing of `{wanted}`"))
                .hint(format!("its runtimes are {}", known.join(", "))));
        }
    }
    for wanted in &filter.precisions {
        let asked = manifest.matrix.iter().filter(|row| {
            filter.runtimes.is_empty() || filter.runtimes.iter().any(|selector| selector.library == row.library)
        });
        if !asked.clone().any(|row| row.precisions.contains(wanted)) {
            return Err(Error::usage(format!("no selected runtime is asked for `{wanted}`"))
                .hint("`[matrix.runtimes]` in the manifest lists the precisions of each runtime"));
        }
    }
    for wanted in &filter.batches {
        if !manifest.batches.contains(wanted) {
            let known: Vec<String> = manifest.batches.iter().map(u32::to_string).collect();
            return Err(Error::usage(format!("the manifest has no batch {wanted}"))
                .hint(format!("its batches are {}", known.join(", "))));
        }
    }
    Ok(())
}
