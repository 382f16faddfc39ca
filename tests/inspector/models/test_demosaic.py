"""The colours that a GPU makes of a raw frame are OpenCV's to the bit: a threshold was set on OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.cameras.bayer import demosaiced
from inspector.domain.frame import Mosaic, PixelFormat
from inspector.models import demosaic as module
from inspector.models.demosaic import demosaic
from inspector.models.preprocess import Preprocess
from inspector.recipe.manifest import Geometry, Normalisation, Region

from ...cuda_double import HostDevice

BAYER = [one for one in PixelFormat if one.red is not None]
CODES = dict(
    zip(
        (PixelFormat.BAYER_RG8, PixelFormat.BAYER_GR8, PixelFormat.BAYER_GB8, PixelFormat.BAYER_BG8),
        (cv2.COLOR_BayerRGGB2RGB, cv2.COLOR_BayerGRBG2RGB, cv2.COLOR_BayerGBRG2RGB, cv2.COLOR_BayerBGGR2RGB),
        strict=True,
    )
)


def mosaics(seed: int, *shape: int) -> np.ndarray:
    """Noise, with the ends of the range as often as everything between."""
    values = np.random.default_rng(seed).integers(-128, 384, shape)
    return np.clip(values, 0, 255).astype(np.uint8)


def number(formats: list[PixelFormat]) -> torch.Tensor:
    return torch.tensor(formats, dtype=torch.uint8)


@settings(max_examples=150)
@given(
    formats=st.lists(st.sampled_from(BAYER), min_size=1, max_size=4),
    height_px=st.integers(3, 40),
    width_px=st.integers(3, 70),
    seed=st.integers(0, 999),
)
def test_every_bit_is_opencvs(formats: list[PixelFormat], height_px: int, width_px: int, seed: int) -> None:
    raw = mosaics(seed, len(formats), height_px, width_px)
    made = demosaic(torch.from_numpy(raw), number(formats))
    assert (made.dtype, made.shape) == (torch.uint8, (len(formats), height_px, width_px, 3))
    for pixels, pixel_format, picture in zip(raw, formats, made.numpy(), strict=True):
        expected = cv2.cvtColor(pixels, CODES[pixel_format])
        assert np.array_equal(picture, expected)
        assert np.array_equal(demosaiced(Mosaic(pixels, pixel_format)), expected)


@pytest.mark.parametrize("pixel_format", BAYER)
@pytest.mark.parametrize("shape", [(480, 641), (1081, 1920)])
def test_frames_of_a_cameras_size(pixel_format: PixelFormat, shape: tuple[int, int]) -> None:
    """OpenCV has other code for long lines."""
    raw = mosaics(7, 1, *shape)
    made = demosaic(torch.from_numpy(raw), number([pixel_format]))
    assert np.array_equal(made[0].numpy(), cv2.cvtColor(raw[0], CODES[pixel_format]))


@pytest.mark.parametrize("together", [1, 60, 130, 10_000])
def test_a_batch_in_parts_gives_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    raw, formats = torch.from_numpy(mosaics(3, 5, 6, 10)), number([*BAYER, PixelFormat.BAYER_RG8])
    expected = demosaic(raw, formats)
    monkeypatch.setattr(module, "_TOGETHER_PX", together)
    assert torch.equal(demosaic(raw, formats), expected)


@pytest.mark.parametrize("shape", [(2, 8), (8, 2), (1, 1)])
def test_frames_without_a_middle_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"frames of {shape[1]}x{shape[0]} can't be demosaiced"):
        demosaic(torch.zeros(1, *shape, dtype=torch.uint8), number(BAYER[:1]))


def test_a_graph_can_hold_it_and_takes_other_frames_and_formats_then() -> None:
    device = HostDevice()
    raw, formats = torch.zeros(2, 9, 12, dtype=torch.uint8), number(BAYER[:2])
    pictures = torch.zeros(2, 9, 12, 3, dtype=torch.uint8)
    graph = device.capture(lambda: pictures.copy_(demosaic(raw, formats)), device.lane())  # type: ignore[arg-type]
    values = mosaics(5, 2, 9, 12)
    raw.copy_(torch.from_numpy(values))
    formats.copy_(number(BAYER[2:]))
    graph()
    for picture, pixels, pixel_format in zip(pictures.numpy(), values, BAYER[2:], strict=True):
        assert np.array_equal(picture, cv2.cvtColor(pixels, CODES[pixel_format]))


@pytest.mark.parametrize("pixel_format", BAYER)
def test_a_region_may_begin_in_the_middle_of_a_cell(pixel_format: PixelFormat) -> None:
    geometry = Geometry(width_px=32, height_px=32, region_px=Region(left=7, top=3, width=40, height=31))
    preprocess = Preprocess(geometry, Normalisation())
    raw = mosaics(9, 1, 50, 60)
    picture = torch.from_numpy(cv2.cvtColor(raw[0], CODES[pixel_format]))
    assert torch.equal(
        preprocess.batch(preprocess.demosaic(torch.from_numpy(raw), number([pixel_format]))), preprocess(picture)
    )
