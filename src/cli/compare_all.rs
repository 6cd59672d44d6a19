//! `trtgate compare --all`: every runtime and precision that runs here, side by side.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::check::metrics::SQNR_EQUAL_DB;
use crate::cli::report::verdict_code;
use crate::cli::selection::{WorkspaceArguments, seconds, word};
use crate::cli::{Global, output};
use crate::error::{Error, Result};
use crate::findings::leads::{rough, rough_points};
use crate::findings::{Accuracy, Agreement, CellReport, ErrorMetrics, FreshAgreement, LeadFigures, Report};
use crate::gate::timing::{Streams, TimingOptions};
use crate::gate::{self, RunOptions, Workspace};
use crate::plan::Filter;
use crate::timing::contract::TimingMode;
use crate::vocabulary::{CellId, Precision, RuntimeId, Status, Verdict};

/// The schema of `--json`.
const SCHEMA: &str = "trtgate.compare-all/v1";

/// Arguments of `trtgate compare --all`.
#[derive(Debug, Args)]
pub struct AllArguments {
    /// Compare every runtime and precision that runs here, at the largest batch, instead of two files
    #[arg(long, conflicts_with_all = ["reference", "actual"])]
    pub all: bool,
    /// With `--all`: only these precisions
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "all", conflicts_with = "reference", value_parser = word::<Precision>)]
    precisions: Vec<Precision>,
    /// With `--all`: real labelled data, for accuracy (a file or folder of CIFAR-10 records)
    #[arg(long, value_name = "PATH", env = "CIFAR10_DIR")]
    data: Option<PathBuf>,
    /// With `--all`: measure no throughput
    #[arg(long, requires = "all", conflicts_with = "reference")]
    no_timing: bool,
    /// With `--all`: timed seconds of a cell
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    duration: f64,
    #[command(flatten)]
    workspace: WorkspaceArguments,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &AllArguments, json: Option<&Path>) -> Result<u8> {
    let mut options = arguments.workspace.options(global)?;
    options.several = true;
    let workspace = Workspace::open(&options)?;
    let largest = workspace.manifest.batches.last().copied();
    let timing = TimingOptions {
        mode: TimingMode::Throughput,
        streams: Streams::Count(1),
        spin: false,
        duration_milliseconds: (arguments.duration * 1000.0) as u64,
        repetitions: Some(1),
    };
    let options = RunOptions {
        filter: Filter {
            precisions: arguments.precisions.clone(),
            batches: largest.into_iter().collect(),
            ..Filter::default()
        },
        timing: (!arguments.no_timing).then_some(timing),
        data: arguments.data.clone(),
        replay: arguments.workspace.replay(global, arguments.data.as_deref()),
        command: output::command_line(),
        ..RunOptions::default()
    };
    let comparison = Comparison::of(&gate::run(&workspace, &options)?);
    if comparison.rows.is_empty() {
        return Err(Error::missing("no runtime of the manifest runs here").hint("`trtgate doctor` says why"));
    }
    let text = output::or_json(&comparison, json, "the comparison", comparison.table())?;
    output::data(text.trim_end())?;
    Ok(verdict_code(comparison.verdict))
}

/// Every runtime and precision side by side: the content of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// The model's name.
    pub model: String,
    /// The verdict of a gate over these cells.
    pub verdict: Verdict,
    /// What ran, in the order of the chain.
    pub rows: Vec<Row>,
    /// What cannot run here, with the reason.
    pub absent: Vec<Absent>,
}

/// One runtime in one precision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The cell.
    pub cell: CellId,
    /// Full version of the runtime.
    pub version: Option<String>,
    /// How the cell ended.
    pub status: Status,
    /// Why it is not `pass`.
    pub reason: Option<String>,
    /// Right answers on labelled data.
    pub accuracy: Option<Accuracy>,
    /// What the cell costs on ordinary inputs.
    pub leads: Option<LeadFigures>,
    /// Answers to ordinary samples compared with the reference's.
    pub fresh: Option<FreshAgreement>,
    /// Answers to the probes compared with the reference's.
    pub agreement: Option<Agreement>,
    /// Distance of the outputs from the reference's.
    pub error: Option<ErrorMetrics>,
    /// Samples per second at the typical time of a batch.
    pub samples_per_second: Option<f64>,
    /// The same over that of the runtime's own FP32.
    pub speed_to_fp32: Option<f64>,
    /// Size of the artifact that is run, bytes.
    pub bytes: Option<u64>,
    /// The same over that of the runtime's own FP32.
    pub size_to_fp32: Option<f64>,
}

/// A runtime in one precision that cannot run here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// The runtime.
    pub runtime: RuntimeId,
    /// The precision.
    pub precision: Precision,
    /// `unsupported` or `unavailable`.
    pub status: Status,
    /// Why.
    pub reason: Option<String>,
}

impl Comparison {
    fn of(report: &Report) -> Self {
        let absent = |cell: &&CellReport| matches!(cell.status, Status::Unsupported | Status::Unavailable);
        Self {
            schema: SCHEMA.to_owned(),
            model: report.model.name.clone(),
            verdict: report.verdict,
            rows: report.cells.iter().filter(|cell| !absent(cell)).map(|cell| row(cell, &report.cells)).collect(),
            absent: report
                .cells
                .iter()
                .filter(absent)
                .map(|cell| Absent {
                    runtime: cell.runtime.clone(),
                    precision: cell.precision,
                    status: cell.status,
                    reason: cell.reason.clone(),
                })
                .collect(),
        }
    }

    fn table(&self) -> String {
        let heads = [
            "runtime",
            "precision",
            "status",
            "accuracy",
            "points lost",
            "leads off",
            "ordinary",
            "SQNR dB",
            "samples/s",
            "speed ×",
            "MiB",
            "size ×",
        ];
        let mut lines = vec![heads.map(str::to_owned).to_vec()];
        lines.extend(self.rows.iter().map(cells));
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| lines.iter().map(|line| line.get(column).map_or(0, |cell| cell.width())).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in &lines {
            let mut out = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                // Names stand left, figures right.
                let (before, after) = if column < 3 { ("", padding.as_str()) } else { (padding.as_str(), "") };
                let _ = write!(out, "{before}{cell}{after}  ");
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        if let Some(batch) = self.rows.first().map(|row| row.cell.batch) {
            let _ = writeln!(text, "\n`{}` at batch {batch}; × over the same runtime's own FP32", self.model);
            let _ = writeln!(
                text,
                "points of accuracy lost on ordinary inputs, estimated; leads off in typical ones; ordinary samples answered alike"
            );
        }
        for row in &self.rows {
            if let Some(reason) = &row.reason {
                let _ = writeln!(text, "{} {}: {reason}", row.cell.runtime, row.cell.precision);
            }
        }
        let mut last: Option<&Absent> = None;
        for absent in &self.absent {
            // One line for all precisions of a runtime that is not here at all.
            if !last.is_some_and(|last| last.runtime == absent.runtime && last.reason == absent.reason) {
                let reason = absent.reason.as_deref().unwrap_or("cannot run here");
                let _ = writeln!(text, "{} {}: {reason}", absent.status, absent.runtime);
            }
            last = Some(absent);
        }
        text
    }
}

fn row(cell: &CellReport, cells: &[CellReport]) -> Row {
    let own = cells.iter().find(|other| other.runtime == cell.runtime && other.precision == Precision::Fp32);
    let speed = |cell: &CellReport| cell.timing.as_ref().map(|timing| timing.typical_samples_per_second());
    let size = |cell: &CellReport| cell.artifact.as_ref().map(|artifact| artifact.bytes);
    let ratio = |value: Option<f64>, own: Option<f64>| {
        value.zip(own).and_then(|(value, own)| (own > 0.0).then_some(value / own))
    };
    let float = |bytes: u64| bytes as f64;
    Row {
        cell: cell.id(),
        version: cell.version.clone(),
        status: cell.status,
        reason: cell.reason.clone(),
        accuracy: cell.accuracy.clone(),
        leads: cell.leads.clone(),
        fresh: cell.fresh,
        agreement: cell.agreement.clone(),
        error: cell.error.clone(),
        samples_per_second: speed(cell),
        speed_to_fp32: ratio(speed(cell), own.and_then(speed)),
        bytes: size(cell),
        size_to_fp32: ratio(size(cell).map(float), own.and_then(size).map(float)),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let blank = || "–".to_owned();
    let runtime = row.cell.runtime.with_version(row.version.as_deref());
    let accuracy = row
        .accuracy
        .as_ref()
        .filter(|accuracy| accuracy.samples > 0)
        .map(|accuracy| format!("{:.2} %", 100.0 * accuracy.correct as f64 / accuracy.samples as f64));
    let ratio = |value: Option<f64>| value.map_or_else(blank, |value| format!("{value:.2}"));
    vec![
        runtime,
        row.cell.precision.to_string(),
        row.status.to_string(),
        accuracy.unwrap_or_else(blank),
        row.leads.as_ref().map_or_else(
            blank,
            |leads| {
                if leads.has_loss() { rough_points(leads.loss) } else { "0".to_owned() }
            },
        ),
        row.leads.as_ref().map_or_else(blank, |leads| rough(leads.error)),
        row.fresh.map_or_else(blank, |fresh| format!("{}/{}", fresh.same, fresh.samples)),
        row.error.as_ref().map_or_else(blank, |error| {
            if error.sqnr_db >= SQNR_EQUAL_DB { "equal".to_owned() } else { format!("{:.1}", error.sqnr_db) }
        }),
        row.samples_per_second.map_or_else(blank, |speed| format!("{speed:.0}")),
        ratio(row.speed_to_fp32),
        row.bytes.map_or_else(blank, |bytes| format!("{:.2}", bytes as f64 / f64::from(1 << 20))),
        ratio(row.size_to_fp32),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;
    use rstest::rstest;

    use super::*;
    use crate::cli::Arguments;
    use crate::report::sample;

    #[test]
    fn the_table_has_every_runtime_and_precision_once() {
        let mut report = sample::passing();
        let largest = report.cells.iter().map(|cell| cell.batch).max().unwrap();
        report.cells.retain(|cell| cell.batch == largest);
        let comparison = Comparison::of(&report);
        assert_eq!(comparison.rows.len() + comparison.absent.len(), report.cells.len());
        insta::assert_snapshot!(comparison.table());
    }

    #[test]
    fn ratios_are_to_the_same_runtimes_fp32() {
        let report = sample::passing();
        for row in Comparison::of(&report).rows {
            if row.cell.precision == Precision::Fp32 && row.bytes.is_some() {
                assert_eq!(row.size_to_fp32, Some(1.0));
            }
        }
    }

    #[rstest]
    #[case::files_and_all(&["--all", "a.csv", "b.csv"])]
    #[case::one_file(&["a.csv"])]
    #[case::nothing(&[])]
    #[case::precisions_of_files(&["a.csv", "b.csv", "--precisions", "fp32"])]
    #[case::unknown_precision(&["--all", "--precisions", "fp61"])]
    #[case::no_time(&["--all", "--duration", "0"])]
    fn contradictions_are_usage_errors(#[case] words: &[&str]) {
        let words = ["trtgate", "compare"].into_iter().chain(words.iter().copied());
        assert!(Arguments::try_parse_from(words).is_err());
    }

    #[test]
    fn precisions_may_be_a_list() {
        assert!(Arguments::try_parse_from(["trtgate", "compare", "--all", "--precisions", "fp32,fp16"]).is_ok());
    }
}
