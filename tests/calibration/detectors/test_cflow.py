"""Flows learn what good features are, resume exactly, and say when they diverge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from calibration.detectors.cflow import CflowFit
from calibration.features import FeatureCache
from calibration.schedule import Schedule
from calibration.training import Step
from inspector.domain.errors import DataError
from inspector.models.cflow import Cflow
from inspector.models.feature_maps import FeatureMaps

Cached = Callable[[nn.Module], FeatureCache]

LOCATIONS = Schedule("l", "locations", (64, 64, 64), steps=10, rates=(2e-3, 2e-3, 2e-3), weight_decay=0.0)
SHUFFLED = replace(LOCATIONS, sampling="shuffled", epochs=2, batch=(64, 100, 64))


@pytest.fixture(scope="module")
def features(maps_of: Callable[[tuple[int, ...]], FeatureMaps]) -> FeatureMaps:
    return maps_of((2, 3))


@pytest.fixture(scope="module")
def cache(features: FeatureMaps, cached: Cached) -> FeatureCache:
    return cached(features)


def network(features: FeatureMaps) -> Cflow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Cflow(features, blocks=2, condition=8)


def tensors(built: Cflow) -> Tensor:
    return torch.cat([value.flatten().double() for value in built.state_dict().values()])


def test_defects_are_less_likely_than_good_parts(
    features: FeatureMaps, cache: FeatureCache, test_images: Tensor
) -> None:
    built = network(features)
    steps: list[Step] = []
    CflowFit(built, cache, range(20), replace(LOCATIONS, steps=120), seed=1).run(steps.append)
    assert not built.training
    assert [step.done for step in steps] == list(range(1, 241))
    for index, turn in enumerate((slice(0, 120), slice(120, 240))):
        losses = [step.losses[index] for step in steps[turn]]
        assert losses[-1] < 0.7 * losses[0]
    with torch.inference_mode():
        scores = built(test_images).scores
    assert float(scores[0::2].min()) > float(scores[1::2].max())


def test_constants_are_the_best_good_locations(features: FeatureMaps, cache: FeatureCache, good_images: Tensor) -> None:
    built = network(features)
    CflowFit(built, cache, range(4), LOCATIONS, seed=1).run()
    with torch.inference_mode():
        found = built.log_likelihoods(built.features.maps(good_images[:4]))
    expected = torch.stack([level.max() for level in found])
    torch.testing.assert_close(built.best, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("schedule", [LOCATIONS, SHUFFLED], ids=["locations", "shuffled"])
@pytest.mark.parametrize("stop", [0, 3, 10, 13])
def test_interrupted_training_ends_like_an_uninterrupted_one(
    features: FeatureMaps, cache: FeatureCache, schedule: Schedule, stop: int
) -> None:
    whole, stopped, resumed = (network(features) for _ in range(3))
    CflowFit(whole, cache, range(5), schedule, seed=1).run()
    first = CflowFit(stopped, cache, range(5), schedule, seed=1)
    for _ in range(stop):
        first.step()
    second = CflowFit(resumed, cache, range(5), schedule, seed=1)
    second.resume(first.state())
    second.run()
    assert torch.equal(tensors(resumed), tensors(whole))


def test_shuffled_epoch_shows_each_location_once(
    features: FeatureMaps, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, int]] = []
    real = type(cache.levels[0]).vectors

    def spy(self: object, images: Tensor, places: Tensor, device: torch.device) -> Tensor:
        if self is cache.levels[0]:
            shown.extend(zip(images.tolist(), places.tolist(), strict=True))
        return real(self, images, places, device)  # type: ignore[arg-type]

    monkeypatch.setattr(type(cache.levels[0]), "vectors", spy)
    fit = CflowFit(network(features), cache, [2, 7, 9], SHUFFLED, seed=1)
    assert fit.total == 2 * 3 + 2 * 2  # 288 locations in batches of 100, 72 in batches of 64
    fit.run()
    everything = sorted((image, place) for image in (2, 7, 9) for place in range(96))
    assert sorted(shown[:288]) == sorted(shown[288:]) == everything
    assert shown[:288] != shown[288:]


def test_divergence_is_told_with_level_and_step(features: FeatureMaps, cache: FeatureCache) -> None:
    schedule = replace(LOCATIONS, rates=(1e-3, 1e-3, 1e30), clip=None, decay="constant")
    with pytest.raises(DataError, match=r"level 3 diverged at step \d+ of 10; take another --schedule or --seed"):
        CflowFit(network(features), cache, range(5), schedule, seed=1).run()
