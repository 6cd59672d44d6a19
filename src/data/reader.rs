//! One streaming reader over every format, and samples held together.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::data::csv::NumberRows;
use crate::data::npy::{Element, NpyRows};
use crate::data::preprocess::Preprocess;
use crate::data::record::{RecordLayout, RecordReader};
use crate::error::{Error, Result};
use crate::manifest::Input;
use crate::tensor::Tensor;

/// File formats of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// CIFAR-10 binary records, or a folder of them.
    Records,
    /// Comma-separated values, label first, already normalised.
    Csv,
    /// A NumPy array `[N, …]`: float32 and float64 already normalised, uint8 as pixels; no labels.
    Npy,
}

impl Format {
    /// The format of a path, by its kind and extension; `.bin` and folders are records.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            _ if path.is_dir() => Ok(Self::Records),
            Some("bin") => Ok(Self::Records),
            Some("csv") => Ok(Self::Csv),
            Some("npy") => Ok(Self::Npy),
            _ => Err(Error::usage(format!("cannot tell the format of `{}` from its name", path.display()))
                .hint("rename it to end in `.bin`, `.csv` or `.npy`")),
        }
    }
}

/// Which files of the official CIFAR-10 folder are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// `test_batch.bin`.
    #[default]
    Test,
    /// `data_batch_1.bin` to `data_batch_5.bin`.
    Train,
    /// Training files, then the test file.
    All,
}

/// How samples are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; `None` tells it from the path.
    pub format: Option<Format>,
    /// CSV rows hold values only.
    pub no_label: bool,
    /// Which files of a folder are read.
    pub split: Split,
    /// At most this many samples are read.
    pub limit: Option<usize>,
}

/// One sample, ready for the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The label, where the source has one; below the class count.
    pub label: Option<u32>,
    /// Values in the order of the model's input shape.
    pub values: Vec<f32>,
}

#[derive(Debug)]
enum Source {
    Records(RecordReader),
    Csv(NumberRows),
    Npy(NpyRows),
}

/// Streams samples from any format; holds one sample. After an error it ends.
#[derive(Debug)]
pub struct SampleReader {
    path: PathBuf,
    input_name: String,
    shape: Vec<usize>,
    classes: usize,
    preprocess: Preprocess,
    source: Source,
    no_label: bool,
    remaining: usize,
    read: usize,
}

impl SampleReader {
    /// Opens `path` for a model's input and number of classes.
    pub fn open(path: &Path, input: &Input, classes: usize, options: ReadOptions) -> Result<Self> {
        let preprocess = Preprocess::new(input)?;
        let width = preprocess.sample_len();
        std::fs::metadata(path).map_err(|error| Error::io("read", path, error))?;
        let format = options.format.map_or_else(|| Format::of(path), Ok)?;
        let source = match format {
            Format::Records => {
                Source::Records(RecordReader::open(path, RecordLayout::new(input, classes)?, options.split)?)
            }
            Format::Csv => Source::Csv(NumberRows::open(path, Some(width + usize::from(!options.no_label)))?),
            Format::Npy => Source::Npy(NpyRows::open(path, Some(width))?),
        };
        Ok(Self {
            path: path.to_owned(),
            input_name: input.name.clone(),
            shape: input.shape.clone(),
            classes,
            preprocess,
            source,
            no_label: options.no_label,
            remaining: options.limit.unwrap_or(usize::MAX),
            read: 0,
        })
    }

    /// Samples that the whole source holds within the limit, where that is known without reading it.
    pub fn total(&self) -> Option<u64> {
        let limit = (self.read + self.remaining.min(usize::MAX - self.read)) as u64;
        match &self.source {
            Source::Records(reader) => Some(reader.total().min(limit)),
            Source::Npy(reader) => Some(reader.total().min(limit)),
            Source::Csv(_) => None,
        }
    }

    /// Up to `count` samples together, or `None` at the end. An empty source is an error.
    pub fn next_batch(&mut self, count: usize) -> Result<Option<Samples>> {
        let mut batch = Samples::empty(&self.input_name, &self.shape);
        for sample in self.take(count) {
            batch.push(sample?)?;
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    fn next_sample(&mut self) -> Result<Option<Sample>> {
        let mut values = Vec::with_capacity(self.preprocess.sample_len() + 1);
        let label = match &mut self.source {
            Source::Records(reader) => match reader.next_record()? {
                None => return Ok(None),
                Some((label, planar)) => {
                    self.preprocess.planar_to_values(planar, &mut values);
                    Some(label)
                }
            },
            Source::Npy(reader) if reader.element() == Element::Uint8 => match reader.next_bytes()? {
                None => return Ok(None),
                Some(bytes) => {
                    self.preprocess.ordered_to_values(bytes, &mut values);
                    None
                }
            },
            Source::Npy(reader) => {
                if !reader.next_row(&mut values)? {
                    return Ok(None);
                }
                None
            }
            Source::Csv(rows) => {
                let Some(line) = rows.next_row(&mut values).map_err(|error| hint_width(error, &self.preprocess))?
                else {
                    return Ok(None);
                };
                if self.no_label {
                    None
                } else {
                    let number = values.remove(0);
                    let label = label_of(number, self.classes).ok_or_else(|| {
                        rows.wrong(line, format_args!("label {number} is not one of {} classes", self.classes))
                    })?;
                    Some(label)
                }
            }
        };
        Ok(Some(Sample { label, values }))
    }
}

impl Iterator for SampleReader {
    type Item = Result<Sample>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        match self.next_sample() {
            Ok(Some(sample)) => {
                self.remaining -= 1;
                self.read += 1;
                Some(Ok(sample))
            }
            Ok(None) => {
                self.remaining = 0;
                let empty = self.read == 0;
                empty.then(|| Err(Error::input(format!("`{}` holds no sample", self.path.display()))))
            }
            Err(error) => {
                self.remaining = 0;
                Some(Err(error))
            }
        }
    }
}

/// A whole number below `classes`, as tools also write it: `3` or `3.0`.
fn label_of(number: f32, classes: usize) -> Option<u32> {
    (number.fract() == 0.0 && number >= 0.0 && (number as usize) < classes).then_some(number as u32)
}

fn hint_width(error: Error, preprocess: &Preprocess) -> Error {
    if error.message.contains(" values, expected ") {
        let width = preprocess.sample_len();
        error.hint(format!("a row is the label and {width} values; with `--no-label`, the {width} values alone"))
    } else {
        error
    }
}

/// Samples held together.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Name of the model's input.
    pub input_name: String,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Values of all samples, one after the other.
    pub values: Vec<f32>,
    /// Labels, one a sample, where the source has them.
    pub labels: Option<Vec<u32>>,
}

impl Samples {
    /// No samples yet.
    pub fn empty(input_name: &str, shape: &[usize]) -> Self {
        Self { input_name: input_name.to_owned(), shape: shape.to_vec(), values: Vec::new(), labels: None }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.values.len() / self.sample_len().max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Values of one sample.
    pub fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Adds a sample; all or none have labels.
    pub fn push(&mut self, sample: Sample) -> Result<()> {
        if sample.values.len() != self.sample_len() {
            return Err(Error::input(format!(
                "a sample of shape {:?} has {} values, got {}",
                self.shape,
                self.sample_len(),
                sample.values.len()
            )));
        }
        if self.is_empty() {
            self.labels = sample.label.map(|_| Vec::new());
        }
        match (&mut self.labels, sample.label) {
            (Some(labels), Some(label)) => labels.push(label),
            (None, None) => {}
            _ => return Err(Error::input("some samples have labels and some have none")),
        }
        self.values.extend_from_slice(&sample.values);
        Ok(())
    }

    /// The samples of `range` as one batch; an error if the range is empty or reaches past the end.
    pub fn tensor(&self, range: Range<usize>) -> Result<Tensor> {
        let length = self.sample_len();
        let values = self
            .values
            .get(range.start.saturating_mul(length)..range.end.saturating_mul(length))
            .filter(|values| !values.is_empty())
            .ok_or_else(|| {
                Error::input(format!("no samples {} to {}, there are {}", range.start, range.end, self.len()))
            })?;
        let shape = [&[range.len()], self.shape.as_slice()].concat();
        Tensor::float32(&self.input_name, shape, values.to_vec())
    }

    /// Values of sample `index`, or `None` past the end.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        let length = self.sample_len();
        self.values.get(index.checked_mul(length)?..(index + 1).checked_mul(length)?)
    }
}

/// Reads a whole source into memory.
pub fn read_all(path: &Path, input: &Input, classes: usize, options: ReadOptions) -> Result<Samples> {
    let mut reader = SampleReader::open(path, input, classes, options)?;
    let mut samples = Samples::empty(&input.name, &input.shape);
    if let Some(total) = reader.total() {
        let values = usize::try_from(total).ok().and_then(|total| total.checked_mul(samples.sample_len()));
        let values = values.ok_or_else(|| Error::machine(format!("`{}` does not fit in memory", path.display())))?;
        samples
            .values
            .try_reserve_exact(values)
            .map_err(|error| Error::machine(format!("`{}` does not fit in memory", path.display())).because(error))?;
    }
    reader.try_for_each(|sample| samples.push(sample?))?;
    Ok(samples)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use rstest::rstest;

    use super::*;
    use crate::data::csv::RowWriter;
    use crate::data::npy::NpyWriter;
    use crate::data::record::RecordWriter;
    use crate::manifest::Layout;

    /// An input in 0..1 without normalisation.
    pub(crate) fn input(shape: &[usize], layout: Layout) -> Input {
        Input {
            name: "input_1".to_owned(),
            shape: shape.to_vec(),
            layout,
            range: [0.0, 1.0],
            mean: Vec::new(),
            std: Vec::new(),
            fixed_batch: None,
        }
    }

    #[test]
    fn every_format_gives_the_same_samples() {
        let folder = tempfile::tempdir().unwrap();
        let input = input(&[2, 2, 3], Layout::Nhwc);
        let records = folder.path().join("data.bin");
        let mut writer = RecordWriter::create(&records, RecordLayout::new(&input, 10).unwrap()).unwrap();
        for label in 0..5u8 {
            let planar: Vec<u8> = (0..12).map(|place| place * 17 + label * 13).collect();
            writer.push(u32::from(label), &planar).unwrap();
        }
        writer.finish().unwrap();
        let original = read_all(&records, &input, 10, ReadOptions::default()).unwrap();
        assert_eq!((original.len(), original.labels.as_deref()), (5, Some([0, 1, 2, 3, 4].as_slice())));

        let (csv, npy) = (folder.path().join("data.csv"), folder.path().join("data.npy"));
        let mut rows = RowWriter::create(&csv).unwrap();
        let mut array = NpyWriter::create(&npy, &input.shape).unwrap();
        for index in 0..5 {
            rows.row(&[index as i64], original.row(index).unwrap()).unwrap();
            array.push(original.row(index).unwrap()).unwrap();
        }
        rows.finish().unwrap();
        array.finish().unwrap();
        assert_eq!(read_all(&csv, &input, 10, ReadOptions::default()).unwrap(), original);
        let unlabelled = read_all(&npy, &input, 10, ReadOptions::default()).unwrap();
        assert_eq!((unlabelled.values, unlabelled.labels), (original.values, None));
    }

    #[rstest]
    #[case::label_over_the_class_count("10,0.5,0.5\n", false, "line 1: label 10 is not one of 10 classes")]
    #[case::negative_label("1,0,0\n-1,0.5,0.5\n", false, "line 2: label -1 is not one of 10 classes")]
    #[case::fractional_label("0.5,0.5,0.5\n", false, "line 1: label 0.5 is not one of 10 classes")]
    #[case::no_label_expected("1,0.5,0.5\n", true, "line 1: 3 values, expected 2")]
    #[case::label_expected("0.5,0.5\n", false, "line 1: 2 values, expected 3")]
    #[case::empty("", false, "holds no sample")]
    #[case::header_only("label,a,b\n", false, "holds no sample")]
    fn malformed_csv_is_refused(#[case] text: &str, #[case] no_label: bool, #[case] expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, text).unwrap();
        let options = ReadOptions { no_label, ..ReadOptions::default() };
        let error = read_all(&path, &input(&[2], Layout::Flat), 10, options).unwrap_err();
        assert!(error.message.contains("data.csv") && error.message.ends_with(expected), "{error}");
        assert_eq!(error.hint.is_some(), expected.contains(", expected"));
    }

    #[test]
    fn limit_and_batches_cut_the_stream() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, "0,0.5\n1,0.5\n2,0.5\n3,0.5\n").unwrap();
        let options = ReadOptions { limit: Some(3), ..ReadOptions::default() };
        let mut reader = SampleReader::open(&path, &input(&[1], Layout::Flat), 10, options).unwrap();
        let first = reader.next_batch(2).unwrap().unwrap();
        assert_eq!((first.tensor(0..2).unwrap().shape, first.labels), (vec![2, 1], Some(vec![0, 1])));
        assert_eq!(reader.next_batch(2).unwrap().unwrap().labels, Some(vec![2]));
        assert!(reader.next_batch(2).unwrap().is_none());
    }

    #[test]
    fn bytes_of_npy_are_scaled_like_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.npy");
        let mut bytes = b"\x93NUMPY\x01\x00v\x00".to_vec();
        bytes.extend(format!("{:<117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }").into_bytes());
        bytes.extend([51, 255]);
        std::fs::write(&path, bytes).unwrap();
        let samples = read_all(&path, &input(&[2], Layout::Flat), 10, ReadOptions::default()).unwrap();
        assert_eq!(samples.values, [0.2, 1.0]);
    }

    #[test]
    fn tensor_refuses_what_is_not_there() {
        let mut samples = Samples::empty("x", &[2]);
        samples.push(Sample { label: None, values: vec![1.0, 2.0] }).unwrap();
        assert_eq!(samples.tensor(0..1).unwrap().shape, [1, 2]);
        assert!(samples.tensor(0..2).is_err());
        assert!(samples.tensor(1..1).is_err());
        assert!(samples.push(Sample { label: Some(1), values: vec![1.0, 2.0] }).is_err());
        assert!(samples.push(Sample { label: None, values: vec![1.0] }).is_err());
    }

    #[test]
    fn unknown_extension_is_refused() {
        let error = Format::of(Path::new("data.txt")).unwrap_err();
        assert!(error.hint.unwrap().contains("`.npy`"));
        let missing = SampleReader::open(Path::new("missing"), &input(&[1], Layout::Flat), 2, ReadOptions::default());
        assert!(missing.unwrap_err().message.starts_with("cannot read `missing`"));
    }
}
