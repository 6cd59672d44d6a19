//! What was found of each output of a model that has several, as every rendered form says it.

use super::layout;
use crate::findings::{CellReport, OutputFigure, OutputFinding, Report};
use crate::vocabulary::Status;

/// The worst finding of one output among the cells of a runtime and precision.
#[derive(Clone, Debug)]
pub(super) struct Line<'report> {
    /// `onnxruntime/fp16`.
    pub(super) about: String,
    /// The batch of the cell that it was found in.
    pub(super) batch: u32,
    /// The finding.
    pub(super) found: &'report OutputFinding,
}

/// Every output's worst finding, by runtime and precision. What the reference says of itself is left out, unless it fails.
pub(super) fn lines(report: &Report) -> Vec<Line<'_>> {
    let said = |cell: &&CellReport| !cell.is_reference || cell.status != Status::Pass;
    let mut lines = Vec::new();
    for group in layout::groups(report.cells.iter().filter(said)) {
        let mut names: Vec<&str> = Vec::new();
        for found in group.cells.iter().flat_map(|cell| &cell.outputs) {
            if !names.contains(&found.output.as_str()) {
                names.push(&found.output);
            }
        }
        for name in names {
            let of = |cell: &&'_ CellReport| cell.outputs.iter().position(|found| found.output == name);
            let found = group.cells.iter().filter_map(|cell| Some((cell.batch, cell.outputs.get(of(cell)?)?)));
            let worst = found.max_by(|one, other| badness(one.1).total_cmp(&badness(other.1)));
            lines.extend(worst.map(|(batch, found)| Line {
                about: format!("{}/{}", group.runtime, group.precision),
                batch,
                found,
            }));
        }
    }
    lines
}

/// How bad a finding is: failures over what was not judged over passes, then by the noise.
fn badness(found: &OutputFinding) -> f64 {
    let grade = match found.status {
        Status::Fail => 2e6,
        Status::Pass => 0.0,
        Status::Invalid | Status::Unsupported | Status::Unavailable => 1e6,
    };
    // A figure that is no number is worse than any.
    grade - if found.error.sqnr_db.is_nan() { -1e5 } else { found.error.sqnr_db.clamp(-1e5, 1e5) }
}

impl Line<'_> {
    /// What was found, without the output's name.
    pub(super) fn sentence(&self) -> &str {
        self.found.sentence()
    }
}

/// How a cell without leads stands, in a few words: how many of its outputs are as the reference's, or where it stopped.
pub(super) fn stood(cell: &CellReport) -> String {
    let count = cell.outputs.len();
    let broken: Vec<Status> =
        cell.outputs.iter().map(|found| found.status).filter(|status| *status != Status::Pass).collect();
    let failed = broken.iter().filter(|status| **status == Status::Fail).count();
    match (failed, broken.len()) {
        _ if count == 0 && cell.status == Status::Pass => String::new(),
        _ if count == 0 => format!("stopped at {}", cell.stage),
        (0, 0) if count == 1 => "its output holds".to_owned(),
        (0, 0) => format!("all {count} outputs hold"),
        (0, _) if count == 1 => "its output is not judged".to_owned(),
        (0, unjudged) => format!("{unjudged} of {count} outputs not judged"),
        _ if count == 1 => "its output fails".to_owned(),
        (1, _) => format!("1 of {count} outputs fails"),
        (failed, _) => format!("{failed} of {count} outputs fail"),
    }
}

/// `cosine 0.99998 (0.9998 allowed)`: a figure beside its limit, and whether the manifest names that.
pub(super) fn figure(figure: &OutputFigure) -> String {
    let named = if figure.named { ", named in the manifest" } else { "" };
    format!("{} {} ({} allowed{named})", figure.name, digits(figure.value), digits(figure.limit))
}

/// A figure with the digits that tell it from 1.
fn digits(value: f64) -> String {
    let rest = (1.0 - value).abs();
    if value < 1.0 && rest < 0.1 && rest > 0.0 {
        let places = usize::try_from((1.0 - rest.log10().floor()) as i64).unwrap_or(3).min(12);
        let text = format!("{value:.places$}");
        return text.trim_end_matches('0').to_owned();
    }
    crate::figure::figure(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::findings::ErrorMetrics;
    use crate::report::{html, markdown, sample, terminal};
    use crate::vocabulary::Task;

    fn finding(status: Status, detail: &str, sqnr_db: f64) -> OutputFinding {
        OutputFinding {
            output: "boxes".to_owned(),
            task: Task::Boxes,
            status,
            detail: format!("output `boxes`: {detail}"),
            figures: vec![OutputFigure { name: "iou".to_owned(), value: 0.93, limit: 0.9, named: true }],
            borderline: 2,
            confident: 0,
            error: ErrorMetrics { sqnr_db, ..ErrorMetrics::default() },
            shown: None,
        }
    }

    fn report() -> Report {
        let mut report = sample::cpu_only();
        let details = [("IoU 0.95 and <more>", 60.0), ("IoU 0.93 and <more>", 50.0)];
        let fp16 = report.cells.iter_mut().filter(|cell| cell.id().to_string().starts_with("onnxruntime/fp16"));
        for (cell, (detail, noise)) in fp16.zip(details) {
            cell.outputs = vec![finding(Status::Pass, detail, noise)];
        }
        report
    }

    #[test]
    fn the_worst_of_each_output_is_said_in_every_form() {
        let report = report();
        let lines = lines(&report);
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].about.as_str(), lines[0].sentence()), ("onnxruntime/fp16", "IoU 0.93 and <more>"));
        let table = terminal::render(&report, terminal::Style::default());
        assert!(table.contains("boxes   boxes: IoU 0.93 and <more>"), "{table}");
        let comment = markdown::render(&report);
        assert!(
            comment.contains("| <code>boxes</code> | boxes | <code>onnxruntime/fp16</code> |")
                && comment.contains("2 borderline"),
            "{comment}"
        );
        let page = html::render(&report);
        assert!(
            page.contains("iou 0.93 (0.9 allowed, named in the manifest)")
                && page.contains("IoU 0.95 and &lt;more&gt;")
        );
        // A pass is no stage at which anything ended.
        let mut by_task = report.clone();
        by_task.cells.iter_mut().for_each(|cell| cell.leads = None);
        for text in [html::render(&by_task), markdown::render(&by_task)] {
            assert!(text.contains("its output holds") && !text.contains("at compare"), "{text}");
        }
        assert!(!comment.contains("<more>") && !page.contains("<more>"));
    }

    #[test]
    fn a_failure_is_worse_than_any_noise() {
        let mut report = report();
        report.cells[0].outputs.clear();
        let cell = report.cells.iter_mut().find(|cell| !cell.outputs.is_empty()).unwrap();
        cell.outputs = vec![finding(Status::Fail, "a box is missing", 120.0)];
        assert_eq!(lines(&report)[0].sentence(), "a box is missing");
        let invalid = finding(Status::Invalid, "nothing was judged", 999.0);
        assert!(badness(&invalid) > badness(&finding(Status::Pass, "", f64::NEG_INFINITY)));
        assert!(badness(&finding(Status::Pass, "", f64::NAN)) > badness(&finding(Status::Pass, "", 0.0)));
    }

    #[test]
    fn cells_of_several_outputs_say_how_many_hold() {
        let mut cell = report().cells.into_iter().find(|cell| !cell.outputs.is_empty()).unwrap();
        assert_eq!(stood(&cell), "its output holds");
        cell.outputs.push(finding(Status::Pass, "", 40.0));
        assert_eq!(stood(&cell), "all 2 outputs hold");
        cell.outputs.push(finding(Status::Invalid, "", 40.0));
        assert_eq!(stood(&cell), "1 of 3 outputs not judged");
        cell.outputs.push(finding(Status::Fail, "", 40.0));
        assert_eq!(stood(&cell), "1 of 4 outputs fails");
        cell.outputs.push(finding(Status::Fail, "", 40.0));
        assert_eq!(stood(&cell), "2 of 5 outputs fail");
        for (status, words) in [(Status::Fail, "its output fails"), (Status::Invalid, "its output is not judged")] {
            cell.outputs = vec![finding(status, "", 40.0)];
            assert_eq!(stood(&cell), words);
        }
        cell.outputs.clear();
        // A pass stopped nowhere.
        assert_eq!((cell.status, stood(&cell).as_str()), (Status::Pass, ""));
        cell.status = Status::Invalid;
        assert_eq!(stood(&cell), format!("stopped at {}", cell.stage));
    }

    /// The reference beside itself is no finding.
    #[test]
    fn what_the_reference_says_of_itself_is_left_out() {
        let mut report = report();
        report.cells.iter_mut().filter(|cell| !cell.outputs.is_empty()).for_each(|cell| cell.is_reference = true);
        assert!(lines(&report).is_empty());
    }

    #[rstest]
    #[case(0.999_812, "0.99981")]
    #[case(1.0, "1")]
    #[case(0.93, "0.93")]
    #[case(0.000_12, "1.2e-4")]
    #[case(0.999_999_9, "0.9999999")]
    #[case(f64::NAN, "NaN")]
    fn figures_near_one_are_told_from_it(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(digits(value), expected);
    }
}
