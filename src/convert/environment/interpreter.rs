//! The system's Python, and a virtual environment out of it.

use std::path::{Path, PathBuf};

use crate::convert::environment::external::PYTHON_VARIABLE;
use crate::convert::tool::{self, Failure, Limit};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::process::{Command, ProcessLimits};
use crate::progress::{Progress, Step};

/// The oldest Python for which every package of the lock files has a wheel.
const OLDEST: (u32, u32) = (3, 11);

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

/// The first interpreter on `PATH` of a version that a lock file has wheels for, `newest` the last of them.
pub(super) fn find(limits: &ProcessLimits, newest: (u32, u32)) -> Result<Interpreter> {
    choose(PROGRAMS.iter().map(|program| (*program, version(program, limits))), newest)
}

fn choose<'a>(found: impl Iterator<Item = (&'a str, Option<(u32, u32)>)>, newest: (u32, u32)) -> Result<Interpreter> {
    let mut others = Vec::new();
    for (program, version) in found {
        match version {
            Some(version) if (OLDEST..=newest).contains(&version) => {
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
    let wanted = if newest >= (3, 13) { "Python 3.11, 3.12 or 3.13" } else { "Python 3.11 or 3.12" };
    let error = Error::missing(match others.as_slice() {
        [] => format!("no {wanted} on `PATH`"),
        _ => format!("no {wanted} on `PATH` ({})", others.join(", ")),
    });
    Err(error.hint(format!("{how}, or name an interpreter that has TensorFlow in `{PYTHON_VARIABLE}`")))
}

/// `program`, isolated: neither the current folder nor a variable decides what it loads.
fn isolated(program: &Path) -> Command {
    Command::new(program).arg("-I").inside(Path::new("/"))
}

fn version(program: &str, limits: &ProcessLimits) -> Option<(u32, u32)> {
    let script = "import sys; print(sys.version_info[0], sys.version_info[1])";
    let text = tool::ask(&isolated(Path::new(program)).args(["-c", script]), limits).ok()?;
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Makes a virtual environment in `directory`; returns the start of a `pip install` command for it.
///
/// Distributions that split `ensurepip` from Python (Debian's `python3-venv`) cannot give it a pip of its own: then
/// `virtualenv` is tried, then the system's own pip, run by an environment without one.
pub(super) fn environment(
    base: &Interpreter,
    directory: &Path,
    limits: &ProcessLimits,
    progress: &dyn Progress,
    step: &dyn Step,
) -> Result<Command> {
    let run = |command: &Command| tool::run(command, Limit::install(limits), progress, step);
    let program = || isolated(&base.program);
    let inside = || isolated(&directory.join("bin").join("python")).fetching();
    let with_pip = program().args(["-m", "venv"]).arg(directory);
    let first = match run(&with_pip) {
        Ok(_) => return Ok(inside().args(["-m", "pip", "install"])),
        Err(failure) => failure,
    };
    if first.error.kind == ErrorKind::Machine || first.stopped {
        return Err(first.error);
    }
    let virtualenv = program().args(["-m", "virtualenv", "--no-periodic-update"]).arg(directory);
    if run(&virtualenv).is_ok() {
        return Ok(inside().args(["-m", "pip", "install"]));
    }
    let without_pip = program().args(["-m", "venv", "--clear", "--without-pip"]).arg(directory);
    if let Some(pip) = pip_folder(&base.program, limits)
        && keep_requirements(directory, || run(&without_pip)).is_ok()
    {
        return Ok(inside().arg(pip).arg("install"));
    }
    Err(no_environment(*first, base))
}

/// `venv --clear` empties the folder; what stood there before is put back.
fn keep_requirements<T>(directory: &Path, make: impl FnOnce() -> Result<T, Box<Failure>>) -> Result<()> {
    let path = directory.join("requirements.txt");
    let text = files::read(&path, files::TEXT).map_err(|error| Error::io("read", &path, error))?;
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

/// The start of a `pip install` command of the system, or of another one, for packages that only hold libraries.
pub(super) fn pip(limits: &ProcessLimits, what: &str) -> Result<Command> {
    let program = PROGRAMS.iter().map(Path::new).find(|program| pip_folder(program, limits).is_some());
    program.map(|program| pip_of(program, what)).ok_or_else(|| {
        Error::missing("no `pip` to fetch packages with")
            .hint("install one (Debian, Ubuntu: `apt install python3-pip`)")
    })
}

/// The start of a `pip install` command of `program`, or of another one.
pub(super) fn pip_of(program: &Path, what: &str) -> Command {
    isolated(program).args(["-m", "pip", what]).fetching()
}

/// Where the pip of `program` lies: any interpreter can run that folder.
fn pip_folder(program: &Path, limits: &ProcessLimits) -> Option<PathBuf> {
    let script = "import os, pip; print(os.path.dirname(pip.__file__))";
    let text = tool::ask(&isolated(program).args(["-c", script]), limits).ok()?;
    Some(PathBuf::from(text.trim())).filter(|folder| folder.is_absolute())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_interpreter_with_wheels_is_taken() {
        let found = [("python3", Some((3, 14))), ("python3.13", None), ("python3.12", Some((3, 12)))];
        let chosen = choose(found.into_iter(), (3, 13)).unwrap();
        assert_eq!(chosen, Interpreter { program: "python3.12".into(), version: (3, 12) });
        assert_eq!(chosen.site_packages(), Path::new("lib/python3.12/site-packages"));
        let error = choose([("python3", Some((3, 13)))].into_iter(), (3, 12)).unwrap_err();
        assert_eq!(error.message, "no Python 3.11 or 3.12 on `PATH` (`python3` is Python 3.13)");
    }

    #[test]
    fn no_interpreter_says_what_was_found_and_what_to_do() {
        let error = choose([("python3", Some((3, 9))), ("python3.13", None)].into_iter(), (3, 13)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Missing);
        insta::assert_snapshot!(format!("{error}\n{}", error.hint.as_deref().unwrap()), @r"
        no Python 3.11, 3.12 or 3.13 on `PATH` (`python3` is Python 3.9)
        install one beside it, such as `python3.12` with `python3.12-venv`, where the system has the package, or with `uv python install 3.12`, or name an interpreter that has TensorFlow in `TRTGATE_PYTHON`
        ");
        let none = choose([("python3", None)].into_iter(), (3, 13)).unwrap_err();
        assert!(none.hint.unwrap().contains("`apt install python3 python3-venv`"));
    }
}
