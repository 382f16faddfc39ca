"""The chart of a soak: parts, memory and descriptors over time, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from inspector.benchmark.soak_account import Samples

_WIDTH, _PANEL, _GAP, _TOP, _BOTTOM = 720, 150, 34, 56, 44
_LEFT, _RIGHT = 80, 110
_COLOURS = {"gate": "#2a78b8", "camera": "#c2631a", "worker": "#8a3fa0", "archive": "#3a7d44", "parts": "#2a78b8"}
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.small{font-size:12px;fill:#555}.grid{stroke:#ddd}"
    ".title{font-size:15px;font-weight:600}"
)

Series = Mapping[str, Sequence[float | None]]


def soak_chart(samples: Samples, title: str) -> str:
    """An SVG document with three panels above each other.

    Args:
        samples: At least one.
        title: Above the chart.
    """
    panels: list[tuple[str, Series]] = [
        ("parts, millions", {"parts": [parts / 1e6 for parts in samples.parts]}),
        ("memory, MB", samples.memory_mb),
        ("descriptors", samples.descriptors),
    ]
    height = _TOP + len(panels) * (_PANEL + _GAP) + _BOTTOM - _GAP
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="{_LEFT}" y="26">{escape(title)}</text>',
    ]
    for number, (name, series) in enumerate(panels):
        drawn += _panel(_TOP + number * (_PANEL + _GAP), name, samples.time_s, series)
    last_s = samples.time_s[-1]
    for share in (0, 0.25, 0.5, 0.75, 1):
        place = _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
        text = f'<text class="small" x="{place:.1f}" y="{height - 26}" text-anchor="middle">{share * last_s:.0f}</text>'
        drawn.append(text)
    drawn.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{height - 8}" text-anchor="middle">seconds</text>')
    return "\n".join([*drawn, "</svg>", ""])


def _panel(top: float, name: str, time_s: Sequence[float], series: Series) -> list[str]:
    """One panel, its axis from 0 up."""
    highest = max((value for values in series.values() for value in values if value is not None), default=0.0)
    full = _round_up(highest)
    right = _WIDTH - _RIGHT
    span_s = max(time_s[-1] - time_s[0], 1e-9)

    def y(value: float) -> float:
        return top + _PANEL * (1 - value / full)

    drawn = [f'<text x="{_LEFT}" y="{top - 8}">{escape(name)}</text>']
    for share in (0, 0.5, 1):
        line_y = y(share * full)
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{line_y:.1f}" y2="{line_y:.1f}"/>')
        drawn.append(
            f'<text class="small" x="{_LEFT - 8}" y="{line_y + 4:.1f}" text-anchor="end">{share * full:g}</text>'
        )
    labels: list[tuple[float, str]] = []
    for label, values in series.items():
        known = [(second, value) for second, value in zip(time_s, values, strict=True) if value is not None]
        if not known:
            continue
        points = " ".join(
            f"{_LEFT + (second - time_s[0]) / span_s * (right - _LEFT):.1f},{y(value):.1f}" for second, value in known
        )
        colour = _COLOURS.get(label, "#222")
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        labels.append((y(known[-1][1]), label))
    below = top - 16.0
    for place, label in sorted(labels):
        below = max(place, below + 15)
        colour = _COLOURS.get(label, "#222")
        drawn.append(f'<text x="{right + 10}" y="{below + 4:.1f}" style="fill:{colour}">{escape(label)}</text>')
    return drawn


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, ... that is not below.

    >>> [_round_up(value) for value in (0.0, 0.3, 41.0, 100.0)]
    [1.0, 0.5, 50.0, 100.0]
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** len(str(int(value))) / 1000 if value >= 1 else 1e-6
    while True:
        for factor in (1, 2, 5):
            if factor * power >= value:
                return round(factor * power, 9)
        power *= 10
