//! What several processes of one run share: nextest starts one for each test, and the first of them prepares for all.

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::convert::store::lock_file;
use crate::digest::digest_bytes;
use crate::error::{Error, Result};
use crate::files;
use crate::gate::{self, Workspace};
use crate::vocabulary::ArtifactKind;

/// Names one run of nextest, in each of its processes.
const RUN: &str = "NEXTEST_RUN_ID";

/// What the first process leaves for the others.
#[derive(Debug, Serialize, Deserialize)]
struct Prepared {
    /// The run that it prepared.
    run: String,
    /// What could not be made, so that none of the others tries it again.
    failed: Vec<(ArtifactKind, Error)>,
}

/// The run that this process is a part of, if there are others.
pub(super) fn run() -> Option<String> {
    std::env::var(RUN).ok().filter(|run| !run.is_empty())
}

/// Makes what all cells of `run` start from: one process does, under a lock, and the others wait for it and take what it
/// left. A process that runs all tests itself has nobody to share with.
pub(super) fn share(workspace: &Workspace, run: Option<&str>) -> Result<()> {
    let Some(run) = run else { return Ok(()) };
    let manifest = std::path::absolute(&workspace.manifest.path)
        .map_err(|error| Error::io("resolve", &workspace.manifest.path, error))?;
    let key = format!("{}\n{}", manifest.display(), workspace.model_sha256);
    let name = format!("harness-{}", digest_bytes(key.as_bytes()));
    let lock = lock_file(&workspace.store, &name, "prepares the artifacts of this gate")?;
    let file = workspace.store.root().join(".locks").join(format!("{name}.json"));
    // What is unreadable is of no run, and is written anew.
    let left = files::read_text(&file, files::TEXT).ok().and_then(|text| serde_json::from_str::<Prepared>(&text).ok());
    if let Some(left) = left.filter(|left| left.run == run) {
        workspace.has_failed(left.failed);
        return Ok(());
    }
    let prepared = Prepared { run: run.to_owned(), failed: gate::prepare(workspace) };
    let text = serde_json::to_string(&prepared)
        .map_err(|error| Error::machine("cannot write what was prepared as JSON").because(error))?;
    atomic::write(&file, text.as_bytes())?;
    drop(lock);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gate::{Project, healthy, sound};
    use crate::worker::fake::Fakes;

    /// What the first process of a run could not make, the others do not try; the next run does.
    #[test]
    fn a_run_is_prepared_once() {
        let project = Project::new("onnxruntime = [\"fp32\"]", "");
        let fakes = Fakes::of(sound, healthy);
        let first = project.workspace(&fakes);
        share(&first, None).unwrap();
        let locks = first.store.root().join(".locks");
        let left = || {
            let names = std::fs::read_dir(&locks).into_iter().flatten().map(|entry| entry.unwrap().path());
            names.filter(|path| path.extension().is_some_and(|end| end == "json")).collect::<Vec<_>>()
        };
        assert!(left().is_empty(), "a process that is alone leaves nothing");
        share(&first, Some("one")).unwrap();
        let [file] = left().try_into().unwrap();
        let told = Prepared {
            run: "one".to_owned(),
            failed: vec![(ArtifactKind::OnnxFp16, Error::failed("the converter of another process failed"))],
        };
        std::fs::write(&file, serde_json::to_string(&told).unwrap()).unwrap();
        let second = project.workspace(&fakes);
        share(&second, Some("one")).unwrap();
        let error = second.artifact(ArtifactKind::OnnxFp16, None).unwrap_err();
        assert_eq!(error.message, "the converter of another process failed");
        // What another run left, or nobody can read, is nothing.
        for broken in [None, Some("{")] {
            if let Some(text) = broken {
                std::fs::write(&file, text).unwrap();
            }
            let next = project.workspace(&fakes);
            share(&next, Some("two")).unwrap();
            let left: Prepared = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            assert_eq!((left.run.as_str(), left.failed.len()), ("two", 0));
        }
    }
}
