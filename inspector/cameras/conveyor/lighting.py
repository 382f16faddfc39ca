"""The light: a long bar light from the upper left, a weaker one opposite, and the bright room.

The camera looks straight down, so what a material reflects depends on its two slopes only and stands in a table.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.cameras.conveyor.shapes import Field

#: Direction towards the bar light in the picture (unit vector, y downwards).
LIGHT = (-0.64, -0.768)
_ELEVATION = np.deg2rad(48)

#: Slopes from -_STEEPEST to _STEEPEST are tabulated.
_STEEPEST = 2.5
_TABLE = 257


def reflectance() -> Field:
    """Brightness of a white surface for each slope (the "lit sphere" of Sloan et al. 2001).

    Returns:
        float32, (257, 257, 2): rows by slope downwards, columns by slope to the right, each from -2.5 to 2.5;
        channel 0 the cast skin (broad reflection), channel 1 machined metal (narrow).
    """
    slope = np.linspace(-_STEEPEST, _STEEPEST, _TABLE)
    slope_x, slope_y = slope[None], slope[:, None]
    length = np.sqrt(1 + slope_x**2 + slope_y**2)
    flat = np.hypot(*LIGHT)
    ahead, aside = np.array(LIGHT) / flat, np.array((-LIGHT[1], LIGHT[0])) / flat
    # A surface rises away from where it faces.
    facing = -(slope_x * ahead[0] + slope_y * ahead[1])
    across = slope_x * aside[0] + slope_y * aside[1]
    mirror = np.cos(_ELEVATION) / (1 + np.sin(_ELEVATION))
    lambert = np.clip(facing * np.cos(_ELEVATION) + np.sin(_ELEVATION), 0, None) / length
    opposite = np.clip(-facing * np.cos(0.5) + np.sin(0.5), 0, None) / length
    room = 1 / length

    def bar(centre: float, narrow: float, wide: float) -> NDArray[np.float64]:
        return np.asarray(np.exp(-(((facing - centre) / narrow) ** 2) / 2 - (across / wide) ** 2 / 2))

    cast = 0.42 * lambert + 0.10 * opposite + 0.16 * room + 0.42 * bar(mirror, 0.33, 0.55)
    machined = (
        0.22 * lambert + 0.08 * opposite + 0.30 * room + 1.05 * bar(mirror, 0.17, 0.45) + 0.14 * bar(-0.60, 0.16, 0.5)
    )
    return np.asarray(np.stack([cast, machined], axis=2), np.float32)


def brightness(slope_x: Field, slope_y: Field, gloss: Field, table: Field, turn_rad: float) -> Field:
    """How bright a white surface of these slopes looks.

    Args:
        slope_x: Rise to the right, (H, W) float32.
        slope_y: Rise downwards, (H, W) float32.
        gloss: 0 for the cast skin to 1 for machined metal, (H, W) float32.
        table: From `reflectance`.
        turn_rad: Angle by which the surface is turned against the light, clockwise in the picture.

    Returns:
        float32, (H, W); about 0.6 for the flat cast skin.
    """
    step = (_TABLE - 1) / (2 * _STEEPEST)
    sine, cosine, middle = math.sin(turn_rad) * step, math.cos(turn_rad) * step, (_TABLE - 1) / 2
    column = slope_x * cosine - slope_y * sine + middle
    row = slope_x * sine + slope_y * cosine + middle
    both = cv2.remap(table, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cast, machined = cv2.split(both)
    return np.asarray(cast + gloss * (machined - cast), np.float32)


def illumination(width_px: int, height_px: int) -> Field:
    """Light that falls on the flat belt and reaches the sensor: fall-off from the bar light, vignetting.

    Args:
        width_px: Of the frame.
        height_px: Of the frame.

    Returns:
        float32, (height_px, width_px); 1 in the middle.
    """
    scale = max(width_px, height_px)
    x = ((np.arange(width_px, dtype=np.float32) + 0.5 - width_px / 2) / scale)[None]
    y = ((np.arange(height_px, dtype=np.float32) + 0.5 - height_px / 2) / scale)[:, None]
    towards = LIGHT[0] * x + LIGHT[1] * y
    # cos^4 law of a lens with about 40 degrees across the frame.
    cosine_square = 1 / (1 + 0.55 * (x * x + y * y))
    return np.asarray((1 + 0.30 * towards + 0.10 * towards**2) * cosine_square**2, np.float32)
