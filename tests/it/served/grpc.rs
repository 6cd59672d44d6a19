//! The same over gRPC: the real server, and servers that mean ill.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use prost::Message;
use rstest::rstest;
use trtgate::ErrorKind;
use trtgate::internals::manifest::serve::{Endpoint, Protocol};
use trtgate::internals::runtime::triton;
use trtgate::internals::serve::{Options, Server};
use trtgate::internals::vocabulary::Status;

use super::fake::Fake;
use super::{ask, configuration, endpoint, glyphs, open, project};
use crate::context::{Context, report, succeeded};
use crate::triton::{ECHO, Repository};

/// The model `model` of `server`, over gRPC.
pub fn over_grpc(server: &Server, model: &str) -> Endpoint {
    of(&server.grpc_url(), model)
}

fn of(url: &str, model: &str) -> Endpoint {
    Endpoint { protocol: Protocol::Grpc, ..endpoint(url, model) }
}

#[test]
fn a_served_model_is_gated_over_grpc_as_over_http() {
    let repository = glyphs(&(configuration(16) + "dynamic_batching { max_queue_delay_microseconds: 5000 }\n"));
    let server = repository.start();
    let mut found = Vec::new();
    for serve in
        [format!("url = \"{}\"", server.url()), format!("url = \"{}\"\nprotocol = \"grpc\"", server.grpc_url())]
    {
        let context = Context::new();
        project(&context, &serve);
        let run = succeeded(context.run(&[
            "gate",
            "--runtime",
            "triton",
            "--batch",
            "8",
            "--batch",
            "32",
            "--json",
            "report.json",
        ]));
        let report = report(&context.path("report.json"));
        let statuses: Vec<Status> = report.cells.iter().map(|cell| cell.status).collect();
        assert_eq!(statuses, [Status::Pass, Status::Unsupported], "{}", run.shown());
        let doctor = context.run(&["doctor", "--offline"]);
        let notes: Vec<String> = doctor
            .stdout
            .lines()
            .skip_while(|line| !line.contains("triton"))
            .skip(2)
            .take_while(|line| line.starts_with("      "))
            .map(str::to_owned)
            .collect();
        assert!(notes.iter().any(|note| note.contains("batches of up to 16")), "{}", doctor.shown());
        found.push((report.cells[0].error.clone(), notes));
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn a_model_that_does_not_answer_is_invalid_over_grpc_too() {
    let repository = Repository::new();
    repository.python("echo", "", ECHO);
    repository.python("raises", "", "def execute(self, requests):\n    raise RuntimeError('boom')");
    repository.python("sleeps", "", "def execute(self, requests):\n    time.sleep(60)");
    repository.python(
        "wide",
        "",
        "def execute(self, requests):\n    return [answer(np.zeros((len(x_of(r)), 4))) for r in requests]",
    );
    let mut server = repository.start_with(&Options { tolerant: true, ..Options::default() });
    for (model, words) in [
        ("raises", "the server answers INTERNAL"),
        ("sleeps", "limit"),
        ("nobody", "the server answers NOT_FOUND"),
        ("wide", "`y` is float64, expected float32"),
    ] {
        let asked = Endpoint { timeout_seconds: 3, ..over_grpc(&server, model) };
        let start = Instant::now();
        let error = open(&asked).and_then(|mut session| ask(&mut *session, 2)).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(30), "{model}: {:?}", start.elapsed());
        assert!(error.kind == ErrorKind::Invalid, "{model}: {error}");
        assert!(error.to_string().contains(words) || error.hint.is_some_and(|hint| hint.contains(words)), "{model}");
    }
    let mut session = open(&over_grpc(&server, "echo")).unwrap();
    ask(&mut *session, 2).unwrap();
    server.kill();
    assert_eq!(ask(&mut *session, 2).unwrap_err().kind, ErrorKind::Invalid);
    let gone = triton::look(&over_grpc(&server, "echo"));
    assert!(gone.found.is_empty() && gone.missing.unwrap().status == Status::Unavailable);
}

#[derive(Clone, PartialEq, Message)]
struct Border {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    versions: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    inputs: Vec<Border>,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<Border>,
}

fn framed(bytes: &[u8]) -> Bytes {
    [&[0], (bytes.len() as u32).to_be_bytes().as_slice(), bytes].concat().into()
}

fn trailers(status: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers.insert("grpc-message", "in%20words%1b[31m".parse().unwrap());
    trailers
}

type Evil = fn(SendResponse<Bytes>);

/// A server that says of the model `net` what is true, and answers its requests with `evil`.
fn serving(evil: Evil) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        let border = |name: &str| Border {
                            name: name.to_owned(),
                            datatype: "FP32".to_owned(),
                            shape: vec![-1, 4],
                        };
                        let told = match request.uri().path().rsplit('/').next() {
                            Some("ServerMetadata") => Vec::new(),
                            Some("ModelMetadata") => Model {
                                name: "net".to_owned(),
                                versions: vec!["1".to_owned()],
                                inputs: vec![border("x")],
                                outputs: vec![border("y")],
                            }
                            .encode_to_vec(),
                            _ => {
                                evil(respond);
                                continue;
                            }
                        };
                        let mut stream = respond.send_response(Response::new(()), false).unwrap();
                        stream.send_data(framed(&told), false).unwrap();
                        stream.send_trailers(trailers("0")).unwrap();
                    }
                });
            }
        });
    });
    url
}

fn endless(mut respond: SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    tokio::spawn(async move {
        loop {
            stream.reserve_capacity(1 << 16);
            match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
                Some(Ok(count)) if stream.send_data(vec![0; count].into(), false).is_ok() => {}
                _ => return,
            }
        }
    });
}

fn silent(respond: SendResponse<Bytes>) {
    std::mem::forget(respond);
}

fn no_status(mut respond: SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(framed(&[]), true).unwrap();
}

fn an_error(mut respond: SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_trailers(trailers("13")).unwrap();
}

fn lies(mut respond: SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(vec![0, 0xff, 0xff, 0xff, 0xff].into(), false).unwrap();
    stream.send_trailers(trailers("0")).unwrap();
}

fn no_message(mut respond: SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(framed(&[0xff; 40]), false).unwrap();
    stream.send_trailers(trailers("0")).unwrap();
}

fn another_status(mut respond: SendResponse<Bytes>) {
    let response = Response::builder().status(302).header("location", "http://127.0.0.1:9/").body(()).unwrap();
    respond.send_response(response, true).unwrap();
}

#[rstest]
#[case::endless(endless, "is longer than")]
#[case::silent(silent, "within the limit")]
#[case::no_status(no_status, "ends without a status")]
#[case::an_error(an_error, "the server answers INTERNAL: in words [31m")]
#[case::lies(lies, "is not one message")]
#[case::no_message(no_message, "not what the protocol has")]
#[case::another_status(another_status, "answers HTTP 302")]
fn a_server_that_means_ill_ends_at_its_limit(#[case] evil: Evil, #[case] words: &str) {
    let asked = Endpoint { timeout_seconds: 2, ..of(&serving(evil), "net") };
    let start = Instant::now();
    let error = ask(&mut *open(&asked).unwrap(), 2).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.kind == ErrorKind::Invalid && start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn what_speaks_no_grpc_is_no_server() {
    let fake = Fake::new(|request, stream| {
        let _ = super::told(request, stream);
    });
    let asked = Endpoint { timeout_seconds: 2, ..of(&fake.url, "net") };
    let found = triton::look(&asked).found.remove(0);
    assert_eq!(found.run_obstacle.unwrap().status, Status::Invalid);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let asked = Endpoint { timeout_seconds: 2, ..of(&format!("http://{}", silent.local_addr().unwrap()), "net") };
    let start = Instant::now();
    assert!(triton::look(&asked).found[0].run_obstacle.is_some());
    assert!(start.elapsed() < Duration::from_secs(30));
}

/// Requests over one stream: the same bits, errors in words that leave the stream as it is, and a server that is gone.
#[test]
fn a_stream_carries_requests_and_their_answers() {
    let repository = Repository::new();
    repository.python("echo", "", ECHO);
    let moody = "def execute(self, requests):\n    out = []\n    for request in requests:\n        x = x_of(request)\n        if x[0, 1] == 1 and len(x) == 3:\n            out.append(pb.InferenceResponse(error=pb.TritonError('three are too many')))\n        else:\n            out.append(answer(x))\n    return out";
    repository.python("moody", "", moody);
    repository.python("sleeps", "", "def execute(self, requests):\n    time.sleep(60)");
    let mut server = repository.start();
    let streamed = |model: &str| Endpoint { protocol: Protocol::GrpcStream, ..over_grpc(&server, model) };
    let mut session = open(&streamed("echo")).unwrap();
    let mut called = open(&over_grpc(&server, "echo")).unwrap();
    for rows in [1, 8, 3] {
        assert_eq!(ask(&mut *session, rows).unwrap(), ask(&mut *called, rows).unwrap());
    }
    let mut session = open(&streamed("moody")).unwrap();
    ask(&mut *session, 2).unwrap();
    let error = ask(&mut *session, 3).unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.to_string().contains("three are too many"), "{error}");
    ask(&mut *session, 2).unwrap();
    let error = open(&Endpoint { timeout_seconds: 2, ..streamed("sleeps") })
        .and_then(|mut session| ask(&mut *session, 1))
        .unwrap_err();
    assert!(error.to_string().contains("within the limit"), "{error}");
    server.kill();
    assert_eq!(ask(&mut *session, 2).unwrap_err().kind, ErrorKind::Invalid);
}

/// One value a sample goes over the wire with a dimension more, and is taken for what the model has.
#[test]
fn one_value_a_sample_is_read_as_the_model_has_it() {
    let repository = Repository::new();
    let configuration = "backend: \"python\"\nmax_batch_size: 8\n\
         input [{ name: \"x\" data_type: TYPE_FP32 dims: [ 4 ] }]\n\
         output [{ name: \"y\" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }]\ninstance_group [{ kind: KIND_CPU count: 1 }]\n";
    let text = "import numpy as np\nimport triton_python_backend_utils as pb\n\nclass TritonPythonModel:\n    \
         def execute(self, requests):\n        \
         fed = [pb.get_input_tensor_by_name(r, 'x').as_numpy() for r in requests]\n        \
         return [pb.InferenceResponse([pb.Tensor('y', one.sum(axis=1))]) for one in fed]\n";
    repository.model("sums", configuration, "model.py", text.as_bytes());
    let server = repository.start();
    for asked in [endpoint(&server.url(), "sums"), over_grpc(&server, "sums")] {
        let found = triton::look(&asked).found.remove(0).served.unwrap();
        assert_eq!(found.signature.unwrap().outputs[0].shape, [None]);
        let mut session = open(&asked).unwrap();
        let output = ask(&mut *session, 2).unwrap().remove(0);
        assert_eq!((output.shape.as_slice(), &*output.floats()), (&[2][..], &[6.0, 22.0][..]));
    }
}
