//! What a cell of open shapes is asked beside its samples: whether a session keeps something of another shape, whether each of an
//! engine's profiles answers right, and what a static engine of the same shape answers.

mod judging;

use super::{Site, engine, profiles};
use crate::check::apart::{Answers, widened};
use crate::convert::Artifact;
use crate::error::{Error, Result};
use crate::gate::execute::session_options;
use crate::gate::open::{OpenCell, planned};
use crate::gate::runs::interface::{answers, run_once};
use crate::gate::workspace::Workspace;
use crate::manifest::interface::Interface;
use crate::runtime::SessionOptions;
use crate::tensor::{Feeds, Tensor};
use crate::vocabulary::{CellId, ShapePoint};
use crate::worker::Worker;

pub(in crate::gate) use judging::{Seen, checks, name_between};

/// Samples of another shape that a session answers in between.
const BETWEEN: usize = 2;
/// Fewest samples that it answers again after them.
const AGAIN: usize = 16;

/// What came of it.
#[derive(Clone, Default)]
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
        for answers in self.held_to_reference() {
            *answers = widened(std::mem::take(answers), reference);
        }
    }

    /// What is held to the reference: the answers of each profile, and of a static twin.
    pub(in crate::gate) fn held_to_reference(&mut self) -> impl Iterator<Item = &mut Vec<Answers>> {
        self.profiles.iter_mut().map(|(_, answers)| answers).chain(&mut self.twin).flatten()
    }
}

/// The first samples again, after another shape in the same session.
#[derive(Clone)]
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

/// A cell that is asked.
pub(in crate::gate) struct Asked<'a> {
    pub(in crate::gate) workspace: &'a Workspace,
    pub(in crate::gate) interface: &'a Interface,
    pub(in crate::gate) id: &'a CellId,
    pub(in crate::gate) feeds: &'a Feeds,
    /// Samples of another shape, where there is one.
    pub(in crate::gate) between: Option<Between<'a>>,
    /// What its session was loaded from.
    pub(in crate::gate) artifact: &'a Artifact,
}

/// Runs the cell's session; the answers, and the seconds that they took.
pub(in crate::gate) type Run<'a> = dyn FnMut(&Feeds) -> Result<(Vec<Answers>, f64)> + 'a;

impl Asked<'_> {
    /// Asks all of it of a cell whose samples were answered with `outputs` by the session behind `run` just now, the first thing
    /// that it did.
    ///
    /// # Errors
    /// What the session itself refuses; what goes wrong in others stands in the answer.
    pub(in crate::gate) fn of(&self, outputs: &[Tensor], run: &mut Run<'_>) -> Result<ShapeTrials> {
        let &Self { workspace, interface, id, .. } = self;
        let mut trials = ShapeTrials { after: self.after(outputs, run)?, ..ShapeTrials::default() };
        if !id.runtime.library.builds_engines() {
            return Ok(trials);
        }
        trials.change = self.change(run)?;
        let other = |artifact: Artifact, options: &SessionOptions| {
            let mut open = OpenCell::open_with(workspace, id, Some(artifact), options, 1)?;
            run_once(&mut open, interface, self.feeds).map(|(answers, _)| answers)
        };
        let options = session_options(&workspace.manifest);
        let holding = interface.profiles_of(id.batch, id.shape.as_ref());
        if interface.profiles.len() > 1 {
            trials.first = holding.first().copied().unwrap_or(0);
            for index in holding.into_iter().skip(1) {
                let options = SessionOptions { profile: Some(index), ..options.clone() };
                trials.profiles.push((index, other(self.artifact.clone(), &options)));
            }
        }
        // A twin of other origin than the engine says nothing about it.
        let shipped = workspace.manifest.own_engine(id.runtime.library, id.precision).is_some();
        if workspace.manifest.engine.witness && !shipped {
            trials.twin = Some(static_engine(workspace, id).and_then(|twin| other(twin, &options)));
        }
        Ok(trials)
    }

    /// Another shape in the same session, then the first samples as they were run before, in the same batches.
    ///
    /// # Errors
    /// What the session refuses.
    fn after(&self, outputs: &[Tensor], run: &mut Run<'_>) -> Result<Option<After>> {
        let Some((point, other)) = self.between else { return Ok(None) };
        let batch = (self.id.batch as usize).max(1);
        run(&other.first(BETWEEN.max(batch))?).map_err(|error| error.context("in another of the shapes"))?;
        let samples = AGAIN.next_multiple_of(batch).min(self.feeds.batch());
        let some = self.feeds.first(samples)?;
        let (again, _) = run(&some)?;
        let before = answers(self.interface, outputs)?;
        let before = before.iter().map(|answers| first(answers, samples)).collect::<Result<Vec<_>>>()?;
        let shape = named(point);
        if judging::equal(&before, &again) {
            // That they are says all, and takes no memory.
            return Ok(Some(After { shape, samples, before: Vec::new(), again: Vec::new(), fresh: None }));
        }
        let mut fresh = OpenCell::open(self.workspace, self.id);
        let fresh = fresh.as_mut().map_err(|error| error.clone());
        let fresh = Some(fresh.and_then(|fresh| run_once(fresh, self.interface, &some).map(|(answers, _)| answers)));
        Ok(Some(After { shape, samples, before, again, fresh }))
    }

    /// The name of another shape, and the seconds of the first call after it and of the next one.
    fn change(&self, run: &mut Run<'_>) -> Result<Option<(String, [f64; 2])>> {
        let Some((point, other)) = self.between else { return Ok(None) };
        let batch = (self.id.batch as usize).max(1);
        run(&other.first(batch)?)?;
        let one = self.feeds.first(batch)?;
        let mut seconds = [0.0; 2];
        for seconds in &mut seconds {
            *seconds = run(&one)?.1;
        }
        Ok(Some((named(point), seconds)))
    }
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

#[cfg(test)]
mod tests;
