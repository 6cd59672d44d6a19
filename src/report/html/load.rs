//! Cells under load: what was held, every run, and latency over what was offered.

use maud::{Markup, html};

use super::chart::{Scale, marker, path, power_of_ten, px, round_ticks, short_number};
use super::{prose, scroll};
use crate::findings::{LoadReport, Report};
use crate::report::load::{HEADS, against, cells, is_measured, points, row};

/// The section; nothing where no cell was measured under load.
pub(super) fn section(report: &Report) -> Markup {
    let cells = cells(report);
    html! {
        @if !cells.is_empty() {
            section aria-labelledby="load" {
                h2 id="load" { "Under load" }
                @for (place, (cell, load)) in cells.iter().enumerate() {
                    h3 { (cell.id()) }
                    p { (prose(&load.sentence())) }
                    @if let Some(against) = against(load) { p { (prose(against)) } }
                    @if let Some(svg) = drawn(&format!("Latency over offered load of {}", cell.id()), load) {
                        figure { figcaption { "Latency from the scheduled time, over what was offered" } (svg) }
                    }
                    @let id = format!("load-{place}");
                    (scroll(&id, html! {
                        table {
                            caption id=(id) { "Runs" }
                            thead { tr { @for head in HEADS { th.number scope="col" { (head) } } } }
                            tbody { @for point in points(load) { tr { @for text in row(point) { td.number { (text) } } } } }
                        }
                    }))
                }
            }
        }
    }
}

/// Median and 99th percentile over what was offered, with the bound; nothing with fewer than two runs that were measured.
fn drawn(label: &str, load: &LoadReport) -> Option<Markup> {
    const WIDTH: f64 = 360.0;
    const HEIGHT: f64 = 220.0;
    const LEFT: f64 = 48.0;
    const RIGHT: f64 = 316.0;
    const TOP: f64 = 14.0;
    const BOTTOM: f64 = 170.0;
    let known: Vec<(f64, f64, f64)> = points(load)
        .into_iter()
        .filter(|point| is_measured(point))
        .filter_map(|point| Some((point.offer.arrivals.rate()?, point.latency?)))
        .map(|(rate, latency)| (rate, latency.p50.max(1e-3), latency.p99.max(1e-3)))
        .filter(|(rate, middle, high)| rate.is_finite() && middle.is_finite() && high.is_finite())
        .collect();
    if known.len() < 2 {
        return None;
    }
    let bound = load.wanted.bound_milliseconds.max(1e-3);
    let low = known.iter().map(|(_, middle, _)| *middle).fold(bound, f64::min).log10().floor();
    let high = known.iter().map(|(.., high)| *high).fold(bound, f64::max).log10().ceil().max(low + 1.0);
    let most = known.iter().map(|(rate, ..)| *rate).fold(0.0, f64::max);
    let (x_scale, y_scale) = (Scale::new((0.0, most * 1.05), (LEFT, RIGHT)), Scale::new((low, high), (BOTTOM, TOP)));
    let (x, y) = (|rate: f64| x_scale.at(rate), |value: f64| y_scale.at(value.log10()));
    let line = |of: fn(&(f64, f64, f64)) -> f64| -> Vec<(f64, f64)> {
        known.iter().map(|point| (x(point.0), y(of(point)))).collect()
    };
    let lines = [("p50", 0_usize, line(|point| point.1)), ("p99", 1, line(|point| point.2))];
    Some(html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            g.grid {
                @for decade in (low as i64)..=(high as i64) {
                    @let place = y_scale.at(decade as f64);
                    line x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(place)) y2=(px(place)) {}
                    text.end x=(px(LEFT - 6.0)) y=(px(place + 4.0)) { (power_of_ten(decade)) }
                }
                @for tick in round_ticks(0.0, most, 4) {
                    text.middle x=(px(x(tick))) y=(px(BOTTOM + 17.0)) { (short_number(tick)) }
                }
                text.middle x=(px((LEFT + RIGHT) / 2.0)) y=(px(BOTTOM + 35.0)) { (load.wanted.scenario.unit()) "/s offered; latency in ms" }
            }
            g.series-2 {
                path.baseline d=(path(&[(LEFT, y(bound)), (RIGHT, y(bound))])) {}
                text.name x=(px(RIGHT + 4.0)) y=(px(y(bound) + 4.0)) { "bound" }
            }
            @for (name, style, places) in &lines {
                g.(format!("series-{style}")) {
                    path.line d=(path(places)) {}
                    @for (left, top) in places { (marker(*style, *left, *top)) }
                    @if let Some((left, top)) = places.last() { text.name x=(px(left + 8.0)) y=(px(top + 4.0)) { (name) } }
                }
            }
        }
    })
}
