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
//! | `junit`        | JUnit XML, one case a cell |
//! | `html`   | one page: matrix, charts, probes, environment |
//! | `dashboards`   | Bencher and github-action-benchmark |
//! | `annotations`  | what stands beside the lines of the manifest: GitHub, GitLab, [`sarif`] |
//! | [`blessing`]   | what a blessing changes, for its reviewer |
//! | [`image`]      | probes as images |
//! | `outputs`      | findings by output |
//! | `versions`     | versions of one library beside each other |
//! | `options`    | `--json`, `--junit`, `--markdown`, `--html`, … |
//!
//! Renderers are pure functions of a [`schema::Report`]: no clock, no environment, no file.

#[cfg(feature = "cli")]
pub mod annotations;
pub mod blessing;
#[cfg(feature = "cli")]
pub mod dashboards;
pub(crate) mod figures;
pub mod file;
#[cfg(test)]
mod fixtures;
#[cfg(feature = "cli")]
pub mod html;
pub mod image;
#[cfg(feature = "cli")]
pub mod junit;
mod layout;
mod load;
pub mod markdown;
mod markdown_text;
pub mod merge;
#[cfg(feature = "cli")]
pub mod options;
mod outputs;
pub mod plan_file;
#[cfg(test)]
pub(crate) mod sample;
pub mod sarif;
pub mod terminal;
pub(crate) mod text;
mod versions;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{html, junit, markdown, sample, terminal};
    use crate::findings::{Gpu, MemoryFigures, Replicas, Report};

    /// Every form names the cards, the card of a cell, and what replicas reached.
    #[test]
    fn several_gpus_are_shown_in_every_form() {
        let mut report = sample::passing();
        let gpu = |index: usize| Gpu {
            index,
            name: "NVIDIA H100".to_owned(),
            uuid: format!("GPU-{index}<b>"),
            memory_bytes: 85_000_000_000,
            is_slice: index == 1,
            others: vec!["process 77 with 2.0 GB".to_owned()],
        };
        report.machine.gpu = Some("NVIDIA H100".to_owned());
        let one = terminal::render(&report, terminal::Style::default());
        assert!(one.contains(", NVIDIA H100") || one.contains("· NVIDIA H100"), "{one}");
        report.machine.gpus = vec![gpu(0), gpu(1)];
        report.machine.visible_devices = Some("3,4".to_owned());
        let replicas = Replicas { gpus: vec![0, 1], each: vec![350.0, 340.0], alone: 350.0 };
        for cell in report.cells.iter_mut().filter(|cell| cell.runtime.library.on_gpu()) {
            cell.gpu = Some(1);
            cell.memory = Some(MemoryFigures { context_bytes: Some(3_100_000), process_bytes: Some(1_234_000_000) });
            cell.replicas = Some(replicas.clone());
            cell.notes.push(replicas.sentence());
        }
        let text = terminal::render(&report, terminal::Style::default());
        assert!(
            text.contains("2 × NVIDIA H100") && text.contains(" · GPU 1") && text.contains("MB, context 3.1 MB"),
            "{text}"
        );
        let text = markdown::render(&report);
        assert!(
            text.contains("2 × NVIDIA H100") && text.contains(", GPU 1 |") && text.contains("MB, context 3.1 MB |"),
            "{text}"
        );
        assert!(
            text.contains("- GPU 0: GPU-0") && text.contains("a slice of a card") && text.contains("process 77"),
            "{text}"
        );
        let page = html::render(&report);
        assert!(page.contains("2 × NVIDIA H100") && page.contains("GPU-1&lt;b&gt;") && page.contains("number 1"));
        assert!(page.contains("1.971 × one alone") && page.contains("CUDA_VISIBLE_DEVICES"));
        assert!(page.contains("Device memory of a context") && page.contains("1.2 GB at its highest"));
        let junit = junit::render(&report).unwrap();
        assert!(
            junit.contains("name=\"process-bytes\" value=\"1234000000\"") && junit.contains("name=\"context-bytes\"")
        );
        assert!(
            junit.contains("name=\"gpu\" value=\"1\"")
                && junit.contains("name=\"replicas-samples-per-second\" value=\"690\"")
        );
        // JSON keeps it all, and reports that were made before are read as ever.
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
        let before = serde_json::to_value(sample::passing()).unwrap();
        assert!(before["machine"].get("gpus").is_none() && before["cells"][0].get("gpu").is_none());
    }

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
