//! The state of a GPU beside a measurement, read through NVML. Nothing on the card is ever set.

#[cfg(not(feature = "tensorrt"))]
mod absent;
#[cfg(feature = "tensorrt")]
mod monitor;

use std::fmt;

use serde::{Deserialize, Serialize};

#[cfg(not(feature = "tensorrt"))]
pub use absent::Monitor;
#[cfg(feature = "tensorrt")]
pub use monitor::Monitor;

/// What NVML says about a device at one moment. A value that the device or its virtual machine does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Clock of the streaming multiprocessors, MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Highest clock of the streaming multiprocessors, MHz.
    pub sm_clock_max_mhz: Option<u32>,
    /// Memory clock, MHz.
    pub memory_clock_mhz: Option<u32>,
    /// Temperature of the GPU, °C.
    pub temperature_celsius: Option<u32>,
    /// Power drawn by the board, W.
    pub power_watts: Option<f64>,
    /// Power limit in force, W.
    pub power_limit_watts: Option<f64>,
    /// Share of the last sampling period during which a kernel ran, percent.
    pub gpu_utilization_percent: Option<u32>,
    /// Share of the last sampling period during which device memory was read or written, percent.
    pub memory_utilization_percent: Option<u32>,
    /// Device memory in use by all processes, bytes.
    pub memory_used_bytes: Option<u64>,
    /// Processes computing on the device, this one among them.
    pub compute_processes: Option<u32>,
    /// Processes that compute on the device beside this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherProcess>,
    /// Why the clocks are below their highest (NVML's clocks event reasons), `sw-power-cap`; empty when nothing holds
    /// them down.
    pub throttle_reasons: Option<Vec<String>>,
    /// Driver version, `580.95.05`.
    pub driver_version: Option<String>,
}

/// A process that uses a device, none of trtgate's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherProcess {
    /// Its number, as the driver counts it: in a container that of the host.
    pub process: u32,
    /// Device memory that it holds, bytes, where the driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl fmt::Display for OtherProcess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {}", self.process)?;
        self.memory_bytes.map_or(Ok(()), |bytes| write!(formatter, " with {:.1} GB", bytes as f64 / 1e9))
    }
}

/// Names of the reasons, and whether each slows a busy GPU down against its owner's will.
const REASONS: &[(&str, bool)] = &[
    ("gpu-idle", false),
    ("applications-clocks-setting", false),
    ("sw-power-cap", true),
    ("hw-slowdown", true),
    ("sync-boost", false),
    ("sw-thermal-slowdown", true),
    ("hw-thermal-slowdown", true),
    ("hw-power-brake-slowdown", true),
    ("display-clock-setting", false),
];

impl DeviceState {
    /// The reasons that spoil a measurement: a power cap, heat, or a brake. Idle clocks and clocks that somebody set
    /// on purpose are none.
    pub fn throttled_by(&self) -> Vec<&str> {
        let spoils = |name: &str| REASONS.iter().any(|&(known, spoils)| spoils && known == name);
        self.throttle_reasons.iter().flatten().map(String::as_str).filter(|name| spoils(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_library_or_device_is_an_error_not_a_panic() {
        let error = Monitor::open("ffff:ff:1f.7").err().unwrap();
        assert_eq!(error.kind, crate::error::ErrorKind::Missing, "{error}");
        assert!(error.hint.is_some());
    }

    #[test]
    fn only_unwanted_slowdowns_spoil_a_measurement() {
        let reasons = ["gpu-idle", "sw-power-cap", "hw-thermal-slowdown"].map(str::to_owned).to_vec();
        let state = DeviceState { throttle_reasons: Some(reasons), ..DeviceState::default() };
        assert_eq!(state.throttled_by(), vec!["sw-power-cap", "hw-thermal-slowdown"]);
        assert!(DeviceState::default().throttled_by().is_empty());
    }
}
