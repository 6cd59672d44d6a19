//! TensorRT's objects as owned handles, every call checked, with the log lines that explain a failure attached to it.
//!
//! Every handle owns its object and whatever that object refers to, so that none can dangle: a builder and a runtime hold
//! the device in whose CUDA context they work, an engine its runtime, a context its engine, a parsed network its parser and
//! builder. Builder objects and contexts stay on one thread, which is
//! what NVIDIA's thread-safety notes ask for.
#![allow(unsafe_code)]

/// Calls a method of a public object through the vtable of its implementation, or through its own (`own`). The macro
/// evaluates to `Result<R>`; it fails without a call where the release does not have the method.
///
/// Every use states the C++ signature as the public headers of all families declare it; arguments that only some families
/// take come last, where the others ignore them (both x86-64 and AArch64 pass them in registers). Old releases let C++
/// exceptions out (`IParser::parse` of 8.5, for one): they may unwind through Rust, and end the worker.
///
/// `unsafe` stands at the call, because what is stated there has to be true: the object is live and of the class that the
/// slot is a method of, the signature is the method's, and what its pointers lead to stays for the call. Objects and
/// arguments are evaluated outside of the block, so that nothing unsafe hides in them.
macro_rules! call {
    (unsafe own $library:expr, $object:expr, $slot:expr, ($($arguments:tt)*) -> $result:ty) => {
        call!(@bind own, $library, $object, $slot, $result, [] $($arguments)*)
    };
    (unsafe $library:expr, $object:expr, $slot:expr, ($($arguments:tt)*) -> $result:ty) => {
        call!(@bind implementation, $library, $object, $slot, $result, [] $($arguments)*)
    };
    // Each argument gets a name of its own: names of two expansions are not the same.
    (@bind $way:ident, $library:expr, $object:expr, $slot:expr, $result:ty, [$($name:ident: $type:ty,)*]
        $value:expr => $next:ty $(, $($rest:tt)*)?) => {{
        let argument: $next = $value;
        call!(@bind $way, $library, $object, $slot, $result, [$($name: $type,)* argument: $next,] $($($rest)*)?)
    }};
    (@bind $way:ident, $library:expr, $object:expr, $slot:expr, $result:ty, [$($name:ident: $type:ty,)*]) => {{
        let (object, slot): (*mut std::ffi::c_void, _) = ($object, $slot.require($library.version()));
        slot.map(|place| {
            let (this, function) = call!(@find $way, object, place);
            // SAFETY: the address of a method whose signature this is, by the promise of the call.
            let function = unsafe {
                std::mem::transmute::<
                    *const std::ffi::c_void,
                    unsafe extern "C-unwind" fn(*mut std::ffi::c_void, $($type),*) -> $result,
                >(function)
            };
            // SAFETY: a method of the object, which its handle keeps alive; the rest is the method's own contract.
            unsafe { function(this, $($name),*) }
        })
    }};
    (@find implementation, $pointer:ident, $place:ident) => {
        // SAFETY: a live public object; the place comes from the generated table of its library's family.
        unsafe { $crate::runtime::tensorrt::sys::implementation_method($pointer, $place) }
    };
    (@find own, $pointer:ident, $place:ident) => {{
        // SAFETY: as above, for an interface that is called through its own vtable.
        ($pointer, unsafe { $crate::runtime::tensorrt::sys::own_method($pointer, $place) })
    }};
}

mod builder;
mod calibrator;
mod context;
mod engine;
mod library;
mod network;
mod object;
mod output_allocator;

pub use builder::{Builder, Config, Profile};
pub use calibrator::{CalibrationBatches, Calibrator};
pub use context::ExecutionContext;
pub use engine::{Engine, Role, Runtime};
pub use library::{Library, PARSER, PLUGIN_LIBRARY, inspect_version};
pub use network::{Network, NetworkTensor, Typing};
pub use output_allocator::OutputAllocator;
