//! A tensor's elements in their own type, and the one codec between them and bytes.
//!
//! Bytes are little-endian, as every processor and device that trtgate runs on has them. Integers stay integers from the
//! file to the check; they become floats only where somebody asks for arithmetic.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use half::{bf16, f16};

use super::element::ElementType;
use crate::error::{Error, Result};

/// Elements that are converted at once where they are read from or written to a stream.
const CHUNK: usize = 1 << 14;

/// Elements for which room is made before they are there.
const MOST_AT_ONCE: usize = 1 << 22;

/// A type of Rust whose values are elements of a tensor.
pub trait Element: Copy + PartialEq + Send + Sync + 'static + sealed::Sealed {
    /// The element type.
    const TYPE: ElementType;
    /// The elements of `values`, where they are of this type.
    fn view(values: &Values) -> Option<&[Self]>;
    /// As [`Element::view`], to be changed.
    fn view_mut(values: &mut Values) -> Option<&mut Vec<Self>>;
    /// Elements of this type.
    fn values(elements: Vec<Self>) -> Values;
    /// The nearest `f32`; half floats widen exactly, a boolean is 0 or 1.
    fn to_f32(self) -> f32;
    /// The nearest `f64`; exact but for 64-bit integers beyond 2^53.
    fn to_f64(self) -> f64;
}

mod sealed {
    /// What implements [`super::Element`]: the types of this module only.
    pub trait Sealed: Sized {
        /// Appends the elements of `bytes`, whole ones only.
        fn extend(elements: &mut Vec<Self>, bytes: &[u8]);
        /// Appends the bytes of `elements`.
        fn encode(elements: &[Self], bytes: &mut Vec<u8>);
    }
}

/// Implements everything that is one arm an element type.
macro_rules! elements {
    ($($variant:ident: $type:ty, $read:expr, $write:expr, $to_f32:expr, $to_f64:expr;)+) => {
        /// The elements of a tensor, in their own type.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "each variant holds elements of the type it names")]
        pub enum Values { $($variant(Vec<$type>)),+ }

        $(
            impl sealed::Sealed for $type {
                fn extend(elements: &mut Vec<Self>, bytes: &[u8]) {
                    elements.extend(bytes.as_chunks::<{ size_of::<$type>() }>().0.iter().map(|&bytes| ($read)(bytes)));
                }
                fn encode(elements: &[Self], bytes: &mut Vec<u8>) {
                    bytes.extend(elements.iter().flat_map(|&element| ($write)(element)));
                }
            }
            impl Element for $type {
                const TYPE: ElementType = ElementType::$variant;
                fn view(values: &Values) -> Option<&[Self]> {
                    match values { Values::$variant(elements) => Some(elements), _ => None }
                }
                fn view_mut(values: &mut Values) -> Option<&mut Vec<Self>> {
                    match values { Values::$variant(elements) => Some(elements), _ => None }
                }
                fn values(elements: Vec<Self>) -> Values { Values::$variant(elements) }
                fn to_f32(self) -> f32 { ($to_f32)(self) }
                fn to_f64(self) -> f64 { ($to_f64)(self) }
            }
        )+

        impl Values {
            /// The type of the elements.
            pub const fn element_type(&self) -> ElementType {
                match self { $(Self::$variant(_) => ElementType::$variant),+ }
            }

            /// No elements of `element_type` yet; `None` for a type that no tensor holds.
            pub const fn empty(element_type: ElementType) -> Option<Self> {
                match element_type {
                    $(ElementType::$variant => Some(Self::$variant(Vec::new())),)+
                    ElementType::String | ElementType::Other => None,
                }
            }

            /// Appends the elements of `other`; whether it is of the same type.
            fn append(&mut self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(elements), Self::$variant(more)) => { elements.extend_from_slice(more); true })+
                    _ => false,
                }
            }
        }
    };
}

elements! {
    Float32: f32, f32::from_le_bytes, f32::to_le_bytes, |value: f32| value, f64::from;
    Float16: f16, f16::from_le_bytes, f16::to_le_bytes, f16::to_f32, f16::to_f64;
    Bfloat16: bf16, bf16::from_le_bytes, bf16::to_le_bytes, bf16::to_f32, bf16::to_f64;
    Float64: f64, f64::from_le_bytes, f64::to_le_bytes, |value: f64| value as f32, |value: f64| value;
    Int8: i8, i8::from_le_bytes, i8::to_le_bytes, f32::from, f64::from;
    Uint8: u8, u8::from_le_bytes, u8::to_le_bytes, f32::from, f64::from;
    Int16: i16, i16::from_le_bytes, i16::to_le_bytes, f32::from, f64::from;
    Uint16: u16, u16::from_le_bytes, u16::to_le_bytes, f32::from, f64::from;
    Int32: i32, i32::from_le_bytes, i32::to_le_bytes, |value: i32| value as f32, f64::from;
    Uint32: u32, u32::from_le_bytes, u32::to_le_bytes, |value: u32| value as f32, f64::from;
    Int64: i64, i64::from_le_bytes, i64::to_le_bytes, |value: i64| value as f32, |value: i64| value as f64;
    Uint64: u64, u64::from_le_bytes, u64::to_le_bytes, |value: u64| value as f32, |value: u64| value as f64;
    Bool: bool, |bytes: [u8; 1]| bytes != [0], |value: bool| [u8::from(value)],
        |value: bool| f32::from(u8::from(value)), |value: bool| f64::from(u8::from(value));
}

/// Runs `$body` on the elements, whatever their type.
macro_rules! each {
    ($values:expr, $elements:ident => $body:expr) => {
        match $values {
            Values::Float32($elements) => $body,
            Values::Float16($elements) => $body,
            Values::Bfloat16($elements) => $body,
            Values::Float64($elements) => $body,
            Values::Int8($elements) => $body,
            Values::Uint8($elements) => $body,
            Values::Int16($elements) => $body,
            Values::Uint16($elements) => $body,
            Values::Int32($elements) => $body,
            Values::Uint32($elements) => $body,
            Values::Int64($elements) => $body,
            Values::Uint64($elements) => $body,
            Values::Bool($elements) => $body,
        }
    };
}
pub(crate) use each;

impl Values {
    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, elements => elements.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, where they are of type `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        T::view(self)
    }

    /// As [`Values::as_slice`], to be changed.
    pub fn as_mut<T: Element>(&mut self) -> Option<&mut Vec<T>> {
        T::view_mut(self)
    }

    /// The elements as `f32`, borrowed where that is what they are. 32-bit and 64-bit integers and doubles round to the
    /// nearest: this is for arithmetic, never for equality.
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Float32(elements) => Cow::Borrowed(elements),
            other => Cow::Owned(each!(other, elements => elements.iter().map(|&element| element.to_f32()).collect())),
        }
    }

    /// The elements as `f64`; exact but for 64-bit integers beyond 2^53.
    pub fn to_f64(&self) -> Vec<f64> {
        each!(self, elements => elements.iter().map(|&element| element.to_f64()).collect())
    }

    /// Whether `test` is true of some element, as [`Values::to_f64`] has it, without a copy.
    pub fn any(&self, test: impl Fn(f64) -> bool) -> bool {
        each!(self, elements => elements.iter().any(|&element| test(element.to_f64())))
    }

    /// Visits the elements of both in their order, as [`Values::to_f64`] has them, without a copy; none where the types differ.
    pub fn visit_beside(&self, other: &Self, mut visit: impl FnMut(f64, f64)) {
        fn beside<T: Element>(one: &[T], other: &Values, visit: &mut impl FnMut(f64, f64)) {
            let pairs = one.iter().zip(other.as_slice::<T>().unwrap_or_default());
            pairs.for_each(|(x, y)| visit(x.to_f64(), y.to_f64()));
        }
        each!(self, elements => beside(elements, other, &mut visit));
    }

    /// The elements from `start` to before `end`; `None` where there are not so many.
    pub fn part(&self, start: usize, end: usize) -> Option<Self> {
        each!(self, elements => elements.get(start..end).map(|part| Element::values(part.to_vec())))
    }

    /// The rows of `length` elements that `rows` names, in its order; `None` where one lies past the end.
    pub fn rows(&self, length: usize, rows: impl Iterator<Item = usize>) -> Option<Self> {
        fn gather<T: Element>(elements: &[T], length: usize, rows: impl Iterator<Item = usize>) -> Option<Values> {
            // No more at once than a wrong number may cost.
            let expected = rows.size_hint().0.saturating_mul(length).min(MOST_AT_ONCE);
            let mut gathered = Vec::with_capacity(expected);
            for row in rows {
                let start = row.checked_mul(length)?;
                gathered.extend_from_slice(elements.get(start..start.checked_add(length)?)?);
            }
            Some(T::values(gathered))
        }
        each!(self, elements => gather(elements, length, rows))
    }

    /// Appends `other`.
    ///
    /// # Errors
    /// If its elements are of another type.
    pub fn extend(&mut self, other: &Self) -> Result<()> {
        if self.append(other) {
            return Ok(());
        }
        let (here, there) = (self.element_type(), other.element_type());
        Err(Error::failed(format!("{there} values do not continue {here} values")))
    }

    /// Whether every element has the same bits.
    pub fn is_bit_equal(&self, other: &Self) -> bool {
        self.element_type() == other.element_type() && self.encode() == other.encode()
    }

    /// The same numbers in another floating-point type, rounded to nearest, ties to even; `None` where either type is no
    /// float: an integer is never made of something else, nor something else of it.
    pub fn to_float(&self, element_type: ElementType) -> Option<Self> {
        if !self.element_type().is_float() {
            return None;
        }
        let wide = || each!(self, elements => elements.iter().map(|&element| element.to_f64()).collect::<Vec<_>>());
        Some(match element_type {
            ElementType::Float32 => Self::Float32(self.to_f32().into_owned()),
            ElementType::Float16 => match self {
                Self::Float64(elements) => Self::Float16(elements.iter().map(|&value| f16::from_f64(value)).collect()),
                other => Self::Float16(other.to_f32().iter().map(|&value| f16::from_f32(value)).collect()),
            },
            ElementType::Bfloat16 => match self {
                Self::Float64(elements) => {
                    Self::Bfloat16(elements.iter().map(|&value| bf16::from_f64(value)).collect())
                }
                other => Self::Bfloat16(other.to_f32().iter().map(|&value| bf16::from_f32(value)).collect()),
            },
            ElementType::Float64 => Self::Float64(wide()),
            _ => return None,
        })
    }

    /// The bytes of the elements.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }

    /// As [`Values::encode`], behind `bytes`.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.reserve(self.len() * self.element_type().bytes().unwrap_or(0));
        each!(self, elements => sealed::Sealed::encode(elements.as_slice(), bytes));
    }

    /// The elements of `bytes`. A byte of a boolean is true unless it is 0.
    ///
    /// # Errors
    /// `Unsupported` for a type that no tensor holds; `Failed` where the bytes are not whole elements.
    pub fn decode(element_type: ElementType, bytes: &[u8]) -> Result<Self> {
        let unheld = || Error::unsupported(format!("element type {element_type} cannot be read"));
        let size = element_type.bytes().ok_or_else(unheld)?;
        if !bytes.len().is_multiple_of(size) {
            return Err(Error::failed(format!("{} bytes are not whole {element_type} elements", bytes.len())));
        }
        let mut values = Self::empty(element_type).ok_or_else(unheld)?;
        values.extend_from_bytes(bytes);
        Ok(values)
    }

    /// Writes the bytes of the elements, without a copy of all of them.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn write_to(&self, stream: &mut impl Write) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(CHUNK * self.element_type().bytes().unwrap_or(0));
        each!(self, elements => {
            for chunk in elements.chunks(CHUNK) {
                buffer.clear();
                sealed::Sealed::encode(chunk, &mut buffer);
                stream.write_all(&buffer)?;
            }
        });
        Ok(())
    }

    /// Reads `count` elements. Memory is taken as they arrive, so that a number that is not true costs none.
    ///
    /// # Errors
    /// Those of the stream; `InvalidData` for a type that no tensor holds.
    pub fn read_from(element_type: ElementType, count: usize, stream: &mut impl Read) -> io::Result<Self> {
        let unheld = || io::Error::new(io::ErrorKind::InvalidData, format!("no tensor holds {element_type}"));
        let size = element_type.bytes().ok_or_else(unheld)?;
        let mut values = Self::empty(element_type).ok_or_else(unheld)?;
        let mut buffer = vec![0; CHUNK.min(count) * size];
        let mut left = count;
        while left > 0 {
            let take = left.min(CHUNK);
            let bytes = buffer.get_mut(..take * size).unwrap_or_default();
            stream.read_exact(bytes)?;
            values.extend_from_bytes(bytes);
            left -= take;
        }
        Ok(values)
    }

    fn extend_from_bytes(&mut self, bytes: &[u8]) {
        each!(self, elements => sealed::Sealed::extend(elements, bytes));
    }
}

impl From<Vec<f32>> for Values {
    fn from(elements: Vec<f32>) -> Self {
        Self::Float32(elements)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(ElementType::Float32, &[1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat(), &[1.5, -2.0])]
    #[case(ElementType::Float16, &f16::from_f32(0.1).to_le_bytes(), &[0.099_975_586])]
    #[case(ElementType::Bfloat16, &bf16::from_f32(3.0).to_le_bytes(), &[3.0])]
    #[case(ElementType::Float64, &0.25_f64.to_le_bytes(), &[0.25])]
    #[case(ElementType::Int8, &[0x80, 0x7f], &[-128.0, 127.0])]
    #[case(ElementType::Uint8, &[0, 255], &[0.0, 255.0])]
    #[case(ElementType::Int16, &(-300_i16).to_le_bytes(), &[-300.0])]
    #[case(ElementType::Uint16, &65_535_u16.to_le_bytes(), &[65_535.0])]
    #[case(ElementType::Int32, &(-7_i32).to_le_bytes(), &[-7.0])]
    #[case(ElementType::Uint32, &4_000_000_000_u32.to_le_bytes(), &[4e9])]
    #[case(ElementType::Int64, &9_i64.to_le_bytes(), &[9.0])]
    #[case(ElementType::Uint64, &u64::MAX.to_le_bytes(), &[18_446_744_073_709_551_615.0])]
    #[case(ElementType::Bool, &[0, 2], &[0.0, 1.0])]
    fn bytes_decode(#[case] element_type: ElementType, #[case] bytes: &[u8], #[case] expected: &[f32]) {
        let values = Values::decode(element_type, bytes).unwrap();
        assert_eq!((values.element_type(), values.to_f32().as_ref()), (element_type, expected));
        let wide: Vec<f64> = values.to_f64();
        assert!(wide.iter().zip(expected).all(|(&wide, &narrow)| wide as f32 == narrow));
    }

    #[test]
    fn every_type_that_is_held_has_a_size_and_comes_back_with_every_bit() {
        for element_type in ElementType::HELD {
            let size = element_type.bytes().unwrap();
            // Every byte, and for booleans the two that there are.
            let bytes: Vec<u8> = (0..=255_u8)
                .cycle()
                .take(256 * size * 70)
                .map(|byte| if element_type == ElementType::Bool { byte & 1 } else { byte })
                .collect();
            let values = Values::decode(element_type, &bytes).unwrap();
            assert_eq!((values.len(), values.encode()), (256 * 70, bytes.clone()));
            let mut stream = Vec::new();
            values.write_to(&mut stream).unwrap();
            assert_eq!(stream, bytes, "{element_type}");
            let read = Values::read_from(element_type, values.len(), &mut stream.as_slice()).unwrap();
            assert!(read.is_bit_equal(&values), "{element_type}");
            assert!(Values::read_from(element_type, values.len() + 1, &mut stream.as_slice()).is_err());
        }
    }

    #[rstest]
    #[case(ElementType::Float32, &[0_u8; 5])]
    #[case(ElementType::Int64, &[0_u8; 7])]
    #[case(ElementType::Other, &[0_u8; 4])]
    #[case(ElementType::String, &[])]
    fn torn_or_foreign_elements_are_errors(#[case] element_type: ElementType, #[case] bytes: &[u8]) {
        assert!(Values::decode(element_type, bytes).is_err());
    }

    /// The largest count that a header can tell, over a stream that ends at once.
    #[test]
    fn a_number_that_is_not_true_costs_no_memory() {
        assert!(Values::read_from(ElementType::Float64, usize::MAX, &mut &[0_u8; 8][..]).is_err());
    }

    #[test]
    fn rows_are_gathered_in_any_order_and_never_past_the_end() {
        let values = Values::Int64(vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(values.rows(2, [2, 0, 2].into_iter()), Some(Values::Int64(vec![5, 6, 1, 2, 5, 6])));
        assert_eq!(values.rows(2, [3].into_iter()), None);
        assert_eq!(values.rows(usize::MAX, [usize::MAX].into_iter()), None);
        assert_eq!(values.part(1, 3), Some(Values::Int64(vec![2, 3])));
        assert_eq!(values.part(5, 7), None);
    }

    #[test]
    fn values_of_another_type_do_not_continue() {
        let mut values = Values::Int32(vec![1]);
        values.extend(&Values::Int32(vec![2])).unwrap();
        assert_eq!(
            values.extend(&Values::Int64(vec![2])).unwrap_err().message,
            "int64 values do not continue int32 values"
        );
        assert_eq!(values, Values::Int32(vec![1, 2]));
    }

    #[test]
    fn only_floats_change_their_type_and_only_to_floats() {
        let floats = Values::Float32(vec![0.1, 65_520.0, f32::NAN]);
        let halves = floats.to_float(ElementType::Float16).unwrap();
        assert_eq!(halves.to_f32()[..2], [0.099_975_586, f32::INFINITY]);
        assert!(halves.to_f32()[2].is_nan());
        assert_eq!(floats.to_float(ElementType::Int32), None);
        assert_eq!(Values::Int32(vec![1]).to_float(ElementType::Float32), None);
        assert_eq!(Values::Bool(vec![true]).to_float(ElementType::Float32), None);
    }

    proptest! {
        #[test]
        fn integers_beyond_the_floats_stay_exact(elements in proptest::collection::vec(any::<i64>(), 0..50)) {
            let values = Values::Int64(elements.clone());
            let back = Values::decode(ElementType::Int64, &values.encode()).unwrap();
            prop_assert_eq!(back.as_slice::<i64>(), Some(elements.as_slice()));
            prop_assert_eq!(back.as_slice::<f32>(), None);
        }
    }
}
