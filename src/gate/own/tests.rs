#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use super::*;
use crate::tensor::Values;

fn manifest(more: &str) -> Manifest {
    let text = format!(
        "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4, 2]\nlayout = \"flat\"\n\
         [output]\nname = \"y\"\nclasses = 3\nkind = \"logits\"\n{more}\n[matrix]\nbatches = [1]\n[matrix.runtimes]\nonnxruntime = [\"fp32\", \"fp16\"]\n"
    );
    Manifest::parse(&text, Path::new("gate.toml")).unwrap()
}

#[test]
fn files_of_the_projects_own_are_told_from_those_that_are_made() {
    let (none, half) = (manifest(""), manifest("[artifacts]\nfp16 = \"own.onnx\""));
    assert!(is_own(&none, ArtifactKind::Engine) && !is_own(&none, ArtifactKind::OnnxFp16));
    assert!(is_own(&half, ArtifactKind::OnnxFp16) && !is_own(&half, ArtifactKind::OnnxFp32));
    assert!(may_hold_halves(&none, ArtifactKind::OnnxFp16) && !may_hold_halves(&none, ArtifactKind::OnnxInt8));
    assert!(may_hold_halves(&none, ArtifactKind::Engine));
}

#[test]
fn a_classifiers_file_takes_and_answers_what_the_manifest_says() {
    let signature = wanted(&manifest(""), None).unwrap();
    let told = |spec: &TensorSpec| (spec.name.clone(), spec.element_type, spec.shape.clone());
    assert_eq!(
        signature.inputs.iter().map(told).collect::<Vec<_>>(),
        [("x".to_owned(), ElementType::Float32, vec![None, Some(4), Some(2)])]
    );
    assert_eq!(
        signature.outputs.iter().map(told).collect::<Vec<_>>(),
        [("y".to_owned(), ElementType::Float32, vec![None, Some(3)])]
    );
    assert!(
        read(&manifest(""), None, &crate::convert::store::Store::open(Some(std::env::temp_dir())).unwrap(), false)
            .unwrap()
            .is_empty()
    );
    assert!(unheld().unchecked.is_some());
}

/// Floats are compared in the reference's type; whole numbers stay what they are.
#[test]
fn floats_are_compared_in_the_references_type() {
    let floats = |name: &str, kind: ElementType| {
        let mut tensor = Tensor::float32(name, vec![2, 1], vec![0.5, -2.0]).unwrap();
        tensor.values = tensor.values.to_float(kind).unwrap();
        tensor
    };
    let (wide, narrow) = (|name| floats(name, ElementType::Float32), |name| floats(name, ElementType::Float16));
    let whole = |name: &str| Tensor::new(name, vec![2, 1], Values::Int32(vec![1, 2])).unwrap();
    let reference = [Answers::Rows(wide("a")), Answers::Rows(whole("b")), Answers::Rows(wide("d"))];
    let mut ran = [
        Answers::Rows(narrow("a")),
        Answers::Rows(narrow("b")),
        Answers::Rows(narrow("c")),
        Answers::Apart(vec![narrow("d"), wide("d")]),
    ];
    in_types_of(&mut ran, &reference);
    let expected = [
        Answers::Rows(wide("a")),
        Answers::Rows(narrow("b")),
        Answers::Rows(narrow("c")),
        Answers::Apart(vec![wide("d"), wide("d")]),
    ];
    assert_eq!(ran, expected);
}

/// Files of the project's own are read where the manifest names some and they were not carried here.
#[test]
fn files_of_ones_own_are_read_where_they_are_wanted() {
    let mut project = crate::gate::workshop::Project::new("onnxruntime = [\"fp32\"]", "");
    let store = Store::open(Some(project.folder.path().join("store"))).unwrap();
    let count = |manifest: &Manifest, carried: bool| read(manifest, None, &store, carried).map(|own| own.len());
    assert_eq!(count(&project.manifest, false), Ok(0));
    let path = project.folder.path().join("absent.onnx");
    project.manifest.artifacts = vec![OwnArtifact { form: OwnForm::Fp16, path, sha256: None }];
    assert_eq!(count(&project.manifest, true), Ok(0));
    assert!(count(&project.manifest, false).unwrap_err().to_string().contains("absent.onnx"));
}
