//! What an open session is asked again, and how far its answers to the same samples lie apart. Nothing is judged here: the bound
//! that a difference is held to is known when every cell has run.
//!
//! | trial    | what is run                                          | what is compared                                  |
//! |----------|------------------------------------------------------|---------------------------------------------------|
//! | repeated | a batch, several times                               | the later answers with the first                  |
//! | tiled    | one probe in every slot                              | each slot with the first                          |
//! | permuted | a batch, then the same batch turned by one slot      | the answers, turned with the samples              |
//! | alone    | samples one by one                                   | with the answers that they had inside the batch   |
//! | short    | a full batch, then a short one of other samples      | with the short batch's answers inside a full one  |
//!
//! Kept is the largest absolute difference of each row that was compared, not the rows: some numbers a slot, however many classes
//! there are. A faulty slot is named by them, and that two were exchanged.

use crate::check::pair::{OutputPair, check_outputs};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Runs a batch of 1 to n samples as the cell runs it, padding included, and returns one row of scores a sample.
pub type Run<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// Probes tiled over a batch, and samples run alone.
const TILED_PROBES: usize = 2;
const ALONE_SAMPLES: usize = 8;
/// Times that one batch is run.
const RUNS: usize = 2;

/// One way of asking the same question twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// One probe in every slot.
    Tiled,
    /// A batch turned by one slot.
    Permuted,
    /// Samples one by one.
    Alone,
    /// A short batch after a full one.
    Short,
}

/// What a session showed of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Trials {
    /// Samples in a full batch.
    pub batch: usize,
    /// One batch, several times.
    pub repeated: Repeated,
    /// The trials of slots and neighbours; none for a batch of one, which has neither.
    pub neighbours: Option<Neighbours>,
}

/// One input, run several times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repeated {
    /// Times the input was run, at least 2.
    pub runs: usize,
    /// Values compared in each further run.
    pub values: usize,
    /// Most values of any run that differ from the first run's, bit by bit.
    pub differing: usize,
    /// Largest absolute difference from the first run.
    pub spread: f64,
}

/// The same samples in other slots, beside others: the largest absolute difference of each two answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// For each probe that filled a batch: of slots 1 and up from slot 0.
    pub tiled: Vec<Vec<f64>>,
    /// Of each slot of the turned batch.
    pub permuted: Vec<f64>,
    /// Samples one by one.
    pub alone: Vec<Alone>,
    /// Of each slot of the short batch.
    pub short: Vec<f64>,
}

/// A sample alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Alone {
    /// The slot that it has in the full batch.
    pub slot: usize,
    /// Of its answer from that in each slot of the full batch.
    pub by_slot: Vec<f64>,
}

impl Trials {
    /// Asks for everything, on the first probes (used in turn where there are fewer than a trial needs). `run` is called with 1 to
    /// `batch` samples.
    ///
    /// # Errors
    /// Those of `run`, and whatever [`check_outputs`] refuses.
    pub fn record(run: &mut Run<'_>, probes: &Tensor, batch: usize) -> Result<Self> {
        let repeated = Repeated::record(run, &probes.first(batch)?, RUNS)?;
        let neighbours = (batch > 1).then(|| Neighbours::record(run, probes, batch)).transpose()?;
        Ok(Self { batch, repeated, neighbours })
    }
}

impl Repeated {
    /// Runs `input` `runs` times (at least twice).
    ///
    /// # Errors
    /// Those of `run`, and whatever [`OutputPair`] refuses in its answers.
    pub fn record(run: &mut Run<'_>, input: &Tensor, runs: usize) -> Result<Self> {
        let first = run(input)?;
        // Whatever is wrong with it is the session's own, and no reference's.
        check_outputs(&first, input.batch())?;
        let mut found = Self { runs: runs.max(2), values: first.values.len(), differing: 0, spread: 0.0 };
        for _ in 1..found.runs {
            let again = run(input)?;
            let pair = OutputPair::of_tensors(&first, &again, input.batch())?;
            let differing =
                pair.reference().iter().zip(pair.actual()).filter(|(x, y)| x.to_bits() != y.to_bits()).count();
            found.differing = found.differing.max(differing);
            found.spread = found.spread.max(distance(pair.reference(), pair.actual()));
        }
        Ok(found)
    }
}

impl Neighbours {
    fn record(run: &mut Run<'_>, probes: &Tensor, batch: usize) -> Result<Self> {
        let mut runner = Runner { run, probes };
        let all = |first: usize| (first..first + batch).collect::<Vec<_>>();
        let (one, other) = (all(0), all(other_start(batch, probes.batch())));
        let full = runner.answers(&one)?;
        let tiled = (0..TILED_PROBES)
            .map(|probe| {
                let answers = runner.answers(&vec![probe; batch])?;
                Ok(distances(&answers, &answers, (1..batch).map(|slot| (0, slot))))
            })
            .collect::<Result<_>>()?;
        let mut turned = one.clone();
        turned.rotate_left(1);
        let answers = runner.answers(&turned)?;
        let permuted = distances(&full, &answers, (0..batch).map(|slot| ((slot + 1) % batch, slot)));
        // The first and the last slots: where kernels start, and where their tails are.
        let chosen = |slot: usize| slot < ALONE_SAMPLES / 2 || slot + ALONE_SAMPLES / 2 >= batch;
        let alone = one
            .iter()
            .enumerate()
            .filter(|&(slot, _)| chosen(slot))
            .map(|(slot, &index)| {
                let answer = runner.answers(&[index])?;
                Ok(Alone { slot, by_slot: distances(&full, &answer, (0..batch).map(|slot| (slot, 0))) })
            })
            .collect::<Result<_>>()?;
        let expected = runner.answers(&other)?;
        runner.answers(&one)?;
        let size = batch / 2;
        let answers = runner.answers(other.get(..size).unwrap_or(&other))?;
        let short = distances(&expected, &answers, (0..size).map(|slot| (slot, slot)));
        Ok(Self { tiled, permuted, alone, short })
    }
}

/// First probe of a second batch whose samples differ from those of the first in every slot, where there are two probes or
/// more: the probes behind the first batch, or half way round where the first batch ends where it began.
const fn other_start(batch: usize, probes: usize) -> usize {
    match batch.checked_rem(probes) {
        Some(0) => probes / 2,
        _ => batch,
    }
}

struct Runner<'a, 'b> {
    run: &'a mut Run<'b>,
    probes: &'a Tensor,
}

impl Runner<'_, '_> {
    /// Answers of the probes at `indices`, modulo the number of probes: one row a slot, each of numbers.
    fn answers(&mut self, indices: &[usize]) -> Result<Tensor> {
        let count = self.probes.batch();
        if count == 0 {
            return Err(Error::invalid("there are no probes to run"));
        }
        let batch = self.probes.samples(indices.iter().map(|index| index % count))?;
        let answers = (self.run)(&batch)?;
        check_outputs(&answers, indices.len())?;
        Ok(answers)
    }
}

/// Largest absolute differences of rows, by pairs of (slot of `one`, slot of `other`); infinite where two differ in length.
pub(crate) fn distances(one: &Tensor, other: &Tensor, pairs: impl Iterator<Item = (usize, usize)>) -> Vec<f64> {
    let row = |(left, right)| (one.row(left).unwrap_or_default(), other.row(right).unwrap_or_default());
    pairs.map(row).map(|(left, right)| distance(left, right)).collect()
}

fn distance(one: &[f32], other: &[f32]) -> f64 {
    if one.len() != other.len() {
        return f64::INFINITY;
    }
    one.iter().zip(other).map(|(&x, &y)| (f64::from(x) - f64::from(y)).abs()).fold(0.0, f64::max)
}
