//! The samples that a model of several inputs is gated on, for the commands that look inside.

use super::workspace::Workspace;
use super::{brought, kept, values};
use crate::error::Result;
use crate::manifest::interface::Interface;
use crate::tensor::Feeds;
use crate::vocabulary::ShapePoint;

/// Those of the golden, where one is kept and fits; else those that the manifest asks for.
///
/// # Errors
/// If manifest and model do not fit, or a file of samples cannot be read.
pub(crate) fn of(workspace: &Workspace, interface: &Interface, point: Option<&ShapePoint>) -> Result<Feeds> {
    let manifest = &workspace.manifest;
    let signature = workspace.signature()?;
    let inputs = values::plans(interface, signature, point)?;
    if point.is_none()
        && let Ok(Some(kept)) = kept::of(workspace, interface, &inputs)
    {
        return Ok(kept.feeds);
    }
    brought::of_one(manifest, interface, signature, point).map(|(feeds, _)| feeds)
}
