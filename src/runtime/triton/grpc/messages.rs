//! The few messages of the service, by their tags.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

use crate::error::{Error, Result};
use crate::runtime::triton::metadata::{self, Border, Model};
use crate::runtime::triton::wire::{Reply, tensor};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

/// Whether a server or a model is live or ready.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Yes {
    #[prost(bool, tag = "1")]
    pub(super) yes: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) extensions: Vec<String>,
}

/// A model and a version, the server's choice where it is empty.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Named {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

/// The name, type and shape of a tensor; of metadata, of a request and of an answer alike.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InferTensor {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub(super) shape: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) versions: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) platform: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) inputs: Vec<InferTensor>,
    #[prost(message, repeated, tag = "5")]
    pub(super) outputs: Vec<InferTensor>,
}

impl From<ModelMetadata> for Model {
    fn from(told: ModelMetadata) -> Self {
        let borders = |tensors: Vec<InferTensor>| {
            let border = |one: InferTensor| Border { name: one.name, datatype: one.datatype, shape: one.shape };
            tensors.into_iter().map(border).collect()
        };
        Self {
            name: told.name,
            versions: Some(told.versions),
            platform: Some(told.platform),
            inputs: borders(told.inputs),
            outputs: borders(told.outputs),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigurationAnswer {
    #[prost(message, optional, tag = "1")]
    pub(super) configuration: Option<Configuration>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Configuration {
    #[prost(int32, tag = "4")]
    max_batch_size: i32,
    #[prost(message, repeated, tag = "5")]
    input: Vec<ConfiguredInput>,
    #[prost(message, repeated, tag = "6")]
    output: Vec<ConfiguredOutput>,
    #[prost(message, repeated, tag = "7")]
    instance_group: Vec<InstanceGroup>,
    #[prost(message, optional, tag = "11")]
    dynamic_batching: Option<DynamicBatching>,
    #[prost(message, optional, tag = "13")]
    sequence_batching: Option<Empty>,
    #[prost(map = "string, message", tag = "14")]
    parameters: HashMap<String, Parameter>,
    #[prost(string, tag = "17")]
    backend: String,
    #[prost(message, optional, tag = "19")]
    transaction_policy: Option<Flag>,
    #[prost(message, optional, tag = "24")]
    response_cache: Option<Flag>,
}

#[derive(Clone, PartialEq, Message)]
struct ConfiguredInput {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "5")]
    reshape: Option<Reshape>,
}

#[derive(Clone, PartialEq, Message)]
struct ConfiguredOutput {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "5")]
    reshape: Option<Reshape>,
}

#[derive(Clone, PartialEq, Message)]
struct Reshape {
    #[prost(int64, repeated, tag = "1")]
    shape: Vec<i64>,
}

/// A tensor of the configuration.
fn configured(name: String, reshape: Option<Reshape>) -> metadata::Configured {
    metadata::Configured { name, reshape: reshape.map(|reshape| metadata::Reshape { shape: reshape.shape }) }
}

#[derive(Clone, PartialEq, Message)]
struct InstanceGroup {
    #[prost(int32, tag = "2")]
    count: i32,
    #[prost(int32, tag = "4")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct DynamicBatching {
    #[prost(int32, repeated, tag = "1")]
    preferred_batch_size: Vec<i32>,
    #[prost(uint64, tag = "2")]
    max_queue_delay_microseconds: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(string, tag = "1")]
    string_value: String,
}

/// A message whose first field is a flag.
#[derive(Clone, PartialEq, Message)]
struct Flag {
    #[prost(bool, tag = "1")]
    is_set: bool,
}

impl From<Configuration> for metadata::Configuration {
    fn from(told: Configuration) -> Self {
        let kind = |kind: i32| match kind {
            0 => "KIND_AUTO",
            1 => "KIND_GPU",
            2 => "KIND_CPU",
            3 => "KIND_MODEL",
            _ => "of no known kind",
        };
        let groups = told.instance_group.iter();
        Self {
            max_batch_size: told.max_batch_size.into(),
            backend: told.backend,
            input: told.input.into_iter().map(|one| configured(one.name, one.reshape)).collect(),
            output: told.output.into_iter().map(|one| configured(one.name, one.reshape)).collect(),
            dynamic_batching: told.dynamic_batching.map(|batching| metadata::DynamicBatching {
                preferred_batch_size: batching.preferred_batch_size.into_iter().map(i64::from).collect(),
                max_queue_delay_microseconds: batching.max_queue_delay_microseconds,
            }),
            instance_group: groups
                .map(|group| metadata::InstanceGroup { kind: kind(group.kind).to_owned(), count: group.count.into() })
                .collect(),
            parameters: told
                .parameters
                .into_iter()
                .map(|(name, value)| (name, metadata::Parameter { string_value: value.string_value }))
                .collect(),
            model_transaction_policy: told
                .transaction_policy
                .map(|policy| metadata::TransactionPolicy { decoupled: policy.is_set }),
            sequence_batching: told.sequence_batching.map(|_| serde_json::Value::Null),
            response_cache: told.response_cache.map(|cache| metadata::ResponseCache { enable: cache.is_set }),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Statistics {
    #[prost(message, repeated, tag = "1")]
    pub(super) models: Vec<VersionStatistics>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VersionStatistics {
    #[prost(uint64, tag = "4")]
    pub(super) inference_count: u64,
    #[prost(uint64, tag = "5")]
    pub(super) execution_count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WantedOutput {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InferRequest {
    #[prost(string, tag = "1")]
    pub(super) model_name: String,
    #[prost(string, tag = "2")]
    pub(super) model_version: String,
    #[prost(string, tag = "3")]
    pub(super) id: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) inputs: Vec<InferTensor>,
    #[prost(message, repeated, tag = "6")]
    pub(super) outputs: Vec<WantedOutput>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub(super) raw_inputs: Vec<Bytes>,
}

/// What comes over a stream: an answer, or what is wrong with a request.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamResponse {
    #[prost(string, tag = "1")]
    pub(super) error_message: String,
    #[prost(message, optional, tag = "2")]
    pub(super) response: Option<InferResponse>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InferResponse {
    #[prost(string, tag = "1")]
    pub(super) model_name: String,
    #[prost(string, tag = "2")]
    pub(super) model_version: String,
    #[prost(string, tag = "3")]
    pub(super) id: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) outputs: Vec<InferTensor>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(super) raw_outputs: Vec<Bytes>,
}

impl InferResponse {
    /// What was answered, each output held to its bytes.
    pub(super) fn reply(self) -> Result<Reply> {
        if self.outputs.len() != self.raw_outputs.len() {
            return Err(Error::invalid(format!(
                "the answer has {} outputs and raw values of {}",
                self.outputs.len(),
                self.raw_outputs.len()
            )));
        }
        let outputs = self.outputs.into_iter().zip(self.raw_outputs);
        let outputs =
            outputs.map(|(one, bytes)| tensor(one.name, &one.datatype, &one.shape, &bytes)).collect::<Result<_>>()?;
        let told = |text: String| (!text.is_empty()).then_some(text);
        Ok(Reply { id: told(self.id), model: told(self.model_name), version: told(self.model_version), outputs })
    }
}
