//! Ensembles, each with one thing changed, and what the real server (2.51.0) said of each.

use rstest::rstest;

use super::*;

const X: &str = "{ name: \"x\" data_type: TYPE_FP32 dims: [ 4 ] }";
const Y: &str = "{ name: \"y\" data_type: TYPE_FP32 dims: [ 4 ] }";

/// Models of Python beside the ensembles: type, sizes, largest batch, more inputs.
const MODELS: [(&str, &str, &str, u32, &str); 9] = [
    ("a", "FP32", "[ 4 ]", 8, ""),
    ("wide", "FP32", "[ -1 ]", 8, ""),
    ("ints", "INT32", "[ 4 ]", 8, ""),
    ("five", "FP32", "[ 5 ]", 8, ""),
    ("small", "FP32", "[ 4 ]", 4, ""),
    ("none", "FP32", "[ 4 ]", 0, ""),
    ("whole", "FP32", "[ -1, 4 ]", 0, ""),
    ("two", "FP32", "[ 4 ]", 8, ", { name: \"z\" data_type: TYPE_FP32 dims: [ 4 ] }"),
    ("optional", "FP32", "[ 4 ]", 8, ", { name: \"z\" data_type: TYPE_FP32 dims: [ 4 ] optional: true }"),
];

/// A step: the model, pairs of its `input_map` and of its `output_map`.
fn step(model: &str, inputs: &[(&str, &str)], outputs: &[(&str, &str)]) -> String {
    let map = |name: &str, pairs: &[(&str, &str)]| -> String {
        pairs.iter().map(|(key, value)| format!("{name} {{ key: \"{key}\" value: \"{value}\" }} ")).collect()
    };
    format!(
        "step {{ model_name: \"{model}\" model_version: -1 {}{}}}\n",
        map("input_map", inputs),
        map("output_map", outputs)
    )
}

fn plain(model: &str) -> String {
    step(model, &[("x", "x")], &[("y", "y")])
}

fn ensemble(steps: &str) -> String {
    format!(
        "platform: \"ensemble\"\nmax_batch_size: 8\ninput [ {X} ]\noutput [ {Y} ]\nensemble_scheduling {{ {steps} }}\n"
    )
}

fn checked(text: &str) -> Checked {
    let repository = tempfile::tempdir().unwrap();
    for (name, kind, dims, batch, more) in MODELS {
        let text = format!(
            "backend: \"python\"\nmax_batch_size: {batch}\ninput [ {{ name: \"x\" data_type: TYPE_{kind} dims: {dims} }}{more} ]\n\
             output [ {{ name: \"y\" data_type: TYPE_{kind} dims: {dims} }} ]\ninstance_group [ {{ kind: KIND_CPU count: 1 }} ]\n"
        );
        write(repository.path(), name, Some(&text), &["1"], "model.py", b"");
    }
    write(repository.path(), "all", Some(text), &[], "", b"");
    std::fs::create_dir_all(repository.path().join("all/1")).unwrap();
    check(repository.path(), &Options::default()).unwrap()
}

/// The ensembles that the server loads and that answer.
#[rstest]
#[case::one_step(ensemble(&plain("a")))]
#[case::chain(ensemble(&(step("a", &[("x", "x")], &[("y", "m")]) + &step("a", &[("x", "m")], &[("y", "y")]))))]
#[case::in_any_order(ensemble(&(step("a", &[("x", "m")], &[("y", "y")]) + &step("a", &[("x", "x")], &[("y", "m")]))))]
#[case::optional_input(ensemble(&plain("optional")))]
#[case::open_size(ensemble(&plain("wide")))]
#[case::a_batch_as_a_dimension(ensemble(&plain("whole")))]
#[case::a_dimension_as_a_batch(ensemble(&plain("a")).replace("max_batch_size: 8", "max_batch_size: 0").replace("[ 4 ]", "[ -1, 4 ]"))]
#[case::smaller_batches(ensemble(&plain("a")).replace("max_batch_size: 8", "max_batch_size: 1"))]
fn an_ensemble_that_answers_has_nothing_wrong(#[case] text: String) {
    let found = checked(&text);
    assert_eq!((said(&found), found.outcome), (vec![], Outcome::Clean), "{}", found.table(false));
}

/// The ensembles that it does not load, and (`a`) those that it loads and that never answer as they should.
#[rstest]
#[case::unknown_input(ensemble(&step("a", &[("q", "x")], &[("y", "y")])), "ensemble-map r", "`a` has no input `q`")]
#[case::unknown_output(ensemble(&step("a", &[("x", "x")], &[("q", "y")])), "ensemble-map r", "`a` has no output `q`")]
#[case::unfed(ensemble(&plain("two")), "ensemble-map r", "the input `z` of `two` is fed by nothing")]
#[case::no_input_map(ensemble(&step("a", &[], &[("y", "y")])), "ensemble-map r", "has no `input_map`")]
#[case::no_output_map(ensemble(&step("a", &[("x", "x")], &[])), "ensemble-map r", "has no `output_map`")]
#[case::mapped_to_nothing(ensemble(&step("a", &[("x", "")], &[("y", "y")])), "ensemble-map r", "is mapped to no tensor")]
#[case::types(ensemble(&plain("ints")), "ensemble-tensor r", "`x` is TYPE_FP32 in `all` and TYPE_INT32 in `ints`")]
#[case::type_between(
    ensemble(&(step("a", &[("x", "x")], &[("y", "m")]) + &step("ints", &[("x", "m")], &[("y", "y")]))),
    "ensemble-tensor r",
    "`m` is TYPE_FP32 in `a` and TYPE_INT32 in `ints`"
)]
#[case::output_type(ensemble(&plain("a")).replace("\"y\" data_type: TYPE_FP32", "\"y\" data_type: TYPE_INT32"), "ensemble-tensor r", "TYPE_INT32 in `all`")]
#[case::shapes(ensemble(&plain("five")), "ensemble-tensor r", "`x` is [-1, 4] in `all` and [-1, 5] in `five`")]
#[case::ranks(ensemble(&plain("a")).replacen("[ 4 ]", "[ 1, 4 ]", 1), "ensemble-tensor r", "`x` is [-1, 1, 4]")]
#[case::larger_batches(ensemble(&plain("small")), "ensemble-batch r", "up to 8, and `small` of up to 4")]
#[case::step_without_batch(ensemble(&plain("none")), "ensemble-batch a", "[-1, 4] in `all` and [4] in `none`")]
#[case::ensemble_without_batch(ensemble(&plain("a")).replace("max_batch_size: 8", "max_batch_size: 0"), "ensemble-batch a", "[4] in `all`")]
#[case::never_made(ensemble(&step("a", &[("x", "x")], &[("y", "m")])), "ensemble-flow r", "no step makes the output `y`")]
#[case::never_there(ensemble(&step("a", &[("x", "ghost")], &[("y", "y")])), "ensemble-flow r", "`ghost` is there for no step")]
#[case::input_unused(
    ensemble(&plain("a")).replace("input [", "input [ { name: \"u\" data_type: TYPE_FP32 dims: [ 4 ] }, "),
    "ensemble-flow r",
    "no step uses the input `u`"
)]
#[case::made_twice(ensemble(&(plain("a") + &plain("a"))), "ensemble-flow r", "`y` is made by two steps")]
#[case::unused(ensemble(&(plain("a") + &step("a", &[("x", "x")], &[("y", "rest")]))), "ensemble-flow r", "nothing uses `rest`")]
#[case::circle(
    ensemble(&(plain("a") + &step("a", &[("x", "m2")], &[("y", "m1")]) + &step("a", &[("x", "m1")], &[("y", "m2")]))),
    "ensemble-flow r",
    "`m2` is there for no step"
)]
#[case::makes_its_input(ensemble(&(plain("a") + &step("a", &[("x", "x")], &[("y", "x")]))), "ensemble-flow a", "is an input of the ensemble")]
#[case::no_step(ensemble(""), "ensemble-step r", "has no step")]
#[case::no_model(ensemble(&plain("a").replace("model_name: \"a\"", "")), "ensemble-step r", "names no model")]
#[case::model_missing(ensemble(&plain("smal")), "ensemble-step r", "`smal` is not in this repository")]
#[case::itself(ensemble(&plain("all")), "ensemble-step r", "a step of itself")]
#[case::version_missing(ensemble(&plain("a").replace("-1", "7")), "ensemble-step r", "`a` has no version 7")]
#[case::no_version(ensemble(&plain("a").replace("model_version: -1", "")), "ensemble-step r", "asks for version 0")]
#[case::instances(ensemble(&plain("a")) + "instance_group [ { kind: KIND_CPU } ]\n", "ensemble-step r", "no `instance_group`")]
#[case::batcher(ensemble(&plain("a")) + "dynamic_batching { }\n", "field-twice r", "a model has one of them")]
#[case::platform_alone(ensemble("").replace("ensemble_scheduling {  }\n", ""), "ensemble-step r", "without `ensemble_scheduling`")]
#[case::scheduling_alone(ensemble(&plain("a")).replace("platform: \"ensemble\"\n", ""), "platform-mismatch r", "is not `ensemble`")]
fn what_a_server_does_not_load_or_never_answers_is_named(
    #[case] text: String,
    #[case] rule: &str,
    #[case] words: &str,
) {
    let found = checked(&text);
    assert!(said(&found).iter().any(|said| said == rule), "{:?}\n{}", said(&found), found.table(false));
    assert!(found.findings.iter().any(|finding| finding.message.contains(words)), "{}", found.table(false));
    assert_eq!(found.outcome, Outcome::Found);
}

/// What has not been held to anything is no pass.
#[test]
fn a_step_that_does_not_say_its_tensors_is_not_checked() {
    let repository = tempfile::tempdir().unwrap();
    write(repository.path(), "all", Some(&ensemble(&plain("filled-in"))), &[], "", b"");
    std::fs::create_dir_all(repository.path().join("all/1")).unwrap();
    write(
        repository.path(),
        "filled-in",
        Some("backend: \"python\"\nmax_batch_size: 8\ninstance_group { kind: KIND_CPU }\n"),
        &["1"],
        "model.py",
        b"",
    );
    let found = check(repository.path(), &Options::default()).unwrap();
    let of_ensemble: Vec<&Finding> = found.findings.iter().filter(|finding| finding.model == "all").collect();
    assert!(of_ensemble.is_empty(), "{of_ensemble:?}");
    assert!(
        found.table(false).contains("not checked: `ensemble_scheduling`: `filled-in` is a step"),
        "{}",
        found.table(false)
    );
}

/// Two ensembles that are steps of each other.
#[test]
fn ensembles_in_a_circle_are_refused() {
    let repository = tempfile::tempdir().unwrap();
    for (name, other) in [("all", "other"), ("other", "all")] {
        write(repository.path(), name, Some(&ensemble(&plain(other))), &[], "", b"");
        std::fs::create_dir_all(repository.path().join(name).join("1")).unwrap();
    }
    let found = check(repository.path(), &Options::default()).unwrap();
    assert_eq!((said(&found), found.findings.len()), (vec!["ensemble-step r".to_owned()], 2));
}

/// A MiB of steps, in the order that costs most.
#[test]
fn many_steps_cost_little() {
    let steps: String = (0..7000)
        .rev()
        .map(|number| step("a", &[("x", &format!("t{number}"))], &[("y", &format!("t{}", number + 1))]))
        .collect();
    let text = ensemble(&steps);
    assert!(text.len() < 1 << 20);
    let started = std::time::Instant::now();
    let found = checked(&text);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(found.outcome, Outcome::Found);
}
