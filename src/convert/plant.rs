//! Faults planted on purpose in an artifact, for the drill.

use std::path::{Path, PathBuf};

use crate::convert::artifact::text_of;
use crate::convert::environment;
use crate::convert::script::Script;
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::files;
use crate::progress::Progress;

const SCRIPT: Script = Script { name: "drill.py", text: include_str!("python/drill.py") };

/// What was planted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planted {
    /// The file that holds the fault.
    pub(crate) file: PathBuf,
    /// Where in the graph it is, for people; empty where it is everywhere.
    pub(crate) place: String,
}

/// Plants the fault `name` of `python/drill.py` in `source`; the result lies in `folder`, which is made. `arguments` are
/// those of the script.
///
/// # Errors
/// `Unsupported` where the artifact has no place for the fault, and those of the converters' environment.
pub(crate) fn plant(
    store: &Store,
    progress: &dyn Progress,
    name: &str,
    source: &Path,
    folder: &Path,
    arguments: &[(&'static str, String)],
) -> Result<Planted> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
    let environment = environment::ensure_in(store, environment::EXPORT, progress)?;
    let mut all = vec![("fault", name.to_owned()), ("source", text_of(source)?), ("destination", text_of(folder)?)];
    all.extend(arguments.iter().cloned());
    let step = progress.begin(&format!("planting `{name}`"));
    SCRIPT.run(&environment, store.limits(), folder, &all, progress, &*step)?;
    step.finish();
    let made = if name == "noise" { "noise.npy" } else { "model.onnx" };
    let place = files::read_text(&folder.join("place.txt"), files::TEXT).unwrap_or_default();
    Ok(Planted { file: folder.join(made), place })
}
