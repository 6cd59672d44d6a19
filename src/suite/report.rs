//! What became of the cases: counts, reasons, a map of operators.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::runtime::Installation;

/// The schema's name, first key of the JSON form. Keys may be added, never renamed.
pub const SCHEMA: &str = "trtgate.suite/v1";

/// Failed cases that the table lists before it counts the rest.
const LISTED: usize = 40;

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every output of every data set was as expected.
    Passed,
    /// An engine was built, and nothing here can run it: nobody looked at its answers.
    Built,
    /// Something went wrong.
    Failed {
        /// Where: `read`, `build`, `load`, `run` or `compare`.
        stage: String,
        /// What.
        reason: String,
    },
    /// The time was over before it was begun.
    Unreached,
    /// No gate takes it.
    Unsupported {
        /// Why; equal for all cases that share it.
        reason: String,
    },
}

/// A case and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// `node`, `simple`, `pytorch-converted`, `pytorch-operator` or `real`.
    pub kind: String,
    /// Operators of its graph; none where it was not read.
    pub operators: Vec<String>,
    /// Operator set of the standard domain.
    pub opset: Option<i64>,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl CaseReport {
    /// A case that was not begun.
    pub(super) fn unreached(name: &str, kind: &str) -> Self {
        let (name, kind) = (name.to_owned(), kind.to_owned());
        Self { name, kind, operators: Vec::new(), opset: None, outcome: Outcome::Unreached }
    }
}

/// A suite that was run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SuiteReport {
    schema: &'static str,
    /// Version of the package that the cases come from.
    pub onnx: String,
    /// The runtime, with its full version.
    pub runtime: String,
    /// Every case, in the suite's order.
    pub cases: Vec<CaseReport>,
}

impl SuiteReport {
    pub(super) fn new(onnx: &str, installation: &Installation, cases: Vec<CaseReport>) -> Self {
        let runtime = format!("{} {}", installation.id.library, installation.version);
        Self { schema: SCHEMA, onnx: onnx.to_owned(), runtime, cases }
    }

    /// Cases with an outcome that `is`.
    pub fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.cases.iter().filter(|case| is(&case.outcome)).count()
    }

    /// Whether a case failed.
    pub fn has_failures(&self) -> bool {
        self.cases.iter().any(|case| matches!(case.outcome, Outcome::Failed { .. }))
    }

    /// Whether the answers of a case were looked at.
    pub fn judged_any(&self) -> bool {
        self.cases.iter().any(|case| matches!(case.outcome, Outcome::Passed | Outcome::Failed { .. }))
    }

    /// Whether a case was not begun.
    pub fn is_cut_short(&self) -> bool {
        self.cases.iter().any(|case| case.outcome == Outcome::Unreached)
    }

    /// The report as a table: what failed and why, what no gate takes by reason, and the counts last.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let failed: Vec<&CaseReport> =
            self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed { .. })).collect();
        for case in failed.iter().take(LISTED) {
            if let Outcome::Failed { stage, reason } = &case.outcome {
                let _ = writeln!(text, "✗ {:50} {stage:8} {}", case.name, crate::report::text::one_line(reason));
            }
        }
        if failed.len() > LISTED {
            let _ = writeln!(text, "  and {} more; `--json` lists all", failed.len() - LISTED);
        }
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for case in &self.cases {
            if let Outcome::Unsupported { reason } = &case.outcome {
                *reasons.entry(reason).or_default() += 1;
            }
        }
        let mut reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
        reasons.sort_by_key(|&(reason, count)| (std::cmp::Reverse(count), reason));
        for (reason, count) in reasons {
            let _ = writeln!(text, "– {count:5} not taken: {}", crate::report::text::one_line(reason));
        }
        let built = match self.count(|outcome| *outcome == Outcome::Built) {
            0 => String::new(),
            built => format!("{built} built and not run, "),
        };
        let unreached = match self.count(|outcome| *outcome == Outcome::Unreached) {
            0 => String::new(),
            unreached => format!(", {unreached} not begun within the time"),
        };
        let _ = writeln!(
            text,
            "{} cases of ONNX {} on {}: {} passed, {} failed, {built}{} not taken{unreached}",
            self.cases.len(),
            self.onnx,
            self.runtime,
            self.count(|outcome| *outcome == Outcome::Passed),
            failed.len(),
            self.count(|outcome| matches!(outcome, Outcome::Unsupported { .. })),
        );
        text
    }

    /// A Markdown table of operators: of the cases that have one as their only operator, how many passed or were built, and how many
    /// there are, with the first reason of those that failed.
    pub fn operators(&self) -> String {
        let mut rows: BTreeMap<&str, (usize, usize, Option<String>)> = BTreeMap::new();
        for case in &self.cases {
            let [operator] = case.operators.as_slice() else { continue };
            let row = rows.entry(operator).or_default();
            row.1 += 1;
            match &case.outcome {
                Outcome::Passed | Outcome::Built => row.0 += 1,
                Outcome::Unreached => {}
                Outcome::Failed { reason, .. } | Outcome::Unsupported { reason } => {
                    row.2.get_or_insert_with(|| crate::report::text::one_line(reason));
                }
            }
        }
        let mut text = String::from("| operator | cases | taken | first reason of the others |\n|---|---|---|---|\n");
        for (operator, (taken, all, reason)) in rows {
            let reason = reason.unwrap_or_default().replace('|', "\\|");
            let reason: String = reason.chars().take(160).collect();
            let _ = writeln!(text, "| {operator} | {all} | {taken} | {reason} |");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, operators: &[&str], outcome: Outcome) -> CaseReport {
        let operators = operators.iter().map(|&operator| operator.to_owned()).collect();
        CaseReport { name: name.to_owned(), kind: "node".to_owned(), operators, opset: Some(21), outcome }
    }

    fn report() -> SuiteReport {
        let failed = |reason: &str| Outcome::Failed { stage: "compare".to_owned(), reason: reason.to_owned() };
        let refused = |reason: &str| Outcome::Unsupported { reason: reason.to_owned() };
        let installation = Installation::plain(
            crate::vocabulary::RuntimeId::unversioned(crate::vocabulary::Library::Onnxruntime),
            "1.32.0",
            "x",
        );
        let cases = vec![
            case("test_abs", &["Abs"], Outcome::Passed),
            case("test_abs_2", &["Abs"], failed("output `y`: 1 of 2 values\nare | off")),
            case("test_seq", &[], refused("an input holds texts")),
            case("test_seq_2", &[], refused("an input holds texts")),
            case("test_two", &["Add", "Mul"], Outcome::Built),
        ];
        SuiteReport::new("1.23.2", &installation, cases)
    }

    #[test]
    fn the_table_says_what_failed_and_what_was_not_taken() {
        let text = report().table();
        assert!(text.contains("✗ test_abs_2"), "{text}");
        assert!(text.contains("compare  output `y`: 1 of 2 values are | off\n"), "{text}");
        assert!(text.contains("–     2 not taken: an input holds texts\n"), "{text}");
        assert!(
            text.ends_with(
                "5 cases of ONNX 1.23.2 on onnxruntime 1.32.0: 1 passed, 1 failed, 1 built and not run, 2 not taken\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn operators_are_counted_by_the_cases_that_have_no_other() {
        let text = report().operators();
        assert!(text.contains("| Abs | 2 | 1 | output `y`: 1 of 2 values are \\| off |\n"), "{text}");
        assert!(!text.contains("Mul"), "{text}");
    }

    #[test]
    fn what_was_not_begun_is_counted() {
        let mut report = report();
        assert!(!report.is_cut_short());
        report.cases.push(CaseReport::unreached("test_late", "node"));
        assert!(report.is_cut_short());
        assert!(report.table().ends_with("2 not taken, 1 not begun within the time\n"), "{}", report.table());
    }

    #[test]
    fn what_was_only_built_is_not_judged() {
        let mut report = report();
        assert!(report.judged_any() && report.has_failures());
        report.cases.retain(|case| matches!(case.outcome, Outcome::Built | Outcome::Unsupported { .. }));
        assert!(!report.judged_any() && !report.has_failures());
    }
}
