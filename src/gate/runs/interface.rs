//! What the open session of a model of several inputs is asked, and what of it is kept.

use super::shelf::{Held, Shelf};
use super::{Again, Asked, Feeding, Ran, under_load, unlisted};
use crate::check::apart::{Answers, other_order};
use crate::error::{Error, Result};
use crate::findings::CellSeconds;
use crate::gate::engine::shape_trials::{self, Between};
use crate::gate::labelled::Labelled;
use crate::gate::open::OpenCell;
use crate::gate::workspace::Workspace;
use crate::manifest::interface::Interface;
use crate::tensor::{BatchAxes, BatchAxis, Feed, Feeds, Signature, Tensor, TensorSpec};
use crate::vocabulary::{ArtifactKind, CellId, ShapePoint};
use crate::worker::Worker;

/// What every cell of such a model is fed, at each of its shapes.
pub(crate) struct Fed<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) interface: &'a Interface,
    /// Where samples lie in its tensors.
    pub(crate) axes: BatchAxes,
    /// The samples of each point of open shapes; of one of none where there is one shape.
    pub(crate) points: Vec<(Option<ShapePoint>, Feeds)>,
    /// Labelled samples, which cells of the largest batch answer too.
    pub(crate) labelled: Option<Labelled>,
}

impl Fed<'_> {
    /// The samples at `shape`.
    pub(crate) fn at(&self, shape: Option<&ShapePoint>) -> Option<&Feeds> {
        self.points.iter().find(|(point, _)| point.as_ref() == shape).map(|(_, feeds)| feeds)
    }

    fn samples(&self, id: &CellId) -> Result<&Feeds> {
        self.at(id.shape.as_ref()).ok_or_else(|| Error::failed("no samples were made for this shape"))
    }

    /// Samples of another shape that the cell's session takes, where there are some: what it keeps of it must not be seen.
    fn between(&self, id: &CellId) -> Option<Between<'_>> {
        let own = self.points.iter().position(|(point, _)| *point == id.shape)?;
        let others = (1..self.points.len()).map(|step| (own + step) % self.points.len());
        let mut others = others.filter_map(|place| self.points.get(place));
        let (point, feeds) =
            others.find(|(point, _)| !self.interface.profiles_of(id.batch, point.as_ref()).is_empty())?;
        Some((point.as_ref(), feeds))
    }

    /// What the session of a cell answers when it is asked again: after another shape, and in another order, so that every
    /// sample has other neighbours and most have another slot.
    fn again(&self, worker: &mut Worker, asked: &Asked<'_>, outputs: &[Tensor], shelf: &Shelf) -> Result<Again> {
        let id = &asked.cell.id;
        let feeds = self.samples(id)?;
        let mut run = |feeds: &Feeds| worker.run_laid_out(feeds, id.batch as usize, asked.pad, &self.axes);
        let trials = shape_trials::Asked {
            workspace: self.workspace,
            interface: self.interface,
            id,
            feeds,
            between: self.between(id),
            artifact: asked.artifact,
        };
        let shapes = trials.of(outputs, &mut |feeds| {
            let outcome = run(feeds)?;
            Ok((answers(self.interface, &outcome.outputs)?, outcome.seconds))
        })?;
        let others = feeds.samples(other_order(feeds.batch(), id.batch as usize).into_iter())?;
        let outputs = shelf.hold(run(&others)?.outputs)?;
        Ok(Again::Turned { outputs, shapes: Box::new(shapes) })
    }
}

impl Feeding for Fed<'_> {
    /// Runs the samples in their order, and then again. What goes wrong then is kept beside outputs that are there; a worker that
    /// dies of it takes the cell with it.
    fn ask(&self, worker: &mut Worker, asked: &Asked<'_>, shelf: &Shelf) -> Result<Ran> {
        let id = &asked.cell.id;
        let run = worker.run_laid_out(self.samples(id)?, id.batch as usize, asked.pad, &self.axes)?;
        let labelled = match &self.labelled {
            Some(labelled) if asked.largest => {
                let ran = worker.run_laid_out(&labelled.feeds, id.batch as usize, asked.pad, &self.axes);
                let ran = ran.map_err(|error| error.context("the labelled samples were not answered"))?;
                Some(shelf.hold(ran.outputs)?)
            }
            _ => None,
        };
        let again = self.again(worker, asked, &run.outputs, shelf);
        if worker.is_dead() {
            return Err(again.err().unwrap_or_else(|| Error::failed("the worker has ended")));
        }
        let under_load = under_load::ask(worker, asked, self.samples(id)?, &self.axes, shelf)?;
        Ok(Ran {
            under_load,
            outputs: shelf.hold(run.outputs)?,
            seconds: CellSeconds { load: 0.0, run: run.seconds },
            transfers: run.transfers,
            layers: Err(unlisted()),
            again,
            instruction_set: worker.instruction_set().cloned(),
            context_bytes: worker.context_bytes(),
            exact: None,
            accuracy: None,
            labelled,
            fresh: Ok(None),
        })
    }

    fn probes(&self, worker: &mut Worker, id: &CellId, pad: bool) -> Result<Vec<Tensor>> {
        let feeds = self.samples(id)?;
        worker.run_laid_out(feeds, id.batch as usize, pad, &self.axes).map(|outcome| outcome.outputs)
    }

    fn pads(&self, signature: &Signature, kind: ArtifactKind) -> bool {
        let fixed = self.points.first().is_some_and(|(_, feeds)| pads(signature, feeds, &self.axes));
        fixed || fills_up(self.interface, kind)
    }

    fn shares_sessions(&self) -> bool {
        self.points.len() == 1
    }
}

/// Runs `feeds` once in a session of its own; the answers to what is read, and the seconds that they took.
///
/// # Errors
/// What the session refuses, or as [`answers`].
pub(crate) fn run_once(open: &mut OpenCell, interface: &Interface, feeds: &Feeds) -> Result<(Vec<Answers>, f64)> {
    let outcome = open.run_laid_out(feeds, &interface.axes())?;
    Ok((answers(interface, &outcome.outputs)?, outcome.seconds))
}

/// Whether short batches are filled up because no profile of an engine holds them.
pub(crate) fn fills_up(interface: &Interface, kind: ArtifactKind) -> bool {
    kind == ArtifactKind::Engine && interface.profiles.iter().any(|profile| profile.batch[0] > 1)
}

/// Whether the first input with samples, which lie where `axes` says, has a fixed number of them.
pub(crate) fn pads(signature: &Signature, feeds: &impl Feed, axes: &BatchAxes) -> bool {
    let of = |input: &TensorSpec| match axes.inputs.get(&input.name).copied().unwrap_or_default() {
        BatchAxis::At(axis) if feeds.with_samples().iter().any(|fed| fed.name == input.name) => {
            Some(input.shape.get(axis).copied().flatten())
        }
        _ => None,
    };
    signature.inputs.iter().find_map(of).is_some_and(|size| size.is_some())
}

/// The outputs that `interface` reads, in its order, of what a session gave.
///
/// # Errors
/// `Failed`, naming an output that is missing, or whose samples are of several types.
pub(crate) fn read(interface: &Interface, held: &Held) -> Result<Vec<Answers>> {
    answers(interface, &held.tensors()?)
}

/// The same of `outputs` themselves.
///
/// # Errors
/// As [`read`].
pub(crate) fn answers(interface: &Interface, outputs: &[Tensor]) -> Result<Vec<Answers>> {
    let wanted = interface.read_outputs().into_iter().map(|name| {
        let found: Vec<Tensor> = outputs.iter().filter(|output| output.name == name).cloned().collect();
        match (interface.output_axis(name), <[Tensor; 1]>::try_from(found)) {
            (BatchAxis::At(_), Ok([rows])) => Ok(Answers::Rows(rows)),
            (BatchAxis::At(_), Err(_)) => Err(Error::failed(format!("output `{name}` is missing"))),
            (BatchAxis::None, found) => Answers::of(found.map_or_else(|several| several, Vec::from))
                .map_err(|error| error.context(format!("output `{name}`"))),
        }
    });
    wanted.collect()
}

#[cfg(test)]
mod tests;
