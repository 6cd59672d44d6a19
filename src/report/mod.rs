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
//! | [`options`]    | `--json`, `--junit`, `--markdown`, `--html`, … |
//!
//! Renderers are pure functions of a [`schema::Report`]: no clock, no environment, no file.

pub mod dashboards;
mod figures;
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
mod non_finite;
pub mod options;
pub mod plan_file;
#[cfg(test)]
pub(crate) mod sample;
pub mod schema;
pub mod terminal;
mod text;
pub mod verdict;
