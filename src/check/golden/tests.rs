//! What a golden file holds, and what it refuses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use proptest::prelude::*;
use rstest::rstest;
use safetensors::Dtype;

use super::*;
use crate::error::ErrorKind;
use crate::manifest::Layout;
use crate::vocabulary::Library;

/// Three probes of one pixel with two channels, and the two scores of each.
pub(crate) fn golden() -> Golden {
    golden_of(&[0.1, -2.5, 1e-9, 1.0, 16_777_216.0, -0.0])
}

/// Three probes with these scores of two classes.
pub(crate) fn golden_of(values: &[f32]) -> Golden {
    let reading = Reading::Bytes {
        shape: vec![1, 1, 2],
        layout: Layout::Nhwc,
        range: [0.0, 1.0],
        mean: vec![0.485, 0.456],
        std: Vec::new(),
    };
    let samples = Typed::new(Dtype::U8, vec![3, 2, 1, 1], vec![0, 1, 2, 253, 254, 255]).unwrap();
    Golden {
        origin: Origin {
            model: "cifar10".to_owned(),
            model_sha256: "a1".repeat(32),
            manifest: Some("../gate.toml".to_owned()),
            runtime: RuntimeId::unversioned(Library::Tensorflow),
            version: "2.21.0".to_owned(),
            precision: Precision::Fp32,
            trtgate: Some("0.1.0".to_owned()),
            created: "2026-11-24T06:00:00Z".to_owned(),
            reason: "first golden".to_owned(),
        },
        outputs: vec![Output::classification("logits", OutputKind::Logits, [3, 2], values).unwrap()],
        probes: Probes {
            sha256: "b2".repeat(32),
            count: 3,
            asked: None,
            seed: Some(1),
            made_from: Vec::new(),
            labels: Some(vec![0, 1, 0]),
            inputs: vec![ProbeInput {
                name: "input_1".to_owned(),
                reading,
                batch_axis: Some(0),
                tensors: vec![samples],
            }],
        },
        accuracy: None,
        figures: Vec::new(),
        artifacts: Vec::new(),
    }
}

/// Several outputs of several element types, one of them with a tensor of its own for each probe, and an input of integers.
pub(crate) fn several() -> Golden {
    let mut golden = golden();
    let tensor = |element, shape: &[usize], bytes: usize| {
        Typed::new(element, shape.to_vec(), (0..bytes).map(|byte| byte as u8).collect()).unwrap()
    };
    let output = |name: &str, batch_axis, tensors| Output {
        name: name.to_owned(),
        task: match name {
            "mask" => Task::Map,
            "boxes" => Task::Boxes,
            _ => Task::Values,
        },
        scores: None,
        batch_axis,
        tensors,
        leads: None,
    };
    let scores: Vec<f32> = (0..300).map(|place| (place * 37 % 101) as f32 * 0.1).collect();
    golden.outputs[0].leads = Some(NaturalLeads::of(&scores, 2, OutputKind::Logits).unwrap());
    golden.outputs.extend([
        output("count", Some(0), vec![tensor(Dtype::I64, &[3], 24)]),
        output("mask", Some(1), vec![tensor(Dtype::BOOL, &[4, 3], 12)]),
        output("half", Some(0), vec![tensor(Dtype::F16, &[3, 2, 2], 24)]),
        output("brain", Some(0), vec![tensor(Dtype::BF16, &[3, 1], 6)]),
        output("double", Some(0), vec![tensor(Dtype::F64, &[3, 1], 24)]),
        output("small", Some(0), vec![tensor(Dtype::I8, &[3], 3)]),
        output("constant", None, vec![tensor(Dtype::U16, &[], 2)]),
        output("boxes", None, [2, 0, 5].map(|rows| tensor(Dtype::F32, &[rows, 4], rows * 16)).to_vec()),
    ]);
    golden.probes.inputs.push(ProbeInput {
        name: "ids".to_owned(),
        reading: Reading::Values,
        batch_axis: Some(0),
        tensors: vec![tensor(Dtype::I32, &[3, 7], 84)],
    });
    golden.probes.made_from = vec!["`ids` integers [0, 9]".to_owned(), "3 samples".to_owned()];
    golden
}

fn read(bytes: &[u8]) -> Result<Golden> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cifar10.golden");
    std::fs::write(&path, bytes).unwrap();
    Golden::read(&path).map_err(|mut error| {
        error.message = error.message.replace(&format!("{}/", folder.path().display()), "");
        error
    })
}

/// With the accuracy that its reference had on labelled data.
fn with_accuracy(samples: usize, correct: usize, data_sha256: &str) -> Golden {
    let accuracy = LabelledAccuracy { samples, correct, data_sha256: data_sha256.to_owned() };
    Golden { accuracy: Some(accuracy), ..golden() }
}

#[rstest]
#[case::one_output(golden())]
#[case::several_of_all_types(several())]
#[case::with_accuracy(with_accuracy(1000, 912, &"c3".repeat(32)))]
fn a_file_reads_back_as_it_was_written(#[case] golden: Golden) {
    let folder = tempfile::tempdir().unwrap();
    let path = Golden::path(&folder.path().join("new"), "cifar10");
    golden.write(&path).unwrap();
    golden.write(&path).unwrap();
    assert_eq!(Golden::read(&path).unwrap(), golden);
    assert_eq!(std::fs::read(&path).unwrap(), golden.to_bytes().unwrap(), "written twice, the bytes are the same");
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

/// The document is what review and `ci/check-blessing` read.
#[test]
fn the_document_is_fixed() {
    let bytes = golden().to_bytes().unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    insta::assert_snapshot!(header.metadata().as_ref().unwrap()["trtgate.golden"]);
}

/// Programs from before there was an accuracy read what is written without one, and ask for an upgrade where there is one.
#[test]
fn an_accuracy_is_written_only_where_there_is_one() {
    let document = |golden: &Golden| {
        let bytes = golden.to_bytes().unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        header.metadata().as_ref().unwrap()["trtgate.golden"].clone()
    };
    assert!(!document(&golden()).contains("accuracy"));
    let written = document(&with_accuracy(1000, 912, &"c3".repeat(32)));
    let entry = format!("\"accuracy\":{{\"samples\":1000,\"correct\":912,\"data-sha256\":\"{}\"}}", "c3".repeat(32));
    assert!(written.contains(&entry), "{written}");
}

#[rstest]
#[case(0, 0, "c3")]
#[case(10, 11, "c3")]
#[case(10, 9, "")]
fn what_is_no_accuracy_is_not_written(#[case] samples: usize, #[case] correct: usize, #[case] digest: &str) {
    let error = with_accuracy(samples, correct, &digest.repeat(32)).to_bytes().unwrap_err();
    assert!(error.message.contains("are no accuracy"), "{error}");
}

#[test]
fn a_file_cut_anywhere_or_changed_anywhere_is_invalid() {
    let bytes = golden().to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert!(binary::decode(&bytes[..length]).is_err(), "cut at {length}");
    }
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert!(binary::decode(&changed).is_err(), "changed at {place}");
    }
    let error = read(&bytes[..bytes.len() - 1]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.starts_with("golden `cifar10.golden` is damaged or cut"), "{error}");
    assert_eq!(read(b"").unwrap_err().message, "golden `cifar10.golden` is empty");
    assert!(read(&[bytes, vec![0]].concat()).is_err());
}

/// The header of a safetensors file that claims `length` bytes.
fn with_header_length(length: u64) -> Vec<u8> {
    [length.to_le_bytes().to_vec(), golden().to_bytes().unwrap()[8..].to_vec()].concat()
}

#[rstest]
#[case(u64::MAX)]
#[case(1 << 40)]
#[case(99_000_000)]
#[case(0)]
fn a_forged_header_is_refused_before_anything_is_allocated(#[case] length: u64) {
    assert_eq!(read(&with_header_length(length)).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn another_safetensors_file_is_no_golden() {
    let tensor = Typed::float32(vec![1], &[1.0]).unwrap();
    let bytes = safetensors::serialize([("x", &tensor)], None).unwrap();
    let message = read(&bytes).unwrap_err().message;
    assert_eq!(message, "golden `cifar10.golden` is a safetensors file, and no golden");
}

/// Both forms of a file of a later schema, whatever else is in it.
#[rstest]
#[case::text("trtgate.golden/v3\nmodel: x\n".as_bytes().to_vec())]
#[case::binary(String::from_utf8_lossy(&golden().to_bytes().unwrap()).replace("golden/v2", "golden/v3").into_bytes())]
#[case::later_still("trtgate.golden/v12\n".as_bytes().to_vec())]
fn a_newer_schema_asks_for_a_newer_program(#[case] bytes: Vec<u8>) {
    let error = read(&bytes).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("this program reads `trtgate.golden/v2`"), "{error}");
    assert!(error.hint.unwrap().starts_with("upgrade trtgate"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.golden");
    std::fs::write(&path, &bytes).unwrap();
    assert!(Golden::newer(&path).is_some());
}

/// What a newer program added to this schema is not passed over.
#[rstest]
#[case::key("\\\"created\\\"", "\\\"crea_ed\\\"", "holds what this program does not know: unknown field `crea_ed`")]
#[case::task("classification", "tokens________", "compares output `logits` as `tokens________`")]
fn an_unknown_part_asks_for_a_newer_program(#[case] from: &str, #[case] to: &str, #[case] message: &str) {
    let bytes = golden().to_bytes().unwrap();
    let end = 8 + u64::from_le_bytes(*bytes.first_chunk::<8>().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..end].to_vec()).unwrap();
    assert!(header.contains(from), "{header}");
    let changed = [&bytes[..8], header.replacen(from, to, 1).as_bytes(), &bytes[end..]].concat();
    let error = read(&binary::redigested(&changed).unwrap()).unwrap_err();
    assert!(error.message.contains(message), "{error}");
    assert!(error.hint.unwrap().starts_with("upgrade trtgate"));
}

#[test]
fn a_golden_of_the_present_is_not_newer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.golden");
    golden().write(&path).unwrap();
    assert_eq!(Golden::newer(&path), None);
    assert_eq!(Golden::newer(&folder.path().join("nowhere")), None);
}

#[test]
fn a_missing_file_is_invalid_and_says_what_to_do() {
    let error = Golden::read(Path::new("nowhere/cifar10.golden")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(error.message, "there is no golden at `nowhere/cifar10.golden`");
}

#[test]
fn a_folder_or_a_pipe_is_no_golden() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Golden::read(folder.path()).unwrap_err().message.ends_with("is not a plain file"));
    assert!(Golden::read(Path::new("/dev/zero")).unwrap_err().message.ends_with("is not a plain file"));
}

#[test]
fn another_output_is_named() {
    let golden = golden();
    let path = Path::new("g.golden");
    assert_eq!(golden.output("logits", path).unwrap().answers(), [0, 1, 0]);
    let error = golden.output("scores", path).unwrap_err();
    assert_eq!(error.message, "golden `g.golden` is of output `logits`, the gated one is `scores`");
}

type Change = fn(&mut Golden);

#[rstest]
#[case::no_outputs(|golden: &mut Golden| golden.outputs.clear())]
#[case::no_probes(|golden: &mut Golden| golden.probes.count = 0)]
#[case::other_count(|golden: &mut Golden| golden.probes.count = 4)]
#[case::not_finite(|golden: &mut Golden| *golden = golden_of(&[0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0]))]
#[case::two_line_reason(|golden: &mut Golden| golden.origin.reason = "a\nb".to_owned())]
#[case::no_reason(|golden: &mut Golden| golden.origin.reason = String::new())]
#[case::one_name_twice(|golden: &mut Golden| golden.outputs.push(golden.outputs[0].clone()))]
#[case::integers_as_scores(|golden: &mut Golden| golden.outputs[0].tensors = vec![Typed::uint32(vec![3, 2], &[0; 6]).unwrap()])]
#[case::samples_of_another_size(|golden: &mut Golden| golden.probes.inputs[0].tensors = vec![Typed::new(Dtype::U8, vec![3, 3], vec![0; 9]).unwrap()])]
#[case::labels_missing(|golden: &mut Golden| golden.probes.labels = Some(vec![1]))]
fn nothing_invalid_becomes_a_golden(#[case] change: Change) {
    let mut golden = golden();
    change(&mut golden);
    assert_eq!(golden.to_bytes().unwrap_err().kind, ErrorKind::Invalid);
}

proptest! {
    #[test]
    fn every_float_survives(bits in prop::collection::vec(any::<u32>(), 6)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        prop_assume!(values.iter().all(|value| value.is_finite()));
        let golden = golden_of(&values);
        prop_assert_eq!(read(&golden.to_bytes().unwrap()).unwrap(), golden);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
    }
}

/// Figures by labels come back as they were; ones that are none, or two of one output, are no golden.
#[test]
fn figures_by_labels_are_kept_and_held_to_be_some() {
    let figure = |output: &str, value: f64| LabelledFigure {
        output: output.to_owned(),
        name: "mIoU".to_owned(),
        value,
        data_sha256: "c3".repeat(32),
    };
    let with = |figures: Vec<LabelledFigure>| Golden { figures, ..several() };
    let kept = with(vec![figure("mask", 1.0 / 3.0), figure("boxes", 0.0)]);
    let back = read(&kept.to_bytes().unwrap()).unwrap();
    assert_eq!(back.figures.len(), 2);
    assert!(back.figures.iter().zip(&kept.figures).all(|(one, other)| one.is_that_of(other)), "{:?}", back.figures);
    assert!(!figure("mask", 0.5).is_that_of(&figure("mask", 0.4)));
    assert!(!figure("mask", 0.5).is_that_of(&figure("boxes", 0.5)));
    for (figures, words) in [
        (vec![figure("mask", 1.5)], "is no figure"),
        (vec![figure("mask", f64::NAN)], "is no figure"),
        (vec![LabelledFigure { data_sha256: "c3".to_owned(), ..figure("mask", 0.5) }], "is no figure"),
        (vec![figure("mask", 0.5), figure("mask", 0.4)], "has two figures of output `mask`"),
    ] {
        assert!(with(figures).to_bytes().unwrap_err().message.contains(words));
    }
}

/// Scores of classes are one row of floats a probe, as many as there are probes, and finite.
#[test]
fn scores_are_one_finite_row_a_probe() {
    let output = |values: &[f32]| Output::classification("y", OutputKind::Logits, [3, 2], values).unwrap();
    let sound = output(&[1.0; 6]);
    assert!(sound.check_scores(3).is_ok());
    let refused = |output: &Output, count: usize| output.check_scores(count).unwrap_err().message;
    let rows = "output `y` is not one row of float32 scores a probe";
    assert_eq!((refused(&sound, 2).as_str(), refused(&sound, 4).as_str()), (rows, rows));
    for batch_axis in [None, Some(1)] {
        assert_eq!(refused(&Output { batch_axis, ..sound.clone() }, 3), rows);
    }
    let infinite = refused(&output(&[1.0, 1.0, 1.0, f32::INFINITY, 1.0, 1.0]), 3);
    assert_eq!(infinite, "output `y` of probe 1, class 1 is not finite: it cannot be a golden");
}
