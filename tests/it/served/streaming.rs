//! Load that comes by itself: the real server behind it, and a library of this process. Nothing is said of speed but what a sleep makes certain.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use trtgate::internals::findings::{LoadReport, Report};
use trtgate::internals::load::{Figures, Standing};
use trtgate::internals::vocabulary::Status;

use super::loaded::python;
use super::{configuration, glyphs, project};
use crate::context::{Context, Run, report, succeeded};
use crate::second_model::onnx;
use crate::triton::Repository;

/// One execution takes 10 ms at least, however many requests it is of.
const SLOW: &str = "import time\ntime.sleep(0.01)";

/// What `words` measure of the glyph model that `more` of its configuration serves, by Python, asked over `protocol`.
fn measured(protocol: &str, more: &str, words: &[&str]) -> (Run, Report) {
    let repository = Repository::new();
    python(&repository, more, SLOW);
    let server = repository.start();
    let context = Context::new();
    let url = if protocol == "http" { server.url() } else { server.grpc_url() };
    project(&context, &format!("url = \"{url}\"\nprotocol = \"{protocol}\"\nmodel = \"glyphs\""));
    let run = context.run(&[&["bench", "--served", "--batch", "1", "--json", "report.json"], words].concat());
    let report = report(&context.path("report.json"));
    (run, report)
}

fn load(report: &Report) -> &LoadReport {
    report.cells[0].load.as_deref().unwrap_or_else(|| panic!("{:?}", report.cells[0].reason))
}

/// Every query is somewhere, once.
fn adds_up(figures: &Figures) {
    assert_eq!(
        figures.answered + figures.refusals() + figures.dropped + figures.unsent,
        figures.arrivals,
        "{figures:?}"
    );
}

/// A21: 200 queries a second to a model that takes 10 ms an execution. One by one it answers 100 at most, and queries wait for
/// seconds, which only shows from the scheduled time; merged it takes them.
#[test]
fn a_rate_that_is_not_held_shows_from_the_scheduled_time() {
    let words = ["--rate", "200", "--bound", "100", "--duration", "4"];
    let (run, report) = measured("http", "", &words);
    let alone = load(&report).told().unwrap().clone();
    adds_up(&alone);
    assert!(alone.answered_per_second() < 110.0, "{}", run.shown());
    assert!(alone.latency.unwrap().p99 > 1000.0, "{}", run.shown());
    assert_eq!((run.code, report.cells[0].status), (1, Status::Fail), "{}", run.shown());
    assert!(run.stdout.contains("200 queries/s are not held within 100 ms"), "{}", run.shown());
    let (run, report) = measured("http", "dynamic_batching { }\n", &words);
    let merged = load(&report).told().unwrap();
    adds_up(merged);
    assert!(merged.rows_per_execution().unwrap() > 1.3, "{}", run.shown());
    assert!(merged.answered_per_second() > 1.2 * alone.answered_per_second(), "{}", run.shown());
}

/// A22: a full queue refuses, which is no answer and has no latency.
#[rstest]
#[case::http("http", "503")]
#[case::grpc("grpc", "UNAVAILABLE")]
#[case::grpc_stream("grpc-stream", "an error")]
fn refusals_are_counted_by_their_words(#[case] protocol: &str, #[case] kind: &str) {
    let few = "dynamic_batching { default_queue_policy { max_queue_size: 4 } }\n";
    let (run, report) = measured(protocol, few, &["--rate", "2000", "--bound", "500", "--duration", "2"]);
    let told = load(&report).told().unwrap();
    adds_up(told);
    let reasons: Vec<&String> = told.refused.keys().collect();
    assert!(told.refusals() > 100 && reasons.len() == 1, "{reasons:?} {}", run.shown());
    assert!(reasons[0].starts_with(kind) && reasons[0].contains("Exceeds maximum queue size"), "{reasons:?}");
    assert!(told.in_time <= told.answered && told.answered > 0);
    assert_ne!((run.code, load(&report).standing == Standing::Held), (0, true), "{}", run.shown());
}

/// Runs `arguments` with whatever it starts stopped four fifths of the time, as on a machine that has no processor for it.
fn starved(context: &Context, arguments: &[&str]) -> Run {
    let mut command = context.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.spawn().unwrap();
    let (parent, is_over) = (program.id(), AtomicBool::new(false));
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let stopped = started_by(parent);
                signal(&stopped, Signal::STOP);
                std::thread::sleep(Duration::from_millis(400));
                signal(&stopped, Signal::CONT);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let output = program.wait_with_output();
        is_over.store(true, Ordering::Relaxed);
        output
    });
    Run::of(output.unwrap(), context.folder.path())
}

/// The processes that `parent` started.
fn started_by(parent: u32) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_of = |number: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let behind_name = stat.rsplit_once(") ").map(|(_, fields)| fields.to_owned()).unwrap_or_default();
        behind_name.split(' ').nth(1).is_some_and(|own| own.parse() == Ok(parent))
    };
    numbers.filter(is_of).filter_map(Pid::from_raw).collect()
}

fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        // One that has ended meanwhile needs none.
        let _ = kill_process(*process, signal);
    }
}

/// A23: a client that cannot send what is offered says that it is the limit. Nothing is told of the server then, and nothing accepted.
/// It is stopped from outside for longer than any answer takes, on an idle machine and on a busy one.
#[test]
fn a_client_that_cannot_send_what_is_offered_measures_nothing() {
    let server = glyphs(&configuration(8)).start();
    let context = Context::new();
    project(&context, &format!("url = \"{}\"\nmodel = \"glyphs\"", server.url()));
    let words = ["--served", "--batch", "1", "--rate", "30", "--bound", "5"];
    let run = starved(&context, &[&["bench", "--json", "report.json"], &words[..]].concat());
    let report = report(&context.path("report.json"));
    assert_eq!((run.code, report.cells[0].status), (3, Status::Invalid), "{}", run.shown());
    let load = load(&report);
    assert!(
        matches!(&load.standing, Standing::NotMeasured(why) if why.starts_with("the client is the limit")),
        "{load:?}"
    );
    assert_eq!(load.rate, None);
    // No latency is told: of the percentiles there are dashes.
    let row: Vec<&str> = run.stdout.lines().filter(|line| line.split_whitespace().next() == Some("30.0")).collect();
    assert!(row.len() == 1 && row[0].split_whitespace().filter(|word| *word == "–").count() == 4, "{}", run.shown());
    assert!(run.stdout.contains("server: not measured: the client is the limit"), "{}", run.shown());
    let run = starved(&context, &[&["bless", "--baselines", "--reason", "none"], &words[..]].concat());
    assert_ne!(run.code, 0, "{}", run.shown());
    assert!(!context.path("baselines").exists(), "{}", run.shown());
}

/// The largest rate is looked for, and what was accepted of it is what the next is held to.
#[test]
fn live_sources_are_held_or_not_and_a_baseline_remembers() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    std::fs::write(context.path("glyphs.onnx"), onnx()).unwrap();
    succeeded(context.run(&["init", "--onnx", "glyphs.onnx", "--no-probes"]));
    succeeded(context.run(&["bless", "--reason", "as it is"]));
    let of_cell =
        ["--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8", "--scenario", "stream", "--bound", "5000"];
    let bench = |words: &[&str]| {
        let run = context.run(&[&["bench", "--json", "report.json"], &of_cell[..], words].concat());
        let report = report(&context.path("report.json"));
        (run, report)
    };
    // 40 frames a second with five seconds for each are in time on any machine; they come 25 ms apart, so that three wait for each other.
    let few = ["--sources", "4", "--frames", "10", "--wait", "60", "--duration", "2"];
    let (run, first) = bench(&few);
    let told = load(&first).told().unwrap();
    adds_up(told);
    assert_eq!(
        (run.code, load(&first).standing.clone(), told.in_time),
        (0, Standing::Held, told.arrivals),
        "{}",
        run.shown()
    );
    assert!(told.arrivals >= 299 && told.requests < told.arrivals, "batched: {told:?}");
    assert!(run.stdout.contains("no baseline: no run was accepted yet"), "{}", run.shown());
    succeeded(context.run(&[&["bless", "--baselines", "--reason", "few sources"], &of_cell[..], &few].concat()));
    let (run, again) = bench(&few);
    assert_eq!((run.code, load(&again).baseline.as_ref().unwrap().verdict.as_str()), (0, "ok"), "{}", run.shown());
    // 150,000 a second for two seconds, one a request, are not in time on any.
    let many = ["--sources", "100", "--frames", "1500", "--bound", "20", "--wait", "20", "--duration", "2"];
    let alone = of_cell[..8].iter().map(|word| if *word == "8" { "1" } else { word }).collect::<Vec<_>>();
    let run = context.run(&[&["bench", "--json", "report.json"], &alone[..], &many].concat());
    let lost = report(&context.path("report.json"));
    let told = load(&lost).told().unwrap();
    adds_up(told);
    assert!(told.dropped > 10_000, "{told:?}");
    // On a machine that is busy with other things it is those that were measured, and that is said.
    let (code, status, words) = match load(&lost).standing {
        Standing::NotMeasured(_) => (3, Status::Invalid, "stream: not measured: the client is the limit"),
        _ => (1, Status::Fail, "stream: 100 sources at 1500 frames/s are not held"),
    };
    assert_eq!((run.code, lost.cells[0].status), (code, status), "{}", run.shown());
    assert!(run.stdout.contains(words), "{}", run.shown());
    // The command that a report gives offers the same.
    assert!(
        lost.cells[0].replay.contains("--scenario stream --bound 20 --sources 100 --frames 1500"),
        "{}",
        lost.cells[0].replay
    );
}

/// A scenario whose batch no cell has measures nothing, which is no pass.
#[test]
fn nothing_measured_is_no_pass() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    std::fs::write(context.path("glyphs.onnx"), onnx()).unwrap();
    succeeded(context.run(&["init", "--onnx", "glyphs.onnx", "--no-probes"]));
    let text = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    context.write("gate.toml", &text.replace("batches = [1, 8, 16, 32]", "batches = [1, 16]"));
    let words = ["bench", "--runtime", "onnxruntime", "--precision", "fp32", "--scenario", "multistream"];
    let run = context.run(&words);
    assert_eq!(run.code, 3, "{}", run.shown());
    let said = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("asks cells of batch 8, of which none passed"), "{}", run.shown());
    let gate = context.run(&["gate", "--served"]);
    assert_eq!(gate.code, 2, "{}", gate.shown());
}
