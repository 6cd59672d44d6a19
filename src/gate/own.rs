//! Files of the project's own in place of what would be converted: what they have to take and answer, and how they are judged.

use super::border::{self, Declared};
use super::shipped;
use super::workspace::Workspace;
use crate::check::apart::Answers;
use crate::check::scales::{ScaleProof, Unchecked};
use crate::convert::own::Own;
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::manifest::artifacts::{OwnArtifact, OwnForm};
use crate::plan::PlannedCell;
use crate::tensor::{ElementType, Signature, Tensor, TensorSpec};
use crate::vocabulary::ArtifactKind;

/// Reads the files that the manifest names, each held to what is fed and looked at.
///
/// What was `carried` here holds them too.
///
/// # Errors
/// As [`Own::read`].
pub(super) fn read(manifest: &Manifest, declared: Option<&Declared>, store: &Store, carried: bool) -> Result<Vec<Own>> {
    if manifest.artifacts.is_empty() || carried {
        return Ok(Vec::new());
    }
    let wanted = wanted(manifest, declared)?;
    manifest.artifacts.iter().map(|artifact| Own::read(artifact, &wanted, store)).collect()
}

/// The inputs that are fed and the outputs that are looked at.
pub(super) fn wanted(manifest: &Manifest, declared: Option<&Declared>) -> Result<Signature> {
    let Some(interface) = &manifest.interface else {
        let (input, output) = (&manifest.input, &manifest.output);
        let spec = |name: &str, sample: Vec<Option<usize>>| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Float32,
            shape: [vec![None], sample].concat(),
        };
        return Ok(Signature {
            inputs: vec![spec(&input.name, input.shape.iter().copied().map(Some).collect())],
            outputs: vec![spec(&output.name, vec![Some(output.classes)])],
        });
    };
    let read = interface.read_outputs();
    let mut signature = border::told(declared, &manifest.model.source)?.clone();
    signature.outputs.retain(|output| read.contains(&output.name.as_str()));
    Ok(signature)
}

/// What a report says of the files that cells of `plan` run.
pub(super) fn told(workspace: &Workspace, plan: &[PlannedCell]) -> Vec<String> {
    let runs = |form: OwnForm| plan.iter().any(|cell| form.stands_for(cell.artifact));
    let told = |brought: &OwnArtifact| match workspace.own().iter().find(|own| own.form == brought.form) {
        Some(own) => own.told(),
        None => {
            let (form, path) = (brought.form.as_str(), brought.path.display());
            format!("{form} is the project's own `{path}`, as it was carried here: trtgate did not make it")
        }
    };
    let files = workspace.manifest.artifacts.iter().filter(|brought| runs(brought.form)).map(told);
    files.chain(shipped::told(workspace, plan)).chain(workspace.plugins.told(plan)).collect()
}

/// Whether the cells that start from `kind` run a file of the project's own.
pub(crate) fn is_own(manifest: &Manifest, kind: ArtifactKind) -> bool {
    kind == ArtifactKind::Engine || manifest.artifacts.iter().any(|own| own.form.stands_for(kind))
}

/// Whether a file of `kind` may hold halves, which a session has to round: those in half precision, and what others quantised. What
/// trtgate quantises has none, so that nobody reads its graph to look for them.
pub(crate) fn may_hold_halves(manifest: &Manifest, kind: ArtifactKind) -> bool {
    kind == ArtifactKind::OnnxFp16 || is_own(manifest, kind)
}

/// What is said of the scales of a file that was calibrated elsewhere.
pub(super) fn unheld() -> ScaleProof {
    let error = Error::unsupported("it is the project's own file, calibrated elsewhere");
    ScaleProof { unchecked: Some(Unchecked::of(&error)), ..ScaleProof::default() }
}

/// Floats that a file of the project's own answers in another float type, as the reference has them: half precision widens exactly.
/// What trtgate converts keeps the model's types, and is held to them.
pub(super) fn in_types_of<'a>(ran: impl IntoIterator<Item = &'a mut Answers>, reference: &[Answers]) {
    for answers in ran {
        let wanted = reference.iter().find(|wanted| wanted.name() == answers.name()).and_then(Answers::element_type);
        let Some(wanted) = wanted else { continue };
        let widen = |tensor: &mut Tensor| {
            if tensor.element_type() != wanted
                && wanted.is_float()
                && let Some(values) = tensor.values.to_float(wanted)
            {
                tensor.values = values;
            }
        };
        match answers {
            Answers::Rows(rows) => widen(rows),
            Answers::Apart(parts) => parts.iter_mut().for_each(widen),
        }
    }
}

#[cfg(test)]
mod tests;
