//! What a first manifest requires: the runtimes of its matrix that run on this machine, and what the manifest before it did.

use std::path::Path;

use crate::cli::Global;
use crate::console;
use crate::error::Result;
use crate::gate::{Options, Workspace};
use crate::manifest::{Manifest, Require};
use crate::plan::{Ability, Filter};
use crate::progress;
use crate::vocabulary::RuntimeId;
use crate::worker::WorkerProgram;

/// What the manifest that was just written at `manifest` should require. Nothing is installed to find out.
///
/// # Errors
/// If this program's own file cannot be found.
pub(super) fn of(global: &Global, manifest: &Path, before: Option<&Manifest>) -> Result<Require> {
    let mut require = before.map(|before| before.require.clone()).unwrap_or_default();
    let options = Options {
        install: false,
        several: true,
        progress: progress::standard(global.quiet, global.verbose),
        ..Options::new(manifest.to_owned(), WorkerProgram::current()?)
    };
    let planned = Workspace::open(&options)
        .and_then(|workspace| Ok((workspace.plan(&Filter::default())?, workspace.manifest.matrix.clone())));
    let (cells, matrix) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            console::note(&format!("what runs here is not known, so no runtime is required: {error}"));
            return Ok(require);
        }
    };
    require.runtimes.retain(|runtime| matrix.iter().any(|row| row.library == runtime.library));
    let mut found = Vec::new();
    for cell in cells.iter().filter(|cell| matches!(cell.ability, Ability::Run)) {
        // Each machine may have another version of it.
        let runtime = RuntimeId::unversioned(cell.id.runtime.library);
        if require.runtimes.iter().all(|known| known.library != runtime.library) {
            found.push(format!("`{runtime}`"));
            require.runtimes.push(runtime);
        }
    }
    if !found.is_empty() {
        console::note(&format!("  `[require] runtimes`: {}, found to run here", found.join(", ")));
    }
    Ok(require)
}
