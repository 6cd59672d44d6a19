//! Raw results to judged cells: the checks are made here, in the gate's own process, from what the workers returned.

use std::collections::BTreeMap;

use crate::check::apart::Answers;
use crate::check::comparison::Terms;
use crate::check::contradiction;
use crate::check::determinism::Determinism;
use crate::check::invariance::{Invariance, compare_batches};
use crate::check::judge::{self, CellJudgement, Evidence};
use crate::check::ladder::{Check, Ladder, Row, scatter};
use crate::check::leads::NaturalLeads;
use crate::check::legs::{self, By, Link};
use crate::check::pair::select_output;
use crate::check::precision::SizeWitness;
use crate::check::saturation::Saturation;
use crate::check::scales::ScaleProof;
use crate::check::under_load::within;
use crate::error::{Error, ErrorKind, Result};
use crate::findings::{Agreement, CellReport, FreshAgreement, Leg, MemoryFigures};
use crate::gate::accuracy::{self, Labelled};
use crate::gate::execute::{Artifacts, is_of_one_batch};
use crate::gate::natural::{LOOK_AT_RANGE, Natural};
use crate::gate::proof::Itself;
use crate::gate::runs::{Again, Outcome, Ran, RawCell};
use crate::gate::{saturated, under_load};
use crate::libraries::Device;
use crate::manifest::Manifest;
use crate::plan::PlannedCell;
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, CellId, Library, Precision, Stage, Status};

/// What cells are compared with.
pub(crate) enum Reference {
    /// The answers of the stored golden.
    Golden(Tensor),
    /// The reference's answers of now: the stored golden is of a model that answers otherwise, or of other probes.
    Current(Tensor),
    /// No golden is stored: the reference's answers of this run.
    Live,
    /// There is a golden, and it is stale, foreign or damaged.
    Refused(Error),
}

impl Reference {
    /// Why the golden judges nothing, where that is so.
    pub(crate) const fn refused(&self) -> Option<&Error> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Golden(_) | Self::Current(_) | Self::Live => None,
        }
    }
}

/// What the judging reads besides the raw results.
pub(crate) struct Context<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) ladder: &'a Ladder,
    /// The model itself, whose own precisions are asked where a cell's do not prove what was asked.
    pub(crate) itself: &'a Itself<'a>,
    pub(crate) artifacts: &'a Artifacts,
    pub(crate) reference: &'a Reference,
    /// The reference's leads on ordinary inputs, or why there are none.
    pub(crate) natural: &'a Result<NaturalLeads>,
    /// What it answers to natural samples; absent where nobody knows.
    pub(crate) fresh: Option<&'a Natural>,
    /// The scales of quantised artifacts, by their kind.
    pub(crate) scales: &'a BTreeMap<ArtifactKind, ScaleProof>,
    /// The integer products of ONNX graphs, by their kind.
    pub(crate) saturation: &'a BTreeMap<ArtifactKind, Saturation>,
    /// How the reference answered labelled data.
    pub(crate) labelled: Option<&'a Labelled>,
    /// Number of probes.
    pub(crate) samples: usize,
    /// Arguments that a replay needs beside the cell's own.
    pub(crate) replay: &'a str,
}

/// Judges every cell; returns also what they were judged by, where there was something.
pub(crate) fn assemble(raw: &[RawCell], context: &Context<'_>) -> (Vec<CellReport>, Option<Tensor>) {
    let outputs = Outputs::of(raw, &context.manifest.output.name);
    let live = outputs.live_reference(context.manifest);
    let is_live = matches!(context.reference, Reference::Live);
    let reference = match context.reference {
        Reference::Golden(known) | Reference::Current(known) => Ok(known.clone()),
        // Whatever is wrong with the golden's file, no cell has failed: there is nothing to hold it to.
        Reference::Refused(error) => Err(Error { kind: ErrorKind::Invalid, ..error.clone() }),
        Reference::Live => live.ok_or_else(|| {
            Error::invalid("there is nothing to compare with: no golden is stored, and the reference did not run")
                .hint("store one with `trtgate bless` where the reference runtime is")
        }),
    };
    // Without ordinary leads nothing says what an error costs.
    let reference = reference.and_then(|reference| match context.natural {
        Ok(natural) => Ok((reference, natural)),
        Err(error) => Err(error.clone()),
    });
    let cells = raw
        .iter()
        .map(|cell| {
            let mut report = blank(cell, context.replay);
            report.is_reference = is_live && is_of_reference(&report.id(), context.manifest);
            match &cell.outcome {
                Outcome::Stopped { status, stage, error } => stop(&mut report, *status, *stage, error),
                Outcome::Built { error, status } => built(&mut report, *status, error),
                Outcome::Ran(ran) => match &reference {
                    Err(error) => stop(&mut report, judge::status_of(error.kind), Stage::Compare, error),
                    Ok((reference, natural)) => {
                        let by = JudgedBy {
                            reference,
                            natural,
                            unlabelled: accuracy::judged_elsewhere(raw, &cell.planned.id),
                        };
                        judge_cell(cell, ran, &by, &outputs, context, &mut report);
                    }
                },
            }
            report
        })
        .collect();
    (cells, reference.ok().map(|(reference, _)| reference))
}

/// Says of a cell that its engine was built, and why it was not run.
pub(super) fn built(report: &mut CellReport, status: Status, error: &Error) {
    stop(report, status, Stage::Run, error);
    report.reason = Some(format!("built, not run: {}", error.message));
}

/// What every cell is held to.
struct JudgedBy<'a> {
    reference: &'a Tensor,
    natural: &'a NaturalLeads,
    /// Why the cell has no accuracy, where others have.
    unlabelled: Option<String>,
}

/// Whether a cell answers as the reference does: the same file in the same library, in FP32.
pub(crate) fn is_of_reference(id: &CellId, manifest: &Manifest) -> bool {
    id.runtime.library == manifest.model.source.reference() && id.precision == Precision::Fp32
}

/// The outputs of every cell that ran, by cell.
struct Outputs {
    by_cell: BTreeMap<CellId, Result<Tensor>>,
}

impl Outputs {
    fn of(raw: &[RawCell], name: &str) -> Self {
        let by_cell = raw
            .iter()
            .map(|cell| {
                let outputs = match &cell.outcome {
                    Outcome::Ran(ran) => {
                        ran.outputs.tensors().and_then(|outputs| select_output(outputs.into_owned(), name))
                    }
                    Outcome::Stopped { error, .. } | Outcome::Built { error, .. } => Err(error.clone()),
                };
                (cell.planned.id.clone(), outputs)
            })
            .collect();
        Self { by_cell }
    }

    /// The reference's answers in this run, at its largest batch.
    fn live_reference(&self, manifest: &Manifest) -> Option<Tensor> {
        self.by_cell
            .iter()
            .filter(|(id, _)| is_of_reference(id, manifest))
            .max_by_key(|(id, _)| id.batch)
            .and_then(|(_, outputs)| outputs.as_ref().ok().cloned())
    }

    /// What `id` is held to across batches: the answers of its runtime and precision at the smallest batch that has any,
    /// or why there are none; nothing where no smaller batch is gated.
    fn smaller_batch(&self, id: &CellId) -> Option<(u32, &Result<Tensor>)> {
        let smaller =
            |other: &&CellId| other.runtime == id.runtime && other.precision == id.precision && other.batch < id.batch;
        self.by_cell
            .iter()
            .filter(|(other, _)| smaller(other))
            .min_by_key(|(other, outputs)| (outputs.is_err(), other.batch))
            .map(|(other, outputs)| (other.batch, outputs))
    }

    fn point(&self, library: Library, precision: Precision, batch: u32) -> Option<&Result<Tensor>> {
        let mut same = self
            .by_cell
            .iter()
            .filter(|(id, _)| id.runtime.library == library && id.precision == precision && id.batch == batch);
        same.next().map(|(_, outputs)| outputs)
    }
}

/// The report of a cell that is not judged yet; `replay` are arguments that its replay needs beside its own.
pub(super) fn blank(cell: &RawCell, replay: &str) -> CellReport {
    let CellId { runtime, precision, batch, shape } = &cell.planned.id;
    let at = shape.as_ref().map(|shape| format!(" --shape {shape}")).unwrap_or_default();
    let gpus: Vec<String> =
        cell.gpu.into_iter().chain(cell.elsewhere.iter().map(|other| other.gpu)).map(|gpu| gpu.to_string()).collect();
    let on = if gpus.iter().any(|gpu| gpu != "0") { format!(" --devices {}", gpus.join(",")) } else { String::new() };
    let replay = format!("trtgate gate{replay} --runtime {runtime} --precision {precision} --batch {batch}{at}{on}");
    CellReport {
        version: cell.planned.installation.as_ref().map(|installation| installation.version.clone()),
        artifact: cell.artifact.clone(),
        gpu: cell.gpu,
        ..CellReport::new(&cell.planned.id, replay)
    }
}

pub(super) fn stop(report: &mut CellReport, status: Status, stage: Stage, error: &Error) {
    report.status = status;
    report.stage = stage;
    // What is not here says where it was looked for in `trtgate doctor`; a report would repeat it in every cell.
    let mut reason = match status {
        Status::Unavailable | Status::Unsupported => error.message.clone(),
        Status::Pass | Status::Fail | Status::Invalid => error.to_string(),
    };
    if let Some(excerpt) = &error.excerpt {
        reason.push('\n');
        reason.push_str(excerpt);
    }
    report.reason = Some(reason);
    report.hint.clone_from(&error.hint);
}

fn judge_cell(
    cell: &RawCell,
    ran: &Ran,
    by: &JudgedBy<'_>,
    outputs: &Outputs,
    context: &Context<'_>,
    report: &mut CellReport,
) {
    let reference = by.reference;
    let id = &cell.planned.id;
    let row = match context.ladder.row(id.runtime.library, id.precision) {
        Ok(row) => row,
        Err(error) => return stop(report, judge::status_of(error.kind), Stage::Compare, &error),
    };
    tell_run(&cell.planned, ran, report);
    let actual = match outputs.by_cell.get(id) {
        Some(Ok(actual)) => actual,
        Some(Err(error)) => {
            return CellJudgement::of_error(error, Stage::Compare).write_to(report);
        }
        None => return stop(report, Status::Invalid, Stage::Compare, &Error::invalid("the cell has no outputs")),
    };
    let of_cell = |tally| accuracy::of_cell(tally, context.labelled, context.manifest, row.accuracy_drop_points);
    let accuracy = ran.accuracy.as_ref().map(of_cell);
    let mut broken = Vec::new();
    let proof = match &ran.layers {
        Ok(layers) => Some(context.itself.prove(id.precision, layers, row.precision_share)),
        Err(error) => {
            broken.push((Check::PrecisionProof, error.clone()));
            None
        }
    };
    let size = size_witness(cell, context, row).unwrap_or_else(|error| {
        broken.push((Check::Size, error));
        None
    });
    let bound = row.batch_bound(scatter(&reference.floats(), reference.row_len()));
    let trials = match &ran.again {
        Ok(Again::Rows(trials)) => Some(trials),
        Ok(Again::Turned { .. }) | Err(_) => None,
    };
    let determinism = trials.map(|trials| Determinism::of(&trials.repeated, bound));
    let mut invariance = trials.map(|trials| Invariance::of(trials, bound));
    if let Some(found) = &mut invariance
        && let Some((size, smaller)) = outputs.smaller_batch(id)
    {
        match smaller.clone().and_then(|smaller| compare_batches(&smaller, actual, size, bound)) {
            Ok(finding) => found.findings.push(finding),
            // One file serves all batches, and the trials have run it at other ones.
            Err(_) if !is_of_one_batch(cell.planned.artifact) => {}
            Err(error) => {
                let error = error.context(format!("the answers at batch {size} are not there to compare with"));
                broken.push((Check::BatchInvariance, error));
                invariance = None;
            }
        }
    }
    let counted = match (&ran.fresh, context.fresh) {
        (Ok(Some(answers)), Some(natural)) if !natural.of_probes => natural.cost(answers, by.natural.typical),
        _ => None,
    };
    let inputs = judge::Inputs {
        reference,
        actual,
        samples: context.samples,
        terms: Terms {
            kind: context.manifest.output.kind,
            row,
            natural: by.natural,
            confident_allowed: confident_allowed(context.manifest, id.precision),
            batch: Some(id.batch),
        },
        evidence: Evidence {
            accuracy: accuracy.as_ref(),
            without_accuracy: by.unlabelled.as_deref(),
            precision: proof.as_ref(),
            scales: context.scales.get(&cell.planned.artifact).filter(|_| row.gates(Check::Scales)),
            size: size.as_ref(),
            invariance: invariance.as_ref(),
            determinism: determinism.as_ref(),
            counted,
            broken: &broken,
        },
    };
    let judgement = judge::judge(&inputs);
    let broke = judgement.status == Status::Fail;
    judgement.write_to(report);
    if broke && let Some(alike) = context.fresh.and_then(Natural::hardly_told_apart) {
        // What differs by rounding alone is much beside outputs that hardly differ at all.
        report.reason = Some(format!("{alike}; {}", report.reason.as_deref().unwrap_or_default()));
        report.hint = Some(LOOK_AT_RANGE.to_owned());
    } else if broke && is_of_reference(id, context.manifest) {
        blame_model(report, determinism.as_ref(), invariance.as_ref());
    }
    if let Some(outcome) = &ran.under_load {
        let name = &context.manifest.output.name;
        let read = |outputs: &[Tensor]| Ok(vec![Answers::Rows(select_output(outputs.to_vec(), name)?)]);
        let alone = [Answers::Rows(actual.clone())];
        under_load::put(under_load::judged(outcome, &alone, &read, &within(bound)), report);
    }
    // Outputs that are right once and unusable when the same samples are run again are not right.
    if let Err(error) = &ran.again
        && report.status == Status::Pass
    {
        let error = error.clone().context("the outputs are right once, and unusable when the samples are run again");
        stop(report, Status::Fail, Stage::Run, &error);
    }
    report.accuracy.clone_from(&accuracy);
    match &ran.fresh {
        // The probes are natural samples themselves, so that their agreement is that of ordinary inputs.
        Ok(_) if context.fresh.is_some_and(|natural| natural.of_probes) => {
            let counts = |found: &Agreement| FreshAgreement { samples: found.samples, same: found.top1_matches };
            report.fresh = report.agreement.as_ref().map(counts);
        }
        Ok(answers) => {
            report.fresh =
                answers.as_ref().zip(context.fresh).and_then(|(answers, natural)| agree(answers, &natural.answers));
            if let Some(cost) = counted {
                let check = cost.check(row.limits.loss);
                if check.status == Status::Fail && report.status == Status::Pass {
                    report.status = Status::Fail;
                    report.reason = Some(check.detail.clone());
                    report.hint = Some(
                        "the probes alone did not show it; `trtgate explain` finds the first tensor that is off"
                            .to_owned(),
                    );
                }
                report.checks.push(check);
            }
        }
        Err(error) if report.status == Status::Pass => {
            let error =
                error.clone().context("the outputs of the probes are right, and those of ordinary inputs unusable");
            stop(report, Status::Fail, Stage::Run, &error);
        }
        Err(_) => {}
    }
    let (found, verdict) = walk_legs(id, by, outputs, context);
    report.legs = found;
    if let Some(verdict) = verdict.filter(|_| broke) {
        report.reason = Some(match report.reason.take() {
            Some(reason) => format!("{reason}; {verdict}"),
            None => verdict,
        });
    }
    let runs_graphs = id.runtime.library == Library::Onnxruntime;
    if let Some(saturation) = context.saturation.get(&cell.planned.artifact).filter(|_| runs_graphs) {
        let judge = |exact: &Tensor| judge::judge(&judge::Inputs { actual: exact, ..inputs }).status;
        saturated::explain(saturation, ran, actual, judge, report);
    }
}

/// What of a run is told whatever it is judged to be.
pub(super) fn tell_run(cell: &PlannedCell, ran: &Ran, report: &mut CellReport) {
    report.seconds = Some(ran.seconds);
    report.emulated = emulated(cell).map(str::to_owned);
    report.instruction_set =
        ran.instruction_set.clone().filter(|_| cell.id.runtime.library.facts().device == Device::Cpu);
    report.memory = ran.context_bytes.map(|bytes| MemoryFigures { context_bytes: Some(bytes), process_bytes: None });
    report.transfers = (ran.transfers.copies_in > 0).then_some(ran.transfers);
}

/// How the answers of a cell are computed where its runtime has no arithmetic of its precision; see
/// [`SessionOptions::emulate_half`](crate::runtime::SessionOptions::emulate_half).
fn emulated(cell: &PlannedCell) -> Option<&'static str> {
    match cell.artifact {
        _ if cell.id.runtime.library != Library::Onnxruntime => None,
        ArtifactKind::OnnxFp16 => {
            Some("every half-precision tensor is rounded as it would be stored; the kernels compute in fp32")
        }
        ArtifactKind::OnnxFp8 => Some("8-bit floats are rounded as the graph's pairs say; the kernels compute in fp32"),
        _ => None,
    }
}

/// Says of the reference's own cell that the model contradicts itself, where that is what it failed for.
fn blame_model(report: &mut CellReport, determinism: Option<&Determinism>, invariance: Option<&Invariance>) {
    let (words, hint) = if determinism.is_some_and(|found| !found.holds()) {
        ("the reference's answers are random", contradiction::RANDOM)
    } else if invariance.is_some_and(|found| !found.holds()) {
        ("the reference's answers depend on the batch", contradiction::BATCH)
    } else {
        return;
    };
    report.reason = Some(match report.reason.take() {
        Some(reason) => format!("{words}: {reason}"),
        None => words.to_owned(),
    });
    report.hint = Some(format!("{hint}; or the runtime is at fault"));
}

pub(crate) fn confident_allowed(manifest: &Manifest, precision: Precision) -> usize {
    manifest.confident_flips_allowed.iter().find(|(named, _)| *named == precision).map_or(0, |(_, allowed)| *allowed)
}

/// Bytes from which on a model's size tells the size of its numbers; names and structure weigh as much in a smaller one.
const LEAST_TELLING_BYTES: u64 = 1 << 20;

/// The artifact's size over the same runtime's FP32 artifact, or over the FP32 ONNX where that was not made.
///
/// Nothing where no size tells anything. Errors: why the FP32 ONNX, which is asked for wherever sizes tell, is not there;
/// artifacts that were carried here without it are not asked.
fn size_witness(cell: &RawCell, context: &Context<'_>, row: &Row) -> Result<Option<SizeWitness>> {
    if matches!(cell.planned.id.precision, Precision::Fp32 | Precision::Tf32) {
        return Ok(None);
    }
    let fp32 = match context.artifacts.get(&(ArtifactKind::OnnxFp32, None)) {
        Some(Ok(fp32)) => fp32,
        Some(Err(error)) if error.kind != ErrorKind::Missing => {
            return Err(error.clone().context("there is no FP32 graph to hold the size to"));
        }
        Some(Err(_)) | None => return Ok(None),
    };
    let bytes = cell.artifact.as_ref().map(|artifact| artifact.bytes);
    let bytes = bytes.filter(|&bytes| bytes > 0 && fp32.bytes >= LEAST_TELLING_BYTES);
    Ok(bytes.map(|bytes| SizeWitness { bytes, fp32_bytes: fp32.bytes, band: row.size_ratio }))
}

/// Counts answers to natural samples that are the reference's.
fn agree(answers: &[usize], reference: &[u32]) -> Option<FreshAgreement> {
    let pairs = || answers.iter().zip(reference);
    let same = pairs().filter(|&(answer, expected)| *answer == *expected as usize).count();
    (pairs().count() > 0).then(|| FreshAgreement { samples: pairs().count(), same })
}

fn walk_legs(id: &CellId, by: &JudgedBy<'_>, outputs: &Outputs, context: &Context<'_>) -> (Vec<Leg>, Option<String>) {
    let points = legs::chain(context.manifest.model.source.kind(), id.runtime.library, id.precision);
    let absent = Error::missing("this point of the chain was not run");
    let last = points.len().saturating_sub(1);
    let mut links = Vec::with_capacity(points.len());
    for (index, point) in points.into_iter().enumerate() {
        let Ok(row) = context.ladder.row(point.library, point.precision) else { continue };
        let found = if index == last {
            outputs.by_cell.get(id)
        } else {
            outputs.point(point.library, point.precision, id.batch)
        };
        links.push(Link {
            point,
            outputs: match found {
                Some(Ok(tensor)) => Ok(tensor),
                Some(Err(error)) => Err(error),
                None => Err(&absent),
            },
            row,
            confident_allowed: confident_allowed(context.manifest, point.precision),
        });
    }
    let terms =
        By { samples: context.samples, kind: context.manifest.output.kind, natural: by.natural, batch: id.batch };
    let judged = legs::judge(by.reference, &links, &terms);
    (judged.legs, judged.verdict)
}

#[cfg(test)]
mod tests;
