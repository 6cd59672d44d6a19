//! What running a model shows that its file does not tell: at which sizes it runs where it leaves some open, and where the samples
//! lie in its inputs and outputs. For `init`, in a worker and in bounded time.

mod sizes;

use std::path::Path;
use std::time::{Duration, Instant};

use super::inspect::{Looked, Means, request};
use crate::data::feeds::{self, InputPlan};
use crate::error::{Error, Result};
use crate::manifest::ModelSource;
use crate::manifest::interface::ValueSource;
use crate::onnx::{self, Model};
use crate::runtime::SessionOptions;
use crate::tensor::{BatchAxes, BatchAxis, Feeds, Signature, Tensor};
use crate::worker::{Limits, Worker};
use sizes::{OpenSizes, symbol};

/// Longest time of trying sizes and batches.
const LONGEST: Duration = Duration::from_secs(40);
/// Longest time of one run.
const ONE_RUN: Duration = Duration::from_secs(20);
/// Largest difference of an answer from that to the sample alone, in the root mean square of the output, where the batch is one.
const ALIKE: f64 = 0.01;

/// What was found out about a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Scouted {
    /// Of each input its batch axis; `None` for what is the same for every sample.
    pub inputs: Vec<Option<BatchAxis>>,
    /// Of each input the sizes of one sample, without the batch.
    pub samples: Vec<Vec<usize>>,
    /// Of each output where its samples lie.
    pub outputs: Vec<BatchAxis>,
    /// The batch that the file fixes.
    pub fixed: Option<usize>,
    /// Elements of a sample's inputs and of its answers, about.
    pub elements: usize,
    /// Of each input the names of its open sizes, where they stand in its sample.
    pub names: Vec<Vec<Option<String>>>,
    /// What else was found, a sentence each.
    pub told: Vec<String>,
    /// What the model answered to a few samples, run by run, in its own layout.
    pub answers: Vec<Tensor>,
}

impl Scouted {
    /// Whether the model is run sample by sample.
    pub fn one_by_one(&self) -> bool {
        self.inputs.contains(&Some(BatchAxis::None)) || self.outputs.contains(&BatchAxis::None)
    }
}

/// One idea of where the samples lie.
struct Idea {
    inputs: Vec<Option<BatchAxis>>,
    /// The batch that the file fixes.
    fixed: Option<usize>,
    open: bool,
}

/// Runs `model` in the library that is its reference to see; `values` says what an input is fed, `likely` are sizes that are tried first, by `height`,
/// `width` and `length`, but for those that the file's own words name.
///
/// # Errors
/// `Missing` without that library; `Failed`, with what the runtime said first, where the model runs at no size that was tried.
pub fn scout(looked: &Looked, values: &[ValueSource], likely: &[(&str, usize)], means: &Means<'_>) -> Result<Scouted> {
    let Looked { source, model, signature, .. } = looked;
    let options = SessionOptions { inner_tensors: true, ..SessionOptions::default() };
    let request = request(source, 1, options, means)?;
    let limits = Limits { request: ONE_RUN, ..Limits::default() };
    let mut worker: Option<Worker> = None;
    let deadline = Instant::now() + LONGEST;
    let mut run = |feeds: &Feeds, axes: &BatchAxes| -> Result<Vec<Tensor>> {
        if worker.as_ref().is_none_or(Worker::is_dead) {
            let mut started = Worker::start(means.program, limits)?;
            started.open(&request)?;
            worker = Some(started);
        }
        let worker = worker.as_mut().ok_or_else(|| Error::failed("no worker"))?;
        Ok(worker.run_laid_out(feeds, feeds.batch(), false, axes)?.outputs)
    };
    let mut hints = match source {
        ModelSource::Onnx { path } => hints(path),
        ModelSource::SavedModel { .. } | ModelSource::Tflite { .. } => Vec::new(),
    };
    hints.extend(likely.iter().map(|(name, size)| ((*name).to_owned(), *size)));
    look(model, signature, values, &hints, &|| Instant::now() > deadline, &mut run)
}

/// Sizes that exporters write into the file's metadata.
fn hints(file: &Path) -> Vec<(String, usize)> {
    let mut hints = Vec::new();
    for (key, value) in onnx::metadata(file).unwrap_or_default() {
        let numbers: Vec<usize> =
            value.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
        match (key.as_str(), numbers.as_slice()) {
            ("imgsz" | "img_size" | "image_size" | "input_size", [height, width]) => {
                hints.extend([("height".to_owned(), *height), ("width".to_owned(), *width)]);
            }
            ("imgsz" | "img_size" | "image_size" | "input_size", [size]) => {
                hints.extend([("height".to_owned(), *size), ("width".to_owned(), *size)]);
            }
            _ => {}
        }
    }
    hints.retain(|(_, size)| (1..=8192).contains(size));
    hints
}

type Run<'a> = dyn FnMut(&Feeds, &BatchAxes) -> Result<Vec<Tensor>> + 'a;

/// As [`scout`], with any way of running the model.
fn look(
    model: &Model,
    signature: &Signature,
    values: &[ValueSource],
    hints: &[(String, usize)],
    over: &dyn Fn() -> bool,
    run: &mut Run<'_>,
) -> Result<Scouted> {
    let graph = model.graph.as_ref();
    let mut refused: Option<Error> = None;
    let mut told = Vec::new();
    for idea in ideas(signature, model) {
        let open = OpenSizes::of(signature, &idea.inputs, graph, hints);
        for sizes in open.combinations() {
            // Making samples takes time too.
            if over() {
                let first = refused.map(|error| format!("; first: {}", error.message)).unwrap_or_default();
                let longest = LONGEST.as_secs();
                return Err(Error::failed(format!("nothing that was tried in {longest} s runs{first}")));
            }
            let samples = open.samples(&sizes);
            match batches(signature, &idea, &samples, values, run) {
                Ok(Found::Rows(outputs, answers)) => {
                    let (names, fixed) = (open.named(), idea.fixed);
                    // Of the runs that were made the first says how much there is.
                    let answered = answers.first().map_or(0, |run| run.iter().map(|output| output.values.len()).sum());
                    let answers = answers.into_iter().flatten().collect();
                    let fed: usize = samples.iter().map(|sample| sample.iter().product::<usize>()).sum();
                    let elements = fed + answered / fixed.unwrap_or(1).max(1);
                    return Ok(Scouted {
                        inputs: idea.inputs,
                        samples,
                        names,
                        outputs,
                        fixed,
                        elements,
                        told,
                        answers,
                    });
                }
                Ok(Found::Dependent(why)) => {
                    told.push(why);
                    break;
                }
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
    }
    Err(refused.unwrap_or_else(|| Error::failed("the model runs in no way that was tried")))
}

/// A name of an open size as a manifest takes it.
pub fn readable(name: &str) -> String {
    let fit = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    let clean: String = name.chars().map(fit).collect();
    if crate::vocabulary::is_name(&clean) { clean } else { format!("size_{clean}") }
}

/// Where samples may lie, the likeliest first.
fn ideas(signature: &Signature, model: &Model) -> Vec<Idea> {
    let graph = model.graph.as_ref();
    let scalar = |shape: &[Option<usize>]| shape.is_empty();
    let with = |of: &dyn Fn(&crate::tensor::TensorSpec) -> Option<BatchAxis>| -> Vec<Option<BatchAxis>> {
        signature.inputs.iter().map(|input| if scalar(&input.shape) { None } else { of(input) }).collect()
    };
    let firsts: Vec<Option<usize>> = signature.inputs.iter().filter_map(|input| input.shape.first().copied()).collect();
    let names: Vec<&str> = signature
        .inputs
        .iter()
        .filter(|input| input.shape.first().is_some_and(Option::is_none))
        .filter_map(|input| symbol(graph, &input.name, 0))
        .collect();
    let mut ideas = Vec::new();
    let mut add = |inputs: Vec<Option<BatchAxis>>, fixed, open| {
        if inputs.iter().any(Option::is_some) && ideas.iter().all(|idea: &Idea| idea.inputs != inputs) {
            ideas.push(Idea { inputs, fixed, open });
        }
    };
    if firsts.contains(&None) {
        // The batch's own name on another axis, then any open one.
        let elsewhere = |input: &crate::tensor::TensorSpec, any: bool| {
            let place = input.shape.iter().enumerate().skip(1).position(|(axis, size)| {
                size.is_none() && (any || symbol(graph, &input.name, axis).is_some_and(|name| names.contains(&name)))
            });
            place.map(|place| BatchAxis::At(place + 1))
        };
        // Where no name tells, any open one will do.
        for any in if names.is_empty() { [true, false] } else { [false, true] } {
            add(
                with(&|input| match input.shape.first() {
                    Some(None) => Some(BatchAxis::At(0)),
                    _ => elsewhere(input, any),
                }),
                None,
                true,
            );
        }
    } else if let [Some(first), rest @ ..] = firsts.as_slice()
        && rest.iter().all(|other| *other == Some(*first))
    {
        add(with(&|_| Some(BatchAxis::At(0))), Some(*first), false);
    }
    add(with(&|_| Some(BatchAxis::None)), Some(1), false);
    ideas
}

/// What came of an idea.
enum Found {
    /// Where samples lie in the outputs, and the outputs of each run.
    Rows(Vec<BatchAxis>, Vec<Vec<Tensor>>),
    /// Answers depend on what else is in the batch.
    Dependent(String),
}

/// Runs one sample and two, and sees what changes.
fn batches(
    signature: &Signature,
    idea: &Idea,
    samples: &[Vec<usize>],
    values: &[ValueSource],
    run: &mut Run<'_>,
) -> Result<Found> {
    let plans: Vec<InputPlan> = signature
        .inputs
        .iter()
        .zip(&idea.inputs)
        .zip(samples.iter().zip(values))
        .map(|((input, axis), (sample, values))| InputPlan {
            name: input.name.clone(),
            element_type: input.element_type,
            sample: sample.clone(),
            shared: axis.is_none(),
            values: match values {
                // Its samples have sizes of their own.
                ValueSource::File(_) => ValueSource::Uniform([0.0, 1.0]),
                other => other.clone(),
            },
            padding: None,
        })
        .collect();
    let mut axes = BatchAxes::default();
    for (input, axis) in signature.inputs.iter().zip(&idea.inputs) {
        axes.inputs.extend(axis.filter(|axis| *axis != BatchAxis::At(0)).map(|axis| (input.name.clone(), axis)));
    }
    if idea.open {
        let feeds = feeds::make(&plans, 1, 2)?;
        let alone = [run(&feeds.samples([0].into_iter())?, &axes)?, run(&feeds.samples([1].into_iter())?, &axes)?];
        sound(&alone[0])?;
        let both = run(&feeds, &axes)?;
        return Ok(compared(alone, &both));
    }
    let batch = idea.fixed.unwrap_or(1);
    let outputs = run(&feeds::make(&plans, 1, batch)?, &axes)?;
    sound(&outputs)?;
    let without = axes.one_by_one();
    let axis = |output: &Tensor| match output.shape.first() {
        Some(first) if *first == batch && !without => BatchAxis::At(0),
        _ => BatchAxis::None,
    };
    let rows: Vec<BatchAxis> = outputs.iter().map(axis).collect();
    if batch != 1 && rows.contains(&BatchAxis::None) {
        return Ok(Found::Dependent(format!("not every output has {batch} rows, which the inputs have")));
    }
    Ok(Found::Rows(rows, vec![outputs]))
}

/// Whether anything came out at all.
fn sound(outputs: &[Tensor]) -> Result<()> {
    if outputs.is_empty() || outputs.iter().all(|output| output.values.is_empty()) {
        return Err(Error::failed("the model's outputs are empty"));
    }
    if outputs.iter().all(|output| output.values.to_f64().iter().all(|value| !value.is_finite())) {
        return Err(Error::failed("the model's outputs are no numbers"));
    }
    Ok(())
}

/// The axis of each output that grows with the batch, where each sample is answered as it is alone.
fn compared(alone: [Vec<Tensor>; 2], both: &[Tensor]) -> Found {
    let mut rows = Vec::new();
    for (index, together) in both.iter().enumerate() {
        let (Some(first), Some(second)) = (alone[0].get(index), alone[1].get(index)) else {
            rows.push(BatchAxis::None);
            continue;
        };
        let grown: Vec<usize> = together
            .shape
            .iter()
            .zip(&first.shape)
            .enumerate()
            .filter(|(_, (both, one))| both != one)
            .map(|(axis, _)| axis)
            .collect();
        let doubled = |axis: usize| together.shape.get(axis) == Some(&2) && first.shape.get(axis) == Some(&1);
        let axis = match grown.as_slice() {
            [axis] if doubled(*axis) && together.shape.len() == first.shape.len() => *axis,
            _ => {
                rows.push(BatchAxis::None);
                continue;
            }
        };
        rows.push(BatchAxis::At(axis));
        let axes = BatchAxes {
            outputs: std::iter::once((together.name.clone(), BatchAxis::At(axis))).collect(),
            ..BatchAxes::default()
        };
        let brought = |tensor: &Tensor| axes.bring_first(vec![tensor.clone()]).ok().and_then(|mut all| all.pop());
        let (Some(together), Some(first), Some(second)) = (brought(together), brought(first), brought(second)) else {
            continue;
        };
        let mut apart = first.values.to_f64();
        apart.extend(second.values.to_f64());
        let got = together.values.to_f64();
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
        let signal = square(&mut apart.iter().copied().filter(|value| value.is_finite()));
        let error = square(&mut apart.iter().zip(&got).map(|(x, y)| x - y).filter(|error| error.is_finite()));
        if apart.len() != got.len() || error.sqrt() > ALIKE * signal.sqrt() {
            return Found::Dependent(format!(
                "`{}` answers a sample otherwise when another is beside it: that dimension is no batch",
                together.name
            ));
        }
    }
    Found::Rows(rows, alone.into())
}

#[cfg(test)]
mod tests;
