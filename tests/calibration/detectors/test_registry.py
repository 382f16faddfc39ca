"""Every detector goes the whole way: plan, calibration, recipe, line, evaluation, refinement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from calibration.datasets import open_dataset
from calibration.detectors.registry import METHODS, method_named
from calibration.features import load_batch
from calibration.plan import Plan
from calibration.schedule import Schedule
from calibration.split import split_parts
from calibration.train import calibrate
from calibration.training import Step
from inspector.domain.errors import DataError
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.models.refinement.detector import FeatureBank, LevelMaps, map_function
from inspector.recipe.manifest import DetectorName
from inspector.recipe.store import Recipe, load_recipe

QuickPlan = Callable[..., Plan]

SHORT = Schedule("short", "locations", (64, 64, 64), steps=12, rates=(2e-3, 2e-3, 2e-3))
ONE: dict[str, object] = {"target": None, "latents": None, "schedule": None, "source": "squeezenet1_1"}
SETTINGS: dict[str, dict[str, object]] = {
    "mb-pfm": {},
    "b-pfm": {"latents": (4,)},
    "pfm": {"latents": (4,)},
    "pefm": {},
    "padim": {**ONE, "channels": 12},
    "patchcore": {**ONE, "coreset": 0.1},
    "cflow-ad": {**ONE, "schedule": SHORT, "levels": (3,)},
}


def scores_of(recipe: Recipe, paths: list[Path]) -> torch.Tensor:
    preprocess = Preprocess(recipe.manifest.geometry, recipe.manifest.normalisation)
    with torch.inference_mode():
        result = load_network(recipe)(load_batch(paths, preprocess, torch.device("cpu")))
    scores: torch.Tensor = result.scores.double()
    return scores


def test_names_are_those_of_recipes() -> None:
    assert set(METHODS) == set(get_args(DetectorName)) == set(SETTINGS)
    assert next(iter(METHODS)) == Plan(Path(), Path(), "x", "resnet18", "imagenet").detector == "mb-pfm"
    with pytest.raises(DataError, match="unknown detector 'spade'; known are mb-pfm, b-pfm, pfm, pefm, padim"):
        method_named("spade")


@pytest.fixture(scope="module")
def recipes(plan_for: QuickPlan, tmp_path_factory: pytest.TempPathFactory, quiet: Any) -> Callable[[str], Recipe]:
    """Recipes with a hold-out, each made once."""
    made: dict[str, Recipe] = {}

    def recipe(name: str) -> Recipe:
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / "recipe"
            made[name] = calibrate(plan_for(folder, detector=name, **SETTINGS[name]), quiet)
        return made[name]

    return recipe


@pytest.mark.parametrize("name", SETTINGS)
def test_recipe_is_what_it_says(name: str, recipes: Callable[[str], Recipe], category: Path) -> None:
    recipe = load_recipe(recipes(name).folder)
    manifest = recipe.manifest
    assert manifest.network.detector == name
    paths = [sample.path for sample in open_dataset(category).train]
    split = split_parts(20, folds=0, calibration_share=0.4, needed=598, seed=1)
    again = scores_of(recipe, [paths[part] for part in split.rounds[0].scored])
    assert recipe.calibration_scores() == pytest.approx(np.sort(again.numpy()), rel=1e-3)
    golden = Preprocess(manifest.geometry, manifest.normalisation)(torch.from_numpy(recipe.golden_frame()))
    with torch.inference_mode():
        assert float(load_network(recipe)(golden).scores[0]) == pytest.approx(manifest.golden.score, rel=1e-4)
    assert manifest.calibration["steps"] > 0
    assert ("residual_ratio" in manifest.calibration) is (len(manifest.network.backbones) == 2)


@pytest.mark.parametrize("name", SETTINGS)
def test_holes_score_higher_than_good_parts(name: str, recipes: Callable[[str], Recipe], category: Path) -> None:
    recipe = recipes(name)
    good = scores_of(recipe, sorted((category / "test" / "good").iterdir()))
    holes = scores_of(recipe, sorted((category / "test" / "hole").iterdir()))
    assert float(holes.median()) > float(good.max())


@pytest.mark.parametrize("name", SETTINGS)
def test_refinement_finds_what_it_needs(name: str, recipes: Callable[[str], Recipe]) -> None:
    network = load_network(recipes(name))
    assert isinstance(network, FeatureBank) is (name == "patchcore")
    assert isinstance(network, LevelMaps) is (name != "patchcore")
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    levels = map_function(network, image.detach())(image)
    sum(level.sum() for level in levels).backward()  # type: ignore[union-attr]
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert float(image.grad.abs().sum()) > 0
    assert all(level.shape[:2] == (1, 1) for level in levels)


class _Stop:
    """Interrupts at one step of one training, as Ctrl-C does."""

    def __init__(self, reporter: Any, name: str) -> None:
        self._reporter, self._name = reporter, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reporter, name)

    def training(self, name: str, number: int, trainings: int, step: Step) -> None:
        self._reporter.training(name, number, trainings, step)
        if name == self._name and 0 < step.done < step.total:
            import signal

            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", ["pfm", "patchcore", "cflow-ad"])
def test_stopped_calibration_is_taken_up(name: str, quick_plan: QuickPlan, tmp_path: Path, record: Any) -> None:
    settings = {"detector": name, "folds": 2, **SETTINGS[name], "source": "resnet_synth"}
    whole = calibrate(quick_plan(recipe=tmp_path / "whole", **settings), record)
    plan = quick_plan(**settings)
    with pytest.raises(KeyboardInterrupt):
        calibrate(plan, _Stop(record, "fold-2"))
    assert calibrate(plan, record).weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert "taking up the stopped calibration" in record.said


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("padim", {"latents": (4, 4, 4)}, "--latents means nothing to padim; leave it out"),
        ("padim", {"target": "resnet18"}, "--target-network means nothing to padim"),
        ("padim", {"schedule": SHORT}, "--schedule means nothing to padim"),
        ("padim", {"channels": 0}, "--channels must be positive"),
        ("patchcore", {"position": "add", "mapped": "unit"}, "--position, --mapped means nothing to patchcore"),
        ("patchcore", {"coreset": 0.0}, "--coreset is a share of the patches above 0 and at most 1, not 0"),
        ("patchcore", {"coreset": 1.5}, "--coreset is a share"),
        ("patchcore", {"neighbours": -1}, "--neighbours can't be negative"),
        ("cflow-ad", {"coreset": 0.1}, "--coreset means nothing to cflow-ad"),
        ("mb-pfm", {"channels": 10}, "--channels means nothing to mb-pfm"),
        ("spade", {}, "unknown detector 'spade'"),
    ],
)
def test_impossible_plans_are_refused(
    quick_plan: QuickPlan, name: str, changes: dict[str, object], message: str
) -> None:
    settings = {**SETTINGS.get(name, {}), "detector": name, **changes}
    with pytest.raises(DataError, match=message):
        quick_plan(**settings).resolved()
