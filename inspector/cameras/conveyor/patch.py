"""The piece of a part's surface that a defect changes: where it lies, and how shapes are drawn into it.

Places and sizes are lengths of the part, so that a defect looks the same in frames of every size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from inspector.cameras.conveyor.lighting import LIGHT
from inspector.cameras.conveyor.part import BORE, HOLES, PART_HALF
from inspector.cameras.conveyor.scene import Scene
from inspector.cameras.conveyor.shapes import Field, Points
from inspector.cameras.conveyor.surface import Surface, Textures

#: Draws of a place or a line before the last one is taken as it is; far more than are needed.
TRIES = 60


@dataclass(frozen=True)
class Canvas:
    """One part on which a defect is drawn.

    Attributes:
        scene: The station.
        surface: The intact surface of the whole canvas.
        textures: Of the part, for surfaces that the defect lays open.
        scale: How much larger than the smallest ones of their kind the defects are, 1 and up.
    """

    scene: Scene
    surface: Surface
    textures: Textures
    scale: float = 1.0


@dataclass
class Patch:
    """The piece of the surface that a defect changes.

    Attributes:
        rows: Of the canvas.
        columns: Of the canvas.
        surface: A copy of the piece, to be changed.
        x: Coordinate to the right of each fine column, (1, w); "fine" grids resolve the pixels further.
        y: Coordinate downwards of each fine row, (h, 1).
        fine: Fine columns and rows for each pixel.
        scale_px: The unit of lengths in pixels.
        solid: 1 on the metal, 0 in a hole.
    """

    rows: slice
    columns: slice
    surface: Surface
    x: Field
    y: Field
    fine: int
    scale_px: float
    solid: Field

    def settle(self, field: Field) -> Field:
        """A fine field at the resolution of the surface."""
        size = (self.columns.stop - self.columns.start, self.rows.stop - self.rows.start)
        return np.asarray(cv2.resize(np.asarray(field, np.float32), size, interpolation=cv2.INTER_AREA), np.float32)

    def blur(self, field: Field, deviation: float) -> Field:
        """A fine field, blurred by a length."""
        sigma = max(0.3, deviation * self.scale_px * self.fine)
        return np.asarray(cv2.GaussianBlur(np.asarray(field, np.float32), (0, 0), sigma), np.float32)

    def slopes(self, height: Field) -> tuple[Field, Field]:
        """Slopes to the right and downwards of a fine height, at the resolution of the surface."""
        down, right = np.gradient(np.asarray(height, np.float32))
        steps = self.scale_px * self.fine
        return self.settle(right * steps), self.settle(down * steps)

    def shade(self, cover: Field, reach: float, darkness: float) -> None:
        """Throw the shadow of something raised onto the surface, before it is drawn itself.

        Args:
            cover: Where it lies, 0 to 1, on the fine grid.
            reach: Length of the shadow.
            darkness: Of the shadow, 0 to 1.
        """
        shift = reach * self.scale_px * self.fine
        away = np.array([[1, 0, -LIGHT[0] * shift], [0, 1, -LIGHT[1] * shift]])
        size = (cover.shape[1], cover.shape[0])
        moved = np.asarray(cv2.warpAffine(np.asarray(cover, np.float32), away, size), np.float32)
        soft = np.maximum(self.blur(moved, 0.3 * reach), self.blur(cover, 0.35 * reach) * 0.7)
        self.surface.albedo *= 1 - darkness * self.settle(soft)


def on_metal(points: Points, margin: float) -> NDArray[np.bool_]:
    """Which points lie on the upper face of the metal, a margin away from its outline and from every hole.

    >>> on_metal([(0.0, 0.0), (0.0, 0.2)], 0.02).tolist()
    [False, True]
    """
    x, y = np.array(points).T
    inside = (np.abs(x) < PART_HALF[0] - margin) & (np.abs(y) < PART_HALF[1] - margin)
    clear = np.hypot(x, y) > BORE + margin
    for hole in HOLES:
        clear &= np.hypot(x - hole.x, y - hole.y) > hole.radius + margin
    return np.asarray(inside & clear)


def draw_place(generator: Generator, margin: float) -> tuple[float, float]:
    """A place on the upper face of the metal, a margin away from its outline and from every hole."""
    place = (0.0, 0.0)
    for _ in range(TRIES):
        place = (generator.uniform(-1, 1) * PART_HALF[0], generator.uniform(-1, 1) * PART_HALF[1])
        if on_metal([place], margin)[0]:
            break
    return place


def draw_path(
    generator: Generator, length: float, *, steps: int, bend: float, wander: float
) -> list[tuple[float, float]]:
    """A bent line from a place on the metal in any direction.

    Args:
        generator: Draws the line.
        length: Of the line.
        steps: Segments of equal length.
        bend: Turn from each segment to the next, radians.
        wander: Deviation of further, random turns, radians.

    Returns:
        steps + 1 points; they may leave the metal.
    """
    points = [draw_place(generator, 0.02)]
    angle = generator.uniform(0, 2 * math.pi)
    for _ in range(steps):
        x, y = points[-1]
        points.append((x + length / steps * math.cos(angle), y + length / steps * math.sin(angle)))
        angle += bend + wander * generator.normal()
    return points


def cut_patch(canvas: Canvas, points: Points, margin: float) -> Patch:
    """The piece of the canvas around some points.

    Args:
        canvas: The part.
        points: At least one.
        margin: Around them.

    Returns:
        The piece with a copy of the intact surface; at least one pixel, never beyond the canvas.
    """
    scale, window = canvas.scene.scale_px, canvas.scene.window
    xs, ys = [point[0] for point in points], [point[1] for point in points]

    def span(low: float, high: float, first: int, count: int) -> slice:
        begin = math.floor((low - margin) * scale) - first
        end = math.ceil((high + margin) * scale) - first + 1
        begin = min(max(begin, 0), count - 1)
        return slice(begin, min(max(end, begin + 1), count))

    columns = span(min(xs), max(xs), window.left, window.width)
    rows = span(min(ys), max(ys), window.top, window.height)
    fine = max(1, min(4, round(900 / scale)))

    def coordinates(where: slice, first: int) -> Field:
        steps = np.arange((where.stop - where.start) * fine, dtype=np.float32)
        return np.asarray(((steps + 0.5) / fine - 0.5 + where.start + first) / scale, np.float32)

    return Patch(
        rows,
        columns,
        canvas.surface.cut(rows, columns),
        coordinates(columns, window.left)[None],
        coordinates(rows, window.top)[:, None],
        fine,
        scale,
        canvas.scene.maps.solid[rows, columns],
    )


def ragged_spot(patch: Patch, place: tuple[float, float], radius: float, rough: float, generator: Generator) -> Field:
    """A ragged, stretched spot.

    Args:
        patch: Whose fine grid is used.
        place: Middle of the spot.
        radius: Mean radius.
        rough: Raggedness of the outline, 0 for an ellipse.
        generator: Draws the shape.

    Returns:
        float32, (h, w) of the fine grid: 1 in the middle, 0 on the outline, negative outside.
    """
    stretch, angle = 1 + 0.8 * generator.random(), generator.uniform(0, math.pi)
    x, y = patch.x - place[0], patch.y - place[1]
    along = (x * math.cos(angle) + y * math.sin(angle)) / math.sqrt(stretch)
    across = (y * math.cos(angle) - x * math.sin(angle)) * math.sqrt(stretch)
    around = np.arctan2(across, along)
    outline = np.ones_like(around)
    for order in range(2, 10):
        phase = generator.uniform(0, 2 * math.pi)
        outline += rough / order * generator.normal() * np.cos(order * around + phase)
    return np.asarray(1 - np.hypot(along, across) / (radius * np.clip(outline, 0.45, 1.6)), np.float32)
