"""A recipe that the line judges by."""

from __future__ import annotations

import logging
from typing import Any

from inspector.domain.drift import DriftMonitor
from inspector.domain.threshold import Threshold
from inspector.recipe.store import Recipe

log = logging.getLogger("inspector")


class ActiveRecipe:
    """A recipe with what the gate needs of it for every part.

    Args:
        recipe: Content hash checked.

    Attributes:
        recipe: The same.
        hash: Its content hash, as results carry it.
        threshold: Decides.
        scores: Scores of the calibration's good parts, ascending.
        drift: Follows the scores of passed parts.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.hash = bytes.fromhex(recipe.content_hash)
        self.threshold = Threshold(**recipe.manifest.threshold.model_dump())
        self.scores: list[float] = recipe.calibration_scores().tolist()
        self.drift = DriftMonitor(self.scores, self.threshold.value)

    def passed(self, score: float) -> None:
        """Takes up the score of a part that has passed; says so once the scores have moved."""
        known = self.drift.alarm
        self.drift.passed(score)
        if self.drift.alarm and not known:
            log.warning(
                "scores of passed parts have moved away from the calibration's: their median is now %.3g times the "
                "calibration's. Look at light, lens and parts; then calibrate again",
                self.drift.median_ratio,
            )

    def on_record(self) -> dict[str, Any]:
        """What a verdict's record says of it."""
        manifest = self.recipe.manifest
        return {
            "threshold": self.threshold.value,
            "recipe": manifest.name,
            "recipe_version": manifest.version,
            "recipe_hash": self.recipe.content_hash,
        }


def recipe_labels(recipe: Recipe) -> dict[str, str]:
    """Labels of the metric that names the recipe in use."""
    manifest = recipe.manifest
    return {
        "recipe": manifest.name,
        "recipe_version": str(manifest.version),
        "hash": recipe.content_hash,
        "detector": manifest.network.detector,
        "threshold_method": manifest.threshold.method,
    }
