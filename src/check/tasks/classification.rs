//! One class a sample: the rule of classifiers, with the samples of the run as ordinary ones.

use super::{Found, Given, broken};
use crate::check::comparison::{self, Terms};
use crate::check::diagnose::{diagnose, without_pattern};
use crate::check::leads::NaturalLeads;
use crate::check::pair::OutputPair;
use crate::error::{Error, Result};
use crate::manifest::OutputKind;

pub(super) fn compare(given: &Given<'_>, kind: OutputKind) -> Result<Found> {
    let sides = match given.comparable()? {
        Ok(sides) => sides,
        Err(fault) => return Ok(Found::broken(fault)),
    };
    let (reference, actual) = (sides.reference.as_ref(), sides.actual.as_ref());
    if !reference.element_type().is_float() {
        return Err(Error::invalid(format!("it is {}, which is no score of a class", reference.element_type()))
            .hint("`task = \"values\"` asks whole numbers to be equal"));
    }
    if let Some(broken) = broken(reference, actual, given.samples)? {
        return Ok(broken);
    }
    let (before, after) = (reference.clone().into_float32(), actual.clone().into_float32());
    let pair = OutputPair::of_tensors(&before, &after, given.samples)?;
    if pair.classes() < 2 {
        return Err(Error::invalid("one class holds no answer to compare")
            .hint("`task = \"scores\"` is for scores that stand alone"));
    }
    let natural = NaturalLeads::of(pair.reference(), pair.classes(), kind)?;
    let mut row = given.limits.row().clone();
    row.limits = row.limits.of_few(given.samples);
    let terms = Terms { kind, row: &row, natural: &natural, confident_allowed: 0, batch: given.batch };
    let compared = comparison::compare(&pair, &terms)?;
    let (measured, agreement) = (&compared.measured, &compared.answers.agreement);
    let fault = compared.fault().map(|fault| {
        let cause = diagnose(&pair, measured, given.batch).map(|cause| cause.to_string());
        let cause = cause.unwrap_or_else(|| without_pattern(&pair, measured));
        if fault.contains(&cause) { fault } else { format!("{cause}: {fault}") }
    });
    Ok(Found {
        fault,
        compared: format!(
            "{} of {} samples have the reference's answer; {}",
            agreement.top1_matches,
            agreement.samples,
            compared.leads.sentence()
        ),
        figures: vec![("loss", measured.loss), ("leads", measured.error), ("slope", measured.slope_error())],
        borderline: agreement.near_tie_flips,
        confident: agreement.confident_flips + agreement.impossible_flips,
        error: compared.metrics.error.clone(),
        shown: None,
    })
}
