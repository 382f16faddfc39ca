"""The daemon's own worker with an engine that needs no torch: as quick to start as Python is, for tests of all that
stands around the network.

Its score is the checksum of the frame, so that every verdict says which pixels it was given on. They are read when the
time is over that a small network takes: what is written over meanwhile is found out.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from inspector.benchmark.checksum_worker import ChecksumEngine
from inspector.config.schema import Worker
from inspector.domain.frame import Pixels
from inspector.engines.base import Engine, Scored
from inspector.recipe.store import Recipe
from inspector.roles.golden_check import prove
from inspector.roles.job import run_child
from inspector.roles.worker import work

#: For each frame.
COMPUTE_S = 0.008
#: While there is such a file, no worker becomes ready.
HOLD = os.environ.get("QUICK_WORKER_HOLD")


class QuickEngine(ChecksumEngine):
    """Takes time, but not the processor's."""

    def infer(self, frames: Sequence[Pixels]) -> list[Scored]:
        time.sleep(COMPUTE_S * len(frames))
        return super().infer(frames)


def create_engines(settings: Worker, recipes: Sequence[Recipe], clock_ns: Callable[[], int]) -> list[Engine]:
    """In the place of the function of this name that loads torch."""
    while HOLD and Path(HOLD).exists():
        time.sleep(0.01)
    engines: list[Engine] = []
    for recipe in recipes:
        engine = QuickEngine()
        prove(engine.warm_up(recipe.golden_frame()), recipe.manifest.golden)
        engines.append(engine)
    return engines


if __name__ == "__main__":
    engines = ModuleType("inspector.roles.engine")
    engines.create_engines = create_engines  # type: ignore[attr-defined]
    sys.modules[engines.__name__] = engines
    sys.exit(run_child("worker", work, sys.argv[1:]))
