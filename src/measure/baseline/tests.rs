//! Series on disk: what is stored, found, and refused.
#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::*;
use crate::findings::Machine;
use crate::measure::environment::CellEnvironment;

pub(crate) const CELL: &str = "onnxruntime/fp32/batch-32";

pub(crate) fn environment(cores: usize) -> Environment {
    let machine = Machine { cores, cpu: "a cpu".to_owned(), ..Machine::default() };
    Environment::of_cell(&facts(&machine, &CELL.parse().unwrap(), &TimingContract::host()))
}

fn facts<'a>(machine: &'a Machine, cell: &'a CellId, contract: &'a TimingContract) -> CellEnvironment<'a> {
    CellEnvironment {
        machine,
        cell,
        runtime_version: "1.32.0",
        instruction_set: None,
        model_sha256: "abc",
        contract,
        repetitions: 2,
        intra_threads: 1,
        inter_threads: 1,
    }
}

pub(crate) fn entry(cores: usize, level: u32, value: f64) -> Entry {
    let environment = environment(cores);
    Entry {
        process_bytes: None,
        context_bytes: None,
        date: "2026-01-01T00:00:00Z".to_owned(),
        reason: "a test".to_owned(),
        level,
        environment_key: environment.key(),
        environment,
        repetitions: vec![value * 0.99, value],
        contract: Some(TimingContract::host()),
        distribution: None,
        artifact: Some(ArtifactRecord { kind: ArtifactKind::OnnxFp32, sha256: "def".to_owned(), bytes: 1000 }),
        joins: false,
        forced: Vec::new(),
    }
}

fn stored(entries: Vec<Entry>) -> (tempfile::TempDir, BaselineStore, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = BaselineStore::new(folder.path());
    let path = store.cell_path("A CPU", "cifar10", &CELL.parse().unwrap(), TimingMode::Latency);
    for entry in entries {
        store.append(&path, CELL, Quantity::SamplesPerSecond, &mut |_| Ok(entry.clone())).unwrap();
    }
    (folder, store, path)
}

#[test]
fn paths_name_device_model_runtime_and_cell() {
    let store = BaselineStore::new("baselines");
    let cell = "tensorrt@8.5.3/int8/batch-32".parse().unwrap();
    let path = store.cell_path("NVIDIA H200", "cifar10", &cell, TimingMode::Throughput);
    let expected = "baselines/nvidia-h200/cifar10/tensorrt@8.5.3/int8-batch-32-throughput.json";
    assert_eq!(path, Path::new(expected));
    let path = store.ratio_path("NVIDIA H200", "cifar10", "tensorrt@8.5.3", "int8 over fp32", TimingMode::Latency);
    let expected = "baselines/nvidia-h200/cifar10/tensorrt@8.5.3/ratio-int8-over-fp32-latency.json";
    assert_eq!(path, Path::new(expected));
}

#[test]
fn history_is_appended_and_read_back() {
    let (_folder, _store, path) = stored(vec![entry(2, 1, 100.0), entry(2, 1, 101.0)]);
    let series = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap().unwrap();
    assert_eq!(series.entries, [entry(2, 1, 100.0), entry(2, 1, 101.0)]);
    assert_eq!(series.history(&environment(2)).len(), 2);
    let leftovers = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(leftovers, 1);
}

#[test]
fn runs_are_judged_by_the_last_level_of_their_environment() {
    let entries =
        vec![entry(2, 1, 100.0), entry(4, 1, 500.0), entry(2, 2, 200.0), entry(2, 2, 202.0), entry(4, 2, 900.0)];
    let (_folder, _store, path) = stored(entries);
    let series = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap().unwrap();
    let reference = series.reference(&environment(2), 10, 0.01).unwrap().unwrap();
    assert_eq!((reference.value, reference.runs), (201.0, 2));
    assert_eq!(series.reference(&environment(8), 10, 0.01).unwrap(), None);
    assert_eq!(series.why_no_baseline(&environment(8)), "cores is `8`, the baseline's `4`");
}

fn entry_of(model: &str, version: &str, level: u32, value: f64) -> Entry {
    let environment = Environment::of_cell(&CellEnvironment {
        runtime_version: version,
        model_sha256: model,
        ..facts(
            &Machine { cores: 2, cpu: "a cpu".to_owned(), ..Machine::default() },
            &CELL.parse().unwrap(),
            &TimingContract::host(),
        )
    });
    Entry { environment_key: environment.key(), environment, ..entry(2, level, value) }
}

/// Another model, or another version, is judged by what was accepted before; what each level is of is told.
#[test]
fn a_baseline_outlives_the_model_that_it_was_taken_with() {
    let (one, other) = ("a1".repeat(32), "b2".repeat(32));
    let (_folder, _store, path) = stored(vec![entry_of(&one, "1.31.0", 1, 100.0), entry_of(&one, "1.31.0", 1, 102.0)]);
    let series = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap().unwrap();
    let now = entry_of(&other, "1.32.0", 1, 1.0).environment;
    assert_eq!(series.reference(&now, 10, 0.01).unwrap().unwrap().runs, 2);
    assert_eq!(series.beside(&now), "model a1a1a1a1a1a1, version 1.31.0");
    assert_eq!(series.beside(&entry_of(&one, "1.31.0", 1, 1.0).environment), "");
    assert_eq!(series.history(&now).len(), 2);
}

/// Files of before told models and versions apart, each with a level 1 of its own; they are no one level now.
#[test]
fn entries_of_another_model_are_one_level_only_where_that_was_found() {
    let (one, other) = ("a1".repeat(32), "b2".repeat(32));
    let joined = |value| Entry { joins: true, ..entry_of(&other, "1.31.0", 1, value) };
    let before = || vec![entry_of(&one, "1.31.0", 1, 100.0), entry_of(&one, "1.31.0", 1, 101.0)];
    let runs = |more: Vec<Entry>| {
        let (_folder, _store, path) = stored(before().into_iter().chain(more).collect());
        let series = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap().unwrap();
        series.reference(&entry_of(&other, "1.31.0", 1, 1.0).environment, 10, 0.01).unwrap().unwrap().runs
    };
    assert_eq!(runs(vec![entry_of(&other, "1.31.0", 1, 500.0)]), 1);
    assert_eq!(runs(vec![entry_of(&other, "1.31.0", 1, 500.0), entry_of(&other, "1.31.0", 1, 501.0)]), 2);
    assert_eq!(runs(vec![joined(100.5)]), 3);
    assert_eq!(runs(vec![joined(100.5), entry_of(&other, "1.31.0", 2, 50.0)]), 1);
}

#[test]
fn a_new_release_is_judged_by_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = BaselineStore::new(folder.path());
    let path = |version: &str| {
        let cell: CellId = format!("tensorrt@{version}/fp16/batch-32").parse().unwrap();
        store.cell_path("A GPU", "net", &cell, TimingMode::Latency)
    };
    let subject = |version: &str| format!("tensorrt@{version}/fp16/batch-32 latency");
    for (version, value) in [("8.6.1", 80.0), ("10.4.0", 100.0), ("10.11.0", 110.0), ("10.13.0", 130.0)] {
        let mut make = |_: &Series| Ok(entry(2, 1, value));
        store.append(&path(version), &subject(version), Quantity::SamplesPerSecond, &mut make).unwrap();
    }
    let found = |version: &str| {
        let runtime: RuntimeId = format!("tensorrt@{version}").parse().unwrap();
        let series = store.find(&path(version), &runtime, &subject(version), Quantity::SamplesPerSecond).unwrap();
        series.map(|series| series.entries[0].value().unwrap())
    };
    assert_eq!(found("10.11.0"), Some(110.0), "its own");
    assert_eq!(found("10.12.0"), Some(110.0), "the one before");
    assert_eq!(found("10.2.0"), Some(100.0), "the one after, where there is none before");
    assert_eq!(found("11.0.0"), None, "another major version has figures of its own");
}

#[test]
fn an_absent_file_is_no_series() {
    assert_eq!(Series::read(Path::new("/nowhere/x.json"), CELL, Quantity::SamplesPerSecond).unwrap(), None);
}

#[rstest]
#[case::schema("trtgate.baseline/v1", "trtgate.baseline/v0", "its schema is")]
#[case::newer_schema("trtgate.baseline/v1", "trtgate.baseline/v2", "this program reads `trtgate.baseline/v1`")]
#[case::subject("onnxruntime/fp32/batch-32\",\n  \"quantity", "litert/fp32/batch-32\",\n  \"quantity", "it is of")]
#[case::key("\"cores\": \"2\"", "\"cores\": \"3\"", "changed by hand")]
#[case::unknown("\"reason\"", "\"raison\"", "unknown field")]
#[case::level("\"level\": 1", "\"level\": 0", "level is 0")]
#[case::negative("100.0", "-100.0", "not positive")]
#[case::truncated("}\n", "\n", "expected")]
fn damaged_files_are_refused(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
    let (_folder, store, path) = stored(vec![entry(2, 1, 100.0)]);
    let text = std::fs::read_to_string(&path).unwrap();
    let damaged = text.replace(from, to);
    assert_ne!(text, damaged);
    std::fs::write(&path, &damaged).unwrap();
    let error = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap_err();
    assert_eq!(error.kind, crate::error::ErrorKind::Input);
    assert!(error.to_string().contains(expected), "{error}");
    // Nothing is appended to it either.
    let appended = store.append(&path, CELL, Quantity::SamplesPerSecond, &mut |_| Ok(entry(2, 1, 1.0)));
    assert!(appended.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
}

#[test]
fn what_is_no_number_is_not_stored() {
    let (_folder, store, path) = stored(Vec::new());
    for value in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let stored = store.append(&path, CELL, Quantity::SamplesPerSecond, &mut |_| Ok(entry(2, 1, value)));
        assert!(stored.is_err());
    }
    assert!(!path.exists());
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let (_folder, store, path) = stored(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    store.append(&path, CELL, Quantity::SamplesPerSecond, &mut |_| Ok(entry(2, 1, 100.0))).unwrap();
                }
            });
        }
    });
    let series = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap().unwrap();
    assert_eq!(series.entries.len(), 40);
}

/// A protocol is not the version of another: neither is judged by the figures of the other, nor what a program brings by another's.
#[rstest]
#[case("triton@http", "triton@grpc")]
#[case("triton", "triton@http")]
#[case("own@fast", "own@slow")]
fn what_has_a_name_and_no_version_has_figures_of_its_own(#[case] other: &str, #[case] own: &str) {
    let folder = tempfile::tempdir().unwrap();
    let store = BaselineStore::new(folder.path());
    let name = |runtime: &str| format!("{runtime}/fp32/batch-32");
    let path = |runtime: &str| store.cell_path("A CPU", "m", &name(runtime).parse().unwrap(), TimingMode::Latency);
    let quantity = Quantity::SamplesPerSecond;
    store.append(&path(other), &name(other), quantity, &mut |_| Ok(entry(2, 1, 100.0))).unwrap();
    let find = |runtime: &str| {
        store.find(&path(runtime), &runtime.parse().unwrap(), &name(runtime), quantity).unwrap().is_some()
    };
    assert_eq!((find(other), find(own)), (true, false));
}
