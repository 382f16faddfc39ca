"""The threshold of a recipe, the decision it makes, and the rank of a score among good parts.

Only the standard library: the gate decides with it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from inspector.domain.verdict import Cause, Decision


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it promises about good parts.

    Attributes:
        value: A part passes if its score is at most this.
        target: False-reject rate that was asked for, in (0, 1).
        promise: False-reject rate that the sample supports at `confidence`, in (0, 1); at most `target` for
            a tolerance limit. For an extrapolated threshold it is the promise of the sample's maximum.
        confidence: Confidence of the promise over the draw of the calibration parts, in (0, 1).
        method: "tolerance_limit", a theorem for any distribution, or "extrapolated" beyond what the sample
            can promise.
        sample_size: Good parts whose scores set the threshold.
        exceedances_allowed: Parts of the sample that may lie above the threshold.
        exact: True for scores of held-out parts; False for out-of-fold scores, for which the promise is
            approximate.
        parts_needed: Further good parts until the sample can promise the target, 0 if it does.
    """

    value: float
    target: float
    promise: float
    confidence: float
    method: Literal["tolerance_limit", "extrapolated"]
    sample_size: int
    exceedances_allowed: int
    exact: bool
    parts_needed: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a threshold is a finite number, not {self.value}")
        for name in ("target", "promise", "confidence"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} lies between 0 and 1, not at {getattr(self, name)}")
        if self.method not in ("tolerance_limit", "extrapolated"):
            raise ValueError(f"unknown method {self.method!r}")
        if self.sample_size < 1 or self.parts_needed < 0:
            raise ValueError("a threshold needs at least one part, and no negative number of further parts")
        if not 0 <= self.exceedances_allowed < self.sample_size:
            raise ValueError(f"{self.exceedances_allowed} exceedances of {self.sample_size} parts")

    def describe(self) -> str:
        """The threshold and its promise in one or two sentences for people."""
        kind = "held out" if self.exact else "scored out of fold, so the promise is approximate"
        basis = f"{self.sample_size} good parts, {kind}"
        sure = f"{self.confidence:.4g} confidence"
        if self.method == "tolerance_limit":
            return (
                f"threshold {self.value:.6g}: at most {self.promise:.3%} of good parts are rejected, with "
                f"{sure} (target {self.target:.3%}; {basis})"
            )
        return (
            f"threshold {self.value:.6g}, EXTRAPOLATED: the sample promises only {self.promise:.3%} at "
            f"{sure}, not the target of {self.target:.3%} ({basis}). {self.parts_needed} more good parts "
            "are needed to promise the target"
        )


def decide(score: float, threshold: Threshold) -> tuple[Decision, Cause]:
    """The decision on a score. A pass must be proven, so neither NaN nor infinity passes.

    Args:
        score: Anomaly score of a part.
        threshold: The recipe's threshold.

    Returns:
        PASS with SCORE_WITHIN_THRESHOLD if the score is finite and at most the threshold, FAIL with
        SCORE_ABOVE_THRESHOLD if it is finite and above, NOT_INSPECTED with SCORE_NOT_FINITE otherwise.
    """
    if not math.isfinite(score):
        return Decision.NOT_INSPECTED, Cause.SCORE_NOT_FINITE
    if score <= threshold.value:
        return Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD
    return Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD


def conformal_p_value(score: float, sorted_scores: Sequence[float]) -> float:
    """How usual a score is among good parts: p = (1 + #{s_i >= score}) / (n + 1).

    For a good part exchangeable with the n others, P(p <= a) <= a for every a (split conformal prediction).

    Args:
        score: Score of the part.
        sorted_scores: Scores of the calibration's good parts, ascending; may be empty.

    Returns:
        In [1 / (n + 1), 1]; the lowest value for a score that is not finite.

    >>> conformal_p_value(2.0, [1.0, 2.0, 3.0])
    0.75
    >>> conformal_p_value(float("nan"), [1.0, 2.0, 3.0])
    0.25
    """
    count = len(sorted_scores)
    if not math.isfinite(score):
        return 1.0 / (count + 1)
    return (1 + count - bisect_left(sorted_scores, score)) / (count + 1)
