//! trtgate proves that a model conversion chain (TensorFlow SavedModel → ONNX → TensorRT) still answers the same and
//! still runs as fast, in every precision, at every batch size, on every TensorRT version.
//!
//! What stands in this page is what others can build on. Everything else is behind [`internals`], for the project's own tests,
//! benchmarks and tools, and changes without notice.

mod atomic;
mod base64;
mod check;
mod cli;
mod console;
mod convert;
mod data;
mod digest;
mod drill;
mod error;
mod explain;
mod fetch;
mod figure;
mod files;
mod findings;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod gate;
#[cfg(feature = "harness")]
pub mod harness;
mod libraries;
mod load;
mod manifest;
mod measure;
mod meter;
mod onnx;
mod plan;
mod process;
mod processor;
mod progress;
mod report;
mod repository;
mod runtime;
mod serve;
mod suite;
mod tensor;
mod timing;
mod vocabulary;
mod worker;

pub use error::{Error, ErrorKind, Result};
pub use findings::{CellReport, Report};
pub use vocabulary::{ArtifactKind, CellId, Library, Precision, RuntimeId, ShapePoint, Stage, Status, Verdict};

/// Opens modules of the program to its own tests, benchmarks, fuzz targets and tools.
macro_rules! internals {
    ($($(#[$condition:meta])* $module:ident)+) => {
        /// The program's own modules, for its own tests, benchmarks, fuzz targets and tools: nothing here is promised.
        #[doc(hidden)]
        pub mod internals {
            $($(#[$condition])* pub mod $module {
                pub use crate::$module::*;
            })+
        }
    };
}

internals! {
    atomic
    check
    cli
    convert
    data
    digest
    drill
    explain
    fetch
    files
    findings
    #[cfg(any(test, fuzzing))] fuzzing
    gate
    libraries
    load
    manifest
    measure
    meter
    onnx
    plan
    process
    processor
    progress
    report
    repository
    runtime
    serve
    suite
    tensor
    timing
    vocabulary
    worker
}
