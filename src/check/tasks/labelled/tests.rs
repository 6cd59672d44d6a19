#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::*;
use crate::manifest::OutputKind;
use crate::manifest::tasks::{BoxFormat, BoxesTask, Companion, MapTask, TokensTask};
use crate::tensor::{BatchAxis, Values};

fn output(task: OutputTask) -> GatedOutput {
    GatedOutput {
        name: "y".to_owned(),
        task,
        named: Default::default(),
        batch_axis: BatchAxis::default(),
        accuracy: AccuracyLimits::default(),
    }
}

fn floats(shape: &[usize], values: &[f32]) -> Vec<Answers> {
    vec![Answers::Rows(Tensor::float32("y", shape.to_vec(), values.to_vec()).unwrap())]
}

fn truth(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::new("y.labels", shape.to_vec(), Values::Int64(values.to_vec())).unwrap()
}

#[test]
fn top_one_counts_the_largest_scores() {
    let rows = [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 5.0], [1.0, 0.0, 0.0]].concat();
    let of = |labels: &[i64]| {
        score(&output(OutputTask::Classification(OutputKind::Logits)), &floats(&[4, 3], &rows), &truth(&[4], labels))
    };
    assert_eq!(of(&[0, 1, 2, 0]).unwrap().value, 1.0);
    assert_eq!(of(&[0, 1, 2, 2]).unwrap().value, 0.75);
    assert!(of(&[0, 1, 3, 0]).unwrap_err().message.contains("label 3 of sample 2 is none of 3 classes"));
    assert!(of(&[0, -1, 2, 0]).is_err());
    // What is not finite has no largest score.
    let broken = [f32::NAN; 12];
    let found = score(
        &output(OutputTask::Classification(OutputKind::Logits)),
        &floats(&[4, 3], &broken),
        &truth(&[4], &[0, 1, 2, 0]),
    );
    assert!(found.unwrap_err().message.contains("not all finite"));
}

/// By hand: class 0 has 2 places in both of 3 in either, class 1 one of two, class 2 none of one; the place without a label is left out.
#[test]
fn overlap_is_the_mean_over_classes() {
    let task = OutputTask::Map(MapTask { kind: OutputKind::Logits, axis: 1 });
    // [1, 3, 5]: the classes of five places are 0, 0, 1, 2, 2.
    let scores = [[9.0, 9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0, 9.0]].concat();
    let found = score(&output(task.clone()), &floats(&[1, 3, 5], &scores), &truth(&[1, 5], &[0, 0, 1, 1, -1])).unwrap();
    approx::assert_abs_diff_eq!(found.value, (1.0 + 0.5 + 0.0) / 3.0, epsilon = 1e-12);
    assert_eq!(found.of, "4 places of 1 sample");
    let whole = vec![Answers::Rows(Tensor::new("y", vec![1, 5], Values::Uint8(vec![0, 0, 1, 2, 2])).unwrap())];
    let same = score(&output(task.clone()), &whole, &truth(&[1, 5], &[0, 0, 1, 1, -1])).unwrap();
    assert_eq!(same.value, found.value);
    assert!(score(&output(task), &whole, &truth(&[1, 4], &[0, 0, 1, 1])).is_err());
}

#[test]
fn edits_count_against_the_labels_tokens() {
    let task = |blank, end| OutputTask::Tokens(TokensTask { kind: OutputKind::Logits, axis: None, blank, end });
    let said = vec![Answers::Rows(Tensor::new("y", vec![2, 4], Values::Int64(vec![5, 5, 0, 7, 1, 2, 3, 9])).unwrap())];
    // As a CTC decoder's: 5, 7 against 5, 7, 7; then 1, 2, 3, 9 against 1, 2.
    let labels = truth(&[2, 3], &[5, 7, 7, 1, 2, -1]);
    let found = score(&output(task(Some(0), None)), &said, &labels).unwrap();
    approx::assert_abs_diff_eq!(found.value, 1.0 - 3.0 / 5.0, epsilon = 1e-12);
    // Up to the end, which is no token of the label either.
    let found = score(&output(task(None, Some(3))), &said, &truth(&[2, 4], &[5, 5, 0, 7, 1, 2, 3, -1])).unwrap();
    assert_eq!((found.value, found.of.as_str()), (1.0, "6 tokens of 2 samples"));
    assert!(score(&output(task(None, None)), &said, &truth(&[2, 2], &[-1; 4])).is_err());
}

fn boxes() -> OutputTask {
    OutputTask::Boxes(Box::new(BoxesTask {
        format: BoxFormat::Xyxy,
        column: 0,
        scores: Some(Companion::Column(4)),
        labels: Some(Companion::Column(5)),
        count: None,
        threshold: 0.05,
        nms: None,
    }))
}

/// Two objects of one class: the first found best, a false one second, the other third. Precision at the two recalls is 1 and
/// 2/3 (101 points: 51 at 1, 50 at 2/3), at every overlap; an object of another class that is missed counts 0.
#[rstest]
#[case::one_class(&[0.0, 0.0, 10.0, 10.0, 0.0, 20.0, 20.0, 30.0, 30.0, 0.0], (51.0 + 50.0 * 2.0 / 3.0) / 101.0)]
#[case::two_classes(&[0.0, 0.0, 10.0, 10.0, 0.0, 20.0, 20.0, 30.0, 30.0, 1.0], (51.0 / 101.0 + 51.0 / 101.0) / 2.0 + 50.0 / 101.0 / 2.0)]
fn average_precision_is_that_of_coco(#[case] objects: &[f32], #[case] expected: f64) {
    let rows =
        [[0.0, 0.0, 10.0, 10.0, 0.9, 0.0], [50.0, 50.0, 60.0, 60.0, 0.8, 0.0], [20.0, 20.0, 30.0, 30.0, 0.7, 0.0]]
            .concat();
    let truth = Tensor::float32("y.labels", vec![1, 2, 5], objects.to_vec()).unwrap();
    let found = score(&output(boxes()), &floats(&[1, 3, 6], &rows), &truth).unwrap();
    // With two classes: class 0 has one object, found first: 1; class 1 has one, found by none: 0.
    let expected = if objects[9] == 1.0 { 0.5 } else { expected };
    approx::assert_abs_diff_eq!(found.value, expected, epsilon = 1e-9);
}

/// An overlap of 0.72 counts at 5 of 10 thresholds (0.5 to 0.7).
#[test]
fn near_boxes_count_where_they_overlap_enough() {
    let rows = [0.0, 0.0, 10.0, 7.2, 0.9, 0.0];
    let truth = Tensor::float32("y.labels", vec![1, 1, 5], vec![0.0, 0.0, 10.0, 10.0, 0.0]).unwrap();
    let found = score(&output(boxes()), &floats(&[1, 1, 6], &rows), &truth).unwrap();
    approx::assert_abs_diff_eq!(found.value, 0.5, epsilon = 1e-9);
    let none = Tensor::float32("y.labels", vec![1, 1, 5], vec![0.0, 0.0, 10.0, 10.0, -1.0]).unwrap();
    assert!(score(&output(boxes()), &floats(&[1, 1, 6], &rows), &none).unwrap_err().message.contains("no sample has"));
}

fn scored(value: f64, counted: Option<usize>) -> Scored {
    Scored { value, name: "mIoU", of: "9 places".to_owned(), counted, refused: None }
}

/// What the built-in ladder has.
fn may_lose(points: f64) -> MayLose {
    MayLose { points, rounding: crate::check::ladder::Ladder::built_in().unwrap().rounding() }
}

#[rstest]
#[case::as_good(0.9, 0.9, None, None, 0.0, Status::Pass)]
#[case::rounding(0.8985, 0.9, None, None, 0.0, Status::Pass)]
#[case::less(0.8979, 0.9, None, None, 0.0, Status::Fail)]
#[case::allowed(0.895, 0.9, None, None, 1.0, Status::Pass)]
#[case::better(0.95, 0.9, None, None, 0.0, Status::Pass)]
#[case::named(0.88, 0.9, None, Some(0.01), 5.0, Status::Fail)]
#[case::nothing_named(0.89999, 0.9, None, Some(0.0), 5.0, Status::Fail)]
#[case::floor(0.9, 0.9, Some(0.91), None, 0.0, Status::Fail)]
#[case::kept(0.91, 0.91, Some(0.91), None, 0.0, Status::Pass)]
#[case::nowhere(0.0, 0.0, None, None, 0.0, Status::Invalid)]
#[case::no_number(f64::NAN, 0.9, None, None, 5.0, Status::Fail)]
fn a_fall_beyond_what_is_allowed_fails(
    #[case] cell: f64,
    #[case] reference: f64,
    #[case] floor: Option<f64>,
    #[case] drop: Option<f64>,
    #[case] points: f64,
    #[case] status: Status,
) {
    let limits = AccuracyLimits { floor, drop };
    let found = judge("y", &scored(cell, None), &scored(reference, None), &limits, may_lose(points));
    assert_eq!((found.status, found.gating), (status, true), "{}", found.detail);
}

/// A tenth of a point of ten samples is one sample.
#[test]
fn counts_fall_by_whole_samples() {
    let of = |cell: f64, points: f64| {
        judge("y", &scored(cell, Some(10)), &scored(0.9, Some(10)), &AccuracyLimits::default(), may_lose(points)).status
    };
    assert_eq!((of(0.8, 0.1), of(0.7, 0.1), of(0.8, 0.0)), (Status::Pass, Status::Fail, Status::Fail));
    let refused = Scored { refused: Some("they begin at 1".to_owned()), ..scored(0.9, Some(10)) };
    let found = judge("y", &scored(0.9, Some(10)), &refused, &AccuracyLimits::default(), may_lose(0.0));
    assert_eq!(found.status, Status::Invalid);
    assert_eq!(judge_reference("y", &refused, &AccuracyLimits::default(), None).status, Status::Invalid);
}

/// What the golden keeps of the same samples is held by `drop`; that of others is not compared, which is no pass where `drop` asks.
#[rstest]
#[case::as_good(0.9, true, Some(0.01), None, Status::Pass, "the golden's was 0.9000: 0.00 points less, 1.00 allowed")]
#[case::allowed(0.895, true, Some(0.01), None, Status::Pass, "0.50 points less, 1.00 allowed")]
#[case::lost(0.88, true, Some(0.01), None, Status::Fail, "2.00 points less, 1.00 allowed")]
#[case::none_may(0.8999, true, Some(0.0), None, Status::Fail, "0.01 points less, 0.00 allowed")]
#[case::shown(0.5, true, None, None, Status::Pass, "the golden's was 0.9000")]
#[case::other(
    0.95,
    false,
    Some(0.01),
    None,
    Status::Invalid,
    "of other labelled data, and is not compared: `trtgate bless --data`"
)]
#[case::other_shown(0.5, false, None, None, Status::Pass, "of other labelled data, and is not compared")]
#[case::no_number(f64::NAN, true, Some(0.01), None, Status::Fail, "NaN")]
#[case::floor(0.8999, true, None, Some(0.9), Status::Fail, "below the floor of 0.9000")]
#[case::a_sample_of_ten(0.8, true, Some(0.01), None, Status::Pass, "10.00 points less, 10.00 allowed")]
fn the_reference_is_held_to_what_the_golden_keeps(
    #[case] now: f64,
    #[case] same_data: bool,
    #[case] drop: Option<f64>,
    #[case] floor: Option<f64>,
    #[case] status: Status,
    #[case] words: &str,
) {
    let counted = (now == 0.8).then_some(10);
    let before = Some(Before { value: 0.9, same_data });
    let found = judge_reference("y", &scored(now, counted), &AccuracyLimits { floor, drop }, before);
    assert_eq!((found.status, found.gating), (status, true), "{}", found.detail);
    assert!(found.detail.contains(words), "{}", found.detail);
}
