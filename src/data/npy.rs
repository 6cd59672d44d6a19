//! NumPy's npy files: one array, the samples along its first axis.
//!
//! The header is parsed by `npyz`; rows are decoded here one at a time, so that memory stays constant and a truncated
//! row is reported by its number. Format: NEP 1, <https://numpy.org/neps/nep-0001-npy-format.html>.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use npyz::{DType, Endianness, Order, TypeChar};

use crate::data::atomic::AtomicFile;
use crate::error::{Error, Result};

/// Element types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Little- or big-endian IEEE binary32.
    Float32 {
        /// Byte order.
        big: bool,
    },
    /// Little- or big-endian IEEE binary64.
    Float64 {
        /// Byte order.
        big: bool,
    },
    /// Bytes: pixel values, not yet scaled.
    Uint8,
}

impl Element {
    const fn size(self) -> usize {
        match self {
            Self::Float32 { .. } => 4,
            Self::Float64 { .. } => 8,
            Self::Uint8 => 1,
        }
    }
}

/// Streams the rows of an npy file; holds one row.
#[derive(Debug)]
pub struct NpyRows {
    path: PathBuf,
    reader: BufReader<File>,
    element: Element,
    rows: u64,
    position: u64,
    row: Vec<u8>,
}

impl NpyRows {
    /// Opens an array of shape `[N, …]` whose rows hold `width` values (`None` takes any width), in C order.
    pub fn open(path: &Path, width: Option<usize>) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io("read", path, error))?;
        let size = file.metadata().map_err(|error| Error::io("read", path, error))?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let wrong = |problem: String| Error::input(format!("`{}`: {problem}", path.display()));
        let header = npyz::NpyHeader::from_reader(&mut reader)
            .map_err(|error| wrong("not an npy file, or its header is damaged".to_owned()).because(error))?;
        let element = element_of(&header.dtype()).ok_or_else(|| {
            wrong(format!("holds {}, which is not read", header.dtype().descr()))
                .hint("save it as float32, float64 or uint8")
        })?;
        if header.order() != Order::C && header.shape().len() > 1 {
            return Err(wrong("is in Fortran order".to_owned()).hint("save `numpy.ascontiguousarray(array)`"));
        }
        let Some((&rows, inner)) = header.shape().split_first() else {
            return Err(wrong("holds a scalar, expected one sample a row".to_owned()));
        };
        let row_len = inner
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(usize::try_from(size).ok()?))
            .filter(|&length| width.is_none_or(|width| width == length));
        let Some(row_len) = row_len.filter(|&length| length > 0) else {
            let expected = width.map_or_else(String::new, |width| format!(" of {width} values"));
            return Err(wrong(format!("has shape {:?}, expected one sample{expected} a row", header.shape())));
        };
        if rows == 0 {
            return Err(wrong("is empty".to_owned()));
        }
        let data = size.saturating_sub(header_len(&mut reader, path)?);
        let expected = rows.checked_mul(row_len as u64).and_then(|count| count.checked_mul(element.size() as u64));
        if expected != Some(data) {
            let row_bytes = (row_len * element.size()) as u64;
            let record = if data / row_bytes < rows { data / row_bytes + 1 } else { rows };
            let problem = if data / row_bytes < rows { "truncated" } else { "more data than its shape says" };
            return Err(Error::input(format!("`{}`, record {record}: {problem}", path.display())));
        }
        let row = vec![0; row_len * element.size()];
        Ok(Self { path: path.to_owned(), reader, element, rows, position: 0, row })
    }

    /// Rows of the file.
    pub fn total(&self) -> u64 {
        self.rows
    }

    /// Values of one row.
    pub fn width(&self) -> usize {
        self.row.len() / self.element.size()
    }

    /// What the rows hold.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Reads the next row and returns its bytes as they are in the file, or `None` at the end.
    pub fn next_bytes(&mut self) -> Result<Option<&[u8]>> {
        if self.position == self.rows {
            return Ok(None);
        }
        self.position += 1;
        self.reader.read_exact(&mut self.row).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::input(format!("`{}`, record {}: truncated", self.path.display(), self.position))
            }
            _ => Error::io("read", &self.path, error),
        })?;
        Ok(Some(&self.row))
    }

    /// Reads the next row of floats into `values` (cleared first); `false` at the end. A value that is not finite as
    /// `f32` is an error; rows of bytes come as their numbers.
    pub fn next_row(&mut self, values: &mut Vec<f32>) -> Result<bool> {
        values.clear();
        let element = self.element;
        let Some(bytes) = self.next_bytes()? else { return Ok(false) };
        match element {
            Element::Uint8 => values.extend(bytes.iter().map(|&byte| f32::from(byte))),
            Element::Float32 { big } => values.extend(
                bytes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&bytes| if big { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) }),
            ),
            Element::Float64 { big } => values.extend(
                bytes
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|&bytes| (if big { f64::from_be_bytes(bytes) } else { f64::from_le_bytes(bytes) }) as f32),
            ),
        }
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(true),
            Some(index) => Err(Error::input(format!(
                "`{}`, record {}: value {} is not finite",
                self.path.display(),
                self.position,
                index + 1
            ))),
        }
    }
}

fn element_of(dtype: &DType) -> Option<Element> {
    let DType::Plain(name) = dtype else { return None };
    let big = match name.endianness() {
        Endianness::Big => true,
        Endianness::Little | Endianness::Irrelevant => false,
    };
    match (name.type_char(), name.size_field()) {
        (TypeChar::Float, 4) => Some(Element::Float32 { big }),
        (TypeChar::Float, 8) => Some(Element::Float64 { big }),
        (TypeChar::Uint, 1) => Some(Element::Uint8),
        _ => None,
    }
}

/// Bytes before the data: where the reader stands after the header.
fn header_len(reader: &mut BufReader<File>, path: &Path) -> Result<u64> {
    std::io::Seek::stream_position(reader).map_err(|error| Error::io("read", path, error))
}

/// Bytes of the header that [`NpyWriter`] reserves: magic, version, length and a padded dictionary.
const HEADER_LEN: usize = 128;

/// Writes rows of float32; the file appears on [`finish`](Self::finish).
#[derive(Debug)]
pub struct NpyWriter {
    file: AtomicFile,
    row_shape: Vec<usize>,
    rows: u64,
    buffer: Vec<u8>,
}

impl NpyWriter {
    /// Starts a file whose array has shape `[N, row_shape…]`.
    pub fn create(path: &Path, row_shape: &[usize]) -> Result<Self> {
        let mut file = AtomicFile::create(path)?;
        file.put(&[0; HEADER_LEN])?;
        Ok(Self { file, row_shape: row_shape.to_vec(), rows: 0, buffer: Vec::new() })
    }

    /// Adds a row. A wrong width or a value that is not finite is an error.
    pub fn push(&mut self, values: &[f32]) -> Result<()> {
        let width: usize = self.row_shape.iter().product();
        if values.len() != width {
            return Err(Error::input(format!("a row has {width} values, got {}", values.len())));
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::failed(format!("value {} of row {} is not finite", index + 1, self.rows)));
        }
        self.buffer.clear();
        self.buffer.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.rows += 1;
        self.file.put(&self.buffer)
    }

    /// Writes the header, syncs the file and gives it its name.
    pub fn finish(mut self) -> Result<()> {
        let shape: String = self.row_shape.iter().map(|size| format!(" {size},")).collect();
        let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},{shape}), }}", self.rows);
        let length = HEADER_LEN - 10;
        if dictionary.len() >= length {
            return Err(Error::unsupported(format!("shape {:?} is too long for an npy header", self.row_shape)));
        }
        let mut header = b"\x93NUMPY\x01\x00".to_vec();
        header.extend((length as u16).to_le_bytes());
        header.extend(format!("{dictionary:<width$}\n", width = length - 1).into_bytes());
        self.file.overwrite_start(&header)?;
        self.file.commit()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// An npy file of version 1.0 with this dictionary text and data.
    fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let dictionary = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(118u16.to_le_bytes());
        bytes.extend(format!("{dictionary:<117}\n").into_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn read(bytes: &[u8], width: Option<usize>) -> Result<Vec<Vec<f32>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.npy");
        std::fs::write(&path, bytes).unwrap();
        let mut reader = NpyRows::open(&path, width)?;
        let (mut rows, mut row) = (Vec::new(), Vec::new());
        while reader.next_row(&mut row)? {
            rows.push(row.clone());
        }
        Ok(rows)
    }

    fn bytes_of<const N: usize>(values: [f32; 4], encode: fn(f32) -> [u8; N]) -> Vec<u8> {
        values.into_iter().flat_map(encode).collect()
    }

    #[rstest]
    #[case::little("<f4", bytes_of([1.0, 2.0, 3.0, 4.0], f32::to_le_bytes))]
    #[case::big(">f4", bytes_of([1.0, 2.0, 3.0, 4.0], f32::to_be_bytes))]
    #[case::double("<f8", bytes_of([1.0, 2.0, 3.0, 4.0], |value| f64::from(value).to_le_bytes()))]
    #[case::bytes("|u1", vec![1, 2, 3, 4])]
    fn element_types_are_read(#[case] descr: &str, #[case] data: Vec<u8>) {
        for shape in ["(2, 2)", "(2, 1, 2, 1)"] {
            assert_eq!(read(&npy(descr, "False", shape, &data), Some(2)).unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        }
    }

    #[rstest]
    #[case::truncated(npy("<f4", "False", "(2, 2)", &[0; 15]), "record 2: truncated")]
    #[case::too_long(npy("<f4", "False", "(2, 2)", &[0; 17]), "record 2: more data than its shape says")]
    #[case::wrong_width(npy("<f4", "False", "(2, 3)", &[0; 24]), "has shape [2, 3], expected one sample of 2 values a row")]
    #[case::no_rows(npy("<f4", "False", "(0, 2)", &[]), "is empty")]
    #[case::fortran(npy("<f4", "True", "(2, 2)", &[0; 16]), "is in Fortran order")]
    #[case::integers(npy("<i4", "False", "(2, 2)", &[0; 16]), "holds '<i4', which is not read")]
    #[case::huge(npy("<f4", "False", "(9223372036854775807, 2)", &[0; 16]), "record 3: truncated")]
    #[case::not_npy(b"label,value\n".to_vec(), "not an npy file")]
    #[case::empty_file(Vec::new(), "not an npy file")]
    #[case::nan(npy("<f4", "False", "(1, 2)", &[0, 0, 0, 0, 0, 0, 0xc0, 0x7f]), "record 1: value 2 is not finite")]
    #[case::double_overflow(npy("<f8", "False", "(1, 2)", &[1e300f64.to_le_bytes(), [0; 8]].concat()), "record 1: value 1 is not finite")]
    fn damaged_files_are_refused(#[case] bytes: Vec<u8>, #[case] expected: &str) {
        let error = read(&bytes, Some(2)).unwrap_err();
        assert!(error.message.contains("data.npy") && error.message.contains(expected), "{error}");
    }

    proptest! {
        #[test]
        fn rows_survive_the_way_there_and_back(rows in proptest::collection::vec(proptest::collection::vec(-1e30f32..1e30, 6), 1..20)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.npy");
            let mut writer = NpyWriter::create(&path, &[1, 2, 3]).unwrap();
            for row in &rows {
                writer.push(row).unwrap();
            }
            writer.finish().unwrap();
            prop_assert_eq!(read(&std::fs::read(&path).unwrap(), Some(6)).unwrap(), rows);
        }
    }
}
