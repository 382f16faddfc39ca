from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.cameras.decoding import decode_image
from inspector.cli.collect import Collection, collect
from inspector.cli.main import main
from inspector.config.cameras import CameraConfig, Feature, FolderCamera, GenicamCamera
from inspector.domain.errors import DataError

from ...gentl_simulator.plant import Plant

GENERATOR = np.random.default_rng(8)
PICTURES = [GENERATOR.integers(60, 200, (32, 48), np.uint8) for _ in range(8)]


def written(folder: Path, *pictures: np.ndarray) -> FolderCamera:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        assert cv2.imwrite(str(folder / f"{number:03d}.png"), picture)
    return FolderCamera(kind="folder", path=folder)


def collected(camera: CameraConfig, folder: Path, count: int) -> tuple[Collection, list[str], list[int]]:
    said: list[str] = []
    steps: list[int] = []
    result = collect(
        camera, folder, count, least_difference=0.5, patience_s=5.0, say=said.append, progress=steps.append
    )
    return result, said, steps


def test_enough_pictures_end_the_collection(tmp_path: Path) -> None:
    result, said, steps = collected(written(tmp_path / "parts", *PICTURES), tmp_path / "good", 5)
    assert (result.saved, result.alike, said, steps) == (5, 0, [], [1, 2, 3, 4, 5])
    files = sorted((tmp_path / "good").iterdir())
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(5)]
    assert np.array_equal(decode_image(files[3].read_bytes()), PICTURES[3])


def test_near_duplicates_are_left_out(tmp_path: Path) -> None:
    """The belt stood still: the same part again and again, apart from a little noise, teaches nothing."""
    again = PICTURES[0].copy()
    again[::8, ::8] += 1
    camera = written(tmp_path / "parts", PICTURES[0], again, PICTURES[1], PICTURES[0])
    result, _, _ = collected(camera, tmp_path / "good", 9)
    assert (result.saved, result.alike) == (2, 2)
    assert "2 of 9 pictures" in result.told(tmp_path / "good", 9)


def test_blurred_and_wrongly_exposed_pictures_are_warned_of_and_kept(tmp_path: Path) -> None:
    blurred = cv2.GaussianBlur(PICTURES[6], (9, 9), 4)
    white = np.full((32, 48), 255, np.uint8)
    result, said, _ = collected(written(tmp_path / "parts", *PICTURES[:6], blurred, white), tmp_path / "good", 8)
    assert result.saved == 8
    assert [line.split(":")[:2] for line in said] == [
        ["000006.png", " blurred"],
        ["000007.png", " over-exposed"],
        ["000007.png", " blurred"],
    ]
    assert "warning: 2 pictures blurred" in result.told(tmp_path / "good", 8)


def test_frames_without_a_picture_are_counted(tmp_path: Path) -> None:
    camera = written(tmp_path / "parts", *PICTURES[:2])
    (camera.path / "001a.png").write_bytes(b"torn")
    result, _, _ = collected(camera, tmp_path / "good", 9)
    assert (result.saved, dict(result.unusable)) == (2, {"frame_corrupt": 1})


def test_pictures_that_are_there_stay(tmp_path: Path) -> None:
    camera = written(tmp_path / "parts", *PICTURES[:2])
    collected(camera, tmp_path / "good", 2)
    collected(camera, tmp_path / "good", 1)
    assert len(list((tmp_path / "good").iterdir())) == 3


def test_folder_that_can_not_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"can't use .*file/good"):
        collected(written(tmp_path / "parts", PICTURES[0]), tmp_path / "file" / "good", 1)


def test_free_running_camera_fills_a_folder(plant: Plant, tmp_path: Path) -> None:
    plant.write_parts(PICTURES)
    features = (Feature(name="AcquisitionFrameRate", value=100.0),)
    camera = GenicamCamera(kind="genicam", producers=(plant.producer,), features=features, free_running=True)
    result, _, _ = collected(camera, tmp_path / "good", len(PICTURES))
    assert result.saved == len(PICTURES)
    there = {decode_image(file.read_bytes()).tobytes() for file in (tmp_path / "good").iterdir()}
    assert there == {picture.tobytes() for picture in PICTURES}


def test_command_line_collects_from_the_configured_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "parts", *PICTURES)
    config = tmp_path / "inspector.yaml"
    config.write_text("station: s\nrecipe: none-yet\ncamera: {kind: folder, path: parts}\n")
    assert main(["collect", str(tmp_path / "good"), "--count", "6", "-c", str(config)]) == 0
    assert "6 of 6 pictures" in capsys.readouterr().out
    assert len(list((tmp_path / "good").iterdir())) == 6
