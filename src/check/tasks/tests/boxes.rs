use super::*;
use crate::manifest::tasks::{BoxFormat, BoxesTask, Companion};

const SAMPLES: usize = 6;
const ROWS: usize = 8;
/// Rows of a sample that are boxes; the others are padding.
const BOXES: usize = 5;

type Row = [f32; 6];

fn task() -> BoxesTask {
    BoxesTask {
        format: BoxFormat::Xyxy,
        column: 0,
        scores: Some(Companion::Column(4)),
        labels: Some(Companion::Column(5)),
        count: Some("count".to_owned()),
        threshold: 0.25,
        nms: None,
    }
}

/// Boxes of 60 to 120 pixels in a picture of 640, apart from each other: corners, score, class.
fn boxes() -> Vec<Vec<Row>> {
    let one = |sample: usize, index: usize| {
        let seed = sample * BOXES + index;
        let (left, top) = (20.0 + 120.0 * index as f32 + 10.0 * noise(seed), 100.0 + 60.0 * sample as f32);
        let size = 90.0 + 30.0 * noise(seed + 500);
        [left, top, left + size, top + size, 0.7 + 0.2 * noise(seed + 900), (seed % 3) as f32]
    };
    (0..SAMPLES).map(|sample| (0..BOXES).map(|index| one(sample, index)).collect()).collect()
}

/// Rows padded with `garbage`, and how many count.
fn tensors(samples: &[Vec<Row>], garbage: f32) -> [Tensor; 2] {
    let padded = samples.iter().flat_map(|rows| {
        let missing = vec![[garbage; 6]; ROWS - rows.len()];
        rows.iter().copied().chain(missing).flatten().collect::<Vec<f32>>()
    });
    let counts = samples.iter().map(|rows| rows.len() as i64).collect();
    [floats("y", &[samples.len(), ROWS, 6], padded.collect()), integers("count", &[samples.len(), 1], counts)]
}

fn judge_with(task: BoxesTask, reference: &[Vec<Row>], actual: &[Vec<Row>]) -> Result<OutputFinding> {
    let (before, after) = (tensors(reference, 1.0), tensors(actual, 77.0));
    found(OutputTask::Boxes(Box::new(task)), &before, &after, SAMPLES)
}

fn judged(change: impl FnOnce(&mut Vec<Vec<Row>>)) -> OutputFinding {
    let mut actual = boxes();
    change(&mut actual);
    judge_with(task(), &boxes(), &actual).unwrap()
}

#[test]
fn sets_are_the_same_in_any_order_and_garbage_behind_the_count_is_not_looked_at() {
    let found = judged(|actual| actual.iter_mut().for_each(|rows| rows.reverse()));
    passes(&found);
    assert!(found.detail.contains("30 boxes of 6 samples, IoU 1 and more"), "{}", found.detail);
    // Without the count the same rows are boxes.
    let task = BoxesTask { count: None, ..task() };
    assert_eq!(judge_with(task, &boxes(), &boxes()).unwrap().status, Status::Fail);
}

#[test]
fn the_noise_of_half_precision_passes() {
    let rounded = judged(|actual| {
        actual.iter_mut().flatten().flatten().for_each(|value| *value = half::f16::from_f32(*value).to_f32())
    });
    passes(&rounded);
}

#[test]
fn a_box_shifted_by_three_pixels_is_named() {
    let found = judged(|actual| (actual[2][1][0], actual[2][1][2]) = (actual[2][1][0] + 3.0, actual[2][1][2] + 3.0));
    fails(&found, "1 of 30 boxes are off: in sample 2 the box of class 2 in row 1 is shifted by (3, 0)");
    let all = judged(|actual| {
        for row in actual.iter_mut().flatten() {
            (row[0], row[1], row[2], row[3]) = (row[0] + 3.0, row[1] - 3.0, row[2] + 3.0, row[3] - 3.0);
        }
    });
    fails(&all, "30 of 30 boxes are off: all are shifted by (3, -3)");
    let wider = judged(|actual| actual[0][0][2] += 8.0);
    fails(&wider, "the box of class 0 in row 0 is [");
}

#[test]
fn boxes_that_come_or_go_are_named_unless_they_are_near_the_threshold() {
    fails(
        &judged(|actual| actual[1].truncate(4)),
        "1 of 30 boxes have no match and are not borderline: in sample 1 a box of class 0 at [",
    );
    fails(&judged(|actual| actual[0].push([300.0, 300.0, 400.0, 400.0, 0.9, 1.0])), "is not the reference's");
    let at = |score: f32| {
        let mut boxes = boxes();
        boxes[4][2][4] = score;
        boxes
    };
    let found = judge_with(task(), &at(0.255), &at(0.245)).unwrap();
    passes(&found);
    assert_eq!((found.borderline, found.confident), (1, 0));
    assert!(found.detail.contains("1 more are borderline"), "{}", found.detail);
    let found = judge_with(task(), &at(0.4), &at(0.1)).unwrap();
    assert_eq!((found.status, found.borderline, found.confident), (Status::Fail, 0, 1));
}

#[test]
fn boxes_near_the_threshold_do_not_all_go() {
    let near = |kept: usize| {
        let mut boxes = boxes();
        let all = boxes.iter_mut().flatten();
        all.enumerate().for_each(|(index, one)| one[4] = if index < kept { one[4] } else { 0.251 });
        boxes
    };
    let without = |kept: usize| {
        let mut left = near(kept);
        left.iter_mut().for_each(|rows| rows.retain(|one| one[4] > 0.26));
        left
    };
    passes(&judge_with(task(), &near(15), &without(15)).unwrap());
    let found = judge_with(task(), &near(14), &without(14)).unwrap();
    fails(&found, "16 boxes have no match, all of them borderline, and only 14 have one");
}

#[test]
fn a_box_that_moved_far_is_told_with_both_places() {
    let found =
        judged(|actual| (actual[3][0][0], actual[3][0][2]) = (actual[3][0][0] + 200.0, actual[3][0][2] + 200.0));
    fails(&found, "2 of 31 boxes have no match and are not borderline: in sample 3 a box of class 0 moved from [");
}

#[test]
fn classes_and_scores_are_held() {
    let swapped = judged(|actual| {
        actual.iter_mut().flatten().for_each(|row| row[5] = if row[5] < 2.0 { 1.0 - row[5] } else { 2.0 })
    });
    fails(&swapped, "classes 0 and 1 of boxes are swapped");
    fails(&judged(|actual| actual[2][4][5] = 7.0), "1 box changed their class, the first in sample 2: 7 instead of ");
    fails(&judged(|actual| actual[0][0][4] -= 0.2), "the score of a box of class 0 in sample 0 is ");
}

#[test]
fn a_sample_without_boxes_on_either_side_is_said_and_no_alarm() {
    let mut sparse = boxes();
    sparse[1].clear();
    let found = judge_with(task(), &sparse, &sparse).unwrap();
    passes(&found);
    assert!(
        found.detail.contains("25 boxes of 5 samples") && found.detail.ends_with("1 sample has no box on either side"),
        "{}",
        found.detail
    );
    // Where that is all there is, nothing was looked at.
    let none = vec![Vec::new(); SAMPLES];
    nothing_judged(judge_with(task(), &none, &none), "none of 6 samples has a box on either side");
    assert_eq!(judge_with(task(), &boxes(), &none).unwrap().status, Status::Fail);
    assert_eq!(judge_with(task(), &none, &boxes()).unwrap().status, Status::Fail);
    // Nor where all that there is may come or go.
    let near: Vec<Vec<Row>> = (0..SAMPLES).map(|_| vec![[1.0, 1.0, 9.0, 9.0, 0.26, 0.0]]).collect();
    nothing_judged(judge_with(task(), &near, &none), "all 6 boxes lie near the threshold");
}

#[test]
fn what_is_no_number_fails_where_it_counts() {
    fails(&judged(|actual| actual[2][2][1] = f32::NAN), "the box of sample 2, row 2 is not finite");
    fails(&judged(|actual| actual[2][2][4] = f32::NAN), "the score or class of sample 2, row 2 is NaN");
    let mut broken = boxes();
    broken[0][0][0] = f32::INFINITY;
    nothing_judged(judge_with(task(), &broken, &boxes()), "of the reference the box of sample 0, row 0 is not finite");
    let before = tensors(&boxes(), 0.0);
    let count = |values: Vec<f32>| [before[0].clone(), floats("count", &[SAMPLES, 1], values)];
    let sound = count(vec![BOXES as f32; SAMPLES]);
    let wrong = count(vec![f32::NAN; SAMPLES]);
    let task = || OutputTask::Boxes(Box::new(task()));
    fails(&found(task(), &sound, &wrong, SAMPLES).unwrap(), "`count` holds NaN, no count");
}

/// Near duplicates that swap their scores: pairs are made so that all overlaps are large, not each its nearest in turn.
#[test]
fn near_duplicates_are_paired_together() {
    let rows = |a: f32, b: f32| {
        vec![
            [100.0, 100.0, 200.0, 200.0, 0.9, 0.0],
            [100.0 + a, 100.0, 200.0 + a, 200.0, 0.8, 0.0],
            [100.0 + b, 100.0, 200.0 + b, 200.0, 0.7, 0.0],
        ]
    };
    let all = |a: f32, b: f32| (0..SAMPLES).map(|_| rows(a, b)).collect::<Vec<_>>();
    let turned: Vec<Vec<Row>> = all(10.0, 20.0).into_iter().map(|rows| vec![rows[2], rows[0], rows[1]]).collect();
    passes(&judge_with(task(), &all(10.0, 20.0), &turned).unwrap());
}

#[test]
fn what_suppression_takes_at_its_edge_is_borderline() {
    let close = |both: bool| {
        let mut boxes = boxes();
        let [left, top, right, bottom, _, class] = boxes[0][0];
        let shift = 0.28 * (right - left);
        // Their overlap is 0.5625.
        if both {
            boxes[0].push([left + shift, top, right + shift, bottom, 0.6, class]);
        }
        boxes
    };
    let nms = |nms: f64| BoxesTask { nms: Some(nms), ..task() };
    let found = judge_with(nms(0.564), &close(true), &close(false)).unwrap();
    passes(&found);
    assert_eq!(found.borderline, 1);
    // The box that would suppress it is where it was, and left it in peace.
    assert_eq!(judge_with(nms(0.6), &close(true), &close(false)).unwrap().status, Status::Fail);
    // One that took its place may have suppressed it.
    let mut instead = close(false);
    let [left, top, right, bottom, _, class] = boxes()[0][0];
    let shift = 0.66 * (right - left);
    instead[0].push([left + shift, top, right + shift, bottom, 0.6, class]);
    let found = judge_with(nms(0.4495), &close(true), &instead).unwrap();
    assert_eq!((found.status, found.borderline), (Status::Pass, 2), "{}", found.detail);
    assert_eq!(judge_with(nms(0.9), &close(true), &close(false)).unwrap().status, Status::Fail);
}

#[test]
fn four_numbers_are_read_in_every_format_and_companions_by_name() {
    let corners: Vec<Row> = boxes().concat();
    type Read = fn(Row) -> [f32; 4];
    let formats: [(BoxFormat, Read); 4] = [
        (BoxFormat::Xyxy, |[a, b, c, d, ..]| [a, b, c, d]),
        (BoxFormat::Yxyx, |[a, b, c, d, ..]| [b, a, d, c]),
        (BoxFormat::Xywh, |[a, b, c, d, ..]| [a, b, c - a, d - b]),
        (BoxFormat::Cxcywh, |[a, b, c, d, ..]| [a + (c - a) / 2.0, b + (d - b) / 2.0, c - a, d - b]),
    ];
    for (format, four) in formats {
        let named = |name: &str| Some(Companion::Output(name.to_owned()));
        let task = BoxesTask { format, scores: named("scores"), labels: named("labels"), count: None, ..task() };
        let tensors = |shift: f32| {
            let numbers =
                corners.iter().flat_map(|row| four([row[0] + shift, row[1], row[2] + shift, row[3], row[4], row[5]]));
            [
                floats("y", &[SAMPLES, BOXES, 4], numbers.collect()),
                floats("scores", &[SAMPLES, BOXES], corners.iter().map(|row| row[4]).collect()),
                integers("labels", &[SAMPLES, BOXES], corners.iter().map(|row| row[5] as i64).collect()),
            ]
        };
        let judge =
            |shift| found(OutputTask::Boxes(Box::new(task.clone())), &tensors(0.0), &tensors(shift), SAMPLES).unwrap();
        passes(&judge(0.5));
        fails(&judge(4.0), "all are shifted by (4, 0)");
    }
    // Scores of every class: the best is the box's.
    let task = BoxesTask { scores: Some(Companion::Output("scores".to_owned())), labels: None, count: None, ..task() };
    let tensors = |turned: bool| {
        let score = |row: &Row| {
            let mut scores = [0.01, 0.01, 0.01];
            scores[row[5] as usize] = row[4];
            if turned {
                scores.reverse();
            }
            scores
        };
        [
            floats("y", &[SAMPLES, BOXES, 4], corners.iter().flat_map(|row| row[..4].to_vec()).collect()),
            floats("scores", &[SAMPLES, BOXES, 3], corners.iter().flat_map(score).collect()),
        ]
    };
    let judge =
        |turned| found(OutputTask::Boxes(Box::new(task.clone())), &tensors(false), &tensors(turned), SAMPLES).unwrap();
    passes(&judge(false));
    fails(&judge(true), "classes 0 and 2 of boxes are swapped");
}

#[test]
fn rows_that_do_not_fit_judge_nothing() {
    let narrow = floats("y", &[SAMPLES, 3], vec![0.0; SAMPLES * 3]);
    let task = |change: &dyn Fn(&mut BoxesTask)| {
        let mut task = task();
        change(&mut task);
        OutputTask::Boxes(Box::new(task))
    };
    nothing_judged(
        found(task(&|task| task.count = None), std::slice::from_ref(&narrow), std::slice::from_ref(&narrow), SAMPLES),
        "not rows of 4 numbers and more",
    );
    let sound = tensors(&boxes(), 0.0);
    let column = task(&|task| task.labels = Some(Companion::Column(6)));
    nothing_judged(found(column, &sound, &sound, SAMPLES), "no column 6");
    let crowd = floats("y", &[SAMPLES, 1001, 6], vec![1.0; SAMPLES * 1001 * 6]);
    let crowded = task(&|task| task.count = None);
    nothing_judged(
        found(crowded, std::slice::from_ref(&crowd), std::slice::from_ref(&crowd), SAMPLES),
        "sample 0 has 1001 boxes, and no more than 1000 are matched",
    );
    let missing = task(&|task| task.count = Some("number".to_owned()));
    nothing_judged(found(missing, &sound, &sound, SAMPLES), "output `number` is missing");
}

/// A model without a batch answers each sample with as many rows as it finds.
#[test]
fn sets_of_different_sizes_come_apart() {
    let answers = |samples: &[Vec<Row>]| {
        let part = |rows: &Vec<Row>| floats("y", &[rows.len(), 6], rows.concat());
        vec![Answers::of(samples.iter().map(part).collect()).unwrap()]
    };
    let task = || OutputTask::Boxes(Box::new(BoxesTask { count: None, ..task() }));
    let mut sparse = boxes();
    sparse[1].clear();
    sparse[2].truncate(2);
    let judge = |actual: &[Vec<Row>]| {
        of_answers(Precision::Fp16, task(), &answers(&sparse), &answers(actual), SAMPLES).unwrap()
    };
    passes(&judge(&sparse));
    let mut near = sparse.clone();
    near[3].push([1.0, 1.0, 9.0, 9.0, 0.26, 0.0]);
    assert_eq!((judge(&near).status, judge(&near).borderline), (Status::Pass, 1));
    near[3].pop();
    near[3].pop();
    fails(&judge(&near), "1 of 22 boxes have no match and are not borderline: in sample 3 a box of class ");
    fails(&judge(&boxes()), "8 of 30 boxes have no match");
}
