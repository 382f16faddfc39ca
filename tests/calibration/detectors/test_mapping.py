"""Defaults of the detectors that map features."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from calibration.detectors.mapping import default_latents, default_pair
from calibration.plan import Plan
from calibration.schedule import schedule_named
from inspector.domain.errors import DataError


@pytest.mark.parametrize(
    ("source", "target", "latents"),
    [
        ("resnet18", "resnet34", (50, 100, 200)),
        ("resnet34", "resnet50", (200, 400, 900)),
        ("vgg16_bn", "vgg19_bn", (200, 400, 400)),
        ("resnet50", "wide_resnet50_2", (200, 400, 900)),
        ("resnet_synth", "vovnet_synth", (24, 48, 96)),
        ("squeezenet1_1", "mobilenet_v2", (24, 48, 96)),
        ("squeezenet1_1", "resnet34", (50, 100, 200)),
    ],
)
def test_latents_are_the_papers_or_by_the_wider_network(source: str, target: str, latents: tuple[int, ...]) -> None:
    assert default_latents(source, target, (1, 2, 3)) == latents


def test_latents_of_pefm_are_its_papers_for_its_pair_alone() -> None:
    assert default_latents("resnet34", "resnet50", (1, 2, 3), "pefm") == (200, 400, 800)
    assert default_latents("resnet18", "resnet34", (2, 3), "pefm") == (100, 200)


def test_only_imagenet_has_the_heavy_pair_by_default() -> None:
    assert default_pair("imagenet") == ("resnet34", "resnet50")
    assert default_pair("bundled") == default_pair("random:1") == ("resnet_synth", "vovnet_synth")


@pytest.mark.parametrize(
    ("detector", "levels", "position"),
    [("mb-pfm", (1, 2, 3), "none"), ("b-pfm", (3,), "none"), ("pfm", (3,), "none"), ("pefm", (1, 2, 3), "add")],
)
def test_defaults(quick_plan: Callable[..., Plan], detector: str, levels: tuple[int, ...], position: str) -> None:
    plan = quick_plan(detector=detector, latents=None, schedule=None).resolved()
    assert (plan.levels, plan.position, plan.position_base, plan.mapped) == (levels, position, 10000.0, "raw")
    assert plan.latents is not None
    assert len(plan.latents) == len(levels)
    assert plan.schedule == schedule_named("fast")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": None}, "mb-pfm maps between two backbones; name the second with --target-network"),
        ({"position_base": 1.0}, "constant of the position code must be above 1"),
        ({"position_base": float("nan")}, "constant of the position code must be above 1"),
        ({"latents": (4, 4)}, "one positive latent width for each of the 3 levels"),
    ],
)
def test_impossible_plans_are_refused(
    quick_plan: Callable[..., Plan], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        quick_plan(**changes).resolved()
