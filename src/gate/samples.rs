//! The samples of a gate: probes, calibration samples, labelled data.

use std::path::PathBuf;

use crate::check::pair::select_output;
use crate::convert::store::Key;
use crate::data::probes::{ProbeOptions, make_probes, write_calibration};
use crate::data::{ProbeSet, ReadOptions, SampleReader};
use crate::error::{Error, Result};
use crate::gate::reference::{finite, open_reference};
use crate::gate::workspace::Workspace;
use crate::manifest::{Manifest, ModelSource};
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, Library, Precision, RuntimeId};

/// Samples read, run and counted at a time; bounds the memory that labelled data takes.
pub(crate) const CHUNK: usize = 1024;

/// The library whose answers are the reference: TensorFlow for a SavedModel, ONNX Runtime for an ONNX model.
pub(crate) const fn reference_library(source: &ModelSource) -> Library {
    match source {
        ModelSource::SavedModel { .. } => Library::Tensorflow,
        ModelSource::Onnx { .. } => Library::Onnxruntime,
    }
}

/// The cell that answers as the reference, at the largest batch.
pub(crate) fn reference_cell(manifest: &Manifest) -> CellId {
    CellId {
        runtime: RuntimeId::unversioned(reference_library(&manifest.model.source)),
        precision: Precision::Fp32,
        batch: manifest.batches.last().copied().unwrap_or(1),
    }
}

/// Makes a probe set with the reference as the judge of its answers.
///
/// # Errors
/// If the reference cannot run, or does not give enough different answers.
pub fn make(workspace: &Workspace, options: &ProbeOptions) -> Result<(ProbeSet, crate::data::probes::ProbeSummary)> {
    let mut reference = open_reference(workspace)?;
    let output = workspace.manifest.output.name.clone();
    let mut scorer = |input: &Tensor| finite(workspace, input, select_output(reference.run(input)?.outputs, &output)?);
    make_probes(&workspace.manifest, options, &mut scorer)
}

/// The manifest's probe set: its file, or made once into the store.
pub(crate) fn probes(workspace: &Workspace) -> Result<ProbeSet> {
    let manifest = &workspace.manifest;
    if let Some(path) = &manifest.probes.file {
        return ProbeSet::load(path, manifest).map_err(|error| {
            let hint = error.hint.clone().unwrap_or_else(|| "`trtgate data probes` makes the file".to_owned());
            error.context("cannot read the probes").hint(hint)
        });
    }
    if let Some(path) = workspace.carried_probes()? {
        return ProbeSet::load(&path, manifest)
            .map_err(|error| error.context("cannot read the probes among the artifacts"));
    }
    let key = sample_key("probes", manifest)
        .with("model", &workspace.model_sha256)
        .with("seed", manifest.probes.seed)
        .with("count", manifest.probes.count);
    let entry = workspace.store.get_or_make(&key, |folder| {
        let step = workspace.progress.begin("making the probe set, once");
        let options = ProbeOptions::of(manifest);
        let (set, _) = make(workspace, &options)?;
        step.finish();
        set.save(&folder.join("probes.bin"))
    })?;
    ProbeSet::load(&entry.file("probes.bin")?.0, manifest)
}

/// The calibration samples as an npy file in the store.
pub(crate) fn calibration(workspace: &Workspace, probes: &ProbeSet) -> Result<PathBuf> {
    let manifest = &workspace.manifest;
    let mut key = sample_key("calibration-samples", manifest)
        .with("seed", manifest.calibration.seed)
        .with("count", manifest.calibration.count)
        .with("probes", probes.sha256());
    if let Some(data) = &manifest.calibration.data {
        let digest = if data.is_dir() {
            crate::convert::digest::digest_directory(data)?
        } else {
            crate::convert::digest::digest_file(data)?
        };
        key = key.with("data", digest);
    }
    let entry = workspace
        .store
        .get_or_make(&key, |folder| write_calibration(manifest, probes, &folder.join("calibration.npy")).map(|_| ()))?;
    Ok(entry.file("calibration.npy")?.0)
}

/// Everything of the manifest that decides what a sample's bytes mean; the generator changes with the program.
pub(super) fn sample_key(kind: &str, manifest: &Manifest) -> Key {
    let input = &manifest.input;
    Key::new(kind)
        .with("trtgate", env!("CARGO_PKG_VERSION"))
        .with("shape", format!("{:?}", input.shape))
        .with("layout", format!("{:?}", input.layout))
        .with("range", format!("{:?}", input.range))
        .with("mean", format!("{:?}", input.mean))
        .with("std", format!("{:?}", input.std))
        .with("classes", manifest.output.classes)
}

/// Labelled data, read again for each cell so that it is never held whole.
#[derive(Clone, Debug)]
pub(crate) struct LabelledData {
    pub(crate) path: PathBuf,
}

impl LabelledData {
    /// Reads the first sample, so that wrong data is refused before anything runs.
    pub(crate) fn check(path: PathBuf, manifest: &Manifest) -> Result<Self> {
        let data = Self { path };
        match data.reader(manifest)?.next().transpose()?.and_then(|sample| sample.label) {
            Some(_) => Ok(data),
            None => Err(Error::input(format!("`{}` holds no labelled samples", data.path.display()))),
        }
    }

    fn reader(&self, manifest: &Manifest) -> Result<SampleReader> {
        SampleReader::open(&self.path, &manifest.input, manifest.output.classes, ReadOptions::default())
    }

    /// Runs every sample through `run`; returns how many there are and how many answers are right.
    pub(crate) fn count_correct(
        &self,
        manifest: &Manifest,
        run: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<(usize, usize)> {
        let mut reader = self.reader(manifest)?;
        let (mut samples, mut correct) = (0, 0);
        while let Some(part) = reader.next_batch(CHUNK)? {
            let answers = run(&part.tensor(0..part.len())?)?;
            if answers.batch() != part.len() {
                return Err(Error::failed(format!("{} samples went in, {} came out", part.len(), answers.batch())));
            }
            if let Some(place) = answers.values.iter().position(|value| !value.is_finite()) {
                let sample = samples + place / answers.row_len().max(1);
                return Err(Error::failed(format!("the output of labelled sample {sample} is not finite")));
            }
            let labels = part.labels.as_deref().unwrap_or_default();
            for (index, label) in labels.iter().enumerate() {
                let answer = answers.row(index).map(crate::check::agreement::answer);
                correct += usize::from(answer == Some(*label as usize));
            }
            samples += part.len();
        }
        Ok((samples, correct))
    }
}
