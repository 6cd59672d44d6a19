//! The reference on natural samples: how far ahead its answers usually are, and what it answers to the first of them.
//!
//! Kept in the store, and among exported artifacts, like the probes: a machine that cannot run the reference needs them to
//! say what an error costs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::check::leads::{LEAST_SAMPLES, Lead, NaturalLeads, kind_of};
use crate::check::ordinary::Cost;
use crate::data::probes::NaturalSamples;
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::Manifest;
use crate::tensor::Tensor;

mod asking;

pub(super) use asking::{for_judging, further, natural, wanted_near_a_limit};

/// The schema of the file.
const SCHEMA: &str = "trtgate.natural/v2";
/// The file's name in the store.
const FILE: &str = "natural.json";

/// Samples are hardly told apart where all have one answer, and nine in ten have leads that differ by no more of the typical one:
/// of a classifier they differ by its double and more, of one that is fed 0 … 1 in place of bytes by 4 %.
const TOLD_APART: f64 = 0.1;
/// What to look at then.
pub(super) const LOOK_AT_RANGE: &str =
    "look at `range`, `mean` and `std` under `[input]`: the model may take other values, bytes for example";

/// Natural samples that each runtime and precision answers beside its probes.
const FRESH: usize = 256;
/// Values that they may take together, so that large inputs do not fill the memory.
const FRESH_VALUES: usize = 1 << 24;
/// Fewest of them, however large they are.
const FEWEST_FRESH: usize = 64;

/// What the reference answers to natural samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Natural {
    schema: String,
    /// Its leads.
    pub leads: NaturalLeads,
    /// Its answers, in the order of [`NaturalSamples`], or of the probes.
    pub answers: Vec<u32>,
    /// How far each answer is ahead of its best rival, in nats.
    #[serde(default)]
    pub answer_leads: Vec<f32>,
    /// Whether the natural samples are the probes themselves: samples of the team's own, which nobody searched for.
    #[serde(default)]
    pub of_probes: bool,
}

impl Natural {
    /// Of reference outputs, `[samples, classes]`.
    ///
    /// # Errors
    /// Those of [`NaturalLeads::of`].
    pub fn of(outputs: &[f32], manifest: &Manifest) -> Result<Self> {
        let classes = manifest.output.classes;
        // Whatever these outputs are refused for.
        let leads = NaturalLeads::of(outputs, classes, manifest.output.kind)?;
        let kind = kind_of(outputs, classes, manifest.output.kind)?;
        let (answers, answer_leads) = outputs
            .chunks_exact(classes)
            .map(|row| Lead::of(row, kind))
            .map(|lead| (u32::try_from(lead.answer).unwrap_or(u32::MAX), lead.nats as f32))
            .unzip();
        Self { schema: SCHEMA.to_owned(), leads, answers, answer_leads, of_probes: false }.with_leads_of_all()
    }

    /// The same with the leads of all its answers, which are the same in however many parts they were taken.
    fn with_leads_of_all(mut self) -> Result<Self> {
        self.leads = NaturalLeads::of_nats(self.answer_leads.iter().map(|&nats| f64::from(nats)).collect())?;
        Ok(self)
    }

    /// The first natural samples, those whose answers cells are compared with beside the probes; none where they are the
    /// probes.
    ///
    /// # Errors
    /// If the manifest's input cannot be filled from bytes.
    pub fn samples(&self, manifest: &Manifest) -> Result<Option<Tensor>> {
        if self.of_probes {
            return Ok(None);
        }
        let samples = NaturalSamples::new(manifest)?;
        samples.tensor(0..self.fresh(samples.sample_len()) as u64).map(Some)
    }

    /// What a cell's `answers` to the first of them cost, by the `typical` lead.
    pub(super) fn cost(&self, answers: &[usize], typical: f64) -> Option<Cost> {
        Cost::of(answers, &self.answers, &self.answer_leads, typical)
    }

    /// How many of them there are, samples of so many values.
    fn fresh(&self, values: usize) -> usize {
        FRESH.min((FRESH_VALUES / values.max(1)).max(FEWEST_FRESH)).min(self.answers.len())
    }

    /// That a cell has answered fewer of them, in words, where it has.
    pub(super) fn answered_in_part(&self, answers: usize, manifest: &Manifest) -> Option<String> {
        let fresh = self.fresh(manifest.input.shape.iter().product());
        (!self.of_probes && answers < fresh)
            .then(|| format!("{answers} of {fresh} ordinary inputs: its time limit for a request holds no more"))
    }

    /// That the model hardly tells its inputs apart, in words, where that is so.
    pub fn hardly_told_apart(&self) -> Option<String> {
        let (first, rest) = self.answers.split_first()?;
        // Of each twenty leads the least and the largest are left out.
        let aside = self.leads.quantiles.len() / 20;
        let last = self.leads.quantiles.len().checked_sub(aside + 1)?;
        let (low, high) = (self.leads.quantiles.get(aside)?, self.leads.quantiles.get(last)?);
        let share = (high - low) / self.leads.typical;
        let alike = rest.len() + 1 >= asking::FEWEST && rest.iter().all(|answer| answer == first) && share < TOLD_APART;
        alike.then(|| {
            format!(
                "the model hardly tells its inputs apart: all of {} ordinary ones are answered with class {first}, by leads that \
                 differ by {:.0} % of the typical one",
                self.answers.len(),
                100.0 * share
            )
        })
    }

    /// What a reader should know of the samples, if anything.
    pub fn notes(&self, manifest: &Manifest) -> Vec<String> {
        let alike = self.hardly_told_apart().map(|alike| format!("{alike}; {LOOK_AT_RANGE}"));
        alike.into_iter().chain(self.few()).chain(self.cut_short(manifest)).collect()
    }

    /// That time ended the asking, where it did.
    fn cut_short(&self, manifest: &Manifest) -> Option<String> {
        let (samples, wanted) = (self.leads.samples, asking::wanted(manifest));
        (!self.of_probes && samples < wanted).then(|| {
            format!(
                "{samples} of {wanted} ordinary inputs are what this gate judges by: the reference answered no more in {} s; \
                 each gate where it runs asks on, until all are answered",
                asking::SECONDS
            )
        })
    }

    fn few(&self) -> Option<String> {
        let samples = self.leads.samples;
        (samples < LEAST_SAMPLES).then(|| {
            format!(
                "the typical lead is the median of {samples} samples: what a conversion costs is known less well than from {LEAST_SAMPLES}"
            )
        })
    }

    /// Reads a file that [`Natural::save`] wrote.
    ///
    /// # Errors
    /// If it cannot be read, or is not such a file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = files::read_text(path, files::RECORD).map_err(|error| Error::io("read", path, error))?;
        let wrong = || Error::input(format!("`{}` holds no natural leads", path.display()));
        let natural: Self = serde_json::from_str(&text).map_err(|error| wrong().because(error))?;
        if natural.schema != SCHEMA {
            return Err(wrong().cause(format!("its schema is `{}`, expected `{SCHEMA}`", natural.schema)));
        }
        natural.leads.check().map_err(|error| error.context(format!("cannot use `{}`", path.display())))?;
        if natural.answers.len() != natural.leads.samples || natural.answer_leads.len() != natural.answers.len() {
            let (answers, leads, samples) = (natural.answers.len(), natural.answer_leads.len(), natural.leads.samples);
            return Err(wrong().cause(format!("it has {answers} answers and {leads} leads to {samples} samples")));
        }
        Ok(natural)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// If they cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::machine("cannot write the natural leads").because(error))?;
        Ok(format!("{text}\n").into_bytes())
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        atomic::write(path, &self.to_bytes()?)
    }
}

#[cfg(test)]
mod tests;
