//! The classifier of one input: what its cells are fed and compared with, and what its report says beside them.

use std::collections::BTreeMap;

use super::accuracy::{Kept, Labelled, unmet as unmet_accuracy};
use super::assemble::{Context, Reference};
use super::kit::Kit;
use super::natural::Natural;
use super::proof::Itself;
use super::runs::Runs;
use super::runs::classifier::Samples;
use super::samples::LabelledData;
use super::shard::chain_beside;
use super::standing::Standing;
use super::timing::{Expected, Scores};
use super::workspace::Workspace;
use super::{Conclusion, Found, RunOptions, causes, closer, natural, reference, samples};
use crate::check::accuracy::judge_reference;
use crate::check::ladder::Ladder;
use crate::check::leads::NaturalLeads;
use crate::data::ProbeSet;
use crate::error::Result;
use crate::findings::{AccuracyReport, CellReport, ModelReport, ProbeImage};
use crate::manifest::Manifest;
use crate::plan::{Ability, Filter, PlannedCell};

/// Most probes that a report shows as images.
const SHOWN_IMAGES: usize = 48;

/// Samples and reference of a classifier.
pub(super) struct Classifier {
    /// The probes as they are kept.
    pub(super) set: ProbeSet,
    /// What cells are fed.
    pub(super) samples: Samples,
    /// What the golden says, and so what cells are compared with.
    standing: Standing,
    /// The reference on ordinary inputs, or why there is nothing of it.
    natural: Result<Natural>,
    /// Its leads there: the golden keeps those of its reference, for machines that cannot ask one.
    pub(super) leads: Result<NaturalLeads>,
}

/// A classifier whose ordinary inputs are not answered yet.
pub(super) struct Begun {
    set: ProbeSet,
    samples: Samples,
    standing: Standing,
    /// The reference's cell, where the plan compares cells with it and leaves it out; of a shard, the whole chains of its cells.
    pub(super) beside: Vec<PlannedCell>,
}

impl Classifier {
    /// Looks at the labelled data, takes or makes the probes, and asks how the reference stands to the golden.
    ///
    /// # Errors
    /// If the probes or the labelled data are wrong, or the reference is at fault.
    pub(super) fn begin(workspace: &Workspace, plan: &[PlannedCell], options: &RunOptions) -> Result<Begun> {
        let manifest = &workspace.manifest;
        let labelled = options
            .data
            .clone()
            .or_else(|| manifest.data.clone())
            .map(|path| LabelledData::check(path, manifest))
            .transpose()?;
        let set = workspace.probes()?;
        let probes = set.samples()?;
        let probes = probes.tensor(0..probes.len())?;
        let standing = Standing::of(workspace, &set)?;
        let divided = options.shard.iter().map(|shard| &shard.planned[..]);
        let mut beside: Vec<PlannedCell> = divided.flat_map(|divided| chain_beside(workspace, plan, divided)).collect();
        if labelled.is_some() || matches!(standing.reference, Reference::Live) {
            let all: Vec<PlannedCell> = plan.iter().chain(&beside).cloned().collect();
            beside.extend(companion(workspace, &all));
        }
        Ok(Begun { set, samples: Samples { probes, labelled, fresh: None }, standing, beside })
    }

    /// Judges what the cells answered, and looks closer where that is not enough; why cells failed, where that can be found.
    ///
    /// # Errors
    /// If the reference answers one batch size alone, or the labelled data cannot be read again.
    pub(super) fn check<'a>(
        &'a self,
        workspace: &Workspace,
        kit: &Kit<'_>,
        runs: &mut Runs,
        ladder: &Ladder,
        replay: &str,
    ) -> Result<Found<'a>> {
        let manifest = &workspace.manifest;
        reference::refuse_one_batch(workspace, &runs.cells)?;
        let kept = self.kept_accuracy(manifest)?;
        let labelled = Labelled::find(&runs.cells, manifest, kept.as_ref());
        let itself = Itself::of(&manifest.model.source);
        let context = Context {
            manifest,
            ladder,
            itself: &itself,
            artifacts: &kit.artifacts,
            reference: &self.standing.reference,
            natural: &self.leads,
            fresh: self.natural.as_ref().ok(),
            scales: &kit.scales,
            saturation: &kit.saturation,
            labelled: labelled.as_ref(),
            samples: self.samples.probes.batch(),
            replay,
        };
        let (mut cells, judged_by, notes) = closer::assemble(workspace, &mut runs.cells, context);
        causes::explain(workspace, kit, self, judged_by.as_ref(), &runs.cells, &mut cells);
        let expected = judged_by.zip(self.leads.as_ref().ok().cloned());
        Ok(Found {
            cells,
            expected: expected.map(|(reference, natural)| Expected::Scores(Scores { reference, natural })),
            notes,
            accuracy: labelled.map(|labelled| labelled.report(manifest, kept.as_ref())),
            ..Found::default()
        })
    }

    /// The accuracy that the golden keeps, beside the labelled data in use.
    fn kept_accuracy(&self, manifest: &Manifest) -> Result<Option<Kept>> {
        let Some((accuracy, data)) = self.standing.accuracy.as_ref().zip(self.samples.labelled.as_ref()) else {
            return Ok(None);
        };
        Kept::of(accuracy.clone(), data, manifest, self.standing.is_own()).map(Some)
    }

    /// What the report says beside its `cells`: what is told of the project's `own` files and of the `judging`, and the reference's `accuracy`.
    ///
    /// # Errors
    /// If the calibration samples cannot be read again.
    pub(super) fn conclude(
        mut self,
        workspace: &Workspace,
        options: &RunOptions,
        cells: &[CellReport],
        (own, judging): (Vec<String>, Vec<String>),
        accuracy: Option<AccuracyReport>,
    ) -> Result<Conclusion> {
        let manifest = &workspace.manifest;
        let mut notes = samples::notes(workspace, &self.set)?;
        notes.extend(own);
        notes.extend(self.natural.iter().flat_map(|natural| natural.notes(manifest)).chain(judging));
        let mut rules: Vec<_> = self.standing.rule(cells).into_iter().collect();
        rules.extend(accuracy.as_ref().map(judge_reference));
        let mut unmet = self.standing.unmet(manifest, options.require_golden);
        unmet.extend(unmet_accuracy(manifest, cells));
        Ok(Conclusion {
            model: ModelReport {
                name: manifest.model.name.clone(),
                sha256: workspace.model_sha256.clone(),
                classes: manifest.output.labels.clone(),
                probes_sha256: self.set.sha256(),
            },
            notes,
            rules,
            unmet,
            probe_images: images(&self.set, cells),
            golden_sha256: self.standing.sha256,
            golden: self.standing.golden,
            accuracy,
        })
    }
}

impl Begun {
    /// Takes the reference's answers to ordinary inputs.
    ///
    /// # Errors
    /// If the reference is at fault.
    pub(super) fn finish(mut self, workspace: &Workspace, plan: &[PlannedCell]) -> Result<Classifier> {
        let manifest = &workspace.manifest;
        let runs = plan.iter().any(|cell| matches!(cell.ability, Ability::Run));
        let natural = natural::for_judging(workspace, runs);
        if let (Err(error), Some(_)) = (&natural, workspace.reference_fault()) {
            return Err(error.clone());
        }
        self.samples.fresh = natural.as_ref().ok().map(|natural| natural.samples(manifest)).transpose()?.flatten();
        let leads = match &natural {
            Ok(natural) => Ok(natural.leads.clone()),
            Err(error) => self.standing.leads.clone().ok_or_else(|| error.clone()),
        };
        Ok(Classifier { set: self.set, samples: self.samples, standing: self.standing, natural, leads })
    }
}

/// The reference's cell, where `plan` compares cells with it and leaves it out: any part of a plan is judged as the whole
/// is. It runs beside the others, and is not reported.
fn companion(workspace: &Workspace, plan: &[PlannedCell]) -> Option<PlannedCell> {
    let mut cell = samples::reference_cell(&workspace.manifest);
    let runs = |planned: &&PlannedCell| matches!(planned.ability, Ability::Run);
    let is_it = |planned: &PlannedCell| {
        planned.id.runtime.library == cell.runtime.library && planned.id.precision == cell.precision
    };
    let wanted = plan.iter().filter(runs);
    if wanted.clone().any(is_it) {
        return None;
    }
    // As large a batch as any that is compared.
    cell.batch = wanted.map(|planned| planned.id.batch).max()?;
    let filter = Filter {
        runtimes: vec![cell.runtime],
        precisions: vec![cell.precision],
        batches: vec![cell.batch],
        ..Filter::default()
    };
    workspace.plan(&filter).ok()?.into_iter().find(|planned| runs(&planned))
}

/// The worst probes of all cells as images.
fn images(probes: &ProbeSet, cells: &[CellReport]) -> BTreeMap<usize, ProbeImage> {
    let mut wanted: Vec<usize> = Vec::new();
    // The worst of each cell first, so that every cell shows some.
    for rank in 0..cells.iter().map(|cell| cell.worst.len()).max().unwrap_or(0) {
        for probe in cells.iter().filter_map(|cell| cell.worst.get(rank)).map(|worst| worst.probe) {
            if !wanted.contains(&probe) && wanted.len() < SHOWN_IMAGES {
                wanted.push(probe);
            }
        }
    }
    let layout = probes.layout();
    let records: Vec<&[u8]> = probes.pictures().collect();
    wanted
        .into_iter()
        .filter_map(|probe| {
            let planar = records.get(probe)?;
            let (height, width, channels) = (layout.height, layout.width, layout.channels);
            let area = height * width;
            let interleaved: Vec<u8> = (0..area)
                .flat_map(|pixel| (0..channels).filter_map(move |channel| planar.get(channel * area + pixel).copied()))
                .collect();
            // Samples that are no images are not shown.
            Some((probe, ProbeImage::from_pixels(&interleaved, width, height, channels).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
