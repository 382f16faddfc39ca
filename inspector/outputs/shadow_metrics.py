"""What is exported of a shadow recipe."""

from __future__ import annotations

from inspector.domain.agreement import Pair
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Decision
from inspector.outputs.metrics import Families


class ShadowMetrics:
    """Metrics of a station, or view, that has a shadow recipe.

    Args:
        families: Where the metrics are made.
        station: Value of the label `station`.
        threshold: The shadow recipe's.
        recipe: Labels of `inspector_shadow_recipe_info`.
    """

    def __init__(self, families: Families, station: str, threshold: Threshold, recipe: dict[str, str]) -> None:
        self._station = station
        self._threshold = threshold
        self._parts = families.counter(
            "inspector_shadow_parts", "Parts by what the line and the shadow recipe say of them.", "line", "shadow"
        )
        self.skipped = families.counter(
            "inspector_shadow_skipped_frames", "Frames that the shadow process had no room for."
        ).labels(station)
        self.restarts = families.counter(
            "inspector_shadow_restarts", "Starts of the shadow process after the first."
        ).labels(station)
        self.up = families.gauge("inspector_shadow_up", "1 while the shadow process runs.").labels(station)
        self._score = families.score_ratio(
            "inspector_shadow_score_ratio", "Anomaly score by the shadow recipe divided by its threshold."
        ).labels(station)
        info = families.gauge("inspector_shadow_recipe_info", "The recipe that judges without acting.", *recipe)
        info.labels(station, *recipe.values()).set(1)
        for line in (Decision.PASS, Decision.FAIL):
            for shadow in Decision:
                self._parts.labels(station, line.value, shadow.value)

    def compared(self, pair: Pair) -> None:
        """Counts a part that both have judged."""
        self._parts.labels(self._station, pair[0].value, pair[1].value).inc()

    def scored(self, score: float) -> None:
        """Observes a finite score."""
        if self._threshold.value > 0:
            self._score.observe(score / self._threshold.value)
