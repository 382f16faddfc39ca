"""A small detector that judges in a millisecond, and striped parts that it knows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.models.refinement.canvas import to_image
from inspector.recipe.manifest import Normalisation

SIDE = 48


class Maps(NamedTuple):
    anomaly_maps: Tensor


class ToyDetector(nn.Module):
    """Distance of random features at stride 4 to those of good parts, for each location (a small PaDiM)."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.first = nn.Conv2d(3, 12, 5, stride=2, padding=2)
            self.second = nn.Conv2d(12, 16, 3, stride=2, padding=1)
        self.requires_grad_(False).eval()
        self.register_buffer("mean", torch.zeros(1, 16, SIDE // 4, SIDE // 4))
        self.register_buffer("spread", torch.ones(1, 16, 1, 1))

    def features(self, images: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(images)))  # type: ignore[no-any-return]

    def fit(self, images: list[Tensor]) -> ToyDetector:
        features = torch.cat([self.features(image) for image in images])
        self.mean = features.mean(dim=0, keepdim=True)
        self.spread = (features - self.mean).square().mean(dim=(0, 2, 3), keepdim=True).sqrt()
        return self

    def level_maps(self, images: Tensor) -> list[Tensor]:
        return [((self.features(images) - self.mean) / self.spread).square().mean(dim=1, keepdim=True)]

    def forward(self, images: Tensor) -> Maps:
        (scores,) = self.level_maps(images)
        return Maps(F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False))


def good_pixels(seed: int, channels: int = 3) -> np.ndarray:
    """Stripes that always lie the same, with noise."""
    rng = np.random.default_rng(seed)
    stripes = 110 + 40 * np.sin(np.arange(SIDE) / 3.0)
    pixels = np.repeat(stripes[None], SIDE, axis=0)
    if channels == 3:
        pixels = pixels[..., None] * np.array([1.0, 0.9, 0.7])
    return np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def good_image(seed: int, channels: int = 3) -> Tensor:
    return to_image(good_pixels(seed, channels), Normalisation())
