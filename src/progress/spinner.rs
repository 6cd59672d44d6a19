//! The progress of the command line: a spinner where standard error is a terminal.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Lines, Progress, Quiet, Step, done};
use crate::console;

/// The progress for the command line: silent with `quiet`, a spinner when standard error is a terminal, plain lines
/// otherwise; `verbose` adds every external command, and from 2 on its output.
pub fn standard(quiet: bool, verbose: u8) -> Arc<dyn Progress> {
    if quiet {
        Arc::new(Quiet)
    } else if std::io::stderr().is_terminal() && verbose == 0 {
        Arc::new(Terminal)
    } else {
        Arc::new(Lines { verbose })
    }
}

/// A spinner with the time it has taken.
struct Terminal;

impl Progress for Terminal {
    fn begin(&self, text: &str) -> Box<dyn Step> {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed}  {wide_msg:.dim}") {
            bar.set_style(style);
        }
        bar.set_prefix(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Box::new(SpinnerStep { text: text.to_owned(), started: Instant::now(), bar })
    }

    fn note(&self, text: &str) {
        console::note(text);
    }

    fn command(&self, _line: &str) {}

    fn output(&self, _line: &str) {}
}

struct SpinnerStep {
    text: String,
    started: Instant,
    bar: ProgressBar,
}

impl Step for SpinnerStep {
    fn detail(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn finish(self: Box<Self>) {
        self.bar.finish_and_clear();
        console::note(&done(&self.text, self.started.elapsed()));
    }
}

impl Drop for SpinnerStep {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
