//! The model of several inputs and outputs: what its cells are fed and compared with, and what its report says beside them.
//!
//! The reference is what the model itself answers in FP32 in this run, at the largest batch; where a golden is stored, the reference
//! is held to that.

use std::collections::BTreeMap;

pub(super) mod calibration;

use super::assemble::is_of_reference;
use super::brought::{self, Expected};
use super::engine::shape_trials::name_between;
use super::judging::{self, named_limits};
use super::kept::{self, Kept};
use super::labelled::Labelled;
use super::open::planned;
use super::runs::Runs;
use super::runs::interface::Fed;
use super::samples::reference_cell;
use super::standing::{RESTORE_OR_BLESS, missing, not_blessed, short, told};
use super::timing::{self, Tasks};
use super::values::check_outputs;
use super::workspace::Workspace;
use super::{Conclusion, Found, RunOptions, made_from, orphans, pictures};
use crate::check::golden::Origin;
use crate::check::ladder::Ladder;
use crate::check::scales::ScaleProof;
use crate::error::{Error, Result};
use crate::findings::verdict::plural;
use crate::findings::{CellReport, CheckResult, GOLDEN_RULE, GoldenReport, GoldenStanding, ModelReport, ProbeImage};
use crate::manifest::Manifest;
use crate::manifest::interface::Interface;
use crate::plan::{Ability, PlannedCell};
use crate::tensor::Feeds;
use crate::vocabulary::{ArtifactKind, CellId, ShapePoint, Status};

/// Samples and reference of a model of several inputs.
pub(super) struct Several<'a> {
    pub(super) interface: &'a Interface,
    /// What cells are fed.
    pub(super) fed: Fed<'a>,
    /// The stored golden, where one fits.
    pub(super) golden: Option<Kept>,
    /// What the model's authors expect of the samples, where they say it.
    pub(super) expected: Option<Expected>,
    /// Why the stored golden does not.
    misfit: Option<String>,
    /// Why there is no reference, by shape.
    pub(super) missing: BTreeMap<Option<ShapePoint>, Error>,
    /// What the report says of the model, and of the limits that the manifest names.
    notes: Vec<String>,
    /// What it says of the samples.
    of_samples: Vec<String>,
    /// What keeps the verdict from `pass` already.
    unmet: Vec<String>,
}

impl<'a> Several<'a> {
    /// Holds the manifest to the model, makes or takes the samples, and finds out which cells answer as the reference: those that
    /// `plan` leaves out come second.
    ///
    /// # Errors
    /// If manifest and model do not fit, or samples cannot be had.
    pub(super) fn prepare(
        workspace: &'a Workspace,
        interface: &'a Interface,
        plan: &[PlannedCell],
        options: &RunOptions,
    ) -> Result<(Self, Vec<PlannedCell>)> {
        let manifest = &workspace.manifest;
        let signature = workspace.signature()?;
        check_outputs(interface, signature)?;
        let labelled = Labelled::of(manifest, interface, signature, options.data.as_deref())?;
        let points = interface.points();
        let brought = brought::of(manifest, interface, signature, &points)?;
        let (mut expected, mut unmet) = (brought.expected, Vec::new());
        let mut points: Vec<(Option<ShapePoint>, Feeds)> = points.into_iter().zip(brought.feeds).collect();
        let (mut golden, mut misfit) = (None, None);
        match kept::of(workspace, interface) {
            Ok(kept) => golden = kept,
            Err(error) => misfit = Some([vec![error.message], error.causes].concat().join(": ")),
        }
        if let Some(golden) = &golden {
            unmet.extend(made_from::difference(&golden.made_from, &made_from::of(manifest, interface)?).map(|difference| {
                format!(
                    "`{}` asks for other samples than those of the golden of {} ({difference}), and cells ran on the golden's: nothing was judged on the others; `trtgate bless --fresh-probes --reason \"…\"` takes them",
                    manifest.path.display(), golden.origin.created
                )
            }));
            let kept = |shape: &Option<ShapePoint>| golden.at(shape.as_ref()).map(|kept| &kept.feeds);
            // What is expected of other samples is not looked at, and that is no pass.
            let others = points.iter().any(|(shape, feeds)| kept(shape) != Some(feeds));
            if let Some(expected) = expected.take_if(|_| others) {
                unmet.push(format!(
                    "the expected answers in `{}` are of other samples than the golden's: `trtgate bless --fresh-probes` takes these",
                    expected.place
                ));
            }
            for (shape, feeds) in &mut points {
                if let Some(kept) = kept(shape) {
                    feeds.clone_from(kept);
                }
            }
        }
        let (beside, missing) = references(workspace, plan);
        let mut notes = described(interface, &points)?;
        let read = interface.read_outputs();
        let ungated = signature.outputs.iter().filter(|output| !read.contains(&output.name.as_str()));
        let ungated: Vec<String> = ungated.map(|output| format!("`{}`", output.name)).collect();
        if !ungated.is_empty() {
            notes.push(format!("not looked at: {}", ungated.join(", ")));
        }
        notes.extend(interface.told());
        notes.extend(named_limits(interface, plan, &Ladder::built_in()?));
        let mut of_samples = brought.notes;
        of_samples.retain(|_| golden.is_none());
        of_samples.extend(expected.iter().map(|expected| {
            let place = &expected.place;
            format!("the reference is held to the answers that its authors expect (`{place}`), as to a golden")
        }));
        let fed = Fed { workspace, interface, axes: interface.axes(), points, labelled };
        Ok((Self { interface, fed, golden, expected, misfit, missing, notes, of_samples, unmet }, beside))
    }

    /// Judges what the cells answered.
    pub(super) fn check<'b>(
        &'b self,
        manifest: &Manifest,
        runs: &'b Runs,
        scales: &BTreeMap<ArtifactKind, ScaleProof>,
        (ladder, replay): (&Ladder, &str),
    ) -> Found<'b> {
        let (mut cells, reference, rules) = judging::assemble(manifest, self, runs, scales, (ladder, replay));
        name_between(&mut cells, self.interface);
        // Samples of other shapes have no place in the same pictures.
        let images = match self.fed.points.first() {
            Some((first, feeds)) if cells.iter().all(|cell| cell.shape == *first) => {
                pictures::of(self.interface, feeds, &mut cells)
            }
            _ => BTreeMap::new(),
        };
        let expected = timing::Expected::Tasks(Tasks { interface: self.interface, fed: &self.fed, reference });
        Found { cells, expected: Some(expected), images, rules, ..Found::default() }
    }

    /// How the reference's cells that nobody asked for stand to the stored golden and to what its authors expect: a run of other cells
    /// holds it to them too. One rule, or one for each cell that does not.
    pub(super) fn held_beside(&self, cells: &[CellReport]) -> Vec<CheckResult> {
        if cells.is_empty() || (self.golden.is_none() && self.expected.is_none()) {
            return Vec::new();
        }
        let rule = |status, detail| CheckResult { name: GOLDEN_RULE.to_owned(), status, gating: true, detail };
        let failing = |cell: &CellReport| {
            let at = cell.shape.as_ref().map(|shape| format!(" at {shape}")).unwrap_or_default();
            let reason = cell.reason.as_deref().unwrap_or("it did not answer");
            let status = if cell.status == Status::Fail { Status::Fail } else { Status::Invalid };
            let hint = cell.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            rule(status, format!("the reference{at}: {reason}{hint}"))
        };
        let failed: Vec<CheckResult> = cells.iter().filter(|cell| cell.status != Status::Pass).map(failing).collect();
        match failed.is_empty() {
            true => vec![rule(Status::Pass, "the reference answers as is kept of it".to_owned())],
            false => failed,
        }
    }

    /// Says of a cell of the reference which answers otherwise than in its golden that it is the model which moved, no conversion.
    pub(super) fn name_moved(&self, report: &mut CellReport) {
        let Some(Origin { created, model_sha256, version, .. }) = self.golden.as_ref().map(|kept| &kept.origin) else {
            return;
        };
        let sha256 = &self.fed.workspace.model_sha256;
        let (then, now) = (short(model_sha256), short(sha256));
        let mut what = match model_sha256 == sha256 {
            true => format!(
                "the model itself answers otherwise than in the golden of {created}, with the same file ({now})"
            ),
            false => format!("the model itself is not that of the golden of {created} ({then} → {now})"),
        };
        if let Some(other) = report.version.as_ref().filter(|found| *found != version) {
            what.push_str(&format!(", the reference is {other}, the golden's was {version}"));
        }
        let found = report.reason.take().unwrap_or_default();
        report.reason = Some(format!("{what}: {found}"));
        report.hint = Some(RESTORE_OR_BLESS.to_owned());
    }

    /// The golden, and how the reference's `cells` stand to it.
    fn standing(&self, manifest: &Manifest, cells: &[&CellReport]) -> Option<GoldenReport> {
        let origin = &self.golden.as_ref()?.origin;
        let of_reference = || cells.iter().filter(|cell| is_of_reference(&cell.id(), manifest));
        let all = |wanted: Status| of_reference().count() > 0 && of_reference().all(|cell| cell.status == wanted);
        let moved = of_reference().any(|cell| cell.hint.as_deref() == Some(RESTORE_OR_BLESS));
        let now = &self.fed.workspace.model_sha256;
        let (standing, found) = match (moved, *now == origin.model_sha256) {
            (true, _) => (GoldenStanding::Moved, "the reference answers its samples otherwise"),
            (false, true) => (GoldenStanding::Own, ""),
            (false, false) if all(Status::Pass) => {
                (GoldenStanding::Equal, "the reference answers its samples alike; `trtgate bless` accepts them")
            }
            (false, false) => (GoldenStanding::Unjudged, "the reference was not asked about it"),
        };
        let detail = match *now == origin.model_sha256 {
            true => found.to_owned(),
            false => format!("{}: {found}", not_blessed(&origin.created, &short(&origin.model_sha256), &short(now))),
        };
        Some(told(origin, standing, detail))
    }

    /// What the report says beside its `cells`, those that ran beside them among them.
    pub(super) fn conclude(
        self,
        workspace: &Workspace,
        options: &RunOptions,
        (own, cells): (Vec<String>, &[&CellReport]),
        probe_images: BTreeMap<usize, ProbeImage>,
    ) -> Conclusion {
        let manifest = &workspace.manifest;
        let standing = self.standing(manifest, cells);
        let mut notes = self.notes;
        notes.extend(own);
        notes.extend(self.of_samples);
        let mut unmet = self.unmet;
        if let Some(Origin { created, reason, model_sha256, .. }) = self.golden.as_ref().map(|kept| &kept.origin) {
            let other = if *model_sha256 == workspace.model_sha256 { "" } else { ", of another model" };
            notes.push(format!(
                "on the samples of the golden of {created}{other} ({reason}), which the reference is held to"
            ));
        } else if options.require_golden || manifest.require.golden {
            let misfit = self.misfit.map(|misfit| format!("a golden is required: {misfit}"));
            unmet.push(misfit.unwrap_or_else(|| missing(manifest)));
        } else {
            unmet.extend(self.misfit);
        }
        unmet.extend(orphans::sentences(manifest));
        if manifest.wants_accuracy() && self.fed.labelled.is_none() {
            let wanted = if manifest.require.accuracy {
                "`[require] accuracy` is set"
            } else {
                "the manifest names limits of accuracy"
            };
            unmet.push(format!("{wanted}, and no labelled data was given; name some with `--data`"));
        }
        Conclusion {
            model: ModelReport {
                name: manifest.model.name.clone(),
                sha256: workspace.model_sha256.clone(),
                ..ModelReport::default()
            },
            notes,
            unmet,
            probe_images,
            golden_sha256: self.golden.map(|golden| golden.sha256).unwrap_or_default(),
            golden: standing,
            ..Conclusion::default()
        }
    }
}

/// The cells of the reference that `plan` compares cells with and leaves out, one a shape, at as large a batch as any that is
/// compared; and why there is none.
fn references(workspace: &Workspace, plan: &[PlannedCell]) -> (Vec<PlannedCell>, BTreeMap<Option<ShapePoint>, Error>) {
    let reference = reference_cell(&workspace.manifest);
    let mut largest: BTreeMap<Option<ShapePoint>, u32> = BTreeMap::new();
    for cell in plan.iter().filter(|cell| matches!(cell.ability, Ability::Run)) {
        let batch = largest.entry(cell.id.shape.clone()).or_insert(0);
        *batch = cell.id.batch.max(*batch);
    }
    let (mut beside, mut missing) = (Vec::new(), BTreeMap::new());
    for (shape, batch) in largest {
        let is_it = |cell: &&PlannedCell| {
            cell.id.runtime.library == reference.runtime.library
                && cell.id.precision == reference.precision
                && cell.id.shape == shape
                && matches!(cell.ability, Ability::Run)
        };
        if plan.iter().any(|cell| is_it(&cell)) {
            continue;
        }
        match planned(workspace, &CellId { batch, shape: shape.clone(), ..reference.clone() }) {
            Ok(cell) => beside.push(cell),
            Err(error) => drop(missing.insert(shape, error)),
        }
    }
    (beside, missing)
}

/// What is fed and compared, in sentences.
fn described(interface: &Interface, points: &[(Option<ShapePoint>, Feeds)]) -> Result<Vec<String>> {
    let (_, feeds) = points.first().ok_or_else(|| Error::input("there is nothing to feed"))?;
    let outputs = interface.outputs.iter().map(|output| format!("`{}` {}", output.name, output.task.task()));
    let mut notes = vec![format!(
        "{} samples of {}{}; outputs by their tasks: {}",
        feeds.batch(),
        plural(interface.inputs.len(), "input"),
        if points.len() > 1 { format!(" at each of {} shapes", points.len()) } else { String::new() },
        outputs.collect::<Vec<_>>().join(", ")
    )];
    if interface.axes().one_by_one() {
        notes.push("run sample by sample: an input or output has no batch".to_owned());
    }
    Ok(notes)
}

#[cfg(test)]
pub(super) mod tests;
