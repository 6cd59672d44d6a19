//! `trtgate init` on models of many signatures: what it writes, what it says aloud, what it asks for, what it refuses.

use std::time::{Duration, Instant};

use prost::Message as _;
use rstest::rstest;
use trtgate::internals::digest::digest_bytes;
use trtgate::internals::onnx::{
    Attribute, Dimension, Graph, Model, Node, OperatorSet, Shape, TensorData, TensorType, Type, ValueInfo,
};

use crate::context::{Context, Run};
use crate::second_model::Numbers;

/// Element types as ONNX numbers them.
const FLOAT: i32 = 1;
const INT32: i32 = 6;
const STRING: i32 = 8;

/// A border tensor; -1 is an open size.
fn border(name: &str, elem_type: i32, sizes: &[i64]) -> ValueInfo {
    let size = |&size: &i64| match size {
        -1 => Dimension { dim_value: None, dim_param: Some("open".to_owned()) },
        size => Dimension { dim_value: Some(size), dim_param: None },
    };
    let shape = Some(Shape { dim: sizes.iter().map(size).collect() });
    ValueInfo {
        name: name.to_owned(),
        kind: Some(Type { tensor_type: Some(TensorType { elem_type, shape }), ..Type::default() }),
    }
}

/// `Operator input … -> output`.
fn node(text: &str) -> Node {
    let (left, output) = text.split_once(" -> ").unwrap();
    let mut words = left.split(' ').map(str::to_owned);
    let op_type = words.next().unwrap();
    let axis = Attribute { name: "axis".to_owned(), i: 1, kind: 2, ..Attribute::default() };
    let attribute = if op_type == "Softmax" { vec![axis] } else { Vec::new() };
    let (name, output) = (output.to_owned(), vec![output.to_owned()]);
    Node { op_type, name, input: words.collect(), output, attribute, ..Node::default() }
}

fn stored(name: &str, dims: &[i64], value: impl Fn(usize) -> f32) -> TensorData {
    let count = dims.iter().product::<i64>() as usize;
    TensorData {
        name: name.to_owned(),
        data_type: FLOAT,
        dims: dims.to_vec(),
        float_data: (0..count).map(value).collect(),
        ..TensorData::default()
    }
}

fn model(nodes: &[&str], inputs: &[ValueInfo], outputs: &[ValueInfo]) -> Model {
    Model {
        ir_version: 8,
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph: Some(Graph {
            name: "net".to_owned(),
            node: nodes.iter().copied().map(node).collect(),
            initializer: vec![
                stored("w", &[8, 3], |index| (index % 5) as f32 - 2.0),
                stored("small", &[], |_| 1.0 / 255.0),
                stored("three", &[], |_| 3.0),
            ],
            input: inputs.to_vec(),
            output: outputs.to_vec(),
            ..Graph::default()
        }),
        ..Model::default()
    }
}

/// A dense layer of eight features, and `tail` behind it, whose last tensor is `y` [N, 3].
fn dense(tail: &[&str]) -> Model {
    let nodes = [&["Gemm x w -> z"], tail].concat();
    model(&nodes, &[border("x", FLOAT, &[-1, 8])], &[border("y", FLOAT, &[-1, 3])])
}

fn init(context: &Context, model: &Model, more: &[&str]) -> (Run, Option<String>) {
    std::fs::write(context.path("net.onnx"), model.encode_to_vec()).unwrap();
    let run = context.run(&[&["init", "--no-probes", "--onnx", "net.onnx"][..], more].concat());
    (run, std::fs::read_to_string(context.path("gate.toml")).ok())
}

#[test]
fn a_folder_that_is_not_there_costs_nothing() {
    let context = Context::new();
    let cache = context.path("cache");
    let context = context.with("TRTGATE_CACHE", &cache.display().to_string());
    let start = Instant::now();
    let run = context.run(&["init", "--saved-model", "nowhere"]);
    // It takes milliseconds; a crowded machine may take its time.
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("`nowhere` is not a SavedModel"), "{}", run.shown());
    assert!(!cache.exists(), "something was installed");
    let bare = context.run(&["init"]);
    assert_eq!(bare.code, 2, "{}", bare.shown());
    assert!(bare.stderr.contains("--saved-model <DIR>") && bare.stderr.contains("--onnx <FILE>"), "{}", bare.shown());
}

#[rstest]
#[case::gemm(&["Identity z -> y"], "logits", "ends in `Gemm`")]
#[case::softmax(&["Softmax z -> y"], "probabilities", "is a softmax")]
#[case::identity(&["Softmax z -> p", "Identity p -> y"], "probabilities", "is a softmax")]
#[case::log(&["Softmax z -> p", "Log p -> y"], "logits", "ends in `Log`, and does not sum to 1")]
#[case::by_hand(&["Exp z -> e", "ReduceSum e -> s", "Div e s -> y"], "logits", "does not sum to 1")]
#[case::halved(&["Softmax z -> p", "Sqrt p -> q", "Mul q q -> y"], "probabilities", "ends in `Mul`, and sums to 1")]
#[case::sigmoid(&["Sigmoid z -> y"], "logits", "ends in `Sigmoid`, and does not sum to 1")]
fn the_kind_is_told_by_the_chosen_output(#[case] tail: &[&str], #[case] kind: &str, #[case] why: &str) {
    let context = Context::new();
    let (run, manifest) = init(&context, &dense(tail), &[]);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(manifest.unwrap().contains(&format!("\nkind = \"{kind}\"")), "{}", run.shown());
    assert!(run.stderr.contains(why), "{}", run.shown());
}

#[test]
fn what_is_written_says_what_was_guessed() {
    let context = Context::new();
    let model = dense(&["Softmax z -> p", "Identity p -> y"]);
    let (run, manifest) = init(&context, &model, &[]);
    let digest = digest_bytes(&model.encode_to_vec());
    // TensorRT may be here or not.
    let (run, manifest) = (run.shown(), manifest.unwrap());
    let without = |text: &str| text.replace(", `tensorrt`", "").replace(", \"tensorrt\"", "");
    insta::assert_snapshot!(format!(
        "{}\n--- gate.toml\n{}",
        without(&run),
        without(&manifest).replace(&digest, "[SHA256]")
    ));
}

/// `init` as users run it, with its file of probes, on `model`; what it showed, and the manifest.
fn init_with_probes(context: &Context, model: &Model, more: &[&str]) -> (Run, String) {
    std::fs::write(context.path("net.onnx"), model.encode_to_vec()).unwrap();
    let run = context.run(&[&["init", "--onnx", "net.onnx"][..], more].concat());
    assert_eq!(run.code, 0, "{}", run.shown());
    let manifest = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    (run, manifest)
}

/// [`dense`] with other weights.
fn retrained() -> Model {
    let mut model = dense(&["Identity z -> y"]);
    let graph = model.graph.as_mut().unwrap();
    graph.initializer[0].float_data.iter_mut().enumerate().for_each(|(at, weight)| *weight += (at % 3) as f32 * 0.4);
    model
}

#[test]
fn probes_are_made_once_and_kept_for_the_next_model() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    let (first, manifest) = init_with_probes(&context, &dense(&["Identity z -> y"]), &[]);
    let file = context.path("net.probes.npz");
    let probes = std::fs::read(&file).unwrap();
    assert!(first.stderr.contains("wrote 256 probes to `net.probes.npz`"), "{}", first.shown());
    let lines = "\nfile = \"net.probes.npz\"\n# Keep the file with the manifest: a changed model is compared on the same samples.\nseed = 1\ncount = 256\n";
    assert!(manifest.contains(lines), "{manifest}");
    let (second, manifest) = init_with_probes(&context, &retrained(), &["--force"]);
    assert!(second.stderr.contains("kept the 256 probes in `net.probes.npz`"), "{}", second.shown());
    assert!(manifest.contains(lines), "{manifest}");
    assert_eq!(std::fs::read(&file).unwrap(), probes);
    // Probes of another input are left alone, and named.
    let other = model(&["Gemm x w -> y"], &[border("x", FLOAT, &[-1, 4])], &[border("y", FLOAT, &[-1, 2])]);
    let mut other = other;
    other.graph.as_mut().unwrap().initializer[0] = stored("w", &[4, 2], |index| (index % 3) as f32 - 1.0);
    let (third, manifest) = init_with_probes(&context, &other, &["--force"]);
    assert!(third.stderr.contains("`net.probes.npz` does not fit and is left as it is"), "{}", third.shown());
    assert!(manifest.contains("\nfile = \"net.probes-2.npz\""), "{manifest}");
    assert_eq!(std::fs::read(&file).unwrap(), probes);
    // Without any, the manifest says how to keep some.
    let (none, manifest) = init_with_probes(&context, &other, &["--force", "--no-probes"]);
    assert!(!none.stderr.contains("probes") && manifest.contains("\n# file = "), "{}\n{manifest}", none.shown());
}

#[test]
fn a_guess_that_is_corrected_leaves_the_file_of_probes_unused() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    let (_, manifest) = init_with_probes(&context, &retrained(), &[]);
    context.write("gate.toml", &manifest.replace("range = [0.0, 1.0]", "range = [-1.0, 1.0]"));
    let gate = context.run(&["gate", "--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8"]);
    let said = gate.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("(`range` [0.0, 1.0] → [-1.0, 1.0]) and is not used"), "{}", gate.shown());
    let made = context.run(&["data", "probes"]);
    assert_eq!(made.code, 0, "{}", made.shown());
    let gate = context.run(&["gate", "--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8"]);
    assert!(!gate.stdout.contains("is not used"), "{}", gate.shown());
    // New ones are made by name: a file that is named is not passed over in silence.
    let bless = context.run(&["bless", "--fresh-probes", "--reason", "a test"]);
    assert_eq!(bless.code, 2, "{}", bless.shown());
    assert!(bless.stderr.contains("trtgate data probes"), "{}", bless.shown());
}

#[test]
fn a_model_that_cannot_be_asked_gets_its_manifest_without_probes() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    let mut broken = dense(&["Identity z -> y"]);
    broken.graph.as_mut().unwrap().initializer[0].float_data.fill(f32::NAN);
    let (run, manifest) = init_with_probes(&context, &broken, &[]);
    assert!(run.stderr.contains("no file of probes was made: the reference's output is not finite"), "{}", run.shown());
    assert!(manifest.contains("\n# file = ") && !context.path("net.probes.npz").exists(), "{manifest}");
}

/// A classifier of many classes behind products that take their time: 24 matrices of 2048 × 2048, whose sum is added to every class.
fn slow(classes: i64) -> Model {
    let mut nodes = vec!["ConstantOfShape size -> many".to_owned(), "MatMul x wide -> h0".to_owned()];
    nodes.extend((0..24).map(|number| format!("MatMul h{number} many -> h{}", number + 1)));
    nodes.extend(["ReduceMean h24 -> mean", "MatMul x w -> z", "Add z mean -> y"].map(str::to_owned));
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let mut model = model(&nodes, &[border("x", FLOAT, &[-1, 16])], &[border("y", FLOAT, &[-1, classes])]);
    let graph = model.graph.as_mut().unwrap();
    let value = TensorData { dims: vec![1], ..stored("value", &[1], |_| 1.0 / 2048.0) };
    graph.node[0].attribute =
        vec![Attribute { name: "value".to_owned(), t: Some(Box::new(value)), kind: 4, ..Attribute::default() }];
    let mean = graph.node.iter_mut().find(|node| node.op_type == "ReduceMean").unwrap();
    mean.attribute = vec![Attribute { name: "axes".to_owned(), ints: vec![1], kind: 7, ..Attribute::default() }];
    let weights = Numbers(9).take(16 * classes as usize, 3.0);
    graph.initializer = vec![
        TensorData {
            name: "size".to_owned(),
            data_type: 7,
            dims: vec![2],
            int64_data: vec![2048, 2048],
            ..TensorData::default()
        },
        stored("wide", &[16, 2048], |index| (index % 7) as f32 / 7.0),
        stored("w", &[16, classes], |index| weights[index]),
    ];
    model
}

#[test]
fn a_slow_model_of_many_classes_has_its_probes_in_time() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    let start = Instant::now();
    let (run, manifest) = init_with_probes(&context, &slow(21_841), &["--seconds", "4"]);
    // 4 s are for the search; a crowded machine may take its time to load the model.
    assert!(start.elapsed() < Duration::from_secs(90), "{:?}", start.elapsed());
    assert!(run.stderr.contains("of 21841 classes"), "{}", run.shown());
    assert!(run.stderr.contains("the search ended at its time of"), "{}", run.shown());
    assert!(manifest.contains("\ncount = 256\nseconds = 4\n"), "{manifest}");
}

/// Open sizes are found by running, which is said; `--size` gives others.
#[test]
fn open_sizes_are_found_by_running() {
    let context = Context::new();
    let nodes = ["GlobalAveragePool x -> p", "Flatten p -> y"];
    let open = model(&nodes, &[border("x", FLOAT, &[-1, 3, -1, -1])], &[border("y", FLOAT, &[-1, 3])]);
    let (run, manifest) = init(&context, &open, &[]);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(run.stderr.contains("guessed: `shape = [3, 224, 224]`, found by running"), "{}", run.shown());
    let manifest = manifest.unwrap();
    assert!(
        manifest.contains("# GUESSED: `shape = [3, 224, 224]`") && manifest.contains("\nshape = [3, 224, 224]"),
        "{manifest}"
    );
    std::fs::remove_file(context.path("gate.toml")).unwrap();
    let (run, manifest) = init(&context, &open, &["--size", "20x24"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(manifest.unwrap().contains("shape = [3, 20, 24]"));
}

#[test]
fn a_model_that_scales_bytes_takes_bytes() {
    let context = Context::new();
    let bytes =
        model(&["Mul x small -> s", "Gemm s w -> y"], &[border("x", FLOAT, &[-1, 8])], &[border("y", FLOAT, &[-1, 3])]);
    let (run, manifest) = init(&context, &bytes, &[]);
    assert!(manifest.unwrap().contains("\nrange = [0.0, 255.0]"), "{}", run.shown());
    assert!(!run.stderr.contains("guessed: `range"), "{}", run.shown());
}

#[test]
fn of_several_heads_the_one_that_is_gated_is_named() {
    let context = Context::new();
    let heads = |nodes: &[&str], outputs: &[ValueInfo]| model(nodes, &[border("x", FLOAT, &[-1, 8])], outputs);
    let float = |name: &str, classes: i64| border(name, FLOAT, &[-1, classes]);
    let mut shown = Vec::new();
    let mut show = |what: &str, model: &Model, more: &[&str]| {
        let (run, _) = init(&context, model, &[&["--force"], more].concat());
        // TensorRT may be here or not.
        shown.push(format!("# {what}\n{}", run.shown().replace(", `tensorrt`", "")));
    };
    let both = heads(&["Gemm x w -> z", "Softmax z -> p"], &[float("z", 3), float("p", 3)]);
    show("logits and their softmax", &both, &[]);
    show("the softmax, asked for", &both, &["--output", "p"]);
    show("one that is none", &both, &["--output", "q"]);
    let two = heads(&["Gemm x w -> z", "Mul z three -> t"], &[float("z", 3), float("t", 3)]);
    show("two heads", &two, &[]);
    let features = heads(&["Gemm x w -> z", "Mul x three -> f"], &[border("f", FLOAT, &[-1, 4, 2]), float("z", 3)]);
    show("a classifier and features", &features, &[]);
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn what_cannot_be_gated_is_refused_in_words() {
    let context = Context::new();
    let mut shown = Vec::new();
    let mut show = |what: &str, model: &Model| {
        let (run, manifest) = init(&context, model, &[]);
        assert_eq!((run.code, manifest), (2, None), "{what}: {}", run.shown());
        shown.push(format!("# {what}\n{}", run.stderr));
    };
    let y = [border("y", FLOAT, &[-1, 3])];
    let of = |input: &[ValueInfo], outputs: &[ValueInfo]| model(&["Gemm x w -> y"], input, outputs);
    show("texts", &of(&[border("x", STRING, &[-1, 8])], &y));
    let mut trees = of(&[border("x", FLOAT, &[-1, 8])], &y);
    trees.opset_import = vec![OperatorSet { domain: "ai.onnx.ml".to_owned(), version: 1 }];
    show("trees", &trees);
    insta::assert_snapshot!(shown.join("\n"));
}

/// What `[input]` and `[output]` cannot describe gets a manifest of inputs and outputs by name, which says what it guessed.
#[test]
fn other_models_get_inputs_and_outputs_by_name() {
    let context = Context::new();
    let mut shown = Vec::new();
    let mut show = |what: &str, model: &Model| {
        let (run, manifest) = init(&context, model, &[]);
        assert_eq!(run.code, 0, "{what}: {}", run.shown());
        let manifest = manifest.unwrap();
        let tables = manifest.split_once("[[input]]").unwrap().1;
        // What runs here, and so is required, is another test's.
        let tables = tables.split_once("\n[require]").or_else(|| tables.split_once("\n# [require]")).unwrap().0;
        let told = run.stderr.lines().filter(|line| !line.contains("[require]"));
        let told: String = told.map(|line| format!("{line}\n")).collect();
        shown.push(format!("# {what}\n{told}\n[[input]]{tables}"));
        std::fs::remove_file(context.path("gate.toml")).unwrap();
    };
    let y = [border("y", FLOAT, &[-1, 3])];
    let of = |input: &[ValueInfo], outputs: &[ValueInfo]| model(&["Gemm x w -> y"], input, outputs);
    show("whole numbers", &of(&[border("x", INT32, &[-1, 8])], &y));
    show("two inputs, one of them shared", &of(&[border("x", FLOAT, &[-1, 8]), border("rate", INT32, &[])], &y));
    show("open sizes and a mask", &of(&[border("x", FLOAT, &[-1, -1, 8]), border("x_mask", INT32, &[-1, -1])], &y));
    show("one value of a fixed batch", &of(&[border("x", FLOAT, &[4, 8])], &[border("y", FLOAT, &[4, 1])]));
    let both = [border("y", FLOAT, &[-1, 4, 4]), border("z", FLOAT, &[])];
    let scalar = model(&["Gemm x w -> y", "ReduceMax y -> z"], &[border("x", FLOAT, &[-1, 8])], &both);
    show("a map and a scalar", &scalar);
    show("no common batch", &of(&[border("x", FLOAT, &[2, 8]), border("b", FLOAT, &[3, 8])], &y));
    insta::assert_snapshot!(shown.join("\n"));
}

/// What runs is required of models of several inputs too, and `init --force` loses no requirement.
#[test]
fn inputs_and_outputs_by_name_keep_what_was_required() {
    let context = Context::new();
    let outputs = [border("y", FLOAT, &[-1, 3])];
    let net = model(&["Gemm x w -> y"], &[border("x", FLOAT, &[-1, 8]), border("rate", INT32, &[])], &outputs);
    let (run, first) = init(&context, &net, &[]);
    assert!(run.stderr.contains("`[require] runtimes`: `onnxruntime`, found to run here"), "{}", run.shown());
    let first = first.unwrap();
    assert!(first.contains("[[input]]") && first.contains("\nruntimes = [\"onnxruntime\"]\n"), "{first}");
    context.write("gate.toml", &format!("{first}golden = true\n"));
    let (run, second) = init(&context, &net, &["--force"]);
    assert_eq!((run.code, second), (0, Some(format!("{first}golden = true\n"))), "{}", run.shown());
}
