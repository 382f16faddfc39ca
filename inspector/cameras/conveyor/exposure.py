"""From the lit part to the frame: pose, belt, shadow, lens, sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from inspector.cameras.conveyor.scene import NOISE_BLOCK_PX, Scene
from inspector.cameras.conveyor.shapes import Field
from inspector.cameras.conveyor.textures import cut
from inspector.domain.frame import Pixels

#: Limits of the variation that a good part may show; uniform within them, so that no good part is an outlier.
_SHIFT, _TURN_RAD, _EXPOSURE, _LIGHT_TURN_RAD = 0.02, math.radians(2), 0.06, math.radians(4)

_GAIN = 1.75
_FLAT_BELT = 0.62

#: Variance of the noise in grey levels: of the dark signal, and for each grey level (photons).
_DARK, _PHOTON = 1.2, 0.022


@dataclass(frozen=True)
class Pose:
    """What differs from trigger to trigger, besides the textures.

    Attributes:
        shift_x: Of the part to the right, in widths of the frame.
        shift_y: Of the part downwards, in heights of the frame.
        turn_rad: Of the part, clockwise.
        light_turn_rad: Of the light against its mean direction.
        exposure: Brightness, around 1.
    """

    shift_x: float
    shift_y: float
    turn_rad: float
    light_turn_rad: float
    exposure: float


def draw_pose(generator: Generator) -> Pose:
    """A pose within the limits."""
    shift_x, shift_y, turn, light, exposure = generator.uniform(-1, 1, 5).tolist()
    return Pose(shift_x * _SHIFT, shift_y * _SHIFT, turn * _TURN_RAD, light * _LIGHT_TURN_RAD, 1 + exposure * _EXPOSURE)


def expose(lit: Field, belt: Field, pose: Pose, scene: Scene) -> Field:
    """The frame before noise.

    Args:
        lit: The part in the light, on the canvas: brightness times cover, and the cover.
        belt: Piece of the belt, (H, W) of the rendered frame.
        pose: Of the part.
        scene: The station.

    Returns:
        float32 grey levels from 0 to 255, (H, W) or (H, W, 3) of the rendered frame.
    """
    size = (scene.render_width_px, scene.render_height_px)
    part = cv2.warpAffine(lit, _placement(lit, 1.0, pose, scene), size, flags=cv2.INTER_LINEAR)
    shadow_shrink = scene.shadow_scale_px / scene.scale_px
    shadow = cv2.warpAffine(
        scene.shadow, _placement(scene.shadow, shadow_shrink, pose, scene), size, flags=cv2.INTER_LINEAR
    )
    *channels, cover = cv2.split(part)
    around = (1 - shadow) * (1 - cover)
    around *= belt
    light = scene.light * (-_GAIN * pose.exposure)
    tints = scene.belt_tint if scene.colour else (1.0,)
    lit_channels = [
        light * (np.asarray(channel, np.float32) + around * (tint * _FLAT_BELT))
        for channel, tint in zip(channels, tints, strict=True)
    ]
    frame = cv2.GaussianBlur(cv2.merge(lit_channels), (0, 0), scene.blur_px)
    # A soft shoulder: highlights approach white but rarely reach it.
    levels = np.asarray(cv2.exp(frame), np.float32)
    levels *= -255
    levels += 255
    return levels


def digitise(frame: Field, scene: Scene, generator: Generator) -> Pixels:
    """The frame as the sensor gives it: at its full size, with noise, in 8 bits.

    Args:
        frame: Grey levels, (H, W) or (H, W, 3) of the rendered frame.
        scene: The station.
        generator: Draws the noise.

    Returns:
        uint8, (height_px, width_px) or (height_px, width_px, 3).
    """
    full: Field | Pixels = frame
    size = (scene.width_px, scene.height_px)
    if frame.shape[1::-1] != size:
        full = np.asarray(cv2.resize(_bytes(frame), size, interpolation=cv2.INTER_LINEAR), np.uint8)
    pixels = np.empty(full.shape, np.uint8)
    for top in range(0, scene.height_px, NOISE_BLOCK_PX):
        for left in range(0, scene.width_px, NOISE_BLOCK_PX):
            block = (slice(top, top + NOISE_BLOCK_PX), slice(left, left + NOISE_BLOCK_PX))
            signal = np.asarray(full[block], np.float32)
            noise = scene.noise[cut(scene.noise.shape[:2], signal.shape[0], signal.shape[1], generator)].copy()
            noise *= np.sqrt(signal * _PHOTON + _DARK)
            noise += signal
            pixels[block] = _bytes(noise)
    return pixels


def enlarge_mask(mask: NDArray[np.bool_], scene: Scene) -> NDArray[np.bool_]:
    """A mask of the rendered frame at the full size; it covers every pixel that an inside pixel has touched."""
    size = (scene.width_px, scene.height_px)
    if mask.shape[::-1] == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0)


def _bytes(levels: Field) -> Pixels:
    # Scales nothing, but rounds and limits in one pass; negative levels are cut off first.
    return np.asarray(cv2.convertScaleAbs(np.maximum(levels, 0)), np.uint8)


def _placement(image: Field, shrink: float, pose: Pose, scene: Scene) -> NDArray[np.float64]:
    """From a grid with the part in its middle to the frame."""
    middle_x, middle_y = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    cosine, sine = math.cos(pose.turn_rad) / shrink, math.sin(pose.turn_rad) / shrink
    x = (scene.render_width_px - 1) / 2 + pose.shift_x * scene.render_width_px
    y = (scene.render_height_px - 1) / 2 + pose.shift_y * scene.render_height_px
    return np.array(
        [
            [cosine, -sine, x - cosine * middle_x + sine * middle_y],
            [sine, cosine, y - sine * middle_x - cosine * middle_y],
        ]
    )
