//! `trtgate init`: a manifest for a model of your own, from its signature.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::{EXIT_PASS, Global, output};
use crate::convert::progress;
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::gate::inspect::{self, Inspected};
use crate::manifest::Manifest;
use crate::tensor::{ElementType, shape_text};
use crate::worker::WorkerProgram;

/// Arguments of `trtgate init`.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// The model as a TensorFlow SavedModel folder
    #[arg(long, value_name = "DIR", required_unless_present = "onnx", conflicts_with = "onnx")]
    saved_model: Option<PathBuf>,
    /// The model as an ONNX file
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// The SavedModel signature to gate
    #[arg(long, value_name = "KEY", default_value = "serving_default")]
    signature: String,
    /// The output to gate, where the model has several
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// The model's name in reports; the file's name if not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where to write the manifest
    #[arg(long, value_name = "FILE", default_value = "gate.toml")]
    out: PathBuf,
    /// Overwrite the manifest if it is there
    #[arg(long)]
    force: bool,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &InitArguments) -> Result<u8> {
    if arguments.out.exists() && !arguments.force {
        return Err(Error::usage(format!("`{}` is there already", arguments.out.display()))
            .hint("`--force` overwrites it, `--out FILE` writes another"));
    }
    let inspected = match (&arguments.saved_model, &arguments.onnx) {
        (Some(folder), _) => inspect::saved_model(
            folder,
            &arguments.signature,
            &WorkerProgram::current()?,
            &Store::open(None)?,
            &*progress::standard(global.quiet, global.verbose),
        )?,
        (None, Some(file)) => inspect::onnx(file)?,
        (None, None) => return Err(Error::usage("name the model with `--saved-model DIR` or `--onnx FILE`")),
    };
    let text = manifest_text(arguments, &inspected)?;
    // What is written must read back: a template that does not parse helps nobody.
    let manifest = Manifest::parse(&text, &arguments.out)?;
    crate::data::atomic::write(&arguments.out, text.as_bytes())?;
    output::note(&format!(
        "wrote `{}`: `{}` {} → `{}` [N, {}], {} classes",
        arguments.out.display(),
        manifest.input.name,
        shape_text(&inspected.input.shape),
        manifest.output.name,
        manifest.output.classes,
        manifest.output.classes
    ));
    output::note("check the value range and the kind of output in it, then run `trtgate gate`");
    Ok(EXIT_PASS)
}

/// The path as it has to stand in a manifest at `out`.
fn relative_to(path: &Path, out: &Path) -> Result<String> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| Error::io("resolve", path, error));
    let folder = absolute(out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    let path = absolute(path)?;
    let shown = path.strip_prefix(&folder).map_or(path.as_path(), |inside| inside);
    shown.to_str().map(str::to_owned).ok_or_else(|| Error::input(format!("`{}` is not UTF-8", path.display())))
}

fn manifest_text(arguments: &InitArguments, inspected: &Inspected) -> Result<String> {
    let input = &inspected.input;
    if !matches!(input.element_type, ElementType::Float32) {
        return Err(Error::unsupported(format!("input `{}` is {}", input.name, input.element_type))
            .hint("trtgate feeds float32 inputs; put the cast into the model"));
    }
    let chosen = inspected.choose_output(arguments.output.as_deref())?;
    let (model_line, default_name) = match (&arguments.saved_model, &arguments.onnx) {
        (Some(folder), _) => (format!("saved-model = {}", quoted(&relative_to(folder, &arguments.out)?)), folder),
        (None, Some(file)) => (format!("onnx = {}", quoted(&relative_to(file, &arguments.out)?)), file),
        (None, None) => return Err(Error::usage("no model is named")),
    };
    let name = arguments.name.clone().unwrap_or_else(|| {
        let stem = default_name.file_stem().and_then(|stem| stem.to_str()).unwrap_or("model");
        let clean: String = stem
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' })
            .collect();
        if clean.is_empty() { "model".to_owned() } else { clean }
    });
    let mut sample = Vec::new();
    let mut guessed = Vec::new();
    for (index, size) in input.shape.iter().enumerate().skip(1) {
        sample.push(size.unwrap_or_else(|| {
            guessed.push(index);
            224
        }));
    }
    let layout = match sample.as_slice() {
        [first, _, last] if *first <= 4 && *last > 4 => "nchw",
        [_, _, _] => "nhwc",
        _ => "flat",
    };
    let fixed = input.shape.first().copied().flatten();
    let probabilities = inspected.ends_in_softmax.unwrap_or(false);
    let saved_model = arguments.saved_model.is_some();

    let mut text = String::new();
    let mut line = |part: &str| {
        let _ = writeln!(text, "{part}");
    };
    line("# What trtgate gates. Every key is checked; an unknown one is an error.");
    line("schema = 1\n");
    line("[model]");
    line(&format!("name = {}", quoted(&name)));
    line(&model_line);
    if saved_model {
        line(&format!("signature = {}", quoted(&arguments.signature)));
    }
    line("# sha256 = \"…\"                # refuse any other model (printed by `trtgate doctor`)\n");
    line("[input]");
    line(&format!("name = {}", quoted(&input.name)));
    line(&format!(
        "shape = {sample:?}            # one sample, without the batch{}",
        if guessed.is_empty() { String::new() } else { format!("; dynamic in the model, 224 is a guess: {guessed:?}") }
    ));
    line(&format!("layout = \"{layout}\"              # nhwc, nchw or flat"));
    line("range = [0.0, 1.0]             # what bytes 0 and 255 stand for, before mean and std");
    line("# mean = [0.485, 0.456, 0.406] # subtracted per channel");
    line("# std = [0.229, 0.224, 0.225]  # divides per channel");
    if let Some(fixed) = fixed {
        line(&format!("fixed-batch = {fixed}"));
    }
    line("\n[output]");
    line(&format!("name = {}", quoted(&chosen.name)));
    line(&format!("classes = {}", inspected.classes(chosen)?));
    line(&format!(
        "kind = \"{}\"                # logits, or probabilities (softmax){}",
        if probabilities { "probabilities" } else { "logits" },
        if inspected.ends_in_softmax.is_none() { ": check this" } else { "" }
    ));
    line("# labels = [\"cat\", \"dog\"]      # one a class, for reports\n");
    line("[probes]                       # the gate's fixed samples, made by `trtgate data probes` from the seed");
    line("seed = 1");
    line("count = 256");
    line("# file = \"probes.bin\"        # keep them when the model changes: `trtgate data probes --out probes.bin`\n");
    line("[calibration]                  # for INT8; real samples, if you have them, calibrate better");
    line("seed = 2");
    line("count = 512");
    line("method = \"percentile\"          # entropy, min-max or percentile");
    line("# data = \"calibration.bin\"     # CIFAR-10 record layout, CSV or npy\n");
    line("[matrix]");
    match fixed {
        Some(fixed) => line(&format!("batches = [{fixed}]")),
        None => line("batches = [1, 8, 16, 32]"),
    }
    line("\n[matrix.runtimes]              # which precisions each runtime must give");
    if saved_model {
        line("tensorflow = [\"fp32\"]");
    }
    line("onnxruntime = [\"fp32\", \"fp16\", \"int8\"]");
    if saved_model {
        line("litert = [\"int8\"]");
    }
    line("tensorrt = [\"fp32\", \"tf32\", \"fp16\", \"fp16-flag\", \"int8\", \"int8-calibrated\"]");
    line("# tensorrt-rtx = [\"fp32\", \"fp16\", \"int8\"]\n");
    line("[agreement]");
    line("# confident-flips-allowed = { int8 = 0 }   # changed answers that are no near-ties\n");
    line("[paths]");
    line("# data = \"labelled.bin\"        # real labelled samples: accuracy is gated too");
    Ok(text)
}

/// `text` as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
