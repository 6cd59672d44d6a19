//! trtgate proves that a model conversion chain (TensorFlow SavedModel → ONNX → TensorRT) still answers the same and
//! still runs as fast, in every precision, at every batch size, on every TensorRT version.

pub mod atomic;
pub(crate) mod base64;
pub mod check;
pub mod cli;
pub(crate) mod console;
pub mod convert;
pub mod data;
pub mod digest;
pub mod drill;
pub mod error;
pub mod explain;
pub mod fetch;
pub(crate) mod figure;
pub mod files;
pub mod findings;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
pub mod libraries;
pub mod manifest;
pub mod measure;
pub mod meter;
pub mod onnx;
pub mod plan;
pub mod process;
pub mod processor;
pub mod progress;
pub mod report;
pub mod repository;
pub mod runtime;
pub mod serve;
pub mod suite;
pub mod tensor;
pub mod timing;
pub mod vocabulary;
pub mod worker;

pub use error::{Error, ErrorKind, Result};
