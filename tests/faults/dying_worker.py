"""A worker that is gone between computing a score and sending it: once, at its tenth frame."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from inspector.benchmark import checksum_worker
from inspector.domain.frame import Pixels
from inspector.engines.base import Scored
from inspector.roles.job import run_child

#: File that says that it has happened; in the environment.
MARKER = "DYING_WORKER_MARKER"
FRAMES = 10


class DyingEngine(checksum_worker.ChecksumEngine):
    """Kills its process with a score in its hands."""

    def __init__(self) -> None:
        self._left = FRAMES

    def infer(self, frames: Sequence[Pixels]) -> list[Scored]:
        scored = super().infer(frames)
        self._left -= len(frames)
        marker = Path(os.environ[MARKER])
        if self._left <= 0 and not marker.exists():
            marker.write_text(str(len(frames)))
            os.kill(os.getpid(), signal.SIGKILL)
        return scored


if __name__ == "__main__":
    checksum_worker.ChecksumEngine = DyingEngine  # type: ignore[misc]
    sys.exit(run_child("worker", checksum_worker.work, sys.argv[1:]))
