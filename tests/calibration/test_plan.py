"""What can't be asked for, what is filled in, and what a stopped calibration is known by."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from calibration.plan import Plan
from calibration.schedule import schedule_named
from calibration.split import split_parts
from inspector.domain.errors import DataError

QuickPlan = Callable[..., Plan]

SPLIT = split_parts(20, folds=2, calibration_share=0.4, needed=598, seed=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "resnet19"}, r"unknown backbone 'resnet19'; known are resnet_synth, vovnet_synth, resnet18"),
        ({"levels": (2, 1)}, r"levels must be an ascending subset of 1,2,3, not 2,1"),
        ({"levels": (1, 4)}, r"not 1,4"),
        ({"levels": ()}, r"levels must be"),
        ({"size_px": (16, 64)}, r"between 32 and 4096 px a side, not 64 x 16 px"),
        ({"latents": (4, 4)}, r"one positive latent width for each of the 3 levels"),
        ({"latents": (4, 0, 4)}, r"one positive latent width"),
        ({"name": "my recipe"}, r"'my recipe' can't be the name .* --name"),
        ({"name": ".hidden"}, r"can't be the name"),
        ({"target_rate": 0.0}, r"lie between 0 and 1"),
        ({"confidence": float("nan")}, r"lie between 0 and 1"),
        ({"residual_limit": 0.0}, r"residual limit must be positive"),
        ({"precision": "float16"}, r"float16 are computed on a GPU, .* --device cuda .* --precision bfloat16"),
    ],
)
def test_impossible_plans_are_refused(quick_plan: QuickPlan, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        quick_plan(**changes).resolved()


def test_missing_latents_are_filled_in(quick_plan: QuickPlan) -> None:
    plan = quick_plan(source="squeezenet1_1", target="resnet18", latents=None, levels=(1, 3))
    assert plan.resolved().latents == (50, 200)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_bytes(b"an image")
    return paths


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"schedule": schedule_named("stable")},
        {"levels": (1, 2)},
        {"size_px": (64, 96)},
        {"position": "add"},
        {"device": "cuda"},
        {"detector": "pefm"},
        {"mapped": "unit"},
        {"position_base": 1000.0},
        {"channels": 7},
        {"coreset": 0.2},
        {"neighbours": 3},
    ],
)
def test_what_changes_a_training_changes_the_fingerprint(
    quick_plan: QuickPlan, images: list[Path], changes: dict[str, object]
) -> None:
    assert quick_plan(**changes).fingerprint(images, [], SPLIT) != quick_plan().fingerprint(images, [], SPLIT)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": Path("elsewhere")},
        {"name": "other"},
        {"version": 2},
        {"target_rate": 0.01},
        {"confidence": 0.9},
        {"residual_limit": 3.0},
        {"threads": 3},
        {"folds": 5},
        {"memory_bytes": 1},
        {"scratch": Path("elsewhere")},
    ],
)
def test_what_changes_no_training_keeps_the_fingerprint(
    quick_plan: QuickPlan, images: list[Path], changes: dict[str, object]
) -> None:
    assert quick_plan(**changes).fingerprint(images, [], SPLIT) == quick_plan().fingerprint(images, [], SPLIT)


def test_fingerprint_knows_images_weights_and_split(quick_plan: QuickPlan, images: list[Path]) -> None:
    plan = quick_plan()
    former = plan.fingerprint(images, ["a", "b"], SPLIT)
    assert plan.fingerprint(images[:2], ["a", "b"], SPLIT) != former
    assert plan.fingerprint(images, ["a", "c"], SPLIT) != former
    assert plan.fingerprint(images, ["a", "b"], replace(SPLIT, validation=(7,))) != former
    os.utime(images[0], ns=(1, 1))
    assert plan.fingerprint(images, ["a", "b"], SPLIT) != former
