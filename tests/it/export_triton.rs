//! `trtgate export --triton`: what it writes loads in the real server as it is written, and answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use trtgate::internals::runtime::tensorrt::{EngineMetadata, Environment};
use trtgate::internals::serve::Server;
use trtgate::internals::vocabulary::{Library, Precision};

use crate::context::{Context, Run};
use crate::second_model::{classifier, node, onnx, stored};
use crate::triton::{Repository, get};

/// The manifest of a classifier with channels first, and labels.
const GLYPHS: &str = "[input]\nname = \"glyph\"\nshape = [1, 20, 24]\nlayout = \"nchw\"\n[output]\nname = \"scores\"\nclasses = 7\n\
    kind = \"probabilities\"\nlabels = [\"region 0\", \"region 1\", \"region 2\", \"region 3\", \"region 4\", \"region 5\", \"region 6\"]\n\
    [matrix]\nbatches = [1, 4]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n";

/// Status and body of what the server answers to a request with a body.
fn post(server: &Server, path: &str, body: &str) -> (u16, String) {
    let url = server.url();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn config(server: &Server, model: &str) -> Value {
    let (status, body) = get(&server.url(), &format!("/v2/models/{model}/config"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Asks the model for `batch` samples of halves; the shapes of its outputs.
fn ask(server: &Server, config: &Value, batch: u64) -> Vec<(String, Vec<u64>)> {
    let model = config["name"].as_str().unwrap();
    let batched = config["max_batch_size"] != 0;
    let input = |input: &Value| {
        let dims = input["dims"].as_array().unwrap().iter();
        let dims: Vec<u64> = dims.map(|dim| dim.as_u64().unwrap_or(batch)).collect();
        let shape = if batched { [&[batch], dims.as_slice()].concat() } else { dims };
        let kind = input["data_type"].as_str().unwrap().trim_start_matches("TYPE_");
        let count = shape.iter().product::<u64>() as usize;
        let data = if kind.starts_with("FP") { json!(vec![0.5; count]) } else { json!(vec![1; count]) };
        json!({"name": input["name"], "datatype": kind, "shape": shape, "data": data})
    };
    let inputs: Vec<Value> = config["input"].as_array().unwrap().iter().map(input).collect();
    let (status, body) = post(server, &format!("/v2/models/{model}/infer"), &json!({ "inputs": inputs }).to_string());
    assert_eq!(status, 200, "{model}, {batch}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let output = |output: &Value| {
        let shape = output["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).collect();
        assert!(output["data"].as_array().unwrap().iter().all(|value| value.is_number()), "{body}");
        (output["name"].as_str().unwrap().to_owned(), shape)
    };
    answer["outputs"].as_array().unwrap().iter().map(output).collect()
}

/// What `trtgate triton check` says of the repository.
fn clean(context: &Context, repository: &Path) {
    let check = context.run(&["triton", "check", repository.to_str().unwrap()]);
    assert_eq!(check.code, 0, "{}", check.shown());
}

fn export(context: &Context, repository: &Path, more: &[&str]) -> Run {
    context.run(&[&["export", "--triton", repository.to_str().unwrap()], more].concat())
}

fn exported(context: &Context, repository: &Path, more: &[&str]) {
    let run = export(context, repository, more);
    assert_eq!(run.code, 0, "{}", run.shown());
    clean(context, repository);
}

/// A manifest of a model of several inputs, or of a classifier of pictures.
fn project(name: &str, bytes: &[u8], text: &str) -> Context {
    let context = Context::new();
    std::fs::write(context.path("model.onnx"), bytes).unwrap();
    context.write("gate.toml", &format!("schema = 1\n[model]\nname = \"{name}\"\nonnx = \"model.onnx\"\n{text}"));
    context
}

/// The shipped model's FP32, FP16 and INT8 files, each as it is gated: `/config` is what was written, and one sample and the largest
/// batch are answered.
#[test]
fn every_artifact_of_the_gate_is_served_as_it_was_written() {
    let context = Context::new();
    context.manifest(&[]);
    let repository = Repository::new();
    exported(&context, repository.path(), &["--dynamic-batching", "100"]);
    let kinds = ["onnx-fp16", "onnx-fp32", "onnx-int8", "onnx-int8-cpu"];
    let server = repository.start();
    for kind in kinds {
        let name = format!("cifar10-{kind}");
        let config = config(&server, &name);
        assert_eq!((&config["backend"], &config["max_batch_size"]), (&json!("onnxruntime"), &json!(32)));
        assert_eq!(config["version_policy"], json!({"specific": {"versions": [1]}}));
        assert_eq!(config["default_model_filename"], "model.onnx");
        assert_eq!(config["dynamic_batching"]["max_queue_delay_microseconds"], 100);
        assert_eq!(
            config["dynamic_batching"]["preferred_batch_size"],
            json!([32]),
            "the core's own, of no size that waits"
        );
        assert_eq!(
            (&config["instance_group"][0]["kind"], &config["instance_group"][0]["count"]),
            (&json!("KIND_CPU"), &json!(1))
        );
        assert_eq!(config["input"][0]["data_type"], "TYPE_FP32");
        assert_eq!(config["model_warmup"], json!([]));
        let told = |key: &str| config["parameters"][key]["string_value"].as_str().unwrap().to_owned();
        assert_eq!(told("trtgate.artifact"), kind);
        assert_eq!(told("trtgate.precision"), kind.split('-').nth(1).unwrap());
        assert_eq!(told("trtgate.version"), env!("CARGO_PKG_VERSION"));
        let file = repository.path().join(&name).join("1/model.onnx");
        assert_eq!(told("trtgate.artifact.sha256"), trtgate::internals::digest::digest_file(&file).unwrap());
        assert_eq!(told("trtgate.model.sha256").len(), 64);
        for batch in [1, 32] {
            let answered = ask(&server, &config, batch);
            assert_eq!(answered[0].1, [batch, 10], "{name}");
        }
        let beyond = post(&server, &format!("/v2/models/{name}/infer"), "{}");
        assert_ne!(beyond.0, 200);
    }
    // What is exported again is a version beside the first, and is what is served from then on.
    let first = repository.path().join("cifar10-onnx-fp32/1/model.onnx");
    let before = std::fs::metadata(&first).unwrap().modified().unwrap();
    exported(&context, repository.path(), &["--only", "onnx-fp32"]);
    assert_eq!(std::fs::metadata(&first).unwrap().modified().unwrap(), before);
    drop(server);
    let server = repository.start();
    assert_eq!(get(&server.url(), "/v2/models/cifar10-onnx-fp32/versions/2/ready").0, 200);
    assert_ne!(get(&server.url(), "/v2/models/cifar10-onnx-fp32/versions/1/ready").0, 200);
    assert_eq!(config(&server, "cifar10-onnx-fp32").get("dynamic_batching"), None);
}

/// A classifier with channels first and labels, one of a fixed batch, one of two inputs whose names need escaping, one of open sizes.
#[test]
fn other_models_are_served_by_what_their_files_say() {
    let repository = Repository::new();
    exported(&project("glyphs", &onnx(), GLYPHS), repository.path(), &[]);
    let mut fixed = decoded(&onnx());
    for value in fixed.graph.iter_mut().flat_map(|graph| graph.input.iter_mut().chain(&mut graph.output)) {
        let shape = value.kind.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
        shape.dim[0] = trtgate::internals::onnx::Dimension { dim_value: Some(4), dim_param: None };
    }
    let of_four = GLYPHS.replace("layout = \"nchw\"", "layout = \"nchw\"\nfixed-batch = 4").replace("[1, 4]", "[4]");
    exported(&project("fixed", &encoded(&fixed), &of_four), repository.path(), &[]);
    let server = repository.start();
    let served = config(&server, "glyphs-onnx-fp32");
    assert_eq!((&served["max_batch_size"], &served["input"][0]["dims"]), (&json!(4), &json!([1, 20, 24])));
    assert_eq!(ask(&server, &served, 4), [("scores".to_owned(), vec![4, 7])]);
    assert_eq!(served["output"][0]["label_filename"], "labels.1.txt");
    // The server names the class: its request for classes reads the labels.
    let body = json!({"inputs": [{"name": "glyph", "datatype": "FP32", "shape": [1, 1, 20, 24], "data": vec![0.5; 480]}],
        "outputs": [{"name": "scores", "parameters": {"classification": 1}}]});
    let (_, named) = post(&server, "/v2/models/glyphs-onnx-fp32/infer", &body.to_string());
    assert!(named.contains(":region "), "{named}");
    let served = config(&server, "fixed-onnx-fp32");
    // It would take four samples of seven classes for one of twenty-eight.
    assert_eq!(served["output"][0]["label_filename"], "");
    assert_eq!((&served["max_batch_size"], &served["input"][0]["dims"]), (&json!(0), &json!([4, 1, 20, 24])));
    assert_eq!(ask(&server, &served, 4), [("scores".to_owned(), vec![4, 7])]);
}

/// What is exported and served is known again by the gate as the model and the file that are gated.
#[test]
fn the_model_served_is_the_model_gated() {
    let context = Context::new();
    let repository = Repository::new();
    crate::served::project(&context, "url = \"http://127.0.0.1:9\"\nmodel = \"glyphs-onnx-fp32\"");
    exported(&context, repository.path(), &["--only", "onnx-fp32"]);
    let server = repository.start();
    let text = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    context.write("gate.toml", &text.replace("http://127.0.0.1:9", &server.url()));
    let words = ["gate", "--runtime", "triton", "--runtime", "onnxruntime", "--precision", "fp32"];
    let run = context.run(&[&words[..], &["--json", "report.json"]].concat());
    assert_eq!(run.code, 0, "{}", run.shown());
    let words = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("says that it is the model gated, of the `onnx-fp32` that is gated here"),
        "{}",
        run.shown()
    );
    let report = crate::context::report(&context.path("report.json"));
    let of = |library| {
        report
            .cells
            .iter()
            .filter(|cell| cell.runtime.library == library)
            .map(|cell| (cell.batch, cell.error.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(Library::Triton), of(Library::Onnxruntime), "the same graph, served and here");
    assert!(of(Library::Triton).len() > 1);
}

/// An engine with two profiles, of what stands for one: the batch of the smaller, both named, and where it came from.
#[test]
fn an_engine_is_served_by_what_stands_beside_it() {
    let context = project("glyphs", &onnx(), GLYPHS);
    let range =
        |largest: u32| json!({"glyph": {"min": [1, 1, 20, 24], "opt": [4, 1, 20, 24], "max": [largest, 1, 20, 24]}});
    let head = json!({"tensorrt": "10.6.0", "profiles": [range(16), range(8)]});
    let bytes = [format!("{head}\n").as_bytes(), &onnx()].concat();
    std::fs::write(context.path("net.plan"), &bytes).unwrap();
    let digest = |path: &Path| trtgate::internals::digest::digest_file(path).unwrap();
    let beside = EngineMetadata {
        schema: "trtgate.engine/v1".to_owned(),
        sha256: digest(&context.path("net.plan")),
        bytes: bytes.len() as u64,
        onnx_sha256: digest(&context.path("model.onnx")),
        precision: Precision::Fp32,
        flags: Vec::new(),
        tactic_sources_without: Vec::new(),
        options: trtgate::internals::manifest::EngineOptions::default(),
        profiles: vec![[1, 4, 16], [1, 4, 8]],
        ranges: Vec::new(),
        fixed: false,
        build_milliseconds: 1,
        candidates: Vec::new(),
        built: "2026-01-01T00:00:00Z".to_owned(),
        environment: Environment {
            runtime: "tensorrt@10.6.0".parse().unwrap(),
            version: "10.6.0.26".to_owned(),
            family: "10".to_owned(),
            gpu: Some("NVIDIA H100".to_owned()),
            compute_capability: Some("9.0".to_owned()),
            driver: None,
            cuda: None,
        },
    };
    beside.write_beside(&context.path("net.plan")).unwrap();
    let repository = Repository::new();
    exported(&context, repository.path(), &["--only", "engine", "--engine", "net.plan"]);
    // There is no card here.
    let path = repository.path().join("glyphs-plan-fp32/config.pbtxt");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("kind: KIND_GPU count: 1 profile: [ \"0\", \"1\" ]"), "{text}");
    std::fs::write(&path, text.replace("KIND_GPU", "KIND_CPU")).unwrap();
    let server = repository.start();
    let served = config(&server, "glyphs-plan-fp32");
    assert_eq!((&served["max_batch_size"], &served["default_model_filename"]), (&json!(8), &json!("model.plan")));
    let told = |key: &str| served["parameters"][key]["string_value"].as_str().unwrap().to_owned();
    assert_eq!((told("trtgate.artifact"), told("trtgate.tensorrt")), ("engine".to_owned(), "10.6.0.26".to_owned()));
    assert_eq!(
        (told("trtgate.device"), told("trtgate.artifact.sha256")),
        ("NVIDIA H100".to_owned(), beside.sha256.clone())
    );
    for batch in [1, 8] {
        assert_eq!(ask(&server, &served, batch), [("scores".to_owned(), vec![batch, 7])]);
    }
    // One that was built from another model is none of this model's.
    EngineMetadata { onnx_sha256: "0".repeat(64), ..beside }.write_beside(&context.path("net.plan")).unwrap();
    let run = export(&context, repository.path(), &["--only", "engine", "--engine", "net.plan"]);
    assert!(run.code == 3 && run.stderr.contains("was built from another ONNX file"), "{}", run.shown());
}

fn decoded(bytes: &[u8]) -> trtgate::internals::onnx::Model {
    prost::Message::decode(bytes).unwrap()
}

fn encoded(model: &trtgate::internals::onnx::Model) -> Vec<u8> {
    prost::Message::encode_to_vec(model)
}

/// Two inputs, one of open height and width, of a graph whose names need escaping; two outputs.
#[test]
fn several_inputs_and_open_sizes_are_served() {
    let repository = Repository::new();
    let mut model = decoded(&classifier(
        vec![
            node("mean", "GlobalAveragePool", &["picture \"a\""], "mean.out", &[]),
            node("flat", "Flatten", &["mean.out"], "flat.out", &[("axis", &[1])]),
            node("sum", "Add", &["flat.out", "bias\\b"], "sum.out", &[]),
            node("same", "Identity", &["sum.out"], "out:0", &[]),
            node("map", "Relu", &["picture \"a\""], "map", &[]),
        ],
        vec![stored("unused", &[1], &[0.0])],
    ));
    let graph = model.graph.as_mut().unwrap();
    let open = |name: &str, sizes: &[Option<i64>]| {
        let mut value = crate::second_model::border(name, &vec![1; sizes.len()]);
        let shape = value.kind.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
        for (dim, size) in shape.dim.iter_mut().skip(1).zip(sizes) {
            *dim = trtgate::internals::onnx::Dimension {
                dim_value: *size,
                dim_param: size.is_none().then(|| "size".to_owned()),
            };
        }
        value
    };
    graph.input = vec![open("picture \"a\"", &[Some(3), None, None]), open("bias\\b", &[Some(3)])];
    graph.output = vec![open("out:0", &[Some(3)]), open("map", &[Some(3), None, None])];
    let text = "[[input]]\nname = 'picture \"a\"'\nshape = [3, 8, 8]\nvalues = { uniform = [0.0, 1.0] }\n[[input]]\nname = 'bias\\b'\nvalues = { uniform = [0.0, 1.0] }\n\
                [[output]]\nname = \"out:0\"\ntask = \"values\"\n[matrix]\nbatches = [1, 8]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n";
    let context = project("two", &encoded(&model), text);
    exported(&context, repository.path(), &[]);
    let server = repository.start();
    let served = config(&server, "two-onnx-fp32");
    assert_eq!(
        (&served["input"][0]["name"], &served["input"][1]["name"]),
        (&json!("picture \"a\""), &json!("bias\\b"))
    );
    assert_eq!(served["input"][0]["dims"], json!([3, -1, -1]));
    for batch in [1, 8] {
        let answered = ask(&server, &served, batch);
        assert_eq!(answered, [("out:0".to_owned(), vec![batch, 3]), ("map".to_owned(), vec![batch, 3, batch, batch])]);
    }
}

#[test]
fn what_triton_does_not_serve_is_refused_with_the_reason_and_nothing_is_written() {
    let context = Context::new();
    context.manifest(&[]);
    let repository = context.path("repository");
    for (kind, reason) in [
        ("savedmodel", "gone after 25.04"),
        ("tflite-int8", "no backend for TFLite"),
        ("onnx-plain", "converters start from"),
    ] {
        let run = export(&context, &repository, &["--only", kind]);
        assert_eq!(run.code, 3, "{}", run.shown());
        assert!(run.stderr.contains("is not served by Triton") && run.stderr.contains(reason), "{}", run.shown());
    }
    let mut rtx = vec![0; 64];
    rtx[..4].copy_from_slice(b"vtrt");
    rtx[24..28].copy_from_slice(&[1, 7, 1, 0]);
    std::fs::write(context.path("rtx.plan"), &rtx).unwrap();
    rtx[..4].copy_from_slice(b"ftrt");
    std::fs::write(context.path("alone.plan"), &rtx).unwrap();
    for (file, reason) in [("rtx.plan", "engine of TensorRT for RTX"), ("alone.plan", "trtgate build --out FILE")] {
        let run = export(&context, &repository, &["--only", "onnx-fp32", "--engine", file]);
        assert_eq!(run.code, 3, "{}", run.shown());
        assert!(run.stderr.contains(reason), "{}", run.shown());
    }
    assert!(!repository.exists());
}
