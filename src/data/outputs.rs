//! Files of model outputs: one row a sample, the outputs in order in the last columns.
//!
//! A CSV row is `index,label,top1,output…`; the label is -1 where the sample has none. There is no header unless asked
//! for, so that every row is numbers. An npy file is the float32 array `[N, classes]`.

use std::path::Path;

use crate::data::csv::{NumberRows, RowWriter};
use crate::data::npy::{NpyRows, NpyWriter};
use crate::data::reader::Format;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Columns before the outputs.
const LEADING: usize = 3;

#[derive(Debug)]
enum Sink {
    Csv(RowWriter),
    Npy(NpyWriter),
}

/// Writes outputs sample by sample; the file appears on [`finish`](Self::finish).
#[derive(Debug)]
pub struct OutputWriter {
    sink: Sink,
    classes: usize,
    index: usize,
}

impl OutputWriter {
    /// Starts a file, `.csv` or `.npy`. `header` names the columns of a CSV: `index,label,top1`, then
    /// `{output_name}_{class}`.
    pub fn create(path: &Path, classes: usize, header: Option<&str>) -> Result<Self> {
        let sink = match Format::of(path)? {
            Format::Csv => {
                let mut writer = RowWriter::create(path)?;
                if let Some(output_name) = header {
                    let columns: Vec<String> = (0..classes).map(|class| format!("{output_name}_{class}")).collect();
                    let leading = ["index", "label", "top1"];
                    writer.header(leading.into_iter().chain(columns.iter().map(String::as_str)))?;
                }
                Sink::Csv(writer)
            }
            Format::Npy => Sink::Npy(NpyWriter::create(path, &[classes])?),
            Format::Records | Format::Npz | Format::Pictures => {
                return Err(Error::usage(format!("outputs are not written to `{}`", path.display()))
                    .hint("name it `.csv` or `.npy`"));
            }
        };
        Ok(Self { sink, classes, index: 0 })
    }

    /// Adds one sample's outputs. A wrong count or an output that is not finite is an error that names the sample.
    pub fn push(&mut self, label: Option<u32>, outputs: &[f32]) -> Result<()> {
        let index = self.index;
        if outputs.len() != self.classes {
            return Err(Error::failed(format!(
                "sample {index} has {} outputs, expected {}",
                outputs.len(),
                self.classes
            )));
        }
        if let Some(class) = outputs.iter().position(|output| !output.is_finite()) {
            return Err(Error::failed(format!("output {class} of sample {index} is not finite")));
        }
        match &mut self.sink {
            Sink::Csv(writer) => {
                let top1 = top1(outputs).map_or(-1, |class| class as i64);
                writer.row(&[index as i64, label.map_or(-1, i64::from), top1], outputs)?;
            }
            Sink::Npy(writer) => writer.push(outputs)?,
        }
        self.index += 1;
        Ok(())
    }

    /// Adds a batch of outputs `[n, classes]` with the labels of its samples, if any.
    pub fn push_batch(&mut self, labels: Option<&[u32]>, outputs: &Tensor) -> Result<()> {
        for row in 0..outputs.batch() {
            let values = outputs.row(row).ok_or_else(|| Error::failed("an output tensor is short"))?;
            self.push(labels.and_then(|labels| labels.get(row).copied()), values)?;
        }
        Ok(())
    }

    /// Samples written so far.
    pub fn len(&self) -> usize {
        self.index
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.index == 0
    }

    /// Syncs the file and gives it its name.
    pub fn finish(self) -> Result<()> {
        match self.sink {
            Sink::Csv(writer) => writer.finish(),
            Sink::Npy(writer) => writer.finish(),
        }
    }
}

/// Index of the largest value, the first one of equals; `None` for no values.
fn top1(values: &[f32]) -> Option<usize> {
    let best = |best: (usize, f32), (index, value): (usize, &f32)| if *value > best.1 { (index, *value) } else { best };
    let first = values.first()?;
    Some(values.iter().enumerate().skip(1).fold((0, *first), best).0)
}

/// Outputs read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Outputs of one sample.
    pub classes: usize,
    /// Outputs of all samples, one after the other.
    pub values: Vec<f32>,
    /// Labels, where every row has one.
    pub labels: Option<Vec<u32>>,
}

impl Outputs {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.values.len() / self.classes.max(1)
    }

    /// Whether there are none; [`read_outputs`] never returns none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Outputs of sample `index`, or `None` past the end.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.values.get(index.checked_mul(self.classes)?..(index + 1).checked_mul(self.classes)?)
    }
}

/// Whether a row begins with what [`OutputWriter`] puts before the outputs of sample `index`.
fn is_leading(row: &[f32], index: usize) -> bool {
    let [number, label, answer, outputs @ ..] = row else { return false };
    let whole = |value: f32, least: f32| value >= least && value.fract() == 0.0;
    let sound = outputs.iter().all(|value| value.is_finite());
    let own = top1(outputs).map_or(-1.0, |class| class as f32);
    // Whole numbers are exact in a float up to 2²⁴ samples.
    *number == index as f32 && whole(*label, -1.0) && (!sound || *answer == own)
}

/// Reads a file of outputs: a CSV as [`OutputWriter`] writes it, a CSV of `classes` bare outputs a row (when `classes`
/// is known), or an npy array `[N, classes]`.
pub fn read_outputs(path: &Path, classes: Option<usize>) -> Result<Outputs> {
    let (mut values, mut labels, mut row) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = 0usize;
    let found = match Format::of(path)? {
        Format::Npy => {
            let mut reader = NpyRows::open(path, classes)?;
            while reader.next_row(&mut row)? {
                values.extend_from_slice(&row);
                rows += 1;
            }
            reader.width()
        }
        Format::Csv => {
            let mut reader = NumberRows::open(path, None)?;
            let mut found = 0;
            while let Some(line) = reader.next_row(&mut row)? {
                let leading = if classes == Some(row.len()) { 0 } else { LEADING };
                found = row.len().saturating_sub(leading);
                if found == 0 || classes.is_some_and(|classes| classes != found) {
                    let expected = classes.map_or_else(|| "at least 1".to_owned(), |classes| classes.to_string());
                    return Err(reader.wrong(line, format_args!("{found} outputs, expected {expected}")));
                }
                if leading == LEADING {
                    if !is_leading(&row, rows) {
                        return Err(reader
                            .wrong(
                                line,
                                format_args!(
                                    "it does not begin with the sample's number, its label and its largest output"
                                ),
                            )
                            .hint("name the number of outputs a row with `--classes` where rows hold nothing else"));
                    }
                    let label = row.get(1).copied().filter(|label| *label >= 0.0 && label.fract() == 0.0);
                    labels.extend(label.map(|label| label as u32));
                }
                values.extend(row.iter().skip(leading));
                rows += 1;
            }
            found
        }
        Format::Records | Format::Npz | Format::Pictures => {
            return Err(Error::usage(format!("`{}` is not a file of outputs", path.display())));
        }
    };
    if rows == 0 {
        return Err(Error::input(format!("`{}` holds no outputs", path.display())));
    }
    Ok(Outputs { classes: found, values, labels: (labels.len() == rows).then_some(labels) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("out.csv", None)]
    #[case("out.csv", Some("logits"))]
    #[case("out.npy", None)]
    fn outputs_survive_the_way_there_and_back(#[case] name: &str, #[case] header: Option<&str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut writer = OutputWriter::create(&path, 2, header).unwrap();
        let outputs = Tensor::float32("logits", vec![2, 2], vec![0.1, 1e-20, -3.0, 4.0]).unwrap();
        writer.push_batch(Some(&[1, 0]), &outputs).unwrap();
        writer.finish().unwrap();
        for classes in [None, Some(2)] {
            let read = read_outputs(&path, classes).unwrap();
            assert_eq!((read.classes, read.values.as_slice()), (2, outputs.floats().as_ref()));
            assert_eq!(read.labels, path.extension().is_some_and(|kind| kind == "csv").then(|| vec![1, 0]));
        }
        assert!(read_outputs(&path, Some(3)).is_err());
    }

    #[test]
    fn rows_are_numbers_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let mut writer = OutputWriter::create(&path, 3, None).unwrap();
        writer.push(Some(2), &[0.0, 1.5, 1.0]).unwrap();
        writer.push(None, &[1e-9, 0.0, 0.0]).unwrap();
        writer.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0,2,1,0.0,1.5,1.0\n1,-1,0,1e-9,0.0,0.0\n");
    }

    #[test]
    fn bad_outputs_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["out.csv", "out.npy"] {
            let path = folder.path().join(name);
            let mut writer = OutputWriter::create(&path, 2, None).unwrap();
            writer.push(None, &[0.0, 1.0]).unwrap();
            let error = writer.push(None, &[f32::NAN, 1.0]).unwrap_err();
            assert_eq!(error.message, "output 0 of sample 1 is not finite");
            assert!(writer.push(None, &[1.0]).is_err());
            drop(writer);
            assert!(!path.exists());
        }
    }

    #[test]
    fn empty_file_holds_no_outputs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        std::fs::write(&path, "index,label,top1,a\n").unwrap();
        assert!(read_outputs(&path, None).unwrap_err().message.ends_with("holds no outputs"));
    }
}
