//! What others build on: the facade's names, and requirements that resolve beside theirs.

use std::fs;

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
