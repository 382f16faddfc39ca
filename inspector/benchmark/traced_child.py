"""A camera process or a worker that is traced: the role as it is, with a clock that takes notes.

Its arguments: "camera" or "worker", the collector's mode, the folder for the trace, the path of the orders.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, cast
from unittest import mock

from inspector.benchmark.trace import Recorder
from inspector.roles.job import run_child

CollectorMode = Literal["frozen", "default", "off", "frozen-forced", "default-forced"]
_FORCED_NS = 1_000_000_000


@contextlib.contextmanager
def collector(mode: CollectorMode) -> Iterator[None]:
    """The garbage collector for a role that runs within.

    Each role freezes what it has loaded just before it says that it is ready; the other modes put something else in
    the place of that call.

    Args:
        mode: "frozen" as the roles do it, "default" as Python does it, "off" without collections from then on; those
            with "forced" need a `forcing` clock besides.
    """
    calls = {"frozen": gc.freeze, "default": _nothing, "off": gc.disable}
    try:
        with mock.patch.object(gc, "freeze", calls[mode.removesuffix("-forced")]):
            yield
    finally:
        gc.unfreeze()
        gc.enable()


def _nothing() -> None:
    pass


def forcing(clock_ns: Callable[[], int], every_ns: int = _FORCED_NS) -> Callable[[], int]:
    """A clock that collects all garbage after a reading, once in a while: what cannot be overlooked where one looks."""
    due_ns = clock_ns() + every_ns

    def read() -> int:
        nonlocal due_ns
        now_ns = clock_ns()
        if now_ns >= due_ns:
            due_ns = now_ns + every_ns
            gc.collect()
        return now_ns

    return read


def run(role: str, mode: CollectorMode, folder: Path, argv: list[str]) -> int:
    """Runs a role and writes its trace to `folder`/ROLE.npz, whatever its end.

    Args:
        role: Module of `inspector.roles`.
        mode: See `collector`.
        folder: Must exist.
        argv: The path of the orders.

    Returns:
        The exit code.
    """
    work = importlib.import_module(f"inspector.roles.{role}").work
    with collector(mode), contextlib.closing(Recorder()) as recorder:
        clock_ns = forcing(recorder) if mode.endswith("-forced") else recorder
        try:
            return run_child(role, functools.partial(work, clock_ns=clock_ns), argv)
        finally:
            recorder.trace().save(folder / f"{role}.npz")


if __name__ == "__main__":
    _role, _mode, _folder, *_orders = sys.argv[1:]
    sys.exit(run(_role, cast(CollectorMode, _mode), Path(_folder), _orders))
