//! Streams, events and executable graphs.

use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

use cudarc::driver::sys::{self, CUresult};

use crate::error::Result;
use crate::runtime::cuda::result::check;
use crate::runtime::cuda::result::context::{ContextHandle, Recording};

/// A stream that does not wait for the legacy default stream.
pub struct StreamHandle {
    pub(super) raw: sys::CUstream,
    pub context: Rc<ContextHandle>,
}

impl StreamHandle {
    pub fn new(context: &Rc<ContextHandle>) -> Result<Self> {
        context.bind()?;
        let mut raw = ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the context is current; the out-pointer is valid for one write.
        check(unsafe { sys::cuStreamCreate(&raw mut raw, flags) }, "create a CUDA stream")?;
        Ok(Self { raw, context: Rc::clone(context) })
    }

    pub fn address(&self) -> *mut c_void {
        self.raw.cast()
    }

    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream lives.
        check(unsafe { sys::cuStreamSynchronize(self.raw) }, "wait for a CUDA stream")
    }

    /// Work issued from now on waits for the last record of `event`.
    pub fn wait(&self, event: &EventHandle) -> Result<()> {
        self.context.check_same(&event.context)?;
        // SAFETY: stream and event live; an event that was never recorded counts as complete.
        check(unsafe { sys::cuStreamWaitEvent(self.raw, event.raw, 0) }, "make a stream wait for an event")
    }

    /// Starts a capture; every stream that then waits for an event of this one joins it.
    pub fn begin_capture(&self) -> Result<()> {
        self.context.refuse_capture("start another one")?;
        self.context.bind()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives.
        check(unsafe { sys::cuStreamBeginCapture_v2(self.raw, mode) }, "start a graph capture")?;
        *self.context.recording.borrow_mut() = Some(Recording::default());
        Ok(())
    }

    /// Ends the capture and makes it launchable.
    pub fn end_capture(&self) -> Result<GraphHandle> {
        let recording = self.context.recording.take().unwrap_or_default();
        let mut graph = ptr::null_mut();
        // SAFETY: the stream lives; the out-pointer is valid for one write.
        let ended = check(unsafe { sys::cuStreamEndCapture(self.raw, &raw mut graph) }, "end a graph capture");
        self.context.free_orphans();
        ended?;
        let (mut exec, mut nodes) = (ptr::null_mut(), 0);
        // SAFETY: the graph was just captured; a null node list asks for their number; the out-pointer is valid for one write.
        let counted = unsafe { sys::cuGraphGetNodes(graph, ptr::null_mut(), &raw mut nodes) };
        // SAFETY: as above.
        let instantiated = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut exec, graph, 0) };
        // SAFETY: the template was just captured, is not needed after instantiation, and goes once.
        let _ = unsafe { sys::cuGraphDestroy(graph) };
        check(counted, "count the nodes of a graph")?;
        check(instantiated, "instantiate a graph")?;
        let graph = GraphHandle { raw: exec, nodes, context: Rc::clone(&self.context), recording };
        // SAFETY: graph and stream live.
        check(unsafe { sys::cuGraphUpload(graph.raw, self.raw) }, "upload a graph")?;
        Ok(graph)
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        let _ = self.context.bind();
        // SAFETY: created in `new`, destroyed once; the driver lets pending work finish first.
        let _ = unsafe { sys::cuStreamDestroy_v2(self.raw) };
    }
}

/// An event.
pub struct EventHandle {
    raw: sys::CUevent,
    context: Rc<ContextHandle>,
}

impl EventHandle {
    pub fn new(context: &Rc<ContextHandle>, timing: bool, blocking: bool) -> Result<Self> {
        context.bind()?;
        let mut flags = 0;
        if !timing {
            flags |= sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        }
        if blocking {
            flags |= sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC as u32;
        }
        let mut raw = ptr::null_mut();
        // SAFETY: the context is current; the out-pointer is valid for one write.
        check(unsafe { sys::cuEventCreate(&raw mut raw, flags) }, "create a CUDA event")?;
        Ok(Self { raw, context: Rc::clone(context) })
    }

    pub fn record(&self, stream: &StreamHandle) -> Result<()> {
        self.context.check_same(&stream.context)?;
        // SAFETY: event and stream live.
        check(unsafe { sys::cuEventRecord(self.raw, stream.raw) }, "record a CUDA event")
    }

    /// Whether everything before the last record is done.
    pub fn query(&self) -> Result<bool> {
        // SAFETY: the event lives.
        match unsafe { sys::cuEventQuery(self.raw) } {
            CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            code => check(code, "query a CUDA event").map(|()| true),
        }
    }

    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the event lives.
        check(unsafe { sys::cuEventSynchronize(self.raw) }, "wait for a CUDA event")
    }

    /// Milliseconds from `start` to `self`; both recorded and complete.
    pub fn milliseconds_since(&self, start: &Self) -> Result<f32> {
        let mut milliseconds = 0.0;
        // SAFETY: both events live; the out-pointer is valid for one write. The driver checks the rest.
        let code = unsafe { sys::cuEventElapsedTime(&raw mut milliseconds, start.raw, self.raw) };
        check(code, "read the time between two CUDA events")?;
        Ok(milliseconds)
    }
}

impl Drop for EventHandle {
    fn drop(&mut self) {
        let _ = self.context.bind();
        // SAFETY: created in `new`, destroyed once.
        let _ = unsafe { sys::cuEventDestroy_v2(self.raw) };
    }
}

/// An executable graph with everything that it uses.
pub struct GraphHandle {
    raw: sys::CUgraphExec,
    nodes: usize,
    context: Rc<ContextHandle>,
    recording: Recording,
}

impl GraphHandle {
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Issues the graph on `stream`; returns at once, allocates nothing.
    #[inline]
    pub fn launch(&self, stream: &StreamHandle) -> Result<()> {
        self.context.check_same(&stream.context)?;
        // The outer graph would not know what this one holds.
        self.context.refuse_capture("launch a graph")?;
        for memory in &self.recording.pinned {
            memory.begin_work()?;
        }
        // SAFETY: graph and stream live, and so does every buffer of the graph; the host's views of its pinned memory
        // wait for the context first.
        check(unsafe { sys::cuGraphLaunch(self.raw, stream.raw) }, "launch a graph")
    }
}

impl Drop for GraphHandle {
    fn drop(&mut self) {
        let _ = self.context.synchronize();
        // SAFETY: instantiated once, destroyed once, and not running: the context was waited for. During a capture the
        // wait is refused, and then the driver defers the destruction until the graph has run.
        let _ = unsafe { sys::cuGraphExecDestroy(self.raw) };
        drop(self.context.keep_running(std::mem::take(&mut self.recording)));
    }
}
