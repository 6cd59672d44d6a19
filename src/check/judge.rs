//! One cell judged: every check made, the status decided by those that gate, the most telling reason first.

use crate::check::accuracy;
use crate::check::comparison::{
    Comparison, OF_OUTPUTS, Terms, compare, decides, decides_alone, reason as outputs_reason, status,
};
use crate::check::determinism::Determinism;
use crate::check::diagnose::{diagnose, without_pattern};
use crate::check::invariance::Invariance;
use crate::check::ladder::{Check, Row};
use crate::check::ordinary::Cost;
use crate::check::pair::OutputPair;
use crate::check::precision::{PrecisionProof, SizeWitness};
use crate::check::rule::Measured;
use crate::check::scales::ScaleProof;
use crate::error::{Error, ErrorKind};
use crate::findings::{Accuracy, Agreement, CellReport, CheckResult, ErrorMetrics, Histogram, LeadFigures, WorstProbe};
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
    /// What the outputs are compared by.
    pub terms: Terms<'a>,
    /// What else was found out about the cell.
    pub evidence: Evidence<'a>,
}

/// Findings besides the outputs. A finding that is absent is not made up: a check that was not asked for, or does not apply,
/// is listed as `unavailable` and never gates; one that was asked for and could not be made is in `broken`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// Labelled accuracy on real data.
    pub accuracy: Option<&'a Accuracy>,
    /// Why there is none, where labelled data was given.
    pub without_accuracy: Option<&'a str>,
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
    /// What changed answers to ordinary samples cost, where they were counted.
    pub counted: Option<Cost>,
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
    /// What the outputs are judged by; `None` where nothing was comparable.
    pub leads: Option<LeadFigures>,
    /// Answers compared; `None` where nothing was comparable.
    pub agreement: Option<Agreement>,
    /// Distance of the outputs; `None` where nothing was comparable.
    pub error: Option<ErrorMetrics>,
    /// Every check, in the order of [`Check::ALL`].
    pub checks: Vec<CheckResult>,
    /// What does not fail the cell and should be looked at.
    pub warnings: Vec<String>,
    /// What a reader should know about the figures.
    pub notes: Vec<String>,
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
            leads: None,
            agreement: None,
            error: None,
            checks: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
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
        cell.leads = self.leads;
        cell.warnings.extend(self.warnings);
        cell.notes.extend(self.notes);
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

/// Judges a cell that ran: compares its outputs, adds the other evidence, decides.
pub fn judge(inputs: &Inputs<'_>) -> CellJudgement {
    let row = inputs.terms.row;
    let compared = OutputPair::of_tensors(inputs.reference, inputs.actual, inputs.samples)
        .and_then(|pair| Ok((pair, compare(&pair, &inputs.terms)?)));
    let (pair, comparison) = match compared {
        Ok(compared) => compared,
        Err(error) => {
            let checks = evidence_checks(&inputs.evidence, row);
            return CellJudgement { checks, ..CellJudgement::of_error(&error, Stage::Compare) };
        }
    };
    let mut checks = comparison.checks.clone();
    let outweighed = inputs.evidence.counted.and_then(|cost| outweigh(&mut checks, &comparison.leads, &cost));
    checks.extend(evidence_checks(&inputs.evidence, row));
    let (reason, hint) = explain(&checks, &pair, &comparison.measured, inputs.terms.batch).unzip();
    let Comparison { leads, metrics, answers, mut warnings, notes, .. } = comparison;
    warnings.extend(outweighed);
    CellJudgement {
        status: status(&checks),
        stage: Stage::Compare,
        reason,
        hint: hint.flatten(),
        leads: Some(leads),
        agreement: Some(answers.agreement),
        error: Some(metrics.error),
        checks,
        warnings,
        notes,
        histogram: Some(metrics.histogram),
        worst: metrics.worst,
    }
}

/// Lets a count on ordinary samples decide where nothing is wrong with the outputs but the loss that the probes' errors come to, and
/// says so: that loss is an estimate, and where errors are larger near boundaries it says too much.
fn outweigh(checks: &mut [CheckResult], leads: &LeadFigures, cost: &Cost) -> Option<String> {
    if !decides_alone(checks, Check::Loss) || !cost.outweighs(leads.loss, leads.loss_allowed) {
        return None;
    }
    let found = checks.iter_mut().find(|check| check.name == Check::Loss.as_str())?;
    found.status = Status::Pass;
    found.detail = format!("{}; {}", found.detail, cost.outweighing());
    Some(found.detail.clone())
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
        None => absent(Check::Accuracy, evidence.without_accuracy.unwrap_or("no labelled data was given")),
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

/// Checks other than those of the outputs, by how much they tell: a fault of the comparison, of the batch or of the build
/// explains wrong outputs, wrong outputs explain lost accuracy.
const BEFORE_OUTPUTS: [Check; 3] = [Check::BatchInvariance, Check::Scales, Check::PrecisionProof];
const AFTER_OUTPUTS: [Check; 3] = [Check::Accuracy, Check::Determinism, Check::Size];

/// The reason and the hint of a cell that does not pass.
fn explain(
    checks: &[CheckResult],
    pair: &OutputPair<'_>,
    measured: &Measured,
    batch: Option<u32>,
) -> Option<(String, Option<String>)> {
    let of = |check: Check| checks.iter().find(|found| found.name == check.as_str() && decides(found));
    if let Some(contradiction) = of(Check::Agreement).filter(|check| check.status == Status::Invalid) {
        return Some((
            contradiction.detail.clone(),
            Some("report this as a defect of trtgate, with the JSON report".to_owned()),
        ));
    }
    let wrong_values = OF_OUTPUTS.into_iter().any(|check| of(check).is_some());
    let diagnosis = wrong_values.then(|| diagnose(pair, measured, batch)).flatten();
    let found = BEFORE_OUTPUTS.into_iter().find_map(|check| of(check).map(|found| (check, found)));
    if wrong_values && found.is_none() {
        let detail = outputs_reason(checks)?;
        return Some(match diagnosis {
            Some(found) if found.to_string() == detail => (detail, Some(found.hint().to_owned())),
            Some(found) => (format!("{found}: {detail}"), Some(found.hint().to_owned())),
            None => (detail, Some(without_pattern(pair, measured))),
        });
    }
    let (check, found) =
        found.or_else(|| AFTER_OUTPUTS.into_iter().find_map(|check| of(check).map(|found| (check, found))))?;
    let hint = match (check, diagnosis) {
        (_, Some(found)) => format!("{found}; {}", found.hint()),
        _ if found.status == Status::Invalid => {
            "what was asked for and could not be checked is no pass: mend what the reason names, and run the cell again".to_owned()
        }
        (Check::BatchInvariance, None) => "an operator mixes the samples of a batch, or the kernel that was chosen for this batch is wrong".to_owned(),
        (Check::PrecisionProof, None) => "check the builder flags and the graph's own types; `--verbose` prints the builder's log".to_owned(),
        (Check::Scales, None) => "export the artifact again; `trtgate explain` shows the layer and what it costs".to_owned(),
        (Check::Accuracy, None) => "the outputs keep within their limits but answers on real data are lost: compare the real data's preprocessing with the probes'".to_owned(),
        (Check::Determinism, None) => "the same input gives different answers: suspect a race or an uninitialised buffer".to_owned(),
        _ => "compare the artifact with the one of the last good run".to_owned(),
    };
    Some((found.detail.clone(), Some(hint)))
}

#[cfg(test)]
mod tests;
