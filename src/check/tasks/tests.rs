#![allow(clippy::unwrap_used)]

mod answers;
mod boxes;
mod embedding;
mod lost;
mod map;
mod tokens;

use super::*;
use crate::check::ladder::Ladder;
use crate::manifest::tasks::Named;
use crate::tensor::{BatchAxis, Values};
use crate::vocabulary::{Library, Precision, Task};

/// A number between -1 and 1 that `seed` decides, spread without a pattern.
fn noise(seed: usize) -> f32 {
    let mut mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 29;
    mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 32;
    (mixed % 2_000_001) as f32 / 1_000_000.0 - 1.0
}

fn output(task: OutputTask) -> GatedOutput {
    GatedOutput {
        name: "y".to_owned(),
        task,
        named: Named::new(),
        batch_axis: BatchAxis::default(),
        accuracy: Default::default(),
    }
}

fn limits(task: &OutputTask, precision: Precision) -> TaskLimits {
    TaskLimits::of(&Ladder::built_in().unwrap(), Library::Onnxruntime, precision, task.task(), None).unwrap()
}

/// Judges tensors of `samples` samples by a task, in FP16.
fn found(task: OutputTask, reference: &[Tensor], actual: &[Tensor], samples: usize) -> Result<OutputFinding> {
    found_in(Precision::Fp16, task, reference, actual, samples)
}

fn found_in(
    precision: Precision,
    task: OutputTask,
    reference: &[Tensor],
    actual: &[Tensor],
    samples: usize,
) -> Result<OutputFinding> {
    let rows = |tensors: &[Tensor]| tensors.iter().cloned().map(Answers::Rows).collect::<Vec<_>>();
    of_answers(precision, task, &rows(reference), &rows(actual), samples)
}

fn of_answers(
    precision: Precision,
    task: OutputTask,
    reference: &[Answers],
    actual: &[Answers],
    samples: usize,
) -> Result<OutputFinding> {
    let limits = limits(&task, precision);
    let output = output(task);
    judge(&Given { output: &output, reference, actual, samples, batch: Some(8), limits: &limits })
}

fn passes(found: &OutputFinding) {
    assert_eq!(found.status, Status::Pass, "{}", found.detail);
}

fn fails(found: &OutputFinding, words: &str) {
    assert!(found.status == Status::Fail && found.detail.contains(words), "{:?}: {}", found.status, found.detail);
}

/// The judgement was not made, in these words.
fn nothing_judged(found: Result<OutputFinding>, words: &str) {
    let error = found.unwrap_err();
    assert_eq!(error.kind, crate::ErrorKind::Invalid, "{error}");
    assert!(error.message.contains(words), "{error}");
}

fn floats(name: &str, shape: &[usize], values: Vec<f32>) -> Tensor {
    Tensor::float32(name, shape.to_vec(), values).unwrap()
}

fn integers(name: &str, shape: &[usize], values: Vec<i64>) -> Tensor {
    Tensor::new(name, shape.to_vec(), Values::Int64(values)).unwrap()
}

/// `tensor` with its `float32` values changed.
fn altered(tensor: &Tensor, change: impl FnOnce(&mut Vec<f32>)) -> Tensor {
    let mut tensor = tensor.clone();
    change(tensor.values.as_mut().unwrap());
    tensor
}

/// What holds of every task of floats: a NaN and another shape fail, a reference that is still judges nothing.
fn strange_outputs_never_pass(task: &OutputTask, reference: &Tensor) {
    let samples = reference.batch();
    let judge = |reference: &Tensor, actual: &Tensor| {
        found(task.clone(), std::slice::from_ref(reference), std::slice::from_ref(actual), samples)
    };
    passes(&judge(reference, reference).unwrap());
    let nan = altered(reference, |values| values[7] = f32::NAN);
    fails(&judge(reference, &nan).unwrap(), "is not finite: sample ");
    nothing_judged(judge(&nan, reference), "the reference is not finite in sample ");
    let fewer = reference.first(samples - 1).unwrap();
    fails(&judge(reference, &fewer).unwrap(), "it has shape ");
    nothing_judged(judge(&fewer, &fewer), "not one row for each of");
    let still = altered(reference, |values| values.fill(0.5));
    nothing_judged(judge(&still, &still), "alike: nothing was judged");
    let whole = Tensor::new("y", reference.shape.clone(), Values::Int32(vec![0; reference.values.len()])).unwrap();
    fails(&judge(reference, &whole).unwrap(), "it is int32, the reference has float32");
}

#[test]
fn named_limits_take_the_ladders_place_and_are_told() {
    let ladder = Ladder::built_in().unwrap();
    let of = |task: Task, named: &[(&'static str, f64)]| {
        let named = named.iter().copied().collect();
        TaskLimits::of(&ladder, Library::Onnxruntime, Precision::Fp16, task, Some(&named)).unwrap()
    };
    for task in Task::ALL {
        let plain = of(*task, &[]);
        for limit in task.limits() {
            assert!(limit.takes(plain.get(limit.name)), "{task}: {}", limit.name);
            let value = f64::midpoint(limit.least, limit.most);
            let named = of(*task, &[(limit.name, value)]);
            assert!(named.get(limit.name) == value && named.is_named(limit.name) && !plain.is_named(limit.name));
        }
        assert!(plain.told().is_empty() && plain.get("nothing").is_nan());
    }
    let told = |task, name, value| of(task, &[(name, value)]).told().join("");
    assert_eq!(told(Task::Embedding, "cosine", 0.99), "`cosine` 0.99, looser than the ladder's 0.9999");
    assert_eq!(told(Task::Boxes, "score", 0.01), "`score` 0.01, in place of the ladder's 0.02");
    assert_eq!(told(Task::Boxes, "score", 0.02), "`score` 0.02, in place of the ladder's 0.02");
    assert_eq!(told(Task::Boxes, "score", 0.03), "`score` 0.03, looser than the ladder's 0.02");
    assert_eq!(told(Task::Embedding, "cosine", 0.9999), "`cosine` 0.9999, in place of the ladder's 0.9999");
}

#[test]
fn every_task_has_limits_in_every_precision_and_a_runtime_that_has_it() {
    let ladder = Ladder::built_in().unwrap();
    for (library, precision, _) in ladder.rows() {
        for task in Task::ALL {
            let limits = TaskLimits::of(&ladder, library, precision, *task, None).unwrap();
            assert!(
                task.limits().iter().all(|limit| limit.takes(limits.get(limit.name))),
                "{library} {precision} {task}"
            );
        }
    }
}
