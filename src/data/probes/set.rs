//! The probe set: pictures with the reference's answers, as a file of records.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::judge::{Judge, Scorer};
use super::plan::Bounds;
use crate::data::atomic;
use crate::data::preprocess::Preprocess;
use crate::data::reader::{Sample, Samples, Split};
use crate::data::record::{RecordLayout, RecordReader};
use crate::error::{Error, Result};
use crate::manifest::{Input, Manifest};

/// Probes and the reference's answers to them, in the record layout of CIFAR-10.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSet {
    layout: RecordLayout,
    input: Input,
    /// Records, one after the other.
    bytes: Vec<u8>,
}

/// What a probe set holds, measured with the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSummary {
    /// Probes of each class.
    pub per_class: Vec<usize>,
    /// Probes whose margin is at most [`near_threshold`](Self::near_threshold).
    pub near: usize,
    /// Probes whose margin is at least [`far_threshold`](Self::far_threshold).
    pub far: usize,
    /// Largest margin of a probe near a decision boundary: 0.5, less where the model's margins are small.
    pub near_threshold: f64,
    /// Smallest margin of a probe far from every decision boundary: 3, halved until enough pictures reach it.
    pub far_threshold: f64,
    /// Pictures that the reference answered.
    pub evaluations: usize,
    /// Smallest distance of any number that decided something from its threshold: noise of the reference below this
    /// leaves every byte of the set as it is.
    pub slack: f64,
}

impl ProbeSet {
    /// No probes yet.
    pub(super) fn empty(manifest: &Manifest) -> Result<Self> {
        let layout = RecordLayout::new(&manifest.input, manifest.output.classes)?;
        Ok(Self { layout, input: manifest.input.clone(), bytes: Vec::new() })
    }

    pub(super) fn push(&mut self, label: usize, planar: &[u8]) -> Result<()> {
        let label = u32::try_from(label).map_err(|error| Error::input("a label is too large").because(error))?;
        self.layout.join(label, planar, &mut self.bytes)
    }

    /// Reads a file of probes and checks it against the manifest: record size, labels, and the number of probes.
    pub fn load(path: &Path, manifest: &Manifest) -> Result<Self> {
        let mut set = Self::empty(manifest)?;
        let mut reader = RecordReader::open(path, set.layout, Split::Test)?;
        while let Some((label, planar)) = reader.next_record()? {
            set.layout.join(label, planar, &mut set.bytes)?;
        }
        if set.len() != manifest.probes.count {
            return Err(Error::invalid(format!(
                "`{}` holds {} probes, the manifest asks for {}",
                path.display(),
                set.len(),
                manifest.probes.count
            ))
            .hint("make them again with `trtgate data probes`"));
        }
        Ok(set)
    }

    /// Writes the records to `path`, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        atomic::write(path, &self.bytes)
    }

    /// The file's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the file's bytes, in hexadecimal.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.bytes))
    }

    /// Number of probes.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.layout.record_len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The record layout.
    pub fn layout(&self) -> RecordLayout {
        self.layout
    }

    /// Label and planar bytes of each probe, in order.
    pub fn records(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.bytes.chunks_exact(self.layout.record_len()).filter_map(|record| self.layout.split(record).ok())
    }

    /// The reference's answers, in order.
    pub fn labels(&self) -> Vec<u32> {
        self.records().map(|(label, _)| label).collect()
    }

    /// The probes as the model's values, with their labels.
    pub fn samples(&self) -> Result<Samples> {
        let preprocess = Preprocess::new(&self.input)?;
        let mut samples = Samples::empty(&self.input.name, &self.input.shape);
        for (label, planar) in self.records() {
            let mut values = Vec::with_capacity(preprocess.sample_len());
            preprocess.planar_to_values(planar, &mut values);
            samples.push(Sample { label: Some(label), values })?;
        }
        Ok(samples)
    }

    /// Asks the reference again and counts what the set holds; a probe whose label is not the reference's answer is an
    /// error that names it.
    pub fn measure(&self, manifest: &Manifest, scorer: &mut Scorer<'_>) -> Result<ProbeSummary> {
        let mut judge = Judge::new(manifest, scorer)?;
        self.measure_with(&mut judge, Bounds::DEFAULT)
    }

    pub(super) fn measure_with(&self, judge: &mut Judge<'_, '_>, bounds: Bounds) -> Result<ProbeSummary> {
        let (labels, planar): (Vec<u32>, Vec<&[u8]>) = self.records().unzip();
        let answers = judge.answers(&planar)?;
        let mut per_class = vec![0; self.layout.classes];
        for (index, (answer, label)) in answers.iter().zip(&labels).enumerate() {
            if answer.label != *label as usize {
                return Err(Error::invalid(format!(
                    "probe {index} is labelled {label}, but the reference answers {}",
                    answer.label
                ))
                .hint("the probes belong to another model; make them again with `trtgate data probes`"));
            }
            if let Some(count) = per_class.get_mut(answer.label) {
                *count += 1;
            }
        }
        Ok(ProbeSummary {
            per_class,
            near: answers.iter().filter(|answer| answer.margin <= bounds.near).count(),
            far: answers.iter().filter(|answer| answer.margin >= bounds.far).count(),
            near_threshold: bounds.near,
            far_threshold: bounds.far,
            evaluations: judge.evaluations,
            slack: judge.slack,
        })
    }
}
