//! What a text holds, and what is refused.
#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::check::golden::{kind_name, tests};
use crate::error::{ErrorKind, Result};

/// The text that versions before this one wrote.
pub(crate) fn to_text(golden: &Golden) -> String {
    let Origin { model, model_sha256, runtime, version, precision, created, reason, .. } = &golden.origin;
    let output = golden.outputs.first().unwrap();
    let (count, classes, kind) = (golden.probes.count, output.row_len(), kind_name(output.kind().unwrap()));
    let mut text = format!("{SCHEMA}\nmodel: {model}\nmodel-sha256: {model_sha256}\n");
    text.push_str(&format!("probes-sha256: {}\nruntime: {runtime}\nversion: {version}\n", golden.probes.sha256));
    text.push_str(&format!("precision: {precision}\noutput: {}\nkind: {kind}\ncount: {count}\n", output.name));
    text.push_str(&format!("classes: {classes}\ncreated: {created}\nreason: {reason}\n\n"));
    for (index, row) in output.values().unwrap().chunks_exact(classes).enumerate() {
        let outputs: Vec<String> = row.iter().map(|value| format!("{value:?}")).collect();
        text.push_str(&format!("{index} {}: {}\n", answer(row), outputs.join(" ")));
    }
    let digest = digest_of(&text);
    text.push_str(&format!("{DIGEST_KEY}{digest}\n"));
    text
}

fn golden() -> Golden {
    let mut golden = tests::golden();
    golden.origin.manifest = None;
    golden.origin.trtgate = None;
    golden.probes = Probes { seed: None, made_from: Vec::new(), labels: None, inputs: Vec::new(), ..golden.probes };
    golden
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
    insta::assert_snapshot!(to_text(&golden()), @r"
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
#[case::newer_schema("golden/v1", "golden/v3", "is a `trtgate.golden/v3`, this program reads `trtgate.golden/v2`")]
#[case::unknown_key("version:", "versions:", "has \"versions: 2.21.0\" on line 6, expected `version`")]
#[case::short_hash("a1a1", "a1", "has no SHA-256 as `model-sha256` on line 3")]
#[case::unknown_runtime("tensorflow", "torch", "has \"torch\" as `runtime` on line 5")]
#[case::windows_line_endings(
    "\n",
    "\r\n",
    "has Windows line endings: keep it as it is with `*.golden -text` in `.gitattributes`"
)]
fn a_damaged_file_is_invalid(#[case] from: &str, #[case] to: &str, #[case] message: &str) {
    let error = written(&to_text(&golden()).replacen(from, to, 1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    let expected = format!("golden `cifar10.golden` {message}");
    assert!(error.message.starts_with(&expected), "{}\n{expected}", error.message);
}

#[test]
fn a_file_cut_anywhere_is_invalid() {
    let text = to_text(&golden());
    for length in 0..text.len() {
        let error = written(&text[..length]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "cut at {length}");
    }
    assert_eq!(written("").unwrap_err().message, "golden `cifar10.golden` is empty");
    assert!(written(&text[..300]).unwrap_err().message.contains("is truncated after line"));
    assert!(written(&format!("{text}\n")).unwrap_err().message.contains("goes on after its digest"));
}

proptest! {
    #[test]
    fn every_float_survives(bits in prop::collection::vec(any::<u32>(), 1..60)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|value| value.is_finite()).collect();
        prop_assume!(!values.is_empty());
        let mut golden = golden();
        golden.probes.count = values.len();
        golden.outputs = vec![Output::classification("scores", OutputKind::Logits, [values.len(), 1], &values).unwrap()];
        prop_assert_eq!(parse(to_text(&golden).as_bytes()).unwrap(), golden);
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,200}") {
        prop_assert!(parse(text.as_bytes()).is_err());
    }
}
