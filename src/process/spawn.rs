//! Starts processes from a thread that lives as long as this process, and knows which groups run.
//!
//! The death signal of a child follows the *thread* that started it, so a child must not be started by a thread that ends
//! before it.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::guard;
use rustix::process::{Pid, Signal, kill_process_group};

/// A process to start, and where the answer goes.
struct Job {
    command: Command,
    guarded: bool,
    leaves: Option<PathBuf>,
    answer: Sender<io::Result<Child>>,
}

/// Groups whose first process has not been waited for.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts `command`, which must ask for a process group of its own; the group is known until [`forget`]. What starts others is
/// `guarded`, with the start of the paths of files that it `leaves`.
pub(super) fn spawn(command: Command, guarded: bool, leaves: Option<PathBuf>) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes is gone");
    let starter = match STARTER.get() {
        Some(starter) => starter,
        None => {
            let (sender, jobs) = channel::<Job>();
            std::thread::Builder::new().name("starter".to_owned()).spawn(move || jobs.into_iter().for_each(start))?;
            STARTER.get_or_init(|| sender)
        }
    };
    let (answer, started) = channel();
    starter.send(Job { command, guarded, leaves, answer }).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

fn start(mut job: Job) {
    // Held while it starts, so that none is missed by whoever ends them all.
    let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = job.command.spawn();
    if let Ok(child) = &outcome
        && let Ok(group) = i32::try_from(child.id())
    {
        groups.insert(group);
        if job.guarded {
            guard::add(group, job.leaves.as_deref());
        }
    }
    drop(groups);
    // Whoever asked may be gone; the child is then dropped with its pipes, and ends with them.
    let _ = job.answer.send(outcome);
}

/// The process's id, which is that of its group.
pub(super) fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Takes a group off the list, before its first process is waited for and its number may be another's.
pub(super) fn forget(group: Pid) {
    let group = group.as_raw_nonzero().get();
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).remove(&group);
    guard::remove(group);
}

/// Ends every group, and lets no other start: the caller ends this process.
pub(super) fn end_all(grace: Duration) {
    let start = Instant::now();
    let groups = loop {
        match GROUPS.try_lock() {
            Ok(groups) => break Some(groups),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => break Some(poisoned.into_inner()),
            // A process may be starting on a slow disk.
            Err(std::sync::TryLockError::WouldBlock) if start.elapsed() < grace => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(std::sync::TryLockError::WouldBlock) => break None,
        }
    };
    let Some(groups) = groups else { return };
    let all = |signal| {
        for group in groups.iter().filter_map(|&group| Pid::from_raw(group)) {
            // It may have ended by itself in the meantime.
            let _ = kill_process_group(group, signal);
        }
    };
    all(Signal::TERM);
    all(Signal::CONT);
    if !groups.is_empty() {
        std::thread::sleep(grace);
    }
    all(Signal::KILL);
    // Not given back: nothing starts from here on.
    std::mem::forget(groups);
}
