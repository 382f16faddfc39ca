"""Delays at random, `pytest --delays 1`: a race between a test and the processes that it started shows here first.

Real processes on a busy machine stand still anywhere. CI meets that once in some thousand tests and then stops a change
that has nothing to do with it; a run with delays meets it on purpose. The daemon's processes start late and stop in
their loops (`delayed_processes`), and the tests that watch them stop between their lines.
"""

from __future__ import annotations

import functools
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

_HERE = Path(__file__).parent
#: Chance of a stop before a line, and the longest, in seconds; mostly it is far less.
_SHARE, _LONGEST_S = 0.08, 0.6
#: All the stops of a test, so that one that only computes comes to its end.
_MOST_S = 20.0
#: Files in which something else runs beside the test.
_WORDS = ("Popen", "subprocess", "Thread(", "wait_for", "StartDaemon", "until")
#: They wait already, over and over; or they keep up with a stream.
_LEFT_ALONE = ("wait_for", "<lambda>", "<genexpr>", "<listcomp>")
_STREAMS = "test_soak.py"


def add_option(parser: pytest.Parser) -> None:
    """The option that gives the level."""
    parser.addoption("--delays", type=float, default=0.0, metavar="LEVEL", help="delay tests and processes at random")


def configure(config: pytest.Config) -> None:
    """Hands the level to every process that will be started."""
    level = config.getoption("--delays")
    if level:
        os.environ["INSPECTOR_TEST_DELAYS"] = str(level)
        path = [str(_HERE / "delayed_processes"), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(path)


@functools.cache
def _watches(file: str) -> bool:
    path = Path(file)
    if _HERE not in path.parents or path.name == _STREAMS or path == Path(__file__):
        return False
    text = path.read_text()
    return any(word in text for word in _WORDS)


@contextmanager
def delays(item: pytest.Item) -> Iterator[None]:
    """Around the run of a test."""
    level = item.config.getoption("--delays")
    if not level or not _watches(str(item.path)):
        yield
        return
    left_s = _MOST_S

    def before_a_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left_s
        if event == "line" and left_s > 0 and random.random() < _SHARE * level:
            stop_s = random.random() ** 2 * _LONGEST_S
            left_s -= stop_s
            time.sleep(stop_s)
        return before_a_line

    def at_a_call(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        return before_a_line if code.co_name not in _LEFT_ALONE and _watches(code.co_filename) else None

    sys.settrace(at_a_call)
    try:
        yield
    finally:
        sys.settrace(None)
