"""On the path of every process that a run with `--delays` starts: the daemon's processes begin late and stand still at
random, as they do on a machine that has too much to do.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
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


class LatePolls(MetaPathFinder):
    """Finds pyzmq once, and has its poller stand still at times."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if fullname != "zmq":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("zmq")
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            poll = module.Poller.poll

            def late(*arguments: Any, **named: Any) -> Any:
                found = poll(*arguments, **named)
                stand_still()
                return found

            module.Poller.poll = late

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


COMMAND = " ".join(sys.orig_argv)
if LEVEL and "pytest" not in COMMAND and any(word in COMMAND for word in ("inspector", "worker.py", "daemon.py")):
    time.sleep(random.random() ** 3 * START_S * LEVEL)
    sys.meta_path.insert(0, LatePolls())
