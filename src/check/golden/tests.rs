//! What a golden file holds, and what it refuses.
#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::error::ErrorKind;
use crate::vocabulary::Library;

pub(crate) fn header(count: usize, classes: usize) -> Header {
    Header {
        model: "cifar10".to_owned(),
        model_sha256: "a1".repeat(32),
        probes_sha256: "b2".repeat(32),
        runtime: RuntimeId::unversioned(Library::Tensorflow),
        version: "2.21.0".to_owned(),
        precision: Precision::Fp32,
        output: "logits".to_owned(),
        kind: OutputKind::Logits,
        count,
        classes,
        created: "2026-11-24T06:00:00Z".to_owned(),
        reason: "first golden".to_owned(),
    }
}

pub(crate) fn golden() -> Golden {
    Golden::new(header(3, 2), vec![0.1, -2.5, 1e-9, 1.0, 16_777_216.0, -0.0]).unwrap()
}

fn written(text: &str) -> Result<Golden> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cifar10.golden");
    std::fs::write(&path, text).unwrap();
    Golden::read(&path).map_err(|mut error| {
        error.message = error.message.replace(&format!("{}/", folder.path().display()), "");
        error
    })
}

#[test]
fn the_text_diffs_well() {
    insta::assert_snapshot!(golden().to_text(), @r"
    trtgate.golden/v1
    model: cifar10
    model-sha256: a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
    probes-sha256: b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2
    runtime: tensorflow
    version: 2.21.0
    precision: fp32
    output: logits
    kind: logits
    count: 3
    classes: 2
    created: 2026-11-24T06:00:00Z
    reason: first golden

    0 0: 0.1 -2.5
    1 1: 1e-9 1.0
    2 0: 16777216.0 -0.0
    sha256: c477a49e36b644ca0ad640432cba81ba9a6d0b612480f90c2d2689a2f9d57e29
    ");
}

#[test]
fn a_file_reads_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = Golden::path(&folder.path().join("new"), "cifar10");
    golden().write(&path).unwrap();
    golden().write(&path).unwrap();
    let read = Golden::read(&path).unwrap();
    assert_eq!(read, golden());
    assert_eq!(read.values()[5].to_bits(), (-0.0_f32).to_bits());
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[rstest]
#[case::missing_digest("\nsha256", "\n", "has \": ")]
#[case::edited("0.1", "0.2", "does not match its own digest: it was edited or damaged")]
#[case::not_finite("-2.5", "NaN", "holds NaN for probe 0, class 1: not a finite number")]
#[case::infinite("-2.5", "inf", "holds inf for probe 0, class 1: not a finite number")]
#[case::overflowing("-2.5", "-1e99", "holds -1e99 for probe 0, class 1: not a finite number")]
#[case::no_number("-2.5", "x", "has no number in \"x\" on line 15")]
#[case::short_row(" -2.5", "", "holds 1 outputs for probe 0 on line 15, expected 2")]
#[case::long_row("-2.5", "-2.5 1.0", "holds 3 outputs for probe 0 on line 15, expected 2")]
#[case::wrong_answer("0 0:", "0 1:", "states answer 1 for probe 0 on line 15, its outputs say 0")]
#[case::missing_probe("1 1: 1e-9 1.0\n", "", "has a malformed line 16, expected probe 1")]
#[case::count_too_small(
    "count: 3",
    "count: 2",
    "has \"2 0: 16777216.0 -0.0\" on line 17, expected its digest after 2 probes"
)]
#[case::count_too_large("count: 3", "count: 4", "has a malformed line 18, expected probe 3")]
#[case::count_zero("count: 3", "count: 0", "holds 0 probes × 2 classes")]
#[case::count_forged("count: 3", "count: 18446744073709551615", "holds 18446744073709551615 probes × 2 classes")]
#[case::other_schema("golden/v1", "golden/v2", "starts with \"trtgate.golden/v2\", expected `trtgate.golden/v1`")]
#[case::unknown_key("version:", "versions:", "has \"versions: 2.21.0\" on line 6, expected `version`")]
#[case::short_hash("a1a1", "a1", "has no SHA-256 as `model-sha256` on line 3")]
#[case::unknown_runtime("tensorflow", "torch", "has \"torch\" as `runtime` on line 5")]
#[case::windows_line_endings(
    "\n",
    "\r\n",
    "has Windows line endings: keep it as it is with `*.golden -text` in `.gitattributes`"
)]
fn a_damaged_file_is_invalid(#[case] from: &str, #[case] to: &str, #[case] message: &str) {
    let error = written(&golden().to_text().replacen(from, to, 1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    let expected = format!("golden `cifar10.golden` {message}");
    assert!(error.message.starts_with(&expected), "{}\n{expected}", error.message);
}

#[test]
fn a_file_cut_anywhere_is_invalid() {
    let text = golden().to_text();
    for length in 0..text.len() {
        let error = written(&text[..length]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "cut at {length}");
    }
    assert_eq!(written("").unwrap_err().message, "golden `cifar10.golden` is empty");
    assert!(written(&text[..300]).unwrap_err().message.contains("is truncated after line"));
    assert!(written(&format!("{text}\n")).unwrap_err().message.contains("goes on after its digest"));
}

#[test]
fn a_missing_file_is_invalid_and_says_what_to_do() {
    let error = Golden::read(Path::new("nowhere/cifar10.golden")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(error.message, "there is no golden at `nowhere/cifar10.golden`");
}

#[test]
fn a_stale_or_foreign_golden_is_invalid() {
    let (model, probes, other) = ("a1".repeat(32), "b2".repeat(32), "c3".repeat(32));
    let expected = Expected {
        model_sha256: &model,
        probes_sha256: &probes,
        output: "logits",
        kind: OutputKind::Logits,
        count: 3,
        classes: 2,
    };
    let path = Path::new("g.golden");
    golden().verify(&expected, path).unwrap();
    let cases = [
        Expected { model_sha256: &other, ..expected },
        Expected { probes_sha256: &other, ..expected },
        Expected { count: 4, ..expected },
        Expected { classes: 3, ..expected },
        Expected { kind: OutputKind::Probabilities, ..expected },
    ];
    let messages = cases.map(|case| {
        let error = golden().verify(&case, path).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        error.message
    });
    insta::assert_snapshot!(messages.join("\n"), @r"
    golden `g.golden` is of another model: `cifar10` (sha256 a1a1a1a1a1a1), the gated one is sha256 c3c3c3c3c3c3
    golden `g.golden` is of another probe set: sha256 b2b2b2b2b2b2, the one in use is sha256 c3c3c3c3c3c3
    golden `g.golden` holds 3 probes, 4 are in use
    golden `g.golden` holds 2 classes, the model has 3
    golden `g.golden` is of output `logits` (logits), the gated one is `logits` (probabilities)
    ");
}

#[rstest]
#[case::empty(header(0, 2), vec![])]
#[case::short(header(2, 2), vec![0.0; 3])]
#[case::not_finite(header(1, 2), vec![0.0, f32::NAN])]
#[case::two_line_reason(Header { reason: "a\nb".to_owned(), ..header(1, 1) }, vec![0.0])]
#[case::no_reason(Header { reason: String::new(), ..header(1, 1) }, vec![0.0])]
fn nothing_invalid_becomes_a_golden(#[case] header: Header, #[case] values: Vec<f32>) {
    assert_eq!(Golden::new(header, values).unwrap_err().kind, ErrorKind::Invalid);
}

proptest! {
    #[test]
    fn every_float_survives(bits in prop::collection::vec(any::<u32>(), 1..60)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|value| value.is_finite()).collect();
        prop_assume!(!values.is_empty());
        let golden = Golden::new(header(values.len(), 1), values).unwrap();
        let read = Golden::parse(&golden.to_text()).unwrap();
        let bits = |golden: &Golden| golden.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read), bits(&golden));
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,200}") {
        prop_assert!(Golden::parse(&text).is_err());
    }
}
