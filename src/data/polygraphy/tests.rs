#![allow(clippy::unwrap_used, clippy::panic)]
use rstest::rstest;

use super::*;
use crate::tensor::Values;

/// Written by Polygraphy 0.53.6 itself: `tests/fixtures/polygraphy/README.md`.
const INPUTS: &[u8] = include_bytes!("../../../tests/fixtures/polygraphy/inputs.json");
const OUTPUTS: &[u8] = include_bytes!("../../../tests/fixtures/polygraphy/outputs.json");

fn results_of(bytes: &[u8]) -> Runner {
    let Document::Results(mut runners) = parse(bytes).unwrap() else { panic!("no results") };
    assert_eq!(runners.len(), 1);
    runners.pop().unwrap()
}

#[test]
fn what_polygraphy_wrote_is_read_in_its_own_types_and_order() {
    let Document::Inputs(runs) = parse(INPUTS).unwrap() else { panic!("no inputs") };
    let told: Vec<(&str, &[usize])> = runs[1].iter().map(|one| (one.name.as_str(), one.shape.as_slice())).collect();
    assert_eq!((runs.len(), told), (2, vec![("ids", &[2, 4][..]), ("mask", &[2, 4][..])]));
    assert_eq!(runs[0][0].values, Values::Int64(vec![5, 8, 9, 5, 0, 0, 1, 7]));
    let runner = results_of(OUTPUTS);
    assert!(runner.name.starts_with("onnxrt-runner-N0"), "{}", runner.name);
    let told: Vec<(&str, &[usize])> =
        runner.runs[0].iter().map(|one| (one.name.as_str(), one.shape.as_slice())).collect();
    assert_eq!((runner.runs.len(), told), (2, vec![("y", &[2, 3][..]), ("n", &[2][..])]));
    // The model sums its ids.
    assert_eq!(runner.runs[0][1].values, Values::Int64(vec![27, 8]));
}

#[test]
fn what_is_written_reads_as_the_same() {
    let Document::Inputs(runs) = parse(INPUTS).unwrap() else { panic!("no inputs") };
    let written = inputs_text(&runs).unwrap();
    assert_eq!(parse(written.as_bytes()).unwrap(), Document::Inputs(runs));
    let runner = results_of(OUTPUTS);
    let written = results_text(&runner, 0.5).unwrap();
    assert_eq!(results_of(written.as_bytes()), runner);
}

#[test]
fn a_folder_holds_a_run_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let Document::Inputs(runs) = parse(INPUTS).unwrap() else { panic!("no inputs") };
    for (index, run) in runs.iter().enumerate() {
        // As Polygraphy streams them: the arrays of one run, in no list.
        let text = inputs_text(std::slice::from_ref(run)).unwrap();
        let bare = text.trim().strip_prefix('[').unwrap().strip_suffix(']').unwrap();
        std::fs::write(folder.path().join(format!("{index:010}.json")), bare).unwrap();
    }
    assert_eq!(inputs(folder.path()).unwrap(), runs);
    assert!(results(folder.path()).unwrap_err().message.contains("holds inputs, not outputs"));
    std::fs::write(folder.path().join("9.json"), OUTPUTS).unwrap();
    assert!(inputs(folder.path()).unwrap_err().message.contains("holds outputs, not inputs"));
}

fn one(array: &str) -> String {
    format!(r#"[{{"x": {{"array": "{array}", "polygraphy_class": "ndarray"}}}}]"#)
}

fn of_bytes(bytes: &[u8]) -> String {
    one(&base64::encode(bytes))
}

#[rstest]
#[case::no_json("[{", "is no JSON of Polygraphy")]
#[case::a_number("3", "holds neither inputs nor outputs")]
#[case::no_runs("[3]", "run 0 is no map of arrays by name")]
#[case::no_array(r#"[{"x": 3}]"#, "run 0, `x`: is no array of Polygraphy")]
#[case::no_base64(&one("Zg="), "run 0, `x`: its array is no base64")]
#[case::no_npy(&of_bytes(b"no array"), "run 0, `x`: not an npy array")]
#[case::truncated(&of_bytes(&crate::data::npy::array("<f4", &[3], &[0; 8]).unwrap()), "run 0, `x`: truncated or damaged")]
#[case::huge(&of_bytes(&crate::data::npy::array("<f4", &[1 << 44], &[0; 8]).unwrap()), "run 0, `x`: truncated or damaged")]
#[case::more(&of_bytes(&crate::data::npy::array("<f4", &[1], &[0; 8]).unwrap()), "run 0, `x`: holds 4 bytes more than its shape [1]")]
#[case::torch(r#"[{"x": {"tensor": "UEs=", "polygraphy_class": "Tensor"}}]"#, "holds a tensor of PyTorch")]
#[case::wrapped_twice(r#"[{"x": {"values": {"values": {"array": ""}}}}]"#, "is no array of Polygraphy")]
#[case::no_runners(r#"{"lst": 3}"#, "`lst` is no list of runners")]
#[case::no_runner(r#"{"lst": [["a"]]}"#, "runner 0 is no name with its runs")]
#[case::no_outputs(r#"{"lst": [["a", [{"runtime": 1}]]]}"#, "runner `a`, run 0 has no outputs")]
fn what_is_no_such_file_is_told_with_its_place(#[case] text: &str, #[case] words: &str) {
    let error = parse(text.as_bytes()).unwrap_err();
    assert!(error.message.contains(words), "{error}");
    assert_eq!(error.kind, crate::ErrorKind::Input);
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    let array = base64::encode(&crate::data::npy::array("|u1", &[1], &[7]).unwrap());
    let text = format!(r#"{{"x": {{"array": "{array}"}}, "x": {{"array": "{array}"}}}}"#);
    assert_eq!(parse(text.as_bytes()).unwrap_err().message, "`x`: is there twice");
}

#[test]
fn outputs_of_several_runners_are_not_chosen_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.json");
    std::fs::write(&path, r#"{"lst": [["a", []], ["b", []]]}"#).unwrap();
    let error = results(&path).unwrap_err();
    assert!(error.to_string().contains("holds the outputs of 2 runners, one is expected: `a`, `b`"), "{error}");
}
