//! Builder, builder configuration, optimization profiles, and the bytes that come out.

use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::runtime::cuda::Device;
use crate::runtime::tensorrt::log;
use crate::runtime::tensorrt::result::object::{Object, c_string, check, enumerator, failure, to_narrow, to_wide};
use crate::runtime::tensorrt::result::{Calibrator, Library, Network};
use crate::runtime::tensorrt::sys::{
    Dims32, Dims64, HARDWARE_AMPERE_PLUS, MEMORY_POOL_WORKSPACE, PROFILE_SELECTORS, PROFILING_DETAILED, Slot,
};

/// `IBuilder`. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Builder(pub(super) Rc<Object>);

impl Builder {
    /// A builder of `library`, which builds on `device` where the library needs one.
    pub fn new(library: &'static Library, device: Option<&Device>) -> Result<Self> {
        let mark = log::mark();
        let object = Object::new(library, library.create_builder()?, "createInferBuilder", mark)?;
        Ok(Self(Rc::new(object.on(device))))
    }

    /// Its library.
    pub fn library(&self) -> &'static Library {
        self.0.library()
    }

    /// A new configuration.
    pub fn config(&self) -> Result<Config> {
        let (library, mark) = (self.library(), log::mark());
        let pointer = call!(unsafe library, self.0.as_pointer(), library.slots().builder.create_builder_config, () -> *mut c_void)?;
        let object = Object::new(library, pointer, "createBuilderConfig", mark)?;
        Ok(Config { object, calibrator: None, timing_cache: None, profiles: Vec::new(), _builder: self.0.clone() })
    }

    /// A new, empty optimization profile; the builder owns it.
    pub fn profile(&self) -> Result<Profile> {
        let (library, mark) = (self.library(), log::mark());
        let slot = library.slots().builder.create_optimization_profile;
        let pointer = call!(unsafe library, self.0.as_pointer(), slot, () -> *mut c_void)?;
        if pointer.is_null() {
            return Err(failure(library, "createOptimizationProfile", mark));
        }
        Ok(Profile { pointer, builder: self.0.clone() })
    }

    /// Builds the engine and returns its bytes. Takes seconds to minutes.
    pub fn build(&self, network: &Network, config: &Config) -> Result<HostMemory> {
        let (library, mark) = (self.library(), log::mark());
        let pointer = call!(
            unsafe library, self.0.as_pointer(), library.slots().builder.build_serialized_network,
            (network.as_pointer() => *mut c_void, config.object.as_pointer() => *mut c_void) -> *mut c_void
        )?;
        let built = Object::new(library, pointer, "buildSerializedNetwork", mark).map(HostMemory);
        if let Some(error) = config.calibrator.as_deref().and_then(Calibrator::take_error) {
            return Err(error.context("the calibration batches could not be given to TensorRT"));
        }
        built
    }
}

/// `IHostMemory` with an engine or a timing cache in it.
#[derive(Debug)]
pub struct HostMemory(Object);

impl HostMemory {
    /// The bytes.
    pub fn bytes(&self) -> Result<&[u8]> {
        let (library, slots) = (self.0.library(), &self.0.library().slots().host_memory);
        let data = call!(unsafe library, self.0.as_pointer(), slots.data, () -> *const u8)?;
        let size = call!(unsafe library, self.0.as_pointer(), slots.size, () -> usize)?;
        if data.is_null() || size == 0 || isize::try_from(size).is_err() {
            return Err(Error::failed(format!("{} handed out no bytes", library.title())));
        }
        // SAFETY: the object owns `size` bytes at `data` for as long as it lives, and never writes to them.
        Ok(unsafe { std::slice::from_raw_parts(data, size) })
    }
}

/// `IOptimizationProfile`: the range of shapes that an engine accepts. The builder owns it.
#[derive(Debug)]
pub struct Profile {
    pointer: *mut c_void,
    builder: Rc<Object>,
}

impl Profile {
    /// Smallest, preferred and largest shape of input `name`.
    pub fn set_range(&self, name: &str, shapes: [&[i64]; 3]) -> Result<()> {
        let (library, mark) = (self.builder.library(), log::mark());
        let slot = library.slots().optimization_profile.set_dimensions;
        let c_name = c_string(name)?;
        for (selector, shape) in PROFILE_SELECTORS.into_iter().zip(shapes) {
            let accepted = if library.family().narrow_dims() {
                // Family 8 takes `Dims` by value.
                let dims = to_narrow(shape)?;
                call!(unsafe library, self.pointer, slot,
                    (c_name.as_ptr() => *const c_char, selector => c_int, dims => Dims32) -> bool)?
            } else {
                let dims = to_wide(shape)?;
                call!(unsafe library, self.pointer, slot, (c_name.as_ptr() => *const c_char, selector => c_int,
                        std::ptr::from_ref(&dims) => *const Dims64) -> bool)?
            };
            check(library, accepted, &format!("IOptimizationProfile::setDimensions({name}, {shape:?})"), mark)?;
        }
        Ok(())
    }

    /// Smallest, preferred and largest values of input `name`, whose values decide shapes.
    pub fn set_values(&self, name: &str, values: [&[i64]; 3]) -> Result<()> {
        let (library, mark) = (self.builder.library(), log::mark());
        let slots = &library.slots().optimization_profile;
        let c_name = c_string(name)?;
        for (selector, values) in PROFILE_SELECTORS.into_iter().zip(values) {
            let count = c_int::try_from(values.len()).unwrap_or(c_int::MAX);
            let accepted = if slots.set_shape_values_v2.get(library.version()).is_some() {
                call!(unsafe library, self.pointer, slots.set_shape_values_v2, (c_name.as_ptr() => *const c_char,
                        selector => c_int, values.as_ptr() => *const i64, count => c_int) -> bool)?
            } else {
                let narrow =
                    values.iter().map(|value| i32::try_from(*value)).collect::<std::result::Result<Vec<_>, _>>();
                let narrow = narrow.map_err(|_| {
                    Error::unsupported(format!("`{name}` decides shapes by {values:?}, beyond this release's 32 bits"))
                })?;
                call!(unsafe library, self.pointer, slots.set_shape_values, (c_name.as_ptr() => *const c_char,
                        selector => c_int, narrow.as_ptr() => *const i32, count => c_int) -> bool)?
            };
            check(library, accepted, &format!("IOptimizationProfile::setShapeValues({name}, {values:?})"), mark)?;
        }
        Ok(())
    }
}

/// `IBuilderConfig`, with what it refers to.
#[derive(Debug)]
pub struct Config {
    object: Object,
    calibrator: Option<Box<Calibrator>>,
    timing_cache: Option<Object>,
    profiles: Vec<Profile>,
    _builder: Rc<Object>,
}

impl Config {
    fn flag(&self, slot: Slot, on: bool) -> Result<()> {
        let library = self.object.library();
        let slots = &library.slots().builder_config;
        let value = enumerator(library, slot)?;
        let method = if on { slots.set_flag } else { slots.clear_flag };
        call!(unsafe library, self.object.as_pointer(), method, (value => c_int) -> ())
    }

    /// Allows or forbids TF32 tensor cores in FP32 layers; TensorRT's default is to allow them.
    pub fn tf32(&self, on: bool) -> Result<()> {
        self.flag(self.object.library().slots().builder_flag.tf32, on)
    }

    /// Allows FP16 kernels (weak typing).
    pub fn fp16(&self) -> Result<()> {
        self.flag(self.object.library().slots().builder_flag.fp16, true)
    }

    /// Allows INT8 kernels (weak typing).
    pub fn int8(&self) -> Result<()> {
        self.flag(self.object.library().slots().builder_flag.int8, true)
    }

    /// Prefers the precisions set on layers where a kernel exists (weak typing).
    pub fn prefer_precision_constraints(&self) -> Result<()> {
        self.flag(self.object.library().slots().builder_flag.prefer_precision_constraints, true)
    }

    /// Turns a tactic that the timing cache lacks into an error; false where the release cannot do so.
    pub fn error_on_timing_cache_miss(&self) -> Result<bool> {
        let slot = self.object.library().slots().builder_flag.error_on_timing_cache_miss;
        if slot.get(self.object.library().version()).is_none() {
            return Ok(false);
        }
        self.flag(slot, true).map(|()| true)
    }

    /// Makes the engine version-compatible (8.6 and later): other releases run it by the lean runtime of this one. No copy of that
    /// goes into it: it holds no code for the host.
    pub fn version_compatible(&self) -> Result<()> {
        let flags = &self.object.library().slots().builder_flag;
        self.flag(flags.version_compatible, true)?;
        self.flag(flags.exclude_lean_runtime, true)
    }

    /// Lets the engine run on every GPU from Ampere on (8.6 and later).
    pub fn ampere_plus(&self) -> Result<()> {
        let library = self.object.library();
        let slot = library.slots().builder_config.set_hardware_compatibility_level;
        call!(unsafe library, self.object.as_pointer(), slot, (HARDWARE_AMPERE_PLUS => c_int) -> ())
    }

    /// Keeps every detail of the layers in the engine, for the inspector.
    pub fn detailed_layers(&self) -> Result<()> {
        let library = self.object.library();
        let slot = library.slots().builder_config.set_profiling_verbosity;
        call!(unsafe library, self.object.as_pointer(), slot, (PROFILING_DETAILED => c_int) -> ())
    }

    /// Largest scratch memory of a layer, bytes.
    pub fn workspace_limit(&self, bytes: usize) -> Result<()> {
        let library = self.object.library();
        let slot = library.slots().builder_config.set_memory_pool_limit;
        call!(unsafe library, self.object.as_pointer(), slot, (MEMORY_POOL_WORKSPACE => c_int, bytes => usize) -> ())
    }

    /// Builder optimization level, 0 to 5 (8.6 and later).
    pub fn optimization_level(&self, level: c_int) -> Result<()> {
        let library = self.object.library();
        let slot = library.slots().builder_config.set_builder_optimization_level;
        call!(unsafe library, self.object.as_pointer(), slot, (level => c_int) -> ())
    }

    /// How often each tactic is timed; the average decides.
    pub fn timing_iterations(&self, iterations: c_int) -> Result<()> {
        let library = self.object.library();
        let slot = library.slots().builder_config.set_avg_timing_iterations;
        call!(unsafe library, self.object.as_pointer(), slot, (iterations => c_int) -> ())
    }

    /// Tactic sources, one bit each.
    pub fn tactic_sources(&self, sources: u32) -> Result<()> {
        let (library, mark) = (self.object.library(), log::mark());
        let slot = library.slots().builder_config.set_tactic_sources;
        let accepted = call!(unsafe library, self.object.as_pointer(), slot, (sources => u32) -> bool)?;
        check(library, accepted, "setTacticSources", mark)
    }

    /// Adds a profile; returns its index.
    pub fn add_profile(&mut self, profile: Profile) -> Result<usize> {
        let (library, mark) = (self.object.library(), log::mark());
        let valid = call!(unsafe library, profile.pointer, library.slots().optimization_profile.is_valid, () -> bool)?;
        check(library, valid, "IOptimizationProfile::isValid", mark)?;
        let slot = library.slots().builder_config.add_optimization_profile;
        let index = call!(unsafe library, self.object.as_pointer(), slot, (profile.pointer => *mut c_void) -> c_int)?;
        self.profiles.push(profile);
        usize::try_from(index).map_err(|_| failure(library, "addOptimizationProfile", mark))
    }

    /// Calibrates INT8 with `calibrator`, over the shapes of `profile`.
    pub fn calibrate(&mut self, calibrator: Box<Calibrator>, profile: Profile) -> Result<()> {
        let (library, mark) = (self.object.library(), log::mark());
        let slots = &library.slots().builder_config;
        let pointer = calibrator.as_pointer();
        call!(unsafe library, self.object.as_pointer(), slots.set_int8_calibrator, (pointer => *mut c_void) -> ())?;
        self.calibrator = Some(calibrator);
        let accepted = call!(
            unsafe library, self.object.as_pointer(), slots.set_calibration_profile, (profile.pointer => *mut c_void) -> bool
        )?;
        self.profiles.push(profile);
        check(library, accepted, "setCalibrationProfile", mark)
    }

    /// The calibrator's table after the build, if it made or read one.
    pub fn calibration_table(&self) -> Option<Vec<u8>> {
        self.calibrator.as_deref().and_then(Calibrator::table)
    }

    /// Starts the timing cache from `bytes` (empty for a new one). A cache of another GPU or version is refused.
    pub fn set_timing_cache(&mut self, bytes: &[u8]) -> Result<()> {
        let (library, mark) = (self.object.library(), log::mark());
        let slots = &library.slots().builder_config;
        let pointer = call!(unsafe library, self.object.as_pointer(), slots.create_timing_cache,
            (bytes.as_ptr().cast() => *const c_void, bytes.len() => usize) -> *mut c_void)?;
        let cache = Object::new(library, pointer, "createTimingCache", mark)?;
        let accepted = call!(unsafe library, self.object.as_pointer(), slots.set_timing_cache,
            (cache.as_pointer() => *mut c_void, false => bool) -> bool)?;
        self.timing_cache = Some(cache);
        check(library, accepted, "setTimingCache", mark)
    }

    /// The timing cache as it is now; `None` if none was set.
    pub fn timing_cache(&self) -> Result<Option<HostMemory>> {
        let (library, mark) = (self.object.library(), log::mark());
        if self.timing_cache.is_none() {
            return Ok(None);
        }
        // The builder may have replaced the object that it was given.
        let slot = library.slots().builder_config.get_timing_cache;
        let cache = call!(unsafe library, self.object.as_pointer(), slot, () -> *mut c_void)?;
        if cache.is_null() {
            return Ok(None);
        }
        let memory = call!(unsafe library, cache, library.slots().timing_cache.serialize, () -> *mut c_void)?;
        Object::new(library, memory, "ITimingCache::serialize", mark).map(|object| Some(HostMemory(object)))
    }
}
