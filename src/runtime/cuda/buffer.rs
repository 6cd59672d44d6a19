//! Memory: on the device, and page-locked on the host, whole or a part of it.

use std::ffi::c_void;
use std::fmt;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::runtime::cuda::device::Device;
use crate::runtime::cuda::result::{self, DeviceMemory, PinnedMemory, PinnedView, PinnedViewMut, Plain};
use crate::runtime::cuda::stream::Stream;

/// Where a part must begin: what TensorRT asks of the address of a tensor.
pub const ALIGNMENT: usize = 256;

/// The range of a part inside its memory.
#[derive(Clone, Copy)]
struct Range {
    offset: usize,
    bytes: usize,
}

impl Range {
    /// The range of `bytes` from `offset` on inside this one.
    fn part(self, offset: usize, bytes: usize) -> Result<Self> {
        if !offset.is_multiple_of(ALIGNMENT) {
            return Err(Error::failed(format!(
                "a part of a buffer begins at {offset}, not at a multiple of {ALIGNMENT}"
            )));
        }
        let begin = self.offset.checked_add(offset);
        match (begin, offset.checked_add(bytes)) {
            (Some(offset), Some(end)) if end <= self.bytes => Ok(Self { offset, bytes }),
            _ => {
                Err(Error::failed(format!("{bytes} bytes at {offset} are no part of a buffer of {} bytes", self.bytes)))
            }
        }
    }

    /// Refuses `bytes` that this range does not hold.
    fn check(self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            return Err(Error::failed(format!("{bytes} bytes do not fit a buffer of {} bytes", self.bytes)));
        }
        Ok(())
    }
}

/// Device memory, or a part of it; freed with its last clone or part, after the device was waited for.
#[derive(Clone)]
pub struct DeviceBuffer {
    memory: Rc<DeviceMemory>,
    range: Range,
}

impl fmt::Debug for DeviceBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DeviceBuffer({} bytes at {:p})", self.bytes(), self.as_raw())
    }
}

impl DeviceBuffer {
    pub(super) fn new(device: &Device, bytes: usize) -> Result<Self> {
        let memory = DeviceMemory::new(&device.context, bytes)?;
        Ok(Self { memory, range: Range { offset: 0, bytes } })
    }

    /// The `bytes` from `offset` on (a multiple of [`ALIGNMENT`]) as a buffer of its own, which keeps the memory alive.
    ///
    /// # Errors
    ///
    /// When they are not inside.
    pub fn part(&self, offset: usize, bytes: usize) -> Result<Self> {
        Ok(Self { memory: Rc::clone(&self.memory), range: self.range.part(offset, bytes)? })
    }

    /// Size, bytes.
    pub fn bytes(&self) -> usize {
        self.range.bytes
    }

    /// The device address, for calls into TensorRT; valid while a clone of `self` lives.
    pub fn as_raw(&self) -> *mut c_void {
        // Device addresses are numbers to the host, never followed there.
        let address = self.memory.address() + self.range.offset as u64;
        std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or(0))
    }

    /// Sets every byte, in the order of `stream`. The byte `0xff` makes every float a NaN.
    pub fn fill(&self, byte: u8, stream: &Stream) -> Result<()> {
        self.memory.fill(self.range.offset, self.range.bytes, byte, &stream.0)
    }

    /// Issues a copy of the first `bytes` to `target`, in the order of `stream`; returns at once.
    ///
    /// # Errors
    ///
    /// When `bytes` exceed either buffer.
    pub fn copy_to(&self, target: &Self, bytes: usize, stream: &Stream) -> Result<()> {
        self.range.check(bytes).and_then(|()| target.range.check(bytes))?;
        let (from, to) = ((&self.memory, self.range.offset), (&target.memory, target.range.offset));
        result::copy_on_device(from, to, bytes, &stream.0)
    }

    /// Copies `values` to the start of the buffer and waits for the stream.
    ///
    /// # Errors
    ///
    /// When they do not fit, or during a capture.
    pub fn upload<T: Plain>(&self, values: &[T], stream: &Stream) -> Result<()> {
        self.range.check(size_of_val(values))?;
        self.memory.upload(self.range.offset, values, &stream.0)
    }

    /// Fills `values` from the start of the buffer and waits for the stream.
    ///
    /// # Errors
    ///
    /// When the buffer is shorter, or during a capture.
    pub fn download<T: Plain>(&self, values: &mut [T], stream: &Stream) -> Result<()> {
        self.range.check(size_of_val(values))?;
        self.memory.download(self.range.offset, values, &stream.0)
    }
}

/// Page-locked host memory, or a part of it; freed with its last clone or part, after the device was waited for. Views
/// and copies of one part count for the whole memory.
#[derive(Clone)]
pub struct PinnedBuffer {
    memory: Rc<PinnedMemory>,
    range: Range,
}

impl fmt::Debug for PinnedBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PinnedBuffer({} bytes)", self.bytes())
    }
}

impl PinnedBuffer {
    pub(super) fn new(device: &Device, bytes: usize) -> Result<Self> {
        let memory = PinnedMemory::new(&device.context, bytes)?;
        Ok(Self { memory, range: Range { offset: 0, bytes } })
    }

    /// The `bytes` from `offset` on (a multiple of [`ALIGNMENT`]) as a buffer of its own, which keeps the memory alive.
    ///
    /// # Errors
    ///
    /// When they are not inside.
    pub fn part(&self, offset: usize, bytes: usize) -> Result<Self> {
        Ok(Self { memory: Rc::clone(&self.memory), range: self.range.part(offset, bytes)? })
    }

    /// Size, bytes.
    pub fn bytes(&self) -> usize {
        self.range.bytes
    }

    /// The address, for a call into TensorRT that may use the content from now on; valid while a clone of `self` lives. Views wait
    /// for the device's work.
    ///
    /// # Errors
    ///
    /// While a view exists.
    pub fn lend(&self) -> Result<*mut c_void> {
        self.memory.begin_work()?;
        Ok(self.memory.address(self.range.offset).cast())
    }

    /// The content as whole elements; waits for the device first if copies may be using it.
    ///
    /// # Errors
    ///
    /// While an exclusive view exists, or when the device's work failed.
    pub fn view<T: Plain>(&self) -> Result<PinnedView<'_, T>> {
        self.memory.view(self.range.offset, self.range.bytes)
    }

    /// The content to be written; waits for the device first if copies may be using it.
    ///
    /// # Errors
    ///
    /// While another view exists, or when the device's work failed.
    pub fn view_mut<T: Plain>(&self) -> Result<PinnedViewMut<'_, T>> {
        self.memory.view_mut(self.range.offset, self.range.bytes)
    }

    /// Issues a copy of the first `bytes` to `target`, in the order of `stream`; returns at once.
    ///
    /// # Errors
    ///
    /// When `bytes` exceed either buffer, or a view of `self` exists.
    pub fn copy_to(&self, target: &DeviceBuffer, bytes: usize, stream: &Stream) -> Result<()> {
        self.range.check(bytes).and_then(|()| target.range.check(bytes))?;
        let (from, to) = ((&self.memory, self.range.offset), (&target.memory, target.range.offset));
        result::copy_in(from, to, bytes, &stream.0)
    }

    /// Issues a copy of the first `bytes` from `source`, in the order of `stream`; returns at once.
    ///
    /// # Errors
    ///
    /// When `bytes` exceed either buffer, or a view of `self` exists.
    pub fn copy_from(&self, source: &DeviceBuffer, bytes: usize, stream: &Stream) -> Result<()> {
        self.range.check(bytes).and_then(|()| source.range.check(bytes))?;
        let (from, to) = ((&source.memory, source.range.offset), (&self.memory, self.range.offset));
        result::copy_out(from, to, bytes, &stream.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::whole(0, 1024, Some(512))]
    #[case::the_end(768, 256, Some(1280))]
    #[case::nothing_at_the_end(1024, 0, Some(1536))]
    #[case::past_the_end(768, 257, None)]
    #[case::begins_past_the_end(1280, 0, None)]
    #[case::unaligned(8, 8, None)]
    #[case::overflow(256, usize::MAX, None)]
    fn parts_lie_inside(#[case] offset: usize, #[case] bytes: usize, #[case] begin: Option<usize>) {
        let whole = Range { offset: 512, bytes: 1024 };
        assert_eq!(whole.part(offset, bytes).ok().map(|part| part.offset), begin);
    }

    #[test]
    fn a_copy_stays_inside_its_part() {
        let part = Range { offset: 0, bytes: 1024 }.part(256, 256).unwrap();
        assert!(part.check(256).is_ok() && part.check(257).is_err());
    }
}
