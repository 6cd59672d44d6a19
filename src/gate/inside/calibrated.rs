//! The range that calibration gives a tensor: what its method makes of the FP32 graph's values on the calibration samples.
//!
//! The graph itself reduces each tensor to the largest magnitudes of each sample (`Abs`, `Flatten`, `TopK` appended to
//! it), so that only these few leave the worker.

use std::collections::BTreeMap;

use prost::Message as _;
use prost::bytes::Bytes;

use crate::convert::Artifact;
use crate::convert::onnx_int8::PERCENTILE;
use crate::data::npy::NpyRows;
use crate::error::{Error, Result};
use crate::files;
use crate::gate::Workspace;
use crate::gate::inside::side::Side;
use crate::manifest::CalibrationMethod;
use crate::onnx::{self, Attribute, Graph, Model, Node, TensorData, ValueInfo};
use crate::runtime::{Installation, OpenRequest, SessionOptions};
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, Precision};
use crate::worker::Worker;

/// Samples of one run, as the quantiser's calibration takes them.
const BATCH: usize = 64;

/// The least operator set in which `TopK` takes its count as an input.
const LEAST_OPERATOR_SET: i64 = 11;

/// Magnitudes kept of each sample, beside those above the percentile: a few samples hold most of the largest.
const KEPT: usize = 64;

/// The magnitude that a calibration cuts a tensor at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    /// The least that the method may give.
    pub(crate) least: f64,
    /// The most.
    pub(crate) most: f64,
}

impl Range {
    /// `cut`, the magnitude that a scale cuts at, over the nearest that the calibration may give; 1 inside of the range.
    pub(crate) fn ratio(&self, cut: f64) -> f64 {
        let nearest = if cut < self.least { self.least } else { cut.min(self.most) };
        if nearest > 0.0 { cut / nearest } else { 1.0 }
    }
}

/// The largest magnitudes of each sample, sample by sample.
struct Largest {
    per_sample: usize,
    samples: usize,
    /// All that were kept.
    values: Vec<f32>,
    /// The largest of the first batch.
    first_batch: f32,
}

impl Largest {
    /// What `method` makes of them.
    ///
    /// * Min-max cuts at the largest magnitude, percentile at that which its share of all values stays below.
    /// * ONNX Runtime's entropy method tries every cut from the first batch's largest magnitude, which its histogram
    ///   starts with, to the largest of all.
    fn range(mut self, method: CalibrationMethod) -> Option<Range> {
        self.values.sort_by(|one, other| other.total_cmp(one));
        let largest = f64::from(*self.values.first()?);
        Some(match method {
            CalibrationMethod::MinMax => Range { least: largest, most: largest },
            CalibrationMethod::Percentile => {
                let total = (self.per_sample * self.samples) as f64;
                let rank = (total * (1.0 - PERCENTILE / 100.0)) as usize;
                let cut = f64::from(*self.values.get(rank)?);
                Range { least: cut, most: cut }
            }
            CalibrationMethod::Entropy => Range { least: f64::from(self.first_batch), most: largest },
        })
    }
}

/// Magnitudes to keep of each sample of a tensor of `values` values.
fn kept(values: usize) -> usize {
    let above = values as f64 * (1.0 - PERCENTILE / 100.0);
    (KEPT + (16.0 * above) as usize).min(values)
}

/// Ranges of `tensors` of the FP32 graph, by name; tensors of unknown size are left out.
///
/// # Errors
/// If the graph is older than `TopK` as used here, or the samples cannot be had or run.
pub(crate) fn ranges(
    workspace: &Workspace,
    installation: &Installation,
    fp32: &Artifact,
    tensors: &[&str],
) -> Result<BTreeMap<String, Range>> {
    let sizes = sizes(workspace, installation, fp32, tensors)?;
    let tensors: &[(&str, usize)] = &sizes;
    if tensors.is_empty() {
        return Ok(BTreeMap::new());
    }
    let bytes = files::read(&fp32.path, files::GRAPH).map_err(|error| Error::io("read", &fp32.path, error))?;
    let folder =
        tempfile::tempdir().map_err(|error| Error::machine("cannot make a temporary folder").because(error))?;
    let path = folder.path().join("largest.onnx");
    std::fs::write(&path, with_largest(&bytes, tensors)?).map_err(|error| Error::io("write", &path, error))?;
    let manifest = &workspace.manifest;
    let batch = manifest.input.fixed_batch.map_or(BATCH, |batch| batch as usize);
    let mut worker = Worker::start(&workspace.program, workspace.limits)?;
    worker.open(&OpenRequest {
        installation: installation.clone(),
        artifact: path,
        kind: ArtifactKind::OnnxFp32,
        precision: Precision::Fp32,
        batch,
        options: SessionOptions {
            intra_threads: manifest.run.intra_threads,
            outputs: tensors.iter().map(|(name, _)| output(name)).collect(),
            ..SessionOptions::default()
        },
    })?;
    let shape = &manifest.input.shape;
    let mut rows = NpyRows::open(&workspace.calibration()?, Some(shape.iter().product()))?;
    let mut largest: BTreeMap<String, Largest> = BTreeMap::new();
    loop {
        let mut values = Vec::new();
        let mut row = Vec::new();
        let mut count = 0;
        while count < batch && rows.next_row(&mut row)? {
            values.extend_from_slice(&row);
            count += 1;
        }
        // A graph of one batch size is calibrated on whole batches only.
        if count == 0 || (manifest.input.fixed_batch.is_some() && count < batch) {
            break;
        }
        let shape = [&[count], shape.as_slice()].concat();
        let part = Tensor::float32(manifest.input.name.clone(), shape, values)?;
        let outputs = worker.run(&part, batch, false)?.outputs;
        for (name, per_sample) in tensors {
            let Some(found) = outputs.iter().find(|tensor| tensor.name == output(name)) else { continue };
            let floats = found.floats();
            let first = floats.iter().copied().fold(0.0, f32::max);
            let known = largest.entry((*name).to_owned()).or_insert_with(|| Largest {
                per_sample: *per_sample,
                samples: 0,
                values: Vec::new(),
                first_batch: first,
            });
            known.samples += count;
            known.values.extend_from_slice(&floats);
        }
    }
    let method = manifest.calibration.method;
    Ok(largest.into_iter().filter_map(|(name, largest)| Some((name, largest.range(method)?))).collect())
}

/// Values of one sample of each tensor, as the opened graph tells them.
fn sizes<'name>(
    workspace: &Workspace,
    installation: &Installation,
    fp32: &Artifact,
    tensors: &[&'name str],
) -> Result<Vec<(&'name str, usize)>> {
    let input = &workspace.manifest.input;
    let inner: Vec<String> = tensors.iter().filter(|name| **name != input.name).map(|&name| name.to_owned()).collect();
    let side = Side::reference(workspace, installation, fp32, BATCH, &inner)?;
    let size = |name: &str| {
        if name == input.name { Some(input.shape.iter().product()) } else { side.values_per_sample(name) }
    };
    Ok(tensors.iter().filter_map(|&name| Some((name, size(name)?))).collect())
}

fn output(name: &str) -> String {
    format!("trtgate/{name}/largest")
}

/// The graph with the largest magnitudes of `tensors` as further outputs; its own bytes come first, unchanged, see
/// [`onnx::append_outputs`].
fn with_largest(bytes: &[u8], tensors: &[(&str, usize)]) -> Result<Vec<u8>> {
    let model = onnx::parse(bytes)?;
    let version = model.opset_import.iter().find(|set| set.is_standard()).map_or(0, |set| set.version);
    if version < LEAST_OPERATOR_SET {
        return Err(Error::unsupported(format!("the graph is of operator set {version}, and `TopK` needs 11")));
    }
    let mut graph = Graph::default();
    for (name, values) in tensors {
        let inner = |part: &str| format!("trtgate/{name}/{part}");
        let node = |operator: &str, input: &[&str], output: Vec<String>| Node {
            op_type: operator.to_owned(),
            name: inner(operator),
            input: input.iter().map(|&name| name.to_owned()).collect(),
            output,
            ..Node::default()
        };
        let (magnitudes, flat, count) = (inner("magnitudes"), inner("flat"), inner("count"));
        let mut flatten = node("Flatten", &[&magnitudes], vec![flat.clone()]);
        // 2 is the kind of an integer.
        flatten.attribute.push(Attribute { name: "axis".to_owned(), i: 1, kind: 2, ..Attribute::default() });
        graph.node.push(node("Abs", &[name], vec![magnitudes.clone()]));
        graph.node.push(flatten);
        graph.node.push(node("TopK", &[&flat, &count], vec![output(name), inner("places")]));
        graph.initializer.push(TensorData {
            name: count,
            // 7 is a 64-bit integer.
            data_type: 7,
            dims: vec![1],
            raw_data: Some(Bytes::copy_from_slice(&(kept(*values) as i64).to_le_bytes())),
            ..TensorData::default()
        });
        graph.output.push(ValueInfo { name: output(name), kind: None });
    }
    let addition = Model { graph: Some(graph), ..Model::default() };
    let mut joined = bytes.to_vec();
    joined.extend(addition.encode_to_vec());
    Ok(joined)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use approx::assert_relative_eq;
    use rstest::rstest;

    use super::*;
    use crate::gate::inside::samples_of_graphs::fp32;

    fn largest(values: &[f32]) -> Largest {
        Largest { per_sample: 50_000, samples: 4, values: values.to_vec(), first_batch: 7.0 }
    }

    #[rstest]
    #[case(CalibrationMethod::MinMax, 9.0, 9.0)]
    // 2 of 200 000 values lie above it.
    #[case(CalibrationMethod::Percentile, 7.0, 7.0)]
    #[case(CalibrationMethod::Entropy, 7.0, 9.0)]
    fn each_method_cuts_in_its_own_way(#[case] method: CalibrationMethod, #[case] least: f64, #[case] most: f64) {
        let range = largest(&[7.0, 8.0, 6.0, 9.0]).range(method).unwrap();
        assert_eq!(range, Range { least, most });
    }

    #[test]
    fn a_percentile_beyond_what_was_kept_is_unknown() {
        assert_eq!(largest(&[9.0, 8.0]).range(CalibrationMethod::Percentile), None);
        assert_eq!(largest(&[]).range(CalibrationMethod::MinMax), None);
    }

    #[rstest]
    #[case(6.0, 6.0 / 7.0)]
    #[case(7.5, 1.0)]
    #[case(18.0, 2.0)]
    fn the_ratio_is_to_the_nearest_cut(#[case] cut: f64, #[case] expected: f64) {
        assert_relative_eq!(Range { least: 7.0, most: 9.0 }.ratio(cut), expected);
    }

    #[test]
    fn more_is_kept_of_large_tensors() {
        assert_eq!(kept(10), 10);
        assert_eq!(kept(4096), 64);
        assert_eq!(kept(3_000_000), 64 + 480);
    }

    #[test]
    fn the_graph_stays_first_and_gains_an_output() {
        let bytes = fp32().encode_to_vec();
        let joined = with_largest(&bytes, &[("relu:0", 8)]).unwrap();
        assert_eq!(joined[..bytes.len()], bytes);
        let graph = onnx::parse(&joined).unwrap().graph.unwrap();
        assert_eq!(graph.output[1].name, "trtgate/relu:0/largest");
        assert_eq!(graph.node.last().unwrap().op_type, "TopK");
    }

    #[test]
    fn an_old_graph_is_refused() {
        let mut model = fp32();
        model.opset_import[0].version = 9;
        assert!(with_largest(&model.encode_to_vec(), &[]).is_err());
    }
}
