"""From what the processes of a line report to its metrics."""

from __future__ import annotations

from inspector.domain.camera_events import CameraEvent
from inspector.domain.drift import DriftMonitor
from inspector.domain.ledger import Ledger
from inspector.outputs.metrics import LineMetrics
from inspector.roles.child import Child
from inspector.roles.shared_worker import Worker
from inspector.wire.messages import State


def show_state(metrics: LineMetrics, message: State) -> None:
    """Takes up the figures of a live camera process or worker."""
    station, details = metrics.station, message.details
    metrics.total(metrics.malformed, details.get("malformed", 0), message.role)
    if message.role == "worker" and "golden_age_s" in details:
        metrics.golden_age.labels(station).set(details["golden_age_s"])
    if message.role != "camera":
        return
    metrics.queue.labels(station).set(message.queue_frames)
    metrics.slots_in_use.labels(station).set(details.get("slots_in_use", 0))
    for carrier in ("slot", "message"):
        metrics.total(metrics.carried, details.get(f"frames_by_{carrier}", 0), carrier)
    for event in CameraEvent:
        if event is not CameraEvent.RETRY:  # nobody but the gate knows of it
            metrics.total(metrics.camera_events, details.get(f"event_{event.value}", 0), event.value)
    metrics.total(metrics.expired_leases, details.get("expired_leases", 0))
    for gauge, name in (
        (metrics.brightness, "brightness"),
        (metrics.white, "white"),
        (metrics.sharpness, "sharpness"),
        (metrics.clock_error, "clock_error_s"),
    ):
        if name in details:
            gauge.labels(station).set(details[name])


def show_line(
    metrics: LineMetrics, ledger: Ledger, drift: DriftMonitor, camera: Child, worker: Worker, now_s: float
) -> None:
    """Shows how a line stands.

    Args:
        metrics: Where.
        ledger: The line's.
        drift: Of the recipe in use.
        camera: Its camera process.
        worker: Its worker.
        now_s: Wall time.
    """
    station = metrics.station
    metrics.sums(ledger.tally(), now_s)
    metrics.drift_evidence.labels(station).set(drift.evidence_log10)
    metrics.drift_alarm.labels(station).set(int(drift.alarm))
    metrics.median_ratio.labels(station).set(drift.median_ratio)
    metrics.total(metrics.stray_results, ledger.stray_results)
    metrics.total(metrics.duplicate_triggers, ledger.duplicate_triggers)
    metrics.total(metrics.camera_events, camera.retries, CameraEvent.RETRY.value)
    for child in (camera, worker):
        metrics.up.labels(station, child.role).set(int(child.ready))
        metrics.total(metrics.restarts, child.restarts, child.role)
