#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::gate::inside::evaluated::{WIDTH, evaluating, model};
use crate::gate::workshop::{Project, samples};

/// What is found of a graph on 40 samples from 0 to 1.
fn found(fp32: &Model, half: Option<&Model>, first: &[usize]) -> Ranges {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let fakes = evaluating();
    let workspace = project.workspace(&fakes);
    let installation = side::onnxruntime(&workspace).unwrap();
    let ranges = examine(&workspace, &installation, (fp32, half), &samples(40), first).unwrap();
    assert_eq!(fakes.alive(), 0, "no worker is left");
    ranges
}

fn names(findings: &[RangeFinding]) -> Vec<(&str, Option<bool>)> {
    findings.iter().map(|found| (found.tensor.as_str(), found.reaches_output)).collect()
}

/// What stays within the range is counted, and nothing else is said.
#[test]
fn a_network_within_the_range_has_nothing_to_tell() {
    let fp32 = model(&[("Mul", "x w", "a"), ("Relu", "a", "y")], &[("w", 2.0)]);
    let ranges = found(&fp32, Some(&fp32), &[]);
    assert_eq!((ranges.samples, ranges.tensors), (40, 3));
    assert_eq!((ranges.beyond_count, ranges.near_count, ranges.altered_count), (0, 0, 0));
    assert!(ranges.beyond.is_empty() && ranges.near.is_empty() && ranges.altered.is_empty(), "{ranges:?}");
    assert_eq!(ranges.unseen, [""; 0]);
}

/// The first value that half precision rounds to infinity is beyond its range.
#[test]
fn the_end_of_the_range_is_beyond_it() {
    let at = |constant: f32| {
        let ranges =
            found(&model(&[("Mul", "x w", "a"), ("Mul", "a zero", "y")], &[("w", constant), ("zero", 0.0)]), None, &[]);
        (ranges.beyond_count, ranges.near_count)
    };
    let below = f32::from_bits(BEYOND.to_bits() - 1);
    assert_eq!((at(BEYOND).0, at(below).0), (1, 0));
    assert_eq!(at(f32::from_bits(NEAR.to_bits() - 1)), (0, 0));
    assert!(at(NEAR).1 >= 1);
}

/// What leaves it is told in the network's order, with whether the output changes by it; what is behind a cause is not tried.
#[test]
fn what_leaves_the_range_is_tried_on_the_output() {
    let nodes = [
        ("Mul", "x near", "a"),
        ("Add", "x far", "b"),
        // Whatever is beyond one is one: an infinity too.
        ("Min", "b one", "c"),
        ("Mul", "x large", "d"),
        ("Add", "d c", "e"),
        ("Div", "e large", "y"),
    ];
    let constants = [("near", 40_000.0), ("far", 1e6), ("one", 1.0), ("large", 3e5)];
    let ranges = found(&model(&nodes, &constants), None, &[3]);
    // The constants `far` and `large` are beyond by themselves, `near` is near.
    assert_eq!((ranges.near_count, ranges.beyond_count), (2, 5), "{ranges:?}");
    assert_eq!(names(&ranges.near), [("near", None), ("a", None)]);
    let expected = [("far", Some(false)), ("b", Some(false)), ("large", Some(true)), ("d", None), ("e", None)];
    assert_eq!(names(&ranges.beyond), expected);
    assert_eq!(ranges.tensors, 10);
    let told = &ranges.beyond[3];
    assert_eq!((told.node.as_str(), told.operator.as_str()), ("d-node", "Mul"));
    let input = samples(40);
    let floats = input.floats();
    let most = floats.iter().fold(0.0_f32, |most, value| most.max(*value));
    let place = floats.iter().position(|value| *value == most).unwrap();
    assert_eq!((told.value, told.sample), (f64::from(most * 3e5), Some(place / WIDTH)));
    let share = floats.iter().filter(|value| **value * 3e5 >= BEYOND).count() as f64 / floats.len() as f64;
    assert!((told.share - share).abs() < 1e-12 && share < 1.0, "{told:?}");
    assert_eq!((ranges.beyond[0].operator.as_str(), ranges.beyond[0].sample), ("Stored", None));
    assert_eq!(ranges.cause().map(|found| found.tensor.clone()), Some("large".to_owned()));
}

/// A constant that the conversion altered is tried as it stands in the converted file.
#[test]
fn what_the_conversion_altered_is_tried_too() {
    let nodes = [("Mul", "x unused", "a"), ("Min", "a zero", "b"), ("Add", "x b", "c"), ("Mul", "c w", "y")];
    let of = |unused: f32, w: f32| model(&nodes, &[("unused", unused), ("zero", 0.0), ("w", w)]);
    let ranges = found(&of(1.0, 2.0), Some(&of(1.5, 2.5)), &[]);
    let told: Vec<_> = ranges
        .altered
        .iter()
        .map(|found| (found.tensor.as_str(), found.value, found.stored, found.share, found.reaches_output))
        .collect();
    assert_eq!(told, [("unused", 1.0, 1.5, 1.0, Some(false)), ("w", 2.0, 2.5, 1.0, Some(true))]);
    assert_eq!((ranges.altered_count, ranges.beyond_count), (2, 0));
    // Rounding to half precision is no alteration.
    assert_eq!(found(&of(1.0, 2.0), Some(&of(1.0005, 2.0)), &[]).altered_count, 0);
    assert_eq!(found(&of(1.0, 2.0), None, &[]).altered_count, 0);
}

/// Only the first of a kind are kept, and only so many are tried; all are counted.
#[test]
fn many_findings_are_counted() {
    let names: Vec<String> = (0..=2 * NAMED + 2).map(|place| format!("t{place}")).collect();
    let inputs: Vec<String> =
        std::iter::once("x".to_owned()).chain(names.iter().cloned()).map(|name| format!("{name} far")).collect();
    let mut nodes: Vec<(&str, &str, &str)> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        // Each makes it large again and is cut again.
        nodes.push((if place.is_multiple_of(2) { "Mul" } else { "Div" }, inputs[place].as_str(), name.as_str()));
    }
    let last = format!("{} zero", names.last().unwrap());
    nodes.extend([("Min", last.as_str(), "cut"), ("Add", "x cut", "y")]);
    let ranges = found(&model(&nodes, &[("far", 1e6), ("zero", 0.0)]), None, &[]);
    // The constant, and every other tensor.
    assert_eq!(ranges.beyond_count, 1 + names.len().div_ceil(2));
    assert!(ranges.beyond.iter().all(|found| found.reaches_output == Some(false)), "{:?}", names_of(&ranges));
    assert_eq!(ranges.beyond.len(), NAMED);
}

fn names_of(ranges: &Ranges) -> Vec<(&str, Option<bool>)> {
    names(&ranges.beyond)
}

#[test]
fn an_input_beyond_the_range_is_the_first_to_be_told() {
    let given = |values: Vec<f32>| input(&Tensor::float32("x", vec![values.len() / 2, 2], values).unwrap());
    assert_eq!(given(vec![1.0, -65_519.0, f32::INFINITY, 0.0]), None);
    let told = given(vec![1.0, 65_520.0, f32::INFINITY, 0.0, -7e4, 2.0, 66_000.0, 1.0]).unwrap();
    assert_eq!((told.tensor.as_str(), told.operator.as_str(), told.value), ("x", "Input", -7e4));
    assert_eq!((told.sample, told.share), (Some(2), 3.0 / 8.0));
}

/// The model's own file is what is looked at, and the FP16 file beside it; what is no model is named.
#[test]
fn the_files_of_a_project_are_looked_at() {
    let fp32 = model(&[("Mul", "x w", "a"), ("Relu", "a", "y")], &[("w", 2e5)]);
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    std::fs::write(project.folder.path().join("m.onnx"), fp32.encode_to_vec()).unwrap();
    let workspace = project.workspace(&evaluating());
    let half = |bytes: Vec<u8>| {
        let path = project.folder.path().join("half.onnx");
        std::fs::write(&path, bytes).unwrap();
        Artifact { path, ..crate::gate::workshop::artifact(ArtifactKind::OnnxFp16, None) }
    };
    let ranges = diagnose(&workspace, None, &samples(40), &[]).unwrap();
    assert_eq!(ranges, found(&fp32, None, &[]));
    assert_eq!((ranges.beyond_count, ranges.altered_count), (3, 0));
    let other = model(&[("Mul", "x w", "a"), ("Relu", "a", "y")], &[("w", 1e5)]);
    let ranges = diagnose(&workspace, Some(&half(other.encode_to_vec())), &samples(40), &[]).unwrap();
    assert_eq!((ranges.beyond_count, ranges.altered_count), (3, 1));
    let error = diagnose(&workspace, Some(&half(b"no model".to_vec())), &samples(40), &[]).unwrap_err();
    assert!(error.message.contains("half.onnx` is not a usable ONNX model"), "{error}");
}

/// Of a stored tensor the value that is farthest off is told, and the share of those that are.
#[test]
fn the_share_of_altered_values_is_told() {
    let stored = |values: &[f32]| crate::onnx::samples::halves("w", values);
    let (own, other) = (stored(&[1.0, 2.0, 3.0, 4.0]), stored(&[1.0, 2.5, 3.0, 6.0]));
    let node = crate::onnx::Node { name: "n".to_owned(), op_type: "Mul".to_owned(), ..Default::default() };
    let item = Item { tensor: "w", node: &node, stored: Some(&own) };
    let (found, values) = altered(&item, &[("w", &other)].into()).unwrap();
    assert_eq!((found.value, found.stored, found.share), (4.0, 6.0, 0.5));
    assert_eq!((found.tensor.as_str(), found.node.as_str(), found.operator.as_str()), ("w", "n", "Mul"));
    assert_eq!(values, [1.0, 2.5, 3.0, 6.0]);
    // Farthest by its difference, whatever part of the value that is.
    let (wide, other) = (stored(&[1.0, 10.0]), stored(&[1.5, 11.0]));
    let (found, _) = altered(&Item { stored: Some(&wide), ..item.clone() }, &[("w", &other)].into()).unwrap();
    assert_eq!((found.value, found.stored, found.share), (10.0, 11.0, 1.0));
    assert!(altered(&item, &[("w", &stored(&[1.0]))].into()).is_none());
    assert!(altered(&item, &[("v", &other)].into()).is_none());
}

/// So many are tried and no more: one that would be a cause is not found behind them.
#[test]
fn what_is_behind_many_that_do_not_reach_the_output_is_not_tried() {
    let beyond = |cut: usize| {
        let names: Vec<[String; 3]> =
            (0..cut).map(|place| [format!("t{place}"), format!("t{place} zero"), format!("cut{place}")]).collect();
        let mut nodes: Vec<(&str, &str, &str)> = Vec::new();
        for [name, inputs, cut] in &names {
            nodes.extend([("Mul", "x far", name.as_str()), ("Min", inputs.as_str(), cut.as_str())]);
        }
        nodes.extend([("Div", "x small", "large"), ("Add", "large cut0", "y")]);
        let ranges = found(&model(&nodes, &[("far", 1e6), ("zero", 0.0), ("small", 1e-6)]), None, &[]);
        (ranges.beyond_count, ranges.cause().map(|found| found.tensor.clone()), ranges.beyond.len())
    };
    // The constant, those that are cut, the one that is not, and the output.
    let large = || Some("large".to_owned());
    assert_eq!(beyond(2), (5, large(), 5));
    assert_eq!(beyond(TRIED - 2), (TRIED + 1, large(), TRIED));
    assert_eq!(beyond(TRIED - 1), (TRIED + 2, None, NAMED));
}

/// Of what was altered only the first are kept, whatever they reach, and one that reaches the output.
#[test]
fn many_altered_values_are_counted() {
    let names: Vec<String> = (0..NAMED + 3).map(|place| format!("c{place}")).collect();
    let inputs: Vec<String> = names.iter().map(|name| format!("x {name}")).collect();
    let outputs: Vec<String> = names.iter().map(|name| format!("{name}-out")).collect();
    let nodes: Vec<(&str, &str, &str)> = inputs
        .iter()
        .zip(&outputs)
        .map(|(input, output)| ("Mul", input.as_str(), output.as_str()))
        .chain([("Relu", "x", "y")])
        .collect();
    let of = |value: f32| {
        let constants: Vec<(&str, f32)> = names.iter().map(|name| (name.as_str(), value)).collect();
        model(&nodes, &constants)
    };
    let ranges = found(&of(1.0), Some(&of(2.0)), &[]);
    assert_eq!((ranges.altered_count, ranges.altered.len()), (NAMED + 3, NAMED));
    assert!(ranges.altered.iter().all(|found| found.reaches_output == Some(false)));
    // One that reaches the output stands behind so many that do not: it is not tried, and not told.
    let with_last = |value: f32| {
        let mut constants: Vec<(&str, f32)> = names.iter().map(|name| (name.as_str(), value)).collect();
        constants.push(("last", value));
        let mut nodes = nodes.clone();
        nodes.pop();
        nodes.push(("Mul", "x last", "y"));
        model(&nodes, &constants)
    };
    let ranges = found(&with_last(1.0), Some(&with_last(2.0)), &[]);
    assert_eq!((ranges.altered_count, ranges.altered.len()), (NAMED + 4, NAMED));
    assert!(ranges.cause().is_none());
}

/// The value of the largest magnitude is told, the first of those that are as large.
#[test]
fn the_largest_of_a_stored_tensor_is_the_first() {
    let node = crate::onnx::Node::default();
    let span = |values: &[f32]| {
        let stored = crate::gate::inside::samples_of_graphs::stored_floats("w", &[values.len() as i64], values);
        Item { tensor: "w", node: &node, stored: Some(&stored) }.span().unwrap()
    };
    let found = span(&[1.0, -7e4, 7e4, 6.5e4, f32::INFINITY, f32::NAN]);
    assert_eq!((found.largest, found.values), (-7e4, 6.0));
    assert_eq!((found.beyond, found.near), (2.0, 3.0));
    assert_eq!(span(&[0.5, -0.25]), Span { largest: 0.5, values: 2.0, ..Span::default() });
}

/// What is beyond the range becomes infinite with its sign: below zero it is cut here, above it reaches the output.
#[test]
fn an_infinity_keeps_its_sign() {
    let reaches = |w: f32| {
        let ranges = found(
            &model(&[("Mul", "one w", "a"), ("Relu", "a", "b"), ("Add", "x b", "y")], &[("one", 1.0), ("w", w)]),
            None,
            &[],
        );
        ranges.beyond.iter().find(|found| found.tensor == "w").unwrap().reaches_output
    };
    assert_eq!((reaches(-1e6), reaches(1e6)), (Some(false), Some(true)));
}

/// Large values are altered by a part of themselves, not by what a small one is.
#[test]
fn rounding_is_measured_by_the_value() {
    let stored =
        |values: &[f32]| crate::gate::inside::samples_of_graphs::stored_floats("w", &[values.len() as i64], values);
    let node = crate::onnx::Node::default();
    let is_altered = |own: f32, other: f32| {
        let (own, other) = (stored(&[own]), stored(&[other]));
        altered(&Item { tensor: "w", node: &node, stored: Some(&own) }, &[("w", &other)].into()).is_some()
    };
    assert!(!is_altered(1024.0, 1024.75) && is_altered(1024.0, 1025.25));
    assert!(!is_altered(-1024.0, -1024.75) && is_altered(-1024.0, -1025.25));
    assert!(!is_altered(0.0, 5e-8) && is_altered(0.0, 7e-8));
    assert!(!is_altered(f32::INFINITY, 1.0), "what was no number is no alteration");
}
