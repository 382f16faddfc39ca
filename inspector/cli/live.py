"""One line on the terminal that follows a run: sums, rate and latency."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rich.console import Console

from inspector.domain.verdict import Decision, Verdict

_WINDOW = 200


class LiveLine:
    """Told every verdict; rewrites its line a few times a second, or prints one now and then where that can't be.

    It is called by the gate's loop, so it only counts and, seldom, writes.

    Args:
        console: Where to write.
        total: Parts to come, if known.
        clock_ns: Monotonic clock.
    """

    def __init__(self, console: Console, total: int | None, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._console = console
        self._total = total
        self._clock_ns = clock_ns
        self._interval_ns = 200_000_000 if console.is_terminal else 5_000_000_000
        self._written_ns = 0
        self._counts = dict.fromkeys(Decision, 0)
        self._recent: deque[tuple[int, float]] = deque(maxlen=_WINDOW)

    def __call__(self, verdict: Verdict) -> None:
        """Counts a verdict."""
        self._counts[verdict.decision] += 1
        self._recent.append((verdict.decided_ns, verdict.whole_ns / 1e6))
        now_ns = self._clock_ns()
        if now_ns - self._written_ns >= self._interval_ns:
            self._written_ns = now_ns
            self._write()

    def close(self) -> None:
        """Writes the last line and leaves it."""
        if self._recent:
            self._write()
        if self._console.is_terminal:
            self._console.print()

    def text(self) -> str:
        """The line."""
        done = sum(self._counts.values())
        of = f" of {self._total}" if self._total is not None else ""
        span_ns = self._recent[-1][0] - self._recent[0][0] if len(self._recent) > 1 else 0
        rate = f"{(len(self._recent) - 1) / (span_ns / 1e9):.1f} parts/s" if span_ns > 0 else "- parts/s"
        latency = sorted(ms for _, ms in self._recent)
        middle = f"{latency[len(latency) // 2]:.1f} ms" if latency else "-"
        return (
            f"{done}{of} parts: {self._counts[Decision.PASS]} pass, {self._counts[Decision.FAIL]} fail, "
            f"{self._counts[Decision.NOT_INSPECTED]} not inspected; {rate}, median latency {middle}"
        )

    def _write(self) -> None:
        if self._console.is_terminal:
            width = max(20, self._console.width - 1)
            self._console.file.write("\r" + self.text()[:width].ljust(width))
            self._console.file.flush()
        else:
            self._console.print(self.text(), markup=False, highlight=False, soft_wrap=True)
