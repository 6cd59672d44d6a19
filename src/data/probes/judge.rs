//! The reference's answers, the time they take, and the thresholds that decide on them.

use std::time::Duration;

use super::clock::{Clock, ProbeProgress, Watch};
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
/// Share of the time that one batch may take, so that the search ends close to its limit.
const BATCH_SHARE: f64 = 1.0 / 30.0;
/// Pictures that are asked about however long they take: nothing can be said of a reference that answered fewer.
pub(super) const LEAST: usize = 8;
/// Outputs that differ by less than this share of the largest are equal: what is left between two runs of one picture.
const EQUAL: f32 = 1e-6;

/// What the reference answers to one picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// The class with the largest score, the first of equals.
    pub(super) label: usize,
    /// Distance of the two largest scores: logits, or logarithms of probabilities.
    pub(super) margin: f64,
    /// All scores, where they were asked for; many classes need much room.
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

/// Runs the reference within a time, counts what it costs, and notes how close any decision came to its threshold.
pub(super) struct Judge<'run, 'scorer> {
    scorer: &'run mut Scorer<'scorer>,
    watch: &'run mut Watch<'scorer>,
    preprocess: Preprocess,
    input_name: String,
    shape: Vec<usize>,
    classes: usize,
    kind: OutputKind,
    batch: usize,
    fixed: bool,
    pub(super) clock: Clock,
    /// What the search is at, and how many pictures it will score at most.
    pub(super) stage: (&'static str, usize),
    /// Whether answers hold the scores of all classes.
    pub(super) keep_scores: bool,
    /// The first outputs, until others differ from them.
    first: Option<Vec<f32>>,
    /// Whether two pictures had different outputs.
    pub(super) varied: bool,
    /// Whether pictures were left out for want of time.
    pub(super) cut: bool,
    /// Pictures scored so far.
    pub(super) evaluations: usize,
    /// Smallest distance of a deciding number from its threshold so far.
    pub(super) slack: f64,
}

impl<'run, 'scorer> Judge<'run, 'scorer> {
    pub(super) fn new(
        manifest: &Manifest,
        scorer: &'run mut Scorer<'scorer>,
        watch: &'run mut Watch<'scorer>,
        clock: Clock,
    ) -> Result<Self> {
        let classes = manifest.output.classes;
        if classes < 2 {
            return Err(Error::unsupported(format!("probes need at least 2 classes, the model has {classes}")));
        }
        let preprocess = Preprocess::new(&manifest.input)?;
        let fixed = manifest.input.fixed_batch.map(|batch| batch.max(1) as usize);
        let fitting = (BATCH_VALUES / preprocess.sample_len()).clamp(1, BATCH);
        Ok(Self {
            scorer,
            watch,
            preprocess,
            input_name: manifest.input.name.clone(),
            shape: manifest.input.shape.clone(),
            classes,
            kind: manifest.output.kind,
            batch: fixed.unwrap_or(fitting),
            fixed: fixed.is_some(),
            clock,
            stage: ("asking", 0),
            keep_scores: true,
            first: None,
            varied: false,
            cut: false,
            evaluations: 0,
            slack: f64::INFINITY,
        })
    }

    /// Seconds that a picture takes, made and answered; 0 while nothing is known.
    pub(super) fn seconds_each(&self) -> f64 {
        match self.evaluations {
            0 => 0.0,
            scored => self.clock.spent().as_secs_f64() / scored as f64,
        }
    }

    /// Pictures that can still be scored.
    pub(super) fn affordable(&self) -> usize {
        match self.seconds_each() {
            0.0 => usize::MAX,
            // A cast of what is too large saturates.
            seconds => (self.clock.left_to_ask().as_secs_f64() / seconds) as usize,
        }
    }

    /// Pictures that are best asked together: one at first, since nothing is known of the time it takes.
    pub(super) fn step(&self) -> usize {
        match self.seconds_each() {
            _ if self.fixed => self.batch,
            0.0 => 1,
            seconds => {
                let fitting = self.clock.limit().as_secs_f64() * BATCH_SHARE / seconds;
                (fitting as usize).clamp(1, self.batch)
            }
        }
    }

    /// The answers to `pictures` (planar bytes); fewer than there are pictures where the time is over and [`LEAST`] are
    /// answered.
    pub(super) fn answers<P: AsRef<[u8]>>(&mut self, pictures: &[P]) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(pictures.len());
        let mut rest = pictures;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(self.step().min(rest.len()));
            if self.evaluations >= LEAST && self.affordable() < chunk.len() {
                self.cut = true;
                break;
            }
            self.answer_chunk(chunk, &mut answers)?;
            rest = after;
        }
        Ok(answers)
    }

    /// The answers to `pictures` in one batch, whatever the time.
    pub(super) fn answer_chunk<P: AsRef<[u8]>>(&mut self, chunk: &[P], answers: &mut Vec<Answer>) -> Result<()> {
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
            let outputs = outputs.row(row).unwrap_or_default();
            self.evaluations += 1;
            self.compare(outputs);
            answers.push(self.answer(outputs)?);
        }
        let (stage, planned) = self.stage;
        let seconds = planned.saturating_sub(self.evaluations) as f64 * self.seconds_each();
        let left = self.clock.left().min(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        (self.watch)(ProbeProgress { stage, scored: self.evaluations, planned, left });
        Ok(())
    }

    /// Notes whether `outputs` differ from the first.
    fn compare(&mut self, outputs: &[f32]) {
        if self.varied {
            return;
        }
        let Some(first) = &self.first else {
            self.first = Some(outputs.to_vec());
            return;
        };
        let largest = first.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        if first.iter().zip(outputs).any(|(first, output)| (first - output).abs() > largest * EQUAL) {
            (self.varied, self.first) = (true, None);
        }
    }

    fn answer(&self, outputs: &[f32]) -> Result<Answer> {
        if outputs.len() != self.classes {
            return Err(Error::failed("the reference's output is too short"));
        }
        if let Some(class) = outputs.iter().position(|output| !output.is_finite()) {
            let value = outputs.get(class).copied().unwrap_or(f32::NAN);
            return Err(Error::failed(format!(
                "the reference's output is not finite: class {class} of picture {} is {value}",
                self.evaluations
            ))
            .hint(
                "the model as it came gives it; look for weights that are not finite, or for a `range` that the model \
                 does not take",
            ));
        }
        if self.kind == OutputKind::Probabilities && outputs.iter().any(|output| !(-1e-3..=1.001).contains(output)) {
            return Err(Error::invalid("the reference's outputs are not probabilities")
                .hint("set `kind = \"logits\"` in the manifest's output"));
        }
        let score = |output: f32| match self.kind {
            OutputKind::Logits => f64::from(output),
            OutputKind::Probabilities => f64::from(output).max(f64::from(f32::MIN_POSITIVE)).ln(),
        };
        let mut best = (0, f64::NEG_INFINITY);
        let mut second = f64::NEG_INFINITY;
        for (class, score) in outputs.iter().copied().map(score).enumerate() {
            if score > best.1 {
                second = best.1;
                best = (class, score);
            } else {
                second = second.max(score);
            }
        }
        let scores = if self.keep_scores { outputs.iter().copied().map(score).collect() } else { Vec::new() };
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

    const TIME: Duration = Duration::from_secs(60);

    fn judge_outputs(kind: OutputKind, outputs: &[f32]) -> Result<Answer> {
        let mut manifest = manifest(&[1, 1, 1], outputs.len());
        manifest.output.kind = kind;
        let mut scorer = |_: &Tensor| Tensor::float32("out", vec![1, outputs.len()], outputs.to_vec());
        let mut watch = |_| {};
        Judge::new(&manifest, &mut scorer, &mut watch, Clock::new(TIME))?
            .answers(&[[0u8]])
            .map(|answers| answers.into_iter().next().unwrap())
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
        let error = judge_outputs(OutputKind::Logits, &[1.0, f32::NAN]).unwrap_err();
        assert_eq!(error.message, "the reference's output is not finite: class 1 of picture 1 is NaN");
        let mut scorer = |_: &Tensor| Tensor::float32("out", vec![2, 2], vec![0.0; 4]);
        let manifest = manifest(&[1, 1, 1], 2);
        let mut watch = |_| {};
        let mut judge = Judge::new(&manifest, &mut scorer, &mut watch, Clock::new(TIME)).unwrap();
        let error = judge.answers(&[[0u8]]).unwrap_err();
        assert!(error.message.contains("has shape [2, 2], expected [1, 2]"), "{error}");
    }

    #[test]
    fn fixed_batch_is_filled_up() {
        let mut manifest = manifest(&[1, 1, 1], 2);
        manifest.input.fixed_batch = Some(4);
        let mut seen = Vec::new();
        let mut scorer = |input: &Tensor| {
            seen.push(input.floats().iter().map(|value| (value * 255.0) as u8).collect::<Vec<_>>());
            Tensor::float32("out", vec![4, 2], vec![0.0; 8])
        };
        let mut watch = |_| {};
        let mut judge = Judge::new(&manifest, &mut scorer, &mut watch, Clock::new(TIME)).unwrap();
        let answers = judge.answers(&[[0u8], [0], [0], [0], [255]]).unwrap();
        assert_eq!(answers.len(), 5);
        assert_eq!(seen, [vec![0, 0, 0, 0], vec![255, 255, 255, 255]]);
    }

    #[test]
    fn slack_is_the_closest_decision() {
        let manifest = manifest(&[1, 1, 1], 2);
        let mut scorer = |_: &Tensor| Err(Error::failed("not called"));
        let mut watch = |_| {};
        let mut judge = Judge::new(&manifest, &mut scorer, &mut watch, Clock::new(TIME)).unwrap();
        assert!(judge.reaches(3.5, 3.0) && !judge.reaches(2.75, 3.0) && judge.reaches(9.0, 3.0));
        assert_eq!(judge.slack, 0.25);
    }

    #[test]
    fn time_ends_the_answers_and_is_said() {
        let manifest = manifest(&[1, 1, 1], 2);
        let mut largest = 0;
        let mut scorer = |input: &Tensor| {
            std::thread::sleep(Duration::from_millis(5) * input.batch() as u32);
            largest = largest.max(input.batch());
            Tensor::float32("out", vec![input.batch(), 2], vec![0.0; 2 * input.batch()])
        };
        let mut seen = Vec::new();
        let mut watch = |progress: ProbeProgress| seen.push(progress);
        let clock = Clock::new(Duration::from_millis(300));
        let mut judge = Judge::new(&manifest, &mut scorer, &mut watch, clock).unwrap();
        judge.stage = ("asking", 1000);
        let answers = judge.answers(&vec![[0u8]; 1000]).unwrap();
        // 5 ms each: 60 at most, and half of that on a machine that is busy.
        assert!(judge.cut && (1..=60).contains(&answers.len()), "{}", answers.len());
        assert!(judge.clock.spent() < Duration::from_millis(600), "{:?}", judge.clock.spent());
        assert!(largest <= 2, "one batch takes a thirtieth of the time: {largest}");
        assert!(seen.iter().all(|progress| progress.left <= Duration::from_millis(300) && progress.planned == 1000));
    }

    #[test]
    fn equal_outputs_are_noticed() {
        let manifest = manifest(&[1, 1, 1], 2);
        for (change, varied) in [(0.0, false), (1e-7, false), (1e-3, true)] {
            let mut calls = 0.0;
            let mut scorer = |input: &Tensor| {
                calls += 1.0;
                Tensor::float32("out", vec![input.batch(), 2], [1.0, calls * change].repeat(input.batch()))
            };
            let mut watch = |_| {};
            let mut judge = Judge::new(&manifest, &mut scorer, &mut watch, Clock::new(TIME)).unwrap();
            judge.answers(&[[0u8], [1], [2]]).unwrap();
            assert_eq!(judge.varied, varied, "{change}");
        }
    }
}
