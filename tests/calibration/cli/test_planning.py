"""Defaults depend on what the machine has and on what was named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calibration.cli.planning import make_plan
from inspector.domain.errors import DataError


@pytest.fixture
def plan_of(nothing_given: dict[str, Any]) -> Callable[..., Any]:
    return lambda **given: make_plan(Path("data"), Path("recipes/tile"), {**nothing_given, **given})


@pytest.mark.parametrize(
    ("gpu", "options", "weights", "pair", "reason"),
    [
        (False, {}, "bundled", ("resnet_synth", "vovnet_synth"), "no GPU here"),
        (True, {}, "imagenet", ("resnet34", "resnet50"), "there is a GPU"),
        (True, {"device": "cpu"}, "bundled", ("resnet_synth", "vovnet_synth"), "no GPU here"),
        (False, {"weights_dir": Path("w")}, "imagenet", ("resnet34", "resnet50"), "weights folder were named"),
        (False, {"source": "resnet18"}, "imagenet", ("resnet18", "resnet50"), "were named"),
        (True, {"source": "resnet_synth"}, "bundled", ("resnet_synth", "vovnet_synth"), "were named"),
        (False, {"weights": "imagenet"}, "imagenet", ("resnet34", "resnet50"), None),
        (True, {"weights": "bundled"}, "bundled", ("resnet_synth", "vovnet_synth"), None),
        (False, {"weights": "random:3"}, "random:3", ("resnet_synth", "vovnet_synth"), None),
    ],
)
def test_weights_and_backbones(
    gpu: bool,
    options: dict[str, Any],
    weights: str,
    pair: tuple[str, str],
    reason: str | None,
    monkeypatch: pytest.MonkeyPatch,
    plan_of: Callable[..., Any],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    plan, remark = plan_of(**options)
    assert (plan.weights, (plan.source, plan.target)) == (weights, pair)
    assert remark == "" if reason is None else reason in remark and "--weights" in remark


def test_sizes_and_names(plan_of: Callable[..., Any]) -> None:
    plan, _ = plan_of(weights="bundled")
    assert (plan.size_px, plan.name) == ((256, 256), "tile")
    assert plan_of(weights="bundled", size=(128, 64))[0].size_px == (128, 64)
    assert plan_of(weights="bundled", name="other")[0].name == "other"
    with pytest.raises(DataError, match="--size takes"):
        plan_of(size=(1, 2, 3))


def test_part_of_the_frame_and_tiles(plan_of: Callable[..., Any]) -> None:
    plan, _ = plan_of(weights="bundled", region=(100, 0, 800, 600), tile=(96,), overlap=16)
    assert (plan.region_px, plan.tile_px, plan.overlap_px) == ((100, 0, 800, 600), (96, 96), 16)
    assert plan_of(weights="bundled", tile=(96, 128))[0].tile_px == (96, 128)
    plain, _ = plan_of(weights="bundled")
    assert (plain.region_px, plain.tile_px) == (None, None)


def test_memory_is_as_asked_or_what_is_there(plan_of: Callable[..., Any]) -> None:
    assert plan_of(weights="bundled", memory_gib=0.5)[0].memory_bytes == 1 << 29
    assert 0 < plan_of(weights="bundled")[0].memory_bytes <= 4 << 30


@pytest.mark.parametrize(
    ("detector", "weights", "backbones"),
    [
        ("pfm", "bundled", ("resnet_synth", "vovnet_synth")),
        ("padim", "bundled", ("resnet_synth",)),
        ("padim", "imagenet", ("resnet18",)),
        ("patchcore", "imagenet", ("wide_resnet50_2",)),
        ("cflow-ad", "random:1", ("resnet_synth",)),
    ],
)
def test_backbones_of_a_detector(
    detector: str, weights: str, backbones: tuple[str, ...], plan_of: Callable[..., Any]
) -> None:
    plan, _ = plan_of(detector=detector, weights=weights)
    assert plan.resolved().backbones == backbones
    assert plan_of(detector=detector, weights=weights, source="resnet34")[0].backbones[0] == "resnet34"
