//! `trtgate compare`: two files of outputs, every metric, a verdict.

mod named;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::check::comparison::Terms;
use crate::check::judge::{self, CellJudgement, Evidence, Inputs};
use crate::check::ladder::{Check, Ladder, Row, Unit};
use crate::check::leads::NaturalLeads;
use crate::check::outputs_file::{read, same_samples};
use crate::cli::{EXIT_FAIL, EXIT_INCOMPLETE, EXIT_PASS, Global, compare_all, output};
use crate::data::outputs::Outputs;
use crate::error::{Error, Result};
use crate::figure::figure;
use crate::findings::{Agreement, CheckResult, ErrorMetrics, Histogram, LeadFigures, WorstProbe};
use crate::manifest::OutputKind;
use crate::tensor::Tensor;
use crate::vocabulary::{Library, Precision, Status};

/// The schema of `--json`.
const SCHEMA: &str = "trtgate.compare/v1";

/// Arguments of `trtgate compare`.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// Outputs to compare with: a CSV or npy file that `infer` wrote, or a golden; or outputs by name, an npz archive or what
    /// Polygraphy's `--save-outputs` wrote
    #[arg(value_name = "REFERENCE", required_unless_present = "all")]
    pub reference: Option<PathBuf>,
    /// Outputs that are judged
    #[arg(value_name = "ACTUAL", required_unless_present = "all")]
    pub actual: Option<PathBuf>,
    /// Judge by the tolerance ladder's row of this precision
    #[arg(long, value_name = "PRECISION", default_value = "fp32")]
    pub precision: Precision,
    /// Judge by the tolerance ladder's row of this runtime
    #[arg(long, value_name = "RUNTIME", default_value = "onnxruntime")]
    pub runtime: Library,
    /// Judge by this ladder instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub tolerances: Option<PathBuf>,
    /// Judge by this absolute error in the outputs' own unit, and `--relative` if given, instead of the ladder
    #[arg(long, value_name = "ERROR", value_parser = bound)]
    pub absolute: Option<f64>,
    /// Judge by this error as a share of the reference, and `--absolute` if given, instead of the ladder
    #[arg(long, value_name = "SHARE", value_parser = bound)]
    pub relative: Option<f64>,
    /// Confident flips allowed
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub confident_flips: usize,
    /// Outputs of one sample, where the files have other columns than `infer` writes
    #[arg(long, value_name = "COUNT")]
    pub classes: Option<usize>,
    /// The outputs are probabilities, not logits
    #[arg(long)]
    pub probabilities: bool,
    /// The reference's outputs of ordinary samples, by whose leads an error is measured; without it, the leads of REFERENCE
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    pub natural: Option<PathBuf>,
    /// Write the comparison as JSON; `-` is standard output, in place of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Every runtime instead of two files.
    #[command(flatten)]
    pub all: compare_all::AllArguments,
}

fn bound(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("not a number of at least 0".to_owned()),
    }
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &CompareArguments) -> Result<u8> {
    if arguments.all.all {
        return compare_all::run(global, &arguments.all, arguments.json.as_deref());
    }
    if let (Some(reference), Some(actual)) = (&arguments.reference, &arguments.actual)
        && (named::is_named(reference) || named::is_named(actual))
    {
        let report = named::compare(reference, actual, arguments)?;
        let table = if global.quiet { report.verdict_line() } else { report.table() };
        output::print(&output::or_json(&report, arguments.json.as_deref(), "the comparison", table)?)?;
        return Ok(exit_code(report.status));
    }
    let report = compare_files(arguments)?;
    let table = if global.quiet { report.verdict_line() } else { report.table() };
    output::print(&output::or_json(&report, arguments.json.as_deref(), "the comparison", table)?)?;
    Ok(exit_code(report.status))
}

const fn exit_code(status: Status) -> u8 {
    match status {
        Status::Pass => EXIT_PASS,
        Status::Fail => EXIT_FAIL,
        Status::Invalid | Status::Unsupported | Status::Unavailable => EXIT_INCOMPLETE,
    }
}

/// Two files compared: the content of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparisonReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// File of the reference.
    pub reference: String,
    /// File that was judged.
    pub actual: String,
    /// Samples compared.
    pub samples: usize,
    /// Outputs of one sample.
    pub classes: usize,
    /// What they were judged by.
    pub judged_by: String,
    /// `pass`, `fail` or `invalid`.
    pub status: Status,
    /// Why it is not `pass`.
    pub reason: Option<String>,
    /// The next step.
    pub hint: Option<String>,
    /// What the difference costs on ordinary inputs.
    pub leads: Option<LeadFigures>,
    /// Answers compared.
    pub agreement: Option<Agreement>,
    /// Distance of the outputs.
    pub error: Option<ErrorMetrics>,
    /// What does not fail and should be looked at.
    pub warnings: Vec<String>,
    /// What a reader should know about the figures.
    pub notes: Vec<String>,
    /// Every check made.
    pub checks: Vec<CheckResult>,
    /// Distribution of the error.
    pub histogram: Option<Histogram>,
    /// The worst samples.
    pub worst: Vec<WorstProbe>,
}

/// Reads and compares the two files. Errors: input ones for files that are malformed or hold other samples than each other.
pub fn compare_files(arguments: &CompareArguments) -> Result<ComparisonReport> {
    let (Some(reference_file), Some(actual_file)) = (&arguments.reference, &arguments.actual) else {
        return Err(Error::usage("name two files of outputs, or `--all`"));
    };
    let reference = read(reference_file, arguments.classes)?;
    let actual = read(actual_file, arguments.classes)?;
    same_samples((reference_file, &reference.outputs), (actual_file, &actual.outputs))?;
    let stated = if arguments.probabilities { Some(OutputKind::Probabilities) } else { reference.kind };
    let kind = stated.or(actual.kind).unwrap_or(OutputKind::Logits);
    let (row, judged_by) = row_of(arguments, kind)?;
    let (samples, classes) = (reference.outputs.len(), reference.outputs.classes);
    let natural = match &arguments.natural {
        None => NaturalLeads::of(&reference.outputs.values, classes, kind)?,
        Some(path) => {
            let outputs = read(path, arguments.classes)?.outputs;
            if outputs.classes != classes {
                let (one, other) = (path.display(), reference_file.display());
                return Err(Error::input(format!(
                    "`{one}` holds {} outputs a sample, `{other}` {classes}",
                    outputs.classes
                )));
            }
            NaturalLeads::of(&outputs.values, classes, kind)?
        }
    };
    let judgement = judge::judge(&Inputs {
        reference: &tensor(reference.outputs)?,
        actual: &tensor(actual.outputs)?,
        samples,
        terms: Terms { kind, row: &row, natural: &natural, confident_allowed: arguments.confident_flips, batch: None },
        evidence: Evidence::default(),
    });
    let CellJudgement {
        status, reason, hint, leads, agreement, error, checks, warnings, notes, histogram, worst, ..
    } = judgement;
    Ok(ComparisonReport {
        schema: SCHEMA.to_owned(),
        reference: reference_file.display().to_string(),
        actual: actual_file.display().to_string(),
        samples,
        classes,
        judged_by,
        status,
        reason,
        hint,
        leads,
        agreement,
        error,
        warnings,
        notes,
        checks: checks.into_iter().filter(|check| check.status != Status::Unavailable).collect(),
        histogram,
        worst,
    })
}

/// The bounds, and their name for the reader: given on the command line, or the ladder's row.
fn row_of(arguments: &CompareArguments, kind: OutputKind) -> Result<(Row, String)> {
    let ladder = match &arguments.tolerances {
        Some(path) => Ladder::read(path)?,
        None => Ladder::built_in()?,
    };
    let row = ladder.row(arguments.runtime, arguments.precision)?.clone();
    if arguments.absolute.is_none() && arguments.relative.is_none() {
        let name = format!("the tolerance ladder's row of {} in {}", arguments.runtime, arguments.precision);
        return Ok((row, name));
    }
    let (absolute, relative) = (arguments.absolute.unwrap_or(0.0), arguments.relative.unwrap_or(0.0));
    let gates = vec![Check::Tolerance, Check::Agreement];
    // Margins are in logits whatever the outputs are.
    let near_tie = 2.0 * in_logits(kind, absolute);
    let source = "given on the command line".to_owned();
    let row = Row { unit: Unit::Output, absolute, relative, near_tie, gates, source, ..row };
    Ok((row, format!("absolute {absolute} or relative {relative}, and answers")))
}

/// The error of a logit that may move a probability by `bound`; no error moves one by 1.
fn in_logits(kind: OutputKind, bound: f64) -> f64 {
    match kind {
        OutputKind::Logits => bound,
        OutputKind::Probabilities if bound < 1.0 => 2.0 * bound.atanh(),
        OutputKind::Probabilities => f64::MAX / 4.0,
    }
}

fn tensor(outputs: Outputs) -> Result<Tensor> {
    Tensor::float32("outputs", vec![outputs.len(), outputs.classes], outputs.values)
}

impl ComparisonReport {
    fn verdict_line(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}: {reason}\n", self.status),
            None => format!("{}\n", self.status),
        }
    }

    /// Every metric, every check, the worst samples and the verdict, as text.
    fn table(&self) -> String {
        let mut lines = vec![
            format!("reference  {}", self.reference),
            format!("actual     {}", self.actual),
            format!("outputs    {} samples × {} classes", self.samples, self.classes),
            format!("judged by  {}", self.judged_by),
            String::new(),
        ];
        if let Some(leads) = &self.leads {
            lines.push(leads.sentence());
            lines.push(format!(
                "a typical lead is {} nats, the median of {} samples",
                figure(leads.typical),
                leads.natural_samples
            ));
            lines.push(String::new());
        }
        if let (Some(error), Some(agreement)) = (&self.error, &self.agreement) {
            lines.extend(metric_lines(error, agreement, self.samples * self.classes));
            lines.push(String::new());
        }
        for check in &self.checks {
            let role = if check.gating { "gates" } else { "shown" };
            lines.push(format!("{:<8} {:<10} {role}  {}", check.status, check.name, check.detail));
        }
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        if !self.worst.is_empty() {
            lines.push(String::new());
            lines.push(
                "worst samples: largest error, three best classes of the reference, then of the actual".to_owned(),
            );
            lines.extend(self.worst.iter().map(|probe| {
                let (reference, actual) = (best(&probe.reference_top3), best(&probe.actual_top3));
                format!("  {:>6}  {:>10.3e}  {reference}  |  {actual}", probe.probe, probe.max_abs)
            }));
        }
        lines.push(String::new());
        let hint = self.hint.as_ref().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
        format!("{}\n{}{hint}", lines.join("\n"), self.verdict_line())
    }
}

fn metric_lines(error: &ErrorMetrics, agreement: &Agreement, elements: usize) -> [String; 9] {
    let line = |name: &str, value: String| format!("{name:<24} {value}");
    [
        line("largest absolute error", format!("{:.3e}", error.max_abs)),
        line("mean absolute error", format!("{:.3e}", error.mean_abs)),
        line("99th percentile", format!("{:.3e}", error.p99_abs)),
        line("outside tolerance", format!("{} of {elements}", error.outside)),
        line("worst cosine", format!("{:.9}", error.cosine_min)),
        line("signal to noise", format!("{:.2} dB", error.sqnr_db).replace("999.00 dB", "no noise")),
        line("answers that agree", format!("{} of {}", agreement.top1_matches, agreement.samples)),
        line("near-tie flips", agreement.near_tie_flips.to_string()),
        line("confident flips", format!("{}, {} allowed", agreement.confident_flips, agreement.confident_allowed)),
    ]
}

fn best(classes: &[(usize, f32)]) -> String {
    let named = classes.iter().map(|(class, value)| format!("{class}: {value:.4}"));
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Arguments, Command};

    /// Two files of three samples and two classes, and what comparing them with `options` gives.
    fn compared(actual: &str, options: &[&str]) -> Result<ComparisonReport> {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
        std::fs::write(&one, "index,label,top1,logits_0,logits_1\n0,1,1,1.0,2.0\n1,0,0,4.0,-1.5\n2,0,1,0.5,0.75\n")
            .unwrap();
        std::fs::write(&other, actual).unwrap();
        let files = [one.to_str().unwrap(), other.to_str().unwrap()];
        let words = ["trtgate", "compare"].into_iter().chain(files).chain(options.iter().copied());
        let Command::Compare(arguments) = Arguments::try_parse_from(words).unwrap().command else { unreachable!() };
        let nameless = |text: &str| text.replace(&format!("{}/", folder.path().display()), "");
        compare_files(&arguments)
            .map(|report| ComparisonReport {
                reference: nameless(&report.reference),
                actual: nameless(&report.actual),
                ..report
            })
            .map_err(|error| Error { message: nameless(&error.message), ..error })
    }

    const SAME: &str = "0,1,1,1.0,2.0\n1,0,0,4.0,-1.5\n2,0,1,0.5,0.75\n";
    const FLIPPED: &str = "0,1,1,1.0,2.0\n1,0,0,4.0,-1.5\n2,0,0,0.75,0.5\n";

    #[test]
    fn equal_files_pass() {
        insta::assert_snapshot!(compared(SAME, &[]).unwrap().table());
    }

    #[test]
    fn a_flip_is_a_failure_by_the_ladder_of_fp32() {
        insta::assert_snapshot!(compared(FLIPPED, &[]).unwrap().table());
    }

    #[test]
    fn bounds_of_the_command_line_replace_the_ladder() {
        let report = compared(FLIPPED, &["--absolute", "0.3"]).unwrap();
        assert_eq!(report.status, Status::Pass);
        assert_eq!(report.agreement.unwrap().near_tie_flips, 1);
        assert_eq!(compared(FLIPPED, &["--relative", "0.6"]).unwrap().status, Status::Fail);
        assert_eq!(compared(FLIPPED, &["--absolute", "0.1"]).unwrap().status, Status::Fail);
        assert_eq!(compared(FLIPPED, &["--precision", "int8"]).unwrap().status, Status::Pass);
    }

    #[test]
    fn logits_are_not_compared_as_probabilities() {
        let error = compared(SAME, &["--probabilities"]).unwrap_err();
        assert_eq!(error.message, "the reference's outputs are not probabilities: sample 0 holds 2");
    }

    #[test]
    fn errors_are_measured_by_the_leads_of_natural_samples() {
        let folder = tempfile::tempdir().unwrap();
        let natural = folder.path().join("natural.csv");
        std::fs::write(&natural, "0,0,0,8.0,-1.0\n1,0,0,9.0,1.0\n2,0,0,7.0,0.0\n3,0,0,8.0,0.5\n").unwrap();
        let report = compared(FLIPPED, &["--natural", natural.to_str().unwrap()]).unwrap();
        let leads = report.leads.unwrap();
        assert_eq!((leads.natural_samples, leads.typical, leads.changed), (4, 7.75, 0.0));
        let other = folder.path().join("other.csv");
        std::fs::write(&other, "0,0,0,8.0,-1.0,3.0\n").unwrap();
        assert!(compared(FLIPPED, &["--natural", other.to_str().unwrap()]).is_err());
    }

    #[test]
    fn files_of_other_samples_are_input_errors() {
        let short = SAME.rsplit_once("2,0").unwrap().0;
        let messages =
            [short, "0,0,1,1,2\n1,0,1,1,2\n2,0,1,1,2\n", "0,1,0,1\n", "0,1,1,1.0,nan\n", "5,2,7\n"].map(|text| {
                let error = compared(text, &[]).unwrap_err();
                assert_eq!(error.kind, crate::ErrorKind::Input);
                error.message
            });
        insta::assert_snapshot!(messages.join("\n"), @r"
        `a.csv` holds 3 samples, `b.csv` 2
        sample 0 is labelled differently in `a.csv` and `b.csv`
        `a.csv` holds 2 outputs a sample, `b.csv` 1
        `b.csv`, line 1: value 5 `nan` is not finite
        `b.csv`, line 1: 0 outputs, expected at least 1
        ");
    }

    #[test]
    fn the_json_has_no_null_figure() {
        let report = compared(FLIPPED, &[]).unwrap();
        let value = serde_json::to_value(&report).unwrap();
        assert_eq!(value["schema"], SCHEMA);
        assert_eq!(value["status"], "fail");
        for figure in ["max_abs", "mean_abs", "p99_abs", "cosine_min", "sqnr_db"] {
            assert!(value["error"][figure].is_number(), "{figure}");
        }
    }

    #[test]
    fn a_bound_must_be_a_number() {
        for text in ["nan", "-1", "inf", "x"] {
            assert!(bound(text).is_err());
        }
    }
}
