"""Metrics of a detector on labelled images.

Scores and maps are the detector's own; nothing is scaled over the test set, every distinct score is a
threshold. A metric that the data can't define (one class only, no region, no background) is NaN, never a
guess. The pixel metrics live in `calibration.pixel_metrics` and are named here too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from calibration.curves import BestF1, Curve, Floats, best_f1, cumulated, from_zero
from calibration.pixel_metrics import (
    PIMO_LIMITS,
    PRO_LIMIT,
    Overlap,
    PixelRanking,
    aupimo,
    aupro,
    overlap_at,
    pixel_auroc,
)
from calibration.threshold import upper_rate
from inspector.domain.errors import DataError
from inspector.domain.frame import Mask
from inspector.domain.threshold import Threshold, decide
from inspector.domain.verdict import Decision

__all__ = [
    "PIMO_LIMITS",
    "PRO_LIMIT",
    "BestF1",
    "Confusion",
    "Curve",
    "Overlap",
    "PixelRanking",
    "aupimo",
    "aupro",
    "confusion",
    "f1_max",
    "image_auroc",
    "overlap_at",
    "pixel_auroc",
    "roc_curve",
]


def image_auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """P(score of a bad part > score of a good part) + P(equal) / 2.

    Args:
        labels: (N,), 0 or False for good, 1 or True for bad.
        scores: (N,), finite.

    Returns:
        In [0, 1]; NaN if one of the classes is missing.

    Raises:
        DataError: Scores that are not finite.
        ValueError: Labels other than 0 and 1, or of another number than the scores.
    """
    truth, values = _labelled(labels, scores)
    if truth.all() or not truth.any():
        return math.nan
    return float(roc_auc_score(truth, values))


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> Curve:
    """True-positive rate (y) against false-positive rate (x), from (0, 0) to (1, 1), a point for each score.

    Args:
        labels: (N,), 0 or False for good, 1 or True for bad.
        scores: (N,), finite.

    Raises:
        DataError: Scores that are not finite, or only one class.
        ValueError: Labels other than 0 and 1, or of another number than the scores.
    """
    truth, values = _labelled(labels, scores)
    if truth.all() or not truth.any():
        raise DataError("a ROC curve needs good and bad images")
    _, hits, alarms = cumulated(truth, values)
    return Curve(from_zero(alarms / alarms[-1]), from_zero(hits / hits[-1]))


def f1_max(labels: ArrayLike, scores: ArrayLike) -> BestF1:
    """The best F1 over all thresholds taken from the scores.

    Args:
        labels: (N,), 0 or False for good, 1 or True for bad.
        scores: (N,), finite.

    Raises:
        DataError: Scores that are not finite.
        ValueError: Labels other than 0 and 1, or of another number than the scores.
    """
    truth, values = _labelled(labels, scores)
    return best_f1(*cumulated(truth, values)) if truth.any() else BestF1(math.nan, math.nan)


@dataclass(frozen=True)
class Confusion:
    """What a threshold makes of labelled parts; the decision is that of the line.

    A part that is not inspected is rejected, so it counts in the rates as it does at the conveyor.
    """

    good_pass: int
    """Good parts that pass."""
    good_fail: int
    """Good parts that fail."""
    good_not_inspected: int
    """Good parts whose score is not finite."""
    bad_pass: int
    """Defective parts that pass: the misses."""
    bad_fail: int
    """Defective parts that fail."""
    bad_not_inspected: int
    """Defective parts whose score is not finite."""

    @property
    def good(self) -> int:
        """Good parts in all."""
        return self.good_pass + self.good_fail + self.good_not_inspected

    @property
    def bad(self) -> int:
        """Defective parts in all."""
        return self.bad_pass + self.bad_fail + self.bad_not_inspected

    @property
    def false_reject_rate(self) -> float:
        """Share of the good parts that are rejected, in [0, 1]; NaN without good parts."""
        return 1.0 - self.good_pass / self.good if self.good else math.nan

    @property
    def detection_rate(self) -> float:
        """Share of the defective parts that are rejected, in [0, 1]; NaN without defective parts."""
        return 1.0 - self.bad_pass / self.bad if self.bad else math.nan

    def false_reject_limit(self, confidence: float) -> float:
        """Upper limit of the false-reject rate of all good parts to come, in (0, 1], see `upper_rate`."""
        return upper_rate(self.good - self.good_pass, self.good, confidence)


def confusion(labels: ArrayLike, scores: ArrayLike, threshold: Threshold) -> Confusion:
    """Pass and fail at a recipe's threshold.

    Args:
        labels: (N,), 0 or False for good, 1 or True for bad.
        scores: (N,); a score that is not finite is not inspected.
        threshold: The recipe's.

    Raises:
        ValueError: Labels other than 0 and 1, or of another number than the scores.
    """
    truth, values = _labelled(labels, scores, finite=False)
    counts = {(bad, decision): 0 for bad in (False, True) for decision in Decision}
    for bad, score in zip(truth.tolist(), values.tolist(), strict=True):
        counts[bad, decide(score, threshold)[0]] += 1
    return Confusion(
        good_pass=counts[False, Decision.PASS],
        good_fail=counts[False, Decision.FAIL],
        good_not_inspected=counts[False, Decision.NOT_INSPECTED],
        bad_pass=counts[True, Decision.PASS],
        bad_fail=counts[True, Decision.FAIL],
        bad_not_inspected=counts[True, Decision.NOT_INSPECTED],
    )


def _labelled(labels: ArrayLike, scores: ArrayLike, *, finite: bool = True) -> tuple[Mask, Floats]:
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise ValueError(f"labels of shape {truth.shape} don't fit scores of shape {values.shape}")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("labels are 0 for good and 1 for bad, nothing else")
    if finite and not np.isfinite(values).all():
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"the score of image {first} is {values[first]}; a ranking needs finite scores")
    return truth.astype(np.bool_), values
