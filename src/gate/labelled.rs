//! Labelled samples of a model of several inputs: what is fed, what each output should answer, and what the answers are worth.

use std::path::Path;

use super::brought::border;
use crate::check::apart::Answers;
use crate::check::tasks::labelled::{self, Scored};
use crate::data::brought;
use crate::error::{Error, ErrorKind, Result};
use crate::findings::{CheckResult, OutputFinding};
use crate::manifest::Manifest;
use crate::manifest::interface::{GatedOutput, Interface};
use crate::tensor::{Feeds, Signature, Tensor};
use crate::vocabulary::Status;

/// Labelled samples, read whole.
pub(crate) struct Labelled {
    /// What is fed.
    pub(crate) feeds: Feeds,
    /// The labels of outputs, by name.
    truths: Vec<(String, Tensor)>,
}

/// What each labelled output's answers are worth, by its name.
pub(crate) type Scores = Vec<(String, Result<Scored>)>;

impl Labelled {
    /// Reads the labelled data at `given`, or that of the manifest; `None` where none is named.
    ///
    /// # Errors
    /// `Input`, where samples or labels are damaged, or an output that should be labelled is not; `Usage` where there are several
    /// shapes, since the samples have one.
    pub(super) fn of(
        manifest: &Manifest,
        interface: &Interface,
        signature: &Signature,
        given: Option<&Path>,
    ) -> Result<Option<Self>> {
        let Some(path) = given.or(manifest.data.as_deref()) else { return Ok(None) };
        let place = path.display();
        if interface.points().len() > 1 {
            return Err(Error::usage(format!(
                "the labelled samples of `{place}` have one shape, and `[shapes]` names several"
            ))
            .hint("gate them by a manifest that names one size for each of `[shapes]`"));
        }
        let border = border(interface, signature)?;
        let feeds = brought::read(path, None, &border)?.feeds;
        let outputs: Vec<&GatedOutput> =
            interface.outputs.iter().filter(|output| output.task.task().is_labelled()).collect();
        let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
        let mut truths = Vec::new();
        for (output, found) in outputs.iter().zip(brought::labels(path, &border, &names)?) {
            let name = &output.name;
            match found {
                Some(truth) if truth.batch() == feeds.batch() => truths.push((name.clone(), truth)),
                Some(truth) => {
                    let (labels, samples) = (truth.batch(), feeds.batch());
                    return Err(Error::input(format!(
                        "`{name}.labels` in `{place}` has {labels} labels, and there are {samples} samples"
                    )));
                }
                None if output.accuracy != Default::default() => {
                    return Err(Error::input(format!(
                        "output `{name}` names limits of accuracy, and `{place}` has no `{name}.labels`"
                    )));
                }
                None => {}
            }
        }
        if truths.is_empty() {
            let wanted: Vec<String> = names.iter().map(|name| format!("`{name}.labels`")).collect();
            let hint = match wanted.is_empty() {
                true => "no output is gated whose task has labels (docs/manifest.md)".to_owned(),
                false => format!("an array called {} beside those of the inputs", wanted.join(" or ")),
            };
            return Err(Error::input(format!("`{place}` holds no labels")).hint(hint));
        }
        Ok(Some(Self { feeds, truths }))
    }

    /// That no output's answers could be read.
    pub(super) fn unread(&self, error: &Error) -> Scores {
        self.truths.iter().map(|(name, _)| (name.clone(), Err(error.clone()))).collect()
    }

    /// What `answers` to the samples are worth.
    pub(super) fn scores(&self, interface: &Interface, answers: &[Answers]) -> Scores {
        let of = |(name, truth): &(String, Tensor)| {
            let output = interface.outputs.iter().find(|output| output.name == *name);
            let output = output.ok_or_else(|| Error::failed(format!("output `{name}` is not gated")));
            (name.clone(), output.and_then(|output| labelled::score(output, answers, truth)))
        };
        self.truths.iter().map(of).collect()
    }
}

/// The checks of a cell whose labelled answers are worth `scores`, the reference's `reference`, one an output; each is also said
/// beside what was found of the output. `points` is what a cell may lose where the manifest says nothing.
pub(super) fn judge(
    manifest: &Manifest,
    interface: &Interface,
    scores: &Scores,
    reference: Option<&Scores>,
    points: f64,
    findings: &mut [OutputFinding],
) -> Vec<CheckResult> {
    let missing = Error::invalid("the reference did not answer the labelled samples");
    let mut checks = Vec::new();
    for (name, cell) in scores {
        let of_reference = reference.and_then(|scores| scores.iter().find(|(known, _)| known == name));
        let of_reference = of_reference.map_or(Err(&missing), |(_, scored)| scored.as_ref());
        let Some(output) = interface.outputs.iter().find(|output| output.name == *name) else { continue };
        let check = match (of_reference, cell) {
            (Ok(reference), Ok(cell)) => labelled::judge(name, cell, reference, &manifest.accuracy_of(output), points),
            // What the reference cannot be asked judges nobody.
            (Err(error), _) => unmade(name, Status::Invalid, error),
            (Ok(_), Err(error)) => {
                unmade(name, if error.kind == ErrorKind::Input { Status::Invalid } else { Status::Fail }, error)
            }
        };
        if let Some(found) = findings.iter_mut().find(|found| found.output == *name) {
            let said = check.detail.strip_prefix(&format!("output `{name}`: ")).unwrap_or(&check.detail);
            found.detail.push_str(&format!("; by labels {said}"));
        }
        checks.push(check);
    }
    checks
}

/// The rules of the reference itself.
pub(super) fn rules(manifest: &Manifest, interface: &Interface, reference: &Scores) -> Vec<CheckResult> {
    let of = |(name, scored): &(String, Result<Scored>)| {
        let output = interface.outputs.iter().find(|output| output.name == *name)?;
        Some(match scored {
            Ok(scored) => labelled::judge_reference(name, scored, &manifest.accuracy_of(output)),
            Err(error) => unmade(name, Status::Invalid, error),
        })
    };
    reference.iter().filter_map(of).collect()
}

fn unmade(name: &str, status: Status, error: &Error) -> CheckResult {
    labelled::check(status, format!("output `{name}`: by labels: {error}"))
}
