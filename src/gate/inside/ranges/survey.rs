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
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::error::Result;
    use crate::gate::inside::evaluated::{WIDTH, model};
    use crate::gate::inside::side;
    use crate::gate::workshop::{Project, healthy, samples};
    use crate::runtime::Session;
    use crate::tensor::{ElementType, Signature, TensorSpec};
    use crate::worker::fake::{FakeSession, Fakes};

    /// How a network of so many tensors is surveyed that each have as many values a sample as `size` says, of `probes`: the samples,
    /// the batches that were run, and the tensors of each run.
    fn surveyed(
        tensors: usize,
        size: Option<usize>,
        fixed: Option<usize>,
        probes: usize,
    ) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
        let names: Vec<String> = (0..tensors).map(|place| format!("t{place}")).collect();
        let inputs: Vec<String> =
            std::iter::once("x w".to_owned()).chain(names.iter().map(|name| format!("{name} w"))).collect();
        let nodes: Vec<(&str, &str, &str)> =
            names.iter().zip(&inputs).map(|(name, input)| ("Mul", input.as_str(), name.as_str())).collect();
        let graph = model(&nodes, &[("w", 1.0)]);
        let (batches, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (run, opened) = (Arc::clone(&batches), Arc::clone(&asked));
        let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
            assert!(!request.options.optimize && request.options.inner_tensors);
            let shown = match request.options.outputs.as_slice() {
                [] => names.clone(),
                asked => {
                    opened.lock().unwrap().push(asked.len());
                    asked.to_vec()
                }
            };
            let spec = |name: &str, size| TensorSpec {
                name: name.to_owned(),
                element_type: ElementType::Float32,
                shape: vec![fixed, size],
            };
            let signature = Signature {
                inputs: vec![spec("x", Some(WIDTH))],
                outputs: shown.iter().map(|name| spec(name, size)).collect(),
            };
            let run = Arc::clone(&run);
            Ok(Box::new(FakeSession::of(signature, None, move |feeds| {
                // What it says of its size is all that there is of it.
                let input = feeds.with_samples()[0].clone();
                run.lock().unwrap().push(input.batch());
                Ok(shown.iter().map(|name| Tensor { name: name.clone(), ..input.clone() }).collect())
            })))
        };
        let project = Project::new("onnxruntime = [\"fp32\"]", "");
        let workspace = project.workspace(&Fakes::of(open, healthy));
        let installation = side::onnxruntime(&workspace).unwrap();
        let network = Network::of(graph.graph.as_ref().unwrap());
        let found = Survey::run(&workspace, &installation, &graph, &network, &samples(probes), &[1]).unwrap();
        assert_eq!((found.spans.len(), found.samples[0]), (tensors, 1));
        let values = found.spans["t0"].values;
        assert_eq!(values, (found.samples.len() * WIDTH) as f64);
        (found.samples, batches.lock().unwrap().clone(), asked.lock().unwrap().clone())
    }

    /// All samples of a small network are run, and of a large one as many as there is time for, in batches and parts that fit.
    #[test]
    fn as_many_samples_are_run_as_time_and_memory_allow() {
        let (all, batches, parts) = surveyed(2, Some(4), None, 40);
        assert_eq!((all.len(), batches, parts), (40, vec![32, 8], vec![2]));
        // A thousand million values: 50 samples of twenty million; three of them in 256 MiB, together.
        let (some, batches, parts) = surveyed(2, Some(10_000_000), None, 100);
        assert_eq!((some.len(), batches, parts), (50, [vec![3; 16], vec![2]].concat(), vec![2]));
        // Sixteen in any case, one by one where two do not fit, each tensor in a part of its own.
        let (few, batches, parts) = surveyed(2, Some(40_000_000), None, 100);
        assert_eq!((few.len(), batches, parts), (16, vec![1; 32], vec![1, 1]));
        let (fewer, _, _) = surveyed(2, Some(40_000_000), None, 5);
        assert_eq!(fewer.len(), 5, "there are no more");
        // A size that nobody knows counts for a hundred thousand.
        let (unknown, batches, parts) = surveyed(300, None, None, 40);
        assert_eq!((unknown.len(), batches.len(), parts), (33, 17, vec![300]));
        // A file of one batch size takes whole batches.
        let (whole, batches, parts) = surveyed(2, Some(4), Some(8), 20);
        assert_eq!((whole.len(), batches, parts), (24, vec![8; 3], vec![2]));
        assert_eq!(whole[20..], whole[..4]);
    }

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
        assert_eq!(groups(&["a", "b"], &[most / 4, most / 4], 2), [vec!["a", "b"]]);
        assert_eq!(groups(&["a", "b"], &[most / 4, most / 4 + 1], 2), [vec!["a"], vec!["b"]]);
    }

    #[test]
    fn the_largest_value_and_its_sample_are_kept() {
        let extent =
            |largest: f32, beyond: f32| Extent { largest, beyond, near: beyond, not_finite: 0.0, values: 10.0 };
        let found = span(&[extent(3.0, 0.0), extent(-9e4, 2.0), extent(7e4, 1.0)], &[5, 2, 8], 3);
        assert_eq!((found.largest, found.sample, found.values, found.beyond), (-9e4, Some(2), 30.0, 3.0));
        assert_eq!(found.near, 3.0);
        assert_eq!(found.samples_beyond, [2, 8]);
        // Of two that are as large the first is told.
        let found = span(&[extent(3.0, 0.0), extent(-3.0, 0.0)], &[5, 2], 2);
        assert_eq!((found.largest, found.sample, found.samples_beyond.len()), (3.0, Some(5), 0));
        // One row for the whole batch is of no sample.
        let found = span(&[extent(7e4, 1.0), Extent::default()], &[5, 2], 2);
        assert_eq!((found.sample, found.samples_beyond), (None, vec![5]));
    }
}
