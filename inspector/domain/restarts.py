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
