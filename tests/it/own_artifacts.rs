//! Files that a project made itself, gated as they ship.

use trtgate::internals::vocabulary::{Library, Precision, Status};

use crate::axes::{gate, statuses};
use crate::context::Context;

const MANIFEST: &str = r#"schema = 1
[model]
name = "tiny"
onnx = "fp32.onnx"
[[input]]
name = "input_1"
values = { image = [0.0, 1.0] }
[[output]]
name = "logits"
task = "values"
tolerance = { int8 = { sqnr-db = 12.0 } }
[artifacts]
fp16 = "fp16_border.onnx"
int8 = "int8.onnx"
tflite-int8 = "batch_4_int8.tflite"
[probes]
count = 16
[matrix]
batches = [1, 4]
[matrix.runtimes]
onnxruntime = ["fp32", "fp16", "int8"]
litert = ["int8"]
"#;

fn context() -> Context {
    let context = Context::new();
    for file in ["fp32.onnx", "fp16.onnx", "fp16_border.onnx", "int8.onnx", "fp8.onnx", "batch_4_int8.tflite"] {
        let kept = std::env::current_dir().unwrap().join("tests/fixtures/tiny").join(file);
        std::fs::copy(kept, context.path(file)).unwrap();
    }
    context
}

#[test]
fn files_of_ones_own_are_gated_as_they_ship() {
    let context = context();
    let (run, report) = gate(&context, MANIFEST, None);
    assert_eq!(run.code, 0, "{}", run.shown());
    let told = report.notes.join("\n");
    for words in ["fp16 is the project's own `fp16_border.onnx` (sha256 ", "int8 is the project's own `int8.onnx`"] {
        assert!(told.contains(words) && told.contains("trtgate did not make it"), "{told}");
    }
    let half = report.cells.iter().find(|cell| cell.precision == Precision::Fp16).unwrap();
    let digest = std::fs::read(context.path("fp16_border.onnx"))
        .map(|bytes| trtgate::internals::digest::digest_bytes(&bytes))
        .unwrap();
    assert_eq!(half.artifact.as_ref().unwrap().sha256, digest);
    let proof = half.checks.iter().find(|check| check.name == "precision-proof").unwrap();
    assert_eq!((proof.status, proof.gating), (Status::Pass, true));
    // A TFLite file is of one batch.
    let litert: Vec<Status> =
        report.cells.iter().filter(|cell| cell.runtime.library == Library::Litert).map(|cell| cell.status).collect();
    assert_eq!(litert, [Status::Unsupported, Status::Pass], "{}", run.shown());
}

/// Halves at the border are the reference's floats under the clock, too.
#[test]
fn a_file_that_answers_in_halves_is_measured() {
    let context = context();
    let manifest = MANIFEST
        .replace("int8 = \"int8.onnx\"\ntflite-int8 = \"batch_4_int8.tflite\"\n", "")
        .replace("\"fp32\", \"fp16\", \"int8\"", "\"fp32\", \"fp16\"")
        .replace("litert = [\"int8\"]\n", "");
    std::fs::write(context.path("gate.toml"), manifest).unwrap();
    let timed = ["--batch", "4", "--duration", "0.2", "--repetitions", "2", "--json", "report.json"];
    let run = context.run(&[&["gate", "--bench"][..], &timed].concat());
    let measured = crate::context::report(&context.path("report.json"));
    let half = measured.cells.iter().find(|cell| cell.precision == Precision::Fp16).unwrap();
    assert!(half.status == Status::Pass && half.timing.is_some(), "{}", run.shown());
}

#[test]
fn a_file_that_is_not_what_it_stands_for_fails() {
    let context = context();
    let only = |fp16: &str| {
        MANIFEST
            .replace("fp16 = \"fp16_border.onnx\"\nint8 = \"int8.onnx\"\ntflite-int8 = \"batch_4_int8.tflite\"", fp16)
            .replace("\"fp32\", \"fp16\", \"int8\"", "\"fp32\", \"fp16\"")
            .replace("litert = [\"int8\"]\n", "")
    };
    // The FP32 file under the name of FP16: its answers are right, its precision is not.
    let (run, report) = gate(&context, &only("fp16 = \"fp32.onnx\""), None);
    assert_eq!((run.code, statuses(&report)[2..].to_vec()), (1, vec![Status::Fail; 2]), "{}", run.shown());
    assert!(report.cells[2].reason.as_ref().unwrap().contains("fp16 was asked"), "{:?}", report.cells[2].reason);
    // One weight of the file is another.
    let mut model = trtgate::internals::onnx::read(&context.path("fp16.onnx")).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let weights = graph.initializer.iter_mut().find(|tensor| tensor.dims.len() == 2).unwrap();
    let mut bytes = weights.raw_data.clone().unwrap().to_vec();
    bytes[..16].fill(0x44);
    weights.raw_data = Some(bytes.into());
    std::fs::write(context.path("other.onnx"), prost::Message::encode_to_vec(&model)).unwrap();
    let (run, report) = gate(&context, &only("fp16 = \"other.onnx\""), None);
    assert_eq!((run.code, report.cells[2].status), (1, Status::Fail), "{}", run.shown());

    for (fp16, words) in [
        ("fp16 = \"gone.onnx\"", "cannot read `gone.onnx`"),
        (
            "fp16 = { path = \"fp16.onnx\", sha256 = \"00000000000000000000000000000000000000000000000000000000000000aa\" }",
            "it is not the file in the manifest",
        ),
        ("fp16 = \"renamed.onnx\"", "it takes `x`, and the FP32 source `input_1`"),
    ] {
        let mut model = trtgate::internals::onnx::read(&context.path("fp16.onnx")).unwrap();
        let graph = model.graph.as_mut().unwrap();
        graph.input[0].name = "x".to_owned();
        for node in &mut graph.node {
            node.input.iter_mut().filter(|name| *name == "input_1").for_each(|name| *name = "x".to_owned());
        }
        std::fs::write(context.path("renamed.onnx"), prost::Message::encode_to_vec(&model)).unwrap();
        std::fs::write(context.path("gate.toml"), only(fp16)).unwrap();
        let run = context.run(&["gate"]);
        assert_eq!(run.code, 2, "{words}: {}", run.shown());
        assert!(
            run.stderr.contains("`fp16` under `[artifacts]`") && run.stderr.contains(words),
            "{words}: {}",
            run.shown()
        );
    }
}

#[test]
fn a_classifiers_own_files_are_gated_too() {
    let context = context();
    let border = "[input]\nname = \"input_1\"\nshape = [8, 8, 3]\n[output]\nname = \"logits\"\nclasses = 5\n";
    let (before, rest) = MANIFEST.split_once("[[input]]").unwrap();
    let (_, rest) = rest.split_once("[artifacts]").unwrap();
    let manifest = format!("{before}{border}[artifacts]{rest}").replace("tflite-int8 = \"batch_4_int8.tflite\"\n", "");
    let manifest = manifest.replace("litert = [\"int8\"]\n", "").replace("count = 16", "count = 64\nseconds = 3");
    let (run, report) = gate(&context, &manifest, None);
    let half = report.cells.iter().find(|cell| cell.precision == Precision::Fp16).unwrap();
    assert_eq!(half.status, Status::Pass, "{}", run.shown());
    let int8 = report.cells.iter().find(|cell| cell.precision == Precision::Int8).unwrap();
    let scales = int8.checks.iter().find(|check| check.name == "scales").unwrap();
    assert_eq!((scales.status, scales.gating), (Status::Unavailable, false));
    assert!(scales.detail.ends_with("it is the project's own file, calibrated elsewhere"), "{}", scales.detail);
    assert!(report.notes.join("\n").contains("int8 is the project's own `int8.onnx`"), "{:?}", report.notes);
}

/// ModelOpt's form: scales of 1/448 of the largest magnitude, weights stored as 8-bit floats. No converter here makes one.
#[test]
fn eight_bit_floats_are_gated_where_the_project_brings_them() {
    let context = context();
    let of = |file: &str| {
        MANIFEST
            .replace("fp16 = \"fp16_border.onnx\"\nint8 = \"int8.onnx\"\ntflite-int8 = \"batch_4_int8.tflite\"", file)
            .replace("\"fp32\", \"fp16\", \"int8\"", "\"fp32\", \"fp8\"")
            .replace("litert = [\"int8\"]\n", "")
            .replace("int8 = { sqnr-db", "fp8 = { sqnr-db")
    };
    let cell = |report: &trtgate::internals::findings::Report| {
        report.cells.iter().find(|cell| (cell.precision, cell.batch) == (Precision::Fp8, 4)).unwrap().clone()
    };
    let (run, report) = gate(&context, &of("fp8 = \"fp8.onnx\""), None);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(report.notes.join("\n").contains("fp8 is the project's own `fp8.onnx`"), "{:?}", report.notes);
    let sound = cell(&report);
    let proof = sound.checks.iter().find(|check| check.name == "precision-proof").unwrap();
    assert!(proof.status == Status::Pass && proof.detail.contains("3 of 3 compute layers are fp8"), "{proof:?}");
    assert!(sound.emulated.unwrap().contains("8-bit floats"));

    // Integers under its name: the answers are right, the precision is not.
    let (run, report) = gate(&context, &of("fp8 = \"int8.onnx\""), None);
    assert_eq!((run.code, cell(&report).status), (1, Status::Fail), "{}", run.shown());
    assert!(cell(&report).reason.unwrap().contains("fp8 was asked"), "{}", run.shown());

    // One scale is twice what it should be, where the values are taken back only.
    let mut model = trtgate::internals::onnx::read(&context.path("fp8.onnx")).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let name = graph.node.iter().find(|node| node.op_type == "Conv").unwrap().input[0].clone();
    let maker = graph.node.iter_mut().find(|node| node.output.contains(&name)).unwrap();
    let mut doubled = graph.initializer.iter().find(|tensor| tensor.name == maker.input[1]).unwrap().clone();
    doubled.name = "doubled".to_owned();
    maker.input[1] = "doubled".to_owned();
    let bytes = doubled.raw_data.take().unwrap();
    let scale = 2.0 * f32::from_le_bytes(bytes[..4].try_into().unwrap());
    doubled.raw_data = Some(scale.to_le_bytes().to_vec().into());
    graph.initializer.push(doubled);
    std::fs::write(context.path("doubled.onnx"), prost::Message::encode_to_vec(&model)).unwrap();
    let (run, report) = gate(&context, &of("fp8 = \"doubled.onnx\""), None);
    assert_eq!((run.code, cell(&report).status), (1, Status::Fail), "{}", run.shown());

    std::fs::write(context.path("gate.toml"), of("")).unwrap();
    let run = context.run(&["gate"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(
        run.shown().contains("nothing makes `onnx-fp8` of it") && run.shown().contains("`fp8` under `[artifacts]`")
    );
}
