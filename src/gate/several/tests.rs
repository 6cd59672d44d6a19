//! Models of several inputs through the whole gate, with a runtime in this process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use prost::Message;
use rstest::rstest;

use super::*;
use crate::convert::store::Store;
use crate::digest::digest_file;
use crate::findings::{CellReport, Report};
use crate::gate::execute::execute;
use crate::gate::execute::histories::{event, step};
use crate::gate::kit::{Kit, Subject};
use crate::gate::runs::interface::read;
use crate::gate::runs::{Again, Outcome};
use crate::gate::timing::Streams;
use crate::gate::workshop::{found, healthy};
use crate::gate::{TimingOptions, run, run_and_measure};
use crate::onnx::{Dimension, Graph, Model, Node, OperatorSet, Shape, TensorType, Type, ValueInfo};
use crate::plan::Filter;
use crate::progress::{Progress, Quiet};
use crate::runtime::{OpenRequest, Session};
use crate::tensor::{ElementType, Signature, Tensor, TensorSpec, Values};
use crate::timing::contract::TimingMode;
use crate::vocabulary::{Library, Stage, Status, Verdict};
use crate::worker::fake::{Call, FakeSession, Fakes, Step};
use crate::worker::{Reply, Request};

/// Two inputs of two types, one of an open size.
pub(in crate::gate) const SHAPES: &str = "[shapes]\nlength = [3, 4]";
pub(in crate::gate) const ONE_SHAPE: &str = "[shapes]\nlength = 3";
const BOTH: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"tf32\"]";

pub(in crate::gate) struct Project {
    pub(in crate::gate) folder: tempfile::TempDir,
    pub(in crate::gate) manifest: Manifest,
}

impl Project {
    pub(in crate::gate) fn new(matrix: &str, more: &str) -> Self {
        Self::of_task("values", matrix, more)
    }

    /// The same with an output of another task.
    pub(in crate::gate) fn of_task(task: &str, matrix: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let border = |name: &str, elem_type: i32, sizes: &[Option<i64>]| {
            let dim = sizes
                .iter()
                .map(|size| Dimension { dim_value: *size, dim_param: size.is_none().then(|| "open".to_owned()) });
            let tensor = TensorType { elem_type, shape: Some(Shape { dim: dim.collect() }) };
            ValueInfo { name: name.to_owned(), kind: Some(Type { tensor_type: Some(tensor), ..Type::default() }) }
        };
        // Whatever it computes: the runtimes of this process know the model.
        let node = Node {
            op_type: "Identity".to_owned(),
            input: vec!["x".to_owned()],
            output: vec!["y".to_owned()],
            ..Node::default()
        };
        let graph = Graph {
            node: vec![node],
            input: vec![border("ids", 7, &[None, Some(2)]), border("x", 1, &[None, None])],
            output: vec![border("y", 1, &[None, Some(2)])],
            ..Graph::default()
        };
        let opset = OperatorSet { version: 17, ..OperatorSet::default() };
        let model = Model { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Model::default() };
        std::fs::write(folder.path().join("m.onnx"), model.encode_to_vec()).unwrap();
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"ids\"\nvalues = {{ integers = [0, 9] }}\n\
             [[input]]\nname = \"x\"\nshape = [\"length\"]\nvalues = {{ uniform = [0.0, 1.0] }}\n\
             [[output]]\nname = \"y\"\ntask = \"{task}\"\n[probes]\ncount = 18\n{more}\n\
             [matrix]\nbatches = [1, 4]\n[matrix.runtimes]\n{matrix}\n"
        );
        let path = folder.path().join("gate.toml");
        std::fs::write(&path, text).unwrap();
        let manifest = Manifest::load(&path).unwrap();
        Self { folder, manifest }
    }

    pub(in crate::gate) fn workspace(&self, fakes: &Arc<Fakes>) -> Workspace {
        let store = Store::open(Some(self.folder.path().join("store"))).unwrap().installing(false);
        let digest = digest_file(self.manifest.model.source.path()).unwrap();
        Workspace::of_parts(self.manifest.clone(), digest, store, found(), fakes.program())
    }

    fn gate(&self, fakes: &Arc<Fakes>, options: &RunOptions) -> Report {
        let report = run(&self.workspace(fakes), options).unwrap();
        assert_eq!(fakes.alive(), 0, "no worker is left");
        report
    }
}

/// The model's right answers.
pub(in crate::gate) fn answers(feeds: &Feeds) -> Tensor {
    let (ids, x) = (feeds.get("ids").unwrap(), feeds.get("x").unwrap());
    let Values::Int64(ids) = &ids.values else { panic!("ids are whole numbers") };
    let row = |sample: usize| {
        let (ids, x) = (&ids[2 * sample..2 * sample + 2], x.row(sample).unwrap());
        [x.iter().sum::<f32>() + ids[0] as f32, x[0] * ids[1] as f32 - x[1]]
    };
    Tensor::float32("y", vec![feeds.batch(), 2], (0..feeds.batch()).flat_map(row).collect()).unwrap()
}

pub(in crate::gate) fn signature() -> Signature {
    let spec =
        |name: &str, element_type, rest| TensorSpec { name: name.to_owned(), element_type, shape: vec![None, rest] };
    Signature {
        inputs: vec![spec("ids", ElementType::Int64, Some(2)), spec("x", ElementType::Float32, None)],
        outputs: vec![spec("y", ElementType::Float32, Some(2))],
    }
}

/// A runtime whose sessions answer what `answer` makes of what they are fed.
pub(in crate::gate) fn answering(answer: impl Fn(Library, &Feeds) -> Tensor + Send + Sync + 'static) -> Arc<Fakes> {
    Fakes::of(opening(answer), healthy)
}

fn opening(
    answer: impl Fn(Library, &Feeds) -> Tensor + Send + Sync + 'static,
) -> impl Fn(&OpenRequest) -> crate::error::Result<Box<dyn Session>> + Send + Sync + 'static {
    let answer = Arc::new(answer);
    move |request| {
        let (answer, library) = (Arc::clone(&answer), request.installation.id.library);
        Ok(Box::new(FakeSession::of(signature(), Some("fp32"), move |feeds| Ok(vec![answer(library, feeds)]))))
    }
}

pub(in crate::gate) fn sound() -> Arc<Fakes> {
    answering(|_, feeds| answers(feeds))
}

fn told(report: &Report) -> Vec<(String, Status, bool)> {
    report.cells.iter().map(|cell| (cell.id().to_string(), cell.status, cell.is_reference)).collect()
}

fn statuses(report: &Report) -> Vec<Status> {
    report.cells.iter().map(|cell| cell.status).collect()
}

fn reason(cell: &CellReport) -> &str {
    cell.reason.as_deref().unwrap_or_default()
}

#[test]
fn sound_cells_pass_in_shared_workers_and_sessions() {
    let project = Project::new(BOTH, SHAPES);
    let fakes = sound();
    let report = project.gate(&fakes, &RunOptions::default());
    assert_eq!((report.verdict, report.reasons.clone()), (Verdict::Pass, Vec::new()));
    let found = told(&report);
    assert_eq!(found.len(), 3 * 2 * 2, "each precision at each batch and shape");
    assert!(
        found
            .iter()
            .all(|(id, status, reference)| { *status == Status::Pass && *reference == id.starts_with("onnxruntime") })
    );
    // A worker for each runtime, and one where cells run while another engine is built; a session for each cell, that saw no other
    // shape before it answered.
    let count = |fakes: &Arc<Fakes>, name: &str| fakes.seen().iter().filter(|(_, asked)| *asked == name).count();
    assert_eq!((count(&fakes, "open"), count(&fakes, "build")), (12, 2));
    assert!((2..=3).contains(&fakes.started()), "{}", fakes.started());
    let cell = &report.cells[0];
    assert_eq!(cell.replay, "trtgate gate --runtime onnxruntime --precision fp32 --batch 1 --shape length=3");
    assert_eq!((cell.version.as_deref(), cell.outputs.len()), (Some("10.11.0"), 1));
    assert!(cell.artifact.is_some() && cell.seconds.is_some() && cell.instruction_set.is_some());
    // Of one shape, a session for each file.
    let fakes = sound();
    let report = Project::new(BOTH, ONE_SHAPE).gate(&fakes, &RunOptions::default());
    assert_eq!((report.verdict, report.cells.len()), (Verdict::Pass, 6));
    assert_eq!(count(&fakes, "open"), 3);
    assert!((2..=3).contains(&fakes.started()), "{}", fakes.started());
}

/// What a conversion changes fails its cells, and no others.
#[rstest]
#[case::scaled(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value *= 1.1), Stage::Compare)]
#[case::not_finite(|output: &mut Tensor| output.values.as_mut::<f32>().unwrap()[0] = f32::NAN, Stage::Compare)]
#[case::renamed(|output: &mut Tensor| output.name.push('2'), Stage::Run)]
fn a_wrong_conversion_fails(#[case] change: fn(&mut Tensor), #[case] stage: Stage) {
    let project = Project::new(BOTH, ONE_SHAPE);
    let fakes = answering(move |library, feeds| {
        let mut output = answers(feeds);
        if library == Library::Tensorrt {
            change(&mut output);
        }
        output
    });
    let report = project.gate(&fakes, &RunOptions::default());
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(statuses(&report), [[Status::Pass; 2], [Status::Fail; 2], [Status::Fail; 2]].concat());
    assert!(report.cells[2..].iter().all(|cell| cell.stage == stage), "{}", reason(&report.cells[2]));
}

/// Whether answers depend on the slot, on what was asked before, or on the shape asked before is judged when all have run.
#[test]
fn a_session_is_held_to_itself() {
    let project = Project::new("tensorrt = [\"fp32\"]\nonnxruntime = [\"fp32\"]", SHAPES);
    let by_slot = answering(|library, feeds| {
        let mut output = answers(feeds);
        if library == Library::Tensorrt {
            output.values.as_mut::<f32>().unwrap().iter_mut().skip(2).take(1).for_each(|value| *value += 0.1);
        }
        output
    });
    let report = project.gate(&by_slot, &RunOptions::default());
    let failed: Vec<(u32, bool)> = report
        .cells
        .iter()
        .filter(|cell| cell.runtime.library == Library::Tensorrt)
        .map(|cell| {
            let check = cell.checks.iter().find(|check| check.name == "batch-invariance").unwrap();
            (cell.batch, check.status == Status::Fail)
        })
        .collect();
    assert_eq!(failed, [(1, false), (1, false), (4, true), (4, true)]);

    let last = AtomicUsize::new(0);
    let stale = answering(move |library, feeds| {
        let mut output = answers(feeds);
        let length = feeds.get("x").unwrap().shape[1];
        if library == Library::Tensorrt {
            let before = last.swap(length, Ordering::SeqCst);
            // The first batch after another shape is off.
            let off = if before != length && before != 0 { 0.5 } else { 0.0 };
            output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value += off);
        }
        output
    });
    let report = project.gate(&stale, &RunOptions::default());
    assert_eq!(report.verdict, Verdict::Fail);
}

/// A part of a plan is judged as the whole is: the reference runs beside it, once a shape, and is not reported.
#[test]
fn the_reference_runs_beside_a_part_of_the_plan() {
    let project = Project::new(BOTH, SHAPES);
    let filter = Filter { runtimes: vec!["tensorrt".parse().unwrap()], ..Filter::default() };
    let options = RunOptions { filter, ..RunOptions::default() };
    let report = project.gate(&sound(), &options);
    assert_eq!((report.verdict, report.cells.len(), report.planned.len()), (Verdict::Pass, 8, 12));
    assert!(report.cells.iter().all(|cell| cell.runtime.library == Library::Tensorrt));
    let wrong = answering(|library, feeds| {
        let mut output = answers(feeds);
        output.values.as_mut::<f32>().unwrap()[0] += if library == Library::Tensorrt { 0.5 } else { 0.0 };
        output
    });
    assert_eq!(project.gate(&wrong, &options).verdict, Verdict::Fail);

    // Nothing is judged by a reference that did not answer, or is not there.
    let silent = Fakes::of(opening(|_, feeds| answers(feeds)), |call: &Call<'_>| match call.request {
        Request::Open(request) if request.installation.id.library == Library::Onnxruntime => {
            Step::Die("died by signal 6")
        }
        _ => healthy(call),
    });
    let report = project.gate(&silent, &RunOptions::default());
    assert_eq!(statuses(&report), [[Status::Fail; 4], [Status::Invalid; 4], [Status::Invalid; 4]].concat());
    assert!(reason(&report.cells[4]).starts_with("the reference did not answer"), "{}", reason(&report.cells[4]));
    let alone = Project::new("tensorrt = [\"fp32\"]", ONE_SHAPE).gate(&sound(), &RunOptions::default());
    assert_eq!(statuses(&alone), [Status::Invalid; 2]);
    assert!(reason(&alone.cells[0]).contains("the reference did not answer"), "{}", reason(&alone.cells[0]));
}

/// A worker that dies costs its cell; after two deaths the rest of its precision is not tried.
#[test]
fn deaths_are_counted_over_the_cells_of_a_precision() {
    let project = Project::new(BOTH, SHAPES);
    let died = AtomicUsize::new(0);
    let once = Fakes::of(opening(|_, feeds| answers(feeds)), move |call: &Call<'_>| match call.request {
        Request::Open(request)
            if request.installation.id.library == Library::Tensorrt
                && request.precision == crate::vocabulary::Precision::Fp32
                && died.fetch_add(1, Ordering::SeqCst) == 0 =>
        {
            Step::Die("died by signal 11")
        }
        _ => healthy(call),
    });
    let report = project.gate(&once, &RunOptions::default());
    let expected = [vec![Status::Pass; 4], vec![Status::Fail], vec![Status::Pass; 7]].concat();
    assert_eq!((report.verdict, statuses(&report)), (Verdict::Fail, expected));
    let broken = Fakes::of(opening(|_, feeds| answers(feeds)), |call: &Call<'_>| match call.request {
        Request::Open(request) if request.precision == crate::vocabulary::Precision::Tf32 => Step::Die("died"),
        _ => healthy(call),
    });
    let report = project.gate(&broken, &RunOptions::default());
    assert_eq!(statuses(&report), [[Status::Pass; 4], [Status::Pass; 4], [Status::Fail; 4]].concat());
    assert!(reason(&report.cells[9]).contains("the worker died"), "{}", reason(&report.cells[9]));
    assert!(reason(&report.cells[10]).contains("died twice before this cell"), "{}", reason(&report.cells[10]));
}

/// What goes wrong when the samples are run again fails a cell whose outputs are right.
#[test]
fn outputs_that_are_right_once_are_not_right() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", ONE_SHAPE);
    let engines = AtomicUsize::new(usize::MAX);
    let fakes = Fakes::of(opening(|_, feeds| answers(feeds)), move |call: &Call<'_>| match call.request {
        Request::Build(_) => {
            engines.store(call.worker, Ordering::SeqCst);
            Step::Build
        }
        // Build, open, layers, the samples: then in another order.
        Request::Run { .. } if call.worker == engines.load(Ordering::SeqCst) && call.before == 4 => {
            Step::Fail(Error::failed("once"))
        }
        _ => Step::Serve,
    });
    let report = project.gate(&fakes, &RunOptions::default());
    assert_eq!(statuses(&report), [Status::Pass, Status::Pass, Status::Fail, Status::Pass]);
    assert_eq!((report.cells[2].stage, reason(&report.cells[2])), (Stage::Run, "once"));
}

/// A gate with the clock: each cell that passed is measured, at its own shape, and what is fast must be right in every output.
#[test]
fn cells_that_passed_are_measured_and_held_to_the_reference() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", SHAPES);
    let timing = TimingOptions {
        mode: TimingMode::Throughput,
        streams: Streams::Count(1),
        spin: false,
        duration_milliseconds: 100,
        repetitions: Some(2),
    };
    let options = RunOptions { timing: Some(timing), ..RunOptions::default() };
    let fakes = sound();
    let outcome = run_and_measure(&project.workspace(&fakes), &options).unwrap();
    assert_eq!((outcome.bench.unwrap().cells.len(), fakes.alive()), (8, 0));
    assert_eq!(outcome.report.verdict, Verdict::Pass, "{:?}", outcome.report.reasons);
    assert!(outcome.report.cells.iter().all(|cell| cell.timing.is_some()));
    // Baselines that are required and not there are no pass.
    let required = RunOptions { require_baseline: true, ..options.clone() };
    assert_eq!(project.gate(&sound(), &required).verdict, Verdict::Incomplete);

    // What is wrong only while the clock runs fails the cell.
    let wrong = Fakes::of(opening(|_, feeds| answers(feeds)), |call: &Call<'_>| match call.request {
        Request::Measure { .. } => Step::Spoil(Box::new(|_, tensors| {
            let values = tensors.iter_mut().filter_map(|tensor| tensor.values.as_mut::<f32>()).flatten();
            values.for_each(|value| *value += 0.5);
        })),
        _ => healthy(call),
    });
    let report = project.gate(&wrong, &options);
    for cell in &report.cells {
        assert_eq!((cell.status, cell.stage), (Status::Fail, Stage::Measure), "{}", cell.id());
        assert!(reason(cell).contains("outputs made while the clock ran are wrong"), "{}", reason(cell));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::default() })]

    /// Any history of workers ends with every cell once, in bounded time, nothing left behind, and no cell passing whose answers
    /// were not right.
    #[test]
    fn every_history_ends_with_each_cell_once(
        events in proptest::collection::vec(event(), 1..60),
        startable in prop_oneof![4 => Just(usize::MAX), 1 => 0..6_usize],
        shapes in any::<bool>(),
    ) {
        let project = Project::new(BOTH, if shapes { SHAPES } else { ONE_SHAPE });
        let history = events.clone();
        let fakes = Fakes::of(opening(|_, feeds| answers(feeds)), move |call: &Call<'_>| {
            step(history[(call.worker * 17 + call.before) % history.len()], call.name() == "build")
        });
        fakes.startable.store(startable, Ordering::SeqCst);
        let workspace = project.workspace(&fakes);
        let plan = workspace.plan(&Filter::default()).unwrap();
        let kit = Kit::prepare(&workspace, &plan, &RunOptions::default()).unwrap();
        prop_assert!(kit.beside.is_empty());
        let runs = execute(&plan, &kit.inputs(&workspace, Quiet.begin(""), false));

        let planned: Vec<_> = plan.iter().map(|cell| cell.id.clone()).collect();
        let ran: Vec<_> = runs.cells.iter().map(|cell| cell.planned.id.clone()).collect();
        prop_assert_eq!(&ran, &planned, "no cell is lost or doubled");
        prop_assert_eq!(fakes.alive(), 0, "no worker is left");
        // Each cell may ask a session beside, which saw no other shape.
        prop_assert!(fakes.started() <= 2 * 3 + 2 * ran.len(), "{} workers", fakes.started());
        // Engine, session, layers, four runs; session and run of the one beside.
        let limit = workspace.limits.request.max(workspace.limits.build);
        prop_assert!(fakes.waited() <= limit * (10 * ran.len()) as u32, "{:?}", fakes.waited());
        let staging = workspace.store.root().join(".staging");
        prop_assert_eq!(std::fs::read_dir(staging).map(|entries| entries.count()).unwrap_or(0), 0);

        let Subject::Several(several) = &kit.subject else { panic!("it has several inputs") };
        let found = several.check(&workspace.manifest, &runs, &BTreeMap::new(), (&Ladder::built_in().unwrap(), ""));
        prop_assert_eq!(found.cells.iter().map(CellReport::id).collect::<Vec<_>>(), planned);
        for (cell, report) in runs.cells.iter().zip(&found.cells) {
            let excused = matches!(report.status, Status::Unavailable | Status::Unsupported);
            prop_assert!(!excused || matches!(report.stage, Stage::Convert | Stage::Build), "{:?}", report.reason);
            prop_assert!(report.status == Status::Pass || report.reason.is_some());
            if report.status != Status::Pass {
                continue;
            }
            let Outcome::Ran(ran) = &cell.outcome else { panic!("{} passes and did not run", report.id()) };
            let feeds = several.fed.at(cell.planned.id.shape.as_ref()).unwrap();
            let right = [crate::check::apart::Answers::Rows(answers(feeds))];
            prop_assert_eq!(&read(several.interface, &ran.outputs).unwrap()[..], &right[..]);
            let Ok(Again::Turned { outputs: again, .. }) = &ran.again else { panic!("{} passes and was not asked again", report.id()) };
            let turned: Vec<_> = read(several.interface, again).unwrap().iter().map(|one| one.turned(cell.planned.id.batch as usize).unwrap()).collect();
            prop_assert_eq!(&turned[..], &right[..]);
        }
    }
}

/// A reply to another question is no answer.
#[test]
fn an_answer_to_another_question_fails_its_cell() {
    let project = Project::new("onnxruntime = [\"fp32\"]", ONE_SHAPE);
    let fakes = Fakes::of(opening(|_, feeds| answers(feeds)), |call: &Call<'_>| match (call.before, call.name()) {
        (2, "run") => Step::Spoil(Box::new(|reply, _| *reply = Reply::Layers { layers: None })),
        _ => Step::Serve,
    });
    let report = project.gate(&fakes, &RunOptions::default());
    assert_eq!(statuses(&report), [Status::Fail, Status::Pass]);
    assert!(reason(&report.cells[0]).contains("an answer to another question"), "{}", reason(&report.cells[0]));
}

/// INT8 is calibrated on samples by value kind, each input in its own type, others than those that are judged by.
#[test]
fn calibration_samples_are_made_of_every_input() {
    let project = Project::new("onnxruntime = [\"fp32\"]", SHAPES);
    let workspace = project.workspace(&sound());
    let path = workspace.calibration().unwrap();
    let members = crate::data::zip::members(&path).unwrap();
    assert_eq!(members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["0.npy", "1.npy"]);
    let header = |place: usize| {
        let mut content = crate::data::zip::open(&path, &members[place]).unwrap();
        let header = crate::data::npy::read_header(&mut content).unwrap();
        (header.descr, header.shape)
    };
    assert_eq!(header(0), ("'<i8'".to_owned(), vec![512, 2]));
    assert_eq!(header(1), ("'<f4'".to_owned(), vec![512, 4]), "the largest shape");

    // Those of a file are what the gate judges by.
    let text = std::fs::read_to_string(&project.manifest.path).unwrap();
    let text = text.replace("{ uniform = [0.0, 1.0] }", "{ from = \"samples.npz\" }");
    let manifest = Manifest {
        interface: Manifest::parse(&text, &project.manifest.path).unwrap().interface,
        ..project.manifest.clone()
    };
    let project = Project { manifest, ..project };
    let error = project.workspace(&sound()).calibration().unwrap_err();
    assert_eq!(error.kind, crate::error::ErrorKind::Unsupported);
    assert!(error.message.contains("come from a file"), "{error}");
}

/// What is required and not there is no pass, whatever the cells say.
#[rstest]
#[case::golden("golden = true", "a golden is required, and `")]
#[case::accuracy("accuracy = true", "`[require] accuracy` is set, and no labelled data was given")]
fn what_is_required_and_not_there_is_no_pass(#[case] required: &str, #[case] words: &str) {
    let project = Project::new(BOTH, &format!("{ONE_SHAPE}\n[require]\n{required}\n"));
    let report = project.gate(&sound(), &RunOptions::default());
    assert_eq!((report.verdict, statuses(&report)), (Verdict::Incomplete, vec![Status::Pass; 6]));
    assert!(report.reasons.iter().any(|reason| reason.starts_with(words)), "{:?}", report.reasons);
    let told = "18 samples of 2 inputs; outputs by their tasks: `y` values";
    assert!(report.notes.iter().any(|note| note == told), "{:?}", report.notes);
    // A golden that cannot be read is said to be that.
    let path = crate::gate::golden_path(&project.manifest);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "damaged").unwrap();
    let report = project.gate(&sound(), &RunOptions::default());
    let damaged = |reason: &&String| reason.contains(".golden`");
    let reason = report.reasons.iter().find(damaged).unwrap();
    assert_eq!(reason.starts_with("a golden is required: "), required.starts_with("golden"), "{reason}");
    assert_eq!(report.verdict, Verdict::Incomplete);
}

/// The reference runs at as large a batch as any that is compared, and no larger.
#[test]
fn the_reference_beside_has_the_batch_of_what_is_compared() {
    let project = Project::new(BOTH, ONE_SHAPE);
    let workspace = project.workspace(&sound());
    let beside = |batches: Vec<u32>| {
        let filter = Filter { runtimes: vec!["tensorrt".parse().unwrap()], batches, ..Filter::default() };
        let (beside, missing) = references(&workspace, &workspace.plan(&filter).unwrap());
        assert!(missing.is_empty());
        beside.iter().map(|cell| (cell.id.runtime.library, cell.id.batch)).collect::<Vec<_>>()
    };
    assert_eq!(
        (beside(vec![1]), beside(vec![1, 4])),
        (vec![(Library::Onnxruntime, 1)], vec![(Library::Onnxruntime, 4)])
    );
    let (none, _) = references(&workspace, &workspace.plan(&Filter::default()).unwrap());
    assert!(none.is_empty(), "it is in the plan");
}
