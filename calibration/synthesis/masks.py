"""Where a synthetic defect lies: the mask source M of F2PAD's eq. 16, generated or taken from real masks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.domain.frame import Mask

_Points = NDArray[np.float64]

#: Corners of a generated contour.
_CORNERS = 96
#: Longest side of a generated scratch, in units of the image's shorter side.
_LONGEST = 0.8


def random_mask(
    rng: np.random.Generator, size_px: tuple[int, int], area_px: float, sources: Sequence[Mask] = ()
) -> Mask:
    """One connected or compound region at a random place.

    Args:
        rng: Source of chance.
        size_px: Height and width of the image.
        area_px: Area aimed at; the edge of the image may cut some of it off.
        sources: Real masks to take the shape from (the paper takes those of MVTec AD); without them the shape is
            a blob, a polygon or a scratch.

    Returns:
        bool, (height, width), at least one pixel set.

    >>> mask = random_mask(np.random.default_rng(1), (60, 80), 300.0)
    >>> mask.shape, bool(200 < mask.sum() < 400)
    ((60, 80), True)
    """
    if sources:
        shape = _scaled(rng, sources[int(rng.integers(len(sources)))], size_px, area_px)
    else:
        make = (_blob, _polygon, _scratch)[int(rng.integers(3))]
        shape = make(rng, size_px, area_px)
    return _placed(rng, shape, size_px)


def _blob(rng: np.random.Generator, size_px: tuple[int, int], area_px: float) -> Mask:
    """A smooth closed contour: an ellipse with a few waves along its edge."""
    angle = np.linspace(0.0, 2.0 * np.pi, _CORNERS, endpoint=False)
    radius = np.ones(_CORNERS)
    for wave in range(2, 7):
        radius += rng.uniform(0.0, 0.5 / wave) * np.cos(wave * angle + rng.uniform(0.0, 2.0 * np.pi))
    points = radius[:, None] * np.stack([np.cos(angle), rng.uniform(0.4, 1.0) * np.sin(angle)], axis=1)
    return _filled(_turned(rng, points), area_px)


def _polygon(rng: np.random.Generator, size_px: tuple[int, int], area_px: float) -> Mask:
    """A chip with straight edges: corners at random angles and distances around a centre."""
    corners = int(rng.integers(3, 8))
    angle = 2.0 * np.pi * (np.arange(corners) + rng.uniform(0.0, 0.7, corners)) / corners
    radius = rng.uniform(0.5, 1.0, corners)
    points = radius[:, None] * np.stack([np.cos(angle), rng.uniform(0.5, 1.0) * np.sin(angle)], axis=1)
    return _filled(_turned(rng, points), area_px)


def _scratch(rng: np.random.Generator, size_px: tuple[int, int], area_px: float) -> Mask:
    """A long thin bent line, 1 px wide or more."""
    width = max(1.0, np.sqrt(area_px / rng.uniform(8.0, 30.0)))
    length = min(area_px / width, _LONGEST * min(size_px))
    width = max(1, round(area_px / length))
    heading = rng.uniform(0.0, 2.0 * np.pi) + np.cumsum(rng.normal(0.0, 0.15, 12))
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / 12
    points = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    points -= points.min(axis=0) - width
    canvas = np.zeros(tuple(np.ceil(points.max(axis=0)[::-1]).astype(int) + width + 1), np.uint8)
    cv2.polylines(canvas, [np.round(points).astype(np.int32)], isClosed=False, color=1, thickness=width)
    return canvas > 0


def _turned(rng: np.random.Generator, points: _Points) -> _Points:
    angle = rng.uniform(0.0, 2.0 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(points @ turn.T)


def _filled(points: _Points, area_px: float) -> Mask:
    """The inside of a contour, scaled to the area."""
    x, y = points.T
    area = 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))
    points = points * np.sqrt(area_px / area)
    points -= points.min(axis=0) - 1.0
    canvas = np.zeros(tuple(np.ceil(points.max(axis=0)[::-1]).astype(int) + 2), np.uint8)
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], color=1)
    return canvas > 0


def _scaled(rng: np.random.Generator, source: Mask, size_px: tuple[int, int], area_px: float) -> Mask:
    """A real mask, cut to what it marks, flipped at random and resized to the area ("randomly resized")."""
    shape = _cut(source)
    if rng.random() < 0.5:
        shape = shape[:, ::-1]
    if rng.random() < 0.5:
        shape = shape[::-1]
    scale = np.sqrt(area_px / shape.sum())
    height, width = (max(1, round(side * scale)) for side in shape.shape)
    height, width = min(height, size_px[0]), min(width, size_px[1])
    small = cv2.resize(shape.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
    return small if small.any() else np.ones((1, 1), np.bool_)


def _cut(mask: Mask) -> Mask:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _placed(rng: np.random.Generator, shape: Mask, size_px: tuple[int, int]) -> Mask:
    """The shape somewhere in the image, whole where it fits; what is larger than the image is cut off."""
    shape = _cut(shape)[: size_px[0], : size_px[1]]
    if not shape.any():
        shape = np.ones((1, 1), np.bool_)
    mask = np.zeros(size_px, np.bool_)
    top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(size_px, shape.shape, strict=True))
    mask[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    return mask
