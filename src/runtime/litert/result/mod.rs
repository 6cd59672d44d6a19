//! LiteRT's objects as owned values: each call returns a `Result`, each object is freed once.
#![allow(unsafe_code)]

mod compiled;
mod model;

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::rc::Rc;

pub(super) use compiled::{Buffer, CompiledModel};
pub(super) use model::{Border, ModelSignature, Operator, RawQuantization};

use super::sys::{self, Api, RawStatus};
use crate::error::{Error, Result};

/// The loaded library.
#[derive(Clone)]
pub(super) struct Litert(Rc<Api>);

impl Litert {
    /// Loads the library from `file`.
    pub(super) fn load(file: &Path) -> Result<Self> {
        Ok(Self(Rc::new(Api::load(file)?)))
    }
}

/// Turns a status into a result; `what` failed if it is not 0. The names are those of `LiteRtStatus`.
fn check(status: RawStatus, what: impl FnOnce() -> String) -> Result<()> {
    let name = match status {
        0 => return Ok(()),
        1 => "invalid argument",
        2 => "memory allocation failure",
        3 => "runtime failure",
        4 => "missing input tensor",
        5 => "unsupported",
        6 => "not found",
        7 => "timeout expired",
        8 => "wrong version",
        500 => "file cannot be read",
        501 => "invalid flatbuffer",
        502 => "dynamic loading",
        503 => "serialization",
        504 => "compilation",
        1000 => "index out of bounds",
        1001 => "invalid intermediate type",
        1002 => "invalid graph invariant",
        4000 => "unsupported runtime version",
        _ => "unknown",
    };
    Err(Error::failed(what()).cause(format!("LiteRT status {status}, {name}")))
}

/// A new object of the library, or an error where it gave null without one.
fn created<T>(object: *mut T, what: &str) -> Result<NonNull<T>> {
    NonNull::new(object).ok_or_else(|| Error::failed(format!("LiteRT gave no {what} and no error")))
}

/// Calls `get`, which fills its argument, and returns what it filled in.
fn fetched<T>(initial: T, what: &str, get: impl FnOnce(&mut T) -> RawStatus) -> Result<T> {
    let mut value = initial;
    check(get(&mut value), || format!("LiteRT did not tell {what}"))?;
    Ok(value)
}

/// A copy of the text at `text`; empty for null.
///
/// # Safety
///
/// `text` is null or points at a string that ends with a zero byte.
unsafe fn text_at(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and a string by this function's contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// `LiteRtEnvironment`.
struct Environment {
    library: Litert,
    raw: NonNull<sys::RawEnvironment>,
}

impl Environment {
    /// An environment that registers the CPU alone: looking for GPUs loads drivers and can crash without one.
    fn new(library: &Litert) -> Result<Rc<Self>> {
        let option = sys::RawEnvironmentOption {
            tag: sys::OPTION_ACCELERATORS,
            value: sys::RawAny { kind: sys::ANY_INTEGER, integer: i64::from(sys::CPU) },
        };
        let mut raw = ptr::null_mut();
        // SAFETY: one option, read during the call only; `raw` receives an owned environment.
        let status = unsafe { (library.0.create_environment)(1, &option, &mut raw) };
        check(status, || "LiteRT made no environment".to_owned())?;
        Ok(Rc::new(Self { library: library.clone(), raw: created(raw, "environment")? }))
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // SAFETY: made by `LiteRtCreateEnvironment`, freed once, after everything made in it (each holds an `Rc`).
        unsafe { (self.library.0.destroy_environment)(self.raw.as_ptr()) }
    }
}

/// `LiteRtOptions`.
struct Options {
    library: Litert,
    raw: NonNull<sys::RawOptions>,
}

/// Frees the text of CPU options.
///
/// # Safety
///
/// `payload` came from `CString::into_raw` and is freed once.
unsafe extern "C" fn free_text(payload: *mut c_void) {
    // SAFETY: as this function's contract says.
    drop(unsafe { CString::from_raw(payload.cast::<c_char>()) });
}

impl Options {
    /// Options for the CPU; `settings` is the TOML text that the CPU accelerator reads.
    fn new(library: &Litert, settings: &str) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` receives owned options.
        check(unsafe { (library.0.create_options)(&mut raw) }, || "LiteRT made no options".to_owned())?;
        let options = Self { library: library.clone(), raw: created(raw, "options")? };
        // SAFETY: live options.
        let status = unsafe { (library.0.set_accelerators)(options.raw.as_ptr(), sys::CPU) };
        check(status, || "LiteRT refused the CPU".to_owned())?;
        if !settings.is_empty() {
            options.add_cpu_settings(settings)?;
        }
        Ok(options)
    }

    fn add_cpu_settings(&self, settings: &str) -> Result<()> {
        let api = &self.library.0;
        let text = CString::new(settings).map_err(|_| Error::failed("CPU settings hold a zero byte"))?.into_raw();
        let mut opaque = ptr::null_mut();
        // SAFETY: the identifier is copied; on success the options own `text` and free it through `free_text`.
        let status =
            unsafe { (api.create_opaque_options)(c"xnnpack".as_ptr(), text.cast(), Some(free_text), &mut opaque) };
        if status != 0 || opaque.is_null() {
            // SAFETY: nothing took the text over.
            unsafe { free_text(text.cast()) };
            check(status, || "LiteRT made no CPU options".to_owned())?;
        }
        let opaque = created(opaque, "CPU options")?.as_ptr();
        // SAFETY: live options; on success they own `opaque`.
        let status = unsafe { (api.add_opaque_options)(self.raw.as_ptr(), opaque) };
        if status != 0 {
            // SAFETY: nothing took `opaque` over.
            unsafe { (api.destroy_opaque_options)(opaque) };
        }
        check(status, || "LiteRT refused the CPU options".to_owned())
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by `LiteRtCreateOptions`, freed once.
        unsafe { (self.library.0.destroy_options)(self.raw.as_ptr()) }
    }
}
