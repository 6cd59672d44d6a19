//! Whether an environment still is what was installed.
//!
//! | when | what is looked at |
//! |---|---|
//! | installed, or no list kept yet; `doctor --verify`; a library of it did not load | the SHA-256 of every file, held to the list, or to what each package's `RECORD` says |
//! | a conversion failed | size of every file, and the SHA-256 of those newer than the list |
//! | each use | size and time of the shared libraries and the `RECORD`s; the SHA-256 of one with another time |
//!
//! What Python compiles for itself (`*.pyc`) is not listed, and links are not: the interpreter is the machine's own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::MARKER;
use crate::atomic;
use crate::convert::store::FileRecord;
use crate::digest::digest_file;
use crate::files;

/// Size and SHA-256 of every file, by path relative to the environment's folder.
const LIST: &str = "files.json";

/// Size and time of those that are looked at on each use.
const STAMPS: &str = "stamps.json";

type List = BTreeMap<String, FileRecord>;
type Stamps = BTreeMap<String, Stamp>;

/// What tells cheaply that a file was written since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: i128,
}

impl Stamp {
    /// Whether a file of this size and time is that of `then`. Archives and layers of images keep whole seconds.
    fn fits(self, then: Self) -> bool {
        const SECOND: i128 = 1_000_000_000;
        let whole = then.modified - then.modified.rem_euclid(SECOND);
        self.bytes == then.bytes && [then.modified, whole].contains(&self.modified)
    }
}

/// What was held to its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Holds what is loaded from `directory` to its list by size and time; all of it where no list is kept yet.
///
/// # Errors
/// What is damaged, one sentence.
pub(super) fn quickly(directory: &Path, site_packages: &Path) -> Result<(), String> {
    let Ok(known) = read::<Stamps>(directory, STAMPS) else { return wholly(directory, site_packages).map(|_| ()) };
    let mut now = known.clone();
    let mut list = None;
    for (name, then) in &known {
        let stamp = stamp(directory, name)?;
        if stamp.fits(*then) {
            continue;
        }
        // A copy has other times and the same content.
        let list = match &mut list {
            Some(list) => list,
            None => list.insert(read::<List>(directory, LIST)?),
        };
        hold(directory, name, stamp, list.get(name).into_iter())?;
        now.insert(name.clone(), stamp);
    }
    if now != known {
        write(directory, STAMPS, &now);
    }
    Ok(())
}

/// Holds every file to its list by size, and by digest where it is newer than the list.
///
/// # Errors
/// What is damaged, one sentence.
pub(super) fn by_size(directory: &Path) -> Result<(), String> {
    let list = read::<List>(directory, LIST)?;
    let made = stamp(directory, LIST)?.modified;
    for (name, record) in &list {
        let stamp = stamp(directory, name)?;
        if stamp.bytes != record.bytes || stamp.modified > made {
            hold(directory, name, stamp, std::iter::once(record)).inspect_err(|_| forget(directory))?;
        }
    }
    Ok(())
}

/// Holds every file to its digest, and keeps the list and the times; where there is no list, each package's `RECORD` says what
/// its files were, and the others are listed as they are.
///
/// # Errors
/// What is damaged, one sentence.
pub(super) fn wholly(directory: &Path, site_packages: &Path) -> Result<Verified, String> {
    match examined(directory, site_packages) {
        Ok(found) => {
            let list: List = found.iter().map(|(name, (record, _))| (name.clone(), record.clone())).collect();
            if read::<List>(directory, LIST).as_ref() != Ok(&list) {
                write(directory, LIST, &list);
            }
            let loaded = found.iter().filter(|(name, _)| is_loaded(name));
            write(directory, STAMPS, &loaded.map(|(name, (_, stamp))| (name.clone(), *stamp)).collect::<Stamps>());
            Ok(Verified { files: list.len(), bytes: list.values().map(|record| record.bytes).sum() })
        }
        Err(damage) => {
            forget(directory);
            Err(damage)
        }
    }
}

/// Shared libraries, and what tells the packages' versions.
fn is_loaded(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.ends_with(".so") || file.contains(".so.") || file == "RECORD"
}

fn examined(directory: &Path, site_packages: &Path) -> Result<BTreeMap<String, (FileRecord, Stamp)>, String> {
    let expected: BTreeMap<String, Vec<FileRecord>> = match directory.join(LIST).exists() {
        true => read::<List>(directory, LIST)?.into_iter().map(|(name, record)| (name, vec![record])).collect(),
        false => recorded(directory, site_packages)?,
    };
    let expected: Vec<(String, Vec<FileRecord>)> = expected.into_iter().collect();
    let next = AtomicUsize::new(0);
    let (found, damages) = (Mutex::new(BTreeMap::new()), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).clamp(1, 4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, records)) = expected.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let held = stamp(directory, name)
                        .and_then(|stamp| Ok((hold(directory, name, stamp, records.iter())?, stamp)));
                    match held {
                        Ok(held) => {
                            found.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), held);
                        }
                        Err(damage) => {
                            damages.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), damage);
                        }
                    }
                }
            });
        }
    });
    let damages = damages.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (damages.values().next(), damages.len()) {
        (None, _) => Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner)),
        (Some(damage), 1) => Err(damage.clone()),
        (Some(damage), count) => Err(format!("{damage}, and {} more of its files", count - 1)),
    }
}

/// Holds a file to the first of `records` that fits; without any, it is taken as it is.
fn hold<'a>(
    directory: &Path,
    name: &str,
    stamp: Stamp,
    records: impl Iterator<Item = &'a FileRecord> + Clone,
) -> Result<FileRecord, String> {
    if let Some(first) = records.clone().next()
        && !records.clone().any(|record| record.bytes == stamp.bytes)
    {
        return Err(format!("`{name}` has {} bytes, not {}", stamp.bytes, first.bytes));
    }
    let sha256 = digest_file(&directory.join(name)).map_err(|error| format!("`{name}`: {error}"))?;
    let mut records = records.peekable();
    if records.peek().is_some() && !records.any(|record| record.sha256 == sha256) {
        return Err(format!("`{name}` has another content than was installed"));
    }
    Ok(FileRecord { sha256, bytes: stamp.bytes })
}

/// Every file under `directory` that is no link, with what the packages' `RECORD`s say of it. Two packages may bring one file.
fn recorded(directory: &Path, site_packages: &Path) -> Result<BTreeMap<String, Vec<FileRecord>>, String> {
    let mut files: BTreeMap<String, Vec<FileRecord>> = BTreeMap::new();
    let mut pending = vec![(String::new(), directory.to_path_buf())];
    while let Some((prefix, folder)) = pending.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("`{prefix}`: {error}"))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("`{prefix}`: {error}"))?;
            let kind = entry.file_type().map_err(|error| format!("`{prefix}`: {error}"))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let own = prefix.is_empty() && [MARKER, LIST, STAMPS].contains(&name.as_str());
            if own || name.ends_with(".pyc") {
                continue;
            }
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if kind.is_dir() {
                pending.push((name, entry.path()));
            } else if kind.is_file() {
                files.insert(name, Vec::new());
            }
        }
    }
    let Some(site) = site_packages.strip_prefix(directory).ok().and_then(Path::to_str) else { return Ok(files) };
    // Packages that another one brings within itself have paths of their own, and are in the other's.
    let of_package = |name: &str| {
        let below = name.strip_prefix(site).and_then(|below| below.strip_prefix('/'));
        below
            .and_then(|below| below.split_once('/'))
            .is_some_and(|(folder, file)| folder.ends_with(".dist-info") && file == "RECORD")
    };
    let of_packages: Vec<String> = files.keys().filter(|name| of_package(name)).cloned().collect();
    for record in of_packages {
        let text =
            files::read_text(&directory.join(&record), files::TEXT).map_err(|error| format!("`{record}`: {error}"))?;
        for (name, record) in text.lines().filter_map(of_line) {
            files.entry(format!("{site}/{name}")).or_default().push(record);
        }
    }
    Ok(files)
}

/// A line of a `RECORD`: `path,sha256=BASE64URL,bytes`. Files outside of the packages' folder are scripts, which installing
/// rewrites; a `RECORD` has no digest of itself.
fn of_line(line: &str) -> Option<(String, FileRecord)> {
    let mut parts = line.rsplitn(3, ',');
    let (bytes, digest, name) = (parts.next()?, parts.next()?, parts.next()?);
    let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_owned(),
    };
    if name.starts_with("..") || name.starts_with('/') || name.ends_with(".pyc") {
        return None;
    }
    let sha256 = hexadecimal(digest.strip_prefix("sha256=")?)?;
    Some((name, FileRecord { sha256, bytes: bytes.trim().parse().ok()? }))
}

/// The hexadecimal form of base64 in its alphabet for addresses, without padding.
fn hexadecimal(base64: &str) -> Option<String> {
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(32), 0_u32, 0_u32);
    for letter in base64.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            b'=' => break,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xfff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    (bytes.len() == 32).then(|| hex::encode(bytes))
}

fn stamp(directory: &Path, name: &str) -> Result<Stamp, String> {
    let metadata = std::fs::metadata(directory.join(name)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("`{name}` is gone"),
        _ => format!("`{name}`: {error}"),
    })?;
    if !metadata.is_file() {
        return Err(format!("`{name}` is no file"));
    }
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let nanoseconds = |duration: std::time::Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    let modified = match modified.duration_since(UNIX_EPOCH) {
        Ok(since) => nanoseconds(since),
        Err(before) => -nanoseconds(before.duration()),
    };
    Ok(Stamp { bytes: metadata.len(), modified })
}

fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> Result<T, String> {
    let text = files::read(&directory.join(name), files::TEXT).map_err(|error| format!("`{name}`: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("`{name}`: {error}"))
}

/// Keeps what was found; where nothing may be written, the next use looks at all of it again.
fn write(directory: &Path, name: &str, value: &impl Serialize) {
    if let Ok(text) = serde_json::to_vec(value) {
        let _ = atomic::write(&directory.join(name), &text);
    }
}

/// Makes the next use look at all of it.
fn forget(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(STAMPS));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    /// An environment of one package: a library, a module, and a `RECORD` of both.
    fn environment() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site-packages");
        for name in ["net", "net-1.0.dist-info"] {
            std::fs::create_dir_all(site.join(name)).unwrap();
        }
        std::fs::write(site.join("net/libnet.so.1"), "abc").unwrap();
        std::fs::write(site.join("net/a,b.py"), "abc").unwrap();
        std::fs::write(site.join("net/a.pyc"), "compiled").unwrap();
        let digest = "sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0,3";
        let record = format!("net/libnet.so.1,{digest}\n\"net/a,b.py\",{digest}\n../bin/net,{digest}\nRECORD,,\n");
        std::fs::write(site.join("net-1.0.dist-info/RECORD"), record).unwrap();
        // Of a package within the package.
        std::fs::create_dir_all(site.join("net/vendor/inner-1.dist-info")).unwrap();
        std::fs::write(site.join("net/vendor/inner-1.dist-info/RECORD"), format!("inner.py,{digest}\n")).unwrap();
        (folder, site)
    }

    fn modified(path: &Path) -> SystemTime {
        std::fs::metadata(path).unwrap().modified().unwrap()
    }

    fn set_modified(path: &Path, time: SystemTime) {
        std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn what_packages_record_is_listed_and_held() {
        let (folder, site) = environment();
        let bytes = |name: &str| std::fs::metadata(site.join(name)).unwrap().len();
        let records = bytes("net-1.0.dist-info/RECORD") + bytes("net/vendor/inner-1.dist-info/RECORD");
        assert_eq!(wholly(folder.path(), &site), Ok(Verified { files: 4, bytes: 6 + records }));
        assert_eq!(quickly(folder.path(), &site), Ok(()));
        assert_eq!(by_size(folder.path()), Ok(()));
        let list: List = read(folder.path(), LIST).unwrap();
        let record = list.get("site-packages/net/a,b.py").unwrap();
        assert_eq!(record.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        // What is compiled, or added, is nobody's damage.
        std::fs::write(site.join("net/a.pyc"), "anew").unwrap();
        std::fs::write(site.join("net/new.py"), "").unwrap();
        assert!(wholly(folder.path(), &site).is_ok());
    }

    #[rstest::rstest]
    #[case::emptied(Some(""), "`site-packages/net/libnet.so.1` has 0 bytes, not 3")]
    #[case::truncated(Some("ab"), "`site-packages/net/libnet.so.1` has 2 bytes, not 3")]
    #[case::changed(Some("abd"), "`site-packages/net/libnet.so.1` has another content than was installed")]
    #[case::gone(None, "`site-packages/net/libnet.so.1` is gone")]
    fn a_damaged_library_is_seen_by_each_look(#[case] content: Option<&str>, #[case] damage: &str) {
        let (folder, site) = environment();
        let library = site.join("net/libnet.so.1");
        let damaging = || match content {
            Some(content) => {
                std::fs::write(&library, content).unwrap();
                set_modified(&library, SystemTime::now() + Duration::from_secs(5));
            }
            None => std::fs::remove_file(&library).unwrap(),
        };
        // Without a list the package's own record tells.
        damaging();
        assert_eq!(quickly(folder.path(), &site), Err(damage.to_owned()));
        std::fs::write(&library, "abc").unwrap();
        wholly(folder.path(), &site).unwrap();
        damaging();
        assert_eq!(quickly(folder.path(), &site), Err(damage.to_owned()));
        assert_eq!(by_size(folder.path()), Err(damage.to_owned()));
        assert_eq!(wholly(folder.path(), &site), Err(damage.to_owned()));
        // Where the times are gone, all of it is looked at.
        assert_eq!(quickly(folder.path(), &site), Err(damage.to_owned()));
        std::fs::write(&library, "abc").unwrap();
        assert_eq!(quickly(folder.path(), &site), Ok(()));
    }

    #[test]
    fn a_copy_with_other_times_is_whole_and_costs_one_look() {
        let (folder, site) = environment();
        let library = site.join("net/libnet.so.1");
        wholly(folder.path(), &site).unwrap();
        let later = modified(&library) + Duration::from_secs(9);
        set_modified(&library, later);
        assert_eq!(quickly(folder.path(), &site), Ok(()));
        let stamps: Stamps = read(folder.path(), STAMPS).unwrap();
        assert_eq!(stamps.len(), 3);
        assert_eq!(
            stamps.get("site-packages/net/libnet.so.1"),
            Some(&stamp(folder.path(), "site-packages/net/libnet.so.1").unwrap())
        );
    }

    #[test]
    fn times_in_whole_seconds_fit() {
        let then = Stamp { bytes: 3, modified: 5_300_000_000 };
        for (bytes, modified, fits) in
            [(3, 5_300_000_000, true), (3, 5_000_000_000, true), (3, 5_299_999_999, false), (4, 5_300_000_000, false)]
        {
            assert_eq!(Stamp { bytes, modified }.fits(then), fits, "{modified}");
        }
    }

    #[test]
    fn a_change_that_keeps_size_and_time_is_found_by_the_whole_look_and_remembered() {
        let (folder, site) = environment();
        let library = site.join("net/libnet.so.1");
        wholly(folder.path(), &site).unwrap();
        let time = modified(&library);
        std::fs::write(&library, "abd").unwrap();
        set_modified(&library, time);
        assert_eq!(quickly(folder.path(), &site), Ok(()));
        assert!(wholly(folder.path(), &site).is_err());
        assert!(quickly(folder.path(), &site).is_err());
    }

    #[test]
    fn several_damages_are_counted_and_modules_are_seen_by_size() {
        let (folder, site) = environment();
        wholly(folder.path(), &site).unwrap();
        std::fs::write(site.join("net/a,b.py"), "").unwrap();
        assert_eq!(quickly(folder.path(), &site), Ok(()));
        assert_eq!(by_size(folder.path()), Err("`site-packages/net/a,b.py` has 0 bytes, not 3".to_owned()));
        std::fs::remove_file(site.join("net/libnet.so.1")).unwrap();
        let damage = "`site-packages/net/a,b.py` has 0 bytes, not 3, and 1 more of its files";
        assert_eq!(wholly(folder.path(), &site), Err(damage.to_owned()));
        std::fs::write(folder.path().join(LIST), "{").unwrap();
        assert!(wholly(folder.path(), &site).unwrap_err().starts_with("`files.json`: "));
    }
}
