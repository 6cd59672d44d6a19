//! The real server as a fixture: it comes up in bounded time, it is the one that was started, and it leaves nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use prost::Message as _;
use rstest::rstest;
use trtgate::internals::serve::Options;

use crate::context::Context;
use crate::second_model::onnx;
use crate::triton::{ECHO, Repository, get};

/// Files that a server shares with its models, of the process that started it.
fn shared(id: &str) -> Vec<String> {
    let prefix = format!("{}_", id.replace('-', "_"));
    let names = std::fs::read_dir("/dev/shm").unwrap().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(&prefix)).collect()
}

/// Processes whose command line names `word`: their ids, with the line.
fn processes(word: &str) -> Vec<(String, String)> {
    let lines = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some((entry.file_name().into_string().ok()?, String::from_utf8_lossy(&line).replace('\0', " ")))
    });
    lines.filter(|(_, line)| line.contains(word)).collect()
}

fn eventually(what: impl Fn() -> bool) -> bool {
    (0..200).any(|_| {
        what() || {
            std::thread::sleep(Duration::from_millis(50));
            false
        }
    })
}

#[test]
fn a_server_comes_up_says_who_it_is_and_leaves_nothing() {
    let repository = Repository::new();
    repository.python("echo", "", ECHO);
    // The first start reads 150 MB from the disk.
    drop(repository.start());
    let start = Instant::now();
    let server = repository.start();
    // Half a second on a machine with nothing else to do.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let (status, said) = get(&server.url(), "/v2");
    assert!(status == 200 && said.contains(server.id()) && said.contains("\"version\":\"2.51.0\""), "{said}");
    assert_eq!(get(&server.url(), "/v2/models/echo/ready").0, 200);
    let id = server.id().to_owned();
    assert_eq!(shared(&id).len(), 1);
    assert_eq!(processes(&format!("{}_", id.replace('-', "_"))).len(), 2, "the server, and the process of its model");
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(eventually(|| shared(&id).is_empty() && processes(&id.replace('-', "_")).is_empty()));
}

#[test]
fn a_model_whose_process_died_holds_nobody_up() {
    let repository = Repository::new();
    repository.python("echo", "", ECHO);
    let mut server = repository.start();
    let id = server.id().replace('-', "_");
    let models = processes(&format!("/echo/1/model.py {id}_"));
    assert_eq!(models.len(), 1, "{models:?}");
    assert!(std::process::Command::new("kill").args(["-s", "KILL", &models[0].0]).status().unwrap().success());
    // A server waits 30 s for such a model.
    let start = Instant::now();
    assert_eq!(server.has_ended(), None);
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(eventually(|| shared(&id).is_empty() && processes(&id).is_empty()));
}

/// Another server that answers the protocol on the port is not taken for the one that was started.
#[test]
fn a_port_that_another_server_has_is_told_and_never_believed() {
    let repository = Repository::new();
    repository.python("echo", "", ECHO);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let body = r#"{"name":"somebody","version":"2.51.0","extensions":[]}"#;
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        }
    });
    let options = Options { http: Some(port), ..Options::default() };
    let error = repository.try_start(&options).unwrap_err();
    assert!(error.message.contains(&port.to_string()) && error.message.contains("is taken"), "{error}");
}

/// Whoever kills trtgate without a word leaves no server, no process of a model and no shared memory.
#[test]
fn a_trtgate_that_is_killed_leaves_no_server() {
    let repository = Repository::new();
    repository.python("echo", "", ECHO);
    let context = Context::new();
    let mut program = context
        .command(&["serve", repository.path().to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    let ready = get(url.trim_start_matches("http "), "/v2/health/ready").0;
    let id = lines.nth(1).unwrap().unwrap().trim_start_matches("id ").to_owned();
    let there = !shared(&id).is_empty() && !processes(&id).is_empty();
    // SIGKILL, before anything here may fail and leave it running.
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(ready == 200 && there);
    let left = || (shared(&id), processes(&id.replace('-', "_")));
    assert!(eventually(|| left() == (Vec::new(), Vec::new())), "{:?}", left());
}

fn configuration(largest: u32, kind: &str, dims: &str) -> String {
    format!(
        "platform: \"onnxruntime_onnx\"\nmax_batch_size: {largest}\n\
         input [{{ name: \"glyph\" data_type: {kind} dims: [ {dims} ] }}]\n\
         output [{{ name: \"scores\" data_type: TYPE_FP32 dims: [ 7 ] }}]\ninstance_group [{{ kind: KIND_CPU count: 1 }}]\n"
    )
}

#[test]
fn an_unchanged_onnx_repository_is_served() {
    let repository = Repository::new();
    repository.model("net", &configuration(8, "TYPE_FP32", "1, 20, 24"), "model.onnx", &onnx());
    let server = repository.start();
    let (status, metadata) = get(&server.url(), "/v2/models/net");
    assert_eq!(status, 200, "{metadata}");
    assert!(metadata.contains("\"platform\":\"onnxruntime_onnx\""), "{metadata}");
}

/// What the real backend refuses, the stand-in refuses in its words.
#[rstest]
#[case::kind(8, "TYPE_FP16", "1, 20, 24", "unexpected datatype TYPE_FP16 for input 'glyph', expecting TYPE_FP32")]
#[case::rank(8, "TYPE_FP32", "20, 24", "the model expects 4 dimensions")]
#[case::size(8, "TYPE_FP32", "1, 20, 25", "the model expects shape [-1, 1, 20, 24]")]
#[case::batch_in_dims(8, "TYPE_FP32", "-1, 1, 20, 24", "the model expects 4 dimensions")]
fn what_the_real_backend_refuses_is_refused(
    #[case] largest: u32,
    #[case] kind: &str,
    #[case] dims: &str,
    #[case] words: &str,
) {
    let repository = Repository::new();
    repository.model("net", &configuration(largest, kind, dims), "model.onnx", &onnx());
    let error = repository.try_start(&Options::default()).unwrap_err();
    assert!(error.message.starts_with("Triton refuses the repository: failed to load 'net'"), "{error}");
    assert!(error.message.contains(words), "{error}");
}

/// A graph of one batch is served as it is, and not with a batch that it does not have.
#[test]
fn a_fixed_batch_is_no_batch() {
    let mut model = trtgate::internals::onnx::Model::decode(onnx().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let fixed = |value: &mut trtgate::internals::onnx::ValueInfo| {
        let kind = value.kind.as_mut().unwrap().tensor_type.as_mut().unwrap();
        kind.shape.as_mut().unwrap().dim[0] =
            trtgate::internals::onnx::Dimension { dim_value: Some(2), dim_param: None };
    };
    graph.input.iter_mut().for_each(fixed);
    let repository = Repository::new();
    repository.model("net", &configuration(8, "TYPE_FP32", "1, 20, 24"), "model.onnx", &model.encode_to_vec());
    let error = repository.try_start(&Options::default()).unwrap_err();
    assert!(error.message.contains("the first dimension must be -1"), "{error}");
}

/// The stand-in for TensorRT holds plans to their version and profiles, and runs no real one.
#[test]
fn a_plan_is_held_to_its_version_and_profiles() {
    let configuration = configuration(32, "TYPE_FP32", "1, 20, 24").replace("onnxruntime_onnx", "tensorrt_plan");
    let plan = |version: &str| {
        let head = format!(
            "{{\"tensorrt\": \"{version}\", \"profiles\": [{{\"glyph\": {{\"min\": [1, 1, 20, 24], \"opt\": [4, 1, 20, 24], \"max\": [8, 1, 20, 24]}}}}]}}\n"
        );
        [head.as_bytes(), &onnx()].concat()
    };
    let refused = |bytes: &[u8]| {
        let repository = Repository::new();
        repository.model("net", &configuration, "model.plan", bytes);
        repository.try_start(&Options::default()).unwrap_err().message
    };
    let other = refused(&plan("8.5.3"));
    assert!(other.contains("Version tag does not match"), "{other}");
    let real = refused(b"ftrt\x00\x01\x02\x03");
    assert!(real.contains("this stand-in runs no TensorRT engine"), "{real}");
    let repository = Repository::new();
    repository.model("net", &configuration, "model.plan", &plan("10.6.0"));
    assert_eq!(get(&repository.start().url(), "/v2/models/net/ready").0, 200);
}

/// What NVIDIA's images of Triton run with an engine, with an ONNX file on the Triton that is here: built, served, gated over both
/// protocols, and nothing left.
#[test]
fn what_a_container_serves_is_gated_by_one_script() {
    let folder = tempfile::tempdir().unwrap();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (http, grpc) = (free(), free());
    let run = std::process::Command::new("ci/run-served")
        .args(["--out", folder.path().to_str().unwrap(), "fp32"])
        .env("TRTGATE_PROGRAM", crate::context::program())
        .env("TRTGATE_REQUIRE", "")
        .env("SERVED_KIND", "onnx-fp32")
        .env("SERVED_HTTP_PORT", &http)
        .env("SERVED_GRPC_PORT", &grpc)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    let report = crate::context::report(&folder.path().join("served-fp32.json"));
    let protocols: std::collections::BTreeSet<String> =
        report.cells.iter().map(|cell| cell.runtime.to_string()).collect();
    assert_eq!(protocols.into_iter().collect::<Vec<_>>(), ["triton@grpc", "triton@http"]);
    assert!(report.cells.iter().all(|cell| cell.status == trtgate::internals::vocabulary::Status::Pass));
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{http}")).is_err(), "the server has ended");
}
