"""A benchmark can't pass on wrong results, and its figures are those of what ran."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from inspector.benchmark import engines
from inspector.benchmark.engines import Orders, measure_engines
from inspector.domain.errors import EngineError
from inspector.domain.frame import Pixels
from inspector.engines.base import Scored
from inspector.engines.eager import EagerEngine

SMALL = Orders(size_px=64, frame_px=80, threads=1, batches=(1, 2), rounds=2, round_s=0.0)


@pytest.fixture(scope="module")
def record() -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "inspector.benchmark.engines", json.dumps({**vars(SMALL), "detectors": ["padim"]})],
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_every_engine_is_measured_against_the_plain_implementation(record: dict[str, object]) -> None:
    contenders = record["contenders"]
    assert isinstance(contenders, list)
    names = [one["name"] for one in contenders]
    assert names[:3] == ["plain PyTorch", "pytorch float32", "openvino float32"]
    assert names[-1] == "padim, pytorch float32"
    assert contenders[0]["times_plain"] == {"1": 1.0}
    for one in contenders[1:]:
        assert set(one["frames_per_second"]) == {"1", "2"}
        assert one["times_plain"]["1"] > 0
        assert one["latency"]["samples"] >= 2 * 3
        assert one["latency"]["p50_ms"] <= one["latency"]["p99_ms"] <= one["latency"]["largest_ms"]
        assert one["cpu_ms_per_frame"] >= 0
    differences = {one["name"]: one["largest_score_difference"] for one in contenders}
    assert differences["openvino float32"] < 1e-4
    assert differences["padim, pytorch float32"] is None


class Hasty(EagerEngine):
    """Fast, and wrong."""

    def infer(self, frames: Sequence[Pixels]) -> list[Scored]:
        return [Scored(1.0, 0, 0) for _ in frames]


def test_a_fast_engine_with_wrong_scores_is_no_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "EagerEngine", Hasty)
    with pytest.raises(EngineError, match=r"pytorch float32: a score differs .* its speed means nothing"):
        measure_engines(SMALL)


def test_wrong_orders_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert engines.main(['{"pair": "heavy"}']) == 2
    assert capsys.readouterr().err.startswith("error: pair: Input should be 'bundled', 'light' or 'standard'")
