"""The benchmark's command: what it refuses, what it prints and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.benchmark.line import LineRun
from inspector.benchmark.samples import Latency
from inspector.cli import bench as command
from inspector.cli.main import main

RECORD: dict[str, Any] = {
    "orders": {"batches": [1, 4]},
    "machine": {"cpu": "Some CPU", "cuda": None},
    "contenders": [
        {
            "name": "plain PyTorch",
            "largest_score_difference": 0.0,
            "latency": {"p50_ms": 30.0, "p99_ms": 40.0, "p999_ms": 41.0},
            "frames_per_second": {"1": 33.3},
            "times_plain": {"1": 1.0},
            "cpu_ms_per_frame": 55.0,
        },
        {
            "name": "openvino bfloat16",
            "largest_score_difference": 6e-4,
            "latency": {"p50_ms": 8.0, "p99_ms": 9.0, "p999_ms": 9.5},
            "frames_per_second": {"1": 125.0, "4": 170.0},
            "times_plain": {"1": 3.75, "4": 5.1},
            "cpu_ms_per_frame": 15.0,
        },
    ],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Programs and line are replaced by what they would say; here are the programs that were asked."""
    programs: list[tuple[str, ...]] = []

    def program(module: str, *arguments: str) -> str:
        programs.append((module, *arguments))
        return json.dumps(RECORD)

    def line(recipe: Path, worker: Any, *, offered: float, parts: int, **_: Any) -> LineRun:
        causes = {"score_within_threshold": parts - 3, "queue_full": 3}
        return LineRun(offered, parts, parts - 3, causes, Latency.of([5.0, 9.0]), offered, 12.0)

    monkeypatch.setattr(command, "_program", program)
    monkeypatch.setattr(command, "measure_line", line)
    return programs


def test_tables_json_and_chart_hold_what_was_measured(
    asked: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    files = ["--json", str(tmp_path / "b.json"), "--plot", str(tmp_path / "b.svg")]
    assert main(["bench", "--pair", "light", "--rates", "30,60", "--seconds", "2", *files]) == 0
    told = capsys.readouterr().out
    assert "plain PyTorch" in told
    assert "5.10" in told  # the best ratio of the batch sizes
    assert "3 queue_full" in told
    record = json.loads((tmp_path / "b.json").read_text())
    assert [run["offered"] for run in record["line"]["runs"]] == [30.0, 60.0]
    assert [run["parts"] for run in record["line"]["runs"]] == [60, 120]
    assert record["engines"] == RECORD
    assert "<svg" in (tmp_path / "b.svg").read_text()
    assert [program[0] for program in asked] == ["inspector.benchmark.engines", "inspector.benchmark.trial"]
    assert json.loads(asked[0][1])["pair"] == "light"


def test_either_half_can_be_left_out(asked: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--rates", ""]) == 0
    assert [program[0] for program in asked] == ["inspector.benchmark.engines"]
    assert main(["bench", "--rounds", "0", "--rates", "5"]) == 0
    assert [program[0] for program in asked[1:]] == ["inspector.benchmark.trial"]


def test_on_a_gpu_other_batches_rates_and_precision_are_measured(
    asked: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    record: dict[str, Any] = json.loads(json.dumps(RECORD))
    record["machine"]["cuda"] = "Some GPU"
    record["contenders"][0]["latency_on_device"] = None
    record["contenders"][1]["latency_on_device"] = {"p50_ms": 0.5, "p99_ms": 0.625, "p999_ms": 0.75, "samples": 4000}
    monkeypatch.setattr(command, "_program", lambda *program: asked.append(program) or json.dumps(record))
    path = tmp_path / "gpu.json"
    assert main(["bench", "--device", "cuda", "--frame", "640", "--json", str(path)]) == 0
    orders = json.loads(asked[0][1])
    assert orders["device"] == "cuda"
    assert orders["batches"] == [1, 2, 4, 8, 16, 32]
    assert asked[1][2:] == ("bundled", "256", "float16", "--frame", "640")
    assert [run["offered"] for run in json.loads(path.read_text())["line"]["runs"]] == [60.0, 240.0, 1000.0]
    told = capsys.readouterr().out
    assert "Some GPU" in told
    assert "0.500   0.625  0.750    4000" in told
    assert "the line: float16" in told


@pytest.mark.parametrize("rates", ["fast", "30;60", "-5", "0"])
def test_rates_that_are_none_are_refused(rates: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--rates", rates]) == 2
    assert "--rates" in capsys.readouterr().err


def test_a_program_that_fails_ends_with_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(command.FatalError, match="pair: Input should be 'bundled', 'light' or 'standard'"):
        command._program("inspector.benchmark.engines", '{"pair": "heavy"}')
