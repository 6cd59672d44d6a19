//! `bench --against`: the other build is measured as this one is.

use std::os::unix::fs::PermissionsExt as _;

use crate::context::Context;

/// A build that notes how it was called and gives up.
fn other_build(context: &Context) -> String {
    let script = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > '{}'\nexit 1\n", context.path("called").display());
    let path = context.write("other", &script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn the_other_build_is_called_with_what_was_asked_for() {
    let context = Context::new();
    context.manifest(&[]);
    let other = other_build(&context);
    let cell = ["--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8"];
    let asked = ["--intra-threads", "1", "--inter-threads", "2", "--trust", "--offline", "--time-limit", "60"];
    let rest = ["bench", "--against", &other, "--duration", "0.5", "--streams", "2", "--spin"];
    let run = context.run(&[&rest[..], &cell, &asked].concat());
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stderr.contains("could not measure onnxruntime/fp32/batch-8"), "{}", run.stderr);
    let called = std::fs::read_to_string(context.path("called")).unwrap();
    let called: Vec<&str> = called.lines().collect();
    for pair in
        [&cell[..], &asked[..4], &["--time-limit", "60", "--duration", "0.5", "--streams", "2"]].concat().chunks(2)
    {
        assert!(called.windows(2).any(|found| found == pair), "{pair:?} in {called:?}");
    }
    assert!(["--trust", "--offline", "--spin"].iter().all(|flag| called.contains(flag)), "{called:?}");
}

#[test]
fn too_few_pairs_are_refused_before_anything_is_measured() {
    let context = Context::new();
    context.manifest(&[]);
    let other = other_build(&context);
    let run = context.run(&["bench", "--against", &other, "--pairs", "3", "--runtime", "onnxruntime"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("3 pairs"), "{}", run.stderr);
    assert!(!context.path("called").exists());
}
