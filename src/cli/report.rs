//! `trtgate report`: renders a stored report again.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::{EXIT_PASS, Global};
use crate::error::Result;
use crate::report::options::RenderOptions;
use crate::report::schema::Report;
use crate::report::{file, terminal};

/// Arguments of `trtgate report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without a report file to write, the table goes to standard output. The exit code says whether the\n\
    report could be rendered, not its verdict."
)]
pub struct ReportArguments {
    /// The JSON report; `-` is standard input
    #[arg(value_name = "FILE")]
    pub report: PathBuf,
    /// Where to render it to
    #[command(flatten)]
    pub render: RenderOptions,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &ReportArguments) -> Result<u8> {
    let report = file::read(&arguments.report)?;
    if arguments.render.is_empty() {
        print(global, &report);
    } else {
        arguments.render.write_all(&report)?;
    }
    Ok(EXIT_PASS)
}

/// Prints `report` as a table on standard output, in the terminal's width and with colour where it is wanted.
pub(super) fn print(global: &Global, report: &Report) {
    let mut stdout = anstream::stdout().lock();
    // `anstream` drops the colours where the stream or the user does not take them.
    let style = terminal::Style { color: true, quiet: global.quiet, ..terminal::Style::default() };
    // A closed pipe (`| head`) is no failure of the report.
    let _ = stdout.write_all(terminal::render(report, style).as_bytes()).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use crate::cli::{Arguments, Command};
    use crate::report::{file, sample};

    #[test]
    fn rendering_a_failing_report_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let stored = folder.path().join("report.json");
        let page = folder.path().join("report.html");
        file::write(&sample::failing(), &stored).unwrap();
        let line = ["trtgate", "report", stored.to_str().unwrap(), "--html", page.to_str().unwrap()];
        let arguments = Arguments::try_parse_from(line).unwrap();
        let Command::Report(command) = &arguments.command else { unreachable!() };
        assert_eq!(super::run(&arguments.global, command).unwrap(), super::EXIT_PASS);
        assert!(std::fs::read_to_string(&page).unwrap().starts_with("<!DOCTYPE html>"));
    }
}
