//! CUDA driver calls as `Result`s, and the owned handles that make them sound.
//!
//! Every handle owns its object, cannot be forged or copied out, lives on one thread (`Rc`), and holds the primary
//! context alive. Two rules make asynchronous work sound, and both are kept here:
//!
//! - Memory outlives the work that uses it: freeing waits for the whole context first, and a graph holds every
//!   buffer that it was captured with.
//! - The host never looks at pinned memory that a copy may be using: [`PinnedMemory`] knows whether work that uses it
//!   was issued since the context was last waited for, waits before it lends a view, and refuses new work during one.
//!
//! A weak point that is `cudarc`'s: its `CUresult` is a closed enum of the codes up to CUDA 12.8, so a driver that
//! answered with a newer code would break Rust's rules. No call made here is documented to answer with one.
#![allow(unsafe_code)]

mod context;
mod memory;
mod stream;

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use cudarc::driver::sys::{self, CUresult};

use crate::error::{Error, Result};
use crate::runtime::cuda::failure;

pub use context::ContextHandle;
pub use memory::{DeviceMemory, PinnedMemory, PinnedView, PinnedViewMut, Plain, copy_in, copy_on_device, copy_out};
pub use stream::{EventHandle, GraphHandle, StreamHandle};

/// Driver functions that this module calls; a driver without one of them is too old, and `cudarc` would panic at the
/// first call.
const SYMBOLS: &[&str] = &[
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetPCIBusId",
    "cuDeviceGetUuid_v2",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphGetNodes",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphUpload",
    "cuInit",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemFreeHost",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamQuery",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
];

/// The name of a code (`CUDA_ERROR_OUT_OF_MEMORY`) and the driver's sentence about it.
fn describe(code: CUresult) -> (String, String) {
    let text = |call: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult| {
        let mut pointer = ptr::null();
        // SAFETY: the out-pointer is valid for one write.
        let found = unsafe { call(code, &raw mut pointer) } == CUresult::CUDA_SUCCESS && !pointer.is_null();
        // SAFETY: not null, and the driver's strings are static and NUL-terminated.
        found.then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
    };
    let name = text(sys::cuGetErrorName).unwrap_or_else(|| format!("{code:?}"));
    (name, text(sys::cuGetErrorString).unwrap_or_default())
}

/// `Ok` for success, else the crate's error for `action` (`cannot {action}`).
#[inline]
fn check(code: CUresult, action: &str) -> Result<()> {
    if code == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let (name, description) = describe(code);
    Err(failure::explain(action, code as u32, &name, &description))
}

/// Proof that the driver is loaded, complete and initialised.
#[derive(Clone, Copy, Debug)]
pub struct DriverToken(());

/// Loads and initialises the driver. Safe to call any number of times.
pub fn load() -> Result<DriverToken> {
    // SAFETY: opens the driver's library by name; its initialisers have no preconditions.
    if !unsafe { sys::is_culib_present() } {
        return Err(failure::no_library());
    }
    // SAFETY: the library was found just above, so `culib` does not panic; it is never closed again.
    let library = unsafe { sys::culib() };
    for symbol in SYMBOLS {
        // SAFETY: the symbol is only looked up, not called, and any symbol's address is a valid raw pointer.
        if unsafe { library.get::<*const c_void>(symbol.as_bytes()) }.is_err() {
            return Err(failure::missing_symbol(symbol));
        }
    }
    // SAFETY: `cuInit` takes only the reserved flags 0.
    check(unsafe { sys::cuInit(0) }, "initialise the CUDA driver")?;
    Ok(DriverToken(()))
}

impl DriverToken {
    /// The highest CUDA version that the driver offers, `1000 * major + 10 * minor`.
    pub fn cuda_version(self) -> Result<i32> {
        let mut version = 0;
        // SAFETY: the out-pointer is valid for one write.
        check(unsafe { sys::cuDriverGetVersion(&raw mut version) }, "read the driver's CUDA version")?;
        Ok(version)
    }

    /// Devices visible to this process.
    pub fn device_count(self) -> Result<usize> {
        let mut count = 0;
        // SAFETY: the out-pointer is valid for one write.
        check(unsafe { sys::cuDeviceGetCount(&raw mut count) }, "count CUDA devices")?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The device of index `ordinal`.
    pub fn device(self, ordinal: usize) -> Result<DeviceHandle> {
        let index =
            c_int::try_from(ordinal).map_err(|_| Error::usage(format!("no CUDA device has index {ordinal}")))?;
        let mut device = 0;
        // SAFETY: the driver is initialised; the out-pointer is valid for one write.
        check(unsafe { sys::cuDeviceGet(&raw mut device, index) }, &format!("open CUDA device {ordinal}"))?;
        Ok(DeviceHandle(device))
    }
}

/// A device; a plain number that the driver gave out.
#[derive(Clone, Copy, Debug)]
pub struct DeviceHandle(sys::CUdevice);

impl DeviceHandle {
    /// Reads text through a call that fills a buffer with a NUL-terminated string.
    fn text(
        self,
        call: unsafe fn(*mut std::ffi::c_char, c_int, sys::CUdevice) -> CUresult,
        action: &str,
    ) -> Result<String> {
        let mut buffer = [0_u8; 256];
        // SAFETY: the buffer has the 255 bytes announced, and its last byte stays NUL.
        check(unsafe { call(buffer.as_mut_ptr().cast(), 255, self.0) }, action)?;
        Ok(CStr::from_bytes_until_nul(&buffer)
            .map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned()))
    }

    /// Marketing name.
    pub fn name(self) -> Result<String> {
        self.text(sys::cuDeviceGetName, "read the device's name")
    }

    /// `domain:bus:device.function`.
    pub fn pci_bus_id(self) -> Result<String> {
        self.text(sys::cuDeviceGetPCIBusId, "read the device's PCI address")
    }

    /// Its 16 bytes; of a slice of a card, those of the slice.
    pub fn uuid(self) -> Result<[u8; 16]> {
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        // SAFETY: the out-pointer is valid for one write and the device came from the driver.
        check(unsafe { sys::cuDeviceGetUuid_v2(&raw mut uuid, self.0) }, "read the device's UUID")?;
        Ok(uuid.bytes.map(|byte| byte.to_ne_bytes()[0]))
    }

    /// Device memory, bytes.
    pub fn memory_bytes(self) -> Result<usize> {
        let mut bytes = 0;
        // SAFETY: the out-pointer is valid for one write and the device came from the driver.
        check(unsafe { sys::cuDeviceTotalMem_v2(&raw mut bytes, self.0) }, "read the device's memory size")?;
        Ok(bytes)
    }

    /// An integer attribute.
    pub fn attribute(self, attribute: sys::CUdevice_attribute) -> Result<i32> {
        let mut value = 0;
        // SAFETY: the out-pointer is valid for one write and the device came from the driver.
        check(unsafe { sys::cuDeviceGetAttribute(&raw mut value, attribute, self.0) }, "read a device attribute")?;
        Ok(value)
    }
}
