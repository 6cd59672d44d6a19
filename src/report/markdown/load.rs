//! Cells under load.

use super::{Page, TEXT_LIMIT, code};
use crate::findings::Report;
use crate::report::load::{HEADS, against, cells, points, row};
use crate::report::markdown_text::escape;
use crate::report::text::shortened;

/// What came of each cell under load, and its runs.
pub(super) fn section(page: &mut Page, report: &Report) {
    for (index, (cell, load)) in cells(report).into_iter().enumerate() {
        if index == 0 {
            page.push("\n### Under load\n\n");
        }
        page.push(&format!(
            "{}: {}\n\n",
            code(&cell.id().to_string()),
            escape(&shortened(&load.sentence(), TEXT_LIMIT))
        ));
        if let Some(against) = against(load) {
            page.push(&format!("{}\n\n", escape(&shortened(against, TEXT_LIMIT))));
        }
        let head = format!("| {} |\n|{}\n", HEADS.join(" | "), "---:|".repeat(HEADS.len()));
        let rows: Vec<String> =
            points(load).into_iter().map(|point| format!("| {} |\n", row(point).join(" | "))).collect();
        page.push_rows(&head, &rows, "\n", "run under load");
    }
}
