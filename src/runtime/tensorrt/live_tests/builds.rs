//! What building alone shows.

use super::*;

#[test]
#[ignore = "needs a TensorRT in TRTGATE_TENSORRT_PATH"]
fn every_precision_builds_and_answers() {
    let reference = test_model::reference(100);
    let mut failures = Vec::new();
    for installation in builders() {
        for precision in Precision::ALL {
            let folder = tempfile::tempdir().unwrap();
            let mut request = request(&installation, folder.path(), *precision);
            if *precision == Precision::Int8Calibrated {
                request.calibration = Some(calibration(folder.path(), 512));
            }
            let built = match build(&request) {
                Ok(built) => built,
                Err(error) if error.kind == ErrorKind::Unsupported => {
                    eprintln!("{} {precision}: {error}", installation.id);
                    continue;
                }
                Err(error) => {
                    eprintln!("{} {precision}: FAILED {error} hint {:?}", installation.id, error.hint);
                    failures.push(format!("{} {precision}: {error}", installation.id));
                    continue;
                }
            };
            eprintln!(
                "{} {precision}: {} bytes in {:.2} s, {} network layers, flags {:?}, warnings {:?}",
                installation.id, built.bytes, built.seconds, built.network_layers, built.metadata.flags, built.warnings
            );
            for layer in built.layers.iter().flatten() {
                eprintln!(
                    "    {:<60} {:<20} {:?} {:?} compute={}",
                    layer.name, layer.kind, layer.precision, layer.tactic, layer.compute
                );
            }
            assert_eq!(EngineMetadata::beside(&request.engine).unwrap().unwrap(), built.metadata);
            if let Some(obstacle) = &installation.run_obstacle {
                let error = open(&request, 32).err().expect("no run where there is an obstacle");
                eprintln!("    not run: {}; opening says: {error}", obstacle.reason);
                continue;
            }
            let mut session = open(&request, 32).unwrap();
            eprintln!("    signature {:?} batches {:?}", session.signature(), session.batches());
            for batch in [1, 7, 8, 16, 32] {
                let logits = run(&mut session, 100, batch);
                let error = largest_difference(&logits, &reference);
                eprintln!("    batch {batch}: largest error {error:e}");
                if error.is_nan() || error > tolerance(*precision) {
                    failures.push(format!("{} {precision} batch {batch}: {error:e}", installation.id));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
#[ignore = "needs a TensorRT in TRTGATE_TENSORRT_PATH"]
fn a_parser_error_names_the_node() {
    for installation in &builders() {
        let folder = tempfile::tempdir().unwrap();
        let mut request = request(installation, folder.path(), Precision::Fp32);
        std::fs::write(&request.onnx, test_model::unknown_operator()).unwrap();
        let error = build(&request).unwrap_err();
        eprintln!("{}: {error}", installation.id);
        assert_eq!(error.kind, ErrorKind::Input);
        assert!(error.to_string().contains("Frobnicate") || error.to_string().contains("node 0"), "{error}");
        assert!(!request.engine.exists());

        std::fs::write(&request.onnx, "no protobuf").unwrap();
        let error = build(&request).unwrap_err();
        eprintln!("{}: {error}", installation.id);
        assert_eq!(error.kind, ErrorKind::Input);

        request.onnx = write_model(folder.path(), Form::Float, None);
        request.options = EngineOptions { min_batch: 0, opt_batch: 0, max_batch: 0, ..EngineOptions::default() };
        assert!(build(&request).unwrap_err().message.contains("is empty"));
    }
}

#[test]
#[ignore = "needs a TensorRT in TRTGATE_TENSORRT_PATH"]
fn inner_tensors_can_be_shown() {
    for installation in &builders() {
        let folder = tempfile::tempdir().unwrap();
        let mut request = request(installation, folder.path(), Precision::Fp32);
        request.mark_outputs = vec!["relu0".to_owned()];
        build(&request).unwrap();
        if installation.run_obstacle.is_none() {
            let names: Vec<String> =
                open(&request, 1).unwrap().signature().outputs.iter().map(|spec| spec.name.clone()).collect();
            assert!(names.contains(&"relu0".to_owned()) && names.contains(&"logits".to_owned()), "{names:?}");
        }
        request.mark_outputs = vec!["nowhere".to_owned()];
        assert!(build(&request).unwrap_err().message.contains("makes no tensor `nowhere`"));
    }
}

/// `TRTGATE_TEST_ONNX` lists models as `precision=path`, separated by `:`.
#[test]
#[ignore = "needs a TensorRT in TRTGATE_TENSORRT_PATH and models in TRTGATE_TEST_ONNX"]
fn given_models_build() {
    let given = std::env::var("TRTGATE_TEST_ONNX").expect("`TRTGATE_TEST_ONNX` names models");
    let mut failures = Vec::new();
    for installation in builders() {
        for (precision, path) in given.split(':').map(|entry| entry.split_once('=').unwrap()) {
            let folder = tempfile::tempdir().unwrap();
            let mut request = request(&installation, folder.path(), precision.parse().unwrap());
            request.onnx = PathBuf::from(path);
            match build(&request) {
                Ok(built) => {
                    eprintln!("{} {precision}: {} bytes in {:.2} s", installation.id, built.bytes, built.seconds);
                }
                Err(error) if error.kind == ErrorKind::Unsupported => {
                    eprintln!("{} {precision}: {error}", installation.id);
                }
                Err(error) => failures.push(format!("{} {precision}: {error}", installation.id)),
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
#[ignore = "needs a TensorRT that builds here, in TRTGATE_TENSORRT_PATH; takes minutes"]
fn a_thousand_builds_leave_host_memory_as_it_was() {
    let rounds: usize = std::env::var("TRTGATE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    for installation in &builders() {
        let folder = tempfile::tempdir().unwrap();
        let request = request(installation, folder.path(), Precision::Fp32);
        std::fs::write(&request.onnx, test_model::smallest()).unwrap();
        let mut early = None;
        for round in 0..rounds {
            build(&request).unwrap();
            if round + 1 == rounds.min(50) {
                early = Some(resident());
            }
            if round % 100 == 99 {
                eprintln!("{} round {}: {} KiB resident", installation.id, round + 1, resident());
            }
        }
        let (early, late) = (early.unwrap(), resident());
        eprintln!("{}: {early} KiB after {} rounds, {late} KiB after {rounds}", installation.id, rounds.min(50));
        assert!(late <= early + (64 << 10), "resident memory grew from {early} to {late} KiB");
    }
}
