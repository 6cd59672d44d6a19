//! `trtgate infer`: samples through one runtime, outputs into a file.

mod sink;

use std::path::PathBuf;

use clap::Args;

use crate::check::apart::Answers;
use crate::check::pair::select_output;
use crate::cli::selection::{WorkspaceArguments, word};
use crate::cli::{EXIT_PASS, Global};
use crate::console;
use crate::data::outputs::OutputWriter;
use crate::data::{ReadOptions, SampleReader};
use crate::error::{Error, Result};
use crate::gate::infer::infer;
use crate::gate::{OpenCell, Workspace};
use crate::timing::TransferCount;
use crate::vocabulary::{CellId, Precision, RuntimeId};

/// Arguments of `trtgate infer`.
#[derive(Debug, Args)]
pub struct InferArguments {
    /// The runtime, `onnxruntime` or `tensorrt@8.5.3`
    #[arg(long, value_name = "RUNTIME", value_parser = word::<RuntimeId>)]
    runtime: RuntimeId,
    /// The precision
    #[arg(long, value_name = "PRECISION", default_value = "fp32", value_parser = word::<Precision>)]
    precision: Precision,
    /// Samples in one call; the largest batch of the manifest if not given
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Samples: CIFAR-10 records (file or folder), CSV or npy; of a model with `[[input]]` npz, npy files, ONNX test data sets
    /// or Polygraphy's JSON, the manifest's own samples if not given
    #[arg(long, visible_alias = "csv", value_name = "PATH")]
    data: Option<PathBuf>,
    /// The CSV has no label column
    #[arg(long)]
    no_label: bool,
    /// Read no more than this many samples
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Where the outputs go: `.csv` (index, label, answer, outputs in order), `.npy`, `.npz` (an array an output), or `.json`,
    /// which Polygraphy loads
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The form of the outputs; told from the file's name if not given
    #[arg(long, value_name = "FORMAT")]
    format: Option<OutputFormat>,
    /// Write what was fed as Polygraphy's JSON too, for its `--load-inputs`
    #[arg(long, value_name = "FILE")]
    save_inputs: Option<PathBuf>,
    #[command(flatten)]
    workspace: WorkspaceArguments,
}

/// Forms of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OutputFormat {
    /// A line a sample: index, label, answer, outputs.
    Csv,
    /// One array.
    Npy,
    /// An array an output.
    Npz,
    /// What Polygraphy's `--save-outputs` writes and its `--load-outputs` reads.
    Polygraphy,
}

impl OutputFormat {
    fn of(arguments: &InferArguments) -> Result<Self> {
        let ending = arguments.out.extension().and_then(|ending| ending.to_str());
        match (arguments.format, ending) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(Self::Csv),
            (None, Some("npy")) => Ok(Self::Npy),
            (None, Some("npz")) => Ok(Self::Npz),
            (None, Some("json")) => Ok(Self::Polygraphy),
            (None, _) => {
                Err(Error::usage(format!("cannot tell the form of `{}` from its name", arguments.out.display()))
                    .hint("name it `.csv`, `.npy`, `.npz` or `.json`, or give `--format`"))
            }
        }
    }
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &InferArguments) -> Result<u8> {
    let format = OutputFormat::of(arguments)?;
    let mut options = arguments.workspace.options(global)?;
    options.several = true;
    let workspace = Workspace::open(&options)?;
    let manifest = &workspace.manifest;
    let batch = arguments.batch.or_else(|| manifest.batches.last().copied()).unwrap_or(1);
    if batch == 0 {
        return Err(Error::usage("a batch holds at least 1 sample"));
    }
    let cell = CellId { runtime: arguments.runtime.clone(), precision: arguments.precision, batch, shape: None };
    if let Some(interface) = &manifest.interface {
        if matches!(format, OutputFormat::Csv | OutputFormat::Npy) {
            return Err(Error::usage(format!(
                "`{}` holds one output, and the model's have names",
                arguments.out.display()
            ))
            .hint("name it `.npz`, or `.json` for Polygraphy's form"));
        }
        let found = infer(&workspace, interface, &cell, arguments.data.as_deref(), arguments.limit)?;
        let runs = found.runs(interface)?;
        sink::write(arguments, format, &found.id, &found.outputs, runs, found.seconds)?;
        tell(found.feeds.batch(), &found.id, batch, found.seconds, TransferCount::default());
        return Ok(EXIT_PASS);
    }
    let data = arguments.data.as_ref().ok_or_else(|| Error::usage("name the samples with `--data PATH`"))?;
    // The input is checked before anything slow starts.
    let options = ReadOptions { no_label: arguments.no_label, limit: arguments.limit, ..ReadOptions::default() };
    let mut reader = SampleReader::open(data, &manifest.input, manifest.output.classes, options)?;
    let mut writer = match format {
        OutputFormat::Csv | OutputFormat::Npy => {
            Some(OutputWriter::create(&arguments.out, manifest.output.classes, None)?)
        }
        OutputFormat::Npz | OutputFormat::Polygraphy => None,
    };
    let mut open = OpenCell::open(&workspace, &cell)?;
    let mut transfers = TransferCount::default();
    let (mut samples, mut seconds) = (0, 0.0);
    let (mut rows, mut runs) = (Vec::new(), Vec::new());
    let keeps = writer.is_none() || arguments.save_inputs.is_some();
    // Whole batches at a time, some megabytes, whatever the data's size.
    let chunk = (batch as usize) * (1024 / batch as usize).max(1);
    while let Some(part) = reader.next_batch(chunk)? {
        let fed = part.tensor(0..part.len())?;
        let outcome = open.run(&fed)?;
        let answers = select_output(outcome.outputs, &manifest.output.name)?;
        if answers.batch() != part.len() {
            return Err(Error::failed(format!("{} samples went in, {} came out", part.len(), answers.batch())));
        }
        if let Some(writer) = &mut writer {
            writer.push_batch(part.labels.as_deref(), &answers)?;
        }
        if keeps {
            for start in (0..part.len()).step_by(batch as usize) {
                let of_call = start..part.len().min(start + batch as usize);
                runs.push((vec![fed.samples(of_call.clone())?], vec![answers.samples(of_call)?]));
            }
        }
        if writer.is_none() {
            rows.extend(answers.to_samples()?);
        }
        transfers.add(outcome.transfers);
        seconds += outcome.seconds;
        samples += part.len();
    }
    match writer {
        Some(writer) => {
            writer.finish()?;
            sink::write_inputs(arguments, &runs)?;
        }
        None => sink::write(arguments, format, open.id(), &[Answers::of(rows)?], runs, seconds)?,
    }
    tell(samples, open.id(), batch, seconds, transfers);
    Ok(EXIT_PASS)
}

fn tell(samples: usize, id: &CellId, batch: u32, seconds: f64, transfers: TransferCount) {
    let mut line = format!(
        "{samples} samples through {id} in {seconds:.3} s, batch {batch}, {:.1} samples/s",
        samples as f64 / f64::max(seconds, 1e-9)
    );
    if transfers.copies_in > 0 {
        line.push_str(&format!("; {} copies in, {} copies out", transfers.copies_in, transfers.copies_out));
    }
    console::note(&line);
}
