//! The entropy calibrator that TensorRT calls back while it builds an INT8 engine.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;

use crate::error::{Error, Result};
use crate::runtime::cuda::DeviceBuffer;
use crate::runtime::tensorrt::result::Library;
use crate::runtime::tensorrt::sys::{CalibratorFunctions, CallbackObject};

/// Batches to calibrate with, already on the device when they are handed out.
pub trait CalibrationBatches {
    /// Samples in every batch.
    fn batch_size(&self) -> usize;

    /// The network's input that the batches are for.
    fn input(&self) -> &str;

    /// The next batch, or `None` after the last. The buffer holds it until the next call.
    fn next(&mut self) -> Result<Option<DeviceBuffer>>;
}

struct State {
    batches: Box<dyn CalibrationBatches>,
    /// The batch that TensorRT is reading.
    current: Option<DeviceBuffer>,
    /// A stored table to start from, and whether it was made anew.
    table: Option<Vec<u8>>,
    error: Option<Error>,
}

/// `IInt8EntropyCalibrator2` over [`CalibrationBatches`].
pub struct Calibrator(Box<CallbackObject<RefCell<State>>>);

impl fmt::Debug for Calibrator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Calibrator")
    }
}

impl Calibrator {
    /// A calibrator that starts from a stored `table`, if there is one, and otherwise reads `batches`.
    pub fn new(library: &Library, batches: Box<dyn CalibrationBatches>, table: Option<Vec<u8>>) -> Result<Box<Self>> {
        let functions =
            CalibratorFunctions { batch_size, batch: next_batch, read_cache: read_table, write_cache: write_table };
        let state = RefCell::new(State { batches, current: None, table, error: None });
        let object =
            CallbackObject::calibrator(library.family(), library.version(), functions, state).ok_or_else(|| {
                Error::unsupported(format!("{} has no calibrators", library.title()))
                    .hint("quantise the ONNX graph with explicit Q/DQ pairs (precision `int8`)")
            })?;
        Ok(Box::new(Self(object)))
    }

    pub(super) fn as_pointer(&self) -> *mut c_void {
        self.0.as_pointer()
    }

    /// The error that ended the calibration early, if one did.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.0.state.borrow_mut().error.take()
    }

    /// The calibration table: the stored one, or the one that TensorRT made.
    pub(super) fn table(&self) -> Option<Vec<u8>> {
        self.0.state.borrow().table.clone()
    }
}

/// The state behind a calibrator.
///
/// # Safety
/// `this` is the pointer of a live [`Calibrator`], called from the thread that builds.
unsafe fn state<'a>(this: *mut c_void) -> &'a RefCell<State> {
    // SAFETY: TensorRT passes back the pointer that it was given; the object is only ever borrowed shared.
    unsafe { &(*this.cast::<CallbackObject<RefCell<State>>>()).state }
}

extern "C" fn batch_size(this: *mut c_void) -> c_int {
    // SAFETY: called by TensorRT with the calibrator's own pointer.
    unsafe { state(this) }.try_borrow().map_or(0, |state| c_int::try_from(state.batches.batch_size()).unwrap_or(0))
}

extern "C" fn next_batch(
    this: *mut c_void,
    bindings: *mut *mut c_void,
    names: *const *const c_char,
    count: c_int,
) -> bool {
    // SAFETY: called by TensorRT with the calibrator's own pointer.
    let state = unsafe { state(this) };
    let Ok(mut state) = state.try_borrow_mut() else { return false };
    let Ok(count) = usize::try_from(count) else { return false };
    if bindings.is_null() || names.is_null() {
        return false;
    }
    // SAFETY: TensorRT passes `count` places for addresses, which are nobody else's during the call.
    let bindings = unsafe { std::slice::from_raw_parts_mut(bindings, count) };
    // SAFETY: TensorRT passes as many names.
    let names = unsafe { std::slice::from_raw_parts(names, count) };
    let wanted = state.batches.input().to_owned();
    let mut filled = false;
    match state.batches.next() {
        Ok(Some(buffer)) => {
            for (binding, name) in bindings.iter_mut().zip(names) {
                // SAFETY: every name is a NUL-terminated string.
                if !name.is_null() && unsafe { CStr::from_ptr(*name) }.to_bytes() == wanted.as_bytes() {
                    *binding = buffer.as_raw();
                    filled = true;
                }
            }
            if !filled {
                state.error = Some(Error::failed(format!("TensorRT asks for no input `{wanted}` to calibrate")));
            }
            state.current = Some(buffer);
        }
        Ok(None) => state.current = None,
        Err(error) => state.error = Some(error),
    }
    filled
}

extern "C" fn read_table(this: *mut c_void, length: *mut usize) -> *const c_void {
    if length.is_null() {
        return std::ptr::null();
    }
    // SAFETY: called by TensorRT with the calibrator's own pointer.
    let state = unsafe { state(this) }.try_borrow();
    let table = state.as_ref().ok().and_then(|state| state.table.as_deref());
    // SAFETY: not null, and TensorRT's place for the length.
    unsafe { length.write(table.map_or(0, <[u8]>::len)) };
    // The table stays until the calibrator is dropped or TensorRT writes a new one.
    table.map_or(std::ptr::null(), |table| table.as_ptr().cast())
}

extern "C" fn write_table(this: *mut c_void, table: *const c_void, length: usize) {
    if table.is_null() || isize::try_from(length).is_err() {
        return;
    }
    // SAFETY: TensorRT passes `length` readable bytes.
    let bytes = unsafe { std::slice::from_raw_parts(table.cast::<u8>(), length) }.to_vec();
    // SAFETY: called by TensorRT with the calibrator's own pointer.
    if let Ok(mut state) = unsafe { state(this) }.try_borrow_mut() {
        state.table = Some(bytes);
    }
}
