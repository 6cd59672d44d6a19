"""trtgate from Python: runs the program that this package brings, and reads its report.

    report = trtgate.gate("gate.toml")
    assert report.passed, report.reasons

Nothing is judged here: the program judges, and what it wrote is read. `trtgate schema report` prints the report's JSON Schema.
"""

from trtgate._program import GateError, find_program, gate, plan
from trtgate._report import Cell, Check, Report

__all__ = ["Cell", "Check", "GateError", "Report", "find_program", "gate", "plan"]
