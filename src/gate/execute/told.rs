//! What the reader is told while engines are built: which, for how long, and how long they may take.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::progress::Step;

/// Time between two looks.
const BETWEEN: Duration = Duration::from_secs(1);

/// The builds that are under way.
#[derive(Default)]
pub(super) struct Watch {
    underway: Mutex<Vec<Build>>,
}

struct Build {
    name: String,
    begun: Instant,
    /// Seconds that it took before.
    estimate: Option<f64>,
    /// Whether tactics are known already.
    is_warm: bool,
}

/// A build that is told of until this is dropped.
pub(super) struct Underway<'a> {
    watch: &'a Watch,
    begun: Instant,
    name: &'a str,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let mut builds = self.watch.underway.lock().unwrap_or_else(PoisonError::into_inner);
        builds.retain(|build| build.begun != self.begun || build.name != self.name);
    }
}

impl Watch {
    /// A build begins that took `estimate` seconds before, if one did, with a timing cache in hand or without.
    pub(super) fn begin<'a>(&'a self, name: &'a str, estimate: Option<f64>, is_warm: bool) -> Underway<'a> {
        let begun = Instant::now();
        let build = Build { name: name.to_owned(), begun, estimate, is_warm };
        self.underway.lock().unwrap_or_else(PoisonError::into_inner).push(build);
        Underway { watch: self, begun, name }
    }

    /// What is told `now`, with so many builds that have not begun; nothing where nothing is built.
    fn line(&self, now: Instant, waiting: usize) -> Option<String> {
        let builds = self.underway.lock().unwrap_or_else(PoisonError::into_inner);
        let told: Vec<String> = builds.iter().map(|build| build.told(now)).collect();
        let waiting = match waiting {
            0 => String::new(),
            1 => "; 1 build waits".to_owned(),
            more => format!("; {more} builds wait"),
        };
        (!told.is_empty()).then(|| format!("building {}{waiting}", told.join(", ")))
    }

    /// Does `work`, and tells of its builds meanwhile; `waiting` says how many have not begun.
    pub(super) fn while_working(
        &self,
        step: &Mutex<Box<dyn Step>>,
        waiting: &(dyn Fn() -> usize + Sync),
        work: impl FnOnce(),
    ) {
        let over = (Mutex::new(false), Condvar::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut done = over.0.lock().unwrap_or_else(PoisonError::into_inner);
                while !*done {
                    done = over.1.wait_timeout(done, BETWEEN).unwrap_or_else(PoisonError::into_inner).0;
                    if let Some(line) = self.line(Instant::now(), waiting()) {
                        step.lock().unwrap_or_else(PoisonError::into_inner).detail(&line);
                    }
                }
            });
            let _end = End(&over);
            work();
        });
    }
}

impl Build {
    fn told(&self, now: Instant) -> String {
        let (name, seconds) = (&self.name, now.saturating_duration_since(self.begun).as_secs());
        match self.estimate.map(f64::ceil) {
            Some(estimate) if (seconds as f64) > estimate => {
                format!("{name}: {seconds} s, an earlier one took {estimate:.0} s")
            }
            Some(estimate) => {
                let most = if self.is_warm { "at most about" } else { "about" };
                format!("{name}: {seconds} s of {most} {estimate:.0} s")
            }
            None if self.is_warm => format!("{name}: {seconds} s, no estimate yet; tactics of other builds are known"),
            None => format!("{name}: {seconds} s, no estimate yet"),
        }
    }
}

/// Says that all is over, also where it ended by a panic.
struct End<'a>(&'a (Mutex<bool>, Condvar));

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_built_is_told_with_what_it_took_before() {
        let watch = Watch::default();
        assert_eq!(watch.line(Instant::now(), 3), None);
        let one = watch.begin("tensorrt@10.6.0/int8", Some(108.2), false);
        let later = |seconds| one.begun + Duration::from_secs(seconds);
        let line = |seconds, waiting| watch.line(later(seconds), waiting).unwrap();
        assert_eq!(line(34, 0), "building tensorrt@10.6.0/int8: 34 s of about 109 s");
        assert_eq!(line(110, 1), "building tensorrt@10.6.0/int8: 110 s, an earlier one took 109 s; 1 build waits");
        let two = watch.begin("tensorrt@8.5.3/fp32", None, false);
        assert!(
            line(2, 4).ends_with("/fp32: 1 s, no estimate yet; 4 builds wait")
                || line(2, 4).contains("2 s, no estimate yet")
        );
        drop(one);
        assert!(!watch.line(Instant::now(), 0).unwrap().contains("int8"));
        drop(two);
        let warm = watch.begin("a", Some(10.0), true);
        assert_eq!(watch.line(warm.begun, 0).unwrap(), "building a: 0 s of at most about 10 s");
        drop(warm);
        let warm = watch.begin("a", None, true);
        let line = watch.line(warm.begun, 0).unwrap();
        assert_eq!(line, "building a: 0 s, no estimate yet; tactics of other builds are known");
    }

    struct Told(Arc<Mutex<Vec<String>>>);

    impl Step for Told {
        fn detail(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }

        fn finish(self: Box<Self>) {}
    }

    #[test]
    fn whoever_waits_for_a_build_is_told_of_it_and_no_longer_than_that() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let step: Mutex<Box<dyn Step>> = Mutex::new(Box::new(Told(Arc::clone(&lines))));
        let watch = Watch::default();
        watch.while_working(&step, &|| 2, || {
            let _underway = watch.begin("engine", None, false);
            while lines.lock().unwrap().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        assert!(lines.lock().unwrap()[0].ends_with("no estimate yet; 2 builds wait"), "{lines:?}");
        assert!(
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| watch.while_working(&step, &|| 0, || panic!())))
                .is_err()
        );
    }

    /// One of two builds of one name ends; the other is told on.
    #[test]
    fn each_build_is_told_until_it_ends_itself() {
        let watch = Watch::default();
        let first = watch.begin("engine", Some(10.0), false);
        while Instant::now() == first.begun {}
        let second = watch.begin("engine", Some(20.0), false);
        let other = watch.begin("other", None, false);
        drop(second);
        let line = watch.line(first.begun + Duration::from_secs(10), 0).unwrap();
        assert!(line.starts_with("building engine: 10 s of about 10 s, other: "), "{line}");
        drop(other);
        assert_eq!(watch.line(first.begun, 0).unwrap(), "building engine: 0 s of about 10 s");
    }
}
