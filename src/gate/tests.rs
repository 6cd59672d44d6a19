//! Whole runs in this process, from the manifest to the verdict: what each requirement, fault and absence makes of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use rstest::rstest;

use super::*;
use crate::error::ErrorKind;
use crate::gate::timing::Streams;
use crate::gate::workshop::{OWN_PROBES, Project, answering_otherwise, found, healthy, labelled, sound};
use crate::runtime::{OpenRequest, Probe};
use crate::tensor::Tensor;
use crate::vocabulary::{Library, Precision};
use crate::worker::fake::{Fakes, Step};

mod whole;

const BOTH: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]";

fn gate(project: &Project, fakes: &std::sync::Arc<Fakes>, options: &RunOptions) -> Report {
    let report = run(&project.workspace(fakes), options).unwrap();
    assert_eq!(fakes.alive(), 0, "no worker is left");
    report
}

/// Workers whose TensorRT answers otherwise.
fn engines_answering(change: fn(&mut Tensor)) -> std::sync::Arc<Fakes> {
    answering_otherwise(|request| request.installation.id.library == Library::Tensorrt, change)
}

#[test]
fn a_sound_conversion_passes() {
    let project = Project::new(BOTH, "");
    let report = gate(&project, &Fakes::of(sound, healthy), &RunOptions::default());
    assert_eq!((report.verdict, report.reasons.clone()), (Verdict::Pass, Vec::new()));
    let found: Vec<(String, Status, bool)> =
        report.cells.iter().map(|cell| (cell.id().to_string(), cell.status, cell.is_reference)).collect();
    let cell = |id: &str, reference: bool| (id.to_owned(), Status::Pass, reference);
    assert_eq!(
        found,
        [
            cell("onnxruntime/fp32/batch-1", true),
            cell("onnxruntime/fp32/batch-4", true),
            cell("tensorrt@10.11.0/fp32/batch-1", false),
            cell("tensorrt@10.11.0/fp32/batch-4", false),
        ]
    );
    assert_eq!(report.model.sha256, project.digest());
    assert_eq!(report.cells[2].agreement.as_ref().unwrap().samples, OWN_PROBES);
    assert_eq!((report.planned.len(), report.golden_sha256.as_str()), (0, ""));
}

#[rstest]
#[case::permuted(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap().chunks_mut(3).for_each(|row| row.swap(0, 2)), Verdict::Fail)]
#[case::scaled(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value *= 1.1), Verdict::Fail)]
#[case::not_finite(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap()[0] = f32::NAN, Verdict::Fail)]
#[case::renamed(|output: &mut Tensor| output.name.push('2'), Verdict::Fail)]
fn a_wrong_conversion_fails(#[case] change: fn(&mut Tensor), #[case] verdict: Verdict) {
    let project = Project::new(BOTH, "");
    let report = gate(&project, &engines_answering(change), &RunOptions::default());
    assert_eq!(report.verdict, verdict, "{:?}", report.reasons);
    assert_eq!(report.reasons, ["2 cells failed"]);
    let statuses: Vec<Status> = report.cells.iter().map(|cell| cell.status).collect();
    assert_eq!(statuses, [Status::Pass, Status::Pass, Status::Fail, Status::Fail]);
}

#[test]
fn the_reference_alone_is_no_pass() {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let report = gate(&project, &Fakes::of(sound, healthy), &RunOptions::default());
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert!(report.reasons[0].starts_with("nothing but the reference ran"), "{:?}", report.reasons);
}

/// Without the library of the engines there is one thing less to judge, and where it is required, no pass.
#[rstest]
#[case::not_required("", &[], Verdict::Pass)]
#[case::by_the_manifest("[require]\nruntimes = [\"tensorrt\"]", &[], Verdict::Incomplete)]
#[case::by_its_version("[require]\nruntimes = [\"tensorrt@10.11\"]", &[], Verdict::Incomplete)]
#[case::on_the_command_line("", &["tensorrt"], Verdict::Incomplete)]
fn a_required_runtime_that_is_gone_is_no_pass(#[case] more: &str, #[case] asked: &[&str], #[case] verdict: Verdict) {
    let project = Project::new(&format!("{BOTH}\ntensorrt-rtx = [\"fp32\"]"), more);
    let mut here = found();
    for (library, probe) in &mut here {
        if *library == Library::Tensorrt {
            *probe = Probe::default();
        }
    }
    let fakes = Fakes::of(sound, healthy);
    let require = asked.iter().map(|runtime| runtime.parse().unwrap()).collect();
    let options = RunOptions { require, ..RunOptions::default() };
    let report = run(&project.workspace_of(here, &fakes), &options).unwrap();
    assert_eq!(report.verdict, verdict, "{:?}", report.reasons);
    let told = report.reasons.iter().any(|reason| reason.starts_with("required runtime `tensorrt"));
    assert_eq!(told, verdict == Verdict::Incomplete, "{:?}", report.reasons);
}

#[rstest]
#[case::golden("[require]\ngolden = true", RunOptions::default(), "a golden is required")]
#[case::golden_on_demand("", RunOptions { require_golden: true, ..RunOptions::default() }, "a golden is required")]
#[case::accuracy("[require]\naccuracy = true", RunOptions::default(), "labelled data")]
fn what_is_required_and_not_there_is_no_pass(#[case] more: &str, #[case] options: RunOptions, #[case] words: &str) {
    let project = Project::new(BOTH, more);
    let report = gate(&project, &Fakes::of(sound, healthy), &options);
    assert_eq!(report.verdict, Verdict::Incomplete, "{:?}", report.reasons);
    assert!(report.reasons.iter().any(|reason| reason.contains(words)), "{:?}", report.reasons);
    assert!(report.cells.iter().all(|cell| cell.status == Status::Pass));
}

/// A part of a plan is judged as the whole is, tells the merge what else there was, and leaves the manifest's runtimes to it.
#[test]
fn a_part_of_a_plan_is_judged_as_the_whole() {
    let project = Project::new(BOTH, "[require]\nruntimes = [\"onnxruntime\"]");
    let filter = Filter { runtimes: vec!["tensorrt".parse().unwrap()], batches: vec![4], ..Filter::default() };
    let options = RunOptions { filter, ..RunOptions::default() };
    let report = gate(&project, &Fakes::of(sound, healthy), &options);
    assert_eq!((report.verdict, report.reasons.clone()), (Verdict::Pass, Vec::new()));
    assert_eq!(
        report.cells.iter().map(|cell| cell.id().to_string()).collect::<Vec<_>>(),
        ["tensorrt@10.11.0/fp32/batch-4"]
    );
    assert_eq!(report.planned.len(), 4);
    let required = |runtimes: &[RuntimeId]| runtimes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(required(&report.requirements.runtimes), Vec::<String>::new());
    assert_eq!(required(&report.requirements.of_plan), ["onnxruntime"]);
    // The reference ran beside it, at the largest batch that is compared.
    let wrong = gate(&project, &engines_answering(|output| output.values.as_mut::<f32>().unwrap().reverse()), &options);
    assert_eq!(wrong.verdict, Verdict::Fail);
}

/// A reference that cannot be loaded, dies or contradicts itself is a failed cell of its own; no other cell is judged.
#[rstest]
#[case::not_loaded("open", Verdict::Fail)]
#[case::died("run", Verdict::Fail)]
fn a_reference_that_does_not_answer_fails(#[case] request: &'static str, #[case] verdict: Verdict) {
    let project = Project::new(BOTH, "");
    let fakes = Fakes::of(sound, move |call| match call.name() {
        "build" => Step::Build,
        name if name == request => Step::Die("died by signal 6"),
        _ => Step::Serve,
    });
    let report = gate(&project, &fakes, &RunOptions::default());
    assert_ne!(report.verdict, Verdict::Pass);
    assert!(report.cells.iter().all(|cell| cell.status != Status::Pass), "{:?}", report.reasons);
    let reference = report.cells.iter().find(|cell| cell.runtime.library == Library::Onnxruntime).unwrap();
    if request == "open" {
        assert_eq!((report.verdict, reference.status, reference.stage), (verdict, Status::Fail, Stage::Load));
    }
}

/// An engine whose worker dies costs its own cells; those of the reference stay judged.
#[test]
fn a_dead_engine_leaves_the_other_cells_alone() {
    let project = Project::new(BOTH, "");
    let fakes = Fakes::of(sound, |call| match call.request {
        worker::Request::Open(request) if request.installation.id.library == Library::Tensorrt => {
            Step::Die("died by signal 11")
        }
        worker::Request::Build(_) => Step::Build,
        _ => Step::Serve,
    });
    let report = gate(&project, &fakes, &RunOptions::default());
    let statuses: Vec<Status> = report.cells.iter().map(|cell| cell.status).collect();
    assert_eq!(statuses, [Status::Pass, Status::Pass, Status::Fail, Status::Fail]);
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(report.cells[2].reason.as_ref().unwrap().contains("died by signal 11"));
}

/// A gate with the clock: each cell that passed is measured, in workers of its own, and what is fast must be right.
#[test]
fn cells_that_passed_are_measured_and_held_to_the_reference() {
    let project = Project::new(BOTH, "");
    let timing = TimingOptions {
        mode: crate::timing::contract::TimingMode::Throughput,
        streams: Streams::Count(1),
        spin: false,
        duration_milliseconds: 100,
        repetitions: Some(2),
    };
    let options = RunOptions { timing: Some(timing), replay_timing: " --bench".to_owned(), ..RunOptions::default() };
    let fakes = Fakes::of(sound, healthy);
    let mut workspace = project.workspace(&fakes);
    workspace.cards = vec![devices::tests::card(0, "H100")];
    let outcome = run_and_measure(&workspace, &options).unwrap();
    let bench = outcome.bench.unwrap();
    assert_eq!(bench.cells.len(), 4);
    assert_eq!(fakes.alive(), 0);
    assert!(fakes.seen().iter().filter(|(_, name)| *name == "measure").count() >= 8, "each cell in two processes");
    for cell in &outcome.report.cells {
        assert_eq!(cell.status, Status::Pass, "{:?}", cell.reason);
        assert!(cell.timing.is_some(), "{}", cell.id());
        assert_eq!(cell.replay.ends_with(" --bench"), cell.stage == Stage::Measure);
    }
    assert_eq!(outcome.report.verdict, Verdict::Pass, "{:?}", outcome.report.reasons);
    assert!(bench.cells.iter().all(|cell| cell.replicas.is_none()), "one card has no others beside it");
    // Baselines that are required and not there are no pass.
    let required = RunOptions { require_baseline: true, ..options.clone() };
    let report = run(&project.workspace(&Fakes::of(sound, healthy)), &required).unwrap();
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert!(report.reasons.iter().any(|reason| reason.starts_with("a baseline is required")), "{:?}", report.reasons);

    // Outputs that are wrong only while the clock runs fail the cell.
    let wrong = Fakes::of(sound, |call| match call.request {
        worker::Request::Measure { .. } => Step::Spoil(Box::new(|_, tensors| {
            let values = tensors.iter_mut().filter_map(|tensor| tensor.values.as_mut::<f32>()).flatten();
            values.for_each(|value| *value = -*value);
        })),
        _ => healthy(call),
    });
    let report = run(&project.workspace(&wrong), &options).unwrap();
    assert_eq!(report.verdict, Verdict::Fail, "{:?}", report.reasons);
    for cell in &report.cells {
        assert_eq!((cell.status, cell.stage), (Status::Fail, Stage::Measure), "{}", cell.id());
        let reason = cell.reason.as_ref().unwrap();
        assert!(reason.contains("outputs made while the clock ran are wrong"), "{reason}");
    }
}

/// What a context needs is told where the library tells it, and nowhere else.
#[test]
fn cells_tell_the_device_memory_of_a_context() {
    let project = Project::new(BOTH, "");
    let fakes = Fakes::of(sound, |call| match call.request {
        worker::Request::Open(request) if request.installation.id.library == Library::Tensorrt => {
            Step::Spoil(Box::new(|reply, _| {
                let worker::Reply::Opened { context_bytes, .. } = reply else { panic!("it was opened") };
                *context_bytes = Some(3 << 20);
            }))
        }
        _ => healthy(call),
    });
    let report = gate(&project, &fakes, &RunOptions::default());
    let found: Vec<_> = report.cells.iter().map(|cell| cell.memory.map(|memory| memory.context_bytes)).collect();
    assert_eq!(found, [None, None, Some(Some(3 << 20)), Some(Some(3 << 20))]);
    assert!(report.cells[2].memory.unwrap().process_bytes.is_none(), "nothing was measured");
}

#[test]
fn a_filter_that_names_nothing_is_refused() {
    let project = Project::new(BOTH, "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    for filter in [
        Filter { runtimes: vec!["litert".parse().unwrap()], ..Filter::default() },
        Filter { precisions: vec![Precision::Int8], ..Filter::default() },
        Filter { batches: vec![2], ..Filter::default() },
    ] {
        let options = RunOptions { filter, ..RunOptions::default() };
        assert_eq!(run(&workspace, &options).unwrap_err().kind, ErrorKind::Usage);
    }
}

#[test]
fn a_pair_gives_both_and_a_panic_goes_on() {
    assert_eq!(both(|| 1, || "two"), (1, "two"));
    let panicked = std::panic::catch_unwind(|| both(|| 1, || std::panic::resume_unwind(Box::new("gone"))));
    assert_eq!(panicked.map(|(one, ())| one).unwrap_err().downcast_ref(), Some(&"gone"));
}

/// Labelled data is a gate of its own: the reference by its floor, each cell by the reference.
#[test]
fn accuracy_on_labelled_data_is_judged() {
    let project = Project::new(BOTH, "[accuracy]\nfloor = 0.9\ndrop = 0.01");
    let gate = |wrong: usize, fakes: &std::sync::Arc<Fakes>| {
        let data = Some(labelled(&project, wrong));
        run(&project.workspace(fakes), &RunOptions { data, ..RunOptions::default() }).unwrap()
    };
    let report = gate(0, &Fakes::of(sound, healthy));
    assert_eq!((report.verdict, report.reasons.clone()), (Verdict::Pass, Vec::new()));
    let accuracy = report.accuracy.clone().unwrap();
    assert_eq!((accuracy.samples, accuracy.correct, accuracy.floor, accuracy.of_golden), (60, 60, Some(0.9), false));
    let found: Vec<Option<(usize, Option<usize>)>> = report
        .cells
        .iter()
        .map(|cell| cell.accuracy.as_ref().map(|found| (found.correct, found.reference_correct)))
        .collect();
    assert_eq!(found, [None, Some((60, Some(60))), None, Some((60, Some(60)))]);
    let elsewhere = report.cells[0].checks.iter().find(|check| check.name == "accuracy").unwrap();
    assert!(elsewhere.detail.contains("judged at batch 4"), "{}", elsewhere.detail);
    // A reference below the floor is no pass, whatever the conversions are.
    let report = gate(4, &Fakes::of(sound, healthy));
    assert_eq!(report.verdict, Verdict::Fail, "{:?}", report.reasons);
    assert!(report.reasons.iter().any(|reason| reason.starts_with("accuracy: ")), "{:?}", report.reasons);
    // Limits without data are not looked at, and so no pass.
    let report = run(&project.workspace(&Fakes::of(sound, healthy)), &RunOptions::default()).unwrap();
    assert_eq!(report.verdict, Verdict::Incomplete);
    // Data that does not fit is refused before anything runs.
    let idle = Fakes::of(sound, healthy);
    let data = Some(project.folder.path().join("nothing.csv"));
    assert!(run(&project.workspace(&idle), &RunOptions { data, ..RunOptions::default() }).is_err());
    assert_eq!(idle.started(), 0);
}

/// Only a calibrated engine is built with samples: without one, nobody asks where they are.
#[test]
fn samples_to_calibrate_on_are_wanted_by_calibrated_engines_alone() {
    let project = Project::new(BOTH, "[calibration]\ndata = \"absent.npy\"");
    let report = gate(&project, &Fakes::of(sound, healthy), &RunOptions::default());
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"int8-calibrated\"]", "");
    let fakes = Fakes::of(sound, |call| {
        if let worker::Request::Build(request) = call.request {
            assert!(request.calibration.as_ref().is_some_and(|calibration| calibration.samples.is_file()));
        }
        healthy(call)
    });
    let report = gate(&project, &fakes, &RunOptions::default());
    let calibrated = report.cells.iter().filter(|cell| cell.precision == Precision::Int8Calibrated);
    assert!(calibrated.clone().count() == 2 && calibrated.clone().all(|cell| cell.stage == Stage::Compare));
}

/// Beside a part of a plan its whole is kept for the merge, with what is asked for beyond what is found here.
#[test]
fn the_whole_plan_is_kept_beside_a_part() {
    let project = Project::new(BOTH, "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let names = |filter: &Filter| -> Vec<String> {
        planned_beside(&workspace, filter).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(&Filter::default()), [""; 0]);
    let whole = [
        "onnxruntime/fp32/batch-1",
        "onnxruntime/fp32/batch-4",
        "tensorrt@10.11.0/fp32/batch-1",
        "tensorrt@10.11.0/fp32/batch-4",
    ];
    assert_eq!(names(&Filter { batches: vec![4], ..Filter::default() }), whole);
    let also = Filter { also: vec!["tensorrt@8.6.1".parse().unwrap()], ..Filter::default() };
    let mut more = names(&also);
    more.retain(|name| !whole.contains(&name.as_str()));
    assert_eq!(more, ["tensorrt@8.6.1/fp32/batch-1", "tensorrt@8.6.1/fp32/batch-4"]);
}

/// Baselines that the manifest requires are wanted of what is measured, and of nothing else.
#[test]
fn baselines_are_required_of_what_is_measured() {
    let project = Project::new(BOTH, "[require]\nbaselines = true");
    let report = gate(&project, &Fakes::of(sound, healthy), &RunOptions::default());
    assert_eq!((report.verdict, report.requirements.baseline), (Verdict::Pass, false), "{:?}", report.reasons);
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    let options = RunOptions { require_baseline: true, ..RunOptions::default() };
    assert!(gate(&project, &Fakes::of(sound, healthy), &options).requirements.baseline);
}

/// Versions that are asked for beside the plan leave it whole, and its requirements with it; a part leaves them to a merge.
#[test]
fn what_is_asked_beside_a_plan_leaves_it_whole() {
    let manifest = Project::new(BOTH, "[require]\nruntimes = [\"tensorrt\"]").manifest;
    let of = |filter: Filter| {
        let options = RunOptions { filter, require: vec!["onnxruntime".parse().unwrap()], ..RunOptions::default() };
        let (own, of_plan) = required(&manifest, &options);
        (own.len(), of_plan.len())
    };
    assert_eq!(of(Filter::default()), (2, 0));
    assert_eq!(of(Filter { also: vec!["tensorrt@8.6.1".parse().unwrap()], ..Filter::default() }), (2, 0));
    assert_eq!(of(Filter { batches: vec![4], ..Filter::default() }), (1, 1));
    // Whole seconds of UTC.
    let now = now();
    assert!(now.len() == 20 && now.ends_with('Z') && OffsetDateTime::parse(&now, &Rfc3339).is_ok(), "{now}");
}
