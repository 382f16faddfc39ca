"""CFLOW-AD's score: likelihoods of the levels, each image for itself."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from inspector.models.backbones import build_backbone
from inspector.models.cflow import Cflow
from inspector.models.feature_maps import FeatureMaps
from inspector.models.position import position_code

SIZE_PX = (64, 96)


@pytest.fixture(scope="module")
def network() -> Cflow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(15)
        built = Cflow(FeatureMaps(build_backbone("resnet_synth"), (2, 3), SIZE_PX), blocks=2, condition=8).eval()
    with torch.no_grad():
        built.best.copy_(torch.stack([found.max() for found in built.log_likelihoods(built.features.maps(images()))]))
    return built.requires_grad_(False)


def images() -> Tensor:
    return torch.randn(3, 3, *SIZE_PX, generator=torch.Generator().manual_seed(16))


def test_flow_is_conditioned_on_the_place(network: Cflow) -> None:
    (first, _) = network.features.maps(images())
    (found, _) = network.log_likelihoods((first, network.features.maps(images())[1]))
    code = position_code(8, 8, 12)
    row = first[1, :, 3, 7][None]
    expected = network.per_channel(0, row, code[:, 3, 7][None])
    torch.testing.assert_close(found[1, 0, 3, 7], expected[0])
    elsewhere = network.per_channel(0, row, code[:, 0, 0][None])
    assert abs(float(expected - elsewhere)) > 1e-5


def test_map_has_the_order_of_the_papers(network: Cflow) -> None:
    # The paper: the sum of the likelihoods, enlarged, subtracted from its maximum over the test set.
    likelihoods = network.log_likelihoods(network.features.maps(images()))
    papers = -sum(
        F.interpolate((found - found.max()).exp(), SIZE_PX, mode="bilinear", align_corners=True)
        for found in likelihoods
    )
    assert isinstance(papers, Tensor)
    scores, maps = network(images())
    assert torch.equal(scores, maps.amax(dim=(1, 2, 3)))
    assert float(maps.min()) >= 0
    torch.testing.assert_close(-2 * (-maps).exp(), papers, rtol=1e-4, atol=1e-5)


def test_unlikely_features_have_no_common_highest_score(network: Cflow) -> None:
    # With the paper's score, 1 at most for each level, all clear defects had the same one, and a threshold that was
    # extrapolated from good parts could lie above it.
    parts = [network.head([scale * part for part in network.body(images())]).scores for scale in (4.0, 8.0, 16.0)]
    for smaller, larger in itertools.pairwise(parts):
        assert (smaller < larger).all()


def test_features_of_any_size_have_a_finite_score(network: Cflow) -> None:
    scores = network.head([1e4 * part for part in network.body(images())]).scores
    assert scores.isfinite().all()
    assert float(scores.min()) > 50.0


def test_levels_for_the_refinement(network: Cflow) -> None:
    likelihoods = network.log_likelihoods(network.features.maps(images()))
    for found, expected, size in zip(network.level_maps(images()), likelihoods, ((8, 12), (4, 6)), strict=True):
        assert found.shape == (3, 1, *size)
        torch.testing.assert_close(found, -torch.log(torch.sigmoid(expected)))
