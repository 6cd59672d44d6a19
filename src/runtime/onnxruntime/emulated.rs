//! Half precision on a processor that has none: the artifact widened ([`onnx::widen`]), every half tensor rounded by casts,
//! run without optimisation so that the casts stay.

use std::path::Path;

use half::f16;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;
use prost::Message as _;

use super::safe::{builder, cannot_load};
use crate::error::{Error, Result};
use crate::files;
use crate::onnx::types::data_type::{FLOAT, FLOAT16};
use crate::onnx::{self, Attribute, Graph, Model, Node, OperatorSet, Type, ValueInfo};
use crate::runtime::SessionOptions;

/// A session of the widened `artifact`.
///
/// # Errors
/// If the file cannot be read, widened or loaded, or this ONNX Runtime drops the casts.
pub(super) fn open(environment: &Environment, options: &SessionOptions, artifact: &Path) -> Result<Session> {
    let options = SessionOptions { optimize: false, ..options.clone() };
    keeps_casts(environment, &options)?;
    let bytes = files::read(artifact, files::GRAPH).map_err(|error| Error::io("read", artifact, error))?;
    let widened = onnx::widen(&bytes)
        .map_err(|error| error.context(format!("cannot emulate half precision for `{}`", artifact.display())))?;
    drop(bytes);
    builder(environment, &options)?.commit_from_memory(&widened).map_err(|error| cannot_load(artifact, error))
}

/// Shows on a small graph that this ONNX Runtime rounds where the casts say so: one that took them out would answer in FP32,
/// and hide what leaves the range.
fn keeps_casts(environment: &Environment, options: &SessionOptions) -> Result<()> {
    // Rounded at the input and at the product; the last one overflows.
    let values = [0.1_f32, 1.0 / 3.0, 2047.7, 1e-6, -0.7, 300.0];
    let expected = values.map(|value| {
        let value = f16::from_f32(value).to_f32();
        f16::from_f32(value * value).to_f32()
    });
    let failed = |error: ort::Error| Error::failed("ONNX Runtime failed on a small graph of casts").because(error);
    let widened = onnx::widen(&square().encode_to_vec())?;
    let mut session = builder(environment, options)?.commit_from_memory(&widened).map_err(failed)?;
    let input = TensorRef::from_array_view((vec![values.len()], values.as_slice())).map_err(failed)?;
    let outputs = session.run(ort::inputs!["x" => input]).map_err(failed)?;
    let found = outputs.get("y").ok_or_else(|| Error::failed("ONNX Runtime gave no output `y`"))?;
    let found = found.try_extract_tensor::<f32>().map_err(failed)?.1;
    if found == expected {
        return Ok(());
    }
    Err(Error::failed("this ONNX Runtime drops casts, so it cannot emulate half precision")
        .cause(format!("squares of halves came out as {found:?}, expected {expected:?}"))
        .hint("gate with ONNX Runtime 1.32.0, which `trtgate export` installs"))
}

/// `y = x²` in half precision, its input and output in FP32.
fn square() -> Model {
    let node = |operator: &str, input: &[&str], output: &str, to: i32| Node {
        name: output.to_owned(),
        op_type: operator.to_owned(),
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        // 2 is the kind of an integer.
        attribute: (to != 0)
            .then(|| Attribute { name: "to".to_owned(), i: to.into(), kind: 2, ..Attribute::default() })
            .into_iter()
            .collect(),
        ..Node::default()
    };
    let border = |name: &str| ValueInfo { name: name.to_owned(), kind: Some(Type::tensor(FLOAT)) };
    Model {
        ir_version: 8,
        opset_import: vec![OperatorSet { domain: String::new(), version: 13 }],
        graph: Some(Graph {
            name: "square".to_owned(),
            node: vec![
                node("Cast", &["x"], "half", FLOAT16),
                node("Mul", &["half", "half"], "square", 0),
                node("Cast", &["square"], "y", FLOAT),
            ],
            input: vec![border("x")],
            output: vec![border("y")],
            ..Graph::default()
        }),
        ..Model::default()
    }
}
