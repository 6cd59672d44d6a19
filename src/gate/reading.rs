//! Whether a model that answers otherwise than the golden only takes its input otherwise: scaled, inverted, normalised, or
//! with its channels reversed, by itself or by what feeds it. Weights tell nothing of it; the answers do, once the golden's
//! probes are read the other way.

use crate::data::ProbeSet;
use crate::error::{Error, Result};
use crate::manifest::{Input, Manifest};
use crate::tensor::Tensor;

/// Probes that every reading is tried on.
const FEW: usize = 4;
/// Share of the squared change that may be left of these: what explains them is tried on more.
const FEW_LEFT: f64 = 0.25;
/// Probes that a reading which explains the first is tried on; one that explains them is held to all.
const TRIED: usize = 16;

/// What the answers of a model hold beside what its reading changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noise {
    /// Rounding.
    Floats,
    /// That of eight bits, which stays under every reading.
    EightBits,
}

impl Noise {
    /// Share of the squared change that may be left under a reading that explains it.
    const fn left(self) -> f64 {
        match self {
            Self::Floats => 0.01,
            Self::EightBits => 0.1,
        }
    }

    /// That share where nothing but the channels' order is another. No noise and no factor is taken for it: answers whose own noise is n²
    /// beside a change of d² leave n² of n² + d² under the right order, and n² + d² of n² under a wrong one, so that a share below
    /// one is told from noise of any size by enough samples.
    const fn left_reversed(self) -> f64 {
        match self {
            Self::Floats => 0.025,
            Self::EightBits => 0.6,
        }
    }
}

/// Share of the probes that may answer farther away under the reading that explains the others.
const FARTHER: f64 = 0.25;

/// Ranges that models are commonly trained with.
const RANGES: [[f32; 2]; 5] = [[0.0, 1.0], [-1.0, 1.0], [-0.5, 0.5], [0.0, 255.0], [-128.0, 127.0]];

/// (offset, factor) of the range's width: what a scaling within the model does to its input when it comes, goes, or is
/// exchanged for another of [`RANGES`]; and an inversion.
const SCALINGS: [(f32, f32); 11] = [
    (0.5, 0.5),
    (-1.0, 2.0),
    (0.5, 1.0),
    (-0.5, 1.0),
    (-0.5, 2.0),
    (0.25, 0.5),
    (0.0, 255.0),
    (0.0, 1.0 / 255.0),
    (0.0, 2.0),
    (0.0, 0.5),
    (1.0, -1.0),
];

/// Mean and deviation of ImageNet's channels, by which many models normalise.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Another way to read the bytes of a sample.
#[derive(Clone, Debug, PartialEq)]
struct Candidate {
    input: Input,
    /// Whether the channels stand in the reverse order.
    reversed: bool,
}

impl Candidate {
    /// In the manifest's words, against how samples are read now.
    fn description(&self, now: &Input) -> String {
        let mut parts = Vec::new();
        if self.input.range != now.range {
            parts.push(format!("`range` {:?} instead of {:?}", self.input.range, now.range));
        }
        if self.input.mean != now.mean || self.input.std != now.std {
            parts.push(format!("`mean` {:?} and `std` {:?}", self.input.mean, self.input.std));
        }
        if self.reversed {
            parts.push("its channels reversed".to_owned());
        }
        parts.join(" and ")
    }
}

/// Every reading that is tried: of one and of all channels.
fn candidates(now: &Input) -> Vec<Candidate> {
    let [low, high] = now.range;
    let width = high - low;
    let with_range = |range| Input { range, ..now.clone() };
    let scaled = SCALINGS.map(|(offset, factor)| [low + offset * width, low + (offset + factor) * width]);
    let mut inputs: Vec<Input> = std::iter::once(now.range).chain(RANGES).chain(scaled).map(with_range).collect();
    let channels = now.image_size().2;
    if channels == MEAN.len() {
        let with = |mean: Vec<f32>, std: Vec<f32>| Input { mean, std, ..now.clone() };
        inputs.push(with(MEAN.to_vec(), DEVIATION.to_vec()));
        inputs.push(with(Vec::new(), Vec::new()));
        let pairs = || MEAN.iter().zip(&DEVIATION);
        inputs.push(with(
            pairs().map(|(mean, deviation)| -mean / deviation).collect(),
            pairs().map(|(_, deviation)| 1.0 / deviation).collect(),
        ));
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    for reversed in if channels == MEAN.len() { vec![false, true] } else { vec![false] } {
        for input in &inputs {
            let candidate = Candidate { input: input.clone(), reversed };
            let same = candidate == Candidate { input: now.clone(), reversed: false };
            if !same && !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
    }
    candidates
}

/// The reading under which `run` answers `probes` as the rows of `wanted` say, but for what `noise` leaves of the squared change; in
/// words. `None` where there is none among those that are tried.
///
/// # Errors
/// Those of `run`, which is given samples and returns the gated output.
pub(super) fn explaining(
    manifest: &Manifest,
    probes: &ProbeSet,
    (wanted, classes): (&[f32], usize),
    noise: Noise,
    run: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Option<String>> {
    let count = probes.len();
    if probes.pictures().next().is_none() || wanted.len() != count * classes {
        return Ok(None);
    }
    let now = Candidate { input: manifest.input.clone(), reversed: false };
    let mut distances = |candidate: &Candidate, count: usize| {
        let found = answers(manifest, candidate, probes, count, run)?;
        distances(wanted.get(..count * classes).unwrap_or_default(), &found, classes)
    };
    let (few, tried) = (FEW.min(count), TRIED.min(count));
    let moved = distances(&now, tried)?;
    let (moved_few, moved): (f64, f64) = (moved.iter().take(few).sum(), moved.iter().sum());
    for candidate in candidates(&manifest.input) {
        let order_alone = candidate.input == manifest.input;
        // A reading that the model cannot take explains nothing.
        let likely = |found: Vec<f64>| found.iter().sum::<f64>() <= FEW_LEFT * moved_few;
        if !order_alone && !distances(&candidate, few).is_ok_and(likely) {
            continue;
        }
        let left = if order_alone { noise.left_reversed() } else { noise.left() };
        if distances(&candidate, tried)?.iter().sum::<f64>() > left * moved {
            continue;
        }
        let (as_it_is, otherwise) = (distances(&now, count)?, distances(&candidate, count)?);
        let farther = otherwise.iter().zip(&as_it_is).filter(|(other, now)| other > now).count();
        if otherwise.iter().sum::<f64>() <= left * as_it_is.iter().sum::<f64>()
            && farther as f64 <= FARTHER * count as f64
        {
            return Ok(Some(candidate.description(&manifest.input)));
        }
    }
    Ok(None)
}

/// The reference's outputs for the first `count` probes, read as `candidate` says.
fn answers(
    manifest: &Manifest,
    candidate: &Candidate,
    probes: &ProbeSet,
    count: usize,
    run: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Vec<f32>> {
    let mut manifest = manifest.clone();
    manifest.input = candidate.input.clone();
    let plane = probes.layout().height * probes.layout().width;
    let pixels: Vec<u8> = probes
        .pictures()
        .take(count)
        .flat_map(|planar| {
            let mut planes: Vec<&[u8]> = planar.chunks_exact(plane.max(1)).collect();
            if candidate.reversed {
                planes.reverse();
            }
            planes.concat()
        })
        .collect();
    let samples = ProbeSet::of_pixels(&manifest, pixels, None)?.samples()?;
    Ok(run(&samples.tensor(0..samples.len())?)?.into_floats())
}

/// The squared change between wanted and found outputs, of each sample.
fn distances(wanted: &[f32], found: &[f32], classes: usize) -> Result<Vec<f64>> {
    if wanted.len() != found.len() || found.iter().any(|value| !value.is_finite()) {
        return Err(Error::failed("the reference's outputs are not those of the golden's probes"));
    }
    let squared = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
    let rows = wanted.chunks_exact(classes.max(1)).zip(found.chunks_exact(classes.max(1)));
    Ok(rows.map(|(wanted, found)| wanted.iter().zip(found).map(squared).sum()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use rstest::rstest;

    use super::*;

    const CLASSES: usize = 3;

    fn manifest() -> Manifest {
        let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [3, 2, 2]\n\
             layout = \"nchw\"\n[output]\nname = \"y\"\nclasses = 3\n[matrix]\nbatches = [1]\n";
        Manifest::parse(text, Path::new("gate.toml")).unwrap()
    }

    fn probes(manifest: &Manifest) -> ProbeSet {
        let bytes = (0..40_u32).flat_map(|probe| (0..12).map(move |pixel| (probe * 37 + pixel * 101 % 256) as u8));
        ProbeSet::of_pixels(manifest, bytes.collect(), None).unwrap()
    }

    /// Scores of samples `[N, 3, 2, 2]` whose values were changed by `inside`, which is told the channel.
    fn scores(input: &Tensor, inside: fn(usize, f32) -> f32) -> Result<Tensor> {
        let mut values = Vec::new();
        for sample in input.floats().chunks_exact(12) {
            for class in 0..CLASSES {
                let weight = |place: usize| ((place * 7 + class * 5) % 11) as f32 - 5.0;
                let terms = sample.iter().enumerate();
                values.push(terms.map(|(place, &value)| weight(place) * inside(place / 4, value).tanh()).sum());
            }
        }
        Tensor::float32("y", vec![input.batch(), CLASSES], values)
    }

    /// Every range that models are trained with, and what a scaling does to the one that is read now; of three channels the usual
    /// means too, and all of it in the other order.
    #[test]
    fn readings_are_tried_in_their_order() {
        let mut now = manifest().input;
        (now.range, now.shape) = ([2.0, 4.0], vec![1, 2, 2]);
        let of_one: Vec<[f32; 2]> = candidates(&now).iter().map(|candidate| candidate.input.range).collect();
        let trained = [[0.0, 1.0], [-1.0, 1.0], [-0.5, 0.5], [0.0, 255.0], [-128.0, 127.0]];
        let scaled = [
            [3.0, 4.0],
            [0.0, 4.0],
            [3.0, 5.0],
            [1.0, 3.0],
            [1.0, 5.0],
            [2.5, 3.5],
            [2.0, 512.0],
            [2.0, 2.0 + 2.0 / 255.0],
            [2.0, 6.0],
            [2.0, 3.0],
            [4.0, 2.0],
        ];
        assert_eq!(of_one, [&trained[..], &scaled].concat());
        now.shape = vec![3, 2, 2];
        let of_three = candidates(&now);
        let (as_it_is, reversed): (Vec<_>, Vec<_>) = of_three.iter().partition(|candidate| !candidate.reversed);
        // The order alone is another reading too.
        assert_eq!((as_it_is.len(), reversed.len()), (16 + 2, 17 + 2));
        assert_eq!(reversed[0].input, now);
        assert_eq!(as_it_is[..16].iter().map(|candidate| candidate.input.range).collect::<Vec<_>>(), of_one);
        let normalised = &as_it_is[16].input;
        assert_eq!((normalised.range, normalised.mean.as_slice()), (now.range, &[0.485, 0.456, 0.406][..]));
        assert_eq!(normalised.std, [0.229, 0.224, 0.225]);
        let undone = &as_it_is[17].input;
        assert_eq!(undone.mean, [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]);
        assert_eq!(undone.std, [1.0 / 0.229, 1.0 / 0.224, 1.0 / 0.225]);
        // Where values are normalised already, doing without it is tried.
        (now.mean, now.std) = (vec![0.5; 3], vec![0.5; 3]);
        let without = |candidate: &&Candidate| candidate.input.mean.is_empty() && candidate.input.std.is_empty();
        assert_eq!(candidates(&now).iter().filter(without).count(), 2);
    }

    #[test]
    fn a_reading_is_told_against_the_one_of_now() {
        let now = manifest().input;
        let told = |reversed: bool, change: fn(&mut Input)| {
            let mut input = now.clone();
            change(&mut input);
            Candidate { input, reversed }.description(&now)
        };
        assert_eq!(told(true, |_| ()), "its channels reversed");
        assert_eq!(told(false, |input| input.range = [0.0, 2.0]), "`range` [0.0, 2.0] instead of [0.0, 1.0]");
        assert_eq!(told(false, |input| input.mean = vec![0.5]), "`mean` [0.5] and `std` []");
        assert_eq!(told(false, |input| input.std = vec![0.5]), "`mean` [] and `std` [0.5]");
        let all = told(true, |input| (input.range, input.std) = ([0.0, 2.0], vec![2.0]));
        assert_eq!(
            all,
            "`range` [0.0, 2.0] instead of [0.0, 1.0] and `mean` [] and `std` [2.0] and its channels reversed"
        );
    }

    #[rstest]
    #[case::scaling_added(|_, value| 2.0 * value - 1.0, Some("`range` [0.5, 1.0] instead of [0.0, 1.0]"))]
    #[case::inverted(|_, value| 1.0 - value, Some("`range` [1.0, 0.0] instead of [0.0, 1.0]"))]
    #[case::bytes_wanted(|_, value| value / 255.0, Some("`range` [0.0, 255.0] instead of [0.0, 1.0]"))]
    #[case::normalised(|channel, value| value * DEVIATION[channel] + MEAN[channel],
        Some("`mean` [0.485, 0.456, 0.406] and `std` [0.229, 0.224, 0.225]"))]
    #[case::twice(|_, value| 2.0 * value, Some("`range` [0.0, 0.5] instead of [0.0, 1.0]"))]
    #[case::squared(|_, value| value * value, None)]
    fn a_reading_that_explains_the_answers_is_found(
        #[case] inside: fn(usize, f32) -> f32,
        #[case] expected: Option<&str>,
    ) {
        let manifest = manifest();
        let probes = probes(&manifest);
        let samples = probes.samples().unwrap();
        let blessed = scores(&samples.tensor(0..samples.len()).unwrap(), |_, value| value).unwrap();
        let wanted = blessed.floats();
        let mut run = |input: &Tensor| scores(input, inside);
        let found = explaining(&manifest, &probes, (&wanted, CLASSES), Noise::Floats, &mut run).unwrap();
        assert_eq!(found.as_deref(), expected);
    }

    /// A reading that explains most of the change does not explain all, where too many probes are answered farther away by it.
    #[test]
    fn a_reading_that_many_probes_speak_against_is_none() {
        let manifest = manifest();
        let probes = probes(&manifest);
        let samples = probes.samples().unwrap();
        let all = samples.tensor(0..samples.len()).unwrap();
        let inverted = |_: usize, value: f32| 1.0 - value;
        // From some probe on answers are small, and those of the reading of now.
        let small = |mut scores: Tensor, from: usize| {
            let values = scores.values.as_mut::<f32>().unwrap();
            values.iter_mut().skip(from * CLASSES).for_each(|value| *value *= 0.01);
            scores
        };
        let found = |from: usize| {
            let (now, other) = (scores(&all, |_, value| value).unwrap(), scores(&all, inverted).unwrap());
            let (now, other) = (small(now, from).into_floats(), small(other, from).into_floats());
            let wanted = [&other[..from * CLASSES], &now[from * CLASSES..]].concat();
            let mut run = |input: &Tensor| Ok(small(scores(input, |_, value| value)?, from));
            explaining(&manifest, &probes, (&wanted, CLASSES), Noise::Floats, &mut run).unwrap()
        };
        assert!(found(40).is_some() && found(30).is_some(), "ten of forty");
        assert_eq!(found(29), None);
    }

    #[test]
    fn reversed_channels_are_found() {
        let manifest = manifest();
        let probes = probes(&manifest);
        let samples = probes.samples().unwrap();
        let reversed = |input: &Tensor| {
            let floats = input.floats();
            let planes = floats.chunks_exact(12).flat_map(|sample| sample.chunks_exact(4).rev().flatten());
            let values = planes.copied().collect();
            scores(&Tensor::float32("x", input.shape.clone(), values)?, |_, value| value)
        };
        let blessed = scores(&samples.tensor(0..samples.len()).unwrap(), |_, value| value).unwrap();
        let wanted = blessed.floats();
        let found =
            explaining(&manifest, &probes, (&wanted, CLASSES), Noise::Floats, &mut |input| reversed(input)).unwrap();
        assert_eq!(found.as_deref(), Some("its channels reversed"));
    }

    /// Noise of its own that `share` of the squared change is, beside what another reading changes.
    #[rstest]
    #[case::reversed(true, 0.15, true)]
    #[case::reversed_beside_much(true, 0.7, true)]
    #[case::reversed_and_more(true, 2.5, false)]
    #[case::inverted(false, 0.05, true)]
    #[case::inverted_and_more(false, 0.15, false)]
    fn noise_hides_another_order_of_channels_less_than_a_factor(
        #[case] reversed: bool,
        #[case] share: f64,
        #[case] expected: bool,
    ) {
        let manifest = manifest();
        let probes = probes(&manifest);
        let samples = probes.samples().unwrap();
        let all = samples.tensor(0..samples.len()).unwrap();
        let wanted = scores(&all, |_, value| value).unwrap().into_floats();
        let otherwise = |input: &Tensor| {
            let read = match reversed {
                false => input.floats().iter().map(|value| 1.0 - value).collect::<Vec<f32>>(),
                true => input
                    .floats()
                    .chunks_exact(12)
                    .flat_map(|one| one.chunks_exact(4).rev().flatten())
                    .copied()
                    .collect(),
            };
            scores(&Tensor::float32("x", input.shape.clone(), read)?, |_, value| value)
        };
        let mut run = |input: &Tensor| {
            let (mut found, as_is) = (otherwise(input)?, scores(input, |_, value| value)?.into_floats());
            let values = found.values.as_mut::<f32>().unwrap();
            let changed: f32 = values.iter().zip(&as_is).map(|(value, as_is)| (value - as_is).powi(2)).sum();
            let noise = share.sqrt() as f32 * (changed / values.len() as f32).sqrt();
            for (place, value) in values.iter_mut().enumerate() {
                *value += if place * 7919 % 13 < 6 { -noise } else { noise };
            }
            Ok(found)
        };
        // The change that noise is a share of has grown by it.
        let found = explaining(&manifest, &probes, (&wanted, CLASSES), Noise::EightBits, &mut run).unwrap();
        assert_eq!(found.is_some(), expected, "{found:?}");
    }
}
