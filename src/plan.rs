//! Manifest and machine to the cells, each with why it can or cannot run here.

pub mod shards;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::manifest::interface::Interface;
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
        for target in targets(row.library, probe, filter) {
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
    for without in &filter.without {
        let CellPattern { runtime, precision, batch } = without;
        let row = manifest.matrix.iter().find(|row| row.library == runtime.library);
        let asked = row.is_some_and(|row| precision.is_none_or(|precision| row.precisions.contains(&precision)));
        if !asked || batch.is_some_and(|batch| !manifest.batches.contains(&batch)) {
            let known: Vec<&str> = manifest.matrix.iter().map(|row| row.library.as_str()).collect();
            return Err(Error::usage(format!("`--exclude {runtime}…` leaves out what the manifest does not ask for"))
                .hint(format!("its runtimes are {}; `[matrix]` has their precisions and batches", known.join(", "))));
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::error::ErrorKind;

    fn manifest() -> Manifest {
        let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\nkind = \"logits\"\n[matrix]\nbatches = [1, 4]\n[matrix.runtimes]\n\
             onnxruntime = [\"fp32\", \"fp16\"]\ntensorrt = [\"fp32\"]\n";
        Manifest::parse(text, Path::new("gate.toml")).unwrap()
    }

    fn installed(id: &str) -> Installation {
        let id: RuntimeId = id.parse().unwrap();
        let family = id.library.on_gpu().then(|| "10".to_owned());
        Installation { family, ..Installation::plain(id, "10.11.0", "lib.so") }
    }

    fn found(ids: &[&str]) -> Probes {
        let of = |library: Library| {
            let found = ids.iter().map(|id| installed(id)).filter(|found| found.id.library == library).collect();
            (library, Probe { found, missing: None })
        };
        vec![of(Library::Onnxruntime), of(Library::Tensorrt)]
    }

    fn ids(cells: &[PlannedCell]) -> Vec<String> {
        cells.iter().map(|cell| cell.id.to_string()).collect()
    }

    #[test]
    fn every_row_gives_a_cell_for_each_precision_batch_and_version() {
        let probes = found(&["onnxruntime", "tensorrt@10.11.0", "tensorrt@8.5.3", "tensorrt@10.11.0"]);
        let cells = plan(&manifest(), &probes, &Filter::default()).unwrap();
        assert_eq!(
            ids(&cells),
            [
                "onnxruntime/fp32/batch-1",
                "onnxruntime/fp32/batch-4",
                "onnxruntime/fp16/batch-1",
                "onnxruntime/fp16/batch-4",
                "tensorrt@10.11.0/fp32/batch-1",
                "tensorrt@10.11.0/fp32/batch-4",
                "tensorrt@8.5.3/fp32/batch-1",
                "tensorrt@8.5.3/fp32/batch-4",
            ]
        );
        assert!(cells.iter().all(|cell| cell.ability == Ability::Run && cell.installation.is_some()));
        assert_eq!((cells[2].artifact, cells[4].artifact), (ArtifactKind::OnnxFp16, ArtifactKind::OnnxFp32));
    }

    /// What builds nothing runs what was built elsewhere, and what cannot build neither has to.
    #[test]
    fn an_engine_that_ships_is_run_without_building() {
        let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\n[artifacts]\nengine = { fp16 = \"m.plan\" }\n[matrix]\nbatches = [1]\n\
             [matrix.runtimes]\ntensorrt = [\"fp32\", \"fp16\"]\ntensorrt-lean = [\"fp16\", \"int8\"]\n";
        let manifest = Manifest::parse(text, Path::new("gate.toml")).unwrap();
        let no_parser = || Some(Obstacle::unavailable("no parser"));
        let of = |library: Library, id: &str| {
            let found = vec![Installation { build_obstacle: no_parser(), ..installed(id) }];
            (library, Probe { found, missing: None })
        };
        let mut probes =
            vec![of(Library::Tensorrt, "tensorrt@10.11.0"), of(Library::TensorrtLean, "tensorrt-lean@10.16.0")];
        let told = |probes: &Probes| {
            let cells = plan(&manifest, probes, &Filter::default()).unwrap();
            let told = |cell: &PlannedCell| format!("{} {} {}", cell.id, cell.artifact, cell.ability == Ability::Run);
            cells.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&probes),
            [
                "tensorrt@10.11.0/fp32/batch-1 onnx-fp32 false",
                "tensorrt@10.11.0/fp16/batch-1 engine true",
                "tensorrt-lean@10.16.0/fp16/batch-1 engine true",
                "tensorrt-lean@10.16.0/int8/batch-1 engine false",
            ]
        );
        for (_, probe) in &mut probes {
            probe.found[0].run_obstacle = Some(Obstacle::unavailable("no driver"));
        }
        assert!(told(&probes).iter().all(|told| told.ends_with("false")), "without a driver nothing runs");
    }

    /// Each profile's points in the batches that it holds, and none in others.
    #[test]
    fn points_are_planned_where_a_profile_holds_them() {
        let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nshape = [\"h\"]\n\
             values = { uniform = [0.0, 1.0] }\n[[output]]\nname = \"y\"\ntask = \"values\"\n[shapes]\nh = [1, 8]\n\
             [matrix]\nbatches = [1, 4]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n[[engine.profile]]\nh = [1, 1, 1]\n\
             [[engine.profile]]\nbatch = [1, 1, 1]\nh = [8, 8, 8]\n";
        let manifest = Manifest::parse(text, Path::new("gate.toml")).unwrap();
        let planned = |filter: &Filter| plan(&manifest, &found(&["onnxruntime"]), filter);
        assert_eq!(
            ids(&planned(&Filter::default()).unwrap()),
            ["onnxruntime/fp32/batch-1/h=1", "onnxruntime/fp32/batch-1/h=8", "onnxruntime/fp32/batch-4/h=1"]
        );
        let outside = Filter { batches: vec![4], shapes: vec!["h=8".parse().unwrap()], ..Filter::default() };
        let error = planned(&outside).unwrap_err();
        assert_eq!(error.message, "no optimization profile holds batch 4 of the shape `h=8`");
    }

    #[test]
    fn what_is_excluded_is_left_out_and_has_to_be_there() {
        let probes = found(&["onnxruntime", "tensorrt@10.11.0"]);
        let without = |patterns: &[&str]| Filter {
            without: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(),
            ..Filter::default()
        };
        let left = |patterns: &[&str]| ids(&plan(&manifest(), &probes, &without(patterns)).unwrap());
        assert_eq!(left(&["tensorrt", "onnxruntime/fp16"]), ["onnxruntime/fp32/batch-1", "onnxruntime/fp32/batch-4"]);
        assert_eq!(left(&["onnxruntime/fp16/batch-4", "tensorrt@10/fp32/1"]).len(), 4);
        // Another version is not here, and nothing is wrong with that.
        assert_eq!(left(&["tensorrt@8.5"]).len(), 6);
        for wrong in ["litert", "tensorrt/int8", "onnxruntime/fp32/2"] {
            assert_eq!(plan(&manifest(), &probes, &without(&[wrong])).unwrap_err().kind, ErrorKind::Usage, "{wrong}");
        }
        for wrong in ["", "onnxruntime/fp33", "onnxruntime/fp32/x", "onnxruntime/fp32/1/2"] {
            assert!(wrong.parse::<CellPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_filter_takes_the_cells_that_fit_all_its_parts() {
        let probes = found(&["onnxruntime", "tensorrt@10.11.0"]);
        let filter = Filter {
            runtimes: vec!["onnxruntime".parse().unwrap(), "tensorrt@10".parse().unwrap()],
            precisions: vec![Precision::Fp32],
            batches: vec![4],
            ..Filter::default()
        };
        let cells = plan(&manifest(), &probes, &filter).unwrap();
        assert_eq!(ids(&cells), ["onnxruntime/fp32/batch-4", "tensorrt@10.11.0/fp32/batch-4"]);
    }

    /// What is named and not here is planned all the same, so that its absence is told; what is here stands for any name that
    /// selects it.
    #[test]
    fn a_version_that_is_named_and_not_here_is_a_cell_of_its_own() {
        let named = |runtimes: &[&str], also: &[&str], here: &[&str]| {
            let parse = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
            let filter = Filter { runtimes: parse(runtimes), also: parse(also), batches: vec![1], ..Filter::default() };
            let cells = plan(&manifest(), &found(here), &filter).unwrap();
            let told = |cell: &PlannedCell| {
                let reason = cell.ability.obstacle().map(|obstacle| obstacle.reason.clone()).unwrap_or_default();
                (cell.id.runtime.to_string(), reason)
            };
            cells.iter().filter(|cell| cell.id.runtime.library == Library::Tensorrt).map(told).collect::<Vec<_>>()
        };
        let here = |version: &str| (version.to_owned(), String::new());
        let gone = |version: &str| (version.to_owned(), format!("`{version}` is not on this machine"));
        assert_eq!(named(&["tensorrt@8"], &[], &["tensorrt@10.11.0"]), [gone("tensorrt@8")]);
        assert_eq!(named(&["tensorrt@10"], &[], &["tensorrt@10.11.0"]), [here("tensorrt@10.11.0")]);
        assert_eq!(named(&["tensorrt"], &[], &[]), [gone("tensorrt")]);
        assert_eq!(
            named(&[], &["tensorrt@8.5"], &["tensorrt@10.11.0"]),
            [here("tensorrt@10.11.0"), gone("tensorrt@8.5")]
        );
        assert_eq!(named(&[], &[], &[]), [gone("tensorrt")]);
    }

    /// What is in the way of building and of running, and what a cell can do then. A known impossibility says more than an
    /// absence, and damage more than either.
    #[rstest]
    #[case(None, None, "run")]
    #[case(None, Some(Status::Unavailable), "build")]
    #[case(Some(Status::Unavailable), None, "build obstacle")]
    #[case(Some(Status::Unavailable), Some(Status::Unavailable), "build obstacle")]
    #[case(Some(Status::Unavailable), Some(Status::Unsupported), "run obstacle")]
    #[case(Some(Status::Unsupported), Some(Status::Unavailable), "build obstacle")]
    #[case(Some(Status::Unsupported), Some(Status::Invalid), "run obstacle")]
    #[case(None, Some(Status::Invalid), "run obstacle")]
    fn obstacles_decide_how_far_a_cell_gets(
        #[case] build: Option<Status>,
        #[case] run: Option<Status>,
        #[case] expected: &str,
    ) {
        let obstacle = |status: Option<Status>, reason: &str| {
            status.map(|status| Obstacle { status, ..Obstacle::unavailable(reason) })
        };
        let mut probes = found(&["onnxruntime", "tensorrt@10.11.0"]);
        for installation in probes.iter_mut().flat_map(|(_, probe)| &mut probe.found) {
            installation.build_obstacle = obstacle(build, "build obstacle");
            installation.run_obstacle = obstacle(run, "run obstacle");
        }
        let cells = plan(&manifest(), &probes, &Filter::default()).unwrap();
        let told = |ability: &Ability| match ability {
            Ability::Run => "run".to_owned(),
            Ability::BuildOnly(obstacle) => {
                assert_eq!(obstacle.reason, "run obstacle");
                "build".to_owned()
            }
            Ability::Nothing(obstacle) => obstacle.reason.clone(),
        };
        assert_eq!(told(&cells[4].ability), expected);
        // What builds nothing is not built where it cannot run.
        let plain = if expected == "build" { "run obstacle" } else { expected };
        assert_eq!(told(&cells[0].ability), plain);
    }

    #[test]
    fn a_precision_that_a_release_does_not_have_is_unsupported() {
        let mut probes = found(&["onnxruntime", "tensorrt@10.11.0"]);
        probes[1].1.found[0].family = Some("unheard-of".to_owned());
        let cells = plan(&manifest(), &probes, &Filter::default()).unwrap();
        let obstacle = cells[4].ability.obstacle().unwrap();
        assert_eq!((obstacle.status, obstacle.hint.is_some()), (Status::Unsupported, true));
        assert!(matches!(cells[4].ability, Ability::Nothing(_)));
    }

    #[rstest]
    #[case(Filter { runtimes: vec!["litert".parse().unwrap()], ..Filter::default() }, "its runtimes are onnxruntime, tensorrt")]
    #[case(Filter { precisions: vec![Precision::Int8], ..Filter::default() }, "lists the precisions of each runtime")]
    #[case(
        Filter { runtimes: vec!["tensorrt".parse().unwrap()], precisions: vec![Precision::Fp16], ..Filter::default() },
        "lists the precisions of each runtime"
    )]
    #[case(Filter { batches: vec![1, 2], ..Filter::default() }, "its batches are 1, 4")]
    fn what_the_manifest_does_not_ask_for_is_refused(#[case] filter: Filter, #[case] hint: &str) {
        let error = plan(&manifest(), &found(&["onnxruntime"]), &filter).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage);
        assert!(error.hint.unwrap().ends_with(hint));
    }
}
