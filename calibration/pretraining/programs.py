"""Picture programs: a fixed recipe of fields, relief and colours for each index, and a bank of their pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.pretraining.fields import FAMILIES, PARAMETERS, draw, smooth_noise

_COLOUR_STOPS = 4


@dataclass(frozen=True)
class Programs:
    """Parameters of a set of programs; row i is program i.

    Attributes:
        family: Families of the two fields, (N, 2) int64.
        u: Parameters of the two fields, (N, 2, PARAMETERS) in [0, 1].
        mixing: How the fields are combined, lit and warped, (N, 12) in [0, 1].
        colours: Colour stops of the palette, (N, 4, 3) in [0, 1].
    """

    family: Tensor
    u: Tensor
    mixing: Tensor
    colours: Tensor

    def __len__(self) -> int:
        return self.family.shape[0]

    def take(self, index: Tensor) -> Programs:
        """The programs of the given indices, (B,) int64."""
        return Programs(self.family[index], self.u[index], self.mixing[index], self.colours[index])


def make_programs(count: int, seed: int, device: torch.device | str = "cpu") -> Programs:
    """Draws `count` programs; the same seed gives the same programs on every device.

    >>> len(make_programs(5, seed=0))
    5
    """
    generator = torch.Generator().manual_seed(seed)
    family = torch.randint(len(FAMILIES), (count, 2), generator=generator)
    u = torch.rand(count, 2, PARAMETERS, generator=generator)
    mixing = torch.rand(count, 12, generator=generator)
    colours = torch.rand(count, _COLOUR_STOPS, 3, generator=generator)
    saturation = torch.rand(count, 1, 1, generator=generator)
    colours = torch.lerp(colours.mean(dim=2, keepdim=True).expand_as(colours), colours, saturation)
    return Programs(family.to(device), u.to(device), mixing.to(device), colours.to(device))


def render(programs: Programs, side: int, generator: torch.Generator) -> Tensor:
    """One picture of each program.

    Args:
        programs: B programs.
        side: Height and width in pixels.
        generator: Source of what differs between pictures of one program, on the programs' device.

    Returns:
        (B, 3, side, side) float32 in [0, 1].
    """
    device = programs.u.device
    count = len(programs)
    fields = torch.zeros(2, count, side, side, device=device)
    for slot in range(2):
        for family in range(len(FAMILIES)):
            rows = (programs.family[:, slot] == family).nonzero()[:, 0]
            if len(rows):
                fields[slot, rows] = draw(family, programs.u[rows, slot], side, generator)
    m = programs.mixing[:, :, None, None]
    first, second = fields[0], fields[1]
    first = _warp(first, second, m[:, 0, 0, 0])
    weight = m[:, 1] * 0.6
    mode = (m[:, 2] * 4).long()
    mixed = first * (1 - weight) + second * weight
    masked = torch.where(second > 0.5, first, second * 0.4 - 1)
    height = torch.where(mode == 0, first, torch.where(mode == 1, masked, mixed))
    shade = _relief(height, programs.mixing, generator)
    tone = torch.sigmoid(1.2 * height)
    colour = _palette(tone, programs.colours)
    lit = torch.where(m[:, 3, None] < 0.5, colour * shade[:, None], colour)
    bare = programs.colours[:, :1, :, None].transpose(1, 2) * shade[:, None]
    return torch.where(m[:, 3, None] < 0.25, bare, lit).clamp(0, 1)


def _warp(field: Tensor, by: Tensor, strength: Tensor) -> Tensor:
    """Shifts pixels of a field along the smoothed gradient of another; about half the programs don't."""
    side = field.shape[-1]
    amount = (strength - 0.5).clamp_min(0)[:, None, None] * 0.12
    soft = F.avg_pool2d(by[:, None], 9, 1, 4)[:, 0]
    axis = (torch.arange(side, device=field.device, dtype=torch.float32) + 0.5) / side * 2 - 1
    gy, gx = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([gx + amount * soft, gy + amount * soft.roll(side // 3, dims=1)], dim=-1)
    return F.grid_sample(field[:, None], grid, padding_mode="reflection", align_corners=False)[:, 0]


def _relief(height: Tensor, mixing: Tensor, generator: torch.Generator) -> Tensor:
    """Lambert and Blinn-Phong shading of the field as a height, (B, H, W), about 0.1 to 1.6."""
    soft = F.avg_pool2d(F.pad(height[:, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[:, 0]
    depth = (0.3 + 2.5 * mixing[:, 4])[:, None, None]
    nx = -torch.gradient(soft, dim=2)[0] * depth
    ny = -torch.gradient(soft, dim=1)[0] * depth
    norm = (nx.square() + ny.square() + 1).rsqrt()
    # the lamp's azimuth is the picture's, its elevation and the gloss are the program's
    azimuth = torch.rand(len(mixing), generator=generator, device=mixing.device)[:, None, None] * 6.2832
    elevation = (0.4 + 0.8 * mixing[:, 5])[:, None, None]
    lx, ly, lz = azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()
    diffuse = ((nx * lx + ny * ly + lz) * norm).clamp_min(0)
    hx, hy, hz = lx, ly, lz + 1
    half = (hx.square() + hy.square() + hz.square()).rsqrt()
    gloss = ((nx * hx + ny * hy + hz) * norm * half).clamp_min(0)
    exponent = (8 + 60 * mixing[:, 6])[:, None, None]
    return 0.15 + diffuse + 0.7 * mixing[:, 7, None, None].square() * gloss**exponent


def _palette(tone: Tensor, colours: Tensor) -> Tensor:
    """Piecewise linear colours: tone (B, H, W) in [0, 1], stops (B, 4, 3), to (B, 3, H, W)."""
    position = tone.clamp(0, 1 - 1e-6) * (_COLOUR_STOPS - 1)
    index = position.long().flatten(1)
    fraction = (position - position.floor()).flatten(1)[:, None]
    stops = colours.transpose(1, 2)
    low = stops.gather(2, index[:, None].expand(-1, 3, -1))
    high = stops.gather(2, (index + 1)[:, None].expand(-1, 3, -1))
    return torch.lerp(low, high, fraction).view(len(tone), 3, *tone.shape[1:])


class Bank:
    """Pictures of all programs, renewed bit by bit, so that drawing pictures never limits training.

    Args:
        programs: The programs, on the device where the pictures are drawn and kept.
        per_program: Pictures of each program that are kept.
        side: Height and width of the pictures in pixels.
        seed: Seed of the pictures.

    Attributes:
        pictures: (programs * per_program, 3, side, side) uint8; picture i is of program ``i // per_program``.
    """

    def __init__(self, programs: Programs, per_program: int, side: int, seed: int) -> None:
        self.programs, self.per_program, self.side = programs, per_program, side
        device = programs.u.device
        self._generator = torch.Generator(device).manual_seed(seed)
        self._next = 0
        self.pictures = torch.zeros(len(programs) * per_program, 3, side, side, dtype=torch.uint8, device=device)
        while self._next < len(self.pictures):
            self.renew(64)
        self._next = 0

    def renew(self, count: int) -> None:
        """Draws the next `count` pictures anew; at the end it starts from the first again."""
        if self._next >= len(self.pictures):
            self._next = 0
        index = torch.arange(self._next, min(self._next + count, len(self.pictures)))
        rendered = render(self.programs.take((index // self.per_program).to(self.programs.u.device)), self.side,
                          self._generator)  # fmt: skip
        self.pictures[index] = (rendered * 255).round().to(torch.uint8)
        self._next += len(index)


__all__ = ["Bank", "Programs", "make_programs", "render", "smooth_noise"]
