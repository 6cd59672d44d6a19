//! Runtime, engine and inspector.

use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::runtime::cuda::Device;
use crate::runtime::tensorrt::log;
use crate::runtime::tensorrt::result::object::{Object, c_string, call_dims, element_type, failure, text};
use crate::runtime::tensorrt::result::{ExecutionContext, Library};
use crate::runtime::tensorrt::sys::{ALLOCATION_STATIC, LAYER_INFORMATION_JSON, PROFILE_SELECTORS, TENSOR_INPUT};
use crate::tensor::ElementType;

/// `IRuntime`. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Runtime(Rc<Object>);

impl Runtime {
    /// A runtime of `library`, whose engines run on `device`. It is proof that CUDA is there: without, releases of TensorRT and
    /// of its lean runtime crash here or hand out a pointer to nothing. TensorRT for RTX does without.
    pub fn new(library: &'static Library, device: Option<&Device>) -> Result<Self> {
        let mark = log::mark();
        if device.is_none() && !library.works_without_driver() {
            return Err(Error::missing(format!("{} needs a CUDA driver", library.title()))
                .hint("install the NVIDIA driver, or run the container with `--gpus all`"));
        }
        let object = Object::new(library, library.create_runtime(), "createInferRuntime", mark)?;
        Ok(Self(Rc::new(object.on(device))))
    }

    /// Its library.
    pub fn library(&self) -> &'static Library {
        self.0.library()
    }

    /// Loads an engine.
    pub fn deserialize(&self, bytes: &[u8]) -> Result<Engine> {
        let (library, mark) = (self.library(), log::mark());
        // Family 8 takes a third argument, a plugin factory that must be null.
        let pointer = call!(unsafe library, self.0.as_pointer(), library.slots().runtime.deserialize_cuda_engine,
            (bytes.as_ptr().cast() => *const c_void, bytes.len() => usize, std::ptr::null_mut() => *mut c_void)
                -> *mut c_void)?;
        let object = Object::new(library, pointer, "deserializeCudaEngine", mark)?;
        Ok(Engine(Rc::new(EngineObject { object, _runtime: self.0.clone() })))
    }
}

#[derive(Debug)]
struct EngineObject {
    object: Object,
    _runtime: Rc<Object>,
}

/// `ICudaEngine`. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Engine(Rc<EngineObject>);

/// Which side of an engine a tensor is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Input.
    Input,
    /// Output.
    Output,
}

impl Engine {
    fn pointer(&self) -> *mut c_void {
        self.0.object.as_pointer()
    }

    /// Its library.
    pub fn library(&self) -> &'static Library {
        self.0.object.library()
    }

    /// Layers after optimisation.
    pub fn layer_count(&self) -> Result<usize> {
        let slot = self.library().slots().cuda_engine.get_nb_layers;
        call!(unsafe self.library(), self.pointer(), slot, () -> c_int).map(|count| usize::try_from(count).unwrap_or(0))
    }

    /// Optimization profiles.
    pub fn profile_count(&self) -> Result<usize> {
        let slot = self.library().slots().cuda_engine.get_nb_optimization_profiles;
        call!(unsafe self.library(), self.pointer(), slot, () -> c_int).map(|count| usize::try_from(count).unwrap_or(0))
    }

    /// Device memory that one context needs for what it computes in between, bytes: the most of all profiles. Older releases have a
    /// method without a size of 64 bits.
    pub fn context_bytes(&self) -> Result<u64> {
        let (library, slots) = (self.library(), &self.library().slots().cuda_engine);
        match call!(unsafe library, self.pointer(), slots.get_device_memory_size, () -> usize) {
            Ok(bytes) => Ok(bytes as u64),
            Err(_) => call!(unsafe library, self.pointer(), slots.get_device_memory_size_v2, () -> i64)
                .map(|bytes| u64::try_from(bytes).unwrap_or(0)),
        }
    }

    /// Names of inputs and outputs, in the engine's order.
    pub fn tensor_names(&self) -> Result<Vec<String>> {
        let (library, slots) = (self.library(), &self.library().slots().cuda_engine);
        let count = call!(unsafe library, self.pointer(), slots.get_nb_iotensors, () -> c_int)?;
        (0..count)
            .map(|index| {
                let name =
                    call!(unsafe library, self.pointer(), slots.get_iotensor_name, (index => c_int) -> *const c_char)?;
                // SAFETY: the engine owns the names of its tensors.
                Ok(unsafe { text(name) })
            })
            .collect()
    }

    /// Side, element type and extents (-1 dynamic) of a tensor.
    pub fn tensor(&self, name: &str) -> Result<(Role, ElementType, Vec<i64>)> {
        let (library, mark) = (self.library(), log::mark());
        let slots = &library.slots().cuda_engine;
        let c_name = c_string(name)?;
        let c_name = c_name.as_ptr();
        let mode = call!(unsafe library, self.pointer(), slots.get_tensor_iomode, (c_name => *const c_char) -> c_int)?;
        let data_type =
            call!(unsafe library, self.pointer(), slots.get_tensor_data_type, (c_name => *const c_char) -> c_int)?;
        let shape = call_dims!(unsafe library, self.pointer(), slots.get_tensor_shape, (c_name => *const c_char))?
            .ok_or_else(|| failure(library, &format!("getTensorShape({name})"), mark))?;
        Ok((if mode == TENSOR_INPUT { Role::Input } else { Role::Output }, element_type(data_type), shape))
    }

    /// Whether tensor `name` lies on the host, because its values are shapes or decide them.
    pub fn is_shape(&self, name: &str) -> Result<bool> {
        let (library, slot) = (self.library(), self.library().slots().cuda_engine.is_shape_inference_io);
        let c_name = c_string(name)?;
        call!(unsafe library, self.pointer(), slot, (c_name.as_ptr() => *const c_char) -> bool)
    }

    /// Smallest, preferred and largest shape of input `name` in `profile`.
    pub fn profile_range(&self, name: &str, profile: usize) -> Result<[Vec<i64>; 3]> {
        let (library, mark) = (self.library(), log::mark());
        let slot = library.slots().cuda_engine.get_profile_shape;
        let c_name = c_string(name)?;
        let profile = c_int::try_from(profile).unwrap_or(c_int::MAX);
        let mut shapes = [Vec::new(), Vec::new(), Vec::new()];
        for (selector, shape) in PROFILE_SELECTORS.into_iter().zip(&mut shapes) {
            *shape = call_dims!(unsafe library, self.pointer(), slot,
                (c_name.as_ptr() => *const c_char, profile => c_int, selector => c_int))?
            .ok_or_else(|| failure(library, &format!("getProfileShape({name})"), mark))?;
        }
        Ok(shapes)
    }

    /// The inspector's JSON about every layer. Element types depend on shapes, so engines with dynamic shapes tell them only
    /// for a `context` whose input shapes are set.
    pub fn layer_information(&self, context: &ExecutionContext) -> Result<String> {
        let (library, mark) = (self.library(), log::mark());
        let slot = library.slots().cuda_engine.create_engine_inspector;
        let pointer = call!(unsafe library, self.pointer(), slot, () -> *mut c_void)?;
        let inspector = Object::new(library, pointer, "createEngineInspector", mark)?;
        // A refusal costs the element types of dynamic engines, nothing else.
        let _ = call!(unsafe library, inspector.as_pointer(), library.slots().engine_inspector.set_execution_context,
            (context.as_pointer() => *mut c_void) -> bool)?;
        let information = call!(
            unsafe library, inspector.as_pointer(), library.slots().engine_inspector.get_engine_information,
            (LAYER_INFORMATION_JSON => c_int) -> *const c_char
        )?;
        // SAFETY: the inspector owns the text until it is dropped, after this copy; null is read as an empty one.
        let told = unsafe { text(information) };
        if told.trim().is_empty() {
            return Err(failure(library, "getEngineInformation", mark));
        }
        Ok(told)
    }

    /// A context to run the engine with; it allocates its scratch memory on the device.
    pub fn context(&self) -> Result<ExecutionContext> {
        let (library, mark) = (self.library(), log::mark());
        // Family 8 takes no argument.
        let pointer = call!(unsafe library, self.pointer(), library.slots().cuda_engine.create_execution_context,
            (ALLOCATION_STATIC => c_int) -> *mut c_void)?;
        let object = Object::new(library, pointer, "createExecutionContext", mark)?;
        ExecutionContext::new(object, self.clone())
    }
}
