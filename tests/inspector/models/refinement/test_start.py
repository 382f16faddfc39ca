"""Where the optimisation starts, and what is left of its mask."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.domain.errors import DataError
from inspector.models.refinement.settings import Settings
from inspector.models.refinement.start import INPAINTERS, Inpainter, exemplar, membrane, telea, widened, without_specks


@pytest.mark.parametrize("fill", INPAINTERS)
@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3)])
def test_inpainting_fills_the_mask_from_its_surroundings_and_leaves_the_rest(
    fill: Inpainter, shape: tuple[int, ...]
) -> None:
    pixels = np.full(shape, 90, np.uint8)
    mask = np.zeros(shape[:2], np.bool_)
    mask[10:20, 10:20] = True
    damaged = pixels.copy()
    damaged[mask] = 250
    assert np.abs(fill(damaged, mask).astype(int) - pixels).max() <= 3
    damaged[0, 0] = 3
    assert np.array_equal(fill(damaged, mask)[~mask], damaged[~mask])


@pytest.mark.parametrize("channels", [1, 3])
def test_exemplar_continues_a_texture(channels: int) -> None:
    rows, columns = np.mgrid[:48, :64]
    pixels = (110 + 40 * np.sin(rows / 2.0) + 30 * np.cos(columns / 3.0)).astype(np.uint8)
    if channels == 3:
        pixels = np.stack([pixels, 255 - pixels, pixels // 2], axis=2)
    mask = np.zeros((48, 64), np.bool_)
    mask[18:30, 20:34] = True
    damaged = pixels.copy()
    damaged[mask] = 250
    filled = exemplar(damaged, mask)
    assert np.array_equal(filled[~mask], pixels[~mask])
    errors = [np.abs(fill[mask].astype(int) - pixels[mask]).mean() for fill in (filled, telea(damaged, mask))]
    assert errors[0] < 0.4 * errors[1]


def test_membrane_continues_a_slope_also_at_the_border() -> None:
    slope = np.repeat((50 + 3 * np.arange(40, dtype=np.uint8))[None], 30, axis=0)
    mask = np.zeros((30, 40), np.bool_)
    mask[:12, 8:30] = True
    damaged = np.where(mask, 0, slope).astype(np.uint8)
    assert np.array_equal(membrane(damaged, mask), slope)
    assert np.array_equal(membrane(slope, np.zeros_like(mask)), slope)


def test_exemplar_falls_back_where_the_image_has_no_other_place() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)
    mask = np.zeros((20, 20), np.bool_)
    mask[3:17, 3:17] = True
    assert np.array_equal(exemplar(pixels, mask), membrane(pixels, mask))
    assert np.array_equal(exemplar(pixels, np.ones((20, 20), np.bool_)), telea(pixels, np.ones((20, 20), np.bool_)))


def test_a_mask_that_covers_everything_leaves_the_mean() -> None:
    assert np.array_equal(telea(np.array([[10, 20]], np.uint8), np.ones((1, 2), np.bool_)), [[15, 15]])


def test_mask_is_widened_evenly() -> None:
    mask = np.zeros((21, 21), np.bool_)
    mask[10, 10] = True
    wide = widened(mask, 6)
    assert wide[10, 7]
    assert not wide[10, 6]
    assert np.array_equal(wide, wide[::-1, ::-1])
    assert np.array_equal(widened(mask, 0), mask)


def test_specks_are_dropped_and_the_rest_kept() -> None:
    mask = np.zeros((8, 8), np.bool_)
    mask[0, 0] = True
    mask[4:6, 4:6] = True
    expected = mask.copy()
    expected[0, 0] = False
    assert np.array_equal(without_specks(mask, 4), expected)
    assert np.array_equal(without_specks(mask, 0), mask)
    assert not without_specks(np.zeros((3, 3), np.bool_), 0).any()


@pytest.mark.parametrize("changes", [{"sparsity": -1.0}, {"window_px": 4}, {"epsilon": 0.0}, {"knee": 0.0}])
def test_senseless_settings_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(DataError):
        Settings(**changes)  # type: ignore[arg-type]
