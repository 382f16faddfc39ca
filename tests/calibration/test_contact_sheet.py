"""A picture of frames and their anomaly maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calibration.contact_sheet import heat_overlay, three_channels, write_sheet
from inspector.domain.errors import DataError
from inspector.recipe.store import load_recipe


@pytest.mark.parametrize(("images", "rows", "columns"), [(1, 1, 1), (3, 1, 3), (4, 2, 3)])
def test_sheet_holds_every_image(
    random_recipe: Path, tmp_path: Path, save: Any, images: int, rows: int, columns: int
) -> None:
    random = np.random.default_rng(0)
    paths = [save(tmp_path / f"{i}.png", random.integers(0, 256, (40, 60), np.uint8)) for i in range(images)]
    write_sheet(load_recipe(random_recipe), paths, tmp_path / "out" / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "out" / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (rows * 256 + 8, columns * 460 + 8, 3)
    for index in range(images):
        row, column = divmod(index, 3)
        tile = sheet[8 + row * 256 :, 8 + column * 460 :][:224, :224]
        assert tile.std() > 20  # a picture, no blank paper


def test_colour_images_keep_their_colours(random_recipe: Path, tmp_path: Path, save: Any) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 2] = 200  # OpenCV's order
    write_sheet(load_recipe(random_recipe), [save(tmp_path / "red.png", red)], tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet[100, 100].tolist() == [0, 0, 200]


def test_unreadable_image_is_named(random_recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        write_sheet(load_recipe(random_recipe), [tmp_path / "broken.png"], tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_unwritable_sheet_is_told(random_recipe: Path, tmp_path: Path, save: Any) -> None:
    image = save(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match="can't be written"):
        write_sheet(load_recipe(random_recipe), [image], image / "sheet.png")


def test_heat_runs_from_cold_to_warm_over_the_image() -> None:
    image = np.full((8, 16, 3), 100, np.uint8)
    anomaly_map = np.array([[0.0, 3.0]], np.float32)
    heat = heat_overlay(image, anomaly_map, 1.0, 2.0)
    assert heat.shape == image.shape
    cold, warm = heat[0, 0].astype(int), heat[0, -1].astype(int)
    assert warm[0] > 2 * warm[2]  # red
    assert cold[2] > cold[1]  # a dark violet, the image shines through
    assert three_channels(image[..., 0]).tolist() == image.tolist()
