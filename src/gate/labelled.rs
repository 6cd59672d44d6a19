//! Labelled samples of a model of several inputs: what is fed, what each output should answer, and what the answers are worth.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::brought::border;
use crate::check::apart::Answers;
use crate::check::golden::LabelledFigure;
use crate::check::tasks::labelled::{self, Before, MayLose, Scored};
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
    /// The labels of outputs.
    truths: Vec<Truth>,
}

/// The labels of one output.
struct Truth {
    output: String,
    labels: Tensor,
    /// Digest of the samples and these labels.
    sha256: String,
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
                Some(labels) if labels.batch() == feeds.batch() => {
                    let sha256 = digest(&feeds, &labels);
                    truths.push(Truth { output: name.clone(), labels, sha256 });
                }
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
        self.truths.iter().map(|truth| (truth.output.clone(), Err(error.clone()))).collect()
    }

    /// What `answers` to the samples are worth.
    pub(super) fn scores(&self, interface: &Interface, answers: &[Answers]) -> Scores {
        let of = |Truth { output: name, labels, .. }: &Truth| {
            let output = interface.outputs.iter().find(|output| output.name == *name);
            let output = output.ok_or_else(|| Error::failed(format!("output `{name}` is not gated")));
            (name.clone(), output.and_then(|output| labelled::score(output, answers, labels)))
        };
        self.truths.iter().map(of).collect()
    }

    /// Whether `kept` is of these samples and labels.
    pub(super) fn is_data_of(&self, kept: &LabelledFigure) -> bool {
        self.truths.iter().any(|truth| truth.output == kept.output && truth.sha256 == kept.data_sha256)
    }

    /// What a golden keeps of the reference's `scores`: figures whose labels are not refused.
    pub(super) fn figures(&self, scores: &Scores) -> Vec<LabelledFigure> {
        let of = |(output, scored): &(String, Result<Scored>)| {
            let scored = scored.as_ref().ok().filter(|scored| scored.refused.is_none())?;
            let truth = self.truths.iter().find(|truth| truth.output == *output)?;
            Some(LabelledFigure {
                output: output.clone(),
                name: scored.name.to_owned(),
                value: scored.value,
                data_sha256: truth.sha256.clone(),
            })
        };
        scores.iter().filter_map(of).collect()
    }

    /// The rules of the reference itself, whose answers are worth `scores`: the limits of the manifest, and the figures that the
    /// golden keeps.
    pub(super) fn rules(
        &self,
        manifest: &Manifest,
        interface: &Interface,
        scores: &Scores,
        kept: &[LabelledFigure],
    ) -> Vec<CheckResult> {
        let of = |(name, scored): &(String, Result<Scored>)| {
            let output = interface.outputs.iter().find(|output| output.name == *name)?;
            let truth = self.truths.iter().find(|truth| truth.output == *name)?;
            let scored = match scored {
                Ok(scored) => scored,
                Err(error) => return Some(unmade(name, Status::Invalid, error)),
            };
            let before = kept.iter().find(|figure| figure.output == *name).map(|figure| Before {
                value: figure.value,
                same_data: figure.data_sha256 == truth.sha256 && figure.name == scored.name,
            });
            Some(labelled::judge_reference(name, scored, &manifest.accuracy_of(output), before))
        };
        scores.iter().filter_map(of).collect()
    }
}

/// Digest of samples and the labels of an output, whatever file they come in.
fn digest(feeds: &Feeds, labels: &Tensor) -> String {
    let mut hash = Sha256::new();
    for tensor in feeds.tensors() {
        hash.update(format!("{} {} {:?}\n", tensor.name, tensor.element_type(), tensor.shape));
        hash.update(tensor.values.encode());
    }
    // Labels are whole numbers or corners, in whatever type.
    hash.update(format!("{:?}\n", labels.shape));
    labels.values.to_f64().iter().for_each(|value| hash.update(value.to_le_bytes()));
    hex::encode(hash.finalize())
}

/// The checks of a cell whose labelled answers are worth `scores`, the reference's `reference`, one an output; each is also said
/// beside what was found of the output. `ladder` is what a cell may lose where the manifest says nothing.
pub(super) fn judge(
    manifest: &Manifest,
    interface: &Interface,
    scores: &Scores,
    reference: Option<&Scores>,
    ladder: MayLose,
    findings: &mut [OutputFinding],
) -> Vec<CheckResult> {
    let missing = Error::invalid("the reference did not answer the labelled samples");
    let mut checks = Vec::new();
    for (name, cell) in scores {
        let of_reference = reference.and_then(|scores| scores.iter().find(|(known, _)| known == name));
        let of_reference = of_reference.map_or(Err(&missing), |(_, scored)| scored.as_ref());
        let Some(output) = interface.outputs.iter().find(|output| output.name == *name) else { continue };
        let check = match (of_reference, cell) {
            (Ok(reference), Ok(cell)) => labelled::judge(name, cell, reference, &manifest.accuracy_of(output), ladder),
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

fn unmade(name: &str, status: Status, error: &Error) -> CheckResult {
    labelled::check(status, format!("output `{name}`: by labels: {error}"))
}

#[cfg(test)]
mod tests;
