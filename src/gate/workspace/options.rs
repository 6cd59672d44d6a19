//! Where a workspace looks and what it may do.

use std::path::PathBuf;
use std::sync::Arc;

use crate::gate::devices::Devices;
use crate::gate::limits::LimitOverrides;
use crate::progress::{Progress, Quiet};
use crate::worker::WorkerProgram;

/// Where a workspace looks and what it may do.
#[derive(Clone)]
pub struct Options {
    /// The manifest.
    pub manifest: PathBuf,
    /// Root of the store; the default if absent.
    pub cache: Option<PathBuf>,
    /// Artifacts made elsewhere by `trtgate export --output`; nothing is converted then.
    pub artifacts: Option<PathBuf>,
    /// Whether those are this process's own, and used where they lie; else they are copied into the store first.
    pub own_artifacts: bool,
    /// Files or folders in which libraries are looked for first.
    pub search: Vec<PathBuf>,
    /// Whether missing Python environments may be installed.
    pub install: bool,
    /// Overrides the manifest's limits.
    pub limits: LimitOverrides,
    /// The GPUs that cells are spread over; the first if absent.
    pub devices: Option<Devices>,
    /// Overrides the manifest's threads inside one operator.
    pub intra_threads: Option<usize>,
    /// Overrides the manifest's threads across operators.
    pub inter_threads: Option<usize>,
    /// Accepts a model whose digest is not the manifest's.
    pub trust: bool,
    /// Whether the manifest may be of several inputs and outputs; commands that know one input refuse it.
    pub several: bool,
    /// Makes new probes where the manifest names no file, instead of keeping those of the golden.
    pub fresh_probes: bool,
    /// The program that runs workers.
    pub program: WorkerProgram,
    /// Where progress goes.
    pub progress: Arc<dyn Progress>,
}

impl Options {
    /// The defaults for a manifest: the default store, installing allowed, silent.
    pub fn new(manifest: PathBuf, program: WorkerProgram) -> Self {
        Self {
            manifest,
            cache: None,
            artifacts: None,
            own_artifacts: false,
            search: Vec::new(),
            install: true,
            limits: LimitOverrides::default(),
            devices: None,
            intra_threads: None,
            inter_threads: None,
            trust: false,
            several: false,
            fresh_probes: false,
            program,
            progress: Arc::new(Quiet),
        }
    }
}
