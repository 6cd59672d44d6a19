//! How the reference of this run stands to the golden: of the blessed files, of others that answer alike, or of a model that
//! answers otherwise.
//!
//! Another digest of the model, other probes or another reading of them are a question, not an answer: the reference runs on
//! the golden's own probes, and what moved is said. Answers that are equal within FP32's limits are a note; anything else
//! fails, and cells are then compared with the reference as it is now, so that the conversions are judged all the same.

use std::path::Path;

use crate::check::golden::{Golden, LabelledAccuracy, Origin, Output, Reading};
use crate::check::judge::status_of;
use crate::check::ladder::Ladder;
use crate::check::leads::NaturalLeads;
use crate::check::movement::{OutputMovement, output_movement};
use crate::check::pair::select_output;
use crate::data::ProbeSet;
use crate::digest::digest_file;
use crate::error::{Error, ErrorKind, Result};
use crate::findings::{CellReport, CheckResult, GOLDEN_RULE, GoldenReport, GoldenStanding};
use crate::gate::assemble::Reference;
use crate::gate::golden::{answers, embedded, gated_output, path_of, stored};
use crate::gate::reference::open_reference;
use crate::gate::workspace::Workspace;
use crate::gate::{orphans, reading};
use crate::manifest::Manifest;
use crate::tensor::Tensor;
use crate::vocabulary::{Precision, Status};

/// What the golden says of a run.
pub(crate) struct Standing {
    /// What cells are compared with.
    pub(crate) reference: Reference,
    /// Digest of the golden's file; empty where there is none, or none that can be read.
    pub(crate) sha256: String,
    /// The golden and how the model stands to it, where there is one.
    pub(crate) golden: Option<GoldenReport>,
    /// The blessed reference's leads on natural samples, where cells are compared with its answers and the golden keeps them.
    pub(crate) leads: Option<NaturalLeads>,
    /// The accuracy that the golden keeps, whatever it is of.
    pub(crate) accuracy: Option<LabelledAccuracy>,
    /// Status of the rule that the standing makes, where the golden is not of these files, probes and reading.
    status: Option<Status>,
}

impl Standing {
    /// Looks at the golden of the workspace's model; the reference runs only where the golden is not of the model's files,
    /// or not of `probes`.
    ///
    /// # Errors
    /// If the golden's file cannot be digested, or the reference cannot answer the probes in use.
    pub(crate) fn of(workspace: &Workspace, probes: &ProbeSet) -> Result<Self> {
        let path = path_of(&workspace.manifest);
        let without = |reference| Self {
            reference,
            sha256: String::new(),
            golden: None,
            leads: None,
            accuracy: None,
            status: None,
        };
        let golden = match stored(&path) {
            Ok(None) => return Ok(without(Reference::Live)),
            Ok(Some(golden)) => golden,
            Err(error) => return Ok(without(Reference::Refused(error))),
        };
        let output = match gated_output(&golden, &workspace.manifest, &path) {
            Ok(output) => output.clone(),
            Err(error) => return Ok(without(Reference::Refused(error))),
        };
        let sha256 = digest_file(&path)?;
        let differences = Differences::of(&golden, workspace, probes);
        let standing = Question { workspace, probes, golden: &golden, output: &output, path: &path, differences };
        Ok(Self { sha256, ..standing.answer()? })
    }

    /// Whether the golden is of these very files, probes and reading.
    pub(crate) fn is_own(&self) -> bool {
        self.golden.as_ref().is_some_and(|golden| golden.standing == GoldenStanding::Own)
    }

    /// What the manifest wants of goldens and is not so, one sentence each: the golden that it requires is gone, or one that
    /// no manifest names lies beside it.
    pub(crate) fn unmet(&self, manifest: &Manifest, required: bool) -> Vec<String> {
        let is_gone = (required || manifest.require.golden) && matches!(self.reference, Reference::Live);
        let gone = is_gone.then(|| missing(manifest));
        gone.into_iter().chain(orphans::sentences(manifest)).collect()
    }

    /// The rule that the standing makes for the verdict, once the cells are judged; `None` where the golden is of these very
    /// files, or there is none. Where the reference is not on this machine, a cell in FP32 stands in for it: it was
    /// compared with the golden itself.
    pub(crate) fn rule(&mut self, cells: &[CellReport]) -> Option<CheckResult> {
        let golden = self.golden.as_mut()?;
        let mut status = self.status?;
        if golden.standing == GoldenStanding::Unjudged
            && let Some(cell) =
                cells.iter().find(|cell| cell.precision == Precision::Fp32 && cell.status == Status::Pass)
        {
            golden.standing = GoldenStanding::Equal;
            golden.detail.push_str(&format!("; `{}` answers as the golden does", cell.id()));
            status = Status::Pass;
        }
        Some(CheckResult { name: GOLDEN_RULE.to_owned(), status, gating: true, detail: golden.detail.clone() })
    }
}

/// The sentence of a verdict about a golden that is required and not there.
pub(crate) fn missing(manifest: &Manifest) -> String {
    format!("a golden is required, and `{}` is not there; `trtgate bless` stores it", path_of(manifest).display())
}

/// In what the golden and the run differ.
#[derive(Debug, Default)]
struct Differences {
    /// Digests of the golden's model and of this one.
    model: Option<(String, String)>,
    /// When the golden was accepted.
    created: String,
    /// Whether the probes in use are others than the golden's.
    probes: bool,
    /// How samples are read otherwise than the golden's were.
    reading: Option<String>,
}

impl Differences {
    fn of(golden: &Golden, workspace: &Workspace, probes: &ProbeSet) -> Self {
        let (then, now) = (&golden.origin.model_sha256, &workspace.model_sha256);
        let reading = Reading::of(&workspace.manifest.input);
        let before = golden.probes.inputs.iter().find(|input| input.name == workspace.manifest.input.name);
        Self {
            model: (then != now).then(|| (short(then), short(now))),
            created: golden.origin.created.clone(),
            probes: golden.probes.sha256 != probes.sha256(),
            reading: before.and_then(|input| input.reading.difference(&reading)),
        }
    }

    fn is_none(&self) -> bool {
        self.model.is_none() && !self.probes && self.reading.is_none()
    }

    /// What differs, one sentence.
    fn sentence(&self) -> String {
        let model = self.model.as_ref().map(|(then, now)| not_blessed(&self.created, then, now));
        let probes = self.probes.then(|| "the probes in use are not the golden's".to_owned());
        let reading = self.reading.as_ref().map(|how| format!("samples are read otherwise ({how})"));
        model.into_iter().chain(probes).chain(reading).collect::<Vec<_>>().join(", and ")
    }
}

/// A golden whose standing is asked for.
struct Question<'a> {
    workspace: &'a Workspace,
    probes: &'a ProbeSet,
    golden: &'a Golden,
    output: &'a Output,
    path: &'a Path,
    differences: Differences,
}

impl Question<'_> {
    fn answer(&self) -> Result<Standing> {
        let of_golden = || self.output.tensor().map_or_else(Reference::Refused, Reference::Golden);
        if self.differences.is_none() {
            return Ok(self.standing(of_golden(), GoldenStanding::Own, None, String::new()));
        }
        let what = self.differences.sentence();
        let Some(own) = self.own_probes() else {
            return Ok(self.standing(Reference::Refused(self.foreign(&what)), GoldenStanding::Unjudged, None, what));
        };
        let (now, version) = match answers(self.workspace, &own) {
            Ok(answers) => answers,
            // What was not asked cannot be told; the cells are held to the golden itself where they answered its probes.
            Err(error) => {
                let missing = error.kind == ErrorKind::Missing;
                let detail = format!("{what}; the reference could not be asked about it: {error}");
                let reference = if self.differences.probes { Reference::Refused(error.clone()) } else { of_golden() };
                let status = if missing { Status::Invalid } else { status_of(error.kind) };
                return Ok(self.standing(reference, GoldenStanding::Unjudged, Some(status), detail));
            }
        };
        let mut moved = self.moved(&now);
        if let Ok(moved) = &mut moved {
            name_reading(self.workspace, &own, self.output, moved)?;
        }
        let equal = moved.as_ref().is_ok_and(|moved| moved.equal);
        let reference = match (equal, self.differences.probes) {
            (true, false) => of_golden(),
            (false, false) => Reference::Current(now),
            (_, true) => Reference::Current(answers(self.workspace, self.probes)?.0),
        };
        let found = match &moved {
            Ok(moved) => moved.sentence(),
            Err(error) => error.to_string(),
        };
        let mut detail = format!("{what}: {found}");
        if !equal && version != self.golden.origin.version {
            detail.push_str(&format!("; the reference is {version}, the golden's was {}", self.golden.origin.version));
        }
        detail.push_str(match equal {
            true => "; `trtgate bless` accepts them",
            false => "; ",
        });
        if !equal {
            detail.push_str(RESTORE_OR_BLESS);
        }
        let (standing, status) = match equal {
            true => (GoldenStanding::Equal, Status::Pass),
            false => (GoldenStanding::Moved, Status::Fail),
        };
        Ok(self.standing(reference, standing, Some(status), detail))
    }

    /// The golden's probes: those in use, or those that it keeps.
    fn own_probes(&self) -> Option<ProbeSet> {
        if self.differences.probes {
            embedded(self.golden, &self.workspace.manifest)
        } else {
            Some(self.probes.clone())
        }
    }

    fn moved(&self, now: &Tensor) -> Result<OutputMovement> {
        let output = &self.workspace.manifest.output;
        let shape = [now.batch(), now.row_len()];
        let now = Output::classification(&output.name, output.kind, shape, &now.floats())?;
        let ladder = Ladder::built_in()?;
        let row = ladder.row(self.workspace.manifest.model.source.reference(), Precision::Fp32)?;
        output_movement(self.output, &now, row)
    }

    fn foreign(&self, what: &str) -> Error {
        Error::invalid(format!(
            "golden `{}` does not fit: {what}, and it does not keep its probes",
            self.path.display()
        ))
        .hint("make it again with `trtgate bless --force`, which keeps the probes with it")
    }

    fn standing(
        &self,
        reference: Reference,
        standing: GoldenStanding,
        status: Option<Status>,
        detail: String,
    ) -> Standing {
        let golden = told(&self.golden.origin, standing, detail);
        let leads = self.output.leads.clone().filter(|_| matches!(reference, Reference::Golden(_)));
        let accuracy = self.golden.accuracy.clone();
        Standing { reference, sha256: String::new(), golden: Some(golden), leads, accuracy, status }
    }
}

/// Names another preprocessing, where that explains a change of outputs that has no pattern.
///
/// # Errors
/// If the reference cannot be asked again.
pub(crate) fn name_reading(
    workspace: &Workspace,
    probes: &ProbeSet,
    golden: &Output,
    moved: &mut OutputMovement,
) -> Result<()> {
    if moved.equal || moved.finding.is_some() {
        return Ok(());
    }
    let manifest = &workspace.manifest;
    let mut reference = open_reference(workspace)?;
    let mut run = |input: &Tensor| select_output(reference.run(input)?.outputs, &manifest.output.name);
    let Some(wanted) = golden.values() else { return Ok(()) };
    let wanted = (&*wanted, golden.row_len());
    if let Some(reading) = reading::explaining(manifest, probes, wanted, reading::Noise::Floats, &mut run)? {
        moved.finding =
            Some(format!("other preprocessing: read with {reading}, the probes are answered as the golden says"));
    }
    Ok(())
}

/// What a report says of the golden of `origin`.
pub(super) fn told(origin: &Origin, standing: GoldenStanding, detail: String) -> GoldenReport {
    GoldenReport {
        model_sha256: origin.model_sha256.clone(),
        runtime: origin.runtime.clone(),
        version: origin.version.clone(),
        created: origin.created.clone(),
        reason: origin.reason.clone(),
        standing,
        detail,
    }
}

/// The next step where the model answers otherwise than in its golden.
pub(crate) const RESTORE_OR_BLESS: &str = "`trtgate bless --dry-run --reason TEXT` shows what moved: restore the model's file, or accept an intended \
                                           change with `trtgate bless --reason TEXT`";

/// That the model is not the one of the golden of `created`, by digests.
pub(super) fn not_blessed(created: &str, then: &str, now: &str) -> String {
    format!("the model's files are not the blessed ones (golden of {created}, {then} → {now})")
}

pub(super) fn short(digest: &str) -> String {
    digest.get(..12).unwrap_or(digest).to_owned()
}

#[cfg(test)]
mod tests;
