//! INT8 on processors that are not here: workers of this program, emulated, on artifacts and answers made natively.
//!
//! What an emulated program starts runs natively, so it is the worker itself that an emulator starts, and it says what it
//! runs on. QEMU 7.2 emulates AVX2 (`Haswell`, no VNNI) and SSE 4.2 (`Nehalem`), no AVX-512.

mod exact;
mod models;

use std::path::{Path, PathBuf};

use prost::Message as _;
use rstest::rstest;
use trtgate::internals::check::saturation::Saturation;
use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::CellReport;
use trtgate::internals::gate::{self, Options, RunOptions, Workspace};
use trtgate::internals::manifest::Manifest;
use trtgate::internals::onnx::{Model, append_outputs};
use trtgate::internals::plan::Filter;
use trtgate::internals::processor::InstructionSet;
use trtgate::internals::runtime::{self, Installation, OpenRequest, SearchPaths, SessionOptions};
use trtgate::internals::tensor::Tensor;
use trtgate::internals::vocabulary::{ArtifactKind, Library, Precision, Status};
use trtgate::internals::worker::{Limits, Worker, WorkerProgram};

use crate::context::{Context, program, report};
use crate::conversion::Workshop;
use crate::second_model::{Numbers, onnx as glyphs};
use exact::Found;

/// Emulated processors, and the instruction sets that their workers have to report.
const EMULATED: [(&str, &str); 2] = [("Haswell", "avx2"), ("Nehalem", "sse4.2")];

/// Samples of a run.
const SAMPLES: usize = 4;

/// This program on the processor `name` of the emulator. The file that starts it is in `folder`.
fn emulated(folder: &Path, name: &str) -> WorkerProgram {
    let there = std::process::Command::new("qemu-x86_64").arg("--version").output();
    assert!(there.is_ok(), "`qemu-x86_64` is not here: install Debian's `qemu-user`");
    let script = folder.join(format!("trtgate-on-{name}"));
    let text = format!("#!/bin/sh\nexec qemu-x86_64 -cpu {name} '{}' \"$@\"\n", program().display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    WorkerProgram::of(script)
}

fn installation(library: Library) -> Installation {
    let store = Store::open(None).unwrap();
    let site_packages =
        find_in(&store, EXPORT).expect("the export environment is not here; `trtgate export` installs it");
    let paths = SearchPaths { site_packages: site_packages.site_packages, ..SearchPaths::default() };
    runtime::driver(library).unwrap().probe(&paths).found.remove(0)
}

/// What a worker made of the samples, and what it runs on.
struct Answers {
    /// The outputs of the artifact as it is.
    logits: Vec<f32>,
    /// Every tensor that the exact check reads, of the same artifact with these as further outputs.
    tensors: Vec<Tensor>,
    instruction_set: InstructionSet,
}

impl Answers {
    /// The answers of `program`'s worker to `artifact`.
    fn of(program: &WorkerProgram, artifact: &[u8], input: &Tensor) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = Worker::start(program, Limits::default()).unwrap();
        let mut run = |bytes: &[u8]| {
            let path = folder.path().join("graph.onnx");
            std::fs::write(&path, bytes).unwrap();
            let request = OpenRequest {
                installation: installation(Library::Onnxruntime),
                artifact: path,
                kind: ArtifactKind::OnnxInt8Cpu,
                precision: Precision::Int8,
                batch: input.batch(),
                options: SessionOptions { intra_threads: 1, inter_threads: 1, ..SessionOptions::default() },
            };
            worker.open(&request).unwrap_or_else(|error| panic!("{error}: {:?}", worker.last_lines()));
            worker.run(input, input.batch(), false).unwrap().outputs
        };
        let logits = run(artifact).remove(0).into_floats();
        let wanted = exact::wanted(&Model::decode(artifact).unwrap());
        let tensors = run(&append_outputs(artifact, wanted.iter().map(String::as_str)).unwrap());
        let instruction_set = worker.instruction_set().cloned().expect("a worker says what it runs on");
        Self { logits, tensors, instruction_set }
    }

    /// Largest difference of the outputs to another's, over the largest output.
    fn distance(&self, other: &Self) -> f32 {
        let largest = other.logits.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let pairs = self.logits.iter().zip(&other.logits);
        pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max) / largest
    }
}

/// An INT8 graph for processors, with samples.
struct Subject {
    artifact: Vec<u8>,
    input: Tensor,
}

impl Subject {
    fn model(&self) -> Model {
        Model::decode(&*self.artifact).unwrap()
    }
}

fn samples(name: &str, shape: &[usize], least: f32) -> Tensor {
    let mut numbers = Numbers(17);
    let size: usize = shape.iter().product();
    let value = |number: f32| least + (number + 1.0) / 2.0 * (1.0 - least);
    let values = numbers.take(SAMPLES * size, 1.0).into_iter().map(value).collect();
    Tensor::float32(name, [&[SAMPLES], shape].concat(), values).unwrap()
}

/// The shipped model, exported as users do.
fn shipped() -> Subject {
    let context = Context::new();
    context.manifest(&[]);
    context.export("onnx-int8-cpu");
    let artifact = std::fs::read(context.path("artifacts/cifar10.onnx-int8-cpu.onnx")).unwrap();
    Subject { artifact, input: samples("input_1", &[32, 32, 3], 0.0) }
}

/// A model of `models`, calibrated on noise from `least` to 1.
fn small(bytes: &[u8], side: usize, classes: usize, least: f32) -> Subject {
    let workshop = Workshop::new();
    let file = workshop.folder.path().join("small.onnx");
    std::fs::write(&file, bytes).unwrap();
    let output = Model::decode(bytes).unwrap().graph.unwrap().output[0].name.clone();
    let text = format!(
        "schema = 1\n[model]\nname = \"small\"\nonnx = \"{}\"\n[input]\nname = \"picture\"\nshape = [3, {side}, {side}]\n\
         layout = \"nchw\"\n[output]\nname = \"{output}\"\nclasses = {classes}\nkind = \"logits\"\n[calibration]\nseed = 2\n\
         count = 512\nmethod = \"percentile\"\n[matrix]\nbatches = [4]\n[matrix.runtimes]\nonnxruntime = [\"int8\"]\n",
        file.display()
    );
    let manifest = Manifest::parse(&text, Path::new("gate.toml")).unwrap();
    let mut numbers = Numbers(23);
    let noise: Vec<f32> = numbers.take(512 * 3 * side * side, 1.0);
    let value = |index: usize| least + (noise[index] + 1.0) / 2.0 * (1.0 - least);
    let calibration = workshop.calibration_of(&[3, side, side], 512, value);
    let made = workshop.make(&manifest, ArtifactKind::OnnxInt8Cpu, Some(&calibration)).unwrap();
    Subject { artifact: std::fs::read(&made.path).unwrap(), input: samples("picture", &[3, side, side], least) }
}

fn mobile() -> Subject {
    small(&models::mobile(), 16, 5, 0.0)
}

fn attentive() -> Subject {
    small(&models::attentive(), 12, 7, -1.0)
}

/// Every product exact on this processor and on the emulated ones, and the answers equal.
#[rstest]
#[case::shipped(shipped(), 13)]
#[case::mobile(mobile(), 6)]
#[case::attentive(attentive(), 8)]
fn integers_are_exact_on_every_processor(#[case] subject: Subject, #[case] products: usize) {
    let model = subject.model();
    assert!(Saturation::of(&model).is_proven());
    let here = Answers::of(&WorkerProgram::of(program()), &subject.artifact, &subject.input);
    assert_eq!(here.instruction_set, InstructionSet::here());
    assert_eq!(exact::check(&model, &here.tensors), Found { products, wrong: 0 });
    let folder = tempfile::tempdir().unwrap();
    for (name, instruction_set) in EMULATED {
        let there = Answers::of(&emulated(folder.path(), name), &subject.artifact, &subject.input);
        assert_eq!(there.instruction_set.as_str(), instruction_set, "{name}");
        assert_eq!(exact::check(&model, &there.tensors), Found { products, wrong: 0 }, "{name}");
        let distance = there.distance(&here);
        println!("{name} ({instruction_set}) beside {}: {distance:.1e}", here.instruction_set);
        assert!(distance <= 1e-6, "{name}: {distance}");
    }
}

/// LiteRT multiplies 8-bit integers in kernels of its own, which saturate nowhere.
#[test]
fn tflite_answers_are_equal_on_every_processor() {
    let context = Context::new();
    context.manifest(&[]);
    let run = context.run(&["export", "--only", "tflite-int8", "--batch", "1", "--output", "artifacts"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    let request = OpenRequest {
        installation: installation(Library::Litert),
        artifact: context.path("artifacts/cifar10.tflite-int8.batch-1.tflite"),
        kind: ArtifactKind::TfliteInt8,
        precision: Precision::Int8,
        batch: 1,
        options: SessionOptions { intra_threads: 1, ..SessionOptions::default() },
    };
    let answers = |program: &WorkerProgram| {
        let mut worker = Worker::start(program, Limits::default()).unwrap();
        let (signature, _) = worker.open(&request).unwrap();
        let input = samples(&signature.inputs[0].name, &[32, 32, 3], 0.0);
        let values = worker.run(&input, 1, false).unwrap().outputs.remove(0).into_floats();
        (worker.instruction_set().cloned(), values)
    };
    let (here, expected) = answers(&WorkerProgram::of(program()));
    assert_eq!(here, Some(InstructionSet::here()));
    let folder = tempfile::tempdir().unwrap();
    for (name, instruction_set) in EMULATED {
        let (there, values) = answers(&emulated(folder.path(), name));
        assert_eq!(there.unwrap().as_str(), instruction_set);
        assert_eq!(values, expected, "{name}");
    }
}

/// The control: graphs as they were exported before are wrong where there is AVX2 without VNNI, and nowhere else.
#[rstest]
#[case::shipped(shipped())]
#[case::mobile(mobile())]
#[case::attentive(attentive())]
fn the_graphs_of_before_saturate(#[case] subject: Subject) {
    let before = models::as_before(&subject.artifact);
    let model = Model::decode(&*before).unwrap();
    let saturation = Saturation::of(&model);
    assert!(!saturation.is_proven());
    println!("{}", saturation.worst().unwrap());
    let folder = tempfile::tempdir().unwrap();
    for (name, _) in EMULATED {
        let there = Answers::of(&emulated(folder.path(), name), &before, &subject.input);
        let found = exact::check(&model, &there.tensors);
        assert_eq!(found.wrong > 0, there.instruction_set.sums_pairs_in_16_bits(), "{name}: {found:?}");
    }
}

/// A model that comes with Q/DQ pairs of its own keeps its integers, and its weights become unsigned where they must.
#[test]
fn pairs_that_a_model_brings_are_kept_and_made_exact() {
    let subject = mobile();
    let own = models::as_before(&subject.artifact);
    assert!(!Saturation::of(&Model::decode(&*own).unwrap()).is_proven());
    let again = small(&own, 16, 5, 0.0);
    assert!(Saturation::of(&again.model()).is_proven());
    // The integers are those of the graph that `own` was made from.
    let expected = Answers::of(&WorkerProgram::of(program()), &subject.artifact, &subject.input);
    let folder = tempfile::tempdir().unwrap();
    for program in [WorkerProgram::of(program()), emulated(folder.path(), "Haswell")] {
        let distance = Answers::of(&program, &again.artifact, &again.input).distance(&expected);
        assert!(distance <= 1e-6, "{distance}");
    }
}

/// A cell of `workspace` whose workers are emulated.
fn cell_on(manifest: PathBuf, artifacts: PathBuf, program: WorkerProgram) -> (CellReport, Option<InstructionSet>) {
    let options = Options { install: false, artifacts: Some(artifacts), ..Options::new(manifest, program) };
    let workspace = Workspace::open(&options).unwrap();
    let filter = Filter {
        runtimes: vec!["onnxruntime".parse().unwrap()],
        precisions: vec![Precision::Int8],
        batches: vec![8],
        ..Filter::default()
    };
    let mut report = gate::run(&workspace, &RunOptions { filter, ..RunOptions::default() }).unwrap();
    (report.cells.remove(0), report.machine.instruction_set)
}

#[test]
fn a_cell_that_saturates_says_so() {
    // Artifacts made elsewhere are of the project's own model.
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    std::fs::write(context.path("glyphs.onnx"), glyphs()).unwrap();
    for command in [
        &["init", "--onnx", "glyphs.onnx"][..],
        &["bless", "--reason", "first golden"],
        &["export", "--output", "artifacts"],
    ] {
        let run = context.run(command);
        assert_eq!(run.code, 0, "{}", run.shown());
    }
    let folder = tempfile::tempdir().unwrap();
    let manifest = || context.path("gate.toml");
    let (cell, here) = cell_on(manifest(), context.path("artifacts"), emulated(folder.path(), "Haswell"));
    assert_eq!(cell.status, Status::Pass, "{:?}", cell.reason);
    assert_eq!(cell.instruction_set.unwrap().as_str(), "avx2");
    assert_eq!(here, Some(InstructionSet::here()));

    // A graph of one's own: the exported one as it was before.
    let graph = context.path("artifacts/glyphs.onnx-int8-cpu.onnx");
    let old = std::fs::read(&graph).unwrap();
    let new = models::as_before(&old);
    let digest = |bytes: &[u8]| trtgate::internals::digest::digest_bytes(bytes);
    let list = context.path("artifacts/artifacts.json");
    let text = std::fs::read_to_string(&list).unwrap().replace(&digest(&old), &digest(&new));
    let text = text.replace(&format!("\"bytes\": {}", old.len()), &format!("\"bytes\": {}", new.len()));
    std::fs::write(&list, text).unwrap();
    std::fs::write(&graph, new).unwrap();
    let (cell, _) = cell_on(manifest(), context.path("artifacts"), emulated(folder.path(), "Haswell"));
    let reason = cell.reason.unwrap();
    println!("{reason}\n{:?}", cell.hint);
    assert_eq!(cell.status, Status::Fail, "{reason}");
    assert!(
        reason.starts_with("integer products saturate on this processor (avx2, no VNNI): `edge` (Conv)"),
        "{reason}"
    );
    assert!(reason.contains("with exact products the cell passes"), "{reason}");
    assert!(cell.hint.unwrap().contains("reduce_range"));

    // Where nothing saturates, the graph passes, and is told to be unsafe elsewhere.
    let int8 = ["--runtime", "onnxruntime", "--precision", "int8", "--batch", "8", "--json", "r.json"];
    let run = context.run(&[&["gate", "--artifacts", "artifacts"][..], &int8].concat());
    let cell = report(&context.path("r.json")).cells.remove(0);
    assert_eq!(cell.instruction_set, Some(InstructionSet::here()));
    if InstructionSet::here().sums_pairs_in_16_bits() {
        assert_eq!(run.code, 1, "{}", run.shown());
    } else {
        assert_eq!(run.code, 0, "{}", run.shown());
        let words = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("this graph saturates on processors without VNNI: `edge` (Conv)"), "{}", run.stdout);
    }
}
