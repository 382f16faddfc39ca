"""A process that steps back really is behind all others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="this system has no scheduling classes of that name")
@pytest.mark.parametrize(("idle", "policy"), [(False, "SCHED_BATCH"), (True, "SCHED_IDLE")])
def test_it_goes_behind_all_others_and_first_where_memory_runs_out(idle: bool, policy: str) -> None:
    program = (
        "import os; from inspector.roles.priority import step_back; "
        f"step_back(idle={idle}); "
        "print(os.sched_getscheduler(0), os.nice(0), open('/proc/self/oom_score_adj').read().strip())"
    )
    former = int(Path("/proc/self/oom_score_adj").read_text())
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found, nice, memory = map(int, done.stdout.split())
    assert (found, nice) == (getattr(os, policy), 19)
    assert memory == 500 or former > 500
