//! TensorRT 8.5 to 11, TensorRT for RTX and the lean runtime, from one binary: opened at run time, called through their C++
//! binary interface, with no SDK and no C++ compiler.
//!
//! | file           | layer                                                                              |
//! |----------------|------------------------------------------------------------------------------------|
//! | `sys`          | families, generated slot tables, plain structures, the vtables that TensorRT calls   |
//! | `result`       | owned objects, every call checked                                                    |
//! | the rest       | safe: [`discovery`], [`build()`], [`EngineSession`], [`capabilities`], [`pipeline`]     |
//!
//! The facts behind the tables are in `facts/`; `cargo run --example slot-tables` writes `sys/tables.rs` from them, and
//! tests hold the tables against 19 releases and against real headers where there are some.

pub mod build;
mod calibration;
mod candidates;
pub mod capabilities;
mod diagnosis;
pub mod discovery;
pub(crate) mod layers;
pub(crate) mod links;
#[cfg(test)]
mod live_tests;
pub mod log;
pub mod metadata;
pub mod pipeline;
pub(crate) mod places;
pub mod plan_file;
mod profile;
mod ranges;
mod resources;
mod result;
mod session;
mod slots;
mod sys;
#[cfg(test)]
pub(crate) mod test_model;
mod timing_cache;

pub use build::{BuildOutcome, BuildRequest, ReadyBuilder, build};
pub use calibration::CalibrationRequest;
pub use candidates::Candidate;
pub use metadata::{EngineMetadata, Environment};
pub use places::VARIABLE as PATH_VARIABLE;
pub use ranges::InputRange;
pub use result::{Engine, ExecutionContext, PLUGIN_LIBRARY, Role};
pub use session::EngineSession;
pub use timing_cache::TimingCacheOutcome;

use crate::error::Result;
use crate::runtime::{OpenRequest, Probe, Runtime, SearchPaths, Session};
use crate::vocabulary::Library;

/// The driver.
pub struct Tensorrt;

impl Runtime for Tensorrt {
    fn library(&self) -> Library {
        Library::Tensorrt
    }

    fn probe(&self, paths: &SearchPaths) -> Probe {
        discovery::probe(paths)
    }

    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Session>> {
        Ok(Box::new(EngineSession::open(request)?))
    }
}
