//! A report beside the lines of the manifest: GitHub's annotations, SARIF, GitLab's code quality. One cause is told once.

use std::fmt::Write as _;

use serde::Serialize;

use crate::console::harmless;
use crate::digest::digest_bytes;
use crate::error::{Error, Result};
use crate::findings::places::ManifestPlaces;
use crate::findings::verdict::{self, plural};
use crate::findings::{CellReport, Report};
use crate::report::layout;
use crate::report::sarif::{Found, RuleText, log};
use crate::report::text::{sentence_and_excerpt, shortened};
use crate::vocabulary::Status;

/// Most annotations of a kind: GitHub shows ten a step.
const MOST: usize = 10;
/// Longest message of one, characters.
const LONGEST: usize = 2_000;

/// How grave something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It failed.
    Failed,
    /// It could not be judged.
    Invalid,
    /// To be looked at.
    Warning,
}

/// One thing to tell beside a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// How grave it is.
    pub level: Level,
    /// The manifest.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What it is about, in a few words.
    pub title: String,
    /// What is wrong and how to see it again.
    pub message: String,
    /// The cells that it is told of.
    pub cells: Vec<String>,
}

/// Everything that keeps `report` from a pass, each cause once, and its warnings; the gravest first.
pub fn annotations(report: &Report) -> Vec<Annotation> {
    let unknown = ManifestPlaces { file: "gate.toml".to_owned(), model: 1, ..ManifestPlaces::default() };
    let places = report.manifest.as_ref().unwrap_or(&unknown);
    let line = |cell: &CellReport| places.of(cell.runtime.library.as_str(), cell.precision.as_str());
    let mut found = Vec::new();
    for group in layout::troubles(report) {
        let Some(first) = group.first() else { continue };
        let level = if first.status == Status::Fail { Level::Failed } else { Level::Invalid };
        let (sentence, _) = sentence_and_excerpt(first.reason.as_deref().unwrap_or("no reason is given"));
        let hint = first.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        found.push(Annotation {
            level,
            file: places.file.clone(),
            line: line(first),
            title: layout::extents(&group).join("; "),
            message: shortened_lines(&format!("{}: {sentence}{hint}\nreplay: {}", first.stage, first.replay)),
            cells: group.iter().map(|cell| cell.id().to_string()).collect(),
        });
    }
    let untold = report.reasons.iter().filter(|reason| !verdict::is_told_by_cells(reason));
    let rules = report.cross.iter().filter(|rule| rule.gating && matches!(rule.status, Status::Fail | Status::Invalid));
    let of_rules = rules.map(|rule| (rule.status == Status::Fail, rule.name.clone(), rule.detail.clone()));
    let of_run = untold.map(|reason| (false, "incomplete".to_owned(), reason.clone()));
    for (failed, title, message) in of_rules.chain(of_run) {
        let required = message.starts_with("required runtime") || message.contains("is required");
        found.push(Annotation {
            level: if failed { Level::Failed } else { Level::Invalid },
            file: places.file.clone(),
            line: places.require.filter(|_| required).unwrap_or(places.model).max(1),
            title,
            message: shortened_lines(&message),
            cells: Vec::new(),
        });
    }
    for cell in report.cells.iter().filter(|cell| cell.status == Status::Pass) {
        for warning in &cell.warnings {
            let known = found.iter_mut().find(|known| known.level == Level::Warning && known.message == *warning);
            match known {
                Some(known) => known.cells.push(cell.id().to_string()),
                None => found.push(Annotation {
                    level: Level::Warning,
                    file: places.file.clone(),
                    line: line(cell),
                    title: format!("{} · {}", cell.runtime, cell.precision),
                    message: warning.clone(),
                    cells: vec![cell.id().to_string()],
                }),
            }
        }
    }
    // The sort is stable: causes stay in the report's order.
    found.sort_by_key(|annotation| annotation.level as u8);
    found
}

fn shortened_lines(text: &str) -> String {
    if text.chars().count() <= LONGEST { text.to_owned() } else { shortened(text, LONGEST) }
}

/// Workflow commands of GitHub, one line each. At most ten of a kind are shown there, so that what is left is counted in the last.
pub fn github(report: &Report) -> String {
    let mut text = String::new();
    let all = annotations(report);
    for command in ["error", "warning"] {
        let of: Vec<&Annotation> =
            all.iter().filter(|one| (one.level == Level::Warning) == (command == "warning")).collect();
        let shown = if of.len() > MOST { MOST - 1 } else { of.len() };
        for one in of.iter().take(shown) {
            let (file, title) = (property(&one.file), property(&one.title));
            let _ = writeln!(text, "::{command} file={file},line={},title={title}::{}", one.line, data(&one.message));
        }
        if let Some(first) = of.get(shown) {
            let more = plural(of.len() - shown, "cause");
            let _ = writeln!(text, "::{command} file={}::{more} more: the job summary has all", property(&first.file));
        }
    }
    text
}

/// What stands behind the `::` of a command: what would end it or begin another is written as GitHub reads it back.
fn data(text: &str) -> String {
    harmless(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A").replace('\t', " ")
}

/// The value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Stays the same while cause and cells do: figures that move from run to run are no part of it.
fn fingerprint(one: &Annotation) -> String {
    digest_bytes(format!("{}\n{}\n{}", one.file, one.title, one.cells.join("\n")).as_bytes())
}

/// As SARIF.
///
/// # Errors
/// If it cannot be encoded.
pub fn sarif(report: &Report) -> Result<String> {
    let rule = |id: &'static str, short: &str| RuleText {
        id,
        short: short.to_owned(),
        help: "docs/troubleshooting.md says what to do with each kind of failure".to_owned(),
    };
    let rules = [
        rule("cell-failed", "a conversion does not answer or run as it should"),
        rule("cell-invalid", "something that was asked for could not be judged"),
        rule("cell-warning", "a cell is near a limit"),
    ];
    let all = annotations(report);
    let found: Vec<Found<'_>> = all
        .iter()
        .map(|one| Found {
            rule: one.level as usize,
            level: if one.level == Level::Warning { "warning" } else { "error" },
            message: harmless(&format!("{}: {}", one.title, one.message)),
            file: &one.file,
            region: Some([one.line, 1, one.line + 1, 1]),
            about: one.cells.clone(),
            fingerprint: Some(fingerprint(one)),
        })
        .collect();
    log(&rules, &found, all.iter().all(|one| one.level != Level::Invalid))
}

#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: &'static str,
    fingerprint: String,
    severity: &'static str,
    location: IssuePlace,
}

#[derive(Serialize)]
struct IssuePlace {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: usize,
}

/// As GitLab's code quality report.
///
/// # Errors
/// If it cannot be encoded.
pub fn code_quality(report: &Report) -> Result<String> {
    let issues: Vec<Issue> = annotations(report)
        .iter()
        .map(|one| Issue {
            description: harmless(&format!("{}: {}", one.title, one.message)),
            check_name: ["cell-failed", "cell-invalid", "cell-warning"]
                .get(one.level as usize)
                .copied()
                .unwrap_or("trtgate"),
            fingerprint: fingerprint(one),
            severity: ["blocker", "critical", "minor"].get(one.level as usize).copied().unwrap_or("blocker"),
            location: IssuePlace { path: one.file.clone(), lines: Lines { begin: one.line } },
        })
        .collect();
    let mut text = serde_json::to_string_pretty(&issues)
        .map_err(|error| Error::machine("cannot write the findings for GitLab").because(error))?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
