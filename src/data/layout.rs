//! Whether an array's rows are samples of a model's input, by their shape.

use crate::data::npy::NpyRows;
use crate::error::{Error, Result};
use crate::manifest::{Input, Layout};

/// Refuses rows whose shape says that they are not samples of `input`: another number of values, or the same number in
/// another order. Axes of one place do not count, and a flat row is taken as it is.
///
/// # Errors
/// With the transposition that would help, where there is one.
pub fn check_layout(rows: &NpyRows, input: &Input) -> Result<()> {
    let axes = |shape: &[u64]| -> Vec<u64> { shape.iter().copied().filter(|&size| size != 1).collect() };
    let wanted: Vec<u64> = input.shape.iter().map(|&size| size as u64).collect();
    let (found, expected) = (axes(rows.shape()), axes(&wanted));
    let width: u64 = wanted.iter().product();
    if found == expected || found == axes(&[width]) {
        return Ok(());
    }
    let shape: Vec<u64> = std::iter::once(rows.total()).chain(rows.shape().iter().copied()).collect();
    if rows.width() as u64 != width {
        let error =
            Error::input(format!("{} has shape {shape:?}, expected one sample of {width} values a row", rows.place()));
        // One sample alone: its first axis was taken for the samples.
        return Err(if axes(&shape) == expected {
            error.hint("one sample needs an axis in front: `x[None]`")
        } else {
            error
        });
    }
    let error = Error::input(format!(
        "{} has shape {shape:?}, and samples of the model have {:?}: the same number of values in another order",
        rows.place(),
        input.shape
    ));
    let hint = match (rows.shape(), input.layout) {
        ([_, _, channels], Layout::Nchw) if Some(channels) == wanted.first() => {
            "transpose it: `x.transpose(0, 3, 1, 2)`"
        }
        ([channels, _, _], Layout::Nhwc) if Some(channels) == wanted.last() => {
            "transpose it: `x.transpose(0, 2, 3, 1)`"
        }
        ([_, _, _], _) => "transpose it, or correct `shape` and `layout` under `[input]`",
        _ => "reshape it to the model's shape, with the samples along the first axis",
    };
    Err(error.hint(hint))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::data::npy::NpyWriter;
    use crate::data::reader::tests::input;

    #[rstest]
    #[case::same(&[16, 20, 3], &[16, 20, 3], Layout::Nhwc, "")]
    #[case::flat(&[960], &[16, 20, 3], Layout::Nhwc, "")]
    #[case::grey_without_its_axis(&[16, 20], &[16, 20, 1], Layout::Nhwc, "")]
    #[case::an_axis_more(&[1, 7, 1], &[7], Layout::Flat, "")]
    #[case::channels_last(&[16, 20, 3], &[3, 16, 20], Layout::Nchw, "x.transpose(0, 3, 1, 2)")]
    #[case::channels_first(&[3, 16, 20], &[16, 20, 3], Layout::Nhwc, "x.transpose(0, 2, 3, 1)")]
    #[case::rows_and_columns(&[20, 16, 3], &[16, 20, 3], Layout::Nhwc, "correct `shape` and `layout`")]
    #[case::two_axes(&[48, 20], &[16, 20, 3], Layout::Nhwc, "reshape it")]
    #[case::no_flat_input(&[4, 2], &[8], Layout::Flat, "reshape it")]
    #[case::other_number(&[16, 20, 4], &[16, 20, 3], Layout::Nhwc, "expected one sample of 960 values a row")]
    #[case::other_flat_number(&[9], &[8], Layout::Flat, "expected one sample of 8 values a row")]
    fn rows_of_another_shape_are_refused(
        #[case] rows: &[usize],
        #[case] shape: &[usize],
        #[case] layout: Layout,
        #[case] expected: &str,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let mut writer = NpyWriter::create(&path, rows).unwrap();
        writer.push(&vec![0.0; rows.iter().product()]).unwrap();
        writer.push(&vec![0.0; rows.iter().product()]).unwrap();
        writer.finish().unwrap();
        let checked = check_layout(&NpyRows::open(&path, None).unwrap(), &input(shape, layout));
        match expected {
            "" => checked.unwrap(),
            expected => {
                let error = checked.unwrap_err();
                let text = format!("{} {}", error.message, error.hint.unwrap_or_default());
                assert!(text.contains(expected), "{text}");
            }
        }
    }

    #[test]
    fn one_sample_without_its_axis_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let mut writer = NpyWriter::create(&path, &[20, 3]).unwrap();
        (0..16).for_each(|_| writer.push(&[0.0; 60]).unwrap());
        writer.finish().unwrap();
        let error = check_layout(&NpyRows::open(&path, None).unwrap(), &input(&[16, 20, 3], Layout::Nhwc)).unwrap_err();
        assert_eq!(error.hint.unwrap(), "one sample needs an axis in front: `x[None]`");
    }
}
