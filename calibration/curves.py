"""Curves over ranked scores: cumulated hits and alarms, areas, the best F1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.domain.frame import Mask

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """Points of a curve, ready to be drawn.

    Attributes:
        x: float64, (N,), ascending.
        y: float64, (N,).
    """

    x: Floats
    y: Floats

    def area(self, limit: float = 1.0) -> float:
        """Trapezoidal area from 0 up to x = `limit`, interpolated there, divided by `limit`; in units of y.

        Args:
            limit: In (0, 1], within the range of x.
        """
        part = self.up_to(limit)
        return float(np.sum((part.x[1:] - part.x[:-1]) * (part.y[1:] + part.y[:-1]))) / 2.0 / limit

    def up_to(self, limit: float) -> Curve:
        """The curve from 0 to x = `limit`, its last point interpolated there.

        Args:
            limit: In (0, 1], within the range of x.
        """
        inside = self.x <= limit
        x, y = self.x[inside], self.y[inside]
        if x[-1] < limit:
            end = len(x)  # the first point beyond the limit
            slope = (self.y[end] - y[-1]) / (self.x[end] - x[-1])
            x, y = np.append(x, limit), np.append(y, y[-1] + slope * (limit - x[-1]))
        return Curve(x, y)

    def thinned(self, points: int = 400) -> Curve:
        """At most `points` of the points, evenly spaced along the curve, both ends kept.

        Args:
            points: At least 2.
        """
        if len(self.x) <= points:
            return self
        length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(self.x)) + np.abs(np.diff(self.y)))])
        kept = np.unique(np.searchsorted(length, np.linspace(0.0, length[-1], points)))
        kept[0], kept[-1] = 0, len(self.x) - 1
        return Curve(self.x[kept], self.y[kept])


@dataclass(frozen=True)
class BestF1:
    """The best F1 that any threshold reaches: an oracle on test labels, to be reported, never deployed.

    Attributes:
        value: 2 precision recall / (precision + recall), in [0, 1]; NaN without a positive.
        threshold: Scores above it count as positive, as on the line. -inf if all of them do.
    """

    value: float
    threshold: float


def cumulated(truth: Mask, values: Floats) -> tuple[Floats, Counts, Counts]:
    """Distinct scores, descending, with the positives and the negatives at or above each."""
    order = np.argsort(-values)
    ranked = values[order]
    ends = tie_ends(ranked)
    hits = np.cumsum(truth[order], dtype=np.int64)[ends]
    return ranked[ends], hits, (ends + 1) - hits


def tie_ends(ranked: NDArray[np.floating]) -> Counts:
    """Index of the last member of each group of equal neighbours."""
    return np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1).astype(np.int64)


def best_f1(thresholds: NDArray[np.floating], hits: Counts, alarms: Counts) -> BestF1:
    """The best F1 of what `cumulated` gives, all (N,); at least one of the values must be a positive."""
    f1 = 2.0 * hits / (hits + alarms + hits[-1])
    best = int(np.argmax(f1))
    # The best threshold includes its own score; "above" is said with the next lower one.
    above = float(thresholds[best + 1]) if best + 1 < len(thresholds) else -math.inf
    return BestF1(float(f1[best]), above)


def from_zero(values: NDArray[np.floating]) -> Floats:
    """The values with a 0 before them, float64, (N + 1,)."""
    return np.concatenate([[0.0], values])
