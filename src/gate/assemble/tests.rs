#![allow(clippy::unwrap_used, clippy::panic)]

use rstest::rstest;

use super::*;
use crate::check::judge::status_of;
use crate::findings::CheckResult;
use crate::gate::workshop::{CLASSES, PROBES, Workshop, answers, samples};
use crate::runtime::OpenRequest;
use crate::worker::fake::Step;
mod told;

/// A judging of a workshop's cells, whose parts a test changes.
struct Judging {
    workshop: Workshop,
    reference: Reference,
    natural: Result<NaturalLeads>,
    fresh: Option<Natural>,
    scales: BTreeMap<ArtifactKind, ScaleProof>,
}

impl Judging {
    fn of(matrix: &str) -> Self {
        let workshop = Workshop::new(matrix);
        let proof = ScaleProof { pairs: 1, constants: 1, ..ScaleProof::default() };
        let scales = [ArtifactKind::OnnxInt8, ArtifactKind::OnnxInt8Cpu].map(|kind| (kind, proof.clone()));
        Self {
            reference: Reference::Golden(answers(&workshop.probes)),
            natural: Ok(workshop.natural()),
            fresh: None,
            scales: scales.into(),
            workshop,
        }
    }

    fn assemble(&self, raw: &[RawCell]) -> (Vec<CellReport>, Option<Tensor>) {
        let itself = Itself::of(&self.workshop.manifest.model.source);
        let context = Context {
            manifest: &self.workshop.manifest,
            ladder: &self.workshop.ladder,
            itself: &itself,
            artifacts: &self.workshop.artifacts,
            reference: &self.reference,
            natural: &self.natural,
            fresh: self.fresh.as_ref(),
            scales: &self.scales,
            saturation: &self.workshop.saturation,
            labelled: None,
            samples: PROBES,
            replay: " --offline",
        };
        assemble(raw, &context)
    }

    /// Judges what a sound runtime answers.
    fn sound(&self) -> Vec<CellReport> {
        let (raw, _) = self.workshop.scripted(|call| if call.name() == "build" { Step::Build } else { Step::Serve });
        self.assemble(&raw).0
    }

    /// Judges what a runtime answers whose outputs were changed so.
    fn changed(&self, change: impl Fn(&OpenRequest, &mut Tensor) + Send + Sync + 'static) -> Vec<CellReport> {
        let raw = self.workshop.answering(move |request, input| {
            let mut output = answers(input);
            change(request, &mut output);
            Ok(vec![output])
        });
        self.assemble(&raw).0
    }
}

fn statuses(cells: &[CellReport]) -> Vec<Status> {
    cells.iter().map(|cell| cell.status).collect()
}

fn reason(cell: &CellReport) -> &str {
    cell.reason.as_deref().unwrap_or_default()
}

fn check<'a>(cell: &'a CellReport, name: &str) -> &'a CheckResult {
    cell.checks
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("{}: no {name}: {:?}", cell.id(), cell.reason))
}

const CPU: &str = "tensorflow = [\"fp32\"]\nonnxruntime = [\"fp32\", \"fp16\", \"int8\"]\nlitert = [\"int8\"]";

#[test]
fn sound_cells_pass_and_say_what_they_are() {
    let judging = Judging::of(&format!("{CPU}\ntensorrt = [\"fp32\"]"));
    let cells = judging.sound();
    for cell in &cells {
        assert_eq!((cell.status, cell.reason.as_deref()), (Status::Pass, None), "{}", cell.id());
        assert_eq!(cell.stage, Stage::Compare);
        assert!(!cell.is_reference, "a golden is stored");
        assert_eq!(cell.version.as_deref(), Some("10.11.0"));
        let expected = format!(
            "trtgate gate --offline --runtime {} --precision {} --batch {}",
            cell.runtime, cell.precision, cell.batch
        );
        assert_eq!(cell.replay, expected);
        let half = cell.runtime.library == Library::Onnxruntime && cell.precision == Precision::Fp16;
        assert_eq!(cell.emulated.is_some(), half, "{}", cell.id());
        assert_eq!(cell.instruction_set.is_some(), cell.runtime.library != Library::Tensorrt, "{}", cell.id());
        assert_eq!((cell.seconds.is_some(), cell.transfers), (true, None));
        assert_eq!(cell.agreement.as_ref().map(|found| (found.samples, found.top1_matches)), Some((PROBES, PROBES)));
    }
    let legs = |index: usize| cells[index].legs.len();
    assert_eq!((legs(0), legs(2), legs(4), legs(10)), (1, 2, 3, 3));
    assert!(cells[4].legs.iter().all(|leg| leg.status == Status::Pass));
}

#[test]
fn without_a_golden_the_references_own_answers_of_now_are_held_to() {
    let mut judging = Judging::of(CPU);
    judging.reference = Reference::Live;
    let cells = judging.sound();
    assert!(cells.iter().all(|cell| cell.status == Status::Pass));
    let own: Vec<bool> = cells.iter().map(|cell| cell.is_reference).collect();
    assert_eq!(own, [true, true, false, false, false, false, false, false, false, false]);
    // What all runtimes answer alike is right by definition; one that answers otherwise is not.
    let cells = judging.changed(|request, output| {
        let off = if request.installation.id.library == Library::Litert { 9.0 } else { 3.0 };
        output.values.as_mut::<f32>().unwrap().iter_mut().step_by(CLASSES).for_each(|value| *value += off);
    });
    let failed: Vec<bool> = cells.iter().map(|cell| cell.status == Status::Fail).collect();
    assert_eq!(failed, [false, false, false, false, false, false, false, false, true, true]);
    // The answers at the largest batch are those that count.
    let raw = judging.workshop.scripted(|_| Step::Serve).0;
    let (_, by) = judging.assemble(&raw);
    assert_eq!(by, Some(answers(&judging.workshop.probes)));
}

#[test]
fn where_nothing_can_be_held_to_no_cell_fails_or_passes() {
    let mut judging = Judging::of("onnxruntime = [\"fp32\"]");
    judging.reference = Reference::Live;
    let cells = judging.sound();
    assert_eq!(statuses(&cells), [Status::Invalid; 2]);
    assert!(reason(&cells[0]).starts_with("there is nothing to compare with"), "{}", reason(&cells[0]));
    assert!(cells[0].hint.as_ref().unwrap().contains("trtgate bless"));

    for kind in [ErrorKind::Failed, ErrorKind::Input, ErrorKind::Missing, ErrorKind::Unsupported] {
        judging.reference = Reference::Refused(Error::new(kind, "the golden is damaged"));
        assert!(judging.reference.refused().is_some());
        let cells = judging.sound();
        assert_eq!(statuses(&cells), [Status::Invalid; 2], "{kind:?}");
        assert_eq!((reason(&cells[0]), cells[0].stage), ("the golden is damaged", Stage::Compare));
    }

    judging.reference = Reference::Golden(answers(&judging.workshop.probes));
    for kind in [ErrorKind::Failed, ErrorKind::Missing, ErrorKind::Machine] {
        judging.natural = Err(Error::new(kind, "no leads"));
        let cells = judging.sound();
        assert_eq!(statuses(&cells), [status_of(kind); 2], "{kind:?}");
        assert_ne!(cells[0].status, Status::Pass);
    }
}

/// Each way in which outputs can be unusable, in every cell; none of them passes, and a sample that is missing judges nothing.
#[rstest]
#[case::one_nan(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap()[4] = f32::NAN, Status::Fail)]
#[case::infinite(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap()[0] = f32::INFINITY, Status::Fail)]
#[case::renamed(|output: &mut Tensor| output.name.push('2'), Status::Fail)]
#[case::other_type(|output: &mut Tensor| output.values = crate::tensor::Values::Int64(vec![0; CLASSES * PROBES]), Status::Fail)]
#[case::swapped(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap().chunks_mut(CLASSES).for_each(|row| row.swap(0, 1)), Status::Fail)]
#[case::scaled(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value *= 1.5), Status::Fail)]
#[case::constant(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value = 1.0), Status::Fail)]
#[case::short(
    |output: &mut Tensor| { output.values.as_mut::<f32>().unwrap().truncate(CLASSES * (PROBES - 1)); output.shape[0] = PROBES - 1; },
    Status::Invalid
)]
#[case::wide(
    |output: &mut Tensor| { output.values = vec![0.5; PROBES * 4].into(); output.shape = vec![PROBES, 4]; },
    Status::Fail
)]
fn outputs_that_are_wrong_or_unusable_never_pass(#[case] change: fn(&mut Tensor), #[case] expected: Status) {
    let judging = Judging::of("onnxruntime = [\"fp32\", \"fp16\", \"int8\"]");
    let mut raw = judging.workshop.scripted(|_| Step::Serve).0;
    for cell in &mut raw {
        let Outcome::Ran(ran) = &mut cell.outcome else { panic!("it ran") };
        change(ran.outputs.first_mut().unwrap());
    }
    let cells = judging.assemble(&raw).0;
    for cell in &cells {
        assert_eq!(cell.status, expected, "{}: {}", cell.id(), reason(cell));
        assert!(cell.reason.is_some());
    }
}

#[test]
fn how_far_a_cell_got_and_why_is_told() {
    let judging = Judging::of("tensorflow = [\"fp32\"]\nonnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]");
    let mut raw = judging.workshop.scripted(|call| if call.name() == "build" { Step::Build } else { Step::Serve }).0;
    let error = Error::failed("it broke").cause("a reason").excerpt("  | here").hint("mend it");
    let stop = |status, stage| Outcome::Stopped { status, stage, error: error.clone() };
    raw[0].outcome = stop(Status::Fail, Stage::Load);
    raw[1].outcome = stop(Status::Unavailable, Stage::Build);
    raw[4].outcome = Outcome::Built { status: Status::Unavailable, error: Error::missing("no driver").cause("looked") };
    let cells = judging.assemble(&raw).0;
    assert_eq!((cells[0].status, cells[0].stage), (Status::Fail, Stage::Load));
    assert_eq!(reason(&cells[0]), format!("{error}\n  | here"));
    assert_eq!(cells[0].hint.as_deref(), Some("mend it"));
    // Where it was looked for is told by the doctor.
    assert_eq!((cells[1].status, reason(&cells[1])), (Status::Unavailable, "it broke\n  | here"));
    assert_eq!((cells[4].status, cells[4].stage), (Status::Unavailable, Stage::Run));
    assert_eq!(reason(&cells[4]), "built, not run: no driver");
    assert!(cells[4].artifact.is_some());
    assert_eq!(cells[5].status, Status::Pass);
    // A leg that did not answer takes the status of its error, and its neighbours are compared over it.
    let legs: Vec<Status> = cells[5].legs.iter().map(|leg| leg.status).collect();
    assert_eq!(legs, [status_of(error.kind), Status::Pass, Status::Pass]);
}

#[test]
fn a_cell_without_a_row_of_limits_judges_nothing() {
    let judging = Judging::of("onnxruntime = [\"fp32\"]");
    let mut raw = judging.workshop.scripted(|_| Step::Serve).0;
    raw[0].planned.id.precision = Precision::Tf32;
    let cells = judging.assemble(&raw).0;
    assert!(matches!(cells[0].status, Status::Invalid | Status::Fail), "{:?}", cells[0].status);
    assert_eq!(cells[0].stage, Stage::Compare);
}

/// What goes wrong when the samples are run again is a failure also where the outputs are right.
#[test]
fn outputs_that_are_right_once_are_not_right() {
    let judging = Judging::of("onnxruntime = [\"fp32\"]");
    let mut raw = judging.workshop.scripted(|_| Step::Serve).0;
    let Outcome::Ran(ran) = &mut raw[0].outcome else { panic!("it ran") };
    ran.again = Err(Error::failed("it broke"));
    let Outcome::Ran(ran) = &mut raw[1].outcome else { panic!("it ran") };
    ran.fresh = Err(Error::failed("too many"));
    let cells = judging.assemble(&raw).0;
    assert_eq!((cells[0].status, cells[0].stage), (Status::Fail, Stage::Run));
    assert!(reason(&cells[0]).starts_with("the outputs are right once, and unusable"), "{}", reason(&cells[0]));
    assert!(reason(&cells[0]).contains("it broke"));
    assert_eq!((cells[1].status, cells[1].stage), (Status::Fail, Stage::Run));
    assert!(reason(&cells[1]).contains("those of ordinary inputs unusable"), "{}", reason(&cells[1]));
    // Where the outputs are wrong anyway, that is what is told.
    for cell in &mut raw {
        let Outcome::Ran(ran) = &mut cell.outcome else { panic!("it ran") };
        ran.outputs.first_mut().unwrap().values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value *= 2.0);
    }
    let cells = judging.assemble(&raw).0;
    for cell in &cells {
        assert_eq!((cell.status, cell.stage), (Status::Fail, Stage::Compare));
        assert!(!reason(cell).contains("unusable"), "{}", reason(cell));
    }
}

/// Files of one batch each are held to each other; of a file for all batches, another cell's death is its own.
#[test]
fn batches_are_held_to_each_other() {
    let judging = Judging::of("onnxruntime = [\"fp32\"]\nlitert = [\"int8\"]");
    // Small enough for each alone, too large between two batches.
    let cells = judging.changed(|request, output| {
        let litert = request.installation.id.library == Library::Litert;
        if litert && request.batch == 4 {
            output.values.as_mut::<f32>().unwrap().iter_mut().step_by(CLASSES).for_each(|value| *value += 0.9);
        }
    });
    let found = check(&cells[3], "batch-invariance");
    assert_eq!((found.status, found.gating), (Status::Fail, true), "{}", found.detail);
    assert_eq!(check(&cells[1], "batch-invariance").status, Status::Pass);
    // Alone, a sample has no slot, and no smaller batch to be held to.
    assert_eq!(
        (cells[2].status, cells[2].checks.iter().any(|check| check.name == "batch-invariance")),
        (Status::Pass, false)
    );

    let mut raw = judging.workshop.scripted(|_| Step::Serve).0;
    for index in [0, 2] {
        let error = Error::failed("it broke");
        raw[index].outcome = Outcome::Stopped { status: Status::Fail, stage: Stage::Run, error };
    }
    let cells = judging.assemble(&raw).0;
    assert_eq!((cells[1].status, check(&cells[1], "batch-invariance").status), (Status::Pass, Status::Pass));
    assert_eq!(cells[3].status, Status::Invalid, "{}", reason(&cells[3]));
    let found = check(&cells[3], "batch-invariance");
    assert!(found.detail.contains("the answers at batch 1 are not there to compare with"), "{}", found.detail);
}

/// Of three batches, the smallest that has answers is held to, whatever stands between.
#[test]
fn the_smallest_batch_with_answers_is_held_to() {
    let id = |batch: u32| -> CellId { format!("litert/int8/batch-{batch}").parse().unwrap() };
    let tensor = |value: f32| Tensor::float32("y", vec![1, 1], vec![value]);
    let outputs = |known: [(u32, Result<Tensor>); 3]| Outputs {
        by_cell: known.into_iter().map(|(batch, outputs)| (id(batch), outputs)).collect(),
    };
    let broken = || Err(Error::failed("it broke"));
    let all = outputs([(1, tensor(1.0)), (4, tensor(4.0)), (8, tensor(8.0))]);
    assert_eq!(all.smaller_batch(&id(8)).map(|(batch, _)| batch), Some(1));
    assert_eq!(all.smaller_batch(&id(4)).map(|(batch, _)| batch), Some(1));
    assert!(all.smaller_batch(&id(1)).is_none());
    let one = outputs([(1, broken()), (4, tensor(4.0)), (8, tensor(8.0))]);
    assert_eq!(one.smaller_batch(&id(8)).map(|(batch, found)| (batch, found.is_ok())), Some((4, true)));
    assert_eq!(one.smaller_batch(&id(4)).map(|(batch, found)| (batch, found.is_ok())), Some((1, false)));
    for other in ["litert/fp32/batch-1", "onnxruntime/int8/batch-1"] {
        let known = [(other.parse().unwrap(), tensor(1.0)), (id(4), tensor(4.0))];
        let outputs = Outputs { by_cell: known.into() };
        assert!(outputs.smaller_batch(&id(4)).is_none(), "{other}");
        assert!(outputs.point(Library::Litert, Precision::Int8, 1).is_none());
        assert!(outputs.point(Library::Litert, Precision::Int8, 4).is_some());
    }
}

#[test]
fn the_live_reference_is_that_of_the_largest_batch() {
    let judging = Judging::of(CPU);
    let tensor = |value: f32| Tensor::float32("y", vec![1, 1], vec![value]);
    let outputs = Outputs {
        by_cell: [
            ("tensorflow/fp32/batch-1", 1.0),
            ("tensorflow/fp32/batch-4", 4.0),
            ("onnxruntime/fp32/batch-8", 8.0),
        ]
        .into_iter()
        .map(|(id, value)| (id.parse().unwrap(), tensor(value)))
        .collect(),
    };
    assert_eq!(outputs.live_reference(&judging.workshop.manifest).unwrap().floats().to_vec(), [4.0]);
}

/// The precision is proven where it is asked for: by layers that say so, and never without any.
#[test]
fn a_precision_that_is_not_proven_does_not_pass() {
    let judging = Judging::of("onnxruntime = [\"fp16\", \"int8\"]");
    let mut raw = judging.workshop.scripted(|_| Step::Serve).0;
    for cell in &mut raw {
        let Outcome::Ran(ran) = &mut cell.outcome else { panic!("it ran") };
        match cell.planned.id.batch {
            1 => ran.layers = Err(crate::gate::runs::unlisted()),
            _ => ran.layers.iter_mut().flatten().for_each(|layer| layer.precision = Some("fp32".to_owned())),
        }
    }
    let cells = judging.assemble(&raw).0;
    assert_eq!(statuses(&cells), [Status::Invalid, Status::Fail, Status::Invalid, Status::Fail]);
    assert!(check(&cells[0], "precision-proof").detail.contains("the runtime does not list its layers"));
}

#[test]
fn the_size_of_an_artifact_is_held_to_the_fp32_graphs() {
    let size = |change: &dyn Fn(&mut Judging), bytes: Option<u64>| {
        let mut judging = Judging::of("onnxruntime = [\"fp16\"]");
        change(&mut judging);
        let mut raw = judging.workshop.scripted(|_| Step::Serve).0;
        if let Some(bytes) = bytes {
            raw[0].artifact.as_mut().unwrap().bytes = bytes;
        }
        let cells = judging.assemble(&raw).0;
        let found = check(&cells[0], "size").clone();
        (cells[0].status, found.status, found.detail)
    };
    let fp32 = |made: Result<crate::convert::Artifact>| {
        move |judging: &mut Judging| {
            judging.workshop.artifacts.insert((ArtifactKind::OnnxFp32, None), made.clone());
        }
    };
    let of_bytes = |bytes| {
        let artifact = crate::gate::workshop::artifact(ArtifactKind::OnnxFp32, None);
        fp32(Ok(crate::convert::Artifact { bytes, ..artifact }))
    };
    let same = |_: &mut Judging| {};
    assert_eq!(size(&same, None).0, Status::Pass);
    assert_eq!(size(&same, Some(4 << 20)).0, Status::Fail);
    // A model of few numbers is mostly names and structure.
    let (status, found, _) = size(&of_bytes((1 << 20) - 1), Some(4 << 20));
    assert_eq!((status, found), (Status::Pass, Status::Unavailable));
    assert_eq!(size(&of_bytes(1 << 20), Some(4 << 20)).0, Status::Fail);
    // An FP32 graph that could not be made leaves the question open; one that was not carried here was not asked for.
    let (status, found, detail) = size(&fp32(Err(Error::failed("no graph"))), None);
    assert_eq!((status, found), (Status::Invalid, Status::Invalid), "{detail}");
    assert!(detail.contains("there is no FP32 graph to hold the size to"), "{detail}");
    assert_eq!(size(&fp32(Err(Error::missing("not here"))), None).0, Status::Pass);
    // FP32 itself is held to nothing.
    let judging = Judging::of("onnxruntime = [\"fp32\"]");
    let mut raw = judging.workshop.scripted(|_| Step::Serve).0;
    raw.iter_mut().for_each(|cell| cell.artifact.as_mut().unwrap().bytes = 1 << 30);
    assert!(judging.assemble(&raw).0.iter().all(|cell| cell.status == Status::Pass));
}

#[test]
fn scales_that_are_off_fail_the_cells_of_their_graph() {
    let mut judging = Judging::of("onnxruntime = [\"fp32\", \"int8\"]");
    judging.scales.get_mut(&ArtifactKind::OnnxInt8Cpu).unwrap().faults.push("`conv` is off".to_owned());
    assert_eq!(statuses(&judging.sound()), [Status::Pass, Status::Pass, Status::Fail, Status::Fail]);
}

/// Changed answers to ordinary samples cost something, and fail a cell whose probes are right.
#[test]
fn answers_to_ordinary_samples_are_counted_and_cost() {
    let mut judging = Judging::of("onnxruntime = [\"fp32\"]");
    let ordinary = samples(200);
    judging.fresh = Some(Natural::of(&answers(&ordinary).floats(), &judging.workshop.manifest).unwrap());
    judging.workshop.fresh = Some(ordinary);
    let cells = judging.sound();
    assert_eq!(cells[0].fresh, None, "the largest batch is asked");
    assert_eq!(cells[1].fresh, Some(FreshAgreement { samples: 200, same: 200 }));
    assert_eq!(check(&cells[1], "ordinary").status, Status::Pass);

    // The probes come in a run of their own.
    let mut raw = judging.workshop.scripted(|_| Step::Serve).0;
    let Outcome::Ran(ran) = &mut raw[1].outcome else { panic!("it ran") };
    let Ok(Some(given)) = &mut ran.fresh else { panic!("they were asked") };
    given.iter_mut().take(60).for_each(|answer| *answer = (*answer + 1) % CLASSES);
    let cells = judging.assemble(&raw).0;
    assert_eq!(cells[1].fresh, Some(FreshAgreement { samples: 200, same: 140 }));
    let found = check(&cells[1], "ordinary");
    assert_eq!((cells[1].status, found.status), (Status::Fail, Status::Fail));
    assert_eq!(reason(&cells[1]), found.detail);
    assert!(cells[1].hint.as_ref().unwrap().contains("the probes alone did not show it"));

    // Where the probes are the ordinary samples, their agreement is that.
    judging.fresh.as_mut().unwrap().of_probes = true;
    let cells = judging.sound();
    assert_eq!(cells[0].fresh, Some(FreshAgreement { samples: PROBES, same: PROBES }));
    // Nobody knows the reference's answers: nothing is counted.
    judging.fresh = None;
    let cells = judging.sound();
    assert!(cells.iter().all(|cell| cell.fresh.is_none() && cell.status == Status::Pass));
}

#[test]
fn agreement_counts_pairs() {
    assert_eq!(agree(&[0, 1, 2, 0], &[0, 1, 1]), Some(FreshAgreement { samples: 3, same: 2 }));
    assert_eq!(agree(&[], &[0]), None);
}

/// A reference that contradicts itself is said to, and no other cell is.
#[test]
fn a_reference_that_contradicts_itself_is_named() {
    let judging = Judging::of("tensorflow = [\"fp32\"]\nonnxruntime = [\"fp32\"]");
    let by_slot = judging.changed(|_, output| {
        output.values.as_mut::<f32>().unwrap().iter_mut().skip(CLASSES).take(CLASSES).for_each(|value| *value *= 1.5);
    });
    assert!(
        reason(&by_slot[1]).starts_with("the reference's answers depend on the batch: "),
        "{}",
        reason(&by_slot[1])
    );
    assert!(by_slot[1].hint.as_ref().unwrap().ends_with("; or the runtime is at fault"));
    assert!(!reason(&by_slot[3]).contains("the reference's answers"), "{}", reason(&by_slot[3]));

    let calls = std::sync::atomic::AtomicUsize::new(0);
    let random = judging.changed(move |_, output| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) as f32;
        output.values.as_mut::<f32>().unwrap().iter_mut().step_by(CLASSES).for_each(|value| *value += call);
    });
    assert!(reason(&random[0]).starts_with("the reference's answers are random: "), "{}", reason(&random[0]));
}

#[test]
fn a_broken_leg_is_named_beside_the_reason() {
    let judging = Judging::of("tensorflow = [\"fp32\"]\nonnxruntime = [\"fp32\", \"fp16\"]");
    let cells = judging.changed(|request, output| {
        if request.precision == Precision::Fp16 {
            output.values.as_mut::<f32>().unwrap().chunks_mut(CLASSES).for_each(|row| row.swap(0, 1));
        }
    });
    assert_eq!(statuses(&cells)[..4], [Status::Pass; 4]);
    for cell in &cells[4..] {
        assert_eq!(cell.status, Status::Fail);
        assert!(reason(cell).ends_with("; `ONNX FP32 → ONNX FP16` is the first leg that broke"), "{}", reason(cell));
    }
    // A leg before it that broke is no reason of a cell that passes.
    let cells = judging.changed(|request, output| {
        if request.precision == Precision::Fp32 && request.installation.id.library == Library::Onnxruntime {
            output.values.as_mut::<f32>().unwrap().chunks_mut(CLASSES).for_each(|row| row.swap(0, 1));
        }
    });
    assert_eq!((cells[4].status, cells[4].reason.as_deref()), (Status::Pass, None));
}

#[test]
fn flips_that_are_allowed_are_those_of_the_precision() {
    let mut manifest = Judging::of("onnxruntime = [\"fp32\"]").workshop.manifest;
    assert_eq!(confident_allowed(&manifest, Precision::Int8), 0);
    manifest.confident_flips_allowed = vec![(Precision::Fp16, 1), (Precision::Int8, 3)];
    assert_eq!(confident_allowed(&manifest, Precision::Int8), 3);
    assert_eq!(confident_allowed(&manifest, Precision::Fp32), 0);
}

/// What answers may differ by from slot to slot is a share of the reference's scatter: outputs of a larger scale have no more room.
#[test]
fn outputs_of_another_scale_have_no_room_of_their_own() {
    let judging = Judging::of("onnxruntime = [\"fp32\"]");
    let cells = judging.changed(|_, output| {
        for (place, value) in output.values.as_mut::<f32>().unwrap().iter_mut().enumerate() {
            *value = 1000.0 * *value + if place / CLASSES == 1 { 0.004 } else { 0.0 };
        }
    });
    let known = answers(&judging.workshop.probes);
    let row = judging.workshop.ladder.row(Library::Onnxruntime, Precision::Fp32).unwrap();
    let bound = row.batch_bound(scatter(&known.floats(), CLASSES));
    assert!(bound < 0.0005 && 1000.0 * bound > 0.005, "{bound}");
    assert_eq!(check(&cells[1], "batch-invariance").status, Status::Fail, "{}", reason(&cells[1]));
}
