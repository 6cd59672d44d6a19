//! Vectors that stand for samples: what is made of them are their directions, the cosines between them, and who is nearest.

use super::{Found, Given, distance, finite, is_still, shown, still};
use crate::error::{Error, Result};
use crate::figure::figure;
use crate::tensor::Tensor;

/// Most vectors that are held against each other, evenly spread over all.
const PAIRED: usize = 512;
/// Vectors are called turned together where no cosine between two moved by this share of the largest angle, which vectors that
/// are turned each by itself reach in hundreds of dimensions.
const TOGETHER: f64 = 0.1;
/// Lengths are called scaled by one factor where all lie within this share of it.
const ONE_FACTOR: f64 = 0.1;

/// Share of the energy by which vectors differ among themselves that their errors may have, in any precision: 6 dB.
const UNTOLD: f64 = 0.25;
/// Mean squared distance of vectors of length 1 from their mean below which the reference itself hardly tells them apart.
const ALIKE: f64 = 1e-5;

/// The vectors of one side.
struct Vectors {
    /// Each of length 1, or of zeros.
    unit: Vec<Vec<f64>>,
    lengths: Vec<f64>,
}

impl Vectors {
    fn of(tensor: &Tensor, width: usize) -> Self {
        let mut vectors = Self { unit: Vec::new(), lengths: Vec::new() };
        for vector in tensor.floats().chunks_exact(width) {
            let length = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
            vectors.unit.push(vector.iter().map(|&value| f64::from(value) * scale).collect());
            vectors.lengths.push(length);
        }
        vectors
    }
}

/// One less the cosine of two vectors of length 1, exact where they are nearly the same; 0 of two of zeros, 1 beside one.
fn apart(one: &[f64], other: &[f64]) -> f64 {
    let zero = |vector: &[f64]| vector.iter().all(|value| *value == 0.0);
    match (zero(one), zero(other)) {
        (true, true) => 0.0,
        (true, false) | (false, true) => 1.0,
        (false, false) => one.iter().zip(other).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / 2.0,
    }
}

/// The angle whose cosine is one less `apart`, degrees.
fn degrees(apart: f64) -> f64 {
    // Of the half angle, which is exact for small ones.
    (2.0 * (apart / 2.0).sqrt().min(1.0).asin()).to_degrees()
}

pub(super) fn compare(given: &Given<'_>) -> Result<Found> {
    let sides = match given.comparable()? {
        Ok(sides) => sides,
        Err(fault) => return Ok(Found::broken(fault)),
    };
    let (reference, actual) = (sides.reference.as_ref(), sides.actual.as_ref());
    if !reference.element_type().is_float() {
        return Err(Error::invalid(format!("it is {}, which is no vector of an embedding", reference.element_type())));
    }
    if let Some(fault) = finite(reference, actual)? {
        return Ok(Found::broken(fault));
    }
    // A batch of `[N, D, 1, 1]` is one of `[N, D]`.
    let wide = reference.shape.iter().skip(1).rev().copied().find(|&size| size > 1);
    let Some(width) = wide else {
        return Err(
            Error::invalid("a vector of one number has no direction").hint("`task = \"values\"` compares numbers")
        );
    };
    if is_still(reference) {
        return Err(still(given.samples));
    }
    let (before, after) = (Vectors::of(reference, width), Vectors::of(actual, width));
    let aparts: Vec<f64> = before.unit.iter().zip(&after.unit).map(|(x, y)| apart(x, y)).collect();
    let (worst, furthest) = largest(&aparts);
    let stretch: Vec<f64> = before.lengths.iter().zip(&after.lengths).map(|(x, y)| stretch(*x, *y)).collect();
    let (longest, change) = largest(&stretch.iter().map(|factor| (factor - 1.0).abs()).collect::<Vec<_>>());
    let pairs = Pairs::of(&before, &after, 2.0 * given.limits.get("pairs"));
    let each = before.unit.len() / given.samples.max(1);
    let place = |vector: usize| match each {
        0 | 1 => format!("sample {vector}"),
        each => format!("sample {}, vector {}", vector / each, vector % each),
    };
    let limits = given.limits;
    let cosine = 1.0 - furthest;
    let fault = if !limits.keeps("cosine", cosine) {
        let least = limits.get("cosine");
        Some(turned(&before, &after, &aparts, &pairs, given).unwrap_or_else(|| {
            let beyond = aparts.iter().filter(|apart| !limits.keeps("cosine", 1.0 - **apart)).count();
            format!(
                "{beyond} of {} vectors have another direction: that of {} is turned by {}° (cosine {cosine:.6}, {least} is asked)",
                aparts.len(),
                place(worst),
                figure(degrees(furthest))
            )
        }))
    } else if !limits.keeps("length", change) {
        let factor = stretch.get(longest).copied().unwrap_or(f64::NAN);
        let alike = stretch.iter().all(|other| (other - factor).abs() <= ONE_FACTOR * (factor - 1.0).abs());
        let which = if alike { "every vector".to_owned() } else { format!("the vector of {}", place(longest)) };
        Some(format!("{which} is {factor:.4} times as long, {} more or less is allowed", figure(limits.get("length"))))
    } else if !limits.keeps("pairs", pairs.shift) {
        Some(format!(
            "the cosine between two samples moved by {}, {} is allowed",
            figure(pairs.shift),
            figure(limits.get("pairs"))
        ))
    } else if let Some(words) = untold(&before, &after) {
        Some(words)
    } else {
        pairs.lost.map(|(one, nearest)| {
            format!(
                "{} samples have another nearest neighbour, though the reference was sure: {} had {}",
                pairs.confident,
                place(one),
                place(nearest)
            )
        })
    };
    let neighbours = match pairs.compared {
        0..3 => "too few for neighbours".to_owned(),
        count => format!("{} of {count} keep their nearest neighbour", count - pairs.borderline - pairs.confident),
    };
    Ok(Found {
        fault,
        compared: format!(
            "{} vectors, the cosine with the reference's at least {cosine:.7}, {neighbours}",
            aparts.len()
        ),
        figures: vec![("cosine", cosine), ("length", change), ("pairs", pairs.shift)],
        borderline: pairs.borderline,
        confident: pairs.confident,
        error: distance(reference, actual, given.samples)?,
        shown: shown::cosines(&aparts, 1.0 - limits.get("cosine")),
    })
}

/// Whether what tells the vectors apart is lost: of what all have in common, however long, the errors say nothing.
fn untold(before: &Vectors, after: &Vectors) -> Option<String> {
    let count = before.unit.len() as f64;
    let mut mean = vec![0.0; before.unit.first()?.len()];
    for vector in &before.unit {
        mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / count);
    }
    let squared = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
    let varied: f64 = before.unit.iter().map(|vector| squared(vector, &mean)).sum();
    let noise: f64 = before.unit.iter().zip(&after.unit).map(|(one, other)| squared(one, other)).sum();
    // Written so that a NaN is lost.
    let kept = varied < ALIKE * count || noise <= UNTOLD * varied;
    (!kept).then(|| {
        format!(
            "the vectors are hardly told apart any more: their errors are {:.0} % of what they differ by among themselves, {:.0} % is allowed",
            100.0 * (noise / varied).sqrt(),
            100.0 * UNTOLD.sqrt()
        )
    })
}

/// How many times as long a vector is; one of zeros stays so or is endless.
fn stretch(before: f64, after: f64) -> f64 {
    if before == after { 1.0 } else { after / before }
}

/// The place and size of the largest; NaN is larger than any number.
fn largest(values: &[f64]) -> (usize, f64) {
    let mut best = (0, 0.0_f64);
    for (index, &value) in values.iter().enumerate() {
        if value.is_nan() || value > best.1 {
            best = (index, value);
        }
        if value.is_nan() {
            break;
        }
    }
    best
}

/// The cosines between samples.
struct Pairs {
    /// Vectors that were held against each other.
    compared: usize,
    /// Largest change of a cosine.
    shift: f64,
    /// Nearest neighbours that changed though others were as near, within `width`.
    borderline: usize,
    /// Those that changed though the reference was sure.
    confident: usize,
    /// The first of these, and its neighbour before.
    lost: Option<(usize, usize)>,
}

impl Pairs {
    fn of(before: &Vectors, after: &Vectors, width: f64) -> Self {
        let step = before.unit.len().div_ceil(PAIRED).max(1);
        let chosen: Vec<usize> = (0..before.unit.len()).step_by(step).collect();
        let mut pairs = Self { compared: chosen.len(), shift: 0.0, borderline: 0, confident: 0, lost: None };
        let cosine =
            |vectors: &Vectors, one: usize, other: usize| match (vectors.unit.get(one), vectors.unit.get(other)) {
                (Some(one), Some(other)) => one.iter().zip(other).map(|(x, y)| x * y).sum::<f64>(),
                _ => f64::NAN,
            };
        for &one in &chosen {
            let others = chosen.iter().copied().filter(|&other| other != one);
            let found: Vec<(usize, f64, f64)> =
                others.map(|other| (other, cosine(before, one, other), cosine(after, one, other))).collect();
            for (_, x, y) in &found {
                pairs.shift = if (x - y).abs() <= pairs.shift { pairs.shift } else { (x - y).abs() };
            }
            let nearest = found.iter().max_by(|one, other| one.1.total_cmp(&other.1));
            let now = found.iter().max_by(|one, other| one.2.total_cmp(&other.2));
            let (Some(nearest), Some(now)) = (nearest, now) else { continue };
            if nearest.0 == now.0 {
                continue;
            }
            if nearest.1 - now.1 <= width {
                pairs.borderline += 1;
            } else {
                pairs.confident += 1;
                pairs.lost = pairs.lost.or(Some((one, nearest.0)));
            }
        }
        pairs
    }
}

/// What explains directions that changed: samples in each other's places, or all turned together.
fn turned(before: &Vectors, after: &Vectors, aparts: &[f64], pairs: &Pairs, given: &Given<'_>) -> Option<String> {
    let (limits, least) = (given.limits, given.limits.get("cosine"));
    let is = |one: &[f64], other: &[f64]| 1.0 - apart(one, other) >= least;
    let moved: Vec<usize> = aparts
        .iter()
        .enumerate()
        .filter(|(_, apart)| !limits.keeps("cosine", 1.0 - **apart))
        .map(|(index, _)| index)
        .collect();
    let swapped = moved.iter().take(PAIRED).find_map(|&one| {
        let holds = after.unit.get(one)?;
        let from = moved
            .iter()
            .copied()
            .find(|&other| other != one && before.unit.get(other).is_some_and(|vector| is(vector, holds)))?;
        Some((one, from))
    });
    if let Some((one, from)) = swapped {
        return Some(format!("the vector of sample {one} is that of sample {from}: samples hold each other's vectors"));
    }
    let most_apart = aparts.iter().copied().fold(0.0, f64::max);
    let together = pairs.compared > 2 && pairs.shift <= TOGETHER * degrees(most_apart).to_radians();
    together.then(|| {
        let mean = aparts.iter().map(|&apart| degrees(apart)).sum::<f64>() / aparts.len().max(1) as f64;
        format!(
            "all {} vectors are turned by {}° together, their angles among themselves kept (cosine {:.6}, {least} is asked)",
            aparts.len(),
            figure(mean),
            1.0 - most_apart
        )
    })
}
