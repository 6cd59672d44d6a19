//! What a server answered under load, beside what it answered the same samples alone: whether it holds, and by what pattern it does
//! not.
//!
//! | pattern | what it is |
//! |---|---|
//! | rows mixed up | samples have the answers of other samples that were asked at the same time: a batcher that gives answers to the wrong requests |
//! | stale answers | a request after another is answered with what the other was: a buffer, or a CUDA graph, of the request before |
//! | state between requests | the same request is answered otherwise each time |
//!
//! That requests were merged at all is the server's own to tell. Where it does not, or merged none, what was seen is right and
//! proves nothing of merging: the check is `unavailable`, and no pass.

use crate::check::apart::Answers;
use crate::error::Result;
use crate::figure::figure;
use crate::findings::CheckResult;
use crate::runtime::triton::load::{Executions, Load, Loaded, REPEATED, repeats};
use crate::tensor::Tensor;
use crate::vocabulary::Status;

/// The check's name in reports.
pub const NAME: &str = "under-load";
/// Samples whose answers are looked for among those of others.
const LOOKED_AT: usize = 64;
/// Samples and requests that are named.
const NAMED: usize = 3;
/// How much nearer the answer of another sample has to be to be the one that was given.
const NEARER: f64 = 0.1;

/// Answers by output, of a cell alone and under load.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// To the samples, as the cell answered them one request after the other.
    pub alone: &'a [Answers],
    /// To the same samples under load.
    pub together: &'a [Answers],
    /// To the samples of the repeated requests, one after the other; none where there were none.
    pub repeated: &'a [Answers],
}

/// Whether answers hold beside others: how far they are off, or in words what does not.
pub type Judge<'a> = dyn Fn(&[Answers], &[Answers]) -> Result<f64, String> + 'a;

/// The check. `judge` decides where answers are not equal bit by bit: another batch may have other kernels.
///
/// # Errors
/// If the answers are not of the samples that were asked.
pub fn check(sides: &Sides<'_>, load: &Load, loaded: &Loaded, judge: &Judge<'_>) -> Result<CheckResult> {
    let (fault, off) = mixed(sides, judge)?;
    let fault = match fault {
        Some(fault) => Some(fault),
        None => repeated_otherwise(sides, load, judge)?,
    };
    let result = |status, gating, detail| CheckResult { name: NAME.to_owned(), status, gating, detail };
    if let Some(fault) = fault {
        return Ok(result(Status::Fail, true, format!("{fault} ({})", asked(loaded))));
    }
    let equal = match off {
        0 => "bit by bit".to_owned(),
        off => format!("{off} of them within what their batch may change"),
    };
    let repeated = if sides.repeated.is_empty() { "" } else { ", and so are requests that were repeated" };
    let right = format!("{} samples are answered as alone, {equal}{repeated} ({})", count(sides.alone), asked(loaded));
    Ok(match loaded.executions {
        Some(Executions { rows, executions }) if rows == loaded.rows as u64 && executions < loaded.requests as u64 => {
            result(Status::Pass, true, format!("{right}; the server computed them in {executions} executions"))
        }
        Some(Executions { rows, .. }) if rows != loaded.rows as u64 => result(
            Status::Unavailable,
            false,
            format!(
                "{right}; merging is not proven: the server counts {rows} samples, not {} (others may have asked it)",
                loaded.rows
            ),
        ),
        Some(Executions { executions, .. }) => result(
            Status::Unavailable,
            false,
            format!("{right}; merging is not proven: the server merged none, {executions} executions"),
        ),
        None => result(
            Status::Unavailable,
            false,
            format!("{right}; merging is not proven: the server tells no statistics"),
        ),
    })
}

fn asked(loaded: &Loaded) -> String {
    format!("{} requests by {} connections", loaded.requests, loaded.connections)
}

fn count(answers: &[Answers]) -> usize {
    answers.first().map_or(0, Answers::count)
}

/// By sample, its answer in each output.
fn by_sample(answers: &[Answers]) -> Result<Vec<Vec<Tensor>>> {
    let outputs = answers.iter().map(|output| Ok(output.samples()?.into_owned())).collect::<Result<Vec<_>>>()?;
    let samples = outputs.iter().map(Vec::len).min().unwrap_or(0);
    let of = |sample: usize| outputs.iter().filter_map(|output| output.get(sample).cloned()).collect();
    Ok((0..samples).map(of).collect())
}

fn equal(one: &[Tensor], other: &[Tensor]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.shape == other.shape && one.values.is_bit_equal(&other.values))
}

/// The sum of all differences; infinite where shapes or types are others, or what is no number stands elsewhere.
fn distance(one: &[Tensor], other: &[Tensor]) -> f64 {
    let mut sum = 0.0;
    for (one, other) in one.iter().zip(other) {
        if one.shape != other.shape || one.element_type() != other.element_type() {
            return f64::INFINITY;
        }
        one.values.visit_beside(&other.values, |x, y| {
            let difference = if x == y || x.is_nan() && y.is_nan() { 0.0 } else { (x - y).abs() };
            sum += if difference.is_nan() { f64::INFINITY } else { difference };
        });
    }
    sum
}

/// What is wrong with the answers under load, by their pattern, and how many are not equal bit by bit.
fn mixed(sides: &Sides<'_>, judge: &Judge<'_>) -> Result<(Option<String>, usize)> {
    let (alone, together) = (by_sample(sides.alone)?, by_sample(sides.together)?);
    if alone.len() != together.len() {
        return Ok((Some(format!("{} samples were answered under load, not {}", together.len(), alone.len())), 0));
    }
    let off: Vec<usize> = (0..alone.len())
        .filter(|&sample| match (alone.get(sample), together.get(sample)) {
            (Some(one), Some(other)) => !equal(one, other),
            _ => true,
        })
        .collect();
    if off.is_empty() {
        return Ok((None, 0));
    }
    let Err(fault) = judge(sides.alone, sides.together) else { return Ok((None, off.len())) };
    let mut strangers = Vec::new();
    let looked: Vec<usize> = off.iter().copied().take(LOOKED_AT).collect();
    for &sample in &looked {
        let (Some(answer), Some(own)) = (together.get(sample), alone.get(sample)) else { continue };
        let nearest = alone.iter().enumerate().map(|(other, alone)| (other, distance(answer, alone)));
        let nearest = nearest.min_by(|one, other| one.1.total_cmp(&other.1));
        if let Some((other, found)) = nearest
            && other != sample
            && found <= NEARER * distance(answer, own)
        {
            strangers.push(format!("sample {sample} that of {other}"));
        }
    }
    let (off, samples) = (off.len(), alone.len());
    if 2 * strangers.len() >= looked.len() {
        strangers.truncate(NAMED);
        let named = strangers.join(", ");
        return Ok((
            Some(format!(
                "rows are mixed up between requests: under load {off} of {samples} samples are answered otherwise, with the answers of other samples ({named})"
            )),
            off,
        ));
    }
    Ok((Some(format!("under load {off} of {samples} samples are answered otherwise than alone: {fault}")), off))
}

/// What is wrong with requests that were repeated before and after another, by its pattern.
fn repeated_otherwise(sides: &Sides<'_>, load: &Load, judge: &Judge<'_>) -> Result<Option<String>> {
    if sides.repeated.is_empty() {
        return Ok(None);
    }
    let requests = repeats(count(sides.alone), load);
    let order = requests.concat();
    let wanted = sides.alone.iter().map(|answers| answers.pick(&order)).collect::<Result<Vec<_>>>()?;
    let (expected, found) = (by_sample(&wanted)?, by_sample(sides.repeated)?);
    if expected.len() != found.len() {
        return Ok(Some(format!("{} samples of repeated requests were answered, not {}", found.len(), expected.len())));
    }
    if expected.iter().zip(&found).all(|(one, other)| equal(one, other)) {
        return Ok(None);
    }
    let Err(fault) = judge(&wanted, sides.repeated) else { return Ok(None) };
    // The answers to request `number`, and what they should be.
    let size = requests.first().map_or(1, Vec::len);
    let of = |side: &[Vec<Tensor>], number: usize| -> Vec<Vec<Tensor>> {
        side.iter().skip(number * size).take(size).cloned().collect()
    };
    let apart = |one: &[Vec<Tensor>], other: &[Vec<Tensor>]| -> f64 {
        one.iter().zip(other).map(|(one, other)| distance(one, other)).sum()
    };
    let off: Vec<usize> =
        (0..requests.len()).filter(|&number| apart(&of(&found, number), &of(&expected, number)) > 0.0).collect();
    let stale = |number: usize| {
        // Another request, and what it should be.
        let other = if (REPEATED..2 * REPEATED).contains(&number) { 0 } else { REPEATED };
        apart(&of(&found, number), &of(&expected, other)) <= NEARER * apart(&of(&found, number), &of(&expected, number))
    };
    let told = |numbers: &[usize]| {
        let more = if numbers.len() > NAMED { ", …" } else { "" };
        format!(
            "{}{more}",
            numbers.iter().take(NAMED).map(|number| (number + 1).to_string()).collect::<Vec<_>>().join(", ")
        )
    };
    let pattern = format!("A×{REPEATED} B×{REPEATED} A×{REPEATED}");
    let old: Vec<usize> = off.iter().copied().filter(|&number| stale(number)).collect();
    if !old.is_empty() {
        return Ok(Some(format!(
            "answers are stale: of the requests {pattern}, number {} is answered with what the request before the change was",
            told(&old)
        )));
    }
    let changes = (1..REPEATED).any(|number| apart(&of(&found, number), &of(&found, number - 1)) > 0.0);
    Ok(Some(if changes {
        format!(
            "the server keeps state between requests: of {pattern}, number {} is answered otherwise than the same request alone: {fault}",
            told(&off)
        )
    } else {
        format!("of the requests {pattern}, number {} is answered otherwise than alone: {fault}", told(&off))
    }))
}

/// [`Judge`] of scores in rows: the largest difference within `bound`.
pub fn within(bound: f64) -> impl Fn(&[Answers], &[Answers]) -> Result<f64, String> {
    move |alone, together| {
        let difference = match (alone, together) {
            ([Answers::Rows(one)], [Answers::Rows(other)]) => {
                distance_at_most(one, other).ok_or_else(|| "outputs of another shape or type".to_owned())?
            }
            _ => return Err("outputs that are no rows".to_owned()),
        };
        // Written so that a NaN does not hold.
        if difference <= bound {
            Ok(difference)
        } else {
            Err(format!("off by {}, {} allowed", figure(difference), figure(bound)))
        }
    }
}

/// The largest difference of two elements; NaN where one is no number.
fn distance_at_most(one: &Tensor, other: &Tensor) -> Option<f64> {
    if one.shape != other.shape || one.element_type() != other.element_type() {
        return None;
    }
    let mut largest = 0.0_f64;
    one.values.visit_beside(&other.values, |x, y| {
        let difference = if x == y { 0.0 } else { (x - y).abs() };
        // Nothing is larger than NaN, so that it stays.
        if difference > largest || difference.is_nan() {
            largest = difference;
        }
    });
    Some(largest)
}

#[cfg(test)]
mod tests;
