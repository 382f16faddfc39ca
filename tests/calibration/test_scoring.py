"""A threshold is set with the scores that the line will give: on the engine, in the precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calibration.scoring import make_scorer
from inspector.domain.errors import EngineError
from inspector.domain.precision import Precision
from inspector.models.preprocess import Preprocess
from inspector.recipe.manifest import Geometry, Normalisation
from inspector.roles import cuda_engine

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
