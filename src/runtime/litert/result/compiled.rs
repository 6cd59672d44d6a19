//! A model prepared for the CPU, and the buffers that it reads and writes.

use std::ffi::c_int;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::model::{Border, Model, ModelSignature, Operator};
use super::{Environment, Litert, Options, check, created, fetched};
use crate::error::{Error, Result};
use crate::runtime::litert::sys;

/// Where a buffer belongs: of this model, this signature, as this input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// A model's number is given once.
    model: u64,
    signature: usize,
    side: Side,
    index: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

/// `LiteRtCompiledModel`, with everything that it was made from.
pub(in crate::runtime::litert) struct CompiledModel {
    library: Litert,
    raw: NonNull<sys::RawCompiledModel>,
    model: Model,
    _options: Options,
    environment: Rc<Environment>,
    /// Tells the models of this process apart.
    number: u64,
}

impl CompiledModel {
    /// Loads the model in `file` and prepares it for the CPU; `settings` is the TOML text that the CPU accelerator
    /// reads.
    pub(in crate::runtime::litert) fn load(library: &Litert, file: &Path, settings: &str) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let environment = Environment::new(library)?;
        let model = Model::load(&environment, file)?;
        let options = Options::new(library, settings)?;
        let mut raw = ptr::null_mut();
        // SAFETY: live objects, all kept until the compiled model is freed; `raw` receives an owned compiled model.
        let status = unsafe {
            (library.0.create_compiled_model)(
                environment.raw.as_ptr(),
                model.raw.as_ptr(),
                options.raw.as_ptr(),
                &mut raw,
            )
        };
        check(status, || format!("LiteRT cannot prepare `{}` for the CPU", file.display()))?;
        let raw = created(raw, "compiled model")?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { library: library.clone(), raw, model, _options: options, environment, number })
    }

    /// The model's signatures.
    pub(in crate::runtime::litert) fn signatures(&self) -> Result<Vec<ModelSignature>> {
        self.model.signatures()
    }

    /// The operators of the model's main subgraph, in order.
    pub(in crate::runtime::litert) fn operators(&self) -> Result<Vec<Operator>> {
        self.model.operators()
    }

    /// A buffer for input `index` of signature `signature`, of `bytes` bytes.
    pub(in crate::runtime::litert) fn input_buffer(
        &self,
        signature: usize,
        index: usize,
        border: &Border,
        bytes: usize,
    ) -> Result<Buffer> {
        let requirements = fetched(ptr::null_mut(), "an input's requirements", |requirements| {
            // SAFETY: a live compiled model; wrong indices are refused by it.
            unsafe { (self.library.0.input_requirements)(self.raw.as_ptr(), signature, index, requirements) }
        })?;
        self.buffer(requirements, border, bytes, self.place(signature, Side::Input, index))
    }

    /// A buffer for output `index` of signature `signature`, of `bytes` bytes.
    pub(in crate::runtime::litert) fn output_buffer(
        &self,
        signature: usize,
        index: usize,
        border: &Border,
        bytes: usize,
    ) -> Result<Buffer> {
        let requirements = fetched(ptr::null_mut(), "an output's requirements", |requirements| {
            // SAFETY: a live compiled model; wrong indices are refused by it.
            unsafe { (self.library.0.output_requirements)(self.raw.as_ptr(), signature, index, requirements) }
        })?;
        self.buffer(requirements, border, bytes, self.place(signature, Side::Output, index))
    }

    const fn place(&self, signature: usize, side: Side, index: usize) -> Place {
        Place { model: self.number, signature, side, index }
    }

    fn buffer(
        &self,
        requirements: *mut sys::RawRequirements,
        border: &Border,
        bytes: usize,
        place: Place,
    ) -> Result<Buffer> {
        let requirements = created(requirements, "buffer requirements")?;
        let mut raw = ptr::null_mut();
        // SAFETY: a live environment, a type read from the model, and requirements that the compiled model owns.
        let status = unsafe {
            (self.library.0.create_buffer)(
                self.environment.raw.as_ptr(),
                &border.raw_type,
                requirements.as_ptr(),
                &mut raw,
            )
        };
        check(status, || format!("LiteRT made no buffer for `{}`", border.name))?;
        let raw = created(raw, "buffer")?;
        let (library, environment) = (self.library.clone(), Rc::clone(&self.environment));
        let buffer = Buffer { library, raw, bytes, place, _environment: environment };
        buffer.check_size(&border.name)?;
        Ok(buffer)
    }

    /// Runs signature `signature` once, from `inputs` into `outputs`, which were made for it in its order.
    ///
    /// # Errors
    /// If a buffer was made for another place, or the library fails.
    pub(in crate::runtime::litert) fn run(
        &mut self,
        signature: usize,
        inputs: &mut [Buffer],
        outputs: &mut [Buffer],
    ) -> Result<()> {
        for (side, buffers) in [(Side::Input, &*inputs), (Side::Output, &*outputs)] {
            for (index, buffer) in buffers.iter().enumerate() {
                let place = self.place(signature, side, index);
                if buffer.place != place {
                    return Err(Error::failed(format!("a buffer of {:?} stands as {place:?}", buffer.place)));
                }
            }
        }
        let mut inputs: Vec<*mut sys::RawBuffer> = inputs.iter().map(|buffer| buffer.raw.as_ptr()).collect();
        let mut outputs: Vec<*mut sys::RawBuffer> = outputs.iter().map(|buffer| buffer.raw.as_ptr()).collect();
        // SAFETY: a live compiled model and live, unlocked buffers, all of them distinct (they are borrowed alone); the
        // library checks their number, and each was made from the requirements of its place (checked above).
        let status = unsafe {
            (self.library.0.run)(
                self.raw.as_ptr(),
                signature,
                inputs.len(),
                inputs.as_mut_ptr(),
                outputs.len(),
                outputs.as_mut_ptr(),
            )
        };
        check(status, || "LiteRT failed to run the model".to_owned())
    }
}

impl Drop for CompiledModel {
    fn drop(&mut self) {
        // SAFETY: made by `LiteRtCreateCompiledModel`, freed once, before its model, options and environment (fields
        // are dropped after this).
        unsafe { (self.library.0.destroy_compiled_model)(self.raw.as_ptr()) }
    }
}

/// `LiteRtTensorBuffer`, of known length.
pub(in crate::runtime::litert) struct Buffer {
    library: Litert,
    raw: NonNull<sys::RawBuffer>,
    bytes: usize,
    place: Place,
    // Freed after the buffer.
    _environment: Rc<Environment>,
}

impl Buffer {
    /// Checks that the library's idea of the length is ours: locked memory is only read and written up to it.
    fn check_size(&self, name: &str) -> Result<()> {
        let api = &self.library.0;
        let size = fetched(0, "a buffer's size", |size| {
            // SAFETY: a live buffer.
            unsafe { (api.buffer_bytes)(self.raw.as_ptr(), size) }
        })?;
        let packed = fetched(0, "a buffer's size", |size| {
            // SAFETY: a live buffer.
            unsafe { (api.buffer_packed_bytes)(self.raw.as_ptr(), size) }
        })?;
        if packed != self.bytes || size < self.bytes {
            return Err(Error::failed(format!(
                "LiteRT's buffer for `{name}` holds {packed} of {size} bytes, expected {}",
                self.bytes
            )));
        }
        Ok(())
    }

    /// Lets `access` use the locked memory.
    fn locked<T>(&mut self, mode: c_int, access: impl FnOnce(NonNull<u8>) -> T) -> Result<T> {
        let api = &self.library.0;
        let memory = fetched(ptr::null_mut(), "where a buffer lies", |memory| {
            // SAFETY: a live buffer that is not locked: `locked` is the only place that locks, and unlocks again.
            unsafe { (api.lock_buffer)(self.raw.as_ptr(), memory, mode) }
        })?;
        let value = NonNull::new(memory.cast::<u8>()).map(access);
        // SAFETY: locked above.
        check(unsafe { (api.unlock_buffer)(self.raw.as_ptr()) }, || "LiteRT did not unlock a buffer".to_owned())?;
        value.ok_or_else(|| Error::failed("LiteRT locked a buffer at no address"))
    }

    /// Fills the buffer with `bytes`, which must have its length.
    pub(in crate::runtime::litert) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() != self.bytes {
            return Err(Error::failed(format!("{} bytes do not fill a buffer of {}", bytes.len(), self.bytes)));
        }
        self.locked(sys::LOCK_WRITE, |memory| {
            // SAFETY: the buffer is at least `self.bytes` long (`check_size`), locked for writing, and not ours.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), memory.as_ptr(), bytes.len()) }
        })
    }

    /// Lets `read` use the buffer's bytes.
    pub(in crate::runtime::litert) fn read<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let length = self.bytes;
        self.locked(sys::LOCK_READ, |memory| {
            // SAFETY: the buffer is at least `length` bytes long (`check_size`), initialised by the run or by the
            // library when it allocated it, and locked for reading until `read` returns.
            read(unsafe { std::slice::from_raw_parts(memory.as_ptr(), length) })
        })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: made by `LiteRtCreateManagedTensorBufferFromRequirements`, freed once.
        unsafe { (self.library.0.destroy_buffer)(self.raw.as_ptr()) }
    }
}
