//! What a model that has no manifest yet says of itself: its signature, and what its output's values are.

use std::sync::Arc;

use crate::convert::pin::{self, Reading};
use crate::convert::store::Store;
use crate::convert::tflite;
use crate::error::{Error, Result};
use crate::files;
use crate::gate::discover::discover;
use crate::manifest::{ModelSource, OutputKind};
use crate::onnx::{self, Ending, Model};
use crate::progress::Progress;
use crate::runtime::{Installation, OpenRequest, SessionOptions, tensorflow};
use crate::tensor::{ElementType, Signature, TensorSpec, shape_text};
use crate::vocabulary::{Library, Precision};
use crate::worker::{Limits, Worker, WorkerProgram};

/// Made-up samples whose answers tell probabilities from other values.
const SAMPLES: usize = 8;

/// What a model says of itself.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The one input.
    pub input: TensorSpec,
    /// The outputs.
    pub outputs: Vec<TensorSpec>,
    /// Digest of the file or folder, as `[model] sha256` holds it.
    pub sha256: String,
    source: ModelSource,
    model: Arc<Model>,
}

/// A model as it was read into the store, whatever its inputs and outputs are.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Its copy.
    pub source: ModelSource,
    /// The graph of an ONNX file; an empty one of any other.
    pub model: Arc<Model>,
    /// Inputs and outputs, as the files declare them.
    pub signature: Signature,
    /// Digest of the file or folder, as `[model] sha256` holds it.
    pub sha256: String,
}

/// What is needed to run a model while it is looked at.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The program that runs workers.
    pub program: &'a WorkerProgram,
    /// Where runtimes are installed.
    pub store: &'a Store,
    /// Where progress goes.
    pub progress: &'a dyn Progress,
}

/// What an output's values are, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundKind {
    /// Logits or probabilities.
    pub kind: OutputKind,
    /// Whether the graph or a run shows it; otherwise it is a guess.
    pub certain: bool,
    /// In words, behind "the output".
    pub why: String,
}

impl Inspected {
    /// What of a model `[input]` and `[output]` can describe.
    ///
    /// # Errors
    /// `Unsupported`, if it is not one of one float32 input.
    pub fn of(looked: Looked) -> Result<Self> {
        let Looked { source, model, signature: Signature { inputs, outputs }, sha256 } = looked;
        let names: Vec<String> = inputs.iter().map(|input| format!("`{}`", input.name)).collect();
        let Ok([input]) = <[TensorSpec; 1]>::try_from(inputs) else {
            return Err(Error::unsupported(format!("the model has {} inputs: {}", names.len(), names.join(", ")))
                .hint("`[[input]]` and `[[output]]` gate models of several inputs (docs/manifest.md)"));
        };
        match input.element_type {
            ElementType::Float32 => Ok(Self { input, outputs, sha256, source, model }),
            ElementType::String => Err(Error::unsupported(format!("input `{}` takes texts", input.name))
                .hint("no engine that is gated takes texts; gate the part of the model behind the look-up, which takes numbers")),
            ElementType::Float16 | ElementType::Bfloat16 | ElementType::Float64 => {
                Err(Error::unsupported(format!("input `{}` is {}, and `[input]` feeds float32", input.name, input.element_type))
                    .hint("`[[input]]` feeds any element type (docs/manifest.md)"))
            }
            other => Err(Error::unsupported(format!("input `{}` is {other}, and `[input]` feeds float32", input.name))
                .hint("`[[input]]` feeds whole numbers (docs/manifest.md)")),
        }
    }

    /// The output called `name`, or the one that can be gated; the second part tells what was chosen among several.
    ///
    /// # Errors
    /// Names the outputs where the choice is open or wrong.
    pub fn choose_output(&self, name: Option<&str>) -> Result<(&TensorSpec, Option<String>)> {
        let listed = |outputs: &[&TensorSpec]| {
            let shown = outputs.iter().map(|output| format!("`{}` {}", output.name, shape_text(&output.shape)));
            shown.collect::<Vec<_>>().join(", ")
        };
        let all: Vec<&TensorSpec> = self.outputs.iter().collect();
        if let Some(name) = name {
            let found = all.iter().find(|output| output.name == name).ok_or_else(|| {
                Error::usage(format!("the model has no output `{name}`")).hint(format!("it has {}", listed(&all)))
            })?;
            return Ok((found, None));
        }
        if let [only] = self.outputs.as_slice() {
            return Ok((only, None));
        }
        let fit: Vec<&TensorSpec> = all.iter().copied().filter(|output| self.classes(output).is_ok()).collect();
        let told = |chosen: &TensorSpec, why: &str| {
            let others: Vec<&TensorSpec> = all.iter().copied().filter(|output| output.name != chosen.name).collect();
            Some(format!("gates `{}`{why}, not {}: `--output NAME` chooses another", chosen.name, listed(&others)))
        };
        match fit.as_slice() {
            [only] => Ok((only, told(only, ""))),
            [] => Err(Error::unsupported(format!(
                "none of the model's outputs is a classifier's, [N, classes]: {}",
                listed(&all)
            ))
            .hint("`[[output]]` gates boxes, maps and outputs of one value (docs/manifest.md)")),
            several => match self.behind_the_others(several) {
                Some(chosen) => Ok((chosen, told(chosen, ", which the others are made from"))),
                None => Err(Error::usage(format!("the model has {} outputs that can be gated", several.len()))
                    .hint(format!("choose one with `--output`: {}", listed(several)))),
            },
        }
    }

    /// The output that all others are the softmax of, where the graph shows one.
    fn behind_the_others<'a>(&self, outputs: &[&'a TensorSpec]) -> Option<&'a TensorSpec> {
        let model = &self.model;
        let mut logits = outputs.iter().copied().filter(|output| {
            let source = onnx::source_of(model, &output.name);
            outputs
                .iter()
                .filter(|other| other.name != output.name)
                .all(|other| matches!(onnx::ending(model, &other.name), Some(Ending::Softmax(of)) if of == source))
        });
        logits.next()
    }

    /// Classes of `output`: its last dimension.
    ///
    /// # Errors
    /// If the output is not `[batch, classes]`.
    pub fn classes(&self, output: &TensorSpec) -> Result<usize> {
        let wrong = |what: String| Err(Error::unsupported(format!("output `{}` {what}", output.name)));
        if !matches!(output.element_type, ElementType::Float32 | ElementType::Float16 | ElementType::Float64) {
            return wrong(format!("is {}, and a classifier's scores are floats", output.element_type));
        }
        match output.shape.as_slice() {
            [_, Some(classes)] if *classes >= 2 => Ok(*classes),
            [_] | [_, Some(1)] => wrong("is one value a sample".to_owned()).map_err(|error: Error| {
                error.hint("`[[output]]` gates it (`task = \"scores\"`, docs/manifest.md), or give it a column a class: 1 - p and p")
            }),
            [_, None] => wrong("has an open number of classes".to_owned())
                .map_err(|error: Error| error.hint("export the model with the number of classes fixed")),
            shape => wrong(format!("has shape {}, and a classifier's is [N, classes]", shape_text(shape)))
                .map_err(|error: Error| error.hint("`[[output]]` gates boxes and maps (docs/manifest.md)")),
        }
    }

    /// Whether the graph itself scales bytes of pictures to small values, so that the model takes 0 to 255.
    pub fn scales_bytes(&self) -> bool {
        match &self.source {
            ModelSource::Onnx { .. } => onnx::scales_bytes(&self.model, &self.input.name),
            ModelSource::SavedModel { path, signature } => tensorflow::scales_bytes(path, signature),
            ModelSource::Tflite { .. } => false,
        }
    }

    /// What the values of `output` are: told by the graph, or else by what comes out for made-up samples of shape `sample`.
    pub fn kind(&self, output: &TensorSpec, sample: &[usize], means: &Means<'_>) -> FoundKind {
        let found = |kind, certain, why: &str| FoundKind { kind, certain, why: why.to_owned() };
        let ending = onnx::ending(&self.model, &output.name);
        match ending {
            Some(Ending::Softmax(_)) => return found(OutputKind::Probabilities, true, "is a softmax"),
            Some(Ending::Open(operator)) => {
                return FoundKind { why: format!("ends in `{operator}`"), ..found(OutputKind::Logits, true, "") };
            }
            _ => {}
        }
        let tail = match ending {
            Some(Ending::Other(operator)) => format!("ends in `{operator}`, and "),
            _ => String::new(),
        };
        match self.sums_to_one(output, sample, means) {
            Ok(true) => {
                found(OutputKind::Probabilities, true, &format!("{tail}sums to 1 in every answer to made-up samples"))
            }
            Ok(false) => found(OutputKind::Logits, true, &format!("{tail}does not sum to 1 for made-up samples")),
            Err(error) => found(OutputKind::Logits, false, &format!("{tail}could not be run to see: {error}")),
        }
    }

    /// Whether every answer to made-up samples is a set of probabilities.
    fn sums_to_one(&self, output: &TensorSpec, sample: &[usize], means: &Means<'_>) -> Result<bool> {
        let options = SessionOptions { outputs: vec![output.name.clone()], ..SessionOptions::default() };
        self.all_sum_to_one(&request(&self.source, SAMPLES, options, means)?, sample, means.program)
    }

    /// The same of what a worker of `program` answers that opens `request`.
    fn all_sum_to_one(&self, request: &OpenRequest, sample: &[usize], program: &WorkerProgram) -> Result<bool> {
        let mut worker = Worker::start(program, Limits::default())?;
        let (opened, _) = worker.open(request)?;
        let batch = opened.inputs.first().and_then(|input| input.shape.first().copied().flatten()).unwrap_or(SAMPLES);
        let shape = std::iter::once(Some(batch)).chain(sample.iter().copied().map(Some)).collect();
        let samples = TensorSpec { shape, ..self.input.clone() }.made_up(batch)?;
        let mut outputs = worker.run(&samples, batch, false)?.outputs.into_iter();
        let answers = outputs.next().ok_or_else(|| Error::failed("nothing came out"))?.into_float32();
        let mut rows = (0..answers.batch()).filter_map(|index| answers.row(index));
        Ok(rows.all(are_probabilities))
    }
}

/// Whether a sample's outputs are each class's probability, up to rounding.
fn are_probabilities(row: &[f32]) -> bool {
    let sum: f32 = row.iter().sum();
    row.iter().all(|value| (-1e-6..=1.0 + 1e-3).contains(value)) && (sum - 1.0).abs() < 1e-3
}

/// How the model in `source` is opened in the library that is its reference.
///
/// # Errors
/// `Missing` where that library is not here; TensorFlow and LiteRT are installed first, which `gate` would do anyway.
pub(super) fn request(
    source: &ModelSource,
    batch: usize,
    options: SessionOptions,
    means: &Means<'_>,
) -> Result<OpenRequest> {
    let library = source.reference();
    let install = library != Library::Onnxruntime;
    let discovery = discover(None, means.store, &[], install, means.program, Limits::default(), means.progress)?;
    let probe = discovery.probes.iter().find(|(found, _)| *found == library).map(|(_, probe)| probe);
    let installation = probe.and_then(|probe| probe.found.first()).cloned();
    let installation = installation.ok_or_else(|| Error::missing(format!("`{library}` is not on this machine yet")))?;
    Ok(opening(installation, source, batch, options))
}

/// How the model in `source` is opened in `installation`.
fn opening(installation: Installation, source: &ModelSource, batch: usize, options: SessionOptions) -> OpenRequest {
    OpenRequest {
        installation,
        artifact: source.path().to_owned(),
        kind: source.kind(),
        precision: Precision::Fp32,
        batch,
        options: SessionOptions { signature: source.signature().to_owned(), ..options },
    }
}

/// Reads a model into `store`, and its inputs and outputs from its files, without any library.
///
/// # Errors
/// If it is no complete model of its kind, or a SavedModel without such a signature.
pub fn look(named: &ModelSource, store: &Store) -> Result<Looked> {
    if matches!(named, ModelSource::SavedModel { .. }) {
        tensorflow::check_folder(named.path())?;
    }
    let reading = Reading::of(named)?;
    let source = reading.keep(store)?;
    let by_name = |error| pin::named_as(named, &source, error);
    let (model, signature) = match &source {
        ModelSource::Onnx { path } => {
            let model = onnx::read(path).map_err(by_name)?;
            let signature = onnx::signature(&model);
            (Arc::new(model), signature)
        }
        ModelSource::SavedModel { path, signature } => {
            let declared = tensorflow::declared_signature(path, signature).map_err(by_name)?;
            let declared = declared.ok_or_else(|| {
                let named = named.path().display();
                Error::unsupported(format!("`{named}` holds no `saved_model.pb`, but another form of it"))
                    .hint("save the model again with TensorFlow 2")
            })?;
            (Arc::default(), declared)
        }
        ModelSource::Tflite { path } => {
            let bytes = files::read(path, files::GRAPH).map_err(|error| Error::io("read", path, error))?;
            let border = tflite::border::border(&bytes);
            let named = named.path().display();
            let border = border.map_err(|error| error.context(format!("the TFLite file `{named}`")))?;
            (Arc::default(), border.signature)
        }
    };
    Ok(Looked { source, model, signature, sha256: reading.sha256().to_owned() })
}

#[cfg(test)]
mod tests;
