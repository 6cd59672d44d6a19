#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use approx::assert_relative_eq;
use rstest::rstest;

use super::*;
use crate::gate::inside::evaluated::{evaluating, model};
use crate::gate::inside::samples_of_graphs::fp32;
use crate::gate::values::tests::{interface, spec};
use crate::gate::workshop::calibrated;
use crate::tensor::ElementType;

fn largest(values: &[f32]) -> Largest {
    Largest { total: 200_000, values: values.to_vec(), first_batch: 7.0, left_out: 6.0 }
}

#[rstest]
#[case(CalibrationMethod::MinMax, 9.0, 9.0)]
// 2 of 200 000 values lie above it.
#[case(CalibrationMethod::Percentile, 7.0, 7.0)]
#[case(CalibrationMethod::Entropy, 7.0, 9.0)]
fn each_method_cuts_in_its_own_way(#[case] method: CalibrationMethod, #[case] least: f64, #[case] most: f64) {
    let range = largest(&[7.0, 8.0, 6.0, 9.0]).range(method).unwrap();
    assert_eq!(range, Range { least, most });
}

#[test]
fn a_percentile_beyond_what_was_kept_is_unknown() {
    assert_eq!(largest(&[9.0, 8.0]).range(CalibrationMethod::Percentile), None);
    assert_eq!(largest(&[]).range(CalibrationMethod::MinMax), None);
}

#[rstest]
#[case(6.0, 6.0 / 7.0)]
#[case(7.5, 1.0)]
#[case(18.0, 2.0)]
fn the_ratio_is_to_the_nearest_cut(#[case] cut: f64, #[case] expected: f64) {
    assert_relative_eq!(Range { least: 7.0, most: 9.0 }.ratio(cut), expected);
}

/// What was left out of a batch may have been above the percentile: the cut lies somewhere up to it.
#[test]
fn what_was_left_out_widens_the_range() {
    let mut largest = Largest::default();
    largest.add(100_000, &[9.0, 5.0]);
    largest.add(100_000, &[8.0, 7.0]);
    assert_eq!((largest.total, largest.first_batch, largest.left_out), (200_000, 9.0, 7.0));
    assert_eq!(largest.range(CalibrationMethod::Percentile), Some(Range { least: 7.0, most: 7.0 }));
    let mut largest = Largest::default();
    largest.add(500_000, &[9.0, 8.0]);
    assert_eq!(largest.range(CalibrationMethod::Percentile), None, "more lies above it than was kept");
    let mut largest = Largest::default();
    largest.add(100_000, &[9.0, 8.0]);
    largest.add(50_000, &[1.0, 0.5]);
    assert_eq!(largest.range(CalibrationMethod::Percentile), Some(Range { least: 8.0, most: 8.0 }));
    let mut largest = Largest::default();
    largest.add(100_000, &[9.0, 8.0]);
    largest.add(100_000, &[3.0]);
    assert_eq!(largest.range(CalibrationMethod::Percentile), Some(Range { least: 3.0, most: 8.0 }));
    let mut largest = Largest::default();
    largest.add(2, &[f32::NAN, 8.0]);
    assert_eq!(largest.range(CalibrationMethod::MinMax), None);
}

#[test]
fn the_graph_stays_first_and_gains_an_output() {
    let bytes = fp32().encode_to_vec();
    let joined = with_largest(&bytes, &["relu:0"], 8).unwrap();
    assert_eq!(joined[..bytes.len()], bytes);
    let graph = onnx::parse(&joined).unwrap().graph.unwrap();
    assert_eq!(graph.output[1].name, "trtgate/relu:0/largest");
    assert_eq!(graph.node.last().unwrap().op_type, "TopK");
}

/// Of a batch as many values are kept as lie above the percentile of it sixteen times over, and some for each sample.
#[test]
fn as_many_values_are_kept_as_the_percentile_needs() {
    let kept = |batch: usize| {
        let joined = with_largest(&fp32().encode_to_vec(), &["relu:0"], batch).unwrap();
        let graph = onnx::parse(&joined).unwrap().graph.unwrap();
        let stored = |name: &str| {
            let tensor = graph.initializer.iter().find(|tensor| tensor.name == name).unwrap();
            assert_eq!((tensor.data_type, tensor.dims.as_slice()), (7, &[1][..]));
            i64::from_le_bytes(tensor.raw_data.as_deref().unwrap().try_into().unwrap())
        };
        (stored("trtgate//every"), stored("trtgate//beside"), stored("trtgate//line"))
    };
    // 0.001 % of the values lie above the percentile.
    assert_eq!(kept(8), (6250, 512, -1));
    assert_eq!(kept(1), (6250, 64, -1));
    let joined = with_largest(&fp32().encode_to_vec(), &["relu:0", "conv:0"], 1).unwrap();
    let graph = onnx::parse(&joined).unwrap().graph.unwrap();
    fn last(names: &[String]) -> Vec<&str> {
        names.iter().map(|name| name.rsplit('/').next().unwrap()).collect()
    }
    let added = graph.node[3..12].iter();
    let added: Vec<_> = added.map(|node| (node.op_type.as_str(), last(&node.input), last(&node.output))).collect();
    let expected: [(&str, &[&str], &[&str]); 9] = [
        ("Cast", &["relu:0"], &["floats"]),
        ("Abs", &["floats"], &["magnitudes"]),
        ("Reshape", &["magnitudes", "line"], &["flat"]),
        ("Size", &["relu:0"], &["count"]),
        ("Reshape", &["count", "line"], &["size"]),
        ("Div", &["size", "every"], &["share"]),
        ("Add", &["share", "beside"], &["most"]),
        ("Min", &["size", "most"], &["kept"]),
        ("TopK", &["flat", "kept"], &["largest", "places"]),
    ];
    for (found, expected) in added.iter().zip(expected) {
        assert_eq!((found.0, found.1.as_slice(), found.2.as_slice()), expected);
    }
    assert_eq!((added.len(), graph.node.len()), (9, 21));
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let (one, other) =
        (["trtgate/relu:0/largest", "trtgate/relu:0/size"], ["trtgate/conv:0/largest", "trtgate/conv:0/size"]);
    assert_eq!(outputs[1..], [one, other].concat());
    let nodes: Vec<&str> = graph.node[3..12].iter().map(|node| node.name.as_str()).collect();
    assert_eq!((nodes[0], nodes[8]), ("trtgate/relu:0/trtgate/relu:0/floats", "trtgate/relu:0/trtgate/relu:0/largest"));
    assert_eq!(graph.node[3].attribute[0].kind, 2);
    // Floats, whatever the tensor is of.
    assert_eq!((graph.node[3].attribute[0].name.as_str(), graph.node[3].attribute[0].i), ("to", 1));
    assert!(graph.node[4].attribute.is_empty());
}

#[test]
fn an_old_graph_is_refused() {
    let mut model = fp32();
    let mut of_version = |version: i64| {
        model.opset_import[0].version = version;
        with_largest(&model.encode_to_vec(), &[], 1)
    };
    assert!(of_version(12).is_ok());
    let words = "the graph is of operator set 11, and `Min` of integers needs 12";
    assert_eq!(of_version(11).unwrap_err().message, words);
}

/// The FP32 graph is run on the calibration samples, and each method cuts what came out in its own way.
#[test]
fn the_ranges_of_a_graph_are_those_of_its_calibration_samples() {
    let graph = model(&[("Mul", "x w", "a"), ("Relu", "a", "y")], &[("w", -3.0)]);
    let mut project = calibrated(1.0);
    std::fs::write(project.folder.path().join("m.onnx"), graph.encode_to_vec()).unwrap();
    let mut found = |method: CalibrationMethod, tensors: &[&str], fixed: Option<u32>| {
        project.manifest.calibration.method = method;
        project.manifest.input.fixed_batch = fixed;
        let fakes = evaluating();
        let workspace = project.workspace(&fakes);
        let fp32 = workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap();
        let installation = crate::gate::inside::side::onnxruntime(&workspace).unwrap();
        let found = ranges(&workspace, &installation, &fp32, tensors);
        assert_eq!(fakes.alive(), 0, "no worker is left");
        found.map(|ranges| (ranges, fakes.seen().iter().filter(|(_, name)| *name == "run").count()))
    };
    let range = |least: f64, most: f64| Range { least, most };
    let named = |a: Range, y: Range| BTreeMap::from([("a".to_owned(), a), ("y".to_owned(), y)]);
    // 512 samples in batches of 64: from 0 to 1, times -3, and nothing of it behind the ReLU.
    let (all, runs) = found(CalibrationMethod::MinMax, &["a", "y"], None).unwrap();
    assert_eq!((all, runs), (named(range(3.0, 3.0), range(0.0, 0.0)), 8));
    let first = f64::from(63.0_f32 / 511.0 * 3.0);
    let (all, _) = found(CalibrationMethod::Entropy, &["a"], None).unwrap();
    assert_relative_eq!(all["a"].least, first, epsilon = 1e-6);
    assert_relative_eq!(all["a"].most, 3.0);
    let (all, _) = found(CalibrationMethod::Percentile, &["a"], None).unwrap();
    assert_eq!(all["a"], range(3.0, 3.0));
    // A graph of one batch size takes whole batches alone: 512 are 5 of 100, and the rest is left out.
    let (all, runs) = found(CalibrationMethod::MinMax, &["a"], Some(100)).unwrap();
    assert_eq!(runs, 5);
    assert_relative_eq!(all["a"].most, f64::from(499.0_f32 / 511.0 * 3.0), epsilon = 1e-6);
    assert_eq!(found(CalibrationMethod::MinMax, &[], None).unwrap(), (BTreeMap::new(), 0));
    let error = found(CalibrationMethod::MinMax, &["absent"], None).unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
}

/// Samples of several inputs are run as many at once as the file takes, and as their bytes allow.
#[rstest]
#[case::open("", [None, None], 64, 70, (64, false), &[64, 6])]
#[case::fixed("", [Some(8), None], 64, 20, (8, true), &[8, 8])]
#[case::the_smaller("", [Some(8), Some(4)], 64, 9, (4, true), &[4, 4])]
#[case::one_by_one("batch-axis = \"none\"", [Some(8), None], 64, 2, (1, false), &[1, 1])]
#[case::large("", [None, None], (1 << 21) - 1, 3, (2, false), &[2, 1])]
#[case::larger("", [None, None], 1 << 21, 2, (1, false), &[1, 1])]
fn several_inputs_are_run_in_batches(
    #[case] axis: &str,
    #[case] first: [Option<usize>; 2],
    #[case] values: usize,
    #[case] samples: usize,
    #[case] expected: (usize, bool),
    #[case] parts: &[usize],
) {
    let interface = interface(&format!(
        "[[input]]\nname = \"a\"\nvalues = {{ uniform = [0.0, 1.0] }}\n{axis}\n[[input]]\nname = \"b\"\nvalues = {{ uniform = [0.0, 1.0] }}\n\
         [[input]]\nname = \"c\"\nshared = true\nvalues = {{ uniform = [0.0, 1.0] }}\n[[output]]\nname = \"y\"\ntask = \"values\"\n"
    ));
    let spec = |name: &str, first| spec(name, ElementType::Float32, &[first, Some(values)]);
    let signature = Signature { inputs: vec![spec("a", first[0]), spec("b", first[1])], outputs: Vec::new() };
    let floats = |shape: Vec<usize>| {
        let count = shape.iter().product();
        crate::data::arrays::encode(&Tensor::float32("", shape, vec![0.5; count]).unwrap()).unwrap()
    };
    // Four bytes a value of the first, and four of the second.
    let (a, b, c) = (floats(vec![samples, values]), floats(vec![samples, 1]), floats(vec![3]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibration.npz");
    let members: [(&str, &[u8]); 3] = [("0.npy", &a), ("1.npy", &b), ("2.npy", &c)];
    std::fs::write(&path, crate::data::zip::pack(&members).unwrap()).unwrap();
    let mut found = Samples::of_several(&interface, &signature, &path).unwrap();
    assert_eq!((found.batch, found.whole), expected);
    let mut cut = Vec::new();
    while let Some(part) = found.next_part().unwrap() {
        let names: Vec<&str> = part.tensors().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        cut.push(part.batch());
    }
    assert_eq!(cut, parts);
    // An input without samples is named.
    std::fs::write(&path, crate::data::zip::pack(&members[..2]).unwrap()).unwrap();
    let error = Samples::of_several(&interface, &signature, &path).err().unwrap();
    assert_eq!(error.message, "there are no samples of input `c`");
}

/// What cuts at nothing is at no distance from a range that is nothing.
#[test]
fn a_range_of_nothing_has_no_ratio() {
    let nothing = Range { least: 0.0, most: 0.0 };
    assert_eq!((nothing.ratio(0.0), nothing.ratio(0.5)), (1.0, 1.0));
    let wide = Range { least: 0.0, most: 4.0 };
    assert_eq!((wide.ratio(0.0), wide.ratio(3.0), wide.ratio(8.0)), (1.0, 1.0, 2.0));
}

/// The graph that tells the largest values runs as the manifest says, shows what is asked for, and is looked into.
#[test]
fn the_calibration_graph_runs_as_the_manifest_says() {
    use std::sync::{Arc, Mutex};
    let mut project = calibrated(1.0);
    project.manifest.run.intra_threads = 3;
    let graph = model(&[("Mul", "x w", "a"), ("Relu", "a", "y")], &[("w", 2.0)]);
    std::fs::write(project.folder.path().join("m.onnx"), graph.encode_to_vec()).unwrap();
    let opened = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&opened);
    let fakes = crate::worker::fake::Fakes::of(
        move |request| {
            seen.lock().unwrap().push(request.options.clone());
            Err(crate::error::Error::failed("seen"))
        },
        crate::gate::workshop::healthy,
    );
    let workspace = project.workspace(&fakes);
    let installation = crate::gate::inside::side::onnxruntime(&workspace).unwrap();
    let fp32 = workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap();
    assert!(ranges(&workspace, &installation, &fp32, &["a"]).is_err());
    let opened = opened.lock().unwrap();
    let [options] = opened.as_slice() else { panic!("it is opened once") };
    assert_eq!((options.intra_threads, options.inner_tensors), (3, true));
    assert_eq!(options.outputs, ["trtgate/a/largest", "trtgate/a/size"]);
}
