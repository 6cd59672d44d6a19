//! The answers that a report keeps: those of cells whose library has versions, so that versions which ran in containers of their
//! own are put beside each other by the merge.

use std::collections::BTreeMap;

use super::kit::Subject;
use super::runs::interface::read;
use super::runs::{Outcome, Ran, RawCell, Runs};
use crate::check::apart::Answers;
use crate::check::pair::select_output;
use crate::check::versions::kept::{self, Answered, Compared, ROOM, Terms};
use crate::digest::digest_bytes;
use crate::error::Result;
use crate::findings::CellReport;
use crate::findings::versions::KeptAnswers;
use crate::manifest::Manifest;
use crate::manifest::tasks::OutputTask;
use crate::tensor::Feeds;
use crate::vocabulary::ShapePoint;

/// Keeps what the cells of `runs` answered, and names it in `cells`; nothing where no library has versions.
///
/// A cell whose outputs cannot be had has failed for it, and keeps none.
///
/// # Errors
/// Where nothing can be kept at all.
pub(super) fn keep(
    manifest: &Manifest,
    subject: &Subject<'_>,
    runs: &Runs,
    cells: &mut [CellReport],
) -> Result<Option<KeptAnswers>> {
    let terms = match subject {
        Subject::Classifier(classifier) => Terms {
            outputs: vec![Compared {
                name: manifest.output.name.clone(),
                task: OutputTask::Classification(manifest.output.kind),
                named: BTreeMap::new(),
            }],
            natural: classifier.leads.as_ref().ok().cloned(),
            losses: manifest.losses_allowed.clone(),
        },
        Subject::Several(several) => Terms::of_outputs(&several.interface.outputs),
    };
    let ran = |cell: &'_ RawCell| match &cell.outcome {
        Outcome::Ran(_) => cell.planned.id.runtime.version.is_some(),
        Outcome::Stopped { .. } | Outcome::Built { .. } => false,
    };
    let versioned: Vec<&RawCell> = runs.cells.iter().filter(|cell| ran(cell)).collect();
    if versioned.is_empty() {
        return Ok(None);
    }
    let mut asked: BTreeMap<Option<ShapePoint>, String> = BTreeMap::new();
    if let Subject::Several(several) = subject {
        asked.extend(several.fed.points.iter().map(|(point, feeds)| (point.clone(), digest_of(feeds))));
    }
    let answered = |cell: &&RawCell| {
        let Outcome::Ran(ran) = &cell.outcome else { return None };
        let shape = &cell.planned.id.shape;
        let asked = match subject {
            Subject::Classifier(classifier) => classifier.set.sha256(),
            Subject::Several(_) => asked.get(shape)?.clone(),
        };
        let outputs = outputs(manifest, subject, ran).ok()?;
        Some(Ok(Answered { cell: cell.planned.id.clone(), asked, outputs }))
    };
    let (kept, places) = kept::keep(&terms, versioned.len(), ROOM, versioned.iter().filter_map(answered))?;
    for cell in cells.iter_mut() {
        cell.answers = places.get(&cell.id()).cloned();
    }
    Ok((!kept.sets.is_empty()).then_some(kept))
}

fn outputs(manifest: &Manifest, subject: &Subject<'_>, ran: &Ran) -> Result<Vec<Answers>> {
    match subject {
        Subject::Classifier(_) => {
            let scores = select_output(ran.outputs.tensors()?.into_owned(), &manifest.output.name)?;
            Ok(vec![Answers::Rows(scores)])
        }
        Subject::Several(several) => read(several.interface, &ran.outputs),
    }
}

/// Digest of samples: names, types, shapes and values.
fn digest_of(feeds: &Feeds) -> String {
    digest_bytes(feeds.tensors().map(|tensor| tensor.identity() + "\n").collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests;
