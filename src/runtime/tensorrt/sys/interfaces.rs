//! Interfaces that TensorRT calls back: the logger and the entropy calibrator, as C++ objects with vtables of their own.
//!
//! Both are virtual classes without data members, so an object is a pointer to its vtable, and what stands behind that
//! pointer is ours. The vtables are laid out by the same generated places as the calls into TensorRT.

use std::ffi::{c_char, c_int, c_void};

use super::{ENTROPY_CALIBRATION_2, Family, InterfaceInfo, Slot, Version};

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

extern "C" fn calibration_algorithm(_this: *mut c_void) -> c_int {
    ENTROPY_CALIBRATION_2
}

/// TensorRT never deletes what the caller lent to it; both destructor slots only have to exist.
extern "C" fn no_destructor(_this: *mut c_void) {}

/// A vtable with each function at its place; both slots of the destructor, whose second one `delete` names, do nothing.
/// `None` if a method has no place in `version`, other than those of `IVersionedInterface`, which old layouts lack.
fn vtable(
    version: Version,
    delete: Slot,
    versioned: [(Slot, *const c_void); 2],
    own: &[(Slot, *const c_void)],
) -> Option<Box<[*const c_void]>> {
    let deleting = delete.get(version)?;
    let nothing = no_destructor as *const c_void;
    let mut placed = vec![(deleting.checked_sub(1)?, nothing), (deleting, nothing)];
    placed.extend(versioned.iter().filter_map(|(slot, function)| Some((slot.get(version)?, *function))));
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
        [
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
        [
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

/// A calibrator as TensorRT sees it, with the state behind it that the functions reach through `this`.
#[repr(C)]
#[derive(Debug)]
pub struct CalibratorObject<State> {
    vtable: *const *const c_void,
    /// What the functions work on.
    pub state: State,
    table: Box<[*const c_void]>,
}

impl<State> CalibratorObject<State> {
    /// An object around `state`, boxed so that its address stays; `None` where calibrators do not exist.
    pub fn new(family: Family, version: Version, functions: CalibratorFunctions, state: State) -> Option<Box<Self>> {
        let table = calibrator_vtable(family, version, functions)?;
        Some(Box::new(Self { vtable: table.as_ptr(), state, table }))
    }
}
