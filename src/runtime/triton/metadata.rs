//! What a server says of itself, of a model, and of how it serves it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::{element_type, short};
use crate::error::{Error, Result};
use crate::tensor::{Signature, TensorSpec};

/// Starts of the names of a configuration's parameters that trtgate writes.
const PROVENANCE: &str = "trtgate.";
/// Most dimensions that a model's tensor is read with.
const MOST_DIMENSIONS: usize = 64;
/// Most inputs, and most outputs, that a model is read with.
const MOST_TENSORS: usize = 4096;

/// What `GET /v2` says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Server {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) extensions: Option<Vec<String>>,
}

/// What `GET /v2/models/M` says.
#[derive(Debug, Deserialize)]
pub(super) struct Model {
    pub(super) name: String,
    #[serde(default)]
    pub(super) versions: Option<Vec<String>>,
    #[serde(default)]
    pub(super) platform: Option<String>,
    pub(super) inputs: Vec<Border>,
    pub(super) outputs: Vec<Border>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Border {
    pub(super) name: String,
    pub(super) datatype: String,
    pub(super) shape: Vec<i64>,
}

/// What `GET /v2/models/M/config` says, of a Triton.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Configuration {
    #[serde(default)]
    pub(super) max_batch_size: i64,
    #[serde(default)]
    pub(super) backend: String,
    #[serde(default)]
    pub(super) input: Vec<Configured>,
    #[serde(default)]
    pub(super) output: Vec<Configured>,
    #[serde(default)]
    pub(super) dynamic_batching: Option<DynamicBatching>,
    #[serde(default)]
    pub(super) instance_group: Vec<InstanceGroup>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, Parameter>,
    #[serde(default)]
    pub(super) model_transaction_policy: Option<TransactionPolicy>,
    #[serde(default)]
    pub(super) sequence_batching: Option<Value>,
    #[serde(default)]
    pub(super) response_cache: Option<ResponseCache>,
}

/// A tensor of the configuration.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Configured {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) reshape: Option<Reshape>,
}

/// The shape that a backend takes or gives in the place of the one on the wire.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Reshape {
    #[serde(default)]
    pub(super) shape: Vec<i64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct DynamicBatching {
    #[serde(default)]
    pub(super) preferred_batch_size: Vec<i64>,
    #[serde(default)]
    pub(super) max_queue_delay_microseconds: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct InstanceGroup {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) count: i64,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameter {
    #[serde(default)]
    pub(super) string_value: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct TransactionPolicy {
    #[serde(default)]
    pub(super) decoupled: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ResponseCache {
    #[serde(default)]
    pub(super) enable: bool,
}

/// What `GET /v2/models/M/stats` says, of a Triton.
#[derive(Debug, Deserialize)]
pub(super) struct Statistics {
    model_stats: Vec<VersionStatistics>,
}

#[derive(Debug, Deserialize)]
struct VersionStatistics {
    inference_count: u64,
    execution_count: u64,
}

impl Statistics {
    /// Samples that were computed by all versions, and executions that they took; `None` where no version is told.
    pub(super) fn executions(&self) -> Option<(u64, u64)> {
        let sum = |of: fn(&VersionStatistics) -> u64| self.model_stats.iter().map(of).fold(0, u64::saturating_add);
        (!self.model_stats.is_empty()).then(|| (sum(|one| one.inference_count), sum(|one| one.execution_count)))
    }
}

/// Reads `bytes` as `what`.
///
/// # Errors
/// `Invalid` where they are something else.
pub(super) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid(format!("{what} is not what the protocol has")).because(error))
}

impl Model {
    /// The model's inputs and outputs.
    ///
    /// # Errors
    /// `Unsupported` for tensors of text and for more than 4,096 inputs or outputs, `Invalid` for what no tensor has, or what is named twice.
    pub(super) fn signature(&self) -> Result<Signature> {
        let specs = |tensors: &[Border]| {
            if tensors.len() > MOST_TENSORS {
                let count = tensors.len();
                return Err(Error::unsupported(format!(
                    "the model's metadata names {count} inputs or outputs, and at most {MOST_TENSORS} are read"
                )));
            }
            let mut names = BTreeSet::new();
            let mut specs: Vec<TensorSpec> = Vec::with_capacity(tensors.len());
            for tensor in tensors {
                let name = short(&tensor.name);
                let element_type = element_type(&tensor.datatype, &name)?;
                let size = |&size: &i64| match size {
                    -1 => Some(None),
                    size => usize::try_from(size).ok().map(Some),
                };
                let shape = tensor.shape.iter().map(size).collect::<Option<Vec<_>>>();
                let shape = shape
                    .filter(|shape| shape.len() <= MOST_DIMENSIONS)
                    .ok_or_else(|| Error::invalid(format!("`{name}` has a shape that no tensor has")))?;
                if !names.insert(tensor.name.as_str()) {
                    return Err(Error::invalid(format!("`{name}` is named twice in the model's metadata")));
                }
                specs.push(TensorSpec { name: tensor.name.clone(), element_type, shape });
            }
            Ok(specs)
        };
        let signature = Signature { inputs: specs(&self.inputs)?, outputs: specs(&self.outputs)? };
        match (signature.inputs.is_empty(), signature.outputs.is_empty()) {
            (false, false) => Ok(signature),
            _ => Err(Error::invalid("the model's metadata names no inputs or no outputs")
                .hint("a Triton without `--disable-auto-complete-config`, or a configuration with them, serves some")),
        }
    }
}

/// What is known of a served model before it is asked anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedModel {
    /// Its inputs and outputs as the server declares them, where it does.
    pub signature: Option<Signature>,
    /// The largest batch that it takes; `None` where the server does not tell, or where the model has no batch of its own.
    pub largest_batch: Option<u32>,
    /// What trtgate wrote into its configuration when it was exported: all that begins with `trtgate.`.
    pub provenance: BTreeMap<String, String>,
    /// What the server says of itself where it is not both live and ready, as one is with another model that does not load.
    #[serde(default)]
    pub unready: Option<String>,
    /// What a reader should know of the server and of how it serves the model, a sentence each.
    pub notes: Vec<String>,
}

impl ServedModel {
    /// Adds what a Triton's configuration says.
    pub(super) fn configured(&mut self, configuration: &Configuration) {
        let Configuration { max_batch_size, dynamic_batching, parameters, .. } = configuration;
        self.largest_batch = u32::try_from(*max_batch_size).ok().filter(|largest| *largest > 0);
        self.provenance = parameters
            .iter()
            .filter(|(name, _)| name.starts_with(PROVENANCE))
            .map(|(name, value)| (short(name), short(&value.string_value)))
            .collect();
        let mut note = |text: String| self.notes.push(text);
        let instances: i64 = configuration.instance_group.iter().map(|group| group.count.clamp(0, 1 << 20)).sum();
        let kinds: Vec<String> = configuration.instance_group.iter().map(|group| short(&group.kind)).collect();
        let backend = if configuration.backend.is_empty() { "not named" } else { &configuration.backend };
        note(format!("backend {}, {instances} instances ({})", short(backend), kinds.join(", ")));
        note(match max_batch_size {
            0 => "no batching: `max_batch_size` is 0".to_owned(),
            largest => format!("batches of up to {largest}"),
        });
        match dynamic_batching {
            Some(DynamicBatching { preferred_batch_size, max_queue_delay_microseconds }) => note(format!(
                "requests are merged: preferred {preferred_batch_size:?}, waiting up to {max_queue_delay_microseconds} µs"
            )),
            None => note("requests are not merged".to_owned()),
        }
        if configuration.response_cache.as_ref().is_some_and(|cache| cache.enable) {
            note("answers may come from a cache: the same request twice is computed once".to_owned());
        }
    }
}

impl Configuration {
    /// Why a model served like this cannot be gated, if so.
    pub(super) fn obstacle(&self) -> Option<&'static str> {
        if self.model_transaction_policy.as_ref().is_some_and(|policy| policy.decoupled) {
            return Some("the model is decoupled: it may answer a request many times or never, which is not gated");
        }
        self.sequence_batching
            .as_ref()
            .map(|_| "the model keeps state between the requests of a sequence, which is not gated")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::ErrorKind;

    fn model(inputs: &str) -> Result<Signature> {
        let text = format!(
            r#"{{"name":"m","versions":["1"],"platform":"p","inputs":[{inputs}],"outputs":[{{"name":"y","datatype":"FP32","shape":[-1,10]}}]}}"#
        );
        read::<Model>(text.as_bytes(), "the metadata")?.signature()
    }

    #[test]
    fn open_sizes_are_open_and_types_are_the_protocols() {
        let signature = model(r#"{"name":"x","datatype":"FP16","shape":[-1,3,-1]}"#).unwrap();
        assert_eq!(signature.inputs[0].shape, [None, Some(3), None]);
        assert_eq!(signature.inputs[0].element_type, crate::tensor::ElementType::Float16);
    }

    #[rstest]
    #[case(r#"{"name":"x","datatype":"BYTES","shape":[-1]}"#, ErrorKind::Unsupported, "is BYTES")]
    #[case(r#"{"name":"x","datatype":"FP32","shape":[-2]}"#, ErrorKind::Invalid, "a shape that no tensor has")]
    #[case("", ErrorKind::Invalid, "names no inputs")]
    #[case(r#"{"name":"x","datatype":"FP32"}"#, ErrorKind::Invalid, "not what the protocol has")]
    #[case(
        r#"{"name":"x","datatype":"FP32","shape":[1]},{"name":"x","datatype":"FP32","shape":[1]}"#,
        ErrorKind::Invalid,
        "named twice"
    )]
    fn what_cannot_be_gated_is_refused(#[case] inputs: &str, #[case] kind: ErrorKind, #[case] words: &str) {
        let error = model(inputs).unwrap_err();
        assert!(error.kind == kind && error.to_string().contains(words), "{error}");
    }

    #[test]
    fn so_many_tensors_are_read_and_no_more() {
        let inputs = |count: usize| {
            let one = |place| format!(r#"{{"name":"x{place}","datatype":"FP32","shape":[1]}}"#);
            model(&(0..count).map(one).collect::<Vec<_>>().join(","))
        };
        assert_eq!(inputs(MOST_TENSORS).unwrap().inputs.len(), MOST_TENSORS);
        let error = inputs(MOST_TENSORS + 1).unwrap_err();
        assert!(error.kind == ErrorKind::Unsupported && error.message.contains("4097 inputs or outputs"), "{error}");
    }

    /// As MLServer and KServe have it: no versions, or `null`.
    #[test]
    fn other_servers_leave_out_what_triton_says() {
        for versions in ["[]", "null"] {
            let text = format!(
                r#"{{"name":"m","versions":{versions},"platform":"","inputs":[{{"name":"x","datatype":"FP32","shape":[-1,2]}}],"outputs":[{{"name":"y","datatype":"FP32","shape":[-1,2]}}],"parameters":{{"content_type":null}}}}"#
            );
            assert!(read::<Model>(text.as_bytes(), "it").unwrap().signature().is_ok(), "{versions}");
        }
    }

    #[test]
    fn a_configuration_tells_the_batch_the_merging_and_where_the_model_came_from() {
        let text = r#"{"name":"m","backend":"onnxruntime","max_batch_size":32,"dynamic_batching":{"preferred_batch_size":[32],
            "max_queue_delay_microseconds":100},"instance_group":[{"name":"m_0","kind":"KIND_CPU","count":2}],
            "parameters":{"trtgate.model.sha256":{"string_value":"ab"},"other":{"string_value":"x"}},
            "response_cache":{"enable":true}}"#;
        let mut served = ServedModel::default();
        let configuration: Configuration = read(text.as_bytes(), "it").unwrap();
        served.configured(&configuration);
        assert_eq!((served.largest_batch, configuration.obstacle()), (Some(32), None));
        assert_eq!(served.provenance, BTreeMap::from([("trtgate.model.sha256".to_owned(), "ab".to_owned())]));
        insta::assert_snapshot!(served.notes.join("\n"), @r"
        backend onnxruntime, 2 instances (KIND_CPU)
        batches of up to 32
        requests are merged: preferred [32], waiting up to 100 µs
        answers may come from a cache: the same request twice is computed once
        ");
    }

    #[rstest]
    #[case(r#"{"model_transaction_policy":{"decoupled":true}}"#, true)]
    #[case(r#"{"sequence_batching":{}}"#, true)]
    #[case(r#"{"max_batch_size":0}"#, false)]
    fn models_that_answer_otherwise_are_told(#[case] text: &str, #[case] obstacle: bool) {
        let configuration: Configuration = read(text.as_bytes(), "it").unwrap();
        assert_eq!(configuration.obstacle().is_some(), obstacle);
    }
}
