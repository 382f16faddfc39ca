"""The line's side of the archive: its process, the verdicts for it, its figures. The line never depends on it."""

from __future__ import annotations

from typing import Any

from inspector.config.schema import Archive
from inspector.domain.archiving import sampled
from inspector.domain.verdict import Verdict
from inspector.outputs.metrics import LineMetrics
from inspector.roles.child import Child
from inspector.roles.side_process import SideProcess
from inspector.wire.archive_socket import ArchiveOutbox


class ArchiveLink(SideProcess):
    """Hands verdicts over and keeps the archive process running.

    Args:
        settings: The archive of the configuration.
        child: The process.
        outbox: Where verdicts go.
        metrics: Where its figures are shown.
    """

    def __init__(self, settings: Archive, child: Child, outbox: ArchiveOutbox, metrics: LineMetrics) -> None:
        super().__init__(child, metrics)
        self._pass_ratio = settings.pass_ratio
        self._outbox = outbox
        metrics.archive_quota.labels(metrics.station).set(settings.quota_bytes)

    def verdict(self, verdict: Verdict, record: dict[str, Any]) -> None:
        """Hands a verdict over, if its part is one that is kept."""
        if verdict.rejected or sampled(verdict.trigger, self._pass_ratio):
            self._outbox.verdict(record)

    def take_figures(self, details: dict[str, float]) -> None:
        """Puts what it counts into the metrics."""
        metrics, station = self._metrics, self._metrics.station
        for outcome in ("written", "failed", "overrun", "unmatched"):
            metrics.total(metrics.archive_entries, details.get(outcome, 0), outcome)
        metrics.total(metrics.malformed, details.get("malformed", 0), "archive")
        metrics.archive_bytes.labels(station).set(details.get("bytes", 0))
        metrics.archive_stored.labels(station).set(details.get("entries", 0))
        metrics.archive_oldest.labels(station).set(details.get("oldest_s", 0))
        metrics.archive_queue.labels(station).set(details.get("waiting", 0))

    def worker_says(self, details: dict[str, float]) -> None:
        """Takes up how many frames the worker could not hand over."""
        self._metrics.total(self._metrics.archive_entries, details.get("archive_refused", 0), "refused")

    def show(self) -> None:
        """Puts whether it runs into the metrics."""
        self._metrics.archive_up.labels(self._metrics.station).set(int(self.child.ready))
        self._metrics.total(self._metrics.archive_restarts, self.child.restarts)

    def finish(self, timeout_s: float) -> None:
        """Stops the process; kills it where it takes longer."""
        super().finish(timeout_s)
        self._outbox.close()
