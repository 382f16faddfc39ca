"""Images are read as on the line, masks follow their image through crop and resize."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.images import Label, Sample, mask_of, read_image, read_mask, survey
from inspector.cameras.decoding import decode_image
from inspector.domain.errors import DataError
from inspector.recipe.manifest import Geometry, Region


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def bad(tmp_path: Path, mask: NDArray[np.uint8]) -> Sample:
    return Sample(tmp_path / "part.png", Label.BAD, "dent", save(tmp_path / "mask.png", mask))


def test_image_is_what_the_line_decodes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = save(tmp_path / "part.png", pixels)
    assert np.array_equal(read_image(path), decode_image(path.read_bytes()))
    assert np.array_equal(read_image(path), pixels[..., ::-1])


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png"):
        read_image(path)


def test_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png can't be read: No such file"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 255], [False, True]),
        ([0, 1], [False, True]),  # VisA: classes of defects
        ([0, 3], [False, True]),
        ([100, 128, 255], [False, True, True]),  # a soft edge does not grow the defect
        ([0, 0], [False, False]),
    ],
)
def test_mask_is_binarised(tmp_path: Path, values: list[int], expected: list[bool]) -> None:
    mask = read_mask(save(tmp_path / "mask.png", np.array([values], dtype=np.uint8)))
    assert mask.dtype == np.bool_
    assert mask.tolist() == [expected]


def test_mask_in_colour_is_read(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pixels[0, 1] = (0, 0, 255)
    assert read_mask(save(tmp_path / "mask.png", pixels)).tolist() == [[False, True], [False, False]]


def test_mask_is_cropped_and_resized_like_its_image(tmp_path: Path) -> None:
    pixels = np.zeros((100, 200), dtype=np.uint8)
    pixels[40:60, 120:160] = 255
    sample = bad(tmp_path, pixels)
    region = Region(left=100, top=20, width=80, height=80)
    mask = mask_of(sample, (200, 100), Geometry(width_px=40, height_px=40, region_px=region))
    assert mask is not None
    expected = np.zeros((40, 40), dtype=np.bool_)
    expected[10:20, 10:30] = True
    assert np.array_equal(mask, expected)


def test_resize_is_centred(tmp_path: Path) -> None:
    # A mask that is symmetric stays so; rounding down would shift it.
    pixels = np.zeros((99, 99), dtype=np.uint8)
    pixels[33:66, 33:66] = 255
    mask = mask_of(bad(tmp_path, pixels), (99, 99), Geometry(width_px=32, height_px=32))
    assert mask is not None
    assert mask.any()
    assert np.array_equal(mask, mask[::-1, ::-1])


def test_mask_without_geometry_keeps_its_size(tmp_path: Path) -> None:
    pixels = np.eye(6, dtype=np.uint8) * 255
    mask = mask_of(bad(tmp_path, pixels), (6, 6))
    assert mask is not None
    assert np.array_equal(mask, np.eye(6, dtype=np.bool_))


def test_good_sample_has_an_empty_mask(tmp_path: Path) -> None:
    mask = mask_of(Sample(tmp_path / "part.png"), (50, 40), Geometry(width_px=48, height_px=32))
    assert mask is not None
    assert mask.shape == (32, 48)
    assert not mask.any()


def test_bad_sample_without_ground_truth_has_no_mask(tmp_path: Path) -> None:
    assert mask_of(Sample(tmp_path / "part.png", Label.BAD, "dent"), (6, 6)) is None
    assert mask_of(bad(tmp_path, np.zeros((6, 6), dtype=np.uint8)), (6, 6)) is None


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    sample = bad(tmp_path, np.full((6, 6), 255, dtype=np.uint8))
    with pytest.raises(DataError, match=r"mask\.png is 6 x 6 px.*8 x 6 px"):
        mask_of(sample, (8, 6))


def test_region_outside_of_the_image_is_refused(tmp_path: Path) -> None:
    geometry = Geometry(width_px=32, height_px=32, region_px=Region(left=4, top=0, width=4, height=4))
    with pytest.raises(DataError, match="reaches out"):
        mask_of(Sample(tmp_path / "part.png"), (7, 7), geometry)


def test_survey_of_equal_images(tmp_path: Path) -> None:
    grey = [save(tmp_path / f"{n}.png", np.full((6, 8), n, dtype=np.uint8)) for n in range(3)]
    found = survey(map(Sample, grey))
    assert (found.frame_px, found.frame_channels, found.duplicates) == ((8, 6), 1, ())


def test_survey_of_a_mixture_with_duplicates(tmp_path: Path) -> None:
    paths = [
        save(tmp_path / "a.png", np.full((6, 8), 1, dtype=np.uint8)),
        save(tmp_path / "b.png", np.full((9, 8, 3), 1, dtype=np.uint8)),
        save(tmp_path / "c.png", np.full((6, 8), 1, dtype=np.uint8)),
    ]
    found = survey(map(Sample, paths))
    assert found.sizes_px == ((8, 6), (8, 9))
    assert found.channels == (1, 3)
    assert found.frame_px is None
    assert found.frame_channels is None
    assert found.duplicates == ((paths[0], paths[2]),)


def test_survey_names_every_unreadable_image(tmp_path: Path) -> None:
    save(tmp_path / "fine.png", np.zeros((6, 8), dtype=np.uint8))
    for number in range(12):
        (tmp_path / f"broken{number:02d}.png").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="12 images can't be used") as caught:
        survey(map(Sample, sorted(tmp_path.iterdir())))
    assert str(caught.value).count("broken") == 10
    assert "and 2 more" in str(caught.value)


def test_survey_of_nothing() -> None:
    with pytest.raises(DataError, match="no images"):
        survey([])
