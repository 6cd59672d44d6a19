//! Artifact out of artifact: SavedModel or TFLite → ONNX → FP16, Q/DQ; SavedModel → TFLite; all kept in the store.

pub mod artifact;
pub mod bundle;
pub mod cache;
pub(crate) mod cases;
pub mod environment;
mod onnx_fp16;
pub(crate) mod onnx_int8;
mod onnx_plain;
pub mod own;
pub mod pin;
pub(crate) mod plant;
pub mod savedmodel_onnx;
mod script;
pub mod store;
pub mod tflite;
mod tflite_int8;
mod tflite_onnx;
pub(crate) mod tool;

pub use artifact::{Artifact, artifact};
