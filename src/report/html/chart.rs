//! Charts as plain SVG: every text is at least 11 pixels at the size it is drawn for, no fact is told by colour alone.

use maud::{Markup, html};

use crate::findings::{BaselineVerdict, Histogram};
use crate::report::figures;

/// One point of a line: the place of its batch size on the axis, and its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) place: usize,
    pub(super) value: f64,
}

/// What a baseline allows at one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    pub(super) place: usize,
    pub(super) low: f64,
    pub(super) middle: f64,
    pub(super) high: f64,
}

/// One line with its baseline.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Number of its colour and marker.
    pub(super) style: usize,
    pub(super) points: Vec<Point>,
    pub(super) bands: Vec<Band>,
}

/// Maps values to pixels; values outside go to the nearest end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    domain: (f64, f64),
    range: (f64, f64),
}

impl Scale {
    /// A scale over `domain`; an empty or broken domain becomes one around its start.
    pub(super) fn new(domain: (f64, f64), range: (f64, f64)) -> Self {
        let (low, high) = domain;
        let sound = low.is_finite() && high.is_finite() && low < high;
        let start = if low.is_finite() { low } else { 0.0 };
        Self { domain: if sound { domain } else { (start - 0.5, start + 0.5) }, range }
    }

    pub(super) fn at(self, value: f64) -> f64 {
        let (low, high) = self.domain;
        let value = if value.is_nan() { low } else { value.clamp(low, high) };
        self.range.0 + (value - low) / (high - low) * (self.range.1 - self.range.0)
    }
}

/// Round values between `low` and `high`, about `count` of them.
pub(super) fn round_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || count == 0 {
        return Vec::new();
    }
    let rough = span / count as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(rough);
    let first = (low / step).ceil();
    (0..=count * 2).map(|index| (first + index as f64) * step).take_while(|tick| *tick <= high + step * 1e-9).collect()
}

/// Pixels with one decimal.
pub(super) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A path through `points`.
pub(super) fn path(points: &[(f64, f64)]) -> String {
    let steps = points.iter().enumerate().map(|(index, (x, y))| {
        let verb = if index == 0 { 'M' } else { 'L' };
        format!("{verb}{} {}", px(*x), px(*y))
    });
    steps.collect()
}

/// `10⁻⁵`.
pub(super) fn power_of_ten(exponent: i64) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits: String =
        exponent.unsigned_abs().to_string().bytes().filter_map(|digit| DIGITS.get(usize::from(digit - b'0'))).collect();
    format!("10{}{digits}", if exponent < 0 { "⁻" } else { "" })
}

/// `1k`, `2.5M`: for axes.
pub(super) fn short_number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A marker of one of six shapes, so that lines differ without colour.
pub(super) fn marker(style: usize, x: f64, y: f64) -> Markup {
    let shape = |points: &[(f64, f64)]| {
        let moved: Vec<(f64, f64)> = points.iter().map(|(left, top)| (x + left, y + top)).collect();
        format!("{}Z", path(&moved))
    };
    html! {
        @match style {
            0 => circle.dot cx=(px(x)) cy=(px(y)) r="3.6" {},
            1 => path.dot d=(shape(&[(-3.4, -3.4), (3.4, -3.4), (3.4, 3.4), (-3.4, 3.4)])) {},
            2 => path.dot d=(shape(&[(0.0, -4.6), (4.4, 3.4), (-4.4, 3.4)])) {},
            3 => path.dot d=(shape(&[(0.0, 4.6), (4.4, -3.4), (-4.4, -3.4)])) {},
            4 => path.dot d=(shape(&[(0.0, -4.8), (4.8, 0.0), (0.0, 4.8), (-4.8, 0.0)])) {},
            _ => circle.dot.open cx=(px(x)) cy=(px(y)) r="3.6" {},
        }
    }
}

/// Places of labels that want to be at `wanted` (ascending), at least `gap` apart and not below `bottom`.
fn spread(wanted: &[f64], gap: f64, bottom: f64) -> Vec<f64> {
    let mut places: Vec<f64> = Vec::with_capacity(wanted.len());
    for &place in wanted {
        let least = places.last().map_or(f64::NEG_INFINITY, |last| last + gap);
        places.push(place.max(least));
    }
    let mut limit = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - gap;
    }
    places
}

/// Lines of samples per second over batch sizes, logarithmic, named at their ends.
pub(super) fn throughput(label: &str, batches: &[u32], series: &[Series], range: (f64, f64)) -> Markup {
    const WIDTH: f64 = 360.0;
    const HEIGHT: f64 = 250.0;
    const LEFT: f64 = 36.0;
    const RIGHT: f64 = 262.0;
    const TOP: f64 = 14.0;
    const BOTTOM: f64 = 212.0;
    let log = |value: f64| value.max(f64::MIN_POSITIVE).log10();
    let low = log(range.0).floor();
    let high = log(range.1).ceil().max(low + 1.0);
    let y_scale = Scale::new((low, high), (BOTTOM, TOP));
    let x_scale = Scale::new((0.0, batches.len().saturating_sub(1).max(1) as f64), (LEFT + 14.0, RIGHT - 8.0));
    let x = |place: usize| if batches.len() == 1 { (LEFT + RIGHT) / 2.0 } else { x_scale.at(place as f64) };
    let y = |value: f64| y_scale.at(log(value));
    let drawable = |value: f64| value.is_finite() && value > 0.0;

    let mut ends: Vec<(f64, f64, &Series)> = series
        .iter()
        .filter_map(|line| {
            let last = line.points.iter().rev().find(|point| drawable(point.value))?;
            Some((x(last.place), y(last.value), line))
        })
        .collect();
    ends.sort_by(|(_, left, _), (_, right, _)| left.total_cmp(right));
    let labels = spread(&ends.iter().map(|(_, place, _)| *place).collect::<Vec<_>>(), 14.0, BOTTOM + 4.0);
    // At most eight batch sizes are written out.
    let every = batches.len().div_ceil(8).max(1);
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            g.grid {
                @for decade in (low as i64)..=(high as i64) {
                    @let place = y_scale.at(decade as f64);
                    line x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(place)) y2=(px(place)) {}
                    text.end x=(px(LEFT - 6.0)) y=(px(place + 4.0)) { (short_number(10f64.powi(decade as i32))) }
                }
                @for (place, batch) in batches.iter().enumerate().step_by(every) {
                    text.middle x=(px(x(place))) y=(px(BOTTOM + 17.0)) { (batch) }
                }
                text.middle x=(px((LEFT + RIGHT) / 2.0)) y=(px(BOTTOM + 33.0)) { "batch" }
            }
            @for line in series {
                g.(format!("series-{}", line.style % 6)) {
                    @let bands: Vec<&Band> = line.bands.iter().filter(|band| drawable(band.low) && drawable(band.high)).collect();
                    @if bands.len() > 1 {
                        @let outline: Vec<(f64, f64)> = bands.iter().map(|band| (x(band.place), y(band.high)))
                            .chain(bands.iter().rev().map(|band| (x(band.place), y(band.low)))).collect();
                        path.band d={ (path(&outline)) "Z" } {}
                        @let middle: Vec<(f64, f64)> = bands.iter().map(|band| (x(band.place), y(band.middle))).collect();
                        path.baseline d=(path(&middle)) {}
                    } @else if let Some(band) = bands.first() {
                        @let (from, to) = (x(band.place) - 8.0, x(band.place) + 8.0);
                        path.baseline d=(path(&[(from, y(band.middle)), (to, y(band.middle))])) {}
                    }
                    @let points: Vec<(f64, f64)> = line.points.iter().filter(|point| drawable(point.value)).map(|point| (x(point.place), y(point.value))).collect();
                    path.line d=(path(&points)) {}
                    @for (left, top) in &points { (marker(line.style, *left, *top)) }
                }
            }
            @for ((end, place, line), label) in ends.iter().zip(labels) {
                g.(format!("series-{}", line.style % 6)) {
                    path.leader d=(path(&[(*end + 6.0, *place), (RIGHT + 6.0, label)])) {}
                    (marker(line.style, RIGHT + 12.0, label))
                    text.name x=(px(RIGHT + 20.0)) y=(px(label + 4.0)) { (line.name) }
                }
            }
        }
    }
}

/// The distribution of the absolute error, with marks at given errors; `None` when there is nothing to draw.
pub(super) fn histogram(label: &str, histogram: &Histogram, marks: &[(&str, f64)]) -> Option<Markup> {
    histogram_of(label, histogram, marks, ("outputs", "absolute error"))
}

/// As [`histogram`], of `what`, along `axis`.
pub(super) fn histogram_of(
    label: &str,
    histogram: &Histogram,
    marks: &[(&str, f64)],
    (what, axis): (&str, &str),
) -> Option<Markup> {
    const WIDTH: f64 = 360.0;
    const HEIGHT: f64 = 190.0;
    const LEFT: f64 = 44.0;
    const RIGHT: f64 = 348.0;
    const TOP: f64 = 34.0;
    const BOTTOM: f64 = 148.0;
    const FEWEST_BINS: usize = 8;
    let sound =
        histogram.from.is_finite() && histogram.step.is_finite() && histogram.step > 0.0 && histogram.step < 10.0;
    let first = histogram.counts.iter().position(|&count| count > 0)?;
    let last = histogram.counts.iter().rposition(|&count| count > 0)?;
    if !sound || histogram.from.abs() > 1000.0 {
        return None;
    }
    // Empty bins at both ends are cut, down to a width that still shows a shape.
    let missing = FEWEST_BINS.saturating_sub(last - first + 1);
    let start = first.saturating_sub(missing.div_ceil(2));
    let end = (last + missing / 2 + 1).min(histogram.counts.len());
    let bins = histogram.counts.get(start..end)?;
    let edge = |bin: usize| histogram.from + histogram.step * bin as f64;
    let most = bins.iter().copied().max().unwrap_or(1).max(1);
    let x_scale = Scale::new((edge(start), edge(end)), (LEFT, RIGHT));
    let y_scale = Scale::new((0.0, most as f64), (BOTTOM, TOP));
    let decades: Vec<i64> = ((edge(start).ceil() as i64)..=(edge(end).floor() as i64)).collect();
    let every = decades.len().div_ceil(7).max(1);
    let total: u64 = histogram.counts.iter().sum();
    let described = format!(
        "{label}; {} {what}, most of them in the bin from 1e{} to 1e{}",
        figures::count(total),
        {
            let fullest = bins.iter().position(|&count| count == most).unwrap_or(0) + start;
            edge(fullest)
        },
        edge(bins.iter().position(|&count| count == most).unwrap_or(0) + start + 1)
    );
    Some(html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(described) {
            g.grid {
                @for tick in round_ticks(0.0, most as f64, 3) {
                    @let place = y_scale.at(tick);
                    line x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(place)) y2=(px(place)) {}
                    text.end x=(px(LEFT - 6.0)) y=(px(place + 4.0)) { (short_number(tick)) }
                }
                @for decade in decades.iter().step_by(every) {
                    text.middle x=(px(x_scale.at(*decade as f64))) y=(px(BOTTOM + 17.0)) { (power_of_ten(*decade)) }
                }
                text.middle x=(px((LEFT + RIGHT) / 2.0)) y=(px(BOTTOM + 35.0)) {
                    (axis) @if start == 0 && bins.first().is_some_and(|&count| count > 0) { "; the first bar includes 0" }
                }
            }
            g.bars {
                @for (index, &count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
                    @let (left, right) = (x_scale.at(edge(start + index)), x_scale.at(edge(start + index + 1)));
                    // A bin with few outputs stays visible.
                    @let top = y_scale.at(count as f64).min(BOTTOM - 1.5);
                    rect x=(px(left + 0.5)) y=(px(top)) width=(px((right - left - 1.0).max(1.0))) height=(px(BOTTOM - top)) {}
                }
            }
            g.marks {
                @for (row, (name, value)) in marks.iter().filter(|(_, value)| value.is_finite() && *value > 0.0).enumerate() {
                    @let place = x_scale.at(value.log10());
                    @let height = 11.0 + 13.0 * row as f64;
                    line x1=(px(place)) x2=(px(place)) y1=(px(height - 8.0)) y2=(px(BOTTOM)) {}
                    text.end x=(px(place - 4.0)) y=(px(height)) { (name) " " (figures::error(*value)) }
                }
            }
        }
    })
}

/// Earlier runs as a line, this run as a larger point, the baseline dashed and what it allows as a band; `None` with
/// fewer than two values.
pub(super) fn history(label: &str, baseline: &BaselineVerdict, now: Option<f64>) -> Option<Markup> {
    const WIDTH: f64 = 360.0;
    const HEIGHT: f64 = 190.0;
    const LEFT: f64 = 48.0;
    const RIGHT: f64 = 336.0;
    const TOP: f64 = 14.0;
    const BOTTOM: f64 = 152.0;
    let sound = |value: &f64| value.is_finite() && *value > 0.0;
    let earlier: Vec<(&str, f64)> =
        baseline.history.iter().filter(|(_, rate)| sound(rate)).map(|(day, rate)| (day.as_str(), *rate)).collect();
    let now = now.filter(sound);
    if earlier.len() + usize::from(now.is_some()) < 2 {
        return None;
    }
    let middle = baseline.baseline_samples_per_second.filter(sound);
    let threshold = baseline.threshold.filter(|threshold| *threshold > 0.0 && *threshold <= 1.0);
    let band = middle.zip(threshold).map(|(middle, threshold)| (middle * threshold, middle / threshold));
    let values = || {
        let edges = band.into_iter().flat_map(|(low, high)| [low, high]);
        earlier.iter().map(|(_, rate)| *rate).chain(now).chain(middle).chain(edges)
    };
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let margin = ((high - low) * 0.12).max(high * 0.005);
    let domain = ((low - margin).max(0.0), high + margin);
    let y_scale = Scale::new(domain, (BOTTOM, TOP));
    let count = earlier.len() + usize::from(now.is_some());
    let x_scale = Scale::new((0.0, (count - 1) as f64), (LEFT + 8.0, RIGHT - 4.0));
    let line: Vec<(f64, f64)> = earlier
        .iter()
        .map(|(_, rate)| *rate)
        .chain(now)
        .enumerate()
        .map(|(index, rate)| (x_scale.at(index as f64), y_scale.at(rate)))
        .collect();
    let described = match (earlier.first(), now) {
        (Some((day, first)), Some(now)) => {
            format!(
                "{label}: {} on {}, {} now",
                figures::rate(*first),
                crate::report::text::shortened(day, 20),
                figures::rate(now)
            )
        }
        _ => label.to_owned(),
    };
    Some(html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(described) {
            @if let Some((low, high)) = band {
                rect.allowed x=(px(LEFT)) width=(px(RIGHT - LEFT)) y=(px(y_scale.at(high))) height=(px(y_scale.at(low) - y_scale.at(high))) {}
            }
            g.grid {
                @for tick in round_ticks(domain.0, domain.1, 4) {
                    @let place = y_scale.at(tick);
                    line x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(place)) y2=(px(place)) {}
                    text.end x=(px(LEFT - 6.0)) y=(px(place + 4.0)) { (short_number(tick)) }
                }
                @if let Some((day, _)) = earlier.first() {
                    text x=(px(LEFT)) y=(px(BOTTOM + 18.0)) { (crate::report::text::shortened(day, 20)) }
                }
                @if now.is_some() { text.end x=(px(RIGHT)) y=(px(BOTTOM + 18.0)) { "this run" } }
            }
            g.series-0 {
                @if let Some(middle) = middle {
                    path.baseline d=(path(&[(LEFT, y_scale.at(middle)), (RIGHT, y_scale.at(middle))])) {}
                }
                path.line d=(path(&line)) {}
                @for (x, y) in line.iter().take(earlier.len()) { circle.dot cx=(px(*x)) cy=(px(*y)) r="2.4" {} }
            }
            @if let (Some(_), Some((x, y))) = (now, line.last()) {
                circle.now.(verdict_class(&baseline.verdict)) cx=(px(*x)) cy=(px(*y)) r="5" {}
            }
        }
    })
}

/// A small dot plot of a ratio around 1, the allowed range as a band; `reach` is the half width of the scale.
pub(super) fn change(ratio: f64, threshold: Option<f64>, reach: f64) -> Markup {
    const WIDTH: f64 = 112.0;
    let scale = Scale::new((1.0 - reach, 1.0 + reach), (4.0, WIDTH - 4.0));
    let class = match (ratio.is_finite(), threshold) {
        (true, Some(threshold)) if ratio < threshold => "fail",
        (true, Some(threshold)) if ratio > 1.0 / threshold => "pass",
        _ => "plain",
    };
    html! {
        svg.change viewBox={ "0 0 " (WIDTH) " 16" } width=(WIDTH) height="16" aria-hidden="true" focusable="false" {
            @if let Some(threshold) = threshold {
                @let (left, right) = (scale.at(threshold), scale.at(1.0 / threshold));
                rect.allowed x=(px(left)) y="2" width=(px(right - left)) height="12" {}
            }
            line x1=(px(scale.at(1.0))) x2=(px(scale.at(1.0))) y1="1" y2="15" {}
            @if ratio.is_finite() { circle.(class) cx=(px(scale.at(ratio))) cy="8" r="4" {} }
        }
    }
}

/// A bar of `share` of the full width.
pub(super) fn bar(share: f64) -> Markup {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    html! {
        svg.size-bar viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect width=(px((share * 100.0).max(0.5))) height="10" {}
        }
    }
}

fn verdict_class(verdict: &str) -> &'static str {
    match verdict {
        "fail" => "fail",
        "warn" | "unstable" => "invalid",
        _ => "pass",
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0.0, 1203.0, 3, &[0.0, 500.0, 1000.0])]
    #[case(0.93, 1.07, 4, &[0.95, 1.0, 1.05])]
    #[case(5.0, 5.0, 3, &[])]
    fn ticks_are_round(#[case] low: f64, #[case] high: f64, #[case] count: usize, #[case] expected: &[f64]) {
        let ticks = round_ticks(low, high, count);
        assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
        for (tick, expected) in ticks.iter().zip(expected) {
            assert_relative_eq!(tick, expected, epsilon = 1e-9);
        }
    }

    #[rstest]
    #[case(-5, "10⁻⁵")]
    #[case(0, "10⁰")]
    #[case(12, "10¹²")]
    fn powers(#[case] exponent: i64, #[case] expected: &str) {
        assert_eq!(power_of_ten(exponent), expected);
    }

    #[rstest]
    #[case(950.0, "950")]
    #[case(1000.0, "1k")]
    #[case(2_500_000.0, "2.5M")]
    fn short_numbers(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(short_number(value), expected);
    }

    proptest! {
        #[test]
        fn a_scale_stays_in_its_range(low in -1e9..1e9f64, high in -1e9..1e9f64, value in prop::num::f64::ANY) {
            let place = Scale::new((low, high), (10.0, 90.0)).at(value);
            prop_assert!((10.0..=90.0).contains(&place));
        }

        #[test]
        fn labels_never_overlap(mut wanted in prop::collection::vec(14.0..212.0f64, 0..8)) {
            wanted.sort_by(f64::total_cmp);
            let places = spread(&wanted, 14.0, 216.0);
            prop_assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 14.0 - 1e-9));
            prop_assert!(places.iter().all(|place| *place <= 216.0));
        }
    }
}
