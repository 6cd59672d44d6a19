//! One side of the comparison: an artifact with its inner tensors as outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::convert::Artifact;
use crate::error::{Error, Result};
use crate::files;
use crate::gate::Workspace;
use crate::gate::engine::{Site, engine};
use crate::gate::inside::divide::divide;
use crate::gate::own::may_hold_halves;
use crate::onnx;
use crate::plan::PlannedCell;
use crate::runtime::{Installation, OpenRequest, SessionOptions};
use crate::tensor::{ElementType, Feed, Tensor, TensorSpec};
use crate::vocabulary::{CellId, Library, Precision};
use crate::worker::Worker;

/// Engines that are tried at most for one side.
const MOST_BUILDS: usize = 12;

/// ONNX Runtime on this machine, which computes the reference.
pub(crate) fn onnxruntime(workspace: &Workspace) -> Result<Installation> {
    let probes = &workspace.discovery.probes;
    let probe = probes.iter().find(|(library, _)| *library == Library::Onnxruntime).map(|(_, probe)| probe);
    probe.and_then(|probe| probe.found.first()).cloned().ok_or_else(|| {
        let mut error = Error::missing("inner tensors are compared with ONNX Runtime's, which is not on this machine");
        if let Some(obstacle) = probe.and_then(|probe| probe.missing.as_ref()) {
            error.causes.clone_from(&obstacle.tried);
            error.hint.clone_from(&obstacle.hint);
        }
        error
    })
}

/// One artifact whose inner tensors are outputs, with a worker of its own. An engine that cannot be built with all of
/// them as outputs becomes several, each showing some.
pub(crate) struct Side {
    worker: Worker,
    parts: Vec<Part>,
    /// Engines that were tried.
    builds: usize,
    _folder: TempDir,
}

/// A file that shows some of the tensors.
struct Part {
    request: OpenRequest,
    /// Outputs that can be shown: floating point, one row a sample.
    shown: BTreeMap<String, TensorSpec>,
    /// Whether the file takes one batch size only.
    pad: bool,
}

impl Side {
    /// The FP32 graph in ONNX Runtime.
    pub(crate) fn reference(
        workspace: &Workspace,
        installation: &Installation,
        artifact: &Artifact,
        batch: usize,
        names: &[String],
    ) -> Result<Self> {
        let batch = u32::try_from(batch).unwrap_or(u32::MAX);
        let cell = CellId { runtime: installation.id.clone(), precision: Precision::Fp32, batch, shape: None };
        Self::onnx(workspace, installation, artifact, &cell, names, false)
    }

    /// The artifact of `cell`; engines are built for it with `names` marked as outputs. What it cannot show is told in
    /// `notes`.
    pub(crate) fn of_cell(
        workspace: &Workspace,
        cell: &PlannedCell,
        artifact: &Artifact,
        names: &[String],
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let installation =
            cell.installation.as_ref().ok_or_else(|| Error::missing("the runtime is not on this machine"))?;
        if !installation.id.library.builds_engines() {
            let optimize = optimised(cell.id.precision);
            return Self::onnx(workspace, installation, artifact, &cell.id, names, optimize);
        }
        let worker = Worker::start(&workspace.program.loading(installation), workspace.limits)?;
        let mut side = Self { worker, parts: Vec::new(), builds: 0, _folder: temporary_folder()? };
        side.show(workspace, cell, artifact, names, notes)?;
        Ok(side)
    }

    /// Builds an engine of `cell` with `names` marked as outputs, and more where one cannot show them all: what it shows is shown
    /// from now on. Without names that is the engine as it is gated, which the store has.
    pub(crate) fn show(
        &mut self,
        workspace: &Workspace,
        cell: &PlannedCell,
        artifact: &Artifact,
        names: &[String],
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let installation =
            cell.installation.as_ref().ok_or_else(|| Error::missing("the runtime is not on this machine"))?;
        let mut site = Site::of(workspace, cell.id.precision == Precision::Int8Calibrated)?;
        let (worker, builds) = (&mut self.worker, &mut self.builds);
        let made = divide(names, MOST_BUILDS.saturating_sub(*builds).max(1), &mut |names| {
            *builds += 1;
            names.clone_into(&mut site.mark_outputs);
            let precision = cell.id.precision;
            let made = engine(&site, installation, precision, artifact, &mut |request| worker.build(request));
            if made.is_err() {
                // What failed may have taken the worker with it.
                *worker = Worker::start(&workspace.program.loading(installation), workspace.limits)?;
            }
            made
        })?;
        notes.extend(made.note(&format!("`{}`", cell.id.runtime)));
        for engine in &made.made {
            let path = engine.path.clone();
            self.parts.push(Part::open(workspace, &mut self.worker, installation, (engine, path), &cell.id, false)?);
        }
        Ok(())
    }

    fn onnx(
        workspace: &Workspace,
        installation: &Installation,
        artifact: &Artifact,
        cell: &CellId,
        names: &[String],
        optimize: bool,
    ) -> Result<Self> {
        let folder = temporary_folder()?;
        let bytes =
            files::read(&artifact.path, files::GRAPH).map_err(|error| Error::io("read", &artifact.path, error))?;
        let path = folder.path().join("shown.onnx");
        let shown = onnx::append_outputs(&bytes, names.iter().map(String::as_str))?;
        std::fs::write(&path, shown).map_err(|error| Error::io("write", &path, error))?;
        let mut worker = Worker::start(&workspace.program.loading(installation), workspace.limits)?;
        let part = Part::open(workspace, &mut worker, installation, (artifact, path), cell, optimize)?;
        Ok(Self { worker, parts: vec![part], builds: 0, _folder: folder })
    }

    /// Whether tensor `name` can be shown.
    pub(crate) fn shows(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part.shown.contains_key(name))
    }

    /// Values of one sample of a tensor, where they can be told beforehand.
    pub(crate) fn values_per_sample(&self, name: &str) -> Option<usize> {
        let spec = self.parts.iter().find_map(|part| part.shown.get(name))?;
        spec.shape.iter().skip(1).copied().product()
    }

    /// Runs `probes` and returns the outputs `names`, by name, each from the first file that shows it.
    pub(crate) fn run(&mut self, names: &BTreeSet<String>, probes: &impl Feed) -> Result<BTreeMap<String, Tensor>> {
        let mut rest = names.clone();
        let mut found = BTreeMap::new();
        for part in &mut self.parts {
            let (here, elsewhere): (BTreeSet<String>, _) =
                rest.into_iter().partition(|name| part.shown.contains_key(name));
            rest = elsewhere;
            if here.is_empty() {
                continue;
            }
            part.request.options.outputs = here.into_iter().collect();
            self.worker.open(&part.request)?;
            let outcome = self.worker.run(probes, part.request.batch, part.pad)?;
            let floats = outcome.outputs.into_iter().map(Tensor::into_float32);
            found.extend(floats.map(|tensor| (tensor.name.clone(), tensor)));
        }
        Ok(found)
    }
}

impl Part {
    fn open(
        workspace: &Workspace,
        worker: &mut Worker,
        installation: &Installation,
        (artifact, path): (&Artifact, PathBuf),
        cell: &CellId,
        optimize: bool,
    ) -> Result<Self> {
        let run = &workspace.manifest.run;
        let mut request = OpenRequest {
            installation: installation.clone(),
            artifact: path,
            kind: artifact.kind,
            precision: cell.precision,
            batch: cell.batch as usize,
            options: SessionOptions {
                intra_threads: run.intra_threads,
                inter_threads: run.inter_threads,
                optimize,
                emulate_half: may_hold_halves(&workspace.manifest, artifact.kind),
                ..SessionOptions::default()
            },
        };
        let (signature, _) = worker.open(&request)?;
        let fixed = signature.inputs.first().and_then(|input| input.shape.first().copied().flatten());
        let one_row_a_sample = |spec: &TensorSpec| match spec.shape.first() {
            Some(Some(rows)) => Some(*rows) == fixed,
            Some(None) => true,
            None => false,
        };
        let floats = |spec: &TensorSpec| {
            matches!(spec.element_type, ElementType::Float32 | ElementType::Float16 | ElementType::Bfloat16)
        };
        let shown = signature
            .outputs
            .into_iter()
            .filter(|spec| floats(spec) && one_row_a_sample(spec))
            .map(|spec| (spec.name.clone(), spec))
            .collect();
        if let Some(fixed) = fixed {
            request.batch = fixed;
        }
        Ok(Self { request, shown, pad: fixed.is_some() })
    }
}

fn temporary_folder() -> Result<TempDir> {
    tempfile::tempdir().map_err(|error| Error::machine("cannot make a temporary folder").because(error))
}

/// Whether the artifact's own graph may be optimised while its inner tensors are shown: FP32 differs from the reference
/// in nothing else.
const fn optimised(precision: Precision) -> bool {
    matches!(precision, Precision::Fp32)
}

#[cfg(test)]
mod tests;
