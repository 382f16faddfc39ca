"""The gate's side of the archive: its process, the verdicts for it, its figures. The line never depends on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from inspector.config.schema import Archive
from inspector.domain.archiving import sampled
from inspector.domain.verdict import Verdict
from inspector.outputs.metrics import LineMetrics
from inspector.roles.child import Child
from inspector.wire.archive_socket import ArchiveOutbox
from inspector.wire.messages import State

log = logging.getLogger("inspector")

#: A process that could not be started, for want of memory for example, is tried again so much later.
_START_PAUSE_NS = 30_000_000_000


class ArchiveLink:
    """Hands verdicts over and keeps the archive process running. Nothing waits; nothing raises.

    Args:
        settings: The archive of the configuration.
        child: The process.
        outbox: Where verdicts go.
        metrics: Where its figures are shown.
    """

    def __init__(self, settings: Archive, child: Child, outbox: ArchiveOutbox, metrics: LineMetrics) -> None:
        self.child = child
        self._pass_ratio = settings.pass_ratio
        self._outbox = outbox
        self._metrics = metrics
        self._station = metrics.station
        self._start_due_ns: int | None = None
        metrics.archive_quota.labels(metrics.station).set(settings.quota_bytes)

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
            log.error("archive: its process can't be started: %s; tried again later", error)

    def verdict(self, verdict: Verdict, record: dict[str, Any]) -> None:
        """Hands a verdict over, if its part is one that is kept."""
        if verdict.rejected or sampled(verdict.trigger, self._pass_ratio):
            self._outbox.verdict(record)

    def saw(self, message: State, now_ns: int) -> None:
        """Takes up a state of the process."""
        self.child.saw(message.incarnation, message.progress, now_ns)
        if message.incarnation != self.child.incarnation:
            return
        metrics, details = self._metrics, message.details
        for outcome in ("written", "failed", "overrun", "unmatched"):
            metrics.total(metrics.archive_entries, details.get(outcome, 0), outcome)
        metrics.total(metrics.malformed, details.get("malformed", 0), "archive")
        metrics.archive_bytes.labels(self._station).set(details.get("bytes", 0))
        metrics.archive_stored.labels(self._station).set(details.get("entries", 0))
        metrics.archive_oldest.labels(self._station).set(details.get("oldest_s", 0))
        metrics.archive_queue.labels(self._station).set(details.get("waiting", 0))

    def worker_refused(self, frames: float) -> None:
        """Takes up how many frames the worker could not hand over."""
        self._metrics.total(self._metrics.archive_entries, frames, "refused")

    def show(self) -> None:
        """Puts whether it runs into the metrics."""
        self._metrics.archive_up.labels(self._station).set(int(self.child.ready))
        self._metrics.total(self._metrics.archive_restarts, self.child.restarts)

    def finish(self, timeout_s: float) -> None:
        """Stops the process, told to before; kills it where it takes longer."""
        self.child.finish(timeout_s)
        self._outbox.close()
