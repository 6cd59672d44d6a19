//! The endpoint that the manifest names: looked at in a worker, held to the model before it is asked anything.

use std::collections::BTreeMap;

use super::border::Declared;
use super::execute::Artifacts;
use super::own;
use super::servable::precision_of;
use super::workspace::Workspace;
use crate::check::under_load::NAME;
use crate::convert::Artifact;
use crate::convert::artifact::bytes_at;
use crate::convert::own::fits;
use crate::digest::digest_bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::findings::{CellReport, CheckResult};
use crate::manifest::Manifest;
use crate::manifest::serve::Endpoint;
use crate::plan::{PlannedCell, Probes};
use crate::repository::keys;
use crate::runtime::{Installation, Obstacle, Probe, triton};
use crate::tensor::{Signature, shape_text};
use crate::vocabulary::{ArtifactKind, Library, Precision, Status};
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
        let held = held.and_then(|()| held_to_export(&served.provenance, manifest, model_sha256));
        if let Err(error) = held {
            let reason =
                format!("the model at `{}` is not the manifest's: {}", installation.file.display(), error.message);
            installation.run_obstacle =
                Some(Obstacle { status: Status::Invalid, reason, tried: error.causes, hint: error.hint });
        }
    }
}

/// Holds what an export wrote into a served configuration to the manifest's model and to `[serve] precision`.
fn held_to_export(provenance: &BTreeMap<String, String>, manifest: &Manifest, model_sha256: &str) -> Result<()> {
    if let Some(digest) = provenance.get(keys::MODEL).filter(|digest| *digest != model_sha256) {
        return Err(Error::invalid(format!("it was exported from another model, sha256 {digest}"))
            .cause(format!("the manifest's model has sha256 {model_sha256}"))
            .hint("export it again with `trtgate export --triton`, or name the model that is served"));
    }
    let Some(wanted) = manifest.serve.as_ref().map(|endpoint| endpoint.precision) else { return Ok(()) };
    let is_engine = provenance.get(keys::KIND).is_some_and(|kind| *kind == ArtifactKind::Engine.to_string());
    // An FP32 file is what these compute from; an engine was built for one of them.
    let of_file = match wanted {
        Precision::Tf32 | Precision::Fp16Flag if !is_engine => Precision::Fp32,
        precision => precision,
    };
    // An engine has any precision, and says it beside.
    let of_kind = |kind: &String| match kind.parse::<ArtifactKind>() {
        Ok(ArtifactKind::Engine) => None,
        Ok(kind) => Some(precision_of(kind).to_string()),
        Err(_) => Some("unknown".to_owned()),
    };
    let said = provenance.get(keys::PRECISION).map(|said| (keys::PRECISION, said, Some(said.clone())));
    let kind = provenance.get(keys::KIND).map(|kind| (keys::KIND, kind, of_kind(kind)));
    for (key, value, precision) in said.into_iter().chain(kind) {
        if precision.is_some_and(|precision| precision != of_file.to_string()) {
            return Err(Error::invalid(format!("its configuration says `{key}` {value}, and `[serve] precision` is {wanted}"))
                .hint("write the precision of what is served under `[serve]`, or serve what the manifest means; where a backend computes in another precision than its file has, take these parameters out"));
        }
    }
    Ok(())
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
    let unready = served.unready.as_ref().map(|said| {
        format!("the server of `{place}` does not say that it is live and ready itself ({said}); the model says that it is ready")
    });
    let mut told: Vec<String> = unready.into_iter().collect();
    told.push(whose(served, &workspace.model_sha256, artifacts, &place.to_string()));
    told
}

/// Which cells answered right under load while nothing shows that the server merged their requests: they pass without that proof.
pub(super) fn unproven(cells: &[CellReport]) -> Vec<String> {
    let note = |cell: &CellReport| {
        let unproven = |check: &&CheckResult| check.name == NAME && check.status == Status::Unavailable;
        let check = cell.checks.iter().find(unproven)?;
        Some(format!("{}: {} is unavailable, and no pass: {}", cell.id(), check.name, check.detail))
    };
    cells.iter().filter_map(note).collect()
}

/// Whether a served model says that it is the one that is gated.
fn whose(served: &triton::ServedModel, model_sha256: &str, artifacts: &Artifacts, place: &str) -> String {
    if served.provenance.get(keys::MODEL).is_none_or(|digest| digest != model_sha256) {
        return format!("the model served at `{place}` does not say which it is: its answers alone were judged");
    }
    let file = served.provenance.get(keys::ARTIFACT).map(|digest| {
        let same = artifacts.values().flatten().find(|artifact| artifact.sha256 == *digest);
        let short = digest.get(..12).unwrap_or(digest);
        same.map_or_else(
            || format!(", of the file with sha256 {short}…, which was not made here"),
            |artifact| format!(", of the `{}` that is gated here", artifact.kind),
        )
    });
    format!("the model served at `{place}` says that it is the model gated{}", file.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::same("int8", &[(keys::PRECISION, "int8"), (keys::KIND, "onnx-int8")], "")]
    #[case::engine("int8", &[(keys::PRECISION, "int8"), (keys::KIND, "engine")], "")]
    #[case::not_told("int8", &[], "")]
    #[case::tf32_of_its_file("tf32", &[(keys::PRECISION, "fp32"), (keys::KIND, "onnx-fp32")], "")]
    #[case::tf32_of_an_engine("tf32", &[(keys::PRECISION, "fp32"), (keys::KIND, "engine")], "`trtgate.precision` fp32")]
    #[case::precision("int8", &[(keys::PRECISION, "fp32")], "`trtgate.precision` fp32, and `[serve] precision` is int8")]
    #[case::kind("int8", &[(keys::KIND, "onnx-fp32")], "`trtgate.artifact` onnx-fp32, and `[serve] precision` is int8")]
    #[case::unknown_kind("fp32", &[(keys::KIND, "onnx-fp4")], "`trtgate.artifact` onnx-fp4")]
    #[case::the_kind_alone("fp32", &[(keys::PRECISION, "fp32"), (keys::KIND, "onnx-fp16")], "`trtgate.artifact` onnx-fp16")]
    fn what_an_export_says_of_its_precision_is_held_to_the_manifest(
        #[case] precision: &str,
        #[case] said: &[(&str, &str)],
        #[case] words: &str,
    ) {
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\n[serve]\nurl = \"http://h\"\nprecision = \"{precision}\"\n"
        );
        let manifest = Manifest::parse(&text, Path::new("gate.toml")).unwrap();
        let provenance = said.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        match held_to_export(&provenance, &manifest, "ab") {
            Ok(()) => assert_eq!(words, ""),
            Err(error) => assert!(!words.is_empty() && error.message.contains(words), "{error}"),
        }
    }

    #[test]
    fn what_is_not_proven_under_load_is_told_beside_the_verdict() {
        let mut report = crate::report::sample::passing();
        assert_eq!(unproven(&report.cells), [""; 0]);
        let check = |name: &str| CheckResult {
            name: name.to_owned(),
            status: Status::Unavailable,
            gating: false,
            detail: "merging is not proven".to_owned(),
        };
        report.cells[0].checks.extend([check("size"), check(NAME)]);
        let told = unproven(&report.cells);
        assert!(told.len() == 1 && told[0].ends_with("under-load is unavailable, and no pass: merging is not proven"));
    }
}
