//! A servable model's `config.pbtxt`.

use std::fmt::Write as _;

use super::servable::{Backend, Servable, ServedTensor};

/// How a configuration begins that this program wrote.
pub const FIRST_LINE: &str =
    "# Written by `trtgate export --triton`; a later export writes it anew where nobody changed it.";

/// The name of the labels of version `version`.
pub fn labels_file(version: i64) -> String {
    format!("labels.{version}.txt")
}

/// The configuration that serves version `version` of `model`.
pub fn config_text(model: &Servable, version: i64) -> String {
    let mut text = format!("{FIRST_LINE}\n");
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!("name: {}", quoted(&model.name)));
    line(format!("backend: {}", quoted(model.backend.name())));
    // Also 0: what is left out is filled in by the backend.
    line(format!("max_batch_size: {}", model.max_batch_size));
    line(format!("default_model_filename: {}", quoted(model.backend.file())));
    line(format!("version_policy {{ specific {{ versions: [ {version} ] }} }}"));
    let labels = (!model.labels.is_empty()).then(|| labels_file(version));
    line(format!(
        "input [\n{}\n]",
        model.inputs.iter().map(|input| tensor(input, None)).collect::<Vec<_>>().join(",\n")
    ));
    let outputs: Vec<String> = model.outputs.iter().map(|output| tensor(output, labels.as_deref())).collect();
    line(format!("output [\n{}\n]", outputs.join(",\n")));
    line(match model.backend {
        // Where there is a card it runs there, else on the processor.
        Backend::Onnxruntime => "instance_group [ { kind: KIND_AUTO count: 1 } ]".to_owned(),
        Backend::Tensorrt { profiles: 0 | 1 } => "instance_group [ { kind: KIND_GPU count: 1 } ]".to_owned(),
        Backend::Tensorrt { profiles } => {
            let listed: Vec<String> = (0..profiles).map(|profile| format!("\"{profile}\"")).collect();
            format!("instance_group [ {{ kind: KIND_GPU count: 1 profile: [ {} ] }} ]", listed.join(", "))
        }
    });
    if let Some(delay) = model.queue_delay {
        line(format!("dynamic_batching {{ max_queue_delay_microseconds: {delay} }}"));
    }
    for (key, value) in &model.parameters {
        line(format!("parameters {{ key: {} value {{ string_value: {} }} }}", quoted(key), quoted(value)));
    }
    text
}

fn tensor(tensor: &ServedTensor, labels: Option<&str>) -> String {
    let dims = |dims: &[i64]| format!("[ {} ]", dims.iter().map(i64::to_string).collect::<Vec<_>>().join(", "));
    let name = quoted(&tensor.name);
    let mut text = format!("  {{ name: {name} data_type: {} dims: {}", tensor.data_type, dims(&tensor.dims));
    if let Some(shape) = &tensor.reshape {
        // An empty shape is one that is written without sizes.
        let shape = if shape.is_empty() { String::new() } else { format!(" shape: {} ", dims(shape)) };
        let _ = write!(text, " reshape {{{shape}}}");
    }
    if let Some(labels) = labels {
        let _ = write!(text, " label_filename: {}", quoted(labels));
    }
    text.push_str(" }");
    text
}

/// Text as protobuf's format writes it.
fn quoted(text: &str) -> String {
    let mut written = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                written.push('\\');
                written.push(character);
            }
            '\n' => written.push_str("\\n"),
            // Three digits, so that no digit behind them belongs to them.
            control if control.is_control() => {
                control.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                    let _ = write!(written, "\\{byte:03o}");
                });
            }
            other => written.push(other),
        }
    }
    written.push('"');
    written
}
