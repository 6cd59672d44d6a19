//! `trtgate drill`: plants faults in the model's own artifacts and says which the gate catches.

use std::path::PathBuf;

use clap::Args;

use crate::cli::selection::WorkspaceArguments;
use crate::cli::{EXIT_FAIL, EXIT_INCOMPLETE, EXIT_PASS, Global, output};
use crate::drill::{self, DrillOptions, DrillVerdict};
use crate::error::Result;

/// Arguments of `trtgate drill`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every planted fault was caught; 1 a fault passed; 2 usage; 3 the model does not pass \
                  without a fault, or nothing could be planted."
)]
pub struct DrillArguments {
    /// Only this fault (repeatable); `docs/drill.md` lists them
    #[arg(long, value_name = "NAME")]
    fault: Vec<String>,
    /// Leave out the search for the smallest weight change that is seen
    #[arg(long)]
    no_scan: bool,
    /// Write everything as JSON; `-` is standard output, in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    workspace: WorkspaceArguments,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &DrillArguments) -> Result<u8> {
    let options = DrillOptions { faults: arguments.fault.clone(), scan: !arguments.no_scan };
    let mut workspace = arguments.workspace.options(global)?;
    workspace.several = true;
    let found = drill::drill(&workspace, &options)?;
    let text = output::or_json(&found, arguments.json.as_deref(), "the drill", found.table(global.quiet))?;
    output::print(&text)?;
    Ok(match found.verdict() {
        DrillVerdict::AllCaught => EXIT_PASS,
        DrillVerdict::OnePassed => EXIT_FAIL,
        DrillVerdict::Incomplete => EXIT_INCOMPLETE,
    })
}
