//! NVML itself, loaded at run time.

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;

use super::{DeviceState, OtherProcess, REASONS};
use crate::error::{Error, Result};

/// The bits of the [`REASONS`], in their order.
const BITS: [ThrottleReasons; REASONS.len()] = [
    ThrottleReasons::GPU_IDLE,
    ThrottleReasons::APPLICATIONS_CLOCKS_SETTING,
    ThrottleReasons::SW_POWER_CAP,
    ThrottleReasons::HW_SLOWDOWN,
    ThrottleReasons::SYNC_BOOST,
    ThrottleReasons::SW_THERMAL_SLOWDOWN,
    ThrottleReasons::HW_THERMAL_SLOWDOWN,
    ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN,
    ThrottleReasons::DISPLAY_CLOCK_SETTING,
];

/// Names of the bits that are set.
fn reason_names(reasons: ThrottleReasons) -> Vec<String> {
    let named = BITS.into_iter().zip(REASONS);
    named.filter(|(bit, _)| reasons.contains(*bit)).map(|(_, &(name, _))| name.to_owned()).collect()
}

/// Those of `all` that are not this process, number `own`, which is one of them if `is_among` says so. In a container numbers are
/// those of the host: then one of them is this process, whichever.
fn beside(mut all: Vec<OtherProcess>, own: u32, is_among: bool) -> Vec<OtherProcess> {
    match all.iter().position(|other| other.process == own) {
        Some(place) => drop(all.remove(place)),
        None if is_among => drop(all.pop()),
        None => {}
    }
    all
}

/// An open NVML, watching one device.
pub struct Monitor {
    nvml: Nvml,
    pci_bus_id: String,
    is_slice: bool,
}

impl Monitor {
    /// Opens NVML and looks the device up by its PCI address ([`pci_bus_id`]): NVML's own numbering does not heed
    /// `CUDA_VISIBLE_DEVICES`.
    ///
    /// [`pci_bus_id`]: crate::runtime::cuda::DeviceInfo::pci_bus_id
    ///
    /// # Errors
    ///
    /// `Missing` when there is no NVML here or it does not know the device.
    pub fn open(pci_bus_id: &str) -> Result<Self> {
        let nvml = Nvml::init().map_err(|source| explain("cannot open NVML", source))?;
        nvml.device_by_pci_bus_id(pci_bus_id)
            .map_err(|source| explain(&format!("NVML does not know the device at `{pci_bus_id}`"), source))?;
        Ok(Self { nvml, pci_bus_id: pci_bus_id.to_owned(), is_slice: false })
    }

    /// The same for a slice of the card, of which the card's processes say nothing.
    #[must_use]
    pub fn of_slice(self, is_slice: bool) -> Self {
        Self { is_slice, ..self }
    }

    /// Processes that compute on the device, without this one, which does so too if `is_among` says so; none where that is not
    /// told.
    pub fn others(&self, is_among: bool) -> Vec<OtherProcess> {
        if self.is_slice {
            return Vec::new();
        }
        let running = self.nvml.device_by_pci_bus_id(self.pci_bus_id.as_str());
        let running = running.and_then(|device| device.running_compute_processes()).unwrap_or_default();
        let other = |process: ProcessInfo| OtherProcess {
            process: process.pid,
            memory_bytes: match process.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(bytes),
                UsedGpuMemory::Unavailable => None,
            },
        };
        beside(running.into_iter().map(other).collect(), std::process::id(), is_among)
    }

    /// Reads the device's state now; takes some milliseconds, so never inside a timed region.
    ///
    /// # Errors
    ///
    /// `Missing` when the device is gone. A single value that cannot be read is `None`.
    pub fn read(&self) -> Result<DeviceState> {
        let device = self
            .nvml
            .device_by_pci_bus_id(self.pci_bus_id.as_str())
            .map_err(|source| explain(&format!("NVML lost the device at `{}`", self.pci_bus_id), source))?;
        let watts = |milliwatts: u32| f64::from(milliwatts) / 1e3;
        let utilization = device.utilization_rates().ok();
        Ok(DeviceState {
            sm_clock_mhz: device.clock_info(Clock::SM).ok(),
            sm_clock_max_mhz: device.max_clock_info(Clock::SM).ok(),
            memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
            temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
            power_watts: device.power_usage().ok().map(watts),
            power_limit_watts: device.enforced_power_limit().ok().map(watts),
            gpu_utilization_percent: utilization.as_ref().map(|rates| rates.gpu),
            memory_utilization_percent: utilization.as_ref().map(|rates| rates.memory),
            memory_used_bytes: device.memory_info().ok().map(|memory| memory.used),
            compute_processes: device.running_compute_processes_count().ok(),
            others: self.others(true),
            throttle_reasons: device.current_throttle_reasons().ok().map(reason_names),
            driver_version: self.nvml.sys_driver_version().ok(),
        })
    }
}

fn explain(message: &str, source: NvmlError) -> Error {
    let hint = match &source {
        NvmlError::LibloadingError(_) => "NVML comes with the NVIDIA driver as `libnvidia-ml.so.1`",
        NvmlError::NoPermission => "the user may not read the device's state",
        _ => "check `nvidia-smi`",
    };
    // The wrapper's own sentence about the loader only repeats that there was an error.
    let cause = match source {
        NvmlError::LibloadingError(loader) => loader.to_string(),
        other => other.to_string(),
    };
    Error::missing(message).cause(cause).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_and_a_judgement() {
        let names = reason_names(ThrottleReasons::all());
        assert_eq!(names, REASONS.iter().map(|&(name, _)| name).collect::<Vec<_>>());
        let some = reason_names(ThrottleReasons::GPU_IDLE | ThrottleReasons::HW_THERMAL_SLOWDOWN);
        assert_eq!(some, ["gpu-idle", "hw-thermal-slowdown"]);
    }

    #[test]
    fn this_process_is_no_other_whatever_it_is_called_in_a_container() {
        let of = |processes: &[u32]| -> Vec<OtherProcess> {
            processes.iter().map(|&process| OtherProcess { process, memory_bytes: Some(4 << 30) }).collect()
        };
        assert_eq!(beside(of(&[7, 9]), 7, true), of(&[9]));
        assert_eq!(beside(of(&[7, 9]), 9, false), of(&[7]));
        assert_eq!(beside(of(&[7]), 1, true), []);
        assert_eq!(beside(of(&[7, 9]), 1, true).len(), 1);
        assert_eq!(beside(of(&[7]), 1, false), of(&[7]));
        assert_eq!(beside(Vec::new(), 1, true), []);
        assert_eq!(of(&[7])[0].to_string(), "process 7 with 4.3 GB");
        assert_eq!(OtherProcess { process: 7, memory_bytes: None }.to_string(), "process 7");
    }
}
