//! Half precision on a processor without it, against onnx's own evaluator; the rules for types against onnx's definitions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use trtgate::internals::convert::environment::{EXPORT, Environment, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::onnx::types::{Kind, outputs_of};
use trtgate::internals::onnx::{Attribute, Node};
use trtgate::internals::runtime::{self, OpenRequest, SearchPaths, SessionOptions};
use trtgate::internals::tensor::Tensor;
use trtgate::internals::vocabulary::{ArtifactKind, Library, Precision, Status};

use crate::context::{Context, report};

/// Right answers that may differ, of 64.
const RIGHT_ANSWERS: usize = 1;

fn environment() -> Environment {
    let environment = find_in(&Store::open(None).unwrap(), EXPORT);
    environment.expect("the export environment is not here; `trtgate export` installs it")
}

/// Runs a script of the export environment's Python; returns what it printed.
fn python(script: &str, folder: &Path) -> String {
    let python = environment().python.expect("the export environment has no Python");
    let output = Command::new(python).args(["-c", script]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn npy(path: PathBuf) -> Tensor {
    let array = npyz::NpyFile::new(BufReader::new(File::open(path).unwrap())).unwrap();
    let shape = array.shape().iter().map(|&size| usize::try_from(size).unwrap()).collect();
    Tensor::float32("x", shape, array.into_vec::<f32>().unwrap()).unwrap()
}

/// Whether all values are finite and, if so, the answer; row by row.
fn answers(outputs: &Tensor) -> Vec<Option<usize>> {
    let answer = |row: &[f32]| {
        let best = row.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1)).map(|(class, _)| class);
        best.filter(|_| row.iter().all(|value| value.is_finite()))
    };
    (0..outputs.batch()).map(|row| answer(outputs.row(row).unwrap())).collect()
}

fn run(model: PathBuf, samples: &Tensor, emulate_half: bool) -> Tensor {
    let site_packages = environment().site_packages;
    let paths = SearchPaths { explicit: Vec::new(), site_packages, system: false };
    let driver = runtime::driver(Library::Onnxruntime).unwrap();
    let installation = driver.probe(&paths).found.into_iter().next().expect("ONNX Runtime is in the environment");
    let mut session = driver
        .open(&OpenRequest {
            installation,
            artifact: model,
            kind: ArtifactKind::OnnxFp16,
            precision: Precision::Fp16,
            batch: samples.batch(),
            options: SessionOptions { intra_threads: 1, emulate_half, ..SessionOptions::default() },
        })
        .unwrap();
    assert!(session.layers().unwrap().unwrap().iter().all(|layer| !layer.name.contains("trtgate")));
    session.run(&samples.into()).unwrap().swap_remove(0).into_float32()
}

#[test]
fn half_precision_is_emulated_as_onnx_computes_it() {
    let folder = tempfile::tempdir().unwrap();
    python(include_str!("half_models.py"), folder.path());
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".onnx").map(str::to_owned))
        .collect();
    names.sort();
    let (mut beyond, mut hidden) = (0, Vec::new());
    for name in &names {
        let file = |ending: &str| folder.path().join(format!("{name}.{ending}"));
        let samples = npy(file("x.npy"));
        let right = answers(&npy(file("fp32.npy")));
        let expected = answers(&npy(file("true.npy")));
        let count = |found: &[Option<usize>]| found.iter().zip(&right).filter(|(found, right)| found == right).count();
        let finite = |found: &[Option<usize>]| found.iter().map(Option::is_some).collect::<Vec<_>>();
        let emulated = answers(&run(file("onnx"), &samples, true));
        println!("{name}: {} of 64 right, {} expected", count(&emulated), count(&expected));
        assert_eq!(finite(&emulated), finite(&expected), "{name}");
        assert!(count(&emulated).abs_diff(count(&expected)) <= RIGHT_ANSWERS, "{name}");
        if count(&expected) < 60 {
            beyond += 1;
            // What the processor makes of the same file by itself: nothing is seen.
            let plain = answers(&run(file("onnx"), &samples, false));
            if count(&plain) >= 60 {
                hidden.push(name.as_str());
            }
        }
    }
    assert!(names.len() >= 14 && beyond >= 5, "{} models, {beyond} beyond the range", names.len());
    assert!(hidden.len() >= 2, "an ONNX Runtime that shows these by itself needs no emulation: {hidden:?}");
}

/// Makes `model.onnx`: a classifier of pictures `[N, 3, 12, 12]` that half precision cannot compute. `far` leaves the range where
/// nobody looks at it, `squares` where it matters; `limit` is a constant that a half cannot hold, and holds nothing back.
const BEYOND_THE_RANGE: &str = r#"
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(3)
node = lambda operator, inputs, output, **more: helper.make_node(operator, inputs.split(), [output], output, **more)
value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
stored = {
    "kernel": random.normal(0, 0.4, (16, 3, 3, 3)),
    "large": 1e7,
    "least": -1.0,
    "w1": random.normal(0, 200, (16, 24)),
    "epsilon": 1e-5,
    "lowest": -1e38,
    "limit": 1e38,
    "w2": random.normal(0, 1, (24, 6)),
}
nodes = [
    node("Conv", "x kernel", "conv", pads=[1, 1, 1, 1]),
    node("Relu", "conv", "relu"),
    node("GlobalAveragePool", "relu", "pool"),
    node("Flatten", "pool", "features"),
    node("Mul", "features large", "far"),
    node("Greater", "features least", "always"),
    node("Where", "always features far", "kept"),
    node("MatMul", "kept w1", "a"),
    node("Mul", "a a", "squares"),
    node("ReduceMean", "squares", "mean", axes=[-1]),
    node("Add", "mean epsilon", "shifted"),
    node("Sqrt", "shifted", "root"),
    node("Div", "a root", "normal"),
    node("Clip", "normal lowest limit", "held"),
    node("MatMul", "held w2", "raw"),
]


def save(nodes, output):
    initializers = [numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in stored.items()]
    graph = helper.make_graph(nodes, "graph", [value("x", [3, 12, 12])], [value(output, [6])], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = os.path.join(sys.argv[1], "model.onnx")
    onnx.save(model, path)
    return path


session = onnxruntime.InferenceSession(save(nodes, "raw"), providers=["CPUExecutionProvider"])
stored["centre"] = session.run(None, {"x": random.random((256, 3, 12, 12), np.float32)})[0].mean(0)
save([*nodes, node("Sub", "raw centre", "y")], "y")
"#;

#[test]
fn the_first_tensor_beyond_the_range_that_matters_is_named() {
    // Artifacts made elsewhere are of the project's own model.
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    python(BEYOND_THE_RANGE, context.folder.path());
    let init = context.run(&["init", "--onnx", "model.onnx"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    let words = ["--runtime", "onnxruntime", "--precision", "fp32", "--precision", "fp16", "--batch", "32"];
    let gate = context.run(&[&["gate", "--json", "report.json", "--html", "report.html"][..], &words].concat());
    assert_eq!(gate.code, 1, "{}", gate.shown());
    let report = report(&context.path("report.json"));
    let cell = report.cells.iter().find(|cell| cell.precision == Precision::Fp16).unwrap();
    assert!(cell.emulated.is_some() && cell.status == Status::Fail, "{}", gate.shown());
    let ranges = cell.ranges.as_ref().unwrap();
    let beyond: Vec<_> = ranges.beyond.iter().map(|found| (found.tensor.as_str(), found.reaches_output)).collect();
    assert_eq!(beyond[..3], [("large", Some(false)), ("far", Some(false)), ("squares", Some(true))], "{ranges:#?}");
    let cause = ranges.cause().unwrap();
    assert!(cause.value >= 65_520.0 && cause.share > 0.1 && cause.share <= 1.0 && cause.sample.is_some(), "{cause:?}");
    assert_eq!(cell.hint.as_deref(), Some("keep Mul and ReduceMean `mean` in FP32, or scale `a` before squaring it"));
    let reason = cell.reason.as_deref().unwrap();
    assert!(reason.contains("beyond half precision's range that reaches the output is `squares` (Mul): "), "{reason}");
    let altered: Vec<&str> = ranges.altered.iter().map(|found| found.tensor.as_str()).collect();
    assert_eq!(altered, ["large", "lowest", "limit"], "{ranges:#?}");
    let page = std::fs::read_to_string(context.path("report.html")).unwrap();
    assert!(page.contains("does not reach the output") && page.contains("fp16 (emulated)"));
}

/// For each operator and version: the inputs of the same type as each output, or its one type.
const DEFINITIONS: &str = r#"
import json
import onnx.defs
import onnx.helper

numbers = {f"tensor({onnx.helper.tensor_dtype_to_string(number)[12:].lower()})": number for number in range(1, 17)}
found = []
for schema in onnx.defs.get_all_schemas_with_history():
    if schema.domain or schema.deprecated:
        continue
    allowed = {one.type_param_str: list(one.allowed_type_strs) for one in schema.type_constraints}
    outputs = []
    for output in schema.outputs:
        types = allowed.get(output.type_str, [output.type_str])
        same = [place for place, one in enumerate(schema.inputs) if one.type_str == output.type_str]
        # Inside of a variadic parameter, types may differ.
        if output.option.name == "Variadic" and not output.is_homogeneous:
            same = []
        outputs.append({"same": same, "only": numbers.get(types[0]) if len(types) == 1 else None})
    inputs = [allowed.get(one.type_str, [one.type_str]) for one in schema.inputs]
    inputs = [numbers.get(types[0]) if len(types) == 1 else None for types in inputs]
    found.append({"operator": schema.name, "version": schema.since_version, "inputs": inputs, "outputs": outputs})
print(json.dumps(found))
"#;

#[derive(Deserialize)]
struct Definition {
    operator: String,
    version: i64,
    /// The one type of each, where it has one.
    inputs: Vec<Option<i32>>,
    outputs: Vec<OutputDefinition>,
}

#[derive(Deserialize)]
struct OutputDefinition {
    same: Vec<usize>,
    only: Option<i32>,
}

#[test]
fn types_are_those_of_the_operators_definitions() {
    let definitions: Vec<Definition> = serde_json::from_str(&python(DEFINITIONS, Path::new(""))).unwrap();
    assert!(definitions.len() > 400, "{} definitions", definitions.len());
    let mut wrong = Vec::new();
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for definition in &definitions {
        // Until operator set 10 the mask had the data's type; only training reads it.
        if definition.operator == "Dropout" && definition.version < 10 {
            continue;
        }
        // An input of several types is recognised by one that no other has.
        let inputs: Vec<String> = (0..definition.inputs.len()).map(|place| format!("{place}")).collect();
        let node = Node {
            op_type: definition.operator.clone(),
            input: inputs,
            output: definition.outputs.iter().enumerate().map(|(place, _)| format!("out {place}")).collect(),
            attribute: Vec::<Attribute>::new(),
            ..Node::default()
        };
        let kind_of = |name: &str| {
            let place: usize = name.parse().unwrap();
            Some(Kind::tensor(definition.inputs[place].unwrap_or(1000 + place as i32)))
        };
        for (place, (kind, output)) in outputs_of(&node, &kind_of).into_iter().zip(&definition.outputs).enumerate() {
            let found = kind.map(|kind| kind.element);
            let expected = match (output.only, output.same.as_slice()) {
                (Some(only), _) => found == Some(only),
                // An attribute decides, or a graph inside.
                (None, []) => continue,
                (None, same) => same.iter().any(|&place| found == kind_of(&place.to_string()).map(|kind| kind.element)),
            };
            *held.entry(&definition.operator).or_default() += 1;
            if !expected {
                wrong.push(format!("{} {} output {place}: {found:?}", definition.operator, definition.version));
            }
        }
    }
    println!("{} operators held to their definitions", held.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
