//! What others build on: the facade's names, and requirements that resolve beside theirs.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Whatever is added here is promised, and whatever goes breaks somebody's build: both on purpose, with a line in the changelog.
#[test]
fn the_facade_changes_on_purpose() {
    let text = fs::read_to_string("src/lib.rs").unwrap();
    let before = text.split("macro_rules! internals").next().unwrap();
    let used = before.split("pub use ").skip(1).filter_map(|part| part.split(';').next()?.rsplit("::").next());
    let modules = before.lines().filter_map(|line| line.strip_prefix("pub mod ")?.split([' ', ';']).next());
    let mut names: Vec<&str> = used.flat_map(|list| list.trim_matches(['{', '}']).split(',')).map(str::trim).collect();
    names.extend(modules);
    names.sort();
    insta::assert_snapshot!(names.join(" "), @"Ability Artifact ArtifactKind CellId CellReport CheckResult ElementType Error ErrorKind Feeds Gate Layer Library Obstacle PlannedCell Precision Report Result Runtime RuntimeId Session ShapePoint Signature Stage Status Tensor TensorSpec Values Verdict driver harness init main as command_line read_report register render write_report");
}

/// What the program makes and others read gains fields and variants without breaking them. What a runtime of somebody's own makes
/// (`TensorSpec`, `Signature`) is theirs to write down.
#[test]
fn what_others_read_may_grow() {
    for (file, names) in [
        ("src/findings.rs", &["Report", "CellReport", "CheckResult"][..]),
        ("src/plan.rs", &["PlannedCell", "Ability"]),
        ("src/runtime/mod.rs", &["Obstacle"]),
        ("src/error.rs", &["Error", "ErrorKind"]),
        ("src/vocabulary.rs", &["ArtifactKind", "Library", "Precision", "Stage", "Status", "Verdict"]),
    ] {
        let text = fs::read_to_string(file).unwrap();
        for name in names {
            let marked = ["struct", "enum"].map(|kind| format!("#[non_exhaustive]\npub {kind} {name} {{"));
            assert!(marked.iter().any(|marked| text.contains(marked.as_str())), "{file}: {name}");
        }
    }
}

/// An exact requirement forbids every other version to whoever uses the library. A release candidate promises nothing to the next,
/// and is the one exception.
#[test]
fn requirements_resolve_beside_those_of_others() {
    let text = fs::read_to_string("Cargo.toml").unwrap();
    let dependencies = text.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(dependencies.lines().count() > 30, "{dependencies}");
    let exact: Vec<&str> = dependencies.lines().filter(|line| line.contains("\"=")).collect();
    assert!(exact.len() == 1 && exact[0].starts_with("ort ") && exact[0].contains("-rc."), "{exact:?}");
}

/// What is published: everything that the sources carry within themselves, and nothing that only this repository needs.
#[test]
fn the_published_crate_is_small_and_whole() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let listed =
        Command::new(cargo).args(["package", "--list", "--allow-dirty", "--locked", "--offline"]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names: Vec<String> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    // `Cargo.toml.orig` and the like are made by cargo itself.
    let sizes = names.iter().filter_map(|name| Some((name, fs::metadata(name).ok()?.len())));
    let mut whole = 0;
    for (name, bytes) in sizes {
        whole += bytes;
        assert!(bytes < 100_000, "{name}: {bytes} bytes");
        let known = ["src/", "schemas/", "ci/requirements/", "ci/templates/"];
        assert!(!name.contains('/') || known.iter().any(|folder| name.starts_with(folder)), "{name}");
    }
    assert!(whole < 10_000_000, "{whole} bytes");

    let mut carried = 0;
    for name in names.iter().filter(|name| name.ends_with(".rs")) {
        let text = fs::read_to_string(name).unwrap();
        // Tests carry files of the repository, and are not built from the package.
        let code = text.split("#[cfg(test)]").next().unwrap();
        let is_test = name.contains("tests") || name.starts_with("src/fuzzing");
        for part in code.split("include_").skip(1).filter(|_| !is_test) {
            let Some(path) = part.strip_prefix("str!(\"").or_else(|| part.strip_prefix("bytes!(\"")) else { continue };
            let path = Path::new(name).parent().unwrap().join(path.split('"').next().unwrap());
            let path = fs::canonicalize(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let root = fs::canonicalize(".").unwrap();
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            assert!(names.contains(&path), "`{name}` carries `{path}`, which is not in the package");
            carried += usize::from(!path.starts_with("src/"));
        }
    }
    assert!(carried >= 14, "{carried} files beside the sources");
}
