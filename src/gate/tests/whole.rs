//! Whole reports of runs in this process, as they are written: whatever a run makes of what its runtimes answer shows in one of them.
//!
//! What differs from run to run (seconds, folders, the machine) is left out; digests are told by their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::error::Error;
use crate::gate::GoldenBlessing;
use crate::gate::several::tests as several;
use crate::gate::workshop::{CLASSES, answering_otherwise, by_slot, calibrated};
use crate::tensor::Values;
use crate::worker::fake::Call;

/// Fields that tell of the machine and of time.
/// The answers themselves are kept for a merge, which tests of their own hold.
const LEFT_OUT: [&str; 13] = [
    "answers",
    "machine",
    "started",
    "created",
    "wall_seconds",
    "own_seconds",
    "seconds",
    "build_seconds",
    "waited_seconds",
    "trtgate",
    "peak_bytes",
    "instruction_set",
    "cpu",
];

/// The report without what is empty and what differs, one line a value that is no list.
fn told(report: &Report, folder: &std::path::Path) -> String {
    let mut digests = BTreeMap::new();
    let text = folder.display().to_string();
    let real = folder.canonicalize().unwrap().display().to_string();
    let mut lines = String::new();
    write(&mut lines, "", &serde_json::to_value(report).unwrap(), &mut |line: &str| {
        let line = line.replace(&real, "FOLDER").replace(&text, "FOLDER");
        numbered(&line, &mut digests)
    });
    lines
}

/// Words of a line, each digest by the order in which digests first come, short forms too.
fn numbered(line: &str, digests: &mut BTreeMap<String, usize>) -> String {
    let mut told = String::new();
    let mut word = String::new();
    let mut end = |word: &mut String, told: &mut String| {
        let hexadecimal = word.len() >= 12 && word.chars().all(|letter| matches!(letter, '0'..='9' | 'a'..='f'));
        if hexadecimal {
            let next = digests.len();
            let number = *digests.entry(word.chars().take(12).collect()).or_insert(next);
            told.push_str(&format!("DIGEST-{number}"));
        } else {
            told.push_str(word);
        }
        word.clear();
    };
    for letter in line.chars() {
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
        } else {
            end(&mut word, &mut told);
            told.push(letter);
        }
    }
    end(&mut word, &mut told);
    told
}

fn write(lines: &mut String, place: &str, value: &Value, clean: &mut dyn FnMut(&str) -> String) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
                write(lines, &format!("{place}.{name}"), value, clean);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array() || item.is_string()) => {
            for (index, item) in items.iter().enumerate() {
                write(lines, &format!("{place}[{index}]"), item, clean);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(figure_of).collect();
            lines.push_str(&format!("{} = {}\n", place.trim_start_matches('.'), items.join(" ")));
        }
        Value::String(text) if text.is_empty() => {}
        // A picture.
        Value::String(text) if text.len() > 4_000 => {
            lines.push_str(&format!("{} = {} characters\n", place.trim_start_matches('.'), text.len()));
        }
        Value::String(text) => lines.push_str(&format!("{} = {}\n", place.trim_start_matches('.'), clean(text))),
        other => lines.push_str(&format!("{} = {}\n", place.trim_start_matches('.'), figure_of(other))),
    }
}

/// Holds a report to its snapshot, whenever it was made.
fn held(name: &str, report: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME");
    settings.add_filter(r"after \d+\.\d s", "after SECONDS");
    settings.bind(|| insta::assert_snapshot!(name, report));
}

/// Four digits of a number that is no count.
fn figure_of(value: &Value) -> String {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) => format!("{number:.3e}"),
        None => value.to_string(),
    }
}

const ALL: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"fp16-flag\"]";

fn half(request: &OpenRequest) -> bool {
    request.precision == Precision::Fp16Flag
}

fn engine(request: &OpenRequest) -> bool {
    request.installation.id.library == Library::Tensorrt
}

fn floats(output: &mut Tensor) -> &mut Vec<f32> {
    output.values.as_mut::<f32>().unwrap()
}

fn report_of(project: &Project, fakes: &Arc<Fakes>, options: &RunOptions) -> String {
    told(&run(&project.workspace(fakes), options).unwrap(), project.folder.path())
}

fn bless(project: &Project, fakes: &Arc<Fakes>) {
    let workspace = project.workspace(fakes);
    GoldenBlessing::plan(&workspace, "first", None).unwrap().store(&workspace.manifest, false).unwrap();
}

#[rstest]
#[case::sound("sound", answering_otherwise(engine, |_| {}))]
#[case::classes_exchanged("classes-exchanged", answering_otherwise(engine, |output| floats(output).chunks_mut(CLASSES).for_each(|row| row.swap(0, 2))))]
#[case::scaled("scaled", answering_otherwise(half, |output| floats(output).iter_mut().for_each(|value| *value *= 1.3)))]
#[case::one_not_finite("one-not-finite", answering_otherwise(half, |output| { floats(output)[4] = f32::INFINITY; }))]
#[case::by_slot("by-slot", answering_otherwise(half, by_slot))]
#[case::constant("constant", answering_otherwise(half, |output| floats(output).fill(0.25)))]
fn reports_of_a_classifier(#[case] name: &str, #[case] fakes: Arc<Fakes>) {
    let project = Project::new(ALL, "");
    held(&format!("classifier-{name}"), &report_of(&project, &fakes, &RunOptions::default()));
}

#[rstest]
#[case::no_memory("no-memory", |call: &Call<'_>| match call.request {
    worker::Request::Open(request) if half(request) => Step::Fail(Error::machine("no memory").hint("free some")),
    _ => healthy(call),
})]
#[case::no_engine("no-engine", |call: &Call<'_>| if call.name() == "build" { Step::Fail(Error::failed("no kernel for `conv`")) } else { healthy(call) })]
#[case::silent("silent", |call: &Call<'_>| match call.request {
    worker::Request::Open(request) if half(request) => Step::Hang,
    _ => healthy(call),
})]
fn reports_of_what_goes_wrong(#[case] name: &str, #[case] script: fn(&Call<'_>) -> Step) {
    let project = Project::new(ALL, "");
    held(&format!("fault-{name}"), &report_of(&project, &Fakes::of(sound, script), &RunOptions::default()));
}

/// With a golden: of these files, of others that answer alike, of others that do not, and of none that can be read.
#[test]
fn reports_beside_a_golden() {
    let project = Project::new(BOTH, "");
    let fakes = || Fakes::of(sound, healthy);
    bless(&project, &fakes());
    let report = |name: &str, fakes: &Arc<Fakes>| {
        held(&format!("golden-{name}"), &report_of(&project, fakes, &RunOptions::default()));
    };
    report("own", &fakes());
    project.change_model();
    report("equal", &fakes());
    report(
        "moved",
        &answering_otherwise(|_| true, |output| floats(output).chunks_mut(CLASSES).for_each(|row| row.swap(0, 1))),
    );
    std::fs::write(crate::gate::golden_path(&project.manifest), "damaged").unwrap();
    report("damaged", &fakes());
}

/// What is measured, labelled, required, a part of a plan and calibrated.
#[test]
fn reports_of_what_is_asked_beside() {
    let project = Project::new(BOTH, "[accuracy]\nfloor = 0.9\ndrop = 0.01");
    let data = Some(labelled(&project, 9));
    let options = RunOptions { data, require: vec!["tensorrt@9".parse().unwrap()], ..RunOptions::default() };
    held("labelled", &report_of(&project, &Fakes::of(sound, healthy), &options));
    let wrong = answering_otherwise(engine, |output| {
        floats(output).chunks_mut(CLASSES).skip(1).step_by(9).for_each(|row| row.reverse());
    });
    held("labelled-worse", &report_of(&project, &wrong, &options));
    let part = Filter { batches: vec![4], precisions: vec![Precision::Fp32], ..Filter::default() };
    let options = RunOptions { filter: part, replay: " --manifest other.toml".to_owned(), ..RunOptions::default() };
    held("part", &report_of(&Project::new(ALL, ""), &Fakes::of(sound, healthy), &options));
    let project = calibrated(255.0);
    held("calibrated", &report_of(&project, &answering_otherwise(engine, by_slot), &RunOptions::default()));
}

/// A reference whose answers are no numbers, and a run by the clock.
#[test]
fn reports_of_a_reference_at_fault_and_of_the_clock() {
    let mut project = Project::new(ALL, "");
    project.manifest.output.labels = ["low", "middle", "high"].map(str::to_owned).to_vec();
    let broken = answering_otherwise(|request| !engine(request), |output| floats(output)[1] = f32::NAN);
    let options = RunOptions { command: "trtgate gate".to_owned(), ..RunOptions::default() };
    held("reference-at-fault", &report_of(&project, &broken, &options));
    let timing = TimingOptions {
        mode: crate::timing::contract::TimingMode::Throughput,
        streams: Streams::Count(2),
        spin: false,
        duration_milliseconds: 100,
        repetitions: Some(2),
    };
    let options = RunOptions { timing: Some(timing), replay_timing: " --bench".to_owned(), ..RunOptions::default() };
    held("measured", &report_of(&Project::new(BOTH, ""), &Fakes::of(sound, healthy), &options));
}

/// Models of several inputs at two shapes.
#[rstest]
#[case::sound("sound", |_: Library, _: &crate::tensor::Feeds, _: &mut Vec<f32>| {})]
#[case::scaled("scaled", |library: Library, _: &crate::tensor::Feeds, values: &mut Vec<f32>| if library == Library::Tensorrt { values.iter_mut().for_each(|value| *value *= 1.2) })]
#[case::at_one_shape("at-one-shape", |library: Library, feeds: &crate::tensor::Feeds, values: &mut Vec<f32>| if library == Library::Tensorrt && feeds.get("x").unwrap().row_len() == 4 { values.iter_mut().for_each(|value| *value += 3.0) })]
#[case::by_slot("by-slot", |library: Library, _: &crate::tensor::Feeds, values: &mut Vec<f32>| if library == Library::Tensorrt { values.iter_mut().skip(2).take(2).for_each(|value| *value = -*value) })]
fn reports_of_several(#[case] name: &str, #[case] change: fn(Library, &crate::tensor::Feeds, &mut Vec<f32>)) {
    let project = several::Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", several::SHAPES);
    let fakes = several::answering(move |library, feeds| {
        let mut output = several::answers(feeds);
        if let Values::Float32(values) = &mut output.values {
            change(library, feeds, values);
        }
        output
    });
    let report = run(&project.workspace(&fakes), &RunOptions::default()).unwrap();
    held(&format!("several-{name}"), &told(&report, project.folder.path()));
}
