#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::*;
use crate::check::determinism::Determinism;
use crate::check::ladder::Ladder;
use crate::check::leads::NaturalLeads;
use crate::check::precision;
use crate::check::rule::Limits;
use crate::check::trials::{Run, Trials};
use crate::manifest::OutputKind;
use crate::tensor::Values;
use crate::vocabulary::Layer;
use crate::vocabulary::{Library, Precision};

const SAMPLES: usize = 256;
const CLASSES: usize = 10;

fn row(precision: Precision) -> Row {
    Ladder::built_in().unwrap().row(Library::Tensorrt, precision).unwrap().clone()
}

/// Logits in -10..10 whose largest stands out by a margin of at least 1.
fn reference() -> Tensor {
    let mut state = 1_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut values = Vec::with_capacity(SAMPLES * CLASSES);
    for sample in 0..SAMPLES {
        let mut row: Vec<f32> = (0..CLASSES).map(|_| draw() * 15.0 - 10.0).collect();
        // Two classes are rare: they win in one sample of 32 each.
        let winner = match sample % 32 {
            7 => 3,
            19 => 8,
            other => [0, 1, 2, 4, 5, 6, 7, 9][other % 8],
        };
        row[winner] = 6.0 + draw() * 4.0;
        values.extend(row);
    }
    Tensor::float32("logits", vec![SAMPLES, CLASSES], values).unwrap()
}

fn floats(tensor: &mut Tensor) -> &mut Vec<f32> {
    tensor.values.as_mut().unwrap()
}

fn altered(change: impl FnOnce(&mut Tensor)) -> Tensor {
    let mut tensor = reference();
    change(&mut tensor);
    tensor
}

fn noisy(amplitude: f32) -> Tensor {
    altered(|tensor| {
        for (index, value) in floats(tensor).iter_mut().enumerate() {
            *value += ((index * 7919 % 1009) as f32 / 504.0 - 1.0) * amplitude;
        }
    })
}

/// Judges by the reference's own leads, as if its samples were natural.
fn judged_by(
    reference: &Tensor,
    actual: &Tensor,
    kind: OutputKind,
    row: &Row,
    evidence: Evidence<'_>,
) -> CellJudgement {
    let natural = NaturalLeads::of(&reference.floats(), CLASSES, kind).unwrap();
    let terms = Terms { kind, row, natural: &natural, confident_allowed: 0, batch: Some(32) };
    judge(&Inputs { reference, actual, samples: SAMPLES, terms, evidence })
}

fn judged(actual: &Tensor, precision: Precision, evidence: Evidence<'_>) -> CellJudgement {
    judged_by(&reference(), actual, OutputKind::Logits, &row(precision), evidence)
}

fn told(judgement: &CellJudgement) -> String {
    let hint = judgement.hint.as_deref().unwrap_or("-");
    format!("{}: {}\nhint: {hint}", judgement.status, judgement.reason.as_deref().unwrap_or("-"))
}

#[rstest]
#[case(Precision::Fp32, 1e-5)]
#[case(Precision::Tf32, 0.01)]
#[case(Precision::Fp16, 0.02)]
#[case(Precision::Int8, 0.3)]
fn the_noise_of_each_precision_passes(#[case] precision: Precision, #[case] amplitude: f32) {
    let judgement = judged(&noisy(amplitude), precision, Evidence::default());
    assert_eq!(told(&judgement), "pass: -\nhint: -");
    assert_eq!(judgement.agreement.unwrap().top1_matches, SAMPLES);
    assert_eq!(judgement.histogram.unwrap().counts.iter().sum::<u64>(), (SAMPLES * CLASSES) as u64);
}

#[rstest]
#[case(Precision::Fp32, 0.02)]
#[case(Precision::Tf32, 0.8)]
#[case(Precision::Fp16, 0.8)]
#[case(Precision::Int8, 4.0)]
fn the_noise_of_the_next_precision_does_not(#[case] precision: Precision, #[case] amplitude: f32) {
    assert_eq!(judged(&noisy(amplitude), precision, Evidence::default()).status, Status::Fail);
}

type Fault = fn(&mut Tensor);

fn all_nan(tensor: &mut Tensor) {
    floats(tensor).fill(f32::NAN);
}
fn one_nan(tensor: &mut Tensor) {
    floats(tensor)[1234] = f32::NAN;
}
fn infinity(tensor: &mut Tensor) {
    floats(tensor)[40] = f32::INFINITY;
}
fn one_sample_missing(tensor: &mut Tensor) {
    tensor.shape[0] -= 1;
    floats(tensor).truncate((SAMPLES - 1) * CLASSES);
}
fn no_samples(tensor: &mut Tensor) {
    tensor.shape[0] = 0;
    floats(tensor).clear();
}
fn wrong_shape(tensor: &mut Tensor) {
    tensor.shape = vec![SAMPLES, 5, 2];
}
fn lying_shape(tensor: &mut Tensor) {
    floats(tensor).truncate(10);
}
fn wrong_type(tensor: &mut Tensor) {
    tensor.values = Values::Int64(vec![0; SAMPLES * CLASSES]);
}
fn weights_off_by_a_percent(tensor: &mut Tensor) {
    // A weight of the last layer but one off by 1 % moves every class by its own share.
    for (index, value) in floats(tensor).iter_mut().enumerate() {
        *value += 0.01 * ((index % CLASSES) as f32 - 4.5) * ((index / CLASSES % 7) as f32 - 3.0) * 0.2;
    }
}
fn rare_classes_swapped(tensor: &mut Tensor) {
    floats(tensor).chunks_exact_mut(CLASSES).for_each(|row| row.swap(3, 8));
}
fn two_slots_swapped(tensor: &mut Tensor) {
    for class in 0..CLASSES {
        floats(tensor).swap(class, CLASSES + class);
    }
}
fn scale_doubled(tensor: &mut Tensor) {
    floats(tensor).iter_mut().for_each(|value| *value *= 2.0);
}
fn constant(tensor: &mut Tensor) {
    *floats(tensor) = floats(tensor)[..CLASSES].repeat(SAMPLES);
}
fn batch_late(tensor: &mut Tensor) {
    floats(tensor).rotate_right(32 * CLASSES);
}

#[rstest]
#[case::all_nan(all_nan)]
#[case::one_nan(one_nan)]
#[case::infinity(infinity)]
#[case::one_sample_missing(one_sample_missing)]
#[case::no_samples(no_samples)]
#[case::wrong_shape(wrong_shape)]
#[case::lying_shape(lying_shape)]
#[case::wrong_type(wrong_type)]
#[case::rare_classes_swapped(rare_classes_swapped)]
#[case::two_slots_swapped(two_slots_swapped)]
#[case::scale_doubled(scale_doubled)]
#[case::constant(constant)]
#[case::batch_late(batch_late)]
fn a_planted_fault_passes_in_no_precision(#[case] fault: Fault) {
    for &precision in Precision::ALL {
        let judgement = judged(&altered(fault), precision, Evidence::default());
        assert!(matches!(judgement.status, Status::Fail | Status::Invalid), "{precision}: {}", told(&judgement));
        assert!(judgement.reason.is_some());
    }
}

#[test]
fn each_planted_fault_has_its_own_message() {
    let faults: [(&str, Fault); 14] = [
        ("all NaN", all_nan),
        ("NaN in one of 256", one_nan),
        ("Inf", infinity),
        ("one sample missing", one_sample_missing),
        ("zero samples", no_samples),
        ("wrong shape", wrong_shape),
        ("values short of the shape", lying_shape),
        ("wrong type", wrong_type),
        ("weights off by 1 %", weights_off_by_a_percent),
        ("two rare classes swapped", rare_classes_swapped),
        ("two slots swapped", two_slots_swapped),
        ("scale off by 2", scale_doubled),
        ("constant", constant),
        ("answers of the batch before", batch_late),
    ];
    let messages = faults.map(|(name, fault)| {
        format!("# {name}\n{}", told(&judged(&altered(fault), Precision::Fp32, Evidence::default())))
    });
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn one_changed_answer_decides_nothing_in_eight_bits_and_everything_in_fp32() {
    let flip = |margin: f32, precision: Precision| {
        let mut reference = reference();
        floats(&mut reference)[0] = 20.0;
        floats(&mut reference)[1] = 20.0 + margin;
        let mut actual = reference.clone();
        floats(&mut actual).swap(0, 1);
        judged_by(&reference, &actual, OutputKind::Logits, &row(precision), Evidence::default())
    };
    let near = flip(2.0, Precision::Int8);
    assert_eq!(near.status, Status::Pass);
    assert_eq!(near.agreement.unwrap().near_tie_flips, 1);
    // One sample of 256 that is wrong beyond doubt: a note, and no failure where a point of accuracy is the budget.
    let sure = flip(16.0, Precision::Int8);
    assert_eq!((sure.status, sure.agreement.as_ref().unwrap().confident_flips), (Status::Pass, 1));
    assert_eq!(sure.notes, ["few samples: sample 0 makes up most of the error of the leads"]);
    let same = flip(0.1, Precision::Fp32);
    assert!(same.reason.as_deref().unwrap().contains("leads are off by"), "{same:?}");
}

#[test]
fn a_loss_near_its_limit_warns_and_passes() {
    let judgement = judged(&noisy(2.2), Precision::Int8, Evidence::default());
    let leads = judgement.leads.unwrap();
    assert!(leads.loss > leads.loss_allowed / 3.0 && leads.loss <= leads.loss_allowed, "{leads:?}");
    assert_eq!(judgement.status, Status::Pass);
    assert!(judgement.warnings[0].contains("more than a third of the 3 points allowed"), "{:?}", judgement.warnings);
}

fn layers(precision: &str) -> Vec<Layer> {
    let layer = |index| Layer {
        name: format!("conv{index}"),
        kind: "Convolution".to_owned(),
        precision: Some(precision.to_owned()),
        declared: None,
        inside: false,
        tactic: None,
        compute: true,
        outputs: Vec::new(),
    };
    (0..3).map(layer).collect()
}

#[test]
fn an_engine_of_another_precision_fails_however_good_its_answers() {
    let proof = precision::prove(Precision::Fp16, &layers("fp32"), 0.8, None);
    let size = SizeWitness { bytes: 13_200_000, fp32_bytes: 13_200_000, band: [0.4, 0.75] };
    let evidence = Evidence { precision: Some(&proof), size: Some(&size), ..Evidence::default() };
    insta::assert_snapshot!(told(&judged(&reference(), Precision::Fp16, evidence)));
    let size_only = Evidence { size: Some(&size), ..Evidence::default() };
    assert_eq!(judged(&reference(), Precision::Fp16, size_only).status, Status::Fail);
}

#[test]
fn a_proof_without_layers_is_invalid() {
    let proof = precision::prove(Precision::Fp16, &[], 0.8, None);
    let evidence = Evidence { precision: Some(&proof), ..Evidence::default() };
    assert_eq!(judged(&reference(), Precision::Fp16, evidence).status, Status::Invalid);
}

#[test]
fn a_swapped_slot_is_named_by_batch_invariance() {
    let probes = reference();
    let mut swapping = |input: &Tensor| {
        let mut output = Tensor { name: "logits".to_owned(), ..input.clone() };
        if output.batch() > 1 {
            let last = output.batch() - 1;
            for class in 0..CLASSES {
                floats(&mut output).swap((last - 1) * CLASSES + class, last * CLASSES + class);
            }
        }
        Ok(output)
    };
    let run: &mut Run<'_> = &mut swapping;
    let trials = Trials::record(run, &probes, 32).unwrap();
    let found = Invariance::of(&trials, 1e-4);
    let steady = Determinism::of(&trials.repeated, 1e-4);
    let evidence = Evidence { invariance: Some(&found), determinism: Some(&steady), ..Evidence::default() };
    let judgement = judged(&altered(two_slots_swapped), Precision::Fp16, evidence);
    insta::assert_snapshot!(told(&judgement));
}

#[test]
fn lost_accuracy_fails_where_outputs_are_within_tolerance() {
    let accuracy = Accuracy {
        samples: 932,
        correct: 850,
        reference_correct: Some(860),
        allowed_drop_points: 1.0,
        floor: None,
        labels_refused: None,
        labels_suspicious: None,
    };
    let evidence = Evidence { accuracy: Some(&accuracy), ..Evidence::default() };
    insta::assert_snapshot!(told(&judged(&noisy(0.3), Precision::Int8, evidence)));
}

#[rstest]
#[case(Check::Scales, Precision::Int8)]
#[case(Check::Size, Precision::Fp16)]
#[case(Check::PrecisionProof, Precision::Fp16)]
#[case(Check::Accuracy, Precision::Fp32)]
#[case(Check::BatchInvariance, Precision::Fp32)]
#[case(Check::Determinism, Precision::Fp32)]
fn what_was_asked_for_and_could_not_be_checked_is_no_pass(#[case] check: Check, #[case] precision: Precision) {
    let broken = [(check, Error::machine("no space left on the device"))];
    let judgement = judged(&reference(), precision, Evidence { broken: &broken, ..Evidence::default() });
    assert_eq!(judgement.status, Status::Invalid);
    assert_eq!(judgement.reason.as_deref(), Some("could not be checked: no space left on the device"));
    assert_eq!(judged(&reference(), precision, Evidence::default()).status, Status::Pass);
    let failed = judged(&altered(scale_doubled), precision, Evidence { broken: &broken, ..Evidence::default() });
    assert_eq!(failed.status, Status::Fail);
}

/// Of `samples` ordinary ones, `changed` answered otherwise at full cost.
fn counted(samples: usize, changed: usize) -> Cost {
    let answers: Vec<usize> = (0..samples).map(|sample| usize::from(sample < changed)).collect();
    Cost::of(&answers, &vec![0; samples], &vec![20.0; samples], 2.0).unwrap()
}

/// A loss that the probes' errors come to, and nothing else, is outweighed by a count that is surely within the limit.
#[test]
fn a_count_on_ordinary_samples_decides_where_the_loss_of_the_probes_is_all_that_is_wrong() {
    let mut row = row(Precision::Int8);
    let actual = noisy(1.5);
    let judged = |row: &Row, counted| {
        judged_by(
            &reference(),
            &actual,
            OutputKind::Logits,
            row,
            Evidence { counted: Some(counted), ..Evidence::default() },
        )
    };
    let leads = judged(&row, counted(4096, 0)).leads.unwrap();
    assert!(leads.loss > 0.003, "{leads:?}");
    row.limits = Limits { loss: leads.loss / 2.0, leads: 1.0, slope: 1.0, named: false };
    let few = (4096.0 * leads.loss / 8.0) as usize;
    let judgement = judged(&row, counted(4096, few));
    assert_eq!((judgement.status, judgement.reason), (Status::Pass, None));
    assert!(judgement.warnings[0].contains("counted on 4096 ordinary samples"), "{:?}", judgement.warnings);

    let many = (4096.0 * leads.loss / 2.0) as usize;
    for (why, counted) in [("chance may hide more", counted(4096, many)), ("too few", counted(1000, 0))] {
        assert_eq!(judged(&row, counted).status, Status::Fail, "{why}");
    }
    let three_times = Row { limits: Limits { loss: leads.loss / 3.1, ..row.limits }, ..row.clone() };
    assert_eq!(judged(&three_times, counted(4096, 0)).status, Status::Fail);
    let also_off = Row { limits: Limits { leads: leads.error / 1.1, ..row.limits }, ..row };
    assert_eq!(judged(&also_off, counted(4096, 0)).status, Status::Fail);
}

#[test]
fn a_check_that_gates_and_is_unavailable_is_no_pass() {
    let check = |gating| CheckResult {
        name: Check::Scales.as_str().to_owned(),
        status: Status::Unavailable,
        gating,
        detail: String::new(),
    };
    assert_eq!(status(&[check(true)]), Status::Invalid);
    assert_eq!(status(&[check(false)]), Status::Pass);
}

#[test]
fn checks_that_were_not_made_are_listed_and_are_no_pass() {
    let judgement = judged(&reference(), Precision::Fp16, Evidence::default());
    let listed: Vec<String> =
        judgement.checks.iter().map(|check| format!("{} {} {}", check.name, check.status, check.gating)).collect();
    insta::assert_snapshot!(listed.join("\n"));
}

#[test]
fn probabilities_are_judged_in_their_own_unit() {
    let softmax = |tensor: &Tensor| {
        let scores = tensor.floats();
        let rows = scores.chunks_exact(CLASSES).flat_map(|row| {
            let sum: f32 = row.iter().map(|value| value.exp()).sum();
            row.iter().map(move |value| value.exp() / sum).collect::<Vec<_>>()
        });
        Tensor { values: rows.collect::<Vec<f32>>().into(), ..tensor.clone() }
    };
    let (reference, row) = (softmax(&reference()), row(Precision::Fp16));
    let status =
        |actual: &Tensor| judged_by(&reference, actual, OutputKind::Probabilities, &row, Evidence::default()).status;
    assert_eq!(status(&softmax(&noisy(0.05))), Status::Pass);
    assert_eq!(status(&softmax(&noisy(3.0))), Status::Fail);
    assert_eq!(status(&softmax(&altered(rare_classes_swapped))), Status::Fail);
}

#[test]
fn an_error_on_the_way_keeps_its_kind() {
    assert_eq!(CellJudgement::of_error(&Error::missing("x"), Stage::Load).status, Status::Unavailable);
    assert_eq!(CellJudgement::of_error(&Error::unsupported("x"), Stage::Build).status, Status::Unsupported);
    assert_eq!(CellJudgement::of_error(&Error::machine("x"), Stage::Run).status, Status::Invalid);
    assert_eq!(CellJudgement::of_error(&Error::input("x"), Stage::Load).status, Status::Fail);
}
