"""Every cell of a manifest as a test of pytest: `pytest gate.toml`, or `pytest --trtgate` for each `gate.toml` that is found.

The manifest is gated once for all of its tests. A cell that cannot run here is skipped with the reason; the test `verdict` holds
what belongs to no cell, requirements among it, and fails where nothing was judged.
"""

from __future__ import annotations

import pytest

import trtgate
from trtgate._report import cell_id

SKIPPED = ("unavailable", "unsupported")


def pytest_addoption(parser):
    group = parser.getgroup("trtgate")
    group.addoption("--trtgate", action="store_true", help="collect the cells of every gate.toml")
    group.addoption("--trtgate-option", action="append", default=[], metavar="OPTION", help="an option for `trtgate gate` (repeatable)")


def pytest_collect_file(file_path, parent):
    named = any(str(argument).split("::")[0].endswith(file_path.name) for argument in parent.config.invocation_params.args)
    if file_path.name == "gate.toml" and (parent.config.getoption("--trtgate") or named):
        return Manifest.from_parent(parent, path=file_path)
    return None


class Manifest(pytest.File):
    """A manifest: its cells, gated once."""

    def collect(self):
        options = self.config.getoption("--trtgate-option")
        found = trtgate.plan(self.path, arguments=options)
        names = [cell_id(cell) for cell in found["cells"]]
        for name in ["verdict", *dict.fromkeys(names)]:
            yield CellTest.from_parent(self, name=name)

    @property
    def report(self):
        if not hasattr(self, "_report"):
            try:
                self._report = trtgate.gate(self.path, arguments=self.config.getoption("--trtgate-option"))
            except trtgate.GateError as error:
                self._report = error
        if isinstance(self._report, trtgate.GateError):
            raise self._report
        return self._report


class NotPassed(AssertionError):
    """What the report says of a cell or of the whole."""


class CellTest(pytest.Item):
    """A cell, or the whole verdict."""

    def runtest(self):
        report = self.parent.report
        if self.name == "verdict":
            if not report.passed:
                raise NotPassed("\n".join([f"verdict: {report.verdict}", *report.reasons]))
            return
        cells = [cell for cell in report.cells if cell.id == self.name]
        if not cells:
            raise NotPassed(f"`{self.name}` is in no report")
        for cell in cells:
            if cell.status in SKIPPED:
                pytest.skip(cell.reason or cell.status)
            if cell.status in ("fail", "invalid"):
                raise NotPassed("\n".join(line for line in (cell.reason, cell.hint, cell.replay) if line))

    def repr_failure(self, excinfo):
        if isinstance(excinfo.value, (NotPassed, trtgate.GateError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, f"{self.parent.name}::{self.name}"
