#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::gate::workshop::{CLASSES, OWN_PROBES, Project, all_answering, healthy, sound};
use crate::manifest::{Layout, OutputKind};
use crate::worker::fake::Fakes;

/// A project, and the golden of its sound reference.
fn made() -> (Project, Golden) {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let golden = golden_now(&workspace, "because").unwrap();
    (project, golden)
}

#[test]
fn a_golden_says_what_it_is_of() {
    let (project, golden) = made();
    assert_eq!((golden.origin.model.as_str(), golden.origin.model_sha256.clone()), ("m", project.digest()));
    assert_eq!((golden.origin.reason.as_str(), golden.origin.version.as_str()), ("because", "10.11.0"));
    assert_eq!((golden.outputs.len(), golden.outputs[0].row_len()), (1, CLASSES));
    assert!(golden.outputs[0].leads.is_some() && golden.accuracy.is_none());
    let probes = &golden.probes;
    assert_eq!((probes.count, probes.asked, probes.seed), (OWN_PROBES, None, None), "they are the team's own");
    assert_eq!((probes.inputs.len(), probes.inputs[0].reading.clone()), (1, Reading::Values));
    assert!(golden.accuracy.is_none() && golden.figures.is_empty() && golden.artifacts.is_empty());
}

/// Probes that a golden keeps are taken where they are whole and are read as they were.
#[test]
fn kept_probes_are_whole_and_fit() {
    let (project, golden) = made();
    let set = embedded(&golden, &project.manifest).unwrap();
    assert_eq!((set.len(), set.sha256()), (OWN_PROBES, golden.probes.sha256.clone()));
    let other = |change: &dyn Fn(&mut Golden, &mut Manifest)| {
        let (mut golden, mut manifest) = (golden.clone(), project.manifest.clone());
        change(&mut golden, &mut manifest);
        embedded(&golden, &manifest).is_some()
    };
    assert!(other(&|_, _| ()));
    assert!(!other(&|_, manifest| manifest.input.name = "z".to_owned()));
    assert!(!other(&|_, manifest| manifest.input.shape = vec![2, 2]));
    assert!(!other(&|golden, _| golden.probes.sha256 = "0".repeat(64)));
    assert!(!other(&|golden, _| golden.probes.count += 1));
    assert!(!other(&|golden, _| golden.probes.count -= 1));
    assert!(!other(&|golden, _| golden.probes.inputs.clear()));
    assert!(!other(&|golden, _| {
        let twice = golden.probes.inputs[0].tensors[0].clone();
        golden.probes.inputs[0].tensors.push(twice);
    }));
    // Bytes that are read otherwise, and floats where bytes should be.
    let layout = project.manifest.input.layout;
    let bytes = |shape: Vec<usize>, layout| Reading::Bytes {
        shape,
        layout,
        range: project.manifest.input.range,
        mean: Vec::new(),
        std: Vec::new(),
    };
    for reading in [bytes(vec![4], layout), bytes(vec![4], Layout::Nchw), bytes(vec![5], layout)] {
        assert!(!other(&|golden, _| golden.probes.inputs[0].reading = reading.clone()));
    }
}

/// A golden of another output, kind or number of classes is not that of the gated output.
#[test]
fn a_golden_of_another_output_is_refused() {
    let (project, golden) = made();
    let path = Path::new("m.golden");
    let of = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = project.manifest.clone();
        change(&mut manifest);
        gated_output(&golden, &manifest, path).map(|output| output.name.clone())
    };
    assert_eq!(of(&|_| ()).unwrap(), "y");
    assert!(of(&|manifest| manifest.output.name = "z".to_owned()).is_err());
    let classes = of(&|manifest| manifest.output.classes += 1).unwrap_err();
    let kind = of(&|manifest| manifest.output.kind = OutputKind::Probabilities).unwrap_err();
    for error in [classes, kind] {
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.starts_with("golden `m.golden` is of "), "{error}");
    }
}

#[test]
fn a_golden_that_cannot_be_read_is_no_missing_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.golden");
    assert!(stored(&path).unwrap().is_none());
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &path).unwrap();
    assert!(stored(&path).is_err());
}

/// What the reference answers is held to its shape before it is kept.
#[test]
fn a_reference_of_another_shape_makes_no_golden() {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let narrow = all_answering(|output| {
        let rows = output.batch();
        *output = Tensor::float32("y", vec![rows, CLASSES - 1], vec![0.5; rows * (CLASSES - 1)]).unwrap();
    });
    assert!(golden_now(&project.workspace(&narrow), "because").is_err());
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let (outputs, version) = answers(&workspace, &workspace.probes().unwrap()).unwrap();
    assert_eq!((outputs.shape, version.as_str()), (vec![OWN_PROBES, CLASSES], "10.11.0"));
}

#[test]
fn a_path_is_named_from_where_the_golden_lies() {
    let of = |path: &str, folder: &str| relative(Path::new(path), Path::new(folder));
    assert_eq!(of("/a/b/gate.toml", "/a/b"), Some("gate.toml".to_owned()));
    assert_eq!(of("/a/b/gate.toml", "/a/b/snapshots"), Some("../gate.toml".to_owned()));
    assert_eq!(of("/a/c/gate.toml", "/a/b/snapshots"), Some("../../c/gate.toml".to_owned()));
    assert_eq!(of("gate.toml", "snapshots"), Some("../gate.toml".to_owned()));
}

/// Probes that there was no time for are counted with the golden, where they were made.
#[test]
fn a_golden_says_how_many_probes_were_asked_for() {
    let (mut project, _) = made();
    project.manifest.probes.data = None;
    let set = |asked: usize| {
        let options = crate::data::ProbeOptions { count: asked, ..crate::data::ProbeOptions::of(&project.manifest) };
        let values = crate::data::ProbeSet::of_values(&project.manifest, vec![0.123; 40]).unwrap();
        values.made_for(crate::data::probes::MadeFor::of(&project.manifest, &options))
    };
    let asked = |count: usize| super::kept(&set(count), &project.manifest).unwrap().asked;
    assert_eq!((asked(10), asked(12)), (None, Some(12)));
}

/// A golden that is there and cannot be read is no missing one.
#[test]
fn a_golden_that_cannot_be_reached_is_no_missing_one() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(stored(&folder.path().join("none.json")).unwrap(), None);
    std::fs::write(folder.path().join("file"), "no folder").unwrap();
    assert!(stored(&folder.path().join("file/golden.json")).is_err());
}

/// Probes that were made by another seed are not those that are asked for.
#[test]
fn kept_probes_are_those_of_the_seed() {
    let (project, mut golden) = made();
    let mut manifest = project.manifest.clone();
    manifest.probes.data = None;
    manifest.probes.count = OWN_PROBES;
    let mut kept = |seed: Option<u64>| {
        golden.probes.seed = seed;
        _ = std::fs::remove_file(path_of(&manifest));
        golden.write(&path_of(&manifest)).unwrap();
        kept_probes(&manifest).is_some()
    };
    let own = project.manifest.probes.seed;
    assert_eq!((kept(None), kept(Some(own)), kept(Some(own + 1))), (true, true, false));
}

/// Pictures that a golden keeps are taken where they are bytes of the shape and layout that the manifest has.
#[test]
fn kept_pictures_are_bytes_of_their_shape() {
    let folder = tempfile::tempdir().unwrap();
    let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [3, 2, 2]\nlayout = \"nchw\"\n\
         [output]\nname = \"y\"\nclasses = 3\n[matrix]\nbatches = [1]\n";
    let manifest = Manifest::parse(text, &folder.path().join("gate.toml")).unwrap();
    let bytes: Vec<u8> = (0..240).map(|place| (place * 31 % 251) as u8).collect();
    let set = ProbeSet::of_pixels(&manifest, bytes.clone(), None).unwrap();
    let (_, golden) = made();
    let reading = |manifest: &Manifest| Reading::of(&manifest.input);
    let with = |reading: Reading, floats: bool| {
        let mut golden = golden.clone();
        let kept = &mut golden.probes.inputs[0];
        kept.name = "x".to_owned();
        kept.reading = reading;
        kept.tensors = match floats {
            false => vec![crate::check::golden::Typed::new(Dtype::U8, vec![20, 3, 2, 2], bytes.clone()).unwrap()],
            true => kept.tensors.clone(),
        };
        (golden.probes.sha256, golden.probes.count, golden.probes.labels) = (set.sha256(), 20, None);
        golden
    };
    let own = with(reading(&manifest), false);
    assert_eq!(embedded(&own, &manifest).map(|set| set.len()), Some(20));
    let mut other = manifest.clone();
    other.input.layout = Layout::Nhwc;
    assert!(embedded(&own, &other).is_none());
    let mut other = manifest.clone();
    other.input.shape = vec![3, 4, 1];
    assert!(embedded(&own, &other).is_none());
    assert!(embedded(&with(reading(&manifest), true), &manifest).is_none());
}
