"""Charts are well-formed, stay in their frame and show the right amounts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.curves import Curve
from calibration.report.charts import curve_chart, histogram, log_ticks, series_class, series_dash, ticks


def bars(chart: str, kind: str) -> list[dict[str, str]]:
    return [part.attrib for part in ET.fromstring(chart).iter("rect") if part.get("class") == f"bar {kind}"]


def place_of_threshold(chart: str) -> float:
    (line,) = [part for part in ET.fromstring(chart).iter("line") if part.get("class") == "threshold"]
    return float(line.attrib["x1"])


def test_curves_lie_where_their_points_are() -> None:
    line = Curve(np.array([0.0, 0.0, 0.15, 0.3]), np.array([0.0, 0.5, 0.5, 1.0]))
    chart = ET.fromstring(curve_chart("Curves of <a>", "x", "y", [("a", 0, line), ("b", 8, line)], 0.3))
    assert (chart.get("role"), chart.get("aria-label")) == ("img", "Curves of <a>")
    first, second = chart.iter("polyline")
    assert (first.get("class"), first.get("stroke-dasharray")) == ("curve s0", None)
    assert (second.get("class"), second.get("stroke-dasharray")) == ("curve s1", "7 4")
    points = [tuple(map(float, point.split(","))) for point in first.attrib["points"].split()]
    (left, bottom), (_, middle), (half, _), (right, top) = points
    assert half == pytest.approx((left + right) / 2, abs=0.1)
    assert middle == pytest.approx((bottom + top) / 2, abs=0.1)
    assert 0 < left < right < 460
    assert 0 < top < bottom < 340


def test_series_differ_in_colour_or_dash() -> None:
    assert len({(series_class(number), series_dash(number)) for number in range(21)}) == 21


def test_bars_show_shares_on_either_side_of_the_threshold() -> None:
    good, bad = np.array([1.0, 1.0, 1.0, 2.0]), np.array([3.0, 4.0])
    chart = histogram("Scores", good, bad, 2.5)
    threshold = place_of_threshold(chart)
    heights = {kind: [float(bar["height"]) for bar in bars(chart, kind)] for kind in ("good", "bad")}
    assert heights["good"][0] == pytest.approx(3 * heights["good"][1], abs=0.05)
    assert heights["bad"] == pytest.approx([2 * heights["good"][1]] * 2, abs=0.05)
    assert all(float(bar["x"]) + float(bar["width"]) < threshold for bar in bars(chart, "good"))
    assert all(float(bar["x"]) > threshold for bar in bars(chart, "bad"))
    assert "log scale" not in chart


def test_wide_ranges_are_logarithmic() -> None:
    chart = histogram("Scores", np.array([0.01, 0.02]), np.array([5.0, 90.0]), 0.1)
    assert "score (log scale)" in chart
    assert [len(bars(chart, kind)) for kind in ("good", "bad")] == [2, 2]


SCORES = st.lists(st.floats(-1e6, 1e6, allow_nan=False), max_size=6)


@given(SCORES, SCORES, st.floats(-1e6, 1e6, allow_nan=False))
def test_any_scores_can_be_drawn(good: list[float], bad: list[float], threshold: float) -> None:
    chart = histogram("Scores", np.array(good), np.array(bad), threshold)
    for kind, scores in (("good", good), ("bad", bad)):
        found = bars(chart, kind)
        assert bool(found) == bool(scores)
        assert all(60 < float(bar["x"]) < 400 and float(bar["height"]) > 0 for bar in found)
    assert 60 < place_of_threshold(chart) < 400


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_few_and_within(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert 2 <= len(found) <= 8
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)


@given(st.floats(-8, 8), st.floats(1.05, 20))
def test_log_ticks_are_few_and_within(low: float, width: float) -> None:
    found = log_ticks(low, low + width)
    assert 1 <= len(found) <= 9
    assert all(low - 1e-6 <= np.log10(tick) <= low + width + 1e-6 for tick in found)
