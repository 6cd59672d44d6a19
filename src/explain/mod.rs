//! Finds the first tensor that went wrong: walks the network in order, with the inner tensors of the cell's artifact beside
//! those of the FP32 graph in ONNX Runtime.
//!
//! | module       | does                                                                              |
//! |--------------|-----------------------------------------------------------------------------------|
//! | `capture`    | runs probes through both sides in groups of tensors, and measures                 |
//! | `output`     | the output by the gate's own rule                                                  |
//! | `judge`      | which tensors leave the ladder, and why                                           |
//! | `several`    | models of several inputs: each output by its task, and what it is made of         |
//! | `engines`    | engines that show more and more of the tensors                                    |
//! | `search`     | of an engine: which tensors are marked as outputs, a few at a time                 |
//! | `versions`   | what several versions fused, their precisions and tactics                          |
//! | `report`     | the explanation as JSON and as a table                                            |
//!
//! A tensor leaves the ladder in one of these ways, looked for in this order at each layer:
//!
//! 1. A stored constant that the layer reads is not the FP32 graph's: its signal over noise is below the floor, or its
//!    scale is more than half a bit from that of its range.
//! 2. A value is not finite where FP32's is.
//! 3. Its signal over noise is below the floor, 6 dB less than sound outputs have (twice the noise), whose errors the layers
//!    behind average out; or it is the output, and leaves the limits of the gate's rule. Where the output keeps within them,
//!    noise inside is no fault.
//! 4. A Q/DQ pair on it has a scale more than half a bit from that which its calibration gives. Noise alone does not tell
//!    this: at 8 bits sound scales of one network lie up to 10 dB from the best one, by method and by tensor, while a
//!    doubled scale costs 6 dB. The range that the calibration samples give is reproduced to a few percent.

mod capture;
mod engines;
mod judge;
mod output;
mod report;
mod search;
mod several;
mod versions;
/// Walks a graph as explaining does, without running anything; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(crate) fn walk(model: &onnx::Model, input: &str) {
    let steps = graph::steps(model, input);
    let counterparts = Counterparts::of(model, &steps);
    for step in &steps {
        hidden(step, &steps, &counterparts, &[]);
    }
    constants::compare(model, model);
    ranges::walk(model);
}

use std::collections::BTreeMap;

use crate::check::ladder::Ladder;
use crate::convert::Artifact;
use crate::error::{Error, Result};
use crate::gate::inside::graph::{self, Counterparts, Step};
#[cfg(any(test, fuzzing))]
use crate::gate::inside::ranges;
use crate::gate::inside::side::{self, Side};
use crate::gate::inside::{calibrated, constants};
use crate::gate::own::is_own;
use crate::gate::{Workspace, planned};
use crate::manifest::OutputKind;
use crate::onnx;
use crate::plan::{Ability, Filter, PlannedCell};
use crate::runtime::Installation;
use crate::tensor::{Feeds, Tensor};
use crate::vocabulary::Layer;
use crate::vocabulary::{ArtifactKind, CellId, Library, RuntimeId, version_numbers};

use judge::Floors;

pub use versions::{Layers, versions};

pub use report::{ConstantRow, Explanation, Fault, Finding, OutputExplanation, PairRow, SCHEMA, TensorRow};

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub struct ExplainOptions {
    /// Probes that are run, spread over the whole set.
    pub probes: usize,
}

impl Default for ExplainOptions {
    fn default() -> Self {
        Self { probes: 32 }
    }
}

/// Walks the network of `id`, tensor by tensor.
///
/// # Errors
/// `Unsupported` for runtimes that show no inner tensors, `Missing` where the cell or ONNX Runtime cannot run here,
/// otherwise whatever converting, building, loading and running give.
pub fn explain(workspace: &Workspace, id: &CellId, options: &ExplainOptions) -> Result<Explanation> {
    let manifest = &workspace.manifest;
    if let Some(interface) = &manifest.interface {
        return several::explain(workspace, interface, id, options);
    }
    let cell = explainable(workspace, id)?;
    let reference = side::onnxruntime(workspace)?;
    let ladder = Ladder::built_in()?;
    let row = ladder.row(cell.id.runtime.library, cell.id.precision)?;

    let fp32 = workspace.artifact(ArtifactKind::OnnxPlain, None)?;
    let artifact = workspace.artifact(cell.artifact, None)?;
    let (fp32_model, model) = (onnx::read(&fp32.path)?, onnx::read(&artifact.path)?);
    let steps = graph::steps(&fp32_model, &manifest.input.name);
    let counterparts = Counterparts::of(&model, &steps);
    let mut notes = Vec::new();

    let progress = workspace.progress.begin(&format!("walking {} tensors of {}", steps.len(), cell.id));
    let probes = probes(workspace, options.probes)?;
    let mut expected = Side::reference(workspace, &reference, &fp32, cell.id.batch as usize, &names_of(&steps, 1))?;
    let names = engines::shown_at_first(&cell, &steps, &counterparts);
    let mut actual = Side::of_cell(workspace, &cell, &artifact, &names, &mut notes)?;
    let constants = constants::compare(&fp32_model, &model);
    progress.detail("ranges of the calibration samples");
    let ranges = calibrated_ranges(workspace, (&reference, &fp32), (artifact.kind, &counterparts), &mut notes);
    progress.detail("the artifact as it is gated");
    // Where half precision is emulated, nothing is fused: every tensor is rounded behind its node.
    let emulated = cell.id.runtime.library == Library::Onnxruntime && cell.artifact == ArtifactKind::OnnxFp16;
    let fed = Feeds::from(&probes);
    let as_gated = as_gated(workspace, &cell, &fed, &mut notes).filter(|_| !emulated);
    let verdict = output::judge(workspace, &cell.id, &mut expected, &mut actual, &probes, &mut notes);
    let floors = Floors {
        output: row.sqnr_db,
        output_name: &manifest.output.name,
        probabilities: manifest.output.kind == OutputKind::Probabilities,
        verdict: &verdict,
    };
    let beside = Beside { steps: &steps, counterparts: &counterparts, constants, ranges, as_gated };
    let first = |rows: &mut [TensorRow]| {
        beside.complete(rows);
        judge::judge(&steps, rows, floors)
    };
    let detail = |text: &str| progress.detail(text);
    let walk = capture::Walk {
        steps: &steps,
        counterparts: &counterparts,
        expected: &mut expected,
        actual: &mut actual,
        probes: &fed,
        detail: &detail,
    };
    let firsts = |rows: &mut [TensorRow]| first(rows).map(|found| found.index).into_iter().collect();
    let engines =
        engines::Engines { walk, workspace, cell: &cell, artifact: &artifact, notes: &mut notes, firsts: &firsts };
    let mut rows = engines.rows()?;
    let found = first(&mut rows);
    progress.finish();
    Ok(Explanation {
        schema: SCHEMA.to_owned(),
        model: manifest.model.name.clone(),
        cell: cell.id.clone(),
        version: cell.installation.as_ref().map(|installation| installation.version.clone()),
        reference: format!("FP32 in ONNX Runtime {}", reference.version),
        artifact: artifact.kind,
        artifact_sha256: artifact.sha256,
        probes: probes.batch(),
        floor_db: floors.inner(),
        output_floor_db: floors.output,
        leads: verdict.leads().cloned(),
        outputs: Vec::new(),
        found,
        tensors: rows,
        notes,
    })
}

/// The ranges that calibration gives the tensors which the artifact of `kind` quantises; none of a file of the project's own, which was
/// calibrated elsewhere, or where `notes` say why.
fn calibrated_ranges(
    workspace: &Workspace,
    (reference, fp32): (&Installation, &Artifact),
    (kind, counterparts): (ArtifactKind, &Counterparts),
    notes: &mut Vec<String>,
) -> BTreeMap<String, calibrated::Range> {
    if counterparts.pairs.is_empty() || is_own(&workspace.manifest, kind) {
        return BTreeMap::new();
    }
    let tensors: Vec<&str> = counterparts.pairs.keys().map(String::as_str).collect();
    calibrated::ranges(workspace, reference, fp32, &tensors).unwrap_or_else(|error| {
        notes.push(format!("scales are not held to their calibration: {error}"));
        BTreeMap::new()
    })
}

/// What is known of a walk's tensors beside their values.
struct Beside<'a> {
    steps: &'a [Step],
    counterparts: &'a Counterparts,
    /// The stored tensors of both graphs, compared.
    constants: BTreeMap<String, constants::Stored>,
    /// What the calibration samples take, by tensor.
    ranges: BTreeMap<String, calibrated::Range>,
    /// The layers of the artifact as it is gated.
    as_gated: Option<Vec<Layer>>,
}

impl Beside<'_> {
    /// Writes it into the rows of the steps, in their order.
    fn complete(&self, rows: &mut [TensorRow]) {
        for (row, step) in rows.iter_mut().zip(self.steps) {
            row.constants = constants_of(step, &self.constants);
            hold_pair(row, self.ranges.get(&step.tensor));
            row.hidden = self.as_gated.as_ref().and_then(|layers| hidden(step, self.steps, self.counterparts, layers));
        }
        judge::inherit(self.steps, rows);
    }
}

/// Holds the scale of the pair on a tensor to the range that its calibration gives.
fn hold_pair(row: &mut TensorRow, range: Option<&calibrated::Range>) {
    if let Some(pair) = &mut row.pair {
        pair.scale_ratio = range.zip(pair.scale).map(|(range, scale)| range.ratio(scale));
    }
}

/// What is known of the stored tensors that a step reads.
fn constants_of(step: &Step, compared: &BTreeMap<String, constants::Stored>) -> Vec<ConstantRow> {
    let of = |name: &String| {
        let stored = compared.get(name)?;
        Some(ConstantRow {
            name: name.clone(),
            sqnr_db: stored.sqnr_db,
            rounded: stored.rounded,
            scale_ratio: stored.scale_ratio,
        })
    };
    step.constants.iter().filter_map(of).collect()
}

/// The planned cell, if its runtime shows inner tensors.
fn explainable(workspace: &Workspace, id: &CellId) -> Result<PlannedCell> {
    let library = id.runtime.library;
    if library != Library::Onnxruntime && !library.builds_engines() {
        return Err(Error::unsupported(format!("`{library}` shows no inner tensors"))
            .hint("explain the same precision in `onnxruntime`, or a TensorRT that builds engines"));
    }
    let cell = planned(workspace, id)?;
    if cell.artifact == ArtifactKind::Engine {
        return Err(Error::unsupported(format!(
            "`{id}` runs an engine that was built elsewhere, and shows no inner tensors"
        ))
        .hint("take `engine` out of `[artifacts]` to explain the one that trtgate builds"));
    }
    Ok(cell)
}

/// The cell of `id` in every version here that its runtime names and that can build and run its engine, the oldest first.
fn planned_versions(workspace: &Workspace, id: &CellId) -> Result<Vec<CellId>> {
    let library = id.runtime.library;
    if !library.builds_engines() {
        return Err(Error::usage(format!(
            "`{library}` builds no engines, whose layers could be laid beside each other"
        ))
        .hint("name `tensorrt` or `tensorrt-rtx`, or a prefix of a version"));
    }
    let filter = Filter { runtimes: vec![id.runtime.clone()], precisions: vec![id.precision], ..Filter::default() };
    let planned = workspace.plan(&filter)?;
    let mut runtimes: Vec<RuntimeId> = planned
        .iter()
        .filter(|cell| matches!(cell.ability, Ability::Run))
        .map(|cell| cell.id.runtime.clone())
        .collect();
    runtimes.sort_by_cached_key(|runtime| version_numbers(runtime.version_text()));
    runtimes.dedup();
    if runtimes.len() < 2 {
        let mut error = Error::usage(format!(
            "`{}` names fewer than two versions that can run `{}` here",
            id.runtime, id.precision
        ))
        .hint("several folders in `TRTGATE_TENSORRT_PATH`, and `tensorrt` without a version, name several");
        let obstacles = planned.iter().filter_map(|cell| Some((&cell.id.runtime, cell.ability.obstacle()?)));
        let mut causes: Vec<String> =
            obstacles.map(|(runtime, obstacle)| format!("`{runtime}`: {}", obstacle.reason)).collect();
        causes.dedup();
        error.causes = causes;
        return Err(error);
    }
    Ok(runtimes.into_iter().map(|runtime| CellId { runtime, ..id.clone() }).collect())
}

/// Whether a layer answers with `tensor`.
fn shown_by(layer: &Layer, tensor: &str) -> bool {
    layer.outputs.iter().any(|output| plain(output) == tensor)
}

/// The tensors that nodes make: those behind the `inputs`.
fn names_of(steps: &[Step], inputs: usize) -> Vec<String> {
    steps.iter().skip(inputs).map(|step| step.tensor.clone()).collect()
}

/// Tensors of the artifact that stand for those of the steps.
fn wanted(steps: &[Step], counterparts: &Counterparts) -> Vec<String> {
    let mut names = Vec::new();
    for step in steps {
        let pair = counterparts.pairs.get(&step.tensor);
        let parts = pair.into_iter().flat_map(|pair| [pair.before.as_str(), pair.after.as_str()]);
        for name in parts.chain(counterparts.made.get(&step.tensor).map(String::as_str)) {
            if counterparts.made.contains(name) && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// `count` probes, evenly spread over the set.
fn probes(workspace: &Workspace, count: usize) -> Result<Tensor> {
    let samples = workspace.probes()?.samples()?;
    let total = samples.len();
    let count = count.clamp(1, total.max(1));
    let mut parts = Vec::with_capacity(count);
    for index in 0..count {
        let place = index * total / count;
        parts.push(samples.tensor(place..place + 1)?);
    }
    let Some(first) = parts.first() else { return Err(Error::invalid("there are no probes")) };
    let (name, mut shape) = (first.name.clone(), first.shape.clone());
    if let Some(batch) = shape.first_mut() {
        *batch = count;
    }
    Tensor::float32(name, shape, parts.into_iter().flat_map(Tensor::into_floats).collect())
}

/// Layers of the artifact as it is gated, with everything that the runtime fuses. That they cannot be listed spoils
/// nothing else.
fn as_gated(workspace: &Workspace, cell: &PlannedCell, probes: &Feeds, notes: &mut Vec<String>) -> Option<Vec<Layer>> {
    let found = crate::gate::OpenCell::open(workspace, &cell.id).and_then(|mut open| {
        // A fault of the optimised artifact alone shows in no inner tensor.
        open.run(&probes.first(1)?)?;
        open.layers()
    });
    match found {
        Ok(layers) => layers,
        Err(error) => {
            notes.push(format!("the artifact as it is gated does not run: {error}"));
            None
        }
    }
}

/// Where the gated artifact computes the step inside of another layer, and shows its tensor to nobody: that layer.
fn hidden(step: &Step, steps: &[Step], counterparts: &Counterparts, layers: &[Layer]) -> Option<String> {
    if step.operator == "Input" || shown(step, counterparts, layers).is_some() {
        return None;
    }
    if let Some(layer) = layers.iter().find(|layer| computes(layer, &step.layer)) {
        return Some(plain(&layer.name).to_owned());
    }
    // What fuses a tensor away answers with one that is behind it.
    let mut at = step;
    while let Some(next) = steps.iter().find(|next| next.inputs.contains(&at.tensor)) {
        if let Some(layer) = shown(next, counterparts, layers) {
            return Some(plain(&layer.name).to_owned());
        }
        at = next;
    }
    Some("another layer".to_owned())
}

/// Whether a layer of the gated artifact is called by the name of the graph's layer: TensorRT joins the names of what it
/// fuses, ONNX Runtime numbers what it replaces.
fn computes(layer: &Layer, name: &str) -> bool {
    let replaced = |part: &str| part.strip_prefix(name).is_some_and(|rest| rest.starts_with("_token_"));
    layer.name.split([' ', '+', ',', '(', ')', '{', '}']).any(|part| part == name || replaced(part))
}

/// The layer of the gated artifact that answers with the step's tensor, as it is or quantised.
fn shown<'a>(step: &Step, counterparts: &Counterparts, layers: &'a [Layer]) -> Option<&'a Layer> {
    let pair = counterparts.pairs.get(&step.tensor);
    let stands_for_it = |output: &String| {
        plain(output) == step.tensor
            || pair.is_some_and(|pair| *output == pair.after || pair.between.iter().any(|name| name == output))
    };
    layers.iter().find(|layer| layer.outputs.iter().any(stands_for_it))
}

/// A name without what ONNX Runtime adds where it changes a tensor's type or layout.
fn plain(name: &str) -> &str {
    let name = name.strip_prefix("InsertedPrecisionFreeCast_").unwrap_or(name);
    name.strip_suffix("_nchwc").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::gate::inside::samples_of_graphs::{fp32, quantised_for_cpus};

    fn layer(name: &str, output: &str) -> Layer {
        Layer {
            name: name.to_owned(),
            kind: String::new(),
            precision: None,
            declared: None,
            inside: false,
            tactic: None,
            compute: false,
            outputs: vec![output.to_owned()],
        }
    }

    #[test]
    fn a_fused_tensor_is_hidden_in_the_layer_that_answers_behind_it() {
        let steps = graph::steps(&fp32(), "x");
        let none = Counterparts::default();
        let layers = [layer("conv", "InsertedPrecisionFreeCast_relu:0_nchwc"), layer("dense", "logits")];
        let found: Vec<_> = steps.iter().map(|step| hidden(step, &steps, &none, &layers)).collect();
        assert_eq!(found, [None, Some("conv".to_owned()), None, None]);
        // The layer's own name goes before that of what stands behind it.
        let joined = [layer("relu", "relu:0"), layer("PWN(conv + relu_1)", "other")];
        assert_eq!(hidden(&steps[1], &steps, &none, &joined), Some("PWN(conv + relu_1)".to_owned()));
    }

    #[test]
    fn a_quantised_tensor_is_shown() {
        let steps = graph::steps(&fp32(), "x");
        let counterparts = Counterparts::of(&quantised_for_cpus(0.5), &steps);
        let layers = [layer("conv_token_0", "relu:0_QuantizeLinear_Output"), layer("clip", "clipped")];
        assert_eq!(hidden(&steps[1], &steps, &counterparts, &layers), Some("conv_token_0".to_owned()));
        assert_eq!(hidden(&steps[2], &steps, &counterparts, &layers), None);
        assert_eq!(hidden(&steps[3], &steps, &counterparts, &layers), Some("another layer".to_owned()));
    }
}
