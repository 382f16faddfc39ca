"""Training crops: scenes of one or two surfaces, once intact and once damaged, each photographed on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.pretraining.camera import normalise, photograph
from calibration.pretraining.defects import blobs, damage
from calibration.pretraining.fields import coordinates, smooth_noise
from calibration.pretraining.programs import Bank


@dataclass(frozen=True)
class Batch:
    """B scenes, each seen twice.

    Attributes:
        intact: First views, (B, 3, side, side), normalised for the backbones.
        damaged: Second views of the same scenes, with defects.
        program: Program of each pixel, (B, side, side) int64; the number of programs stands for plain paint.
        defect: Defect of each pixel of the second views, (B, side, side) int64, indices into `DEFECTS`.
    """

    intact: Tensor
    damaged: Tensor
    program: Tensor
    defect: Tensor


def make_batch(bank: Bank, count: int, side: int, generator: torch.Generator) -> Batch:
    """Composes, damages and photographs `count` scenes.

    Args:
        bank: Source of surfaces.
        count: Scenes, B.
        side: Height and width of the crops in pixels, not more than the bank's pictures.
        generator: On the bank's device.

    Returns:
        A batch on the bank's device.
    """
    device = bank.pictures.device
    total, plain = len(bank.pictures), len(bank.programs)
    index = torch.randint(total, (3, count), generator=generator, device=device)
    ground, other, foreign = (_sample(bank.pictures[i], side, generator) for i in index)
    displaced = _sample(bank.pictures[index[0]], side, generator)
    draw = torch.rand(count, 4, generator=generator, device=device)
    paint = torch.rand(count, 3, 1, 1, generator=generator, device=device)
    is_plain = draw[:, 0] < 0.25
    other = torch.where(is_plain.view(-1, 1, 1, 1), paint.expand_as(other), other)
    region = _region(count, side, generator, device)
    surfaces = torch.lerp(ground, other, (region * 1.5 + 0.5).clamp(0, 1)[:, None])
    ground_label = (index[0] // bank.per_program).view(-1, 1, 1)
    other_label = torch.where(is_plain, plain, index[1] // bank.per_program).view(-1, 1, 1)
    program = torch.where(region > 0, other_label, ground_label)

    damaged, defect = damage(surfaces, foreign, displaced, generator)
    again, more = damage(damaged, foreign.flip(0), displaced.flip(2), generator)
    twice = (draw[:, 1] < 0.4).view(-1, 1, 1)
    damaged = torch.where(twice[:, None], again, damaged)
    defect = torch.where(twice & (more > 0), more, defect)
    views = normalise(photograph(torch.cat([surfaces, damaged]), generator))
    return Batch(views[:count], views[count:], program, defect)


def _sample(pictures: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A randomly turned, mirrored, scaled and placed part of each picture, (B, 3, side, side) in [0, 1]."""
    count, _, full, _ = pictures.shape
    r = torch.rand(count, 6, generator=generator, device=pictures.device)
    angle = r[:, 0] * 2 * math.pi
    scale = side / full * 2 ** (1.4 * (r[:, 1] - 0.5))
    mirror = torch.where(r[:, 2] < 0.5, -1.0, 1.0)
    aspect = 2 ** (0.4 * (r[:, 3] - 0.5))
    room = (1 - scale).clamp_min(0)
    row_x = torch.stack([scale * angle.cos() * mirror, -scale * angle.sin() * aspect, room * (2 * r[:, 4] - 1)], dim=1)
    row_y = torch.stack([scale * angle.sin() * mirror, scale * angle.cos() * aspect, room * (2 * r[:, 5] - 1)], dim=1)
    grid = F.affine_grid(torch.stack([row_x, row_y], dim=1), [count, 3, side, side], align_corners=False)
    return F.grid_sample(pictures.float() / 255, grid, padding_mode="reflection", align_corners=False)


def _region(count: int, side: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Signed field in pixels, positive where the second surface lies: nothing, an edge, a blob or noise."""
    x, y = coordinates(count, side, device)
    r = torch.rand(count, 4, generator=generator, device=device)
    angle = (r[:, 0] * 2 * math.pi).view(-1, 1, 1)
    edge = (x - side / 2) * angle.cos() + (y - side / 2) * angle.sin() + ((r[:, 1] - 0.5) * side * 0.7).view(-1, 1, 1)
    blob = blobs(count, side, generator, device)[0] * 8
    noise = smooth_noise(count, side, 3, generator, device) * 8
    kind = (r[:, 2] * 10).long().view(-1, 1, 1)
    nothing = torch.full_like(edge, -10.0)
    return torch.where(kind < 4, nothing, torch.where(kind < 6, edge, torch.where(kind < 8, blob, noise)))
