//! Whether the FP32 file that ran is the model. Artifacts that were carried here say their own digests, and where the FP32 file is
//! the reference itself, no figure tells another one from it.

use super::workspace::Workspace;
use crate::findings::{CellReport, CheckResult};
use crate::manifest::ModelSource;
use crate::vocabulary::{ArtifactKind, Stage, Status};

/// Fails the cells of an ONNX model whose FP32 file has another digest than the model.
pub(super) fn hold(workspace: &Workspace, cells: &mut [CellReport]) {
    // The drill plants faults in it, which figures have to tell.
    if workspace.planted || !matches!(workspace.manifest.model.source, ModelSource::Onnx { .. }) {
        return;
    }
    for cell in cells {
        let Some(artifact) = &cell.artifact else { continue };
        if artifact.kind == ArtifactKind::OnnxFp32 && artifact.sha256 != workspace.model_sha256 {
            fail(cell, &workspace.model_sha256);
        }
    }
}

fn fail(cell: &mut CellReport, model: &str) {
    let ran = cell.artifact.as_ref().map(|artifact| artifact.sha256.clone()).unwrap_or_default();
    let detail = format!("what ran is not the model: its file has sha256 {ran}, the model has {model}");
    let check = CheckResult { name: "model".to_owned(), status: Status::Fail, gating: true, detail: detail.clone() };
    cell.checks.insert(0, check);
    if cell.status == Status::Pass {
        (cell.status, cell.stage, cell.reason) = (Status::Fail, Stage::Compare, Some(detail));
        cell.hint = Some("export the artifacts again from the model (`trtgate export --output`)".to_owned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::convert::store::Store;
    use crate::findings::ArtifactReport;
    use crate::gate::workshop::{Project, found, healthy, sound};
    use crate::report::sample::cell_with_status;
    use crate::vocabulary::{CellId, Library, Precision, RuntimeId};
    use crate::worker::fake::Fakes;

    /// Of an ONNX model the FP32 file has to be the model itself; what was converted has a digest of its own, and faults are planted
    /// on purpose.
    #[test]
    fn only_the_fp32_file_of_an_onnx_model_has_to_be_the_model() {
        let mut project = Project::new("onnxruntime = [\"fp32\"]", "");
        let artifact = |kind: ArtifactKind, sha256: &str| {
            let artifact =
                ArtifactReport { kind, sha256: sha256.to_owned(), bytes: 1, build_seconds: 0.0, cached: true };
            CellReport { artifact: Some(artifact), ..cell_with_status("onnxruntime", "fp32", 1, Status::Pass) }
        };
        let held = |workspace: &Workspace| {
            let mut cells = vec![
                artifact(ArtifactKind::OnnxFp32, &workspace.model_sha256),
                artifact(ArtifactKind::OnnxFp32, "another"),
                artifact(ArtifactKind::OnnxFp16, "another"),
                cell_with_status("onnxruntime", "fp32", 1, Status::Pass),
            ];
            hold(workspace, &mut cells);
            cells.into_iter().map(|cell| (cell.status, cell.checks.len())).collect::<Vec<_>>()
        };
        let (pass, fail) = ((Status::Pass, 0), (Status::Fail, 1));
        let mut workspace = project.workspace(&Fakes::of(sound, healthy));
        assert_eq!(held(&workspace), [pass, fail, pass, pass]);
        workspace.planted = true;
        assert_eq!(held(&workspace), [pass; 4]);
        project.manifest.model.source = ModelSource::Tflite { path: "m.tflite".into() };
        let store = Store::open(Some(project.folder.path().join("store"))).unwrap();
        let fakes = Fakes::of(sound, healthy);
        let converted =
            Workspace::of_parts(project.manifest.clone(), "digest".to_owned(), store, found(), fakes.program());
        assert_eq!(held(&converted), [pass; 4]);
    }

    #[test]
    fn a_cell_of_another_file_fails_and_keeps_what_it_failed_by() {
        let id = CellId {
            runtime: RuntimeId::unversioned(Library::Onnxruntime),
            precision: Precision::Fp32,
            batch: 1,
            shape: None,
        };
        let mut cell = CellReport::new(&id, String::new());
        cell.artifact = Some(ArtifactReport {
            kind: ArtifactKind::OnnxFp32,
            sha256: "of another".to_owned(),
            bytes: 1,
            build_seconds: 0.0,
            cached: true,
        });
        cell.status = Status::Pass;
        fail(&mut cell, "of the model");
        let reason = "what ran is not the model: its file has sha256 of another, the model has of the model";
        assert_eq!((cell.status, cell.reason.as_deref()), (Status::Fail, Some(reason)));
        let mut failed = CellReport::new(&id, String::new());
        (failed.status, failed.reason) = (Status::Fail, Some("wrong".to_owned()));
        fail(&mut failed, "of the model");
        assert_eq!((failed.reason.as_deref(), failed.checks.len()), (Some("wrong"), 1));
    }
}
