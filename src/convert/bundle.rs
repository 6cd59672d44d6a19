//! Artifacts in a folder of their own, to be carried to a machine that converts nothing: `trtgate export --output`
//! writes one, `--artifacts` reads it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Artifact;
use super::artifact::bytes_at;
use super::pin;
use super::store::Store;
use crate::atomic;
use crate::check::scales::ScaleProof;
use crate::data::probes::ProbeSet;
use crate::digest::{digest_file, digest_path};
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::Calibration;
use crate::onnx;
use crate::vocabulary::ArtifactKind;

/// The list's file name.
pub const LIST: &str = "artifacts.json";
/// The schema's name.
const SCHEMA: &str = "trtgate.artifacts/v1";

/// What a bundle holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bundle {
    schema: String,
    /// Name of the model.
    pub model: String,
    /// Digest of the source model.
    pub model_sha256: String,
    artifacts: Vec<Entry>,
    /// Calibration samples, where they were made.
    calibration: Option<Entry>,
    /// Probes, where they were made from the model and no file of the project holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probes: Option<Entry>,
    /// The reference's leads on natural samples, where it could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    natural: Option<Entry>,
    /// What was found of the scales of quantised artifacts, by their digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    scales: BTreeMap<String, CarriedScales>,
    /// How the INT8 artifacts were calibrated, see [`Calibration::description`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calibrated_by: Option<String>,
    #[serde(skip)]
    folder: PathBuf,
    /// Where its files are kept once they were held to the list; used where they lie if absent.
    #[serde(skip)]
    store: Option<Store>,
    /// Its files by their copies there.
    #[serde(skip)]
    copies: Arc<Mutex<BTreeMap<PathBuf, PathBuf>>>,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    kind: Option<ArtifactKind>,
    batch: Option<u32>,
    file: String,
    sha256: String,
    bytes: u64,
}

/// What a version of trtgate found of an artifact's scales.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CarriedScales {
    trtgate: String,
    proof: ScaleProof,
}

/// What goes with the artifacts, so that a machine without the reference needs nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// Calibration samples, an npy file, or an archive of those of several inputs.
    pub calibration: Option<&'a Path>,
    /// Probes that no file of the project holds.
    pub probes: Option<&'a ProbeSet>,
    /// The reference's leads on natural samples, as their file holds them.
    pub natural: Option<&'a [u8]>,
    /// What was found of the scales of quantised artifacts, with the artifact's digest.
    pub scales: &'a [(String, ScaleProof)],
}

impl Bundle {
    /// Copies `artifacts` (with the batch of static ones) and the samples `beside` them into `folder`, the list last.
    ///
    /// # Errors
    /// If a file cannot be copied; the list is not written then.
    pub fn write(
        folder: &Path,
        model: &str,
        model_sha256: &str,
        artifacts: &[(Option<u32>, Artifact)],
        beside: &Beside<'_>,
        calibrated_by: &Calibration,
    ) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
        let mut entries = Vec::new();
        for (batch, artifact) in artifacts {
            if artifact.kind == ArtifactKind::SavedModel {
                continue;
            }
            let ending = if artifact.kind.is_tflite() { "tflite" } else { "onnx" };
            let file = match batch {
                Some(batch) => format!("{model}.{}.batch-{batch}.{ending}", artifact.kind),
                None => format!("{model}.{}.{ending}", artifact.kind),
            };
            copy(&artifact.path, &folder.join(&file))?;
            entries.push(Entry {
                kind: Some(artifact.kind),
                batch: *batch,
                file,
                sha256: artifact.sha256.clone(),
                bytes: artifact.bytes,
            });
        }
        let listed = |file: String| -> Result<Entry> {
            let path = folder.join(&file);
            let bytes = fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?.len();
            Ok(Entry { kind: None, batch: None, file, sha256: digest_file(&path)?, bytes })
        };
        let calibration = match beside.calibration {
            None => None,
            Some(path) => {
                let ending = if path.extension().is_some_and(|ending| ending == "npz") { "npz" } else { "npy" };
                let file = format!("{model}.calibration.{ending}");
                copy(path, &folder.join(&file))?;
                Some(listed(file)?)
            }
        };
        let probes = match beside.probes {
            None => None,
            Some(probes) => {
                let file = format!("{model}.probes.npz");
                probes.save(&folder.join(&file))?;
                Some(listed(file)?)
            }
        };
        let natural = match beside.natural {
            None => None,
            Some(text) => {
                let file = format!("{model}.natural.json");
                atomic::write(&folder.join(&file), text)?;
                Some(listed(file)?)
            }
        };
        let bundle = Self {
            schema: SCHEMA.to_owned(),
            model: model.to_owned(),
            model_sha256: model_sha256.to_owned(),
            artifacts: entries,
            calibration,
            probes,
            natural,
            scales: beside
                .scales
                .iter()
                .map(|(sha256, proof)| {
                    let trtgate = env!("CARGO_PKG_VERSION").to_owned();
                    (sha256.clone(), CarriedScales { trtgate, proof: proof.clone() })
                })
                .collect(),
            calibrated_by: Some(calibrated_by.description()),
            folder: folder.to_owned(),
            store: None,
            copies: Arc::default(),
        };
        let mut text = serde_json::to_string_pretty(&bundle)
            .map_err(|error| Error::machine("cannot write the list of artifacts").because(error))?;
        text.push('\n');
        atomic::write(&folder.join(LIST), text.as_bytes())?;
        Ok(bundle)
    }

    /// Reads the list in `folder` and holds it to the model that is gated, and to how the manifest calibrates.
    ///
    /// # Errors
    /// If there is no list, it is of another schema, of another model, or calibrated otherwise.
    pub fn read(folder: &Path, model_sha256: Option<&str>, calibration: Option<&Calibration>) -> Result<Self> {
        let path = folder.join(LIST);
        let text = files::read_text(&path, files::MODEL).map_err(|error| {
            Error::io("read", &path, error).hint("`trtgate export --output DIR` writes a folder of artifacts")
        })?;
        let mut bundle: Self = serde_json::from_str(&text)
            .map_err(|error| Error::input(format!("`{}` is no list of artifacts", path.display())).because(error))?;
        if bundle.schema != SCHEMA {
            return Err(Error::input(format!("`{}` has schema `{}`", path.display(), bundle.schema))
                .hint(format!("this version of trtgate reads `{SCHEMA}`")));
        }
        if let Some(expected) = model_sha256.filter(|expected| *expected != bundle.model_sha256) {
            return Err(Error::input(format!("the artifacts in `{}` are of another model", folder.display()))
                .cause(format!("they come from {}, the manifest's model is {expected}", bundle.model_sha256))
                .hint("export them again with `trtgate export --output`"));
        }
        let wanted = calibration.map(Calibration::description);
        if let (Some(wanted), Some(found)) = (wanted, &bundle.calibrated_by)
            && wanted != *found
        {
            return Err(Error::input(format!("the artifacts in `{}` were calibrated otherwise", folder.display()))
                .cause(format!("they had {found}, the manifest's `[calibration]` says {wanted}"))
                .hint("export them again with `trtgate export --output`"));
        }
        let calibrated = |entry: &Entry| {
            matches!(entry.kind, Some(ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu | ArtifactKind::TfliteInt8))
        };
        if calibration.is_some() && bundle.calibrated_by.is_none() && bundle.artifacts.iter().any(calibrated) {
            return Err(Error::input(format!(
                "`{}` does not say how its INT8 artifacts were calibrated",
                folder.display()
            ))
            .hint("export them again with `trtgate export --output`"));
        }
        folder.clone_into(&mut bundle.folder);
        Ok(bundle)
    }

    /// Its files are copied into `store` once they were held to the list, and used from there alone: what is written to the
    /// folder afterwards changes nothing.
    #[must_use]
    pub fn kept_in(self, store: &Store) -> Self {
        Self { store: Some(store.clone()), ..self }
    }

    /// `error` with the names of its own files wherever it names their copies.
    pub fn with_its_names(&self, error: Error) -> Error {
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.iter().fold(error, |error, (copy, named)| pin::renamed(copy, named, error))
    }

    /// The artifact of `kind`, its bytes held to the list's digest.
    ///
    /// # Errors
    /// If it is not in the bundle, or differs from the list.
    pub fn artifact(&self, kind: ArtifactKind, batch: Option<u32>) -> Result<Artifact> {
        let listed = |kind| self.artifacts.iter().find(|entry| entry.kind == Some(kind) && entry.batch == batch);
        // A model that needs no other form has none.
        let entry = listed(kind).or_else(|| listed(ArtifactKind::OnnxFp32).filter(|_| kind == ArtifactKind::OnnxPlain));
        let kind = entry.and_then(|entry| entry.kind).unwrap_or(kind);
        let entry = entry.ok_or_else(|| {
            let batch = batch.map_or_else(String::new, |batch| format!(" of batch {batch}"));
            Error::input(format!("`{}` holds no `{kind}`{batch}", self.folder.display()))
                .hint("export it on the machine that converts, with `trtgate export --output`")
        })?;
        let path = self.verified(entry)?;
        let bytes = bytes_at(&path)?;
        if bytes != entry.bytes {
            return Err(Error::input(format!("`{}` differs from the list of artifacts", path.display()))
                .cause(format!("listed with {} bytes, found {bytes}", entry.bytes))
                .hint("export them again with `trtgate export --output`"));
        }
        let is_onnx = !kind.is_tflite() && !matches!(kind, ArtifactKind::SavedModel | ArtifactKind::Engine);
        if is_onnx && onnx::has_values_elsewhere(&path)? {
            return Err(Error::input(format!("`{}` keeps values in another file", path.display()))
                .cause("the list of artifacts does not cover that file")
                .hint("export them again with `trtgate export --output`"));
        }
        Ok(Artifact { kind, path, sha256: entry.sha256.clone(), bytes, build_seconds: 0.0, cached: true })
    }

    /// The calibration samples, where the bundle has them.
    ///
    /// # Errors
    /// If the file differs from the list.
    pub fn calibration(&self) -> Result<Option<PathBuf>> {
        self.calibration.as_ref().map(|entry| self.verified(entry)).transpose()
    }

    /// The probes, where the bundle has them.
    ///
    /// # Errors
    /// If the file differs from the list.
    pub fn probes(&self) -> Result<Option<PathBuf>> {
        self.probes.as_ref().map(|entry| self.verified(entry)).transpose()
    }

    /// What this version of trtgate found of the scales of an artifact where it was made.
    pub fn scales(&self, sha256: &str) -> Option<&ScaleProof> {
        let carried = self.scales.get(sha256)?;
        (carried.trtgate == env!("CARGO_PKG_VERSION")).then_some(&carried.proof)
    }

    /// The reference's leads on natural samples, where the bundle has them.
    ///
    /// # Errors
    /// If the file differs from the list.
    pub fn natural(&self) -> Result<Option<PathBuf>> {
        self.natural.as_ref().map(|entry| self.verified(entry)).transpose()
    }

    fn verified(&self, entry: &Entry) -> Result<PathBuf> {
        // A list from elsewhere names files of its own folder, nothing outside it.
        if Path::new(&entry.file).components().count() != 1 || entry.file == ".." {
            return Err(Error::input(format!("`{LIST}` names `{}`, which is not in its folder", entry.file)));
        }
        let path = self.folder.join(&entry.file);
        let real = |path: &Path| path.canonicalize().map_err(|error| Error::io("read", path, error));
        if !real(&path)?.starts_with(real(&self.folder)?) {
            return Err(Error::input(format!("`{}` is a link out of its folder", path.display()))
                .hint("copy the folder again, with what its links lead to"));
        }
        let found = digest_path(&path)?;
        if found != entry.sha256 {
            return Err(Error::input(format!("`{}` differs from the list of artifacts", path.display()))
                .cause(format!("listed {}, found {found}", entry.sha256))
                .hint("copy the folder again, or export it again"));
        }
        match &self.store {
            Some(store) => {
                let copy = pin::keep_carried(store, &path, &entry.sha256)?;
                self.copies.lock().unwrap_or_else(PoisonError::into_inner).insert(copy.clone(), path);
                Ok(copy)
            }
            None => Ok(path),
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = files::read(from, files::MODEL).map_err(|error| Error::io("read", from, error))?;
    atomic::write(to, &bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manifest::CalibrationMethod;

    #[test]
    fn a_link_out_of_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("bundle"), folder.path().join("samples.npy"));
        std::fs::write(&outside, "samples").unwrap();
        let calibration = Calibration { data: None, seed: 2, count: 512, method: CalibrationMethod::Percentile };
        let bundle = Bundle::write(
            &inside,
            "m",
            "abc",
            &[],
            &Beside { calibration: Some(&outside), ..Beside::default() },
            &calibration,
        )
        .unwrap();
        let file = bundle.calibration().unwrap().unwrap();
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&outside, &file).unwrap();
        assert!(bundle.calibration().unwrap_err().message.contains("a link out of its folder"));
    }

    #[test]
    fn what_is_written_to_the_folder_after_it_was_read_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().join("cache"))).unwrap();
        let path = folder.path().join("made.tflite");
        std::fs::write(&path, "listed").unwrap();
        let (kind, sha256) = (ArtifactKind::TfliteInt8, digest_file(&path).unwrap());
        let artifact = Artifact { kind, path, sha256: sha256.clone(), bytes: 6, build_seconds: 0.0, cached: true };
        let calibration = Calibration { data: None, seed: 2, count: 512, method: CalibrationMethod::Percentile };
        let inside = folder.path().join("bundle");
        let beside = Beside { calibration: Some(&artifact.path), ..Beside::default() };
        let bundle = Bundle::write(&inside, "m", "abc", &[(Some(8), artifact.clone())], &beside, &calibration).unwrap();
        let bundle = bundle.kept_in(&store);
        let (used, samples) = (bundle.artifact(kind, Some(8)).unwrap(), bundle.calibration().unwrap().unwrap());
        assert!(used.path.starts_with(store.root()) && samples.starts_with(store.root()));
        assert_eq!(used.path.extension().unwrap(), "tflite");
        let told = bundle.with_its_names(Error::failed(format!("cannot load `{}`", used.path.display())));
        assert_eq!(told.message, format!("cannot load `{}`", inside.join("m.tflite-int8.batch-8.tflite").display()));
        for file in std::fs::read_dir(&inside).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|ending| ending != "json") {
                std::fs::write(file, "others").unwrap();
            }
        }
        assert_eq!(digest_file(&used.path).unwrap(), sha256);
        assert_eq!(std::fs::read_to_string(&samples).unwrap(), "listed");
        // Asked for again, the folder is held to its list.
        assert!(bundle.artifact(kind, Some(8)).unwrap_err().message.contains("differs from the list"));
    }

    #[test]
    fn an_artifact_with_values_in_another_file_is_refused() {
        use prost::Message as _;
        let folder = tempfile::tempdir().unwrap();
        let calibration = Calibration { data: None, seed: 2, count: 512, method: CalibrationMethod::Percentile };
        let read = |data_location| {
            let tensor = onnx::TensorData { data_location, ..onnx::TensorData::default() };
            let attribute = onnx::Attribute { t: Some(Box::new(tensor)), ..onnx::Attribute::default() };
            let node = onnx::Node { attribute: vec![attribute], ..onnx::Node::default() };
            let graph = onnx::Graph { node: vec![node], ..onnx::Graph::default() };
            let bytes = onnx::Model { graph: Some(graph), ..onnx::Model::default() }.encode_to_vec();
            let path = folder.path().join("made.onnx");
            std::fs::write(&path, &bytes).unwrap();
            let (kind, sha256) = (ArtifactKind::OnnxFp16, digest_file(&path).unwrap());
            let artifact = Artifact { kind, path, sha256, bytes: bytes.len() as u64, build_seconds: 0.0, cached: true };
            let inside = folder.path().join("bundle");
            let bundle = Bundle::write(&inside, "m", "abc", &[(None, artifact)], &Beside::default(), &calibration);
            bundle.unwrap().artifact(kind, None)
        };
        assert!(read(0).is_ok());
        assert!(read(1).unwrap_err().message.contains("keeps values in another file"));
    }

    #[test]
    fn artifacts_of_another_model_or_calibration_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let calibration = Calibration { data: None, seed: 2, count: 512, method: CalibrationMethod::Percentile };
        Bundle::write(folder.path(), "m", "abc", &[], &Beside::default(), &calibration).unwrap();
        assert!(Bundle::read(folder.path(), Some("abc"), Some(&calibration)).is_ok());
        assert!(Bundle::read(folder.path(), Some("abd"), Some(&calibration)).is_err());
        for other in [
            Calibration { method: CalibrationMethod::Entropy, ..calibration.clone() },
            Calibration { seed: 3, ..calibration.clone() },
            Calibration { count: 1024, ..calibration.clone() },
            Calibration { data: Some("here".into()), ..calibration.clone() },
        ] {
            let error = Bundle::read(folder.path(), Some("abc"), Some(&other)).unwrap_err();
            assert!(error.to_string().contains("calibrated otherwise"), "{error}");
        }
        // A list that does not say how it was calibrated is read as before.
        let list = folder.path().join(LIST);
        let text = fs::read_to_string(&list).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value.as_object_mut().unwrap().remove("calibrated_by");
        fs::write(&list, value.to_string()).unwrap();
        assert!(Bundle::read(folder.path(), Some("abc"), Some(&calibration)).is_ok());
    }
}
