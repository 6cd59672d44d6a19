#![allow(clippy::unwrap_used)]
use super::*;

const LOAD: Load = Load { connections: 4, batch: 2, largest: 8, whole: false };

fn loaded(executions: Option<u64>) -> Loaded {
    Loaded {
        connections: 4,
        requests: 6,
        rows: 16,
        executions: executions.map(|executions| Executions { rows: 16, executions }),
    }
}

/// The answer to a sample: two scores that tell it apart.
fn rows(samples: &[usize]) -> Vec<Answers> {
    let values = samples.iter().flat_map(|&sample| [sample as f32, 10.0 - sample as f32]).collect();
    vec![Answers::Rows(Tensor::float32("y", vec![samples.len(), 2], values).unwrap())]
}

fn all() -> Vec<usize> {
    (0..16).collect()
}

fn found(together: &[usize], repeated: &[usize], executions: Option<u64>) -> CheckResult {
    let (alone, together, repeated) = (rows(&all()), rows(together), rows(repeated));
    let sides = Sides { alone: &alone, together: &together, repeated: &repeated };
    check(&sides, &LOAD, &loaded(executions), &within(1e-3)).unwrap()
}

fn order() -> Vec<usize> {
    repeats(16, &LOAD).concat()
}

#[test]
fn answers_as_alone_pass_where_requests_were_merged() {
    let result = found(&all(), &order(), Some(3));
    assert_eq!((result.status, result.gating), (Status::Pass, true));
    assert_eq!(
        result.detail,
        "16 samples are answered as alone, bit by bit, and so are requests that were repeated (6 requests by 4 connections); the server computed them in 3 executions"
    );
}

#[test]
fn what_merging_was_not_proven_of_is_no_pass() {
    for (executions, words) in [(Some(6), "merged none, 6 executions"), (None, "tells no statistics")] {
        let result = found(&all(), &order(), executions);
        assert_eq!((result.status, result.gating), (Status::Unavailable, false));
        assert!(result.detail.contains(words), "{}", result.detail);
    }
    let (alone, together) = (rows(&all()), rows(&all()));
    let sides = Sides { alone: &alone, together: &together, repeated: &[] };
    let others = Loaded { executions: Some(Executions { rows: 99, executions: 3 }), ..loaded(None) };
    let result = check(&sides, &LOAD, &others, &within(1e-3)).unwrap();
    assert!(
        result.status == Status::Unavailable
            && result.detail.contains("counts 99 samples, not 16 (others may have asked it)"),
        "{}",
        result.detail
    );
}

#[test]
fn rows_of_other_requests_are_told_with_whose_they_are() {
    let mut mixed = all();
    mixed.swap(3, 7);
    mixed.swap(1, 2);
    let result = found(&mixed, &order(), Some(3));
    assert_eq!(result.status, Status::Fail);
    assert!(
        result.detail.starts_with("rows are mixed up between requests: under load 4 of 16 samples"),
        "{}",
        result.detail
    );
    assert!(result.detail.contains("sample 1 that of 2, sample 2 that of 1, sample 3 that of 7"), "{}", result.detail);
}

#[test]
fn a_change_that_is_answered_with_what_was_before_is_stale() {
    let mut stale = order();
    // The first of B has A's answers, the first of the last A has B's.
    stale.splice(10..12, [0, 1]);
    stale.splice(20..22, [2, 3]);
    let result = found(&all(), &stale, Some(3));
    assert_eq!(result.status, Status::Fail);
    assert!(
        result.detail.starts_with("answers are stale: of the requests A×5 B×5 A×5, number 6, 11 is answered"),
        "{}",
        result.detail
    );
}

#[test]
fn a_request_that_is_answered_otherwise_each_time_tells_of_state() {
    let alone = rows(&all());
    let mut repeated = rows(&order());
    let Answers::Rows(tensor) = &mut repeated[0] else { unreachable!() };
    for (place, value) in tensor.values.as_mut::<f32>().unwrap().iter_mut().enumerate() {
        *value += 0.2 * (place / 4) as f32;
    }
    let sides = Sides { alone: &alone, together: &alone, repeated: &repeated };
    let result = check(&sides, &LOAD, &loaded(Some(3)), &within(1e-3)).unwrap();
    assert_eq!(result.status, Status::Fail);
    assert!(result.detail.starts_with("the server keeps state between requests"), "{}", result.detail);
}

#[test]
fn what_another_batch_may_change_is_within_and_nan_is_not() {
    let alone = rows(&all());
    let shifted = |by: f32| {
        let mut together = rows(&all());
        let Answers::Rows(tensor) = &mut together[0] else { unreachable!() };
        tensor.values.as_mut::<f32>().unwrap()[4] += by;
        let sides = Sides { alone: &alone, together: &together, repeated: &[] };
        check(&sides, &LOAD, &loaded(Some(3)), &within(1e-3)).unwrap()
    };
    let near = shifted(1e-4);
    assert!(near.status == Status::Pass && near.detail.contains("1 of them within"), "{}", near.detail);
    let far = shifted(0.1);
    assert!(far.status == Status::Fail && far.detail.contains("off by 0.1"), "{}", far.detail);
    assert_eq!(shifted(f32::NAN).status, Status::Fail);
}

#[test]
fn fewer_answers_than_samples_fail() {
    assert_eq!(found(&[0, 1], &order(), Some(3)).status, Status::Fail);
    assert_eq!(found(&all(), &[0, 1], Some(3)).status, Status::Fail);
}
