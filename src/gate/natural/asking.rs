//! Asking the reference about ordinary inputs: how many, in which pieces, for how long, and where the answers are kept.
//!
//! How many are asked for is a function of the input's size alone, so that a busy machine judges by the same samples as an idle
//! one. Time ends it only as a last resort; what it cut short is said in the report, and the gates after it ask on.

use std::ops::Range;

use super::{FILE, Natural, SCHEMA};
use crate::check::pair::select_output;
use crate::convert::store::Key;
use crate::data::ProbeSet;
use crate::data::probes::{NATURAL_VERSION, NaturalSamples};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::reference::{finite, open_reference};
use crate::gate::samples::sample_key;
use crate::gate::workspace::Workspace;
use crate::manifest::Manifest;
use crate::tensor::Tensor;

/// Natural samples that the reference answers. L is known within a factor of 2 from far fewer; more cost little.
const SAMPLES: usize = 1024;
/// Natural samples that the reference answers where a cell is near its limit.
const FURTHER: usize = 4096;
/// Values that either may hold together: the work of large inputs.
const VALUES: usize = 1 << 25;
/// Fewest samples, however large they are.
const LEAST: usize = 256;
/// Seconds that a gate spends on them at most.
pub(in crate::gate) const SECONDS: f64 = 60.0;
/// Samples of which a median is taken however long they take: fewer say nothing.
pub(super) const FEWEST: usize = 16;

/// Natural samples that the reference is asked for.
pub(in crate::gate) fn wanted(manifest: &Manifest) -> usize {
    fitting(manifest, SAMPLES)
}

/// Natural samples that a cell near its limit is judged by.
pub(in crate::gate) fn wanted_near_a_limit(manifest: &Manifest) -> usize {
    fitting(manifest, FURTHER)
}

fn fitting(manifest: &Manifest, most: usize) -> usize {
    let values = manifest.input.shape.iter().fold(1, |values: usize, &size| values.saturating_mul(size));
    (VALUES / values.max(1)).clamp(LEAST, most)
}

/// The reference's natural leads: those among the artifacts, from the store, or taken now.
///
/// # Errors
/// If the reference cannot run here and nobody brought them, or its outputs have no leads.
pub(in crate::gate) fn natural(workspace: &Workspace) -> Result<Natural> {
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
    let wanted = wanted(&workspace.manifest);
    let entry = workspace.store.get_or_make(&key, |folder| {
        let step = workspace.progress.begin("asking the reference about ordinary inputs, once");
        let natural = match &own {
            Some(probes) => take_probes(workspace, probes)?,
            None => take(workspace, 0..wanted, FEWEST)?,
        };
        step.finish();
        natural.save(&folder.join(FILE))
    })?;
    let first = Natural::load(&entry.file(FILE)?.0)?;
    if own.is_some() {
        return Ok(first);
    }
    let mut all = first.clone();
    // What this gate itself has cut short is for the next one.
    continued(workspace, &mut all, wanted, entry.cached)?;
    if all.answers.len() > first.answers.len() { all.with_leads_of_all() } else { Ok(first) }
}

/// `first` with the reference's answers to the samples behind them, which are asked for once; its leads stay.
///
/// # Errors
/// If the reference cannot run here.
pub(in crate::gate) fn further(workspace: &Workspace, first: &Natural) -> Result<Natural> {
    let mut all = first.clone();
    if !first.of_probes {
        continued(workspace, &mut all, wanted_near_a_limit(&workspace.manifest), true)?;
    }
    Ok(all)
}

/// Appends the reference's answers up to sample number `until`: parts that are kept, and where they end and `asks`, one more. A
/// reference that is not here leaves it at what is kept.
fn continued(workspace: &Workspace, all: &mut Natural, until: usize, mut asks: bool) -> Result<()> {
    while all.answers.len() < until {
        let known = all.answers.len();
        let key = key(&workspace.manifest, &workspace.model_sha256).with("behind", known).with("until", until);
        let entry = match workspace.store.get(&key)? {
            Some(entry) => entry,
            None if !asks => return Ok(()),
            None => {
                asks = false;
                let made = workspace.store.get_or_make(&key, |folder| {
                    let step = workspace.progress.begin("asking the reference about more ordinary inputs, once");
                    let natural = take(workspace, known..until, 1)?;
                    step.finish();
                    natural.save(&folder.join(FILE))
                });
                match made {
                    Err(error) if matches!(error.kind, ErrorKind::Missing | ErrorKind::Unsupported) => return Ok(()),
                    made => made?,
                }
            }
        };
        let more = Natural::load(&entry.file(FILE)?.0)?;
        all.answers.extend(more.answers);
        all.answer_leads.extend(more.answer_leads);
    }
    Ok(())
}

/// The reference's natural leads for a gate: without them nothing can be judged, whatever the reason is. Nobody is asked where
/// nothing `runs`.
pub(in crate::gate) fn for_judging(workspace: &Workspace, runs: bool) -> Result<Natural> {
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
pub(super) fn key(manifest: &Manifest, model_sha256: &str) -> Key {
    sample_key("natural", manifest)
        .with("schema", SCHEMA)
        .with("generator", NATURAL_VERSION)
        .with("samples", wanted(manifest))
        .with("model", model_sha256)
        .with("signature", manifest.model.source.signature())
        .with("output", &manifest.output.name)
        .with("kind", format!("{:?}", manifest.output.kind))
}

/// Runs the reference on natural samples of these numbers.
fn take(workspace: &Workspace, numbers: Range<usize>, fewest: usize) -> Result<Natural> {
    let mut reference = open_reference(workspace)?;
    let output = workspace.manifest.output.name.clone();
    take_with(&workspace.manifest, numbers, fewest, &mut |input| {
        let run = reference.run(input)?;
        Ok((finite(workspace, input, select_output(run.outputs, &output)?)?, run.seconds))
    })
}

/// Runs the reference on probes that are natural samples.
fn take_probes(workspace: &Workspace, probes: &ProbeSet) -> Result<Natural> {
    let samples = probes.samples()?;
    let outputs = open_reference(workspace)?.run(&samples.tensor(0..samples.len())?)?.outputs;
    let outputs = select_output(outputs, &workspace.manifest.output.name)?;
    Ok(Natural { of_probes: true, ..Natural::of(&outputs.floats(), &workspace.manifest)? })
}

/// What `run` answers, with the seconds that it took, to the samples of these `numbers`: all of them, or those that [`SECONDS`]
/// hold, `fewest` at least. Always in the reference's own batches: an answer that depends on its batch by rounding is the same
/// however slow it was.
pub(super) fn take_with(
    manifest: &Manifest,
    numbers: Range<usize>,
    fewest: usize,
    run: &mut dyn FnMut(&Tensor) -> Result<(Tensor, f64)>,
) -> Result<Natural> {
    let samples = NaturalSamples::new(manifest)?;
    // A model of a fixed batch takes as long for a part of it.
    let whole = manifest.input.fixed_batch.map_or(1, |batch| batch.max(1) as usize);
    let piece = (manifest.batches.last().map_or(1, |batch| (*batch).max(1) as usize)).next_multiple_of(whole);
    let (mut outputs, mut spent, mut next) = (Vec::new(), 0.0, numbers.start);
    while next < numbers.end && (spent < SECONDS || next - numbers.start < fewest) {
        let count = piece.min(numbers.end - next);
        let (answered, seconds) = run(&samples.tensor(next as u64..(next + count) as u64)?)?;
        if answered.values.len() != count * manifest.output.classes {
            return Err(Error::failed(format!(
                "the reference's output has shape {:?}, expected [{count}, {}]",
                answered.shape, manifest.output.classes
            )));
        }
        outputs.extend(answered.into_floats());
        (spent, next) = (spent + seconds, next + count);
    }
    Natural::of(&outputs, manifest)
}
