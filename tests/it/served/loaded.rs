//! The real server under load: merged requests, and models that mix up rows or keep an answer for the next request.

use std::io::{Read, Write};
use std::net::TcpStream;

use trtgate::internals::findings::{CheckResult, Report};
use trtgate::internals::vocabulary::Status;

use super::fake::{Fake, Request, send};
use super::{configuration, project};
use crate::context::{Context, Run, report};
use crate::second_model::onnx;
use crate::triton::Repository;

/// Requests that wait for others are merged, as far as they come within this time.
pub const MERGING: &str = "dynamic_batching { max_queue_delay_microseconds: 5000 }\n";

/// The glyph model as a model of Python with `more` in its configuration, whose answers go through `body`: from `fed`, the inputs of merged requests, and `out`, their
/// answers.
pub fn python(repository: &Repository, more: &str, body: &str) {
    let indented: String = body.lines().map(|line| format!("        {line}\n")).collect();
    let text = format!(
        "import os\nimport numpy as np\nimport onnxruntime\nimport triton_python_backend_utils as pb\n\n\
         class TritonPythonModel:\n    def initialize(self, arguments):\n        \
         path = os.path.join(arguments['model_repository'], arguments['model_version'], 'model.onnx')\n        \
         self.session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])\n        \
         self.last, self.answer, self.same = None, None, 0\n\n    \
         def execute(self, requests):\n        \
         fed = [pb.get_input_tensor_by_name(r, 'glyph').as_numpy() for r in requests]\n        \
         out = [self.session.run(['scores'], {{'glyph': one}})[0] for one in fed]\n{indented}        \
         return [pb.InferenceResponse([pb.Tensor('scores', np.ascontiguousarray(one))]) for one in out]\n"
    );
    let configuration = configuration(8).replace("platform: \"onnxruntime_onnx\"", "backend: \"python\"") + more;
    repository.model("glyphs", &configuration, "model.onnx", &onnx());
    repository.model("glyphs", &configuration, "model.py", text.as_bytes());
}

fn gated(url: &str) -> (Run, Report) {
    let context = Context::new();
    project(&context, &format!("url = \"{url}\"\nmodel = \"glyphs\""));
    let run = context.run(&["gate", "--runtime", "triton", "--batch", "8", "--json", "report.json"]);
    let report = report(&context.path("report.json"));
    (run, report)
}

fn check(report: &Report) -> &CheckResult {
    report.cells[0].checks.iter().find(|check| check.name == "under-load").unwrap()
}

/// Every other check of the one cell that decides.
fn others_pass(report: &Report) -> bool {
    let others = report.cells[0].checks.iter().filter(|check| check.name != "under-load" && check.gating);
    others.clone().count() > 4 && others.clone().all(|check| check.status == Status::Pass)
}

/// A12: merged requests are answered as alone, and the server says that it merged.
#[test]
fn merged_requests_are_answered_as_alone() {
    let repository = Repository::new();
    repository.model("glyphs", &(configuration(8) + MERGING), "model.onnx", &onnx());
    let (run, report) = gated(&repository.start().url());
    assert_eq!((report.cells[0].status, check(&report).status), (Status::Pass, Status::Pass), "{}", run.shown());
    let detail = &check(&report).detail;
    assert!(detail.starts_with("256 samples are answered as alone, bit by bit"), "{detail}");
    assert!(detail.contains("requests by 4 connections); the server computed them in"), "{detail}");
}

/// Where none was merged, that is said, and it is no pass of this check.
#[test]
fn what_was_not_merged_is_not_proven() {
    let repository = Repository::new();
    repository.model("glyphs", &configuration(8), "model.onnx", &onnx());
    let (run, report) = gated(&repository.start().url());
    assert_eq!((report.cells[0].status, check(&report).status), (Status::Pass, Status::Unavailable), "{}", run.shown());
    assert!(
        check(&report).detail.contains("merging is not proven: the server merged none"),
        "{}",
        check(&report).detail
    );
}

/// A11: a model that gives merged requests each other's answers is right as long as one request comes after the other.
#[test]
fn rows_mixed_up_between_merged_requests_are_named() {
    let repository = Repository::new();
    let body = "if len(out) > 1:\n    rows = np.concatenate(out)[::-1]\n    ends = np.cumsum([len(one) for one in out])\n    out = [rows[end - len(one):end] for one, end in zip(out, ends)]";
    python(&repository, MERGING, body);
    let (run, report) = gated(&repository.start().url());
    assert!(others_pass(&report), "{}", run.shown());
    assert_eq!((run.code, report.cells[0].status), (1, Status::Fail), "{}", run.shown());
    assert!(
        check(&report).detail.starts_with("rows are mixed up between requests: under load"),
        "{}",
        check(&report).detail
    );
}

/// A11: a model that answers the first request after a repeated one with what that was, as a captured graph of the request before.
#[test]
fn stale_answers_are_named() {
    let repository = Repository::new();
    let body = "for place, one in enumerate(fed):\n    if self.last is not None and np.array_equal(one, self.last):\n        self.same += 1\n    else:\n        if self.same >= 3 and self.answer.shape == out[place].shape:\n            out[place] = self.answer\n        self.same = 0\n    self.last, self.answer = one, out[place]";
    python(&repository, MERGING, body);
    let (run, report) = gated(&repository.start().url());
    assert!(others_pass(&report), "{}", run.shown());
    assert_eq!((run.code, report.cells[0].status), (1, Status::Fail), "{}", run.shown());
    let detail = &check(&report).detail;
    assert!(detail.starts_with("answers are stale: of the requests A×5 B×5 A×5, number 6, 11"), "{detail}");
}

/// A13: a server without statistics proves no merging.
#[test]
fn a_server_without_statistics_proves_no_merging() {
    let repository = Repository::new();
    repository.model("glyphs", &(configuration(8) + MERGING), "model.onnx", &onnx());
    let server = repository.start();
    let behind = server.url();
    let fake = Fake::new(move |request, stream| match request.path.ends_with("/stats") {
        true => send(stream, 501, "", b"{\"error\":\"not implemented\"}"),
        false => passed_on(request, stream, &behind),
    });
    let (run, report) = gated(&fake.url);
    assert_eq!((report.cells[0].status, check(&report).status), (Status::Pass, Status::Unavailable), "{}", run.shown());
    assert!(
        check(&report).detail.ends_with("merging is not proven: the server tells no statistics"),
        "{}",
        check(&report).detail
    );
}

/// A server that refuses under load what it answers alone is `invalid`, with its words.
#[test]
fn a_server_that_refuses_under_load_is_invalid() {
    let repository = Repository::new();
    let few = "dynamic_batching { max_queue_delay_microseconds: 20000 default_queue_policy { max_queue_size: 1 } }\n";
    repository.model("glyphs", &(configuration(8) + few), "model.onnx", &onnx());
    let (run, report) = gated(&repository.start().url());
    assert_eq!((run.code, report.cells[0].status), (3, Status::Invalid), "{}", run.shown());
    assert!(check(&report).detail.contains("Exceeds maximum queue size"), "{}", check(&report).detail);
}

/// Asks the server at `url` the same, and gives its answer.
fn passed_on(request: &Request, stream: &mut TcpStream, url: &str) {
    let mut server = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    let head = request.head.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    server.write_all(&[head.as_bytes(), &request.body].concat()).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    let _ = stream.write_all(&answer);
}
