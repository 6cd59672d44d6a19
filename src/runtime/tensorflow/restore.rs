//! Variables that the session's own restoring leaves without values.
//!
//! A SavedModel of a Keras 3 model that `tf.saved_model.save` wrote, or of a `tf.Module` that holds one, has two handles a
//! variable: the one that the serving function reads (`conv2d/kernel`), and a twin (`Variable_7`), to which the saver
//! restores the checkpoint (Keras makes the twin as `tf.Variable(original)` while it exports). Nothing copies the value
//! back, so a session says "Could not find variable" where `tf.saved_model.load`, which walks the objects, does not.
//!
//! Each handle without a value gets it from its twin, which the graph ties to it exactly: the twin's initialiser reads the
//! handle. A handle without a twin gets the value that the checkpoint's object graph holds under its name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost::Message;

use super::proto::{self, Node};
use super::result::{Endpoint, Operation, SavedModel};
use crate::error::{Error, Result};

/// `DataType` numbers (`tensorflow/core/framework/types.proto`).
const UINT8: i32 = 4;
const STRING: i32 = 7;

/// Where the object graph stands in a checkpoint (`tensorflow/python/checkpoint/trackable/base.py`).
const OBJECT_GRAPH_KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";

/// Gives values to the variables that `outputs` (tensors of the graph) read and that have none. `folder` is the SavedModel.
///
/// # Errors
/// `Input` where a value is found neither in the graph nor in the checkpoint; `Failed` where TensorFlow refuses.
pub(super) fn variables(
    model: &mut SavedModel,
    meta_graph: &proto::MetaGraph,
    folder: &Path,
    outputs: &[&str],
) -> Result<()> {
    let Some(graph) = &meta_graph.graph else { return Ok(()) };
    let graph = Graph::of(graph);
    let handles = graph.handles_behind(outputs);
    let mut editor = Editor { model, added: 0 };
    let mut bare = editor.without_value(&handles)?;
    if bare.is_empty() {
        return Ok(());
    }
    let mut assignments = Vec::new();
    let pairs = graph.twins(&bare);
    let twins: BTreeSet<&str> = pairs.values().copied().collect();
    let bare_twins = editor.without_value(&twins)?;
    for (handle, twin) in pairs {
        if !bare_twins.contains(twin) {
            let data_type = graph.data_type(handle);
            let value = editor.read(twin, data_type)?;
            assignments.push(editor.assign(handle, value, data_type)?);
            bare.remove(handle);
        }
    }
    if !bare.is_empty() {
        assignments.extend(from_checkpoint(&mut editor, &graph, folder, &bare)?);
    }
    editor.model.run(&[], &assignments, &[]).map(drop)
}

/// Assignments of the checkpoint's values to the handles `bare`, by the names that its object graph has.
fn from_checkpoint<'graph>(
    editor: &mut Editor<'_>,
    graph: &Graph<'graph>,
    folder: &Path,
    bare: &BTreeSet<&'graph str>,
) -> Result<Vec<Operation>> {
    let prefix = folder.join("variables").join("variables");
    let prefix = prefix.as_os_str().as_encoded_bytes();
    let keys = editor.object_graph(prefix).map(|objects| keys_by_name(&objects)).unwrap_or_default();
    let mut found = Vec::new();
    for &handle in bare {
        match keys.get(handle).map(|keys| keys.iter().collect::<Vec<_>>()).as_deref() {
            Some([key]) => found.push((handle, (*key).clone(), graph.data_type(handle))),
            several => {
                let why = match several {
                    Some(several) => format!("its checkpoint holds {} values of that name", several.len()),
                    None => "its checkpoint holds no value of that name".to_owned(),
                };
                return Err(Error::input(format!(
                    "variable `{handle}` of `{}` gets no value from a TensorFlow session",
                    folder.display()
                ))
                .cause(why)
                .hint("save the model with Keras's `model.export(folder)`, which names every value"));
            }
        }
    }
    let (names, types): (Vec<_>, Vec<_>) =
        found.iter().map(|(_, key, data_type)| (key.as_bytes().to_vec(), *data_type)).unzip();
    let restored = editor.restore(prefix, names, types)?;
    let mut assignments = Vec::new();
    for (index, (handle, _, data_type)) in (0..).zip(&found) {
        assignments.push(editor.assign(handle, restored.output(index), *data_type)?);
    }
    Ok(assignments)
}

/// Keys of the values in a checkpoint by the names of their variables.
pub(super) fn keys_by_name(objects: &proto::ObjectGraph) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let values = objects.nodes.iter().flat_map(|node| &node.attributes);
    for value in values.filter(|value| value.name == "VARIABLE_VALUE" && !value.full_name.is_empty()) {
        keys.entry(value.full_name.clone()).or_default().insert(value.checkpoint_key.clone());
    }
    keys
}

/// The nodes of the main graph by name.
struct Graph<'graph> {
    nodes: BTreeMap<&'graph str, &'graph Node>,
}

impl<'graph> Graph<'graph> {
    fn of(graph: &'graph proto::Graph) -> Self {
        Self { nodes: graph.nodes.iter().map(|node| (node.name.as_str(), node)).collect() }
    }

    /// The node that makes the tensor `name`: `node`, `node:index`, `^node`.
    fn maker(&self, name: &str) -> Option<&'graph Node> {
        let name = name.strip_prefix('^').unwrap_or(name);
        let operation = name.rsplit_once(':').map_or(name, |(operation, _)| operation);
        self.nodes.get(operation).copied()
    }

    /// Names of the variables' handles that `outputs` depend on.
    fn handles_behind(&self, outputs: &[&str]) -> BTreeSet<&'graph str> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&Node> = outputs.iter().filter_map(|name| self.maker(name)).collect();
        while let Some(node) = open.pop() {
            if seen.insert(node.name.as_str()) {
                open.extend(node.inputs.iter().filter_map(|name| self.maker(name)));
            }
        }
        seen.retain(|name| self.nodes.get(name).is_some_and(|node| node.operator == "VarHandleOp"));
        seen
    }

    /// For each of `handles` that has one, the variable whose initialiser reads it.
    fn twins(&self, handles: &BTreeSet<&'graph str>) -> BTreeMap<&'graph str, &'graph str> {
        let assignments = self.nodes.values().filter(|node| node.operator == "AssignVariableOp");
        let pairs = assignments.filter_map(|node| {
            let [twin, value, ..] = node.inputs.as_slice() else { return None };
            let mut maker = self.maker(value)?;
            let mut left = self.nodes.len();
            while maker.operator == "Identity" {
                left = left.checked_sub(1)?;
                maker = self.maker(maker.inputs.first()?)?;
            }
            let read = (maker.operator == "ReadVariableOp").then(|| maker.inputs.first()).flatten()?;
            let handle = self.maker(read)?.name.as_str();
            let twin = self.maker(twin).filter(|twin| twin.operator == "VarHandleOp")?.name.as_str();
            (handles.contains(handle) && twin != handle).then_some((handle, twin))
        });
        pairs.collect()
    }

    /// The data type of a handle's variable.
    fn data_type(&self, handle: &str) -> i32 {
        let attribute = self.nodes.get(handle).and_then(|node| node.attributes.get("dtype"));
        attribute.map_or(0, |attribute| attribute.data_type)
    }
}

/// Adds operations under names of its own.
struct Editor<'model> {
    model: &'model mut SavedModel,
    added: usize,
}

impl Editor<'_> {
    fn add(&mut self, operator: &str, inputs: &[Endpoint], attributes: &[(&str, Vec<u8>)]) -> Result<Operation> {
        self.added += 1;
        self.model.add(operator, &format!("trtgate_restore/{operator}_{}", self.added), inputs, attributes)
    }

    /// Those of `handles` whose variables hold no value.
    fn without_value<'name>(&mut self, handles: &BTreeSet<&'name str>) -> Result<BTreeSet<&'name str>> {
        let mut answers = Vec::with_capacity(handles.len());
        for handle in handles {
            let handle = self.model.endpoint(handle)?;
            answers.push(self.add("VarIsInitializedOp", &[handle], &[])?.output(0));
        }
        if answers.is_empty() {
            return Ok(BTreeSet::new());
        }
        let answers = self.model.run(&[], &[], &answers)?;
        let bare = handles.iter().zip(&answers).filter(|(_, answer)| answer.bytes() != [1]);
        Ok(bare.map(|(handle, _)| *handle).collect())
    }

    fn read(&mut self, handle: &str, data_type: i32) -> Result<Endpoint> {
        let handle = self.model.endpoint(handle)?;
        Ok(self.add("ReadVariableOp", &[handle], &[("dtype", type_attribute(data_type))])?.output(0))
    }

    fn assign(&mut self, handle: &str, value: Endpoint, data_type: i32) -> Result<Operation> {
        let handle = self.model.endpoint(handle)?;
        self.add("AssignVariableOp", &[handle, value], &[("dtype", type_attribute(data_type))])
    }

    /// A constant of strings: a scalar, or a vector.
    fn text(&mut self, values: Vec<Vec<u8>>, scalar: bool) -> Result<Endpoint> {
        let length = i64::try_from(values.len()).map_err(|_| Error::failed("too many variables"))?;
        let dimensions = if scalar { Vec::new() } else { vec![proto::Dimension { size: length }] };
        let shape = Some(proto::Shape { dimensions, unknown_rank: false });
        let tensor = Some(proto::StringTensor { data_type: STRING, shape, values });
        let value = proto::TensorAttribute { tensor }.encode_to_vec();
        Ok(self.add("Const", &[], &[("dtype", type_attribute(STRING)), ("value", value)])?.output(0))
    }

    /// The operation that reads the values `names` of the checkpoint `prefix`.
    fn restore(&mut self, prefix: &[u8], names: Vec<Vec<u8>>, types: Vec<i32>) -> Result<Operation> {
        let whole = vec![Vec::new(); names.len()];
        let inputs = [self.text(vec![prefix.to_vec()], true)?, self.text(names, false)?, self.text(whole, false)?];
        let types = proto::TypesAttribute { list: Some(proto::Types { data_types: types }) }.encode_to_vec();
        self.add("RestoreV2", &inputs, &[("dtypes", types)])
    }

    /// The object graph of the checkpoint `prefix`; `None` where it has none.
    fn object_graph(&mut self, prefix: &[u8]) -> Option<proto::ObjectGraph> {
        let encoded = self.restore(prefix, vec![OBJECT_GRAPH_KEY.as_bytes().to_vec()], vec![STRING]).ok()?;
        // As numbers, since strings cross the C API only in a form that its headers alone describe.
        let decoded = self.add("DecodeRaw", &[encoded.output(0)], &[("out_type", type_attribute(UINT8))]).ok()?;
        let answers = self.model.run(&[], &[], &[decoded.output(0)]).ok()?;
        proto::ObjectGraph::decode(answers.first()?.bytes()).ok()
    }
}

fn type_attribute(data_type: i32) -> Vec<u8> {
    proto::TypeAttribute { data_type }.encode_to_vec()
}

/// Finds the variables behind `outputs` and their twins; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(super) fn look_through(meta_graph: &proto::MetaGraph, outputs: &[&str]) {
    let Some(graph) = &meta_graph.graph else { return };
    let graph = Graph::of(graph);
    let handles = graph.handles_behind(outputs);
    graph.twins(&handles);
    for handle in handles {
        graph.data_type(handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(operator: &str, name: &str, inputs: &[&str]) -> Node {
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        Node { name: name.to_owned(), operator: operator.to_owned(), inputs, ..Node::default() }
    }

    /// What Keras 3 writes for a dense layer, and a variable that the outputs do not read.
    fn dense() -> proto::Graph {
        let nodes = vec![
            node("VarHandleOp", "dense/kernel", &[]),
            node("ReadVariableOp", "Variable/Initializer/ReadVariableOp", &["dense/kernel"]),
            node("Identity", "Variable/Initializer/Identity", &["Variable/Initializer/ReadVariableOp"]),
            node("VarHandleOp", "Variable", &[]),
            node("AssignVariableOp", "Variable/Assign", &["Variable", "Variable/Initializer/Identity"]),
            node("VarHandleOp", "dense/bias", &[]),
            node("VarHandleOp", "unread", &[]),
            node("Placeholder", "x", &[]),
            node("StatefulPartitionedCall", "call", &["x", "dense/kernel", "dense/bias", "^unread_noop"]),
        ];
        proto::Graph { nodes }
    }

    #[test]
    fn handles_are_those_that_the_outputs_read() {
        let graph = dense();
        let handles = Graph::of(&graph).handles_behind(&["call:1"]);
        assert_eq!(handles, BTreeSet::from(["dense/bias", "dense/kernel"]));
        assert!(Graph::of(&graph).handles_behind(&["x"]).is_empty());
    }

    #[test]
    fn a_twin_is_told_by_its_initialiser() {
        let graph = dense();
        let handles = BTreeSet::from(["dense/bias", "dense/kernel"]);
        assert_eq!(Graph::of(&graph).twins(&handles), BTreeMap::from([("dense/kernel", "Variable")]));
    }

    #[test]
    fn a_circle_of_identities_comes_to_an_end() {
        let nodes = vec![
            node("VarHandleOp", "Variable", &[]),
            node("Identity", "one", &["other"]),
            node("Identity", "other", &["one"]),
            node("AssignVariableOp", "assign", &["Variable", "one"]),
        ];
        assert!(Graph::of(&proto::Graph { nodes }).twins(&BTreeSet::from(["Variable"])).is_empty());
    }

    #[test]
    fn two_values_of_one_name_are_kept_apart() {
        let value = |full_name: &str, checkpoint_key: &str| proto::SavedTensor {
            name: "VARIABLE_VALUE".to_owned(),
            full_name: full_name.to_owned(),
            checkpoint_key: checkpoint_key.to_owned(),
        };
        let attributes = vec![value("c/bias", "a/bias"), value("c/bias", "b/bias"), value("w", "w"), value("w", "w")];
        let keys = keys_by_name(&proto::ObjectGraph { nodes: vec![proto::Object { attributes }] });
        assert_eq!(keys.get("c/bias").map(BTreeSet::len), Some(2));
        assert_eq!(keys.get("w").map(BTreeSet::len), Some(1));
    }
}
