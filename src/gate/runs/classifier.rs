//! What the open session of a classifier is asked, and what of it is kept.

use super::shelf::Shelf;
use super::{Again, Asked, Feeding, Ran, under_load, unlisted};
use crate::check::agreement::answer;
use crate::check::pair::{check_outputs, select_output};
use crate::check::trials::Trials;
use crate::error::{Error, Result};
use crate::findings::CellSeconds;
use crate::gate::execute::{is_of_one_batch, is_static};
use crate::gate::samples::LabelledData;
use crate::tensor::{BatchAxes, Signature, Tensor};
use crate::vocabulary::{ArtifactKind, CellId};
use crate::worker::Worker;

/// What every cell of a classifier is fed.
pub(crate) struct Samples {
    /// The probes, `[probes, …sample]`.
    pub(crate) probes: Tensor,
    /// Labelled data, where there is some.
    pub(crate) labelled: Option<LabelledData>,
    /// Natural samples whose answers are compared with the reference's, beside the probes.
    pub(crate) fresh: Option<Tensor>,
}

impl Feeding for Samples {
    /// Runs the probes in their order; then the trials, the labelled and the ordinary samples. What goes wrong in a trial or among
    /// ordinary samples is kept beside outputs that are there; a worker that dies of it takes the cell with it.
    fn ask(&self, worker: &mut Worker, asked: &Asked<'_>, shelf: &Shelf) -> Result<Ran> {
        let &Asked { cell, pad, largest, limit, manifest, .. } = asked;
        let batch = cell.id.batch as usize;
        let output = &manifest.output.name;
        let run = worker.run(&self.probes, batch, pad)?;
        let trials = {
            let mut run = |input: &Tensor| select_output(worker.run(input, batch, pad)?.outputs, output);
            Trials::record(&mut run, &self.probes, batch)
        };
        if worker.is_dead() {
            return Err(trials.err().unwrap_or_else(|| Error::failed("the worker has ended")));
        }
        let accuracy = match &self.labelled {
            // A file of one batch size is not another's.
            Some(data) if largest || is_of_one_batch(cell.artifact) => {
                let mut run = |part: &Tensor| select_output(worker.run(part, batch, pad)?.outputs, output);
                Some(data.answered(manifest, &mut run)?)
            }
            _ => None,
        };
        let fresh = match &self.fresh {
            Some(samples) if largest => {
                let count = affordable(samples.batch(), self.probes.batch(), run.seconds, limit.as_secs_f64());
                let samples = samples.first(count)?;
                let answered = worker.run(&samples, batch, pad);
                if worker.is_dead() {
                    return Err(answered.err().unwrap_or_else(|| Error::failed("the worker has ended")));
                }
                answered.and_then(|run| fresh_answers(run.outputs, output, samples.batch())).map(Some)
            }
            _ => Ok(None),
        };
        let under_load = under_load::ask(worker, asked, &self.probes, &BatchAxes::default(), shelf)?;
        Ok(Ran {
            under_load,
            outputs: shelf.hold(run.outputs)?,
            seconds: CellSeconds { load: 0.0, run: run.seconds },
            transfers: run.transfers,
            labelled: None,
            layers: Err(unlisted()),
            again: trials.map(Again::Rows),
            instruction_set: worker.instruction_set().cloned(),
            context_bytes: worker.context_bytes(),
            exact: None,
            accuracy,
            fresh,
        })
    }

    fn probes(&self, worker: &mut Worker, id: &CellId, pad: bool) -> Result<Vec<Tensor>> {
        worker.run(&self.probes, id.batch as usize, pad).map(|outcome| outcome.outputs)
    }

    fn pads(&self, signature: &Signature, _kind: ArtifactKind) -> bool {
        is_static(signature)
    }

    fn shares_sessions(&self) -> bool {
        true
    }
}

/// Share of a request's limit that natural samples may take a cell beside its probes: a last resort, since there are no more of
/// them than there are probes by default.
const FRESH_SHARE: f64 = 0.75;
/// Fewest of them, however slow the cell is.
const FEWEST_FRESH: usize = 32;

/// How many of `count` natural samples a cell runs in one request of `limit` seconds, that took so many seconds for its probes.
fn affordable(count: usize, probes: usize, seconds: f64, limit: f64) -> usize {
    let each = seconds / probes.max(1) as f64;
    let within = if each > 0.0 { (FRESH_SHARE * limit / each) as usize } else { count };
    count.min(within.max(FEWEST_FRESH))
}

/// The answers to natural samples, which must be as whole as those to the probes.
pub(crate) fn fresh_answers(outputs: Vec<Tensor>, name: &str, samples: usize) -> Result<Vec<usize>> {
    let output = select_output(outputs, name)?;
    check_outputs(&output, samples)?;
    Ok((0..samples).filter_map(|sample| output.row(sample).map(answer)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_cell_answers_fewer_ordinary_samples() {
        assert_eq!(affordable(256, 64, 0.0, 120.0), 256);
        // As many as there are probes are answered wherever these are, however busy the machine is.
        assert_eq!(affordable(256, 256, 89.0, 120.0), 256);
        assert_eq!(affordable(256, 64, 57.6, 120.0), 100);
        assert_eq!(affordable(256, 64, 640.0, 120.0), FEWEST_FRESH);
        assert_eq!(affordable(20, 64, 640.0, 120.0), 20);
        assert_eq!(affordable(256, 0, 10.0, 120.0), FEWEST_FRESH);
    }
}
