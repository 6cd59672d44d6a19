//! Models as a server answers with them: the real Triton, bit by bit beside ONNX Runtime, and servers that are at fault.

mod fake;
mod grpc;
mod hostile;
mod loaded;
mod protocols;
mod recorded;
mod streaming;
#[cfg(feature = "tls")]
mod tls;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rstest::rstest;
use trtgate::internals::manifest::serve::Endpoint;
use trtgate::internals::onnx::{Attribute, Node};
use trtgate::internals::runtime::{self, Installation, OpenRequest, Session, SessionOptions, triton};
use trtgate::internals::serve::Options;
use trtgate::internals::tensor::{ElementType, Feeds, Tensor, Values};
use trtgate::internals::vocabulary::{ArtifactKind, Library, Precision, RuntimeId, Status};
use trtgate::{ErrorKind, Result};

use crate::context::{Context, Run, report, succeeded};
use crate::drivers;
use crate::second_model::{Numbers, node, onnx};
use crate::triton::{ECHO, Repository};
use fake::{Fake, told};

/// The model `model` of the server at `url`.
pub fn endpoint(url: &str, model: &str) -> Endpoint {
    Endpoint::plain(url, model)
}

pub fn open(endpoint: &Endpoint) -> Result<Box<dyn Session>> {
    let options = SessionOptions { endpoint: Some(Box::new(endpoint.clone())), ..SessionOptions::default() };
    runtime::driver(Library::Triton).unwrap().open(&OpenRequest {
        installation: Installation::plain(RuntimeId::unversioned(Library::Triton), "2", endpoint.place()),
        artifact: endpoint.place().into(),
        kind: ArtifactKind::Served,
        precision: Precision::Fp32,
        batch: 1,
        options,
    })
}

/// Asks for `rows` samples of four floats.
pub fn ask(session: &mut dyn Session, rows: usize) -> Result<Vec<Tensor>> {
    let values = (0..rows * 4).map(|place| place as f32).collect();
    session.run(&Tensor::float32("x", vec![rows, 4], values).unwrap().into())
}

/// A project of the glyph model with an endpoint.
pub fn project(context: &Context, serve: &str) {
    std::fs::write(context.path("glyphs.onnx"), onnx()).unwrap();
    succeeded(context.run(&["init", "--onnx", "glyphs.onnx", "--no-probes"]));
    let text = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    context.write("gate.toml", &format!("{text}\n[serve]\n{serve}\n"));
}

/// What a run told, however its lines are broken.
fn said(run: &Run) -> String {
    run.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn configuration(largest: u32) -> String {
    format!(
        "platform: \"onnxruntime_onnx\"\nmax_batch_size: {largest}\n\
         input [{{ name: \"glyph\" data_type: TYPE_FP32 dims: [ 1, 20, 24 ] }}]\n\
         output [{{ name: \"scores\" data_type: TYPE_FP32 dims: [ 7 ] }}]\ninstance_group [{{ kind: KIND_CPU count: 1 }}]\n"
    )
}

/// The glyph model as it is served.
fn glyphs(configuration: &str) -> Repository {
    let repository = Repository::new();
    repository.model("glyphs", configuration, "model.onnx", &onnx());
    repository
}

/// A4: what is served is bit by bit what ONNX Runtime answers here, in any batch.
#[test]
fn a_served_graph_answers_as_it_does_here_bit_by_bit() {
    let repository = glyphs(&configuration(32));
    let server = repository.start();
    let mut served =
        [endpoint(&server.url(), "glyphs"), grpc::over_grpc(&server, "glyphs")].map(|asked| open(&asked).unwrap());
    let request = OpenRequest {
        options: SessionOptions { intra_threads: 1, ..SessionOptions::default() },
        ..drivers::request(
            Library::Onnxruntime,
            repository.path().join("glyphs/1/model.onnx"),
            ArtifactKind::OnnxFp32,
            32,
        )
    };
    let mut here = drivers::open(&request).unwrap();
    let mut numbers = Numbers(3);
    for batch in [1, 8, 16, 32] {
        let input = Tensor::float32("glyph", vec![batch, 1, 20, 24], numbers.take(batch * 480, 1.0)).unwrap();
        let feeds: Feeds = input.into();
        let here = here.run(&feeds).unwrap();
        for session in &mut served {
            let there = session.run(&feeds).unwrap();
            assert!(there[0].values.is_bit_equal(&here[0].values) && there[0].shape == [batch, 7], "batch {batch}");
        }
    }
}

/// The gate's own way, and A6: batches that the server says it does not take are `unsupported`, and it is not asked.
#[test]
fn a_served_model_is_gated_and_larger_batches_are_not_sent() {
    let repository = glyphs(&configuration(16));
    let server = repository.start();
    let context = Context::new();
    project(&context, &format!("url = \"{}\"", server.url()));
    let words =
        ["gate", "--runtime", "triton", "--runtime", "onnxruntime", "--precision", "fp32", "--json", "report.json"];
    let run = succeeded(context.run(&words));
    let report = report(&context.path("report.json"));
    let of = |library: Library, batch: u32| {
        report.cells.iter().find(|cell| cell.runtime.library == library && cell.batch == batch).unwrap()
    };
    for batch in [1, 8, 16] {
        let (here, there) = (of(Library::Onnxruntime, batch), of(Library::Triton, batch));
        assert_eq!(there.status, Status::Pass, "{}", run.shown());
        assert_eq!(here.error, there.error, "batch {batch}");
        assert_eq!(there.artifact.as_ref().unwrap().kind, ArtifactKind::Served);
    }
    // The largest that the server takes is asked under load too, though the manifest has a larger one.
    let asked: Vec<u32> = report
        .cells
        .iter()
        .filter(|cell| cell.checks.iter().any(|check| check.name == "under-load"))
        .map(|cell| cell.batch)
        .collect();
    assert_eq!(asked, [16], "{}", run.shown());
    let large = of(Library::Triton, 32);
    assert_eq!(large.status, Status::Unsupported);
    assert!(large.reason.as_ref().unwrap().contains("batches of up to 16 (`max_batch_size`)"), "{:?}", large.reason);
    let doctor = context.run(&["doctor", "--offline"]);
    for line in [
        "live: yes, ready: yes",
        "model glyphs, platform onnxruntime_onnx, versions 1",
        "batches of up to 16",
        "requests are not merged",
    ] {
        assert!(doctor.stdout.contains(line), "{line}: {}", doctor.shown());
    }
    // A server that is gone is `unavailable`, and no pass where it is required.
    server.stop();
    let gone = context.run(&[&words[..], &["--require", "triton"]].concat());
    assert_eq!(gone.code, 3, "{}", gone.shown());
    assert!(gone.stdout.contains("unavailable") && gone.stdout.contains("nobody answers at"), "{}", gone.shown());
}

/// A5: what is declared otherwise than the manifest has it is `invalid`, with both sides, and the model is never asked.
#[rstest]
#[case::name("x", "FP32", "[-1,1,20,24]", "scores", "[-1,7]", "it takes `x`")]
#[case::kind(
    "glyph",
    "INT64",
    "[-1,1,20,24]",
    "scores",
    "[-1,7]",
    "is int64 [N, 1, 20, 24], and the manifest's float32"
)]
#[case::shape(
    "glyph",
    "FP32",
    "[-1,20,24]",
    "scores",
    "[-1,7]",
    "is float32 [N, 20, 24], and the manifest's float32 [N, 1, 20, 24]"
)]
#[case::batch_twice("glyph", "FP32", "[-1,-1,1,20,24]", "scores", "[-1,7]", "is float32 [N, N, 1, 20, 24]")]
#[case::classes("glyph", "FP32", "[-1,1,20,24]", "scores", "[-1,8]", "its output `scores` is float32 [N, 8]")]
#[case::output(
    "glyph",
    "FP32",
    "[-1,1,20,24]",
    "probabilities",
    "[-1,7]",
    "it has no output `scores`, only `probabilities`"
)]
#[case::text("glyph", "BYTES", "[-1,1,20,24]", "scores", "[-1,7]", "is BYTES")]
fn a_model_that_is_declared_otherwise_is_never_asked(
    #[case] input: &'static str,
    #[case] kind: &'static str,
    #[case] shape: &'static str,
    #[case] output: &'static str,
    #[case] classes: &'static str,
    #[case] words: &str,
) {
    let fake = Fake::new(move |request, stream| match request.path.as_str() {
        "/v2/models/net" => {
            let text = format!(
                r#"{{"name":"net","versions":["1"],"platform":"p","inputs":[{{"name":"{input}","datatype":"{kind}","shape":{shape}}}],"outputs":[{{"name":"{output}","datatype":"FP32","shape":{classes}}}]}}"#
            );
            fake::send(stream, 200, "", text.as_bytes());
        }
        _ => {
            let _ = told(request, stream);
        }
    });
    let context = Context::new();
    project(&context, &format!("url = \"{}\"\nmodel = \"net\"", fake.url));
    let run = context.run(&["gate", "--runtime", "triton", "--batch", "8", "--json", "report.json"]);
    let cell = &report(&context.path("report.json")).cells[0];
    let expected = if kind == "BYTES" { Status::Unsupported } else { Status::Invalid };
    assert_eq!((run.code, cell.status), (3, expected), "{}", run.shown());
    assert!(cell.reason.as_ref().unwrap().contains(words), "{:?}", cell.reason);
    if expected == Status::Invalid {
        assert!(run.stdout.contains("served:") && run.stdout.contains("manifest:"), "{}", run.shown());
    }
    assert_eq!(fake.asked("/infer"), 0);
}

/// A model that was exported from another model says so in its configuration, and is never asked.
#[test]
fn a_model_of_another_source_is_told_by_its_provenance() {
    let with = |digest: &str| {
        format!(
            "{}parameters {{ key: \"trtgate.model.sha256\" value {{ string_value: \"{digest}\" }} }}\n",
            configuration(8)
        )
    };
    let (own, other) = (trtgate::internals::digest::digest_bytes(&onnx()), "0".repeat(64));
    for (digest, status) in [(own, Status::Pass), (other, Status::Invalid)] {
        let server = glyphs(&with(&digest)).start();
        let context = Context::new();
        project(&context, &format!("url = \"{}\"", server.url()));
        let run = context.run(&["gate", "--runtime", "triton", "--batch", "8", "--json", "report.json"]);
        let cell = &report(&context.path("report.json")).cells[0];
        assert_eq!(cell.status, status, "{}", run.shown());
        match status {
            Status::Invalid => assert!(cell.reason.as_ref().unwrap().contains("exported from another model")),
            _ => assert!(said(&run).contains("says that it is the model gated"), "{}", run.shown()),
        }
    }
}

/// A8 and A9: what keeps a model of the real server from answering is told in the server's words, within its limit.
#[test]
fn a_model_that_does_not_answer_is_invalid_within_its_limit() {
    let repository = Repository::new();
    repository.python("echo", "", ECHO);
    repository.python("raises", "", "def execute(self, requests):\n    raise RuntimeError('boom')");
    repository.python("exits", "", "def execute(self, requests):\n    os._exit(3)");
    repository.python("sleeps", "", "def execute(self, requests):\n    time.sleep(60)");
    repository.python(
        "broken",
        "",
        "def initialize(self, arguments):\n    raise RuntimeError('cannot load')\ndef execute(self, requests):\n    return []",
    );
    let mut server = repository.start_with(&Options { tolerant: true, ..Options::default() });
    let told = |model: &str| {
        let mut asked = endpoint(&server.url(), model);
        asked.timeout_seconds = 3;
        let start = Instant::now();
        let error = open(&asked).and_then(|mut session| ask(&mut *session, 2)).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(30), "{model}: {:?}", start.elapsed());
        assert_eq!(error.kind, ErrorKind::Invalid, "{model}: {error}");
        (error.to_string(), triton::look(&asked).found.remove(0).run_obstacle.map(|obstacle| obstacle.reason))
    };
    let (error, looked) = told("raises");
    assert!(error.contains("the server answers 500") && error.contains("boom"), "{error}");
    // It is ready all the same: only an answer shows it.
    assert_eq!(looked, None);
    let (error, looked) = told("exits");
    assert!(error.contains("is not healthy") || error.contains("the server answers 500"), "{error}");
    assert_eq!(looked, None);
    assert!(told("sleeps").0.contains("within the limit"));
    for (model, words) in [("broken", "has no available versions"), ("nobody", "is not found")] {
        let (error, looked) = told(model);
        assert!(error.contains(words) && looked.as_ref().unwrap().contains(words), "{error} {looked:?}");
    }
    // Killed between two answers.
    let mut session = open(&endpoint(&server.url(), "echo")).unwrap();
    ask(&mut *session, 2).unwrap();
    server.kill();
    let error = ask(&mut *session, 2).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

/// A8: a model that is still loading is not asked.
#[test]
fn a_model_that_loads_is_invalid() {
    let repository = Repository::new();
    repository.python("late", "", &format!("def initialize(self, arguments):\n    time.sleep(20)\n{ECHO}"));
    let server = repository.start_with(&Options { explicit: true, ..Options::default() });
    let url = server.url();
    let loading = url.clone();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(loading.trim_start_matches("http://")).unwrap();
        stream
            .write_all(b"POST /v2/repository/models/late/load HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let _ = stream.read(&mut [0; 100]);
    });
    std::thread::sleep(Duration::from_secs(2));
    let found = triton::look(&endpoint(&url, "late")).found.remove(0);
    let obstacle = found.run_obstacle.unwrap();
    assert_eq!(obstacle.status, Status::Invalid);
    assert!(obstacle.reason.contains("the server answers 4"), "{obstacle:?}");
}

/// NaN goes through binary as it is, and no cell that has some passes.
#[test]
fn numbers_that_are_none_come_as_they_are_and_never_pass() {
    let repository = Repository::new();
    let body = "def execute(self, requests):\n    out = []\n    for request in requests:\n        y = x_of(request).copy()\n        y[:, 0] = np.nan\n        y[:, 1] = -np.inf\n        out.append(answer(y))\n    return out";
    repository.python("nan", "", body);
    let server = repository.start();
    for asked in [endpoint(&server.url(), "nan"), grpc::over_grpc(&server, "nan")] {
        let output = ask(&mut *open(&asked).unwrap(), 2).unwrap().remove(0);
        let values = output.floats().into_owned();
        assert!(values[0].is_nan() && values[1] == f32::NEG_INFINITY && values[2] == 2.0, "{values:?}");
    }
}

/// Every element type that the real server has, of several inputs and outputs at once, bit by bit.
#[test]
fn every_element_type_goes_through_the_real_server() {
    let kinds: [(&str, Values); 12] = [
        ("FP32", Values::Float32(vec![1.5, f32::NAN, -0.0, f32::MIN_POSITIVE])),
        ("FP16", Values::decode(ElementType::Float16, &[0, 0x3c, 0, 0x7c, 1, 0, 0xff, 0xfb]).unwrap()),
        ("FP64", Values::Float64(vec![0.1, f64::MAX, -1e-300, f64::INFINITY])),
        ("INT8", Values::Int8(vec![-128, 127, 0, 1])),
        ("UINT8", Values::Uint8(vec![255, 0, 1, 2])),
        ("INT16", Values::Int16(vec![i16::MIN, i16::MAX, 0, 1])),
        ("UINT16", Values::Uint16(vec![u16::MAX, 0, 1, 2])),
        ("INT32", Values::Int32(vec![i32::MIN, i32::MAX, 0, 1])),
        ("UINT32", Values::Uint32(vec![u32::MAX, 0, 1, 2])),
        ("INT64", Values::Int64(vec![i64::MIN, i64::MAX, 0, (1 << 53) + 1])),
        ("UINT64", Values::Uint64(vec![u64::MAX, 0, 1, (1 << 53) + 1])),
        ("BOOL", Values::Bool(vec![true, false, true, true])),
    ];
    let repository = Repository::new();
    let border = |role: &str, letter: &str| -> String {
        let tensor =
            |(name, _): &(&str, Values)| format!("{{ name: \"{letter}_{name}\" data_type: TYPE_{name} dims: [ 2 ] }}");
        format!("{role} [{}]\n", kinds.iter().map(tensor).collect::<Vec<_>>().join(", "))
    };
    let configuration = format!(
        "backend: \"python\"\nmax_batch_size: 8\n{}{}instance_group [{{ kind: KIND_CPU count: 1 }}]\n",
        border("input", "x"),
        border("output", "y")
    );
    let model = "import triton_python_backend_utils as pb\n\nclass TritonPythonModel:\n    def execute(self, requests):\n        \
        return [pb.InferenceResponse([pb.Tensor(t.name().replace('x_', 'y_'), t.as_numpy()) for t in r.inputs()]) for r in requests]\n";
    repository.model("all", &configuration, "model.py", model.as_bytes());
    let server = repository.start();
    for asked in [endpoint(&server.url(), "all"), grpc::over_grpc(&server, "all")] {
        let inputs =
            kinds.iter().map(|(name, values)| Tensor::new(format!("x_{name}"), vec![2, 2], values.clone()).unwrap());
        let outputs = open(&asked).unwrap().run(&Feeds::new(inputs.collect(), vec![]).unwrap()).unwrap();
        for ((name, values), output) in kinds.iter().zip(&outputs) {
            assert!(output.name == format!("y_{name}") && output.values.is_bit_equal(values), "{name}: {output:?}");
        }
    }
}

/// An ONNX graph of two inputs, one of whole numbers, and two outputs, of open length.
fn joint() -> Vec<u8> {
    let attribute = Attribute { name: "to".to_owned(), i: 1, kind: 2, ..Attribute::default() };
    let cast = Node { attribute: vec![attribute], ..node("cast", "Cast", &["ids"], "floats", &[]) };
    let nodes = vec![
        cast,
        node("scaled", "Mul", &["floats", "weights"], "scaled", &[]),
        node("soft", "Tanh", &["scaled"], "soft", &[]),
        node("next", "Add", &["ids", "ids"], "next", &[]),
    ];
    crate::served_graph::graph(
        nodes,
        &[("ids", 7, &["length"]), ("weights", 1, &["length"])],
        &[("soft", 1, &["length"]), ("next", 7, &["length"])],
    )
}

/// A model of two inputs, whole numbers among them, of two outputs, and of open length, served and gated over both protocols.
#[test]
fn a_served_model_of_several_inputs_is_gated_at_its_shapes() {
    let repository = Repository::new();
    let configuration = "backend: \"onnxruntime\"\nmax_batch_size: 8\n\
        input [{ name: \"ids\" data_type: TYPE_INT64 dims: [ -1 ] }, { name: \"weights\" data_type: TYPE_FP32 dims: [ -1 ] }]\n\
        output [{ name: \"soft\" data_type: TYPE_FP32 dims: [ -1 ] }, { name: \"next\" data_type: TYPE_INT64 dims: [ -1 ] }]\n\
        instance_group [{ kind: KIND_CPU count: 1 }]\n";
    repository.model("joint", configuration, "model.onnx", &joint());
    let server = repository.start();
    let context = Context::new();
    std::fs::write(context.path("joint.onnx"), joint()).unwrap();
    let manifest = format!(
        "schema = 1\n[model]\nname = \"joint\"\nonnx = \"joint.onnx\"\n[[input]]\nname = \"ids\"\nshape = [\"length\"]\n\
         values = {{ integers = [0, 9] }}\n[[input]]\nname = \"weights\"\nshape = [\"length\"]\nvalues = {{ uniform = [-1.0, 1.0] }}\n\
         [[output]]\nname = \"soft\"\ntask = \"values\"\n[[output]]\nname = \"next\"\ntask = \"values\"\n[shapes]\nlength = [3, 16]\n\
         [probes]\ncount = 32\n[matrix]\nbatches = [1, 8]\n[serve]\nurl = \"{}\"\ngrpc-url = \"{}\"\nprotocol = [\"http\", \"grpc\"]\n",
        server.url(),
        server.grpc_url()
    );
    context.write("gate.toml", &manifest);
    let run = succeeded(context.run(&["gate", "--runtime", "triton", "--json", "report.json"]));
    let report = report(&context.path("report.json"));
    // Protocol × batch × point: both ends of the length, and the sizes between that the manifest's points add.
    let of = |name: &str| -> BTreeSet<(u32, String)> {
        let own = report.cells.iter().filter(|cell| cell.runtime.to_string() == name);
        own.map(|cell| (cell.batch, cell.shape.as_ref().unwrap().to_string())).collect()
    };
    let over_http = of("triton@http");
    assert!(over_http.len() >= 4 && over_http == of("triton@grpc"), "{}", run.shown());
    assert_eq!(report.cells.len(), 2 * over_http.len());
    let pairs: Vec<_> = report.versions.iter().flat_map(|row| &row.pairs).collect();
    assert!(pairs.len() == over_http.len() && pairs.iter().all(|pair| pair.equal), "{pairs:?}");
    for cell in &report.cells {
        assert_eq!((cell.status, cell.outputs.len()), (Status::Pass, 2), "{}: {}", cell.id(), run.shown());
    }
}

/// A server at fault takes its own cells with it, and no others.
#[test]
fn a_server_at_fault_takes_its_own_cells_alone() {
    let repository = Repository::new();
    let wrong = "def execute(self, requests):\n    return [pb.InferenceResponse([pb.Tensor('scores', np.zeros((1, 7), np.float32))]) for r in requests]";
    let text = format!(
        "import numpy as np\nimport triton_python_backend_utils as pb\n\nclass TritonPythonModel:\n    {}\n",
        wrong.replace('\n', "\n    ")
    );
    repository.model(
        "glyphs",
        &configuration(8).replace("platform: \"onnxruntime_onnx\"", "backend: \"python\""),
        "model.py",
        text.as_bytes(),
    );
    let server = repository.start();
    let context = Context::new();
    project(&context, &format!("url = \"{}\"", server.url()));
    let words = [
        "gate",
        "--runtime",
        "triton",
        "--runtime",
        "onnxruntime",
        "--precision",
        "fp32",
        "--batch",
        "8",
        "--json",
        "report.json",
    ];
    let run = context.run(&words);
    let statuses: Vec<(Library, Status)> =
        report(&context.path("report.json")).cells.iter().map(|cell| (cell.runtime.library, cell.status)).collect();
    assert_eq!(statuses, [(Library::Onnxruntime, Status::Pass), (Library::Triton, Status::Invalid)], "{}", run.shown());
    assert_eq!(run.code, 3);
    assert!(said(&run).contains("has 1 rows, and 8 samples were asked"), "{}", run.shown());
}
