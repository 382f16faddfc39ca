"""The line's side of the refiner: its process and its figures. The line never depends on it."""

from __future__ import annotations

from inspector.roles.side_process import SideProcess


class RefinerLink(SideProcess):
    """Keeps the refiner process running."""

    def take_figures(self, details: dict[str, float]) -> None:
        """Puts what it counts into the metrics."""
        metrics = self._metrics
        for outcome in ("refined", "failed", "lost"):
            metrics.total(metrics.refinements, details.get(outcome, 0), outcome)
        metrics.refiner_queue.labels(metrics.station).set(details.get("waiting", 0))

    def show(self) -> None:
        """Puts whether it runs into the metrics."""
        self._metrics.refiner_up.labels(self._metrics.station).set(int(self.child.ready))
        self._metrics.total(self._metrics.refiner_restarts, self.child.restarts)

    def finish(self, timeout_s: float) -> None:
        """Kills the process: nothing of its work is half anywhere, and its last step may take long."""
        self.child.dismiss()
        super().finish(timeout_s)
