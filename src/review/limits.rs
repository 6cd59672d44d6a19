//! Limits that a change widens, and requirements that it drops.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::git::Changed;
use super::manifests::{Manifests, plain};
use super::{Finding, Reviewed};
use crate::atomic::folder_of;
use crate::manifest::review::Review;
use crate::measure::thresholds::FILE_NAME;
use crate::vocabulary::Task;

/// Which way a limit allows more.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wider {
    /// As it grows.
    Up,
    /// As it falls.
    Down,
}

/// A limit that a manifest names.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limit {
    value: f64,
    wider: Wider,
    /// Whether a manifest without it is held to nothing there, rather than to the ladder.
    own: bool,
}

/// Judges the limits of every manifest that changed: a reviewer sees each that is wider, and `[review]` may ask for data.
pub(super) fn judge(manifests: &Manifests, changed: &[Changed], reviewed: &mut Reviewed) {
    for before in &manifests.before {
        let path = &before.path;
        let Some(now) = manifests.now.iter().find(|now| now.path == *path) else {
            reviewed.notes.push(format!("`{path}` is no manifest any more"));
            continue;
        };
        if before.rules.is_some() && before.rules != now.rules {
            reviewed.notes.push(format!("`{path}` changes its own `[review]`; this change is held to both"));
        }
        let wider = wider(&limits(&before.table), &limits(&now.table));
        tell(path, "widens a limit without data", wider, has_data(manifests, path, changed), reviewed);
        let stay = manifests.of(path).any(|rules| rules.requirements);
        tell(path, "drops a requirement", dropped(&before.table, &now.table), !stay, reviewed);
    }
    // Those of speed and size stand beside a manifest; which way each is wider is for the reviewer to say.
    for now in &manifests.now {
        let path = folder_of(Path::new(&now.path)).join(FILE_NAME);
        if changed.iter().any(|changed| changed.was && Path::new(&changed.path) == path) {
            let told = vec!["limits of speed and size changed".to_owned()];
            let allowed = has_data(manifests, &now.path, changed);
            tell(&path.display().to_string(), "changes without data", told, allowed, reviewed);
        }
    }
    reviewed.notes.dedup();
}

/// Whether the change brings the data that the rules of the manifest at `path` ask for, as they are and as they were.
fn has_data(manifests: &Manifests, path: &str, changed: &[Changed]) -> bool {
    let brought = |rules: &Review| {
        let folder = rules.tolerance_data.as_ref().map(|folder| plain(&folder_of(Path::new(path)).join(folder)));
        folder.is_none_or(|folder| changed.iter().any(|one| one.is && Path::new(&one.path).starts_with(&folder)))
    };
    manifests.of(path).all(brought)
}

fn tell(path: &str, what: &str, found: Vec<String>, allowed: bool, reviewed: &mut Reviewed) {
    for one in found {
        match allowed {
            true => reviewed.notes.push(format!("`{path}`: {one}")),
            false => reviewed.findings.push(Finding { path: path.to_owned(), problem: format!("{what}: {one}") }),
        }
    }
}

/// The limits that a manifest names, by what they are called in it.
fn limits(manifest: &toml::Table) -> BTreeMap<String, Limit> {
    let mut limits = BTreeMap::new();
    let mut add = |name: String, value: Option<&toml::Value>, wider: Wider, own: bool| {
        let value = value.and_then(|value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64)));
        if let Some(value) = value {
            limits.insert(name, Limit { value, wider, own });
        }
    };
    let section = |name: &str| manifest.get(name).and_then(toml::Value::as_table);
    for key in ["loss", "confident-flips-allowed"] {
        let named = section("agreement").and_then(|agreement| agreement.get(key)).and_then(toml::Value::as_table);
        for (precision, value) in named.into_iter().flatten() {
            add(format!("[agreement] {key}.{precision}"), Some(value), Wider::Up, false);
        }
    }
    let mut accuracy = |of: &str, table: Option<&toml::Table>| {
        add(format!("{of} floor"), table.and_then(|table| table.get("floor")), Wider::Down, true);
        add(format!("{of} drop"), table.and_then(|table| table.get("drop")), Wider::Up, true);
    };
    accuracy("[accuracy]", section("accuracy"));
    let outputs = manifest.get("output").and_then(toml::Value::as_array);
    let named = |output: &toml::Table| output.get("name").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
    let outputs: Vec<&toml::Table> = outputs.into_iter().flatten().filter_map(toml::Value::as_table).collect();
    for output in &outputs {
        accuracy(&format!("accuracy of `{}`", named(output)), output.get("accuracy").and_then(toml::Value::as_table));
    }
    for output in &outputs {
        let task = output.get("task").and_then(toml::Value::as_str).and_then(|task| task.parse::<Task>().ok());
        let tolerance = output.get("tolerance").and_then(toml::Value::as_table);
        for (precision, limits) in tolerance.into_iter().flatten() {
            for (limit, value) in limits.as_table().into_iter().flatten() {
                let loosens = task.and_then(|task| task.limit(limit)).is_none_or(|limit| limit.loosens);
                let name = format!("tolerance of `{}`, {precision}.{limit}", named(output));
                add(name, Some(value), if loosens { Wider::Up } else { Wider::Down }, false);
            }
        }
    }
    limits
}

/// What allows more than it did, one sentence each. A limit that is named anew replaces the ladder's, which may have been wider:
/// a reviewer sees it all the same.
fn wider(before: &BTreeMap<String, Limit>, now: &BTreeMap<String, Limit>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let of = |name: &String| match (before.get(name), now.get(name)) {
        (Some(was), Some(is)) => {
            let more = match is.wider {
                Wider::Up => is.value > was.value,
                Wider::Down => is.value < was.value,
            };
            // What cannot be ordered is told.
            let more = more || is.value.is_nan() || was.value.is_nan();
            more.then(|| format!("{name} goes from {} to {}", was.value, is.value))
        }
        (Some(was), None) if was.own => Some(format!("{name} = {} is gone", was.value)),
        (None, Some(is)) if !is.own => Some(format!("{name} = {} is named in place of the ladder's", is.value)),
        _ => None,
    };
    names.into_iter().filter_map(of).collect()
}

/// What `[require]` asked for and does not ask for any more.
fn dropped(before: &toml::Table, now: &toml::Table) -> Vec<String> {
    let require =
        |manifest: &toml::Table, key: &str| manifest.get("require").and_then(|section| section.get(key)).cloned();
    let mut dropped = Vec::new();
    for key in ["golden", "baselines", "accuracy"] {
        let asks = |manifest| require(manifest, key).and_then(|value| value.as_bool()) == Some(true);
        if asks(before) && !asks(now) {
            dropped.push(format!("[require] {key} is not asked for any more"));
        }
    }
    let runtimes = |manifest| -> BTreeSet<String> {
        let listed = require(manifest, "runtimes").and_then(|value| value.as_array().cloned());
        listed.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    let now = runtimes(now);
    let gone = runtimes(before).into_iter().filter(|runtime| !now.contains(runtime));
    dropped.extend(gone.map(|runtime| format!("[require] runtimes has no `{runtime}` any more")));
    dropped
}
