#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use rstest::rstest;

use super::*;
use crate::gate::workshop::{Project, healthy, sound};
use crate::vocabulary::ArtifactKind::{Engine, OnnxFp16, OnnxFp32, OnnxInt8, OnnxPlain, SavedModel, Served, Tflite};
use crate::worker::fake::Fakes;

fn workspace(project: &Project) -> Workspace {
    project.workspace(&Fakes::of(sound, healthy))
}

fn served<'a>(only: &'a [ArtifactKind], batches: &'a [u32]) -> ServableOptions<'a> {
    ServableOptions { only, batches, ..ServableOptions::default() }
}

/// Without words, what the cells start from, and the model itself.
#[test]
fn what_cells_start_from_is_served() {
    let kinds_of = |matrix: &str, only: &[ArtifactKind]| {
        let project = Project::new(matrix, "");
        kinds(&workspace(&project), only).map_err(|error| error.message)
    };
    assert_eq!(kinds_of("onnxruntime = [\"fp32\"]", &[]), Ok(vec![OnnxFp32]));
    assert_eq!(kinds_of("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp16\"]", &[]), Ok(vec![OnnxFp32, OnnxFp16]));
    assert_eq!(kinds_of("onnxruntime = [\"fp32\"]", &[OnnxInt8, OnnxFp16]), Ok(vec![OnnxFp16, OnnxInt8]));
    assert_eq!(kinds_of("onnxruntime = [\"fp32\"]", &[Engine]), Ok(vec![]));
    for kind in [SavedModel, OnnxPlain, Served, Tflite] {
        let error = kinds_of("onnxruntime = [\"fp32\"]", &[OnnxFp32, kind]).unwrap_err();
        assert_eq!(error, format!("`{kind}` is not served by Triton"));
    }
}

#[rstest]
#[case(ArtifactKind::OnnxFp32, Precision::Fp32)]
#[case(ArtifactKind::OnnxFp16, Precision::Fp16)]
#[case(ArtifactKind::OnnxInt8, Precision::Int8)]
#[case(ArtifactKind::OnnxInt8Cpu, Precision::Int8)]
#[case(ArtifactKind::OnnxFp8, Precision::Fp8)]
fn a_file_is_of_its_precision(#[case] kind: ArtifactKind, #[case] precision: Precision) {
    assert_eq!(precision_of(kind), precision);
}

#[test]
fn a_file_is_served_as_it_takes_and_answers() {
    let mut project = Project::new("onnxruntime = [\"fp32\"]", "");
    project.manifest.output.labels = (0..10).map(|class| format!("class {class}")).collect();
    let all = servable(&workspace(&project), &ServableOptions::default()).unwrap();
    let [model] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((model.name.as_str(), model.max_batch_size, model.labels.len()), ("m-onnx-fp32", 4, 10));
    assert_eq!(model.sha256, digest_file(&model.file).unwrap());
    let said = |key| model.parameters.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str());
    assert_eq!((said(keys::PRECISION), said(keys::KIND)), (Some("fp32"), Some("onnx-fp32")));
    assert_eq!(said(keys::MODEL), Some(project.digest().as_str()));

    let of = |options: &ServableOptions<'_>, project: &Project| servable(&workspace(project), options);
    assert_eq!(of(&served(&[], &[2, 16, 8]), &project).unwrap()[0].max_batch_size, 16);
    // Labels are a class a value.
    project.manifest.output.labels.pop();
    assert!(of(&served(&[], &[]), &project).unwrap()[0].labels.is_empty());
    project.manifest.output.labels = vec!["two\nlines".to_owned(); 10];
    let error = of(&served(&[], &[]), &project).unwrap_err();
    assert!(error.message.contains("has a line break"), "{error}");
    let error = of(&served(&[ArtifactKind::Engine], &[]), &project).unwrap_err();
    assert_eq!(error.message, "there is nothing that Triton serves");
}

#[test]
fn an_engine_without_its_description_is_not_served() {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let path = project.folder.path().join("m.plan");
    std::fs::write(&path, "an engine").unwrap();
    let engines = [path];
    let options = ServableOptions { engines: &engines, ..ServableOptions::default() };
    let error = servable(&workspace(&project), &options).unwrap_err();
    assert!(error.message.starts_with("nothing stands beside the engine"), "{error}");
}

/// Each kind that Triton does not serve says why, and what to do.
#[rstest]
#[case(SavedModel, "deprecated as of release 25.03", "or an engine")]
#[case(OnnxPlain, "no cell of ONNX Runtime runs it", "the model itself")]
#[case(Served, "an endpoint that serves already", "serve a file")]
#[case(Tflite, "no backend for TFLite files", "onnx-int8-cpu")]
fn what_is_not_served_says_why(#[case] kind: ArtifactKind, #[case] reason: &str, #[case] hint: &str) {
    let error = kinds(&workspace(&Project::new("onnxruntime = [\"fp32\"]", "")), &[kind]).unwrap_err();
    assert!(error.causes[0].contains(reason) && error.hint.unwrap().contains(hint), "{:?}", error.causes);
}

/// Engines that ship are served with the rest, or where engines are asked for, and no others.
#[test]
fn engines_that_ship_are_served_where_they_are_asked_for() {
    let project = Project::new(
        "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp16\"]",
        "[artifacts]\nengine = { fp16 = { path = \"m.plan\" } }",
    );
    std::fs::write(project.folder.path().join("m.plan"), "an engine").unwrap();
    let found = |only: &[ArtifactKind]| {
        let found = servable(&workspace(&project), &served(only, &[]));
        found.map(|models| models.len()).map_err(|error| error.message.starts_with("nothing stands beside the engine"))
    };
    assert_eq!(found(&[OnnxFp32]), Ok(1));
    assert_eq!(found(&[Engine]), Err(true));
    assert_eq!(found(&[OnnxFp32, Engine]), Err(true));
}

/// Triton puts requests together where every sample lies in the first dimension, which is open, and nothing is shared.
#[test]
fn requests_are_put_together_along_an_open_first_dimension() {
    use crate::gate::several::tests as several;
    use crate::tensor::BatchAxis;
    let project = several::Project::new("onnxruntime = [\"fp32\"]", several::ONE_SHAPE);
    let border = border(project.manifest.model.source.path()).unwrap();
    let batch = |change: &dyn Fn(&mut crate::manifest::interface::Interface)| {
        let mut manifest = project.manifest.clone();
        change(manifest.interface.as_mut().unwrap());
        has_batch(&manifest, &border)
    };
    assert!(batch(&|_| ()));
    assert!(!batch(&|interface| interface.inputs[0].shared = true));
    assert!(!batch(&|interface| interface.inputs[0].batch_axis = BatchAxis::At(1)));
    assert!(!batch(&|interface| interface.outputs[0].batch_axis = BatchAxis::None));
}

/// An engine is served with the inputs and outputs of the file that it was built from, while it is what its description says.
#[test]
fn an_engine_is_served_as_it_was_built() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"tf32\"]", "");
    let workspace = workspace(&project);
    let built = |precision: &str| {
        let cell = format!("tensorrt@10.11.0/{precision}/batch-1").parse().unwrap();
        let artifact = crate::gate::build_engine(&workspace, &cell, None).unwrap().1;
        // Out of the store, which is not to be written into.
        let path = project.folder.path().join(format!("{precision}.plan"));
        let beside = crate::runtime::tensorrt::metadata::metadata_path;
        std::fs::copy(&artifact.path, &path).unwrap();
        std::fs::copy(beside(&artifact.path), beside(&path)).unwrap();
        path
    };
    let (full, tf32) = (built("fp32"), built("tf32"));
    let of = |engines: &[PathBuf]| {
        servable(&workspace, &ServableOptions { only: &[Engine], engines, ..ServableOptions::default() })
    };
    let found = of(&[full.clone(), tf32.clone()]).unwrap();
    assert_eq!(found.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["m-plan-fp32", "m-plan-tf32"]);
    assert!(found.iter().all(|model| matches!(model.backend, ServableBackend::Tensorrt { .. })));
    let model = &found[0];
    assert_eq!((model.inputs.len(), model.outputs.len(), model.file.clone()), (1, 1, full.clone()));
    assert!(model.beside.as_ref().is_some_and(|beside| beside.exists()));
    let said = |key| model.parameters.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str());
    assert_eq!((said(keys::PRECISION), said(keys::KIND)), (Some("fp32"), Some("engine")));
    let error = of(&[full.clone(), tf32, full.clone()]).unwrap_err();
    assert_eq!(error.message, "two engines are served as `m-plan-fp32`");
    // Another model's engine, and one that is another file than was described.
    std::fs::write(&full, "another").unwrap();
    assert!(of(&[full]).unwrap_err().message.ends_with("is not the engine that its metadata describes"));
    let fresh = built("fp32");
    project.change_model();
    let changed = self::workspace(&project);
    let options = ServableOptions { only: &[Engine], engines: &[fresh], ..ServableOptions::default() };
    let error = servable(&changed, &options).unwrap_err();
    assert!(error.message.ends_with("was built from another ONNX file than this model's"), "{error}");
}
