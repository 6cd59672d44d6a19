//! TensorRT's objects as owned handles, every call checked, with the log lines that explain a failure attached to it.
//!
//! Every handle owns its object and whatever that object refers to, so that none can dangle: an engine holds its runtime,
//! a context its engine, a parsed network its parser and builder. Builder objects and contexts stay on one thread, which is
//! what NVIDIA's thread-safety notes ask for.
#![allow(unsafe_code)]

/// Calls a method of a public object through the vtable of its implementation, or through its own (`own`). The macro
/// evaluates to `Result<R>`; it fails without a call where the release does not have the method.
///
/// Every use states the C++ signature as the public headers of all families declare it; arguments that only some families
/// take come last, where the others ignore them (both x86-64 and AArch64 pass them in registers). Old releases let C++
/// exceptions out (`IParser::parse` of 8.5, for one): they may unwind through Rust, and end the worker.
macro_rules! call {
    ($library:expr, $object:expr, $slot:expr, ($($value:expr => $type:ty),*) -> $result:ty) => {
        $slot.require($library.version()).map(|place| {
            // SAFETY: the handle keeps the object alive; `place` comes from the generated table of the library's family,
            // and the stated signature is that of the method there. The rest is the method's own contract.
            unsafe {
                let (this, function) = $crate::runtime::tensorrt::sys::implementation_method($object, place);
                let function = std::mem::transmute::<
                    *const std::ffi::c_void,
                    unsafe extern "C-unwind" fn(*mut std::ffi::c_void, $($type),*) -> $result,
                >(function);
                function(this, $($value),*)
            }
        })
    };
    (own $library:expr, $object:expr, $slot:expr, ($($value:expr => $type:ty),*) -> $result:ty) => {
        $slot.require($library.version()).map(|place| {
            // SAFETY: as above, for an interface that is called through its own vtable.
            unsafe {
                let function = $crate::runtime::tensorrt::sys::own_method($object, place);
                let function = std::mem::transmute::<
                    *const std::ffi::c_void,
                    unsafe extern "C-unwind" fn(*mut std::ffi::c_void, $($type),*) -> $result,
                >(function);
                function($object, $($value),*)
            }
        })
    };
}

mod builder;
mod calibrator;
mod context;
mod engine;
mod library;
mod network;
mod object;

pub use builder::{Builder, Config};
pub use calibrator::{CalibrationBatches, Calibrator};
pub use context::ExecutionContext;
pub use engine::{Engine, Role, Runtime};
pub use library::{Library, PARSER, inspect_version};
pub use network::{Network, NetworkTensor, Typing};
