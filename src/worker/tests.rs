//! The two sides of a worker, over frames in memory: what is asked, how it is cut into batches, and what comes back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rstest::rstest;

use super::fake::{Call, FakeSession, Fakes, Step, no_measurement};
use super::*;
use crate::error::{ErrorKind, Result};
use crate::runtime::{Installation, Session, SessionOptions};
use crate::tensor::{Tensor, Values};
use crate::vocabulary::{ArtifactKind, Precision, RuntimeId};

mod served;

use served::{closed_offer, endpoint};

fn request() -> OpenRequest {
    OpenRequest {
        installation: Installation::plain(RuntimeId::unversioned(Library::Onnxruntime), "1", "lib.so"),
        artifact: "m.onnx".into(),
        kind: ArtifactKind::OnnxFp32,
        precision: Precision::Fp32,
        batch: 4,
        options: SessionOptions::default(),
    }
}

/// `count` samples of two values, all different.
fn samples(count: usize) -> Tensor {
    Tensor::float32("x", vec![count, 2], (0..count * 2).map(|index| index as f32).collect()).unwrap()
}

/// Sums of the samples' values: one output of one class.
fn sums(input: &Tensor) -> Tensor {
    let values = (0..input.batch()).map(|sample| input.row(sample).unwrap().iter().sum()).collect();
    Tensor::float32("y", vec![input.batch(), 1], values).unwrap()
}

fn answering(answer: impl Fn(&Tensor) -> Result<Vec<Tensor>> + Send + Sync + 'static) -> Arc<Fakes> {
    scripted(answer, |_| Step::Serve)
}

fn scripted(
    answer: impl Fn(&Tensor) -> Result<Vec<Tensor>> + Send + Sync + 'static,
    script: impl FnMut(&Call<'_>) -> Step + Send + 'static,
) -> Arc<Fakes> {
    let answer = Arc::new(answer);
    let open = move |_: &OpenRequest| -> Result<Box<dyn Session>> {
        let answer = Arc::clone(&answer);
        Ok(Box::new(FakeSession::new(("x", &[2]), ("y", 1), Some("fp32"), move |input| answer(input))))
    };
    Fakes::of(open, script)
}

fn started(fakes: &Arc<Fakes>) -> Worker {
    Worker::start(&fakes.program(), Limits::default()).unwrap()
}

fn opened(fakes: &Arc<Fakes>) -> Worker {
    let mut worker = started(fakes);
    worker.open(&request()).unwrap();
    worker
}

#[test]
fn a_worker_says_what_it_loaded_and_answers_in_order() {
    let fakes = answering(|input| Ok(vec![sums(input)]));
    let mut worker = started(&fakes);
    assert!(worker.instruction_set().is_none());
    let (signature, seconds) = worker.open(&request()).unwrap();
    assert_eq!((signature.inputs[0].name.as_str(), signature.outputs[0].name.as_str()), ("x", "y"));
    assert!(seconds >= 0.0 && worker.instruction_set().is_some());
    assert_eq!(worker.layers().unwrap().unwrap()[0].precision.as_deref(), Some("fp32"));
    for batch in [1, 3, 4, 10, 11] {
        let outcome = worker.run(&samples(10), batch, false).unwrap();
        assert_eq!(outcome.outputs, [sums(&samples(10))], "batch {batch}");
        assert_eq!((outcome.seconds, outcome.transfers), (0.0, TransferCount::default()));
    }
    assert!(!worker.is_dead());
    drop(worker);
    assert_eq!((fakes.started(), fakes.alive()), (1, 0));
}

#[test]
fn samples_are_cut_into_batches_of_which_only_the_last_is_short() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    let fakes = answering(move |input| {
        seen.lock().unwrap().push(input.batch());
        Ok(vec![sums(input)])
    });
    let mut worker = opened(&fakes);
    let mut cut = |count: usize, batch: usize, pad: bool| {
        sizes.lock().unwrap().clear();
        assert_eq!(worker.run(&samples(count), batch, pad).unwrap().outputs, [sums(&samples(count))]);
        sizes.lock().unwrap().clone()
    };
    assert_eq!(cut(10, 4, false), [4, 4, 2]);
    assert_eq!(cut(8, 4, false), [4, 4]);
    assert_eq!(cut(2, 4, false), [2]);
    // A static model gets whole batches.
    assert_eq!(cut(10, 4, true), [4, 4, 4]);
    assert_eq!(cut(8, 4, true), [4, 4]);
}

#[rstest]
#[case(0, 2, 4)]
#[case(3, 2, 0)]
fn nothing_to_run_is_an_error(#[case] count: usize, #[case] _row: usize, #[case] batch: usize) {
    let fakes = answering(|input| Ok(vec![sums(input)]));
    let error = opened(&fakes).run(&samples(count), batch, false).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.starts_with("nothing to run"), "{error}");
}

#[test]
fn samples_that_do_not_fill_their_shape_are_refused() {
    let fakes = answering(|input| Ok(vec![sums(input)]));
    let mut worker = opened(&fakes);
    for (shape, values) in [(vec![2, 2], 3), (vec![2, 0], 0), (vec![2, 2], 5), (vec![], 1)] {
        let mut input = samples(1);
        (input.shape, input.values) = (shape, vec![0.0; values].into());
        assert!(worker.run(&input, 1, false).is_err());
    }
}

/// Outputs that change from batch to batch are never joined.
#[rstest]
#[case::more(|output: Tensor| vec![output.clone(), output], "the runtime gave 1 outputs for one batch and 2 for another")]
#[case::fewer(|_: Tensor| vec![], "the runtime gave 1 outputs for one batch and 0 for another")]
#[case::renamed(|output: Tensor| vec![Tensor { name: "z".to_owned(), ..output }], "output `y` changed from [4, 1] to `z` [4, 1]")]
#[case::wider(
    |output: Tensor| vec![Tensor { shape: vec![2, 2], ..output }],
    "output `y` changed from [4, 1] to `y` [2, 2]"
)]
fn outputs_that_change_between_batches_are_refused(#[case] change: fn(Tensor) -> Vec<Tensor>, #[case] words: &str) {
    let calls = AtomicUsize::new(0);
    let fakes = answering(move |input| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(vec![sums(input)]),
        _ => Ok(change(sums(input))),
    });
    let error = opened(&fakes).run(&samples(8), 4, false).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.starts_with(words), "{error}");
}

#[test]
fn without_a_session_nothing_runs() {
    let fakes = answering(|input| Ok(vec![sums(input)]));
    let mut worker = started(&fakes);
    let words = "the worker has no session open";
    assert_eq!(worker.run(&samples(2), 1, false).unwrap_err().message, words);
    assert_eq!(worker.layers().unwrap_err().message, words);
    assert_eq!(worker.survey(&samples(2), 1).unwrap_err().message, words);
    assert_eq!(worker.measure(&samples(2), 1, &TimingContract::host()).unwrap_err().message, words);
}

/// The old session is gone before the new one is there: its memory is wanted, and it must not answer for the other.
#[test]
fn a_session_that_could_not_be_loaded_leaves_none() {
    let opens = AtomicUsize::new(0);
    let open = move |_: &OpenRequest| -> Result<Box<dyn Session>> {
        match opens.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(Box::new(FakeSession::new(("x", &[2]), ("y", 1), None, |input| Ok(vec![sums(input)])))),
            _ => Err(Error::input("not this file")),
        }
    };
    let mut worker = opened(&Fakes::of(open, |_| Step::Serve));
    assert_eq!(worker.layers().unwrap(), None);
    let error = worker.open(&request()).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Input, "not this file"));
    assert_eq!(worker.run(&samples(2), 1, false).unwrap_err().message, "the worker has no session open");
}

#[test]
fn an_error_of_the_runtime_comes_whole_and_the_worker_lives() {
    let fakes = answering(|_| Err(Error::unsupported("no kernel").cause("why").hint("what next")));
    let mut worker = opened(&fakes);
    for _ in 0..3 {
        let error = worker.run(&samples(2), 1, false).unwrap_err();
        assert_eq!(error, Error::unsupported("no kernel").cause("why").hint("what next"));
    }
    assert!(!worker.is_dead());
}

#[test]
fn a_survey_counts_the_values_of_each_sample() {
    let fakes = answering(|input| Ok(vec![input.clone()]));
    let mut worker = opened(&fakes);
    let mut input = samples(5);
    input.values.as_mut::<f32>().unwrap()[3] = 70000.0;
    let found = worker.survey(&input, 2).unwrap();
    assert_eq!((found.len(), found[0].0.as_str(), found[0].1.len()), (1, "x", 5));
    let largest: Vec<f32> = found[0].1.iter().map(|extent| extent.largest).collect();
    assert_eq!(largest, [1.0, 70000.0, 5.0, 7.0, 9.0]);
    assert_eq!(found[0].1.iter().map(|extent| extent.beyond).sum::<f32>(), 1.0);
}

#[test]
fn a_measurement_brings_the_last_outputs_of_each_batch() {
    let fakes = answering(|input| Ok(vec![sums(input)]));
    let measurement = opened(&fakes).measure(&samples(4), 2, &TimingContract::host()).unwrap();
    let values: Vec<Vec<f64>> = measurement.outputs.iter().map(|outputs| outputs[0].values.to_f64()).collect();
    assert_eq!(values, [vec![1.0, 5.0], vec![9.0, 13.0]]);
    assert_eq!((measurement.batch, measurement.outputs[0][0].name.as_str()), (2, "y"));
    assert_eq!(measurement.batches, 10);
}

/// What is answered must be an answer to what was asked.
#[test]
fn an_answer_to_another_question_is_refused() {
    let other = |call: &Call<'_>| match call.name() {
        "run" | "open" => Step::Spoil(Box::new(|reply, tensors| {
            *reply = Reply::Layers { layers: None };
            tensors.clear();
        })),
        _ => Step::Spoil(Box::new(|reply, _| {
            *reply = Reply::Measured { measurement: no_measurement(), batches: 0, outputs: Vec::new() };
        })),
    };
    let fakes = scripted(|input| Ok(vec![sums(input)]), other);
    let mut worker = started(&fakes);
    let words = |name: &str| format!("the worker gave an answer to another question, `{name}`");
    assert_eq!(worker.open(&request()).unwrap_err().message, words("layers"));
    assert!(worker.instruction_set().is_none());
    assert_eq!(worker.run(&samples(2), 1, false).unwrap_err().message, words("layers"));
    assert_eq!(worker.layers().unwrap_err().message, words("measured"));
    assert_eq!(worker.survey(&samples(2), 1).unwrap_err().message, words("measured"));
    let build = worker.build(&build_request(1)).unwrap_err();
    assert_eq!(build.message, words("measured"));
    assert_eq!(worker.devices().unwrap_err().message, words("measured"));
    assert_eq!(worker.probe(Library::Litert, &SearchPaths::default()).unwrap_err().message, words("measured"));
}

fn build_request(candidates: u32) -> crate::runtime::tensorrt::BuildRequest {
    crate::runtime::tensorrt::BuildRequest {
        installation: Installation::plain("tensorrt@8.5.3".parse().unwrap(), "8.5.3", "lib.so"),
        onnx: "m.onnx".into(),
        precision: Precision::Fp32,
        options: crate::manifest::EngineOptions { candidates, ..Default::default() },
        engine: "m.engine".into(),
        profiles: Vec::new(),
        fixed: false,
        calibration: None,
        timing_cache: None,
        mark_outputs: Vec::new(),
        skip_absent_outputs: true,
        beyond_capabilities: false,
        device: 0,
    }
}

/// Each request has the limit of its kind: a request's, a build's for each engine that is built, and a measurement's longer
/// by twice what its contract asks for.
#[test]
fn each_request_is_waited_for_as_long_as_its_kind_allows() {
    let waited = |ask: &dyn Fn(&mut Worker) -> Error| {
        let fakes = scripted(|input| Ok(vec![sums(input)]), |_| Step::Hang);
        let mut worker = started(&fakes);
        let error = ask(&mut worker);
        assert!(worker.is_dead() && error.hint.unwrap().contains("--time-limit"));
        assert!(error.message.contains("so the worker was stopped"), "{}", error.message);
        let seconds = fakes.waited().as_secs();
        assert!(error.message.contains(&format!("no answer within {seconds} s")), "{}", error.message);
        assert_eq!(fakes.alive(), 0);
        seconds
    };
    assert_eq!(waited(&|worker| worker.open(&request()).unwrap_err()), 120);
    assert_eq!(waited(&|worker| worker.run(&samples(2), 1, false).unwrap_err()), 120);
    assert_eq!(waited(&|worker| worker.layers().unwrap_err()), 120);
    assert_eq!(waited(&|worker| worker.devices().unwrap_err()), 120);
    assert_eq!(waited(&|worker| worker.probe(Library::Litert, &SearchPaths::default()).unwrap_err()), 120);
    assert_eq!(waited(&|worker| worker.build(&build_request(1)).unwrap_err()), 900);
    assert_eq!(waited(&|worker| worker.build(&build_request(3)).unwrap_err()), 2700);
    assert_eq!(waited(&|worker| worker.survey(&samples(2), 1).unwrap_err()), 120);
    assert_eq!(waited(&|worker| worker.look(&endpoint()).unwrap_err()), 120);
    let (axes, load) = (BatchAxes::default(), Load { connections: 1, batch: 1, largest: 1, whole: false });
    assert_eq!(waited(&|worker| worker.load(&request(), &samples(2), &axes, &load).unwrap_err()), 120);
    let contract = TimingContract { warm_up_milliseconds: 1000, duration_milliseconds: 4000, ..TimingContract::host() };
    assert_eq!(waited(&|worker| worker.measure(&samples(2), 1, &contract).unwrap_err()), 130);
    // What is offered takes its own time beside.
    let offer = Offer { seconds: 60.0, ..closed_offer(5) };
    assert_eq!(waited(&|worker| worker.drive(&request(), &samples(2), &axes, (1, false), &offer).unwrap_err()), 180);
}

#[test]
fn a_worker_that_ended_is_asked_nothing_more() {
    let fakes = scripted(
        |input| Ok(vec![sums(input)]),
        |call| match call.before {
            0 => Step::DieAfter("died by signal 9"),
            _ => Step::Serve,
        },
    );
    let mut worker = opened(&fakes);
    assert!(!worker.is_dead());
    let error = worker.run(&samples(2), 1, false).unwrap_err();
    assert_eq!(error.message, "cannot run the samples: the worker died by signal 9 after 0.0 s");
    assert!(worker.is_dead());
    let error = worker.run(&samples(2), 1, false).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Failed, "cannot run the samples: the worker has ended")
    );
    assert_eq!(fakes.seen(), [(0, "open"), (0, "run")]);
}

/// A flood is noticed while an answer is waited for, not only at the limit, and only above what is allowed.
#[test]
fn standard_error_has_a_limit() {
    let flooded = |stderr_bytes: u64| {
        let fakes = scripted(|input| Ok(vec![sums(input)]), |_| Step::Flood);
        let limits = Limits { stderr_bytes, request: Duration::from_secs(2), ..Limits::default() };
        let error = Worker::start(&fakes.program(), limits).unwrap().layers().unwrap_err().message;
        (error.contains("standard error"), fakes.waited().as_millis())
    };
    assert_eq!(flooded((8 << 20) - 1), (true, 100));
    assert_eq!(flooded(8 << 20), (true, 200));
    assert_eq!(flooded(u64::MAX), (false, 2000));
}

#[test]
fn an_answer_that_is_late_is_still_one() {
    let at = |milliseconds: u64| {
        let fakes = scripted(
            |input| Ok(vec![sums(input)]),
            move |call| match call.name() {
                "layers" => Step::After(Duration::from_millis(milliseconds)),
                _ => Step::Serve,
            },
        );
        opened(&fakes).layers().is_ok()
    };
    assert!(at(0) && at(99) && at(100) && at(101) && at(120_000));
    assert!(!at(120_001));
}

/// What the readers of frames do with whatever comes: a frame that is sound is told from one that is none.
#[test]
fn frames_are_read_until_one_is_none() {
    let values = Values::from(vec![1.0_f32, 2.0, 3.0, 4.0]);
    let header = TensorHeader { name: "x".to_owned(), element_type: ElementType::Float32, shape: vec![2, 2] };
    let reply = Reply::Outputs { outputs: vec![header.clone()], seconds: 0.0, transfers: TransferCount::default() };
    let mut replies = Vec::new();
    frame::write(&mut replies, &reply, &[&values]).unwrap();
    assert!(read_replies(&replies));
    assert!(!read_replies(&replies[..replies.len() - 1]) && !read_replies(b""));
    let mut requests = Vec::new();
    let feeds = FeedsHeader { tensors: vec![header], shared: 0 };
    frame::write(&mut requests, &Request::Survey { feeds, batch: 1 }, &[&values]).unwrap();
    assert!(read_requests(&requests) && !read_requests(&replies) && !read_replies(&requests));
    let mut layers = Vec::new();
    frame::write(&mut layers, &Request::Layers, &[]).unwrap();
    assert!(read_requests(&layers) && !read_requests(&layers[1..]));
}

/// What a worker found comes as it is.
#[test]
fn what_a_worker_found_comes_whole() {
    let found = |id: &str| Probe {
        found: vec![Installation::plain(id.parse::<RuntimeId>().unwrap(), "1.2", "lib.so")],
        missing: None,
    };
    let card = |ordinal: usize| DeviceInfo {
        ordinal,
        name: "card".to_owned(),
        compute_capability: (9, 0),
        uuid: format!("GPU-{ordinal}"),
        others: Vec::new(),
        memory_bytes: 1,
        multiprocessors: 1,
        copy_engines: 1,
        pci_bus_id: String::new(),
        driver_version: None,
        cuda_version: (13, 0),
    };
    let fakes = scripted(
        |input| Ok(vec![sums(input)]),
        move |call| {
            let answer = match call.request {
                Request::Probe { library, .. } => Reply::Probe(found(library.as_str())),
                Request::Look(endpoint) => {
                    assert_eq!(**endpoint, served::endpoint());
                    Reply::Probe(found("triton"))
                }
                _ => Reply::Devices { devices: vec![card(0), card(1)] },
            };
            Step::Spoil(Box::new(move |reply, _| *reply = answer))
        },
    );
    let mut worker = started(&fakes);
    let id = |probe: Probe| probe.found[0].id.to_string();
    assert_eq!(id(worker.probe(Library::Litert, &SearchPaths::default()).unwrap()), "litert");
    assert_eq!(id(worker.look(&endpoint()).unwrap()), "triton");
    let uuids: Vec<String> = worker.devices().unwrap().into_iter().map(|card| card.uuid).collect();
    assert_eq!(uuids, ["GPU-0", "GPU-1"]);
    assert_eq!(fakes.seen(), [(0, "probe"), (0, "probe"), (0, "devices")]);
}

/// Every batch that was measured has as many outputs.
#[test]
fn a_measurement_without_whole_outputs_is_none() {
    let measured = |batches: usize, outputs: usize| {
        let fakes = scripted(
            |input| Ok(vec![sums(input)]),
            move |call| match call.name() {
                "measure" => Step::Spoil(Box::new(move |reply, tensors| {
                    let Reply::Measured { batches: told, .. } = reply else { panic!("it was measured") };
                    *told = batches;
                    *tensors = vec![sums(&samples(1)); outputs];
                })),
                _ => Step::Serve,
            },
        );
        let found = opened(&fakes).measure(&samples(4), 2, &TimingContract::host());
        found.map(|measurement| measurement.outputs.iter().map(Vec::len).collect::<Vec<_>>())
    };
    assert_eq!(measured(2, 4).unwrap(), [2, 2]);
    assert_eq!(measured(0, 3).unwrap_err().message, "the measurement of 0 batches came with 3 outputs");
    for (batches, outputs) in [(2, 3), (2, 1), (1, 0)] {
        let words = format!("the measurement of {batches} batches came with {outputs} outputs");
        assert_eq!(measured(batches, outputs).unwrap_err().message, words);
    }
}

/// Of an output without a batch there is a tensor for each sample, behind those that have one.
#[test]
fn outputs_without_a_batch_come_sample_by_sample() {
    let fakes = answering(|input| {
        let whole = Tensor { name: "whole".to_owned(), ..input.clone() };
        Ok(vec![whole, sums(input)])
    });
    let mut worker = opened(&fakes);
    let axes =
        BatchAxes { outputs: [("whole".to_owned(), crate::tensor::BatchAxis::None)].into(), ..BatchAxes::default() };
    let outputs = worker.run_laid_out(&samples(3), 1, false, &axes).unwrap().outputs;
    let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["y", "whole", "whole", "whole"]);
    assert_eq!(outputs[0], sums(&samples(3)));
    for (sample, output) in outputs[1..].iter().enumerate() {
        assert_eq!(output.values, samples(3).samples(std::iter::once(sample)).unwrap().values);
    }
    let error = worker.run_laid_out(&samples(4), 2, false, &axes).unwrap_err();
    assert_eq!(error.message, "a model without a batch is run sample by sample, not 2 at once");
    let error = worker.measure_laid_out(&samples(4), 2, &axes, &TimingContract::host()).unwrap_err();
    assert_eq!(error.message, "a model without a batch is run sample by sample, not 2 at once");
}

/// An answer that is none ends the worker.
#[test]
fn an_answer_that_is_none_ends_the_worker() {
    let fakes = scripted(|input| Ok(vec![sums(input)]), |_| Step::Garble);
    let mut worker = started(&fakes);
    let error = worker.layers().unwrap_err();
    assert_eq!(error.message, "cannot list the layers: the worker's answer is broken");
    assert_eq!((error.causes.len(), worker.is_dead(), fakes.alive()), (1, true, 0));
}

/// A worker is this program or the one that is named, quiet and offline.
#[test]
fn a_worker_is_a_program_with_a_quiet_environment() {
    let current = WorkerProgram::current().unwrap();
    assert_eq!(current.program, std::env::current_exe().unwrap());
    let program = WorkerProgram::of("/there/trtgate".into());
    assert_eq!((program.program.to_str(), program.argument, program.echo), (Some("/there/trtgate"), "worker", false));
    assert!(program.libraries.is_none());
    let environment: Vec<(&str, &str)> =
        program.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("ORT_DISABLE_TELEMETRY", "1"),
        ("TF_CPP_MIN_LOG_LEVEL", "2"),
        ("TF_ENABLE_ONEDNN_OPTS", "1"),
        ("CUDA_MODULE_LOADING", "LAZY"),
        ("CUDA_DEVICE_MAX_CONNECTIONS", "32"),
    ];
    assert_eq!(environment, expected);
    assert!(!is_asked_for(), "a test is no worker");
    // A program of somebody's own is its own worker once it has said that it looks.
    initialized();
    let own = WorkerProgram::this_program().unwrap();
    assert_eq!((own.program, own.argument), (current.program, "--trtgate-worker"));
    assert_eq!((own.environment, own.echo), (program.environment, false));
}
