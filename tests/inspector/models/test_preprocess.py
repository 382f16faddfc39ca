"""Calibration and line see the same picture: cropped, resized without aliasing, normalised."""

from __future__ import annotations

import resource
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from inspector.models.preprocess import Preprocess
from inspector.recipe.manifest import Geometry, Normalisation

MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])
PLAIN = Normalisation(mean=(0, 0, 0), deviation=(1, 1, 1))


def preprocess(frame: np.ndarray, normalisation: Normalisation | None = None, **geometry: Any) -> Tensor:
    size = {"width_px": frame.shape[1], "height_px": frame.shape[0]}
    settings = Geometry.model_validate(size | geometry)
    prepared: Tensor = Preprocess(settings, normalisation or Normalisation())(torch.from_numpy(frame))
    return prepared


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def resized(channel: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pillow's antialiased bilinear resize, in float."""
    return np.asarray(Image.fromarray(channel.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def test_colour_of_the_right_size_is_only_normalised() -> None:
    frame = picture(48, 64, 3)
    prepared = preprocess(frame)
    assert prepared.dtype == torch.float32
    expected = ((frame / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(prepared.numpy(), expected, atol=1e-6)


def test_grey_becomes_three_equal_channels_before_the_normalisation() -> None:
    frame = picture(48, 64)
    prepared = preprocess(frame)
    assert prepared.shape == (1, 3, 48, 64)
    np.testing.assert_allclose(prepared.numpy(), preprocess(np.stack([frame] * 3, axis=-1)).numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (40, 56), (150, 33), (300, 280)])
def test_resize_is_antialiased(size: tuple[int, int]) -> None:
    frame = picture(96, 130, 3)
    prepared = preprocess(frame, PLAIN, width_px=size[0], height_px=size[1])
    assert prepared.shape == (1, 3, size[1], size[0])
    for channel in range(3):
        expected = resized(frame[..., channel], *size) / 255
        np.testing.assert_allclose(prepared[0, channel].numpy(), expected, atol=2e-5)


def test_fine_stripes_become_grey_instead_of_coarse_stripes() -> None:
    frame = np.zeros((128, 128), np.uint8)
    frame[:, ::2] = 255
    prepared = preprocess(frame, PLAIN, width_px=32, height_px=32)
    np.testing.assert_allclose(prepared[0, 0, 4:-4, 4:-4].numpy(), 0.5, atol=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_region_is_cut_before_the_resize(channels: int) -> None:
    frame = picture(100, 120) if channels == 1 else picture(100, 120, 3)
    region = {"left": 7, "top": 11, "width": 50, "height": 40}
    prepared = preprocess(frame, region_px=region, width_px=64, height_px=32)
    cut = np.ascontiguousarray(frame[11:51, 7:57])
    assert torch.equal(prepared, preprocess(cut, width_px=64, height_px=32))
    frame[:11], frame[51:], frame[:, :7], frame[:, 57:] = 0, 0, 0, 0
    assert torch.equal(prepared, preprocess(frame, region_px=region, width_px=64, height_px=32))


def test_all_values_survive() -> None:
    frame = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(2, 0).repeat(2, 1)
    prepared = preprocess(frame, PLAIN)
    np.testing.assert_allclose(prepared[0, 0].numpy() * 255, frame, atol=1e-4)


def test_frame_is_not_changed() -> None:
    frame = picture(48, 64)
    before = frame.copy()
    preprocess(frame, width_px=32, height_px=32)
    assert np.array_equal(frame, before)


def test_preprocessing_has_no_parameters() -> None:
    # It must not show up among the tensors of a recipe: the manifest has it.
    module = Preprocess(Geometry(width_px=32, height_px=32), Normalisation())
    assert module.state_dict() == {}


@pytest.mark.parametrize("changes", [{}, {"region_px": {"left": 3, "top": 5, "width": 24, "height": 20}}])
def test_memory_that_is_kept_changes_nothing_and_no_result_lies_in_it(changes: dict[str, Any]) -> None:
    frames = [picture(40, 48), picture(40, 48)[::-1].copy(), picture(40, 48, 3), picture(60, 50), picture(40, 48)]
    for size in ({"width_px": 32, "height_px": 64}, {"width_px": 48, "height_px": 40}):
        geometry = Geometry.model_validate(size | changes)
        kept, fresh = (Preprocess(geometry, PLAIN, keep_memory=keep) for keep in (True, False))
        prepared = [kept(torch.from_numpy(frame)) for frame in frames]
        for frame, result in zip(frames, prepared, strict=True):
            assert torch.equal(result, fresh(torch.from_numpy(frame)))


def test_a_large_frame_costs_no_fresh_pages_once_its_memory_is_there() -> None:
    """A frame of 20 megapixels took 80 MB from the kernel and gave it back each time: 19,500 page faults, and half
    of the preprocessing's time.
    """
    frame = torch.zeros(3000, 3000, dtype=torch.uint8)  # 36 MB, more than the allocator ever keeps by itself
    kept = Preprocess(Geometry(width_px=32, height_px=32), Normalisation(), keep_memory=True)
    kept(frame)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept(frame)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 36_000_000 / resource.getpagesize() / 4
