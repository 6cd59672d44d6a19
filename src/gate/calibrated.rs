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
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use rstest::rstest;

    use super::*;
    use crate::gate::workshop::{Project, calibrated, healthy, sound};
    use crate::report::sample::cell_with_status;
    use crate::worker::fake::Fakes;

    /// What INT8 was calibrated on is read from the samples themselves, and told in the cells that failed in it, in no others.
    #[test]
    fn cells_that_failed_in_int8_are_told_what_they_were_calibrated_on() {
        let cells = || {
            let stopped = |stage: Stage, cell: CellReport| CellReport { stage, ..cell };
            let failed = |precision: &str| cell_with_status("tensorrt@10.11.0", precision, 1, Status::Fail);
            let mut cells = vec![
                failed("int8"),
                CellReport { reason: Some("2 of 40 differ".to_owned()), ..failed("int8-calibrated") },
                stopped(Stage::Run, failed("int8")),
                failed("fp16"),
                stopped(Stage::Build, failed("int8")),
                cell_with_status("tensorrt@10.11.0", "int8", 1, Status::Pass),
            ];
            for (batch, cell) in cells.iter_mut().enumerate() {
                cell.batch = batch as u32 + 1;
            }
            cells
        };
        let told = |project: &Project, probes: &[f32]| {
            let workspace = project.workspace(&Fakes::of(sound, healthy));
            let probes = Tensor::float32("x", vec![1, probes.len()], probes.to_vec()).unwrap();
            let mut told = cells();
            explain(&workspace, &probes, &mut told);
            told
        };
        let wide = calibrated(255.0);
        let found = told(&wide, &[1.0, 0.0, 0.25, 0.5]);
        let sentence = "it was calibrated on values from 0 to 255, and the probes' run from 0 to 1: few of the 256 steps are left for them";
        let reasons: Vec<Option<&str>> = found.iter().map(|cell| cell.reason.as_deref()).collect();
        let joined = format!("2 of 40 differ; {sentence}");
        assert_eq!(reasons, [Some(sentence), Some(&*joined), Some(sentence), None, None, None]);
        let hint = found[0].hint.as_deref().unwrap();
        let path = wide.folder.path().join("calibration.csv");
        let start = format!("`[calibration] data` (`{}`) has to hold values as the model meets them", path.display());
        assert!(hint.starts_with(&start), "{hint}");
        assert!(found[3].hint.is_none() && found[5].hint.is_none());
        // What was calibrated on what is asked says nothing.
        assert_eq!(told(&calibrated(1.0), &[1.0, 0.0, 0.25, 0.5]), cells());
        let narrow = told(&calibrated(0.25), &[1.0, 0.0, 0.25, 0.5]);
        let sentence =
            "it was calibrated on values from 0 to 0.25, and the probes' run from 0 to 1: what lies beyond is cut off";
        assert_eq!(narrow[0].reason.as_deref(), Some(sentence));
        // What cannot be looked at changes nothing.
        std::fs::remove_file(path).unwrap();
        assert_eq!(told(&wide, &[1.0, 0.0, 0.25, 0.5]), cells());
    }

    /// What a file of the project's own was calibrated on is not known here: its cells are left as they are.
    #[test]
    fn cells_of_ones_own_files_are_not_told_what_others_were_calibrated_on() {
        let told = |more: &str| {
            let mut project = calibrated(255.0);
            let matrix = "onnxruntime = [\"fp32\", \"int8\"]\ntensorrt = [\"int8\"]";
            let own = Project::new(matrix, more).manifest;
            (project.manifest.engines, project.manifest.artifacts) = (own.engines, own.artifacts);
            let workspace = project.workspace(&Fakes::of(sound, healthy));
            let probes = Tensor::float32("x", vec![1, 4], vec![1.0, 0.0, 0.25, 0.5]).unwrap();
            let cell = |runtime: &str, precision: &str| cell_with_status(runtime, precision, 1, Status::Fail);
            let mut cells = vec![cell("tensorrt@10.11.0", "int8"), cell("onnxruntime", "int8")];
            explain(&workspace, &probes, &mut cells);
            cells.iter().map(|cell| cell.reason.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(told(""), [true, true]);
        assert_eq!(told("[artifacts]\nengine = { int8 = { path = \"m.plan\" } }"), [false, true]);
        assert_eq!(told("[artifacts]\nint8 = \"own.onnx\""), [false, false]);
    }

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
