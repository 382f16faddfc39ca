"""Have the scores of passed parts moved away from the calibration's? A sequential test with a false-alarm budget.

A recipe's threshold holds for parts that are exchangeable with the calibration's. Light, lens or material change that
slowly, and the scores tell before good parts are rejected (they climb) or defects slip through (they fall, as behind a
lens out of focus).

**Only passed parts count**, so that a burst of defective ones is no drift. The calibration's scores below the
threshold are their reference: given a threshold that is one of the calibration's scores, those below it and the score
of a good part that passes are exchangeable, each drawn from the same distribution cut off at the threshold.

**Ranks, not the verdict's p-values.** p-values against the same calibration are not independent: all share the luck of
that sample, and with enough parts any test finds that the sample is not the distribution. Here each part is ranked
among the calibration *and all parts before it* (on-line conformal prediction: Vovk, Nouretdinov and Gammerman,
"Testing exchangeability on-line", ICML 2003). Under exchangeability such ranks, ties broken by lot, are independent
and uniform, whatever the distribution and however small the calibration. Parts are remembered by the gap between
calibration scores that they fell into, so memory does not grow; within a gap all places are equally likely.

**Bets against uniform ranks.** The Simple Jumper (Vovk, Petej, Nouretdinov, Ahlberg, Carlsson and Gammerman, "Retrain
or not retrain: conformal test martingales for change-point detection", COPA 2021, PMLR 152, Algorithm 1) bets on high
or low ranks and changes its mind at a small rate; a bet's factor has the mean 1 while nothing has changed. Their CUSUM
``S <- max(S, 1) * factor`` begins anew whenever it has lost. It stays below the Shiryaev-Roberts statistic ``R <- (R +
1) * factor``, for which R minus the number of parts is a martingale, so that by optional stopping **an alarm at S >= B
comes on average after B good parts or more**; B is the budget. A Kolmogorov-Smirnov test over windows would
need a correction for each look and a window's length; this test may be looked at after every part.

An alarm stands until the recipe is loaded anew: the test gets used to a change that lasts, so evidence that falls
again is no sign that the change is gone. What tells that is the running median.

Measured in tests/inspector/domain/test_drift.py on scores that spread by a tenth of their mean, 100 calibration parts,
1000 good parts before the change, a budget of 10^8 parts: scores that climb by 10 % are found after about 120 passed
parts (median), by 30 % after about 60.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence

#: Good parts until a false alarm, on average at least.
BUDGET_PARTS = 1e8
#: Passed parts that the running median is taken of.
MEDIAN_PARTS = 127
#: What is bet on: the factor of a rank u in [0, 1] is 1 + slope * (u - 1/2). The paper's; steeper ones find large
#: shifts some parts sooner and small ones much later.
_SLOPES = (-1.0, 0.0, 1.0)
#: Share of the stakes that is dealt out anew at each part; the value of the paper.
_JUMP = 0.01


class RankUrn:
    """Ranks of numbers among a sample and all numbers before them: independent and uniform if nothing changes.

    Args:
        sample: Ascending.
        draw: Uniform in [0, 1), for the place among equals.
    """

    def __init__(self, sample: Sequence[float], draw: random.Random) -> None:
        self._sample = sample
        self._draw = draw
        # A Fenwick tree over the gaps below, between and above the sample's numbers: each holds 1 at first, and one
        # more for each number that fell into it.
        self._size = len(sample) + 1
        self._tree = [0] * (self._size + 1)
        self._total = 0
        for gap in range(self._size):
            self._add(gap)

    def rank(self, value: float) -> float:
        """Takes up a number.

        Returns:
            The share that lies below it, in [0, 1), its place among equals drawn by lot.

        >>> urn = RankUrn([1.0, 2.0, 3.0], random.Random(1))
        >>> [round(urn.rank(9.0), 2) for _ in range(3)]
        [0.78, 0.94, 0.88]
        """
        below = self._below(bisect_left(self._sample, value))
        through = self._below(bisect_right(self._sample, value) + 1)
        place = below + self._draw.random() * (through - below)
        rank = min(place / self._total, 1.0)
        self._add(self._gap_at(place))
        return rank

    def _add(self, gap: int) -> None:
        self._total += 1
        gap += 1
        while gap <= self._size:
            self._tree[gap] += 1
            gap += gap & -gap

    def _below(self, gap: int) -> int:
        """What lies in the gaps before this one."""
        total = 0
        while gap:
            total += self._tree[gap]
            gap -= gap & -gap
        return total

    def _gap_at(self, place: float) -> int:
        """The gap in which a place of all that the gaps hold lies."""
        gap, step = 0, 1 << self._size.bit_length()
        while step := step >> 1:
            if gap + step <= self._size and self._tree[gap + step] <= place:
                gap += step
                place -= self._tree[gap]
        return min(gap, self._size - 1)


class DriftMonitor:
    """Watches the scores of passed parts. Time and memory for a part do not grow with the parts.

    Args:
        calibration_scores: The recipe's, ascending.
        threshold: The recipe's; a part passes if its score is at most this.
        budget_parts: Good parts until a false alarm, on average at least.
        seed: For the lot among equal scores.

    Attributes:
        alarm: True once the evidence has reached the budget.
    """

    def __init__(
        self,
        calibration_scores: Sequence[float],
        threshold: float,
        *,
        budget_parts: float = BUDGET_PARTS,
        seed: int = 1,
    ) -> None:
        reference = list(calibration_scores[: bisect_left(calibration_scores, threshold)])
        self._limit_log10 = math.log10(budget_parts)
        self._urn = RankUrn(reference, random.Random(seed))
        self._stakes = [1.0 / len(_SLOPES)] * len(_SLOPES)
        self._log10 = 0.0
        self._middle = _median(reference)
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self.alarm = False

    @property
    def evidence_log10(self) -> float:
        """Decimal logarithm of the test's statistic, 0 and up; an alarm at that of the budget."""
        return max(self._log10, 0.0)

    @property
    def median_ratio(self) -> float:
        """Median score of the last `MEDIAN_PARTS` passed parts over that of the calibration's; NaN without either."""
        return _median(self._sorted) / self._middle if self._middle > 0 else math.nan

    def passed(self, score: float) -> None:
        """Takes up the score of a part that passed."""
        self._remember(score)
        self._log10 = max(self._log10, 0.0) + math.log10(self._bet(self._urn.rank(score)))
        self.alarm = self.alarm or self._log10 >= self._limit_log10

    def _bet(self, rank: float) -> float:
        """The factor that the stakes earn on a rank; their sum stays 1."""
        dealt = _JUMP / len(_SLOPES)
        won = [
            ((1.0 - _JUMP) * stake + dealt) * (1.0 + slope * (rank - 0.5))
            for stake, slope in zip(self._stakes, _SLOPES, strict=True)
        ]
        factor = sum(won)  # the slope 0 keeps it above 0
        self._stakes = [stake / factor for stake in won]
        return factor

    def _remember(self, score: float) -> None:
        self._recent.append(score)
        insort(self._sorted, score)
        if len(self._recent) > MEDIAN_PARTS:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]


def _median(ascending: Sequence[float]) -> float:
    """NaN for an empty sequence."""
    if not ascending:
        return math.nan
    half = len(ascending) // 2
    return ascending[half] if len(ascending) % 2 else (ascending[half - 1] + ascending[half]) / 2
