"""What the tests of the command line share."""

from __future__ import annotations

from typing import Any

import pytest

#: What `calibrate train` gets where nothing is given.
OPTIONS: dict[str, Any] = {
    "detector": None,
    "preset": None,
    "name": None,
    "version": 1,
    "weights": None,
    "weights_dir": None,
    "source": None,
    "target": None,
    "size": None,
    "levels": None,
    "latents": None,
    "position": None,
    "position_base": None,
    "mapped": None,
    "channels": None,
    "coreset": None,
    "neighbours": None,
    "schedule": None,
    "rates": None,
    "target_rate": 0.005,
    "confidence": 0.95,
    "folds": None,
    "calibration_share": 0.4,
    "residual_limit": 1.5,
    "seed": 1,
    "device": None,
    "precision": "float32",
    "threads": None,
    "memory_gib": None,
    "scratch": None,
}


@pytest.fixture
def nothing_given() -> dict[str, Any]:
    """Options of `calibrate train` where nothing is given."""
    return dict(OPTIONS)
