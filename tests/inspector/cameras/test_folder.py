"""A folder played as a conveyor: the order is that of the paths, and a damaged file is a part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.cameras.base import SourceEnded
from inspector.cameras.folder import FolderCamera
from inspector.config import cameras as settings
from inspector.domain.errors import CameraError
from inspector.domain.frame import Capture
from inspector.domain.verdict import Cause


def write(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((8, 10), value, np.uint8))


def config(path: Path, **keys: Any) -> settings.FolderCamera:
    return settings.FolderCamera(kind="folder", path=path, **keys)


def running(camera: FolderCamera) -> FolderCamera:
    camera.open()
    camera.start()
    return camera


def play(camera: FolderCamera, parts: int) -> list[Capture]:
    captures = [camera.capture(0.0) for _ in range(parts)]
    return [capture for capture in captures if capture is not None]


def test_plays_subfolders_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for value, name in enumerate(["b/1.png", "a/10.PNG", "a/2.bmp", "c.tif", "a/b/0.png"]):
        write(tmp_path / name, value)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    camera = running(FolderCamera(config(tmp_path)))
    captures = play(camera, 5)
    assert [capture.source for capture in captures] == ["a/10.PNG", "a/2.bmp", "a/b/0.png", "b/1.png", "c.tif"]
    assert [int(np.asarray(capture.pixels)[0, 0]) for capture in captures] == [1, 2, 4, 0, 3]
    with pytest.raises(SourceEnded):
        camera.capture(0.0)


def test_damaged_and_vanished_files_are_parts(tmp_path: Path) -> None:
    for name in ("0.png", "1.png", "2.png", "3.png"):
        write(tmp_path / name, 9)
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:-20])
    camera = running(FolderCamera(config(tmp_path)))
    (tmp_path / "2.png").unlink()
    captures = play(camera, 4)
    assert [capture.source for capture in captures] == ["0.png", "1.png", "2.png", "3.png"]
    assert [capture.problem for capture in captures] == [None, Cause.FRAME_CORRUPT, Cause.FRAME_MISSING, None]
    assert [capture.pixels is None for capture in captures] == [False, True, True, False]


def test_loops_and_goes_on_in_the_middle_of_a_round(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / f"{index}.png", index)
    camera = running(FolderCamera(config(tmp_path, loop=True), first_part=7))
    assert [capture.source for capture in play(camera, 5)] == ["1.png", "2.png", "0.png", "1.png", "2.png"]


def test_paced_triggers_have_the_time_that_was_due(tmp_path: Path, clock: Any) -> None:
    for index in range(4):
        write(tmp_path / f"{index}.png", index)
    camera = FolderCamera(config(tmp_path, rate=4.0), clock_ns=clock, sleep=clock.sleep)
    assert camera.on_demand is False
    start_ns = clock.now_ns
    running(camera)
    assert [camera.capture(0.1) is None for _ in range(4)] == [False, True, True, False]
    clock.now_ns = start_ns + 1_000_000_000  # the camera process was away
    late = play(camera, 2)
    assert [capture.triggered_ns - start_ns for capture in late] == [500_000_000, 750_000_000]
    assert [capture.captured_ns for capture in late] == [clock.now_ns] * 2
    with pytest.raises(SourceEnded):
        camera.capture(0.1)


def test_without_a_rate_it_waits_to_be_asked(tmp_path: Path) -> None:
    assert FolderCamera(config(tmp_path)).on_demand is True


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "missing does not exist; give the folder"),
        ("file.png", "is a file, not a folder"),
        ("empty", r"holds no images; put files of these kinds there: \.bmp, "),
    ],
)
def test_unusable_folder_says_how_to_mend_it(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path / "file.png", 0)
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    (tmp_path / "empty" / "readme.md").write_text("")
    with pytest.raises(CameraError, match=message) as caught:
        FolderCamera(config(tmp_path / name)).open()
    assert str(tmp_path) in str(caught.value)
