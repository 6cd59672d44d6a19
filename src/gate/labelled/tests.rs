#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use rstest::rstest;

use super::*;
use crate::data::arrays;
use crate::gate::values::tests::spec;
use crate::tensor::{ElementType, Values};

/// A model of input `x` and of outputs `y` and `z` with scores of two classes, which the manifest holds to their labels.
struct Labels {
    folder: tempfile::TempDir,
    manifest: Manifest,
}

const SAMPLES: usize = 64;

impl Labels {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nvalues = {{ uniform = [0.0, 1.0] }}\n\
             [[output]]\nname = \"y\"\ntask = \"classification\"\n{more}\n[matrix]\nbatches = [1]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n"
        );
        let manifest = Manifest::parse(&text, &folder.path().join("gate.toml")).unwrap();
        let found = Self { folder, manifest };
        found.write(&rows("x"));
        found
    }

    fn write(&self, tensor: &Tensor) {
        std::fs::write(self.folder.path().join(format!("{}.npy", tensor.name)), arrays::encode(tensor).unwrap())
            .unwrap();
    }

    fn interface(&self) -> &Interface {
        self.manifest.interface.as_ref().unwrap()
    }

    fn read(&self) -> Result<Option<Labelled>> {
        let scores = |name| spec(name, ElementType::Float32, &[None, Some(2)]);
        let signature = Signature { inputs: vec![scores("x")], outputs: vec![scores("y"), scores("z")] };
        Labelled::of(&self.manifest, self.interface(), &signature, Some(self.folder.path()))
    }

    /// With the labels of `y`, which are right.
    fn right(more: &str) -> (Self, Labelled) {
        let found = Self::new(more);
        found.write(&labels("y", SAMPLES, 0));
        let labelled = found.read().unwrap().unwrap();
        (found, labelled)
    }
}

/// Scores by which every other sample is of class 1.
fn rows(name: &str) -> Tensor {
    let values = (0..SAMPLES).flat_map(|sample| [1.0, 2.0 * (sample % 2) as f32]).collect();
    Tensor::float32(name, vec![SAMPLES, 2], values).unwrap()
}

/// Labels of which the first `wrong` are others.
fn labels(name: &str, count: usize, wrong: usize) -> Tensor {
    let label = |sample: usize| (sample % 2 != usize::from(sample < wrong)) as i64;
    let values = Values::Int64((0..count).map(label).collect());
    Tensor::new(format!("{name}.labels"), vec![count], values).unwrap()
}

fn answers(names: &[&str]) -> Vec<Answers> {
    names.iter().map(|name| Answers::Rows(rows(name))).collect()
}

const Z: &str = "[[output]]\nname = \"z\"\ntask = \"classification\"\n";

#[test]
fn each_labelled_output_is_scored_by_its_own_labels() {
    let found = Labels::new(Z);
    found.write(&labels("y", SAMPLES, 0));
    found.write(&labels("z", SAMPLES, 2));
    let labelled = found.read().unwrap().unwrap();
    assert_eq!(labelled.feeds.batch(), SAMPLES);
    let scores = labelled.scores(found.interface(), &answers(&["y", "z"]));
    let values: Vec<(&str, f64)> =
        scores.iter().map(|(name, scored)| (name.as_str(), scored.as_ref().unwrap().value)).collect();
    assert_eq!(values, [("y", 1.0), ("z", 0.96875)]);
    // An answer that is not there is no score, of that output alone.
    let scores = labelled.scores(found.interface(), &answers(&["z"]));
    assert_eq!(scores.iter().map(|(_, scored)| scored.is_ok()).collect::<Vec<_>>(), [false, true]);
    let unread = labelled.unread(&Error::failed("died"));
    assert!(unread.iter().all(|(_, scored)| scored.as_ref().unwrap_err().message == "died"));
    assert_eq!(unread.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["y", "z"]);
}

/// One output may have no labels, unless the manifest names limits by them.
#[test]
fn labels_are_those_of_the_samples() {
    let found = Labels::new(Z);
    let error = found.read().err().unwrap();
    assert!(error.message.ends_with("holds no labels"), "{error}");
    assert_eq!(error.hint.as_deref(), Some("an array called `y.labels` or `z.labels` beside those of the inputs"));
    found.write(&labels("z", SAMPLES, 0));
    let labelled = found.read().unwrap().unwrap();
    assert_eq!(labelled.scores(found.interface(), &answers(&["y", "z"])).len(), 1);
    found.write(&labels("z", SAMPLES - 1, 0));
    let error = found.read().err().unwrap();
    assert!(error.message.ends_with("has 63 labels, and there are 64 samples"), "{error}");

    let found = Labels::new(&format!("accuracy = {{ floor = 0.5 }}\n{Z}"));
    found.write(&labels("z", SAMPLES, 0));
    let error = found.read().err().unwrap();
    assert!(error.message.starts_with("output `y` names limits of accuracy"), "{error}");

    let mut none = Labels::new("");
    none.manifest.interface.as_mut().unwrap().outputs.clear();
    let error = none.read().err().unwrap();
    assert_eq!(error.hint.as_deref(), Some("no output is gated whose task has labels (docs/manifest.md)"));
    // Nothing is labelled where nobody names it.
    let signature = Signature::default();
    assert!(Labelled::of(&none.manifest, none.interface(), &signature, None).unwrap().is_none());
}

/// A golden's figures are of these samples and labels, or of others.
#[test]
fn figures_say_of_which_samples_they_are() {
    let (found, labelled) = Labels::right(Z);
    let scores = labelled.scores(found.interface(), &answers(&["y"]));
    let figures = labelled.figures(&scores);
    let [figure] = figures.as_slice() else { panic!("{figures:?}") };
    assert_eq!((figure.output.as_str(), figure.name.as_str(), figure.value), ("y", "top-1", 1.0));
    assert!(labelled.is_data_of(figure));
    assert!(!labelled.is_data_of(&LabelledFigure { output: "z".to_owned(), ..figure.clone() }));
    found.write(&labels("y", SAMPLES, 1));
    assert!(!found.read().unwrap().unwrap().is_data_of(figure), "other labels");
    found.write(&labels("y", SAMPLES, 0));
    assert!(found.read().unwrap().unwrap().is_data_of(figure));
    let mut other = rows("x");
    other.values.as_mut::<f32>().unwrap()[0] += 1.0;
    found.write(&other);
    assert!(!found.read().unwrap().unwrap().is_data_of(figure), "other samples");
    // What could not be scored is not kept, nor by labels that are refused.
    assert!(labelled.figures(&labelled.unread(&Error::failed("died"))).is_empty());
    let mut refused = scores;
    refused[0].1.as_mut().unwrap().refused = Some("not its".to_owned());
    assert!(labelled.figures(&refused).is_empty());
}

/// The reference is held to the manifest's floor, and to its golden where that is of the same samples.
#[rstest]
#[case::nothing_kept(0.0, None, Status::Pass, "")]
#[case::as_before(0.0, Some((1.0, true)), Status::Pass, "; the golden's was 1.0000")]
#[case::less_than_before(0.0, Some((2.0, true)), Status::Fail, ": 100.00 points less, 50.00 allowed")]
#[case::of_other_samples(0.0, Some((2.0, false)), Status::Invalid, "of other labelled data")]
#[case::below_its_floor(1.1, None, Status::Fail, "below the floor of")]
fn the_reference_has_its_own_rules(
    #[case] floor: f64,
    #[case] kept: Option<(f64, bool)>,
    #[case] status: Status,
    #[case] words: &str,
) {
    let (mut found, labelled) = Labels::right(Z);
    let limits = &mut found.manifest.interface.as_mut().unwrap().outputs[0].accuracy;
    (limits.floor, limits.drop) = ((floor > 0.0).then_some(floor), Some(0.5));
    let scores = labelled.scores(found.interface(), &answers(&["y"]));
    let mut figures: Vec<LabelledFigure> = labelled.figures(&scores);
    match kept {
        None => figures.clear(),
        Some((value, same)) => {
            figures[0].value = value;
            if !same {
                figures[0].data_sha256 = "0".repeat(64);
            }
        }
    }
    // Those of another output say nothing of this one.
    figures.insert(
        0,
        LabelledFigure { output: "z".to_owned(), name: "top-1".to_owned(), value: 9.0, data_sha256: String::new() },
    );
    let rules = labelled.rules(&found.manifest, found.interface(), &scores, &figures);
    let [rule] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!(rule.status, status, "{}", rule.detail);
    assert!(
        rule.detail.starts_with("output `y`: the reference's top-1 1.0000") && rule.detail.contains(words),
        "{}",
        rule.detail
    );
    // A figure of another name is another.
    let unread = labelled.rules(&found.manifest, found.interface(), &labelled.unread(&Error::failed("died")), &figures);
    assert_eq!((unread.len(), unread[0].status), (1, Status::Invalid));
}

/// A cell is held to what the reference's answers are worth, output by output; what cannot be asked is no pass.
#[test]
fn a_cell_loses_no_more_than_it_may() {
    let (found, labelled) = Labels::right(Z);
    let interface = found.interface();
    let right = labelled.scores(interface, &answers(&["y"]));
    let mut turned = rows("y");
    turned.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value = -*value);
    let wrong = labelled.scores(interface, &[Answers::Rows(turned)]);
    let died = labelled.unread(&Error::failed("died"));
    let unfit = labelled.unread(&Error::input("no labels of it"));
    let judged = |cell: &Scores, reference: Option<&Scores>| {
        let finding = |name: &str| OutputFinding {
            output: name.to_owned(),
            ..crate::report::sample::tasks().cells[0].outputs[0].clone()
        };
        let mut findings = vec![finding("z"), finding("y")];
        let kept = findings[0].detail.clone();
        let ladder = MayLose { points: 0.1, rounding: 0.0 };
        let checks = judge(&found.manifest, interface, cell, reference, ladder, &mut findings);
        assert_eq!(checks.len(), 1, "{checks:?}");
        assert_eq!(findings[0].detail, kept);
        let said = checks[0].detail.strip_prefix("output `y`: ").unwrap();
        assert!(findings[1].detail.ends_with(&format!("; by labels {said}")), "{}", findings[1].detail);
        (checks[0].status, checks[0].detail.clone())
    };
    assert_eq!(judged(&right, Some(&right)).0, Status::Pass);
    let (status, detail) = judged(&wrong, Some(&right));
    assert!(status == Status::Fail && detail.contains("points less"), "{detail}");
    assert_eq!(judged(&died, Some(&right)), (Status::Fail, "output `y`: by labels: died".to_owned()));
    assert_eq!(judged(&unfit, Some(&right)).0, Status::Invalid);
    assert_eq!(judged(&right, Some(&died)).0, Status::Invalid);
    let (status, detail) = judged(&right, None);
    assert!(
        status == Status::Invalid && detail.contains("the reference did not answer the labelled samples"),
        "{detail}"
    );
    let others: Scores = right.iter().map(|(_, scored)| ("z".to_owned(), scored.clone())).collect();
    assert_eq!(judged(&right, Some(&others)).0, Status::Invalid);
}

/// Labelled samples have one shape: a manifest of several is refused, one of a single one is not.
#[test]
fn labelled_samples_of_several_shapes_are_refused() {
    let found = Labels::new("");
    found.write(&labels("y", SAMPLES, 0));
    let read = |sizes: &str| {
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nshape = [\"width\"]\nvalues = {{ uniform = [0.0, 1.0] }}\n\
             [[output]]\nname = \"y\"\ntask = \"classification\"\n[shapes]\nwidth = {sizes}\n[matrix]\nbatches = [1]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n"
        );
        let manifest = Manifest::parse(&text, &found.folder.path().join("gate.toml")).unwrap();
        let scores = |name, size| spec(name, ElementType::Float32, &[None, size]);
        let signature = Signature { inputs: vec![scores("x", None)], outputs: vec![scores("y", Some(2))] };
        let interface = manifest.interface.as_ref().unwrap();
        Labelled::of(&manifest, interface, &signature, Some(found.folder.path())).map(|found| found.is_some())
    };
    assert_eq!(read("2"), Ok(true));
    let error = read("[2, 4, 8]").unwrap_err();
    assert_eq!(error.kind, crate::error::ErrorKind::Usage);
    assert!(error.message.contains("have one shape, and `[shapes]` names several"), "{error}");
}
