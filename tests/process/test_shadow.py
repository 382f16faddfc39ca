"""A second recipe judges the same parts beside the line; it changes no verdict, whatever becomes of it."""

from __future__ import annotations

import json
import os
import signal

import pytest
import zmq

from inspector.recipe.store import Recipe

from .conftest import StartDaemon, metrics, wait_for
from .test_changeover import inspector, other_recipe

__all__ = ["other_recipe"]

pytestmark = pytest.mark.process

CONVEYOR = {"kind": "synthetic", "rate": 25, "width_px": 64, "height_px": 64}
#: The shadow loads its network on a machine that may be busy with other things.
ROOMY = {"queue_frames": 500}


def test_a_shadow_that_rejects_everything_changes_no_verdict(start: StartDaemon, other_recipe: Recipe) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.setsockopt(zmq.LINGER, 0)
        subscriber.setsockopt(zmq.RCVTIMEO, 10_000)
        # Time to stop that no process needs: one that is killed at the end had to be.
        supervision = {"stop_timeout_s": 100}
        daemon = start(camera=CONVEYOR, line=ROOMY, shadow=str(other_recipe.folder), supervision=supervision)
        subscriber.connect(f"ipc://{daemon.output.parent / 'run'}-verdicts")
        subscriber.subscribe(b"shadow")
        daemon.wait_for_verdicts(5)
        wait_for(lambda: daemon.status()["shadow_compared"] > 20, "parts are compared")
        told = json.loads(subscriber.recv_multipart()[1])
    assert told["line"] == "pass"
    assert told["shadow"] == "fail"
    assert told["shadow_recipe_hash"] == other_recipe.content_hash
    stood, text = daemon.status(), metrics(daemon)
    assert stood["shadow"] == "strict version 2"
    assert stood["shadow_rejects_alone"] > 0
    assert stood["line_rejects_alone"] == 0
    assert 'inspector_shadow_parts_total{line="pass",shadow="pass",station="station"} 0.0' in text
    assert 'inspector_shadow_up{station="station"} 1.0' in text
    assert "shadow strict v2: judges and does not act" in inspector(daemon, "check").stdout
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["score_within_threshold"] > 10
    assert set(causes) <= {"score_within_threshold", "score_above_threshold", "shutdown"}
    assert "killed" not in daemon.errors()


def test_a_shadow_that_is_killed_or_stopped_costs_no_verdict_and_comes_back(
    start: StartDaemon, other_recipe: Recipe
) -> None:
    daemon = start(camera=CONVEYOR, line=ROOMY, shadow=str(other_recipe.folder))
    wait_for(lambda: daemon.records() and daemon.status()["shadow_compared"] > 5, "parts are compared")
    pid = daemon.wait_for_child("shadow")
    os.kill(pid, signal.SIGSTOP)
    before = len(daemon.records())
    daemon.wait_for_verdicts(before + 30)
    skipped = 'inspector_shadow_skipped_frames_total{station="station"} 0.0'
    wait_for(lambda: skipped not in metrics(daemon), "frames that it had no room for are counted")
    os.kill(pid, signal.SIGKILL)
    daemon.wait_for_child("shadow", other_than=pid)
    compared = daemon.status()["shadow_compared"]
    wait_for(lambda: daemon.status()["shadow_compared"] > compared + 5, "parts are compared again")
    assert daemon.stop() == 0, daemon.errors()
    assert set(daemon.check_ledger()) <= {"score_within_threshold", "score_above_threshold", "shutdown"}


def test_a_shadow_recipe_that_is_damaged_keeps_the_daemon_from_starting(
    start: StartDaemon, other_recipe: Recipe
) -> None:
    manifest = other_recipe.folder / "recipe.yaml"
    manifest.write_text(manifest.read_text().replace("strict", "lenient"))
    daemon = start(camera=CONVEYOR, line=ROOMY, shadow=str(other_recipe.folder))
    assert daemon.finish() == 65
    assert "is not what the calibration wrote" in daemon.errors()
