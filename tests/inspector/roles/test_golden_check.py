"""When the golden frame is computed again, and what counts as the recipe's score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from inspector.domain.errors import EngineError
from inspector.domain.frame import Pixels
from inspector.domain.threshold import Threshold
from inspector.engines.base import Scored
from inspector.outputs.metrics import Families, LineMetrics
from inspector.recipe.manifest import Golden
from inspector.roles.golden_check import GoldenCheck, prove
from inspector.roles.line_figures import show_state
from inspector.wire.messages import State

FRAME = np.zeros((4, 4), np.uint8)
GOLDEN = Golden(score=2.0, tolerance=0.01)


class Engine:
    score = 2.0

    def warm_up(self, frame: Pixels) -> float:
        return self.score

    def infer(self, frames: Sequence[Pixels]) -> list[Scored]:
        assert [frame.shape for frame in frames] == [(4, 4)]
        return [Scored(self.score, 0, 0)]


@pytest.mark.parametrize("score", [2.0, 2.019, 1.981])
def test_a_score_within_the_tolerance_is_proof(score: float) -> None:
    prove(score, GOLDEN)


@pytest.mark.parametrize("score", [2.03, 1.97, 0.0, math.nan, math.inf])
def test_any_other_is_none(score: float) -> None:
    with pytest.raises(EngineError, match="golden frame"):
        prove(score, GOLDEN)


def test_a_check_is_due_after_its_time_and_young_again_once_it_was_made() -> None:
    now = [0]
    check = GoldenCheck(FRAME, GOLDEN, 60.0, lambda: now[0])
    now[0] = 59_999_999_999
    assert not check.due
    now[0] = 60_000_000_000
    assert check.due
    assert check.age_s == 60.0
    check.repeat(Engine())
    assert not check.due
    assert check.age_s == 0.0


def test_a_check_that_fails_leaves_the_age_as_it_is() -> None:
    now = [0]
    check, engine = GoldenCheck(FRAME, GOLDEN, 60.0, lambda: now[0]), Engine()
    now[0], engine.score = 70_000_000_000, 2.1
    with pytest.raises(EngineError):
        check.repeat(engine)
    assert check.age_s == 70.0


def test_the_age_goes_into_the_metrics() -> None:
    registry = CollectorRegistry()
    threshold = Threshold(2.0, 0.01, 0.009, 0.95, "tolerance_limit", 300, 0, True, 0)
    metrics = LineMetrics(Families(registry, 0.5), station="s", threshold=threshold, recipe={}, version="0")
    show_state(metrics, State("worker", 1, "running", details={"golden_age_s": 12.5}))
    assert registry.get_sample_value("inspector_golden_check_age_seconds", {"station": "s"}) == 12.5
