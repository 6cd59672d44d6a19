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
    values::plans(interface, signature, point)?;
    if let Ok(Some(kept)) = kept::of(workspace, interface)
        && let Some(kept) = kept.at(point)
    {
        return Ok(kept.feeds.clone());
    }
    brought::of_one(manifest, interface, signature, point).map(|(feeds, _)| feeds)
}
