//! Artifacts of the gate as models that Triton serves: inputs, outputs and batch out of the files themselves, with where they came
//! from.

use std::path::{Path, PathBuf};

use super::workspace::Workspace;
use crate::convert::Artifact;
use crate::digest::digest_file;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Manifest, MatrixRow};
use crate::repository::{self, Border, Servable, ServableBackend, ServedTensor, keys};
use crate::runtime::tensorrt::EngineMetadata;
use crate::runtime::tensorrt::plan_file;
use crate::vocabulary::{ArtifactKind, Library, Precision};

/// Which artifacts are served, and how.
#[derive(Clone, Debug, Default)]
pub struct ServableOptions<'a> {
    /// Only these kinds; all that the gate's cells start from where nothing is named.
    pub only: &'a [ArtifactKind],
    /// Batch sizes, the largest of which is served; the manifest's where nothing is named.
    pub batches: &'a [u32],
    /// Engines beside those of the manifest, as `trtgate build --out` writes them.
    pub engines: &'a [PathBuf],
    /// Microseconds that a request waits for others.
    pub queue_delay: Option<u64>,
}

/// The artifacts of `workspace` that Triton serves, each as a model of its own.
///
/// # Errors
/// `Unsupported`, with the reason, for a kind that Triton does not serve; what stands against a conversion.
pub fn servable(workspace: &Workspace, options: &ServableOptions<'_>) -> Result<Vec<Servable>> {
    let manifest = &workspace.manifest;
    let mut models = Vec::new();
    for kind in kinds(workspace, options.only)? {
        match workspace.artifact(kind, None) {
            Ok(artifact) => models.push(onnx(workspace, &artifact, options)?),
            // A file of the project's own is of one batch, and nobody asked for this one.
            Err(error) if error.kind == ErrorKind::Unsupported && options.only.is_empty() => {
                workspace.progress.note(&format!("`{kind}` is not served: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    if options.only.is_empty() || options.only.contains(&ArtifactKind::Engine) {
        for own in &manifest.engines {
            // Held to the digest that the manifest has.
            workspace.shipped.engine(own.precision)?;
            models.push(engine(workspace, &own.path, own.precision, options)?);
        }
    }
    for path in options.engines {
        let precision = beside(path)?.precision;
        models.push(engine(workspace, path, precision, options)?);
    }
    let twice = models
        .iter()
        .enumerate()
        .find(|(index, model)| models.iter().skip(index + 1).any(|other| other.name == model.name));
    if let Some((_, model)) = twice {
        return Err(
            Error::usage(format!("two engines are served as `{}`", model.name)).hint("name one engine a precision")
        );
    }
    if models.is_empty() {
        return Err(Error::usage("there is nothing that Triton serves").hint("name a kind: `--only onnx-fp32`"));
    }
    Ok(models)
}

/// The kinds that are asked for, each of which Triton serves.
fn kinds(workspace: &Workspace, only: &[ArtifactKind]) -> Result<Vec<ArtifactKind>> {
    let served = [
        ArtifactKind::OnnxFp32,
        ArtifactKind::OnnxFp16,
        ArtifactKind::OnnxInt8,
        ArtifactKind::OnnxInt8Cpu,
        ArtifactKind::OnnxFp8,
    ];
    if let Some(kind) = only.iter().find(|kind| !served.contains(kind) && **kind != ArtifactKind::Engine) {
        let (reason, hint) = match kind {
            ArtifactKind::SavedModel => (
                "Triton's TensorFlow backend is deprecated as of release 25.03 and gone after 25.04",
                "serve what the gate converts: `--only onnx-fp32`, or an engine",
            ),
            ArtifactKind::OnnxPlain => (
                "it is the form that converters start from, and no cell of ONNX Runtime runs it",
                "serve `onnx-fp32`, the model itself",
            ),
            ArtifactKind::Served => ("it is an endpoint that serves already", "serve a file: `--only onnx-fp32`"),
            _ => ("Triton has no backend for TFLite files", "serve what the gate converts: `--only onnx-int8-cpu`"),
        };
        return Err(Error::unsupported(format!("`{kind}` is not served by Triton")).cause(reason).hint(hint));
    }
    if !only.is_empty() {
        return Ok(served.into_iter().filter(|kind| only.contains(kind)).collect());
    }
    let rows = &workspace.manifest.matrix;
    let sources =
        |row: &MatrixRow| row.precisions.iter().map(|&precision| row.library.source(precision)).collect::<Vec<_>>();
    let started: Vec<ArtifactKind> = rows.iter().flat_map(sources).collect();
    // The FP32 file is the model, and always served.
    let starts = |kind: &ArtifactKind| *kind == ArtifactKind::OnnxFp32 || started.contains(kind);
    Ok(served.into_iter().filter(starts).collect())
}

/// The precision of a file that is served.
pub(super) fn precision_of(kind: ArtifactKind) -> Precision {
    match kind {
        ArtifactKind::OnnxFp16 => Precision::Fp16,
        ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu => Precision::Int8,
        ArtifactKind::OnnxFp8 => Precision::Fp8,
        _ => Precision::Fp32,
    }
}

fn onnx(workspace: &Workspace, artifact: &Artifact, options: &ServableOptions<'_>) -> Result<Servable> {
    let manifest = &workspace.manifest;
    let border = border(&artifact.path)?;
    let gated = options.batches.iter().chain(if options.batches.is_empty() { &manifest.batches[..] } else { &[] });
    let max_batch_size = if has_batch(manifest, &border) { gated.copied().max().unwrap_or(1) } else { 0 };
    let name = format!("{}-{}", manifest.model.name, artifact.kind);
    let parameters = vec![
        (keys::MODEL, workspace.model_sha256.clone()),
        (keys::ARTIFACT, artifact.sha256.clone()),
        (keys::KIND, artifact.kind.to_string()),
        (keys::PRECISION, precision_of(artifact.kind).to_string()),
        (keys::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let file = (artifact.path.clone(), artifact.sha256.clone(), None);
    model(manifest, name, ServableBackend::Onnxruntime, file, (&border, max_batch_size), options, parameters)
}

/// Inputs and outputs of an ONNX file.
fn border(path: &Path) -> Result<Border> {
    repository::border(path).map_err(|error| error.context(format!("`{}` cannot be served", path.display())))
}

/// Whether Triton may put requests together along the first dimension of every input and output: the files say that it is open,
/// and the manifest that samples lie there.
fn has_batch(manifest: &Manifest, border: &Border) -> bool {
    let along_first = manifest.interface.as_ref().is_none_or(|interface| {
        let axes = interface.axes();
        axes.inputs.is_empty() && axes.outputs.is_empty() && !interface.inputs.iter().any(|input| input.shared)
    });
    along_first && repository::is_open_first(border)
}

/// The file, its digest, and what stands beside it.
type ServedFile = (PathBuf, String, Option<PathBuf>);

fn model(
    manifest: &Manifest,
    name: String,
    backend: ServableBackend,
    (file, sha256, beside): ServedFile,
    (border, max_batch_size): (&Border, u32),
    options: &ServableOptions<'_>,
    parameters: Vec<(&'static str, String)>,
) -> Result<Servable> {
    if options.queue_delay.is_some() && max_batch_size == 0 {
        return Err(Error::unsupported(format!(
            "requests to `{name}` cannot be put together: it has no batch that is open"
        ))
        .hint("leave `--dynamic-batching` out, or name the kinds that have one: `--only KIND`"));
    }
    let (inputs, outputs) = repository::tensors(border, max_batch_size > 0)
        .map_err(|error| error.context(format!("`{name}` cannot be served")))?;
    // Labels are of a classifier's one output, and a class a value: Triton takes those of four samples in one tensor for 4 × classes.
    let values = |output: &ServedTensor| output.dims.iter().fold(1_i64, |all, &dim| all.saturating_mul(dim));
    let classes = i64::try_from(manifest.output.labels.len()).unwrap_or_default();
    let labelled = manifest.interface.is_none() && matches!(outputs.as_slice(), [output] if values(output) == classes);
    let labels = if labelled { manifest.output.labels.clone() } else { Vec::new() };
    if let Some(label) = labels.iter().find(|label| label.contains(['\n', '\r'])) {
        return Err(Error::unsupported(format!(
            "the label {label:?} has a line break, and Triton reads a label a line"
        )));
    }
    let queue_delay = options.queue_delay;
    Ok(Servable {
        name,
        backend,
        file,
        sha256,
        beside,
        max_batch_size,
        inputs,
        outputs,
        labels,
        queue_delay,
        parameters,
    })
}

/// What stands beside an engine.
fn beside(path: &Path) -> Result<EngineMetadata> {
    let header = plan_file::begins(path);
    if header.as_ref().is_some_and(|header| header.is_rtx) {
        return Err(Error::unsupported(format!("`{}` is an engine of TensorRT for RTX", path.display()))
            .cause("Triton's TensorRT backend loads engines of TensorRT alone")
            .hint("build it with TensorRT (`trtgate build --runtime tensorrt`), or serve the ONNX file"));
    }
    let metadata = EngineMetadata::beside(path)?.ok_or_else(|| {
        Error::missing(format!(
            "nothing stands beside the engine `{}` that tells its inputs and outputs",
            path.display()
        ))
        .cause("an engine tells them to its own library alone")
        .hint("build it with `trtgate build --out FILE`, which writes `FILE.json`, and keep the two together")
    })?;
    if metadata.environment.runtime.library == Library::TensorrtRtx {
        return Err(Error::unsupported(format!("`{}` is an engine of TensorRT for RTX", path.display()))
            .cause("Triton's TensorRT backend loads engines of TensorRT alone"));
    }
    Ok(metadata)
}

fn engine(workspace: &Workspace, path: &Path, precision: Precision, options: &ServableOptions<'_>) -> Result<Servable> {
    let manifest = &workspace.manifest;
    let metadata = beside(path)?;
    let sha256 = digest_file(path)?;
    if sha256 != metadata.sha256 {
        return Err(Error::input(format!("`{}` is not the engine that its metadata describes", path.display()))
            .hint("build the engine again"));
    }
    if metadata.fixed {
        return Err(Error::unsupported(format!(
            "`{}` is static, and its file does not say for which sizes of outputs",
            path.display()
        ))
        .hint("build it with profiles"));
    }
    let border = built_from(workspace, path, &metadata)?;
    // The smallest of the profiles' largest: a server takes the nearest profile, whatever it ends at.
    let of_ranges = metadata.ranges.iter().flatten().map(|range| range.shapes[2].first().copied().unwrap_or(0));
    let of_ranges = of_ranges.map(|size| u32::try_from(size).unwrap_or(u32::MAX)).min();
    let of_profiles = metadata.profiles.iter().map(|[_, _, largest]| *largest).min();
    let largest = of_ranges.or(of_profiles).filter(|_| has_batch(manifest, &border)).unwrap_or(0);
    let profiles = metadata.ranges.len().max(metadata.profiles.len());
    let unnamed = || "none".to_owned();
    let parameters = vec![
        (keys::MODEL, workspace.model_sha256.clone()),
        (keys::ARTIFACT, sha256.clone()),
        (keys::KIND, ArtifactKind::Engine.to_string()),
        (keys::PRECISION, precision.to_string()),
        (keys::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (keys::TENSORRT, metadata.environment.version.clone()),
        (keys::DEVICE, metadata.environment.gpu.clone().unwrap_or_else(unnamed)),
    ];
    let name = format!("{}-plan-{precision}", manifest.model.name);
    let file = (path.to_owned(), sha256, Some(crate::runtime::tensorrt::metadata::metadata_path(path)));
    model(manifest, name, ServableBackend::Tensorrt { profiles }, file, (&border, largest), options, parameters)
}

/// Inputs and outputs of the ONNX file that an engine was built from, which are its own.
fn built_from(workspace: &Workspace, path: &Path, metadata: &EngineMetadata) -> Result<Border> {
    let kinds: &[ArtifactKind] = match metadata.precision {
        Precision::Fp16 => &[ArtifactKind::OnnxFp16],
        Precision::Int8 => &[ArtifactKind::OnnxInt8],
        Precision::Fp8 => &[ArtifactKind::OnnxFp8],
        _ => &[ArtifactKind::OnnxFp32, ArtifactKind::OnnxPlain],
    };
    for &kind in kinds {
        let artifact = workspace.artifact(kind, None)?;
        if artifact.sha256 == metadata.onnx_sha256 {
            return border(&artifact.path);
        }
    }
    Err(Error::invalid(format!("`{}` was built from another ONNX file than this model's", path.display()))
        .cause(format!("its own is {}", metadata.onnx_sha256))
        .hint("build it again from this model: `trtgate build`"))
}

#[cfg(test)]
mod tests;
