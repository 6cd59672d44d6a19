//! Samples that a team brings for a model of several inputs, and the answers that are expected of them.
//!
//! | what                      | samples                                           | expected answers                 |
//! |---------------------------|---------------------------------------------------|----------------------------------|
//! | npz, folder of npy        | an array an input, its first dimension the samples | the same of outputs              |
//! | ONNX `test_data_set_N`    | a run of the model, in the model's own layout     | `output_K.pb`                    |
//! | Polygraphy's JSON         | a run of the model, in the model's own layout     | outputs of a file of their own   |

use std::path::Path;

use crate::data::arrays::Arrays;
use crate::data::feeds::{InputPlan, fitted};
use crate::data::polygraphy;
use crate::error::{Error, Result};
use crate::onnx::test_sets;
use crate::tensor::{BatchAxis, Feeds, Tensor};

/// What a model takes and answers: how its own tensors are taken apart into samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Border {
    /// Its inputs, in its order.
    pub inputs: Vec<BorderInput>,
    /// All its outputs, in its order.
    pub outputs: Vec<BorderOutput>,
}

/// An input and where its samples lie.
#[derive(Clone, Debug, PartialEq)]
pub struct BorderInput {
    /// What it is fed.
    pub plan: InputPlan,
    /// Where its samples lie in the model's tensor.
    pub axis: BatchAxis,
}

/// An output and where its samples lie.
#[derive(Clone, Debug, PartialEq)]
pub struct BorderOutput {
    /// Its name.
    pub name: String,
    /// Where its samples lie in the model's tensor.
    pub axis: BatchAxis,
    /// Whether it is looked at.
    pub read: bool,
}

/// Samples that were read.
#[derive(Clone, Debug, PartialEq)]
pub struct Brought {
    /// All of them, every input with its samples first.
    pub feeds: Feeds,
    /// Of each output that is looked at, in the model's order, what is expected for each sample; empty where nothing is said.
    pub expected: Vec<Vec<Tensor>>,
    /// What a reader should know, one sentence each.
    pub notes: Vec<String>,
}

/// Reads the samples in `path`, and what is expected of them: there, or in `expected`.
///
/// # Errors
/// `Input`, with file and place, where something is missing, damaged, of another type or shape, or no number; where samples and
/// expected answers differ in number.
pub fn read(path: &Path, expected: Option<&Path>, border: &Border) -> Result<Brought> {
    let mut brought = match form(path)? {
        Form::Sets => of_sets(path, border)?,
        Form::Polygraphy => {
            let runs = polygraphy::inputs(path)?;
            let mut samples = Stack::default();
            for (index, run) in runs.into_iter().enumerate() {
                samples.add(run, border).map_err(|error| error.at(format!("`{}`, run {index}", path.display())))?;
            }
            samples.finish(path, border, Vec::new())?
        }
        Form::Arrays => of_arrays(&arrays(path, border)?, path, border)?,
    };
    let Some(expected) = expected else { return Ok(brought) };
    if !brought.expected.is_empty() {
        return Err(Error::input(format!(
            "`{}` holds expected answers, and `{}` too",
            path.display(),
            expected.display()
        ))
        .hint("leave `expected` out, or take the answers out of `data`"));
    }
    let rows = brought.feeds.batch();
    brought.expected = match form(expected)? {
        Form::Arrays => answers_of(&arrays(expected, border)?, border, rows)?,
        Form::Polygraphy => {
            let runner = polygraphy::results(expected)?;
            let mut answers = vec![Vec::new(); border.outputs.iter().filter(|output| output.read).count()];
            for (index, run) in runner.runs.into_iter().enumerate() {
                let place = format!("`{}`, run {index}", expected.display());
                let parts = answered(run, border, None).map_err(|error| error.at(&place))?;
                answers.iter_mut().zip(parts).for_each(|(all, parts)| all.extend(parts));
            }
            answers
        }
        Form::Sets => {
            return Err(Error::input(format!(
                "`{}` is a folder of test data sets, which hold their inputs too",
                expected.display()
            ))
            .hint("name it by `data`"));
        }
    };
    match brought.expected.iter().find(|parts| parts.len() != rows) {
        Some(parts) => Err(Error::input(format!(
            "`{}` holds answers to {} samples, `{}` {rows} samples",
            expected.display(),
            parts.len(),
            path.display()
        ))),
        None => Ok(brought),
    }
}

/// The labels of each of `outputs` in `path`, an array `NAME.labels`; `None` where there is none.
///
/// # Errors
/// `Input` where the file holds no arrays by name, or one is damaged.
pub fn labels(path: &Path, border: &Border, outputs: &[&str]) -> Result<Vec<Option<Tensor>>> {
    let arrays = match form(path)? {
        Form::Arrays => arrays(path, border)?,
        Form::Sets | Form::Polygraphy => {
            return Err(Error::input(format!("`{}` holds no labels", path.display())).hint(
                "an npz archive or a folder of npy files: an array an input, and one called `OUTPUT.labels` an output",
            ));
        }
    };
    outputs.iter().map(|name| arrays.get(&format!("{name}.labels"))).collect()
}

/// How a path is read.
enum Form {
    Arrays,
    Sets,
    Polygraphy,
}

fn form(path: &Path) -> Result<Form> {
    let is = |file: &Path, ending: &str| file.extension().is_some_and(|own| own == ending);
    if path.is_dir() {
        if !test_sets::sets(path)?.is_empty() {
            return Ok(Form::Sets);
        }
        if !polygraphy::files_of(path)?.is_empty() {
            return Ok(Form::Polygraphy);
        }
        if !Arrays::Folder(path.to_owned()).names()?.is_empty() {
            return Ok(Form::Arrays);
        }
    } else if is(path, "npz") || is(path, "npy") {
        return Ok(Form::Arrays);
    } else if is(path, "json") {
        return Ok(Form::Polygraphy);
    }
    let problem = if path.exists() { "holds no samples for a model with `[[input]]`" } else { "is not there" };
    Err(Error::input(format!("`{}` {problem}", path.display())).hint(
        "an npz archive with an array an input, a folder of an npy file an input, ONNX's `test_data_set_0` …, or Polygraphy's JSON",
    ))
}

fn arrays(path: &Path, border: &Border) -> Result<Arrays> {
    if path.is_dir() {
        return Ok(Arrays::Folder(path.to_owned()));
    }
    if path.extension().is_some_and(|ending| ending == "npz") {
        return Arrays::archive(path);
    }
    // One array is that of the one input.
    match border.inputs.as_slice() {
        [input] => Ok(Arrays::One(path.to_owned(), input.plan.name.clone())),
        _ => Err(Error::input(format!(
            "`{}` holds one array, and the model has {} inputs",
            path.display(),
            border.inputs.len()
        ))
        .hint("name a folder with an npy file an input, called as the input is, or an npz archive")),
    }
}

fn of_arrays(arrays: &Arrays, path: &Path, border: &Border) -> Result<Brought> {
    let (mut samples, mut shared) = (Vec::new(), Vec::new());
    for BorderInput { plan, .. } in &border.inputs {
        let found = arrays.get(&plan.name)?.ok_or_else(|| {
            let names = arrays.names().unwrap_or_default().join(", ");
            let error = Error::input(format!("there is no such array, only {names}"));
            arrays.at(&plan.name, error)
        })?;
        let tensor = fitted(found, plan).map_err(|error| arrays.at(&plan.name, error))?;
        if plan.shared { shared.push(tensor) } else { samples.push(tensor) }
    }
    let feeds = Feeds::new(samples, shared).map_err(|error| error.at(format!("`{}`", path.display())))?;
    let names = arrays.names()?;
    let said = |name: &str| names.contains(&arrays.written(name));
    let any = border.outputs.iter().any(|output| output.read && said(&output.name));
    let expected = if any { answers_of(arrays, border, feeds.batch())? } else { Vec::new() };
    let known: Vec<String> = border
        .inputs
        .iter()
        .map(|input| &input.plan.name)
        .chain(border.outputs.iter().map(|output| &output.name))
        .map(|name| arrays.written(name))
        .collect();
    let unknown: Vec<String> =
        names.iter().filter(|name| !known.contains(name)).map(|name| format!("`{name}`")).collect();
    let mut notes = Vec::new();
    if !unknown.is_empty() {
        notes.push(format!("not looked at in `{}`: {}", path.display(), unknown.join(", ")));
    }
    Ok(Brought { feeds, expected, notes })
}

/// The expected answers of `rows` samples, an array an output, samples first.
fn answers_of(arrays: &Arrays, border: &Border, rows: usize) -> Result<Vec<Vec<Tensor>>> {
    let one = |output: &BorderOutput| {
        let name = &output.name;
        let missing = || arrays.at(name, Error::input("there are expected answers, and none of this output"));
        let tensor = arrays.get(name)?.ok_or_else(missing)?;
        if tensor.shape.first() != Some(&rows) {
            let words = format!("has shape {:?}, and there are {rows} samples", tensor.shape);
            return Err(arrays.at(name, Error::input(words)));
        }
        tensor.to_samples()
    };
    border.outputs.iter().filter(|output| output.read).map(one).collect()
}

fn of_sets(folder: &Path, border: &Border) -> Result<Brought> {
    let inputs: Vec<&str> = border.inputs.iter().map(|input| input.plan.name.as_str()).collect();
    let outputs: Vec<&str> = border.outputs.iter().map(|output| output.name.as_str()).collect();
    let mut samples = Stack::default();
    let mut answers = Vec::new();
    let mut without = 0;
    let sets = test_sets::sets(folder)?;
    for set in &sets {
        let here = |error: Error| error.at(format!("`{}`", set.display()));
        let mut run = Vec::new();
        for (index, tensor) in test_sets::tensors(set, "input", &inputs)?.into_iter().enumerate() {
            run.push(tensor.ok_or_else(|| here(Error::input(format!("there is no `input_{index}.pb`"))))?);
        }
        let batch = samples.add(run, border).map_err(here)?;
        let found: Vec<Tensor> = test_sets::tensors(set, "output", &outputs)?.into_iter().flatten().collect();
        if found.is_empty() {
            without += 1;
            continue;
        }
        let parts = answered(found, border, Some(batch)).map_err(here)?;
        if answers.is_empty() {
            answers = vec![Vec::new(); parts.len()];
        }
        answers.iter_mut().zip(parts).for_each(|(all, parts): (&mut Vec<Tensor>, _)| all.extend(parts));
    }
    if without > 0 && without < sets.len() {
        return Err(Error::input(format!(
            "{without} of {} data sets of `{}` have no `output_K.pb`",
            sets.len(),
            folder.display()
        ))
        .hint("give all of them their expected outputs, or none"));
    }
    samples.finish(folder, border, answers)
}

/// The samples of runs, each in the model's own layout, behind each other.
#[derive(Default)]
struct Stack {
    samples: Vec<Tensor>,
    shared: Vec<Tensor>,
}

impl Stack {
    /// Adds those of one run; how many they are.
    fn add(&mut self, run: Vec<Tensor>, border: &Border) -> Result<usize> {
        if let Some(unknown) = run.iter().find(|fed| border.inputs.iter().all(|input| input.plan.name != fed.name)) {
            let names: Vec<String> = border.inputs.iter().map(|input| format!("`{}`", input.plan.name)).collect();
            return Err(Error::input(format!("feeds `{}`, and the model has {}", unknown.name, names.join(", "))));
        }
        let (mut samples, mut shared) = (Vec::new(), Vec::new());
        for BorderInput { plan, axis } in &border.inputs {
            let name = &plan.name;
            let here = |error: Error| error.at(format!("`{name}`"));
            let fed = run.iter().find(|fed| fed.name == *name).cloned();
            let fed = fed.ok_or_else(|| here(Error::input("is not fed")))?;
            if plan.shared {
                shared.push(fitted(fed, plan).map_err(here)?);
            } else {
                let fed = fed.samples_first(*axis).map_err(here)?;
                samples.push(fitted(fed, plan).map_err(here)?);
            }
        }
        let batch = Feeds::new(samples.clone(), shared.clone())?.batch();
        if self.samples.is_empty() && self.shared.is_empty() {
            (self.samples, self.shared) = (samples, shared);
            return Ok(batch);
        }
        if let Some((other, _)) = shared.iter().zip(&self.shared).find(|(here, before)| here != before) {
            return Err(Error::input(format!(
                "`{}` is the same for every sample, and other than in the run before",
                other.name
            )));
        }
        for (all, more) in self.samples.iter_mut().zip(&samples) {
            all.append(more)?;
        }
        Ok(batch)
    }

    fn finish(self, path: &Path, border: &Border, expected: Vec<Vec<Tensor>>) -> Result<Brought> {
        if self.samples.is_empty() {
            let problem = if border.inputs.is_empty() { "the model takes nothing" } else { "holds no samples" };
            return Err(Error::input(format!("`{}`: {problem}", path.display())));
        }
        Ok(Brought { feeds: Feeds::new(self.samples, self.shared)?, expected, notes: Vec::new() })
    }
}

/// Of each output that is looked at, the answers of one run, by sample; `batch` is how many were fed, where that is known.
fn answered(run: Vec<Tensor>, border: &Border, batch: Option<usize>) -> Result<Vec<Vec<Tensor>>> {
    let mut batch = batch;
    let mut one = |output: &BorderOutput| {
        let here = |error: Error| error.at(format!("`{}`", output.name));
        let found = run.iter().find(|answer| answer.name == output.name);
        let found = found.ok_or_else(|| here(Error::input("there are expected answers, and none of this output")))?;
        let parts = found.clone().samples_first(output.axis).map_err(here)?.to_samples().map_err(here)?;
        let wanted = *batch.get_or_insert(parts.len());
        if parts.len() != wanted {
            return Err(here(Error::input(format!("has answers to {} samples, and there are {wanted}", parts.len()))));
        }
        Ok(parts)
    };
    border.outputs.iter().filter(|output| output.read).map(&mut one).collect()
}

/// `count` of `total` samples at most, evenly spread; where they are fewer than `least`, they are taken again from the first on.
pub fn spread(total: usize, count: usize, least: usize) -> Vec<usize> {
    let taken: Vec<usize> = match total > count {
        true => (0..count).map(|index| index * total / count.max(1)).collect(),
        false => (0..total).collect(),
    };
    let length = if taken.is_empty() { 0 } else { taken.len().max(least) };
    taken.iter().copied().cycle().take(length).collect()
}

#[cfg(test)]
mod tests;
