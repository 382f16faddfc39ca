"""Foreign bodies that lie on the part: chips, threads, crumbs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from inspector.cameras.conveyor.part import PART_HALF
from inspector.cameras.conveyor.patch import TRIES, Canvas, Patch, cut_patch, draw_path, draw_place, ragged_spot
from inspector.cameras.conveyor.shapes import Field, polyline

Colour = tuple[float, float, float]

_METAL: Colour = (1.01, 1.00, 0.97)
#: Colour without brightness, and albedo: white, red, blue, black.
_PLASTICS: tuple[tuple[Colour, float], ...] = (
    ((0.95, 1.02, 1.03), 0.75),
    ((2.40, 0.60, 0.50), 0.30),
    ((0.35, 0.90, 2.60), 0.28),
    ((1.00, 1.00, 1.00), 0.09),
)


def draw_foreign_body(canvas: Canvas, strength: float, generator: Generator) -> Patch:
    """A chip, a thread or a crumb."""
    choice = generator.random()
    if choice < 0.4:
        return _swarf(canvas, strength, generator)
    return _crumb(canvas, strength, generator) if choice < 0.75 else _thread(canvas, strength, generator)


def _swarf(canvas: Canvas, strength: float, generator: Generator) -> Patch:
    """A curled chip of metal."""
    radius = generator.uniform(0.012, 0.028) * min(strength, 1.4) * canvas.scale
    begin, sweep = generator.uniform(0, 2 * math.pi), generator.uniform(1.6, 4.8)
    place = draw_place(generator, 0.05)
    turns = np.linspace(0, 1, 14)
    grow = (
        1 + generator.uniform(-0.5, 0.9) * turns + generator.uniform(0, 0.25) * np.sin(turns * generator.uniform(3, 9))
    )
    angles = begin + sweep * turns
    points = [
        (place[0] + radius * g * math.cos(a), place[1] + radius * g * math.sin(a))
        for g, a in zip(grow.tolist(), angles.tolist(), strict=True)
    ]
    return _ribbon(canvas, points, generator.uniform(0.0030, 0.0060) * canvas.scale, 1.05, 0.95, _METAL)


def _thread(canvas: Canvas, strength: float, generator: Generator) -> Patch:
    """A bit of thread or cable."""
    for _ in range(TRIES):
        length = generator.uniform(0.07, 0.17) * min(strength, 1.4) * min(canvas.scale, 1.8)
        points = draw_path(generator, length, steps=11, bend=0.0, wander=0.27)
        if all(abs(x) < PART_HALF[0] - 0.02 and abs(y) < PART_HALF[1] - 0.02 for x, y in points):
            break
    colour, albedo = _PLASTICS[int(generator.integers(len(_PLASTICS)))]
    return _ribbon(canvas, points, generator.uniform(0.0026, 0.0040) * canvas.scale, albedo, 0.15, colour)


def _ribbon(
    canvas: Canvas, points: Sequence[tuple[float, float]], half: float, albedo: float, gloss: float, colour: Colour
) -> Patch:
    """Something long and round that lies on the part and throws a shadow."""
    half = max(half, 0.6 / canvas.scene.scale_px)
    patch = cut_patch(canvas, points, half + 0.035)
    distance = polyline(patch.x, patch.y, points)
    pixel = 1 / (patch.scale_px * patch.fine)
    cover = np.clip(0.5 + (half - distance) / pixel, 0, 1)
    patch.shade(cover, 0.009, 0.55)
    height = 0.75 * np.sqrt(np.maximum(1.1 * half**2 - distance**2, 0))
    slope_x, slope_y = patch.slopes(np.asarray(height, np.float32))
    _lay(patch, patch.settle(cover), slope_x, slope_y, albedo, gloss, colour)
    return patch


def _crumb(canvas: Canvas, strength: float, generator: Generator) -> Patch:
    """A crumb of plastic or rubber with broken facets."""
    radius = generator.uniform(0.013, 0.030) * min(strength, 1.4) * canvas.scale
    place = draw_place(generator, 0.025 + radius)
    patch = cut_patch(canvas, [place], 2.4 * radius + 0.03)
    inside = ragged_spot(patch, place, radius, 0.3, generator)
    x, y = (patch.x - place[0]) / radius, (patch.y - place[1]) / radius
    height = np.clip(inside * 2.5, 0, 1)
    for _ in range(4):
        # A facet cuts the dome.
        away = generator.uniform(0, 2 * math.pi)
        facet = generator.uniform(0.35, 0.8) - generator.uniform(0.3, 0.8) * (x * math.cos(away) + y * math.sin(away))
        height = np.minimum(height, np.maximum(facet, 0))
    cover = np.clip(0.5 + inside * (radius * patch.scale_px * patch.fine), 0, 1)
    patch.shade(cover, 0.014, 0.6)
    slope_x, slope_y = patch.slopes(patch.blur(height * (0.8 * radius), 0.06 * radius))
    colour, albedo = _PLASTICS[int(generator.integers(len(_PLASTICS)))]
    _lay(patch, patch.settle(cover), slope_x, slope_y, albedo, 0.25, colour)
    return patch


def _lay(
    patch: Patch, cover: Field, slope_x: Field, slope_y: Field, albedo: float, gloss: float, colour: Colour
) -> None:
    """Lay a body onto the surface."""
    surface = patch.surface
    surface.slope_x += cover * (slope_x - surface.slope_x)
    surface.slope_y += cover * (slope_y - surface.slope_y)
    surface.coat(cover, albedo, gloss, colour)
    np.maximum(surface.cover, cover, out=surface.cover)
