//! Text from outside (reasons, names, a worker's last lines) made fit for one line of a rendered form.

use unicode_width::UnicodeWidthStr;

use crate::console::turns_direction;

/// `text` on one line: control characters (line breaks, escape sequences) and characters that turn the direction of
/// writing become spaces, and runs of spaces become one.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        let character = if is_disturbing(character) { ' ' } else { character };
        if character != ' ' || !(line.is_empty() || line.ends_with(' ')) {
            line.push(character);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// [`one_line`], cut to `limit` characters with `…` where it is longer.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    let line = one_line(text);
    match line.char_indices().nth(limit) {
        None => line,
        Some(_) => {
            let kept: String = line.chars().take(limit.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
    }
}

/// Most lines of an excerpt that are shown, the last ones: what went wrong is where a log ends.
const EXCERPT_LIMIT: usize = 20;

/// A reason as its sentence and the lines after it: what a library or a worker wrote last.
pub(super) fn sentence_and_excerpt(reason: &str) -> (String, Vec<String>) {
    let mut lines = reason.lines().map(one_line).filter(|line| !line.is_empty());
    let sentence = lines.next().unwrap_or_else(|| "no reason given".to_owned());
    let excerpt: Vec<String> = lines.collect();
    let left_out = excerpt.len().saturating_sub(EXCERPT_LIMIT);
    (sentence, excerpt.into_iter().skip(left_out).collect())
}

/// Words of `text` on lines of at most `width` columns; a longer word has a line to itself. Never empty.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in one_line(text).split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Spaces that fill `text` to `width` columns.
pub(super) fn padding(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.width()))
}

fn is_disturbing(character: char) -> bool {
    let breaks_line = matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}');
    character.is_control() || character.is_whitespace() || turns_direction(character) || breaks_line
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("two\n lines\t", "two lines")]
    #[case("\u{1b}[31mred\u{1b}[0m", "[31mred [0m")]
    #[case("a\u{202e}b", "a b")]
    #[case("", "")]
    fn one_line(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(super::one_line(text), expected);
    }

    #[rstest]
    #[case("what\n  last lines:\n\n    a  b\r\n", "what", &["last lines:", "a b"])]
    #[case("only", "only", &[])]
    #[case("", "no reason given", &[])]
    fn sentence_and_excerpt(#[case] reason: &str, #[case] sentence: &str, #[case] excerpt: &[&str]) {
        let (found, lines) = super::sentence_and_excerpt(reason);
        assert_eq!((found.as_str(), lines.len()), (sentence, excerpt.len()));
        assert_eq!(lines, excerpt);
    }

    #[rstest]
    #[case("short", 5, "short")]
    #[case("longer", 5, "long…")]
    #[case("größer als", 7, "größer…")]
    fn shortened(#[case] text: &str, #[case] limit: usize, #[case] expected: &str) {
        assert_eq!(super::shortened(text, limit), expected);
    }

    #[rstest]
    #[case("one two three", 7, &["one two", "three"])]
    #[case("a-very-long-word b", 4, &["a-very-long-word", "b"])]
    #[case("", 4, &[""])]
    fn wrapped(#[case] text: &str, #[case] width: usize, #[case] expected: &[&str]) {
        assert_eq!(super::wrapped(text, width), expected);
    }
}
