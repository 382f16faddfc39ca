"""Families of procedural scalar fields, each drawn for a whole batch at once.

Every family takes the programs' parameters `u` (B, PARAMETERS), uniform in [0, 1], the side in pixels and a
generator that draws what differs between two pictures of the same program, and returns (B, side, side) float32
on the parameters' device. `draw` brings the result to zero mean and unit deviation.

Sources: dead leaves after Lee, Mumford and Huang (IJCV 2001); random iterated function systems after Kataoka et
al., "Pre-training without Natural Images" (ACCV 2020); noise spectra and dead leaves as training data after
Baradad et al., "Learning to See by Looking at Noise" (NeurIPS 2021); Turing patterns by the Swift-Hohenberg equation.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

#: Length of a family's parameter vector.
PARAMETERS = 12

FieldFamily = Callable[[Tensor, int, torch.Generator], Tensor]


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def _logarithmic(u: Tensor, low: float, high: float) -> Tensor:
    """Spreads u in [0, 1] evenly over the logarithms from low to high; (B,) to (B, 1, 1)."""
    return _column(low * (high / low) ** u)


def _uniform(like: Tensor, generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(like.shape[0], *shape, generator=generator, device=like.device)


def coordinates(count: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixel coordinates (x, y), each (count, side, side), views of one grid."""
    axis = torch.arange(side, dtype=torch.float32, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x.expand(count, side, side), y.expand(count, side, side)


def smooth_noise(count: int, side: int, cells: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Bicubic value noise with `cells` cells along a side: (count, side, side), about unit deviation."""
    coarse = torch.randn(count, 1, cells + 1, cells + 1, generator=generator, device=device)
    half = (side + 1) // 2
    if half > 2 * cells:  # the bicubic step at half the size: a quarter of the time, no visible difference
        coarse = F.interpolate(coarse, size=(half, half), mode="bicubic", align_corners=True)
        return F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=True)[:, 0] * 1.4
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)[:, 0] * 1.4


def spectrum(u: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Gaussian noise with an anisotropic power law or a band, then a point-wise curve."""
    fy = torch.fft.fftfreq(side, device=u.device)[:, None]
    fx = torch.fft.rfftfreq(side, device=u.device)[None, :]
    angle, ratio = _column(u[:, 0] * math.pi), _logarithmic(u[:, 1] ** 2, 1.0, 12.0)
    along = fx * angle.cos() + fy * angle.sin()
    across = fy * angle.cos() - fx * angle.sin()
    radius = (along.square() * ratio + across.square() / ratio).sqrt().clamp_min(0.5 / side)
    power_law = radius ** (-(0.2 + 2.0 * _column(u[:, 2])))
    center = _logarithmic(u[:, 3], 0.02, 0.3)
    band = torch.exp(-((radius / center).log().square()) / (0.04 + 0.3 * _column(u[:, 4])))
    shape = torch.where(_column(u[:, 5]) < 0.5, power_law, band)
    noise = torch.fft.rfft2(torch.randn(u.shape[0], side, side, generator=generator, device=u.device))
    field = torch.fft.irfft2(noise * shape, s=(side, side))
    field = field / field.std(dim=(1, 2), keepdim=True).clamp_min(1e-6)
    kind = (_column(u[:, 6]) * 5).long()
    ridged, steps = -field.abs(), (field * (1 + 2 * _column(u[:, 7]))).round()
    return _choose(kind, [field, field, ridged, torch.tanh(4 * (field - _column(u[:, 8]))), steps])


def _choose(kind: Tensor, options: list[Tensor]) -> Tensor:
    result = options[0]
    for index, option in enumerate(options[1:], start=1):
        result = torch.where(kind == index, option, result)
    return result


def _norm_weights(choice: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the Euclidean, the city-block and the largest distance by thirds of `choice` (B,) in [0, 1]."""
    third = (_column(choice) * 3).long().clamp_max(2)
    return (third == 0).float(), (third == 1).float(), (third == 2).float()


def _distance(ax: Tensor, ay: Tensor, weights: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    # a weighted sum, as torch.where with broadcast conditions is several times slower on a CPU
    euclid, city, largest = weights
    return torch.hypot(ax, ay) * euclid + (ax + ay) * city + torch.maximum(ax, ay) * largest


def gratings(u: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Two crossed periodic waves (lines, tiles, weaves), with jitter of the phase."""
    x, y = coordinates(u.shape[0], side, u.device)
    jitter = smooth_noise(u.shape[0], side, 5, generator, u.device) * _column(u[:, 0] ** 3) * 4
    waves = []
    for first in (1, 5):
        angle = _column(u[:, first] * math.pi)
        frequency = 1 / _logarithmic(u[:, first + 1], 4.0, 40.0)
        phase = _column(_uniform(u, generator))
        position = (x * angle.cos() + y * angle.sin() + jitter) * frequency + phase
        saw = position - position.floor()
        duty = 0.1 + 0.8 * _column(u[:, first + 3])
        kind = (_column(u[:, first + 2]) * 3).long()
        square = torch.sigmoid((duty - (2 * saw - 1).abs()) * 20)
        waves.append(_choose(kind, [0.5 + 0.5 * (2 * math.pi * position).cos(), square, 2 * (saw - 0.5).abs()]))
    a, b = waves
    checks = torch.where((a > 0.5) == (b > 0.5), a, 1 - b)
    kind = (_column(u[:, 9]) * 6).long()
    return _choose(kind, [a, a + b, a * b, torch.maximum(a, b), checks, a + 0.3 * b])


def cells(u: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Voronoi cells: distances, walls between cells, or flat grains."""
    x, y = coordinates(u.shape[0], side, u.device)
    angle, stretch = _column(u[:, 0] * math.pi), _logarithmic(u[:, 1] ** 2, 1.0, 4.0).sqrt()
    size = _logarithmic(u[:, 2], 6.0, 40.0)
    gx = (x * angle.cos() + y * angle.sin()) / (size * stretch) + 1.5
    gy = (y * angle.cos() - x * angle.sin()) * stretch / size + 1.5
    table = 64
    irregular = 0.15 + 0.85 * _column(u[:, 3])
    hashed = _uniform(u, generator, 3, table * table)
    norms = _norm_weights(u[:, 4])
    first = torch.full_like(gx, 9.0)
    second, value = first.clone(), torch.zeros_like(gx)
    cx, cy = gx.floor(), gy.floor()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            nx, ny = cx + dx, cy + dy
            index = ((ny.long() & (table - 1)) * table + (nx.long() & (table - 1))).flatten(1)
            ox, oy, level = (hashed[:, k].gather(1, index).view_as(gx) for k in range(3))
            ax = (nx + 0.5 + (ox - 0.5) * irregular - gx).abs()
            ay = (ny + 0.5 + (oy - 0.5) * irregular - gy).abs()
            distance = _distance(ax, ay, norms)
            second = torch.minimum(second, torch.maximum(first, distance))
            value = torch.lerp(value, level, (distance < first).float())
            first = torch.minimum(first, distance)
    wall = torch.sigmoid((second - first - 0.05 - 0.2 * _column(u[:, 6])) * 25)
    kind = (_column(u[:, 5]) * 6).long()
    return _choose(kind, [first, second - first, wall, value, wall * (0.4 + value), (value * 3).floor() + first * 0.5])


def leaves(u: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Dead leaves: opaque shapes dropped one over the other, sizes by a power law."""
    x, y = coordinates(u.shape[0], side, u.device)
    field = torch.zeros_like(x) + 0.5
    slope, smallest, largest = 1.0 + 2.0 * u[:, 0], 2.0 + 4.0 * u[:, 1], 12.0 + 28.0 * u[:, 2]
    stretch = _logarithmic(u[:, 5], 1.0, 5.0).sqrt()
    tilt = _column(u[:, 7] - 0.5)
    for _ in range(60):
        draw = _uniform(u, generator, 7)
        power = smallest**-slope + draw[:, 0] * (largest**-slope - smallest**-slope)
        radius = _column(power ** (-1 / slope))
        turn = _column(u[:, 3] * math.pi + (draw[:, 1] - 0.5) * math.pi * (u[:, 4] > 0.4))
        px, py = x - _column(draw[:, 2] * side), y - _column(draw[:, 3] * side)
        cos, sin = turn.cos(), turn.sin()
        ax = (px * (cos / stretch) + py * (sin / stretch)).abs()
        ay = (py * (cos * stretch) - px * (sin * stretch)).abs()
        inside = _distance(ax, ay, _norm_weights(torch.where(u[:, 6] < 0.7, u[:, 6] / 0.7, draw[:, 4]))) - radius
        shade = _column(draw[:, 5]) + inside * (tilt / radius)
        field = torch.lerp(field, shade, (inside < 0).float())
    return field


def fractal(u: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Attractor of a random iterated function system, drawn by the chaos game, tiled by periodic wrapping."""
    count, points, maps = u.shape[0], 4000, 3
    rotation = 2 * math.pi * u[:, :maps, None] + 0.05 * torch.randn(
        count, maps, 1, generator=generator, device=u.device
    )
    scale = 0.35 + 0.45 * u[:, maps : 2 * maps, None]
    shift_x, shift_y = 2 * u[:, 6:9] - 1, 2 * u[:, 9:12] - 1
    cos, sin = (rotation.cos() * scale)[..., 0], (rotation.sin() * scale)[..., 0]
    px, py = (_uniform(u, generator, points) for _ in range(2))
    histogram = torch.zeros(count, side * side, device=u.device)
    zoom = side * (0.12 + 0.2 * _uniform(u, generator, 1))
    for step in range(14):
        pick = torch.randint(maps, (count, points), generator=generator, device=u.device)
        c, s = cos.gather(1, pick), sin.gather(1, pick)
        px, py = c * px - s * py + shift_x.gather(1, pick), s * px + c * py + shift_y.gather(1, pick)
        if step >= 8:
            column = (px * zoom + side / 2).long().remainder(side)
            row = (py * zoom + side / 2).long().remainder(side)
            histogram.scatter_add_(1, row * side + column, torch.ones_like(px))
    return (1 + histogram.view(count, side, side)).log()


def turing(u: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Spots and labyrinths: the Swift-Hohenberg equation, semi-implicit in Fourier space."""
    fy = torch.fft.fftfreq(side, device=u.device)[:, None]
    fx = torch.fft.rfftfreq(side, device=u.device)[None, :]
    ratio = _logarithmic(u[:, 3] ** 2, 1.0, 2.5)
    k2 = (fx.square() * ratio + fy.square() / ratio) * _logarithmic(u[:, 0], 5.0, 20.0).square()
    drive, bias = 0.15 + 0.6 * _column(u[:, 1]), 1.6 * (_column(u[:, 2]) - 0.5)
    implicit = 1 / (1 + 1.0 * ((1 - k2).square() - drive))
    state = 0.4 * torch.randn(u.shape[0], side, side, generator=generator, device=u.device)
    for _ in range(18):
        force = state + (bias * state.square() - state * state.square())
        state = torch.fft.irfft2(torch.fft.rfft2(force) * implicit.clamp(-4, 4), s=(side, side)).clamp(-2.5, 2.5)
    return torch.where(_column(u[:, 4]) < 0.5, state, torch.tanh(5 * state))


def strokes(u: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Many thin straight strokes around one direction: grinding, brushing, fibres."""
    x, y = coordinates(u.shape[0], side, u.device)
    field = torch.zeros_like(x)
    for _ in range(40):
        draw = _uniform(u, generator, 6)
        angle = _column(u[:, 0] * math.pi + (draw[:, 0] - 0.5) * math.pi * u[:, 1] ** 2)
        px, py = x - _column(draw[:, 1] * side), y - _column(draw[:, 2] * side)
        along = (px * angle.cos() + py * angle.sin()).abs()
        across = py * angle.cos() - px * angle.sin()
        across = across + _column((draw[:, 5] - 0.5) * u[:, 5]) * along.square() * 0.02
        width = _column(1.0 + 3.0 * u[:, 2] * draw[:, 3])
        length = _column((0.1 + u[:, 3]) * side * 0.5)
        profile = (1 - (across / width).square()).clamp_min(0) * ((length - along) / 2).clamp(0, 1)
        strength = _column(torch.where(draw[:, 4] < u[:, 4], -draw[:, 3], 0.3 + draw[:, 3]))
        field = field + profile * strength
    return field


def print_marks(u: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Rows of glyphs of a random font of 5 x 7 dots, or a two-dimensional code."""
    count, glyphs, rows, columns = u.shape[0], 8, 7, 5
    x, y = coordinates(count, side, u.device)
    # the font belongs to the program: dots from a fixed mixing of its parameters
    seedbed = torch.arange(glyphs * rows * columns, device=u.device, dtype=torch.float32)
    font = (((seedbed[None] + 1) * 12.9898 * (0.3 + u[:, :1]) + u[:, 1:2] * 78.233).sin() * 437.585).remainder(1)
    font = (font < 0.35 + 0.3 * u[:, 2:3]).float()
    dot = _logarithmic(u[:, 3], 1.5, 5.0)
    gap_x, gap_y = 1 + (u[:, 4] * 3).long(), 1 + (u[:, 5] * 5).long()
    gx = (x + _column(_uniform(u, generator) * side)) / dot
    gy = (y + _column(_uniform(u, generator) * side)) / dot
    width, height = _column(columns + gap_x), _column(rows + gap_y)
    cell_x, cell_y = (gx / width).long(), (gy / height).long()
    inner_x, inner_y = gx.long() % width, gy.long() % height
    letters = torch.randint(glyphs, (count, 4096), generator=generator, device=u.device)
    letter = letters.gather(1, ((cell_y % 64) * 64 + cell_x % 64).flatten(1))
    position = inner_y.clamp_max(rows - 1) * columns + inner_x.clamp_max(columns - 1)
    ink = font.gather(1, letter * rows * columns + position.flatten(1)).view_as(x)
    return ink * ((inner_x < columns) & (inner_y < rows))


FAMILIES: tuple[FieldFamily, ...] = (
    spectrum, gratings, cells, leaves, fractal, turing, strokes, print_marks,
)  # fmt: skip


def draw(family: int, u: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Fields of one family, zero mean and unit deviation each.

    Args:
        family: Index into `FAMILIES`.
        u: Parameters of the programs, (B, PARAMETERS), in [0, 1].
        side: Height and width in pixels.
        generator: Source of what differs between pictures of one program, on the device of `u`.

    Returns:
        (B, side, side) float32, within [-4, 4].

    >>> generator = torch.Generator().manual_seed(0)
    >>> draw(0, torch.rand(2, PARAMETERS, generator=generator), 32, generator).shape
    torch.Size([2, 32, 32])
    """
    field = FAMILIES[family](u, side, generator)
    deviation, mean = torch.std_mean(field, dim=(1, 2), keepdim=True)
    return ((field - mean) / deviation.clamp_min(1e-4)).clamp(-4, 4)
