//! ONNX's own backend cases: trtgate's verdict of each is the one that ONNX Runtime's own run deserves.

use std::collections::BTreeMap;

use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;

use crate::context::Context;

/// Cases whose answers depend on a generator of random numbers, or on what a runtime leaves open: either verdict is right.
const OPEN: [&str; 1] = ["test_bernoulli"];

#[test]
fn every_case_has_the_verdict_that_the_runtime_deserves() {
    let context = Context::new();
    let run = context.run(&["suite", "onnx", "--offline", "--folder", "cases", "--json", "suite.json"]);
    // Some cases fail in ONNX Runtime itself.
    assert_eq!(run.code, 1, "{}", run.shown());
    let text = std::fs::read_to_string(context.path("suite.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = report["cases"].as_array().unwrap();
    let own: BTreeMap<&str, &str> = cases
        .iter()
        .map(|case| (case["name"].as_str().unwrap(), case["outcome"].as_str().unwrap()))
        .filter(|(_, outcome)| matches!(*outcome, "passed" | "failed"))
        .collect();
    assert!(cases.len() > 2000 && own.len() >= 1500, "{} of {} cases were judged", own.len(), cases.len());
    let names = serde_json::to_string(&own.keys().collect::<Vec<_>>()).unwrap();
    context.write("wanted.json", &names);
    let script = crate::context::project().join("tests/it/suite_truth.py");
    // Another machine reads what was written.
    let again = context.run(&["suite", "onnx", "--offline", "--cases", "cases", "--only", "test_abs"]);
    assert_eq!(again.code, 0, "{}", again.shown());
    assert!(again.stdout.contains("1 passed, 0 failed, 0 not taken"), "{}", again.stdout);
    let environment = find_in(&Store::open(None).unwrap(), EXPORT).unwrap();
    let python = environment.python.expect("the export environment has no Python");
    let output = std::process::Command::new(python)
        .arg(script)
        .args(["cases", "wanted.json"])
        .current_dir(context.folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let truth: BTreeMap<String, String> = serde_json::from_slice(&output.stdout).unwrap();
    let differing: Vec<String> = own
        .iter()
        .filter(|(name, _)| !OPEN.iter().any(|open| name.starts_with(open)))
        .filter(|(name, outcome)| (**outcome == "passed") != (truth[**name] == "passed"))
        .map(|(name, outcome)| format!("{name}: {outcome}, ONNX Runtime by hand: {}", truth[*name]))
        .collect();
    assert_eq!(differing, [""; 0]);
}

#[test]
fn what_is_no_case_and_what_is_no_runtime_for_it_is_said() {
    let context = Context::new();
    let run = context.run(&["suite", "onnx", "--offline", "--only", "no_such_case"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("no case of ONNX"), "{}", run.stderr);
    let run = context.run(&["suite", "onnx", "--offline", "--runtime", "litert", "--only", "test_abs"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("`litert` does not read ONNX files"), "{}", run.stderr);
    let run = context.run(&["suite", "onnx", "--offline", "--within", "0", "--only", "test_abs"]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stdout.contains("0 passed, 0 failed, 0 not taken, 1 not begun within the time"), "{}", run.stdout);
    context.write("full/file", "");
    let run = context.run(&["suite", "onnx", "--offline", "--folder", "full"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("full` is not empty"), "{}", run.stderr);
}
