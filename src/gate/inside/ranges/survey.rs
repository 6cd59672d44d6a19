//! What values every float tensor of the FP32 graph takes on the probes.

use std::collections::BTreeMap;

use prost::Message as _;

use super::network::{Network, Span};
use crate::error::{Error, Result};
use crate::gate::Workspace;
use crate::onnx::{Model, ValueInfo};
use crate::runtime::{Installation, OpenRequest, SessionOptions};
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, Precision};
use crate::worker::{Extent, Worker};

/// Samples of one run, as far as memory allows.
const BATCH: usize = 32;

/// Most bytes of tensors that one run holds.
const RUN_BYTES: usize = 256 << 20;

/// Values of one sample that a tensor of unknown size counts for.
const UNKNOWN_VALUES: usize = 100_000;

/// Most values that are looked at: all probes of a small network, some of a large one.
const MOST_VALUES: usize = 1_000_000_000;

/// Fewest samples.
const FEWEST: usize = 16;

/// What the survey found.
pub(super) struct Survey {
    /// The probes that were run.
    pub(super) samples: Vec<usize>,
    /// By tensor.
    pub(super) spans: BTreeMap<String, Span>,
}

/// The samples `order` of `probes`.
pub(super) fn gather(probes: &Tensor, order: &[usize]) -> Result<Tensor> {
    let mut shape = probes.shape.clone();
    if let Some(batch) = shape.first_mut() {
        *batch = order.len();
    }
    let rows = order.iter().filter_map(|&index| probes.row(index));
    Tensor::float32(probes.name.clone(), shape, rows.flatten().copied().collect())
}

/// The request for an FP32 graph whose outputs are only looked at.
pub(super) fn request(workspace: &Workspace, installation: &Installation, path: std::path::PathBuf) -> OpenRequest {
    OpenRequest {
        installation: installation.clone(),
        artifact: path,
        kind: ArtifactKind::OnnxFp32,
        precision: Precision::Fp32,
        batch: BATCH,
        options: SessionOptions {
            intra_threads: workspace.manifest.run.intra_threads,
            optimize: false,
            inner_tensors: true,
            ..SessionOptions::default()
        },
    }
}

impl Survey {
    /// Runs the graph on `probes`: those of `first`, then others evenly spread.
    pub(super) fn run(
        workspace: &Workspace,
        installation: &Installation,
        model: &Model,
        network: &Network<'_>,
        probes: &Tensor,
        first: &[usize],
    ) -> Result<Self> {
        let names: Vec<&str> =
            network.items.iter().filter(|item| item.stored.is_none()).map(|item| item.tensor).collect();
        let folder =
            tempfile::tempdir().map_err(|error| Error::machine("cannot make a temporary folder").because(error))?;
        let path = folder.path().join("surveyed.onnx");
        std::fs::write(&path, showing(model, &names)).map_err(|error| Error::io("write", &path, error))?;
        let mut worker = Worker::start(&workspace.program, workspace.limits)?;
        let mut request = request(workspace, installation, path);
        let (signature, _) = worker.open(&request)?;
        let fixed = signature.inputs.first().and_then(|input| input.shape.first().copied().flatten());
        let size = |name: &str| {
            let spec = signature.outputs.iter().find(|output| output.name == name)?;
            // No dimension at all may also mean that none is known.
            (!spec.shape.is_empty()).then(|| spec.shape.iter().skip(1).copied().product::<Option<usize>>()).flatten()
        };
        let sizes: Vec<usize> = names.iter().map(|name| size(name).unwrap_or(UNKNOWN_VALUES)).collect();
        let total: usize = sizes.iter().sum();
        let count = (MOST_VALUES / total.max(1)).clamp(FEWEST, probes.batch().max(FEWEST));
        let (samples, batch) = (choose(probes.batch(), count, first, fixed), fixed.unwrap_or(BATCH));
        let batch = if fixed.is_some() { batch } else { batch.min(RUN_BYTES / 4 / total.max(1)).max(1) };
        let given = gather(probes, &samples)?;
        let mut spans = BTreeMap::new();
        for group in groups(&names, &sizes, batch) {
            request.options.outputs = group.iter().map(|&name| name.to_owned()).collect();
            request.batch = batch;
            worker.open(&request)?;
            for (name, extents) in worker.survey(&given, batch)? {
                spans.insert(name, span(&extents, &samples, batch));
            }
        }
        Ok(Self { samples, spans })
    }
}

/// The model's bytes with `names` as further outputs.
fn showing(model: &Model, names: &[&str]) -> Vec<u8> {
    let mut model = model.clone();
    if let Some(graph) = &mut model.graph {
        for name in names {
            if graph.output.iter().all(|output| output.name != *name) {
                // Whoever loads the model infers the type.
                graph.output.push(ValueInfo { name: (*name).to_owned(), kind: None });
            }
        }
    }
    model.encode_to_vec()
}

/// `count` of `total` samples: those of `first`, then others evenly spread; whole batches where the batch is `fixed`.
fn choose(total: usize, count: usize, first: &[usize], fixed: Option<usize>) -> Vec<usize> {
    let count = count.min(total);
    let mut chosen: Vec<usize> = Vec::with_capacity(count);
    let spread = (0..count).map(|index| index * total / count.max(1));
    for sample in first.iter().copied().chain(spread).chain(0..total) {
        if chosen.len() < count && sample < total && !chosen.contains(&sample) {
            chosen.push(sample);
        }
    }
    if let Some(fixed) = fixed.filter(|&fixed| fixed > 0) {
        let whole = chosen.len().div_ceil(fixed) * fixed;
        chosen = chosen.iter().copied().cycle().take(whole).collect();
    }
    chosen
}

/// `names` in groups whose tensors fit into the memory of one run.
fn groups<'name>(names: &[&'name str], sizes: &[usize], batch: usize) -> Vec<Vec<&'name str>> {
    let mut groups: Vec<Vec<&str>> = Vec::new();
    let mut held = 0;
    for (&name, &size) in names.iter().zip(sizes) {
        let bytes = 4 * size * batch;
        match groups.last_mut().filter(|_| held + bytes <= RUN_BYTES) {
            Some(group) => {
                group.push(name);
                held += bytes;
            }
            None => {
                groups.push(vec![name]);
                held = bytes;
            }
        }
    }
    groups
}

/// The extents of all samples as one.
fn span(extents: &[Extent], samples: &[usize], batch: usize) -> Span {
    // What has not one row a sample stands in the first of each batch.
    let by_sample = batch == 1 || extents.iter().skip(1).any(|extent| extent.values > 0.0);
    let mut span = Span::default();
    let mut beyond: Vec<(f32, usize)> = Vec::new();
    for (extent, &sample) in extents.iter().zip(samples) {
        span.beyond += f64::from(extent.beyond);
        span.near += f64::from(extent.near);
        span.values += f64::from(extent.values);
        if f64::from(extent.largest.abs()) > span.largest.abs() {
            span.largest = f64::from(extent.largest);
            span.sample = by_sample.then_some(sample);
        }
        if extent.beyond > 0.0 && !beyond.iter().any(|(_, known)| *known == sample) {
            beyond.push((extent.largest.abs(), sample));
        }
    }
    beyond.sort_by(|one, other| other.0.total_cmp(&one.0));
    span.samples_beyond = beyond.into_iter().map(|(_, sample)| sample).collect();
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_go_before_those_that_are_spread() {
        assert_eq!(choose(10, 4, &[7, 3, 7, 99], None), [7, 3, 0, 2]);
        assert_eq!(choose(3, 16, &[2], None), [2, 0, 1]);
        assert_eq!(choose(10, 3, &[9], Some(2)), [9, 0, 3, 9]);
        assert_eq!(choose(2, 16, &[], Some(4)), [0, 1, 0, 1]);
    }

    #[test]
    fn groups_hold_what_fits() {
        let most = RUN_BYTES / 4;
        assert_eq!(
            groups(&["a", "b", "c", "d"], &[most / 2, most / 2, most * 2, 1], 1),
            [vec!["a", "b"], vec!["c"], vec!["d"]]
        );
        assert!(groups(&[], &[], 1).is_empty());
    }

    #[test]
    fn the_largest_value_and_its_sample_are_kept() {
        let extent =
            |largest: f32, beyond: f32| Extent { largest, beyond, near: beyond, not_finite: 0.0, values: 10.0 };
        let found = span(&[extent(3.0, 0.0), extent(-9e4, 2.0), extent(7e4, 1.0)], &[5, 2, 8], 3);
        assert_eq!((found.largest, found.sample, found.values, found.beyond), (-9e4, Some(2), 30.0, 3.0));
        assert_eq!(found.samples_beyond, [2, 8]);
        // One row for the whole batch is of no sample.
        let found = span(&[extent(7e4, 1.0), Extent::default()], &[5, 2], 2);
        assert_eq!((found.sample, found.samples_beyond), (None, vec![5]));
    }
}
