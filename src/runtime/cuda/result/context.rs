//! The primary context, and what a capture in progress holds.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

use cudarc::driver::sys;

use crate::error::{Error, Result};
use crate::runtime::cuda::result::memory::PinnedMemory;
use crate::runtime::cuda::result::{DeviceHandle, check};

/// What a capture in progress must keep alive, and what could not be freed during it.
#[derive(Default)]
pub(super) struct Recording {
    keep: Vec<Rc<dyn Any>>,
    pub(super) pinned: Vec<Rc<PinnedMemory>>,
}

/// The device's primary context, retained; the same one that the CUDA runtime inside TensorRT uses.
pub struct ContextHandle {
    device: sys::CUdevice,
    raw: sys::CUcontext,
    pub(super) recording: RefCell<Option<Recording>>,
    /// Memory whose owner went away during a capture, when the driver may free nothing.
    orphans: RefCell<Vec<(sys::CUdeviceptr, *mut c_void)>>,
    /// What graphs held that were dropped during a capture: they may still run.
    running: RefCell<Vec<Recording>>,
}

impl ContextHandle {
    pub fn retain(device: DeviceHandle) -> Result<Rc<Self>> {
        let mut raw = ptr::null_mut();
        // SAFETY: the device came from the driver; the out-pointer is valid for one write.
        check(unsafe { sys::cuDevicePrimaryCtxRetain(&raw mut raw, device.0) }, "open the device's primary context")?;
        let context = Rc::new(Self {
            device: device.0,
            raw,
            recording: RefCell::default(),
            orphans: RefCell::default(),
            running: RefCell::default(),
        });
        context.bind()?;
        Ok(context)
    }

    /// Makes the context current on this thread.
    pub fn bind(&self) -> Result<()> {
        // SAFETY: the context is retained until `self` is dropped.
        check(unsafe { sys::cuCtxSetCurrent(self.raw) }, "make the CUDA context current")
    }

    /// Waits for all work of the context.
    pub fn synchronize(&self) -> Result<()> {
        self.refuse_capture("wait for the device")?;
        self.bind()?;
        // SAFETY: the context is current.
        check(unsafe { sys::cuCtxSynchronize() }, "wait for the device")
    }

    /// Free and total device memory, bytes.
    pub fn memory(&self) -> Result<(usize, usize)> {
        self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the context is current; the out-pointers are valid for one write each.
        check(unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) }, "read the free device memory")?;
        Ok((free, total))
    }

    /// Refuses to use objects of two handles together: each knows only its own captures and waits.
    pub(super) fn check_same(self: &Rc<Self>, other: &Rc<Self>) -> Result<()> {
        if Rc::ptr_eq(self, other) {
            return Ok(());
        }
        Err(Error::failed("a stream, an event or memory of one device handle cannot be used with those of another"))
    }

    /// Keeps what a dropped graph held until the capture in progress has ended; gives it back when there is none.
    pub(super) fn keep_running(&self, recording: Recording) -> Option<Recording> {
        if !self.capturing() {
            return Some(recording);
        }
        self.running.borrow_mut().push(recording);
        None
    }

    fn capturing(&self) -> bool {
        self.recording.borrow().is_some()
    }

    /// Refuses, with a name for what, a call that would spoil a capture in progress.
    pub(super) fn refuse_capture(&self, what: &str) -> Result<()> {
        if self.capturing() {
            return Err(Error::failed(format!("cannot {what} during a graph capture")));
        }
        Ok(())
    }

    /// Notes that work using `object` was issued; during a capture the graph will keep it alive.
    pub fn note(&self, object: Rc<dyn Any>) {
        if let Some(recording) = self.recording.borrow_mut().as_mut() {
            recording.keep.push(object);
        }
    }

    /// Notes that work using pinned memory was issued: perhaps into a capture, perhaps on a stream outside it.
    pub(super) fn note_pinned(&self, memory: &Rc<PinnedMemory>) -> Result<()> {
        memory.begin_work()?;
        if let Some(recording) = self.recording.borrow_mut().as_mut() {
            recording.pinned.push(Rc::clone(memory));
        }
        Ok(())
    }

    pub(super) fn free(&self, device: sys::CUdeviceptr, host: *mut c_void) {
        if self.capturing() {
            self.orphans.borrow_mut().push((device, host));
            return;
        }
        // A failure means that the context is lost, and its memory with it.
        let _ = self.synchronize();
        if device != 0 {
            // SAFETY: the address was allocated by the driver, is freed once by its only owner (or its entry among the
            // orphans), and no work uses it any more: the context was waited for, or is lost with all its work.
            let _ = unsafe { sys::cuMemFree_v2(device) };
        }
        if !host.is_null() {
            // SAFETY: as above.
            let _ = unsafe { sys::cuMemFreeHost(host) };
        }
    }

    pub(super) fn free_orphans(&self) {
        let running = self.running.take();
        if !running.is_empty() {
            // A failure means that the context is lost, and nothing of it runs.
            let _ = self.synchronize();
        }
        drop(running);
        for (device, host) in self.orphans.take() {
            self.free(device, host);
        }
    }
}

impl Drop for ContextHandle {
    fn drop(&mut self) {
        // SAFETY: retained once in `retain`; every other handle holds `self`, so none is left.
        let _ = unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}
