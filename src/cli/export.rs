//! `trtgate export`: every portable artifact of the model, into the store and, with `--output`, into a folder that
//! another machine can gate from.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::selection::WorkspaceArguments;
use crate::cli::{EXIT_PASS, Global, output};
use crate::console;
use crate::convert::Artifact;
use crate::convert::bundle::{Beside, Bundle};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{self, ServableOptions, Workspace};
use crate::manifest::Manifest;
use crate::repository::publish;
use crate::vocabulary::{ArtifactKind, Library, Precision};

/// Arguments of `trtgate export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Also copy everything into this folder, with a list that `--artifacts DIR` of other commands reads
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Only this kind of artifact (repeatable): onnx-fp32, onnx-plain, onnx-fp16, onnx-int8, onnx-int8-cpu, tflite-int8
    #[arg(long, value_name = "KIND")]
    only: Vec<ArtifactKind>,
    /// Write a Triton model repository there: a model an artifact, a further version beside those that are there
    #[arg(long, value_name = "DIR")]
    triton: Option<PathBuf>,
    /// Of a Triton repository: an engine that `trtgate build --out` wrote, beside those of the manifest (repeatable)
    #[arg(long, value_name = "FILE", requires = "triton")]
    engine: Vec<PathBuf>,
    /// Of a Triton repository: put requests together, each waiting so many microseconds for others at most
    #[arg(long, value_name = "MICROSECONDS", requires = "triton")]
    dynamic_batching: Option<u64>,
    /// Only this batch size, for artifacts that are made for one (repeatable; default: those of the manifest)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Vec<u32>,
    #[command(flatten)]
    workspace: WorkspaceArguments,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &ExportArguments) -> Result<u8> {
    let mut options = arguments.workspace.options(global)?;
    options.several = true;
    let workspace = Workspace::open(&options)?;
    if let Some(repository) = &arguments.triton {
        serve(&workspace, arguments, repository)?;
        if arguments.output.is_none() {
            return Ok(EXIT_PASS);
        }
    }
    let manifest = &workspace.manifest;
    let is_own = |kind| manifest.artifacts.iter().any(|own| own.form.stands_for(kind));
    let mut made = Vec::new();
    for (kind, batch) in wanted(manifest, &arguments.only, &arguments.batch)? {
        let artifact = match workspace.artifact(kind, batch) {
            // A file of the project's own is of one batch.
            Err(error) if error.kind == ErrorKind::Unsupported && arguments.batch.is_empty() && is_own(kind) => {
                continue;
            }
            made => made?,
        };
        // A model that needs no other form for the converters is listed once.
        if artifact.kind == kind {
            made.push((batch, artifact));
        }
    }
    if let Some(folder) = &arguments.output {
        // TensorRT's own calibrator starts from the FP32 graph, and needs the samples beside it; several inputs may have none.
        let needs = |kind| kind == ArtifactKind::OnnxFp32 && is_calibrated(manifest) || is_made_of_samples(kind);
        let calibration =
            made.iter().any(|(_, artifact)| needs(artifact.kind)).then(|| workspace.calibration()).transpose()?;
        let (name, digest) = (&manifest.model.name, &workspace.model_sha256);
        // Without them a machine that cannot run the reference would have no probes. Those of several inputs are made by their kinds, or
        // lie where the manifest says.
        let one_input = manifest.interface.is_none();
        let probes = if one_input { gate::samples::carried_with_artifacts(&workspace)? } else { None };
        // Where the reference cannot be asked, a golden may still hold them.
        let natural = match one_input.then(|| workspace.natural()) {
            None => None,
            Some(Ok(natural)) => Some(natural.to_bytes()?),
            Some(Err(error)) if error.kind == ErrorKind::Missing => None,
            Some(Err(error)) => return Err(error),
        };
        let scales = gate::proofs_of_scales(&workspace, made.iter().map(|(_, artifact)| artifact));
        for (kind, error) in scales.iter().filter_map(|(artifact, proof)| Some((artifact.kind, proof.as_ref().err()?)))
        {
            console::note(&format!("the scales of `{kind}` could not be held to the calibration: {error}"));
        }
        let scales: Vec<_> = scales
            .into_iter()
            .filter_map(|(artifact, proof)| Some((artifact.sha256.clone(), proof.ok()?)))
            .filter(|(_, proof)| proof.unchecked.is_none())
            .collect();
        let beside = Beside {
            calibration: calibration.as_deref(),
            probes: probes.as_ref(),
            natural: natural.as_deref(),
            scales: &scales,
        };
        let bundle = Bundle::write(folder, name, digest, &made, &beside, &manifest.calibration)?;
        // What was copied is held to the list, and listed where it lies now.
        for (batch, artifact) in &mut made {
            artifact.path = bundle.artifact(artifact.kind, *batch)?.path;
        }
        console::note(&format!("wrote {} artifacts to `{}`", made.len(), folder.display()));
    }
    output::written(write_table(&mut anstream::stdout().lock(), &made))?;
    Ok(EXIT_PASS)
}

/// Writes the artifacts as models of a Triton repository; a line each on standard output.
fn serve(workspace: &Workspace, arguments: &ExportArguments, repository: &Path) -> Result<()> {
    let models = gate::servable(
        workspace,
        &ServableOptions {
            only: &arguments.only,
            batches: &arguments.batch,
            engines: &arguments.engine,
            queue_delay: arguments.dynamic_batching,
        },
    )?;
    // What cannot be served was refused before anything is written.
    for model in &models {
        let published = publish(repository, model)?;
        let batch = match model.max_batch_size {
            0 => "shapes as they are".to_owned(),
            largest => format!("batches up to {largest}"),
        };
        console::note(&format!(
            "`{}` version {} is served by {}, {batch}",
            published.name,
            published.version,
            model.backend.name()
        ));
        output::data(&published.file.display().to_string())?;
    }
    Ok(())
}

/// What is to be made: everything that the manifest's cells start from, or the kinds asked for.
fn wanted(manifest: &Manifest, only: &[ArtifactKind], batches: &[u32]) -> Result<Vec<(ArtifactKind, Option<u32>)>> {
    let is_made = |kind: ArtifactKind| !kind.is_given() && kind != ArtifactKind::Engine;
    if let Some(kind) = only.iter().find(|kind| !is_made(**kind)) {
        return Err(Error::usage(format!("`{kind}` is not made by `trtgate export`")).hint(
            "engines are made by `trtgate build`, a SavedModel or a TFLite file in floats by the framework that trained it",
        ));
    }
    let has_litert = manifest.matrix.iter().any(|row| row.library == Library::Litert);
    let brought = |kind: ArtifactKind| manifest.artifacts.iter().any(|own| own.form.stands_for(kind));
    let batches = if batches.is_empty() { &manifest.batches } else { batches };
    let mut wanted = Vec::new();
    for &kind in ArtifactKind::ALL {
        let asked = match only {
            // No converter makes a file of 8-bit floats.
            [] if kind == ArtifactKind::OnnxFp8 => brought(kind),
            [] if is_made_of_samples(kind) && !is_calibrated(manifest) => false,
            [] => kind.static_batch(1).is_none() || has_litert,
            only => only.contains(&kind),
        };
        if asked && is_made(kind) {
            wanted.extend(batches.iter().map(|&batch| (kind, kind.static_batch(batch))));
            wanted.dedup();
        }
    }
    Ok(wanted)
}

const fn is_made_of_samples(kind: ArtifactKind) -> bool {
    matches!(kind, ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu | ArtifactKind::TfliteInt8)
}

/// Whether the manifest's model is calibrated without being asked for INT8: one of several inputs is not, whose samples may have no
/// others beside them.
fn is_calibrated(manifest: &Manifest) -> bool {
    let int8 = |precision: &Precision| matches!(precision, Precision::Int8 | Precision::Int8Calibrated);
    manifest.interface.is_none() || manifest.matrix.iter().any(|row| row.precisions.iter().any(int8))
}

fn write_table(stream: &mut impl Write, made: &[(Option<u32>, Artifact)]) -> std::io::Result<()> {
    writeln!(stream, "{:<16} {:>5} {:>12} {:>8}  {:<12}  file", "artifact", "batch", "bytes", "seconds", "sha256")?;
    for (batch, artifact) in made {
        let batch = batch.map_or_else(|| "N".to_owned(), |batch| batch.to_string());
        let digest = artifact.sha256.get(..12).unwrap_or(&artifact.sha256);
        let seconds = if artifact.cached { "stored".to_owned() } else { format!("{:.1}", artifact.build_seconds) };
        let kind = artifact.kind.as_str();
        let path: &Path = &artifact.path;
        writeln!(
            stream,
            "{kind:<16} {batch:>5} {:>12} {seconds:>8}  {digest:<12}  {}",
            artifact.bytes,
            path.display()
        )?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn manifest(source: &str) -> Manifest {
        let own = if source.contains("[artifacts]") { ", \"fp8\"" } else { "" };
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\n{source}\n[input]\nname = \"x\"\nshape = [8]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\nkind = \"logits\"\n[matrix]\nbatches = [1, 8]\n\
             [matrix.runtimes]\nonnxruntime = [\"fp32\"{own}]\nlitert = [\"int8\"]\n"
        );
        Manifest::parse(&text, Path::new("gate.toml")).unwrap()
    }

    fn names(source: &str, only: &[ArtifactKind], batches: &[u32]) -> Vec<String> {
        let wanted = wanted(&manifest(source), only, batches).unwrap();
        let name = |(kind, batch): (ArtifactKind, Option<u32>)| {
            batch.map_or_else(|| kind.to_string(), |batch| format!("{kind}@{batch}"))
        };
        wanted.into_iter().map(name).collect()
    }

    #[test]
    fn everything_that_the_source_allows_is_made() {
        let onnx = ["onnx-fp32", "onnx-plain", "onnx-fp16", "onnx-int8", "onnx-int8-cpu"];
        let saved_model = "saved-model = \"model\"";
        assert_eq!(names(saved_model, &[], &[]), [&onnx[..], &["tflite-int8@1", "tflite-int8@8"]].concat());
        assert_eq!(names(saved_model, &[ArtifactKind::TfliteInt8], &[32]), ["tflite-int8@32"]);
        let brought = "saved-model = \"model\"\n[artifacts]\nfp8 = \"net.onnx\"";
        assert!(names(brought, &[], &[]).contains(&"onnx-fp8".to_owned()));
    }

    #[test]
    fn an_engine_is_not_exported() {
        let error = wanted(&manifest("saved-model = \"model\""), &[ArtifactKind::Engine], &[]).unwrap_err();
        assert_eq!(error.message, "`engine` is not made by `trtgate export`");
    }

    #[test]
    fn the_table_lines_up() {
        let artifact = Artifact {
            kind: ArtifactKind::OnnxFp32,
            path: "store/model.onnx".into(),
            sha256: "0123456789abcdef".into(),
            bytes: 14_927_213,
            build_seconds: 3.26,
            cached: false,
        };
        let stored = Artifact { cached: true, kind: ArtifactKind::TfliteInt8, ..artifact.clone() };
        let mut text = Vec::new();
        write_table(&mut text, &[(None, artifact), (Some(8), stored)]).unwrap();
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @r"
        artifact         batch        bytes  seconds  sha256        file
        onnx-fp32            N     14927213      3.3  0123456789ab  store/model.onnx
        tflite-int8          8     14927213   stored  0123456789ab  store/model.onnx
        ");
    }
}
