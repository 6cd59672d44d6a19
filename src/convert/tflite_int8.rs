//! SavedModel → TFLite, full integer (INT8 input and output too), one static model a batch size.

use std::path::Path;

use crate::convert::artifact::{Artifact, Conversion, FEWEST_SAMPLES, Work, text_of};
use crate::convert::script::Script;
use crate::convert::tflite;
use crate::digest::digest_file;
use crate::error::{Error, Result};
use crate::files;
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
    options.extend([("batches", names.join(",")), ("fewest", FEWEST_SAMPLES.to_string())]);
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
            let border = structure.inputs.iter().chain(&structure.outputs);
            if border.into_iter().any(|value| !value.starts_with("int8 ")) {
                return Err(Error::failed("the converter left the input or output in another type than INT8"));
            }
            Ok(())
        })
    })
}

fn file_name(batch: u32) -> String {
    format!("model-batch-{batch}.tflite")
}
