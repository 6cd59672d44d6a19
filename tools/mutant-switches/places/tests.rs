#![allow(clippy::expect_used, clippy::unwrap_used)]

use super::*;
use crate::edits::apply;

/// The source with one mutant: `genre` of `text`, which stands in `source` once.
fn mutated(source: &str, text: &str, genre: &str, replacement: &str) -> Result<String, String> {
    let start = source.find(text).expect("the text is there");
    let point = |byte: usize| {
        let before = &source[..byte];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Point { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    };
    let mutant = Mutant {
        number: 1,
        file: String::new(),
        span: Span { start: point(start), end: point(start + text.len()) },
        replacement: replacement.to_owned(),
        genre: genre.to_owned(),
    };
    let found = switched(source, &[&mutant]).expect("a source");
    if let Some((_, reason)) = found.refused.into_iter().next() {
        return Err(reason);
    }
    let (text, _) = apply(source, found.edits);
    syn::parse_file(&text).expect("still a source");
    Ok(text.replace("crate::mutant_switch::active(1)", "ON"))
}

fn operator(expression: &str, from: &str, to: &str) -> Result<String, String> {
    let changed = mutated(&format!("fn f() {{ {expression}; }}"), from, "BinaryOperator", to)?;
    Ok(changed.trim_start_matches("fn f() { ").trim_end_matches("; }").to_owned())
}

#[test]
fn an_operator_takes_the_smallest_expression_that_is_read_alike() {
    let cases = [
        // The others bind tighter, or looser than both.
        ("a * b + c == d", "+", "-", "(if ON { (a * b - c) } else { (a * b + c) }) == d"),
        ("a + b * c", "*", "/", "a + (if ON { (b / c) } else { (b * c) })"),
        ("x && a < b", "<", "==", "x && (if ON { (a == b) } else { (a < b) })"),
        ("f(a - b) * 2", "-", "+", "f((if ON { (a + b) } else { (a - b) })) * 2"),
        ("(a - b) * 2", "-", "+", "((if ON { (a + b) } else { (a - b) })) * 2"),
        // `a - b * c` is `(a - b) + c` with another operator there.
        ("a - b * c", "*", "+", "(if ON { (a - b + c) } else { (a - b * c) })"),
        ("a && b || c && d", "||", "&&", "(if ON { (a && b && c && d) } else { (a && b || c && d) })"),
        ("a += b", "+=", "-=", "(if ON { (a -= b) } else { (a += b) })"),
        ("if let Some(x) = y && x < z {}", "<", ">", "if let Some(x) = y && (if ON { (x > z) } else { (x < z) }) {}"),
    ];
    for (expression, from, to, expected) in cases {
        assert_eq!(operator(expression, from, to).as_deref(), Ok(expected));
    }
}

#[test]
fn what_no_switch_can_express_is_refused() {
    assert!(operator("if let Some(x) = y && z {}", "&&", "||").unwrap_err().contains("`let`"));
    assert!(operator("(a < b) == c", "==", "!").unwrap_err().contains("no operator"));
    assert!(operator("a as u8 > b", ">", "<").unwrap_err().contains("no expression"));
    assert!(mutated("fn f() { g!(a + b) }", "+", "BinaryOperator", "-").unwrap_err().contains("stands there"));
}

#[test]
fn the_other_kinds_have_their_place() {
    let cases = [
        ("fn f() -> u8 { g(); 3 }", "g(); 3", "FnValue", "1", "fn f() -> u8 { if ON { return 1; } g(); 3 }"),
        ("fn f() { g(!a.b) }", "!", "UnaryOperator", "", "fn f() { g((if ON { (a.b) } else { (!a.b) })) }"),
        (
            "fn f() { match a { 1 | 2 => b, _ => c } }",
            "1 | 2 => b,",
            "MatchArm",
            "",
            "fn f() { match a { 1 | 2 if !ON => b, _ => c } }",
        ),
        (
            "fn f() { match a { 1 if b && d => b, _ => c } }",
            "b && d",
            "MatchArmGuard",
            "true",
            "fn f() { match a { 1 if (if ON { (true) } else { (b && d) }) => b, _ => c } }",
        ),
        (
            "fn f() { A { b: 1, ..c }.d() }",
            "b: 1,",
            "StructField",
            "",
            "fn f() { (if ON { (A {  ..c }) } else { (A { b: 1, ..c }) }).d() }",
        ),
    ];
    for (source, text, genre, replacement, expected) in cases {
        assert_eq!(mutated(source, text, genre, replacement).as_deref(), Ok(expected));
    }
}

#[test]
fn columns_are_characters() {
    let source = "fn f() {\n    g(\"öü\", a + b)\n}\n";
    let expected = "fn f() {\n    g(\"öü\", (if ON { (a - b) } else { (a + b) }))\n}\n";
    assert_eq!(mutated(source, "+", "BinaryOperator", "-").as_deref(), Ok(expected));
}

#[test]
fn a_place_that_the_source_does_not_have_is_an_error() {
    let point = Point { line: 3, column: 1 };
    assert!(range("fn f() {}\n", Span { start: point, end: point }).is_err());
}
