"""What a camera and its lamps make of a surface: lighting, optics, sensor, colour balance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.pretraining.fields import smooth_noise

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """Images in [0, 1], (B, 3, H, W), to ImageNet's normalisation, the input of every backbone here."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)


def blur(images: Tensor, amount: Tensor) -> Tensor:
    """Mixes each image with its 5 x 5 binomial blur; `amount` (B,) in [0, 1]."""
    # shifted sums: depthwise convolutions are slow on a CPU
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    row = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    row = row[..., :-2] + 2 * row[..., 1:-1] + row[..., 2:]
    column = row[..., :-2, :] + 2 * row[..., 1:-1, :] + row[..., 2:, :]
    soft = (column[..., :-2, :] + 2 * column[..., 1:-1, :] + column[..., 2:, :]) / 256
    return torch.lerp(images, soft, amount.view(-1, 1, 1, 1))


def photograph(images: Tensor, generator: torch.Generator) -> Tensor:
    """One random exposure of each surface.

    Args:
        images: Surfaces, (B, 3, side, side) in [0, 1].
        generator: On the images' device.

    Returns:
        (B, 3, side, side) in [0, 1], quantised to 8 bits; about half of them grey.
    """
    count, _, side, _ = images.shape
    device = images.device
    r = torch.rand(count, 12, 1, 1, generator=generator, device=device)
    gains = 1 + 0.3 * (torch.rand(count, 3, 1, 1, generator=generator, device=device) - 0.5) * (r[:, :1] < 0.5)
    images = images * gains
    grey = (images * torch.tensor([0.3, 0.59, 0.11], device=device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    images = torch.lerp(images, grey.expand_as(images), (r[:, 1:2] < 0.5).float())
    light = smooth_noise(count, side, 2, generator, device)[:, None] * 0.15 * r[:, 2:3].square()
    images = (images * (1 + light)).clamp_min(1e-4)
    images = images ** (2 ** (1.2 * (r[:, 3:4] - 0.5)))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * (0.6 + 0.8 * r[:, 4:5]) + mean + 0.3 * (r[:, 5:6] - 0.5)
    images = blur(images, (1.6 * r[:, 6, 0, 0] - 0.8).clamp_min(0))
    sensor = torch.randn(count, 3, side, side, generator=generator, device=device)
    same = (r[:, 1:2] < 0.5).float()
    sensor = torch.lerp(sensor, sensor[:, :1].expand_as(sensor), same)
    sigma = 0.05 * r[:, 7:8].square() * (0.4 + 0.6 * images.clamp(0, 1).sqrt())
    return ((images + sensor * sigma).clamp(0, 1) * 255).round() / 255
