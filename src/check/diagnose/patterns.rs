//! Patterns of faults, looked for in centred log-odds.

use std::collections::BTreeMap;

use super::Diagnosis;
use super::centred::{Centred, distance};
use crate::check::agreement::answer;
use crate::check::pair::OutputPair;
use crate::check::rule::{self, Measured};

/// Share of the squared error that undoing a pattern may leave: 6 dB are taken off.
const LEFT: f64 = 0.25;

/// The outputs hardly change with the input where their variance is below this share of the reference's.
const STILL: f64 = 0.02;
/// One answer to more than this share of samples, where the reference gives none to more than [`COMMON`].
const COLLAPSED: f64 = 0.9;
const COMMON: f64 = 0.6;

/// A column is another class's above this correlation, if its own is less by [`CLEARLY`].
const SAME: f64 = 0.8;
const CLEARLY: f64 = 0.1;
/// Two classes are each other's negative once centred: swapped below this correlation with themselves.
const OPPOSITE: f64 = -0.5;
/// A column that changes less than this share of the mean column says nothing about whose it is.
const TELLING_ENERGY: f64 = 0.05;

/// Most rows and columns looked at for permutations: keeps the search linear in the number of outputs.
const SEARCHED: usize = 64;

/// A row that is off by more than this share of its own size may hold another sample's outputs.
const ANOTHER: f64 = 0.5;

/// So few samples, of a hundred, carry so much of the error.
pub(super) const FEW: f64 = 0.05;
pub(super) const MOST: f64 = 0.8;
/// Fewest samples of which a few can be told.
const TELLING: usize = 20;
/// Fewest samples that say something of the class they are answered with, and how much more than the others they are off.
const FEWEST_OF_A_CLASS: usize = 4;
const ALONE: f64 = 3.0;

/// Every sample the same outputs, or one answer to nearly all.
pub(super) fn collapse(pair: &OutputPair<'_>, centred: &Centred) -> Option<Diagnosis> {
    if pair.samples() < 2 {
        return None;
    }
    let same = |values: &[f32]| {
        let mut rows = values.chunks_exact(pair.classes());
        rows.next().is_some_and(|first| rows.all(|row| row == first))
    };
    if same(pair.actual()) && !same(pair.reference()) {
        return Some(Diagnosis::Constant);
    }
    let variance = centred.variance(&centred.actual);
    let still = variance < STILL * centred.variance(&centred.reference) && {
        // What follows the input, only smaller, is scaled.
        let factor = factor(centred).unwrap_or(0.0);
        let rest: Vec<f64> = centred.reference.iter().zip(&centred.actual).map(|(x, y)| y - factor * x).collect();
        centred.variance(&rest) > LEFT * variance
    };
    let (class, now) = most_common(pair.actual(), pair.classes());
    let (_, before) = most_common(pair.reference(), pair.classes());
    let samples = pair.samples();
    let one_answer = now as f64 > COLLAPSED * samples as f64 && (before as f64) < COMMON * samples as f64;
    if one_answer {
        return Some(Diagnosis::OneAnswer { class, now, before: answered(pair, class), samples });
    }
    still.then_some(Diagnosis::Still)
}

/// The answer given most often, and how often.
fn most_common(values: &[f32], classes: usize) -> (usize, usize) {
    let mut counts = vec![0_usize; classes];
    for row in values.chunks_exact(classes) {
        if let Some(count) = counts.get_mut(answer(row)) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().enumerate().rev().max_by_key(|&(_, count)| count);
    most.unwrap_or((0, 0))
}

/// How often the reference answers `class`.
fn answered(pair: &OutputPair<'_>, class: usize) -> usize {
    pair.rows().filter(|(reference, _)| answer(reference) == class).count()
}

/// Columns that hold other classes' outputs, one to one.
pub(super) fn classes_swapped(centred: &Centred) -> Option<Diagnosis> {
    // A correlation over a handful of samples is chance.
    if centred.samples < 8 {
        return None;
    }
    let width = centred.width();
    let reference: Vec<(Vec<f64>, f64)> = (0..width).map(|place| centred.column(&centred.reference, place)).collect();
    let correlation = |(x, xx): &(Vec<f64>, f64), (y, yy): &(Vec<f64>, f64)| -> f64 {
        let dot: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
        if *xx > 0.0 && *yy > 0.0 { dot / (xx * yy).sqrt() } else { 0.0 }
    };
    let class = |place: usize| centred.classes.get(place).copied().unwrap_or(place);
    if width == 2 {
        let own = correlation(reference.first()?, &centred.column(&centred.actual, 0));
        return (own < OPPOSITE).then(|| Diagnosis::ClassesPermuted(vec![(class(0), class(1)), (class(1), class(0))]));
    }
    // Outputs that are all each other's negative hold no other class's: one factor says it.
    if factor(centred).is_some_and(|factor| factor < 0.0)
        && (0..width)
            .zip(&reference)
            .all(|(place, own)| correlation(own, &centred.column(&centred.actual, place)) < -SAME)
    {
        return None;
    }
    let least = TELLING_ENERGY * reference.iter().map(|(_, energy)| energy).sum::<f64>() / width as f64;
    let mut moved = Vec::new();
    let mut searched = 0;
    for (place, own) in reference.iter().enumerate() {
        let actual = centred.column(&centred.actual, place);
        let here = correlation(own, &actual);
        // No other correlation can be clearly better.
        if here > 1.0 - CLEARLY || actual.1 < least {
            continue;
        }
        searched += 1;
        if searched > SEARCHED {
            return None;
        }
        let others = reference.iter().enumerate().filter(|(other, _)| *other != place);
        let best = others
            .map(|(other, column)| (other, correlation(column, &actual)))
            .max_by(|one, other| one.1.total_cmp(&other.1));
        if let Some((from, best)) = best
            && best > SAME
            && best >= here + CLEARLY
        {
            moved.push((class(place), class(from)));
        }
    }
    is_permutation(&moved).then_some(Diagnosis::ClassesPermuted(moved))
}

/// Whether the places and the sources are the same set, each once, and not empty.
fn is_permutation(moved: &[(usize, usize)]) -> bool {
    let mut places: Vec<usize> = moved.iter().map(|&(place, _)| place).collect();
    let mut sources: Vec<usize> = moved.iter().map(|&(_, from)| from).collect();
    places.sort_unstable();
    sources.sort_unstable();
    !moved.is_empty() && places == sources && places.windows(2).all(|pair| pair.first() != pair.last())
}

/// Whether no source is named twice.
fn distinct(moved: &[(usize, usize)]) -> bool {
    let mut sources: Vec<usize> = moved.iter().map(|&(_, from)| from).collect();
    sources.sort_unstable();
    sources.windows(2).all(|pair| pair.first() != pair.last())
}

/// Rows that hold other samples' outputs, one to one or all by the same distance.
///
/// Samples that are run one by one cannot change places, and with two classes too many rows are alike.
pub(super) fn samples_moved(centred: &Centred, batch: Option<u32>) -> Option<Diagnosis> {
    if batch == Some(1) || centred.width() <= 2 {
        return None;
    }
    let rows: Vec<&[f64]> = centred.rows().map(|(reference, _)| reference).collect();
    let mut moved = Vec::new();
    let mut unexplained = 0;
    for (sample, (reference, actual)) in centred.rows().enumerate() {
        if moved.len() + unexplained == SEARCHED {
            break;
        }
        let here = distance(reference, actual);
        let size: f64 = reference.iter().map(|value| value * value).sum();
        if here <= ANOTHER * size {
            continue;
        }
        let distances = rows.iter().map(|other| distance(other, actual));
        let (best, least) = distances.enumerate().min_by(|one, other| one.1.total_cmp(&other.1))?;
        if best != sample && least <= here * LEFT {
            moved.push((sample, best));
        } else {
            unexplained += 1;
        }
    }
    let looked_at = moved.len() + unexplained;
    if let Some(shift) = common_shift(&moved, looked_at, centred.samples) {
        return Some(Diagnosis::SamplesShifted(shift));
    }
    // Where the search ended early, the sources may lie behind it.
    let one_to_one = is_permutation(&moved) || (looked_at == SEARCHED && distinct(&moved));
    (unexplained == 0 && !moved.is_empty() && one_to_one).then_some(Diagnosis::SamplesPermuted(moved))
}

/// The distance, the last sample being before the first, that at least three quarters of the rows looked at moved by: the
/// rest hold what was there before. Fewer than four rows show no direction.
fn common_shift(moved: &[(usize, usize)], looked_at: usize, samples: usize) -> Option<isize> {
    let shift = |&(sample, from): &(usize, usize)| (sample + samples - from) % samples;
    let common = shift(moved.get(moved.len() / 2)?);
    let alike = moved.iter().filter(|pair| shift(pair) == common).count();
    let direction = if common > samples / 2 { common as isize - samples as isize } else { common as isize };
    (looked_at >= 4 && alike * 4 >= looked_at * 3).then_some(direction)
}

/// The factor s of y = s·x, by least squares.
fn factor(centred: &Centred) -> Option<f64> {
    let (mut xx, mut xy) = (0.0, 0.0);
    for (x, y) in centred.reference.iter().zip(&centred.actual) {
        xx += x * x;
        xy += x * y;
    }
    (xx > 0.0).then(|| xy / xx)
}

/// One factor on everything that answers depend on.
pub(super) fn scaled(centred: &Centred, noise: f64) -> Option<Diagnosis> {
    // A handful of numbers fits some factor by chance.
    if centred.samples * (centred.width() - 1) < 8 {
        return None;
    }
    let factor = factor(centred)?;
    let left: f64 =
        centred.reference.iter().zip(&centred.actual).map(|(x, y)| (y - factor * x) * (y - factor * x)).sum();
    (left <= noise * LEFT).then_some(Diagnosis::Scaled(factor))
}

/// A constant a class, the same in every sample.
pub(super) fn class_constant(centred: &Centred, noise: f64) -> Option<Diagnosis> {
    // Two samples tell a constant from anything else only by chance.
    if centred.samples < 8 {
        return None;
    }
    let samples = centred.samples as f64;
    let mut means = vec![0.0_f64; centred.width()];
    for (reference, actual) in centred.rows() {
        for ((mean, x), y) in means.iter_mut().zip(reference).zip(actual) {
            *mean += (y - x) / samples;
        }
    }
    let explained: f64 = means.iter().map(|mean| mean * mean * samples).sum();
    if noise - explained > noise * LEFT {
        return None;
    }
    // One class that moves carries the mean of its sample with it: most classes stand still.
    let mut sorted = means.clone();
    sorted.sort_by(f64::total_cmp);
    let still = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let still = if sorted.len() <= 2 { 0.0 } else { still };
    let mut classes: Vec<(usize, f64)> =
        centred.classes.iter().zip(&means).map(|(&class, mean)| (class, mean - still)).collect();
    let largest = classes.iter().map(|(_, offset)| offset.abs()).fold(0.0, f64::max);
    classes.retain(|(_, offset)| offset.abs() >= 0.25 * largest);
    classes.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
    Some(Diagnosis::BiasChanged(classes))
}

/// A few samples that carry most of the error.
pub(super) fn few_samples(centred: &Centred, noise: f64) -> Option<Diagnosis> {
    if centred.samples < TELLING {
        return None;
    }
    let mut errors: Vec<(usize, f64)> = centred.rows().map(|(x, y)| distance(x, y)).enumerate().collect();
    errors.sort_by(|one, other| other.1.total_cmp(&one.1));
    errors.truncate(((centred.samples as f64 * FEW) as usize).max(1));
    let carried: f64 = errors.iter().map(|(_, error)| error).sum();
    // Of the few, those that are needed for it.
    let mut sum = 0.0;
    let needed = errors.iter().take_while(|(_, error)| {
        let wanted = sum < MOST * noise;
        sum += error;
        wanted
    });
    (carried > MOST * noise).then(|| Diagnosis::FewSamples(needed.map(|&(sample, _)| sample).collect()))
}

/// The samples of one answer that carry most of the error of the leads, of those whose answers are met often enough to tell.
pub(super) fn one_class(pair: &OutputPair<'_>, measured: &Measured) -> Option<Diagnosis> {
    /// Samples, of them with another answer now, and their squared error.
    type Share = (usize, usize, f64);
    if measured.lead_errors.len() < TELLING {
        return None;
    }
    let mut shares: BTreeMap<usize, Share> = BTreeMap::new();
    for ((reference, actual), error) in pair.rows().zip(&measured.lead_errors) {
        let class = answer(reference);
        let share = shares.entry(class).or_default();
        share.0 += 1;
        share.1 += usize::from(answer(actual) != class);
        share.2 += rule::cut(*error, measured.typical).powi(2);
    }
    let all: f64 = shares.values().map(|(_, _, squared)| squared).sum();
    let (&class, &(samples, changed, squared)) = shares.iter().max_by(|one, other| one.1.2.total_cmp(&other.1.2))?;
    let rest = measured.lead_errors.len() - samples;
    let root = |squared: f64, samples: usize| (squared / samples.max(1) as f64).sqrt() / measured.typical;
    let (error, others) = (root(squared, samples), root(all - squared, rest));
    let telling = samples >= FEWEST_OF_A_CLASS && samples * 4 <= measured.lead_errors.len();
    (telling && squared > 0.5 * all && error > ALONE * others).then_some(Diagnosis::OneClass {
        class,
        changed,
        samples,
        error,
        others,
    })
}

/// One side the softmax of the other.
pub(super) fn softmax(pair: &OutputPair<'_>) -> Option<Diagnosis> {
    // Wide enough for a softmax output in half precision or eight bits; logits match it in no sample.
    let explains = |scores: &[f32], probabilities: &[f32]| {
        let rows = scores.chunks_exact(pair.classes()).zip(probabilities.chunks_exact(pair.classes()));
        rows.into_iter().all(|(scores, probabilities)| {
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = scores.iter().map(|&score| f64::from(score - most).exp()).sum();
            scores.iter().zip(probabilities).all(|(&score, &probability)| {
                (f64::from(score - most).exp() / sum - f64::from(probability)).abs() <= 5e-3
            })
        })
    };
    if explains(pair.reference(), pair.actual()) {
        Some(Diagnosis::SoftmaxAdded)
    } else if explains(pair.actual(), pair.reference()) {
        Some(Diagnosis::SoftmaxMissing)
    } else {
        None
    }
}
