//! What a check found, as text for a terminal.

use std::fmt::Write as _;

use super::{Checked, Finding, HeldTo, Outcome, Verdict};

impl Checked {
    /// Every finding as compilers show theirs, then what was looked at and what came of it. `quiet` leaves out notes and files.
    pub fn table(&self, quiet: bool) -> String {
        let mut text = String::new();
        for finding in self.findings.iter().filter(|finding| !quiet || finding.verdict != Verdict::Note) {
            text.push_str(&shown(finding));
            text.push('\n');
        }
        if !quiet {
            self.looked(&mut text);
        }
        let count = |verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count();
        let (refused, accepted, notes) = (count(Verdict::Refused), count(Verdict::Accepted), count(Verdict::Note));
        let outcome = match self.outcome {
            Outcome::Clean => "CLEAN",
            Outcome::Found => "FOUND",
            Outcome::Incomplete => "INCOMPLETE",
        };
        let models = self.models.len();
        let _ = writeln!(
            text,
            "{outcome}  {models} model{}: {refused} refused by a server, {accepted} accepted though wrong, {notes} note{}",
            if models == 1 { "" } else { "s" },
            if notes == 1 { "" } else { "s" },
        );
        text
    }

    fn looked(&self, text: &mut String) {
        for model in &self.models {
            let versions: Vec<String> = model.versions.iter().rev().map(i64::to_string).collect();
            let served = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
            let _ = writeln!(text, "{}  {} · versions served: {served}", model.name, model.backend);
            for file in &model.files {
                let held = match file.held_to {
                    HeldTo::Graph => "held to its inputs and outputs",
                    HeldTo::HeaderAndProfiles => "held to product, version and profiles",
                    HeldTo::Header => "held to product and version",
                    HeldTo::Nothing => "not looked at",
                };
                let reason = file.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                let _ = writeln!(text, "  {}  {held}{reason}", file.file);
            }
            for unknown in &model.unknown {
                let _ = writeln!(text, "  unknown: {unknown}; `--server-tensorrt VERSION` says it");
            }
            for unchecked in &model.unchecked {
                let _ = writeln!(text, "  not checked: {unchecked}");
            }
            if model.further > 0 {
                let _ = writeln!(text, "  and {} further findings", model.further);
            }
        }
        if !self.models.is_empty() {
            text.push('\n');
        }
    }
}

/// A finding, its place, what a server does, and the next step.
fn shown(finding: &Finding) -> String {
    let level = match finding.verdict {
        Verdict::Refused => "error",
        Verdict::Accepted => "warning",
        Verdict::Note => "note",
    };
    let mut text = format!("{level}[{}]: {}\n", finding.rule.name(), finding.message);
    match &finding.excerpt {
        Some(excerpt) => {
            text.push_str(excerpt.trim_end());
            text.push('\n');
        }
        None => {
            let _ = writeln!(text, " --> {}", finding.file);
        }
    }
    let _ = writeln!(text, "  = {}: {}", said(finding.verdict), finding.server);
    let _ = writeln!(text, "  = fix: {}", finding.fix);
    text
}

const fn said(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Refused => "refused",
        Verdict::Accepted => "accepted",
        Verdict::Note => "server",
    }
}
