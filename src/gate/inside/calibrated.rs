//! The range that calibration gives a tensor: what its method makes of the FP32 graph's values on the calibration samples.
//!
//! The graph itself reduces each tensor to the largest magnitudes of each batch (`Abs`, `TopK` appended to it), so that only these
//! few leave the worker. They are taken over the whole tensor, wherever in it the samples lie.

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message as _;
use prost::bytes::Bytes;

use crate::convert::Artifact;
use crate::convert::onnx_int8::PERCENTILE;
use crate::data::arrays::Arrays;
use crate::data::npy::NpyRows;
use crate::error::{Error, Result};
use crate::files;
use crate::gate::Workspace;
use crate::manifest::interface::Interface;
use crate::manifest::{CalibrationMethod, Manifest};
use crate::onnx::{self, Attribute, Graph, Model, Node, TensorData, ValueInfo};
use crate::runtime::{Installation, OpenRequest, SessionOptions};
use crate::tensor::{BatchAxes, BatchAxis, Feeds, Signature, Tensor};
use crate::vocabulary::{ArtifactKind, Precision};
use crate::worker::Worker;

/// Samples of one run at most, as the quantiser's calibration takes them.
const BATCH: usize = 64;

/// Bytes of the samples of one run of several inputs, as the quantiser takes them; one sample where it has more.
const BATCH_BYTES: usize = 1 << 24;

/// The least operator set in which `Min` takes integers of 64 bits.
const LEAST_OPERATOR_SET: i64 = 12;

/// Magnitudes kept of each sample, beside those above the percentile: a few samples hold most of the largest.
const KEPT: usize = 64;

/// How many times as many values are kept of a batch as lie above the percentile of it.
const KEPT_SHARE: f64 = 16.0;

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
        let nearest = cut.min(self.most).max(self.least);
        if nearest > 0.0 { cut / nearest } else { 1.0 }
    }
}

/// The largest magnitudes of each batch.
#[derive(Default)]
struct Largest {
    /// Values of all batches.
    total: usize,
    /// Those that were kept.
    values: Vec<f32>,
    /// The largest of the first batch.
    first_batch: f32,
    /// No value that was left out is larger.
    left_out: f32,
}

impl Largest {
    /// Adds a batch of `total` values, of which these are the largest.
    fn add(&mut self, total: usize, values: &[f32]) {
        if self.total == 0 {
            self.first_batch = values.iter().copied().fold(0.0, f32::max);
        }
        if values.len() < total {
            self.left_out = values.iter().copied().fold(f32::INFINITY, f32::min).max(self.left_out);
        }
        self.total += total;
        self.values.extend_from_slice(values);
    }

    /// What `method` makes of them; `None` where some are no numbers.
    ///
    /// * Min-max cuts at the largest magnitude, percentile at that which its share of all values stays below: somewhere up to what
    ///   was left out, where that is more.
    /// * ONNX Runtime's entropy method tries every cut from the first batch's largest magnitude, which its histogram
    ///   starts with, to the largest of all.
    fn range(mut self, method: CalibrationMethod) -> Option<Range> {
        if self.values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        self.values.sort_by(|one, other| other.total_cmp(one));
        let largest = f64::from(*self.values.first()?);
        Some(match method {
            CalibrationMethod::MinMax => Range { least: largest, most: largest },
            CalibrationMethod::Percentile => {
                let rank = (self.total as f64 * (1.0 - PERCENTILE / 100.0)) as usize;
                let cut = f64::from(*self.values.get(rank)?);
                Range { least: cut, most: cut.max(self.left_out.into()) }
            }
            CalibrationMethod::Entropy => Range { least: f64::from(self.first_batch), most: largest },
        })
    }
}

/// Ranges of `tensors` of the FP32 graph, by name; tensors without values are left out.
///
/// # Errors
/// If the graph is older than `Min` as used here, or the samples cannot be had or run.
pub(crate) fn ranges(
    workspace: &Workspace,
    installation: &Installation,
    fp32: &Artifact,
    tensors: &[&str],
) -> Result<BTreeMap<String, Range>> {
    if tensors.is_empty() {
        return Ok(BTreeMap::new());
    }
    let manifest = &workspace.manifest;
    let calibration = workspace.calibration()?;
    let mut samples = match &manifest.interface {
        Some(interface) => Samples::of_several(interface, &onnx::signature(&onnx::read(&fp32.path)?), &calibration)?,
        None => Samples::of_one(manifest, &calibration)?,
    };
    let bytes = files::read(&fp32.path, files::GRAPH).map_err(|error| Error::io("read", &fp32.path, error))?;
    let folder =
        tempfile::tempdir().map_err(|error| Error::machine("cannot make a temporary folder").because(error))?;
    let path = folder.path().join("largest.onnx");
    std::fs::write(&path, with_largest(&bytes, tensors, samples.batch)?)
        .map_err(|error| Error::io("write", &path, error))?;
    drop(bytes);
    let mut worker = Worker::start(&workspace.program, workspace.limits)?;
    worker.open(&OpenRequest {
        installation: installation.clone(),
        artifact: path,
        kind: ArtifactKind::OnnxFp32,
        precision: Precision::Fp32,
        batch: samples.batch,
        options: SessionOptions {
            intra_threads: manifest.run.intra_threads,
            outputs: tensors.iter().flat_map(|name| [largest_of(name), size_of(name)]).collect(),
            inner_tensors: true,
            ..SessionOptions::default()
        },
    })?;
    let mut largest: BTreeMap<&str, Largest> = BTreeMap::new();
    while let Some(part) = samples.next_part()? {
        let outputs = worker.run_laid_out(&part, samples.batch, false, &samples.axes)?.outputs;
        let output = |name: String| outputs.iter().find(|tensor| tensor.name == name);
        for name in tensors {
            let Some((values, size)) = output(largest_of(name)).zip(output(size_of(name))) else { continue };
            let size = size.values.to_f64().first().copied().unwrap_or(0.0) as usize;
            largest.entry(name).or_default().add(size, &values.floats());
        }
    }
    let method = manifest.calibration.method;
    Ok(largest.into_iter().filter_map(|(name, largest)| Some((name.to_owned(), largest.range(method)?))).collect())
}

/// The calibration samples, batch by batch, as the quantiser takes them.
struct Samples {
    from: Source,
    batch: usize,
    /// Whether a graph of one batch size leaves a short last one out.
    whole: bool,
    axes: BatchAxes,
}

enum Source {
    /// The rows of an array, which are not all in memory.
    Rows { rows: NpyRows, name: String, shape: Vec<usize> },
    /// Samples of several inputs, and the next.
    Several { feeds: Feeds, next: usize },
}

impl Samples {
    fn of_one(manifest: &Manifest, calibration: &Path) -> Result<Self> {
        let input = &manifest.input;
        Ok(Self {
            from: Source::Rows {
                rows: NpyRows::open(calibration, Some(input.shape.iter().product()))?,
                name: input.name.clone(),
                shape: input.shape.clone(),
            },
            batch: input.fixed_batch.map_or(BATCH, |batch| batch as usize),
            whole: input.fixed_batch.is_some(),
            axes: BatchAxes::default(),
        })
    }

    fn of_several(interface: &Interface, signature: &Signature, calibration: &Path) -> Result<Self> {
        let arrays = Arrays::archive(calibration)?;
        let (mut samples, mut shared, mut fixed) = (Vec::new(), Vec::new(), None);
        for (place, input) in interface.inputs.iter().enumerate() {
            let array = arrays.get(&place.to_string())?;
            let array =
                array.ok_or_else(|| Error::invalid(format!("there are no samples of input `{}`", input.name)))?;
            let array = Tensor { name: input.name.clone(), ..array };
            if input.shared {
                shared.push(array);
                continue;
            }
            let declared = signature.inputs.iter().find(|declared| declared.name == input.name);
            if let (BatchAxis::At(axis), Some(declared)) = (input.batch_axis, declared)
                && let Some(Some(size)) = declared.shape.get(axis)
            {
                fixed = Some(fixed.map_or(*size, |known: usize| known.min(*size)));
            }
            samples.push(array);
        }
        let apart = interface.inputs.iter().any(|input| !input.shared && input.batch_axis == BatchAxis::None);
        let bytes = |tensor: &Tensor| tensor.row_len() * tensor.element_type().bytes().unwrap_or(1);
        let each = samples.iter().map(bytes).sum::<usize>().max(1);
        let batch = match fixed {
            _ if apart => 1,
            Some(fixed) => fixed,
            None => (BATCH_BYTES / each).clamp(1, BATCH),
        };
        // What comes out has no samples of its own.
        let axes = BatchAxes { inputs: interface.axes().inputs, ..BatchAxes::default() };
        Ok(Self {
            from: Source::Several { feeds: Feeds::new(samples, shared)?, next: 0 },
            batch,
            whole: fixed.is_some(),
            axes,
        })
    }

    fn next_part(&mut self) -> Result<Option<Feeds>> {
        let (batch, whole) = (self.batch, self.whole);
        let fits = |count: usize| count == batch || (count > 0 && !whole);
        match &mut self.from {
            Source::Rows { rows, name, shape } => {
                let (mut values, mut row, mut count) = (Vec::new(), Vec::new(), 0);
                while count < batch && rows.next_row(&mut row)? {
                    values.extend_from_slice(&row);
                    count += 1;
                }
                let shape = [&[count], shape.as_slice()].concat();
                fits(count).then(|| Tensor::float32(name.clone(), shape, values).map(Feeds::from)).transpose()
            }
            Source::Several { feeds, next } => {
                let (start, end) = (*next, feeds.batch().min(*next + batch));
                *next = end;
                fits(end - start).then(|| feeds.samples(start..end)).transpose()
            }
        }
    }
}

fn largest_of(tensor: &str) -> String {
    format!("trtgate/{tensor}/largest")
}

fn size_of(tensor: &str) -> String {
    format!("trtgate/{tensor}/size")
}

/// The graph with the largest magnitudes of `tensors` in a run of `batch` samples, and how many values there were, as further
/// outputs; its own bytes come first, unchanged, see [`onnx::append_outputs`].
fn with_largest(bytes: &[u8], tensors: &[&str], batch: usize) -> Result<Vec<u8>> {
    let model = onnx::parse(bytes)?;
    let version = model.opset_import.iter().find(|set| set.is_standard()).map_or(0, |set| set.version);
    if version < LEAST_OPERATOR_SET {
        return Err(Error::unsupported(format!(
            "the graph is of operator set {version}, and `Min` of integers needs {LEAST_OPERATOR_SET}"
        )));
    }
    let integer = |name: &str, value: i64| TensorData {
        name: name.to_owned(),
        // 7 is a 64-bit integer.
        data_type: 7,
        dims: vec![1],
        raw_data: Some(Bytes::copy_from_slice(&value.to_le_bytes())),
        ..TensorData::default()
    };
    // Of every so many values one is kept, and so many beside.
    let (every, beside, line) = ("trtgate//every", "trtgate//beside", "trtgate//line");
    let each = 1.0 / (KEPT_SHARE * (1.0 - PERCENTILE / 100.0));
    let mut graph = Graph {
        initializer: vec![
            integer(every, each.round() as i64),
            integer(beside, (KEPT * batch) as i64),
            integer(line, -1),
        ],
        ..Graph::default()
    };
    for name in tensors {
        let inner = |part: &str| format!("trtgate/{name}/{part}");
        let mut node = |operator: &str, input: &[&str], output: &str| {
            graph.node.push(Node {
                op_type: operator.to_owned(),
                name: inner(output),
                input: input.iter().map(|&name| name.to_owned()).collect(),
                output: vec![output.to_owned()],
                // The type of floats: 2 is the kind of an integer.
                attribute: (operator == "Cast")
                    .then(|| Attribute { name: "to".to_owned(), i: 1, kind: 2, ..Attribute::default() })
                    .into_iter()
                    .collect(),
                ..Node::default()
            });
        };
        let (floats, magnitudes, flat) = (inner("floats"), inner("magnitudes"), inner("flat"));
        let (count, size) = (inner("count"), size_of(name));
        let (share, most, kept) = (inner("share"), inner("most"), inner("kept"));
        node("Cast", &[name], &floats);
        node("Abs", &[&floats], &magnitudes);
        node("Reshape", &[&magnitudes, line], &flat);
        node("Size", &[name], &count);
        node("Reshape", &[&count, line], &size);
        node("Div", &[&size, every], &share);
        node("Add", &[&share, beside], &most);
        node("Min", &[&size, &most], &kept);
        node("TopK", &[&flat, &kept], &largest_of(name));
        if let Some(top) = graph.node.last_mut() {
            top.output.push(inner("places"));
        }
        graph.output.extend([largest_of(name), size].map(|name| ValueInfo { name, kind: None }));
    }
    let addition = Model { graph: Some(graph), ..Model::default() };
    let mut joined = bytes.to_vec();
    joined.extend(addition.encode_to_vec());
    Ok(joined)
}

#[cfg(test)]
mod tests;
