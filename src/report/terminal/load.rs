//! Cells under load.

use super::{DIM, Page};
use crate::findings::Report;
use crate::report::load::{HEADS, against, cells, points, row};

impl Page {
    /// What came of each cell under load, and its runs.
    pub(super) fn load(&mut self, report: &Report) {
        for (cell, load) in cells(report) {
            self.gap();
            self.labelled(0, "load", DIM, &format!("{}: {}", cell.id(), load.sentence()));
            if let Some(against) = against(load) {
                self.labelled(0, "", DIM, against);
            }
            let rows: Vec<[String; HEADS.len()]> = points(load).into_iter().map(row).collect();
            let width = |column: usize| {
                let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
                cells.chain(HEADS.get(column).map(|head| head.chars().count())).max().unwrap_or(0)
            };
            let line = |row: &[String]| {
                let cells = row.iter().enumerate().map(|(column, cell)| {
                    format!("{}{cell}", " ".repeat(width(column).saturating_sub(cell.chars().count())))
                });
                format!("  {}", cells.collect::<Vec<_>>().join(" "))
            };
            let heads = self.paint(DIM, &line(&HEADS.map(str::to_owned)));
            self.line(&heads);
            rows.iter().for_each(|row| self.line(&line(row)));
        }
    }
}
