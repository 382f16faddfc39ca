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
    """Layout of the pixels in memory; the number goes over the wire and never changes its meaning."""

    MONO8 = 1
    RGB8 = 2

    @property
    def channels(self) -> int:
        """Bytes for each pixel."""
        return 1 if self is PixelFormat.MONO8 else 3

    @classmethod
    def of(cls, pixels: Pixels) -> PixelFormat:
        """The format of an array.

        Args:
            pixels: uint8, (H, W) or (H, W, 3).

        Raises:
            ValueError: For any other shape or dtype.
        """
        if pixels.dtype == np.uint8 and pixels.ndim == 2:
            return cls.MONO8
        if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
            return cls.RGB8
        raise ValueError(f"a frame is uint8 of shape (H, W) or (H, W, 3), not {pixels.dtype} of shape {pixels.shape}")


@dataclass(frozen=True)
class Capture:
    """One trigger and what the camera made of it.

    Attributes:
        pixels: uint8, (H, W) grey or (H, W, 3) RGB, C-contiguous and owned by the receiver; None where the
            trigger gave no usable image, and then `problem` says why.
        triggered_ns: Monotonic time of the trigger. A paced source gives the time that was due, so that a late
            loop shows in the latency.
        captured_ns: Monotonic time at which the pixels were complete.
        source: A label for people: file name, frame id, rendered part.
        problem: Why there are no pixels: FRAME_MISSING, FRAME_INCOMPLETE, FRAME_CORRUPT or CAMERA_LOST.
    """

    pixels: Pixels | None
    triggered_ns: int
    captured_ns: int
    source: str
    problem: Cause | None = None

    def __post_init__(self) -> None:
        if (self.pixels is None) == (self.problem is None):
            raise ValueError("a capture has either pixels or a problem")
