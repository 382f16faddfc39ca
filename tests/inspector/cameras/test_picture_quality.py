"""Light and focus at a glance agree with what the whole picture tells."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inspector.cameras.bayer import demosaiced
from inspector.cameras.picture_quality import glance, measure
from inspector.domain.frame import Mosaic, PixelFormat


@pytest.mark.parametrize("shape", [(480, 640), (480, 640, 3), (40, 30), (1, 3)])
def test_brightness_and_white_are_those_of_the_whole_picture(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(80, 256, shape, np.uint8)
    pixels[:, : shape[1] // 3] = 255
    told = glance(pixels)
    assert told["brightness"] == pytest.approx(pixels.mean() / 255, abs=0.01)
    assert told["white"] == pytest.approx((pixels == 255).mean(), abs=0.02)


def test_blur_lowers_the_sharpness() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (600, 800), np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(pixels, (0, 0), 2), np.uint8)
    assert glance(blurred)["sharpness"] < 0.1 * glance(pixels)["sharpness"]


def test_sharpness_of_a_small_picture_is_that_of_the_whole() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (200, 256), np.uint8)
    assert glance(pixels)["sharpness"] == pytest.approx(measure(pixels).sharpness, rel=1e-6)


@pytest.mark.parametrize("shape", [(480, 640), (481, 643), (40, 30), (3, 3)])
@pytest.mark.parametrize("pixel_format", [one for one in PixelFormat if one.red is not None])
def test_a_raw_frame_tells_what_its_picture_tells(pixel_format: PixelFormat, shape: tuple[int, int]) -> None:
    """One colour in every other pixel would tell the light of the red lamp alone."""
    light = np.random.default_rng(5).normal((200, 120, 40), 8, (*shape, 3))
    light[:, shape[1] // 2 :] = 255
    row, column = pixel_format.red or (0, 0)
    pixels = np.empty(shape, np.uint8)
    for y, x, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        place = slice(row ^ y, None, 2), slice(column ^ x, None, 2)
        pixels[place] = light[(*place, colour)]
    mosaic = Mosaic(pixels, pixel_format)
    told, expected = glance(mosaic), glance(demosaiced(mosaic))
    if min(shape) > 3:
        assert told["brightness"] == pytest.approx(expected["brightness"], abs=0.02)
        assert told["white"] == pytest.approx(expected["white"], abs=0.05)
    assert told["sharpness"] == pytest.approx(expected["sharpness"], rel=0.02)
