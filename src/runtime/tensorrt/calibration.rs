//! Samples for the entropy calibrator, batch by batch onto the device.

use std::io::BufReader;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::arrays;
use crate::error::{Error, Result};
use crate::files;
use crate::runtime::cuda::{Device, DeviceBuffer, Stream};
use crate::runtime::tensorrt::build::BuildRequest;
use crate::runtime::tensorrt::metadata::write_whole;
use crate::runtime::tensorrt::profile::{BatchRange, with_batch};
use crate::runtime::tensorrt::result::{Builder, CalibrationBatches, Calibrator, Config, Network};
use crate::tensor::ElementType;

/// Where calibration samples come from, and where the table goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationRequest {
    /// `.npy` file of 32-bit floats, `[samples, …]`, as the model's input takes them.
    pub samples: PathBuf,
    /// The calibration table: read if the file is there, written after a calibration.
    #[serde(default)]
    pub table: Option<PathBuf>,
}

/// Samples in memory, handed out in whole batches; a rest that fills no batch is left out.
struct Batches {
    input: String,
    values: Vec<f32>,
    batch_values: usize,
    batch: usize,
    position: usize,
    buffer: DeviceBuffer,
    stream: Stream,
}

impl CalibrationBatches for Batches {
    fn batch_size(&self) -> usize {
        self.batch
    }

    fn input(&self) -> &str {
        &self.input
    }

    fn next(&mut self) -> Result<Option<DeviceBuffer>> {
        let end = self.position + self.batch_values;
        let Some(values) = self.values.get(self.position..end) else { return Ok(None) };
        self.buffer.upload(values, &self.stream)?;
        self.position = end;
        Ok(Some(self.buffer.clone()))
    }
}

/// Reads the samples; an error unless they are finite 32-bit floats of the wanted shape.
fn read_samples(request: &CalibrationRequest, row: &[i64]) -> Result<Vec<f32>> {
    let path = &request.samples;
    let file = files::plain(path).map_err(|error| Error::io("read", path, error))?;
    let array = arrays::read(&mut BufReader::new(file)).map_err(|error| error.at(format!("`{}`", path.display())))?;
    if array.element_type() != ElementType::Float32 {
        return Err(Error::input(format!("`{}` holds {}, not float32", path.display(), array.element_type())));
    }
    let shape: Vec<i64> = array.shape.iter().map(|extent| i64::try_from(*extent).unwrap_or(i64::MAX)).collect();
    if shape.get(1..) != Some(row) {
        return Err(Error::input(format!(
            "the calibration samples have shape {shape:?}, the model's input takes {row:?} a sample"
        )));
    }
    let values = array.floats().into_owned();
    if let Some(position) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::input(format!("calibration value {position} in `{}` is not finite", path.display())));
    }
    Ok(values)
}

/// Gives `config` a calibrator over the request's samples.
pub(super) fn prepare(
    request: &BuildRequest,
    builder: &Builder,
    config: &mut Config,
    network: &Network,
    range: BatchRange,
    device: Option<&Device>,
) -> Result<()> {
    let asked = request.calibration.as_ref().ok_or_else(|| {
        Error::usage("precision `int8-calibrated` needs calibration samples")
            .hint("name them in the manifest's `[calibration]`, or ask for `int8`")
    })?;
    let device = device.ok_or_else(|| Error::missing("calibration runs the network, which needs a GPU"))?;
    let inputs = network.inputs()?;
    let [input] = inputs.as_slice() else {
        return Err(Error::unsupported(format!("calibration of a network with {} inputs", inputs.len())));
    };
    if input.element_type != ElementType::Float32 {
        return Err(Error::unsupported(format!("calibration of a network whose input is {}", input.element_type)));
    }
    let row = input.shape.get(1..).unwrap_or_default();
    let values = read_samples(asked, row)?;
    let batch = range.preferred();
    let row_values: usize = row.iter().map(|extent| usize::try_from(*extent).unwrap_or(0)).product();
    let batch_values = row_values * batch as usize;
    if batch_values == 0 || values.len() < batch_values {
        return Err(Error::input(format!(
            "`{}` holds {} samples, fewer than one calibration batch of {batch}",
            asked.samples.display(),
            values.len() / row_values.max(1)
        )));
    }
    let table = match &asked.table {
        Some(path) if path.exists() => {
            Some(files::read(path, files::MODEL).map_err(|error| Error::io("read", path, error))?)
        }
        _ => None,
    };
    let stream = device.stream()?;
    let buffer = device.allocate(batch_values * size_of::<f32>())?;
    let batches =
        Batches { input: input.name.clone(), values, batch_values, batch: batch as usize, position: 0, buffer, stream };
    let calibrator = Calibrator::new(builder.library(), Box::new(batches), table)?;
    let profile = builder.profile()?;
    let shape = with_batch(&input.shape, batch);
    profile.set_range(&input.name, [&shape, &shape, &shape])?;
    config.calibrate(calibrator, profile)
}

/// Stores the table that a calibration made, where the request asks for it.
pub(super) fn keep_table(request: &BuildRequest, config: &Config) -> Result<()> {
    let path = request.calibration.as_ref().and_then(|calibration| calibration.table.as_ref());
    match (path, config.calibration_table()) {
        (Some(path), Some(table)) if !path.exists() => write_whole(path, &table),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use npyz::WriterBuilder;

    use super::*;

    fn samples(shape: &[u64], values: &[f32]) -> (tempfile::TempDir, CalibrationRequest) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.npy");
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(shape)
            .writer(std::fs::File::create(&path).unwrap())
            .begin_nd()
            .unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        (folder, CalibrationRequest { samples: path, table: None })
    }

    #[test]
    fn samples_are_read_as_they_are() {
        let (_folder, request) = samples(&[2, 2], &[0.0, 1.0, 2.0, 3.0]);
        assert_eq!(read_samples(&request, &[2]).unwrap(), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn samples_of_another_shape_or_not_finite_are_refused() {
        let (_folder, request) = samples(&[2, 2], &[0.0, 1.0, f32::NAN, 3.0]);
        assert!(read_samples(&request, &[3]).unwrap_err().message.contains("shape [2, 2]"));
        assert!(read_samples(&request, &[2]).unwrap_err().message.contains("value 2"));
    }
}
