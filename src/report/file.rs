//! Reading and writing of report files.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};

use crate::atomic;
use crate::error::{Error, Result};
use crate::files;
use crate::findings::{CellReport, Report, SCHEMA};
use crate::report::plan_file::{PLAN_SCHEMA, PlanFile};
use crate::vocabulary::Status;
use crate::vocabulary::schemas::is_newer;

/// Reads the JSON report at `path`.
///
/// # Errors
/// `Input` when the file is missing, truncated, not JSON, of another schema, or has a field that does not fit.
pub fn read(path: &Path) -> Result<Report> {
    parse(&contents(path)?, &path.display().to_string())
}

/// Parses a JSON report; `name` is what messages call it.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, name: &str) -> Result<Report> {
    let report: Report = parse_as(text, name, SCHEMA, "report", "`trtgate gate --json`")?;
    let mut seen = std::collections::BTreeSet::new();
    for cell in &report.cells {
        if !seen.insert(cell.id()) {
            return Err(Error::input(format!("`{name}` holds cell `{}` twice", cell.id())));
        }
        if let Some(why) = contradiction(cell) {
            return Err(Error::input(format!("`{name}` contradicts itself: cell `{}` passed, but {why}", cell.id()))
                .hint("use the report as `trtgate gate --json` wrote it"));
        }
    }
    let mut judged = report.clone();
    judged.judge();
    if judged.verdict != report.verdict {
        return Err(Error::input(format!("`{name}` contradicts itself: its verdict is {}", report.verdict))
            .cause(format!("its cells give {}", judged.verdict))
            .hint("use the report as `trtgate gate --json` wrote it"));
    }
    Ok(report)
}

/// Why a cell that says that it passed cannot have, if so.
fn contradiction(cell: &CellReport) -> Option<String> {
    if cell.status != Status::Pass {
        return None;
    }
    let gating = || cell.checks.iter().filter(|check| check.gating);
    if let Some(check) = gating().find(|check| matches!(check.status, Status::Fail | Status::Invalid)) {
        return Some(format!("its check `{}` is {}", check.name, check.status));
    }
    if !gating().any(|check| check.status == Status::Pass) {
        return Some("no check says so".to_owned());
    }
    let finite = cell.error.as_ref().is_some_and(|error| {
        [error.max_abs, error.mean_abs, error.p99_abs, error.cosine_min, error.sqnr_db]
            .iter()
            .all(|one| one.is_finite())
    });
    (!finite).then(|| "its error is not a number".to_owned())
}

/// Reads the plan at `path`.
///
/// # Errors
/// As [`read`].
pub fn read_plan(path: &Path) -> Result<PlanFile> {
    parse_as(&contents(path)?, &path.display().to_string(), PLAN_SCHEMA, "plan", "`trtgate gate --plan-json`")
}

/// Writes a plan as JSON, whole or not at all.
///
/// # Errors
/// If the file cannot be written.
pub fn write_plan(plan: &PlanFile, path: &Path) -> Result<()> {
    may_overwrite(path)?;
    let mut text = serde_json::to_string_pretty(plan)
        .map_err(|error| Error::machine("cannot write the plan as JSON").because(error))?;
    text.push('\n');
    write_text(path, &text)
}

/// The report as it is written: indented JSON with a final newline.
///
/// # Errors
/// `Failed` when a value has no form in JSON.
pub fn to_json(report: &Report) -> Result<String> {
    let mut text = serde_json::to_string_pretty(report)
        .map_err(|source| Error::failed("cannot write the report as JSON").because(source))?;
    text.push('\n');
    Ok(text)
}

/// Writes `report` to `path` as JSON, whole or not at all.
///
/// # Errors
/// `Machine` or `Input` when the file cannot be written.
pub fn write(report: &Report, path: &Path) -> Result<()> {
    write_text(path, &to_json(report)?)
}

/// Writes `text` to `path`, whole or not at all; `-` is standard output.
///
/// A new file without a name is synced and takes the target's place. A target that is no regular file (`/dev/stdout`, a
/// pipe) is written directly, because a new file would replace it; a pipe that nobody reads is an error.
///
/// # Errors
/// `Machine` or `Input` when the file cannot be written.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    let failed = |source| Error::io("write", path, source);
    if path == Path::new("-") {
        let mut stdout = std::io::stdout().lock();
        return stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(failed);
    }
    // A link keeps pointing where it points; its target is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return files::write_special(&target, text.as_bytes()).map_err(failed);
    }
    atomic::write(&target, text.as_bytes())
}

/// Refuses to write a report over what a newer program wrote.
///
/// # Errors
/// `Usage` for a report or plan of a later schema.
pub fn may_overwrite(path: &Path) -> Result<()> {
    #[derive(Deserialize)]
    struct Header {
        schema: String,
    }
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let text = is_file.then(|| files::read_text(path, files::RECORD).ok()).flatten();
    let Some(Header { schema }) = text.and_then(|text| serde_json::from_str(&text).ok()) else { return Ok(()) };
    if [SCHEMA, PLAN_SCHEMA].iter().any(|own| is_newer(&schema, own)) {
        return Err(Error::usage(format!("`{}` is a `{schema}`, newer than this program", path.display()))
            .hint("upgrade trtgate: what a newer version wrote is not overwritten by an older one"));
    }
    Ok(())
}

fn contents(path: &Path) -> Result<String> {
    let read = match path == Path::new("-") {
        true => files::standard_input(files::RECORD),
        false => files::read_text(path, files::RECORD),
    };
    read.map_err(|source| Error::io("read", path, source))
}

/// Parses JSON whose `schema` must be `schema`. The schema is read first, so that a foreign file is called foreign
/// instead of being blamed for the first field that it lacks.
fn parse_as<T: DeserializeOwned>(text: &str, name: &str, schema: &str, what: &str, maker: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Header {
        schema: Option<String>,
    }
    let hint = || format!("give the JSON file that {maker} writes");
    let header: Header = serde_json::from_str(text).map_err(|source| broken(name, text, source).hint(hint()))?;
    match header.schema {
        Some(found) if found == schema => {}
        Some(found) => {
            let message = format!("`{name}` has schema `{found}`, but a {what} has `{schema}`");
            let hint = match is_newer(&found, schema) {
                true => "upgrade trtgate: a newer version wrote this file".to_owned(),
                false => hint(),
            };
            return Err(Error::input(message).hint(hint));
        }
        None => {
            return Err(Error::input(format!("`{name}` is not a trtgate {what}: it names no `schema`")).hint(hint()));
        }
    }
    serde_json::from_str(text).map_err(|source| Error::input(format!("`{name}` is not a valid {what}")).because(source))
}

fn broken(name: &str, text: &str, source: serde_json::Error) -> Error {
    let what = match source.classify() {
        serde_json::error::Category::Eof if text.trim().is_empty() => "is empty",
        serde_json::error::Category::Eof => "is truncated",
        _ => "is not a JSON object",
    };
    Error::input(format!("`{name}` {what}")).because(source)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::report::sample;

    #[test]
    fn a_report_reads_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let report = sample::failing();
        write(&report, &path).unwrap();
        assert_eq!(read(&path).unwrap(), report);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn nan_reads_back_as_nan() {
        let mut report = sample::passing();
        report.cells[0].error.as_mut().unwrap().max_abs = f64::NAN;
        report.cells[0].error.as_mut().unwrap().sqnr_db = f64::INFINITY;
        report.cells[0].status = Status::Fail;
        report.judge();
        let read = parse(&to_json(&report).unwrap(), "report.json").unwrap();
        let error = read.cells[0].error.as_ref().unwrap();
        assert!(error.max_abs.is_nan() && error.sqnr_db.is_nan());
    }

    #[rstest]
    #[case::no_checks(|report: &mut Report| report.cells[0].checks.clear(), "passed, but no check says so")]
    #[case::failed_check(|report: &mut Report| report.cells[0].checks[0].status = Status::Fail, "passed, but its check `")]
    #[case::no_number(
        |report: &mut Report| report.cells[0].error.as_mut().unwrap().max_abs = f64::NAN, "passed, but its error is not"
    )]
    #[case::verdict(|report: &mut Report| report.cells[0].status = Status::Fail, "its verdict is pass")]
    fn a_report_that_contradicts_itself_is_refused(#[case] edit: impl FnOnce(&mut Report), #[case] why: &str) {
        let mut report = sample::passing();
        assert!(report.cells[0].checks[0].gating);
        edit(&mut report);
        let error = parse(&to_json(&report).unwrap(), "r.json").unwrap_err();
        assert!(error.message.starts_with("`r.json` contradicts itself") && error.message.contains(why), "{error}");
    }

    #[rstest]
    #[case::empty("", "`r.json` is empty")]
    #[case::truncated("{\"schema\": \"trtgate.report/v1\", \"verd", "`r.json` is truncated")]
    #[case::not_json("<html>", "`r.json` is not a JSON object")]
    #[case::a_list("[]", "`r.json` is not a JSON object")]
    #[case::no_schema("{}", "`r.json` is not a trtgate report: it names no `schema`")]
    #[case::foreign(
        "{\"schema\": \"other/v2\"}",
        "`r.json` has schema `other/v2`, but a report has `trtgate.report/v1`"
    )]
    #[case::short("{\"schema\": \"trtgate.report/v1\"}", "`r.json` is not a valid report")]
    fn a_foreign_file_is_named(#[case] text: &str, #[case] message: &str) {
        assert_eq!(parse(text, "r.json").unwrap_err().message, message);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let text = to_json(&sample::passing()).unwrap();
        for end in (0..text.trim_end().len()).step_by(97) {
            assert!(text.get(..end).is_none_or(|start| parse(start, "r.json").is_err()), "cut at {end}");
        }
    }

    #[test]
    fn a_doubled_cell_is_refused() {
        let mut report = sample::passing();
        report.cells.push(report.cells[0].clone());
        let error = parse(&to_json(&report).unwrap(), "r.json").unwrap_err();
        assert_eq!(error.message, "`r.json` holds cell `tensorflow/fp32/batch-1` twice");
    }

    #[test]
    fn a_missing_folder_is_an_input_error() {
        let error = write_text(Path::new("no-such-folder/report.json"), "{}").unwrap_err();
        assert_eq!(error.kind, crate::error::ErrorKind::Input);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_and_not_replaced() {
        write_text(Path::new("/dev/null"), "text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
