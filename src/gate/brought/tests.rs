#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use rstest::rstest;

use super::*;
use crate::data::arrays;
use crate::gate::values::tests::spec;
use crate::tensor::{ElementType, Tensor};
use crate::vocabulary::Status::{Fail, Invalid, Pass};

/// A manifest of input `x` and output `y`, whose samples are `count` of those in a folder.
fn manifest(folder: &Path, count: usize, batches: &str, more: &str) -> Manifest {
    let text = format!(
        "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nvalues = {{ uniform = [0.0, 1.0] }}\n\
         [[output]]\nname = \"y\"\ntask = \"values\"\n[probes]\ndata = \"samples\"\ncount = 16\n{more}\n\
         [matrix]\nbatches = {batches}\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n"
    );
    let mut manifest = Manifest::parse(&text, &folder.join("gate.toml")).unwrap();
    // Fewer than a manifest may ask for.
    manifest.probes.count = count;
    manifest
}

fn rows(name: &str, samples: usize) -> Tensor {
    Tensor::float32(name, vec![samples, 2], (0..samples * 2).map(|value| value as f32).collect()).unwrap()
}

fn write(folder: &Path, tensor: &Tensor) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{}.npy", tensor.name)), arrays::encode(tensor).unwrap()).unwrap();
}

fn signature() -> Signature {
    let of = |name| spec(name, ElementType::Float32, &[None, Some(2)]);
    Signature { inputs: vec![of("x")], outputs: vec![of("y")] }
}

fn fed(manifest: &Manifest) -> Result<Fed> {
    of(manifest, manifest.interface.as_ref().unwrap(), &signature(), &[None])
}

/// Samples of the team's own fill a batch, are spread over all that there are, and what was taken is said.
#[rstest]
#[case::all(8, 8, "[1, 4]", 8, "8 samples of `SAMPLES`")]
#[case::fewer(8, 4, "[1, 4]", 4, "4 of 8 samples of `SAMPLES`, evenly spread")]
#[case::more_are_asked(8, 12, "[1, 4]", 8, "8 samples of `SAMPLES`")]
#[case::fewer_than_a_batch(
    3,
    8,
    "[1, 4]",
    4,
    "3 samples of `SAMPLES`, taken again until they fill a batch of 4: few say little"
)]
#[case::one(1, 8, "[1]", 1, "1 sample of `SAMPLES`")]
fn samples_of_the_teams_own_are_taken(
    #[case] total: usize,
    #[case] count: usize,
    #[case] batches: &str,
    #[case] taken: usize,
    #[case] note: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let samples = folder.path().join("samples");
    write(&samples, &rows("x", total));
    let manifest = manifest(folder.path(), count, batches, "");
    let fed = fed(&manifest).unwrap();
    assert_eq!((fed.feeds.len(), fed.feeds[0].batch()), (1, taken));
    assert_eq!(fed.notes.last().unwrap(), &note.replace("SAMPLES", &samples.display().to_string()));
    assert!(fed.expected.is_none());
}

/// Answers that are expected stand beside their samples.
#[test]
fn expected_answers_are_those_of_the_samples_that_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("samples"), &rows("x", 8));
    write(&folder.path().join("expected"), &rows("y", 8));
    let manifest = manifest(folder.path(), 4, "[1]", "expected = \"expected\"");
    let (feeds, expected) = of_one(&manifest, manifest.interface.as_ref().unwrap(), &signature(), None).unwrap();
    let expected = expected.unwrap();
    assert!(expected.place.ends_with("expected"), "{}", expected.place);
    let [Answers::Rows(rows)] = expected.answers.as_slice() else { panic!("{:?}", expected.answers) };
    assert_eq!(rows.floats(), feeds.get("x").unwrap().floats());

    let border = border(manifest.interface.as_ref().unwrap(), &signature()).unwrap();
    assert_eq!((border.inputs.len(), border.outputs.len(), border.outputs[0].read), (1, 1, true));
    let error = answers(&border, manifest.interface.as_ref().unwrap(), &[], &[0]).unwrap_err();
    assert_eq!(error.message, "no answers are expected of output `y`");
}

#[test]
fn samples_have_one_shape() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("samples"), &rows("x", 8));
    let manifest = manifest(folder.path(), 4, "[1]", "");
    let error = of(&manifest, manifest.interface.as_ref().unwrap(), &signature(), &[None, None]).err().unwrap();
    assert!(error.message.ends_with("have one shape, and `[shapes]` names several"), "{error}");
}

/// The first output that is another is said, before one that could not be judged.
#[test]
fn what_its_authors_do_not_expect_is_said() {
    let finding = |name: &str, status| OutputFinding {
        output: name.to_owned(),
        status,
        detail: format!("{name} is another"),
        ..crate::report::sample::tasks().cells[0].outputs[0].clone()
    };
    let expected = Expected { place: "samples".to_owned(), answers: Vec::new() };
    let held = |statuses: &[Status]| {
        let findings: Vec<OutputFinding> =
            statuses.iter().enumerate().map(|(place, status)| finding(&format!("y{place}"), *status)).collect();
        let check = held(&findings, &expected);
        assert!(check.gating && check.name == "expected-answers");
        (check.status, check.detail)
    };
    assert_eq!(held(&[Pass, Pass]), (Pass, "2 outputs as its authors expect them (`samples`)".to_owned()));
    assert_eq!(
        held(&[Pass, Invalid, Fail]),
        (Fail, "not what its authors expect (`samples`): y2 is another".to_owned())
    );
    assert_eq!(held(&[Pass, Invalid]), (Invalid, "not what its authors expect (`samples`): y1 is another".to_owned()));
}
