//! The layers as a test: no import runs up, so that there is no circle between folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms of `src/` from the ground up; a room may import those of lines above its own alone, never its own line's.
/// `runtime/kernel` is a room of its own: what the system has no safe call for, beside the other unsafe code.
const LAYERS: &[&[&str]] = &[
    // Words and figures.
    &["error", "figure", "base64", "meter", "processor", "console", "runtime/kernel"],
    &["vocabulary"],
    // Children, files, what they are worth.
    &["process", "progress"],
    &["files", "atomic"],
    &["digest"],
    // What everything is made of: tensors, graphs, timings, findings, the table of runtimes.
    &["tensor", "libraries"],
    &["onnx", "timing"],
    &["load"],
    &["findings"],
    // What is asked for.
    &["manifest"],
    // Samples, pages and drivers.
    &["data", "report"],
    &["runtime"],
    // Judging: pure functions of what came out.
    &["check", "repository"],
    &["measure"],
    // Making and running.
    &["convert", "worker"],
    &["plan"],
    &["gate"],
    // Commands.
    &["explain", "drill", "suite", "fetch", "serve", "review"],
    &["facade"],
    &["harness"],
    &["cli"],
    &["fuzzing", "main"],
];

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// The room of a path of modules: the longest that is one.
fn room(path: &[&str]) -> Option<String> {
    (1..=path.len()).rev().map(|length| path[..length].join("/")).find(|room| layer(room).is_some())
}

/// Rust files of the program that are no tests, with their text before the tests.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix("src").unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if !name.ends_with("tests") {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !is_for_tests(&path, &name) {
            let text = fs::read_to_string(&path).unwrap();
            let program: Vec<&str> = text
                .lines()
                .take_while(|line| *line != "mod tests {")
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            found.push((name, program.join("\n")));
        }
    }
}

/// Whether a file is compiled for tests alone: the line above its `mod` says so.
fn is_for_tests(path: &Path, name: &str) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let folder = path.parent().unwrap();
    let parents = [folder.join("mod.rs"), folder.with_extension("rs"), folder.join("lib.rs")];
    let declared = parents.iter().filter_map(|parent| fs::read_to_string(parent).ok()).any(|text| {
        let lines: Vec<&str> = text.lines().collect();
        lines.windows(2).any(|pair| {
            let module =
                pair[1].split(" mod ").last().unwrap_or_default().trim_start_matches("mod ").trim_end_matches(';');
            pair[0].starts_with("#[cfg(test)]") && module == stem
        })
    });
    declared || name.ends_with("tests.rs")
}

/// The paths of modules behind each `crate::` of a text.
fn imports(text: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for (place, _) in text.match_indices("crate::") {
        let rest = &text[place + "crate::".len()..];
        let first: String =
            rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
        let behind = rest[first.len()..].strip_prefix("::").unwrap_or_default();
        let second: String =
            behind.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
        if first.is_empty() {
            // `use crate::{a, b}`: every name that stands first behind a bracket or a comma.
            let list = rest.trim_start_matches('{').split('}').next().unwrap_or_default();
            found.extend(
                list.split(',').map(|name| vec![name.trim().split("::").next().unwrap_or_default().to_owned()]),
            );
        } else {
            found.insert(vec![first, second]);
        }
    }
    found
}

#[test]
fn no_import_runs_up() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    // A rule over no files would hold.
    assert!(files.len() > 250, "{} files", files.len());
    let (mut up, mut homeless, mut arrows) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (name, text) in files.iter().filter(|(name, _)| name != "lib.rs") {
        let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
        let Some(own) = room(&stem.split('/').collect::<Vec<_>>()) else {
            homeless.push(format!("{name}: `LAYERS` has no room for it"));
            continue;
        };
        for path in imports(text) {
            // Names of the root itself (`crate::Result`) are no rooms.
            let Some(other) = room(&path.iter().map(String::as_str).collect::<Vec<_>>()) else { continue };
            if other == own {
                continue;
            }
            *arrows.entry((own.clone(), other.clone())).or_insert(0) += 1;
            if layer(&other) >= layer(&own) {
                up.push(format!("{name} imports `{}`: `{own}` stands no higher than `{other}`", path.join("::")));
            }
        }
    }
    assert!(homeless.is_empty(), "{}", homeless.join("\n  "));
    assert!(arrows.len() > 60, "{} arrows between rooms were read", arrows.len());
    assert!(up.is_empty(), "imports that run up:\n  {}", up.join("\n  "));
}

#[test]
fn imports_are_read_however_they_are_written() {
    let read = |text: &str| imports(text).into_iter().map(|path| path.join("/")).collect::<Vec<_>>();
    assert_eq!(read("use crate::check::ladder::Ladder;"), ["check/ladder"]);
    assert_eq!(read("use crate::{files, onnx::Model};"), ["files", "onnx"]);
    assert_eq!(read("let text = crate::figure::figure(1.0);"), ["figure/figure"]);
    assert_eq!(room(&["runtime", "kernel"]).as_deref(), Some("runtime/kernel"));
    assert_eq!(room(&["runtime", "locate"]).as_deref(), Some("runtime"));
    assert_eq!(room(&["Result", ""]), None);
}
