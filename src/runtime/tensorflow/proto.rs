//! The few protobuf messages of TensorFlow that are read or written, with only the fields that are used.
//!
//! Field numbers: `tensorflow/core/protobuf/{saved_model,meta_graph,trackable_object_graph,config,rewriter_config}.proto`
//! and `tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape}.proto`.

use std::collections::BTreeMap;

use prost::Message;

/// `SavedModel`, the content of `saved_model.pb`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SavedModel {
    #[prost(message, repeated, tag = "2")]
    pub(super) meta_graphs: Vec<MetaGraph>,
}

/// `MetaGraphDef`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MetaGraph {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<MetaInfo>,
    #[prost(message, optional, tag = "2")]
    pub(super) graph: Option<Graph>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub(super) signatures: BTreeMap<String, Signature>,
}

/// `MetaGraphDef.MetaInfoDef`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MetaInfo {
    #[prost(string, repeated, tag = "4")]
    pub(super) tags: Vec<String>,
}

/// `GraphDef`, for the operators alone.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<Node>,
}

/// `NodeDef`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) operator: String,
    /// `node`, `node:index`, or `^node` for one that must merely have run.
    #[prost(string, repeated, tag = "3")]
    pub(super) inputs: Vec<String>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub(super) attributes: BTreeMap<String, TypeAttribute>,
}

/// `AttrValue`, where it is a data type.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TypeAttribute {
    #[prost(int32, tag = "6")]
    pub(super) data_type: i32,
}

/// `AttrValue`, where it is a list of data types.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TypesAttribute {
    #[prost(message, optional, tag = "1")]
    pub(super) list: Option<Types>,
}

/// `AttrValue.ListValue`, of data types.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Types {
    #[prost(int32, repeated, tag = "6")]
    pub(super) data_types: Vec<i32>,
}

/// `AttrValue`, where it is a tensor.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorAttribute {
    #[prost(message, optional, tag = "8")]
    pub(super) tensor: Option<StringTensor>,
}

/// `TensorProto`, of strings.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StringTensor {
    #[prost(int32, tag = "1")]
    pub(super) data_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(super) values: Vec<Vec<u8>>,
}

/// `TrackableObjectGraph`, which a checkpoint holds under `_CHECKPOINTABLE_OBJECT_GRAPH`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ObjectGraph {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<Object>,
}

/// `TrackableObjectGraph.TrackableObject`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Object {
    #[prost(message, repeated, tag = "2")]
    pub(super) attributes: Vec<SavedTensor>,
}

/// `TrackableObjectGraph.TrackableObject.SerializedTensor`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SavedTensor {
    /// `VARIABLE_VALUE` for that of a variable.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// The variable's own name, `dense/kernel`.
    #[prost(string, tag = "2")]
    pub(super) full_name: String,
    /// The name of the value in the checkpoint.
    #[prost(string, tag = "3")]
    pub(super) checkpoint_key: String,
}

/// `SignatureDef`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Signature {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) inputs: BTreeMap<String, TensorInfo>,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(super) outputs: BTreeMap<String, TensorInfo>,
}

/// `TensorInfo`; an empty `name` means a sparse or composite tensor.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorInfo {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(message, optional, tag = "3")]
    pub(super) shape: Option<Shape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "2")]
    pub(super) dimensions: Vec<Dimension>,
    #[prost(bool, tag = "3")]
    pub(super) unknown_rank: bool,
}

/// `TensorShapeProto.Dim`; -1 is dynamic.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Dimension {
    #[prost(int64, tag = "1")]
    pub(super) size: i64,
}

/// `ConfigProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Config {
    #[prost(btree_map = "string, int32", tag = "1")]
    pub(super) device_count: BTreeMap<String, i32>,
    #[prost(int32, tag = "2")]
    pub(super) intra_op_parallelism_threads: i32,
    #[prost(int32, tag = "5")]
    pub(super) inter_op_parallelism_threads: i32,
    #[prost(message, optional, tag = "10")]
    pub(super) graph_options: Option<GraphOptions>,
}

/// `GraphOptions`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GraphOptions {
    #[prost(message, optional, tag = "3")]
    pub(super) optimizer_options: Option<OptimizerOptions>,
    #[prost(message, optional, tag = "10")]
    pub(super) rewrite_options: Option<RewriteOptions>,
}

/// `OptimizerOptions`; level -1 (`L0`) optimises nothing.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OptimizerOptions {
    #[prost(int32, tag = "3")]
    pub(super) level: i32,
}

/// `RewriterConfig`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RewriteOptions {
    #[prost(bool, tag = "19")]
    pub(super) disable_meta_optimizer: bool,
}

impl Config {
    /// The configuration of one session on the CPU; 0 threads leave the number to the library.
    ///
    /// GPUs are hidden: the reference must not depend on which card, or TF32 setting, a machine has.
    pub(super) fn new(intra_threads: usize, inter_threads: usize, optimize: bool) -> Self {
        Self {
            device_count: BTreeMap::from([("GPU".to_owned(), 0)]),
            intra_op_parallelism_threads: i32::try_from(intra_threads).unwrap_or(i32::MAX),
            inter_op_parallelism_threads: i32::try_from(inter_threads).unwrap_or(i32::MAX),
            graph_options: (!optimize).then_some(GraphOptions {
                optimizer_options: Some(OptimizerOptions { level: -1 }),
                rewrite_options: Some(RewriteOptions { disable_meta_optimizer: true }),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_encodes_as_tensorflow_reads_it() {
        let bytes = Config::new(2, 1, true).encode_to_vec();
        // As `ConfigProto(device_count={"GPU": 0}, intra_op_parallelism_threads=2, inter_op_parallelism_threads=1)`,
        // but for the map's value, whose default protobuf leaves out here and Python writes.
        assert_eq!(bytes, b"\x0a\x05\x0a\x03GPU\x10\x02\x28\x01");
    }

    #[test]
    fn optimisation_is_switched_off_at_both_levels() {
        let config = Config::new(0, 0, false);
        let bytes = config.encode_to_vec();
        assert_eq!(
            bytes,
            b"\x0a\x05\x0a\x03GPU\x52\x12\x1a\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x52\x03\x98\x01\x01"
        );
    }
}
