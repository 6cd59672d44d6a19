//! What a model of several inputs is fed: samples made by value kind, or the team's own, with the answers that are expected of them.

use super::values::plans;
use crate::check::apart::Answers;
use crate::data::brought::{self, Border, BorderInput, BorderOutput};
use crate::data::feeds;
use crate::error::{Error, Result};
use crate::findings::verdict::plural;
use crate::findings::{CheckResult, OutputFinding};
use crate::manifest::Manifest;
use crate::manifest::interface::Interface;
use crate::tensor::{BatchAxis, Feeds, Signature};
use crate::vocabulary::{ShapePoint, Status};

/// What is fed at each point of open shapes.
pub(super) struct Fed {
    /// One for each point.
    pub(super) feeds: Vec<Feeds>,
    /// What the model's authors expect of these samples, where they say it.
    pub(super) expected: Option<Expected>,
    /// What a reader should know, one sentence each.
    pub(super) notes: Vec<String>,
}

/// The answers that a model's authors expect.
pub(super) struct Expected {
    /// Where they stand, for people.
    pub(super) place: String,
    /// The answers, in the order of [`Interface::read_outputs`].
    pub(super) answers: Vec<Answers>,
}

/// What the manifest says that is fed.
///
/// # Errors
/// Those of making or reading the samples; `Usage` where samples of one shape are brought to several.
pub(super) fn of(
    manifest: &Manifest,
    interface: &Interface,
    signature: &Signature,
    points: &[Option<ShapePoint>],
) -> Result<Fed> {
    let probes = &manifest.probes;
    let Some(data) = &probes.data else {
        let make = |point: &Option<ShapePoint>| {
            feeds::make(&plans(interface, signature, point.as_ref())?, probes.seed, probes.count)
        };
        let feeds = points.iter().map(make).collect::<Result<_>>()?;
        return Ok(Fed { feeds, expected: None, notes: Vec::new() });
    };
    if points.len() > 1 {
        return Err(Error::usage(format!(
            "samples of `{}` have one shape, and `[shapes]` names several",
            data.display()
        ))
        .hint("name one size for each of `[shapes]`, or let the samples be made: leave `data` out"));
    }
    let border = border(interface, signature)?;
    let found = brought::read(data, probes.expected.as_deref(), &border)?;
    let least = manifest.batches.iter().max().map_or(1, |batch| *batch as usize);
    let total = found.feeds.batch();
    let rows = brought::spread(total, probes.count, least);
    let mut notes = found.notes;
    let place = data.display();
    notes.push(match (rows.len(), total) {
        (taken, total) if taken > total => format!(
            "{} of `{place}`, taken again until they fill a batch of {least}: few say little",
            plural(total, "sample")
        ),
        (taken, total) if taken < total => format!("{taken} of {total} samples of `{place}`, evenly spread"),
        (taken, _) => format!("{} of `{place}`", plural(taken, "sample")),
    });
    let expected = if found.expected.is_empty() {
        None
    } else {
        let place = probes.expected.as_deref().unwrap_or(data);
        Some(Expected {
            place: place.display().to_string(),
            answers: answers(&border, interface, &found.expected, &rows)?,
        })
    };
    Ok(Fed { feeds: vec![found.feeds.samples(rows.into_iter())?], expected, notes })
}

/// How the model's own tensors are taken apart.
pub(super) fn border(interface: &Interface, signature: &Signature) -> Result<Border> {
    let inputs = plans(interface, signature, None)?.into_iter().map(|plan| {
        let fed = interface.inputs.iter().find(|fed| fed.name == plan.name);
        BorderInput { axis: fed.map_or_else(BatchAxis::default, |fed| fed.batch_axis), plan }
    });
    let read = interface.read_outputs();
    let outputs = signature.outputs.iter().map(|output| BorderOutput {
        name: output.name.clone(),
        axis: interface.output_axis(&output.name),
        read: read.contains(&output.name.as_str()),
    });
    Ok(Border { inputs: inputs.collect(), outputs: outputs.collect() })
}

/// The expected answers of `rows`, in the order in which answers are looked at.
fn answers(
    border: &Border,
    interface: &Interface,
    expected: &[Vec<crate::tensor::Tensor>],
    rows: &[usize],
) -> Result<Vec<Answers>> {
    let names: Vec<&str> =
        border.outputs.iter().filter(|output| output.read).map(|output| output.name.as_str()).collect();
    let of = |name: &str| {
        let parts = names.iter().position(|known| *known == name).and_then(|place| expected.get(place));
        let parts = parts.ok_or_else(|| Error::input(format!("no answers are expected of output `{name}`")))?;
        Answers::of(rows.iter().filter_map(|&row| parts.get(row).cloned()).collect())
    };
    interface.read_outputs().into_iter().map(of).collect()
}

/// The samples at one point of shapes, and what is expected of them.
///
/// # Errors
/// As [`of`].
pub(super) fn of_one(
    manifest: &Manifest,
    interface: &Interface,
    signature: &Signature,
    point: Option<&ShapePoint>,
) -> Result<(Feeds, Option<Expected>)> {
    let fed = of(manifest, interface, signature, &[point.cloned()])?;
    let feeds = fed.feeds.into_iter().next().ok_or_else(|| Error::input("there is nothing to feed"))?;
    Ok((feeds, fed.expected))
}

/// Whether the reference answers what the model's authors expect, by what was found of its outputs beside theirs: one check, which
/// says the first output that is another.
pub(super) fn held(findings: &[OutputFinding], expected: &Expected) -> CheckResult {
    let failed = findings.iter().find(|found| found.status == Status::Fail);
    let worst = failed.or_else(|| findings.iter().find(|found| found.status != Status::Pass));
    let place = &expected.place;
    CheckResult {
        name: "expected-answers".to_owned(),
        status: worst.map_or(Status::Pass, |found| found.status),
        gating: true,
        detail: match worst {
            Some(found) => format!("not what its authors expect (`{place}`): {}", found.detail),
            None => format!("{} as its authors expect them (`{place}`)", plural(findings.len(), "output")),
        },
    }
}

#[cfg(test)]
mod tests;
