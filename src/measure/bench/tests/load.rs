//! Rates under load against their baselines.

#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::{Site, cell};
use crate::load::{Scenario, Standing, Wanted};
use crate::measure::bench::{Bench, LoadBench, LoadRun, judge_load, plan_blessing};

const CELL: &str = "triton/fp32/batch-1";

fn wanted(scenario: Scenario, rate: Option<f64>) -> Wanted {
    Wanted { rate, ..Wanted::sample(scenario) }
}

fn judged(site: &Site, wanted: &Wanted, rate: Option<f64>, again: Option<Option<f64>>) -> LoadBench {
    let standing = if rate.is_some() { Standing::Held } else { Standing::NotHeld };
    let run = LoadRun { cell: &cell(CELL), wanted, standing: &standing, rate, again };
    judge_load(&run, &site.context()).unwrap()
}

fn bless(site: &Site, wanted: &Wanted, rate: f64) -> String {
    let bench = Bench { loads: vec![judged(site, wanted, Some(rate), None)], ..Bench::default() };
    let blessing = plan_blessing(&bench, &site.context(), "2026-01-01T00:00:00Z", "first").unwrap();
    blessing.store(&site.context(), "first", false).unwrap();
    blessing.lines[0].to_string()
}

#[rstest]
#[case::same(Some(300.0), None, "ok")]
#[case::within(Some(280.0), None, "ok")]
#[case::slower(Some(200.0), None, "confirm")]
#[case::slower_twice(Some(200.0), Some(Some(205.0)), "fail")]
#[case::slower_once(Some(200.0), Some(Some(301.0)), "ok")]
#[case::not_measured_again(Some(200.0), Some(None), "unstable")]
#[case::faster(Some(400.0), None, "improved")]
#[case::nothing_held(None, None, "no-baseline")]
fn the_largest_rate_is_held_to_its_baseline(
    #[case] rate: Option<f64>,
    #[case] again: Option<Option<f64>>,
    #[case] verdict: &str,
) {
    let site = Site::new();
    let search = wanted(Scenario::Server, None);
    assert_eq!(judged(&site, &search, Some(300.0), None).baseline.verdict, "no-baseline");
    assert_eq!(bless(&site, &search, 300.0), "triton/fp32/batch-1 server: none -> 300.0000/s held");
    let found = judged(&site, &search, rate, again);
    assert_eq!(found.baseline.verdict, verdict, "{}", found.baseline.detail);
    assert_eq!(found.is_suspect(), verdict == "confirm");
    if rate.is_none() {
        assert_eq!(
            found.baseline.detail,
            "no comparison: nothing is held; 300.0000/s were accepted on 2026-01-01T00:00:00Z"
        );
        let bench = Bench { loads: vec![found], ..Bench::default() };
        let error = plan_blessing(&bench, &site.context(), "2026-01-01T00:00:00Z", "no").unwrap_err();
        assert!(error.message.contains("held no rate"), "{error}");
    }
}

/// What was not offered was not compared.
#[test]
fn a_smaller_rate_that_is_held_is_no_comparison() {
    let site = Site::new();
    bless(&site, &wanted(Scenario::Server, None), 300.0);
    let fixed = |rate: f64| judged(&site, &wanted(Scenario::Server, Some(rate)), Some(rate), None).baseline;
    let small = fixed(100.0);
    assert_eq!(small.verdict, "no-baseline");
    assert!(small.detail.contains("the baseline's 300.0000/s were not offered"), "{}", small.detail);
    assert_eq!((fixed(299.0).verdict.as_str(), fixed(400.0).verdict.as_str()), ("ok", "improved"));
}

/// Another bound, another number of connections or another scenario is another figure.
#[test]
fn a_baseline_is_of_its_scenario_and_bound() {
    let site = Site::new();
    let search = wanted(Scenario::Server, None);
    bless(&site, &search, 300.0);
    let verdict = |wanted: &Wanted| judged(&site, wanted, Some(300.0), None).baseline.verdict;
    assert_eq!(verdict(&Wanted { seed: 9, ..search.clone() }), "ok");
    for other in [
        Wanted { bound_milliseconds: 100.0, ..search.clone() },
        Wanted { connections: 8, ..search.clone() },
        wanted(Scenario::Stream, None),
    ] {
        assert_eq!(verdict(&other), "no-baseline", "{other:?}");
    }
    let stream = wanted(Scenario::Stream, None);
    bless(&site, &stream, 160.0);
    assert_eq!(verdict(&Wanted { wait_microseconds: 5, ..stream.clone() }), "no-baseline");
    assert_eq!(verdict(&Wanted { sources: 30, ..stream }), "improved");
}
