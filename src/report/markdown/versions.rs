//! Versions of one library beside each other.

use super::{Page, code, outside, sign};
use crate::findings::Report;
use crate::findings::versions::VersionRow;
use crate::report::figures;
use crate::report::versions::{self, libraries};
use crate::vocabulary::Status;

/// Each version beside the oldest, at the largest batch of each precision.
pub(super) fn section(page: &mut Page, report: &Report) {
    for of in libraries(report) {
        let mut head = format!("\n### {}\n\n", of.title());
        if let Some(text) = versions::furthest(&of, report) {
            head.push_str(&format!("- {}\n", outside(&text)));
        }
        for (reason, pairs) in of.silent() {
            let pairs = crate::findings::verdict::plural(pairs, "pair");
            head.push_str(&format!("- {pairs} not compared: {}\n", outside(reason)));
        }
        head.push_str(&format!("- {}\n\n", of.reading()));
        head.push_str(&format!("| precision, largest batch | {} | beside the {} | SQNR | size | samples/s | build |\n|---|---|---|---:|---:|---:|---:|\n", of.one(), of.first()));
        let rows: Vec<String> = of.largest().into_iter().flat_map(rows).collect();
        page.push_rows(&head, &rows, "\n", of.one());
    }
}

fn rows(row: &VersionRow) -> Vec<String> {
    let each = row.versions.iter().enumerate().map(|(place, figures)| {
        let pair = row.beside_oldest(&figures.version);
        let beside = pair.map_or_else(String::new, |pair| {
            let mark = if pair.status == Status::Fail { "⚠️ " } else { "" };
            format!("{mark}{}", versions::changes(pair))
        });
        let noise = pair.and_then(|pair| pair.worst().map(|worst| figures::decibels(worst.sqnr_db)));
        let joined = |one: String, other: String| format!("{one} {other}").trim().to_owned();
        let first = place == 0;
        format!(
            "| {} | {} {} | {beside} | {} | {} | {} | {} |\n",
            if first { format!("{}, {}", versions::precision(row), row.batch) } else { String::new() },
            sign(figures.status),
            code(&figures.version),
            noise.unwrap_or_default(),
            joined(figures.bytes.map_or_else(String::new, figures::bytes), versions::ratio(figures.size_ratio, first)),
            joined(versions::rate(figures), versions::ratio(figures.speed_ratio, first)),
            figures.build_seconds.map_or_else(String::new, |seconds| format!("{seconds:.0} s"))
        )
    });
    each.collect()
}
