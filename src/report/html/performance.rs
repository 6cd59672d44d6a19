//! Throughput by batch and precision, change against the baselines, and sizes of the artifacts.

use maud::{Markup, html};

use super::chart::{self, Band, Point, Series};
use super::{badge, cell_title, scroll};
use crate::findings::{ArtifactReport, BaselineVerdict, CellReport, Report, TimingSummary};
use crate::report::figures;
use crate::report::layout::{self, Group};
use crate::vocabulary::{Precision, RuntimeId, Status};

/// Throughput: one panel a runtime with the same axes, and a table of the figures.
pub(super) fn section(report: &Report) -> Markup {
    let batches = layout::batches(report);
    let groups = layout::groups(report.cells.iter().filter(|cell| cell.timing.is_some()));
    let rates = || {
        let measured = report.cells.iter().filter_map(|cell| cell.timing.as_ref());
        let stored = report.cells.iter().filter_map(|cell| cell.baseline.as_ref()?.baseline_samples_per_second);
        measured
            .map(|timing| timing.typical_samples_per_second())
            .chain(stored)
            .filter(|rate| rate.is_finite() && *rate > 0.0)
    };
    let range = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    let mut runtimes: Vec<(&RuntimeId, Vec<&Group<'_>>)> = Vec::new();
    for group in &groups {
        match runtimes.iter_mut().find(|(runtime, _)| *runtime == group.runtime) {
            Some((_, groups)) => groups.push(group),
            None => runtimes.push((group.runtime, vec![group])),
        }
    }
    html! {
        section aria-labelledby="performance" {
            h2 id="performance" { "Performance" }
            p.lead {
                "Samples per second by batch size, on one logarithmic scale for all runtimes. A dashed line is the stored baseline; "
                "the band around it is what the gate allows."
            }
            @if range.0 <= range.1 {
                div.panels {
                    @for (runtime, groups) in &runtimes { (panel(runtime, groups, &batches, range)) }
                }
            }
            (table(report))
        }
    }
}

fn panel(runtime: &RuntimeId, groups: &[&Group<'_>], batches: &[u32], range: (f64, f64)) -> Markup {
    let series: Vec<Series> = groups
        .iter()
        .map(|group| {
            let place = |cell: &CellReport| batches.iter().position(|&batch| batch == cell.batch).unwrap_or(0);
            Series {
                name: group.precision.to_string(),
                style: style(group.precision),
                points: group
                    .cells
                    .iter()
                    .filter_map(|cell| {
                        Some(Point { place: place(cell), value: cell.timing.as_ref()?.typical_samples_per_second() })
                    })
                    .collect(),
                bands: group.cells.iter().filter_map(|cell| band(place(cell), cell.baseline.as_ref()?)).collect(),
            }
        })
        .collect();
    let best = groups
        .iter()
        .flat_map(|group| &group.cells)
        .filter_map(|cell| Some((cell, cell.timing.as_ref()?.typical_samples_per_second())))
        .filter(|(_, rate)| rate.is_finite())
        .max_by(|(_, left), (_, right)| left.total_cmp(right));
    let label = match best {
        Some((cell, rate)) => format!(
            "{runtime}: samples per second by batch size. The highest is {} with {} at batch {}.",
            figures::rate(rate),
            cell.precision,
            cell.batch
        ),
        None => format!("{runtime}: samples per second by batch size."),
    };
    html! {
        figure.panel {
            figcaption { (runtime) }
            (chart::throughput(&label, batches, &series, range))
        }
    }
}

fn band(place: usize, baseline: &BaselineVerdict) -> Option<Band> {
    let middle = baseline.baseline_samples_per_second.filter(|rate| rate.is_finite() && *rate > 0.0)?;
    let threshold = allowed(baseline).unwrap_or(1.0);
    Some(Band { place, low: middle * threshold, middle, high: middle / threshold })
}

/// The smallest ratio that does not fail, where it makes sense.
fn allowed(baseline: &BaselineVerdict) -> Option<f64> {
    baseline.threshold.filter(|threshold| *threshold > 0.0 && *threshold <= 1.0)
}

fn table(report: &Report) -> Markup {
    let measured: Vec<(&CellReport, &TimingSummary)> =
        report.cells.iter().filter_map(|cell| Some((cell, cell.timing.as_ref()?))).collect();
    let ratios =
        measured.iter().filter_map(|(cell, _)| cell.baseline.as_ref()?.ratio).filter(|ratio| ratio.is_finite());
    // One scale for all rows, wide enough for the largest move and for the bands.
    let reach = ratios.map(|ratio| (ratio - 1.0).abs() * 1.15).fold(0.12, f64::max).min(1.0);
    html! {
        details.figures {
            summary { "Figures of " (measured.len()) " measured cells" }
            (scroll("timings", html! {
                table {
                    caption id="timings" { "Timings, and change of samples per second against the baseline" }
                    thead {
                        tr {
                            th scope="col" { "Cell" }
                            th.number scope="col" { "Samples/s" }
                            th.number scope="col" { "Median" }
                            th.number scope="col" { "p99" }
                            th.number scope="col" { "Variation" }
                            th.number scope="col" { "Baseline" }
                            th scope="col" { "Change" }
                            th scope="col" { "Judged" }
                        }
                    }
                    tbody {
                        @for (cell, timing) in measured {
                            tr {
                                th scope="row" { (cell_title(cell)) }
                                td.number { (figures::rate(timing.typical_samples_per_second())) }
                                td.number { (figures::milliseconds(timing.median_milliseconds)) }
                                td.number { (figures::milliseconds(timing.p99_milliseconds)) }
                                td.number { (format!("{:.1}%", timing.variation * 100.0)) }
                                @match &cell.baseline {
                                    Some(baseline) => {
                                        td.number { (baseline.baseline_samples_per_second.map_or_else(|| "–".to_owned(), figures::rate)) }
                                        td.change {
                                            @if let Some(ratio) = baseline.ratio {
                                                span.number { (figures::change(ratio)) }
                                                (chart::change(ratio, allowed(baseline), reach))
                                            }
                                        }
                                        td { (judged(&baseline.verdict)) }
                                    }
                                    None => { td.number { "–" } td {} td { "no baseline" } }
                                }
                            }
                        }
                    }
                }
            }))
        }
    }
}

/// The verdict of a baseline as a badge; the word carries it.
fn judged(verdict: &str) -> Markup {
    match verdict {
        "ok" => html! { span.badge.pass { span aria-hidden="true" { "✓" } " ok" } },
        "improved" => html! { span.badge.pass { span aria-hidden="true" { "▲" } " improved" } },
        "fail" => badge(Status::Fail),
        "warn" => html! { span.badge.invalid { span aria-hidden="true" { "!" } " warn" } },
        other => html! { span.badge.skip { (crate::report::text::shortened(other, 40)) } },
    }
}

/// Sizes of the artifacts as bars in a table.
pub(super) fn sizes(report: &Report) -> Markup {
    let mut entries: Vec<(String, &ArtifactReport)> = Vec::new();
    for group in layout::groups(&report.cells) {
        let artifacts = group.artifacts();
        // What is served has no size here.
        for artifact in artifacts.iter().filter(|artifact| artifact.bytes > 0) {
            let mut user = format!("{} {}", group.runtime, group.precision);
            // Static models are one a batch size.
            let uses = |cell: &&CellReport| cell.artifact.as_ref().is_some_and(|used| used.sha256 == artifact.sha256);
            if let (true, Some(cell)) = (artifacts.len() > 1, group.cells.iter().copied().find(|cell| uses(cell))) {
                user.push_str(&format!(", batch {}", cell.batch));
            }
            match entries.iter_mut().find(|(_, other)| other.kind == artifact.kind && other.sha256 == artifact.sha256) {
                Some((users, _)) => users.push_str(&format!("; {user}")),
                None => entries.push((user, artifact)),
            }
        }
    }
    let largest = entries.iter().map(|(_, artifact)| artifact.bytes).max().unwrap_or(1).max(1);
    html! {
        section aria-labelledby="sizes" {
            h2 id="sizes" { "Sizes" }
            (scroll("sizes", html! {
                table.sizes {
                    thead {
                        tr { th scope="col" { "Used by" } th scope="col" { "Artifact" } th.number scope="col" { "Size" } th scope="col" { span.hidden { "Share of the largest" } } }
                    }
                    tbody {
                        @for (users, artifact) in &entries {
                            tr {
                                th scope="row" { (users) }
                                td { (artifact.kind) }
                                td.number { (figures::bytes(artifact.bytes)) }
                                td.bar { (chart::bar(artifact.bytes as f64 / largest as f64)) }
                            }
                        }
                    }
                }
            }))
        }
    }
}

/// Colour and marker of a precision, the same in every chart.
fn style(precision: Precision) -> usize {
    Precision::ALL.iter().position(|&other| other == precision).unwrap_or(0)
}
