//! The reference's answers, and the thresholds that decide on them.

use crate::data::preprocess::Preprocess;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, OutputKind};
use crate::tensor::Tensor;

/// Gives the reference's outputs `[n, classes]` for a batch of inputs.
pub type Scorer<'run> = dyn FnMut(&Tensor) -> Result<Tensor> + 'run;

/// Values in one batch at most, so that large images do not fill the memory.
const BATCH_VALUES: usize = 1 << 22;
/// Samples in one batch at most.
const BATCH: usize = 64;

/// What the reference answers to one picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// The class with the largest score, the first of equals.
    pub(super) label: usize,
    /// Distance of the two largest scores: logits, or logarithms of probabilities.
    pub(super) margin: f64,
    /// All scores.
    pub(super) scores: Vec<f64>,
}

impl Answer {
    /// How far `class`, which is not the answer, lies from it: 0 or less.
    pub(super) fn behind(&self, class: usize) -> f64 {
        let score = |class: usize| self.scores.get(class).copied().unwrap_or(f64::NEG_INFINITY);
        score(class) - score(self.label)
    }

    /// How far `class` is ahead of the best other class; negative where it is behind.
    pub(super) fn lead_of(&self, class: usize) -> f64 {
        let best_of = |wanted: bool| {
            let scores = self.scores.iter().enumerate().filter(|(index, _)| (*index == class) == wanted);
            scores.map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max)
        };
        best_of(true) - best_of(false)
    }
}

/// Runs the reference, counts what it costs, and notes how close any decision came to its threshold.
pub(super) struct Judge<'run, 'scorer> {
    scorer: &'run mut Scorer<'scorer>,
    preprocess: Preprocess,
    input_name: String,
    shape: Vec<usize>,
    classes: usize,
    kind: OutputKind,
    batch: usize,
    fixed: bool,
    /// Pictures scored so far.
    pub(super) evaluations: usize,
    /// Smallest distance of a deciding number from its threshold so far.
    pub(super) slack: f64,
}

impl<'run, 'scorer> Judge<'run, 'scorer> {
    pub(super) fn new(manifest: &Manifest, scorer: &'run mut Scorer<'scorer>) -> Result<Self> {
        let classes = manifest.output.classes;
        if classes < 2 {
            return Err(Error::unsupported(format!("probes need at least 2 classes, the model has {classes}")));
        }
        let preprocess = Preprocess::new(&manifest.input)?;
        let fixed = manifest.input.fixed_batch.map(|batch| batch.max(1) as usize);
        let fitting = (BATCH_VALUES / preprocess.sample_len()).clamp(1, BATCH);
        Ok(Self {
            scorer,
            preprocess,
            input_name: manifest.input.name.clone(),
            shape: manifest.input.shape.clone(),
            classes,
            kind: manifest.output.kind,
            batch: fixed.unwrap_or(fitting),
            fixed: fixed.is_some(),
            evaluations: 0,
            slack: f64::INFINITY,
        })
    }

    /// The answers to `pictures` (planar bytes).
    pub(super) fn answers<P: AsRef<[u8]>>(&mut self, pictures: &[P]) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(pictures.len());
        for chunk in pictures.chunks(self.batch) {
            // A model of fixed batch gets its last batch filled up with the last picture.
            let rows = if self.fixed { self.batch } else { chunk.len() };
            let mut values = Vec::with_capacity(rows * self.preprocess.sample_len());
            for row in 0..rows {
                if let Some(picture) = chunk.get(row).or(chunk.last()) {
                    self.preprocess.planar_to_values(picture.as_ref(), &mut values);
                }
            }
            let shape = [&[rows], self.shape.as_slice()].concat();
            let outputs = (self.scorer)(&Tensor::float32(&self.input_name, shape, values)?)?;
            if outputs.shape != [rows, self.classes] {
                let (found, classes) = (&outputs.shape, self.classes);
                return Err(Error::failed(format!(
                    "the reference's output has shape {found:?}, expected [{rows}, {classes}]"
                )));
            }
            for row in 0..chunk.len() {
                answers.push(self.answer(outputs.row(row).unwrap_or_default())?);
            }
            self.evaluations += chunk.len();
        }
        Ok(answers)
    }

    fn answer(&self, outputs: &[f32]) -> Result<Answer> {
        let scores: Vec<f64> = outputs
            .iter()
            .map(|&output| match self.kind {
                OutputKind::Logits => f64::from(output),
                OutputKind::Probabilities => f64::from(output).max(f64::from(f32::MIN_POSITIVE)).ln(),
            })
            .collect();
        if scores.len() != self.classes || !outputs.iter().all(|output| output.is_finite()) {
            return Err(Error::failed("the reference's output is not finite"));
        }
        if self.kind == OutputKind::Probabilities && outputs.iter().any(|output| !(-1e-3..=1.001).contains(output)) {
            return Err(Error::invalid("the reference's outputs are not probabilities")
                .hint("set `kind = \"logits\"` in the manifest's output"));
        }
        let mut best = (0, f64::NEG_INFINITY);
        let mut second = f64::NEG_INFINITY;
        for (class, &score) in scores.iter().enumerate() {
            if score > best.1 {
                second = best.1;
                best = (class, score);
            } else {
                second = second.max(score);
            }
        }
        Ok(Answer { label: best.0, margin: best.1 - second, scores })
    }

    /// Whether `value` reaches `threshold`. Every number that decides anything goes through here, so that
    /// [`slack`](Self::slack) says how much the reference's noise may be without changing a decision.
    pub(super) fn reaches(&mut self, value: f64, threshold: f64) -> bool {
        self.slack = self.slack.min((value - threshold).abs());
        value >= threshold
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::data::probes::tests::manifest;

    fn judge_outputs(kind: OutputKind, outputs: &[f32]) -> Result<Answer> {
        let mut manifest = manifest(&[1, 1, 1], outputs.len());
        manifest.output.kind = kind;
        let mut scorer = |_: &Tensor| Tensor::float32("out", vec![1, outputs.len()], outputs.to_vec());
        Judge::new(&manifest, &mut scorer)?.answers(&[[0u8]]).map(|answers| answers.into_iter().next().unwrap())
    }

    #[test]
    fn margin_is_between_the_two_best() {
        let answer = judge_outputs(OutputKind::Logits, &[1.0, 4.0, -2.0, 3.5]).unwrap();
        assert_eq!((answer.label, answer.margin), (1, 0.5));
        assert_eq!((answer.lead_of(1), answer.lead_of(0), answer.behind(0)), (0.5, -3.0, -3.0));
        let tie = judge_outputs(OutputKind::Logits, &[2.0, 2.0]).unwrap();
        assert_eq!((tie.label, tie.margin), (0, 0.0));
    }

    #[test]
    fn probabilities_are_compared_as_logarithms() {
        let answer = judge_outputs(OutputKind::Probabilities, &[0.2, 0.8, 0.0]).unwrap();
        approx::assert_relative_eq!(answer.margin, 4f64.ln(), epsilon = 1e-6);
        assert!(judge_outputs(OutputKind::Probabilities, &[3.0, -2.0]).is_err());
    }

    #[test]
    fn outputs_that_are_not_finite_or_of_another_shape_are_refused() {
        assert!(judge_outputs(OutputKind::Logits, &[1.0, f32::NAN]).unwrap_err().message.contains("not finite"));
        let mut scorer = |_: &Tensor| Tensor::float32("out", vec![2, 2], vec![0.0; 4]);
        let manifest = manifest(&[1, 1, 1], 2);
        let error = Judge::new(&manifest, &mut scorer).unwrap().answers(&[[0u8]]).unwrap_err();
        assert!(error.message.contains("has shape [2, 2], expected [1, 2]"), "{error}");
    }

    #[test]
    fn fixed_batch_is_filled_up() {
        let mut manifest = manifest(&[1, 1, 1], 2);
        manifest.input.fixed_batch = Some(4);
        let mut seen = Vec::new();
        let mut scorer = |input: &Tensor| {
            seen.push(input.values.iter().map(|value| (value * 255.0) as u8).collect::<Vec<_>>());
            Tensor::float32("out", vec![4, 2], vec![0.0; 8])
        };
        let answers = Judge::new(&manifest, &mut scorer).unwrap().answers(&[[0u8], [0], [0], [0], [255]]).unwrap();
        assert_eq!(answers.len(), 5);
        assert_eq!(seen, [vec![0, 0, 0, 0], vec![255, 255, 255, 255]]);
    }

    #[test]
    fn slack_is_the_closest_decision() {
        let manifest = manifest(&[1, 1, 1], 2);
        let mut scorer = |_: &Tensor| Err(Error::failed("not called"));
        let mut judge = Judge::new(&manifest, &mut scorer).unwrap();
        assert!(judge.reaches(3.5, 3.0) && !judge.reaches(2.75, 3.0) && judge.reaches(9.0, 3.0));
        assert_eq!(judge.slack, 0.25);
    }
}
