//! Whether cards of one model answer alike: the same engine, asked the same samples in the same order, has to answer the same bits
//! on each. What a card answers otherwise though it repeats itself is the card's fault, or that of what is set on it.

use std::collections::BTreeSet;

use super::runs::shelf::Held;
use super::runs::{Elsewhere, Outcome, RawCell};
use crate::error::Result;
use crate::findings::{CellReport, CheckResult};
use crate::tensor::Tensor;
use crate::vocabulary::{Stage, Status};

/// Name of the check.
const CHECK: &str = "cards";

/// Holds the answers of each cell to those of its engine on the other cards; a cell that passed fails by a difference. What was
/// found, in a sentence, where there were several.
pub(super) fn hold(raw: &[RawCell], cells: &mut [CellReport]) -> Option<String> {
    let (mut compared_cells, mut alike, mut numbers) = (0, 0, BTreeSet::new());
    for raw in raw.iter().filter(|raw| !raw.elsewhere.is_empty()) {
        let (Outcome::Ran(ran), Some(own)) = (&raw.outcome, raw.gpu) else { continue };
        let Some(cell) = cells.iter_mut().find(|cell| cell.id() == raw.planned.id) else { continue };
        compared_cells += 1;
        numbers.insert(own);
        numbers.extend(raw.elsewhere.iter().map(|other| other.gpu));
        let before = cell.checks.len();
        for other in &raw.elsewhere {
            let check = compared(own, &ran.outputs, other);
            if cell.status == Status::Pass && check.gating && check.status != Status::Pass {
                cell.status = check.status;
                cell.stage = Stage::Compare;
                cell.reason = Some(format!("{CHECK}: {}", check.detail));
                cell.hint = Some(format!(
                    "`nvidia-smi -i {},{}` shows both (errors of memory, clocks, MIG, other processes); gate each alone with `--devices`",
                    own, other.gpu
                ));
            }
            cell.checks.push(check);
        }
        alike += usize::from(cell.checks.iter().skip(before).all(|check| check.status == Status::Pass));
    }
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    (compared_cells > 0).then(|| {
        format!(
            "GPUs {}: the same engine answered the same bits on each in {alike} of {compared_cells} cells",
            numbers.join(", ")
        )
    })
}

fn compared(own: usize, answers: &Held, other: &Elsewhere) -> CheckResult {
    let gpu = other.gpu;
    let told = |status, gating, detail| CheckResult { name: CHECK.to_owned(), status, gating, detail };
    // A look that was asked for and could not be made is no pass.
    let unseen = |error: &crate::error::Error| {
        told(Status::Invalid, true, format!("the same engine could not be asked on GPU {gpu}: {error}"))
    };
    let [first, again] = match &other.answers {
        Ok(answers) => answers,
        Err(error) => return unseen(error),
    };
    let found = difference(answers, first).and_then(|found| Ok((found, difference(first, again)?)));
    match found {
        Err(error) => unseen(&error),
        Ok((None, _)) => told(Status::Pass, true, format!("the same bits on GPU {gpu} as on GPU {own}")),
        Ok((Some(difference), None)) => told(
            Status::Fail,
            true,
            format!("GPU {gpu} answers otherwise than GPU {own}, and repeats itself bit by bit: {difference}"),
        ),
        Ok((Some(difference), Some(_))) => told(
            Status::Fail,
            false,
            format!("GPU {gpu} answers otherwise than GPU {own}, but changes from run to run itself: {difference}"),
        ),
    }
}

/// How `other` differs from `own`, in words; `None` where every bit is the same.
fn difference(own: &Held, other: &Held) -> Result<Option<String>> {
    let (own, other) = (own.tensors()?, other.tensors()?);
    let border = |tensors: &[Tensor]| -> Vec<_> {
        tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone(), tensor.element_type())).collect()
    };
    if border(&own) != border(&other) {
        return Ok(Some("other outputs, or of other shapes".to_owned()));
    }
    let differ = own.iter().zip(other.iter()).find(|(own, other)| own.values.encode() != other.values.encode());
    let Some((own, other)) = differ else { return Ok(None) };
    let name = &own.name;
    let (own, other) = (own.floats(), other.floats());
    let apart = || own.iter().zip(other.iter()).map(|(own, other)| (own - other).abs()).filter(|apart| *apart != 0.0);
    // What is no number is farther away than any.
    Ok(Some(match apart().max_by(f32::total_cmp) {
        None => format!("`{name}` in bits that make no difference of value"),
        Some(largest) => {
            format!("{} of {} values of `{name}`, by {largest:.2e} at most", apart().count(), own.len())
        }
    }))
}

#[cfg(test)]
mod tests;
