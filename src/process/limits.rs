//! How long children may take, by what they do.

use std::time::Duration;

/// Limits of every process but the workers, which have [`crate::worker::Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Longest time for asking an interpreter what it is.
    pub probe: Duration,
    /// Longest time for one conversion.
    pub convert: Duration,
    /// Longest time for one step of installing an environment.
    pub install: Duration,
    /// Longest wait for another process that makes the same thing.
    pub lock: Duration,
    /// Most memory that a converter or a worker may ask for, MiB; none if absent.
    pub memory_mebibytes: Option<u64>,
}

impl ProcessLimits {
    /// Seconds of [`ProcessLimits::probe`] where nothing else is said.
    pub const PROBE_SECONDS: u64 = 30;
    /// Seconds of [`ProcessLimits::convert`] where nothing else is said.
    pub const CONVERT_SECONDS: u64 = 1800;
    /// Seconds of [`ProcessLimits::install`] where nothing else is said.
    pub const INSTALL_SECONDS: u64 = 1800;
    /// Seconds of [`ProcessLimits::lock`] where nothing else is said.
    pub const LOCK_SECONDS: u64 = 3600;
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            probe: Duration::from_secs(Self::PROBE_SECONDS),
            convert: Duration::from_secs(Self::CONVERT_SECONDS),
            install: Duration::from_secs(Self::INSTALL_SECONDS),
            lock: Duration::from_secs(Self::LOCK_SECONDS),
            memory_mebibytes: None,
        }
    }
}
