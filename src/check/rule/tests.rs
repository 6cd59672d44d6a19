#![allow(clippy::unwrap_used)]
use approx::assert_relative_eq;
use proptest::prelude::*;

use super::*;

/// Leads of natural samples at these nats, as if there were as many as quantiles.
fn natural(leads: &[f64]) -> NaturalLeads {
    let outputs: Vec<f32> = leads.iter().flat_map(|&lead| [lead as f32 - 8.0, -8.0]).collect();
    NaturalLeads::of(&outputs, 2, OutputKind::Logits).unwrap()
}

fn measured(reference: &[f32], actual: &[f32], classes: usize, kind: OutputKind, natural: &NaturalLeads) -> Measured {
    let pair = OutputPair::new(reference, actual, reference.len() / classes, classes).unwrap();
    measure(&pair, kind, natural).unwrap()
}

#[test]
fn figures_of_a_small_case_by_hand() {
    // Leads 2, 4 and 1; now 1, 4 and -1: errors -1, 0 and -2. All natural leads are 2 nats.
    let reference = [2.0, 0.0, -3.0, 5.0, 1.0, 0.0, 0.0, 1.0, -4.0];
    let actual = [2.0, 1.0, -3.0, 5.0, 1.0, 0.0, 1.0, 0.0, -4.0];
    let found = measured(&reference, &actual, 3, OutputKind::Logits, &natural(&[2.0; 8]));
    assert_eq!(found.lead_errors, [-1.0, 0.0, -2.0]);
    assert_relative_eq!(found.error, (5.0_f64 / 3.0).sqrt() / 2.0);
    // No error is below -2: nothing flips, the one that meets it exactly neither.
    assert_eq!((found.loss, found.changed), (0.0, 0.0));
    // Against leads of 1 nat, one of three errors flips every answer, of which each costs tanh(1).
    let found = measured(&reference, &actual, 3, OutputKind::Logits, &natural(&[1.0; 8]));
    assert_relative_eq!(found.changed, 1.0 / 3.0, max_relative = 1e-12);
    assert_relative_eq!(found.loss, 1.0_f64.tanh() / 3.0, max_relative = 1e-12);
    // 2·1 + 4·4 + 1·(-1) over 4 + 16 + 1.
    assert_relative_eq!(found.slope, 17.0 / 21.0);
}

#[test]
fn errors_are_cut_at_three_typical_leads() {
    let reference: Vec<f32> = [3.0, 2.0].repeat(256);
    let mut actual = reference.clone();
    actual[0] = -1e6;
    let found = measured(&reference, &actual, 2, OutputKind::Logits, &natural(&[1.0; 8]));
    assert_relative_eq!(found.error, 3.0 / 16.0);
    assert_relative_eq!(found.changed, 1.0 / 256.0);
}

#[test]
fn a_rival_that_rises_is_seen_whichever_class_it_is() {
    // The class that rises was the last of all, as a masked or dead one is.
    let reference = [4.0, 3.0, -1e4].repeat(16);
    let actual = [4.0, 3.0, 9.0].repeat(16);
    let found = measured(&reference, &actual, 3, OutputKind::Logits, &natural(&[1.0; 8]));
    assert_relative_eq!(found.error, 3.0);
    assert_relative_eq!(found.loss, 1.0_f64.tanh(), max_relative = 1e-12);
}

#[test]
fn a_reference_without_leads_is_invalid() {
    let pair = OutputPair::new(&[1.0, 1.0], &[1.0, 1.0], 1, 2).unwrap();
    let error = measure(&pair, OutputKind::Logits, &natural(&[0.0; 8])).unwrap_err();
    assert_eq!(error.kind, crate::ErrorKind::Invalid);
    assert!(error.message.contains("the same score on ordinary inputs (8 samples)"), "{error}");
    let error = measure(&pair, OutputKind::Logits, &natural(&[1.0; 8])).unwrap_err();
    assert!(error.message.contains("tie on every probe"), "{error}");
    let single = OutputPair::new(&[1.0], &[1.0], 1, 1).unwrap();
    assert_eq!(measure(&single, OutputKind::Logits, &natural(&[1.0; 8])).unwrap_err().kind, crate::ErrorKind::Usage);
}

#[test]
fn nothing_that_is_no_number_keeps_within_limits() {
    let limits = Limits { loss: 1.0, leads: 3.0, slope: 10.0, named: false };
    let sound = measured(&[3.0, 2.0], &[3.0, 2.0], 2, OutputKind::Logits, &natural(&[1.0; 8]));
    assert!(sound.keeps(&limits));
    let spoiled: [fn(&mut Measured); 3] =
        [|found| found.loss = f64::NAN, |found| found.error = f64::NAN, |found| found.slope = f64::NAN];
    for spoil in spoiled {
        let mut found = sound.clone();
        spoil(&mut found);
        assert!(!found.keeps(&limits));
    }
    let mut broken = natural(&[1.0; 8]);
    broken.typical = f64::NAN;
    let pair = OutputPair::new(&[3.0, 2.0], &[3.0, 2.0], 1, 2).unwrap();
    assert!(measure(&pair, OutputKind::Logits, &broken).is_err());
}

#[test]
fn a_softmax_declared_as_logits_is_measured_as_what_it_is() {
    let reference = [0.7_f32, 0.2, 0.1, 0.05, 0.9, 0.05];
    let actual = [0.6_f32, 0.3, 0.1, 0.1, 0.8, 0.1];
    let leads = natural(&[1.0; 8]);
    let declared = measured(&reference, &actual, 3, OutputKind::Logits, &leads);
    assert_eq!(declared, measured(&reference, &actual, 3, OutputKind::Probabilities, &leads));
    assert_eq!(declared.kind, OutputKind::Probabilities);
}

#[test]
fn a_named_loss_never_loosens_what_it_does_not_exceed() {
    let limits = Limits { loss: 0.03, leads: 0.5, slope: 0.2, named: false };
    for loss in [0.001, 0.01, 0.03] {
        assert!(limits.with_loss(loss).leads <= limits.leads);
    }
    let wider = limits.with_loss(0.12);
    assert_eq!((wider.loss, wider.leads, wider.slope, wider.named), (0.12, 1.0, 0.2, true));
}

#[test]
fn few_samples_may_hold_the_error_of_sixty_four() {
    let limits = Limits { loss: 0.03, leads: 0.5, slope: 0.2, named: false };
    assert_eq!((limits.of_few(64), limits.of_few(256)), (limits, limits));
    let few = limits.of_few(16);
    assert_relative_eq!(few.loss, 0.12);
    assert_relative_eq!(few.leads, 1.0);
    assert_relative_eq!(few.slope, 0.4);
}

/// Rows of logits with errors, and natural leads.
fn outputs() -> impl Strategy<Value = (usize, Vec<(f32, f32)>, Vec<f64>)> {
    (2_usize..7, 2_usize..40).prop_flat_map(|(classes, samples)| {
        let errors = prop::collection::vec((-20_f32..20.0, -3_f32..3.0), classes * samples);
        (Just(classes), errors, prop::collection::vec(0.05_f64..8.0, 4..60))
    })
}

fn near(one: &Measured, other: &Measured) -> std::result::Result<(), TestCaseError> {
    let figures = |found: &Measured| [found.error, found.slope];
    for (one, other) in figures(one).into_iter().zip(figures(other)) {
        prop_assert!((one - other).abs() <= 1e-3 * (1.0 + one.abs()), "{one} {other}");
    }
    // An error that meets a natural lead to the last bit may count or not.
    for (one, other) in [(one.loss, other.loss), (one.changed, other.changed)] {
        prop_assert!((one - other).abs() <= 0.02, "{one} {other}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn an_offset_of_a_row_changes_nothing((classes, values, leads) in outputs(), offsets in prop::collection::vec(-100_i16..100, 40)) {
        let reference: Vec<f32> = values.iter().map(|(x, _)| *x).collect();
        let actual: Vec<f32> = values.iter().map(|(x, error)| x + error).collect();
        let natural = natural(&leads);
        let before = measured(&reference, &actual, classes, OutputKind::Logits, &natural);
        let moved = |values: &[f32], sign: f32| -> Vec<f32> {
            values.iter().enumerate().map(|(index, value)| value + sign * f32::from(offsets[index / classes])).collect()
        };
        let after = measured(&moved(&reference, 1.0), &moved(&actual, -1.0), classes, OutputKind::Logits, &natural);
        near(&before, &after)?;
    }

    #[test]
    fn classes_of_a_large_negative_constant_change_nothing((classes, values, leads) in outputs(), more in 1_usize..4) {
        let reference: Vec<f32> = values.iter().map(|(x, _)| *x).collect();
        let actual: Vec<f32> = values.iter().map(|(x, error)| x + error).collect();
        let natural = natural(&leads);
        let before = measured(&reference, &actual, classes, OutputKind::Logits, &natural);
        let padded = |values: &[f32], constant: f32| -> Vec<f32> {
            values.chunks_exact(classes).flat_map(|row| [row, &vec![constant; more]].concat()).collect()
        };
        // Its own conversion may move such a class as far as it likes.
        let after =
            measured(&padded(&reference, -1e4), &padded(&actual, -9.5e3), classes + more, OutputKind::Logits, &natural);
        prop_assert_eq!(before, after);
    }

    #[test]
    fn the_temperature_of_both_sides_changes_nothing((classes, values, leads) in outputs(), power in -3_i32..4) {
        let reference: Vec<f32> = values.iter().map(|(x, _)| *x).collect();
        let actual: Vec<f32> = values.iter().map(|(x, error)| x + error).collect();
        let before = measured(&reference, &actual, classes, OutputKind::Logits, &natural(&leads));
        // A power of two keeps every bit.
        let factor = 2_f32.powi(power);
        let scaled = |values: &[f32]| -> Vec<f32> { values.iter().map(|value| value * factor).collect() };
        let leads: Vec<f64> = leads.iter().map(|lead| lead * f64::from(factor)).collect();
        let after = measured(&scaled(&reference), &scaled(&actual), classes, OutputKind::Logits, &natural(&leads));
        near(&before, &after)?;
    }

    #[test]
    fn the_order_of_samples_and_classes_changes_nothing((classes, values, leads) in outputs(), turn in 1_usize..7) {
        let reference: Vec<f32> = values.iter().map(|(x, _)| *x).collect();
        let actual: Vec<f32> = values.iter().map(|(x, error)| x + error).collect();
        let natural = natural(&leads);
        let before = measured(&reference, &actual, classes, OutputKind::Logits, &natural);
        let samples = |values: &[f32]| -> Vec<f32> {
            let turn = classes * (turn % (values.len() / classes));
            let mut values = values.to_vec();
            values.rotate_left(turn);
            values
        };
        let columns = |values: &[f32]| -> Vec<f32> {
            values
                .chunks_exact(classes)
                .flat_map(|row| (0..classes).map(|class| row[(class + turn) % classes]).collect::<Vec<_>>())
                .collect()
        };
        near(&before, &measured(&samples(&reference), &samples(&actual), classes, OutputKind::Logits, &natural))?;
        near(&before, &measured(&columns(&reference), &columns(&actual), classes, OutputKind::Logits, &natural))?;
    }

    #[test]
    fn probes_flip_exactly_where_the_lead_and_its_error_fall_below_zero((classes, values, leads) in outputs()) {
        let reference: Vec<f32> = values.iter().map(|(x, _)| *x).collect();
        let actual: Vec<f32> = values.iter().map(|(x, error)| x + error).collect();
        let found = measured(&reference, &actual, classes, OutputKind::Logits, &natural(&leads));
        let rows = reference.chunks_exact(classes).zip(actual.chunks_exact(classes));
        for ((x, y), error) in rows.zip(&found.lead_errors) {
            let (before, after) = (Lead::of(x, OutputKind::Logits), Lead::of(y, OutputKind::Logits));
            let sum = before.nats + error;
            // But for exact ties, and sums that round to one.
            prop_assume!(after.nats > 0.0 && sum.abs() > 1e-9);
            prop_assert_eq!(before.answer != after.answer, sum < 0.0);
        }
    }

    #[test]
    fn logits_and_their_softmax_cost_the_same((classes, values, leads) in outputs()) {
        // Small enough for no class to fall below the least probability.
        let reference: Vec<f32> = values.iter().map(|(x, _)| x * 0.1).collect();
        let actual: Vec<f32> = values.iter().map(|(x, error)| (x + error) * 0.1).collect();
        let softmax = |values: &[f32]| -> Vec<f32> {
            values
                .chunks_exact(classes)
                .flat_map(|row| {
                    let sum: f64 = row.iter().map(|value| f64::from(*value).exp()).sum();
                    row.iter().map(move |value| (f64::from(*value).exp() / sum) as f32).collect::<Vec<_>>()
                })
                .collect()
        };
        let natural = natural(&leads);
        let logits = measured(&reference, &actual, classes, OutputKind::Logits, &natural);
        let probabilities =
            measured(&softmax(&reference), &softmax(&actual), classes, OutputKind::Probabilities, &natural);
        near(&logits, &probabilities)?;
    }
}
