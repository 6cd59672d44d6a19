//! The golden of the model that is gated: where it lies, whether it fits, what it says about the reference.

use std::path::{Path, PathBuf};

use safetensors::Dtype;

use crate::check::golden::{Golden, Origin, Output, ProbeInput, Probes, Reading, Typed};
use crate::check::pair::select_output;
use crate::data::ProbeSet;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::assemble::Reference;
use crate::gate::reference::{finite, open_reference};
use crate::gate::workspace::Workspace;
use crate::manifest::Manifest;

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

/// What cells are compared with: the stored golden of the model, if it is of this model and these probes.
pub(crate) fn reference(workspace: &Workspace, probes_sha256: &str, count: usize) -> Reference {
    let path = path_of(&workspace.manifest);
    match stored(&path) {
        Ok(None) => Reference::Live,
        Ok(Some(golden)) => match fitting(&golden, workspace, probes_sha256, count, &path) {
            Ok(output) => output.tensor().map_or_else(Reference::Refused, Reference::Golden),
            Err(error) => Reference::Refused(error),
        },
        Err(error) => Reference::Refused(error),
    }
}

/// The gated output of `golden`, if the golden is of the workspace's model and the probes in use.
fn fitting<'a>(
    golden: &'a Golden,
    workspace: &Workspace,
    probes_sha256: &str,
    count: usize,
    path: &Path,
) -> Result<&'a Output> {
    let output = gated_output(golden, &workspace.manifest, path)?;
    let foreign = |what: String| {
        let message = format!("golden `{}` {what}", path.display());
        Err(Error::invalid(message).hint("make it again with `trtgate bless`, and review how far it moved"))
    };
    let (origin, probes) = (&golden.origin, &golden.probes);
    if origin.model_sha256 != workspace.model_sha256 {
        let (golden, gated) = (short(&origin.model_sha256), short(&workspace.model_sha256));
        return foreign(format!("is of another model: `{}` ({golden}), the gated one is {gated}", origin.model));
    }
    if probes.sha256 != probes_sha256 {
        let (golden, used) = (short(&probes.sha256), short(probes_sha256));
        return foreign(format!("is of another probe set: {golden}, the one in use is {used}"));
    }
    if probes.count != count {
        return foreign(format!("holds {} probes, {count} are in use", probes.count));
    }
    Ok(output)
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

fn short(digest: &str) -> String {
    format!("sha256 {}", digest.get(..12).unwrap_or(digest))
}

/// The golden made of the reference's answers now; not stored.
///
/// # Errors
/// If the reference runtime is not here, or its answers cannot be a golden.
pub fn golden_now(workspace: &Workspace, reason: &str) -> Result<Golden> {
    let manifest = &workspace.manifest;
    let probe_set = workspace.probes()?;
    let samples = probe_set.samples()?;
    let mut reference = open_reference(workspace)?;
    let input = samples.tensor(0..samples.len())?;
    let outputs = finite(workspace, &input, select_output(reference.run(&input)?.outputs, &manifest.output.name)?)?;
    let shape = [samples.len(), manifest.output.classes];
    if outputs.shape != shape {
        return Err(Error::new(ErrorKind::Failed, format!("the reference gave outputs of shape {:?}", outputs.shape)));
    }
    let origin = Origin {
        model: manifest.model.name.clone(),
        model_sha256: workspace.model_sha256.clone(),
        manifest: relative(&manifest.path, &manifest.snapshots),
        runtime: reference.id().runtime.clone(),
        version: reference.version().to_owned(),
        precision: reference.id().precision,
        trtgate: Some(env!("CARGO_PKG_VERSION").to_owned()),
        created: super::now(),
        reason: reason.to_owned(),
    };
    let output = Output::classification(&manifest.output.name, manifest.output.kind, shape, &outputs.values)?;
    let golden = Golden { origin, outputs: vec![output], probes: kept(&probe_set, manifest)? };
    golden.check()?;
    Ok(golden)
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
    let made = manifest.probes.file.is_none() && manifest.probes.data.is_none();
    Ok(Probes {
        sha256: set.sha256(),
        count: set.len(),
        seed: made.then_some(manifest.probes.seed),
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
