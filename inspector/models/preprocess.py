"""From the camera's pixels to the network's input: the same function for calibration and line."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.models.demosaic import demosaic
from inspector.recipe.geometry import tiles
from inspector.recipe.manifest import Geometry, Normalisation


class Preprocess(nn.Module):
    """Crop to the region of interest, antialiased resize, grey to RGB, normalise, cut into tiles.

    Raw Bayer frames are demosaiced before all that (`demosaic`), so a region may begin in the middle of a cell.

    Args:
        geometry: Region of interest and input size.
        normalisation: Mean and deviation of each channel, in units of 0 to 1.
        keep_memory: Use the memory of a frame in float32 again for the next one of its size. Pages of memory that large
            would otherwise come from the kernel anew with each frame. It must not be called by two threads at once.
    """

    demosaic = staticmethod(demosaic)
    mean: Tensor
    deviation: Tensor

    def __init__(self, geometry: Geometry, normalisation: Normalisation, *, keep_memory: bool = False) -> None:
        super().__init__()
        self._keep_memory = keep_memory
        self._memory: Tensor | None = None
        self.geometry = geometry
        self.places = tiles(geometry)
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(normalisation.deviation).view(1, 3, 1, 1), persistent=False)

    def forward(self, frame: Tensor) -> Tensor:
        """One frame as the network sees it.

        Args:
            frame: uint8, (H, W) grey or (H, W, 3) RGB.

        Returns:
            float32, (1, 3, H, W), or (T, 3, h, w) where the image is inspected in T tiles.
        """
        return self.batch(frame[None])

    def batch(self, frames: Tensor) -> Tensor:
        """Frames of one size, as `forward` has each of them; the tiles of a frame follow each other.

        Args:
            frames: uint8, (B, H, W) grey or (B, H, W, 3) RGB.

        Returns:
            float32, (B, 3, H, W) or (B T, 3, h, w).
        """
        images = frames[:, None] if frames.ndim == 3 else frames.permute(0, 3, 1, 2)
        roi = self.geometry.region_px
        if roi is not None:
            images = images[..., roi.top : roi.top + roi.height, roi.left : roi.left + roi.width]
        size = self.geometry.image_px
        images = self._in_float(images)
        if tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        images = (images / 255.0 - self.mean) / self.deviation
        if self.geometry.tiling is None:
            return images
        height, width = self.geometry.network_px
        cut = [images[..., top : top + height, left : left + width] for top, left in self.places]
        return torch.stack(cut, dim=1).flatten(0, 1)

    def _in_float(self, images: Tensor) -> Tensor:
        """The images in float32; nothing that leaves this object may share their memory."""
        if not self._keep_memory:
            return images.to(torch.float32)
        if self._memory is None or self._memory.shape != images.shape:
            self._memory = torch.empty_like(images, dtype=torch.float32)
        return self._memory.copy_(images)
