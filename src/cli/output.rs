//! How messages look: `error:`, its causes, `hint:`.

use std::io::Write;

use crate::cli::ColorChoice;
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
    writeln!(stream, "\x1b[1;31merror\x1b[0m: {}", error.message)?;
    if let Some(excerpt) = &error.excerpt {
        writeln!(stream, "{excerpt}")?;
    }
    for cause in &error.causes {
        writeln!(stream, "  caused by: {cause}")?;
    }
    if let Some(hint) = &error.hint {
        writeln!(stream, "\x1b[1;36mhint\x1b[0m: {hint}")?;
    }
    Ok(())
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

/// A line for the reader on standard error.
pub fn note(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
