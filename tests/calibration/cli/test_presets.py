"""Presets are what the papers' numbers were made with, and options come before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from calibration.cli.planning import make_plan
from calibration.cli.presets import PRESETS
from calibration.detectors.registry import METHODS
from calibration.plan import Plan
from calibration.schedule import schedule_named
from inspector.domain.errors import DataError


@pytest.fixture
def preset_plan(nothing_given: dict[str, Any]) -> Any:
    def plan(**given: Any) -> Plan:
        return make_plan(Path("data"), Path("recipe"), {**nothing_given, **given})[0].resolved()

    return plan


def test_every_detector_has_one() -> None:
    assert set(PRESETS) == set(METHODS)


@pytest.mark.parametrize(
    ("name", "backbones", "levels", "facts"),
    [
        ("mb-pfm", ("resnet34", "resnet50"), (1, 2, 3), {"latents": (200, 400, 900), "position": "none"}),
        ("pefm", ("resnet34", "resnet50"), (1, 2, 3), {"latents": (200, 400, 800), "position": "add"}),
        ("b-pfm", ("resnet18", "resnet34"), (3,), {"latents": (200,), "position": "none"}),
        ("pfm", ("resnet18", "resnet34"), (3,), {"latents": (200,), "position": "none"}),
        ("padim", ("wide_resnet50_2",), (1, 2, 3), {"channels": 550}),
        ("patchcore", ("wide_resnet50_2",), (2, 3), {"coreset": 0.1, "neighbours": 0}),
        ("cflow-ad", ("wide_resnet50_2",), (2, 3), {}),
    ],
)
def test_published_settings(
    preset_plan: Any, name: str, backbones: tuple[str, ...], levels: tuple[int, ...], facts: dict[str, Any]
) -> None:
    plan = preset_plan(preset=name)
    assert (plan.detector, plan.weights, plan.size_px) == (name, "imagenet", (256, 256))
    assert (plan.backbones, plan.levels) == (backbones, levels)
    assert {key: getattr(plan, key) for key in facts} == facts
    if "latents" in facts:  # what the published numbers were made with
        assert (plan.mapped, plan.position_base) == ("raw", 10000.0)
    if "schedule" in METHODS[name].options:
        assert plan.schedule == schedule_named("published", name)


def test_other_forms_of_the_papers_are_options(preset_plan: Any) -> None:
    plan = preset_plan(preset="pefm", mapped="unit", position_base=1000.0, rates=(3e-3, 3e-4, 3e-4))
    assert (plan.mapped, plan.position_base) == ("unit", 1000.0)
    assert plan.schedule.rates == (3e-3, 3e-4, 3e-4)
    assert plan.schedule.batch == (16, 16, 16)


def test_options_come_before_the_preset(preset_plan: Any) -> None:
    plan = preset_plan(preset="mb-pfm", levels=(2, 3), size=(128,), schedule="fast", position="concat")
    assert (plan.levels, plan.latents, plan.size_px) == ((2, 3), (400, 900), (128, 128))
    assert (plan.schedule, plan.position) == (schedule_named("fast"), "concat")
    assert preset_plan(preset="mb-pfm", source="resnet18").latents == (200, 400, 900)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "simplenet"}, "unknown preset 'simplenet'; known are pfm, b-pfm, mb-pfm"),
        ({"preset": "padim", "detector": "patchcore"}, "preset padim is one of the detector of that name"),
        ({"rates": (1e-3,)}, "--rates takes three positive rates"),
        ({"rates": (1e-3, 0.0, 1e-3)}, "--rates takes three positive rates"),
        ({"detector": "padim", "rates": (1e-3, 1e-3, 1e-3)}, "--schedule means nothing to padim"),
    ],
)
def test_senseless_options_are_refused(preset_plan: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        preset_plan(**options)
