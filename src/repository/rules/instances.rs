//! Where instances run.

use super::Subject;
use crate::repository::finding::Sink;
use crate::repository::rule::{Rule, Verdict};

pub(super) fn check(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let (config, backend) = (subject.config, subject.backend);
    if config.steps.is_some() || config.is_empty {
        return;
    }
    if config.groups.is_empty() && (backend.is_onnx() || backend.name == "tensorflow") {
        let message = "no `instance_group` is written";
        let fix = "write one with its count: `instance_group { kind: KIND_CPU count: 1 }`";
        sink.whole(Rule::InstancesDefault, Verdict::Note, message, fix);
    }
    for group in &config.groups {
        let on_gpu = group.kind == "KIND_GPU";
        if on_gpu && subject.options.no_gpu {
            let fix = "write `kind: KIND_CPU`, or serve it where a GPU is";
            sink.at(Rule::GpuMissing, Verdict::Refused, &group.span, "`KIND_GPU`, and the server has no GPU", fix);
        }
        if let (false, Some(gpu)) = (on_gpu || group.kind == "KIND_AUTO", group.gpus.first()) {
            let message = format!("`{}` names GPUs", group.kind);
            sink.at(
                Rule::GpusWithoutGpu,
                Verdict::Refused,
                &gpu.span,
                message,
                "take `gpus` out, or write `kind: KIND_GPU`",
            );
        }
        if backend.is_tensorrt() && group.kind == "KIND_CPU" {
            let fix = "write `kind: KIND_GPU`";
            sink.at(Rule::TensorRtOnCpu, Verdict::Refused, &group.span, "a TensorRT model on `KIND_CPU`", fix);
        }
        for profile in &group.profiles {
            if !backend.is_tensorrt() {
                let message = format!("`profile` is TensorRT's alone, and the backend is `{backend}`");
                sink.at(Rule::TensorRtOnly, Verdict::Refused, &profile.span, message, "take `profile` out");
            } else if profile.value.parse::<u32>().is_err() {
                let message = format!("`{}` is no number of a profile", profile.value);
                sink.at(
                    Rule::ProfileInvalid,
                    Verdict::Refused,
                    &profile.span,
                    message,
                    "write `profile: [ \"0\" ]`, counted from 0",
                );
            }
        }
    }
}
