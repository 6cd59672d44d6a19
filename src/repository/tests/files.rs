//! What is held to the files, and the forms that findings are written in.

use std::collections::BTreeSet;

use rstest::rstest;

use super::*;
use crate::runtime::tensorrt::metadata;

const HEAD: &str = "backend: \"onnxruntime\"\n";
const CPU: &str = "instance_group { kind: KIND_CPU count: 1 }\n";

/// A configuration of the classifier with this batch and these dims.
fn config(batch: i64, input: &str, output: &str) -> String {
    format!(
        "{HEAD}max_batch_size: {batch}\ninput {{ name: \"input_1\" data_type: TYPE_FP32 dims: {input} }}\n\
         output {{ name: \"logits\" data_type: TYPE_FP32 dims: {output} }}\n{CPU}"
    )
}

#[rstest]
#[case::open_batch(&[0, 32, 32, 3], &[0, 10], 8, "[32, 32, 3]", "[10]", &[])]
#[case::whole_shape(&[0, 32, 32, 3], &[0, 10], 0, "[-1, 32, 32, 3]", "[-1, 10]", &[])]
#[case::fixed_batch(&[4, 32, 32, 3], &[4, 10], 0, "[4, 32, 32, 3]", "[4, 10]", &[])]
#[case::open_sizes(&[0, 0, 0, 3], &[0, 10], 8, "[224, 224, 3]", "[10]", &[])]
#[case::open_sizes_in_both(&[0, 0, 0, 3], &[0, 10], 8, "[-1, -1, 3]", "[10]", &[])]
#[case::batch_in_the_dims_of_both(&[0, 32, 32, 3], &[0, 10], 8, "[-1, 32, 32, 3]", "[-1, 10]", &["batch-in-dims a"])]
#[case::batch_left_out(&[0, 32, 32, 3], &[0, 10], 0, "[32, 32, 3]", "[10]", &["batch-left-out r"])]
#[case::fixed_batch_served_with_one(&[4, 32, 32, 3], &[4, 10], 4, "[32, 32, 3]", "[10]", &["batch-fixed r"])]
#[case::channels_first(&[0, 3, 32, 32], &[0, 10], 8, "[32, 32, 3]", "[10]", &["dims-differ r"])]
#[case::open_where_the_file_is_not(&[0, 32, 32, 3], &[0, 10], 8, "[-1, 32, 3]", "[10]", &["dims-differ r"])]
#[case::another_number_of_classes(&[0, 32, 32, 3], &[0, 10], 8, "[32, 32, 3]", "[100]", &["dims-differ r"])]
#[case::another_batch(&[4, 32, 32, 3], &[4, 10], 0, "[8, 32, 32, 3]", "[8, 10]", &["dims-differ r"])]
fn dims_are_held_to_the_file(
    #[case] input: &[i64],
    #[case] output: &[i64],
    #[case] batch: i64,
    #[case] dims: &str,
    #[case] classes: &str,
    #[case] expected: &[&str],
) {
    let bytes = onnx(&[("input_1", input)], &[("logits", output)]);
    let checked = of(&config(batch, dims, classes), "model.onnx", &bytes, &Options::default());
    assert_eq!(said(&checked), expected, "{}", checked.table(false));
}

#[test]
fn names_and_types_are_held_to_the_file() {
    let bytes = onnx(&[("ids", &[0, 16]), ("mask", &[0, 16])], &[("scores", &[0, 4])]);
    let tensors = "input { name: \"id\" data_type: TYPE_INT64 dims: [16] }\ninput { name: \"mask\" data_type: TYPE_INT64 dims: [16] }\n\
         output { name: \"logits\" data_type: TYPE_FP32 dims: [4] }\n";
    let checked = of(&format!("{HEAD}max_batch_size: 8\n{tensors}{CPU}"), "model.onnx", &bytes, &Options::default());
    assert_eq!(said(&checked), ["data-type-differs r", "input-unfed r", "input-unknown r", "output-unknown r"]);
    let unknown = checked.findings.iter().find(|finding| finding.rule == Rule::InputUnknown).unwrap();
    assert_eq!((unknown.fix.as_str(), unknown.place.unwrap().line), ("write `ids`", 3));
    let unfed = checked.findings.iter().find(|finding| finding.rule == Rule::InputUnfed).unwrap();
    assert_eq!(unfed.fix, "add `input { name: \"ids\" data_type: TYPE_FP32 dims: [16] }`");
}

#[test]
fn a_file_that_is_no_model_is_told_and_one_of_another_backend_is_not_passed() {
    let checked = of(&config(8, "[32, 32, 3]", "[10]"), "model.onnx", b"\x80\x81", &Options::default());
    assert_eq!(said(&checked), ["model-file-damaged r"]);
    let text = config(8, "[32, 32, 3]", "[10]").replace("onnxruntime", "python");
    let checked = of(&text, "model.py", b"x", &Options::default());
    assert_eq!((said(&checked), checked.models[0].files[0].held_to), (Vec::new(), HeldTo::Nothing));
    assert!(checked.table(false).contains("1/model.py  not looked at: files of the backend `python` are not read"));
}

#[test]
fn what_is_laid_together_or_changed_on_the_way_is_not_held_to_the_file() {
    let bytes = onnx(&[("input_1", &[0]), ("sizes", &[0])], &[("logits", &[0, 10])]);
    let ragged = config(8, "[ -1 ] allow_ragged_batch: true", "[10]");
    let batch = "batch_input { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: \"sizes\" data_type: TYPE_FP32 source_input: \"input_1\" }";
    let checked = of(&format!("{ragged}{batch}"), "model.onnx", &bytes, &Options::default());
    assert_eq!(said(&checked), [""; 0], "{}", checked.table(false));
    let agents = "model_repository_agents { agents { name: \"decrypt\" } }";
    let checked = of(&format!("{}{agents}", config(8, "[3]", "[10]")), "model.onnx", b"secret", &Options::default());
    assert_eq!((said(&checked), checked.models[0].files[0].held_to), (Vec::new(), HeldTo::Nothing));
}

/// An engine's file, and its configuration.
fn plan(tag: &[u8], version: [u8; 4], length: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..4].copy_from_slice(tag);
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    bytes[24..28].copy_from_slice(&version);
    bytes
}

fn of_plan(bytes: &[u8], release: Option<&str>) -> Checked {
    let text = config(8, "[32, 32, 3]", "[10]").replace("onnxruntime", "tensorrt").replace("KIND_CPU", "KIND_GPU");
    let server = release.map(|release| release.parse().unwrap());
    of(&text, "model.plan", bytes, &Options { server, ..Options::default() })
}

#[rstest]
#[case::of_the_servers(b"ftrt", [10, 11, 0, 33], Some("25.06"), &[], Outcome::Clean)]
#[case::of_another(b"ftrt", [10, 6, 0, 26], Some("25.06"), &["plan-version r"], Outcome::Found)]
#[case::of_no_server(b"ftrt", [10, 6, 0, 26], None, &[], Outcome::Clean)]
#[case::of_a_release_that_the_table_has_not(b"ftrt", [10, 6, 0, 26], Some("24.11"), &[], Outcome::Incomplete)]
#[case::old_against_a_new_server(b"ptrt", [0; 4], Some("25.06"), &["plan-version r"], Outcome::Found)]
#[case::old_against_an_old_one(b"ptrt", [0; 4], Some("23.03"), &[], Outcome::Incomplete)]
#[case::rtx(b"vtrt", [1, 7, 1, 0], None, &["plan-rtx r"], Outcome::Found)]
#[case::unknown(b"????", [0; 4], Some("25.06"), &[], Outcome::Incomplete)]
fn an_engines_release_is_held_to_the_servers(
    #[case] tag: &[u8],
    #[case] version: [u8; 4],
    #[case] release: Option<&str>,
    #[case] expected: &[&str],
    #[case] outcome: Outcome,
) {
    let length = if tag == b"ptrt" { 40 } else { 64 };
    let checked = of_plan(&plan(tag, version, length), release);
    assert_eq!((said(&checked), checked.outcome), (expected.iter().map(|word| (*word).to_owned()).collect(), outcome));
}

#[test]
fn an_engine_that_is_cut_short_or_whose_profiles_end_earlier_is_told() {
    assert_eq!(said(&of_plan(&plan(b"ftrt", [10, 11, 0, 33], 65), None)), ["model-file-damaged r"]);
    let bytes = plan(b"ftrt", [10, 11, 0, 33], 64);
    let repository = tempfile::tempdir().unwrap();
    let text = config(8, "[32, 32, 3]", "[10]").replace("onnxruntime", "tensorrt");
    let text = text.replace("KIND_CPU count: 1", "kind: KIND_GPU profile: [ \"1\" ]").replace("kind: kind:", "kind:");
    write(repository.path(), "m", Some(&text), &["1"], "model.plan", &bytes);
    let mut beside = metadata::tests::metadata(&bytes);
    beside.profiles = vec![[1, 8, 16], [1, 4, 4]];
    beside.write_beside(&repository.path().join("m/1/model.plan")).unwrap();
    let checked = check(repository.path(), &Options::default()).unwrap();
    assert_eq!(said(&checked), ["plan-batch a"], "{}", checked.table(false));
    assert_eq!(checked.models[0].files[0].held_to, HeldTo::HeaderAndProfiles);
}

#[test]
fn an_engine_runs_on_a_card_and_its_profiles_are_numbers() {
    let bytes = plan(b"ftrt", [10, 11, 0, 33], 64);
    let text = config(8, "[32, 32, 3]", "[10]").replace("onnxruntime", "tensorrt");
    assert_eq!(said(&of(&text, "model.plan", &bytes, &Options::default())), ["tensorrt-on-cpu r"]);
    let text = text.replace("KIND_CPU count: 1", "KIND_GPU profile: [ \"first\" ]");
    assert_eq!(said(&of(&text, "model.plan", &bytes, &Options::default())), ["profile-invalid r"]);
}

#[test]
fn a_savedmodel_is_refused_by_servers_that_have_no_tensorflow() {
    let text = "platform: \"tensorflow_savedmodel\"\nmax_batch_size: 0\ninput { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] }\n\
         output { name: \"y\" data_type: TYPE_FP32 dims: [ 1 ] }\ninstance_group { kind: KIND_CPU count: 1 }\n";
    let with = |release: Option<&str>| {
        let server = release.map(|release| release.parse().unwrap());
        said(&of(text, "model.savedmodel", b"", &Options { server, ..Options::default() }))
    };
    assert_eq!(with(Some("25.02")), [""; 0]);
    assert_eq!(with(Some("25.05")), ["savedmodel-gone r"]);
    assert_eq!(with(None), ["savedmodel-gone r"]);
}

#[test]
fn what_is_no_repository_is_an_error_with_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let words = |path: &Path| check(path, &Options::default()).unwrap_err();
    assert!(words(folder.path()).message.ends_with("holds no model"));
    std::fs::write(folder.path().join("config.pbtxt"), "").unwrap();
    assert!(words(folder.path()).message.ends_with("is a model, not a repository"));
    assert_eq!(words(&folder.path().join("gone")).kind, crate::error::ErrorKind::Input);
}

#[test]
fn a_finding_has_its_line_what_a_server_does_and_the_fix() {
    let repository = tempfile::tempdir().unwrap();
    let text = config(32, "[ -1, 32, 32, 3 ]", "[ 10 ]");
    write(repository.path(), "m", Some(&text), &["1"], "model.onnx", &classifier());
    let checked = check(repository.path(), &Options::default()).unwrap();
    let place = repository.path().display().to_string();
    insta::assert_snapshot!("terminal", checked.table(false).replace(&place, "repository"));
    let mut written: serde_json::Value = serde_json::from_str(&sarif(&checked).unwrap()).unwrap();
    let rules = written["runs"][0]["tool"]["driver"]["rules"].take();
    assert_eq!(rules.as_array().unwrap().len(), Rule::ALL.len());
    let result = &written["runs"][0]["results"][0];
    assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], result["ruleId"]);
    let told = |text: String| text.replace(&place, "repository").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!("sarif", told(serde_json::to_string_pretty(&written).unwrap()));
    insta::assert_snapshot!("json", told(serde_json::to_string_pretty(&checked).unwrap()));
}

#[test]
fn names_of_rules_are_many_and_each_stands_in_the_documentation_once() {
    let documented = std::fs::read_to_string("docs/triton-repository.md").unwrap();
    let (_, documented) = documented.split_once("\n## Rules\n").unwrap();
    for rule in Rule::ALL {
        let rows = documented.lines().filter(|line| line.starts_with(&format!("| `{}` |", rule.name()))).count();
        assert_eq!(rows, 1, "`{}`", rule.name());
    }
    let rows = documented.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Rule::ALL.len(), "the documentation has rows of no rule");
    let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
}

/// A configuration of a MiB that is made to cost much is looked at in seconds, without optimisation too.
#[rstest]
#[case::unknown_fields("b: 1 ")]
#[case::values_of_another_kind("max_batch_size: \"x\" ")]
#[case::equal_keys("parameters { key: \"a\" } ")]
#[case::inputs("input { name: \"a\" format: FORMAT_NHWC dims: [ 1, 2, 3 ] } ")]
#[case::warmups("model_warmup { inputs { key: \"a\" } } ")]
#[case::messages("instance_group { kind: KIND_CPU gpus: 0 } ")]
#[case::numbers("input { dims: [ 0 ] } ")]
#[case::comments("# ")]
#[case::text("\"a\" ")]
fn what_is_made_to_cost_much_costs_little(#[case] part: &str) {
    let text = part.repeat((1 << 20) / part.len());
    let started = std::time::Instant::now();
    let checked = of(&text, "model.onnx", &classifier(), &Options::default());
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(checked.findings.len() <= 200 && !checked.findings.is_empty());
    // What is refused is among what is listed.
    assert!(part == "# " || checked.findings.iter().any(|finding| finding.verdict == Verdict::Refused));
}

/// Each rule is broken somewhere in these tests, so that none is there that never speaks.
#[test]
fn every_rule_is_broken_in_a_test() {
    let tests = ["cases", "ensembles", "files", "written"]
        .map(|name| std::fs::read_to_string(format!("src/repository/tests/{name}.rs")).unwrap());
    let silent: Vec<&str> = Rule::ALL
        .iter()
        .map(|rule| rule.name())
        .filter(|name| {
            !tests
                .iter()
                .any(|text| ["r", "a", "n"].iter().any(|verdict| text.contains(&format!("\"{name} {verdict}\""))))
        })
        .collect();
    assert_eq!(silent, [""; 0]);
}

#[test]
fn findings_without_end_are_counted_and_what_is_refused_is_kept() {
    let many = "format: FORMAT_NHWC ";
    let inputs: String = (0..300)
        .map(|number| format!("input {{ name: \"i{number}\" data_type: TYPE_FP32 {many}dims: [ 4, 4, 3 ] }}\n"))
        .collect();
    let text = format!(
        "backend: \"python\"\nmax_batch_size: 1\n{inputs}output {{ name: \"y\" data_type: TYPE_FP32 dims: [ 0 ] }}\n{CPU}"
    );
    let checked = of(&text, "model.py", b"", &Options::default());
    assert_eq!((checked.findings.len(), checked.models[0].further), (200, 101));
    assert_eq!(said(&checked), ["dim-invalid r", "format-unused a"]);
}
