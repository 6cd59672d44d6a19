//! Samples through one cell of a model of several inputs, as they come out.

use std::path::Path;

use super::brought::{self, border};
use super::open::OpenCell;
use super::runs::interface::run_once;
use super::workspace::Workspace;
use crate::check::apart::Answers;
use crate::data::brought::read;
use crate::error::{Error, Result};
use crate::manifest::interface::Interface;
use crate::tensor::{BatchAxis, Feeds, Tensor};
use crate::vocabulary::CellId;

/// What was fed and what came out.
pub struct Inferred {
    /// The cell, with the version that was found.
    pub id: CellId,
    /// The samples.
    pub feeds: Feeds,
    /// The answers of the outputs that the manifest names.
    pub outputs: Vec<Answers>,
    /// Seconds that the runtime took.
    pub seconds: f64,
}

impl Inferred {
    /// What was fed and answered in each call of the cell, in the model's own layout; calls of one sample each, where something
    /// has no batch.
    ///
    /// # Errors
    /// `Input`, where the samples do not lie as `interface` says.
    pub fn runs(&self, interface: &Interface) -> Result<Vec<(Vec<Tensor>, Vec<Tensor>)>> {
        let axes = interface.axes();
        let batch = if axes.one_by_one() { 1 } else { self.id.batch.max(1) as usize };
        let total = self.feeds.batch();
        let mut parts = Vec::new();
        for answers in &self.outputs {
            parts.push((interface.output_axis(answers.name()), answers.samples()?));
        }
        let mut runs = Vec::new();
        for start in (0..total).step_by(batch) {
            let end = total.min(start + batch);
            let fed = axes.lay_out(&self.feeds.samples(start..end)?)?.tensors().cloned().collect();
            let answered = parts.iter().map(|(axis, parts)| {
                let parts = parts.get(start..end).ok_or_else(|| Error::failed("not every sample was answered"))?;
                match (axis, parts) {
                    (BatchAxis::None, [one]) => Ok(one.clone()),
                    (BatchAxis::None, _) => {
                        Err(Error::failed("an output without a batch answers one sample at a time"))
                    }
                    (BatchAxis::At(axis), parts) => match Answers::of(parts.to_vec())? {
                        Answers::Rows(rows) => rows.with_samples_at(*axis),
                        Answers::Apart(_) => {
                            Err(Error::failed("the samples of a batch are answered in several shapes"))
                        }
                    },
                }
            });
            runs.push((fed, answered.collect::<Result<_>>()?));
        }
        Ok(runs)
    }
}

/// Runs the samples of `data`, `limit` at most, through `id`; those of the manifest where no `data` is given.
///
/// # Errors
/// Those of reading the samples, and of opening and running the cell.
pub fn infer(
    workspace: &Workspace,
    interface: &Interface,
    id: &CellId,
    data: Option<&Path>,
    limit: Option<usize>,
) -> Result<Inferred> {
    let manifest = &workspace.manifest;
    let signature = workspace.signature()?;
    super::values::check_outputs(interface, signature)?;
    if interface.points().len() > 1 {
        return Err(Error::usage("`[shapes]` names several sizes, and samples have one")
            .hint("name one size for each of `[shapes]`"));
    }
    let feeds = match data {
        Some(data) => read(data, None, &border(interface, signature)?)?.feeds,
        None => brought::of_one(manifest, interface, signature, None)?.0,
    };
    let feeds = feeds.first(limit.unwrap_or(usize::MAX))?;
    let mut open = OpenCell::open(workspace, id)?;
    let (outputs, seconds) = run_once(&mut open, interface, &feeds)?;
    Ok(Inferred { id: open.id().clone(), feeds, outputs, seconds })
}

#[cfg(test)]
mod tests;
