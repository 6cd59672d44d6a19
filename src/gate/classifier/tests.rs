#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use super::*;
use crate::findings::WorstProbe;
use crate::report::sample::cell_with_status;
use crate::vocabulary::Status;

fn manifest(shape: &str, layout: &str) -> Manifest {
    let text = format!(
        "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = {shape}\nlayout = \"{layout}\"\n\
         range = [0.0, 1.0]\n[output]\nname = \"y\"\nclasses = 3\nkind = \"logits\"\n"
    );
    Manifest::parse(&text, Path::new("gate.toml")).unwrap()
}

/// A cell whose worst probes are these.
fn cell(worst: &[usize]) -> CellReport {
    let probe = |&probe| WorstProbe { probe, max_abs: 1.0, reference_top3: Vec::new(), actual_top3: Vec::new() };
    let cell = cell_with_status("onnxruntime", "fp16", 1, Status::Fail);
    CellReport { worst: worst.iter().map(probe).collect(), ..cell }
}

/// `count` pictures of 2 rows, 3 columns and 3 channels, each byte another.
fn pictures(count: u8) -> ProbeSet {
    ProbeSet::of_pixels(&manifest("[2, 3, 3]", "nhwc"), (0..count * 18).collect(), None).unwrap()
}

/// A picture is kept a channel after the other, and shown a pixel after the other, with its own width and height.
#[test]
fn a_probe_is_shown_as_it_is_seen() {
    let shown = images(&pictures(3), &[cell(&[1])]);
    let seen = [18, 24, 30, 19, 25, 31, 20, 26, 32, 21, 27, 33, 22, 28, 34, 23, 29, 35];
    let expected = ProbeImage::from_pixels(&seen, 3, 2, 3).unwrap();
    assert_eq!((expected.width, expected.height), (3, 2));
    assert_eq!(shown, BTreeMap::from([(1, expected)]));
}

/// The worst of each cell comes before the second of any, each probe once, and no more than a report holds.
#[test]
fn every_cell_shows_its_worst_before_any_shows_its_second() {
    let names = |probes: &ProbeSet, cells: &[CellReport]| images(probes, cells).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&pictures(3), &[]), [0; 0]);
    assert_eq!(names(&pictures(3), &[cell(&[2, 0]), cell(&[]), cell(&[2])]), [0, 2]);
    // There is no such probe.
    assert_eq!(names(&pictures(3), &[cell(&[3, 1])]), [1]);
    let tiny = manifest("[1, 1, 1]", "nhwc");
    let probes = ProbeSet::of_pixels(&tiny, (0..100).collect(), None).unwrap();
    let many: Vec<usize> = (0..60).collect();
    assert_eq!(names(&probes, &[cell(&many)]), (0..SHOWN_IMAGES).collect::<Vec<_>>());
    let cells = [cell(&many), cell(&[99, 98])];
    let expected: Vec<usize> = (0..SHOWN_IMAGES - 2).chain([98, 99]).collect();
    assert_eq!(names(&probes, &cells), expected);
}

/// Samples that are no pictures are not shown.
#[test]
fn values_are_no_pictures() {
    let values = ProbeSet::of_values(&manifest("[4]", "flat"), vec![0.25; 8]).unwrap();
    assert!(images(&values, &[cell(&[0, 1])]).is_empty());
}
