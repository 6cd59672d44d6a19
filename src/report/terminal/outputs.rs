//! What each output and the labelled data say.

use anstyle::AnsiColor;

use super::{BOLD, Page, color};
use crate::findings::Report;
use crate::findings::verdict::plural;
use crate::report::layout;
use crate::report::outputs;
use crate::report::text::one_line;
use crate::vocabulary::{Status, Task};

impl Page {
    /// What was found of each output, of a model that has several.
    pub(super) fn outputs(&mut self, report: &Report) {
        let mut about = String::new();
        for line in outputs::lines(report) {
            if about != line.about {
                self.gap();
                let head = self.paint(BOLD, &format!("outputs of {}", one_line(&line.about)));
                self.line(&head);
                about.clone_from(&line.about);
            }
            let style = match line.found.status {
                Status::Pass => color(AnsiColor::Green),
                Status::Fail => color(AnsiColor::Red),
                _ => color(AnsiColor::Yellow),
            };
            let text = match line.found.status {
                // Its cell is told below.
                Status::Fail => format!("fails at batch {}", line.batch),
                _ => line.sentence().to_owned(),
            };
            let text = match (line.found.borderline, line.found.confident) {
                // These tell their changes by themselves.
                _ if matches!(line.found.task, Task::Map | Task::Boxes | Task::Tokens | Task::Embedding) => text,
                (0, 0) => text,
                (near, sure) => format!("{text} ({}, {sure} of which it was sure)", plural(near + sure, "change")),
            };
            let name = one_line(&line.found.output);
            self.labelled(2, &name, style, &format!("{}: {text}", line.found.task));
        }
    }

    /// The answers to labelled data, also where all is well.
    pub(super) fn accuracy(&mut self, report: &Report) {
        for (index, text) in layout::accuracy_lines(report).iter().enumerate() {
            (index == 0).then(|| self.gap());
            self.labelled(0, if index == 0 { "accuracy" } else { "" }, BOLD, text);
        }
    }
}
