//! Lines for the reader on standard error, with nothing in them that a terminal obeys.

use std::io::Write;

/// `text` with nothing in it that a terminal obeys: control characters but line breaks and tabs, and characters that turn the
/// direction of writing, are written as Rust writes them. Errors quote names and values from files of strangers.
pub(crate) fn harmless(text: &str) -> String {
    let obeyed = |character: char| {
        (character.is_control() && character != '\n' && character != '\t') || turns_direction(character)
    };
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if obeyed(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A line for the reader on standard error.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(anstream::stderr().lock(), "{}", harmless(text));
}

/// Whether a character turns the direction of writing.
pub(crate) const fn turns_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
