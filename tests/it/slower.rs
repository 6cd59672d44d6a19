//! A model that answers alike and takes many times as long is held to the baseline of the one before it.

use crate::context::{Context, Run, report, succeeded};
use crate::second_model::{CLASSES, Numbers, classifier, node, stored};
use trtgate::internals::findings::GoldenStanding;
use trtgate::internals::onnx::TensorData;
use trtgate::internals::vocabulary::{Stage, Status};

/// Pixels of a picture.
const PIXELS: usize = 20 * 24;

/// A dense layer, and beside it two layers of `width` units whose part in the answers is beyond FP32's digits: the answers
/// stay, and the work grows with the square of the width.
fn model(width: usize) -> Vec<u8> {
    let mut numbers = Numbers(5);
    let mut dense = numbers.take(CLASSES * PIXELS, 0.02);
    for (place, weight) in dense.iter_mut().enumerate() {
        let (class, pixel) = (place / PIXELS, place % PIXELS);
        *weight += if pixel * CLASSES / PIXELS == class { 0.5 } else { -0.08 };
    }
    let mut weights: Vec<TensorData> = vec![stored("dense", &[CLASSES as i64, PIXELS as i64], &dense)];
    let mut nodes = vec![node("flat", "Flatten", &["glyph"], "pixels", &[("axis", &[1])])];
    let multiply = |name: &str, input: &str, weight: &str, output: &str| {
        node(name, "Gemm", &[input, weight], output, &[("transB", &[1])])
    };
    let size = width as i64;
    weights.extend([
        stored("wide", &[size, PIXELS as i64], &numbers.take(width * PIXELS, 0.05)),
        stored("wider", &[size, size], &numbers.take(width * width, 0.03)),
        stored("narrow", &[CLASSES as i64, size], &numbers.take(CLASSES * width, 1e-12)),
    ]);
    nodes.extend([
        multiply("small", "pixels", "dense", "small.out"),
        multiply("wide", "pixels", "wide", "wide.out"),
        node("wide.relu", "Relu", &["wide.out"], "wide.active", &[]),
        multiply("wider", "wide.active", "wider", "wider.out"),
        node("wider.relu", "Relu", &["wider.out"], "wider.active", &[]),
        multiply("narrow", "wider.active", "narrow", "narrow.out"),
        node("sum", "Add", &["small.out", "narrow.out"], "scores", &[]),
    ]);
    classifier(nodes, weights)
}

#[test]
fn a_model_that_is_many_times_slower_fails_until_it_is_blessed() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    std::fs::write(context.path("glyphs.onnx"), model(128)).unwrap();
    succeeded(context.run(&["init", "--onnx", "glyphs.onnx"]));
    // However busy the machine is, there is a verdict: the factor is beyond all noise.
    context.write(
        "thresholds.toml",
        "schema = 1\nrepetitions = 3\n[fail]\nrelative = 4.0\n[noise]\nunusable = 1.0\ncrowded = 1.0\nbusy = 1.0\n\
         [stability]\ncpu = 50.0\n",
    );
    let cell = ["--runtime", "onnxruntime", "--precision", "fp32", "--batch", "32", "--duration", "0.5"];
    succeeded(context.run(&["bless", "--reason", "the small one"]));
    // A run that contradicts itself is refused as a baseline; on a busy machine another one is asked for.
    let bless = |reason: &str| {
        let run = || context.run(&[&["bless", "--baselines", "--reason", reason][..], &cell].concat());
        let contradicts = |run: &Run| run.code == 3 && run.stderr.contains("cannot become a baseline");
        (0..8).map(|_| run()).find(|run| !contradicts(run)).unwrap_or_else(run)
    };
    let first = succeeded(bless("the small one"));
    assert!(first.stderr.contains("added `[require] baselines = true` to `gate.toml`"), "{}", first.stderr);
    let gate = || {
        let run = context.run(&[&["gate", "--bench", "--json", "report.json"][..], &cell].concat());
        let report = report(&context.path("report.json"));
        (run, report)
    };
    let (run, _) = gate();
    assert_eq!(run.code, 0, "{}", run.shown());
    // Baselines that were there and are gone are no pass.
    std::fs::rename(context.path("baselines"), context.path("elsewhere")).unwrap();
    let (run, _) = gate();
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stdout.contains("a baseline is required"), "{}", run.stdout);
    assert_eq!(context.run(&["merge", "report.json"]).code, 3);
    std::fs::rename(context.path("elsewhere"), context.path("baselines")).unwrap();

    std::fs::write(context.path("glyphs.onnx"), model(2048)).unwrap();
    let (run, report) = gate();
    assert_eq!(run.code, 1, "{}", run.shown());
    // It answers alike: nothing but its speed fails.
    assert_eq!(report.golden.as_ref().unwrap().standing, GoldenStanding::Equal, "{}", run.shown());
    let [slow] = report.cells.as_slice() else { panic!("{}", run.shown()) };
    assert_eq!((slow.status, slow.stage), (Status::Fail, Stage::Measure), "{}", run.shown());
    let reason = slow.reason.as_deref().unwrap();
    let (before, after) = reason.split_once(" × slower than the baseline of model ").expect(reason);
    let factor: f64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(factor > 10.0, "{reason}");
    assert!(after.starts_with(|digit: char| digit.is_ascii_hexdigit()), "{reason}");

    // Once it is accepted, it is what the next one is held to.
    succeeded(context.run(&["bless", "--reason", "the wide one"]));
    succeeded(bless("the wide one"));
    let (run, _) = gate();
    assert_eq!(run.code, 0, "{}", run.shown());
}
