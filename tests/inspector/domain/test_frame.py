"""A capture has pixels or says why not, no other layout than those of the wire, and a mosaic is no grey picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from inspector.domain.frame import Capture, Mosaic, PixelFormat, pixels_of
from inspector.domain.verdict import Cause


def test_formats_keep_their_numbers() -> None:
    # They go over the wire: a changed number would turn grey into colour.
    assert {pixel_format.name: pixel_format.value for pixel_format in PixelFormat} == {
        "MONO8": 1,
        "RGB8": 2,
        "BAYER_RG8": 3,
        "BAYER_GR8": 4,
        "BAYER_GB8": 5,
        "BAYER_BG8": 6,
    }


@pytest.mark.parametrize(
    ("shape", "expected", "channels"), [((4, 6), PixelFormat.MONO8, 1), ((4, 6, 3), PixelFormat.RGB8, 3)]
)
def test_format_of_pixels(shape: tuple[int, ...], expected: PixelFormat, channels: int) -> None:
    assert PixelFormat.of(np.zeros(shape, np.uint8)) is expected
    assert expected.channels == channels
    assert expected.red is None


BAYER = [pixel_format for pixel_format in PixelFormat if pixel_format.name.startswith("BAYER")]


@pytest.mark.parametrize("pixel_format", BAYER)
def test_a_mosaic_is_a_colour_frame_of_one_byte_a_pixel(pixel_format: PixelFormat) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(pixel_format.shape(6, 4))
    mosaic = pixel_format.frame(pixels)
    assert isinstance(mosaic, Mosaic)
    assert PixelFormat.of(mosaic) is pixel_format
    assert (mosaic.shape, pixel_format.channels) == ((4, 6), 3)
    assert pixels_of(mosaic) is pixels
    copy = mosaic.copy()
    pixels[:] = 0
    assert copy.pixels.any()
    assert copy.pixel_format is pixel_format


@pytest.mark.parametrize("use", [torch.from_numpy, lambda frame: frame[0], lambda frame: frame.mean()])
def test_who_takes_a_mosaic_for_a_grey_picture_fails(use: Callable[[Any], Any]) -> None:
    mosaic = Mosaic(np.zeros((4, 6), np.uint8), PixelFormat.BAYER_RG8)
    with pytest.raises((TypeError, AttributeError)):
        use(mosaic)


@pytest.mark.parametrize(
    ("pixels", "pixel_format"),
    [
        (np.zeros((4, 6), np.uint8), PixelFormat.MONO8),
        (np.zeros((4, 6, 3), np.uint8), PixelFormat.BAYER_RG8),
        (np.zeros((4, 6), np.uint16), PixelFormat.BAYER_RG8),
    ],
)
def test_no_mosaic_of_anything_else(pixels: np.ndarray, pixel_format: PixelFormat) -> None:
    with pytest.raises(ValueError, match="is no mosaic"):
        Mosaic(pixels, pixel_format)


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
