//! The official CIFAR-10 archive: fetch, verify, unpack, and check what was unpacked.
//!
//! Source of the address, the digest and the layout: <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use md5::{Digest, Md5};

use crate::atomic::{folder_of, sync_folder};
use crate::data::reader::Split;
use crate::data::record::{FOLDER, RecordLayout, RecordReader, TEST_FILE, TRAIN_FILES};
use crate::error::{Error, Result};
use crate::files;
use crate::process::{self, Command};

/// Where the official archive is.
pub const URL: &str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
/// MD5 of the official archive, in hexadecimal.
pub const MD5: &str = "c32a1d4ab5d03f1284b67883e8d87530";

/// Longest time for the download.
const LONGEST_DOWNLOAD: Duration = Duration::from_secs(3600);
/// Records of each file of the official folder.
const RECORDS_PER_FILE: u64 = 10_000;
/// Largest file that is unpacked; the official ones have 30,730,000 bytes.
const LARGEST_FILE: u64 = 64 << 20;

/// The record layout of CIFAR-10.
pub const LAYOUT: RecordLayout = RecordLayout { label_bytes: 1, height: 32, width: 32, channels: 3, classes: 10 };

/// Names of the classes, in order.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Downloads `url` with the `curl` program to a temporary file in `folder`; the file goes when the value is dropped.
/// With `progress`, curl shows its own on standard error.
pub fn download(url: &str, folder: &Path, progress: bool) -> Result<tempfile::TempPath> {
    let target = tempfile::Builder::new()
        .prefix(".trtgate-download-")
        .tempfile_in(folder)
        .map_err(|error| Error::io("create a file in", folder, error))?
        .into_temp_path();
    let silent = if progress { &["--progress-bar"][..] } else { &["--silent", "--show-error"] };
    let mut command = Command::new("curl")
        .args(["--fail", "--location", "--retry", "3", "--connect-timeout", "20"])
        .args(silent)
        .arg("--output")
        .arg(&target)
        .args(["--", url])
        .fetching();
    if progress {
        crate::console::note(&format!("$ {command}"));
        command = command.showing_errors();
    }
    let mut last = String::new();
    let outcome = process::run(&command, LONGEST_DOWNLOAD, &mut |_, line| line.clone_into(&mut last));
    let answer = outcome.map_err(|error| error.to_string()).and_then(|outcome| outcome.answer());
    answer.map_err(|how| {
        let mut error = Error::machine(format!("cannot download `{url}`")).cause(format!("`{command}` {how}"));
        error.causes.extend(Some(last).filter(|last| !last.is_empty()));
        error.hint("download it another way and give the file with `--archive`")
    })?;
    Ok(target)
}

/// Checks the MD5 of the file at `path`.
pub fn verify_digest(path: &Path, expected: &str) -> Result<()> {
    let read = |error| Error::io("read", path, error);
    let mut file = files::plain(path).map_err(read)?;
    let mut digest = Md5::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).map_err(read)?;
        match buffer.get(..count) {
            Some(bytes) if count > 0 => digest.update(bytes),
            _ => break,
        }
    }
    let found = hex::encode(digest.finalize());
    if found == expected {
        return Ok(());
    }
    Err(Error::input(format!("`{}` has MD5 `{found}`, expected `{expected}`", path.display()))
        .hint("the file is damaged or is not `cifar-10-binary.tar.gz`; download it again"))
}

/// Unpacks the archive (a gzipped tar file of plain files) so that `folder/cifar-10-batches-bin`
/// appears, whole or not at all; returns that path.
///
/// Entries that leave the folder, links and anything else that is not a plain file are refused.
pub fn unpack(archive: &Path, folder: &Path) -> Result<PathBuf> {
    let target = folder.join(FOLDER);
    if target.exists() {
        return Err(Error::usage(format!("`{}` is already there", target.display()))
            .hint("check it with `trtgate data verify`, or remove it"));
    }
    let file = files::plain(archive).map_err(|error| Error::io("read", archive, error))?;
    let staging = tempfile::Builder::new()
        .prefix(".trtgate-unpack-")
        .tempdir_in(folder)
        .map_err(|error| Error::io("create a folder in", folder, error))?;
    let unreadable = |error: io::Error| {
        Error::input(format!("cannot unpack `{}`", archive.display()))
            .because(error)
            .hint("the archive is truncated or is not a gzipped tar file")
    };
    let mut found = 0;
    let mut contents = tar::Archive::new(GzDecoder::new(file));
    for entry in contents.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let path = entry.path().map_err(unreadable)?.into_owned();
        let kind = entry.header().entry_type();
        let size = entry.size();
        let refused = |why: &str| {
            let (archive, path) = (archive.display(), path.display());
            Err(Error::input(format!("`{archive}` holds `{path}`, which {why}")))
        };
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return refused("leaves the folder it is unpacked to");
        }
        if kind.is_dir() || matches!(kind, tar::EntryType::XGlobalHeader | tar::EntryType::XHeader) {
            continue;
        }
        if !kind.is_file() {
            return refused("is not a plain file");
        }
        if size > LARGEST_FILE {
            return refused("is larger than any file of CIFAR-10");
        }
        // Files are kept by their bare names: the archive has one folder.
        let Some(name) = path.file_name() else { return refused("has no name") };
        let place = staging.path().join(name);
        let mut output = File::create_new(&place).map_err(|error| Error::io("create", &place, error))?;
        let copied = io::copy(&mut entry, &mut output).map_err(unreadable)?;
        if copied != size {
            return refused("is truncated");
        }
        output.sync_all().map_err(|error| Error::io("write", &place, error))?;
        found += 1;
    }
    // The checksum stands behind the end of the tar file.
    io::copy(&mut contents.into_inner(), &mut io::sink()).map_err(unreadable)?;
    if found == 0 {
        return Err(Error::input(format!("`{}` holds no files", archive.display())));
    }
    let staged = staging.keep();
    let publish = || {
        std::fs::set_permissions(&staged, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        sync_folder(&staged).map_err(io::Error::other)?;
        std::fs::rename(&staged, &target)
    };
    publish().map_err(|error| {
        // The rename's error is the one to report.
        let _ = std::fs::remove_dir_all(&staged);
        Error::io("create", &target, error)
    })?;
    sync_folder(folder_of(&target))?;
    Ok(target)
}

/// What a folder of CIFAR-10 holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderReport {
    /// Training images of each class.
    pub train: [usize; 10],
    /// Test images of each class.
    pub test: [usize; 10],
}

/// Reads every record of the official folder (or the folder that holds it) and counts the classes. The official sets
/// hold 5000 training and 1000 test images of each class; anything else is an error.
pub fn verify_folder(folder: &Path) -> Result<FolderReport> {
    verify_folder_of(folder, RECORDS_PER_FILE)
}

fn verify_folder_of(folder: &Path, records_per_file: u64) -> Result<FolderReport> {
    let count = |split: Split, files: u64| -> Result<[usize; 10]> {
        let mut reader = RecordReader::open(folder, LAYOUT, split)?;
        let (total, expected) = (reader.total(), files * records_per_file);
        if total != expected {
            return Err(Error::input(format!("`{}` holds {total} records, expected {expected}", folder.display())));
        }
        let mut counts = [0; 10];
        while let Some((label, _)) = reader.next_record()? {
            if let Some(count) = counts.get_mut(label as usize) {
                *count += 1;
            }
        }
        let each = (expected / 10) as usize;
        match counts.iter().zip(CLASSES).find(|(count, _)| **count != each) {
            None => Ok(counts),
            Some((found, class)) => Err(Error::input(format!(
                "`{}` holds {found} images of class `{class}`, the official set has {each}",
                folder.display()
            ))),
        }
    };
    Ok(FolderReport { train: count(Split::Train, TRAIN_FILES.len() as u64)?, test: count(Split::Test, 1)? })
}

/// Whether `folder` looks like the official folder or holds it.
pub fn is_folder(folder: &Path) -> bool {
    [folder.join(TEST_FILE), folder.join(FOLDER).join(TEST_FILE)].iter().any(|file| file.is_file())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use rstest::rstest;

    use super::*;

    /// A gzipped tar file of these entries; names are written as they are, checks skipped.
    fn archive(folder: &Path, entries: &[(&str, tar::EntryType, &[u8])]) -> PathBuf {
        let path = folder.join("archive.tar.gz");
        let mut builder = tar::Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        for (name, kind, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(data.len() as u64);
            if kind.is_symlink() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *data).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        path
    }

    /// Files of a folder with `each` records of every class.
    fn files(each: usize) -> Vec<(String, Vec<u8>)> {
        let data: Vec<u8> = (0..10u8)
            .flat_map(|label| std::iter::repeat_n(label, each))
            .flat_map(|label| std::iter::once(label).chain(std::iter::repeat_n(0, 3072)))
            .collect();
        TRAIN_FILES.into_iter().chain([TEST_FILE]).map(|name| (format!("{FOLDER}/{name}"), data.clone())).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn archive_becomes_a_verified_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (files, out) = (files(2), tempfile::tempdir().unwrap());
        let mut entries: Vec<(&str, tar::EntryType, &[u8])> =
            vec![("cifar-10-batches-bin/", tar::EntryType::Directory, b"")];
        entries.extend(files.iter().map(|(name, data)| (name.as_str(), tar::EntryType::Regular, data.as_slice())));
        let archive = archive(folder.path(), &entries);
        let target = unpack(&archive, out.path()).unwrap();
        assert_eq!(names(out.path()), [FOLDER]);
        for place in [out.path(), &target] {
            assert!(is_folder(place));
            let report = verify_folder_of(place, 20).unwrap();
            assert_eq!((report.train, report.test), ([10; 10], [2; 10]));
        }
        assert!(verify_folder(&target).unwrap_err().message.contains("holds 100 records, expected 50000"));
        assert!(unpack(&archive, out.path()).unwrap_err().message.ends_with("is already there"));

        let file = target.join(TEST_FILE);
        let mut data = std::fs::read(&file).unwrap();
        data[0] = 1;
        std::fs::write(&file, &data).unwrap();
        let error = verify_folder_of(&target, 20).unwrap_err();
        assert!(error.message.contains("1 images of class `airplane`, the official set has 2"), "{error}");
    }

    #[rstest]
    #[case::parent("../evil.bin", tar::EntryType::Regular, "leaves the folder")]
    #[case::deep_parent("a/../../evil.bin", tar::EntryType::Regular, "leaves the folder")]
    #[case::absolute("/tmp/evil.bin", tar::EntryType::Regular, "leaves the folder")]
    #[case::link("data/link.bin", tar::EntryType::Symlink, "is not a plain file")]
    #[case::device("data/null", tar::EntryType::Char, "is not a plain file")]
    fn dangerous_entries_are_refused(#[case] name: &str, #[case] kind: tar::EntryType, #[case] expected: &str) {
        let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data: &[u8] = if kind.is_file() { b"data" } else { b"" };
        let archive = archive(folder.path(), &[("data/first.bin", tar::EntryType::Regular, b"1"), (name, kind, data)]);
        let error = unpack(&archive, out.path()).unwrap_err();
        assert!(error.message.contains(name) && error.message.contains(expected), "{error}");
        assert!(names(out.path()).is_empty());
        assert!(!folder.path().join("evil.bin").exists());
    }

    #[test]
    fn truncated_archives_leave_nothing() {
        let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data: Vec<u8> = (0..100_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let path = archive(folder.path(), &[("data/a.bin", tar::EntryType::Regular, &data)]);
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 10, bytes.len() / 2, bytes.len() - 9] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(unpack(&path, out.path()).is_err(), "{length} bytes");
            assert!(names(out.path()).is_empty());
        }
    }

    #[test]
    fn digest_mismatch_names_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.tar.gz");
        std::fs::write(&path, b"abc").unwrap();
        // RFC 1321, appendix A.5.
        verify_digest(&path, "900150983cd24fb0d6963f7d28e17f72").unwrap();
        let error = verify_digest(&path, MD5).unwrap_err();
        assert!(error.message.contains("900150983cd24fb0d6963f7d28e17f72") && error.message.contains(MD5), "{error}");
    }

    #[test]
    fn download_reports_what_failed_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let missing = format!("file://{}/missing", folder.path().display());
        let error = download(&missing, folder.path(), false).unwrap_err();
        assert!(error.message.contains("missing") && error.hint.unwrap().contains("--archive"));
        assert!(names(folder.path()).is_empty());
    }
}
