"""The closed forms are what they claim to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calibration.features import FeatureCache, LevelFeatures
from calibration.last_layer import solve_last_layers, start_from_mean
from calibration.training import residuals
from inspector.models.feature_mapping import HierarchyMapping, PositionEncoding, unit_norm
from inspector.models.network import MappingPyramid, NetworkShape

CPU = torch.device("cpu")
SIZE_PX = (5, 4)


@pytest.fixture(scope="module")
def cache() -> FeatureCache:
    generator = torch.Generator().manual_seed(0)
    level = LevelFeatures(20, SIZE_PX, (8, 12), None)
    source = torch.rand(20, 8, *SIZE_PX, generator=generator)
    target = torch.einsum("ts,bshw->bthw", torch.rand(12, 8, generator=generator), source)
    level.put(0, unit_norm(source), unit_norm(target))
    return FeatureCache([level], spilled=False)


def pyramid(position: PositionEncoding = "none", bidirectional: bool = True) -> MappingPyramid:
    shape = NetworkShape((1, 8, 1), (1, 12, 1), (6,), (2,), position, (20, 16), bidirectional)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return MappingPyramid(shape, [SIZE_PX]).eval()


def test_start_predicts_little_else_than_the_mean(cache: FeatureCache) -> None:
    mapping = pyramid()
    default = residuals(mapping, cache, range(20))[0]
    start_from_mean(mapping, cache, range(20), seed=1)
    rows = cache.levels[0].whole(np.arange(20), CPU)
    variance = sum(float(side.var(dim=2, unbiased=False).mean()) for side in (rows.source, rows.target))
    assert residuals(mapping, cache, range(20))[0] == pytest.approx(variance, rel=0.1)
    assert default > 3 * variance


@pytest.mark.parametrize("position", ["none", "add", "concat"])
def test_no_other_last_layer_is_better(cache: FeatureCache, position: PositionEncoding) -> None:
    mapping = pyramid(position)
    before = residuals(mapping, cache, range(20))[0]
    solve_last_layers(mapping, cache, range(20), seed=1)
    best = residuals(mapping, cache, range(20))[0]
    assert best < before
    hierarchy = mapping.hierarchies[0]
    assert isinstance(hierarchy, HierarchyMapping)
    generator = torch.Generator().manual_seed(1)
    for direction in (hierarchy.source_to_target, hierarchy.target_to_source):
        for parameter in direction.layer6.parameters():
            for scale in (0.03, -0.03):
                change = scale * torch.randn(parameter.shape, generator=generator)
                with torch.no_grad():
                    parameter.add_(change)
                    assert residuals(mapping, cache, range(20))[0] > best
                    parameter.sub_(change)


def test_solution_depends_on_nothing_that_it_replaces(cache: FeatureCache) -> None:
    once = pyramid()
    solve_last_layers(once, cache, range(20), seed=1)
    twice = pyramid()
    start_from_mean(twice, cache, range(20), seed=1)
    solve_last_layers(twice, cache, range(20), seed=1)
    for name, value in once.state_dict().items():
        assert torch.equal(value, twice.state_dict()[name]), name


def test_one_direction_has_the_same_solution_as_in_both(cache: FeatureCache) -> None:
    both, one = pyramid(), pyramid(bidirectional=False)
    kept = {name: value for name, value in both.state_dict().items() if "target_to_source" not in name}
    one.load_state_dict(kept)
    for mapping in (both, one):
        start_from_mean(mapping, cache, range(20), seed=1)
        solve_last_layers(mapping, cache, range(20), seed=1)
    for name, value in one.state_dict().items():
        assert torch.equal(value, both.state_dict()[name]), name
    assert residuals(one, cache, range(20))[0] < residuals(both, cache, range(20))[0]
