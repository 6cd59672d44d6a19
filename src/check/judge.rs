//! One cell judged: every check made, the status decided by those that gate, the most telling reason first.

use crate::check::accuracy;
use crate::check::agreement::{self, Answers, Terms};
use crate::check::determinism::Determinism;
use crate::check::diagnose::{diagnose, without_pattern};
use crate::check::figure::figure;
use crate::check::invariance::Invariance;
use crate::check::ladder::{Bounds, Check, Row, spread};
use crate::check::metrics::{Metrics, SQNR_EQUAL_DB, Tolerance, measure};
use crate::check::pair::OutputPair;
use crate::check::precision::{PrecisionProof, SizeWitness};
use crate::check::scales::ScaleProof;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::OutputKind;
use crate::report::schema::{Accuracy, Agreement, CellReport, CheckResult, ErrorMetrics, Histogram, WorstProbe};
use crate::tensor::Tensor;
use crate::vocabulary::{Stage, Status};

/// What a cell is judged by.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The reference's outputs, `[samples, classes]`.
    pub reference: &'a Tensor,
    /// The cell's outputs.
    pub actual: &'a Tensor,
    /// Samples asked for.
    pub samples: usize,
    /// What the outputs are.
    pub kind: OutputKind,
    /// The bounds of the cell's library and precision.
    pub row: &'a Row,
    /// Confident flips allowed.
    pub confident_allowed: usize,
    /// What else was found out about the cell.
    pub evidence: Evidence<'a>,
}

/// Findings besides the outputs. A finding that is absent is not made up: a check that was not asked for, or does not apply,
/// is listed as `unavailable` and never gates; one that was asked for and could not be made is in `broken`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// Labelled accuracy on real data.
    pub accuracy: Option<&'a Accuracy>,
    /// The proof of precision, where the runtime tells its layers.
    pub precision: Option<&'a PrecisionProof>,
    /// The scales of a quantised artifact.
    pub scales: Option<&'a ScaleProof>,
    /// The artifact's size against the FP32 artifact's.
    pub size: Option<&'a SizeWitness>,
    /// Batch invariance.
    pub invariance: Option<&'a Invariance>,
    /// Determinism.
    pub determinism: Option<&'a Determinism>,
    /// Checks that were asked for and could not be made, each with why: `invalid` where they gate.
    pub broken: &'a [(Check, Error)],
}

/// How a cell is judged; [`CellJudgement::write_to`] puts it into the cell's report.
#[derive(Clone, Debug, PartialEq)]
pub struct CellJudgement {
    /// `pass`, `fail` or `invalid`.
    pub status: Status,
    /// Where the cell stopped.
    pub stage: Stage,
    /// Why it is not `pass`, one sentence.
    pub reason: Option<String>,
    /// The next step.
    pub hint: Option<String>,
    /// Answers compared; `None` where nothing was comparable.
    pub agreement: Option<Agreement>,
    /// Distance of the outputs; `None` where nothing was comparable.
    pub error: Option<ErrorMetrics>,
    /// Every check, in the order of [`Check::ALL`].
    pub checks: Vec<CheckResult>,
    /// Distribution of the error.
    pub histogram: Option<Histogram>,
    /// The worst samples.
    pub worst: Vec<WorstProbe>,
}

impl CellJudgement {
    /// The judgement of a cell that stopped with an error at `stage`.
    pub fn of_error(error: &Error, stage: Stage) -> Self {
        Self {
            status: status_of(error.kind),
            stage,
            reason: Some(error.to_string()),
            hint: error.hint.clone(),
            agreement: None,
            error: None,
            checks: Vec::new(),
            histogram: None,
            worst: Vec::new(),
        }
    }

    /// Puts the judgement into the cell's report; nothing else of it changes.
    pub fn write_to(self, cell: &mut CellReport) {
        cell.status = self.status;
        cell.stage = self.stage;
        cell.reason = self.reason;
        cell.hint = self.hint;
        cell.agreement = self.agreement;
        cell.error = self.error;
        cell.checks = self.checks;
        cell.histogram = self.histogram;
        cell.worst = self.worst;
    }
}

/// The status of a cell that stopped with an error of `kind`. A wrong manifest or input file met this late is the cell's
/// failure; what the machine refused (a full disk) judged nothing. Nothing may turn either into a pass.
pub const fn status_of(kind: ErrorKind) -> Status {
    match kind {
        ErrorKind::Missing => Status::Unavailable,
        ErrorKind::Unsupported => Status::Unsupported,
        ErrorKind::Invalid | ErrorKind::Machine => Status::Invalid,
        ErrorKind::Usage | ErrorKind::Input | ErrorKind::Failed => Status::Fail,
    }
}

/// Outputs compared with a reference, without any other evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The row's bounds in the unit of these outputs.
    pub bounds: Bounds,
    /// Distance, histogram, worst samples.
    pub metrics: Metrics,
    /// Answers.
    pub answers: Answers,
    /// `tolerance`, `sqnr`, `cosine`, `agreement`.
    pub checks: Vec<CheckResult>,
}

impl Comparison {
    /// `fail` if any gating check failed, `invalid` if one could not judge, `pass` otherwise.
    pub fn status(&self) -> Status {
        status(&self.checks)
    }

    /// The detail of the first gating check that did not pass.
    pub fn fault(&self) -> Option<&str> {
        self.checks.iter().find(|check| decides(check)).map(|check| check.detail.as_str())
    }
}

/// Compares a validated pair by the bounds of `row`. Errors: those of [`agreement::count`].
pub fn compare(pair: &OutputPair<'_>, kind: OutputKind, row: &Row, confident_allowed: usize) -> Result<Comparison> {
    let bounds = row.bounds(kind, spread(pair.reference(), pair.classes(), kind));
    let tolerance = bounds.tolerance;
    let metrics = measure(pair, tolerance);
    let terms = Terms { kind, near_tie: bounds.near_tie, confident_allowed };
    let answers = agreement::count(pair, &metrics.sample_max_abs, &terms)?;
    let error = &metrics.error;
    let elements = pair.reference().len();
    let check = |check: Check, passed: bool, detail: String| CheckResult {
        name: check.as_str().to_owned(),
        status: if passed { Status::Pass } else { Status::Fail },
        gating: row.gates(check),
        detail,
    };
    let (absolute, relative) = (figure(tolerance.absolute), figure(tolerance.relative * 100.0));
    let detail = match error.outside {
        0 => format!(
            "all {elements} outputs within {absolute} or {relative} % of the reference, the largest error is {}",
            figure(error.max_abs)
        ),
        outside => format!(
            "{outside} of {elements} outputs are off by more than {absolute} and {relative} % of the reference, by up to {}",
            figure(error.max_abs)
        ),
    };
    // A softmax squeezes the outputs: bounds on the energy and direction of logits say nothing about probabilities.
    let scale_gates = kind == OutputKind::Logits;
    let shown_for_probabilities = |result: CheckResult| CheckResult { gating: result.gating && scale_gates, ..result };
    let checks = vec![
        check(Check::Tolerance, error.outside == 0, detail),
        shown_for_probabilities(check(
            Check::Sqnr,
            error.sqnr_db >= row.sqnr_db,
            match error.sqnr_db >= SQNR_EQUAL_DB {
                true => format!("there is no noise, at least {:.1} dB asked", row.sqnr_db),
                false => format!("signal to noise is {:.1} dB, at least {:.1} dB asked", error.sqnr_db, row.sqnr_db),
            },
        )),
        shown_for_probabilities(check(
            Check::Cosine,
            error.cosine_min >= row.cosine,
            format!("cosine of the worst sample is {:.6}, at least {} asked", error.cosine_min, row.cosine),
        )),
        agreement_check(&answers, row.gates(Check::Agreement)),
    ];
    Ok(Comparison { bounds, metrics, answers, checks })
}

fn agreement_check(answers: &Answers, gating: bool) -> CheckResult {
    let Agreement {
        samples, top1_matches, near_tie_flips, confident_flips, confident_allowed, impossible_flips, ..
    } = &answers.agreement;
    let name = Check::Agreement.as_str().to_owned();
    if *impossible_flips > 0 {
        let detail = format!(
            "{impossible_flips} of {samples} answers changed although the measured error cannot change them: the comparison itself is wrong"
        );
        // A comparison that contradicts itself decides whatever the ladder says.
        return CheckResult { name, status: Status::Invalid, gating: true, detail };
    }
    let margin = |kind| {
        let flips = answers.flips.iter().filter(|flip| flip.kind == kind);
        flips.map(|flip| flip.margin).fold(0.0, f64::max)
    };
    let mut detail = format!("{top1_matches} of {samples} answers agree");
    if *near_tie_flips > 0 {
        let most = margin(agreement::FlipKind::NearTie);
        detail.push_str(&format!(", {} (margin up to {})", flips(*near_tie_flips, "near-tie"), figure(most)));
    }
    if *confident_flips > 0 {
        let most = margin(agreement::FlipKind::Confident);
        detail.push_str(&format!(
            ", {} (margin up to {}), {confident_allowed} allowed",
            flips(*confident_flips, "confident"),
            figure(most)
        ));
    }
    CheckResult { name, status: if answers.agree() { Status::Pass } else { Status::Fail }, gating, detail }
}

fn flips(count: usize, kind: &str) -> String {
    if count == 1 { format!("1 {kind} flip") } else { format!("{count} {kind} flips") }
}

/// Judges a cell that ran: compares its outputs, adds the other evidence, decides.
pub fn judge(inputs: &Inputs<'_>) -> CellJudgement {
    let row = inputs.row;
    let compared = OutputPair::of_tensors(inputs.reference, inputs.actual, inputs.samples)
        .and_then(|pair| Ok((pair, compare(&pair, inputs.kind, row, inputs.confident_allowed)?)));
    let (pair, comparison) = match compared {
        Ok(compared) => compared,
        Err(error) => {
            let checks = evidence_checks(&inputs.evidence, row);
            return CellJudgement { checks, ..CellJudgement::of_error(&error, Stage::Compare) };
        }
    };
    let mut checks = comparison.checks.clone();
    checks.extend(evidence_checks(&inputs.evidence, row));
    let (reason, hint) = explain(&checks, &pair, comparison.bounds.tolerance).unzip();
    let Comparison { metrics, answers, .. } = comparison;
    CellJudgement {
        status: status(&checks),
        stage: Stage::Compare,
        reason,
        hint: hint.flatten(),
        agreement: Some(answers.agreement),
        error: Some(metrics.error),
        checks,
        histogram: Some(metrics.histogram),
        worst: metrics.worst,
    }
}

/// Whether a check stands between the cell and a pass: one that gates and did not pass, whatever the reason. What was not
/// asked for does not gate.
fn decides(check: &CheckResult) -> bool {
    check.gating && check.status != Status::Pass
}

fn status(checks: &[CheckResult]) -> Status {
    let deciding = || checks.iter().filter(|check| decides(check));
    let contradiction =
        deciding().any(|check| check.name == Check::Agreement.as_str() && check.status == Status::Invalid);
    match (contradiction, deciding().find(|check| check.status == Status::Fail), deciding().next()) {
        (true, ..) | (_, None, Some(_)) => Status::Invalid,
        (_, Some(_), _) => Status::Fail,
        (_, None, None) => Status::Pass,
    }
}

fn evidence_checks(evidence: &Evidence<'_>, row: &Row) -> Vec<CheckResult> {
    let mut checks = Vec::new();
    let absent = |check: Check, why: &str| {
        let broken = evidence.broken.iter().find(|(broken, _)| *broken == check);
        row.gates(check).then(|| CheckResult {
            name: check.as_str().to_owned(),
            status: if broken.is_some() { Status::Invalid } else { Status::Unavailable },
            gating: broken.is_some(),
            detail: broken.map_or_else(|| why.to_owned(), |(_, error)| format!("could not be checked: {error}")),
        })
    };
    checks.extend(match evidence.accuracy {
        Some(found) => Some(accuracy::judge(found, row.gates(Check::Accuracy))),
        None => absent(Check::Accuracy, "no labelled data was given"),
    });
    checks.extend(match evidence.precision {
        Some(proof) => Some(proof.result(row.gates(Check::PrecisionProof))),
        None => absent(Check::PrecisionProof, "the runtime cannot tell in what precision its layers run"),
    });
    checks.extend(match evidence.scales {
        Some(proof) => Some(proof.result(row.gates(Check::Scales))),
        None => absent(Check::Scales, "the scales were not looked at"),
    });
    checks.extend(match evidence.size {
        Some(witness) => Some(witness.result(row.gates(Check::Size))),
        None => absent(Check::Size, "there is no FP32 artifact of this library to compare with"),
    });
    checks.extend(match evidence.invariance {
        Some(found) => found.result(row.gates(Check::BatchInvariance)),
        None => absent(Check::BatchInvariance, "batches were not permuted"),
    });
    checks.extend(match evidence.determinism {
        Some(found) => Some(found.result(row.gates(Check::Determinism))),
        None => absent(Check::Determinism, "nothing was run twice"),
    });
    checks
}

/// Checks by how much they tell: a fault of the comparison, of the batch or of the build explains wrong outputs, wrong
/// outputs explain lost accuracy.
const TELLING: [Check; 10] = [
    Check::BatchInvariance,
    Check::Scales,
    Check::PrecisionProof,
    Check::Agreement,
    Check::Tolerance,
    Check::Sqnr,
    Check::Cosine,
    Check::Accuracy,
    Check::Determinism,
    Check::Size,
];

/// The reason and the hint of a cell that does not pass.
fn explain(checks: &[CheckResult], pair: &OutputPair<'_>, tolerance: Tolerance) -> Option<(String, Option<String>)> {
    let deciding: Vec<&CheckResult> = checks.iter().filter(|check| decides(check)).collect();
    let of = |check: Check| deciding.iter().find(|found| found.name == check.as_str()).copied();
    if let Some(contradiction) = of(Check::Agreement).filter(|check| check.status == Status::Invalid) {
        return Some((
            contradiction.detail.clone(),
            Some("report this as a defect of trtgate, with the JSON report".to_owned()),
        ));
    }
    let check = TELLING.into_iter().find(|&check| of(check).is_some())?;
    let detail = of(check)?.detail.clone();
    let values = [Check::Agreement, Check::Tolerance, Check::Sqnr, Check::Cosine];
    let wrong_values = values.into_iter().any(|check| of(check).is_some());
    let diagnosis = wrong_values.then(|| diagnose(pair, tolerance)).flatten();
    if values.contains(&check) {
        return Some(match diagnosis {
            Some(found) => (format!("{found}: {detail}"), Some(found.hint().to_owned())),
            None => (detail, Some(without_pattern(pair))),
        });
    }
    let hint = match (check, diagnosis) {
        (_, Some(found)) => format!("{found}; {}", found.hint()),
        _ if of(check).is_some_and(|check| check.status == Status::Invalid) => {
            "what was asked for and could not be checked is no pass: mend what the reason names, and run the cell again".to_owned()
        }
        (Check::BatchInvariance, None) => "run the cell at batch 1: if that passes, the kernel chosen for the larger batch is wrong".to_owned(),
        (Check::PrecisionProof, None) => "check the builder flags and the graph's own types; `--verbose` prints the builder's log".to_owned(),
        (Check::Scales, None) => "export the artifact again; `trtgate explain` shows the layer and what it costs".to_owned(),
        (Check::Accuracy, None) => "the outputs are within tolerance but answers on real data are lost: compare the real data's preprocessing with the probes'".to_owned(),
        (Check::Determinism, None) => "the same input gives different answers: suspect a race or an uninitialised buffer".to_owned(),
        _ => "compare the artifact with the one of the last good run".to_owned(),
    };
    Some((detail, Some(hint)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::check::invariance::Run;
    use crate::check::ladder::Ladder;
    use crate::check::{determinism, invariance, precision};
    use crate::runtime::Layer;
    use crate::tensor::ElementType;
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

    fn altered(change: impl FnOnce(&mut Tensor)) -> Tensor {
        let mut tensor = reference();
        change(&mut tensor);
        tensor
    }

    fn noisy(amplitude: f32) -> Tensor {
        altered(|tensor| {
            for (index, value) in tensor.values.iter_mut().enumerate() {
                *value += ((index * 7919 % 1009) as f32 / 504.0 - 1.0) * amplitude;
            }
        })
    }

    fn judged(actual: &Tensor, precision: Precision, evidence: Evidence<'_>) -> CellJudgement {
        judge(&Inputs {
            reference: &reference(),
            actual,
            samples: SAMPLES,
            kind: OutputKind::Logits,
            row: &row(precision),
            confident_allowed: 0,
            evidence,
        })
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
    #[case(Precision::Tf32, 0.3)]
    #[case(Precision::Fp16, 0.5)]
    #[case(Precision::Int8, 4.0)]
    fn the_noise_of_the_next_precision_does_not(#[case] precision: Precision, #[case] amplitude: f32) {
        assert_eq!(judged(&noisy(amplitude), precision, Evidence::default()).status, Status::Fail);
    }

    type Fault = fn(&mut Tensor);

    fn all_nan(tensor: &mut Tensor) {
        tensor.values.fill(f32::NAN);
    }
    fn one_nan(tensor: &mut Tensor) {
        tensor.values[1234] = f32::NAN;
    }
    fn infinity(tensor: &mut Tensor) {
        tensor.values[40] = f32::INFINITY;
    }
    fn one_sample_missing(tensor: &mut Tensor) {
        tensor.shape[0] -= 1;
        tensor.values.truncate((SAMPLES - 1) * CLASSES);
    }
    fn no_samples(tensor: &mut Tensor) {
        tensor.shape[0] = 0;
        tensor.values.clear();
    }
    fn wrong_shape(tensor: &mut Tensor) {
        tensor.shape = vec![SAMPLES, 5, 2];
    }
    fn lying_shape(tensor: &mut Tensor) {
        tensor.values.truncate(10);
    }
    fn wrong_type(tensor: &mut Tensor) {
        tensor.element_type = ElementType::Int64;
    }
    fn weights_off_by_a_percent(tensor: &mut Tensor) {
        // A weight of the last layer but one off by 1 % moves every class by its own share.
        for (index, value) in tensor.values.iter_mut().enumerate() {
            *value += 0.01 * ((index % CLASSES) as f32 - 4.5) * ((index / CLASSES % 7) as f32 - 3.0) * 0.2;
        }
    }
    fn rare_classes_swapped(tensor: &mut Tensor) {
        tensor.values.chunks_exact_mut(CLASSES).for_each(|row| row.swap(3, 8));
    }
    fn two_slots_swapped(tensor: &mut Tensor) {
        for class in 0..CLASSES {
            tensor.values.swap(class, CLASSES + class);
        }
    }
    fn scale_doubled(tensor: &mut Tensor) {
        tensor.values.iter_mut().for_each(|value| *value *= 2.0);
    }
    fn constant(tensor: &mut Tensor) {
        tensor.values = tensor.values[..CLASSES].repeat(SAMPLES);
    }
    fn batch_late(tensor: &mut Tensor) {
        tensor.values.rotate_right(32 * CLASSES);
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
    fn a_flip_by_the_tolerance_is_a_near_tie_and_one_beyond_is_not() {
        // The spread of these logits is about 5, the ladder's near-tie in INT8 0.6 of it.
        let flip = |margin: f32| {
            let mut reference = reference();
            reference.values[0] = 20.0;
            reference.values[1] = 20.0 + margin;
            let mut actual = reference.clone();
            actual.values.swap(0, 1);
            judge(&Inputs {
                reference: &reference,
                actual: &actual,
                samples: SAMPLES,
                kind: OutputKind::Logits,
                row: &row(Precision::Int8),
                confident_allowed: 0,
                evidence: Evidence::default(),
            })
        };
        assert_eq!(flip(2.0).status, Status::Pass);
        assert_eq!(flip(2.0).agreement.unwrap().near_tie_flips, 1);
        let beyond = flip(6.0);
        assert_eq!(
            beyond.reason.as_deref(),
            Some("255 of 256 answers agree, 1 confident flip (margin up to 6), 0 allowed")
        );
    }

    fn layers(precision: &str) -> Vec<Layer> {
        let layer = |index| Layer {
            name: format!("conv{index}"),
            kind: "Convolution".to_owned(),
            precision: Some(precision.to_owned()),
            declared: None,
            tactic: None,
            compute: true,
            outputs: Vec::new(),
        };
        (0..3).map(layer).collect()
    }

    #[test]
    fn an_engine_of_another_precision_fails_however_good_its_answers() {
        let proof = precision::prove(Precision::Fp16, &layers("fp32"), 0.8);
        let size = SizeWitness { bytes: 13_200_000, fp32_bytes: 13_200_000, band: [0.4, 0.75] };
        let evidence = Evidence { precision: Some(&proof), size: Some(&size), ..Evidence::default() };
        insta::assert_snapshot!(told(&judged(&reference(), Precision::Fp16, evidence)));
        let size_only = Evidence { size: Some(&size), ..Evidence::default() };
        assert_eq!(judged(&reference(), Precision::Fp16, size_only).status, Status::Fail);
    }

    #[test]
    fn a_proof_without_layers_is_invalid() {
        let proof = precision::prove(Precision::Fp16, &[], 0.8);
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
                    output.values.swap((last - 1) * CLASSES + class, last * CLASSES + class);
                }
            }
            Ok(output)
        };
        let run: &mut Run<'_> = &mut swapping;
        let found = invariance::check(run, &probes, 32, 1e-4).unwrap();
        let steady = determinism::check(run, &probes, 2, 1e-4).unwrap();
        let evidence = Evidence { invariance: Some(&found), determinism: Some(&steady), ..Evidence::default() };
        let judgement = judged(&altered(two_slots_swapped), Precision::Fp16, evidence);
        insta::assert_snapshot!(told(&judgement));
    }

    #[test]
    fn lost_accuracy_fails_where_outputs_are_within_tolerance() {
        let accuracy = Accuracy { samples: 932, correct: 850, reference_correct: Some(860), allowed_drop_points: 1.0 };
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
            let rows = tensor.values.chunks_exact(CLASSES).flat_map(|row| {
                let sum: f32 = row.iter().map(|value| value.exp()).sum();
                row.iter().map(move |value| value.exp() / sum).collect::<Vec<_>>()
            });
            Tensor { values: rows.collect(), ..tensor.clone() }
        };
        let (reference, row) = (softmax(&reference()), row(Precision::Fp16));
        let status = |actual: &Tensor| {
            let inputs = Inputs {
                reference: &reference,
                actual,
                samples: SAMPLES,
                kind: OutputKind::Probabilities,
                row: &row,
                confident_allowed: 0,
                evidence: Evidence::default(),
            };
            judge(&inputs).status
        };
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
}
