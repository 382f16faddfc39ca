"""The false-alarm budget holds, drift is found soon, and defective parts are no drift."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.domain.drift import MEDIAN_PARTS, DriftMonitor, RankUrn
from inspector.domain.threshold import conformal_p_value

Scores = Callable[[], float]


def good_parts(generator: np.random.Generator, factor: float = 1.0) -> Scores:
    """Scores that spread by a tenth of their mean."""
    return lambda: float(generator.normal(1.0, 0.1)) * factor


def calibrated(scores: Scores, parts: int = 100) -> tuple[list[float], float]:
    """Calibration scores, and a threshold a little beyond them."""
    drawn = sorted(scores() for _ in range(parts))
    return drawn, drawn[-1] * 1.02


def passes(monitor: DriftMonitor, scores: Scores, threshold: float, parts: int) -> int | None:
    """Feeds what passes, until an alarm.

    Returns:
        Number of passed parts up to the alarm, None without one.
    """
    for number in range(1, parts + 1):
        score = scores()
        while score > threshold:
            score = scores()
        monitor.passed(score)
        if monitor.alarm:
            return number
    return None


@given(
    st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0, 7.0]), max_size=20).map(sorted),
    st.lists(st.sampled_from([-1.0, 0.0, 1.0, 1.2, 2.0, 9.0]), max_size=30),
    st.integers(0, 1000),
)
def test_urn_ranks_as_plain_counting_does(sample: list[float], values: list[float], seed: int) -> None:
    # Against a list of all that came, place among equals drawn in the same way.
    urn, draw = RankUrn(sample, random.Random(seed)), random.Random(seed)
    gaps = [1] * (len(sample) + 1)
    for value in values:
        first = sum(number < value for number in sample)
        last = sum(number <= value for number in sample)
        place = sum(gaps[:first]) + draw.random() * sum(gaps[first : last + 1])
        assert urn.rank(value) == place / sum(gaps)
        fell_into = next(gap for gap in range(len(gaps)) if place < sum(gaps[: gap + 1]))
        gaps[fell_into] += 1


@pytest.mark.parametrize("sample_size", [0, 1, 10, 200])
def test_ranks_of_exchangeable_numbers_are_uniform_and_independent(sample_size: int) -> None:
    # Over many calibrations, also tiny ones: means, spreads and correlations of the first five ranks.
    generator = np.random.default_rng(5)
    ranks = []
    for seed in range(4000):
        urn = RankUrn(sorted(generator.normal(size=sample_size)), random.Random(seed))
        ranks.append([urn.rank(float(value)) for value in generator.normal(size=5)])
    table = np.asarray(ranks)
    assert table.mean(axis=0) == pytest.approx(np.full(5, 0.5), abs=0.02)
    assert table.var(axis=0) == pytest.approx(np.full(5, 1 / 12), abs=0.006)
    assert np.corrcoef(table.T) == pytest.approx(np.eye(5), abs=0.06)


@pytest.mark.parametrize("sample_size", [5, 50, 400])
def test_false_alarms_keep_to_the_budget(sample_size: int) -> None:
    # 150 lines with calibrations of their own, good parts only. The budget promises 60 parts on average to the first
    # alarm; runs are cut at 20 budgets, which only shortens the average.
    budget = 60
    lengths = []
    for seed in range(150):
        scores = good_parts(np.random.default_rng(seed))
        calibration, _ = calibrated(scores, sample_size)
        threshold = calibration[-1]  # one of the scores, as a tolerance limit is
        monitor = DriftMonitor(calibration, threshold, budget_parts=budget, seed=seed)
        lengths.append(passes(monitor, scores, threshold, 20 * budget) or 20 * budget)
    assert np.mean(lengths) >= budget
    # The share of alarms within the first budget's parts is at most one, by the same martingale; far fewer in fact.
    assert np.mean(np.asarray(lengths) < budget) < 0.25


class VerdictRanks:
    """Ranks among the calibration alone, as the verdicts' p-values are."""

    def __init__(self, sample: list[float]) -> None:
        self._sample = sample

    def rank(self, value: float) -> float:
        return 1.0 - conformal_p_value(value, self._sample)


@pytest.mark.parametrize("ranks", ["among all parts", "among the calibration"])
def test_good_parts_raise_no_alarm_in_a_long_run_where_the_verdicts_p_values_would(ranks: str) -> None:
    # Twelve lines, each calibrated on 20 parts: against those alone, the sample's own luck looks like drift for ever.
    alarms = 0
    for seed in range(12):
        scores = good_parts(np.random.default_rng(seed))
        calibration, threshold = calibrated(scores, 20)
        monitor = DriftMonitor(calibration, threshold, seed=seed)
        if ranks == "among the calibration":
            urn: Any = VerdictRanks(calibration)
            monitor._urn = urn
        alarms += passes(monitor, scores, threshold, 5000) is not None
        assert monitor.median_ratio == pytest.approx(1.0, abs=0.1)
    if ranks == "among all parts":
        assert alarms == 0
    else:
        assert alarms >= 3


@pytest.mark.parametrize(("factor", "usual", "longest"), [(1.1, 150, 400), (1.3, 80, 120), (0.9, 150, 400)])
def test_scores_that_moved_are_found(factor: float, usual: int, longest: int) -> None:
    delays = []
    for seed in range(15):
        generator = np.random.default_rng(seed)
        calibration, threshold = calibrated(good_parts(generator))
        monitor = DriftMonitor(calibration, threshold, seed=seed)
        assert passes(monitor, good_parts(generator), threshold, 1000) is None
        delays.append(passes(monitor, good_parts(generator, factor), threshold, longest))
        assert (monitor.median_ratio > 1.0) == (factor > 1.0)
    assert None not in delays
    assert np.median([delay for delay in delays if delay is not None]) <= usual


def test_a_slow_drift_is_found_before_false_rejects_climb() -> None:
    # A hundredth for every 1000 parts; the test must not get used to it.
    generator = np.random.default_rng(8)
    scores = good_parts(generator)
    calibration, threshold = calibrated(scores, 300)
    monitor = DriftMonitor(calibration, threshold)
    assert passes(monitor, scores, threshold, 1000) is None
    rejects = part = 0
    while not monitor.alarm and part < 20_000:
        part += 1
        score = scores() * (1 + 0.01 * part / 1000)
        if score <= threshold:
            monitor.passed(score)
        else:
            rejects += 1
    assert monitor.alarm
    assert 1.0 < monitor.median_ratio < 1.15
    assert rejects / part < 0.01


def test_an_alarm_stands_and_the_median_tells_that_the_change_is_gone() -> None:
    generator = np.random.default_rng(4)
    scores = good_parts(generator)
    calibration, threshold = calibrated(scores)
    monitor = DriftMonitor(calibration, threshold)
    assert passes(monitor, good_parts(generator, 1.2), threshold, 500) is not None
    for _ in range(3000):
        monitor.passed(min(scores(), threshold))
    assert monitor.alarm
    assert monitor.median_ratio == pytest.approx(1.0, abs=0.03)


def test_the_calibrations_rejects_are_no_reference() -> None:
    # The threshold lies within the calibration: parts that pass can only be compared with those that would.
    generator = np.random.default_rng(6)
    scores = good_parts(generator)
    calibration = sorted(scores() for _ in range(200))
    threshold = calibration[140]
    monitor = DriftMonitor(calibration, threshold)
    assert passes(monitor, scores, threshold, 5000) is None
    assert monitor.median_ratio == pytest.approx(1.0, abs=0.03)


def test_equal_scores_are_no_drift() -> None:
    monitor = DriftMonitor([1.0] * 50, 2.0)
    assert passes(monitor, lambda: 1.0, 2.0, 3000) is None
    assert monitor.median_ratio == 1.0


@pytest.mark.parametrize("calibration", [[], [3.0, 4.0]])
def test_without_a_reference_nothing_is_said(calibration: list[float]) -> None:
    monitor = DriftMonitor(calibration, 2.0)
    assert math.isnan(monitor.median_ratio)
    assert passes(monitor, lambda: 1.0, 2.0, 3000) is None
    assert math.isnan(monitor.median_ratio)


def test_median_is_that_of_the_last_parts() -> None:
    generator = np.random.default_rng(7)
    calibration = [0.5, 1.0, 1.5]
    monitor = DriftMonitor(calibration, 3.0)
    scores = generator.uniform(0, 3, 700).tolist()
    for number, score in enumerate(scores, 1):
        monitor.passed(score)
        if number % 50 == 0:
            assert monitor.median_ratio == pytest.approx(np.median(scores[max(0, number - MEDIAN_PARTS) : number]))
