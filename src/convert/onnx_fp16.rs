//! ONNX FP32 → ONNX FP16: weights and activations in FP16 for strongly typed builds, input and output in FP32.

use crate::convert::artifact::{Artifact, Conversion, Work, text_of};
use crate::convert::script::Script;
use crate::error::Result;
use crate::onnx;
use crate::vocabulary::ArtifactKind;

const SCRIPT: Script = Script { name: "onnx_fp16.py", text: include_str!("python/onnx_fp16.py") };

pub(super) fn convert(work: &Work<'_>, source: &Artifact) -> Result<Artifact> {
    let conversion = Conversion {
        name: "onnx-fp16",
        script: SCRIPT,
        source,
        options: Vec::new(),
        digests: Vec::new(),
        paths: vec![("source", text_of(&source.path)?)],
    };
    work.convert(&conversion, ArtifactKind::OnnxFp16, "model.onnx", |folder| {
        onnx::read(&folder.join("model.onnx")).map(|_| ())
    })
}
