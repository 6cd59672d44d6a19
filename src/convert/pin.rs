//! The model as it is gated: read once, whole, into the store, and used from there alone. What is written to the model's
//! own files afterwards changes nothing, and the digest in the report is that of the bytes that ran.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::convert::store::{Key, Store, create_directory};
use crate::digest::{digest_directory, digest_file, digest_of_files, files_under, open_plain};
use crate::error::{Error, Result};
use crate::manifest::ModelSource;
use crate::onnx::external::{self, Piece};

/// Kind of the store's entries.
const ENTRY: &str = "model";
/// Kind of the entries of files that were carried here.
const CARRIED: &str = "carried";
/// The files of an entry, and the folder of one.
const FILE: &str = "model.onnx";
const TFLITE: &str = "model.tflite";
const FOLDER: &str = "saved-model";
/// Bytes of the largest ONNX file: protobuf holds no more in one message.
const LARGEST: u64 = i32::MAX as u64;

/// A model that was read and digested.
pub struct Reading {
    source: ModelSource,
    sha256: String,
    /// Of a file: its bytes, and the parts of the one file that they and the values beside them make.
    file: Option<(Vec<u8>, Vec<Piece>)>,
}

impl Reading {
    /// Reads the model. Its digest is that of an ONNX file's bytes, with the values that it keeps in other files put back into
    /// it, or that of a SavedModel's folder ([`digest_directory`]).
    ///
    /// # Errors
    /// `Input` if it is not there, is no plain file or folder of such, is larger than its format holds, or keeps values where
    /// they are not taken from: outside of its folder, in no plain file.
    pub fn of(source: &ModelSource) -> Result<Self> {
        let path = source.path();
        if matches!(source, ModelSource::SavedModel { .. }) {
            return Ok(Self { source: source.clone(), sha256: digest_directory(path)?, file: None });
        }
        let bytes = read(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let whole = vec![Piece::Own(0..bytes.len())];
        let pieces = match source {
            ModelSource::Onnx { .. } => external::pieces(&bytes, folder)?.unwrap_or(whole),
            // A TFLite file holds its values itself.
            _ => whole,
        };
        fits(path, external::length(&pieces))?;
        let mut hasher = Sha256::new();
        external::stream(&bytes, &pieces, &mut |part| {
            hasher.update(part);
            Ok(())
        })?;
        let sha256 = hex::encode(hasher.finalize());
        Ok(Self { source: source.clone(), sha256, file: Some((bytes, pieces)) })
    }

    /// The digest, as `[model] sha256` in the manifest holds it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The one file that an ONNX model becomes; for `fuzzing`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        if let Some((bytes, pieces)) = &self.file {
            let written = external::stream(bytes, pieces, &mut |part| {
                whole.extend_from_slice(part);
                Ok(())
            });
            assert!(written.is_ok(), "what was read once does not read again");
        }
        whole
    }

    /// Keeps the model in `store`, if it is not there yet; the source that is used from then on.
    ///
    /// # Errors
    /// `Input` if the model is another by now, and those of the store.
    pub fn keep(&self, store: &Store) -> Result<ModelSource> {
        let (form, name) = match &self.source {
            ModelSource::SavedModel { .. } => ("saved-model", FOLDER),
            ModelSource::Onnx { .. } => ("onnx", FILE),
            ModelSource::Tflite { .. } => ("tflite", TFLITE),
        };
        let key = Key::new(ENTRY).with("form", form).with("sha256", &self.sha256);
        let entry = store.get_or_make(&key, |staging| self.copy(&staging.join(name)))?;
        // The entry's files were held to its record: the record is held to the digest.
        let sha256 = match &self.file {
            Some(_) => entry.file(name)?.1.sha256.clone(),
            None => digest_of_files(entry.files.iter().map(|(name, record)| {
                (name.strip_prefix(FOLDER).and_then(|name| name.strip_prefix('/')).unwrap_or(name), &*record.sha256)
            })),
        };
        if sha256 != self.sha256 {
            return Err(Error::machine(format!("the copy in `{}` is of another model", entry.directory.display()))
                .hint("remove that folder, and run it again"));
        }
        let path = entry.directory.join(name);
        Ok(match &self.source {
            ModelSource::SavedModel { signature, .. } => ModelSource::SavedModel { path, signature: signature.clone() },
            ModelSource::Onnx { .. } => ModelSource::Onnx { path },
            ModelSource::Tflite { .. } => ModelSource::Tflite { path },
        })
    }

    fn copy(&self, target: &Path) -> Result<()> {
        let sha256 = match &self.file {
            Some((bytes, pieces)) => write(bytes, pieces, target)?,
            None => {
                copy_folder(self.source.path(), target)?;
                digest_directory(target)?
            }
        };
        if sha256 == self.sha256 {
            return Ok(());
        }
        Err(Error::input(format!("the model `{}` changed while it was read", self.source.path().display()))
            .hint("run it again when nothing writes to it"))
    }
}

/// `error` with the model's own name wherever it names the copy in the store.
pub fn named_as(named: &ModelSource, kept: &ModelSource, error: Error) -> Error {
    renamed(kept.path(), named.path(), error)
}

/// `error` with `named` wherever it names `kept`.
pub fn renamed(kept: &Path, named: &Path, mut error: Error) -> Error {
    let (from, to) = (kept.display().to_string(), named.display().to_string());
    let texts = [Some(&mut error.message), error.hint.as_mut(), error.excerpt.as_mut()];
    for text in texts.into_iter().flatten().chain(&mut error.causes) {
        *text = text.replace(&from, &to);
    }
    error
}

/// Keeps a file that was carried here, or a folder of such, in `store` under the digest that a list gives it; the copy that is used
/// from then on.
///
/// # Errors
/// `Input` if it is not what the list says while it is copied, and those of the store.
pub(super) fn keep_carried(store: &Store, path: &Path, sha256: &str) -> Result<PathBuf> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("bin");
    let (is_folder, name) = (path.is_dir(), format!("carried.{ending}"));
    let key = Key::new(CARRIED).with("name", &name).with("sha256", sha256);
    let entry = store.get_or_make(&key, |staging| {
        let copy = staging.join(&name);
        let found = if is_folder {
            copy_folder(path, &copy)?;
            digest_directory(&copy)?
        } else {
            copy_file(path, &copy)?;
            digest_file(&copy)?
        };
        if found == sha256 {
            return Ok(());
        }
        Err(Error::input(format!("`{}` changed while it was read", path.display()))
            .hint("run it again when nothing writes to it"))
    })?;
    Ok(entry.directory.join(name))
}

fn fits(path: &Path, bytes: u64) -> Result<()> {
    if bytes <= LARGEST {
        return Ok(());
    }
    Err(Error::input(format!("`{}` takes {bytes} bytes with all its values", path.display()))
        .cause("an ONNX model of 2 GiB or more cannot be one file, and is not gated"))
}

/// An ONNX file's own bytes.
fn read(path: &Path) -> Result<Vec<u8>> {
    let (file, size) = open_plain(path)?;
    fits(path, size)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::io("read", path, error))?;
    fits(path, bytes.len() as u64)?;
    Ok(bytes)
}

/// Writes the one file, and returns the digest of what was written.
fn write(bytes: &[u8], pieces: &[Piece], target: &Path) -> Result<String> {
    let failed = |error| Error::io("write", target, error);
    let mut file = File::create_new(target).map_err(failed)?;
    let mut hasher = Sha256::new();
    external::stream(bytes, pieces, &mut |part| {
        hasher.update(part);
        file.write_all(part).map_err(failed)
    })?;
    Ok(hex::encode(hasher.finalize()))
}

/// Copies every file under `source`, what links lead to included. Where the file system can, the copy shares its blocks.
fn copy_folder(source: &Path, target: &Path) -> Result<()> {
    create_directory(target)?;
    for (name, path) in files_under(source)? {
        let copy: PathBuf = target.join(&name);
        if let Some(parent) = copy.parent() {
            create_directory(parent)?;
        }
        copy_file(&path, &copy)?;
    }
    Ok(())
}

fn copy_file(source: &Path, target: &Path) -> Result<()> {
    let (mut from, _) = open_plain(source)?;
    let mut to = File::create_new(target).map_err(|error| Error::io("write", target, error))?;
    std::io::copy(&mut from, &mut to).map_err(|error| Error::io("write", target, error))?;
    Ok(())
}

#[cfg(test)]
mod tests;
