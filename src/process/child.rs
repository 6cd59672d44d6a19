//! A process that runs, with its group.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};

use super::ending::Ending;
use super::spawn;
use super::streams::timespec;

/// Longest wait for a process that was killed: one that the kernel holds (a dead disk, a dead driver) may stay.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A running process. Dropping it kills its group.
#[derive(Debug)]
pub(crate) struct Child {
    child: std::process::Child,
    group: Pid,
    /// Readable once the process has ended; absent on kernels and emulators without it.
    watch: Option<OwnedFd>,
    ended: Option<Ending>,
    /// The start of the paths of files that it leaves.
    leaves: Option<PathBuf>,
}

impl Child {
    pub(super) fn of(child: std::process::Child, leaves: Option<PathBuf>) -> std::io::Result<Self> {
        let group = spawn::pid(&child).ok_or_else(|| std::io::Error::other("the process has no id"))?;
        // Old kernels and emulators do without.
        let watch = pidfd_open(group, PidfdFlags::empty()).ok();
        Ok(Self { child, group, watch, ended: None, leaves })
    }

    /// Its standard input, output and error, where they are pipes and not taken yet.
    pub(crate) fn streams(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take())
    }

    /// Readable once the process has ended, where the system has such a thing.
    pub(super) fn watch(&self) -> Option<&OwnedFd> {
        self.watch.as_ref()
    }

    /// How it ended, if it has. What it left running in its group is killed then.
    pub(crate) fn ending(&mut self) -> Option<Ending> {
        if self.ended.is_some() {
            return self.ended;
        }
        // Left as it is at first: until it is waited for, the number of its group is nobody else's.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.group), look) {
            Ok(None) | Err(rustix::io::Errno::INTR) => return None,
            Ok(Some(_)) | Err(_) => {}
        }
        self.signal(Signal::KILL);
        if let Some(start) = &self.leaves {
            sweep(start);
        }
        spawn::forget(self.group);
        let ending = match self.child.try_wait() {
            Ok(Some(status)) => of_status(status),
            // This process may be told to forget its children.
            Ok(None) | Err(_) => Ending::Unknown,
        };
        self.ended = Some(ending);
        self.ended
    }

    /// Waits for its end, `limit` at most.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<Ending> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(ending) = self.ending() {
                return Some(ending);
            }
            let left = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero())?;
            match &self.watch {
                // A signal may cut it short.
                Some(watch) => {
                    let _ = poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&timespec(left)));
                }
                None => {
                    std::thread::sleep(pause.min(left));
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
            }
        }
    }

    /// Ends its group: SIGTERM, and after `grace` SIGKILL.
    pub(crate) fn end(&mut self, grace: Duration) -> Ending {
        if let Some(ending) = self.ending() {
            return ending;
        }
        self.signal(Signal::TERM);
        // One that was stopped cannot follow.
        self.signal(Signal::CONT);
        if let Some(ending) = self.wait(grace) {
            return ending;
        }
        self.kill()
    }

    /// Kills its group.
    pub(crate) fn kill(&mut self) -> Ending {
        if let Some(ending) = self.ending() {
            return ending;
        }
        self.signal(Signal::KILL);
        self.wait(LAST_WAIT).unwrap_or_else(|| {
            spawn::forget(self.group);
            *self.ended.insert(Ending::Unknown)
        })
    }

    fn signal(&self, signal: Signal) {
        // It may have ended by itself in the meantime.
        let _ = kill_process_group(self.group, signal);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Removes the files whose paths begin with `start`. What cannot be removed is left: nothing is told of a process that has ended.
fn sweep(start: &Path) {
    let (Some(folder), Some(name)) = (start.parent(), start.file_name()) else { return };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn of_status(status: std::process::ExitStatus) -> Ending {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(signal), _) => Ending::Signalled(signal),
        (None, Some(code)) => Ending::Exited(code),
        (None, None) => Ending::Unknown,
    }
}
