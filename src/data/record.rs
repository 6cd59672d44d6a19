//! The CIFAR-10 binary layout, generalised: a label, then the planes of the channels, row by row.
//!
//! The label is one byte for up to 256 classes, two bytes (little-endian) above. For CIFAR-10 this is the official
//! layout of <https://www.cs.toronto.edu/~kriz/cifar.html>: records of 1 + 3072 bytes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::atomic::AtomicFile;
use crate::data::reader::Split;
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::Input;

/// Sizes of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLayout {
    /// Bytes of the label: 1 or 2.
    pub label_bytes: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Planes.
    pub channels: usize,
    /// Classes; every label is below.
    pub classes: usize,
}

impl RecordLayout {
    /// The layout for a model's input and its number of classes (1 to 65536).
    pub fn new(input: &Input, classes: usize) -> Result<Self> {
        if !(1..=1 << 16).contains(&classes) {
            return Err(Error::unsupported(format!("records hold labels of 1 to 65536 classes, not {classes}")));
        }
        let (height, width, channels) = input.image_size();
        Ok(Self { label_bytes: if classes <= 256 { 1 } else { 2 }, height, width, channels, classes })
    }

    /// Bytes after the label.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Bytes of one record.
    pub fn record_len(&self) -> usize {
        self.label_bytes + self.image_len()
    }

    /// Splits one record into its label and its planar bytes; an error if the label is not below the class count.
    pub fn split<'record>(&self, record: &'record [u8]) -> Result<(u32, &'record [u8])> {
        let (label, image) = record
            .split_at_checked(self.label_bytes)
            .filter(|(_, image)| image.len() == self.image_len())
            .ok_or_else(|| Error::input(format!("{} bytes of {}", record.len(), self.record_len())))?;
        let label = label.iter().rev().fold(0, |label, &byte| label << 8 | u32::from(byte));
        if (label as usize) < self.classes {
            Ok((label, image))
        } else {
            Err(Error::input(format!("label {label}, but there are {} classes", self.classes)))
        }
    }

    /// Appends one record to `bytes`.
    pub fn join(&self, label: u32, image: &[u8], bytes: &mut Vec<u8>) -> Result<()> {
        if label as usize >= self.classes || image.len() != self.image_len() {
            return Err(Error::input(format!(
                "label {label} with {} bytes does not fit records of {} classes and {} bytes",
                image.len(),
                self.classes,
                self.image_len()
            )));
        }
        bytes.extend(label.to_le_bytes().iter().take(self.label_bytes));
        bytes.extend_from_slice(image);
        Ok(())
    }
}

/// Streams the records of one or several files; holds one record.
#[derive(Debug)]
pub struct RecordReader {
    layout: RecordLayout,
    files: std::vec::IntoIter<PathBuf>,
    current: Option<(PathBuf, BufReader<File>)>,
    /// Records read from the current file.
    position: u64,
    record: Vec<u8>,
    total: u64,
}

impl RecordReader {
    /// Opens a file, or the official folder (or the folder that holds `cifar-10-batches-bin`). Sizes are checked here,
    /// so that a truncated file is refused before any work is done.
    pub fn open(path: &Path, layout: RecordLayout, split: Split) -> Result<Self> {
        let files = if path.is_dir() { files_of(path, split)? } else { vec![path.to_owned()] };
        let mut total = 0;
        for file in &files {
            total += count_records(file, &layout)?;
        }
        let record = vec![0; layout.record_len()];
        Ok(Self { layout, files: files.into_iter(), current: None, position: 0, record, total })
    }

    /// Records of all files together.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The next record: its label and its planar bytes.
    pub fn next_record(&mut self) -> Result<Option<(u32, &[u8])>> {
        loop {
            if self.current.is_none() {
                let Some(path) = self.files.next() else { return Ok(None) };
                let file = files::plain(&path).map_err(|error| Error::io("read", &path, error))?;
                self.current = Some((path, BufReader::with_capacity(1 << 16, file)));
                self.position = 0;
            }
            let Some((path, reader)) = &mut self.current else { return Ok(None) };
            let filled = read_full(reader, &mut self.record).map_err(|error| Error::io("read", path, error))?;
            if filled == 0 {
                self.current = None;
                continue;
            }
            self.position += 1;
            let place = format!("`{}`, record {}", path.display(), self.position);
            if filled < self.record.len() {
                return Err(truncated(&place, filled, self.record.len()));
            }
            return match self.layout.split(&self.record) {
                Ok(found) => Ok(Some(found)),
                Err(error) => Err(wrong_layout(Error::input(format!("{place}: {}", error.message)), &self.layout)),
            };
        }
    }
}

/// Names of the official folder's files.
pub const TRAIN_FILES: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
/// Name of the official folder's test file.
pub const TEST_FILE: &str = "test_batch.bin";
/// Name of the official folder.
pub const FOLDER: &str = "cifar-10-batches-bin";

fn files_of(folder: &Path, split: Split) -> Result<Vec<PathBuf>> {
    let inner = folder.join(FOLDER);
    let folder = if inner.is_dir() { inner } else { folder.to_owned() };
    let names: Vec<&str> = match split {
        Split::Test => vec![TEST_FILE],
        Split::Train => TRAIN_FILES.to_vec(),
        Split::All => TRAIN_FILES.into_iter().chain([TEST_FILE]).collect(),
    };
    let files: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    match files.iter().find(|file| !file.is_file()) {
        None => Ok(files),
        Some(file) => Err(Error::input(format!("`{}` is not there", file.display())).hint(
            "name a file, or a folder with `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` \
             (`trtgate data fetch` gets the official one)",
        )),
    }
}

/// Whole records of a file, from its size; an error if there are none or the last one is truncated.
fn count_records(file: &Path, layout: &RecordLayout) -> Result<u64> {
    let size = std::fs::metadata(file).map_err(|error| Error::io("read", file, error))?.len();
    let record = layout.record_len() as u64;
    if size == 0 {
        return Err(Error::input(format!("`{}` is empty", file.display())));
    }
    if size % record != 0 {
        let place = format!("`{}`, record {}", file.display(), size / record + 1);
        let error = truncated(&place, (size % record) as usize, record as usize);
        return Err(wrong_layout(error, layout));
    }
    Ok(size / record)
}

fn truncated(place: &str, found: usize, expected: usize) -> Error {
    Error::input(format!("{place}: truncated, {found} bytes of {expected}"))
}

fn wrong_layout(error: Error, layout: &RecordLayout) -> Error {
    error.hint(format!(
        "records are {} label byte{} and {} x {} x {} pixel bytes (channel, row, column)",
        layout.label_bytes,
        if layout.label_bytes == 1 { "" } else { "s" },
        layout.channels,
        layout.height,
        layout.width
    ))
}

/// Reads until `buffer` is full or the input ends; returns the bytes read.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes records one by one; the file appears on [`finish`](Self::finish).
#[derive(Debug)]
pub struct RecordWriter {
    layout: RecordLayout,
    file: AtomicFile,
    buffer: Vec<u8>,
}

impl RecordWriter {
    /// Starts a file of records.
    pub fn create(path: &Path, layout: RecordLayout) -> Result<Self> {
        Ok(Self { layout, file: AtomicFile::create(path)?, buffer: Vec::with_capacity(layout.record_len()) })
    }

    /// Adds a record of planar bytes.
    pub fn push(&mut self, label: u32, planar: &[u8]) -> Result<()> {
        self.buffer.clear();
        self.layout.join(label, planar, &mut self.buffer)?;
        self.file.put(&self.buffer)
    }

    /// Syncs the file and gives it its name.
    pub fn finish(self) -> Result<()> {
        self.file.commit()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::data::reader::tests::input;
    use crate::manifest::Layout;

    fn layout(classes: usize) -> RecordLayout {
        RecordLayout::new(&input(&[1, 2, 3], Layout::Nhwc), classes).unwrap()
    }

    fn read(path: &Path, layout: RecordLayout, split: Split) -> Result<Vec<(u32, Vec<u8>)>> {
        let mut reader = RecordReader::open(path, layout, split)?;
        let mut records = Vec::new();
        while let Some((label, image)) = reader.next_record()? {
            records.push((label, image.to_vec()));
        }
        Ok(records)
    }

    #[test]
    fn official_layout_has_records_of_3073_bytes() {
        let layout = RecordLayout::new(&input(&[32, 32, 3], Layout::Nhwc), 10).unwrap();
        assert_eq!(layout.record_len(), 3073);
        assert_eq!(RecordLayout::new(&input(&[32, 32, 3], Layout::Nhwc), 257).unwrap().record_len(), 3074);
    }

    #[rstest]
    #[case::empty(&[], "is empty")]
    #[case::truncated(&[1, 0, 0, 0, 0, 0, 0, 2, 0, 0], "record 2: truncated, 3 bytes of 7")]
    #[case::label_over_the_class_count(&[9, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0], "record 2: label 10, but there are 10 classes")]
    fn damaged_files_are_refused(#[case] bytes: &[u8], #[case] expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.bin");
        std::fs::write(&path, bytes).unwrap();
        let error = read(&path, layout(10), Split::Test).unwrap_err();
        assert!(error.message.contains(expected) && error.message.contains("data.bin"), "{error}");
    }

    #[rstest]
    #[case::test(Split::Test, &[5])]
    #[case::train(Split::Train, &[0, 1, 2, 3, 4])]
    #[case::all(Split::All, &[0, 1, 2, 3, 4, 5])]
    fn official_folder_is_read_in_order(
        #[case] split: Split,
        #[case] expected: &[u32],
        #[values("", FOLDER)] inner: &str,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let batches = folder.path().join(inner);
        std::fs::create_dir_all(&batches).unwrap();
        for (label, name) in TRAIN_FILES.into_iter().chain([TEST_FILE]).enumerate() {
            let mut writer = RecordWriter::create(&batches.join(name), layout(10)).unwrap();
            writer.push(label as u32, &[0; 6]).unwrap();
            writer.finish().unwrap();
        }
        let labels: Vec<u32> =
            read(folder.path(), layout(10), split).unwrap().into_iter().map(|(label, _)| label).collect();
        assert_eq!(labels, expected);
        std::fs::remove_file(batches.join("data_batch_3.bin")).unwrap();
        assert_eq!(read(folder.path(), layout(10), split).is_ok(), split == Split::Test);
    }

    #[test]
    fn writer_refuses_what_the_reader_would() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.bin");
        let mut writer = RecordWriter::create(&path, layout(10)).unwrap();
        assert!(writer.push(10, &[0; 6]).is_err());
        assert!(writer.push(1, &[0; 5]).is_err());
        drop(writer);
        assert!(!path.exists());
    }

    proptest! {
        #[test]
        fn records_survive_the_way_there_and_back(
            classes in prop_oneof![Just(2usize), Just(256), Just(257), Just(65536)],
            records in proptest::collection::vec((any::<u32>(), proptest::collection::vec(any::<u8>(), 6)), 1..20),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.bin");
            let records: Vec<(u32, Vec<u8>)> =
                records.into_iter().map(|(label, image)| (label % classes as u32, image)).collect();
            let mut writer = RecordWriter::create(&path, layout(classes)).unwrap();
            for (label, image) in &records {
                writer.push(*label, image).unwrap();
            }
            writer.finish().unwrap();
            prop_assert_eq!(read(&path, layout(classes), Split::Test).unwrap(), records);
        }
    }
}
