"""Distances to simple shapes, from which the part, its engraving and its defects are made.

Lengths are in the unit of the part (see `inspector.cameras.conveyor.part`), so that everything scales with the
frame. A distance is negative inside of a shape.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Points = Sequence[tuple[float, float]]

#: Strokes of the engraved characters in a cell of 1 x 1.6 (y downwards).
_STROKES: dict[str, tuple[Points, ...]] = {
    "K": (((0, 0), (0, 1.6)), ((0.9, 0), (0, 0.95)), ((0.3, 0.65), (0.95, 1.6))),
    "V": (((0, 0), (0.48, 1.6), (0.96, 0)),),
    "2": (((0.03, 0.4), (0.15, 0.12), (0.45, 0), (0.75, 0.12), (0.87, 0.42), (0.75, 0.75), (0, 1.6), (0.92, 1.6)),),
    "7": (((0, 0), (0.92, 0), (0.35, 1.6)),),
    "4": (((0.72, 1.6), (0.72, 0), (0, 1.12), (0.98, 1.12)),),
    "-": (((0.15, 0.85), (0.75, 0.85)),),
}


def circle(x: Field, y: Field, centre: tuple[float, float], radius: float) -> Field:
    """Distance from a circle.

    Args:
        x: Coordinates to the right, any shape.
        y: Coordinates downwards, of a shape that broadcasts with `x`.
        centre: Of the circle.
        radius: Of the circle.

    Returns:
        float32 of the broadcast shape.
    """
    return np.asarray(np.hypot(x - centre[0], y - centre[1]) - radius, dtype=np.float32)


def rounded_box(x: Field, y: Field, centre: tuple[float, float], half: tuple[float, float], radius: float) -> Field:
    """Distance from a rectangle with rounded corners.

    Args:
        x: Coordinates to the right, any shape.
        y: Coordinates downwards, of a shape that broadcasts with `x`.
        centre: Of the rectangle.
        half: Half of its width and height, corners included.
        radius: Of the corners.

    Returns:
        float32 of the broadcast shape.
    """
    over_x = np.abs(x - centre[0]) - (half[0] - radius)
    over_y = np.abs(y - centre[1]) - (half[1] - radius)
    outside = np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0))
    inside = np.minimum(np.maximum(over_x, over_y), 0)
    return np.asarray(outside + inside - radius, dtype=np.float32)


def polyline(x: Field, y: Field, points: Points) -> Field:
    """Distance from a chain of segments; never negative.

    Args:
        x: Coordinates to the right, any shape.
        y: Coordinates downwards, of a shape that broadcasts with `x`.
        points: At least two, in order.

    Returns:
        float32 of the broadcast shape.

    >>> x, y = np.array([1, 5], np.float32), np.array([2, 0], np.float32)
    >>> polyline(x, y, [(0, 0), (4, 0)]).tolist()
    [2.0, 1.0]
    """
    nearest = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, dtype=np.float32)
    for (ax, ay), (bx, by) in itertools.pairwise(points):
        dx, dy = bx - ax, by - ay
        square = max(dx * dx + dy * dy, 1e-12)
        share = np.clip((x - ax) * (dx / square) + (y - ay) * (dy / square), 0, 1)
        off_x, off_y = share * -dx + (x - ax), share * -dy + (y - ay)
        np.minimum(nearest, off_x * off_x + off_y * off_y, out=nearest)
    return np.sqrt(nearest)


def lettering(text: str, centre: tuple[float, float], height: float) -> list[Points]:
    """The strokes of a single-line engraving, as an engraving machine cuts it.

    Args:
        text: Of the characters K, V, 2, 4, 7, -, and space.
        centre: Of the line of text.
        height: Of the characters.

    Returns:
        Chains of points, one for each stroke.
    """
    unit = height / 1.6
    advance = 1.45 * unit
    left = centre[0] - (len(text) * advance - 0.45 * unit) / 2
    top = centre[1] - height / 2
    return [
        [(left + place * advance + px * unit, top + py * unit) for px, py in stroke]
        for place, character in enumerate(text)
        if character != " "
        for stroke in _STROKES[character]
    ]


def smooth_step(share: Field) -> Field:
    """From 0 to 1 without corners, for a share that is limited to 0 to 1."""
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), dtype=np.float32)
