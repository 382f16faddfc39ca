"""One contract for every kind of camera: what the camera process relies on, whatever delivers the frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq

from inspector.cameras.base import Camera, SourceEnded
from inspector.cameras.factory import create_camera
from inspector.config.cameras import (
    CameraConfig,
    Feature,
    FolderCamera,
    GenicamCamera,
    RemoteCamera,
    SyntheticCamera,
    VideoCamera,
)
from inspector.config.keys import CurveKeys
from inspector.domain.frame import Capture, PixelFormat
from inspector.roles.camera_server import CameraServer
from inspector.wire.curve import CurveServer, load_keys, write_key_pair

from ...gentl_simulator.plant import Plant

PARTS = 6
KINDS = ("folder", "hot folder", "video", "synthetic", "genicam", "simulator", "remote")
FINITE = ("folder", "video", "synthetic")
SLOW = 1e-3
#: At 20 frames a second a busy machine may stand still for 3 s without losing one.
LIVE: dict[str, Any] = {"free_running": True, "buffers": 64}


@dataclass(frozen=True)
class Kind:
    """A kind of camera: its configuration with a quick source, and with one that makes the caller wait.

    A source that is fed from outside has nothing before `open` and all parts after `start`; one that goes on while
    nobody has it is not at its beginning when it is opened again.
    """

    name: str
    quick: CameraConfig
    slow: CameraConfig
    on_demand: tuple[bool, bool] = (False, False)
    empty: Callable[[], object] = tuple
    feed: Callable[[], object] = tuple
    goes_on: bool = False


def folder_kind(tmp_path: Path) -> Kind:
    for index in range(PARTS):
        path = tmp_path / "parts" / ("good" if index % 2 else "hole") / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((24, 32), 30 * index, np.uint8))
    quick = FolderCamera(kind="folder", path=tmp_path / "parts")
    return Kind("folder", quick, quick.model_copy(update={"rate": SLOW}), (True, False))


def hot_folder_kind(tmp_path: Path) -> Kind:
    folder = tmp_path / "inbox"
    folder.mkdir()
    quick = FolderCamera(kind="folder", path=folder, watch=True, complete_after_s=0.02)

    def empty() -> None:
        for path in folder.iterdir():
            path.unlink()

    def feed() -> None:
        for index in range(PARTS):
            assert cv2.imwrite(str(folder / f"{index:03}.png"), np.full((24, 32), 30 * index, np.uint8))

    return Kind("hot folder", quick, quick.model_copy(update={"complete_after_s": 60.0}), (True, True), empty, feed)


def video_kind(tmp_path: Path) -> Kind:
    path = str(tmp_path / "parts.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 1000.0, (32, 24))
    assert writer.isOpened()
    for index in range(PARTS):
        writer.write(np.full((24, 32, 3), 30 * index, np.uint8))
    writer.release()
    return Kind("video", VideoCamera(kind="video", source=path), VideoCamera(kind="video", source=path, rate=SLOW))


def synthetic_kind(tmp_path: Path) -> Kind:
    quick = SyntheticCamera(kind="synthetic", parts=PARTS, width_px=64, height_px=64)
    return Kind("synthetic", quick, quick.model_copy(update={"rate": SLOW}), (True, False))


def genicam_kind(viky: Path) -> Kind:
    def config(rate: float) -> GenicamCamera:
        features = (
            Feature(name="Width", value=100),
            Feature(name="Height", value=100),
            Feature(name="PixelFormat", value="Mono8"),
            Feature(name="AcquisitionFrameRate", value=rate),
        )
        return GenicamCamera(kind="genicam", producers=(viky,), serial="1", features=features, **LIVE)

    return Kind("genicam", config(20.0), config(1.0))


def simulator_kind(plant: Plant) -> Kind:
    generator = np.random.default_rng(5)
    plant.write_parts(generator.integers(0, 256, (24, 32), np.uint8) for _ in range(PARTS))

    def config(rate: float) -> GenicamCamera:
        features = (Feature(name="AcquisitionFrameRate", value=rate),)
        return GenicamCamera(kind="genicam", producers=(plant.producer,), features=features, **LIVE)

    return Kind("simulator", config(20.0), config(1.0))


@contextmanager
def served(config: CameraConfig, keys: Path) -> Iterator[int]:
    """A camera beyond a port, until the end."""
    ring = load_keys(CurveKeys(secret_key=keys / "machine.key_secret", clients=keys / "clients"), "curve")
    curve, camera, stopping = CurveServer(), create_camera(config), threading.Event()
    socket = curve.context.socket(zmq.ROUTER)
    socket.linger = 0
    curve.protect(socket, ring, "camera")
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    camera.open()
    server = CameraServer(camera, socket, ring.clients)

    def serve() -> None:
        while not stopping.is_set():
            server.turn()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield port
    finally:
        stopping.set()
        thread.join()
        socket.close()
        camera.close()
        curve.close()


@pytest.fixture
def remote_kind(tmp_path: Path) -> Iterator[Kind]:
    keys = tmp_path / "keys"
    write_key_pair("machine", keys)
    write_key_pair("station", keys / "clients")

    def config(port: int) -> RemoteCamera:
        return RemoteCamera(
            kind="remote",
            connect=f"tcp://127.0.0.1:{port}",
            server_key=keys / "machine.key",
            secret_key=keys / "clients/station.key_secret",
            lost_after_s=5.0,
            window_frames=64,
        )

    quick = SyntheticCamera(kind="synthetic", rate=20.0, width_px=64, height_px=64)
    slow = quick.model_copy(update={"rate": SLOW})
    with served(quick, keys) as quick_port, served(slow, keys) as slow_port:
        yield Kind("remote", config(quick_port), config(slow_port), goes_on=True)


@pytest.fixture
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    if request.param == "genicam":
        return genicam_kind(request.getfixturevalue("viky"))
    if request.param == "simulator":
        return simulator_kind(request.getfixturevalue("plant"))
    if request.param == "remote":
        remote: Kind = request.getfixturevalue("remote_kind")
        return remote
    makers: dict[str, Callable[[Path], Kind]] = {
        "folder": folder_kind,
        "hot folder": hot_folder_kind,
        "video": video_kind,
        "synthetic": synthetic_kind,
    }
    return makers[request.param](tmp_path)


@pytest.fixture
def make() -> Iterator[Callable[..., Camera]]:
    cameras: list[Camera] = []

    def make_one(config: CameraConfig, *, first_part: int = 0) -> Camera:
        cameras.append(create_camera(config, first_part=first_part))
        return cameras[-1]

    yield make_one
    for camera in cameras:
        camera.close()


every_kind = pytest.mark.parametrize("kind", KINDS, indirect=True)
finite_kinds = pytest.mark.parametrize("kind", FINITE, indirect=True)


def running(kind: Kind, camera: Camera) -> Camera:
    kind.empty()
    camera.open()
    camera.start()
    kind.feed()
    return camera


def take(camera: Camera, parts: int) -> list[Capture]:
    """So many captures; a source that stays silent fails the test."""
    captures: list[Capture] = []
    for _ in range(100):
        capture = camera.capture(0.2)
        if capture is not None:
            captures.append(capture)
        if len(captures) == parts:
            return captures
    pytest.fail(f"only {len(captures)} of {parts} captures came")


def take_all(camera: Camera) -> list[Capture]:
    captures: list[Capture] = []
    for _ in range(PARTS + 1):
        try:
            captures += take(camera, 1)
        except SourceEnded:
            return captures
    pytest.fail(f"the source did not end after {PARTS} parts")


@every_kind
def test_is_a_camera(kind: Kind, make: Callable[..., Camera]) -> None:
    camera = make(kind.quick)
    assert isinstance(camera, Camera)
    assert (camera.on_demand, make(kind.slow).on_demand) == kind.on_demand


@every_kind
def test_captures_hold_pixels_and_times(kind: Kind, make: Callable[..., Camera]) -> None:
    before_ns = time.monotonic_ns()
    captures = take(running(kind, make(kind.quick)), PARTS)
    after_ns = time.monotonic_ns()
    for capture in captures:
        assert capture.pixels is not None
        assert capture.problem is None
        assert PixelFormat.of(capture.pixels)
        assert capture.pixels.flags.c_contiguous
        assert capture.source
        assert before_ns <= capture.triggered_ns <= capture.captured_ns <= after_ns
    triggered = [capture.triggered_ns for capture in captures]
    assert triggered == sorted(triggered)


@every_kind
def test_pixels_belong_to_the_receiver(kind: Kind, make: Callable[..., Camera]) -> None:
    """A driver that writes to its buffers again, or hands out one array twice, would change parts in flight."""
    camera = running(kind, make(kind.quick))
    first, second = take(camera, 2)
    assert first.pixels is not None
    assert second.pixels is not None
    first_copy, second_copy = first.pixels.copy(), second.pixels.copy()
    later = take(camera, PARTS - 2)
    assert np.array_equal(first.pixels, first_copy)
    first.pixels[:] = 255 - first.pixels
    assert np.array_equal(second.pixels, second_copy)
    assert not any(np.shares_memory(first.pixels, one.pixels) for one in later if one.pixels is not None)


@every_kind
def test_waits_no_longer_than_asked(kind: Kind, make: Callable[..., Camera]) -> None:
    """The next part is due in a second or in a thousand: the caller gets its turn back without one."""
    camera = running(kind, make(kind.slow))
    assert any(camera.capture(0.01) is None for _ in range(100))


@every_kind
def test_close_is_allowed_at_any_time(kind: Kind, make: Callable[..., Camera]) -> None:
    camera = make(kind.quick)
    camera.close()
    camera.open()
    camera.close()
    camera.close()
    take(running(kind, camera), 2)
    camera.close()
    camera.close()


@every_kind
def test_opens_again_after_close(kind: Kind, make: Callable[..., Camera]) -> None:
    camera = make(kind.quick)
    rounds = []
    for _ in range(2):
        rounds.append([capture.source.split(" at ")[0] for capture in take(running(kind, camera), 3)])
        camera.close()
    if kind.goes_on:
        assert not set(rounds[0]) & set(rounds[1])
    else:
        assert rounds[0] == rounds[1]


@finite_kinds
def test_ends_again_and_again(kind: Kind, make: Callable[..., Camera]) -> None:
    camera = running(kind, make(kind.quick))
    assert len(take_all(camera)) == PARTS
    for _ in range(3):
        with pytest.raises(SourceEnded):
            camera.capture(0.01)


@finite_kinds
@pytest.mark.parametrize("first_part", [1, 4, PARTS, PARTS + 3])
def test_goes_on_after_the_parts_of_earlier_processes(kind: Kind, make: Callable[..., Camera], first_part: int) -> None:
    """The camera process was killed and started again: no part is played twice, none is left out."""
    whole = take_all(running(kind, make(kind.quick)))
    rest = take_all(running(kind, make(kind.quick, first_part=first_part)))
    assert [capture.source for capture in rest] == [capture.source for capture in whole[first_part:]]
    for again, once in zip(rest, whole[first_part:], strict=True):
        assert np.array_equal(np.asarray(again.pixels), np.asarray(once.pixels))


@pytest.mark.parametrize("kind", ["genicam", "simulator", "remote"], indirect=True)
def test_live_camera_has_no_first_part(kind: Kind, make: Callable[..., Camera]) -> None:
    assert len(take(running(kind, make(kind.quick, first_part=1000)), 2)) == 2
