"""Damage to the part itself: scratch, dent, stain, and a hole that was not drilled."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from inspector.cameras.conveyor.part import HOLES, Hole, Window, part_maps
from inspector.cameras.conveyor.patch import (
    TRIES,
    Canvas,
    Patch,
    cut_patch,
    draw_path,
    draw_place,
    on_metal,
    ragged_spot,
)
from inspector.cameras.conveyor.scene import tint_of, turn_places
from inspector.cameras.conveyor.shapes import polyline, smooth_step
from inspector.cameras.conveyor.surface import apply_textures

_RUST = (1.45, 0.90, 0.50)
_OIL = (1.12, 1.00, 0.78)
_BARE = (1.01, 1.00, 0.97)


def draw_scratch(canvas: Canvas, strength: float, generator: Generator) -> Patch:
    """A scratch: a thin groove with a burr, bare and bright or dark with dirt."""
    for _ in range(TRIES):
        length = generator.uniform(0.09, 0.26) * min(canvas.scale, 1.8)
        points = draw_path(generator, length, steps=9, bend=generator.normal() * 1.3 * length / 9, wander=0.0)
        if on_metal(points, 0.012).mean() >= 0.85:
            break
    width = max(generator.uniform(0.0023, 0.0040) * min(strength, 1.5) * canvas.scale, 0.55 / canvas.scene.scale_px)
    patch = cut_patch(canvas, points, 0.02 * canvas.scale)
    distance = polyline(patch.x, patch.y, points)
    # Where along the scratch: it begins and ends gently, and the tool that made it pressed unevenly.
    dx, dy = points[-1][0] - points[0][0], points[-1][1] - points[0][1]
    along = np.clip(((patch.x - points[0][0]) * dx + (patch.y - points[0][1]) * dy) / (dx * dx + dy * dy), 0, 1)
    phase = generator.uniform(0, 2 * math.pi)
    press = (1 - np.abs(2 * along - 1) ** 6) * (0.85 + 0.15 * np.sin(phase + along * length * 70))
    reach = width * (0.75 + 0.25 * press)
    groove = np.exp(-((distance / reach) ** 2)) * press
    burr = np.exp(-(((distance - 2.0 * reach) / (0.7 * reach)) ** 2)) * press
    depth = generator.uniform(0.6, 1.0) * min(strength, 1.5) * reach
    slope_x, slope_y = patch.slopes(np.asarray((0.22 * burr - groove) * depth, np.float32))
    bare = patch.settle(np.asarray(groove, np.float32)) * patch.solid
    surface = patch.surface
    surface.slope_x += slope_x * patch.solid
    surface.slope_y += slope_y * patch.solid
    # Fresh metal shines, or dirt settles in an older groove.
    if generator.random() < 0.65:
        surface.coat(bare * generator.uniform(0.6, 1.0), 1.12 + 0.3 * (strength - 1), 0.8, _BARE)
    else:
        surface.coat(bare * generator.uniform(0.6, 0.85), 0.16, 0.2, _OIL)
    return patch


def draw_dent(canvas: Canvas, strength: float, generator: Generator) -> Patch:
    """A dent with a raised rim."""
    radius = generator.uniform(0.015, 0.036) * canvas.scale
    place = draw_place(generator, 0.02 + 0.7 * radius)
    patch = cut_patch(canvas, [place], 2.6 * radius)
    inside = ragged_spot(patch, place, radius, 0.18, generator)
    bowl = smooth_step(1.15 * inside)
    rim = np.exp(-((inside / 0.22) ** 2))
    steep = generator.uniform(0.55, 0.95) * strength
    height = patch.blur((0.16 * rim - bowl) * (steep * radius / 1.6), 0.1 * radius)
    slope_x, slope_y = patch.slopes(height)
    pressed = patch.settle(bowl) * patch.solid
    surface = patch.surface
    # What hit the part smoothed its skin.
    surface.slope_x += slope_x * patch.solid - surface.slope_x * pressed * 0.35
    surface.slope_y += slope_y * patch.solid - surface.slope_y * pressed * 0.35
    surface.gloss += pressed * (0.35 * (1 - surface.gloss))
    surface.albedo *= 1 - pressed * generator.uniform(0.0, 0.22)
    return patch


def draw_stain(canvas: Canvas, strength: float, generator: Generator) -> Patch:
    """A stain of oil or rust, with drops beside it and a darker edge."""
    radius = generator.uniform(0.026, 0.075) * min(canvas.scale, 1.6)
    place = draw_place(generator, 0.03)
    patch = cut_patch(canvas, [place], 2.4 * radius)
    inside = ragged_spot(patch, place, radius, 0.22, generator)
    for _ in range(int(generator.integers(0, 4))):
        # Drops that ran away from the stain.
        away, small = generator.uniform(0, 2 * math.pi), radius * generator.uniform(0.12, 0.35)
        drop = (place[0] + 1.35 * radius * math.cos(away), place[1] + 1.35 * radius * math.sin(away))
        inside = np.maximum(inside, ragged_spot(patch, drop, small, 0.2, generator) * (small / radius))
    soft = generator.uniform(0.12, 0.35)
    share = smooth_step(inside / soft)
    edge = np.exp(-(((inside - soft) / (0.8 * soft)) ** 2)) * share
    depth = min(0.85, generator.uniform(0.30, 0.55) * strength * min(canvas.scale, 1.6))
    rust = generator.random() < 0.45
    wet = patch.settle(share) * patch.solid
    dark = patch.settle(share * 0.8 + edge * generator.uniform(0.1, 0.35)) * patch.solid
    surface = patch.surface
    surface.albedo *= 1 - np.clip(dark * depth, 0, 0.9)
    surface.gloss += wet * ((0.05 if rust else 0.45) - surface.gloss) * 0.7
    if surface.tint is not None:
        colour = np.array(_RUST if rust else _OIL, np.float32)
        surface.tint *= 1 + np.clip(dark, 0, 1)[..., None] * (colour - 1)
    return patch


def draw_missing_hole(canvas: Canvas, strength: float, generator: Generator) -> Patch:
    """A hole that was not drilled, with or without its face, or not drilled through; `strength` changes nothing."""
    del strength
    # Plain defects are large holes, those with a face, that were not begun or only faced.
    candidates = [number for number, hole in enumerate(HOLES) if hole.seat or canvas.scale < 1.5]
    number = candidates[int(generator.integers(len(candidates)))]
    hole = HOLES[number]
    choice = generator.random() * (1.0 if canvas.scale < 1.5 else 0.75)
    if choice < 0.45:
        wrong = replace(hole, radius=0.0, seat=0.0)
    elif choice < 0.75:
        wrong = replace(hole, radius=0.0)
    else:
        wrong = replace(hole, through=False)
    holes: tuple[Hole, ...] = (*HOLES[:number], wrong, *HOLES[number + 1 :])
    patch = cut_patch(canvas, [(hole.x, hole.y)], max(hole.seat, hole.radius) + 0.014)
    scene = canvas.scene
    window = Window(
        left=scene.window.left + patch.columns.start,
        top=scene.window.top + patch.rows.start,
        width=patch.columns.stop - patch.columns.start,
        height=patch.rows.stop - patch.rows.start,
    )
    maps = part_maps(window, scene.scale_px, holes)
    tint = None if patch.surface.tint is None else tint_of(maps)
    places = turn_places(maps, scene.scale_px)
    patch.surface = apply_textures(maps, places, tint, canvas.textures, patch.rows, patch.columns)
    return patch
