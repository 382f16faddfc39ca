"""A frame: the image of a part, as the camera delivered it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.domain.verdict import Cause

Pixels = NDArray[np.uint8]
#: Which pixels of an image, (H, W).
Mask = NDArray[np.bool_]

#: Gives memory of a shape for a frame, uint8 and C-contiguous, with anything in it.
Allocate = Callable[[tuple[int, ...]], Pixels]


def new_pixels(shape: tuple[int, ...]) -> Pixels:
    """Memory of the process's own; an `Allocate`."""
    return np.empty(shape, np.uint8)


class PixelFormat(enum.IntEnum):
    """Layout of the pixels in memory; the number goes over the wire and never changes its meaning.

    Bayer formats are named as GenICam names them, by the two left colours of the upper line: of RG8 it begins RGRG.
    """

    MONO8 = 1
    RGB8 = 2
    BAYER_RG8 = 3
    BAYER_GR8 = 4
    BAYER_GB8 = 5
    BAYER_BG8 = 6

    @property
    def red(self) -> tuple[int, int] | None:
        """Row and column, each 0 or 1, of the red pixel in the upper left cell of a Bayer format; None for others."""
        return _RED.get(self)

    @property
    def channels(self) -> int:
        """Colours of the picture: 3 also where each pixel has one of them only."""
        return 1 if self is PixelFormat.MONO8 else 3

    def shape(self, width_px: int, height_px: int) -> tuple[int, ...]:
        """Shape of the array of a frame: (H, W, 3) for RGB8, (H, W) for others.

        >>> PixelFormat.RGB8.shape(640, 480), PixelFormat.BAYER_RG8.shape(640, 480)
        ((480, 640, 3), (480, 640))
        """
        return (height_px, width_px, 3) if self is PixelFormat.RGB8 else (height_px, width_px)

    def frame(self, pixels: Pixels) -> Frame:
        """The frame that an array of this format's shape is."""
        return pixels if self.red is None else Mosaic(pixels, self)

    @classmethod
    def of(cls, frame: Frame) -> PixelFormat:
        """The format of a frame.

        Args:
            frame: uint8, (H, W) or (H, W, 3), or a `Mosaic`.

        Raises:
            ValueError: For any other shape or dtype.
        """
        if isinstance(frame, Mosaic):
            return frame.pixel_format
        if frame.dtype == np.uint8 and frame.ndim == 2:
            return cls.MONO8
        if frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3:
            return cls.RGB8
        raise ValueError(f"a frame is uint8 of shape (H, W) or (H, W, 3), not {frame.dtype} of shape {frame.shape}")


_RED = {
    PixelFormat.BAYER_RG8: (0, 0),
    PixelFormat.BAYER_GR8: (0, 1),
    PixelFormat.BAYER_GB8: (1, 0),
    PixelFormat.BAYER_BG8: (1, 1),
}


#: A smaller mosaic lacks a colour somewhere in the middle.
SMALLEST_MOSAIC_PX = 3


@dataclass(frozen=True)
class Mosaic:
    """A colour frame as the sensor made it, one colour a pixel, to be demosaiced.

    A type of its own, and no array, so that nothing takes it for the grey picture that its shape could be.

    Attributes:
        pixels: uint8, (H, W).
        pixel_format: A Bayer format.
    """

    pixels: Pixels
    pixel_format: PixelFormat

    def __post_init__(self) -> None:
        if self.pixel_format.red is None or self.pixels.dtype != np.uint8 or self.pixels.ndim != 2:
            raise ValueError(f"{self.pixels.dtype} of shape {self.pixels.shape} is no mosaic of {self.pixel_format!r}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W)."""
        return self.pixels.shape

    def copy(self) -> Mosaic:
        """The same in memory of its own."""
        return Mosaic(self.pixels.copy(), self.pixel_format)


#: An image as it comes from a camera: grey (H, W) or RGB (H, W, 3), uint8, or a mosaic.
Frame = Pixels | Mosaic


def pixels_of(frame: Frame) -> Pixels:
    """The bytes of a frame, to be copied with its format beside them."""
    return frame.pixels if isinstance(frame, Mosaic) else frame


@dataclass(frozen=True)
class Capture:
    """One trigger and what the camera made of it.

    Attributes:
        pixels: uint8, (H, W) grey or (H, W, 3) RGB, C-contiguous and owned by the receiver; from a camera that was
            asked for raw frames perhaps a `Mosaic`; None where the trigger gave no usable image, and then `problem`
            says why.
        triggered_ns: Monotonic time of the trigger. A paced source gives the time that was due, so that a late
            loop shows in the latency.
        captured_ns: Monotonic time at which the pixels were complete.
        source: A label for people: file name, frame id, rendered part.
        problem: Why there are no pixels: FRAME_MISSING, FRAME_INCOMPLETE, FRAME_CORRUPT or CAMERA_LOST.
    """

    pixels: Frame | None
    triggered_ns: int
    captured_ns: int
    source: str
    problem: Cause | None = None

    def __post_init__(self) -> None:
        if (self.pixels is None) == (self.problem is None):
            raise ValueError("a capture has either pixels or a problem")
