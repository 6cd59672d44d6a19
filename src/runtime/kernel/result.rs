//! A child that dies with its parent, and gets none of what its parent has open.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{Resource, Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit};

/// Has the process of `command` killed once the *thread* that starts it ends. One whose parent is dead already does not start.
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let mind = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Between the fork and the call, the parent may have died: nothing would come any more.
        if getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec only async-signal-safe functions may be called. These are two system calls, made
    // directly, without locks and without allocation; an error number becomes an `io::Error` without allocation too.
    unsafe { command.pre_exec(mind) };
}

/// Lets the process of `command`, and each that it starts, ask for `bytes` of memory of its own at most.
pub(crate) fn limit_memory(command: &mut Command, bytes: u64) {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    let set = move || Ok(setrlimit(Resource::Data, limit)?);
    // SAFETY: as in `die_with_parent`: one system call.
    unsafe { command.pre_exec(set) };
}

/// Keeps what whoever started this process left open (but its three streams) from what this process starts. To be called
/// before it opens anything itself; what it opens is closed in its children anyway.
pub(crate) fn keep_descriptors() {
    let numbers = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: the number is not negative, and is used for two calls only, which refuse one that is not open any more
        // (that of the list itself is closed) and else set a flag.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        if let Ok(flags) = fcntl_getfd(descriptor) {
            // Nothing is lost where it cannot be set.
            let _ = fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC);
        }
    }
}
