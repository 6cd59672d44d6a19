//! SHA-256 of files and folders, streamed.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files;

/// SHA-256 of `bytes`, lower-case hexadecimal.
pub fn digest_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// SHA-256 of a file's content, lower-case hexadecimal; reads it in pieces.
pub fn digest_file(path: &Path) -> Result<String> {
    let mut file = files::plain(path).map_err(|error| Error::io("read", path, error))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 18];
    loop {
        let length = file.read(&mut buffer).map_err(|error| Error::io("read", path, error))?;
        let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else { break };
        hasher.update(piece);
    }
    Ok(hex::encode(hasher.finalize()))
}

/// SHA-256 of a folder: over `path` + NUL + hexadecimal SHA-256 of the file + newline, for every regular file under it,
/// in the byte order of the relative paths (`/` between their parts). Names of empty folders, modes and times do not count.
pub fn digest_directory(path: &Path) -> Result<String> {
    let files = files_under(path)?;
    let digests = files.iter().map(|(_, file)| digest_file(file)).collect::<Result<Vec<_>>>()?;
    Ok(digest_of_files(files.iter().zip(&digests).map(|((name, _), digest)| (name.as_str(), digest.as_str()))))
}

/// The digest of a folder whose files, in order, have these relative paths and digests; see [`digest_directory`].
pub(crate) fn digest_of_files<'name>(files: impl Iterator<Item = (&'name str, &'name str)>) -> String {
    let mut hasher = Sha256::new();
    for (name, sha256) in files {
        hasher.update(name.as_bytes());
        hasher.update(b"\0");
        hasher.update(sha256.as_bytes());
        hasher.update(b"\n");
    }
    hex::encode(hasher.finalize())
}

/// Opens a plain file to read it; also its size. Never waits for a pipe.
///
/// # Errors
/// `Input` if it is not there, or is a folder, a pipe or a device.
pub(crate) fn open_plain(path: &Path) -> Result<(File, u64)> {
    let failed = |error| Error::io("read", path, error);
    let file = files::plain(path).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::IsADirectory => {
            Error::input(format!("`{}` is no plain file", path.display())).because(error)
        }
        _ => failed(error),
    })?;
    let size = file.metadata().map_err(failed)?.len();
    Ok((file, size))
}

/// Every regular file under `root`: its path relative to it with `/` between the parts, and its full path; sorted by
/// the former. Symbolic links are followed; anything that is neither file nor folder is an error.
pub(crate) fn files_under(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let mut pending = vec![(String::new(), root.to_path_buf())];
    while let Some((prefix, folder)) = pending.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| Error::io("list", &folder, error))?;
        for entry in entries {
            let path = entry.map_err(|error| Error::io("list", &folder, error))?.path();
            let name = path
                .file_name()
                .and_then(std::ffi::OsStr::to_str)
                .ok_or_else(|| Error::input(format!("the name of `{}` is not UTF-8", path.display())))?;
            let relative = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let metadata = std::fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?;
            if metadata.is_dir() {
                pending.push((relative, path));
            } else if metadata.is_file() {
                files.push((relative, path));
            } else {
                return Err(Error::input(format!("`{}` is neither a file nor a folder", path.display())));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Digest of a folder or of a file, whichever `path` is.
///
/// # Errors
/// As [`digest_directory`] and [`digest_file`].
pub fn digest_path(path: &Path) -> Result<String> {
    if path.is_dir() { digest_directory(path) } else { digest_file(path) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_has_the_digest_that_sha256sum_prints() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest_file(&path).unwrap(), expected);
        assert_eq!(digest_bytes(b"abc"), expected);
    }

    #[test]
    fn a_folder_is_digested_in_the_order_of_its_relative_paths() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        std::fs::write(folder.path().join("a/z"), "1").unwrap();
        // `a.b` sorts before `a/z`, as `.` does before `/`.
        std::fs::write(folder.path().join("a.b"), "2").unwrap();
        let text = format!("a.b\0{}\na/z\0{}\n", digest_bytes(b"2"), digest_bytes(b"1"));
        assert_eq!(digest_directory(folder.path()).unwrap(), digest_bytes(text.as_bytes()));
    }

    #[test]
    fn a_renamed_or_changed_file_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, "1").unwrap();
        let first = digest_directory(folder.path()).unwrap();
        std::fs::write(&path, "2").unwrap();
        let second = digest_directory(folder.path()).unwrap();
        std::fs::rename(&path, folder.path().join("other")).unwrap();
        let third = digest_directory(folder.path()).unwrap();
        assert!(first != second && second != third && first != third);
    }

    #[test]
    fn a_missing_folder_is_an_input_error_that_names_it() {
        let error = digest_directory(Path::new("/nonexistent/model")).unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::Input);
        assert_eq!(error.message, "cannot list `/nonexistent/model`");
    }
}
