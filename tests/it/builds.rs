//! Engines built by TensorRT for RTX, which needs no GPU: killed in the middle, and built again.

use std::path::PathBuf;

use crate::context::{Context, Run, report};
use trtgate::internals::findings::CellReport;
use trtgate::internals::vocabulary::{Stage, Status};

/// A context with exported artifacts and a store of its own, and the library to build with.
pub fn context() -> (Context, PathBuf) {
    let context = Context::new();
    context.manifest(&[]);
    context.export("onnx-fp32");
    let doctor = context.run(&["doctor", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&doctor.stdout).unwrap();
    let library =
        found["runtimes"].as_array().unwrap().iter().find(|entry| entry["library"] == "tensorrt-rtx").unwrap();
    let file =
        library["found"][0]["file"].as_str().expect("TensorRT for RTX is in the store; `trtgate export` fetches it");
    let cache = context.path("cache").display().to_string();
    (context.with("TRTGATE_CACHE", &cache), PathBuf::from(file))
}

pub fn gate(context: &Context, library: &std::path::Path) -> (Run, CellReport) {
    let library = library.display().to_string();
    let run = context.run(&[
        "gate",
        "--offline",
        "--artifacts",
        "artifacts",
        "--library",
        &library,
        "--runtime",
        "tensorrt-rtx",
        "--precision",
        "fp32",
        "--batch",
        "8",
        "--json",
        "r.json",
    ]);
    assert!(context.path("r.json").is_file(), "no report: {}", run.shown());
    let cell = report(&context.path("r.json")).cells.remove(0);
    (run, cell)
}

/// Every file under the store's engines.
fn engines(context: &Context) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![context.path("cache/engine")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn a_build_that_is_killed_leaves_nothing_and_the_next_run_builds() {
    let (context, library) = context();
    let context = context.with("TRTGATE_TEST_FAULT", "kill@build");
    let (run, cell) = gate(&context, &library);
    assert_eq!((run.code, cell.status, cell.stage), (1, Status::Fail, Stage::Build), "{}", run.shown());
    assert!(cell.reason.unwrap().contains("SIGKILL"));
    assert!(engines(&context).iter().all(|file| !file.ends_with("model.engine")), "{:?}", engines(&context));

    let context = context.with("TRTGATE_TEST_FAULT", "");
    let (run, cell) = gate(&context, &library);
    let artifact = cell.artifact.unwrap_or_else(|| panic!("no engine: {}", run.shown()));
    assert!(artifact.bytes > 10_000_000 && !artifact.cached, "{artifact:?}");
    let (_, again) = gate(&context, &library);
    assert!(again.artifact.unwrap().cached, "the engine was not kept");
}

/// The list of what a family cannot build is reviewed, and red as soon as an entry starts to work.
#[test]
fn what_rtx_1_4_is_said_not_to_build_it_still_does_not() {
    use trtgate::internals::runtime::Installation;
    use trtgate::internals::runtime::tensorrt::BuildRequest;
    use trtgate::internals::vocabulary::Precision;
    use trtgate::internals::worker::{Limits, Worker, WorkerProgram};

    let context = Context::new();
    context.manifest(&[]);
    context.export("onnx-int8");
    let doctor: serde_json::Value = serde_json::from_str(&context.run(&["doctor", "--json"]).stdout).unwrap();
    let found = doctor["runtimes"].as_array().unwrap().iter().flat_map(|entry| entry["found"].as_array().unwrap());
    let installation: Installation = found
        .filter_map(|entry| serde_json::from_value::<Installation>(entry.clone()).ok())
        .find(|installation| installation.family.as_deref() == Some("rtx-1.3"))
        .expect("TensorRT for RTX 1.4 is in the store; `trtgate export` fetches it");
    let text = doctor.to_string();
    assert!(text.contains(&*installation.file.to_string_lossy()));
    let request = BuildRequest {
        installation,
        onnx: context.path("artifacts/cifar10.onnx-int8.onnx"),
        precision: Precision::Int8,
        options: trtgate::internals::manifest::EngineOptions::default(),
        engine: context.path("model.engine"),
        profiles: Vec::new(),
        fixed: false,
        calibration: None,
        timing_cache: None,
        mark_outputs: Vec::new(),
        skip_absent_outputs: false,
        beyond_capabilities: true,
        device: 0,
    };
    let mut worker = Worker::start(&WorkerProgram::of(crate::context::program()), Limits::default()).unwrap();
    let built = worker.build(&request);
    let error = built.expect_err("it builds now: take `int8` of this family off the list in `capabilities.rs`");
    // The compiler's own refusal, not a file that is missing or a request that is wrong.
    assert_eq!(error.kind, trtgate::ErrorKind::Failed, "{error}");
    assert!(!context.path("model.engine").exists());
}

#[test]
fn the_builder_gets_the_options_and_the_engine_keeps_them() {
    let (context, library) = context();
    let library = library.display().to_string();
    let run = context.run(&[
        "build",
        "--offline",
        "--artifacts",
        "artifacts",
        "--library",
        &library,
        "--runtime",
        "tensorrt-rtx",
        "--timing-iterations",
        "4",
        "--candidates",
        "2",
        "--max-batch",
        "64",
        "--out",
        "model.engine",
    ]);
    assert_eq!(run.code, 0, "{}", run.shown());
    let metadata = std::fs::read_to_string(context.path("model.engine.json")).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(
        (metadata["options"]["timing_iterations"].as_u64(), metadata["options"]["max_batch"].as_u64()),
        (Some(4), Some(64))
    );
    // TensorRT for RTX times nothing while it builds: a second engine would be the same.
    assert_eq!((metadata["options"]["candidates"].as_u64(), metadata.get("candidates")), (Some(2), None));
}

/// Height and width that the file leaves open are those of the manifest, for an engine too.
#[test]
fn an_engine_of_open_sizes_is_built_for_those_of_the_manifest() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    let script = crate::context::project().join("tests/fixtures/conversion/make.py");
    let environment = trtgate::internals::convert::environment::ensure(
        trtgate::internals::convert::environment::EXPORT,
        &trtgate::internals::progress::Quiet,
    );
    let python = environment.unwrap().python.unwrap();
    let made = std::process::Command::new(python).arg(script).arg(context.folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let init = context.run(&["init", "--no-probes", "--onnx", "open-sizes.onnx", "--size", "16x16"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    let text = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    context.write("gate.toml", &text.replace("# tensorrt-rtx", "tensorrt-rtx"));
    let build = context.run(&["build", "--runtime", "tensorrt-rtx@1.7", "--precision", "fp32", "--out", "net.engine"]);
    assert_eq!(build.code, 0, "{}", build.shown());
    assert!(context.path("net.engine").is_file(), "{}", build.shown());
}

/// Models of open sizes, of several inputs, and of an input whose values decide shapes: their profiles build in every TensorRT for
/// RTX that is here, once for all points, and a static twin is no part of a cell that does not run.
#[test]
fn profiles_of_open_sizes_are_built() {
    let context = crate::axes::context_with(include_str!("../../ci/gpu_shapes_models.py"));
    for model in ["segment", "encode", "resize"] {
        let report_file = context.path(&format!("{model}.json"));
        let manifest = format!("{model}/gate.toml");
        let runtime = ["--manifest", &manifest, "--runtime", "tensorrt-rtx"];
        let run =
            context.run(&[&["gate", "--offline", "--json", &report_file.display().to_string()], &runtime[..]].concat());
        let cells = report(&report_file).cells;
        assert!(cells.len() >= 7, "{model}: {}", run.shown());
        for cell in &cells {
            // Where there is no GPU of its own, it is built and not run.
            assert!(cell.artifact.is_some() && cell.status != Status::Fail, "{model}: {:?}", cell.reason);
        }
        // One engine a version.
        let mut engines: Vec<(String, String)> = cells
            .iter()
            .map(|cell| (cell.runtime.to_string(), cell.artifact.as_ref().unwrap().sha256.clone()))
            .collect();
        engines.sort();
        engines.dedup();
        let mut versions: Vec<&String> = engines.iter().map(|(version, _)| version).collect();
        versions.dedup();
        assert_eq!((versions.len(), engines.len()), (2, 2), "{model}: {engines:?}");
    }
}
