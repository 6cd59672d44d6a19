//! Manifest and machine to the cells, each with why it can or cannot run here.

pub mod shards;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::manifest::interface::Interface;
use crate::manifest::serve::Serve;
use crate::runtime::{Installation, Obstacle, Probe};
use crate::vocabulary::{ArtifactKind, CellId, CellPattern, Library, Precision, RuntimeId, ShapePoint, Status};

/// How far a cell can get on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "can")]
#[non_exhaustive]
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
#[non_exhaustive]
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
    /// Points of open shapes.
    pub shapes: Vec<ShapePoint>,
    /// Runtimes that are planned beside those found here, so that their absence is reported.
    pub also: Vec<RuntimeId>,
    /// Cells that are left out.
    pub without: Vec<CellPattern>,
    /// Of those that all this leaves, the cells that these name: a shard's.
    pub only: Option<Vec<CellId>>,
}

impl Filter {
    /// Whether `id` is wanted.
    pub fn wants(&self, id: &CellId) -> bool {
        (self.runtimes.is_empty() || self.runtimes.iter().any(|selector| selector.selects(&id.runtime)))
            && (self.precisions.is_empty() || self.precisions.contains(&id.precision))
            && (self.batches.is_empty() || self.batches.contains(&id.batch))
            && (self.shapes.is_empty() || id.shape.as_ref().is_some_and(|shape| self.shapes.contains(shape)))
            && !self.without.iter().any(|without| without.takes(id))
            && self.only.as_ref().is_none_or(|only| only.iter().any(|named| named.selects(id)))
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
    let points = points(manifest);
    for row in &manifest.matrix {
        let probe = probes.iter().find(|(library, _)| *library == row.library).map(|(_, probe)| probe);
        for target in targets(row.library, probe, filter, manifest) {
            for &precision in &row.precisions {
                let cells_of =
                    manifest.batches.iter().flat_map(|batch| points.iter().map(move |point| (*batch, point)));
                for (batch, shape) in cells_of.filter(|(batch, point)| is_held(manifest, *batch, point)) {
                    let id = CellId { runtime: target.id.clone(), precision, batch, shape: shape.clone() };
                    if !filter.wants(&id) {
                        continue;
                    }
                    let shipped = manifest.own_engine(row.library, precision).is_some();
                    let artifact = if shipped { ArtifactKind::Engine } else { row.library.source(precision) };
                    let ability = too_large(&target, batch).unwrap_or_else(|| ability(&target, precision, shipped));
                    cells.push(PlannedCell { id, artifact, installation: target.installation.cloned(), ability });
                }
            }
        }
    }
    if cells.is_empty()
        && let [batch, ..] = filter.batches.as_slice()
        && let [shape, ..] = filter.shapes.as_slice()
        && !is_held(manifest, *batch, &Some(shape.clone()))
    {
        return Err(Error::usage(format!("no optimization profile holds batch {batch} of the shape `{shape}`"))
            .hint("`[[engine.profile]]` in the manifest says what is gated together"));
    }
    Ok(cells)
}

/// Whether a profile of the manifest holds samples of `point` in batches of `batch`: what no engine is built for, nobody runs.
fn is_held(manifest: &Manifest, batch: u32, point: &Option<ShapePoint>) -> bool {
    manifest.interface.as_ref().is_none_or(|interface| !interface.profiles_of(batch, point.as_ref()).is_empty())
}

/// The points of open shapes; one of none where the model has one shape.
fn points(manifest: &Manifest) -> Vec<Option<ShapePoint>> {
    manifest.interface.as_ref().map_or_else(|| vec![None], Interface::points)
}

/// One runtime that a row of the matrix stands for.
struct Target<'a> {
    id: RuntimeId,
    installation: Option<&'a Installation>,
    obstacle: Option<Obstacle>,
}

/// The installations of a library; where none is here, the versions that the filter names, or the bare library. Of a server what the
/// manifest names, here or not.
fn targets<'a>(library: Library, probe: Option<&'a Probe>, filter: &Filter, manifest: &Manifest) -> Vec<Target<'a>> {
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
    for id in served(manifest).filter(|id| id.library == library) {
        if targets.iter().all(|target| target.id != id) {
            targets.push(Target { id, installation: None, obstacle: Some(missing()) });
        }
    }
    let named = filter.runtimes.iter().chain(&filter.also);
    for wanted in named.filter(|wanted| wanted.library == library && !library.is_served()) {
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

/// The runtimes that the manifest's server is asked as.
fn served(manifest: &Manifest) -> impl Iterator<Item = RuntimeId> {
    manifest.serve.iter().flat_map(Serve::runtimes)
}

/// What keeps a served model from a batch that its server says it does not take: no request is sent.
fn too_large(target: &Target<'_>, batch: u32) -> Option<Ability> {
    let installation = target.installation.filter(|installation| installation.run_obstacle.is_none())?;
    let largest = installation.served.as_ref()?.largest_batch.filter(|&largest| batch > largest)?;
    let reason = format!("the server takes batches of up to {largest} (`max_batch_size`)");
    Some(Ability::Nothing(Obstacle::unsupported(reason)))
}

/// How far a cell of `target` can get; one that runs an engine that `shipped` needs nothing that builds.
fn ability(target: &Target<'_>, precision: Precision, shipped: bool) -> Ability {
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
    if shipped {
        return installation.run_obstacle.clone().map_or(Ability::Run, Ability::Nothing);
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
    let asks = |wanted: &RuntimeId| match wanted.library.is_served() {
        true => served(manifest).any(|own| wanted.selects(&own)),
        false => manifest.matrix.iter().any(|row| row.library == wanted.library),
    };
    let libraries = manifest.matrix.iter().map(|row| row.library).filter(|library| !library.is_served());
    let known: Vec<String> =
        libraries.map(|library| library.to_string()).chain(served(manifest).map(|own| own.to_string())).collect();
    let known = known.join(", ");
    if let Some(wanted) = filter.runtimes.iter().find(|wanted| !asks(wanted)) {
        return Err(
            Error::usage(format!("the manifest asks nothing of `{wanted}`")).hint(format!("its runtimes are {known}"))
        );
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
    for without in &filter.without {
        let CellPattern { runtime, precision, batch } = without;
        let row = manifest.matrix.iter().find(|row| row.library == runtime.library);
        let asked = row.is_some_and(|row| precision.is_none_or(|precision| row.precisions.contains(&precision)));
        if !asked || !asks(runtime) || batch.is_some_and(|batch| !manifest.batches.contains(&batch)) {
            return Err(Error::usage(format!("`--exclude {runtime}…` leaves out what the manifest does not ask for"))
                .hint(format!("its runtimes are {known}; `[matrix]` has their precisions and batches")));
        }
    }
    let points = points(manifest);
    if let Some(wanted) = filter.shapes.iter().find(|wanted| !points.contains(&Some((*wanted).clone()))) {
        let known: Vec<String> = points.iter().flatten().map(ShapePoint::to_string).collect();
        let hint = if known.is_empty() { "it has one shape".to_owned() } else { format!("it has {}", known.join(" ")) };
        return Err(Error::usage(format!("the manifest has no shape `{wanted}`")).hint(hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
