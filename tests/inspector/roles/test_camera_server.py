"""A camera at another machine, both ends: nothing is lost without being a part, whatever the link does."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from inspector.cameras.base import SourceEnded
from inspector.cameras.bayer import demosaiced
from inspector.cameras.remote import RemoteCamera
from inspector.cameras.remote_protocol import RUN_BYTES, Hello, Kind, kind_of, plain
from inspector.config import cameras as settings
from inspector.config.keys import CurveKeys
from inspector.domain.errors import CameraError
from inspector.domain.frame import Capture, Mosaic, PixelFormat
from inspector.domain.verdict import Cause
from inspector.roles import camera_server as module
from inspector.roles.camera_server import CameraServer
from inspector.wire.curve import CurveServer, load_keys, write_key_pair

from ...cable import Cable

PICTURE = np.random.default_rng(1).integers(0, 256, (40, 60), np.uint8)


class ScriptedCamera:
    """Captures that a test puts in; None is the end, an error is raised."""

    on_demand = False

    def __init__(self) -> None:
        self.script: queue.Queue[Capture | Exception | None] = queue.Queue()
        self.started = 0

    def open(self) -> None: ...

    def start(self) -> None:
        self.started += 1

    def capture(self, timeout_s: float) -> Capture | None:
        try:
            step = self.script.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if step is None:
            raise SourceEnded
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None: ...

    def trigger(self, label: str, pixels: Any = PICTURE, problem: Cause | None = None) -> int:
        now_ns = time.monotonic_ns()
        self.script.put(Capture(pixels, now_ns, now_ns + 1000, label, problem))
        return now_ns


class Site:
    """A served camera with keys, a cable to it, and stations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("machine", "press-1", "press-2", "stranger"):
            write_key_pair(name, folder / "keys")
        (folder / "clients").mkdir()
        for name in ("press-1", "press-2"):
            (folder / f"keys/{name}.key").rename(folder / f"clients/{name}.key")
        self.keys = load_keys(CurveKeys(secret_key=folder / "keys/machine.key_secret", clients=folder / "clients"), "c")
        self.camera = ScriptedCamera()
        self.curve = CurveServer()
        self.port = 0
        self._stopping = threading.Event()
        self._run()
        self.cable = Cable(self.port)
        self.stations: list[RemoteCamera] = []

    def _run(self) -> None:
        self.socket = self.curve.context.socket(zmq.ROUTER)
        self.curve.protect(self.socket, self.keys, "camera")
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self.socket.linger = 0
        if self.port:
            until(self._bound)
        else:
            self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _bound(self) -> bool:
        try:
            self.socket.bind(f"tcp://127.0.0.1:{self.port}")
        except zmq.ZMQError:  # the former is closed in the background
            return False
        return True

    def _serve(self) -> None:
        server = CameraServer(self.camera, self.socket, self.keys.clients)
        try:
            while not self._stopping.is_set():
                server.turn()
        except CameraError:
            pass
        finally:
            self.socket.close()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def restart(self) -> None:
        self.stop()
        self._run()

    def station(
        self, name: str = "press-1", memory: Path | None = None, *, raw_bayer: bool = False, **options: Any
    ) -> RemoteCamera:
        secret = self.folder / f"keys/{name}.key_secret"
        config = settings.RemoteCamera(
            kind="remote",
            connect=f"tcp://127.0.0.1:{self.cable.port}",
            server_key=self.folder / "keys/machine.key",
            secret_key=secret,
            **({"lost_after_s": 5.0} | options),
        )
        self.stations.append(RemoteCamera(config, memory, raw_bayer=raw_bayer))
        return self.stations[-1]

    def close(self) -> None:
        for station in self.stations:
            station.close()
        self.cable.__exit__(None, None, None)
        self.stop()
        self.curve.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def opened(station: RemoteCamera) -> RemoteCamera:
    station.open()
    station.start()
    answers = station._pongs
    station._ping(at_once=True)
    until(lambda: station._receive(10_000_000) or station._pongs > answers)  # so it has heard of the start too
    return station


def take(station: RemoteCamera, count: int) -> list[Capture]:
    """So many captures; the time limit is only there to end a test that would hang."""
    captures: list[Capture] = []
    until_s = time.monotonic() + 30
    while len(captures) < count:
        assert time.monotonic() < until_s, f"{len(captures)} captures of {count}"
        capture = station.capture(0.05)
        if capture is not None:
            captures.append(capture)
    return captures


def nothing_comes(station: RemoteCamera, for_s: float = 0.3) -> None:
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        assert station.capture(0.02) is None


def until(what: Callable[[], bool]) -> None:
    limit_s = time.monotonic() + 20
    while not what():
        assert time.monotonic() < limit_s
        time.sleep(0.01)


def test_captures_come_as_they_were_made_and_their_triggers_never_later(site: Site) -> None:
    station = opened(site.station())
    colour = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    true_ns = [site.camera.trigger("grey"), site.camera.trigger("colour", colour)]
    site.camera.trigger("torn", None, Cause.FRAME_INCOMPLETE)
    grey, coloured, torn = take(station, 3)
    assert [capture.source for capture in (grey, coloured, torn)] == ["grey", "colour", "torn"]
    np.testing.assert_array_equal(grey.pixels, PICTURE)
    np.testing.assert_array_equal(coloured.pixels, colour)
    assert torn.pixels is None
    assert torn.problem is Cause.FRAME_INCOMPLETE
    for capture, triggered_ns in zip((grey, coloured), true_ns, strict=True):  # one clock for both ends, here
        assert capture.triggered_ns <= triggered_ns
        assert capture.captured_ns - capture.triggered_ns == 1000
    assert 0 < station.figures()["clock_error_s"] < 5


@pytest.mark.parametrize("raw_bayer", [False, True])
def test_a_bayer_frame_goes_raw_only_to_a_station_that_takes_it_so(site: Site, raw_bayer: bool) -> None:
    station = opened(site.station(raw_bayer=raw_bayer))
    mosaic = Mosaic(PICTURE, PixelFormat.BAYER_GR8)
    site.camera.trigger("raw", mosaic)
    site.camera.trigger("grey")
    raw, grey = take(station, 2)
    if raw_bayer:
        assert isinstance(raw.pixels, Mosaic)
        assert raw.pixels.pixel_format is PixelFormat.BAYER_GR8
        np.testing.assert_array_equal(raw.pixels.pixels, PICTURE)
    else:
        np.testing.assert_array_equal(raw.pixels, demosaiced(mosaic))
    np.testing.assert_array_equal(grey.pixels, PICTURE)


def test_before_the_start_and_in_a_pause_nothing_is_a_part(site: Site) -> None:
    station = site.station()
    station.open()
    assert site.camera.started == 0
    station.start()
    site.camera.trigger("first")
    assert take(station, 1)[0].source == "first"
    station.pause()
    until(lambda: site.camera.script.empty())
    site.camera.trigger("in the pause")
    until(lambda: site.camera.script.empty())
    station.resume()
    nothing_comes(station)
    site.camera.trigger("second")
    assert take(station, 1)[0].source == "second"
    assert site.camera.started == 1


def test_triggers_beyond_the_window_are_parts_without_a_frame(site: Site) -> None:
    station = opened(site.station(window_frames=2))
    for number in range(5):
        site.camera.trigger(str(number))
    until(lambda: site.camera.script.empty())
    captures = take(station, 5)
    assert [capture.source for capture in captures] == ["0", "1", "2", "3", "4"]
    assert [capture.problem for capture in captures] == [None, None, *[Cause.QUEUE_FULL] * 3]

    def with_a_frame_again() -> bool:
        site.camera.trigger("later")
        return take(station, 1)[0].pixels is not None

    until(with_a_frame_again)


def test_what_a_short_break_of_the_link_swallows_is_a_part(site: Site) -> None:
    station = opened(site.station(lost_after_s=20.0))
    site.camera.trigger("before")
    take(station, 1)
    site.cable.pull()
    for number in range(4):
        site.camera.trigger(f"swallowed {number}")
    until(lambda: site.camera.script.empty())
    assert station.capture(0.05) is None
    site.cable.mend()
    captures = take(station, 4)
    site.camera.trigger("after")
    captures += take(station, 1)
    assert captures[-1].source == "after"
    for capture in captures[:-1]:  # what waited on one side comes late, the rest is known by its number
        assert capture.source.startswith("swallowed") or capture.problem is Cause.FRAME_MISSING
    times_ns = [capture.triggered_ns for capture in captures]
    assert times_ns == sorted(times_ns)
    nothing_comes(station)


def test_a_dead_link_is_found_out_and_the_next_process_of_the_run_knows_what_it_missed(
    site: Site, tmp_path: Path
) -> None:
    station = opened(site.station(memory=tmp_path, lost_after_s=0.5))
    site.camera.trigger("before")
    take(station, 1)
    site.cable.silence()
    for number in range(7):
        site.camera.trigger(f"unseen {number}")
    with pytest.raises(CameraError, match=r"no sign of life for 0\.5 s"):
        take(station, 100)
    station.close()
    until(lambda: site.camera.script.empty())
    with pytest.raises(CameraError, match="no answer"):
        site.station(memory=tmp_path, lost_after_s=0.5).open()
    site.cable.pull()
    site.cable.mend()
    again = opened(site.station(memory=tmp_path))
    site.camera.trigger("after")
    captures = take(again, 8)
    assert [capture.problem for capture in captures] == [*[Cause.FRAME_MISSING] * 7, None]
    assert captures[-1].source == "after"
    assert site.camera.started == 1


def test_a_killed_process_of_the_run_is_followed_by_one_that_goes_on(site: Site, tmp_path: Path) -> None:
    station = opened(site.station(memory=tmp_path))
    site.camera.trigger("seen")
    take(station, 1)
    station._memory, station._welcome = None, False  # it remembers nothing and says no goodbye
    station.close()
    site.camera.trigger("unseen")
    again = opened(site.station(memory=tmp_path))
    site.camera.trigger("after")
    first, second = take(again, 2)
    assert (first.problem, second.source) == (Cause.FRAME_MISSING, "after")


def test_another_run_begins_with_what_comes_now(site: Site, tmp_path: Path) -> None:
    station = opened(site.station())
    site.camera.trigger("of the former run")
    take(station, 1)
    station.close()
    again = opened(site.station(memory=tmp_path))
    nothing_comes(again)
    site.camera.trigger("of this run")
    assert take(again, 1)[0].source == "of this run"


def test_one_station_at_a_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENT_NS", 60_000_000_000)
    first = opened(site.station())
    nothing_comes(first, 0.1)
    with pytest.raises(CameraError, match="in use by station press-1"):
        site.station("press-2").open()
    site.camera.trigger("for the first")
    assert take(first, 1)[0].source == "for the first"
    monkeypatch.setattr(module, "_SILENT_NS", 0)
    second = opened(site.station("press-2"))  # the first was silent for too long
    site.camera.trigger("for the second")
    assert take(second, 1)[0].source == "for the second"
    with pytest.raises(CameraError, match="went to station press-2"):
        take(first, 1)


def test_a_station_that_is_not_listed_gets_nothing(site: Site) -> None:
    with pytest.raises(CameraError, match=r"no answer; .*clients folder"):
        site.station("stranger", lost_after_s=0.5).open()


def test_the_end_of_the_source_comes_after_its_last_capture(site: Site) -> None:
    station = opened(site.station())
    site.camera.trigger("last")
    site.camera.script.put(None)
    assert take(station, 1)[0].source == "last"
    with pytest.raises(SourceEnded):
        take(station, 1)


def test_a_camera_that_is_lost_there_is_told_here(site: Site) -> None:
    station = opened(site.station())
    site.camera.script.put(CameraError("camera unplugged"))
    with pytest.raises(CameraError, match="camera unplugged"):
        take(station, 1)


def test_a_new_run_of_the_other_side_is_found_out_and_taken_up(site: Site, tmp_path: Path) -> None:
    station = opened(site.station(memory=tmp_path))
    site.camera.trigger("before")
    take(station, 1)
    site.restart()
    with pytest.raises(CameraError, match="started anew there"):
        take(station, 1)
    station.close()
    again = opened(site.station(memory=tmp_path))
    site.camera.trigger("after")
    assert take(again, 1)[0].source == "after"


def test_who_has_the_camera_is_told_by_name(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "inspector"):
        opened(site.station()).close()
        until(lambda: "station press-1 has let go" in caplog.text)
    assert "station press-1 has the camera" in caplog.text


def test_messages_that_are_none_are_answered_and_hold_nobody_up(site: Site) -> None:
    station = opened(site.station())
    station._send(b"rubbish")
    with pytest.raises(CameraError, match="same version on both machines"):
        take(station, 1)


class Part:
    """A message part as pyzmq gives it, of no known station."""

    def __init__(self, data: bytes) -> None:
        self.bytes = data

    def get(self, name: str) -> str:
        return "-"


class Desk:
    """A ROUTER with what waits in it, in an order that the test chooses."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, bytes]] = []
        self.said: list[tuple[bytes, Kind]] = []

    def poll(self, timeout_ms: int) -> int:
        return len(self.waiting)

    def recv_multipart(self, flags: int, copy: bool) -> list[Part]:
        return [Part(part) for part in self.waiting.pop(0)]

    def send_multipart(self, parts: list[bytes], flags: int, copy: bool) -> None:
        self.said.append((parts[0], kind_of(parts[1])))


def test_a_station_that_comes_again_at_once_is_let_in_though_its_goodbye_is_read_later() -> None:
    # Two connections, two queues: a station that closed and opened the camera was told that it is in use by itself.
    desk: Any = Desk()
    server = CameraServer(ScriptedCamera(), desk, {})
    hello = Hello(bytes(RUN_BYTES), 0, 4).encode()
    desk.waiting = [(b"former", hello)]
    server._take_messages()
    desk.waiting = [(b"next", hello), (b"former", plain(Kind.BYE))]
    server._take_messages()
    assert desk.said == [(b"former", Kind.WELCOME), (b"next", Kind.WELCOME)]
    desk.waiting = [(b"third", hello)]
    server._take_messages()
    assert desk.said[-1] == (b"third", Kind.FAILED)
