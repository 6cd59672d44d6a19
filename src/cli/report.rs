//! `trtgate report`: renders a stored report again.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{EXIT_FAIL, EXIT_INCOMPLETE, EXIT_PASS, Global, github, output};
use crate::error::{Error, ErrorKind, Result};
use crate::findings::Report;
use crate::report::options::RenderOptions;
use crate::report::{file, terminal};
use crate::vocabulary::Verdict;

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
    // A report that is rendered again has been told of.
    if let Some(lost) =
        Some(global.github).filter(|when| *when == github::When::Always).and_then(|when| github::tell(when, &report))
    {
        output::print_error(&lost);
    }
    if arguments.render.is_empty() {
        print(global, &report)?;
        return Ok(EXIT_PASS);
    }
    let lost = arguments.render.write_all(&report);
    lost.iter().for_each(output::print_error);
    Ok(lost.first().map_or(EXIT_PASS, |error| super::exit_code(error.kind)))
}

/// Prints `report` as a table on standard output, in the terminal's width and with colour where it is wanted.
///
/// # Errors
/// Those of [`output::print`].
fn print(global: &Global, report: &Report) -> Result<()> {
    // `anstream` drops the colours where the stream or the user does not take them.
    let style = terminal::Style { color: true, quiet: global.quiet, ..terminal::Style::default() };
    output::print(&terminal::render(report, style))
}

/// Writes a judged report wherever it was asked for, and returns the exit code of its verdict. Each form is tried, so that
/// one full disk loses one of them; what was lost is said, and a verdict that nobody can read is incomplete.
pub(super) fn deliver(global: &Global, report: &Report, render: &RenderOptions) -> u8 {
    let mut lost = render.write_all(report);
    if !render.uses_stdout() {
        lost.extend(print(global, report).err());
    }
    lost.extend(github::tell(global.github, report));
    lost.iter().for_each(output::print_error);
    match verdict_code(report.verdict) {
        EXIT_PASS if !lost.is_empty() => EXIT_INCOMPLETE,
        code => code,
    }
}

/// Leaves the reports that were asked for of a run that ended with `error` before it judged a cell; what cannot be written
/// is said. The command line itself is at fault in a `Usage` error, and leaves nothing.
pub(super) fn leave(global: &Global, report: &Report, error: &Error, render: &RenderOptions) {
    if error.kind != ErrorKind::Usage {
        render.write_all(report).iter().for_each(output::print_error);
    }
    github::tell(global.github, report).iter().for_each(output::print_error);
}

/// The exit code of a verdict.
pub(super) const fn verdict_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => EXIT_PASS,
        Verdict::Fail => EXIT_FAIL,
        Verdict::Incomplete => EXIT_INCOMPLETE,
    }
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
