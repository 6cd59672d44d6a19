//! Where the drill takes place: clean artifacts and a golden of the model, and copies of them with one fault each.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::check::golden::{Golden, Output};
use crate::convert::artifact::Artifact;
use crate::convert::bundle::{Beside, Bundle};
use crate::convert::{self, plant};
use crate::digest::digest_file;
use crate::error::{Error, Result};
use crate::findings::CellReport;
use crate::gate::{self, Options, RunOptions, Workspace};
use crate::plan::Filter;
use crate::vocabulary::{ArtifactKind, Library, Precision, RuntimeId, Status};

use super::faults::{Fault, How, SWAPPED_SLOTS, WEIGHTS, artifact_of};
use super::report::Outcome;
use super::tasks::{self, Planting};

/// The variable that a worker reads faults from.
const WORKER_FAULT: &str = "TRTGATE_TEST_FAULT";

/// The clean state, and the folder for everything that is planted.
pub(super) struct Field {
    /// Name of the model.
    pub(super) model: String,
    /// Batch size of every run.
    pub(super) batch: u32,
    options: Options,
    workspace: Workspace,
    artifacts: Vec<Artifact>,
    golden: Golden,
    /// The two answers that the probes give most often.
    classes: (usize, usize),
    precisions: Vec<Precision>,
    folder: TempDir,
}

impl Field {
    /// Exports what the cells of `precisions` start from, and asks the reference for a golden.
    pub(super) fn prepare(options: &Options, workspace: Workspace, precisions: &[Precision]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("trtgate-drill-")
            .tempdir()
            .map_err(|error| Error::io("make a folder in", &std::env::temp_dir(), error))?;
        let mut kinds: Vec<ArtifactKind> = precisions.iter().map(|&precision| artifact_of(precision)).collect();
        // What the proofs of coarser precisions look at beside their own artifact.
        kinds.extend([ArtifactKind::OnnxFp32, ArtifactKind::OnnxPlain]);
        kinds.sort();
        kinds.dedup();
        let mut artifacts = Vec::new();
        let several = workspace.manifest.interface.is_some();
        for kind in kinds {
            let artifact = workspace.artifact(kind, None)?;
            // A model that needs no other form for the converters has none.
            if artifact.kind == kind {
                artifacts.push(artifact);
            }
        }
        let golden = gate::golden_now(&workspace, "the drill's own")?;
        let answers = golden.outputs.first().filter(|_| !several).map(Output::answers).unwrap_or_default();
        let batch = workspace.manifest.batches.iter().copied().max().unwrap_or(1);
        Ok(Self {
            model: workspace.manifest.model.name.clone(),
            batch,
            options: options.clone(),
            classes: most_frequent(&answers, workspace.manifest.output.classes),
            workspace,
            artifacts,
            golden,
            precisions: precisions.to_vec(),
            folder,
        })
    }

    /// Runs the gate on the clean artifacts; returns why each cell that does not pass does not.
    pub(super) fn gate_clean(&self) -> Result<Vec<String>> {
        let run = self.run_in("clean", &self.artifacts, &self.golden, None, &self.precisions)?;
        let mut reasons: Vec<String> = self
            .precisions
            .iter()
            .filter(|&&precision| !run.iter().any(|cell| cell.precision == precision))
            .map(|precision| format!("onnxruntime {precision} was not run"))
            .collect();
        reasons.extend(run.iter().filter(|cell| cell.status != Status::Pass).map(|cell| {
            let reason = cell.reason.as_deref().unwrap_or("no reason given");
            format!("{} is `{}`: {reason}", cell.id(), cell.status)
        }));
        Ok(reasons)
    }

    /// Plants `fault` and runs the cell of `precision`; returns where it was planted, and what became of it.
    pub(super) fn gate_with(
        &self,
        fault: &Fault,
        precision: Precision,
        planting: &Planting,
    ) -> Result<(String, Outcome)> {
        let name = format!("{}-{precision}", fault.name);
        let target = artifact_of(precision);
        let (place, changed, golden, worker) = match fault.how {
            How::Artifact(planted) | How::Output(planted, _) => {
                let (place, artifact) = self.plant(planted, &name, target, planting)?;
                (place, Some(artifact), None, None)
            }
            How::CalibratedOnNoise => {
                let artifact = self.calibrated_on_noise(&name, target)?;
                ("every activation".to_owned(), Some(artifact), None, None)
            }
            How::FallsBack => {
                let fp32 = self.clean(ArtifactKind::OnnxFp32)?;
                ("the whole graph".to_owned(), Some(Artifact { kind: target, ..fp32.clone() }), None, None)
            }
            How::StaleGolden => ("every probe".to_owned(), None, Some(self.stale_golden()?), None),
            How::Slots if self.batch < 2 => {
                return Err(Error::unsupported("every batch of the manifest has one sample"));
            }
            How::Slots | How::State => ("the worker".to_owned(), None, None, planting.worker.as_deref()),
        };
        let artifacts = self.with(changed);
        let golden = golden.as_ref().unwrap_or(&self.golden);
        let cells = self.run_in(&name, &artifacts, golden, worker, &[precision])?;
        Ok((place, Outcome::of(cells.iter().find(|cell| cell.precision == precision))))
    }

    /// Changes one weight tensor by `amount` and runs the cell of `precision`.
    pub(super) fn gate_with_weight(&self, precision: Precision, amount: f64) -> Result<(String, Outcome)> {
        let name = format!("scan-{precision}-{amount}");
        let mut planting = self.plantings(&WEIGHTS)?.pop().unwrap_or_default();
        planting.arguments.retain(|(name, _)| *name != "amount");
        planting.arguments.push(("amount", amount.to_string()));
        let (place, artifact) = self.plant("weight", &name, artifact_of(precision), &planting)?;
        let cells = self.run_in(&name, &self.with(Some(artifact)), &self.golden, None, &[precision])?;
        Ok((place, Outcome::of(cells.iter().find(|cell| cell.precision == precision))))
    }

    fn clean(&self, kind: ArtifactKind) -> Result<&Artifact> {
        self.artifacts
            .iter()
            .find(|artifact| artifact.kind == kind)
            .ok_or_else(|| Error::unsupported(format!("the model has no `{kind}`")))
    }

    /// The places of `fault`, each planted by itself.
    ///
    /// # Errors
    /// `Unsupported`, where the model has none: why.
    pub(super) fn plantings(&self, fault: &Fault) -> Result<Vec<Planting>> {
        match &self.workspace.manifest.interface {
            Some(interface) => tasks::plantings(fault, interface, &self.golden),
            None => {
                let worker = (fault.how == How::Slots).then(|| SWAPPED_SLOTS.to_owned());
                Ok(vec![Planting { arguments: self.of_one_input(), worker }])
            }
        }
    }

    /// What the script is told of a classifier of one input.
    fn of_one_input(&self) -> Vec<(&'static str, String)> {
        let manifest = &self.workspace.manifest;
        let (_, _, channels) = manifest.input.image_size();
        let axis = match manifest.input.layout {
            _ if channels != 3 => None,
            crate::manifest::Layout::Nhwc => Some(3),
            crate::manifest::Layout::Nchw => Some(1),
            crate::manifest::Layout::Flat => None,
        };
        let mut arguments = vec![
            ("output", manifest.output.name.clone()),
            ("amount", "0.01".to_owned()),
            ("classes", manifest.output.classes.to_string()),
            ("first", self.classes.0.to_string()),
            ("second", self.classes.1.to_string()),
        ];
        arguments.extend(axis.map(|axis: i32| ("axis", axis.to_string())));
        arguments
    }

    fn plant(&self, fault: &str, name: &str, kind: ArtifactKind, planting: &Planting) -> Result<(String, Artifact)> {
        let folder = self.folder.path().join(format!("{name}.planted"));
        let (store, progress) = (&self.workspace.store, &*self.workspace.progress);
        let planted = plant::plant(store, progress, fault, &self.clean(kind)?.path, &folder, &planting.arguments)?;
        Ok((planted.place, artifact(kind, &planted.file)?))
    }

    fn calibrated_on_noise(&self, name: &str, kind: ArtifactKind) -> Result<Artifact> {
        let folder = self.folder.path().join(format!("{name}.planted"));
        let Workspace { manifest, store, progress, .. } = &self.workspace;
        let noise = plant::plant(store, &**progress, "noise", &self.workspace.calibration()?, &folder, &[])?;
        convert::artifact(manifest, store, kind, None, Some(&noise.file), &**progress)
    }

    /// The golden with each probe's answer at the probe before it.
    fn stale_golden(&self) -> Result<Golden> {
        let outputs = self.golden.outputs.iter().map(Output::of_others).collect::<Result<_>>()?;
        Ok(Golden { outputs, ..self.golden.clone() })
    }

    /// The clean artifacts, with `changed` in the place of its kind.
    fn with(&self, changed: Option<Artifact>) -> Vec<Artifact> {
        let kept = |artifact: &&Artifact| changed.as_ref().is_none_or(|changed| changed.kind != artifact.kind);
        let mut artifacts: Vec<Artifact> = self.artifacts.iter().filter(kept).cloned().collect();
        artifacts.extend(changed);
        artifacts
    }

    /// Gates ONNX Runtime's cells of `precisions` from `artifacts`, against `golden`.
    fn run_in(
        &self,
        name: &str,
        artifacts: &[Artifact],
        golden: &Golden,
        worker: Option<&str>,
        precisions: &[Precision],
    ) -> Result<Vec<CellReport>> {
        let place = self.folder.path().join(name);
        let clean = &self.workspace;
        let listed: Vec<(Option<u32>, Artifact)> = artifacts.iter().map(|artifact| (None, artifact.clone())).collect();
        // A model of several inputs has its samples in the golden.
        let one_input = clean.manifest.interface.is_none();
        // Samples of several inputs may come from files that nothing is calibrated on, and then there is no INT8.
        let calibrated = one_input || artifacts.iter().any(|artifact| artifact.kind == ArtifactKind::OnnxInt8Cpu);
        let calibration = calibrated.then(|| clean.calibration()).transpose()?;
        let probes = if one_input { gate::samples::carried_with_artifacts(clean)? } else { None };
        let natural = one_input.then(|| clean.natural()?.to_bytes()).transpose()?;
        let beside = Beside {
            calibration: calibration.as_deref(),
            probes: probes.as_ref(),
            natural: natural.as_deref(),
            // They are looked at anew: what was found of the clean ones says nothing of these.
            scales: &[],
        };
        let (model, digest) = (&clean.manifest.model.name, &clean.model_sha256);
        Bundle::write(&place, model, digest, &listed, &beside, &clean.manifest.calibration)?;
        let mut options =
            Options { artifacts: Some(place.clone()), own_artifacts: true, install: false, ..self.options.clone() };
        if let Some(fault) = worker {
            options.program.environment.push((WORKER_FAULT.to_owned(), fault.to_owned()));
        }
        let mut workspace = Workspace::open(&options)?;
        workspace.manifest.snapshots = place.join("snapshots");
        golden.write(&gate::golden_path(&workspace.manifest))?;
        let runtime = RuntimeId { library: Library::Onnxruntime, version: None };
        let filter = Filter {
            runtimes: vec![runtime],
            precisions: precisions.to_vec(),
            batches: vec![self.batch],
            ..Filter::default()
        };
        let report = gate::run(&workspace, &RunOptions { filter, ..RunOptions::default() })?;
        // What was planted is judged; the copies would fill the disk.
        remove(&place);
        remove(&self.folder.path().join(format!("{name}.planted")));
        Ok(report.cells)
    }
}

/// An artifact of a file that the store does not hold.
fn artifact(kind: ArtifactKind, path: &Path) -> Result<Artifact> {
    let bytes = std::fs::metadata(path).map_err(|error| Error::io("read", path, error))?.len();
    Ok(Artifact {
        kind,
        path: PathBuf::from(path),
        sha256: digest_file(path)?,
        bytes,
        build_seconds: 0.0,
        cached: false,
    })
}

/// Removes what is not needed any more; what stays goes with the drill's own folder.
fn remove(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
}

/// The two classes that are most often the answer.
fn most_frequent(answers: &[usize], classes: usize) -> (usize, usize) {
    let mut counts: Vec<(usize, usize)> =
        (0..classes.max(2)).map(|class| (answers.iter().filter(|&&answer| answer == class).count(), class)).collect();
    counts.sort_by_key(|&(count, class)| (std::cmp::Reverse(count), class));
    match counts.as_slice() {
        [(_, first), (_, second), ..] => (*first, *second),
        _ => (0, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_that_change_places_are_answers() {
        assert_eq!(most_frequent(&[3, 1, 3, 2, 1, 3], 5), (3, 1));
        assert_eq!(most_frequent(&[], 2), (0, 1));
        assert_eq!(most_frequent(&[4, 4], 5), (4, 0));
    }
}
