//! The system's Python, and a virtual environment out of it.

use std::path::{Path, PathBuf};

use xshell::{Cmd, Shell, cmd};

use crate::convert::environment::external::PYTHON_VARIABLE;
use crate::convert::progress::{Progress, Step};
use crate::convert::tool::{self, Failure};
use crate::error::{Error, ErrorKind, Result};

/// Versions for which every package of the lock file has a wheel.
const VERSIONS: std::ops::RangeInclusive<(u32, u32)> = (3, 11)..=(3, 13);

/// Programs to try, in this order.
const PROGRAMS: [&str; 4] = ["python3", "python3.13", "python3.12", "python3.11"];

/// An interpreter of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The program.
    pub(super) program: PathBuf,
    /// Major and minor version.
    pub(super) version: (u32, u32),
}

impl Interpreter {
    /// Where a virtual environment of it keeps packages, relative to its folder.
    pub(super) fn site_packages(&self) -> PathBuf {
        let (major, minor) = self.version;
        PathBuf::from(format!("lib/python{major}.{minor}/site-packages"))
    }
}

/// The first interpreter on `PATH` of a version that the lock file has wheels for.
pub(super) fn find(shell: &Shell) -> Result<Interpreter> {
    choose(PROGRAMS.iter().map(|program| (*program, version(shell, program))))
}

fn choose<'a>(found: impl Iterator<Item = (&'a str, Option<(u32, u32)>)>) -> Result<Interpreter> {
    let mut others = Vec::new();
    for (program, version) in found {
        match version {
            Some(version) if VERSIONS.contains(&version) => {
                return Ok(Interpreter { program: program.into(), version });
            }
            Some((major, minor)) => others.push(format!("`{program}` is Python {major}.{minor}")),
            None => {}
        }
    }
    let how = if others.is_empty() {
        "install one (Debian, Ubuntu: `apt install python3 python3-venv`)"
    } else {
        // The system's own package would give the same version again.
        "install one beside it, such as `python3.12` with `python3.12-venv`, where the system has the package, or with `uv python install 3.12`"
    };
    let error = Error::missing(match others.as_slice() {
        [] => "no Python 3.11, 3.12 or 3.13 on `PATH`".to_owned(),
        _ => format!("no Python 3.11, 3.12 or 3.13 on `PATH` ({})", others.join(", ")),
    });
    Err(error.hint(format!("{how}, or name an interpreter that has TensorFlow in `{PYTHON_VARIABLE}`")))
}

fn version(shell: &Shell, program: &str) -> Option<(u32, u32)> {
    let script = "import sys; print(sys.version_info[0], sys.version_info[1])";
    let text = cmd!(shell, "{program} -I -c {script}").read().ok()?;
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Makes a virtual environment in `directory`; returns the start of a `pip install` command for it.
///
/// Distributions that split `ensurepip` from Python (Debian's `python3-venv`) cannot give it a pip of its own: then
/// `virtualenv` is tried, then the system's own pip on an environment without one.
pub(super) fn environment(
    shell: &Shell,
    base: &Interpreter,
    directory: &Path,
    progress: &dyn Progress,
    step: &dyn Step,
) -> Result<Cmd> {
    let program = &base.program;
    let inside = directory.join("bin").join("python");
    let with_pip = cmd!(shell, "{program} -I -m venv {directory}");
    let first = match tool::run(&with_pip, progress, step) {
        Ok(_) => return Ok(cmd!(shell, "{inside} -I -m pip install")),
        Err(failure) => failure,
    };
    if first.error.kind == ErrorKind::Machine {
        return Err(first.error);
    }
    let virtualenv = cmd!(shell, "{program} -m virtualenv --no-periodic-update {directory}");
    if tool::run(&virtualenv, progress, step).is_ok() {
        return Ok(cmd!(shell, "{inside} -I -m pip install"));
    }
    let without_pip = cmd!(shell, "{program} -I -m venv --clear --without-pip {directory}");
    if pip_version(shell, program).is_some_and(|major| major >= 23)
        && keep_requirements(directory, || tool::run(&without_pip, progress, step)).is_ok()
    {
        return Ok(cmd!(shell, "{program} -m pip --python {inside} install"));
    }
    Err(no_environment(*first, base))
}

/// `venv --clear` empties the folder; what stood there before is put back.
fn keep_requirements<T>(directory: &Path, make: impl FnOnce() -> Result<T, Box<Failure>>) -> Result<()> {
    let path = directory.join("requirements.txt");
    let text = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
    make().map_err(|failure| failure.error)?;
    std::fs::write(&path, text).map_err(|error| Error::io("write", &path, error))
}

fn no_environment(failure: Failure, base: &Interpreter) -> Error {
    let (major, minor) = base.version;
    let mut error = failure.error.context("cannot make a Python environment");
    error.kind = ErrorKind::Missing;
    error.hint(format!(
        "install what `python3 -m venv` needs (Debian, Ubuntu: `apt install python{major}.{minor}-venv`), or name an interpreter that has TensorFlow in `{PYTHON_VARIABLE}`"
    ))
}

/// The start of a `pip install` command of the system, for packages that only hold libraries.
pub(super) fn pip(shell: &Shell) -> Result<Cmd> {
    PROGRAMS
        .iter()
        .find(|program| pip_version(shell, Path::new(program)).is_some())
        .map(|program| cmd!(shell, "{program} -m pip install"))
        .ok_or_else(|| {
            Error::missing("no `pip` to fetch packages with")
                .hint("install one (Debian, Ubuntu: `apt install python3-pip`)")
        })
}

/// Major version of the pip of `program`.
fn pip_version(shell: &Shell, program: &Path) -> Option<u32> {
    let text = cmd!(shell, "{program} -m pip --version").read().ok()?;
    text.strip_prefix("pip ")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_interpreter_with_wheels_is_taken() {
        let found = [("python3", Some((3, 14))), ("python3.13", None), ("python3.12", Some((3, 12)))];
        let chosen = choose(found.into_iter()).unwrap();
        assert_eq!(chosen, Interpreter { program: "python3.12".into(), version: (3, 12) });
        assert_eq!(chosen.site_packages(), Path::new("lib/python3.12/site-packages"));
    }

    #[test]
    fn no_interpreter_says_what_was_found_and_what_to_do() {
        let error = choose([("python3", Some((3, 9))), ("python3.13", None)].into_iter()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Missing);
        insta::assert_snapshot!(format!("{error}\n{}", error.hint.as_deref().unwrap()), @r"
        no Python 3.11, 3.12 or 3.13 on `PATH` (`python3` is Python 3.9)
        install one beside it, such as `python3.12` with `python3.12-venv`, where the system has the package, or with `uv python install 3.12`, or name an interpreter that has TensorFlow in `TRTGATE_PYTHON`
        ");
        let none = choose([("python3", None)].into_iter()).unwrap_err();
        assert!(none.hint.unwrap().contains("`apt install python3 python3-venv`"));
    }
}
