//! Accuracy on labelled data, as a gate of its own: the reference's and each cell's, and what of it is missing.

use sha2::{Digest, Sha256};

use crate::check::accuracy::{interval, share};
use crate::check::golden::LabelledAccuracy;
use crate::check::labels::{self, Finding, Refusal, Tally};
use crate::check::pair::select_output;
use crate::data::{ReadOptions, SampleReader};
use crate::error::Result;
use crate::findings::{Accuracy, AccuracyReport, CellReport, GoldenAccuracy};
use crate::gate::reference::open_unexamined;
use crate::gate::runs::{Outcome, RawCell};
use crate::gate::samples::{CHUNK, LabelledData};
use crate::gate::workspace::Workspace;
use crate::manifest::{Input, Manifest};
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, Library, Precision};

/// How the reference answered labelled data.
pub(crate) struct Labelled {
    samples: usize,
    correct: usize,
    /// What the labels are worth by its answers.
    finding: Finding,
    /// Whether it did not run, and the golden keeps its answers to the same samples.
    of_golden: bool,
}

impl Labelled {
    /// What a tally says of the reference, for the manifest's classes.
    pub(crate) fn of(tally: &Tally, manifest: &Manifest) -> Self {
        let output = &manifest.output;
        let finding = labels::examine(tally, output.classes, &output.labels);
        Self { samples: tally.samples(), correct: tally.correct(), finding, of_golden: false }
    }

    /// The reference's answers of this run: TensorFlow's, or ONNX Runtime's in FP32; else those that the golden of this
    /// very model keeps of the same samples.
    pub(crate) fn find(raw: &[RawCell], manifest: &Manifest, kept: Option<&Kept>) -> Option<Self> {
        let ran = raw.iter().find_map(|cell| reference_tally(cell, manifest)).map(|tally| Self::of(tally, manifest));
        let asked = raw.iter().find_map(tally_of)?.samples();
        let kept = kept.filter(|kept| kept.of_this_model && kept.same_data && kept.accuracy.samples == asked);
        // Labels that were refused are not blessed.
        ran.or_else(|| {
            kept.map(|Kept { accuracy, .. }| Self {
                samples: accuracy.samples,
                correct: accuracy.correct,
                finding: Finding::Fitting,
                of_golden: true,
            })
        })
    }

    /// Why the labels are refused, with what to look at.
    pub(crate) fn refused(&self) -> Option<String> {
        match &self.finding {
            Finding::Refused(Refusal { message, hint }) => Some(format!("{message}; {hint}")),
            Finding::Suspicious(_) | Finding::Fitting => None,
        }
    }

    /// The reference's accuracy beside its limits and what the golden keeps.
    pub(crate) fn report(&self, manifest: &Manifest, kept: Option<&Kept>) -> AccuracyReport {
        AccuracyReport {
            samples: self.samples,
            correct: self.correct,
            interval: interval(self.correct, self.samples),
            of_golden: self.of_golden,
            floor: manifest.accuracy.floor,
            drop: manifest.accuracy.drop,
            golden: kept.map(|Kept { accuracy, same_data, .. }| GoldenAccuracy {
                samples: accuracy.samples,
                correct: accuracy.correct,
                same_data: *same_data && accuracy.samples == self.samples,
            }),
            labels_refused: self.refused(),
        }
    }
}

/// The accuracy that the golden keeps.
pub(crate) struct Kept {
    pub(crate) accuracy: LabelledAccuracy,
    /// Whether it is of the data in use.
    pub(crate) same_data: bool,
    /// Whether it is of the model that is gated, read as it is now.
    pub(crate) of_this_model: bool,
}

impl Kept {
    /// Looks whether `accuracy` is of `data`, which is read for it.
    ///
    /// # Errors
    /// If the data cannot be read.
    pub(crate) fn of(
        accuracy: LabelledAccuracy,
        data: &LabelledData,
        manifest: &Manifest,
        of_this_model: bool,
    ) -> Result<Self> {
        let same_data = digest(data, manifest)? == accuracy.data_sha256;
        Ok(Self { accuracy, same_data, of_this_model })
    }
}

/// Digest of the samples and their labels. Their values are read unscaled, so that it is of the data and not of what the
/// manifest makes of it.
pub(crate) fn digest(data: &LabelledData, manifest: &Manifest) -> Result<String> {
    let input = Input { range: [0.0, 1.0], mean: Vec::new(), std: Vec::new(), ..manifest.input.clone() };
    let unscaled = Manifest { input, ..manifest.clone() };
    let mut reader = SampleReader::open_for(&data.path, &unscaled, ReadOptions::default())?;
    let mut hash = Sha256::new();
    while let Some(part) = reader.next_batch(CHUNK)? {
        let labels = part.labels.as_deref().unwrap_or_default();
        for (index, label) in labels.iter().enumerate() {
            hash.update(label.to_le_bytes());
            let row: Vec<u8> =
                part.row(index).unwrap_or_default().iter().flat_map(|value| value.to_le_bytes()).collect();
            hash.update(&row);
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// The reference's answers to labelled data now.
///
/// # Errors
/// If the reference runtime is not here or fails on the data, or the data cannot be read.
pub(crate) fn ask(workspace: &Workspace, data: &LabelledData) -> Result<Tally> {
    let manifest = &workspace.manifest;
    let step = workspace.progress.begin("answering the labelled data");
    let mut reference = open_unexamined(workspace)?;
    let mut run = |part: &Tensor| select_output(reference.run(part)?.outputs, &manifest.output.name);
    let tally = data.answered(manifest, &mut run)?;
    step.finish();
    Ok(tally)
}

/// The accuracy of a cell beside the reference's and its limits.
pub(crate) fn of_cell(
    tally: &Tally,
    reference: Option<&Labelled>,
    manifest: &Manifest,
    ladder_points: f64,
) -> Accuracy {
    Accuracy {
        samples: tally.samples(),
        correct: tally.correct(),
        reference_correct: reference.map(|reference| reference.correct),
        allowed_drop_points: manifest.accuracy.drop.map_or(ladder_points, |drop| 100.0 * drop),
        floor: manifest.accuracy.floor,
        labels_refused: reference.and_then(Labelled::refused),
        labels_suspicious: match reference.map(|reference| &reference.finding) {
            Some(Finding::Suspicious(text)) => Some(text.clone()),
            _ => None,
        },
    }
}

/// Why `id` did not answer the labelled data, where its runtime and precision do so at another batch.
pub(crate) fn judged_elsewhere(raw: &[RawCell], id: &CellId) -> Option<String> {
    raw.iter().find_map(tally_of)?;
    let alike = || {
        raw.iter().filter(|cell| {
            let other = &cell.planned.id;
            other.runtime == id.runtime && other.precision == id.precision
        })
    };
    let batch = |cell: &RawCell| cell.planned.id.batch;
    match alike().filter(|cell| tally_of(cell).is_some()).map(batch).max() {
        Some(batch) => Some(format!("judged at batch {batch}")),
        None => alike()
            .map(batch)
            .max()
            .map(|batch| format!("not judged: the labelled data goes to batch {batch}, which gave no answers")),
    }
}

fn tally_of(cell: &RawCell) -> Option<&Tally> {
    match &cell.outcome {
        Outcome::Ran(ran) => ran.accuracy.as_ref(),
        Outcome::Stopped { .. } | Outcome::Built { .. } => None,
    }
}

/// The answers of a cell that stands for the reference.
fn reference_tally<'a>(cell: &'a RawCell, manifest: &Manifest) -> Option<&'a Tally> {
    let id = &cell.planned.id;
    let stands_for_it = id.precision == Precision::Fp32
        && (id.runtime.library == manifest.model.source.reference() || id.runtime.library == Library::Onnxruntime);
    tally_of(cell).filter(|_| stands_for_it)
}

/// What keeps the labelled data, or that there is none, from being judged.
pub(crate) fn unmet(manifest: &Manifest, cells: &[CellReport]) -> Vec<String> {
    let mut unmet = Vec::new();
    let unjudged = |cell: &CellReport| cell.accuracy.as_ref().is_some_and(|found| found.reference_correct.is_none());
    if cells.iter().any(unjudged) {
        unmet.push(
            "labelled data was given, and the reference did not run to be compared with on it; `trtgate bless --data` \
             where it runs keeps its answers in the golden"
                .to_owned(),
        );
    }
    let judged = |cell: &CellReport| {
        cell.accuracy.as_ref().is_some_and(|found| found.reference_correct.is_some() && found.labels_refused.is_none())
    };
    if manifest.wants_accuracy() && !cells.iter().any(judged) {
        let wanted =
            if manifest.require.accuracy { "`[require] accuracy` is set" } else { "`[accuracy]` names limits" };
        unmet.push(format!("{wanted}, and no cell was judged on labelled data; name some with `--data`"));
    }
    unmet
}

/// What a blessing does about the accuracy of a golden.
#[derive(Default)]
pub(crate) struct Acceptance {
    /// What is kept.
    pub(crate) accuracy: Option<LabelledAccuracy>,
    /// What is said of it.
    pub(crate) lines: Vec<String>,
    /// What stands against it.
    pub(crate) doubts: Vec<String>,
    /// Whether a limit of the manifest is broken.
    pub(crate) fails: bool,
}

impl Acceptance {
    /// Asks the reference about `data` and holds it to the manifest's limits and to what the stored golden keeps; without
    /// data, `old` is kept where it is of this very model.
    ///
    /// # Errors
    /// Those of [`ask`].
    pub(crate) fn plan(
        workspace: &Workspace,
        data: Option<&LabelledData>,
        old: Option<&LabelledAccuracy>,
        of_this_model: bool,
    ) -> Result<Self> {
        let manifest = &workspace.manifest;
        let Some(data) = data else { return Ok(Self::without_data(manifest, old, of_this_model)) };
        let found = Labelled::of(&ask(workspace, data)?, manifest);
        let data_sha256 = digest(data, manifest)?;
        let kept =
            old.map(|old| Kept { accuracy: old.clone(), same_data: old.data_sha256 == data_sha256, of_this_model });
        let mut report = found.report(manifest, kept.as_ref());
        // That of other samples is replaced here, not compared with.
        if report.golden.is_some_and(|golden| !golden.same_data) {
            report.drop = None;
        }
        let rule = crate::check::accuracy::judge_reference(&report);
        let holds = rule.status == crate::vocabulary::Status::Pass;
        Ok(Self {
            accuracy: report.labels_refused.is_none().then_some(LabelledAccuracy {
                samples: found.samples,
                correct: found.correct,
                data_sha256,
            }),
            lines: vec![format!("accuracy: {}", rule.detail)],
            doubts: if holds { Vec::new() } else { vec![rule.detail] },
            fails: rule.status == crate::vocabulary::Status::Fail,
        })
    }

    fn without_data(manifest: &Manifest, old: Option<&LabelledAccuracy>, of_this_model: bool) -> Self {
        let mut done = Self::default();
        let was = |old: &LabelledAccuracy| share(old.correct, old.samples);
        match old {
            Some(old) if of_this_model => {
                done.lines.push(format!("accuracy: {}, as it is stored: no labelled data was given", was(old)));
                done.accuracy = Some(old.clone());
            }
            Some(old) => done.doubts.push(format!(
                "the stored golden keeps an accuracy ({}), and no labelled data was given for this model: name some with `--data`",
                was(old)
            )),
            None if manifest.wants_accuracy() => done
                .doubts
                .push("the manifest wants accuracy judged, and no labelled data was given: name some with `--data`".to_owned()),
            None => {}
        }
        done
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::gate::workshop::{Workshop, answers, healthy, samples, sound};
    use crate::worker::fake::Fakes;

    fn manifest(more: &str) -> Manifest {
        Manifest::parse(&format!("{}\n{more}", include_str!("../../gate.toml")), Path::new("gate.toml")).unwrap()
    }

    fn judged(reference_correct: Option<usize>) -> CellReport {
        let found = Accuracy {
            samples: 10,
            correct: 9,
            reference_correct,
            allowed_drop_points: 1.0,
            floor: None,
            labels_refused: None,
            labels_suspicious: None,
        };
        let id = "onnxruntime/fp32/batch-8".parse().unwrap();
        CellReport { accuracy: Some(found), ..CellReport::new(&id, "") }
    }

    #[test]
    fn labelled_data_that_is_wanted_has_to_be_judged() {
        let text = include_str!("../../gate.toml");
        let required = text.replace("[require]\n", "[require]\naccuracy = true\n");
        let required = Manifest::parse(&required, Path::new("gate.toml")).unwrap();
        assert!(required.require.accuracy);
        for manifest in [required, manifest("[accuracy]\nfloor = 0.9"), manifest("[accuracy]\ndrop = 0.01")] {
            let wanted = (manifest.require.accuracy, manifest.accuracy);
            assert_eq!(unmet(&manifest, &[]).len(), 1, "{wanted:?}");
            assert_eq!(unmet(&manifest, &[judged(None)]).len(), 2, "nothing to compare it with is no judgement");
            assert_eq!(unmet(&manifest, &[judged(Some(9))]), Vec::<String>::new());
        }
        assert_eq!(unmet(&manifest(""), &[]), Vec::<String>::new());
        assert_eq!(unmet(&manifest(""), &[judged(None)]).len(), 1);
    }

    #[test]
    fn the_accuracy_of_another_model_is_not_kept_without_data() {
        let old = LabelledAccuracy { samples: 10, correct: 9, data_sha256: "c3".repeat(32) };
        let kept = Acceptance::without_data(&manifest(""), Some(&old), true);
        assert_eq!((kept.accuracy.as_ref(), kept.doubts.len()), (Some(&old), 0));
        let refused = Acceptance::without_data(&manifest(""), Some(&old), false);
        assert_eq!((refused.accuracy, refused.doubts.len()), (None, 1));
        assert_eq!(Acceptance::without_data(&manifest("[accuracy]\nfloor = 0.9"), None, true).doubts.len(), 1);
        assert_eq!(Acceptance::without_data(&manifest(""), None, true).doubts.len(), 0);
    }

    /// Cells of this matrix that answered sixty labelled samples, 57 of them right, at the largest batch.
    fn answered(matrix: &str) -> (Workshop, Vec<RawCell>) {
        let mut workshop = Workshop::new(matrix);
        let path = workshop.folder.path().join("labelled.csv");
        let (input, mut text) = (samples(60), "label,a,b,c,d\n".to_owned());
        let right = answers(&input);
        for sample in 0..60 {
            let answer = crate::check::agreement::answer(right.row(sample).unwrap());
            let label = if sample % 20 == 0 { (answer + 1) % 3 } else { answer };
            let values: Vec<String> = input.row(sample).unwrap().iter().map(f32::to_string).collect();
            text.push_str(&format!("{label},{}\n", values.join(",")));
        }
        std::fs::write(&path, text).unwrap();
        workshop.labelled = Some(LabelledData::check(path, &workshop.manifest).unwrap());
        let raw = workshop.run(&Fakes::of(sound, healthy));
        (workshop, raw)
    }

    /// The reference's own answers come first; where it did not run, those that the golden of this very model keeps of as many of the
    /// same samples.
    #[test]
    fn the_reference_s_answers_are_its_own_or_the_golden_s() {
        let kept = |samples: usize, same_data: bool, of_this_model: bool| Kept {
            accuracy: LabelledAccuracy { samples, correct: 55, data_sha256: String::new() },
            same_data,
            of_this_model,
        };
        let found = |(workshop, raw): &(Workshop, Vec<RawCell>), kept: Option<&Kept>| {
            let found = Labelled::find(raw, &workshop.manifest, kept)?;
            assert!(found.refused().is_none());
            Some((found.samples, found.correct, found.of_golden))
        };
        let engines = answered("tensorrt = [\"fp32\"]");
        assert_eq!(found(&engines, Some(&kept(60, true, true))), Some((60, 55, true)));
        for other in [kept(61, true, true), kept(60, false, true), kept(60, true, false)] {
            assert_eq!(found(&engines, Some(&other)), None);
        }
        assert_eq!(found(&engines, None), None);
        let whole = answered("onnxruntime = [\"fp32\", \"fp16\"]");
        assert_eq!(found(&whole, Some(&kept(60, true, true))), Some((60, 57, false)));
        // Half precision stands for nobody.
        let halves = answered("onnxruntime = [\"fp16\"]");
        assert_eq!(found(&halves, None), None);
        let none = Workshop::new("onnxruntime = [\"fp32\"]");
        let raw = none.run(&Fakes::of(sound, healthy));
        assert_eq!(found(&(none, raw), Some(&kept(60, true, true))), None, "nothing was asked");
    }

    #[test]
    fn where_labelled_data_is_judged_is_told() {
        let (_, mut raw) = answered("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]");
        let told = |raw: &[RawCell], id: &str| judged_elsewhere(raw, &id.parse().unwrap());
        let engine = "tensorrt@10.11.0/fp32/batch-1";
        assert_eq!(told(&raw, engine).as_deref(), Some("judged at batch 4"));
        assert_eq!(told(&raw, "tensorrt@10.11.0/fp16/batch-1"), None, "nothing of it was planned");
        for cell in raw.iter_mut().filter(|cell| cell.planned.id.runtime.library == Library::Tensorrt) {
            cell.outcome = Outcome::Stopped {
                status: crate::vocabulary::Status::Fail,
                stage: crate::vocabulary::Stage::Run,
                error: crate::error::Error::failed("it died"),
            };
        }
        let words = "not judged: the labelled data goes to batch 4, which gave no answers";
        assert_eq!(told(&raw, engine).as_deref(), Some(words));
        raw.retain(|cell| cell.planned.id.runtime.library == Library::Tensorrt);
        assert_eq!(told(&raw, engine), None, "nobody was asked");
    }

    /// The golden's accuracy is of the same samples where they are the same and as many.
    #[rstest]
    #[case(true, 10, true)]
    #[case(true, 9, false)]
    #[case(false, 10, false)]
    fn the_goldens_accuracy_is_of_as_many_samples(
        #[case] same_data: bool,
        #[case] samples: usize,
        #[case] expected: bool,
    ) {
        let labelled = Labelled { samples: 10, correct: 9, finding: Finding::Fitting, of_golden: false };
        let accuracy = LabelledAccuracy { samples, correct: 9, data_sha256: String::new() };
        let kept = Kept { accuracy, same_data, of_this_model: true };
        let report = labelled.report(&manifest(""), Some(&kept));
        assert_eq!(report.golden.map(|golden| golden.same_data), Some(expected));
    }

    #[test]
    fn the_digest_is_of_the_data_and_not_of_its_reading() {
        let folder = tempfile::tempdir().unwrap();
        let record = |label: u8, pixel: u8| [vec![label], vec![pixel; 3072]].concat();
        let data = |name: &str, records: &[Vec<u8>]| {
            let path = folder.path().join(name);
            std::fs::write(&path, records.concat()).unwrap();
            LabelledData::check(path, &manifest("")).unwrap()
        };
        let one = data("one.bin", &[record(1, 7), record(2, 9)]);
        let mut scaled = manifest("");
        (scaled.input.range, scaled.input.mean, scaled.input.std) = ([-1.0, 3.0], vec![0.5; 3], vec![2.0; 3]);
        let found = digest(&one, &manifest("")).unwrap();
        assert_eq!(digest(&one, &scaled).unwrap(), found);
        assert_eq!(digest(&data("same.bin", &[record(1, 7), record(2, 9)]), &scaled).unwrap(), found);
        for (name, records) in [
            ("label.bin", [record(1, 7), record(3, 9)]),
            ("pixel.bin", [record(1, 7), record(2, 8)]),
            ("order.bin", [record(2, 9), record(1, 7)]),
        ] {
            assert_ne!(digest(&data(name, &records), &scaled).unwrap(), found, "{name}");
        }
    }
}
