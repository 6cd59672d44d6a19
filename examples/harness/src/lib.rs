//! What ships with `model.onnx`.

/// The network, as it is embedded.
pub const MODEL: &[u8] = include_bytes!("../model.onnx");
