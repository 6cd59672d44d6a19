//! Finished runs to verdicts; reads baselines, measures nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ratio::{pairs, ratio_subject};
use super::{Bench, BenchCell, BenchContext, CellBench, RatioBench, Runs};
use crate::error::{Error, Result};
use crate::findings::{BaselineVerdict, CheckResult, TimingSummary};
use crate::measure::baseline::{ArtifactRecord, Entry, Quantity, Series};
use crate::measure::bless::significant;
use crate::measure::environment::{Environment, device_name, mode_name};
use crate::measure::rule::{self, Decision, Limits, Reference, decide, run_value};
use crate::measure::thresholds::Thresholds;
use crate::timing::statistics::{Settled, median, stable_majority, summary};
use crate::vocabulary::{ArtifactKind, CellId, Library, RuntimeId};

/// The verdict's word while a second run is still owed; never leaves [`super::run`].
pub(super) const CONFIRM: &str = "confirm";

/// The verdict's word where noise keeps the rule from judging.
pub(super) const UNSTABLE: &str = "unstable";

/// One quantity with its series: a cell's samples per second, or a ratio.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) quantity: Quantity,
    pub(super) library: Library,
    pub(super) runtime: RuntimeId,
    pub(super) batch: u32,
    pub(super) environment: Environment,
    pub(super) path: PathBuf,
    pub(super) limits: Limits,
}

impl Subject {
    /// What was accepted of it, or of the nearest version of its runtime.
    ///
    /// # Errors
    ///
    /// As [`Series::read`].
    pub(super) fn series(&self, context: &BenchContext<'_>) -> Result<Option<Series>> {
        context.store.find(&self.path, &self.runtime, &self.name, self.quantity)
    }
}

/// The verdict's word where the baseline cannot be read.
pub(super) const DAMAGED: &str = "damaged";

/// Judges finished runs: `first` of every cell, and `second` of those that the first found too slow. A baseline that cannot be
/// read costs the verdict of its own quantity.
///
/// # Errors
///
/// `Invalid` for a run that is no number.
pub(super) fn judge_all(
    cells: &[BenchCell],
    context: &BenchContext<'_>,
    first: &Runs,
    second: Option<&Runs>,
) -> Result<Bench> {
    let mut benches = Vec::new();
    let mut values: BTreeMap<CellId, (f64, Option<f64>, f64)> = BTreeMap::new();
    for (index, cell) in cells.iter().enumerate() {
        let run = match first.get(index) {
            Some(Ok(run)) => run,
            Some(Err(error)) => {
                benches.push(unjudged(cell, error.clone()));
                continue;
            }
            None => continue,
        };
        let stable = match stable_majority(run) {
            Ok(stable) => stable,
            Err(error) => {
                benches.push(unstable(cell, context, run, error));
                continue;
            }
        };
        let repetitions = typical(&stable);
        let confirming = match second.and_then(|second| second.get(index)) {
            Some(Ok(run)) if !run.is_empty() => match stable_majority(run) {
                Ok(stable) => Some(run_value(&typical(&stable))?),
                Err(error) => {
                    benches.push(unstable(cell, context, run, error.context("the confirming run cannot be judged")));
                    continue;
                }
            },
            Some(Err(error)) => {
                benches.push(unjudged(cell, error.clone().context("the confirming run failed")));
                continue;
            }
            _ => None,
        };
        let value = run_value(&repetitions)?;
        let waited_share = waited_share(&stable)?;
        let devices = || stable.iter().filter_map(|settled| settled.measurement.device.as_ref());
        let process_bytes = devices().filter_map(|device| device.process_bytes).max();
        let context_bytes = devices().filter_map(|device| device.context_bytes).max();
        values.insert(cell.id.clone(), (value, confirming, waited_share));
        let subject = cell_subject(cell, context);
        let timing = timing(&stable, run)?;
        let series = match subject.series(context) {
            Ok(series) => series,
            Err(error) => {
                let (baseline, timing) = (Some(damaged_verdict(&error)), Some(timing));
                benches.push(CellBench { timing, baseline, repetitions, ..unjudged(cell, error) });
                continue;
            }
        };
        let run = Judged { repetitions: &repetitions, confirming, waited_share };
        let mut baseline = judge(&subject, series.as_ref(), context.thresholds, &run)?;
        if baseline.verdict == word(Decision::Fail) || baseline.verdict == word(Decision::Warn) {
            baseline.detail.extend(another_artifact(cell.artifact.as_ref(), series.as_ref(), &subject));
        }
        benches.push(CellBench {
            cell: cell.clone(),
            timing: Some(timing),
            baseline: Some(baseline),
            size: size(cell.artifact.as_ref(), series.as_ref(), &subject, context.thresholds),
            process_bytes,
            context_bytes,
            memory: memory([process_bytes, context_bytes], series.as_ref(), &subject, context.thresholds),
            error: None,
            doubts: Vec::new(),
            notes: Vec::new(),
            replicas: None,
            repetitions,
        });
    }
    let mut ratios = Vec::new();
    for pair in pairs(cells) {
        let (Some(top), Some(bottom)) = (values.get(&pair.numerator), values.get(&pair.denominator)) else { continue };
        let subject = ratio_subject(&pair, cells, context);
        let Some(subject) = subject else { continue };
        let value = top.0 / bottom.0;
        // Both sides of a suspect ratio were measured again.
        let confirming = top.1.zip(bottom.1).map(|(top, bottom)| top / bottom);
        let run = Judged { repetitions: &[value], confirming, waited_share: top.2.max(bottom.2) };
        let baseline = match subject.series(context) {
            Ok(series) => judge(&subject, series.as_ref(), context.thresholds, &run)?,
            Err(error) => damaged_verdict(&error),
        };
        ratios.push(RatioBench { name: pair.name, value, baseline, subject });
    }
    Ok(Bench { cells: benches, ratios, ..Bench::default() })
}

/// Median share of the time that the repetitions had no processor; 0 where the system does not tell.
fn waited_share(stable: &[&Settled]) -> Result<f64> {
    median(&stable.iter().map(|settled| settled.repetition.waited_share.unwrap_or(0.0)).collect::<Vec<f64>>())
}

pub(super) fn typical(stable: &[&Settled]) -> Vec<f64> {
    stable.iter().map(|settled| settled.repetition.typical_samples_per_second).collect()
}

pub(super) fn unjudged(cell: &BenchCell, error: Error) -> CellBench {
    CellBench {
        cell: cell.clone(),
        timing: None,
        baseline: None,
        size: None,
        process_bytes: None,
        context_bytes: None,
        memory: Vec::new(),
        error: Some(error),
        doubts: Vec::new(),
        notes: Vec::new(),
        replicas: None,
        repetitions: Vec::new(),
    }
}

pub(super) fn unstable(cell: &BenchCell, context: &BenchContext<'_>, run: &[Settled], mut error: Error) -> CellBench {
    let states = run.iter().filter_map(|settled| settled.measurement.device.as_ref());
    let mut others =
        states.flat_map(|device| [&device.before, &device.after]).flatten().flat_map(|state| &state.others);
    if let Some(other) = others.next() {
        error.causes.insert(0, format!("another process used the GPU meanwhile ({other})"));
    } else if cell.id.runtime.library.on_gpu() && context.machine.gpus.iter().any(|gpu| gpu.is_slice) {
        error
            .causes
            .insert(0, "the GPU is a slice of a card, whose other slices share its power and clocks".to_owned());
    }
    let all: Vec<&Settled> = run.iter().collect();
    let verdict = BaselineVerdict { verdict: UNSTABLE.to_owned(), detail: error.to_string(), ..empty_verdict() };
    let timing = timing(&all, run).ok();
    CellBench { timing, baseline: Some(verdict), repetitions: typical(&all), ..unjudged(cell, error) }
}

/// Figures of the fastest of `stable`, with all repetitions of `run`.
pub(super) fn timing(stable: &[&Settled], run: &[Settled]) -> Result<TimingSummary> {
    let fastest = stable.iter().copied().max_by(|first, second| {
        let value = |settled: &Settled| settled.repetition.typical_samples_per_second;
        value(first).total_cmp(&value(second))
    });
    let fastest = fastest.ok_or_else(|| Error::invalid("a run has no repetition"))?;
    let repetitions = run.iter().map(|settled| settled.repetition.clone()).collect();
    Ok(TimingSummary { repetitions, ..summary(&fastest.measurement)? })
}

pub(super) fn cell_subject(cell: &BenchCell, context: &BenchContext<'_>) -> Subject {
    let library = cell.id.runtime.library;
    let device = device_name(context.machine, library);
    Subject {
        name: format!("{} {}", cell.id, mode_name(cell.contract.mode)),
        quantity: Quantity::SamplesPerSecond,
        library,
        runtime: cell.id.runtime.clone(),
        batch: cell.id.batch,
        environment: Environment::of_cell(&context.facts(cell)),
        path: context.store.cell_path(&device, context.model, &cell.id, cell.contract.mode),
        limits: Limits::of_time(context.thresholds, library),
    }
}

/// The verdict on a quantity whose baseline cannot be read.
pub(super) fn damaged_verdict(error: &Error) -> BaselineVerdict {
    BaselineVerdict { verdict: DAMAGED.to_owned(), detail: format!("no verdict: {error}"), ..empty_verdict() }
}

pub(super) fn empty_verdict() -> BaselineVerdict {
    BaselineVerdict {
        verdict: "no-baseline".to_owned(),
        ratio: None,
        confirming_ratio: None,
        baseline_samples_per_second: None,
        noise: None,
        detectable_slowdown: None,
        threshold: None,
        detail: String::new(),
        history: Vec::new(),
    }
}

/// What is judged.
pub(super) struct Judged<'a> {
    /// The stable repetitions of the first run.
    pub(super) repetitions: &'a [f64],
    /// The value of the second run, where there was one.
    pub(super) confirming: Option<f64>,
    /// Share of the time without a processor.
    pub(super) waited_share: f64,
}

/// The verdict on one quantity.
pub(super) fn judge(
    subject: &Subject,
    series: Option<&Series>,
    thresholds: &Thresholds,
    run: &Judged<'_>,
) -> Result<BaselineVerdict> {
    let &Judged { repetitions, confirming, waited_share } = run;
    let value = run_value(repetitions)?;
    let Subject { environment, limits, batch, library, .. } = subject;
    let assumed = thresholds.assumed_noise.of(*library);
    let reference = match series {
        Some(series) => series.reference(environment, thresholds.known_after, assumed)?,
        None => None,
    };
    let Some(reference) = reference else {
        let why = series.map_or_else(|| "no run was accepted yet".to_owned(), |s| s.why_no_baseline(environment));
        return Ok(BaselineVerdict { detail: format!("no baseline: {why}"), ..empty_verdict() });
    };
    let reference = reference.for_run(repetitions)?;
    let noise = reference.noise;
    let known = BaselineVerdict {
        ratio: Some(value / reference.value),
        confirming_ratio: confirming.map(|confirming| confirming / reference.value),
        baseline_samples_per_second: Some(reference.value),
        noise: Some(noise),
        history: series.map(|series| series.history(environment)).unwrap_or_default(),
        ..empty_verdict()
    };
    let no_verdict = |why: String| {
        Ok(BaselineVerdict { verdict: UNSTABLE.to_owned(), detail: format!("no verdict: {why}"), ..known.clone() })
    };
    if noise > thresholds.unusable_noise {
        return no_verdict(format!(
            "the noise is {:.1} % ({}), and more than {:.1} % cannot be judged by",
            noise * 100.0,
            runs_known(&reference),
            thresholds.unusable_noise * 100.0
        ));
    }
    if !reference.known && waited_share > thresholds.busy {
        return no_verdict(format!(
            "the noise is {}, which does not hold where {:.0} % of the time pass without a processor",
            runs_known(&reference),
            waited_share * 100.0
        ));
    }
    let decision = decide(&reference, limits, *batch, value, confirming)?;
    let beside = series.map(|series| series.beside(environment)).unwrap_or_default();
    let detail = against(&beside, &reference, value)
        .into_iter()
        .chain([detail(subject.quantity, &reference, limits, value, confirming)])
        .collect::<Vec<_>>()
        .join(": ");
    if decision == Decision::Fail && waited_share > thresholds.crowded {
        let share = waited_share * 100.0;
        return no_verdict(format!("{detail}, but {share:.0} % of the time a thread had no processor"));
    }
    Ok(BaselineVerdict {
        verdict: word(decision).to_owned(),
        detectable_slowdown: Some(reference.detectable_slowdown(&limits.fail)),
        threshold: Some(1.0 / (1.0 + limits.fail.of(noise))),
        detail,
        ..known
    })
}

pub(super) const fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Ok => "ok",
        Decision::Improved => "improved",
        Decision::Warn => "warn",
        Decision::Confirm => CONFIRM,
        Decision::Fail => "fail",
    }
}

/// That the baseline is of another model or version, and by how much this one is slower or faster; `None` where it is not.
fn against(beside: &str, reference: &Reference, value: f64) -> Option<String> {
    if beside.is_empty() {
        return None;
    }
    let ratio = reference.value / value;
    let times =
        |factor: f64| format!("{} ×", if factor < 10.0 { format!("{factor:.1}") } else { format!("{factor:.0}") });
    Some(match ratio {
        _ if ratio >= 1.5 => format!("{} slower than the baseline of {beside}", times(ratio)),
        _ if ratio <= 1.0 / 1.5 => format!("{} faster than the baseline of {beside}", times(1.0 / ratio)),
        _ => format!("against the baseline of {beside}"),
    })
}

pub(super) fn detail(
    quantity: Quantity,
    reference: &Reference,
    limits: &Limits,
    value: f64,
    confirming: Option<f64>,
) -> String {
    // Limits are of time; what stands beside samples per second elsewhere in a report is the change of those.
    let timed = quantity == Quantity::SamplesPerSecond;
    let change = |value: f64| {
        let slowdown = rule::slowdown(reference.value, value) * 100.0;
        match (timed, slowdown >= 0.0) {
            (true, true) => format!("{slowdown:.2} % more time"),
            (true, false) => format!("{:.2} % less time", -slowdown),
            (false, true) => format!("{slowdown:.2} % slower"),
            (false, false) => format!("{:.2} % faster", -slowdown),
        }
    };
    let unit = match quantity {
        Quantity::SamplesPerSecond => " samples/s",
        Quantity::Ratio => "",
        Quantity::Bytes => " bytes",
        Quantity::Rate => "/s held",
    };
    let (value_text, reference_text) = (significant(value), significant(reference.value));
    let mut text = match timed {
        true => format!(
            "{value_text}{unit} against {reference_text} ({:+.2} %), {}",
            (value / reference.value - 1.0) * 100.0,
            change(value)
        ),
        false => format!("{value_text}{unit}, {} than {reference_text}{unit}", change(value)),
    };
    if let Some(confirming) = confirming {
        text.push_str(&format!("; a second run {}", change(confirming)));
    }
    text.push_str(&format!(
        "; fails beyond {:.2} % (noise {:.2} %, {})",
        limits.fail.of(reference.noise) * 100.0,
        reference.noise * 100.0,
        runs_known(reference)
    ));
    text
}

/// How much the series knows of its noise.
fn runs_known(reference: &Reference) -> String {
    let runs = reference.runs;
    match (reference.known, runs) {
        (true, _) => format!("of {runs} runs"),
        (false, 1) => "assumed, 1 run".to_owned(),
        (false, _) => format!("assumed, {runs} runs"),
    }
}

/// That what was measured is none of what the baseline was made with: slower then need not be the code's doing.
fn another_artifact(artifact: Option<&ArtifactRecord>, series: Option<&Series>, subject: &Subject) -> Option<String> {
    let artifact = artifact?;
    let level = series?.level(&subject.environment);
    let known: Vec<&ArtifactRecord> = level.iter().filter_map(|entry| entry.artifact.as_ref()).collect();
    let last = known.last()?;
    if known.iter().any(|known| known.sha256 == artifact.sha256) {
        return None;
    }
    let sizes = format!("{} bytes, the baseline's {}", artifact.bytes, last.bytes);
    Some(match artifact.kind {
        ArtifactKind::Engine => format!(
            "; this is another build of the engine ({sizes}), and builds of one graph differ in speed: `[engine] candidates` keeps the fastest of several"
        ),
        kind => format!("; this is another `{kind}` ({sizes})"),
    })
}

/// The size's verdict against the newest run in this environment that knows the artifact's size.
pub(super) fn size(
    artifact: Option<&ArtifactRecord>,
    series: Option<&Series>,
    subject: &Subject,
    thresholds: &Thresholds,
) -> Option<CheckResult> {
    let artifact = artifact?;
    let level = series?.level(&subject.environment);
    let old = level.iter().rev().find_map(|entry| entry.artifact.as_ref())?;
    Some(rule::size_verdict(thresholds, artifact.kind, old.bytes, artifact.bytes))
}

/// The verdicts on the device memory of the process and of one context, each against the newest run in this environment that knows
/// it. An engine whose contexts need nothing is small, not wrong.
fn memory(
    [process, one_context]: [Option<u64>; 2],
    series: Option<&Series>,
    subject: &Subject,
    thresholds: &Thresholds,
) -> Vec<CheckResult> {
    let Some(series) = series else { return Vec::new() };
    let level = series.level(&subject.environment);
    let newest = |of: fn(&Entry) -> Option<u64>| level.iter().rev().find_map(|entry| of(entry));
    let process = process.zip(newest(|entry| entry.process_bytes));
    let needed = |bytes: &(u64, u64)| *bytes != (0, 0);
    let one_context = one_context.zip(newest(|entry| entry.context_bytes)).filter(needed);
    let verdict = |name, (bytes, old): (u64, u64)| rule::memory_verdict(name, thresholds, old, bytes);
    process
        .map(|bytes| verdict("memory", bytes))
        .into_iter()
        .chain(one_context.map(|bytes| verdict("context-memory", bytes)))
        .collect()
}
