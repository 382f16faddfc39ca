"""A frame on the device that the network runs on, as the preprocessing takes it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from inspector.domain.frame import Frame, Mosaic, PixelFormat, pixels_of


class Demosaics(Protocol):
    """A preprocessing that knows raw Bayer frames."""

    def demosaic(self, mosaics: Tensor, formats: Tensor, /) -> Tensor:
        """uint8 (B, H, W), with the `PixelFormat` of each as uint8 (B,), to RGB (B, H, W, 3), on their device."""


def frame_tensor(frame: Frame, preprocess: Demosaics, device: torch.device) -> Tensor:
    """The frame's picture on a device.

    Returns:
        uint8, (H, W) grey or (H, W, 3) RGB.
    """
    tensor = torch.from_numpy(pixels_of(frame)).to(device, non_blocking=True)
    return in_colour(tensor, frame.pixel_format, preprocess) if isinstance(frame, Mosaic) else tensor


def in_colour(mosaic: Tensor, pixel_format: PixelFormat, preprocess: Demosaics) -> Tensor:
    """The picture that a mosaic makes: uint8, (H, W) to (H, W, 3)."""
    formats = torch.full((1,), int(pixel_format), dtype=torch.uint8, device=mosaic.device)
    return preprocess.demosaic(mosaic[None], formats)[0]
