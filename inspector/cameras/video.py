"""Video through OpenCV: a file played at its own rate or another, and which sources are live."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from inspector.cameras.pacing import Player, Still
from inspector.config import cameras as settings
from inspector.domain.errors import CameraError
from inspector.domain.frame import Capture, Pixels
from inspector.domain.verdict import Cause


def is_live(source: str) -> bool:
    """True for a device or a URL, whose frames come by themselves.

    >>> [is_live(source) for source in ("/dev/video0", "rtsp://camera/stream", "parts.mp4")]
    [True, True, False]
    """
    return re.match(r"/dev/(video|v4l/)|[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def rgb_pixels(frame: object) -> Pixels | None:
    """OpenCV's frame as pixels.

    Args:
        frame: What `VideoCapture.retrieve` gave: uint8, (H, W, 3) BGR or (H, W) grey.

    Returns:
        uint8, (H, W, 3) RGB or (H, W) grey, C-contiguous and owned; None if it is anything else.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.size == 0:
        return None
    if frame.ndim == 3 and frame.shape[2] == 3:
        return np.ascontiguousarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1):
        grey: Pixels = np.array(frame.reshape(frame.shape[:2]), order="C")
        return grey
    return None


class VideoFileCamera:
    """The frames of a video file in their order, each one a part, always as RGB.

    Without a rate the file plays at its own.

    Args:
        config: File, rate, loop.
        first_part: Parts already played by earlier camera processes of this run; opening goes on after them.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.
    """

    on_demand = False

    def __init__(
        self,
        config: settings.VideoCamera,
        first_part: int = 0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._path = Path(config.source)
        self._first_part = first_part
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._video: cv2.VideoCapture | None = None
        self._frame = 0
        self._player: Player | None = None

    def open(self) -> None:
        """Opens the file and goes to the first part to play.

        Raises:
            CameraError: There is no such file, OpenCV can't read it, it holds no frame, or it names no rate.
        """
        self.close()
        if not self._path.is_file():
            raise CameraError(
                f"camera.source: there is no file {self._path}; give a video file, a device such as /dev/video0 "
                "or a URL such as rtsp://camera/stream"
            )
        video = self._rewind()
        rate = self._config.rate or self._own_rate(video)
        if not video.grab():
            raise CameraError(f"camera.source: {self._path} holds no frame that OpenCV can read")
        self._rewind()
        self._skip(self._first_part)
        self._player = Player(self._read, rate, self._clock_ns, self._sleep)

    def start(self) -> None:
        """Starts the schedule."""
        self._opened().start()

    def capture(self, timeout_s: float) -> Capture | None:
        """The next frame of the file."""
        return self._opened().capture(timeout_s)

    def close(self) -> None:
        """Closes the file."""
        self._player = None
        if self._video is not None:
            self._video.release()
            self._video = None

    def _opened(self) -> Player:
        if self._player is None:
            raise RuntimeError("the video file is not open")
        return self._player

    def _rewind(self) -> cv2.VideoCapture:
        """Opens the file anew: seeking is not exact in every container."""
        if self._video is not None:
            self._video.release()
        self._video = cv2.VideoCapture(str(self._path))
        self._frame = 0
        if not self._video.isOpened():
            raise CameraError(f"camera.source: OpenCV can't read {self._path} as a video")
        return self._video

    def _own_rate(self, video: cv2.VideoCapture) -> float:
        rate = float(video.get(cv2.CAP_PROP_FPS))
        if not (math.isfinite(rate) and rate > 0):
            raise CameraError(f"camera.rate: {self._path} does not say how fast it plays; set a rate")
        return rate

    def _skip(self, parts: int) -> None:
        """Goes past frames without taking their pixels; past the end only if the file loops."""
        skipped = 0
        while skipped < parts and self._grab():
            skipped += 1
            if self._frame == 1 and skipped > 1:  # began again: the frames of one round are known now
                frames = skipped - 1
                parts = skipped + (parts - skipped) % frames

    def _grab(self) -> bool:
        """Takes the next frame; False at the end of a file that doesn't loop."""
        assert self._video is not None
        if not self._video.grab():
            if not self._config.loop:
                return False
            if not self._rewind().grab():
                raise CameraError(f"camera.source: {self._path} could be read once, now it holds no frame")
        self._frame += 1
        return True

    def _read(self) -> Still | None:
        if not self._grab():
            return None
        assert self._video is not None
        try:
            taken, frame = self._video.retrieve()
        except cv2.error:
            taken, frame = False, None
        pixels = rgb_pixels(frame) if taken else None
        source = f"{self._path.name} frame {self._frame}"
        return Still(pixels, source, Cause.FRAME_CORRUPT if pixels is None else None)
