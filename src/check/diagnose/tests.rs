#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::*;
use crate::check::leads::NaturalLeads;

const SAMPLES: usize = 64;
const CLASSES: usize = 10;

/// Values without structure in -10..10, the same in every run.
fn scores() -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..SAMPLES * CLASSES)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 24) as f32 * 20.0 - 10.0
        })
        .collect()
}

/// Adds noise of 0.02 at most.
fn noisy(values: Vec<f32>) -> Vec<f32> {
    let wave = |index: usize| ((index * 7919 % 997) as f32 / 997.0 - 0.5) * 0.04;
    values.into_iter().enumerate().map(|(index, value)| value + wave(index)).collect()
}

fn softmax_of(values: &[f32]) -> Vec<f32> {
    let rows = values.chunks_exact(CLASSES).flat_map(|row| {
        let sum: f32 = row.iter().map(|value| value.exp()).sum();
        row.iter().map(move |value| value.exp() / sum).collect::<Vec<_>>()
    });
    rows.collect()
}

fn measured(pair: &OutputPair<'_>) -> Measured {
    let natural = NaturalLeads::of(pair.reference(), pair.classes(), OutputKind::Logits).unwrap();
    rule::measure(pair, OutputKind::Logits, &natural).unwrap()
}

/// The fault of outputs of `classes` classes that ran in batches of `batch`.
fn named_at(reference: &[f32], actual: &[f32], classes: usize, batch: u32) -> Option<String> {
    let pair = OutputPair::new(reference, actual, reference.len() / classes, classes).unwrap();
    diagnose(&pair, &measured(&pair), Some(batch)).map(|diagnosis| diagnosis.to_string())
}

fn named(reference: &[f32], actual: &[f32]) -> Option<String> {
    named_at(reference, actual, CLASSES, 32)
}

fn noted(reference: &[f32], actual: &[f32], classes: usize) -> Vec<String> {
    let pair = OutputPair::new(reference, actual, reference.len() / classes, classes).unwrap();
    notes(&pair, &measured(&pair))
}

fn rows_of(values: &[f32], order: impl Fn(usize) -> usize) -> Vec<f32> {
    let row = |sample: usize| &values[order(sample) * CLASSES..(order(sample) + 1) * CLASSES];
    (0..SAMPLES).flat_map(|sample| row(sample).to_vec()).collect()
}

fn columns_of(values: &[f32], order: impl Fn(usize) -> usize) -> Vec<f32> {
    values
        .chunks_exact(CLASSES)
        .flat_map(|row| (0..CLASSES).map(|class| row[order(class)]).collect::<Vec<_>>())
        .collect()
}

fn swap(one: usize, other: usize) -> impl Fn(usize) -> usize {
    move |index| {
        if index == one {
            other
        } else if index == other {
            one
        } else {
            index
        }
    }
}

#[rstest]
#[case::constant(rows_of(&scores(), |_| 3), "every sample got the same outputs")]
#[case::zeros(vec![0.0; SAMPLES * CLASSES], "every sample got the same outputs")]
#[case::softmax(softmax_of(&scores()), "the outputs are the softmax of the reference's")]
#[case::two_classes(noisy(columns_of(&scores(), swap(3, 7))), "the outputs of classes 3 and 7 are swapped")]
#[case::three_classes(noisy(columns_of(&scores(), |class| match class { 0 => 1, 1 => 2, 2 => 0, other => other })),
    "the outputs of 3 classes are permuted: class 0 holds those of 1, class 1 holds those of 2, class 2 holds those of 0")]
#[case::reversed_classes(columns_of(&scores(), |class| 9 - class),
    "the outputs of 10 classes are permuted: class 0 holds those of 9, class 1 holds those of 8, class 2 holds those of 7, class 3 holds those of 6, …")]
#[case::two_samples(noisy(rows_of(&scores(), swap(0, 1))), "the outputs of samples 0 and 1 are swapped")]
#[case::shifted(noisy(rows_of(&scores(), |sample| (sample + SAMPLES - 1) % SAMPLES)),
    "every sample holds the outputs of the sample 1 before it")]
#[case::shifted_by_a_batch(noisy(rows_of(&scores(), |sample| sample.saturating_sub(8))),
    "every sample holds the outputs of the sample 8 before it")]
#[case::doubled(noisy(scores().iter().map(|value| value * 2.0).collect()), "every lead is the reference's times 2")]
#[case::negated(scores().iter().map(|value| -value).collect(), "every lead is the reference's times -1")]
#[case::a_tenth(scores().iter().map(|value| value * 0.1).collect(), "every lead is the reference's times 0.1")]
#[case::still(scores().iter().enumerate().map(|(index, value)| (index % CLASSES) as f32 + 0.01 * value).map(|value| value * -3.0).collect(),
    "the answers collapse: 64 of 64 are class 0, to which the reference gives 2")]
#[case::noise_alone(noisy(vec![0.0; SAMPLES * CLASSES]), "the outputs hardly change with the input")]
#[case::one_sample(scores().iter().enumerate().map(|(index, value)| if index / CLASSES == 5 { -value } else { *value }).collect(),
    "few samples: sample 5 carries more than 80 % of the error")]
#[case::bias(scores().chunks_exact(CLASSES).flat_map(|row| { let mut row = row.to_vec(); row[4] += 0.5; row }).collect(),
    "the outputs of class 4 are shifted by +0.5000")]
fn a_pattern_is_named(#[case] actual: Vec<f32>, #[case] expected: &str) {
    assert_eq!(named(&scores(), &actual).as_deref(), Some(expected));
}

/// As `scores`, where the samples answered with class 4 have lost most of its lead, each by another share.
fn without_a_class() -> Vec<f32> {
    let mut values = scores();
    for (sample, row) in values.chunks_exact_mut(CLASSES).enumerate() {
        if answer(row) == 4 {
            row[4] -= 3.0 + (sample % 5) as f32;
        }
    }
    noisy(values)
}

/// Of three classes of which two compete, the negative looks like these two swapped; the third tells them apart.
#[test]
fn negated_outputs_are_called_scaled_and_not_swapped() {
    let reference: Vec<f32> =
        scores().chunks_exact(CLASSES).flat_map(|row| [row[0], -row[0] + 0.1 * row[1], 0.2 * row[2]]).collect();
    let negated: Vec<f32> = reference.iter().map(|value| -value).collect();
    assert_eq!(named_at(&reference, &negated, 3, 32).unwrap(), "every lead is the reference's times -1");
    let swapped: Vec<f32> = reference.chunks_exact(3).flat_map(|row| [row[1], row[0], row[2]]).collect();
    let named = named_at(&reference, &swapped, 3, 32).unwrap();
    assert!(named.contains("swapped"), "{named}");
}

#[test]
fn a_class_that_is_lost_is_named() {
    let of_it = scores().chunks_exact(CLASSES).filter(|row| answer(row) == 4).count();
    let words = named(&scores(), &without_a_class()).unwrap();
    assert!(
        words.starts_with("one class: ") && words.contains(&format!("of {of_it} answers of class 4 change")),
        "{words}"
    );
}

#[test]
fn a_missing_softmax_is_named() {
    let expected = "the reference's outputs are the softmax of these";
    assert_eq!(named(&softmax_of(&scores()), &scores()).as_deref(), Some(expected));
}

#[test]
fn noise_and_equality_have_no_name() {
    let loud: Vec<f32> =
        scores().iter().enumerate().map(|(index, value)| value + ((index * 31 % 17) as f32 - 8.0) * 0.3).collect();
    assert_eq!(named(&scores(), &loud), None);
    assert_eq!(named(&scores(), &scores()), None);
}

#[test]
fn one_sample_has_no_constant_answer() {
    assert_eq!(named_at(&[1.0, 5.0, 2.0], &[1.1, 5.6, 2.0], 3, 1), None);
}

#[test]
fn an_offset_of_all_classes_is_a_note_and_no_fault() {
    let moved: Vec<f32> = scores().iter().map(|value| value + 150.0).collect();
    assert_eq!(named(&scores(), &moved), None);
    assert_eq!(
        noted(&scores(), &moved, CLASSES),
        ["all outputs of a sample moved together, by 150 in the mean: no answer depends on it"]
    );
}

#[test]
fn masked_classes_are_a_note_and_hide_nothing() {
    let padded = |values: &[f32]| -> Vec<f32> {
        values.chunks_exact(CLASSES).flat_map(|row| [row, &[-1e4, -1e4]].concat()).collect()
    };
    let swapped = columns_of(&scores(), swap(3, 7));
    let expected = Some("the outputs of classes 3 and 7 are swapped".to_owned());
    assert_eq!(named_at(&padded(&scores()), &padded(&swapped), CLASSES + 2, 32), expected);
    assert_eq!(
        noted(&padded(&scores()), &padded(&noisy(scores())), CLASSES + 2),
        ["2 of 12 classes never come near an answer (masked, padded or dead): what they hold decides nothing"]
    );
}

#[test]
fn samples_are_never_said_to_be_permuted_at_batch_1() {
    let swapped = rows_of(&scores(), swap(0, 1));
    assert!(named_at(&scores(), &swapped, CLASSES, 8).unwrap().contains("samples 0 and 1 are swapped"));
    assert!(!named_at(&scores(), &swapped, CLASSES, 1).unwrap().contains("swapped"));
}

#[test]
fn samples_that_share_a_source_are_not_said_to_be_permuted() {
    // Half of the samples hold the outputs of one: a collapse of some kind, no change of places.
    let held = rows_of(&scores(), |sample| if sample % 2 == 0 { 9 } else { sample });
    let found = named(&scores(), &held);
    assert!(found.as_ref().is_none_or(|found| !found.contains("permuted")), "{found:?}");
}

#[test]
fn two_classes_are_swapped_and_never_permuted_samples() {
    let two: Vec<f32> = scores().into_iter().take(128).collect();
    let swapped: Vec<f32> = two.chunks_exact(2).flat_map(|row| [row[1], row[0]]).collect();
    let found = named_at(&two, &swapped, 2, 32);
    assert_eq!(found.as_deref(), Some("the outputs of classes 0 and 1 are swapped"));
    let moved: Vec<f32> = two.iter().copied().cycle().skip(2).take(128).collect();
    let found = named_at(&two, &moved, 2, 32);
    assert!(found.as_ref().is_none_or(|found| !found.contains("sample")), "{found:?}");
}

#[test]
fn columns_that_share_a_source_are_not_said_to_be_swapped() {
    let doubled = columns_of(&scores(), |class| if class == 3 { 7 } else { class });
    let found = named(&scores(), &doubled);
    assert!(found.as_ref().is_none_or(|found| !found.contains("classes")), "{found:?}");
}

#[test]
fn a_few_large_errors_are_a_note_where_they_do_not_fail() {
    let one: Vec<f32> =
        scores().iter().enumerate().map(|(index, value)| if index / CLASSES == 5 { -value } else { *value }).collect();
    assert_eq!(noted(&scores(), &one, CLASSES), ["few samples: sample 5 makes up most of the error of the leads"]);
    assert!(noted(&scores(), &noisy(scores()), CLASSES).is_empty());
}
