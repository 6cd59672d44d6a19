//! Owned C++ objects, and the plain values that pass to and from them.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::runtime::cuda::Device;
use crate::runtime::tensorrt::log::{self, Mark};
use crate::runtime::tensorrt::result::Library;
use crate::runtime::tensorrt::sys::{self, Dims32, Dims64, MAX_DIMENSIONS, Slot};
use crate::tensor::ElementType;

/// A public TensorRT object that is deleted with its handle.
#[derive(Debug)]
pub(super) struct Object {
    pointer: NonNull<c_void>,
    library: &'static Library,
    delete_slot: u32,
    /// The device in whose context it works, which stays open until it is deleted: fields go after their object's `drop`.
    device: Option<Device>,
}

impl Object {
    /// Takes what `function` returned; null is an error that carries the log lines since `mark`.
    pub(super) fn new(library: &'static Library, pointer: *mut c_void, function: &str, mark: Mark) -> Result<Self> {
        Self::with_delete_slot(library, pointer, function, mark, sys::DELETE_SLOT)
    }

    /// As [`Object::new`], for an interface that declares its destructor elsewhere.
    pub(super) fn with_delete_slot(
        library: &'static Library,
        pointer: *mut c_void,
        function: &str,
        mark: Mark,
        delete_slot: u32,
    ) -> Result<Self> {
        let pointer = NonNull::new(pointer).ok_or_else(|| failure(library, function, mark))?;
        Ok(Self { pointer, library, delete_slot, device: None })
    }

    /// The same, holding `device` open for as long as it lives.
    pub(super) fn on(mut self, device: Option<&Device>) -> Self {
        self.device = device.cloned();
        self
    }

    pub(super) fn library(&self) -> &'static Library {
        self.library
    }

    pub(super) fn as_pointer(&self) -> *mut c_void {
        self.pointer.as_ptr()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let object = self.pointer.as_ptr();
        // SAFETY: a live object, whose class declares its destructor at this slot.
        let function = unsafe { sys::own_method(object, self.delete_slot) };
        // SAFETY: the address of the class's deleting destructor, which takes the object alone.
        let delete =
            unsafe { std::mem::transmute::<*const c_void, unsafe extern "C-unwind" fn(*mut c_void)>(function) };
        // SAFETY: the object was handed over by TensorRT, and is deleted once.
        unsafe { delete(object) };
    }
}

/// The error of a call that answered null or false, explained by the log lines since `mark`.
pub(super) fn failure(library: &Library, function: &str, mark: Mark) -> Error {
    log::explain(mark, Error::failed(format!("`{function}` of {} failed", library.title())))
}

/// `Ok` when a call answered true.
pub(super) fn check(library: &Library, answer: bool, function: &str, mark: Mark) -> Result<()> {
    if answer { Ok(()) } else { Err(failure(library, function, mark)) }
}

/// A name for TensorRT; names with a NUL byte cannot exist there.
pub(super) fn c_string(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Error::input(format!("`{}` contains a NUL byte", name.escape_debug())))
}

/// The text behind a pointer that TensorRT owns; empty for null.
///
/// # Safety
/// `pointer` is null or points to a NUL-terminated string that stays for the call.
pub(super) unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller promises a NUL-terminated string.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Calls a method that returns `Dims` by value, whose width depends on the family.
macro_rules! call_dims {
    (unsafe $library:expr, $object:expr, $slot:expr, ($($value:expr => $type:ty),*)) => {
        if $library.family().narrow_dims() {
            call!(unsafe $library, $object, $slot, ($($value => $type),*) -> $crate::runtime::tensorrt::sys::Dims32)
                .map($crate::runtime::tensorrt::result::object::narrow)
        } else {
            call!(unsafe $library, $object, $slot, ($($value => $type),*) -> $crate::runtime::tensorrt::sys::Dims64)
                .map($crate::runtime::tensorrt::result::object::wide)
        }
    };
}
pub(super) use call_dims;

/// Extents of a `Dims32`, or `None` for a negative or impossible count.
pub(super) fn narrow(dims: Dims32) -> Option<Vec<i64>> {
    let count = usize::try_from(dims.count).ok().filter(|count| *count <= MAX_DIMENSIONS)?;
    Some(dims.extents.iter().take(count).map(|extent| i64::from(*extent)).collect())
}

/// Extents of a `Dims64`, or `None` for a negative or impossible count.
pub(super) fn wide(dims: Dims64) -> Option<Vec<i64>> {
    let count = usize::try_from(dims.count).ok().filter(|count| *count <= MAX_DIMENSIONS)?;
    Some(dims.extents.iter().take(count).copied().collect())
}

/// `Dims32` of `shape`.
pub(super) fn to_narrow(shape: &[i64]) -> Result<Dims32> {
    let mut dims = Dims32 { count: dimension_count(shape)?, ..Dims32::default() };
    for (target, extent) in dims.extents.iter_mut().zip(shape) {
        *target = i32::try_from(*extent)
            .map_err(|_| Error::input(format!("extent {extent} does not fit into TensorRT's 32-bit dimensions")))?;
    }
    Ok(dims)
}

/// `Dims64` of `shape`.
pub(super) fn to_wide(shape: &[i64]) -> Result<Dims64> {
    let mut dims = Dims64 { count: dimension_count(shape)?, ..Dims64::default() };
    for (target, extent) in dims.extents.iter_mut().zip(shape) {
        *target = *extent;
    }
    Ok(dims)
}

fn dimension_count(shape: &[i64]) -> Result<c_int> {
    let count = c_int::try_from(shape.len()).ok().filter(|_| shape.len() <= MAX_DIMENSIONS);
    count.ok_or_else(|| Error::input(format!("{} dimensions are more than TensorRT's {MAX_DIMENSIONS}", shape.len())))
}

/// TensorRT's `DataType`.
pub(super) const fn element_type(data_type: c_int) -> ElementType {
    match data_type {
        0 => ElementType::Float32,
        1 => ElementType::Float16,
        2 => ElementType::Int8,
        3 => ElementType::Int32,
        4 => ElementType::Bool,
        5 => ElementType::Uint8,
        7 => ElementType::Bfloat16,
        8 => ElementType::Int64,
        _ => ElementType::Other,
    }
}

/// The value of an enumerator in this release.
pub(super) fn enumerator(library: &Library, slot: Slot) -> Result<c_int> {
    slot.require(library.version()).map(|value| value as c_int)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dims_survive_both_widths() {
        let shape = [-1, 32, 32, 3];
        assert_eq!(narrow(to_narrow(&shape).unwrap()).unwrap(), shape);
        assert_eq!(wide(to_wide(&shape).unwrap()).unwrap(), shape);
    }

    #[test]
    fn impossible_dims_are_refused() {
        assert_eq!(narrow(Dims32 { count: -1, ..Dims32::default() }), None);
        assert_eq!(wide(Dims64 { count: 9, ..Dims64::default() }), None);
        assert!(to_narrow(&[i64::from(i32::MAX) + 1]).is_err());
        assert!(to_wide(&[1; 9]).is_err());
    }
}
