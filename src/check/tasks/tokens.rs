//! Sequences of tokens: whole numbers, or scores of classes a step.
//!
//! Of scores, each step is a classifier's answer, and a step near a tie may change. The sequences that they decode to are
//! held to each other by the least number of tokens to insert, drop or replace.

use super::labelled::largest;
use super::rows::{Rows, along, judge};
use super::{Found, Given, broken, distance, shown, still};
use crate::check::agreement::answer;
use crate::error::{Error, Result};
use crate::findings::shown::Shown;
use crate::findings::verdict::plural;
use crate::manifest::tasks::TokensTask;
use crate::tensor::Tensor;

/// What the sequences of all samples say.
struct Sequences {
    /// Tokens of the reference.
    tokens: usize,
    /// Tokens to insert, drop or replace.
    edits: usize,
    /// The first sample that differs, and how, in words.
    first: Option<(usize, String)>,
    /// Samples that differ.
    samples: usize,
    /// Two samples that hold each other's sequences.
    swapped: Option<(usize, usize)>,
}

/// What of a sequence is looked at: up to its end and, of a CTC decoder's, each run of a token once and no blanks.
fn decoded(tokens: &[i64], task: &TokensTask) -> Vec<i64> {
    let length = match task.end {
        Some(end) => tokens.iter().position(|&token| token == end).unwrap_or(tokens.len()),
        None => tokens.len(),
    };
    let kept = tokens.get(..length).unwrap_or(tokens);
    let Some(blank) = task.blank else { return kept.to_vec() };
    let mut read = kept.to_vec();
    read.dedup();
    read.retain(|&token| token != blank);
    read
}

/// What each sample says on one side.
///
/// # Errors
/// `Failed`, where scores have no classes.
pub(super) fn sequences(task: &TokensTask, tensor: &Tensor) -> Result<Vec<Vec<i64>>> {
    let tokens = if tensor.element_type().is_float() {
        largest(tensor, task.axis.unwrap_or_else(|| tensor.shape.len().saturating_sub(1)))?
    } else {
        tensor.values.to_f64().into_iter().map(|value| value as i64).collect()
    };
    let samples = tensor.batch();
    let steps = tokens.len().checked_div(samples).unwrap_or(0).max(1);
    Ok(tokens.chunks(steps).map(|sample| decoded(sample, task)).collect())
}

impl Sequences {
    fn of(pairs: &[(Vec<i64>, Vec<i64>)]) -> Self {
        let mut found = Self { tokens: 0, edits: 0, first: None, samples: 0, swapped: None };
        let mut differing = Vec::new();
        for (sample, (before, after)) in pairs.iter().enumerate() {
            found.tokens += before.len();
            if before == after {
                continue;
            }
            let edits = strsim::generic_levenshtein(before, after);
            found.edits += edits;
            differing.push(sample);
            if found.first.is_none() {
                found.first = Some((sample, parted(before, after, edits)));
            }
        }
        found.samples = differing.len();
        let holds = |one: usize, other: usize| matches!((pairs.get(one), pairs.get(other)), (Some((_, now)), Some((before, _))) if now == before);
        let of = |&one: &usize| differing.iter().find(|&&other| other > one && holds(one, other) && holds(other, one));
        found.swapped = differing.iter().find_map(|one| Some((*one, *of(one)?)));
        found
    }

    /// Edits for each token of the reference.
    fn share(&self) -> f64 {
        self.edits as f64 / self.tokens.max(1) as f64
    }

    /// The first sample that differs, beside the reference's.
    fn shown(&self, pairs: &[(Vec<i64>, Vec<i64>)]) -> Option<Shown> {
        let (sample, _) = self.first.as_ref()?;
        let (before, after) = pairs.get(*sample)?;
        shown::tokens(*sample, before, after)
    }

    /// What differs, in words.
    fn fault(&self) -> Option<String> {
        let (sample, how) = self.first.as_ref()?;
        let swapped = match self.swapped {
            Some((one, other)) => format!("samples {one} and {other} hold each other's tokens: "),
            None => String::new(),
        };
        Some(format!(
            "{swapped}{} to {}, {} differ{}, sample {sample} first: {how}",
            plural(self.edits, "edit"),
            plural(self.tokens, "token"),
            plural(self.samples, "sample"),
            if self.samples == 1 { "s" } else { "" }
        ))
    }
}

/// Where two sequences part.
fn parted(before: &[i64], after: &[i64], edits: usize) -> String {
    let step = before.iter().zip(after).position(|(x, y)| x != y).unwrap_or(before.len().min(after.len()));
    let there = |tokens: &[i64]| tokens.get(step).map_or_else(|| "no token".to_owned(), i64::to_string);
    let rest = match (before.get(step + 1..), after.get(step + 1..)) {
        (Some(x), Some(y)) if x == y => String::new(),
        _ => format!(", and {edits} edits from there on"),
    };
    format!("step {step} is {} instead of {}{rest}", there(after), there(before))
}

pub(super) fn compare(given: &Given<'_>, task: &TokensTask) -> Result<Found> {
    let sides = match given.comparable()? {
        Ok(sides) => sides,
        Err(fault) => return Ok(Found::broken(fault)),
    };
    let (reference, actual) = (sides.reference.as_ref(), sides.actual.as_ref());
    if let Some(broken) = broken(reference, actual, given.samples)? {
        return Ok(broken);
    }
    if reference.element_type().is_float() {
        scored(given, task, reference, actual)
    } else {
        whole(given, task, reference, actual)
    }
}

/// Tokens as whole numbers.
fn whole(given: &Given<'_>, task: &TokensTask, reference: &Tensor, actual: &Tensor) -> Result<Found> {
    let length = reference.row_len().max(1);
    let side = |tensor: &Tensor| {
        // A token's number is far below where a float leaves out a number; one that is not would be no index of anything.
        let tokens: Vec<i64> = tensor.values.to_f64().iter().map(|&value| value as i64).collect();
        tokens.chunks(length).map(|sample| decoded(sample, task)).collect::<Vec<_>>()
    };
    let pairs: Vec<(Vec<i64>, Vec<i64>)> = side(reference).into_iter().zip(side(actual)).collect();
    let sequences = Sequences::of(&pairs);
    told_apart(&pairs, given.samples)?;
    let share = sequences.share();
    Ok(Found {
        fault: sequences.fault().filter(|_| !given.limits.keeps("edits", share)),
        compared: format!("{} of {} samples, {}", plural(sequences.tokens, "token"), pairs.len(), edits(&sequences)),
        figures: vec![("edits", share)],
        borderline: 0,
        confident: sequences.edits,
        error: distance(reference, actual, given.samples)?,
        shown: sequences.shown(&pairs),
    })
}

/// That the reference's sequences tell samples apart.
///
/// # Errors
/// `Invalid` where all are empty, or all the same.
fn told_apart(pairs: &[(Vec<i64>, Vec<i64>)], samples: usize) -> Result<()> {
    let first = pairs.first().map(|(before, _)| before);
    if pairs.len() > 1 && pairs.iter().all(|(before, _)| Some(before) == first) {
        return Err(still(samples));
    }
    if pairs.iter().all(|(before, after)| before.is_empty() && after.is_empty()) {
        return Err(Error::invalid("no sample has a token on either side: nothing was judged")
            .hint("feed samples with something in them: `from = \"samples.npz\"`"));
    }
    Ok(())
}

fn edits(sequences: &Sequences) -> String {
    if sequences.edits == 0 { "all the same".to_owned() } else { plural(sequences.edits, "edit") }
}

/// Scores of classes a step.
fn scored(given: &Given<'_>, task: &TokensTask, reference: &Tensor, actual: &Tensor) -> Result<Found> {
    let axis = task.axis.unwrap_or_else(|| reference.shape.len().saturating_sub(1));
    let rows = |tensor: &Tensor| {
        along(tensor, axis).ok_or_else(|| {
            Error::invalid(format!("it has shape {:?}, no axis {axis} of classes", tensor.shape))
                .hint("`axis` in its `[[output]]` names the axis of the classes, the batch being 0")
        })
    };
    let ((before, classes), (after, _)) = (rows(reference)?, rows(actual)?);
    let steps = reference.row_len().checked_div(classes).unwrap_or(0);
    if steps == 0 {
        return Err(Error::invalid(format!("it has shape {:?}, no steps of scores", reference.shape)));
    }
    // What stands behind the end of the reference's sequence is padding.
    let ends = before.chunks_exact(classes * steps).map(|sample| {
        let mut answers = sample.chunks_exact(classes).map(|row| answer(row) as i64);
        let end = task.end.and_then(|end| answers.position(|token| token == end));
        end.map_or(steps, |place| place + 1)
    });
    let looked_at: Vec<(usize, usize)> =
        ends.enumerate().flat_map(|(sample, end)| (0..end).map(move |step| (sample, step))).collect();
    let taken = |side: &[f32]| {
        let row = |&(sample, step): &(usize, usize)| {
            let start = (sample * steps + step) * classes;
            side.get(start..start + classes).unwrap_or_default().to_vec()
        };
        looked_at.iter().flat_map(row).collect::<Vec<f32>>()
    };
    let rows = Rows { reference: taken(&before), actual: taken(&after), classes };
    let judged = judge(&rows, task.kind, given.limits)?;
    let (borderline, confident) = judged.counts();
    // A step near a tie is taken as the reference has it.
    let mut tokens: Vec<(Vec<i64>, Vec<i64>)> = vec![(Vec::new(), Vec::new()); given.samples];
    let mut changes = judged.changes.iter().peekable();
    for (index, (&(sample, _), scores)) in looked_at.iter().zip(rows.reference.chunks_exact(classes)).enumerate() {
        let from = answer(scores) as i64;
        let to = match changes.next_if(|change| change.row == index) {
            Some(change) if change.confident => change.to as i64,
            _ => from,
        };
        if let Some((before, after)) = tokens.get_mut(sample) {
            before.push(from);
            after.push(to);
        }
    }
    let pairs: Vec<(Vec<i64>, Vec<i64>)> =
        tokens.iter().map(|(before, after)| (decoded(before, task), decoded(after, task))).collect();
    let sequences = Sequences::of(&pairs);
    let share = confident as f64 / looked_at.len().max(1) as f64;
    let limits = given.limits;
    let kept = limits.keeps("confident", share) && limits.keeps("edits", sequences.share());
    let sure = judged.changes.iter().find(|change| change.confident).and_then(|change| {
        let (sample, step) = looked_at.get(change.row)?;
        Some(format!(
            "sample {sample}, step {step}: {} instead of {}, of which the reference was sure",
            change.to, change.from
        ))
    });
    let fault = if kept { None } else { sequences.fault().or(sure) };
    let mut figures = judged.figures();
    figures.extend([("confident", share), ("edits", sequences.share())]);
    let compared = format!(
        "{} steps, {borderline} changed near a tie, {confident} others; {} of {} samples, {}; {}",
        looked_at.len(),
        plural(sequences.tokens, "token"),
        pairs.len(),
        edits(&sequences),
        judged.leads.sentence()
    );
    let error = distance(reference, actual, given.samples)?;
    let found = Found { fault, compared, figures, borderline, confident, error, shown: sequences.shown(&pairs) };
    Ok(found.or(judged.fault))
}
