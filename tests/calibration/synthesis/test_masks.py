"""Generated masks lie in the image and have about the area that was asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calibration.synthesis.masks import random_mask

SIDES = st.integers(32, 160)


@given(st.integers(0, 10_000), SIDES, SIDES, st.floats(0.003, 0.1))
def test_mask_has_about_the_area_asked_for(seed: int, height: int, width: int, share: float) -> None:
    area_px = share * height * width
    mask = random_mask(np.random.default_rng(seed), (height, width), area_px)
    assert mask.shape == (height, width)
    assert 1 <= mask.sum() <= 2.5 * area_px + 30


@given(st.integers(0, 10_000), st.floats(1.0, 5000.0))
def test_real_masks_are_resized_to_the_area(seed: int, area_px: float) -> None:
    source = np.zeros((80, 60), np.bool_)
    source[20:50, 10:40] = True
    mask = random_mask(np.random.default_rng(seed), (96, 128), area_px, [source])
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    assert mask.sum() == len(rows) * len(columns)  # a square stays one, placed whole
    assert abs(np.sqrt(mask.sum()) - np.sqrt(area_px)) <= 1.0
