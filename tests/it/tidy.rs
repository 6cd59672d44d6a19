//! House rules as tests: what a reviewer would otherwise have to look for. They read the source, so an archive of the
//! tests that is run without one leaves them out (`ci/run-archive`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Most lines of a Rust file before its tests; a longer one holds two subjects.
const LONGEST: usize = 500;

/// Files that are one list, however long.
const LISTS: [&str; 1] = ["src/runtime/tensorrt/sys/tables.rs"];

/// Every file that git tracks or would track, with its text; binary files are left out.
fn files() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<(String, String)> = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(|name| Some((name.to_owned(), fs::read_to_string(name).ok()?)))
        .collect();
    // A rule over no files would hold.
    assert!(files.iter().any(|(name, _)| name == "src/lib.rs"), "not run in the project's folder");
    files
}

pub fn rust() -> Vec<(String, String)> {
    files().into_iter().filter(|(name, _)| name.ends_with(".rs")).collect()
}

/// Scripts by their first line.
fn scripts() -> Vec<(String, String)> {
    files().into_iter().filter(|(_, text)| text.starts_with("#!/")).collect()
}

/// Fails with every finding, not with the first.
fn none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn unsafe_code_stays_in_its_layers() {
    let allowed = |name: &str| {
        let layers = ["/sys.rs", "/sys/", "/result.rs", "/result/"];
        name.starts_with("src/runtime/") && layers.iter().any(|layer| name.contains(layer))
    };
    let found = rust()
        .into_iter()
        .filter(|(name, text)| {
            name.starts_with("src/") && !allowed(name) && text.contains(concat!("allow(unsafe", "_code)"))
        })
        .map(|(name, _)| name);
    none("only `runtime/*/sys` and `runtime/*/result` may hold unsafe code", found.collect());
}

#[test]
fn files_have_one_subject() {
    let found = rust()
        .into_iter()
        .filter(|(name, _)| !LISTS.contains(&name.as_str()))
        .map(|(name, text)| (name, text.lines().take_while(|line| *line != "mod tests {").count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(name, lines)| format!("{name}: {lines} lines"));
    none("a file is split by subject before it has more than 500 lines of code", found.collect());
}

#[test]
fn lints_are_silenced_for_named_reasons_only() {
    // These hide whatever comes next.
    let groups = ["clippy::all", "clippy::pedantic", "warnings", "unused", "dead_code", "missing_docs"];
    let mut found = Vec::new();
    for (name, text) in rust().into_iter().filter(|(name, _)| name.starts_with("src/")) {
        for (number, line) in text.lines().enumerate() {
            let silenced = line.trim_start().starts_with("#![allow(") || line.trim_start().starts_with("#[allow(");
            if silenced
                && groups
                    .iter()
                    .any(|group| line.contains(&format!("({group}")) || line.contains(&format!(", {group}")))
            {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("a whole group, or what hides unused code, is silenced with a `reason` only", found);
}

#[test]
fn library_code_has_no_unfinished_business() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let mut found = Vec::new();
    for (name, text) in rust() {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("what is left to do is not left in the code", found);
}

#[test]
fn files_from_outside_are_read_within_bounds() {
    // `files.rs` itself, what reads only the system's own files, and what asks whether a file is there.
    let own = [
        "src/files.rs",
        "src/convert/environment.rs",
        "src/atomic.rs",
        "src/gate/machine.rs",
        "src/timing/waiting.rs",
        "src/process/run.rs",
        "src/process/stop.rs",
        "src/processor.rs",
        "src/report/fixtures.rs",
        "src/runtime/cuda/version.rs",
    ];
    let unbounded = ["fs::read(", "fs::read_to_string(", "File::open("];
    let found = rust()
        .into_iter()
        .filter(|(name, _)| name.starts_with("src/") && !own.contains(&name.as_str()))
        .flat_map(|(name, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            let inside_tests = name.contains("tests") || name.contains("simulation");
            let lines = code.lines().filter(|line| !inside_tests && unbounded.iter().any(|call| line.contains(call)));
            // Opening alone asks whether the file can be read; a folder is synced by its descriptor.
            let lines =
                lines.filter(|line| !line.contains("sync_all") && !line.trim_start().starts_with("fs::File::open("));
            lines.map(|line| format!("{name}: {}", line.trim())).collect::<Vec<_>>()
        });
    none("files are read by `crate::files`, which refuses what never ends", found.collect());
}

#[test]
fn tests_find_their_files_wherever_they_are_run() {
    let mut found = Vec::new();
    let words = [concat!("env!(\"CARGO_MANIFEST", "_DIR\")"), concat!("Command::new(env!(\"CARGO_BIN", "_EXE")];
    // Benchmarks and tools are run where they are built.
    for (name, text) in rust().into_iter().filter(|(name, _)| name.starts_with("src/") || name.starts_with("tests/")) {
        if words.iter().any(|word| text.contains(word)) {
            found.push(name);
        }
    }
    none("the folder of the build is not that of an archive's run; tests start in the package's folder", found);
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/home", "/")];
    let mut found = Vec::new();
    for (name, text) in files() {
        for (number, line) in text.lines().enumerate() {
            if places.iter().any(|place| line.contains(place)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("paths of one machine mean nothing on another", found);
}

#[test]
fn text_files_end_as_text_does() {
    let found = files()
        .into_iter()
        .filter(|(name, _)| {
            !name.contains("fixtures/") && !name.starts_with("fuzz/corpus/") && !name.ends_with(".snap")
        })
        .filter(|(_, text)| !text.is_empty() && (!text.ends_with('\n') || text.contains("\r\n")))
        .map(|(name, _)| name);
    none("lines end in LF, the last one too", found.collect());
}

#[test]
fn scripts_run_and_stop_at_the_first_error() {
    let mut found = Vec::new();
    for (name, text) in scripts() {
        let mode = fs::metadata(&name).unwrap().permissions().mode();
        if mode & 0o111 != 0o111 {
            found.push(format!("{name} is not executable"));
        }
        if text.starts_with("#!/usr/bin/env bash") {
            if !text.lines().any(|line| line == "set -euo pipefail") {
                found.push(format!("{name} has no line `set -euo pipefail`"));
            }
        } else if text.lines().next().is_some_and(|line| line.ends_with("sh")) {
            found.push(format!("{name} does not start with `#!/usr/bin/env bash`"));
        }
    }
    none("scripts", found);
}

#[test]
fn images_are_thin_and_unprivileged() {
    let images: Vec<(String, String)> = files().into_iter().filter(|(name, _)| name.ends_with(".Dockerfile")).collect();
    assert!(images.len() >= 4, "an image a version");
    let mut found = Vec::new();
    for (name, text) in &images {
        for needed in ["ARG BASE=nvcr.io/nvidia/", "ARG DIGEST=", "USER 10001:10001", "TRTGATE_REQUIRE="] {
            if !text.contains(needed) {
                found.push(format!("{name} has no `{needed}`"));
            }
        }
        // Nothing is installed, fetched or built in an image.
        found.extend(
            text.lines()
                .filter(|line| line.starts_with("RUN") || line.starts_with("ADD"))
                .map(|line| format!("{name}: `{line}`")),
        );
    }
    none("images", found);
}

#[test]
fn pipelines_run_every_image() {
    let files = files();
    let pipelines: Vec<&(String, String)> =
        files.iter().filter(|(name, _)| name == ".gitlab-ci.yml" || name == ".github/workflows/gate.yml").collect();
    assert_eq!(pipelines.len(), 2);
    let mut found = Vec::new();
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".Dockerfile")) {
        let version = Path::new(name).file_stem().unwrap().to_str().unwrap();
        let line =
            |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_default().to_owned();
        let (base, digest) = (line("ARG BASE="), line("ARG DIGEST="));
        let whole = if digest.is_empty() { base } else { format!("{base}@{digest}") };
        for (pipeline, steps) in &pipelines {
            if pipeline == ".gitlab-ci.yml" && !steps.lines().any(|line| line.trim() == format!("name: {whole}")) {
                found.push(format!("{pipeline} does not run `{whole}`"));
            } else if pipeline != ".gitlab-ci.yml" && !steps.contains(version) {
                found.push(format!("{pipeline} does not run `{version}`"));
            }
        }
    }
    none("a container that no pipeline runs proves nothing", found);
}

/// Keys of the manifest as messages name them, `[table] key`, with the file that does.
fn named_keys() -> Vec<(String, String, String)> {
    let word = |text: &str| {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.".contains(letter);
        !text.is_empty() && text.chars().all(plain)
    };
    let mut named = Vec::new();
    // `thresholds.toml` has keys of its own.
    let of_manifest = |file: &str| file.starts_with("src/") && file != "src/measure/thresholds.rs";
    for (file, text) in rust().into_iter().filter(|(file, _)| of_manifest(file)) {
        let said = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for quoted in said.flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let Some((table, rest)) = quoted.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { continue };
            let key = rest.trim();
            if word(table) && (key.is_empty() || word(key)) {
                named.push((file.clone(), table.to_owned(), key.to_owned()));
            }
        }
    }
    named
}

#[test]
fn keys_that_messages_name_exist() {
    let named = named_keys();
    assert!(named.len() > 20, "{named:?}");
    let mut wrong = Vec::new();
    for (file, table, key) in named {
        let line = if key.is_empty() { String::new() } else { format!("{key} = 0\n") };
        let text = format!("schema = 1\n[{table}]\n{line}");
        let error =
            trtgate::internals::manifest::Manifest::parse(&text, Path::new("gate.toml")).unwrap_err().to_string();
        if error.contains("unknown field") {
            wrong.push(format!("{file}: `[{table}] {key}`"));
        }
    }
    assert!(wrong.is_empty(), "the manifest has no such keys:\n{}", wrong.join("\n"));
}

#[test]
fn messages_spell_keys_as_the_manifest_does() {
    let documented = fs::read_to_string("docs/manifest.md").unwrap();
    let keys: Vec<String> = documented
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .filter(|key| key.contains('-'))
        .collect();
    assert!(keys.len() > 8, "{keys:?}");
    let mut wrong = Vec::new();
    for (file, text) in rust().into_iter().filter(|(file, _)| file.starts_with("src/")) {
        for line in text.lines().filter(|line| line.contains('"') && !line.trim_start().starts_with("//")) {
            let spelled = keys.iter().map(|key| key.replace('-', "_"));
            wrong
                .extend(spelled.filter(|key| line.contains(&format!("`{key}`"))).map(|key| format!("{file}: `{key}`")));
        }
    }
    assert!(wrong.is_empty(), "keys are written with hyphens:\n{}", wrong.join("\n"));
}
