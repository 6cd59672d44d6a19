//! Limits that a run sets in place of the manifest's.

use std::time::Duration;

use crate::process::ProcessLimits;
use crate::worker::Limits;

/// Limits that are not the manifest's, where they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    /// Longest time of one request to a worker.
    pub request_seconds: Option<u64>,
    /// Longest time of one conversion.
    pub convert_seconds: Option<u64>,
    /// Longest time of one step of an installation.
    pub install_seconds: Option<u64>,
    /// Longest time of a question to an interpreter.
    pub probe_seconds: Option<u64>,
    /// Longest wait for another process that makes the same thing.
    pub lock_seconds: Option<u64>,
    /// Most memory of a converter or a worker.
    pub memory_mebibytes: Option<u64>,
    /// Engines built at once on a card, or on a machine without one.
    pub builds: Option<usize>,
}

impl LimitOverrides {
    /// `limits`, with what is overridden.
    pub fn over(&self, limits: ProcessLimits) -> ProcessLimits {
        let either = |seconds: Option<u64>, limit| seconds.map_or(limit, Duration::from_secs);
        ProcessLimits {
            probe: either(self.probe_seconds, limits.probe),
            convert: either(self.convert_seconds, limits.convert),
            install: either(self.install_seconds, limits.install),
            lock: either(self.lock_seconds, limits.lock),
            memory_mebibytes: self.memory_mebibytes.or(limits.memory_mebibytes),
        }
    }

    /// Limits of workers where there is no manifest.
    pub fn of_workers(&self) -> Limits {
        let limits = Limits::default();
        let request = self.request_seconds.map_or(limits.request, Duration::from_secs);
        Limits { request, memory_mebibytes: self.memory_mebibytes, ..limits }
    }
}

#[cfg(test)]
mod tests;
