#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::*;
use crate::data::{npy, zip};
use crate::manifest::interface::LengthOf;

fn plan(element_type: ElementType, sample: &[usize], values: ValueSource) -> InputPlan {
    InputPlan { name: "x".to_owned(), element_type, sample: sample.to_vec(), shared: false, values, padding: None }
}

fn of(input: &InputPlan, count: usize) -> Tensor {
    make(std::slice::from_ref(input), 1, count).unwrap().with_samples()[0].clone()
}

#[rstest]
#[case(ValueSource::Uniform([-2.0, 3.0]), ElementType::Float32, -2.0, 3.0)]
#[case(ValueSource::Normal([1.0, 0.5]), ElementType::Float64, -2.0, 4.0)]
#[case(ValueSource::Integers([5, 9]), ElementType::Int64, 5.0, 9.0)]
#[case(ValueSource::Integers([0, 1]), ElementType::Bool, 0.0, 1.0)]
#[case(ValueSource::Image([0.0, 1.0]), ElementType::Float16, 0.0, 1.0)]
#[case(ValueSource::Image([0.0, 255.0]), ElementType::Uint8, 0.0, 255.0)]
#[case(ValueSource::Constant(7.0), ElementType::Int32, 7.0, 7.0)]
fn values_keep_within_their_range_and_differ(
    #[case] values: ValueSource,
    #[case] element_type: ElementType,
    #[case] low: f64,
    #[case] high: f64,
) {
    let constant = matches!(values, ValueSource::Constant(_));
    let tensor = of(&plan(element_type, &[4, 5], values), 10);
    assert_eq!((tensor.element_type(), tensor.shape.as_slice()), (element_type, &[10, 4, 5][..]));
    let numbers = tensor.values.to_f64();
    assert!(numbers.iter().all(|value| (low..=high).contains(value)), "{numbers:?}");
    assert_eq!(numbers.iter().any(|value| *value != numbers[0]), !constant);
}

#[test]
fn a_sample_does_not_depend_on_how_many_are_made_and_both_ends_are_drawn() {
    let input = plan(ElementType::Int64, &[3], ValueSource::Integers([-1, 1]));
    let (few, many) = (of(&input, 4), of(&input, 100));
    assert_eq!(many.first(4).unwrap(), few);
    let numbers = many.values.to_f64();
    assert!([-1.0, 0.0, 1.0].iter().all(|value| numbers.contains(value)));
    let widest = of(&plan(ElementType::Int64, &[8], ValueSource::Integers([i64::MIN, i64::MAX])), 8);
    assert!(widest.values.to_f64().iter().any(|value| *value < 0.0));
}

#[test]
fn masks_begin_with_ones_and_one_hots_have_one() {
    let mask = of(&plan(ElementType::Bool, &[6], ValueSource::Mask), 20);
    let hot = of(&plan(ElementType::Float32, &[2, 6], ValueSource::OneHot), 20);
    for row in mask.values.as_slice::<bool>().unwrap().chunks(6) {
        assert!(row[0] && row.is_sorted_by(|one, other| one >= other), "{row:?}");
    }
    for row in hot.floats().chunks(6) {
        assert_eq!((row.iter().sum::<f32>(), row.iter().copied().fold(0.0, f32::max)), (1.0, 1.0));
    }
}

fn named(name: &str, element_type: ElementType, sample: &[usize], values: ValueSource) -> InputPlan {
    InputPlan { name: name.to_owned(), ..plan(element_type, sample, values) }
}

fn length_of(input: &str, axis: Option<usize>) -> LengthOf {
    LengthOf { input: input.to_owned(), axis }
}

#[test]
fn inputs_that_fit_together_go_by_one_length_a_sample() {
    let ids = ValueSource::Integers([5, 9]);
    let inputs = [
        InputPlan { padding: Some(0), ..named("ids", ElementType::Int64, &[6], ids) },
        named("mask", ElementType::Float32, &[1, 1, 6], ValueSource::MaskOf(length_of("ids", None))),
        named("lens", ElementType::Int32, &[], ValueSource::LengthsOf(length_of("ids", None))),
        named("positions", ElementType::Int64, &[2, 3], ValueSource::Positions),
    ];
    let feeds = make(&inputs, 1, 40).unwrap();
    let of = |name: &str| feeds.get(name).unwrap().values.to_f64();
    let (ids, mask, lens) = (of("ids"), of("mask"), of("lens"));
    assert!((lens[0], lens.iter().copied().fold(6.0, f64::min)) == (6.0, 1.0), "{lens:?}");
    for (sample, long) in lens.iter().map(|&long| long as usize).enumerate() {
        for place in 0..6 {
            let (id, seen) = (ids[6 * sample + place], mask[6 * sample + place]);
            assert_eq!((id >= 5.0, seen), (place < long, f64::from(u8::from(place < long))), "{sample} {place}");
        }
    }
    assert_eq!(of("positions")[..6], [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    // Nothing else is drawn otherwise for it.
    let alone = make(&[InputPlan { padding: None, ..inputs[0].clone() }], 1, 40).unwrap();
    let kept = alone.get("ids").unwrap().values.to_f64();
    assert!(ids.iter().zip(&kept).all(|(padded, id)| *padded == 0.0 || padded == id));
}

#[test]
fn a_length_lies_along_the_dimension_that_is_said() {
    let steps = |axis, sample: &[usize]| {
        let x = named("x", ElementType::Float32, &[2, 3], ValueSource::Uniform([1.0, 2.0]));
        let mask = named("mask", ElementType::Bool, sample, ValueSource::MaskOf(length_of("x", axis)));
        make(&[InputPlan { padding: Some(-1), ..x }, mask], 1, 30)
    };
    let feeds = steps(Some(0), &[2]).unwrap();
    let (x, mask) = (feeds.get("x").unwrap().values.to_f64(), feeds.get("mask").unwrap().values.to_f64());
    for (place, seen) in mask.iter().enumerate() {
        assert!(x[3 * place..3 * place + 3].iter().all(|&value| (value == -1.0) == (*seen == 0.0)), "{place}");
    }
    assert!(mask.contains(&0.0));
    let wrong = |axis, sample: &[usize]| steps(axis, sample).unwrap_err().message;
    assert!(wrong(None, &[2]).starts_with("which of the dimensions [2, 3] of `x` is its length?"));
    assert!(wrong(Some(2), &[2]).ends_with("and no dimension 2"));
    assert!(wrong(Some(1), &[2]).contains("is the mask of `x`, whose samples are 3 long"));
}

#[test]
fn what_is_shared_has_no_batch() {
    let rate = InputPlan {
        name: "rate".to_owned(),
        shared: true,
        ..plan(ElementType::Int64, &[], ValueSource::Constant(16_000.0))
    };
    let feeds = make(&[plan(ElementType::Float32, &[2], ValueSource::Uniform([0.0, 1.0])), rate], 1, 3).unwrap();
    assert_eq!(
        (feeds.batch(), &feeds.shared()[0].shape, &feeds.shared()[0].values),
        (3, &vec![], &Values::Int64(vec![16_000]))
    );
}

#[rstest]
#[case(ElementType::Int64, ValueSource::Uniform([0.0, 1.0]))]
#[case(ElementType::Bool, ValueSource::Integers([0, 2]))]
#[case(ElementType::Uint8, ValueSource::Integers([0, 256]))]
#[case(ElementType::Int32, ValueSource::Constant(0.5))]
fn sources_that_do_not_suit_the_type_are_refused(#[case] element_type: ElementType, #[case] values: ValueSource) {
    let error = make(&[plan(element_type, &[2], values)], 1, 3).unwrap_err();
    assert!(error.message.contains("does not hold its `values`"), "{error}");
}

#[test]
fn arrays_of_an_archive_keep_their_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.npz");
    let numbers: Vec<u8> = [1_i64 << 60, -1, 3, 4].iter().flat_map(|value| value.to_le_bytes()).collect();
    let array = npy::array("<i8", &[2, 2], &numbers).unwrap();
    std::fs::write(&path, zip::pack(&[("x.npy", &array)]).unwrap()).unwrap();
    let input = plan(ElementType::Int64, &[2], ValueSource::File(path.clone()));
    let feeds = make(std::slice::from_ref(&input), 1, 99).unwrap();
    assert_eq!(feeds.get("x").unwrap().values, Values::Int64(vec![1 << 60, -1, 3, 4]));
    let message = |input: &InputPlan| make(std::slice::from_ref(input), 1, 9).unwrap_err().message;
    assert!(message(&InputPlan { sample: vec![3], ..input.clone() }).contains("has shape [2, 2], expected [N, 3]"));
    assert!(message(&InputPlan { element_type: ElementType::Float32, ..input.clone() }).contains("holds int64"));
    assert!(message(&InputPlan { name: "y".to_owned(), ..input }).contains("no such array, only x"));
}
