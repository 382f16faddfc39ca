"""A frame that the calibration never saw the like of is not judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inspector.domain.errors import PartError
from inspector.domain.frame import Frame, Mosaic, PixelFormat
from inspector.domain.verdict import Cause
from inspector.recipe.geometry import check_frame
from inspector.recipe.manifest import Geometry

MOSAIC = Mosaic(np.zeros((60, 80), np.uint8), PixelFormat.BAYER_GR8)
REGION = {"left": 10, "top": 20, "width": 30, "height": 40}


def geometry(**changes: Any) -> Geometry:
    return Geometry.model_validate({"width_px": 64, "height_px": 64} | changes)


def frame(width: int, height: int, channels: int = 1) -> np.ndarray:
    return np.zeros((height, width) if channels == 1 else (height, width, channels), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "limits"),
    [
        (frame(7, 9), {}),
        (frame(7, 9, 3), {}),
        (frame(80, 60), {"frame_px": (80, 60), "channels": 1}),
        (frame(80, 60, 3), {"frame_px": (80, 60), "channels": 3}),
        (frame(40, 60), {"region_px": REGION}),
        (MOSAIC, {"frame_px": (80, 60), "channels": 3}),
    ],
)
def test_frame_that_fits_is_taken(pixels: Frame, limits: dict[str, Any]) -> None:
    check_frame(pixels, geometry(**limits))


@pytest.mark.parametrize(
    ("pixels", "limits", "message"),
    [
        (frame(60, 80), {"frame_px": (80, 60)}, "frame of 60x80, the recipe was made for 80x60"),
        (frame(80, 61), {"frame_px": (80, 60)}, "frame of 80x61"),
        (frame(80, 60, 3), {"channels": 1}, "3 channels, the recipe was made for 1"),
        (frame(80, 60), {"channels": 3}, "1 channels, the recipe was made for 3"),
        (MOSAIC, {"channels": 1}, "3 channels, the recipe was made for 1"),
        (Mosaic(np.zeros((2, 9), np.uint8), PixelFormat.BAYER_GR8), {}, "9x2 can't be demosaiced"),
        (frame(39, 60), {"region_px": REGION}, "outside the frame of 39x60"),
        (frame(40, 59), {"region_px": REGION}, "outside the frame of 40x59"),
    ],
)
def test_frame_that_does_not_fit_is_refused(pixels: Frame, limits: dict[str, Any], message: str) -> None:
    with pytest.raises(PartError, match=message) as caught:
        check_frame(pixels, geometry(**limits))
    assert caught.value.cause is Cause.FRAME_GEOMETRY
