//! INT8 that was calibrated on other values than it is asked about says so.

use crate::context::{Context, report};
use crate::second_model::{Numbers, onnx};
use trtgate::internals::data::npy::NpyWriter;
use trtgate::internals::vocabulary::Status;

/// Samples of the small model, in 0 … `largest`.
fn samples(context: &Context, largest: f32) {
    let mut writer = NpyWriter::create(&context.path("calibration.npy"), &[1, 20, 24]).unwrap();
    let mut numbers = Numbers(3);
    for _ in 0..512 {
        let values: Vec<f32> = (0..480).map(|_| (numbers.next() + 1.0) / 2.0 * largest).collect();
        writer.push(&values).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_calibration_on_other_values_is_named_and_never_taken_for_an_order() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    std::fs::write(context.path("glyphs.onnx"), onnx()).unwrap();
    let init = context.run(&["init", "--onnx", "glyphs.onnx"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    let text = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    let named = text.replace("# data = \"calibration\" ", "data = \"calibration.npy\" ");
    assert_ne!(named, text);
    context.write("gate.toml", &named);
    for (largest, said) in [(0.02, true), (1.0, false)] {
        samples(&context, largest);
        let words = ["gate", "--runtime", "onnxruntime", "--precision", "int8", "--json", "report.json"];
        let run = context.run(&words);
        let cells = report(&context.path("report.json")).cells;
        assert_eq!(cells.len(), 4, "{}", run.shown());
        for cell in &cells {
            let reason = cell.reason.clone().unwrap_or_default();
            let expected = "it was calibrated on values from 0 to 0.02, and the probes' run from 0 to 1: what lies beyond is cut off";
            assert_eq!(reason.contains(expected), said, "{reason}");
            assert!(!reason.contains("permuted"), "{reason}");
            if said {
                assert_eq!(cell.status, Status::Fail);
                assert!(cell.hint.as_ref().unwrap().contains("`[calibration] data`"), "{:?}", cell.hint);
            }
        }
        assert!(!run.stdout.contains("permuted"), "{}", run.stdout);
    }
}
