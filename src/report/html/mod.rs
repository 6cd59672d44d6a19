//! The report as one HTML page: no network, no script, light and dark, readable on a phone and by a screen reader.

mod cell;
mod chart;
mod drawn;
mod load;
mod matrix;
mod performance;
mod versions;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::findings::verdict;
use crate::findings::{CellReport, CheckResult, Machine, Report};
use crate::report::figures;
use crate::report::image::is_base64;
use crate::report::layout::{self, Counts};
use crate::report::text::{one_line, sentence_and_excerpt, shortened};
use crate::vocabulary::{CellId, Status, Verdict};

const CSS: &str = include_str!("style.css");

/// Nothing is loaded and nothing runs: text that slipped through escaping could do nothing either.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// A tick on a square: without an icon, browsers ask the server for one.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='3' fill='%232f5fd0'/%3E%3Cpath d='M4 8.5l2.5 2.5L12 5.5' stroke='white' stroke-width='2' fill='none'/%3E%3C/svg%3E";

/// Renders the report as one page.
pub fn render(report: &Report) -> String {
    let troubles = layout::troubles(report);
    let measured = report.cells.iter().any(|cell| cell.timing.is_some());
    let loaded = report.cells.iter().any(|cell| cell.load.is_some());
    let sized = report.cells.iter().any(|cell| cell.artifact.as_ref().is_some_and(|artifact| artifact.bytes > 0));
    let skipped = layout::not_run(report);
    let judged = report.cells.iter().any(|cell| cell.leads.is_some());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="color-scheme" content="light dark";
                title { (verdict_word(report.verdict)) ": " (shortened(&report.model.name, 60)) " · trtgate" }
                link rel="icon" href=(ICON);
                style { (PreEscaped(CSS)) }
            }
            body {
                a.skip-link href="#main" { "Skip to the results" }
                (images(report))
                (head(report))
                nav.sections aria-label="Sections" {
                    ul {
                        @if !troubles.is_empty() { li { a href="#failures" { "Failures" } } }
                        li { a href="#matrix" { "Matrix" } }
                        @if versions::is_shown(report) { li { a href="#versions" { "Versions" } } }
                        @if measured { li { a href="#performance" { "Performance" } } }
                        @if loaded { li { a href="#load" { "Under load" } } }
                        @if sized { li { a href="#sizes" { "Sizes" } } }
                        li { a href="#cells" { "Cells" } }
                        @if !skipped.is_empty() { li { a href="#not-run" { "Not run" } } }
                        @if judged { li { a href="#reading" { "How to read it" } } }
                        li { a href="#environment" { "Environment" } }
                    }
                }
                main id="main" tabindex="-1" {
                    (failures(&troubles))
                    (rules(&report.cross))
                    (remarks(report))
                    (matrix::section(report))
                    (versions::section(report))
                    @if measured { (performance::section(report)) }
                    (load::section(report))
                    @if sized { (performance::sizes(report)) }
                    (cell::section(report))
                    (not_run(&skipped))
                    @if judged { (reading()) }
                    (environment(report))
                }
                footer {
                    p { "Rendered by trtgate " (one_line(&report.machine.trtgate)) " from its JSON report; the JSON is the authority." }
                }
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    text
}

/// The probes as symbols, each stored once however many cells show it.
fn images(report: &Report) -> Markup {
    let shown = report.probe_images.iter().filter(|(_, image)| is_base64(&image.png_base64));
    html! {
        svg.symbols width="0" height="0" aria-hidden="true" focusable="false" {
            @for (probe, image) in shown {
                symbol id={ "probe-" (probe) } viewBox={ "0 0 " (image.width) " " (image.height) } {
                    image width=(image.width) height=(image.height) image-rendering="pixelated" href={ "data:image/png;base64," (image.png_base64) } {}
                }
            }
        }
    }
}

fn head(report: &Report) -> Markup {
    let counts = Counts::of(&report.cells);
    let kind = match report.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Incomplete => "invalid",
    };
    html! {
        header.verdict.(kind) {
            div.inner {
                p.product { "trtgate report" }
                h1 {
                    span.seal aria-hidden="true" { (verdict_sign(report.verdict)) }
                    span { (shortened(&report.model.name, 80)) " " span.word { (verdict_sentence(report.verdict)) } }
                }
                @let reasons: Vec<&String> = report.reasons.iter().filter(|reason| !verdict::is_told_by_cells(reason)).collect();
                @if !reasons.is_empty() {
                    ul.reasons { @for reason in reasons { li { (prose(reason)) } } }
                }
                @if !report.notes.is_empty() {
                    ul.notes aria-label="Notes" { @for note in &report.notes { li { (prose(note)) } } }
                }
                ul.counts aria-label="Cells by status" {
                    @for (count, status, word) in counts.words() {
                        li.(status_class(status)).none[count == 0] { span.number { (count) } " " span.label { (word) } }
                    }
                }
                p.meta {
                    time datetime=(one_line(&report.started)) { (readable_time(&report.started)) }
                    " · " (figures::seconds(report.wall_seconds))
                    " · " (device(&report.machine))
                    @if !report.shards.is_empty() { " · merged from " (verdict::plural(report.shards.len(), "report")) }
                }
            }
        }
    }
}

/// A card a cause, whatever the number of cells that have it.
fn failures(troubles: &[Vec<&CellReport>]) -> Markup {
    if troubles.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="failures" {
            h2 id="failures" { "Failures" }
            div.failures {
                @for (group, cell) in troubles.iter().filter_map(|group| Some((group, group.first()?))) {
                    @let extents = layout::extents(group);
                    article.failure.(status_class(cell.status)) {
                        header {
                            (badge(cell.status))
                            h3 { a href={ "#" (anchor(&cell.id())) } {
                                @match extents.as_slice() { [one] => (one), _ => (verdict::plural(group.len(), "cell")) }
                            } }
                            span.stage { "at " (cell.stage) }
                        }
                        @if extents.len() > 1 { ul.extents { @for extent in &extents { li { (extent) } } } }
                        (reason(cell.reason.as_deref().unwrap_or_default()))
                        (evidence(cell))
                        (command("Replay", &cell.replay))
                    }
                }
            }
        }
    }
}

/// Why a cell is not `pass`: the sentence, and the last lines of a library or a worker as they are.
fn reason(text: &str) -> Markup {
    let (sentence, excerpt) = sentence_and_excerpt(text);
    html! {
        p.reason { (prose(&sentence)) }
        @if !excerpt.is_empty() {
            pre.excerpt tabindex="0" role="region" aria-label="Last lines" {
                @for (index, line) in excerpt.iter().enumerate() { @if index > 0 { "\n" } (line) }
            }
        }
    }
}

/// What broke, in words: failed checks, broken legs, and the hint.
fn evidence(cell: &CellReport) -> Markup {
    let checks: Vec<&CheckResult> = cell.checks.iter().filter(|check| layout::adds_to_reason(cell, check)).collect();
    let legs: Vec<_> = layout::broken_legs(cell).collect();
    if checks.is_empty() && legs.is_empty() && cell.hint.is_none() {
        return html! {};
    }
    html! {
        dl.evidence {
            @for check in checks { div { dt { "Check" } dd { b { (one_line(&check.name)) } ": " (prose(&check.detail)) } } }
            @for (leg, detail) in legs {
                div { dt { "Leg" } dd { b { (one_line(&leg.name)) } @if let Some(detail) = detail { ": " (prose(detail)) } } }
            }
            @if let Some(hint) = &cell.hint { div.hint { dt { "Hint" } dd { (prose(hint)) } } }
        }
    }
}

fn rules(rules: &[CheckResult]) -> Markup {
    if rules.is_empty() {
        return html! {};
    }
    // What fails nothing and could not be looked at is no news either: a machine without a GPU compares no two versions.
    let silent = |rule: &CheckResult| rule.status == Status::Unavailable && !rule.gating;
    let holds = |rule: &CheckResult| rule.status == Status::Pass && !verdict::is_of_reference(rule);
    let (held, other): (Vec<&CheckResult>, Vec<_>) = rules.iter().partition(|rule| holds(rule) || silent(rule));
    let looked_at = held.iter().filter(|rule| holds(rule)).count();
    let list = |rules: &[&CheckResult]| {
        html! {
            ul.rules {
                @for rule in rules {
                    li {
                        (badge(rule.status))
                        span { b { (one_line(&rule.name)) } @if !rule.gating { span.muted { " shown only" } } " " (prose(&rule.detail)) }
                    }
                }
            }
        }
    };
    html! {
        section aria-labelledby="across-cells" {
            h2 id="across-cells" { "Across cells" }
            @if !other.is_empty() { (list(&other)) }
            @if !held.is_empty() {
                details.figures {
                    summary {
                        (verdict::plural(looked_at, "rule")) @if looked_at == 1 { " holds" } @else { " hold" }
                        @if looked_at < held.len() { ", " (held.len() - looked_at) " could not be looked at" }
                    }
                    (list(&held))
                }
            }
        }
    }
}

/// What does not fail: losses that the manifest names, warnings, notes.
fn remarks(report: &Report) -> Markup {
    let named = layout::named_losses(report);
    let (warnings, notes) =
        (layout::remarks(report, |cell| &cell.warnings), layout::remarks(report, |cell| &cell.notes));
    if named.is_empty() && warnings.is_empty() && notes.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="remarks" {
            h2 id="remarks" { "Warnings and notes" }
            ul.rules {
                @for text in &named { li { span.badge.invalid { "named" } span { (prose(text)) } } }
                @for remark in &warnings { li { span.badge.invalid { "warning" } span { b { (remark.about) } " " (prose(remark.text)) } } }
                @for remark in &notes { li { span.badge { "note" } span { b { (remark.about) } " " (prose(remark.text)) } } }
            }
        }
    }
}

/// What the figures mean, and what they cannot show.
fn reading() -> Markup {
    html! {
        section aria-labelledby="reading" {
            h2 id="reading" { "How to read it" }
            dl.facts {
                (fact("Points of accuracy", html! { "top-1 accuracy that is lost on ordinary inputs, in percentage points: an estimate within a factor of 2. A changed answer costs as much as the reference was sure of it." }))
                (fact("Answers that change", html! { "of ordinary inputs; most are ones of which the reference was hardly sure." }))
                (fact("Leads", html! { "how far an answer is ahead of its best rival, in nats. Off by 0.25 of a typical one: the error is a quarter of the reference's median lead on ordinary inputs." }))
                (fact("Ordinary samples", html! { "pictures that were not searched for. Probes are: many lie close to a decision boundary, so that the number of their flips means little." }))
                (fact("What it cannot see", html! { "classes that never come first or second on a probe; probabilities below 0.0001 and the order of lower ranks; faults on inputs unlike the probes; damage smaller than the precision's budget; whether a precision is broken or simply too coarse for the model." }))
            }
        }
    }
}

fn not_run(entries: &[layout::NotRun<'_>]) -> Markup {
    if entries.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="not-run" {
            h2 id="not-run" { "Not run" }
            p.lead { "These cells count neither for nor against the verdict." }
            ul.skipped {
                @for entry in entries {
                    li {
                        p { (badge(entry.status)) b { (entry.runtime) } span.muted { (entry.extent()) } }
                        p { (prose(&sentence_and_excerpt(entry.reason).0)) }
                        @if !entry.sizes.is_empty() {
                            p.muted {
                                "Made all the same: "
                                @for (index, &bytes) in entry.sizes.iter().enumerate() { @if index > 0 { ", " } (figures::bytes(bytes)) }
                                (entry.kept())
                            }
                        }
                        @if let Some(hint) = entry.hint { p.muted { "Hint: " (prose(hint)) } }
                    }
                }
            }
        }
    }
}

fn environment(report: &Report) -> Markup {
    let machine = &report.machine;
    let known = |value: &Option<String>| value.as_deref().map_or_else(|| "none".to_owned(), one_line);
    html! {
        section aria-labelledby="environment" {
            h2 id="environment" { "Environment" }
            dl.facts {
                (fact("Model", html! { (one_line(&report.model.name)) }))
                (fact("Model sha256", html! { code { (one_line(&report.model.sha256)) } }))
                @if !report.model.probes_sha256.is_empty() { (fact("Probes sha256", html! { code { (one_line(&report.model.probes_sha256)) } })) }
                @if !report.tolerances_sha256.is_empty() { (fact("Tolerances sha256", html! { code { (one_line(&report.tolerances_sha256)) } })) }
                (fact("Golden sha256", html! {
                    @if report.golden_sha256.is_empty() { "none used: compared with the reference of the same run" }
                    @else { code { (one_line(&report.golden_sha256)) } }
                }))
                @if let Some(golden) = &report.golden {
                    (fact("Golden", html! {
                        "blessed " (one_line(&golden.created)) " with " (golden.runtime) " " (one_line(&golden.version)) ": " (one_line(&golden.reason))
                        @if !golden.detail.is_empty() { br; (prose(&golden.detail)) }
                    }))
                }
                (fact("GPU", html! { (known(&figures::gpus(machine))) }))
                @for gpu in &machine.gpus { (fact(&format!("GPU {}", gpu.index), html! { (one_line(&figures::gpu(gpu))) })) }
                @if let Some(visible) = &machine.visible_devices { (fact("CUDA_VISIBLE_DEVICES", html! { code { (one_line(visible)) } })) }
                @if machine.gpu.is_some() {
                    (fact("Compute capability", html! { (known(&machine.compute_capability)) }))
                    (fact("Driver", html! { (known(&machine.driver)) }))
                    (fact("CUDA", html! { (known(&machine.cuda)) }))
                }
                (fact("Processor", html! { (one_line(&figures::processor(machine))) ", " (verdict::plural(machine.cores, "core")) }))
                (fact("Memory", html! { (figures::bytes(machine.memory_bytes)) }))
                (fact("System", html! { (one_line(&machine.os)) " " (one_line(&machine.arch)) }))
                (fact("trtgate", html! { (one_line(&machine.trtgate)) }))
                (fact("Started", html! { (one_line(&report.started)) }))
                (fact("Wall time", html! { (figures::seconds(report.wall_seconds)) ", of which trtgate's own " (figures::seconds(report.own_seconds)) }))
            }
            @if !report.command.is_empty() { (command("Command", &report.command)) }
            @if !report.shards.is_empty() {
                (scroll("shards", html! {
                    table {
                        caption id="shards" { "Shards" }
                        thead { tr { th scope="col" { "Report" } th scope="col" { "Machine" } th scope="col" { "Started" } th.number scope="col" { "Time" } th.number scope="col" { "Cells" } } }
                        tbody {
                            @for shard in &report.shards {
                                tr {
                                    th scope="row" { (one_line(&shard.name)) }
                                    td { (one_line(&shard.machine.cpu)) ", " (device(&shard.machine)) }
                                    td { (one_line(&shard.started)) }
                                    td.number { (figures::seconds(shard.wall_seconds)) }
                                    td.number { (shard.cells.len()) }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// A command that one click selects.
fn command(label: &str, text: &str) -> Markup {
    html! {
        div.command {
            span.label { (label) }
            pre tabindex="0" role="region" aria-label={ (label) " command" } { code { (one_line(text)) } }
        }
    }
}

/// A region that scrolls by itself where the window is narrow; `label` is the id of its caption.
fn scroll(label: &str, content: Markup) -> Markup {
    html! { div.scroll role="region" aria-labelledby=(label) tabindex="0" { (content) } }
}

/// Status in a word and a sign, so that colour is not needed.
fn badge(status: Status) -> Markup {
    html! { span.badge.(status_class(status)) { span aria-hidden="true" { (sign(status)) } " " (status) } }
}

/// The badge of a cell, which may be the reference itself.
fn cell_badge(cell: &CellReport) -> Markup {
    match layout::word(cell) {
        word @ layout::REFERENCE => html! { span.badge.skip { span aria-hidden="true" { "=" } " " (word) } },
        _ => badge(cell.status),
    }
}

/// The class of a cell's status.
fn cell_class(cell: &CellReport) -> &'static str {
    if layout::word(cell) == layout::REFERENCE { "skip" } else { status_class(cell.status) }
}

/// Text from outside on one line, parts in backticks as code.
fn prose(text: &str) -> Markup {
    let line = one_line(text);
    let parts: Vec<&str> = line.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return html! { (line) };
    }
    html! {
        @for (index, part) in parts.iter().enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn cell_title(cell: &CellReport) -> String {
    let shape = cell.shape.as_ref().map(|shape| format!(" · {shape}")).unwrap_or_default();
    format!("{} · {} · batch {}{shape}", cell.runtime, cell.precision, cell.batch)
}

/// The fragment of a cell's panel.
fn anchor(id: &CellId) -> String {
    let name = id.to_string();
    name.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '-' }).collect()
}

fn sign(status: Status) -> &'static str {
    match status {
        Status::Pass => "✓",
        Status::Fail => "✗",
        Status::Invalid => "!",
        Status::Unsupported | Status::Unavailable => "–",
    }
}

fn status_class(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::Invalid => "invalid",
        Status::Unsupported | Status::Unavailable => "skip",
    }
}

fn verdict_sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Fail => "✗",
        Verdict::Incomplete => "!",
    }
}

fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "Pass",
        Verdict::Fail => "Fail",
        Verdict::Incomplete => "Incomplete",
    }
}

fn verdict_sentence(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "passed",
        Verdict::Fail => "failed",
        Verdict::Incomplete => "is incomplete",
    }
}

fn device(machine: &Machine) -> String {
    figures::gpus(machine).as_deref().map_or_else(|| "no GPU".to_owned(), one_line)
}

/// `2026-03-01T12:00:00Z` as `2026-03-01 12:00 UTC`; anything else as it is.
fn readable_time(text: &str) -> String {
    let minute = text.get(..16).filter(|_| text.ends_with('Z') && text.is_ascii());
    match minute.and_then(|minute| minute.split_once('T')) {
        Some((day, minute)) => format!("{day} {minute} UTC"),
        None => one_line(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::sample;

    #[test]
    fn no_address_outside_the_page() {
        for report in [sample::passing(), sample::failing(), sample::cpu_only(), sample::tasks()] {
            let page = render(&report);
            // The one address is the namespace of the icon, which nothing loads.
            let without_icon = page.replace(ICON, "");
            assert!(!without_icon.contains("://"));
            assert!(!page.contains("<script") && !page.contains("@import"));
        }
    }

    #[test]
    fn hostile_text_stays_text() {
        let hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(1)> `</code><b>` & \u{202e}";
        let mut report = sample::failing();
        report.model.name = hostile.into();
        report.model.classes = vec![hostile.into(); 10];
        report.command = hostile.into();
        report.started = hostile.into();
        report.machine.gpu = Some(hostile.into());
        for rule in &mut report.cross {
            (rule.name, rule.detail) = (hostile.into(), hostile.into());
        }
        for cell in &mut report.cells {
            (cell.reason, cell.hint, cell.version) = (Some(hostile.into()), Some(hostile.into()), Some(hostile.into()));
            cell.replay = hostile.into();
            for check in &mut cell.checks {
                (check.name, check.detail) = (hostile.into(), hostile.into());
            }
            for leg in &mut cell.legs {
                (leg.name, leg.detail) = (hostile.into(), Some(hostile.into()));
            }
            if let Some(baseline) = &mut cell.baseline {
                (baseline.verdict, baseline.detail) = (hostile.into(), hostile.into());
                baseline.history = vec![(hostile.into(), 1.0), (hostile.into(), 2.0)];
            }
        }
        for image in report.probe_images.values_mut() {
            image.png_base64 = format!("{}{hostile}", image.png_base64);
        }
        let page = render(&report);
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("<b>\u{20}&"));
        assert!(!page.contains("'><") && !page.contains("data:image/png"));
    }

    #[test]
    fn figures_that_are_not_finite_draw_nothing_broken() {
        let mut report = sample::passing();
        for (index, cell) in report.cells.iter_mut().enumerate() {
            let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0][index % 4];
            if let (Some(error), Some(timing), Some(baseline)) = (&mut cell.error, &mut cell.timing, &mut cell.baseline)
            {
                (error.max_abs, error.p99_abs, error.sqnr_db) = (odd, odd, odd);
                (timing.samples_per_second, baseline.ratio) = (odd, Some(odd));
                (baseline.threshold, baseline.baseline_samples_per_second) = (Some(odd), Some(odd));
                baseline.history = vec![("2026-01-01".into(), odd), (String::new(), odd)];
            }
            if let Some(histogram) = &mut cell.histogram {
                (histogram.from, histogram.step) = (odd, odd);
            }
        }
        let page = render(&report);
        for name in ["d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"] {
            for rest in page.split(&format!(" {name}=\"")).skip(1) {
                let value = rest.split('"').next().unwrap();
                let broken = value.contains("NaN") || value.contains("inf");
                let negative = matches!(name, "width" | "height") && value.starts_with('-');
                assert!(!broken && !negative, "{name}={value}");
            }
        }
    }

    #[test]
    fn drawings_of_any_figures_are_whole_and_say_nothing_but_text() {
        use crate::findings::shown::Shown;
        let hostile = "\"'><script>alert(1)</script>";
        for odd in [f64::NAN, f64::INFINITY, -1e300, 0.0] {
            let mut report = sample::tasks();
            for found in report.cells.iter_mut().flat_map(|cell| &mut cell.outputs) {
                found.output = hostile.into();
                match &mut found.shown {
                    Some(Shown::Boxes(boxes)) => {
                        boxes.extent = [odd, 32.0];
                        boxes.reference.iter_mut().for_each(|one| (one.corners[2], one.class) = (odd, i64::MIN));
                    }
                    Some(Shown::Map(map)) => {
                        map.actual = vec![(usize::MAX, usize::MAX)];
                        map.width = if odd == 0.0 { usize::MAX } else { map.width };
                    }
                    Some(Shown::Cosines(cosines)) => (cosines.histogram.from, cosines.allowed) = (odd, odd),
                    Some(Shown::Tokens(_)) | None => {}
                }
            }
            let page = render(&report);
            assert!(!page.contains("<script"), "{odd}");
            for name in ["x", "y", "width", "height", "viewBox"] {
                for rest in page.split(&format!(" {name}=\"")).skip(1) {
                    let value = rest.split('"').next().unwrap();
                    assert!(!value.contains("NaN") && !value.contains("inf"), "{name}={value}");
                }
            }
        }
    }

    #[test]
    fn anchors_are_unique() {
        let report = sample::many(2000);
        let anchors: std::collections::BTreeSet<String> = report.cells.iter().map(|cell| anchor(&cell.id())).collect();
        assert_eq!(anchors.len(), report.cells.len());
    }

    /// Versions that nothing ran are no section, a link to it would lead nowhere, and that they could not be compared is no headline.
    #[test]
    fn what_did_not_run_is_out_of_the_way_and_every_link_leads_somewhere() {
        let mut idle = sample::versions();
        let rows = idle.versions.iter_mut().flat_map(|row| &mut row.versions);
        rows.for_each(|figures| figures.status = Status::Unavailable);
        idle.cells.iter_mut().for_each(|cell| cell.status = Status::Unavailable);
        let rule = CheckResult {
            name: "versions".into(),
            status: Status::Unavailable,
            detail: "0 of 12 pairs".into(),
            gating: false,
        };
        idle.cross = vec![rule];
        let page = render(&idle);
        let (before, folded) = page.split_once("0 rules hold, 1 could not be looked at").unwrap();
        assert!(!before.contains("0 of 12 pairs") && folded.contains("0 of 12 pairs"));
        assert!(page.contains(&format!("{} cells that did not run", idle.cells.len())));
        for report in
            [idle, sample::passing(), sample::failing(), sample::cpu_only(), sample::tasks(), sample::versions()]
        {
            let page = render(&report);
            for rest in page.split("href=\"#").skip(1) {
                let target = rest.split('"').next().unwrap();
                assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
            }
        }
    }

    #[test]
    fn an_empty_report_is_a_page() {
        let mut report = sample::cpu_only();
        report.cells.clear();
        report.judge();
        assert!(render(&report).contains("is incomplete"));
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(readable_time("2026-03-01T12:00:00Z"), "2026-03-01 12:00 UTC");
        assert_eq!(readable_time("yesterday"), "yesterday");
    }
}
