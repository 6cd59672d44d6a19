use super::*;
use crate::findings::shown::Shown;
use crate::manifest::OutputKind;
use crate::manifest::tasks::MapTask;

const SAMPLES: usize = 6;
const CLASSES: usize = 4;
const SIDE: usize = 16;
const PLACES: usize = SIDE * SIDE;

fn task(axis: usize) -> OutputTask {
    OutputTask::Map(MapTask { kind: OutputKind::Logits, axis })
}

/// The class that a place is meant to have: stripes that differ from sample to sample.
fn stripe(sample: usize, place: usize) -> usize {
    (place / SIDE + 3 * sample) / 4 % CLASSES
}

/// Scores with the classes behind the batch.
fn scores() -> Tensor {
    let value = |index: usize| {
        let (sample, class, place) = (index / (CLASSES * PLACES), index / PLACES % CLASSES, index % PLACES);
        noise(index) + if class == stripe(sample, place) { 4.0 } else { 0.0 }
    };
    floats("y", &[SAMPLES, CLASSES, SIDE, SIDE], (0..SAMPLES * CLASSES * PLACES).map(value).collect())
}

fn judged(reference: &Tensor, actual: &Tensor) -> OutputFinding {
    found(task(1), std::slice::from_ref(reference), std::slice::from_ref(actual), SAMPLES).unwrap()
}

/// Puts `scores` into one place.
fn with(tensor: &Tensor, sample: usize, place: usize, scores: [f32; CLASSES]) -> Tensor {
    altered(tensor, |values| {
        for (class, score) in scores.into_iter().enumerate() {
            values[(sample * CLASSES + class) * PLACES + place] = score;
        }
    })
}

#[test]
fn places_keep_their_classes() {
    strange_outputs_never_pass(&task(1), &scores());
    let rounded =
        altered(&scores(), |values| values.iter_mut().for_each(|value| *value = half::f16::from_f32(*value).to_f32()));
    let sound = judged(&scores(), &rounded);
    passes(&sound);
    let drawn = match &sound.shown {
        Some(Shown::Map(map)) => Some((map.sample, map.height, map.width)),
        _ => None,
    };
    assert_eq!(drawn, Some((0, SIDE, SIDE)));
    assert!(sound.detail.contains("1536 places, 0 changed near a tie, 0 others; 4 classes, IoU 1"), "{}", sound.detail);
}

#[test]
fn two_classes_that_are_swapped_are_named() {
    let swapped = altered(&scores(), |values| {
        for sample in values.chunks_exact_mut(CLASSES * PLACES) {
            let (left, right) = sample.split_at_mut(2 * PLACES);
            left[PLACES..].swap_with_slice(&mut right[PLACES..]);
        }
    });
    fails(&judged(&scores(), &swapped), "classes 1 and 3 of the map are swapped");
}

#[test]
fn a_place_near_a_tie_may_change_and_one_that_was_sure_may_not() {
    let near = with(&scores(), 2, 40, [3.0, 3.01, 0.0, 0.0]);
    let found = judged(&near, &with(&near, 2, 40, [3.01, 3.0, 0.0, 0.0]));
    passes(&found);
    assert_eq!((found.borderline, found.confident), (1, 0));
    let sure = with(&scores(), 2, 40, [0.0, 5.0, 0.0, 0.0]);
    let found = judged(&sure, &with(&sure, 2, 40, [5.0, 0.0, 0.0, 0.0]));
    fails(
        &found,
        "1 of 1536 places changed their class though the reference was sure, the first is place 40 of sample 2, 0 instead of 1",
    );
    assert_eq!((found.borderline, found.confident), (0, 1));
}

#[test]
fn a_class_that_covers_less_is_named() {
    // The lower half of a stripe goes to another class.
    let eroded = altered(&scores(), |values| {
        for place in 0..PLACES / 2 {
            for sample in 0..SAMPLES {
                if stripe(sample, place) == 2 && place % 2 == 0 {
                    values[(sample * CLASSES + 2) * PLACES + place] = -4.0;
                }
            }
        }
    });
    fails(&judged(&scores(), &eroded), "class 2 overlaps the reference's by 0.");
}

#[test]
fn scores_off_without_a_change_of_class_are_held_as_values() {
    let scaled = altered(&scores(), |values| values.iter_mut().for_each(|value| *value *= 1.03));
    fails(&judged(&scores(), &scaled), "all leads together are 1.0300 times the reference's");
    // Of classes that are never near an answer.
    let hidden = altered(&scores(), |values| {
        values.iter_mut().filter(|value| **value < -0.5).for_each(|value| *value -= 0.4);
    });
    fails(&judged(&scores(), &hidden), " dB above their noise, 30 dB are asked");
}

#[test]
fn classes_may_stand_along_any_axis() {
    let turned = |tensor: &Tensor| {
        let values = tensor.floats();
        let mut last = Vec::new();
        for sample in values.chunks_exact(CLASSES * PLACES) {
            (0..PLACES).for_each(|place| last.extend((0..CLASSES).map(|class| sample[class * PLACES + place])));
        }
        floats("y", &[SAMPLES, SIDE, SIDE, CLASSES], last)
    };
    let sure = with(&scores(), 2, 40, [0.0, 5.0, 0.0, 0.0]);
    let wrong = with(&sure, 2, 40, [5.0, 0.0, 0.0, 0.0]);
    let found = found(task(3), &[turned(&sure)], &[turned(&wrong)], SAMPLES).unwrap();
    fails(&found, "the first is place 40 of sample 2, 0 instead of 1");
    nothing_judged(super::found(task(4), &[scores()], &[scores()], SAMPLES), "no axis 4 of classes");
}

#[test]
fn one_score_a_place_is_a_class_and_its_opposite() {
    let shape = [SAMPLES, 1, SIDE, SIDE];
    let mask = floats("y", &shape, (0..SAMPLES * PLACES).map(|at| 4.0 * noise(at)).collect());
    passes(&found(task(1), std::slice::from_ref(&mask), std::slice::from_ref(&mask), SAMPLES).unwrap());
    let flipped = altered(&mask, |values| values.iter_mut().for_each(|value| *value = -*value));
    fails(
        &found(task(1), std::slice::from_ref(&mask), &[flipped], SAMPLES).unwrap(),
        "classes 0 and 1 of the map are swapped",
    );
    let shifted = altered(&mask, |values| values.iter_mut().for_each(|value| *value += 0.8));
    fails(
        &found(task(1), &[mask], &[shifted], SAMPLES).unwrap(),
        "places changed their class though the reference was sure",
    );
}

#[test]
fn whole_numbers_are_classes_already() {
    let ids = |change: &dyn Fn(usize, i64) -> i64| {
        let values = (0..SAMPLES * PLACES).map(|at| change(at, stripe(at / PLACES, at % PLACES) as i64)).collect();
        integers("y", &[SAMPLES, SIDE, SIDE], values)
    };
    let judge = |actual: Tensor| found(task(1), &[ids(&|_, class| class)], &[actual], SAMPLES).unwrap();
    passes(&judge(ids(&|_, class| class)));
    fails(&judge(ids(&|at, class| if at == 300 { 3 - class } else { class })), "1 of 1536 places changed");
    let swap = |_, class| match class {
        0 => 2,
        2 => 0,
        class => class,
    };
    fails(&judge(ids(&swap)), "classes 0 and 2 of the map are swapped");
    let still = integers("y", &[SAMPLES, SIDE, SIDE], vec![1; SAMPLES * PLACES]);
    nothing_judged(
        found(task(1), std::slice::from_ref(&still), std::slice::from_ref(&still), SAMPLES),
        "alike: nothing was judged",
    );
}
