"""A tiled detector says of an image what its worst tile says, and finds a defect wherever it lies."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from inspector.models.detector import Detector, Inference
from inspector.models.preprocess import Preprocess
from inspector.models.tiled import Tiled, core
from inspector.recipe.geometry import tile_starts, tiles
from inspector.recipe.manifest import Geometry, Normalisation, Tiling

GEOMETRY = Geometry(width_px=100, height_px=70, tiling=Tiling(width_px=40, height_px=32, overlap_px=6))


class Brightness(Detector):
    """The map is the red channel, the score its largest value."""

    def body(self, images: Tensor) -> tuple[Tensor, ...]:
        return (images[:, :1],)

    def head(self, parts: Sequence[Tensor]) -> Inference:
        return Inference(parts[0].amax(dim=(1, 2, 3)), parts[0])


@given(st.integers(32, 600), st.integers(32, 600), st.integers(0, 500))
def test_tiles_cover_a_side_and_share_what_was_asked(length: int, tile: int, overlap: int) -> None:
    tile, overlap = min(length, tile), min(overlap, min(length, tile) - 1)
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == length - tile
    shared = [before + tile - after for before, after in itertools.pairwise(starts)]
    assert all(share >= overlap for share in shared)
    assert max(shared, default=0) - min(shared, default=0) <= 1
    if len(starts) > 1:  # one fewer would not do
        assert (len(starts) - 1) * tile - (len(starts) - 2) * overlap < length


def frames(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(0, 256, (70, 100), dtype=torch.uint8, generator=generator) for _ in range(count)]


def normalised(preprocess: Preprocess, frame: Tensor) -> Tensor:
    whole = Geometry(width_px=100, height_px=70)
    return Preprocess(whole, Normalisation())(frame)[:, :1]


def test_the_map_is_put_together_where_its_tiles_lay() -> None:
    preprocess = Preprocess(GEOMETRY, Normalisation())
    detector = Tiled(Brightness(nn.Identity()), GEOMETRY)
    batch = torch.cat([preprocess(frame) for frame in frames(3)])
    assert batch.shape == (3 * len(tiles(GEOMETRY)), 3, 32, 40)
    scores, maps = detector(batch)
    expected = torch.cat([normalised(preprocess, frame) for frame in frames(3)]).clamp_min(0)
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(scores, expected.amax(dim=(1, 2, 3)))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (69, 99), (31, 39), (0, 99), (40, 50)])
def test_a_defect_anywhere_raises_the_score(row: int, column: int) -> None:
    frame = torch.full((70, 100), 60, dtype=torch.uint8)
    preprocess = Preprocess(GEOMETRY, Normalisation())
    detector = Tiled(Brightness(nn.Identity()), GEOMETRY)
    before = float(detector(preprocess(frame)).scores[0])
    frame[row, column] = 250
    scores, maps = detector(preprocess(frame))
    assert float(scores[0]) > before
    assert maps[0, 0].argmax() == row * 100 + column


def test_ignored_pixels_of_the_image_count_in_no_tile() -> None:
    preprocess = Preprocess(GEOMETRY, Normalisation())
    detector = Tiled(Brightness(nn.Identity()), GEOMETRY)
    ignored = torch.zeros(1, 1, 70, 100, dtype=torch.bool)
    ignored[..., 30:34, :] = True
    detector.ignored = ignored
    frame = torch.full((70, 100), 200, dtype=torch.uint8)
    clean = detector(preprocess(frame)).scores
    frame[31, 38] = 255
    assert torch.equal(detector(preprocess(frame)).scores, clean)


def test_one_bad_number_makes_the_image_no_pass() -> None:
    detector = Tiled(Brightness(nn.Identity()), GEOMETRY)
    batch = torch.zeros(len(tiles(GEOMETRY)), 3, 32, 40)
    batch[4, 0, 5, 5] = torch.nan
    assert detector(batch).scores.isnan().all()


def test_the_inner_detector_s_tensors_are_stored_once() -> None:
    tiled = Tiled(Brightness(nn.Conv2d(3, 3, 1)), GEOMETRY)
    assert sorted(tiled.state_dict()) == ["inner.features.bias", "inner.features.weight"]
    assert core(tiled) is tiled.inner
    assert core(tiled.inner) is tiled.inner


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        ({"width_px": 40, "height_px": 80, "overlap_px": 0}, "larger than the image"),
        ({"width_px": 40, "height_px": 32, "overlap_px": 32}, "can't overlap by 32 px"),
    ],
)
def test_tiles_that_can_not_be_are_refused(tiling: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Geometry.model_validate({"width_px": 100, "height_px": 70, "tiling": tiling})
