#![allow(clippy::unwrap_used)]
use super::*;
use crate::tensor::{ElementType, TensorSpec, Values};

fn spec(name: &str, shape: &[Option<usize>]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), element_type: ElementType::Float32, shape: shape.to_vec() }
}

fn scouted(inputs: &[TensorSpec], run: &mut Run<'_>) -> Result<Scouted> {
    let signature = Signature { inputs: inputs.to_vec(), outputs: Vec::new() };
    let values = vec![ValueSource::Uniform([0.5, 1.0]); inputs.len()];
    look(&Model::default(), &signature, &values, &[], &|| false, run)
}

fn output(name: &str, shape: &[usize], value: impl Fn(usize) -> f32) -> Tensor {
    let count = shape.iter().product();
    Tensor::new(name, shape.to_vec(), Values::Float32((0..count).map(value).collect())).unwrap()
}

/// Samples as the model itself gets them.
fn fed(feeds: &Feeds, axes: &BatchAxes) -> Vec<Tensor> {
    axes.lay_out(feeds).unwrap().tensors().cloned().collect()
}

#[test]
fn the_size_that_runs_is_found_and_the_batch_of_outputs_too() {
    let mut run = |feeds: &Feeds, axes: &BatchAxes| {
        let x = fed(feeds, axes).remove(0);
        let [batch, 3, height, width] = x.shape[..] else { return Err(Error::failed("rank")) };
        if height != 48 {
            return Err(Error::failed("only lines of 48"));
        }
        let row = x.row_len();
        let first: Vec<f32> = (0..batch).map(|sample| x.floats()[sample * row]).collect();
        // Steps first, then the batch.
        Ok(vec![output("y", &[width / 8, batch, 2], |index| first[index / 2 % batch])])
    };
    let found = scouted(&[spec("x", &[None, Some(3), None, None])], &mut run).unwrap();
    assert_eq!(found.samples, [[3, 48, 48]]);
    assert_eq!((found.outputs.as_slice(), found.fixed), (&[BatchAxis::At(1)][..], None));
    assert_eq!(found.names, [[None, Some("x-2".to_owned()), Some("x-3".to_owned())]]);
    assert_eq!(readable("p2o.Dimension.1"), "p2o_Dimension_1");
    assert_eq!(readable("2 * h"), "size_2___h");
    assert!(!found.one_by_one());
}

/// A dimension whose places depend on each other is no batch, whatever the outputs' shapes.
#[test]
fn a_sequence_is_no_batch() {
    let mut run = |feeds: &Feeds, axes: &BatchAxes| {
        let x = fed(feeds, axes).remove(0);
        let steps = x.shape[0];
        let sums: Vec<f32> = x.floats().chunks(4).map(|chunk| chunk.iter().sum()).collect();
        Ok(vec![output("y", &[steps], |step| sums[..=step].iter().sum())])
    };
    let found = scouted(&[spec("x", &[None, Some(4)])], &mut run).unwrap();
    assert_eq!(
        (found.inputs.as_slice(), found.outputs.as_slice()),
        (&[Some(BatchAxis::None)][..], &[BatchAxis::None][..])
    );
    assert!(found.one_by_one() && found.told[0].contains("that dimension is no batch"), "{:?}", found.told);
}

#[test]
fn a_state_has_its_batch_further_in_and_a_scalar_none() {
    let mut run = |feeds: &Feeds, axes: &BatchAxes| {
        let tensors = fed(feeds, axes);
        let shape = |name: &str| tensors.iter().find(|tensor| tensor.name == name).unwrap().shape.clone();
        let (x, state) = (shape("x"), shape("state"));
        assert!(shape("rate").is_empty());
        if state[1] != x[0] {
            return Err(Error::failed("another batch"));
        }
        Ok(vec![output("y", &[x[0], 1], |_| 1.0), output("next", &[2, x[0], 8], |_| 2.0), output("n", &[], |_| 3.0)])
    };
    let inputs = [spec("x", &[None, Some(4)]), spec("state", &[Some(2), None, Some(8)]), spec("rate", &[])];
    let found = scouted(&inputs, &mut run).unwrap();
    assert_eq!(found.inputs, [Some(BatchAxis::At(0)), Some(BatchAxis::At(1)), None]);
    assert_eq!(found.outputs, [BatchAxis::At(0), BatchAxis::At(1), BatchAxis::None]);
}

#[test]
fn a_fixed_batch_is_the_outputs_where_they_have_it() {
    let mut run = |feeds: &Feeds, _: &BatchAxes| Ok(vec![output("y", &[feeds.batch(), 2], |_| 1.0)]);
    let found = scouted(&[spec("x", &[Some(4), Some(3)])], &mut run).unwrap();
    assert_eq!((found.fixed, found.outputs.as_slice()), (Some(4), &[BatchAxis::At(0)][..]));
    // Without rows, each sample is the model's whole input.
    let mut run = |_: &Feeds, _: &BatchAxes| Ok(vec![output("y", &[7], |_| 1.0)]);
    let found = scouted(&[spec("x", &[Some(4), Some(3)])], &mut run).unwrap();
    assert_eq!((found.samples, found.outputs.as_slice()), (vec![vec![4, 3]], &[BatchAxis::None][..]));
}

/// Answers of nothing but zeros are alike, and the dimension that grows is the batch.
#[test]
fn zeros_are_answers() {
    let mut run = |feeds: &Feeds, _: &BatchAxes| Ok(vec![output("y", &[feeds.batch(), 2], |_| 0.0)]);
    let found = scouted(&[spec("x", &[None, Some(3)])], &mut run).unwrap();
    assert_eq!((found.outputs.as_slice(), found.told.len()), (&[BatchAxis::At(0)][..], 0), "{:?}", found.told);
}

#[test]
fn empty_answers_and_refusals_are_none() {
    let mut run = |_: &Feeds, _: &BatchAxes| Ok(vec![output("y", &[0], |_| 1.0)]);
    let error = scouted(&[spec("x", &[None, Some(3)])], &mut run).unwrap_err();
    assert_eq!(error.message, "the model's outputs are empty");
    let mut run = |_: &Feeds, _: &BatchAxes| Ok(vec![output("y", &[1, 2], |_| f32::NAN)]);
    assert!(scouted(&[spec("x", &[None, Some(3)])], &mut run).is_err());
}

/// Time that is over ends the search, whatever is left to try, and says what the runtime said first.
#[test]
fn the_search_ends_when_its_time_is_over() {
    let signature = Signature { inputs: vec![spec("x", &[None, Some(3), None, None])], outputs: Vec::new() };
    let asked = std::cell::Cell::new(0);
    let over = || asked.replace(asked.get() + 1) >= 3;
    let mut runs = 0;
    let mut run = |_: &Feeds, _: &BatchAxes| {
        runs += 1;
        Err(Error::failed("no size will do"))
    };
    let values = [ValueSource::Uniform([0.0, 1.0])];
    let error = look(&Model::default(), &signature, &values, &[], &over, &mut run).unwrap_err();
    assert_eq!(error.message, "nothing that was tried in 40 s runs; first: no size will do");
    assert_eq!(runs, 3);
}

/// A model is run sample by sample where an input or an output has no batch.
#[test]
fn what_has_no_batch_is_run_one_by_one() {
    let mut run = |feeds: &Feeds, axes: &BatchAxes| {
        let x = fed(feeds, axes).remove(0);
        Ok(vec![output("y", &[x.shape[0], 4], |index| x.floats()[index])])
    };
    let found = scouted(&[spec("x", &[None, Some(4)])], &mut run).unwrap();
    let of = |input: BatchAxis, output: BatchAxis| {
        Scouted { inputs: vec![Some(input), None], outputs: vec![output], ..found.clone() }.one_by_one()
    };
    let (rows, none) = (BatchAxis::At(0), BatchAxis::None);
    assert_eq!((of(rows, rows), of(none, rows), of(rows, none), of(none, none)), (false, true, true, true));
}

/// Sizes that exporters write into a file are taken for those of its pictures, of one size or of two; others say nothing.
#[test]
fn sizes_in_a_files_metadata_are_hints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let told = |entries: &[(&str, &str)]| {
        let mut bytes =
            crate::runtime::tensorrt::test_model::classifier(crate::runtime::tensorrt::test_model::Form::Float, None);
        for (key, value) in entries {
            // `metadata_props`, a key and a value.
            let mut entry = vec![0x0a, key.len() as u8];
            entry.extend(key.as_bytes());
            entry.extend([0x12, value.len() as u8]);
            entry.extend(value.as_bytes());
            bytes.extend([0x72, entry.len() as u8]);
            bytes.extend(entry);
        }
        std::fs::write(&path, bytes).unwrap();
        hints(&path)
    };
    let of = |height: usize, width: usize| vec![("height".to_owned(), height), ("width".to_owned(), width)];
    assert_eq!(told(&[]), []);
    assert_eq!(told(&[("imgsz", "[640, 480]"), ("stride", "32")]), of(640, 480));
    assert_eq!(told(&[("image_size", "224")]), of(224, 224));
    assert_eq!(told(&[("input_size", "1, 2, 3")]), []);
    assert_eq!(told(&[("img_size", "0"), ("imgsz", "9000")]), []);
    assert_eq!(told(&[("img_size", "8192 1")]), of(8192, 1));
    std::fs::write(&path, "no model").unwrap();
    assert_eq!(hints(&path), []);
}
