//! Inputs to start from, made as the program makes them. They are kept in `fuzz/corpus`, beside what libFuzzer found.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;

use prost::Message as _;

use crate::check::golden::tests as goldens;
use crate::convert::store::{Key, Store};
use crate::data::npy::array;
use crate::data::zip;
use crate::gate::inside::samples_of_graphs;
use crate::gate::natural::Natural;
use crate::onnx::samples::{around, graph, holding, model, node, value, with};
use crate::onnx::{Function, OperatorSet, StringEntry, TensorData};
use crate::report::sample;
use crate::repository;
use crate::runtime::tensorrt::metadata;

/// A target's name, the input's name, the input.
pub(super) type Seed = (&'static str, &'static str, Vec<u8>);

/// Those that the program's own formats change with.
pub(super) fn made() -> Vec<Seed> {
    [texts(), records(), arrays(), models(), frames(), served()].concat()
}

/// Answers as the real servers gave them: Triton's in binary, MLServer's in JSON, what a model and a configuration are told by.
fn served() -> Vec<Seed> {
    let head = br#"{"id":"r1","model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#;
    let binary =
        [&(head.len() as u16).to_le_bytes(), head.as_slice(), &1.5_f32.to_le_bytes(), &(-2.0_f32).to_le_bytes()];
    let json = br#"{"id":"r1","model_name":"m","model_version":"1","parameters":{},"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[[1.5,-2.0]]}]}"#;
    let grpc: &[u8] = b"\0\0\0\0\x23\x0a\x01m\x12\x011\x1a\x02r1\x2a\x0d\x0a\x01y\x12\x04FP32\x1a\x02\x01\x02\x32\x08\0\0\xc0\x3f\0\0\0\xc0";
    let model = br#"{"name":"m","versions":["1"],"platform":"onnxruntime_onnx","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2]}]}"#;
    let configuration = br#"{"name":"m","platform":"","backend":"onnxruntime","version_policy":{"latest":{"num_versions":1}},"max_batch_size":8,"input":[],"output":[],"dynamic_batching":{"preferred_batch_size":[8],"max_queue_delay_microseconds":100},"instance_group":[{"name":"m_0","kind":"KIND_CPU","count":1}],"parameters":{"trtgate.model.sha256":{"string_value":"ab"}}}"#;
    vec![
        ("served-answer", "triton", binary.concat()),
        ("served-answer", "grpc", [&[0xfe, 0xff], grpc].concat()),
        ("served-answer", "mlserver", [&[0xff, 0xff], json.as_slice()].concat()),
        ("served-model", "model", model.to_vec()),
        ("served-model", "configuration", configuration.to_vec()),
    ]
}

fn texts() -> Vec<Seed> {
    let whole = "schema = 1\n[model]\nname = \"m\"\nsaved-model = \"m\"\nsignature = \"s\"\n[input]\nname = \"x\"\nshape = [4, 4, 3]\n\
        layout = \"nchw\"\nrange = [-1.0, 1.0]\nmean = [0.5, 0.5, 0.5, 0.5]\nstd = [0.2, 0.2, 0.2, 0.2]\nresize = \"crop\"\nfixed-batch = 8\n[output]\nname = \"y\"\n\
        classes = 3\nkind = \"probabilities\"\nlabels = [\"a\", \"b\", \"c\"]\n[probes]\nfile = \"p.npz\"\nseed = 3\ncount = 32\nseconds = 9\n[calibration]\n\
        data = \"c\"\nseed = 4\ncount = 512\nmethod = \"entropy\"\n[matrix]\nbatches = [8]\n[engine]\nworkspace-mebibytes = 64\ncandidates = 3\n\
        [agreement]\nloss = { int8 = 0.01 }\n[accuracy]\ndrop = 0.01\n[require]\ngolden = true\nruntimes = [\"tensorrt@8.5\"]\n[limits]\nlock-seconds = 9\n";
    vec![
        ("manifest", "project", include_bytes!("../../gate.toml").to_vec()),
        ("manifest", "all", whole.as_bytes().to_vec()),
        ("thresholds", "shipped", include_bytes!("../../thresholds.toml").to_vec()),
        ("tolerances", "row", row().into_bytes()),
        ("csv", "outputs", b"index,label,top1,a,b,c\n0,1,2,0.5,1e-3,7\n1,0,0,9,2,-3.5\n".to_vec()),
        ("csv", "values", format!("{}\n{}\n", numbers(17), numbers(17)).into_bytes()),
        ("csv", "pictures", b"path,label\n\"a b.png\",cat\nc.jpg,2\n".to_vec()),
    ]
}

/// The shipped ladder's first row.
fn row() -> String {
    let text = include_str!("../check/tolerances.toml");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut rows = 0;
    let kept = lines.take_while(|line| {
        rows += usize::from(*line == "[[row]]");
        rows < 2
    });
    kept.map(|line| format!("{line}\n")).collect()
}

fn numbers(count: usize) -> String {
    (0..count).map(|index| (index % 3).to_string()).collect::<Vec<_>>().join(",")
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn records() -> Vec<Seed> {
    let few = |mut report: crate::findings::Report, kept: &[usize]| {
        report.cells = kept.iter().map(|index| report.cells[*index].clone()).collect();
        report.planned.clear();
        report.probe_images.clear();
        report.judge();
        json(&report)
    };
    let passing = sample::passing();
    let mut plan = sample::plan_of(&passing);
    plan.cells.truncate(3);
    let scores: Vec<f32> = (0..384).map(|place| (place * 37 % 101) as f32 * 0.1).collect();
    let natural = Natural::of(&scores, &super::manifest(3, "").unwrap()).unwrap();
    let key = Key::new("model").with("form", "onnx");
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().to_owned())).unwrap();
    let fill = |path: &Path| {
        std::fs::write(path.join("m.onnx"), "abc").unwrap();
        Ok(())
    };
    let entry = store.get_or_make(&key, fill).unwrap();
    let sha256 = crate::digest::digest_bytes(b"abc");
    let listed = |kind: &str| {
        format!(r#"{{"kind":{kind},"batch":null,"file":"m.onnx-fp32.onnx","sha256":"{sha256}","bytes":3}}"#)
    };
    let artifacts = format!(
        r#"{{"schema":"trtgate.artifacts/v1","model":"m","model_sha256":"ab","artifacts":[{}],"calibration":{},"probes":{}}}"#,
        listed("\"onnx-fp32\""),
        listed("null"),
        listed("null")
    );
    let planted = |which: u8, text: &str| [&[which], text.as_bytes()].concat();
    let list = format!(r#"{{"site-packages/libnet.so.1":{{"sha256":"{sha256}","bytes":3}}}}"#);
    let inspector = r#"{"Layers": [{"Name": "a + b", "LayerType": "CaskConvolution", "Inputs": [{"Name": "x", "Format/Datatype": "Row major Int8 format"}],
        "Outputs": [{"Name": "y", "Format/Datatype": "FP32"}], "ParameterType": "Convolution", "TacticName": "sm80_i8i8_i8i32_f32"}, "c"], "Bindings": ["x"]}"#;
    vec![
        ("report", "passing", few(sample::passing(), &[0, 17])),
        ("report", "failing", few(sample::failing(), &[4, 30])),
        ("plan", "plan", json(&plan)),
        ("golden", "one", goldens::golden().to_bytes().unwrap()),
        ("golden", "several", goldens::several().to_bytes().unwrap()),
        ("golden", "text", crate::check::golden::text::tests::to_text(&goldens::golden()).into_bytes()),
        ("natural", "natural", natural.to_bytes().unwrap()),
        ("engine", "engine", json(&metadata::tests::metadata(b"engine"))),
        ("store", "entry", crate::files::read(&entry.directory.join("entry.json"), crate::files::TEXT).unwrap()),
        ("artifacts", "list", artifacts.into_bytes()),
        ("environment", "marker", planted(0, r#"{"python": "bin/python", "site_packages": "site-packages"}"#)),
        ("environment", "list", planted(1, &list)),
        ("environment", "stamps", planted(2, r#"{"site-packages/libnet.so.1":{"bytes":3,"modified":5}}"#)),
        (
            "environment",
            "record",
            planted(3, "libnet.so.1,sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0,3\n\"a,b.py\",,\n"),
        ),
        ("triton-config", "all", repository::tests::whole().into_bytes()),
        ("inspector", "layers", inspector.as_bytes().to_vec()),
        (
            "baseline",
            "sizes",
            include_bytes!("../../baselines/no-gpu/cifar10/tensorrt-rtx@1.7.1/int8-size.json").to_vec(),
        ),
        ("baseline", "rates", rates()),
    ]
}

/// The shipped series with its first two runs.
fn rates() -> Vec<u8> {
    let text = include_bytes!("../../baselines/nvidia-h200/cifar10/tensorrt@8.5.3/fp16-batch-32-throughput.json");
    let mut series: crate::measure::baseline::Series = serde_json::from_slice(text).unwrap();
    series.entries.truncate(2);
    json(&series)
}

fn arrays() -> Vec<Seed> {
    let bytes: Vec<u8> = (0..96).map(|place| (place * 37 % 251) as u8).collect();
    let floats = |count: usize| (0..count).flat_map(|place| (place as f32 * 0.25).to_le_bytes()).collect::<Vec<u8>>();
    let pixels = array("|u1", &[2, 4, 4, 3], &bytes).unwrap();
    let values = array("<f4", &[2, 4, 4, 1], &floats(32)).unwrap();
    let labels = array("<i8", &[2], &[1_i64.to_le_bytes(), 2_i64.to_le_bytes()].concat()).unwrap();
    let doubles =
        array(">f8", &[3, 3], &(0..9).flat_map(|place| f64::from(place).to_be_bytes()).collect::<Vec<u8>>()).unwrap();
    let archive = zip::pack(&[("x.npy", &pixels), ("y.npy", &labels)]).unwrap();
    let numbers_of = |count: i64| (0..count).flat_map(i64::to_le_bytes).collect::<Vec<u8>>();
    let ids = array("<i8", &[3, 2], &numbers_of(6)).unwrap();
    let (state, expected) = (array("<f4", &[3, 3], &floats(9)).unwrap(), array("<f4", &[3], &floats(3)).unwrap());
    let whole = TensorData {
        name: "x".to_owned(),
        data_type: 7,
        dims: vec![2, 2],
        int64_data: vec![1, -1, 0, 1 << 40],
        ..TensorData::default()
    };
    let records: Vec<u8> =
        (0..3_u8).flat_map(|label| std::iter::once(label).chain(bytes.iter().copied().take(48))).collect();
    let form = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
    let notes = r#"{"schema":"trtgate.probes/v1","notes":["few"]}"#;
    let probes = zip::pack(&[("x.npy", &pixels), ("y.npy", &labels), ("trtgate.json", notes.as_bytes())]).unwrap();
    let mut picture = Vec::new();
    let mut encoder = png::Encoder::new(&mut picture, 4, 4);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(bytes.get(..48).unwrap()).unwrap();
    let mut wide = Vec::new();
    let mut encoder = png::Encoder::new(&mut wide, 3, 5);
    encoder.set_color(png::ColorType::GrayscaleAlpha);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.write_header().unwrap().write_image_data(&[255; 60]).unwrap();
    vec![
        ("npy", "pixels", pixels.clone()),
        ("npy", "values", values.clone()),
        ("npy", "doubles", doubles),
        ("npz", "labelled", archive),
        ("records", "three", records.clone()),
        ("probes", "records", form(0, &records)),
        ("probes", "archive", form(1, &probes)),
        ("probes", "array", form(2, &values)),
        ("probes", "text", form(3, format!("{}\n", numbers(16)).as_bytes())),
        ("feeds", "three", zip::pack(&[("x.npy", &ids), ("state.npy", &state), ("y.npy", &expected)]).unwrap()),
        ("polygraphy", "inputs", include_bytes!("../../tests/fixtures/polygraphy/inputs.json").to_vec()),
        ("polygraphy", "outputs", include_bytes!("../../tests/fixtures/polygraphy/outputs.json").to_vec()),
        ("data-set", "input", whole.encode_to_vec()),
        ("picture", "colour", picture),
        ("picture", "alpha", wide),
        ("picture", "colour.jpg", include_bytes!("../../tests/fixtures/pictures/colour.jpg").to_vec()),
        (
            "picture",
            "colour.progressive.jpg",
            include_bytes!("../../tests/fixtures/pictures/colour.progressive.jpg").to_vec(),
        ),
        ("picture", "grey.jpg", include_bytes!("../../tests/fixtures/pictures/grey.jpg").to_vec()),
        (
            "archive",
            "one",
            archive_of(&[("cifar-10-batches-bin/data_batch_1.bin", b"abc"), ("cifar-10-batches-bin/readme.html", b"")]),
        ),
    ]
}

fn archive_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn models() -> Vec<Seed> {
    let tensor = |name: &str, data_type: i32, dims: &[i64], raw: Vec<u8>| TensorData {
        name: name.to_owned(),
        data_type,
        dims: dims.to_vec(),
        raw_data: Some(raw.into()),
        ..TensorData::default()
    };
    // A loop, a branch with a stored tensor, and a function.
    let branch = graph(
        vec![],
        vec![holding(node("Constant", "", "then"), "value", tensor("", 1, &[1], vec![0; 4]))],
        vec![value("then", None)],
    );
    let body = graph(
        vec![value("i", Some(7)), value("c", Some(9)), value("v", None)],
        vec![node("Relu", "v", "w")],
        vec![value("c", None), value("w", None)],
    );
    let nodes = vec![
        around(node("If", "flag", "a"), "then_branch", branch),
        around(node("Loop", "count flag a", "b"), "body", body),
        with(node("Cast", "b", "h"), "to", 10),
        node("Softmax", "h", "y"),
    ];
    let mut inner = graph(
        vec![value("x", Some(1)), value("flag", Some(9)), value("count", Some(7))],
        nodes,
        vec![value("y", None)],
    );
    inner.node.push(crate::onnx::Node { domain: "own".to_owned(), ..node("Twice", "x", "z") });
    let mut nested = model(inner);
    nested.opset_import.push(OperatorSet { domain: "own".to_owned(), version: 1 });
    nested.functions.push(Function {
        name: "Twice".to_owned(),
        domain: "own".to_owned(),
        input: vec!["p".to_owned()],
        output: vec!["q".to_owned()],
        node: vec![node("Add", "p p", "q")],
        ..Function::default()
    });
    // Integer products of every form.
    let mut products = graph(
        vec![value("x", Some(2))],
        vec![
            node("QLinearMatMul", "x s z w s zs s z", "a"),
            with(node("MatMulInteger", "a w z zs", "b"), "transB", 0),
            node("Cast", "b", "y"),
        ],
        vec![value("y", Some(1))],
    );
    products.initializer = vec![
        tensor("w", 3, &[2, 2], vec![127, 128, 3, 200]),
        tensor("s", 1, &[], 0.5_f32.to_le_bytes().to_vec()),
        tensor("z", 2, &[], vec![128]),
        tensor("zs", 3, &[], vec![0]),
    ];
    let mut away =
        TensorData { name: "w".to_owned(), data_type: 1, dims: vec![2, 4], data_location: 1, ..TensorData::default() };
    away.external_data = [("location", "w.bin"), ("offset", "8"), ("length", "32")]
        .map(|(key, value)| StringEntry { key: key.to_owned(), value: value.to_owned() })
        .to_vec();
    let mut external = graph(vec![value("x", Some(1))], vec![node("MatMul", "x w", "y")], vec![value("y", Some(1))]);
    external.initializer.push(away.clone());
    external.node.push(holding(node("Constant", "", "k"), "value", away));
    vec![
        ("onnx", "nested", nested.encode_to_vec()),
        ("onnx", "products", model(products).encode_to_vec()),
        ("onnx", "quantised", samples_of_graphs::quantised(0.5).encode_to_vec()),
        ("onnx", "quantised-for-cpus", samples_of_graphs::quantised_for_cpus(0.5).encode_to_vec()),
        ("onnx", "half", include_bytes!("../../tests/fixtures/tiny/fp16_border.onnx").to_vec()),
        ("onnx-external", "external", model(external).encode_to_vec()),
        ("saved-model", "keras", include_bytes!("../../tests/fixtures/tiny/saved_model/saved_model.pb").to_vec()),
        ("tflite", "int8", include_bytes!("../../tests/fixtures/tiny/batch_1_int8.tflite").to_vec()),
        ("tflite", "float", include_bytes!("../../tests/fixtures/tiny/batch_4_float.tflite").to_vec()),
    ]
}

/// Frames of both directions, several behind each other.
fn frames() -> Vec<Seed> {
    let frame = |text: &str, values: &[f32]| {
        let mut bytes = Vec::new();
        bytes.write_all(&(text.len() as u32).to_le_bytes()).unwrap();
        bytes.write_all(&(4 * values.len() as u64).to_le_bytes()).unwrap();
        bytes.write_all(text.as_bytes()).unwrap();
        values.iter().for_each(|value| bytes.write_all(&value.to_le_bytes()).unwrap());
        bytes
    };
    let input = r#"{"name":"x","element_type":"float32","shape":[3,2]}"#;
    let mask = r#"{"name":"mask","element_type":"bool","shape":[3,4]}"#;
    let rate = r#"{"name":"rate","element_type":"int64","shape":[]}"#;
    let run = format!(
        r#"{{"ask":"run","feeds":{{"tensors":[{input}],"shared":0}},"batch":2,"pad":true,"axes":{{"inputs":{{}},"outputs":{{}}}}}}"#
    );
    let survey = format!(r#"{{"ask":"survey","feeds":{{"tensors":[{input}],"shared":0}},"batch":1}}"#);
    let axes = r#"{"inputs":{"mask":{"at":1}},"outputs":{"y":"none"}}"#;
    let several = format!(
        r#"{{"ask":"run","feeds":{{"tensors":[{mask},{rate}],"shared":1}},"batch":1,"pad":false,"axes":{axes}}}"#
    );
    let outputs = format!(
        r#"{{"answer":"outputs","outputs":[{input}],"seconds":0.5,"transfers":{{"copies_in":0,"copies_out":0,"bytes_in":0,"bytes_out":0}}}}"#
    );
    let values = [0.0, 1.0, f32::NAN, -1.0, 2.5, f32::INFINITY];
    vec![
        (
            "worker-requests",
            "run",
            [
                frame(&run, &values),
                frame(&survey, &values),
                frame(r#"{"ask":"layers"}"#, &[]),
                // The bytes of twelve booleans and of a whole number.
                frame(&several, &values[..5]),
            ]
            .concat(),
        ),
        ("worker-replies", "outputs", frame(&outputs, &values)),
        ("worker-replies", "failed", frame(r#"{"answer":"layers","layers":null}"#, &[])),
    ]
}

/// Writes what was made, to be kept.
pub(super) fn write(folder: &Path) {
    for (target, name, bytes) in made() {
        let place = folder.join(target);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join(name), bytes).unwrap();
    }
}
