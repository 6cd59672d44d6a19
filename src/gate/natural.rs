//! The reference on natural samples: how far ahead its answers usually are, and what it answers to the first of them.
//!
//! Kept in the store, and among exported artifacts, like the probes: a machine that cannot run the reference needs them to
//! say what an error costs.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::check::leads::{LEAST_SAMPLES, Lead, NaturalLeads, kind_of};
use crate::check::pair::select_output;
use crate::convert::store::Key;
use crate::data::ProbeSet;
use crate::data::probes::{NATURAL_VERSION, NaturalSamples};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::gate::reference::{finite, open_reference};
use crate::gate::samples::sample_key;
use crate::gate::workspace::Workspace;
use crate::manifest::{Manifest, ModelSource};
use crate::tensor::Tensor;

/// The schema of the file.
const SCHEMA: &str = "trtgate.natural/v2";
/// The file's name in the store.
const FILE: &str = "natural.json";

/// Natural samples that the reference answers. L is known within a factor of 2 from far fewer; more cost little.
const SAMPLES: usize = 1024;
/// The time that they may take.
const TIME: Time = Time { limit: Duration::from_secs(10), last: Duration::from_secs(30), samples: SAMPLES };
/// Natural samples that the reference answers where a cell is near its limit.
pub(super) const FURTHER: usize = 4096;
/// The time that those beyond the first may take.
const FURTHER_TIME: Time = Time { limit: Duration::from_secs(10), last: Duration::from_secs(10), samples: FURTHER };
/// Samples of which a median is taken however long they take: fewer say nothing.
const FEWEST: usize = 16;
/// Samples drawn and run at a time: bounds the memory that large inputs take.
const CHUNK: usize = 64;
/// Share of the time that a chunk may take, so that the last one ends close to the limit.
const CHUNK_SHARE: f64 = 0.1;

/// Samples are hardly told apart where all have one answer, and nine in ten have leads that differ by no more of the typical one:
/// of a classifier they differ by its double and more, of one that is fed 0 … 1 in place of bytes by 4 %.
const TOLD_APART: f64 = 0.1;
/// What to look at then.
pub(super) const LOOK_AT_RANGE: &str =
    "look at `range`, `mean` and `std` under `[input]`: the model may take other values, bytes for example";

/// Natural samples that each runtime and precision answers beside its probes.
const FRESH: usize = 256;
/// Values that they may take together, so that large inputs do not fill the memory.
const FRESH_VALUES: usize = 1 << 24;

/// When fewer samples must do.
#[derive(Clone, Copy, Debug)]
struct Time {
    /// Once there are [`LEAST_SAMPLES`].
    limit: Duration,
    /// Once there are [`FEWEST`]: of a slow reference.
    last: Duration,
    /// Samples that are enough.
    samples: usize,
}

impl Time {
    /// Samples to run next, of a reference that has answered `taken` in `spent`; 0 where those must do.
    fn next(self, taken: usize, spent: Duration) -> usize {
        let each = match taken {
            // Nothing is known of its speed.
            0 => return 1,
            taken => (spent.as_secs_f64() / taken as f64).max(f64::MIN_POSITIVE),
        };
        // A cast of what is too large saturates.
        let fitting = |time: f64| (time / each) as usize;
        let chunk = fitting(self.limit.as_secs_f64() * CHUNK_SHARE).clamp(1, CHUNK);
        let until = |end: Duration, least: usize| match fitting(end.saturating_sub(spent).as_secs_f64()) {
            0 => least.saturating_sub(taken),
            room => room,
        };
        let room = match taken {
            taken if taken < FEWEST => until(self.last, FEWEST),
            taken if taken < LEAST_SAMPLES => until(self.last, 0).min(LEAST_SAMPLES - taken).max(until(self.limit, 0)),
            _ => until(self.limit, 0),
        };
        room.min(chunk).min(self.samples.saturating_sub(taken))
    }
}

/// What the reference answers to natural samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Natural {
    schema: String,
    /// Its leads.
    pub leads: NaturalLeads,
    /// Its answers, in the order of [`NaturalSamples`], or of the probes.
    pub answers: Vec<u32>,
    /// How far each answer is ahead of its best rival, in nats.
    #[serde(default)]
    pub answer_leads: Vec<f32>,
    /// Whether the natural samples are the probes themselves: samples of the team's own, which nobody searched for.
    #[serde(default)]
    pub of_probes: bool,
}

impl Natural {
    /// Of reference outputs, `[samples, classes]`.
    ///
    /// # Errors
    /// Those of [`NaturalLeads::of`].
    pub fn of(outputs: &[f32], manifest: &Manifest) -> Result<Self> {
        let classes = manifest.output.classes;
        let leads = NaturalLeads::of(outputs, classes, manifest.output.kind)?;
        let kind = kind_of(outputs, classes, manifest.output.kind)?;
        let (answers, answer_leads) = outputs
            .chunks_exact(classes)
            .map(|row| Lead::of(row, kind))
            .map(|lead| (u32::try_from(lead.answer).unwrap_or(u32::MAX), lead.nats as f32))
            .unzip();
        Ok(Self { schema: SCHEMA.to_owned(), leads, answers, answer_leads, of_probes: false })
    }

    /// The first natural samples, those whose answers cells are compared with beside the probes; none where they are the
    /// probes.
    ///
    /// # Errors
    /// If the manifest's input cannot be filled from bytes.
    pub fn samples(&self, manifest: &Manifest) -> Result<Option<Tensor>> {
        if self.of_probes {
            return Ok(None);
        }
        let samples = NaturalSamples::new(manifest)?;
        let fitting = (FRESH_VALUES / samples.sample_len().max(1)).max(CHUNK);
        let count = FRESH.min(fitting).min(self.answers.len());
        samples.tensor(0..count as u64).map(Some)
    }

    /// That the model hardly tells its inputs apart, in words, where that is so.
    pub fn hardly_told_apart(&self) -> Option<String> {
        let (first, rest) = self.answers.split_first()?;
        // Of each twenty leads the least and the largest are left out.
        let aside = self.leads.quantiles.len() / 20;
        let last = self.leads.quantiles.len().checked_sub(aside + 1)?;
        let (low, high) = (self.leads.quantiles.get(aside)?, self.leads.quantiles.get(last)?);
        let share = (high - low) / self.leads.typical;
        let alike = rest.len() + 1 >= FEWEST && rest.iter().all(|answer| answer == first) && share < TOLD_APART;
        alike.then(|| {
            format!(
                "the model hardly tells its inputs apart: all of {} ordinary ones are answered with class {first}, by leads that \
                 differ by {:.0} % of the typical one",
                self.answers.len(),
                100.0 * share
            )
        })
    }

    /// What a reader should know of the samples, if anything.
    pub fn notes(&self) -> Vec<String> {
        let alike = self.hardly_told_apart().map(|alike| format!("{alike}; {LOOK_AT_RANGE}"));
        alike.into_iter().chain(self.few()).collect()
    }

    fn few(&self) -> Option<String> {
        let samples = self.leads.samples;
        (samples < LEAST_SAMPLES).then(|| {
            format!(
                "the typical lead is the median of {samples} samples: what a conversion costs is known less well than from {LEAST_SAMPLES}"
            )
        })
    }

    /// Reads a file that [`Natural::save`] wrote.
    ///
    /// # Errors
    /// If it cannot be read, or is not such a file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = files::read_text(path, files::RECORD).map_err(|error| Error::io("read", path, error))?;
        let wrong = || Error::input(format!("`{}` holds no natural leads", path.display()));
        let natural: Self = serde_json::from_str(&text).map_err(|error| wrong().because(error))?;
        if natural.schema != SCHEMA {
            return Err(wrong().cause(format!("its schema is `{}`, expected `{SCHEMA}`", natural.schema)));
        }
        natural.leads.check().map_err(|error| error.context(format!("cannot use `{}`", path.display())))?;
        if natural.answers.len() != natural.leads.samples || natural.answer_leads.len() != natural.answers.len() {
            let (answers, leads, samples) = (natural.answers.len(), natural.answer_leads.len(), natural.leads.samples);
            return Err(wrong().cause(format!("it has {answers} answers and {leads} leads to {samples} samples")));
        }
        Ok(natural)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// If they cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::machine("cannot write the natural leads").because(error))?;
        Ok(format!("{text}\n").into_bytes())
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        atomic::write(path, &self.to_bytes()?)
    }
}

/// The reference's natural leads: those among the artifacts, from the store, or taken now.
///
/// # Errors
/// If the reference cannot run here and nobody brought them, or its outputs have no leads.
pub(super) fn natural(workspace: &Workspace) -> Result<Natural> {
    if let Some(path) = workspace.carried_natural()? {
        return Natural::load(&path)
            .map_err(|error| error.context("cannot read the natural leads among the artifacts"));
    }
    let own = match workspace.manifest.probes.data {
        Some(_) => Some(workspace.probes()?),
        None => None,
    };
    let key = match &own {
        Some(probes) => key(&workspace.manifest, &workspace.model_sha256).with("probes", probes.sha256()),
        None => key(&workspace.manifest, &workspace.model_sha256),
    };
    let entry = workspace.store.get_or_make(&key, |folder| {
        let step = workspace.progress.begin("asking the reference about ordinary inputs, once");
        let natural = match &own {
            Some(probes) => take_probes(workspace, probes)?,
            None => take(workspace, TIME, 0)?,
        };
        step.finish();
        natural.save(&folder.join(FILE))
    })?;
    Natural::load(&entry.file(FILE)?.0)
}

/// `first` with the reference's answers to the samples behind them, which are asked for once, as many as 10 s allow.
///
/// # Errors
/// If the reference cannot run here.
pub(super) fn further(workspace: &Workspace, first: &Natural) -> Result<Natural> {
    let known = first.answers.len();
    if first.of_probes || known >= FURTHER {
        return Ok(first.clone());
    }
    let time = Time { samples: FURTHER - known, ..FURTHER_TIME };
    let key = key(&workspace.manifest, &workspace.model_sha256).with("behind", known).with("further", FURTHER);
    let entry = workspace.store.get_or_make(&key, |folder| {
        let step = workspace.progress.begin("asking the reference about more ordinary inputs, once");
        let natural = take(workspace, time, known)?;
        step.finish();
        natural.save(&folder.join(FILE))
    })?;
    let more = Natural::load(&entry.file(FILE)?.0)?;
    let mut all = first.clone();
    all.answers.extend(more.answers);
    all.answer_leads.extend(more.answer_leads);
    Ok(all)
}

/// The reference's natural leads for a gate: without them nothing can be judged, whatever the reason is. Nobody is asked where
/// nothing `runs`.
pub(super) fn for_judging(workspace: &Workspace, runs: bool) -> Result<Natural> {
    let unknown = "nobody knows how far ahead the reference's answers usually are, so nothing says what an error costs";
    if !runs {
        return Err(Error::invalid(unknown));
    }
    workspace.natural().map_err(|error| match error.kind {
        ErrorKind::Invalid => error,
        _ => {
            let hint = "export the artifacts again where the reference runtime is (`trtgate export --output`): they carry its leads".to_owned();
            let hint = error.hint.clone().filter(|_| error.kind != ErrorKind::Missing).unwrap_or(hint);
            Error::invalid(unknown).cause(error.to_string()).hint(hint)
        }
    })
}

/// Everything that can change the answers: the model, its signature and output, what the samples' bytes mean.
fn key(manifest: &Manifest, model_sha256: &str) -> Key {
    let signature = match &manifest.model.source {
        ModelSource::SavedModel { signature, .. } => signature.as_str(),
        ModelSource::Onnx { .. } => "",
    };
    sample_key("natural", manifest)
        .with("schema", SCHEMA)
        .with("generator", NATURAL_VERSION)
        .with("samples", SAMPLES)
        .with("model", model_sha256)
        .with("signature", signature)
        .with("output", &manifest.output.name)
        .with("kind", format!("{:?}", manifest.output.kind))
}

/// Runs the reference on natural samples from number `first` on.
fn take(workspace: &Workspace, time: Time, first: usize) -> Result<Natural> {
    let mut reference = open_reference(workspace)?;
    let output = workspace.manifest.output.name.clone();
    take_with(&workspace.manifest, time, first, &mut |input| {
        finite(workspace, input, select_output(reference.run(input)?.outputs, &output)?)
    })
}

/// Runs the reference on probes that are natural samples.
fn take_probes(workspace: &Workspace, probes: &ProbeSet) -> Result<Natural> {
    let samples = probes.samples()?;
    let outputs = open_reference(workspace)?.run(&samples.tensor(0..samples.len())?)?.outputs;
    let outputs = select_output(outputs, &workspace.manifest.output.name)?;
    Ok(Natural { of_probes: true, ..Natural::of(&outputs.floats(), &workspace.manifest)? })
}

fn take_with(
    manifest: &Manifest,
    time: Time,
    first: usize,
    run: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Natural> {
    let samples = NaturalSamples::new(manifest)?;
    let start = Instant::now();
    let mut outputs = Vec::new();
    let mut taken = 0;
    // A model of a fixed batch takes as long for a part of it.
    let whole = manifest.input.fixed_batch.map_or(1, |batch| batch.max(1) as usize);
    loop {
        let next = time.next(taken, start.elapsed());
        let count = next.next_multiple_of(whole).min(time.samples.saturating_sub(taken));
        if count == 0 || next == 0 {
            break;
        }
        let start = first + taken;
        let answered = run(&samples.tensor(start as u64..(start + count) as u64)?)?;
        if answered.values.len() != count * manifest.output.classes {
            return Err(Error::failed(format!(
                "the reference's output has shape {:?}, expected [{count}, {}]",
                answered.shape, manifest.output.classes
            )));
        }
        outputs.extend(answered.into_floats());
        taken += count;
    }
    Natural::of(&outputs, manifest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::convert::store::keys::every_change_counts;
    use crate::manifest::{Layout, OutputKind};

    fn manifest() -> Manifest {
        let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [12]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\nkind = \"logits\"\n[matrix]\nbatches = [1]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n";
        Manifest::parse(text, Path::new("gate.toml")).unwrap()
    }

    /// Scores from the first two values of a sample.
    fn reference(input: &Tensor) -> Result<Tensor> {
        let scores = (0..input.batch()).flat_map(|sample| input.row(sample).unwrap()[..2].to_vec()).collect();
        Tensor::float32("y", vec![input.batch(), 2], scores)
    }

    /// All the time that is needed, and none but for the least of samples.
    const LONG: Time = Time { limit: Duration::from_secs(600), last: Duration::from_secs(1800), samples: SAMPLES };
    const SHORT: Time = Time { limit: Duration::ZERO, ..LONG };

    #[test]
    fn the_reference_answers_as_many_samples_as_the_time_allows() {
        let take = |time| take_with(&manifest(), time, 0, &mut |input| reference(input)).unwrap();
        let (whole, short) = (take(LONG), take(SHORT));
        assert_eq!((whole.leads.samples, whole.answers.len()), (SAMPLES, SAMPLES));
        assert_eq!(short.leads.samples, LEAST_SAMPLES);
        assert_eq!(whole.answers[..LEAST_SAMPLES], short.answers);
        // So slow that even those take too long: fewer do, and it is said.
        let few = take(Time { limit: Duration::ZERO, last: Duration::ZERO, ..LONG });
        assert_eq!(few.leads.samples, FEWEST);
        assert!(few.notes()[0].contains("the median of 16 samples"));
        let mut fixed = manifest();
        fixed.input.fixed_batch = Some(48);
        let mut batches = Vec::new();
        take_with(&fixed, LONG, 0, &mut |input| {
            batches.push(input.batch());
            reference(input)
        })
        .unwrap();
        assert!(batches.iter().rev().skip(1).all(|batch| batch % 48 == 0), "{batches:?}");
    }

    #[test]
    fn no_reference_takes_longer_than_its_time_by_more_than_a_chunk() {
        for each in [0.001, 0.02, 0.1, 0.3, 1.5] {
            let (mut taken, mut spent) = (0, 0.0);
            loop {
                let next = TIME.next(taken, Duration::from_secs_f64(spent));
                if next == 0 {
                    break;
                }
                taken += next;
                spent += next as f64 * each;
            }
            let limit = if taken > LEAST_SAMPLES { 10.0 } else { 30.0 };
            assert!(spent <= limit + each && (taken == SAMPLES || spent > 0.8 * 10.0), "{each}: {taken} in {spent}");
            let expected = ((limit / each) as usize).min(SAMPLES);
            assert!(taken + 2 >= expected.min(if limit > 10.0 { LEAST_SAMPLES } else { SAMPLES }), "{each}: {taken}");
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_refused_when_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let natural = take_with(&manifest(), SHORT, 0, &mut |input| reference(input)).unwrap();
        natural.save(&path).unwrap();
        assert_eq!(Natural::load(&path).unwrap(), natural);
        for damage in [
            |natural: &mut Natural| natural.schema.push('2'),
            |natural: &mut Natural| natural.leads.quantiles.swap(3, 200),
            |natural: &mut Natural| natural.answers.truncate(5),
        ] {
            let mut damaged = natural.clone();
            damage(&mut damaged);
            damaged.save(&path).unwrap();
            assert_eq!(Natural::load(&path).unwrap_err().kind, crate::ErrorKind::Input);
        }
    }

    #[test]
    fn natural_probes_are_run_once_and_few_of_them_are_said_to_be_few() {
        let whole = take_with(&manifest(), SHORT, 0, &mut |input| reference(input)).unwrap();
        assert_eq!(whole.samples(&manifest()).unwrap().unwrap().batch(), LEAST_SAMPLES);
        assert!(whole.notes().is_empty());
        let few = Natural { of_probes: true, ..Natural::of(&[3.0, 1.0].repeat(40), &manifest()).unwrap() };
        assert_eq!(few.samples(&manifest()).unwrap(), None);
        assert!(few.notes().iter().any(|note| note.contains("the median of 40 samples")));
    }

    #[test]
    fn inputs_that_are_hardly_told_apart_are_said_to_be() {
        let of = |outputs: Vec<f32>| Natural::of(&outputs, &manifest()).unwrap();
        let leads = |spread: f32| (0..64).flat_map(|sample| [2.0 + spread * sample as f32 / 63.0, 0.0]).collect();
        let words = of(leads(0.1)).hardly_told_apart().unwrap();
        assert!(
            words.contains("all of 64 ordinary ones are answered with class 0") && words.contains(" 4 % of"),
            "{words}"
        );
        assert!(of(leads(0.1)).notes()[0].contains("`range`, `mean` and `std` under `[input]`"));
        assert_eq!(of(leads(0.5)).hardly_told_apart(), None);
        // Two answers are told apart, however alike their leads are.
        let both: Vec<f32> = (0..64).flat_map(|sample| if sample < 63 { [2.0, 0.0] } else { [0.0, 2.0] }).collect();
        assert_eq!(of(both).hardly_told_apart(), None);
    }

    #[test]
    fn whatever_changes_the_answers_changes_their_key() {
        let source = |signature: &str| ModelSource::SavedModel { path: "m".into(), signature: signature.to_owned() };
        let mut manifest = manifest();
        manifest.model.source = source("serving_default");
        every_change_counts(
            &(manifest, "digest".to_owned()),
            |(manifest, model)| key(manifest, model),
            &[
                ("model", &|(_, model)| model.push('0')),
                ("signature", &|(manifest, _)| manifest.model.source = source("other")),
                ("output", &|(manifest, _)| manifest.output.name.push('2')),
                ("kind", &|(manifest, _)| manifest.output.kind = OutputKind::Probabilities),
                ("classes", &|(manifest, _)| manifest.output.classes += 1),
                ("shape", &|(manifest, _)| manifest.input.shape = vec![13]),
                ("layout", &|(manifest, _)| manifest.input.layout = Layout::Nchw),
                ("range", &|(manifest, _)| manifest.input.range[1] = 7.0),
                ("mean", &|(manifest, _)| manifest.input.mean = vec![0.5]),
                ("std", &|(manifest, _)| manifest.input.std = vec![0.5]),
            ],
            &["trtgate", "schema", "generator", "samples"],
        );
    }

    #[test]
    fn outputs_of_another_shape_are_refused() {
        let mut wrong = |input: &Tensor| Tensor::float32("y", vec![input.batch()], vec![0.0; input.batch()]);
        let error = take_with(&manifest(), TIME, 0, &mut wrong).unwrap_err();
        assert!(error.message.contains("expected [1, 2]"), "{error}");
    }
}
