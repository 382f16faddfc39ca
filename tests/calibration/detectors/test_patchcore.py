"""The bank of PatchCore: patches of the images to fit to, as many as asked for, the same after a stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from calibration.detectors.patchcore import PatchCoreFit
from calibration.features import FeatureCache
from calibration.training import Step
from inspector.models.feature_maps import FeatureMaps
from inspector.models.patchcore import PatchCore

Cached = Callable[[nn.Module], FeatureCache]
PATCHES = 8 * 12  # of an image


class Stopped(Exception):  # noqa: N818  not an error
    pass


@pytest.fixture(scope="module")
def features(maps_of: Callable[[tuple[int, ...]], FeatureMaps]) -> FeatureMaps:
    return maps_of((2, 3))


@pytest.fixture(scope="module")
def cache(features: FeatureMaps, cached: Cached) -> FeatureCache:
    return cached(features)


def fitted(features: FeatureMaps, cache: FeatureCache, share: float, seed: int = 1) -> PatchCore:
    network = PatchCore(features, 0, 9)
    PatchCoreFit(network, cache, [3, 5, 6, 11], share, seed).run()
    return network


def test_bank_holds_patches_of_the_images(features: FeatureMaps, cache: FeatureCache, good_images: Tensor) -> None:
    network = fitted(features, cache, 0.1)
    assert network.bank.shape == (round(0.1 * 4 * PATCHES), 64 + 128)
    with torch.no_grad():
        patches = network.embed(good_images[[3, 5, 6, 11]]).flatten(2).transpose(1, 2).flatten(0, 1)
    distances, owners = torch.cdist(network.bank, patches).min(dim=1)
    assert float(distances.max()) < 0.05  # features are kept in float16
    assert len(set(owners.tolist())) == len(network.bank)


def test_whole_bank_gives_its_own_images_about_no_score(
    features: FeatureMaps, cache: FeatureCache, good_images: Tensor
) -> None:
    network = fitted(features, cache, 1.0)
    assert len(network.bank) == 4 * PATCHES
    with torch.inference_mode():
        seen, unseen = network(good_images[[3, 5]]).scores, network(good_images[[0, 1]]).scores
    assert float(seen.max()) < 0.05 < 0.2 * float(unseen.min())


def test_larger_coreset_leaves_good_patches_nearer(
    features: FeatureMaps, cache: FeatureCache, good_images: Tensor
) -> None:
    radius = []
    for share in (0.01, 0.05, 0.3):
        network = fitted(features, cache, share)
        with torch.inference_mode():
            patches = network.embed(good_images[[3, 5, 6, 11]]).flatten(2).transpose(1, 2)
            radius.append(float(network.search(patches)[0].max()))
    assert radius[0] > radius[1] > radius[2]


@pytest.mark.parametrize("stop", [1, 2, 20, 38])
def test_stopped_fit_ends_like_an_uninterrupted_one(features: FeatureMaps, cache: FeatureCache, stop: int) -> None:
    def report(step: Step) -> None:
        if step.done == stop:
            raise Stopped

    first = PatchCoreFit(PatchCore(features, 0, 9), cache, [3, 5, 6, 11], 0.1, 1)
    if first.progress().done < stop:
        with pytest.raises(Stopped):
            first.run(report)
    network = PatchCore(features, 0, 9)
    second = PatchCoreFit(network, cache, [3, 5, 6, 11], 0.1, 1)
    second.resume(first.state())
    assert second.progress().done == stop
    second.run()
    assert torch.equal(network.bank, fitted(features, cache, 0.1).bank)


def test_seed_decides(features: FeatureMaps, cache: FeatureCache) -> None:
    first, again, other = (fitted(features, cache, 0.05, seed).bank for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
