"""A process tells the gate how it stands: at its turning points, and while its loop goes on."""

from __future__ import annotations

from collections.abc import Callable

_EVERY_NS = 250_000_000


class Heartbeat:
    """Counts the turns of a loop, and reports so often that the gate knows that they go on.

    Args:
        report: Sends a state with the number of turns so far.
        clock_ns: Monotonic clock.

    >>> said, now_ns = [], iter([0, 100_000_000, 250_000_000, 250_000_000])
    >>> heart = Heartbeat(lambda state, turns: said.append((state, turns)), lambda: next(now_ns))
    >>> heart.say("ready")
    >>> heart.turn()
    >>> heart.turn()
    >>> said
    [('ready', 0), ('running', 2)]
    """

    def __init__(self, report: Callable[[str, int], None], clock_ns: Callable[[], int]) -> None:
        self._report = report
        self._clock_ns = clock_ns
        self._turns = 0
        self._said_ns = 0

    def say(self, state: str) -> None:
        """Reports now."""
        self._said_ns = self._clock_ns()
        self._report(state, self._turns)

    def turn(self, state: str = "running") -> None:
        """One more turn of the loop; reports if that is due."""
        self._turns += 1
        if self._clock_ns() - self._said_ns >= _EVERY_NS:
            self.say(state)
