//! Escaping for Markdown: text from outside becomes text, never markup, a link, a reference or a mention.

use crate::report::text::shortened;

/// Comes after `@` and `#` in running text: invisible, and neither GitHub nor GitLab sees a mention or a reference
/// across it. Code needs none (neither looks for mentions there), and must stay as it is to be copied.
const JOINER: char = '\u{2060}';

/// Escapes `text` (one line) for running text and table cells. Parts in backticks become `<code>`.
///
/// Characters that mean something to Markdown are written as numeric entities, which CommonMark never takes for
/// structure.
pub(super) fn escape(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // An even number of parts means that a backtick has no partner; then none is one.
    let paired = parts.len() % 2 == 1;
    let mut escaped = String::with_capacity(text.len() * 2);
    for (index, part) in parts.iter().enumerate() {
        match (paired, index % 2 == 1) {
            (true, true) if part.is_empty() => escaped.push_str("&#96;&#96;"),
            (true, true) => {
                escaped.push_str("<code>");
                push_escaped(&mut escaped, part, Place::Code);
                escaped.push_str("</code>");
            }
            _ => {
                if !paired && index > 0 {
                    escaped.push_str("&#96;");
                }
                push_escaped(&mut escaped, part, Place::Text);
            }
        }
    }
    escaped
}

/// Escapes `text` for the inside of an HTML `<code>` element in Markdown, cut to `limit` characters. A reader who copies
/// it gets `text` back, character by character.
pub(super) fn escape_code(text: &str, limit: usize) -> String {
    let mut escaped = String::new();
    push_escaped(&mut escaped, &shortened(text, limit), Place::Code);
    escaped
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Text,
    Code,
}

fn push_escaped(escaped: &mut String, text: &str, place: Place) {
    let mut rest = text.chars().peekable();
    let mut after_www = 0;
    while let Some(character) = rest.next() {
        after_www = if character.eq_ignore_ascii_case(&'w') { after_www + 1 } else { after_www };
        match character {
            '@' | '#' => {
                push_entity(escaped, character);
                if place == Place::Text {
                    escaped.push(JOINER);
                }
            }
            '&' | '<' | '>' | '"' | '\'' | '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '|' | '~'
            | '$' | '!' => push_entity(escaped, character),
            // Without these, an address is no link.
            ':' if rest.peek() == Some(&'/') => push_entity(escaped, character),
            '.' if after_www >= 3 => push_entity(escaped, character),
            _ => escaped.push(character),
        }
        if !character.eq_ignore_ascii_case(&'w') {
            after_www = 0;
        }
    }
}

fn push_entity(escaped: &mut String, character: char) {
    escaped.push_str(&format!("&#{};", u32::from(character)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("plain words, 12.4% slower", "plain words, 12.4% slower")]
    #[case("`libcuda.so.1` not found", "<code>libcuda.so.1</code> not found")]
    #[case("odd ` tick", "odd &#96; tick")]
    #[case("a|b", "a&#124;b")]
    #[case("<b>", "&#60;b&#62;")]
    #[case("@user", "&#64;\u{2060}user")]
    #[case("#12", "&#35;\u{2060}12")]
    #[case("http://x", "http&#58;//x")]
    #[case("www.x.y", "www&#46;x.y")]
    #[case("`@a | b`", "<code>&#64;a &#124; b</code>")]
    fn escape(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(super::escape(text), expected);
    }

    #[test]
    fn code_can_be_copied() {
        let command = "trtgate gate --runtime tensorrt@8.5.3 --out '#1 *'";
        let mut copied = super::escape_code(command, 1000);
        for (entity, character) in [("&#64;", "@"), ("&#35;", "#"), ("&#39;", "'"), ("&#42;", "*")] {
            copied = copied.replace(entity, character);
        }
        assert_eq!(copied, command);
    }

    proptest! {
        #[test]
        fn nothing_structural_is_left(text in "\\PC{0,80}") {
            let escaped = super::escape(&text).replace("<code>", "").replace("</code>", "");
            prop_assert!(!escaped.contains(['<', '>', '|', '`', '*', '_', '[', ']', '@', '\\', '~']));
        }
    }
}
