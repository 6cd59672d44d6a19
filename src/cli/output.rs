//! How messages look: `error:`, its causes, `hint:`.

use std::io::Write;

use crate::cli::ColorChoice;
use crate::error::Error;

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
/// If standard output is closed.
pub fn data(line: &str) -> crate::error::Result<()> {
    writeln!(anstream::stdout().lock(), "{line}")
        .map_err(|error| Error::machine("cannot write to standard output").because(error))
}

/// A line for the reader on standard error.
pub fn note(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
