//! Takes a process to its end, within limits.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::child::Child;
use super::command::Command;
use super::ending::Ending;
use super::lines::Lines;
use super::streams::timespec;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long a process that has ended may leave its pipes in somebody else's hands.
const HELD_OPEN: Duration = Duration::from_secs(1);
/// Most bytes on both streams together.
const MOST_OUTPUT: u64 = 64 << 20;
/// Most bytes of standard output that are kept.
const KEPT_OUTPUT: usize = 8 << 20;
/// Longest time between two looks at a process that cannot be watched.
const LOOK: Duration = Duration::from_millis(20);

/// Which stream a line came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Standard output.
    Output,
    /// Standard error.
    Errors,
}

/// What became of a process.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) ending: Ending,
    /// Why it was ended, if it was.
    pub(crate) stopped: Option<String>,
    /// Lines of its standard output.
    pub(crate) printed: String,
    /// Bytes of standard output that were not kept.
    pub(crate) cut: usize,
}

impl Outcome {
    /// Whether it ended by itself, as it should.
    pub(crate) fn is_success(&self) -> bool {
        self.stopped.is_none() && self.ending.is_success()
    }

    /// How it ended, in words.
    pub(crate) fn how(&self) -> String {
        self.stopped.clone().unwrap_or_else(|| self.ending.to_string())
    }

    /// All that it printed.
    ///
    /// # Errors
    /// How it ended if it did not end well, or that it printed more than is kept.
    pub(crate) fn answer(self) -> Result<String, String> {
        match self.cut {
            _ if !self.is_success() => Err(self.how()),
            0 => Ok(self.printed),
            cut => Err(format!("printed {} MiB more than are read", cut.div_ceil(1 << 20))),
        }
    }
}

/// Runs `command` for `limit` at most; `each` sees the lines of both streams as they come.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn run(command: &Command, limit: Duration, each: &mut dyn FnMut(Source, &str)) -> io::Result<Outcome> {
    let _waiting = crate::meter::waiting();
    let mut child = command.start()?;
    let (_, output, errors) = child.streams();
    let mut pipes = Vec::new();
    if let Some(output) = output {
        rustix::io::ioctl_fionbio(&output, true)?;
        pipes.push(Pipe { stream: Stream::Output(output), lines: Lines::default() });
    }
    if let Some(errors) = errors {
        rustix::io::ioctl_fionbio(&errors, true)?;
        pipes.push(Pipe { stream: Stream::Errors(errors), lines: Lines::default() });
    }
    let mut kept = Kept { printed: String::new(), cut: 0, bytes: 0, each };
    let start = Instant::now();
    let mut ended: Option<(Ending, Instant)> = None;
    let mut stopped = None;
    loop {
        if ended.is_none() {
            if let Some(ending) = child.ending() {
                ended = Some((ending, Instant::now()));
            } else if start.elapsed() >= limit {
                stopped = Some(format!("timed out after {} s, and was stopped", shown(limit)));
            } else if kept.bytes > MOST_OUTPUT {
                stopped = Some(format!("wrote more than {} MiB, and was stopped", MOST_OUTPUT >> 20));
            }
            if stopped.is_some() {
                ended = Some((child.end(GRACE), Instant::now()));
            }
        }
        pipes.retain_mut(|pipe| pipe.take(&mut kept));
        let left = match ended {
            // What it wrote is read; whoever it gave its pipes to is waited for no longer.
            Some(_) if pipes.is_empty() || kept.bytes > MOST_OUTPUT => break,
            Some((_, at)) => match HELD_OPEN.checked_sub(at.elapsed()) {
                Some(left) => left,
                None => break,
            },
            None => limit.saturating_sub(start.elapsed()),
        };
        wait(&child, &pipes, ended.is_some(), left)?;
    }
    for pipe in &mut pipes {
        pipe.finish(&mut kept);
    }
    let ending = ended.map_or(Ending::Unknown, |(ending, _)| ending);
    Ok(Outcome { ending, stopped, printed: kept.printed, cut: kept.cut })
}

/// Waits until there is something to read, the process ends, or `left` is over.
fn wait(child: &Child, pipes: &[Pipe], has_ended: bool, left: Duration) -> io::Result<()> {
    let mut places: Vec<PollFd<'_>> = pipes.iter().map(Pipe::place).collect();
    let watch = child.watch().filter(|_| !has_ended);
    places.extend(watch.map(|watch| PollFd::new(watch, PollFlags::IN)));
    let left = if watch.is_none() && !has_ended { left.min(LOOK) } else { left };
    match poll(&mut places, Some(&timespec(left))) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A time in seconds, as people say it.
fn shown(time: Duration) -> String {
    if time.subsec_nanos() == 0 { time.as_secs().to_string() } else { format!("{:.1}", time.as_secs_f64()) }
}

/// What is kept of the streams.
struct Kept<'run> {
    printed: String,
    cut: usize,
    bytes: u64,
    each: &'run mut dyn FnMut(Source, &str),
}

impl Kept<'_> {
    fn line(&mut self, source: Source, line: &str) {
        if source == Source::Output {
            if self.printed.len() + line.len() < KEPT_OUTPUT {
                self.printed.push_str(line);
                self.printed.push('\n');
            } else {
                self.cut += line.len() + 1;
            }
        }
        (self.each)(source, line);
    }
}

enum Stream {
    Output(std::process::ChildStdout),
    Errors(std::process::ChildStderr),
}

struct Pipe {
    stream: Stream,
    lines: Lines,
}

impl Pipe {
    fn source(&self) -> Source {
        match self.stream {
            Stream::Output(_) => Source::Output,
            Stream::Errors(_) => Source::Errors,
        }
    }

    fn place(&self) -> PollFd<'_> {
        let stream = match &self.stream {
            Stream::Output(output) => output.as_fd(),
            Stream::Errors(errors) => errors.as_fd(),
        };
        PollFd::from_borrowed_fd(stream, PollFlags::IN)
    }

    /// Takes what is there, a part of it where it does not end; whether there may be more later.
    fn take(&mut self, kept: &mut Kept<'_>) -> bool {
        let source = self.source();
        let mut buffer = [0; 16 << 10];
        for _ in 0..64 {
            let outcome = match &mut self.stream {
                Stream::Output(output) => output.read(&mut buffer),
                Stream::Errors(errors) => errors.read(&mut buffer),
            };
            match outcome {
                Ok(count) if count > 0 => {
                    kept.bytes += count as u64;
                    let bytes = buffer.get(..count).unwrap_or_default();
                    self.lines.take(bytes, &mut |line| kept.line(source, line));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.finish(kept);
                    return false;
                }
            }
        }
        true
    }

    fn finish(&mut self, kept: &mut Kept<'_>) {
        let source = self.source();
        self.lines.finish(&mut |line| kept.line(source, line));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shell(script: &str, limit: Duration) -> (Outcome, Vec<String>) {
        let mut lines = Vec::new();
        let command = Command::new("sh").args(["-c", script]);
        let outcome = run(&command, limit, &mut |_, line| lines.push(line.to_owned())).unwrap();
        (outcome, lines)
    }

    fn is_there(process: &str) -> bool {
        // One that was killed may be a zombie until somebody waits for it.
        std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn eventually(mut what: impl FnMut() -> bool) -> bool {
        (0..100).any(|_| {
            what() || {
                std::thread::sleep(Duration::from_millis(50));
                false
            }
        })
    }

    #[test]
    fn its_time_is_not_the_gates_own() {
        let before = crate::meter::waited();
        shell("sleep 0.2", Duration::from_secs(60));
        assert!(crate::meter::waited().saturating_sub(before) >= Duration::from_millis(200));
    }

    #[test]
    fn what_it_prints_comes_back_and_how_it_ended_is_said() {
        let (outcome, lines) = shell("echo one; echo two >&2; exit 4", Duration::from_secs(60));
        assert_eq!((outcome.printed.as_str(), outcome.how().as_str()), ("one\n", "exited with code 4"));
        assert!(lines.contains(&"two".to_owned()), "{lines:?}");
        let (outcome, _) = shell("kill -9 $$", Duration::from_secs(60));
        assert_eq!(outcome.answer().unwrap_err(), "died by signal 9 (SIGKILL, by hand or out of memory)");
    }

    #[test]
    fn one_that_hangs_is_ended_with_what_it_started_even_where_it_minds_no_signal() {
        let (outcome, lines) =
            shell("trap '' TERM; sleep 600 & echo $!; wait; wait; sleep 600", Duration::from_millis(300));
        assert!(!outcome.is_success());
        assert_eq!(outcome.how(), "timed out after 0.3 s, and was stopped");
        assert!(eventually(|| !is_there(&lines[0])), "{lines:?}");
    }

    #[test]
    fn what_it_leaves_in_its_group_ends_with_it() {
        let (outcome, lines) = shell("sleep 600 >/dev/null 2>&1 & echo $!", Duration::from_secs(60));
        assert!(outcome.is_success(), "{}", outcome.how());
        assert!(eventually(|| !is_there(&lines[0])), "{lines:?}");
    }

    #[test]
    fn a_daemon_that_holds_the_pipes_holds_nobody_up() {
        let start = Instant::now();
        let (outcome, lines) = shell("setsid sleep 60 & echo $!", Duration::from_secs(50));
        assert!(outcome.is_success(), "{}", outcome.how());
        assert_eq!(outcome.printed.lines().count(), 1);
        assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
        let _ = std::process::Command::new("kill").arg(&lines[0]).status();
    }

    #[test]
    fn a_flood_is_ended_and_answers_longer_than_what_is_kept_are_refused() {
        let (outcome, _) = shell("yes flood", Duration::from_secs(600));
        assert_eq!(outcome.how(), "wrote more than 64 MiB, and was stopped");
        let (outcome, _) = shell("yes line | head -c 9000000", Duration::from_secs(600));
        assert_eq!(outcome.printed.len(), KEPT_OUTPUT - KEPT_OUTPUT % 5);
        assert_eq!(outcome.answer().unwrap_err(), "printed 1 MiB more than are read");
    }
}
