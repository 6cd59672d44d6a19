"""A report as the program writes it, with names for what is looked at most; `raw` is all of it."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any, Optional

SCHEMA = "trtgate.report/v1"


@dataclasses.dataclass(frozen=True)
class Check:
    """One check of a cell: its name, `pass`, `fail` or why it could not be made, and what it found."""

    name: str
    status: str
    raw: "dict[str, Any]" = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One runtime, precision and batch (and shape): whether it passed, and why not."""

    runtime: str
    precision: str
    batch: int
    status: str
    reason: Optional[str]
    hint: Optional[str]
    replay: Optional[str]
    checks: "tuple[Check, ...]" = dataclasses.field(repr=False)
    raw: "dict[str, Any]" = dataclasses.field(repr=False)

    @property
    def id(self) -> str:
        """The cell's name, as in reports and filters: `onnxruntime/fp32/batch-1`."""
        return cell_id(self.raw)


@dataclasses.dataclass(frozen=True)
class Report:
    """One run of the gate."""

    verdict: str
    reasons: "tuple[str, ...]"
    notes: "tuple[str, ...]"
    cells: "tuple[Cell, ...]" = dataclasses.field(repr=False)
    exit_code: int
    raw: "dict[str, Any]" = dataclasses.field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether every cell that ran passed and everything required was judged."""
        return self.verdict == "pass" and self.exit_code == 0

    @property
    def failures(self) -> "tuple[Cell, ...]":
        """Cells that failed or could not be judged."""
        return tuple(cell for cell in self.cells if cell.status in ("fail", "invalid"))


def cell_id(raw: "dict[str, Any]") -> str:
    """The name of a cell of a report or plan."""
    shape = f"/{raw['shape']}" if raw.get("shape") else ""
    return f"{raw['runtime']}/{raw['precision']}/batch-{raw['batch']}{shape}"


def read(path: "str | os.PathLike[str]", exit_code: int) -> Report:
    """Reads a report; `ValueError` for what is none, or for one of a later schema."""
    with open(path, encoding="utf-8") as file:
        raw = json.load(file)
    if raw.get("schema") != SCHEMA:
        raise ValueError(f"`{path}` has the schema {raw.get('schema')!r}, and this package reads {SCHEMA!r}")
    cells = tuple(
        Cell(
            runtime=cell["runtime"],
            precision=cell["precision"],
            batch=cell["batch"],
            status=cell["status"],
            reason=cell.get("reason"),
            hint=cell.get("hint"),
            replay=cell.get("replay"),
            checks=tuple(Check(check["name"], check["status"], check) for check in cell.get("checks", ())),
            raw=cell,
        )
        for cell in raw["cells"]
    )
    return Report(raw["verdict"], tuple(raw["reasons"]), tuple(raw.get("notes", ())), cells, exit_code, raw)
