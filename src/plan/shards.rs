//! A plan in shards: which of several machines runs which cells.
//!
//! The unit is a runtime in a precision, at every batch and shape: its cells share an engine (or the files that are made for it),
//! are held to each other across batches, and are given up together after deaths. So no engine is built twice. Portable artifacts
//! are made by each machine that needs them, in seconds; `trtgate export` makes them once for all.
//!
//! The division is a function of the plan alone, so that machines which see the same plan agree without speaking to each other.

use std::fmt;
use std::str::FromStr;

use crate::digest::digest_bytes;
use crate::error::{Error, Result};
use crate::findings::MOST_SHARDS;
use crate::report::plan_file::{PlanFile, PlannedCell};
use crate::vocabulary::{ArtifactKind, Library, Precision, RuntimeId, Status};

/// What building an engine weighs beside running a cell: minutes beside seconds.
const BUILD: usize = 8;

/// One of so many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardNumber {
    /// Which, from 1.
    pub index: u32,
    /// Of how many.
    pub count: u32,
}

impl ShardNumber {
    /// Shard `index` of `count`.
    ///
    /// # Errors
    /// `Usage` unless `1 ≤ index ≤ count`.
    pub fn new(index: u32, count: u32) -> Result<Self> {
        if index == 0 || index > count || count > MOST_SHARDS {
            return Err(Error::usage(format!("there is no shard {index}/{count}"))
                .hint("shards are counted from 1: `--shard 1/4` to `--shard 4/4`"));
        }
        Ok(Self { index, count })
    }
}

impl fmt::Display for ShardNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{}/{}", self.index, self.count))
    }
}

impl FromStr for ShardNumber {
    type Err = Error;

    /// `2/4`, also as nextest writes its partitions (`slice:2/4`), so that one variable of a pipeline serves both.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::usage(format!("`{text}` names no shard"))
                .hint("write `2/4` for the second of four, or `auto` in a scheduler's array")
        };
        let number = match text.split_once(':') {
            Some(("slice" | "hash" | "count", number)) => number,
            Some(_) => return Err(wrong()),
            None => text,
        };
        let (index, count) = number.split_once('/').ok_or_else(wrong)?;
        let parse = |part: &str| part.parse().map_err(|_| wrong());
        Self::new(parse(index)?, parse(count)?)
    }
}

/// Cells that one machine runs.
struct Unit<'a> {
    runtime: &'a RuntimeId,
    precision: Precision,
    /// Places of its cells in the plan.
    cells: Vec<usize>,
    weight: usize,
    /// Whether it has a cell that is run and held to the reference: what makes a shard worth a machine.
    judged: bool,
}

/// The shard of each cell of `plan`, from 1, where it is run by `count` machines; `reference` is the library whose FP32 cells are
/// the reference, which runs beside the cells of every shard anyhow. Every shard has a cell that is judged.
///
/// The heaviest unit goes to the machine that has least, so that none has more than the mean and one unit, as far as the weights say.
///
/// # Errors
/// `Usage` where there are more shards than units that are run here.
pub fn divide(plan: &PlanFile, reference: Library, count: u32) -> Result<Vec<u32>> {
    let mut units = units(plan, reference);
    let judged = units.iter().filter(|unit| unit.judged).count();
    if count as usize > judged.max(1) {
        return Err(Error::usage(format!(
            "{count} shards are too many: the plan has {judged} parts that run here (a runtime in a precision each), and a shard \
             without any would prove nothing"
        ))
        .hint(format!("use at most {}; `trtgate gate --plan-json -` shows the plan", judged.max(1))));
    }
    // One that is judged for each machine first, then whatever is heaviest. The sort is stable: equal ones stay in the plan's order.
    units.sort_by_key(|unit| (!unit.judged, std::cmp::Reverse(unit.weight)));
    let mut rest = units.split_off((count as usize).min(judged));
    rest.sort_by_key(|unit| std::cmp::Reverse(unit.weight));
    let mut loads = vec![0; count as usize];
    let mut shards = vec![1; plan.cells.len()];
    for (place, unit) in units.iter().chain(&rest).enumerate() {
        let lightest =
            (0..loads.len()).min_by_key(|&shard| loads.get(shard).copied().unwrap_or(usize::MAX)).unwrap_or(0);
        // The first of them find every machine empty.
        let shard = if place < units.len() { place } else { lightest };
        if let Some(load) = loads.get_mut(shard) {
            *load += unit.weight;
        }
        for &cell in &unit.cells {
            if let Some(own) = shards.get_mut(cell) {
                *own = u32::try_from(shard).unwrap_or(0) + 1;
            }
        }
    }
    Ok(shards)
}

/// What tells one division from another: a digest of every cell with its shard.
pub fn fingerprint(plan: &PlanFile, shards: &[u32]) -> String {
    let lines: String = plan.cells.iter().zip(shards).map(|(cell, shard)| format!("{} {shard}\n", cell.id())).collect();
    digest_bytes(lines.as_bytes())
}

fn units(plan: &PlanFile, reference: Library) -> Vec<Unit<'_>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    for (place, cell) in plan.cells.iter().enumerate() {
        // Who proves that a server merged requests asks it alone: all its protocols are one machine's.
        let same =
            |one: &RuntimeId| *one == cell.runtime || one.library.is_served() && one.library == cell.runtime.library;
        let known = units.iter().position(|unit| same(unit.runtime) && unit.precision == cell.precision);
        let known = known.unwrap_or_else(|| {
            let weight = if builds(cell) { BUILD } else { 0 };
            let (runtime, precision) = (&cell.runtime, cell.precision);
            units.push(Unit { runtime, precision, cells: Vec::new(), weight, judged: false });
            units.len() - 1
        });
        let Some(unit) = units.get_mut(known) else { continue };
        unit.cells.push(place);
        let is_reference = cell.runtime.library == reference && cell.precision == Precision::Fp32;
        if cell.ability.obstacle.is_none() && !is_reference {
            unit.weight += 1;
            unit.judged = true;
        }
    }
    units
}

/// Whether an engine is built for the cell: also where it is not run, unless its library is not here or cannot build it.
fn builds(cell: &PlannedCell) -> bool {
    cell.runtime.library.builds_engines()
        && cell.runtime.version.is_some()
        && cell.artifact != ArtifactKind::Engine
        && cell.ability.obstacle != Some(Status::Unsupported)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::report::plan_file::{Ability, PlannedModel};

    /// A plan of `runtime precision` units at two batches each; a `-` in front says that it cannot run.
    fn plan(units: &[&str]) -> PlanFile {
        let cells = units.iter().flat_map(|unit| {
            let (text, obstacle) = match unit.strip_prefix('-') {
                Some(text) => (text, Some(Status::Unavailable)),
                None => (*unit, None),
            };
            let (runtime, precision) = text.split_once(' ').unwrap();
            let (runtime, precision): (RuntimeId, Precision) = (runtime.parse().unwrap(), precision.parse().unwrap());
            [1, 8].map(|batch| PlannedCell {
                runtime: runtime.clone(),
                precision,
                batch,
                shape: None,
                artifact: runtime.library.source(precision),
                ability: Ability { obstacle, reason: None },
                shard: None,
            })
        });
        PlanFile::new(PlannedModel::default(), cells.collect())
    }

    /// A server is asked by one machine, over all its protocols.
    #[test]
    fn the_protocols_of_a_server_stay_together() {
        let plan = plan(&["onnxruntime fp32", "triton@http fp32", "litert int8", "triton@grpc fp32"]);
        let shards = divide(&plan, Library::Tensorflow, 3).unwrap();
        let of = |runtime: &str| -> BTreeSet<u32> {
            let own = plan.cells.iter().zip(&shards).filter(|(cell, _)| cell.runtime.to_string().starts_with(runtime));
            own.map(|(_, shard)| *shard).collect()
        };
        assert_eq!(of("triton").len(), 1);
        assert!(of("onnxruntime").is_disjoint(&of("triton")) && of("litert").is_disjoint(&of("triton")));
        assert!(divide(&plan, Library::Tensorflow, 4).is_err());
    }

    const WHOLE: &[&str] = &[
        "tensorflow fp32",
        "onnxruntime fp32",
        "onnxruntime fp16",
        "tensorrt@10.6.0 fp32",
        "tensorrt@10.6.0 fp16",
        "-tensorrt-rtx@1.7.1 fp16",
        "-tensorrt-lean fp16",
        "litert int8",
    ];

    #[test]
    fn engines_are_spread_and_cells_of_one_stay_together() {
        let plan = plan(WHOLE);
        let shards = divide(&plan, Library::Tensorflow, 3).unwrap();
        let of = |unit: usize| shards[unit * 2];
        for unit in 0..WHOLE.len() {
            assert_eq!(of(unit), shards[unit * 2 + 1], "{}", WHOLE[unit]);
        }
        // Three engines are built, one that is not run among them: a machine each.
        assert_eq!(BTreeSet::from([of(3), of(4), of(5)]).len(), 3, "{shards:?}");
        assert_eq!(fingerprint(&plan, &shards).len(), 64);
        assert_ne!(fingerprint(&plan, &shards), fingerprint(&plan, &divide(&plan, Library::Tensorflow, 2).unwrap()));
    }

    #[test]
    fn no_shard_is_without_a_cell_that_is_judged() {
        let plan = plan(WHOLE);
        for count in 1..=5 {
            let shards = divide(&plan, Library::Tensorflow, count).unwrap();
            let judged = plan
                .cells
                .iter()
                .zip(&shards)
                .filter(|(cell, _)| cell.ability.obstacle.is_none() && cell.runtime.library != Library::Tensorflow);
            let with: BTreeSet<u32> = judged.map(|(_, shard)| *shard).collect();
            assert_eq!(with, (1..=count).collect(), "{count}");
        }
        let error = divide(&plan, Library::Tensorflow, 6).unwrap_err();
        assert!(error.message.starts_with("6 shards are too many: the plan has 5 parts that run here"), "{error}");
        // Of a plan that nobody runs here, one machine says so.
        let idle = super::tests::plan(&["-tensorrt fp32"]);
        assert_eq!(divide(&idle, Library::Onnxruntime, 1).unwrap(), [1, 1]);
        assert!(divide(&idle, Library::Onnxruntime, 2).is_err());
    }

    #[rstest]
    #[case("2/4", Some((2, 4)))]
    #[case("slice:2/4", Some((2, 4)))]
    #[case("hash:1/1", Some((1, 1)))]
    #[case("0/4", None)]
    #[case("5/4", None)]
    #[case("1/0", None)]
    #[case("2", None)]
    #[case("a/b", None)]
    #[case("-1/4", None)]
    #[case("odd:1/4", None)]
    #[case("1/99999", None)]
    fn shards_are_read(#[case] text: &str, #[case] expected: Option<(u32, u32)>) {
        let found = text.parse::<ShardNumber>().ok().map(|number| (number.index, number.count));
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn each_unit_goes_to_one_shard_and_none_has_more_than_its_share(
            kinds in proptest::collection::vec((0usize..3, any::<bool>()), 1..20), count in 1u32..8,
        ) {
            let texts: Vec<String> = kinds.iter().enumerate().map(|(number, (kind, runs))| {
                let away = if *runs { "" } else { "-" };
                match kind {
                    0 => format!("{away}tensorrt@10.{number} fp32"),
                    1 => format!("{away}tensorrt-lean@10.{number} fp16"),
                    _ => format!("{away}tensorrt-rtx@1.{number} int8"),
                }
            }).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let plan = plan(&texts);
            let judged = kinds.iter().filter(|(_, runs)| *runs).count();
            let Ok(shards) = divide(&plan, Library::Tensorflow, count) else {
                prop_assert!(count as usize > judged.max(1));
                return Ok(());
            };
            prop_assert!(shards.iter().all(|shard| (1..=count).contains(shard)));
            let mut loads: BTreeMap<u32, usize> = (1..=count).map(|shard| (shard, 0)).collect();
            let units = units(&plan, Library::Tensorflow);
            for unit in &units {
                let own: BTreeSet<u32> = unit.cells.iter().map(|&cell| shards[cell]).collect();
                prop_assert_eq!(own.len(), 1);
                *loads.get_mut(&shards[unit.cells[0]]).unwrap() += unit.weight;
            }
            let heaviest = units.iter().map(|unit| unit.weight).max().unwrap();
            let mean = units.iter().map(|unit| unit.weight).sum::<usize>() / count as usize;
            prop_assert!(*loads.values().max().unwrap() <= mean + heaviest + 1);
        }
    }
}
