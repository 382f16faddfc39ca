"""How good a picture is to calibrate on: exposure, sharpness, and whether it shows something new. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from inspector.cameras.bayer import demosaiced
from inspector.domain.frame import Frame, Mosaic, Pixels

#: Side of the thumbnails that are compared; larger frames are averaged down to it, which takes their noise away.
_THUMBNAIL_PX = 64
#: More white pixels than this share: detail is lost in them.
_WHITE_SHARE = 0.02
#: A picture whose brightest hundredth is darker than this uses less than a quarter of the camera's range.
_DARK_LEVEL = 64

#: Rows and columns of pixels, at least, that tell the light at a glance.
_GRID = 64
#: Side of the piece in the middle that tells the focus at a glance.
_MIDDLE_PX = 256


@dataclass(frozen=True)
class Quality:
    """What a picture is like.

    Attributes:
        mean: Mean brightness, 0 to 255.
        white: Share of pixels at 255, 0 to 1.
        bright: Brightness that a hundredth of the pixels reach, 0 to 255.
        sharpness: Variance of the Laplacian, 0 and up; comparable between pictures of the same scene only.
    """

    mean: float
    white: float
    bright: float
    sharpness: float

    def warnings(self) -> list[str]:
        """What is wrong with the exposure, and how to mend it."""
        found = []
        if self.white > _WHITE_SHARE:
            found.append(f"over-exposed: {self.white:.1%} of the pixels are white; shorten ExposureTime or lower Gain")
        if self.bright < _DARK_LEVEL:
            found.append(
                f"under-exposed: 99% of the pixels are darker than {self.bright:.0f} of 255; add light, or lengthen "
                "ExposureTime"
            )
        return found


def measure(pixels: Pixels) -> Quality:
    """Exposure and sharpness of a picture.

    Args:
        pixels: uint8, (H, W) grey or (H, W, 3) RGB.

    >>> quality = measure(np.full((8, 8), 255, np.uint8))
    >>> quality.white, quality.sharpness, len(quality.warnings())
    (1.0, 0.0, 1)
    """
    grey = _grey(pixels)
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)
    return Quality(
        mean=float(grey.mean()),
        white=float((grey == 255).mean()),
        bright=float(np.percentile(grey, 99)),
        sharpness=float(laplacian.var()),
    )


def glance(frame: Frame) -> dict[str, float]:
    """Light and focus at a glance, for every picture of a running line: a tenth of a millisecond, whatever its size.

    Args:
        frame: uint8, (H, W) grey or (H, W, 3) RGB, or a `Mosaic`: each of its cells is a pixel of the grid, and its
            middle is demosaiced.

    Returns:
        "brightness": mean of a grid of pixels, 0 to 1. "white": share of that grid at 255, 0 to 1. "sharpness":
        variance of the Laplacian of the middle at full resolution, 0 and up; comparable between pictures of the same
        scene only.

    >>> glance(np.full((8, 8), 255, np.uint8))
    {'brightness': 1.0, 'white': 1.0, 'sharpness': 0.0}
    """
    grid = _grid(frame)
    middle = _grey(_middle(frame))
    return {
        "brightness": float(grid.mean()) / 255,
        "white": float((grid == 255).mean()),
        "sharpness": float(cv2.Laplacian(middle, cv2.CV_32F).var()),
    }


def thumbnail(pixels: Pixels) -> Pixels:
    """A small grey picture to compare with others: uint8, (64, 64)."""
    side = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    return np.asarray(cv2.resize(_grey(pixels), side, interpolation=cv2.INTER_AREA), np.uint8)


def difference(first: Pixels, second: Pixels) -> float:
    """Mean absolute difference of two thumbnails in grey levels.

    >>> difference(np.zeros((64, 64), np.uint8), np.full((64, 64), 3, np.uint8))
    3.0
    """
    return float(cv2.absdiff(first, second).mean())


def _grey(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def _grid(frame: Frame) -> Pixels:
    """Some pixels of all over a frame; of a mosaic some of its cells, each as a pixel: (h, w) grey or (h, w, 3) RGB."""
    if not isinstance(frame, Mosaic):
        return _thinned(frame)
    height_px, width_px = (side // 2 * 2 for side in frame.shape)
    row, column = frame.pixel_format.red or (0, 0)
    places = ((row, column), (row, 1 - column), (1 - row, column), (1 - row, 1 - column))
    red, green, other_green, blue = (_thinned(frame.pixels[y:height_px:2, x:width_px:2]) for y, x in places)
    return np.stack([red, cv2.addWeighted(green, 0.5, other_green, 0.5, 0), blue], axis=-1)


def _thinned(pixels: Pixels) -> Pixels:
    rows, columns = (max(1, side // _GRID) for side in pixels.shape[:2])
    return pixels[::rows, ::columns]


def _middle(frame: Frame) -> Pixels:
    """The middle of a frame at full resolution."""
    top, left = (max(0, (side - _MIDDLE_PX) // 2) // 2 * 2 for side in frame.shape[:2])  # a mosaic's cells stay whole
    place = slice(top, top + _MIDDLE_PX), slice(left, left + _MIDDLE_PX)
    if isinstance(frame, Mosaic):
        return demosaiced(Mosaic(np.ascontiguousarray(frame.pixels[place]), frame.pixel_format))
    return np.ascontiguousarray(frame[place])
