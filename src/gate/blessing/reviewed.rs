//! A blessing as its reviewer sees it: the model, its answers, its accuracy and what it converts to, on both sides.

use std::collections::BTreeSet;

use super::GoldenBlessing;
use crate::check::golden::{Golden, KeptArtifact, LabelledAccuracy};
use crate::check::movement::OutputMovement;
use crate::findings::blessing::{
    BLESSING_SCHEMA, BlessedArtifact, BlessedBefore, BlessedFlip, BlessedOutput, BlessingReport, Counted, FileFacts,
    NEAR_TIE,
};
use crate::gate::golden::stored;
use crate::gate::workspace::Workspace;
use crate::plan::{Ability, Filter};
use crate::vocabulary::ArtifactKind;

impl GoldenBlessing {
    /// What a reviewer sees. The portable artifacts of the plan are made for it, and kept in the golden, so that the next blessing
    /// has them beside its own; one that cannot be made is named.
    pub fn reviewed(&mut self, workspace: &Workspace) -> BlessingReport {
        let manifest = &workspace.manifest;
        let before = stored(&self.path).ok().flatten();
        let artifacts = artifacts(workspace, before.as_ref());
        let kept = |found: &BlessedArtifact| {
            let FileFacts { sha256, bytes } = found.now.clone()?;
            Some(KeptArtifact { kind: found.kind, batch: found.batch, sha256, bytes })
        };
        let kept: Vec<KeptArtifact> = artifacts.iter().filter_map(kept).collect();
        self.changes |= before.as_ref().is_none_or(|before| before.artifacts != kept);
        self.golden.artifacts = kept;
        let moved = self.movement.iter().flat_map(|movement| &movement.outputs);
        BlessingReport {
            schema: BLESSING_SCHEMA.to_owned(),
            model: manifest.model.name.clone(),
            reason: self.golden.origin.reason.clone(),
            stored: false,
            what: "golden".to_owned(),
            model_sha256: self.golden.origin.model_sha256.clone(),
            before: before.as_ref().map(|before| BlessedBefore {
                model_sha256: before.origin.model_sha256.clone(),
                created: before.origin.created.clone(),
                reason: before.origin.reason.clone(),
                accuracy: before.accuracy.as_ref().map(counted),
            }),
            lines: self.lines.clone(),
            outputs: moved.map(|(name, moved)| output(name, moved)).collect(),
            accuracy: self.golden.accuracy.as_ref().map(counted),
            artifacts,
            figures: Vec::new(),
            doubts: self.doubts.clone(),
            classes: manifest.output.labels.clone(),
        }
    }
}

fn counted(accuracy: &LabelledAccuracy) -> Counted {
    Counted { samples: accuracy.samples, correct: accuracy.correct }
}

fn output(name: &str, moved: &OutputMovement) -> BlessedOutput {
    let flips = moved.flips.iter().zip(&moved.flip_leads).map(|(&(probe, before, now), &lead)| BlessedFlip {
        probe,
        before,
        now,
        lead,
        near_tie: lead <= NEAR_TIE,
    });
    BlessedOutput {
        name: name.to_owned(),
        probes: moved.probes,
        max_abs: moved.max_abs,
        mean_abs: moved.mean_abs,
        flips: flips.collect(),
        finding: moved.finding.clone(),
    }
}

/// The portable artifacts that the cells of the whole plan start from, and those that the golden before kept.
fn artifacts(workspace: &Workspace, before: Option<&Golden>) -> Vec<BlessedArtifact> {
    let cells = workspace.plan(&Filter::default()).unwrap_or_default();
    let made = |kind: ArtifactKind| kind != ArtifactKind::Engine && !kind.is_given();
    let able = cells.iter().filter(|cell| !matches!(cell.ability, Ability::Nothing(_)) && made(cell.artifact));
    let wanted: BTreeSet<(ArtifactKind, Option<u32>)> =
        able.map(|cell| (cell.artifact, cell.artifact.static_batch(cell.id.batch))).collect();
    let kept = before.map(|before| &before.artifacts[..]).unwrap_or_default();
    let was = |kind: ArtifactKind, batch: Option<u32>| {
        let found = kept.iter().find(|kept| kept.kind == kind && kept.batch == batch);
        found.map(|kept| FileFacts { sha256: kept.sha256.clone(), bytes: kept.bytes })
    };
    let mut found: Vec<BlessedArtifact> = wanted
        .iter()
        .map(|&(kind, batch)| {
            let made = workspace.artifact(kind, batch);
            let facts = |made: &crate::convert::Artifact| FileFacts { sha256: made.sha256.clone(), bytes: made.bytes };
            BlessedArtifact {
                kind,
                batch,
                before: was(kind, batch),
                now: made.as_ref().ok().map(facts),
                missing: made.err().map(|error| error.message),
            }
        })
        .collect();
    let gone = kept.iter().filter(|kept| !wanted.contains(&(kept.kind, kept.batch)));
    found.extend(gone.map(|gone| BlessedArtifact {
        kind: gone.kind,
        batch: gone.batch,
        before: was(gone.kind, gone.batch),
        now: None,
        missing: Some("not made here".to_owned()),
    }));
    found
}
