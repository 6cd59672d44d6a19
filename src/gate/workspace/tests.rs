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
