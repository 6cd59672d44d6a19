//! Backend and platform.

use super::Subject;
use crate::repository::finding::Sink;
use crate::repository::folder::entries;
use crate::repository::node::nearest;
use crate::repository::platform::{ENSEMBLE, backend_of, platforms};
use crate::repository::rule::{Rule, Verdict};

/// Backends that NVIDIA ships with a server of some release.
const SHIPPED: [&str; 12] = [
    "dali",
    "fil",
    "identity",
    "onnxruntime",
    "openvino",
    "python",
    "pytorch",
    "repeat",
    "square",
    "tensorflow",
    "tensorrt",
    "tensorrtllm",
];
/// Further ones that are common.
const COMMON: [&str; 2] = ["vllm", "mlflow"];
/// What is written for a backend that has another name.
const MEANT: [(&str, &str); 14] = [
    ("onnx", "onnxruntime"),
    ("onnxruntime_onnx", "onnxruntime"),
    ("onnx_runtime", "onnxruntime"),
    ("ort", "onnxruntime"),
    ("trt", "tensorrt"),
    ("tensorrt_plan", "tensorrt"),
    ("plan", "tensorrt"),
    ("tf", "tensorflow"),
    ("tensorflow_savedmodel", "tensorflow"),
    ("savedmodel", "tensorflow"),
    ("torch", "pytorch"),
    ("libtorch", "pytorch"),
    ("pytorch_libtorch", "pytorch"),
    ("py", "python"),
];
/// The last release with a TensorFlow backend that is not deprecated.
const LAST_TENSORFLOW: [u8; 2] = [25, 2];

pub(super) fn check(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let (config, backend) = (subject.config, subject.backend);
    if config.steps.is_some() {
        if let Some(written) = config.backend.as_ref().filter(|_| backend.platform == ENSEMBLE) {
            let message = "an ensemble has no backend";
            sink.at(Rule::PlatformMismatch, Verdict::Refused, &written.span, message, "take `backend` out");
        }
        return;
    }
    match (&config.platform, &config.backend) {
        (Some(platform), None) if backend_of(&platform.value).is_none() && backend.name.is_empty() => {
            let message = format!("`{}` is no platform that Triton knows", platform.value);
            let meant = MEANT.iter().find(|(word, _)| *word == platform.value).map(|(_, backend)| *backend);
            let known = SHIPPED.iter().find(|known| **known == platform.value).copied();
            let fix = match (meant.or(known), nearest(&platform.value, platforms())) {
                (Some(backend), _) => format!("write `backend: \"{backend}\"` in its place"),
                (None, Some(near)) => format!("write `{near}`"),
                (None, None) => "write the backend: `backend: \"onnxruntime\"`".to_owned(),
            };
            sink.at(Rule::PlatformUnknown, Verdict::Refused, &platform.span, message, fix);
        }
        (Some(platform), Some(written)) => {
            let known = platforms().find_map(|known| backend_of(known).filter(|known| *known == written.value));
            if known.is_some() && backend_of(&platform.value) != known {
                let message = format!("the platform `{}` is not the backend `{}`'s", platform.value, written.value);
                let fix = "keep the one that the model's file is of";
                sink.at(Rule::PlatformMismatch, Verdict::Refused, &platform.span, message, fix);
            }
        }
        (None, None) if backend.name.is_empty() && !config.is_empty => {
            let message = "nothing says which backend serves the model, and no file in its first version tells it";
            sink.whole(
                Rule::BackendUnknown,
                Verdict::Refused,
                message,
                "write `backend: \"onnxruntime\"`, or the one that it is for",
            );
        }
        (None, None) if backend.guessed && !config.is_empty => {
            let message = format!("the backend is not written; `{backend}` is taken from the file's name");
            sink.whole(Rule::BackendGuessed, Verdict::Note, message, format!("write `backend: \"{backend}\"`"));
        }
        _ => {}
    }
    unknown(subject, sink);
    gone(subject, sink);
}

/// A backend that no server has by that name.
fn unknown(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let Some(written) = &subject.config.backend else { return };
    let name = written.value.as_str();
    if SHIPPED.contains(&name) || COMMON.contains(&name) || brings(subject, name) {
        return;
    }
    let meant = MEANT.iter().find(|(word, _)| word.eq_ignore_ascii_case(name)).map(|(_, backend)| *backend);
    if let Some(meant) = meant.or_else(|| nearest(name, SHIPPED.iter().copied())) {
        let message = format!("no server has a backend `{name}`");
        sink.at(Rule::BackendUnknown, Verdict::Refused, &written.span, message, format!("write `{meant}`"));
    } else {
        let message = format!("the backend `{name}` is none of NVIDIA's, and its library is not beside the model");
        let fix = format!("make sure that the server has `{name}` in its folder of backends");
        sink.at(Rule::BackendUnknown, Verdict::Note, &written.span, message, fix);
    }
}

/// Whether the model brings the backend's library, or names it.
fn brings(subject: &Subject<'_>, name: &str) -> bool {
    let library = format!("libtriton_{name}.so");
    let folder = &subject.folder.path;
    let places = std::iter::once(folder.clone())
        .chain(subject.folder.versions.iter().map(|&version| subject.folder.version(version)));
    let lies =
        |place: std::path::PathBuf| entries(&place).is_ok_and(|names| names.iter().any(|(name, _)| *name == library));
    subject.config.runtime.is_some() || places.into_iter().any(lies)
}

/// TensorFlow, which newer servers have no more.
fn gone(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    if subject.backend.name != "tensorflow" {
        return;
    }
    let release = subject.options.server.as_ref().map(|server| server.release);
    if release.is_some_and(|release| release <= LAST_TENSORFLOW) {
        return;
    }
    let message = match release {
        Some([year, month]) => format!("Triton {year:02}.{month:02} has no TensorFlow backend that is kept"),
        None => "Triton has no TensorFlow backend any more; 25.02 is the last release that has it".to_owned(),
    };
    let fix = "serve the ONNX file or the plan that the gate makes: `trtgate export --triton DIR`";
    let written = subject.config.backend.as_ref().or(subject.config.platform.as_ref());
    match written {
        Some(written) => sink.at(Rule::SavedModelGone, Verdict::Refused, &written.span, message, fix),
        None => sink.whole(Rule::SavedModelGone, Verdict::Refused, message, fix),
    }
}
