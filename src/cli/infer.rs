//! `trtgate infer`: samples through one runtime, outputs into a file.

use std::path::PathBuf;

use clap::Args;

use crate::check::pair::select_output;
use crate::cli::selection::{WorkspaceArguments, word};
use crate::cli::{EXIT_PASS, Global};
use crate::console;
use crate::data::outputs::OutputWriter;
use crate::data::{ReadOptions, SampleReader};
use crate::error::{Error, Result};
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
    /// Samples: CIFAR-10 records (file or folder), CSV or npy
    #[arg(long, visible_alias = "csv", value_name = "PATH")]
    data: PathBuf,
    /// The CSV has no label column
    #[arg(long)]
    no_label: bool,
    /// Read no more than this many samples
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Where the outputs go: `.csv` (index, label, answer, outputs in order) or `.npy`
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    workspace: WorkspaceArguments,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &InferArguments) -> Result<u8> {
    let workspace = Workspace::open(&arguments.workspace.options(global)?)?;
    let manifest = &workspace.manifest;
    let batch = arguments.batch.or_else(|| manifest.batches.last().copied()).unwrap_or(1);
    if batch == 0 {
        return Err(Error::usage("a batch holds at least 1 sample"));
    }
    // The input is checked before anything slow starts.
    let options = ReadOptions { no_label: arguments.no_label, limit: arguments.limit, ..ReadOptions::default() };
    let mut reader = SampleReader::open(&arguments.data, &manifest.input, manifest.output.classes, options)?;
    let cell = CellId { runtime: arguments.runtime.clone(), precision: arguments.precision, batch, shape: None };
    let mut open = OpenCell::open(&workspace, &cell)?;
    let mut writer = OutputWriter::create(&arguments.out, manifest.output.classes, None)?;
    let mut transfers = TransferCount::default();
    let (mut samples, mut seconds) = (0, 0.0);
    // Whole batches at a time, some megabytes, whatever the data's size.
    let chunk = (batch as usize) * (1024 / batch as usize).max(1);
    while let Some(part) = reader.next_batch(chunk)? {
        let outcome = open.run(&part.tensor(0..part.len())?)?;
        let answers = select_output(outcome.outputs, &manifest.output.name)?;
        if answers.batch() != part.len() {
            return Err(Error::failed(format!("{} samples went in, {} came out", part.len(), answers.batch())));
        }
        writer.push_batch(part.labels.as_deref(), &answers)?;
        transfers.add(outcome.transfers);
        seconds += outcome.seconds;
        samples += part.len();
    }
    writer.finish()?;
    let mut line = format!(
        "{samples} samples through {} in {seconds:.3} s, batch {batch}, {:.1} samples/s",
        open.id(),
        samples as f64 / f64::max(seconds, 1e-9)
    );
    if transfers.copies_in > 0 {
        line.push_str(&format!("; {} copies in, {} copies out", transfers.copies_in, transfers.copies_out));
    }
    console::note(&line);
    Ok(EXIT_PASS)
}
