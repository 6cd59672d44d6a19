//! TensorRT's C++ ABI as it is: families, vtable slots, plain structures, and the interfaces that are implemented here.
//!
//! A public object is `{ vtable, implementation }`; its methods are calls through the implementation's vtable, whose order
//! is the same in every release of a [`Family`] for every method in [`Slots`]. Entry points are C symbols.
#![allow(unsafe_code)]

mod interfaces;
#[rustfmt::skip]
mod tables;
#[cfg(test)]
#[path = "../../../../tools/slot-tables/facts.rs"]
mod facts;
#[cfg(test)]
mod header_tests;
#[cfg(test)]
mod table_tests;

use std::ffi::{c_char, c_int, c_void};
use std::fmt;

pub use interfaces::{CalibratorFunctions, CallbackObject, LoggerObject, OutputAllocatorFunctions};
pub use tables::Slots;

use crate::error::{Error, Result};
use crate::vocabulary::Library;

/// Where a method stands in its vtable, or which value an enumerator has; some are missing in some releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The name in the headers.
    pub name: &'static str,
    place: Option<u32>,
    since: (u32, u32),
    /// The place in releases of TensorRT for RTX, where it is another one.
    in_rtx: Option<u32>,
}

impl Slot {
    pub(crate) const fn at(name: &'static str, place: u32) -> Self {
        Self { name, place: Some(place), since: (0, 0), in_rtx: None }
    }

    pub(crate) const fn split(name: &'static str, place: u32, in_rtx: u32) -> Self {
        Self { name, place: Some(place), since: (0, 0), in_rtx: Some(in_rtx) }
    }

    pub(crate) const fn since(name: &'static str, place: u32, major: u32, minor: u32) -> Self {
        Self { name, place: Some(place), since: (major, minor), in_rtx: None }
    }

    pub(crate) const fn absent(name: &'static str) -> Self {
        Self { name, place: None, since: (0, 0), in_rtx: None }
    }

    /// The place in `version`, or `None` where that release does not have it.
    pub fn get(self, version: Version) -> Option<u32> {
        // TensorRT for RTX counts its own versions; the oldest TensorRT here is 8.5.
        if let Some(place) = self.in_rtx.filter(|_| version.major < FIRST_MAJOR) {
            return Some(place);
        }
        self.place.filter(|_| (version.major, version.minor) >= self.since)
    }

    /// The place in `version`, or an error that names what is missing.
    pub fn require(self, version: Version) -> Result<u32> {
        self.get(version).ok_or_else(|| Error::unsupported(format!("`{}` is not in version {version}", self.name)))
    }
}

/// Major version of the oldest TensorRT that is known.
const FIRST_MAJOR: u32 = 8;

/// Version of a library, as `getInferLibVersion` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
    /// Patch.
    pub patch: u32,
}

impl Version {
    /// Decodes the number of `getInferLibVersion`: `major × 10000 + minor × 100 + patch`, and `major × 1000 + …` up to
    /// TensorRT 9 (`NV_TENSORRT_VERSION` in the headers).
    pub const fn from_number(number: c_int) -> Option<Self> {
        if number < 1000 {
            return None;
        }
        let number = number as u32;
        let scale = if number < 10_000 { 1000 } else { 10_000 };
        Some(Self { major: number / scale, minor: number % scale / 100, patch: number % 100 })
    }

    /// The first three parts of `text`, which may have more; `None` if there are fewer or they are no numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::parse);
        Some(Self { major: parts.next()?.ok()?, minor: parts.next()?.ok()?, patch: parts.next()?.ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The environment variable that lets newer minor releases of TensorRT 10 and 11 run.
pub const TRUST: &str = "TRTGATE_TRUST_NEWER_TENSORRT";

/// Releases that share one layout of every interface used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// TensorRT 8.5 and 8.6.
    Eight,
    /// TensorRT 10.
    Ten,
    /// TensorRT 11, and TensorRT for RTX 1.5 to 1.7.
    Eleven,
    /// TensorRT for RTX 1.3 and 1.4.
    RtxOneThree,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 4] = [Self::Eight, Self::Ten, Self::Eleven, Self::RtxOneThree];

    /// The family of a library's release; an error for releases whose headers were not compared: a call through a table
    /// that does not fit would be undefined.
    ///
    /// TensorRT 10 and 11 promise one binary interface for a major version (TensorRT for RTX does not, and changed it
    /// between 1.4 and 1.5). Who trusts that promise for a newer minor version sets [`TRUST`].
    pub fn of(library: Library, version: Version) -> Result<Self> {
        match Self::compared(library, version) {
            Some(family) => Ok(family),
            None => Self::promised(library, version).filter(|_| std::env::var_os(TRUST).is_some()).ok_or_else(|| {
                let error =
                    Error::unsupported(format!("the binary interface of `{library}` {version} was not compared"));
                let known =
                    "compared are TensorRT 8.5, 8.6, 10.0 to 10.16 and 11.0 to 11.4, and TensorRT for RTX 1.3 to 1.7";
                error.hint(match Self::promised(library, version) {
                    Some(family) => {
                        format!("{known}; `{TRUST}=1` runs it by the table of family {}", family.as_str())
                    }
                    None => known.to_owned(),
                })
            }),
        }
    }

    /// The family of a release whose headers were compared with the tables.
    pub fn compared(library: Library, version: Version) -> Option<Self> {
        match (library, version.major, version.minor) {
            (Library::Tensorrt | Library::TensorrtLean, 8, 5..=6) => Some(Self::Eight),
            (Library::Tensorrt | Library::TensorrtLean, 10, 0..=16) => Some(Self::Ten),
            (Library::Tensorrt | Library::TensorrtLean, 11, 0..=4) => Some(Self::Eleven),
            (Library::TensorrtRtx, 1, 3..=4) => Some(Self::RtxOneThree),
            (Library::TensorrtRtx, 1, 5..=7) => Some(Self::Eleven),
            _ => None,
        }
    }

    /// The family that a newer release should be of, by the promise of its major version.
    fn promised(library: Library, version: Version) -> Option<Self> {
        match (library, version.major) {
            (Library::Tensorrt | Library::TensorrtLean, 10) => Some(Self::Ten),
            (Library::Tensorrt | Library::TensorrtLean, 11) => Some(Self::Eleven),
            _ => None,
        }
    }

    /// The name in reports: `8`, `10`, `11`, `rtx-1.3`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eight => "8",
            Self::Ten => "10",
            Self::Eleven => "11",
            Self::RtxOneThree => "rtx-1.3",
        }
    }

    /// Places of methods and enumerators.
    pub fn slots(self) -> &'static Slots {
        match self {
            Self::Eight => &tables::FAMILY_8,
            Self::Ten => &tables::FAMILY_10,
            Self::Eleven => &tables::FAMILY_11,
            Self::RtxOneThree => &tables::FAMILY_RTX_1_3,
        }
    }

    /// Whether `Dims` holds 32-bit extents; later families hold 64-bit extents.
    pub const fn narrow_dims(self) -> bool {
        matches!(self, Self::Eight)
    }
}

/// Most dimensions a tensor can have (`Dims::MAX_DIMS`).
pub const MAX_DIMENSIONS: usize = 8;

/// `Dims32` of family 8.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dims32 {
    /// Number of dimensions; negative means that the tensor is unknown.
    pub count: i32,
    /// Extents; -1 is dynamic.
    pub extents: [i32; MAX_DIMENSIONS],
}

/// `Dims64` of families 10, 11 and RTX.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dims64 {
    /// Number of dimensions; negative means that the tensor is unknown.
    pub count: i32,
    /// Extents; -1 is dynamic.
    pub extents: [i64; MAX_DIMENSIONS],
}

/// `InterfaceInfo`: the kind and version of an interface that the caller implements.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct InterfaceInfo {
    /// Kind, NUL-terminated, static.
    pub kind: *const c_char,
    /// Major version.
    pub major: i32,
    /// Minor version.
    pub minor: i32,
}

/// `createInferBuilder_INTERNAL`, `createInferRuntime_INTERNAL`.
pub type CreateFunction = unsafe extern "C-unwind" fn(logger: *mut c_void, version: c_int) -> *mut c_void;
/// `createNvOnnxParser_INTERNAL`.
pub type CreateParserFunction =
    unsafe extern "C-unwind" fn(network: *mut c_void, logger: *mut c_void, version: c_int) -> *mut c_void;
/// `initLibNvInferPlugins`: registers a library's plugins under a namespace.
pub type InitializePluginsFunction = unsafe extern "C-unwind" fn(logger: *mut c_void, namespace: *const c_char) -> bool;
/// `getInferLibVersion`, `getNvOnnxParserVersion`.
pub type VersionFunction = unsafe extern "C-unwind" fn() -> c_int;

/// The value and the function at `slot` of the vtable of the object's implementation: what a call through a public object
/// needs.
///
/// # Safety
/// `object` points to a live public TensorRT object (`{ vtable, implementation }`), and `slot` is within the vtable of its
/// implementation.
pub unsafe fn implementation_method(object: *mut c_void, slot: u32) -> (*mut c_void, *const c_void) {
    // SAFETY: the caller promises an object of two words.
    let second = unsafe { object.cast::<*mut c_void>().add(1) };
    // SAFETY: both are readable for as long as the object lives.
    let implementation = unsafe { *second };
    // SAFETY: the second one is the implementation, whose vtable reaches to `slot` by the caller's promise.
    (implementation, unsafe { own_method(implementation, slot) })
}

/// The function at `slot` of the object's own vtable.
///
/// # Safety
/// `object` points to a live C++ object whose first word is its vtable, and `slot` is within that vtable.
pub unsafe fn own_method(object: *mut c_void, slot: u32) -> *const c_void {
    // SAFETY: the caller promises a live object, whose first word is its vtable.
    let vtable = unsafe { *object.cast::<*const *const c_void>() };
    // SAFETY: which reaches at least to `slot`.
    let place = unsafe { vtable.add(slot as usize) };
    // SAFETY: as above.
    unsafe { *place }
}

/// Slot of the deleting destructor in every public class: its virtual destructor is declared first (Itanium C++ ABI 2.5.2:
/// complete object destructor, then deleting destructor).
pub const DELETE_SLOT: u32 = 1;

/// `kMIN`, `kOPT`, `kMAX` of `OptProfileSelector`.
pub const PROFILE_SELECTORS: [c_int; 3] = [0, 1, 2];
/// `ProfilingVerbosity::kDETAILED`.
pub const PROFILING_DETAILED: c_int = 2;
/// `LayerInformationFormat::kJSON`.
pub const LAYER_INFORMATION_JSON: c_int = 1;
/// `HardwareCompatibilityLevel::kAMPERE_PLUS`.
pub const HARDWARE_AMPERE_PLUS: c_int = 1;
/// `MemoryPoolType::kWORKSPACE`.
pub const MEMORY_POOL_WORKSPACE: c_int = 0;
/// `TensorIOMode::kINPUT`.
pub const TENSOR_INPUT: c_int = 1;
/// `DataType::kHALF`.
pub const DATA_TYPE_HALF: c_int = 1;
/// `CalibrationAlgoType::kENTROPY_CALIBRATION_2`.
pub const ENTROPY_CALIBRATION_2: c_int = 2;
/// `ExecutionContextAllocationStrategy::kSTATIC`.
pub const ALLOCATION_STATIC: c_int = 0;
