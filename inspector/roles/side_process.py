"""A process that the line does not depend on: kept running, its figures shown; nothing waits for it, nothing raises."""

from __future__ import annotations

import logging
from collections.abc import Callable

from inspector.outputs.metrics import LineMetrics
from inspector.roles.child import Child
from inspector.wire.messages import State

log = logging.getLogger("inspector")

#: A process that could not be started, for want of memory for example, is tried again so much later.
_START_PAUSE_NS = 30_000_000_000


class SideProcess:
    """The line's side of such a process.

    Args:
        child: The process.
        metrics: Where its figures are shown.

    Attributes:
        child: The process.
    """

    def __init__(self, child: Child, metrics: LineMetrics) -> None:
        self.child = child
        self._metrics = metrics
        self._start_due_ns: int | None = None

    def start(self, now_ns: int) -> None:
        """Starts the process."""
        self._guarded(self.child.start, now_ns)

    def watch(self, now_ns: int) -> None:
        """Notices a dead process and starts it again when it may be."""
        if self._start_due_ns is None:
            self._guarded(self.child.watch, now_ns)
        elif now_ns >= self._start_due_ns:
            self.start(now_ns)

    def _guarded(self, step: Callable[[int], object], now_ns: int) -> None:
        self._start_due_ns = None
        try:
            step(now_ns)
        except OSError as error:
            self._start_due_ns = now_ns + _START_PAUSE_NS
            log.error("%s: its process can't be started: %s; tried again later", self.child.role, error)

    def saw(self, message: State, now_ns: int) -> None:
        """Takes up a state of the process."""
        self.child.saw(message.incarnation, message.progress, now_ns)
        if message.incarnation == self.child.incarnation:
            self.show()  # that it runs before what it has done
            self.take_figures(message.details)

    def take_figures(self, details: dict[str, float]) -> None:
        """Puts what it counts into the metrics."""

    def worker_says(self, details: dict[str, float]) -> None:
        """Takes up what the worker could not hand over to it."""

    def show(self) -> None:
        """Puts whether it runs into the metrics."""

    def renew(self) -> None:
        """Lets it end and come back, with the recipe in use."""
        self.child.tell("stop")

    def finish(self, timeout_s: float) -> None:
        """Stops the process; kills it where it takes longer."""
        self.child.finish(timeout_s)
