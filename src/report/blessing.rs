//! A blessing for its reviewer, as Markdown and JSON.

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::findings::blessing::{BlessedFlip, BlessingReport, Counted, NEAR_TIE};
use crate::findings::verdict::plural;
use crate::report::figures;
use crate::report::markdown_text::{escape, escape_code};

/// Most changed answers that are listed one by one: a page of them, and what is left is counted.
const LISTED: usize = 40;

/// As JSON, with a final newline.
///
/// # Errors
/// `Failed` when a value has no form in JSON.
pub fn to_json(report: &BlessingReport) -> Result<String> {
    let mut text = serde_json::to_string_pretty(report)
        .map_err(|source| Error::failed("cannot write the blessing as JSON").because(source))?;
    text.push('\n');
    Ok(text)
}

/// As Markdown, for a pull request's description or comment.
pub fn markdown(report: &BlessingReport) -> String {
    let mut text = String::new();
    let state = if report.stored { "blessed" } else { "not stored" };
    let _ = writeln!(text, "### <code>{}</code>: {} {state}\n", escape_code(&report.model, 80), report.what);
    let _ = writeln!(text, "> {}\n", escape(&one_line(&report.reason)));
    for doubt in &report.doubts {
        let _ = writeln!(text, "- **against it:** {}", escape(&one_line(doubt)));
    }
    if !report.doubts.is_empty() {
        text.push('\n');
    }
    let rows = rows(report);
    if !rows.is_empty() {
        text.push_str("| | before | now |\n|---|---|---|\n");
        for [what, before, now] in &rows {
            let _ = writeln!(text, "| {what} | {before} | {now} |");
        }
        text.push('\n');
    }
    for line in &report.lines {
        let _ = writeln!(text, "- {}", escape(&one_line(line)));
    }
    for output in report.outputs.iter().filter(|output| !output.flips.is_empty()) {
        let near = output.flips.iter().filter(|flip| flip.near_tie).count();
        let _ = writeln!(
            text,
            "\n<details><summary>{} of {} answers of <code>{}</code> changed: {} confident, {} near a tie</summary>\n",
            output.flips.len(),
            output.probes,
            escape_code(&output.name, 80),
            output.flips.len() - near,
            near
        );
        let _ = writeln!(
            text,
            "Near a tie: the answer before led its best rival by at most {NEAR_TIE} of a typical lead on ordinary inputs.\n"
        );
        text.push_str("| probe | before | now | lead before | |\n|---:|---|---|---:|---|\n");
        let mut flips: Vec<&BlessedFlip> = output.flips.iter().collect();
        // The surest first: they are what a reviewer looks at.
        flips.sort_by(|one, other| other.lead.total_cmp(&one.lead));
        for flip in flips.iter().take(LISTED) {
            let (before, now) = (class(report, flip.before), class(report, flip.now));
            let kind = if flip.near_tie { "near a tie" } else { "confident" };
            let _ = writeln!(text, "| {} | {before} | {now} | {:.2} | {kind} |", flip.probe, flip.lead);
        }
        if let Some(more) = flips.len().checked_sub(LISTED).filter(|&more| more > 0) {
            let _ = writeln!(text, "\n… and {more} more.");
        }
        text.push_str("\n</details>\n");
    }
    text
}

/// What was, and what is.
fn rows(report: &BlessingReport) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let before = report.before.as_ref();
    if !report.model_sha256.is_empty() {
        let was = before.map_or_else(|| "–".to_owned(), |before| digest(&before.model_sha256));
        rows.push(["model".to_owned(), was, digest(&report.model_sha256)]);
    }
    let was = before.and_then(|before| before.accuracy);
    if was.is_some() || report.accuracy.is_some() {
        rows.push(["accuracy".to_owned(), share(was), share(report.accuracy)]);
    }
    for artifact in &report.artifacts {
        let batch = artifact.batch.map(|batch| format!(" × {batch}")).unwrap_or_default();
        let file = |file: &crate::findings::blessing::FileFacts| {
            format!("{} {}", figures::bytes(file.bytes), digest(&file.sha256))
        };
        let was = artifact.before.as_ref().map_or_else(|| "–".to_owned(), file);
        let missing = || artifact.missing.as_deref().map_or_else(|| "–".to_owned(), |why| escape(&one_line(why)));
        let now = artifact.now.as_ref().map_or_else(missing, file);
        rows.push([format!("{}{batch}", artifact.kind), was, now]);
    }
    for figure in &report.figures {
        let shown = |value: f64| match figure.unit.as_str() {
            "bytes" => figures::bytes(value as u64),
            unit => format!("{} {unit}", crate::figure::figure(value)).trim_end().to_owned(),
        };
        let change = figure.before.filter(|&before| before > 0.0).map(|before| (figure.now / before - 1.0) * 100.0);
        let change = change.map(|change| format!(" ({change:+.1} %)")).unwrap_or_default();
        let was = figure.before.map_or_else(|| "–".to_owned(), shown);
        rows.push([escape(&figure.subject), was, format!("{}{change}", shown(figure.now))]);
    }
    rows
}

fn share(counted: Option<Counted>) -> String {
    match counted {
        Some(Counted { samples, correct }) if samples > 0 => {
            format!("{:.2} % ({correct} of {})", 100.0 * correct as f64 / samples as f64, plural(samples, "sample"))
        }
        _ => "–".to_owned(),
    }
}

fn digest(sha256: &str) -> String {
    format!("<code>{}</code>", escape_code(&sha256.chars().take(12).collect::<String>(), 12))
}

fn class(report: &BlessingReport, class: usize) -> String {
    match report.classes.get(class) {
        Some(name) => format!("{class} {}", escape(&one_line(name))),
        None => class.to_string(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::findings::blessing::{
        BLESSING_SCHEMA, BlessedArtifact, BlessedBefore, BlessedFigure, BlessedOutput, FileFacts,
    };
    use crate::vocabulary::ArtifactKind;

    fn report() -> BlessingReport {
        let flip = |probe, lead: f64| BlessedFlip { probe, before: 3, now: 1, lead, near_tie: lead <= NEAR_TIE };
        BlessingReport {
            schema: BLESSING_SCHEMA.to_owned(),
            model: "digits".to_owned(),
            reason: "retrained | with <mixup>\nby the team".to_owned(),
            stored: true,
            what: "golden".to_owned(),
            model_sha256: "b".repeat(64),
            before: Some(BlessedBefore {
                model_sha256: "a".repeat(64),
                created: "2026-11-01T00:00:00Z".to_owned(),
                reason: "first".to_owned(),
                accuracy: Some(Counted { samples: 200, correct: 180 }),
            }),
            lines: vec!["answers: 2 changed".to_owned()],
            outputs: vec![BlessedOutput {
                name: "logits".to_owned(),
                probes: 256,
                max_abs: 1.5,
                mean_abs: 0.25,
                flips: vec![flip(4, 0.05), flip(9, 1.25)],
                finding: None,
            }],
            accuracy: Some(Counted { samples: 200, correct: 190 }),
            artifacts: vec![
                BlessedArtifact {
                    kind: ArtifactKind::OnnxFp32,
                    batch: None,
                    before: Some(FileFacts { sha256: "1".repeat(64), bytes: 1_000_000 }),
                    now: Some(FileFacts { sha256: "2".repeat(64), bytes: 1_500_000 }),
                    missing: None,
                },
                BlessedArtifact {
                    kind: ArtifactKind::TfliteInt8,
                    batch: Some(8),
                    before: None,
                    now: None,
                    missing: Some("no converter".to_owned()),
                },
            ],
            figures: vec![BlessedFigure {
                subject: "onnxruntime/fp32/batch-32".to_owned(),
                unit: "samples/s".to_owned(),
                before: Some(1000.0),
                now: 1100.0,
            }],
            doubts: Vec::new(),
            classes: vec!["zero".to_owned(), "one".to_owned()],
        }
    }

    #[test]
    fn a_reviewer_sees_both_sides() {
        insta::assert_snapshot!(markdown(&report()), @r"
        ### <code>digits</code>: golden blessed

        > retrained &#124; with &#60;mixup&#62; by the team

        | | before | now |
        |---|---|---|
        | model | <code>aaaaaaaaaaaa</code> | <code>bbbbbbbbbbbb</code> |
        | accuracy | 90.00 % (180 of 200 samples) | 95.00 % (190 of 200 samples) |
        | onnx-fp32 | 1.0 MB <code>111111111111</code> | 1.5 MB <code>222222222222</code> |
        | tflite-int8 × 8 | – | no converter |
        | onnxruntime/fp32/batch-32 | 1000 samples/s | 1100 samples/s (+10.0 %) |

        - answers: 2 changed

        <details><summary>2 of 256 answers of <code>logits</code> changed: 1 confident, 1 near a tie</summary>

        Near a tie: the answer before led its best rival by at most 0.1 of a typical lead on ordinary inputs.

        | probe | before | now | lead before | |
        |---:|---|---|---:|---|
        | 9 | 3 | 1 one | 1.25 | confident |
        | 4 | 3 | 1 one | 0.05 | near a tie |

        </details>
        ");
    }

    #[test]
    fn it_reads_back_and_a_long_list_is_cut() {
        let mut report = report();
        let text = to_json(&report).unwrap();
        assert_eq!(serde_json::from_str::<BlessingReport>(&text).unwrap(), report);
        let flip = report.outputs[0].flips[0];
        report.outputs[0].flips = vec![flip; 1000];
        report.doubts = vec!["nothing was\ncompared".to_owned()];
        let text = markdown(&report);
        assert!(text.contains("… and 960 more.") && text.len() < 8_000, "{}", text.len());
        assert!(text.contains("- **against it:** nothing was compared"));
    }
}
