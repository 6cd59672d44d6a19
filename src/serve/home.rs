//! What a server runs from: the pinned wheel, a Python for its models, and a folder of backends that is made for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::convert::environment::{self, Environment};
use crate::convert::store::Store;
use crate::convert::tool;
use crate::error::{Error, Result};
use crate::process::Command;
use crate::progress::Progress;

/// The name of the environment that holds the server.
pub const ENVIRONMENT: &str = "triton";

/// The server that the package holds; a test that starts it asks it.
const RELEASE: &str = "2.51.0 (24.10)";

/// The backends that are stood in for, and what does.
const STAND_INS: [(&str, &str); 2] =
    [("onnxruntime", include_str!("backends/onnxruntime.py")), ("tensorrt", include_str!("backends/tensorrt.py"))];

/// Folders where systems keep shared libraries.
const SYSTEM: [&str; 6] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib", "/lib64"];

/// What has to be known before it is fetched: what, how much, and under which licences.
pub fn told() -> String {
    format!(
        "Triton Inference Server {RELEASE}, with a Python for its models\n  source   `ci/requirements/triton.txt`, pinned by SHA-256, brought by pip\n  \
         licences Apache-2.0 (the package), BSD-3-Clause (Triton, NumPy), MIT (ONNX Runtime); the CUDA runtime inside it is NVIDIA's, under its EULA"
    )
}

/// Whether the server is in `store`, and whole.
pub fn is_here(store: &Store) -> bool {
    environment::find_in(store, ENVIRONMENT).is_some()
}

/// Brings the server into `store`, where it is not there and whole already; returns the folder of its program.
///
/// # Errors
/// `Missing` where it cannot be had, or where this machine lacks the library of its Python.
pub fn fetch(store: &Store, progress: &dyn Progress) -> Result<PathBuf> {
    let environment = environment::ensure_in(store, ENVIRONMENT, progress)?;
    let parts = Parts::of(store, &environment)?;
    Ok(parts.server.join("bin"))
}

/// What the environment holds.
#[derive(Debug)]
struct Parts {
    /// `pytriton/tritonserver`.
    server: PathBuf,
    /// The libraries of the wheel, and those of Python where they lie in no folder of the system's.
    libraries: Vec<PathBuf>,
    /// The folder of the environment's interpreter.
    programs: PathBuf,
    /// `3.11`.
    python: String,
}

impl Parts {
    fn of(store: &Store, environment: &Environment) -> Result<Self> {
        let gone = || Error::missing("the environment `triton` has no interpreter").hint("run `trtgate fetch triton`");
        let python = environment.python.as_ref().ok_or_else(gone)?;
        let packages = environment.site_packages.first().ok_or_else(gone)?;
        let server = packages.join("pytriton/tritonserver");
        if !server.join("bin/tritonserver").is_file() {
            return Err(Error::missing("the environment `triton` holds no server: there is one for x86_64 alone"));
        }
        let script =
            "import sys, sysconfig; print('%d.%d' % sys.version_info[:2]); print(sysconfig.get_config_var('LIBDIR'))";
        let command = Command::new(python).args(["-I", "-c", script]).inside(Path::new("/"));
        let said = tool::ask(&command, store.limits())?;
        let mut lines = said.lines();
        let (version, folder) = (lines.next().unwrap_or_default().to_owned(), lines.next().unwrap_or_default());
        let mut libraries = vec![packages.join("nvidia_pytriton.libs")];
        libraries.extend(library_of(&version, Path::new(folder))?);
        let programs = python.parent().map(Path::to_owned).ok_or_else(gone)?;
        Ok(Self { server, libraries, programs, python: version })
    }
}

/// The folder of Python's own library, where it is none of the system's. A server whose models cannot load it waits for ever.
fn library_of(version: &str, own: &Path) -> Result<Option<PathBuf>> {
    let name = format!("libpython{version}.so.1.0");
    if SYSTEM.iter().any(|folder| Path::new(folder).join(&name).exists()) {
        return Ok(None);
    }
    if own.join(&name).exists() {
        return Ok(Some(own.to_owned()));
    }
    Err(Error::missing(format!("`{name}`, which Triton's Python backend needs, is not on this machine"))
        .cause(format!("looked in {} and `{}`", SYSTEM.join(", "), own.display()))
        .hint(format!("install it (Debian, Ubuntu: `apt install libpython{version}`)")))
}

/// A folder of backends, removed with it.
#[derive(Debug)]
pub(super) struct Home {
    parts: Parts,
    folder: tempfile::TempDir,
}

impl Home {
    /// Lays the backends out for the environment in `store`.
    pub(super) fn make(store: &Store) -> Result<Self> {
        let environment = environment::look_in(store, ENVIRONMENT)?
            .ok_or_else(|| Error::missing("Triton is not in the cache").hint("`trtgate fetch triton` brings it"))?;
        let parts = Parts::of(store, &environment)?;
        let folder = tempfile::Builder::new()
            .prefix("trtgate-triton-")
            .tempdir()
            .map_err(|error| Error::machine("cannot make a folder for Triton's backends").because(error))?;
        let python = folder.path().join("python");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| Error::io("write", &path, error)
        };
        std::fs::create_dir(&python).map_err(io(&python))?;
        // Copies: a link leads out of the folder of backends, which Triton refuses.
        let stub = parts.server.join("python_backend_stubs").join(&parts.python).join("triton_python_backend_stub");
        let backend = parts.server.join("backends/python");
        for file in [stub, backend.join("libtriton_python.so"), backend.join("triton_python_backend_utils.py")] {
            if !file.exists() {
                return Err(Error::missing(format!("this Triton has no `{}`", file.display())));
            }
            let copy = python.join(file.file_name().unwrap_or_default());
            std::fs::copy(&file, &copy).map_err(io(&copy))?;
        }
        for (name, text) in STAND_INS {
            let place = folder.path().join(name);
            std::fs::create_dir(&place).map_err(io(&place))?;
            std::fs::write(place.join("model.py"), text).map_err(io(&place))?;
        }
        Ok(Self { parts, folder })
    }

    /// The server's program.
    pub(super) fn program(&self) -> PathBuf {
        self.parts.server.join("bin/tritonserver")
    }

    /// The folder of backends.
    pub(super) fn backends(&self) -> &Path {
        self.folder.path()
    }

    /// Where its models find their interpreter: the first `python3` of this list is their home.
    pub(super) fn path(&self) -> OsString {
        joined(std::iter::once(self.parts.programs.as_path()).chain(["/usr/bin", "/bin"].map(Path::new)))
    }

    /// Where the loader looks.
    pub(super) fn libraries(&self) -> OsString {
        joined(self.parts.libraries.iter().map(PathBuf::as_path))
    }
}

/// Folders as a list; one that cannot stand in a list is left out.
fn joined<'a>(folders: impl Iterator<Item = &'a Path>) -> OsString {
    let sound: Vec<&Path> = folders.filter(|folder| !folder.to_string_lossy().contains(':')).collect();
    std::env::join_paths(sound).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_python_without_its_library_is_told_with_the_package_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = library_of("3.99", folder.path()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Missing);
        assert!(error.hint.unwrap().contains("apt install libpython3.99"));
        std::fs::write(folder.path().join("libpython3.99.so.1.0"), "").unwrap();
        assert_eq!(library_of("3.99", folder.path()).unwrap().as_deref(), Some(folder.path()));
    }

    #[test]
    fn a_server_that_was_not_fetched_is_told_with_the_command_that_brings_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().to_owned())).unwrap();
        let error = Home::make(&store).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Missing, "Triton is not in the cache"));
        assert!(error.hint.unwrap().contains("trtgate fetch triton"));
    }
}
