//! Quotients inside one run: what both sides share cancels, so they hold across machines of one kind.

use super::judge::Subject;
use super::{BenchCell, BenchContext};
use crate::measure::baseline::Quantity;
use crate::measure::environment::{Environment, device_name, mode_name};
use crate::measure::rule::Limits;
use crate::timing::contract::TimingMode;
use crate::vocabulary::{CellId, Precision};

/// Two cells whose quotient is a baseline.
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) mode: TimingMode,
    pub(super) numerator: CellId,
    pub(super) denominator: CellId,
}

/// Quotients worth keeping: the largest batch over batch 1 of each precision, and each smaller precision over FP32 at
/// the largest batch, of every runtime.
pub(super) fn pairs(cells: &[BenchCell]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let find = |id: &CellId| cells.iter().find(|cell| cell.id == *id);
    for cell in cells {
        let same = |other: &&BenchCell| other.id.runtime == cell.id.runtime && other.id.precision == cell.id.precision;
        let largest = cells.iter().filter(same).map(|other| other.id.batch).max().unwrap_or(0);
        if cell.id.batch != largest {
            continue;
        }
        let CellId { runtime, precision, batch, .. } = &cell.id;
        let mut push = |name: String, denominator: CellId| {
            let comparable = find(&denominator).is_some_and(|other| other.contract == cell.contract);
            if comparable && denominator != cell.id {
                let (mode, numerator) = (cell.contract.mode, cell.id.clone());
                pairs.push(Pair { name, mode, numerator, denominator });
            }
        };
        push(format!("{runtime} {precision} batch {batch} over batch 1"), CellId { batch: 1, ..cell.id.clone() });
        push(
            format!("{runtime} {precision} over fp32 at batch {batch}"),
            CellId { precision: Precision::Fp32, ..cell.id.clone() },
        );
    }
    pairs
}

pub(super) fn ratio_subject(pair: &Pair, cells: &[BenchCell], context: &BenchContext<'_>) -> Option<Subject> {
    let cell = cells.iter().find(|cell| cell.id == pair.numerator)?;
    let library = cell.id.runtime.library;
    let device = device_name(context.machine, library);
    let runtime = cell.id.runtime.to_string();
    let name = pair.name.strip_prefix(&runtime).unwrap_or(&pair.name);
    Some(Subject {
        name: format!("{} {}", pair.name, mode_name(pair.mode)),
        quantity: Quantity::Ratio,
        library,
        runtime: cell.id.runtime.clone(),
        batch: 1,
        environment: Environment::of_ratio(&context.facts(cell), &pair.numerator, &pair.denominator),
        path: context.store.ratio_path(&device, context.model, &runtime, name, pair.mode),
        limits: Limits::of_ratio(context.thresholds),
    })
}
