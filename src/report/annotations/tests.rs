#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::Value;

use super::*;
use crate::findings::verdict::Requirements;
use crate::report::{markdown, sample, terminal};
use crate::vocabulary::{CellId, RuntimeId, Stage, Verdict};

/// Twenty cells that fail for one cause.
fn twenty() -> Report {
    let mut report = sample::passing();
    let cell = report.cells[0].clone();
    report.cells.clear();
    report.cross.clear();
    report.requirements = Requirements::default();
    for precision in ["fp32", "fp16", "int8", "tf32", "fp16-flag"] {
        for batch in [1, 8, 16, 32] {
            let id = CellId { batch, precision: precision.parse().unwrap(), ..cell.id() };
            let replay = format!("trtgate gate --runtime {} --precision {precision} --batch {batch}", id.runtime);
            let mut cell = CellReport::new(&id, replay);
            (cell.status, cell.stage) = (Status::Invalid, Stage::Convert);
            cell.reason = Some("the converter failed: 50%\nTraceback\n  at line 1\n  at line 2".to_owned());
            cell.hint = Some("look at the export".to_owned());
            report.cells.push(cell);
        }
    }
    report.manifest = Some(ManifestPlaces {
        file: "nets/gate.toml".to_owned(),
        model: 3,
        require: Some(40),
        cells: [("onnxruntime".to_owned(), 21), (format!("{}/fp32", cell.runtime.library), 22)].into(),
    });
    report.judge();
    report
}

#[test]
fn one_cause_of_twenty_cells_is_told_once() {
    let report = twenty();
    assert_eq!(report.verdict, Verdict::Incomplete);
    let found = annotations(&report);
    assert_eq!((found.len(), found[0].cells.len(), found[0].line), (1, 20, 22));
    let text = github(&report);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("::error file=nets/gate.toml,line=22,title="), "{text}");
    assert!(text.contains("the converter failed%3A") || text.contains("the converter failed: 50%25"), "{text}");
    for quiet in [false, true] {
        let shown = terminal::render(&report, terminal::Style { quiet, ..terminal::Style::default() });
        assert!(shown.lines().count() <= 40, "{} lines:\n{shown}", shown.lines().count());
    }
    assert!(markdown::render(&report).lines().count() <= 80);
}

#[test]
fn nothing_in_a_message_is_obeyed() {
    let mut report = twenty();
    for cell in &mut report.cells {
        cell.reason = Some("a\r\n::error::injected\u{1b}[31m 100% \u{202e}".to_owned());
        cell.runtime = RuntimeId::unversioned(cell.runtime.library);
        cell.hint = Some("x,y::z".to_owned());
    }
    let text = github(&report);
    assert_eq!(text.lines().filter(|line| line.starts_with("::")).count(), text.lines().count());
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\r'), "{text:?}");
    assert!(!text.contains("\n::error::injected"), "{text:?}");
}

#[test]
fn what_github_would_not_show_is_counted() {
    let mut report = twenty();
    for (number, cell) in report.cells.iter_mut().enumerate() {
        cell.reason = Some(format!("cause {number}"));
    }
    let text = github(&report);
    assert_eq!(text.lines().count(), 10, "{text}");
    assert!(text.lines().last().unwrap().ends_with("11 causes more: the job summary has all"), "{text}");
    assert_eq!(annotations(&report).len(), 20);
}

#[test]
fn requirements_stand_at_their_section_and_a_pass_says_nothing() {
    let mut report = twenty();
    report.cells.truncate(1);
    report.requirements.runtimes = vec!["tensorrt@8.5".parse().unwrap()];
    report.judge();
    let of_run: Vec<_> = annotations(&report).into_iter().filter(|one| one.cells.is_empty()).collect();
    assert!(of_run.iter().any(|one| one.line == 40 && one.message.contains("tensorrt@8.5")), "{of_run:?}");
    let mut passing = sample::passing();
    passing.cells.iter_mut().for_each(|cell| cell.warnings.clear());
    assert_eq!(github(&passing), "");
}

#[test]
fn warnings_do_not_fail_and_are_joined() {
    let mut report = sample::passing();
    for cell in &mut report.cells {
        cell.warnings = match cell.status {
            Status::Pass => vec!["near its limit".to_owned()],
            _ => Vec::new(),
        };
    }
    let text = github(&report);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("::warning file=gate.toml,line=1,"), "{text}");
}

#[test]
fn sarif_and_code_quality_name_file_line_and_cells() {
    let report = twenty();
    let log: Value = serde_json::from_str(&sarif(&report).unwrap()).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "cell-invalid");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(
        (&place["artifactLocation"]["uri"], &place["region"]["startLine"]),
        (&"nets/gate.toml".into(), &22.into())
    );
    assert_eq!(result["locations"][0]["logicalLocations"].as_array().unwrap().len(), 20);
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], false);
    let issues: Value = serde_json::from_str(&code_quality(&report).unwrap()).unwrap();
    assert_eq!((&issues[0]["severity"], &issues[0]["location"]["lines"]["begin"]), (&"critical".into(), &22.into()));
    // Another figure in the message is the same issue.
    let mut moved = report;
    moved.cells.iter_mut().for_each(|cell| cell.reason = Some("the converter failed: 51%".to_owned()));
    let again: Value = serde_json::from_str(&code_quality(&moved).unwrap()).unwrap();
    assert_eq!(again[0]["fingerprint"], issues[0]["fingerprint"]);
}
