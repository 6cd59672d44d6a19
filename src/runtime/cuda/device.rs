//! The driver, its devices, and a device in use.

use std::fmt;
use std::rc::Rc;

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::runtime::cuda::buffer::{DeviceBuffer, PinnedBuffer};
use crate::runtime::cuda::result::{self, ContextHandle, DriverToken};
use crate::runtime::cuda::stream::{Event, Stream, Waiting};
use crate::runtime::cuda::{failure, version};
use crate::timing::nvml::{Monitor, OtherProcess};

/// The CUDA driver, loaded and initialised.
#[derive(Clone, Copy, Debug)]
pub struct Driver(DriverToken);

impl Driver {
    /// Loads the driver; calling it again costs nothing.
    ///
    /// # Errors
    ///
    /// `Missing`, with what was tried, when there is no driver, it is too old, or it sees no GPU.
    pub fn load() -> Result<Self> {
        result::load().map(Self)
    }

    /// The highest CUDA version that the driver offers, as (major, minor).
    pub fn cuda_version(self) -> Result<(u32, u32)> {
        let version = u32::try_from(self.0.cuda_version()?).unwrap_or(0);
        Ok((version / 1000, version % 1000 / 10))
    }

    /// Refuses a driver that offers less than the CUDA version that `library` needs.
    ///
    /// # Errors
    ///
    /// `Missing`, naming both versions.
    pub fn require_cuda(self, library: &str, needed: (u32, u32)) -> Result<()> {
        let offered = self.cuda_version()?;
        // Within one major version an older driver runs a newer runtime (minor version compatibility).
        if offered.0 >= needed.0 { Ok(()) } else { Err(failure::old_driver(library, needed, offered)) }
    }

    /// Devices that this process can see.
    pub fn device_count(self) -> Result<usize> {
        self.0.device_count()
    }

    /// What the driver says about device `ordinal`, without opening it.
    ///
    /// # Errors
    ///
    /// `Missing` when there is no such device.
    pub fn device_info(self, ordinal: usize) -> Result<DeviceInfo> {
        let count = self.device_count()?;
        if ordinal >= count {
            return Err(Error::missing(format!("no CUDA device has index {ordinal}: {count} visible"))
                .hint("`nvidia-smi -L` lists the devices; `CUDA_VISIBLE_DEVICES` hides and renumbers them"));
        }
        let device = self.0.device(ordinal)?;
        let number = |attribute| Ok::<_, Error>(u32::try_from(device.attribute(attribute)?).unwrap_or(0));
        let name = device.name()?;
        Ok(DeviceInfo {
            ordinal,
            uuid: uuid_text(device.uuid()?, is_slice(&name)),
            others: Vec::new(),
            name,
            compute_capability: (
                number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            memory_bytes: device.memory_bytes()? as u64,
            multiprocessors: number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            copy_engines: number(Attribute::CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT)?,
            pci_bus_id: device.pci_bus_id()?,
            driver_version: version::driver_version(),
            cuda_version: self.cuda_version()?,
        })
    }

    /// What is known of every visible device, without opening one, and which processes compute on it.
    ///
    /// # Errors
    ///
    /// `Missing` when there is none.
    pub fn devices(self) -> Result<Vec<DeviceInfo>> {
        let count = self.device_count()?.max(1);
        let seen = |ordinal| {
            let info = self.device_info(ordinal)?;
            let monitor = Monitor::open(&info.pci_bus_id).map(|monitor| monitor.of_slice(info.is_slice()));
            let others = monitor.map_or_else(|_| Vec::new(), |monitor| monitor.others(false));
            Ok(DeviceInfo { others, ..info })
        };
        (0..count).map(seen).collect()
    }

    /// Opens device `ordinal` for this thread.
    ///
    /// # Errors
    ///
    /// `Missing` when there is no such device, `Machine` when it has no memory for a context.
    pub fn open(self, ordinal: usize) -> Result<Device> {
        let info = self.device_info(ordinal)?;
        let context = ContextHandle::retain(self.0.device(ordinal)?)?;
        Ok(Device { info: Rc::new(info), context })
    }
}

/// What the driver says about a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Index among the visible devices.
    pub ordinal: usize,
    /// Marketing name, `NVIDIA H200`.
    pub name: String,
    /// Compute capability, (major, minor).
    pub compute_capability: (u32, u32),
    /// `GPU-…`, or `MIG-…` of a slice of a card.
    #[serde(default)]
    pub uuid: String,
    /// Processes that compute on it, none of trtgate's; known where all devices were looked at, and of no slice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherProcess>,
    /// Device memory, bytes.
    pub memory_bytes: u64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Engines that copy beside computation; 2 copy in both directions at once.
    pub copy_engines: u32,
    /// `domain:bus:device.function`, the name that NVML knows the device by.
    pub pci_bus_id: String,
    /// Driver version, `580.95.05`; `None` when neither NVML nor the kernel module tells.
    pub driver_version: Option<String>,
    /// Highest CUDA version that the driver offers, (major, minor).
    pub cuda_version: (u32, u32),
}

impl DeviceInfo {
    /// Compute capability as text, `9.0`.
    pub fn compute_capability_text(&self) -> String {
        format!("{}.{}", self.compute_capability.0, self.compute_capability.1)
    }

    /// Whether it is a slice of a card (MIG), whose other slices share its power and its clocks.
    pub fn is_slice(&self) -> bool {
        is_slice(&self.name)
    }

    /// Highest CUDA version as text, `13.0`.
    pub fn cuda_version_text(&self) -> String {
        format!("{}.{}", self.cuda_version.0, self.cuda_version.1)
    }
}

/// Whether a device of this name is a slice: the driver calls it `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
fn is_slice(name: &str) -> bool {
    name.contains(" MIG ")
}

/// As `nvidia-smi -L` and `CUDA_VISIBLE_DEVICES` write it.
fn uuid_text(bytes: [u8; 16], is_slice: bool) -> String {
    let digits = hex::encode(bytes);
    let parts: Vec<&str> =
        [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().filter_map(|range| digits.get(range)).collect();
    format!("{}-{}", if is_slice { "MIG" } else { "GPU" }, parts.join("-"))
}

/// A device in use on this thread: its primary context, which TensorRT uses too. Cloning is cheap and shares it; the
/// context closes with the last clone and the last object made from it, so whoever holds TensorRT objects holds a clone.
#[derive(Clone)]
pub struct Device {
    info: Rc<DeviceInfo>,
    pub(super) context: Rc<ContextHandle>,
}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Device").field(&self.info).finish()
    }
}

impl Device {
    /// What the driver says about it.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Makes the device current on this thread; needed before TensorRT calls when several devices are open.
    pub fn make_current(&self) -> Result<()> {
        self.context.bind()
    }

    /// Waits for everything issued on the device by this process.
    pub fn synchronize(&self) -> Result<()> {
        self.context.synchronize()
    }

    /// (free, total) device memory, bytes.
    pub fn memory(&self) -> Result<(u64, u64)> {
        self.context.memory().map(|(free, total)| (free as u64, total as u64))
    }

    /// A new stream.
    pub fn stream(&self) -> Result<Stream> {
        Stream::new(self)
    }

    /// A new event that takes times.
    pub fn event(&self, waiting: Waiting) -> Result<Event> {
        Event::new(self, true, waiting)
    }

    /// A new event that only orders work, cheaper than one that takes times.
    pub fn ordering_event(&self, waiting: Waiting) -> Result<Event> {
        Event::new(self, false, waiting)
    }

    /// `bytes` of device memory, uninitialised.
    ///
    /// # Errors
    ///
    /// `Machine` when the device has not enough.
    pub fn allocate(&self, bytes: usize) -> Result<DeviceBuffer> {
        DeviceBuffer::new(self, bytes)
    }

    /// `bytes` of page-locked host memory, all zero.
    ///
    /// # Errors
    ///
    /// `Machine` when the host has not enough.
    pub fn allocate_pinned(&self, bytes: usize) -> Result<PinnedBuffer> {
        PinnedBuffer::new(self, bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::ErrorKind;

    /// On a machine without a driver this is the whole story; with one, the rest must work.
    #[test]
    fn a_missing_driver_or_device_is_an_error_not_a_panic() {
        let outcome = Driver::load().and_then(|driver| driver.device_info(10_000));
        let error = outcome.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Missing, "{error}");
        assert!(error.hint.is_some());
    }

    #[test]
    fn devices_are_named_as_the_drivers_own_tools_name_them() {
        let bytes: [u8; 16] = std::array::from_fn(|index| index as u8 * 17);
        assert_eq!(uuid_text(bytes, false), "GPU-00112233-4455-6677-8899-aabbccddeeff");
        assert!(uuid_text(bytes, true).starts_with("MIG-00112233-"));
        assert!(is_slice("NVIDIA H100 80GB HBM3 MIG 1g.10gb") && !is_slice("NVIDIA H100 80GB HBM3"));
    }

    #[test]
    fn loading_twice_gives_the_same_answer() {
        assert_eq!(Driver::load().is_ok(), Driver::load().is_ok());
    }
}
