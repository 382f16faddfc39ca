"""The CUDA engine in a real line: frames read where they lie in the ring, batches overlapping, no score another's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest

from inspector.config.schema import InspectorConfig
from inspector.domain.verdict import Verdict
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.recipe.store import load_recipe
from inspector.roles.daemon import open_station

pytestmark = pytest.mark.process

PARTS = 40
PICTURES = 8


def scores(recipe: Path, pictures: list[np.ndarray]) -> list[float]:
    import torch

    opened = load_recipe(recipe)
    network = load_network(opened)
    preprocess = Preprocess(opened.manifest.geometry, opened.manifest.normalisation)
    with torch.inference_mode():
        return [float(network(preprocess(torch.from_numpy(picture))).scores[0]) for picture in pictures]


@pytest.mark.parametrize("transport", ["shared_memory", "zeromq"])
def test_every_part_has_the_score_of_its_own_pixels(
    transport: Literal["shared_memory", "zeromq"], random_recipe: Path, tmp_path: Path
) -> None:
    pictures = list(np.random.default_rng(11).integers(0, 256, (PICTURES, 64, 64), np.uint8))
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(PARTS):
        cv2.imwrite(str(folder / f"{number:03d}.png"), pictures[number % PICTURES])
    config = InspectorConfig.model_validate(
        {
            "station": "gpu",
            "recipe": random_recipe,
            "camera": {"kind": "folder", "path": folder},
            "transport": transport,
            "line": {"deadline_ms": 60_000},
            "worker": {"device": "cuda", "max_batch": 4, "threads": 1, "allow_random_weights": True},
            "verdicts": {"endpoint": None, "log": None},
            "metrics": {"port": 0},
        }
    )
    verdicts: list[Verdict] = []
    with open_station(config, {"RUNTIME_DIRECTORY": str(tmp_path / "run")}, watcher=verdicts.append) as station:
        gate: Any = station.gate
        gate.lines[0].worker.command = [sys.executable, str(Path(__file__).with_name("cuda_double_worker.py"))]
        tally = gate.run()
    assert tally.balanced
    assert {verdict.source: verdict.cause for verdict in verdicts if verdict.score is None} == {}
    expected = scores(random_recipe, pictures)
    found = {int(Path(verdict.source).stem): verdict.score for verdict in verdicts}
    assert sorted(found) == list(range(PARTS))
    for number, score in found.items():
        assert score == pytest.approx(expected[number % PICTURES], rel=1e-4)
