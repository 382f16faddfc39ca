"""Curves and histograms as inline SVG; colours come from the page's style sheet, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.curves import Curve
from calibration.report.markup import Markup, element

#: Series with colours of their own in the style sheet; further ones repeat them with another dash.
COLOURS = 7
_DASHES = (None, "7 4", "2 3")
_BINS = 40
_LARGEST_RATIO = 1e9

_WIDTH, _HEIGHT = 460.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 12.0, 12.0, 44.0
_FLAT_WIDTH, _FLAT_HEIGHT, _FLAT_LEFT = 400.0, 210.0, 68.0


@dataclass(frozen=True)
class _Frame:
    """The plotting area and the ranges of its axes."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = _LEFT

    def across(self, value: float) -> float:
        low, high = self.x
        return self.left + (value - low) / (high - low) * (self.width - self.left - _RIGHT)

    def up(self, value: float) -> float:
        low, high = self.y
        return self.height - _BOTTOM - (value - low) / (high - low) * (self.height - _TOP - _BOTTOM)


def series_class(number: int) -> str:
    """The style class of a series' colour."""
    return f"s{number % COLOURS}"


def series_dash(number: int) -> str | None:
    """The dashes of a series' line, None for a solid one."""
    return _DASHES[number // COLOURS % len(_DASHES)]


def curve_chart(
    title: str, x_label: str, y_label: str, curves: Sequence[tuple[str, int, Curve]], x_limit: float = 1.0
) -> Markup:
    """Curves in one chart; y runs from 0 to 1.

    Args:
        title: For those who can't see it.
        x_label: Of the axis.
        y_label: Of the axis.
        curves: Name, number of the series and curve.
        x_limit: End of the x axis.
    """
    frame = _Frame(_WIDTH, _HEIGHT, (0.0, x_limit), (0.0, 1.0))
    parts = _axes(frame, ticks(0.0, x_limit), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], x_label, y_label)
    for name, number, curve in curves:
        points = " ".join(
            f"{frame.across(float(x)):.1f},{frame.up(float(y)):.1f}" for x, y in zip(curve.x, curve.y, strict=True)
        )
        line = element(
            "polyline",
            element("title", name),
            points=points,
            class_=f"curve {series_class(number)}",
            stroke_dasharray=series_dash(number),
        )
        parts.append(line)
    return _svg(frame, title, parts)


def histogram(title: str, good: NDArray[np.float64], bad: NDArray[np.float64], threshold: float) -> Markup:
    """Scores of good parts above the axis, of defective ones below it, with the threshold.

    Each side shows shares of its own class at the same scale. The axis is logarithmic where scores span more than a
    decade.

    Args:
        title: For those who can't see it.
        good: Finite scores, (N,).
        bad: Finite scores, (M,); one of the two may be empty.
        threshold: The recipe's.
    """
    every = np.concatenate([good, bad, [threshold]])
    low, high = float(every.min()), float(every.max())
    logarithmic = 10 * low < high < _LARGEST_RATIO * low
    low, high = _widened(math.log10(low), math.log10(high)) if logarithmic else _widened(low, high)
    edges = np.linspace(low, high, _BINS + 1)
    shares = []
    for scores in (good, bad):
        counts, _ = np.histogram(np.log10(scores) if logarithmic else scores, edges)
        shares.append(counts / max(1, scores.size))
    top = max(1e-9, max(float(share.max()) for share in shares)) * 1.15
    frame = _Frame(_FLAT_WIDTH, _FLAT_HEIGHT, (low, high), (-top, top), _FLAT_LEFT)
    labels = {math.log10(value): value for value in log_ticks(low, high)} if logarithmic else None
    parts = _axes(frame, labels or ticks(low, high), [], "score" + (" (log scale)" if logarithmic else ""), "")
    zero = frame.up(0.0)
    for share, kind, sign in zip(shares, ("good", "bad"), (1.0, -1.0), strict=True):
        for first, last, value in zip(edges[:-1].tolist(), edges[1:].tolist(), share.tolist(), strict=True):
            if value > 0:
                end = frame.up(sign * value)
                parts.append(
                    element(
                        "rect",
                        x=frame.across(first) + 0.5,
                        y=min(zero, end),
                        width=frame.across(last) - frame.across(first) - 1.0,
                        height=abs(end - zero),
                        class_=f"bar {kind}",
                    )
                )
    parts.append(element("line", x1=_FLAT_LEFT, x2=frame.width - _RIGHT, y1=zero, y2=zero, class_="axis"))
    place = frame.across(math.log10(threshold) if logarithmic else threshold)
    parts.append(element("line", x1=place, x2=place, y1=_TOP, y2=frame.height - _BOTTOM, class_="threshold"))
    right = place > frame.width * 0.7
    parts.append(
        element(
            "text",
            "threshold",
            x=place + (-5 if right else 5),
            y=_TOP + 9,
            text_anchor="end" if right else "start",
            class_="threshold-label",
        )
    )
    for words, y in (("good", zero - 6), ("defective", zero + 15)):
        parts.append(element("text", words, x=8, y=y, class_="tick"))
    return _svg(frame, title, parts)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers in a range, about so many.

    >>> ticks(0.0, 0.3)
    [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    >>> ticks(3.0, 47.0)
    [10.0, 20.0, 30.0, 40.0]
    """
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= about + 1.5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range of powers of ten: 1, 2, 5 of each decade where there are few, else the decades.

    >>> log_ticks(-1.2, 0.8)
    [0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
    >>> log_ticks(0.0, 4.0)
    [1.0, 10.0, 100.0, 1000.0, 10000.0]
    """
    factors = (1, 2, 5) if high - low < 2.2 else (1,)
    every = math.ceil((high - low) / 8)
    found = [
        float(f"{factor * 10.0**power:.6g}")
        for power in range(math.floor(low), math.ceil(high) + 1)
        if power % every == 0
        for factor in factors
    ]
    return [value for value in found if low - 1e-9 <= math.log10(value) <= high + 1e-9]


def _widened(low: float, high: float) -> tuple[float, float]:
    """The range with a little room at both ends, never empty."""
    size = max(abs(low), abs(high))
    room = max(0.03 * (high - low), 1e-3 * size) if size > 1e-100 else 1.0
    return low - room, high + room


def _axes(
    frame: _Frame, x_ticks: Sequence[float] | dict[float, float], y_ticks: Sequence[float], x_label: str, y_label: str
) -> list[Markup]:
    """Grid, ticks and labels; a dict of x ticks gives the numbers to write at places."""
    bottom, right = frame.height - _BOTTOM, frame.width - _RIGHT
    written = x_ticks if isinstance(x_ticks, dict) else {value: value for value in x_ticks}
    parts = []
    for value, number in written.items():
        x = frame.across(value)
        parts.append(element("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="grid"))
        parts.append(element("text", f"{number:g}", x=x, y=bottom + 16, text_anchor="middle", class_="tick"))
    for value in y_ticks:
        y = frame.up(value)
        parts.append(element("line", x1=frame.left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{value:g}", x=frame.left - 8, y=y + 4, text_anchor="end", class_="tick"))
    parts.append(element("line", x1=frame.left, x2=right, y1=bottom, y2=bottom, class_="axis"))
    middle = (frame.left + right) / 2
    parts.append(element("text", x_label, x=middle, y=frame.height - 8, text_anchor="middle", class_="label"))
    if y_label:
        y = (_TOP + bottom) / 2
        turned = f"rotate(-90 12 {y:.0f})"
        parts.append(element("text", y_label, x=12, y=y, transform=turned, text_anchor="middle", class_="label"))
    return parts


def _svg(frame: _Frame, title: str, parts: Sequence[Markup]) -> Markup:
    box = f"0 0 {frame.width:.0f} {frame.height:.0f}"
    return element("svg", *parts, viewBox=box, role="img", aria_label=title, class_="chart")
