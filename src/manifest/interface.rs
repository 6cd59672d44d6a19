//! `[[input]]` and `[[output]]`: the inputs and outputs of a model that is no classifier of one input.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::read::Source;
use super::{Input, Layout, Output, OutputKind};
use crate::error::Result;

/// The inputs that are fed and the outputs that are gated, by name. Element types and sizes are the model's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// A source of values for every input of the model.
    pub inputs: Vec<FedInput>,
    /// The outputs that are compared.
    pub outputs: Vec<GatedOutput>,
}

/// What one input is fed.
#[derive(Clone, Debug, PartialEq)]
pub struct FedInput {
    /// Name at the border of the graph.
    pub name: String,
    /// Sizes of one sample, without the batch, where the model leaves some open.
    pub shape: Option<Vec<usize>>,
    /// Whether it is the same for every sample, and has no batch.
    pub shared: bool,
    /// Where its values come from.
    pub values: ValueSource,
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
    /// One 1 along the last dimension, zeros beside it.
    OneHot,
    /// The array of the input's name in this npz archive, its first dimension the samples.
    File(PathBuf),
}

/// An output that is compared element by element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatedOutput {
    /// Name at the border of the graph.
    pub name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawFedInput {
    name: Spanned<String>,
    shape: Option<Spanned<Vec<usize>>>,
    #[serde(default)]
    shared: bool,
    values: Spanned<RawValues>,
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
    OneHot,
    From(PathBuf),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawGatedOutput {
    name: Spanned<String>,
    task: Spanned<String>,
}

/// What a manifest of several inputs says in the words of one, which only name the first of them, and all of it.
pub(super) fn border(
    source: &Source<'_>,
    inputs: Vec<RawFedInput>,
    outputs: Vec<RawGatedOutput>,
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

/// Validates what the manifest says.
fn read(
    source: &Source<'_>,
    inputs: Vec<RawFedInput>,
    outputs: Vec<RawGatedOutput>,
    resolve: &dyn Fn(&Path) -> PathBuf,
) -> Result<Interface> {
    let mut fed: Vec<FedInput> = Vec::new();
    for raw in inputs {
        let name = raw.name.get_ref().clone();
        if fed.iter().any(|input| input.name == name) {
            return Err(source.error(raw.name.span(), format!("input `{name}` is fed twice")));
        }
        if let Some(shape) = raw.shape.as_ref().filter(|shape| shape.get_ref().contains(&0)) {
            return Err(source.error(shape.span(), "no dimension of a sample may be 0"));
        }
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
            RawValues::OneHot => ValueSource::OneHot,
            RawValues::From(path) => ValueSource::File(resolve(&path)),
        };
        fed.push(FedInput { name, shape: raw.shape.map(Spanned::into_inner), shared: raw.shared, values });
    }
    let mut gated: Vec<GatedOutput> = Vec::new();
    for raw in outputs {
        let name = raw.name.get_ref().clone();
        if gated.iter().any(|output| output.name == name) {
            return Err(source.error(raw.name.span(), format!("output `{name}` is gated twice")));
        }
        if raw.task.get_ref() != "values" {
            return Err(source
                .error(raw.task.span(), format!("`[[output]]` has no task `{}` yet", raw.task.get_ref()))
                .hint("`task = \"values\"` compares element by element; a classifier of one input has `[input]` and `[output]`"));
        }
        gated.push(GatedOutput { name });
    }
    Ok(Interface { inputs: fed, outputs: gated })
}
