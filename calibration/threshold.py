"""The threshold from good parts that the mapping never saw.

A distribution-free tolerance limit (Wilks, "Determination of sample sizes for setting tolerance limits",
Annals of Mathematical Statistics 12, 1941): the r-th largest of n scores, where r is the largest integer with
P(Bin(n, target) >= r) >= confidence. With that confidence over the draw of the sample at most `target` of the
good parts to come score above it, whatever the distribution of the scores.

Where the sample is too small to promise the target, the tail is extrapolated with a generalised Pareto
distribution (Pickands 1975; fitted by probability-weighted moments, Hosking and Wallis, Technometrics 29,
1987), and the threshold says so. In simulations its upper bootstrap limit misses the target in 10 to 30 % of
the samples instead of the nominal 5 %, which is why it is only a makeshift.

Three things matter more than any formula: the parts must be held out from the fit of the mapping, each must
be a part of its own (not a frame, tile or pixel of the same one), and its score the maximum of its map.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from inspector.domain.errors import DataError
from inspector.domain.threshold import Threshold

#: Default false-reject rate, and the default confidence that it is not exceeded.
DEFAULT_TARGET = 0.005
DEFAULT_CONFIDENCE = 0.95

_RESAMPLES = 1000
_UPPER_LIMIT = 0.95
#: Below this |shape| the Pareto quantile is computed by its exponential limit.
_SHAPE_IS_ZERO = 1e-6


def fit_threshold(
    scores: ArrayLike,
    *,
    target: float = DEFAULT_TARGET,
    confidence: float = DEFAULT_CONFIDENCE,
    exact: bool = True,
    seed: int = 0,
) -> Threshold:
    """The threshold for a false-reject rate, with what the sample can promise.

    Args:
        scores: Scores of n good parts, one for each part, from a mapping that did not see it.
        target: False-reject rate asked for.
        confidence: Confidence that the rate is not exceeded, over the draw of the sample.
        exact: False where the scores are out-of-fold (several mappings, another one deployed); the promise is
            then approximate, and the threshold says so.
        seed: Of the bootstrap behind an extrapolated threshold.

    Returns:
        method "tolerance_limit" with the lowest order statistic that keeps the promise, or, for too small
        a sample, "extrapolated": the larger of the greatest score and the upper 95 % bootstrap limit of the
        Pareto quantile at `target`, with the promise of the greatest score.

    Raises:
        DataError: No scores, or scores that are not finite.
        ValueError: `target` or `confidence` outside (0, 1).

    >>> threshold = fit_threshold(range(300), target=0.01)
    >>> threshold.method, threshold.value, threshold.parts_needed
    ('tolerance_limit', 299.0, 0)
    """
    _check_rates(target, confidence)
    ordered = np.sort(_finite(scores))
    count = len(ordered)
    rank = admissible_rank(count, target, confidence)
    if rank > 0:
        return Threshold(
            value=float(ordered[count - rank]),
            target=target,
            promise=promised_rate(count, rank, confidence),
            confidence=confidence,
            method="tolerance_limit",
            sample_size=count,
            exceedances_allowed=rank - 1,
            exact=exact,
            parts_needed=0,
        )
    return Threshold(
        value=max(float(ordered[-1]), extrapolated_limit(ordered, target, seed=seed)),
        target=target,
        promise=promised_rate(count, 1, confidence),
        confidence=confidence,
        method="extrapolated",
        sample_size=count,
        exceedances_allowed=0,
        exact=exact,
        parts_needed=parts_needed(target, confidence) - count,
    )


def admissible_rank(parts: int, target: float, confidence: float) -> int:
    """The largest r for which the r-th largest of n scores keeps the promise (Wilks 1941).

    Args:
        parts: Sample size n.
        target: False-reject rate, in (0, 1).
        confidence: In (0, 1).

    Returns:
        The largest r with P(Bin(n, target) >= r) >= confidence, 0 if there is none.

    >>> [admissible_rank(parts, 0.001, 0.95) for parts in (2994, 2995, 4741, 4742)]
    [0, 1, 1, 2]
    """
    _check_rates(target, confidence)
    low, high = 0, parts + 1  # the promise holds at rank low (or low is 0) and fails at high
    while high - low > 1:
        middle = (low + high) // 2
        if _keeps_promise(parts, middle, target, confidence):
            low = middle
        else:
            high = middle
    return low


def promised_rate(parts: int, rank: int, confidence: float) -> float:
    """False-reject rate that the r-th largest of n scores promises: BetaInv(c; r, n - r + 1).

    Args:
        parts: Sample size n.
        rank: r, from 1 (the maximum) to n.
        confidence: c, in (0, 1).

    Returns:
        The smallest rate in (0, 1) that is exceeded in at most a share 1 - c of all samples; for r = 1 it is
        1 - (1 - c)^(1/n).

    Raises:
        ValueError: `rank` outside 1 to n, or `confidence` outside (0, 1).

    >>> f"{promised_rate(60, 1, 0.95):.1%}"
    '4.9%'
    """
    _check_rates(confidence)
    if not 1 <= rank <= parts:
        raise ValueError(f"a rank lies in 1 to the sample size {parts}, not at {rank}")
    return float(special.betaincinv(rank, parts - rank + 1, confidence))


def parts_needed(target: float, confidence: float, exceedances: int = 0) -> int:
    """Good parts that a promise needs in all.

    Args:
        target: False-reject rate, in (0, 1).
        confidence: In (0, 1).
        exceedances: Parts of the sample that may lie above the threshold, r - 1.

    Returns:
        The smallest n for which the (exceedances + 1)-th largest score keeps the promise.

    >>> parts_needed(0.005, 0.95), parts_needed(0.001, 0.95)
    (598, 2995)
    """
    _check_rates(target, confidence)
    rank = exceedances + 1
    if rank < 1:
        raise ValueError(f"exceedances can't be negative: {exceedances}")
    low, high = rank - 1, max(rank, math.ceil(math.log1p(-confidence) / math.log1p(-target)))
    while not _keeps_promise(high, rank, target, confidence):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _keeps_promise(middle, rank, target, confidence):
            high = middle
        else:
            low = middle
    return high


def upper_rate(false_rejects: int, parts: int, confidence: float) -> float:
    """One-sided upper limit of a false-reject rate seen in practice (Clopper and Pearson 1934).

    Args:
        false_rejects: Good parts that were rejected, x.
        parts: Good parts in all, N.
        confidence: c, in (0, 1).

    Returns:
        BetaInv(c; x + 1, N - x), in (0, 1]; about 3/N for x = 0 and c = 0.95. 1 if nothing was inspected or
        everything rejected.

    Raises:
        ValueError: `false_rejects` outside 0 to `parts`, or `confidence` outside (0, 1).

    >>> f"{upper_rate(0, 150, 0.95):.2%}"
    '1.98%'
    """
    _check_rates(confidence)
    if not 0 <= false_rejects <= parts:
        raise ValueError(f"{false_rejects} false rejects of {parts} good parts")
    if false_rejects == parts:
        return 1.0
    return float(special.betaincinv(false_rejects + 1, parts - false_rejects, confidence))


def extrapolated_limit(scores: ArrayLike, target: float, *, seed: int = 0, resamples: int = _RESAMPLES) -> float:
    """Upper 95 % bootstrap limit of the (1 - target) quantile, from a generalised Pareto tail.

    The tail starts at the (k + 1)-th largest score, k = max(10, 10 % of the parts); its excesses y follow
    P(Y > y) = (1 + shape y / scale)^(-1/shape).

    Args:
        scores: One for each good part, finite.
        target: Rate beyond the quantile, in (0, 1).
        seed: Of the resampling; the same seed gives the same limit.
        resamples: Bootstrap samples.

    Returns:
        In units of the score; the greatest score where there are fewer than 3 parts or the tail has no width.
    """
    _check_rates(target)
    values = _finite(scores)
    count = len(values)
    if count < 3:
        return float(values.max())
    tail = min(max(10, math.ceil(0.1 * count)), count - 1)
    rate = min(1.0, target * count / tail)
    generator = np.random.default_rng(seed)
    quantiles = np.empty(resamples)
    for index in range(resamples):
        sample = np.sort(values[generator.integers(0, count, count)])
        start = sample[count - tail - 1]
        quantiles[index] = start + _pareto_quantile(sample[count - tail :] - start, rate)
    # An order statistic, not an interpolation: scores of any magnitude stay finite.
    limit = float(np.quantile(quantiles, _UPPER_LIMIT, method="higher"))
    return limit if math.isfinite(limit) else float(values.max())


def _pareto_quantile(excesses: NDArray[np.float64], rate: float) -> float:
    """The excess that a share `rate` of all excesses lies above; `excesses` ascending and not negative."""
    size = len(excesses)
    plotting = (np.arange(1, size + 1) - 0.35) / size
    mean = float(excesses.mean())
    weighted = float(((1.0 - plotting) * excesses).mean())
    spread = mean - 2.0 * weighted
    # Ties can leave a tail without width, or with a negative spread that no Pareto tail has.
    if mean <= 0.0 or spread <= 1e-9 * mean or weighted <= 0.0:
        return float(excesses[-1])
    shape = 2.0 - mean / spread
    scale = 2.0 * mean * weighted / spread
    if abs(shape) < _SHAPE_IS_ZERO:
        return -scale * math.log(rate)
    return scale / shape * math.expm1(-shape * math.log(rate))


def _keeps_promise(parts: int, rank: int, target: float, confidence: float) -> bool:
    # P(Bin(n, a) >= r) is the regularised incomplete beta function I_a(r, n - r + 1).
    return rank <= parts and bool(special.betainc(rank, parts - rank + 1, target) >= confidence)


def _check_rates(*rates: float) -> None:
    for rate in rates:
        if not 0.0 < rate < 1.0:
            raise ValueError(f"a rate and a confidence lie between 0 and 1, not at {rate}")


def _finite(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64).ravel()
    if values.size == 0:
        raise DataError("no scores of good parts to set a threshold from; give at least one good part")
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise DataError(
            f"{wrong.size} of {values.size} scores are not finite (the first is number {wrong[0]}); "
            "look at those images and at the mapping before a threshold can be set"
        )
    return values
