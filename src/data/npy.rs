//! NumPy's npy files: one array, the samples along its first axis.
//!
//! The same arrays come as members of an npz archive. Rows are decoded one at a time, so that memory stays constant and a truncated
//! row is reported by its number. Format: NEP 1, <https://numpy.org/neps/nep-0001-npy-format.html>.

mod header;

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

pub(crate) use header::read_header;

use crate::atomic::AtomicFile;
use crate::data::zip::{self, Member};
use crate::error::{Error, Result};
use crate::files;
use header::{Header, MAX_HEADER};

/// Most bytes of one row; bounds the memory that a hostile header can take.
const MAX_ROW: usize = 1 << 31;

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
    /// Whole numbers of 1, 2, 4 or 8 bytes: labels.
    Integer {
        /// Bytes of one.
        bytes: usize,
        /// Whether it may be negative.
        signed: bool,
        /// Byte order.
        big: bool,
    },
}

impl Element {
    const fn size(self) -> usize {
        match self {
            Self::Float32 { .. } => 4,
            Self::Float64 { .. } => 8,
            Self::Uint8 => 1,
            Self::Integer { bytes, .. } => bytes,
        }
    }
}

/// What is read: a file, or a member of an archive.
trait Source: Read + Send + std::fmt::Debug {}
impl<T: Read + Send + std::fmt::Debug> Source for T {}

/// Streams the rows of an npy array; holds one row.
#[derive(Debug)]
pub struct NpyRows {
    place: String,
    path: PathBuf,
    reader: Box<dyn Source>,
    element: Element,
    shape: Vec<u64>,
    width: usize,
    rows: u64,
    position: u64,
    row: Vec<u8>,
}

impl NpyRows {
    /// Opens an array of shape `[N, …]` whose rows hold `width` values (`None` takes any width), in C order.
    pub fn open(path: &Path, width: Option<usize>) -> Result<Self> {
        let file = files::plain(path).map_err(|error| Error::io("read", path, error))?;
        let size = file.metadata().map_err(|error| Error::io("read", path, error))?.len();
        let reader = BufReader::with_capacity(1 << 16, file);
        Self::read(path, format!("`{}`", path.display()), Box::new(reader), size, width, false)
    }

    /// Opens the array `member` of the npz archive `path`; of whole numbers where it holds `labels`.
    pub fn open_member(path: &Path, member: &Member, labels: bool) -> Result<Self> {
        let place = format!("`{}`, `{}`", path.display(), member.name);
        let reader = BufReader::with_capacity(1 << 16, zip::open(path, member)?);
        Self::read(path, place, Box::new(reader), member.size, None, labels)
    }

    fn read(
        path: &Path,
        place: String,
        reader: Box<dyn Source>,
        size: u64,
        width: Option<usize>,
        labels: bool,
    ) -> Result<Self> {
        let wrong = |problem: String| Error::input(format!("{place}: {problem}"));
        let mut reader = Counting { reader, count: 0, most: MAX_HEADER };
        let header = read_header(&mut reader)
            .map_err(|error| wrong("not an npy file, or its header is damaged".to_owned()).because(error))?;
        let element = element_of(&header, labels).ok_or_else(|| {
            let hint = if labels { "save labels as whole numbers" } else { "save it as float32, float64 or uint8" };
            wrong(format!("holds {}, which is not read", header.descr)).hint(hint)
        })?;
        if header.fortran && header.shape.len() > 1 {
            return Err(wrong("is in Fortran order".to_owned()).hint("save `numpy.ascontiguousarray(array)`"));
        }
        let Some((&rows, inner)) = header.shape.split_first() else {
            return Err(wrong("holds a scalar, expected one sample a row".to_owned()));
        };
        let row_len = inner
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(usize::try_from(size).ok()?))
            .filter(|&length| width.is_none_or(|width| width == length))
            .filter(|&length| length > 0 && length.checked_mul(element.size()).is_some_and(|bytes| bytes <= MAX_ROW));
        let Some(row_len) = row_len else {
            let expected = width.map_or_else(String::new, |width| format!(" of {width} values"));
            return Err(wrong(format!("has shape {:?}, expected one sample{expected} a row", header.shape)));
        };
        if rows == 0 {
            return Err(wrong("is empty".to_owned()));
        }
        let data = size.saturating_sub(reader.count);
        let expected = rows.checked_mul(row_len as u64).and_then(|count| count.checked_mul(element.size() as u64));
        if expected != Some(data) {
            let row_bytes = (row_len * element.size()) as u64;
            let record = if data / row_bytes < rows { data / row_bytes + 1 } else { rows };
            let problem = if data / row_bytes < rows { "truncated" } else { "more data than its shape says" };
            return Err(Error::input(format!("{place}, record {record}: {problem}")));
        }
        let shape = inner.to_vec();
        let reader = reader.reader;
        Ok(Self {
            place,
            path: path.to_owned(),
            reader,
            element,
            shape,
            width: row_len,
            rows,
            position: 0,
            row: Vec::new(),
        })
    }

    /// Shape of one row: the array's without its first axis.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The array's place: its file, and its name in an archive.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Rows of the file.
    pub fn total(&self) -> u64 {
        self.rows
    }

    /// Values of one row.
    pub fn width(&self) -> usize {
        self.width
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
        self.row.resize(self.width * self.element.size(), 0);
        self.reader.read_exact(&mut self.row).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::input(format!("{}, record {}: truncated", self.place, self.position))
            }
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
                Error::input(format!("{}, record {}: damaged", self.place, self.position)).because(error)
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
            Element::Integer { bytes: size, signed, big } => {
                values.extend(bytes.chunks_exact(size).map(|bytes| whole(bytes, signed, big) as f32));
            }
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
                "{}, record {}: value {} is not finite",
                self.place,
                self.position,
                index + 1
            ))),
        }
    }
}

/// A whole number of 1 to 8 bytes.
fn whole(bytes: &[u8], signed: bool, big: bool) -> i128 {
    let mut wide = [0; 16];
    for (place, byte) in wide.iter_mut().zip(bytes.iter().rev()) {
        *place = *byte;
    }
    if !big {
        for (place, byte) in wide.iter_mut().zip(bytes) {
            *place = *byte;
        }
    }
    let bits = 128 - 8 * bytes.len() as u32;
    let value = i128::from_le_bytes(wide);
    // Up and down again: the sign moves along.
    if signed { value << bits >> bits } else { value }
}

/// What the array holds, where that is read: numbers, or whole ones for labels.
fn element_of(header: &Header, labels: bool) -> Option<Element> {
    let name = header.plain()?;
    let big = match name.get(..1)? {
        ">" => true,
        "<" | "|" => false,
        _ => return None,
    };
    match (name.get(1..2)?, name.get(2..)?) {
        (kind @ ("i" | "u"), bytes @ ("1" | "2" | "4" | "8")) if labels => {
            Some(Element::Integer { bytes: bytes.parse().ok()?, signed: kind == "i", big })
        }
        ("f", "4") => Some(Element::Float32 { big }),
        ("f", "8") => Some(Element::Float64 { big }),
        ("u", "1") => Some(Element::Uint8),
        _ => None,
    }
}

/// Counts what is read, and reads no more than a header may have: its length is where the data begin.
struct Counting {
    reader: Box<dyn Source>,
    count: u64,
    most: u64,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.most.saturating_sub(self.count)).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.reader.read(buffer.get_mut(..left).unwrap_or_default())?;
        self.count += count as u64;
        Ok(count)
    }
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
        let shape =
            [&[self.rows], self.row_shape.iter().map(|&size| size as u64).collect::<Vec<_>>().as_slice()].concat();
        let header = header("<f4", &shape)?;
        self.file.overwrite_start(&header)?;
        self.file.commit()
    }
}

/// A header of [`HEADER_LEN`] bytes.
fn header(descr: &str, shape: &[u64]) -> Result<Vec<u8>> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let dictionary = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    let length = HEADER_LEN - 10;
    if dictionary.len() >= length {
        return Err(Error::unsupported(format!("shape {shape:?} is too long for an npy header")));
    }
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((length as u16).to_le_bytes());
    header.extend(format!("{dictionary:<width$}\n", width = length - 1).into_bytes());
    Ok(header)
}

/// A whole array of elements `descr` (`|u1`, `<f4`, `<i8`), whose bytes are `data`.
///
/// # Errors
/// If the shape does not fit into a header.
pub fn array(descr: &str, shape: &[usize], data: &[u8]) -> Result<Vec<u8>> {
    let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
    let mut bytes = header(descr, &shape)?;
    bytes.extend_from_slice(data);
    Ok(bytes)
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
    #[case::byte("|u1", vec![3, 255], &[3, 255])]
    #[case::signed_byte("|i1", vec![3, 255], &[3, -1])]
    #[case::little("<i8", [3i64.to_le_bytes(), (-2i64).to_le_bytes()].concat(), &[3, -2])]
    #[case::big(">u2", vec![1, 2, 0, 9], &[258, 9])]
    fn labels_are_whole_numbers(#[case] descr: &str, #[case] data: Vec<u8>, #[case] expected: &[i32]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.npz");
        let array = npy(descr, "False", "(2,)", &data);
        std::fs::write(
            &path,
            zip::pack(&[("y.npy", &array), ("half.npy", &npy("<f4", "False", "(2,)", &[0; 8]))]).unwrap(),
        )
        .unwrap();
        let members = zip::members(&path).unwrap();
        let mut rows = NpyRows::open_member(&path, &members[0], true).unwrap();
        let (mut all, mut row) = (Vec::new(), Vec::new());
        while rows.next_row(&mut row).unwrap() {
            all.push(row[0] as i32);
        }
        assert_eq!(all, expected);
        assert!(rows.shape().is_empty());
        let other = NpyRows::open_member(&path, &members[1], true).unwrap();
        assert_eq!(other.element(), Element::Float32 { big: false });
    }

    #[rstest]
    #[case::truncated(npy("<f4", "False", "(2, 2)", &[0; 15]), "record 2: truncated")]
    #[case::too_long(npy("<f4", "False", "(2, 2)", &[0; 17]), "record 2: more data than its shape says")]
    #[case::wrong_width(npy("<f4", "False", "(2, 3)", &[0; 24]), "has shape [2, 3], expected one sample of 2 values a row")]
    #[case::no_rows(npy("<f4", "False", "(0, 2)", &[]), "is empty")]
    #[case::fortran(npy("<f4", "True", "(2, 2)", &[0; 16]), "is in Fortran order")]
    #[case::integers(npy("<i4", "False", "(2, 2)", &[0; 16]), "holds '<i4', which is not read")]
    #[case::huge(npy("<f4", "False", "(9223372036854775807, 2)", &[0; 16]), "not an npy file, or its header is damaged")]
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
