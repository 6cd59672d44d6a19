//! What the reader sees while something long is made: a spinner on a terminal, plain lines elsewhere, or nothing.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::console;

#[cfg(feature = "cli")]
mod spinner;

#[cfg(feature = "cli")]
pub use spinner::standard;

/// Receives what long work has to tell. Everything goes to standard error.
pub trait Progress: Send + Sync {
    /// Long work begins; the step ends when it is dropped. `text` says what is made, in the present: `converting …`.
    fn begin(&self, text: &str) -> Box<dyn Step>;

    /// A line that is worth keeping.
    fn note(&self, text: &str);

    /// An external command that is about to run, quoted as a shell would need it.
    fn command(&self, line: &str);

    /// A line that an external command printed.
    fn output(&self, line: &str);
}

/// One piece of long work under way.
pub trait Step: Send {
    /// What it does at the moment: shown at once where the line can be replaced, and every ten seconds elsewhere.
    fn detail(&self, text: &str);

    /// It ended well.
    fn finish(self: Box<Self>);
}

/// Tells nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _text: &str) -> Box<dyn Step> {
        Box::new(Silent)
    }

    fn note(&self, _text: &str) {}

    fn command(&self, _line: &str) {}

    fn output(&self, _line: &str) {}
}

struct Silent;

impl Step for Silent {
    fn detail(&self, _text: &str) {}

    fn finish(self: Box<Self>) {}
}

/// One line when work begins, one when it ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    /// From 1 on, external commands are shown; from 2 on, their output too.
    pub verbose: u8,
}

impl Progress for Lines {
    fn begin(&self, text: &str) -> Box<dyn Step> {
        console::note(text);
        let now = Instant::now();
        Box::new(LineStep { text: text.to_owned(), started: now, told: Mutex::new(now) })
    }

    fn note(&self, text: &str) {
        console::note(text);
    }

    fn command(&self, line: &str) {
        if self.verbose > 0 {
            console::note(&format!("$ {line}"));
        }
    }

    fn output(&self, line: &str) {
        if self.verbose > 1 {
            console::note(&format!("  {line}"));
        }
    }
}

/// Time between two lines of a step.
const BETWEEN: Duration = Duration::from_secs(10);

struct LineStep {
    text: String,
    started: Instant,
    /// When a line was last shown.
    told: Mutex<Instant>,
}

impl Step for LineStep {
    fn detail(&self, text: &str) {
        let Ok(mut told) = self.told.lock() else { return };
        if told.elapsed() >= BETWEEN {
            *told = Instant::now();
            console::note(&format!("  {text}"));
        }
    }

    fn finish(self: Box<Self>) {
        console::note(&done(&self.text, self.started.elapsed()));
    }
}

fn done(text: &str, elapsed: Duration) -> String {
    format!("{text}: done in {:.1} s", elapsed.as_secs_f64())
}

/// Keeps everything it is told, for tests.
#[derive(Debug, Default)]
pub struct Recorded {
    lines: Mutex<Vec<String>>,
}

impl Recorded {
    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().map(|lines| lines.clone()).unwrap_or_default()
    }

    fn push(&self, line: String) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(line);
        }
    }
}

impl Progress for Recorded {
    fn begin(&self, text: &str) -> Box<dyn Step> {
        self.push(format!("begin: {text}"));
        Box::new(Silent)
    }

    fn note(&self, text: &str) {
        self.push(format!("note: {text}"));
    }

    fn command(&self, line: &str) {
        self.push(format!("command: {line}"));
    }

    fn output(&self, _line: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_step_says_how_long_it_took() {
        assert_eq!(
            done("converting to onnx-fp32", Duration::from_millis(4_060)),
            "converting to onnx-fp32: done in 4.1 s"
        );
    }

    #[test]
    fn quiet_takes_everything_and_says_nothing() {
        let progress = standard(true, 0);
        let step = progress.begin("converting");
        step.detail("half way");
        step.finish();
        progress.note("note");
    }

    #[test]
    fn recorded_keeps_the_order() {
        let progress = Recorded::default();
        progress.begin("one").finish();
        progress.note("two");
        progress.command("three");
        assert_eq!(progress.lines(), ["begin: one", "note: two", "command: three"]);
    }
}
