//! Everything that reads bytes from outside, each as one function of bytes: what `fuzz/` (libFuzzer) and the seeded mutants
//! of `tests` run. Compiled for these two alone.
//!
//! A target says whether it took the bytes for what they claim to be, so that its kept inputs can be held to being such.

mod arrays;
mod models;
#[cfg(test)]
mod mutants;
mod records;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

use std::path::Path;

/// A reader of bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which that of its kept inputs' folder is too.
    pub name: &'static str,
    /// Reads; true where the bytes are sound.
    pub run: fn(&[u8]) -> bool,
}

/// Every reader.
pub const TARGETS: &[Target] = &[
    Target { name: "archive", run: arrays::archive },
    Target { name: "artifacts", run: records::artifacts },
    Target { name: "baseline", run: records::baseline },
    Target { name: "csv", run: arrays::csv },
    Target { name: "data-set", run: arrays::data_set },
    Target { name: "engine", run: records::engine },
    Target { name: "environment", run: records::environment },
    Target { name: "feeds", run: arrays::feeds },
    Target { name: "golden", run: records::golden },
    Target { name: "inspector", run: records::inspector },
    Target { name: "manifest", run: records::manifest },
    Target { name: "natural", run: records::natural },
    Target { name: "npy", run: arrays::npy },
    Target { name: "npz", run: arrays::npz },
    Target { name: "onnx", run: models::onnx },
    Target { name: "onnx-external", run: models::onnx_external },
    Target { name: "picture", run: arrays::picture },
    Target { name: "plan", run: records::plan },
    Target { name: "polygraphy", run: arrays::polygraphy },
    Target { name: "probes", run: arrays::probes },
    Target { name: "records", run: arrays::records },
    Target { name: "report", run: records::report },
    Target { name: "saved-model", run: models::saved_model },
    Target { name: "served-answer", run: records::served_answer },
    Target { name: "served-model", run: records::served_model },
    Target { name: "store", run: records::store },
    Target { name: "tflite", run: models::tflite },
    Target { name: "thresholds", run: records::thresholds },
    Target { name: "tolerances", run: records::tolerances },
    Target { name: "triton-config", run: models::triton_config },
    Target { name: "worker-replies", run: records::worker_replies },
    Target { name: "worker-requests", run: records::worker_requests },
];

/// The target called `name`.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs `read` on a file of this name that holds `bytes`, alone in its folder. Each thread has one folder, which it clears
/// for each call.
fn on_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> bool) -> bool {
    thread_local! {
        static FOLDER: Option<tempfile::TempDir> = tempfile::tempdir().ok();
    }
    FOLDER.with(|folder| {
        let Some(folder) = folder else { return false };
        let file = folder.path().join(name);
        let written = file.parent().is_some_and(|parent| std::fs::create_dir_all(parent).is_ok())
            && std::fs::write(&file, bytes).is_ok();
        let sound = written && read(&file);
        let top = name.split('/').next().map_or_else(|| file.clone(), |top| folder.path().join(top));
        let _ = if top.is_dir() { std::fs::remove_dir_all(&top) } else { std::fs::remove_file(&top) };
        sound
    })
}

/// A manifest of a small model: pictures of 4 × 4 pixels with `channels`, three classes, values as `input` says further.
fn manifest(channels: usize, input: &str) -> Option<crate::manifest::Manifest> {
    let text = format!(
        "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4, 4, {channels}]\n\
         layout = \"nhwc\"\n{input}[output]\nname = \"y\"\nclasses = 3\nkind = \"logits\"\n[matrix]\nbatches = [1]\n"
    );
    crate::manifest::Manifest::parse(&text, Path::new("gate.toml")).ok()
}
