//! The calibration set: what activation ranges are measured on, and nothing else.

use std::collections::HashSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ProbeSet;
use super::family::Generator;
use crate::data::npy::NpyWriter;
use crate::data::preprocess::Preprocess;
use crate::data::reader::{ReadOptions, Sample, SampleReader, Samples, Split};
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// Fewest samples that calibrate.
pub const MINIMUM: usize = 512;

/// The calibration samples, held together; see [`write_calibration`] for the same in constant memory.
///
/// Procedural pictures of the manifest's calibration seed, or the first samples of its calibration data. A sample that
/// is also a probe, or also in the manifest's labelled data, is an error.
pub fn make_calibration(manifest: &Manifest, probes: &ProbeSet) -> Result<Samples> {
    let mut samples = Samples::empty(&manifest.input.name, &manifest.input.shape);
    each_sample(manifest, probes, |sample| samples.push(Sample { label: None, ..sample }))?;
    Ok(samples)
}

/// Writes the calibration samples as the npy array `[count, …]` to `path`; returns how many.
pub fn write_calibration(manifest: &Manifest, probes: &ProbeSet, path: &Path) -> Result<usize> {
    let mut writer = NpyWriter::create(path, &manifest.input.shape)?;
    let mut count = 0;
    each_sample(manifest, probes, |sample| {
        count += 1;
        writer.push(&sample.values)
    })?;
    writer.finish()?;
    Ok(count)
}

fn each_sample(manifest: &Manifest, probes: &ProbeSet, mut take: impl FnMut(Sample) -> Result<()>) -> Result<()> {
    let (wanted, classes) = (manifest.calibration.count, manifest.output.classes);
    if wanted < MINIMUM {
        return Err(Error::usage(format!("{wanted} samples do not calibrate, at least {MINIMUM} do")));
    }
    let probe_samples = probes.samples()?;
    let known: HashSet<[u8; 32]> =
        (0..probe_samples.len()).filter_map(|index| probe_samples.row(index).map(fingerprint)).collect();
    let mut own = HashSet::with_capacity(wanted);
    let mut count = 0;
    let mut check_and_take = |sample: Sample| -> Result<()> {
        let print = fingerprint(&sample.values);
        if known.contains(&print) {
            return Err(Error::invalid(format!("calibration sample {count} is also a probe"))
                .hint("calibrate on other data, or with another seed"));
        }
        own.insert(print);
        count += 1;
        take(sample)
    };
    if let Some(path) = &manifest.calibration.data {
        let options = ReadOptions { split: Split::Train, limit: Some(wanted), ..ReadOptions::default() };
        SampleReader::open(path, &manifest.input, classes, options)?.try_for_each(|sample| check_and_take(sample?))?;
    } else {
        if manifest.calibration.seed == manifest.probes.seed {
            return Err(Error::usage(format!(
                "seed {} makes the probes and the calibration set",
                manifest.probes.seed
            ))
            .hint("give `calibration.seed` in the manifest another number"));
        }
        let generator = Generator::new(&manifest.input, manifest.calibration.seed);
        let preprocess = Preprocess::new(&manifest.input)?;
        for number in 0..wanted as u64 {
            let mut values = Vec::with_capacity(preprocess.sample_len());
            preprocess.planar_to_values(&generator.bytes(number), &mut values);
            check_and_take(Sample { label: None, values })?;
        }
    }
    if count < wanted {
        return Err(Error::invalid(format!("{count} calibration samples, the manifest asks for {wanted}")));
    }
    if let (Some(_), Some(path)) = (&manifest.calibration.data, &manifest.data) {
        for (index, sample) in SampleReader::open(path, &manifest.input, classes, ReadOptions::default())?.enumerate() {
            if own.contains(&fingerprint(&sample?.values)) {
                return Err(Error::invalid(format!(
                    "sample {index} of `{}` is also a calibration sample",
                    path.display()
                ))
                .hint("calibrate on other data than accuracy is measured on"));
            }
        }
    }
    Ok(())
}

fn fingerprint(values: &[f32]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for value in values {
        digest.update(value.to_le_bytes());
    }
    digest.finalize().into()
}
