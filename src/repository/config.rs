//! A model's configuration, typed, each value with its place.

use std::ops::Range;

use super::node::{At, Node};

/// What stands for an open dimension.
pub const OPEN: i64 = -1;

/// Elements between open dimensions; the core compares these one by one.
pub fn chunks(dims: &[At<i64>]) -> Vec<i128> {
    let mut chunks = vec![1_i128];
    for dim in dims {
        match (dim.value, chunks.last_mut()) {
            (OPEN, _) => chunks.push(1),
            (size, Some(last)) => *last = last.saturating_mul(i128::from(size)),
            (_, None) => {}
        }
    }
    chunks
}

/// What `config.pbtxt` says, as far as rules look at it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `name`.
    pub name: Option<At<String>>,
    /// `platform`.
    pub platform: Option<At<String>>,
    /// `backend`.
    pub backend: Option<At<String>>,
    /// `runtime`: the backend's library.
    pub runtime: Option<At<String>>,
    /// `max_batch_size`.
    pub max_batch_size: Option<At<i64>>,
    /// `input`.
    pub inputs: Vec<TensorConfig>,
    /// `output`.
    pub outputs: Vec<TensorConfig>,
    /// `version_policy`.
    pub versions: VersionPolicy,
    /// `dynamic_batching`.
    pub dynamic_batching: Option<DynamicBatching>,
    /// Whether requests are sequences, or the batcher adds inputs: a graph has more inputs than are configured.
    pub adds_inputs: bool,
    /// Whether `batch_output` scatters outputs, whose shapes in the file are those of all requests together.
    pub scatters: bool,
    /// Whether a repository agent changes the files before they are loaded.
    pub has_agents: bool,
    /// `ensemble_scheduling`: its steps.
    pub steps: Option<Vec<EnsembleStep>>,
    /// `instance_group`.
    pub groups: Vec<InstanceGroup>,
    /// `default_model_filename`.
    pub file: Option<At<String>>,
    /// `cc_model_filenames`: files for compute capabilities.
    pub capability_files: Vec<At<String>>,
    /// Keys of `parameters`, `metric_tags` and `cc_model_filenames`, each with the field that it stands in.
    pub keys: Vec<(&'static str, At<String>)>,
    /// `model_warmup`.
    pub warmups: Vec<Warmup>,
    /// `response_cache`, where it is enabled.
    pub response_cache: Option<Range<usize>>,
    /// Whether nothing at all is written.
    pub is_empty: bool,
}

/// An `input` or an `output`.
#[derive(Clone, Debug, Default)]
pub struct TensorConfig {
    /// Where it stands.
    pub span: Range<usize>,
    /// `name`.
    pub name: Option<At<String>>,
    /// `data_type`, `TYPE_FP32`; none for a number that names none.
    pub data_type: Option<At<Option<&'static str>>>,
    /// `format`, unless `FORMAT_NONE`.
    pub format: Option<At<&'static str>>,
    /// `dims`.
    pub dims: Vec<At<i64>>,
    /// `reshape`.
    pub reshape: Option<Reshape>,
    /// `label_filename`.
    pub labels: Option<At<String>>,
    /// `is_shape_tensor` or `is_non_linear_format_io`, which TensorRT alone has; the field's name.
    pub tensorrt_only: Vec<At<&'static str>>,
    /// `optional`.
    pub is_optional: bool,
    /// `allow_ragged_batch`: requests of other sizes are laid end to end, and the file's shape is that of all of them.
    pub is_ragged: bool,
}

impl TensorConfig {
    /// Its name, for words.
    pub fn shown(&self) -> String {
        self.name.as_ref().map_or_else(|| "a tensor without a name".to_owned(), |name| format!("`{}`", name.value))
    }

    /// Where its dims stand; the whole where there are none.
    pub fn dims_span(&self) -> Range<usize> {
        match (self.dims.first(), self.dims.last()) {
            (Some(first), Some(last)) => first.span.start..last.span.end,
            _ => self.span.clone(),
        }
    }

    /// Whether every size is one, and a reshape keeps the elements: else there is nothing to hold to a file.
    pub fn is_sound(&self) -> bool {
        let sizes = |dims: &[At<i64>]| dims.iter().all(|dim| dim.value >= 1 || dim.value == OPEN);
        let kept = |reshape: &Reshape| sizes(&reshape.shape) && chunks(&self.dims) == chunks(&reshape.shape);
        !self.dims.is_empty() && sizes(&self.dims) && self.reshape.as_ref().is_none_or(kept)
    }

    /// The shape that the backend has, without the batch.
    pub fn inner(&self) -> Vec<i64> {
        let of = |dims: &[At<i64>]| dims.iter().map(|dim| dim.value).collect();
        self.reshape.as_ref().map_or_else(|| of(&self.dims), |reshape| of(&reshape.shape))
    }

    /// Where [`Self::inner`] stands.
    pub fn inner_span(&self) -> Range<usize> {
        self.reshape.as_ref().map_or_else(|| self.dims_span(), |reshape| reshape.span.clone())
    }
}

/// `reshape`.
#[derive(Clone, Debug)]
pub struct Reshape {
    /// Where it stands.
    pub span: Range<usize>,
    /// `shape`.
    pub shape: Vec<At<i64>>,
}

/// `version_policy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The newest, so many; one where nothing is written.
    Latest(Option<At<i64>>),
    /// All of them.
    All,
    /// These.
    Specific(Range<usize>, Vec<At<i64>>),
}

impl Default for VersionPolicy {
    fn default() -> Self {
        Self::Latest(None)
    }
}

/// `dynamic_batching`.
#[derive(Clone, Debug)]
pub struct DynamicBatching {
    /// Where it stands.
    pub span: Range<usize>,
    /// `preferred_batch_size`.
    pub preferred: Vec<At<i64>>,
    /// `priority_levels`.
    pub levels: Option<At<i64>>,
    /// `default_priority_level`.
    pub default_level: Option<At<i64>>,
    /// Keys of `priority_queue_policy`.
    pub policy_levels: Vec<At<i64>>,
    /// `preserve_ordering`, where it is set.
    pub preserve_ordering: Option<Range<usize>>,
    /// Whether a queue policy delays what comes too late.
    pub delays: bool,
}

/// An `instance_group`.
#[derive(Clone, Debug)]
pub struct InstanceGroup {
    /// Where it stands.
    pub span: Range<usize>,
    /// `kind`, `KIND_AUTO` where nothing is written.
    pub kind: &'static str,
    /// `gpus`.
    pub gpus: Vec<At<i64>>,
    /// `profile`.
    pub profiles: Vec<At<String>>,
}

/// A `step` of an ensemble.
#[derive(Clone, Debug)]
pub struct EnsembleStep {
    /// Where it stands.
    pub span: Range<usize>,
    /// `model_name`.
    pub model: Option<At<String>>,
    /// `model_version`; 0 where nothing is written.
    pub version: Option<At<i64>>,
    /// `input_map`: the model's tensor, and the ensemble's.
    pub inputs: Vec<(At<String>, At<String>)>,
    /// `output_map`, likewise.
    pub outputs: Vec<(At<String>, At<String>)>,
}

/// A `model_warmup`.
#[derive(Clone, Debug)]
pub struct Warmup {
    /// Where it stands.
    pub span: Range<usize>,
    /// `batch_size`.
    pub batch_size: Option<At<i64>>,
    /// `inputs`.
    pub inputs: Vec<WarmupInput>,
}

/// An input of a warmup.
#[derive(Clone, Debug)]
pub struct WarmupInput {
    /// Its name.
    pub name: At<String>,
    /// Where it stands.
    pub span: Range<usize>,
    /// `data_type`.
    pub data_type: Option<At<Option<&'static str>>>,
    /// `dims`.
    pub dims: Vec<At<i64>>,
    /// Whether one of the kinds of data is named.
    pub has_data: bool,
    /// `input_data_file`.
    pub file: Option<At<String>>,
}

impl Config {
    /// The configuration of a bound text.
    pub fn of(node: &Node, is_empty: bool) -> Self {
        let mut keys = Vec::new();
        for field in ["parameters", "metric_tags", "cc_model_filenames"] {
            keys.extend(node.nodes(field).filter_map(|entry| Some((field, key(entry)?))));
        }
        let steps: Option<Vec<EnsembleStep>> =
            node.node("ensemble_scheduling").map(|ensemble| ensemble.nodes("step").map(step).collect());
        let batching = node.node("dynamic_batching");
        Self {
            name: node.text("name"),
            platform: node.text("platform"),
            backend: node.text("backend"),
            runtime: node.text("runtime"),
            max_batch_size: node.number("max_batch_size"),
            inputs: node.nodes("input").map(tensor).collect(),
            outputs: node.nodes("output").map(tensor).collect(),
            versions: node.node("version_policy").map_or_else(VersionPolicy::default, versions),
            dynamic_batching: batching.map(|batching| dynamic_batching(batching, node)),
            adds_inputs: node.node("sequence_batching").is_some() || node.node("batch_input").is_some(),
            scatters: node.node("batch_output").is_some(),
            has_agents: node.node("model_repository_agents").is_some_and(|agents| agents.node("agents").is_some()),
            steps,
            groups: node.nodes("instance_group").map(group).collect(),
            file: node.text("default_model_filename"),
            capability_files: node.nodes("cc_model_filenames").filter_map(|entry| entry.text("value")).collect(),
            keys,
            warmups: node.nodes("model_warmup").map(warmup).collect(),
            response_cache: node.node("response_cache").and_then(|cache| cache.flag("enable")),
            is_empty,
        }
    }

    /// The batch that is served; 0 for none.
    pub fn max_batch(&self) -> i64 {
        self.max_batch_size.as_ref().map_or(0, |size| size.value)
    }
}

fn key(entry: &Node) -> Option<At<String>> {
    entry.texts("key").pop()
}

fn tensor(node: &Node) -> TensorConfig {
    let only = ["is_shape_tensor", "is_non_linear_format_io"];
    let format = node.named("format").and_then(|format| Some(At { value: format.value?, span: format.span }));
    TensorConfig {
        span: node.span.clone(),
        name: node.text("name"),
        data_type: node.named("data_type").filter(|kind| kind.value != Some("TYPE_INVALID")),
        format: format.filter(|format| format.value != "FORMAT_NONE"),
        dims: node.numbers("dims"),
        reshape: node
            .node("reshape")
            .map(|reshape| Reshape { span: reshape.span.clone(), shape: reshape.numbers("shape") }),
        labels: node.text("label_filename"),
        tensorrt_only: only.iter().filter_map(|&value| Some(At { value, span: node.flag(value)? })).collect(),
        is_optional: node.flag("optional").is_some(),
        is_ragged: node.flag("allow_ragged_batch").is_some(),
    }
}

fn versions(node: &Node) -> VersionPolicy {
    if let Some(latest) = node.node("latest") {
        // A number that is not written is 0.
        let none = At { value: 0, span: latest.span.clone() };
        return VersionPolicy::Latest(Some(latest.number("num_versions").unwrap_or(none)));
    }
    match node.node("specific") {
        Some(specific) => VersionPolicy::Specific(specific.span.clone(), specific.numbers("versions")),
        None => VersionPolicy::All,
    }
}

fn dynamic_batching(batching: &Node, config: &Node) -> DynamicBatching {
    let policies = || batching.nodes("priority_queue_policy").filter_map(|entry| entry.node("value"));
    let delays = |policy: &Node| {
        policy.named("timeout_action").is_some_and(|action| action.value == Some("DELAY"))
            && policy.number("default_timeout_microseconds").is_some_and(|timeout| timeout.value != 0)
    };
    DynamicBatching {
        span: config.written("dynamic_batching").unwrap_or_default(),
        preferred: batching.numbers("preferred_batch_size"),
        levels: batching.number("priority_levels"),
        default_level: batching.number("default_priority_level"),
        policy_levels: batching
            .nodes("priority_queue_policy")
            .map(|entry| entry.number("key").unwrap_or(At { value: 0, span: entry.span.clone() }))
            .collect(),
        preserve_ordering: batching.flag("preserve_ordering"),
        delays: batching.nodes("default_queue_policy").chain(policies()).any(delays),
    }
}

fn group(node: &Node) -> InstanceGroup {
    InstanceGroup {
        span: node.span.clone(),
        kind: node.named("kind").and_then(|kind| kind.value).unwrap_or("KIND_AUTO"),
        gpus: node.numbers("gpus"),
        profiles: node.texts("profile"),
    }
}

fn step(node: &Node) -> EnsembleStep {
    let map = |name: &str| {
        let pair = |entry: &Node| {
            let empty = || At { value: String::new(), span: entry.span.clone() };
            (key(entry).unwrap_or_else(empty), entry.texts("value").pop().unwrap_or_else(empty))
        };
        node.nodes(name).map(pair).collect()
    };
    EnsembleStep {
        span: node.span.clone(),
        model: node.text("model_name"),
        version: node.number("model_version"),
        inputs: map("input_map"),
        outputs: map("output_map"),
    }
}

fn warmup(node: &Node) -> Warmup {
    let input = |entry: &Node| {
        let empty = Node::default();
        let value = entry.node("value").unwrap_or(&empty);
        WarmupInput {
            name: key(entry).unwrap_or(At { value: String::new(), span: entry.span.clone() }),
            span: entry.span.clone(),
            data_type: value.named("data_type"),
            dims: value.numbers("dims"),
            has_data: ["zero_data", "random_data", "input_data_file"].iter().any(|name| value.written(name).is_some()),
            file: value.text("input_data_file"),
        }
    };
    Warmup {
        span: node.span.clone(),
        batch_size: node.number("batch_size"),
        inputs: node.nodes("inputs").map(input).collect(),
    }
}
