//! Answers that are kept beside a report, so that versions which ran in containers of their own are compared once their reports are
//! merged.
//!
//! All cells of a report share [`ROOM`] bytes. Where a cell's answers are larger than its part, as many samples are kept as fit, in
//! an order that spreads them over all ([`spread`]): of two reports with other room, the smaller choice is part of the larger.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base64;
use crate::check::apart::Answers;
use crate::check::ladder::Ladder;
use crate::check::leads::NaturalLeads;
use crate::digest::digest_bytes;
use crate::error::{Error, Result};
use crate::findings::versions::{AnswerSet, KeptAnswers, KeptOutput};
use crate::manifest::AccuracyLimits;
use crate::manifest::interface::GatedOutput;
use crate::manifest::tasks::OutputTask;
use crate::tensor::{BatchAxis, Tensor, Values, element_count};
use crate::vocabulary::{CellId, Precision};

/// Bytes of answers that a report keeps.
pub const ROOM: usize = 12 << 20;

/// What answers are compared by: what a merge, which has no manifest, has to know of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The outputs that are compared.
    pub outputs: Vec<Compared>,
    /// Of a classifier, the reference's leads on ordinary inputs.
    pub natural: Option<NaturalLeads>,
    /// Losses that the manifest names.
    pub losses: Vec<(Precision, f64)>,
}

/// One output and what the same answer means for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// Its task.
    pub task: OutputTask,
    /// Limits that the manifest names.
    pub named: BTreeMap<Precision, BTreeMap<String, f64>>,
}

impl Terms {
    /// Of a model of several inputs.
    pub fn of_outputs(outputs: &[GatedOutput]) -> Self {
        Self { outputs: outputs.iter().map(Compared::of).collect(), natural: None, losses: Vec::new() }
    }

    /// Reads the terms of a report.
    ///
    /// # Errors
    /// `Input`, where they are those of another program.
    pub fn read(kept: &KeptAnswers) -> Result<Self> {
        serde_json::from_value(kept.terms.clone())
            .map_err(|error| Error::input("the report does not say how its answers are compared").because(error))
    }

    /// The ladder with what the manifest names.
    ///
    /// # Errors
    /// As [`Ladder::built_in`].
    pub fn ladder(&self) -> Result<Ladder> {
        Ok(Ladder::built_in()?.with_losses(&self.losses))
    }
}

impl Compared {
    fn of(output: &GatedOutput) -> Self {
        let own = |(precision, named): (&Precision, &BTreeMap<&'static str, f64>)| {
            (*precision, named.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
        };
        Self { name: output.name.clone(), task: output.task.clone(), named: output.named.iter().map(own).collect() }
    }

    /// The output as the manifest has it.
    pub fn gated(&self) -> GatedOutput {
        let task = self.task.task();
        let limit = |(name, value): (&String, &f64)| Some((task.limit(name)?.name, *value));
        let named = self.named.iter().map(|(precision, named)| (*precision, named.iter().filter_map(limit).collect()));
        GatedOutput {
            name: self.name.clone(),
            task: self.task.clone(),
            named: named.collect(),
            batch_axis: BatchAxis::default(),
            accuracy: AccuracyLimits::default(),
        }
    }
}

/// What one cell answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The cell.
    pub cell: CellId,
    /// Digest of the samples that it was asked.
    pub asked: String,
    /// Its outputs, samples in their order.
    pub outputs: Vec<Answers>,
}

/// Keeps what cells answered; says by which digest each is found.
///
/// `answered` gives one cell after the other, so that no more outputs are in memory than those of one; `cells` is how many there
/// are, among which the room is divided.
///
/// # Errors
/// Those of `answered`, and where samples cannot be taken out of an output.
pub fn keep(
    terms: &Terms,
    cells: usize,
    room: usize,
    answered: impl Iterator<Item = Result<Answered>>,
) -> Result<(KeptAnswers, BTreeMap<CellId, String>)> {
    let terms = serde_json::to_value(terms).map_err(|error| Error::failed("cannot keep answers").because(error))?;
    let mut kept = KeptAnswers { terms, sets: BTreeMap::new() };
    let mut places = BTreeMap::new();
    for answered in answered {
        let Answered { cell, asked, outputs } = answered?;
        let (digest, bytes) = digest_of(&asked, &outputs);
        if !kept.sets.contains_key(&digest) {
            let samples = outputs.iter().map(Answers::count).min().unwrap_or(0);
            let sample_bytes = bytes.div_ceil(samples.max(1));
            let fits = (room / cells.max(1)).checked_div(sample_bytes).unwrap_or(samples).min(samples);
            let places = spread(samples, fits);
            let outputs = match fits {
                0 => Vec::new(),
                _ => outputs.iter().map(|output| pack(&output.pick(&places)?)).collect::<Result<_>>()?,
            };
            kept.sets.insert(digest.clone(), AnswerSet { asked, samples, kept: fits, sample_bytes, outputs });
        }
        places.insert(cell, digest);
    }
    Ok((kept, places))
}

/// The first `kept` of `samples` samples, ascending, in the order of their numbers' bits reversed: spread evenly over all, and
/// those of a smaller `kept` among those of a larger.
pub fn spread(samples: usize, kept: usize) -> Vec<usize> {
    let bits = samples.max(1).next_power_of_two().trailing_zeros();
    let reversed = |index: usize| if bits == 0 { 0 } else { index.reverse_bits() >> (usize::BITS - bits) };
    let order = (0..samples.max(1).next_power_of_two()).map(reversed).filter(|&sample| sample < samples);
    let mut places: Vec<usize> = order.take(kept).collect();
    places.sort_unstable();
    places
}

fn tensors(answers: &Answers) -> &[Tensor] {
    match answers {
        Answers::Rows(tensor) => std::slice::from_ref(tensor),
        Answers::Apart(parts) => parts,
    }
}

/// Digest of the answers to what was asked, and how many bytes they are.
fn digest_of(asked: &str, outputs: &[Answers]) -> (String, usize) {
    let width = |tensor: &Tensor| tensor.element_type().bytes().unwrap_or(0);
    let bytes = outputs.iter().flat_map(tensors).map(|tensor| tensor.values.len() * width(tensor)).sum();
    let lines = outputs.iter().flat_map(tensors).map(Tensor::identity);
    let lines: Vec<String> = std::iter::once(asked.to_owned()).chain(lines).collect();
    (digest_bytes(lines.join("\n").as_bytes()), bytes)
}

fn pack(answers: &Answers) -> Result<KeptOutput> {
    let element_type = answers.element_type().ok_or_else(|| Error::failed("no sample was answered"))?;
    let tensors = tensors(answers);
    let bytes: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.values.encode()).collect();
    Ok(KeptOutput {
        name: answers.name().to_owned(),
        element_type,
        shapes: tensors.iter().map(|tensor| tensor.shape.clone()).collect(),
        apart: matches!(answers, Answers::Apart(_)),
        base64: base64::encode(&bytes),
    })
}

/// The first `kept` samples of a set, in the order of [`spread`]; those of its outputs, and which samples they are.
///
/// # Errors
/// `Input`, where the report does not hold what it says.
pub fn unpack(set: &AnswerSet, kept: usize) -> Result<(Vec<Answers>, Vec<usize>)> {
    let (own, wanted) = (spread(set.samples, set.kept), spread(set.samples, kept.min(set.kept)));
    let places: Vec<usize> =
        own.iter().enumerate().filter(|(_, at)| wanted.contains(at)).map(|(place, _)| place).collect();
    let outputs = set.outputs.iter().map(|output| unpack_output(output)?.pick(&places)).collect::<Result<Vec<_>>>()?;
    if outputs.iter().any(|output| output.count() != wanted.len()) {
        return Err(Error::input("the report holds answers to other samples than it says"));
    }
    Ok((outputs, wanted))
}

fn unpack_output(output: &KeptOutput) -> Result<Answers> {
    let damaged = || Error::input(format!("the kept answers of output `{}` are damaged", output.name));
    let bytes = base64::decode(&output.base64).ok_or_else(damaged)?;
    let width = output.element_type.bytes().ok_or_else(damaged)?;
    let mut rest = bytes.as_slice();
    let mut tensors = Vec::with_capacity(output.shapes.len().min(bytes.len() + 1));
    for shape in &output.shapes {
        let length = element_count(shape).and_then(|count| count.checked_mul(width)).ok_or_else(damaged)?;
        let (own, behind) = rest.split_at_checked(length).ok_or_else(damaged)?;
        rest = behind;
        let values = Values::decode(output.element_type, own)?;
        tensors.push(Tensor::new(output.name.clone(), shape.clone(), values)?);
    }
    if !rest.is_empty() {
        return Err(damaged());
    }
    match (output.apart, tensors.len()) {
        (true, _) => Ok(Answers::Apart(tensors)),
        (false, 1) => tensors.pop().map(Answers::Rows).ok_or_else(damaged),
        (false, _) => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn rows(name: &str, samples: usize, length: usize, from: f32) -> Answers {
        let values = (0..samples * length).map(|index| from + index as f32).collect();
        Answers::Rows(Tensor::float32(name, vec![samples, length], values).unwrap())
    }

    fn kept(room: usize, outputs: Vec<Answers>) -> AnswerSet {
        let terms = Terms { outputs: Vec::new(), natural: None, losses: Vec::new() };
        let cell: CellId = "tensorrt@8.5.3/fp32/batch-1".parse().unwrap();
        let answered = Answered { cell, asked: "samples".to_owned(), outputs };
        let (kept, places) = keep(&terms, 1, room, std::iter::once(Ok(answered))).unwrap();
        kept.sets[places.values().next().unwrap()].clone()
    }

    #[test]
    fn what_fits_comes_back_whole() {
        let apart = Answers::Apart(vec![
            Tensor::new("ids", vec![2], Values::Int64(vec![3, -4])).unwrap(),
            Tensor::new("ids", vec![0], Values::Int64(Vec::new())).unwrap(),
        ]);
        let outputs = vec![rows("logits", 2, 3, 0.5), apart];
        let set = kept(1 << 20, outputs.clone());
        assert_eq!((set.samples, set.kept, set.sample_bytes), (2, 2, 20));
        assert_eq!(unpack(&set, 9).unwrap(), (outputs, vec![0, 1]));
    }

    #[test]
    fn samples_that_find_room_are_spread_and_part_of_a_larger_choice() {
        assert_eq!(spread(8, 4), [0, 2, 4, 6]);
        assert_eq!(spread(6, 3), [0, 2, 4]);
        assert_eq!((spread(0, 3), spread(1, 1)), (vec![], vec![0]));
        let set = kept(8 * 4 * 3, vec![rows("logits", 256, 3, 0.0)]);
        assert_eq!((set.samples, set.kept), (256, 8));
        let (outputs, places) = unpack(&set, 4).unwrap();
        assert_eq!(places, [0, 64, 128, 192]);
        assert_eq!(outputs[0], rows("logits", 256, 3, 0.0).pick(&places).unwrap());
        let none = kept(1, vec![rows("logits", 2, 3, 0.0)]);
        assert_eq!((none.kept, none.outputs.len(), none.sample_bytes), (0, 0, 12));
    }

    #[test]
    fn equal_answers_are_kept_once_and_other_samples_apart() {
        let terms = Terms { outputs: Vec::new(), natural: None, losses: Vec::new() };
        let answered = |cell: &str, asked: &str, from: f32| {
            let outputs = vec![rows("logits", 4, 3, from)];
            Ok(Answered { cell: cell.parse().unwrap(), asked: asked.to_owned(), outputs })
        };
        let cells = [
            answered("tensorrt@8.5.3/fp32/batch-1", "a", 0.0),
            answered("tensorrt@8.5.3/fp32/batch-8", "a", 0.0),
            answered("tensorrt@8.5.3/fp16/batch-1", "a", 0.25),
            answered("tensorrt@8.5.3/fp16/batch-8", "b", 0.25),
        ];
        let (kept, places) = keep(&terms, 4, 1 << 20, cells.into_iter()).unwrap();
        assert_eq!((kept.sets.len(), places.len()), (3, 4));
    }

    #[test]
    fn a_damaged_set_is_refused() {
        let sound = kept(1 << 20, vec![rows("logits", 4, 3, 0.5)]);
        let changes: [fn(&mut AnswerSet); 5] = [
            |set| set.outputs[0].base64.truncate(16),
            |set| set.outputs[0].base64.replace_range(0..1, "!"),
            |set| set.outputs[0].shapes = vec![vec![usize::MAX, 3]],
            |set| set.outputs[0].shapes = vec![vec![2, 3], vec![2, 3]],
            |set| (set.samples, set.kept) = (8, 8),
        ];
        for change in changes {
            let mut set = sound.clone();
            change(&mut set);
            assert!(unpack(&set, 4).is_err(), "{set:?}");
        }
    }

    proptest! {
        #[test]
        fn a_smaller_choice_is_part_of_a_larger(samples in 0usize..300, one in 0usize..300, other in 0usize..300) {
            let (few, many) = (spread(samples, one.min(other)), spread(samples, one.max(other)));
            prop_assert_eq!(many.len(), one.max(other).min(samples));
            prop_assert!(few.iter().all(|sample| many.contains(sample)));
        }
    }
}
