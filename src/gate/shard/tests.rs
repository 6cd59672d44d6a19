//! Shards of a whole run in this process: joined, they are the run.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rstest::rstest;

use super::*;
use crate::check::cross;
use crate::error::ErrorKind;
use crate::findings::Report;
use crate::gate::workshop::{Project, all_answering, answers, by_slot, healthy, session, sound};
use crate::gate::{RunOptions, run};
use crate::report::merge::{lost_cells, merge, normalised};
use crate::runtime::{OpenRequest, Session};
use crate::tensor::Tensor;
use crate::vocabulary::{Precision, Status, Verdict};
use crate::worker::fake::Fakes;

/// Every one is made of the model as it is given: nothing is converted.
const MATRIX: &str =
    "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"tf32\", \"fp16-flag\"]\ntensorrt-rtx = [\"fp32\", \"tf32\"]";

/// Engines in half precision are wrong.
fn wrong_engines() -> Arc<Fakes> {
    let open = |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let half = request.precision == Precision::Fp16Flag;
        Ok(Box::new(session(request, move |input| {
            let mut output: Tensor = answers(input);
            if half {
                output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value *= 1.2);
            }
            Ok(vec![output])
        })))
    };
    Fakes::of(open, healthy)
}

fn shard(project: &Project, fakes: &Arc<Fakes>, index: u32, count: u32, more: RunOptions) -> Report {
    let workspace = project.workspace(fakes);
    let mut filter = Filter::default();
    let (_, shard) = divided(&workspace, &mut filter, None, ShardNumber::new(index, count).unwrap()).unwrap();
    run(&workspace, &RunOptions { filter, shard: Some(shard), ..more }).unwrap()
}

fn shards(project: &Project, fakes: &Arc<Fakes>, count: u32) -> Vec<(String, Report)> {
    (1..=count)
        .map(|index| (format!("{index}.json"), shard(project, fakes, index, count, RunOptions::default())))
        .collect()
}

/// A cell as it is written, without the seconds that it took.
fn cells(report: &Report) -> Vec<String> {
    let alike = |cell: &crate::findings::CellReport| {
        let mut cell = cell.clone();
        cell.seconds = None;
        if let Some(artifact) = &mut cell.artifact {
            (artifact.build_seconds, artifact.cached) = (0.0, false);
        }
        serde_json::to_string(&cell).unwrap()
    };
    report.cells.iter().map(alike).collect()
}

#[rstest]
#[case::sound(|| Fakes::of(sound, healthy), Verdict::Pass)]
#[case::wrong_engines(wrong_engines, Verdict::Fail)]
#[case::depends_on_the_slot(|| all_answering(by_slot), Verdict::Fail)]
fn shards_joined_are_the_whole(#[case] fakes: fn() -> Arc<Fakes>, #[case] verdict: Verdict) {
    let (project, fakes) = (Project::new(MATRIX, ""), fakes());
    let whole = run(&project.workspace(&fakes), &RunOptions::default()).unwrap();
    let found = shards(&project, &fakes, 3);
    let merged = merge(&found, None, Some(&cross::conclude)).unwrap();
    assert_eq!((merged.lost, merged.absent), (Vec::new(), Vec::new()));
    assert_eq!((merged.report.verdict, &merged.report.reasons), (verdict, &whole.reasons));
    // Legs too: which of them broke is told by cells of other shards, which run beside.
    for (joined, one) in cells(&merged.report).iter().zip(cells(&whole)) {
        let apart = joined.bytes().zip(one.bytes()).position(|(joined, one)| joined != one).unwrap_or(joined.len());
        let shown = |text: &str| text.chars().skip(apart.saturating_sub(60)).take(160).collect::<String>();
        assert!(*joined == one, "{}\n{}", shown(joined), shown(&one));
    }
    assert_eq!(normalised(&merged.report).notes, normalised(&whole).notes);
}

#[test]
fn each_shard_passes_by_itself_and_says_what_it_is() {
    let project = Project::new(MATRIX, "[require]\nruntimes = [\"tensorrt\"]");
    let fakes = Fakes::of(sound, healthy);
    let require = vec!["tensorrt".parse().unwrap()];
    let found: Vec<Report> = (1..=3)
        .map(|index| {
            shard(&project, &fakes, index, 3, RunOptions { require: require.clone(), ..RunOptions::default() })
        })
        .collect();
    for report in &found {
        assert_eq!((report.verdict, report.reasons.clone()), (Verdict::Pass, Vec::new()));
        assert!(report.cells.iter().any(|cell| cell.status == Status::Pass && !cell.is_reference));
        assert_eq!(report.planned.len(), 12);
        let own = report.of_shard().unwrap();
        assert!(report.notes.contains(&own) && own.starts_with("shard "), "{own}");
        let beside = &report.shard.as_ref().unwrap().beside;
        let has_reference = report.cells.iter().any(|cell| cell.is_reference);
        assert_ne!(has_reference, beside.contains(&"onnxruntime/fp32".to_owned()), "{own}");
    }
}

#[test]
fn a_missing_shard_is_named_and_no_pass() {
    let project = Project::new(MATRIX, "");
    let mut found = shards(&project, &Fakes::of(sound, healthy), 3);
    let gone = found.remove(1).1;
    let merged = merge(&found, None, Some(&cross::conclude)).unwrap();
    assert_eq!(merged.lost, gone.cells.iter().map(crate::findings::CellReport::id).collect::<Vec<_>>());
    assert_eq!(merged.report.verdict, Verdict::Incomplete);
    assert!(merged.report.reasons.contains(&"shard 2 of 3 is in no report".to_owned()), "{:?}", merged.report.reasons);
    let error = lost_cells(&merged.lost, &merged.absent, None).unwrap();
    assert_eq!(error.causes[0], "shard 2 of 3 is in no report");
    assert!(error.hint.unwrap().starts_with("a shard's report was not given"));
}

#[test]
fn machines_that_divide_otherwise_are_refused_and_one_plan_mends_it() {
    let project = Project::new(MATRIX, "");
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace(&fakes);
    let mut whole = Filter::default();
    let (plan, _) = divided(&workspace, &mut whole, None, ShardNumber::new(1, 2).unwrap()).unwrap();
    assert_eq!(plan.shards, Some(2));
    assert!(plan.cells.iter().all(|cell| cell.shard.is_some()));
    // A machine that lacks a runtime has another plan of its own.
    let poorer = || {
        let mut here = crate::gate::workshop::found();
        here.retain(|(library, _)| *library != crate::vocabulary::Library::Tensorrt);
        project.workspace_of(here, &fakes)
    };
    let of = |workspace: &Workspace, index: u32, given: Option<&PlanFile>| {
        let mut filter = Filter::default();
        let number = ShardNumber::new(index, 2).unwrap();
        let (_, shard) = divided(workspace, &mut filter, given, number).unwrap();
        run(workspace, &RunOptions { filter, shard: Some(shard), ..RunOptions::default() }).unwrap()
    };
    let apart = [("1.json".to_owned(), of(&workspace, 1, None)), ("2.json".to_owned(), of(&poorer(), 2, None))];
    let error = merge(&apart, None, None).unwrap_err();
    assert_eq!(error.message, "`1.json` and `2.json` divided the plan otherwise");
    let alike =
        [("1.json".to_owned(), of(&workspace, 1, Some(&plan))), ("2.json".to_owned(), of(&poorer(), 2, Some(&plan)))];
    let merged = merge(&alike, Some(&plan), None).unwrap();
    assert_eq!((merged.lost.len(), merged.report.cells.len()), (0, 12));
    // What it lacks is told as missing there, and passes nothing.
    let second = &alike[1].1;
    let away: Vec<_> = second.cells.iter().filter(|cell| cell.status == Status::Unavailable).collect();
    assert!(!away.is_empty() && away.iter().all(|cell| cell.runtime.library == crate::vocabulary::Library::Tensorrt));
}

#[test]
fn a_plan_that_does_not_fit_is_refused() {
    let project = Project::new(MATRIX, "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let number = |count| ShardNumber::new(1, count).unwrap();
    let mut filter = Filter::default();
    let (plan, _) = divided(&workspace, &mut filter, None, number(2)).unwrap();
    let refused =
        |plan: &PlanFile, count| divided(&workspace, &mut Filter::default(), Some(plan), number(count)).unwrap_err();
    assert_eq!(refused(&plan, 3).kind, ErrorKind::Usage);
    let mut other = plan.clone();
    other.model.sha256 = "0".repeat(64);
    assert_eq!(refused(&other, 2).message, "the plan is of another model");
    let error = divided(&workspace, &mut Filter::default(), None, number(9)).unwrap_err();
    assert!(error.message.starts_with("9 shards are too many"), "{error}");
}

/// Beside the cells of a shard run those of their chains, at their batches, that other shards have, and no others.
#[test]
fn the_cells_of_a_chain_run_beside() {
    let project = Project::new("onnxruntime = [\"fp32\", \"fp16\"]\ntensorrt = [\"fp32\", \"fp16\"]", "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let all = workspace.plan(&Filter::default()).unwrap();
    let divided: Vec<CellId> = all.iter().map(|cell| cell.id.clone()).collect();
    let beside = |own: &[&str], divided: &[CellId]| -> Vec<String> {
        let plan: Vec<PlannedCell> =
            all.iter().filter(|cell| own.contains(&cell.id.to_string().as_str())).cloned().collect();
        assert_eq!(plan.len(), own.len());
        chain_beside(&workspace, &plan, divided).iter().map(|cell| cell.id.to_string()).collect()
    };
    let half = "tensorrt@10.11.0/fp16/batch-4";
    let expected = ["onnxruntime/fp32/batch-4", "onnxruntime/fp16/batch-4"];
    assert_eq!(beside(&[half], &divided), expected);
    assert_eq!(beside(&[half, "onnxruntime/fp16/batch-4"], &divided), expected[..1]);
    assert_eq!(beside(&["tensorrt@10.11.0/fp32/batch-1"], &divided), ["onnxruntime/fp32/batch-1"]);
    assert_eq!(beside(&["onnxruntime/fp32/batch-1"], &divided), [""; 0]);
    // What no shard has does not run.
    let named: Vec<CellId> = vec![expected[1].parse().unwrap(), "tensorrt@10.11.0/fp32/batch-4".parse().unwrap()];
    assert_eq!(beside(&[half], &named), expected[1..]);
    assert_eq!(beside(&[half], &[]), [""; 0]);
}
