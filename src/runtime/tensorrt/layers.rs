//! The engine inspector's JSON as the crate's layers, for every family.
//!
//! All releases answer `{"Layers": […], "Bindings": […]}`. With detailed profiling verbosity a layer is an object with
//! `Name`, `LayerType`, `Outputs` (each with `Name` and `Format/Datatype`, from 10 on also `Datatype`) and, for kernels,
//! `TacticName`; with less verbosity it is a name.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::vocabulary::Layer;

/// Layer types that hold the heavy arithmetic, as parts of the type's or parameter type's name in lower case.
const COMPUTE: [&str; 6] = ["conv", "gemm", "matrixmultiply", "matmul", "fullyconnected", "fully connected"];

/// Parses the inspector's answer.
pub fn parse(json: &str) -> Result<Vec<Layer>> {
    let value: Value = serde_json::from_str(json)
        .map_err(|error| Error::failed("the engine inspector's answer is not JSON").because(error))?;
    let layers = value
        .get("Layers")
        .and_then(Value::as_array)
        .ok_or_else(|| Error::failed("the engine inspector's answer has no `Layers`"))?;
    Ok(layers.iter().map(layer).collect())
}

fn layer(value: &Value) -> Layer {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let name = value.as_str().map(str::to_owned).or_else(|| text("Name")).unwrap_or_default();
    let kind = text("LayerType").or_else(|| text("ParameterType")).unwrap_or_default();
    let tactic = text("TacticName").filter(|tactic| !tactic.is_empty());
    let outputs = value.get("Outputs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let types: Vec<&str> = outputs.iter().filter_map(data_type).collect();
    let inputs = value.get("Inputs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let parameter = text("ParameterType").unwrap_or_default();
    let described = format!("{kind} {parameter} {}", tactic.as_deref().unwrap_or_default()).to_lowercase();
    let compute = COMPUTE.iter().any(|word| described.contains(word)) && !is_data_movement(&described);
    let precision = tactic
        .as_deref()
        .and_then(tactic_precision)
        .or_else(|| precision_of(compute, inputs.first().and_then(data_type), types.first().copied()))
        .map(str::to_owned);
    Layer {
        name,
        kind,
        precision,
        declared: None,
        inside: false,
        tactic,
        compute,
        outputs: outputs.iter().filter_map(|output| Some(output.get("Name")?.as_str()?.to_owned())).collect(),
    }
}

/// Reformats and copies that carry the name of the layer that they serve.
fn is_data_movement(described: &str) -> bool {
    ["reformat", "shuffle", "nooplayer", "constant", "cast"].iter().any(|word| described.starts_with(word))
}

fn data_type(tensor: &Value) -> Option<&str> {
    let text = tensor.get("Format/Datatype").or_else(|| tensor.get("Datatype"))?.as_str()?;
    let lower = text.to_lowercase();
    let known = [
        ("fp8", "fp8"),
        ("float8", "fp8"),
        ("bf16", "bf16"),
        ("bfloat16", "bf16"),
        ("fp16", "fp16"),
        ("half", "fp16"),
        ("float16", "fp16"),
        ("int8", "int8"),
        ("fp32", "fp32"),
        ("float", "fp32"),
        ("int32", "int32"),
        ("int64", "int64"),
        ("bool", "bool"),
    ];
    known.iter().find(|(word, _)| lower.contains(word)).map(|(_, name)| *name)
}

/// An integer layer that answers in a wider type still computes in integers: the input decides for heavy layers.
fn precision_of<'a>(compute: bool, input: Option<&'a str>, output: Option<&'a str>) -> Option<&'a str> {
    match (compute, input) {
        (true, Some("int8" | "fp8")) => input,
        _ => output,
    }
}

/// The arithmetic that a kernel's name tells: `…_i8i8_i8i32_f32_…`, `…_f16f16_f16f16_…`, `…_tf32f32_…`.
fn tactic_precision(tactic: &str) -> Option<&'static str> {
    let lower = tactic.to_lowercase();
    let known = [
        ("i8i8", "int8"),
        ("i8i32", "int8"),
        ("int8", "int8"),
        ("imma", "int8"),
        ("e4m3", "fp8"),
        ("bf16", "bf16"),
        ("tf32", "tf32"),
        ("f16f16", "fp16"),
        ("fp16", "fp16"),
        ("h884", "fp16"),
        ("h1688", "fp16"),
        ("h16816", "fp16"),
        ("hmma", "fp16"),
        ("f32f32", "fp32"),
        ("scudnn", "fp32"),
        ("sgemm", "fp32"),
        ("ffma", "fp32"),
    ];
    known.iter().find(|(word, _)| lower.contains(word)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    /// In the manner of TensorRT 8.5.
    const EIGHT: &str = r#"{"Layers": [{
        "Name": "Conv_0 + Relu_1", "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Location": "Device", "Dimensions": [32,3,32,32], "Format/Datatype": "Row major Int8 format"}],
        "Outputs": [{"Name": "y", "Location": "Device", "Dimensions": [32,64,32,32], "Format/Datatype": "Row major linear FP32"}],
        "ParameterType": "Convolution", "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32", "TacticValue": "0x1"
      }, {"Name": "Reformatting CopyNode for Input Tensor 0 to Conv_0", "LayerType": "Reformat", "Inputs": [],
        "Outputs": [{"Name": "z", "Format/Datatype": "Row major linear FP16"}], "ParameterType": "Reformat", "TacticValue": "0x0"}],
      "Bindings": ["x", "y"]}"#;

    #[test]
    fn layers_tell_type_precision_and_tactic() {
        let layers = parse(EIGHT).unwrap();
        assert_eq!(layers[0].precision.as_deref(), Some("int8"));
        assert!(layers[0].compute);
        assert_eq!(layers[0].outputs, ["y"]);
        assert_eq!(layers[1].precision.as_deref(), Some("fp16"));
        assert!(!layers[1].compute);
    }

    #[test]
    fn names_alone_are_layers_too() {
        let layers = parse(r#"{"Layers": ["Conv_0", "Softmax_1"], "Bindings": []}"#).unwrap();
        assert_eq!(layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), ["Conv_0", "Softmax_1"]);
    }

    #[rstest]
    #[case("not json")]
    #[case("{}")]
    fn other_answers_are_errors(#[case] json: &str) {
        assert!(parse(json).is_err());
    }

    #[rstest]
    #[case("sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nchw", Some("tf32"))]
    #[case("sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc", Some("fp16"))]
    #[case("ampere_scudnn_128x64_relu_medium_nn_v1", Some("fp32"))]
    #[case("sm70_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nchwkcrs", Some("fp32"))]
    #[case("sm80_xmma_fprop_implicit_gemm_i8f32_i8i32_f32_nhwckrsc", Some("int8"))]
    #[case("sm90_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize64x32x32", Some("tf32"))]
    #[case("sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize32x32x8_stage3_warpsize1x2x1_ffma_aligna4", Some("fp32"))]
    #[case("generatedNativePointwise", None)]
    fn kernels_tell_their_arithmetic(#[case] tactic: &str, #[case] expected: Option<&str>) {
        assert_eq!(tactic_precision(tactic), expected);
    }
}
