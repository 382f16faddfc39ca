"""Outlines are exact: filled again, they give the mask back."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inspector.models.refinement.outlines import draw_outlines, find_outlines

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14)))


@settings(max_examples=60)
@given(MASKS)
def test_pieces_add_up_to_the_mask(mask: np.ndarray) -> None:
    outlines = find_outlines(mask)
    assert sum(outline.area_px for outline in outlines) == mask.sum()
    assert [outline.area_px for outline in outlines] == sorted((o.area_px for o in outlines), reverse=True)
    for outline in outlines:
        piece = mask[outline.top : outline.top + outline.height, outline.left : outline.left + outline.width]
        assert piece[0].any()
        assert piece[-1].any()
        assert piece[:, 0].any()
        assert piece[:, -1].any()
        x, y = outline.contour_px.T
        assert mask[y, x].all()
        assert (x.min(), x.max() + 1 - x.min()) == (outline.left, outline.width)
        assert (y.min(), y.max() + 1 - y.min()) == (outline.top, outline.height)


def test_a_filled_outline_without_its_holes_is_the_piece() -> None:
    mask = np.zeros((40, 50), np.uint8)
    cv2.circle(mask, (25, 20), 14, 1, -1)
    cv2.circle(mask, (25, 20), 6, 0, -1)
    (outline,) = find_outlines(mask > 0)
    filled = np.zeros_like(mask)
    cv2.fillPoly(filled, [outline.contour_px], 1)
    (hole,) = outline.holes_px
    cv2.fillPoly(filled, [hole], 0)
    cv2.polylines(filled, [hole], True, 1)
    assert np.array_equal(filled, mask)


def test_record_is_plain_numbers() -> None:
    mask = np.zeros((6, 6), np.bool_)
    mask[1:3, 2:5] = True
    (outline,) = find_outlines(mask)
    assert outline.as_record() == {
        "area_px": 6,
        "box_px": {"left": 2, "top": 1, "width": 3, "height": 2},
        "outline_px": [[2, 1], [2, 2], [4, 2], [4, 1]],
        "holes_px": [],
    }


def test_picture_is_enlarged_and_shows_the_image_away_from_the_lines() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    mask = np.zeros((64, 64), np.bool_)
    mask[30:40, 30:40] = True
    picture = draw_outlines(pixels, find_outlines(mask))
    assert picture.shape == (640, 640, 3)
    assert np.array_equal(picture[:200, :200, 0], np.repeat(np.repeat(pixels[:20, :20], 10, 0), 10, 1))
    assert np.array_equal(picture[330:370, 330:370, 1], np.repeat(np.repeat(pixels[33:37, 33:37], 10, 0), 10, 1))
    assert (picture == (255, 64, 32)).all(axis=2).any()
    assert np.array_equal(draw_outlines(pixels, ()), np.repeat(np.repeat(pixels, 10, 0), 10, 1)[..., None].repeat(3, 2))


def test_an_empty_mask_has_no_outline() -> None:
    assert find_outlines(np.zeros((5, 5), np.bool_)) == ()
