//! How long the calling thread was ready to run but had no processor, as Linux counts it.
//!
//! On a machine that others use too, most of what disturbs a CPU measurement is waiting in the scheduler's queue. The
//! kernel tells it apart: the second number of `/proc/thread-self/schedstat` is the time on the run queue,
//! nanoseconds (`Documentation/scheduler/sched-stats.rst`). What it cannot tell is foreign load on shared caches,
//! memory and hyper-threads. The waiting of a session's other threads (TensorFlow computes in a pool of its own, also with
//! one thread) is not subtracted from times, since threads wait side by side; [`Threads`] tells how much there was.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Reads the waiting time of the thread that opened it.
#[derive(Debug)]
pub struct WaitingClock(Option<File>);

impl WaitingClock {
    /// The clock of the calling thread; one that tells nothing where the system does not count.
    pub fn open() -> Self {
        Self(File::open("/proc/thread-self/schedstat").ok())
    }

    /// Time spent waiting so far, or `None` where the system does not count.
    pub fn read(&self) -> Option<Duration> {
        self.read_both().map(|(_, waiting)| waiting)
    }

    /// Time spent running and time spent waiting so far, or `None` where the system does not count.
    pub fn read_both(&self) -> Option<(Duration, Duration)> {
        let mut buffer = [0; 96];
        let length = self.0.as_ref()?.read_at(&mut buffer, 0).ok()?;
        parse_both(std::str::from_utf8(buffer.get(..length)?).ok()?)
    }
}

/// How long every thread of this process has waited so far.
#[derive(Debug)]
pub struct Threads(BTreeMap<OsString, Duration>);

impl Threads {
    /// Looks at all threads; none where the system does not count.
    pub fn look() -> Self {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let read = |path: std::path::PathBuf| parse(&std::fs::read_to_string(path.join("schedstat")).ok()?);
        Self(tasks.filter_map(|task| Some((task.file_name(), read(task.path())?))).collect())
    }

    /// The longest that any one thread waited since `earlier`; `None` where nothing is known.
    pub fn longest_since(&self, earlier: &Self) -> Option<Duration> {
        let waited = |(thread, now): (&OsString, &Duration)| {
            now.saturating_sub(earlier.0.get(thread).copied().unwrap_or_default())
        };
        self.0.iter().map(waited).max()
    }
}

/// The second of the three numbers `running waiting slices`.
fn parse(text: &str) -> Option<Duration> {
    parse_both(text).map(|(_, waiting)| waiting)
}

/// The first and the second of them.
fn parse_both(text: &str) -> Option<(Duration, Duration)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (Some(Ok(running)), Some(Ok(waiting)), Some(Ok(_)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return None;
    };
    Some((Duration::from_nanos(running), Duration::from_nanos(waiting)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("12 2440375 1\n", Some(2_440_375))]
    #[case("12 2440375\n", None)]
    #[case("12 x 1\n", None)]
    #[case("12 -1 1\n", None)]
    #[case("", None)]
    fn the_second_of_three_numbers_is_the_waiting(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(parse(text), expected.map(Duration::from_nanos));
    }

    #[test]
    fn the_thread_that_waited_longest_counts() {
        let threads = |list: &[(&str, u64)]| {
            Threads(list.iter().map(|&(thread, waited)| (thread.into(), Duration::from_nanos(waited))).collect())
        };
        let (before, after) = (threads(&[("1", 500), ("2", 10)]), threads(&[("1", 510), ("2", 40), ("3", 25)]));
        assert_eq!(after.longest_since(&before), Some(Duration::from_nanos(30)));
        assert_eq!(threads(&[]).longest_since(&before), None);
    }

    #[test]
    fn waiting_never_runs_backwards() {
        let clock = WaitingClock::open();
        if let (Some(before), Some(after)) = (clock.read(), clock.read()) {
            assert!(after >= before);
        }
    }
}
