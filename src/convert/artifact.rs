//! The artifacts of a manifest, each made once and kept in the store.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::convert::store::{Key, Store};
use crate::convert::{
    environment, onnx_fp16, onnx_int8, onnx_plain, savedmodel_onnx, script::Script, tflite_int8, tflite_onnx,
};
use crate::digest::{digest_directory, digest_file};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::onnx;
use crate::progress::Progress;
use crate::vocabulary::ArtifactKind;

/// Fewest samples that INT8 is calibrated on.
pub const FEWEST_SAMPLES: usize = 512;

/// One form of the model, ready to load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is.
    pub kind: ArtifactKind,
    /// Its file, or folder for a SavedModel.
    pub path: PathBuf,
    /// SHA-256 of the file, or of the folder ([`digest_directory`]).
    pub sha256: String,
    /// Bytes of the file, or of all files of the folder.
    pub bytes: u64,
    /// Seconds that making it took, when it was made; 0 for the model's own source.
    pub build_seconds: f64,
    /// Whether it was here already.
    pub cached: bool,
}

/// The model as the manifest names it; an ONNX file is checked.
pub fn source(manifest: &Manifest) -> Result<Artifact> {
    let (kind, path) = (manifest.model.source.kind(), manifest.model.source.path());
    let sha256 = if kind == ArtifactKind::SavedModel {
        if !path.join("saved_model.pb").is_file() {
            return Err(Error::input(format!("`{}` is not a SavedModel: it has no `saved_model.pb`", path.display())));
        }
        digest_directory(path)?
    } else {
        if kind == ArtifactKind::OnnxFp32 {
            onnx::read(path)?;
        }
        digest_file(path)?
    };
    let bytes = bytes_at(path)?;
    Ok(Artifact { kind, path: path.to_owned(), sha256, bytes, build_seconds: 0.0, cached: true })
}

/// Bytes of a file, or of all files under a folder.
pub(crate) fn bytes_at(path: &Path) -> Result<u64> {
    let bytes = |path: &Path| Ok(std::fs::metadata(path).map_err(|error| Error::io("read", path, error))?.len());
    match path.is_dir() {
        true => crate::digest::files_under(path)?.iter().map(|(_, file)| bytes(file)).sum(),
        false => bytes(path),
    }
}

/// The artifact `kind` of the model, made now if the store does not have it.
///
/// `batch` is the batch size of a static artifact (`tflite-int8`). `calibration` is a `.npy` file of float32
/// `[N, …]` with at least [`FEWEST_SAMPLES`] samples as the model's input takes them, for the INT8 kinds.
///
/// # Errors
///
/// `Usage` for a kind that is not made here (`engine`) or whose `batch` or `calibration` is absent, `Unsupported` for
/// one that cannot come out of an ONNX source, `Input` for a model that cannot be read or converted, `Missing` when
/// the converters cannot be installed, `Failed` and `Machine` as elsewhere.
pub fn artifact(
    manifest: &Manifest,
    store: &Store,
    kind: ArtifactKind,
    batch: Option<u32>,
    calibration: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Artifact> {
    let work = Work { manifest, store, progress };
    let calibration = || calibration.ok_or_else(|| Error::usage(format!("`{kind}` needs calibration samples")));
    match kind {
        ArtifactKind::SavedModel => work.saved_model(kind),
        ArtifactKind::Tflite => Err(Error::usage("a `tflite` source is the model's own, not converted")),
        ArtifactKind::OnnxFp8 => Err(Error::unsupported("no converter here writes 8-bit floats")
            .hint("name a file of your own: `fp8` under `[artifacts]`, as ModelOpt and other quantisers write it")),
        ArtifactKind::OnnxFp32 => work.onnx_fp32(),
        ArtifactKind::OnnxPlain => work.onnx_plain(),
        ArtifactKind::OnnxFp16 => onnx_fp16::convert(&work, &work.onnx_plain()?),
        ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu => {
            let samples = calibration()?;
            onnx_int8::convert(&work, &work.onnx_plain()?, samples, kind)
        }
        ArtifactKind::TfliteInt8 => {
            let batch = batch.ok_or_else(|| Error::usage(format!("`{kind}` needs a batch size")))?;
            let samples = calibration()?;
            tflite_int8::convert(&work, &work.saved_model(kind)?, batch, samples)
        }
        ArtifactKind::Engine => Err(Error::usage("an `engine` is built by its own TensorRT, not converted")),
        ArtifactKind::Served => Err(Error::usage("what is `served` is at its server, not converted")),
    }
}

/// What every conversion needs.
pub(super) struct Work<'run> {
    pub(super) manifest: &'run Manifest,
    pub(super) store: &'run Store,
    pub(super) progress: &'run dyn Progress,
}

impl Work<'_> {
    /// The SavedModel, as what `wanted` is made from.
    fn saved_model(&self, wanted: ArtifactKind) -> Result<Artifact> {
        match source(self.manifest)? {
            source if source.kind == ArtifactKind::SavedModel => Ok(source),
            source => {
                let format = if source.kind == ArtifactKind::Tflite { "a TFLite" } else { "an ONNX" };
                Err(Error::unsupported(format!("`{wanted}` needs a SavedModel, the model is {format} file")))
            }
        }
    }

    fn onnx_fp32(&self) -> Result<Artifact> {
        match source(self.manifest)? {
            source if source.kind == ArtifactKind::OnnxFp32 => Ok(source),
            source if source.kind == ArtifactKind::Tflite => tflite_onnx::convert(self, &source),
            source => savedmodel_onnx::convert(self, &source),
        }
    }

    /// The FP32 graph that converters start from: the model's own where that needs nothing.
    fn onnx_plain(&self) -> Result<Artifact> {
        onnx_plain::convert(self, self.onnx_fp32()?)
    }

    /// Signature, and the names of one input and one output.
    pub(super) fn border(&self) -> [(&'static str, String); 3] {
        [
            ("signature", self.manifest.model.source.signature().to_owned()),
            ("input", self.manifest.input.name.clone()),
            ("output", self.manifest.output.name.clone()),
        ]
    }

    /// Makes what `conversion` describes, or finds it; `kind` is its file `file`. `check` looks at the folder of new
    /// files before they are kept.
    pub(super) fn convert(
        &self,
        conversion: &Conversion<'_>,
        kind: ArtifactKind,
        file: &str,
        check: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Artifact> {
        let key = conversion.key(&environment::identity(self.store, environment::EXPORT)?);
        if self.store.get(&key)?.is_none() {
            // Installing is not part of the time that a conversion takes.
            environment::ensure_in(self.store, environment::EXPORT, self.progress)?;
        }
        let entry = self.store.get_or_make(&key, |staging| {
            let environment = environment::ensure_in(self.store, environment::EXPORT, self.progress)?;
            let step =
                self.progress.begin(&format!("converting `{}` to {}", self.manifest.model.name, conversion.name));
            let mut arguments = conversion.paths.clone();
            arguments.extend(conversion.options.iter().cloned());
            arguments.push(("destination", text_of(staging)?));
            let limits = self.store.limits();
            conversion.script.run(&environment, limits, staging, &arguments, self.progress, &*step)?;
            check(staging)?;
            step.finish();
            Ok(())
        })?;
        let (path, record) = entry.file(file)?;
        Ok(Artifact {
            kind,
            path,
            sha256: record.sha256.clone(),
            bytes: record.bytes,
            build_seconds: entry.seconds,
            cached: entry.cached,
        })
    }
}

/// One run of a script.
pub(super) struct Conversion<'run> {
    /// Name of the entries in the store.
    pub(super) name: &'static str,
    /// The script; its argument `destination` is the folder for what it makes.
    pub(super) script: Script,
    /// What it starts from; part of the key.
    pub(super) source: &'run Artifact,
    /// Arguments that are part of the key.
    pub(super) options: Vec<(&'static str, String)>,
    /// Parts of the key that are no arguments: digests of what the paths name.
    pub(super) digests: Vec<(&'static str, String)>,
    /// Arguments that are not part of the key: paths.
    pub(super) paths: Vec<(&'static str, String)>,
}

impl Conversion<'_> {
    /// Everything that can change what is made, in an environment of `packages`.
    fn key(&self, packages: &str) -> Key {
        let key = Key::new(self.name)
            .with("source", &self.source.sha256)
            .with("packages", packages)
            .with("script", self.script.digest());
        self.options.iter().chain(&self.digests).fold(key, |key, (name, value)| key.with(*name, value))
    }
}

/// A path as text, for an argument.
pub(super) fn text_of(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).map_err(|error| Error::io("resolve", path, error))?;
    absolute
        .to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::input(format!("the name of `{}` is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::store::keys::every_change_counts;

    #[derive(Clone)]
    struct Of {
        name: &'static str,
        source: Artifact,
        text: &'static str,
        packages: &'static str,
        option: (&'static str, String),
        digest: String,
    }

    #[test]
    fn whatever_changes_a_conversion_changes_its_key() {
        let source = Artifact {
            kind: ArtifactKind::OnnxFp32,
            path: PathBuf::from("m.onnx"),
            sha256: "digest".to_owned(),
            bytes: 1,
            build_seconds: 0.0,
            cached: true,
        };
        let option = ("method", "entropy".to_owned());
        let subject =
            Of { name: "onnx-int8", source, text: "a", packages: "one", option, digest: "samples".to_owned() };
        let key = |of: &Of| {
            let conversion = Conversion {
                name: of.name,
                script: Script { name: "script.py", text: of.text },
                source: &of.source,
                options: vec![of.option.clone()],
                digests: vec![("samples", of.digest.clone())],
                paths: vec![("model", "elsewhere".to_owned())],
            };
            conversion.key(of.packages)
        };
        every_change_counts(
            &subject,
            key,
            &[
                ("kind", &|of| of.name = "onnx-fp16"),
                ("model", &|of| of.source.sha256.push('0')),
                ("script", &|of| of.text = "b"),
                ("packages", &|of| of.packages = "other"),
                ("option", &|of| of.option.1.push('2')),
                ("option's name", &|of| of.option.0 = "other"),
                ("samples", &|of| of.digest.push('0')),
            ],
            &[],
        );
        // Where the model lies changes nothing.
        let moved =
            Of { source: Artifact { path: PathBuf::from("n.onnx"), ..subject.source.clone() }, ..subject.clone() };
        assert_eq!(key(&moved), key(&subject));
    }
}
