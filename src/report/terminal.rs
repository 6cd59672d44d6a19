//! The report as a table for the terminal: the matrix in the plan's order, what did not run, failures last.

mod load;
mod outputs;
mod versions;

use anstyle::{AnsiColor, Color, Style as Ansi};

use crate::findings::leads::{changed, rough, rough_points};
use crate::findings::verdict;
use crate::findings::{CellReport, CheckResult, GoldenStanding, LeadFigures, Report};
use crate::report::figures;
use crate::report::layout::{self, Counts, Group};
use crate::report::text::{one_line, padding, sentence_and_excerpt, shortened, wrapped};
use crate::vocabulary::{CellId, Status, Verdict};

/// How a report is written for the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; the table needs 80 and never takes more.
    pub width: usize,
    /// Whether ANSI colours are written.
    pub color: bool,
    /// Only failures and the verdict.
    pub quiet: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { width: 80, color: false, quiet: false }
    }
}

const BOLD: Ansi = Ansi::new().bold();
const DIM: Ansi = Ansi::new().dimmed();
const HINT: Ansi = color(AnsiColor::Cyan).bold();

const fn color(color: AnsiColor) -> Ansi {
    Ansi::new().fg_color(Some(Color::Ansi(color)))
}

/// Renders the whole report, with a final newline.
pub fn render(report: &Report, style: Style) -> String {
    let mut page = Page { style: Style { width: style.width.clamp(60, 100), ..style }, text: String::new() };
    if !style.quiet {
        page.head(report);
        page.matrix(report);
        page.not_run(report);
        page.outputs(report);
        page.versions(report);
        page.load(report);
        page.warnings(report);
        page.notes(report);
        page.without_baseline(report);
        page.golden(report);
        page.accuracy(report);
    }
    page.cross(report);
    page.troubled(report);
    page.verdict(report);
    page.text
}

/// The text under construction.
struct Page {
    style: Style,
    text: String,
}

/// Columns of a row: a text and whether it is flush right, with its width.
const STATUS: usize = 9;
const BATCH: usize = 5;
const POINTS: usize = 6;
const CHANGED: usize = 11;
const LEADS: usize = 6;
const FRESH: usize = 8;
const NOISE: usize = 8;
const RATE: usize = 10;
const CHANGE: usize = 7;

/// Lines of an excerpt that are shown, the last ones: where a traceback ends is what went wrong.
const EXCERPT: usize = 6;

impl Page {
    fn paint(&self, style: Ansi, text: &str) -> String {
        if self.style.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// An empty line, except at the very top.
    fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// `text` wrapped, its first line after `label`, the others under it.
    fn labelled(&mut self, indent: usize, label: &str, label_style: Ansi, text: &str) {
        let column = indent + label.chars().count().max(7) + 1;
        let lines = wrapped(text, self.style.width.saturating_sub(column));
        for (index, line) in lines.iter().enumerate() {
            let head = if index == 0 { self.paint(label_style, label) } else { String::new() };
            let used = if index == 0 { label.chars().count() } else { 0 };
            self.line(&format!("{}{head}{}{line}", " ".repeat(indent), " ".repeat(column - indent - used)));
        }
    }

    fn head(&mut self, report: &Report) {
        let machine = &report.machine;
        let samples = report.cells.iter().find_map(|cell| cell.agreement.as_ref()).map(|agreement| agreement.samples);
        let mut parts = vec![figures::short_digest(&one_line(&report.model.sha256))];
        parts.extend(samples.map(|samples| format!("{samples} probes")));
        parts.push(one_line(&report.started));
        let name = self.paint(BOLD, &shortened(&report.model.name, 40));
        self.line(&format!("{name}  {}", self.paint(DIM, &parts.join(" · "))));
        let device = match &figures::gpus(machine) {
            Some(gpu) => match &machine.driver {
                Some(driver) => format!("{}, driver {}", one_line(gpu), one_line(driver)),
                None => one_line(gpu),
            },
            None => "no GPU".to_owned(),
        };
        let cores = verdict::plural(machine.cores, "core");
        let machine = format!("{} · {cores} · {device}", one_line(&figures::processor(machine)));
        let machine = self.paint(DIM, &shortened(&machine, self.style.width));
        self.line(&machine);
        if !report.shards.is_empty() {
            let merged = format!("merged from {} reports", report.shards.len());
            let merged = self.paint(DIM, &merged);
            self.line(&merged);
        }
    }

    fn matrix(&mut self, report: &Report) {
        let ran = |cell: &&CellReport| !matches!(cell.status, Status::Unsupported | Status::Unavailable);
        let groups = layout::groups(report.cells.iter().filter(ran));
        if groups.is_empty() {
            return;
        }
        let measured = groups.iter().flat_map(|group| &group.cells).any(|cell| cell.timing.is_some());
        self.gap();
        let mut titles = format!("  {:STATUS$} {:>BATCH$}  ", "status", "batch");
        // Of outputs that are judged by their tasks there is a sentence in the place of these.
        titles.push_str(&match groups.iter().flat_map(|group| &group.cells).any(|cell| cell.leads.is_some()) {
            true => {
                format!("{:>POINTS$}  {:>CHANGED$}  {:>LEADS$}  {:>FRESH$}", "points", "changed", "leads", "ordinary")
            }
            false => format!("{:<1$}", "outputs", POINTS + CHANGED + LEADS + FRESH + 6),
        });
        titles.push_str(&match measured {
            true => format!("  {:>RATE$}  {:>CHANGE$}", "samples/s", "vs base"),
            false => format!("  {:>NOISE$}", "SQNR"),
        });
        let titles = self.paint(DIM, &titles);
        self.line(&titles);
        for group in groups {
            self.group_head(&group, report);
            // Cells that stopped for one cause need one row.
            let one_cause = |one: &&CellReport, other: &&CellReport| {
                one.leads.is_none()
                    && (one.status, one.stage, &one.reason) == (other.status, other.stage, &other.reason)
            };
            for cells in group.cells.chunk_by(one_cause) {
                self.row(cells, measured);
            }
        }
    }

    fn group_head(&mut self, group: &Group<'_>, report: &Report) {
        let left = format!("{} · {}{}", group.runtime_name(), group.precision_name(), group.place(report));
        let artifacts = group.artifacts();
        let right = match artifacts.as_slice() {
            [] => String::new(),
            [only] if only.bytes == 0 => only.kind.to_string(),
            [only] => format!("{}  {}{}", only.kind, figures::bytes(only.bytes), group.context()),
            [first, ..] => {
                let sizes = artifacts.iter().map(|artifact| artifact.bytes);
                let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
                let (least, most) = (figures::bytes(least), figures::bytes(most));
                let range = if least == most { least } else { format!("{least} – {most}") };
                format!("{} × {}  {range}", first.kind, artifacts.len())
            }
        };
        let fill =
            " ".repeat(self.style.width.min(80).saturating_sub(left.chars().count() + right.chars().count()).max(2));
        let line = format!("{}{fill}{}", self.paint(BOLD, &left), self.paint(DIM, &right));
        self.line(&line);
    }

    fn row(&mut self, cells: &[&CellReport], measured: bool) {
        let Some(cell) = cells.first() else { return };
        // A range would claim the sizes between.
        let batch = cells.iter().map(|cell| cell.batch.to_string()).collect::<Vec<_>>().join(", ");
        let beyond = batch.len().saturating_sub(BATCH);
        let status = match layout::word(cell) {
            // As wide as a sign and a status.
            word @ layout::REFERENCE => self.paint(DIM, word),
            _ => self.status(cell.status, STATUS),
        };
        let figures = cell.leads.as_ref().map_or_else(
            || {
                let stopped = crate::report::outputs::stood(cell);
                let room = (POINTS + CHANGED + LEADS + 4).saturating_sub(beyond);
                self.paint(DIM, &stopped) + &padding(&stopped, room)
            },
            |leads| self.leads(leads),
        );
        let fresh = cell.fresh.map_or_else(String::new, |fresh| format!("{}/{}", fresh.same, fresh.samples));
        let mut line = format!("  {status} {batch:>BATCH$}  {figures}  {fresh:>FRESH$}");
        if !measured {
            let noise = cell.error.as_ref().map_or_else(String::new, |error| figures::decibels(error.sqnr_db));
            line.push_str(&format!("  {noise:>NOISE$}"));
        }
        if measured {
            let rate = cell
                .timing
                .as_ref()
                .map_or_else(String::new, |timing| figures::rate(timing.typical_samples_per_second()));
            line.push_str(&format!("  {rate:>RATE$}  {}", self.change(cell)));
        }
        self.line(&line);
    }

    /// `✓ pass`, padded to `width`.
    fn status(&self, status: Status, width: usize) -> String {
        let (sign, style) = sign(status);
        let text = format!("{sign} {status}");
        let fill = padding(&text, width);
        self.paint(style, &text) + &fill
    }

    /// Points of accuracy lost, answers changed, error of the leads; in red what is above its limit.
    fn leads(&self, leads: &LeadFigures) -> String {
        let column = |text: String, width: usize, sound: bool| {
            let style = if sound { Ansi::new() } else { color(AnsiColor::Red).bold() };
            padding(&text, width) + &self.paint(style, &text)
        };
        let lost = if leads.has_loss() { rough_points(leads.loss) } else { "0".to_owned() };
        [
            column(lost, POINTS, leads.loss <= leads.loss_allowed),
            column(changed(leads.changed), CHANGED, true),
            column(rough(leads.error), LEADS, leads.error <= leads.error_allowed),
        ]
        .join("  ")
    }

    /// The change against the baseline, flush right.
    fn change(&self, cell: &CellReport) -> String {
        let Some(baseline) = &cell.baseline else { return String::new() };
        let text = baseline.ratio.map_or_else(|| "none".to_owned(), figures::change);
        let style = match baseline.verdict.as_str() {
            "fail" => color(AnsiColor::Red),
            "warn" | "unstable" => color(AnsiColor::Yellow),
            "improved" => color(AnsiColor::Green),
            _ => DIM,
        };
        padding(&text, CHANGE) + &self.paint(style, &text)
    }

    fn not_run(&mut self, report: &Report) {
        let entries = layout::not_run(report);
        if entries.is_empty() {
            return;
        }
        self.gap();
        for entry in entries {
            let width = self.style.width.min(80);
            let extent = entry.extent();
            let status = entry.status.to_string();
            let (sentence, _) = sentence_and_excerpt(entry.reason);
            let head = format!("– {}  {extent}", entry.runtime);
            // A long list of precisions has a line to itself.
            let short = head.chars().count() + status.len() + 2 <= width;
            let head = if short { head } else { format!("– {}", entry.runtime) };
            let fill = " ".repeat(width.saturating_sub(head.chars().count() + status.len()).max(2));
            let head = self.paint(DIM, &format!("{head}{fill}{status}"));
            self.line(&head);
            let mut below = if short { Vec::new() } else { wrapped(&extent, width - 2) };
            below.extend(wrapped(&sentence, width - 2));
            if !entry.sizes.is_empty() {
                let sizes: Vec<String> = entry.sizes.iter().map(|&bytes| figures::bytes(bytes)).collect();
                below.extend(wrapped(&format!("made all the same: {}{}", sizes.join(", "), entry.kept()), width - 2));
            }
            for line in below {
                self.line(&format!("  {line}"));
            }
        }
    }

    /// What was found, but does not decide: slower than the baseline within bounds, checks that are only shown.
    fn warnings(&mut self, report: &Report) {
        let mut warnings = Vec::new();
        for cell in &report.cells {
            if let Some(baseline) = cell.baseline.as_ref().filter(|baseline| is_warning(&baseline.verdict)) {
                warnings.push((cell.id(), baseline.detail.clone()));
            }
            let shown = cell.checks.iter().filter(|check| !check.gating && check.status == Status::Fail);
            warnings.extend(shown.map(|check| (cell.id(), format!("{}: {}", check.name, check.detail))));
        }
        let remarks = layout::remarks(report, |cell| &cell.warnings);
        let warnings: Vec<(String, String)> = remarks
            .into_iter()
            .map(|remark| (remark.about, remark.text.to_owned()))
            .chain(warnings.into_iter().map(|(cell, detail)| (cell.to_string(), detail)))
            .collect();
        if warnings.is_empty() {
            return;
        }
        self.gap();
        for (cell, detail) in warnings {
            self.labelled(0, "warn", color(AnsiColor::Yellow).bold(), &format!("{cell}: {detail}"));
        }
    }

    /// What the columns mean, and what a reader should know about the figures.
    fn notes(&mut self, report: &Report) {
        let without_leads = report.cells.iter().all(|cell| cell.leads.is_none());
        if without_leads && report.notes.is_empty() {
            return;
        }
        self.gap();
        report.notes.iter().for_each(|note| self.labelled(0, "note", DIM, note));
        if without_leads {
            return;
        }
        for text in layout::named_losses(report) {
            self.labelled(0, "note", color(AnsiColor::Yellow).bold(), &text);
        }
        for remark in layout::remarks(report, |cell| &cell.notes) {
            self.labelled(0, "note", DIM, &format!("{}: {}", remark.about, remark.text));
        }
        let text = "estimated for ordinary inputs: `points` of accuracy lost and answers `changed`, within a factor of 2; `leads` are off by so many typical ones; `ordinary` samples with the reference's answer, run at the largest batch (docs/rule.md)";
        self.labelled(0, "note", DIM, text);
    }

    /// Without a golden, nothing from before this run vouches for the answers; with one of other files, it was asked about.
    fn golden(&mut self, report: &Report) {
        let compared = report.cells.iter().any(|cell| cell.leads.is_some());
        if compared && report.golden_sha256.is_empty() && !self.style.quiet {
            self.gap();
            let text = "no golden is stored: cells were compared with the reference of this same run; `trtgate bless` stores one";
            self.labelled(0, "note", DIM, text);
        }
        if let Some(golden) = report.golden.as_ref().filter(|golden| golden.standing == GoldenStanding::Equal) {
            self.gap();
            self.labelled(0, "note", DIM, &format!("golden: {}", golden.detail));
        }
    }

    /// Why cells have no baseline here, each reason once.
    fn without_baseline(&mut self, report: &Report) {
        let mut reasons: Vec<(&str, Vec<CellId>)> = Vec::new();
        for cell in &report.cells {
            let Some(baseline) = cell.baseline.as_ref().filter(|baseline| baseline.verdict == "no-baseline") else {
                continue;
            };
            match reasons.iter_mut().find(|(reason, _)| *reason == baseline.detail) {
                Some((_, cells)) => cells.push(cell.id()),
                None => reasons.push((&baseline.detail, vec![cell.id()])),
            }
        }
        if reasons.is_empty() || self.style.quiet {
            return;
        }
        self.gap();
        for (reason, cells) in reasons {
            let which = match cells.as_slice() {
                [one] => one.to_string(),
                several => verdict::plural(several.len(), "cell"),
            };
            self.labelled(0, "note", DIM, &format!("{which}: {reason}"));
        }
    }

    fn cross(&mut self, report: &Report) {
        let bad = |rule: &&CheckResult| {
            matches!(rule.status, Status::Fail | Status::Invalid) && (rule.gating || !self.style.quiet)
        };
        let rules: Vec<&CheckResult> = report.cross.iter().filter(bad).collect();
        if rules.is_empty() {
            return;
        }
        self.gap();
        for rule in rules {
            let (label, style) =
                if rule.gating { word(rule.status) } else { ("warn", color(AnsiColor::Yellow).bold()) };
            let place = if verdict::is_of_reference(rule) { "" } else { "across cells, " };
            self.labelled(0, label, style, &format!("{place}{}: {}", rule.name, rule.detail));
        }
    }

    fn troubled(&mut self, report: &Report) {
        for group in layout::troubles(report) {
            let Some(cell) = group.first() else { continue };
            self.gap();
            let (label, style) = word(cell.status);
            let extents = layout::extents(&group);
            let title = match extents.as_slice() {
                [one] => one.clone(),
                _ => verdict::plural(group.len(), "cell"),
            };
            let head = format!(
                "{}{} {}  {}",
                self.paint(style, label),
                padding(label, 7),
                self.paint(BOLD, &title),
                self.paint(DIM, &format!("at {}", cell.stage))
            );
            self.line(&head);
            for extent in extents.iter().filter(|_| extents.len() > 1) {
                self.labelled(8, "in", DIM, extent);
            }
            let (sentence, excerpt) = sentence_and_excerpt(cell.reason.as_deref().unwrap_or_default());
            for line in wrapped(&sentence, self.style.width.saturating_sub(8)) {
                self.line(&format!("        {line}"));
            }
            let left_out = excerpt.len().saturating_sub(EXCERPT);
            if left_out > 0 {
                let line = self.paint(DIM, &format!("{left_out} lines more are in the JSON report"));
                self.line(&format!("        | {line}"));
            }
            for line in excerpt.into_iter().skip(left_out) {
                let line = self.paint(DIM, &shortened(&line, self.style.width.saturating_sub(10)));
                self.line(&format!("        | {line}"));
            }
            for check in cell.checks.iter().filter(|check| layout::adds_to_reason(cell, check)) {
                self.labelled(8, "check", DIM, &format!("{}: {}", check.name, check.detail));
            }
            for (leg, detail) in layout::broken_legs(cell) {
                let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
                self.labelled(8, "leg", DIM, &format!("{}{detail}", leg.name));
            }
            if let Some(hint) = &cell.hint {
                self.labelled(8, "hint", HINT, hint);
            }
            // The replay line is never wrapped, so that it can be copied.
            let replay = format!("        {} {}", self.paint(BOLD, "replay "), one_line(&cell.replay));
            self.line(&replay);
        }
    }

    fn verdict(&mut self, report: &Report) {
        self.gap();
        let counts = Counts::of(&report.cells);
        // Cells were told one by one; what is left to say is what else keeps the verdict from `pass`.
        for reason in report.reasons.iter().filter(|reason| !verdict::is_told_by_cells(reason)) {
            self.labelled(0, "note", color(AnsiColor::Yellow).bold(), reason);
        }
        let style = match report.verdict {
            Verdict::Pass => color(AnsiColor::Green),
            Verdict::Fail => color(AnsiColor::Red),
            Verdict::Incomplete => color(AnsiColor::Yellow),
        };
        let label = report.verdict.as_str().to_uppercase();
        let counts: Vec<String> = counts
            .words()
            .into_iter()
            .map(|(count, status, word)| {
                let text = format!("{count} {word}");
                if count > 0 { self.paint(sign(status).1, &text) } else { text }
            })
            .collect();
        let line = format!(
            "{}  {}  {}",
            self.paint(style.bold(), &label),
            counts.join(", "),
            self.paint(DIM, &format!("in {}", figures::seconds(report.wall_seconds)))
        );
        self.line(&line);
    }
}

fn is_warning(verdict: &str) -> bool {
    matches!(verdict, "warn" | "unstable")
}

/// The sign and colour of a status.
fn sign(status: Status) -> (char, Ansi) {
    match status {
        Status::Pass => ('✓', color(AnsiColor::Green)),
        Status::Fail => ('✗', color(AnsiColor::Red).bold()),
        Status::Invalid => ('!', color(AnsiColor::Yellow).bold()),
        Status::Unsupported | Status::Unavailable => ('–', DIM),
    }
}

fn word(status: Status) -> (&'static str, Ansi) {
    match status {
        Status::Fail => ("FAIL", color(AnsiColor::Red).bold()),
        Status::Invalid => ("INVALID", color(AnsiColor::Yellow).bold()),
        other => (other.as_str(), DIM),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::report::sample;

    const QUIET: Style = Style { width: 80, color: false, quiet: true };

    #[test]
    fn passing_in_80_columns() {
        insta::assert_snapshot!(render(&sample::passing(), Style::default()));
    }

    #[test]
    fn failing_in_80_columns() {
        insta::assert_snapshot!(render(&sample::failing(), Style::default()));
    }

    #[test]
    fn cpu_only_in_80_columns() {
        insta::assert_snapshot!(render(&sample::cpu_only(), Style::default()));
    }

    /// The columns of a classifier are not those of outputs that are judged by their tasks.
    #[test]
    fn outputs_by_tasks_have_no_columns_of_leads() {
        let text = render(&sample::tasks(), Style::default());
        let titles = text.lines().find(|line| line.contains("status")).unwrap();
        assert!(titles.contains("outputs") && !titles.contains("points") && titles.ends_with("SQNR"), "{text}");
        assert!(titles.width() <= 80);
    }

    #[test]
    fn quiet_shows_failures_and_the_verdict() {
        insta::assert_snapshot!(render(&sample::failing(), QUIET));
        assert_eq!(render(&sample::passing(), QUIET).lines().count(), 1);
    }

    #[test]
    fn no_line_is_wider_than_80_columns_except_replays_and_long_words() {
        for report in [sample::passing(), sample::failing(), sample::cpu_only(), sample::many(240)] {
            for line in render(&report, Style::default()).lines().filter(|line| !line.contains("replay")) {
                assert!(line.width() <= 80, "{} columns: {line}", line.width());
            }
        }
    }

    #[test]
    fn an_instruction_set_is_told_once_and_another_where_it_ran() {
        let set = |name: &str| serde_json::from_value(serde_json::Value::from(name)).unwrap();
        let mut report = sample::cpu_only();
        report.machine.instruction_set = Some(set("avx512+avx512-vnni"));
        for cell in &mut report.cells {
            cell.instruction_set.clone_from(&report.machine.instruction_set);
        }
        assert_eq!(render(&report, Style::default()).matches("(avx512+avx512-vnni)").count(), 1);
        assert!(!render(&report, Style::default()).contains(" · on "));
        let int8 = report.cells.iter_mut().filter(|cell| cell.precision == crate::vocabulary::Precision::Int8);
        int8.for_each(|cell| cell.instruction_set = Some(set("avx2")));
        assert!(render(&report, Style::default()).contains("· int8 · on avx2"));
    }

    #[test]
    fn colour_changes_no_letter() {
        let report = sample::failing();
        let colored = render(&report, Style { color: true, ..Style::default() });
        assert!(colored.contains("\x1b["));
        let plain = anstream::adapter::strip_str(&colored).to_string();
        let trimmed: String = plain.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        assert_eq!(trimmed, render(&report, Style::default()));
    }

    #[test]
    fn one_cause_takes_at_most_40_lines() {
        let traceback: Vec<String> = (0..60).map(|line| format!("    line {line} of a traceback")).collect();
        let mut report = sample::cpu_only();
        report.cells.retain(|cell| cell.status == Status::Pass);
        for cell in &mut report.cells {
            cell.status = Status::Fail;
            cell.stage = crate::vocabulary::Stage::Convert;
            cell.reason = Some(format!("the converter failed: shape\n  last lines:\n{}", traceback.join("\n")));
            cell.hint = Some("look at the last lines of the converter".to_owned());
            (cell.leads, cell.fresh, cell.error) = (None, None, None);
            (cell.agreement, cell.checks, cell.legs, cell.notes) = (None, Vec::new(), Vec::new(), Vec::new());
        }
        report.judge();
        assert_eq!(report.cells.len(), 20);
        let text = render(&report, Style::default());
        assert!(text.lines().count() <= 40, "{text}");
        assert!(
            text.contains("line 59 of a traceback") && text.contains("lines more are in the JSON report"),
            "{text}"
        );
        let quiet = render(&report, QUIET);
        assert!(quiet.lines().count() <= 25, "{quiet}");
        insta::assert_snapshot!(quiet);
    }

    #[test]
    fn hostile_text_cannot_write_escape_sequences() {
        let mut report = sample::failing();
        report.model.name = "\x1b[2Jcifar10\r\n".into();
        for cell in &mut report.cells {
            cell.reason = Some("\x1b]0;title\x07 line\nbreak".into());
            cell.replay = "trtgate gate\x1b[31m\n--runtime x".into();
        }
        assert!(!render(&report, Style::default()).contains(['\x1b', '\r', '\x07']));
    }
}
