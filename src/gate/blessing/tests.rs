#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use super::*;
use crate::error::ErrorKind;
use crate::gate::workshop::{CLASSES, Project, all_answering, by_slot, healthy, labelled, sound};
use crate::worker::fake::Fakes;

const MATRIX: &str = "onnxruntime = [\"fp32\"]";

fn plan(project: &Project, fakes: &Arc<Fakes>) -> GoldenBlessing {
    GoldenBlessing::plan(&project.workspace(fakes), "because", None).unwrap()
}

#[test]
fn the_first_golden_is_stored_and_required_from_then_on() {
    let project = Project::new(MATRIX, "");
    let first = plan(&project, &Fakes::of(sound, healthy));
    assert_eq!(first.lines, ["new golden: 40 probes"]);
    assert_eq!((first.changes, first.moved, first.fails, first.doubts.len()), (true, false, false, 0));
    assert_eq!(first.path, path_of(&project.manifest));
    assert!(!first.path.exists(), "planning stores nothing");
    assert_eq!((first.golden.origin.reason.as_str(), first.golden.probes.count), ("because", 40));
    assert!(first.golden.outputs[0].leads.is_some());
    let done = first.store(&project.manifest, false).unwrap();
    assert_eq!(done.len(), 2, "{done:?}");
    assert!(done[1].starts_with("added `[require] golden = true`"));
    assert!(Manifest::load(&project.manifest.path).unwrap().require.golden);
    // Again it changes nothing, and the manifest neither.
    let again = plan(&project, &Fakes::of(sound, healthy));
    assert_eq!((again.changes, again.moved, again.doubts.len()), (false, false, 0), "{:?}", again.lines);
    assert_eq!(again.store(&project.manifest, false).unwrap().len(), 1);
}

#[test]
fn what_moved_is_told_before_it_is_stored() {
    let project = Project::new(MATRIX, "");
    plan(&project, &Fakes::of(sound, healthy)).store(&project.manifest, false).unwrap();
    let swapped = all_answering(|output| {
        output.values.as_mut::<f32>().unwrap().chunks_mut(CLASSES).for_each(|row| row.swap(0, 1))
    });
    let moved = plan(&project, &swapped);
    assert!(moved.changes && moved.moved && moved.doubts.is_empty(), "{:?}", moved.doubts);
    assert!(moved.lines.iter().any(|line| line.contains("0 and 1")), "{:?}", moved.lines);
    moved.store(&project.manifest, false).unwrap();
    assert!(!plan(&project, &swapped).changes);
}

/// Both sides of each thing that a reviewer asks about; what was converted to is kept for the next one.
#[test]
fn a_reviewer_sees_what_moved_and_what_the_model_converts_to() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", "");
    let fakes = Fakes::of(sound, healthy);
    let mut first = plan(&project, &fakes);
    let reviewed = first.reviewed(&project.workspace(&fakes));
    assert!(reviewed.before.is_none() && reviewed.outputs.is_empty());
    assert!(reviewed.artifacts.len() == 1 && reviewed.artifacts[0].before.is_none(), "{:?}", reviewed.artifacts);
    first.store(&project.manifest, false).unwrap();
    let swapped = all_answering(|output| {
        output.values.as_mut::<f32>().unwrap().chunks_mut(CLASSES).for_each(|row| row.swap(0, 1))
    });
    let reviewed = plan(&project, &swapped).reviewed(&project.workspace(&swapped));
    assert_eq!(reviewed.before.unwrap().model_sha256, reviewed.model_sha256);
    assert!(reviewed.artifacts[0].now.is_some() && reviewed.artifacts[0].before == reviewed.artifacts[0].now);
    let flips = &reviewed.outputs[0].flips;
    assert!(!flips.is_empty() && flips.iter().all(|flip| flip.near_tie == (flip.lead <= 0.1)), "{flips:?}");
    // Nothing to tell, and nothing that changes.
    let mut again = plan(&project, &Fakes::of(sound, healthy));
    again.reviewed(&project.workspace(&fakes));
    assert!(!again.changes, "{:?}", again.lines);
}

/// A reference that contradicts itself and a golden that cannot be compared are stored on demand only.
#[test]
fn what_was_not_judged_is_stored_on_demand_only() {
    let project = Project::new(MATRIX, "");
    let by_slot = all_answering(by_slot);
    let doubtful = plan(&project, &by_slot);
    assert_eq!(doubtful.doubts.len(), 1, "{:?}", doubtful.doubts);
    let error = doubtful.store(&project.manifest, false).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Invalid, "what was not judged does not become a golden")
    );
    assert_eq!(error.causes, doubtful.doubts);
    assert!(!doubtful.path.exists() && error.hint.unwrap().starts_with("`--force`"));
    doubtful.store(&project.manifest, true).unwrap();
    assert!(doubtful.path.exists());

    std::fs::write(&doubtful.path, "damaged").unwrap();
    let over_damage = plan(&project, &Fakes::of(sound, healthy));
    assert!(over_damage.doubts[0].starts_with("nothing was compared: "), "{:?}", over_damage.doubts);
    assert!(over_damage.lines.iter().any(|line| line.starts_with("not comparable: ")));
    assert!(over_damage.store(&project.manifest, false).is_err());
    assert_eq!(std::fs::read(&over_damage.path).unwrap(), b"damaged");
}

#[test]
fn accuracy_is_kept_and_held_to_the_manifests_limits() {
    let project = Project::new(MATRIX, "[accuracy]\nfloor = 0.8\ndrop = 0.05");
    let fakes = || Fakes::of(sound, healthy);
    let with = |wrong: usize| {
        let data = labelled(&project, wrong);
        GoldenBlessing::plan(&project.workspace(&fakes()), "because", Some(&data)).unwrap()
    };
    let accurate = with(0);
    assert!(accurate.doubts.is_empty() && !accurate.fails, "{:?}", accurate.doubts);
    let kept = accurate.golden.accuracy.clone().unwrap();
    assert_eq!((kept.samples, kept.correct), (60, 60));
    // Below the floor it is refused as a failure, and stored on demand.
    let poor = with(3);
    assert!(poor.fails, "{:?}", poor.doubts);
    let error = poor.store(&project.manifest, false).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Failed, "what breaks the manifest's limits does not become a golden")
    );
    accurate.store(&project.manifest, false).unwrap();
    // Without data, what is kept of this very model stays.
    let without = plan(&project, &fakes());
    assert_eq!(without.golden.accuracy, Some(kept));
    assert!(!without.changes, "{:?}", without.lines);
    // Another model's accuracy is not known.
    project.change_model();
    let other = plan(&project, &fakes());
    assert_eq!(other.golden.accuracy, None);
    assert!(!other.doubts.is_empty());
    // Wrong data is refused before anything runs.
    let idle = fakes();
    let missing = project.folder.path().join("missing.csv");
    assert!(GoldenBlessing::plan(&project.workspace(&idle), "because", Some(&missing)).is_err());
    assert_eq!(idle.started(), 0);
}

/// A golden that another manifest names is its own where it gates something else under the same name.
#[test]
fn a_golden_of_another_manifest_is_not_taken_over() {
    let project = Project::new(MATRIX, "");
    let fakes = Fakes::of(sound, healthy);
    plan(&project, &fakes).store(&project.manifest, false).unwrap();
    let path = path_of(&project.manifest);
    let old = stored(&path).unwrap().unwrap();
    let text = std::fs::read_to_string(&project.manifest.path).unwrap();
    std::fs::copy(project.folder.path().join("m.onnx"), project.folder.path().join("copy.onnx")).unwrap();
    let beside = project.folder.path().join("beside.toml");
    let claimed_by = |text: &str| {
        std::fs::write(&beside, text).unwrap();
        let manifest = Manifest::load(&beside).unwrap();
        let store = crate::convert::store::Store::open(Some(project.folder.path().join("store"))).unwrap();
        let workspace = Workspace::of_parts(
            manifest,
            project.digest(),
            store.installing(false),
            crate::gate::workshop::found(),
            fakes.program(),
        );
        claimed(&old, &workspace, &path)
    };
    // The same model, gated the same way.
    assert_eq!(claimed(&old, &project.workspace(&fakes), &path), None);
    assert_eq!(claimed_by(&text), None);
    let words = format!(
        "the stored golden is that of `{}`, which names its model `m` too: give each a `[model] name` of its own",
        project.folder.path().canonicalize().unwrap().join("gate.toml").display()
    );
    assert_eq!(claimed_by(&text.replace("m.onnx", "copy.onnx")), Some(words.clone()));
    assert_eq!(claimed_by(&text.replace("\"logits\"", "\"probabilities\"")), Some(words.clone()));
    assert_eq!(claimed_by(&text.replace("name = \"x\"", "name = \"z\"")), Some(words));
    // A manifest that has another golden by now, and one that is gone, claim nothing.
    let other = text.replace("m.onnx", "copy.onnx");
    std::fs::write(&project.manifest.path, text.replace("name = \"m\"", "name = \"other\"")).unwrap();
    assert_eq!(claimed_by(&other), None);
    std::fs::remove_file(&project.manifest.path).unwrap();
    assert_eq!(claimed_by(&other), None);
}

/// What the model converted to before and does not any more is told beside what it converts to now.
#[test]
fn an_artifact_that_is_gone_is_told() {
    use crate::check::golden::KeptArtifact;
    use crate::vocabulary::ArtifactKind;
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", "");
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace(&fakes);
    let mut first = plan(&project, &fakes);
    first.reviewed(&workspace);
    let gone = KeptArtifact { kind: ArtifactKind::OnnxFp16, batch: None, sha256: "ab".to_owned(), bytes: 7 };
    first.golden.artifacts.push(gone);
    first.store(&project.manifest, false).unwrap();
    let mut again = plan(&project, &fakes);
    let reviewed = again.reviewed(&workspace);
    let told: Vec<_> = reviewed
        .artifacts
        .iter()
        .map(|found| (found.kind, found.before.is_some(), found.now.is_some(), found.missing.as_deref()))
        .collect();
    let kept = (ArtifactKind::OnnxFp32, true, true, None);
    assert_eq!(told, [kept, (ArtifactKind::OnnxFp16, true, false, Some("not made here"))]);
    assert!(again.changes, "the golden keeps what there is now");
    assert_eq!(again.golden.artifacts.len(), 1);
    // With nothing kept before, there is nothing that changed to tell, but something to keep.
    let mut kept = plan(&project, &fakes);
    kept.changes = false;
    kept.golden.artifacts.clear();
    kept.reviewed(&workspace);
    assert!(kept.changes);
}

/// A golden that keeps no probes yet gets them with the next blessing, which is a change and is said.
#[test]
fn a_golden_without_probes_is_given_some() {
    let project = Project::new(MATRIX, "");
    let fakes = Fakes::of(sound, healthy);
    plan(&project, &fakes).store(&project.manifest, false).unwrap();
    let path = path_of(&project.manifest);
    let words = "the golden keeps its probes from now on".to_owned();
    let again = plan(&project, &fakes);
    assert!(!again.lines.contains(&words) && !again.changes, "{:?}", again.lines);
    let mut old = stored(&path).unwrap().unwrap();
    old.probes.inputs.clear();
    std::fs::remove_file(&path).unwrap();
    old.write(&path).unwrap();
    let again = plan(&project, &fakes);
    assert!(again.lines.contains(&words) && again.changes && !again.moved, "{:?}", again.lines);
    assert_eq!(again.golden.probes.inputs.len(), 1);
}
