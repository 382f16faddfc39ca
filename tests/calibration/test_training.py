"""Trainings learn, resume exactly, and say when they diverge."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from calibration.features import FeatureCache, LevelFeatures
from calibration.schedule import Schedule
from calibration.training import Step, Training, hierarchy_loss, residuals
from inspector.domain.errors import DataError
from inspector.models.feature_mapping import PositionEncoding, mapping_loss, unit_norm
from inspector.models.network import MappingPyramid, NetworkShape

CPU = torch.device("cpu")
IMAGES, SIZES, SOURCE, TARGET = 12, ((6, 5), (3, 3)), (8, 12), (12, 8)

LOCATIONS = Schedule("l", "locations", (32, 0, 16), steps=12, rates=(1e-2, 1e-2, 1e-2), warmup=0.2, closed_form=True)
WHOLE = Schedule("w", "images", (5, 5, 5), epochs=4)


@pytest.fixture(scope="module")
def cache() -> Iterator[FeatureCache]:
    """Features in which the target follows from the source."""
    generator = torch.Generator().manual_seed(0)
    levels = []
    for size, source_width, target_width in zip(SIZES, SOURCE, TARGET, strict=True):
        level = LevelFeatures(IMAGES, size, (source_width, target_width), None)
        source = torch.rand(IMAGES, source_width, *size, generator=generator)
        mixing = torch.rand(target_width, source_width, generator=generator)
        target = torch.einsum("ts,bshw->bthw", mixing, source.square())
        level.put(0, unit_norm(source), unit_norm(target))
        levels.append(level)
    with FeatureCache(levels, spilled=False) as made:
        yield made


def pyramid(seed: int = 1, position: PositionEncoding = "none") -> MappingPyramid:
    shape = NetworkShape((8, 1, 12), (12, 1, 8), (6, 6), (1, 3), position, (24, 20))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MappingPyramid(shape, SIZES)


def parameters(mapping: MappingPyramid) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in mapping.state_dict().values()])


@pytest.mark.parametrize("schedule", [LOCATIONS, WHOLE], ids=["locations", "images"])
@pytest.mark.parametrize("stop", [0, 1, 5, 11, 12])
def test_interrupted_training_ends_like_an_uninterrupted_one(
    cache: FeatureCache, schedule: Schedule, stop: int
) -> None:
    chosen = range(1, 11)
    whole = Training(pyramid(), cache, chosen, schedule, seed=4)
    whole.run()

    first = Training(pyramid(), cache, chosen, schedule, seed=4)
    for _ in range(min(stop, first.total)):
        first.step()
    second = Training(pyramid(seed=99), cache, chosen, schedule, seed=4)
    second.resume(first.state())
    assert second.done == first.done
    second.run()

    assert torch.equal(parameters(second.mapping), parameters(whole.mapping))
    assert second.losses == whole.losses
    assert not second.mapping.training


def test_finished_training_may_be_resumed_again(cache: FeatureCache) -> None:
    first = Training(pyramid(), cache, range(10), LOCATIONS, seed=4)
    first.run()
    second = Training(pyramid(seed=99), cache, range(10), LOCATIONS, seed=4)
    second.resume(first.state())
    second.run()
    assert torch.equal(parameters(second.mapping), parameters(first.mapping))


def test_seed_decides(cache: FeatureCache) -> None:
    trainings = [Training(pyramid(), cache, range(10), LOCATIONS, seed) for seed in (4, 4, 5)]
    for training in trainings:
        training.run()
    first, again, other = (parameters(training.mapping) for training in trainings)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("schedule", [LOCATIONS, WHOLE], ids=["locations", "images"])
def test_parts_that_are_not_chosen_are_never_looked_at(
    cache: FeatureCache, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    for name in ("rows", "whole"):
        real = getattr(LevelFeatures, name)

        def spy(self: LevelFeatures, images: np.ndarray, *rest: object, real: object = real) -> object:
            seen.update(images.tolist())
            return real(self, images, *rest)  # type: ignore[operator]

        monkeypatch.setattr(LevelFeatures, name, spy)
    Training(pyramid(), cache, [1, 2, 5, 7, 8, 11], schedule, seed=4).run()
    assert seen == {1, 2, 5, 7, 8, 11}


def test_epoch_shows_each_image_once(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[int]] = []
    real = LevelFeatures.whole

    def spy(self: LevelFeatures, images: np.ndarray, device: torch.device) -> object:
        shown.append(images.tolist())
        return real(self, images, device)

    monkeypatch.setattr(LevelFeatures, "whole", spy)
    Training(pyramid(), cache, range(IMAGES), WHOLE, seed=4).run()
    first_level = shown[::2]
    assert [len(batch) for batch in first_level] == 4 * [5, 5, 2]
    assert first_level == shown[1::2]  # both hierarchies see the same images
    epochs = [[*itertools.chain(*first_level[epoch : epoch + 3])] for epoch in range(0, 12, 3)]
    assert all(sorted(epoch) == list(range(IMAGES)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_training_learns_what_can_be_learned(cache: FeatureCache) -> None:
    training = Training(pyramid(), cache, range(IMAGES), replace(LOCATIONS, steps=150), seed=1)
    before = residuals(training.mapping, cache, range(IMAGES))  # that of a constant
    training.run()
    after = residuals(training.mapping, cache, range(IMAGES))
    assert all(later < 0.6 * earlier for earlier, later in zip(before, after, strict=True))


def test_training_goes_on_after_a_look_in_eval_mode(cache: FeatureCache) -> None:
    plain, looked_at = (Training(pyramid(), cache, range(8), LOCATIONS, seed=1) for _ in range(2))
    residuals(looked_at.mapping, cache, range(8))
    plain.run()
    looked_at.run()
    assert torch.equal(parameters(plain.mapping), parameters(looked_at.mapping))


def test_every_step_is_reported(cache: FeatureCache) -> None:
    steps: list[Step] = []
    training = Training(pyramid(), cache, range(8), LOCATIONS, seed=1)
    assert all(math.isnan(loss) for loss in training.progress().losses)
    training.run(steps.append)
    assert [step.done for step in steps] == list(range(1, 13))
    assert {step.total for step in steps} == {12}
    assert all(math.isfinite(loss) for step in steps for loss in step.losses)


def test_divergence_is_told_with_level_and_step(cache: FeatureCache) -> None:
    schedule = replace(WHOLE, rates=(1e-3, 1e-3, 1e30), clip=None, decay="constant")
    with pytest.raises(DataError, match=r"level 3 diverged at step \d of 8; take another --schedule or --seed"):
        Training(pyramid(), cache, range(8), schedule, seed=1).run()


@pytest.mark.parametrize("position", ["none", "add", "concat"])
def test_rows_give_the_loss_of_whole_maps(cache: FeatureCache, position: PositionEncoding) -> None:
    mapping = pyramid(position=position).train().requires_grad_(False)
    images = np.array([2, 0, 7])
    for index, (level, size) in enumerate(zip(cache.levels, SIZES, strict=True)):
        rows = level.whole(images, CPU)
        source, target = (side.reshape(side.shape[1], 3, *size).transpose(0, 1) for side in (rows.source, rows.target))
        mapped = mapping.hierarchies[index](source, target, *mapping.codes(index))
        expected = mapping_loss(source, target, *mapped)
        assert float(hierarchy_loss(mapping, index, rows)) == pytest.approx(float(expected), rel=1e-5)


def test_residual_is_the_mean_over_images(cache: FeatureCache) -> None:
    mapping = pyramid().eval()
    one_by_one = [residuals(mapping, cache, [image]) for image in range(11)]  # 11 is no multiple of the batch
    assert residuals(mapping, cache, range(11)) == pytest.approx(np.mean(one_by_one, axis=0), rel=1e-5)
    assert not mapping.training
