//! SavedModel → ONNX, FP32, by tf2onnx: opset 17, names and layout of the signature, a dynamic batch `N`.
//!
//! The same SavedModel gives the same bytes: hash seeds are fixed, and paths, tool versions and generated shape symbols
//! are stripped.

use crate::convert::artifact::{Artifact, Conversion, Work, text_of};
use crate::convert::script::Script;
use crate::error::{Error, Result};
use crate::onnx;
use crate::tensor::TensorSpec;
use crate::vocabulary::ArtifactKind;

/// Operator set of the ONNX files: the newest that TensorRT 8.5's parser reads.
pub const OPSET: u32 = 17;

const SCRIPT: Script = Script { name: "savedmodel_onnx.py", text: include_str!("python/savedmodel_onnx.py") };

pub(super) fn convert(work: &Work<'_>, source: &Artifact) -> Result<Artifact> {
    let mut options = work.border().to_vec();
    options.push(("opset", OPSET.to_string()));
    let conversion = Conversion {
        name: "onnx-fp32",
        script: SCRIPT,
        source,
        options,
        digests: Vec::new(),
        paths: vec![("saved-model", text_of(&source.path)?)],
    };
    work.convert(&conversion, ArtifactKind::OnnxFp32, "model.onnx", |folder| {
        let signature = onnx::signature(&onnx::read(&folder.join("model.onnx"))?);
        let (input, output) = (&work.manifest.input.name, &work.manifest.output.name);
        let has = |specs: &[TensorSpec], name: &str| specs.iter().any(|spec| spec.name == name);
        if has(&signature.inputs, input) && has(&signature.outputs, output) {
            Ok(())
        } else {
            Err(Error::failed(format!("tf2onnx lost the name `{input}` or `{output}`")))
        }
    })
}
