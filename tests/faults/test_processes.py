"""Children killed and stopped in the middle of a run: no part is lost, the ledger sums, the line goes on.

Frames go as messages here; `tests/process/test_ring.py` does the same to frames in shared memory.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from ..process.conftest import StartDaemon, wait_for
from ..process_state import state_of
from ..recovery import Recovered

pytestmark = pytest.mark.process

CONVEYOR = {"kind": "synthetic", "rate": 60, "width_px": 64, "height_px": 64}


def test_a_killed_worker_costs_its_parts_their_verdict_but_loses_none(start: StartDaemon, recovered: Recovered) -> None:
    daemon = start(transport="zeromq", camera=CONVEYOR)
    daemon.wait_for_verdicts(30)
    worker = daemon.wait_for_child("worker")
    os.kill(worker, signal.SIGKILL)
    killed_ns = time.monotonic_ns()  # not before: a part that the dead worker still judged is no recovery
    recovered(daemon, killed_ns)
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["worker_lost"] + causes["worker_not_ready"] + causes["queue_full"] > 0
    assert "worker: process gone (killed by signal 9), starting again" in daemon.errors()


def test_a_killed_camera_process_goes_on_with_the_next_part(start_quick: StartDaemon, recovered: Recovered) -> None:
    daemon = start_quick(transport="zeromq", camera=CONVEYOR | {"rate": 40, "parts": 500})
    daemon.wait_for_verdicts(30)
    camera = daemon.wait_for_child("camera")
    os.kill(camera, signal.SIGKILL)
    killed_ns = time.monotonic_ns()
    recovered(daemon, killed_ns)
    assert daemon.finish() == 0, daemon.errors()
    daemon.check_ledger()
    numbers = sorted(int(record["source"].split("/")[1]) for record in daemon.records())
    # A part whose trigger was never announced is rendered again; none is skipped and none judged twice.
    assert numbers == list(range(500))
    # The new camera process got the worker's credit: a lost credit once made every later part "worker_not_ready".
    later = [record for record in daemon.records() if record["part"] > 400]
    assert any(record["decision"] != "not_inspected" for record in later)


def test_a_stopped_worker_is_found_out_and_its_parts_are_settled_at_their_deadline(
    start_quick: StartDaemon, recovered: Recovered
) -> None:
    daemon = start_quick(
        transport="zeromq",
        camera=CONVEYOR,
        line={"deadline_ms": 400},
        # On a busy machine the other processes may stand still for so long too.
        supervision={"heartbeat_timeout_s": 2, "restarts": 100},
    )
    daemon.wait_for_verdicts(30)
    worker = daemon.wait_for_child("worker")
    os.kill(worker, signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    wait_for(
        lambda: any(record["cause"] == "deadline_missed" for record in daemon.records()),
        "parts that missed their deadline",
    )
    daemon.wait_for_child("worker", other_than=worker)
    recovered(daemon, stopped_ns)
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    late = [record for record in daemon.records() if record["cause"] == "deadline_missed"]
    assert all(record["decision"] == "not_inspected" for record in late)
    assert "no progress" in daemon.errors()


def test_a_stopped_camera_process_is_found_out_and_replaced(start_quick: StartDaemon, recovered: Recovered) -> None:
    daemon = start_quick(transport="zeromq", camera=CONVEYOR, supervision={"heartbeat_timeout_s": 2, "restarts": 100})
    daemon.wait_for_verdicts(10)
    camera = daemon.wait_for_child("camera")
    os.kill(camera, signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    daemon.wait_for_child("camera", other_than=camera)
    recovered(daemon, stopped_ns)
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()


def test_a_stopped_gate_passes_nothing_late(start_quick: StartDaemon, recovered: Recovered) -> None:
    """What was triggered meanwhile is rejected, although the worker judged it in time: nobody was told."""
    daemon = start_quick(transport="zeromq", camera=CONVEYOR, line={"deadline_ms": 300})
    daemon.wait_for_verdicts(30)
    daemon.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: state_of(daemon.process.pid) == "T", "the gate stands still")
    stopped_ns = time.monotonic_ns()
    time.sleep(1.5)
    going_ns = time.monotonic_ns()
    daemon.process.send_signal(signal.SIGCONT)
    recovered(daemon, stopped_ns)
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["deadline_missed"] > 0
    unseen = [r for r in daemon.records() if stopped_ns < r["triggered_ns"] < going_ns - 300_000_000]
    assert len(unseen) > 10
    assert {record["decision"] for record in unseen} == {"not_inspected"}


def test_a_worker_ten_times_too_slow_costs_rejects_in_time(start_quick: StartDaemon, recovered: Recovered) -> None:
    daemon = start_quick(transport="zeromq", camera=CONVEYOR, line={"deadline_ms": 500})
    daemon.wait_for_verdicts(30)
    worker, slow_ns = daemon.wait_for_child("worker"), time.monotonic_ns()
    until_s = time.monotonic() + 4
    longest_s = 0.0
    while time.monotonic() < until_s:
        stopped_s = time.monotonic()
        os.kill(worker, signal.SIGSTOP)
        time.sleep(0.27)
        os.kill(worker, signal.SIGCONT)
        longest_s = max(longest_s, time.monotonic() - stopped_s)
        time.sleep(0.03)
    recovered(daemon, time.monotonic_ns())
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["queue_full"] + causes["deadline_missed"] + causes["expired_in_queue"] > 0
    judged = [r for r in daemon.records() if r["decision"] != "not_inspected" and r["triggered_ns"] > slow_ns]
    assert all(record["decided_ns"] <= record["deadline_ns"] for record in judged)
    assert daemon.child("worker") is None
    assert longest_s > 2 or "no progress" not in daemon.errors(), "slow is not hung"


def test_a_worker_that_dies_again_and_again_ends_the_daemon_with_every_part_settled(start_quick: StartDaemon) -> None:
    daemon = start_quick(transport="zeromq", camera=CONVEYOR, supervision={"restarts": 1})
    worker = daemon.wait_for_child("worker")
    daemon.wait_for_verdicts(1)
    os.kill(worker, signal.SIGKILL)
    os.kill(daemon.wait_for_child("worker", other_than=worker), signal.SIGKILL)
    assert daemon.finish() == 70
    assert "can't be kept running" in daemon.errors()
    triggers = [record["trigger"] for record in daemon.records()]
    assert len(triggers) == len(set(triggers))
    assert sorted(record["part"] for record in daemon.records()) == list(range(1, len(triggers) + 1))
