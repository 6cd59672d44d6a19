//! SavedModel → TFLite, full integer (INT8 input and output too), one static model a batch size.

use std::path::Path;

use crate::convert::artifact::{Artifact, Conversion, FEWEST_SAMPLES, Work, text_of};
use crate::convert::script::Script;
use crate::convert::tflite;
use crate::digest::digest_file;
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::Manifest;
use crate::tensor::BatchAxis;
use crate::vocabulary::ArtifactKind;

const SCRIPT: Script =
    Script { name: "savedmodel_tflite_int8.py", text: include_str!("python/savedmodel_tflite_int8.py") };

pub(super) fn convert(work: &Work<'_>, source: &Artifact, batch: u32, calibration: &Path) -> Result<Artifact> {
    // Loading TensorFlow takes longer than converting, so the manifest's batch sizes are made in one go.
    let batches = match &work.manifest.batches {
        together if together.contains(&batch) => together.clone(),
        _ => vec![batch],
    };
    let mut options = work.border().to_vec();
    let names: Vec<String> = batches.iter().map(u32::to_string).collect();
    let [inputs, outputs] = several(work.manifest)?;
    options.extend([
        ("inputs", inputs),
        ("outputs", outputs),
        ("batches", names.join(",")),
        ("fewest", FEWEST_SAMPLES.to_string()),
    ]);
    let conversion = Conversion {
        name: "tflite-int8",
        script: SCRIPT,
        source,
        options,
        digests: vec![("calibration", digest_file(calibration)?)],
        paths: vec![("saved-model", text_of(&source.path)?), ("calibration", text_of(calibration)?)],
    };
    work.convert(&conversion, ArtifactKind::TfliteInt8, &file_name(batch), |folder| {
        batches.iter().try_for_each(|&batch| {
            let path = folder.join(file_name(batch));
            let bytes = files::read(&path, files::GRAPH).map_err(|error| Error::io("read", &path, error))?;
            let structure = tflite::structure(&bytes)?;
            let mut border = structure.inputs.iter().chain(&structure.outputs);
            let one_input = work.manifest.interface.is_none();
            // Whole numbers of several inputs are fed as they are.
            if border.any(|value| if one_input { !value.starts_with("int8 ") } else { value.starts_with("float") }) {
                return Err(Error::failed("the converter left an input or output in another type than INT8"));
            }
            Ok(())
        })
    })
}

/// The names of several inputs and of the outputs that are read, as JSON; nothing of one input.
///
/// # Errors
/// `Unsupported`, where LiteRT cannot run what is asked: a file has one shape, and its samples first.
fn several(manifest: &Manifest) -> Result<[String; 2]> {
    let Some(interface) = &manifest.interface else { return Ok([String::new(), String::new()]) };
    let refused = |why: &str| {
        Err(Error::unsupported(format!("no TFLite file in INT8 is made here: {why}"))
            .hint("take `int8` of `litert` out of `[matrix.runtimes]`, or bring a file (`[artifacts] tflite-int8`)"))
    };
    if interface.points().len() > 1 {
        return refused("it has one shape, and `[shapes]` names several");
    }
    if let Some(input) = interface.inputs.iter().find(|input| input.shared || input.batch_axis != BatchAxis::At(0)) {
        return refused(&format!(
            "it takes samples along the first dimension, and input `{}` has none there",
            input.name
        ));
    }
    let read = interface.read_outputs();
    if let Some(name) = read.iter().find(|name| interface.output_axis(name) != BatchAxis::At(0)) {
        return refused(&format!("it answers samples along the first dimension, and output `{name}` has none there"));
    }
    let inputs: Vec<&str> = interface.inputs.iter().map(|input| input.name.as_str()).collect();
    let text = |names: &[&str]| {
        serde_json::to_string(names).map_err(|error| Error::failed("cannot write the names of inputs").because(error))
    };
    Ok([text(&inputs)?, text(&read)?])
}

fn file_name(batch: u32) -> String {
    format!("model-batch-{batch}.tflite")
}
