"""Any detector runs on the line: the daemon, its engines and its golden frame don't know which one it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from calibration.features import load_batch
from calibration.plan import Plan
from calibration.train import calibrate
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.recipe.store import Recipe

from .conftest import StartDaemon

pytestmark = pytest.mark.process

SETTINGS: dict[str, dict[str, Any]] = {
    "padim": {"source": "squeezenet1_1", "channels": 16, "levels": (2, 3)},
    "patchcore": {"source": "resnet_synth", "coreset": 0.02},
}


class Silence:
    """A reporter for nobody."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.fixture(scope="module", params=SETTINGS)
def recipe(request: pytest.FixtureRequest, parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    plan = Plan(
        data=parts,
        recipe=tmp_path_factory.mktemp(request.param) / "recipe",
        name=request.param,
        weights="random:1",
        detector=request.param,
        size_px=(64, 64),
        folds=0,
        **SETTINGS[request.param],
    )
    return calibrate(plan, Silence())


def test_line_gives_the_scores_of_the_calibration(start: StartDaemon, recipe: Recipe, parts: Path) -> None:
    engine = {"padim": "pytorch", "patchcore": "openvino"}[recipe.manifest.network.detector]
    daemon = start(engine, recipe=str(recipe.folder), worker={"engine": engine})
    assert daemon.finish() == 0, daemon.errors()
    assert set(daemon.check_ledger()) <= {"score_within_threshold", "score_above_threshold"}, daemon.errors()
    scores = {record["source"]: record["score"] for record in daemon.records()}
    paths = sorted(parts.iterdir())[:5]
    preprocess = Preprocess(recipe.manifest.geometry, recipe.manifest.normalisation)
    with torch.inference_mode():
        expected = load_network(recipe)(load_batch(paths, preprocess, torch.device("cpu"))).scores
    assert [scores[path.name] for path in paths] == pytest.approx(expected.tolist(), rel=1e-3)
