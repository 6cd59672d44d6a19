//! TFLite → ONNX, FP32, by tf2onnx: the same operator set as from a SavedModel, inputs and outputs by the names of the signature.

use serde_json::json;

use crate::convert::artifact::{Artifact, Conversion, Work, text_of};
use crate::convert::savedmodel_onnx::OPSET;
use crate::convert::script::Script;
use crate::convert::tflite::border;
use crate::error::{Error, Result};
use crate::files;
use crate::onnx;
use crate::vocabulary::ArtifactKind;

const SCRIPT: Script = Script { name: "tflite_onnx.py", text: include_str!("python/tflite_onnx.py") };

pub(super) fn convert(work: &Work<'_>, source: &Artifact) -> Result<Artifact> {
    let path = &source.path;
    let bytes = files::read(path, files::GRAPH).map_err(|error| Error::io("read", path, error))?;
    let border = border::border(&bytes)?;
    let (inputs, outputs) = (&border.signature.inputs, &border.signature.outputs);
    let pairs = inputs.iter().zip(&border.inputs).chain(outputs.iter().zip(&border.outputs));
    let names: Vec<_> = pairs.map(|(spec, tensor)| json!([tensor, spec.name])).collect();
    let conversion = Conversion {
        name: "onnx-fp32",
        script: SCRIPT,
        source,
        options: vec![("names", json!(names).to_string()), ("opset", OPSET.to_string())],
        digests: Vec::new(),
        paths: vec![("tflite", text_of(path)?)],
    };
    work.convert(&conversion, ArtifactKind::OnnxFp32, "model.onnx", |folder| {
        let found = onnx::signature(&onnx::read(&folder.join("model.onnx"))?);
        for (wanted, found) in [(inputs, &found.inputs), (outputs, &found.outputs)] {
            if let Some(lost) = wanted.iter().find(|wanted| found.iter().all(|found| found != *wanted)) {
                return Err(Error::failed(format!("tf2onnx gave `{}` another name, type or shape", lost.name)));
            }
        }
        Ok(())
    })
}
