//! Names, versions and files.

use std::path::Path;

use super::Served;
use crate::repository::artifact::{self, Facts};
use crate::repository::config::{Config, VersionPolicy};
use crate::repository::finding::Sink;
use crate::repository::folder::{Folder, entries};
use crate::repository::platform::{Backend, ENSEMBLE};
use crate::repository::rule::{Rule, Verdict};

/// The model's name and the folders of its versions; which of them are served, the newest first.
pub(in crate::repository) fn versions(folder: &Folder, config: &Config, sink: &mut Sink<'_>) -> Vec<i64> {
    if let Some(name) = config.name.as_ref().filter(|name| name.value != folder.name) {
        let message = format!("the name is `{}`, and the folder's is `{}`", name.value, folder.name);
        let fix = format!("write `name: \"{}\"`, or leave it out", folder.name);
        sink.at(Rule::NameMismatch, Verdict::Refused, &name.span, message, fix);
    }
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-+~".contains(character);
    if !folder.name.chars().all(plain) {
        let message = format!("`{}` has characters that an address has not", folder.name);
        let fix = "name the folder with letters, digits, `_`, `-` and `.` alone";
        sink.file(Rule::ModelName, Verdict::Accepted, &folder.path, message, fix);
    }
    let none = folder.versions.is_empty();
    for name in &folder.passed_over {
        let (verdict, message) = (
            if none { Verdict::Refused } else { Verdict::Accepted },
            format!("`{name}` is passed over: it is no plain number"),
        );
        let digits = name.trim_start_matches(|character: char| !character.is_ascii_digit()).trim_start_matches('0');
        let fix = format!("name the folder `{}`", if digits.is_empty() { "1" } else { digits });
        sink.file(Rule::VersionName, verdict, &folder.path.join(name), message, fix);
    }
    for (name, number) in &folder.taken {
        let message = match number {
            Some(number) => format!("`{name}` is taken for version {number}, whose folder is `{number}`"),
            None => format!("`{name}` begins with a number that no version has"),
        };
        let fix = "give the folder a name that begins with a letter, or keep it elsewhere";
        sink.file(Rule::VersionName, Verdict::Refused, &folder.path.join(name), message, fix);
    }
    if folder.versions.contains(&0) {
        let fix = "name the folder `1`: versions begin there";
        sink.file(Rule::VersionZero, Verdict::Accepted, &folder.version(0), "version 0 is served", fix);
    }
    if none {
        if folder.passed_over.is_empty() && folder.taken.is_empty() {
            let fix = format!("put the model's file into `{}/1/`", folder.name);
            sink.file(
                Rule::VersionMissing,
                Verdict::Refused,
                &folder.path,
                "there is no version: no folder whose name is a number",
                fix,
            );
        }
        return Vec::new();
    }
    served(folder, config, sink)
}

/// What the policy serves of the versions that are there.
fn served(folder: &Folder, config: &Config, sink: &mut Sink<'_>) -> Vec<i64> {
    match &config.versions {
        VersionPolicy::All => folder.versions.clone(),
        VersionPolicy::Latest(written) => {
            let count = written.as_ref().map_or(1, |written| written.value);
            let count = usize::try_from(count).unwrap_or_default();
            let (served, left) = folder.versions.split_at(count.min(folder.versions.len()));
            if let Some(written) = written.as_ref().filter(|_| served.is_empty()) {
                let fix = "write `latest { num_versions: 1 }`, or `all { }`";
                sink.at(Rule::VersionAbsent, Verdict::Refused, &written.span, "the policy serves no version", fix);
            } else if !left.is_empty() {
                let message =
                    format!("version {} is there and not served: the policy takes the newest {count}", shown(left));
                let fix = format!(
                    "write what is meant: `version_policy {{ specific {{ versions: [ {} ] }} }}`",
                    shown(served)
                );
                match written {
                    Some(written) => sink.at(Rule::VersionUnserved, Verdict::Note, &written.span, message, fix),
                    None => sink.whole(Rule::VersionUnserved, Verdict::Note, message, fix),
                }
            }
            served.to_vec()
        }
        VersionPolicy::Specific(span, wanted) => {
            let (there, absent): (Vec<_>, Vec<_>) =
                wanted.iter().partition(|version| folder.versions.contains(&version.value));
            let verdict = if there.is_empty() { Verdict::Refused } else { Verdict::Accepted };
            for version in absent {
                let message = format!("version {} is named and not there", version.value);
                let fix = format!("name versions that are there: {}", shown(&folder.versions));
                sink.at(Rule::VersionAbsent, verdict, &version.span, message, fix);
            }
            if wanted.is_empty() {
                let fix = format!("name those to serve: `versions: [ {} ]`", shown(&folder.versions));
                sink.at(Rule::VersionAbsent, Verdict::Refused, span, "the policy names no version", fix);
            }
            let mut served: Vec<i64> = there.iter().map(|version| version.value).collect();
            served.sort_by(|one, other| other.cmp(one));
            served.dedup();
            served
        }
    }
}

fn shown(versions: &[i64]) -> String {
    versions.iter().rev().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

/// The files of the served versions, and what they tell.
pub(in crate::repository) fn files(
    folder: &Folder,
    config: &Config,
    backend: &Backend,
    versions: &[i64],
    sink: &mut Sink<'_>,
) -> Vec<Served> {
    if backend.platform == ENSEMBLE || config.steps.is_some() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for &version in versions {
        let place = folder.version(version);
        let default = backend.file.clone();
        // A card of the capability loads its own file in place of the default one.
        for other in &config.capability_files {
            if !place.join(&other.value).exists() {
                let message = format!("`{version}/{}` is not there", other.value);
                let fix = "put the file there, or take the entry out";
                sink.at(Rule::ModelFileMissing, Verdict::Accepted, &other.span, message, fix);
            }
        }
        let Some(name) = default else {
            found.push(Served {
                file: place,
                shown: version.to_string(),
                facts: Facts::Unseen(format!("which file the backend `{backend}` loads is not known here")),
            });
            continue;
        };
        let file = place.join(&name);
        let shown = format!("{version}/{name}");
        if !file.exists() {
            missing(folder, config, &place, &name, &shown, sink);
            continue;
        }
        if config.has_agents {
            let facts = Facts::Unseen("a repository agent changes it before it is loaded".to_owned());
            found.push(Served { file, shown, facts });
            continue;
        }
        let facts = look(backend, &file, &name).unwrap_or_else(|words| {
            let fix = "put a whole file of the backend's kind there";
            sink.file(
                Rule::ModelFileDamaged,
                Verdict::Refused,
                &file,
                format!("`{shown}` is not to be loaded: {words}"),
                fix,
            );
            Facts::Unseen(words)
        });
        found.push(Served { file, shown, facts });
    }
    found
}

/// What a file tells.
fn look(backend: &Backend, file: &Path, name: &str) -> Result<Facts, String> {
    if backend.is_onnx() {
        return artifact::onnx(&artifact::inside(file, name)).map(Facts::Onnx).map_err(|error| error.to_string());
    }
    if backend.is_tensorrt() {
        return match artifact::plan(file).map_err(|error| error.to_string())? {
            Some(plan) => match plan.header.bytes.filter(|wanted| *wanted > plan.bytes) {
                Some(wanted) => Err(format!("it is cut short, {} of {wanted} bytes are there", plan.bytes)),
                None => Ok(Facts::Plan(plan)),
            },
            None => Ok(Facts::Unseen("it begins as no engine that is known here".to_owned())),
        };
    }
    Ok(Facts::Unseen(format!("files of the backend `{backend}` are not read")))
}

fn missing(folder: &Folder, config: &Config, place: &Path, name: &str, shown: &str, sink: &mut Sink<'_>) {
    let ending = Path::new(name).extension();
    let others: Vec<String> = entries(place)
        .unwrap_or_default()
        .into_iter()
        .map(|(other, _)| other)
        .filter(|other| Path::new(other).extension() == ending)
        .collect();
    let fix = match others.as_slice() {
        [other] => format!("write `default_model_filename: \"{other}\"`, or name the file `{name}`"),
        _ => format!("put the model's file there: `{}/{shown}`", folder.name),
    };
    // Where other files are named for cards, one of them may be all that is needed.
    let verdict = if config.capability_files.is_empty() { Verdict::Refused } else { Verdict::Note };
    let message = format!("`{shown}` is not there");
    match &config.file {
        Some(written) => sink.at(Rule::ModelFileMissing, verdict, &written.span, message, fix),
        None => sink.file(Rule::ModelFileMissing, verdict, place, message, fix),
    }
}
