//! Models that come quantised: whole, they have no FP16, and are told so; with weights of 8 bits alone, they have one.

use std::process::Command;

use crate::context::{Context, report};
use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::CellReport;
use trtgate::internals::vocabulary::{Precision, Status};

/// Makes `model.onnx`, a classifier of pictures `[N, 3, 16, 16]` with stored weights of 8 bits, one channel's scale below the least
/// half; with `whole` as argument 2, activations have pairs too.
const QUANTISED: &str = r#"
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(11)
stored, nodes = {}, []


def node(operator, inputs, output, **more):
    nodes.append(helper.make_node(operator, inputs.split(), [output], output, **more))


def pair(name, scale, zero=np.int8(0)):
    if sys.argv[2] != "whole":
        node("Identity", name, f"{name}_d")
        return
    stored[f"{name}_s"], stored[f"{name}_z"] = np.float32(scale), zero
    node("QuantizeLinear", f"{name} {name}_s {name}_z", f"{name}_q")
    node("DequantizeLinear", f"{name}_q {name}_s {name}_z", f"{name}_d")


def weights(name, shape):
    stored[name] = random.integers(-127, 128, shape).astype(np.int8)
    scales = np.full(shape[0], 0.02 / np.sqrt(np.prod(shape[1:])), np.float32)
    scales[0] = 1e-9
    stored[f"{name}_s"], stored[f"{name}_z"] = scales, np.zeros(shape[0], np.int8)
    node("DequantizeLinear", f"{name} {name}_s {name}_z", f"{name}_d", axis=0)


pair("x", 1 / 127)
weights("w", (12, 3, 3, 3))
node("Conv", "x_d w_d", "c", strides=[2, 2])
node("Relu", "c", "r")
pair("r", 0.02)
node("GlobalAveragePool", "r_d", "p")
node("Flatten", "p", "f")
weights("m", (5, 12))
node("Gemm", "f m_d bias", "y", transB=1)
stored["bias"] = random.normal(0, 0.01, 5).astype(np.float32)
value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
initializers = [numpy_helper.from_array(np.asarray(values), name) for name, values in stored.items()]
graph = helper.make_graph(nodes, "graph", [value("x", [3, 16, 16])], [value("y", [5])], initializers)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
onnx.checker.check_model(model, full_check=True)
onnx.save(model, os.path.join(sys.argv[1], "model.onnx"))
"#;

/// The report on the FP16 of such a model.
fn fp16_of(form: &str) -> CellReport {
    // Artifacts made elsewhere are of the project's own model.
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    let environment = find_in(&Store::open(None).unwrap(), EXPORT);
    let python = environment.and_then(|environment| environment.python);
    let output = Command::new(python.expect("the export environment is not here; `trtgate export` installs it"))
        .args(["-c", QUANTISED])
        .arg(context.folder.path())
        .arg(form)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let init = context.run(&["init", "--onnx", "model.onnx"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    let words = ["--runtime", "onnxruntime", "--precision", "fp16", "--batch", "8"];
    context.run(&[&["gate", "--json", "report.json"][..], &words].concat());
    let report = report(&context.path("report.json"));
    report.cells.into_iter().find(|cell| cell.precision == Precision::Fp16).unwrap()
}

#[test]
fn a_model_that_comes_quantised_has_no_fp16_and_is_told_so() {
    let cell = fp16_of("whole");
    assert_eq!(cell.status, Status::Unsupported, "{:?}", cell.reason);
    let reason = cell.reason.unwrap();
    assert!(reason.contains("the model comes quantised: it rounds 2 tensors to integers, the first `x`"), "{reason}");
}

#[test]
fn weights_of_8_bits_alone_convert_to_fp16() {
    let cell = fp16_of("weights");
    assert_eq!(cell.status, Status::Pass, "{:?}", cell.reason);
}
