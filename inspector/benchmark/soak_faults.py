"""Faults that a soak injects into a running line; which and when is drawn from a seed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

FaultKind = Literal[
    "kill-camera",
    "kill-worker",
    "kill-archive",
    "stop-camera",
    "stop-worker",
    "stop-archive",
    "slow-worker",
    "corrupt-frames",
]
ALL_FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)

#: A slow worker gets the processor for this share of the time.
_SLOW_SHARE = 0.1
_PULSE_S = 0.1
_SLOW_S = 3.0
_CORRUPT_S = 2.0
#: Bytes at the beginning of a corrupt picture that are lost, and share of the pictures that are.
_LOST_BYTES = 16
_CORRUPT_SHARE = 0.1


def schedule(kinds: Sequence[FaultKind], every_s: float, seed: int) -> Iterator[tuple[float, FaultKind, float]]:
    """Endless faults.

    Args:
        kinds: To choose from.
        every_s: Mean pause between two, seconds; pauses are exponentially distributed.
        seed: Of all that is drawn.

    Yields:
        Pause before the fault in seconds, its kind, and a share in [0, 1) for its strength.

    >>> faults = schedule(("kill-worker", "stop-camera"), 10.0, 1)
    >>> faults.__next__() == schedule(("kill-worker", "stop-camera"), 10.0, 1).__next__()
    True
    """
    rng = np.random.default_rng(seed)
    while True:
        pause_s, kind, share = rng.exponential(every_s), kinds[int(rng.integers(len(kinds)))], rng.random()
        yield float(pause_s), kind, float(share)


class FaultInjector:
    """A thread that does damage until it is stopped, and undoes what would last.

    Args:
        kinds: Faults to choose from; none does nothing.
        every_s: Mean pause between two, seconds.
        seed: Of all that is drawn.
        pids: Gives the process ids by role; None where a process isn't there.
        pictures: Folder of the parts' pictures.
        longest_stop_s: A stopped process is let go after at most so long, if nobody has killed it before.
        injected: Told the kind of each fault and the monotonic time at which it began.

    Attributes:
        counts: Faults by kind.
    """

    def __init__(
        self,
        kinds: Sequence[FaultKind],
        every_s: float,
        seed: int,
        *,
        pids: Callable[[], Mapping[str, int | None]],
        pictures: Path,
        longest_stop_s: float,
        injected: Callable[[str, int], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._faults = schedule(kinds, every_s, seed) if kinds else iter(())
        self._pids = pids
        self._pictures = pictures
        self._longest_stop_s = longest_stop_s
        self._injected = injected
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)

    def start(self) -> None:
        """Begins with the first pause."""
        self._thread.start()

    def stop(self) -> None:
        """Ends what is under way and waits for it. Idempotent."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        for pause_s, kind, share in self._faults:
            if self._over.wait(pause_s):
                return
            action, _, role = kind.partition("-")
            if action == "corrupt":
                self._corrupt(kind, share)
            elif (pid := self._pids().get(role)) is not None:
                self._note(kind)
                {"kill": self._kill, "stop": self._hold, "slow": self._slow}[action](pid, share)

    def _note(self, kind: FaultKind) -> None:
        self.counts[kind] += 1
        self._injected(kind, time.monotonic_ns())

    def _kill(self, pid: int, share: float) -> None:
        _signal(pid, signal.SIGKILL)

    def _hold(self, pid: int, share: float) -> None:
        _signal(pid, signal.SIGSTOP)
        self._over.wait(share * self._longest_stop_s)
        _signal(pid, signal.SIGCONT)

    def _slow(self, pid: int, share: float) -> None:
        until_s = time.monotonic() + _SLOW_S
        while time.monotonic() < until_s and not self._over.is_set():
            _signal(pid, signal.SIGSTOP)
            self._over.wait(_PULSE_S * (1 - _SLOW_SHARE))
            _signal(pid, signal.SIGCONT)
            self._over.wait(_PULSE_S * _SLOW_SHARE)

    def _corrupt(self, kind: FaultKind, share: float) -> None:
        files = sorted(self._pictures.iterdir())
        chosen = np.random.default_rng(int(share * 1e9)).permutation(len(files))
        count = max(1, int(_CORRUPT_SHARE * len(files)))
        whole = {files[index]: files[index].read_bytes() for index in chosen[:count]}
        self._note(kind)
        for path, data in whole.items():
            _replace(path, bytes(_LOST_BYTES) + data[_LOST_BYTES:])
        self._over.wait(_CORRUPT_S)
        for path, data in whole.items():
            _replace(path, data)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _replace(path: Path, data: bytes) -> None:
    """Never half of a file: what the camera reads is the one or the other."""
    other = path.parent.parent / f"{path.name}.new"
    other.write_bytes(data)
    other.replace(path)
