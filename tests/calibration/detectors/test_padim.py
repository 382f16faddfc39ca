"""The fit of PaDiM is NumPy's mean and covariance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calibration.detectors.padim import PadimFit, PadimMethod
from calibration.features import FeatureCache
from calibration.plan import Plan
from calibration.training import Step
from inspector.domain.errors import DataError
from inspector.models.backbones import build_backbone
from inspector.models.feature_maps import FeatureMaps
from inspector.models.padim import EPSILON, Padim

Cached = Callable[[nn.Module], FeatureCache]
MapsOf = Callable[[tuple[int, ...]], FeatureMaps]


@pytest.fixture
def network(maps_of: MapsOf) -> Padim:
    built = Padim(maps_of((2, 3)), 6)
    built.channels = torch.tensor([3, 170, 12, 64, 99, 0])
    return built


def test_gaussians_are_numpy_s(network: Padim, cached: Cached, good_images: Tensor) -> None:
    chosen = [*range(0, 20), 22]  # more than a batch
    steps: list[Step] = []
    PadimFit(network, cached(network.features), chosen).run(steps.append)
    assert not network.training
    assert [(step.done, step.total) for step in steps] == [(1, 2), (2, 2)]
    with torch.no_grad():
        embedded = network.embed(good_images[chosen]).flatten(2).double().numpy()
    for place in (0, 41, 95):
        mean, covariance = embedded[:, :, place].mean(axis=0), np.cov(embedded[:, :, place], rowvar=False)
        np.testing.assert_allclose(network.mean[place].numpy(), mean, rtol=2e-3, atol=1e-4)
        whitening = network.whitening[place].double().numpy()
        inverse = np.linalg.inv(covariance + EPSILON * np.eye(6))
        np.testing.assert_allclose(whitening.T @ whitening, inverse, rtol=0.02, atol=0.2)


def test_fit_looks_at_its_images_alone(network: Padim, cached: Cached) -> None:
    cache = cached(network.features)
    PadimFit(network, cache, range(12)).run()
    expected = network.whitening.clone()
    for level in cache.levels:
        level.put(12, torch.full((12, level.maps(np.array([0]), network.mean.device).shape[1], *level.size_px), 7.0))
    PadimFit(network, cache, range(12)).run()
    assert torch.equal(network.whitening, expected)


def test_parts_of_the_inversion_give_the_same(network: Padim, cached: Cached, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cached(network.features)
    PadimFit(network, cache, range(12)).run()
    expected = network.whitening.clone()
    monkeypatch.setattr("calibration.detectors.padim._ENTRIES", 100)
    PadimFit(network, cache, range(12)).run()
    torch.testing.assert_close(network.whitening, expected)


@pytest.mark.parametrize(
    ("source", "levels", "kept", "expected"),
    [
        ("resnet18", (1, 2, 3), None, 100),
        ("wide_resnet50_2", (1, 2, 3), None, 550),
        ("resnet18", (1,), None, 64),  # all there are
        ("resnet34", (2, 3), 37, 37),
    ],
)
def test_channels(
    quick_plan: Callable[..., Plan], source: str, levels: tuple[int, ...], kept: int | None, expected: int
) -> None:
    settings = {"detector": "padim", "source": source, "target": None, "latents": None, "schedule": None}
    plan = quick_plan(**settings, levels=levels, channels=kept, size_px=(32, 32)).resolved()
    torch.manual_seed(3)
    built = PadimMethod().build(plan, [build_backbone(source)])
    assert isinstance(built, Padim)
    chosen = built.channels.tolist()
    assert len(set(chosen)) == len(chosen) == expected
    assert max(chosen) < sum(built.features.channels)
    assert chosen != sorted(chosen) or expected == 1


def test_more_channels_than_there_are_is_refused(quick_plan: Callable[..., Plan]) -> None:
    settings = {"detector": "padim", "source": "resnet18", "target": None, "latents": None, "schedule": None}
    plan = quick_plan(**settings, levels=(1,), channels=65, size_px=(32, 32)).resolved()
    with pytest.raises(DataError, match=r"resnet18 has 64 channels in these levels; .* --channels"):
        PadimMethod().build(plan, [build_backbone("resnet18")])
