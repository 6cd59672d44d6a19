//! Converts real models with the real converters: what comes out, that it comes out the same again, and what is refused.

use std::path::{Path, PathBuf};

use trtgate::Error;
use trtgate::internals::convert::store::Store;
use trtgate::internals::convert::{Artifact, artifact, environment, tflite};
use trtgate::internals::manifest::Manifest;
use trtgate::internals::onnx;
use trtgate::internals::progress::Quiet;
use trtgate::internals::vocabulary::ArtifactKind;

use crate::context::project;

/// A store of its own that shares the installed environments, so that every conversion is made anew.
pub(crate) struct Workshop {
    pub(crate) folder: tempfile::TempDir,
    store: Store,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        environment::ensure(environment::EXPORT, &Quiet).unwrap();
        let installed = Store::open(None).unwrap().root().join("environments");
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(installed, folder.path().join("environments")).unwrap();
        let store = Store::open(Some(folder.path().to_path_buf())).unwrap();
        Self { folder, store }
    }

    /// Calibration samples of the tiny model's shape, from a generator that needs no library.
    fn calibration(&self, count: usize, fill: impl Fn(usize) -> f32) -> PathBuf {
        self.calibration_of(&tiny_shape(), count, fill)
    }

    /// As `calibration`, of samples of another shape.
    pub(crate) fn calibration_of(&self, shape: &[usize], count: usize, fill: impl Fn(usize) -> f32) -> PathBuf {
        let path = self.folder.path().join("calibration.npy");
        let mut writer = trtgate::internals::data::npy::NpyWriter::create(&path, shape).unwrap();
        let size: usize = shape.iter().product();
        for sample in 0..count {
            let values: Vec<f32> = (0..size).map(|index| fill(sample * size + index)).collect();
            writer.push(&values).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    pub(crate) fn make(
        &self,
        manifest: &Manifest,
        kind: ArtifactKind,
        calibration: Option<&Path>,
    ) -> Result<Artifact, Error> {
        let batch = (kind == ArtifactKind::TfliteInt8).then_some(4);
        artifact(manifest, &self.store, kind, batch, calibration, &Quiet)
    }
}

fn tiny() -> PathBuf {
    project().join("tests/fixtures/tiny")
}

fn tiny_shape() -> Vec<usize> {
    manifest(&tiny_source(), "input_1").input.shape
}

fn tiny_source() -> String {
    format!("saved-model = \"{}\"", tiny().join("saved_model").display())
}

fn manifest(source: &str, input: &str) -> Manifest {
    let shape = "[8, 8, 3]";
    let text = format!(
        "schema = 1\n[model]\nname = \"tiny\"\n{source}\n[input]\nname = \"{input}\"\nshape = {shape}\nlayout = \"nhwc\"\n\
         [output]\nname = \"logits\"\nclasses = 5\nkind = \"logits\"\n[calibration]\nseed = 2\ncount = 512\n\
         method = \"percentile\"\n[matrix]\nbatches = [1, 4]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n"
    );
    Manifest::parse(&text, Path::new("gate.toml")).unwrap()
}

/// Values in 0..1 without a pattern that a window of samples would share.
pub(crate) fn noise(index: usize) -> f32 {
    let mixed = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as f32 / (1_u64 << 24) as f32
}

const KINDS: [ArtifactKind; 5] = [
    ArtifactKind::OnnxFp32,
    ArtifactKind::OnnxFp16,
    ArtifactKind::OnnxInt8,
    ArtifactKind::OnnxInt8Cpu,
    ArtifactKind::TfliteInt8,
];

#[test]
fn every_artifact_is_made_the_same_again() {
    let manifest = manifest(&tiny_source(), "input_1");
    let make_all = || {
        let workshop = Workshop::new();
        let calibration = workshop.calibration(512, noise);
        let made: Vec<Artifact> =
            KINDS.iter().map(|&kind| workshop.make(&manifest, kind, Some(&calibration)).unwrap()).collect();
        for (artifact, kind) in made.iter().zip(KINDS) {
            let again = workshop.make(&manifest, kind, Some(&calibration)).unwrap();
            assert!(again.cached, "{kind}");
            assert_eq!((&again.path, &again.sha256), (&artifact.path, &artifact.sha256));
        }
        made.into_iter().map(|artifact| (artifact.kind, artifact.bytes, artifact.sha256)).collect::<Vec<_>>()
    };
    assert_eq!(make_all(), make_all());
}

#[test]
fn every_artifact_of_the_reference_model_has_its_structure() {
    let workshop = Workshop::new();
    let text = std::fs::read_to_string(project().join("gate.toml")).unwrap();
    let text = text.replace("batches = [1, 8, 16, 32]", "batches = [32]");
    let manifest = Manifest::parse(&text, &project().join("gate.toml")).unwrap();
    let calibration = workshop.folder.path().join("reference.npy");
    let mut writer = trtgate::internals::data::npy::NpyWriter::create(&calibration, &manifest.input.shape).unwrap();
    for sample in 0..512 {
        let values: Vec<f32> = (0..3072).map(|index| noise(sample * 3072 + index)).collect();
        writer.push(&values).unwrap();
    }
    writer.finish().unwrap();
    for kind in KINDS {
        let batch = (kind == ArtifactKind::TfliteInt8).then_some(32);
        let made = artifact(&manifest, &workshop.store, kind, batch, Some(&calibration), &Quiet).unwrap();
        let shown = match kind {
            ArtifactKind::TfliteInt8 => tflite::structure(&std::fs::read(&made.path).unwrap()).unwrap().to_string(),
            _ => onnx::structure(&onnx::read(&made.path).unwrap()).to_string(),
        };
        insta::with_settings!({ description => format!("the reference model as {kind}"), omit_expression => true }, {
            insta::assert_snapshot!(format!("structure_{kind}"), shown);
        });
    }
}

#[test]
fn an_onnx_file_is_where_its_own_chain_starts() {
    let workshop = Workshop::new();
    let file = tiny().join("fp32.onnx");
    let manifest = manifest(&format!("onnx = \"{}\"", file.display()), "input_1");
    let calibration = workshop.calibration(512, noise);
    let made = workshop.make(&manifest, ArtifactKind::OnnxFp32, None).unwrap();
    assert_eq!(made.path, file);
    assert!(made.cached);
    for kind in [ArtifactKind::OnnxFp16, ArtifactKind::OnnxInt8, ArtifactKind::OnnxInt8Cpu] {
        workshop.make(&manifest, kind, Some(&calibration)).unwrap();
    }
    let error = workshop.make(&manifest, ArtifactKind::TfliteInt8, Some(&calibration)).unwrap_err();
    assert_eq!(error.message, "`tflite-int8` needs a SavedModel, the model is an ONNX file");
}

/// What a refusal says, without the folders of this machine.
fn refusal(workshop: &Workshop, outcome: Result<Artifact, Error>) -> String {
    let error = outcome.unwrap_err();
    let leftovers = ["onnx-fp32", "onnx-fp16", "onnx-int8", "tflite-int8"]
        .map(|kind| workshop.folder.path().join(kind))
        .iter()
        .any(|folder| folder.exists());
    assert!(!leftovers, "a refused conversion left something in the store");
    let text = format!("{:?}: {error}", error.kind);
    let text = text.replace(&workshop.folder.path().display().to_string(), "[FOLDER]");
    text.replace(&project().display().to_string(), "[PROJECT]")
}

#[test]
fn a_damaged_model_is_refused_in_words() {
    let workshop = Workshop::new();
    let damaged = workshop.folder.path().join("damaged");
    let copy = |skip: &str| {
        let _ = std::fs::remove_dir_all(&damaged);
        std::fs::create_dir_all(damaged.join("variables")).unwrap();
        for name in ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"] {
            if name != skip {
                std::fs::copy(tiny().join("saved_model").join(name), damaged.join(name)).unwrap();
            }
        }
    };
    let source = format!("saved-model = \"{}\"", damaged.display());
    let mut shown = Vec::new();
    let mut show = |what: &str, source: &str, input: &str| {
        let outcome = workshop.make(&manifest(source, input), ArtifactKind::OnnxFp32, None);
        shown.push(format!("{what}\n  {}", refusal(&workshop, outcome)));
    };
    copy("saved_model.pb");
    show("no graph", &source, "input_1");
    copy("");
    std::fs::write(damaged.join("saved_model.pb"), [0xff; 100]).unwrap();
    show("a graph that does not decode", &source, "input_1");
    copy("");
    show("another input", &source, "image");
    let whole = std::fs::read(tiny().join("fp32.onnx")).unwrap();
    let file = workshop.folder.path().join("short.onnx");
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    show("a truncated ONNX file", &format!("onnx = \"{}\"", file.display()), "input_1");
    std::fs::write(&file, "").unwrap();
    show("an empty ONNX file", &format!("onnx = \"{}\"", file.display()), "input_1");
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn samples_that_do_not_calibrate_are_refused_in_words() {
    let workshop = Workshop::new();
    let manifest = manifest(&format!("onnx = \"{}\"", tiny().join("fp32.onnx").display()), "input_1");
    let mut shown = Vec::new();
    let mut show = |what: &str, calibration: Option<&Path>| {
        let outcome = workshop.make(&manifest, ArtifactKind::OnnxInt8, calibration);
        shown.push(format!("{what}\n  {}", refusal(&workshop, outcome)));
    };
    show("none", None);
    show("a file that is not there", Some(Path::new("/nonexistent/samples.npy")));
    show("too few", Some(&workshop.calibration(511, noise)));
    let path = workshop.calibration(512, noise);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    show("a value that is not a number", Some(&path));
    let path = workshop.folder.path().join("other.npy");
    let mut writer = trtgate::internals::data::npy::NpyWriter::create(&path, &[2, 2]).unwrap();
    (0..512).for_each(|_| writer.push(&[0.0; 4]).unwrap());
    writer.finish().unwrap();
    show("another shape", Some(&path));
    insta::assert_snapshot!(shown.join("\n"));
}
