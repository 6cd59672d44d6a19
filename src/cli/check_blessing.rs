//! `trtgate check-blessing`: what a change does to goldens, baselines and limits.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{EXIT_FAIL, EXIT_PASS, Global, output};
use crate::console;
use crate::error::Result;
use crate::review;

/// Arguments of `trtgate check-blessing`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 1 where something stands against the change: a golden that is gone, edited by hand or without a\n\
    reason, a baseline that was changed or removed, or a rule of `[review]` that is broken."
)]
pub struct CheckBlessingArguments {
    /// The revision that the change comes from [default: where HEAD left origin's main branch]
    #[arg(long, value_name = "REV", env = "TRTGATE_BASE")]
    base: Option<String>,
    /// A folder of the repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    repository: PathBuf,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &CheckBlessingArguments) -> Result<u8> {
    let reviewed = review::check(&arguments.repository, arguments.base.as_deref())?;
    let lines = reviewed.lines();
    let shown = if global.quiet { lines.get(..reviewed.findings.len()).unwrap_or_default() } else { &lines };
    output::print(&shown.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    if reviewed.findings.is_empty() {
        return Ok(EXIT_PASS);
    }
    console::note("hint: accept an intended change with `trtgate bless --reason TEXT`");
    Ok(EXIT_FAIL)
}
