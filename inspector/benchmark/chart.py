"""The chart of a benchmark: latency over the offered rate, with the deadline, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from inspector.benchmark.line import LineRun

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 120, 50, 60
_SERIES = (("p50_ms", "median", "#2a78b8"), ("p99_ms", "99 %", "#c2631a"), ("p999_ms", "99.9 %", "#8a3fa0"))
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.small{font-size:12px;fill:#555}.grid{stroke:#ddd}"
    ".title{font-size:15px;font-weight:600}.deadline{stroke:#b00020;stroke-dasharray:6 4}"
)


def latency_chart(runs: Sequence[LineRun], deadline_ms: float, title: str) -> str:
    """An SVG document.

    Args:
        runs: At least one, each with an offered rate.
        deadline_ms: Drawn as a line.
        title: Above the chart.
    """
    runs = sorted(runs, key=lambda run: run.offered or 0.0)
    rates = [run.offered or 0.0 for run in runs]
    values = [getattr(run.latency, name) for run in runs for name, _, _ in _SERIES]
    low, high = _decades(min(values), max(*values, deadline_ms))

    def x(rate: float) -> float:
        span = max(rates) - min(rates)
        share = (rate - min(rates)) / span if span else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(value_ms: float) -> float:
        share = (math.log10(max(value_ms, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    right = _WIDTH - _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text class="title" x="{_LEFT}" y="26">{escape(title)}</text>',
    ]
    for value in _ticks(low, high):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text class="small" x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for rate in rates:
        parts.append(f'<text class="small" x="{x(rate):.1f}" y="{_HEIGHT - 38}" text-anchor="middle">{rate:g}</text>')
    parts.append(
        f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 14}" text-anchor="middle">triggers a second</text>'
        f'<text x="18" y="{(_TOP + _HEIGHT - _BOTTOM) / 2:.0f}" text-anchor="middle" transform="rotate(-90 18 '
        f'{(_TOP + _HEIGHT - _BOTTOM) / 2:.0f})">trigger to verdict, ms</text>'
    )
    labels = [(y(deadline_ms), "deadline", "#b00020")]
    parts.append(
        f'<line class="deadline" x1="{_LEFT}" x2="{right}" y1="{y(deadline_ms):.1f}" y2="{y(deadline_ms):.1f}"/>'
    )
    for name, label, colour in _SERIES:
        points = [(x(run.offered or 0.0), y(getattr(run.latency, name))) for run in runs]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}"/>' for px, py in points]
        labels.append((points[-1][1], label, colour))
    for place, label, colour in _spread(labels):
        parts.append(f'<text x="{right + 10}" y="{place + 4:.1f}" style="fill:{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _decades(low: float, high: float) -> tuple[float, float]:
    """Powers of ten around two positive numbers.

    >>> _decades(3.0, 450.0)
    (1.0, 1000.0)
    """
    below, above = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return 10.0**below, 10.0 ** max(above, below + 1)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade.

    >>> _ticks(1.0, 10.0)
    [1.0, 2.0, 5.0, 10.0]
    """
    found = [factor * 10.0**power for power in range(-3, 7) for factor in (1, 2, 5)]
    return [value for value in found if low <= value <= high]


def _spread(labels: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Labels from top to bottom, moved down where they would cover each other."""
    placed: list[tuple[float, str, str]] = []
    for place, label, colour in sorted(labels):
        former = placed[-1][0] if placed else -math.inf
        placed.append((max(place, former + 16), label, colour))
    return placed
