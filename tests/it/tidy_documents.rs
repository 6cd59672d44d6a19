//! Documents say what the program says.

use std::fs;

use proc_macro2::{TokenStream, TokenTree};

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

/// Runs of words that do not depend on the model or the machine, without their punctuation.
fn fixed(message: &str) -> Vec<Vec<String>> {
    let varies = |word: &str| word.contains(|character: char| character.is_ascii_digit() || "`…×".contains(character));
    let mut runs = vec![Vec::new()];
    for word in message.split_whitespace() {
        match (varies(word), runs.last_mut()) {
            (false, Some(run)) => run.push(plain(word)),
            _ => runs.push(Vec::new()),
        }
    }
    runs
}

/// A text without punctuation, its words a space apart.
fn plain(text: &str) -> String {
    let bare = |word: &str| word.trim_matches(|character: char| ".,;:()".contains(character)).to_owned();
    text.split_whitespace().map(bare).collect::<Vec<_>>().join(" ")
}

/// The values of a source's strings but those of attributes, which comments are too.
fn strings(tokens: TokenStream, into: &mut Vec<String>) {
    let mut attribute = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) if !attribute => strings(group.stream(), into),
            TokenTree::Literal(literal) => {
                into.extend(syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|text| plain(&text.value())));
            }
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                attribute = true;
                continue;
            }
            // Of a module: `#![…]`.
            TokenTree::Punct(mark) if mark.as_char() == '!' && attribute => continue,
            _ => {}
        }
        attribute = false;
    }
}

/// Whether `run` is made of strings: of two at most, and of two words at most that the program fills in. It counts things by their
/// singular.
fn is_told(run: &[String], strings: &[String]) -> bool {
    let (mut at, mut pieces, mut filled) = (0, 0, 0);
    while at < run.len() {
        let told = |end: &usize| {
            let words = run[at..*end].join(" ");
            let one = words.strip_suffix('s').unwrap_or(&words);
            strings.iter().any(|text| text.contains(one))
        };
        match (at + 2..=run.len()).rev().find(told) {
            Some(end) => (at, pieces) = (end, pieces + 1),
            None => (at, filled) = (at + 1, filled + 1),
        }
    }
    (1..=2).contains(&pieces) && filled <= 2
}

#[test]
fn messages_that_troubleshooting_quotes_are_the_programs() {
    let text = fs::read_to_string("docs/troubleshooting.md").unwrap();
    // Reports that are made up for pictures say what they like.
    let says = |name: &str| name.starts_with("src/") && !name.contains("tests") && !name.contains("/sample");
    let mut told = Vec::new();
    for (_, source) in rust().into_iter().filter(|(name, _)| says(name)) {
        strings(source.parse().unwrap(), &mut told);
    }
    let (mut looked_at, mut unknown) = (0, Vec::new());
    for line in text.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cell = line.split(" | ").next().unwrap();
        for message in
            spans(cell).into_iter().filter(|message| !OF_OTHERS.iter().any(|other| message.starts_with(other)))
        {
            let runs: Vec<Vec<String>> = fixed(&message).into_iter().filter(|run| run.len() >= 3).collect();
            looked_at += usize::from(!runs.is_empty());
            unknown.extend(runs.into_iter().filter(|run| !is_told(run, &told)).map(|run| (message.clone(), run)));
        }
    }
    assert!(unknown.is_empty(), "no message of the program says: {unknown:#?}");
    assert!(looked_at > 20, "{looked_at}");
}

#[test]
fn a_message_that_is_half_right_is_not_the_programs() {
    let words = |text: &str| plain(text).split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut told = Vec::new();
    let source = r#"/// the moon is made of cheese
        fn f() { say("the worker died by {signal} ({what}, by hand \
            or out of memory)"); say!("and no golden is stored"); count("planned cell"); }"#;
    strings(source.parse().unwrap(), &mut told);
    for right in [
        "the worker died by",
        "SIGKILL, by hand or out of memory) after",
        "by hand and no golden is stored",
        "planned cells could",
    ] {
        assert!(is_told(&words(right), &told), "{right}: {told:?}");
    }
    for wrong in ["the worker died of hunger and thirst", "the moon is made of cheese", "no golden was ever stored"] {
        assert!(!is_told(&words(wrong), &told), "{wrong}");
    }
}

/// Whether `test`, a file and a function in it, is a test.
fn is_test(test: &str) -> bool {
    let (file, name) = test.split_once("::").unwrap();
    let source = fs::read_to_string(file).unwrap_or_default();
    // With its attribute above, and whatever cases it has.
    let before = source.split(&format!("fn {name}(")).next().filter(|before| before.len() < source.len());
    let block = before.and_then(|before| before.rsplit("\n\n").next()).unwrap_or_default();
    block.contains("#[test]") || block.contains("#[rstest]")
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
        missing.extend(tests.into_iter().filter(|test| !is_test(test)));
        shown.push(number.to_owned());
    }
    assert!(missing.is_empty(), "no such test: {missing:#?}");
    assert_eq!(shown, (1..=23).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_holds_an_acceptance_of_adoption_is_there() {
    let text = fs::read_to_string("CONTRIBUTING.md").unwrap();
    let part = text.split("\n## ").find(|part| part.starts_with("What a new user must be able to do")).unwrap();
    let rows: Vec<&str> = part.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")).collect();
    assert_eq!(rows.len(), 10, "{rows:#?}");
    for row in rows {
        let held = spans(row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap());
        assert!(!held.is_empty(), "{row}");
        for name in held {
            assert!(if name.contains("::") { is_test(&name) } else { fs::exists(&name).unwrap() }, "`{name}`");
        }
    }
}
