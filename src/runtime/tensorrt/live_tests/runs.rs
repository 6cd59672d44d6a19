//! What needs a GPU that the library runs on.

use super::*;
use crate::tensor::Feeds;

#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH"]
fn transfers_are_counted_and_wrong_calls_refused() {
    for installation in &runners() {
        let folder = tempfile::tempdir().unwrap();
        let request = request(installation, folder.path(), Precision::Fp32);
        build(&request).unwrap();
        for (batch, copies) in [(32, 4), (1, 100)] {
            let mut session = open(&request, batch).unwrap();
            run(&mut session, 100, batch);
            let transfers = session.transfers();
            assert_eq!((transfers.copies_in, transfers.copies_out), (copies, copies), "batch {batch}");
            assert_eq!((transfers.bytes_in, transfers.bytes_out), (100 * ROW as u64 * 4, 100 * 10 * 4));
        }
        assert!(open(&request, 33).err().unwrap().message.contains("outside the engine's profile"));
        let mut session = open(&request, 32).unwrap();
        let large = Tensor::float32("input_1", vec![33, 3, 8, 8], test_model::inputs(33)).unwrap();
        assert!(session.run(&large.into()).unwrap_err().message.contains("outside the engine's profile"));
        let named = Tensor::float32("x", vec![1, 3, 8, 8], test_model::inputs(1)).unwrap();
        assert!(session.run(&named.into()).is_err());
        // The session survives refused calls.
        assert_eq!(run(&mut session, 10, 10).len(), 100);

        // A fixed batch needs no profile and takes exactly that batch.
        let mut fixed = request.clone();
        fixed.onnx = write_model(folder.path(), Form::Float, Some(8));
        build(&fixed).unwrap();
        let mut session = open(&fixed, 8).unwrap();
        assert!(largest_difference(&run(&mut session, 16, 8), &test_model::reference(16)) < 1e-4);
        let three = Tensor::float32("input_1", vec![3, 3, 8, 8], test_model::inputs(3)).unwrap();
        assert!(session.run(&three.into()).unwrap_err().message.contains("fixed batch 8"));
    }
}

#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH"]
fn damaged_engines_have_errors_of_their_own() {
    for installation in &runners() {
        let folder = tempfile::tempdir().unwrap();
        let request = request(installation, folder.path(), Precision::Fp32);
        build(&request).unwrap();
        let whole = std::fs::read(&request.engine).unwrap();
        let attempt = |bytes: &[u8], with_metadata: bool| {
            std::fs::write(&request.engine, bytes).unwrap();
            if !with_metadata {
                let _ = std::fs::remove_file(metadata::metadata_path(&request.engine));
            }
            let error = open(&request, 1).err().expect("a damaged engine is refused");
            eprintln!("{}: {error} hint {:?}", installation.id, error.hint);
            error
        };
        assert!(attempt(&whole[..whole.len() / 2], true).message.contains("truncated"));
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        assert!(attempt(&changed, true).message.contains("is not the engine"));
        // Without metadata TensorRT's own words have to do.
        attempt(&whole[..whole.len() / 2], false);
        attempt(&whole[..64], false);
        attempt(b"this is no engine at all, but it is longer than a header would be, to be sure of it", false);
    }
}

#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH"]
fn timing_caches_are_recorded_and_verified() {
    for installation in installations()
        .iter()
        .filter(|one| one.run_obstacle.is_none() && one.build_obstacle.is_none() && one.id.library == Library::Tensorrt)
    {
        let folder = tempfile::tempdir().unwrap();
        let mut request = request(installation, folder.path(), Precision::Fp32);
        // TensorRT 8.5.3 cannot read back its cache of the whole classifier.
        std::fs::write(&request.onnx, test_model::smallest()).unwrap();
        request.timing_cache = Some(folder.path().join("timing.cache"));
        request.options.timing_cache = TimingCacheMode::Record;
        let first = build(&request).unwrap();
        request.options.timing_cache = TimingCacheMode::Verified;
        let second = build(&request).unwrap();
        eprintln!(
            "{}: {:?} then {:?} ({} s, {} s, same engine: {})",
            installation.id,
            first.timing_cache,
            second.timing_cache,
            first.seconds,
            second.seconds,
            first.sha256 == second.sha256
        );
        // Another model's tactics are not in the cache.
        request.precision = Precision::Fp16;
        request.onnx = write_model(folder.path(), Form::Half, None);
        let error = build(&request).unwrap_err();
        eprintln!("{}: {error}", installation.id);
    }
}

#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH; takes minutes"]
fn a_thousand_rounds_leave_memory_as_it_was() {
    let rounds: usize = std::env::var("TRTGATE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    for installation in &runners() {
        let folder = tempfile::tempdir().unwrap();
        let request = request(installation, folder.path(), Precision::Fp32);
        // Small, and the builder's kernels kept loaded, so that a thousand builds take minutes.
        std::fs::write(&request.onnx, test_model::smallest()).unwrap();
        let ready = ReadyBuilder::of(&request).unwrap();
        let memory = || {
            let driver = crate::runtime::cuda::Driver::load().unwrap();
            let (free, _) = driver.open(0).unwrap().memory().unwrap();
            (free, resident())
        };
        // The driver's context stays from here on, so that every round starts alike.
        let device = crate::runtime::cuda::Driver::load().unwrap().open(0).unwrap();
        let mut early = None;
        let mut first = None;
        for round in 0..rounds {
            build(&request).unwrap();
            let mut session = open(&request, 32).unwrap();
            let logits = run(&mut session, 32, 32);
            drop(session);
            let difference = largest_difference(&logits, first.get_or_insert(logits.clone()));
            assert!(difference <= tolerance(Precision::Fp32), "round {round} answers otherwise: {difference:e}");
            if round + 1 == rounds.min(20) {
                early = Some(memory());
            }
            if round % 100 == 99 {
                eprintln!("round {round}: free device memory and resident KiB {:?}", memory());
            }
        }
        let (early, late) = (early.unwrap(), memory());
        eprintln!("{}: after {} rounds {early:?}, after {rounds} {late:?}", installation.id, rounds.min(20));
        assert!(late.0 + (8 << 20) >= early.0, "device memory shrank from {} to {}", early.0, late.0);
        assert!(late.1 <= early.1 + (64 << 10), "resident memory grew from {} to {} KiB", early.1, late.1);
        drop((ready, device));
    }
}

#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH"]
fn measurements_answer_what_runs_answer() {
    use crate::timing::contract::{TimingContract, TimingMode};
    for installation in &runners() {
        for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
            let folder = tempfile::tempdir().unwrap();
            let mut request = request(installation, folder.path(), precision);
            request.options.profiles = 4;
            if build(&request).is_err() {
                continue;
            }
            let mut session = open(&request, 32).unwrap();
            let expected = run(&mut session, 64, 32);
            let inputs: Vec<Feeds> = test_model::inputs(64)
                .chunks(ROW * 32)
                .map(|chunk| Tensor::float32("input_1", vec![32, 3, 8, 8], chunk.to_vec()).unwrap().into())
                .collect();
            for (mode, streams) in [(TimingMode::Latency, 1), (TimingMode::Throughput, 1), (TimingMode::Throughput, 4)]
            {
                let contract = TimingContract {
                    mode,
                    graph: true,
                    transfers_in: true,
                    transfers_out: true,
                    streams,
                    duration_milliseconds: 300,
                    ..TimingContract::host()
                };
                let measured = session.measure(&inputs, &contract).unwrap();
                eprintln!(
                    "{} {precision} {mode:?} x{streams}: {:.0} samples/s",
                    installation.id,
                    measured.samples_per_second()
                );
                let outputs = measured.outputs.into_iter().flat_map(|mut outputs| outputs.remove(0).into_floats());
                assert!(largest_difference(&outputs.collect::<Vec<_>>(), &expected) <= tolerance(precision));
            }
            // The session's own memory is bound again.
            assert_eq!(run(&mut session, 64, 32), expected);
        }
    }
}

/// `TRTGATE_TEST_ENGINE` names a whole engine of another version; without it, bytes that are no engine stand for one.
#[test]
#[ignore = "needs lean runtimes in TRTGATE_TENSORRT_PATH"]
fn lean_runtimes_refuse_foreign_engines() {
    let mut lean = installations();
    lean.retain(|one| one.id.library == Library::TensorrtLean);
    assert!(!lean.is_empty(), "no lean runtime in `TRTGATE_TENSORRT_PATH`");
    for installation in &lean {
        let folder = tempfile::tempdir().unwrap();
        let engine = folder.path().join("foreign.engine");
        let foreign = std::env::var_os("TRTGATE_TEST_ENGINE").map(|path| std::fs::read(path).unwrap());
        std::fs::write(&engine, foreign.unwrap_or_else(|| vec![0x5a; 4096])).unwrap();
        let request = OpenRequest {
            installation: installation.clone(),
            artifact: engine,
            kind: ArtifactKind::Engine,
            precision: Precision::Fp32,
            batch: 1,
            options: SessionOptions::default(),
        };
        let error = EngineSession::open(&request).err().expect("a foreign engine is refused");
        eprintln!("{}: {error} hint {:?}", installation.id, error.hint);
    }
}

/// One round for memory checkers, which slow a build down by orders of magnitude: a first round without the checker leaves
/// its timing cache in `TRTGATE_TEST_FOLDER`, and the round under the checker times nothing.
#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH"]
fn one_round_builds_runs_and_drops() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("TRTGATE_TEST_FOLDER").map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
    for installation in runners() {
        let mut request = request(&installation, &folder, Precision::Fp16);
        request.timing_cache = Some(folder.join(format!("{}.cache", installation.id)));
        let built = build(&request).unwrap();
        eprintln!("{}: built in {:.2} s, {:?}", installation.id, built.seconds, built.timing_cache);
        let mut session = open(&request, 32).unwrap();
        let error = largest_difference(&run(&mut session, 100, 32), &test_model::reference(100));
        assert!(error <= tolerance(Precision::Fp16), "{error:e}");
    }
}

#[test]
#[ignore = "needs a TensorRT that runs, in TRTGATE_TENSORRT_PATH"]
fn the_fastest_candidate_is_kept() {
    for installation in runners().iter().filter(|one| one.id.library == Library::Tensorrt) {
        let folder = tempfile::tempdir().unwrap();
        let mut request = request(installation, folder.path(), Precision::Fp16);
        request.options.candidates = 3;
        request.timing_cache = Some(folder.path().join("timing.cache"));
        let built = build(&request).unwrap();
        let candidates = &built.metadata.candidates;
        eprintln!("{}: {candidates:?}", installation.id);
        assert_eq!(candidates.len(), 3);
        let fastest = candidates.iter().max_by_key(|candidate| candidate.samples_per_second).unwrap();
        assert!(fastest.sha256 == built.sha256 && fastest.samples_per_second > 0);
        assert_eq!(run(&mut open(&request, 32).unwrap(), 32, 32).len(), 320);
    }
}
