//! A fetched TensorRT as parts that fit where only so much can be carried at once.
//!
//! `NAME.tar.xz.00`, `NAME.tar.xz.01`, … and `NAME.sha256`, with the digest of each and the command that puts them together. The
//! archive holds the libraries in one folder, `NAME`, which `TRTGATE_TENSORRT_PATH` can name as it is.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::Fetched;
use crate::atomic;
use crate::convert::store::Store;
use crate::convert::tool::{self, Limit};
use crate::digest::digest_file;
use crate::error::{Error, Result};
use crate::files;
use crate::process::Command;
use crate::progress::Progress;

/// One file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its place.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// Packs `fetched` into parts of at most `most` bytes in `folder`; the list of their digests is written last.
///
/// # Errors
/// `Missing` where `xz` is not on this machine; `Machine` where something cannot be written. What was written then has no list.
pub fn pack(store: &Store, fetched: &Fetched, folder: &Path, most: u64, progress: &dyn Progress) -> Result<Vec<Part>> {
    let step = progress.begin(&format!("packing `{}`", fetched.name));
    std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
    let list = folder.join(format!("{}.sha256", fetched.name));
    match std::fs::remove_file(&list) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("replace", &list, error)),
        _ => {}
    }
    let held = tempfile::tempdir_in(folder).map_err(|error| Error::io("write in", folder, error))?;
    let archive = held.path().join(format!("{}.tar", fetched.name));
    step.detail("writing the archive");
    tar(fetched, &archive)?;
    step.detail("compressing");
    let command = Command::new("xz").args(["--threads=0", "-1"]).arg(&archive);
    tool::run(&command, Limit::install(store.limits()), progress, &*step)
        .map_err(|failure| failure.error.hint("`xz` packs it: install it, with the system's own packages"))?;
    let packed = held.path().join(format!("{}.tar.xz", fetched.name));
    let parts = split(&packed, folder, &format!("{}.tar.xz", fetched.name), most)?;
    let lines: String = parts
        .iter()
        .map(|part| format!("{}  {}\n", part.sha256, part.path.file_name().unwrap_or_default().to_string_lossy()))
        .collect();
    atomic::write(&list, lines.as_bytes())?;
    step.finish();
    Ok(parts)
}

/// Whole libraries, with the holes of thinned ones written out: they pack to nothing.
fn tar(fetched: &Fetched, archive: &Path) -> Result<()> {
    let io = |error| Error::io("write", archive, error);
    let file = File::create(archive).map_err(io)?;
    let mut builder = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
    builder.sparse(false);
    builder.mode(tar::HeaderMode::Deterministic);
    builder.append_dir_all(&fetched.name, &fetched.folder).map_err(io)?;
    builder.into_inner().and_then(|mut writer| writer.flush()).map_err(io)
}

fn split(packed: &Path, folder: &Path, name: &str, most: u64) -> Result<Vec<Part>> {
    // Parts of an earlier time, which may have been more.
    for entry in std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, error))?.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let number = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        if number.is_some_and(|number| number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit())) {
            std::fs::remove_file(entry.path()).map_err(|error| Error::io("replace", &entry.path(), error))?;
        }
    }
    let file = files::plain(packed).map_err(|error| Error::io("read", packed, error))?;
    let length = file.metadata().map_err(|error| Error::io("read", packed, error))?.len();
    let count = length.div_ceil(most.max(1));
    if count > 100 {
        return Err(Error::usage(format!("{length} bytes make {count} parts of {most}, more than 100"))
            .hint("make the parts larger: `--part`"));
    }
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut parts = Vec::new();
    for number in 0..count {
        let path = folder.join(format!("{name}.{number:02}"));
        let io = |error| Error::io("write", &path, error);
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(io)?);
        let bytes = std::io::copy(&mut (&mut reader).take(most), &mut writer).map_err(io)?;
        writer.into_inner().map_err(|error| io(error.into_error()))?.sync_all().map_err(io)?;
        let sha256 = digest_file(&path)?;
        parts.push(Part { path, bytes, sha256 });
    }
    Ok(parts)
}
