"""What a process goes through while it works on parts: a clock that takes a note at every reading.

The roles stamp each part with readings of a clock that they are given. This one notes at the same moment what the
process has used up so far, so that it is known what happened between two stamps of a part, and a line that is not being
traced has nothing of it. Notes go to memory that is there before the first; they are written down after the run.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: What a note holds; everything but the time is a sum since the start of the process.
COLUMNS = (
    "time_ns",  # monotonic time of the reading
    "running_ns",  # processor time of the thread that reads
    "python_ns",  # processor time of the other threads that may run Python
    "waiting_ns",  # time in which the thread that reads could have run and had no processor
    "waiting_beside_ns",  # the same of all other threads together
    "minor_faults",  # pages that the kernel had to map, without reading them from a disk
    "major_faults",  # pages that it had to read
    "preemptions",  # times that a thread had to leave its processor although it could have run on
)
#: Notes of five minutes at 60 parts a second.
_CAPACITY = 1 << 19
_COLLECTIONS = 1 << 16
#: Threads come up with the first parts: until so many readings they are looked for;
_LOOKS = 200
#: and they are asked how they fare no more often than this, which takes some microseconds for each.
_OTHERS_NS = 500_000


@dataclass(frozen=True)
class Trace:
    """The notes of one process.

    Attributes:
        notes: int64, (N, len(COLUMNS)), N at least 1, in ascending order of time.
        collections: int64, (M, 3): generation, begin and end of each garbage collection, monotonic nanoseconds.
        python_threads: Most threads of Python that were seen at once; where there is one, nobody waits for the GIL.
        frozen_objects: Objects that the collector passes over, at the end.
        collecting: Whether the collector was on, at the end.
        lost: Notes and collections for which there was no room.
    """

    notes: NDArray[np.int64]
    collections: NDArray[np.int64]
    python_threads: int
    frozen_objects: int
    collecting: bool
    lost: int

    def column(self, name: str) -> NDArray[np.int64]:
        """One of `COLUMNS`: int64, (N,)."""
        column: NDArray[np.int64] = self.notes[:, COLUMNS.index(name)]
        return column

    def save(self, path: Path) -> None:
        """Writes it to a file that ends in .npz."""
        facts = (self.python_threads, self.frozen_objects, int(self.collecting), self.lost)
        np.savez(path, notes=self.notes, collections=self.collections, facts=np.array(facts, np.int64))

    @staticmethod
    def load(path: Path) -> Trace:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            threads, frozen, collecting, lost = (int(fact) for fact in arrays["facts"])
            return Trace(arrays["notes"], arrays["collections"], threads, frozen, bool(collecting), lost)


class Recorder:
    """The clock. A reading costs some microseconds; read by another thread than its own it takes no note.

    Args:
        capacity: Notes that there is room for.
        clock_ns: The monotonic clock behind it.
    """

    def __init__(self, capacity: int = _CAPACITY, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        # Written to once, so that taking a note later meets no page that isn't there yet.
        self._notes = np.full((capacity, len(COLUMNS)), -1, np.int64)
        self._collections = np.full((_COLLECTIONS, 3), -1, np.int64)
        self._count = self._collected = self._lost = 0
        self._clock_ns = clock_ns
        self._thread = threading.get_ident()
        self._own = _Thread(threading.get_native_id())
        self._others: dict[int, _Thread] = {}
        self._foreign: list[_Thread] = []
        self._python_threads = 0
        self._asked_ns = self._python_ns = self._waiting_beside_ns = 0
        self._begun_ns = 0
        gc.callbacks.append(self._collecting)

    def __call__(self) -> int:
        """Monotonic nanoseconds."""
        now_ns = self._clock_ns()
        if threading.get_ident() != self._thread:
            return now_ns
        if self._count < _LOOKS:
            self._look()
        if self._count == len(self._notes):
            self._lost += 1
            return now_ns
        if now_ns - self._asked_ns >= _OTHERS_NS:
            self._asked_ns = now_ns
            self._ask_others()
        self._own.ask()
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._notes[self._count] = (
            now_ns,
            time.thread_time_ns(),
            self._python_ns,
            self._own.waiting_ns,
            self._waiting_beside_ns,
            used.ru_minflt,
            used.ru_majflt,
            used.ru_nivcsw,
        )
        self._count += 1
        return now_ns

    def trace(self) -> Trace:
        """The notes so far. If there is none yet, one is taken."""
        if not self._count:
            self()
        return Trace(
            self._notes[: self._count],
            self._collections[: self._collected],
            self._python_threads,
            gc.get_freeze_count(),
            gc.isenabled(),
            self._lost,
        )

    def close(self) -> None:
        """Hears of no more collections. To be called once; no reading may follow."""
        gc.callbacks.remove(self._collecting)
        for thread in (self._own, *self._others.values()):
            thread.close()

    def _look(self) -> None:
        python = {thread.native_id for thread in threading.enumerate()}
        self._python_threads = max(self._python_threads, len(python))
        for name in map(int, os.listdir("/proc/self/task")):
            if name != threading.get_native_id() and name not in self._others:
                self._others[name] = _Thread(name)
        self._foreign = [thread for name, thread in self._others.items() if name not in python]

    def _ask_others(self) -> None:
        for thread in self._others.values():
            thread.ask()
        # Also that of threads of Python which come and go, such as those that answer for the metrics.
        foreign_ns = sum(thread.running_ns for thread in self._foreign)
        self._python_ns = time.process_time_ns() - time.thread_time_ns() - foreign_ns
        self._waiting_beside_ns = sum(thread.waiting_ns for thread in self._others.values())

    def _collecting(self, phase: str, info: dict[str, int]) -> None:
        now_ns = self._clock_ns()
        if phase == "start":
            self._begun_ns = now_ns
        elif self._collected == len(self._collections):
            self._lost += 1
        else:
            self._collections[self._collected] = (info["generation"], self._begun_ns, now_ns)
            self._collected += 1


class _Thread:
    """What the kernel says of a thread of this process; of one that has ended, what it said at the last time.

    Attributes:
        running_ns: Processor time.
        waiting_ns: Time in which it could have run and had no processor.
    """

    def __init__(self, thread: int) -> None:
        self.running_ns = self.waiting_ns = 0
        self._file: int | None = None
        with contextlib.suppress(OSError):  # it has ended, or this kernel does not count
            self._file = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)

    def ask(self) -> None:
        """Takes up how it fares now."""
        if self._file is None:
            return
        try:
            running, waiting, _ = os.pread(self._file, 80, 0).split()
            self.running_ns, self.waiting_ns = int(running), int(waiting)
        except OSError:
            self.close()

    def close(self) -> None:
        """Asks no more. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
