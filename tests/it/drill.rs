//! `trtgate drill` on a small model: what is planted is caught, and what is not planted is not counted.

use crate::context::Context;
use crate::second_model::onnx;

/// A folder with the small model and the manifest that `init` writes for it.
fn small_model() -> Context {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    std::fs::write(context.path("glyphs.onnx"), onnx()).unwrap();
    let init = context.run(&["init", "--onnx", "glyphs.onnx"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    context
}

fn outcome(catches: &[serde_json::Value], fault: &str, precision: &str) -> serde_json::Value {
    let found = catches.iter().find(|catch| catch["fault"] == fault && catch["precision"] == precision);
    found.unwrap_or_else(|| panic!("no {fault} in {precision}: {catches:?}")).clone()
}

#[test]
fn what_is_planted_in_a_small_model_is_caught_and_named() {
    let context = small_model();
    let before = std::fs::read(context.path("glyphs.onnx")).unwrap();
    let mut words = vec!["drill", "--no-scan", "--json", "drill.json"];
    for fault in [
        "classes",
        "not-a-number",
        "scale",
        "fallback",
        "overflow",
        "slots",
        "stale-golden",
        "colours",
        "weights",
        "preprocessing",
    ] {
        words.extend(["--fault", fault]);
    }
    let run = context.run(&words);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(run.stdout.contains("PASS  "), "{}", run.shown());

    let text = std::fs::read(context.path("drill.json")).unwrap();
    let drill: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(drill["schema"], "trtgate.drill/v1");
    let catches = drill["catches"].as_array().unwrap();
    let by = |fault: &str, precision: &str| outcome(catches, fault, precision)["by"].to_string();
    let reason = |fault: &str, precision: &str| outcome(catches, fault, precision)["reason"].to_string();
    for precision in ["fp32", "fp16", "int8"] {
        assert!(reason("classes", precision).contains("are swapped"), "{}", run.shown());
        let reading = reason("preprocessing", precision);
        assert!(reading.contains("other preprocessing") && reading.contains("`range` [0.0, 0.5]"), "{}", run.shown());
    }
    assert!(reason("weights", "fp32").contains("does not store what the model does"), "{}", run.shown());
    assert!(reason("weights", "fp32").contains("by up to 1.00 % (1 of"), "{}", run.shown());
    assert!(by("scale", "int8").contains("scales"), "{}", run.shown());
    assert!(by("fallback", "fp16").contains("precision-proof"), "{}", run.shown());
    assert!(by("fallback", "int8").contains("precision-proof"), "{}", run.shown());
    assert!(by("slots", "fp32").contains("batch-invariance"), "{}", run.shown());
    assert!(reason("overflow", "fp16").contains("not finite"), "{}", run.shown());
    assert_eq!(outcome(catches, "stale-golden", "fp32")["outcome"], "caught");
    // One channel has no colours to swap: not planted, and not caught.
    assert!(run.stdout.contains("not planted: the input has no three colours"), "{}", run.shown());

    // Nothing of the project's own was touched.
    assert_eq!(std::fs::read(context.path("glyphs.onnx")).unwrap(), before);
    assert!(!context.path("snapshots").exists(), "the drill's golden is its own");
}

#[test]
fn a_name_that_is_no_fault_is_refused_with_the_names_there_are() {
    let run = small_model().run(&["drill", "--fault", "gremlins"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("`gremlins` is not a fault of the drill"), "{}", run.shown());
    assert!(run.stderr.contains("stale-golden"), "{}", run.shown());
}

#[test]
fn a_model_that_does_not_pass_by_itself_is_not_drilled() {
    // The worker answers with a value that is not a number.
    let context = small_model().with("TRTGATE_TEST_FAULT", "nan@run");
    let run = context.run(&["drill", "--fault", "classes", "--no-scan"]);
    assert_eq!(run.code, 3, "{}", run.shown());
}

/// What is planted in a model of several outputs is caught, behind each output of its task.
#[test]
fn what_is_planted_behind_outputs_of_every_task_is_caught() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    crate::tasks::model(context.folder.path());
    std::fs::write(context.path("gate.toml"), crate::tasks::MANIFEST).unwrap();
    let mut words = vec!["drill", "--no-scan", "--json", "drill.json"];
    let planted = [
        "weights",
        "classes",
        "turn",
        "shift",
        "token",
        "outputs",
        "fallback",
        "slots",
        "state",
        "stale-golden",
        "not-a-number",
        "mask",
    ];
    for fault in planted {
        words.extend(["--fault", fault]);
    }
    let run = context.run(&words);
    assert_eq!(run.code, 0, "{}", run.shown());
    let drill: serde_json::Value = serde_json::from_slice(&std::fs::read(context.path("drill.json")).unwrap()).unwrap();
    let catches = drill["catches"].as_array().unwrap();
    let caught = |fault: &str, place: &str, precision: &str| {
        catches.iter().any(|catch| {
            catch["fault"] == fault
                && catch["precision"] == precision
                && catch["place"].as_str().unwrap().contains(place)
                && catch["outcome"] == "caught"
        })
    };
    for precision in ["fp32", "fp16"] {
        for output in ["class", "tags", "mask", "steps"] {
            assert!(caught("classes", &format!("`{output}`"), precision), "{output}: {}", run.shown());
        }
        assert!(caught("turn", "`vector`", precision) && caught("shift", "`boxes`", precision), "{}", run.shown());
        assert!(caught("token", "`words`", precision), "{}", run.shown());
    }
    for (fault, precision) in [("weights", "fp32"), ("fallback", "fp16"), ("slots", "fp32"), ("state", "fp32")] {
        assert!(caught(fault, "", precision), "{fault}: {}", run.shown());
    }
    assert_eq!(outcome(catches, "stale-golden", "fp32")["outcome"], "caught");
    // Nothing of it is a mask, and no two outputs are alike.
    assert!(run.stdout.contains("not planted: no input is fed as a mask"), "{}", run.shown());
    assert!(!context.path("snapshots").exists(), "the drill's golden is its own");
}
