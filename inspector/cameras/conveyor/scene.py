"""What stays the same from part to part, computed once: the part as designed, belt, light, and textures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from inspector.cameras.conveyor.lighting import LIGHT, illumination, reflectance
from inspector.cameras.conveyor.part import PartMaps, Window, canvas, part_maps
from inspector.cameras.conveyor.shapes import Field
from inspector.cameras.conveyor.textures import TURN_COLUMNS, belt, grain, turning

#: The belt and the skin of the castings belong to the station: every seed draws its parts from the same ones.
_STATION_SEED = 20240613

#: Larger frames are rendered with so many pixels and enlarged; only the noise of the sensor stays fine.
_LARGEST_PX = 5_500_000

#: Edge of the blocks in which the noise is added.
NOISE_BLOCK_PX = 1024
#: Places along each axis from which a block's noise may be taken.
_NOISE_SPARE_PX = 128

#: Units of length in the frame's shorter side: how large the part appears.
_PART_SIZE = 1.15

# Colours of equal brightness, RGB.
_METAL = (1.01, 1.00, 0.97)
_SKIN = (0.97, 1.00, 1.04)
_PAINT = (0.35, 0.95, 2.60)
_BELT = (0.62, 1.10, 0.98)

#: How far the shadow on the belt reaches, and its blur for each length of it.
_SHADOW_REACH, _PENUMBRA = 0.045, 0.25
_SHADOW_GRID_PX = 160


@dataclass(frozen=True)
class Scene:
    """The inspection station without a part's own properties.

    Attributes:
        width_px: Of the frames.
        height_px: Of the frames.
        colour: RGB instead of grey.
        render_width_px: Width at which the frame is rendered; `width_px` except for very large frames.
        render_height_px: Height at which the frame is rendered.
        scale_px: Pixels of the rendered frame in one unit of length.
        window: The canvas of the part.
        maps: The part as designed, on the canvas.
        turn_places: Column and row of the turning mark for each pixel of the canvas.
        tint: Colour of the part, (H, W, 3); None for grey.
        belt_tint: Colour of the belt, RGB.
        reflectance: Table from slopes to brightness.
        light: Illumination of the rendered frame, (H, W).
        shadow: Shadow of the part on the belt, 0 to 1, on a coarse grid with the part in its middle.
        shadow_scale_px: The unit of lengths on that grid.
        grain: Skin of the castings, larger than the canvas.
        turning: Turning marks, larger than the part needs.
        belt: The belt, larger than the frame.
        noise: Noise of the sensor, deviation 1, larger than a block.
        blur_px: Deviation of the lens's blur.
    """

    width_px: int
    height_px: int
    colour: bool
    render_width_px: int
    render_height_px: int
    scale_px: float
    window: Window
    maps: PartMaps
    turn_places: tuple[Field, Field]
    tint: Field | None
    belt_tint: tuple[float, float, float]
    reflectance: Field
    light: Field
    shadow: Field
    shadow_scale_px: float
    grain: Field
    turning: Field
    belt: Field
    noise: Field
    blur_px: float


def build_scene(width_px: int, height_px: int, *, colour: bool = False) -> Scene:
    """Computes everything that all parts share; takes about a second and is done before the line is ready.

    Args:
        width_px: Of the frames, 64 to 8192.
        height_px: Of the frames, 64 to 8192.
        colour: Render RGB instead of grey.

    Returns:
        The scene; the same for the same arguments.
    """
    shrink = min(1.0, (_LARGEST_PX / (width_px * height_px)) ** 0.5)
    width, height = max(64, round(width_px * shrink)), max(64, round(height_px * shrink))
    scale = _PART_SIZE * min(width, height)
    generator = np.random.default_rng(_STATION_SEED)
    window = canvas(scale)
    maps = part_maps(window, scale)
    spare = min(round(scale / 2), 256)
    shadow, shadow_scale = _belt_shadow(maps.cover, scale)
    block = (min(height_px, NOISE_BLOCK_PX) + _NOISE_SPARE_PX, min(width_px, NOISE_BLOCK_PX) + _NOISE_SPARE_PX)
    return Scene(
        width_px=width_px,
        height_px=height_px,
        colour=colour,
        render_width_px=width,
        render_height_px=height,
        scale_px=scale,
        window=window,
        maps=maps,
        turn_places=turn_places(maps, scale),
        tint=tint_of(maps) if colour else None,
        belt_tint=_BELT,
        reflectance=reflectance(),
        light=illumination(width, height),
        shadow=shadow,
        shadow_scale_px=shadow_scale,
        grain=grain((window.height + spare, window.width + spare), scale, generator),
        turning=turning(turn_rows(scale) + 2 * spare, scale, generator),
        belt=belt((height + spare, width + spare), scale, generator),
        noise=generator.standard_normal((*block, 3) if colour else block, dtype=np.float32),
        blur_px=min(max(0.35, 0.00165 * scale), 1.6),
    )


def turn_rows(scale_px: float) -> int:
    """Rows of the turning marks that the widest turned face needs."""
    return math.ceil(0.19 * scale_px) + 2


def turn_places(maps: PartMaps, scale_px: float) -> tuple[Field, Field]:
    """Column and row of the turning mark for each pixel.

    Args:
        maps: Of any window.
        scale_px: The unit of lengths.

    Returns:
        Two float32 arrays, (H, W).
    """
    columns = (maps.turn_angle + math.pi) * ((TURN_COLUMNS - 1) / (2 * math.pi))
    rows = np.minimum(maps.turn_radius * scale_px, turn_rows(scale_px) - 1)
    return np.asarray(columns, np.float32), np.asarray(rows, np.float32)


def tint_of(maps: PartMaps) -> Field:
    """Colour of the part's surface, brightness left out.

    Args:
        maps: Of any window.

    Returns:
        float32, (H, W, 3) RGB around 1.
    """
    skin, metal, paint = (np.array(colour, np.float32) for colour in (_SKIN, _METAL, _PAINT))
    bare = skin + maps.gloss[..., None] * (metal - skin)
    return np.asarray(bare + maps.paint[..., None] * (paint - bare), np.float32)


def _belt_shadow(cover: Field, scale_px: float) -> tuple[Field, float]:
    """The part's shadow on the belt; sharp where part and belt touch, soft farther away."""
    shrink = min(1.0, _SHADOW_GRID_PX / scale_px)
    scale = scale_px * shrink
    side = int(1.3 * scale)
    rows, columns = cover.shape
    middle = np.array(
        [
            [shrink, 0, (side - 1) / 2 - (columns - 1) / 2 * shrink],
            [0, shrink, (side - 1) / 2 - (rows - 1) / 2 * shrink],
        ]
    )
    footprint = np.asarray(cv2.warpAffine(cover, middle, (side, side), flags=cv2.INTER_LINEAR), np.float32)
    shadow = np.zeros_like(footprint)
    for reach in np.linspace(0.006, _SHADOW_REACH, 8).tolist():
        away = np.array([[1, 0, -LIGHT[0] * reach * scale], [0, 1, -LIGHT[1] * reach * scale]])
        moved = cv2.warpAffine(footprint, away, (side, side))
        soft = cv2.GaussianBlur(moved, (0, 0), max(0.3, (0.004 + _PENUMBRA * reach) * scale))
        np.maximum(shadow, soft * (1 - 0.3 * reach / _SHADOW_REACH), out=shadow)
    near = cv2.GaussianBlur(footprint, (0, 0), 0.02 * scale)
    return np.asarray(1 - (1 - 0.62 * shadow) * (1 - 0.35 * near), np.float32), scale
