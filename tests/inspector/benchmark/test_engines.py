"""A benchmark can't pass on wrong results, and its figures are those of what ran."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from inspector.benchmark import engines
from inspector.benchmark.engines import Orders, measure_engines
from inspector.benchmark.plain import PlainMapping
from inspector.benchmark.trial import PAIRS, network_record, trial_network, trial_recipe
from inspector.domain.errors import EngineError
from inspector.domain.frame import Pixels
from inspector.domain.precision import Precision
from inspector.engines.base import Scored
from inspector.engines.eager import EagerEngine
from inspector.models.preprocess import Preprocess
from inspector.recipe.manifest import Geometry, Normalisation
from inspector.roles import cuda_engine
from inspector.roles.cuda_engine import frame_shape

from ...cuda_double import HostDevice

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


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("float16", 5e-3)])
def test_a_pipelined_engine_is_measured_alone_with_one_frame_and_full_with_many(
    precision: Precision, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_engine, "CudaDevice", HostDevice)
    geometry = Geometry(width_px=64, height_px=64, frame_px=(80, 80), channels=1)
    preprocess = Preprocess(geometry, Normalisation())
    network = trial_network(network_record(PAIRS["bundled"], "mb-pfm"), (64, 64))
    contender = engines._contender("gpu", "cuda " + precision, precision, preprocess, network, SMALL)
    frames = list(np.random.default_rng(1).integers(0, 256, (4, 80, 80), np.uint8))
    expected = PlainMapping(preprocess, network).scores(frames)
    assert engines._difference(contender, frames, expected, tolerance) < tolerance
    contender.measure(frames, 0.0)
    assert contender.engine is not None
    assert set(contender.per_frame_ms) == {1, 2}
    assert len(contender.calls_ms) == len(contender.device_ms) == 3
    assert min(contender.device_ms) > 0
    contender.forget()
    assert not contender.per_frame_ms


def test_contenders_on_a_gpu_read_frames_from_registered_memory_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_engine, "CudaDevice", HostDevice)
    monkeypatch.setattr(engines, "_engines", lambda device: [("cuda float32", "float32"), ("cuda float16", "float16")])
    monkeypatch.setitem(engines.TOLERANCES, "cpu", engines.TOLERANCES["cuda"])
    record = measure_engines(dataclasses.replace(SMALL, rounds=1))
    names = [one["name"] for one in record["contenders"]]
    assert names == ["plain PyTorch", "cuda float32", "cuda float16"]
    for one in record["contenders"][1:]:
        assert 0 < one["largest_score_difference"] < 5e-3
        assert one["latency_on_device"]["samples"] == one["latency"]["samples"] == 3
        assert set(one["frames_per_second"]) == {"1", "2"}


def test_without_a_gpu_there_is_nothing_to_measure_on_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert engines.main(['{"device": "cuda"}']) == EngineError.exit_code
    assert capsys.readouterr().err.endswith("error: PyTorch finds no CUDA device; take --device cpu\n")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_every_precision_is_measured_against_the_plain_implementation() -> None:
    record = measure_engines(dataclasses.replace(SMALL, device="cuda", batches=(1, 2, 4)))
    names = [one["name"] for one in record["contenders"]]
    assert names[:4] == ["plain PyTorch", "pytorch float32", "cuda float32", "cuda bfloat16"]
    assert names[4:] == ["cuda float16", "cuda float16, convolutions"]
    for one in record["contenders"][2:]:
        assert set(one["times_plain"]) == {"1", "2", "4"}
        assert one["latency_on_device"]["p50_ms"] <= one["latency"]["largest_ms"]
    assert record["machine"]["cuda"]
    assert record["peak_device_memory_bytes"] > 0


def test_wrong_orders_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert engines.main(['{"pair": "heavy"}']) == 2
    assert capsys.readouterr().err.startswith("error: pair: Input should be 'bundled', 'light' or 'standard'")


def test_a_trial_recipe_may_fix_the_size_of_its_frames(tmp_path: Path) -> None:
    recipe = trial_recipe(tmp_path / "recipe", PAIRS["bundled"], 32, "float16", frame_px=40)
    assert recipe.manifest.precision == "float16"
    assert frame_shape(recipe.manifest.geometry) == recipe.golden_frame().shape == (40, 40)
