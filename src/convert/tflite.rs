//! TFLite files read without a library of TFLite: the structure of a converted model.
//!
//! A TFLite file is a flatbuffer; the field numbers are those of its schema
//! (<https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs>).

pub mod border;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};

/// What a TFLite model is made of, for review in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Structure {
    /// Inputs: type and shape.
    pub inputs: Vec<String>,
    /// Outputs: type and shape.
    pub outputs: Vec<String>,
    /// How often each operator occurs.
    pub operators: BTreeMap<String, usize>,
    /// How many tensors each element type has.
    pub tensors: BTreeMap<String, usize>,
}

impl fmt::Display for Structure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (role, values) in [("input", &self.inputs), ("output", &self.outputs)] {
            for value in values {
                writeln!(formatter, "{role}: {value}")?;
            }
        }
        for (name, count) in &self.operators {
            writeln!(formatter, "operator: {name} × {count}")?;
        }
        for (kind, count) in &self.tensors {
            writeln!(formatter, "tensors of {kind}: {count}")?;
        }
        Ok(())
    }
}

/// The structure of the first graph of a TFLite file; an error if it is truncated or no TFLite file.
pub fn structure(bytes: &[u8]) -> Result<Structure> {
    if bytes.get(4..8) != Some(b"TFL3") {
        return Err(Error::input("it is not a TFLite model"));
    }
    read(bytes).ok_or_else(|| Error::input("it is a damaged TFLite model"))
}

fn read(bytes: &[u8]) -> Option<Structure> {
    let model = Table::root(bytes)?;
    let codes: Vec<String> = model.tables(1)?.iter().map(operator).collect();
    let graphs = model.tables(2)?;
    let graph = graphs.first()?;
    let tensors: Vec<String> = graph.tables(0)?.iter().map(describe).collect::<Option<_>>()?;
    let border = |field: usize| -> Option<Vec<String>> {
        let index = |value: &i32| tensors.get(usize::try_from(*value).ok()?).cloned();
        graph.integers(field)?.iter().map(index).collect()
    };
    let mut structure =
        Structure { inputs: border(1)?, outputs: border(2)?, operators: BTreeMap::new(), tensors: BTreeMap::new() };
    for node in graph.tables(3)? {
        let code = usize::try_from(node.integer(0).unwrap_or(0)).ok()?;
        *structure.operators.entry(codes.get(code)?.clone()).or_default() += 1;
    }
    for tensor in &tensors {
        let kind = tensor.split(' ').next()?.to_owned();
        *structure.tensors.entry(kind).or_default() += 1;
    }
    // The last buffers hold the weights: a file that ends before them is truncated.
    for buffer in model.tables(4)? {
        buffer.bytes(0)?;
    }
    Some(structure)
}

/// Name of an `OperatorCode`. The number stands in a byte, or in 32 bits where that is too small.
fn operator(code: &Table<'_>) -> String {
    let number = code.byte(0).map_or(0, i32::from).max(code.integer(3).unwrap_or(0));
    let name = match number {
        0 => "ADD",
        1 => "AVERAGE_POOL_2D",
        2 => "CONCATENATION",
        3 => "CONV_2D",
        4 => "DEPTHWISE_CONV_2D",
        6 => "DEQUANTIZE",
        9 => "FULLY_CONNECTED",
        14 => "LOGISTIC",
        17 => "MAX_POOL_2D",
        18 => "MUL",
        19 => "RELU",
        22 => "RESHAPE",
        25 => "SOFTMAX",
        34 => "PAD",
        39 => "TRANSPOSE",
        40 => "MEAN",
        114 => "QUANTIZE",
        _ => return format!("operator {number}"),
    };
    name.to_owned()
}

/// `int8 [32, 10]`.
fn describe(tensor: &Table<'_>) -> Option<String> {
    let kind = match tensor.byte(1).unwrap_or(0) {
        0 => "float32",
        1 => "float16",
        2 => "int32",
        3 => "uint8",
        4 => "int64",
        6 => "bool",
        7 => "int16",
        9 => "int8",
        _ => "other",
    };
    Some(format!("{kind} {:?}", tensor.integers(0)?))
}

/// One table of a flatbuffer. Every read is checked; an absent field is `None`, or empty for a vector.
#[derive(Clone, Copy)]
struct Table<'bytes> {
    bytes: &'bytes [u8],
    position: usize,
}

impl<'bytes> Table<'bytes> {
    fn root(bytes: &'bytes [u8]) -> Option<Self> {
        Some(Self { bytes, position: follow(bytes, 0)? })
    }

    /// Where field `number` stands; `Some(None)` if it is absent.
    fn field(&self, number: usize) -> Option<Option<usize>> {
        let offset = i64::from(number_at::<4>(self.bytes, self.position).map(i32::from_le_bytes)?);
        let table = usize::try_from(i64::try_from(self.position).ok()? - offset).ok()?;
        let size = usize::from(number_at::<2>(self.bytes, table).map(u16::from_le_bytes)?);
        let entry = 4 + 2 * number;
        if entry + 2 > size {
            return Some(None);
        }
        let offset = usize::from(number_at::<2>(self.bytes, table + entry).map(u16::from_le_bytes)?);
        Some((offset != 0).then_some(self.position + offset))
    }

    fn byte(&self, number: usize) -> Option<u8> {
        self.bytes.get(self.field(number)??).copied()
    }

    fn integer(&self, number: usize) -> Option<i32> {
        number_at::<4>(self.bytes, self.field(number)??).map(i32::from_le_bytes)
    }

    /// First byte and length of a vector.
    fn vector(&self, number: usize, size: usize) -> Option<(usize, usize)> {
        let Some(position) = self.field(number)? else { return Some((0, 0)) };
        let start = follow(self.bytes, position)?;
        let length = usize::try_from(number_at::<4>(self.bytes, start).map(u32::from_le_bytes)?).ok()?;
        let end = length.checked_mul(size)?.checked_add(start)?.checked_add(4)?;
        (end <= self.bytes.len()).then_some((start + 4, length))
    }

    fn bytes(&self, number: usize) -> Option<&'bytes [u8]> {
        let (start, length) = self.vector(number, 1)?;
        self.bytes.get(start..start + length)
    }

    fn integers(&self, number: usize) -> Option<Vec<i32>> {
        let (start, length) = self.vector(number, 4)?;
        (0..length).map(|index| number_at::<4>(self.bytes, start + 4 * index).map(i32::from_le_bytes)).collect()
    }

    fn tables(&self, number: usize) -> Option<Vec<Self>> {
        let (start, length) = self.vector(number, 4)?;
        let table = |index| Some(Self { bytes: self.bytes, position: follow(self.bytes, start + 4 * index)? });
        (0..length).map(table).collect()
    }
}

/// Follows the unsigned offset that stands at `position`.
fn follow(bytes: &[u8], position: usize) -> Option<usize> {
    let offset = usize::try_from(number_at::<4>(bytes, position).map(u32::from_le_bytes)?).ok()?;
    position.checked_add(offset).filter(|&target| offset > 0 && target < bytes.len())
}

fn number_at<const SIZE: usize>(bytes: &[u8], position: usize) -> Option<[u8; SIZE]> {
    bytes.get(position..position.checked_add(SIZE)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    pub(super) const TINY: &[u8] = include_bytes!("../../tests/fixtures/tiny/batch_4_int8.tflite");

    /// The small model with the byte at `index` changed.
    pub(super) fn changed(index: prop::sample::Index, byte: u8) -> Vec<u8> {
        let mut bytes = TINY.to_vec();
        let index = index.index(bytes.len());
        if let Some(place) = bytes.get_mut(index) {
            *place = byte;
        }
        bytes
    }

    #[test]
    fn the_structure_of_a_small_model() {
        insta::assert_snapshot!(structure(TINY).unwrap(), @r"
        input: int8 [4, 8, 8, 3]
        output: int8 [4, 5]
        operator: CONV_2D × 2
        operator: FULLY_CONNECTED × 1
        operator: MEAN × 1
        tensors of int32: 3
        tensors of int8: 8
        ");
    }

    #[test]
    fn every_truncation_up_to_the_padding_is_an_error() {
        for length in 0..TINY.len() - 64 {
            assert!(structure(TINY.get(..length).unwrap()).is_err(), "{length} of {} bytes", TINY.len());
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_makes_the_reader_panic(index in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let _ = structure(&changed(index, byte));
        }
    }
}
