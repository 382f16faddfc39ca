"""The frozen backbone of the detectors that use one, its feature maps brought together, and the smoothing of maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Deviation of the smoothing of anomaly maps, in pixels, as PaDiM and PatchCore have it at 224 px.
SMOOTHING_PX = 4.0


class FeatureMaps(nn.Module):
    """One frozen backbone: its feature maps as they come, for each hierarchy in use.

    Args:
        backbone: Module with `channels` and three feature maps.
        levels: Hierarchies in use, a subset of 1, 2, 3 in ascending order.
        input_px: Height and width of the input.

    Attributes:
        channels: Channels of each hierarchy in use.
        sizes_px: Height and width of the feature map of each hierarchy in use.
    """

    def __init__(self, backbone: nn.Module, levels: Sequence[int], input_px: tuple[int, int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.levels = tuple(levels)
        self.input_px = input_px
        channels = cast("Sequence[int]", backbone.channels)
        self.channels = tuple(channels[level - 1] for level in self.levels)
        with torch.no_grad():
            maps = self.maps(torch.zeros(1, 3, *input_px, device=next(backbone.parameters()).device))
        self.sizes_px = tuple((int(found.shape[2]), int(found.shape[3])) for found in maps)

    def forward(self, images: Tensor) -> list[tuple[Tensor]]:
        """For each level in use a tuple of one map, (B, c, h, w), of (B, 3, H, W) normalised images."""
        return [(found,) for found in self.maps(images)]

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps of the levels in use, (B, c, h, w), of (B, 3, H, W) normalised images."""
        maps = self.backbone(images)
        return tuple(maps[level - 1] for level in self.levels)


class GaussianSmoothing(nn.Module):
    """Gaussian filter of anomaly maps, cut off at four deviations, mirrored at the borders.

    Args:
        deviation_px: Its deviation.
    """

    kernel: Tensor

    def __init__(self, deviation_px: float = SMOOTHING_PX) -> None:
        super().__init__()
        self.radius = int(4.0 * deviation_px + 0.5)
        places = torch.arange(-self.radius, self.radius + 1, dtype=torch.float64)
        weights = torch.exp(-0.5 * (places / deviation_px).square())
        self.register_buffer("kernel", (weights / weights.sum()).float(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, 1, H, W) in and out; H and W must be larger than the radius."""
        padded = F.pad(maps, (self.radius,) * 4, mode="reflect")[:, 0]
        return self._along(self._along(padded).transpose(1, 2)).transpose(1, 2)[:, None]

    def _along(self, lines: Tensor) -> Tensor:
        """Filters the middle dimension: (B, H, W) to (B, H - 2 radius, W).

        The other lines are channels of a depthwise convolution, which is several times as fast on CPUs as a convolution
        of one channel with a long kernel.
        """
        width = lines.shape[2]
        kernel = self.kernel.expand(width, 1, -1).contiguous()
        filtered = F.conv1d(lines.transpose(1, 2).contiguous(), kernel, groups=width)
        return filtered.transpose(1, 2)


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (B, C, h, w) maps, corners not aligned."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
