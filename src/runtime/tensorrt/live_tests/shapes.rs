//! Engines of open shapes: what builds, and what they answer at every kind of point.

use super::*;
use crate::tensor::{Feeds, Values};
use crate::timing::contract::{TimingContract, TimingMode};

/// The range of an input by name.
fn range(name: &str, shapes: [&[usize]; 3]) -> InputRange {
    InputRange { name: name.to_owned(), shapes: shapes.map(<[usize]>::to_vec), values: None }
}

fn pictures(least: [usize; 3], opt: [usize; 3], most: [usize; 3]) -> Vec<InputRange> {
    let shape = |[batch, height, width]: [usize; 3]| vec![batch, test_model::PLANES[0], height, width];
    vec![InputRange { name: "x".to_owned(), shapes: [shape(least), shape(opt), shape(most)], values: None }]
}

fn rows(least: [usize; 2], opt: [usize; 2], most: [usize; 2]) -> Vec<InputRange> {
    ["ids", "mask"].map(|name| range(name, [&least, &opt, &most])).to_vec()
}

fn with(request: &BuildRequest, model: Vec<u8>, profiles: Vec<Vec<InputRange>>) -> BuildRequest {
    std::fs::write(&request.onnx, model).unwrap();
    BuildRequest { profiles, ..request.clone() }
}

fn two_profiles() -> Vec<Vec<InputRange>> {
    vec![pictures([1, 8, 8], [2, 16, 16], [4, 32, 32]), pictures([1, 32, 32], [1, 48, 64], [2, 64, 96])]
}

fn picture(batch: usize, height: usize, width: usize) -> Tensor {
    let count = batch * test_model::PLANES[0] * height * width;
    let values = (0..count).map(|index| (index * 31 % 251) as f32 / 250.0).collect();
    Tensor::float32("x", vec![batch, test_model::PLANES[0], height, width], values).unwrap()
}

fn expected(picture: &Tensor) -> Vec<f32> {
    let (height, width) = (picture.shape[2], picture.shape[3]);
    let sample = |row: usize| test_model::open_sizes_reference(picture.row(row).unwrap(), height, width);
    (0..picture.batch()).flat_map(sample).collect()
}

/// Where nothing runs, the build alone is the test.
#[test]
#[ignore = "needs a TensorRT in TRTGATE_TENSORRT_PATH"]
fn profiles_of_open_shapes_build() {
    for installation in &builders() {
        let folder = tempfile::tempdir().unwrap();
        let base = request(installation, folder.path(), Precision::Fp32);
        let built = build(&with(&base, test_model::open_sizes(), two_profiles())).unwrap();
        assert_eq!(built.metadata.ranges, two_profiles());
        eprintln!("{}: {} bytes in {:.2} s", installation.id, built.bytes, built.seconds);
        let sequence = vec![rows([1, 1], [4, 16], [8, 64])];
        build(&with(&base, test_model::sequence(), sequence.clone())).unwrap();

        // A static twin is built of the same file.
        let twin = with(&base, test_model::open_sizes(), vec![pictures([2, 11, 23], [2, 11, 23], [2, 11, 23])]);
        let twin = build(&BuildRequest { fixed: true, ..twin }).unwrap();
        assert!(twin.metadata.fixed && twin.sha256 != built.sha256);

        // Values that decide shapes are part of a profile.
        let input = |values: Option<[Vec<i64>; 3]>| {
            let shape = InputRange { values, ..range("shape", [&[2], &[2], &[2]]) };
            vec![vec![range("x", [&[1, 6], &[1, 6], &[1, 6]]), shape]]
        };
        let held = input(Some([vec![2, 6], vec![4, 6], vec![8, 6]]));
        let repeated = build(&with(&base, test_model::repeated(), held.clone()));
        eprintln!("{}: values that decide shapes: {:?}", installation.id, repeated.as_ref().map(|built| built.bytes));
        repeated.unwrap();
        let error = build(&with(&base, test_model::repeated(), input(None))).unwrap_err();
        assert!(error.message.contains("the values of input `shape` decide shapes"), "{error}");
        assert_eq!(error.kind, ErrorKind::Unsupported);
        let twin = BuildRequest { fixed: true, ..with(&base, test_model::repeated(), held) };
        assert_eq!(build(&twin).unwrap_err().kind, ErrorKind::Unsupported);

        // What no profile holds, or nobody describes, is refused in words.
        let unknown = build(&with(&base, test_model::open_sizes(), sequence)).unwrap_err();
        assert!(unknown.message.contains("no range of input `x` is known"), "{unknown}");
        let classifier = build(&with(&base, test_model::open_sizes(), Vec::new())).unwrap_err();
        assert!(classifier.message.contains("of a classifier only the batch may be dynamic"), "{classifier}");
    }
}

/// Ends, one size alone at its end, sizes that are odd and not square, in each profile; and back to the first in one context.
#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH"]
fn every_kind_of_point_is_answered_right() {
    for installation in &runners() {
        let folder = tempfile::tempdir().unwrap();
        let request =
            with(&request(installation, folder.path(), Precision::Fp32), test_model::open_sizes(), two_profiles());
        build(&request).unwrap();
        let mut session = open(&request, 1).unwrap();
        let points = [
            [1, 8, 8],
            [2, 16, 16],
            [4, 32, 32],
            [3, 8, 32],
            [1, 11, 23],
            [2, 31, 9],
            [2, 64, 96],
            [1, 33, 95],
            [1, 8, 8],
        ];
        let mut answers = Vec::new();
        for [batch, height, width] in points {
            let input = picture(batch, height, width);
            let output = session.run(&input.clone().into()).unwrap().remove(0);
            assert_eq!(output.shape, [batch, test_model::PLANES[1], height, width]);
            let error = largest_difference(&output.floats(), &expected(&input));
            eprintln!("{} batch {batch}, {height} x {width}: largest error {error:e}", installation.id);
            assert!(error < 1e-4, "{batch} {height} {width}: {error:e}");
            answers.push(output);
        }
        // The first and the last shape are one, with others in between.
        assert_eq!(answers.first(), answers.last());

        // Outside of every profile nothing runs, and the session goes on.
        for [batch, height, width] in [[5, 16, 16], [1, 7, 8], [1, 64, 97], [3, 33, 33]] {
            let error = session.run(&picture(batch, height, width).into()).unwrap_err();
            assert!(error.message.contains("outside of each of the engine's 2 profiles"), "{error}");
            assert_eq!(error.causes.len(), 2);
        }
        assert_eq!(session.run(&picture(1, 8, 8).into()).unwrap().first(), answers.first());

        // Each profile by its index: 32 x 32 lies in both.
        let both = picture(1, 32, 32);
        for profile in 0..2 {
            let mut chosen = open_profile(&request, profile).unwrap();
            let output = chosen.run(&both.clone().into()).unwrap().remove(0);
            assert!(largest_difference(&output.floats(), &expected(&both)) < 1e-4, "profile {profile}");
            let other = if profile == 0 { picture(1, 64, 64) } else { picture(1, 8, 8) };
            let error = chosen.run(&other.into()).unwrap_err();
            assert!(error.message.contains(&format!("outside of the engine's profile {profile}: ")), "{error}");
        }
        assert!(open_profile(&request, 2).err().unwrap().message.contains("none of index 2"));
    }
}

fn open_profile(built: &BuildRequest, profile: usize) -> crate::error::Result<EngineSession> {
    EngineSession::open(&OpenRequest {
        installation: built.installation.clone(),
        artifact: built.engine.clone(),
        kind: ArtifactKind::Engine,
        precision: built.precision,
        batch: 1,
        options: SessionOptions { profile: Some(profile), ..SessionOptions::default() },
    })
}

/// Whole numbers of 64 bits, which old releases take as 32; and values that decide shapes.
#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH"]
fn sequences_and_deciding_values_are_answered_right() {
    for installation in &runners() {
        let folder = tempfile::tempdir().unwrap();
        let base = request(installation, folder.path(), Precision::Fp32);
        let request = with(&base, test_model::sequence(), vec![rows([1, 1], [4, 16], [8, 64])]);
        build(&request).unwrap();
        let mut session = open(&request, 1).unwrap();
        for [batch, length] in [[1, 1], [4, 16], [8, 64], [3, 17], [1, 64], [8, 1], [1, 1]] {
            let whole = |name: &str, of: fn(usize) -> i64| {
                Tensor::new(name, vec![batch, length], Values::Int64((0..batch * length).map(of).collect())).unwrap()
            };
            let (ids, mask) =
                (whole("ids", |index| (index * 7 % 16) as i64), whole("mask", |index| (index % 3 != 0).into()));
            let feeds = Feeds::new(vec![ids, mask], Vec::new()).unwrap();
            let output = session.run(&feeds).unwrap().remove(0);
            let expected: Vec<f32> = (0..batch * length)
                .flat_map(|index| test_model::sequence_reference((index * 7 % 16) as i64, (index % 3 != 0).into()))
                .collect();
            assert_eq!(output.shape, [batch, length, test_model::TABLE[0]]);
            assert_eq!(output.floats().to_vec(), expected, "{batch} x {length}");
        }

        let shape =
            InputRange { values: Some([vec![2, 6], vec![4, 6], vec![8, 6]]), ..range("shape", [&[2], &[2], &[2]]) };
        let ranges = vec![vec![range("x", [&[1, 6], &[1, 6], &[1, 6]]), shape]];
        let request = with(&base, test_model::repeated(), ranges);
        build(&request).unwrap();
        let mut session = open(&request, 1).unwrap();
        let values: Vec<f32> = (0..6).map(|value| value as f32).collect();
        for rows in [4, 2, 8, 3, 4] {
            let fed = vec![
                Tensor::float32("x", vec![1, 6], values.clone()).unwrap(),
                Tensor::new("shape", vec![2], Values::Int64(vec![rows as i64, 6])).unwrap(),
            ];
            let output = session.run(&Feeds::whole(fed).unwrap()).unwrap().remove(0);
            assert_eq!(
                (output.shape.as_slice(), output.floats().to_vec()),
                ([rows, 6].as_slice(), values.repeat(rows))
            );
        }
    }
}

/// Outputs as large as the values say, from nothing to all, and back; and what their timing is.
#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH"]
fn outputs_whose_extents_depend_on_values_are_answered_right() {
    for installation in &runners() {
        let folder = tempfile::tempdir().unwrap();
        let base = request(installation, folder.path(), Precision::Fp32);
        let request = with(&base, test_model::found(None), vec![vec![range("x", [&[1], &[24], &[4096]])]]);
        build(&request).unwrap();
        let mut session = open(&request, 1).unwrap();
        // Every `apart`th value is above the limit; 0: none.
        let fed = |count: usize, apart: usize| -> Vec<f32> {
            (0..count).map(|index| if apart > 0 && index % apart == 0 { 1.0 + index as f32 } else { 0.25 }).collect()
        };
        for (count, apart) in [(24, 5), (4096, 1), (24, 0), (1, 1), (1000, 7), (24, 5)] {
            let values = fed(count, apart);
            let expected: Vec<f32> = values.iter().copied().filter(|value| *value > 0.5).collect();
            let input = Tensor::float32("x", vec![count], values.clone()).unwrap();
            let outputs = session.run(&Feeds::whole(vec![input]).unwrap()).unwrap();
            let of = |name: &str| outputs.iter().find(|output| output.name == name).unwrap();
            let places: Vec<i64> = match &of("places").values {
                Values::Int32(places) => places.iter().map(|place| i64::from(*place)).collect(),
                Values::Int64(places) => places.clone(),
                other => panic!("{other:?}"),
            };
            let found: Vec<f32> = places.iter().map(|place| values[*place as usize]).collect();
            assert_eq!(of("places").shape, [1, expected.len()], "{count} {apart}");
            assert_eq!(of("y").shape, [expected.len()]);
            assert_eq!((of("y").floats().to_vec(), found), (expected.clone(), expected), "{count} {apart}");
        }
        // The same of an input that leaves nothing open.
        let closed = with(&base, test_model::found(Some(24)), Vec::new());
        build(&closed).unwrap();
        let mut fixed = open(&closed, 24).unwrap();
        for apart in [5, 0, 1] {
            let input = Tensor::float32("x", vec![24], fed(24, apart)).unwrap();
            let outputs = fixed.run(&Feeds::whole(vec![input.clone()]).unwrap()).unwrap();
            let expected: Vec<f32> = input.floats().iter().copied().filter(|value| *value > 0.5).collect();
            assert_eq!(
                outputs.iter().find(|output| output.name == "y").unwrap().floats().to_vec(),
                expected,
                "{apart}"
            );
        }
        let feeds = Feeds::whole(vec![Tensor::float32("x", vec![64], fed(64, 3)).unwrap()]).unwrap();
        let latency = TimingContract { mode: TimingMode::Latency, graph: true, ..TimingContract::host() };
        let latency = TimingContract { duration_milliseconds: 50, warm_up_milliseconds: 10, ..latency };
        let measured = session.measure(std::slice::from_ref(&feeds), &latency).unwrap();
        assert!(!measured.contract.graph && measured.batches > 0 && measured.outputs[0].len() == 2);
        eprintln!("{}: {} runs in {:.3} s", installation.id, measured.batches, measured.wall_seconds);
        let throughput = TimingContract { mode: TimingMode::Throughput, ..latency };
        let error = session.measure(&[feeds], &throughput).unwrap_err();
        assert_eq!(
            (error.kind, error.hint.as_deref()),
            (ErrorKind::Unsupported, Some("measure it with `--mode latency`"))
        );
    }
}
