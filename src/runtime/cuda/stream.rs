//! Streams, events and graphs.

use std::any::Any;
use std::ffi::c_void;
use std::fmt;
use std::rc::Rc;

use crate::error::Result;
use crate::runtime::cuda::device::Device;
use crate::runtime::cuda::result::{EventHandle, GraphHandle, StreamHandle};

/// A queue of work on the device that does not wait for the legacy default stream. Cloning shares it.
#[derive(Clone)]
pub struct Stream(pub(super) Rc<StreamHandle>);

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Stream({:p})", self.0.address())
    }
}

impl Stream {
    pub(super) fn new(device: &Device) -> Result<Self> {
        Ok(Self(Rc::new(StreamHandle::new(&device.context)?)))
    }

    /// The `cudaStream_t` (the same as a `CUstream`), for calls into TensorRT; valid while `self` lives.
    pub fn as_raw(&self) -> *mut c_void {
        self.0.address()
    }

    /// Blocks until everything issued so far is done.
    ///
    /// # Errors
    ///
    /// Also the errors of that work.
    pub fn synchronize(&self) -> Result<()> {
        self.0.synchronize()
    }

    /// Lets work issued from now on wait for the last record of `event`. During a capture this is how another stream
    /// joins it.
    pub fn wait(&self, event: &Event) -> Result<()> {
        self.0.wait(&event.0)
    }

    /// Tells that work on this stream uses `object` (a TensorRT context, say): a graph being captured keeps it alive
    /// until the graph is dropped. Outside a capture it does nothing, and the caller keeps the object until the
    /// stream was waited for.
    pub fn keep_alive(&self, object: Rc<dyn Any>) {
        self.0.context.note(object);
    }

    /// Captures the work that `issue` puts on this stream, and on streams that join it, into a graph. Nothing runs.
    ///
    /// # Errors
    ///
    /// Those of `issue`; and when the work cannot be captured, or a stream that joined was not waited for at the end.
    pub fn capture(&self, issue: impl FnOnce(&Self) -> Result<()>) -> Result<Graph> {
        self.0.begin_capture()?;
        let issued = issue(self);
        // The capture must end even when `issue` failed, or the stream stays unusable.
        let graph = self.0.end_capture();
        issued?;
        graph.map(Graph)
    }
}

/// How a thread can wait for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It can sleep, for which the device interrupts the host at every record.
    Sleeps,
    /// It can only spin, and records interrupt nobody.
    Spins,
}

/// A point in a stream.
#[derive(Clone)]
pub struct Event(Rc<EventHandle>);

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Event")
    }
}

impl Event {
    pub(super) fn new(device: &Device, timing: bool, waiting: Waiting) -> Result<Self> {
        let blocking = waiting == Waiting::Sleeps;
        Ok(Self(Rc::new(EventHandle::new(&device.context, timing, blocking)?)))
    }

    /// Records the event on `stream`.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        self.0.record(&stream.0)
    }

    /// Whether everything before the last record is done.
    pub fn is_done(&self) -> Result<bool> {
        self.0.query()
    }

    /// Waits for the last record: spinning (reacts within about a microsecond, burns a core), or asleep if the event was
    /// made with [`Waiting::Sleeps`].
    #[inline]
    pub fn wait(&self, spin: bool) -> Result<()> {
        if !spin {
            return self.0.synchronize();
        }
        while !self.0.query()? {
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Milliseconds from `start` to `self` (resolution about 0.5 µs); both must be complete.
    pub fn milliseconds_since(&self, start: &Self) -> Result<f64> {
        self.0.milliseconds_since(&start.0).map(f64::from)
    }
}

/// Captured work that one call launches. It keeps alive every buffer it uses.
pub struct Graph(GraphHandle);

impl fmt::Debug for Graph {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Graph({} nodes)", self.0.nodes())
    }
}

impl Graph {
    /// Nodes: kernels, copies, fills, event records.
    pub fn nodes(&self) -> usize {
        self.0.nodes()
    }

    /// Issues the graph's work on `stream` and returns at once.
    ///
    /// # Errors
    ///
    /// When the host holds a view of pinned memory that the graph uses.
    #[inline]
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        self.0.launch(&stream.0)
    }
}
