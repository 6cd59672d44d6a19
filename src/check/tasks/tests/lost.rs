//! What is lost beside what is kept: faults that figures of a whole output hardly move.

use super::*;
use crate::manifest::OutputKind;
use crate::manifest::tasks::{BoxFormat, BoxesTask, Companion, MapTask};

const SAMPLES: usize = 64;

/// 40 labels that are nearly always so, but for the last, which is so in every other sample.
fn labels(last: impl Fn(usize) -> f32) -> Tensor {
    let value = |index: usize| {
        let (sample, label) = (index / 40, index % 40);
        if label == 39 { last(sample) } else { 5.0 + 0.5 * noise(index) }
    };
    floats("y", &[SAMPLES, 40], (0..SAMPLES * 40).map(value).collect())
}

#[test]
fn a_label_that_follows_its_input_no_more_is_named() {
    let of = |sample: usize| 1.4 * noise(sample);
    let task = || OutputTask::Scores(Some(OutputKind::Logits));
    let judge = |actual: &Tensor| found(task(), &[labels(of)], std::slice::from_ref(actual), SAMPLES).unwrap();
    fails(&judge(&labels(|_| 0.1)), "score 39 of 40 follows its input no more");
    passes(&judge(&labels(|sample| of(sample) + 0.02 * noise(sample + 7000))));
}

/// Vectors with one large number in common and 16 that tell them apart.
fn vectors(telling: impl Fn(usize) -> f32) -> Tensor {
    let value = |index: usize| if index.is_multiple_of(17) { 90.0 } else { 0.4 * telling(index) };
    floats("y", &[SAMPLES, 17], (0..SAMPLES * 17).map(value).collect())
}

#[test]
fn vectors_that_only_share_what_they_have_in_common_fail() {
    let judge = |actual: &Tensor| {
        found(OutputTask::Embedding, &[vectors(noise)], std::slice::from_ref(actual), SAMPLES).unwrap()
    };
    fails(&judge(&vectors(|_| 0.0)), "the vectors are hardly told apart any more");
    passes(&judge(&vectors(|index| noise(index) * (1.0 + 1e-3 * noise(index + 9000)))));
}

/// A map of 128 × 128 places and 3 classes, the last of which is met in one place a sample.
fn points(height: f32) -> Tensor {
    const PLACES: usize = 128 * 128;
    let value = |index: usize| {
        let (sample, class, place) = (index / (3 * PLACES), index / PLACES % 3, index % PLACES);
        match class {
            2 if place == 100 + 37 * sample => height,
            0 => 2.0 + 0.1 * noise(index),
            class => -2.0 * class as f32 + 0.1 * noise(index),
        }
    };
    floats("y", &[16, 3, 128, 128], (0..16 * 3 * PLACES).map(value).collect())
}

#[test]
fn a_class_of_few_places_that_is_gone_is_named() {
    let task = || OutputTask::Map(MapTask { kind: OutputKind::Logits, axis: 1 });
    let judge = |actual: &Tensor| found(task(), &[points(6.0)], std::slice::from_ref(actual), 16).unwrap();
    fails(&judge(&points(-4.0)), "class 2 of the map is gone: the reference was sure of 16 places of it, none is left");
    passes(&judge(&points(5.99)));
}

/// Boxes apart from each other with the scores of two classes beside them.
fn tied(first: f32, second: f32) -> [Tensor; 2] {
    let corners = (0..12_usize).flat_map(|index| {
        let left = 50.0 * (index % 3) as f32;
        [left, 10.0, left + 40.0, 50.0]
    });
    // The last row of each sample is none, so that nothing was cut off.
    let scores = (0..12_usize).flat_map(|index| if index % 3 == 2 { [0.1, 0.05] } else { [first, second] });
    [floats("y", &[4, 3, 4], corners.collect()), floats("scores", &[4, 3, 2], scores.collect())]
}

fn of_scores() -> BoxesTask {
    BoxesTask {
        format: BoxFormat::Xyxy,
        column: 0,
        scores: Some(Companion::Output("scores".to_owned())),
        labels: None,
        count: None,
        threshold: 0.25,
        nms: None,
    }
}

#[test]
fn a_box_of_two_classes_that_tie_may_have_either() {
    let task = || OutputTask::Boxes(Box::new(of_scores()));
    let mut actual = tied(0.6, 0.6001);
    // One box that is the same on both sides, so that something is judged.
    let sure = |tensors: &mut [Tensor; 2]| {
        if let Some(values) = tensors[1].values.as_mut::<f32>() {
            values[..2].copy_from_slice(&[0.9, 0.1]);
        }
    };
    let mut reference = tied(0.6001, 0.6);
    sure(&mut reference);
    sure(&mut actual);
    let judged = found(task(), &reference, &actual, 4).unwrap();
    // Each of them may be so; all together are another answer, and no swap of classes.
    assert!(!judged.detail.contains("are swapped"), "{}", judged.detail);
    let swapped = found(task(), &tied(0.8, 0.4), &tied(0.4, 0.8), 4).unwrap();
    fails(&swapped, "boxes changed their class");
}

#[test]
fn companions_in_another_type_and_counts_beyond_the_rows_are_told() {
    let counted = BoxesTask { scores: None, count: Some("count".to_owned()), ..of_scores() };
    let of = |counts: Vec<i64>| [tied(0.9, 0.1)[0].clone(), integers("count", &[4, 1], counts)];
    let task = || OutputTask::Boxes(Box::new(counted.clone()));
    passes(&found(task(), &of(vec![3; 4]), &of(vec![3; 4]), 4).unwrap());
    fails(
        &found(task(), &of(vec![3; 4]), &of(vec![3, 3, 1000, 3]), 4).unwrap(),
        "the count of sample 2 is 1000, and it has 3 rows",
    );
    let mut narrow = of(vec![3; 4]);
    narrow[1] = Tensor::new("count", vec![4, 1], Values::Int32(vec![3; 4])).unwrap();
    fails(&found(task(), &of(vec![3; 4]), &narrow, 4).unwrap(), "`count` is int32, the reference has int64");
}

#[test]
fn outputs_that_say_nothing_of_the_input_are_known() {
    let still = floats("y", &[3, 2], [1.0, 2.0].repeat(3));
    let moves = floats("y", &[3, 2], (0..6).map(noise).collect());
    let rows = |tensors: &[&Tensor]| tensors.iter().map(|&one| Answers::Rows(one.clone())).collect::<Vec<_>>();
    assert!(all_still(&rows(&[&still])) && all_still(&rows(&[&still, &still])));
    assert!(!all_still(&rows(&[&still, &moves])) && !all_still(&[]));
    let part = |value: f32| floats("y", &[1], vec![value]);
    assert!(all_still(&[Answers::Apart(vec![part(1.0), part(1.0)])]));
    assert!(
        !all_still(&[Answers::Apart(vec![part(1.0), part(2.0)])]) && !all_still(&[Answers::Apart(vec![part(1.0)])])
    );
}
