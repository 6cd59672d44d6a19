//! SavedModel → ONNX, FP32, by tf2onnx: opset 17, names and layout of the signature, a dynamic batch `N`.
//!
//! The same SavedModel gives the same bytes: hash seeds are fixed, and paths, tool versions and generated shape symbols
//! are stripped. Open sizes are called as `[shapes]` calls them, else by tensor and dimension, so that two are one size
//! where the manifest says so and nowhere else.

use serde_json::{Value, json};

use crate::convert::artifact::{Artifact, Conversion, Work, text_of};
use crate::convert::script::Script;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::manifest::shapes::SampleSize;
use crate::onnx;
use crate::tensor::BatchAxis;
use crate::vocabulary::ArtifactKind;

/// Operator set of the ONNX files: the newest that TensorRT 8.5's parser reads.
pub const OPSET: u32 = 17;

const SCRIPT: Script = Script { name: "savedmodel_onnx.py", text: include_str!("python/savedmodel_onnx.py") };

pub(super) fn convert(work: &Work<'_>, source: &Artifact) -> Result<Artifact> {
    let border = Border::of(work.manifest);
    let conversion = Conversion {
        name: "onnx-fp32",
        script: SCRIPT,
        source,
        options: vec![
            ("signature", work.manifest.model.source.signature().to_owned()),
            ("inputs", Value::from(border.inputs.clone()).to_string()),
            ("outputs", Value::from(border.outputs.clone()).to_string()),
            ("others", if work.manifest.interface.is_some() { "unknown" } else { "batched" }.to_owned()),
            ("opset", OPSET.to_string()),
        ],
        digests: Vec::new(),
        paths: vec![("saved-model", text_of(&source.path)?)],
    };
    work.convert(&conversion, ArtifactKind::OnnxFp32, "model.onnx", |folder| {
        let signature = onnx::signature(&onnx::read(&folder.join("model.onnx"))?);
        let sides = [(&border.inputs, &signature.inputs), (&border.outputs, &signature.outputs)];
        for (named, found) in sides {
            let mut lost = named.iter().filter_map(|named| named.get("name")?.as_str());
            if let Some(lost) = lost.find(|name| found.iter().all(|spec| spec.name != *name)) {
                return Err(Error::failed(format!("tf2onnx lost the name `{lost}`"))
                    .hint("an input that no output depends on is left out of an ONNX graph; have it used, or save the model without it"));
            }
        }
        Ok(())
    })
}

/// What the manifest names of the model's border: the name of each, the axis of its samples, and those of its open sizes.
struct Border {
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

impl Border {
    fn of(manifest: &Manifest) -> Self {
        let batch = |axis: BatchAxis| match axis {
            BatchAxis::At(axis) => Some(axis),
            BatchAxis::None => None,
        };
        let Some(interface) = &manifest.interface else {
            let one = |name: &str| vec![json!({ "name": name, "axis": 0, "sizes": [] })];
            return Self { inputs: one(&manifest.input.name), outputs: one(&manifest.output.name) };
        };
        let inputs = interface.inputs.iter().map(|fed| {
            let sizes = fed.shape.iter().flatten().map(|size| match size {
                SampleSize::Named(name) => Some(name.as_str()),
                SampleSize::Fixed(_) => None,
            });
            let axis = if fed.shared { None } else { batch(fed.batch_axis) };
            json!({ "name": fed.name, "axis": axis, "sizes": sizes.collect::<Vec<_>>() })
        });
        let outputs = interface
            .read_outputs()
            .into_iter()
            .map(|name| json!({ "name": name, "axis": batch(interface.output_axis(name)), "sizes": [] }));
        Self { inputs: inputs.collect(), outputs: outputs.collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;

    #[test]
    fn sizes_are_called_as_the_manifest_calls_them() {
        let text = "schema = 1\n[model]\nname = \"m\"\nsaved-model = \"m\"\n\
             [[input]]\nname = \"ids\"\nshape = [\"length\", 3]\nvalues = { integers = [0, 9] }\n\
             [[input]]\nname = \"rate\"\nshared = true\nvalues = { constant = 1 }\n\
             [[output]]\nname = \"y\"\ntask = \"values\"\nbatch-axis = 1\n[shapes]\nlength = [2, 4]\n";
        let manifest = Manifest::parse(text, Path::new("gate.toml")).unwrap();
        let Border { inputs, outputs } = Border::of(&manifest);
        let expected = json!([
            { "name": "ids", "axis": 0, "sizes": ["length", null] },
            { "name": "rate", "axis": null, "sizes": [] },
        ]);
        assert_eq!(Value::from(inputs), expected);
        assert_eq!(Value::from(outputs), json!([{ "name": "y", "axis": 1, "sizes": [] }]));
    }
}
