//! The report: [`schema`] is the authority, every other form only renders it.
//!
//! | module         | makes |
//! |----------------|-------|
//! | [`schema`]     | the JSON report, `trtgate.report/v1` |
//! | [`plan_file`]  | the JSON plan, `trtgate.plan/v1` |
//! | [`file`]       | reads and writes both, whole or not at all |
//! | [`verdict`]    | the verdict, from cells and requirements |
//! | [`mod@merge`]  | one report out of the reports of shards |
//! | [`terminal`]   | the table for the terminal |
//! | [`mod@markdown`] | a job summary or comment, under 60 kB |
//! | [`junit`]      | JUnit XML, one case a cell |
//! | [`mod@html`]   | one page: matrix, charts, probes, environment |
//! | [`dashboards`] | Bencher and github-action-benchmark |
//! | [`image`]      | probes as images |
//! | `outputs`      | findings by output |
//! | `versions`     | versions of one library beside each other |
//! | [`options`]    | `--json`, `--junit`, `--markdown`, `--html`, … |
//!
//! Renderers are pure functions of a [`schema::Report`]: no clock, no environment, no file.

pub mod dashboards;
pub(crate) mod figures;
pub mod file;
#[cfg(test)]
mod fixtures;
pub mod html;
pub mod image;
pub mod junit;
mod layout;
pub mod markdown;
mod markdown_text;
pub mod merge;
pub mod options;
mod outputs;
pub mod plan_file;
#[cfg(test)]
pub(crate) mod sample;
pub mod terminal;
pub(crate) mod text;
mod versions;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{html, junit, markdown, sample, terminal};

    #[test]
    fn a_reference_is_called_one_wherever_it_is_shown() {
        let mut report = sample::cpu_only();
        report.golden_sha256.clear();
        for cell in report.cells.iter_mut().filter(|cell| cell.runtime.to_string() == "tensorflow") {
            cell.is_reference = true;
        }
        report.judge();
        let table = terminal::render(&report, terminal::Style::default());
        insta::assert_snapshot!(table.lines().filter(|line| line.contains("reference")).collect::<Vec<_>>().join("\n"));
        let skipped = "message=\"reference: no golden is stored";
        assert_eq!(junit::render(&report).unwrap().matches(skipped).count(), 4);
        assert_eq!(markdown::render(&report).matches("⚪ reference, no loss").count(), 4);
        assert!(html::render(&report).matches("</span> reference<").count() >= 8);
    }
}
