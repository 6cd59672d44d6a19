//! Inputs and outputs against those of the ONNX file: what the core never sees, and the backend or nobody refuses.

use super::{Served, Subject};
use crate::repository::artifact::{Border, Facts, TensorFact, data_type, dims_text};
use crate::repository::config::TensorConfig;
use crate::repository::finding::Sink;
use crate::repository::node::nearest;
use crate::repository::rule::{Rule, Verdict};

pub(super) fn check(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for served in subject.served {
        match &served.facts {
            Facts::Onnx(border) => held(subject, served, border, sink),
            Facts::Plan(_) | Facts::Unseen(_) => {}
        }
    }
    let seen = subject.served.iter().any(|served| matches!(served.facts, Facts::Onnx(_)));
    if !seen {
        likely(subject, sink);
    }
}

fn held(subject: &Subject<'_>, served: &Served, border: &Border, sink: &mut Sink<'_>) {
    let config = subject.config;
    if config.is_empty {
        return;
    }
    for (role, written, known) in
        [("input", &config.inputs, &border.inputs), ("output", &config.outputs, &border.outputs)]
    {
        for tensor in written {
            let Some(name) = &tensor.name else { continue };
            match known.iter().find(|fact| fact.name == name.value) {
                Some(fact) => fits(subject, served, tensor, fact, sink),
                None => {
                    let names = || known.iter().map(|fact| fact.name.as_str());
                    let (rule, near) = (
                        if role == "input" { Rule::InputUnknown } else { Rule::OutputUnknown },
                        nearest(&name.value, names()),
                    );
                    let fix = near.map_or_else(
                        || format!("it has {}", names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
                        |near| format!("write `{near}`"),
                    );
                    let message = format!("`{}` has no {role} `{}`", served.shown, name.value);
                    sink.at(rule, Verdict::Refused, &name.span, message, fix);
                }
            }
        }
    }
    if config.inputs.is_empty() || config.adds_inputs {
        return;
    }
    let fed = |fact: &&TensorFact| {
        config.inputs.iter().any(|input| input.name.as_ref().is_some_and(|name| name.value == fact.name))
    };
    for fact in border.inputs.iter().filter(|fact| !fed(fact)) {
        let message = format!("`{}` has an input `{}` that is not written", served.shown, fact.name);
        let kind = data_type(fact.element).unwrap_or("TYPE_…");
        let dims = fact
            .shape
            .as_deref()
            .map_or(&[][..], |shape| shape.get(usize::from(config.max_batch() > 0)..).unwrap_or_default());
        let fix = format!(
            "add `input {{ name: {:?} data_type: {kind} dims: {} }}`",
            fact.name,
            dims_text(dims.iter().copied())
        );
        sink.whole(Rule::InputUnfed, Verdict::Refused, message, fix);
    }
}

fn fits(subject: &Subject<'_>, served: &Served, tensor: &TensorConfig, fact: &TensorFact, sink: &mut Sink<'_>) {
    let shown = tensor.shown();
    if let Some(written) = &tensor.data_type {
        // The backend takes no brain floats.
        let known = data_type(fact.element).filter(|known| *known != "TYPE_BF16");
        if known.is_none() || written.value != known {
            let message = format!("{shown} is {} in `{}`", fact.element, served.shown);
            let fix = known.map_or_else(
                || "Triton has no type for it: convert the model's border".to_owned(),
                |known| format!("write `data_type: {known}`"),
            );
            sink.at(Rule::DataTypeDiffers, Verdict::Refused, &written.span, message, fix);
        }
    }
    let is_output = subject.config.outputs.iter().any(|output| std::ptr::eq(output, tensor));
    let together = tensor.is_ragged || (subject.config.scatters && is_output);
    if let Some(shape) = fact.shape.as_ref().filter(|_| !together) {
        shapes(subject, served, tensor, fact, shape, sink);
    }
}

/// Holds dims to a shape as the ONNX Runtime backend does: with a batch the graph's first size is open and the rest is the dims;
/// a size that is open in the graph may be any in the dims, not the other way.
fn shapes(
    subject: &Subject<'_>,
    served: &Served,
    tensor: &TensorConfig,
    fact: &TensorFact,
    shape: &[Option<i64>],
    sink: &mut Sink<'_>,
) {
    let (largest, dims, span, shown) =
        (subject.config.max_batch(), tensor.inner(), tensor.inner_span(), tensor.shown());
    if !tensor.is_sound() || largest < 0 {
        return;
    }
    let agree = |inner: &[Option<i64>]| {
        inner.len() == dims.len() && inner.iter().zip(&dims).all(|(known, dim)| known.is_none_or(|known| known == *dim))
    };
    let written = dims_text(dims.iter().copied().map(Some));
    let of_file = format!("`{}` has {}", served.shown, fact.shown());
    let without = || dims_text(shape.get(1..).unwrap_or_default().iter().copied());
    if largest == 0 {
        if agree(shape) {
            return;
        }
        if shape.first() == Some(&None) && shape.get(1..).is_some_and(agree) {
            let message =
                format!("{shown} is written without its batch, {written}, and `max_batch_size` is 0: {of_file}");
            let fix = format!("write `max_batch_size`, or the whole shape: `dims: {}`", fact.shown());
            return sink.at(Rule::BatchLeftOut, Verdict::Refused, &span, message, fix);
        }
        let message = format!("the shape of {shown} is written as {written}: {of_file}");
        return sink.at(Rule::DimsDiffer, Verdict::Refused, &span, message, format!("write `dims: {}`", fact.shown()));
    }
    match shape.first() {
        Some(None) if shape.get(1..).is_some_and(agree) => {}
        // One that has the batch among its dims: as long as the whole shape.
        Some(None) if tensor.reshape.is_none() && agree(shape) => {
            let message =
                format!("{shown} has the batch in its dims, {written}, and `max_batch_size` is {largest}: {of_file}");
            sink.at(Rule::BatchInDims, Verdict::Accepted, &span, message, format!("write `dims: {}`", without()));
        }
        Some(Some(fixed)) => {
            let message = format!("`max_batch_size` is {largest}, and {shown} has a fixed batch of {fixed}: {of_file}");
            let fix = format!(
                "write `max_batch_size: 0` and the whole shape, `dims: {}`, or export the model with an open batch",
                fact.shown()
            );
            let place = subject.config.max_batch_size.as_ref().map_or(span, |size| size.span.clone());
            sink.at(Rule::BatchFixed, Verdict::Refused, &place, message, fix);
        }
        Some(None) => {
            let message = format!("the dims of {shown} are {written}: {of_file}");
            sink.at(Rule::DimsDiffer, Verdict::Refused, &span, message, format!("write `dims: {}`", without()));
        }
        None => {
            let message =
                format!("{shown} has no dimension at all in `{}`, and `max_batch_size` is {largest}", served.shown);
            let fix = "write `max_batch_size: 0`";
            sink.at(Rule::DimsDiffer, Verdict::Refused, &span, message, fix);
        }
    }
}

/// What cannot be held to a file, and looks as if the batch were in the dims: every one begins with an open size.
fn likely(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let config = subject.config;
    let tensors = || config.inputs.iter().chain(&config.outputs);
    let open = |tensor: &TensorConfig| tensor.dims.len() > 1 && tensor.dims.first().is_some_and(|dim| dim.value == -1);
    if config.max_batch() > 0 && config.inputs.iter().any(open) && tensors().all(open) {
        let tensor = config.inputs.iter().find(|tensor| open(tensor));
        let span = tensor.map(TensorConfig::dims_span).unwrap_or_default();
        let message = "all dims begin with an open size: is it the batch, which `max_batch_size` puts before them?";
        sink.at(
            Rule::BatchInDims,
            Verdict::Note,
            &span,
            message,
            "take it out where it is; the model's file could not be looked at",
        );
    }
}
