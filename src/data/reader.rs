//! One streaming reader over every format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::csv::NumberRows;
use crate::data::decode;
use crate::data::layout::check_layout;
use crate::data::npy::{Element, NpyRows};
use crate::data::npz;
use crate::data::pictures::{PictureList, is_folder_of_pictures, is_list_of_pictures};
use crate::data::preprocess::Preprocess;
use crate::data::record::{RecordLayout, RecordReader};
pub use crate::data::samples::{Sample, Samples};
use crate::error::{Error, Result};
use crate::manifest::{Input, Manifest};

/// A label as data gives it, before it is held against the number of classes.
pub type Label = i64;

/// File formats of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Format {
    /// CIFAR-10 binary records, or a folder of them.
    Records,
    /// Comma-separated values, label first, already normalised.
    Csv,
    /// A NumPy array `[N, …]`: float32 and float64 already normalised, uint8 as pixels; no labels.
    Npy,
    /// A NumPy archive of the array `x` and, where there are labels, `y`.
    Npz,
    /// PNG and JPEG pictures: a folder, a folder a class, or a CSV of `path,label`.
    Pictures,
}

impl Format {
    /// The format of a path, by its kind and ending; folders and CSV files by what they hold.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            _ if path.is_dir() => Ok(if is_folder_of_pictures(path) { Self::Pictures } else { Self::Records }),
            Some("bin") => Ok(Self::Records),
            Some("csv") => Ok(if is_list_of_pictures(path) { Self::Pictures } else { Self::Csv }),
            Some("npy") => Ok(Self::Npy),
            Some("npz") => Ok(Self::Npz),
            Some("png" | "jpg" | "jpeg") => Ok(Self::Pictures),
            _ => Err(Error::usage(format!("cannot tell the format of `{}` from its name", path.display()))
                .hint("rename it to end in `.bin`, `.csv`, `.npy`, `.npz`, `.png` or `.jpg`")),
        }
    }
}

/// Which files of the official CIFAR-10 folder are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
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
    /// Labels are not wanted: they are left out where there are some.
    pub ignore_labels: bool,
    /// Which files of a folder are read.
    pub split: Split,
    /// At most this many samples are read.
    pub limit: Option<usize>,
    /// At most this many samples are read, evenly spread over all: data in the order of its classes gives some of each.
    pub spread: Option<usize>,
}

#[derive(Debug)]
enum Source {
    Records(RecordReader),
    Csv {
        rows: NumberRows,
        /// The column of the labels.
        label: Option<usize>,
    },
    Npy {
        rows: NpyRows,
        labels: Option<NpyRows>,
    },
    Pictures(PictureList),
}

/// Streams samples from any format; holds one sample. After an error it ends.
#[derive(Debug)]
pub struct SampleReader {
    path: PathBuf,
    input: Input,
    classes: usize,
    preprocess: Preprocess,
    source: Source,
    ignore_labels: bool,
    remaining: usize,
    read: usize,
    /// How many samples are spread over how many, and how many of the latter were passed.
    spread: Option<Spread>,
}

#[derive(Clone, Copy, Debug)]
struct Spread {
    wanted: u64,
    total: u64,
    passed: u64,
}

impl Spread {
    /// Whether sample `number` is wanted: one of each of `wanted` equal stretches, at a place that looks random and is
    /// always the same. A fixed place would take one class of samples that come in turns.
    fn wants(&self, number: u64) -> bool {
        let (wanted, total) = (u128::from(self.wanted), u128::from(self.total.max(1)));
        let stretch = u128::from(number) * wanted / total;
        let bound = |stretch: u128| (stretch * total).div_ceil(wanted.max(1));
        let (start, end) = (bound(stretch), bound(stretch + 1));
        // SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
        let mut mixed = (stretch as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        u128::from(number) == start + u128::from(mixed) % (end - start).max(1)
    }
}

impl SampleReader {
    /// Opens `path` for a model's input and number of classes.
    pub fn open(path: &Path, input: &Input, classes: usize, options: ReadOptions) -> Result<Self> {
        Self::open_named(path, input, classes, &[], options)
    }

    /// As [`SampleReader::open`], for a manifest: its classes' names are known as labels.
    pub fn open_for(path: &Path, manifest: &Manifest, options: ReadOptions) -> Result<Self> {
        Self::open_named(path, &manifest.input, manifest.output.classes, &manifest.output.labels, options)
    }

    fn open_named(path: &Path, input: &Input, classes: usize, names: &[String], options: ReadOptions) -> Result<Self> {
        let preprocess = Preprocess::new(input)?;
        let width = preprocess.sample_len();
        std::fs::metadata(path).map_err(|error| Error::io("read", path, error))?;
        let format = options.format.map_or_else(|| Format::of(path), Ok)?;
        let source = match format {
            Format::Records => {
                Source::Records(RecordReader::open(path, RecordLayout::new(input, classes)?, options.split)?)
            }
            Format::Csv => open_csv(path, width, options)?,
            Format::Npy => {
                let rows = NpyRows::open(path, None)?;
                check_layout(&rows, input)?;
                Source::Npy { rows, labels: None }
            }
            Format::Npz => {
                let (rows, labels) = npz::open(path, input, !options.ignore_labels)?;
                Source::Npy { rows, labels }
            }
            Format::Pictures => Source::Pictures(PictureList::open(path, classes, names, !options.ignore_labels)?),
        };
        let mut reader = Self {
            path: path.to_owned(),
            input: input.clone(),
            classes,
            preprocess,
            source,
            ignore_labels: options.ignore_labels,
            remaining: options.limit.unwrap_or(usize::MAX),
            read: 0,
            spread: None,
        };
        if let Some(wanted) = options.spread {
            let total = match reader.total() {
                Some(total) => total,
                None => count_rows(path)?,
            };
            let wanted = (wanted as u64).min(total);
            reader.spread = Some(Spread { wanted, total, passed: 0 });
        }
        Ok(reader)
    }

    /// Samples that the whole source holds within the limit, where that is known without reading it.
    pub fn total(&self) -> Option<u64> {
        let limit = (self.read + self.remaining.min(usize::MAX - self.read)) as u64;
        if let Some(spread) = self.spread {
            return Some(spread.wanted.min(limit));
        }
        match &self.source {
            Source::Records(reader) => Some(reader.total().min(limit)),
            Source::Npy { rows, .. } => Some(rows.total().min(limit)),
            Source::Pictures(list) => Some(list.total().min(limit)),
            Source::Csv { .. } => None,
        }
    }

    /// Up to `count` samples together, or `None` at the end. An empty source is an error.
    pub fn next_batch(&mut self, count: usize) -> Result<Option<Samples>> {
        let mut batch = Samples::empty(&self.input.name, &self.input.shape);
        for sample in self.take(count) {
            batch.push(sample?)?;
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// How often each label comes, as the data gives them, and how many samples have none. Nothing is made of the samples
    /// themselves.
    ///
    /// # Errors
    /// If the data cannot be read; of a label that no record can hold for this number of classes.
    pub fn label_counts(mut self) -> Result<(BTreeMap<Label, u64>, u64)> {
        let (mut counts, mut without) = (BTreeMap::new(), 0);
        while let Some(label) = self.next_label()? {
            match label {
                Some(label) => *counts.entry(label).or_default() += 1,
                None => without += 1,
            }
        }
        Ok((counts, without))
    }

    /// The label of the next sample.
    fn next_label(&mut self) -> Result<Option<Option<Label>>> {
        let mut values = Vec::new();
        let number = |number: f32, wrong: &dyn Fn(String) -> Error| match number.fract() == 0.0 {
            true => Ok(Some(number as Label)),
            false => Err(wrong(format!("label {number} is no whole number"))),
        };
        Ok(match &mut self.source {
            Source::Records(reader) => reader.next_record()?.map(|(label, _)| Some(Label::from(label))),
            Source::Npy { rows, labels: None } => rows.next_bytes()?.map(|_| None),
            Source::Npy { labels: Some(labels), .. } => match labels.next_row(&mut values)? {
                false => None,
                true => {
                    let wrong = |problem: String| Error::input(format!("{}: {problem}", labels.place()));
                    Some(number(values.first().copied().unwrap_or(f32::NAN), &wrong)?)
                }
            },
            Source::Csv { rows, label } => match rows.next_row(&mut values)? {
                None => None,
                Some(line) => match label.and_then(|column| values.get(column)) {
                    None => Some(None),
                    Some(found) => Some(number(*found, &|problem| rows.wrong(line, problem))?),
                },
            },
            Source::Pictures(list) => list.next_path().map(|(_, label)| label),
        })
    }

    /// The next sample that is wanted.
    fn next_wanted(&mut self) -> Result<Option<Sample>> {
        while let Some(spread) = self.spread {
            self.spread = Some(Spread { passed: spread.passed + 1, ..spread });
            if spread.passed >= spread.total {
                return Ok(None);
            }
            if spread.wants(spread.passed) {
                break;
            }
            if !self.pass()? {
                return Ok(None);
            }
        }
        self.next_sample()
    }

    /// Passes a sample without making anything of it; `false` at the end.
    fn pass(&mut self) -> Result<bool> {
        let mut values = Vec::new();
        match &mut self.source {
            Source::Records(reader) => Ok(reader.next_record()?.is_some()),
            Source::Csv { rows, .. } => Ok(rows.next_row(&mut values)?.is_some()),
            Source::Npy { rows, labels } => {
                if let Some(labels) = labels {
                    labels.next_bytes()?;
                }
                Ok(rows.next_bytes()?.is_some())
            }
            Source::Pictures(list) => Ok(list.next_path().is_some()),
        }
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
            Source::Npy { rows, labels } => {
                if rows.element() == Element::Uint8 {
                    let Some(bytes) = rows.next_bytes()? else { return Ok(None) };
                    self.preprocess.ordered_to_values(bytes, &mut values);
                } else if !rows.next_row(&mut values)? {
                    return Ok(None);
                }
                match labels {
                    None => None,
                    Some(labels) => {
                        let mut number = Vec::with_capacity(1);
                        labels.next_row(&mut number)?;
                        let number = number.first().copied().unwrap_or(f32::NAN);
                        let wrong = |problem: String| {
                            one_based(Error::input(format!("{}: {problem}", labels.place())), number, self.classes)
                        };
                        Some(label_of(number, self.classes).map_err(wrong)?)
                    }
                }
            }
            Source::Csv { rows, label } => {
                let Some(line) = rows.next_row(&mut values).map_err(|error| hint_width(error, &self.preprocess))?
                else {
                    return Ok(None);
                };
                match label.filter(|column| *column < values.len()) {
                    None => None,
                    Some(column) => {
                        let number = values.remove(column);
                        if self.ignore_labels {
                            None
                        } else {
                            let wrong = |problem: String| one_based(rows.wrong(line, problem), number, self.classes);
                            Some(label_of(number, self.classes).map_err(wrong)?)
                        }
                    }
                }
            }
            Source::Pictures(list) => {
                let Some((path, label)) = list.next_path() else { return Ok(None) };
                let label = match label {
                    None => None,
                    Some(label) => {
                        let wrong = |problem: String| Error::input(format!("`{}`: {problem}", path.display()));
                        let number = label as f32;
                        Some(
                            label_of(number, self.classes)
                                .map_err(|problem| one_based(wrong(problem), number, self.classes))?,
                        )
                    }
                };
                self.preprocess.planar_to_values(&decode::picture(path, &self.input)?, &mut values);
                label
            }
        };
        Ok(Some(Sample { label: label.filter(|_| !self.ignore_labels), values }))
    }
}

impl Iterator for SampleReader {
    type Item = Result<Sample>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        match self.next_wanted() {
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

/// Names of a CSV's column of labels.
const LABEL_NAMES: [&str; 5] = ["label", "class", "target", "y", "category"];

/// A CSV of numbers: the label stands first, or where the first line says.
fn open_csv(path: &Path, width: usize, options: ReadOptions) -> Result<Source> {
    let labelled = if options.ignore_labels {
        // Either will do where labels are not wanted.
        NumberRows::open(path, None)?.columns() == Some(width + 1)
    } else {
        !options.no_label
    };
    let rows = NumberRows::open(path, Some(width + usize::from(labelled)))?;
    let named = rows.header().iter().position(|name| LABEL_NAMES.contains(&name.to_ascii_lowercase().as_str()));
    Ok(Source::Csv { rows, label: labelled.then(|| named.unwrap_or(0)) })
}

/// Rows of a CSV, by reading it.
fn count_rows(path: &Path) -> Result<u64> {
    let (mut rows, mut values, mut count) = (NumberRows::open(path, None)?, Vec::new(), 0);
    while rows.next_row(&mut values)?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// A whole number below `classes`, as tools also write it: `3` or `3.0`; else what is wrong with it.
fn label_of(number: f32, classes: usize) -> std::result::Result<u32, String> {
    if number.fract() == 0.0 && number >= 0.0 && (number as usize) < classes {
        Ok(number as u32)
    } else {
        Err(format!("label {number} is not one of {classes} classes"))
    }
}

/// Says what a label that is one too large usually means.
fn one_based(error: Error, number: f32, classes: usize) -> Error {
    if number == classes as f32 {
        error.hint(format!("labels run from 0 to {}; these seem to begin at 1: subtract 1 from each", classes - 1))
    } else {
        error
    }
}

fn hint_width(error: Error, preprocess: &Preprocess) -> Error {
    if error.message.contains(" values, expected ") {
        let width = preprocess.sample_len();
        error.hint(format!("a row is the label and {width} values; with `--no-label`, the {width} values alone"))
    } else {
        error
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
pub(crate) mod tests;
