//! Inputs and outputs as they are written, and labels.

use std::collections::BTreeSet;

use super::Subject;
use crate::files;
use crate::repository::config::{OPEN, Reshape, TensorConfig, chunks};
use crate::repository::finding::Sink;
use crate::repository::rule::{Rule, Verdict};

/// Dimensions of images.
const IMAGE: usize = 3;

pub(super) fn check(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let config = subject.config;
    // Where nothing is written all is filled in, which another rule tells.
    if !config.is_empty {
        if config.inputs.is_empty() {
            sink.whole(
                Rule::InputMissing,
                Verdict::Accepted,
                "no `input` is written",
                "write every input of the model",
            );
        }
        if config.outputs.is_empty() {
            sink.whole(
                Rule::OutputMissing,
                Verdict::Accepted,
                "no `output` is written",
                "write the outputs that are asked for",
            );
        }
    }
    for (role, tensors) in [("input", &config.inputs), ("output", &config.outputs)] {
        let mut names = BTreeSet::new();
        for tensor in tensors {
            let Some(name) = &tensor.name else {
                let fix = "write `name`, as the model's file has it";
                sink.at(Rule::TensorName, Verdict::Refused, &tensor.span, format!("an `{role}` has no name"), fix);
                continue;
            };
            if !names.insert(&name.value) {
                let message = format!("the {role} `{}` is written twice", name.value);
                sink.at(Rule::TensorTwice, Verdict::Accepted, &name.span, message, "keep one of them");
            }
            one(subject, tensor, sink);
        }
    }
    config.outputs.iter().for_each(|output| labels(subject, output, sink));
}

fn one(subject: &Subject<'_>, tensor: &TensorConfig, sink: &mut Sink<'_>) {
    let shown = tensor.shown();
    if tensor.data_type.is_none() {
        let fix = "write `data_type: TYPE_FP32`, or the type that it has";
        sink.at(Rule::DataTypeMissing, Verdict::Refused, &tensor.span, format!("{shown} has no data type"), fix);
    }
    if tensor.dims.is_empty() {
        let fix = "write `dims` without the batch; of one value a sample, `dims: [ 1 ]` with `reshape { shape: [ ] }`";
        sink.at(Rule::DimsMissing, Verdict::Refused, &tensor.span, format!("{shown} has no dims"), fix);
    }
    let shapes = tensor.dims.iter().chain(tensor.reshape.iter().flat_map(|reshape| &reshape.shape));
    for dim in shapes.filter(|dim| dim.value < 1 && dim.value != OPEN) {
        let message = format!("{shown} has a dimension of {}", dim.value);
        sink.at(Rule::DimInvalid, Verdict::Refused, &dim.span, message, "write a size, or -1 for an open one");
    }
    if let Some(format) = &tensor.format {
        let message = format!("{shown} has {} dims, and `{}` is of {IMAGE}", tensor.dims.len(), format.value);
        if tensor.dims.len() != IMAGE {
            sink.at(
                Rule::FormatDims,
                Verdict::Refused,
                &format.span,
                message,
                "take `format` out, or write height, width and channels",
            );
        } else {
            let message = format!("`{}` of {shown} changes nothing in the data", format.value);
            let fix = "take it out, and feed what the model's file takes: nothing is transposed";
            sink.at(Rule::FormatUnused, Verdict::Accepted, &format.span, message, fix);
        }
    }
    if let Some(reshape) = &tensor.reshape {
        reshaped(subject, tensor, reshape, sink);
    }
    if !subject.backend.is_tensorrt() {
        for only in &tensor.tensorrt_only {
            let message = format!("`{}` of {shown}: the backend is `{}`", only.value, subject.backend);
            sink.at(Rule::TensorRtOnly, Verdict::Refused, &only.span, message, "take it out");
        }
    }
}

fn reshaped(subject: &Subject<'_>, tensor: &TensorConfig, reshape: &Reshape, sink: &mut Sink<'_>) {
    let shown = tensor.shown();
    let (dims, shape) = (chunks(&tensor.dims), chunks(&reshape.shape));
    if dims != shape {
        let message = format!("dims and reshape of {shown} hold different numbers of elements");
        let fix = "write a shape of as many elements, with the open dimensions in the same order";
        sink.at(Rule::ReshapeSize, Verdict::Refused, &reshape.span, message, fix);
    } else if reshape.shape.is_empty() && subject.config.max_batch() == 0 {
        let message = format!("{shown} is reshaped to nothing, and the model has no batch");
        sink.at(
            Rule::ReshapeSize,
            Verdict::Refused,
            &reshape.span,
            message,
            "write the shape that the model's file has",
        );
    }
}

fn labels(subject: &Subject<'_>, output: &TensorConfig, sink: &mut Sink<'_>) {
    let Some(written) = &output.labels else { return };
    let text = match files::read_text(&subject.folder.path.join(&written.value), files::TEXT) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("the labels `{}` cannot be read: {error}", written.value);
            let fix = format!("put the file into `{}/`, a label a line", subject.folder.name);
            return sink.at(Rule::LabelsMissing, Verdict::Refused, &written.span, message, fix);
        }
    };
    let classes = output.dims.iter().try_fold(1_usize, |all, dim| all.checked_mul(usize::try_from(dim.value).ok()?));
    let (Some(classes), count) = (classes.filter(|classes| *classes > 0), text.lines().count()) else { return };
    let message = format!("`{}` has {count} labels, and {} has {classes} values", written.value, output.shown());
    let fix = "write one label a line, in the order of the classes";
    if count < classes {
        sink.at(Rule::LabelsShort, Verdict::Accepted, &written.span, message, fix);
    } else if count > classes {
        sink.at(Rule::LabelsLong, Verdict::Accepted, &written.span, message, fix);
    }
}
