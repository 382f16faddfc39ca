"""A line with its camera at another machine: real processes, real keys, and a cable between them that fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inspector.wire.curve import write_key_pair

from ..cable import Cable
from ..ports import free_port
from .conftest import PATIENCE_S, Daemon, StartDaemon, samples, wait_for

pytestmark = pytest.mark.process

RATE = 10
CONVEYOR = {"kind": "synthetic", "rate": RATE, "width_px": 64, "height_px": 64}
HEALTHY = {"score_within_threshold", "score_above_threshold"}


class Machine:
    """`inspector camera` on its own, with a cable to it."""

    def __init__(self, folder: Path, camera: dict[str, Any] = CONVEYOR) -> None:
        folder.mkdir()
        self._folder = folder
        write_key_pair("machine", folder / "keys")
        write_key_pair("press-1", folder / "clients")
        (folder / "clients/press-1.key_secret").rename(folder / "keys/press-1.key_secret")
        self.port = free_port()
        config = {
            "camera": camera,
            "listen": f"tcp://127.0.0.1:{self.port}",
            "curve": {"secret_key": "keys/machine.key_secret", "clients": "clients"},
        }
        (folder / "camera.yaml").write_text(yaml.safe_dump(config))
        self.process = self.start()
        self.cable = Cable(self.port)

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "inspector", "camera", "-c", str(self._folder / "camera.yaml")]
        with (self._folder / "stderr.txt").open("a") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=output)
        wait_for(lambda: self.process.poll() is not None or self._listens(), "the camera is served")
        assert self.process.poll() is None, (self._folder / "stderr.txt").read_text()
        return self.process

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def camera(self) -> dict[str, Any]:
        return {
            "kind": "remote",
            "connect": f"tcp://127.0.0.1:{self.cable.port}",
            "server_key": str(self._folder / "keys/machine.key"),
            "secret_key": str(self._folder / "keys/press-1.key_secret"),
            "lost_after_s": 1.0,
        }

    def close(self) -> None:
        self.cable.__exit__(None, None, None)
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.kill()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "machine")
    yield machine
    machine.close()


def causes(daemon: Daemon) -> Counter[str]:
    return Counter(record["cause"] for record in daemon.records())


def clock_error_s(daemon: Daemon) -> float:
    return max((sample.value for sample in samples(daemon, "inspector_camera_clock_error_seconds")), default=0.0)


def all_is_well(daemon: Daemon) -> None:
    """The last parts were judged; on a busy machine some before may have met a link that was silent for too long."""
    wait_for(
        lambda: len(daemon.records()) >= 2 * RATE and {r["cause"] for r in daemon.records()[-RATE:]} <= HEALTHY,
        f"parts that are judged\n{daemon.errors()}",
    )


def until_said(daemon: Daemon, what: str) -> Callable[[], None]:
    """Waits until the daemon says it once more than by now."""
    before = daemon.errors().count(what)
    return lambda: wait_for(lambda: daemon.errors().count(what) > before, f"{what}\n{daemon.errors()}")


def conveyors_number(record: dict[str, Any]) -> int:
    """Which part of the conveyor it is, by its label; where that was lost on the way, by the number of its capture."""
    return int(str(record["source"]).replace("/", " ").split()[1])


def break_the_cable(machine: Machine, *signs: Callable[[], None]) -> None:
    machine.cable.silence()
    for shown in signs:
        shown()
    machine.cable.pull()
    machine.cable.mend()


def test_triggers_while_the_cable_is_dead_are_parts_all_the_same(start_quick: StartDaemon, machine: Machine) -> None:
    daemon = start_quick(camera=machine.camera(), supervision={"camera_pause_s": 0.5})
    all_is_well(daemon)
    wait_for(lambda: 0 < clock_error_s(daemon) < 1, "the error of the other clock is shown")
    before = causes(daemon)["frame_missing"]
    # It is dead for as long as the loss takes to be found, and a try to come back.
    break_the_cable(machine, until_said(daemon, "no sign of life"), until_said(daemon, "no answer"))
    wait_for(lambda: causes(daemon)["frame_missing"] >= before + RATE, f"parts without a frame\n{daemon.errors()}")
    all_is_well(daemon)
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    # Each part that the conveyor has brought, dead cable or not, and none twice.
    records = sorted(daemon.records(), key=lambda record: record["part"])
    assert [conveyors_number(record) for record in records] == list(range(len(records)))


def test_the_machine_is_stopped_or_killed_and_the_line_comes_back(start_quick: StartDaemon, machine: Machine) -> None:
    daemon = start_quick(camera=machine.camera(), supervision={"camera_pause_s": 0.5})
    all_is_well(daemon)
    lost = until_said(daemon, "no sign of life")
    os.kill(machine.process.pid, signal.SIGSTOP)
    lost()
    os.kill(machine.process.pid, signal.SIGCONT)
    daemon.wait_for_verdicts(len(daemon.records()) + RATE)
    lost = until_said(daemon, "starting again")
    machine.process.kill()
    machine.process.wait()
    lost()
    machine.start()
    daemon.wait_for_verdicts(len(daemon.records()) + RATE)
    all_is_well(daemon)
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    machine.process.terminate()
    assert machine.process.wait(PATIENCE_S) == 0
