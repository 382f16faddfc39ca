"""One backbone's maps, and the smoothing of anomaly maps against SciPy's."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

from inspector.models.backbones import build_backbone
from inspector.models.feature_maps import FeatureMaps, GaussianSmoothing, enlarge


@pytest.mark.parametrize("levels", [(1,), (2, 3), (1, 2, 3)])
def test_maps_of_the_levels_in_use(levels: tuple[int, ...]) -> None:
    backbone = build_backbone("squeezenet1_1")
    features = FeatureMaps(backbone, levels, (64, 96))
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    expected = backbone(images)
    found = features(images)
    assert len(found) == len(levels)
    for (one,), level, width, size in zip(found, levels, features.channels, features.sizes_px, strict=True):
        assert torch.equal(one, expected[level - 1])
        assert tuple(one.shape) == (2, width, *size)


@pytest.mark.parametrize("deviation_px", [1.0, 4.0])
def test_smoothing_is_the_gaussian_filter(deviation_px: float) -> None:
    maps = torch.rand(2, 1, 40, 56, generator=torch.Generator().manual_seed(2))
    found = GaussianSmoothing(deviation_px)(maps)
    expected = gaussian_filter(maps.numpy(), (0, 0, deviation_px, deviation_px), mode="mirror", truncate=4.0)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-5, atol=1e-6)


def test_smoothing_of_the_smallest_input_works_and_keeps_constants() -> None:
    constant = torch.full((1, 1, 32, 32), 3.0)
    torch.testing.assert_close(GaussianSmoothing()(constant), constant)


def test_enlarging_keeps_the_mean_of_a_ramp() -> None:
    ramp = torch.arange(6.0)[None, None, None].expand(1, 1, 4, 6)
    larger = enlarge(ramp, (8, 12))
    assert larger.shape == (1, 1, 8, 12)
    assert float(larger.mean()) == pytest.approx(2.5)
