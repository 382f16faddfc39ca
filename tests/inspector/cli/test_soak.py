"""The soak's command: what it refuses, prints and leaves, and when it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.benchmark.soak import SoakOrders, SoakResult
from inspector.benchmark.soak_account import Samples
from inspector.cli import soak as command
from inspector.cli.main import main

RECORD: dict[str, Any] = {
    "parts": 1000,
    "seconds": 10.0,
    "parts_per_second": 100.0,
    "sums": {"pass": 900, "fail": 80, "not_inspected": 20},
    "causes": {"worker_lost": 20},
    "verdict_log": {"records": 1000},
    "scores_checked": 980,
    "latency_ms": {"p50": 5.0},
    "faults": {"kill-worker": 2},
    "recovery_s": {"kill-worker": {"faults": 2, "median": 1.5, "largest": 2.0}},
    "growth": {"gate": {"memory_mb": 0.5, "descriptors": 0.0}},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SoakOrders]:
    """The run is replaced by what it would find; here are its orders."""
    orders: list[SoakOrders] = []

    def run(given: SoakOrders, progress: Any) -> SoakResult:
        orders.append(given)
        samples = Samples(time_s=[0.0, 10.0], parts=[0, 1000], memory_mb={"gate": [50.0, None]})
        problems = ["gate: memory grew by 99.0 MB"] if given.seed == 13 else []
        return SoakResult(RECORD, samples, problems)

    monkeypatch.setattr(command, "run_soak", run)
    monkeypatch.setattr(command, "_trial_recipe", lambda folder, soak: None)
    return orders


def test_figures_are_told_and_written(
    asked: list[SoakOrders], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "soak.json", tmp_path / "soak.svg"
    assert main(["soak", "--parts", "1000", "--stub-engine", "--json", str(files[0]), "--plot", str(files[1])]) == 0
    said = capsys.readouterr().out
    assert "1,000 parts in 10 s (100 a second) = 900 pass + 80 fail + 20 not inspected" in said
    assert "kill-worker: 2, good verdicts again after 1.5 s, at most 2 s" in said
    assert "gate: memory +0.5 MB, descriptors +0" in said
    record = json.loads(files[0].read_text())
    assert record["parts"] == 1000
    assert record["problems"] == []
    assert "1,000 parts, 2 faults" in files[1].read_text()
    assert asked[0].stub
    assert asked[0].seconds is None
    assert len(asked[0].faults) == 8


def test_a_problem_is_an_error(asked: list[SoakOrders], caplog: pytest.LogCaptureFixture) -> None:
    assert main(["soak", "--seed", "13", "--faults", "none"]) == 70
    assert "memory grew" in caplog.text
    assert asked[0].faults == ()
    assert asked[0].seconds == 60.0


def test_a_fault_that_nobody_knows_is_refused(asked: list[SoakOrders], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--faults", "kill-worker,kill-everybody"]) == 2
    assert "'kill-everybody' is not one of kill-camera" in capsys.readouterr().err
    assert asked == []
