"""What the tests of the models share: a recipe written from a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from inspector.models.detector import Detector
from inspector.models.network import InspectionNetwork
from inspector.models.recipe_network import pack_weights
from inspector.recipe.manifest import RecipeManifest
from inspector.recipe.store import Recipe, write_recipe


@pytest.fixture
def write(write_detector: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """Writes a recipe around a mapping network."""

    def recipe(network: InspectionNetwork, source: str, target: str, /, **changes: object) -> Recipe:
        shape = network.mapping.shape
        record = {
            "source": {"name": source, "weights": "random:1", "sha256": "0" * 64},
            "target": {"name": target, "weights": "random:2", "sha256": "0" * 64},
            "levels": shape.levels,
            "latents": shape.latents,
            "position": shape.position,
            **changes,
        }
        return write_detector(network, record, shape.input_px)

    return recipe


@pytest.fixture
def write_detector(tmp_path: Path) -> Callable[..., Recipe]:
    """Writes a recipe around any detector."""

    def recipe(network: Detector, record: object, size_px: tuple[int, int]) -> Recipe:
        data = {
            "name": "tile",
            "version": 1,
            "created": "2026-02-03T04:05:06+00:00",
            "geometry": {"height_px": size_px[0], "width_px": size_px[1]},
            "network": record,
            "threshold": {
                "value": 1.0,
                "method": "tolerance_limit",
                "target": 0.5,
                "promise": 0.4,
                "confidence": 0.9,
                "sample_size": 5,
                "exceedances_allowed": 0,
                "exact": True,
                "parts_needed": 0,
            },
            "golden": {"score": 1.0, "tolerance": 0.01},
            "calibration": {},
        }
        frame = torch.from_numpy(np.zeros((8, 8), np.uint8))
        weights = pack_weights(network, torch.zeros(5), frame)
        return write_recipe(tmp_path / "recipe", RecipeManifest.model_validate(data), weights)

    return recipe
