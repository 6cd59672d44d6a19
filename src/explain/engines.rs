//! Engines that show more and more of the tensors, as the search asks for them.

use super::capture::Walk;
use super::report::TensorRow;
use super::search::{self, Network};
use super::wanted;
use crate::convert::Artifact;
use crate::error::Result;
use crate::gate::Workspace;
use crate::plan::PlannedCell;

/// A walk whose side of the cell is engines.
pub(super) struct Engines<'a> {
    pub(super) walk: Walk<'a>,
    pub(super) workspace: &'a Workspace,
    pub(super) cell: &'a PlannedCell,
    pub(super) artifact: &'a Artifact,
    pub(super) notes: &'a mut Vec<String>,
    /// Completes rows and judges them: the places of the first that are outside.
    pub(super) firsts: &'a dyn Fn(&mut [TensorRow]) -> Vec<usize>,
}

impl Engines<'_> {
    /// Searches for the first tensor outside, from `rows` of what the engine shows as it is gated.
    ///
    /// # Errors
    /// Those of building and running.
    pub(super) fn search(mut self, rows: &mut [TensorRow]) -> Result<()> {
        search::search(&mut self, rows)
    }

    fn tensors_of(&self, indices: &[usize]) -> Vec<String> {
        let steps: Vec<_> = indices.iter().filter_map(|&index| self.walk.steps.get(index).cloned()).collect();
        wanted(&steps, self.walk.counterparts)
    }
}

impl Network for Engines<'_> {
    fn can_show(&self, index: usize) -> bool {
        !self.tensors_of(&[index]).is_empty()
    }

    fn inputs(&self, index: usize) -> Vec<usize> {
        let inputs = self.walk.steps.get(index).map(|step| step.inputs.as_slice()).unwrap_or_default();
        let place = |name: &String| self.walk.steps.iter().position(|step| step.tensor == *name);
        inputs.iter().filter_map(place).collect()
    }

    fn look(&mut self, indices: &[usize]) -> Result<Vec<TensorRow>> {
        let names = self.tensors_of(indices);
        let first = indices.first().and_then(|&index| self.walk.steps.get(index));
        if let Some(step) = first {
            (self.walk.detail)(&format!("an engine that shows {} tensors from {} on", names.len(), step.layer));
        }
        self.walk.actual.show(self.workspace, self.cell, self.artifact, &names, self.notes)?;
        self.walk.measure_at(indices)
    }

    fn judge(&self, rows: &mut [TensorRow]) -> Vec<usize> {
        (self.firsts)(rows)
    }
}
