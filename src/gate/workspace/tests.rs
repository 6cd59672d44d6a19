#![allow(clippy::unwrap_used)]

use super::*;
use crate::digest::digest_file;
use crate::gate::workshop::{Project, healthy, sound};
use crate::runtime::{OpenRequest, Session};
use crate::vocabulary::{Precision, RuntimeId, Stage};
use crate::worker::fake::{Fakes, Step};

const MATRIX: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"fp16\"]";

fn workspace(project: &Project) -> Workspace {
    project.workspace(&Fakes::of(sound, healthy))
}

#[test]
fn the_models_own_file_is_held_to_its_digest() {
    let project = Project::new(MATRIX, "");
    let workspace = workspace(&project);
    let own = workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap();
    assert_eq!(
        (own.path.as_path(), own.sha256.as_str()),
        (project.manifest.model.source.path(), workspace.model_sha256.as_str())
    );
    // Whoever writes into the store while a gate runs is noticed, each time that the file is asked for.
    project.change_model();
    let error = workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Machine);
    assert!(error.message.contains("was changed"), "{error}");
    assert_ne!(digest_file(project.manifest.model.source.path()).unwrap(), workspace.model_sha256);
    let error = workspace.artifact(ArtifactKind::SavedModel, None).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Unsupported, "the model's source is ONNX; it has no SavedModel")
    );
}

/// What is made from the model has a digest of its own, which is not held to the model's.
#[test]
fn what_is_made_of_the_model_is_not_taken_for_it() {
    let workspace = workspace(&Project::new(MATRIX, ""));
    let made = crate::gate::workshop::artifact(ArtifactKind::OnnxFp16, None);
    assert_eq!(workspace.held(made.clone()), Ok(made));
}

/// A file that is no model is refused once, and the refusal kept: it is not read again for each cell.
#[test]
fn a_conversion_that_failed_is_not_tried_again() {
    let project = Project::new(MATRIX, "");
    let path = project.manifest.model.source.path().to_owned();
    std::fs::write(&path, "no model").unwrap();
    let workspace = workspace(&project);
    let first = workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap_err();
    assert_eq!(first.kind, ErrorKind::Input);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap_err(), first);
    assert!(workspace.artifact(ArtifactKind::OnnxFp16, None).is_err());
    // What others are made from fails once, for itself.
    let kinds = |kind: ArtifactKind| {
        let workspace = self::workspace(&project);
        assert!(workspace.artifact(kind, None).is_err());
        workspace.failures().into_iter().map(|(kind, _)| kind).collect::<Vec<_>>()
    };
    std::fs::write(&path, "no model").unwrap();
    let (full, plain, half) = (ArtifactKind::OnnxFp32, ArtifactKind::OnnxPlain, ArtifactKind::OnnxFp16);
    let sorted = |kinds: &[ArtifactKind]| {
        let mut kinds = kinds.to_vec();
        kinds.sort_unstable();
        kinds
    };
    assert_eq!(kinds(full), [full]);
    assert_eq!(kinds(plain), sorted(&[full, plain]));
    assert_eq!(kinds(half), sorted(&[full, plain, half]));
}

/// A conversion that failed in a damaged environment failed by that; what is wrong with the model stays what it is.
#[test]
fn a_failure_in_a_damaged_environment_is_its_damage() {
    if environment::is_named(environment::EXPORT) {
        // The user's own interpreter is nobody's installation.
        return;
    }
    let workspace = workspace(&Project::new(MATRIX, ""));
    let failed = Error::failed("the converter broke");
    assert_eq!(workspace.or_damage(failed.clone()), failed, "nothing is there that could be damaged");
    // What a killed removal leaves: the folder, without its record.
    std::fs::create_dir_all(environment::place(&workspace.store, environment::EXPORT)).unwrap();
    let damaged = workspace.or_damage(failed);
    assert!(damaged.message.starts_with("the environment `export` is damaged"), "{damaged}");
    assert_eq!(damaged.causes, ["the converter broke"]);
    for error in [Error::input("no model"), Error::machine("no space"), Error::missing("not here")] {
        assert_eq!(workspace.or_damage(error.clone()), error);
    }
}

#[test]
fn engines_start_from_the_plain_form_where_the_model_needs_one() {
    let project = Project::new(MATRIX, "");
    let mut workspace = workspace(&project);
    let artifacts = |workspace: &Workspace| -> Vec<ArtifactKind> {
        workspace.plan(&Filter::default()).unwrap().iter().map(|cell| cell.artifact).collect()
    };
    let (plain, full, half) = (ArtifactKind::OnnxPlain, ArtifactKind::OnnxFp32, ArtifactKind::OnnxFp16);
    assert_eq!(artifacts(&workspace), [full, full, full, full, half, half]);
    workspace.engines_need_plain = true;
    // ONNX Runtime takes the model as it is, and FP16 has a graph of its own.
    assert_eq!(artifacts(&workspace), [full, full, plain, plain, half, half]);
}

#[test]
fn probes_and_leads_are_taken_once() {
    let project = Project::new(MATRIX, "");
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace(&fakes);
    let probes = workspace.probes().unwrap();
    assert_eq!(probes.len(), crate::gate::workshop::OWN_PROBES);
    std::fs::remove_file(project.folder.path().join("probes.csv")).unwrap();
    assert_eq!(workspace.probes().unwrap().sha256(), probes.sha256());
    let natural = workspace.natural().unwrap();
    assert!(natural.of_probes && natural.answers.len() == probes.len());
    let asked = fakes.started();
    assert_eq!(workspace.natural().unwrap(), natural);
    assert_eq!(fakes.started(), asked, "nobody is asked twice");
    assert!(workspace.carried_probes().unwrap().is_none() && workspace.carried_natural().unwrap().is_none());
}

#[test]
fn the_first_fault_of_the_reference_stays() {
    let workspace = workspace(&Project::new(MATRIX, ""));
    assert!(workspace.reference_fault().is_none());
    for (stage, words) in [(Stage::Load, "first"), (Stage::Run, "second")] {
        workspace.blame_reference(Fault { stage, error: Error::failed(words) });
    }
    let fault = workspace.reference_fault().unwrap();
    assert_eq!((fault.stage, fault.error.message.as_str()), (Stage::Load, "first"));
}

/// A gate of cells that need what cannot be converted here judges the others.
#[test]
fn what_cannot_be_converted_costs_its_own_cells() {
    let project = Project::new(MATRIX, "");
    let open = |request: &OpenRequest| -> Result<Box<dyn Session>> { sound(request) };
    let fakes = Fakes::of(open, |call| if call.name() == "build" { Step::Build } else { Step::Serve });
    let workspace = project.workspace(&fakes);
    // Nothing may be installed to convert it.
    let workspace = Workspace { store: workspace.store.clone().installing(false), ..workspace };
    let report = crate::gate::run(&workspace, &crate::gate::RunOptions::default()).unwrap();
    let status = |runtime: &str, precision: Precision| {
        let runtime: RuntimeId = runtime.parse().unwrap();
        let cells = report.cells.iter().filter(|cell| runtime.selects(&cell.runtime) && cell.precision == precision);
        cells.map(|cell| (cell.status, cell.stage)).collect::<Vec<_>>()
    };
    use crate::vocabulary::Status;
    assert_eq!(status("onnxruntime", Precision::Fp32), [(Status::Pass, Stage::Compare); 2]);
    assert_eq!(status("tensorrt", Precision::Fp32), [(Status::Pass, Stage::Compare); 2]);
    for (found, stage) in status("tensorrt", Precision::Fp16) {
        assert!(found != Status::Pass && stage == Stage::Convert, "{found} at {stage}");
    }
}

/// A workspace of the project of several inputs, opened from its file, with nothing installed.
fn opened(project: &several::tests::Project, change: &dyn Fn(&mut Options)) -> Result<Workspace> {
    let program = Fakes::of(sound, healthy).program();
    let mut options = Options {
        cache: Some(project.folder.path().join("cache")),
        install: false,
        several: true,
        ..Options::new(project.manifest.path.clone(), program)
    };
    change(&mut options);
    Workspace::open(&options)
}

/// What is gated is a copy of what was digested; the manifest's own file is only named.
#[test]
fn a_workspace_is_of_the_copy_that_was_digested() {
    let project = several::tests::Project::new("onnxruntime = [\"fp32\"]", several::tests::ONE_SHAPE);
    let own = project.manifest.model.source.path().to_owned();
    let workspace = opened(&project, &|_| ()).unwrap();
    let copy = workspace.manifest.model.source.path().to_owned();
    assert_eq!(workspace.model_sha256, digest_file(&own).unwrap());
    assert!(copy != own && copy.starts_with(workspace.store.root()), "{}", copy.display());
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&own).unwrap());
    assert_eq!(workspace.named.path(), own);
    assert!(workspace.declared.is_some() && !workspace.engines_need_plain && workspace.own().is_empty());
    // One input is not several.
    assert!(opened(&project, &|options| options.several = false).is_err());
}

#[test]
fn what_the_command_line_says_stands_above_the_manifest() {
    let project = several::tests::Project::new("onnxruntime = [\"fp32\"]", several::tests::ONE_SHAPE);
    let said = |options: &mut Options| {
        (options.intra_threads, options.inter_threads, options.fresh_probes) = (Some(7), Some(3), true);
        options.limits.request_seconds = Some(77);
    };
    let plain = opened(&project, &|_| ()).unwrap();
    let run = &project.manifest.run;
    assert_eq!(plain.limits.request, Duration::from_secs(run.time_limit_seconds));
    assert_eq!(plain.limits.build, Duration::from_secs(run.build_limit_seconds));
    assert_eq!((plain.manifest.run.intra_threads, plain.fresh_probes), (run.intra_threads, false));
    let workspace = opened(&project, &said).unwrap();
    assert_eq!((workspace.manifest.run.intra_threads, workspace.manifest.run.inter_threads), (7, 3));
    assert_eq!((workspace.limits.request, workspace.fresh_probes), (Duration::from_secs(77), true));
}

/// A model that is not the manifest's is refused, unless it is trusted for once.
#[test]
fn another_model_than_the_manifests_is_refused() {
    let project = several::tests::Project::new("onnxruntime = [\"fp32\"]", several::tests::ONE_SHAPE);
    let own = digest_file(project.manifest.model.source.path()).unwrap();
    let text = std::fs::read_to_string(&project.manifest.path).unwrap();
    let pin = |digest: &str| {
        let text = text.replace("onnx = \"m.onnx\"\n", &format!("onnx = \"m.onnx\"\nsha256 = \"{digest}\"\n"));
        std::fs::write(&project.manifest.path, text).unwrap();
    };
    pin(&own);
    opened(&project, &|_| ()).unwrap();
    let other = "0".repeat(64);
    pin(&other);
    let error = opened(&project, &|_| ()).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Input);
    assert_eq!(error.message, "the model `m` is not the one in the manifest");
    assert_eq!(error.causes, [format!("the manifest has sha256 {other}, the files have {own}")]);
    assert_eq!(opened(&project, &|options| options.trust = true).unwrap().model_sha256, own);
}
