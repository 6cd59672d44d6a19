//! The first manifest of a model that is no classifier of one input: `[[input]]` and `[[output]]`.

use std::fmt::Write as _;
use std::path::Path;

use super::proposals::{Proposal, propose};
use super::seen::Seen;
use super::template::{SCHEMA_LINE, quoted};
use super::{joint, tasks};
use crate::error::{Error, Result};
use crate::gate::inspect::{Looked, Means};
use crate::gate::scout::{Scouted, readable, scout};
use crate::manifest::interface::{LengthOf, ValueSource};
use crate::manifest::{Manifest, ModelSource};
use crate::onnx::Graph;
use crate::tensor::{BatchAxis, ElementType, Signature, Tensor, TensorSpec, shape_text};
use crate::vocabulary::Task;

/// A size that the model leaves open, where nothing says another.
const OPEN: usize = 16;
/// Whole numbers below this are fed where nothing in the graph says how far an index may go.
const INTEGERS: i64 = 9;

/// INT8, as a comment: what it is worth depends on what `init` can only guess.
const INT8: &str = "# INT8, in place of the line above: it is calibrated on samples of the values that inputs have, so correct these first (inputs\n\
                    # `from` a file have none to calibrate on).\n\
                    # onnxruntime = [\"fp32\", \"fp16\", \"int8\"]\n";

/// Samples that are gated: 64, and fewer where these have more elements in all.
const MOST: usize = 64;
const FEWEST: usize = 16;
const ELEMENTS: usize = 16_000_000;

/// What was written, and what is said of it.
pub(super) struct Written {
    /// The manifest's text.
    pub(super) text: String,
    /// What was found out or guessed, one sentence each.
    pub(super) told: Vec<String>,
}

/// Whether `[input]` and `[output]` cannot describe the model: several inputs, one that is not fed floats, or no output that is a
/// classifier's.
pub(super) fn needed(signature: &Signature) -> bool {
    let scores = |output: &TensorSpec| {
        output.element_type.is_float() && matches!(output.shape.as_slice(), [_, Some(classes)] if *classes >= 2)
    };
    match signature.inputs.as_slice() {
        // Texts are refused in words of their own.
        [input] if input.element_type == ElementType::String => false,
        [input] => {
            let fed = input.element_type == ElementType::Float32 && input.shape.len() >= 2;
            !fed || !signature.outputs.iter().any(scores)
        }
        _ => true,
    }
}

/// A model that is looked at, and how.
pub(super) struct Subject<'a> {
    /// Its name in reports.
    pub(super) name: &'a str,
    /// Its file or folder, as the manifest names it.
    pub(super) place: &'a str,
    /// What was read of it.
    pub(super) looked: &'a Looked,
}

impl Subject<'_> {
    /// Lines of `[model]` that say where it is, and of the runtimes that it is gated in.
    fn source(&self) -> (String, &'static str) {
        let place = quoted(self.place);
        match &self.looked.source {
            ModelSource::Onnx { .. } => (format!("onnx = {place}"), "onnxruntime = [\"fp32\", \"fp16\"]\n"),
            ModelSource::SavedModel { signature, .. } => (
                format!("saved-model = {place}\nsignature = {}", quoted(signature)),
                "tensorflow = [\"fp32\"]\nonnxruntime = [\"fp32\", \"fp16\"]\n",
            ),
            ModelSource::Tflite { .. } => {
                (format!("tflite = {place}"), "litert = [\"fp32\"]\nonnxruntime = [\"fp32\", \"fp16\"]\n")
            }
        }
    }
}

/// The manifest of a model: of what its file says, of what running it shows, and of guesses, which are said to be some.
///
/// # Errors
/// `Unsupported`, where an input cannot be fed or no output can be compared, in those words.
pub(super) fn text(subject: &Subject<'_>, means: &Means<'_>) -> Result<Written> {
    let Subject { name, place, looked } = *subject;
    let Looked { source, model, signature, sha256 } = looked;
    let mut told = Vec::new();
    if let Some(input) = signature.inputs.iter().find(|input| input.element_type.bytes().is_none()) {
        return Err(Error::unsupported(format!(
            "input `{}` takes {}, which cannot be fed",
            input.name, input.element_type
        ))
        .hint(
            "no engine that is gated takes texts; gate the part of the model behind the look-up, which takes numbers",
        ));
    }
    let mut found: Vec<(ValueSource, &'static str)> =
        signature.inputs.iter().map(|input| values_of(input, model.graph.as_ref())).collect();
    let sources: Vec<ValueSource> = found.iter().map(|(values, _)| values.clone()).collect();
    let (scouted, ran) = match scout(looked, &sources, &[], means) {
        Ok(scouted) => (scouted, true),
        Err(error) => {
            // The file is told by its own name, not by that of the store's copy.
            let words = format!("the model could not be run to see: {error}");
            let words = words.replace(&source.path().display().to_string(), place);
            told.push(words);
            (guessed(signature)?, false)
        }
    };
    told.extend(scouted.told.iter().cloned());
    joint::fit(signature, &scouted, &mut found);
    let how = if ran { "FOUND by running: others may do as well" } else { "GUESSED: the model leaves sizes open" };
    let (mut inputs, mut outer, mut shapes) = (String::new(), String::new(), Vec::<(String, usize)>::new());
    for (index, input) in signature.inputs.iter().enumerate() {
        let axis = scouted.inputs.get(index).copied().flatten();
        let sample = scouted.samples.get(index).map_or(&[][..], Vec::as_slice);
        let _ = writeln!(inputs, "\n[[input]]            # {} {}", input.element_type, shape_text(&input.shape));
        let _ = writeln!(inputs, "name = {}", quoted(&input.name));
        let open = |(place, size): (usize, &Option<usize>)| size.is_none() && axis != Some(BatchAxis::At(place));
        if input.shape.iter().enumerate().any(open) {
            let names = scouted.names.get(index).map_or(&[][..], Vec::as_slice);
            let shape: Vec<String> = sample
                .iter()
                .zip(names)
                .map(|(size, name)| name.as_ref().map_or_else(|| size.to_string(), |name| quoted(name)))
                .collect();
            let _ = writeln!(inputs, "shape = [{}]", shape.join(", "));
            for (size, name) in sample.iter().zip(names) {
                if let Some(name) = name.as_ref().filter(|name| shapes.iter().all(|(known, _)| known != *name)) {
                    shapes.push((name.clone(), *size));
                }
            }
        }
        match axis {
            None => {
                let _ = writeln!(inputs, "shared = true        # GUESSED: the same for every sample");
                told.push(format!("guessed: `{}` is the same for every sample", input.name));
            }
            Some(BatchAxis::At(0)) => {}
            Some(other) => {
                let _ = writeln!(inputs, "batch-axis = {}", axis_text(other));
                told.push(format!("`batch-axis = {}` of `{}`", axis_text(other), input.name));
            }
        }
        if let Some((values, why)) = found.get(index) {
            let values = values_text(values);
            let _ = writeln!(inputs, "values = {values}    # {why}");
            told.push(format!("{why}: `values = {values}` of `{}`", input.name));
        }
    }
    if !shapes.is_empty() {
        let _ = writeln!(outer, "\n# {how}. A list of sizes gates each of them.\n[shapes]");
    }
    for (name, size) in &shapes {
        let _ = writeln!(outer, "{name} = [{size}]");
        let word = if ran { "found by running" } else { "guessed" };
        told.push(format!("{word}: `{name} = [{size}]`, which the model leaves open"));
    }
    let mut outputs = String::new();
    let mut left = Vec::new();
    for (output, axis) in signature.outputs.iter().zip(&scouted.outputs) {
        if output.element_type.bytes().is_none() {
            left.push(format!("`{}` {} {}", output.name, output.element_type, shape_text(&output.shape)));
            continue;
        }
        let _ = writeln!(outputs, "\n[[output]]           # {} {}", output.element_type, shape_text(&output.shape));
        let guess = tasks::guess(output, *axis, model.graph.as_ref());
        let (task, keys, why) = (guess.task, guess.keys, guess.why);
        let _ = write!(outputs, "name = {}\ntask = \"{task}\"      # {why}\n{keys}", quoted(&output.name));
        if task != Task::Values {
            told.push(format!("{why}: `task = \"{task}\"` of `{}`", output.name));
        }
        let answers: Vec<Tensor> = scouted.answers.iter().filter(|one| one.name == output.name).cloned().collect();
        let proposed = (guess.task == Task::Values)
            .then(|| propose(output, *axis, guess.made, Seen(&answers), signature))
            .flatten();
        if let Some(Proposal { lines, why }) = &proposed {
            let _ = writeln!(outputs, "# GUESSED, in place of values: {why}");
            for line in lines {
                let _ = writeln!(outputs, "# {line}");
            }
            let task = lines.first().map_or("", String::as_str);
            told.push(format!(
                "`{}` is compared element by element, the strictest; guessed, as a comment: `{task}`, for {why}",
                output.name
            ));
        }
        let hint = guess.hint.filter(|_| proposed.is_none());
        told.extend(hint.map(|hint| format!("`{}` is compared element by element; {hint}", output.name)));
        if *axis != BatchAxis::At(0) {
            let _ = writeln!(outputs, "batch-axis = {}", axis_text(*axis));
            told.push(format!("`batch-axis = {}` of `{}`", axis_text(*axis), output.name));
        }
    }
    if outputs.is_empty() {
        return Err(Error::unsupported(format!("none of the model's outputs can be compared: {}", left.join(", "))));
    }
    if !left.is_empty() {
        told.push(format!("not gated, of a type that is not compared: {}", left.join(", ")));
    }
    let batches = match (scouted.one_by_one(), scouted.fixed) {
        (true, _) => {
            told.push("run sample by sample: an input or output has no batch".to_owned());
            "[1]".to_owned()
        }
        (false, Some(fixed)) => format!("[{fixed}]"),
        (false, None) => "[1, 8]".to_owned(),
    };
    let (model_lines, runtimes) = subject.source();
    let text = format!(
        "{SCHEMA_LINE}\n# What trtgate gates. Every key is checked; an unknown one is an error.\nschema = 1\n\n[model]\nname = {}\n{model_lines}\n\
         # The file as `init` met it. With it any other is refused.\n# sha256 = {}\n{inputs}{outputs}{outer}\n[probes]\ncount = {}\n\n\
         [matrix]\nbatches = {batches}\n\n[matrix.runtimes]\n{runtimes}{INT8}# tensorrt = [\"fp32\", \"tf32\", \"fp16\"]\n",
        quoted(name),
        quoted(sha256),
        // Fewer of large ones: what is run and compared is bounded.
        (ELEMENTS / scouted.elements.max(1)).clamp(FEWEST, MOST)
    );
    // A manifest that does not read back helps nobody.
    Manifest::parse(&text, Path::new("gate.toml"))?;
    Ok(Written { text, told })
}

fn axis_text(axis: BatchAxis) -> String {
    match axis {
        BatchAxis::At(axis) => axis.to_string(),
        BatchAxis::None => "\"none\"".to_owned(),
    }
}

/// What a model that could not be run is taken for: samples along first dimensions, and open sizes of 16.
fn guessed(signature: &Signature) -> Result<Scouted> {
    let fixed = batch_of(signature)?;
    let inputs: Vec<Option<BatchAxis>> =
        signature.inputs.iter().map(|input| (!is_shared(input, signature)).then_some(BatchAxis::At(0))).collect();
    let samples = signature.inputs.iter().zip(&inputs).map(|(input, axis)| {
        let skipped = usize::from(axis.is_some());
        input.shape.iter().skip(skipped).map(|size| size.unwrap_or(OPEN)).collect()
    });
    let outputs: Vec<BatchAxis> = signature
        .outputs
        .iter()
        .map(|output| match output.shape.first() {
            Some(None) => BatchAxis::At(0),
            Some(first) if *first == fixed => BatchAxis::At(0),
            _ => BatchAxis::None,
        })
        .collect();
    let names = signature.inputs.iter().zip(&inputs).map(|(input, axis)| {
        let open = input.shape.iter().enumerate().skip(usize::from(axis.is_some()));
        open.map(|(place, size)| size.is_none().then(|| readable(&format!("{}-{place}", input.name)))).collect()
    });
    let names = names.collect();
    Ok(Scouted {
        samples: samples.collect(),
        names,
        inputs,
        outputs,
        fixed,
        elements: 0,
        told: Vec::new(),
        answers: Vec::new(),
    })
}

/// The batch that the model is made for; `None` where it is open.
fn batch_of(signature: &Signature) -> Result<Option<usize>> {
    let firsts: Vec<Option<usize>> = signature.inputs.iter().filter_map(|input| input.shape.first().copied()).collect();
    if firsts.contains(&None) {
        return Ok(None);
    }
    match firsts.as_slice() {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => Ok(*first),
        [] => Err(Error::unsupported("no input of the model has a dimension, so that it has no batch")),
        _ => Err(Error::unsupported("the inputs' first dimensions are fixed and differ, so that none is the batch")
            .hint("export the model with an open batch first")),
    }
}

/// Whether an input has no batch: it has no dimension, or fixes its first one where others leave theirs open.
fn is_shared(input: &TensorSpec, signature: &Signature) -> bool {
    let open = signature.inputs.iter().any(|other| other.shape.first().is_some_and(Option::is_none));
    input.shape.first().is_none_or(|first| first.is_some() && open)
}

/// Values for an input, and why these.
fn values_of(input: &TensorSpec, graph: Option<&Graph>) -> (ValueSource, &'static str) {
    let name = input.name.to_ascii_lowercase();
    let (mask, float) = (name.contains("mask"), input.element_type.is_float());
    let rate = !float && (name == "sr" || name.contains("rate"));
    let picture = matches!(input.shape.as_slice(), [_, Some(1 | 3 | 4), _, _] | [_, _, _, Some(1 | 3 | 4)]);
    match input.element_type {
        _ if input.shape.is_empty() && rate => {
            (ValueSource::Constant(16_000.0), "GUESSED: a sampling rate, as the name says")
        }
        _ if input.shape.is_empty() => (ValueSource::Constant(1.0), "GUESSED: a constant"),
        _ if joint::is_length(input) => (ValueSource::Constant(1.0), "GUESSED: a length, as the name says"),
        _ if joint::is_positions(input) => (ValueSource::Positions, "GUESSED: places, as the name says"),
        ElementType::Bool => (ValueSource::Mask, "GUESSED: ones, then zeros"),
        _ if float && !mask && picture => (ValueSource::Image([0.0, 1.0]), "GUESSED: pictures, and their range"),
        _ if float && !mask => (ValueSource::Uniform([0.0, 1.0]), "GUESSED: the range"),
        _ if mask => (ValueSource::Mask, "GUESSED: ones, then zeros, as the name says"),
        ElementType::Uint8 if picture => (ValueSource::Image([0.0, 255.0]), "GUESSED: pictures, and their range"),
        _ => match graph.and_then(|graph| rows_indexed_by(graph, &input.name)) {
            Some(rows) => (ValueSource::Integers([0, rows - 1]), "found: indices into a stored table"),
            None if joint::is_kind(input) => (ValueSource::Integers([0, 1]), "GUESSED: two kinds, as the name says"),
            None => (ValueSource::Integers([0, INTEGERS]), "GUESSED: the range"),
        },
    }
}

/// Values as the manifest has them.
fn values_text(values: &ValueSource) -> String {
    match values {
        ValueSource::Image([low, high]) => format!("{{ image = [{low:?}, {high:?}] }}"),
        ValueSource::Uniform([low, high]) => format!("{{ uniform = [{low:?}, {high:?}] }}"),
        ValueSource::Normal([mean, deviation]) => format!("{{ normal = [{mean:?}, {deviation:?}] }}"),
        ValueSource::Integers([low, high]) => format!("{{ integers = [{low}, {high}] }}"),
        ValueSource::Constant(value) => format!("{{ constant = {value} }}"),
        ValueSource::Mask => "\"mask\"".to_owned(),
        ValueSource::MaskOf(of) => format!("{{ mask-of = {} }}", length_text(of)),
        ValueSource::LengthsOf(of) => format!("{{ lengths-of = {} }}", length_text(of)),
        ValueSource::Positions => "\"positions\"".to_owned(),
        ValueSource::OneHot => "\"one-hot\"".to_owned(),
        ValueSource::File(path) => format!("{{ from = {} }}", quoted(&path.display().to_string())),
    }
}

fn length_text(of: &LengthOf) -> String {
    match of.axis {
        None => quoted(&of.input),
        Some(axis) => format!("{{ input = {}, axis = {axis} }}", quoted(&of.input)),
    }
}

/// Rows of the stored table that `input` looks up, directly or through a cast; the fewest where it looks up several.
fn rows_indexed_by(graph: &Graph, input: &str) -> Option<i64> {
    let cast = |name: &str| {
        let casts = graph
            .node
            .iter()
            .filter(|node| node.op_type == "Cast" && node.input.first().is_some_and(|own| own == name));
        casts.filter_map(|node| node.output.first().cloned()).collect::<Vec<_>>()
    };
    let mut names = cast(input);
    names.push(input.to_owned());
    let looks_up = |node: &&crate::onnx::Node| {
        node.op_type == "Gather" && node.input.get(1).is_some_and(|index| names.contains(index))
    };
    let tables = graph.node.iter().filter(looks_up).filter_map(|node| node.input.first());
    let rows = tables.filter_map(|table| {
        let stored = graph.initializer.iter().find(|tensor| tensor.name == *table)?;
        stored.dims.first().copied().filter(|&rows| rows > 0)
    });
    rows.min()
}
