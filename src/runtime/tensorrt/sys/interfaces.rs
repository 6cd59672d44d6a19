//! Interfaces that TensorRT calls back: the logger, the entropy calibrator and the output allocator, as C++ objects with vtables of
//! their own.
//!
//! All are virtual classes without data members, so an object is a pointer to its vtable, and what stands behind that
//! pointer is ours. The vtables are laid out by the same generated places as the calls into TensorRT.

use std::ffi::{c_char, c_int, c_void};

use super::{ENTROPY_CALIBRATION_2, FIRST_MAJOR, Family, InterfaceInfo, Slot, Version};

/// Called with the severity (0 internal error … 4 verbose) and the NUL-terminated message.
pub type LogFunction = extern "C" fn(this: *mut c_void, severity: c_int, message: *const c_char);

/// What a calibrator answers; `this` is the [`CalibratorObject`].
#[derive(Clone, Copy, Debug)]
pub struct CalibratorFunctions {
    /// Samples in one batch.
    pub batch_size: extern "C" fn(this: *mut c_void) -> c_int,
    /// Fills `bindings[0..count]` with device addresses of the inputs in `names`; false ends the calibration.
    pub batch:
        extern "C" fn(this: *mut c_void, bindings: *mut *mut c_void, names: *const *const c_char, count: c_int) -> bool,
    /// The stored cache and its length, or null.
    pub read_cache: extern "C" fn(this: *mut c_void, length: *mut usize) -> *const c_void,
    /// Takes the cache that calibration made.
    pub write_cache: extern "C" fn(this: *mut c_void, cache: *const c_void, length: usize),
}

/// What an output allocator answers; `this` is the [`CallbackObject`].
#[derive(Clone, Copy, Debug)]
pub struct OutputAllocatorFunctions {
    /// Device memory for `size` bytes of output `name` at a multiple of `alignment`, or null; `current` is the address that was set.
    pub reallocate: extern "C" fn(
        this: *mut c_void,
        name: *const c_char,
        current: *mut c_void,
        size: u64,
        alignment: u64,
    ) -> *mut c_void,
    /// The same, with the stream that the inference is issued on; releases that have it call it instead.
    pub reallocate_on_stream: extern "C" fn(
        this: *mut c_void,
        name: *const c_char,
        current: *mut c_void,
        size: u64,
        alignment: u64,
        stream: *mut c_void,
    ) -> *mut c_void,
    /// Takes the shape of output `name`, as `Dims` of the family; called before `enqueueV3` returns.
    pub notify_shape: extern "C" fn(this: *mut c_void, name: *const c_char, dims: *const c_void),
}

/// `APILanguage::kCPP`.
extern "C" fn api_language(_this: *mut c_void) -> c_int {
    0
}

extern "C" fn logger_info(_this: *mut c_void) -> InterfaceInfo {
    InterfaceInfo { kind: c"ILogger".as_ptr(), major: 1, minor: 0 }
}

extern "C" fn calibrator_info(_this: *mut c_void) -> InterfaceInfo {
    InterfaceInfo { kind: c"IInt8EntropyCalibrator2".as_ptr(), major: 1, minor: 0 }
}

extern "C" fn output_allocator_info(_this: *mut c_void) -> InterfaceInfo {
    InterfaceInfo { kind: c"IOutputAllocator".as_ptr(), major: 1, minor: 0 }
}

/// `IOutputAllocator::getInterfaceVersion` of family 8.
extern "C" fn output_allocator_version(_this: *mut c_void) -> c_int {
    1
}

extern "C" fn calibration_algorithm(_this: *mut c_void) -> c_int {
    ENTROPY_CALIBRATION_2
}

/// TensorRT never deletes what the caller lent to it; both destructor slots only have to exist.
extern "C" fn no_destructor(_this: *mut c_void) {}

/// A vtable with each function at its place; both slots of the destructor, whose second one `delete` names, do nothing.
/// `None` if one of its `own` methods has no place in `version`; those that `some` releases have are left out of the others.
fn vtable(
    version: Version,
    delete: Slot,
    some: &[(Slot, *const c_void)],
    own: &[(Slot, *const c_void)],
) -> Option<Box<[*const c_void]>> {
    let deleting = delete.get(version)?;
    let nothing = no_destructor as *const c_void;
    let mut placed = vec![(deleting.checked_sub(1)?, nothing), (deleting, nothing)];
    placed.extend(some.iter().filter_map(|(slot, function)| Some((slot.get(version)?, *function))));
    for (slot, function) in own {
        placed.push((slot.get(version)?, *function));
    }
    placed.sort_unstable_by_key(|(place, _)| *place);
    // A gap or a doubled place would be a table that does not describe a vtable.
    let dense = placed.iter().enumerate().all(|(index, (place, _))| index == *place as usize);
    dense.then(|| placed.into_iter().map(|(_, function)| function).collect())
}

/// The vtable of a logger that calls `log`.
pub(super) fn logger_vtable(family: Family, version: Version, log: LogFunction) -> Option<Box<[*const c_void]>> {
    let slots = &family.slots().logger;
    vtable(
        version,
        slots.delete,
        &[
            (slots.get_apilanguage, api_language as *const c_void),
            (slots.get_interface_info, logger_info as *const c_void),
        ],
        &[(slots.log, log as *const c_void)],
    )
}

/// The vtable of an entropy calibrator, or `None` where calibrators do not exist.
pub(super) fn calibrator_vtable(
    family: Family,
    version: Version,
    functions: CalibratorFunctions,
) -> Option<Box<[*const c_void]>> {
    let slots = &family.slots().int8_entropy_calibrator2;
    vtable(
        version,
        slots.delete,
        &[
            (slots.get_apilanguage, api_language as *const c_void),
            (slots.get_interface_info, calibrator_info as *const c_void),
        ],
        &[
            (slots.get_batch_size, functions.batch_size as *const c_void),
            (slots.get_batch, functions.batch as *const c_void),
            (slots.read_calibration_cache, functions.read_cache as *const c_void),
            (slots.write_calibration_cache, functions.write_cache as *const c_void),
            (slots.get_algorithm, calibration_algorithm as *const c_void),
        ],
    )
}

/// The vtable of an output allocator, or `None` where its layout is not known: no header of TensorRT for RTX was read for it.
pub(super) fn output_allocator_vtable(
    family: Family,
    version: Version,
    functions: OutputAllocatorFunctions,
) -> Option<Box<[*const c_void]>> {
    let slots = &family.slots().output_allocator;
    if version.major < FIRST_MAJOR {
        return None;
    }
    vtable(
        version,
        slots.delete,
        &[
            (slots.get_interface_version, output_allocator_version as *const c_void),
            (slots.get_apilanguage, api_language as *const c_void),
            (slots.get_interface_info, output_allocator_info as *const c_void),
            (slots.reallocate_output_async, functions.reallocate_on_stream as *const c_void),
        ],
        &[
            (slots.reallocate_output, functions.reallocate as *const c_void),
            (slots.notify_shape, functions.notify_shape as *const c_void),
        ],
    )
}

/// A logger as TensorRT sees it.
#[repr(C)]
#[derive(Debug)]
pub struct LoggerObject {
    vtable: *const *const c_void,
}

// SAFETY: the object is one pointer to a vtable that nobody changes.
unsafe impl Sync for LoggerObject {}
// SAFETY: as above.
unsafe impl Send for LoggerObject {}

impl LoggerObject {
    /// A logger that calls `log`, and lives for the rest of the process: TensorRT keeps its first logger that long.
    pub fn leak(family: Family, version: Version, log: LogFunction) -> Option<&'static Self> {
        let vtable = Box::leak(logger_vtable(family, version, log)?);
        Some(Box::leak(Box::new(Self { vtable: vtable.as_ptr() })))
    }

    /// The pointer that TensorRT takes as `ILogger&`.
    pub fn as_pointer(&'static self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

/// An object that TensorRT calls back, with the state behind it that the functions reach through `this`.
#[repr(C)]
#[derive(Debug)]
pub struct CallbackObject<State> {
    vtable: *const *const c_void,
    /// What the functions work on.
    pub state: State,
    table: Box<[*const c_void]>,
}

impl<State> CallbackObject<State> {
    /// Boxed, so that its address stays.
    fn new(table: Box<[*const c_void]>, state: State) -> Box<Self> {
        Box::new(Self { vtable: table.as_ptr(), state, table })
    }

    /// A calibrator around `state`; `None` where calibrators do not exist.
    pub fn calibrator(
        family: Family,
        version: Version,
        functions: CalibratorFunctions,
        state: State,
    ) -> Option<Box<Self>> {
        Some(Self::new(calibrator_vtable(family, version, functions)?, state))
    }

    /// An output allocator around `state`; `None` where the layout of one is not known.
    pub fn output_allocator(
        family: Family,
        version: Version,
        functions: OutputAllocatorFunctions,
        state: State,
    ) -> Option<Box<Self>> {
        Some(Self::new(output_allocator_vtable(family, version, functions)?, state))
    }

    /// The pointer that TensorRT takes, for as long as the object lives. What stands behind it is only ever borrowed shared.
    pub fn as_pointer(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}
