//! The report as Markdown, for a job summary or a comment on a pull request.

mod load;
mod versions;

use crate::findings::leads::points;
use crate::findings::verdict;
use crate::findings::{CellReport, GoldenStanding, Gpu, LeadFigures, Report};
use crate::report::figures;
use crate::report::layout::{self, Counts};
use crate::report::markdown_text::{escape, escape_code};
use crate::report::outputs::{Line, lines, stood};
use crate::report::text::{sentence_and_excerpt, shortened};
use crate::vocabulary::{Status, Verdict};

/// Largest size of the rendered text in bytes: GitHub takes comments of 65,536 characters.
pub const SIZE_LIMIT: usize = 60_000;
/// Bytes that failures may take, so that the sections after them keep some room.
const FAILURES_LIMIT: usize = 36_000;
/// Bytes kept free for the closing note.
const RESERVE: usize = 400;
/// Longest text from outside, in characters.
const TEXT_LIMIT: usize = 400;
/// Most rows of the table of changes.
const CHANGES_LIMIT: usize = 30;

/// Renders the report: verdict, failures, what changed since the baseline, the matrix, what did not run, environment.
///
/// The result is always under [`SIZE_LIMIT`] bytes; what is left out is counted in the text. Text from outside cannot
/// become markup, a link, or a mention.
pub fn render(report: &Report) -> String {
    let mut page = Page { text: String::new(), left_out: Vec::new() };
    page.push(&head(report));
    failures(&mut page, report);
    rules(&mut page, report);
    accuracy(&mut page, report);
    outputs(&mut page, report);
    remarks(&mut page, report);
    changes(&mut page, report);
    load::section(&mut page, report);
    matrix(&mut page, report);
    versions::section(&mut page, report);
    not_run(&mut page, report);
    environment(&mut page, report);
    page.finish()
}

/// The text so far, built of blocks that are whole in themselves: a block is taken as it is or left out.
struct Page {
    text: String,
    left_out: Vec<String>,
}

impl Page {
    fn fits(&self, block: &str, limit: usize) -> bool {
        self.text.len() + block.len() + RESERVE <= limit.min(SIZE_LIMIT)
    }

    fn push(&mut self, block: &str) -> bool {
        let fits = self.fits(block, SIZE_LIMIT);
        if fits {
            self.text.push_str(block);
        }
        fits
    }

    /// Pushes a section of `head`, as many of `rows` as fit, and `tail`; counts the others as left out.
    fn push_rows(&mut self, head: &str, rows: &[String], tail: &str, noun: &str) {
        let frame = head.len() + tail.len();
        let room = SIZE_LIMIT.saturating_sub(self.text.len() + frame + RESERVE);
        let mut taken = 0;
        let mut used = 0;
        for row in rows {
            used += row.len();
            if used > room {
                break;
            }
            taken += 1;
        }
        if taken > 0 {
            self.text.push_str(head);
            for row in rows.iter().take(taken) {
                self.text.push_str(row);
            }
            self.text.push_str(tail);
        }
        if taken < rows.len() {
            self.left_out.push(verdict::plural(rows.len() - taken, noun));
        }
    }

    fn finish(mut self) -> String {
        if !self.left_out.is_empty() {
            let parts = self.left_out.join(", ");
            self.text.push_str(&format!(
                "\n> Left out to keep this under {} kB: {parts}. The JSON report has everything; `trtgate report FILE --html` shows it.\n",
                SIZE_LIMIT / 1000
            ));
        }
        self.text
    }
}

fn head(report: &Report) -> String {
    let (sign, word) = match report.verdict {
        Verdict::Pass => ("✅", "passed"),
        Verdict::Fail => ("❌", "failed"),
        Verdict::Incomplete => ("⚠️", "is incomplete"),
    };
    let counts = Counts::of(&report.cells).sentence();
    let mut text = format!("## {sign} trtgate: {} {word}\n\n", code(&report.model.name));
    text.push_str(&format!("**{counts}** in {}", figures::seconds(report.wall_seconds)));
    let gpu = figures::gpus(&report.machine).as_deref().map_or_else(|| "no GPU".to_owned(), outside);
    text.push_str(&format!(" · {} · {gpu}", outside(&figures::processor(&report.machine))));
    if !report.shards.is_empty() {
        text.push_str(&format!(" · merged from {} reports", report.shards.len()));
    }
    text.push_str("\n\n");
    if let Some(golden) = report.golden.as_ref().filter(|golden| golden.standing == GoldenStanding::Equal) {
        text.push_str(&format!("- ℹ️ golden: {}\n", outside(&golden.detail)));
    }
    for reason in report.reasons.iter().filter(|reason| !verdict::is_told_by_cells(reason)).take(10) {
        text.push_str(&format!("- ⚠️ {}\n", outside(reason)));
    }
    for note in report.notes.iter().take(10) {
        text.push_str(&format!("- {}\n", outside(note)));
    }
    text
}

fn failures(page: &mut Page, report: &Report) {
    let troubled = layout::troubles(report);
    if troubled.is_empty() {
        return;
    }
    page.push("\n### Failures\n\n");
    for (index, cells) in troubled.iter().enumerate() {
        let block = failure(cells, index < 3);
        if !page.fits(&block, FAILURES_LIMIT) {
            // The rest one line each, as far as that goes.
            let rows: Vec<String> = troubled.iter().skip(index).flatten().map(|cell| failure_line(cell)).collect();
            let head = format!("\n<details><summary>{} more</summary>\n\n", rows.len());
            let room = SIZE_LIMIT.saturating_sub(8_000);
            let taken = fitting(&rows, room.saturating_sub(page.text.len() + head.len()));
            page.text.push_str(&head);
            page.text.extend(rows.iter().take(taken).map(String::as_str));
            page.text.push_str("\n</details>\n\n");
            if taken < rows.len() {
                page.left_out.push(verdict::plural(rows.len() - taken, "failure"));
            }
            return;
        }
        page.push(&block);
    }
}

/// How many of `rows` fit in `room` bytes.
fn fitting(rows: &[String], room: usize) -> usize {
    let mut used = 0;
    rows.iter()
        .take_while(|row| {
            used += row.len();
            used <= room
        })
        .count()
}

/// Cells that failed for one cause.
fn failure(cells: &[&CellReport], open: bool) -> String {
    let Some(cell) = cells.first() else { return String::new() };
    let others = match cells.len() {
        1 => String::new(),
        several => format!(" and {}", verdict::plural(several - 1, "other")),
    };
    let open = if open { " open" } else { "" };
    let (sentence, excerpt) = sentence_and_excerpt(reason(cell));
    let mut text = format!(
        "<details{open}><summary>{} {}{others} at {}: {}</summary>\n\n",
        sign(cell.status),
        code(&cell.id().to_string()),
        cell.stage,
        outside(&sentence)
    );
    if cells.len() > 1 {
        let extents = layout::extents(cells);
        text.extend(extents.iter().map(|extent| format!("- {}\n", outside(extent))));
        text.push('\n');
    }
    if !excerpt.is_empty() {
        let lines: Vec<String> = excerpt.iter().map(|line| escape_code(line, 200)).collect();
        text.push_str(&format!("<pre>{}</pre>\n\n", lines.join("\n")));
    }
    for check in cell.checks.iter().filter(|check| layout::adds_to_reason(cell, check)) {
        text.push_str(&format!("- check {}: {}\n", code(&check.name), outside(&check.detail)));
    }
    for (leg, detail) in layout::broken_legs(cell) {
        let detail = detail.unwrap_or("left its limits");
        text.push_str(&format!("- leg {}: {}\n", outside(&leg.name), outside(detail)));
    }
    if let Some(leads) = &cell.leads {
        text.push_str(&format!("- {}\n", outside(&leads.sentence())));
        text.push_str(&format!("- allowed: {}\n", outside(&leads.limits())));
    }
    if let Some(fresh) = cell.fresh {
        text.push_str(&format!("- {} of {} ordinary samples have the reference's answer\n", fresh.same, fresh.samples));
    }
    if let Some(error) = &cell.error {
        let (largest, noise) = (figures::error(error.max_abs), figures::decibels(error.sqnr_db));
        text.push_str(&format!("- largest error {largest}, SQNR {noise}\n"));
    }
    if let Some(hint) = &cell.hint {
        text.push_str(&format!("- hint: {}\n", outside(hint)));
    }
    text.push_str(&format!("\n<pre><code>{}</code></pre>\n\n</details>\n\n", escape_code(&cell.replay, 1000)));
    text
}

fn failure_line(cell: &CellReport) -> String {
    format!(
        "- {} {} at {}: {}\n",
        sign(cell.status),
        code(&cell.id().to_string()),
        cell.stage,
        escape(&shortened(&sentence_and_excerpt(reason(cell)).0, 120))
    )
}

fn rules(page: &mut Page, report: &Report) {
    let bad = report.cross.iter().filter(|rule| matches!(rule.status, Status::Fail | Status::Invalid));
    let rows: Vec<String> = bad
        .map(|rule| {
            let sign = if rule.gating { sign(rule.status) } else { "⚠️" };
            format!("- {sign} {}: {}\n", code(&rule.name), outside(&rule.detail))
        })
        .collect();
    if !rows.is_empty() {
        page.push_rows("\n### Across cells\n\n", &rows, "\n", "rule across cells");
    }
}

/// The answers to labelled data, also where all is well.
fn accuracy(page: &mut Page, report: &Report) {
    let reference = layout::accuracy_of_reference(report);
    let reference = reference.map(|rule| format!("- {} {}\n", sign(rule.status), outside(&rule.detail)));
    let cells = layout::accuracies(report);
    let cells = cells.iter().map(|cell| format!("- {}: {}\n", code(&cell.about), outside(cell.text)));
    let rows: Vec<String> = reference.chain(cells).collect();
    if !rows.is_empty() {
        page.push_rows("\n### Accuracy on labelled data\n\n", &rows, "\n", "accuracy");
    }
}

/// What was found of each output, of a model that has several.
fn outputs(page: &mut Page, report: &Report) {
    let row = |line: &Line<'_>| {
        let (found, sign) = (line.found, sign(line.found.status));
        let changes = match (found.borderline, found.confident) {
            (0, 0) => String::new(),
            (near, sure) => format!("{near} borderline, {sure} sure"),
        };
        let (name, about) = (code(&found.output), code(&line.about));
        format!("| {name} | {} | {about} | {sign} {} | {changes} |\n", found.task, outside(line.sentence()))
    };
    let rows: Vec<String> = lines(report).iter().map(row).collect();
    if !rows.is_empty() {
        let head = "\n### Outputs\n\n| output | task | cells | found | changed |\n|---|---|---|---|---|\n";
        page.push_rows(head, &rows, "\n", "output");
    }
}

/// What does not fail: losses that the manifest names, warnings, notes.
fn remarks(page: &mut Page, report: &Report) {
    let named = layout::named_losses(report);
    let mut rows: Vec<String> = named.iter().map(|text| format!("- ⚠️ {}\n", outside(text))).collect();
    let remark = |sign: &str, remark: &layout::Remark<'_>| {
        format!("- {sign}{}: {}\n", code(&remark.about), outside(remark.text))
    };
    rows.extend(layout::remarks(report, |cell| &cell.warnings).iter().map(|warning| remark("⚠️ ", warning)));
    rows.extend(layout::remarks(report, |cell| &cell.notes).iter().map(|note| remark("", note)));
    if !rows.is_empty() {
        page.push_rows("\n### Warnings and notes\n\n", &rows, "\n", "warning or note");
    }
}

/// The cells that moved against their baselines: those that were judged, the largest moves first.
fn changes(page: &mut Page, report: &Report) {
    let judged: Vec<_> = report.cells.iter().filter_map(|cell| Some((cell, cell.baseline.as_ref()?))).collect();
    if judged.is_empty() {
        return;
    }
    let without = judged.iter().filter(|(_, baseline)| baseline.verdict == "no-baseline").count();
    let mut moved: Vec<_> =
        judged.iter().filter(|(_, baseline)| !matches!(baseline.verdict.as_str(), "ok" | "no-baseline")).collect();
    moved.sort_by(|(_, left), (_, right)| {
        let key = |ratio: Option<f64>| ratio.filter(|ratio| ratio.is_finite()).unwrap_or(0.0);
        key(left.ratio).total_cmp(&key(right.ratio))
    });
    let within = judged.len() - without - moved.len();
    page.push("\n### Since the baseline\n\n");
    let none = if without > 0 { format!(", {without} without a baseline") } else { String::new() };
    page.push(&format!("{within} of {} measured cells unchanged within noise{none}.\n\n", judged.len()));
    if moved.is_empty() {
        return;
    }
    let head = "| | cell | baseline, samples/s | now, samples/s | change |\n|---|---|---:|---:|---:|\n";
    let rows: Vec<String> = moved
        .iter()
        .map(|(cell, baseline)| {
            let sign = match baseline.verdict.as_str() {
                "fail" => "❌ slower",
                "improved" => "🟢 faster",
                _ => "⚠️ check",
            };
            let now = cell.timing.as_ref().map(|timing| timing.typical_samples_per_second());
            let rate = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), figures::rate);
            let change = baseline.ratio.map_or_else(|| "–".to_owned(), figures::change);
            format!(
                "| {sign} | {} | {} | {} | {change} |\n",
                code(&cell.id().to_string()),
                rate(baseline.baseline_samples_per_second),
                rate(now)
            )
        })
        .collect();
    let shown = rows.len().min(CHANGES_LIMIT);
    page.push_rows(head, rows.get(..shown).unwrap_or(&rows), "\n", "change");
    if shown < rows.len() {
        page.left_out.push(verdict::plural(rows.len() - shown, "smaller change"));
    }
}

fn matrix(page: &mut Page, report: &Report) {
    let batches = layout::batches(report);
    let columns: Vec<String> = batches.iter().map(|batch| format!(" batch {batch} |")).collect();
    let head = format!(
        "\n<details><summary>Matrix: points of accuracy lost and answers changed on ordinary inputs, samples/s</summary>\n\nEstimates within a factor of 2; at the largest batch, ordinary samples that have the reference's answer.\n\n| runtime | precision | size |{}\n|---|---|---:|{}\n",
        columns.concat(),
        "---|".repeat(batches.len())
    );
    let ran = |cell: &&CellReport| !matches!(cell.status, Status::Unsupported | Status::Unavailable);
    let rows: Vec<String> = layout::groups(report.cells.iter().filter(ran))
        .iter()
        .map(|group| {
            let size = group
                .artifacts()
                .first()
                .filter(|artifact| artifact.bytes > 0)
                .map_or_else(|| "–".to_owned(), |artifact| figures::bytes(artifact.bytes));
            let size = size + &group.context();
            let cells: Vec<String> = batches
                .iter()
                .map(|&batch| format!(" {} |", group.batch(batch).map_or_else(String::new, matrix_cell)))
                .collect();
            let on = group.gpu(report).map_or_else(String::new, |gpu| format!(", GPU {gpu}"));
            format!("| {} | {}{on} | {size} |{}\n", code(&group.runtime_name()), group.precision_name(), cells.concat())
        })
        .collect();
    if !rows.is_empty() {
        page.push_rows(&head, &rows, "\n</details>\n", "row of the matrix");
    }
}

fn matrix_cell(cell: &CellReport) -> String {
    let lost =
        cell.leads.as_ref().map(|leads| if leads.has_loss() { points(leads.loss) } else { "no loss".to_owned() });
    let mut parts = vec![match (lost, layout::word(cell)) {
        (Some(lost), word @ layout::REFERENCE) => format!("⚪ {word}, {lost}"),
        (Some(lost), _) => format!("{} {lost}", sign(cell.status)),
        (None, _) if cell.status == Status::Pass => {
            format!("{} {}", sign(cell.status), stood(cell)).trim_end().to_owned()
        }
        (None, _) => format!("{} at {}", sign(cell.status), cell.stage),
    }];
    parts.extend(cell.leads.as_ref().map(LeadFigures::changed_words));
    parts.extend(cell.fresh.map(|fresh| format!("{}/{} ordinary", fresh.same, fresh.samples)));
    parts
        .extend(cell.timing.as_ref().map(|timing| format!("{}/s", figures::rate(timing.typical_samples_per_second()))));
    parts.join("<br>")
}

fn not_run(page: &mut Page, report: &Report) {
    let entries = layout::not_run(report);
    let cells: usize = entries.iter().map(|entry| entry.cells).sum();
    let rows: Vec<String> = entries
        .iter()
        .map(|entry| {
            let made = if entry.sizes.is_empty() {
                String::new()
            } else {
                let sizes: Vec<String> = entry.sizes.iter().map(|&bytes| figures::bytes(bytes)).collect();
                format!(" (made: {}{})", sizes.join(", "), entry.kept())
            };
            format!(
                "- {} {}, {}: {}{made}\n",
                code(&entry.runtime.to_string()),
                entry.extent(),
                entry.status,
                outside(&sentence_and_excerpt(entry.reason).0)
            )
        })
        .collect();
    if !rows.is_empty() {
        let head = format!("\n<details><summary>Not run: {}</summary>\n\n", verdict::plural(cells, "cell"));
        page.push_rows(&head, &rows, "\n</details>\n", "reason for cells not run");
    }
}

fn environment(page: &mut Page, report: &Report) {
    let machine = &report.machine;
    let mut rows = vec![
        format!("- model {}, sha256 {}\n", code(&report.model.name), code(&report.model.sha256)),
        format!(
            "- {} cores, {} of memory, {} {}\n",
            machine.cores,
            figures::bytes(machine.memory_bytes),
            outside(&machine.os),
            outside(&machine.arch)
        ),
    ];
    if let Some(gpu) = &machine.gpu {
        let known = |value: &Option<String>| value.as_deref().map_or_else(|| "unknown".to_owned(), outside);
        rows.push(format!(
            "- {}, compute capability {}, driver {}, CUDA {}\n",
            outside(gpu),
            known(&machine.compute_capability),
            known(&machine.driver),
            known(&machine.cuda)
        ));
    }
    let named = |gpu: &Gpu| format!("- GPU {}: {}\n", gpu.index, outside(&figures::gpu(gpu)));
    rows.extend(machine.gpus.iter().map(named));
    rows.extend(machine.visible_devices.as_ref().map(|visible| format!("- CUDA_VISIBLE_DEVICES {}\n", code(visible))));
    rows.push(format!("- trtgate {}, started {}\n", outside(&machine.trtgate), outside(&report.started)));
    if !report.command.is_empty() {
        rows.push(format!("- command {}\n", code(&report.command)));
    }
    for shard in &report.shards {
        let gpu = shard.machine.gpu.as_deref().unwrap_or("no GPU");
        rows.push(format!(
            "- shard {}: {} on {}, {}\n",
            code(&shard.name),
            verdict::plural(shard.cells.len(), "cell"),
            outside(&shard.machine.cpu),
            outside(gpu)
        ));
    }
    page.push_rows("\n<details><summary>Environment</summary>\n\n", &rows, "\n</details>\n", "line of the environment");
}

fn reason(cell: &CellReport) -> &str {
    cell.reason.as_deref().unwrap_or("no reason given")
}

fn sign(status: Status) -> &'static str {
    match status {
        Status::Pass => "✅",
        Status::Fail => "❌",
        Status::Invalid => "⚠️",
        Status::Unsupported | Status::Unavailable => "⚪",
    }
}

fn outside(text: &str) -> String {
    escape(&shortened(text, TEXT_LIMIT))
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escape_code(text, TEXT_LIMIT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::sample;

    fn balanced(text: &str) -> bool {
        text.matches("<details").count() == text.matches("</details>").count()
            && text.matches("<summary>").count() == text.matches("</summary>").count()
            && text.matches("<pre>").count() == text.matches("</pre>").count()
    }

    #[test]
    fn the_failing_run() {
        let text = render(&sample::failing());
        assert!(balanced(&text));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn two_thousand_cells_stay_under_the_limit_and_say_what_is_left_out() {
        let text = render(&sample::many(2000));
        assert!(text.len() < SIZE_LIMIT, "{} bytes", text.len());
        assert!(balanced(&text));
        assert!(text.contains("> Left out to keep this under 60 kB: "), "{}", &text[text.len() - 500..]);
        assert!(text.contains("200 failed") && text.contains("### Since the baseline"));
    }

    #[test]
    fn huge_texts_stay_under_the_limit() {
        let mut report = sample::many(300);
        let long = "@user | `x` <b> ".repeat(5000);
        report.model.name = long.clone();
        report.command = long.clone();
        report.machine.cpu = long.clone();
        report.reasons = vec![long.clone(); 50];
        for cell in &mut report.cells {
            cell.status = Status::Fail;
            (cell.reason, cell.hint, cell.replay) = (Some(long.clone()), Some(long.clone()), long.clone());
            for check in &mut cell.checks {
                check.status = Status::Fail;
                check.detail = long.clone();
            }
        }
        let text = render(&report);
        assert!(text.len() < SIZE_LIMIT, "{} bytes", text.len());
        assert!(balanced(&text));
    }

    #[test]
    fn text_from_outside_is_no_markup() {
        let mut report = sample::failing();
        let hostile =
            "</details><script>alert(1)</script> | a | @octocat #12 [x](http://evil.test) **b** `c` </summary>\n# head";
        report.model.name = hostile.into();
        report.machine.cpu = hostile.into();
        report.command = hostile.into();
        for cell in &mut report.cells {
            (cell.reason, cell.hint) = (Some(hostile.into()), Some(hostile.into()));
            cell.replay = hostile.into();
            for check in &mut cell.checks {
                check.name = hostile.into();
            }
        }
        let text = render(&report);
        assert!(balanced(&text));
        for forbidden in ["<script", "@octocat", " #12 ", "](http", "**b**", "| a |", "\n# head", "http://"] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }
}
