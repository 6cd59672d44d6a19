//! Memory: on the device, and page-locked on the host.

use std::ffi::c_void;
use std::fmt;
use std::rc::Rc;

use crate::error::Result;
use crate::runtime::cuda::device::Device;
use crate::runtime::cuda::result::{self, DeviceMemory, PinnedMemory, PinnedView, PinnedViewMut, Plain};
use crate::runtime::cuda::stream::Stream;

/// Device memory, freed with its last clone, after the device was waited for.
#[derive(Clone)]
pub struct DeviceBuffer(Rc<DeviceMemory>);

impl fmt::Debug for DeviceBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DeviceBuffer({} bytes at {:#x})", self.bytes(), self.0.address())
    }
}

impl DeviceBuffer {
    pub(super) fn new(device: &Device, bytes: usize) -> Result<Self> {
        DeviceMemory::new(&device.context, bytes).map(Self)
    }

    /// Size, bytes.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The device address, for calls into TensorRT; valid while a clone of `self` lives.
    pub fn as_raw(&self) -> *mut c_void {
        // Device addresses are numbers to the host, never followed there.
        std::ptr::without_provenance_mut(usize::try_from(self.0.address()).unwrap_or(0))
    }

    /// Sets every byte, in the order of `stream`. The byte `0xff` makes every float a NaN.
    pub fn fill(&self, byte: u8, stream: &Stream) -> Result<()> {
        self.0.fill(byte, &stream.0)
    }

    /// Issues a copy of the first `bytes` to `target`, in the order of `stream`; returns at once.
    ///
    /// # Errors
    ///
    /// When `bytes` exceed either buffer.
    pub fn copy_to(&self, target: &Self, bytes: usize, stream: &Stream) -> Result<()> {
        result::copy_on_device(&self.0, &target.0, bytes, &stream.0)
    }

    /// Copies `values` to the start of the buffer and waits for the stream.
    ///
    /// # Errors
    ///
    /// When they do not fit, or during a capture.
    pub fn upload<T: Plain>(&self, values: &[T], stream: &Stream) -> Result<()> {
        self.0.upload(values, &stream.0)
    }

    /// Fills `values` from the start of the buffer and waits for the stream.
    ///
    /// # Errors
    ///
    /// When the buffer is shorter, or during a capture.
    pub fn download<T: Plain>(&self, values: &mut [T], stream: &Stream) -> Result<()> {
        self.0.download(values, &stream.0)
    }
}

/// Page-locked host memory, freed with its last clone, after the device was waited for.
#[derive(Clone)]
pub struct PinnedBuffer(Rc<PinnedMemory>);

impl fmt::Debug for PinnedBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PinnedBuffer({} bytes)", self.bytes())
    }
}

impl PinnedBuffer {
    pub(super) fn new(device: &Device, bytes: usize) -> Result<Self> {
        PinnedMemory::new(&device.context, bytes).map(Self)
    }

    /// Size, bytes.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The content as whole elements; waits for the device first if copies may be using it.
    ///
    /// # Errors
    ///
    /// While an exclusive view exists, or when the device's work failed.
    pub fn view<T: Plain>(&self) -> Result<PinnedView<'_, T>> {
        self.0.view()
    }

    /// The content to be written; waits for the device first if copies may be using it.
    ///
    /// # Errors
    ///
    /// While another view exists, or when the device's work failed.
    pub fn view_mut<T: Plain>(&self) -> Result<PinnedViewMut<'_, T>> {
        self.0.view_mut()
    }

    /// Issues a copy of the first `bytes` to `target`, in the order of `stream`; returns at once.
    ///
    /// # Errors
    ///
    /// When `bytes` exceed either buffer, or a view of `self` exists.
    pub fn copy_to(&self, target: &DeviceBuffer, bytes: usize, stream: &Stream) -> Result<()> {
        result::copy_in(&self.0, &target.0, bytes, &stream.0)
    }

    /// Issues a copy of the first `bytes` from `source`, in the order of `stream`; returns at once.
    ///
    /// # Errors
    ///
    /// When `bytes` exceed either buffer, or a view of `self` exists.
    pub fn copy_from(&self, source: &DeviceBuffer, bytes: usize, stream: &Stream) -> Result<()> {
        result::copy_out(&source.0, &self.0, bytes, &stream.0)
    }
}
