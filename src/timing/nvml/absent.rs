//! In place of NVML in a build without TensorRT, which alone measures GPUs.

use super::{DeviceState, OtherProcess};
use crate::error::{Error, Result};

/// None: it cannot be opened.
pub enum Monitor {}

impl Monitor {
    /// # Errors
    /// `Missing`, always.
    pub fn open(_pci_bus_id: &str) -> Result<Self> {
        Err(Error::missing("this build of trtgate leaves NVML out").hint("build it with the feature `tensorrt`"))
    }

    /// As it is.
    #[must_use]
    pub fn of_slice(self, _is_slice: bool) -> Self {
        self
    }

    /// Nobody.
    pub fn others(&self, _is_among: bool) -> Vec<OtherProcess> {
        match *self {}
    }

    /// # Errors
    /// None: there is no monitor to ask.
    pub fn read(&self) -> Result<DeviceState> {
        match *self {}
    }
}
