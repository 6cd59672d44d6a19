//! trtgate proves that a model conversion chain (TensorFlow SavedModel → ONNX → TensorRT) still answers the same and
//! still runs as fast, in every precision, at every batch size, on every TensorRT version.
//!
//! What stands in this page is what others can build on. Everything else is behind [`internals`], for the project's own tests,
//! benchmarks and tools, and changes without notice.

#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, reason = "the commands alone use some of it"))]

mod atomic;
mod base64;
mod check;
#[cfg(feature = "cli")]
mod cli;
mod console;
mod convert;
mod data;
mod digest;
#[cfg(feature = "cli")]
mod drill;
mod error;
#[cfg(feature = "cli")]
mod explain;
mod facade;
#[cfg(feature = "cli")]
mod fetch;
mod figure;
mod files;
mod findings;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
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
#[cfg(feature = "cli")]
mod review;
mod runtime;
#[cfg(feature = "cli")]
mod serve;
#[cfg(feature = "cli")]
mod suite;
mod tensor;
mod timing;
mod vocabulary;
mod worker;

#[cfg(feature = "cli")]
pub use cli::main as command_line;
pub use error::{Error, ErrorKind, Result};
pub use facade::{Gate, init, read_report, render, write_report};
pub use findings::{CellReport, CheckResult, Report};
pub use plan::{Ability, PlannedCell};
pub use runtime::Obstacle;
pub use vocabulary::{ArtifactKind, CellId, Library, Precision, RuntimeId, ShapePoint, Stage, Status, Verdict};

/// What a third crate implements to have a runtime of its own gated: [`Runtime`](driver::Runtime), and the
/// [`Session`](driver::Session) that it opens.
pub mod driver {
    pub use crate::runtime::Session;
    pub use crate::runtime::own::{Artifact, Runtime, register};
    pub use crate::tensor::{ElementType, Feeds, Signature, Tensor, TensorSpec, Values};
    pub use crate::vocabulary::Layer;
}

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
    #[cfg(feature = "cli")] cli
    convert
    data
    digest
    #[cfg(feature = "cli")] drill
    #[cfg(feature = "cli")] explain
    #[cfg(feature = "cli")] fetch
    files
    findings
    #[cfg(all(any(test, fuzzing), feature = "cli"))] fuzzing
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
    #[cfg(feature = "cli")] review
    runtime
    #[cfg(feature = "cli")] serve
    #[cfg(feature = "cli")] suite
    tensor
    timing
    vocabulary
    worker
}
