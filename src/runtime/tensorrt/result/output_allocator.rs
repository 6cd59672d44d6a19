//! The allocator that TensorRT calls back for an output whose extents depend on values: boxes that are kept, places that are not zero.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::fmt;

use crate::error::{Error, Result};
use crate::runtime::cuda::{Device, DeviceBuffer, Stream};
use crate::runtime::tensorrt::result::Library;
use crate::runtime::tensorrt::result::object::{narrow, wide};
use crate::runtime::tensorrt::sys::{CallbackObject, Dims32, Dims64, OutputAllocatorFunctions};

struct State {
    device: Device,
    stream: Stream,
    /// What fresh memory is filled with, so that values that were not written cannot pass for answers.
    poison: u8,
    /// Whether the family's `Dims` hold 32 bits.
    narrow: bool,
    held: Option<DeviceBuffer>,
    /// Buffers that were too small, kept until work in flight is done.
    replaced: Vec<DeviceBuffer>,
    shape: Option<Vec<i64>>,
    error: Option<Error>,
}

impl State {
    /// Memory for `size` bytes.
    fn reallocate(&mut self, size: u64, alignment: u64) -> Result<*mut c_void> {
        let bytes = usize::try_from(size).map_err(|_| Error::failed(format!("{size} bytes are asked for")))?;
        let address = match &self.held {
            Some(held) if held.bytes() >= bytes => held.as_raw(),
            _ => {
                let fresh = self.device.allocate(bytes.max(1))?;
                fresh.fill(self.poison, &self.stream)?;
                let address = fresh.as_raw();
                self.replaced.extend(self.held.replace(fresh));
                address
            }
        };
        let aligned =
            usize::try_from(alignment).is_ok_and(|alignment| alignment < 2 || address.addr() % alignment == 0);
        if aligned { Ok(address) } else { Err(Error::failed(format!("an alignment of {alignment} is asked for"))) }
    }
}

/// `IOutputAllocator` of one output.
pub struct OutputAllocator(Box<CallbackObject<RefCell<State>>>);

impl fmt::Debug for OutputAllocator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OutputAllocator")
    }
}

impl OutputAllocator {
    /// An allocator of memory on `device` for inferences that are issued on `stream`.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the interface's layout is not known.
    pub fn new(library: &Library, device: &Device, stream: &Stream, poison: u8) -> Result<Self> {
        let functions = OutputAllocatorFunctions {
            reallocate: reallocate_output,
            reallocate_on_stream: reallocate_output_on_stream,
            notify_shape,
        };
        let state = State {
            device: device.clone(),
            stream: stream.clone(),
            poison,
            narrow: library.family().narrow_dims(),
            held: None,
            replaced: Vec::new(),
            shape: None,
            error: None,
        };
        CallbackObject::output_allocator(library.family(), library.version(), functions, RefCell::new(state))
            .map(Self)
            .ok_or_else(|| {
                Error::unsupported(format!("the output allocator of {} is not known", library.title()))
                    .hint("gate outputs of a known extent, or take the runtime out of `[matrix.runtimes]`")
            })
    }

    pub(super) fn as_pointer(&self) -> *mut c_void {
        self.0.as_pointer()
    }

    /// Makes ready for an inference: what was told before is forgotten, and the memory at hand is poisoned. The stream has been
    /// waited for since the inference before.
    pub fn prepare(&self) -> Result<()> {
        let mut state = self.0.state.borrow_mut();
        (state.shape, state.error) = (None, None);
        state.replaced.clear();
        match &state.held {
            Some(held) => held.fill(state.poison, &state.stream),
            None => Ok(()),
        }
    }

    /// What an inference that was issued since told: the output's extents, and where it lies.
    ///
    /// # Errors
    ///
    /// Why there was no memory, if there was none; `Failed` if no shape was told.
    pub fn told(&self, name: &str) -> Result<(Vec<usize>, DeviceBuffer)> {
        let mut state = self.0.state.borrow_mut();
        if let Some(error) = state.error.take() {
            return Err(error.context(format!("there is no memory for output `{name}`")));
        }
        let extents = |shape: &Vec<i64>| shape.iter().map(|extent| usize::try_from(*extent).ok()).collect();
        let shape: Option<Vec<usize>> = state.shape.as_ref().and_then(extents);
        shape
            .zip(state.held.clone())
            .ok_or_else(|| Error::failed(format!("TensorRT told no shape of output `{name}`: {:?}", state.shape)))
    }
}

/// The state behind an allocator.
///
/// # Safety
/// `this` is the pointer of a live [`OutputAllocator`], called from the thread that issues inferences.
unsafe fn state<'a>(this: *mut c_void) -> &'a RefCell<State> {
    // SAFETY: TensorRT passes back the pointer that it was given; the object is only ever borrowed shared.
    unsafe { &(*this.cast::<CallbackObject<RefCell<State>>>()).state }
}

extern "C" fn reallocate_output(
    this: *mut c_void,
    _name: *const c_char,
    _current: *mut c_void,
    size: u64,
    alignment: u64,
) -> *mut c_void {
    // SAFETY: called by TensorRT with the allocator's own pointer, inside of an inference that was issued.
    let Ok(mut state) = unsafe { state(this) }.try_borrow_mut() else { return std::ptr::null_mut() };
    state.reallocate(size, alignment).unwrap_or_else(|error| {
        state.error = Some(error);
        std::ptr::null_mut()
    })
}

extern "C" fn reallocate_output_on_stream(
    this: *mut c_void,
    name: *const c_char,
    current: *mut c_void,
    size: u64,
    alignment: u64,
    _stream: *mut c_void,
) -> *mut c_void {
    // The stream is the one that the state holds.
    reallocate_output(this, name, current, size, alignment)
}

extern "C" fn notify_shape(this: *mut c_void, _name: *const c_char, dims: *const c_void) {
    if dims.is_null() {
        return;
    }
    // SAFETY: called by TensorRT with the allocator's own pointer, inside of an inference that was issued.
    let Ok(mut state) = unsafe { state(this) }.try_borrow_mut() else { return };
    state.shape = if state.narrow {
        // SAFETY: a reference to the `Dims` of family 8, for the length of the call.
        narrow(unsafe { dims.cast::<Dims32>().read() })
    } else {
        // SAFETY: a reference to the `Dims` of the other families, for the length of the call.
        wide(unsafe { dims.cast::<Dims64>().read() })
    };
}
