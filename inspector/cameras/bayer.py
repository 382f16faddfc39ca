"""Demosaicing by the processor: for everything that people look at, and for engines that are given pictures."""

from __future__ import annotations

import cv2
import numpy as np

from inspector.domain.frame import Allocate, Frame, Mosaic, PixelFormat, Pixels, new_pixels

_CODES = {
    PixelFormat.BAYER_RG8: cv2.COLOR_BayerRGGB2RGB,
    PixelFormat.BAYER_GR8: cv2.COLOR_BayerGRBG2RGB,
    PixelFormat.BAYER_GB8: cv2.COLOR_BayerGBRG2RGB,
    PixelFormat.BAYER_BG8: cv2.COLOR_BayerBGGR2RGB,
}


def demosaiced(frame: Frame, allocate: Allocate = new_pixels) -> Pixels:
    """A frame as a picture: a mosaic in colour (bilinear, OpenCV), any other as it is.

    `inspector.models.demosaic` does the same to the bit on a GPU.

    Args:
        frame: Of a mosaic with a side under `SMALLEST_MOSAIC_PX` OpenCV makes a black picture.
        allocate: Memory for the colours.

    Returns:
        uint8, (H, W) grey or (H, W, 3) RGB.
    """
    if not isinstance(frame, Mosaic):
        return frame
    memory = allocate((*frame.shape, 3))
    return np.asarray(cv2.cvtColor(frame.pixels, _CODES[frame.pixel_format], dst=memory), np.uint8)
