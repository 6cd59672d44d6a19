//! Ensembles: steps held to the models beside them, tensors to each other, as Triton's core does when it loads one, and beyond that
//! where it loads what no request gets through.

use std::collections::{BTreeMap, BTreeSet};

use super::Subject;
use crate::repository::config::{Config, EnsembleStep, TensorConfig};
use crate::repository::finding::Sink;
use crate::repository::node::{At, nearest};
use crate::repository::platform::ENSEMBLE;
use crate::repository::rule::{Rule, Verdict};

/// What of an ensemble was not held to anything.
pub(in crate::repository) fn unchecked(config: &Config, models: &BTreeMap<String, Option<Config>>) -> Vec<String> {
    let mut unknown = BTreeSet::new();
    for step in config.steps.iter().flatten() {
        let Some(model) = &step.model else { continue };
        // One that is not there is a finding.
        let Some(found) = models.get(&model.value) else { continue };
        if found.as_ref().is_none_or(|found| found.inputs.is_empty() || found.outputs.is_empty()) {
            unknown.insert(format!(
                "`ensemble_scheduling`: `{}` is a step, and its configuration does not say its inputs and outputs",
                model.value
            ));
        }
    }
    unknown.into_iter().collect()
}

pub(super) fn check(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let config = subject.config;
    let is_platform = subject.backend.platform == ENSEMBLE;
    let Some(steps) = &config.steps else {
        if is_platform {
            let fix = "write `ensemble_scheduling { step [ … ] }`, or the platform of the model's file";
            sink.whole(Rule::EnsembleStep, Verdict::Refused, "an ensemble without `ensemble_scheduling`", fix);
        }
        return;
    };
    if !is_platform {
        let fix = "write `platform: \"ensemble\"`, or take `ensemble_scheduling` out";
        let message = "`ensemble_scheduling` is of a model whose platform is not `ensemble`";
        sink.whole(Rule::PlatformMismatch, Verdict::Refused, message, fix);
    }
    if steps.is_empty() {
        let fix = "write a step a model, with its `input_map` and `output_map`";
        sink.whole(Rule::EnsembleStep, Verdict::Refused, "`ensemble_scheduling` has no step", fix);
    }
    if let Some(group) = config.groups.first() {
        let message = "an ensemble has no `instance_group`: its steps have";
        sink.at(Rule::EnsembleStep, Verdict::Refused, &group.span, message, "take it out");
    }
    steps.iter().for_each(|step| one(subject, step, sink));
    flow(config, steps, sink);
    shapes(subject, steps, sink);
}

/// One step, beside the model that it names.
fn one(subject: &Subject<'_>, step: &EnsembleStep, sink: &mut Sink<'_>) {
    let Some(model) = &step.model else {
        let fix = "write `model_name`";
        return sink.at(Rule::EnsembleStep, Verdict::Refused, &step.span, "a step names no model", fix);
    };
    for (map, name) in [(&step.inputs, "input_map"), (&step.outputs, "output_map")] {
        if map.is_empty() {
            let message = format!("the step of `{}` has no `{name}`", model.value);
            let fix = format!("write `{name} {{ key: \"…\" value: \"…\" }}`: the model's tensor, and the ensemble's");
            sink.at(Rule::EnsembleMap, Verdict::Refused, &step.span, message, fix);
        }
        for (key, value) in map.iter().filter(|(_, value)| value.value.is_empty()) {
            let message = format!("`{}` of `{}` is mapped to no tensor", key.value, model.value);
            sink.at(
                Rule::EnsembleMap,
                Verdict::Refused,
                &value.span,
                message,
                "write the ensemble's tensor as `value`",
            );
        }
    }
    if step.version.is_none() && !is_there(subject, &model.value, 0) {
        let message = format!("the step of `{}` asks for version 0, since it names none", model.value);
        let fix = "write `model_version: -1` for the newest";
        sink.at(Rule::EnsembleStep, Verdict::Refused, &step.span, message, fix);
    }
    let Some(found) = subject.models.get(&model.value) else {
        let message = format!("the step's model `{}` is not in this repository", model.value);
        let near = nearest(&model.value, subject.models.keys().map(String::as_str));
        let fix = near.map_or_else(|| "put the model beside the ensemble".to_owned(), |near| format!("write `{near}`"));
        return sink.at(Rule::EnsembleStep, Verdict::Refused, &model.span, message, fix);
    };
    if reaches(subject, &model.value) {
        let fix = "name the model that the step is for";
        return sink.at(Rule::EnsembleStep, Verdict::Refused, &model.span, "the ensemble is a step of itself", fix);
    }
    if let Some(version) = step.version.as_ref().filter(|version| version.value >= 0)
        && !is_there(subject, &model.value, version.value)
    {
        let message = format!("`{}` has no version {}", model.value, version.value);
        let fix = "write `model_version: -1` for the newest, or the version that is there";
        sink.at(Rule::EnsembleStep, Verdict::Refused, &version.span, message, fix);
    }
    let Some(found) = found else { return };
    batch(subject.config, found, model, sink);
    mapped("input", &step.inputs, &found.inputs, model, sink);
    mapped("output", &step.outputs, &found.outputs, model, sink);
    if found.inputs.is_empty() {
        return;
    }
    let fed: BTreeSet<&str> = step.inputs.iter().map(|(key, _)| key.value.as_str()).collect();
    for input in found.inputs.iter().filter(|input| !input.is_optional) {
        if let Some(name) = input.name.as_ref().filter(|name| !fed.contains(name.value.as_str())) {
            let message = format!("the input `{}` of `{}` is fed by nothing", name.value, model.value);
            let fix = format!("write `input_map {{ key: \"{}\" value: \"…\" }}`", name.value);
            sink.at(Rule::EnsembleMap, Verdict::Refused, &step.span, message, fix);
        }
    }
}

/// Whether `model` is the ensemble, or an ensemble that has it as a step.
fn reaches(subject: &Subject<'_>, model: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![model]);
    while let Some(name) = next.pop() {
        if name == subject.folder.name {
            return true;
        }
        if seen.insert(name) {
            let steps = subject.models.get(name).and_then(Option::as_ref).and_then(|found| found.steps.as_ref());
            next.extend(steps.into_iter().flatten().filter_map(|step| Some(step.model.as_ref()?.value.as_str())));
        }
    }
    false
}

/// Whether the folder of a version is there; a policy may leave it out all the same.
fn is_there(subject: &Subject<'_>, model: &str, version: i64) -> bool {
    let repository = subject.folder.path.parent();
    repository.is_none_or(|repository| repository.join(model).join(version.to_string()).is_dir())
}

/// Tensors of a map that the model does not have.
fn mapped(
    role: &str,
    map: &[(At<String>, At<String>)],
    tensors: &[TensorConfig],
    model: &At<String>,
    sink: &mut Sink<'_>,
) {
    let names = || tensors.iter().filter_map(|tensor| tensor.name.as_ref()).map(|name| name.value.as_str());
    let known: BTreeSet<&str> = names().collect();
    for (key, _) in map.iter().filter(|(key, _)| !known.is_empty() && !known.contains(key.value.as_str())) {
        let message = format!("`{}` has no {role} `{}`", model.value, key.value);
        let fix = match nearest(&key.value, names()) {
            Some(near) => format!("write `key: \"{near}\"`"),
            None => format!(
                "its {role}s are {}",
                names().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        sink.at(Rule::EnsembleMap, Verdict::Refused, &key.span, message, fix);
    }
}

/// The batches of an ensemble beside those of a step.
fn batch(config: &Config, found: &Config, model: &At<String>, sink: &mut Sink<'_>) {
    let (whole, part) = (config.max_batch(), found.max_batch());
    if part > 0 && whole > part {
        let message = format!("the ensemble takes batches of up to {whole}, and `{}` of up to {part}", model.value);
        let fix = format!("write `max_batch_size: {part}`, or a larger one for the step");
        sink.at(Rule::EnsembleBatch, Verdict::Refused, &model.span, message, fix);
    }
}

/// Each tensor is made once, before it is used, and all that is made or given is used.
fn flow(config: &Config, steps: &[EnsembleStep], sink: &mut Sink<'_>) {
    let names = |tensors: &[TensorConfig]| -> Vec<At<String>> {
        tensors.iter().filter_map(|tensor| tensor.name.clone()).collect()
    };
    let (given, wanted) = (names(&config.inputs), names(&config.outputs));
    let texts = |names: &[At<String>]| names.iter().map(|name| name.value.clone()).collect::<BTreeSet<String>>();
    let (is_given, is_wanted) = (texts(&given), texts(&wanted));
    let used: BTreeSet<&str> =
        steps.iter().flat_map(|step| &step.inputs).map(|(_, value)| value.value.as_str()).collect();
    let mut made: BTreeSet<&str> = BTreeSet::new();
    for (_, value) in steps.iter().flat_map(|step| &step.outputs).filter(|(_, value)| !value.value.is_empty()) {
        let name = value.value.as_str();
        if is_given.contains(name) {
            let message = format!("a step makes `{name}`, which is an input of the ensemble");
            let fix = "give the step's output a name of its own";
            sink.at(Rule::EnsembleFlow, Verdict::Accepted, &value.span, message, fix);
        } else if !made.insert(name) {
            let message = format!("`{name}` is made by two steps");
            sink.at(Rule::EnsembleFlow, Verdict::Refused, &value.span, message, "give one of them another name");
        } else if !used.contains(name) && !is_wanted.contains(name) {
            let message = format!("nothing uses `{name}`");
            let fix = "take it out of `output_map`, or write it as an `output` of the ensemble";
            sink.at(Rule::EnsembleFlow, Verdict::Refused, &value.span, message, fix);
        }
    }
    for given in given.iter().filter(|given| !used.contains(given.value.as_str())) {
        let message = format!("no step uses the input `{}`", given.value);
        let fix = format!("map it in a step: `input_map {{ key: \"…\" value: \"{}\" }}`", given.value);
        sink.at(Rule::EnsembleFlow, Verdict::Refused, &given.span, message, fix);
    }
    let there = reached(&given, steps);
    let of_steps = steps.iter().flat_map(|step| &step.inputs).filter(|(_, value)| !value.value.is_empty());
    for (_, value) in of_steps.filter(|(_, value)| !there.contains(value.value.as_str())) {
        let message = format!("`{}` is there for no step: none before makes it", value.value);
        let fix = "map an output of a step before, or an input of the ensemble";
        sink.at(Rule::EnsembleFlow, Verdict::Refused, &value.span, message, fix);
    }
    for wanted in
        wanted.iter().filter(|wanted| !made.contains(wanted.value.as_str()) && !is_given.contains(&wanted.value))
    {
        let message = format!("no step makes the output `{}`", wanted.value);
        let fix = format!("map it in a step: `output_map {{ key: \"…\" value: \"{}\" }}`", wanted.value);
        sink.at(Rule::EnsembleFlow, Verdict::Refused, &wanted.span, message, fix);
    }
}

/// The tensors that are there in the end: what is given, and what steps make that are fed whole.
fn reached<'a>(given: &'a [At<String>], steps: &'a [EnsembleStep]) -> BTreeSet<&'a str> {
    let mut waiting: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut missing: Vec<usize> = Vec::with_capacity(steps.len());
    for (number, step) in steps.iter().enumerate() {
        let inputs: BTreeSet<&str> = step.inputs.iter().map(|(_, value)| value.value.as_str()).collect();
        missing.push(inputs.len());
        inputs.into_iter().for_each(|input| waiting.entry(input).or_default().push(number));
    }
    let mut there = BTreeSet::new();
    let mut next: Vec<&str> = given.iter().map(|given| given.value.as_str()).collect();
    while let Some(name) = next.pop() {
        if !there.insert(name) {
            continue;
        }
        for number in waiting.remove(name).unwrap_or_default() {
            let (Some(missing), Some(step)) = (missing.get_mut(number), steps.get(number)) else { continue };
            *missing -= 1;
            if *missing == 0 {
                next.extend(step.outputs.iter().map(|(_, value)| value.value.as_str()));
            }
        }
    }
    there
}

/// A place where a tensor of the ensemble has a type and a shape.
struct Seen<'a> {
    model: &'a str,
    batches: bool,
    tensor: &'a TensorConfig,
}

impl Seen<'_> {
    /// With the batch in front, as the core compares them.
    fn shape(&self) -> Vec<i64> {
        let batch = self.batches.then_some(-1);
        batch.into_iter().chain(self.tensor.dims.iter().map(|dim| dim.value)).collect()
    }
}

/// Every place of a tensor has its type, and shapes that go together.
fn shapes(subject: &Subject<'_>, steps: &[EnsembleStep], sink: &mut Sink<'_>) {
    let config = subject.config;
    let mut first: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
    let own = subject.folder.name.as_str();
    for tensor in config.inputs.iter().chain(&config.outputs) {
        if let Some(name) = &tensor.name {
            first.entry(&name.value).or_insert(Seen { model: own, batches: config.max_batch() > 0, tensor });
        }
    }
    for step in steps {
        let Some(model) = &step.model else { continue };
        let Some(Some(found)) = subject.models.get(&model.value) else { continue };
        let inputs = step.inputs.iter().map(|map| (map, &found.inputs));
        for ((key, value), tensors) in inputs.chain(step.outputs.iter().map(|map| (map, &found.outputs))) {
            let named = |tensor: &&TensorConfig| tensor.name.as_ref().is_some_and(|name| name.value == key.value);
            let Some(tensor) = tensors.iter().find(named) else { continue };
            let here = Seen { model: &model.value, batches: found.max_batch() > 0, tensor };
            match first.get(value.value.as_str()) {
                Some(there) => beside(&value.value, there, &here, value, sink),
                None => {
                    first.insert(&value.value, here);
                }
            }
        }
    }
}

fn beside(name: &str, one: &Seen<'_>, other: &Seen<'_>, at: &At<String>, sink: &mut Sink<'_>) {
    let kind = |seen: &Seen<'_>| seen.tensor.data_type.as_ref().and_then(|kind| kind.value);
    if let (Some(here), Some(there)) = (kind(one), kind(other))
        && here != there
    {
        let message = format!("`{name}` is {here} in `{}` and {there} in `{}`", one.model, other.model);
        let fix = "map a tensor of the same type, or write the type that both have";
        return sink.at(Rule::EnsembleTensor, Verdict::Refused, &at.span, message, fix);
    }
    let (here, there) = (one.shape(), other.shape());
    let fits = |here: &[i64], there: &[i64]| {
        here.len() == there.len() && here.iter().zip(there).all(|(&one, &other)| one == other || one < 0 || other < 0)
    };
    let fix = "write the sizes that both have, `max_batch_size` standing for a first one that is open";
    let message = format!("`{name}` is {here:?} in `{}` and {there:?} in `{}`", one.model, other.model);
    if fits(&here, &there) {
        return;
    }
    // Where one of them has a batch and the other none the core compares what is behind it, and no request gets through.
    let dims = |seen: &Seen<'_>| seen.tensor.dims.iter().map(|dim| dim.value).collect::<Vec<_>>();
    let loads = one.batches != other.batches && fits(&dims(one), &dims(other));
    let verdict = if loads { Verdict::Accepted } else { Verdict::Refused };
    sink.at(if loads { Rule::EnsembleBatch } else { Rule::EnsembleTensor }, verdict, &at.span, message, fix);
}
