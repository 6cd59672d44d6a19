"""Finds the program and runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any, Callable, Iterable, Sequence, TypeVar

from trtgate import _report

#: Names another program than the one that the package brings.
VARIABLE = "TRTGATE_PROGRAM"

_T = TypeVar("_T")


class GateError(RuntimeError):
    """The program judged nothing and wrote no report: a wrong manifest, a wrong argument, or it was ended."""

    def __init__(self, message: str, exit_code: "int | None" = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def find_program() -> str:
    """The program: `$TRTGATE_PROGRAM`, the one that was installed with this package, or the one on the `PATH`."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    here = os.path.dirname(os.path.abspath(__file__))
    folders = [sysconfig.get_path("scripts"), os.path.join(sys.prefix, "bin")]
    if hasattr(sysconfig, "get_preferred_scheme"):
        folders.append(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    # `pip install --target DIR` puts programs into `DIR/bin`.
    folders.append(os.path.join(os.path.dirname(here), "bin"))
    for folder in folders:
        program = os.path.join(folder, "trtgate")
        if os.access(program, os.X_OK):
            return program
    found = shutil.which("trtgate")
    if found:
        return found
    raise GateError(f"the program `trtgate` is in none of {', '.join(folders)} and not on the PATH; install the package again")


def _options(name: str, values: "Iterable[object]") -> "list[str]":
    return [part for value in values for part in (name, str(value))]


def _arguments(
    manifest: "str | os.PathLike[str]",
    runtimes: "Iterable[str]",
    precisions: "Iterable[str]",
    batches: "Iterable[int]",
    arguments: "Sequence[str]",
) -> "list[str]":
    return [
        "gate",
        "--manifest",
        os.fspath(manifest),
        *_options("--runtime", runtimes),
        *_options("--precision", precisions),
        *_options("--batch", batches),
        *arguments,
    ]


def _written(option: str, name: str, arguments: "list[str]", timeout: "float | None", read: "Callable[[str, int], _T]") -> "_T":
    """Runs the program with `option` and a file of `name`, and what `read` makes of that file and the exit code."""
    program = find_program()
    with tempfile.TemporaryDirectory(prefix="trtgate-") as folder:
        written = os.path.join(folder, name)
        command = [program, *arguments, option, written]
        try:
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=timeout)
        except OSError as error:
            raise GateError(f"`{program}` cannot be started: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise GateError(f"`{program}` took more than {timeout} s and was ended") from error
        if not os.path.exists(written):
            raise GateError(done.stderr.strip() or f"`{program}` ended with {done.returncode} and said nothing", done.returncode)
        return read(written, done.returncode)


def gate(
    manifest: "str | os.PathLike[str]" = "gate.toml",
    *,
    runtimes: "Iterable[str]" = (),
    precisions: "Iterable[str]" = (),
    batches: "Iterable[int]" = (),
    arguments: "Sequence[str]" = (),
    timeout: "float | None" = None,
) -> _report.Report:
    """Runs the gate of `manifest` and returns its report, whatever the verdict.

    `runtimes`, `precisions` and `batches` narrow it; `arguments` go to `trtgate gate` as they are. After `timeout` seconds it is
    ended. `GateError` where there is no report.
    """
    asked = _arguments(manifest, runtimes, precisions, batches, arguments)
    return _written("--json", "report.json", asked, timeout, _report.read)


def plan(
    manifest: "str | os.PathLike[str]" = "gate.toml",
    *,
    runtimes: "Iterable[str]" = (),
    precisions: "Iterable[str]" = (),
    batches: "Iterable[int]" = (),
    arguments: "Sequence[str]" = (),
    timeout: "float | None" = None,
) -> "dict[str, Any]":
    """The cells that `gate` would run, as `trtgate gate --plan-json` writes them; nothing is run."""
    asked = _arguments(manifest, runtimes, precisions, batches, arguments)
    return _written("--plan-json", "plan.json", asked, timeout, lambda path, _: _json(path))


def _json(path: str) -> "dict[str, Any]":
    with open(path, encoding="utf-8") as file:
        return json.load(file)
