"""A worker proves itself again and again while it judges."""

from __future__ import annotations

import re

import pytest

from ..process.conftest import Daemon, StartDaemon, metrics, wait_for

pytestmark = pytest.mark.process


def age_s(daemon: Daemon) -> float:
    found = re.search(r"^inspector_golden_check_age_seconds\{.*\} (.+)$", metrics(daemon), re.MULTILINE)
    return float(found.group(1)) if found else -1.0


def test_the_golden_frame_is_computed_again_between_parts(start: StartDaemon) -> None:
    daemon = start(
        camera={"kind": "synthetic", "rate": 10, "width_px": 64, "height_px": 64},
        line={"queue_frames": 256},
        worker={"golden_check_s": 2.0},
        supervision={"heartbeat_timeout_s": 60},  # more than a busy machine keeps a process waiting
    )
    wait_for(lambda: daemon.records(), f"verdicts\n{daemon.errors()}")
    wait_for(lambda: age_s(daemon) > 1.0, f"an age that grows\n{daemon.errors()}")
    wait_for(lambda: 0 <= age_s(daemon) < 0.9, f"a new proof\n{daemon.errors()}")
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["worker_lost"] == causes["engine_error"] == causes["deadline_missed"] == 0
    assert "starting again" not in daemon.errors()
