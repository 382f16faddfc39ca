"""The processes that the line does not depend on let all others go first."""

from __future__ import annotations

import contextlib
import os

import cv2

#: It counts as using so many thousandths more of the memory when the system runs out of it and chooses whom to kill.
_EXPENDABLE = 500


def step_back(*, idle: bool = False) -> None:
    """Lets every other process of the machine go first, and offers this one where memory runs out.

    Args:
        idle: Take a processor's spare time only, however long it takes; else the lowest share of a busy one.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE if idle else os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 19)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_EXPENDABLE))
    cv2.setNumThreads(1)
