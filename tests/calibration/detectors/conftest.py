"""Striped surfaces, seen by a bundled backbone: 24 good ones to fit to, and good and holed ones to score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calibration.features import FeatureCache, LevelFeatures
from inspector.models.bundled import load_bundled
from inspector.models.feature_maps import FeatureMaps

SIZE_PX = (64, 96)
GOOD = 24


def striped(count: int, seed: int, holes: bool) -> Tensor:
    """Normalised images of stripes; with `holes` every second one has a dark hole."""
    random = np.random.default_rng(seed)
    columns = np.arange(SIZE_PX[1])[None, None, :]
    phase = 0.3 * random.normal(size=(count, 1, 1))
    pictures = 0.3 * np.sin(columns / 5 + phase) + random.normal(0, 0.03, (count, *SIZE_PX))
    if holes:
        for number in range(0, count, 2):
            row, column = random.integers(8, 40), random.integers(8, 70)
            pictures[number, row : row + 14, column : column + 14] -= random.uniform(0.1, 0.8)
    return torch.from_numpy(pictures).float()[:, None].expand(-1, 3, -1, -1).contiguous()


@pytest.fixture(scope="session")
def good_images() -> Tensor:
    return striped(GOOD, 1, holes=False)


@pytest.fixture(scope="session")
def test_images() -> Tensor:
    """Images 0, 2, 4 ... are defective."""
    return striped(12, 2, holes=True)


@pytest.fixture(scope="session")
def maps_of() -> Callable[[tuple[int, ...]], FeatureMaps]:
    """The bundled source backbone with some of its levels."""
    return lambda levels: FeatureMaps(load_bundled("resnet_synth"), levels, SIZE_PX)


@pytest.fixture(scope="session")
def cached(good_images: Tensor) -> Callable[[nn.Module], FeatureCache]:
    """The features of the good images as a calibration keeps them."""

    def cache(features: nn.Module) -> FeatureCache:
        with torch.no_grad():
            found = features(good_images)
        levels = []
        for sides in found:
            size, widths = tuple(sides[0].shape[-2:]), tuple(side.shape[1] for side in sides)
            level = LevelFeatures(GOOD, size, widths, None)
            level.put(0, *sides)
            levels.append(level)
        return FeatureCache(levels, spilled=False)

    return cache
