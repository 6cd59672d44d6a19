//! Whether INT8 cells that failed were calibrated on other values than they were asked about: looked at once, told in each.

use crate::data::npy::NpyRows;
use crate::data::probes::ValueRange;
use crate::error::Result;
use crate::figure::figure;
use crate::findings::CellReport;
use crate::gate::own::is_own;
use crate::gate::workspace::Workspace;
use crate::tensor::Tensor;
use crate::vocabulary::{Precision, Stage, Status};

/// Share of the probes' range that a calibration has to cover.
const COVERED: f64 = 0.5;
/// Multiple of the probes' range from which a calibration spends its steps on values that nobody asks about.
const WIDER: f64 = 4.0;

/// Share of a range below which one of its ends is told as 0.
const NOTHING: f64 = 1e-3;

/// Whether a cell failed in INT8 by what it answered.
fn failed(cell: &CellReport) -> bool {
    matches!(cell.precision, Precision::Int8 | Precision::Int8Calibrated)
        && cell.status == Status::Fail
        && matches!(cell.stage, Stage::Run | Stage::Compare)
}

/// Adds to every INT8 cell that failed the range of its calibration samples, where the probes have another; what hinders
/// looking changes nothing.
pub(super) fn explain(workspace: &Workspace, probes: &Tensor, cells: &mut [CellReport]) {
    // A file of the project's own was calibrated elsewhere.
    let own = |cell: &CellReport| {
        let shipped = workspace.manifest.own_engine(cell.runtime.library, cell.precision).is_some();
        shipped || is_own(&workspace.manifest, cell.runtime.library.source(cell.precision))
    };
    let failed = |cell: &CellReport| failed(cell) && !own(cell);
    if !cells.iter().any(failed) {
        return;
    }
    let Ok(Some(calibration)) = range_of_calibration(workspace) else { return };
    let Some(sentence) = ValueRange::of(probes.floats().iter()).and_then(|probes| difference(calibration, probes))
    else {
        return;
    };
    let hint = match &workspace.manifest.calibration.data {
        Some(data) => format!(
            "`[calibration] data` (`{}`) has to hold values as the model meets them: scaled to `range`, less `mean`, over `std`",
            data.display()
        ),
        None => "calibration samples are made from `[input] range`: correct it, or name samples as they come in use with `[calibration] data`".to_owned(),
    };
    for cell in cells.iter_mut().filter(|cell| failed(cell)) {
        cell.reason = Some(match cell.reason.take() {
            Some(reason) => format!("{reason}; {sentence}"),
            None => sentence.clone(),
        });
        cell.hint = Some(hint.clone());
    }
}

fn range_of_calibration(workspace: &Workspace) -> Result<Option<ValueRange>> {
    let width = workspace.manifest.input.shape.iter().product();
    let mut rows = NpyRows::open(&workspace.calibration()?, Some(width))?;
    let (mut range, mut row): (Option<ValueRange>, Vec<f32>) = (None, Vec::new());
    while rows.next_row(&mut row)? {
        let ends = range.iter().flat_map(|range| [range.low, range.high]).chain(row.iter().copied());
        range = ValueRange::of(&ends.collect::<Vec<_>>());
    }
    Ok(range)
}

/// How the values that were calibrated on differ from the probes', if they do.
fn difference(calibration: ValueRange, probes: ValueRange) -> Option<String> {
    let width = |low: f32, high: f32| (f64::from(high) - f64::from(low)).max(0.0);
    let inside = width(calibration.low.max(probes.low), calibration.high.min(probes.high));
    let (of_calibration, of_probes) = (width(calibration.low, calibration.high), width(probes.low, probes.high));
    let consequence = if inside < COVERED * of_probes {
        "what lies beyond is cut off"
    } else if of_calibration > WIDER * of_probes {
        "few of the 256 steps are left for them"
    } else {
        return None;
    };
    // Samples come close to 0 more often than they reach it.
    let end = |value: f32, width: f64| if f64::from(value.abs()) < NOTHING * width { 0.0 } else { f64::from(value) };
    let text = |range: ValueRange| {
        let width = width(range.low, range.high);
        format!("{} to {}", figure(end(range.low, width)), figure(end(range.high, width)))
    };
    Some(format!(
        "it was calibrated on values from {}, and the probes' run from {}: {consequence}",
        text(calibration),
        text(probes)
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::dark([0.0, 0.02], [0.0, 1.0], Some("cut off"))]
    #[case::elsewhere([2.0, 3.0], [0.0, 1.0], Some("cut off"))]
    #[case::bytes([0.0, 255.0], [0.0, 1.0], Some("few of the 256 steps"))]
    #[case::equal([0.0, 1.0], [0.0, 1.0], None)]
    #[case::tails([-4.0, 3.1], [-3.0, 4.5], None)]
    #[case::one_value([0.0, 1.0], [0.5, 0.5], Some("few of the 256 steps"))]
    #[case::the_same_value([0.5, 0.5], [0.5, 0.5], None)]
    fn other_values_are_named(#[case] calibration: [f32; 2], #[case] probes: [f32; 2], #[case] expected: Option<&str>) {
        let range = |[low, high]: [f32; 2]| ValueRange { low, high };
        let found = difference(range(calibration), range(probes));
        assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
        assert!(found.is_none_or(|found| expected.is_some_and(|expected| found.contains(expected))));
    }

    /// Samples come close to 0 more often than they reach it: such an end is told as 0, a telling one as it is.
    #[test]
    fn an_end_close_to_zero_is_told_as_zero() {
        let told = |low: f32| difference(ValueRange { low, high: 255.0 }, ValueRange { low: 0.0, high: 1.0 }).unwrap();
        assert!(told(0.2).starts_with("it was calibrated on values from 0 to 255,"), "{}", told(0.2));
        assert!(told(-0.2).starts_with("it was calibrated on values from 0 to 255,"), "{}", told(-0.2));
        assert!(told(-0.5).starts_with("it was calibrated on values from -0.5 to 255,"), "{}", told(-0.5));
    }

    #[test]
    fn both_ranges_are_in_the_sentence() {
        let found = difference(ValueRange { low: 0.0, high: 0.02 }, ValueRange { low: 0.0, high: 1.0 });
        let expected =
            "it was calibrated on values from 0 to 0.02, and the probes' run from 0 to 1: what lies beyond is cut off";
        assert_eq!(found.as_deref(), Some(expected));
    }
}
