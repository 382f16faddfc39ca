"""Parts for tests of the refinement: grey stripes of 128 px, and the same with a bright patch."""

from __future__ import annotations

import numpy as np

from inspector.domain.frame import Pixels

SIDE_PX = 128
#: Rows and columns of the patch.
PATCH = slice(40, 60), slice(70, 94)


def striped_part(seed: int) -> Pixels:
    """A good part."""
    stripes = 100 + 30 * np.sin(np.arange(SIDE_PX) / 3.0)
    noise = np.random.default_rng(seed).normal(0, 3, (SIDE_PX, SIDE_PX))
    return np.clip(stripes[None] + noise, 0, 255).astype(np.uint8)


def damaged_part(seed: int) -> Pixels:
    """A part with a patch."""
    pixels = striped_part(seed)
    pixels[PATCH] = 250
    return pixels
