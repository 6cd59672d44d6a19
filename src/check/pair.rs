//! Outputs that may be compared: the only way to a metric is through a validated [`OutputPair`].

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{ElementType, Tensor};

/// Reference and actual outputs of the same samples: `[samples, classes]`, row-major, at least one of each, every value
/// finite. A metric takes nothing else, so a NaN or a missing sample can never reach a comparison.
#[derive(Clone, Copy, Debug)]
pub struct OutputPair<'a> {
    reference: &'a [f32],
    actual: &'a [f32],
    classes: usize,
}

impl<'a> OutputPair<'a> {
    /// Pairs two slices of `samples` × `classes` values each.
    ///
    /// Errors: [`ErrorKind::Invalid`] for anything wrong with the reference and for samples missing on either side (there
    /// is nothing valid to compare), [`ErrorKind::Failed`] for non-finite or wrongly shaped actual values.
    pub fn new(reference: &'a [f32], actual: &'a [f32], samples: usize, classes: usize) -> Result<Self> {
        if samples == 0 {
            return Err(Error::invalid("there are no samples to compare").hint("give at least one probe"));
        }
        if classes == 0 {
            return Err(Error::invalid("there are no classes to compare"));
        }
        Side::Reference.check(reference, samples, classes)?;
        Side::Actual.check(actual, samples, classes)?;
        Ok(Self { reference, actual, classes })
    }

    /// Pairs two tensors of `samples` rows; every dimension after the first must agree, and be one classes dimension once
    /// dimensions of 1 are dropped (`[N, 10]` and `[N, 10, 1, 1]` are both ten classes, but not comparable).
    pub fn of_tensors(reference: &'a Tensor, actual: &'a Tensor, samples: usize) -> Result<Self> {
        let classes = classes_of(reference, ErrorKind::Invalid)?;
        classes_of(actual, ErrorKind::Failed)?;
        let (expected, found) = (scores(reference)?, scores(actual)?);
        if reference.shape.get(1..) != actual.shape.get(1..) {
            return Err(Error::failed(format!(
                "output `{}` has shape {:?}, the reference has {:?}",
                actual.name, actual.shape, reference.shape
            )));
        }
        count("reference", reference.batch(), samples)?;
        count("output", actual.batch(), samples)?;
        Self::new(expected, found, samples, classes)
    }

    /// Samples, at least 1.
    pub fn samples(&self) -> usize {
        self.reference.len() / self.classes
    }

    /// Classes, at least 1.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// All reference values, row-major.
    pub fn reference(&self) -> &'a [f32] {
        self.reference
    }

    /// All actual values, row-major.
    pub fn actual(&self) -> &'a [f32] {
        self.actual
    }

    /// The rows of both sides, in order.
    pub fn rows(&self) -> impl Iterator<Item = (&'a [f32], &'a [f32])> + use<'a> {
        self.reference.chunks_exact(self.classes).zip(self.actual.chunks_exact(self.classes))
    }
}

/// Checks outputs by themselves, as [`OutputPair::of_tensors`] checks its actual side.
///
/// Errors: [`ErrorKind::Invalid`] for missing samples, [`ErrorKind::Failed`] for a wrong shape or type and for values that
/// are not finite.
pub fn check_outputs(outputs: &Tensor, samples: usize) -> Result<()> {
    let classes = classes_of(outputs, ErrorKind::Failed)?;
    let values = scores(outputs)?;
    count("output", outputs.batch(), samples)?;
    Side::Actual.check(values, samples, classes)
}

/// Takes the output called `name` out of what a session returned. Scores of other types widen to `float32`, exactly but for
/// doubles.
///
/// Errors: [`ErrorKind::Failed`], naming the outputs there are, or the type that cannot be scores: an answer's index is
/// refused before anything is counted of it.
pub fn select_output(outputs: Vec<Tensor>, name: &str) -> Result<Tensor> {
    let names: Vec<String> = outputs.iter().map(|output| format!("`{}`", output.name)).collect();
    let Some(output) = outputs.into_iter().find(|output| output.name == name) else {
        let found = if names.is_empty() { "none came back".to_owned() } else { format!("got {}", names.join(", ")) };
        return Err(Error::failed(format!("output `{name}` is missing: {found}"))
            .hint("check `[output] name` of the manifest against the model's signature"));
    };
    if holds_scores(output.element_type()) { Ok(output.into_float32()) } else { Err(no_scores(&output)) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Reference,
    Actual,
}

impl Side {
    fn check(self, values: &[f32], samples: usize, classes: usize) -> Result<()> {
        let (noun, kind) = match self {
            Self::Reference => ("reference", ErrorKind::Invalid),
            Self::Actual => ("output", ErrorKind::Failed),
        };
        if classes == 0 || !values.len().is_multiple_of(classes) {
            return Err(Error::new(kind, format!("the {noun} holds {} values, not rows of {classes}", values.len())));
        }
        count(noun, values.len() / classes, samples)?;
        match NonFinite::find(values, classes) {
            None => Ok(()),
            Some(found) => Err(Error::new(kind, found.message(noun, samples)).hint(match self {
                Self::Reference => "a reference with such values judges nothing; make it again with `trtgate bless`",
                Self::Actual => {
                    "an overflow or a wrong kernel; `trtgate explain` finds the first tensor that holds one"
                }
            })),
        }
    }
}

fn count(noun: &str, found: usize, samples: usize) -> Result<()> {
    if found == samples {
        return Ok(());
    }
    let what = match found {
        0 => "no samples".to_owned(),
        1 => "1 sample".to_owned(),
        _ => format!("{found} samples"),
    };
    Err(Error::invalid(format!("the {noun} holds {what}, {samples} were asked"))
        .hint("a sample without an answer is never left out: run the cell again, and check how its last batch is cut"))
}

fn classes_of(tensor: &Tensor, kind: ErrorKind) -> Result<usize> {
    let wide = tensor.shape.iter().skip(1).filter(|&&size| size != 1).count();
    if tensor.shape.len() < 2 || wide > 1 {
        return Err(Error::new(
            kind,
            format!("`{}` has shape {:?}, expected one row of class scores a sample", tensor.name, tensor.shape),
        )
        .hint(
            "name the class scores in `[output] name`; a model with another output needs a pooling or flattening layer",
        ));
    }
    Ok(tensor.row_len())
}

/// Whether elements of that type can be class scores; 8-bit integers are quantised scores.
const fn holds_scores(element_type: ElementType) -> bool {
    element_type.is_float() || matches!(element_type, ElementType::Int8 | ElementType::Uint8)
}

/// The class scores of `tensor`, which [`select_output`] made `float32`.
fn scores(tensor: &Tensor) -> Result<&[f32]> {
    tensor.values.as_slice().ok_or_else(|| no_scores(tensor))
}

fn no_scores(output: &Tensor) -> Error {
    let (name, found) = (&output.name, output.element_type());
    Error::failed(format!("output `{name}` is {found}, which holds no class scores"))
        .hint("the model may return its answer instead of its scores: name the scores in `[output] name`")
}

struct NonFinite {
    sample: usize,
    class: usize,
    value: f32,
    samples: usize,
    /// Values that are not finite.
    values: usize,
    /// Whether these are all values.
    all: bool,
}

impl NonFinite {
    fn find(values: &[f32], classes: usize) -> Option<Self> {
        let first = values.iter().position(|value| !value.is_finite())?;
        let bad = |row: &[f32]| row.iter().filter(|value| !value.is_finite()).count();
        let counts = values.chunks_exact(classes).map(bad);
        let (samples, total) =
            counts.filter(|&count| count > 0).fold((0, 0), |(rows, total), count| (rows + 1, total + count));
        Some(Self {
            sample: first / classes,
            class: first % classes,
            value: values.get(first).copied().unwrap_or(f32::NAN),
            samples,
            values: total,
            all: total == values.len(),
        })
    }

    fn message(&self, noun: &str, samples: usize) -> String {
        let value =
            if self.value.is_nan() { "NaN".to_owned() } else { format!("{:+}", self.value).replace("inf", "Inf") };
        let place = format!("class {} of sample {} is {value}", self.class, self.sample);
        match (self.all, self.samples == samples) {
            (true, _) => {
                format!("all {samples} samples of the {noun} are not finite, every value is like the first, {value}")
            }
            (false, true) => {
                format!("all {samples} samples of the {noun} are not finite, in {} values: {place}", self.values)
            }
            (false, false) => format!(
                "{} of {samples} samples of the {noun} {} not finite: {place}",
                self.samples,
                if self.samples == 1 { "is" } else { "are" }
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::Values;

    fn good() -> Vec<f32> {
        (0..256 * 10).map(|index| (index % 17) as f32 - 8.0).collect()
    }

    fn with(index: usize, value: f32) -> Vec<f32> {
        let mut values = good();
        values[index] = value;
        values
    }

    #[rstest]
    #[case::all_nan(good(), vec![f32::NAN; 2560], ErrorKind::Failed,
        "all 256 samples of the output are not finite, every value is like the first, NaN")]
    #[case::one_nan(
        good(),
        with(1234, f32::NAN),
        ErrorKind::Failed,
        "1 of 256 samples of the output is not finite: class 4 of sample 123 is NaN"
    )]
    #[case::infinity(
        good(),
        with(0, f32::INFINITY),
        ErrorKind::Failed,
        "1 of 256 samples of the output is not finite: class 0 of sample 0 is +Inf"
    )]
    #[case::minus_infinity(
        good(),
        with(2559, f32::NEG_INFINITY),
        ErrorKind::Failed,
        "1 of 256 samples of the output is not finite: class 9 of sample 255 is -Inf"
    )]
    #[case::one_sample_missing(good(), good()[10..].to_vec(), ErrorKind::Invalid,
        "the output holds 255 samples, 256 were asked")]
    #[case::one_sample_more(good(), [good(), vec![0.0; 10]].concat(), ErrorKind::Invalid,
        "the output holds 257 samples, 256 were asked")]
    #[case::none(good(), vec![], ErrorKind::Invalid, "the output holds no samples, 256 were asked")]
    #[case::ragged(good(), good()[1..].to_vec(), ErrorKind::Failed, "the output holds 2559 values, not rows of 10")]
    #[case::bad_reference(
        with(7, f32::NAN),
        good(),
        ErrorKind::Invalid,
        "1 of 256 samples of the reference is not finite: class 7 of sample 0 is NaN"
    )]
    #[case::short_reference(good()[10..].to_vec(), good(), ErrorKind::Invalid,
        "the reference holds 255 samples, 256 were asked")]
    #[case::nan_on_both_sides(vec![f32::NAN; 2560], vec![f32::NAN; 2560], ErrorKind::Invalid,
        "all 256 samples of the reference are not finite, every value is like the first, NaN")]
    fn nothing_incomparable_passes(
        #[case] reference: Vec<f32>,
        #[case] actual: Vec<f32>,
        #[case] kind: ErrorKind,
        #[case] message: &str,
    ) {
        let error = OutputPair::new(&reference, &actual, 256, 10).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (kind, message));
    }

    #[test]
    fn zero_samples_are_no_comparison() {
        assert_eq!(OutputPair::new(&[], &[], 0, 10).unwrap_err().kind, ErrorKind::Invalid);
        assert_eq!(OutputPair::new(&[], &[], 4, 0).unwrap_err().kind, ErrorKind::Invalid);
    }

    #[rstest]
    #[case::transposed(vec![10, 4], ErrorKind::Failed)]
    #[case::scalar(vec![], ErrorKind::Failed)]
    #[case::extra_dimension(vec![4, 10, 1], ErrorKind::Failed)]
    #[case::map(vec![4, 5, 2], ErrorKind::Failed)]
    fn a_wrong_shape_is_the_models_failure(#[case] shape: Vec<usize>, #[case] kind: ErrorKind) {
        let reference = Tensor::float32("logits", vec![4, 10], vec![0.5; 40]).unwrap();
        let size = shape.iter().product();
        let actual = Tensor::float32("logits", shape, vec![0.5; size]).unwrap();
        assert_eq!(OutputPair::of_tensors(&reference, &actual, 4).unwrap_err().kind, kind);
    }

    #[test]
    fn an_answer_instead_of_scores_is_refused() {
        let reference = Tensor::float32("logits", vec![4, 10], vec![0.5; 40]).unwrap();
        let mut actual = reference.clone();
        actual.values = Values::Int64(vec![0; 40]);
        let error = OutputPair::of_tensors(&reference, &actual, 4).unwrap_err();
        assert_eq!(error.message, "output `logits` is int64, which holds no class scores");
        // Nor is anything counted of it where it is one of several.
        let selected = select_output(vec![reference.clone(), Tensor { name: "best".to_owned(), ..actual }], "best");
        assert_eq!(selected.unwrap_err().message, "output `best` is int64, which holds no class scores");
    }

    #[test]
    fn outputs_are_checked_by_themselves() {
        let mut outputs = Tensor::float32("logits", vec![2, 3], vec![0.5; 6]).unwrap();
        check_outputs(&outputs, 2).unwrap();
        assert_eq!(check_outputs(&outputs, 3).unwrap_err().kind, ErrorKind::Invalid);
        outputs.values.as_mut::<f32>().unwrap()[4] = f32::NAN;
        assert_eq!(check_outputs(&outputs, 2).unwrap_err().kind, ErrorKind::Failed);
        let empty = Tensor::float32("logits", vec![2, 0], vec![]).unwrap();
        assert_eq!(check_outputs(&empty, 2).unwrap_err().kind, ErrorKind::Failed);
    }

    #[test]
    fn a_missing_output_names_those_there_are() {
        let outputs = vec![Tensor::float32("probabilities", vec![1, 2], vec![0.5; 2]).unwrap()];
        let error = select_output(outputs, "logits").unwrap_err();
        assert_eq!(error.to_string(), "output `logits` is missing: got `probabilities`");
        assert_eq!(select_output(vec![], "logits").unwrap_err().message, "output `logits` is missing: none came back");
    }
}
