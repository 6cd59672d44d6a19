//! The kept fixtures: five reports, their pages, and the Markdown of the failing one, regenerated and compared.
//!
//! `UPDATE_FIXTURES=1 cargo test --lib report::fixtures` writes them anew after an intended change.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use rstest::rstest;

use crate::findings::Report;
use crate::report::{file, html, markdown, sample};

/// Holds `text` to the fixture `name`, or writes it when that is asked for.
fn hold(name: &str, text: &str) {
    let path = Path::new("tests/fixtures/reports").join(name);
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        file::write_text(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = kept.lines().zip(text.lines()).position(|(kept, made)| kept != made);
    assert!(
        kept == text,
        "`{name}` differs from line {} on; run with UPDATE_FIXTURES=1 if that is meant",
        difference.unwrap_or_else(|| kept.lines().count().min(text.lines().count())) + 1
    );
}

#[rstest]
#[case("passing", sample::passing())]
#[case("failing", sample::failing())]
#[case("cpu-only", sample::cpu_only())]
#[case("tasks", sample::tasks())]
#[case("versions", sample::versions())]
fn a_report_and_its_page_are_kept(#[case] name: &str, #[case] report: Report) {
    hold(&format!("{name}.json"), &file::to_json(&report).unwrap());
    hold(&format!("{name}.html"), &html::render(&report));
}

#[test]
fn the_markdown_of_the_failing_run_is_kept() {
    hold("failing.md", &markdown::render(&sample::failing()));
}

#[test]
fn notes_are_told_and_decide_nothing() {
    let mut report = sample::passing();
    report.notes = vec!["probes: no probe is answered with 1 of 10 classes: 7 (`horse`)".to_owned()];
    let text = super::terminal::render(&report, super::terminal::Style::default());
    assert!(
        text.contains("note    probes: no probe is answered with 1 of 10 classes") && text.contains("PASS"),
        "{text}"
    );
    assert!(
        !super::terminal::render(&report, super::terminal::Style { quiet: true, ..Default::default() })
            .contains("note")
    );
    report.judge();
    assert_eq!(report.verdict, crate::vocabulary::Verdict::Pass);
    for text in [super::markdown::render(&report), super::html::render(&report)] {
        assert!(text.contains("no probe is answered with 1 of 10 classes"), "{text}");
    }
}
