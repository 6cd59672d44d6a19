//! Every format as the reader gives it.
#![allow(clippy::unwrap_used)]

use rstest::rstest;

use super::*;
use crate::data::csv::RowWriter;
use crate::data::npy::{NpyWriter, array};
use crate::data::record::RecordWriter;
use crate::data::zip;
use crate::manifest::Layout;

/// An input in 0..1 without normalisation.
pub(crate) fn input(shape: &[usize], layout: Layout) -> Input {
    Input {
        name: "input_1".to_owned(),
        shape: shape.to_vec(),
        layout,
        range: [0.0, 1.0],
        mean: Vec::new(),
        std: Vec::new(),
        fixed_batch: None,
        resize: None,
    }
}

#[test]
fn every_format_gives_the_same_samples() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(&[2, 2, 3], Layout::Nhwc);
    let records = folder.path().join("data.bin");
    let mut writer = RecordWriter::create(&records, RecordLayout::new(&input, 10).unwrap()).unwrap();
    for label in 0..5u8 {
        let planar: Vec<u8> = (0..12).map(|place| place * 17 + label * 13).collect();
        writer.push(u32::from(label), &planar).unwrap();
    }
    writer.finish().unwrap();
    let original = read_all(&records, &input, 10, ReadOptions::default()).unwrap();
    assert_eq!((original.len(), original.labels.as_deref()), (5, Some([0, 1, 2, 3, 4].as_slice())));

    let (csv, npy) = (folder.path().join("data.csv"), folder.path().join("data.npy"));
    let mut rows = RowWriter::create(&csv).unwrap();
    let mut array = NpyWriter::create(&npy, &input.shape).unwrap();
    for index in 0..5 {
        rows.row(&[index as i64], original.row(index).unwrap()).unwrap();
        array.push(original.row(index).unwrap()).unwrap();
    }
    rows.finish().unwrap();
    array.finish().unwrap();
    assert_eq!(read_all(&csv, &input, 10, ReadOptions::default()).unwrap(), original);
    let unlabelled = read_all(&npy, &input, 10, ReadOptions::default()).unwrap();
    assert_eq!((unlabelled.values, unlabelled.labels), (original.values, None));
}

#[rstest]
#[case::label_over_the_class_count("10,0.5,0.5\n", false, "line 1: label 10 is not one of 10 classes")]
#[case::negative_label("1,0,0\n-1,0.5,0.5\n", false, "line 2: label -1 is not one of 10 classes")]
#[case::fractional_label("0.5,0.5,0.5\n", false, "line 1: label 0.5 is not one of 10 classes")]
#[case::no_label_expected("1,0.5,0.5\n", true, "line 1: 3 values, expected 2")]
#[case::label_expected("0.5,0.5\n", false, "line 1: 2 values, expected 3")]
#[case::empty("", false, "holds no sample")]
#[case::header_only("label,a,b\n", false, "holds no sample")]
fn malformed_csv_is_refused(#[case] text: &str, #[case] no_label: bool, #[case] expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    std::fs::write(&path, text).unwrap();
    let options = ReadOptions { no_label, ..ReadOptions::default() };
    let error = read_all(&path, &input(&[2], Layout::Flat), 10, options).unwrap_err();
    assert!(error.message.contains("data.csv") && error.message.ends_with(expected), "{error}");
    assert_eq!(error.hint.is_some(), expected.contains(", expected") || expected.contains("label 10"));
}

#[test]
fn limit_and_batches_cut_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    std::fs::write(&path, "0,0.5\n1,0.5\n2,0.5\n3,0.5\n").unwrap();
    let options = ReadOptions { limit: Some(3), ..ReadOptions::default() };
    let mut reader = SampleReader::open(&path, &input(&[1], Layout::Flat), 10, options).unwrap();
    let first = reader.next_batch(2).unwrap().unwrap();
    assert_eq!((first.tensor(0..2).unwrap().shape, first.labels), (vec![2, 1], Some(vec![0, 1])));
    assert_eq!(reader.next_batch(2).unwrap().unwrap().labels, Some(vec![2]));
    assert!(reader.next_batch(2).unwrap().is_none());
}

fn archive(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    let members: Vec<(&str, &[u8])> = arrays.iter().map(|(name, array)| (*name, array.as_slice())).collect();
    std::fs::write(path, zip::pack(&members).unwrap()).unwrap();
}

#[rstest]
#[case::by_name(&["y.npy", "x.npy"], Some(vec![1, 0]))]
#[case::input_s_name(&["other.npy", "input_1.npy", "labels.npy"], Some(vec![1, 0]))]
#[case::by_place(&["arr_0.npy", "arr_1.npy"], Some(vec![1, 0]))]
#[case::no_labels(&["anything.npy"], None)]
fn archives_hold_samples_and_labels(#[case] names: &[&str], #[case] labels: Option<Vec<u32>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let samples = array("|u1", &[2, 2], &[0, 51, 255, 0]).unwrap();
    let numbers = array("<i8", &[2, 1], &[1i64, 0].map(i64::to_le_bytes).concat()).unwrap();
    let arrays: Vec<(&str, Vec<u8>)> = names
        .iter()
        .map(|name| {
            let labels = ["y.npy", "labels.npy", "arr_1.npy"].contains(name);
            (*name, if labels { numbers.clone() } else { samples.clone() })
        })
        .collect();
    archive(&path, &arrays);
    let input = input(&[2], Layout::Flat);
    let read = read_all(&path, &input, 2, ReadOptions::default()).unwrap();
    assert_eq!((read.values.as_slice(), &read.labels), (&[0.0, 0.2, 1.0, 0.0][..], &labels));
    let options = ReadOptions { ignore_labels: true, ..ReadOptions::default() };
    assert_eq!(read_all(&path, &input, 2, options).unwrap().labels, None);
}

#[rstest]
#[case::other_number("y.npy", array("<i4", &[3], &[0; 12]), "holds 2 samples and 3 labels")]
#[case::one_hot("y.npy", array("|u1", &[2, 4], &[0; 8]), "has 4 values a sample, expected one label")]
#[case::too_large("y.npy", array("|u1", &[2], &[0, 4]), "label 4 is not one of 4 classes")]
#[case::negative("y.npy", array("|i1", &[2], &[0, 255]), "label -1 is not one of 4 classes")]
#[case::which("z.npy", array("|u1", &[2, 2], &[0; 4]), "holds `w`, `z`: which are the samples?")]
fn archives_that_are_not_clear_are_refused(#[case] name: &str, #[case] other: Result<Vec<u8>>, #[case] expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    archive(&path, &[("w.npy", array("|u1", &[2, 2], &[0; 4]).unwrap()), (name, other.unwrap())]);
    let error = read_all(&path, &input(&[2], Layout::Flat), 4, ReadOptions::default()).unwrap_err();
    assert!(error.message.contains("data.npz") && error.message.contains(expected), "{error}");
}

#[test]
fn the_first_line_says_where_the_label_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    std::fs::write(&path, "width,height,target\n0.5,0.25,1\n0.75,1,0\n").unwrap();
    let input = input(&[2], Layout::Flat);
    let read = read_all(&path, &input, 2, ReadOptions::default()).unwrap();
    assert_eq!((read.values.as_slice(), read.labels.as_deref()), (&[0.5, 0.25, 0.75, 1.0][..], Some(&[1, 0][..])));
    // Without labels a row may have one or none.
    let options = ReadOptions { ignore_labels: true, ..ReadOptions::default() };
    assert_eq!(read_all(&path, &input, 2, options).unwrap().values, read.values);
    std::fs::write(&path, "0.5,0.25\n0.75,1\n").unwrap();
    assert_eq!(read_all(&path, &input, 2, options).unwrap().values, read.values);
}

#[test]
fn samples_are_spread_over_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    let text: String = (0..10).map(|number| format!("{},0.5\n", number / 2)).collect();
    std::fs::write(&path, text).unwrap();
    let labels = |spread| {
        let options = ReadOptions { spread: Some(spread), ..ReadOptions::default() };
        let reader = SampleReader::open(&path, &input(&[1], Layout::Flat), 5, options).unwrap();
        assert_eq!(reader.total(), Some(spread.min(10) as u64));
        reader.map(|sample| sample.unwrap().label.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(labels(5), [0, 1, 2, 3, 4]);
    assert_eq!((labels(3).len(), labels(1).len(), labels(20).len()), (3, 1, 10));
    assert_eq!(labels(3), labels(3));
}

#[test]
fn samples_that_come_in_turns_are_not_all_of_one_class() {
    for (total, wanted) in [(640, 64), (1000, 100), (10_000, 256), (512, 256), (7, 3), (5, 5), (3, 1)] {
        let spread = Spread { wanted, total, passed: 0 };
        let chosen: Vec<u64> = (0..total).filter(|&number| spread.wants(number)).collect();
        assert_eq!(chosen.len() as u64, wanted, "{total} {wanted}");
        if wanted >= 64 {
            for class in 0..2 {
                let share = chosen.iter().filter(|&&number| number % 2 == class).count() as u64;
                assert!(share * 4 > wanted, "{share} of {wanted}");
            }
        }
    }
}

#[test]
fn bytes_of_npy_are_scaled_like_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npy");
    let mut bytes = b"\x93NUMPY\x01\x00v\x00".to_vec();
    bytes.extend(format!("{:<117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }").into_bytes());
    bytes.extend([51, 255]);
    std::fs::write(&path, bytes).unwrap();
    let samples = read_all(&path, &input(&[2], Layout::Flat), 10, ReadOptions::default()).unwrap();
    assert_eq!(samples.values, [0.2, 1.0]);
}

#[test]
fn tensor_refuses_what_is_not_there() {
    let mut samples = Samples::empty("x", &[2]);
    samples.push(Sample { label: None, values: vec![1.0, 2.0] }).unwrap();
    assert_eq!(samples.tensor(0..1).unwrap().shape, [1, 2]);
    assert!(samples.tensor(0..2).is_err());
    assert!(samples.tensor(1..1).is_err());
    assert!(samples.push(Sample { label: Some(1), values: vec![1.0, 2.0] }).is_err());
    assert!(samples.push(Sample { label: None, values: vec![1.0] }).is_err());
}

#[test]
fn unknown_extension_is_refused() {
    let error = Format::of(Path::new("data.txt")).unwrap_err();
    assert!(error.hint.unwrap().contains("`.npy`"));
    let missing = SampleReader::open(Path::new("missing"), &input(&[1], Layout::Flat), 2, ReadOptions::default());
    assert!(missing.unwrap_err().message.starts_with("cannot read `missing`"));
}
