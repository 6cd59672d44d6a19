//! A golden or a baseline on both sides of a change.

use std::path::Path;

use serde_json::Value;

use super::Pair;
use crate::check::golden::Golden;
use crate::files;
use crate::measure::baseline;

/// What is found of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// What is wrong, a clause each.
    pub(super) problems: Vec<String>,
    /// The reasons that the change brings.
    pub(super) reasons: Vec<String>,
}

/// Judges a golden or a baseline; `None` for any other file.
pub(super) fn judge(pair: &Pair<'_>, all: &[Pair<'_>]) -> Option<Judged> {
    if pair.path.ends_with(".golden") {
        return Some(golden(pair, all));
    }
    if !pair.path.ends_with(".json") {
        return None;
    }
    let is_series = |path: &Option<std::path::PathBuf>| {
        let text = path.as_deref().and_then(|path| files::read_text(path, files::RECORD).ok());
        text.is_some_and(|text| schema(&text).is_some_and(|schema| schema.starts_with(FAMILY)))
    };
    // Whatever it was or has become: a series that is overwritten by something else is gone.
    (is_series(&pair.now) || is_series(&pair.before)).then(|| series(pair))
}

/// How the schemas of baselines start.
const FAMILY: &str = "trtgate.baseline/";

fn schema(text: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Header {
        schema: Option<String>,
    }
    serde_json::from_str::<Header>(text).ok()?.schema
}

fn only(problem: impl Into<String>) -> Judged {
    Judged { problems: vec![problem.into()], reasons: Vec::new() }
}

fn golden(pair: &Pair<'_>, all: &[Pair<'_>]) -> Judged {
    let before = pair.before.as_deref().and_then(|path| Golden::read(path).ok());
    let Some(now) = &pair.now else {
        // A model that got another name takes its golden along.
        let moved = |other: &Pair<'_>| {
            let found = other.now.as_deref().filter(|_| other.before.is_none() && other.path.ends_with(".golden"));
            found.and_then(|path| Golden::read(path).ok()).is_some_and(|found| {
                before.as_ref().is_some_and(|before| found.outputs == before.outputs && found.probes == before.probes)
            })
        };
        return match all.iter().any(moved) {
            true => Judged::default(),
            false => only("is gone; a golden is replaced by `trtgate bless --reason`, not removed"),
        };
    };
    if !is_file(now) {
        return only("is no file");
    }
    if let Some(schema) = Golden::newer(now) {
        return only(format!("is a `{schema}`, newer than this program: upgrade trtgate"));
    }
    let found = match Golden::read(now) {
        Ok(found) => found,
        Err(error) => return only(format!("cannot be read: {}", error.message)),
    };
    // The same in another schema (`trtgate migrate`).
    if before.as_ref() == Some(&found) {
        return Judged::default();
    }
    // What the file says of its blessing is that of the one before, and yet it is another file.
    if before.is_some_and(|before| {
        before.origin.created == found.origin.created && before.origin.reason == found.origin.reason
    }) {
        return only("changed, but its date and reason are those of the earlier blessing");
    }
    match found.origin.reason.trim() {
        "" => only("states no reason"),
        reason => Judged { problems: Vec::new(), reasons: vec![reason.to_owned()] },
    }
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
}

/// The entries of a series, as they are written.
fn entries(path: &Path) -> Result<Vec<Value>, String> {
    let text = files::read_text(path, files::RECORD).map_err(|error| format!("cannot be read: {error}"))?;
    if let Some(schema) = schema(&text).filter(|schema| baseline::is_newer(schema)) {
        return Err(format!("is a `{schema}`, newer than this program: upgrade trtgate"));
    }
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("is no series of entries: {error}"))?;
    match value.get("entries").and_then(Value::as_array) {
        Some(entries) => Ok(entries.clone()),
        None => Err("is no series of entries".to_owned()),
    }
}

/// Whether no run is compared with any of these: processors are told apart by their instruction set, and none names its own.
fn judge_nothing(entries: &[Value]) -> bool {
    entries.iter().all(|entry| {
        let environment = entry.get("environment").and_then(Value::as_object);
        environment.is_some_and(|known| known.contains_key("cpu") && !known.contains_key("instruction-set"))
    })
}

fn series(pair: &Pair<'_>) -> Judged {
    let earlier = pair.before.as_deref().map(entries);
    let Some(now) = &pair.now else {
        return match earlier {
            Some(Ok(earlier)) if judge_nothing(&earlier) => Judged::default(),
            _ => only("is gone; a baseline is appended to, not removed"),
        };
    };
    if !is_file(now) {
        return only("is no file");
    }
    let found = match entries(now) {
        Ok(found) => found,
        Err(problem) => return only(problem),
    };
    // What cannot be read any more has nothing that could be kept.
    let earlier = earlier.and_then(Result::ok).unwrap_or_default();
    let mut judged = Judged::default();
    if found.get(..earlier.len()) != Some(&earlier[..]) {
        judged.problems.push("changes or removes entries that were accepted earlier".to_owned());
    }
    for (number, entry) in found.iter().enumerate().skip(earlier.len()) {
        match entry.get("reason").and_then(Value::as_str).map(str::trim).filter(|reason| !reason.is_empty()) {
            Some(reason) => judged.reasons.push(reason.to_owned()),
            None => judged.problems.push(format!("has no reason in entry {}", number + 1)),
        }
    }
    judged.reasons.dedup();
    judged
}
