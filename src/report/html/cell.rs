//! A panel a cell: checks, legs, error distribution, worst probes, timing with its history, artifact, replay.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{anchor, badge, cell_badge, cell_title, chart, command, drawn, evidence, fact, prose};
use crate::findings::ranges::Ranges;
use crate::findings::verdict::plural;
use crate::findings::{BaselineVerdict, CellReport, CheckResult, LeadFigures, Leg, Report, TimingSummary, WorstProbe};
use crate::report::figures;
use crate::report::layout;
use crate::report::outputs::figure;
use crate::report::text::{one_line, shortened};
use crate::vocabulary::{CellId, Status};

/// Panels of cells that did not fail; a page with thousands of them would be too heavy for a phone.
const PASSING_PANELS: usize = 400;
/// Panels that are open at once.
const OPEN_PANELS: usize = 6;

/// The section with the panels, grouped by runtime and precision.
pub(super) fn section(report: &Report) -> Markup {
    let groups = layout::groups(&report.cells);
    let troubled: Vec<&CellReport> = layout::troubled(report);
    let opened: BTreeSet<CellId> = troubled.iter().take(OPEN_PANELS).map(|cell| cell.id()).collect();
    let is_troubled = |cell: &&CellReport| matches!(cell.status, Status::Fail | Status::Invalid);
    let calm = groups.iter().flat_map(|group| group.cells.iter().copied()).filter(|cell| !is_troubled(cell));
    let left_out: BTreeSet<CellId> = calm.skip(PASSING_PANELS).map(CellReport::id).collect();
    let panels = |group: &layout::Group<'_>| {
        html! {
            h3.group { (group.runtime_name()) " · " (group.precision_name()) }
            @for cell in &group.cells {
                @if left_out.contains(&cell.id()) {
                    p.left-out id=(anchor(&cell.id())) { (cell_badge(cell)) " batch " (cell.batch) }
                } @else {
                    (panel(report, cell, opened.contains(&cell.id())))
                }
            }
        }
    };
    let (idle, ran): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.cells.iter().all(|cell| is_idle(cell)));
    html! {
        section aria-labelledby="cells" {
            h2 id="cells" { "Cells" }
            @for group in &ran { (panels(group)) }
            // Folded away, so that what was judged is not lost among what was not; a link to one opens it.
            @if !idle.is_empty() {
                div.idle {
                    details.figures {
                        summary { (plural(idle.iter().map(|group| group.cells.len()).sum(), "cell")) " that did not run" }
                        @for group in &idle { (panels(group)) }
                    }
                }
            }
            @if !left_out.is_empty() {
                p.muted {
                    "Details of " (plural(left_out.len(), "cell")) " that did not fail are left out to keep the page light; "
                    "the JSON report has them."
                }
            }
        }
    }
}

/// Whether a cell counts neither for nor against the verdict.
fn is_idle(cell: &CellReport) -> bool {
    matches!(cell.status, Status::Unsupported | Status::Unavailable)
}

fn panel(report: &Report, cell: &CellReport, open: bool) -> Markup {
    html! {
        details.cell.(super::cell_class(cell)) open[open] {
            summary {
                (cell_badge(cell))
                span.title { span.hidden { (cell.runtime) " " (cell.precision) " " } "batch " (cell.batch) }
                span.key { (key_figures(cell)) }
            }
            // The fragment is inside, so that following a link to it opens the panel.
            div.body id=(anchor(&cell.id())) {
                @if let Some(reason) = &cell.reason { (super::reason(reason)) }
                (evidence(cell))
                @if !cell.warnings.is_empty() || !cell.notes.is_empty() {
                    ul.reasons {
                        @for warning in &cell.warnings { li { b { "Warning: " } (prose(warning)) } }
                        @for note in &cell.notes { li { (prose(note)) } }
                    }
                }
                div.columns {
                    (facts(cell))
                    (distribution(cell))
                    @if let Some(baseline) = &cell.baseline { (history(cell, cell.timing.as_ref(), baseline)) }
                }
                @if let Some(found) = &cell.ranges { (ranges(found)) }
                (outputs(report, cell))
                (checks(cell))
                (legs(&cell.legs))
                (worst(report, cell))
                (command("Replay", &cell.replay))
            }
        }
    }
}

fn key_figures(cell: &CellReport) -> String {
    let mut parts = Vec::new();
    if cell.status != Status::Pass {
        parts.push(format!("at {}", cell.stage));
    }
    parts.extend(cell.leads.as_ref().map(LeadFigures::sentence));
    parts.extend(
        cell.timing.as_ref().map(|timing| format!("{} samples/s", figures::rate(timing.typical_samples_per_second()))),
    );
    parts.join(" · ")
}

fn facts(cell: &CellReport) -> Markup {
    html! {
        dl.facts {
            @if let Some(leads) = &cell.leads {
                (fact("Cost on ordinary inputs", html! { (leads.sentence()) }))
                (fact("Allowed", html! { (leads.limits()) @if leads.named { b { " (named in the manifest)" } } }))
                (fact("Typical lead", html! {
                    (figures::error(leads.typical)) " nats, the median of " (figures::count(leads.natural_samples as u64)) " natural samples"
                }))
                (fact("All leads together", html! { (format!("{:.4}", leads.slope)) " times the reference's" }))
            }
            @if let Some(fresh) = &cell.fresh {
                (fact("Ordinary samples", html! {
                    (fresh.same) " of " (fresh.samples) " have the reference's answer"
                }))
            }
            @if let Some(agreement) = &cell.agreement {
                (fact("Answers on probes", html! {
                    (agreement.top1_matches) " of " (agreement.samples) " (" (figures::percent(agreement.top1_matches, agreement.samples)) ")"
                }))
                (fact("Flips", html! {
                    (agreement.near_tie_flips) " near-tie, " (agreement.confident_flips) " confident"
                    @if agreement.impossible_flips > 0 { ", " (agreement.impossible_flips) " impossible by arithmetic" }
                }))
                @if !agreement.flip_margins.is_empty() {
                    (fact("Margins of flips", html! {
                        @for (index, &margin) in agreement.flip_margins.iter().enumerate() { @if index > 0 { ", " } (figures::error(f64::from(margin))) }
                    }))
                }
            }
            @if let Some(error) = &cell.error {
                (fact("Absolute error", html! {
                    "max " (figures::error(error.max_abs)) ", p99 " (figures::error(error.p99_abs)) ", mean " (figures::error(error.mean_abs))
                }))
                (fact("SQNR", html! { (figures::decibels(error.sqnr_db)) }))
                (fact("Worst cosine", html! { (format!("{:.6}", error.cosine_min)) }))
                @if error.outside > 0 { (fact("Outside tolerance", html! { (figures::count(error.outside as u64)) " outputs" })) }
            }
            @if let Some(accuracy) = &cell.accuracy {
                (fact("Labelled accuracy", html! {
                    (figures::percent(accuracy.correct, accuracy.samples)) " of " (accuracy.samples)
                    @if let Some(reference) = accuracy.reference_correct { ", reference " (figures::percent(reference, accuracy.samples)) }
                }))
            }
            @if let Some(timing) = &cell.timing { (timing_facts(timing)) }
            @if let Some(baseline) = &cell.baseline { (baseline_facts(baseline)) }
            @if let Some(transfers) = &cell.transfers {
                (fact("Copies", html! {
                    (figures::count(transfers.copies_in)) " in, " (figures::count(transfers.copies_out)) " out, "
                    (figures::bytes(transfers.bytes_in.saturating_add(transfers.bytes_out)))
                }))
            }
            @if let Some(bytes) = cell.memory.and_then(|memory| memory.context_bytes) {
                (fact("Device memory of a context", html! { (figures::bytes(bytes)) }))
            }
            @if let Some(bytes) = cell.memory.and_then(|memory| memory.process_bytes) {
                (fact("Device memory of the process", html! { (figures::bytes(bytes)) " at its highest, while it was measured" }))
            }
            @if let Some(gpu) = cell.gpu { (fact("GPU", html! { "number " (gpu) })) }
            @if let Some(replicas) = &cell.replicas { (fact("Replicas", html! { (replicas.sentence()) })) }
            @if let Some(set) = &cell.instruction_set { (fact("Instruction set", html! { code { (one_line(set.as_str())) } })) }
            @if let Some(emulated) = &cell.emulated { (fact("Emulated", html! { (one_line(emulated)) })) }
            @if let Some(artifact) = &cell.artifact {
                (fact("Artifact", html! {
                    (artifact.kind)
                    @if artifact.bytes > 0 { ", " (figures::bytes(artifact.bytes)) }
                    @if artifact.cached { ", from the store" } @else if artifact.build_seconds > 0.0 { ", made in " (figures::seconds(artifact.build_seconds)) }
                }))
                (fact("Artifact sha256", html! { code { (figures::short_digest(&one_line(&artifact.sha256))) } }))
            }
            @if let Some(version) = &cell.version { (fact("Runtime version", html! { (one_line(version)) })) }
            @if let Some(seconds) = &cell.seconds {
                (fact("Time", html! { "load " (figures::seconds(seconds.load)) ", run " (figures::seconds(seconds.run)) }))
            }
        }
    }
}

fn timing_facts(timing: &TimingSummary) -> Markup {
    let contract = &timing.contract;
    let transfers = match (contract.transfers_in, contract.transfers_out) {
        (true, true) => "transfers in and out",
        (true, false) => "transfers in",
        (false, true) => "transfers out",
        (false, false) => "no transfers",
    };
    html! {
        (fact("Throughput", html! {
            (figures::rate(timing.typical_samples_per_second())) " samples/s, "
            (figures::rate(timing.samples_per_second)) " with all that disturbed it"
        }))
        (fact("Batch time", html! {
            "median " (figures::milliseconds(timing.median_milliseconds)) ", p90 " (figures::milliseconds(timing.p90_milliseconds))
            ", p99 " (figures::milliseconds(timing.p99_milliseconds)) ", variation " (format!("{:.1}%", timing.variation * 100.0))
        }))
        (fact("Timing contract", html! {
            (format!("{:?}", contract.mode).to_lowercase()) ", " (transfers) ", " (plural(contract.streams, "stream"))
            @if contract.graph { ", CUDA graph" } ", " (figures::count(timing.iterations)) " batches"
        }))
        @if timing.repetitions.len() > 1 { (fact("Repetitions", html! { (timing.repetitions.len()) ", each in a process of its own" })) }
        @if let Some(cost) = timing.enqueue_microseconds { (fact("Host cost", html! { (format!("{cost:.1} µs a batch")) })) }
    }
}

fn baseline_facts(baseline: &BaselineVerdict) -> Markup {
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    html! {
        @if baseline.ratio.is_none() { (fact("Against baseline", html! { (baseline.detail) })) }
        @if let Some(ratio) = baseline.ratio {
            (fact("Against baseline", html! {
                (figures::change(ratio))
                @if let Some(again) = baseline.confirming_ratio { ", " (figures::change(again)) " when run again" }
                @if let Some(threshold) = baseline.threshold { ", fails below " (figures::change(threshold)) }
            }))
        }
        @if let Some(noise) = baseline.noise {
            (fact("Noise of the series", html! {
                (percent(noise))
                @if let Some(least) = baseline.detectable_slowdown { ", slowdowns from " (percent(least)) " on are caught" }
            }))
        }
    }
}

fn distribution(cell: &CellReport) -> Markup {
    let Some(histogram) = &cell.histogram else { return html! {} };
    let marks: Vec<(&str, f64)> =
        cell.error.iter().flat_map(|error| [("p99", error.p99_abs), ("max", error.max_abs)]).collect();
    match chart::histogram(&format!("{}: distribution of the absolute error", cell_title(cell)), histogram, &marks) {
        Some(svg) => html! { figure { figcaption { "Absolute error of the outputs" } (svg) } },
        None => html! {},
    }
}

fn history(cell: &CellReport, timing: Option<&TimingSummary>, baseline: &BaselineVerdict) -> Markup {
    let now = timing.map(|timing| timing.typical_samples_per_second());
    let label = format!("{}: samples per second in earlier runs and now", cell_title(cell));
    html! {
        @if let Some(svg) = chart::history(&label, baseline, now) {
            figure { figcaption { "Samples/s over time: " (prose(&baseline.detail)) } (svg) }
        }
    }
}

/// What left the range of half precision.
fn ranges(found: &Ranges) -> Markup {
    let effect = |reaches: Option<bool>| match reaches {
        Some(true) => "; reaches the output",
        Some(false) => "; does not reach the output",
        None => "",
    };
    html! {
        h4 { "Range of half precision" }
        p.muted {
            (plural(found.tensors, "tensor")) " of an FP32 run on " (plural(found.samples, "sample")) ": "
            (found.beyond_count) " beyond the range, " (found.near_count) " within one bit of its end, "
            (plural(found.altered_count, "stored tensor")) " altered by the conversion"
            @for unseen in &found.unseen { "; " (one_line(unseen)) }
        }
        ul.checks {
            @for tensor in &found.beyond { li { span { (prose(&tensor.to_string())) (effect(tensor.reaches_output)) } } }
            @for tensor in &found.altered { li { span { (prose(&tensor.to_string())) (effect(tensor.reaches_output)) } } }
        }
    }
}

/// What was found of each output, its figures beside their limits.
fn outputs(report: &Report, cell: &CellReport) -> Markup {
    if cell.outputs.is_empty() {
        return html! {};
    }
    html! {
        h4 { "Outputs" }
        ul.checks {
            @for found in &cell.outputs {
                li {
                    (badge(found.status))
                    span {
                        b { (one_line(&found.output)) } " " span.muted { (found.task) } " " (prose(found.sentence()))
                        @for one in &found.figures { span.muted { " · " (figure(one)) } }
                        @if found.borderline + found.confident > 0 {
                            span.muted { " · " (found.borderline) " changed where the reference was not sure, " (found.confident) " where it was" }
                        }
                    }
                }
            }
        }
        @if cell.outputs.iter().any(|found| found.shown.is_some()) {
            div.drawings { @for found in &cell.outputs { (drawn::drawing(report, found)) } }
        }
    }
}

fn checks(cell: &CellReport) -> Markup {
    // What an output's own check says stands above.
    let own = |check: &&CheckResult| cell.outputs.iter().all(|found| found.detail != check.detail);
    let checks: Vec<&CheckResult> = cell.checks.iter().filter(own).collect();
    if checks.is_empty() {
        return html! {};
    }
    html! {
        h4 { "Checks" }
        ul.checks {
            @for check in checks {
                li { (badge(check.status)) span { b { (one_line(&check.name)) } @if !check.gating { span.muted { " shown only" } } " " (prose(&check.detail)) } }
            }
        }
    }
}

fn legs(legs: &[Leg]) -> Markup {
    if legs.is_empty() {
        return html! {};
    }
    html! {
        h4 { "Legs of the chain" }
        ol.legs {
            @for leg in legs {
                li.(super::status_class(leg.status)) {
                    (badge(leg.status)) b { (one_line(&leg.name)) }
                    @if let Some(error) = &leg.error { span.muted { "max " (figures::error(error.max_abs)) ", " (figures::decibels(error.sqnr_db)) } }
                }
            }
        }
    }
}

fn worst(report: &Report, cell: &CellReport) -> Markup {
    if cell.worst.is_empty() {
        return html! {};
    }
    html! {
        h4 { "Probes with the largest error" }
        ul.probes {
            @for worst in &cell.worst { (probe(report, worst, cell.status == Status::Fail)) }
        }
    }
}

/// A flip in a cell that passed is a near-tie: shown, but not in the colour of failure.
fn probe(report: &Report, worst: &WorstProbe, failed: bool) -> Markup {
    let answer = |top: &[(usize, f32)]| top.first().map(|&(class, _)| class);
    let flipped = answer(&worst.reference_top3) != answer(&worst.actual_top3);
    let shown =
        report.probe_images.get(&worst.probe).is_some_and(|image| crate::report::image::is_base64(&image.png_base64));
    html! {
        li.probe.flipped[flipped] {
            @if shown {
                svg.picture role="img" aria-label={ "Probe " (worst.probe) } { use href={ "#probe-" (worst.probe) } {} }
            }
            div {
                p { b { "Probe " (worst.probe) } span.muted { " max error " (figures::error(worst.max_abs)) } @if flipped { " " span.badge.(if failed { "fail" } else { "invalid" }) { span aria-hidden="true" { "⇄" } " flipped" } } }
                table {
                    caption.hidden { "Three best classes of probe " (worst.probe) }
                    thead { tr { th scope="col" { "Reference" } th scope="col" { "Actual" } } }
                    tbody {
                        @for place in 0..worst.reference_top3.len().max(worst.actual_top3.len()) {
                            tr { (score(report, worst.reference_top3.get(place))) (score(report, worst.actual_top3.get(place))) }
                        }
                    }
                }
            }
        }
    }
}

fn score(report: &Report, score: Option<&(usize, f32)>) -> Markup {
    html! {
        td {
            @if let Some(&(class, output)) = score {
                span.class {
                    @match report.model.classes.get(class) { Some(name) => (shortened(name, 24)), None => { "class " (class) } }
                }
                " " span.number { (format!("{output:.2}")) }
            }
        }
    }
}
