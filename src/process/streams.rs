//! Pipes to and from a child that nobody can hold this process up with.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Bytes that are still read after an interruption: the last words of a process, not a flood.
const LAST_WORDS: usize = 1 << 20;

/// Ends the waiting of [`StreamReader`]s.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    event: Arc<OwnedFd>,
    raised: Arc<AtomicBool>,
}

impl Interrupt {
    /// One that is not raised.
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event: Arc::new(event), raised: Arc::default() })
    }

    /// From here on readers take what is there, and wait for nothing.
    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        // It cannot overflow by one.
        let _ = rustix::io::write(&*self.event, &1_u64.to_ne_bytes());
    }
}

/// Reads a stream until it ends or its [`Interrupt`] is raised.
#[derive(Debug)]
pub(crate) struct StreamReader<S> {
    stream: S,
    interrupt: Interrupt,
    left: usize,
}

impl<S: AsFd> StreamReader<S> {
    /// Reads `stream`, which no longer blocks.
    pub(crate) fn new(stream: S, interrupt: &Interrupt) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&stream, true)?;
        Ok(Self { stream, interrupt: interrupt.clone(), left: LAST_WORDS })
    }
}

impl<S: Read + AsFd> Read for StreamReader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let interrupted = || io::Error::new(ErrorKind::TimedOut, "nobody waits for it any longer");
        loop {
            let raised = self.interrupt.raised.load(Ordering::Acquire);
            if raised && self.left == 0 {
                return Err(interrupted());
            }
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if raised {
                        return Err(interrupted());
                    }
                    let event = &*self.interrupt.event;
                    let mut places = [PollFd::new(&self.stream, PollFlags::IN), PollFd::new(event, PollFlags::IN)];
                    match poll(&mut places, None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(count) => {
                    if raised {
                        self.left = self.left.saturating_sub(count);
                    }
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Writes a stream until a deadline.
#[derive(Debug)]
pub(crate) struct StreamWriter<S> {
    stream: S,
    deadline: Option<Instant>,
}

impl<S: AsFd> StreamWriter<S> {
    /// Writes `stream`, which no longer blocks.
    pub(crate) fn new(stream: S) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&stream, true)?;
        Ok(Self { stream, deadline: None })
    }

    /// What is written from here on has to be taken within `limit`; then it fails with `TimedOut`.
    pub(crate) fn limit(&mut self, limit: Duration) {
        self.deadline = Instant::now().checked_add(limit);
    }
}

impl<S: Write + AsFd> Write for StreamWriter<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(io::Error::new(ErrorKind::TimedOut, "it takes nothing"));
            }
            let left = left.map(timespec);
            match poll(&mut [PollFd::new(&self.stream, PollFlags::OUT)], left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A time as `poll` takes it.
pub(crate) fn timespec(time: Duration) -> Timespec {
    // Longer than anybody waits.
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).min(1 << 40);
    Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() }
}
