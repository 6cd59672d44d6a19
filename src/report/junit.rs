//! The report as JUnit XML: one test case a cell, one test suite a runtime and precision.
//!
//! `quick-junit` escapes the text and drops the characters that XML cannot hold.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use crate::error::{Error, Result};
use crate::findings::{ACCURACY_RULE, CellReport, CheckResult, Report};
use crate::report::layout::groups;
use crate::report::text::shortened;
use crate::vocabulary::Status;

/// Longest `message` attribute, in characters; the body holds the whole text.
const MESSAGE_LIMIT: usize = 300;

/// Renders the report.
///
/// A pass of the reference itself, which was compared with its own answers, is skipped; `fail` is a failure with the replay line in its body, `invalid` an error, `unsupported` and `unavailable` are skipped
/// with the reason. Rules across cells are cases of a suite of their own. A verdict that is not `pass` while no cell
/// says so (a required runtime did not run, nothing ran) is an error case, so that no reader of JUnit takes it for
/// success.
///
/// # Errors
/// `Failed` when the XML cannot be written.
pub fn render(report: &Report) -> Result<String> {
    let mut junit = Junit::new(format!("trtgate {}", report.model.name));
    junit.set_time(duration(report.wall_seconds));
    for group in groups(&report.cells) {
        let mut suite = TestSuite::new(format!("{}/{}", group.runtime, group.precision));
        if let Some(version) = group.cells.iter().find_map(|cell| cell.version.as_deref()) {
            suite.add_property(("runtime.version", version));
        }
        for artifact in group.artifacts() {
            suite.add_property(("artifact.sha256", artifact.sha256.as_str()));
        }
        suite.add_test_cases(group.cells.iter().map(|cell| case(cell)));
        junit.add_test_suite(suite);
    }
    if !report.cross.is_empty() {
        let mut suite = TestSuite::new("across-cells");
        suite.add_test_cases(report.cross.iter().map(rule_case));
        junit.add_test_suite(suite);
    }
    let mut verdict = TestSuite::new("verdict");
    let status = if report.reasons.is_empty() {
        TestCaseStatus::success()
    } else {
        let kind = match report.verdict {
            crate::vocabulary::Verdict::Fail => NonSuccessKind::Failure,
            _ => NonSuccessKind::Error,
        };
        stopped(kind, &report.reasons.join("; "), report.verdict.as_str(), report.reasons.join("\n"))
    };
    let mut case = TestCase::new("verdict", status);
    case.set_classname("trtgate");
    verdict.add_test_case(case);
    junit.add_test_suite(verdict);
    let mut text = junit.to_string().map_err(|source| Error::failed("cannot write JUnit XML").because(source))?;
    // The two noncharacters that XML 1.0 forbids beside the control characters.
    text.retain(|character| !matches!(character, '\u{fffe}' | '\u{ffff}'));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn case(cell: &CellReport) -> TestCase {
    let reason = cell.reason.as_deref().unwrap_or("no reason given");
    let status = match cell.status {
        Status::Pass if cell.is_reference => {
            skipped("reference", "no golden is stored: this is the reference, compared with its own answers")
        }
        Status::Pass => TestCaseStatus::success(),
        Status::Fail => stopped(NonSuccessKind::Failure, reason, cell.stage.as_str(), body(cell, reason)),
        Status::Invalid => stopped(NonSuccessKind::Error, reason, "invalid", body(cell, reason)),
        Status::Unsupported | Status::Unavailable => skipped(cell.status.as_str(), reason),
    };
    let mut case = TestCase::new(cell.id().to_string(), status);
    case.set_classname(format!("trtgate.{}", cell.runtime.library));
    if let Some(seconds) = cell.seconds {
        case.set_time(duration(seconds.run));
    }
    for (name, value) in figures(cell) {
        case.add_property((name, value.as_str()));
    }
    case
}

fn rule_case(rule: &CheckResult) -> TestCase {
    let status = match rule.status {
        Status::Pass => TestCaseStatus::success(),
        // A rule that does not gate may not turn a pipeline red.
        Status::Fail | Status::Invalid if !rule.gating => skipped(rule.status.as_str(), &rule.detail),
        Status::Fail => stopped(NonSuccessKind::Failure, &rule.detail, "across-cells", rule.detail.clone()),
        Status::Invalid => stopped(NonSuccessKind::Error, &rule.detail, "invalid", rule.detail.clone()),
        Status::Unsupported | Status::Unavailable => skipped(rule.status.as_str(), &rule.detail),
    };
    let mut case = TestCase::new(rule.name.clone(), status);
    case.set_classname("trtgate.across-cells");
    // How the reference answered labelled data is told on a pass too.
    if rule.name == ACCURACY_RULE {
        case.add_property(("detail", rule.detail.as_str()));
    }
    case
}

fn stopped(kind: NonSuccessKind, message: &str, stage: &str, body: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(shortened(message, MESSAGE_LIMIT)).set_type(stage).set_description(body);
    status
}

fn skipped(status: &str, reason: &str) -> TestCaseStatus {
    let mut skipped = TestCaseStatus::skipped();
    skipped.set_type(status).set_message(shortened(&format!("{status}: {reason}"), MESSAGE_LIMIT));
    skipped
}

/// Everything that a reader of the failure needs: the reason, what broke, the hint, the replay line.
fn body(cell: &CellReport, reason: &str) -> String {
    let mut lines = vec![reason.to_owned()];
    let broken = cell.checks.iter().filter(|check| check.gating && check.status != Status::Pass);
    lines.extend(broken.map(|check| format!("check: {}: {}", check.name, check.detail)));
    for leg in cell.legs.iter().filter(|leg| leg.status == Status::Fail) {
        lines.push(format!("leg: {}: {}", leg.name, leg.detail.as_deref().unwrap_or("left its tolerance")));
    }
    lines.extend(cell.hint.as_ref().map(|hint| format!("hint: {hint}")));
    lines.push(format!("replay: {}", cell.replay));
    lines.join("\n")
}

fn figures(cell: &CellReport) -> Vec<(&'static str, String)> {
    let mut figures = vec![("stage", cell.stage.to_string())];
    if let Some(leads) = &cell.leads {
        figures.push(("cost", leads.sentence()));
        figures.push(("allowed", leads.limits()));
        figures.push(("loss", format!("{:.2e}", leads.loss)));
        figures.push(("leads", format!("{:.2e}", leads.error)));
        if leads.named {
            figures.push(("loss-named-in-manifest", leads.loss_allowed.to_string()));
        }
    }
    if let Some(fresh) = cell.fresh {
        figures.push(("ordinary-agreement", format!("{}/{}", fresh.same, fresh.samples)));
    }
    figures.extend(cell.warnings.iter().map(|warning| ("warning", warning.clone())));
    figures.extend(cell.notes.iter().map(|note| ("note", note.clone())));
    if let Some(agreement) = &cell.agreement {
        figures.push(("agreement", format!("{}/{}", agreement.top1_matches, agreement.samples)));
    }
    let accuracy = cell.checks.iter().find(|check| check.name == ACCURACY_RULE && cell.accuracy.is_some());
    figures.extend(accuracy.map(|check| ("accuracy", check.detail.clone())));
    if let Some(error) = &cell.error {
        figures.push(("max-abs", error.max_abs.to_string()));
        figures.push(("sqnr-db", error.sqnr_db.to_string()));
    }
    if let Some(timing) = &cell.timing {
        figures.push(("samples-per-second", timing.samples_per_second.to_string()));
    }
    let memory = cell.memory.unwrap_or_default();
    figures.extend(memory.context_bytes.map(|bytes| ("context-bytes", bytes.to_string())));
    figures.extend(memory.process_bytes.map(|bytes| ("process-bytes", bytes.to_string())));
    figures.extend(cell.gpu.map(|gpu| ("gpu", gpu.to_string())));
    if let Some(replicas) = &cell.replicas {
        figures.push(("replicas", replicas.each.len().to_string()));
        figures.push(("replicas-samples-per-second", replicas.sum().to_string()));
    }
    figures
}

/// Seconds as JUnit wants them; what is no duration is none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::layout::Counts;
    use crate::report::sample;

    #[test]
    fn one_case_a_cell() {
        for report in [sample::passing(), sample::failing(), sample::cpu_only()] {
            let xml = render(&report).unwrap();
            let counts = Counts::of(&report.cells);
            let occurrences = |text: &str| xml.matches(text).count();
            let failed_rules = report.cross.iter().filter(|rule| rule.status == Status::Fail).count();
            let verdict = usize::from(!report.reasons.is_empty());
            assert_eq!(occurrences("<testcase "), report.cells.len() + report.cross.len() + 1);
            assert_eq!(occurrences("<failure "), counts.fail + failed_rules + verdict);
            assert_eq!(occurrences("<error "), counts.invalid);
            assert_eq!(occurrences("<skipped "), counts.unavailable + counts.unsupported + counts.reference);
            assert_eq!(occurrences("replay: trtgate gate --runtime"), counts.fail + counts.invalid);
        }
    }

    #[test]
    fn an_incomplete_run_is_an_error() {
        let mut report = sample::cpu_only();
        report.requirements.runtimes.push("tensorrt".parse().unwrap());
        report.judge();
        let xml = render(&report).unwrap();
        assert!(xml.contains("<error message=\"required runtime `tensorrt` did not run"), "{xml}");
    }

    #[test]
    fn hostile_text_stays_text() {
        let mut report = sample::failing();
        report.model.name = "a\"><script>".into();
        for cell in &mut report.cells {
            cell.reason = Some("]]> </failure> \0\u{1b}[31m & \u{fffe} <!-- ü".into());
        }
        let xml = render(&report).unwrap();
        assert!(!xml.contains(['\0', '\u{1b}', '\u{fffe}']));
        assert!(!xml.contains("<script>") && !xml.contains("]]>") && xml.contains("&lt;/failure&gt;"));
    }

    #[test]
    fn the_failing_run() {
        insta::assert_snapshot!(render(&sample::failing()).unwrap());
    }
}
