//! Mean average precision by labels, as COCO has it: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", 2014, and its
//! evaluation (<https://cocodataset.org/#detection-eval>).
//!
//! Of each class and each overlap from 0.5 to 0.95 in steps of 0.05: boxes of all samples from the highest score down, each taken
//! for the object of its sample that it overlaps the most and that no better box was taken for; precision at 101 recalls from 0 to
//! 1, each the best at that recall or beyond; their mean. The figure is the mean over classes that have an object, and over
//! overlaps. At most 100 boxes a sample count, and none below the output's `threshold`.

use std::collections::BTreeMap;

use super::read::{Detection, sets};
use crate::check::apart::Answers;
use crate::error::{Error, Result};
use crate::manifest::tasks::BoxesTask;
use crate::tensor::Tensor;

/// Most boxes of a sample that count.
const MOST: usize = 100;
/// Recalls at which precision is read.
const RECALLS: usize = 101;
/// Numbers of a labelled object.
const NUMBERS: usize = 5;

/// The figure, and how many objects are labelled.
///
/// # Errors
/// `Input` for labels that are none; `Failed` for boxes that do not fit the task.
pub(in crate::check::tasks) fn average(
    output: &Answers,
    all: &[Answers],
    task: &BoxesTask,
    truth: &Tensor,
) -> Result<(f64, usize)> {
    let samples = truth.batch();
    let found = sets(output, all, task, samples).map_err(|flaw| Error::failed(flaw.of_cell()))?;
    let objects = objects(truth)?;
    let mut classes: Vec<i64> = objects.iter().flatten().map(|object| object.class).collect();
    let count = classes.len();
    classes.sort_unstable();
    classes.dedup();
    if classes.is_empty() {
        return Err(Error::input("no sample has a labelled object"));
    }
    let mut boxes: Vec<Vec<Detection>> = found.into_iter().map(|set| set.boxes).collect();
    for sample in &mut boxes {
        // A stable order: what scores the same keeps its place.
        sample.sort_by(|one, other| other.score.total_cmp(&one.score));
        sample.truncate(MOST);
    }
    let overlaps = (0..10).map(|step| 0.5 + 0.05 * f64::from(step));
    let pairs: Vec<(i64, f64)> =
        overlaps.flat_map(|overlap| classes.iter().map(move |class| (*class, overlap))).collect();
    let sum: f64 = pairs.iter().map(|(class, overlap)| of_class(&boxes, &objects, *class, *overlap)).sum();
    Ok((sum / pairs.len().max(1) as f64, count))
}

/// The labelled objects of each sample.
fn objects(truth: &Tensor) -> Result<Vec<Vec<Detection>>> {
    let [samples, rows, NUMBERS] = truth.shape[..] else {
        return Err(Error::input(format!(
            "labels have shape {:?}, and objects have [N, objects, 5]: left, top, right, bottom, class",
            truth.shape
        )));
    };
    let values = truth.values.to_f64();
    let mut objects: Vec<Vec<Detection>> = vec![Vec::new(); samples];
    for (place, row) in values.chunks_exact(NUMBERS).enumerate() {
        let &[left, top, right, bottom, class] = row else { continue };
        // Behind the objects of a sample there is nothing.
        if class < 0.0 {
            continue;
        }
        let sound = class.fract() == 0.0 && left <= right && top <= bottom && row.iter().all(|value| value.is_finite());
        let (sample, row) = (place / rows.max(1), place % rows.max(1));
        if !sound {
            let words = "is no left, top, right, bottom and class";
            return Err(Error::input(format!(
                "object {row} of sample {sample}, {values:?}, {words}",
                values = &[left, top, right, bottom, class]
            )));
        }
        let corners = [left, top, right, bottom];
        let object = Detection { corners, score: 1.0, class: class as i64, margin: f64::INFINITY, row };
        if let Some(sample) = objects.get_mut(sample) {
            sample.push(object);
        }
    }
    Ok(objects)
}

/// Average precision of one class at one overlap.
fn of_class(boxes: &[Vec<Detection>], objects: &[Vec<Detection>], class: i64, overlap: f64) -> f64 {
    let wanted = objects.iter().flatten().filter(|object| object.class == class).count();
    let mut hits: Vec<(f64, bool)> = Vec::new();
    for (found, objects) in boxes.iter().zip(objects) {
        let mut taken: BTreeMap<usize, ()> = BTreeMap::new();
        for one in found.iter().filter(|one| one.class == class) {
            let free = objects
                .iter()
                .enumerate()
                .filter(|(place, object)| object.class == class && !taken.contains_key(place));
            let near = free.map(|(place, object)| (place, one.overlap(object)));
            // The slack keeps an overlap that is the limit itself from falling below it in binary.
            let best = near.filter(|(_, near)| *near >= overlap - 1e-10).max_by(|one, other| one.1.total_cmp(&other.1));
            if let Some((place, _)) = best {
                taken.insert(place, ());
            }
            hits.push((one.score, best.is_some()));
        }
    }
    hits.sort_by(|one, other| other.0.total_cmp(&one.0));
    // Precision and recall after each box; then of each recall the best precision there or beyond.
    let mut right = 0_usize;
    let mut course: Vec<(f64, f64)> = hits
        .iter()
        .enumerate()
        .map(|(place, (_, hit))| {
            right += usize::from(*hit);
            (right as f64 / wanted.max(1) as f64, right as f64 / (place + 1) as f64)
        })
        .collect();
    let mut best = 0.0_f64;
    for (_, precision) in course.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let at = |recall: f64| course.iter().find(|(reached, _)| *reached >= recall - 1e-12).map_or(0.0, |(_, best)| *best);
    (0..RECALLS).map(|step| at(step as f64 / (RECALLS - 1) as f64)).sum::<f64>() / RECALLS as f64
}
