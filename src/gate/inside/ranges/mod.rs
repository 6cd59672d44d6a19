//! Why an FP16 cell failed, as far as the range of half precision tells: the FP32 graph run in ONNX Runtime with every float
//! tensor looked at, and its stored tensors against those of the FP16 graph.
//!
//! | module    | does                                                                                    |
//! |-----------|-----------------------------------------------------------------------------------------|
//! | `network` | the tensors in the network's order, who makes and reads them                            |
//! | `survey`  | what values they take on the samples                                                    |
//! | `effect`  | whether the output changes where what leaves the range is infinite                      |
//! | `mending` | what to change, for patterns that are known                                             |
//!
//! What is computed inside of branches and loops shows only in what they hand out.

mod effect;
mod mending;
mod network;
mod survey;

use std::collections::BTreeMap;

use prost::Message as _;
use prost::bytes::Bytes;

use crate::convert::Artifact;
use crate::error::{Error, Result};
use crate::files;
use crate::findings::ranges::{
    ALTERED_ABSOLUTE, ALTERED_RELATIVE, AlteredConstant, BEYOND, NEAR, RangeFinding, Ranges,
};
use crate::gate::Workspace;
use crate::gate::inside::side;
use crate::onnx::{Graph, Model, TensorData, inline, numbers};
use crate::runtime::Installation;
use crate::tensor::Tensor;
use crate::vocabulary::ArtifactKind;

use effect::Trials;
use network::{Item, Network, Span, label};
use survey::{Survey, gather};

/// Findings of a kind that a report holds; the others are counted.
const NAMED: usize = 8;

/// Tensors of a kind whose effect on the output is tried at most.
const TRIED: usize = 8;

/// Samples that an effect is tried on.
const TRIAL_SAMPLES: usize = 8;

/// Looks at the model's FP32 graph on `probes`, those of `first` before the others, and at the stored tensors of its FP16
/// graph `half`.
///
/// # Errors
/// If ONNX Runtime or the FP32 graph are not here, or do not run.
pub(crate) fn diagnose(
    workspace: &Workspace,
    half: Option<&Artifact>,
    probes: &Tensor,
    first: &[usize],
) -> Result<Ranges> {
    let installation = side::onnxruntime(workspace)?;
    let fp32 = read(&workspace.artifact(ArtifactKind::OnnxPlain, None)?)?;
    let half = half.map(read).transpose()?;
    examine(workspace, &installation, (&fp32, half.as_ref()), probes, first)
}

/// As [`diagnose`], of graphs that were read.
fn examine(
    workspace: &Workspace,
    installation: &Installation,
    (fp32, half): (&Model, Option<&Model>),
    probes: &Tensor,
    first: &[usize],
) -> Result<Ranges> {
    let network = Network::of(graph_of(fp32)?);
    let survey = Survey::run(workspace, installation, fp32, &network, probes, first)?;
    let mut trials = Trials::new(workspace, installation, fp32)?;
    let mut ranges = Ranges { samples: survey.samples.len(), unseen: network.unseen(), ..Ranges::default() };
    ranges.beyond.extend(input(probes));
    ranges.beyond_count += ranges.beyond.len();
    let mut tried = 0;
    for item in &network.items {
        let Some(span) = survey.spans.get(item.tensor).cloned().or_else(|| item.span()) else { continue };
        ranges.tensors += 1;
        if span.largest.abs() < f64::from(BEYOND) {
            if span.largest.abs() >= f64::from(NEAR) {
                ranges.near_count += 1;
                keep(&mut ranges.near, finding(item, &span, span.near), false);
            }
            continue;
        }
        ranges.beyond_count += 1;
        let mut found = finding(item, &span, span.beyond);
        // Behind the first that reaches the output, others follow from it.
        if tried < TRIED && ranges.cause().is_none() {
            tried += 1;
            let on = if span.samples_beyond.is_empty() { &survey.samples } else { &span.samples_beyond };
            let samples = gather(probes, on.get(..TRIAL_SAMPLES).unwrap_or(on))?;
            found.reaches_output = trials.beyond_is_infinite(item, &samples);
            found.mending = mending::of(item, &network);
        }
        let cause = found.reaches_output == Some(true);
        keep(&mut ranges.beyond, found, cause);
    }
    if let Some(half) = half {
        let stored = network::stored(graph_of(half)?);
        let samples = gather(probes, survey.samples.get(..TRIAL_SAMPLES).unwrap_or(&survey.samples))?;
        let mut tried = 0;
        for item in &network.items {
            let Some((mut found, values)) = altered(item, &stored) else { continue };
            ranges.altered_count += 1;
            if tried < TRIED && ranges.cause().is_none() {
                tried += 1;
                found.reaches_output = trials.stored_as(item, &values, &samples);
            }
            let cause = found.reaches_output == Some(true);
            keep(&mut ranges.altered, found, cause);
        }
    }
    Ok(ranges)
}

/// The model's input, where it leaves the range.
fn input(probes: &Tensor) -> Option<RangeFinding> {
    let largest =
        |(index, value): (usize, &f32)| (value.abs() >= BEYOND && value.is_finite()).then_some((index, *value));
    let found: Vec<(usize, f32)> = probes.floats().iter().enumerate().filter_map(largest).collect();
    let &(index, value) = found.iter().max_by(|one, other| one.1.abs().total_cmp(&other.1.abs()))?;
    Some(RangeFinding {
        tensor: probes.name.clone(),
        node: probes.name.clone(),
        operator: "Input".to_owned(),
        value: value.into(),
        sample: Some(index / probes.row_len().max(1)),
        share: found.len() as f64 / probes.values.len() as f64,
        reaches_output: None,
        mending: None,
    })
}

/// A model with its functions inlined, so that their tensors can be looked at.
fn read(artifact: &Artifact) -> Result<Model> {
    let bytes = files::read(&artifact.path, files::GRAPH).map_err(|error| Error::io("read", &artifact.path, error))?;
    let unusable = |error: Error| error.context(format!("`{}` is not a usable ONNX model", artifact.path.display()));
    let model = Model::decode(Bytes::from(bytes))
        .map_err(|error| unusable(Error::input("it does not decode as ONNX").because(error)))?;
    inline(model).map_err(unusable)
}

fn graph_of(model: &Model) -> Result<&Graph> {
    model.graph.as_ref().ok_or_else(|| Error::input("the model has no graph"))
}

/// Keeps a finding among the first, and one that matters in any case.
fn keep<T>(findings: &mut Vec<T>, finding: T, matters: bool) {
    if findings.len() < NAMED || matters {
        findings.push(finding);
    }
}

fn finding(item: &Item<'_>, span: &Span, count: f64) -> RangeFinding {
    RangeFinding {
        tensor: item.tensor.to_owned(),
        node: label(item.node).to_owned(),
        operator: if item.stored.is_some() { "Stored".to_owned() } else { item.node.op_type.clone() },
        value: span.largest,
        sample: span.sample,
        share: count / span.values.max(1.0),
        reaches_output: None,
        mending: None,
    }
}

/// How a stored tensor differs in the converted graph, and its values there; `None` where it does not, or is not there.
fn altered(item: &Item<'_>, converted: &BTreeMap<&str, &TensorData>) -> Option<(AlteredConstant, Vec<f64>)> {
    let stored = converted.get(item.tensor)?;
    let (own, values) = (numbers(item.stored?)?, numbers(stored)?);
    if own.len() != values.len() {
        return None;
    }
    let is_off = |own: f64, value: f64| {
        let error = (value - own).abs();
        own.is_finite() && !(error <= ALTERED_RELATIVE * own.abs() || error <= ALTERED_ABSOLUTE)
    };
    let off = || own.iter().copied().zip(values.iter().copied()).filter(|&(own, value)| is_off(own, value));
    let distance = |pair: &(f64, f64)| (pair.1 - pair.0).abs();
    let (value, stored) = off().max_by(|one, other| distance(one).total_cmp(&distance(other)))?;
    let found = AlteredConstant {
        tensor: item.tensor.to_owned(),
        node: label(item.node).to_owned(),
        operator: item.node.op_type.clone(),
        value,
        stored,
        share: off().count() as f64 / own.len() as f64,
        reaches_output: None,
    };
    Some((found, values))
}

/// Walks a graph as [`diagnose`] does, without running anything; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(crate) fn walk(model: &Model) {
    let Some(graph) = &model.graph else { return };
    let network = Network::of(graph);
    for item in &network.items {
        mending::of(item, &network);
        item.span();
    }
    network.unseen();
}

#[cfg(test)]
mod tests;
