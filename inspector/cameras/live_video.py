"""Live video through OpenCV: a V4L2 device or a network stream, read in a thread.

OpenCV's read blocks for as long as the driver likes. The thread takes that wait, so that the camera process
keeps its turns; between them stands a short queue whose overflow is counted, part by part.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import cv2

from inspector.cameras.video import rgb_pixels
from inspector.config import cameras as settings
from inspector.domain.errors import CameraError, ConfigError
from inspector.domain.frame import Capture
from inspector.domain.verdict import Cause

log = logging.getLogger("inspector")

#: Frames that may wait for the camera process; of one more only the trigger is kept.
_HELD_FRAMES = 2
#: Triggers that may wait in all; one more and the source is given up, because nobody takes them.
_HELD_TRIGGERS = 1024
#: Longest wait for the thread to leave a blocking read.
_JOIN_S = 2.0


class VideoSource(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def grab(self) -> bool:
        """Waits for the next frame; False if there is none."""

    def retrieve(self) -> tuple[bool, object]:
        """The frame grabbed last."""

    def release(self) -> None:
        """Closes the source."""


class LiveVideoCamera:
    """A camera whose frames come by themselves; the arrival of a frame is its trigger.

    Args:
        config: Source and time limit; rate and loop must be absent.
        clock_ns: Monotonic clock.
        open_source: Opens the source within so many seconds.

    Raises:
        ConfigError: A rate or loop is given.
    """

    on_demand = False

    def __init__(
        self,
        config: settings.VideoCamera,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        open_source: Callable[[str, float], VideoSource] | None = None,
    ) -> None:
        self._name = printable(config.source)
        if config.rate is not None:
            raise ConfigError(f"camera.rate: {self._name} is live and sets the rate itself; remove this key")
        if config.loop:
            raise ConfigError(f"camera.loop: {self._name} is live and has no end to begin again at; remove this key")
        self._config = config
        self._clock_ns = clock_ns
        self._open_source = open_source or open_live_source
        self._reader: _Reader | None = None
        self._lost: str | None = None

    def open(self) -> None:
        """Opens the source and waits for a first frame, which is not a part yet.

        Raises:
            CameraError: The source can't be opened or delivers nothing within `read_timeout_s`.
        """
        self.close()
        limit_s = self._config.read_timeout_s
        reader = _Reader(self._open_source(self._config.source, limit_s), self._name, self._clock_ns)
        self._reader = reader
        if not reader.first.wait(limit_s) or reader.failure:
            reason = reader.failure or f"no frame came within {limit_s:g} s"
            self.close()
            raise CameraError(f"camera.source: {self._name} was opened, but {reason}")

    def start(self) -> None:
        """From now on every frame is a part."""
        self._opened().keep()

    def capture(self, timeout_s: float) -> Capture | None:
        """The next frame; where the camera process came too late for its pixels, its trigger with FRAME_MISSING.

        A loss is a part first, as with GenICam cameras: what was under the camera then, nobody has seen.

        Raises:
            CameraError: The stream ended or broke, or nothing came for `read_timeout_s`.
        """
        if self._lost is not None:
            raise CameraError(self._lost)
        reader = self._opened()
        begun_ns = self._clock_ns()
        capture, reason = reader.take(timeout_s)
        if capture is not None:
            return capture
        now_ns, seen_ns = self._clock_ns(), reader.seen_ns
        # Where this process stood still, the frames of that time have not been read yet: only a whole look tells.
        if not reason and begun_ns - seen_ns > self._config.read_timeout_s * 1e9:
            reason = f"no frame for {(now_ns - seen_ns) / 1e9:.1f} s"
        if not reason:
            return None
        self._lost = f"camera {self._name} is lost: {reason}"
        return Capture(None, now_ns, now_ns, f"the loss of camera {self._name}", Cause.CAMERA_LOST)

    def close(self) -> None:
        """Ends the thread, which closes the source."""
        self._lost = None
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    def _opened(self) -> _Reader:
        if self._reader is None:
            raise RuntimeError("the live video is not open")
        return self._reader


class _Reader:
    """The thread that reads, and the queue it fills. The thread owns the source and releases it.

    Attributes:
        first: Set once a frame came or the source failed.
        failure: Why no further frame will come; empty while they do.
        seen_ns: Monotonic time of the newest frame.
    """

    def __init__(self, source: VideoSource, label: str, clock_ns: Callable[[], int]) -> None:
        self.first = threading.Event()
        self.failure = ""
        self.seen_ns = clock_ns()
        self._source = source
        self._label = label
        self._clock_ns = clock_ns
        self._stopping = False
        self._keeping = False
        self._frame = 0
        self._frames_held = 0
        self._held: deque[Capture] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="video", daemon=True)
        self._thread.start()

    def keep(self) -> None:
        """Frames were thrown away until now; from now on they are kept."""
        with self._changed:
            self.seen_ns = self._clock_ns()
            self._keeping = True

    def take(self, timeout_s: float) -> tuple[Capture | None, str]:
        """The oldest capture that waits; else None after the timeout, and why no further one will come, if so."""
        with self._changed:
            self._changed.wait_for(lambda: self._held or self.failure, timeout_s)
            if not self._held:
                return None, self.failure
            capture = self._held.popleft()
            self._frames_held -= capture.pixels is not None
            return capture, ""

    def stop(self) -> None:
        """Ends the thread; one that hangs in a driver is left behind and ends with the process."""
        with self._changed:
            self._stopping = True
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            log.warning("camera %s: a read has not come back, its thread is left behind", self._label)

    def _run(self) -> None:
        try:
            while not self._stopping:
                if not self._source.grab():
                    self._fail("the stream ended or broke")
                    return
                self._frame += 1
                self._hand_over(self._clock_ns())
        finally:
            self._source.release()

    def _hand_over(self, arrived_ns: int) -> None:
        with self._changed:
            self.seen_ns = arrived_ns
            keeping, room = self._keeping, self._frames_held < _HELD_FRAMES
            full = len(self._held) >= _HELD_TRIGGERS
        if full:
            self._fail(f"{_HELD_TRIGGERS} triggers wait and the camera process takes none")
            self._stopping = True
        elif keeping:
            capture = self._with_pixels(arrived_ns) if room else self._without(arrived_ns, Cause.FRAME_MISSING)
            with self._changed:
                self._held.append(capture)
                self._frames_held += capture.pixels is not None
                self._changed.notify()
        self.first.set()

    def _with_pixels(self, arrived_ns: int) -> Capture:
        try:
            taken, frame = self._source.retrieve()
        except cv2.error:
            taken, frame = False, None
        pixels = rgb_pixels(frame) if taken else None
        if pixels is None:
            return self._without(arrived_ns, Cause.FRAME_CORRUPT)
        return Capture(pixels, arrived_ns, self._clock_ns(), f"frame {self._frame}")

    def _without(self, arrived_ns: int, problem: Cause) -> Capture:
        return Capture(None, arrived_ns, self._clock_ns(), f"frame {self._frame}", problem)

    def _fail(self, reason: str) -> None:
        with self._changed:
            self.failure = reason
            self._changed.notify()
        self.first.set()


def printable(source: str) -> str:
    """The source without user name and password.

    >>> printable("rtsp://admin:secret@camera/stream")
    'rtsp://camera/stream'
    """
    return re.sub(r"//[^/]*@", "//", source)


def open_live_source(source: str, timeout_s: float) -> VideoSource:
    """Opens a device or URL with OpenCV.

    Args:
        source: /dev/videoN or a URL.
        timeout_s: Limit of opening and of each read, where OpenCV's backend knows one.

    Raises:
        CameraError: It can't be opened; the message says what to look at.
    """
    if source.startswith("/dev/"):
        if not os.path.exists(source):
            raise CameraError(f"camera.source: there is no device {source}; is the camera plugged in?")
        if not os.access(source, os.R_OK | os.W_OK):
            raise CameraError(f"camera.source: no right to use {source}; add this user to the group 'video'")
        video = cv2.VideoCapture(source, cv2.CAP_V4L2)
        hint = "is another program using it?"
    else:
        limit_ms = max(1, round(timeout_s * 1000))
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
        video = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        hint = f"is the address right and does it answer within {timeout_s:g} s?"
    if not video.isOpened():
        raise CameraError(f"camera.source: OpenCV can't open {printable(source)}; {hint}")
    return video
