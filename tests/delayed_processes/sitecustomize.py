"""On the path of every process that a run with `--delays` starts: the daemon's processes begin late and stand still at
random, as they do on a machine that has too much to do.
"""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Any

LEVEL = float(os.environ.get("INSPECTOR_TEST_DELAYS", "0"))
#: Most that a process begins late, seconds; mostly it is far less.
START_S = 1.5
#: Chances of a long and of a short stop in a turn of a loop, and how long it may be, in seconds.
STOPS = ((0.01, 0.15), (0.04, 0.02))


def stand_still() -> None:
    """After each poll, that is once a turn of every loop."""
    chance = random.random()
    for share, longest_s in STOPS:
        if chance < share * LEVEL:
            time.sleep(random.random() * longest_s)
            return
        chance -= share * LEVEL


def be_late_after_polls() -> None:
    """Has the loops of this process stand still at times."""
    import zmq  # only where there are delays

    poll = zmq.Poller.poll

    def late(*arguments: Any, **named: Any) -> Any:
        found = poll(*arguments, **named)
        stand_still()
        return found

    zmq.Poller.poll = late  # type: ignore[method-assign]


COMMAND = " ".join(sys.orig_argv)
if LEVEL and "pytest" not in COMMAND and any(word in COMMAND for word in ("inspector", "worker.py", "daemon.py")):
    time.sleep(random.random() ** 3 * START_S * LEVEL)
    be_late_after_polls()
