//! `[artifacts]`: files that the project made itself, gated as they are in place of what trtgate would convert.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::MatrixRow;
use super::engines::{self, OwnEngine, RawEngines};
use super::read::{Source, digest};
use crate::error::{Error, Result};
use crate::vocabulary::{ArtifactKind, Library, Precision};

/// A file of the project's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnArtifact {
    /// What it stands for.
    pub form: OwnForm,
    /// The file.
    pub path: PathBuf,
    /// Its expected digest; another file is refused.
    pub sha256: Option<String>,
}

/// What a file of the project's own stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnForm {
    /// An ONNX file in half precision.
    Fp16,
    /// An ONNX file with Q/DQ pairs of 8-bit integers, for every runtime that reads ONNX.
    Int8,
    /// An ONNX file with Q/DQ pairs of 8-bit floats (E4M3), for every runtime that reads ONNX.
    Fp8,
    /// A TFLite file of integers, of one batch.
    TfliteInt8,
}

impl OwnForm {
    const ALL: [Self; 4] = [Self::Fp16, Self::Int8, Self::Fp8, Self::TfliteInt8];

    /// Its key in the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
            Self::Fp8 => "fp8",
            Self::TfliteInt8 => "tflite-int8",
        }
    }

    /// The precision of the cells that run it.
    pub const fn precision(self) -> Precision {
        match self {
            Self::Fp16 => Precision::Fp16,
            Self::Int8 | Self::TfliteInt8 => Precision::Int8,
            Self::Fp8 => Precision::Fp8,
        }
    }

    /// Whether it takes the place of artifacts of `kind`.
    pub const fn stands_for(self, kind: ArtifactKind) -> bool {
        match self {
            Self::Fp16 => matches!(kind, ArtifactKind::OnnxFp16),
            Self::Int8 => matches!(kind, ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu),
            Self::Fp8 => matches!(kind, ArtifactKind::OnnxFp8),
            Self::TfliteInt8 => matches!(kind, ArtifactKind::TfliteInt8),
        }
    }

    /// Whether a cell of `row` runs it.
    fn is_asked(self, row: &MatrixRow) -> bool {
        row.precisions
            .iter()
            .any(|&precision| precision == self.precision() && self.stands_for(row.library.source(precision)))
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a file, or { path = \"…\", sha256 = \"…\" }")]
pub(super) enum RawOwn {
    File(RawFile),
    /// Of `engine`: a file a precision.
    Engines(RawEngines),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawFile {
    Path(PathBuf),
    Pinned(Pinned),
}

impl RawFile {
    /// The file, and its digest as it is written.
    pub(super) fn parts(self) -> (PathBuf, Option<String>) {
        match self {
            Self::Path(path) => (path, None),
            Self::Pinned(Pinned { path, sha256 }) => (path, sha256),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pinned {
    path: PathBuf,
    sha256: Option<String>,
}

/// `[artifacts]` as TOML has it.
pub(super) type RawArtifacts = BTreeMap<Spanned<String>, Spanned<RawOwn>>;

/// Whether the manifest brings what cells of `library` in `precision` start from.
pub(super) fn brings(raw: &RawArtifacts, library: Library, precision: Precision) -> bool {
    if engines::runs_them(library)
        && raw.iter().any(|(key, own)| engines::holds(key.get_ref(), own.get_ref(), precision))
    {
        return true;
    }
    let brought = |form: &OwnForm| raw.keys().any(|key| key.get_ref() == form.as_str());
    let kind = library.source(precision);
    OwnForm::ALL.iter().filter(|form| brought(form)).any(|form| form.precision() == precision && form.stands_for(kind))
}

/// Validates what the manifest says; `matrix` is what is asked for: a file that no cell runs would not be gated.
pub(super) fn read(
    source: &Source<'_>,
    raw: RawArtifacts,
    matrix: &[MatrixRow],
    resolve: &dyn Fn(&Path) -> PathBuf,
) -> Result<(Vec<OwnArtifact>, Vec<OwnEngine>)> {
    let (mut artifacts, mut shipped) = (Vec::new(), Vec::new());
    for (key, own) in raw {
        if key.get_ref() == engines::KEY {
            shipped = engines::read(source, key.span(), own, matrix, resolve)?;
            continue;
        }
        let form = OwnForm::ALL.into_iter().find(|form| form.as_str() == key.get_ref()).ok_or_else(|| {
            let known = OwnForm::ALL.map(|form| format!("`{}`", form.as_str())).join(", ");
            source
                .error(key.span(), format!("`{}` is no artifact of one's own", key.get_ref()))
                .hint(format!("one of {known}, `engine`; the FP32 source is `[model] onnx`"))
        })?;
        if !matrix.iter().any(|row| form.is_asked(row)) {
            let runtime = if form == OwnForm::TfliteInt8 { "litert" } else { "onnxruntime" };
            return Err(source
                .error(
                    key.span(),
                    format!("no runtime is asked for `{}`, so that nothing would run this file", form.precision()),
                )
                .hint(format!("add it under `[matrix.runtimes]`: `{runtime} = [\"{}\"]`", form.precision())));
        }
        let span = own.span();
        let RawOwn::File(file) = own.into_inner() else { return Err(no_file(source, span)) };
        let (path, sha256) = file.parts();
        let sha256 = sha256.map(|sha256| digest(source, span, &sha256)).transpose()?;
        artifacts.push(OwnArtifact { form, path: resolve(&path), sha256 });
    }
    artifacts.sort_by_key(|own| own.form);
    Ok((artifacts, shipped))
}

fn no_file(source: &Source<'_>, span: std::ops::Range<usize>) -> Error {
    source.error(span, "expected a file, or { path = \"…\", sha256 = \"…\" }")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::manifest::Manifest;

    fn manifest(artifacts: &str, runtimes: &str, several: bool) -> Result<Manifest> {
        let border = if several {
            "[[input]]\nname = \"x\"\nvalues = { uniform = [0.0, 1.0] }\n[[output]]\nname = \"y\"\ntask = \"values\"\n"
        } else {
            "[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n[output]\nname = \"y\"\nclasses = 2\n"
        };
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n{border}[artifacts]\n{artifacts}\n{runtimes}\n"
        );
        Manifest::parse(&text, Path::new("project/gate.toml"))
    }

    #[rstest]
    #[case("fp16 = \"a.onnx\"", "", false, &["fp16 project/a.onnx"])]
    #[case("int8 = { path = \"q.onnx\" }\nfp16 = \"a.onnx\"", "", false, &["fp16 project/a.onnx", "int8 project/q.onnx"])]
    #[case("int8 = \"q.onnx\"", "[matrix.runtimes]\nonnxruntime = [\"fp32\", \"int8\"]", true, &["int8 project/q.onnx"])]
    #[case("fp8 = \"f.onnx\"", "", false, &["fp8 project/f.onnx"])]
    #[case("tflite-int8 = \"m.tflite\"", "[matrix.runtimes]\nlitert = [\"int8\"]", false, &["tflite-int8 project/m.tflite"])]
    fn files_of_ones_own_are_read(
        #[case] artifacts: &str,
        #[case] runtimes: &str,
        #[case] several: bool,
        #[case] expected: &[&str],
    ) {
        let found = manifest(artifacts, runtimes, several).unwrap().artifacts;
        let told: Vec<String> =
            found.iter().map(|own| format!("{} {}", own.form.as_str(), own.path.display())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_a_file_of_ones_own_gives_is_asked_for_by_itself() {
        let row = |manifest: Manifest, library: Library| {
            manifest.matrix.into_iter().find(|row| row.library == library).map(|row| row.precisions)
        };
        let of = |artifacts: &str| manifest(artifacts, "", true).unwrap();
        assert_eq!(
            row(of("int8 = \"q.onnx\""), Library::Onnxruntime).unwrap(),
            [Precision::Fp32, Precision::Fp16, Precision::Int8]
        );
        assert_eq!(row(of("fp16 = \"q.onnx\""), Library::Onnxruntime).unwrap(), [Precision::Fp32, Precision::Fp16]);
        assert_eq!(row(of("tflite-int8 = \"m.tflite\""), Library::Litert).unwrap(), [Precision::Int8]);
        assert_eq!(row(of("fp16 = \"q.onnx\""), Library::Litert), None);
        let eight = row(of("fp8 = \"f.onnx\""), Library::Onnxruntime).unwrap();
        assert_eq!(eight, [Precision::Fp32, Precision::Fp16, Precision::Fp8]);
    }

    #[rstest]
    #[case("fp32 = \"a.onnx\"", "", "`fp32` is no artifact of one's own")]
    #[case("", "[matrix.runtimes]\nonnxruntime = [\"fp32\", \"fp8\"]", "nothing makes `onnx-fp8` of it")]
    #[case("fp16 = 3", "", "expected a file, or { path")]
    #[case("fp16 = { path = \"a.onnx\", sha256 = \"12\" }", "", "a sha256 is 64 hexadecimal digits")]
    #[case("fp16 = { path = \"a.onnx\", digest = \"12\" }", "", "expected a file, or { path")]
    #[case("fp16 = \"a.onnx\"", "[matrix.runtimes]\nonnxruntime = [\"fp32\"]", "no runtime is asked for `fp16`")]
    #[case(
        "tflite-int8 = \"m.tflite\"",
        "[matrix.runtimes]\nonnxruntime = [\"fp32\", \"int8\"]",
        "no runtime is asked for `int8`"
    )]
    fn what_is_none_is_refused(#[case] artifacts: &str, #[case] runtimes: &str, #[case] words: &str) {
        let message = manifest(artifacts, runtimes, false).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
