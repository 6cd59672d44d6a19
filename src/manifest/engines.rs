//! `[artifacts] engine`: engine files that ship, built elsewhere and gated as they are, each held to a precision.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::artifacts::{RawFile, RawOwn};
use super::read::{Source, digest};
use super::{Manifest, MatrixRow};
use crate::error::Result;
use crate::vocabulary::{Library, Precision};

/// The key under `[artifacts]`.
pub(super) const KEY: &str = "engine";

/// An engine file of the project's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEngine {
    /// What it is held to: the limits of its answers and the proof of what it computes in.
    pub precision: Precision,
    /// The file.
    pub path: PathBuf,
    /// Its expected digest; another file is refused.
    pub sha256: Option<String>,
}

/// A file a precision, as TOML has it.
pub(super) type RawEngines = BTreeMap<String, RawFile>;

/// Whether cells of `library` run engines of one's own. TensorRT for RTX has another form of engine.
pub(crate) const fn runs_them(library: Library) -> bool {
    matches!(library, Library::Tensorrt | Library::TensorrtLean)
}

/// Whether `own` under `key` is an engine held to `precision`.
pub(super) fn holds(key: &str, own: &RawOwn, precision: Precision) -> bool {
    matches!(own, RawOwn::Engines(engines) if key == KEY && engines.contains_key(precision.as_str()))
}

impl Manifest {
    /// The engine that ships for cells of `library` in `precision`, where there is one.
    pub fn own_engine(&self, library: Library, precision: Precision) -> Option<&OwnEngine> {
        self.engines.iter().find(|own| runs_them(library) && own.precision == precision)
    }
}

/// Validates what the manifest says; `matrix` is what is asked for: an engine that no cell runs would not be gated.
pub(super) fn read(
    source: &Source<'_>,
    key: Range<usize>,
    own: Spanned<RawOwn>,
    matrix: &[MatrixRow],
    resolve: &dyn Fn(&Path) -> PathBuf,
) -> Result<Vec<OwnEngine>> {
    let span = own.span();
    let RawOwn::Engines(raw) = own.into_inner() else {
        return Err(source
            .error(span, "an engine is held to a precision, which its file does not tell")
            .hint("name it: `engine = { fp16 = \"model.plan\" }`"));
    };
    let mut engines = Vec::new();
    for (word, file) in raw {
        let precision: Precision = word.parse().map_err(|error| super::read::pointed(source, span.clone(), error))?;
        if !matrix.iter().any(|row| runs_them(row.library) && row.precisions.contains(&precision)) {
            return Err(source
                .error(key, format!("no runtime is asked for `{precision}`, so that nothing would run this engine"))
                .hint(format!(
                    "add it under `[matrix.runtimes]`: `tensorrt = [\"{precision}\"]`, or `tensorrt-lean`"
                )));
        }
        let (path, sha256) = file.parts();
        let sha256 = sha256.map(|sha256| digest(source, span.clone(), &sha256)).transpose()?;
        engines.push(OwnEngine { precision, path: resolve(&path), sha256 });
    }
    engines.sort_by_key(|own| own.precision);
    Ok(engines)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn manifest(artifacts: &str, runtimes: &str) -> Result<Manifest> {
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\n[artifacts]\n{artifacts}\n[matrix.runtimes]\n{runtimes}\n"
        );
        Manifest::parse(&text, Path::new("project/gate.toml"))
    }

    const ASKED: &str = "tensorrt = [\"fp16\", \"int8\"]\ntensorrt-lean = [\"fp16\"]\ntensorrt-rtx = [\"fp16\"]";

    #[test]
    fn an_engine_stands_for_the_cells_of_its_precision() {
        let digest = "12".repeat(32);
        let text = format!(
            "engine = {{ int8 = {{ path = \"i.plan\", sha256 = \"{digest}\" }}, fp16 = \"h.plan\" }}\nfp16 = \"h.onnx\""
        );
        let manifest = manifest(&text, &format!("{ASKED}\nonnxruntime = [\"fp16\"]")).unwrap();
        let told: Vec<String> =
            manifest.engines.iter().map(|own| format!("{} {}", own.precision, own.path.display())).collect();
        assert_eq!(told, ["fp16 project/h.plan", "int8 project/i.plan"]);
        assert_eq!((manifest.engines[1].sha256.as_deref(), manifest.artifacts.len()), (Some(digest.as_str()), 1));
        let ships = |library, precision| manifest.own_engine(library, precision).is_some();
        assert!(ships(Library::Tensorrt, Precision::Fp16) && ships(Library::TensorrtLean, Precision::Fp16));
        assert!(!ships(Library::Tensorrt, Precision::Fp32) && !ships(Library::TensorrtRtx, Precision::Fp16));
    }

    #[rstest]
    #[case("engine = \"m.plan\"", ASKED, "an engine is held to a precision")]
    #[case("engine = { path = \"m.plan\" }", ASKED, "an engine is held to a precision")]
    #[case("engine = { half = \"m.plan\" }", ASKED, "unknown precision `half`")]
    #[case("engine = { fp16 = 3 }", ASKED, "expected a file, or { path")]
    #[case("engine = { fp16 = { path = \"m.plan\", sha256 = \"12\" } }", ASKED, "a sha256 is 64 hexadecimal digits")]
    #[case("engine = { tf32 = \"m.plan\" }", ASKED, "no runtime is asked for `tf32`")]
    #[case("engine = { fp16 = \"m.plan\" }", "tensorrt-rtx = [\"fp16\"]", "no runtime is asked for `fp16`")]
    fn what_is_none_is_refused(#[case] artifacts: &str, #[case] runtimes: &str, #[case] words: &str) {
        let message = manifest(artifacts, runtimes).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
