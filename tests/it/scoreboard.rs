//! Small models of known verdict: what passes is sound, what fails is broken, each by figures that the gate does not compute.

use std::process::Command;

use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;

use crate::context::program;

#[test]
fn small_models_of_known_verdict_are_judged_right() {
    let python = find_in(&Store::open(None).unwrap(), EXPORT).and_then(|environment| environment.python);
    let python = python.expect("the export environment is not here; `trtgate export` installs it");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .args(["tests/scoreboard/board.py", "--short", "--program"])
        .arg(program())
        .arg("--folder")
        .arg(folder.path())
        // Nothing is written beside the scripts.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
}
