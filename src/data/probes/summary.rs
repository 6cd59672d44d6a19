//! What a probe set holds, as the reference sees it.

use serde::{Deserialize, Serialize};

use super::choose::{Distance, Pick};
use super::judge::{Answer, Judge};
use super::plan::{Bounds, ProbeOptions};
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// Most classes that a note names.
const NAMED: usize = 8;

/// What a probe set holds, measured with the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSummary {
    /// Probes of each class, of those whose answer is known.
    pub per_class: Vec<usize>,
    /// Probes whose margin is at most [`near_threshold`](Self::near_threshold).
    pub near: usize,
    /// Probes whose margin is at least [`far_threshold`](Self::far_threshold).
    pub far: usize,
    /// Probes that the reference was not asked about, for want of time.
    pub unknown: usize,
    /// Largest margin of a probe near a decision boundary: 0.5, less where the model's margins are small.
    pub near_threshold: f64,
    /// Smallest margin of a probe far from every decision boundary: 3, halved until enough pictures reach it.
    pub far_threshold: f64,
    /// Pictures that the reference answered.
    pub evaluations: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// Pictures that the search may score of a faster model, where the time had no room for them: another run may give
    /// other probes then.
    pub cut_from: Option<usize>,
    /// Smallest distance of any number that decided something from its threshold: noise of the reference below this
    /// leaves every byte of the set as it is.
    pub slack: f64,
    /// What was not found, a sentence each.
    pub notes: Vec<String>,
}

/// Asks the reference again about the probes that were picked, as far as there is time, and sums up what they are.
///
/// # Errors
/// If the reference now answers otherwise: it contradicts itself.
pub(super) fn sum_up(
    picks: &[Pick],
    manifest: &Manifest,
    options: &ProbeOptions,
    (bounds, cut_from): (Bounds, Option<usize>),
    judge: &mut Judge<'_, '_>,
) -> Result<ProbeSummary> {
    let mut per_class = vec![0; manifest.output.classes];
    for label in picks.iter().filter_map(|pick| pick.label) {
        if let Some(count) = per_class.get_mut(label) {
            *count += 1;
        }
    }
    let known: Vec<&Pick> = picks.iter().filter(|pick| pick.label.is_some()).collect();
    let pictures: Vec<&[u8]> = known.iter().map(|pick| pick.planar.as_slice()).collect();
    let again = if cut_from.is_some() { pictures.len().min(judge.affordable()) } else { pictures.len() };
    judge.stage = ("asking again", judge.evaluations + again);
    judge.keep_scores = false;
    let answers = judge.answers(pictures.get(..again).unwrap_or_default())?;
    for (index, (pick, answer)) in known.iter().zip(&answers).enumerate() {
        if pick.label != Some(answer.label) {
            return Err(contradiction(judge, &pictures, index, pick.label.unwrap_or_default()));
        }
    }
    let count = |distance: Distance, fits: &dyn Fn(&Answer) -> bool| {
        let rest = known.get(answers.len()..).unwrap_or_default();
        answers.iter().filter(|answer| fits(answer)).count()
            + rest.iter().filter(|pick| pick.distance == distance).count()
    };
    let mut summary = ProbeSummary {
        near: count(Distance::Near, &|answer| answer.margin <= bounds.near),
        far: count(Distance::Far, &|answer| answer.margin >= bounds.far),
        unknown: picks.len() - known.len(),
        per_class,
        near_threshold: bounds.near,
        far_threshold: bounds.far,
        evaluations: judge.evaluations,
        seconds: judge.clock.spent().as_secs_f64(),
        cut_from,
        slack: judge.slack,
        notes: Vec::new(),
    };
    summary.notes = notes(&summary, manifest, options, picks.len());
    Ok(summary)
}

/// What was not found, in words.
fn notes(summary: &ProbeSummary, manifest: &Manifest, options: &ProbeOptions, count: usize) -> Vec<String> {
    let mut notes = Vec::new();
    let classes = summary.per_class.len();
    let without = missing_classes(&summary.per_class, manifest);
    let asked = count - summary.unknown;
    if let Some(note) = without.filter(|_| classes <= asked) {
        notes.push(note);
    } else {
        let met = summary.per_class.iter().filter(|count| **count > 0).count();
        if met < classes {
            notes.push(format!("the {asked} probes show {met} of {classes} classes"));
        }
    }
    let quarter = count.div_ceil(4);
    if summary.near < quarter {
        notes.push(format!(
            "{} of {count} probes lie near a decision boundary (margin at most {}), {quarter} were looked for",
            summary.near, summary.near_threshold
        ));
    }
    if summary.far < quarter {
        notes.push(format!(
            "{} of {count} probes lie far from every decision boundary (margin at least {}), {quarter} were looked for",
            summary.far, summary.far_threshold
        ));
    }
    // Loading the reference took a part of it: no reader wants nanoseconds.
    let seconds = (options.time.as_secs_f64() * 10.0).round() / 10.0;
    if count < options.count {
        notes.push(format!("its time of {seconds} s had room to draw {count} of {} probes", options.count));
    }
    if let Some(whole) = summary.cut_from {
        let unknown = match summary.unknown {
            0 => String::new(),
            unknown => format!(", and {unknown} probes were not asked about at all"),
        };
        notes.push(format!(
            "the search ended at its time of {seconds} s: {} pictures were scored where a faster model has up to \
             {whole}{unknown}; another run may give other probes (`seconds` under `[probes]` gives it more time)",
            summary.evaluations
        ));
    }
    notes
}

/// A note on the classes that no probe is answered with; nothing where every class has one.
pub(super) fn missing_classes(per_class: &[usize], manifest: &Manifest) -> Option<String> {
    let name = |class: usize| match manifest.output.labels.get(class) {
        Some(label) => format!("{class} (`{label}`)"),
        None => class.to_string(),
    };
    let missing: Vec<usize> =
        per_class.iter().enumerate().filter(|(_, count)| **count == 0).map(|(class, _)| class).collect();
    if missing.is_empty() {
        return None;
    }
    let answered = per_class.len() - missing.len();
    if answered == 1 {
        let class = per_class.iter().position(|count| *count > 0).unwrap_or(0);
        return Some(format!("the reference answers every probe with class {}", name(class)));
    }
    let named: Vec<String> = missing.iter().take(NAMED).map(|&class| name(class)).collect();
    let more = missing.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!(
        "no probe is answered with {} of {} classes: {}{more}",
        missing.len(),
        per_class.len(),
        named.join(", ")
    ))
}

/// Why the reference answers a picture otherwise than before: at random, or by what else is in the batch.
fn contradiction(judge: &mut Judge<'_, '_>, pictures: &[&[u8]], index: usize, first: usize) -> Error {
    let mut ask = |pictures: &[&[u8]]| -> Result<Vec<Answer>> {
        judge.keep_scores = true;
        let mut answers = Vec::new();
        judge.answer_chunk(pictures, &mut answers)?;
        Ok(answers)
    };
    let alone = pictures.get(index..=index).unwrap_or_default();
    let among = pictures.get(index..pictures.len().min(index + 8)).unwrap_or_default();
    let mut ask_all = || -> Result<[Vec<Answer>; 3]> { Ok([ask(alone)?, ask(alone)?, ask(among)?]) };
    let [once, again, among] = match ask_all() {
        Ok(answers) => answers,
        Err(error) => return error,
    };
    let of = |answers: &[Answer]| answers.first().cloned();
    let label = |answer: &Option<Answer>| answer.as_ref().map_or_else(String::new, |answer| answer.label.to_string());
    if of(&once) != of(&again) {
        Error::invalid("the reference's answers are random")
            .cause(format!(
                "asked three times about probe {index}, it answered {first}, {} and {}; the same input must give the \
                 same output",
                label(&of(&once)),
                label(&of(&again))
            ))
            .hint("look for dropout or noise that is left on: export the model for inference")
    } else {
        Error::invalid("the reference's answers depend on the batch")
            .cause(format!(
                "probe {index} is answered with {first} in one batch, {} alone and {} among others",
                label(&of(&once)),
                label(&of(&among))
            ))
            .hint("look for a normalisation over the batch: export the model for inference, not for training")
    }
}
