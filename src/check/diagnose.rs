//! What went wrong, by arithmetic on the outputs alone: faults that leave a pattern are named.
//!
//! Looked for in this order in the centred log-odds of competing classes (`centred`):
//!
//! | cause | test |
//! |---|---|
//! | softmax | one side is the softmax of the other |
//! | collapse | variance over samples below 2 % of the reference's, or one answer to > 90 % where the reference has < 60 % |
//! | classes swapped | columns correlate > 0.8 with *other* columns, 0.1 better than with their own, one to one; of two classes, < -0.5 with themselves |
//! | samples moved | rows hold other samples' outputs, from distinct sources; never at batch 1 or for two classes |
//! | scaled | one factor takes more than 6 dB off the error |
//! | class constant | the error's mean of each class takes more than 6 dB off |
//! | few samples | 5 % of the samples carry more than 80 % of the error |
//! | one class | the samples of one answer, a quarter of all at most, make up more than half of the squared error of the leads, each more than 3 times that of the others |
//! | noise | nothing of these |
//!
//! A common offset and masked classes are notes: no answer depends on them.

mod centred;
mod patterns;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::check::agreement::answer;
use crate::check::pair::OutputPair;
use crate::check::rule::{self, Measured};
use crate::figure::figure;
use crate::findings::leads::rough;
use crate::manifest::OutputKind;
use centred::Centred;

/// Pairs, classes and samples named in a message.
const NAMED: usize = 4;
/// Most samples that are looked at for places that were changed.
const ROWS_SEARCHED: usize = 64;

/// A common offset is worth a note from this many typical leads.
const NOTED_OFFSET: f64 = 0.5;

/// A fault that explains the outputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Diagnosis {
    /// Every sample got the same outputs, whatever was put in.
    Constant,
    /// The actual outputs are the softmax of the reference's.
    SoftmaxAdded,
    /// The reference's outputs are the softmax of the actual ones.
    SoftmaxMissing,
    /// The outputs stand in the columns of other classes: (class, class whose outputs it holds).
    ClassesPermuted(Vec<(usize, usize)>),
    /// The outputs stand in the rows of other samples: (sample, sample whose outputs it holds).
    SamplesPermuted(Vec<(usize, usize)>),
    /// Every sample holds the outputs of the sample this far behind (positive) or ahead (negative).
    SamplesShifted(isize),
    /// Every lead is the reference's times this.
    Scaled(f64),
    /// The outputs hardly change with the input.
    Still,
    /// Nearly every sample has one answer.
    OneAnswer {
        /// The answer.
        class: usize,
        /// Samples that have it.
        now: usize,
        /// Samples to which the reference gives it.
        before: usize,
        /// All samples.
        samples: usize,
    },
    /// A few samples carry most of the error, the worst first.
    FewSamples(Vec<usize>),
    /// Some classes are off by one constant each, in every sample: (class, constant).
    BiasChanged(Vec<(usize, f64)>),
    /// The samples that the reference answers with one class carry most of the error.
    OneClass {
        /// The class.
        class: usize,
        /// Of its samples, those that are answered otherwise.
        changed: usize,
        /// Its samples.
        samples: usize,
        /// Root mean square error of their leads, in typical leads.
        error: f64,
        /// The same of all others.
        others: f64,
    },
}

impl Diagnosis {
    /// The likely cause and the next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Constant => {
                "the input does not reach the output: check the input's name and buffer, and dead or saturated layers"
            }
            Self::SoftmaxAdded | Self::SoftmaxMissing => {
                "reference and artifact were exported with different heads: check `[output] kind` and the export's output"
            }
            Self::ClassesPermuted(_) => {
                "the classes' order changed: check the label map of the training run and the last layer's weights"
            }
            Self::SamplesPermuted(_) => {
                "outputs are handed to the wrong slots of a batch: check how batches are gathered and split"
            }
            Self::SamplesShifted(_) => {
                "batches are answered with the outputs of another call: check the order of copies and streams"
            }
            Self::Scaled(_) => {
                "check the output's dequantisation scale and any normalisation or temperature at the end of the model"
            }
            Self::Still | Self::OneAnswer { .. } => {
                "an overflow, a dead layer or a lost bias: `trtgate explain` finds the first tensor that is off; in half precision look at the ranges first"
            }
            Self::FewSamples(_) => {
                "most samples are right: look at these for values that overflow or are cut at the end of a range"
            }
            Self::BiasChanged(_) => {
                "a bias is missing or another, or weights moved: check the last layer for these classes"
            }
            Self::OneClass { .. } => {
                "what tells this class from others is lost: calibrate with samples of it (`[calibration] data`), or check the last layer's weights for it"
            }
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => formatter.write_str("every sample got the same outputs"),
            Self::SoftmaxAdded => formatter.write_str("the outputs are the softmax of the reference's"),
            Self::SoftmaxMissing => formatter.write_str("the reference's outputs are the softmax of these"),
            Self::ClassesPermuted(pairs) => permuted(formatter, "classes", "class", pairs),
            Self::SamplesPermuted(pairs) => permuted(formatter, "samples", "sample", pairs),
            Self::SamplesShifted(shift) => {
                let side = if *shift > 0 { "before" } else { "after" };
                write!(formatter, "every sample holds the outputs of the sample {} {side} it", shift.unsigned_abs())
            }
            Self::Scaled(factor) => write!(formatter, "every lead is the reference's times {}", figure(*factor)),
            Self::Still => formatter.write_str("the outputs hardly change with the input"),
            Self::OneAnswer { class, now, before, samples } => write!(
                formatter,
                "the answers collapse: {now} of {samples} are class {class}, to which the reference gives {before}"
            ),
            Self::FewSamples(samples) => {
                let named: Vec<String> = samples.iter().take(NAMED).map(usize::to_string).collect();
                let more = if samples.len() > NAMED { ", …" } else { "" };
                let (noun, verb) = if samples.len() == 1 { ("sample", "carries") } else { ("samples", "carry") };
                write!(formatter, "few samples: {noun} {}{more} {verb} more than 80 % of the error", named.join(", "))
            }
            Self::BiasChanged(classes) => {
                if let [(class, offset)] = classes.as_slice() {
                    return write!(formatter, "the outputs of class {class} are shifted by {offset:+.4}");
                }
                let named = classes.iter().take(NAMED).map(|(class, offset)| format!("{class} by {offset:+.4}"));
                let named = named.collect::<Vec<_>>().join(", ");
                write!(
                    formatter,
                    "the outputs of {} classes are shifted by a constant each: {named}{}",
                    classes.len(),
                    if classes.len() > NAMED { ", …" } else { "" }
                )
            }
            Self::OneClass { class, changed, samples, error, others } => write!(
                formatter,
                "one class: {changed} of {samples} answers of class {class} change; its leads are off by {} of a typical one, those of the others by {}",
                rough(*error),
                rough(*others)
            ),
        }
    }
}

fn permuted(formatter: &mut fmt::Formatter<'_>, plural: &str, singular: &str, pairs: &[(usize, usize)]) -> fmt::Result {
    if let [(one, other), _] = pairs {
        return write!(formatter, "the outputs of {plural} {one} and {other} are swapped");
    }
    let named = pairs.iter().take(NAMED).map(|(place, from)| format!("{singular} {place} holds those of {from}"));
    let more = if pairs.len() > NAMED { ", …" } else { "" };
    let least = if pairs.len() >= ROWS_SEARCHED { "at least " } else { "" };
    write!(
        formatter,
        "the outputs of {least}{} {plural} are permuted: {}{more}",
        pairs.len(),
        named.collect::<Vec<_>>().join(", ")
    )
}

/// Names the fault behind a pair that left its limits, if it leaves a pattern. `batch` is the number of samples in one call,
/// where it is known.
pub fn diagnose(pair: &OutputPair<'_>, measured: &Measured, batch: Option<u32>) -> Option<Diagnosis> {
    if pair.classes() < 2 {
        return None;
    }
    let centred = Centred::of(pair, measured);
    let noise = centred.noise();
    // Finite outputs have a finite error.
    if noise <= 0.0 {
        return None;
    }
    patterns::softmax(pair)
        .or_else(|| patterns::collapse(pair, &centred))
        .or_else(|| patterns::classes_swapped(&centred))
        .or_else(|| patterns::samples_moved(&centred, batch))
        .or_else(|| patterns::scaled(&centred, noise))
        .or_else(|| patterns::class_constant(&centred, noise))
        .or_else(|| patterns::few_samples(&centred, noise))
        .or_else(|| patterns::one_class(pair, measured))
}

/// Samples or classes that hold each other's outputs, one to one: a fault whatever it costs, also where it moves few answers.
pub fn order(pair: &OutputPair<'_>, measured: &Measured, batch: Option<u32>) -> Option<Diagnosis> {
    if pair.classes() < 2 || pair.reference() == pair.actual() {
        return None;
    }
    let centred = Centred::of(pair, measured);
    patterns::classes_swapped(&centred).or_else(|| patterns::samples_moved(&centred, batch))
}

/// What no answer depends on, and a reader may wonder about: classes that never compete, an offset of all classes.
pub fn notes(pair: &OutputPair<'_>, measured: &Measured) -> Vec<String> {
    let centred = Centred::of(pair, measured);
    let mut notes = Vec::new();
    let (all, competing) = (pair.classes(), centred.classes.len());
    if competing < all {
        notes.push(format!(
            "{} of {all} classes never come near an answer (masked, padded or dead): what they hold decides nothing",
            all - competing
        ));
    }
    if measured.kind == OutputKind::Logits && centred.common.abs() > NOTED_OFFSET * measured.typical {
        notes.push(format!(
            "all outputs of a sample moved together, by {} in the mean: no answer depends on it",
            figure(centred.common)
        ));
    }
    notes.extend(few_leads(measured));
    notes
}

/// A few samples that make up most of E, by leads that are off by more than a typical one: they may be wrong where the rest
/// is right, and eight bits have room for them.
fn few_leads(measured: &Measured) -> Option<String> {
    let typical = measured.typical;
    let size = |error: &f64| rule::cut(*error, typical);
    let squared: f64 = measured.lead_errors.iter().map(|error| size(error).powi(2)).sum();
    let large: Vec<usize> = (0..measured.lead_errors.len())
        .filter(|&at| measured.lead_errors.get(at).is_some_and(|e| e.abs() > typical))
        .collect();
    let carried: f64 =
        large.iter().filter_map(|&at| measured.lead_errors.get(at)).map(|error| size(error).powi(2)).sum();
    let few = large.len() as f64 <= patterns::FEW * measured.lead_errors.len() as f64;
    (!large.is_empty() && few && carried > patterns::MOST * squared).then(|| {
        let named: Vec<String> = large.iter().take(NAMED).map(usize::to_string).collect();
        let more = if large.len() > NAMED { ", …" } else { "" };
        let (noun, verb) = if large.len() == 1 { ("sample", "makes") } else { ("samples", "make") };
        format!("few samples: {noun} {}{more} {verb} up most of the error of the leads", named.join(", "))
    })
}

/// What to suspect where the error has no pattern, with the share of answers that are the reference's.
pub fn without_pattern(pair: &OutputPair<'_>, measured: &Measured) -> String {
    let same = pair.rows().filter(|(reference, actual)| answer(reference) == answer(actual)).count();
    let samples = pair.samples();
    // Half as many again as guessing gives; a few samples agree by chance as often as not.
    if samples >= 16 && pair.classes() > 2 && same * pair.classes() * 2 <= samples * 3 {
        format!(
            "{same} of {samples} answers are the reference's, near chance: suspect the input's layout, scale or channel order, or damaged weights"
        )
    } else if measured.error >= 1.0 {
        "the leads are off by more than they usually are, without a pattern: suspect the input's layout, range or channel order, calibration, or damaged weights; `trtgate explain` finds the first tensor that is off".to_owned()
    } else {
        format!(
            "noise of {} of a typical lead, without a pattern: suspect calibration, a scale, rounding, or weights; `trtgate explain` finds the first tensor that is off",
            rough(measured.error)
        )
    }
}
