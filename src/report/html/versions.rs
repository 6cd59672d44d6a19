//! The matrix turned: a precision and batch a row, the versions of a library beside each other.

use maud::{Markup, html};

use super::{anchor, prose, scroll, sign, status_class};
use crate::findings::Report;
use crate::findings::verdict::plural;
use crate::findings::versions::{VersionFigures, VersionRow};
use crate::report::figures;
use crate::report::text::one_line;
use crate::report::versions::{self, OfLibrary, libraries};
use crate::vocabulary::Status;

/// Whether the page has the section below.
pub(super) fn is_shown(report: &Report) -> bool {
    !libraries(report).is_empty()
}

/// A section of all libraries that stand in the report in several versions; nothing where none does.
pub(super) fn section(report: &Report) -> Markup {
    let libraries = libraries(report);
    if libraries.is_empty() {
        return html! {};
    }
    html! {
        section.versions-section aria-labelledby="versions" {
            h2 id="versions" { "Versions beside each other" }
            p.lead {
                "Judged is each version" @if libraries.iter().any(|of| of.library.is_served()) { " (of a server, each protocol)" } " by itself, against the reference; the sign is that of its cell. Shown is each beside the oldest of its row, held to it by the same limits: "
                "a pair that lies further apart though both pass is told across cells, and fails nothing. "
                "A near tie is an answer of which the older version was not sure. Sizes and speeds are over the oldest that has one."
            }
            @for of in &libraries { (table(of, report)) }
        }
    }
}

fn table(of: &OfLibrary<'_>, report: &Report) -> Markup {
    let id = format!("versions-{}", of.library);
    html! {
        (scroll(&id, html! {
            table.matrix.versions {
                caption { span id=(id) { (of.title()) } }
                thead {
                    tr {
                        th scope="col" { "Precision, batch" }
                        @for version in &of.versions { th scope="col" { (one_line(version)) } }
                    }
                }
                tbody {
                    @for row in &of.rows {
                        tr {
                            th scope="row" { span.precision { (versions::precision(row)) } " " span.runtime { "batch " (row.batch) } }
                            @for version in &of.versions {
                                @match row.versions.iter().position(|one| one.version == *version) {
                                    Some(place) => (entry(of, row, place)),
                                    None => td.absent { span.hidden { "not here" } },
                                }
                            }
                        }
                    }
                }
            }
        }))
        @if let Some(text) = versions::furthest(of, report) { p.lead { (prose(&text)) } }
        @for (reason, pairs) in of.silent() { p.muted { (plural(pairs, "pair")) " not compared: " (prose(reason)) } }
        (pairs(of, report))
    }
}

fn entry(of: &OfLibrary<'_>, row: &VersionRow, place: usize) -> Markup {
    let Some(figures) = row.versions.get(place) else { return html! {} };
    let pair = row.beside_oldest(&figures.version);
    let apart = pair.is_some_and(|pair| pair.status == Status::Fail);
    let class = if apart { "invalid" } else { status_class(figures.status) };
    html! {
        td.(class) {
            a href={ "#" (anchor(&row.cell(&figures.version))) } {
                span.state {
                    span aria-hidden="true" { (sign(figures.status)) } " "
                    @match pair {
                        Some(pair) => (versions::changes(pair)),
                        None => (of.first()),
                    }
                }
                @if let Some(worst) = pair.filter(|pair| !pair.equal).and_then(|pair| pair.worst()) {
                    span.more { @if apart { "beyond the limits, " } "SQNR " (figures::decibels(worst.sqnr_db)) }
                }
                @for text in costs(figures, place == 0) { span.more { (text) } }
            }
        }
    }
}

/// Size, speed and build time, each with its ratio where it has one.
fn costs(figures: &VersionFigures, is_first: bool) -> Vec<String> {
    let beside = |text: String, ratio: Option<f64>| {
        let ratio = versions::ratio(ratio, is_first);
        if ratio.is_empty() { text } else { format!("{text}, {ratio}") }
    };
    let size = figures.bytes.map(|bytes| beside(figures::bytes(bytes), figures.size_ratio));
    let rate =
        figures.samples_per_second.map(|_| beside(format!("{}/s", versions::rate(figures)), figures.speed_ratio));
    let build = figures.build_seconds.map(|seconds| format!("built in {}", figures::seconds(seconds)));
    [size, rate, build].into_iter().flatten().collect()
}

/// Every pair, with what was found of each output.
fn pairs(of: &OfLibrary<'_>, report: &Report) -> Markup {
    let count: usize = of.rows.iter().map(|row| row.pairs.len()).sum();
    let caption = format!("pairs-{}", of.library);
    html! {
        details.figures {
            summary { "All " (plural(count, "pair")) }
            (scroll(&caption, html! {
                table {
                    caption id=(caption) { "Each version beside each older one" }
                    thead {
                        tr {
                            th scope="col" { "Cell" } th scope="col" { "Versions" } th.number scope="col" { "Differ" } th.number scope="col" { "Near ties" }
                            th.number scope="col" { "SQNR" } th scope="col" { "Largest difference" } th scope="col" { "Found" }
                        }
                    }
                    tbody {
                        @for row in &of.rows {
                            @for pair in &row.pairs {
                                @if pair.outputs.is_empty() {
                                    tr {
                                        th scope="row" { (versions::precision(row)) ", batch " (row.batch) }
                                        td { (one_line(&pair.newer)) " beside " (one_line(&pair.older)) }
                                        td.number {} td.number {} td.number {} td {}
                                        td { (prose(&pair.detail)) }
                                    }
                                }
                                @for output in &pair.outputs {
                                    tr {
                                        th scope="row" { (versions::precision(row)) ", batch " (row.batch) @if pair.outputs.len() > 1 { ", " (one_line(&output.output)) } }
                                        td { (one_line(&pair.newer)) " beside " (one_line(&pair.older)) }
                                        td.number { (output.near_ties + output.confident) }
                                        td.number { (output.near_ties) }
                                        td.number { (figures::decibels(output.sqnr_db)) }
                                        td { (output.place_words(&report.model.classes).map(|place| one_line(&place)).unwrap_or_default()) }
                                        td { @if pair.equal { "equal bit by bit" } @else { (prose(&output.detail)) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }))
        }
    }
}
