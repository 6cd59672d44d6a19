//! Probes of small classifiers that are computed here.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use rstest::rstest;

use super::*;
use crate::error::ErrorKind;
use crate::manifest::OutputKind;
use crate::tensor::Tensor;

/// A manifest for a model with this input shape (three sizes are NHWC, one is flat) and number of classes.
pub(in crate::data) fn manifest(shape: &[usize], classes: usize) -> Manifest {
    let layout = if shape.len() == 3 { "nhwc" } else { "flat" };
    let text = format!(
        "schema = 1\n[model]\nname = \"small\"\nonnx = \"small.onnx\"\n\
         [input]\nname = \"x\"\nshape = {shape:?}\nlayout = \"{layout}\"\nrange = [0.0, 1.0]\n\
         [output]\nname = \"y\"\nclasses = {classes}\nkind = \"logits\"\n\
         [probes]\nseed = 1\ncount = 32\n[calibration]\nseed = 2\ncount = 512\n"
    );
    Manifest::parse(&text, Path::new("gate.toml")).unwrap()
}

/// Scores of a fixed classifier: each class looks for light at its own stripe of the sample, `scale` times as strong,
/// with `noise` that differs from call to call.
fn stripes(classes: usize, scale: f32, noise: f32) -> impl FnMut(&Tensor) -> Result<Tensor> {
    let mut calls = 0u32;
    move |input| {
        let mut scores = Vec::new();
        for row in 0..input.batch() {
            let values = input.row(row).unwrap();
            for class in 0..classes {
                let stripe = values.len() / classes;
                let light: f32 = values[class * stripe..(class + 1) * stripe].iter().sum::<f32>() / stripe as f32;
                calls = calls.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                scores.push(scale * light + noise * (calls as f32 / u32::MAX as f32 - 0.5));
            }
        }
        Tensor::float32("y", vec![input.batch(), classes], scores)
    }
}

fn options(count: usize) -> ProbeOptions {
    ProbeOptions { seed: 1, count, minimum_per_class: None }
}

#[rstest]
#[case::colour(&[8, 8, 3], 4, 32)]
#[case::grey(&[9, 12, 1], 6, 32)]
#[case::one_row(&[40], 3, 32)]
#[case::flattened_picture(&[144], 2, 32)]
#[case::few_features(&[8], 4, 32)]
fn every_class_near_and_far_is_there(#[case] shape: &[usize], #[case] classes: usize, #[case] count: usize) {
    let mut manifest = manifest(shape, classes);
    manifest.probes.count = count;
    let (set, summary) = make_probes(&manifest, &options(count), &mut stripes(classes, 20.0, 0.0)).unwrap();
    assert_eq!(set.len(), count);
    assert_eq!(summary.per_class.iter().sum::<usize>(), count);
    assert!(summary.per_class.iter().all(|&found| found >= options(count).minimum(classes)), "{summary:?}");
    assert!(summary.near >= count / 4 && summary.far >= count / 4, "{summary:?}");
    assert_eq!(set.measure(&manifest, &mut stripes(classes, 20.0, 0.0)).unwrap().per_class, summary.per_class);
}

#[test]
fn rebuilding_gives_the_same_bytes_under_noise() {
    let manifest = manifest(&[8, 8, 3], 4);
    let make = |seed, noise| {
        let options = ProbeOptions { seed, ..options(32) };
        make_probes(&manifest, &options, &mut stripes(4, 20.0, noise)).unwrap()
    };
    // Some seeds have a decision that is closer to its threshold than others.
    let (seed, set, slack) = (1..20)
        .map(|seed| (seed, make(seed, 0.0)))
        .find_map(|(seed, (set, summary))| (summary.slack > 1e-4).then_some((seed, set, summary.slack as f32)))
        .unwrap();
    assert_eq!(make(seed, 0.0).0.sha256(), set.sha256());
    assert_eq!(make(seed, slack / 2.0).0.sha256(), set.sha256());
    assert_ne!(make(seed + 1, 0.0).0.sha256(), set.sha256());
}

#[test]
fn probabilities_and_small_margins_work_too() {
    let mut small = manifest(&[8, 8, 3], 4);
    let (_, summary) = make_probes(&small, &options(32), &mut stripes(4, 0.05, 0.0)).unwrap();
    assert!(summary.far_threshold < 0.1 && summary.near >= 8 && summary.far >= 8, "{summary:?}");

    small.output.kind = OutputKind::Probabilities;
    let mut logits = stripes(4, 20.0, 0.0);
    let mut softmax = |input: &Tensor| {
        let mut scores = logits(input)?;
        for row in scores.values.chunks_mut(4) {
            let sum: f32 = row.iter().map(|score| score.exp()).sum();
            row.iter_mut().for_each(|score| *score = score.exp() / sum);
        }
        Ok(scores)
    };
    let (_, summary) = make_probes(&small, &options(32), &mut softmax).unwrap();
    assert!(summary.near >= 8 && summary.far >= 8 && summary.per_class.iter().all(|&found| found >= 4), "{summary:?}");
}

/// Class 1 only for samples that are bright at the left and dark at the right by far: pictures are hardly ever.
fn reluctant(input: &Tensor) -> Result<Tensor> {
    let scores = (0..input.batch()).flat_map(|row| {
        let values = input.row(row).unwrap();
        let half = values.len() / 2;
        let light = |values: &[f32]| values.iter().sum::<f32>() / half as f32;
        [7.0, 10.0 * (light(&values[..half]) - light(&values[half..]))]
    });
    Tensor::float32("y", vec![input.batch(), 2], scores.collect())
}

#[test]
fn rare_classes_are_bred() {
    let manifest = manifest(&[64], 2);
    let (_, summary) = make_probes(&manifest, &options(32), &mut reluctant).unwrap();
    assert!(summary.per_class.iter().all(|&found| found >= 9), "{summary:?}");
}

#[test]
fn classes_out_of_reach_are_named_unless_fewer_are_accepted() {
    let manifest = manifest(&[8, 8, 3], 3);
    let mut never_two = |input: &Tensor| {
        let mut scores = stripes(3, 20.0, 0.0)(input)?;
        scores.values.iter_mut().skip(2).step_by(3).for_each(|score| *score = -50.0);
        Ok(scores)
    };
    let error = make_probes(&manifest, &options(32), &mut never_two).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(error.message, "the reference answers 1 of 3 classes to fewer than 6 probes");
    assert!(
        error.causes[0].ends_with(" 0") && error.hint.as_deref().unwrap().contains("--min-per-class 0 "),
        "{error}"
    );
    let fewer = ProbeOptions { minimum_per_class: Some(0), ..options(32) };
    let (set, summary) = make_probes(&manifest, &fewer, &mut never_two).unwrap();
    assert_eq!((set.len(), summary.per_class[2]), (32, 0));
}

#[test]
fn more_classes_than_probes_leave_some_out() {
    let manifest = manifest(&[10, 10, 3], 100);
    let (set, summary) = make_probes(&manifest, &options(32), &mut stripes(100, 20.0, 0.0)).unwrap();
    assert_eq!(set.len(), 32);
    assert!(summary.per_class.iter().filter(|&&found| found > 0).count() >= 16, "{summary:?}");
}

#[rstest]
#[case::constant(|input: &Tensor| Tensor::float32("y", vec![input.batch(), 2], vec![1.0; 2 * input.batch()]), "the same scores")]
#[case::one_answer(|input: &Tensor| Tensor::float32("y", vec![input.batch(), 2], [5.0, 1.0].repeat(input.batch())), "1 of 2 classes")]
#[case::not_finite(|input: &Tensor| Tensor::float32("y", vec![input.batch(), 2], vec![f32::NAN; 2 * input.batch()]), "not finite")]
#[case::broken(|_: &Tensor| Err(Error::failed("the runtime died")), "the runtime died")]
fn useless_references_are_refused(#[case] mut scorer: fn(&Tensor) -> Result<Tensor>, #[case] expected: &str) {
    let error = make_probes(&manifest(&[6, 6, 1], 2), &options(32), &mut scorer).unwrap_err();
    assert!(error.message.contains(expected), "{error}");
}

#[test]
fn sets_are_saved_loaded_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probes.bin");
    let mut manifest = manifest(&[8, 8, 3], 4);
    let (set, _) = make_probes(&manifest, &options(32), &mut stripes(4, 20.0, 0.0)).unwrap();
    set.save(&path).unwrap();
    assert_eq!(ProbeSet::load(&path, &manifest).unwrap(), set);
    let samples = set.samples().unwrap();
    assert_eq!((samples.len(), samples.labels.as_deref()), (32, Some(set.labels().as_slice())));

    let error = set.measure(&manifest, &mut stripes(4, -20.0, 0.0)).unwrap_err();
    assert!(error.message.contains("is labelled"), "{error}");
    manifest.probes.count = 33;
    assert!(
        ProbeSet::load(&path, &manifest).unwrap_err().message.contains("holds 32 probes, the manifest asks for 33")
    );
}

#[test]
fn calibration_shares_nothing_with_the_probes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibration.npy");
    let mut manifest = manifest(&[8, 8, 3], 4);
    let (set, _) = make_probes(&manifest, &options(32), &mut stripes(4, 20.0, 0.0)).unwrap();
    let samples = make_calibration(&manifest, &set).unwrap();
    assert_eq!((samples.len(), samples.labels.as_ref()), (512, None));
    assert_eq!(write_calibration(&manifest, &set, &path).unwrap(), 512);
    let read = crate::data::reader::read_all(&path, &manifest.input, 4, Default::default()).unwrap();
    assert_eq!(read, samples);

    // The same seed is refused at once; the probes themselves as calibration data are found out.
    manifest.calibration.seed = manifest.probes.seed;
    assert!(
        make_calibration(&manifest, &set).unwrap_err().message.contains("makes the probes and the calibration set")
    );
    let probes = folder.path().join("probes.bin");
    let mut many = set.as_bytes().to_vec();
    many.extend(set.as_bytes().repeat(16));
    std::fs::write(&probes, many).unwrap();
    manifest.calibration.data = Some(probes);
    assert_eq!(make_calibration(&manifest, &set).unwrap_err().message, "calibration sample 0 is also a probe");
    manifest.calibration.count = 100;
    assert!(make_calibration(&manifest, &set).unwrap_err().message.contains("at least 512"));
}

#[test]
fn calibration_data_must_not_be_the_accuracy_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.bin");
    let mut manifest = manifest(&[4], 4);
    let (set, _) = make_probes(&manifest, &options(32), &mut stripes(4, 20.0, 0.0)).unwrap();
    // Pixels that no probe has: probes of this model are hardly ever this dark.
    let records: Vec<u8> =
        (0..600u16).flat_map(|number| [0, 3, 1, (number / 256) as u8, (number % 256) as u8]).collect();
    std::fs::write(&path, records).unwrap();
    manifest.calibration.data = Some(path.clone());
    assert_eq!(make_calibration(&manifest, &set).unwrap().len(), 512);
    manifest.data = Some(path);
    let error = make_calibration(&manifest, &set).unwrap_err();
    assert!(error.message.contains("sample 0 of") && error.message.contains("is also a calibration sample"), "{error}");
}

#[test]
fn shipped_probes_are_whole() {
    let root = Path::new(".");
    let manifest = Manifest::load(&root.join("gate.toml")).unwrap();
    let set = ProbeSet::load(&root.join("models/cifar10/probes.bin"), &manifest).unwrap();
    let labels = set.labels();
    assert_eq!(labels.len(), 256);
    assert!((0..10).all(|class| labels.iter().filter(|&&label| label == class).count() >= 15));
    assert_eq!(set.layout().record_len(), 3073);
}
