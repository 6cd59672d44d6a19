//! The calibration set: what activation ranges are measured on, and nothing else.

use std::collections::HashSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ProbeSet;
use super::family::Generator;
use super::random::Purpose;
use crate::data::npy::NpyWriter;
use crate::data::preprocess::Preprocess;
use crate::data::reader::{ReadOptions, Sample, SampleReader, Samples, Split};
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// Pictures drawn for one that is wanted before the input is taken to have no more.
const DRAWS: u64 = 16;

/// Fewest samples that calibrate.
pub const MINIMUM: usize = 512;

/// The calibration samples, held together; see [`write_calibration`] for the same in constant memory.
///
/// Procedural pictures of the manifest's calibration seed, or samples of its calibration data, evenly spread over it.
/// None is a probe; one that is also in the manifest's labelled data is an error.
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
    let wanted = manifest.calibration.count;
    if wanted < MINIMUM {
        return Err(Error::usage(format!("{wanted} samples do not calibrate, at least {MINIMUM} do")));
    }
    let probe_samples = probes.samples()?;
    let known: HashSet<[u8; 32]> =
        (0..probe_samples.len()).filter_map(|index| probe_samples.row(index).map(fingerprint)).collect();
    let mut own = HashSet::with_capacity(wanted);
    let mut count = 0;
    if let Some(path) = &manifest.calibration.data {
        let free = calibration_reader(manifest, path, &known)?.try_fold(0, |free, sample| -> Result<usize> {
            Ok(free + usize::from(!known.contains(&fingerprint(&sample?.values))))
        })?;
        if free < wanted {
            return Err(Error::invalid(format!(
                "`{}` holds {free} samples to calibrate on that are no probes, the manifest asks for {wanted}",
                path.display()
            ))
            .hint("give more samples"));
        }
        let mut passed = 0;
        for sample in calibration_reader(manifest, path, &known)? {
            let sample = sample?;
            let print = fingerprint(&sample.values);
            if known.contains(&print) {
                continue;
            }
            passed += 1;
            // Evenly spread over those that are no probes.
            if passed * wanted / free > (passed - 1) * wanted / free {
                own.insert(print);
                count += 1;
                take(sample)?;
            }
        }
        if own.len() < MINIMUM / 8 {
            return Err(Error::invalid(format!(
                "`{}` holds {count} samples to calibrate on, of which {} are different",
                path.display(),
                own.len()
            ))
            .hint("calibrate on samples as they come in use"));
        }
    } else {
        // A stream of its own, whatever the seeds are; a picture that both have all the same is left out.
        let generator = Generator::new(&manifest.input, manifest.calibration.seed, Purpose::Calibration);
        let preprocess = Preprocess::new(&manifest.input)?;
        let mut numbers = 0..wanted as u64 * DRAWS;
        while count < wanted {
            let Some(number) = numbers.next() else { break };
            let mut values = Vec::with_capacity(preprocess.sample_len());
            preprocess.planar_to_values(&generator.bytes(number), &mut values);
            if !known.contains(&fingerprint(&values)) {
                count += 1;
                take(Sample { label: None, values })?;
            }
        }
    }
    if count < wanted {
        return Err(Error::invalid(format!("{count} calibration samples, the manifest asks for {wanted}")));
    }
    if let (Some(_), Some(path)) = (&manifest.calibration.data, &manifest.data) {
        let options = ReadOptions { ignore_labels: true, ..ReadOptions::default() };
        for (index, sample) in SampleReader::open_for(path, manifest, options)?.enumerate() {
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

/// The samples of `path`, evenly spread over it: as many as are wanted, and as many more as may turn out to be probes.
fn calibration_reader(manifest: &Manifest, path: &Path, probes: &HashSet<[u8; 32]>) -> Result<SampleReader> {
    let spread = Some(manifest.calibration.count + probes.len());
    SampleReader::open_for(
        path,
        manifest,
        ReadOptions { split: Split::Train, ignore_labels: true, spread, ..ReadOptions::default() },
    )
}

fn fingerprint(values: &[f32]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for value in values {
        digest.update(value.to_le_bytes());
    }
    digest.finalize().into()
}
