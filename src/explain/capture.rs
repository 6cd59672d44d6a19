//! Both sides with their inner tensors as outputs, run in groups of tensors so that memory stays bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::convert::{Artifact, onnx};
use crate::error::{Error, Result};
use crate::explain::distance::{self, Distance};
use crate::explain::graph::{Counterparts, Step};
use crate::explain::report::{PairRow, TensorRow};
use crate::gate::Workspace;
use crate::gate::engine::{Site, engine};
use crate::plan::{PlannedCell, builds_engines};
use crate::runtime::{Installation, OpenRequest, SessionOptions};
use crate::tensor::{ElementType, Tensor, TensorSpec};
use crate::vocabulary::{CellId, Library, Precision};
use crate::worker::Worker;

/// Most bytes of tensors that one run hands over.
const GROUP_BYTES: usize = 64 << 20;

/// Bytes that a tensor of unknown size counts for.
const UNKNOWN_BYTES: usize = 16 << 20;

/// ONNX Runtime on this machine, which computes the reference.
pub(super) fn onnxruntime(workspace: &Workspace) -> Result<Installation> {
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

/// One artifact whose inner tensors are outputs, with a worker of its own.
pub(super) struct Side {
    worker: Worker,
    request: OpenRequest,
    /// Outputs that can be shown: floating point, one row a sample.
    shown: BTreeMap<String, TensorSpec>,
    /// Whether the artifact takes one batch size only.
    pad: bool,
    _folder: TempDir,
}

impl Side {
    /// The FP32 graph in ONNX Runtime.
    pub(super) fn reference(
        workspace: &Workspace,
        installation: &Installation,
        artifact: &Artifact,
        batch: usize,
        names: &[String],
    ) -> Result<Self> {
        let batch = u32::try_from(batch).unwrap_or(u32::MAX);
        let cell = CellId { runtime: installation.id.clone(), precision: Precision::Fp32, batch };
        Self::onnx(workspace, installation, artifact, &cell, names, false)
    }

    /// The artifact of `cell`; an engine is built for it with `names` marked as outputs.
    pub(super) fn of_cell(
        workspace: &Workspace,
        cell: &PlannedCell,
        artifact: &Artifact,
        names: &[String],
    ) -> Result<Self> {
        let installation =
            cell.installation.as_ref().ok_or_else(|| Error::missing("the runtime is not on this machine"))?;
        if !builds_engines(installation.id.library) {
            let optimize = super::optimised(cell.id.precision);
            return Self::onnx(workspace, installation, artifact, &cell.id, names, optimize);
        }
        let mut worker = Worker::start(&workspace.program, workspace.limits)?;
        let mut site = Site::of(workspace, cell.id.precision == Precision::Int8Calibrated)?;
        names.clone_into(&mut site.mark_outputs);
        let engine = engine(&site, installation, cell.id.precision, artifact, &mut |request| worker.build(request))?;
        let folder = temporary_folder()?;
        Self::open(workspace, worker, installation, (&engine, engine.path.clone()), &cell.id, false, folder)
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
        let bytes = std::fs::read(&artifact.path).map_err(|error| Error::io("read", &artifact.path, error))?;
        let path = folder.path().join("shown.onnx");
        let shown = onnx::append_outputs(&bytes, names.iter().map(String::as_str))?;
        std::fs::write(&path, shown).map_err(|error| Error::io("write", &path, error))?;
        let worker = Worker::start(&workspace.program, workspace.limits)?;
        Self::open(workspace, worker, installation, (artifact, path), cell, optimize, folder)
    }

    fn open(
        workspace: &Workspace,
        mut worker: Worker,
        installation: &Installation,
        (artifact, path): (&Artifact, PathBuf),
        cell: &CellId,
        optimize: bool,
        folder: TempDir,
    ) -> Result<Self> {
        let run = &workspace.manifest.run;
        let request = OpenRequest {
            installation: installation.clone(),
            artifact: path,
            kind: artifact.kind,
            precision: cell.precision,
            batch: cell.batch as usize,
            options: SessionOptions {
                intra_threads: run.intra_threads,
                inter_threads: run.inter_threads,
                optimize,
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
        let mut request = request;
        if let Some(fixed) = fixed {
            request.batch = fixed;
        }
        Ok(Self { worker, request, shown, pad: fixed.is_some(), _folder: folder })
    }

    /// Values of one sample of a tensor, where they can be told beforehand.
    pub(super) fn values_per_sample(&self, name: &str) -> Option<usize> {
        self.shown.get(name)?.shape.iter().skip(1).copied().product()
    }

    /// Runs `probes` and returns the outputs `names`, by name.
    fn run(&mut self, names: &BTreeSet<String>, probes: &Tensor) -> Result<BTreeMap<String, Tensor>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.request.options.outputs = names.iter().cloned().collect();
        self.worker.open(&self.request)?;
        let outcome = self.worker.run(probes, self.request.batch, self.pad)?;
        Ok(outcome.outputs.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect())
    }
}

fn temporary_folder() -> Result<TempDir> {
    tempfile::tempdir().map_err(|error| Error::machine("cannot make a temporary folder").because(error))
}

/// The tensors that one step needs: of the reference, and of the artifact.
fn needs(step: &Step, counterparts: &Counterparts, expected: &Side, actual: &Side) -> (Vec<String>, Vec<String>) {
    let reference = if expected.shown.contains_key(&step.tensor) { vec![step.tensor.clone()] } else { Vec::new() };
    let pair = counterparts.pairs.get(&step.tensor);
    let parts = pair.map_or_else(|| vec![step.tensor.clone()], |pair| vec![pair.before.clone(), pair.after.clone()]);
    (reference, parts.into_iter().filter(|name| actual.shown.contains_key(name)).collect())
}

/// Measures every step; rows come in the order of the steps.
pub(super) fn measure(
    steps: &[Step],
    counterparts: &Counterparts,
    expected: &mut Side,
    actual: &mut Side,
    probes: &Tensor,
    detail: &dyn Fn(&str),
) -> Result<Vec<TensorRow>> {
    let mut rows = Vec::with_capacity(steps.len());
    let mut rest = steps;
    while !rest.is_empty() {
        let (mut reference, mut own) = (BTreeSet::new(), BTreeSet::new());
        let (mut bytes, mut count) = (0, 0);
        for step in rest {
            let (wanted, parts) = needs(step, counterparts, expected, actual);
            let size =
                expected.values_per_sample(&step.tensor).map_or(UNKNOWN_BYTES, |values| 4 * values * probes.batch());
            let added = size * parts.len().max(1);
            if count > 0 && bytes + added > GROUP_BYTES {
                break;
            }
            bytes += added;
            count += 1;
            reference.extend(wanted);
            own.extend(parts);
        }
        let (group, after) = rest.split_at(count.max(1));
        if let Some(step) = group.first() {
            detail(&step.layer);
        }
        let reference = expected.run(&reference, probes)?;
        let own = actual.run(&own, probes)?;
        for step in group {
            rows.push(row(rows.len(), step, counterparts, &reference, &own, probes));
        }
        rest = after;
    }
    Ok(rows)
}

fn row(
    index: usize,
    step: &Step,
    counterparts: &Counterparts,
    reference: &BTreeMap<String, Tensor>,
    own: &BTreeMap<String, Tensor>,
    probes: &Tensor,
) -> TensorRow {
    let input = step.operator == "Input";
    let mut row = TensorRow::new(index, step);
    let Some(expected) = (if input { Some(probes) } else { reference.get(&step.tensor) }) else {
        row.not_measured = Some("it holds no floating-point values by sample".to_owned());
        return row;
    };
    let find = |name: &str| if input && name == step.tensor { Some(probes) } else { own.get(name) };
    let same = |tensor: &&Tensor| tensor.values.len() == expected.values.len();
    let pair = counterparts.pairs.get(&step.tensor);
    let measured: Option<Distance> = match pair {
        None => {
            find(&step.tensor).filter(same).map(|tensor| distance::of_floats(&expected.values, &tensor.values, false))
        }
        Some(pair) => {
            // A pair that clips at zero does the ReLU's work.
            let relu = pair.before != step.tensor && step.operator == "Relu";
            let before = find(&pair.before).filter(same);
            let after = find(&pair.after).filter(same);
            if pair.before == step.tensor || relu {
                row.before_pair_db =
                    before.map(|tensor| distance::of_floats(&expected.values, &tensor.values, relu).sqnr_db());
            }
            let own_sqnr_db = before.zip(after).filter(|_| row.before_pair_db.is_some()).map(|(before, after)| {
                let rectified: Vec<f32> =
                    before.values.iter().map(|&value| if relu && value < 0.0 { 0.0 } else { value }).collect();
                distance::of_floats(&rectified, &after.values, false).sqnr_db()
            });
            row.pair = Some(PairRow {
                name: pair.name.clone(),
                scale: pair.scale.map(|scale| scale * pair.levels),
                scale_after: pair.scale_after.map(|scale| scale * pair.levels),
                scale_ratio: None,
                own_sqnr_db,
            });
            after.map(|tensor| distance::of_floats(&expected.values, &tensor.values, false))
        }
    };
    match measured {
        Some(distance) => {
            row.sqnr_db = Some(distance.sqnr_db());
            row.max_abs = Some(distance.max_abs);
            row.spread = Some(distance.spread());
            row.not_finite = distance.not_finite;
        }
        None if input => row.sqnr_db = Some(crate::check::metrics::SQNR_EQUAL_DB),
        None => row.not_measured = Some("the artifact does not show it".to_owned()),
    }
    row
}
