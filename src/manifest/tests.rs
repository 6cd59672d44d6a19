//! The manifest as users write it: one fault a case, in this project's own.
#![allow(clippy::unwrap_used, clippy::panic)]
use rstest::rstest;

use super::*;

const TEXT: &str = include_str!("../../gate.toml");

fn parse(text: &str) -> Result<Manifest> {
    Manifest::parse(text, Path::new("project/gate.toml"))
}

#[test]
fn the_project_s_own_is_read() {
    let manifest = parse(TEXT).unwrap();
    assert_eq!(
        (manifest.model.name.as_str(), manifest.output.classes, manifest.input.image_size()),
        ("cifar10", 10, (32, 32, 3))
    );
    assert_eq!(manifest.batches, [1, 8, 16, 32]);
    assert_eq!(manifest.calibration.description(), "percentile of 512 procedural samples, seed 2");
    assert_eq!(manifest.probes.file.unwrap(), Path::new("project/models/cifar10/probes.bin"));
    assert_eq!(manifest.engine.timing_iterations, None);
}

/// Engines in stores are named by their options: what was stored before there were candidates is found again.
#[test]
fn one_candidate_is_not_written() {
    let text = serde_json::to_string(&EngineOptions::default()).unwrap();
    assert!(!text.contains("candidates"), "{text}");
    assert_eq!(serde_json::from_str::<EngineOptions>(&text).unwrap().candidates, 1);
    let three = EngineOptions { candidates: 3, ..EngineOptions::default() };
    assert_eq!(serde_json::from_str::<EngineOptions>(&serde_json::to_string(&three).unwrap()).unwrap(), three);
}

#[test]
fn engine_options_are_read() {
    let text = TEXT.replace(
        "max-batch = 32",
        "max-batch = 64\ntiming-iterations = 8\ncandidates = 3\nprofiles = 4\ntiming-cache = \"verified\"",
    );
    let engine = parse(&text).unwrap().engine;
    assert_eq!((engine.max_batch, engine.timing_iterations, engine.profiles), (64, Some(8), 4));
    assert_eq!(engine.candidates, 3);
    assert_eq!(engine.timing_cache, TimingCacheMode::Verified);
}

#[rstest]
#[case::schema("schema = 1", "schema = 0", "schema 0 is not known")]
#[case::newer_schema("schema = 1", "schema = 2\nnew-key = 1", "schema 2 is newer than this program")]
#[case::unknown_key("[model]", "[model]\ncolour = 1", "unknown field `colour`")]
#[case::wrong_type("classes = 10", "classes = \"ten\"", "invalid type: string \"ten\"")]
#[case::model_name("name = \"cifar10\"", "name = \"../x\"", "`../x` is no model name")]
#[case::two_sources("[model]", "[model]\nonnx = \"m.onnx\"", "both `saved-model` and `onnx` are given")]
#[case::no_source("saved-model = ", "# ", "the model has neither `saved-model` nor `onnx` nor `tflite`")]
#[case::digest("b11059322736f121", "xyz", "a sha256 is 64 hexadecimal digits")]
#[case::empty_shape("shape = [32, 32, 3]", "shape = [32, 0, 3]", "no dimension may be 0")]
#[case::huge_shape("shape = [32, 32, 3]", "shape = [4000000000, 4000000000, 4000000000]", "does not fit in memory")]
#[case::flat_image("shape = [32, 32, 3]", "shape = [3072]", "an image has three dimensions")]
#[case::range("range = [0.0, 1.0]", "range = [1.0, 0.0]", "ascending")]
#[case::one_class("classes = 10", "classes = 1", "a classifier has 2 to 65536 classes, not 1")]
#[case::labels("\"ship\", ", "", "9 labels for 10 classes")]
#[case::few_probes("count = 256", "count = 3", "the probe set needs at least 16 samples, not 3")]
#[case::few_calibrations("count = 512", "count = 100", "calibration needs at least 512 samples, not 100")]
#[case::method("method = \"percentile\"", "method = \"best\"", "unknown variant `best`")]
#[case::batches("batches = [1, 8, 16, 32]", "batches = [8, 1]", "batch sizes ascend, each once, none 0")]
#[case::no_batch("batches = [1, 8, 16, 32]", "batches = [0, 1]", "batch sizes ascend, each once, none 0")]
#[case::fetch("\"tensorrt-rtx-1.4\"", "\"tensorrt-9\"", "`tensorrt-9` is nothing that trtgate fetches")]
#[case::library("onnxruntime = [", "openvino = [", "openvino")]
#[case::precision("litert = [\"int8\"]", "litert = [\"int4\"]", "int4")]
#[case::no_precision("litert = [\"int8\"]", "litert = []", "`litert` is asked for no precision")]
#[case::twice("litert = [\"int8\"]", "litert = [\"int8\", \"int8\"]", "`int8` is named twice")]
#[case::profile("min-batch = 1", "min-batch = 17", "the profile needs 1 ≤ min ≤ opt ≤ max, not 17, 16, 32")]
#[case::profile_upside_down("min-batch = 1", "min-batch = 40", "the profile needs 1 ≤ min ≤ opt ≤ max, not 40, 16, 32")]
#[case::outside("max-batch = 32", "max-batch = 16", "batches 1 to 32 do not fit the profile 1 to 16")]
#[case::profiles("min-batch = 1", "min-batch = 1\nprofiles = 0", "an engine has 1 to 16 profiles")]
#[case::level("min-batch = 1", "min-batch = 1\noptimization-level = 6", "builder optimization levels are 0 to 5")]
#[case::iterations("min-batch = 1", "min-batch = 1\ntiming-iterations = 0", "tactics are timed 1 to 100 times")]
#[case::no_candidate("min-batch = 1", "min-batch = 1\ncandidates = 0", "chosen from 1 to 16 candidates")]
#[case::required("golden = true", "runtimes = [\"tensort\"]", "tensort")]
#[case::no_time("[engine]", "[run]\ntime-limit-seconds = 0\n[engine]", "a time limit of 0 lets nothing run")]
fn faults_are_named_with_their_place(#[case] old: &str, #[case] new: &str, #[case] words: &str) {
    assert!(TEXT.contains(old), "`{old}` is not in the manifest");
    let error = parse(&TEXT.replacen(old, new, 1)).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.message.contains("project/gate.toml:"), "no place: {error}");
    assert_eq!(error.kind, crate::error::ErrorKind::Usage);
}

/// `docs/manifest.md` describes every key: the parser lists those that it knows when it meets one that it does not.
#[test]
fn every_key_is_documented() {
    let document = include_str!("../../docs/manifest.md");
    let mut described = 0;
    for section in [
        "model",
        "input",
        "output",
        "probes",
        "calibration",
        "matrix",
        "engine",
        "agreement",
        "require",
        "run",
        "paths",
    ] {
        let mut table: toml::Table = TEXT.parse().unwrap();
        let own = table.entry(section).or_insert_with(|| toml::Table::new().into());
        own.as_table_mut().unwrap().insert("colour".to_owned(), 1.into());
        let message = parse(&table.to_string()).unwrap_err().to_string();
        let (_, known) = message.split_once("expected").unwrap_or_else(|| panic!("{message}"));
        let part = document.split("\n## ").find(|part| part.starts_with(&format!("`[{section}]`"))).unwrap();
        for key in known.split('`').skip(1).step_by(2) {
            assert!(part.contains(&format!("| `{key}` |")), "`[{section}] {key}` is not in docs/manifest.md");
            described += 1;
        }
    }
    assert!(described >= 47, "{described}");
}

#[test]
fn probes_have_one_source_and_a_time() {
    let manifest = parse(&TEXT.replacen("seed = 1", "seed = 2\nseconds = 5", 1)).unwrap();
    // Probes and calibration draw from streams of their own: one seed serves both.
    assert_eq!((manifest.probes.seed, manifest.calibration.seed, manifest.probes.time.as_secs()), (2, 2, 5));
    let error = parse(&TEXT.replacen("seed = 1", "seconds = 0", 1)).unwrap_err();
    assert!(error.message.contains("a time limit of 0"), "{error}");
    // Samples of one's own take the place of a file.
    let manifest = parse(&TEXT.replacen("seed = 1", "data = \"samples\"", 1)).unwrap();
    assert!(manifest.probes.file.is_some() && manifest.probes.data.is_some());
}

const SEVERAL: &str = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"ids\"\nvalues = { integers = [0, 9] }\n\
     [[input]]\nname = \"mask\"\nshape = [8]\nvalues = \"mask\"\n[[input]]\nname = \"rate\"\nshared = true\nvalues = { constant = 16000 }\n\
     [[output]]\nname = \"y\"\ntask = \"values\"\n";

#[test]
fn inputs_and_outputs_are_read_by_name() {
    use interface::ValueSource;
    let manifest = Manifest::parse(SEVERAL, Path::new("gate.toml")).unwrap();
    let interface = manifest.interface.clone().unwrap();
    let inputs: Vec<_> =
        interface.inputs.iter().map(|input| (input.name.as_str(), input.shared, &input.values)).collect();
    assert_eq!(
        inputs,
        [
            ("ids", false, &ValueSource::Integers([0, 9])),
            ("mask", false, &ValueSource::Mask),
            ("rate", true, &ValueSource::Constant(16_000.0))
        ]
    );
    assert_eq!(interface.inputs[1].shape, Some(vec![shapes::SampleSize::Fixed(8)]));
    assert_eq!(interface.outputs[0].name, "y");
    // What is calibrated is left out where nobody asked for it.
    assert!(manifest.matrix.iter().all(|row| !row.precisions.contains(&Precision::Int8)));
    assert!(manifest.of_one_input().unwrap_err().message.contains("has `[[input]]`"));
}

#[rstest]
#[case::twice("name = \"mask\"", "name = \"ids\"", "input `ids` is fed twice")]
#[case::descending("[0, 9]", "[9, 0]", "`integers` is [low, high], ascending")]
#[case::source("\"mask\"\n[[input]]", "\"noise\"\n[[input]]", "unknown variant `noise`")]
#[case::task("task = \"values\"", "task = \"pose\"", "unknown task `pose`")]
#[case::boxes("task = \"values\"", "task = \"boxes\"", "boxes need `format`")]
#[case::format("task = \"values\"", "task = \"boxes\"\nformat = \"corners\"", "unknown variant `corners`")]
#[case::threshold(
    "task = \"values\"",
    "task = \"boxes\"\nformat = \"xyxy\"\nthreshold = 0.5",
    "a threshold needs `scores`"
)]
#[case::nms("task = \"values\"", "task = \"boxes\"\nformat = \"xyxy\"\nnms = 1.5", "`nms` lies between 0 and 1")]
#[case::foreign("task = \"values\"", "task = \"map\"\nblank = 0", "`blank` belongs to the task `tokens`, not to `map`")]
#[case::axis("task = \"values\"", "task = \"map\"\naxis = 0", "axis 0 is the batch")]
#[case::precision(
    "task = \"values\"",
    "task = \"map\"\ntolerance = { fp12 = { iou = 0.9 } }",
    "unknown precision `fp12`"
)]
#[case::limit(
    "task = \"values\"",
    "task = \"map\"\ntolerance = { fp16 = { cosine = 0.9 } }",
    "the task `map` has no limit `cosine`"
)]
#[case::range(
    "task = \"values\"",
    "task = \"map\"\ntolerance = { fp16 = { iou = 1.5 } }",
    "`iou` lies between 0 and 1"
)]
#[case::size("shape = [8]", "shape = [0]", "no dimension of a sample may be 0")]
#[case::calibrated(
    "[[output]]",
    "[matrix.runtimes]\ntensorrt = [\"int8-calibrated\"]\n[[output]]",
    "`int8-calibrated` of a model with `[[input]]` is not made yet"
)]
#[case::key("shared = true", "shard = true", "unknown field `shard`")]
fn wrong_inputs_and_outputs_are_named(#[case] from: &str, #[case] to: &str, #[case] words: &str) {
    assert!(SEVERAL.contains(from));
    let error = Manifest::parse(&SEVERAL.replacen(from, to, 1), Path::new("gate.toml")).unwrap_err();
    assert!(error.message.contains(words), "{error}");
}

#[test]
fn tasks_of_outputs_are_read_with_what_their_comparison_knows() {
    use tasks::{BoxFormat, Companion, OutputTask};
    let outputs = "[[output]]\nname = \"boxes\"\ntask = \"boxes\"\nformat = \"cxcywh\"\nscores = \"scores\"\nlabels = 5\ncount = \"count\"\n\
         threshold = 0.3\nnms = 0.5\n[[output]]\nname = \"scores\"\ntask = \"scores\"\ntolerance = { fp16 = { loss = 0.01, leads = 0.2 }, fp32 = { slope = 1e-3 } }\n\
         [[output]]\nname = \"text\"\ntask = \"tokens\"\naxis = 1\nblank = 0\nend = 2\n";
    let text = SEVERAL.split("[[output]]").next().unwrap().to_owned() + outputs;
    let interface = Manifest::parse(&text, Path::new("gate.toml")).unwrap().interface.unwrap();
    let OutputTask::Boxes(boxes) = &interface.outputs[0].task else { panic!("{:?}", interface.outputs[0]) };
    assert_eq!((boxes.format, boxes.column, boxes.threshold, boxes.nms), (BoxFormat::Cxcywh, 0, 0.3, Some(0.5)));
    assert_eq!(boxes.scores, Some(Companion::Output("scores".to_owned())));
    assert_eq!(boxes.labels, Some(Companion::Column(5)));
    // What is read beside boxes is read once, also where it is gated itself.
    assert_eq!(interface.read_outputs(), ["boxes", "scores", "text", "count"]);
    let named = &interface.outputs[1].named;
    assert_eq!(named[&Precision::Fp16].iter().collect::<Vec<_>>(), [(&"leads", &0.2), (&"loss", &0.01)]);
    assert_eq!(named[&Precision::Fp32].get("slope"), Some(&1e-3));
    let OutputTask::Tokens(tokens) = &interface.outputs[2].task else { panic!("{:?}", interface.outputs[2]) };
    assert_eq!((tokens.axis, tokens.blank, tokens.end), (Some(1), Some(0), Some(2)));
}
