//! Execution contexts: shapes, addresses and launches, with everything that a launch uses kept alive until it is done.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::runtime::cuda::{DeviceBuffer, PinnedBuffer, Stream};
use crate::runtime::tensorrt::log;
use crate::runtime::tensorrt::result::object::{Object, c_string, call_dims, check, failure, to_narrow, to_wide};
use crate::runtime::tensorrt::result::{Engine, OutputAllocator};
use crate::runtime::tensorrt::sys::{Dims32, Dims64};

#[derive(Debug)]
struct ContextObject {
    // Dropped first: the context before what it refers to.
    object: Object,
    /// Tensors and the bytes of one element.
    tensors: Vec<(String, usize)>,
    buffers: RefCell<BTreeMap<String, Rc<DeviceBuffer>>>,
    /// Tensors that lie on the host.
    on_host: RefCell<BTreeMap<String, Rc<PinnedBuffer>>>,
    /// What outputs ask for memory whose extents depend on values.
    allocators: RefCell<BTreeMap<String, Rc<OutputAllocator>>>,
    /// Streams that work was issued on.
    streams: RefCell<Vec<Stream>>,
    /// Whether shapes and buffers were checked since they last changed.
    checked: Cell<bool>,
    engine: Engine,
}

impl Drop for ContextObject {
    fn drop(&mut self) {
        for stream in self.streams.borrow().iter() {
            // Work in flight may use the context's scratch memory. A stream that failed has nothing in flight.
            let _ = stream.synchronize();
        }
    }
}

/// `IExecutionContext`: one inference at a time. Cloning shares it; it stays on its thread, as NVIDIA's documents ask.
///
/// A launch uses only buffers that are known to hold their tensors, and those buffers, the context and its engine stay
/// until the launch is done or, when it was captured, until the graph is dropped.
#[derive(Clone, Debug)]
pub struct ExecutionContext(Rc<ContextObject>);

impl ExecutionContext {
    pub(super) fn new(object: Object, engine: Engine) -> Result<Self> {
        let mut tensors = Vec::new();
        for name in engine.tensor_names()? {
            let (_, element_type, _) = engine.tensor(&name)?;
            let bytes = element_type.bytes().ok_or_else(|| {
                Error::unsupported(format!("`{name}` has an element type that is not handled at the engine's border"))
            })?;
            tensors.push((name, bytes));
        }
        Ok(Self(Rc::new(ContextObject {
            object,
            tensors,
            buffers: RefCell::default(),
            on_host: RefCell::default(),
            allocators: RefCell::default(),
            streams: RefCell::default(),
            checked: Cell::new(false),
            engine,
        })))
    }

    pub(super) fn as_pointer(&self) -> *mut c_void {
        self.0.object.as_pointer()
    }

    /// Its engine.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Selects an optimization profile, in the order of `stream`; input shapes must be set again.
    pub fn set_profile(&self, profile: usize, stream: &Stream) -> Result<()> {
        let count = self.0.engine.profile_count()?;
        if profile >= count {
            return Err(Error::input(format!("the engine has {count} optimization profiles, none of index {profile}"))
                .hint("build it with more profiles (`profiles` in the manifest), one a context"));
        }
        let (library, mark) = (self.0.object.library(), log::mark());
        let slot = library.slots().execution_context.set_optimization_profile_async;
        let index = c_int::try_from(profile).unwrap_or(c_int::MAX);
        self.0.checked.set(false);
        self.note_stream(stream);
        let accepted =
            call!(unsafe library, self.as_pointer(), slot, (index => c_int, stream.as_raw() => *mut c_void) -> bool)?;
        check(library, accepted, &format!("setOptimizationProfileAsync({profile})"), mark)
    }

    /// Sets the shape of input `name` for the next launches.
    pub fn set_input_shape(&self, name: &str, shape: &[i64]) -> Result<()> {
        let (library, mark) = (self.0.object.library(), log::mark());
        let slot = library.slots().execution_context.set_input_shape;
        let c_name = c_string(name)?;
        self.0.checked.set(false);
        let accepted = if library.family().narrow_dims() {
            let dims = to_narrow(shape)?;
            call!(unsafe library, self.as_pointer(), slot,
                (c_name.as_ptr() => *const c_char, std::ptr::from_ref(&dims) => *const Dims32) -> bool)?
        } else {
            let dims = to_wide(shape)?;
            call!(unsafe library, self.as_pointer(), slot,
                (c_name.as_ptr() => *const c_char, std::ptr::from_ref(&dims) => *const Dims64) -> bool)?
        };
        check(library, accepted, &format!("setInputShape({name}, {shape:?})"), mark)
    }

    /// The shape of a tensor under the input shapes set so far; -1 where they do not say yet.
    pub fn shape(&self, name: &str) -> Result<Vec<i64>> {
        let (library, mark) = (self.0.object.library(), log::mark());
        let slot = library.slots().execution_context.get_tensor_shape;
        let c_name = c_string(name)?;
        call_dims!(unsafe library, self.as_pointer(), slot, (c_name.as_ptr() => *const c_char))?
            .ok_or_else(|| failure(library, &format!("getTensorShape({name})"), mark))
    }

    /// Sets where tensor `name` lies; its buffer has to be kept by whoever calls.
    fn set_address(&self, name: &str, address: *mut c_void) -> Result<()> {
        let (library, mark) = (self.0.object.library(), log::mark());
        let slot = library.slots().execution_context.set_tensor_address;
        let c_name = c_string(name)?;
        self.0.checked.set(false);
        let accepted = call!(unsafe library, self.as_pointer(), slot,
            (c_name.as_ptr() => *const c_char, address => *mut c_void) -> bool)?;
        check(library, accepted, &format!("setTensorAddress({name})"), mark)
    }

    /// Sets where tensor `name` lies, from the start of `buffer`.
    pub fn set_tensor_buffer(&self, name: &str, buffer: &DeviceBuffer) -> Result<()> {
        self.set_address(name, buffer.as_raw())?;
        // Only now may the buffer go that this replaces; it is freed after the device was waited for.
        self.0.buffers.borrow_mut().insert(name.to_owned(), Rc::new(buffer.clone()));
        Ok(())
    }

    /// Sets where tensor `name` lies on the host, for one whose values are shapes or decide them. Its values are read when this is
    /// called, and at a launch.
    pub fn set_host_buffer(&self, name: &str, buffer: &PinnedBuffer) -> Result<()> {
        self.set_address(name, buffer.lend()?)?;
        self.0.on_host.borrow_mut().insert(name.to_owned(), Rc::new(buffer.clone()));
        Ok(())
    }

    /// Lets output `name`, whose extents depend on values, ask `allocator` for its memory at every launch.
    pub fn set_output_allocator(&self, name: &str, allocator: &Rc<OutputAllocator>) -> Result<()> {
        let (library, mark) = (self.0.object.library(), log::mark());
        let slot = library.slots().execution_context.set_output_allocator;
        let c_name = c_string(name)?;
        self.0.checked.set(false);
        let accepted = call!(unsafe library, self.as_pointer(), slot,
            (c_name.as_ptr() => *const c_char, allocator.as_pointer() => *mut c_void) -> bool)?;
        check(library, accepted, &format!("setOutputAllocator({name})"), mark)?;
        // Only now may the allocator go that this replaces.
        self.0.allocators.borrow_mut().insert(name.to_owned(), Rc::clone(allocator));
        Ok(())
    }

    /// Every tensor has a buffer that holds it, or asks for one.
    fn check_buffers(&self) -> Result<()> {
        for (name, element_bytes) in &self.0.tensors {
            if self.0.allocators.borrow().contains_key(name) {
                continue;
            }
            let shape = self.shape(name)?;
            let bytes = shape.iter().try_fold(*element_bytes, |bytes, extent| {
                usize::try_from(*extent).ok().and_then(|extent| bytes.checked_mul(extent))
            });
            let bytes = bytes.ok_or_else(|| {
                Error::failed(format!("the shape of `{name}` is not set: {shape:?}"))
                    .hint("set the shape of every input before the launch")
            })?;
            let held = self.0.buffers.borrow().get(name).map(|buffer| buffer.bytes());
            let held = held.or_else(|| self.0.on_host.borrow().get(name).map(|buffer| buffer.bytes())).unwrap_or(0);
            if held < bytes {
                return Err(Error::failed(format!("`{name}` of shape {shape:?} needs {bytes} bytes, got {held}")));
            }
        }
        self.0.checked.set(true);
        Ok(())
    }

    fn note_stream(&self, stream: &Stream) {
        let mut streams = self.0.streams.borrow_mut();
        if !streams.iter().any(|known| std::ptr::eq(known.as_raw(), stream.as_raw())) {
            streams.push(stream.clone());
        }
    }

    /// Issues one inference on `stream` and returns at once; during a capture it becomes part of the graph.
    ///
    /// # Errors
    ///
    /// When a shape or a buffer is missing or too small, and when TensorRT refuses.
    pub fn enqueue(&self, stream: &Stream) -> Result<()> {
        if !self.0.checked.get() {
            self.check_buffers()?;
        }
        for buffer in self.0.buffers.borrow().values() {
            stream.keep_alive(buffer.clone());
        }
        for buffer in self.0.on_host.borrow().values() {
            buffer.lend()?;
            stream.keep_alive(buffer.clone());
        }
        stream.keep_alive(self.0.clone());
        self.note_stream(stream);
        let (library, mark) = (self.0.object.library(), log::mark());
        let slot = library.slots().execution_context.enqueue_v3;
        let accepted = call!(unsafe library, self.as_pointer(), slot, (stream.as_raw() => *mut c_void) -> bool)?;
        check(library, accepted, "enqueueV3", mark)
    }
}
