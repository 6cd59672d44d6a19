//! Requests that a server makes by itself when it has loaded a model.

use super::Subject;
use crate::repository::config::{Warmup, WarmupInput};
use crate::repository::finding::Sink;
use crate::repository::rule::{Rule, Verdict};

pub(super) fn check(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    subject.config.warmups.iter().for_each(|warmup| one(subject, warmup, sink));
}

fn one(subject: &Subject<'_>, warmup: &Warmup, sink: &mut Sink<'_>) {
    let config = subject.config;
    // Without a batch a request is one sample.
    let largest = config.max_batch().max(1);
    if let Some(size) = warmup.batch_size.as_ref().filter(|size| size.value > largest) {
        let message = format!("a warmup of batch {}, and the largest is {largest}", size.value);
        sink.at(
            Rule::WarmupBatch,
            Verdict::Refused,
            &size.span,
            message,
            format!("write `batch_size` up to {largest}"),
        );
    }
    let named = |name: &str| warmup.inputs.iter().any(|input| input.name.value == name);
    for input in config.inputs.iter().filter(|input| !input.is_optional) {
        if let Some(name) = input.name.as_ref().filter(|name| !named(&name.value)) {
            let message = format!("the warmup has no data for the input `{}`", name.value);
            sink.at(
                Rule::WarmupInput,
                Verdict::Refused,
                &warmup.span,
                message,
                format!("add `inputs {{ key: \"{}\" … }}`", name.value),
            );
        }
    }
    warmup.inputs.iter().for_each(|input| of_input(subject, input, sink));
}

fn of_input(subject: &Subject<'_>, input: &WarmupInput, sink: &mut Sink<'_>) {
    let name = &input.name.value;
    let of_name = |named: &&crate::repository::config::TensorConfig| {
        named.name.as_ref().is_some_and(|known| known.value == *name)
    };
    let Some(configured) = subject.config.inputs.iter().find(of_name) else {
        let message = format!("the warmup feeds `{name}`, which is no input");
        return sink.at(Rule::WarmupInput, Verdict::Refused, &input.name.span, message, "name an input of the model");
    };
    let fits = |(dim, wanted): (&crate::repository::node::At<i64>, &crate::repository::node::At<i64>)| {
        wanted.value == -1 || wanted.value == dim.value
    };
    if input.dims.len() != configured.dims.len() || !input.dims.iter().zip(&configured.dims).all(fits) {
        let span = input.dims.first().map_or_else(|| input.span.clone(), |first| first.span.clone());
        let message = format!("the warmup's dims of `{name}` are not those of the input");
        sink.at(
            Rule::WarmupDims,
            Verdict::Refused,
            &span,
            message,
            "write the input's dims, with a size for each open one",
        );
    } else if let Some(open) = input.dims.iter().find(|dim| dim.value < 1) {
        let message = format!("the warmup's dims of `{name}` are open");
        sink.at(Rule::WarmupDims, Verdict::Refused, &open.span, message, "write a size for each open dimension");
    }
    let kinds = (
        input.data_type.as_ref().and_then(|kind| kind.value),
        configured.data_type.as_ref().and_then(|kind| kind.value),
    );
    if let (written, Some(wanted)) = kinds
        && written != Some(wanted)
    {
        let span = input.data_type.as_ref().map_or_else(|| input.span.clone(), |kind| kind.span.clone());
        let message = format!("the warmup feeds `{name}` in another type than {wanted}");
        sink.at(Rule::WarmupType, Verdict::Refused, &span, message, format!("write `data_type: {wanted}`"));
    }
    if !input.has_data {
        let message = format!("the warmup says no data for `{name}`");
        sink.at(
            Rule::WarmupData,
            Verdict::Refused,
            &input.span,
            message,
            "write `zero_data: true` or `random_data: true`",
        );
    }
    if let Some(file) = &input.file
        && !subject.folder.path.join("warmup").join(&file.value).exists()
    {
        let message = format!("`warmup/{}` is not there", file.value);
        sink.at(
            Rule::WarmupData,
            Verdict::Refused,
            &file.span,
            message,
            "put the file into the model's folder `warmup`",
        );
    }
}
