//! Accepting the reference's answers as the golden: what would change, and what stands against it.

use std::path::{Path, PathBuf};

use crate::check::contradiction;
use crate::check::golden::{Golden, Probes};
use crate::check::ladder::Ladder;
use crate::check::movement::{Movement, difference};
use crate::check::pair::select_output;
use crate::error::{Error, Result};
use crate::findings::verdict::plural;
use crate::gate::accuracy::Acceptance;
use crate::gate::golden::{golden_now, path_of, relative, stored};
use crate::gate::reference::open_unexamined;
use crate::gate::samples::LabelledData;
use crate::gate::standing::name_reading;
use crate::gate::workspace::Workspace;
use crate::manifest::{Manifest, Model, ModelSource, edit};
use crate::tensor::Tensor;

/// Probes that the reference is examined on.
const EXAMINED: usize = 32;

/// A golden that is to be stored.
#[derive(Clone, Debug)]
pub struct GoldenBlessing {
    /// Where it is stored.
    pub path: PathBuf,
    /// The golden.
    pub golden: Golden,
    /// What changes, in lines for a reader.
    pub lines: Vec<String>,
    /// Whether storing it changes anything.
    pub changes: bool,
    /// Whether the answers are others than the stored golden's, beyond FP32's limits.
    pub moved: bool,
    /// What stands against it, one sentence each; with any of them it is stored on demand only.
    pub doubts: Vec<String>,
    /// Whether a limit of the manifest is broken: the accuracy on labelled data.
    pub fails: bool,
    /// Whether there is no golden yet.
    pub(super) first: bool,
    /// How far the answers moved, of a classifier whose stored golden can be read.
    pub(super) movement: Option<Movement>,
}

impl GoldenBlessing {
    /// Runs the reference and compares its answers with the stored golden's, and those to labelled `data` with the
    /// manifest's limits too; stores nothing. Without `data`, the manifest's is taken, where it names some.
    ///
    /// # Errors
    /// If the reference runtime is not here, or its answers cannot be a golden.
    pub fn plan(workspace: &Workspace, reason: &str, data: Option<&Path>) -> Result<Self> {
        let manifest = &workspace.manifest;
        if let Some(schema) = Golden::newer(&path_of(manifest)) {
            return Err(Error::usage(format!(
                "the stored golden `{}` is a `{schema}`, newer than this program",
                path_of(manifest).display()
            ))
            .hint("upgrade trtgate: what a newer version wrote is not overwritten by an older one"));
        }
        if let Some(interface) = &manifest.interface {
            return super::kept::blessing(workspace, interface, reason, data);
        }
        // Wrong data is refused before anything runs.
        let data = data.map(Path::to_owned).or_else(|| manifest.data.clone());
        let data = data.map(|path| LabelledData::check(path, manifest)).transpose()?;
        let path = path_of(manifest);
        let golden = golden_now(workspace, reason)?;
        let mut plan = Self {
            path,
            golden,
            lines: Vec::new(),
            changes: true,
            moved: false,
            doubts: contradictions(workspace)?,
            fails: false,
            first: false,
            movement: None,
        };
        let old = stored(&plan.path);
        plan.accept_accuracy(workspace, data.as_ref(), old.as_ref().ok().and_then(Option::as_ref))?;
        match old {
            Ok(None) => {
                plan.first = true;
                plan.lines.push(format!("new golden: {}", plural(plan.golden.probes.count, "probe")));
            }
            Ok(Some(old)) => {
                plan.doubts.extend(claimed(&old, workspace, &plan.path));
                let movement = plan.against(&old, workspace)?;
                plan.doubts.extend(unjudged(&movement));
                plan.lines.extend(movement.lines());
                plan.movement = Some(movement);
            }
            Err(error) => {
                plan.lines.push(format!("not comparable: {error}"));
                plan.doubts.push(format!("nothing was compared: {}", error.message));
            }
        }
        Ok(plan)
    }

    /// Puts the accuracy into the golden, with what stands against it.
    fn accept_accuracy(
        &mut self,
        workspace: &Workspace,
        data: Option<&LabelledData>,
        old: Option<&Golden>,
    ) -> Result<()> {
        let (was, now) = (old.map(|old| (&old.origin, &old.probes)), (&self.golden.origin, &self.golden.probes));
        let read_alike = |then: &Probes, now: &Probes| {
            then.inputs.len() == now.inputs.len()
                && then.inputs.iter().zip(&now.inputs).all(|(then, now)| then.reading == now.reading)
        };
        let same =
            was.is_some_and(|(origin, probes)| origin.model_sha256 == now.0.model_sha256 && read_alike(probes, now.1));
        let accepted = Acceptance::plan(workspace, data, old.and_then(|old| old.accuracy.as_ref()), same)?;
        self.golden.accuracy = accepted.accuracy;
        self.lines.extend(accepted.lines);
        self.doubts.extend(accepted.doubts);
        self.fails = accepted.fails;
        Ok(())
    }

    fn against(&mut self, old: &Golden, workspace: &Workspace) -> Result<Movement> {
        let ladder = Ladder::built_in()?;
        let origin = &self.golden.origin;
        let mut movement = difference(old, &self.golden, ladder.row(origin.runtime.library, origin.precision)?);
        for (name, moved) in &mut movement.outputs {
            if let Some(output) = old.outputs.iter().find(|output| output.name == *name) {
                name_reading(workspace, &workspace.probes()?, output, moved)?;
            }
        }
        self.moved = movement.is_judged() && !movement.is_equal();
        let kept = !old.probes.inputs.is_empty();
        if !kept {
            self.lines.push("the golden keeps its probes from now on".to_owned());
        }
        self.changes = !movement.is_none() || !kept || self.golden.accuracy != old.accuracy;
        // What the model converts to is as it was where the model is.
        if old.origin.model_sha256 == self.golden.origin.model_sha256 {
            self.golden.artifacts.clone_from(&old.artifacts);
        }
        Ok(movement)
    }

    /// Stores the golden and, with the first one, the manifest's requirement of it. Returns what was done, in lines.
    ///
    /// # Errors
    /// An invalid one that names the doubts, unless `force` is set; whatever keeps a file from being written.
    pub fn store(&self, manifest: &Manifest, force: bool) -> Result<Vec<String>> {
        if !self.doubts.is_empty() && !force {
            let mut error = match self.fails {
                true => Error::failed("what breaks the manifest's limits does not become a golden"),
                false => Error::invalid("what was not judged does not become a golden"),
            }
            .hint("`--force` stores it all the same; look at what stands against it first");
            error.causes.clone_from(&self.doubts);
            return Err(error);
        }
        self.golden.write(&self.path)?;
        let mut done = vec![format!("stored `{}`", self.path.display())];
        if self.first && edit::require_golden(&manifest.path)? {
            done.push(format!(
                "added `[require] golden = true` to `{}`: without it a gate is incomplete",
                manifest.path.display()
            ));
        }
        Ok(done)
    }
}

/// Why the movement judges nothing.
fn unjudged(movement: &Movement) -> Option<String> {
    (!movement.is_judged())
        .then(|| format!("nothing was compared with the stored golden: {}", movement.apart.join("; ")))
}

/// Whether the stored golden is another manifest's, which still names it and gates something else.
fn claimed(old: &Golden, workspace: &Workspace, path: &Path) -> Option<String> {
    let manifest = &workspace.manifest;
    let other = old.origin.manifest.as_ref().map(|other| crate::atomic::folder_of(path).join(other))?;
    // One file may be named in several ways.
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    if relative(&manifest.path, &manifest.snapshots) == old.origin.manifest {
        return None;
    }
    let other = real(&other)?;
    let claims = Manifest::load(&other).ok()?;
    let same = claims.output == manifest.output && claims.input == manifest.input;
    let shared = real(path)? == real(&path_of(&claims))?;
    // What is gated is a copy: the manifests name the model itself.
    let of = |model: &Model, source: &ModelSource| {
        (real(source.path()), source.kind(), source.signature().to_owned(), model.sha256.clone())
    };
    let same_model = of(&claims.model, &claims.model.source) == of(&manifest.model, workspace.named());
    (shared && !(same && same_model)).then(|| {
        format!(
            "the stored golden is that of `{}`, which names its model `{}` too: give each a `[model] name` of its own",
            other.display(),
            manifest.model.name
        )
    })
}

/// In what the reference contradicts itself: such answers judge nothing.
fn contradictions(workspace: &Workspace) -> Result<Vec<String>> {
    let output = &workspace.manifest.output.name;
    let samples = workspace.probes()?.samples()?;
    let samples = samples.tensor(0..samples.len().min(EXAMINED))?;
    let mut reference = open_unexamined(workspace)?;
    let mut run = |input: &Tensor| select_output(reference.run(input)?.outputs, output);
    let found = contradiction::find(&mut run, &samples)?;
    Ok(found.iter().map(|found| found.error().message).collect())
}

mod reviewed;

#[cfg(test)]
mod tests;
