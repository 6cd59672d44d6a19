//! Classification and scores.

use super::*;
use crate::manifest::OutputKind;

const SAMPLES: usize = 64;
const CLASSES: usize = 5;

fn logits() -> Tensor {
    let value = |index: usize| {
        let (sample, class) = (index / CLASSES, index % CLASSES);
        3.0 * noise(index) + if class == sample % CLASSES { 4.0 } else { 0.0 }
    };
    floats("y", &[SAMPLES, CLASSES], (0..SAMPLES * CLASSES).map(value).collect())
}

fn classified(actual: &Tensor) -> OutputFinding {
    let task = OutputTask::Classification(OutputKind::Logits);
    found(task, &[logits()], std::slice::from_ref(actual), SAMPLES).unwrap()
}

#[test]
fn a_classifier_is_judged_by_its_leads() {
    strange_outputs_never_pass(&OutputTask::Classification(OutputKind::Logits), &logits());
    let rounded = altered(&logits(), |values| {
        values.iter_mut().enumerate().for_each(|(at, value)| *value += 0.01 * noise(at + 999))
    });
    let judged = classified(&rounded);
    passes(&judged);
    assert!(judged.detail.contains("64 of 64 samples have the reference's answer"), "{}", judged.detail);
    // What all classes share decides nothing.
    passes(&classified(&altered(&logits(), |values| values.iter_mut().for_each(|value| *value += 7.0))));
    let swapped = altered(&logits(), |values| values.chunks_exact_mut(CLASSES).for_each(|row| row.swap(1, 3)));
    fails(&classified(&swapped), "the outputs of classes 1 and 3 are swapped");
    let scaled = altered(&logits(), |values| values.iter_mut().for_each(|value| *value *= 1.5));
    fails(&classified(&scaled), "every lead is the reference's times 1.5");
    let one = altered(&logits(), |values| values[..CLASSES].reverse());
    fails(&classified(&one), "few samples: sample 0");
}

#[test]
fn an_answer_near_a_tie_may_change_and_is_counted() {
    let task = || OutputTask::Classification(OutputKind::Logits);
    let tie = |lead: f32| {
        altered(&logits(), |values| values[..CLASSES].copy_from_slice(&[1.0, 1.0 + lead, -3.0, -3.0, -3.0]))
    };
    let judged = found(task(), &[tie(0.01)], &[tie(-0.01)], SAMPLES).unwrap();
    passes(&judged);
    assert_eq!((judged.borderline, judged.confident), (1, 0));
    let judged = found(task(), &[tie(4.0)], &[tie(-4.0)], SAMPLES).unwrap();
    assert_eq!((judged.status, judged.borderline, judged.confident), (Status::Fail, 0, 1));
}

#[test]
fn one_class_is_no_classifier() {
    let single = floats("y", &[4, 1], vec![0.1, 0.2, 0.3, 0.4]);
    let judged = found(
        OutputTask::Classification(OutputKind::Logits),
        std::slice::from_ref(&single),
        std::slice::from_ref(&single),
        4,
    );
    nothing_judged(judged, "one class holds no answer");
    let ids = integers("y", &[4, 3], (0..12).collect());
    let judged = found(
        OutputTask::Classification(OutputKind::Logits),
        std::slice::from_ref(&ids),
        std::slice::from_ref(&ids),
        4,
    );
    nothing_judged(judged, "it is int64, which is no score");
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

fn scores() -> Tensor {
    let values = (0..SAMPLES * CLASSES).map(|at| sigmoid(4.0 * noise(at))).collect();
    floats("y", &[SAMPLES, CLASSES], values)
}

fn scored(actual: &Tensor) -> OutputFinding {
    found(OutputTask::Scores(None), &[scores()], std::slice::from_ref(actual), SAMPLES).unwrap()
}

#[test]
fn each_score_is_a_classifier_of_its_own() {
    strange_outputs_never_pass(&OutputTask::Scores(None), &scores());
    let moved = |by: f32, only: Option<usize>| {
        altered(&scores(), |values| {
            values.iter_mut().enumerate().for_each(|(at, value)| {
                if only.is_none_or(|only| at % CLASSES == only) {
                    *value = sigmoid((*value / (1.0 - *value)).ln() + by);
                }
            });
        })
    };
    passes(&scored(&moved(0.05, None)));
    // A common offset is a fault of scores, which a classifier would not mind.
    fails(&scored(&moved(0.6, None)), "all scores are shifted by 0.6 in log-odds");
    fails(&scored(&moved(-2.0, Some(3))), "of 5 scores score 3 is off the most, by 2 in log-odds");
    let swapped = altered(&scores(), |values| values.chunks_exact_mut(CLASSES).for_each(|row| row.swap(0, 4)));
    fails(&scored(&swapped), "the outputs of classes 0 and 4 are swapped");
    let opposite = altered(&scores(), |values| values.iter_mut().for_each(|value| *value = 1.0 - *value));
    fails(&scored(&opposite), "every score is the opposite");
}

#[test]
fn a_score_just_at_one_half_is_borderline() {
    let at = |value: f32| altered(&scores(), |values| values[12] = value);
    let judged = found(OutputTask::Scores(None), &[at(0.499)], &[at(0.501)], SAMPLES).unwrap();
    passes(&judged);
    assert_eq!((judged.borderline, judged.confident), (1, 0));
    assert!(judged.detail.contains("319 of 320 scores lie on the reference's side"), "{}", judged.detail);
}

#[test]
fn scores_that_are_no_probabilities_are_logits_unless_the_manifest_says_otherwise() {
    let judged = found(OutputTask::Scores(None), &[logits()], &[logits()], SAMPLES).unwrap();
    passes(&judged);
    let declared = OutputTask::Scores(Some(OutputKind::Probabilities));
    nothing_judged(found(declared, &[logits()], &[logits()], SAMPLES), "are no probabilities");
}

/// What is cut off tells nothing, however much it differs.
#[test]
fn scores_that_are_all_beyond_what_is_told_apart_judge_nothing() {
    let low = |scale: f32| altered(&scores(), |values| values.iter_mut().for_each(|value| *value *= scale));
    let judged = found(OutputTask::Scores(None), &[low(1e-4)], &[low(1e-5)], SAMPLES);
    nothing_judged(judged, "all 320 scores of the reference lie below 0.002");
}

/// One score of hundreds that is wrong is no tenth of what is pooled.
#[test]
fn one_wrong_score_of_hundreds_is_found() {
    let many = floats("y", &[32, 400], (0..32 * 400).map(|at| sigmoid(4.0 * noise(at))).collect());
    let dead = altered(&many, |values| values.iter_mut().skip(123).step_by(400).for_each(|value| *value = 0.3));
    let judged = found(OutputTask::Scores(None), &[many], &[dead], 32).unwrap();
    fails(&judged, "of 400 scores score 123 is off the most, by ");
    assert!(judged.detail.ends_with("is allowed of one score"), "{}", judged.detail);
}

/// Why `init` takes no sigmoid for scores: landmarks and boxes leave sigmoids too, and a shift that matters to them changes no answer.
#[test]
fn coordinates_that_sigmoids_make_are_lost_on_scores() {
    let places = floats("y", &[SAMPLES, 8], (0..SAMPLES * 8).map(|at| 0.5 + 0.45 * noise(at)).collect());
    // Up to 4 pixels of 224.
    let moved = altered(&places, |values| {
        values.iter_mut().enumerate().for_each(|(at, value)| *value += 0.018 * noise(at + 999))
    });
    let judged = |task| found(task, std::slice::from_ref(&places), std::slice::from_ref(&moved), SAMPLES).unwrap();
    passes(&judged(OutputTask::Scores(Some(OutputKind::Probabilities))));
    fails(&judged(OutputTask::Values), "");
}
