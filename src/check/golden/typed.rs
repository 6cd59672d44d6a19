//! A tensor as a golden stores it: its own element type, its shape, its bytes.

use safetensors::Dtype;

use crate::error::{Error, Result};

/// A tensor of any element type that the file format knows, row-major, little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    element: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Typed {
    /// A tensor of `element`, whose `bytes` must fill `shape`.
    ///
    /// # Errors
    /// An invalid one, if they do not, or if the element type has no whole number of bytes.
    pub fn new(element: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self> {
        let width = element.bitsize() / 8;
        let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
        let expected = count.and_then(|count| count.checked_mul(width));
        if !element.bitsize().is_multiple_of(8) || expected != Some(bytes.len()) {
            return Err(Error::invalid(format!("{} bytes do not fill {element} {shape:?}", bytes.len())));
        }
        Ok(Self { element, shape, bytes })
    }

    /// A `float32` tensor.
    ///
    /// # Errors
    /// As [`Typed::new`].
    pub fn float32(shape: Vec<usize>, values: &[f32]) -> Result<Self> {
        Self::new(Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// A `uint32` tensor.
    ///
    /// # Errors
    /// As [`Typed::new`].
    pub fn uint32(shape: Vec<usize>, values: &[u32]) -> Result<Self> {
        Self::new(Dtype::U32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// The element type.
    pub const fn element(&self) -> Dtype {
        self.element
    }

    /// The dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values' bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same with each entry of the first dimension at the one before it, the first at the last.
    ///
    /// # Errors
    /// An unsupported one without a first dimension.
    pub(super) fn rotated(&self) -> Result<Self> {
        let rows = self.shape.first().copied().filter(|&rows| rows > 0);
        let rows = rows.ok_or_else(|| Error::unsupported("a tensor without rows has none to rotate"))?;
        let mut bytes = self.bytes.clone();
        let row = bytes.len() / rows;
        bytes.rotate_left(row);
        Ok(Self { bytes, ..self.clone() })
    }

    /// The values, where they are `float32`.
    pub fn to_float32(&self) -> Option<Vec<f32>> {
        let words = (self.element == Dtype::F32).then(|| self.bytes.as_chunks::<4>().0)?;
        Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    /// The values, where they are `uint32`.
    pub fn to_uint32(&self) -> Option<Vec<u32>> {
        let words = (self.element == Dtype::U32).then(|| self.bytes.as_chunks::<4>().0)?;
        Some(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }
}

impl safetensors::View for &Typed {
    fn dtype(&self) -> Dtype {
        self.element
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
