//! How many execution contexts are timed at once: as many as are told, or those that a short sweep chooses.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::measure::bench::{BenchCell, CellMeasurer};
use crate::timing::contract::TimingContract;
use crate::vocabulary::CellId;

/// Contexts that a sweep tries.
const COUNTS: [usize; 5] = [1, 2, 4, 8, LARGEST];
/// The most of them, and of an engine's profiles: one engine serves a whole sweep. On an H100 sixteen are 5 % faster than eight in
/// INT8 (docs/gpu/2026-11-27-h100-trtexec).
pub(super) const LARGEST: usize = 16;

/// Most contexts at once.
const MOST: usize = 64;

/// Timed milliseconds of each count, at most.
const MILLISECONDS: u64 = 500;

/// A count this close to the fastest is as fast: the fewest of those is chosen, which needs the least memory.
const AS_FAST: f64 = 0.98;

/// Execution contexts at once, on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// So many.
    Count(usize),
    /// As many as a short sweep finds fastest, for each cell.
    Auto,
}

impl Streams {
    /// The number, before any sweep.
    pub const fn count(self) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Auto => 1,
        }
    }
}

impl fmt::Display for Streams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Auto => formatter.write_str("auto"),
        }
    }
}

impl FromStr for Streams {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.parse::<usize>()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(count)) if count <= MOST => Ok(Self::Count(count.max(1))),
            _ => Err(Error::usage(format!("`{text}` is no number of contexts"))
                .hint(format!("a whole number up to {MOST}, or `auto`"))),
        }
    }
}

/// Sets the contexts of every cell on a GPU to those that are fastest, each count measured once and shortly; what was measured, in a
/// sentence a cell. A cell that cannot be measured keeps its contract, and says why when it is measured.
pub(super) fn sweep(
    cells: &mut [BenchCell],
    measurer: &mut dyn CellMeasurer,
    progress: &mut dyn FnMut(&str),
) -> BTreeMap<CellId, String> {
    let mut told = BTreeMap::new();
    for cell in cells.iter_mut().filter(|cell| cell.id.runtime.library.on_gpu()) {
        let mut rates = Vec::with_capacity(COUNTS.len());
        let mut stopped = None;
        for streams in COUNTS {
            progress(&format!("{} with {streams} contexts", cell.id));
            let duration_milliseconds = cell.contract.duration_milliseconds.min(MILLISECONDS);
            let contract = TimingContract { streams, duration_milliseconds, ..cell.contract.clone() };
            match measurer.measure(&cell.id, &contract, true) {
                Ok(measured) => rates.push((streams, measured.samples_per_second())),
                // More contexts need more memory still.
                Err(error) => {
                    stopped = Some((streams, error.message));
                    break;
                }
            }
        }
        let Some(chosen) = fastest(&rates) else { continue };
        cell.contract.streams = chosen;
        let rates: Vec<String> = rates.iter().map(|(streams, rate)| format!("{streams}: {rate:.0}/s")).collect();
        let stopped = stopped.map_or_else(String::new, |(streams, why)| format!("; {streams} were refused: {why}"));
        told.insert(
            cell.id.clone(),
            format!("timed with {chosen} contexts, chosen by a short sweep of {}{stopped}", rates.join(", ")),
        );
    }
    told
}

/// The fewest contexts that are as fast as the fastest.
fn fastest(rates: &[(usize, f64)]) -> Option<usize> {
    let best = rates.iter().map(|(_, rate)| *rate).filter(|rate| rate.is_finite()).fold(0.0, f64::max);
    rates.iter().find(|(_, rate)| best > 0.0 && *rate >= AS_FAST * best).map(|(streams, _)| *streams)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::timing::contract::Measurement;

    #[rstest]
    #[case(&[(1, 353e3), (2, 500e3), (4, 645e3), (8, 824e3)], Some(8))]
    #[case(&[(4, 645e3), (8, 833e3), (16, 872e3)], Some(16))]
    #[case(&[(1, 308e3), (2, 400e3), (4, 458e3), (8, 455e3)], Some(4))]
    #[case(&[(1, 100.0), (2, 101.0), (4, 101.5)], Some(1))]
    #[case(&[(1, f64::NAN), (2, 10.0)], Some(2))]
    #[case(&[(1, 0.0)], None)]
    #[case(&[], None)]
    fn the_fewest_of_the_fastest_are_chosen(#[case] rates: &[(usize, f64)], #[case] chosen: Option<usize>) {
        assert_eq!(fastest(rates), chosen);
    }

    #[rstest]
    #[case("auto", Some(Streams::Auto))]
    #[case("8", Some(Streams::Count(8)))]
    #[case("0", Some(Streams::Count(1)))]
    #[case("65", None)]
    #[case("-1", None)]
    #[case("all", None)]
    fn streams_are_a_number_or_chosen(#[case] text: &str, #[case] expected: Option<Streams>) {
        assert_eq!(text.parse::<Streams>().ok(), expected);
    }

    /// A card on which `rates` are measured, in the order of [`COUNTS`]; those that are missing are refused.
    struct Card {
        rates: Vec<f64>,
        asked: Vec<(usize, u64)>,
    }

    impl CellMeasurer for Card {
        fn measure(&mut self, _: &CellId, contract: &TimingContract, fresh_process: bool) -> Result<Measurement> {
            assert!(fresh_process);
            self.asked.push((contract.streams, contract.duration_milliseconds));
            let place = COUNTS.iter().position(|count| *count == contract.streams).unwrap();
            let rate = self.rates.get(place).ok_or_else(|| Error::machine("the card's memory is full"))?;
            Ok(Measurement {
                contract: contract.clone(),
                batch: 1,
                host_milliseconds: Vec::new(),
                waited_milliseconds: Vec::new(),
                longest_waited_share: None,
                gpu_milliseconds: Vec::new(),
                wall_seconds: 1.0,
                batches: *rate as u64,
                enqueue_microseconds: None,
                device: None,
                outputs: Vec::new(),
            })
        }
    }

    fn cell(id: &str) -> BenchCell {
        BenchCell {
            id: id.parse().unwrap(),
            runtime_version: String::new(),
            instruction_set: None,
            artifact: None,
            contract: TimingContract::host(),
        }
    }

    #[test]
    fn a_cell_on_a_card_is_swept_and_one_on_a_processor_is_not() {
        let mut cells = [cell("onnxruntime/fp32/batch-1"), cell("tensorrt@10.6.0/int8/batch-32")];
        let mut card = Card { rates: vec![100.0, 150.0, 151.0, 140.0, 139.0], asked: Vec::new() };
        let told = sweep(&mut cells, &mut card, &mut |_| {});
        assert_eq!((cells[0].contract.streams, cells[1].contract.streams), (1, 2));
        assert_eq!(card.asked, COUNTS.map(|count| (count, MILLISECONDS)));
        assert_eq!(cells[1].contract.duration_milliseconds, 3000, "the measurement itself is as long as it was");
        let told: Vec<_> = told.into_values().collect();
        assert_eq!(
            told,
            ["timed with 2 contexts, chosen by a short sweep of 1: 100/s, 2: 150/s, 4: 151/s, 8: 140/s, 16: 139/s"]
        );
    }

    #[test]
    fn contexts_that_find_no_memory_end_the_sweep() {
        let mut cells = [cell("tensorrt@10.6.0/int8/batch-32")];
        let mut card = Card { rates: vec![100.0, 150.0], asked: Vec::new() };
        let told = sweep(&mut cells, &mut card, &mut |_| {});
        assert_eq!((cells[0].contract.streams, card.asked.len()), (2, 3));
        assert!(told.values().all(|text| text.ends_with("; 4 were refused: the card's memory is full")), "{told:?}");
        let mut none = Card { rates: Vec::new(), asked: Vec::new() };
        assert!(sweep(&mut cells, &mut none, &mut |_| {}).is_empty());
    }
}
