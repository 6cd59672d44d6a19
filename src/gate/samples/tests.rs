#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::convert::store::keys::{Change, every_change_counts};
use crate::gate::workshop::{Project, Workshop, healthy, sound};
use crate::manifest::{Layout, OutputKind, Resize};
use crate::worker::fake::Fakes;

fn manifest() -> Manifest {
    Workshop::new("tensorflow = [\"fp32\"]").manifest
}

/// What the bytes of a sample mean, and so every key of samples.
const READING: [Change<'_, Manifest>; 6] = [
    ("shape", &|manifest| manifest.input.shape = vec![2, 2]),
    ("layout", &|manifest| manifest.input.layout = Layout::Nhwc),
    ("range", &|manifest| manifest.input.range[0] = -1.0),
    ("mean", &|manifest| manifest.input.mean = vec![0.5]),
    ("std", &|manifest| manifest.input.std = vec![2.0]),
    ("classes", &|manifest| manifest.output.classes += 1),
];

#[test]
fn whatever_changes_the_reading_of_samples_changes_their_key() {
    every_change_counts(&manifest(), |manifest| sample_key("samples", manifest), &READING, &["trtgate"]);
}

#[test]
fn whatever_changes_probes_changes_their_key() {
    every_change_counts(
        &(manifest(), "digest".to_owned()),
        |(manifest, model)| probes_key(manifest, model),
        &[
            ("model", &|(_, model)| model.push('0')),
            ("output", &|(manifest, _)| manifest.output.name.push('2')),
            ("kind", &|(manifest, _)| manifest.output.kind = OutputKind::Probabilities),
            ("seed", &|(manifest, _)| manifest.probes.seed += 1),
            ("count", &|(manifest, _)| manifest.probes.count += 1),
            ("time", &|(manifest, _)| manifest.probes.time += std::time::Duration::from_secs(1)),
            ("shape", &|(manifest, _)| READING[0].1(manifest)),
            ("layout", &|(manifest, _)| READING[1].1(manifest)),
            ("range", &|(manifest, _)| READING[2].1(manifest)),
            ("mean", &|(manifest, _)| READING[3].1(manifest)),
            ("std", &|(manifest, _)| READING[4].1(manifest)),
            ("classes", &|(manifest, _)| READING[5].1(manifest)),
        ],
        &["trtgate", "format"],
    );
}

#[test]
fn whatever_changes_calibration_samples_changes_their_key() {
    every_change_counts(
        &(manifest(), "probes".to_owned(), Some("data".to_owned())),
        |(manifest, probes, data)| calibration_key(manifest, probes, data.as_deref()),
        &[
            ("probes", &|(_, probes, _)| probes.push('0')),
            ("data", &|(_, _, data)| *data = Some("other".to_owned())),
            ("no data", &|(_, _, data)| *data = None),
            ("resize", &|(manifest, _, _)| manifest.input.resize = Some(Resize::Crop)),
            ("seed", &|(manifest, _, _)| manifest.calibration.seed += 1),
            ("count", &|(manifest, _, _)| manifest.calibration.count += 1),
            ("shape", &|(manifest, _, _)| READING[0].1(manifest)),
            ("layout", &|(manifest, _, _)| READING[1].1(manifest)),
            ("range", &|(manifest, _, _)| READING[2].1(manifest)),
            ("mean", &|(manifest, _, _)| READING[3].1(manifest)),
            ("std", &|(manifest, _, _)| READING[4].1(manifest)),
            ("classes", &|(manifest, _, _)| READING[5].1(manifest)),
        ],
        &["trtgate", "choice"],
    );
}

/// A file of labelled flat samples; `labels` as they stand in it.
fn labelled(folder: &Path, labels: &[&str]) -> PathBuf {
    let path = folder.join("data.csv");
    let rows: String = labels.iter().map(|label| format!("{label},0.1,0.2,0.3,0.4\n")).collect();
    std::fs::write(&path, format!("label,a,b,c,d\n{rows}")).unwrap();
    path
}

#[test]
fn labels_that_name_no_class_are_refused_before_anything_runs() {
    let (folder, manifest) = (tempfile::tempdir().unwrap(), manifest());
    let check = |labels: &[&str]| LabelledData::check(labelled(folder.path(), labels), &manifest);
    assert!(check(&["0", "1", "2"]).is_ok());
    for labels in [&["0", "3"][..], &["1", "2", "3"], &["1", "2", "4"]] {
        let error = check(labels).unwrap_err();
        assert!(error.message.contains("and there are 3 classes"), "{error}");
        let begins_at_1 = error.hint.unwrap().starts_with("they begin at 1");
        assert_eq!(begins_at_1, labels == ["1", "2", "3"], "{labels:?}");
    }
    assert!(check(&[]).is_err());
}

#[test]
fn every_labelled_sample_is_answered_by_finite_values() {
    let (folder, manifest) = (tempfile::tempdir().unwrap(), manifest());
    let data = LabelledData::check(labelled(folder.path(), &["0", "1", "1"]), &manifest).unwrap();
    let answered = |rows: usize, value: f32| {
        let mut run = |_: &Tensor| Tensor::float32("y", vec![rows, 3], [0.0, 1.0, value].repeat(rows));
        data.answered(&manifest, &mut run)
    };
    let tally = answered(3, 0.5).unwrap();
    assert_eq!((tally.samples(), tally.correct()), (3, 2));
    assert!(answered(2, 0.5).unwrap_err().message.contains("3 samples went in, 2 came out"));
    assert!(answered(3, f32::NAN).unwrap_err().message.contains("labelled sample 0 is not finite"));
}

#[test]
fn the_reference_runs_at_the_largest_batch() {
    let mut manifest = manifest();
    assert_eq!(reference_cell(&manifest).to_string(), "tensorflow/fp32/batch-4");
    manifest.model.source = crate::manifest::ModelSource::Onnx { path: PathBuf::from("m.onnx") };
    assert_eq!(reference_cell(&manifest).to_string(), "onnxruntime/fp32/batch-4");
}

/// What is said of the probes is said to be of them; there is nothing to say of sound ones.
#[test]
fn notes_say_that_they_are_of_the_probes() {
    let mut project = Project::new("onnxruntime = [\"fp32\"]", "");
    let told = |project: &Project| {
        let workspace = project.workspace(&Fakes::of(sound, healthy));
        notes(&workspace, &workspace.probes().unwrap()).unwrap()
    };
    assert_eq!(told(&project), [""; 0]);
    project.manifest.probes.file = Some("probes.npz".into());
    assert_eq!(told(&project), ["probes: `[probes] data` names samples of your own, and `probes.npz` is not used"]);
}

/// Probes that are no records are saved as an archive beside the place where records were asked for.
#[test]
fn probes_that_are_no_records_are_saved_beside() {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let probes = project.workspace(&Fakes::of(sound, healthy)).probes().unwrap();
    assert!(probes.records().is_err(), "they are floats");
    let place = |name: &str| project.folder.path().join(name);
    assert_eq!(save_probes(&probes, &place("saved.bin")).unwrap(), place("saved.npz"));
    assert_eq!(save_probes(&probes, &place("other.npz")).unwrap(), place("other.npz"));
    assert!(place("saved.npz").exists() && place("other.npz").exists() && !place("saved.bin").exists());
}

/// Labelled samples are answered part by part, and the first whose answer is no number is told by its place in all of them.
#[test]
fn the_labelled_sample_that_is_no_number_is_told() {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let path = crate::gate::workshop::labelled(&project, 0);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rows) = text.split_once('\n').unwrap();
    let repeated = 1 + 2 * CHUNK / 60;
    std::fs::write(&path, format!("{head}\n{}", rows.repeat(repeated))).unwrap();
    let data = LabelledData::check(path, &project.manifest).unwrap();
    let answered = |broken: Option<usize>| {
        let mut from = 0;
        data.answered(&project.manifest, &mut |part: &Tensor| {
            let mut output = crate::gate::workshop::answers(part);
            let own = broken.filter(|broken| (from..from + part.batch()).contains(broken));
            if let (Some(broken), Some(values)) = (own, output.values.as_mut::<f32>()) {
                values[3 * (broken - from) + 1] = f32::NAN;
            }
            from += part.batch();
            Ok(output)
        })
    };
    let tally = answered(None).unwrap();
    assert_eq!((tally.samples(), tally.correct()), (60 * repeated, 60 * repeated));
    for broken in [5, CHUNK + 7, 2 * CHUNK] {
        let error = answered(Some(broken)).unwrap_err();
        assert_eq!(error.message, format!("the output of labelled sample {broken} is not finite"));
    }
}

/// A file of probes that the manifest names is what is used while it is there; whoever keeps probes in a file carries none beside it.
#[test]
fn a_file_of_probes_is_used_where_the_manifest_names_one() {
    let mut project = Project::new("onnxruntime = [\"fp32\"]", "");
    let fakes = Fakes::of(sound, healthy);
    let own = project.workspace(&fakes).probes().unwrap();
    assert!(carried_with_artifacts(&project.workspace(&fakes)).unwrap().is_some());
    let file = project.folder.path().join("kept.npz");
    own.save(&file).unwrap();
    (project.manifest.probes.data, project.manifest.probes.file) = (None, Some(file.clone()));
    assert_eq!(probe_file(&project.manifest), Some(file.as_path()));
    let workspace = project.workspace(&fakes);
    assert_eq!(probes(&workspace).unwrap().sha256(), own.sha256());
    assert!(carried_with_artifacts(&workspace).unwrap().is_none());
    std::fs::remove_file(&file).unwrap();
    let error = probes(&workspace).unwrap_err().to_string();
    assert!(error.contains("cannot read the probes") && error.contains("kept.npz"), "{error}");
}
