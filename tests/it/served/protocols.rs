//! One model asked by several protocols in one gate, each with cells of its own.

use std::net::TcpListener;

use trtgate::internals::findings::Report;
use trtgate::internals::serve::Server;
use trtgate::internals::vocabulary::{Library, Status};

use super::loaded::{MERGING, python};
use super::{configuration, glyphs, project, said};
use crate::context::{Context, Run, report, succeeded};
use crate::triton::{ECHO, Repository};

const EACH: [&str; 3] = ["triton@http", "triton@grpc", "triton@grpc-stream"];

/// `[serve]` of a model that is asked at `http` and at `grpc`.
fn beside(http: &str, grpc: &str, protocols: &str) -> String {
    format!("url = \"{http}\"\ngrpc-url = \"{grpc}\"\nprotocol = {protocols}\nmodel = \"glyphs\"")
}

/// A project of the glyph model, which is asked at `http` and at `grpc`.
fn asking(http: &str, grpc: &str) -> Context {
    let context = Context::new();
    project(&context, &beside(http, grpc, "[\"http\", \"grpc\"]"));
    context
}

/// A gate of what is served, in batches of 8, and its report.
fn gated(context: &Context, words: &[&str]) -> (Run, Report) {
    let run = context.run(&[&["gate", "--batch", "8", "--json", "report.json"], words].concat());
    let report = report(&context.path("report.json"));
    (run, report)
}

/// Each cell with its status.
fn statuses(report: &Report) -> Vec<(String, Status)> {
    report.cells.iter().map(|cell| (cell.runtime.to_string(), cell.status)).collect()
}

fn over(http: Status, grpc: Status) -> [(String, Status); 2] {
    [("triton@http".to_owned(), http), ("triton@grpc".to_owned(), grpc)]
}

/// An address where nobody answers.
fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

/// A4 in one gate: every protocol's cells have the figures of ONNX Runtime's, and their answers are equal bit by bit.
#[test]
fn one_gate_asks_a_model_by_every_protocol() {
    let server = glyphs(&(configuration(16) + MERGING)).start();
    let context = Context::new();
    project(&context, &beside(&server.url(), &server.grpc_url(), "[\"http\", \"grpc\", \"grpc-stream\"]"));
    let both = ["--runtime", "triton", "--runtime", "onnxruntime", "--precision", "fp32"];
    let words = ["gate", "--require", "triton", "--json", "report.json", "--html", "report.html"];
    let run = succeeded(context.run(&[&words[..], &both].concat()));
    let whole = report(&context.path("report.json"));
    let cell = |runtime: &str, batch: u32| {
        whole.cells.iter().find(|cell| cell.runtime.to_string() == runtime && cell.batch == batch).unwrap()
    };
    for (runtime, batch) in EACH.into_iter().flat_map(|runtime| [1, 8, 16, 32].map(|batch| (runtime, batch))) {
        let (here, there) = (cell("onnxruntime", batch), cell(runtime, batch));
        if batch == 32 {
            assert_eq!(there.status, Status::Unsupported, "{runtime}");
            continue;
        }
        assert_eq!((there.status, &there.error), (Status::Pass, &here.error), "{runtime} {batch}: {}", run.shown());
        // Merging is proven of each, at the largest batch that the server takes: nobody else asked meanwhile.
        let under_load = there.checks.iter().find(|check| check.name == "under-load").map(|check| check.status);
        assert_eq!(under_load, (batch == 16).then_some(Status::Pass), "{runtime} {batch}: {}", run.shown());
        let replay = format!("--runtime {runtime} --precision fp32 --batch {batch}");
        assert!(there.replay.ends_with(&replay), "{}", there.replay);
    }
    let digest = |runtime: &str| &cell(runtime, 8).artifact.as_ref().unwrap().sha256;
    assert_ne!(digest("triton@http"), digest("triton@grpc"));
    // Each beside each, in every batch that ran.
    let rows: Vec<_> = whole.versions.iter().filter(|row| row.library == Library::Triton).collect();
    let pairs: Vec<_> = rows.iter().flat_map(|row| &row.pairs).collect();
    assert!(rows.len() == 3 && pairs.len() == 9 && pairs.iter().all(|pair| pair.equal), "{pairs:?}");
    assert!(said(&run).contains("protocols of triton at the largest batch"), "{}", run.shown());
    let page = std::fs::read_to_string(context.path("report.html")).unwrap();
    assert!(page.contains("Protocols of triton") && page.contains("triton@grpc-stream"));
    let doctor = succeeded(context.run(&["doctor", "--offline"]));
    for runtime in EACH {
        assert!(doctor.stdout.contains(&format!("✓ {runtime} ")), "{}", doctor.shown());
    }
    // What a cell's replay asks is that cell alone.
    let replay = &cell("triton@grpc", 8).replay;
    let words: Vec<&str> = replay.split(' ').skip(1).chain(["--json", "again.json"]).collect();
    succeeded(context.run(&words));
    let again = report(&context.path("again.json"));
    assert_eq!(again.cells.len(), 1);
    assert_eq!(
        (again.cells[0].id(), &again.cells[0].error),
        (cell("triton@grpc", 8).id(), &cell("triton@grpc", 8).error)
    );
    // Gated apart and merged, they are what they are together.
    succeeded(context.run(&["gate", "--runtime", "triton", "--batch", "8", "--plan-json", "plan.json"]));
    for runtime in EACH {
        succeeded(context.run(&["gate", "--runtime", runtime, "--batch", "8", "--json", &format!("{runtime}.json")]));
    }
    let parts = EACH.map(|runtime| format!("{runtime}.json"));
    let all: Vec<&str> = parts.iter().map(String::as_str).collect();
    let merged = [&["merge", "--plan", "plan.json", "--json", "merged.json"], all.as_slice()].concat();
    let run = context.run(&merged);
    let merged = report(&context.path("merged.json"));
    assert!(merged.cells.len() == 3 && merged.cells.iter().all(|cell| cell.status == Status::Pass), "{}", run.shown());
    assert_eq!(merged.versions.iter().collect::<Vec<_>>(), [rows[1]]);
    // One that is left out is lost.
    let lost = context.run(&["merge", "--plan", "plan.json", "--json", "merged.json", all[0], all[1]]);
    assert!(lost.code == 3 && lost.stderr.contains("`triton@grpc-stream/fp32/batch-8`"), "{}", lost.shown());
}

/// What answers wrongly over one protocol fails in the cells of that protocol alone.
#[test]
fn a_server_that_answers_wrongly_over_grpc_fails_there_alone() {
    let (right, wrong) = (glyphs(&configuration(8)).start(), Repository::new());
    python(&wrong, "", "out = [one[:, ::-1] for one in out]");
    let wrong = wrong.start();
    let context = asking(&right.url(), &wrong.grpc_url());
    let (run, found) = gated(&context, &["--runtime", "triton"]);
    assert_eq!(statuses(&found), over(Status::Pass, Status::Fail), "{}", run.shown());
    assert_eq!(run.code, 1);
    let [row] = found.versions.as_slice() else { panic!("{:?}", found.versions) };
    assert!(!row.pairs[0].equal && row.pairs[0].status == Status::Fail, "{:?}", row.pairs);
    let rule = found.cross.iter().find(|rule| rule.name == "versions").map_or("", |rule| rule.detail.as_str());
    assert!(rule.ends_with("1 lie further apart with a protocol that fails by itself"), "{rule}");
    // Nor is it one server, by its own words.
    assert!(said(&run).contains("speaks of itself otherwise, as two servers or two models do"), "{}", run.shown());
    let (run, found) = gated(&context, &["--runtime", "triton@http"]);
    assert_eq!((run.code, found.cells.len()), (0, 1), "{}", run.shown());
}

/// A port where nobody answers, ports that are swapped, another model behind one of them: no pass, and named.
#[test]
fn a_protocol_that_is_not_the_models_is_no_pass() {
    let server = glyphs(&configuration(8)).start();
    let (http, here) = (server.url(), server.grpc_url());
    let gated_at = |http: &str, grpc: &str| gated(&asking(http, grpc), &["--runtime", "triton"]);
    let (run, found) = gated_at(&http, &nobody());
    assert_eq!(statuses(&found), over(Status::Pass, Status::Invalid), "{}", run.shown());
    let reason = found.cells[1].reason.as_ref().unwrap();
    assert!(run.code == 3 && reason.contains("nobody answers at") && reason.contains("is answered at"), "{reason}");
    let (run, found) = gated_at(&here, &http);
    assert_eq!((run.code, statuses(&found)), (3, over(Status::Invalid, Status::Invalid).into()), "{}", run.shown());
    let hints: Vec<&str> = found.cells.iter().filter_map(|cell| cell.hint.as_deref()).collect();
    assert!(hints.len() == 2 && hints.iter().all(|hint| hint.contains("gRPC on 8001")), "{hints:?} {}", run.shown());
    // Of the same name, with other inputs and outputs.
    let other = Repository::new();
    other.python("glyphs", "", ECHO);
    let other = other.start();
    let (run, found) = gated_at(&http, &other.grpc_url());
    assert_eq!((run.code, statuses(&found)), (3, over(Status::Pass, Status::Invalid).into()), "{}", run.shown());
    assert!(found.cells[1].reason.as_ref().unwrap().contains("is not the manifest's: it takes `x`"), "{}", run.shown());
}

/// A server that is not there at all is `unavailable` over each protocol; where it is required, each is missed.
#[test]
fn a_server_that_is_gone_is_missed_over_each_protocol() {
    let context = asking(&nobody(), &nobody());
    let (run, found) = gated(&context, &["--runtime", "triton", "--require", "triton"]);
    let gone = over(Status::Unavailable, Status::Unavailable).into();
    assert_eq!((run.code, statuses(&found)), (3, gone), "{}", run.shown());
    for runtime in &EACH[..2] {
        let missed = format!("required runtime `{runtime}` did not run: nobody answers at");
        assert!(found.reasons.iter().any(|reason| reason.starts_with(&missed)), "{:?}", found.reasons);
    }
    let doctor = succeeded(context.run(&["doctor", "--offline"]));
    assert!(doctor.stdout.contains("– triton@http") && doctor.stdout.contains("– triton@grpc"), "{}", doctor.shown());
}

/// Load is offered over each, and each has a baseline of its own.
#[test]
fn each_protocol_has_its_own_figures_under_load() {
    let server: Server = glyphs(&configuration(8)).start();
    let context = asking(&server.url(), &server.grpc_url());
    // In time on any machine.
    let words = ["--served", "--batch", "1", "--rate", "200", "--bound", "5000", "--duration", "2"];
    let bless = [&["bless", "--baselines", "--reason", "over HTTP", "--runtime", "triton@http"], &words[..]].concat();
    succeeded(context.run(&bless));
    let run = context.run(&[&["bench", "--json", "report.json"], &words[..]].concat());
    let found = report(&context.path("report.json"));
    let names: Vec<String> = found.cells.iter().map(|cell| cell.runtime.to_string()).collect();
    assert_eq!(names, EACH[..2], "{}", run.shown());
    let verdict = |place: usize| {
        let load = found.cells[place].load.as_ref().unwrap_or_else(|| panic!("{}", run.shown()));
        load.baseline.as_ref().map_or("", |baseline| baseline.verdict.as_str())
    };
    // HTTP's are not those of gRPC.
    assert_ne!(verdict(0), "no-baseline", "{}", run.shown());
    assert_eq!(verdict(1), "no-baseline", "{}", run.shown());
}
