//! SavedModels as users save them: Keras 3 by `export` and by `tf.saved_model.save`, Keras 2, modules. Each answers as
//! Python's TensorFlow does, and converts.

use std::path::{Path, PathBuf};
use std::process::Command;

use trtgate::internals::check::precision::prove;
use trtgate::internals::convert::environment::{self, EXPORT, Environment};
use trtgate::internals::convert::store::Store;
use trtgate::internals::manifest::Manifest;
use trtgate::internals::progress::Quiet;
use trtgate::internals::runtime::{self, OpenRequest, SearchPaths, Session, SessionOptions};
use trtgate::internals::tensor::Tensor;
use trtgate::internals::vocabulary::{ArtifactKind, Library, Precision};

use crate::context::project;

/// The models of `make.py`, and that of Keras 2, in a folder of their own.
struct Models {
    folder: tempfile::TempDir,
    environment: Environment,
}

impl Models {
    fn new() -> Self {
        let environment = environment::ensure(EXPORT, &Quiet).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let script = project().join("tests/fixtures/saved_models/make.py");
        let python = environment.python.as_ref().expect("the export environment's interpreter");
        let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder, environment }
    }

    fn path(&self, name: &str) -> PathBuf {
        match name {
            "keras-2" => project().join("tests/fixtures/saved_models/keras_2"),
            name => self.folder.path().join(name),
        }
    }

    /// Opens `artifact`; the error where that fails.
    fn open(&self, library: Library, artifact: &Path, kind: ArtifactKind) -> trtgate::Result<Box<dyn Session>> {
        let site_packages = self.environment.site_packages.clone();
        let paths = SearchPaths { explicit: Vec::new(), site_packages, system: false };
        let driver = runtime::driver(library).unwrap();
        let installation = driver.probe(&paths).found.into_iter().next().expect("the export environment's library");
        driver.open(&OpenRequest {
            installation,
            artifact: artifact.to_owned(),
            kind,
            precision: if kind == ArtifactKind::TfliteInt8 { Precision::Int8 } else { Precision::Fp32 },
            batch: 4,
            options: SessionOptions {
                signature: "serving_default".to_owned(),
                emulate_half: true,
                ..SessionOptions::default()
            },
        })
    }

    /// The largest difference of `session`'s answers to Python's on model `name`, over the spread of these.
    fn difference(&self, session: &mut dyn Session, name: &str) -> f32 {
        let folder = self.path(name);
        let input = if name == "keras-2" { folder.join("input.npy") } else { self.folder.path().join("input.npy") };
        let (shape, values) = npy(&input);
        let input = Tensor::float32(session.signature().inputs[0].name.clone(), shape, values).unwrap();
        let outputs = session.run(&input.into()).unwrap();
        let (shape, expected) = npy(&folder.join("expected.npy"));
        assert_eq!(outputs[0].shape, shape);
        let extent = |pick: fn(f32, f32) -> f32| expected.iter().copied().reduce(pick).unwrap();
        let outputs = outputs[0].floats();
        let pairs = outputs.iter().zip(&expected);
        let worst = pairs.map(|(got, wanted)| (got - wanted).abs()).reduce(f32::max).unwrap();
        worst / (extent(f32::max) - extent(f32::min))
    }
}

fn npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let array = npyz::NpyFile::new(std::io::BufReader::new(std::fs::File::open(path).unwrap())).unwrap();
    let shape = array.shape().iter().map(|&size| usize::try_from(size).unwrap()).collect();
    (shape, array.into_vec::<f32>().unwrap())
}

#[test]
fn every_kind_of_saved_model_answers_as_python_does() {
    let models = Models::new();
    for name in ["exported", "saved", "by-name", "module", "plain", "control-flow", "keras-2"] {
        let mut session = models
            .open(Library::Tensorflow, &models.path(name), ArtifactKind::SavedModel)
            .unwrap_or_else(|error| panic!("`{name}`: {error}"));
        let difference = models.difference(&mut *session, name);
        assert!(difference <= 1e-5, "`{name}` differs by {difference}");
    }
    // Two variables of one name, and nothing in the graph that tells which is which: no value is made up.
    let error = models.open(Library::Tensorflow, &models.path("ambiguous"), ArtifactKind::SavedModel).err().unwrap();
    let shown = format!("{:?}: {error}\n{}", error.kind, error.hint.as_deref().unwrap_or_default());
    insta::assert_snapshot!(shown.replace(&models.folder.path().display().to_string(), "[FOLDER]"));
}

#[test]
fn a_model_that_scales_bytes_itself_is_written_with_their_range() {
    let models = Models::new();
    let context = crate::context::Context::new();
    for (name, range) in [("scaling", "[0.0, 255.0]"), ("exported", "[0.0, 1.0]"), ("saved", "[0.0, 1.0]")] {
        let folder = models.path(name);
        let run = context.run(&["init", "--no-probes", "--force", "--saved-model", folder.to_str().unwrap()]);
        assert_eq!(run.code, 0, "{}", run.shown());
        let manifest = std::fs::read_to_string(context.path("gate.toml")).unwrap();
        assert!(manifest.contains(&format!("\nrange = {range}")), "`{name}`: {}", run.shown());
    }
}

#[test]
fn keras_3_and_modules_convert() {
    converts(&[("saved", "output_0"), ("module", "logits")]);
}

#[test]
fn keras_2_and_control_flow_convert_and_strange_operators_are_named() {
    let refused = converts(&[("control-flow", "logits"), ("keras-2", "d"), ("strange", "logits")]);
    insta::assert_snapshot!(refused);
}

/// Converts each model (name, output) and holds the artifacts to Python's answers; returns what was said of those refused.
fn converts(outputs: &[(&str, &str)]) -> String {
    let models = Models::new();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        Store::open(None).unwrap().root().join("environments"),
        folder.path().join("environments"),
    )
    .unwrap();
    let store = Store::open(Some(folder.path().to_path_buf())).unwrap();
    let calibration = folder.path().join("calibration.npy");
    let (shape, samples) = npy(&models.folder.path().join("input.npy"));
    let mut writer = trtgate::internals::data::npy::NpyWriter::create(&calibration, &shape[1..]).unwrap();
    for _ in 0..128 {
        samples.chunks(samples.len() / 4).for_each(|sample| writer.push(sample).unwrap());
    }
    writer.finish().unwrap();
    let mut refused = String::new();
    for &(name, output) in outputs {
        let session = models.open(Library::Tensorflow, &models.path(name), ArtifactKind::SavedModel).unwrap();
        let input = session.signature().inputs[0].name.clone();
        let text = format!(
            "schema = 1\n[model]\nname = \"{name}\"\nsaved-model = \"{}\"\n[input]\nname = \"{input}\"\nshape = [8, 8, 3]\n\
             layout = \"nhwc\"\n[output]\nname = \"{output}\"\nclasses = 5\nkind = \"logits\"\n[matrix]\nbatches = [4]\n\
             [matrix.runtimes]\ntensorflow = [\"fp32\"]\n",
            models.path(name).display()
        );
        let manifest = Manifest::parse(&text, Path::new("gate.toml")).unwrap();
        for (kind, library, bound) in [
            (ArtifactKind::OnnxFp32, Library::Onnxruntime, 1e-5),
            (ArtifactKind::OnnxFp16, Library::Onnxruntime, 0.01),
            (ArtifactKind::TfliteInt8, Library::Litert, 0.05),
        ] {
            // Half precision is of interest behind branches and loops.
            if kind == ArtifactKind::OnnxFp16 && name != "control-flow" {
                continue;
            }
            let made =
                trtgate::internals::convert::artifact(&manifest, &store, kind, Some(4), Some(&calibration), &Quiet);
            let made = match made {
                Ok(made) => made,
                Err(error) if name == "strange" => {
                    let hint = error.hint.as_deref().unwrap_or_default();
                    refused.push_str(&format!("{kind}: {:?}: {error}\n  {hint}\n", error.kind));
                    continue;
                }
                Err(error) => panic!("`{name}` as `{kind}`: {error}"),
            };
            let mut session = models.open(library, &made.path, kind).unwrap();
            let difference = models.difference(&mut *session, name);
            assert!(difference <= bound, "`{name}` as `{kind}` differs by {difference}");
            if kind == ArtifactKind::OnnxFp16 {
                let proof = prove(Precision::Fp16, &session.layers().unwrap().unwrap(), 1.0, None);
                assert!(proof.holds() && proof.compute >= 2, "`{name}`: {}", proof.result(true).detail);
            }
        }
    }
    refused
}
