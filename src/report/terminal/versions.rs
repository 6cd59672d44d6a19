//! Versions of one library beside each other.

use super::{BOLD, DIM, Page, color, sign};
use crate::findings::Report;
use crate::report::figures;
use crate::report::versions::{self, OfLibrary, libraries};
use crate::vocabulary::Status;
use anstyle::{AnsiColor, Style as Ansi};

impl Page {
    /// Each version beside the oldest, at the largest batch of each precision.
    pub(super) fn versions(&mut self, report: &Report) {
        for of in libraries(report) {
            self.gap();
            let head = format!("{}s of {} at the largest batch, each beside the {}", of.one(), of.library, of.first());
            let head = self.paint(BOLD, &head);
            self.line(&head);
            let titles = format!(
                "  {:<12} {:>6} {:>4} {:>9} {:>8} {:>6} {:>9} {:>6} {:>6}",
                of.one(),
                "differ",
                "near",
                "SQNR",
                "size",
                "",
                "samples/s",
                "",
                "build"
            );
            let titles = self.paint(DIM, &titles);
            self.line(&titles);
            for row in of.largest() {
                let head = format!("{}, batch {}", versions::precision(row), row.batch);
                let head = self.paint(BOLD, &head);
                self.line(&head);
                self.version_rows(row);
            }
            self.version_notes(&of, report);
        }
    }

    fn version_rows(&mut self, row: &crate::findings::versions::VersionRow) {
        for (place, figures) in row.versions.iter().enumerate() {
            let pair = row.beside_oldest(&figures.version);
            let compared = pair.filter(|pair| pair.is_compared());
            let (near, differ) = compared.map_or((String::new(), String::new()), |pair| {
                let (near, sure) = pair.changes();
                (near.to_string(), (near + sure).to_string())
            });
            let noise = match compared {
                Some(pair) if pair.equal => "equal".to_owned(),
                Some(pair) => pair.worst().map_or_else(String::new, |worst| figures::decibels(worst.sqnr_db)),
                None if pair.is_some() => "–".to_owned(),
                None => String::new(),
            };
            let apart = compared.is_some_and(|pair| pair.status == Status::Fail);
            let style = if apart { color(AnsiColor::Yellow).bold() } else { Ansi::new() };
            let (mark, mark_style) = sign(figures.status);
            let mark = self.paint(mark_style, &mark.to_string());
            let noise = self.paint(style, &format!("{noise:>9}"));
            let size = figures.bytes.map_or_else(String::new, figures::bytes);
            let build = figures.build_seconds.map_or_else(String::new, |seconds| format!("{seconds:.0} s"));
            self.line(&format!(
                "  {mark} {:<10} {differ:>6} {near:>4} {noise} {size:>8} {:>6} {:>9} {:>6} {build:>6}",
                figures.version,
                versions::ratio(figures.size_ratio, place == 0),
                versions::rate(figures),
                versions::ratio(figures.speed_ratio, place == 0),
            ));
        }
    }

    fn version_notes(&mut self, of: &OfLibrary<'_>, report: &Report) {
        if let Some(text) = versions::furthest(of, report) {
            self.labelled(0, "note", DIM, &text);
        }
        for (reason, pairs) in of.silent() {
            let text = format!("{} not compared: {reason}", crate::findings::verdict::plural(pairs, "pair"));
            self.labelled(0, "note", DIM, &text);
        }
        self.labelled(0, "note", DIM, &of.reading());
    }
}
