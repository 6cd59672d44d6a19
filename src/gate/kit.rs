//! What the cells of a plan are run on and compared with: plain data, made once, before any of them runs.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::classifier::Classifier;
use super::execute::{Artifacts, Builds, Inputs};
use super::runs::Feeding;
use super::runs::shelf::{ROOM, Shelf};
use super::several::Several;
use super::workspace::Workspace;
use super::{RunOptions, engine, inside, own, saturated};
use crate::check::saturation::Saturation;
use crate::check::scales::{ScaleProof, Unchecked};
use crate::convert::Artifact;
use crate::error::{Error, Result};
use crate::plan::{Ability, PlannedCell};
use crate::progress::Step;
use crate::vocabulary::{ArtifactKind, Precision};

/// Samples, reference, artifacts.
pub(super) struct Kit<'a> {
    /// What cells are fed and compared with.
    pub(super) subject: Subject<'a>,
    /// The portable artifacts.
    pub(super) artifacts: Artifacts,
    /// Their integer products.
    pub(super) saturation: BTreeMap<ArtifactKind, Saturation>,
    /// The scales of those that are quantised; looked at while the cells run.
    pub(super) scales: BTreeMap<ArtifactKind, ScaleProof>,
    /// Where and how engines are built of them, while other cells run: a build takes minutes.
    pub(super) site: engine::Site<'a>,
    /// Cells that run beside the plan's, which are compared with them.
    pub(super) beside: Vec<PlannedCell>,
}

/// What is gated.
pub(super) enum Subject<'a> {
    /// A classifier of one input.
    Classifier(Box<Classifier>),
    /// A model of several inputs and outputs.
    Several(Box<Several<'a>>),
}

impl Subject<'_> {
    /// What its cells are fed.
    fn fed(&self) -> &dyn Feeding {
        match self {
            Self::Classifier(classifier) => &classifier.samples,
            Self::Several(several) => &several.fed,
        }
    }
}

impl<'a> Kit<'a> {
    /// Makes everything that the cells of `plan` need, in this order: what the user named is looked at, so that what is wrong is
    /// refused before anything runs; the samples, which a first gate of a classifier makes by the reference; what the golden says on
    /// them; the reference's answers to ordinary inputs, while the artifacts are converted; calibration samples.
    ///
    /// # Errors
    /// If nothing can be judged: the samples are wrong, or the reference is at fault.
    pub(super) fn prepare(workspace: &'a Workspace, plan: &[PlannedCell], options: &RunOptions) -> Result<Self> {
        let (subject, beside, artifacts) = match &workspace.manifest.interface {
            Some(interface) => {
                let (several, beside) = Several::prepare(workspace, interface, plan, options)?;
                let artifacts = artifacts(workspace, plan.iter().chain(&beside));
                (Subject::Several(Box::new(several)), beside, artifacts)
            }
            None => {
                let begun = Classifier::begin(workspace, plan, options)?;
                let beside = begun.beside.clone();
                // The reference and the converters do not wait for each other.
                let (classifier, artifacts) =
                    both(|| begun.finish(workspace, plan), || artifacts(workspace, plan.iter().chain(&beside)));
                (Subject::Classifier(Box::new(classifier?)), beside, artifacts)
            }
        };
        let calibrated = plan
            .iter()
            .any(|cell| cell.id.precision == Precision::Int8Calibrated && !matches!(cell.ability, Ability::Nothing(_)));
        Ok(Self {
            subject,
            saturation: saturated::of(&artifacts),
            artifacts,
            scales: BTreeMap::new(),
            site: engine::Site::of(workspace, calibrated)?,
            beside,
        })
    }

    /// What the run reads, of which cells are timed afterwards or not.
    pub(super) fn inputs<'b>(&'b self, workspace: &'b Workspace, step: Box<dyn Step>, is_timed: bool) -> Inputs<'b> {
        Inputs {
            manifest: &workspace.manifest,
            site: &self.site,
            artifacts: &self.artifacts,
            shipped: &workspace.shipped,
            saturation: &self.saturation,
            fed: self.subject.fed(),
            shelf: Shelf::new(workspace.store.root().to_owned(), ROOM),
            program: &workspace.program,
            limits: workspace.limits,
            step: Mutex::new(step),
            builds: Builds { at_once: workspace.builds, undisturbed: is_timed },
            cards: workspace.cards.iter().map(|card| card.ordinal).collect(),
        }
    }
}

/// Makes what every cell of this machine starts from, ahead of them: artifacts, probes, the reference's leads. Says which
/// artifacts could not be made; what else fails is found, and told, by the cells.
#[cfg(feature = "harness")]
pub(crate) fn prepare(workspace: &Workspace) -> Vec<(ArtifactKind, Error)> {
    let Ok(plan) = workspace.plan(&Default::default()) else { return Vec::new() };
    if workspace.manifest.interface.is_none() {
        let _ = workspace.probes().and_then(|_| workspace.natural());
    }
    artifacts(workspace, plan.iter());
    workspace.failures()
}

/// Every portable artifact that the plan needs, made in the order of the chain.
fn artifacts<'a>(workspace: &Workspace, cells: impl Iterator<Item = &'a PlannedCell>) -> Artifacts {
    let mut wanted: Vec<(ArtifactKind, Option<u32>)> = cells
        .filter(|cell| !matches!(cell.ability, Ability::Nothing(_)))
        // Engines that ship are one a precision, what is served one a protocol, and none is made.
        .filter(|cell| !matches!(cell.artifact, ArtifactKind::Engine | ArtifactKind::Served))
        .map(|cell| (cell.artifact, cell.artifact.static_batch(cell.id.batch)))
        .collect();
    // The FP32 graph is the measure of every smaller one's size.
    if wanted.iter().any(|(kind, _)| !kind.is_given() && *kind != ArtifactKind::OnnxFp32) {
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
    let shipped = (!workspace.manifest.engines.is_empty()).then(|| (ArtifactKind::Engine, own::unheld()));
    proofs_of_scales(workspace, made)
        .into_iter()
        .map(|(artifact, proof)| (artifact.kind, proof.unwrap_or_else(unchecked)))
        .chain(shipped)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gate::workshop::{Project, artifact, healthy, sound};
    use crate::manifest::artifacts::{OwnArtifact, OwnForm};
    use crate::runtime::Obstacle;
    use crate::worker::fake::Fakes;

    fn kinds(artifacts: &Artifacts) -> Vec<(ArtifactKind, Option<u32>)> {
        artifacts.keys().copied().collect()
    }

    /// What the cells start from that run or are built here, each once; beside what is converted, the FP32 graph, which its size is
    /// held to.
    #[test]
    fn what_cells_start_from_is_made_once() {
        let project = Project::new("onnxruntime = [\"fp32\", \"fp16\"]\ntensorrt = [\"fp32\"]", "");
        let workspace = project.workspace(&Fakes::of(sound, healthy));
        let plan = workspace.plan(&Default::default()).unwrap();
        let (full, half) = ((ArtifactKind::OnnxFp32, None), (ArtifactKind::OnnxFp16, None));
        let all = [full, half];
        assert_eq!(kinds(&artifacts(&workspace, plan.iter())), all);
        let of = |precision: Precision| plan.iter().filter(move |cell| cell.id.precision == precision);
        assert_eq!(kinds(&artifacts(&workspace, of(Precision::Fp16))), [full, half]);
        assert_eq!(kinds(&artifacts(&workspace, of(Precision::Fp32))), [full]);
        // Cells that do nothing here need nothing, nor do engines that ship.
        let mut idle = plan.clone();
        idle.iter_mut().for_each(|cell| cell.ability = Ability::Nothing(Obstacle::unavailable("not here")));
        assert!(artifacts(&workspace, idle.iter()).is_empty());
        let mut shipped = plan.clone();
        shipped.iter_mut().for_each(|cell| cell.artifact = ArtifactKind::Engine);
        assert!(artifacts(&workspace, shipped.iter()).is_empty());
        let mut built = plan;
        built.iter_mut().for_each(|cell| cell.ability = Ability::BuildOnly(Obstacle::unavailable("no driver")));
        assert_eq!(kinds(&artifacts(&workspace, built.iter())), all);
    }

    /// Scales are looked at of graphs that trtgate quantised; a file of the project's own, and an engine that ships, has none to be
    /// held to.
    #[test]
    fn scales_are_those_of_quantised_graphs() {
        let mut project = Project::new("onnxruntime = [\"fp32\"]", "");
        let made = |kinds: &[ArtifactKind]| -> Artifacts {
            kinds.iter().map(|&kind| ((kind, None), Ok(artifact(kind, None)))).collect()
        };
        let all = made(&[
            ArtifactKind::OnnxFp32,
            ArtifactKind::OnnxInt8,
            ArtifactKind::OnnxInt8Cpu,
            ArtifactKind::TfliteInt8,
        ]);
        let found = |project: &Project, artifacts: &Artifacts| {
            scales(&project.workspace(&Fakes::of(sound, healthy)), artifacts)
        };
        let proofs = found(&project, &all);
        assert_eq!(proofs.keys().copied().collect::<Vec<_>>(), [ArtifactKind::OnnxInt8, ArtifactKind::OnnxInt8Cpu]);
        // There are no such files: that is said, and no pass.
        assert!(proofs.values().all(|proof| proof.unchecked.as_ref().is_some_and(|unchecked| !unchecked.impossible)));
        assert!(found(&project, &made(&[ArtifactKind::OnnxFp16])).is_empty());
        let own = |form| vec![OwnArtifact { form, path: "mine.onnx".into(), sha256: None }];
        project.manifest.artifacts = own(OwnForm::Fp16);
        assert_eq!(found(&project, &all), proofs);
        project.manifest.artifacts = own(OwnForm::Int8);
        let brought = found(&project, &all);
        assert_eq!(brought.len(), 2);
        assert!(brought.values().all(|proof| *proof == own::unheld()), "{brought:?}");
    }
}
