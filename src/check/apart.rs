//! Answers of outputs that have no batch: a tensor for each sample, beside those that have a row for each.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::tensor::{ElementType, Tensor, Values, element_count};

/// What was answered in one output, by sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// A row for each sample.
    Rows(Tensor),
    /// A tensor for each sample; their shapes differ.
    Apart(Vec<Tensor>),
}

/// The order in which `samples` samples are asked again: in batches of `batch` each stands beside others than before, most of
/// them in another slot. Where one batch holds all, they have the same neighbours in other slots.
pub fn other_order(samples: usize, batch: usize) -> Vec<usize> {
    let batch = batch.clamp(1, samples.max(1));
    let groups = samples.div_ceil(batch);
    let slots = (0..batch).flat_map(|slot| (0..groups).map(move |group| group * batch + slot));
    let mut order: Vec<usize> = slots.filter(|&sample| sample < samples).collect();
    order.reverse();
    order
}

impl Answers {
    /// The answers of an output without a batch, stacked where all have one shape.
    ///
    /// # Errors
    /// `Failed`, where there are none or their types differ.
    pub fn of(parts: Vec<Tensor>) -> Result<Self> {
        let first = parts.first().ok_or_else(|| Error::failed("no sample was answered"))?;
        if parts.iter().any(|part| part.shape != first.shape) {
            return Ok(Self::Apart(parts));
        }
        let (name, shape) = (first.name.clone(), [&[parts.len()], first.shape.as_slice()].concat());
        let mut all = parts.into_iter().map(|part| part.values);
        let mut values = all.next().ok_or_else(|| Error::failed("no sample was answered"))?;
        all.try_for_each(|part| values.extend(&part))?;
        Tensor::new(name, shape, values).map(Self::Rows)
    }

    /// Answers to samples that were asked in [`other_order`] in batches of `batch`, in the samples' own order.
    ///
    /// # Errors
    /// `Input`, where there are no rows.
    pub fn turned(&self, batch: usize) -> Result<Self> {
        let order = other_order(self.count(), batch);
        let mut places: Vec<(usize, usize)> =
            order.into_iter().enumerate().map(|(place, sample)| (sample, place)).collect();
        places.sort_unstable();
        self.pick(&places.into_iter().map(|(_, place)| place).collect::<Vec<_>>())
    }

    /// Samples that are answered.
    pub fn count(&self) -> usize {
        match self {
            Self::Rows(tensor) => tensor.batch(),
            Self::Apart(parts) => parts.len(),
        }
    }

    /// The answers to the samples at `places`, in their order; a sample may come several times.
    ///
    /// # Errors
    /// `Input`, where there is no such sample.
    pub fn pick(&self, places: &[usize]) -> Result<Self> {
        Ok(match self {
            Self::Rows(tensor) => Self::Rows(tensor.samples(places.iter().copied())?),
            Self::Apart(parts) => {
                let part = |&place: &usize| parts.get(place).cloned();
                let picked = places.iter().map(part).collect::<Option<Vec<_>>>();
                Self::Apart(picked.ok_or_else(|| Error::input(format!("there are {} samples", parts.len())))?)
            }
        })
    }

    /// The type of its elements; `None` where there is no answer.
    pub fn element_type(&self) -> Option<ElementType> {
        match self {
            Self::Rows(tensor) => Some(tensor.element_type()),
            Self::Apart(parts) => parts.first().map(Tensor::element_type),
        }
    }

    /// The output's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Rows(tensor) => &tensor.name,
            Self::Apart(parts) => parts.first().map_or("", |part| &part.name),
        }
    }

    /// The answer to each sample, in its own shape.
    ///
    /// # Errors
    /// `Input`, where the values do not fill the rows.
    pub fn samples(&self) -> Result<Cow<'_, [Tensor]>> {
        let tensor = match self {
            Self::Apart(parts) => return Ok(Cow::Borrowed(parts)),
            Self::Rows(tensor) => tensor,
        };
        tensor.to_samples().map(Cow::Owned)
    }

    fn shapes(&self) -> Vec<&[usize]> {
        match self {
            Self::Rows(tensor) => vec![tensor.shape.get(1..).unwrap_or_default(); tensor.batch()],
            Self::Apart(parts) => parts.iter().map(|part| part.shape.as_slice()).collect(),
        }
    }
}

/// `answers` with whole numbers as wide as the reference's: releases of TensorRT that know 32 bits alone answer with those.
pub fn widened(answers: Vec<Answers>, reference: &[Answers]) -> Vec<Answers> {
    let wide = |name: &str| {
        let own = reference.iter().find(|own| own.name() == name);
        own.is_some_and(|own| match own {
            Answers::Rows(tensor) => matches!(tensor.values, Values::Int64(_)),
            Answers::Apart(parts) => parts.iter().all(|part| matches!(part.values, Values::Int64(_))),
        })
    };
    let widen = |mut tensor: Tensor| {
        if let Values::Int32(values) = &tensor.values {
            tensor.values = Values::Int64(values.iter().map(|value| i64::from(*value)).collect());
        }
        tensor
    };
    let one = |answers: Answers| match answers {
        answers if !wide(answers.name()) => answers,
        Answers::Rows(tensor) => Answers::Rows(widen(tensor)),
        Answers::Apart(parts) => Answers::Apart(parts.into_iter().map(widen).collect()),
    };
    answers.into_iter().map(one).collect()
}

/// Both sides as tensors of one shape, a row for each sample.
#[derive(Clone, Debug)]
pub struct Beside<'a> {
    /// The reference's.
    pub reference: Cow<'a, Tensor>,
    /// What is judged.
    pub actual: Cow<'a, Tensor>,
    /// Elements that fill up the rows of shorter answers on both sides: NaN, or 0 where there is none.
    pub filled: usize,
}

/// `reference` and `actual` beside each other.
///
/// # Errors
/// What is wrong, in a sentence: a sample is answered in another shape.
pub fn beside<'a>(reference: &'a Answers, actual: &'a Answers) -> Result<Beside<'a>, String> {
    let (wanted, got) = (reference.shapes(), actual.shapes());
    if let (Answers::Rows(reference), Answers::Rows(actual)) = (reference, actual) {
        return Ok(Beside { reference: Cow::Borrowed(reference), actual: Cow::Borrowed(actual), filled: 0 });
    }
    if wanted.len() != got.len() {
        return Err(format!("{} samples are answered, by the reference {}", got.len(), wanted.len()));
    }
    let differing: Vec<usize> = (0..wanted.len()).filter(|&sample| wanted.get(sample) != got.get(sample)).collect();
    if let Some(&first) = differing.first() {
        return Err(format!(
            "{} of {} samples are answered in another shape, the first sample {first}: {:?} instead of {:?}",
            differing.len(),
            wanted.len(),
            got.get(first).copied().unwrap_or_default(),
            wanted.get(first).copied().unwrap_or_default()
        ));
    }
    let lengths: Vec<usize> = wanted.iter().map(|shape| element_count(shape).unwrap_or(0)).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let filled = lengths.iter().map(|length| longest - length).sum();
    let side = |answers: &Answers| even(answers, longest).map(Cow::Owned).map_err(|error| error.message);
    Ok(Beside { reference: side(reference)?, actual: side(actual)?, filled })
}

/// A row of `length` elements for each sample.
fn even(answers: &Answers, length: usize) -> Result<Tensor> {
    let parts = match answers {
        Answers::Rows(tensor) => return Ok(tensor.clone()),
        Answers::Apart(parts) => parts,
    };
    let first = parts.first().ok_or_else(|| Error::failed("no sample was answered"))?;
    let element_type = first.element_type();
    let filling = filling(element_type);
    let mut bytes = Vec::new();
    for part in parts {
        if part.element_type() != element_type {
            return Err(Error::failed(format!("samples are answered in {element_type} and {}", part.element_type())));
        }
        bytes.extend(part.values.encode());
        bytes.extend(filling.repeat(length.saturating_sub(part.values.len())));
    }
    Tensor::new(first.name.clone(), vec![parts.len(), length], Values::decode(element_type, &bytes)?)
}

/// The bytes of an element that no comparison counts where both sides have it: NaN, or 0.
fn filling(element_type: ElementType) -> Vec<u8> {
    let one = Values::Float32(vec![f32::NAN]);
    one.to_float(element_type).map_or_else(|| vec![0; element_type.bytes().unwrap_or(0)], |values| values.encode())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::check::values::{ValueLimits, compare};

    fn part(values: &[f32]) -> Tensor {
        Tensor::float32("y", vec![values.len()], values.to_vec()).unwrap()
    }

    fn answers(parts: &[&[f32]]) -> Answers {
        Answers::of(parts.iter().map(|values| part(values)).collect()).unwrap()
    }

    fn limits() -> ValueLimits {
        ValueLimits { absolute: 0.01, relative: 0.0, sqnr_db: 0.0, least: 0.0, source: String::new() }
    }

    #[test]
    fn answers_of_one_shape_are_rows_and_scalars_too() {
        let rows = Tensor::float32("y", vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(answers(&[&[1.0, 2.0], &[3.0, 4.0]]), Answers::Rows(rows));
        let scalar = |value: i64| Tensor::new("n", vec![], Values::Int64(vec![value])).unwrap();
        let rows = Tensor::new("n", vec![2], Values::Int64(vec![4, 5])).unwrap();
        assert_eq!(Answers::of(vec![scalar(4), scalar(5)]).unwrap(), Answers::Rows(rows));
        assert!(Answers::of(Vec::new()).is_err());
    }

    #[test]
    fn shorter_answers_are_filled_up_with_what_no_comparison_counts() {
        let reference = answers(&[&[1.0], &[-1.0, 1.0, 1.0], &[]]);
        let actual = answers(&[&[1.0], &[-1.0, 1.5, 1.0], &[]]);
        let found = beside(&reference, &actual).unwrap();
        assert_eq!((found.reference.shape.as_slice(), found.filled), (&[3, 3][..], 5));
        let judged = compare(&found.reference, &found.actual, 3, &limits()).unwrap();
        let fault = judged.fault.unwrap();
        assert!(fault.contains("sample 1, element 1 is 1.5 instead of 1"), "{fault}");
        assert_eq!((judged.outside, judged.max_abs), (1, 0.5));
        let same = beside(&reference, &reference).unwrap();
        assert_eq!(compare(&same.reference, &same.actual, 3, &limits()).unwrap().fault, None);
    }

    #[test]
    fn another_shape_and_another_number_of_samples_are_told() {
        let reference = answers(&[&[1.0], &[1.0, 2.0]]);
        let other = beside(&reference, &answers(&[&[1.0], &[1.0, 2.0, 3.0]])).unwrap_err();
        assert_eq!(other, "1 of 2 samples are answered in another shape, the first sample 1: [3] instead of [2]");
        let even = beside(&reference, &answers(&[&[1.0], &[1.0]])).unwrap_err();
        assert_eq!(even, "1 of 2 samples are answered in another shape, the first sample 1: [1] instead of [2]");
        let fewer = beside(&reference, &answers(&[&[1.0]])).unwrap_err();
        assert_eq!(fewer, "1 samples are answered, by the reference 2");
    }

    #[test]
    fn samples_are_taken_apart_in_their_own_shape() {
        for answers in [answers(&[&[1.0, 2.0], &[3.0, 4.0]]), answers(&[&[1.0], &[]])] {
            let parts = answers.samples().unwrap().into_owned();
            assert_eq!(parts.len(), 2);
            assert_eq!(Answers::of(parts).unwrap(), answers);
        }
    }

    #[test]
    fn turning_is_undone_by_turning() {
        for answers in [answers(&[&[1.0], &[2.0]]), answers(&[&[1.0], &[2.0, 3.0]])] {
            assert_ne!(answers.turned(1).unwrap(), answers);
            assert_eq!(answers.turned(1).unwrap().turned(1).unwrap(), answers);
            assert_eq!(answers.name(), "y");
        }
    }

    #[rstest::rstest]
    #[case::whole_batches(64, 8)]
    #[case::a_last_one_that_is_not_full(30, 8)]
    #[case::one_by_one(5, 1)]
    #[case::one_batch(4, 8)]
    #[case::none(0, 8)]
    fn samples_asked_again_come_back_to_their_places(#[case] samples: usize, #[case] batch: usize) {
        let order = other_order(samples, batch);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..samples).collect::<Vec<_>>());
        let parts = |order: &[usize]| {
            let part = |&sample: &usize| Tensor {
                name: "y".to_owned(),
                shape: vec![1],
                values: Values::Float32(vec![sample as f32]),
            };
            Answers::Apart(order.iter().map(part).collect())
        };
        let own: Vec<usize> = (0..samples).collect();
        assert_eq!(parts(&order).turned(batch).unwrap(), parts(&own));
        // Nobody keeps a neighbour where there are as many batches as slots.
        if samples == batch * batch {
            let before = |sample: usize| sample / batch;
            for group in order.chunks(batch) {
                assert!(
                    group.iter().all(|&one| group.iter().all(|&other| one == other || before(one) != before(other)))
                );
            }
        }
    }

    /// Whole numbers are widened where the reference's are wide, output by output.
    #[test]
    fn whole_numbers_are_as_wide_as_the_references() {
        let narrow = |name: &str| Answers::Rows(Tensor::new(name, vec![2], Values::Int32(vec![1, -2])).unwrap());
        let wide = |name: &str| Answers::Rows(Tensor::new(name, vec![2], Values::Int64(vec![1, -2])).unwrap());
        let reference = [wide("a"), narrow("b")];
        let found = widened(vec![narrow("a"), narrow("b"), narrow("c"), wide("b")], &reference);
        assert_eq!(found, [wide("a"), narrow("b"), narrow("c"), wide("b")]);
        let part = |values: Vec<i32>| Tensor::new("a", vec![values.len()], Values::Int32(values)).unwrap();
        let long = |values: Vec<i64>| Tensor::new("a", vec![values.len()], Values::Int64(values)).unwrap();
        let apart = Answers::Apart(vec![part(vec![1]), part(vec![2, 3])]);
        let expected = Answers::Apart(vec![long(vec![1]), long(vec![2, 3])]);
        assert_eq!(widened(vec![apart.clone()], std::slice::from_ref(&expected)), [expected]);
        let mixed = Answers::Apart(vec![long(vec![1]), part(vec![2, 3])]);
        assert_eq!(widened(vec![apart.clone()], &[mixed]), [apart]);
    }
}
