"""Synthetic local defects, painted into surfaces together with their label maps."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.pretraining.fields import coordinates, smooth_noise

#: Label 0 is the intact surface.
DEFECTS = (
    "intact", "scratch", "crack", "pit", "stain", "dent", "foreign", "worn", "displaced", "chip", "grain",
)  # fmt: skip
_SEGMENTS = 6
#: A pixel counts as defective where the surface nearby changed by at least this much of the full range.
_VISIBLE = 0.04


def _at(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)


def blobs(count: int, side: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ragged blobs: signed field (positive inside, about 1 in the middle), unit directions x and y from the middle.

    Returns:
        Three (count, side, side) tensors.
    """
    x, y = coordinates(count, side, device)
    draw = torch.rand(count, 6, generator=generator, device=device)
    radius = _at(2.5 * (0.26 * side / 2.5) ** draw[:, 0])
    stretch, angle = _at(1 + 1.5 * draw[:, 1].square()), _at(draw[:, 2] * math.pi)
    px, py = x - _at((0.1 + 0.8 * draw[:, 3]) * side), y - _at((0.1 + 0.8 * draw[:, 4]) * side)
    along = (px * angle.cos() + py * angle.sin()) / stretch
    across = (py * angle.cos() - px * angle.sin()) * stretch.sqrt()
    distance = torch.hypot(along, across)
    ragged = smooth_noise(count, side, 12, generator, device) * 0.35 * _at(draw[:, 5])
    return 1 - distance / radius + ragged, along / radius, across / radius


def lines(count: int, side: int, wiggle: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
    """Distance in pixels from a random walk of segments, (count, side, side); `wiggle` (count,) bends it."""
    x, y = coordinates(count, side, device)
    draw = torch.rand(count, 4, generator=generator, device=device)
    px, py = _at((0.1 + 0.8 * draw[:, 0]) * side), _at((0.1 + 0.8 * draw[:, 1]) * side)
    angle = _at(draw[:, 2] * 2 * math.pi)
    step = _at(side * (0.03 + 0.12 * draw[:, 3]))
    distance = torch.full((count, side, side), float(side), device=device)
    for _ in range(_SEGMENTS):
        turn = torch.randn(count, generator=generator, device=device)
        angle = angle + _at(turn * wiggle)
        dx, dy = angle.cos(), angle.sin()
        rx, ry = x - px, y - py
        along = torch.minimum((rx * dx + ry * dy).clamp_min(0), step)
        distance = torch.minimum(distance, torch.hypot(rx - along * dx, ry - along * dy))
        px, py = px + dx * step, py + dy * step
    return distance


def damage(surfaces: Tensor, foreign: Tensor, displaced: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Paints one random defect into each surface.

    Args:
        surfaces: (B, 3, side, side) in [0, 1].
        foreign: Pictures of other programs, same shape: material of foreign bodies.
        displaced: Other parts of the same pictures, same shape.
        generator: On the images' device.

    Returns:
        Damaged surfaces, like `surfaces`; labels (B, side, side) int64, indices into `DEFECTS`.
    """
    count, _, side, _ = surfaces.shape
    device = surfaces.device
    kind = torch.randint(1, len(DEFECTS), (count,), generator=generator, device=device)
    draw = torch.rand(count, 6, generator=generator, device=device)
    inside, bx, by = blobs(count, side, generator, device)
    crack = kind == 2
    line = lines(count, side, torch.where(crack, 0.8, 0.12), generator, device)
    ragged = smooth_noise(count, side, 24, generator, device)
    width = _at(0.5 + 1.5 * draw[:, 0]) + torch.where(_at(crack), 0.5 * ragged, 0.0)
    line_mask = ((width - line) * 1.2 + 0.5).clamp(0, 1)
    hard, soft = (inside * 6).clamp(0, 1), inside.clamp(0, 1)

    def is_kind(*names: str) -> Tensor:
        return _at(sum((kind == DEFECTS.index(n)).float() for n in names))  # type: ignore[arg-type]

    mask = is_kind("scratch", "crack") * line_mask + is_kind("stain", "dent") * soft
    mask = mask + is_kind("pit", "foreign", "worn", "displaced", "chip", "grain") * hard
    sign = torch.where(draw[:, 1] < 0.6, -1.0, 1.0)
    contrast = _at(sign * (0.12 + 0.5 * draw[:, 2]))
    slope = (bx * _at(draw[:, 3]) + by * _at(1 - draw[:, 3])).clamp(-1, 1) * 2
    speckle = torch.randn(count, side, side, generator=generator, device=device)
    delta = is_kind("scratch", "crack", "stain") * contrast
    delta = delta + is_kind("pit") * contrast * (0.6 + 0.6 * slope) + is_kind("dent") * slope * contrast.abs() * 1.5
    delta = delta + is_kind("grain") * speckle * contrast.abs() * 0.6
    colour = torch.lerp(
        torch.ones(count, 3, 1, 1, device=device),
        2 * torch.rand(count, 3, 1, 1, generator=generator, device=device),
        (draw[:, 4] * is_kind("stain").view(-1)).view(-1, 1, 1, 1),
    )
    flat = foreign.mean(dim=(2, 3), keepdim=True) * 0.5
    material = torch.lerp(surfaces, foreign, is_kind("foreign")[:, None])
    material = torch.lerp(material, displaced, is_kind("displaced")[:, None])
    material = torch.lerp(material, flat.expand_as(material), is_kind("chip")[:, None] * 0.9)
    coarse = F.avg_pool2d(surfaces, 6, ceil_mode=True)
    worn = F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    material = torch.lerp(material, worn, is_kind("worn")[:, None])
    damaged = torch.lerp(surfaces, material + delta[:, None] * colour, mask[:, None]).clamp(0, 1)
    change = (damaged - surfaces).abs().mean(dim=1, keepdim=True)
    visible = F.max_pool2d(change, 5, 1, 2)[:, 0] > _VISIBLE
    labels = torch.where((mask > 0.3) & visible, _at(kind), 0)
    return damaged, labels
