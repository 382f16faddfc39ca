"""A video file as a source of parts: its frames once each, in RGB, at its own rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.cameras.base import SourceEnded
from inspector.cameras.video import VideoFileCamera, is_live, rgb_pixels
from inspector.config import cameras as settings
from inspector.domain.errors import CameraError

FRAMES = 5


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Five frames of 20, 60, 100, 140, 180 in red, at 20 frames a second."""
    path = tmp_path / "parts.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (64, 48))
    assert writer.isOpened()
    for index in range(FRAMES):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 2] = 20 + 40 * index
        writer.write(frame)
    writer.release()
    return path


def camera(path: Path, clock: Any, first_part: int = 0, **keys: Any) -> VideoFileCamera:
    config = settings.VideoCamera(kind="video", source=str(path), **keys)
    made = VideoFileCamera(config, first_part, clock_ns=clock, sleep=clock.sleep)
    made.open()
    made.start()
    return made


def frames_played(made: VideoFileCamera, parts: int) -> list[int]:
    """Which of the five frames each capture shows."""
    shown = []
    for _ in range(parts):
        capture = made.capture(60.0)
        assert capture is not None
        assert capture.pixels is not None
        red = float(capture.pixels[..., 0].mean())
        shown.append(round((red - 20) / 40))
    return shown


def test_plays_each_frame_once_as_rgb(video: Path, clock: Any) -> None:
    made = camera(video, clock)
    capture = made.capture(1.0)
    assert capture is not None
    assert capture.pixels is not None
    assert capture.pixels.shape == (48, 64, 3)
    red, green, blue = capture.pixels.reshape(-1, 3).mean(axis=0)
    assert red > 10 > max(green, blue)
    assert capture.source == "parts.avi frame 1"
    assert frames_played(made, FRAMES - 1) == [1, 2, 3, 4]
    with pytest.raises(SourceEnded):
        made.capture(1.0)
    made.close()


@pytest.mark.parametrize(("rate", "period_ns"), [(None, 50_000_000), (2.0, 500_000_000)])
def test_rate_is_the_files_own_unless_one_is_set(video: Path, clock: Any, rate: float | None, period_ns: int) -> None:
    made = camera(video, clock, rate=rate)
    start_ns = clock.now_ns
    captures = [made.capture(10.0) for _ in range(3)]
    due_ns = [capture.triggered_ns - start_ns for capture in captures if capture is not None]
    assert due_ns == [0, period_ns, 2 * period_ns]
    made.close()


@pytest.mark.parametrize("first_part", [0, 1, 4, 5, 6, 10, 23, 1_000_004])
def test_loop_goes_on_in_the_middle_of_a_round(video: Path, clock: Any, first_part: int) -> None:
    """A million parts are not played over again: after one round the length of the file is known."""
    made = camera(video, clock, first_part, loop=True)
    assert frames_played(made, 7) == [(first_part + index) % FRAMES for index in range(7)]
    made.close()


def test_missing_file_and_foreign_file_say_so(tmp_path: Path, clock: Any) -> None:
    with pytest.raises(CameraError, match=r"there is no file .*nowhere.mp4; give a video file, a device"):
        camera(tmp_path / "nowhere.mp4", clock)
    text = tmp_path / "notes.mp4"
    text.write_text("this is no video")
    with pytest.raises(CameraError, match=r"can't read .*notes.mp4 as a video"):
        camera(text, clock)


def test_file_that_vanishes_ends_the_loop_with_an_error(video: Path, clock: Any) -> None:
    made = camera(video, clock, loop=True)
    video.unlink()
    assert frames_played(made, FRAMES) == [0, 1, 2, 3, 4]
    with pytest.raises(CameraError, match="can't read"):
        made.capture(1.0)
    made.close()


def test_what_is_live() -> None:
    assert is_live("/dev/video2")
    assert is_live("rtsp://user:word@192.168.0.7:554/stream1")
    assert is_live("http://camera/stream.mjpg")
    assert is_live("/dev/v4l/by-id/usb-camera-index0")
    assert not is_live("/data/parts.mp4")
    assert not is_live("/dev/shm/parts.mp4")
    assert not is_live("line 1: left/parts.mp4")


@pytest.mark.parametrize("frame", [None, np.zeros((2, 2), np.uint16), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2))])
def test_other_layouts_are_no_pixels(frame: object) -> None:
    assert rgb_pixels(frame) is None


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1)])
def test_grey_stays_grey_and_is_copied(shape: tuple[int, ...]) -> None:
    frame = np.full(shape, 7, np.uint8)
    pixels = rgb_pixels(frame)
    assert pixels is not None
    frame[:] = 0
    assert pixels.tolist() == [[7] * 4] * 3
