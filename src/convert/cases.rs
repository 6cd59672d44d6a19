//! ONNX's own backend cases as files, for the suite.

use std::path::Path;

use crate::convert::artifact::text_of;
use crate::convert::environment::Environment;
use crate::convert::script::Script;
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::progress::Progress;

const SCRIPT: Script = Script { name: "onnx_cases.py", text: include_str!("python/onnx_cases.py") };

/// Writes the cases whose names hold `only` into `folder`, which is made: `KIND/NAME/model.onnx`, `KIND/NAME/test_data_set_N` and the
/// list `cases.json`.
///
/// # Errors
/// `Input` where something lies in the folder already, and those of the environment's Python.
pub(crate) fn write_cases(
    environment: &Environment,
    store: &Store,
    folder: &Path,
    only: &str,
    progress: &dyn Progress,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
    let mut inside = std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, error))?;
    if inside.next().is_some() {
        return Err(
            Error::input(format!("`{}` is not empty", folder.display())).hint("name a folder that is, or none yet")
        );
    }
    let step = progress.begin("writing the cases of ONNX's own tests");
    // Named absolutely: the script runs in a folder of its own.
    let place = std::path::absolute(folder).map_err(|error| Error::io("resolve", folder, error))?;
    let arguments = [("output", text_of(&place)?), ("only", only.to_owned())];
    SCRIPT.run(environment, store.limits(), folder, &arguments, progress, &*step)?;
    step.finish();
    Ok(())
}
