//! Cells under load as tables of text, for every renderer.

use crate::findings::{CellReport, LoadReport, Report};
use crate::load::{Figures, Standing};
use crate::report::figures;

/// Columns of the table of runs.
pub(super) const HEADS: [&str; 10] =
    ["offered/s", "answered/s", "in time", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "dropped", "refused", "client µs"];

/// The cells that were measured under load.
pub(super) fn cells(report: &Report) -> Vec<(&CellReport, &LoadReport)> {
    report.cells.iter().filter_map(|cell| Some((cell, cell.load.as_deref()?))).collect()
}

/// The runs of a cell by what was offered, the smallest first.
pub(super) fn points(load: &LoadReport) -> Vec<&Figures> {
    let mut points: Vec<&Figures> = load.points.iter().collect();
    let rate = |point: &Figures| point.offer.arrivals.rate().unwrap_or(f64::INFINITY);
    points.sort_by(|left, right| rate(left).total_cmp(&rate(right)));
    points
}

/// Whether the latencies of a run are the model's.
pub(super) fn is_measured(point: &Figures) -> bool {
    !point.is_of_client() && !matches!(point.standing(), Standing::NotMeasured(_))
}

/// One run; what was not measured has no figure.
pub(super) fn row(point: &Figures) -> [String; HEADS.len()] {
    let milliseconds = |of: fn(&crate::load::record::Latency) -> f64| {
        let known = point.latency.as_ref().filter(|_| is_measured(point));
        known.map_or_else(|| "–".to_owned(), |latency| format!("{:.2}", of(latency)))
    };
    let lost = point.dropped + point.unsent;
    [
        point.offer.arrivals.rate().map_or_else(|| "–".to_owned(), figures::rate),
        figures::rate(point.answered_per_second()),
        format!("{:.2}%", point.in_time as f64 / point.arrivals.max(1) as f64 * 100.0),
        milliseconds(|latency| latency.p50),
        milliseconds(|latency| latency.p90),
        milliseconds(|latency| latency.p99),
        milliseconds(|latency| latency.p999),
        lost.to_string(),
        point.refusals().to_string(),
        point.processor_microseconds.map_or_else(|| "–".to_owned(), |taken| format!("{taken:.0}")),
    ]
}

/// What is told against the baseline; nothing where there is no verdict.
pub(super) fn against(load: &LoadReport) -> Option<&str> {
    load.baseline.as_ref().map(|baseline| baseline.detail.as_str()).filter(|detail| !detail.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::findings::{LoadReport, Report};
    use crate::load::record::Latency;
    use crate::load::{Arrivals, Executions, Figures, Offer, Outcome, Scenario, Standing, Wanted};
    use crate::report::{html, markdown, sample, terminal};

    /// A run at `rate` queries a second; `own` is the client's own part.
    fn point(rate: f64, p99: f64, own: f64) -> Figures {
        let arrivals = (rate * 10.0) as u64;
        Figures {
            offer: Offer {
                arrivals: Arrivals::Poisson { rate, seed: 1 },
                seconds: 10.0,
                most: 1_000_000,
                batch: 1,
                wait_microseconds: 0,
                bound_milliseconds: Some(15.0),
                drops: false,
                connections: 64,
            },
            arrivals,
            arrivals_later: arrivals / 2,
            answered: arrivals - 3,
            in_time: arrivals - 3,
            in_time_later: arrivals / 2,
            dropped: 0,
            unsent: 0,
            refused: [("503: <b>full</b>".to_owned(), 3)].into(),
            requests: arrivals,
            waited: 0,
            seconds: 10.0,
            latency: Some(Latency { p50: 3.0, p90: 5.0, p99, p999: p99 * 1.5, most: p99 * 2.0 }),
            own_milliseconds: own,
            own_usual_milliseconds: 0.0,
            own_share: 0.0,
            processor_microseconds: Some(48.4),
            executions: Some(Executions { rows: 300, executions: 100 }),
        }
    }

    fn report(standing: Standing, rate: Option<f64>) -> Report {
        let mut report = sample::passing();
        let wanted = Wanted {
            scenario: Scenario::Server,
            rate: None,
            bound_milliseconds: 15.0,
            connections: 64,
            seed: 1,
            seconds: 10.0,
            sources: 16,
            frames_per_second: 10.0,
            wait_microseconds: 0,
        };
        let points = vec![point(500.0, 40.0, 0.1), point(312.0, 9.0, 0.1), point(900.0, 12.0, 9.0)];
        let load = LoadReport::new(wanted, 1, Outcome { points, standing, rate });
        report.cells[0].load = Some(Box::new(load));
        report
    }

    fn every_form(report: &Report) -> [String; 3] {
        [terminal::render(report, terminal::Style::default()), markdown::render(report), html::render(report)]
    }

    #[test]
    fn every_form_tells_what_was_held_and_every_run() {
        let report = report(Standing::Held, Some(312.0));
        for text in every_form(&report) {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains("312 queries/s are the most that is held within 15 ms"), "{text}");
            assert!(
                text.contains("3 rows an execution") && text.contains("40.00") && text.contains("3 refused: 503:"),
                "{text}"
            );
        }
        assert!(every_form(&report)[1..].iter().all(|text| !text.contains("<b>full")), "text of a server is no markup");
        let page = html::render(&report);
        assert!(page.contains("href=\"#load\"") && page.contains("Latency over offered load of"), "no chart");
        // Of a run whose client was the limit no latency is drawn or told.
        assert!(!page.contains("12.00") && page.contains('–'));
        let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(again, report);
    }

    #[test]
    fn what_was_not_measured_has_no_figure() {
        let why = "the client is the limit: it was late";
        for text in every_form(&report(Standing::NotMeasured(why.to_owned()), None)) {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                text.contains("server: not measured: the client is the limit") && !text.contains("p50 3,"),
                "{text}"
            );
        }
    }
}
