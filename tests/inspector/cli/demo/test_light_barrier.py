from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.cli.demo.light_barrier import LightBarrier, PulsePlan
from inspector.domain.errors import CameraError


class Line:
    """Answers the control socket as a process that plays the camera, and gives each pulse its verdict at once."""

    def __init__(self, folder: Path, refuse: bool = False) -> None:
        self.pulses = 0
        self.barrier: LightBarrier | None = None
        self._refuse = refuse
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(folder / "control-1"))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client:
                words = client.recv(100).decode().split()
                if words[0] == "state":
                    client.sendall(b"ok parts 0 grabbing 1\n")
                elif self._refuse:
                    client.sendall(b"error: there is no command trigger\n")
                else:
                    self.pulses += int(words[2])
                    client.sendall(b"ok\n")
                    if self.barrier is not None:
                        self.barrier.wake()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="light-") as name:
        yield Path(name)


def pulled(line: Line, folder: Path) -> LightBarrier:
    done = threading.Event()
    plan = PulsePlan(total=25, rate=None, room=4, patience_s=60.0)
    line.barrier = LightBarrier(folder, plan, lambda: line.pulses, done.set, lambda: 0.0)
    line.barrier.start()
    assert done.wait(20)
    return line.barrier


def test_every_part_is_one_pulse(folder: Path) -> None:
    line = Line(folder)
    barrier = pulled(line, folder)
    barrier.stop()
    line.close()
    assert line.pulses == 25


def test_simulator_that_refuses_stops_the_line_and_says_so(folder: Path) -> None:
    line = Line(folder, refuse=True)
    barrier = pulled(line, folder)
    with pytest.raises(CameraError, match="the simulator refuses 'trigger SIM0001 4': error: there is no command"):
        barrier.stop()
    line.close()


def test_no_more_parts_are_open_than_there_is_room_for() -> None:
    plan = PulsePlan(total=10, rate=None, room=4, patience_s=1.0)
    assert [plan.due(verdicts, 0.01 * step) for step, verdicts in enumerate((0, 0, 1, 3, 7, 9, 10))] == [
        *(4, 0, 1, 2, 3, 0, 0),  # 10 in all
    ]
    assert not plan.finished(9, 0.5)
    assert plan.finished(10, 0.5)


def test_pulses_that_no_camera_saw_are_sent_again() -> None:
    """The camera process crashed and came back: its line was not armed, the pulses were nobody's triggers."""
    plan = PulsePlan(total=6, rate=None, room=4, patience_s=1.0)
    assert plan.due(0, 0.0) == 4
    assert plan.due(2, 0.5) == 2
    assert plan.due(2, 1.4) == 0
    assert plan.due(2, 1.6) == 4
    assert plan.due(6, 1.7) == 0
    assert plan.finished(6, 1.7)


def test_at_a_rate_the_parts_come_whatever_became_of_the_others() -> None:
    plan = PulsePlan(total=5, rate=10.0, room=1, patience_s=1.0)
    assert [plan.due(0, at) for at in (7.0, 7.05, 7.11, 7.35, 9.0)] == [1, 0, 1, 2, 1]
    assert plan.look_s == 0.02
    assert not plan.finished(3, 7.9)
    assert plan.finished(3, 9.0)  # two got lost
    assert plan.finished(5, 7.9)
