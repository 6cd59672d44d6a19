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
