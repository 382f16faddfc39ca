"""The part as designed looks the same in every window and at every scale."""

from __future__ import annotations

from dataclasses import fields, replace

import cv2
import numpy as np

from inspector.cameras.conveyor.part import HOLES, PartMaps, Window, canvas, part_maps
from inspector.cameras.conveyor.patch import on_metal

SCALE = 440.0


def test_window_is_a_piece_of_the_whole() -> None:
    """A defect that lays the surface open is drawn in its own window: its border must not show."""
    whole_window, window = canvas(SCALE), Window(-140, -120, 60, 50)
    whole, piece = part_maps(whole_window, SCALE), part_maps(window, SCALE)
    top, left = window.top - whole_window.top, window.left - whole_window.left
    for field in fields(PartMaps):
        expected = getattr(whole, field.name)[top : top + window.height, left : left + window.width]
        assert np.allclose(getattr(piece, field.name), expected, atol=0.02), field.name


def test_missing_hole_changes_nothing_far_away() -> None:
    window = Window(-175, -150, 110, 110)
    without = (replace(HOLES[0], radius=0.0, seat=0.0), *HOLES[1:])
    intact, changed = part_maps(window, SCALE), part_maps(window, SCALE, without)
    x = (np.arange(window.width) + window.left)[None] / SCALE
    y = (np.arange(window.height) + window.top)[:, None] / SCALE
    far = np.hypot(x - HOLES[0].x, y - HOLES[0].y) > HOLES[0].seat + 0.014
    assert np.abs(intact.albedo - changed.albedo)[~far].max() > 0.3
    assert changed.solid.min() == 1
    assert np.abs(intact.albedo - changed.albedo)[far].max() < 0.02


def test_scales_with_the_frame() -> None:
    small, large = part_maps(Window(-60, -50, 121, 101), 150), part_maps(Window(-181, -151, 363, 303), 450)
    for name in ("cover", "solid", "albedo"):
        shrunk = cv2.resize(getattr(large, name), (121, 101), interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk - getattr(small, name)).mean() < 0.03, name


def test_holes_are_dark_and_metal_is_not() -> None:
    window = canvas(SCALE)
    maps = part_maps(window, SCALE)
    for hole in HOLES:
        row, column = round(hole.y * SCALE) - window.top, round(hole.x * SCALE) - window.left
        assert maps.solid[row, column] == 0
        assert maps.albedo[row, column] < 0.3
        assert not on_metal([(hole.x, hole.y)], 0.0)[0]
    assert not maps.cover[0].any()
    assert not maps.cover[:, -1].any()
    assert np.median(maps.albedo[maps.solid * maps.cover == 1]) > 0.5
