//! `trtgate explain`: the first tensor of a cell that went wrong.

use std::path::PathBuf;

use clap::Args;

use crate::cli::selection::{WorkspaceArguments, word};
use crate::cli::{EXIT_FAIL, EXIT_PASS, Global, output};
use crate::error::{Error, Result};
use crate::explain::{self, ExplainOptions};
use crate::gate::Workspace;
use crate::vocabulary::{CellId, Precision, RuntimeId};

/// Arguments of `trtgate explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The cell, as reports name it: `onnxruntime/int8/batch-32`
    #[arg(value_name = "CELL", required_unless_present = "runtime", value_parser = word::<CellId>)]
    cell: Option<CellId>,
    /// The cell's runtime, instead of its name
    #[arg(long, value_name = "RUNTIME", conflicts_with = "cell", requires = "precision", value_parser = word::<RuntimeId>)]
    runtime: Option<RuntimeId>,
    /// The cell's precision
    #[arg(long, value_name = "PRECISION", conflicts_with = "cell", value_parser = word::<Precision>)]
    precision: Option<Precision>,
    /// The cell's batch size; the manifest's largest if not given
    #[arg(long, value_name = "N", conflicts_with = "cell", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Probes to run, spread over the whole set
    #[arg(long, value_name = "N", default_value_t = ExplainOptions::default().probes, value_parser = count)]
    probes: usize,
    /// Lay the engines of every version here that the cell's runtime names beside each other: what each fused, in which
    /// precision and with which tactic each layer computes
    #[arg(long, conflicts_with = "probes")]
    versions: bool,
    /// Show every tensor, not only the neighbours of the one that is named
    #[arg(long)]
    all: bool,
    /// Write everything as JSON; `-` is standard output, in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    workspace: WorkspaceArguments,
}

fn count(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "not a number of at least 1".to_owned())
}

/// Runs the command; returns the exit code: 0 where no tensor leaves the ladder, 1 where one is named.
pub fn run(global: &Global, arguments: &ExplainArguments) -> Result<u8> {
    let mut options = arguments.workspace.options(global)?;
    options.several = true;
    let workspace = Workspace::open(&options)?;
    let cell = match (&arguments.cell, &arguments.runtime, arguments.precision) {
        (Some(cell), _, _) => cell.clone(),
        (None, Some(runtime), Some(precision)) => CellId {
            runtime: runtime.clone(),
            precision,
            batch: arguments.batch.or_else(|| workspace.manifest.batches.last().copied()).unwrap_or(1),
            shape: None,
        },
        _ => {
            return Err(Error::usage("no cell is named")
                .hint("write `trtgate explain onnxruntime/int8/batch-32`, or `--runtime` and `--precision`"));
        }
    };
    if arguments.versions {
        let layers = explain::versions(&workspace, &cell)?;
        let table = output::or_json(&layers, arguments.json.as_deref(), "the layers", layers.table(arguments.all))?;
        output::print(&table)?;
        return Ok(EXIT_PASS);
    }
    let explanation = explain::explain(&workspace, &cell, &ExplainOptions { probes: arguments.probes })?;
    let table = if global.quiet { explanation.verdict() } else { explanation.table(arguments.all) };
    let table = output::or_json(&explanation, arguments.json.as_deref(), "the explanation", table)?;
    output::print(&table)?;
    Ok(if explanation.found.is_some() { EXIT_FAIL } else { EXIT_PASS })
}
