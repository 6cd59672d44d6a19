//! The endpoint that the manifest names: looked at in a worker, held to the model before it is asked anything.

use super::border::Declared;
use super::execute::Artifacts;
use super::own;
use super::workspace::Workspace;
use crate::convert::Artifact;
use crate::convert::artifact::bytes_at;
use crate::convert::own::fits;
use crate::digest::digest_bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Manifest;
use crate::manifest::serve::Endpoint;
use crate::plan::{PlannedCell, Probes};
use crate::repository::keys;
use crate::runtime::{Installation, Obstacle, Probe, triton};
use crate::tensor::{Signature, shape_text};
use crate::vocabulary::{ArtifactKind, Library, Status};
use crate::worker::{Limits, Worker, WorkerProgram};

/// `program` with the variable that holds the endpoint's token, which a worker gets no other way.
pub(super) fn with_token(mut program: WorkerProgram, manifest: &Manifest) -> WorkerProgram {
    let variable = manifest.serve.as_ref().and_then(|endpoint| endpoint.token_variable.clone());
    if let Some((name, value)) = variable.and_then(|name| Some((name.clone(), std::env::var(name).ok()?))) {
        program.environment.push((name, value));
    }
    program
}

/// Looks at the endpoint in a worker: what a server sends is a stranger's.
///
/// # Errors
/// If a worker cannot be started.
pub(super) fn probe(endpoint: &Endpoint, program: &WorkerProgram, limits: Limits) -> Result<Probe> {
    let mut worker = Worker::start(program, limits)?;
    Ok(worker.look(endpoint).unwrap_or_else(|error| {
        let error = error.context("looking at the server ended the worker");
        Probe { found: vec![triton::damaged(endpoint, "unknown", &error)], missing: None }
    }))
}

/// Holds what a server declares to the model that the manifest names: inputs, outputs, and the model that an export names in the
/// configuration. What does not fit makes every cell of it `invalid`, before a request is sent.
pub(super) fn hold(probes: &mut Probes, manifest: &Manifest, declared: Option<&Declared>, model_sha256: &str) {
    let found =
        probes.iter_mut().filter(|(library, _)| *library == Library::Triton).flat_map(|(_, probe)| &mut probe.found);
    for installation in found.filter(|installation| installation.run_obstacle.is_none()) {
        let Some(served) = installation.served.clone() else { continue };
        let held = held(manifest, declared, served.signature.as_ref());
        let held =
            held.and_then(|()| match served.provenance.get(keys::MODEL).filter(|digest| *digest != model_sha256) {
                Some(digest) => Err(Error::invalid(format!("it was exported from another model, sha256 {digest}"))
                    .cause(format!("the manifest's model has sha256 {model_sha256}"))
                    .hint("export it again with `trtgate export --triton`, or name the model that is served")),
                None => Ok(()),
            });
        if let Err(error) = held {
            let reason =
                format!("the model at `{}` is not the manifest's: {}", installation.file.display(), error.message);
            installation.run_obstacle =
                Some(Obstacle { status: Status::Invalid, reason, tried: error.causes, hint: error.hint });
        }
    }
}

/// Holds the inputs and outputs that a server declares to those of the manifest.
fn held(manifest: &Manifest, declared: Option<&Declared>, found: Option<&Signature>) -> Result<()> {
    let found = found.ok_or_else(|| Error::invalid("the server declares no inputs and outputs"))?;
    let wanted = own::wanted(manifest, declared)?;
    let error = match fits(found, &wanted) {
        Ok(()) => return Ok(()),
        Err(error) => error.message,
    };
    let told = |side: &Signature| {
        let specs = |specs: &[crate::tensor::TensorSpec]| {
            let told =
                specs.iter().map(|spec| format!("`{}` {} {}", spec.name, spec.element_type, shape_text(&spec.shape)));
            told.collect::<Vec<_>>().join(", ")
        };
        format!("{} → {}", specs(&side.inputs), specs(&side.outputs))
    };
    Err(Error::invalid(error.replace("the FP32 source", "the manifest"))
        .cause(format!("served:   {}", told(found)))
        .cause(format!("manifest: {}", told(&wanted)))
        .hint("correct the configuration that is served, or `[serve]`, `[input]` and `[output]`"))
}

/// Holds a session's inputs and outputs to those that were looked at: a server may have loaded another model in the meantime.
///
/// # Errors
/// `Invalid` where they are others.
pub(super) fn hold_still(installation: &Installation, found: &Signature) -> Result<()> {
    let Some(seen) = installation.served.as_ref().and_then(|served| served.signature.as_ref()) else { return Ok(()) };
    let same = found.inputs == seen.inputs && found.outputs.iter().all(|output| seen.outputs.contains(output));
    if same {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Invalid, "the server loaded another model while it was gated"))
    }
}

impl Workspace {
    /// What is there as it was given: the model's own source, and what is served, of which nothing lies here.
    ///
    /// # Errors
    /// `Unsupported` where the model has no such source, `Usage` where the manifest names no server.
    pub(super) fn source_artifact(&self, kind: ArtifactKind) -> Result<Artifact> {
        if kind == ArtifactKind::Served {
            let endpoint = self.manifest.serve.as_ref();
            let place = endpoint.ok_or_else(|| Error::usage("no `[serve]` says where the model is served"))?.place();
            let sha256 = digest_bytes(place.as_bytes());
            return Ok(Artifact { kind, path: place.into(), sha256, bytes: 0, build_seconds: 0.0, cached: true });
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

/// What a report says of the model that is served, where cells of `plan` ask it: whether it says that it is the one that is gated.
pub(super) fn told(workspace: &Workspace, plan: &[PlannedCell], artifacts: &Artifacts) -> Vec<String> {
    let asked = plan.iter().find(|cell| cell.artifact == ArtifactKind::Served && cell.ability.obstacle().is_none());
    let installation = asked.and_then(|cell| cell.installation.as_ref());
    let Some((installation, served)) = installation.and_then(|found| Some((found, found.served.as_ref()?))) else {
        return Vec::new();
    };
    let place = installation.file.display();
    if served.provenance.get(keys::MODEL) != Some(&workspace.model_sha256) {
        return vec![format!("the model served at `{place}` does not say which it is: its answers alone were judged")];
    }
    let file = served.provenance.get(keys::ARTIFACT).map(|digest| {
        let same = artifacts.values().flatten().find(|artifact| artifact.sha256 == *digest);
        let short = digest.get(..12).unwrap_or(digest);
        same.map_or_else(
            || format!(", of the file with sha256 {short}…, which was not made here"),
            |artifact| format!(", of the `{}` that is gated here", artifact.kind),
        )
    });
    vec![format!("the model served at `{place}` says that it is the model gated{}", file.unwrap_or_default())]
}
