"""Paced sources: the schedule of their triggers, and the player of parts that lie ready in files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from inspector.cameras.base import SourceEnded
from inspector.domain.frame import Capture, Pixels
from inspector.domain.verdict import Cause


class Pace:
    """A schedule on the monotonic clock: trigger n is due n / rate seconds after the start.

    A caller that comes late gets every trigger that was due meanwhile, one after the other, each with the time
    at which it was due: none is skipped, and the lateness shows in the latency.

    Args:
        rate: Triggers a second, above 0.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.

    >>> clock = iter([0, 0, 250_000_000, 900_000_000]).__next__
    >>> pace = Pace(4.0, clock)
    >>> pace.start()
    >>> [pace.wait(0.0) for _ in range(3)]
    [0, 250000000, 500000000]
    """

    def __init__(
        self,
        rate: float,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._start_ns: int | None = None
        self._triggers = 0

    def start(self) -> None:
        """The first trigger is due now."""
        self._start_ns = self._clock_ns()
        self._triggers = 0

    def wait(self, timeout_s: float) -> int | None:
        """Waits for the next trigger.

        Args:
            timeout_s: Longest wait in seconds; 0 or less never waits.

        Returns:
            Monotonic nanoseconds at which it was due; None if it is not due within the timeout.
        """
        if self._start_ns is None:
            raise RuntimeError("a paced source is asked for a trigger before its start")
        due_ns = self._start_ns + round(self._triggers * 1e9 / self._rate)
        now_ns = self._clock_ns()
        until_ns = min(due_ns, now_ns + round(timeout_s * 1e9))
        while now_ns < until_ns:
            self._sleep((until_ns - now_ns) / 1e9)
            now_ns = self._clock_ns()
        if now_ns < due_ns:
            return None
        self._triggers += 1
        return due_ns


@dataclass(frozen=True)
class Still:
    """A part as it lies in a file, before it is triggered: the fields of a `Capture` without the times."""

    pixels: Pixels | None
    source: str
    problem: Cause | None = None


class Player:
    """Plays stills as captures, at a rate or as fast as they are asked for.

    At a rate the next still is read before the wait for its trigger, so that decoding does not delay it.

    Args:
        read: The next still, or None when there are no more.
        rate: Triggers a second; None gives a part whenever one is asked for.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        read: Callable[[], Still | None],
        rate: float | None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read = read
        self._pace = None if rate is None else Pace(rate, clock_ns, sleep)
        self._clock_ns = clock_ns
        self._next: Still | None = None
        self._ended = False

    def start(self) -> None:
        """Starts the schedule."""
        if self._pace is not None:
            self._pace.start()

    def capture(self, timeout_s: float) -> Capture | None:
        """As `Camera.capture`; waits at most `timeout_s`, reading included unless the reading alone takes longer."""
        called_ns = self._clock_ns()
        still = self._peek()
        if self._pace is None:
            due_ns: int | None = called_ns
        else:
            due_ns = self._pace.wait(timeout_s - (self._clock_ns() - called_ns) / 1e9)
        if due_ns is None:
            return None
        self._next = None
        return Capture(still.pixels, due_ns, self._clock_ns(), still.source, still.problem)

    def _peek(self) -> Still:
        if self._next is None and not self._ended:
            self._next = self._read()
            self._ended = self._next is None
        if self._next is None:
            raise SourceEnded
        return self._next
