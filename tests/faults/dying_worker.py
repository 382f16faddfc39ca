"""A worker that is gone between computing a score and sending it: once, at its tenth frame."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from inspector.benchmark import checksum_worker
from inspector.domain.frame import Pixels
from inspector.engines.base import Scored
from inspector.roles.job import run_child

#: File that says that it has happened; in the environment.
MARKER = "DYING_WORKER_MARKER"
#: File that says how many scores the gate has heard; in the environment.
HEARD = "DYING_WORKER_HEARD"
FRAMES = 10


class DyingEngine(checksum_worker.ChecksumEngine):
    """Kills its process with a score in its hands, once the gate has those before it: what a process has handed to its
    socket may die with it.
    """

    def __init__(self) -> None:
        self._left = FRAMES

    def infer(self, frames: Sequence[Pixels]) -> list[Scored]:
        scored = super().infer(frames)
        before = FRAMES - self._left
        self._left -= len(frames)
        marker = Path(os.environ[MARKER])
        if self._left <= 0 and not marker.exists():
            until_s = time.monotonic() + 60
            while int(Path(os.environ[HEARD]).read_text()) < before and time.monotonic() < until_s:
                time.sleep(0.01)
            marker.write_text(str(len(frames)))
            os.kill(os.getpid(), signal.SIGKILL)
        return scored


if __name__ == "__main__":
    checksum_worker.ChecksumEngine = DyingEngine  # type: ignore[misc]
    sys.exit(run_child("worker", checksum_worker.work, sys.argv[1:]))
