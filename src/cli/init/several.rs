//! The first manifest of a model that is no classifier of one input: `[[input]]` and `[[output]]`.

use std::fmt::Write as _;
use std::path::Path;

use super::template::quoted;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::onnx::{Graph, Model};
use crate::tensor::{ElementType, Signature, TensorSpec, shape_text};

/// A size that the model leaves open, where nothing says another.
const OPEN: usize = 16;
/// Whole numbers below this are fed where nothing in the graph says how far an index may go.
const INTEGERS: i64 = 9;

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

/// The manifest of `model`, whose file is called `onnx` from where the manifest is.
///
/// # Errors
/// `Unsupported`, where an input cannot be fed or no output can be compared, in those words.
pub(super) fn text(name: &str, onnx: &str, sha256: &str, model: &Model, signature: &Signature) -> Result<Written> {
    let mut told = Vec::new();
    let fixed = batch_of(signature)?;
    let mut inputs = String::new();
    for input in &signature.inputs {
        if input.element_type.bytes().is_none() {
            return Err(Error::unsupported(format!("input `{}` takes {}, which cannot be fed", input.name, input.element_type))
                .hint("no engine that is gated takes texts; gate the part of the model behind the look-up, which takes numbers"));
        }
        let shared = is_shared(input, signature);
        let sizes = if shared { input.shape.as_slice() } else { input.shape.get(1..).unwrap_or_default() };
        let _ = writeln!(inputs, "\n[[input]]            # {} {}", input.element_type, shape_text(&input.shape));
        let _ = writeln!(inputs, "name = {}", quoted(&input.name));
        if sizes.contains(&None) {
            let sample: Vec<usize> = sizes.iter().map(|size| size.unwrap_or(OPEN)).collect();
            let _ = writeln!(inputs, "shape = {sample:?}    # GUESSED: the model leaves sizes open");
            told.push(format!("guessed: `shape = {sample:?}` of `{}`, which leaves sizes open", input.name));
        }
        if shared {
            let _ = writeln!(inputs, "shared = true        # GUESSED: the same for every sample");
            told.push(format!("guessed: `{}` is the same for every sample", input.name));
        }
        let (values, why) = values_of(input, shared, model.graph.as_ref());
        let _ = writeln!(inputs, "values = {values}    # {why}");
        told.push(format!("{why}: `values = {values}` of `{}`", input.name));
    }
    let mut outputs = String::new();
    let mut left = Vec::new();
    for output in &signature.outputs {
        let has_batch = match output.shape.first() {
            Some(None) => true,
            Some(first) => *first == fixed,
            None => false,
        };
        if output.element_type.bytes().is_none() || !has_batch {
            left.push(format!("`{}` {} {}", output.name, output.element_type, shape_text(&output.shape)));
            continue;
        }
        let _ = writeln!(outputs, "\n[[output]]           # {} {}", output.element_type, shape_text(&output.shape));
        let _ =
            writeln!(outputs, "name = {}\ntask = \"values\"      # compared element by element", quoted(&output.name));
    }
    if outputs.is_empty() {
        return Err(Error::unsupported(format!(
            "none of the model's outputs has one row a sample: {}",
            left.join(", ")
        ))
        .hint("outputs without a batch are not compared yet"));
    }
    if !left.is_empty() {
        told.push(format!("not gated, without one row a sample: {}", left.join(", ")));
    }
    let batches = fixed.map_or_else(|| "[1, 8]".to_owned(), |fixed| format!("[{fixed}]"));
    let text = format!(
        "# What trtgate gates. Every key is checked; an unknown one is an error.\nschema = 1\n\n[model]\nname = {}\nonnx = {}\n\
         # The file as `init` met it. With it any other is refused.\n# sha256 = {}\n{inputs}{outputs}\n[probes]\ncount = 64\n\n\
         [matrix]\nbatches = {batches}\n\n[matrix.runtimes]\nonnxruntime = [\"fp32\", \"fp16\"]\n# tensorrt = [\"fp32\", \"tf32\", \"fp16\"]\n",
        quoted(name),
        quoted(onnx),
        quoted(sha256)
    );
    // A manifest that does not read back helps nobody.
    Manifest::parse(&text, Path::new("gate.toml"))?;
    Ok(Written { text, told })
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

/// Values for an input, as the manifest has them, and why these.
fn values_of(input: &TensorSpec, shared: bool, graph: Option<&Graph>) -> (String, &'static str) {
    let mask = input.name.to_ascii_lowercase().contains("mask");
    match input.element_type {
        _ if shared => ("{ constant = 1 }".to_owned(), "GUESSED: a constant"),
        ElementType::Bool => ("\"mask\"".to_owned(), "GUESSED: ones, then zeros"),
        kind if kind.is_float() && !mask => ("{ uniform = [0.0, 1.0] }".to_owned(), "GUESSED: the range"),
        _ if mask => ("\"mask\"".to_owned(), "GUESSED: ones, then zeros, as the name says"),
        _ => match graph.and_then(|graph| rows_indexed_by(graph, &input.name)) {
            Some(rows) => (format!("{{ integers = [0, {}] }}", rows - 1), "found: indices into a stored table"),
            None => (format!("{{ integers = [0, {INTEGERS}] }}"), "GUESSED: the range"),
        },
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
