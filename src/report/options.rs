//! The options that say into which files a report is rendered, the same for every command that has one.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};
use crate::findings::Report;
use crate::report::dashboards::{self, Better};
use crate::report::{annotations, file, html, junit, markdown};

/// Files to render the report into; `-` is standard output.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Report files")]
pub struct RenderOptions {
    /// Write the JSON report, the authority that all others render
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write JUnit XML, one test case a cell
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write Markdown for a job summary or a pull request comment, under 60 kB
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write one HTML page that needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write what failed as SARIF 2.1.0, with file and line of the manifest's key, each cause once
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Write the same as GitLab's code quality report
    #[arg(long, value_name = "FILE")]
    pub code_quality: Option<PathBuf>,
    /// Write Bencher Metric Format
    #[arg(long, value_name = "FILE")]
    pub bmf: Option<PathBuf>,
    /// Write for github-action-benchmark: `FILE` names two, `*.bigger.json` and `*.smaller.json`, by which is better
    #[arg(long, value_name = "FILE")]
    pub benchmark_json: Option<PathBuf>,
}

impl RenderOptions {
    /// Whether no file is asked for.
    pub fn is_empty(&self) -> bool {
        self.files().next().is_none()
    }

    /// Whether one of the forms goes to standard output, so that nothing else should.
    pub fn uses_stdout(&self) -> bool {
        self.files().any(|path| path == Path::new("-"))
    }

    /// Refuses files that could not be written once everything has run.
    ///
    /// # Errors
    /// `Usage` for one in a folder that does not exist, or that is a folder.
    pub fn check(&self) -> Result<()> {
        for path in self.files().filter(|path| path.as_path() != Path::new("-")) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                return Err(Error::usage(format!("`{}` cannot be written: its folder does not exist", path.display())));
            }
            if path.is_dir() {
                return Err(Error::usage(format!("`{}` cannot be written: it is a folder", path.display())));
            }
            file::may_overwrite(path)?;
        }
        Ok(())
    }

    /// Renders `report` into every file that was asked for; returns an error for each that could not be rendered or
    /// written. The others are there, each whole.
    #[must_use = "a report that could not be written is lost"]
    pub fn write_all(&self, report: &Report) -> Vec<Error> {
        let mut lost = Vec::new();
        let mut write = |path: &Path, text: Result<String>| {
            lost.extend(text.and_then(|text| file::write_text(path, &text)).err());
        };
        if let Some(path) = &self.json {
            write(path, file::to_json(report));
        }
        if let Some(path) = &self.junit {
            write(path, junit::render(report));
        }
        if let Some(path) = &self.markdown {
            write(path, Ok(markdown::render(report)));
        }
        if let Some(path) = &self.html {
            write(path, Ok(html::render(report)));
        }
        if let Some(path) = &self.sarif {
            write(path, annotations::sarif(report));
        }
        if let Some(path) = &self.code_quality {
            write(path, annotations::code_quality(report));
        }
        if let Some(path) = &self.bmf {
            write(path, dashboards::bencher(report));
        }
        if let Some(path) = &self.benchmark_json {
            for (better, word) in [(Better::Bigger, "bigger"), (Better::Smaller, "smaller")] {
                write(&split_name(path, word), dashboards::github_action_benchmark(report, better));
            }
        }
        lost
    }

    /// The same for one of several models, whose name is put before the extension of each file.
    pub fn of_model(&self, name: &str) -> Self {
        let named = |path: &Option<PathBuf>| path.as_deref().map(|path| of_model(path, name));
        Self {
            json: named(&self.json),
            junit: named(&self.junit),
            markdown: named(&self.markdown),
            html: named(&self.html),
            sarif: named(&self.sarif),
            code_quality: named(&self.code_quality),
            bmf: named(&self.bmf),
            benchmark_json: named(&self.benchmark_json),
        }
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let pages = [&self.json, &self.junit, &self.markdown, &self.html, &self.sarif, &self.code_quality];
        pages.into_iter().chain([&self.bmf, &self.benchmark_json]).flatten()
    }
}

/// `report.json` → `report.NAME.json`.
pub fn of_model(path: &Path, name: &str) -> PathBuf {
    match path.extension() {
        Some(extension) => path.with_extension(format!("{name}.{}", extension.to_string_lossy())),
        None => path.with_extension(name),
    }
}

/// `bench.json` → `bench.bigger.json`; standard output stays itself.
fn split_name(path: &Path, word: &str) -> PathBuf {
    if path == Path::new("-") {
        return path.to_owned();
    }
    match path.extension() {
        Some(extension) => path.with_extension(format!("{word}.{}", extension.to_string_lossy())),
        None => path.with_extension(format!("{word}.json")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::report::sample;

    #[rstest]
    #[case("bench.json", "bench.bigger.json")]
    #[case("out/bench", "out/bench.bigger.json")]
    #[case("-", "-")]
    fn benchmark_files_are_named_by_direction(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(split_name(Path::new(path), "bigger"), PathBuf::from(expected));
    }

    #[test]
    fn every_form_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(folder.path().join(name));
        let options = RenderOptions {
            json: path("report.json"),
            junit: path("junit.xml"),
            markdown: path("summary.md"),
            html: path("report.html"),
            sarif: path("report.sarif"),
            code_quality: path("quality.json"),
            bmf: path("bmf.json"),
            benchmark_json: path("benchmark.json"),
        };
        assert_eq!(options.write_all(&sample::failing()), []);
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = [
            "benchmark.bigger.json",
            "benchmark.smaller.json",
            "bmf.json",
            "junit.xml",
            "quality.json",
            "report.html",
            "report.json",
            "report.sarif",
            "summary.md",
        ];
        assert_eq!(names, expected);
        assert!(RenderOptions::default().is_empty() && !options.is_empty() && !options.uses_stdout());
    }
    #[cfg(target_os = "linux")]
    #[test]
    fn one_file_that_cannot_be_written_loses_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(folder.path().join(name));
        let options = RenderOptions {
            json: Some("/dev/full".into()),
            junit: path("no/such/folder/junit.xml"),
            html: path("report.html"),
            ..RenderOptions::default()
        };
        let lost = options.write_all(&sample::passing());
        let messages: Vec<&str> = lost.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0], "cannot write `/dev/full`");
        assert_eq!(lost[0].kind, crate::error::ErrorKind::Machine);
        assert!(folder.path().join("report.html").is_file());
    }
}
