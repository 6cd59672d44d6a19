#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::findings::WorstProbe;
use crate::gate::workshop::{CLASSES, Project, Workshop, answers, healthy, session, sound};
use crate::gate::{RunOptions, run};
use crate::report::sample::cell_with_status;
use crate::runtime::{OpenRequest, Session};
use crate::vocabulary::Library;
use crate::worker::fake::Fakes;

/// What left the range is looked for where half precision failed by its answers, and nowhere else.
#[test]
fn ranges_are_told_of_cells_that_failed_in_half_precision() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"fp16-flag\"]", "");
    let told = |wrong: fn(&OpenRequest) -> bool| {
        let open = move |request: &OpenRequest| -> crate::error::Result<Box<dyn Session>> {
            let factor = if wrong(request) { -1.0 } else { 1.0 };
            Ok(Box::new(session(request, move |input| {
                let mut output = answers(input);
                output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value *= factor);
                Ok(vec![output])
            })))
        };
        let report = run(&project.workspace(&Fakes::of(open, healthy)), &RunOptions::default()).unwrap();
        let ranges = |cell: &CellReport| (cell.id().to_string(), cell.status, cell.ranges.is_some());
        report.cells.iter().map(ranges).collect::<Vec<_>>()
    };
    let engines = |request: &OpenRequest| request.installation.id.library == Library::Tensorrt;
    let sound = told(|_| false);
    assert!(sound.iter().all(|(_, _, ranges)| !ranges), "{sound:?}");
    let half = |cell: &str| cell.contains("fp16");
    let failing = told(engines);
    for (cell, status, ranges) in &failing {
        let engine = cell.starts_with("tensorrt");
        assert_eq!((*status == Status::Fail, *ranges), (engine, engine && half(cell)), "{cell}");
    }
    assert_eq!(failing.iter().filter(|(_, _, ranges)| *ranges).count(), 2);
}

#[test]
fn a_cell_that_failed_otherwise_says_nothing_of_ranges() {
    let cell =
        |precision: &str, status, stage| CellReport { stage, ..cell_with_status("onnxruntime", precision, 4, status) };
    assert!(failed(&cell("fp16", Status::Fail, Stage::Compare)));
    assert!(failed(&cell("fp16-flag", Status::Fail, Stage::Run)));
    assert!(!failed(&cell("fp32", Status::Fail, Stage::Compare)));
    assert!(!failed(&cell("fp16", Status::Pass, Stage::Compare)));
    assert!(!failed(&cell("fp16", Status::Invalid, Stage::Compare)));
    assert!(!failed(&cell("fp16", Status::Fail, Stage::Build)));
    assert!(!failed(&cell("fp16", Status::Fail, Stage::Measure)));
}

/// Samples that are not finite are looked at before those with the largest errors, each once, and no more than there is time for.
#[test]
fn the_worst_samples_are_looked_at_first() {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let mut workshop = Workshop::new("onnxruntime = [\"fp32\", \"fp16\"]");
    workshop.probes = crate::gate::workshop::samples(60);
    let first_of = |bad: fn(usize) -> bool, worst: &[usize]| {
        // In batches: a row is told by its place in the whole.
        let raw = workshop.answering(move |request, input| {
            let mut output = answers(input);
            let known = crate::gate::workshop::samples(60);
            for row in 0..input.batch() {
                let place = (0..60).find(|&place| known.row(place) == input.row(row)).unwrap_or(usize::MAX);
                if request.precision == Precision::Fp16 && bad(place) {
                    output.values.as_mut::<f32>().unwrap()[row * CLASSES + 1] = f32::INFINITY;
                }
            }
            Ok(vec![output])
        });
        let probe =
            |&probe: &usize| WorstProbe { probe, max_abs: 1.0, reference_top3: Vec::new(), actual_top3: Vec::new() };
        let report = |cell: &RawCell| {
            let id = &cell.planned.id;
            let half = id.precision == Precision::Fp16;
            let status = if half { Status::Fail } else { Status::Pass };
            let bare = cell_with_status("onnxruntime", id.precision.as_str(), id.batch, status);
            CellReport { worst: worst.iter().map(probe).collect(), ..bare }
        };
        let reports: Vec<CellReport> = raw.iter().map(report).collect();
        first(&workspace, &raw, &reports)
    };
    assert_eq!(first_of(|place| place == 7 || place == 9, &[3, 9, 1]), [7, 9, 3, 1]);
    assert_eq!(first_of(|_| false, &[]), [0; 0]);
    // Sixteen of those that are not finite, and as many of the others as fill up.
    let most: Vec<usize> = (20..60).collect();
    let expected: Vec<usize> = (0..FIRST / 2).chain(20..20 + FIRST / 2).collect();
    assert_eq!(first_of(|_| true, &most), expected);
}
