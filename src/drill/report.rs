//! What the drill found: a line a fault and precision, the smallest weight change, and the exit code.

use std::fmt::Write as _;

use serde::Serialize;

use crate::findings::CellReport;
use crate::vocabulary::{Precision, Status};

/// The schema's name, first key of the JSON form. Keys may be added, never renamed.
pub const SCHEMA: &str = "trtgate.drill/v1";

/// What became of a planted fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The cell did not pass.
    Caught {
        /// The check that decided, or the stage where the cell stopped.
        by: String,
        /// The reason that the report gives.
        reason: String,
    },
    /// The cell passed.
    Passed,
    /// The cell did not run: nobody looked, which is no catch.
    NotRun {
        /// Why.
        reason: String,
    },
    /// The model has no place for it.
    NotPlanted {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// What the report of the cell says; a cell that is not in the report did not run.
    pub(super) fn of(cell: Option<&CellReport>) -> Self {
        let Some(cell) = cell else { return Self::NotRun { reason: "the cell is not in the report".to_owned() } };
        let reason = cell.reason.clone().unwrap_or_default();
        match cell.status {
            Status::Pass => Self::Passed,
            Status::Unavailable | Status::Unsupported => Self::NotRun { reason },
            Status::Fail | Status::Invalid => {
                let deciding = |check: &&crate::findings::CheckResult| {
                    check.gating && matches!(check.status, Status::Fail | Status::Invalid)
                };
                let by: Vec<&str> = cell.checks.iter().filter(deciding).map(|check| check.name.as_str()).collect();
                let by = if by.is_empty() { format!("stage {}", cell.stage) } else { by.join(", ") };
                Self::Caught { by, reason }
            }
        }
    }

    /// Whether the gate noticed.
    pub const fn is_caught(&self) -> bool {
        matches!(self, Self::Caught { .. })
    }
}

/// One fault in one precision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Catch {
    /// Name of the fault.
    pub fault: String,
    /// What goes wrong.
    pub what: String,
    /// Precision of the cell that had to notice.
    pub precision: Precision,
    /// Where it was planted; empty where it was not.
    pub place: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The smallest change of one weight tensor that the cells of a precision notice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scan {
    /// The precision.
    pub precision: Precision,
    /// The tensor.
    pub place: String,
    /// Smallest change that was caught, 0.01 is 1 %; none where the largest one passed.
    pub caught: Option<f64>,
    /// Largest change that passed; none where the smallest one was caught.
    pub passed: Option<f64>,
}

/// A whole drill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drill {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Name of the model.
    pub model: String,
    /// Batch size of every run.
    pub batch: u32,
    /// Why the clean model does not pass; nothing is planted then.
    pub not_clean: Vec<String>,
    /// Every fault that was asked for, in every precision that has to notice.
    pub catches: Vec<Catch>,
    /// The smallest weight changes.
    pub scans: Vec<Scan>,
}

/// The verdict of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillVerdict {
    /// Every fault that was planted was caught, and at least one was planted.
    AllCaught,
    /// A fault passed.
    OnePassed,
    /// The clean model does not pass, a cell did not run, or nothing could be planted.
    Incomplete,
}

impl Drill {
    /// A drill in which nothing was planted yet.
    pub(super) fn new(model: &str, batch: u32) -> Self {
        Self {
            schema: SCHEMA,
            model: model.to_owned(),
            batch,
            not_clean: Vec::new(),
            catches: Vec::new(),
            scans: Vec::new(),
        }
    }

    /// The verdict. A fault that passed weighs more than one that nobody looked at.
    pub fn verdict(&self) -> DrillVerdict {
        let any = |wanted: fn(&Outcome) -> bool| self.catches.iter().any(|catch| wanted(&catch.outcome));
        if any(|outcome| *outcome == Outcome::Passed) {
            DrillVerdict::OnePassed
        } else if self.not_clean.is_empty()
            && any(Outcome::is_caught)
            && !any(|outcome| matches!(outcome, Outcome::NotRun { .. }))
        {
            DrillVerdict::AllCaught
        } else {
            DrillVerdict::Incomplete
        }
    }

    /// The table of the terminal; with `quiet` only what was not caught, and the verdict.
    pub fn table(&self, quiet: bool) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for reason in &self.not_clean {
            let _ = writeln!(text, "  ✗ without any fault, {reason}");
        }
        let mut last = "";
        for catch in self.catches.iter().filter(|catch| !quiet || !catch.outcome.is_caught()) {
            if last != catch.fault {
                let _ = writeln!(text, "{}: {}", catch.fault, catch.what);
                last = &catch.fault;
            }
            let precision = catch.precision.as_str();
            let place = if catch.place.is_empty() { String::new() } else { format!("  in {}", catch.place) };
            let _ = match &catch.outcome {
                Outcome::Caught { by, reason } => {
                    writeln!(text, "  ✓ {precision:<5} caught by {by}{place}\n      {}", shortened(reason))
                }
                Outcome::Passed => writeln!(text, "  ✗ {precision:<5} PASSED{place}"),
                Outcome::NotRun { reason } => writeln!(text, "  ? {precision:<5} not run: {}", shortened(reason)),
                Outcome::NotPlanted { reason } => writeln!(text, "  – {precision:<5} not planted: {reason}"),
            };
        }
        if !self.scans.is_empty() && !quiet {
            let _ = writeln!(text, "smallest change of one weight tensor that is seen (every other number of it)");
            for scan in &self.scans {
                let _ = writeln!(text, "  {:<7} {}", scan.precision.as_str(), scan.in_words());
            }
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    fn summary(&self) -> String {
        let count = |wanted: fn(&Outcome) -> bool| self.catches.iter().filter(|catch| wanted(&catch.outcome)).count();
        let planted = count(|outcome| !matches!(outcome, Outcome::NotPlanted { .. }));
        let caught = count(Outcome::is_caught);
        let verdict = match self.verdict() {
            DrillVerdict::AllCaught => "PASS",
            DrillVerdict::OnePassed => "FAIL",
            DrillVerdict::Incomplete => "INCOMPLETE",
        };
        let model = &self.model;
        if self.not_clean.is_empty() {
            format!("{verdict}  {caught} of {planted} planted faults caught in `{model}` at batch {}", self.batch)
        } else {
            format!("{verdict}  `{model}` does not pass without a fault; nothing was planted")
        }
    }
}

impl Scan {
    fn in_words(&self) -> String {
        let percent = |amount: f64| format!("{} %", (amount * 1e4).round() / 100.0);
        let place = if self.place.is_empty() { String::new() } else { format!("  in {}", self.place) };
        match (self.caught, self.passed) {
            (Some(caught), Some(passed)) => format!("{}; {} passes{place}", percent(caught), percent(passed)),
            (Some(caught), None) => format!("{}, the smallest tried{place}", percent(caught)),
            (None, Some(passed)) => format!("none: {} passes{place}", percent(passed)),
            (None, None) => "not planted: the graph stores no weights".to_owned(),
        }
    }
}

/// The first line of `reason`, at most 160 characters.
fn shortened(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(line)),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(outcomes: Vec<Outcome>) -> Drill {
        let catch = |outcome| Catch {
            fault: "classes".to_owned(),
            what: "two classes change places".to_owned(),
            precision: Precision::Fp32,
            place: "output `y`".to_owned(),
            outcome,
        };
        Drill { catches: outcomes.into_iter().map(catch).collect(), ..Drill::new("m", 8) }
    }

    fn caught() -> Outcome {
        Outcome::Caught { by: "leads".to_owned(), reason: "the outputs of classes 3 and 8 are swapped".to_owned() }
    }

    #[test]
    fn a_fault_that_passes_fails_the_drill_whatever_else_was_caught() {
        assert_eq!(drill(vec![caught(), caught()]).verdict(), DrillVerdict::AllCaught);
        assert_eq!(drill(vec![caught(), Outcome::Passed]).verdict(), DrillVerdict::OnePassed);
        let unseen = Outcome::NotRun { reason: "no ONNX Runtime".to_owned() };
        assert_eq!(drill(vec![caught(), unseen.clone()]).verdict(), DrillVerdict::Incomplete);
        assert_eq!(drill(vec![Outcome::Passed, unseen]).verdict(), DrillVerdict::OnePassed);
    }

    #[test]
    fn a_drill_that_planted_nothing_is_no_success() {
        assert_eq!(drill(Vec::new()).verdict(), DrillVerdict::Incomplete);
        assert_eq!(
            drill(vec![Outcome::NotPlanted { reason: "no bias".to_owned() }]).verdict(),
            DrillVerdict::Incomplete
        );
        let unclean = Drill { not_clean: vec!["fp32 is `fail`".to_owned()], ..drill(vec![caught()]) };
        assert_eq!(unclean.verdict(), DrillVerdict::Incomplete);
    }

    #[test]
    fn a_cell_that_did_not_run_is_no_catch() {
        let id = "onnxruntime/fp32/batch-8".parse().ok();
        let cell = |status| id.as_ref().map(|id| CellReport { status, ..CellReport::new(id, "") });
        assert!(Outcome::of(cell(Status::Fail).as_ref()).is_caught());
        assert!(Outcome::of(cell(Status::Invalid).as_ref()).is_caught());
        assert_eq!(Outcome::of(cell(Status::Pass).as_ref()), Outcome::Passed);
        for status in [Status::Unavailable, Status::Unsupported] {
            assert!(matches!(Outcome::of(cell(status).as_ref()), Outcome::NotRun { .. }));
        }
        assert!(matches!(Outcome::of(None), Outcome::NotRun { .. }));
    }

    #[test]
    fn the_table_says_what_was_caught_by_what() {
        let mut drill = drill(vec![caught(), Outcome::Passed, Outcome::NotPlanted { reason: "no bias".to_owned() }]);
        drill.scans.push(Scan {
            precision: Precision::Int8,
            place: "`w` (Conv)".to_owned(),
            caught: Some(0.1),
            passed: Some(0.03),
        });
        insta::assert_snapshot!(drill.table(false));
    }
}
