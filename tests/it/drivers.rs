//! What the drivers' tests share: the libraries under test, and the tiny model with Python's answers.
//!
//! The libraries are those of trtgate's own Python environment, or in the folders that `TRTGATE_TEST_SITE_PACKAGES` names. A
//! test whose library is not there fails: `ci/run-archive` leaves out those of the libraries that a container does not
//! promise.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;

use trtgate::internals::convert::environment::{EXPORT, find};
use trtgate::internals::runtime::{self, Installation, OpenRequest, SearchPaths, Session, SessionOptions};
use trtgate::internals::tensor::Tensor;
use trtgate::internals::vocabulary::{ArtifactKind, Library, Precision};
use trtgate::{Error, Result};

/// Largest absolute difference to Python's answers; the same library computes both.
pub(crate) const TOLERANCE: f32 = 1e-5;

/// The best installation of `library`; these tests are run to test it, so its absence is a failure.
pub(crate) fn installation(library: Library) -> Installation {
    let site_packages = match std::env::var_os("TRTGATE_TEST_SITE_PACKAGES") {
        Some(paths) => std::env::split_paths(&paths).collect(),
        None => find(EXPORT).map(|environment| environment.site_packages).unwrap_or_default(),
    };
    let paths = SearchPaths { explicit: Vec::new(), site_packages, system: true };
    let probe = runtime::driver(library).unwrap().probe(&paths);
    match probe.found.into_iter().next() {
        Some(installation) => installation,
        None => panic!("`{library}` is not here; `trtgate export` brings it: {:?}", probe.missing),
    }
}

/// A file of the tiny model.
pub(crate) fn fixture(name: &str) -> PathBuf {
    std::env::current_dir().unwrap().join("tests/fixtures/tiny").join(name)
}

/// Shape and values of an npy file of the tiny model.
pub(crate) fn npy(name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = BufReader::new(File::open(fixture(name)).unwrap());
    let array = npyz::NpyFile::new(file).unwrap();
    let shape = array.shape().iter().map(|&size| usize::try_from(size).unwrap()).collect();
    (shape, array.into_vec::<f32>().unwrap())
}

/// The four samples of the tiny model.
pub(crate) fn samples() -> Tensor {
    let (shape, values) = npy("input.npy");
    Tensor::float32("input_1", shape, values).unwrap()
}

/// Samples `range` of `tensor`.
pub(crate) fn rows(tensor: &Tensor, range: std::ops::Range<usize>) -> Tensor {
    tensor.samples(range).unwrap()
}

/// A request for `artifact` with the default options, but for one thread and the output `logits` alone.
pub(crate) fn request(library: Library, artifact: PathBuf, kind: ArtifactKind, batch: usize) -> OpenRequest {
    let precision = match kind {
        ArtifactKind::OnnxFp16 => Precision::Fp16,
        ArtifactKind::OnnxInt8 | ArtifactKind::TfliteInt8 => Precision::Int8,
        _ => Precision::Fp32,
    };
    let options = SessionOptions { intra_threads: 1, outputs: vec!["logits".to_owned()], ..SessionOptions::default() };
    OpenRequest { installation: installation(library), artifact, kind, precision, batch, options }
}

/// Opens `request` with its library's driver.
pub(crate) fn open(request: &OpenRequest) -> Result<Box<dyn Session>> {
    runtime::driver(request.installation.id.library).unwrap().open(request)
}

/// The error of opening `request`, which must fail.
pub(crate) fn refusal(request: &OpenRequest) -> Error {
    match open(request) {
        Ok(_) => panic!("`{}` opened", request.artifact.display()),
        Err(error) => error,
    }
}

/// Checks `output` against the npy file `expected`.
pub(crate) fn assert_close(output: &Tensor, expected: &str) {
    let (shape, values) = npy(expected);
    assert_eq!(output.shape, shape);
    let got = output.floats();
    assert_eq!(got.len(), values.len(), "`{expected}`");
    assert!(!values.is_empty(), "`{expected}` holds nothing");
    // A NaN is within no tolerance.
    let close = |got: f32, wanted: f32| (got - wanted).abs() <= TOLERANCE;
    let off = got.iter().zip(&values).position(|(&got, &wanted)| !close(got, wanted));
    if let Some(place) = off {
        panic!("`{expected}` differs at {place}: {} instead of {}", got[place], values[place]);
    }
}

/// A copy of the file `name` of the tiny model, changed by `change`.
pub(crate) fn damaged(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    let mut bytes = fs::read(fixture(name)).unwrap();
    change(&mut bytes);
    fs::write(&file, bytes).unwrap();
    (folder, file)
}
