//! What a cell of open shapes is asked beside its samples: whether a session keeps something of another shape, whether each of an
//! engine's profiles answers right, and what a static engine of the same shape answers.

mod judging;

use super::{Site, engine, profiles};
use crate::check::apart::Answers;
use crate::convert::Artifact;
use crate::error::{Error, Result};
use crate::gate::execute::session_options;
use crate::gate::open::{OpenCell, planned};
use crate::gate::values::{Asked, run_once};
use crate::gate::workspace::Workspace;
use crate::runtime::SessionOptions;
use crate::tensor::{Feeds, Values};
use crate::vocabulary::{CellId, ShapePoint};
use crate::worker::Worker;

pub(in crate::gate) use judging::{Seen, checks, name_between};

/// Samples of another shape that a session answers in between.
const BETWEEN: usize = 2;
/// Fewest samples that it answers again after them.
const AGAIN: usize = 16;

/// What came of it.
#[derive(Default)]
pub(in crate::gate) struct ShapeTrials {
    after: Option<After>,
    /// The profile that answers the cell's samples, where an engine has several.
    first: usize,
    /// The others that hold them.
    profiles: Vec<(usize, Result<Vec<Answers>>)>,
    /// A static engine of the same shape.
    twin: Option<Result<Vec<Answers>>>,
    /// Another shape, and the seconds of the first call after it and of the next one; of engines.
    change: Option<(String, [f64; 2])>,
}

impl ShapeTrials {
    /// Gives whole numbers the width of the reference's.
    pub(in crate::gate) fn widen(&mut self, reference: &[Answers]) {
        let others = self.profiles.iter_mut().map(|(_, answers)| answers).chain(&mut self.twin);
        for answers in others.flatten() {
            *answers = widened(std::mem::take(answers), reference);
        }
    }
}

/// The first samples again, after another shape in the same session.
struct After {
    shape: String,
    samples: usize,
    before: Vec<Answers>,
    again: Vec<Answers>,
    /// What a session that never saw another shape answers; asked where the other two differ.
    fresh: Option<Result<Vec<Answers>>>,
}

/// Samples of the shape that a session answers in between.
pub(in crate::gate) type Between<'a> = (Option<&'a ShapePoint>, &'a Feeds);

/// Another shape in `open`, then the first samples as they were run `before`, in the same batches.
///
/// # Errors
/// What the session refuses.
fn after(
    workspace: &Workspace,
    id: &CellId,
    asked: &Asked<'_>,
    open: &mut OpenCell,
    before: &[Answers],
) -> Result<Option<After>> {
    let Some((point, other)) = asked.between else { return Ok(None) };
    let batch = (id.batch as usize).max(1);
    run_once(open, asked.interface, &other.first(BETWEEN.max(batch))?)
        .map_err(|error| error.context("in another of the shapes"))?;
    let samples = AGAIN.next_multiple_of(batch).min(asked.feeds.batch());
    let some = asked.feeds.first(samples)?;
    let (again, _) = run_once(open, asked.interface, &some)?;
    let before = before.iter().map(|answers| first(answers, samples)).collect::<Result<Vec<_>>>()?;
    let fresh = (!judging::equal(&before, &again)).then(|| {
        let mut fresh = OpenCell::open(workspace, id)?;
        run_once(&mut fresh, asked.interface, &some).map(|(answers, _)| answers)
    });
    Ok(Some(After { shape: named(point), samples, before, again, fresh }))
}

/// The name of another shape, and the seconds of the first call after it and of the next one.
fn change(id: &CellId, asked: &Asked<'_>, open: &mut OpenCell) -> Result<Option<(String, [f64; 2])>> {
    let Some((point, other)) = asked.between else { return Ok(None) };
    let batch = (id.batch as usize).max(1);
    run_once(open, asked.interface, &other.first(batch)?)?;
    let one = asked.feeds.first(batch)?;
    let mut seconds = [0.0; 2];
    for seconds in &mut seconds {
        *seconds = run_once(open, asked.interface, &one)?.1;
    }
    Ok(Some((named(point), seconds)))
}

fn named(point: Option<&ShapePoint>) -> String {
    point.map_or_else(|| "another shape".to_owned(), |point| format!("`{point}`"))
}

/// The answers to the first samples.
fn first(answers: &Answers, samples: usize) -> Result<Answers> {
    Ok(match answers {
        Answers::Rows(tensor) => Answers::Rows(tensor.first(samples)?),
        Answers::Apart(parts) => Answers::Apart(parts.iter().take(samples).cloned().collect()),
    })
}

/// Asks all of it of a cell whose samples were answered by `open` just now, the first thing that it did.
///
/// # Errors
/// What the session itself refuses; what goes wrong in others stands in the answer.
pub(in crate::gate) fn of(
    workspace: &Workspace,
    id: &CellId,
    asked: &Asked<'_>,
    open: &mut OpenCell,
    before: &[Answers],
) -> Result<ShapeTrials> {
    let mut trials = ShapeTrials { after: after(workspace, id, asked, open, before)?, ..ShapeTrials::default() };
    if !id.runtime.library.builds_engines() {
        return Ok(trials);
    }
    trials.change = change(id, asked, open)?;
    let run = |artifact: Artifact, options: &SessionOptions| {
        let mut open = OpenCell::open_with(workspace, id, Some(artifact), options, 1)?;
        run_once(&mut open, asked.interface, asked.feeds).map(|(answers, _)| answers)
    };
    let options = session_options(&workspace.manifest);
    let holding = asked.interface.profiles_of(id.batch, id.shape.as_ref());
    if asked.interface.profiles.len() > 1 {
        trials.first = holding.first().copied().unwrap_or(0);
        for index in holding.into_iter().skip(1) {
            let options = SessionOptions { profile: Some(index), ..options.clone() };
            trials.profiles.push((index, run(open.artifact.clone(), &options)));
        }
    }
    if workspace.manifest.engine.witness {
        trials.twin = Some(static_engine(workspace, id).and_then(|twin| run(twin, &options)));
    }
    Ok(trials)
}

/// A static engine of the cell's batch and shape.
fn static_engine(workspace: &Workspace, id: &CellId) -> Result<Artifact> {
    let cell = planned(workspace, id)?;
    let Some(installation) = &cell.installation else {
        return Err(Error::missing(format!("`{}` is not on this machine", id.runtime)));
    };
    let source = workspace.artifact(cell.artifact, None)?;
    let mut site = Site::of(workspace, false)?;
    site.profiles = profiles::of_point(workspace, id.batch, id.shape.as_ref())?;
    site.fixed = true;
    let mut worker = Worker::start(&workspace.program.loading(installation), workspace.limits)?;
    engine(&site, installation, id.precision, &source, &mut |request| worker.build(request))
}

/// `answers` with whole numbers as wide as the reference's: releases of TensorRT that know 32 bits alone answer with those.
pub(in crate::gate) fn widened(answers: Vec<Answers>, reference: &[Answers]) -> Vec<Answers> {
    let wide = |name: &str| {
        let own = reference.iter().find(|own| own.name() == name);
        own.is_some_and(|own| match own {
            Answers::Rows(tensor) => matches!(tensor.values, Values::Int64(_)),
            Answers::Apart(parts) => parts.iter().all(|part| matches!(part.values, Values::Int64(_))),
        })
    };
    let widen = |mut tensor: crate::tensor::Tensor| {
        if let Values::Int32(values) = &tensor.values {
            tensor.values = Values::Int64(values.iter().map(|value| i64::from(*value)).collect());
        }
        tensor
    };
    let one = |answers: Answers| match answers {
        answers if !wide(answers.name()) => answers,
        Answers::Rows(tensor) => Answers::Rows(widen(tensor)),
        Answers::Apart(parts) => Answers::Apart(parts.into_iter().map(widen).collect()),
    };
    answers.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests;
