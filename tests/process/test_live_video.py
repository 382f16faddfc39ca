"""A network camera whose stream breaks or stands still, under a real daemon: found again as GenICam cameras are."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from .conftest import Daemon, StartDaemon, wait_for

pytestmark = pytest.mark.process

#: A new camera process must deliver so long after the camera is back: its start, and the longest pause.
RECOVERY_S = 30.0


class NetworkCamera:
    """Serves an MJPEG stream, ten frames a second, to whoever connects; can break it, or hold it up."""

    def __init__(self) -> None:
        self.broken = False
        self.standing = False
        self._closed = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.1)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/stream.mjpg"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._closed = True
        for thread in self._threads:
            thread.join()
        self._server.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(client,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, client: socket.socket) -> None:
        generator = np.random.default_rng(2)
        with client:
            try:
                client.recv(4096)
                client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=part\r\n\r\n")
                while not self._closed and not self.broken:
                    time.sleep(0.1)
                    if self.standing:
                        continue
                    picture = generator.integers(0, 256, (64, 64, 3), np.uint8)
                    data = cv2.imencode(".jpg", picture)[1].tobytes()
                    head = b"--part\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                    client.sendall(head + data + b"\r\n")
            except OSError:  # the reader has gone
                return


@pytest.fixture
def camera() -> Iterator[NetworkCamera]:
    camera = NetworkCamera()
    yield camera
    camera.close()


def lost(daemon: Daemon) -> int:
    return Counter(record["cause"] for record in daemon.records())["camera_lost"]


def test_broken_and_standing_streams_are_found_out_and_opened_again(start: StartDaemon, camera: NetworkCamera) -> None:
    """It is away for more tries than the restart budget allows: a switch that starts anew must not end the line."""
    daemon = start(
        # Longer than a busy machine makes this process, which serves the stream, stand still.
        camera={"kind": "video", "source": camera.url, "read_timeout_s": 3.0},
        supervision={"camera_pause_s": 0.5, "restarts": 1},
    )
    daemon.wait_for_verdicts(3)
    before = lost(daemon)
    camera.broken = True
    wait_for(lambda: lost(daemon) > before, "the loss among the verdicts\n" + daemon.errors())
    wait_for(lambda: daemon.errors().count("exit code 69") >= 3, "two tries in vain\n" + daemon.errors())
    camera.broken = False
    since = time.monotonic()
    daemon.wait_for_verdicts(len(daemon.records()) + 3)
    assert time.monotonic() - since < RECOVERY_S
    before = lost(daemon)
    camera.standing = True
    wait_for(lambda: lost(daemon) > before, "the second loss among the verdicts\n" + daemon.errors())
    camera.standing = False
    since = time.monotonic()
    daemon.wait_for_verdicts(len(daemon.records()) + 3)
    assert time.monotonic() - since < RECOVERY_S
    assert daemon.stop() == 0, daemon.errors()
    # A busy machine may keep the stream waiting for so long once more; each loss is one part.
    assert daemon.check_ledger()["camera_lost"] == daemon.errors().count("is lost: ") >= 2
    assert "is lost: the stream ended or broke" in daemon.errors()
