//! The tolerance ladder: the bounds of each (library, precision), read from one commented TOML.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::check::metrics::Tolerance;
use crate::check::rule::Limits;
use crate::check::values::ValueLimits;
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::OutputKind;
use crate::vocabulary::{Library, Precision, Task};

mod labels;
mod tasks;

/// The limits of one task in one precision, by name.
pub type OwnLimits = BTreeMap<&'static str, f64>;

/// The schema's name, first key of the file.
pub const SCHEMA: &str = "trtgate.tolerances/v2";

/// The ladder that is built into the program.
const BUILT_IN: &str = include_str!("tolerances.toml");

/// What can decide a cell, or only be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Accuracy that is lost on ordinary inputs.
    Loss,
    /// How far the leads of answers are off.
    Leads,
    /// Whether all leads are stretched or shrunk.
    Slope,
    /// Samples and classes where the reference has them.
    Order,
    /// Every output within the absolute or the relative bound.
    Tolerance,
    /// Signal to quantisation noise over all outputs.
    Sqnr,
    /// Cosine similarity of the worst sample.
    Cosine,
    /// Answers, as counts.
    Agreement,
    /// Labelled accuracy against the reference's.
    Accuracy,
    /// Share of compute layers in the precision asked for.
    PrecisionProof,
    /// Scales of a quantised artifact against those of its calibration.
    Scales,
    /// Size of the artifact against the FP32 artifact's.
    Size,
    /// One sample, one answer, whatever its slot and batch.
    BatchInvariance,
    /// One input, one answer, however often it is run.
    Determinism,
}

impl Check {
    /// Every check, in the order in which a report lists them.
    pub const ALL: [Self; 14] = [
        Self::Loss,
        Self::Leads,
        Self::Slope,
        Self::Order,
        Self::Tolerance,
        Self::Sqnr,
        Self::Cosine,
        Self::Agreement,
        Self::Accuracy,
        Self::PrecisionProof,
        Self::Scales,
        Self::Size,
        Self::BatchInvariance,
        Self::Determinism,
    ];

    /// The name in the ladder and in the report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Leads => "leads",
            Self::Slope => "slope",
            Self::Order => "order",
            Self::Tolerance => "tolerance",
            Self::Sqnr => "sqnr",
            Self::Cosine => "cosine",
            Self::Agreement => "agreement",
            Self::Accuracy => "accuracy",
            Self::PrecisionProof => "precision-proof",
            Self::Scales => "scales",
            Self::Size => "size",
            Self::BatchInvariance => "batch-invariance",
            Self::Determinism => "determinism",
        }
    }
}

/// The bounds of one (library, precision).
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What `absolute` and `near_tie` are stated in: [`Unit::Spread`] for a row of the ladder.
    pub unit: Unit,
    /// Largest loss, error of the leads, and slope: what decides.
    pub limits: Limits,
    /// Largest absolute error of a logit.
    pub absolute: f64,
    /// Largest error as a share of the reference's magnitude.
    pub relative: f64,
    /// Largest margin at which a changed answer is a near-tie; at most twice `absolute`.
    pub near_tie: f64,
    /// Least signal to quantisation noise, dB.
    pub sqnr_db: f64,
    /// Least cosine similarity of a sample.
    pub cosine: f64,
    /// Largest fall of labelled accuracy, percentage points.
    pub accuracy_drop_points: f64,
    /// Least share of compute layers in the precision asked for, 0 to 1.
    pub precision_share: f64,
    /// Least and largest size over the FP32 artifact's.
    pub size_ratio: [f64; 2],
    /// Largest difference between two answers for one sample in another slot or batch, over the [`scatter`] of the
    /// reference's outputs.
    pub batch_absolute: f64,
    /// Checks that decide; all others are shown.
    pub gates: Vec<Check>,
    /// Why these numbers.
    pub source: String,
    /// The runs that they were sized from.
    pub data: Option<String>,
}

impl Row {
    /// Whether `check` decides the cell's status.
    pub fn gates(&self, check: Check) -> bool {
        self.gates.contains(&check)
    }

    /// The bounds on outputs of `kind` whose reference has the given [`spread`].
    ///
    /// When every logit moves by at most e, the log-odds of a class against all others move by at most 2e, and its
    /// probability by at most `σ(e) − σ(−e) = tanh(e/2)`, the bound of a probability.
    pub fn bounds(&self, kind: OutputKind, spread: f64) -> Bounds {
        let scale = match self.unit {
            Unit::Spread => spread,
            Unit::Output => 1.0,
        };
        let squeezed = |bound: f64| match (kind, self.unit) {
            (OutputKind::Probabilities, Unit::Spread) => (bound * scale / 2.0).tanh(),
            _ => bound * scale,
        };
        Bounds {
            tolerance: Tolerance { absolute: squeezed(self.absolute), relative: self.relative },
            near_tie: self.near_tie * scale,
        }
    }

    /// Largest difference between two answers for one sample, where the reference's outputs have the given [`scatter`].
    pub fn batch_bound(&self, scatter: f64) -> f64 {
        self.batch_absolute * scatter
    }
}

/// What the absolute bounds of a row are stated in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Multiples of the spread of the reference's logits, so that one ladder serves models of any scale.
    Spread,
    /// The outputs' own unit; `near_tie` in logits.
    Output,
}

/// The bounds of a row in the unit of certain outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// On each output.
    pub tolerance: Tolerance,
    /// Largest margin of a near-tie, in logits.
    pub near_tie: f64,
}

/// Least probability whose logarithm is taken for a logit; 8-bit and half-precision outputs are 0 below it.
const LEAST_PROBABILITY: f32 = 1e-6;

/// The spread of logits `[n, classes]`: the root of the mean square distance of a logit from the mean of its sample. A
/// constant added to a sample changes no answer, and does not count.
///
/// Of probabilities, the logits are their logarithms, from [`LEAST_PROBABILITY`] up: a saturated output gives a smaller
/// spread than its logits have, and so a tighter bound. Zero for no outputs.
pub fn spread(outputs: &[f32], classes: usize, kind: OutputKind) -> f64 {
    let logit = |value: f32| match kind {
        OutputKind::Logits => f64::from(value),
        OutputKind::Probabilities => f64::from(value.max(LEAST_PROBABILITY)).ln(),
    };
    if outputs.is_empty() || classes == 0 {
        return 0.0;
    }
    let of_row = |row: &[f32]| -> f64 {
        // Twice over the row rather than a difference of two large sums.
        let mean = row.iter().map(|&value| logit(value)).sum::<f64>() / classes as f64;
        row.iter().map(|&value| (logit(value) - mean).powi(2)).sum()
    };
    (outputs.chunks_exact(classes).map(of_row).sum::<f64>() / outputs.len() as f64).sqrt()
}

/// The scatter of outputs `[n, classes]`: the root of their mean square once the mean of each sample and then that of each
/// class are taken off. Neither an offset of a sample nor a constant of a class (a mask, a padded class) counts. Zero for no
/// outputs.
pub fn scatter(outputs: &[f32], classes: usize) -> f64 {
    if outputs.is_empty() || classes == 0 {
        return 0.0;
    }
    let mean = |row: &[f32]| row.iter().map(|&value| f64::from(value)).sum::<f64>() / classes as f64;
    let rows = outputs.len() / classes;
    let mut columns = vec![0.0_f64; classes];
    for row in outputs.chunks_exact(classes) {
        let mean = mean(row);
        for (column, &value) in columns.iter_mut().zip(row) {
            *column += (f64::from(value) - mean) / rows as f64;
        }
    }
    let of_row = |row: &[f32]| -> f64 {
        let mean = mean(row);
        row.iter().zip(&columns).map(|(&value, column)| (f64::from(value) - mean - column).powi(2)).sum()
    };
    (outputs.chunks_exact(classes).map(of_row).sum::<f64>() / outputs.len() as f64).sqrt()
}

/// The rows by (library, precision).
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    rows: BTreeMap<(Library, Precision), Row>,
    values: BTreeMap<Precision, ValueLimits>,
    tasks: BTreeMap<(Task, Precision), OwnLimits>,
    rounding: f64,
    sha256: String,
}

impl Ladder {
    /// The ladder that ships with the program.
    pub fn built_in() -> Result<Self> {
        Self::parse(BUILT_IN, "the built-in `tolerances.toml`")
    }

    /// Reads a ladder from a file, whole: its rows replace the built-in ones.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path, files::TEXT).map_err(|source| Error::io("read", path, source))?;
        Self::parse(&text, &format!("`{}`", path.display()))
    }

    /// The row of a cell. Errors: an invalid one where the ladder has none, since nothing can be judged by it.
    pub fn row(&self, library: Library, precision: Precision) -> Result<&Row> {
        self.rows.get(&(library, precision)).ok_or_else(|| {
            Error::invalid(format!("the tolerance ladder has no row for `{library}` in `{precision}`"))
                .hint("add a `[[row]]` for it, with the data behind its numbers")
        })
    }

    /// What outputs that are compared element by element may differ by. Errors: an invalid one where the ladder has no limits.
    pub fn values(&self, precision: Precision) -> Result<&ValueLimits> {
        self.values.get(&precision).ok_or_else(|| {
            Error::invalid(format!("the tolerance ladder has no limits of values in `{precision}`"))
                .hint("add them under `[[values]]`, with the data behind the numbers")
        })
    }

    /// The limits that an output of `task` alone has, by name; none where all of its limits are those of rows and values.
    /// Errors: an invalid one where the ladder has none.
    pub fn own_limits(&self, task: Task, precision: Precision) -> Result<OwnLimits> {
        if task.own_limits().next().is_none() {
            return Ok(OwnLimits::new());
        }
        self.tasks.get(&(task, precision)).cloned().ok_or_else(|| {
            Error::invalid(format!("the tolerance ladder has no limits of the task `{task}` in `{precision}`"))
                .hint("add them under `[[task]]`, with the data behind the numbers")
        })
    }

    /// Share of a figure by labels that rounding alone may cost, where the figure is no count of samples; nothing where the ladder does
    /// not say.
    pub const fn rounding(&self) -> f64 {
        self.rounding
    }

    /// This ladder with the losses that a manifest names.
    #[must_use]
    pub fn with_losses(mut self, losses: &[(Precision, f64)]) -> Self {
        for ((_, precision), row) in &mut self.rows {
            if let Some((_, loss)) = losses.iter().find(|(named, _)| named == precision) {
                row.limits = row.limits.with_loss(*loss);
            }
        }
        self
    }

    /// Digest of the text that the ladder was read from.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Every row with its library and precision, in the vocabulary's order.
    pub fn rows(&self) -> impl Iterator<Item = (Library, Precision, &Row)> {
        self.rows.iter().map(|(&(library, precision), row)| (library, precision, row))
    }

    /// Parses and validates; `name` says where the text comes from. Errors: a usage error with the line.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let at = |offset: usize, message: String| {
            let line = 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
            Error::usage(format!("{name}, line {line}: {message}"))
        };
        let file: File = toml::from_str(text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        if file.schema.get_ref() != SCHEMA {
            let message = format!("schema `{}` is not `{SCHEMA}`", file.schema.get_ref());
            return Err(at(file.schema.span().start, message));
        }
        let mut rows = BTreeMap::new();
        for entry in &file.row {
            let row = entry.validate().map_err(|(offset, message)| at(offset, message))?;
            for library in &entry.libraries {
                for precision in &entry.precisions {
                    let (library_name, precision_name) = (library.get_ref(), precision.get_ref());
                    if rows.insert((*library.get_ref(), *precision.get_ref()), row.clone()).is_some() {
                        let message = format!("`{library_name}` in `{precision_name}` already has a row");
                        return Err(at(library.span().start, message));
                    }
                }
            }
        }
        let mut values = BTreeMap::new();
        for entry in &file.values {
            let limits = entry.validate().map_err(|(offset, message)| at(offset, message))?;
            for precision in &entry.precisions {
                if values.insert(*precision.get_ref(), limits.clone()).is_some() {
                    let message = format!("values in `{}` already have limits", precision.get_ref());
                    return Err(at(precision.span().start, message));
                }
            }
        }
        let tasks = tasks::read(&file.task, &at)?;
        let rounding = file.labels.as_ref().map_or(Ok(0.0), labels::LabelsEntry::validate);
        let rounding = rounding.map_err(|(offset, message)| at(offset, message))?;
        Ok(Self { rows, values, tasks, rounding, sha256: crate::digest::digest_bytes(text.as_bytes()) })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: Spanned<String>,
    row: Vec<Entry>,
    #[serde(default)]
    values: Vec<ValuesEntry>,
    #[serde(default)]
    task: Vec<tasks::TaskEntry>,
    #[serde(default)]
    labels: Option<labels::LabelsEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesEntry {
    precisions: Vec<Spanned<Precision>>,
    absolute: Spanned<f64>,
    relative: Spanned<f64>,
    sqnr_db: Spanned<f64>,
    #[serde(default)]
    least: Option<Spanned<f64>>,
    source: Spanned<String>,
}

impl ValuesEntry {
    fn validate(&self) -> Result<ValueLimits, Flaw> {
        // Written so that a NaN is outside.
        let positive = |name: &str, value: &Spanned<f64>, most: f64| {
            let number = *value.get_ref();
            let flaw = || (value.span().start, format!("`{name}` is {number}, not above 0 and up to {most}"));
            if number > 0.0 && number <= most { Ok(number) } else { Err(flaw()) }
        };
        if self.source.get_ref().trim().is_empty() {
            return Err((self.source.span().start, "`source` says why these numbers".to_owned()));
        }
        Ok(ValueLimits {
            absolute: positive("absolute", &self.absolute, 1e6)?,
            relative: positive("relative", &self.relative, 1.0)?,
            sqnr_db: positive("sqnr_db", &self.sqnr_db, 400.0)?,
            least: self.least.as_ref().map_or(Ok(0.0), |least| positive("least", least, 1e-4))?,
            source: self.source.get_ref().clone(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    libraries: Vec<Spanned<Library>>,
    precisions: Vec<Spanned<Precision>>,
    loss: Spanned<f64>,
    leads: Spanned<f64>,
    slope: Spanned<f64>,
    absolute: Spanned<f64>,
    relative: Spanned<f64>,
    near_tie: Spanned<f64>,
    sqnr_db: Spanned<f64>,
    cosine: Spanned<f64>,
    accuracy_drop_points: Spanned<f64>,
    precision_share: Spanned<f64>,
    size_ratio: Spanned<[f64; 2]>,
    batch_absolute: Spanned<f64>,
    gates: Spanned<Vec<Check>>,
    shows: Vec<Check>,
    source: Spanned<String>,
    #[serde(default)]
    data: Option<String>,
}

/// An offset into the text and what is wrong there.
type Flaw = (usize, String);

impl Entry {
    fn validate(&self) -> Result<Row, Flaw> {
        let within = |name: &str, value: &Spanned<f64>, least: f64, most: f64| {
            let number = *value.get_ref();
            // Written so that a NaN is outside.
            if number >= least && number <= most {
                return Ok(number);
            }
            Err((value.span().start, format!("`{name}` is {number}, not between {least} and {most}")))
        };
        let absolute = within("absolute", &self.absolute, 0.0, 1e6)?;
        let near_tie = within("near_tie", &self.near_tie, 0.0, 2e6)?;
        if near_tie > 2.0 * absolute * (1.0 + 1e-9) {
            let message = format!(
                "`near_tie` is {near_tie}, more than twice `absolute`, {absolute}: no allowed error explains it"
            );
            return Err((self.near_tie.span().start, message));
        }
        let [least, most] = *self.size_ratio.get_ref();
        if !(least >= 0.0 && least <= most && most <= 100.0) {
            let message = format!("`size_ratio` is [{least}, {most}], not a band from least to most");
            return Err((self.size_ratio.span().start, message));
        }
        if self.source.get_ref().trim().is_empty() {
            return Err((self.source.span().start, "`source` is empty: say why these numbers".to_owned()));
        }
        self.check_gates()?;
        Ok(Row {
            unit: Unit::Spread,
            limits: Limits {
                loss: within("loss", &self.loss, 0.0, 1.0)?,
                leads: within("leads", &self.leads, 0.0, 3.0)?,
                slope: within("slope", &self.slope, 0.0, 10.0)?,
                named: false,
            },
            absolute,
            relative: within("relative", &self.relative, 0.0, 1.0)?,
            near_tie,
            sqnr_db: within("sqnr_db", &self.sqnr_db, 0.0, 300.0)?,
            cosine: within("cosine", &self.cosine, -1.0, 1.0)?,
            accuracy_drop_points: within("accuracy_drop_points", &self.accuracy_drop_points, 0.0, 100.0)?,
            precision_share: within("precision_share", &self.precision_share, 0.0, 1.0)?,
            size_ratio: [least, most],
            batch_absolute: within("batch_absolute", &self.batch_absolute, 0.0, 1e6)?,
            gates: self.gates.get_ref().clone(),
            source: self.source.get_ref().clone(),
            data: self.data.clone(),
        })
    }

    /// Every check in exactly one of the two lists, and at least one that compares outputs in `gates`.
    fn check_gates(&self) -> Result<(), Flaw> {
        let gates = self.gates.get_ref();
        for check in Check::ALL {
            let times = gates.iter().chain(&self.shows).filter(|&&listed| listed == check).count();
            if times != 1 {
                let message = format!("`{}` stands {times} times in `gates` and `shows`, not once", check.as_str());
                return Err((self.gates.span().start, message));
            }
        }
        let compares = [Check::Leads, Check::Tolerance, Check::Sqnr, Check::Cosine, Check::Agreement];
        if !gates.iter().any(|check| compares.contains(check)) {
            let message = "`gates` compares no outputs: name `leads`, and `loss` and `slope` beside it".to_owned();
            return Err((self.gates.span().start, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
