//! The matrix as a heat table: rows are runtime and precision, columns batch sizes. Which figure it shows is chosen by
//! radio buttons and CSS alone.

use maud::{Markup, html};

use super::{anchor, cell_class, scroll, sign};
use crate::findings::leads::{points, rough};
use crate::findings::{CellReport, LeadFigures, Report};
use crate::report::figures;
use crate::report::layout::{self, Group};
use crate::report::outputs;
use crate::vocabulary::Status;

/// Shades of the heat scale.
const LEVELS: usize = 5;

/// A figure that the table can show.
struct View {
    id: &'static str,
    label: &'static str,
    /// The figure, where the cell has it.
    value: fn(&CellReport) -> Option<f64>,
    text: fn(&CellReport) -> String,
    /// What the ends of the scale mean.
    unit: fn(f64) -> String,
    /// Whether equal ratios, not equal differences, are equal steps.
    logarithmic: bool,
}

const VIEWS: [View; 5] = [
    View {
        id: "loss",
        label: "Points lost",
        value: |cell| cell.leads.as_ref().map(|leads| if leads.has_loss() { leads.loss } else { 0.0 }),
        text: |cell| cell.leads.as_ref().map_or_else(String::new, lost),
        unit: points,
        logarithmic: true,
    },
    View {
        id: "leads",
        label: "Leads off",
        value: |cell| cell.leads.as_ref().map(|leads| leads.error),
        text: |cell| cell.leads.as_ref().map_or_else(String::new, |leads| rough(leads.error)),
        unit: rough,
        logarithmic: true,
    },
    View {
        id: "error",
        label: "Largest error",
        value: |cell| cell.error.as_ref().map(|error| error.max_abs),
        text: |cell| cell.error.as_ref().map_or_else(String::new, |error| figures::error(error.max_abs)),
        unit: figures::error,
        logarithmic: true,
    },
    View {
        id: "rate",
        label: "Samples/s",
        value: |cell| cell.timing.as_ref().map(|timing| timing.typical_samples_per_second()),
        text: |cell| {
            cell.timing.as_ref().map_or_else(String::new, |timing| figures::rate(timing.typical_samples_per_second()))
        },
        unit: figures::rate,
        logarithmic: true,
    },
    View {
        id: "size",
        label: "Size",
        value: |cell| cell.artifact.as_ref().map(|artifact| artifact.bytes as f64),
        text: |cell| cell.artifact.as_ref().map_or_else(String::new, |artifact| figures::bytes(artifact.bytes)),
        unit: |value| figures::bytes(value as u64),
        logarithmic: false,
    },
];

/// The heat scale of one view: the range of its finite figures.
struct Heat<'view> {
    view: &'view View,
    low: f64,
    high: f64,
}

impl<'view> Heat<'view> {
    /// `None` when no cell has the figure.
    fn of(view: &'view View, report: &Report) -> Option<Self> {
        let values = || report.cells.iter().filter_map(view.value).filter(|&value| view.measures(value));
        let any = report.cells.iter().any(|cell| (view.value)(cell).is_some());
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        any.then_some(if low <= high { Self { view, low, high } } else { Self { view, low: 0.0, high: 0.0 } })
    }

    /// The shade of a figure, 0 the lightest; what is not finite gets the darkest.
    fn level(&self, value: f64) -> usize {
        if !value.is_finite() {
            return LEVELS - 1;
        }
        let place = |value: f64| if self.view.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        if !self.view.measures(value) || self.high <= self.low {
            return 0;
        }
        let share = (place(value) - place(self.low)) / (place(self.high) - place(self.low));
        ((share * LEVELS as f64) as usize).min(LEVELS - 1)
    }
}

impl View {
    /// Whether `value` has a place on the scale.
    fn measures(&self, value: f64) -> bool {
        value.is_finite() && (!self.logarithmic || value > 0.0)
    }
}

/// The section with its views, table and legend.
pub(super) fn section(report: &Report) -> Markup {
    let batches = layout::batches(report);
    let groups = layout::groups(&report.cells);
    let scales: Vec<Heat<'_>> = VIEWS.iter().filter_map(|view| Heat::of(view, report)).collect();
    html! {
        section.matrix-section aria-labelledby="matrix" {
            h2 id="matrix" { "Matrix" }
            fieldset.views {
                legend { "Show" }
                label { input type="radio" name="view" id="view-status" checked; span { "Status" } }
                @for scale in &scales {
                    label { input type="radio" name="view" id={ "view-" (scale.view.id) }; span { (scale.view.label) } }
                }
            }
            (scroll("matrix-caption", html! {
                table.matrix {
                    caption { span id="matrix-caption" { "Cells by runtime, precision and batch size; each leads to its details" } }
                    thead {
                        tr {
                            th scope="col" { "Runtime, precision" }
                            @for batch in &batches { th scope="col" { "Batch " (batch) } }
                        }
                    }
                    tbody {
                        @for group in &groups { (row(group, &batches, &scales)) }
                    }
                }
            }))
            (legend(&scales))
        }
    }
}

fn row(group: &Group<'_>, batches: &[u32], scales: &[Heat<'_>]) -> Markup {
    html! {
        tr {
            th scope="row" { span.runtime { (group.runtime_name()) } " " span.precision { (group.precision_name()) } }
            @for &batch in batches {
                @match group.batch(batch) {
                    Some(cell) => (entry(cell, scales)),
                    None => td.absent { span.hidden { "not planned" } },
                }
            }
        }
    }
}

fn entry(cell: &CellReport, scales: &[Heat<'_>]) -> Markup {
    let ran = !matches!(cell.status, Status::Unsupported | Status::Unavailable);
    let mut classes = vec![cell_class(cell).to_owned()];
    for scale in scales {
        if let Some(value) = (scale.view.value)(cell) {
            classes.push(format!("{}-{}", scale.view.id, scale.level(value)));
        }
    }
    html! {
        td class=(classes.join(" ")) {
            a href={ "#" (anchor(&cell.id())) } {
                @let reference = layout::word(cell) == layout::REFERENCE;
                span.state {
                    span aria-hidden="true" { @if reference { "=" } @else { (sign(cell.status)) } } " " (layout::word(cell))
                }
                @for scale in scales {
                    @let text = (scale.view.text)(cell);
                    span.figure.(format!("of-{}", scale.view.id)) {
                        @if text.is_empty() { span.muted { @if ran { "none" } @else { "–" } } } @else { (text) }
                    }
                }
                @if ran { span.more { (summary(cell)) } }
            }
        }
    }
}

/// The second line of a cell in the overview.
fn summary(cell: &CellReport) -> String {
    match (&cell.leads, &cell.timing) {
        (Some(leads), Some(timing)) => {
            format!("{} · {}/s", lost(leads), figures::rate(timing.typical_samples_per_second()))
        }
        (Some(leads), None) => lost(leads),
        (None, _) if cell.status == Status::Pass => outputs::stood(cell),
        (None, _) => format!("at {}", cell.stage),
    }
}

/// `1.2 points`, or `no loss`.
fn lost(leads: &LeadFigures) -> String {
    if leads.has_loss() { points(leads.loss) } else { "no loss".to_owned() }
}

fn legend(scales: &[Heat<'_>]) -> Markup {
    html! {
        div.legend {
            @for scale in scales.iter().filter(|scale| scale.high > scale.low) {
                p.scale.(format!("of-{}", scale.view.id)) {
                    span { ((scale.view.unit)(scale.low)) }
                    span.ramp aria-hidden="true" { @for level in 0..LEVELS { i.(format!("level-{level}")) {} } }
                    span { ((scale.view.unit)(scale.high)) }
                    @if scale.view.logarithmic { span.muted { "logarithmic" } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::report::sample;

    #[rstest]
    #[case(0.0, 0)]
    #[case(3.8e-6, 0)]
    #[case(0.0041, 2)]
    #[case(0.55, 4)]
    #[case(f64::NAN, 4)]
    #[case(f64::INFINITY, 4)]
    fn errors_are_shaded_by_their_size(#[case] error: f64, #[case] level: usize) {
        let report = sample::passing();
        assert_eq!(Heat::of(&VIEWS[2], &report).unwrap().level(error), level);
    }

    #[test]
    fn a_figure_that_no_cell_has_is_no_view() {
        assert!(Heat::of(&VIEWS[3], &sample::cpu_only()).is_none());
    }
}
