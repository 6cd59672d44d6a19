#![allow(clippy::unwrap_used)]
use prost::Message as _;
use rstest::rstest;

use super::*;
use crate::data::{arrays, npy, zip};
use crate::manifest::interface::ValueSource;
use crate::onnx::TensorData;
use crate::tensor::{ElementType, Values};

fn input(name: &str, element_type: ElementType, sample: &[usize], axis: BatchAxis) -> BorderInput {
    let values = ValueSource::Constant(0.0);
    let plan = InputPlan {
        name: name.to_owned(),
        element_type,
        sample: sample.to_vec(),
        shared: false,
        values,
        padding: None,
    };
    BorderInput { plan, axis }
}

fn output(name: &str, axis: BatchAxis, read: bool) -> BorderOutput {
    BorderOutput { name: name.to_owned(), axis, read }
}

/// `ids [N, 2]` and a state `[3, N]` beside a rate; of two outputs the second is looked at.
fn border() -> Border {
    let mut rate = input("rate", ElementType::Int64, &[], BatchAxis::At(0));
    rate.plan.shared = true;
    Border {
        inputs: vec![
            input("ids", ElementType::Int64, &[2], BatchAxis::At(0)),
            input("state", ElementType::Float32, &[3], BatchAxis::At(1)),
            rate,
        ],
        outputs: vec![output("unread", BatchAxis::At(0), false), output("y", BatchAxis::At(1), true)],
    }
}

fn ids(rows: usize, first: i64) -> Tensor {
    Tensor::new("ids", vec![rows, 2], Values::Int64((first..).take(2 * rows).collect())).unwrap()
}

/// `[3, rows]`: sample `n` holds `first + n` in its three places, plus 0, 10 and 20.
fn state(rows: usize, first: f32) -> Tensor {
    let values = (0..3).flat_map(|place| (0..rows).map(move |row| first + row as f32 + 10.0 * place as f32)).collect();
    Tensor::float32("state", vec![3, rows], values).unwrap()
}

fn rate(value: i64) -> Tensor {
    Tensor::new("rate", vec![], Values::Int64(vec![value])).unwrap()
}

fn y(rows: usize, first: f32) -> Tensor {
    Tensor { name: "y".to_owned(), ..state(rows, first) }
}

fn set(folder: &Path, number: usize, inputs: &[Tensor], outputs: &[(usize, Tensor)]) {
    let folder = folder.join(format!("test_data_set_{number}"));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |role: &str, index: usize, tensor: &Tensor| {
        let data_type = if tensor.element_type() == ElementType::Int64 { 7 } else { 1 };
        let raw = prost::bytes::Bytes::from(tensor.values.encode());
        let dims = tensor.shape.iter().map(|&size| size as i64).collect();
        let data = TensorData { dims, data_type, raw_data: Some(raw), ..TensorData::default() };
        std::fs::write(folder.join(format!("{role}_{index}.pb")), data.encode_to_vec()).unwrap();
    };
    inputs.iter().enumerate().for_each(|(index, tensor)| write("input", index, tensor));
    outputs.iter().for_each(|(index, tensor)| write("output", *index, tensor));
}

fn archive(folder: &Path, tensors: &[Tensor]) -> std::path::PathBuf {
    let arrays: Vec<(String, Vec<u8>)> =
        tensors.iter().map(|tensor| (format!("{}.npy", tensor.name), arrays::encode(tensor).unwrap())).collect();
    let members: Vec<(&str, &[u8])> = arrays.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let path = folder.join("samples.npz");
    std::fs::write(&path, zip::pack(&members).unwrap()).unwrap();
    path
}

/// Five samples, as every form gives them.
fn whole() -> (Feeds, Vec<Vec<Tensor>>) {
    let state = |rows: usize| state(rows, 0.0).samples_first(BatchAxis::At(1)).unwrap();
    let feeds = Feeds::new(vec![ids(5, 0), state(5)], vec![rate(16)]).unwrap();
    let answers = Tensor { name: "y".to_owned(), ..state(5) }.to_samples().unwrap();
    (feeds, vec![answers])
}

#[test]
fn every_form_gives_the_same_samples_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (feeds, expected) = whole();
    // Two runs of the model, of two and three samples.
    let runs = [vec![ids(2, 0), state(2, 0.0), rate(16)], vec![ids(3, 4), state(3, 2.0), rate(16)]];
    let answers = [y(2, 0.0), y(3, 2.0)];
    let sets = folder.path().join("sets");
    for (number, (run, answer)) in runs.iter().zip(&answers).enumerate() {
        set(&sets, number, run, &[(1, answer.clone())]);
    }
    let (inputs, outputs) = (folder.path().join("in.json"), folder.path().join("out.json"));
    std::fs::write(&inputs, polygraphy::inputs_text(&runs).unwrap()).unwrap();
    let runner =
        polygraphy::Runner { name: "r".to_owned(), runs: answers.iter().map(|one| vec![one.clone()]).collect() };
    std::fs::write(&outputs, polygraphy::results_text(&runner, 0.1).unwrap()).unwrap();
    let rows = |tensor: Tensor| tensor.samples_first(BatchAxis::At(1)).unwrap();
    let npz = archive(folder.path(), &[ids(5, 0), rows(state(5, 0.0)), rate(16), rows(y(5, 0.0))]);
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for tensor in [ids(5, 0), rows(state(5, 0.0)), rate(16), rows(y(5, 0.0))] {
        std::fs::write(files.join(format!("{}.npy", tensor.name)), arrays::encode(&tensor).unwrap()).unwrap();
    }
    for (path, beside) in [(&sets, None), (&inputs, Some(outputs.as_path())), (&npz, None), (&files, None)] {
        let found = read(path, beside, &border()).unwrap();
        assert_eq!((&found.feeds, &found.expected), (&feeds, &expected), "{}", path.display());
        assert_eq!(found.notes, Vec::<String>::new());
    }
    // Without answers there are none.
    assert_eq!(read(&inputs, None, &border()).unwrap().expected, Vec::<Vec<Tensor>>::new());
    let error = read(&npz, Some(&outputs), &border()).unwrap_err();
    assert!(error.message.contains("holds expected answers, and"), "{error}");
}

#[test]
fn what_has_no_batch_is_a_sample_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let border = Border {
        inputs: vec![input("x", ElementType::Float32, &[2], BatchAxis::None)],
        outputs: vec![output("kept", BatchAxis::None, true)],
    };
    let x = |value: f32| Tensor::float32("x", vec![2], vec![value, 1.0]).unwrap();
    let kept = |count: usize| Tensor::float32("kept", vec![count], vec![1.0; count]).unwrap();
    set(folder.path(), 0, &[x(0.0)], &[(0, kept(1))]);
    set(folder.path(), 1, &[x(5.0)], &[(0, kept(4))]);
    let found = read(folder.path(), None, &border).unwrap();
    assert_eq!(found.feeds.get("x").unwrap().shape, [2, 2]);
    let lengths: Vec<usize> = found.expected[0].iter().map(|part| part.values.len()).collect();
    assert_eq!(lengths, [1, 4]);
}

#[rstest]
#[case::no_input(vec![ids(2, 0), state(2, 0.0)], vec![], "there is no `input_2.pb`")]
#[case::another_type(vec![Tensor::float32("ids", vec![2, 2], vec![0.0; 4]).unwrap(), state(2, 0.0), rate(1)], vec![], "`ids`: holds float32, the model takes int64")]
#[case::another_shape(vec![ids(2, 0), Tensor::float32("state", vec![4, 2], vec![0.0; 8]).unwrap(), rate(1)], vec![], "`state`: has shape [2, 4], expected [N, 3]")]
#[case::no_batch(vec![ids(2, 0), Tensor::float32("state", vec![3], vec![0.0; 3]).unwrap(), rate(1)], vec![], "`state`: ")]
#[case::another_batch(vec![ids(2, 0), state(3, 0.0), rate(1)], vec![], "`ids` holds 2 samples, `state`")]
#[case::not_a_number(vec![ids(2, 0), state(2, f32::NAN), rate(1)], vec![], "`state`: value 0 of sample 0 is not a number")]
#[case::answers_of_another_output(vec![ids(2, 0), state(2, 0.0), rate(1)], vec![(0, y(2, 0.0))], "`y`: there are expected answers, and none of this output")]
#[case::answers_to_others(vec![ids(2, 0), state(2, 0.0), rate(1)], vec![(1, y(3, 0.0))], "`y`: has answers to 3 samples, and there are 2")]
fn what_does_not_fit_is_told_with_its_place(
    #[case] inputs: Vec<Tensor>,
    #[case] outputs: Vec<(usize, Tensor)>,
    #[case] words: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path(), 0, &inputs, &outputs);
    let error = read(folder.path(), None, &border()).unwrap_err();
    assert!(error.message.contains(words) && error.message.contains("test_data_set_0"), "{error}");
}

#[test]
fn sets_say_all_what_they_expect_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let run = [ids(2, 0), state(2, 0.0), rate(16)];
    set(folder.path(), 0, &run, &[(1, y(2, 0.0))]);
    set(folder.path(), 1, &run, &[]);
    let error = read(folder.path(), None, &border()).unwrap_err();
    assert!(error.message.contains("1 of 2 data sets"), "{error}");
    set(folder.path(), 1, &[ids(2, 0), state(2, 0.0), rate(8)], &[(1, y(2, 0.0))]);
    let error = read(folder.path(), None, &border()).unwrap_err();
    assert!(error.message.contains("`rate` is the same for every sample, and other than in the run before"), "{error}");
}

#[test]
fn arrays_that_nobody_asks_for_are_noted_and_damaged_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    let rows = state(2, 0.0).samples_first(BatchAxis::At(1)).unwrap();
    let extra = Tensor::float32("idss", vec![2], vec![0.0; 2]).unwrap();
    let path = archive(folder.path(), &[ids(2, 0), rows.clone(), rate(1), extra]);
    let found = read(&path, None, &border()).unwrap();
    assert!(found.expected.is_empty() && found.notes[0].ends_with("`idss`"), "{:?}", found.notes);
    let truncated = npy::array("<i8", &[2, 2], &[0; 8]).unwrap();
    std::fs::write(&path, zip::pack(&[("ids.npy", &truncated)]).unwrap()).unwrap();
    assert!(read(&path, None, &border()).unwrap_err().message.contains("samples.npz`, `ids`: truncated or damaged"));
    std::fs::write(&path, zip::pack(&[("idx.npy", &truncated)]).unwrap()).unwrap();
    assert!(read(&path, None, &border()).unwrap_err().message.contains("`ids`: there is no such array, only idx"));
    let one = folder.path().join("ids.npy");
    std::fs::write(&one, &truncated).unwrap();
    assert!(read(&one, None, &border()).unwrap_err().message.contains("holds one array, and the model has 3 inputs"));
    let nothing = read(&folder.path().join("gone"), None, &border()).unwrap_err();
    assert!(nothing.message.ends_with("is not there") && nothing.hint.is_some(), "{nothing}");
}

#[test]
fn few_samples_are_taken_again_and_many_spread() {
    assert_eq!(spread(10, 4, 1), [0, 2, 5, 7]);
    assert_eq!(spread(3, 64, 8), [0, 1, 2, 0, 1, 2, 0, 1]);
    assert_eq!(spread(3, 2, 1), [0, 1]);
    assert_eq!(spread(0, 4, 8), [0_usize; 0]);
}
