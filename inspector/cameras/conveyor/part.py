"""The part as designed: a cast aluminium cover with a turned bearing seat and drilled holes, as maps of its surface.

Everything here is the same for every part; what differs between parts (pose, texture, light, defects) is added
later. x points to the right, y downwards, heights towards the camera, and (0, 0) is the middle of the part. The
unit of all lengths is a little more than the frame's shorter side; `scale_px` is its size in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import cv2
import numpy as np

from inspector.cameras.conveyor.lighting import LIGHT
from inspector.cameras.conveyor.shapes import Field, circle, lettering, polyline, rounded_box, smooth_step

#: Half of the part's width and height.
PART_HALF = (0.355, 0.300)
#: Radius of the bore in its middle.
BORE = 0.088
# Half of the width and height of the canvas around the part.
_CANVAS_HALF = (0.370, 0.315)

_CORNER = 0.085
#: Width of the chamfer around the outline.
_EDGE = 0.019
_SEAT, _GROOVE = 0.168, 0.131
# Half of a square that holds a hole with its face and chamfer.
_AROUND = 0.05
_POCKETS = ((-0.248, 0.0), (0.248, 0.0))
_POCKET_HALF = (0.042, 0.092)
_MARK = "KV 27-4"
_MARK_PLACE, _MARK_HALF = (-0.03, 0.238), (0.16, 0.035)
_PAINT_PLACE = (0.115, -0.236)

#: What lies deeper appears smaller, nearer to the middle of the picture: the lens isn't telecentric.
_PERSPECTIVE = 0.045


@dataclass(frozen=True)
class Hole:
    """One drilled hole.

    Attributes:
        x: Of its centre.
        y: Of its centre.
        radius: Of the drill; 0 where the hole is missing.
        seat: Radius of the machined face around it; 0 without one.
        through: False for a blind hole with a lit bottom.
    """

    x: float
    y: float
    radius: float
    seat: float = 0.0
    through: bool = True


#: Four screw holes with spot faces and two holes for dowel pins.
HOLES = (
    *(Hole(x, y, 0.025, 0.047) for x in (-0.276, 0.276) for y in (-0.222, 0.222)),
    Hole(-0.02, -0.236, 0.0135),
    Hole(0.186, 0.236, 0.0135),
)


@dataclass(frozen=True)
class Window:
    """A piece of the canvas in pixels.

    Attributes:
        left: First column, from the middle of the canvas.
        top: First row, from the middle of the canvas.
        width: Columns.
        height: Rows.
    """

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class PartMaps:
    """What the light meets, for each pixel of a window; all float32, (H, W).

    Attributes:
        slope_x: Rise of the surface to the right.
        slope_y: Rise of the surface downwards.
        albedo: Share of the light that comes back, shadows and cavities included.
        gloss: 0 for the cast skin to 1 for machined metal.
        cover: Share of the pixel that the part covers.
        cast: Strength of the cast grain, 0 to 1.
        turn_x: Strength of the turning marks' slope to the right, -1 to 1.
        turn_y: Strength of the turning marks' slope downwards, -1 to 1.
        turn_angle: Along the turning marks, radians from -pi to pi around the centre that made them.
        turn_radius: Across the turning marks, from the centre that made them.
        paint: Share of the pixel that is painted.
        solid: 1 on the metal, 0 in a hole.
    """

    slope_x: Field
    slope_y: Field
    albedo: Field
    gloss: Field
    cover: Field
    cast: Field
    turn_x: Field
    turn_y: Field
    turn_angle: Field
    turn_radius: Field
    paint: Field
    solid: Field


def canvas(scale_px: float) -> Window:
    """The window of the whole part.

    Args:
        scale_px: Pixels in the unit of length.
    """
    half_width, half_height = (int(np.ceil(half * scale_px)) + 2 for half in _CANVAS_HALF)
    return Window(-half_width, -half_height, 2 * half_width + 1, 2 * half_height + 1)


def part_maps(window: Window, scale_px: float, holes: tuple[Hole, ...] = HOLES) -> PartMaps:
    """The surface of the part.

    Args:
        window: The piece that is wanted.
        scale_px: Pixels in the unit of length.
        holes: The drilled holes, for parts on which one is missing.

    Returns:
        The maps of the window.
    """
    fine = max(1, min(4, round(1100 / scale_px)))
    margin = int(np.ceil(0.03 * scale_px))
    columns = np.arange((window.width + 2 * margin) * fine, dtype=np.float32)[None]
    rows = np.arange((window.height + 2 * margin) * fine, dtype=np.float32)[:, None]
    x = ((columns + 0.5) / fine - 0.5 + window.left - margin) / scale_px
    y = ((rows + 0.5) / fine - 0.5 + window.top - margin) / scale_px
    full = _fine_maps(np.asarray(x, np.float32), np.asarray(y, np.float32), scale_px * fine, holes)
    size = (window.width + 2 * margin, window.height + 2 * margin)
    inner = (slice(margin, margin + window.height), slice(margin, margin + window.width))
    return PartMaps(
        **{
            field.name: np.ascontiguousarray(
                cv2.resize(
                    getattr(full, field.name),
                    size,
                    # The mean of an angle would be wrong where it jumps from pi to -pi.
                    interpolation=cv2.INTER_NEAREST if field.name == "turn_angle" else cv2.INTER_AREA,
                )[inner]
            )
            for field in fields(PartMaps)
        }
    )


def _ramp(distance: Field, width: float) -> Field:
    """0 at the edge and outside to 1 at `width` inside."""
    return np.asarray(np.clip(-distance / width, 0, 1), np.float32)


def _inside(distance: Field, pixel: float) -> Field:
    return np.asarray(np.clip(0.5 - distance / pixel, 0, 1), np.float32)


def _blur(image: Field, sigma_px: float) -> Field:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma_px, 0.3)), np.float32)


def _near(x: Field, y: Field, centre: tuple[float, float], half: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns around a place; outside of them a small feature changes nothing."""
    left, right = np.searchsorted(x[0], (centre[0] - half[0], centre[0] + half[0])).tolist()
    top, bottom = np.searchsorted(y[:, 0], (centre[1] - half[1], centre[1] + half[1])).tolist()
    return slice(top, bottom), slice(left, right)


def _fine_maps(x: Field, y: Field, scale_px: float, holes: tuple[Hole, ...]) -> PartMaps:
    pixel = 1 / scale_px
    plate = rounded_box(x, y, (0, 0), PART_HALF, _CORNER)
    edge = 1 - _inside(plate + _EDGE, 2 * pixel)
    engraved = _engraving(x, y)
    paint = _inside(circle(x, y, _PAINT_PLACE, 0.019), 2 * pixel)
    turned, turn_angle, turn_radius = _turned_faces(x, y, pixel, holes)

    height = _height(x, y, plate, engraved, holes)
    height = _blur(height, 0.0011 * scale_px)
    slope_y, slope_x = (np.asarray(slope * scale_px, np.float32) for slope in np.gradient(height))
    flat = turned * np.clip(1.15 - np.hypot(slope_x, slope_y) / 0.25, 0, 1)
    albedo = np.asarray(0.58 + 0.20 * np.maximum(turned, edge), np.float32)
    # Two bright sectors: turning marks spread the light across their direction only.
    albedo *= 1 + flat * (0.42 * np.cos(turn_angle - math.atan2(LIGHT[1], LIGHT[0])) ** 4 - 0.12)
    albedo *= (1 - 0.45 * engraved) * (1 - 0.55 * paint) * _relief_shade(height, scale_px)
    gloss = np.asarray(np.maximum(turned, 0.75 * edge) * (1 - paint), np.float32)
    skin = (1 - turned) * (1 - 0.65 * edge) * (1 - 0.6 * paint) * (1 - 0.5 * engraved)
    cast = np.asarray(skin, np.float32)

    solid: Field = np.ones(albedo.shape, np.float32)
    for hole in (Hole(0, 0, BORE), *(hole for hole in holes if hole.radius)):
        _drill(hole, x, y, pixel, slope_x, slope_y, albedo, gloss, cast, solid)
    flat *= solid
    return PartMaps(
        slope_x=slope_x,
        slope_y=slope_y,
        albedo=albedo,
        gloss=gloss,
        cover=_inside(plate, pixel),
        cast=cast,
        turn_x=flat * np.cos(turn_angle),
        turn_y=flat * np.sin(turn_angle),
        turn_angle=turn_angle,
        turn_radius=turn_radius,
        paint=paint,
        solid=solid,
    )


def _engraving(x: Field, y: Field) -> Field:
    """Depth of the engraved mark, 0 to 1."""
    strokes = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, np.float32)
    rows, columns = _near(x, y, _MARK_PLACE, _MARK_HALF)
    for points in lettering(_MARK, _MARK_PLACE, 0.046):
        marked = polyline(x[:, columns], y[rows], points)
        strokes[rows, columns] = np.minimum(strokes[rows, columns], marked)
    return smooth_step(1 - strokes / 0.0052)


def _height(x: Field, y: Field, plate: Field, engraved: Field, holes: tuple[Hole, ...]) -> Field:
    """Height of the surface, with every edge still sharp; holes have a chamfer only."""
    height = 0.011 * _ramp(plate, 0.017) + 0.011 * _ramp(circle(x, y, (0, 0), _SEAT), 0.010)
    pockets = np.minimum(*(rounded_box(x, y, centre, _POCKET_HALF, 0.024) for centre in _POCKETS))
    height -= 0.014 * smooth_step(_ramp(pockets, 0.019))
    groove = np.abs(np.hypot(x, y) - _GROOVE)
    height -= 0.006 * smooth_step(np.asarray(1.25 - groove / 0.008, np.float32))
    height -= 0.006 * _ramp(circle(x, y, (0, 0), BORE + 0.008), 0.008)
    height -= 0.0035 * engraved
    for hole in holes:
        rows, columns = _near(x, y, (hole.x, hole.y), (_AROUND, _AROUND))
        middle = circle(x[:, columns], y[rows], (hole.x, hole.y), 0)
        if hole.seat:
            height[rows, columns] -= 0.0045 * _ramp(middle - hole.seat, 0.004)
        if hole.radius:
            height[rows, columns] -= 0.004 * _ramp(middle - hole.radius - 0.004, 0.004)
    return np.asarray(height, np.float32)


def _turned_faces(x: Field, y: Field, pixel: float, holes: tuple[Hole, ...]) -> tuple[Field, Field, Field]:
    """Where the surface was turned or spot-faced (0 to 1), and angle and radius around the tool's axis."""
    turned = _inside(circle(x, y, (0, 0), _SEAT - 0.009), pixel)
    centre_x, centre_y = np.zeros_like(turned), np.zeros_like(turned)
    for hole in holes:
        if hole.seat:
            near = _near(x, y, (hole.x, hole.y), (_AROUND, _AROUND))
            face = circle(x[:, near[1]], y[near[0]], (hole.x, hole.y), hole.seat)
            turned[near] = np.maximum(turned[near], _inside(face + 0.004, pixel))
            centre_x[near][face < 0] = hole.x
            centre_y[near][face < 0] = hole.y
    across, down = x - centre_x, y - centre_y
    return turned, np.arctan2(down, across), np.hypot(across, down)


def _relief_shade(height: Field, scale_px: float) -> Field:
    """Shadow that the relief casts on itself, and less light in its corners; 0 to 1."""
    cavity = np.clip((_blur(height, 0.012 * scale_px) - height) / 0.006, -0.4, 1)
    blocked = np.zeros_like(height)
    for step in range(1, 7):
        reach = 0.0025 * step
        shift = np.array([[1, 0, -LIGHT[0] * reach * scale_px], [0, 1, -LIGHT[1] * reach * scale_px]])
        towards = cv2.warpAffine(
            height, shift, height.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        np.maximum(blocked, (towards - height - 0.85 * reach) / 0.003, out=blocked)
    shadow = _blur(np.clip(blocked, 0, 1), 0.0015 * scale_px)
    return np.asarray((1 - 0.16 * cavity) * (1 - 0.42 * shadow), np.float32)


def _drill(
    hole: Hole,
    x: Field,
    y: Field,
    pixel: float,
    slope_x: Field,
    slope_y: Field,
    albedo: Field,
    gloss: Field,
    cast: Field,
    solid: Field,
) -> None:
    """Draw the inside of a hole into the maps: its wall, lit towards the light, and its bottom."""
    reach = hole.radius + 2 * pixel
    near = _near(x, y, (hole.x, hole.y), (reach, reach))
    x, y = x[:, near[1]], y[near[0]]
    inside = _inside(circle(x, y, (hole.x, hole.y), hole.radius), 1.5 * pixel)
    depth = _PERSPECTIVE * (1.0 if hole.through else 0.35)
    bottom_radius = hole.radius * (1 - depth)
    bottom_centre = (hole.x * (1 - depth), hole.y * (1 - depth))
    to_bottom = circle(x, y, bottom_centre, bottom_radius)
    bottom = _inside(to_bottom, 2 * pixel)
    angle = np.arctan2(y - hole.y, x - hole.x)
    # How far down the wall: 0 at the rim to 1 at the bottom.
    rim = circle(x, y, (hole.x, hole.y), hole.radius)
    down = np.clip(-rim / np.maximum(to_bottom - rim, 1e-6), 0, 1)
    wall_albedo = 0.62 - 0.42 * down
    # The rim's shadow: the side of the bottom towards the light lies in the dark.
    lit = (LIGHT[0] * (x - bottom_centre[0]) + LIGHT[1] * (y - bottom_centre[1])) / max(hole.radius, 1e-6)
    bottom_albedo = (0.075 - 0.04 * lit) if hole.through else np.clip(0.34 - 0.22 * lit, 0.1, 0.5)
    for target, wall, ground in (
        (slope_x, 1.9 * np.cos(angle), 0.0),
        (slope_y, 1.9 * np.sin(angle), 0.0),
        (albedo, wall_albedo, bottom_albedo),
        (gloss, 0.5, 0.0),
        (cast, 0.0, 0.3),
    ):
        target[near] += inside * (wall + bottom * (ground - wall) - target[near])
    solid[near] *= 1 - inside
