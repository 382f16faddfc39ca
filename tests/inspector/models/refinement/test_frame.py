"""Masks and recovered images come back to the camera's frame."""

from __future__ import annotations

import numpy as np
import torch

from inspector.models.refinement.canvas import Canvas, Window, to_image, to_pixels
from inspector.models.refinement.frame import frame_mask, recovered_frame
from inspector.models.refinement.optimise import Refinement
from inspector.recipe.manifest import Geometry, Normalisation, Region


def test_mask_of_the_same_size_stays_the_same() -> None:
    mask = np.random.default_rng(0).random((32, 48)) < 0.3
    assert np.array_equal(frame_mask(mask, (48, 32), Geometry(width_px=48, height_px=32)), mask)


def test_mask_is_enlarged_in_place_inside_of_the_region() -> None:
    mask = np.zeros((32, 32), np.bool_)
    mask[8:16, 4:12] = True
    geometry = Geometry(width_px=32, height_px=32, region_px=Region(left=10, top=20, width=64, height=96))
    large = frame_mask(mask, (120, 130), geometry)
    expected = np.zeros((130, 120), np.bool_)
    expected[20 + 24 : 20 + 48, 10 + 8 : 10 + 24] = True
    assert (large ^ expected).sum() <= 12  # the corners are rounded


def test_recovered_frame_keeps_its_own_pixels_where_nothing_was_found() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 200, (64, 64), np.uint8)
    geometry, normalisation = Geometry(width_px=32, height_px=32), Normalisation()
    image = to_image(pixels[::2, ::2], normalisation)
    clean = image.clone()
    clean[..., 8:12, 8:12] += torch.tensor([20 / 255 / 0.229, 20 / 255 / 0.224, 20 / 255 / 0.225]).view(3, 1, 1)
    empty = np.zeros((32, 32), np.bool_)
    found = Refinement(empty, empty, empty, image, clean, clean, (), 0)
    result = recovered_frame(pixels, found, image[0].numpy(), geometry, normalisation)
    assert np.array_equal(result[:14], pixels[:14])
    assert np.array_equal(result[18:22, 18:22], pixels[18:22, 18:22] + 20)


def test_pixels_survive_the_way_to_the_network_and_back() -> None:
    rng = np.random.default_rng(2)
    for shape in ((9, 7), (9, 7, 3)):
        pixels = rng.integers(0, 256, shape, np.uint8)
        assert np.array_equal(
            to_pixels(to_image(pixels, Normalisation()), Normalisation(), grey=len(shape) == 2), pixels
        )


def test_grey_canvas_has_one_variable_for_three_channels() -> None:
    canvas = Canvas(Normalisation(), grey=True)
    image = to_image(np.arange(64, dtype=np.uint8).reshape(8, 8), Normalisation())
    paint = canvas.narrow(image)
    assert paint.shape == (1, 1, 8, 8)
    assert torch.allclose(canvas.wide(paint), image, atol=1e-5)


def test_window_holds_the_mask_and_pastes_back() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[1:4, 10:15] = True
    window = Window.around(mask, 3)
    assert (window.rows, window.columns) == (slice(0, 7), slice(7, 18))
    image = torch.randn(1, 3, 20, 30)
    assert torch.equal(window.pasted(image, window.cut(image)), image)
