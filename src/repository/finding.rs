//! What was found, with its place.

use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

use super::rule::{Rule, Verdict};

/// Findings of one model at most; what lies beyond is counted.
const MOST: usize = 200;
/// Bytes of a line that are drawn: a longer one was not written for readers.
const DRAWN: usize = 4096;

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What a server makes of it.
    pub verdict: Verdict,
    /// The model's folder.
    pub model: String,
    /// The file or folder that it is about.
    pub file: String,
    /// Where in the file, where it is about a place.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What a server does.
    pub server: &'static str,
    /// What to write or do.
    pub fix: String,
    /// The place, drawn.
    #[serde(skip)]
    pub excerpt: Option<String>,
}

/// A place in a text; lines and columns (characters) from 1, the end behind the last character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Its line.
    pub line: usize,
    /// Its column.
    pub column: usize,
    /// The line of its end.
    pub end_line: usize,
    /// The column of its end.
    pub end_column: usize,
}

/// A model's configuration as text, to point at places in it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The model's folder.
    pub model: String,
    /// `config.pbtxt`, as it is shown.
    pub path: String,
    /// What it holds; empty where there is none.
    pub text: String,
}

impl Source {
    fn place(&self, span: &Range<usize>) -> Place {
        let at = |offset: usize| {
            let before = self.text.get(..offset).unwrap_or(&self.text);
            let start = before.rfind('\n').map_or(0, |line| line + 1);
            (before.matches('\n').count() + 1, before.get(start..).unwrap_or_default().chars().count() + 1)
        };
        let ((line, column), (end_line, end_column)) = (at(span.start), at(span.end));
        Place { line, column, end_line, end_column }
    }

    /// The line of `span`'s beginning, with it underlined.
    fn drawn(&self, span: &Range<usize>, line: usize) -> String {
        let start = self.text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |line| line + 1);
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest.find('\n').unwrap_or(rest.len());
        let cut = (0..=length.min(DRAWN)).rev().find(|&cut| rest.is_char_boundary(cut)).unwrap_or(0);
        let text = rest.get(..cut).unwrap_or_default();
        let (from, to) = ((span.start - start).min(text.len()), (span.end.saturating_sub(start)).min(text.len()));
        let report = [Level::ERROR.primary_title("").element(
            Snippet::source(text).line_start(line).path(&self.path).annotation(AnnotationKind::Primary.span(from..to)),
        )];
        let drawn = Renderer::plain().render(&report);
        // The first line is the title.
        drawn.split_once('\n').map_or_else(String::new, |(_, rest)| rest.to_owned())
    }
}

/// Findings of one model as they are made.
#[derive(Debug)]
pub struct Sink<'a> {
    source: &'a Source,
    found: Vec<Finding>,
    dropped: usize,
}

impl<'a> Sink<'a> {
    /// None yet.
    pub const fn new(source: &'a Source) -> Self {
        Self { source, found: Vec::new(), dropped: 0 }
    }

    /// A finding at a place of the configuration.
    pub fn at(
        &mut self,
        rule: Rule,
        verdict: Verdict,
        span: &Range<usize>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        // A place costs a look at the whole text.
        if self.is_full_for(verdict) {
            self.dropped += 1;
            return;
        }
        let place = self.source.place(span);
        let excerpt = self.source.drawn(span, place.line);
        self.push(rule, verdict, self.source.path.clone(), Some((place, Some(excerpt))), message.into(), fix.into());
    }

    /// A finding about the configuration as a whole.
    pub fn whole(&mut self, rule: Rule, verdict: Verdict, message: impl Into<String>, fix: impl Into<String>) {
        self.push(rule, verdict, self.source.path.clone(), None, message.into(), fix.into());
    }

    /// A finding about another file or folder.
    pub fn file(
        &mut self,
        rule: Rule,
        verdict: Verdict,
        file: &Path,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(rule, verdict, file.display().to_string(), None, message.into(), fix.into());
    }

    fn push(
        &mut self,
        rule: Rule,
        verdict: Verdict,
        file: String,
        at: Option<(Place, Option<String>)>,
        message: String,
        fix: String,
    ) {
        let (place, excerpt) = at.map_or((None, None), |(place, excerpt)| (Some(place), excerpt));
        let model = self.source.model.clone();
        let finding = Finding { rule, verdict, model, file, place, message, server: rule.server(), fix, excerpt };
        let same = |kept: &Finding| kept.rule == rule && kept.place == place && kept.message == finding.message;
        // Versions with the same file have the same findings.
        if self.found.iter().any(same) {
            return;
        }
        if self.found.len() < MOST {
            return self.found.push(finding);
        }
        self.dropped += 1;
        // What stops a server is not what is left out.
        if let Some(milder) = self.found.iter_mut().rev().find(|kept| kept.verdict > verdict) {
            *milder = finding;
        }
    }

    /// Whether a finding of this verdict has no room, and none milder than it gives way.
    fn is_full_for(&self, verdict: Verdict) -> bool {
        self.found.len() >= MOST && !self.found.iter().any(|kept| kept.verdict > verdict)
    }

    /// Whether there is a finding that stops the text from being parsed.
    pub fn is_refused(&self) -> bool {
        self.found.iter().any(|finding| finding.verdict == Verdict::Refused)
    }

    /// What was found, in the order of the file, and how many findings were left out.
    pub fn finish(mut self) -> (Vec<Finding>, usize) {
        self.found.sort_by(|one, other| {
            (one.place, &one.file, one.verdict, one.rule).cmp(&(other.place, &other.file, other.verdict, other.rule))
        });
        (self.found, self.dropped)
    }
}
