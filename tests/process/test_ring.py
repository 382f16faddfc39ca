"""Frames in shared memory under a real daemon: processes killed and stopped, and never a verdict on other pixels."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.benchmark.checksum_worker import checksum

from ..gentl_simulator.plant import Plant
from ..recovery import Recovered
from .conftest import Daemon, StartDaemon, metrics, wait_for

pytestmark = pytest.mark.process

PARTS = 60
SLOTS = 8 + 2 * 4 + 2  # line.queue_frames, worker.max_batch of two workers, one being written, one that is ready

#: Scores of the same pixels by the same network differ by so much at most, whatever batch they were computed in.
SAME = 1e-5


def carried(by: str) -> str:
    return f'inspector_carried_frames_total{{carrier="{by}"'


def metric(daemon: Daemon, series: str) -> float:
    """The value of a series whose line begins so; labels stand in the order of the alphabet."""
    lines = metrics(daemon).splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series))


def judged(daemon: Daemon) -> list[dict[str, Any]]:
    return [record for record in daemon.records() if record["score"] is not None]


@pytest.fixture
def belt(parts: Path) -> dict[str, object]:
    """A camera that plays the same parts again and again."""
    return {"kind": "folder", "path": str(parts), "rate": 40, "loop": True}


@pytest.fixture
def expected(parts: Path) -> dict[str, float]:
    """The score that the worker without a network gives each part; no two are the same."""
    found = {path.name: checksum(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in parts.iterdir()}
    assert len(set(found.values())) == PARTS
    return found


def check_scores(daemon: Daemon, expected: dict[str, float]) -> None:
    """Every score is that of its own part, whatever happened."""
    records = judged(daemon)
    assert [record["score"] for record in records] == [expected[record["source"]] for record in records]


def test_without_being_asked_for_slots_carry_the_frames_and_the_network_sees_what_it_sees_in_messages(
    start: StartDaemon, belt: dict[str, object]
) -> None:
    plain = start("plain", transport="zeromq")
    assert plain.finish() == 0, plain.errors()
    scores = {record["source"]: record["score"] for record in judged(plain)}
    values = np.array(list(scores.values()))
    assert len(values) == PARTS
    apart = np.abs(values[:, None] / values - 1) > 2 * SAME
    assert np.mean(apart[~np.eye(PARTS, dtype=bool)]) > 0.98, "parts can't be told apart by their scores"

    daemon = start(camera=belt)
    daemon.wait_for_verdicts(PARTS)
    assert metric(daemon, "inspector_ring_capacity_slots{") == SLOTS
    wait_for(lambda: metric(daemon, carried("slot")) >= PARTS, "frames in slots")
    assert metric(daemon, carried("message")) == 0
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    records = judged(daemon)
    assert [record["score"] for record in records] == [
        pytest.approx(scores[record["source"]], rel=SAME) for record in records
    ]


@pytest.mark.parametrize("role", ["worker", "camera"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_is_killed_or_stopped_and_the_line_recovers_with_all_slots(
    start_quick: StartDaemon,
    belt: dict[str, object],
    expected: dict[str, float],
    role: str,
    number: signal.Signals,
    recovered: Recovered,
) -> None:
    daemon = start_quick(
        transport="shared_memory",
        camera=belt,
        line={"deadline_ms": 500},
        # On a busy machine the other processes may stand still for so long too.
        supervision={"heartbeat_timeout_s": 2, "restarts": 100},
    )
    daemon.wait_for_verdicts(20)
    child = daemon.wait_for_child(role)
    os.kill(child, number)
    injected_ns = time.monotonic_ns()
    daemon.wait_for_child(role, other_than=child)
    recovered(daemon, injected_ns)
    before = daemon.records()[-1]["part"]

    def judged_again() -> int:
        """Far more frames than there are slots."""
        return sum(record["part"] > before for record in judged(daemon)) > 3 * SLOTS

    wait_for(judged_again, "verdicts after the fault\n" + daemon.errors())
    # The leases of a killed camera process that nobody will release end by their time, 2.5 s.
    wait_for(lambda: metric(daemon, "inspector_ring_slots{") <= 4, "the slots that were in use come back")
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    check_scores(daemon, expected)
    if role == "worker":
        assert causes["worker_lost"] + causes["worker_not_ready"] + causes["queue_full"] > 0


def test_worker_and_gate_stop_for_longer_than_a_lease_and_nothing_is_judged_on_other_pixels(
    start_quick: StartDaemon, belt: dict[str, object], expected: dict[str, float], recovered: Recovered
) -> None:
    """The gate can't kill the worker meanwhile: the worker wakes up with old slots in its hands."""
    daemon = start_quick(
        transport="shared_memory",
        camera=belt,
        line={"deadline_ms": 200},
        supervision={"heartbeat_timeout_s": 1, "restarts": 100},
    )
    daemon.wait_for_verdicts(20)
    worker = daemon.wait_for_child("worker")
    for pid in (worker, daemon.process.pid):
        os.kill(pid, signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    time.sleep(1.6)
    for pid in (worker, daemon.process.pid):
        os.kill(pid, signal.SIGCONT)
    recovered(daemon, stopped_ns)
    before = len(judged(daemon))
    wait_for(lambda: len(judged(daemon)) > before + 3 * SLOTS, "verdicts afterwards\n" + daemon.errors())
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["deadline_missed"] + causes["expired_in_queue"] + causes["queue_full"] > 0
    check_scores(daemon, expected)


def test_camera_that_writes_into_the_slots_itself_has_each_frame_judged_on_its_own_pixels(
    start_quick: StartDaemon, plant: Plant
) -> None:
    generator = np.random.default_rng(4)
    pictures = [generator.integers(0, 256, (64, 64), np.uint8) for _ in range(5)]
    plant.write_parts(pictures)
    camera = {
        "kind": "genicam",
        "producers": [str(plant.producer)],
        "serial": "SIM0001",
        "features": [{"name": "AcquisitionFrameRate", "value": 40.0}],
        "free_running": True,
    }
    daemon = start_quick(camera=camera)
    daemon.wait_for_verdicts(100)
    wait_for(lambda: metric(daemon, carried("slot")) >= 80, "frames in slots")  # the camera process tells now and then
    assert metric(daemon, carried("message")) == 0
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    sums = [checksum(picture) for picture in pictures]
    ids = [int(record["source"].split()[1]) for record in judged(daemon)]  # the simulator's begin with 1
    assert len(set(sums)) == len({number % 5 for number in ids}) == 5
    assert [record["score"] for record in judged(daemon)] == [sums[(number - 1) % 5] for number in ids]


def test_frames_that_fit_no_slot_go_as_messages(start_quick: StartDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    sides = (64, 8200)  # 8200 x 8200 is 67.2 MB, and a slot of a recipe for any size takes 67.1 MB
    for side in sides:
        picture = np.zeros((side, side), np.uint8)
        picture[:64, :64] = np.random.default_rng(side).integers(0, 256, (64, 64))
        cv2.imwrite(str(folder / f"{side}.png"), picture)
    daemon = start_quick(
        transport="shared_memory", camera={"kind": "folder", "path": str(folder), "loop": True}, worker={"max_batch": 1}
    )
    daemon.wait_for_verdicts(4)
    wait_for(lambda: metric(daemon, carried("message")) >= 1, "a frame as a message")
    assert metric(daemon, carried("slot")) >= 1
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    assert {record["source"] for record in judged(daemon)} == {f"{side}.png" for side in sides}
