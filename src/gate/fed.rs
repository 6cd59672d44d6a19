//! The samples that a model of several inputs is gated on, for the commands that look inside.

use super::border::Declared;
use super::workspace::Workspace;
use super::{brought, kept, values};
use crate::error::{Error, Result};
use crate::manifest::interface::Interface;
use crate::tensor::Feeds;
use crate::vocabulary::ShapePoint;

/// Those of the golden, where one is kept and fits; else those that the manifest asks for.
///
/// # Errors
/// If manifest and model do not fit, or a file of samples cannot be read.
pub(crate) fn of(workspace: &Workspace, interface: &Interface, point: Option<&ShapePoint>) -> Result<Feeds> {
    let manifest = &workspace.manifest;
    let declared = Declared::of(&manifest.model.source)?
        .ok_or_else(|| Error::input("the model's file does not tell its inputs and outputs"))?;
    let inputs = values::plans(interface, declared.signature(), point)?;
    if point.is_none()
        && let Ok(Some(kept)) = kept::of(workspace, interface, &inputs)
    {
        return Ok(kept.feeds);
    }
    let fed = brought::of(manifest, interface, declared.signature(), &[point.cloned()])?;
    fed.feeds.into_iter().next().ok_or_else(|| Error::input("there is nothing to feed"))
}
