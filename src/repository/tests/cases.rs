//! Configurations of one model, each with one thing changed.

use super::*;

const IN: &str = "input [ { name: \"input_1\" data_type: TYPE_FP32 dims: [ 32, 32, 3 ] } ]\n";
const OUT: &str = "output [ { name: \"logits\" data_type: TYPE_FP32 dims: [ 10 ] } ]\n";
const B: &str = "backend: \"onnxruntime\"\nmax_batch_size: 32\n";
const CPU: &str = "instance_group [ { kind: KIND_CPU } ]\n";

/// Whether the server loaded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Loaded,
    Refused,
}
use Answer::{Loaded, Refused};

/// A configuration.
struct Case {
    name: &'static str,
    config: Option<String>,
    versions: &'static [&'static str],
    file: &'static str,
    server: Answer,
    said: &'static [&'static str],
}

fn case(name: &'static str, config: String, server: Answer, said: &'static [&'static str]) -> Case {
    Case { name, config: Some(config), versions: &["1"], file: "model.onnx", server, said }
}

/// The right configuration with `more` behind it.
fn plus(name: &'static str, more: &str, server: Answer, said: &'static [&'static str]) -> Case {
    case(name, format!("{B}{IN}{OUT}{CPU}{more}"), server, said)
}

/// With another input, or another output.
fn input(name: &'static str, input: &str, server: Answer, said: &'static [&'static str]) -> Case {
    case(name, format!("{B}input [ {{ name: \"input_1\" {input} }} ]\n{OUT}{CPU}"), server, said)
}

fn output(name: &'static str, output: &str, server: Answer, said: &'static [&'static str]) -> Case {
    case(name, format!("{B}{IN}output [ {{ name: \"logits\" data_type: TYPE_FP32 {output} }} ]\n{CPU}"), server, said)
}

/// With other lines in place of the first two, the backend and the batch.
fn head(name: &'static str, head: &str, server: Answer, said: &'static [&'static str]) -> Case {
    case(name, format!("{head}\n{IN}{OUT}{CPU}"), server, said)
}

fn warmup(
    name: &'static str,
    batch: u32,
    key: &str,
    value: &str,
    server: Answer,
    said: &'static [&'static str],
) -> Case {
    let value = format!("value {{ {value} }}");
    plus(
        name,
        &format!("model_warmup [ {{ name: \"w\" batch_size: {batch} inputs {{ key: \"{key}\" {value} }} }} ]\n"),
        server,
        said,
    )
}

const ZERO: &str = "data_type: TYPE_FP32 dims: [ 32, 32, 3 ] zero_data: true";

/// Those that TRITON's facts were taken from, by the names they have there.
fn known() -> Vec<Case> {
    let of = |versions, case: Case| Case { versions, ..case };
    let in_file = |file, case: Case| Case { file, ..case };
    let plain = |name, server, said| plus(name, "", server, said);
    vec![
        plain("good", Loaded, &[]),
        case("name_mismatch", format!("name: \"other\"\n{B}{IN}{OUT}{CPU}"), Refused, &["name-mismatch r"]),
        of(&[], plain("no_version_dir", Refused, &["version-missing r"])),
        of(&["v1"], plain("version_v1", Refused, &["version-name r"])),
        of(&["0"], plain("version_0", Loaded, &["version-zero a"])),
        of(&["007"], plain("version_007", Refused, &["version-name r"])),
        in_file("net.onnx", plain("wrong_file", Refused, &["model-file-missing r"])),
        in_file("net.onnx", plus("default_model_filename", "default_model_filename: \"net.onnx\"\n", Loaded, &[])),
        Case { config: None, ..plain("no_config", Loaded, &["config-missing a"]) },
        case("empty_config", String::new(), Loaded, &["config-empty a"]),
        plus("unknown_field", "batch_size: 3\n", Refused, &["unknown-field r"]),
        head("no_backend", "max_batch_size: 32", Loaded, &["backend-guessed n"]),
        head("unknown_backend", "backend: \"onnx\"\nmax_batch_size: 32", Refused, &["backend-unknown r"]),
        head("platform_wrong", "platform: \"onnx\"\nmax_batch_size: 32", Refused, &["platform-unknown r"]),
        head(
            "platform_and_backend_disagree",
            &format!("platform: \"tensorrt_plan\"\n{B}"),
            Refused,
            &["platform-mismatch r"],
        ),
        input("no_dims", "data_type: TYPE_FP32", Refused, &["dims-missing r"]),
        input("dims_with_batch", "data_type: TYPE_FP32 dims: [ -1, 32, 32, 3 ]", Loaded, &["batch-in-dims a"]),
        input("dim_zero", "data_type: TYPE_FP32 dims: [ 0, 32, 3 ]", Refused, &["dim-invalid r"]),
        input("dim_-2", "data_type: TYPE_FP32 dims: [ -2, 32, 3 ]", Refused, &["dim-invalid r"]),
        input("no_datatype", "dims: [ 32, 32, 3 ]", Refused, &["data-type-missing r"]),
        input("bad_datatype", "data_type: FP32 dims: [ 32, 32, 3 ]", Refused, &["unknown-name r"]),
        head("neg_batch", "backend: \"onnxruntime\"\nmax_batch_size: -1", Refused, &["max-batch-size-negative r"]),
        case("no_output", format!("{B}{IN}{CPU}"), Loaded, &["output-missing a"]),
        case("no_input", format!("{B}{OUT}{CPU}"), Loaded, &["input-missing a"]),
        case("dup_input", format!("{B}{IN}{IN}{OUT}{CPU}"), Loaded, &["tensor-twice a"]),
        // Two dims are wrong by the file, too.
        input(
            "format_nchw_bad",
            "data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 32, 3 ]",
            Refused,
            &["dims-differ r", "format-dims r"],
        ),
        input(
            "format_nhwc",
            "data_type: TYPE_FP32 format: FORMAT_NHWC dims: [ 32, 32, 3 ]",
            Loaded,
            &["format-unused a"],
        ),
        // Right of a graph whose output is [N, 1, 10], which this one is not: the stand-in does not look.
        output("reshape_ok", "dims: [ 10 ] reshape { shape: [ 1, 10 ] }", Loaded, &["dims-differ r"]),
        output("reshape_bad", "dims: [ 10 ] reshape { shape: [ 3 ] }", Refused, &["reshape-size r"]),
        plus(
            "pref_over_max",
            "dynamic_batching { preferred_batch_size: [ 64 ] }\n",
            Refused,
            &["preferred-over-max r"],
        ),
        case(
            "dyn_with_batch0",
            format!(
                "backend: \"onnxruntime\"\nmax_batch_size: 0\ninput [ {{ name: \"input_1\" data_type: TYPE_FP32 dims: [ -1, 32, 32, 3 ] }} ]\n\
                 output [ {{ name: \"logits\" data_type: TYPE_FP32 dims: [ -1, 10 ] }} ]\n{CPU}dynamic_batching {{ }}\n"
            ),
            Loaded,
            &["dynamic-batching-unused a"],
        ),
        output("label_missing", "dims: [ 10 ] label_filename: \"nolabels.txt\"", Refused, &["labels-missing r"]),
        output("label_short", "dims: [ 10 ] label_filename: \"l.txt\"", Loaded, &["labels-short a"]),
        plus(
            "policy_specific_missing",
            "version_policy { specific { versions: [ 2 ] } }\n",
            Refused,
            &["version-absent r"],
        ),
        of(&["1", "3"], plain("versions_1_3", Loaded, &["version-unserved n"])),
        of(
            &["1", "9", "10"],
            plus(
                "versions_9_10_latest2",
                "version_policy { latest { num_versions: 2 } }\n",
                Loaded,
                &["version-unserved n"],
            ),
        ),
        of(&["1", "9", "10"], plus("versions_all", "version_policy { all { } }\n", Loaded, &[])),
        case("kind_gpu", format!("{B}{IN}{OUT}instance_group [ {{ kind: KIND_GPU }} ]\n"), Refused, &["gpu-missing r"]),
        case("kind_default", format!("{B}{IN}{OUT}"), Loaded, &["instances-default n"]),
        case("instances_2", format!("{B}{IN}{OUT}instance_group [ {{ kind: KIND_CPU count: 2 }} ]\n"), Loaded, &[]),
        warmup("warmup_wrong_name", 1, "zz", ZERO, Refused, &["warmup-input r"]),
        warmup(
            "warmup_wrong_dims",
            1,
            "input_1",
            "data_type: TYPE_FP32 dims: [ 16, 16, 3 ] zero_data: true",
            Refused,
            &["warmup-dims r"],
        ),
        warmup("warmup_batch_over", 64, "input_1", ZERO, Refused, &["warmup-batch r"]),
        plus("queue_delay_only", "dynamic_batching { max_queue_delay_microseconds: 100 }\n", Loaded, &[]),
        plus("priority_levels", "dynamic_batching { priority_levels: 2 default_priority_level: 1 }\n", Loaded, &[]),
        plain("bad name", Refused, &["model-name a"]),
        case("bom", format!("\u{feff}{B}{IN}{OUT}{CPU}"), Refused, &["byte-order-mark r"]),
        case("comment", format!("# made by hand\n{B}{IN}{OUT}{CPU}"), Loaded, &[]),
        case("json_ish", "{\"backend\":\"onnxruntime\"}".to_owned(), Refused, &["syntax r"]),
        plus("response_cache", "response_cache { enable: true }\n", Loaded, &["response-cache n"]),
        plus(
            "parameters",
            "parameters { key: \"trtgate.sha256\" value: { string_value: \"abc\" } }\nmetric_tags { key: \"t\" value: \"u\" }\n",
            Loaded,
            &[],
        ),
    ]
}

/// Further ones, each put to the same server.
fn further() -> Vec<Case> {
    let of = |versions, case: Case| Case { versions, ..case };
    let twice = "parameters { key: \"a\" value { string_value: \"1\" } } parameters { key: \"a\" value { string_value: \"2\" } }";
    let cases = vec![
        of(&["1", "2_old"], plus("a_version_with_a_tail", "", Refused, &["version-name r"])),
        of(&["1", "bak"], plus("a_folder_beside", "", Loaded, &[])),
        plus("latest_0", "version_policy { latest { num_versions: 0 } }", Refused, &["version-absent r"]),
        plus("specific_1_2", "version_policy { specific { versions: [1,2] } }", Loaded, &["version-absent a"]),
        plus("specific_none", "version_policy { specific { } }", Refused, &["version-absent r"]),
        plus("policy_none", "version_policy { }", Loaded, &[]),
        case("dup_output", format!("{B}{IN}{OUT}{OUT}{CPU}"), Loaded, &["tensor-twice a"]),
        plus("key_twice", twice, Loaded, &["key-twice a"]),
        plus("field_twice", "max_batch_size: 16\n", Refused, &["field-twice r"]),
        plus("two_schedulers", "dynamic_batching {} sequence_batching {}", Refused, &["field-twice r"]),
        output("label_long", "dims: [ 10 ] label_filename: \"long.txt\"", Loaded, &["labels-long a"]),
        warmup("warmup_nothing", 1, "input_1", "data_type: TYPE_FP32 dims: [ 32, 32, 3 ]", Refused, &["warmup-data r"]),
        warmup(
            "warmup_type",
            1,
            "input_1",
            "data_type: TYPE_FP16 dims: [ 32, 32, 3 ] zero_data: true",
            Refused,
            &["warmup-type r"],
        ),
        warmup(
            "warmup_file",
            1,
            "input_1",
            "data_type: TYPE_FP32 dims: [ 32, 32, 3 ] input_data_file: \"x\"",
            Refused,
            &["warmup-data r"],
        ),
        case(
            "cpu_gpus",
            format!("{B}{IN}{OUT}instance_group {{ kind: KIND_CPU gpus: [0] }}"),
            Refused,
            &["gpus-without-gpu r"],
        ),
        case(
            "profile",
            format!("{B}{IN}{OUT}instance_group {{ kind: KIND_CPU profile: [\"0\"] }}"),
            Refused,
            &["tensorrt-only r"],
        ),
        case(
            "other_spellings",
            format!(
                "backend: 'onnxruntime';max_batch_size: 0x20, input < name: \"input\" \"_1\" data_type: 11 dims: 32 dims: 32 dims: 3 >\n{OUT}{CPU}"
            ),
            Loaded,
            &[],
        ),
        output("trailing_comma", "dims: [ 10, ]", Refused, &["syntax r"]),
        head("a_float", "backend: \"onnxruntime\"\nmax_batch_size: 32.0", Refused, &["wrong-value r"]),
        head("a_text", "backend: \"onnxruntime\"\nmax_batch_size: \"32\"", Refused, &["wrong-value r"]),
        head("too_large", "backend: \"onnxruntime\"\nmax_batch_size: 4294967297", Refused, &["wrong-value r"]),
        head("octal", "backend: \"onnxruntime\"\nmax_batch_size: 040", Loaded, &[]),
        head("a_list", "backend: [\"onnxruntime\"]\nmax_batch_size: 32", Refused, &["wrong-value r"]),
        head("no_colon", "backend \"onnxruntime\"\nmax_batch_size: 32", Refused, &["syntax r"]),
        head("minus_apart", "backend: \"onnxruntime\"\nmax_batch_size: - 32", Refused, &["max-batch-size-negative r"]),
        input("type_99", "data_type: 99 dims: [ 32, 32, 3 ]", Loaded, &["data-type-differs r", "unknown-name a"]),
        plus("bool_t", "response_cache { enable: t }", Loaded, &["response-cache n"]),
        plus("bool_yes", "response_cache { enable: yes }", Refused, &["wrong-value r"]),
        plus("newer", "model_metrics { }", Refused, &["newer-field n"]),
        plus("no_default_level", "dynamic_batching { priority_levels: 2 }", Refused, &["priority-level r"]),
        plus(
            "no_size_preferred",
            "dynamic_batching { preferred_batch_size: [ 0 ] }",
            Refused,
            &["preferred-invalid r"],
        ),
        plus("smaller_preferred", "dynamic_batching { preferred_batch_size: [ 8 ] }", Loaded, &["preferred-useless n"]),
        plus(
            "order_beside_priorities",
            "dynamic_batching { priority_levels: 2 default_priority_level: 1 preserve_ordering: true }",
            Refused,
            &["preserve-ordering r"],
        ),
        plus(
            "order_beside_delays",
            "dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5 } }",
            Refused,
            &["preserve-ordering r"],
        ),
        plus(
            "a_policy_beyond_the_levels",
            "dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 9 value { } } }",
            Refused,
            &["priority-level r"],
        ),
        case(
            "no_name",
            format!("{B}{IN}output {{ data_type: TYPE_FP32 dims: 10 }}\n{CPU}"),
            Refused,
            &["tensor-name r"],
        ),
        case(
            "no_batch_written",
            format!(
                "backend: \"onnxruntime\"\n{}{}{CPU}",
                IN.replace("[ 32", "[ -1, 32"),
                OUT.replace("[ 10", "[ -1, 10")
            ),
            Loaded,
            &["max-batch-size-unwritten n"],
        ),
        case("the_first_is_0", format!("max_batch_size: 0\n{B}{IN}{OUT}{CPU}"), Loaded, &["field-twice a"]),
        plus("an_extension", "[foo.bar]: 3", Refused, &["syntax r"]),
        plus("text_across_lines", "parameters { key: \"a\nb\" value { string_value: \"x\" } }", Refused, &["syntax r"]),
        plus("a_key_alone", "metric_tags { key: \"a\" }", Loaded, &[]),
        case("any_kind", format!("{B}{IN}{OUT}instance_group {{ count: 1 }}"), Loaded, &[]),
        case("colon_before_a_message", format!("{B}{IN}{OUT}instance_group: {{ kind: KIND_CPU }}"), Loaded, &[]),
    ];
    cases
}

/// What is said, and whether it fits what the server did.
fn judge(cases: &[Case]) -> Vec<String> {
    let bytes = classifier();
    let options = Options { no_gpu: true, ..Options::default() };
    let mut wrong = Vec::new();
    for case in cases {
        let repository = tempfile::tempdir().unwrap();
        write(repository.path(), case.name, case.config.as_deref(), case.versions, case.file, &bytes);
        std::fs::write(repository.path().join(case.name).join("l.txt"), "a\nb\n").unwrap();
        std::fs::write(repository.path().join(case.name).join("long.txt"), "a\n".repeat(12)).unwrap();
        let checked = check(repository.path(), &options).unwrap();
        let said = said(&checked);
        if said != case.said {
            wrong.push(format!("{}: {said:?}, expected {:?}\n{}", case.name, case.said, checked.table(false)));
        }
        let refused = said.iter().any(|said| said.ends_with(" r"));
        // What the backend refuses, and the stand-in does not look at; a field that newer servers take; a name that no address reaches.
        let beyond = ["dims-differ", "data-type-differs", "newer-field", "model-name"];
        let beyond = said.iter().any(|said| beyond.iter().any(|rule| said.starts_with(rule)));
        if refused != (case.server == Refused) && !beyond {
            wrong.push(format!("{}: the server said {:?}, the rules {said:?}", case.name, case.server));
        }
    }
    wrong
}

#[test]
fn every_known_configuration_gets_its_rule_and_the_good_ones_none() {
    let cases = known();
    assert!(cases.len() >= 50, "{}", cases.len());
    let wrong = judge(&cases);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn what_else_the_server_was_asked_is_answered_as_it_did() {
    let wrong = judge(&further());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
