//! Outputs for a comparison of two files: what `infer` wrote (CSV or npy), or a golden.

use std::path::Path;

use crate::check::golden::Golden;
use crate::data::outputs::{Outputs, read_outputs};
use crate::error::{Error, Result};
use crate::manifest::OutputKind;

/// Outputs with what their file says about them.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputsFile {
    /// The outputs and, where the file has them, the labels.
    pub outputs: Outputs,
    /// What the outputs are, where the file says so.
    pub kind: Option<OutputKind>,
}

/// Reads a file by its extension: `.golden`, `.csv` or `.npy`. `classes` settles whether a CSV row has leading columns.
///
/// Errors: an input one for a file that is missing, empty, malformed or holds a value that is not finite.
pub fn read(path: &Path, classes: Option<usize>) -> Result<OutputsFile> {
    if path.extension().is_none_or(|extension| extension != "golden") {
        return Ok(OutputsFile { outputs: read_outputs(path, classes)?, kind: None });
    }
    let golden = Golden::read(path)?;
    let [output] = golden.outputs.as_slice() else {
        let (name, count) = (path.display(), golden.outputs.len());
        return Err(Error::input(format!("golden `{name}` holds {count} outputs, of which none is chosen")));
    };
    let (values, classes) = (output.tensor()?.into_floats(), output.row_len());
    let outputs = Outputs { classes, values, labels: None };
    Ok(OutputsFile { outputs, kind: output.kind() })
}

/// Refuses two files that do not hold the outputs of the same samples: nothing is cut to the shorter one.
///
/// Errors: an input one that says in what they differ.
pub fn same_samples(reference: (&Path, &Outputs), actual: (&Path, &Outputs)) -> Result<()> {
    let ((reference_path, reference), (actual_path, actual)) = (reference, actual);
    let (one, other) = (reference_path.display(), actual_path.display());
    if reference.classes != actual.classes {
        return Err(Error::input(format!(
            "`{one}` holds {} outputs a sample, `{other}` {}",
            reference.classes, actual.classes
        ))
        .hint("give `--classes` if one of them has columns besides index, label, top1 and the outputs"));
    }
    if reference.len() != actual.len() {
        return Err(Error::input(format!("`{one}` holds {} samples, `{other}` {}", reference.len(), actual.len()))
            .hint("run both over the same data: samples without a counterpart are not dropped"));
    }
    if let (Some(labels), Some(others)) = (&reference.labels, &actual.labels)
        && let Some(sample) = labels.iter().zip(others).position(|(label, other)| label != other)
    {
        return Err(Error::input(format!("sample {sample} is labelled differently in `{one}` and `{other}`"))
            .hint("run both over the same data, in the same order"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn outputs(classes: usize, samples: usize, labels: Option<Vec<u32>>) -> Outputs {
        Outputs { classes, values: vec![0.5; classes * samples], labels }
    }

    #[rstest]
    #[case::same(outputs(2, 3, None), outputs(2, 3, None), None)]
    #[case::labels_on_one_side(outputs(2, 2, Some(vec![1, 0])), outputs(2, 2, None), None)]
    #[case::classes(outputs(2, 3, None), outputs(3, 2, None), Some("`a` holds 2 outputs a sample, `b` 3"))]
    #[case::samples(outputs(2, 3, None), outputs(2, 2, None), Some("`a` holds 3 samples, `b` 2"))]
    #[case::labels(outputs(2, 2, Some(vec![1, 0])), outputs(2, 2, Some(vec![1, 1])),
        Some("sample 1 is labelled differently in `a` and `b`"))]
    fn only_the_same_samples_are_compared(#[case] one: Outputs, #[case] other: Outputs, #[case] message: Option<&str>) {
        let found = same_samples((Path::new("a"), &one), (Path::new("b"), &other));
        assert_eq!(found.err().map(|error| error.message).as_deref(), message);
    }

    #[test]
    fn a_golden_says_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.golden");
        crate::check::golden::tests::golden().write(&path).unwrap();
        let read = read(&path, None).unwrap();
        assert_eq!((read.outputs.classes, read.outputs.len(), read.kind), (2, 3, Some(OutputKind::Logits)));
    }
}
