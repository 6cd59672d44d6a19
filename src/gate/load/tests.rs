#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use rstest::rstest;

use super::*;
use crate::findings::{BaselineVerdict, Report};
use crate::gate::workshop::{Project, healthy, sound};
use crate::gate::{RunOptions, run_and_measure};
use crate::load::Scenario;
use crate::report::sample;
use crate::vocabulary::Verdict;
use crate::worker::fake::{Call, Fakes, Step};
use crate::worker::{Reply, Request};

fn options(scenario: Scenario) -> LoadOptions {
    let timing = TimingOptions {
        mode: crate::timing::contract::TimingMode::Throughput,
        streams: crate::gate::timing::Streams::Count(1),
        spin: false,
        duration_milliseconds: 1,
        repetitions: None,
    };
    LoadOptions { wanted: Wanted::sample(scenario), every_batch: false, timing }
}

#[rstest]
#[case::held(Standing::Held, "ok", Status::Pass)]
#[case::without_a_baseline(Standing::Held, "no-baseline", Status::Pass)]
#[case::faster(Standing::Measured, "improved", Status::Pass)]
#[case::slower(Standing::Held, "fail", Status::Fail)]
#[case::slower_and_closed(Standing::Measured, "fail", Status::Fail)]
#[case::in_doubt(Standing::Held, "unstable", Status::Invalid)]
#[case::damaged(Standing::Held, "damaged", Status::Invalid)]
#[case::not_held(Standing::NotHeld, "no-baseline", Status::Fail)]
#[case::not_measured(Standing::NotMeasured("late".to_owned()), "no-baseline", Status::Invalid)]
fn what_came_of_a_load_decides_its_cell(#[case] standing: Standing, #[case] verdict: &str, #[case] status: Status) {
    let mut report = sample::passing().cells.remove(0);
    let mut load =
        LoadReport::new(Wanted::sample(Scenario::Server), 1, Outcome { points: Vec::new(), standing, rate: Some(1.0) });
    let mut baseline: BaselineVerdict = report.baseline.clone().unwrap();
    verdict.clone_into(&mut baseline.verdict);
    load.baseline = Some(baseline);
    judge(&mut report, &load);
    assert_eq!(report.status, status);
    assert_eq!(report.reason.is_some(), status != Status::Pass);
}

#[test]
fn a_scenario_asks_cells_of_its_batch() {
    let cells = sample::passing().cells;
    let asked = |scenario: Scenario| -> Vec<u32> {
        let options = options(scenario);
        let ids = cells.iter().filter(|cell| cell.status == Status::Pass).map(CellReport::id);
        let mut found: Vec<u32> = ids.filter(|id| is_of_scenario(id, &options, &cells)).map(|id| id.batch).collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    assert_eq!((asked(Scenario::Server), asked(Scenario::MultiStream)), (vec![1], vec![8]));
    assert_eq!((asked(Scenario::Stream), asked(Scenario::Offline)), (vec![32], vec![32]));
    assert!(nothing(&options(Scenario::MultiStream)).contains("cells of batch 8"));
    let id: CellId = "onnxruntime/fp32/batch-1".parse().unwrap();
    assert_eq!(
        of_cell(&Wanted::sample(Scenario::Server), &id).connections,
        1,
        "one session computes one after the other"
    );
    let served: CellId = "triton/fp32/batch-1".parse().unwrap();
    assert_eq!(of_cell(&Wanted::sample(Scenario::Server), &served).connections, 64);
}

#[rstest]
#[case(ErrorKind::Failed, Status::Fail)]
#[case(ErrorKind::Machine, Status::Fail)]
#[case(ErrorKind::Invalid, Status::Invalid)]
#[case(ErrorKind::Missing, Status::Invalid)]
fn a_cell_that_could_not_be_asked_is_no_pass(#[case] kind: ErrorKind, #[case] status: Status) {
    let mut report = sample::passing().cells.remove(0);
    failed(&mut report, &Error::new(kind, "nobody answers").hint("start it"));
    assert_eq!((report.status, report.reason.as_deref()), (status, Some("nobody answers")));
    assert_eq!(report.hint.as_deref(), Some("start it"));
}

/// Serves everything, and takes what a busy machine did to the client out of what is measured.
fn undisturbed(call: &Call<'_>) -> Step {
    match call.request {
        Request::Drive { .. } => Step::Spoil(Box::new(|reply, _| {
            if let Reply::Driven(figures) = reply {
                figures.own_milliseconds = 0.0;
            }
        })),
        _ => healthy(call),
    }
}

/// A gate whose cells are offered queries one after the other.
fn gate(every_batch: bool, script: impl FnMut(&Call<'_>) -> Step + Send + 'static) -> (Report, Bench) {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", "");
    let wanted = Wanted { seconds: 0.02, ..Wanted::sample(Scenario::SingleStream) };
    let load = LoadOptions { wanted, every_batch, ..options(Scenario::SingleStream) };
    let options = RunOptions { load: Some(load), replay_timing: " --load".to_owned(), ..RunOptions::default() };
    let fakes = Fakes::of(sound, script);
    let outcome = run_and_measure(&project.workspace(&fakes), &options).unwrap();
    assert_eq!(fakes.alive(), 0, "no worker is left");
    (outcome.report, outcome.bench.unwrap())
}

/// Each cell of the scenario's batch is asked in a worker of its own once everything else is done, and says what it held.
#[test]
fn cells_that_passed_are_offered_what_the_scenario_asks() {
    let (report, bench) = gate(false, undisturbed);
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
    let found: Vec<(u32, bool, Stage, bool)> = report
        .cells
        .iter()
        .map(|cell| (cell.batch, cell.load.is_some(), cell.stage, cell.replay.ends_with(" --load")))
        .collect();
    let (asked, not) = ((1, true, Stage::Measure, true), (4, false, Stage::Compare, false));
    assert_eq!(found, [asked, not, asked, not]);
    assert_eq!(bench.loads.len(), 2);
    let load = report.cells[0].load.as_ref().unwrap();
    assert_eq!((load.samples, load.wanted.connections, &load.standing), (1, 1, &Standing::Measured));
    assert!(load.rate.unwrap() > 0.0 && load.points[0].answered > 0);
    assert_eq!(load.baseline.as_ref().unwrap().verdict, "no-baseline");
    // Batches that were named are all asked.
    let (report, bench) = gate(true, undisturbed);
    assert_eq!((report.verdict, bench.loads.len()), (Verdict::Pass, 4));
    assert!(report.cells.iter().all(|cell| cell.load.is_some()));
}

#[test]
fn a_cell_that_answers_nothing_by_the_clock_fails() {
    let (report, bench) = gate(false, |call| match call.request {
        Request::Drive { open, .. } if open.installation.id.library == Library::Tensorrt => {
            Step::Fail(Error::failed("no kernel").hint("look"))
        }
        _ => undisturbed(call),
    });
    assert_eq!((report.verdict, bench.loads.len()), (Verdict::Fail, 1));
    let statuses: Vec<Status> = report.cells.iter().map(|cell| cell.status).collect();
    assert_eq!(statuses, [Status::Pass, Status::Pass, Status::Fail, Status::Pass]);
    let failed = &report.cells[2];
    assert_eq!((failed.stage, failed.reason.as_deref()), (Stage::Measure, Some("no kernel")));
    assert!(failed.replay.ends_with(" --load") && failed.load.is_none());
}

/// Of the cells of a runtime in a precision at a shape, the largest batch that passed is asked; others change nothing about that.
#[test]
fn the_largest_batch_that_passed_is_asked() {
    let cell = |id: &str, status: Status| CellReport { status, ..CellReport::new(&id.parse().unwrap(), "") };
    let cells = [
        cell("onnxruntime/fp32/batch-1", Status::Pass),
        cell("onnxruntime/fp32/batch-4", Status::Pass),
        cell("onnxruntime/fp32/batch-8", Status::Fail),
        cell("onnxruntime/fp16/batch-16", Status::Pass),
        cell("litert/fp32/batch-32", Status::Pass),
    ];
    let asked = |scenario: Scenario| -> Vec<String> {
        let options = options(scenario);
        let all = cells.iter().map(CellReport::id);
        all.filter(|id| is_of_scenario(id, &options, &cells)).map(|id| id.to_string()).collect()
    };
    let largest = ["onnxruntime/fp32/batch-4", "onnxruntime/fp16/batch-16", "litert/fp32/batch-32"];
    assert_eq!(asked(Scenario::Offline), largest);
}

/// Where nothing passed there was nothing to offer, and that is no sentence of its own.
#[test]
fn nothing_is_said_of_load_where_nothing_passed() {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let told = |status: Status, batch: u32| {
        let id: CellId = format!("onnxruntime/fp32/batch-{batch}").parse().unwrap();
        let mut cells = [CellReport { status, ..CellReport::new(&id, "") }];
        let (bench, told) = measure(&workspace, &options(Scenario::MultiStream), "", None, &mut cells).unwrap();
        assert!(bench.loads.is_empty());
        told
    };
    assert_eq!(told(Status::Fail, 4), None);
    assert!(told(Status::Pass, 4).unwrap().contains("cells of batch 8, of which none passed"));
}
