//! `[[input]]` and `[[output]]`: the inputs and outputs of a model that is no classifier of one input.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::read::Source;
use super::shapes::{OpenSize, SampleSize, ShapeProfile};
use super::tasks::{Named, OutputTask, RawTask};
use super::{AccuracyLimits, Input, Layout, Output, OutputKind};
use crate::error::Result;
use crate::tensor::{BatchAxes, BatchAxis};

/// The inputs that are fed and the outputs that are gated, by name. Element types and sizes are the model's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// A source of values for every input of the model.
    pub inputs: Vec<FedInput>,
    /// The outputs that are compared.
    pub outputs: Vec<GatedOutput>,
    /// The sizes that inputs name.
    pub shapes: Vec<OpenSize>,
    /// What engines are built for, at least one.
    pub profiles: Vec<ShapeProfile>,
}

impl Interface {
    /// Where samples lie in the tensors that do not have them first.
    pub fn axes(&self) -> BatchAxes {
        let elsewhere = |axis: BatchAxis| axis != BatchAxis::default();
        let inputs = self.inputs.iter().filter(|input| !input.shared && elsewhere(input.batch_axis));
        let outputs = self.read_outputs().into_iter().map(|name| (name.to_owned(), self.output_axis(name)));
        BatchAxes {
            inputs: inputs.map(|input| (input.name.clone(), input.batch_axis)).collect(),
            outputs: outputs.filter(|(_, axis)| elsewhere(*axis)).collect(),
        }
    }

    /// The axis of an output that is read: what stands beside another has its samples where that one has them.
    pub fn output_axis(&self, name: &str) -> BatchAxis {
        let own = self.outputs.iter().find(|output| output.name == name);
        let beside = || self.outputs.iter().find(|output| output.task.companions().contains(&name));
        own.or_else(beside).map_or_else(BatchAxis::default, |output| output.batch_axis)
    }

    /// The names of every output that is read, each once: those that are gated, and what stands beside them.
    pub fn read_outputs(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
        for companion in self.outputs.iter().flat_map(|output| output.task.companions()) {
            if !names.contains(&companion) {
                names.push(companion);
            }
        }
        names
    }
}

/// What one input is fed.
#[derive(Clone, Debug, PartialEq)]
pub struct FedInput {
    /// Name at the border of the graph.
    pub name: String,
    /// Sizes of one sample, without the batch, where the model leaves some open.
    pub shape: Option<Vec<SampleSize>>,
    /// Whether it is the same for every sample, and has no batch.
    pub shared: bool,
    /// The dimension along which its samples lie.
    pub batch_axis: BatchAxis,
    /// Where its values come from.
    pub values: ValueSource,
    /// What stands behind a sample's length, where another input is the mask or the lengths of this one.
    pub padding: Option<i64>,
}

/// Where the values of an input come from.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueSource {
    /// Pixels of pictures made of smooth shapes, scaled from byte 0 to byte 255.
    Image([f64; 2]),
    /// Evenly spread from the first to the second.
    Uniform([f64; 2]),
    /// Of this mean and deviation.
    Normal([f64; 2]),
    /// Whole numbers, both ends included.
    Integers([i64; 2]),
    /// This number everywhere.
    Constant(f64),
    /// Ones, then zeros along the last dimension: so many of a sequence are there.
    Mask,
    /// Ones along the last dimension as far as the sample of another input goes, then zeros.
    MaskOf(LengthOf),
    /// How far the sample of another input goes.
    LengthsOf(LengthOf),
    /// 0, 1, 2 … along the last dimension.
    Positions,
    /// One 1 along the last dimension, zeros beside it.
    OneHot,
    /// The array of the input's name in this npz archive, its first dimension the samples.
    File(PathBuf),
}

/// The length of another input's samples, which is drawn once for all that ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LengthOf {
    /// The other input.
    pub input: String,
    /// The dimension of its sample that the length lies along, the batch left out; its only one where nothing is said.
    pub axis: Option<usize>,
}

impl ValueSource {
    /// The length that it goes by, if it does.
    pub const fn length(&self) -> Option<&LengthOf> {
        match self {
            Self::MaskOf(of) | Self::LengthsOf(of) => Some(of),
            Self::Image(_)
            | Self::Uniform(_)
            | Self::Normal(_)
            | Self::Integers(_)
            | Self::Constant(_)
            | Self::Mask
            | Self::Positions
            | Self::OneHot
            | Self::File(_) => None,
        }
    }
}

/// An output that is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct GatedOutput {
    /// Name at the border of the graph.
    pub name: String,
    /// What the same answer means for it.
    pub task: OutputTask,
    /// Limits that are named in place of the ladder's.
    pub named: Named,
    /// The dimension along which its samples lie.
    pub batch_axis: BatchAxis,
    /// Limits of its figure by labels, in place of those of `[accuracy]`.
    pub accuracy: AccuracyLimits,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawFedInput {
    name: Spanned<String>,
    shape: Option<Spanned<Vec<SampleSize>>>,
    #[serde(default)]
    shared: bool,
    batch_axis: Option<Spanned<RawBatchAxis>>,
    values: Spanned<RawValues>,
    padding: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected the name of an input, or { input = \"name\", axis = 0 }")]
enum RawLengthOf {
    Input(String),
    Along(Along),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Along {
    input: String,
    axis: usize,
}

impl From<RawLengthOf> for LengthOf {
    fn from(raw: RawLengthOf) -> Self {
        match raw {
            RawLengthOf::Input(input) => Self { input, axis: None },
            RawLengthOf::Along(Along { input, axis }) => Self { input, axis: Some(axis) },
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a dimension counted from 0, or \"none\"")]
pub(super) enum RawBatchAxis {
    At(usize),
    Without(Without),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Without {
    None,
}

impl From<RawBatchAxis> for BatchAxis {
    fn from(raw: RawBatchAxis) -> Self {
        match raw {
            RawBatchAxis::At(axis) => Self::At(axis),
            RawBatchAxis::Without(Without::None) => Self::None,
        }
    }
}

fn axis_of(raw: Option<&Spanned<RawBatchAxis>>) -> BatchAxis {
    raw.map_or_else(BatchAxis::default, |axis| (*axis.get_ref()).into())
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawValues {
    Image([f64; 2]),
    Uniform([f64; 2]),
    Normal([f64; 2]),
    Integers([i64; 2]),
    Constant(f64),
    Mask,
    MaskOf(RawLengthOf),
    LengthsOf(RawLengthOf),
    Positions,
    OneHot,
    From(PathBuf),
}

/// What a manifest of several inputs says in the words of one, which only name the first of them, and all of it.
pub(super) fn border(
    source: &Source<'_>,
    inputs: Vec<RawFedInput>,
    outputs: Vec<RawTask>,
    resolve: &dyn Fn(&Path) -> PathBuf,
) -> Result<(Input, Output, Option<Interface>)> {
    let interface = read(source, inputs, outputs, resolve)?;
    let input = Input {
        name: interface.inputs.first().map(|input| input.name.clone()).unwrap_or_default(),
        shape: Vec::new(),
        layout: Layout::Flat,
        range: [0.0, 1.0],
        mean: Vec::new(),
        std: Vec::new(),
        fixed_batch: None,
        resize: None,
    };
    let output = Output {
        name: interface.outputs.first().map(|output| output.name.clone()).unwrap_or_default(),
        classes: 0,
        kind: OutputKind::Logits,
        labels: Vec::new(),
    };
    Ok((input, output, Some(interface)))
}

/// Holds an input to those that it has to fit together with.
fn joint(
    source: &Source<'_>,
    fed: &[FedInput],
    input: &FedInput,
    values: Range<usize>,
    padding: Option<Range<usize>>,
) -> Result<()> {
    if let Some(of) = input.values.length() {
        let other = fed.iter().find(|other| other.name == of.input);
        let problem = match other {
            None => Some("is no input".to_owned()),
            Some(other) if other.name == input.name => Some("is this input itself".to_owned()),
            Some(other) if other.shared => Some("is the same for every sample, and has one length".to_owned()),
            Some(other) if matches!(other.values, ValueSource::File(_)) => {
                Some("comes from a file, which does not say how long its samples are".to_owned())
            }
            Some(_) if input.shared => Some("has a length a sample, and this input is shared".to_owned()),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            return Err(source.error(values, format!("`{}` {problem}", of.input)));
        }
    }
    let Some(padding) = padding else { return Ok(()) };
    if matches!(input.values, ValueSource::File(_)) {
        return Err(source.error(padding, "what comes from a file is not padded"));
    }
    if fed.iter().all(|other| other.values.length().is_none_or(|of| of.input != input.name)) {
        return Err(source
            .error(padding, format!("nothing says how long a sample of `{}` is", input.name))
            .hint(format!("another input with `values = {{ mask-of = \"{0}\" }}` or `lengths-of` does", input.name)));
    }
    Ok(())
}

/// Validates what the manifest says.
fn read(
    source: &Source<'_>,
    inputs: Vec<RawFedInput>,
    outputs: Vec<RawTask>,
    resolve: &dyn Fn(&Path) -> PathBuf,
) -> Result<Interface> {
    let mut fed: Vec<FedInput> = Vec::new();
    let mut places = Vec::new();
    for raw in inputs {
        let name = raw.name.get_ref().clone();
        if fed.iter().any(|input| input.name == name) {
            return Err(source.error(raw.name.span(), format!("input `{name}` is fed twice")));
        }
        if let Some(shape) = raw.shape.as_ref().filter(|shape| shape.get_ref().contains(&SampleSize::Fixed(0))) {
            return Err(source.error(shape.span(), "no dimension of a sample may be 0"));
        }
        if let Some(axis) = raw.batch_axis.as_ref().filter(|_| raw.shared) {
            return Err(source.error(axis.span(), "what is shared has no batch, so that it has no axis of one"));
        }
        let batch_axis = axis_of(raw.batch_axis.as_ref());
        let span = raw.values.span();
        let ascending = |[low, high]: [f64; 2], what: &str| {
            let sound = low.is_finite() && high.is_finite() && low < high;
            if sound {
                Ok([low, high])
            } else {
                Err(source.error(span.clone(), format!("`{what}` is [low, high], ascending")))
            }
        };
        let values = match raw.values.into_inner() {
            RawValues::Image(range) => ValueSource::Image(ascending(range, "image")?),
            RawValues::Uniform(range) => ValueSource::Uniform(ascending(range, "uniform")?),
            RawValues::Normal([mean, deviation]) if mean.is_finite() && deviation.is_finite() && deviation > 0.0 => {
                ValueSource::Normal([mean, deviation])
            }
            RawValues::Normal(_) => {
                return Err(source.error(span, "`normal` is [mean, deviation], the deviation above 0"));
            }
            RawValues::Integers([low, high]) if low <= high => ValueSource::Integers([low, high]),
            RawValues::Integers(_) => return Err(source.error(span, "`integers` is [low, high], ascending")),
            RawValues::Constant(value) if value.is_finite() => ValueSource::Constant(value),
            RawValues::Constant(_) => return Err(source.error(span, "a constant is a number")),
            RawValues::Mask => ValueSource::Mask,
            RawValues::MaskOf(of) => ValueSource::MaskOf(of.into()),
            RawValues::LengthsOf(of) => ValueSource::LengthsOf(of.into()),
            RawValues::Positions => ValueSource::Positions,
            RawValues::OneHot => ValueSource::OneHot,
            RawValues::From(path) => ValueSource::File(resolve(&path)),
        };
        let shape = raw.shape.map(Spanned::into_inner);
        places.push((span, raw.padding.as_ref().map(Spanned::span)));
        let padding = raw.padding.map(Spanned::into_inner);
        fed.push(FedInput { name, shape, shared: raw.shared, batch_axis, values, padding });
    }
    for (input, (values, padding)) in fed.iter().zip(places) {
        joint(source, &fed, input, values, padding)?;
    }
    let mut gated: Vec<GatedOutput> = Vec::new();
    for raw in outputs {
        let name = raw.name.get_ref().clone();
        if gated.iter().any(|output| output.name == name) {
            return Err(source.error(raw.name.span(), format!("output `{name}` is gated twice")));
        }
        let (task, named) = raw.read(source)?;
        let accuracy = super::read::accuracy(source, &raw.accuracy)?;
        if let Some(limit) = raw.accuracy.first().filter(|_| !task.task().is_labelled()) {
            return Err(source.error(limit, format!("labels say nothing of the task `{}`", task.task())));
        }
        gated.push(GatedOutput { batch_axis: axis_of(raw.batch_axis.as_ref()), name, task, named, accuracy });
    }
    Ok(Interface { inputs: fed, outputs: gated, shapes: Vec::new(), profiles: Vec::new() })
}
