//! What a measurement tells of its card: memory, and who else uses it.

use rstest::rstest;

use super::*;
use crate::findings::Gpu;

/// A process that takes more of the card than its baseline allows fails; where either is unknown nothing is held.
#[rstest]
#[case::the_same(Some(1_000_000), Some(1_000_000), Some(Status::Pass))]
#[case::within_the_band(Some(1_000_000), Some(1_100_000), Some(Status::Pass))]
#[case::more(Some(1_000_000), Some(1_101_000), Some(Status::Fail))]
#[case::less(Some(1_000_000), Some(500_000), Some(Status::Pass))]
#[case::unknown_before(None, Some(1_000_000), None)]
#[case::unknown_now(Some(1_000_000), None, None)]
#[case::none_at_all(Some(1_000_000), Some(0), Some(Status::Invalid))]
fn memory_is_held_to_its_baseline(
    #[case] before: Option<u64>,
    #[case] now: Option<u64>,
    #[case] expected: Option<Status>,
) {
    let site = Site::new();
    let of = |process_bytes| site.bench(&[cell(FP32)], &mut Fake { process_bytes, ..Fake::default() });
    let blessing = plan_blessing(&of(before), &site.context(), "2026-01-01T00:00:00Z", "first").unwrap();
    blessing.store(&site.context(), "first", false).unwrap();
    let bench = of(now);
    assert_eq!(bench.cells[0].memory.first().map(|check| check.status), expected);
    let mut report = report();
    bench.cells[0].write_to(&mut report);
    assert_eq!(report.memory.and_then(|memory| memory.process_bytes), now);
    assert_eq!(report.status, expected.unwrap_or(Status::Pass), "{:?}", report.reason);
    assert_eq!(report.checks.iter().filter(|check| check.name == "memory").count(), usize::from(expected.is_some()));
    if expected == Some(Status::Fail) {
        let reason = report.reason.unwrap();
        assert_eq!(reason, "memory: 1101000 bytes, baseline 1000000 bytes, +10.1 %, band ±10.0 %");
    }
}

/// So is one that a context takes more of, by a check of its own; one that needs nothing is held to nothing.
#[rstest]
#[case::within_the_band(Some(2_000_000), Some(2_100_000), Some(Status::Pass))]
#[case::more(Some(2_000_000), Some(2_300_000), Some(Status::Fail))]
#[case::now_it_needs_some(Some(0), Some(1), Some(Status::Invalid))]
#[case::needs_none(Some(0), Some(0), None)]
#[case::unknown_before(None, Some(2_000_000), None)]
fn a_contexts_memory_is_held_to_its_baseline(
    #[case] before: Option<u64>,
    #[case] now: Option<u64>,
    #[case] expected: Option<Status>,
) {
    let site = Site::new();
    let of = |context_bytes| {
        let fake = Fake { process_bytes: Some(9_000_000), context_bytes, ..Fake::default() };
        site.bench(&[cell(FP32)], &mut { fake })
    };
    let blessing = plan_blessing(&of(before), &site.context(), "2026-01-01T00:00:00Z", "first").unwrap();
    blessing.store(&site.context(), "first", false).unwrap();
    let bench = of(now);
    let [process, rest @ ..] = bench.cells[0].memory.as_slice() else { panic!("{:?}", bench.cells[0].memory) };
    assert_eq!((process.name.as_str(), process.status), ("memory", Status::Pass));
    assert_eq!(rest.iter().map(|check| check.status).next(), expected);
    let mut report = report();
    bench.cells[0].write_to(&mut report);
    assert_eq!(report.status, expected.unwrap_or(Status::Pass), "{:?}", report.reason);
    if expected == Some(Status::Fail) {
        let reason = report.reason.unwrap();
        assert_eq!(reason, "context-memory: 2300000 bytes, baseline 2000000 bytes, +15.0 %, band ±10.0 %");
    }
}

/// What else was on the card is the first cause that is named.
#[rstest]
#[case::nobody(Vec::new(), false, None)]
#[case::another(vec![OtherProcess { process: 77, memory_bytes: None }], true, Some("another process used the GPU meanwhile (process 77)"))]
#[case::slice(Vec::new(), true, Some("the GPU is a slice of a card, whose other slices share its power and clocks"))]
fn an_unstable_cell_names_who_disturbed_it(
    #[case] others: Vec<OtherProcess>,
    #[case] is_slice: bool,
    #[case] expected: Option<&str>,
) {
    const ON_CARD: &str = "tensorrt@8.5.3/fp32/batch-32";
    let mut site = Site::new();
    site.machine.gpus = vec![Gpu { is_slice, ..Gpu::default() }];
    let mut fake = Fake { moving: vec![ON_CARD.parse().unwrap()], others, ..Fake::default() };
    let bench = site.bench(&[cell(ON_CARD)], &mut fake);
    let error = bench.cells[0].error.as_ref().unwrap();
    assert!(error.message.contains("unstable"), "{error}");
    match expected {
        Some(cause) => assert_eq!(error.causes[0], cause),
        None => assert!(error.causes.iter().all(|cause| !cause.contains("GPU")), "{error}"),
    }
    // The same of a cell on a processor is the processor's.
    let mut fake = Fake { moving: vec![FP32.parse().unwrap()], ..Fake::default() };
    let bench = site.bench(&[cell(FP32)], &mut fake);
    assert!(!bench.cells[0].error.as_ref().unwrap().to_string().contains("slice"));
}
