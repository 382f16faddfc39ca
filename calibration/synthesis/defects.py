"""What a synthetic defect looks like: the anomaly source S of F2PAD's eq. 16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.synthesis.masks import random_mask
from inspector.domain.errors import DataError
from inspector.domain.frame import Mask, Pixels

Kind = Literal["colour", "structural"]
KINDS: tuple[Kind, ...] = ("colour", "structural")

#: Draws before an image is given up.
_TRIES = 60
#: Factors that a colour too close to the image is multiplied with, those nearest to 1 first.
_FACTORS = (1.0, 0.7, 1.4, 0.5, 2.0, 0.35, 3.0, 0.2, 5.0)
#: Share of a drawn mask that must stay visible.
_KEPT = 0.9


@dataclass(frozen=True)
class Look:
    """How defects are drawn.

    Attributes:
        area: Smallest and largest area in units of the image's (the paper's largest is 0.13); drawn evenly on a
            logarithmic scale.
        contrast: Smallest change of a defective pixel, L2 norm over its channels in units of 0 to 255.
    """

    area: tuple[float, float] = (0.005, 0.08)
    contrast: float = 40.0


@dataclass(frozen=True)
class Defect:
    """A damaged image.

    Attributes:
        pixels: uint8, shape of the good image.
        mask: bool, (H, W): the pixels that the defect replaced; all others are those of the good image.
        colour: Of a colour defect, one value for each channel; else None.
    """

    pixels: Pixels
    mask: Mask
    colour: tuple[int, ...] | None = None


def compose(good: Pixels, source: Pixels, mask: Mask) -> Pixels:
    """X = (1 - M) * I + M * S (F2PAD paper, eq. 16).

    Args:
        good: I, uint8, (H, W) or (H, W, 3).
        source: S, broadcastable to `good`.
        mask: M, bool, (H, W).

    >>> compose(np.zeros((1, 2), np.uint8), np.full((1, 2), 9, np.uint8), np.array([[False, True]])).tolist()
    [[0, 9]]
    """
    inside = mask if good.ndim == 2 else mask[..., None]
    return np.where(inside, source, good)


def make_defect(
    rng: np.random.Generator,
    kind: Kind,
    good: Pixels,
    *,
    donors: Sequence[Pixels] = (),
    look: Look | None = None,
    sources: Sequence[Mask] = (),
) -> Defect:
    """Draws a defect on a good image.

    Args:
        rng: Source of chance; the same state gives the same defect.
        kind: "colour" fills the mask with a random colour; "structural" pastes what another good image shows in its
            other half (the paper's cut-paste for capsules).
        good: uint8, (H, W) grey or (H, W, 3) RGB.
        donors: Other good images with the same channels, for "structural".
        look: Areas and contrast.
        sources: Real masks to take shapes from, see `random_mask`.

    Raises:
        DataError: No draw is visible enough.
    """
    look = look or Look()
    height, width = good.shape[:2]
    smallest, largest = np.log(look.area)
    for _ in range(_TRIES):
        area_px = max(1.0, float(np.exp(rng.uniform(smallest, largest))) * height * width)
        mask = random_mask(rng, (height, width), area_px, sources)
        if kind == "colour":
            defect = _coloured(rng, good, mask, look.contrast)
        else:
            defect = _pasted(rng, good, donors, mask, look.contrast)
        if defect is not None:
            return defect
    raise DataError(
        f"no {kind} defect with a contrast of {look.contrast:g} could be made in {_TRIES} draws; lower --contrast"
    )


def _distance(good: Pixels, source: NDArray[np.generic]) -> NDArray[np.float64]:
    """L2 norm over the channels of the difference at each pixel."""
    difference = good.astype(np.float64) - source.astype(np.float64)
    return np.abs(difference) if good.ndim == 2 else np.sqrt(np.square(difference).sum(axis=2))


def _coloured(rng: np.random.Generator, good: Pixels, mask: Mask, contrast: float) -> Defect | None:
    """A single random colour, far from every pixel that it replaces.

    "If not satisfied, we change S by multiplying a desired factor": the factor nearest to 1 that leaves most of
    the mask visible. Pixels that are still too close stay as they were and leave the mask, so that the truth holds.
    """
    channels = 1 if good.ndim == 2 else good.shape[2]
    drawn = rng.integers(16, 256, channels)
    for factor in _FACTORS:
        colour = np.clip(np.round(drawn * factor), 0, 255).astype(np.uint8)
        far = mask & (_distance(good, colour) >= contrast)
        if far.sum() >= _KEPT * mask.sum():
            return Defect(compose(good, colour, far), far, tuple(int(value) for value in colour))
    return None


def _pasted(
    rng: np.random.Generator, good: Pixels, donors: Sequence[Pixels], mask: Mask, contrast: float
) -> Defect | None:
    """What another good image shows in its other half, visible in most of the mask."""
    if not donors:
        return None
    donor = donors[int(rng.integers(len(donors)))]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    middle = donor.shape[1] // 2
    in_left_half = 2 * left + width < mask.shape[1]
    first, last = (middle, donor.shape[1] - width) if in_left_half else (0, middle - width)
    if donor.shape[0] < height or last < first:
        return None
    row, column = int(rng.integers(donor.shape[0] - height + 1)), int(rng.integers(first, last + 1))
    source = good.copy()
    source[top : top + height, left : left + width] = donor[row : row + height, column : column + width]
    changed = mask & (_distance(good, source) > 0)
    if np.median(_distance(good, source)[mask]) < contrast:
        return None
    return Defect(compose(good, source, changed), changed)
