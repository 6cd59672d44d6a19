//! The manifest's input and output against those of the model, before anything is converted: a typo is no regression.

use crate::convert::tflite;
use crate::error::{Error, Result};
use crate::files;
use crate::gate::values;
use crate::gate::workspace::Workspace;
use crate::manifest::interface::{FedInput, Interface};
use crate::manifest::{Manifest, ModelSource};
use crate::onnx;
use crate::runtime::tensorflow;
use crate::tensor::{BatchAxis, Signature, TensorSpec, shape_text};

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
        told(self.declared.as_ref())
    }
}

/// What was declared.
///
/// # Errors
/// `Input` where nothing was.
pub(super) fn told(declared: Option<&Declared>) -> Result<&Signature> {
    let declared = declared.ok_or_else(|| Error::input("the model's file does not tell its inputs and outputs"))?;
    Ok(&declared.signature)
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
            for point in interface.points() {
                values::plans(interface, &declared.signature, point.as_ref())?;
            }
            values::check_outputs(interface, &declared.signature)?;
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
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;
    use crate::onnx::{Function, Model};
    use crate::runtime::tensorrt::test_model::{Form, classifier};

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
}
