//! The golden of the model that is gated: where it lies, whether it fits, what it says about the reference.

use std::path::{Path, PathBuf};

use safetensors::Dtype;

use crate::check::golden::{Golden, Origin, Output, ProbeInput, Probes, Reading, Typed};
use crate::check::pair::select_output;
use crate::data::ProbeSet;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::open::OpenCell;
use crate::gate::reference::{finite, of_one_batch, open_reference, open_unexamined};
use crate::gate::samples::{probe_file, reference_cell};
use crate::gate::workspace::Workspace;
use crate::manifest::Manifest;
use crate::tensor::Tensor;

/// The golden's file.
pub(crate) fn path_of(manifest: &Manifest) -> PathBuf {
    Golden::path(&manifest.snapshots, &manifest.model.name)
}

/// The stored golden, `None` where there is none.
///
/// # Errors
/// Those of [`Golden::read`]: a golden that is there and cannot be read (a link to nowhere, a folder closed to us) is no
/// missing golden.
pub(crate) fn stored(path: &Path) -> Result<Option<Golden>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        _ => Golden::read(path).map(Some),
    }
}

/// The output of `golden` that `manifest` gates.
///
/// # Errors
/// An invalid one, where the golden has another output, another kind of values or another number of classes.
pub(crate) fn gated_output<'a>(golden: &'a Golden, manifest: &Manifest, path: &Path) -> Result<&'a Output> {
    let wanted = &manifest.output;
    let output = golden.output(&wanted.name, path)?;
    if output.kind() != Some(wanted.kind) || output.row_len() != wanted.classes {
        let gated = Output::classification(&wanted.name, wanted.kind, [0, wanted.classes], &[])?;
        return Err(Error::invalid(format!(
            "golden `{}` is of {}, the gated output is {}",
            path.display(),
            output.description(),
            gated.description()
        ))
        .hint("give each manifest a `[model] name` of its own; `trtgate bless --force` replaces the golden"));
    }
    Ok(output)
}

/// The probes that `golden` keeps, where they are whole and fit the manifest's input and classes.
pub(crate) fn embedded(golden: &Golden, manifest: &Manifest) -> Option<ProbeSet> {
    let input = golden.probes.inputs.iter().find(|input| input.name == manifest.input.name)?;
    let [tensor] = input.tensors.as_slice() else { return None };
    let set = match &input.reading {
        Reading::Bytes { shape, layout, .. } => {
            let fits = *shape == manifest.input.shape && *layout == manifest.input.layout;
            if !fits || tensor.element() != Dtype::U8 {
                return None;
            }
            ProbeSet::of_pixels(manifest, tensor.bytes().to_vec(), golden.probes.labels.clone()).ok()?
        }
        Reading::Values => {
            if tensor.shape().get(1..) != Some(&manifest.input.shape) {
                return None;
            }
            ProbeSet::of_values(manifest, tensor.to_float32()?).ok()?
        }
    };
    (set.sha256() == golden.probes.sha256 && set.len() == golden.probes.count).then_some(set)
}

/// The probes of the stored golden, where the manifest would have them made from the model: what was blessed stays
/// comparable when the model changes. `None` where the manifest names samples, or asks for others by their number or seed.
pub(crate) fn kept_probes(manifest: &Manifest) -> Option<ProbeSet> {
    if manifest.probes.data.is_some() {
        return None;
    }
    let golden = stored(&path_of(manifest)).ok()??;
    let asked = golden.probes.asked.unwrap_or(golden.probes.count) == manifest.probes.count
        && golden.probes.seed.is_none_or(|seed| seed == manifest.probes.seed);
    embedded(&golden, manifest).filter(|_| asked)
}

/// What the reference answers to `probes` now, and the full version of its runtime.
///
/// # Errors
/// If the reference runtime is not here, does not run, contradicts itself, or has outputs of another shape.
pub(crate) fn answers(workspace: &Workspace, probes: &ProbeSet) -> Result<(Tensor, String)> {
    ask(workspace, open_reference(workspace)?, probes)
}

fn ask(workspace: &Workspace, mut reference: OpenCell, probes: &ProbeSet) -> Result<(Tensor, String)> {
    let manifest = &workspace.manifest;
    let samples = probes.samples()?;
    let input = samples.tensor(0..samples.len())?;
    let answered = reference.run(&input).map_err(|error| of_one_batch(workspace, &error).unwrap_or(error))?;
    let outputs = finite(workspace, &input, select_output(answered.outputs, &manifest.output.name)?)?;
    if outputs.shape != [samples.len(), manifest.output.classes] {
        return Err(Error::new(ErrorKind::Failed, format!("the reference gave outputs of shape {:?}", outputs.shape)));
    }
    Ok((outputs, reference.version().to_owned()))
}

/// The golden made of the reference's answers now; not stored.
///
/// # Errors
/// If the reference runtime is not here, or its answers cannot be a golden.
pub fn golden_now(workspace: &Workspace, reason: &str) -> Result<Golden> {
    let manifest = &workspace.manifest;
    if let Some(interface) = &manifest.interface {
        return Ok(crate::gate::kept::blessing(workspace, interface, reason, None)?.golden);
    }
    let probe_set = workspace.probes()?;
    let (outputs, version) = ask(workspace, open_unexamined(workspace)?, &probe_set)?;
    let origin = origin_now(workspace, version, reason);
    let shape = [probe_set.len(), manifest.output.classes];
    let mut output = Output::classification(&manifest.output.name, manifest.output.kind, shape, &outputs.floats())?;
    // A golden without leads is a golden all the same; who needs them says why there are none.
    output.leads = workspace.natural().ok().map(|natural| natural.leads);
    let probes = kept(&probe_set, manifest)?;
    let golden =
        Golden { origin, outputs: vec![output], probes, accuracy: None, figures: Vec::new(), artifacts: Vec::new() };
    golden.check()?;
    Ok(golden)
}

/// Where answers come from that the reference, of this `version`, gives now.
pub(super) fn origin_now(workspace: &Workspace, version: String, reason: &str) -> Origin {
    let manifest = &workspace.manifest;
    let cell = reference_cell(manifest);
    Origin {
        model: manifest.model.name.clone(),
        model_sha256: workspace.model_sha256.clone(),
        manifest: relative(&manifest.path, &manifest.snapshots),
        runtime: cell.runtime,
        version,
        precision: cell.precision,
        trtgate: Some(env!("CARGO_PKG_VERSION").to_owned()),
        created: super::now(),
        reason: reason.to_owned(),
    }
}

/// The probe set as a golden keeps it.
fn kept(set: &ProbeSet, manifest: &Manifest) -> Result<Probes> {
    let layout = set.layout();
    let (reading, tensor) = match set.values() {
        None => {
            let shape = vec![set.len(), layout.channels, layout.height, layout.width];
            let bytes = set.pictures().flat_map(|planar| planar.iter().copied()).collect();
            (Reading::of(&manifest.input), Typed::new(Dtype::U8, shape, bytes)?)
        }
        Some(values) => {
            let shape = [&[set.len()], manifest.input.shape.as_slice()].concat();
            (Reading::Values, Typed::float32(shape, values)?)
        }
    };
    let made = probe_file(manifest).is_none() && manifest.probes.data.is_none();
    Ok(Probes {
        sha256: set.sha256(),
        count: set.len(),
        asked: Some(set.asked()).filter(|&asked| made && asked > set.len()),
        seed: made.then_some(manifest.probes.seed),
        made_from: Vec::new(),
        labels: set.labels().map(<[u32]>::to_vec),
        inputs: vec![ProbeInput {
            name: manifest.input.name.clone(),
            reading,
            batch_axis: Some(0),
            tensors: vec![tensor],
        }],
    })
}

/// `path` as it is named from within `folder`, where both can be placed.
pub(crate) fn relative(path: &Path, folder: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let folder = std::path::absolute(folder).ok()?;
    let common = path.components().zip(folder.components()).take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(common).map(|_| std::path::Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(common)).collect();
    relative.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
