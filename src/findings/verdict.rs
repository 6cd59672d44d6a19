//! The verdict: a pure function of the cells, the rules across cells, and what was required.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::findings::{ACCURACY_RULE, CellReport, CheckResult, GOLDEN_RULE, Report};
use crate::vocabulary::{RuntimeId, Status, Verdict};

/// What the verdict demands beyond the cells' own results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirements {
    /// Selectors of runtimes that must have run at least one cell (`--require`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtimes: Vec<RuntimeId>,
    /// Selectors that the manifest requires of the whole plan, in the report of a part of it: the merge holds it to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of_plan: Vec<RuntimeId>,
    /// Whether every cell that ran must have been measured against a baseline (`--require-baseline`).
    #[serde(default)]
    pub baseline: bool,
    /// What the run itself found missing although it was required (`--require-golden`), one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<String>,
}

impl Requirements {
    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.runtimes.is_empty() && self.of_plan.is_empty() && !self.baseline && self.unmet.is_empty()
    }
}

/// A verdict and why it is not `pass`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// One sentence for each thing that keeps it from `pass`; empty exactly when it is `pass`.
    pub reasons: Vec<String>,
}

/// Judges a run.
///
/// `fail` when a cell or a gating rule across cells failed; otherwise `incomplete` when a cell or such a rule is
/// invalid, a required runtime ran nothing, a required baseline or golden is absent, or nothing ran at all but the
/// reference; otherwise `pass`.
/// A failure outranks incompleteness, but the reasons list both. `unsupported` and `unavailable` count neither for nor
/// against: a run of them alone is `incomplete`.
pub fn judge(cells: &[CellReport], cross: &[CheckResult], requirements: &Requirements) -> Judgement {
    let count = |status| cells.iter().filter(|cell| cell.status == status).count();
    let (failed, invalid) = (count(Status::Fail), count(Status::Invalid));
    let ran = count(Status::Pass) + failed;
    let mut failures = Vec::new();
    let mut gaps = Vec::new();

    if failed > 0 {
        failures.push(format!("{} failed", plural(failed, "cell")));
    }
    for rule in cross.iter().filter(|rule| rule.gating) {
        match rule.status {
            // What these rules found is a sentence in itself.
            Status::Fail if is_of_reference(rule) => failures.push(format!("{}: {}", rule.name, rule.detail)),
            Status::Invalid if is_of_reference(rule) => gaps.push(format!("{}: {}", rule.name, rule.detail)),
            Status::Fail => failures.push(format!("across cells, `{}` failed: {}", rule.name, rule.detail)),
            Status::Invalid => gaps.push(format!("across cells, `{}` is invalid: {}", rule.name, rule.detail)),
            Status::Pass | Status::Unsupported | Status::Unavailable => {}
        }
    }
    if invalid > 0 {
        gaps.push(format!("{} invalid", plural_is(invalid, "cell")));
    }
    for required in &requirements.runtimes {
        gaps.extend(required_gaps(cells, required));
    }
    gaps.extend(requirements.unmet.iter().cloned());
    if requirements.baseline {
        // Of a run under load, the cells that load was offered to are measured.
        let under_load = cells.iter().any(|cell| cell.load.is_some());
        let measured = cells.iter().filter(|cell| cell.load.is_some() || !under_load);
        let without = measured.filter(|cell| cell.status == Status::Pass && !has_baseline(cell)).count();
        if without > 0 {
            gaps.push(format!("a baseline is required, but {} without one", plural_is(without, "cell")));
        }
    }
    if ran > 0 && failed == 0 && invalid == 0 && !cells.iter().any(CellReport::is_judged_pass) {
        gaps.push(
            "nothing but the reference ran, and no golden is stored: nothing was compared with anything but itself"
                .to_owned(),
        );
    }
    if ran == 0 && invalid == 0 {
        gaps.extend(match cells.len() {
            // The run itself says what ended it before there were cells.
            0 if !requirements.unmet.is_empty() => None,
            0 => Some("nothing ran: the plan has no cells".to_owned()),
            planned => Some(format!("nothing ran: none of the {} could", plural(planned, "planned cell"))),
        });
    }

    let verdict = match (failures.is_empty(), gaps.is_empty()) {
        (false, _) => Verdict::Fail,
        (true, false) => Verdict::Incomplete,
        (true, true) => Verdict::Pass,
    };
    failures.append(&mut gaps);
    Judgement { verdict, reasons: failures }
}

/// Whether a rule is about the reference, and not about cells beside each other.
pub(crate) fn is_of_reference(rule: &CheckResult) -> bool {
    [GOLDEN_RULE, ACCURACY_RULE].contains(&rule.name.as_str())
}

impl Report {
    /// Recomputes `verdict` and `reasons` from the cells and requirements.
    pub fn judge(&mut self) {
        let Judgement { verdict, reasons } = judge(&self.cells, &self.cross, &self.requirements);
        self.verdict = verdict;
        self.reasons = reasons;
    }
}

/// Why `required` counts as not run. A server has to answer by every protocol that it is asked by: one of them says nothing of
/// another.
fn required_gaps(cells: &[CellReport], required: &RuntimeId) -> Vec<String> {
    let asked = cells.iter().map(|cell| &cell.runtime).filter(|runtime| required.selects(runtime));
    let each: BTreeSet<&RuntimeId> = asked.filter(|runtime| runtime.library.is_served()).collect();
    match each.is_empty() {
        true => required_gap(cells, required).into_iter().collect(),
        false => each.into_iter().filter_map(|runtime| required_gap(cells, runtime)).collect(),
    }
}

/// Why `required` counts as not run, or `None` if a cell of it passed or failed.
fn required_gap(cells: &[CellReport], required: &RuntimeId) -> Option<String> {
    let mut selected = cells.iter().filter(|cell| required.selects(&cell.runtime) || *required == cell.runtime);
    let mut why = None;
    for cell in selected.by_ref() {
        if matches!(cell.status, Status::Pass | Status::Fail) {
            return None;
        }
        // The first reason is that of the plan's first cell, which names what was looked for.
        why = why.or_else(|| Some(cell.reason.clone().unwrap_or_else(|| format!("its cells are {}", cell.status))));
    }
    let why = why.unwrap_or_else(|| "the plan has no cell of it".to_owned());
    Some(format!("required runtime `{required}` did not run: {why}"))
}

/// Whether the cell was compared with a stored baseline of its own environment.
fn has_baseline(cell: &CellReport) -> bool {
    let of_load = cell.load.as_ref().and_then(|load| load.baseline.as_ref());
    cell.baseline.as_ref().or(of_load).is_some_and(|baseline| baseline.verdict != "no-baseline")
}

/// Whether `reason` only counts cells or repeats a rule, each of which a rendered report shows by itself.
pub(crate) fn is_told_by_cells(reason: &str) -> bool {
    let counts_cells = reason
        .strip_suffix(" failed")
        .or_else(|| reason.strip_suffix(" is invalid"))
        .or_else(|| reason.strip_suffix(" are invalid"))
        .and_then(|rest| rest.strip_suffix(" cells").or_else(|| rest.strip_suffix(" cell")))
        .is_some_and(|count| count.parse::<usize>().is_ok());
    counts_cells || ["across cells, ", "golden: ", "accuracy: "].iter().any(|start| reason.starts_with(start))
}

/// `1 cell`, `2 cells`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// So many boxes, in words.
pub(crate) fn boxes(count: usize) -> String {
    format!("{count} {}", if count == 1 { "box" } else { "boxes" })
}

/// `1 cell is`, `2 cells are`.
pub(crate) fn plural_is(count: usize, noun: &str) -> String {
    format!("{} {}", plural(count, noun), if count == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::report::sample;

    fn cells(statuses: &[Status]) -> Vec<CellReport> {
        let batches = [1, 8, 16, 32, 64];
        let cell = |(&status, batch)| sample::cell_with_status("onnxruntime", "fp32", batch, status);
        statuses.iter().zip(batches).map(cell).collect()
    }

    #[rstest]
    #[case::all_pass(&[Status::Pass, Status::Pass], Verdict::Pass)]
    #[case::skips_beside_a_pass(&[Status::Pass, Status::Unavailable, Status::Unsupported], Verdict::Pass)]
    #[case::one_failure(&[Status::Pass, Status::Fail], Verdict::Fail)]
    #[case::failure_beats_invalid(&[Status::Fail, Status::Invalid], Verdict::Fail)]
    #[case::one_invalid(&[Status::Pass, Status::Invalid], Verdict::Incomplete)]
    #[case::only_skips(&[Status::Unavailable, Status::Unsupported], Verdict::Incomplete)]
    #[case::nothing_planned(&[], Verdict::Incomplete)]
    fn verdict_of_statuses(#[case] statuses: &[Status], #[case] expected: Verdict) {
        let judged = judge(&cells(statuses), &[], &Requirements::default());
        assert_eq!(judged.verdict, expected);
        assert_eq!(judged.reasons.is_empty(), expected == Verdict::Pass, "{:?}", judged.reasons);
    }

    #[rstest]
    #[case(&[], Verdict::Incomplete)]
    #[case(&[Status::Unavailable, Status::Unsupported], Verdict::Incomplete)]
    #[case(&[Status::Pass], Verdict::Pass)]
    #[case(&[Status::Fail], Verdict::Fail)]
    fn the_reference_alone_proves_nothing(#[case] others: &[Status], #[case] expected: Verdict) {
        let mut cells = cells(others);
        for batch in [1, 8] {
            let cell = sample::cell_with_status("tensorflow", "fp32", batch, Status::Pass);
            cells.push(CellReport { is_reference: true, ..cell });
        }
        let judged = judge(&cells, &[], &Requirements::default());
        assert_eq!(judged.verdict, expected);
        let told = judged.reasons.iter().any(|reason| reason.starts_with("nothing but the reference ran"));
        assert_eq!(told, expected == Verdict::Incomplete);
    }

    /// Each gap is told once, in words that name it; what is said of cells is not said again for want of any.
    #[rstest]
    #[case(&[Status::Fail, Status::Fail, Status::Invalid], &["2 cells failed", "1 cell is invalid"])]
    #[case(&[Status::Fail, Status::Pass], &["1 cell failed"])]
    #[case(&[Status::Invalid], &["1 cell is invalid"])]
    #[case(&[Status::Invalid, Status::Invalid, Status::Unavailable], &["2 cells are invalid"])]
    #[case(&[Status::Unavailable], &["nothing ran: none of the 1 planned cell could"])]
    #[case(&[Status::Unavailable, Status::Unsupported], &["nothing ran: none of the 2 planned cells could"])]
    #[case(&[], &["nothing ran: the plan has no cells"])]
    #[case(&[Status::Pass, Status::Unavailable], &[])]
    fn reasons_of_statuses(#[case] statuses: &[Status], #[case] expected: &[&str]) {
        assert_eq!(judge(&cells(statuses), &[], &Requirements::default()).reasons, expected);
    }

    /// A required runtime that failed ran; one whose cells are all skipped or invalid did not.
    #[rstest]
    #[case(Status::Pass, true)]
    #[case(Status::Fail, true)]
    #[case(Status::Invalid, false)]
    #[case(Status::Unavailable, false)]
    #[case(Status::Unsupported, false)]
    fn a_required_runtime_ran_where_a_cell_was_judged(#[case] status: Status, #[case] ran: bool) {
        let mut cells = cells(&[Status::Pass]);
        let why = |reason: &str| CellReport {
            reason: Some(reason.to_owned()),
            ..sample::cell_with_status("litert", "int8", 1, status)
        };
        cells.extend([why("the first reason"), why("another")]);
        let requirements = Requirements { runtimes: vec!["litert".parse().unwrap()], ..Requirements::default() };
        let reasons = judge(&cells, &[], &requirements).reasons;
        let told = reasons.iter().any(|reason| reason == "required runtime `litert` did not run: the first reason");
        assert_eq!(told, !ran, "{reasons:?}");
    }

    #[rstest]
    #[case(GOLDEN_RULE, Status::Fail, "golden: it moved", Verdict::Fail)]
    #[case(GOLDEN_RULE, Status::Invalid, "golden: it moved", Verdict::Incomplete)]
    #[case("size-order", Status::Fail, "across cells, `size-order` failed: it moved", Verdict::Fail)]
    #[case("size-order", Status::Invalid, "across cells, `size-order` is invalid: it moved", Verdict::Incomplete)]
    fn rules_are_told_by_what_they_are_about(
        #[case] name: &str,
        #[case] status: Status,
        #[case] words: &str,
        #[case] verdict: Verdict,
    ) {
        let rule = CheckResult { name: name.to_owned(), status, gating: true, detail: "it moved".to_owned() };
        let judged = judge(&cells(&[Status::Pass]), &[rule], &Requirements::default());
        assert_eq!((judged.verdict, judged.reasons), (verdict, vec![words.to_owned()]));
    }

    /// A cell with a stored baseline of its own environment counts as measured; nobody asks for that of a cell that failed.
    #[test]
    fn a_required_baseline_is_asked_of_cells_that_passed() {
        let mut cells = cells(&[Status::Pass, Status::Pass, Status::Fail, Status::Unavailable]);
        let baseline = sample::passing().cells.iter().find_map(|cell| cell.baseline.clone()).unwrap();
        cells[0].baseline = Some(baseline.clone());
        cells[1].baseline =
            Some(crate::timing::summary::BaselineVerdict { verdict: "no-baseline".to_owned(), ..baseline });
        let requirements = Requirements { baseline: true, ..Requirements::default() };
        let reasons = judge(&cells, &[], &requirements).reasons;
        assert_eq!(reasons, ["1 cell failed", "a baseline is required, but 1 cell is without one"]);
        cells.remove(1);
        assert_eq!(judge(&cells, &[], &requirements).reasons, ["1 cell failed"]);
    }

    #[test]
    fn requirements_are_empty_where_nothing_is_asked_for() {
        let runtimes = vec!["litert".parse().unwrap()];
        assert!(Requirements::default().is_empty());
        for asked in [
            Requirements { runtimes: runtimes.clone(), ..Requirements::default() },
            Requirements { of_plan: runtimes, ..Requirements::default() },
            Requirements { baseline: true, ..Requirements::default() },
            Requirements { unmet: vec!["it".to_owned()], ..Requirements::default() },
        ] {
            assert!(!asked.is_empty(), "{asked:?}");
        }
    }

    /// A run that says itself why it judged nothing is not told to have had no cells.
    #[test]
    fn a_run_that_was_stopped_tells_why_once() {
        let requirements = Requirements { unmet: vec!["no such model".to_owned()], ..Requirements::default() };
        let judged = judge(&[], &[], &requirements);
        assert_eq!((judged.verdict, judged.reasons), (Verdict::Incomplete, vec!["no such model".to_owned()]));
    }

    #[rstest]
    #[case("onnxruntime", Verdict::Pass)]
    #[case("tensorrt@8.5", Verdict::Incomplete)]
    fn a_required_runtime_must_run(#[case] required: &str, #[case] expected: Verdict) {
        let mut cells = cells(&[Status::Pass]);
        cells.push(sample::cell_with_status("tensorrt@8.5.3", "fp32", 1, Status::Unavailable));
        let requirements = Requirements { runtimes: vec![required.parse().unwrap()], ..Requirements::default() };
        assert_eq!(judge(&cells, &[], &requirements).verdict, expected);
    }

    /// A server that answers by one protocol has not answered by another.
    #[rstest]
    #[case("triton", &["required runtime `triton@grpc` did not run: nobody answers"])]
    #[case("triton@grpc", &["required runtime `triton@grpc` did not run: nobody answers"])]
    #[case("triton@http", &[])]
    #[case("triton@grpc-stream", &["required runtime `triton@grpc-stream` did not run: the plan has no cell of it"])]
    fn a_required_server_answers_by_every_protocol(#[case] required: &str, #[case] expected: &[&str]) {
        let mut cells = vec![sample::cell_with_status("triton@http", "fp32", 1, Status::Pass)];
        let gone = sample::cell_with_status("triton@grpc", "fp32", 1, Status::Unavailable);
        cells.push(CellReport { reason: Some("nobody answers".to_owned()), ..gone });
        let requirements = Requirements { runtimes: vec![required.parse().unwrap()], ..Requirements::default() };
        assert_eq!(judge(&cells, &[], &requirements).reasons, expected);
    }

    #[test]
    fn a_required_runtime_that_was_never_planned_is_named() {
        let requirements = Requirements { runtimes: vec!["litert".parse().unwrap()], ..Requirements::default() };
        let judged = judge(&cells(&[Status::Pass]), &[], &requirements);
        assert_eq!(judged.reasons, ["required runtime `litert` did not run: the plan has no cell of it"]);
    }

    #[rstest]
    #[case("2 cells failed", true)]
    #[case("1 cell is invalid", true)]
    #[case("across cells, `size-order` failed: INT8 is larger", true)]
    #[case("golden: the model's files are not the blessed ones", true)]
    #[case("accuracy: the reference is right on 8 of 10 labelled samples", true)]
    #[case("required runtime `litert` did not run: it failed", false)]
    fn reasons_that_cells_tell(#[case] reason: &str, #[case] told: bool) {
        assert_eq!(is_told_by_cells(reason), told);
    }

    #[test]
    fn a_required_baseline_must_exist() {
        let requirements = Requirements { baseline: true, ..Requirements::default() };
        let judged = judge(&cells(&[Status::Pass]), &[], &requirements);
        assert_eq!(judged.verdict, Verdict::Incomplete);
        assert_eq!(judged.reasons, ["a baseline is required, but 1 cell is without one"]);
    }

    #[test]
    fn what_the_run_found_missing_is_a_reason() {
        let requirements = Requirements { unmet: vec!["no golden is stored".into()], ..Requirements::default() };
        let judged = judge(&cells(&[Status::Pass]), &[], &requirements);
        assert_eq!((judged.verdict, judged.reasons), (Verdict::Incomplete, vec!["no golden is stored".to_owned()]));
    }

    #[rstest]
    #[case(Status::Fail, true, Verdict::Fail)]
    #[case(Status::Fail, false, Verdict::Pass)]
    #[case(Status::Invalid, true, Verdict::Incomplete)]
    #[case(Status::Unavailable, true, Verdict::Pass)]
    fn gating_rules_across_cells_count(#[case] status: Status, #[case] gating: bool, #[case] expected: Verdict) {
        let rule = CheckResult { name: "size-order".into(), status, gating, detail: "INT8 is larger".into() };
        assert_eq!(judge(&cells(&[Status::Pass]), &[rule], &Requirements::default()).verdict, expected);
    }
}
