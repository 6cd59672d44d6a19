//! LiteRT against Python's interpreter, and its faults.

use std::fs;

use trtgate::internals::runtime::OpenRequest;
use trtgate::internals::runtime::padding::run_padded;
use trtgate::internals::tensor::{ElementType, Values};
use trtgate::internals::vocabulary::{ArtifactKind, Library};

use crate::drivers::{assert_close, damaged, fixture, npy, open, refusal, request, rows, samples};

fn model(name: &str, batch: usize) -> OpenRequest {
    request(Library::Litert, fixture(name), ArtifactKind::TfliteInt8, batch)
}

#[test]
fn answers_are_those_of_python() {
    for border in ["int8", "float"] {
        let mut session = open(&model(&format!("batch_4_{border}.tflite"), 4)).unwrap();
        let outputs = session.run(&samples().into()).unwrap();
        assert_eq!(outputs.len(), 1);
        assert_eq!((outputs[0].name.as_str(), outputs[0].element_type()), ("logits", ElementType::Float32));
        assert_close(&outputs[0], &format!("litert_batch_4_{border}.npy"));
    }
}

#[test]
fn one_sample_at_a_time_gives_the_same_answers() {
    for border in ["int8", "float"] {
        let mut session = open(&model(&format!("batch_1_{border}.tflite"), 1)).unwrap();
        let mut together = rows(&samples(), 0..0);
        together.shape = vec![4, 5];
        for row in 0..4 {
            together.values.extend(&session.run(&rows(&samples(), row..row + 1).into()).unwrap()[0].values).unwrap();
        }
        assert_close(&together, &format!("litert_batch_1_{border}.npy"));
    }
}

#[test]
fn the_signature_tells_the_true_types_and_the_static_batch() {
    let session = open(&model("batch_4_int8.tflite", 4)).unwrap();
    let signature = session.signature();
    assert_eq!(signature.inputs[0].name, "input_1");
    assert_eq!(signature.inputs[0].element_type, ElementType::Int8);
    assert_eq!(signature.inputs[0].shape, [Some(4), Some(8), Some(8), Some(3)]);
    assert_eq!(signature.outputs[0].element_type, ElementType::Int8);
}

#[test]
fn a_short_batch_is_padded_and_nothing_leaks() {
    let mut session = open(&model("batch_4_int8.tflite", 4)).unwrap();
    assert!(session.run(&rows(&samples(), 0..3).into()).unwrap_err().message.contains("has shape [3, 8, 8, 3]"));
    let whole = session.run(&samples().into()).unwrap();
    let part = run_padded(&rows(&samples(), 0..3).into(), 4, &mut |input| session.run(input)).unwrap();
    assert_eq!(part[0].shape, [3, 5]);
    assert_eq!(part[0].floats()[..], whole[0].floats()[..15]);
}

#[test]
fn layers_are_integer_throughout() {
    let layers = open(&model("batch_4_int8.tflite", 4)).unwrap().layers().unwrap().unwrap();
    let heavy: Vec<(&str, Option<&str>)> = layers
        .iter()
        .filter(|layer| layer.compute)
        .map(|layer| (layer.kind.as_str(), layer.precision.as_deref()))
        .collect();
    assert_eq!(
        heavy,
        [("CONV_2D", Some("int8")), ("CONV_2D", Some("int8")), ("FULLY_CONNECTED", Some("int8"))],
        "{layers:?}"
    );
}

#[test]
fn threads_and_builtin_kernels_give_close_answers() {
    let (_, expected) = npy("litert_batch_4_int8.npy");
    let mut request = model("batch_4_int8.tflite", 4);
    for (threads, optimize) in [(0, true), (2, true), (1, false)] {
        request.options.intra_threads = threads;
        request.options.optimize = optimize;
        let outputs = open(&request).unwrap().run(&samples().into()).unwrap();
        // Kernels may round one step apart; the output's step is 0.02.
        for (got, wanted) in outputs[0].floats().iter().zip(&expected) {
            assert!((got - wanted).abs() < 0.05, "{threads} threads, optimize {optimize}: {got} for {wanted}");
        }
    }
}

#[test]
fn the_batch_must_be_the_models() {
    let error = refusal(&model("batch_4_int8.tflite", 8));
    assert!(error.message.ends_with("is made for batch 4, not 8"), "{error}");
}

#[test]
fn wrong_inputs_are_refused() {
    let mut session = open(&model("batch_4_int8.tflite", 4)).unwrap();
    let mut bytes = samples();
    bytes.values = Values::Int8(vec![0; bytes.values.len()]);
    assert_eq!(session.run(&bytes.into()).unwrap_err().message, "`input_1` is int8, expected float32");
    let mut infinite = samples();
    infinite.values.as_mut::<f32>().unwrap()[7] = f32::NAN;
    assert_eq!(session.run(&infinite.into()).unwrap_err().message, "NaN cannot be quantised");
    assert_close(&session.run(&samples().into()).unwrap()[0], "litert_batch_4_int8.npy");
}

#[test]
fn an_unknown_output_names_those_that_are_there() {
    let mut request = model("batch_4_int8.tflite", 4);
    request.options.outputs = vec!["probabilities".to_owned()];
    assert_eq!(refusal(&request).hint.as_deref(), Some("its outputs are `logits`"));
}

#[test]
fn a_truncated_or_garbled_model_is_an_error() {
    let length = fs::read(fixture("batch_4_int8.tflite")).unwrap().len();
    for keep in (0..length).step_by(97).chain([1, 50, length - 1]) {
        let (_folder, file) = damaged("batch_4_int8.tflite", |bytes| bytes.truncate(keep));
        let error = refusal(&request(Library::Litert, file, ArtifactKind::TfliteInt8, 4));
        assert!(error.message.starts_with("LiteRT cannot load"), "{keep} bytes: {error}");
    }
    let (_folder, file) = damaged("batch_4_int8.tflite", |bytes| bytes.fill(0xff));
    assert!(refusal(&request(Library::Litert, file, ArtifactKind::TfliteInt8, 4)).message.contains("cannot load"));
    let missing = request(Library::Litert, fixture("absent.tflite"), ArtifactKind::TfliteInt8, 4);
    assert!(refusal(&missing).message.starts_with("cannot open"));
}

#[test]
fn an_unknown_release_is_unsupported() {
    let mut request = model("batch_4_int8.tflite", 4);
    request.installation.version = "2.1.4".to_owned();
    assert!(refusal(&request).message.starts_with("the C API of LiteRT 2.1.4 is not known"));
}
