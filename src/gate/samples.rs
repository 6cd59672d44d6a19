//! The samples of a gate: probes, calibration samples, labelled data.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::check::labels::Tally;
use crate::check::pair::select_output;
use crate::convert::store::Key;
use crate::data::probes::{
    MadeFor, ProbeOptions, ProbeProgress, ProbeSummary, make_probes, own_probes, write_calibration,
};
use crate::data::{ProbeSet, ReadOptions, SampleReader};
use crate::digest::digest_path;
use crate::error::{Error, Result};
use crate::gate::reference::{finite, open_reference};
use crate::gate::workspace::Workspace;
use crate::manifest::Manifest;
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, Precision, RuntimeId};

/// Samples read, run and counted at a time; bounds the memory that labelled data takes.
pub(crate) const CHUNK: usize = 1024;

/// The cell that answers as the reference, at the largest batch.
pub(crate) fn reference_cell(manifest: &Manifest) -> CellId {
    CellId {
        runtime: RuntimeId::unversioned(manifest.model.source.reference()),
        precision: Precision::Fp32,
        batch: manifest.batches.last().copied().unwrap_or(1),
        shape: None,
    }
}

/// Makes a probe set with the reference as the judge of its answers, within the time of `options`, loading the reference
/// included.
///
/// # Errors
/// If the reference cannot run, or answers every picture alike.
pub fn make(workspace: &Workspace, options: &ProbeOptions) -> Result<(ProbeSet, ProbeSummary)> {
    let start = Instant::now();
    let step = workspace.progress.begin(&format!("making the probes, within {} s", options.time.as_secs()));
    let mut reference = open_reference(workspace)?;
    let output = workspace.manifest.output.name.clone();
    let mut scorer = |input: &Tensor| finite(workspace, input, select_output(reference.run(input)?.outputs, &output)?);
    // Even where loading took all the time, some pictures are scored.
    let left = options.time.saturating_sub(start.elapsed()).max(options.time / 10);
    let options = ProbeOptions { time: left, ..*options };
    let mut watch = |progress: ProbeProgress| step.detail(&progress.to_string());
    let made = make_probes(&workspace.manifest, &options, &mut scorer, &mut watch)?;
    step.finish();
    Ok(made)
}

/// The manifest's probe set: its file, that of the stored golden, samples of the team's own, or made once into the store.
pub(crate) fn probes(workspace: &Workspace) -> Result<ProbeSet> {
    let manifest = &workspace.manifest;
    // Probes that were made from the model are among its artifacts too.
    let left_behind = |path: &&Path| !path.exists() && matches!(workspace.carried_probes(), Ok(Some(_)));
    if let Some(path) = probe_file(manifest).filter(|path| !left_behind(path)) {
        return ProbeSet::load(path, manifest).map_err(|error| {
            let hint = error.hint.clone().unwrap_or_else(|| "`trtgate data probes` makes the file".to_owned());
            error.context("cannot read the probes").hint(hint)
        });
    }
    if let Some(kept) = workspace.kept_probes().filter(|_| probe_file(manifest).is_none()) {
        return Ok(kept);
    }
    if let Some(path) = workspace.carried_probes()? {
        return ProbeSet::load(&path, manifest)
            .map_err(|error| error.context("cannot read the probes among the artifacts"));
    }
    if let Some(path) = &manifest.probes.data {
        return own_probes(manifest, path)
            .map_err(|error| error.context("cannot take the probes from `[probes] data`"));
    }
    let key = probes_key(manifest, &workspace.model_sha256);
    let entry = workspace.store.get_or_make(&key, |folder| {
        let (set, _) = make(workspace, &ProbeOptions::of(manifest))?;
        set.save(&folder.join("probes.npz"))
    })?;
    let set = ProbeSet::load(&entry.file("probes.npz")?.0, manifest)?;
    Ok(set.made_for(MadeFor::of(manifest, &ProbeOptions::of(manifest))))
}

/// Probes for a manifest that names none yet, to be kept in a file: those of the stored golden, or made now. The second part
/// says whether they are the golden's.
///
/// # Errors
/// If the reference cannot run, or answers every picture alike.
pub fn first_probes(workspace: &Workspace) -> Result<(ProbeSet, bool)> {
    let made_for = MadeFor::of(&workspace.manifest, &ProbeOptions::of(&workspace.manifest));
    Ok((workspace.probes()?.made_for(made_for), workspace.kept_probes().is_some()))
}

/// The file of probes that the manifest names, where it is used.
pub(crate) fn probe_file(manifest: &Manifest) -> Option<&Path> {
    manifest.probes.file.as_deref().filter(|_| unused_file(manifest).is_none())
}

/// The probes that artifacts carry: those that were made from the model, also where a file keeps them. The team's own come
/// as the manifest names them.
///
/// # Errors
/// If they cannot be read or made.
pub(crate) fn carried_with_artifacts(workspace: &Workspace) -> Result<Option<ProbeSet>> {
    let probes = workspace.probes()?;
    let kept_elsewhere = probe_file(&workspace.manifest).is_some() && !probes.is_made();
    Ok((!kept_elsewhere).then_some(probes))
}

/// Why the file of probes that the manifest names is not used: the team's own samples are, or it was made for another
/// reading of samples, whose classes and boundaries were elsewhere. What was blessed stays comparable: a golden keeps its
/// probes.
pub(crate) fn unused_file(manifest: &Manifest) -> Option<String> {
    let file = manifest.probes.file.as_ref()?;
    let place = file.display();
    if manifest.probes.data.is_some() {
        return Some(format!("`[probes] data` names samples of your own, and `{place}` is not used"));
    }
    // What is wrong with the file is said when it is read.
    let difference = ProbeSet::file_made_for(file).ok().flatten()?.difference(manifest)?;
    Some(format!(
        "`{place}` was made for another manifest ({difference}) and is not used; `trtgate data probes` makes it anew"
    ))
}

/// What is to be known of the run's samples: what was not found when the probes were made, or what they lack.
///
/// # Errors
/// If the calibration samples cannot be read again.
pub(crate) fn notes(workspace: &Workspace, probes: &ProbeSet) -> Result<Vec<String>> {
    let manifest = &workspace.manifest;
    let mut notes = probes.notes().to_vec();
    // Records have no place for notes.
    if notes.is_empty() {
        notes.extend(probes.missing_classes(manifest));
    }
    notes.extend(unused_file(manifest));
    notes.iter_mut().for_each(|note| note.insert_str(0, "probes: "));
    Ok(notes)
}

/// Writes the probes to `path`; beside it, as an archive, where its name asks for records and they cannot be some.
/// Returns where they are.
///
/// # Errors
/// If the file cannot be written.
pub fn save_probes(probes: &ProbeSet, path: &Path) -> Result<PathBuf> {
    let records = crate::data::Format::of(path)? == crate::data::Format::Records;
    let path = match probes.records() {
        Err(_) if records => path.with_extension("npz"),
        _ => path.to_owned(),
    };
    probes.save(&path)?;
    Ok(path)
}

/// The calibration samples as an npy file in the store.
pub(crate) fn calibration(workspace: &Workspace, probes: &ProbeSet) -> Result<PathBuf> {
    let manifest = &workspace.manifest;
    let data = manifest.calibration.data.as_deref().map(digest_path).transpose()?;
    let key = calibration_key(manifest, &probes.sha256(), data.as_deref());
    let entry = workspace
        .store
        .get_or_make(&key, |folder| write_calibration(manifest, probes, &folder.join("calibration.npy")).map(|_| ()))?;
    Ok(entry.file("calibration.npy")?.0)
}

/// Everything that can change probes that are made.
fn probes_key(manifest: &Manifest, model_sha256: &str) -> Key {
    sample_key("probes", manifest)
        .with("format", "npz")
        .with("model", model_sha256)
        .with("output", &manifest.output.name)
        .with("kind", format!("{:?}", manifest.output.kind))
        .with("seed", manifest.probes.seed)
        .with("count", manifest.probes.count)
        .with("seconds", manifest.probes.time.as_secs())
}

/// Everything that can change calibration samples; `data` is the digest of what they are taken from.
fn calibration_key(manifest: &Manifest, probes_sha256: &str, data: Option<&str>) -> Key {
    let key = sample_key("calibration-samples", manifest)
        .with("choice", "own stream, spread over data")
        .with("seed", manifest.calibration.seed)
        .with("count", manifest.calibration.count)
        .with("probes", probes_sha256);
    match data {
        Some(digest) => key.with("data", digest).with("resize", format!("{:?}", manifest.input.resize)),
        None => key,
    }
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
    /// Looks at every label, so that wrong data is refused before anything runs; no picture is decoded.
    pub(crate) fn check(path: PathBuf, manifest: &Manifest) -> Result<Self> {
        let data = Self { path };
        let (labels, others) = data.reader(manifest)?.label_counts()?;
        let place = data.path.display();
        let classes = manifest.output.classes as i64;
        let (Some((&least, _)), Some((&largest, _))) = (labels.first_key_value(), labels.last_key_value()) else {
            return Err(Error::input(format!("`{place}` holds no labelled samples"))
                .hint("docs/manifest.md lists the formats that have labels"));
        };
        if others > 0 {
            return Err(Error::input(format!("{others} samples of `{place}` have no label, and others have")));
        }
        if least >= 0 && largest < classes {
            return Ok(data);
        }
        let error =
            Error::input(format!("labels of `{place}` run from {least} to {largest}, and there are {classes} classes"));
        Err(match (least, largest == classes) {
            (1.., true) => error.hint("they begin at 1: subtract 1 from each"),
            _ => error.hint(format!("labels run from 0 to {}", classes - 1)),
        })
    }

    fn reader(&self, manifest: &Manifest) -> Result<SampleReader> {
        SampleReader::open_for(&self.path, manifest, ReadOptions::default())
    }

    /// Runs every sample through `run`; returns which labels met which answers.
    pub(crate) fn answered(
        &self,
        manifest: &Manifest,
        run: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Tally> {
        let mut reader = self.reader(manifest)?;
        let (mut samples, mut tally) = (0, Tally::default());
        while let Some(part) = reader.next_batch(CHUNK)? {
            let answers = run(&part.tensor(0..part.len())?)?;
            if answers.batch() != part.len() {
                return Err(Error::failed(format!("{} samples went in, {} came out", part.len(), answers.batch())));
            }
            if let Some(place) = answers.floats().iter().position(|value| !value.is_finite()) {
                let sample = samples + place / answers.row_len().max(1);
                return Err(Error::failed(format!("the output of labelled sample {sample} is not finite")));
            }
            let labels = part.labels.as_deref().unwrap_or_default();
            for (index, label) in labels.iter().enumerate() {
                let answer = answers.row(index).map_or(usize::MAX, crate::check::agreement::answer);
                tally.add(*label, u32::try_from(answer).unwrap_or(u32::MAX));
            }
            samples += part.len();
        }
        Ok(tally)
    }
}

#[cfg(test)]
mod tests;
