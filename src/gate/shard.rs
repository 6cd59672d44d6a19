//! One shard of a plan: the cells that this machine runs, and those that run beside them so that they are judged as in the whole.

use super::plan_file;
use super::workspace::Workspace;
use crate::check::legs;
use crate::error::{Error, Result};
use crate::findings::OfShard;
use crate::plan::shards::{ShardNumber, divide, fingerprint};
use crate::plan::{Ability, Filter, PlannedCell};
use crate::report::plan_file::PlanFile;
use crate::vocabulary::CellId;

/// A shard that is run.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardRun {
    /// What the report says of it.
    pub of: OfShard,
    /// All cells that are divided, in their order.
    pub planned: Vec<CellId>,
}

/// The plan that `filter` selects here, or the `given` one, divided among `shard.count` machines; and what of it shard
/// `shard.index` is: `filter` gets its cells.
///
/// # Errors
/// `Usage` where there are too many shards, or the given plan is divided among another number of machines; `Invalid` where it is of
/// another model.
pub fn divided(
    workspace: &Workspace,
    filter: &mut Filter,
    given: Option<&PlanFile>,
    shard: ShardNumber,
) -> Result<(PlanFile, ShardRun)> {
    let mut plan = match given {
        Some(given) => {
            fits(workspace, given)?;
            // A version that the plan has and this machine has not is reported as missing.
            filter.also.extend(given.cells.iter().map(|cell| cell.runtime.clone()));
            given.clone()
        }
        None => plan_file(workspace, &workspace.plan(filter)?),
    };
    let known: Option<Vec<u32>> = plan.cells.iter().map(|cell| cell.shard).collect();
    let shards = match (plan.shards, known) {
        (Some(count), Some(known)) if count == shard.count => known,
        (Some(count), Some(_)) => {
            return Err(Error::usage(format!("the plan is divided among {count} machines, and this is shard {shard}"))
                .hint(format!(
                    "`--shard {}/{count}`, or a plan that was made without `--shard`",
                    shard.index.min(count)
                )));
        }
        _ => divide(&plan, workspace.manifest.model.source.reference(), shard.count)?,
    };
    let of =
        OfShard { index: shard.index, count: shard.count, division: fingerprint(&plan, &shards), beside: Vec::new() };
    plan.shards = Some(shard.count);
    plan.cells.iter_mut().zip(&shards).for_each(|(cell, shard)| cell.shard = Some(*shard));
    let own = plan.cells.iter().filter(|cell| cell.shard == Some(shard.index)).map(|cell| cell.id());
    filter.only = Some(own.collect());
    let planned = plan.cells.iter().map(|cell| cell.id()).collect();
    Ok((plan, ShardRun { of, planned }))
}

fn fits(workspace: &Workspace, plan: &PlanFile) -> Result<()> {
    let own = (&workspace.manifest.model.name, &workspace.model_sha256);
    if (&plan.model.name, &plan.model.sha256) == own {
        return Ok(());
    }
    Err(Error::invalid("the plan is of another model")
        .cause(format!("`{}` {} and `{}` {}", plan.model.name, plan.model.sha256, own.0, own.1))
        .hint("make it anew with `trtgate gate --plan-json`, from the same commit"))
}

/// The cells of the chains of those of `plan` that run, at their batches, where other shards of `divided` have them: what tells which
/// leg broke. The reference is the first of each chain.
pub(super) fn chain_beside(workspace: &Workspace, plan: &[PlannedCell], divided: &[CellId]) -> Vec<PlannedCell> {
    let Ok(whole) = workspace.plan(&Filter::default()) else { return Vec::new() };
    let source = workspace.manifest.model.source.kind();
    let runs = |cell: &&PlannedCell| matches!(cell.ability, Ability::Run);
    let serves = |beside: &PlannedCell, cell: &PlannedCell| {
        let chain = legs::chain(source, cell.id.runtime.library, cell.id.precision);
        let before = chain.split_last().map_or(&[][..], |(_, before)| before);
        let is_it =
            |point: &legs::Point| point.library == beside.id.runtime.library && point.precision == beside.id.precision;
        beside.id.batch == cell.id.batch && before.iter().any(is_it)
    };
    let mut whole = whole;
    whole.retain(|beside| {
        runs(&beside)
            && divided.iter().any(|cell| cell.selects(&beside.id))
            && plan.iter().all(|cell| cell.id != beside.id)
            && plan.iter().filter(runs).any(|cell| serves(beside, cell))
    });
    whole
}

/// The runtimes and precisions of `cells`, each once.
pub(super) fn named(cells: &[PlannedCell]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for cell in cells {
        let name = format!("{}/{}", cell.id.runtime, cell.id.precision);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests;
