//! Files that come from outside: no read or write waits without end, and no read takes more memory than it says.
//!
//! A name may stand for a folder, a device that never ends, or a pipe that nobody writes to. Here a folder and a device are
//! refused, and a pipe (`<(command)` of a shell) must bring its bytes within [`PATIENCE`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;

use crate::process::{StreamWriter, timespec};

/// Time within which a pipe must bring its next bytes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time within which somebody must open a named pipe to write.
const FIRST_WRITER: Duration = Duration::from_secs(2);

/// Bytes of the largest text that a person or this program writes: a manifest, a list of files, thresholds, a record.
pub const TEXT: u64 = 64 << 20;
/// Bytes of the largest report, plan, golden or baselines.
pub const RECORD: u64 = 512 << 20;
/// Bytes of the largest ONNX, TFLite or SavedModel graph that is read whole: their formats hold no more.
pub const GRAPH: u64 = 2 << 30;
/// Bytes of the largest engine or other artifact that is read whole.
pub const MODEL: u64 = 64 << 30;

/// A file or a pipe that is read from its start.
#[derive(Debug)]
pub struct Source {
    file: File,
    pipe: bool,
    patience: Duration,
    nobody_yet: bool,
}

impl Source {
    /// Opens `path`, a file or a pipe.
    ///
    /// # Errors
    /// That of the system, or `InvalidInput` for a device, `IsADirectory` for a folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Opening a pipe that nobody writes to would wait; the flag means nothing for files.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let pipe = kind.is_fifo() || kind.is_socket();
        if !pipe && !kind.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a device, not a file"));
        }
        Ok(Self { file, pipe, patience: PATIENCE, nobody_yet: pipe })
    }

    /// The number of bytes, where the file says it.
    ///
    /// # Errors
    /// That of the system.
    pub fn size(&self) -> io::Result<Option<u64>> {
        Ok(if self.pipe { None } else { Some(self.file.metadata()?.len()) })
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.pipe {
            return self.file.read(buffer);
        }
        let started = Instant::now();
        let until = started + self.patience;
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = until.saturating_duration_since(Instant::now());
                    wait(&self.file, left, self.patience)?;
                }
                // A named pipe ends at once while nobody has opened it to write.
                Ok(0) if self.nobody_yet && !buffer.is_empty() => {
                    if Instant::now() > started + FIRST_WRITER.min(self.patience) {
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a pipe that nobody writes to"));
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => {
                    self.nobody_yet = false;
                    return outcome;
                }
            }
        }
    }
}

/// Opens a plain file, whose size is known and whose places can be sought.
///
/// # Errors
/// Those of [`Source::open`], and `InvalidInput` for a pipe.
pub fn plain(path: &Path) -> io::Result<File> {
    let source = Source::open(path)?;
    if source.pipe { Err(io::Error::new(io::ErrorKind::InvalidInput, "a pipe, not a file")) } else { Ok(source.file) }
}

/// Reads the file or pipe at `path` whole, `most` bytes at most.
///
/// # Errors
/// Those of [`Source::open`], and `InvalidData` where it holds more.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    take(&mut Source::open(path)?, most)
}

/// The first `count` bytes of the file at `path`, or as many as it has.
///
/// # Errors
/// Those of [`Source::open`].
pub fn beginning(path: &Path, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Source::open(path)?.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As [`read`], of text.
///
/// # Errors
/// As [`read`], and `InvalidData` where it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// As [`read_text`], of standard input.
///
/// # Errors
/// As [`read_text`].
pub fn standard_input(most: u64) -> io::Result<String> {
    let mut text = String::new();
    let length = io::stdin().lock().take(most.saturating_add(1)).read_to_string(&mut text)?;
    if length as u64 > most { Err(larger(most)) } else { Ok(text) }
}

/// Writes `bytes` to a device or a pipe.
///
/// # Errors
/// That of the system; of a pipe that nobody reads, or whose reader stops, too.
pub fn write_special(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path).map_err(|error| {
        let unread = error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error());
        if unread { io::Error::new(io::ErrorKind::InvalidInput, "a pipe that nobody reads") } else { error }
    })?;
    let mut writer = StreamWriter::new(file)?;
    let mut left = bytes;
    while !left.is_empty() {
        // Each part has the time for itself: a slow reader is a reader.
        writer.limit(PATIENCE);
        match writer.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => left = left.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits, `left` of `patience` at most, until the pipe brings something or its writers are gone.
fn wait(file: &File, left: Duration, patience: Duration) -> io::Result<()> {
    match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&timespec(left))) {
        Ok(0) => {
            let late = format!("a pipe whose other end did nothing for {patience:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, late))
        }
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn take(source: &mut Source, most: u64) -> io::Result<Vec<u8>> {
    let size = source.size()?;
    if size.is_some_and(|size| size > most) {
        return Err(larger(most));
    }
    let mut bytes = Vec::new();
    if let Some(size) = size {
        // What cannot be had is an error, not an abort.
        let size = usize::try_from(size).map_err(|_| larger(most))?;
        bytes.try_reserve_exact(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    }
    source.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(larger(most)) } else { Ok(bytes) }
}

fn larger(most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("larger than {} MiB, the most that is read", most >> 20))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pipe_at(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        path
    }

    #[test]
    fn a_file_reads_whole_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap(), [7; 100]);
        assert_eq!(read(&path, 99).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn devices_and_folders_are_refused() {
        assert_eq!(read(Path::new("/dev/zero"), 10).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(read(Path::new("/"), 10).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_file_of_the_system_that_says_no_size_reads() {
        assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe_at(folder.path());
        assert_eq!(read(&path, 10).unwrap_err().to_string(), "a pipe that nobody writes to");
    }

    #[test]
    fn a_pipe_brings_its_bytes_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe_at(folder.path());
        let mut source = Source::open(&path).unwrap();
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        let writing = std::thread::spawn(move || {
            for part in 0..3u8 {
                writer.write_all(&[part; 1000]).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let bytes = take(&mut source, 1 << 20).unwrap();
        writing.join().unwrap();
        assert_eq!(bytes.len(), 3000);
    }

    #[test]
    fn a_writer_that_says_nothing_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe_at(folder.path());
        let mut source = Source::open(&path).unwrap();
        source.patience = Duration::from_millis(50);
        let _silent = OpenOptions::new().write(true).open(&path).unwrap();
        assert_eq!(take(&mut source, 10).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
