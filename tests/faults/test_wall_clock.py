"""Somebody sets the machine's clock: labels jump, and nothing else.

Every process of the station gets a wrong wall clock (`wrong_clock/sitecustomize.py`): `time.time` and what else tells
the time of day in the daemon. The monotonic clock goes on, as the kernel's does.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inspector.outputs.archive import stored_entries

from ..process.conftest import Daemon, StartDaemon, metrics, wait_for
from ..recovery import PATIENCE_S, Recovered, seconds_to_recover

pytestmark = pytest.mark.process

CONVEYOR = {"kind": "synthetic", "rate": 30, "width_px": 64, "height_px": 64}
DEADLINE_MS = 10_000.0


@pytest.fixture
def set_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the wall clock of daemons that are started later wrong by so many seconds, from now on."""
    offset = tmp_path / "offset"
    monkeypatch.setenv("WRONG_CLOCK", str(offset))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "wrong_clock"))

    def jump(seconds: int) -> None:
        other = tmp_path / "offset.new"
        other.write_text(str(seconds))
        other.replace(offset)

    return jump


def figures(daemon: Daemon) -> dict[str, float]:
    """All metrics, by name and labels."""
    families = list(text_string_to_metric_families(metrics(daemon)))
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


def judged_since(daemon: Daemon, before: int) -> int:
    return sum(record["decision"] != "not_inspected" for record in daemon.records()[before:])


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_clock_that_jumps_an_hour_moves_labels_and_nothing_else(
    start_quick: StartDaemon, set_clock: Callable[[int], None], tmp_path: Path, recovered: Recovered, jump_s: int
) -> None:
    folder = tmp_path / "archive"
    daemon = start_quick(
        camera=CONVEYOR,
        line={"deadline_ms": DEADLINE_MS, "queue_frames": 256},
        # Half of the jump: an entry whose age followed the wall clock would go.
        archive={"folder": str(folder), "pass_ratio": 1.0, "quota_days": 1800 / 86400},
        # Far less than the jump, and more than a busy machine keeps a process waiting.
        supervision={"heartbeat_timeout_s": 60},
    )
    daemon.wait_for_verdicts(20)
    wait_for(lambda: len(list(stored_entries(folder))) > 5, f"entries\n{daemon.errors()}")
    kept, records = {entry.part for entry in stored_entries(folder)}, len(daemon.records())
    former = figures(daemon)

    set_clock(jump_s)
    jumped_ns = time.monotonic_ns()
    recovered(daemon, jumped_ns)
    wait_for(lambda: judged_since(daemon, records) > 60, f"verdicts\n{daemon.errors()}")
    wait_for(lambda: len(list(stored_entries(folder))) > len(kept) + 10, f"entries\n{daemon.errors()}")
    later = figures(daemon)

    # Restarts: pause and budget of a worker that is killed are those of any other day.
    worker = daemon.wait_for_child("worker")
    os.kill(worker, signal.SIGKILL)
    killed_ns = time.monotonic_ns()
    assert seconds_to_recover(daemon, killed_ns) < PATIENCE_S
    assert daemon.stop() == 0, daemon.errors()

    # The clock did jump: the records say so.
    times_s = [record["time"] for record in daemon.records()]
    assert abs(times_s[-1] - times_s[0] - jump_s) < 300
    assert all(0 <= record["whole_ms"] <= DEADLINE_MS for record in daemon.records())
    causes = daemon.check_ledger()
    assert causes["deadline_missed"] == causes["expired_in_queue"] == causes["ledger_full"] == 0
    # Ages in the archive: nothing was deleted.
    assert kept <= {entry.part for entry in stored_entries(folder)}
    assert later["inspector_archive_oldest_age_seconds/station"] < 600
    assert "no progress" not in daemon.errors()

    counters = [name for name in former if "_total/" in name or "_bucket/" in name or "_count/" in name]
    assert len(counters) > 50
    assert all(later[name] >= former[name] for name in counters)
    assert later["inspector_ledger_imbalance_parts/station"] == 0
    # The heartbeat is a wall time, compared by Prometheus with the clock of the same machine.
    assert abs(later["inspector_heartbeat_timestamp_seconds/station"] - time.time() - jump_s) < 60
    assert math.isfinite(later["inspector_score_drift_evidence/station"])
    durations_s = [value for name, value in later.items() if name.startswith("inspector_stage_seconds_sum")]
    assert 0 < max(durations_s) < 1000
