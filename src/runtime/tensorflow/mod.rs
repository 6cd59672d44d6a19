//! TensorFlow's C API on a SavedModel.
//!
//! | layer    | holds                                                                     |
//! |----------|---------------------------------------------------------------------------|
//! | `sys`    | opaque types and the table of C functions                                 |
//! | `result` | owned objects whose calls return `Result`; the unsafe code ends here       |
//! | `safe`   | the [`Session`]: signature, checks, values in and out                      |
//! | `restore` | variables that the session's own restoring leaves without values          |
//! | `scaling` | whether a model takes bytes of pictures, by its graph                     |
//! | `proto`  | the protobuf messages that the C API passes around                        |
//!
//! Sessions compute on the CPU, GPUs are hidden from the library: the reference is the same on every machine.
//! The library's thread pool within operators belongs to the process and keeps the size that the first session asked
//! for, so sessions of different `intra_threads` need different processes.

mod proto;
mod restore;
mod result;
mod safe;
mod scaling;
mod sys;

use crate::error::Result;
use crate::files;
use crate::runtime::locate::{self, Wanted};
use crate::runtime::{OpenRequest, Probe, Runtime, SearchPaths, Session};
use crate::vocabulary::Library;

/// Where the library lies: in the wheel (of a container, in the system's `dist-packages`), or as the C library.
const WANTED: Wanted<'static> = Wanted {
    library: Library::Tensorflow,
    distributions: &["tensorflow_cpu", "tensorflow", "tensorflow_cpu_aws", "tf_nightly"],
    packaged: &["tensorflow/libtensorflow_cc.so.2"],
    system: &["libtensorflow_cc.so.2", "libtensorflow.so.2"],
    install_hint: "`trtgate export` installs it into its own environment; or name a Python that has `tensorflow-cpu==2.21.0` in `TRTGATE_PYTHON`",
};

/// The signature `key` of the SavedModel in `folder` as its files declare it, without the library; `None` where they do not
/// tell.
///
/// # Errors
/// `Input`, with the signatures that there are, for a model that has no `key`; `Unsupported` for one of tensors without a
/// shape.
pub(crate) fn declared_signature(folder: &std::path::Path, key: &str) -> Result<Option<crate::tensor::Signature>> {
    safe::declared_signature(folder, key)
}

/// Whether the graph behind the signature `key` of the SavedModel in `folder` scales bytes of pictures itself; false where its files
/// do not tell.
pub(crate) fn scales_bytes(folder: &std::path::Path, key: &str) -> bool {
    let input = safe::input_tensor(folder, key);
    let bytes = files::read(&folder.join("saved_model.pb"), files::GRAPH).ok();
    bytes.zip(input).and_then(|(bytes, input)| scaling::scales_bytes(&bytes, &input)).unwrap_or(false)
}

/// Looks at a SavedModel's files, without the library.
///
/// # Errors
/// `Input` where the folder is none, is damaged, has no graph for inference, or has lost its variables.
pub(crate) fn check_folder(folder: &std::path::Path) -> Result<()> {
    safe::check_folder(folder)
}

/// The driver.
pub struct Tensorflow;

impl Runtime for Tensorflow {
    fn library(&self) -> Library {
        Library::Tensorflow
    }

    fn probe(&self, paths: &SearchPaths) -> Probe {
        locate::probe(&WANTED, paths)
    }

    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Session>> {
        Ok(Box::new(safe::TensorflowSession::open(request)?))
    }
}

/// Reads a SavedModel's files as opening it does, without the library; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(crate) fn look_through(folder: &std::path::Path) -> bool {
    use prost::Message as _;
    let sound = check_folder(folder).is_ok();
    let bytes = files::read(&folder.join("saved_model.pb"), files::GRAPH).unwrap_or_default();
    let Ok(model) = proto::SavedModel::decode(bytes.as_slice()) else { return sound };
    for graph in &model.meta_graphs {
        for (key, signature) in &graph.signatures {
            let _ = (declared_signature(folder, key), scales_bytes(folder, key));
            let outputs: Vec<&str> = signature.outputs.values().map(|output| output.name.as_str()).collect();
            restore::look_through(graph, &outputs);
        }
    }
    if let Ok(objects) = proto::ObjectGraph::decode(bytes.as_slice()) {
        restore::keys_by_name(&objects);
    }
    sound
}
