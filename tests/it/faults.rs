//! What must never pass: each fault is provoked, caught, and named in a message of its own.

use rstest::rstest;

use crate::context::{Context, Run, report};
use trtgate::internals::findings::CellReport;
use trtgate::internals::vocabulary::{Stage, Status, Verdict};

/// Runs one small cell with a fault planted in its worker.
fn with_fault(fault: &str, extra: &[&str]) -> (Run, CellReport) {
    let context = Context::new().with("TRTGATE_TEST_FAULT", fault);
    context.manifest(&[]);
    let mut arguments =
        vec!["gate", "--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8", "--json", "report.json"];
    arguments.extend(extra);
    let run = context.run(&arguments);
    assert!(context.path("report.json").is_file(), "no report: {}", run.shown());
    let mut report = report(&context.path("report.json"));
    (run, report.cells.remove(0))
}

#[test]
fn a_healthy_cell_passes() {
    let (run, cell) = with_fault("", &[]);
    assert_eq!((run.code, cell.status), (0, Status::Pass), "{}", run.shown());
}

#[rstest]
#[case("all_nan", "all-nan@run", 1, Status::Fail)]
#[case("one_nan", "nan@run", 1, Status::Fail)]
#[case("infinite", "infinite@run", 1, Status::Fail)]
#[case("one_sample_missing", "short@run", 3, Status::Invalid)]
#[case("output_renamed", "rename@run", 1, Status::Fail)]
#[case("slots_swapped", "swap-slots@run", 1, Status::Fail)]
#[case("channels_first_fed_as_channels_last", "layout@run", 1, Status::Fail)]
#[case("aborted", "crash@run", 1, Status::Fail)]
#[case("killed", "kill@run", 1, Status::Fail)]
fn a_faulty_worker_fails_its_cell(#[case] name: &str, #[case] fault: &str, #[case] code: i32, #[case] status: Status) {
    let (run, cell) = with_fault(fault, &[]);
    assert_eq!((run.code, cell.status), (code, status), "{}", run.shown());
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    message(name, &cell);
}

#[test]
fn a_worker_that_floods_standard_error_is_stopped() {
    let (run, cell) = with_fault("flood@run", &[]);
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    assert!(cell.reason.unwrap_or_default().contains("MiB to standard error"));
}

#[test]
fn a_hanging_worker_is_stopped_at_the_time_limit() {
    let (run, cell) = with_fault("hang@run", &["--time-limit", "2"]);
    assert_eq!((run.code, cell.status, cell.stage), (1, Status::Fail, Stage::Run), "{}", run.shown());
    assert!(cell.reason.unwrap_or_default().contains("no answer within 2 s"));
}

#[test]
fn a_library_that_prints_to_standard_output_disturbs_nothing() {
    let (run, cell) = with_fault("print@run", &[]);
    // Not 0: no run passes while a fault is provoked.
    assert_eq!((run.code, cell.status), (3, Status::Pass), "{}", run.shown());
    assert!(run.stdout.contains("a fault is provoked on demand (`TRTGATE_TEST_FAULT=print@run`)"), "{}", run.stdout);
    assert!(!run.stdout.contains("prints to standard output"));
}

#[test]
fn nothing_is_accepted_while_a_fault_is_provoked() {
    let context = Context::new().with("TRTGATE_TEST_FAULT", "layout@run");
    context.manifest(&[]);
    for what in [&["bless", "--reason", "r"][..], &["bless", "--baselines", "--reason", "r"]] {
        let run = context.run(what);
        assert_eq!(run.code, 2, "{}", run.shown());
        assert!(run.stderr.contains("nothing is accepted while a fault is provoked"), "{}", run.stderr);
    }
}

#[test]
fn artifacts_need_no_model_whose_digest_is_known() {
    let context = Context::new();
    let manifest = context.manifest(&[]);
    context.export("onnx-fp32");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let model = crate::context::project().join("models/cifar10/saved_model");
    let text = text.replace(&model.display().to_string(), "nowhere");
    std::fs::write(&manifest, &text).unwrap();
    let cell = ["--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8"];
    let run = context.run(&[&["gate", "--artifacts", "artifacts"][..], &cell].concat());
    assert_eq!(run.code, 0, "{}", run.shown());
    let bare = Context::new().with("TRTGATE_ARTIFACTS", "");
    bare.write("gate.toml", &text);
    let without = bare.run(&[&["gate"][..], &cell].concat());
    assert_eq!(without.code, 2, "{}", without.shown());
    // Artifacts of another model are still refused.
    let list = context.path("artifacts/artifacts.json");
    let other = std::fs::read_to_string(&list).unwrap().replace("b11059322736", "000000000000");
    std::fs::write(&list, other).unwrap();
    assert_eq!(context.run(&[&["gate", "--artifacts", "artifacts"][..], &cell].concat()).code, 2);
}

#[test]
fn an_artifact_that_is_not_in_the_bundle_is_a_failure() {
    let context = Context::new();
    context.manifest(&[]);
    context.export("onnx-fp32");
    let both = ["--runtime", "onnxruntime", "--precision", "fp32", "--precision", "fp16", "--batch", "8"];
    let run = context.run(&[&["gate", "--artifacts", "artifacts", "--json", "r.json"][..], &both].concat());
    let statuses: Vec<Status> = report(&context.path("r.json")).cells.iter().map(|cell| cell.status).collect();
    assert_eq!((run.code, statuses), (1, vec![Status::Pass, Status::Fail]), "{}", run.shown());
}

#[test]
fn scales_are_proved_where_artifacts_are_made_and_the_proof_is_carried() {
    let context = Context::new();
    context.manifest(&[]);
    // Without the FP32 graph nothing can be held to anything where the artifacts are used.
    context.export("onnx-int8-cpu");
    let cell = ["--runtime", "onnxruntime", "--precision", "int8", "--batch", "8"];
    let gate = |name: &str| {
        let run = context.run(&[&["gate", "--artifacts", "artifacts", "--json", name][..], &cell].concat());
        let mut report = report(&context.path(name));
        (run, report.cells.remove(0))
    };
    let (run, carried) = gate("carried.json");
    assert_eq!((run.code, carried.status), (0, Status::Pass), "{}", run.shown());
    assert!(carried.checks.iter().any(|check| check.name == "scales" && check.gating && check.status == Status::Pass));
    let list = context.path("artifacts/artifacts.json");
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(text.contains("\"scales\""), "{text}");
    std::fs::write(&list, text.replace("\"scales\"", "\"forgotten\"")).unwrap();
    let (run, cell) = gate("without.json");
    assert_eq!((run.code, cell.status), (3, Status::Invalid), "{}", run.shown());
    assert!(cell.reason.unwrap_or_default().contains("the scales could not be looked at"), "{}", run.shown());
}

#[test]
fn a_golden_that_leads_nowhere_is_not_taken_for_none() {
    let context = Context::new();
    let manifest = context.manifest(&[]);
    let text = std::fs::read_to_string(&manifest).unwrap();
    let snapshots = format!("snapshots = \"{}\"", crate::context::project().join("snapshots").display());
    assert!(text.contains(&snapshots));
    std::fs::write(&manifest, text.replace(&snapshots, "snapshots = \"snapshots\"")).unwrap();
    std::fs::create_dir(context.path("snapshots")).unwrap();
    std::os::unix::fs::symlink("nowhere", context.path("snapshots/cifar10.golden")).unwrap();
    let cell = ["--runtime", "tensorflow", "--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8"];
    let run = context.run(&[&["gate"][..], &cell].concat());
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stdout.contains("there is no golden at"), "{}", run.stdout);
}

#[rstest::rstest]
#[case::signature("signature = \"serving_default\"", "signature = \"serve\"", "it has `serving_default`")]
#[case::input("name = \"input_1\"", "name = \"inputs\"", "the model's input is `input_1`")]
#[case::shape("shape = [32, 32, 3]", "shape = [32, 32, 1]", "a sample of the model has [32, 32, 3]")]
#[case::output("name = \"logits\"", "name = \"logit\"", "the model has `logits`")]
fn a_manifest_that_does_not_fit_the_model_is_no_regression(#[case] from: &str, #[case] to: &str, #[case] why: &str) {
    let context = Context::new();
    context.manifest(&[(from, to)]);
    let run = context.run(&["gate", "--offline"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains(why), "{}", run.stderr);
}

#[rstest::rstest]
#[case::library(&["gate", "--library", "nope"], "`--library nope`: there is nothing")]
#[case::report(&["gate", "--json", "nope/r.json"], "its folder does not exist")]
#[case::program(&["bench", "--against", "nope"], "`--against nope`: there is no such program")]
#[case::duration(&["bench", "--duration", "nan"], "not a number of seconds")]
#[case::runtime(&["gate", "--runtime", "tensort"], "one of: `tensorflow` `onnxruntime`")]
fn a_mistyped_argument_is_refused_before_anything_runs(#[case] arguments: &[&str], #[case] why: &str) {
    let context = Context::new();
    context.manifest(&[]);
    let run = context.run(arguments);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains(why), "{}", run.stderr);
}

#[test]
fn bare_outputs_are_not_taken_for_rows_with_numbers() {
    let context = Context::new();
    let row = |shift: f32| format!("{},{},{},1,2,9,4\n", 3.0 + shift, 4.0 + shift, 5.0 + shift);
    context.write("a.csv", &row(0.0));
    context.write("b.csv", &row(50.0));
    let run = context.run(&["compare", "a.csv", "b.csv"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("--classes"), "{}", run.stderr);
    assert_eq!(context.run(&["compare", "a.csv", "b.csv", "--classes", "7"]).code, 1);
}

#[test]
fn a_plan_carries_what_is_required() {
    let context = Context::new();
    context.manifest(&[]);
    let plan = context.run(&["gate", "--require", "tensorrt@10.11", "--plan-json", "plan.json"]);
    assert_eq!(plan.code, 0, "{}", plan.shown());
    let cell = ["--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8"];
    assert_eq!(context.run(&[&["gate", "--json", "r.json"][..], &cell].concat()).code, 0);
    let merged = context.run(&["merge", "--plan", "plan.json", "r.json"]);
    assert_eq!(merged.code, 3, "{}", merged.shown());
    assert!(merged.stdout.contains("required runtime `tensorrt@10.11` did not run"), "{}", merged.stdout);
    // Required without a plan as well.
    assert_eq!(context.run(&["merge", "--require", "tensorrt", "r.json"]).code, 3);
}

#[rstest]
#[case::answers("crash@run/onnxruntime", Verdict::Fail, Status::Fail)]
// What lists the layers says nothing of the answers, which are another worker's: no precision is proven.
#[case::layers("crash@layers/onnxruntime", Verdict::Incomplete, Status::Invalid)]
fn one_dead_worker_leaves_the_other_cells_alone(#[case] fault: &str, #[case] verdict: Verdict, #[case] status: Status) {
    let context = Context::new().with("TRTGATE_TEST_FAULT", fault);
    context.manifest(&[]);
    let run = context.run(&[
        "gate",
        "--runtime",
        "onnxruntime",
        "--runtime",
        "litert",
        "--precision",
        "int8",
        "--batch",
        "8",
        "--json",
        "r.json",
    ]);
    assert_eq!(run.code, if verdict == Verdict::Fail { 1 } else { 3 }, "{}", run.shown());
    let left = report(&context.path("r.json"));
    assert_eq!(left.verdict, verdict);
    let statuses: Vec<(String, Status)> =
        left.cells.iter().map(|cell| (cell.runtime.to_string(), cell.status)).collect();
    assert_eq!(statuses, [("onnxruntime".to_owned(), status), ("litert".to_owned(), Status::Pass)]);
}

/// Gates from artifacts whose FP32 graph was changed by `change`; the list is made to agree with the change.
fn with_graph(change: impl FnOnce(&mut Vec<u8>)) -> (Run, CellReport) {
    let context = Context::new();
    context.manifest(&[]);
    context.export("onnx-fp32");
    let graph = context.path("artifacts/cifar10.onnx-fp32.onnx");
    let old = trtgate::internals::digest::digest_file(&graph).unwrap();
    let mut bytes = std::fs::read(&graph).unwrap();
    let length = bytes.len();
    change(&mut bytes);
    std::fs::write(&graph, &bytes).unwrap();
    let list = context.path("artifacts/artifacts.json");
    let text = std::fs::read_to_string(&list).unwrap();
    let text = text.replace(&old, &trtgate::internals::digest::digest_file(&graph).unwrap());
    let size = format!("\"bytes\": {length}");
    assert!(text.contains(&size), "{text}");
    std::fs::write(&list, text.replace(&size, &format!("\"bytes\": {}", bytes.len()))).unwrap();
    let run = context.run(&[
        "gate",
        "--artifacts",
        "artifacts",
        "--runtime",
        "onnxruntime",
        "--precision",
        "fp32",
        "--batch",
        "8",
        "--json",
        "r.json",
    ]);
    assert!(context.path("r.json").is_file(), "no report: {}", run.shown());
    (run, report(&context.path("r.json")).cells.remove(0))
}

/// Place of the stored values of the first initialiser that `wanted` accepts by its dimensions.
fn stored(bytes: &[u8], wanted: impl Fn(&[i64]) -> bool) -> std::ops::Range<usize> {
    let model = trtgate::internals::onnx::parse(bytes).unwrap();
    let graph = model.graph.unwrap();
    let tensor = graph.initializer.iter().find(|tensor| wanted(&tensor.dims)).unwrap();
    let values = tensor.raw_data.as_ref().unwrap();
    let place = bytes.windows(values.len()).position(|window| window == &values[..]).unwrap();
    place..place + values.len()
}

fn floats(bytes: &mut [u8], mut change: impl FnMut(usize, f32) -> f32) {
    for (index, value) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *value = change(index, f32::from_le_bytes(*value)).to_le_bytes();
    }
}

#[test]
fn weights_perturbed_by_one_percent_fail() {
    let (run, cell) = with_graph(|bytes| {
        let place = stored(bytes, |dims| dims.len() == 4 && dims[0] > 64);
        floats(&mut bytes[place], |index, value| value * if index % 2 == 0 { 1.01 } else { 0.99 });
    });
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    message("weights_perturbed", &cell);
}

#[test]
fn two_input_channels_swapped_fail() {
    let (run, cell) = with_graph(|bytes| {
        let place = stored(bytes, |dims| dims.len() == 4 && dims[1] == 3);
        let values = &mut bytes[place];
        // [out, in, height, width]: the planes of channels 0 and 2 change places.
        for filter in values.chunks_exact_mut(3 * 9 * 4) {
            let (first, rest) = filter.split_at_mut(9 * 4);
            first.swap_with_slice(&mut rest[9 * 4..]);
        }
    });
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    message("channels_swapped", &cell);
}

#[test]
fn batch_normalisation_statistics_that_are_off_fail() {
    let (run, cell) = with_graph(|bytes| {
        // Exporting folds the statistics into each convolution's bias: a wrong mean shifts it.
        let place = stored(bytes, |dims| dims.len() == 1 && dims[0] == 192);
        floats(&mut bytes[place], |_, value| value + 0.05);
    });
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    message("batch_normalisation_off", &cell);
}

#[test]
fn a_calibration_set_of_noise_fails() {
    // What another machine converted was calibrated there.
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    // Pictures of one grey, with a little noise: nothing that the activations of real samples would fit in.
    let mut state = 1u32;
    let mut records = Vec::new();
    for label in 0..512 {
        records.push((label % 10) as u8);
        for _ in 0..3072 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            records.push(127 + (state >> 30) as u8);
        }
    }
    std::fs::write(context.path("noise.bin"), records).unwrap();
    context.manifest(&[("[calibration] ", "[calibration]\ndata = \"noise.bin\" ")]);
    let run =
        context.run(&["gate", "--runtime", "onnxruntime", "--precision", "int8", "--batch", "8", "--json", "r.json"]);
    let cell = report(&context.path("r.json")).cells.remove(0);
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    message("calibrated_on_noise", &cell);
}

#[test]
fn a_truncated_onnx_fails() {
    let (run, cell) = with_graph(|bytes| bytes.truncate(bytes.len() / 2));
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    message("onnx_truncated", &cell);
}

#[test]
fn a_preprocessing_scale_off_by_two_fails() {
    let context = Context::new();
    context.manifest(&[("range = [0.0, 1.0]", "range = [0.0, 2.0]")]);
    let run =
        context.run(&["gate", "--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8", "--json", "r.json"]);
    let cell = report(&context.path("r.json")).cells.remove(0);
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    message("scale_off_by_two", &cell);
}

#[test]
fn a_corrupt_saved_model_fails() {
    // Artifacts made elsewhere are of the sound model.
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    let source = crate::context::project().join("models/cifar10/saved_model");
    let copy = context.path("model");
    std::fs::create_dir_all(copy.join("variables")).unwrap();
    for name in ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"] {
        std::fs::copy(source.join(name), copy.join(name)).unwrap();
    }
    std::fs::write(copy.join("variables/variables.index"), b"not an index").unwrap();
    context.manifest(&[(&source.display().to_string(), "model")]);
    let run = context.run(&["gate", "--trust", "--runtime", "tensorflow", "--batch", "8", "--json", "r.json"]);
    let cell = report(&context.path("r.json")).cells.remove(0);
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    assert_eq!(cell.stage, Stage::Load);
}

/// Gates with a golden that was changed by `change`.
fn with_golden(change: impl FnOnce(String) -> String) -> (Run, CellReport) {
    let context = Context::new();
    let golden = std::fs::read_to_string(crate::context::project().join("snapshots/cifar10.golden")).unwrap();
    context.write("snapshots/cifar10.golden", &change(golden));
    let project = crate::context::project().join("snapshots");
    context.manifest(&[(&format!("\"{}\"", project.display()), "\"snapshots\"")]);
    let run =
        context.run(&["gate", "--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8", "--json", "r.json"]);
    assert!(context.path("r.json").is_file(), "no report: {}", run.shown());
    (run, report(&context.path("r.json")).cells.remove(0))
}

#[rstest]
#[case("golden_empty", |_: String| String::new())]
#[case("golden_truncated", |text: String| text[..text.len() / 2].to_owned())]
#[case("golden_without_one_probe", |text: String| {
    text.lines().filter(|line| !line.starts_with("7 ")).map(|line| format!("{line}\n")).collect()
})]
#[case("golden_with_one_digit_changed", |text: String| text.replacen("0.5", "0.6", 1))]
#[case("golden_of_another_model", |text: String| text.replacen("model-sha256: b", "model-sha256: c", 1))]
fn a_golden_that_is_not_whole_and_own_judges_nothing(#[case] name: &str, #[case] change: fn(String) -> String) {
    let (run, cell) = with_golden(change);
    assert_eq!((run.code, cell.status), (3, Status::Invalid), "{}", run.shown());
    message(name, &cell);
}

/// Holds a cell's reason and hint to their snapshot.
fn message(name: &str, cell: &CellReport) {
    let shown =
        format!("{}\nhint: {}", cell.reason.as_deref().unwrap_or("none"), cell.hint.as_deref().unwrap_or("none"));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"/[^ `']*/(\.tmp\w+/)?([\w.-]+)`", "[…]/$2`");
    settings.add_filter(r"after \d+\.\d s", "after [TIME] s");
    settings.add_filter(r"\d+ MiB", "[N] MiB");
    // An ordinary input at a boundary falls on either side, as the processor rounds; and a busy machine draws fewer of
    // them in their time, so that what is estimated from them differs in its last digit. `tests/scoreboard` holds figures.
    settings.add_filter(r"about [\d.]+ points", "about [N] points");
    settings.add_filter(r"noise of [\d.]+ of a typical", "noise of [N] of a typical");
    settings.add_filter(r"off by [\d.]+ of a typical", "off by [N] of a typical");
    settings.add_filter(r"\d+ of 100 answers", "[N] of 100 answers");
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, shown));
}
