"""How often a child process may be started again. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class RestartBudget:
    """Allows a number of restarts within a sliding window, with a pause that doubles.

    Attributes:
        restarts: Restarts allowed within the window.
        window_ns: Length of the window.
        pause_ns: Pause before the first restart; doubles with each further one within the window.
        longest_pause_ns: Bound of the pause.

    >>> budget = RestartBudget(restarts=1, window_ns=1000, pause_ns=10)
    >>> budget.next_start_ns(0), budget.next_start_ns(20), budget.next_start_ns(2000)
    (10, None, 2010)
    """

    restarts: int
    window_ns: int
    pause_ns: int = 100_000_000
    longest_pause_ns: int = 5_000_000_000
    _deaths: deque[int] = field(default_factory=deque)

    def next_start_ns(self, now_ns: int) -> int | None:
        """Counts a death.

        Returns:
            When the child may be started again, or None if the budget is used up.
        """
        while self._deaths and now_ns - self._deaths[0] >= self.window_ns:
            self._deaths.popleft()
        if len(self._deaths) >= self.restarts:
            return None
        self._deaths.append(now_ns)
        return now_ns + min(self.pause_ns << (len(self._deaths) - 1), self.longest_pause_ns)


@dataclass
class LossRetry:
    """Tries a device that was lost again and again, with a pause that doubles: cables stay out for hours.

    Attributes:
        give_up_ns: A device that stays lost for so long is given up; None never gives up.
        longest_pause_ns: Bound of the pause. A device that was well for so long counts as recovered.
        pause_ns: Pause before the first try; doubles with each further one.

    >>> retry = LossRetry(give_up_ns=100, longest_pause_ns=30, pause_ns=10)
    >>> [retry.next_start_ns(now, well_ns=0) for now in (0, 15, 40, 100)]
    [10, 35, 70, None]
    >>> retry.next_start_ns(200, well_ns=50)
    210
    """

    give_up_ns: int | None
    longest_pause_ns: int
    pause_ns: int = 100_000_000
    _lost_ns: int | None = None
    _tries: int = 0

    def next_start_ns(self, now_ns: int, *, well_ns: int) -> int | None:
        """Counts a loss, or a try that failed.

        Args:
            now_ns: Present time.
            well_ns: How long the device was ready before.

        Returns:
            When to try next, or None to give up.
        """
        if self._lost_ns is None or well_ns >= self.longest_pause_ns:
            self._lost_ns, self._tries = now_ns, 0
        if self.give_up_ns is not None and now_ns - self._lost_ns >= self.give_up_ns:
            return None
        pause_ns = self.pause_ns << min(self._tries, 32)
        self._tries += 1
        return now_ns + min(pause_ns, self.longest_pause_ns)
