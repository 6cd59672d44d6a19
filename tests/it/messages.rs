//! Messages that lead somewhere: the model that contradicts itself is said to, what is not a number is named with the tensor
//! that it comes from, what cannot run says what is missing, and a printed command runs the cell again.

use std::process::Command;

use prost::Message as _;
use rstest::rstest;

use crate::context::{Context, Run, program, report};
use crate::second_model::{border, node, stored};
use trtgate::internals::findings::Report;
use trtgate::internals::onnx::{Graph, Model, Node, OperatorSet, TensorData};
use trtgate::internals::vocabulary::{Precision, Status, Verdict};

/// Pixels of a sample.
const PIXELS: usize = 64;
/// Classes.
const CLASSES: usize = 4;

/// A classifier of pictures `[N, 1, 8, 8]` that says which quarter is the brightest, with `nodes` and `stored` behind its
/// scores, `raw`; they make `scores`.
fn classifier(nodes: Vec<Node>, further: Vec<TensorData>, change: impl FnOnce(&mut Vec<f32>)) -> Vec<u8> {
    let quarter = |pixel: usize| 2 * (pixel / 8 / 4) + pixel % 8 / 4;
    let weight = |class: usize, pixel: usize| {
        let noise = ((class * 64 + pixel) * 37 % 101) as f32 / 101.0 - 0.5;
        (if quarter(pixel) == class { 0.4 } else { -0.1 }) + 0.1 * noise
    };
    let mut weights: Vec<f32> =
        (0..CLASSES).flat_map(|class| (0..PIXELS).map(move |pixel| weight(class, pixel))).collect();
    change(&mut weights);
    let mut all = vec![
        node("flat", "Flatten", &["picture"], "pixels", &[("axis", &[1])]),
        node("dense", "Gemm", &["pixels", "dense.weight", "dense.bias"], "raw", &[("transB", &[1])]),
    ];
    all.extend(nodes);
    let mut initializer = vec![
        stored("dense.weight", &[CLASSES as i64, PIXELS as i64], &weights),
        stored("dense.bias", &[CLASSES as i64], &[0.0; CLASSES]),
    ];
    initializer.extend(further);
    let model = Model {
        ir_version: 8,
        producer_name: "tests".to_owned(),
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph: Some(Graph {
            name: "quarters".to_owned(),
            node: all,
            initializer,
            input: vec![border("picture", &[1, 8, 8])],
            output: vec![border("scores", &[CLASSES as i64])],
            ..Graph::default()
        }),
        ..Model::default()
    };
    model.encode_to_vec()
}

fn same() -> Node {
    node("same", "Identity", &["raw"], "scores", &[])
}

/// One weight is NaN.
fn nan() -> Vec<u8> {
    classifier(vec![same()], Vec::new(), |weights| weights[70] = f32::NAN)
}

/// Noise on every score.
fn random() -> Vec<u8> {
    let nodes = vec![
        node("noise", "RandomNormalLike", &["raw"], "drawn", &[]),
        node("add", "Add", &["raw", "drawn"], "scores", &[]),
    ];
    classifier(nodes, Vec::new(), |_| {})
}

/// Scores that lose the batch's mean.
fn batch_dependent() -> Vec<u8> {
    let nodes = vec![
        // 7 is the kind of several integers; one value would be taken for an integer.
        Node { attribute: mean_over_the_batch(), ..node("mean", "ReduceMean", &["raw"], "mean.out", &[]) },
        node("sub", "Sub", &["raw", "mean.out"], "scores", &[]),
    ];
    classifier(nodes, Vec::new(), |_| {})
}

fn mean_over_the_batch() -> Vec<trtgate::internals::onnx::Attribute> {
    use trtgate::internals::onnx::Attribute;
    vec![
        Attribute { name: "axes".to_owned(), ints: vec![0], kind: 7, ..Attribute::default() },
        Attribute { name: "keepdims".to_owned(), i: 1, kind: 2, ..Attribute::default() },
    ]
}

/// One batch size, eight, in a graph whose input leaves it open.
fn of_eight() -> Vec<u8> {
    let sizes = TensorData {
        name: "sizes".to_owned(),
        // 7 is the type of 64-bit integers.
        data_type: 7,
        dims: vec![2],
        raw_data: Some([8_i64, CLASSES as i64].iter().flat_map(|size| size.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..TensorData::default()
    };
    classifier(vec![node("rows", "Reshape", &["raw", "sizes"], "scores", &[])], vec![sizes], |_| {})
}

/// Scores that leave the range of half precision on the way.
fn overflowing() -> Vec<u8> {
    let nodes = vec![
        node("up", "Mul", &["raw", "much"], "large", &[]),
        node("down", "Mul", &["large", "little"], "scores", &[]),
    ];
    let further = vec![stored("much", &[1], &[60_000.0]), stored("little", &[1], &[1.0 / 60_000.0])];
    classifier(nodes, further, |_| {})
}

/// A context with `model` and the manifest that `init` writes for it.
fn with_model(model: &[u8]) -> Context {
    let context = Context::new();
    std::fs::write(context.path("m.onnx"), model).unwrap();
    let init = context.run(&["init", "--no-probes", "--onnx", "m.onnx"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    context
}

fn gated(context: &Context, arguments: &[&str]) -> (Run, Report) {
    let run = context.run(&[&["gate", "--json", "r.json", "--junit", "r.xml"][..], arguments].concat());
    assert!(context.path("r.json").is_file() && context.path("r.xml").is_file(), "no report: {}", run.shown());
    (run, report(&context.path("r.json")))
}

#[rstest]
#[case::nan(nan(), &["the reference's output is not finite", "`raw`", "`dense.weight`"])]
#[case::random(random(), &["the reference's answers are random"])]
#[case::batch(batch_dependent(), &["the reference's answers depend on the batch"])]
#[case::of_one_batch(of_eight(), &["the reference answers batches of 8, none of 1", "Reshape"])]
fn a_reference_at_fault_is_said_to_be(#[case] model: Vec<u8>, #[case] words: &[&str]) {
    let context = with_model(&model);
    let (run, report) = gated(&context, &[]);
    assert_eq!((run.code, report.verdict), (1, Verdict::Fail), "{}", run.shown());
    for cell in report.cells.iter().filter(|cell| !matches!(cell.status, Status::Unavailable | Status::Unsupported)) {
        let of_reference = cell.precision == Precision::Fp32;
        assert_eq!(cell.status, if of_reference { Status::Fail } else { Status::Invalid }, "{}", run.shown());
        let reason = cell.reason.as_deref().unwrap_or_default();
        for word in if of_reference { words } else { &words[..1] } {
            assert!(reason.contains(word), "{}", run.shown());
        }
    }
    assert!(!run.stdout.contains("probes belong"), "{}", run.shown());
    assert!(run.stdout.lines().count() <= 40, "{}", run.shown());
    // Nothing of it becomes a golden.
    let bless = context.run(&["bless", "--reason", "first"]);
    assert_ne!(bless.code, 0, "{}", bless.shown());
    assert!(bless.stderr.contains(words[0]), "{}", bless.shown());
    assert!(!context.path("snapshots").join("m.golden").exists());
}

#[test]
fn a_model_of_one_batch_runs_with_the_keys_that_the_hint_names() {
    let context = with_model(&of_eight());
    let (run, _) = gated(&context, &[]);
    let hint = "set `fixed-batch = 8` under `[input]`, and `batches = [8]` under `[matrix]`";
    assert!(run.shown().split_whitespace().collect::<Vec<_>>().join(" ").contains(hint), "{}", run.shown());
    let text = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    let text = text.replace("[input]\n", "[input]\nfixed-batch = 8\n");
    let batches = text.lines().find(|line| line.starts_with("batches")).unwrap().to_owned();
    std::fs::write(context.path("gate.toml"), text.replace(&batches, "batches = [8]")).unwrap();
    let (run, report) = gated(&context, &[]);
    assert_eq!((run.code, report.verdict), (0, Verdict::Pass), "{}", run.shown());
}

#[test]
fn a_replay_replays() {
    let context = with_model(&overflowing());
    let folder = context.path("with blank");
    std::fs::create_dir(&folder).unwrap();
    let text = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    std::fs::write(folder.join("other.toml"), text.replace("m.onnx", "../m.onnx")).unwrap();
    let (run, whole) = gated(&context, &["--manifest", "with blank/other.toml", "--intra-threads", "1"]);
    let failed: Vec<_> = whole.cells.iter().filter(|cell| cell.status == Status::Fail).collect();
    assert!(!failed.is_empty(), "{}", run.shown());
    for cell in failed.iter().take(2) {
        assert!(run.stdout.contains(&failed[0].replay), "{}", run.shown());
        let bin = program().parent().unwrap().display().to_string();
        let again = Command::new("sh")
            .args(["-c", &format!("{} --json again.json", cell.replay)])
            .env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap()))
            .env_remove("TRTGATE_REQUIRE")
            .current_dir(context.folder.path())
            .output()
            .unwrap();
        assert_eq!(again.status.code(), Some(1), "{}: {}", cell.replay, String::from_utf8_lossy(&again.stderr));
        let again = report(&context.path("again.json"));
        assert_eq!(again.cells.len(), 1);
        assert_eq!((again.cells[0].id(), again.cells[0].status), (cell.id(), cell.status));
        assert_eq!(again.cells[0].reason, cell.reason);
    }
}

#[test]
fn without_python_it_is_named() {
    let context = with_model(&overflowing()).with("PATH", "/nowhere").with("TRTGATE_PYTHON", "");
    let cache = context.path("cache").display().to_string();
    let context = context.with("TRTGATE_CACHE", &cache);
    let (run, report) = gated(&context, &[]);
    assert_eq!(run.code, 3, "{}", run.shown());
    let named = "no Python 3.11, 3.12 or 3.13 on `PATH`";
    assert!(
        run.stderr.contains(named) && report.reasons.iter().any(|reason| reason.contains(named)),
        "{}",
        run.shown()
    );
    assert!(run.stderr.contains("install one"), "{}", run.shown());
    let doctor = context.run(&["doctor"]);
    assert!(doctor.stdout.contains(named), "{}", doctor.shown());
}
