"""A hot folder: complete files only, in the order in which they come, none twice, also over a restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from inspector.cameras.hot_folder import HotFolderCamera
from inspector.config.cameras import FolderCamera
from inspector.domain.errors import CameraError
from inspector.domain.verdict import Cause

PICTURE = cv2.imencode(".png", np.full((4, 6), 9, np.uint8))[1].tobytes()


class Folder:
    """A hot folder with a camera that looks into it, on a clock of its own."""

    def __init__(self, path: Path, clock: Any) -> None:
        self.path = path
        self.clock = clock
        self._changed_ns = 0
        path.mkdir()

    def put(self, name: str, data: bytes = PICTURE) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        while path.stat().st_ctime_ns <= self._changed_ns:  # a file system's clock may tick 250 times a second only
            path.write_bytes(data)
        self._changed_ns = path.stat().st_ctime_ns

    def camera(self, first_part: int = 0, memory: Path | None = None) -> HotFolderCamera:
        config = FolderCamera(kind="folder", path=self.path, watch=True, complete_after_s=0.5)
        camera = HotFolderCamera(config, first_part, memory, self.clock, self.clock.sleep)
        camera.open()
        camera.start()
        return camera


@pytest.fixture
def folder(tmp_path: Path, clock: Any) -> Folder:
    return Folder(tmp_path / "inbox", clock)


def sources(camera: HotFolderCamera) -> list[str]:
    """What comes within a second."""
    return [capture.source for capture in iter(lambda: camera.capture(1.0), None) if capture is not None]


def test_what_lies_there_already_is_no_part(folder: Folder) -> None:
    folder.put("old.png")
    camera = folder.camera()
    folder.put("new.png")
    assert sources(camera) == ["new.png"]


def test_files_come_in_the_order_of_their_arrival_and_not_of_their_names(folder: Folder) -> None:
    camera = folder.camera()
    for name in ("c.png", "line 2/b.PNG", "a.bmp"):
        folder.put(name)
    assert sources(camera) == ["c.png", "line 2/b.PNG", "a.bmp"]


def test_file_that_grows_is_waited_for(folder: Folder) -> None:
    camera = folder.camera()
    for end in range(10, len(PICTURE), 10):
        folder.put("slow.png", PICTURE[:end])
        assert camera.capture(0.3) is None
    folder.put("slow.png")
    capture = camera.capture(1.0)
    assert capture is not None
    assert np.array_equal(np.asarray(capture.pixels), np.full((4, 6), 9))


def test_other_and_hidden_files_are_left_alone(folder: Folder) -> None:
    camera = folder.camera()
    for name in ("a.png.partial", ".a.png", ".trash/a.png", "notes.txt"):
        folder.put(name)
    assert sources(camera) == []
    os.replace(folder.path / "a.png.partial", folder.path / "a.png")
    assert sources(camera) == ["a.png"]


def test_name_may_be_used_again_once_the_file_is_gone(folder: Folder) -> None:
    camera = folder.camera()
    folder.put("part.png")
    assert sources(camera) == ["part.png"]
    folder.put("part.png")
    assert sources(camera) == []  # written over: the part has its verdict
    (folder.path / "part.png").unlink()
    assert sources(camera) == []
    folder.put("part.png")
    assert sources(camera) == ["part.png"]


def test_broken_file_is_a_part_with_its_problem(folder: Folder) -> None:
    camera = folder.camera()
    folder.put("torn.png", PICTURE[:-20])
    capture = camera.capture(1.0)
    assert capture is not None
    assert (capture.pixels, capture.problem) == (None, Cause.FRAME_CORRUPT)


def test_next_process_takes_each_file_once_and_leaves_none_out(folder: Folder, tmp_path: Path) -> None:
    """The camera process dies: what came meanwhile is inspected, what was announced is not inspected again."""
    memory = tmp_path / "memory"
    memory.mkdir()
    folder.put("before the run.png")
    first = folder.camera(memory=memory)
    for name in ("1.png", "2.png", "3.png"):
        folder.put(name)
    taken = [first.capture(1.0) for _ in range(3)]
    assert [capture.source for capture in taken if capture is not None] == ["1.png", "2.png", "3.png"]
    folder.put("4.png")
    # The gate heard of two of them only: the process died with the third in its hands.
    second = folder.camera(first_part=2, memory=memory)
    folder.put("5.png")
    assert sources(second) == ["3.png", "4.png", "5.png"]
    assert sources(folder.camera(first_part=5, memory=memory)) == []


def test_torn_last_line_of_the_list_is_no_obstacle(folder: Folder, tmp_path: Path) -> None:
    camera = folder.camera(memory=tmp_path)
    folder.put("1.png")
    assert sources(camera) == ["1.png"]
    with (tmp_path / "files-taken.jsonl").open("a") as file:
        file.write('["part", "2.p')
    folder.put("2.png")
    assert sources(folder.camera(first_part=1, memory=tmp_path)) == ["2.png"]


def test_missing_folder_says_so(tmp_path: Path) -> None:
    camera = HotFolderCamera(FolderCamera(kind="folder", path=tmp_path / "none", watch=True))
    with pytest.raises(CameraError, match=r"camera\.path: .*none does not exist"):
        camera.open()


@pytest.mark.parametrize("keys", [{"rate": 5.0}, {"loop": True}])
def test_rate_and_loop_make_no_sense_with_watch(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="watch takes files as they come"):
        FolderCamera(kind="folder", path=Path("p"), watch=True, **keys)
