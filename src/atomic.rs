//! Files that are there whole or not at all.
//!
//! The bytes go to a file that has no name yet (`O_TMPFILE`), so that a killed process leaves nothing behind. On
//! [`AtomicFile::commit`] they are synced and the file gets its name in one step. Where the file system has no unnamed
//! files, a named temporary file stands in; an error still removes it, a kill does not.
//!
//! Whoever writes a file holds a lock on it, which ends with its process: what has a temporary name and no lock is nobody's, and
//! the next who writes there removes it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use tempfile::TempPath;

use crate::error::{Error, Result};

/// How names of files end that are on their way to their place.
const SUFFIX: &str = ".tmp";
/// Characters of their random part.
const RANDOM: usize = 6;
/// How names of files begin where the file system has no unnamed ones.
const NAMED: &str = ".trtgate-";
/// Seconds after which such a name is nobody's any more, where the file system has no locks.
const STALE: i64 = 2;

/// A file under construction. Dropped without [`commit`](Self::commit), it never existed.
#[derive(Debug)]
pub struct AtomicFile {
    writer: BufWriter<File>,
    /// The temporary name, where the file system needs one.
    temporary: Option<TempPath>,
    path: PathBuf,
}

impl AtomicFile {
    /// Starts a file that will appear at `path`; its folder must exist.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = folder_of(path);
        // A name in place of a device or a pipe would break what else uses it.
        if path.file_name().is_none() || path.metadata().is_ok_and(|found| !found.is_file()) {
            return Err(Error::usage(format!("`{}` is not a plain file", path.display())).hint("name a new file"));
        }
        let (file, temporary) = match open_unnamed(folder) {
            Ok(file) => (file, None),
            Err(_) => {
                sweep(folder, OsStr::new(NAMED));
                let named = tempfile::Builder::new()
                    .prefix(NAMED)
                    .suffix(SUFFIX)
                    .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
                    .tempfile_in(folder)
                    .map_err(|error| Error::io("create a file in", folder, error))?;
                let (file, temporary) = named.into_parts();
                (file, Some(temporary))
            }
        };
        // Where the file system has no locks, its age tells whether it is somebody's.
        let _ = file.try_lock();
        Ok(Self { writer: BufWriter::with_capacity(1 << 16, file), temporary, path: path.to_owned() })
    }

    /// Where the file will appear.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the first bytes, for headers that are known only at the end.
    pub fn overwrite_start(&mut self, bytes: &[u8]) -> Result<()> {
        let rewrite = |writer: &mut BufWriter<File>| {
            writer.seek(SeekFrom::Start(0))?;
            writer.write_all(bytes)?;
            writer.seek(SeekFrom::End(0)).map(drop)
        };
        rewrite(&mut self.writer).map_err(|error| Error::io("write", &self.path, error))
    }

    /// Writes `bytes`; like `Write::write_all`, with the crate's error.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(|error| Error::io("write", &self.path, error))
    }

    /// Syncs the bytes to disk and gives the file its name, replacing what had it before.
    pub fn commit(self) -> Result<()> {
        let Self { writer, temporary, path } = self;
        let write_error = |error| Error::io("write", &path, error);
        let file = writer.into_inner().map_err(|error| write_error(error.into_error()))?;
        file.sync_all().map_err(write_error)?;
        match temporary {
            Some(temporary) => temporary.persist(&path).map_err(|error| write_error(error.error))?,
            None => name_unnamed(&file, &path).map_err(write_error)?,
        }
        sync_folder(folder_of(&path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes `bytes` to `path`, whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.put(bytes)?;
    file.commit()
}

/// Makes a rename or a new name in `folder` durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Error::io("sync", folder, error))
}

/// The folder that holds `path`; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn open_unnamed(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(open(folder, flags, Mode::from_raw_mode(0o666))?);
    // Without /proc the file could not be named later.
    if Path::new(&descriptor_path(&file)).exists() { Ok(file) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn descriptor_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn name_unnamed(file: &File, path: &Path) -> io::Result<()> {
    let source = descriptor_path(file);
    let link = |target: &Path| linkat(CWD, source.as_str(), CWD, target, AtFlags::SYMLINK_FOLLOW);
    match link(path) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // Linking never replaces, renaming does: take a free name first.
    let folder = folder_of(path);
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    sweep(folder, &prefix);
    let named = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(SUFFIX)
        .make_in(folder, |candidate| link(candidate).map_err(io::Error::from))?;
    named.into_temp_path().persist(path).map_err(|error| error.error)
}

/// Removes what a process left that was killed between naming a file and putting it in its place.
fn sweep(folder: &Path, prefix: &OsStr) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        let ours = bytes.starts_with(prefix.as_encoded_bytes())
            && bytes.ends_with(SUFFIX.as_bytes())
            && bytes.len() == prefix.len() + RANDOM + SUFFIX.len();
        if ours && is_nobodys(&entry.path()) {
            // Whoever writes next tries again.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether the process that wrote the file at `path` has ended.
fn is_nobodys(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        // A name and its place follow each other at once.
        Err(TryLockError::Error(_)) => age(&file).is_some_and(|seconds| seconds > STALE),
    }
}

/// Seconds since a file was last changed or named.
fn age(file: &File) -> Option<i64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(i64::try_from(now).ok()? - file.metadata().ok()?.ctime())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn commit_creates_and_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.bin");
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["file.bin"]);
    }

    #[test]
    fn nothing_is_left_without_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.bin");
        let mut file = AtomicFile::create(&path).unwrap();
        file.put(&[0; 1 << 20]).unwrap();
        file.flush().unwrap();
        // Even a kill at this point would leave nothing: the file has no name.
        let during = names(folder.path());
        assert!(during.is_empty() || file.temporary.is_some(), "{during:?}");
        drop(file);
        assert!(names(folder.path()).is_empty());
    }

    /// What was left is removed by the next who writes there, however new it is; what somebody is about to put in its place is not.
    #[test]
    fn what_a_killed_process_left_is_swept_and_no_name_stands_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.bin");
        write(&path, b"first").unwrap();
        for name in [".file.bin.1-0.tmp", ".file.bin.abcdef.tmp", ".other.bin.abcdef.tmp", ".file.bin.notes.tmp2"] {
            std::fs::write(folder.path().join(name), b"left").unwrap();
        }
        let beside = folder.path().join(".file.bin.living.tmp");
        let living = AtomicFile::create(&beside).unwrap();
        let held = name_unnamed(living.writer.get_ref(), &beside).is_ok();
        write(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        let others = [".file.bin.1-0.tmp", ".file.bin.notes.tmp2", ".other.bin.abcdef.tmp", "file.bin"];
        let mut expected = others.to_vec();
        expected.extend(held.then_some(".file.bin.living.tmp"));
        expected.sort_unstable();
        assert_eq!(names(folder.path()), expected);
        // Its owner has ended.
        drop(living);
        write(&path, b"third").unwrap();
        assert_eq!(names(folder.path()), others);
    }

    #[test]
    fn a_file_is_as_old_as_its_last_change() {
        let file = tempfile::tempfile().unwrap();
        assert!((0..=5).contains(&age(&file).unwrap()));
    }

    #[test]
    fn start_can_be_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.bin");
        let mut file = AtomicFile::create(&path).unwrap();
        file.put(b"????body").unwrap();
        file.overwrite_start(b"head").unwrap();
        file.put(b"tail").unwrap();
        file.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"headbodytail");
    }

    #[test]
    fn only_plain_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null"), Path::new("/")] {
            let error = AtomicFile::create(path).unwrap_err();
            assert!(error.message.ends_with("is not a plain file"), "{error}");
        }
    }

    #[test]
    fn missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("no/file"), b"").unwrap_err();
        assert!(error.message.contains("cannot create a file in"), "{error}");
    }
}
