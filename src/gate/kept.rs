//! The golden of a model of several inputs: its samples and what the reference answered them, as they were accepted.

use std::path::Path;

use safetensors::Dtype;

use super::blessing::GoldenBlessing;
use super::brought;
use super::golden::{path_of, relative, stored};
use super::judging::{Answered, Asked, checks};
use super::labelled::{self, Labelled};
use super::open::OpenCell;
use super::proof::Itself;
use super::runs::interface::{Fed, read};
use super::runs::shelf::{ROOM, Shelf};
use super::samples::reference_cell;
use super::values::plans;
use super::workspace::Workspace;
use crate::check::apart::Answers;
use crate::check::golden::{Golden, Origin, Output, ProbeInput, Probes, Reading, Typed};
use crate::check::ladder::Ladder;
use crate::data::feeds::InputPlan;
use crate::digest::digest_bytes;
use crate::error::{Error, Result};
use crate::findings::verdict::plural;
use crate::manifest::interface::Interface;
use crate::tensor::{ElementType, Feeds, Tensor, Values};
use crate::vocabulary::{Status, Task};

/// A stored golden that fits the manifest.
pub(super) struct Kept {
    /// Its samples.
    pub(super) feeds: Feeds,
    /// The reference's answers to them then, in the order of [`Interface::read_outputs`].
    pub(super) answers: Vec<Answers>,
    /// Where it comes from.
    pub(super) origin: Origin,
}

/// The stored golden; `None` where there is none.
///
/// # Errors
/// An invalid one, where it cannot be read, or is of other inputs or outputs.
pub(super) fn of(workspace: &Workspace, interface: &Interface, inputs: &[InputPlan]) -> Result<Option<Kept>> {
    let path = path_of(&workspace.manifest);
    let Some(golden) = stored(&path)? else { return Ok(None) };
    let fitted = fitted(golden, interface, inputs).map_err(|error| {
        error
            .context(format!("golden `{}` does not fit the manifest", path.display()))
            .hint("`trtgate bless --force --reason TEXT` replaces it, where the change is intended")
    })?;
    Ok(Some(fitted))
}

fn fitted(golden: Golden, interface: &Interface, inputs: &[InputPlan]) -> Result<Kept> {
    let (mut samples, mut shared) = (Vec::new(), Vec::new());
    for input in inputs {
        let kept = golden.probes.inputs.iter().find(|kept| kept.name == input.name);
        let kept = kept.ok_or_else(|| Error::invalid(format!("it has no samples of input `{}`", input.name)))?;
        let [tensor] = kept.tensors.as_slice() else {
            return Err(Error::invalid(format!("its samples of input `{}` are not of one shape", input.name)));
        };
        let tensor = tensor_of(&input.name, tensor)?;
        let sample = if input.shared { tensor.shape.as_slice() } else { tensor.shape.get(1..).unwrap_or_default() };
        if tensor.element_type() != input.element_type || sample != input.sample {
            return Err(Error::invalid(format!(
                "its samples of input `{}` are {} {sample:?}, the manifest's {} {:?}",
                input.name,
                tensor.element_type(),
                input.element_type,
                input.sample
            )));
        }
        if input.shared { shared.push(tensor) } else { samples.push(tensor) }
    }
    let answered = |name: &str| {
        let output = golden.outputs.iter().find(|output| output.name == name);
        let output = output.ok_or_else(|| Error::invalid(format!("it has no answers of output `{name}`")))?;
        let tensors = output.tensors.iter().map(|tensor| tensor_of(name, tensor)).collect::<Result<Vec<_>>>()?;
        match (output.batch_axis, <[Tensor; 1]>::try_from(tensors)) {
            (Some(_), Ok([rows])) => Ok(Answers::Rows(rows)),
            (_, tensors) => Answers::of(tensors.map_or_else(|several| several, Vec::from)),
        }
    };
    let answers = interface.read_outputs().into_iter().map(answered).collect::<Result<Vec<_>>>()?;
    Ok(Kept { feeds: Feeds::new(samples, shared)?, answers, origin: golden.origin })
}

/// What accepting the reference's answers now would change; those to labelled `data` (or the manifest's) are held to its limits.
///
/// # Errors
/// If the reference does not run, or its model is gated at several shapes, of which no golden is kept yet.
pub(super) fn blessing(
    workspace: &Workspace,
    interface: &Interface,
    reason: &str,
    data: Option<&Path>,
) -> Result<GoldenBlessing> {
    let manifest = &workspace.manifest;
    if interface.points().len() > 1 {
        return Err(Error::unsupported("goldens of models at several shapes are not kept yet")
            .hint("name one size for each of `[shapes]`, or gate without a golden"));
    }
    let signature = workspace.signature()?;
    let labelled = Labelled::of(manifest, interface, signature, data)?;
    let inputs = plans(interface, signature, None)?;
    let path = path_of(manifest);
    let old = of(workspace, interface, &inputs);
    let (made, expected) = brought::of_one(manifest, interface, signature, None)?;
    let (feeds, expected) = match &old {
        Ok(Some(old)) if !workspace.fresh_probes => (old.feeds.clone(), expected.filter(|_| old.feeds == made)),
        _ => (made, expected),
    };
    let cell = reference_cell(manifest);
    let fed = Fed { workspace, interface, axes: interface.axes(), points: vec![(None, feeds)], labelled };
    let shelf = Shelf::new(workspace.store.root().to_owned(), ROOM);
    let answered = OpenCell::open(workspace, &cell).and_then(|mut open| {
        let ran = open.ask(workspace, &fed, &shelf)?;
        let scores = match (&fed.labelled, &ran.labelled) {
            (Some(labelled), Some(held)) => labelled.scores(interface, &read(interface, held)?),
            _ => Vec::new(),
        };
        Ok((Answered::of(&ran, interface)?, open.version().to_owned(), labelled::rules(manifest, interface, &scores)))
    });
    let (ran, version, rules) = answered.map_err(|error| error.context("the reference did not answer"))?;
    let [(_, feeds)] = fed.points.as_slice() else { return Err(Error::input("there is nothing to feed")) };
    let asked = Asked { interface, feeds };
    let ladder = Ladder::built_in()?;
    let itself = Itself::of(&manifest.model.source);
    let failing = |reference: &[Answers]| -> Result<Vec<String>> {
        let (checks, _) = checks(&ran, reference, &asked, &ladder, &cell, &itself)?;
        let failing = checks.into_iter().filter(|check| check.gating && check.status == Status::Fail);
        Ok(failing.map(|check| check.detail).collect())
    };
    // Beside itself nothing fails but what it contradicts itself in.
    let mut doubts = failing(&ran.outputs)?;
    let count = feeds.batch();
    if let Some(expected) = &expected {
        let (_, findings) = checks(&ran, &expected.answers, &asked, &ladder, &cell, &itself)?;
        let held = brought::held(&findings, expected);
        doubts.extend((held.status != Status::Pass).then_some(held.detail));
    }
    let mut lines: Vec<String> = rules.iter().map(|rule| format!("accuracy: {}", rule.detail)).collect();
    let fails = rules.iter().any(|rule| rule.status == Status::Fail);
    doubts.extend(rules.into_iter().filter(|rule| rule.status != Status::Pass).map(|rule| rule.detail));
    if manifest.wants_accuracy() && fed.labelled.is_none() {
        doubts.push(
            "the manifest wants accuracy judged, and no labelled data was given: name some with `--data`".to_owned(),
        );
    }
    let (mut first, mut changes, mut moved) = (false, true, false);
    match &old {
        Ok(None) => {
            first = true;
            lines.push(format!("new golden: {} of {}", plural(count, "sample"), plural(inputs.len(), "input")));
        }
        Ok(Some(old)) if workspace.fresh_probes => {
            lines.push(format!("other samples than those of {}: nothing was compared", old.origin.created));
            doubts.push("nothing was compared with the stored golden: its samples are left out".to_owned());
        }
        Ok(Some(old)) => {
            let differing = failing(&old.answers)?;
            moved = !differing.is_empty();
            changes = old.answers != ran.outputs || old.origin.model_sha256 != workspace.model_sha256;
            match (changes, moved) {
                (false, _) => lines.push(format!("{} are answered as before", plural(count, "sample"))),
                (true, false) => lines.push("the answers moved within FP32's limits".to_owned()),
                (true, true) => lines.extend(differing.into_iter().map(|detail| format!("moved: {detail}"))),
            }
        }
        Err(error) => {
            lines.push(format!("not comparable: {error}"));
            doubts.push(format!("nothing was compared: {}", error.message));
        }
    }
    let origin = Origin {
        model: manifest.model.name.clone(),
        model_sha256: workspace.model_sha256.clone(),
        manifest: relative(&manifest.path, &manifest.snapshots),
        runtime: cell.runtime,
        version,
        precision: cell.precision,
        trtgate: Some(env!("CARGO_PKG_VERSION").to_owned()),
        created: super::now(),
        reason: reason.to_owned(),
    };
    let golden = Golden { origin, outputs: outputs(&ran.outputs, interface)?, probes: probes(feeds)?, accuracy: None };
    golden.check()?;
    Ok(GoldenBlessing { path, golden, lines, changes, moved, doubts, fails, first })
}

fn outputs(answers: &[Answers], interface: &Interface) -> Result<Vec<Output>> {
    // What is read beside another output has no task of its own.
    let task = |name: &str| {
        let gated = interface.outputs.iter().find(|output| output.name == name);
        gated.map_or(Task::Values, |output| output.task.task())
    };
    let output = |answers: &Answers| {
        let (batch_axis, tensors) = match answers {
            Answers::Rows(rows) => (Some(0), vec![typed(rows)?]),
            Answers::Apart(parts) => (None, parts.iter().map(typed).collect::<Result<_>>()?),
        };
        let name = answers.name().to_owned();
        Ok(Output { task: task(&name), name, scores: None, batch_axis, tensors, leads: None })
    };
    answers.iter().map(output).collect()
}

fn probes(feeds: &Feeds) -> Result<Probes> {
    let mut bytes = Vec::new();
    let mut inputs = Vec::new();
    let with_samples = feeds.with_samples().iter().map(|tensor| (tensor, Some(0)));
    for (tensor, batch_axis) in with_samples.chain(feeds.shared().iter().map(|tensor| (tensor, None))) {
        bytes.extend(tensor.name.as_bytes());
        bytes.extend(tensor.values.encode());
        let (name, tensors) = (tensor.name.clone(), vec![typed(tensor)?]);
        inputs.push(ProbeInput { name, reading: Reading::Values, batch_axis, tensors });
    }
    let (sha256, count) = (digest_bytes(&bytes), feeds.batch());
    Ok(Probes { sha256, count, asked: None, seed: None, labels: None, inputs })
}

/// Element types as the file has them.
const TYPES: [(ElementType, Dtype); 13] = [
    (ElementType::Float32, Dtype::F32),
    (ElementType::Float16, Dtype::F16),
    (ElementType::Bfloat16, Dtype::BF16),
    (ElementType::Float64, Dtype::F64),
    (ElementType::Int8, Dtype::I8),
    (ElementType::Uint8, Dtype::U8),
    (ElementType::Int16, Dtype::I16),
    (ElementType::Uint16, Dtype::U16),
    (ElementType::Int32, Dtype::I32),
    (ElementType::Uint32, Dtype::U32),
    (ElementType::Int64, Dtype::I64),
    (ElementType::Uint64, Dtype::U64),
    (ElementType::Bool, Dtype::BOOL),
];

fn typed(tensor: &Tensor) -> Result<Typed> {
    let found = TYPES.iter().find(|(element, _)| *element == tensor.element_type());
    let (_, element) =
        found.ok_or_else(|| Error::unsupported(format!("`{}` cannot be kept in a golden", tensor.name)))?;
    Typed::new(*element, tensor.shape.clone(), tensor.values.encode())
}

fn tensor_of(name: &str, kept: &Typed) -> Result<Tensor> {
    let found = TYPES.iter().find(|(_, element)| *element == kept.element());
    let (element, _) = found.ok_or_else(|| Error::invalid(format!("`{name}` is of a type that no tensor holds")))?;
    Tensor::new(name, kept.shape().to_vec(), Values::decode(*element, kept.bytes())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_type_that_is_held_comes_back_with_every_bit() {
        for (element, _) in TYPES {
            let size = element.bytes().unwrap();
            let bytes: Vec<u8> = (0..6 * size)
                .map(|byte| if element == ElementType::Bool { byte as u8 & 1 } else { byte as u8 })
                .collect();
            let tensor = Tensor::new("x", vec![2, 3], Values::decode(element, &bytes).unwrap()).unwrap();
            let back = tensor_of("x", &typed(&tensor).unwrap()).unwrap();
            assert!(back.values.is_bit_equal(&tensor.values) && back.shape == tensor.shape, "{element}");
        }
        assert_eq!(TYPES.map(|(element, _)| element), ElementType::HELD);
    }
}
