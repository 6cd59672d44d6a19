#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use prost::Message as _;
use rstest::rstest;

use super::*;
use crate::error::ErrorKind;
use crate::onnx::samples;
use crate::worker::fake::Fakes;

fn spec(name: &str, element_type: ElementType, shape: &[Option<usize>]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), element_type, shape: shape.to_vec() }
}

fn floats(name: &str, shape: &[Option<usize>]) -> TensorSpec {
    spec(name, ElementType::Float32, shape)
}

fn looked(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>, model: Model) -> Looked {
    let source = ModelSource::Onnx { path: "m.onnx".into() };
    Looked { source, model: Arc::new(model), signature: Signature { inputs, outputs }, sha256: "ab".to_owned() }
}

/// A model of one input and these outputs, computed by these nodes.
fn inspected(outputs: &[TensorSpec], nodes: &[(&str, &str, &str)]) -> Inspected {
    let nodes = nodes.iter().map(|(operator, input, output)| samples::node(operator, input, output)).collect();
    let values = outputs.iter().map(|output| samples::value(&output.name, Some(1))).collect();
    let model = samples::model(samples::graph(vec![samples::value("x", Some(1))], nodes, values));
    Inspected::of(looked(vec![floats("x", &[None, Some(4)])], outputs.to_vec(), model)).unwrap()
}

#[rstest]
#[case::exact(&[0.25, 0.75], true)]
#[case::rounded(&[0.333, 0.333, 0.3335], true)]
#[case::one_hot(&[0.0, 1.0, 0.0], true)]
#[case::below(&[0.2, 0.7], false)]
#[case::above(&[0.6, 0.6], false)]
#[case::negative(&[-0.5, 0.75, 0.75], false)]
#[case::beyond_one(&[1.5, -0.5], false)]
#[case::no_number(&[f32::NAN, 1.0], false)]
fn probabilities_lie_between_0_and_1_and_sum_to_1(#[case] row: &[f32], #[case] expected: bool) {
    assert_eq!(are_probabilities(row), expected);
}

/// `[input]` feeds floats of single precision to one input; everything else is named, with where it is gated.
#[test]
fn a_model_of_one_float_input_can_be_described() {
    let of = |inputs: &[TensorSpec]| Inspected::of(looked(inputs.to_vec(), Vec::new(), Model::default()));
    let found = of(&[floats("x", &[None, Some(4)])]).unwrap();
    assert_eq!((found.input, found.sha256.as_str()), (floats("x", &[None, Some(4)]), "ab"));
    let told = |inputs: &[TensorSpec]| {
        let error = of(inputs).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        (error.message, error.hint.unwrap())
    };
    let (message, hint) = told(&[floats("a", &[None]), floats("b", &[None])]);
    assert_eq!(message, "the model has 2 inputs: `a`, `b`");
    assert!(hint.contains("gate models of several inputs"), "{hint}");
    assert_eq!(told(&[]).0, "the model has 0 inputs: ");
    for (element_type, message, words) in [
        (ElementType::String, "input `x` takes texts", "takes numbers"),
        (ElementType::Float16, "input `x` is float16, and `[input]` feeds float32", "any element type"),
        (ElementType::Bfloat16, "input `x` is bfloat16, and `[input]` feeds float32", "any element type"),
        (ElementType::Float64, "input `x` is float64, and `[input]` feeds float32", "any element type"),
        (ElementType::Uint8, "input `x` is uint8, and `[input]` feeds float32", "whole numbers"),
    ] {
        let (found, hint) = told(&[spec("x", element_type, &[None, Some(4)])]);
        assert_eq!(found, message);
        assert!(hint.contains(words), "{hint}");
    }
}

/// Classes are the last of two dimensions, of floats.
#[test]
fn classes_are_the_columns_of_scores() {
    let model = inspected(&[], &[]);
    let classes = |element_type: ElementType, shape: &[Option<usize>]| {
        let found = model.classes(&spec("y", element_type, shape));
        found.map_err(|error| (error.message, error.hint.unwrap_or_default()))
    };
    for element_type in [ElementType::Float32, ElementType::Float16, ElementType::Float64] {
        assert_eq!(classes(element_type, &[None, Some(2)]), Ok(2));
    }
    assert_eq!(classes(ElementType::Float32, &[Some(8), Some(1000)]), Ok(1000));
    let message = |element_type: ElementType, shape: &[Option<usize>]| classes(element_type, shape).unwrap_err().0;
    assert_eq!(
        message(ElementType::Int64, &[None, Some(2)]),
        "output `y` is int64, and a classifier's scores are floats"
    );
    let one = "output `y` is one value a sample";
    assert_eq!(message(ElementType::Float32, &[None]), one);
    assert_eq!(message(ElementType::Float32, &[None, Some(1)]), one);
    assert!(classes(ElementType::Float32, &[None]).unwrap_err().1.contains("`task = \"scores\"`"));
    assert_eq!(message(ElementType::Float32, &[None, None]), "output `y` has an open number of classes");
    assert!(classes(ElementType::Float32, &[None, None]).unwrap_err().1.contains("the number of classes fixed"));
    let shape = "output `y` has shape [N, 3, 4], and a classifier's is [N, classes]";
    assert_eq!(message(ElementType::Float32, &[None, Some(3), Some(4)]), shape);
    assert_eq!(message(ElementType::Float32, &[]), "output `y` has shape [], and a classifier's is [N, classes]");
}

#[test]
fn the_output_that_can_be_gated_is_chosen() {
    let (scores, other) = (floats("scores", &[None, Some(3)]), floats("other", &[None, Some(5)]));
    let boxes = floats("boxes", &[None, Some(9), Some(4)]);
    let one = inspected(std::slice::from_ref(&boxes), &[]);
    assert_eq!(one.choose_output(None).unwrap(), (&boxes, None), "there is no choice");
    let two = inspected(&[boxes.clone(), scores.clone()], &[]);
    let (chosen, told) = two.choose_output(None).unwrap();
    assert_eq!(chosen, &scores);
    assert_eq!(told.unwrap(), "gates `scores`, not `boxes` [N, 9, 4]: `--output NAME` chooses another");
    assert_eq!(two.choose_output(Some("boxes")).unwrap(), (&boxes, None));
    let error = two.choose_output(Some("absent")).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Usage, "the model has no output `absent`"));
    assert_eq!(error.hint.as_deref(), Some("it has `boxes` [N, 9, 4], `scores` [N, 3]"));
    let open = inspected(&[scores.clone(), other.clone(), boxes.clone()], &[]).choose_output(None).unwrap_err();
    assert_eq!((open.kind, open.message.as_str()), (ErrorKind::Usage, "the model has 2 outputs that can be gated"));
    assert_eq!(open.hint.as_deref(), Some("choose one with `--output`: `scores` [N, 3], `other` [N, 5]"));
    let none =
        inspected(&[boxes.clone(), floats("map", &[None, Some(2), Some(2)])], &[]).choose_output(None).unwrap_err();
    assert_eq!(none.kind, ErrorKind::Unsupported);
    assert!(none.message.ends_with("[N, classes]: `boxes` [N, 9, 4], `map` [N, 2, 2]"), "{none}");
}

/// Where all others are the softmax of one output, that one is gated.
#[test]
fn the_output_behind_a_softmax_is_chosen() {
    let outputs = ["logits", "again", "shares"].map(|name| floats(name, &[None, Some(3)]));
    let nodes = [("MatMul", "x w", "logits"), ("Softmax", "logits", "shares"), ("Softmax", "logits", "again")];
    let model = inspected(&outputs, &nodes);
    let (chosen, told) = model.choose_output(None).unwrap();
    assert_eq!(chosen.name, "logits");
    let words = "gates `logits`, which the others are made from, not `again` [N, 3], `shares` [N, 3]";
    assert!(told.as_ref().unwrap().starts_with(words), "{told:?}");
    // A softmax of something else leaves it open.
    let nodes = [("MatMul", "x w", "logits"), ("Softmax", "logits", "shares"), ("Softmax", "x", "again")];
    assert_eq!(inspected(&outputs, &nodes).choose_output(None).unwrap_err().kind, ErrorKind::Usage);
}

/// A graph that ends in a softmax gives probabilities, one that ends in sums gives logits; neither is run to see.
#[test]
fn the_end_of_a_graph_tells_what_its_values_are() {
    let output = floats("y", &[None, Some(3)]);
    let fakes = Fakes::of(|_| Err(Error::failed("nobody")), |_| crate::worker::fake::Step::Serve);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().join("store"))).unwrap().installing(false);
    let program = fakes.program();
    let means = Means { program: &program, store: &store, progress: &crate::progress::Quiet };
    let kind = |nodes: &[(&str, &str, &str)]| {
        let model = inspected(std::slice::from_ref(&output), nodes);
        model.kind(&output, &[4], &means)
    };
    let softmax = kind(&[("MatMul", "x w", "l"), ("Softmax", "l", "y")]);
    assert_eq!(softmax, FoundKind { kind: OutputKind::Probabilities, certain: true, why: "is a softmax".to_owned() });
    let open = kind(&[("MatMul", "x w", "y")]);
    assert_eq!(open, FoundKind { kind: OutputKind::Logits, certain: true, why: "ends in `MatMul`".to_owned() });
    assert_eq!(fakes.started(), 0);
}

#[test]
fn a_graph_that_scales_bytes_itself_is_told_from_one_that_does_not() {
    let output = floats("y", &[None, Some(4)]);
    let scaling = |scale: f32| {
        let mut model = inspected(std::slice::from_ref(&output), &[("Div", "x scale", "y")]);
        let stored = crate::gate::inside::samples_of_graphs::stored_floats("scale", &[], &[scale]);
        Arc::make_mut(&mut model.model).graph.as_mut().unwrap().initializer.push(stored);
        model
    };
    assert!(scaling(255.0).scales_bytes() && !scaling(2.0).scales_bytes());
    let tflite = Inspected { source: ModelSource::Tflite { path: "m.tflite".into() }, ..scaling(255.0) };
    assert!(!tflite.scales_bytes());
}

/// A model is read into the store, with what its own file declares; what is none is named as it was given.
#[test]
fn a_model_is_looked_at_from_its_file() {
    use crate::runtime::tensorrt::test_model::{Form, classifier};
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().join("store"))).unwrap();
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, classifier(Form::Float, None)).unwrap();
    let named = ModelSource::Onnx { path: path.clone() };
    let found = look(&named, &store).unwrap();
    assert_eq!(found.sha256, crate::digest::digest_file(&path).unwrap());
    assert!(found.source.path().starts_with(store.root()) && found.source.path() != path);
    assert_eq!(found.signature, onnx::signature(&onnx::read(&path).unwrap()));
    assert_eq!(found.model.encode_to_vec(), onnx::read(&path).unwrap().encode_to_vec());
    assert!(!found.signature.inputs.is_empty());
    for bytes in [&b"no model"[..], b""] {
        std::fs::write(&path, bytes).unwrap();
        let error = look(&named, &store).unwrap_err();
        assert!(error.to_string().contains("m.onnx"), "{error}");
    }
    let absent = folder.path().join("absent");
    for source in [
        ModelSource::SavedModel { path: absent.clone(), signature: "serving_default".to_owned() },
        ModelSource::Tflite { path: absent },
    ] {
        let error = look(&source, &store).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }
}

/// Made-up samples are run in the batch that the session has, and every answer has to be a set of probabilities.
#[test]
fn what_comes_out_for_made_up_samples_tells_probabilities() {
    use crate::worker::fake::{FakeSession, Step};
    let classes = inspected(&[floats("y", &[None, Some(2)])], &[("Conv", "x", "y")]);
    let installation = Installation::plain("onnxruntime".parse().unwrap(), "1.23", "lib.so");
    let options = SessionOptions { outputs: vec!["y".to_owned()], ..SessionOptions::default() };
    let request = opening(installation.clone(), &classes.source, SAMPLES, options);
    let sums = |fixed: Option<usize>, last: [f32; 2]| {
        let open = move |request: &OpenRequest| -> crate::error::Result<Box<dyn crate::runtime::Session>> {
            assert_eq!((request.batch, request.options.outputs.as_slice()), (SAMPLES, &["y".to_owned()][..]));
            let session = FakeSession::new(("x", &[4]), ("y", 2), None, move |input| {
                assert!(input.shape == [fixed.unwrap_or(SAMPLES), 4] && input.name == "x", "{:?}", input.shape);
                let mut rows = [0.25, 0.75].repeat(input.batch() - 1);
                rows.extend(last);
                Ok(vec![crate::tensor::Tensor::float32("y", vec![input.batch(), 2], rows)?])
            });
            Ok(Box::new(match fixed {
                Some(batch) => session.of_batch(batch),
                None => session,
            }))
        };
        let fakes = Fakes::of(open, |_| Step::Serve);
        let found = classes.all_sum_to_one(&request, &[4], &fakes.program());
        assert_eq!(fakes.alive(), 0);
        found
    };
    assert_eq!(sums(None, [0.5, 0.5]), Ok(true));
    assert_eq!(sums(None, [0.5, 0.75]), Ok(false));
    assert_eq!(sums(Some(3), [0.0, 1.0]), Ok(true));
    assert_eq!(sums(Some(3), [2.0, 1.0]), Ok(false));
    // A SavedModel is opened at its signature.
    let source = ModelSource::SavedModel { path: "m".into(), signature: "other".to_owned() };
    let opened = opening(installation, &source, 2, SessionOptions::default());
    assert_eq!((opened.options.signature.as_str(), opened.batch, opened.kind), ("other", 2, source.kind()));
    assert_eq!((opened.artifact.as_path(), opened.precision), (source.path(), Precision::Fp32));
}
