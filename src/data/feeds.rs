//! Samples for models of several inputs: made from a seed, or read from npz archives.
//!
//! Numbers are made by additions, multiplications and comparisons alone, so that they are the same on every machine. Sample `n`
//! of an input does not depend on how many are made.

mod lengths;

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::data::arrays::Arrays;
use crate::error::{Error, Result};
use crate::manifest::interface::ValueSource;
use crate::tensor::{ElementType, Feeds, Tensor, Values, element_count};
use lengths::{Lengths, padded};

/// One input of a model and where its values come from.
#[derive(Clone, Debug, PartialEq)]
pub struct InputPlan {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub element_type: ElementType,
    /// Sizes of one sample, without the batch; of the whole, where it is shared.
    pub sample: Vec<usize>,
    /// Whether it is the same for every sample.
    pub shared: bool,
    /// Where its values come from.
    pub values: ValueSource,
    /// What stands behind a sample's length, where another input goes by it.
    pub padding: Option<i64>,
}

/// Feeds of `count` samples, of as many as the files have where some inputs come from files.
///
/// # Errors
/// `Input` where a source does not suit its input, or files are damaged or differ in their number of samples.
pub fn make(inputs: &[InputPlan], seed: u64, count: usize) -> Result<Feeds> {
    let (mut samples, mut shared) = (Vec::new(), Vec::new());
    let mut rows = None;
    for input in inputs {
        if let (ValueSource::File(path), false) = (&input.values, input.shared) {
            let tensor = read(path, input)?;
            let found = *rows.get_or_insert(tensor.batch());
            if found != tensor.batch() {
                return Err(Error::input(format!(
                    "`{}` holds {} samples of `{}`, of another input {found}",
                    path.display(),
                    tensor.batch(),
                    input.name
                )));
            }
            samples.push(tensor);
        }
    }
    let count = rows.unwrap_or(count);
    for (index, input) in inputs.iter().enumerate() {
        match (&input.values, input.shared) {
            (ValueSource::File(path), true) => shared.push(read(path, input)?),
            (ValueSource::File(_), false) => {}
            (_, true) => shared.push(made(inputs, seed, index, None)?),
            (_, false) => samples.push(made(inputs, seed, index, Some(count))?),
        }
    }
    Feeds::new(samples, shared)
}

/// The tensor of the input at `index`: `count` samples, or the one value that is shared.
fn made(inputs: &[InputPlan], seed: u64, index: usize, count: Option<usize>) -> Result<Tensor> {
    let input = inputs.get(index).ok_or_else(|| Error::input("there is no such input"))?;
    let shape = count.into_iter().chain(input.sample.iter().copied()).collect::<Vec<_>>();
    let length = element_count(&input.sample)
        .filter(|_| element_count(&shape).is_some())
        .ok_or_else(|| Error::input(format!("samples `{}` of shape {shape:?} do not fit memory", input.name)))?;
    let float = input.element_type.is_float();
    let suits = match &input.values {
        ValueSource::Uniform(_) | ValueSource::Normal(_) => float,
        ValueSource::Image(_) => float || input.element_type == ElementType::Uint8,
        ValueSource::Integers([low, high]) => fits(input.element_type, *low) && fits(input.element_type, *high),
        ValueSource::Constant(value) => float || (value.trunc() == *value && fits(input.element_type, *value as i64)),
        ValueSource::LengthsOf(of) => {
            let most = Lengths::of(inputs, of)?.size;
            float || i64::try_from(most).is_ok_and(|most| fits(input.element_type, most))
        }
        ValueSource::Positions => {
            let last = input.sample.last().map_or(0, |size| size.saturating_sub(1));
            float || i64::try_from(last).is_ok_and(|last| fits(input.element_type, last))
        }
        ValueSource::Mask | ValueSource::MaskOf(_) | ValueSource::OneHot | ValueSource::File(_) => true,
    };
    let suits = suits && input.padding.is_none_or(|padding| float || fits(input.element_type, padding));
    if !suits {
        return Err(Error::input(format!("`{}` is {}, which does not hold its `values`", input.name, input.element_type))
            .hint("`integers = [low, high]` within its range for whole numbers, `mask` for booleans, `uniform` or `normal` for floats"));
    }
    let mut whole: Vec<i64> = Vec::new();
    let mut real: Vec<f64> = Vec::new();
    let lengths = input.values.length().map(|of| Lengths::of(inputs, of)).transpose()?;
    if let (ValueSource::MaskOf(of), Some(lengths)) = (&input.values, &lengths)
        && input.sample.last() != Some(&lengths.size)
    {
        return Err(Error::input(format!(
            "`{}` is the mask of `{}`, whose samples are {} long, and its own last dimension is another: {:?}",
            input.name, of.input, lengths.size, input.sample
        )));
    }
    let padded = padded(inputs, input)?;
    for sample in 0..count.unwrap_or(1) {
        let (of_whole, of_real) = (whole.len(), real.len());
        let long = lengths.as_ref().map_or(0, |lengths| lengths.drawn(seed, sample));
        let mut draw = Draw::new(seed, index, sample);
        match &input.values {
            ValueSource::Integers([low, high]) => whole.extend((0..length).map(|_| draw.integer(*low, *high))),
            ValueSource::Mask => along_last(&input.sample, length, &mut whole, |size| {
                let there = draw.integer(1, size as i64);
                (0..size as i64).map(|place| i64::from(place < there)).collect()
            }),
            ValueSource::MaskOf(_) => along_last(&input.sample, length, &mut whole, |size| {
                (0..size as i64).map(|place| i64::from(place < long)).collect()
            }),
            ValueSource::LengthsOf(_) => whole.extend(std::iter::repeat_n(long, length)),
            ValueSource::Positions => {
                along_last(&input.sample, length, &mut whole, |size| (0..size as i64).collect());
            }
            ValueSource::OneHot => along_last(&input.sample, length, &mut whole, |size| {
                let hot = draw.integer(0, size as i64 - 1);
                (0..size as i64).map(|place| i64::from(place == hot)).collect()
            }),
            ValueSource::Uniform([low, high]) => real.extend((0..length).map(|_| low + (high - low) * draw.unit())),
            ValueSource::Normal([mean, deviation]) => {
                // The sum of twelve numbers from 0 to 1 has mean 6 and deviation 1.
                let normal = |draw: &mut Draw| (0..12).map(|_| draw.unit()).sum::<f64>() - 6.0;
                real.extend((0..length).map(|_| mean + deviation * normal(&mut draw)));
            }
            ValueSource::Image([low, high]) => {
                let bytes = picture(&input.sample, length, &mut draw);
                real.extend(bytes.into_iter().map(|byte| low + (high - low) * byte / 255.0));
            }
            ValueSource::Constant(value) => real.extend(std::iter::repeat_n(*value, length)),
            ValueSource::File(_) => {}
        }
        if let (Some(lengths), Some(padding)) = (&padded, input.padding) {
            let long = lengths.drawn(seed, sample);
            let behind = |place: &usize| (place / lengths.inner % lengths.size) as i64 >= long;
            let set_whole = whole.iter_mut().skip(of_whole).enumerate().filter(|(place, _)| behind(place));
            set_whole.for_each(|(_, value)| *value = padding);
            let set_real = real.iter_mut().skip(of_real).enumerate().filter(|(place, _)| behind(place));
            set_real.for_each(|(_, value)| *value = padding as f64);
        }
    }
    let values =
        if whole.is_empty() { of_floats(input.element_type, &real) } else { of_integers(input.element_type, &whole) };
    Tensor::new(input.name.clone(), shape, values)
}

/// Rows along the last dimension, each made whole.
fn along_last(sample: &[usize], length: usize, values: &mut Vec<i64>, mut row: impl FnMut(usize) -> Vec<i64>) {
    let size = sample.last().copied().unwrap_or(1);
    for _ in 0..length.checked_div(size).unwrap_or(0) {
        values.extend(row(size));
    }
}

/// A smooth picture in bytes: along each dimension a wave of straight lines, all of them added.
fn picture(sample: &[usize], length: usize, draw: &mut Draw) -> Vec<f64> {
    let waves: Vec<(f64, f64)> = sample.iter().map(|_| (0.5 + 2.5 * draw.unit(), draw.unit())).collect();
    let wave = |position: f64| {
        let phase = position - position.floor();
        if phase < 0.5 { 4.0 * phase - 1.0 } else { 3.0 - 4.0 * phase }
    };
    (0..length)
        .map(|index| {
            let mut rest = index;
            let mut sum = 0.0;
            for (&size, &(cycles, phase)) in sample.iter().zip(&waves).rev() {
                sum += wave(phase + cycles * (rest % size.max(1)) as f64 / size.max(1) as f64);
                rest /= size.max(1);
            }
            (127.5 + 127.5 * sum / sample.len().max(1) as f64).round().clamp(0.0, 255.0)
        })
        .collect()
}

/// Whether `value` is one of `element_type`.
fn fits(element_type: ElementType, value: i64) -> bool {
    match element_type {
        ElementType::Bool => (0..=1).contains(&value),
        ElementType::Int8 => i8::try_from(value).is_ok(),
        ElementType::Uint8 => u8::try_from(value).is_ok(),
        ElementType::Int16 => i16::try_from(value).is_ok(),
        ElementType::Uint16 => u16::try_from(value).is_ok(),
        ElementType::Int32 => i32::try_from(value).is_ok(),
        ElementType::Uint32 => u32::try_from(value).is_ok(),
        ElementType::Uint64 => u64::try_from(value).is_ok(),
        ElementType::String | ElementType::Other => false,
        _ => true,
    }
}

/// `values`, which [`fits`] has let through.
fn of_integers(element_type: ElementType, values: &[i64]) -> Values {
    let all = values.iter();
    match element_type {
        ElementType::Bool => Values::Bool(all.map(|&value| value != 0).collect()),
        ElementType::Int8 => Values::Int8(all.map(|&value| value as i8).collect()),
        ElementType::Uint8 => Values::Uint8(all.map(|&value| value as u8).collect()),
        ElementType::Int16 => Values::Int16(all.map(|&value| value as i16).collect()),
        ElementType::Uint16 => Values::Uint16(all.map(|&value| value as u16).collect()),
        ElementType::Int32 => Values::Int32(all.map(|&value| value as i32).collect()),
        ElementType::Uint32 => Values::Uint32(all.map(|&value| value as u32).collect()),
        ElementType::Uint64 => Values::Uint64(all.map(|&value| value as u64).collect()),
        ElementType::Int64 => Values::Int64(values.to_vec()),
        float => of_floats(float, &all.map(|&value| value as f64).collect::<Vec<_>>()),
    }
}

fn of_floats(element_type: ElementType, values: &[f64]) -> Values {
    let doubles = Values::Float64(values.to_vec());
    doubles
        .to_float(element_type)
        .unwrap_or_else(|| of_integers(element_type, &values.iter().map(|&value| value as i64).collect::<Vec<_>>()))
}

/// Random numbers of one sample of one input.
struct Draw(ChaCha8Rng);

impl Draw {
    fn new(seed: u64, input: usize, sample: usize) -> Self {
        let mut key = *b"trtgate: feeds, version 1.......";
        for (place, byte) in key.iter_mut().rev().zip(seed.to_be_bytes()) {
            *place = byte;
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(((input as u64) << 40) | sample as u64);
        Self(generator)
    }

    /// The draw of a sample's length, which nothing else takes from.
    fn of_lengths(seed: u64, input: usize, sample: usize) -> Self {
        Self::new(seed, input | 1 << 20, sample)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From `low` to `high`, both included.
    fn integer(&mut self, low: i64, high: i64) -> i64 {
        let span = u128::from(high.abs_diff(low)) + 1;
        let drawn = (u128::from(self.0.next_u64()) * span) >> 64;
        low.wrapping_add(drawn as i64)
    }
}

/// The array of the input's name in the archive `path`.
fn read(path: &Path, input: &InputPlan) -> Result<Tensor> {
    let arrays = Arrays::archive(path)?;
    let missing = || {
        let names = arrays.names().unwrap_or_default().join(", ");
        arrays.at(&input.name, Error::input(format!("there is no such array, only {names}")))
    };
    let tensor = arrays.get(&input.name)?.ok_or_else(missing)?;
    fitted(tensor, input).map_err(|error| arrays.at(&input.name, error))
}

/// `tensor`, samples first, as `input` takes it: floats become its own floats, nothing else changes its type.
///
/// # Errors
/// `Input` where it is of another type or shape, is empty, or holds what is no number or none of that type.
pub(super) fn fitted(tensor: Tensor, input: &InputPlan) -> Result<Tensor> {
    let (found, wanted) = (tensor.element_type(), input.element_type);
    if found != wanted && !(found.is_float() && wanted.is_float()) {
        return Err(Error::input(format!("holds {found}, the model takes {wanted}")));
    }
    let sample = if input.shared { tensor.shape.as_slice() } else { tensor.shape.get(1..).unwrap_or_default() };
    let batched = input.shared || !tensor.shape.is_empty();
    if !batched || sample != input.sample || tensor.values.is_empty() {
        let batch = if input.shared { "" } else { "N, " };
        return Err(Error::input(format!(
            "has shape {:?}, expected [{batch}{}]",
            tensor.shape,
            input.sample.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
        )));
    }
    let length = input.sample.iter().product::<usize>().max(1);
    let place = |value: usize| match input.shared {
        true => format!("value {value}"),
        false => format!("value {} of sample {}", value % length, value / length),
    };
    if !found.is_float() {
        return Ok(Tensor { name: input.name.clone(), ..tensor });
    }
    let values = tensor.values.to_float(wanted).unwrap_or_else(|| tensor.values.clone());
    let pairs = tensor.values.to_f64().into_iter().zip(values.to_f64()).enumerate();
    for (index, (given, taken)) in pairs {
        if given.is_nan() {
            return Err(Error::input(format!("{} is not a number", place(index))));
        }
        if given.is_finite() && !taken.is_finite() {
            return Err(Error::input(format!("{} is {given}, which {wanted} does not hold", place(index))));
        }
    }
    Tensor::new(input.name.clone(), tensor.shape, values)
}

#[cfg(test)]
mod tests;
