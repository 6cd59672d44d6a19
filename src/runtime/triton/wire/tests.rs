#![allow(clippy::unwrap_used)]
use half::{bf16, f16};
use rstest::rstest;

use super::*;

fn spec(name: &str) -> TensorSpec {
    TensorSpec { name: name.to_owned(), element_type: ElementType::Float32, shape: vec![None] }
}

/// An answer in binary: the head, and bytes behind it.
fn answer(head: &str, bytes: &[u8]) -> Result<Reply> {
    read(&[head.as_bytes(), bytes].concat(), Some(head.len()))
}

/// The bytes of the real server's own request and answer (TRITON.md b1).
#[test]
fn a_request_in_binary_is_a_head_and_the_tensors_behind_it() {
    let input = Tensor::float32("input_1", vec![1, 2], vec![1.0, -2.5]).unwrap();
    let inputs = [Cow::Borrowed(&input)];
    let outputs = [spec("logits")];
    let asked = Asked { id: "r1", inputs: &inputs, outputs: &outputs };
    let body = asked.in_binary(vec![7; 9]).unwrap();
    let head = body.head.unwrap();
    let told: Value = serde_json::from_slice(&body.bytes[..head]).unwrap();
    let expected = json!({
        "id": "r1",
        "inputs": [{"name": "input_1", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}],
        "outputs": [{"name": "logits", "parameters": {"binary_data": true}}],
    });
    assert_eq!(told, expected);
    assert_eq!(&body.bytes[head..], [1.0_f32.to_le_bytes(), (-2.5_f32).to_le_bytes()].concat());
    let json = asked.in_json().unwrap();
    let told: Value = serde_json::from_slice(&json.bytes).unwrap();
    assert_eq!((json.head, &told["inputs"][0]["data"]), (None, &json!([1.0, -2.5])));
}

/// Every element type that a tensor holds goes over the wire and back, bit by bit, in binary; in JSON those that it has.
#[test]
fn every_element_type_comes_back_as_it_went() {
    let kinds: [Values; 13] = [
        Values::Float32(vec![1.5, -0.0, f32::MIN_POSITIVE, 16_777_217.0]),
        Values::Float16(vec![f16::from_f32(1.5), f16::NAN, f16::INFINITY, f16::MIN]),
        Values::Bfloat16(vec![bf16::from_f32(1.5), bf16::NAN, bf16::INFINITY, bf16::MIN]),
        Values::Float64(vec![1.5, -0.1, f64::MAX, 1e-300]),
        Values::Int8(vec![-128, 127, 0, 1]),
        Values::Uint8(vec![255, 0, 1, 2]),
        Values::Int16(vec![i16::MIN, i16::MAX, 0, 1]),
        Values::Uint16(vec![u16::MAX, 0, 1, 2]),
        Values::Int32(vec![i32::MIN, i32::MAX, 0, 1]),
        Values::Uint32(vec![u32::MAX, 0, 1, 2]),
        Values::Int64(vec![i64::MIN, i64::MAX, 0, (1 << 53) + 1]),
        Values::Uint64(vec![u64::MAX, 0, 1, (1 << 53) + 1]),
        Values::Bool(vec![true, false, true, true]),
    ];
    for values in kinds {
        let tensor = Tensor::new("x", vec![2, 2], values).unwrap();
        let name = name_of(tensor.element_type()).unwrap();
        let bytes = tensor.values.encode();
        let head = json!({"outputs": [{"name": "x", "datatype": name, "shape": [2, 2],
            "parameters": {"binary_data_size": bytes.len()}}]});
        let back = answer(&head.to_string(), &bytes).unwrap();
        assert!(back.outputs[0].values.is_bit_equal(&tensor.values), "{name}");
        let inputs = [Cow::Borrowed(&tensor)];
        match (Asked { id: "1", inputs: &inputs, outputs: &[] }).in_json() {
            Ok(body) => {
                let mut told: Value = serde_json::from_slice(&body.bytes).unwrap();
                told["outputs"] = told["inputs"].take();
                let back = read(told.to_string().as_bytes(), None).unwrap();
                assert!(back.outputs[0].values.is_bit_equal(&tensor.values), "{name} in JSON");
            }
            Err(error) => assert!(["FP16", "BF16"].contains(&name), "{name}: {error}"),
        }
    }
}

#[rstest]
#[case::no_bytes(
    r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2,2],"parameters":{"binary_data_size":0}}]}"#,
    0,
    "needs 16 bytes, and comes with 0"
)]
#[case::fewer(
    r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2,2],"parameters":{"binary_data_size":16}}]}"#,
    12,
    "the answer has 12 left"
)]
#[case::more(
    r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}"#,
    8,
    "4 bytes follow"
)]
#[case::another_size(
    r#"{"outputs":[{"name":"y","datatype":"FP64","shape":[1],"parameters":{"binary_data_size":4}}]}"#,
    4,
    "needs 8 bytes"
)]
#[case::no_values(r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[1]}]}"#, 0, "without values")]
#[case::negative(
    r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[-1],"parameters":{"binary_data_size":4}}]}"#,
    4,
    "a shape that no tensor has"
)]
#[case::vast(r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[4611686018427387904,4],"parameters":{"binary_data_size":4}}]}"#, 4, "does not fit memory")]
#[case::text(
    r#"{"outputs":[{"name":"y","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":4}}]}"#,
    4,
    "is BYTES"
)]
#[case::no_type(
    r#"{"outputs":[{"name":"y","datatype":"fp32","shape":[1],"parameters":{"binary_data_size":4}}]}"#,
    4,
    "the type `fp32`"
)]
#[case::null(r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1.0,null]}]}"#, 0, "holds `null`")]
#[case::nan(
    r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1.0,NaN]}]}"#,
    0,
    "not what the protocol has"
)]
#[case::too_large(r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1e39]}]}"#, 0, "its type does not")]
#[case::halves(r#"{"outputs":[{"name":"y","datatype":"FP16","shape":[1],"data":[1.0]}]}"#, 0, "no form in JSON")]
#[case::half_a_number(
    r#"{"outputs":[{"name":"y","datatype":"INT64","shape":[1],"data":[1.5]}]}"#,
    0,
    "no whole number"
)]
#[case::out_of_range(
    r#"{"outputs":[{"name":"y","datatype":"INT8","shape":[1],"data":[200]}]}"#,
    0,
    "its type does not"
)]
#[case::few(
    r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[3],"data":[1,2]}]}"#,
    0,
    "needs 3 values, and comes with 2"
)]
#[case::both(
    r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1],"parameters":{"binary_data_size":4}}]}"#,
    4,
    "in JSON and in binary"
)]
#[case::no_json("<html>", 0, "not what the protocol has")]
fn what_is_no_answer_is_refused_in_words(#[case] head: &str, #[case] bytes: usize, #[case] words: &str) {
    let error = answer(head, &vec![0; bytes]).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    let expected = if words == "is BYTES" { crate::ErrorKind::Unsupported } else { crate::ErrorKind::Invalid };
    assert_eq!(error.kind, expected);
}

#[test]
fn a_head_longer_than_the_answer_is_refused() {
    let error = read(b"{}", Some(100)).unwrap_err();
    assert_eq!(error.message, "the answer has 2 bytes, and says that its head has 100");
    assert!(read(&[0xff, 0xfe], None).is_err());
    assert!(read("[".repeat(100_000).as_bytes(), None).is_err());
}

#[test]
fn nested_lists_and_what_is_beside_the_tensors_are_read() {
    let text = r#"{"id":"7","model_name":"m","model_version":"3","parameters":{"x":1},
        "outputs":[{"name":"y","datatype":"INT32","shape":[2,2],"data":[[1,2],[3,4]]}]}"#;
    let reply = read(text.as_bytes(), None).unwrap();
    assert_eq!(
        (reply.id.as_deref(), reply.model.as_deref(), reply.version.as_deref()),
        (Some("7"), Some("m"), Some("3"))
    );
    assert_eq!(reply.outputs[0].values, Values::Int32(vec![1, 2, 3, 4]));
    // KServe names no version.
    let text = r#"{"model_name":"m","model_version":null,"id":null,"outputs":[]}"#;
    assert_eq!(read(text.as_bytes(), None).unwrap().version, None);
}

#[test]
fn what_a_server_says_is_cut_and_plain() {
    assert_eq!(short("a\x1b[31mb\nc"), "a [31mb c");
    assert_eq!(short(&"x".repeat(1000)).chars().count(), 301);
}
