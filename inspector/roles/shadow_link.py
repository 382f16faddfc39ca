"""The line's side of the shadow: a second recipe that judges the same parts and acts on none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from inspector.domain.agreement import Agreement, Pair
from inspector.domain.threshold import Threshold, decide
from inspector.domain.verdict import Decision, Verdict
from inspector.outputs.metrics import LineMetrics
from inspector.outputs.shadow_metrics import ShadowMetrics
from inspector.recipe.store import Recipe
from inspector.roles.active_recipe import recipe_labels
from inspector.roles.child import Child
from inspector.roles.side_process import SideProcess
from inspector.wire.messages import Opinion

#: Parts whose verdict or opinion may wait for the other.
_CAPACITY = 10_000


class ShadowLink(SideProcess):
    """Keeps the shadow process running and compares what it says with the verdicts.

    Args:
        child: The process.
        metrics: The line's.
        recipe: The shadow recipe.
        tell: Publishes a part that the two disagree about.
    """

    def __init__(
        self, child: Child, metrics: LineMetrics, recipe: Recipe, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        super().__init__(child, metrics)
        self._recipe = recipe
        self._hash = bytes.fromhex(recipe.content_hash)
        self._threshold = Threshold(**recipe.manifest.threshold.model_dump())
        self._tell = tell
        self._agreement = Agreement(_CAPACITY)
        self._figures = ShadowMetrics(metrics.families, metrics.station, self._threshold, recipe_labels(recipe))

    def verdict(self, verdict: Verdict, record: dict[str, Any]) -> None:
        """Takes a verdict of the line, with what is published of it."""
        self._compared(self._agreement.verdict(verdict.trigger, verdict.decision), verdict.trigger)

    def heard(self, opinion: Opinion) -> None:
        """Takes what the shadow says of a part; one of another recipe counts nothing."""
        if opinion.recipe != self._hash:
            return
        decision, _ = decide(opinion.score, self._threshold)
        if math.isfinite(opinion.score):
            self._figures.scored(opinion.score)
        self._compared(self._agreement.opinion(opinion.trigger, decision), opinion.trigger)

    def worker_says(self, details: dict[str, float]) -> None:
        """Takes up how many frames the worker could not hand over."""
        self._metrics.grow(self._figures.skipped, "shadow_skipped", details.get("shadow_refused", 0))

    def renew(self) -> None:
        """Nothing: it judges by a recipe of its own, and would only load the same again."""

    def describe(self) -> dict[str, Any]:
        """How the two agree, for people and for JSON."""
        return {
            "shadow": f"{self._recipe.manifest.name} version {self._recipe.manifest.version}",
            "shadow_compared": self._agreement.compared,
            "shadow_rejects_alone": self._agreement.alone("shadow"),
            "line_rejects_alone": self._agreement.alone("line"),
        }

    def show(self) -> None:
        """Puts whether it runs into the metrics."""
        self._figures.up.set(int(self.child.ready))
        self._metrics.grow(self._figures.restarts, "shadow_restarts", self.child.restarts)

    def finish(self, timeout_s: float) -> None:
        """Kills the process: nothing of its work is left half."""
        self.child.dismiss()
        super().finish(timeout_s)

    def _compared(self, pair: Pair | None, trigger: int) -> None:
        if pair is None:
            return
        self._figures.compared(pair)
        line, shadow = pair
        if (line is Decision.PASS) != (shadow is Decision.PASS):
            self._tell(
                {
                    "station": self._metrics.station,
                    "trigger": trigger,
                    "line": line.value,
                    "shadow": shadow.value,
                    "shadow_recipe_hash": self._recipe.content_hash,
                }
            )
