//! Memory on the device and page-locked on the host, and copies between them.

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use cudarc::driver::sys;

use crate::error::{Error, Result};
use crate::runtime::cuda::result::check;
use crate::runtime::cuda::result::context::ContextHandle;
use crate::runtime::cuda::result::stream::StreamHandle;

/// Element types whose every bit pattern is a value, so that bytes from a device may be viewed as them.
///
/// # Safety
///
/// Implementors have no padding, no invalid bit pattern, and an alignment of at most 8.
pub unsafe trait Plain: Copy + 'static {}

// SAFETY: an integer of one byte.
unsafe impl Plain for u8 {}
// SAFETY: every bit pattern of four bytes is a float.
unsafe impl Plain for f32 {}

/// Device memory.
pub struct DeviceMemory {
    address: sys::CUdeviceptr,
    bytes: usize,
    context: Rc<ContextHandle>,
}

impl DeviceMemory {
    pub fn new(context: &Rc<ContextHandle>, bytes: usize) -> Result<Rc<Self>> {
        context.refuse_capture("allocate device memory")?;
        context.bind()?;
        let mut address = 0;
        // The driver refuses an allocation of nothing.
        let code = {
            // SAFETY: the context is current; the out-pointer is valid for one write.
            unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes.max(1)) }
        };
        check(code, &format!("allocate {bytes} bytes of device memory"))?;
        Ok(Rc::new(Self { address, bytes, context: Rc::clone(context) }))
    }

    pub fn address(&self) -> u64 {
        self.address
    }

    /// The address `offset` bytes in, if `length` bytes from there are inside.
    fn part(&self, offset: usize, length: usize) -> Result<sys::CUdeviceptr> {
        inside(offset, length, self.bytes, "device")?;
        Ok(self.address + offset as u64)
    }

    /// Sets `bytes` bytes from `offset` on.
    pub fn fill(self: &Rc<Self>, offset: usize, bytes: usize, byte: u8, stream: &StreamHandle) -> Result<()> {
        self.context.check_same(&stream.context)?;
        let address = self.part(offset, bytes)?;
        self.context.note(Rc::clone(self) as Rc<dyn Any>);
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range is inside the buffer, which is freed only after the context was waited for.
        check(unsafe { sys::cuMemsetD8Async(address, byte, bytes, stream.raw) }, "fill device memory")
    }

    /// Copies ordinary host memory to `offset` and waits for it.
    pub fn upload<T: Plain>(&self, offset: usize, source: &[T], stream: &StreamHandle) -> Result<()> {
        self.context.check_same(&stream.context)?;
        self.context.refuse_capture("copy ordinary host memory")?;
        let bytes = size_of_val(source);
        let address = self.part(offset, bytes)?;
        // SAFETY: both ranges are inside their buffers, and the copy is waited for before `source` can go away: by the
        // stream, or where that fails by the context, whose failure means that no copy goes on.
        let copied = check(
            unsafe { sys::cuMemcpyHtoDAsync_v2(address, source.as_ptr().cast(), bytes, stream.raw) },
            "copy to the device",
        );
        let waited = stream.synchronize().or_else(|_| self.context.synchronize());
        copied.and(waited)
    }

    /// Copies from `offset` to ordinary host memory and waits for it.
    pub fn download<T: Plain>(&self, offset: usize, target: &mut [T], stream: &StreamHandle) -> Result<()> {
        self.context.check_same(&stream.context)?;
        self.context.refuse_capture("copy ordinary host memory")?;
        let bytes = size_of_val(target);
        let address = self.part(offset, bytes)?;
        // SAFETY: as in `upload`; any bytes are valid values of `T`.
        let copied = check(
            unsafe { sys::cuMemcpyDtoHAsync_v2(target.as_mut_ptr().cast(), address, bytes, stream.raw) },
            "copy from the device",
        );
        let waited = stream.synchronize().or_else(|_| self.context.synchronize());
        copied.and(waited)
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        self.context.free(self.address, ptr::null_mut());
    }
}

/// Who may use a piece of pinned memory now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Nobody.
    Idle,
    /// Work on the device, issued since the context was last waited for.
    Device,
    /// The host, through this many shared views.
    Read(usize),
    /// The host, through an exclusive view.
    Written,
}

/// Page-locked host memory, which copies reach without a detour.
pub struct PinnedMemory {
    pointer: NonNull<u8>,
    bytes: usize,
    state: Cell<Use>,
    context: Rc<ContextHandle>,
}

impl PinnedMemory {
    /// Allocates `bytes`, all zero.
    pub fn new(context: &Rc<ContextHandle>, bytes: usize) -> Result<Rc<Self>> {
        context.refuse_capture("allocate pinned memory")?;
        context.bind()?;
        let size = bytes.max(1);
        let mut raw = ptr::null_mut();
        // SAFETY: the context is current; the out-pointer is valid for one write.
        let code = unsafe { sys::cuMemHostAlloc(&raw mut raw, size, 0) };
        check(code, &format!("allocate {bytes} bytes of pinned host memory"))?;
        let pointer =
            NonNull::new(raw.cast::<u8>()).ok_or_else(|| Error::machine("pinned host memory is at address 0"))?;
        // SAFETY: `size` bytes were just allocated at `pointer` and nobody else has it.
        unsafe { pointer.write_bytes(0, size) };
        Ok(Rc::new(Self { pointer, bytes, state: Cell::new(Use::Idle), context: Rc::clone(context) }))
    }

    /// Marks that work on the device may use the memory from now on.
    pub fn begin_work(&self) -> Result<()> {
        match self.state.get() {
            Use::Idle | Use::Device => self.state.set(Use::Device),
            Use::Read(_) | Use::Written => {
                return Err(Error::failed("a copy would use pinned memory that the host is looking at"));
            }
        }
        Ok(())
    }

    /// Where the byte at `offset` lies; whoever hands it to something else says so by [`PinnedMemory::begin_work`].
    pub fn address(&self, offset: usize) -> *mut u8 {
        self.pointer.as_ptr().wrapping_add(offset)
    }

    /// Waits until no work can be using the memory.
    fn settle(&self) -> Result<()> {
        if self.state.get() == Use::Device {
            self.context.synchronize()?;
            self.state.set(Use::Idle);
        }
        Ok(())
    }

    /// Lends `bytes` bytes from `offset` on, as whole elements.
    pub fn view<T: Plain>(&self, offset: usize, bytes: usize) -> Result<PinnedView<'_, T>> {
        let (pointer, length) = self.elements::<T>(offset, bytes)?;
        self.settle()?;
        match self.state.get() {
            Use::Read(count) => self.state.set(Use::Read(count + 1)),
            Use::Idle => self.state.set(Use::Read(1)),
            Use::Device | Use::Written => return Err(Error::failed("pinned memory is being written")),
        }
        Ok(PinnedView { memory: self, pointer, length, element: PhantomData })
    }

    /// Lends `bytes` bytes from `offset` on, as whole elements, to be written.
    pub fn view_mut<T: Plain>(&self, offset: usize, bytes: usize) -> Result<PinnedViewMut<'_, T>> {
        let (pointer, length) = self.elements::<T>(offset, bytes)?;
        self.settle()?;
        if self.state.get() != Use::Idle {
            return Err(Error::failed("pinned memory is in use"));
        }
        self.state.set(Use::Written);
        Ok(PinnedViewMut { memory: self, pointer, length, element: PhantomData })
    }

    /// Where elements of type `T` begin, and how many whole ones there are.
    fn elements<T: Plain>(&self, offset: usize, bytes: usize) -> Result<(*mut T, usize)> {
        if !offset.is_multiple_of(align_of::<T>()) {
            return Err(Error::failed(format!("no element of {} bytes begins at offset {offset}", size_of::<T>())));
        }
        Ok((self.part(offset, bytes)?.cast(), bytes / size_of::<T>()))
    }

    fn part(&self, offset: usize, length: usize) -> Result<*mut c_void> {
        inside(offset, length, self.bytes, "pinned")?;
        // SAFETY: the offset is inside the allocation.
        Ok(unsafe { self.pointer.add(offset) }.as_ptr().cast())
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        self.context.free(0, self.pointer.as_ptr().cast());
    }
}

/// Pinned memory lent to the host, shared.
pub struct PinnedView<'a, T> {
    memory: &'a PinnedMemory,
    pointer: *mut T,
    length: usize,
    element: PhantomData<&'a [T]>,
}

impl<T: Plain> std::ops::Deref for PinnedView<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `elements` checked that the range is inside the memory and that its offset is aligned for `T` (pinned
        // memory itself is page-aligned); `T` is plain; and while a view exists no work that uses the memory is pending
        // or can be issued, nor an exclusive view be made.
        unsafe { std::slice::from_raw_parts(self.pointer, self.length) }
    }
}

impl<T> Drop for PinnedView<'_, T> {
    fn drop(&mut self) {
        if let Use::Read(count) = self.memory.state.get() {
            self.memory.state.set(if count > 1 { Use::Read(count - 1) } else { Use::Idle });
        }
    }
}

/// Pinned memory lent to the host, exclusive.
pub struct PinnedViewMut<'a, T> {
    memory: &'a PinnedMemory,
    pointer: *mut T,
    length: usize,
    element: PhantomData<&'a mut [T]>,
}

impl<T: Plain> std::ops::Deref for PinnedViewMut<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: as for `PinnedView`; the view is exclusive.
        unsafe { std::slice::from_raw_parts(self.pointer, self.length) }
    }
}

impl<T: Plain> std::ops::DerefMut for PinnedViewMut<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `PinnedView`; the view is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.length) }
    }
}

impl<T> Drop for PinnedViewMut<'_, T> {
    fn drop(&mut self) {
        self.memory.state.set(Use::Idle);
    }
}

/// Issues a copy of `bytes` from host to device, each from its offset on; returns at once.
pub fn copy_in(
    (source, source_offset): (&Rc<PinnedMemory>, usize),
    (target, target_offset): (&Rc<DeviceMemory>, usize),
    bytes: usize,
    stream: &StreamHandle,
) -> Result<()> {
    source.context.check_same(&stream.context).and_then(|()| target.context.check_same(&stream.context))?;
    let (from, to) = (source.part(source_offset, bytes)?, target.part(target_offset, bytes)?);
    stream.context.note_pinned(source)?;
    stream.context.note(Rc::clone(target) as Rc<dyn Any>);
    // SAFETY: both ranges are inside their buffers, which are freed only after the context was waited for (and after
    // the graph is gone that captured the copy), and the host looks at the pinned one only after the same wait.
    check(unsafe { sys::cuMemcpyHtoDAsync_v2(to, from, bytes, stream.raw) }, "copy to the device")
}

/// Issues a copy of `bytes` from device to host, each from its offset on; returns at once.
pub fn copy_out(
    (source, source_offset): (&Rc<DeviceMemory>, usize),
    (target, target_offset): (&Rc<PinnedMemory>, usize),
    bytes: usize,
    stream: &StreamHandle,
) -> Result<()> {
    source.context.check_same(&stream.context).and_then(|()| target.context.check_same(&stream.context))?;
    let (from, to) = (source.part(source_offset, bytes)?, target.part(target_offset, bytes)?);
    stream.context.note_pinned(target)?;
    stream.context.note(Rc::clone(source) as Rc<dyn Any>);
    // SAFETY: as in `copy_in`.
    check(unsafe { sys::cuMemcpyDtoHAsync_v2(to, from, bytes, stream.raw) }, "copy from the device")
}

/// Issues a copy of `bytes` between device buffers, each from its offset on; returns at once.
pub fn copy_on_device(
    (source, source_offset): (&Rc<DeviceMemory>, usize),
    (target, target_offset): (&Rc<DeviceMemory>, usize),
    bytes: usize,
    stream: &StreamHandle,
) -> Result<()> {
    source.context.check_same(&stream.context).and_then(|()| target.context.check_same(&stream.context))?;
    let (from, to) = (source.part(source_offset, bytes)?, target.part(target_offset, bytes)?);
    stream.context.note(Rc::clone(source) as Rc<dyn Any>);
    stream.context.note(Rc::clone(target) as Rc<dyn Any>);
    if from < to + bytes as u64 && to < from + bytes as u64 {
        return Err(Error::failed(format!("a copy of {bytes} bytes on the device overlaps itself")));
    }
    // SAFETY: as in `copy_in`; the ranges do not overlap.
    check(unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, stream.raw) }, "copy on the device")
}

/// Refuses a range that is not inside a buffer.
fn inside(offset: usize, length: usize, bytes: usize, what: &str) -> Result<()> {
    match offset.checked_add(length) {
        Some(end) if end <= bytes => Ok(()),
        _ => {
            Err(Error::failed(format!("{length} bytes at offset {offset} do not fit a {what} buffer of {bytes} bytes")))
        }
    }
}
