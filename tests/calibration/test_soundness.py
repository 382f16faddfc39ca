"""A mapping that is worse on unseen good parts than on seen ones is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from calibration.features import FeatureCache, LevelFeatures
from calibration.schedule import Schedule
from calibration.soundness import Soundness, measure_soundness
from calibration.training import Training
from inspector.domain.errors import DataError
from inspector.models.feature_mapping import HierarchyMapping, unit_norm
from inspector.models.network import MappingPyramid, NetworkShape


def soundness(*held_out: float) -> Soundness:
    return Soundness(levels=(1, 3), training=(1.0, 2.0), held_out=held_out, constant=(4.0, 8.0))


def test_sound_mapping_passes() -> None:
    sound = soundness(1.5, 2.5)
    sound.check(1.5)
    assert sound.ratios == (1.5, 1.25)
    assert sound.unexplained == (0.375, 0.3125)
    assert json.loads(json.dumps(sound.as_record()))["residual_ratio"] == [1.5, 1.25]


@pytest.mark.parametrize("held_out", [3.2, math.inf, math.nan])
def test_residual_out_of_proportion_is_refused_with_its_level(held_out: float) -> None:
    with pytest.raises(DataError, match=r"level 3 is not sound: .* (1\.60|inf|nan) times that in training \(at most 1"):
        soundness(1.0, held_out).check(1.5)


def test_mapping_that_learned_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"level 1 is not sound: .* no better than a constant"):
        soundness(4.0, 2.0).check(9.0)


@pytest.fixture(scope="module")
def cache() -> FeatureCache:
    generator = torch.Generator().manual_seed(0)
    level = LevelFeatures(16, (6, 6), (8, 12), None)
    source = torch.rand(16, 8, 6, 6, generator=generator)
    target = torch.einsum("ts,bshw->bthw", torch.rand(12, 8, generator=generator), source)
    level.put(0, unit_norm(source), unit_norm(target))
    return FeatureCache([level], spilled=False)


@pytest.fixture
def trained(cache: FeatureCache) -> MappingPyramid:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        mapping = MappingPyramid(NetworkShape((1, 8, 1), (1, 12, 1), (6,), (2,), "none", (24, 24)), [(6, 6)])
    schedule = Schedule("x", "locations", (0, 128, 0), steps=60, rates=(0, 1e-2, 0))
    Training(mapping, cache, range(12), schedule, seed=1).run()
    return mapping


def test_measuring_leaves_the_mapping_alone(cache: FeatureCache, trained: MappingPyramid) -> None:
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    sound = measure_soundness(trained, cache, range(12), range(12, 16))
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert not trained.training
    sound.check(1.5)
    assert 0.0 < sound.unexplained[0] < 1.0


def test_constant_residual_is_the_variance_of_the_features(cache: FeatureCache, trained: MappingPyramid) -> None:
    sound = measure_soundness(trained, cache, range(12), range(12, 16))
    rows = cache.levels[0].whole(np.arange(12), torch.device("cpu"))
    variance = sum(float(side.var(dim=2, unbiased=False).mean()) for side in (rows.source, rows.target))
    assert sound.constant == pytest.approx([variance], rel=1e-3)


def test_one_direction_is_held_against_a_constant_of_its_own(cache: FeatureCache) -> None:
    shape = NetworkShape((1, 8, 1), (1, 12, 1), (6,), (2,), "none", (24, 24), bidirectional=False)
    sound = measure_soundness(MappingPyramid(shape, [(6, 6)]).eval(), cache, range(12), range(12, 16))
    variance = cache.levels[0].whole(np.arange(12), torch.device("cpu")).target.var(dim=2, unbiased=False).mean()
    assert sound.constant == pytest.approx([float(variance)], rel=1e-3)


def test_running_statistics_that_went_astray_are_found(cache: FeatureCache, trained: MappingPyramid) -> None:
    # What the logs of the published training show: fine with the batch's statistics, broken with the running ones.
    hierarchy = trained.hierarchies[0]
    assert isinstance(hierarchy, HierarchyMapping)
    statistics = hierarchy.source_to_target.layer5.bn
    assert statistics.running_var is not None
    statistics.running_var *= 0.01
    sound = measure_soundness(trained, cache, range(12), range(12, 16))
    with pytest.raises(DataError, match="level 2 is not sound"):
        sound.check(1.5)
