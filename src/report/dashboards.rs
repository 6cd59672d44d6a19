//! Forms for dashboards that teams already run: Bencher and github-action-benchmark.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::findings::{CellReport, Report};
use crate::vocabulary::Status;

/// Whether a larger value of a measure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Throughput, agreement, signal to noise.
    Bigger,
    /// Latency, error, size.
    Smaller,
}

/// One measure of a cell.
struct Measure {
    /// The name; `latency`, `throughput` and `file-size` are those that Bencher knows.
    name: &'static str,
    unit: &'static str,
    better: Better,
    value: f64,
    /// Spread of the value, in its unit; 0 where it has none.
    spread: f64,
    extra: String,
}

/// Bencher Metric Format: benchmark → measure → value, with bounds where the value was measured over time.
///
/// Latency is in nanoseconds and throughput in samples per second, the units of Bencher's own measures. Cells that did
/// not pass or fail have no entry, and neither has a figure that is not finite.
///
/// # Errors
/// `Failed` when the report has no JSON form.
pub fn bencher(report: &Report) -> Result<String> {
    #[derive(Serialize)]
    struct Metric {
        value: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        lower_value: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        upper_value: Option<f64>,
    }
    let mut benchmarks: BTreeMap<String, BTreeMap<&str, Metric>> = BTreeMap::new();
    for (cell, measure) in measures(report) {
        let bound = |value: f64| (measure.spread > 0.0).then_some(value);
        let metric = Metric {
            value: measure.value,
            lower_value: bound(rounded((measure.value - measure.spread).max(0.0))),
            upper_value: bound(rounded(measure.value + measure.spread)),
        };
        benchmarks.entry(name(report, cell)).or_default().insert(measure.name, metric);
    }
    json(&benchmarks)
}

/// github-action-benchmark's list, for its tool `customBiggerIsBetter` or `customSmallerIsBetter`.
///
/// # Errors
/// `Failed` when the report has no JSON form.
pub fn github_action_benchmark(report: &Report, better: Better) -> Result<String> {
    #[derive(Serialize)]
    struct Entry {
        name: String,
        unit: &'static str,
        value: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        range: Option<String>,
        extra: String,
    }
    let entries: Vec<Entry> = measures(report)
        .filter(|(_, measure)| measure.better == better)
        .map(|(cell, measure)| Entry {
            name: format!("{} {}", name(report, cell), measure.name),
            unit: measure.unit,
            value: measure.value,
            range: (measure.spread > 0.0).then(|| format!("± {}", significant(measure.spread))),
            extra: measure.extra,
        })
        .collect();
    json(&entries)
}

/// `model/runtime/precision/batch-n`: the same for every version of an unversioned runtime, so that a series goes on.
fn name(report: &Report, cell: &CellReport) -> String {
    format!("{}/{}", report.model.name, cell.id())
}

fn measures(report: &Report) -> impl Iterator<Item = (&CellReport, Measure)> {
    let ran = report.cells.iter().filter(|cell| matches!(cell.status, Status::Pass | Status::Fail));
    ran.flat_map(|cell| measures_of(cell).into_iter().map(move |measure| (cell, measure)))
        .filter(|(_, measure)| measure.value.is_finite() && measure.spread.is_finite())
}

fn measures_of(cell: &CellReport) -> Vec<Measure> {
    let mut measures = Vec::new();
    let version = cell.version.as_deref().unwrap_or("unknown");
    let extra = format!("version {version}, {}", cell.status);
    if let Some(timing) = &cell.timing {
        let contract = &timing.contract;
        let extra = format!("{extra}, {:?} mode, {} batches", contract.mode, timing.iterations).to_lowercase();
        let rate = timing.samples_per_second;
        measures.push(Measure {
            name: "throughput",
            unit: "samples/s",
            better: Better::Bigger,
            value: rate,
            spread: rounded(rate * timing.variation),
            extra: extra.clone(),
        });
        let nanoseconds = rounded(timing.median_milliseconds * 1e6);
        measures.push(Measure {
            name: "latency",
            unit: "ns",
            better: Better::Smaller,
            value: nanoseconds,
            spread: rounded(nanoseconds * timing.variation),
            extra,
        });
    }
    let mut single = |name, unit, better, value| {
        measures.push(Measure { name, unit, better, value, spread: 0.0, extra: extra.clone() });
    };
    if let Some(artifact) = &cell.artifact {
        single("file-size", "bytes", Better::Smaller, artifact.bytes as f64);
    }
    if let Some(leads) = &cell.leads {
        single("accuracy-lost", "points", Better::Smaller, rounded(leads.loss * 100.0));
        single("leads-error", "typical leads", Better::Smaller, rounded(leads.error));
    }
    if let Some(agreement) = cell.agreement.as_ref().filter(|agreement| agreement.samples > 0) {
        let share = agreement.top1_matches as f64 * 100.0 / agreement.samples as f64;
        single("top1-agreement", "%", Better::Bigger, share);
    }
    if let Some(error) = &cell.error {
        single("max-abs-error", "logits", Better::Smaller, error.max_abs);
        single("sqnr", "dB", Better::Bigger, error.sqnr_db);
    }
    measures
}

/// Nine significant digits: what a sum of measured figures has, without the last bits of the arithmetic.
fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

fn significant(value: f64) -> String {
    // Four digits; the parse back drops the exponent form and trailing zeros.
    format!("{value:.3e}").parse::<f64>().unwrap_or(value).to_string()
}

fn json(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|source| Error::failed("cannot write the benchmark as JSON").because(source))?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;
    use crate::report::sample;

    #[test]
    fn bencher_has_value_and_bounds() {
        let value: Value = serde_json::from_str(&bencher(&sample::passing()).unwrap()).unwrap();
        insta::assert_json_snapshot!(value["cifar10/tensorrt@8.5.3/int8/batch-32"]);
    }

    #[test]
    fn github_action_benchmark_is_split_by_direction() {
        let report = sample::passing();
        let entries = |better| -> Vec<Value> {
            serde_json::from_str(&github_action_benchmark(&report, better).unwrap()).unwrap()
        };
        let (bigger, smaller) = (entries(Better::Bigger), entries(Better::Smaller));
        let ran = report.cells.iter().filter(|cell| cell.status == Status::Pass).count();
        assert_eq!(bigger.len(), ran * 3);
        assert_eq!(smaller.len(), ran * 5);
        insta::assert_json_snapshot!([bigger.last(), smaller.last()]);
    }

    #[test]
    fn a_cell_that_did_not_run_and_a_nan_have_no_entry() {
        let mut report = sample::passing();
        report.cells[0].error.as_mut().unwrap().max_abs = f64::NAN;
        let value: Value = serde_json::from_str(&bencher(&report).unwrap()).unwrap();
        assert!(value["cifar10/tensorflow/fp32/batch-1"].get("max-abs-error").is_none());
        assert!(value.get("cifar10/tensorrt@11.4.0/fp32/batch-1").is_none());
    }
}
