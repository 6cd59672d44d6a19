//! Documents say what the program says.

use std::fs;

use crate::tidy::rust;

/// What a library, not this program, says.
const OF_OTHERS: [&str; 2] = ["invalid value", "gate.toml:29: unknown field"];

/// The code spans of a line of Markdown.
fn spans(line: &str) -> Vec<String> {
    let mut spans = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let fence: String = rest[start..].chars().take_while(|character| *character == '`').collect();
        let after = &rest[start + fence.len()..];
        let Some(end) = after.find(&fence) else { break };
        spans.push(after[..end].trim().to_owned());
        rest = &after[end + fence.len()..];
    }
    spans
}

/// Three words in a row that do not depend on the model or the machine.
fn fixed(message: &str) -> Vec<String> {
    let words: Vec<&str> = message.split_whitespace().collect();
    let is_fixed =
        |word: &&str| !word.contains(|character: char| character.is_ascii_digit() || "`…".contains(character));
    words.windows(3).filter(|window| window.iter().all(is_fixed)).map(|window| window.join(" ")).collect()
}

#[test]
fn messages_that_troubleshooting_quotes_are_the_programs() {
    let text = fs::read_to_string("docs/troubleshooting.md").unwrap();
    // Reports that are made up for pictures say what they like.
    let says = |name: &str| name.starts_with("src/") && !name.contains("tests") && !name.contains("/sample");
    let sources: Vec<String> = rust().into_iter().filter(|(name, _)| says(name)).map(|(_, source)| source).collect();
    let told = |words: &String| sources.iter().any(|source| source.contains(words));
    let (mut looked_at, mut unknown) = (0, Vec::new());
    for line in text.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cell = line.split(" | ").next().unwrap();
        for message in
            spans(cell).into_iter().filter(|message| !OF_OTHERS.iter().any(|other| message.starts_with(other)))
        {
            let words = fixed(&message);
            looked_at += usize::from(!words.is_empty());
            if !words.is_empty() && !words.iter().any(told) {
                unknown.push(message);
            }
        }
    }
    assert!(unknown.is_empty(), "no message of the program says: {unknown:#?}");
    assert!(looked_at > 20, "{looked_at}");
}

/// The acceptance checks of served models, each with tests that are there.
#[test]
fn tests_that_show_the_acceptance_checks_are_there() {
    let text = fs::read_to_string("docs/triton.md").unwrap();
    let mut shown: Vec<String> = Vec::new();
    let mut missing = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("| A")) {
        let (number, rest) = line.split_once(" | ").unwrap();
        let tests: Vec<String> = spans(rest).into_iter().filter(|span| span.contains(".rs::")).collect();
        assert!(!tests.is_empty(), "nothing shows A{number}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap();
            let source = fs::read_to_string(file).unwrap_or_default();
            // With its attribute above, and whatever cases it has.
            let before = source.split(&format!("\nfn {name}(")).next().filter(|before| before.len() < source.len());
            let block = before.and_then(|before| before.rsplit("\n\n").next()).unwrap_or_default();
            if !block.contains("#[test]") && !block.contains("#[rstest]") {
                missing.push(test);
            }
        }
        shown.push(number.to_owned());
    }
    assert!(missing.is_empty(), "no such test: {missing:#?}");
    assert_eq!(shown, (1..=23).map(|number| number.to_string()).collect::<Vec<_>>());
}
