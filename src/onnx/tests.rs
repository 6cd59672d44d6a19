#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use prost::bytes::Bytes;

use super::*;

fn value(name: &str, element_type: i32, shape: &[Option<i64>]) -> ValueInfo {
    let dim = shape.iter().map(|size| match size {
        Some(size) => Dimension { dim_value: Some(*size), dim_param: None },
        None => Dimension { dim_value: None, dim_param: Some("N".to_owned()) },
    });
    let tensor = TensorType { elem_type: element_type, shape: Some(Shape { dim: dim.collect() }) };
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor_type: Some(tensor), ..Type::default() }) }
}

fn node(operator: &str, input: &[&str], output: &str) -> Node {
    Node {
        op_type: operator.to_owned(),
        name: format!("node of {output}"),
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Node::default()
    }
}

fn stored(name: &str, data_type: i32, dims: &[i64], bytes: usize) -> TensorData {
    let raw_data = Some(Bytes::from(vec![0; bytes]));
    TensorData { name: name.to_owned(), data_type, dims: dims.to_vec(), raw_data, ..TensorData::default() }
}

/// `MatMul` with Q/DQ pairs on data and weights, then `Relu`.
fn model() -> Model {
    Model {
        ir_version: 8,
        producer_name: String::new(),
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph: Some(Graph {
            node: vec![
                node("QuantizeLinear", &["x", "s", "z"], "xq"),
                node("DequantizeLinear", &["xq", "s", "z"], "xd"),
                node("QuantizeLinear", &["w", "s", "z"], "wq"),
                node("DequantizeLinear", &["wq", "s", "z"], "wd"),
                node("MatMul", &["xd", "wd"], "y"),
                node("Relu", &["y"], "logits"),
            ],
            initializer: vec![stored("w", 1, &[3, 2], 24), stored("s", 1, &[], 4), stored("z", 3, &[], 1)],
            input: vec![value("x", 1, &[None, Some(3)])],
            output: vec![value("logits", 1, &[None, Some(2)])],
            ..Graph::default()
        }),
        ..Model::default()
    }
}

#[test]
fn the_structure_counts_operators_pairs_and_bytes() {
    insta::assert_snapshot!(structure(&model()), @r"
    ir version: 8
    operator sets: ai.onnx 17
    input: x float32 [N, 3]
    output: logits float32 [N, 2]
    operator: DequantizeLinear × 2
    operator: MatMul × 1
    operator: QuantizeLinear × 2
    operator: Relu × 1
    Q/DQ pairs: 1 on weights, 1 on activations
    compute nodes: 1, of them quantised: 1
    stored float32: 28 bytes
    stored int8: 1 bytes
    ");
}

#[test]
fn the_signature_leaves_initialisers_out() {
    let mut model = model();
    model.graph.as_mut().unwrap().input.push(value("w", 1, &[Some(3), Some(2)]));
    let signature = signature(&model);
    assert_eq!(signature.inputs.len(), 1);
    assert_eq!(signature.inputs[0].shape, [None, Some(3)]);
    assert_eq!(signature.outputs[0].name, "logits");
    assert_eq!(signature.outputs[0].element_type, ElementType::Float32);
}

#[test]
fn appended_outputs_follow_the_unchanged_bytes() {
    let bytes = model().encode_to_vec();
    let joined = append_outputs(&bytes, ["y", "logits", "xd", "y"]).unwrap();
    assert_eq!(joined[..bytes.len()], bytes);
    let outputs: Vec<String> = signature(&parse(&joined).unwrap()).outputs.into_iter().map(|spec| spec.name).collect();
    assert_eq!(outputs, ["logits", "y", "xd"]);
    let mut expected = model();
    let graph = expected.graph.as_mut().unwrap();
    graph.output.extend(["y", "xd"].map(|name| ValueInfo { name: name.to_owned(), kind: None }));
    assert_eq!(parse(&joined).unwrap(), expected);
}

#[test]
fn an_unknown_tensor_cannot_become_an_output() {
    let error = append_outputs(&model().encode_to_vec(), ["nothing"]).unwrap_err();
    assert_eq!(error.message, "the model has no tensor `nothing`");
}

type Change = fn(&mut Model);

#[rstest::rstest]
#[case::no_graph(|model: &mut Model| model.graph = None, "it has no graph")]
#[case::no_opset(|model: &mut Model| model.opset_import.clear(), "it names no ONNX operator set")]
#[case::no_nodes(|model: &mut Model| model.graph.as_mut().unwrap().node.clear(), "its graph has no nodes or no outputs")]
#[case::no_outputs(|model: &mut Model| model.graph.as_mut().unwrap().output.clear(), "its graph has no nodes or no outputs")]
#[case::lost_node(|model: &mut Model| { model.graph.as_mut().unwrap().node.remove(4); }, "node `node of logits` reads `y`, which nothing makes")]
#[case::lost_last(|model: &mut Model| { model.graph.as_mut().unwrap().node.pop(); }, "nothing makes its output `logits`")]
#[case::short_tensor(|model: &mut Model| model.graph.as_mut().unwrap().initializer[0].raw_data = Some(Bytes::from_static(&[0; 20])), "tensor `w` of shape [3, 2] has 20 bytes")]
#[case::huge_shape(|model: &mut Model| model.graph.as_mut().unwrap().initializer[0].dims = vec![i64::MAX, i64::MAX], "tensor `w` of shape [9223372036854775807, 9223372036854775807] has 24 bytes")]
#[case::negative_shape(|model: &mut Model| model.graph.as_mut().unwrap().initializer[0].dims = vec![-1, 6], "tensor `w` of shape [-1, 6] has 24 bytes")]
#[case::no_values(|model: &mut Model| model.graph.as_mut().unwrap().initializer[0].raw_data = None, "tensor `w` of shape [3, 2] has 0 bytes")]
#[case::values_elsewhere(|model: &mut Model| model.graph.as_mut().unwrap().initializer[0].data_location = 1, "the values of tensor `w` are in another file")]
fn a_damaged_model_says_what_is_wrong(#[case] change: Change, #[case] message: &str) {
    let mut model = model();
    change(&mut model);
    assert_eq!(parse(&model.encode_to_vec()).unwrap_err().message, message);
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = model().encode_to_vec();
    for length in 0..bytes.len() {
        assert!(parse(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    parse(&bytes).unwrap();
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_changed_byte_never_makes_the_reader_panic(index in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = model().encode_to_vec();
        let index = index.index(bytes.len());
        bytes[index] = byte;
        if let Ok(model) = parse(&bytes) {
            let _ = (structure(&model), signature(&model));
        }
    }
}

#[test]
fn a_name_that_is_made_twice_is_refused() {
    for (output, refused) in [("x", true), ("xq", true), ("w", true), ("", false), ("own", false)] {
        let mut twice = model();
        twice.graph.as_mut().unwrap().node[5].output.push(output.to_owned());
        let error = valid(&twice).err().map(|error| error.message);
        let expected = refused.then(|| format!("node `node of logits` makes `{output}`, which there is already"));
        assert_eq!(error, expected);
    }
}
