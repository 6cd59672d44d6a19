//! How messages look: `error:`, its causes, `hint:`.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::atomic;
use crate::cli::ColorChoice;
use crate::console::harmless;
use crate::error::{Error, Result};

/// Fixes the use of colour for the process.
pub fn set_color(choice: ColorChoice) {
    match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Prints `error` with its causes and its hint on standard error.
pub fn print_error(error: &Error) {
    let mut stream = anstream::stderr().lock();
    // Nobody is left to tell if standard error is closed.
    let _ = write_error(&mut stream, error);
}

fn write_error(stream: &mut impl Write, error: &Error) -> std::io::Result<()> {
    writeln!(stream, "\x1b[1;31merror\x1b[0m: {}", harmless(&error.message))?;
    if let Some(excerpt) = &error.excerpt {
        writeln!(stream, "{}", harmless(excerpt))?;
    }
    for cause in &error.causes {
        writeln!(stream, "  caused by: {}", harmless(cause))?;
    }
    if let Some(hint) = &error.hint {
        writeln!(stream, "\x1b[1;36mhint\x1b[0m: {}", harmless(hint))?;
    }
    Ok(())
}

/// The command line as it was given, for reports; what is not text in it is replaced.
pub fn command_line() -> String {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}

/// A line of data on standard output.
///
/// # Errors
/// As [`print`].
pub fn data(line: &str) -> Result<()> {
    print(&format!("{line}\n"))
}

/// Writes `text` to standard output, whole.
///
/// # Errors
/// `Machine` if it cannot be written: the disk is full, the stream is closed. A reader that closed its pipe has seen
/// enough, and is no error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// What a command prints: `table`, or `found` as JSON where `json` is `-`; where `json` is a file, the JSON goes there. `what` names
/// it in errors.
///
/// # Errors
/// If it cannot be written as JSON, or the file not at all.
pub fn or_json<T: Serialize>(found: &T, json: Option<&Path>, what: &str, table: String) -> Result<String> {
    let Some(path) = json else { return Ok(table) };
    let mut text = serde_json::to_string_pretty(found)
        .map_err(|error| Error::machine(format!("cannot write {what} as JSON")).because(error))?;
    text.push('\n');
    if path == Path::new("-") {
        return Ok(text);
    }
    atomic::write(path, text.as_bytes())?;
    Ok(table)
}

/// What became of a write to standard output, see [`print`].
///
/// # Errors
/// As [`print`].
pub fn written(outcome: std::io::Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|error| {
            Error::machine("cannot write to standard output")
                .because(error)
                .hint("what was asked for is lost; free space there, or write it elsewhere")
        }),
    }
}
