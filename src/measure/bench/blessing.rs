//! Making a bench the baseline: planned first, so that what changes can be shown, then stored.

use super::judge::{Subject, cell_subject};
use super::{Bench, BenchContext, load};
use crate::error::{Error, Result};
use crate::measure::baseline::{Distribution, Entry, Series};
use crate::measure::bless::{self, Candidate, Line};

/// What is stored when the bench becomes the baseline.
#[derive(Clone, Debug)]
pub struct Blessing {
    subjects: Vec<(Subject, Candidate)>,
    /// One line a quantity: old, new, ratio.
    pub lines: Vec<Line>,
}

/// Plans to make `bench` the baseline: nothing is stored yet.
///
/// # Errors
///
/// For baselines that cannot be read; `Invalid` when no cell was measured.
pub fn plan_blessing(bench: &Bench, context: &BenchContext<'_>, date: &str, reason: &str) -> Result<Blessing> {
    let mut subjects = Vec::new();
    for cell in &bench.cells {
        let mut doubts = cell.doubts.clone();
        doubts.extend(cell.error.iter().map(ToString::to_string));
        if cell.repetitions.is_empty() {
            // What was not measured has no number to store, with or without force.
            let error = cell.error.clone().unwrap_or_else(|| Error::invalid("nothing was measured"));
            return Err(error.context(format!("`{}` cannot become a baseline", cell.cell.id)));
        }
        let subject = cell_subject(&cell.cell, context);
        let mut entry = entry(&subject, cell.repetitions.clone(), date, reason);
        entry.contract = Some(cell.cell.contract.clone());
        entry.distribution = cell.timing.as_ref().map(Distribution::from);
        entry.artifact.clone_from(&cell.cell.artifact);
        (entry.process_bytes, entry.context_bytes) = (cell.process_bytes, cell.context_bytes);
        subjects.push((subject, entry, doubts));
    }
    for ratio in &bench.ratios {
        let entry = entry(&ratio.subject, vec![ratio.value], date, reason);
        subjects.push((ratio.subject.clone(), entry, Vec::new()));
    }
    for size in &bench.sizes {
        let mut entry = entry(&size.subject, vec![size.built.artifact.bytes as f64], date, reason);
        entry.artifact = Some(size.built.artifact.clone());
        subjects.push((size.subject.clone(), entry, Vec::new()));
    }
    for load in &bench.loads {
        let rate = load.rate.ok_or_else(|| load::unknown(load))?;
        subjects.push((load.subject.clone(), entry(&load.subject, vec![rate], date, reason), Vec::new()));
    }
    if subjects.is_empty() {
        return Err(Error::invalid("no cell was measured and no engine built, so there is nothing to accept"));
    }
    let mut blessing = Blessing { subjects: Vec::new(), lines: Vec::new() };
    for (subject, entry, doubts) in subjects {
        let series = Series::read(&subject.path, &subject.name, subject.quantity)?
            .unwrap_or_else(|| Series::new(subject.name.clone(), subject.quantity));
        let mut candidate = Candidate {
            subject: subject.name.clone(),
            batch: subject.batch,
            limits: subject.limits,
            assumed_noise: context.thresholds.assumed_noise.of(subject.library),
            entry,
            doubts,
        };
        blessing.lines.push(bless::plan(&series, &mut candidate, context.thresholds)?);
        blessing.subjects.push((subject, candidate));
    }
    Ok(blessing)
}

fn entry(subject: &Subject, repetitions: Vec<f64>, date: &str, reason: &str) -> Entry {
    Entry {
        date: date.to_owned(),
        reason: reason.to_owned(),
        level: 1,
        environment_key: subject.environment.key(),
        environment: subject.environment.clone(),
        repetitions,
        contract: None,
        distribution: None,
        artifact: None,
        process_bytes: None,
        context_bytes: None,
        joins: false,
        forced: Vec::new(),
    }
}

impl Blessing {
    /// Stores every line; the level of each is set anew against the series as it is then.
    ///
    /// # Errors
    ///
    /// [`bless::permit`]'s; whatever keeps a file from being written.
    pub fn store(&self, context: &BenchContext<'_>, reason: &str, force: bool) -> Result<()> {
        bless::permit(&self.lines, reason, force)?;
        for (subject, candidate) in &self.subjects {
            context.store.append(&subject.path, &subject.name, subject.quantity, &mut |series| {
                let mut candidate = candidate.clone();
                bless::plan(series, &mut candidate, context.thresholds)?;
                Ok(Entry { forced: candidate.doubts, ..candidate.entry })
            })?;
        }
        Ok(())
    }
}
