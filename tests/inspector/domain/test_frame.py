"""A capture has pixels or says why not, and no other layout than the two of the wire."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.domain.frame import Capture, PixelFormat
from inspector.domain.verdict import Cause


def test_formats_keep_their_numbers() -> None:
    # They go over the wire: a changed number would turn grey into colour.
    assert {pixel_format.name: pixel_format.value for pixel_format in PixelFormat} == {"MONO8": 1, "RGB8": 2}


@pytest.mark.parametrize(
    ("shape", "expected", "channels"), [((4, 6), PixelFormat.MONO8, 1), ((4, 6, 3), PixelFormat.RGB8, 3)]
)
def test_format_of_pixels(shape: tuple[int, ...], expected: PixelFormat, channels: int) -> None:
    assert PixelFormat.of(np.zeros(shape, np.uint8)) is expected
    assert expected.channels == channels


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros(6, np.uint8),
        np.zeros((4, 6, 1), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((2, 4, 6, 3), np.uint8),
        np.zeros((4, 6), np.uint16),
        np.zeros((4, 6), np.float32),
    ],
)
def test_any_other_layout_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 of shape"):
        PixelFormat.of(pixels)


@pytest.mark.parametrize(("pixels", "problem"), [(None, None), (np.zeros((2, 2), np.uint8), Cause.FRAME_INCOMPLETE)])
def test_capture_has_either_pixels_or_a_problem(pixels: np.ndarray | None, problem: Cause | None) -> None:
    with pytest.raises(ValueError, match="either pixels or a problem"):
        Capture(pixels, 0, 0, "x", problem)
    assert Capture(None, 0, 0, "x", Cause.FRAME_MISSING).pixels is None
    assert Capture(np.zeros((2, 2), np.uint8), 0, 0, "x").problem is None
