//! `trtgate merge`: joins the reports of shards.

use std::path::PathBuf;

use clap::Args;

use crate::check::cross;
use crate::cli::selection::word;
use crate::cli::{Global, output, report};
use crate::error::Result;
use crate::report::options::RenderOptions;
use crate::report::{file, merge};
use crate::vocabulary::RuntimeId;

/// Arguments of `trtgate merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "The exit code is that of the joined verdict. A planned cell that no report holds makes it 3, and\n\
    stands in the joined report as invalid."
)]
pub struct MergeArguments {
    /// The plan that the shards were made from (`trtgate gate --plan-json`): every cell of it must be reported
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Runtimes that must have run in some shard, `tensorrt@8.5` (repeatable)
    #[arg(long, value_name = "RUNTIME", value_delimiter = ',', value_parser = word::<RuntimeId>)]
    pub require: Vec<RuntimeId>,
    /// The JSON reports of the shards
    #[arg(value_name = "REPORT", required = true)]
    pub reports: Vec<PathBuf>,
    /// Where to render the joined report to
    #[command(flatten)]
    pub render: RenderOptions,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &MergeArguments) -> Result<u8> {
    let plan = arguments.plan.as_deref().map(file::read_plan).transpose()?;
    let mut shards = Vec::with_capacity(arguments.reports.len());
    for path in &arguments.reports {
        let mut report = file::read(path)?;
        report.requirements.runtimes.extend(arguments.require.iter().cloned());
        shards.push((path.display().to_string(), report));
    }
    let merged = merge::merge(&shards, plan.as_ref(), Some(&cross::conclude))?;
    // The report is written even with cells lost, so that a reader of the comment sees which.
    let code = report::deliver(global, &merged.report, &arguments.render);
    if let Some(error) = merge::lost_cells(&merged.lost, &merged.absent, plan.as_ref()) {
        output::print_error(&error);
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::{Path, PathBuf};

    use clap::Parser;
    use rstest::rstest;

    use crate::check::cross;
    use crate::cli::{Arguments, Command, EXIT_FAIL, EXIT_INCOMPLETE, EXIT_PASS};
    use crate::error::{ErrorKind, Result};
    use crate::findings::Report;
    use crate::report::{file, merge, sample};

    /// Writes `whole` in four shards and its plan; returns the shards' files.
    fn shards(folder: &Path, whole: &Report) -> Vec<PathBuf> {
        let plan = serde_json::to_string(&sample::plan_of(whole)).unwrap();
        file::write_text(&folder.join("plan.json"), &plan).unwrap();
        (0..4)
            .map(|index| {
                let mut shard = whole.clone();
                shard.cells = whole.cells.iter().skip(index).step_by(4).cloned().collect();
                shard.judge();
                let path = folder.join(format!("shard-{index}.json"));
                file::write(&shard, &path).unwrap();
                path
            })
            .collect()
    }

    fn run(folder: &Path, reports: &[PathBuf]) -> Result<u8> {
        let plan = folder.join("plan.json");
        let merged = folder.join("merged.json");
        let mut line: Vec<PathBuf> = ["trtgate", "merge", "--quiet", "--plan"].map(PathBuf::from).to_vec();
        line.push(plan);
        line.extend_from_slice(reports);
        line.extend([PathBuf::from("--json"), merged]);
        let arguments = Arguments::try_parse_from(line).unwrap();
        let Command::Merge(command) = &arguments.command else { unreachable!() };
        super::run(&arguments.global, command)
    }

    #[rstest]
    #[case(sample::passing(), EXIT_PASS)]
    #[case(sample::failing(), EXIT_FAIL)]
    fn four_shards_equal_the_whole(#[case] mut whole: Report, #[case] code: u8) {
        whole.cross = cross::check(&whole.cells);
        whole.judge();
        let folder = tempfile::tempdir().unwrap();
        let files = shards(folder.path(), &whole);
        assert_eq!(run(folder.path(), &files).unwrap(), code);
        let merged = file::read(&folder.path().join("merged.json")).unwrap();
        assert_eq!(merge::normalised(&merged), merge::normalised(&whole));
    }

    #[test]
    fn a_withheld_shard_exits_3_and_stands_in_the_report() {
        let folder = tempfile::tempdir().unwrap();
        let whole = sample::passing();
        let mut files = shards(folder.path(), &whole);
        files.remove(1);
        assert_eq!(run(folder.path(), &files).unwrap(), EXIT_INCOMPLETE);
        let merged = file::read(&folder.path().join("merged.json")).unwrap();
        assert_eq!(merged.cells.len(), whole.cells.len());
    }

    #[test]
    fn a_truncated_shard_is_an_input_error() {
        let folder = tempfile::tempdir().unwrap();
        let files = shards(folder.path(), &sample::passing());
        let text = std::fs::read_to_string(&files[2]).unwrap();
        std::fs::write(&files[2], &text[..text.len() / 2]).unwrap();
        let error = run(folder.path(), &files).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
        assert!(error.message.ends_with("shard-2.json` is truncated"), "{error}");
        assert!(!folder.path().join("merged.json").exists());
    }
}
