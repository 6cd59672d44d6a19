//! What stands beside an engine: where it came from, where it may run, and the digest of its bytes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files;
use crate::manifest::EngineOptions;
use crate::runtime::tensorrt::candidates::Candidate;
use crate::runtime::tensorrt::ranges::InputRange;
use crate::vocabulary::{Precision, RuntimeId};

/// Name of the schema.
pub const SCHEMA: &str = "trtgate.engine/v1";

/// The library and device that engines and timing caches belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// `tensorrt@8.5.3`.
    pub runtime: RuntimeId,
    /// Full version, as the library or its package says.
    pub version: String,
    /// ABI family.
    pub family: String,
    /// GPU model; none where the library builds without one.
    pub gpu: Option<String>,
    /// Compute capability, `9.0`.
    pub compute_capability: Option<String>,
    /// Driver version.
    pub driver: Option<String>,
    /// Highest CUDA version that the driver offers, `13.0`.
    pub cuda: Option<String>,
}

impl Environment {
    /// Names what makes something of `self` useless in `other`: another library version or another GPU.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.runtime != other.runtime {
            return Some(format!("it belongs to `{}`, this is `{}`", self.runtime, other.runtime));
        }
        let named = |one: &Option<String>| one.clone().unwrap_or_else(|| "none".to_owned());
        if self.gpu != other.gpu && self.gpu.is_some() {
            return Some(format!("it belongs to the GPU `{}`, this is `{}`", named(&self.gpu), named(&other.gpu)));
        }
        None
    }
}

/// The engine's metadata file, `ENGINE.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineMetadata {
    /// [`SCHEMA`].
    pub schema: String,
    /// Digest of the engine's bytes.
    pub sha256: String,
    /// Size of the engine, bytes.
    pub bytes: u64,
    /// Digest of the ONNX model.
    pub onnx_sha256: String,
    /// Precision asked for.
    pub precision: Precision,
    /// Flags given to the builder, as the headers name them.
    pub flags: Vec<String>,
    /// Default tactic sources left out because their libraries are not on the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tactic_sources_without: Vec<String>,
    /// Options.
    pub options: EngineOptions,
    /// Optimization profiles, smallest, preferred and largest batch each; empty for a fixed batch.
    pub profiles: Vec<[u32; 3]>,
    /// Optimization profiles of other models: the ranges of every input in each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Vec<InputRange>>,
    /// Whether it is static: of the preferred shapes of the first of `ranges` alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed: bool,
    /// Time the build took, milliseconds.
    pub build_milliseconds: u64,
    /// The engines that it was chosen from, itself among them; empty if it is the only one that was built.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// When it was built, RFC 3339 in UTC.
    pub built: String,
    /// Where it was built.
    pub environment: Environment,
}

/// `ENGINE.json` for `ENGINE`.
pub fn metadata_path(engine: &Path) -> PathBuf {
    let mut name = engine.as_os_str().to_owned();
    name.push(".json");
    PathBuf::from(name)
}

impl EngineMetadata {
    /// Reads the file beside `engine`; `None` if there is none.
    pub fn beside(engine: &Path) -> Result<Option<Self>> {
        let path = metadata_path(engine);
        match files::read(&path, files::TEXT) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| Error::input(format!("`{}` is damaged", path.display())).because(error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }

    /// Writes the file beside `engine`.
    pub fn write_beside(&self, engine: &Path) -> Result<()> {
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| Error::failed("cannot encode metadata").because(error))?;
        write_whole(&metadata_path(engine), &text)
    }

    /// Refuses engine bytes that are not the ones described: cut short, or changed.
    pub fn check_bytes(&self, engine: &Path, bytes: &[u8]) -> Result<()> {
        let hint = "build the engine again";
        if bytes.len() as u64 != self.bytes {
            return Err(Error::input(format!(
                "`{}` is truncated: {} of {} bytes",
                engine.display(),
                bytes.len(),
                self.bytes
            ))
            .hint(hint));
        }
        if sha256(bytes) != self.sha256 {
            return Err(Error::input(format!("`{}` is not the engine that its metadata describes", engine.display()))
                .hint(hint));
        }
        Ok(())
    }
}

/// Hexadecimal digest.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Writes `bytes` to `path` whole or not at all: temporary name, fsync, rename. Makes the folder if need be.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error| Error::io("write", path, error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::vocabulary::Library;

    pub(in crate::runtime::tensorrt) fn environment() -> Environment {
        Environment {
            runtime: RuntimeId::versioned(Library::Tensorrt, "8.5.3"),
            version: "8.5.3.1".to_owned(),
            family: "8".to_owned(),
            gpu: Some("NVIDIA H200".to_owned()),
            compute_capability: Some("9.0".to_owned()),
            driver: Some("580.95.05".to_owned()),
            cuda: Some("13.0".to_owned()),
        }
    }

    pub(crate) fn metadata(bytes: &[u8]) -> EngineMetadata {
        EngineMetadata {
            schema: SCHEMA.to_owned(),
            sha256: sha256(bytes),
            bytes: bytes.len() as u64,
            onnx_sha256: sha256(b"onnx"),
            precision: Precision::Fp32,
            flags: Vec::new(),
            tactic_sources_without: Vec::new(),
            options: EngineOptions::default(),
            profiles: vec![[1, 16, 32]],
            ranges: Vec::new(),
            fixed: false,
            build_milliseconds: 6000,
            candidates: Vec::new(),
            built: "2026-01-01T00:00:00Z".to_owned(),
            environment: environment(),
        }
    }

    #[test]
    fn metadata_reads_back_and_guards_its_engine() {
        let folder = tempfile::tempdir().unwrap();
        let engine = folder.path().join("deep/model.engine");
        let metadata = metadata(b"engine bytes");
        metadata.write_beside(&engine).unwrap();
        let read = EngineMetadata::beside(&engine).unwrap().unwrap();
        assert_eq!(read, metadata);
        read.check_bytes(&engine, b"engine bytes").unwrap();
        assert!(read.check_bytes(&engine, b"engine").unwrap_err().message.contains("truncated: 6 of 12 bytes"));
        assert!(read.check_bytes(&engine, b"engine bytez").unwrap_err().message.contains("is not the engine"));
        assert_eq!(EngineMetadata::beside(&folder.path().join("other")).unwrap(), None);
    }

    #[test]
    fn damaged_metadata_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let engine = folder.path().join("model.engine");
        std::fs::write(metadata_path(&engine), "{").unwrap();
        assert!(EngineMetadata::beside(&engine).is_err());
    }

    #[test]
    fn another_version_or_gpu_is_a_difference() {
        let here = environment();
        assert_eq!(here.difference(&here), None);
        let newer = Environment { runtime: RuntimeId::versioned(Library::Tensorrt, "8.6.1"), ..here.clone() };
        assert_eq!(here.difference(&newer).unwrap(), "it belongs to `tensorrt@8.5.3`, this is `tensorrt@8.6.1`");
        let elsewhere = Environment { gpu: Some("NVIDIA A100".to_owned()), ..here.clone() };
        assert!(here.difference(&elsewhere).unwrap().contains("NVIDIA A100"));
        // Engines that were built without a GPU belong to none.
        let portable = Environment { gpu: None, ..here.clone() };
        assert_eq!(portable.difference(&here), None);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("occupied");
        std::fs::create_dir(&target).unwrap();
        assert!(write_whole(&target, b"x").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
