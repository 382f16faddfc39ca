"""Textures that no two parts share: cast grain, turning marks, the weave of the belt, noise of the sensor.

Each is computed once, larger than the frame; a part takes a piece from a random place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from inspector.cameras.conveyor.shapes import Field

#: Columns that one turn of the turning marks needs.
TURN_COLUMNS = 406

#: Distance between two yarns of the belt.
_WEAVE = 0.0135

#: From frequencies downwards and to the right, in cycles for each unit of length, to amplitudes.
Spectrum = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

#: Pixels in the unit of length that show the finest texture; larger frames get the same one, enlarged.
_FINEST_PX = 640.0


def cut(size_px: tuple[int, ...], height_px: int, width_px: int, generator: Generator) -> tuple[slice, slice]:
    """A random place of a texture.

    Args:
        size_px: Rows and columns of the texture, at least those of the piece.
        height_px: Of the piece.
        width_px: Of the piece.
        generator: Draws the place.

    Returns:
        Rows and columns of the piece.
    """
    top = int(generator.integers(size_px[0] - height_px + 1))
    left = int(generator.integers(size_px[1] - width_px + 1))
    return slice(top, top + height_px), slice(left, left + width_px)


def noise(shape: tuple[int, int], scale_px: tuple[float, float], amplitude: Spectrum, generator: Generator) -> Field:
    """Gaussian noise with a given spectrum.

    Args:
        shape: Rows and columns.
        scale_px: Rows and columns in the unit of length.
        amplitude: Spectrum of the noise.
        generator: Draws it.

    Returns:
        float32, mean 0 and deviation about 1; its columns are periodic if their number is a product of 2, 3
        and 5 and their scale at most 640.
    """
    shrink = [min(1.0, _FINEST_PX / scale) for scale in scale_px]
    rows, columns = (cv2.getOptimalDFTSize(math.ceil(n * s)) for n, s in zip(shape, shrink, strict=True))
    down = np.asarray(np.fft.fftfreq(rows), np.float64)[:, None] * (scale_px[0] * shrink[0])
    right = np.asarray(np.fft.rfftfreq(columns), np.float64)[None] * (scale_px[1] * shrink[1])
    weights = amplitude(down, right)
    weights[0, 0] = 0
    shaped = np.fft.irfft2(np.fft.rfft2(generator.standard_normal((rows, columns))) * weights, s=(rows, columns))
    field = np.asarray(shaped / max(float(shaped.std()), 1e-12), np.float32)
    if min(shrink) < 1:
        size = (math.ceil(columns / shrink[1]), math.ceil(rows / shrink[0]))
        field = np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_CUBIC), np.float32)
    return field[: shape[0], : shape[1]]


def grain(shape: tuple[int, int], scale_px: float, generator: Generator) -> Field:
    """The skin of a casting.

    Args:
        shape: Rows and columns.
        scale_px: Pixels in the unit of length.
        generator: Draws it.

    Returns:
        float32, (3, H, W): slope to the right, slope downwards, and relative change of the albedo.
    """

    def bumps(down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        frequency = np.hypot(down, right)
        return np.exp(-((frequency / 45) ** 2)) + 0.5 * np.exp(-((frequency / 120) ** 2))

    def clouds(down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        frequency = np.hypot(down, right)
        return 1 / (1 + (frequency / 9) ** 2) + 0.05 * np.exp(-((frequency / 90) ** 2))

    scales = (scale_px, scale_px)
    slope_y, slope_x = np.gradient(noise(shape, scales, bumps, generator))
    # Pixels wider than the bumps see their mean only.
    strength = 0.088 * min(1.0, scale_px / 256) / max(float(slope_x.std()), 1e-12)
    mottle = 0.028 * noise(shape, scales, clouds, generator)
    return np.asarray(np.stack([slope_x * strength, slope_y * strength, mottle]), np.float32)


def turning(rows: int, scale_px: float, generator: Generator) -> Field:
    """Turning marks, unrolled: slopes across the grooves.

    Args:
        rows: Along the radius.
        scale_px: Rows in the unit of length; `TURN_COLUMNS` columns make one turn.
        generator: Draws it.

    Returns:
        float32, (rows, TURN_COLUMNS); the last column equals the first.
    """

    def grooves(down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        # The tool's feed, fine chatter across it, and grooves that go on for about a radian.
        across = np.abs(down)
        feed = 0.25 + np.exp(-(((across - 85) / 25) ** 2))
        return np.exp(-((across / 150) ** 2)) * feed * np.exp(-((0.8 * right) ** 2))

    turn = TURN_COLUMNS - 1
    marks = noise((rows, turn), (scale_px, turn / (2 * math.pi)), grooves, generator)
    marks = marks * (0.16 * min(1.0, scale_px / 256))
    return np.concatenate([marks, marks[:, :1]], axis=1)


def belt(shape: tuple[int, int], scale_px: float, generator: Generator) -> Field:
    """A conveyor belt with a fine woven surface.

    Args:
        shape: Rows and columns.
        scale_px: Pixels in the unit of length.
        generator: Draws its irregularities.

    Returns:
        float32, (H, W): albedo, mean about 0.27.
    """

    def wander(down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (1 + (np.hypot(down, right) / 6) ** 2)

    def fibres(down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-((np.hypot(down, right) / 120) ** 2))

    def wear(down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        # Along the belt, which runs to the right.
        return np.exp(-((down / 40) ** 2) - (right / 1.5) ** 2)

    scales = (scale_px, scale_px)
    # A weave finer than the pixels fades to its mean.
    pitch = max(_WEAVE * scale_px, 2.6)
    visible = min(1.0, _WEAVE * scale_px / 2.6)
    across = np.arange(shape[1], dtype=np.float32)[None] / pitch + 0.06 * noise(shape, scales, wander, generator)
    down = np.arange(shape[0], dtype=np.float32)[:, None] / pitch + 0.06 * noise(shape, scales, wander, generator)
    warp, weft = np.abs(np.sin(np.pi * across)), np.abs(np.sin(np.pi * down))
    over = (np.floor(across) + np.floor(down)) % 2
    yarn = np.where(over > 0, warp**0.7 * (0.55 + 0.45 * weft), weft**0.7 * (0.45 + 0.45 * warp))
    yarn = cv2.GaussianBlur(np.asarray(yarn, np.float32), (0, 0), 0.16 * pitch)
    yarn = (yarn - yarn.mean()) * visible
    rough = 0.05 * noise(shape, scales, fibres, generator) + 0.035 * noise(shape, scales, wear, generator)
    return np.asarray(0.27 * (1 + 0.75 * yarn) * (1 + rough), np.float32)
