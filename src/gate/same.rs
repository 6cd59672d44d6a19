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
    use super::*;
    use crate::findings::ArtifactReport;
    use crate::vocabulary::{CellId, Library, Precision, RuntimeId};

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
