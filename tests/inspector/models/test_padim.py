"""PaDiM's distance is SciPy's, at every location."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from torch import Tensor

from inspector.models.backbones import build_backbone
from inspector.models.feature_maps import FeatureMaps
from inspector.models.padim import EPSILON, Padim, whitening_of

SIZE_PX = (64, 96)
KEPT = 5


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, *SIZE_PX, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def covariances() -> Tensor:
    """Covariances of few samples, so that only epsilon makes them invertible."""
    samples = torch.randn(8 * 12, KEPT, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return samples @ samples.transpose(1, 2) / 2


@pytest.fixture(scope="module")
def network(covariances: Tensor) -> Padim:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        built = Padim(FeatureMaps(build_backbone("resnet_synth"), (2, 3), SIZE_PX), KEPT).eval()
        built.channels = torch.randperm(64 + 128)[:KEPT]
        built.mean.normal_()
    built.whitening.copy_(whitening_of(covariances))
    return built


def test_distance_is_the_mahalanobis_distance(network: Padim, images: Tensor, covariances: Tensor) -> None:
    with torch.inference_mode():
        embedding = network.embed(images)
        (squared,) = network.level_maps(images)
    assert squared.shape == (3, 1, 8, 12)
    for image, row, column in ((0, 0, 0), (1, 3, 7), (2, 7, 11)):
        place = row * 12 + column
        inverse = np.linalg.inv(covariances[place].numpy() + EPSILON * np.eye(KEPT))
        expected = mahalanobis(embedding[image, :, row, column].numpy(), network.mean[place].numpy(), inverse)
        assert float(squared[image, 0, row, column]) == pytest.approx(expected**2, rel=1e-4)


def test_score_is_the_largest_value_of_the_smoothed_map(network: Padim, images: Tensor) -> None:
    with torch.inference_mode():
        scores, maps = network(images)
        (squared,) = network.level_maps(images)
    assert maps.shape == (3, 1, *SIZE_PX)
    assert torch.equal(scores, maps.amax(dim=(1, 2, 3)))
    assert float(maps.min()) >= 0
    assert float(maps.max()) <= float(squared.max().sqrt()) + 1e-4


def test_coarse_features_are_copied_to_their_cells(network: Padim, images: Tensor) -> None:
    fine, coarse = network.features.maps(images)
    everything = torch.cat([fine, coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)], dim=1)
    assert torch.equal(network.embed(images), everything[:, network.channels])


def test_whitening_is_a_triangle_that_makes_the_covariance_the_identity(covariances: Tensor) -> None:
    whitening = whitening_of(covariances)
    assert torch.equal(whitening, whitening.tril())
    whitened = whitening @ (covariances + EPSILON * torch.eye(KEPT)) @ whitening.transpose(1, 2)
    torch.testing.assert_close(whitened, torch.eye(KEPT, dtype=torch.float64).expand_as(whitened))
