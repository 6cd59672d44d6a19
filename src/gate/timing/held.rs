//! What outputs that were made while the clock ran are held to: what is fast must be right.

use std::collections::BTreeMap;

use crate::check::apart::{Answers, widened};
use crate::check::comparison::{Terms, compare};
use crate::check::ladder::{Ladder, Row};
use crate::check::leads::NaturalLeads;
use crate::check::pair::{OutputPair, select_output};
use crate::check::tasks::{self, Given};
use crate::error::{Error, Result};
use crate::gate::assemble::confident_allowed;
use crate::gate::judging::limits;
use crate::gate::own;
use crate::gate::runs::interface::{Fed, answers, read};
use crate::gate::runs::shelf::Held;
use crate::manifest::Manifest;
use crate::manifest::interface::Interface;
use crate::tensor::{BatchAxis, Tensor};
use crate::vocabulary::{CellId, ShapePoint, Status};

/// What outputs that were made while the clock ran are held to.
pub enum Expected<'a> {
    /// Of a classifier.
    Scores(Scores),
    /// Of a model of several inputs.
    Tasks(Tasks<'a>),
}

/// The answers of a classifier.
#[derive(Clone, Debug)]
pub struct Scores {
    /// The reference's outputs, in the probes' order.
    pub reference: Tensor,
    /// Its leads on ordinary inputs.
    pub natural: NaturalLeads,
}

/// The answers of a model of several inputs.
pub struct Tasks<'a> {
    pub(crate) interface: &'a Interface,
    /// What is fed under the clock.
    pub(crate) fed: &'a Fed<'a>,
    /// The reference's answers, by shape.
    pub(crate) reference: BTreeMap<Option<ShapePoint>, &'a Held>,
}

/// The outputs of a run or of a measurement, a list of tensors for each batch.
pub(super) type Batches<'a> = &'a [Vec<Tensor>];

impl Expected<'_> {
    /// Holds `batches` of the first samples in order, and again from the first, to the reference; `what` names them.
    ///
    /// # Errors
    /// `Failed`, with what is wrong with them; that there are none.
    pub(super) fn hold(
        &self,
        manifest: &Manifest,
        ladder: &Ladder,
        cell: &CellId,
        batches: Batches<'_>,
        what: &str,
    ) -> Result<()> {
        match self {
            Self::Scores(scores) => scores.hold(manifest, ladder, cell, batches, what),
            Self::Tasks(tasks) => tasks.hold(ladder, cell, batches, what),
        }
    }

    /// Samples that one batch of outputs answers; a part of one counts as none.
    ///
    /// # Errors
    /// `Failed`, naming an output that is missing.
    pub(super) fn samples_in(&self, manifest: &Manifest, outputs: &[Tensor]) -> Result<usize> {
        match self {
            Self::Scores(scores) => {
                let values = select_output(outputs.to_vec(), &manifest.output.name)?.values.len();
                Ok(values / scores.reference.row_len().max(1))
            }
            Self::Tasks(tasks) => {
                let answered = answers(tasks.interface, outputs)?;
                Ok(answered.iter().map(Answers::count).min().unwrap_or(0))
            }
        }
    }
}

impl Scores {
    fn hold(
        &self,
        manifest: &Manifest,
        ladder: &Ladder,
        cell: &CellId,
        batches: Batches<'_>,
        what: &str,
    ) -> Result<()> {
        let Self { reference, natural } = self;
        let mut outputs: Vec<f32> = Vec::new();
        for made in batches {
            outputs.extend(select_output(made.clone(), &manifest.output.name)?.into_floats());
        }
        let columns = reference.row_len();
        let samples = outputs.len() / columns.max(1);
        let expected: Vec<f32> = reference.floats().iter().copied().cycle().take(samples * columns).collect();
        let pair = OutputPair::new(&expected, &outputs, samples, columns)
            .map_err(|error| error.context(format!("{what} cannot be compared")))?;
        let row = ladder.row(cell.runtime.library, cell.precision)?;
        // The clock may run over a few probes, whose errors are not those of all of them.
        let row = Row { limits: row.limits.of_few(samples), ..row.clone() };
        let terms = Terms {
            kind: manifest.output.kind,
            row: &row,
            natural,
            confident_allowed: confident_allowed(manifest, cell.precision),
            batch: Some(cell.batch),
        };
        let compared = compare(&pair, &terms)?;
        match (compared.status(), compared.fault()) {
            (Status::Pass, _) => Ok(()),
            (_, fault) => Err(wrong(what, fault)),
        }
    }
}

impl Tasks<'_> {
    fn hold(&self, ladder: &Ladder, cell: &CellId, batches: Batches<'_>, what: &str) -> Result<()> {
        let outputs = joined(self.interface, batches)?;
        let actual = answers(self.interface, &outputs)?;
        let known = self.reference.get(&cell.shape).ok_or_else(|| Error::failed("the reference did not answer"))?;
        let known = read(self.interface, known)?;
        let samples = actual.first().map_or(0, Answers::count);
        let have = known.first().map_or(0, Answers::count);
        if samples == 0 || have == 0 {
            return Err(Error::failed("the measurement gave no outputs to check"));
        }
        let again: Vec<usize> = (0..samples).map(|sample| sample % have).collect();
        let reference = known.iter().map(|one| one.pick(&again)).collect::<Result<Vec<_>>>()?;
        let mut actual = widened(actual, &reference);
        // A file of the project's own may answer in another float type, under the clock as before it.
        let kind = cell.runtime.library.source(cell.precision);
        if own::is_own(&self.fed.workspace.manifest, kind) {
            own::in_types_of(&mut actual, &reference);
        }
        for output in &self.interface.outputs {
            let limits = limits(output, ladder, cell)?;
            let given = Given {
                output,
                reference: &reference,
                actual: &actual,
                samples,
                batch: Some(cell.batch),
                limits: &limits,
            };
            match tasks::judge(&given) {
                Ok(found) if found.status == Status::Pass => {}
                Ok(found) => return Err(wrong(what, Some(found.detail))),
                // So few samples may all be answered alike, by which nothing is judged; but for what is the same to the last bit.
                Err(_) if reference == actual => {}
                Err(error) => return Err(error.context(format!("{what} cannot be compared"))),
            }
        }
        Ok(())
    }
}

/// The outputs of all batches as those of one run: the rows of each output behind each other; of an output without a batch, the
/// tensor of each sample.
fn joined(interface: &Interface, batches: Batches<'_>) -> Result<Vec<Tensor>> {
    let mut joined: Vec<Tensor> = Vec::new();
    for output in batches.iter().flatten() {
        let has_rows = interface.output_axis(&output.name) != BatchAxis::None && !output.shape.is_empty();
        let alike = |known: &&mut Tensor| known.name == output.name && known.shape.get(1..) == output.shape.get(1..);
        let rows = joined.iter_mut().find(alike).filter(|_| has_rows);
        match rows {
            Some(known) => {
                known.append(output)?;
            }
            None => joined.push(output.clone()),
        }
    }
    Ok(joined)
}

fn wrong(what: &str, fault: Option<String>) -> Error {
    let fault = fault.unwrap_or_else(|| "they cannot be judged".to_owned());
    Error::failed(format!("{what} are wrong: {fault}"))
}

#[cfg(test)]
mod tests;
