"""Children killed and stopped in the middle of a run: no part is lost, the ledger sums, the line goes on.

Frames go as messages here; `test_ring.py` does the same to frames in shared memory.
"""

from __future__ import annotations

import os
import signal

import pytest

from .conftest import StartDaemon, wait_for

pytestmark = pytest.mark.process

CONVEYOR = {"kind": "synthetic", "rate": 60, "width_px": 64, "height_px": 64}


def test_a_killed_worker_costs_its_parts_their_verdict_but_loses_none(start: StartDaemon) -> None:
    daemon = start(transport="zeromq", camera=CONVEYOR)
    daemon.wait_for_verdicts(30)
    worker = daemon.wait_for_child("worker")
    os.kill(worker, signal.SIGKILL)
    daemon.wait_for_child("worker", other_than=worker)

    def judged_again() -> bool:
        records = daemon.records()
        refused = max((n for n, r in enumerate(records) if r["decision"] == "not_inspected"), default=None)
        return refused is not None and any(r["decision"] != "not_inspected" for r in records[refused:])

    wait_for(judged_again, "verdicts of the new worker\n" + daemon.errors())
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["worker_lost"] + causes["worker_not_ready"] + causes["queue_full"] > 0
    assert "worker: process gone (killed by signal 9), starting again" in daemon.errors()


def test_a_killed_camera_process_goes_on_with_the_next_part(start: StartDaemon) -> None:
    daemon = start(transport="zeromq", camera=CONVEYOR | {"rate": 40, "parts": 150})
    daemon.wait_for_verdicts(30)
    camera = daemon.wait_for_child("camera")
    os.kill(camera, signal.SIGKILL)
    daemon.wait_for_child("camera", other_than=camera)
    assert daemon.finish() == 0, daemon.errors()
    daemon.check_ledger()
    numbers = sorted(int(record["source"].split("/")[1]) for record in daemon.records())
    # A part whose trigger was never announced is rendered again; none is skipped and none judged twice.
    assert numbers == list(range(150))
    # The new camera process got the worker's credit: a lost credit once made every later part "worker_not_ready".
    later = [record for record in daemon.records() if record["part"] > 120]
    assert any(record["decision"] != "not_inspected" for record in later)


def test_a_stopped_worker_is_found_out_and_its_parts_are_settled_at_their_deadline(start: StartDaemon) -> None:
    daemon = start(
        transport="zeromq", camera=CONVEYOR, line={"deadline_ms": 400}, supervision={"heartbeat_timeout_s": 2}
    )
    daemon.wait_for_verdicts(30)
    worker = daemon.wait_for_child("worker")
    os.kill(worker, signal.SIGSTOP)
    wait_for(
        lambda: any(record["cause"] == "deadline_missed" for record in daemon.records()),
        "parts that missed their deadline",
    )
    daemon.wait_for_child("worker", other_than=worker)
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    late = [record for record in daemon.records() if record["cause"] == "deadline_missed"]
    assert all(record["decision"] == "not_inspected" for record in late)
    assert "no progress" in daemon.errors()


def test_a_stopped_camera_process_is_found_out_and_replaced(start: StartDaemon) -> None:
    daemon = start(transport="zeromq", camera=CONVEYOR, supervision={"heartbeat_timeout_s": 2})
    daemon.wait_for_verdicts(10)
    camera = daemon.wait_for_child("camera")
    os.kill(camera, signal.SIGSTOP)
    daemon.wait_for_child("camera", other_than=camera)
    daemon.wait_for_verdicts(len(daemon.records()) + 20)
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()


def test_a_worker_that_dies_again_and_again_ends_the_daemon_with_every_part_settled(start: StartDaemon) -> None:
    daemon = start(transport="zeromq", camera=CONVEYOR, supervision={"restarts": 1})
    worker = daemon.wait_for_child("worker")
    daemon.wait_for_verdicts(1)
    os.kill(worker, signal.SIGKILL)
    os.kill(daemon.wait_for_child("worker", other_than=worker), signal.SIGKILL)
    assert daemon.finish() == 70
    assert "can't be kept running" in daemon.errors()
    triggers = [record["trigger"] for record in daemon.records()]
    assert len(triggers) == len(set(triggers))
    assert sorted(record["part"] for record in daemon.records()) == list(range(1, len(triggers) + 1))
