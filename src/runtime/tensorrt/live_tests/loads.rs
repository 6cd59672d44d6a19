//! What a library answers on a machine without a CUDA driver: it is loaded, tells its version, and says what is missing.

use super::*;
use crate::runtime::cuda::Driver;

#[test]
#[ignore = "needs a TensorRT in TRTGATE_TENSORRT_PATH, and no CUDA driver"]
fn a_library_without_a_driver_answers_cleanly() {
    if Driver::load().is_ok() {
        eprintln!("there is a CUDA driver: nothing was looked at");
        return;
    }
    for installation in installations() {
        let library = result::Library::open(&installation).unwrap();
        let version = installation.id.version.as_deref().unwrap_or_default();
        assert!(library.title().contains(version), "{} says that it is {}", installation.id, library.title());
        let run = installation.run_obstacle.as_ref().expect("no engine runs without a driver");
        assert!(run.reason.contains("driver"), "{}: {run:?}", installation.id);
        let folder = tempfile::tempdir().unwrap();
        let request = request(&installation, folder.path(), Precision::Fp32);
        match build(&request) {
            Ok(_) => assert!(library.works_without_driver(), "{} built an engine", installation.id),
            Err(error) => {
                eprintln!("{}: {error}", installation.id);
                assert_eq!(error.kind, ErrorKind::Missing, "{}: {error}", installation.id);
                assert!(!library.works_without_driver() || installation.build_obstacle.is_some(), "{error}");
                assert!(!request.engine.exists());
                std::fs::write(&request.engine, "no engine").unwrap();
            }
        }
        let error = open(&request, 1).err().expect("no session without a driver");
        assert_eq!(error.kind, ErrorKind::Missing, "{}: {error}", installation.id);
    }
}
