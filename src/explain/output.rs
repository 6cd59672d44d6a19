//! The output by the gate's own rule: whether there is anything to explain.

use std::collections::BTreeSet;

use crate::check::comparison::{Terms, compare};
use crate::check::ladder::{Ladder, Row};
use crate::check::pair::OutputPair;
use crate::error::Result;
use crate::findings::LeadFigures;
use crate::gate::Workspace;
use crate::gate::inside::side::Side;
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, Status};

/// What the rule says of the output that was shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing: the output is not shown, or there is nothing to judge it by.
    Unknown,
    /// It keeps within its limits: noise inside is none that answers tell.
    Keeps(LeadFigures),
    /// It leaves them, in these words.
    Leaves(Option<LeadFigures>, String),
}

impl Verdict {
    /// What the difference costs, where it was measured.
    pub(super) fn leads(&self) -> Option<&LeadFigures> {
        match self {
            Self::Keeps(leads) | Self::Leaves(Some(leads), _) => Some(leads),
            Self::Unknown | Self::Leaves(None, _) => None,
        }
    }
}

/// Judges the output of both sides on `probes`, by the limits of the cell for so few samples.
pub(super) fn judge(
    workspace: &Workspace,
    id: &CellId,
    expected: &mut Side,
    actual: &mut Side,
    probes: &Tensor,
    notes: &mut Vec<String>,
) -> Verdict {
    let name = &workspace.manifest.output.name;
    if !expected.shows(name) || !actual.shows(name) {
        return Verdict::Unknown;
    }
    judged(workspace, id, expected, actual, probes).unwrap_or_else(|error| {
        notes.push(format!("the output is not judged: {error}"));
        Verdict::Unknown
    })
}

fn judged(
    workspace: &Workspace,
    id: &CellId,
    expected: &mut Side,
    actual: &mut Side,
    probes: &Tensor,
) -> Result<Verdict> {
    let manifest = &workspace.manifest;
    let natural = workspace.natural()?.leads;
    let ladder = Ladder::built_in()?.with_losses(&manifest.losses_allowed);
    let row = ladder.row(id.runtime.library, id.precision)?;
    let row = Row { limits: row.limits.of_few(probes.batch()), ..row.clone() };
    let names = BTreeSet::from([manifest.output.name.clone()]);
    let (before, after) = (expected.run(&names, probes)?, actual.run(&names, probes)?);
    let (Some(before), Some(after)) = (before.get(&manifest.output.name), after.get(&manifest.output.name)) else {
        return Ok(Verdict::Unknown);
    };
    let pair = match OutputPair::of_tensors(before, after, probes.batch()) {
        Ok(pair) => pair,
        Err(error) => return Ok(Verdict::Leaves(None, error.message)),
    };
    let terms =
        Terms { kind: manifest.output.kind, row: &row, natural: &natural, confident_allowed: 0, batch: Some(id.batch) };
    let compared = compare(&pair, &terms)?;
    Ok(match compared.status() {
        Status::Pass => Verdict::Keeps(compared.leads),
        _ => {
            let reason = compared.fault().unwrap_or_default();
            Verdict::Leaves(Some(compared.leads), reason)
        }
    })
}
