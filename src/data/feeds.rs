//! Samples for models of several inputs: made from a seed, or read from npz archives.
//!
//! Numbers are made by additions, multiplications and comparisons alone, so that they are the same on every machine. Sample `n`
//! of an input does not depend on how many are made.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::data::{npy, zip};
use crate::error::{Error, Result};
use crate::manifest::interface::ValueSource;
use crate::tensor::{ElementType, Feeds, Tensor, Values, element_count};

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
            (_, true) => shared.push(made(input, seed, index, None)?),
            (_, false) => samples.push(made(input, seed, index, Some(count))?),
        }
    }
    Feeds::new(samples, shared)
}

/// The tensor of an input: `count` samples, or the one value that is shared.
fn made(input: &InputPlan, seed: u64, index: usize, count: Option<usize>) -> Result<Tensor> {
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
        ValueSource::Mask | ValueSource::OneHot | ValueSource::File(_) => true,
    };
    if !suits {
        return Err(Error::input(format!("`{}` is {}, which does not hold its `values`", input.name, input.element_type))
            .hint("`integers = [low, high]` within its range for whole numbers, `mask` for booleans, `uniform` or `normal` for floats"));
    }
    let mut whole: Vec<i64> = Vec::new();
    let mut real: Vec<f64> = Vec::new();
    for sample in 0..count.unwrap_or(1) {
        let mut draw = Draw::new(seed, index, sample);
        match &input.values {
            ValueSource::Integers([low, high]) => whole.extend((0..length).map(|_| draw.integer(*low, *high))),
            ValueSource::Mask => along_last(&input.sample, length, &mut whole, |size| {
                let there = draw.integer(1, size as i64);
                (0..size as i64).map(|place| i64::from(place < there)).collect()
            }),
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
    let wrong = |problem: String| Error::input(format!("`{}`, `{}`: {problem}", path.display(), input.name));
    let members = zip::members(path)?;
    let name = format!("{}.npy", input.name);
    let member = members.iter().find(|member| member.name == name).ok_or_else(|| {
        let names: Vec<&str> = members.iter().filter_map(|member| member.name.strip_suffix(".npy")).collect();
        wrong(format!("there is no such array, only {}", names.join(", ")))
    })?;
    let mut content = zip::open(path, member)?;
    let header = npy::read_header(&mut content)
        .map_err(|error| wrong("not an npy file, or its header is damaged".to_owned()).because(error))?;
    let descr = header.dtype().descr();
    let element_type = element_of(&descr).ok_or_else(|| wrong(format!("holds {descr}, which is not read")))?;
    if element_type != input.element_type && !(element_type.is_float() && input.element_type.is_float()) {
        return Err(wrong(format!("holds {element_type}, the model takes {}", input.element_type)));
    }
    if header.order() != npyz::Order::C && header.shape().len() > 1 {
        return Err(wrong("is in Fortran order".to_owned()).hint("save `numpy.ascontiguousarray(array)`"));
    }
    let shape = header.shape().iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>();
    let shape = shape.ok_or_else(|| wrong("has a shape that memory does not hold".to_owned()))?;
    let sample = if input.shared { shape.as_slice() } else { shape.get(1..).unwrap_or_default() };
    let count = element_count(&shape).filter(|&count| count > 0 && sample == input.sample.as_slice());
    let count = count.ok_or_else(|| {
        let batch = if input.shared { "" } else { "N, " };
        wrong(format!(
            "has shape {shape:?}, expected [{batch}{}]",
            input.sample.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
        ))
    })?;
    let values = Values::read_from(element_type, count, &mut content)
        .map_err(|error| wrong("truncated or damaged".to_owned()).because(error))?;
    let values = values.to_float(input.element_type).unwrap_or(values);
    Tensor::new(input.name.clone(), shape, values)
}

/// The element type of NumPy's description, little-endian or of one byte.
fn element_of(descr: &str) -> Option<ElementType> {
    Some(match descr.trim_matches('\'') {
        "<f4" => ElementType::Float32,
        "<f2" => ElementType::Float16,
        "<f8" => ElementType::Float64,
        "|i1" | "<i1" => ElementType::Int8,
        "|u1" | "<u1" => ElementType::Uint8,
        "<i2" => ElementType::Int16,
        "<u2" => ElementType::Uint16,
        "<i4" => ElementType::Int32,
        "<u4" => ElementType::Uint32,
        "<i8" => ElementType::Int64,
        "<u8" => ElementType::Uint64,
        "|b1" => ElementType::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn plan(element_type: ElementType, sample: &[usize], values: ValueSource) -> InputPlan {
        InputPlan { name: "x".to_owned(), element_type, sample: sample.to_vec(), shared: false, values }
    }

    fn of(input: &InputPlan, count: usize) -> Tensor {
        make(std::slice::from_ref(input), 1, count).unwrap().with_samples()[0].clone()
    }

    #[rstest]
    #[case(ValueSource::Uniform([-2.0, 3.0]), ElementType::Float32, -2.0, 3.0)]
    #[case(ValueSource::Normal([1.0, 0.5]), ElementType::Float64, -2.0, 4.0)]
    #[case(ValueSource::Integers([5, 9]), ElementType::Int64, 5.0, 9.0)]
    #[case(ValueSource::Integers([0, 1]), ElementType::Bool, 0.0, 1.0)]
    #[case(ValueSource::Image([0.0, 1.0]), ElementType::Float16, 0.0, 1.0)]
    #[case(ValueSource::Image([0.0, 255.0]), ElementType::Uint8, 0.0, 255.0)]
    #[case(ValueSource::Constant(7.0), ElementType::Int32, 7.0, 7.0)]
    fn values_keep_within_their_range_and_differ(
        #[case] values: ValueSource,
        #[case] element_type: ElementType,
        #[case] low: f64,
        #[case] high: f64,
    ) {
        let constant = matches!(values, ValueSource::Constant(_));
        let tensor = of(&plan(element_type, &[4, 5], values), 10);
        assert_eq!((tensor.element_type(), tensor.shape.as_slice()), (element_type, &[10, 4, 5][..]));
        let numbers = tensor.values.to_f64();
        assert!(numbers.iter().all(|value| (low..=high).contains(value)), "{numbers:?}");
        assert_eq!(numbers.iter().any(|value| *value != numbers[0]), !constant);
    }

    #[test]
    fn a_sample_does_not_depend_on_how_many_are_made_and_both_ends_are_drawn() {
        let input = plan(ElementType::Int64, &[3], ValueSource::Integers([-1, 1]));
        let (few, many) = (of(&input, 4), of(&input, 100));
        assert_eq!(many.first(4).unwrap(), few);
        let numbers = many.values.to_f64();
        assert!([-1.0, 0.0, 1.0].iter().all(|value| numbers.contains(value)));
        let widest = of(&plan(ElementType::Int64, &[8], ValueSource::Integers([i64::MIN, i64::MAX])), 8);
        assert!(widest.values.to_f64().iter().any(|value| *value < 0.0));
    }

    #[test]
    fn masks_begin_with_ones_and_one_hots_have_one() {
        let mask = of(&plan(ElementType::Bool, &[6], ValueSource::Mask), 20);
        let hot = of(&plan(ElementType::Float32, &[2, 6], ValueSource::OneHot), 20);
        for row in mask.values.as_slice::<bool>().unwrap().chunks(6) {
            assert!(row[0] && row.is_sorted_by(|one, other| one >= other), "{row:?}");
        }
        for row in hot.floats().chunks(6) {
            assert_eq!((row.iter().sum::<f32>(), row.iter().copied().fold(0.0, f32::max)), (1.0, 1.0));
        }
    }

    #[test]
    fn what_is_shared_has_no_batch() {
        let rate = InputPlan {
            name: "rate".to_owned(),
            shared: true,
            ..plan(ElementType::Int64, &[], ValueSource::Constant(16_000.0))
        };
        let feeds = make(&[plan(ElementType::Float32, &[2], ValueSource::Uniform([0.0, 1.0])), rate], 1, 3).unwrap();
        assert_eq!(
            (feeds.batch(), &feeds.shared()[0].shape, &feeds.shared()[0].values),
            (3, &vec![], &Values::Int64(vec![16_000]))
        );
    }

    #[rstest]
    #[case(ElementType::Int64, ValueSource::Uniform([0.0, 1.0]))]
    #[case(ElementType::Bool, ValueSource::Integers([0, 2]))]
    #[case(ElementType::Uint8, ValueSource::Integers([0, 256]))]
    #[case(ElementType::Int32, ValueSource::Constant(0.5))]
    fn sources_that_do_not_suit_the_type_are_refused(#[case] element_type: ElementType, #[case] values: ValueSource) {
        let error = make(&[plan(element_type, &[2], values)], 1, 3).unwrap_err();
        assert!(error.message.contains("does not hold its `values`"), "{error}");
    }

    #[test]
    fn arrays_of_an_archive_keep_their_type() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.npz");
        let numbers: Vec<u8> = [1_i64 << 60, -1, 3, 4].iter().flat_map(|value| value.to_le_bytes()).collect();
        let array = npy::array("<i8", &[2, 2], &numbers).unwrap();
        std::fs::write(&path, zip::pack(&[("x.npy", &array)]).unwrap()).unwrap();
        let input = plan(ElementType::Int64, &[2], ValueSource::File(path.clone()));
        let feeds = make(std::slice::from_ref(&input), 1, 99).unwrap();
        assert_eq!(feeds.get("x").unwrap().values, Values::Int64(vec![1 << 60, -1, 3, 4]));
        let message = |input: &InputPlan| make(std::slice::from_ref(input), 1, 9).unwrap_err().message;
        assert!(message(&InputPlan { sample: vec![3], ..input.clone() }).contains("has shape [2, 2], expected [N, 3]"));
        assert!(message(&InputPlan { element_type: ElementType::Float32, ..input.clone() }).contains("holds int64"));
        assert!(message(&InputPlan { name: "y".to_owned(), ..input }).contains("no such array, only x"));
    }
}
