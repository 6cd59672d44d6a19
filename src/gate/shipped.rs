//! Engine files of the project's own: read once into the store, held to the FP32 source, gated as they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::border::Declared;
use super::own;
use super::served;
use super::workspace::Workspace;
use crate::convert::Artifact;
use crate::convert::artifact::bytes_at;
use crate::convert::own::{fits, keep_engine};
use crate::convert::pin::renamed;
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::manifest::engines::OwnEngine;
use crate::plan::PlannedCell;
use crate::runtime::tensorrt::plan_file;
use crate::tensor::Signature;
use crate::vocabulary::{ArtifactKind, Precision};

/// The engines that ship.
#[derive(Default)]
pub(crate) struct Shipped {
    /// The file as the manifest names it, and its copy, by the precision that each is held to.
    engines: BTreeMap<Precision, (PathBuf, Result<Artifact>)>,
    /// The inputs that are fed and the outputs that are looked at; read where there are engines.
    wanted: Option<Result<Signature>>,
}

impl Shipped {
    /// Reads what the manifest names. What is wrong with one file is for its cells to tell: others can be judged.
    pub(super) fn read(manifest: &Manifest, declared: Option<&Declared>, store: &Store) -> Self {
        let kept = |engine: &OwnEngine| (engine.precision, (engine.path.clone(), keep_engine(engine, store)));
        let engines: BTreeMap<_, _> = manifest.engines.iter().map(kept).collect();
        let wanted = (!engines.is_empty()).then(|| own::wanted(manifest, declared));
        Self { engines, wanted }
    }

    /// The engine that a cell of `precision` runs.
    ///
    /// # Errors
    /// Why its file cannot be used; that there is none, for a library that builds none.
    pub(crate) fn engine(&self, precision: Precision) -> Result<Artifact> {
        self.engines.get(&precision).map(|(_, kept)| kept.clone()).unwrap_or_else(|| {
            Err(Error::unsupported("the lean runtime runs engines that another TensorRT built, and there is none")
                .hint(format!("name one: `engine = {{ {precision} = \"model.plan\" }}` under `[artifacts]`")))
        })
    }

    /// `error` with the files' own names wherever it names their copies.
    pub(super) fn named_in(&self, error: Error) -> Error {
        self.engines.values().fold(error, |error, (named, kept)| match kept {
            Ok(kept) => renamed(&kept.path, named, error),
            Err(_) => error,
        })
    }

    /// Holds the tensors of an engine to the FP32 source's.
    ///
    /// # Errors
    /// `Input`, with the tensor that is another.
    pub(crate) fn hold(&self, found: &Signature) -> Result<()> {
        match &self.wanted {
            None => Ok(()),
            Some(wanted) => fits(found, wanted.as_ref().map_err(Clone::clone)?)
                .map_err(|error| error.context("the engine that ships is not of this model")),
        }
    }
}

impl Workspace {
    /// The artifact that `cell` starts from.
    ///
    /// # Errors
    /// As [`Workspace::artifact`].
    pub(super) fn artifact_of(&self, cell: &PlannedCell) -> Result<Artifact> {
        match cell.artifact {
            ArtifactKind::Engine => self.shipped.engine(cell.id.precision),
            ArtifactKind::Served => served::artifact(&self.manifest, &cell.id.runtime),
            kind => self.artifact(kind, kind.static_batch(cell.id.batch)),
        }
    }

    /// What is there as it was given: the model's own source.
    ///
    /// # Errors
    /// `Unsupported` where the model has no such source, `Usage` of what is served: that is asked at the place of each cell.
    pub(super) fn source_artifact(&self, kind: ArtifactKind) -> Result<Artifact> {
        if kind == ArtifactKind::Served {
            return Err(Error::usage("what is served is asked where it is, and lies nowhere here"));
        }
        let source = &self.manifest.model.source;
        if source.kind() != kind {
            let wanted = if kind == ArtifactKind::SavedModel { "SavedModel" } else { "TFLite file" };
            let format = source.format();
            return Err(Error::unsupported(format!("the model's source is {format}; it has no {wanted}")));
        }
        let (path, sha256) = (source.path().to_owned(), self.model_sha256.clone());
        let bytes = bytes_at(&path)?;
        Ok(Artifact { kind, path, sha256, bytes, build_seconds: 0.0, cached: true })
    }
}

/// What a report says of the engines that cells of `plan` run.
pub(super) fn told(workspace: &Workspace, plan: &[PlannedCell]) -> Vec<String> {
    let runs = |engine: &&OwnEngine| {
        let own = |cell: &PlannedCell| cell.artifact == ArtifactKind::Engine && cell.id.precision == engine.precision;
        plan.iter().any(own)
    };
    let told = |engine: &OwnEngine| {
        let artifact = workspace.shipped.engine(engine.precision).ok()?;
        let digest = artifact.sha256.get(..12).unwrap_or(&artifact.sha256);
        let header = plan_file::begins(&artifact.path);
        let by = header.and_then(|header| {
            let on = header.built_on().map(|on| format!(" on {on}"));
            Some(format!(", built by {}{}", header.built_by()?, on.unwrap_or_default()))
        });
        Some(format!(
            "the {} engine under test is the engine shipped: `{}` (sha256 {digest}…, {} bytes{}); trtgate did not build it",
            engine.precision,
            engine.path.display(),
            artifact.bytes,
            by.unwrap_or_default()
        ))
    };
    workspace.manifest.engines.iter().filter(runs).filter_map(told).collect()
}

#[cfg(test)]
mod tests;
