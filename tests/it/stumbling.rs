//! Models that converters stumble over: each converts, and answers as its FP32 file does.

use std::path::{Path, PathBuf};

use trtgate::internals::convert::{Artifact, environment};
use trtgate::internals::manifest::Manifest;
use trtgate::internals::onnx;
use trtgate::internals::progress::Quiet;
use trtgate::internals::runtime::{self, OpenRequest, SearchPaths, SessionOptions};
use trtgate::internals::tensor::Tensor;
use trtgate::internals::vocabulary::{ArtifactKind, Library, Precision};

use crate::context::project;
use crate::conversion::{Workshop, noise};

/// The models of `tests/fixtures/conversion/make.py`, written by the export environment's Python.
fn stumbling_stones(workshop: &Workshop) -> PathBuf {
    let folder = workshop.folder.path().join("models");
    std::fs::create_dir(&folder).unwrap();
    let python = environment::ensure(environment::EXPORT, &Quiet).unwrap().python.unwrap();
    let script = project().join("tests/fixtures/conversion/make.py");
    let output = std::process::Command::new(python).arg(script).arg(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

/// `size` values of sample `sample`: noise of a brightness of its own.
fn picture(sample: usize, size: usize) -> Vec<f32> {
    (0..size).map(|index| noise(sample) * noise(1_000_000 + sample * size + index)).collect()
}

/// A manifest for one of them, and samples to calibrate it on.
fn stumbling_stone(workshop: &Workshop, file: &Path) -> (Manifest, PathBuf) {
    let name = file.file_stem().unwrap().to_str().unwrap();
    let (shape, layout) = match name {
        "indices" => (vec![4], "flat"),
        "nothing-to-quantise" => (vec![6], "flat"),
        _ => (vec![3, 16, 16], "nchw"),
    };
    let fixed = if name == "batch-of-8" { "fixed-batch = 8\n" } else { "" };
    let text = format!(
        "schema = 1\n[model]\nname = \"{name}\"\nonnx = \"{}\"\n[input]\nname = \"x\"\nshape = {shape:?}\nlayout = \"{layout}\"\n\
         {fixed}[output]\nname = \"y\"\nclasses = 6\nkind = \"logits\"\n[matrix]\nbatches = [8]\n[matrix.runtimes]\n\
         onnxruntime = [\"fp32\"]\n",
        file.display()
    );
    let calibration = workshop.folder.path().join(format!("{name}.npy"));
    let mut writer = trtgate::internals::data::npy::NpyWriter::create(&calibration, &shape).unwrap();
    let size: usize = shape.iter().product();
    for sample in 0..512 {
        writer.push(&picture(sample, size)).unwrap();
    }
    writer.finish().unwrap();
    (Manifest::parse(&text, Path::new("gate.toml")).unwrap(), calibration)
}

/// What ONNX Runtime answers to 32 samples in batches of 8.
fn answers(artifact: &Artifact, manifest: &Manifest) -> Vec<f32> {
    let paths = SearchPaths {
        explicit: Vec::new(),
        site_packages: environment::ensure(environment::EXPORT, &Quiet).unwrap().site_packages,
        system: false,
    };
    let driver = runtime::driver(Library::Onnxruntime).unwrap();
    let installation = driver.probe(&paths).found.into_iter().next().unwrap();
    let mut session = driver
        .open(&OpenRequest {
            installation,
            artifact: artifact.path.clone(),
            kind: artifact.kind,
            precision: Precision::Fp32,
            batch: 8,
            options: SessionOptions { intra_threads: 1, ..SessionOptions::default() },
        })
        .unwrap_or_else(|error| panic!("`{}` as `{}`: {error}", manifest.model.name, artifact.kind));
    let size: usize = manifest.input.shape.iter().product();
    let shape = [&[8], manifest.input.shape.as_slice()].concat();
    let run = |batch: usize| {
        let values = (0..8).flat_map(|sample| picture(1000 + batch * 8 + sample, size)).collect();
        session.run(&Tensor::float32("x", shape.clone(), values).unwrap().into()).unwrap().swap_remove(0).into_floats()
    };
    (0..4).flat_map(run).collect()
}

/// Signal over noise of `actual`, dB; the signal is the spread of each class's logits over the samples.
fn signal_over_noise(expected: &[f32], actual: &[f32]) -> f64 {
    assert_eq!(expected.len(), actual.len());
    let samples = (expected.len() / 6) as f64;
    let mean =
        |class: usize| expected.iter().skip(class).step_by(6).map(|&value| f64::from(value)).sum::<f64>() / samples;
    let means: Vec<f64> = (0..6).map(mean).collect();
    let signal: f64 =
        expected.iter().enumerate().map(|(index, &value)| (f64::from(value) - means[index % 6]).powi(2)).sum();
    let noise: f64 = expected.iter().zip(actual).map(|(one, other)| f64::from(one - other).powi(2)).sum();
    10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10()
}

/// Branches and loops with weights inside, old operator sets, functions, clashing names, open and negative sizes, fixed
/// batches, normalisations, indices: each answers as its FP32 file does.
#[test]
fn models_that_converters_stumble_over_convert() {
    let workshop = Workshop::new();
    let folder = stumbling_stones(&workshop);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 18, "{files:?}");
    let mut shown = String::new();
    for file in &files {
        let (manifest, calibration) = stumbling_stone(&workshop, file);
        let name = manifest.model.name.clone();
        let expected = answers(&workshop.make(&manifest, ArtifactKind::OnnxFp32, None).unwrap(), &manifest);
        for (kind, least) in
            [(ArtifactKind::OnnxPlain, 60.0), (ArtifactKind::OnnxFp16, 40.0), (ArtifactKind::OnnxInt8Cpu, 18.0)]
        {
            let made = match workshop.make(&manifest, kind, Some(&calibration)) {
                Ok(made) => made,
                Err(error) if ["nothing-to-quantise", "cannot-be-raised"].contains(&name.as_str()) => {
                    shown.push_str(&format!(
                        "{name}: {:?}: {error}\n  {}\n",
                        error.kind,
                        error.hint.as_deref().unwrap_or_default()
                    ));
                    continue;
                }
                Err(error) => panic!("`{name}` as `{kind}`: {error}"),
            };
            let found = signal_over_noise(&expected, &answers(&made, &manifest));
            assert!(found >= least, "`{name}` as `{kind}`: {found:.1} dB");
            if made.kind == ArtifactKind::OnnxPlain {
                let model = onnx::read(&made.path).unwrap();
                let structure = onnx::structure(&model);
                shown.push_str(&format!(
                    "{name}: operator set {}, {}, {}\n",
                    structure.operator_sets["ai.onnx"],
                    structure.inputs.join(" "),
                    structure
                        .operators
                        .iter()
                        .map(|(name, count)| format!("{count} {name}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                ));
            }
        }
    }
    insta::assert_snapshot!(shown);
}
