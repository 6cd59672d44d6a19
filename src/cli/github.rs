//! What GitHub shows of a report: annotations, which are lines of the log, and the job's summary.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::console;
use crate::error::{Error, Result};
use crate::findings::Report;
use crate::report::{annotations, markdown};

/// When GitHub is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// In GitHub Actions.
    Auto,
    /// Always: annotations go to standard error, as they do there.
    Always,
    /// Never.
    Never,
}

/// Tells GitHub of `report`; returns what could not be told.
pub(super) fn tell(when: When, report: &Report) -> Option<Error> {
    let is_there = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    let told = match when {
        When::Never => false,
        When::Always => true,
        When::Auto => is_there,
    };
    if !told {
        return None;
    }
    annotations::github(report).lines().for_each(console::note);
    let summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from)?;
    append(&summary, &markdown::render(report)).err()
}

/// Adds to what other steps of the job have said.
fn append(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")));
    written.map_err(|error| Error::io("write the job's summary", path, error))
}
