//! A TensorRT library in this process: opened, its version checked, its entry points found. Never closed again.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::os::unix::{Library as SharedObject, RTLD_LAZY, RTLD_LOCAL};

use crate::error::{Error, Result};
use crate::runtime::Installation;
use crate::runtime::tensorrt::log::{self, Severity};
use crate::runtime::tensorrt::sys::{
    CreateFunction, CreateParserFunction, Family, InitializePluginsFunction, LoggerObject, Slots, Version,
    VersionFunction,
};
use crate::vocabulary::Library as Name;

/// Role of the ONNX parser among an installation's companions.
pub const PARSER: &str = "parser";

/// Role of a plugin library of the project's own, followed by its place in their order and its digest.
pub const PLUGIN_LIBRARY: &str = "plugin-library";

/// An opened library. It stays in the process: its objects' code must outlive them, and TensorRT does not unload cleanly.
#[derive(Debug)]
pub struct Library {
    name: Name,
    version: Version,
    family: Family,
    file: PathBuf,
    parser_file: Option<PathBuf>,
    logger: &'static LoggerObject,
    version_number: c_int,
    create_builder: Option<CreateFunction>,
    create_runtime: CreateFunction,
    parser: OnceLock<Result<ParserEntry>>,
}

/// Entry points of the ONNX parser's library.
#[derive(Clone, Copy, Debug)]
struct ParserEntry {
    create: CreateParserFunction,
    version: c_int,
}

/// The callback that TensorRT logs through.
extern "C" fn log_line(_logger: *mut c_void, severity: c_int, message: *const c_char) {
    if message.is_null() {
        return;
    }
    // SAFETY: TensorRT passes a NUL-terminated string that lives for the call.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    log::write(Severity::from_number(severity), &text);
}

/// Opens a shared object lazily and with its symbols to itself, so that several versions can stand side by side.
fn open_file(file: &Path) -> Result<&'static SharedObject> {
    // SAFETY: runs the library's initialisers; those of TensorRT and of the CUDA libraries have no preconditions. The
    // handle is leaked, so its code stays.
    let opened = unsafe { SharedObject::open(Some(file), RTLD_LAZY | RTLD_LOCAL) };
    let library = opened.map_err(|error| {
        Error::missing(format!("cannot load `{}`", file.display()))
            .because(error)
            .hint("`ldd` on that file lists the libraries that it lacks")
    })?;
    Ok(Box::leak(Box::new(library)))
}

/// The function `symbol` of a leaked library.
///
/// # Safety
/// `F` is the type of the function.
unsafe fn function<F: Copy + 'static>(library: &'static SharedObject, symbol: &str, file: &Path) -> Result<F> {
    // SAFETY: the caller promises the type; the library is never closed.
    let found = unsafe { library.get::<F>(symbol) };
    found.map(|pointer| *pointer).map_err(|error| {
        Error::missing(format!("`{}` has no function `{symbol}`", file.display()))
            .because(error)
            .hint("the file is not the TensorRT library that its name promises")
    })
}

/// The version number that a library reports about itself.
fn version_number(library: &'static SharedObject, file: &Path) -> Result<c_int> {
    // SAFETY: the type of `getInferLibVersion` in every release.
    let version = unsafe { function::<VersionFunction>(library, "getInferLibVersion", file) }?;
    // SAFETY: it takes nothing.
    Ok(unsafe { version() })
}

/// Loads `file` and asks it for its version. For a process that may be lost: loading runs the library's initialisers.
pub fn inspect_version(file: &Path) -> Result<Version> {
    let number = version_number(open_file(file)?, file)?;
    Version::from_number(number)
        .ok_or_else(|| Error::failed(format!("`{}` reports the impossible version {number}", file.display())))
}

/// Loads a plugin library: its initialisers register its plugins with the TensorRT that it links, which is in this process already.
fn load_plugins(file: &Path, logger: &'static LoggerObject) -> Result<()> {
    let failed = |error: Error| error.context(format!("cannot load the plugin library `{}`", file.display()));
    // What it lacks is a fault of the project's own file, not of the machine.
    let library = open_file(file).map_err(|error| {
        let failed = error.causes.into_iter().fold(Error::failed("the loader refuses it"), Error::cause);
        failed.hint("build it for this TensorRT; libraries that it links are found by `LD_LIBRARY_PATH`")
    });
    let library = library.map_err(failed)?;
    // SAFETY: the signature of this entry point in every release of NVIDIA's own plugin library, which named it.
    let initialize = unsafe { function::<InitializePluginsFunction>(library, "initLibNvInferPlugins", file) };
    if let Ok(initialize) = initialize {
        // SAFETY: the logger lives as long as the process; the namespace is a string of no length.
        if !unsafe { initialize(logger.as_pointer(), c"".as_ptr()) } {
            return Err(failed(Error::failed("`initLibNvInferPlugins` refused")));
        }
    }
    Ok(())
}

/// Whether the loader finds `soname`, or has it already, with `symbol` in it.
fn has_symbol(soname: &str, symbol: &str) -> bool {
    // SAFETY: an address is looked up and not used.
    open_file(Path::new(soname)).is_ok_and(|library| unsafe { library.get::<*const c_void>(symbol).is_ok() })
}

impl Library {
    /// Tactic sources, as bits, whose libraries are not on this machine; family 8 fails a whole build over one of them.
    /// Meaningful after the parser was opened: it brings along the libraries that it links.
    pub fn missing_tactic_sources(&self) -> u32 {
        if self.family != Family::Eight {
            return 0;
        }
        let needed = [
            ["libcublas.so.11", "libcublas.so.12"],
            ["libcublasLt.so.11", "libcublasLt.so.12"],
            ["libcudnn.so.8", "libcudnn.so.8"],
        ];
        let symbols = ["cublasGetProperty", "cublasLtGetProperty", "cudnnGetProperty"];
        needed.iter().zip(symbols).enumerate().fold(0, |bits, (bit, (names, symbol))| {
            if names.iter().any(|name| has_symbol(name, symbol)) { bits } else { bits | 1 << bit }
        })
    }

    /// The library of `installation`, opened on the first call. Its version must be the one that the installation names.
    pub fn open(installation: &Installation) -> Result<&'static Self> {
        static OPENED: Mutex<Option<HashMap<PathBuf, &'static Library>>> = Mutex::new(None);
        let mut guard = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = guard.get_or_insert_with(HashMap::new);
        if let Some(library) = opened.get(&installation.file) {
            return Ok(library);
        }
        let library: &'static Self = Box::leak(Box::new(Self::load(installation)?));
        opened.insert(installation.file.clone(), library);
        Ok(library)
    }

    fn load(installation: &Installation) -> Result<Self> {
        let file = &installation.file;
        for (role, companion) in &installation.companions {
            // A dependency that is already loaded satisfies the loader by its name. If one fails, the library itself
            // says better what is missing.
            if role != PARSER && role != "plugin" && !role.starts_with(PLUGIN_LIBRARY) {
                let _ = open_file(companion);
            }
        }
        let shared = open_file(file)?;
        let number = version_number(shared, file)?;
        let name = installation.id.library;
        let version = Version::from_number(number)
            .ok_or_else(|| Error::failed(format!("`{}` reports the impossible version {number}", file.display())))?;
        let expected = installation.id.version.as_deref().and_then(Version::parse);
        if expected != Some(version) {
            return Err(Error::invalid(format!(
                "`{}` is version {version}, but was found as `{}`",
                file.display(),
                installation.id
            ))
            .hint("the file and the package around it disagree: install one version afresh"));
        }
        let family = Family::of(name, version)?;
        let logger = LoggerObject::leak(family, version, log_line)
            .ok_or_else(|| Error::unsupported(format!("the logger of {name} {version} is not known")))?;
        // SAFETY: the signature of this entry point, the same in every release.
        let create_builder = unsafe { function::<CreateFunction>(shared, "createInferBuilder_INTERNAL", file) }.ok();
        // SAFETY: as above.
        let create_runtime = unsafe { function::<CreateFunction>(shared, "createInferRuntime_INTERNAL", file) }?;
        let plugins = installation.companions.iter().filter(|(role, _)| role.starts_with(PLUGIN_LIBRARY));
        plugins.into_iter().try_for_each(|(_, plugin)| load_plugins(plugin, logger))?;
        Ok(Self {
            name,
            version,
            family,
            file: file.clone(),
            parser_file: installation.companions.get(PARSER).cloned(),
            logger,
            version_number: number,
            create_builder,
            create_runtime,
            parser: OnceLock::new(),
        })
    }

    /// Version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// ABI family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Places of methods and enumerators.
    pub(super) fn slots(&self) -> &'static Slots {
        self.family.slots()
    }

    /// Whether builders and runtimes can be made on a machine without a CUDA driver.
    pub fn works_without_driver(&self) -> bool {
        self.name == Name::TensorrtRtx
    }

    /// `TensorRT 8.5.3`, for messages.
    pub fn title(&self) -> String {
        let name = match self.name {
            Name::TensorrtRtx => "TensorRT for RTX",
            Name::TensorrtLean => "TensorRT lean runtime",
            _ => "TensorRT",
        };
        format!("{name} {}", self.version)
    }

    /// Calls `createInferBuilder_INTERNAL`; null or a pointer to a new object.
    pub(super) fn create_builder(&self) -> Result<*mut c_void> {
        let create = self.create_builder.ok_or_else(|| {
            Error::unsupported(format!("{} only runs engines, it builds none", self.title()))
                .hint("build with the full TensorRT of the same version")
        })?;
        // SAFETY: the logger lives as long as the process; the version is the library's own.
        Ok(unsafe { create(self.logger.as_pointer(), self.version_number) })
    }

    /// Calls `createInferRuntime_INTERNAL`; null or a pointer to a new object.
    pub(super) fn create_runtime(&self) -> *mut c_void {
        // SAFETY: as in `create_builder`. Callers make sure of a CUDA driver first where the library needs one: without
        // it some releases crash, others return a pointer to nothing.
        unsafe { (self.create_runtime)(self.logger.as_pointer(), self.version_number) }
    }

    /// Calls `createNvOnnxParser_INTERNAL` for the network at `network`.
    ///
    /// # Safety
    /// `network` points to a live network definition of this library.
    pub(super) unsafe fn create_parser(&'static self, network: *mut c_void) -> Result<*mut c_void> {
        let entry = self.parser.get_or_init(|| self.open_parser()).clone()?;
        // SAFETY: the caller vouches for the network; logger and version as in `create_builder`.
        Ok(unsafe { (entry.create)(network, self.logger.as_pointer(), entry.version) })
    }

    fn open_parser(&self) -> Result<ParserEntry> {
        let file = self.parser_file.as_deref().ok_or_else(|| {
            Error::missing(format!("no ONNX parser stands beside `{}`", self.file.display()))
                .hint("install the parser of the same version (`libnvonnxparser`, `libtensorrt_onnxparser_rtx`)")
        })?;
        let shared = open_file(file)?;
        // SAFETY: the signature of this entry point, the same in every release.
        let version = unsafe { function::<VersionFunction>(shared, "getNvOnnxParserVersion", file) }?;
        // SAFETY: as above.
        let create = unsafe { function(shared, "createNvOnnxParser_INTERNAL", file) }?;
        // SAFETY: it takes nothing.
        Ok(ParserEntry { create, version: unsafe { version() } })
    }
}
