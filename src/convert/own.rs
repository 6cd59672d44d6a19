//! Files that the project made itself: read once into the store as the model is, and held to the FP32 source's inputs and outputs.

use std::path::{Path, PathBuf};

use super::Artifact;
use super::pin::{Reading, keep_carried};
use super::store::Store;
use super::tflite;
use crate::digest::{digest_bytes, digest_file};
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::ModelSource;
use crate::manifest::artifacts::{OwnArtifact, OwnForm};
use crate::manifest::engines::OwnEngine;
use crate::onnx;
use crate::tensor::{Signature, TensorSpec, shape_text};
use crate::vocabulary::ArtifactKind;

/// A file of the project's own, kept in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// What it stands for.
    pub form: OwnForm,
    /// The file as the manifest names it.
    pub named: PathBuf,
    /// Its copy in the store, and its digest.
    kept: PathBuf,
    /// Digest of its bytes, with values of other files put back into an ONNX file.
    pub sha256: String,
    bytes: u64,
    /// The batch of a TFLite file.
    batch: Option<usize>,
}

impl Own {
    /// Reads the file of `artifact` into `store`, and holds it to `wanted`: the inputs that are fed and the outputs that are looked
    /// at, as the FP32 source has them.
    ///
    /// # Errors
    /// `Input`, in words, where it is not there, is no such file, is not the one that the manifest pins, or has other inputs or
    /// outputs than the source.
    pub fn read(artifact: &OwnArtifact, wanted: &Signature, store: &Store) -> Result<Self> {
        let key = artifact.form.as_str();
        let named = &artifact.path;
        let here = |error: Error| error.context(format!("`{key}` under `[artifacts]`, `{}`", named.display()));
        let pinned = |sha256: &str| match &artifact.sha256 {
            Some(expected) if expected != sha256 => Err(here(
                Error::input("it is not the file in the manifest")
                    .cause(format!("the manifest has sha256 {expected}, the file has {sha256}")),
            )),
            _ => Ok(()),
        };
        let (kept, sha256, batch) = if artifact.form == OwnForm::TfliteInt8 {
            let bytes = files::read(named, files::GRAPH).map_err(|error| here(Error::io("read", named, error)))?;
            let batch = tflite_batch(&bytes, wanted).map_err(here)?;
            let sha256 = digest_bytes(&bytes);
            pinned(&sha256)?;
            (keep_carried(store, named, &sha256).map_err(here)?, sha256, batch)
        } else {
            let reading = Reading::of(&ModelSource::Onnx { path: named.clone() }).map_err(here)?;
            pinned(reading.sha256())?;
            let kept = reading.keep(store).map_err(here)?.path().to_owned();
            let found =
                onnx::signature(&onnx::read(&kept).map_err(|error| here(super::pin::renamed(&kept, named, error)))?);
            fits(&found, wanted).map_err(here)?;
            (kept, reading.sha256().to_owned(), None)
        };
        let bytes = std::fs::metadata(&kept).map_err(|error| Error::io("read", &kept, error))?.len();
        Ok(Self { form: artifact.form, named: named.clone(), kept, sha256, bytes, batch })
    }

    /// The file as the artifact of `kind` for cells of `batch`, where it is made for one.
    ///
    /// # Errors
    /// `Unsupported` for another batch than its own.
    pub fn artifact(&self, kind: ArtifactKind, batch: Option<u32>) -> Result<Artifact> {
        if let (Some(own), Some(wanted)) = (self.batch, batch)
            && own != wanted as usize
        {
            return Err(Error::unsupported(format!(
                "the project's own `{}` is of batch {own}, and no other is made",
                self.named.display()
            )));
        }
        let (path, sha256) = (self.kept.clone(), self.sha256.clone());
        Ok(Artifact { kind, path, sha256, bytes: self.bytes, build_seconds: 0.0, cached: true })
    }

    /// `error` with the file's own name wherever it names its copy.
    pub fn named_in(&self, error: Error) -> Error {
        super::pin::renamed(&self.kept, &self.named, error)
    }

    /// What a report says of it.
    pub fn told(&self) -> String {
        let digest = self.sha256.get(..12).unwrap_or(&self.sha256);
        format!(
            "{} is the project's own `{}` (sha256 {digest}…), the file that ships: trtgate did not make it",
            self.form.as_str(),
            self.named.display()
        )
    }
}

/// Reads the file of `engine` into `store`, byte for byte; what stands in it is for its TensorRT to say.
///
/// # Errors
/// `Input`, in words, where it is not there or not the one that the manifest pins.
pub fn keep_engine(engine: &OwnEngine, store: &Store) -> Result<Artifact> {
    let named = &engine.path;
    let read = || {
        let (path, sha256) = keep_file(named, engine.sha256.as_deref(), store)?;
        let bytes = std::fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?.len();
        Ok(Artifact { kind: ArtifactKind::Engine, path, sha256, bytes, build_seconds: 0.0, cached: true })
    };
    let here = |error: Error| {
        error.context(format!("`engine.{}` under `[artifacts]`, `{}`", engine.precision, named.display()))
    };
    read().map_err(here)
}

/// Reads the file at `named` into `store`, byte for byte; its copy, and the digest of both.
///
/// # Errors
/// `Input` where it is not there or has another digest than `expected`, and those of the store.
pub fn keep_file(named: &Path, expected: Option<&str>, store: &Store) -> Result<(PathBuf, String)> {
    let sha256 = digest_file(named)?;
    if let Some(expected) = expected.filter(|expected| **expected != sha256) {
        return Err(Error::input("it is not the file in the manifest")
            .cause(format!("the manifest has sha256 {expected}, the file has {sha256}")));
    }
    Ok((keep_carried(store, named, &sha256)?, sha256))
}

/// Holds the inputs and outputs of a file to those that are `wanted`: a float may be another float, as a graph in half precision has
/// it, and what is open on one side is not compared.
pub fn fits(found: &Signature, wanted: &Signature) -> Result<()> {
    let names =
        |specs: &[TensorSpec]| specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ");
    let hint = "export it with the names and shapes of the FP32 source";
    if let Some(stranger) = found.inputs.iter().find(|input| wanted.inputs.iter().all(|other| other.name != input.name))
    {
        return Err(Error::input(format!(
            "it takes `{}`, and the FP32 source {}",
            stranger.name,
            names(&wanted.inputs)
        ))
        .hint(hint));
    }
    let sides = [("input", &wanted.inputs, &found.inputs), ("output", &wanted.outputs, &found.outputs)];
    for (role, wanted, found) in sides {
        for spec in wanted {
            let own = found.iter().find(|own| own.name == spec.name).ok_or_else(|| {
                Error::input(format!("it has no {role} `{}`, only {}", spec.name, names(found))).hint(hint)
            })?;
            let (type_here, type_there) = (own.element_type, spec.element_type);
            let same_type = type_here == type_there || (type_here.is_float() && type_there.is_float());
            let same_shape = own.shape.len() == spec.shape.len()
                && own
                    .shape
                    .iter()
                    .zip(&spec.shape)
                    .all(|(own, other)| own.is_none() || other.is_none() || own == other);
            if !same_type || !same_shape {
                return Err(Error::input(format!(
                    "its {role} `{}` is {type_here} {}, and the FP32 source's {type_there} {}",
                    spec.name,
                    shape_text(&own.shape),
                    shape_text(&spec.shape)
                ))
                .hint(hint));
            }
        }
    }
    Ok(())
}

/// The batch of a TFLite file: the first size of its inputs, which are as many as are `wanted`. Names are LiteRT's matter, which
/// tells those of its signature.
fn tflite_batch(bytes: &[u8], wanted: &Signature) -> Result<Option<usize>> {
    let structure = tflite::structure(bytes)?;
    let counts = [
        ("inputs", structure.inputs.len(), wanted.inputs.len()),
        ("outputs", structure.outputs.len(), wanted.outputs.len()),
    ];
    for (role, found, wanted) in counts {
        if found < wanted || (role == "inputs" && found != wanted) {
            return Err(Error::input(format!("it has {found} {role}, and the FP32 source {wanted}")));
        }
    }
    // `name: int8 [1, 8, 8, 3]`
    let first = structure
        .inputs
        .first()
        .and_then(|input| input.rsplit_once('[')?.1.split([',', ']']).next()?.trim().parse().ok());
    Ok(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::ElementType;

    fn spec(name: &str, element_type: ElementType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), element_type, shape: shape.to_vec() }
    }

    fn signature() -> Signature {
        Signature {
            inputs: vec![
                spec("x", ElementType::Float32, &[None, Some(8)]),
                spec("ids", ElementType::Int64, &[None, Some(2)]),
            ],
            outputs: vec![spec("y", ElementType::Float32, &[None, Some(3)])],
        }
    }

    #[rstest]
    #[case::same(|_: &mut Signature| (), None)]
    #[case::half(|found: &mut Signature| found.inputs[0].element_type = ElementType::Float16, None)]
    #[case::fixed_batch(|found: &mut Signature| found.inputs[0].shape[0] = Some(4), None)]
    #[case::more_outputs(|found: &mut Signature| found.outputs.push(spec("z", ElementType::Float32, &[])), None)]
    #[case::another_name(|found: &mut Signature| found.inputs[0].name = "input_1".to_owned(), Some("it takes `input_1`, and the FP32 source `x`, `ids`"))]
    #[case::an_input_less(|found: &mut Signature| drop(found.inputs.pop()), Some("it has no input `ids`, only `x`"))]
    #[case::an_output_less(|found: &mut Signature| found.outputs[0].name = "w".to_owned(), Some("it has no output `y`, only `w`"))]
    #[case::another_size(|found: &mut Signature| found.outputs[0].shape[1] = Some(4), Some("its output `y` is float32 [N, 4], and the FP32 source's float32 [N, 3]"))]
    #[case::another_rank(|found: &mut Signature| found.inputs[0].shape.push(None), Some("its input `x` is float32 [N, 8, N]"))]
    #[case::quantised(|found: &mut Signature| found.inputs[0].element_type = ElementType::Int8, Some("its input `x` is int8"))]
    #[case::narrower(|found: &mut Signature| found.inputs[1].element_type = ElementType::Int32, Some("its input `ids` is int32"))]
    fn other_inputs_and_outputs_are_refused_in_words(#[case] change: fn(&mut Signature), #[case] words: Option<&str>) {
        let mut found = signature();
        change(&mut found);
        let outcome = fits(&found, &signature());
        match words {
            None => assert_eq!(outcome, Ok(())),
            Some(words) => {
                let error = outcome.unwrap_err();
                assert!(error.message.starts_with(words) && error.hint.is_some(), "{error}");
            }
        }
    }

    #[test]
    fn a_tflite_file_tells_its_batch() {
        let bytes = include_bytes!("../../tests/fixtures/tiny/batch_4_int8.tflite");
        let one = Signature { inputs: signature().inputs[..1].to_vec(), outputs: signature().outputs };
        assert_eq!(tflite_batch(bytes, &one).unwrap(), Some(4));
        let error = tflite_batch(bytes, &signature()).unwrap_err();
        assert_eq!(error.message, "it has 1 inputs, and the FP32 source 2");
        assert!(tflite_batch(b"no file", &one).is_err());
    }
}
