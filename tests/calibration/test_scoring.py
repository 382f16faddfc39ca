"""A threshold is set with the scores that the line will give: on the engine, in the precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from calibration import train
from calibration.plan import Plan
from calibration.scoring import make_scorer
from calibration.train import calibrate
from inspector.config.schema import Worker
from inspector.domain.errors import EngineError
from inspector.domain.precision import Precision
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.recipe.manifest import Geometry, Normalisation
from inspector.recipe.store import load_recipe
from inspector.roles import cuda_engine
from inspector.roles.engine import create_engine

from ..cuda_double import HostDevice
from ..detectors import built

GEOMETRY = Geometry(width_px=64, height_px=64, frame_px=(90, 70), channels=1)
FRAMES = list(np.random.default_rng(3).integers(0, 256, (3, 70, 90), dtype=np.uint8))


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 5e-3), ("bfloat16", 3e-2)])
def test_on_a_gpu_half_precision_is_the_cuda_engines(
    precision: Precision, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[HostDevice] = []
    monkeypatch.setattr(cuda_engine, "CudaDevice", lambda: devices.append(HostDevice()) or devices[-1])
    network, preprocess = built("mb-pfm", (64, 64)), Preprocess(GEOMETRY, Normalisation())
    plain = make_scorer(network, preprocess, "float32", device=torch.device("cpu"), batch=2)
    score = make_scorer(network, preprocess, precision, device=torch.device("cuda"), batch=2)
    found, expected = score(FRAMES[:2]), plain(FRAMES[:2])
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)
    assert not torch.equal(found, expected)
    assert sum(graph.replays for graph in devices[0].graphs) == 1
    torch.testing.assert_close(plain(FRAMES), plain(FRAMES))  # and the network is as it was
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def on_the_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration with a GPU whose trainings run on the CPU, and whose scores are the CUDA engine's on its double."""
    gpu = torch.device("cuda")
    monkeypatch.setattr(cuda_engine, "CudaDevice", HostDevice)
    monkeypatch.setattr(train, "_device", lambda plan: torch.device("cpu"))
    monkeypatch.setattr(train, "make_scorer", lambda *args, device, batch: make_scorer(*args, device=gpu, batch=batch))


@pytest.mark.parametrize(
    "double",
    [
        True,
        pytest.param(
            False,
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
            ],
        ),
    ],
    ids=["double", "gpu"],
)
def test_a_recipe_in_float16_is_set_with_the_engines_scores_and_proves_itself_on_it(
    double: bool, quick_plan: Callable[..., Plan], record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if double:
        on_the_double(monkeypatch)
    plan = quick_plan(device="cuda", precision="float16")
    calibrate(plan, record)
    recipe = load_recipe(plan.recipe)
    assert recipe.manifest.precision == "float16"
    engine = create_engine(Worker(device="cuda", precision="float16", max_batch=2), recipe)
    score = engine.infer([recipe.golden_frame()])[0].score
    assert score == pytest.approx(recipe.manifest.golden.score, rel=1e-3)
    manifest = recipe.manifest
    image = Preprocess(manifest.geometry, manifest.normalisation)(torch.from_numpy(recipe.golden_frame()))
    exact = float(load_network(recipe)(image).scores[0])
    assert score == pytest.approx(exact, rel=1e-2)
    assert score != exact


def test_without_a_gpu_there_is_no_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="PyTorch finds no CUDA device"):
        make_scorer(
            built("pfm", (64, 64)),
            Preprocess(GEOMETRY, Normalisation()),
            "float16",
            device=torch.device("cuda"),
            batch=1,
        )
