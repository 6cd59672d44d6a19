#![allow(clippy::unwrap_used)]
use approx::assert_relative_eq;
use rstest::rstest;

use super::*;

const ROW: &str = r#"schema = "trtgate.tolerances/v2"
[[row]]
libraries = ["onnxruntime"]
precisions = ["fp16"]
loss = 0.002
leads = 0.1
slope = 0.02
absolute = 0.1
relative = 0.01
near_tie = 0.1
sqnr_db = 40.0
cosine = 0.9995
accuracy_drop_points = 0.1
precision_share = 0.9
size_ratio = [0.4, 0.75]
batch_absolute = 0.02
gates = ["loss", "leads", "slope", "order", "accuracy", "precision-proof", "size", "batch-invariance"]
shows = ["tolerance", "sqnr", "cosine", "agreement", "scales", "determinism"]
source = "because"
"#;

#[test]
fn the_built_in_ladder_serves_every_combination_of_the_matrix() {
    let ladder = Ladder::built_in().unwrap();
    use Precision::{Fp16, Fp16Flag, Fp32, Int8, Int8Calibrated, Tf32};
    let matrix: [(Library, &[Precision]); 7] = [
        (Library::Tensorflow, &[Fp32]),
        (Library::Onnxruntime, &[Fp32, Fp16, Int8]),
        (Library::Litert, &[Int8]),
        (Library::Tensorrt, &[Fp32, Tf32, Fp16, Fp16Flag, Int8, Int8Calibrated]),
        (Library::TensorrtRtx, &[Fp32, Tf32, Fp16, Int8]),
        (Library::TensorrtLean, &[Fp32, Tf32, Fp16, Int8]),
        (Library::Triton, &[Fp32, Tf32, Fp16, Fp16Flag, Int8, Int8Calibrated]),
    ];
    for (library, precisions) in matrix {
        for &precision in precisions {
            assert!(ladder.row(library, precision).is_ok(), "{library} {precision}");
        }
    }
    let missing = ladder.row(Library::Tensorflow, Int8).unwrap_err();
    assert_eq!(missing.kind, crate::ErrorKind::Invalid);
    assert_eq!(missing.message, "the tolerance ladder has no row for `tensorflow` in `int8`");
}

#[test]
fn coarser_precisions_stand_lower_on_the_ladder() {
    let ladder = Ladder::built_in().unwrap();
    let steps = [Precision::Fp32, Precision::Tf32, Precision::Fp16, Precision::Int8];
    for pair in steps.windows(2) {
        let (finer, coarser) =
            (ladder.row(Library::Tensorrt, pair[0]).unwrap(), ladder.row(Library::Tensorrt, pair[1]).unwrap());
        assert!(finer.absolute < coarser.absolute && finer.sqnr_db > coarser.sqnr_db);
        let (fine, coarse) = (finer.limits, coarser.limits);
        assert!(fine.loss <= coarse.loss && fine.leads <= coarse.leads && fine.slope <= coarse.slope);
        assert!(finer.cosine >= coarser.cosine && finer.batch_absolute <= coarser.batch_absolute);
    }
}

#[rstest]
#[case::unknown_key("absolute = 0.1", "absolut = 0.1", 8)]
#[case::missing_key("absolute = 0.1\n", "", 2)]
#[case::unknown_precision("\"fp16\"", "\"fp61\"", 4)]
#[case::text_for_a_number("cosine = 0.9995", "cosine = \"high\"", 12)]
#[case::nan("absolute = 0.1", "absolute = nan", 8)]
#[case::infinite("absolute = 0.1", "absolute = inf", 8)]
#[case::negative("relative = 0.01", "relative = -0.01", 9)]
#[case::near_tie_too_wide("near_tie = 0.1", "near_tie = 0.3", 10)]
#[case::loss_over_one("loss = 0.002", "loss = 2.0", 5)]
#[case::negative_slope("slope = 0.02", "slope = -0.02", 7)]
#[case::share_over_one("precision_share = 0.9", "precision_share = 90.0", 14)]
#[case::band_reversed("[0.4, 0.75]", "[0.75, 0.4]", 15)]
#[case::check_in_neither("\"loss\", ", "", 17)]
#[case::check_in_both("shows = [", "shows = [\"size\", ", 17)]
#[case::unknown_check("\"determinism\"", "\"determination\"", 18)]
#[case::no_source("\"because\"", "\" \"", 19)]
#[case::other_schema("tolerances/v2", "tolerances/v9", 1)]
#[case::pair_twice("[\"onnxruntime\"]", "[\"onnxruntime\", \"onnxruntime\"]", 3)]
fn a_flaw_is_named_with_its_line(#[case] from: &str, #[case] to: &str, #[case] line: usize) {
    let error = Ladder::parse(&ROW.replacen(from, to, 1), "`t.toml`").unwrap_err();
    assert_eq!(error.kind, crate::ErrorKind::Usage);
    assert!(error.message.starts_with(&format!("`t.toml`, line {line}: ")), "{}", error.message);
}

#[test]
fn gates_must_compare_outputs() {
    let text = ROW
        .replace("gates = [\"loss\", \"leads\", \"slope\", \"order\", ", "gates = [")
        .replace("shows = [", "shows = [\"loss\", \"leads\", \"slope\", \"order\", ");
    let error = Ladder::parse(&text, "`t.toml`").unwrap_err();
    assert!(error.message.contains("compares no outputs"), "{}", error.message);
}

#[test]
fn a_missing_file_is_an_input_error() {
    let error = Ladder::read(Path::new("no-such-tolerances.toml")).unwrap_err();
    assert_eq!(error.kind, crate::ErrorKind::Input);
}

fn row(absolute: f64) -> Row {
    let ladder = Ladder::parse(ROW, "t").unwrap();
    Row { absolute, ..ladder.row(Library::Onnxruntime, Precision::Fp16).unwrap().clone() }
}

#[rstest]
#[case(0.01)]
#[case(0.5)]
#[case(3.0)]
fn the_bound_of_a_probability_is_what_logits_can_do(#[case] error: f64) {
    let bound = row(error / 2.0).bounds(OutputKind::Probabilities, 2.0).tolerance.absolute;
    // The worst case: two classes, the gap moves from −error to +error.
    let sigmoid = |gap: f64| 1.0 / (1.0 + (-gap).exp());
    assert_relative_eq!(bound, sigmoid(error) - sigmoid(-error), epsilon = 1e-12);
}

#[test]
fn bounds_follow_the_scale_of_the_reference_unless_given_in_its_unit() {
    let bounds = row(0.1).bounds(OutputKind::Logits, 5.0);
    assert_relative_eq!(bounds.tolerance.absolute, 0.5);
    assert_relative_eq!(bounds.near_tie, 0.5);
    let given = Row { unit: Unit::Output, ..row(0.1) };
    for kind in [OutputKind::Logits, OutputKind::Probabilities] {
        assert_eq!(given.bounds(kind, 5.0).tolerance.absolute.to_bits(), 0.1_f64.to_bits());
    }
}

#[test]
fn a_named_loss_moves_the_limit_of_the_leads_with_it() {
    let limits = Ladder::parse(ROW, "t").unwrap().row(Library::Onnxruntime, Precision::Fp16).unwrap().limits;
    let wider = limits.with_loss(0.03);
    assert_eq!((wider.loss, wider.slope, wider.named), (0.03, limits.slope, true));
    assert_relative_eq!(wider.leads, 0.5);
    // Naming the ladder's own loss, or less, loosens nothing.
    assert_eq!(limits.with_loss(limits.loss).leads, limits.leads);
    assert!(limits.with_loss(0.0005).leads < limits.leads);
    let ladder = Ladder::built_in().unwrap();
    let named = ladder.clone().with_losses(&[(Precision::Int8, 0.05)]);
    let leads = |ladder: &Ladder, precision| ladder.row(Library::Onnxruntime, precision).unwrap().limits.leads;
    assert_relative_eq!(leads(&named, Precision::Int8), (0.05_f64 / 0.12).sqrt());
    assert_eq!(leads(&named, Precision::Fp16), leads(&ladder, Precision::Fp16));
}

#[test]
fn scatter_knows_neither_offsets_of_samples_nor_constants_of_classes() {
    let values: Vec<f32> = (0..80).map(|index| (index * 17 % 23) as f32 * 0.25).collect();
    let own = scatter(&values, 4);
    let moved: Vec<f32> = values
        .iter()
        .enumerate()
        .map(|(index, value)| value + (index / 4 * 8) as f32 - if index % 4 == 3 { 4096.0 } else { 0.0 })
        .collect();
    assert_relative_eq!(scatter(&moved, 4), own, max_relative = 1e-3);
    // By hand: rows ±1 about their means, one column each way.
    assert_relative_eq!(scatter(&[1.0, -1.0, -1.0, 1.0], 2), 1.0);
    assert_eq!((scatter(&[], 4), scatter(&[5.0, 5.0, 5.0, 5.0], 2)), (0.0, 0.0));
}

#[test]
fn spread_is_that_of_the_logits_in_both_kinds_of_output() {
    let logits: Vec<f32> = (0..40).map(|index| (index * 17 % 23) as f32 * 0.3).collect();
    let probabilities: Vec<f32> = logits
        .chunks_exact(4)
        .flat_map(|row| {
            let sum: f32 = row.iter().map(|value| value.exp()).sum();
            row.iter().map(move |value| value.exp() / sum).collect::<Vec<_>>()
        })
        .collect();
    let expected = spread(&logits, 4, OutputKind::Logits);
    assert_relative_eq!(spread(&probabilities, 4, OutputKind::Probabilities), expected, max_relative = 1e-5);
    assert_relative_eq!(spread(&[1.0, 3.0, 11.0, 13.0], 2, OutputKind::Logits), 1.0);
    assert_eq!(spread(&[], 4, OutputKind::Logits), 0.0);
    assert!(spread(&[1.0, 0.0], 2, OutputKind::Probabilities).is_finite());
}

/// The reference in TensorFlow, which has other kernels for a batch of one: what sound models reach passes, and a dependence on
/// the batch just beyond what is allowed fails.
#[rstest]
#[case::residual_network(3.8e-5, true)]
#[case::just_beyond(6.6e-5, false)]
#[case::mildest_plant(8e-5, false)]
fn a_batch_of_one_may_differ_by_rounding_and_no_more(#[case] share: f64, #[case] holds: bool) {
    use crate::check::invariance::Invariance;
    use crate::check::trials::{Trial, Trials};
    use crate::tensor::Tensor;

    let probes =
        Tensor::float32("x", vec![64, 2], (0..128).map(|value| (value * 37 % 101) as f32 / 50.0 - 1.0).collect())
            .unwrap();
    let scatter = scatter(&probes.floats(), 2);
    let bound = Ladder::built_in().unwrap().row(Library::Tensorflow, Precision::Fp32).unwrap().batch_bound(scatter);
    let mut run = |input: &Tensor| {
        let alone = if input.batch() == 1 { 0.0 } else { (share * scatter) as f32 };
        let values = input.floats().iter().map(|value| value + alone).collect();
        Tensor::float32("y", vec![input.batch(), 2], values)
    };
    let found = Invariance::of(&Trials::record(&mut run, &probes, 8).unwrap(), bound);
    assert_eq!(found.holds(), holds, "{found:?}");
    let trials: Vec<Trial> =
        found.findings.iter().filter(|found| found.fault.is_some()).map(|found| found.trial).collect();
    assert_eq!(trials, if holds { vec![] } else { vec![Trial::Alone] });
}

/// A ladder of one's own may say nothing of figures by labels: nothing is lost to rounding then.
#[test]
fn what_rounding_may_cost_a_figure_is_data() {
    assert_eq!(Ladder::parse(ROW, "t").unwrap().rounding(), 0.0);
    let with = |labels: &str| Ladder::parse(&format!("{ROW}\n[labels]\n{labels}"), "t").map(|ladder| ladder.rounding());
    assert_eq!(with("rounding = 0.001\nsource = \"because\"").unwrap(), 0.001);
    for (labels, words) in [
        ("rounding = 0.2\nsource = \"because\"", "`rounding` is 0.2, not between 0 and 0.01"),
        ("rounding = nan\nsource = \"because\"", "`rounding` is NaN"),
        ("rounding = 0.001\nsource = \" \"", "`source` is empty"),
        ("rounding = 0.001", "missing field `source`"),
    ] {
        assert!(with(labels).unwrap_err().message.contains(words), "{labels}");
    }
}

/// A limit of a task may be a whole number, and no other kind of value.
#[test]
fn limits_of_tasks_are_numbers() {
    let with = |value: &str| {
        let entry =
            format!("[[task]]\ntask = \"scores\"\nprecisions = [\"fp32\"]\nalone = {value}\nsource = \"measured\"\n");
        Ladder::parse(&format!("{ROW}\n{entry}"), "t").map(|_| ()).map_err(|error| error.message)
    };
    assert_eq!((with("1.0"), with("1"), with("0.25")), (Ok(()), Ok(()), Ok(())));
    assert!(with("\"1\"").unwrap_err().contains("needs the limit `alone`"));
    assert!(with("-1").unwrap_err().contains("`alone` is -1, not between"));
}
