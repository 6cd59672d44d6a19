//! Probes of small classifiers that are computed here.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rstest::rstest;
use sha2::{Digest, Sha256};

use super::clock::{Time, Work};
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
    ProbeOptions { seed: 1, count, minimum_per_class: None, time: Duration::from_secs(600) }
}

fn made(manifest: &Manifest, options: &ProbeOptions, scorer: &mut Scorer<'_>) -> Result<(ProbeSet, ProbeSummary)> {
    make_probes(manifest, options, scorer, &mut |_| {})
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
    let (set, summary) = made(&manifest, &options(count), &mut stripes(classes, 20.0, 0.0)).unwrap();
    assert_eq!(set.len(), count);
    assert_eq!(summary.per_class.iter().sum::<usize>(), count);
    assert!(summary.per_class.iter().all(|&found| found >= options(count).minimum(classes)), "{summary:?}");
    assert!(summary.near >= count / 4 && summary.far >= count / 4, "{summary:?}");
    assert_eq!((summary.cut_from, summary.unknown, summary.notes.len()), (None, 0, 0), "{:?}", summary.notes);
}

#[test]
fn rebuilding_gives_the_same_bytes_under_noise() {
    let manifest = manifest(&[8, 8, 3], 4);
    let make = |seed, noise| {
        let options = ProbeOptions { seed, ..options(32) };
        made(&manifest, &options, &mut stripes(4, 20.0, noise)).unwrap()
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
    let (_, summary) = made(&small, &options(32), &mut stripes(4, 0.05, 0.0)).unwrap();
    assert!(summary.far_threshold < 0.1 && summary.near >= 8 && summary.far >= 8, "{summary:?}");

    small.output.kind = OutputKind::Probabilities;
    let mut logits = stripes(4, 20.0, 0.0);
    let mut softmax = |input: &Tensor| {
        let mut scores = logits(input)?;
        for row in scores.values.as_mut::<f32>().unwrap().chunks_mut(4) {
            let sum: f32 = row.iter().map(|score| score.exp()).sum();
            row.iter_mut().for_each(|score| *score = score.exp() / sum);
        }
        Ok(scores)
    };
    let (_, summary) = made(&small, &options(32), &mut softmax).unwrap();
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
    let (_, summary) = made(&manifest, &options(32), &mut reluctant).unwrap();
    assert!(summary.per_class.iter().all(|&found| found >= 9), "{summary:?}");
}

/// Never answers 2, however near it comes.
fn never_two(input: &Tensor) -> Result<Tensor> {
    let mut scores = stripes(3, 20.0, 0.0)(input)?;
    scores.values.as_mut::<f32>().unwrap().iter_mut().skip(2).step_by(3).for_each(|score| *score = -50.0);
    Ok(scores)
}

#[test]
fn classes_out_of_reach_are_a_note() {
    let mut manifest = manifest(&[8, 8, 3], 3);
    let (set, summary) = made(&manifest, &options(32), &mut never_two).unwrap();
    assert_eq!((set.len(), summary.per_class[2], summary.cut_from), (32, 0, None));
    assert_eq!(summary.notes, ["no probe is answered with 1 of 3 classes: 2"]);
    assert_eq!(set.notes(), summary.notes);
    assert!(summary.near >= 8 && summary.far >= 8, "{summary:?}");
    manifest.output.labels = ["cat", "dog", "axolotl"].map(str::to_owned).to_vec();
    let (_, summary) = made(&manifest, &options(32), &mut never_two).unwrap();
    assert_eq!(summary.notes, ["no probe is answered with 1 of 3 classes: 2 (`axolotl`)"]);

    // A number that is demanded is held to.
    let strict = ProbeOptions { minimum_per_class: Some(1), ..options(32) };
    let error = made(&manifest, &strict, &mut never_two).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(error.message, "the reference answers 1 of 3 classes to fewer than 1 probes");
    assert!(error.hint.as_deref().unwrap().contains("`--min-per-class 0`"), "{error}");
}

/// Class 0 whatever the picture, by a lead that the picture decides.
fn always_zero(input: &Tensor) -> Result<Tensor> {
    let scores = (0..input.batch()).flat_map(|row| {
        let values = input.row(row).unwrap();
        [9.0 + values[0], 1.0 + values[1], values[2]]
    });
    Tensor::float32("y", vec![input.batch(), 3], scores.collect())
}

#[test]
fn one_answer_for_everything_is_said() {
    let (set, summary) = made(&manifest(&[8, 8, 3], 3), &options(32), &mut always_zero).unwrap();
    assert_eq!((set.len(), summary.per_class.as_slice()), (32, &[32, 0, 0][..]));
    assert_eq!(
        summary.notes,
        [
            "the reference answers every probe with class 0",
            "0 of 32 probes lie near a decision boundary (margin at most 0.5), 8 were looked for"
        ]
    );
}

#[rstest]
#[case::random(|calls: usize, _: usize| calls % 2 == 1, "are random")]
#[case::by_the_batch(|_: usize, batch: usize| batch == 32, "depend on the batch")]
fn contradictions_are_told_apart(#[case] swaps: fn(usize, usize) -> bool, #[case] expected: &str) {
    // The 32 probes are asked again together, as nothing before.
    let mut calls = 0;
    let mut scorer = |input: &Tensor| {
        calls += 1;
        let mut scores = stripes(2, 20.0, 0.0)(input)?;
        if swaps(calls, input.batch()) {
            scores.values.as_mut::<f32>().unwrap().chunks_mut(2).for_each(|row| row.swap(0, 1));
        }
        Ok(scores)
    };
    let error = made(&manifest(&[8, 8, 3], 2), &options(32), &mut scorer).unwrap_err();
    assert!(error.message.contains(expected) && error.hint.is_some(), "{error}");
}

/// A classifier that takes `each` for a picture.
fn slow(each: Duration) -> impl FnMut(&Tensor) -> Result<Tensor> {
    move |input| {
        std::thread::sleep(each * input.batch() as u32);
        stripes(4, 20.0, 0.0)(input)
    }
}

#[rstest]
#[case::a_quarter_of_the_pictures(4, 0)]
#[case::fewer_pictures_than_probes(100, 1)]
fn slow_models_end_in_time(#[case] milliseconds: u64, #[case] unknown: usize) {
    let time = Duration::from_millis(1500);
    let options = ProbeOptions { time, ..options(64) };
    let start = std::time::Instant::now();
    let mut seen = Vec::new();
    let mut watch = |progress: ProbeProgress| seen.push(progress);
    let mut scorer = slow(Duration::from_millis(milliseconds));
    let (set, summary) = make_probes(&manifest(&[8, 8, 3], 4), &options, &mut scorer, &mut watch).unwrap();
    assert!(start.elapsed() < time + Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(set.len(), 64);
    assert_eq!(set.pictures().collect::<std::collections::HashSet<_>>().len(), 64);
    assert_eq!(summary.unknown.min(1), unknown, "{summary:?}");
    assert_eq!((set.labels().is_none(), set.records().is_err()), (unknown == 1, unknown == 1));
    if unknown == 1 {
        let text = summary.notes.last().unwrap();
        assert!(text.starts_with("the search ended at its time of 1.5 s"), "{text}");
        assert!(text.contains(&format!("{} probes were not asked about", summary.unknown)), "{text}");
    }
    assert!(seen.iter().any(|progress| progress.left > Duration::ZERO && progress.planned >= progress.scored));
}

/// A time that passes with work alone: what drawing and packing a picture take.
struct WorkTime {
    now: Rc<Cell<Duration>>,
    drawing: Duration,
    packing: Duration,
}

impl Time for WorkTime {
    fn now(&self) -> Duration {
        self.now.get()
    }

    fn worked(&self, work: Work) {
        self.now.set(self.now.get() + self.of(work));
    }
}

impl WorkTime {
    fn of(&self, work: Work) -> Duration {
        match work {
            Work::Drawing => self.drawing,
            Work::Packing(count) => self.packing * count as u32,
        }
    }
}

/// 128 probes in ten seconds of a time that passes with drawing, asking and packing a picture, in milliseconds.
fn made_in_ten_seconds(drawing: u64, asking: u64, packing: u64) -> (ProbeSet, ProbeSummary, Duration) {
    let [drawing, asking, packing] = [drawing, asking, packing].map(Duration::from_millis);
    let now = Rc::new(Cell::new(Duration::ZERO));
    let mut scorer = |input: &Tensor| {
        now.set(now.get() + asking * input.batch() as u32);
        stripes(4, 20.0, 0.0)(input)
    };
    let limit = Duration::from_secs(10);
    let clock = Clock::by(Box::new(WorkTime { now: Rc::clone(&now), drawing, packing }), limit);
    let options = ProbeOptions { time: limit, ..options(128) };
    let (set, summary) = make_by(clock, &manifest(&[8, 8, 3], 4), &options, &mut scorer, &mut |_| {}).unwrap();
    let all = now.get() + packing * set.len() as u32;
    (set, summary, all)
}

#[rstest]
#[case::a_slow_reference(5, 200, 5)]
#[case::slow_drawing(30, 30, 1)]
#[case::slow_packing(1, 50, 50)]
#[case::drawing_alone(40, 0, 0)]
fn drawing_and_packing_are_within_the_time_too(#[case] drawing: u64, #[case] asking: u64, #[case] packing: u64) {
    let (set, summary, all) = made_in_ten_seconds(drawing, asking, packing);
    assert_eq!(set.len(), 128);
    assert!(all <= Duration::from_millis(10_000 + asking + drawing), "{all:?}");
    assert!(all >= Duration::from_secs(6), "{all:?}: much of it was not used");
    assert!(summary.cut_from.is_some() && summary.evaluations >= 8, "{summary:?}");
}

#[test]
fn a_time_too_short_to_draw_all_gives_fewer_probes() {
    let (set, summary, all) = made_in_ten_seconds(90, 10, 10);
    assert!((64..128).contains(&set.len()), "{}", set.len());
    assert!(all <= Duration::from_millis(10_300), "{all:?}");
    let note = format!("its time of 10 s had room to draw {} of 128 probes", set.len());
    assert!(summary.notes.contains(&note), "{:?}", summary.notes);
    // A file of them is what the manifest asks for, as far as there was time; one that lost some is not.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probes.npz");
    let mut asking = manifest(&[8, 8, 3], 4);
    (asking.probes.count, asking.probes.exact) = (128, true);
    set.save(&path).unwrap();
    assert_eq!(ProbeSet::load(&path, &asking).unwrap(), set);
    assert_eq!(ProbeSet::file_made_for(&path).unwrap().unwrap().difference(&asking), None);
    let lost = ProbeSet::of_pixels(&asking, set.pictures().skip(1).flatten().copied().collect(), None).unwrap();
    ProbeSet { made: set.made.clone(), ..lost }.save(&path).unwrap();
    assert!(ProbeSet::load(&path, &asking).unwrap_err().message.contains("the manifest asks for 128"));
    // However long they take, there are so many that their errors stand for those of all.
    assert_eq!(made_in_ten_seconds(5_000, 10, 10).0.len(), 64);
}

#[test]
fn a_first_picture_that_takes_all_the_time_is_not_all_that_is_asked() {
    let mut calls = 0;
    let mut scorer = |input: &Tensor| {
        calls += 1;
        std::thread::sleep(Duration::from_millis(if calls == 1 { 300 } else { 0 }));
        stripes(4, 20.0, 0.0)(input)
    };
    let options = ProbeOptions { time: Duration::from_millis(100), ..options(32) };
    let (set, summary) = made(&manifest(&[8, 8, 3], 4), &options, &mut scorer).unwrap();
    assert_eq!((set.len(), summary.evaluations >= 8), (32, true), "{summary:?}");
}

#[test]
fn more_classes_than_probes_leave_some_out() {
    let manifest = manifest(&[10, 10, 3], 100);
    let (set, summary) = made(&manifest, &options(32), &mut stripes(100, 20.0, 0.0)).unwrap();
    assert_eq!(set.len(), 32);
    assert!(summary.per_class.iter().filter(|&&found| found > 0).count() >= 16, "{summary:?}");
}

/// Any number of classes is enough for a set in little time: what was not met is a note.
#[rstest]
fn any_number_of_classes_gets_probes(#[values(2, 10, 1_000, 21_841)] classes: usize) {
    let manifest = manifest(&[16], classes);
    // Each class looks at one feature, and some of those at one feature win more often.
    let mut scorer = |input: &Tensor| {
        let bias = |class: usize| (class.wrapping_mul(2_654_435_761) % 1_000_003) as f32 / 1e6;
        let row = |row: usize| {
            let values = input.row(row).unwrap();
            (0..classes).map(move |class| 12.0 * values[class % values.len()] + bias(class))
        };
        let scores = (0..input.batch()).flat_map(row).collect();
        Tensor::float32("y", vec![input.batch(), classes], scores)
    };
    let options = ProbeOptions { time: Duration::from_secs(2), ..options(32) };
    let start = std::time::Instant::now();
    let (set, summary) = made(&manifest, &options, &mut scorer).unwrap();
    // Generous: what it may take on a crowded machine.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!((set.len(), summary.per_class.len()), (32, classes));
    let met = summary.per_class.iter().filter(|count| **count > 0).count();
    assert!(met >= 2, "{summary:?}");
    if classes > 32 {
        assert!(summary.notes[0].ends_with(&format!(" of {classes} classes")), "{:?}", summary.notes);
    }
}

#[rstest]
#[case::constant(|input: &Tensor| Tensor::float32("y", vec![input.batch(), 2], vec![1.0; 2 * input.batch()]), "the same scores")]
#[case::one_answer(|input: &Tensor| Tensor::float32("y", vec![input.batch(), 2], [5.0, 1.0].repeat(input.batch())), "the same scores whatever the picture")]
#[case::ties(|input: &Tensor| Tensor::float32("y", vec![input.batch(), 2], (0..input.batch()).flat_map(|row| [row as f32; 2]).collect()), "the same scores to all classes")]
#[case::not_finite(|input: &Tensor| Tensor::float32("y", vec![input.batch(), 2], vec![f32::NAN; 2 * input.batch()]), "not finite")]
#[case::broken(|_: &Tensor| Err(Error::failed("the runtime died")), "the runtime died")]
fn useless_references_are_refused(#[case] mut scorer: fn(&Tensor) -> Result<Tensor>, #[case] expected: &str) {
    let error = made(&manifest(&[6, 6, 1], 2), &options(32), &mut scorer).unwrap_err();
    assert!(error.message.contains(expected), "{error}");
}

#[test]
fn sets_are_saved_loaded_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probes.bin");
    let mut manifest = manifest(&[8, 8, 3], 4);
    let (set, _) = made(&manifest, &options(32), &mut stripes(4, 20.0, 0.0)).unwrap();
    set.save(&path).unwrap();
    assert_eq!(ProbeSet::load(&path, &manifest).unwrap(), ProbeSet { made: None, ..set.clone() });
    let samples = set.samples().unwrap();
    assert_eq!((samples.len(), samples.labels.as_deref()), (32, set.labels()));
    // Packed otherwise they are the same probes.
    let archive = folder.path().join("probes.npz");
    let noted = set.clone().noting(["one thing".to_owned()]);
    noted.save(&archive).unwrap();
    let read = ProbeSet::load(&archive, &manifest).unwrap();
    assert_eq!((read.sha256(), read.notes()), (set.sha256(), noted.notes()));
    assert_eq!(read, noted);
    assert_eq!(set.sha256(), hex::encode(Sha256::digest(std::fs::read(&path).unwrap())));
    // An archive says what it was made for; records have no place for it.
    assert_eq!(ProbeSet::file_made_for(&path).unwrap(), None);
    let made_for = ProbeSet::file_made_for(&archive).unwrap().unwrap();
    assert_eq!(made_for.difference(&manifest), None);
    let mut other = manifest.clone();
    (other.input.range, other.output.kind) = ([0.0, 255.0], OutputKind::Probabilities);
    let difference = made_for.difference(&other).unwrap();
    assert_eq!(difference, "`range` [0.0, 1.0] → [0.0, 255.0], `kind` logits → probabilities");

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
    let (set, _) = made(&manifest, &options(32), &mut stripes(4, 20.0, 0.0)).unwrap();
    let samples = make_calibration(&manifest, &set).unwrap();
    assert_eq!((samples.len(), samples.labels.as_ref()), (512, None));
    assert_eq!(write_calibration(&manifest, &set, &path).unwrap(), 512);
    let read = crate::data::reader::read_all(&path, &manifest.input, 4, Default::default()).unwrap();
    assert_eq!(read, samples);

    // The same seed gives other pictures all the same.
    manifest.calibration.seed = manifest.probes.seed;
    let own = make_calibration(&manifest, &set).unwrap();
    let known = set.samples().unwrap();
    assert!((0..own.len()).all(|index| (0..known.len()).all(|probe| own.row(index) != known.row(probe))));
    assert_ne!(own.values, samples.values);
    // The probes themselves calibrate nothing.
    let probes = folder.path().join("probes.bin");
    std::fs::write(&probes, set.records().unwrap().repeat(17)).unwrap();
    manifest.calibration.data = Some(probes);
    let error = make_calibration(&manifest, &set).unwrap_err();
    assert!(error.message.contains("holds 0 samples to calibrate on that are no probes"), "{error}");
    manifest.calibration.count = 100;
    assert!(make_calibration(&manifest, &set).unwrap_err().message.contains("at least 512"));
}

#[test]
fn calibration_data_must_not_be_the_accuracy_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.bin");
    let mut manifest = manifest(&[4], 4);
    let (set, _) = made(&manifest, &options(32), &mut stripes(4, 20.0, 0.0)).unwrap();
    // Pixels that no probe has: probes of this model are hardly ever this dark.
    let records: Vec<u8> =
        (0..600u16).flat_map(|number| [0, 3, 1, (number / 256) as u8, (number % 256) as u8]).collect();
    std::fs::write(&path, records).unwrap();
    manifest.calibration.data = Some(path.clone());
    assert_eq!(make_calibration(&manifest, &set).unwrap().len(), 512);
    manifest.data = Some(path);
    let error = make_calibration(&manifest, &set).unwrap_err();
    assert!(error.message.contains("sample ") && error.message.contains("is also a calibration sample"), "{error}");
}

#[test]
fn shipped_probes_are_whole() {
    let root = Path::new(".");
    let manifest = Manifest::load(&root.join("gate.toml")).unwrap();
    let set = ProbeSet::load(&root.join("models/cifar10/probes.bin"), &manifest).unwrap();
    let labels = set.labels().unwrap();
    assert_eq!(labels.len(), 256);
    assert!((0..10).all(|class| labels.iter().filter(|label| **label == class).count() >= 15));
    assert_eq!(set.layout().record_len(), 3073);
    assert_eq!(set.sha256(), crate::digest::digest_file(Path::new("models/cifar10/probes.bin")).unwrap());
}
