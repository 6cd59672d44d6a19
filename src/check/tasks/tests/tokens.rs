use super::*;
use crate::manifest::OutputKind;
use crate::manifest::tasks::TokensTask;

const SAMPLES: usize = 50;
const STEPS: usize = 10;
const WORDS: usize = 30;

fn plain() -> TokensTask {
    TokensTask { kind: OutputKind::Logits, axis: None, blank: None, end: None }
}

fn sequence(task: TokensTask, reference: &[i64], actual: &[i64]) -> Result<OutputFinding> {
    let shape = [SAMPLES, STEPS];
    let tensors = (integers("y", &shape, reference.to_vec()), integers("y", &shape, actual.to_vec()));
    found(OutputTask::Tokens(task), &[tensors.0], &[tensors.1], SAMPLES)
}

fn ids() -> Vec<i64> {
    (0..SAMPLES * STEPS).map(|at| ((noise(at) + 1.0) * 10.0) as i64 + 3).collect()
}

#[test]
fn one_token_in_five_hundred_is_found_and_named() {
    passes(&sequence(plain(), &ids(), &ids()).unwrap());
    let mut one = ids();
    one[7 * STEPS + 4] = 99;
    let words =
        format!("1 edit to 500 tokens, 1 sample differs, sample 7 first: step 4 is 99 instead of {}", ids()[74]);
    fails(&sequence(plain(), &ids(), &one).unwrap(), &words);
}

#[test]
fn a_token_that_is_left_out_is_one_edit_to_each_side() {
    let mut shifted = ids();
    shifted[STEPS..2 * STEPS].rotate_left(1);
    let found = sequence(plain(), &ids(), &shifted).unwrap();
    fails(&found, "2 edits to 500 tokens, 1 sample differs, sample 1 first: step 0 is ");
    assert!(found.detail.contains(", and 2 edits from there on"), "{}", found.detail);
    let mut swapped = ids();
    (0..STEPS).for_each(|step| swapped.swap(2 * STEPS + step, 5 * STEPS + step));
    fails(&sequence(plain(), &ids(), &swapped).unwrap(), "samples 2 and 5 hold each other's tokens");
}

#[test]
fn what_stands_behind_the_end_is_not_looked_at() {
    let ended = |garbage: i64| {
        let mut ids = ids();
        for sample in ids.chunks_exact_mut(STEPS) {
            sample[6] = 0;
            sample[7..].fill(garbage);
        }
        ids
    };
    let task = TokensTask { end: Some(0), ..plain() };
    passes(&sequence(task.clone(), &ended(1), &ended(77)).unwrap());
    // An end that comes earlier leaves tokens out.
    let mut early = ended(1);
    early[3] = 0;
    fails(&sequence(task, &ended(1), &early).unwrap(), "step 3 is no token instead of");
}

#[test]
fn a_ctc_decoder_drops_repeats_and_blanks() {
    let task = TokensTask { blank: Some(0), ..plain() };
    let row = |sample: i64, wide: bool| {
        let token = 1 + sample % 9;
        if wide {
            [0, token, token, 0, token + 9, 0, 0, 0, 0, 0]
        } else {
            [token, 0, 0, token + 9, token + 9, 0, 0, 0, 0, 0]
        }
    };
    let rows = |wide: bool| (0..SAMPLES as i64).flat_map(|sample| row(sample, wide)).collect::<Vec<i64>>();
    passes(&sequence(task.clone(), &rows(true), &rows(false)).unwrap());
    fails(&sequence(plain(), &rows(true), &rows(false)).unwrap(), "tokens, 50 samples differ");
    nothing_judged(sequence(task, &vec![0; SAMPLES * STEPS], &vec![0; SAMPLES * STEPS]), "alike: nothing was judged");
}

#[test]
fn sequences_that_are_all_one_judge_nothing() {
    let same: Vec<i64> = (0..SAMPLES).flat_map(|_| 0..STEPS as i64).collect();
    nothing_judged(sequence(plain(), &same, &same), "alike: nothing was judged");
}

fn scores() -> Tensor {
    let ids = ids();
    let value = |index: usize| noise(index) + if index % WORDS == ids[index / WORDS] as usize { 5.0 } else { 0.0 };
    floats("y", &[SAMPLES, STEPS, WORDS], (0..SAMPLES * STEPS * WORDS).map(value).collect())
}

fn scored(reference: &Tensor, actual: &Tensor) -> OutputFinding {
    found(OutputTask::Tokens(plain()), std::slice::from_ref(reference), std::slice::from_ref(actual), SAMPLES).unwrap()
}

/// Two tokens with these scores at one step.
fn step(one: f32, other: f32) -> Tensor {
    altered(&scores(), |values| {
        let row = &mut values[(7 * STEPS + 4) * WORDS..][..WORDS];
        row.fill(-3.0);
        (row[2], row[5]) = (one, other);
    })
}

#[test]
fn steps_of_scores_are_answers() {
    strange_outputs_never_pass(&OutputTask::Tokens(plain()), &scores());
    let near = scored(&step(4.0, 4.01), &step(4.01, 4.0));
    passes(&near);
    assert_eq!((near.borderline, near.confident), (1, 0));
    assert!(near.detail.contains("500 tokens of 50 samples, all the same"), "{}", near.detail);
    let sure = scored(&step(0.0, 5.0), &step(5.0, 0.0));
    fails(&sure, "1 edit to 500 tokens, 1 sample differs, sample 7 first: step 4 is 2 instead of 5");
    let scaled = altered(&scores(), |values| values.iter_mut().for_each(|value| *value *= 1.1));
    fails(&scored(&scores(), &scaled), "all leads together are 1.1000 times the reference's");
}

#[test]
fn steps_behind_the_references_end_are_padding() {
    let task = TokensTask { end: Some(2), ..plain() };
    let ended = |garbage: usize| {
        altered(&scores(), |values| {
            for sample in values.chunks_exact_mut(STEPS * WORDS) {
                sample[5 * WORDS..].iter_mut().enumerate().for_each(|(at, value)| *value = noise(at + garbage));
                sample[5 * WORDS + 2] = 9.0;
            }
        })
    };
    let reference = ended(1);
    let garbage = altered(&reference, |values| {
        for sample in values.chunks_exact_mut(STEPS * WORDS) {
            sample[6 * WORDS..].iter_mut().for_each(|value| *value = -*value);
        }
    });
    passes(&found(OutputTask::Tokens(task), &[reference], &[garbage], SAMPLES).unwrap());
}

/// One token that is another, with the same behind it, is told by itself; where others follow, or the end does, that is said.
#[test]
fn where_two_sequences_part_is_told() {
    let told = |change: &dyn Fn(&mut Vec<i64>)| {
        let mut other = ids();
        change(&mut other);
        sequence(plain(), &ids(), &other).unwrap().detail
    };
    let one = told(&|ids| ids[3 * STEPS + 2] = 99);
    assert!(one.contains("step 2 is 99 instead of") && !one.contains("from there on"), "{one}");
    let last = told(&|ids| ids[3 * STEPS + STEPS - 1] = 99);
    assert!(last.contains("step 9 is 99 instead of") && !last.contains("from there on"), "{last}");
    let two = told(&|ids| (ids[3 * STEPS + 2], ids[3 * STEPS + 4]) = (99, 98));
    assert!(two.contains("step 2 is 99 instead of") && two.contains("from there on"), "{two}");
}
