"""Live video: a read that blocks never blocks the camera process, and no frame is dropped in silence."""

from __future__ import annotations

import http.server
import queue
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from inspector.cameras import live_video
from inspector.cameras.live_video import LiveVideoCamera
from inspector.config import cameras as settings
from inspector.domain.errors import CameraError, ConfigError
from inspector.domain.frame import Capture
from inspector.domain.verdict import Cause

Item = np.ndarray[Any, Any] | str


class FakeSource:
    """Delivers what the test puts in; `grab` blocks while there is nothing."""

    def __init__(self) -> None:
        self.items: queue.Queue[Item] = queue.Queue()
        self.released = threading.Event()
        self._item: Item = ""

    def put(self, value: int) -> None:
        self.items.put(np.full((2, 3, 3), (value, 0, 255), np.uint8))

    def grab(self) -> bool:
        self._item = self.items.get(timeout=30)
        return not (isinstance(self._item, str) and self._item == "end")

    def retrieve(self) -> tuple[bool, object]:
        if isinstance(self._item, str):
            return False, None
        return True, self._item

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def source() -> Iterator[FakeSource]:
    fake = FakeSource()
    yield fake
    fake.items.put("end")
    assert fake.released.wait(10)


def finish(source: FakeSource, camera: LiveVideoCamera) -> None:
    """Lets the read that blocks come back, then closes."""
    source.items.put("end")
    camera.close()


def make(source: FakeSource, clock: Any, url: str = "rtsp://camera/stream", **keys: Any) -> LiveVideoCamera:
    config = settings.VideoCamera(kind="video", source=url, **keys)
    return LiveVideoCamera(config, clock_ns=clock, open_source=lambda name, limit_s: source)


def opened(source: FakeSource, clock: Any, **keys: Any) -> LiveVideoCamera:
    """Open and started; the frame that opening waits for has been thrown away."""
    camera = make(source, clock, **keys)
    source.put(0)
    camera.open()
    camera.start()
    return camera


def take(camera: LiveVideoCamera) -> Capture:
    capture = camera.capture(10.0)
    assert capture is not None
    return capture


def read_by_thread(camera: LiveVideoCamera, frames: int) -> None:
    """Waits until the thread has handed over so many frames."""
    reader = camera._opened()
    with reader._changed:
        assert reader._changed.wait_for(lambda: len(reader._held) == frames, 10)


def test_frames_before_the_start_are_not_parts(source: FakeSource, clock: Any) -> None:
    camera = opened(source, clock)
    source.put(7)
    capture = take(camera)
    assert capture.pixels is not None
    assert capture.pixels[0, 0].tolist() == [255, 0, 7]
    assert capture.source == "frame 2"
    assert camera.capture(0.01) is None
    finish(source, camera)


def test_overflow_is_counted_part_by_part(source: FakeSource, clock: Any) -> None:
    """The camera process was away while five frames came: two are kept, of three the trigger is."""
    camera = opened(source, clock)
    for value in range(5):
        source.put(value)
    read_by_thread(camera, 5)
    captures = [take(camera) for _ in range(5)]
    assert [capture.source for capture in captures] == [f"frame {number}" for number in range(2, 7)]
    assert [capture.problem for capture in captures] == [None, None, *[Cause.FRAME_MISSING] * 3]
    source.put(9)
    assert take(camera).pixels is not None  # there is room again
    finish(source, camera)


def test_source_is_given_up_when_nobody_takes_its_triggers(
    source: FakeSource, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_video, "_HELD_TRIGGERS", 4)
    camera = opened(source, clock)
    for value in range(5):
        source.put(value)
    assert source.released.wait(10)
    assert [take(camera).source for _ in range(4)] == ["frame 2", "frame 3", "frame 4", "frame 5"]
    assert take(camera).problem is Cause.CAMERA_LOST
    with pytest.raises(CameraError, match="4 triggers wait and the camera process takes none"):
        camera.capture(0.01)
    camera.close()


def test_end_of_the_stream_comes_after_its_last_frame(source: FakeSource, clock: Any) -> None:
    camera = opened(source, clock)
    source.put(1)
    source.items.put("end")
    assert take(camera).pixels is not None
    lost = take(camera)
    assert (lost.problem, lost.source) == (Cause.CAMERA_LOST, "the loss of camera rtsp://camera/stream")
    for _ in range(2):  # it is one part, and stays lost until it is opened anew
        with pytest.raises(CameraError, match="rtsp://camera/stream is lost: the stream ended or broke"):
            camera.capture(10.0)
    camera.close()


def test_frame_that_comes_at_the_end_of_a_look_is_a_part_though_the_stream_breaks(
    source: FakeSource, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the camera was given up with the frame in hand, which got no verdict."""
    camera = opened(source, clock)
    look = camera._opened().take

    def look_in_vain(timeout_s: float) -> tuple[Capture | None, str]:
        found = look(timeout_s)
        source.put(1)
        source.items.put("end")
        assert source.released.wait(10)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(camera._opened(), "take", look_in_vain)
        assert camera.capture(0.001) is None
    assert take(camera).pixels is not None
    assert take(camera).problem is Cause.CAMERA_LOST
    camera.close()


def test_frame_that_can_not_be_decoded_is_a_part(source: FakeSource, clock: Any) -> None:
    camera = opened(source, clock)
    source.items.put("broken")
    source.put(1)
    assert [take(camera).problem for _ in range(2)] == [Cause.FRAME_CORRUPT, None]
    finish(source, camera)


def test_silence_beyond_the_limit_is_a_lost_camera(source: FakeSource, clock: Any) -> None:
    camera = opened(source, clock, read_timeout_s=3.0)
    clock.now_ns += 2_900_000_000
    assert camera.capture(0.001) is None
    clock.now_ns += 200_000_000
    lost = camera.capture(0.001)
    assert lost is not None
    assert lost.problem is Cause.CAMERA_LOST
    with pytest.raises(CameraError, match=r"is lost: no frame for 3\.1 s"):
        camera.capture(0.001)
    finish(source, camera)


def test_a_process_that_stood_still_has_not_seen_a_silence(
    source: FakeSource, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = opened(source, clock, read_timeout_s=3.0)
    look = camera._opened().take

    def look_for_long(timeout_s: float) -> tuple[Capture | None, str]:
        clock.now_ns += 5_000_000_000
        return look(timeout_s)

    with monkeypatch.context() as patch:
        patch.setattr(camera._opened(), "take", look_for_long)
        assert camera.capture(0.001) is None
    source.put(1)
    assert take(camera).pixels is not None
    finish(source, camera)


def test_source_without_a_first_frame_does_not_open(
    source: FakeSource, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_video, "_JOIN_S", 0.01)
    with pytest.raises(CameraError, match=r"stream was opened, but no frame came within 0\.01 s"):
        make(source, clock, read_timeout_s=0.01).open()


def test_source_that_ends_at_once_does_not_open(source: FakeSource, clock: Any) -> None:
    source.items.put("end")
    with pytest.raises(CameraError, match="stream was opened, but the stream ended or broke"):
        make(source, clock).open()


def test_read_that_never_comes_back_does_not_hold_up_the_close(
    source: FakeSource, clock: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_video, "_JOIN_S", 0.01)
    camera = opened(source, clock)
    camera.close()
    assert "its thread is left behind" in caplog.text
    camera.close()


def test_closing_ends_the_thread_and_releases_the_source(source: FakeSource, clock: Any) -> None:
    camera = opened(source, clock)
    source.put(1)
    source.put(2)
    source.items.put("end")
    camera.close()
    assert source.released.wait(10)


@pytest.mark.parametrize("keys", [{"rate": 10.0}, {"loop": True}])
def test_keys_of_files_are_refused(clock: Any, keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"camera\.{next(iter(keys))}: rtsp://.* is live .*remove this key"):
        make(FakeSource(), clock, **keys)


def test_password_is_never_shown(clock: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make(FakeSource(), clock, url="rtsp://admin:secret@camera/stream", rate=1.0)
    assert "secret" not in str(caught.value)


def test_missing_device_says_so() -> None:
    config = settings.VideoCamera(kind="video", source="/dev/video977")
    with pytest.raises(CameraError, match="there is no device /dev/video977; is the camera plugged in"):
        LiveVideoCamera(config).open()


FRAMES = 5


class Stream(http.server.BaseHTTPRequestHandler):
    """An MJPEG stream as network cameras serve it: frames before the start, frames after it, an end."""

    started: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
        self.end_headers()
        for index in range(2 * FRAMES):
            if index == FRAMES:
                self.started.wait(20)
            data = cv2.imencode(".jpg", np.full((48, 64, 3), (0, 0, 200), np.uint8))[1].tobytes()
            head = b"--part\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
            self.wfile.write(head + data + b"\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def watch(camera: LiveVideoCamera) -> None:
    """Takes frames until the camera is lost; they are red."""
    for _ in range(200):
        capture = camera.capture(0.1)
        if capture is not None and capture.pixels is not None:
            assert capture.pixels.shape == (48, 64, 3)
            assert capture.pixels[0, 0, 0] > 150 > capture.pixels[0, 0, 2]


def test_network_stream_through_opencv() -> None:
    """The whole way once: HTTP, FFmpeg, the thread; the stream that ends is a lost camera."""
    Stream.started = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            config = settings.VideoCamera(kind="video", source=f"http://127.0.0.1:{server.server_port}/")
            camera = LiveVideoCamera(config)
            camera.open()
            camera.start()
            Stream.started.set()
            with pytest.raises(CameraError, match="the stream ended or broke"):
                watch(camera)
            assert camera._opened()._frame == 2 * FRAMES
            camera.close()
        finally:
            Stream.started.set()
            server.shutdown()
            thread.join()


def test_address_that_does_not_answer_says_so() -> None:
    config = settings.VideoCamera(kind="video", source="http://user:secret@127.0.0.1:9/", read_timeout_s=2.0)
    with pytest.raises(CameraError, match=r"can't open http://127\.0\.0\.1:9/; is the address right"):
        LiveVideoCamera(config).open()
