//! Shards beside the plan that they were made from: what was lost, what nobody could run, what is foreign.
#![allow(clippy::unwrap_used)]

use super::tests::deal;
use super::*;
use crate::report::sample;
use crate::vocabulary::{Library, Stage, Status, Verdict};

#[test]
fn a_withheld_shard_is_named_and_never_passes() {
    let whole = sample::passing();
    let plan = sample::plan_of(&whole);
    let mut shards = deal(&whole, 4);
    let withheld = shards.remove(2).1;
    let merged = merge(&shards, Some(&plan), None).unwrap();
    assert_eq!(merged.lost, withheld.cells.iter().map(CellReport::id).collect::<Vec<_>>());
    assert_eq!(merged.report.verdict, Verdict::Incomplete);
    assert_eq!(merged.report.cells.len(), whole.cells.len());
    for cell in merged.report.cells.iter().filter(|cell| merged.lost.contains(&cell.id())) {
        assert_eq!((cell.status, cell.stage), (Status::Invalid, Stage::Load));
        assert!(cell.reason.as_deref().is_some_and(|reason| reason.contains("no shard reported it")), "{cell:?}");
        assert!(cell.hint.as_deref().is_some_and(|hint| hint.contains("the job of the shard")), "{cell:?}");
    }
    let error = lost_cells(&merged.lost, &merged.absent, None).unwrap();
    assert!(error.message.ends_with("cells are planned but in no report"), "{error}");
    assert_eq!(error.causes.len(), merged.lost.len());
}

#[test]
fn shards_that_carry_the_plan_need_no_plan_file() {
    let whole = sample::failing();
    let mut shards = deal(&whole, 4);
    for (_, shard) in &mut shards {
        shard.planned = whole.cells.iter().map(CellReport::id).collect();
    }
    let merged = merge(&shards, None, None).unwrap().report;
    assert_eq!(normalised(&merged), normalised(&whole));
    // A joined report is of a whole plan: it leaves nothing to another merge.
    assert_eq!(merged.planned, []);
    let withheld = shards.remove(1).1;
    assert_eq!(merge(&shards, None, None).unwrap().lost.len(), withheld.cells.len());
    shards[1].1.planned.pop();
    let error = merge(&shards, None, None).unwrap_err();
    assert_eq!(error.message, "`shard-0.json` and `shard-2.json` are of different plans");
}

#[test]
fn a_plan_may_name_a_version_in_part() {
    let whole = sample::passing();
    let mut plan = sample::plan_of(&whole);
    let named = plan.cells.iter_mut().filter(|cell| cell.runtime.version.is_some());
    let mut shortened = 0;
    for cell in named {
        let version = cell.runtime.version.as_deref().unwrap();
        cell.runtime.version = Some(version.split('.').take(2).collect::<Vec<_>>().join("."));
        shortened += 1;
    }
    assert!(shortened > 0);
    let mut shards = deal(&whole, 4);
    // Each machine carries a plan of its own; the given one stands above them.
    shards[0].1.planned = shards[0].1.cells.iter().map(CellReport::id).collect();
    let merged = merge(&shards, Some(&plan), None).unwrap();
    assert_eq!(merged.lost, []);
    assert_eq!(normalised(&merged.report), normalised(&whole));
    shards.remove(1);
    assert!(!merge(&shards, Some(&plan), None).unwrap().lost.is_empty());
}

#[test]
fn a_cell_outside_the_plan_is_an_error() {
    let whole = sample::passing();
    let mut plan = sample::plan_of(&whole);
    plan.cells.remove(0);
    let error = merge(&deal(&whole, 2), Some(&plan), None).unwrap_err();
    assert_eq!(error.message, "1 cell is reported but not planned");
}

#[test]
fn cells_that_nobody_could_run_are_told_by_runtime_and_reason() {
    let whole = sample::cpu_only();
    let mut plan = sample::plan_of(&whole);
    let missing = "no TensorRT is on this machine";
    for cell in plan.cells.iter_mut().filter(|cell| cell.runtime.library == Library::Tensorrt) {
        cell.ability.obstacle = Some(Status::Unavailable);
        cell.ability.reason = Some(missing.to_owned());
    }
    let mut shard = whole;
    shard.cells.retain(|cell| cell.runtime.library != Library::Tensorrt);
    shard.judge();
    let merged = merge(&[("cpu.json".to_owned(), shard)], Some(&plan), None).unwrap();
    // Nobody ran them, so this is no pass, whoever could not.
    assert_eq!(merged.report.verdict, Verdict::Incomplete);
    assert!(merged.lost.len() > 1);
    let error = lost_cells(&merged.lost, &merged.absent, Some(&plan)).unwrap();
    assert!(error.causes.len() < merged.lost.len(), "{error}");
    for cause in &error.causes {
        assert!(cause.contains("which nobody ran and the machine of the plan could not: no TensorRT"), "{error}");
    }
    assert!(error.hint.unwrap().contains("`--runtime`s of the shards"));
    let lost = merged.report.cells.iter().filter(|cell| merged.lost.contains(&cell.id()));
    for cell in lost {
        assert!(cell.reason.as_deref().unwrap().ends_with(missing), "{:?}", cell.reason);
    }
}

#[test]
fn what_the_plan_requires_is_required_once() {
    let whole = sample::cpu_only();
    let mut plan = sample::plan_of(&whole);
    plan.require = vec!["tensorrt".parse().unwrap(), "onnxruntime".parse().unwrap()];
    let mut shards = deal(&whole, 2);
    shards[0].1.requirements.runtimes = vec!["onnxruntime".parse().unwrap()];
    let merged = merge(&shards, Some(&plan), None).unwrap().report;
    let names: Vec<String> = merged.requirements.runtimes.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["onnxruntime", "tensorrt"]);
    assert_eq!(merged.verdict, Verdict::Incomplete);
}

/// The plan is that of the shards that judged; one that was stopped says what was planned where nobody judged.
#[test]
fn the_plan_of_a_stopped_shard_counts_where_nobody_judged() {
    let whole = sample::passing();
    let ids: Vec<CellId> = whole.cells.iter().map(CellReport::id).collect();
    let mut stopped = Report::new(whole.model.clone(), whole.machine.clone(), "2026-03-01T10:00:00Z");
    stopped.requirements.unmet.push("nothing was judged".to_owned());
    for (mine, other) in
        [(&mut stopped.schema, &whole.schema), (&mut stopped.tolerances_sha256, &whole.tolerances_sha256)]
    {
        mine.clone_from(other);
    }
    stopped.golden_sha256.clone_from(&whole.golden_sha256);
    stopped.planned = ids[..3].to_vec();
    let alone = merge(&[("stopped.json".to_owned(), stopped.clone())], None, None).unwrap();
    assert_eq!(alone.lost, ids[..3]);
    let mut shards = deal(&whole, 2);
    shards.iter_mut().for_each(|(_, shard)| shard.planned.clone_from(&ids));
    shards.push(("stopped.json".to_owned(), stopped));
    let merged = merge(&shards, None, None).unwrap();
    assert_eq!((merged.lost.len(), merged.report.cells.len()), (0, ids.len()));
}

#[test]
fn lost_cells_are_counted_by_runtime_and_reason() {
    let whole = sample::cpu_only();
    let mut plan = sample::plan_of(&whole);
    let id = |runtime: &str, batch| CellId {
        runtime: runtime.parse().unwrap(),
        precision: "fp32".parse().unwrap(),
        batch,
        shape: None,
    };
    let named = |cell: &CellReport| (cell.id(), cell.runtime.library == Library::Tensorrt);
    let ids: Vec<(CellId, bool)> = whole.cells.iter().map(named).collect();
    let engines: Vec<CellId> = ids.iter().filter(|(_, engine)| *engine).map(|(id, _)| id.clone()).collect();
    for (place, engine) in engines.iter().enumerate() {
        let cell = plan.cells.iter_mut().find(|cell| cell.id() == *engine).unwrap();
        // The last of them has a reason of its own.
        let reason = if place + 1 == engines.len() { "no GPU" } else { "no TensorRT" };
        cell.ability.reason = Some(reason.to_owned());
    }
    let other = ids.iter().find(|(_, engine)| !engine).unwrap().0.clone();
    let mut lost = engines.clone();
    lost.extend([other.clone(), id("litert", 77)]);
    let error = lost_cells(&lost, &["shard 2 of 4".to_owned()], Some(&plan)).unwrap();
    let runtime = engines[0].runtime.to_string();
    let same = engines.len() - 1;
    assert!(same > 1 && engines.iter().all(|engine| engine.runtime == engines[0].runtime), "{engines:?}");
    let nobody = |count: String, why: &str| {
        format!("{count} of `{runtime}`, which nobody ran and the machine of the plan could not: {why}")
    };
    let expected = [
        "shard 2 of 4".to_owned(),
        format!("`{other}`"),
        "`litert/fp32/batch-77`".to_owned(),
        nobody(format!("{same} cells"), "no TensorRT"),
        nobody("1 cell".to_owned(), "no GPU"),
    ];
    assert_eq!(error.causes, expected);
    assert!(error.hint.unwrap().starts_with("a shard's report was not given"));
    assert!(lost_cells(&[], &[], Some(&plan)).is_none());
    assert!(lost_cells(&[], &["shard 2 of 4".to_owned()], None).is_some());
}

/// What versions are beside each other is found again of all cells: a shard's rows are its own.
#[test]
fn a_shards_rows_of_versions_are_not_the_wholes() {
    let whole = sample::versions();
    assert!(!whole.versions.is_empty());
    let merged = merge(&deal(&whole, 2), None, None).unwrap().report;
    assert_eq!(merged.versions, []);
    assert_eq!(merged.answers, whole.answers);
}
