//! Numbers as text: rows of comma-separated values, with or without a header.
//!
//! Values are written in the shortest form that reads back to the same `f32`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::atomic::AtomicFile;
use crate::error::{Error, Result};
use crate::files;

/// Longest accepted text of one value, separator included. Bounds the memory that a malformed file can take.
const MAX_VALUE_BYTES: usize = 64;
/// Longest accepted line while the number of values is not known.
const MAX_LINE_BYTES: usize = 1 << 24;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Streams rows of finite numbers; holds one row.
///
/// A row is one line: fields that span lines have no place in numbers. Fields may be quoted, blank lines are skipped.
#[derive(Debug)]
pub struct NumberRows {
    path: PathBuf,
    reader: BufReader<files::Source>,
    line: Vec<u8>,
    /// Number of the line that `line` holds, from 1.
    number: u64,
    width: Option<usize>,
    /// Whether `line` holds a first row that was read to look for a header.
    pending: bool,
    /// Names of the columns, where the first line has them.
    header: Vec<String>,
    /// Fields of the first line.
    columns: Option<usize>,
}

impl NumberRows {
    /// Opens a file whose rows have `width` values each; `None` takes the width of the first row. A first row whose
    /// first field starts with a letter, `_` or `#` is a header and skipped.
    pub fn open(path: &Path, width: Option<usize>) -> Result<Self> {
        let file = files::Source::open(path).map_err(|error| Error::io("read", path, error))?;
        let reader = BufReader::with_capacity(1 << 16, file);
        let path = path.to_owned();
        let (line, header) = (Vec::new(), Vec::new());
        let mut rows = Self { path, reader, line, number: 0, width, pending: false, header, columns: None };
        if rows.advance()? {
            let header = fields(&rows.line).next().is_some_and(starts_like_a_name);
            rows.pending = !header;
            rows.columns = Some(fields(&rows.line).count());
            if header {
                let names = fields(&rows.line).map(|field| String::from_utf8_lossy(field).into_owned());
                rows.header = names.collect();
            }
            if header && rows.width.is_none() {
                rows.width = Some(fields(&rows.line).count());
            }
        }
        Ok(rows)
    }

    /// Reads the next row into `values` (cleared first) and returns its line number, or `None` at the end.
    pub fn next_row(&mut self, values: &mut Vec<f32>) -> Result<Option<u64>> {
        values.clear();
        if !std::mem::take(&mut self.pending) && !self.advance()? {
            return Ok(None);
        }
        let line = self.number;
        let (mut found, mut unusable) = (0, None);
        for field in fields(&self.line) {
            found += 1;
            match std::str::from_utf8(field).ok().and_then(|text| text.parse::<f32>().ok()) {
                Some(value) if value.is_finite() => values.push(value),
                value => unusable = unusable.or(Some((found, field, value.is_some()))),
            }
        }
        let width = *self.width.get_or_insert(found);
        if found != width {
            return Err(self.wrong(line, format_args!("{found} values, expected {width}")));
        }
        if let Some((column, field, number)) = unusable {
            let problem = if number { "is not finite" } else { "is not a number" };
            let text = shorten(&String::from_utf8_lossy(field));
            return Err(self.wrong(line, format_args!("value {column} `{text}` {problem}")));
        }
        Ok(Some(line))
    }

    /// The number of values in each row, once known.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// The names in the first line, if it holds names.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Fields of the first line, if there is one.
    pub fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// An error at `line` of this file.
    pub fn wrong(&self, line: u64, problem: impl std::fmt::Display) -> Error {
        Error::input(format!("`{}`, line {line}: {problem}", self.path.display()))
    }

    /// Reads the next line that is not blank into `line`, without its end; `false` at the end of the file.
    fn advance(&mut self) -> Result<bool> {
        let limit = self.width.map_or(MAX_LINE_BYTES, |width| (width + 1) * MAX_VALUE_BYTES);
        loop {
            self.line.clear();
            let mut bounded = (&mut self.reader).take(limit as u64 + 1);
            bounded.read_until(b'\n', &mut self.line).map_err(|error| Error::io("read", &self.path, error))?;
            if self.line.is_empty() {
                return Ok(false);
            }
            self.number += 1;
            if self.line.len() > limit {
                let problem = format_args!("longer than the {limit} bytes that a row can have");
                return Err(self.wrong(self.number, problem));
            }
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }
}

/// The fields of a line, without blanks and quotes around them.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',').map(|field| {
        let field = field.trim_ascii();
        field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")).map_or(field, <[u8]>::trim_ascii)
    })
}

fn starts_like_a_name(field: &[u8]) -> bool {
    // `nan` and `inf` are numbers, and refused as such.
    let number = std::str::from_utf8(field).is_ok_and(|text| text.parse::<f32>().is_ok());
    !number && field.first().is_some_and(|&byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'#'))
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(24) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Writes rows of numbers; the file appears on [`finish`](Self::finish).
#[derive(Debug)]
pub struct RowWriter {
    file: AtomicFile,
    line: Vec<u8>,
}

impl RowWriter {
    /// Starts a file.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: AtomicFile::create(path)?, line: Vec::new() })
    }

    /// Writes a row of column names, which must need no quotes.
    pub fn header<'name>(&mut self, names: impl IntoIterator<Item = &'name str>) -> Result<()> {
        self.line.clear();
        for name in names {
            if name.contains([',', '"', '\n', '\r']) {
                return Err(Error::usage(format!("`{name}` cannot be a column's name")));
            }
            self.separate();
            self.line.extend_from_slice(name.as_bytes());
        }
        self.end_row()
    }

    /// Writes a row: whole numbers first, then values. A value that is not finite is an error.
    pub fn row(&mut self, leading: &[i64], values: &[f32]) -> Result<()> {
        self.line.clear();
        for number in leading {
            self.separate();
            append(&mut self.line, format_args!("{number}"));
        }
        for (index, value) in values.iter().enumerate() {
            if !value.is_finite() {
                return Err(Error::failed(format!("value {} of a row is {value}", index + 1)));
            }
            self.separate();
            // `Debug` is the shortest text that reads back to the same value, with an exponent where that is shorter.
            append(&mut self.line, format_args!("{value:?}"));
        }
        self.end_row()
    }

    /// Syncs the file and gives it its name.
    pub fn finish(self) -> Result<()> {
        self.file.commit()
    }

    fn separate(&mut self) {
        if !self.line.is_empty() {
            self.line.push(b',');
        }
    }

    fn end_row(&mut self) -> Result<()> {
        self.line.push(b'\n');
        self.file.put(&self.line)
    }
}

fn append(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = line.write_fmt(text);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn read(text: &[u8], width: Option<usize>) -> Result<Vec<Vec<f32>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, text).unwrap();
        let mut rows = NumberRows::open(&path, width)?;
        let (mut all, mut row) = (Vec::new(), Vec::new());
        while rows.next_row(&mut row)?.is_some() {
            all.push(row.clone());
        }
        Ok(all)
    }

    #[rstest]
    #[case::plain("1,2\n3,4\n")]
    #[case::no_newline_at_the_end("1,2\n3,4")]
    #[case::windows_lines("1,2\r\n3,4\r\n")]
    #[case::header("label,x\n1,2\n3,4\n")]
    #[case::quoted("\"label\",\"x\"\n\"1\",2\n3,\"4\"\n")]
    #[case::spaces_and_blank_lines(" 1 , 2 \n\n3,4\n\n")]
    #[case::byte_order_mark("\u{feff}1,2\n3,4\n")]
    #[case::exponents("1e0,0.2E1\n+3,4.\n")]
    fn rows_are_read(#[case] text: &str) {
        for width in [None, Some(2)] {
            assert_eq!(read(text.as_bytes(), width).unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        }
    }

    #[rstest]
    #[case::ragged("1,2\n3,4,5\n", "line 2: 3 values, expected 2")]
    #[case::short("1,2\n\n3\n", "line 3: 1 values, expected 2")]
    #[case::nan("1,2\n3,nan\n", "line 2: value 2 `nan` is not finite")]
    #[case::nan_first("nan,2\n", "line 1: value 1 `nan` is not finite")]
    #[case::infinity("1,-inf\n", "line 1: value 2 `-inf` is not finite")]
    #[case::overflow("1,1e39\n", "line 1: value 2 `1e39` is not finite")]
    #[case::text("1,2\nx,4\n", "line 2: value 1 `x` is not a number")]
    #[case::empty_field("1,\n", "line 1: value 2 `` is not a number")]
    #[case::digit_is_no_header("3x,1\n1,2\n", "line 1: value 1 `3x` is not a number")]
    #[case::semicolons("1;2\n", "line 1: 1 values, expected 2")]
    fn malformed_rows_name_their_line(#[case] text: &str, #[case] expected: &str) {
        let error = read(text.as_bytes(), Some(2)).unwrap_err();
        assert!(error.message.contains("data.csv") && error.message.ends_with(expected), "{error}");
    }

    #[test]
    fn endless_line_is_refused() {
        let error = read(&b"1,2\n".iter().chain(&[b'1'; 4096]).copied().collect::<Vec<_>>(), Some(2)).unwrap_err();
        assert!(error.message.ends_with("line 2: longer than the 192 bytes that a row can have"), "{error}");
    }

    #[test]
    fn non_finite_values_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        let mut writer = RowWriter::create(&path).unwrap();
        assert!(writer.row(&[], &[1.0, f32::NAN]).is_err());
        drop(writer);
        assert!(!path.exists());
    }

    proptest! {
        #[test]
        fn every_finite_value_survives(bits in proptest::collection::vec(any::<u32>(), 1..40), label in 0i64..1000) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|value| value.is_finite()).collect();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.csv");
            let mut writer = RowWriter::create(&path).unwrap();
            writer.row(&[label], &values).unwrap();
            writer.finish().unwrap();
            let mut row = Vec::new();
            NumberRows::open(&path, None).unwrap().next_row(&mut row).unwrap();
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(row.get(1..).unwrap()), bits(&values));
        }
    }
}
