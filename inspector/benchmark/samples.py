"""Figures out of durations: quantiles, rates, ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Quantiles of durations, in milliseconds.

    Attributes:
        p50_ms: Median.
        p99_ms: 99 % quantile.
        p999_ms: 99.9 % quantile; with fewer than a thousand samples it is close to the largest.
        largest_ms: Largest.
        samples: Number of durations.
    """

    p50_ms: float
    p99_ms: float
    p999_ms: float
    largest_ms: float
    samples: int

    @staticmethod
    def of(durations_ms: Sequence[float]) -> Latency:
        """Quantiles of at least one duration.

        >>> Latency.of([1.0, 2.0, 3.0]).p50_ms
        2.0
        """
        p50, p99, p999, largest = np.percentile(durations_ms, [50, 99, 99.9, 100]).tolist()
        return Latency(p50, p99, p999, largest, len(durations_ms))

    def as_record(self) -> dict[str, Any]:
        """For JSON, rounded to microseconds."""
        return {key: round(value, 3) for key, value in asdict(self).items()}


def paired_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """How many times faster something is than its reference: the median over rounds of the ratio in each round.

    Rounds are paired because a shared machine is faster in one second than in the next.

    Args:
        times: Time for a frame in each round.
        reference: The reference's, of the same rounds.

    >>> paired_ratio([1.0, 2.0, 1.0], [3.0, 6.0, 4.0])
    3.0
    """
    return float(np.median(np.asarray(reference) / np.asarray(times)))
