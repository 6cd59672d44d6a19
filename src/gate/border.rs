//! The manifest's input and output against those of the model, before anything is converted: a typo is no regression.

use crate::convert::{pin, tflite};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::gate::values;
use crate::gate::workspace::Workspace;
use crate::manifest::interface::{FedInput, Interface};
use crate::manifest::{Manifest, ModelSource};
use crate::onnx;
use crate::runtime::tensorflow;
use crate::tensor::{BatchAxis, Signature, TensorSpec, shape_text};

/// The next step where a model's file does not decode.
const DAMAGED: &str =
    "the file seems cut short or damaged: copy or export it again, and compare its size with the one that was exported";

/// What a model's files declare.
#[derive(Debug)]
pub(super) struct Declared {
    signature: Signature,
    has_functions: bool,
}

impl Workspace {
    /// Inputs and outputs of the model as its file declares them, read when it was opened.
    ///
    /// # Errors
    /// `Input` where it does not tell them.
    pub(super) fn signature(&self) -> Result<&Signature> {
        let source = &self.manifest.model.source;
        told(self.declared.as_ref(), source).map_err(|error| pin::named_as(self.named(), source, error))
    }
}

/// What was declared by the files of `source`.
///
/// # Errors
/// `Input` where nothing was, with what is wrong with an ONNX file.
pub(super) fn told<'a>(declared: Option<&'a Declared>, source: &ModelSource) -> Result<&'a Signature> {
    let untold = || {
        let path = source.path();
        let message = format!("`{}` does not tell the model's inputs and outputs", path.display());
        let ModelSource::Onnx { .. } = source else { return Error::input(message) };
        match onnx::read(path) {
            Ok(_) => Error::input(message),
            Err(error) if error.kind == ErrorKind::Input && path.is_file() => error.context(message).hint(DAMAGED),
            Err(error) => Error { kind: ErrorKind::Input, ..error.context(message) },
        }
    };
    declared.map(|declared| &declared.signature).ok_or_else(untold)
}

impl Declared {
    /// Reads them; `None` where they do not tell, which the runtimes then have to.
    ///
    /// # Errors
    /// `Input` where a SavedModel has no such signature.
    pub(super) fn of(source: &ModelSource) -> Result<Option<Self>> {
        match source {
            ModelSource::SavedModel { path, signature } => Ok(tensorflow::declared_signature(path, signature)?
                .map(|signature| Self { signature, has_functions: false })),
            ModelSource::Onnx { path } => Ok(onnx::read(path)
                .ok()
                .map(|model| Self { signature: onnx::signature(&model), has_functions: !model.functions.is_empty() })),
            ModelSource::Tflite { path } => {
                let bytes = files::read(path, files::GRAPH).map_err(|error| Error::io("read", path, error))?;
                let border = tflite::border::border(&bytes);
                let border = border.map_err(|error| error.context(format!("the TFLite file `{}`", path.display())))?;
                Ok(Some(Self { signature: border.signature, has_functions: false }))
            }
        }
    }

    /// Whether engines are built from `onnx-plain` instead of the model's own graph: TensorRT's older parsers take no file with
    /// functions, and of a classifier (not of `several` inputs, which have profiles) engines leave nothing but the batch open.
    pub(super) fn engines_need_plain(&self, several: bool) -> bool {
        let open = |input: &TensorSpec| input.shape.iter().skip(1).any(Option::is_none);
        self.has_functions || (!several && self.signature.inputs.iter().any(open))
    }
}

/// Holds `[model] signature`, `[input]` and `[output]` to the model; returns what its files declare.
///
/// # Errors
/// `Input`, naming the key and what the model has.
pub(super) fn check(manifest: &Manifest) -> Result<Option<Declared>> {
    let source = &manifest.model.source;
    let declared = Declared::of(source).map_err(|error| match source {
        ModelSource::SavedModel { .. } => {
            error.context(format!("`[model] signature` in `{}`", manifest.path.display()))
        }
        _ => error,
    })?;
    match (&declared, &manifest.interface) {
        (Some(declared), None) => check_signature(manifest, &declared.signature)?,
        (Some(declared), Some(interface)) => {
            let files = format!("`{}` and `{}`", manifest.path.display(), source.path().display());
            for point in interface.points() {
                values::plans(interface, &declared.signature, point.as_ref()).map_err(|error| error.at(&files))?;
            }
            values::check_outputs(interface, &declared.signature).map_err(|error| error.at(&files))?;
            if let ModelSource::Tflite { .. } = source {
                check_batch(manifest, interface, &declared.signature)?;
            }
        }
        (None, _) => {}
    }
    Ok(declared)
}

/// Holds `[matrix] batches` to a file that is of one batch.
fn check_batch(manifest: &Manifest, interface: &Interface, signature: &Signature) -> Result<()> {
    let of = |fed: &FedInput| {
        let spec = signature.inputs.iter().find(|spec| spec.name == fed.name)?;
        match fed.batch_axis {
            BatchAxis::At(axis) if !fed.shared => spec.shape.get(axis).copied().flatten(),
            _ => None,
        }
    };
    let Some(batch) = interface.inputs.iter().find_map(of) else { return Ok(()) };
    if manifest.batches.iter().all(|asked| *asked as usize == batch) {
        return Ok(());
    }
    let (asked, place) = (&manifest.batches, manifest.path.display());
    Err(Error::input(format!("`batches` in `{place}` is {asked:?}, and the TFLite file is of batch {batch}"))
        .hint(format!("write `batches = [{batch}]` under `[matrix]`")))
}

fn check_signature(manifest: &Manifest, signature: &Signature) -> Result<()> {
    let wrong = |key: &str, says: String, has: String| {
        let place = format!("`{key}` in `{}` is {says}", manifest.path.display());
        Err(Error::input(format!("{place}, but {has}")))
    };
    let names =
        |specs: &[TensorSpec]| specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ");
    let (input, output) = (&manifest.input, &manifest.output);
    if signature.inputs.len() > 1 {
        return Err(Error::unsupported(format!(
            "the model has {} inputs ({}), and `[input]` in `{}` is one",
            signature.inputs.len(),
            names(&signature.inputs),
            manifest.path.display()
        ))
        .hint("`[[input]]` and `[[output]]` gate models of several inputs (docs/manifest.md)"));
    }
    if let [found] = signature.inputs.as_slice() {
        if found.name != input.name {
            return wrong(
                "[input] name",
                format!("`{}`", input.name),
                format!("the model's input is `{}`", found.name),
            );
        }
        let sample = found.shape.get(1..).unwrap_or_default();
        let fits = sample.len() == input.shape.len()
            && sample.iter().zip(&input.shape).all(|(found, given)| found.is_none_or(|found| found == *given));
        if !fits {
            return wrong(
                "[input] shape",
                format!("{:?}", input.shape),
                format!("a sample of the model has {}", shape_text(sample)),
            );
        }
    }
    let Some(found) = signature.outputs.iter().find(|spec| spec.name == output.name) else {
        return wrong(
            "[output] name",
            format!("`{}`", output.name),
            format!("the model has {}", names(&signature.outputs)),
        );
    };
    match found.shape.as_slice() {
        [_, Some(classes)] if *classes != output.classes => {
            wrong("[output] classes", output.classes.to_string(), format!("`{}` has {classes}", found.name))
        }
        [_, _] => Ok(()),
        shape => wrong(
            "[output] name",
            format!("`{}`", output.name),
            format!("its shape is {}, not [N, classes]", shape_text(shape)),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::gate::values::tests::{interface, spec};
    use crate::onnx::{Function, Model};
    use crate::runtime::tensorrt::test_model::{Form, classifier};
    use crate::tensor::ElementType::Float32;

    /// Engines are built from a graph that their parsers know, and otherwise from the model's own.
    #[rstest]
    #[case::plain(|_: &mut Model| {}, false)]
    #[case::functions(|model: &mut Model| model.functions.push(Function::default()), true)]
    fn engines_are_built_from_what_parsers_know(#[case] change: fn(&mut Model), #[case] plain: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, classifier(Form::Float, None)).unwrap();
        let mut model = onnx::read(&path).unwrap();
        change(&mut model);
        std::fs::write(&path, prost::Message::encode_to_vec(&model)).unwrap();
        let declared = Declared::of(&ModelSource::Onnx { path }).unwrap().unwrap();
        assert_eq!((declared.engines_need_plain(false), declared.engines_need_plain(true)), (plain, plain));
    }

    /// A classifier of `shape`, with one input `x` and one output `y` of three classes.
    fn manifest(shape: &str) -> Manifest {
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = {shape}\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 3\nkind = \"logits\"\n[matrix]\nbatches = [1, 4]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n"
        );
        Manifest::parse(&text, Path::new("gate.toml")).unwrap()
    }

    #[rstest]
    #[case::fits("x", &[None, Some(4)], "y", &[None, Some(3)], None)]
    #[case::open_sample("x", &[None, None], "y", &[None, None], None)]
    #[case::input_name("z", &[None, Some(4)], "y", &[None, Some(3)], Some("`[input] name` in `gate.toml` is `x`, but the model's input is `z`"))]
    #[case::input_size("x", &[None, Some(5)], "y", &[None, Some(3)], Some("`[input] shape` in `gate.toml` is [4], but a sample of the model has [5]"))]
    #[case::input_shape("x", &[None, Some(4), Some(1)], "y", &[None, Some(3)], Some("`[input] shape`"))]
    #[case::no_sample("x", &[], "y", &[None, Some(3)], Some("`[input] shape`"))]
    #[case::output_name("x", &[None, Some(4)], "z", &[None, Some(3)], Some("`[output] name` in `gate.toml` is `y`, but the model has `z`"))]
    #[case::classes("x", &[None, Some(4)], "y", &[None, Some(2)], Some("`[output] classes` in `gate.toml` is 3, but `y` has 2"))]
    #[case::no_classes("x", &[None, Some(4)], "y", &[None], Some("`[output] name` in `gate.toml` is `y`, but its shape is [N], not [N, classes]"))]
    #[case::a_map("x", &[None, Some(4)], "y", &[None, Some(3), Some(3)], Some("`[output] name`"))]
    fn a_classifier_is_held_to_its_file(
        #[case] input: &str,
        #[case] takes: &[Option<usize>],
        #[case] output: &str,
        #[case] answers: &[Option<usize>],
        #[case] expected: Option<&str>,
    ) {
        let signature =
            Signature { inputs: vec![spec(input, Float32, takes)], outputs: vec![spec(output, Float32, answers)] };
        match (check_signature(&manifest("[4]"), &signature), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(start)) => assert!(error.message.starts_with(start), "{error}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_classifier_has_one_input() {
        let x = || spec("x", Float32, &[None, Some(4)]);
        let outputs = vec![spec("y", Float32, &[None, Some(3)])];
        let two = Signature { inputs: vec![x(), x()], outputs: outputs.clone() };
        let error = check_signature(&manifest("[4]"), &two).unwrap_err();
        assert!(error.message.starts_with("the model has 2 inputs (`x`, `x`)"), "{error}");
        // A file that names none is asked when it runs.
        check_signature(&manifest("[4]"), &Signature { inputs: Vec::new(), outputs }).unwrap();
    }

    /// What the model's file declares is read once, and held to the manifest.
    #[test]
    fn a_manifest_is_held_to_the_file_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.onnx"), classifier(Form::Float, None)).unwrap();
        let at = |classes: usize| {
            let mut manifest = manifest("[4]");
            manifest.model.source = ModelSource::Onnx { path: folder.path().join("m.onnx") };
            (manifest.input.name, manifest.input.shape) = ("input_1".to_owned(), vec![3, 8, 8]);
            (manifest.output.name, manifest.output.classes) = ("logits".to_owned(), classes);
            check(&manifest).map(|declared| declared.map(|declared| declared.signature))
        };
        let signature = at(10).unwrap().unwrap();
        assert_eq!((signature.inputs[0].name.as_str(), signature.outputs[0].name.as_str()), ("input_1", "logits"));
        assert!(at(11).is_err());
        // A file that is no model is left to the runtimes.
        let path = folder.path().join("m.onnx");
        let untold = || told(None, &ModelSource::Onnx { path: path.clone() }).unwrap_err();
        let whole = std::fs::read(&path).unwrap();
        for damaged in [b"none", &whole[..whole.len() / 2]] {
            std::fs::write(&path, damaged).unwrap();
            assert!(at(11).unwrap().is_none());
            let error = untold();
            let message = format!("`{}` does not tell the model's inputs and outputs", path.display());
            assert_eq!(
                (error.kind, &error.message, error.hint.as_deref()),
                (ErrorKind::Input, &message, Some(DAMAGED))
            );
            assert!(!error.causes.is_empty());
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(untold().kind, ErrorKind::Input);
        assert_ne!(untold().hint.as_deref(), Some(DAMAGED));
    }

    /// Another model under the manifest's name: both files are named, with the next step.
    #[test]
    fn another_model_under_the_same_name_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, classifier(Form::Float, None)).unwrap();
        let refused = |input: &str, output: &str| {
            let text = format!(
                "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"{input}\"\nvalues = {{ uniform = [0.0, 1.0] }}\n\
                 [[output]]\nname = \"{output}\"\ntask = \"values\"\n[matrix]\nbatches = [1]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n"
            );
            check(&Manifest::parse(&text, &folder.path().join("gate.toml")).unwrap()).map(|_| ())
        };
        let place = format!("`{}` and `{}`: ", folder.path().join("gate.toml").display(), path.display());
        for (input, output, expected) in [
            ("x", "logits", "`[[input]]` names `x`, and the model has `input_1`"),
            ("input_1", "y", "`[[output]]` names `y`, and the model has `logits`"),
        ] {
            let error = refused(input, output).unwrap_err();
            assert_eq!(error.message, format!("{place}{expected}"));
            assert_eq!(error.hint.as_deref(), Some(values::OTHER_MODEL));
        }
        refused("input_1", "logits").unwrap();
    }

    #[rstest]
    #[case::open("", &[None, Some(4)], &[1, 4], true)]
    #[case::that("", &[Some(4), Some(4)], &[4], true)]
    #[case::another("", &[Some(2), Some(4)], &[4], false)]
    #[case::among_others("", &[Some(4), Some(4)], &[1, 4], false)]
    #[case::behind("batch-axis = 1", &[Some(2), Some(4)], &[4], true)]
    #[case::shared("shared = true", &[Some(2), Some(4)], &[4], true)]
    #[case::none("batch-axis = \"none\"", &[Some(2), Some(4)], &[4], true)]
    fn a_file_of_one_batch_is_run_in_that(
        #[case] key: &str,
        #[case] shape: &[Option<usize>],
        #[case] batches: &[u32],
        #[case] fits: bool,
    ) {
        let tables = format!(
            "[[input]]\nname = \"x\"\nvalues = {{ uniform = [0.0, 1.0] }}\n{key}\n[[output]]\nname = \"y\"\ntask = \"values\"\n"
        );
        let mut manifest = manifest("[4]");
        manifest.batches = batches.to_vec();
        let signature = Signature { inputs: vec![spec("x", Float32, shape)], outputs: Vec::new() };
        let found = check_batch(&manifest, &interface(&tables), &signature);
        assert_eq!(found.is_ok(), fits, "{found:?}");
        if let Err(error) = found {
            assert_eq!(
                error.message,
                "`batches` in `gate.toml` is ".to_owned()
                    + &format!("{batches:?}, and the TFLite file is of batch {}", shape[0].unwrap())
            );
        }
    }

    /// A model's file that is not there, or no model, does not tell its inputs, in words that name it.
    #[test]
    fn a_file_that_does_not_tell_is_a_wrong_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let source = ModelSource::Onnx { path: path.clone() };
        let words = format!("`{}` does not tell the model's inputs and outputs", path.display());
        let error = told(None, &source).unwrap_err();
        assert_eq!((error.kind, error.message.starts_with(&words)), (ErrorKind::Input, true), "{error}");
        std::fs::write(&path, "no model").unwrap();
        let error = told(None, &source).unwrap_err();
        assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Input, Some(DAMAGED)), "{error}");
        std::fs::write(&path, classifier(Form::Float, None)).unwrap();
        let error = told(None, &source).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Input, words.as_str()));
        let declared = Declared::of(&source).unwrap();
        assert_eq!(told(declared.as_ref(), &source).unwrap().inputs.len(), 1);
    }
}
