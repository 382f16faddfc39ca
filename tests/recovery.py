"""How long the line takes from a fault to its next good verdict; a report of all that a run of the tests measured."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from inspector.benchmark.machine import machine_facts

#: Longest wait for a verdict; a test that needs it has failed.
PATIENCE_S = 90.0

MEASURED = pytest.StashKey[dict[str, float]]()


class Running(Protocol):
    """A daemon with its verdict log."""

    def records(self) -> list[dict[str, Any]]:
        """The verdicts written so far."""

    def errors(self) -> str:
        """What it wrote to standard error."""


#: Waits for the next good verdict of a daemon after a fault at a monotonic time; returns the seconds in between.
Recovered = Callable[[Running, int], float]


def seconds_to_recover(daemon: Running, injected_ns: int) -> float:
    """From the fault to the first pass or fail of a part that was triggered after it."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        for record in daemon.records():
            if record["triggered_ns"] > injected_ns and record["decision"] != "not_inspected":
                return float(record["decided_ns"] - injected_ns) / 1e9
        time.sleep(0.02)
    raise AssertionError(f"no good verdict for {PATIENCE_S:g} s after the fault\n{daemon.errors()}")


def add_option(parser: pytest.Parser) -> None:
    """The option that names the report."""
    parser.addoption("--recovery-report", type=Path, help="write the measured times to recover to this JSON file")


def write_report(config: pytest.Config) -> None:
    """Writes the report that was asked for."""
    path = config.getoption("--recovery-report")
    if path is not None:
        report = {"machine": machine_facts(), "recovery_s": config.stash.get(MEASURED, {})}
        path.write_text(json.dumps(report, indent=2) + "\n")
