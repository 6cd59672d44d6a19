//! The probe set: samples, and the reference's answers to them where they are known.

use sha2::{Digest, Sha256};

use super::MadeFor;
use super::summary::missing_classes;
use crate::data::preprocess::Preprocess;
use crate::data::reader::{Sample, Samples};
use crate::data::record::RecordLayout;
use crate::error::{Error, Result};
use crate::manifest::{Input, Manifest};

/// The samples' numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// Planar bytes, one sample after the other.
    Pixels(Vec<u8>),
    /// The model's values, one sample after the other: samples that are no pictures.
    Values(Vec<f32>),
}

/// The gate's fixed samples.
#[derive(Clone, PartialEq)]
pub struct ProbeSet {
    pub(super) layout: RecordLayout,
    pub(super) input: Input,
    pub(super) content: Content,
    /// The reference's answers, where it was asked about every probe.
    pub(super) labels: Option<Vec<u32>>,
    /// What is to be known of them, a sentence each.
    pub(super) notes: Vec<String>,
    /// What they were made for, where they were and it is known.
    pub(super) made: Option<MadeFor>,
}

impl std::fmt::Debug for ProbeSet {
    /// Without the samples, which nobody can read.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("ProbeSet");
        shown.field("len", &self.len()).field("shape", &self.input.shape).field("labels", &self.labels);
        shown.field("notes", &self.notes).field("sha256", &self.sha256()).finish_non_exhaustive()
    }
}

/// The least and the largest value of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueRange {
    /// The least.
    pub low: f32,
    /// The largest.
    pub high: f32,
}

impl ValueRange {
    /// Of finite values; nothing of none.
    pub fn of<'value>(values: impl IntoIterator<Item = &'value f32>) -> Option<Self> {
        values.into_iter().fold(None, |range, &value| {
            let Self { low, high } = range.unwrap_or(Self { low: value, high: value });
            Some(Self { low: low.min(value), high: high.max(value) })
        })
    }
}

impl ProbeSet {
    /// Pictures as planar bytes, with the reference's answers where it was asked about all of them.
    pub(crate) fn of_pixels(manifest: &Manifest, pixels: Vec<u8>, labels: Option<Vec<u32>>) -> Result<Self> {
        let layout = RecordLayout::new(&manifest.input, manifest.output.classes)?;
        if !pixels.len().is_multiple_of(layout.image_len().max(1)) {
            return Err(Error::input(format!("{} bytes are no whole samples of {}", pixels.len(), layout.image_len())));
        }
        let (input, content) = (manifest.input.clone(), Content::Pixels(pixels));
        let set = Self { layout, input, content, labels, notes: Vec::new(), made: None };
        if let Some(labels) = &set.labels {
            if labels.len() != set.len() {
                return Err(Error::input(format!("{} labels for {} probes", labels.len(), set.len())));
            }
            if let Some(label) = labels.iter().find(|label| **label as usize >= layout.classes) {
                return Err(Error::input(format!("label {label}, but there are {} classes", layout.classes)));
            }
        }
        Ok(set)
    }

    /// Samples as the model takes them; kept as bytes where they are pictures.
    pub(crate) fn of_values(manifest: &Manifest, values: Vec<f32>) -> Result<Self> {
        let preprocess = Preprocess::new(&manifest.input)?;
        let layout = RecordLayout::new(&manifest.input, manifest.output.classes)?;
        if !values.len().is_multiple_of(layout.image_len().max(1)) {
            return Err(Error::input(format!(
                "{} values are no whole samples of {}",
                values.len(),
                layout.image_len()
            )));
        }
        let content = match pixels_of(&preprocess, &values) {
            Some(pixels) => Content::Pixels(pixels),
            None => Content::Values(values),
        };
        Ok(Self { layout, input: manifest.input.clone(), content, labels: None, notes: Vec::new(), made: None })
    }

    /// With something that is to be known of it.
    pub(super) fn noting(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// Whether it was made from a model, as far as is known.
    pub(crate) fn is_made(&self) -> bool {
        self.made.is_some()
    }

    /// Number of probes that were asked for; fewer are there where the time to make them was too short.
    pub(crate) fn asked(&self) -> usize {
        let fewer = self.made.as_ref().filter(|made| made.drawn == Some(self.len()));
        fewer.map_or(self.len(), |made| made.count)
    }

    /// With what it was made for.
    pub(crate) fn made_for(self, made: MadeFor) -> Self {
        let drawn = Some(self.len()).filter(|&drawn| drawn < made.count);
        Self { made: Some(MadeFor { drawn, ..made }), ..self }
    }

    /// What makes the set what it is, in hexadecimal: SHA-256 of its records where it is of labelled pictures, which is
    /// that of the file; else of its samples. How a file is packed does not count, nor what is noted in it.
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        match (&self.content, &self.labels) {
            (Content::Pixels(pixels), Some(labels)) => {
                for (label, planar) in labels.iter().zip(pixels.chunks_exact(self.layout.image_len().max(1))) {
                    digest.update(label.to_le_bytes().get(..self.layout.label_bytes).unwrap_or_default());
                    digest.update(planar);
                }
            }
            (Content::Pixels(pixels), None) => {
                digest.update(format!("pixels {:?}\n", self.input.shape));
                digest.update(pixels);
            }
            (Content::Values(values), _) => {
                digest.update(format!("values {:?}\n", self.input.shape));
                values.iter().for_each(|value| digest.update(value.to_le_bytes()));
            }
        }
        hex::encode(digest.finalize())
    }

    /// Number of probes.
    pub fn len(&self) -> usize {
        let numbers = match &self.content {
            Content::Pixels(pixels) => pixels.len(),
            Content::Values(values) => values.len(),
        };
        numbers / self.layout.image_len().max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record layout.
    pub fn layout(&self) -> RecordLayout {
        self.layout
    }

    /// Planar bytes of each probe, in order; nothing where they are no pictures.
    pub fn pictures(&self) -> impl Iterator<Item = &[u8]> {
        let pixels = match &self.content {
            Content::Pixels(pixels) => pixels.as_slice(),
            Content::Values(_) => &[],
        };
        pixels.chunks_exact(self.layout.image_len().max(1))
    }

    /// The values of all probes, one after the other, where they are no pictures.
    pub fn values(&self) -> Option<&[f32]> {
        match &self.content {
            Content::Pixels(_) => None,
            Content::Values(values) => Some(values),
        }
    }

    /// The reference's answers, in order, where it was asked about every probe when the set was made.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// What is to be known of the probes, a sentence each: what was not found when they were made.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A sentence on the classes that no probe is answered with, where the answers are known and some are missing.
    pub fn missing_classes(&self, manifest: &Manifest) -> Option<String> {
        let labels = self.labels.as_ref().filter(|labels| labels.len() >= manifest.output.classes)?;
        let mut per_class = vec![0; manifest.output.classes];
        for label in labels {
            if let Some(count) = per_class.get_mut(*label as usize) {
                *count += 1;
            }
        }
        missing_classes(&per_class, manifest)
    }

    /// The probes as the model's values.
    pub fn samples(&self) -> Result<Samples> {
        let preprocess = Preprocess::new(&self.input)?;
        let mut samples = Samples::empty(&self.input.name, &self.input.shape);
        match &self.content {
            Content::Pixels(_) => {
                for planar in self.pictures() {
                    let mut values = Vec::with_capacity(preprocess.sample_len());
                    preprocess.planar_to_values(planar, &mut values);
                    samples.push(Sample { label: None, values })?;
                }
            }
            Content::Values(values) => samples.values.clone_from(values),
        }
        samples.labels.clone_from(&self.labels);
        Ok(samples)
    }
}

/// Planar bytes that become exactly these values, where there are some.
fn pixels_of(preprocess: &Preprocess, values: &[f32]) -> Option<Vec<u8>> {
    let mut pixels = Vec::with_capacity(values.len());
    let mut again = Vec::new();
    for sample in values.chunks_exact(preprocess.sample_len()) {
        let planar = preprocess.values_to_planar(sample).ok()?;
        again.clear();
        preprocess.planar_to_values(&planar, &mut again);
        if again != sample {
            return None;
        }
        pixels.extend(planar);
    }
    Some(pixels)
}
