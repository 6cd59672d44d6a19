//! A plan in parts, each judged before the next begins: after the first that fails, or cannot be judged, no other does.
//!
//! The parts are those of shards, a runtime in a precision each, so that every cell is judged as in the whole: what it is compared with runs beside it.

use std::time::Instant;

use super::shard::ShardRun;
use super::workspace::Workspace;
use super::{RunOptions, required, run};
use crate::check::cross;
use crate::error::Result;
use crate::findings::verdict::plural;
use crate::findings::{OfShard, Report};
use crate::plan::Filter;
use crate::report::merge::merge;
use crate::vocabulary::{CellId, Status};

/// As [`run`], but that it ends after the first part in which a cell failed or is invalid, or a rule did. The cells that were not run then are `invalid`
/// and named, so that the verdict is never a pass.
///
/// # Errors
/// As [`run`].
pub fn run_until_a_failure(workspace: &Workspace, options: &RunOptions) -> Result<Report> {
    let start = Instant::now();
    let planned: Vec<CellId> = workspace.plan(&options.filter)?.into_iter().map(|cell| cell.id).collect();
    let parts = parts(&planned);
    let mut judged: Vec<(String, Report)> = Vec::with_capacity(parts.len());
    let mut ended_by = None;
    for part in &parts {
        let shard = ShardRun { of: OfShard::default(), planned: planned.clone() };
        let filter = Filter { only: Some(part.clone()), ..options.filter.clone() };
        let mut report = run(workspace, &RunOptions { filter, shard: Some(shard), ..options.clone() })?;
        // Parts are no shards of another machine, and are not told as such.
        let as_shard = report.of_shard();
        report.notes.retain(|note| Some(note) != as_shard.as_ref());
        report.shard = None;
        ended_by = first_failure(&report);
        judged.push((String::new(), report));
        if ended_by.is_some() {
            break;
        }
    }
    let merged = merge(&judged, None, Some(&cross::conclude))?;
    let mut report = merged.report;
    let own_seconds = judged.iter().map(|(_, part)| part.own_seconds).sum();
    report.shards.clear();
    // What is asked of a part of the manifest's plan, the manifest's own requirements being of the whole, is what it is without parts.
    (report.requirements.runtimes, report.requirements.of_plan) = required(&workspace.manifest, options);
    report.planned = options.planned(workspace)?;
    report.command.clone_from(&options.command);
    (report.wall_seconds, report.own_seconds) = (start.elapsed().as_secs_f64(), own_seconds);
    if let Some(ended_by) = ended_by.filter(|_| !merged.lost.is_empty()) {
        for cell in report.cells.iter_mut().filter(|cell| merged.lost.contains(&cell.id())) {
            cell.reason = Some(format!("not run: `--fail-fast` ended the gate after {ended_by}"));
            cell.hint = Some("without `--fail-fast` every cell is run".to_owned());
        }
        report
            .notes
            .push(format!("{} not run, since `--fail-fast` ends at the first failure", were(merged.lost.len())));
    }
    report.judge();
    Ok(report)
}

fn were(cells: usize) -> String {
    format!("{} {}", plural(cells, "cell"), if cells == 1 { "was" } else { "were" })
}

/// The cells of a runtime in a precision together, in the plan's order.
fn parts(planned: &[CellId]) -> Vec<Vec<CellId>> {
    let mut parts: Vec<Vec<CellId>> = Vec::new();
    let same = |part: &Vec<CellId>, cell: &CellId| {
        part.first().is_some_and(|first| (&first.runtime, first.precision) == (&cell.runtime, cell.precision))
    };
    for cell in planned {
        match parts.iter_mut().find(|part| same(part, cell)) {
            Some(part) => part.push(cell.clone()),
            None => parts.push(vec![cell.clone()]),
        }
    }
    parts
}

/// What first keeps `report` from a pass: a cell, or a rule that no cell makes.
fn first_failure(report: &Report) -> Option<String> {
    let wrong = |status: Status| matches!(status, Status::Fail | Status::Invalid);
    let cell = report.cells.iter().find(|cell| wrong(cell.status)).map(|cell| format!("`{}`", cell.id()));
    let rule = report.cross.iter().find(|rule| rule.gating && wrong(rule.status));
    cell.or_else(|| rule.map(|rule| format!("the rule `{}`", rule.name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::gate::workshop::{Project, answers, healthy, session, sound};
    use crate::report::merge::normalised;
    use crate::runtime::{OpenRequest, Session};
    use crate::vocabulary::{Library, Precision, Verdict};
    use crate::worker::fake::Fakes;

    /// A cell first, then a rule that gates; what is only shown ends nothing.
    #[test]
    fn what_ends_a_gate_is_a_cell_or_a_rule_that_gates() {
        use crate::findings::CheckResult;
        let mut report = crate::report::sample::passing();
        report.cross.clear();
        assert_eq!(first_failure(&report), None);
        let rule = |name: &str, gating: bool, status: Status| CheckResult {
            name: name.to_owned(),
            status,
            gating,
            detail: String::new(),
        };
        report.cross = vec![rule("shown", false, Status::Fail), rule("held", true, Status::Pass)];
        assert_eq!(first_failure(&report), None);
        report.cross.push(rule("broken", true, Status::Invalid));
        assert_eq!(first_failure(&report).as_deref(), Some("the rule `broken`"));
        report.cells[1].status = Status::Fail;
        assert_eq!(first_failure(&report), Some(format!("`{}`", report.cells[1].id())));
        assert_eq!((were(1), were(2)), ("1 cell was".to_owned(), "2 cells were".to_owned()));
    }

    const MATRIX: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"tf32\"]";

    fn cells(report: &Report) -> Vec<(String, Status)> {
        report.cells.iter().map(|cell| (cell.id().to_string(), cell.status)).collect()
    }

    /// Of the whole plan, and of a part of it, which leaves the manifest's requirements to a merge.
    #[rstest]
    #[case::whole(Filter::default())]
    #[case::part(Filter { precisions: vec![Precision::Tf32], ..Filter::default() })]
    fn without_a_failure_it_is_the_same_gate(#[case] filter: Filter) {
        let project = Project::new(MATRIX, "[require]\nruntimes = [\"onnxruntime\"]");
        let workspace = project.workspace(&Fakes::of(sound, healthy));
        let options = RunOptions { filter, ..RunOptions::default() };
        let whole = run(&workspace, &options).unwrap();
        let parts = run_until_a_failure(&workspace, &options).unwrap();
        assert_eq!(whole.verdict, Verdict::Pass, "{:?}", whole.reasons);
        assert_eq!(normalised(&parts), normalised(&whole));
        assert_eq!(parts.planned, whole.planned);
    }

    /// Of three parts the second fails: the third is never begun, and stands as what it is.
    #[test]
    fn nothing_runs_after_the_first_failure() {
        let project = Project::new(MATRIX, "");
        let open = |request: &OpenRequest| -> Result<Box<dyn Session>> {
            let engine = request.installation.id.library == Library::Tensorrt;
            Ok(Box::new(session(request, move |input| {
                let mut output = answers(input);
                if engine {
                    output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value = -*value);
                }
                Ok(vec![output])
            })))
        };
        let workspace = project.workspace(&Fakes::of(open, healthy));
        let report = run_until_a_failure(&workspace, &RunOptions::default()).unwrap();
        assert_eq!(report.verdict, Verdict::Fail);
        let whole = run(&workspace, &RunOptions::default()).unwrap();
        assert_eq!(cells(&report)[..4], cells(&whole)[..4]);
        assert_eq!(report.cells.len(), 6);
        for cell in &report.cells[4..] {
            assert_eq!(cell.status, Status::Invalid);
            let reason = cell.reason.as_deref().unwrap();
            assert_eq!(reason, "not run: `--fail-fast` ended the gate after `tensorrt@10.11.0/fp32/batch-1`");
        }
        assert!(report.reasons.contains(&"2 cells are invalid".to_owned()), "{:?}", report.reasons);
    }

    /// What was judged before is no pass where the rest is not there.
    #[test]
    fn an_invalid_cell_ends_it_too_and_is_incomplete() {
        let project = Project::new(MATRIX, "");
        let open = |request: &OpenRequest| -> Result<Box<dyn Session>> {
            let is_it = request.installation.id.library == Library::Tensorrt;
            Ok(Box::new(session(request, move |input| {
                if is_it { Err(crate::error::Error::invalid("no answer")) } else { Ok(vec![answers(input)]) }
            })))
        };
        let report =
            run_until_a_failure(&project.workspace(&Fakes::of(open, healthy)), &RunOptions::default()).unwrap();
        assert_eq!(report.verdict, Verdict::Incomplete, "{:?}", report.reasons);
        assert!(report.cells.iter().any(|cell| cell.reason.as_deref().unwrap_or_default().starts_with("not run: ")));
    }
}
