//! The measuring of a walk: all tensors at once, and of engines those that the search asks for, by engines that show more and more.

use super::capture::Walk;
use super::report::TensorRow;
use super::search::{self, Network};
use super::wanted;
use crate::convert::Artifact;
use crate::error::Result;
use crate::gate::Workspace;
use crate::gate::inside::graph::{Counterparts, Step};
use crate::plan::PlannedCell;

/// Whether the tensors of `cell` are searched: an engine that shows some takes a builder long.
fn is_searched(cell: &PlannedCell) -> bool {
    cell.id.runtime.library.builds_engines()
}

/// What the side of `cell` shows from the start: all that can be shown; of an engine, which comes as it is gated, nothing more.
pub(super) fn shown_at_first(cell: &PlannedCell, steps: &[Step], counterparts: &Counterparts) -> Vec<String> {
    if is_searched(cell) { Vec::new() } else { wanted(steps, counterparts) }
}

/// A walk, whose tensors are searched where the side of the cell is engines.
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
    /// Every row, as far as it was measured.
    ///
    /// # Errors
    /// Those of building and running.
    pub(super) fn rows(mut self) -> Result<Vec<TensorRow>> {
        let mut rows = self.walk.measure()?;
        if is_searched(self.cell) {
            search::search(&mut self, &mut rows)?;
        }
        Ok(rows)
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
