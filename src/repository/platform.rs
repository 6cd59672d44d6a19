//! Which backend serves a model: what is written, or what the core takes from the name of its file.

use std::fmt;

use super::config::Config;
use super::folder::{Folder, entries};

/// Platforms, the backend of each, and the file that it loads by default.
const PLATFORMS: [(&str, &str, &str); 5] = [
    ("onnxruntime_onnx", "onnxruntime", "model.onnx"),
    ("tensorrt_plan", "tensorrt", "model.plan"),
    ("tensorflow_savedmodel", "tensorflow", "model.savedmodel"),
    ("tensorflow_graphdef", "tensorflow", "model.graphdef"),
    ("pytorch_libtorch", "pytorch", "model.pt"),
];
/// Backends without a platform of their own that the core knows a file of.
const OTHERS: [(&str, &str); 2] = [("openvino", "model.xml"), ("python", "model.py")];
/// The platform of ensembles, which have no backend.
pub const ENSEMBLE: &str = "ensemble";

/// What serves a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name; empty of an ensemble, and where nothing tells it.
    pub name: String,
    /// The platform, written or its own.
    pub platform: String,
    /// The file that it loads, where that is known.
    pub file: Option<String>,
    /// Whether it was taken from the name of a file.
    pub guessed: bool,
}

impl Backend {
    /// As the core finds it.
    pub fn of(config: &Config, folder: &Folder) -> Self {
        let text =
            |text: &Option<super::node::At<String>>| text.as_ref().map(|text| text.value.clone()).unwrap_or_default();
        let (mut name, mut platform, written) = (text(&config.backend), text(&config.platform), text(&config.file));
        let mut guessed = false;
        if name.is_empty() && platform != ENSEMBLE && config.steps.is_none() {
            if let Some((_, backend, _)) = PLATFORMS.iter().find(|(known, ..)| *known == platform) {
                name = (*backend).to_owned();
            } else if platform.is_empty() || files().any(|(_, file)| file == written) {
                name = guess(&written, folder).unwrap_or_default();
                guessed = !name.is_empty();
            }
        }
        let of_name = || PLATFORMS.iter().filter(|(_, backend, _)| *backend == name);
        if platform.is_empty() {
            // TensorFlow has two, told by the file.
            let by_file = of_name().find(|(_, _, file)| *file == written);
            platform =
                by_file.or_else(|| of_name().next()).map(|(platform, ..)| (*platform).to_owned()).unwrap_or_default();
        }
        // Where the two contradict each other the backend's counts, for what else is said.
        let known =
            of_name().find(|(known, ..)| *known == platform).or_else(|| of_name().next()).map(|(_, _, file)| *file);
        let other = OTHERS.iter().find(|(other, _)| *other == name).map(|(_, file)| *file);
        let file = if written.is_empty() { known.or(other).map(str::to_owned) } else { Some(written) };
        Self { name, platform, file, guessed }
    }

    /// Whether it is ONNX Runtime's.
    pub fn is_onnx(&self) -> bool {
        self.name == "onnxruntime"
    }

    /// Whether it is TensorRT's.
    pub fn is_tensorrt(&self) -> bool {
        self.name == "tensorrt"
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.name.as_str() {
            "" if self.platform == ENSEMBLE => ENSEMBLE,
            "" => "none",
            name => name,
        })
    }
}

/// Backends and the files that they load by default.
fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    PLATFORMS.iter().map(|(_, backend, file)| (*backend, *file)).chain(OTHERS)
}

/// The backend whose file is written, or lies in the first folder.
fn guess(written: &str, folder: &Folder) -> Option<String> {
    let by = |file: &str| files().find(|(_, known)| *known == file).map(|(backend, _)| backend.to_owned());
    if !written.is_empty() {
        return by(written);
    }
    let names = entries(&folder.path.join(folder.first.as_ref()?)).ok()?;
    files().find(|(_, file)| names.iter().any(|(name, _)| name == file)).map(|(backend, _)| backend.to_owned())
}

/// The backend that a platform belongs to.
pub fn backend_of(platform: &str) -> Option<&'static str> {
    PLATFORMS.iter().find(|(known, ..)| *known == platform).map(|(_, backend, _)| *backend)
}

/// Platforms that are known.
pub fn platforms() -> impl Iterator<Item = &'static str> {
    PLATFORMS.iter().map(|(platform, ..)| *platform)
}
