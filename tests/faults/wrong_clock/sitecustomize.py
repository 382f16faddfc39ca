"""Loaded by each Python process that has this folder in PYTHONPATH: its wall clock is wrong by what a file says.

The monotonic clock stays what it is, as when somebody sets the machine's clock.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

_true_time, _true_time_ns = time.time, time.time_ns
_true_localtime, _true_gmtime = time.localtime, time.gmtime
_file = Path(os.environ.get("WRONG_CLOCK", "/dev/null"))


def _offset_s() -> int:
    try:
        return int(_file.read_text() or "0")
    except FileNotFoundError:  # not yet
        return 0


def _now() -> float:
    return _true_time() + _offset_s()


def _now_ns() -> int:
    return _true_time_ns() + _offset_s() * 1_000_000_000


def _localtime(seconds: float | None = None) -> Any:
    return _true_localtime(_now() if seconds is None else seconds)


def _gmtime(seconds: float | None = None) -> Any:
    return _true_gmtime(_now() if seconds is None else seconds)


if __name__ == "sitecustomize":  # and not where a test runner looks for doctests
    time.time, time.time_ns = _now, _now_ns
    time.localtime, time.gmtime = _localtime, _gmtime
