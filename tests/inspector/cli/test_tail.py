"""The command that looks for what makes parts slow: what it refuses, what it prints and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.benchmark.tail import TailOrders
from inspector.cli import bench
from inspector.cli import tail as command
from inspector.cli.main import main


def weight(ms: float, excess: float | None) -> dict[str, float | None]:
    return {"ms": ms, "felt": 0.25, "excess": excess}


def measured(orders: TailOrders) -> dict[str, Any]:
    def group(parts: int, excess: float | None) -> dict[str, Any]:
        return {
            "parts": parts,
            "whole_ms": 9.0,
            "stages": {"compute": weight(6.0, excess)},
            "causes": {"page faults": weight(0.25, None if excess is None else -0.001)},
        }

    process = {"faults": 1.5, "collections_a_second": 0.5, "longest_collection_ms": 0.125}
    latency = {"p50_ms": 8.0, "p99_ms": 11.0, "p999_ms": 13.5, "largest_ms": 14.5}
    way = {
        "parts": 1000,
        "refused": 3,
        "latency": latency,
        "latency_by_turn": [latency, {**latency, "p999_ms": 12.5}],
        "groups": {"all": group(1000, None), "slowest 1 %": group(10, 0.75), "slowest 0.1 %": group(1, 0.5)},
        "processes": {"camera": process, "worker": process, "gate": process},
    }
    return {"orders": {"rate": orders.rate}, "ways": {name: way for name in orders.ways}}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The trial recipe and the line are replaced by what they would say; here is what was asked for."""
    orders: list[Any] = []
    monkeypatch.setattr(bench, "_program", lambda module, *arguments: orders.append((module, *arguments)) or "")

    def measure(given: TailOrders, say: Any) -> dict[str, Any]:
        orders.append(given)
        return measured(given)

    monkeypatch.setattr(command, "measure_tail", measure)
    monkeypatch.setenv("COLUMNS", "80")  # figures were once cut off there
    return orders


def test_tables_and_json_hold_what_was_measured(
    asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tail.json"
    arguments = ["--ways", "as-it-is,memory-kept", "--turns", "2", "--precision", "bfloat16", "--json", str(path)]
    assert main(["tail", *arguments]) == 0
    told = capsys.readouterr().out
    for shown in ("12.5 - 13.5", "camera 1.5, worker 1.5, gate 1.5", "memory-kept: mean ms", "75%", "0.250"):
        assert shown in told
    assert "-0%" not in told
    recipe, orders = asked
    assert recipe[0] == "inspector.benchmark.trial"
    assert recipe[2:] == ("bundled", "256", "bfloat16", "--frame", "512")
    assert (orders.ways, orders.turns, orders.rate) == (("as-it-is", "memory-kept"), 2, 60.0)
    assert orders.worker.precision == "bfloat16"
    assert json.loads(path.read_text())["ways"]["memory-kept"]["parts"] == 1000


def test_all_ways_are_run_once_where_nothing_is_said(asked: list[Any]) -> None:
    assert main(["tail"]) == 0
    assert asked[1].ways[0] == "as-it-is"
    assert len(asked[1].ways) == 7


def test_a_way_that_there_is_not_is_named(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "--ways", "as-it-is,jemalloc"]) == 2
    assert "'jemalloc' is not one of as-it-is, collector-default" in capsys.readouterr().err
    assert asked == []
