"""The feature loss of each kind of detector."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from inspector.models.backbones import build_backbone
from inspector.models.network import build_network
from inspector.models.refinement.detector import FeatureLoss, candidates, map_function

from ....toy_detector import Maps


class Bank:
    """A small PatchCore: the pixels themselves are the features, at stride 4."""

    def __init__(self) -> None:
        self.bank = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))

    def embed(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 4)

    def __call__(self, images: Tensor) -> Maps:
        return Maps(F.interpolate(map_function(self)(images)[0], scale_factor=4))


class MapOnly:
    def __call__(self, images: Tensor) -> Maps:
        return Maps(images.square().sum(dim=1, keepdim=True))


def test_distances_to_a_bank_are_those_to_the_nearest_entry() -> None:
    detector, images = Bank(), torch.randn(1, 3, 8, 8)
    (scores,) = map_function(detector)(images)
    features = detector.embed(images)[0].flatten(1).T
    expected = (features[:, None] - detector.bank).norm(dim=2).amin(dim=1)
    assert scores.flatten().tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_candidates_give_the_exact_distance_at_the_start_and_a_bound_elsewhere() -> None:
    detector, start, other = Bank(), torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8)
    near, whole = map_function(detector, start), map_function(detector)
    assert near(start)[0].flatten().tolist() == pytest.approx(whole(start)[0].flatten().tolist(), rel=1e-4)
    assert (near(other)[0] >= whole(other)[0] - 1e-4).all()
    assert candidates(detector.embed(start), detector.bank).shape == (4, 20, 3)


def test_a_small_bank_is_all_candidates() -> None:
    assert candidates(torch.randn(1, 3, 2, 2), torch.randn(4, 3)).shape == (4, 4, 3)


def test_a_detector_without_levels_is_refined_through_its_map() -> None:
    images = torch.randn(1, 3, 8, 8)
    assert torch.equal(map_function(MapOnly())(images)[0], MapOnly()(images).anomaly_maps)


def test_a_location_as_good_as_usual_counts_its_pixels() -> None:
    maps = [torch.full((1, 1, 16, 16), 3.0), torch.full((1, 1, 4, 4), 7.0)]
    loss = FeatureLoss(lambda images: maps, torch.tensor([3.0, 7.0]), torch.ones(2))
    assert float(loss(torch.zeros(1, 3, 64, 64))) == pytest.approx(64 * 64)


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_loss_knows_neither_the_scale_of_a_detector_nor_its_number_of_levels(scale: float, repeats: int) -> None:
    scores = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(3)) * scale
    loss = FeatureLoss(lambda images: [scores] * repeats, torch.full((repeats,), 0.3 * scale), torch.ones(repeats))
    assert float(loss(torch.zeros(1, 3, 64, 64))) == pytest.approx(float(scores.sum()) / (0.3 * scale) * 16, rel=1e-5)


def test_a_knee_makes_good_locations_flat_and_keeps_bad_ones() -> None:
    scores = torch.tensor([0.1, 50.0]).view(1, 1, 1, 2).requires_grad_()
    loss = FeatureLoss(lambda images: [scores], torch.tensor([1.0]), torch.tensor([2.0]), knee=3.0)
    (gradient,) = torch.autograd.grad(loss(torch.zeros(1, 3, 1, 2)), scores)
    good, bad = gradient.flatten().tolist()
    assert bad == pytest.approx(1.0, rel=1e-3)
    assert good < 0.01


def test_loss_of_the_network_is_its_fused_map_and_flows_through_both_backbones() -> None:
    """Targets are not detached: both feature spaces move with the image, unlike in training."""
    torch.manual_seed(0)
    sides = [build_backbone(name) for name in ("squeezenet1_1", "resnet18")]
    network = build_network(*sides, latents=(4, 4, 4), input_px=(64, 64)).eval().requires_grad_(False).double()
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    loss = FeatureLoss(map_function(network), torch.ones(3), torch.ones(3))
    value = loss(image)
    # Levels of whole strides: the mean of the maps over the pixels is the mean over the levels' locations, up to
    # the interpolation at the borders.
    fused = float(network(image.detach()).anomaly_maps.mean()) * 64 * 64
    assert float(value.detach()) == pytest.approx(fused, rel=0.1)
    (gradient,) = torch.autograd.grad(value, image)
    direction = gradient / gradient.norm()
    step = 1e-2  # the maps are float32 whatever the network's precision
    with torch.no_grad():
        slope = (loss(image + step * direction) - loss(image - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=0.05)
