//! The endpoint that the manifest names: looked at in a worker, held to the model before it is asked anything.

use std::collections::BTreeMap;

use super::border::Declared;
use super::execute::Artifacts;
use super::own;
use super::servable::precision_of;
use super::workspace::Workspace;
use crate::check::under_load::NAME;
use crate::convert::Artifact;
use crate::convert::own::fits;
use crate::digest::digest_bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::findings::{CellReport, CheckResult};
use crate::manifest::Manifest;
use crate::manifest::serve::{Endpoint, Serve};
use crate::plan::{PlannedCell, Probes};
use crate::repository::keys;
use crate::runtime::locate::UNKNOWN_VERSION;
use crate::runtime::{Installation, Obstacle, Probe, triton};
use crate::tensor::{Signature, shape_text};
use crate::vocabulary::{ArtifactKind, Library, Precision, RuntimeId, Status};
use crate::worker::{Limits, Worker, WorkerProgram};

/// `program` with the variable that holds the endpoint's token, which a worker gets no other way.
pub(super) fn with_token(mut program: WorkerProgram, manifest: &Manifest) -> WorkerProgram {
    let variable = manifest.serve.as_ref().and_then(Serve::token_variable);
    if let Some((name, value)) = variable.and_then(|name| Some((name, std::env::var(name).ok()?))) {
        program.environment.push((name.to_owned(), value));
    }
    program
}

/// Looks at the endpoints in workers: what a server sends is a stranger's. Where protocols are listed, each is there in any case,
/// with what is in its way.
///
/// # Errors
/// If a worker cannot be started.
pub(super) fn probe(serve: &Serve, program: &WorkerProgram, limits: Limits) -> Result<Probe> {
    let mut looked = Vec::with_capacity(serve.endpoints.len());
    for endpoint in &serve.endpoints {
        let mut worker = Worker::start(program, limits)?;
        let probe = worker.look(endpoint).unwrap_or_else(|error| {
            let error = error.context("looking at the server ended the worker");
            Probe { found: vec![triton::damaged(endpoint, UNKNOWN_VERSION, &error)], missing: None }
        });
        looked.push((endpoint, probe));
    }
    Ok(if serve.named { by_protocol(serve, looked) } else { looked.pop().map(|(_, probe)| probe).unwrap_or_default() })
}

/// What was found over each protocol, as an installation each. A server that answers over one of them is there: that it does not over
/// another is its fault or the manifest's, and nothing that this machine lacks.
fn by_protocol(serve: &Serve, looked: Vec<(&Endpoint, Probe)>) -> Probe {
    let answers = looked.iter().find(|(_, probe)| !probe.found.is_empty()).map(|(endpoint, _)| endpoint.place());
    let mut found = Vec::with_capacity(looked.len());
    for (endpoint, probe) in looked {
        let missing = probe.missing.map(|obstacle| match &answers {
            Some(place) => Obstacle {
                status: Status::Invalid,
                reason: format!("{}, and `{place}` is answered at", obstacle.reason),
                ..obstacle
            },
            None => obstacle,
        });
        let missing = missing.map(|obstacle| triton::obstructed(endpoint, UNKNOWN_VERSION, obstacle));
        let named = |found: Installation| Installation { id: serve.runtime(endpoint), ..found };
        found.extend(probe.found.into_iter().chain(missing).map(named));
    }
    Probe { found, missing: None }
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
    let Some(wanted) = manifest.serve.as_ref().map(|serve| serve.precision) else { return Ok(()) };
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

/// What cells of `runtime` start from: the place where it is asked, of which nothing lies here.
///
/// # Errors
/// `Usage` where the manifest names no such place.
pub(super) fn artifact(manifest: &Manifest, runtime: &RuntimeId) -> Result<Artifact> {
    let endpoint = manifest.endpoint_of(runtime);
    let place = endpoint.ok_or_else(|| Error::usage("no `[serve]` says where the model is served"))?.place();
    let sha256 = digest_bytes(place.as_bytes());
    let kind = ArtifactKind::Served;
    Ok(Artifact { kind, path: place.into(), sha256, bytes: 0, build_seconds: 0.0, cached: true })
}

/// What a report says of the model that is served, where cells of `plan` ask it: whether it says that it is the one that is gated, and
/// whether what answers over one protocol is what answers over another.
pub(super) fn told(workspace: &Workspace, plan: &[PlannedCell], artifacts: &Artifacts) -> Vec<String> {
    let asked = plan.iter().filter(|cell| cell.artifact == ArtifactKind::Served && cell.ability.obstacle().is_none());
    let mut installations: Vec<&Installation> = Vec::new();
    for installation in asked.filter_map(|cell| cell.installation.as_ref()) {
        if installations.iter().all(|known| known.id != installation.id) {
            installations.push(installation);
        }
    }
    let mut told = Vec::new();
    for installation in &installations {
        let Some(served) = &installation.served else { continue };
        let place = installation.file.display();
        told.extend(served.unready.as_ref().map(|said| {
            format!("the server of `{place}` does not say that it is live and ready itself ({said}); the model says that it is ready")
        }));
        told.push(whose(served, &workspace.model_sha256, artifacts, &place.to_string()));
    }
    if let [first, others @ ..] = installations.as_slice() {
        told.extend(others.iter().filter_map(|other| another(first, other)));
    }
    told
}

/// In which words what answers over two protocols speaks of itself otherwise: two servers, or two models.
fn another(one: &Installation, other: &Installation) -> Option<String> {
    let said = |installation: &Installation| {
        let notes = installation.served.iter().flat_map(|served| served.notes.clone());
        std::iter::once(format!("version {}", installation.version)).chain(notes).collect::<Vec<_>>()
    };
    let (first, second) = (said(one), said(other));
    let without = |all: &[String], others: &[String]| {
        let own: Vec<&str> = all.iter().filter(|note| !others.contains(note)).map(String::as_str).collect();
        if own.is_empty() { "nothing else".to_owned() } else { own.join("; ") }
    };
    let (own, theirs) = (without(&first, &second), without(&second, &first));
    (first != second).then(|| {
        format!(
            "what answers over `{}` and over `{}` speaks of itself otherwise, as two servers or two models do: {own} | {theirs}",
            one.id, other.id
        )
    })
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
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::gate::workshop::Project;
    use crate::plan::Ability;
    use crate::runtime::triton::ServedModel;
    use crate::tensor::{ElementType, TensorSpec};
    use crate::worker::Reply;
    use crate::worker::fake::{Fakes, Step};

    /// Whether the model that is served says that it is the gated one, and of which file.
    #[test]
    fn a_served_model_is_told_by_its_own_words() {
        let digest = "0123456789abcdef";
        let own = crate::gate::workshop::artifact(ArtifactKind::OnnxFp16, None);
        let artifacts: Artifacts = [((ArtifactKind::OnnxFp16, None), Ok(own.clone()))].into();
        let told = |said: &[(&str, &str)]| {
            let provenance = said.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            whose(&ServedModel { provenance, ..ServedModel::default() }, digest, &artifacts, "http://h")
        };
        let unknown = "the model served at `http://h` does not say which it is: its answers alone were judged";
        assert_eq!((told(&[]).as_str(), told(&[(keys::MODEL, "another")]).as_str()), (unknown, unknown));
        let known = "the model served at `http://h` says that it is the model gated";
        assert_eq!(told(&[(keys::MODEL, digest)]), known);
        let of = |file: &str| told(&[(keys::MODEL, digest), (keys::ARTIFACT, file)]);
        assert_eq!(of(&own.sha256), format!("{known}, of the `onnx-fp16` that is gated here"));
        assert_eq!(
            of("fedcba9876543210"),
            format!("{known}, of the file with sha256 fedcba987654…, which was not made here")
        );
    }

    /// A session that takes or gives something else than what was looked at is of another model; of several outputs it may give some.
    #[test]
    fn a_session_of_another_model_is_refused() {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Float32,
            shape: vec![None, Some(2)],
        };
        let signature = |inputs: &[&str], outputs: &[&str]| Signature {
            inputs: inputs.iter().copied().map(spec).collect(),
            outputs: outputs.iter().copied().map(spec).collect(),
        };
        let mut installation = Installation::plain("triton".parse().unwrap(), "2.50", "http://h");
        let held = |installation: &Installation, inputs: &[&str], outputs: &[&str]| {
            hold_still(installation, &signature(inputs, outputs)).map_err(|error| error.kind)
        };
        assert_eq!(held(&installation, &["x"], &["y"]), Ok(()));
        let served = ServedModel { signature: Some(signature(&["x"], &["y", "z"])), ..ServedModel::default() };
        installation.served = Some(Box::new(served));
        assert_eq!(held(&installation, &["x"], &["y", "z"]), Ok(()));
        assert_eq!(held(&installation, &["x"], &["z"]), Ok(()));
        for (inputs, outputs) in [(["x"], ["w"]), (["w"], ["y"]), (["w"], ["w"])] {
            assert_eq!(held(&installation, &inputs, &outputs), Err(ErrorKind::Invalid));
        }
    }

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

    fn asked(protocol: &str) -> Manifest {
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\n[serve]\nurl = \"http://h:1\"\ngrpc-url = \"http://h:2\"\nprotocol = {protocol}\n"
        );
        Manifest::parse(&text, Path::new("gate.toml")).unwrap()
    }

    /// A protocol that nobody answers by is no pass; where the server answers by another, it is the protocol that is at fault.
    #[test]
    fn a_protocol_that_nobody_answers_by_is_told_by_its_name() {
        let manifest = asked("[\"http\", \"grpc\"]");
        let serve = manifest.serve.as_ref().unwrap();
        let looked = |answers: [bool; 2]| {
            let look = |(endpoint, answers)| {
                let here = Installation::plain(RuntimeId::unversioned(Library::Triton), "2", "it");
                let gone = Obstacle::unavailable(format!("nobody answers at `{}`", Endpoint::place(endpoint)));
                (
                    endpoint,
                    if answers {
                        Probe { found: vec![here], missing: None }
                    } else {
                        Probe { found: Vec::new(), missing: Some(gone) }
                    },
                )
            };
            let found = by_protocol(serve, serve.endpoints.iter().zip(answers).map(look).collect()).found;
            let told = |found: &Installation| {
                let obstacle = found
                    .run_obstacle
                    .as_ref()
                    .map_or_else(String::new, |obstacle| format!(" {}: {}", obstacle.status, obstacle.reason));
                format!("{}{obstacle}", found.id)
            };
            found.iter().map(told).collect::<Vec<_>>()
        };
        let (http, grpc) = ("http://h:1/v2/models/m", "grpc://h:2/models/m");
        assert_eq!(looked([true, true]), ["triton@http", "triton@grpc"]);
        let told = format!("triton@grpc invalid: nobody answers at `{grpc}`, and `{http}` is answered at");
        assert_eq!(looked([true, false]), ["triton@http".to_owned(), told]);
        let gone = |name: &str, place: &str| format!("{name} unavailable: nobody answers at `{place}`");
        assert_eq!(looked([false, false]), [gone("triton@http", http), gone("triton@grpc", grpc)]);
    }

    /// Each endpoint is looked at in a worker of its own; one that ends by it is told, and judged by nobody.
    #[test]
    fn endpoints_are_looked_at_in_workers() {
        let looked = |protocol: &str, step: fn() -> Step| {
            let fakes = Fakes::of(|_| Err(Error::failed("nobody")), move |_| step());
            let mut manifest = asked("[\"http\", \"grpc\"]");
            if protocol == "http" {
                let serve = manifest.serve.as_mut().unwrap();
                (serve.named, serve.endpoints) = (false, serve.endpoints[..1].to_vec());
            }
            let found = probe(manifest.serve.as_ref().unwrap(), &fakes.program(), Limits::default()).unwrap();
            assert_eq!(fakes.alive(), 0);
            let told = found.found.iter().map(|found| {
                let reason = found.run_obstacle.as_ref().map(|obstacle| obstacle.reason.clone()).unwrap_or_default();
                (found.id.to_string(), reason)
            });
            (fakes.started(), told.collect::<Vec<_>>())
        };
        let here = || {
            Step::Spoil(Box::new(|reply, _| {
                let id = RuntimeId::unversioned(Library::Triton);
                *reply = Reply::Probe(Probe { found: vec![Installation::plain(id, "2", "it")], missing: None });
            }))
        };
        assert_eq!(looked("http", here), (1, vec![("triton".to_owned(), String::new())]));
        let (started, both) = looked("both", here);
        assert_eq!((started, both.len()), (2, 2));
        let (_, died) = looked("http", || Step::Die("died by signal 11"));
        assert!(died[0].1.contains("looking at the server ended the worker"), "{died:?}");
    }

    /// A server of another model is judged by nobody, and what it serves is told where its cells run.
    #[test]
    fn a_server_is_held_to_the_manifest() {
        let more = "[serve]\nurl = \"http://127.0.0.1:1\"\n";
        let project = Project::new("onnxruntime = [\"fp32\"]", more);
        let signature = |classes: usize| {
            let spec = |name: &str, size| TensorSpec {
                name: name.to_owned(),
                element_type: ElementType::Float32,
                shape: vec![None, Some(size)],
            };
            Signature { inputs: vec![spec("x", 4)], outputs: vec![spec("y", classes)] }
        };
        let here = |signature: Option<Signature>| {
            let mut here = crate::gate::workshop::found();
            for (_, probe) in here.iter_mut().filter(|(library, _)| *library == Library::Triton) {
                probe.found[0].served =
                    Some(Box::new(triton::ServedModel { signature: signature.clone(), ..Default::default() }));
            }
            here
        };
        let obstacle = |signature: Option<Signature>| {
            let mut probes = here(signature);
            hold(&mut probes, &project.manifest, None, &project.digest());
            let served = probes.into_iter().find(|(library, _)| *library == Library::Triton).unwrap().1;
            served.found[0].run_obstacle.clone().map(|obstacle| (obstacle.status, obstacle.reason))
        };
        assert_eq!(obstacle(Some(signature(3))), None);
        for wrong in [None, Some(signature(5))] {
            let (status, reason) = obstacle(wrong).unwrap();
            assert_eq!(status, Status::Invalid);
            assert!(reason.starts_with("the model at `lib.so` is not the manifest's: "), "{reason}");
        }
        let fakes = Fakes::of(|_| Err(Error::failed("nobody")), |_| Step::Serve);
        let workspace = project.workspace_of(here(Some(signature(3))), &fakes);
        let plan = workspace.plan(&crate::plan::Filter::default()).unwrap();
        let of = |plan: &[PlannedCell]| told(&workspace, plan, &Artifacts::new());
        assert!(of(&plan).len() == 1 && of(&plan)[0].contains("does not say which it is"), "{:?}", of(&plan));
        let mut gone = plan.clone();
        gone.iter_mut().for_each(|cell| cell.ability = Ability::Nothing(Obstacle::unavailable("gone")));
        assert_eq!(of(&gone), [""; 0]);
        let others: Vec<PlannedCell> = plan.into_iter().filter(|cell| cell.artifact != ArtifactKind::Served).collect();
        assert_eq!(of(&others), [""; 0]);
    }

    #[test]
    fn cells_of_a_protocol_start_from_its_own_place() {
        let manifest = asked("[\"http\", \"grpc\"]");
        let of = |name: &str| artifact(&manifest, &name.parse().unwrap());
        let (http, grpc) = (of("triton@http").unwrap(), of("triton@grpc").unwrap());
        assert_eq!(http.path, Path::new("http://h:1/v2/models/m"));
        assert_ne!((&http.path, &http.sha256), (&grpc.path, &grpc.sha256));
        assert!(of("triton").is_err() && of("onnxruntime").is_err());
    }

    #[test]
    fn two_servers_behind_one_name_are_told() {
        let installation = |id: &str, version: &str, notes: &[&str]| {
            let notes = notes.iter().map(|note| (*note).to_owned()).collect();
            let served = triton::ServedModel { notes, ..triton::ServedModel::default() };
            let served = Some(Box::new(served));
            Installation { served, ..Installation::plain(id.parse().unwrap(), version, "it") }
        };
        let http = installation("triton@http", "2.51.0", &["one server", "model m"]);
        assert_eq!(another(&http, &installation("triton@grpc", "2.51.0", &["one server", "model m"])), None);
        let other = another(&http, &installation("triton@grpc", "2.50.0", &["one server", "model m", "more"])).unwrap();
        assert!(other.ends_with("as two servers or two models do: version 2.51.0 | version 2.50.0; more"), "{other}");
        assert!(other.contains("`triton@http`") && other.contains("`triton@grpc`"), "{other}");
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
