"""A recipe that the line judges by."""

from __future__ import annotations

from typing import Any

from inspector.domain.drift import DriftMonitor
from inspector.domain.threshold import Threshold
from inspector.recipe.store import Recipe


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

    def on_record(self) -> dict[str, Any]:
        """What a verdict's record says of it."""
        manifest = self.recipe.manifest
        return {
            "threshold": self.threshold.value,
            "recipe": manifest.name,
            "recipe_version": manifest.version,
            "recipe_hash": self.recipe.content_hash,
        }

    def labels(self) -> dict[str, str]:
        """Labels of the metric that names the recipe in use."""
        manifest = self.recipe.manifest
        return {
            "recipe": manifest.name,
            "recipe_version": str(manifest.version),
            "hash": self.recipe.content_hash,
            "detector": manifest.network.detector,
            "threshold_method": manifest.threshold.method,
        }
