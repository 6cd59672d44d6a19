//! What the cells of a plan are run on and compared with: plain data, made once, before any of them runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use super::accuracy::Kept;
use super::assemble::{Context, Reference};
use super::execute::{Artifacts, Inputs};
use super::runs::classifier::Samples;
use super::samples::LabelledData;
use super::standing::Standing;
use super::workspace::Workspace;
use super::{accuracy, engine, inside, natural, own, samples, saturated};
use crate::check::ladder::Ladder;
use crate::check::leads::NaturalLeads;
use crate::check::saturation::Saturation;
use crate::check::scales::{ScaleProof, Unchecked};
use crate::convert::Artifact;
use crate::data::ProbeSet;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::plan::{Ability, Filter, PlannedCell};
use crate::progress::Step;
use crate::vocabulary::{ArtifactKind, Precision};

use natural::Natural;

/// Samples, reference, artifacts.
pub(super) struct Kit<'a> {
    /// The probes as they are kept.
    pub(super) set: ProbeSet,
    /// What cells are fed.
    pub(super) samples: Samples,
    /// What the golden says, and so what cells are compared with.
    pub(super) standing: Standing,
    /// The reference on ordinary inputs, or why there is nothing of it.
    pub(super) natural: Result<Natural>,
    /// Its leads there: the golden keeps those of its reference, for machines that cannot ask one.
    pub(super) leads: Result<NaturalLeads>,
    /// The portable artifacts.
    pub(super) artifacts: Artifacts,
    /// Their integer products.
    pub(super) saturation: BTreeMap<ArtifactKind, Saturation>,
    /// The scales of those that are quantised; looked at while the cells run.
    pub(super) scales: BTreeMap<ArtifactKind, ScaleProof>,
    /// Where and how engines are built of them. A lane builds its own: a build takes minutes, in which other lanes run.
    pub(super) site: engine::Site<'a>,
    /// A cell that runs beside the plan's, which are compared with it.
    pub(super) beside: Option<PlannedCell>,
}

impl<'a> Kit<'a> {
    /// Makes everything that the cells of `plan` need, in this order: the labelled data is looked at, so that wrong data is refused
    /// before anything runs; the probes, which a first gate makes by the reference; how the reference stands to the golden, on those
    /// probes; the reference's answers to ordinary inputs, while the artifacts are converted; calibration samples.
    ///
    /// # Errors
    /// If nothing can be judged: the probes or the labelled data are wrong, or the reference is at fault.
    pub(super) fn prepare(workspace: &'a Workspace, plan: &[PlannedCell], data: Option<&Path>) -> Result<Self> {
        let manifest = &workspace.manifest;
        let labelled = data
            .map(Path::to_owned)
            .or_else(|| manifest.data.clone())
            .map(|path| LabelledData::check(path, manifest))
            .transpose()?;
        let set = workspace.probes()?;
        let probes = set.samples()?;
        let probes = probes.tensor(0..probes.len())?;
        let standing = Standing::of(workspace, &set)?;
        let runs = plan.iter().any(|cell| matches!(cell.ability, Ability::Run));
        let beside = match labelled.is_some() || matches!(standing.reference, Reference::Live) {
            true => companion(workspace, plan),
            false => None,
        };
        let all: Vec<&PlannedCell> = plan.iter().chain(&beside).collect();
        // The reference and the converters do not wait for each other.
        let (natural, artifacts) = both(|| natural::for_judging(workspace, runs), || self::artifacts(workspace, &all));
        if let (Err(error), Some(_)) = (&natural, workspace.reference_fault()) {
            return Err(error.clone());
        }
        let fresh = natural.as_ref().ok().map(|natural| natural.samples(manifest)).transpose()?.flatten();
        let leads = match &natural {
            Ok(natural) => Ok(natural.leads.clone()),
            Err(error) => standing.leads.clone().ok_or_else(|| error.clone()),
        };
        let calibrated = all
            .iter()
            .any(|cell| cell.id.precision == Precision::Int8Calibrated && !matches!(cell.ability, Ability::Nothing(_)));
        Ok(Self {
            set,
            samples: Samples { probes, labelled, fresh },
            standing,
            natural,
            leads,
            saturation: saturated::of(&artifacts),
            artifacts,
            scales: BTreeMap::new(),
            site: engine::Site::of(workspace, calibrated)?,
            beside,
        })
    }

    /// What the run reads.
    pub(super) fn inputs<'b>(&'b self, workspace: &'b Workspace, step: Box<dyn Step>) -> Inputs<'b> {
        Inputs {
            manifest: &workspace.manifest,
            site: &self.site,
            artifacts: &self.artifacts,
            saturation: &self.saturation,
            samples: &self.samples,
            program: &workspace.program,
            limits: workspace.limits,
            step: Mutex::new(step),
        }
    }

    /// What the judging reads.
    pub(super) fn context<'b>(
        &'b self,
        manifest: &'b Manifest,
        ladder: &'b Ladder,
        labelled: Option<&'b accuracy::Labelled>,
        replay: &'b str,
    ) -> Context<'b> {
        Context {
            manifest,
            ladder,
            artifacts: &self.artifacts,
            reference: &self.standing.reference,
            natural: &self.leads,
            fresh: self.natural.as_ref().ok(),
            scales: &self.scales,
            saturation: &self.saturation,
            labelled,
            samples: self.samples.probes.batch(),
            replay,
        }
    }

    /// The accuracy that the golden keeps, beside the labelled data in use.
    ///
    /// # Errors
    /// If the data cannot be read.
    pub(super) fn kept_accuracy(&self, manifest: &Manifest) -> Result<Option<Kept>> {
        let Some((accuracy, data)) = self.standing.accuracy.as_ref().zip(self.samples.labelled.as_ref()) else {
            return Ok(None);
        };
        Kept::of(accuracy.clone(), data, manifest, self.standing.is_own()).map(Some)
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

/// Every portable artifact that the plan needs, made in the order of the chain.
fn artifacts(workspace: &Workspace, plan: &[&PlannedCell]) -> Artifacts {
    let mut wanted: Vec<(ArtifactKind, Option<u32>)> = plan
        .iter()
        .filter(|cell| !matches!(cell.ability, Ability::Nothing(_)))
        .map(|cell| (cell.artifact, cell.artifact.static_batch(cell.id.batch)))
        .collect();
    // The FP32 graph is the measure of every smaller one's size.
    if wanted
        .iter()
        .any(|(kind, _)| !matches!(kind, ArtifactKind::SavedModel | ArtifactKind::OnnxFp32 | ArtifactKind::Engine))
    {
        wanted.push((ArtifactKind::OnnxFp32, None));
    }
    wanted.sort();
    wanted.dedup();
    wanted.into_iter().map(|(kind, batch)| ((kind, batch), workspace.artifact(kind, batch))).collect()
}

/// What is known of the scales of the artifacts that have some.
pub(super) fn scales(workspace: &Workspace, artifacts: &Artifacts) -> BTreeMap<ArtifactKind, ScaleProof> {
    let made = artifacts.values().filter_map(|made| made.as_ref().ok());
    let unchecked = |error: Error| ScaleProof { unchecked: Some(Unchecked::of(&error)), ..ScaleProof::default() };
    proofs_of_scales(workspace, made)
        .into_iter()
        .map(|(artifact, proof)| (artifact.kind, proof.unwrap_or_else(unchecked)))
        .collect()
}

/// What is known of the scales of those of `artifacts` that are quantised ONNX graphs, or why nothing is.
pub fn proofs_of_scales<'a>(
    workspace: &Workspace,
    artifacts: impl Iterator<Item = &'a Artifact>,
) -> Vec<(&'a Artifact, Result<ScaleProof>)> {
    artifacts
        .filter(|artifact| matches!(artifact.kind, ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu))
        .map(|artifact| match own::is_own(&workspace.manifest, artifact.kind) {
            true => (artifact, Ok(own::unheld())),
            false => (artifact, inside::scales::prove(workspace, artifact)),
        })
        .collect()
}

/// What `one` and `other` give, which run side by side.
pub(super) fn both<One, Other: Send>(one: impl FnOnce() -> One, other: impl FnOnce() -> Other + Send) -> (One, Other) {
    std::thread::scope(|scope| {
        let beside = scope.spawn(other);
        let first = one();
        match beside.join() {
            Ok(second) => (first, second),
            // A panic goes on where it would have gone without the thread.
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
