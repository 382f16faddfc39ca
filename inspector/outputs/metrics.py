"""The gate's Prometheus metrics: one registry, owned by one process."""

from __future__ import annotations

import math
import threading
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from inspector.domain.errors import ConfigError
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Cause, Decision, Verdict

#: Upper bounds of the latency buckets in seconds; the deadline and shares of it are added to them.
_LATENCY_BOUNDS = (
    0.0005,
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    0.75,
    1.0,
)
#: Shares of the deadline that are bounds too: a quantile near the deadline is then measured, not interpolated over a
#: wide bucket.
_DEADLINE_SHARES = (0.5, 0.8, 0.9)
#: Upper bounds of the score buckets as multiples of the threshold.
_SCORE_BOUNDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)

#: What each decision can be caused by; every pair exists from the start, so that rates see the first event.
_CAUSES = {
    Decision.PASS: (Cause.SCORE_WITHIN_THRESHOLD,),
    Decision.FAIL: (Cause.SCORE_ABOVE_THRESHOLD,),
    Decision.NOT_INSPECTED: tuple(
        cause for cause in Cause if cause not in (Cause.SCORE_WITHIN_THRESHOLD, Cause.SCORE_ABOVE_THRESHOLD)
    ),
}


class LineMetrics:
    """Everything that the gate exports.

    Args:
        registry: Where the metrics are registered.
        station: Value of the label `station`.
        deadline_s: Deadline in seconds, one of the bucket bounds.
        threshold: The recipe's threshold and promise.
        recipe: Labels of `inspector_recipe_info`.
        version: The program's version.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        station: str,
        deadline_s: float,
        threshold: Threshold,
        recipe: dict[str, str],
        version: str,
    ) -> None:
        self._registry = registry
        self._station = station
        self._totals: dict[tuple[str, ...], float] = {}
        self._server: tuple[WSGIServer, threading.Thread] | None = None
        shares = (round(share * deadline_s, 9) for share in _DEADLINE_SHARES)
        bounds = tuple(sorted({*_LATENCY_BOUNDS, *shares, deadline_s}))

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ("station", *labels), registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, ("station", *labels), registry=registry)

        self.parts = counter("inspector_parts", "Parts by decision and cause.", "decision", "cause")
        self.triggers = counter("inspector_triggers", "Triggers announced by the camera process.")
        self.frames = counter("inspector_frames", "Frames by what became of them.", "outcome")
        self.carried = counter(
            "inspector_carried_frames", "Frames sent to the worker, by what carried them.", "carrier"
        )
        self.expired_leases = counter(
            "inspector_expired_leases", "Slots taken back that the worker did not release in time."
        )
        self.stray_results = counter("inspector_stray_results", "Results for parts that had their verdict already.")
        self.duplicate_triggers = counter("inspector_duplicate_triggers", "Triggers announced twice; ignored.")
        self.malformed = counter("inspector_malformed_messages", "Messages that could not be read.", "receiver")
        self.restarts = counter("inspector_process_restarts", "Starts after the first.", "process")
        self.log_dropped = counter("inspector_log_records_dropped", "Verdicts missing in the JSON-lines file.")
        self.archive_entries = counter(
            "inspector_archive_entries",
            "Archive entries by what became of them: written; failed (disk); overrun (disk too slow); refused (archive "
            "process not there or full); unmatched (no verdict came).",
            "outcome",
        )
        self.archive_restarts = counter("inspector_archive_restarts", "Starts of the archive process after the first.")
        self.stage = Histogram(
            "inspector_stage_seconds",
            "Latency by stage; whole is from trigger to verdict.",
            ("station", "stage"),
            buckets=bounds,
            registry=registry,
        )
        self.score = Histogram(
            "inspector_score_ratio",
            "Anomaly score divided by the threshold.",
            ("station",),
            buckets=_SCORE_BOUNDS,
            registry=registry,
        )
        self.drift_evidence = gauge(
            "inspector_score_drift_evidence",
            "Decimal logarithm of the evidence that scores of passed parts have moved; alarm at the budget.",
        )
        self.drift_alarm = gauge("inspector_score_drift_alarm", "1 once that evidence has reached its budget.")
        self.median_ratio = gauge(
            "inspector_score_median_ratio", "Median score of the last passed parts over that of the calibration's."
        )
        self.brightness = gauge("inspector_frame_brightness_ratio", "Mean brightness of a frame; 1 is white.")
        self.white = gauge("inspector_frame_white_ratio", "Share of a frame's pixels that are white.")
        self.sharpness = gauge("inspector_frame_sharpness", "Variance of the Laplacian in the middle of a frame.")
        self.open_parts = gauge("inspector_open_parts", "Parts without a verdict yet.")
        self.imbalance = gauge(
            "inspector_ledger_imbalance_parts", "triggered - (pass + fail + not inspected + pending); always 0."
        )
        self.queue = gauge("inspector_queue_frames", "Frames that wait for the worker.")
        self.queue_capacity = gauge("inspector_queue_capacity_frames", "Frames that may wait for the worker.")
        self.slots_in_use = gauge("inspector_ring_slots", "Slots of the frame ring that hold a frame.")
        self.slots_capacity = gauge("inspector_ring_capacity_slots", "Slots of the frame ring; 0 without one.")
        self.archive_up = gauge("inspector_archive_up", "1 while the archive process runs; absent without an archive.")
        self.archive_stored = gauge("inspector_archive_stored_entries", "Entries in the archive.")
        self.archive_bytes = gauge("inspector_archive_size_bytes", "Files of the archive's entries.")
        self.archive_quota = gauge("inspector_archive_quota_bytes", "Bytes that the archive may take.")
        self.archive_oldest = gauge("inspector_archive_oldest_age_seconds", "Age of the archive's oldest entry.")
        self.archive_queue = gauge("inspector_archive_queue_entries", "Entries that wait for the disk.")
        self.up = gauge("inspector_process_up", "1 while the process runs and is ready.", "process")
        self.deadline = gauge("inspector_deadline_seconds", "Time from trigger to the deadline of its verdict.")
        self.heartbeat = gauge("inspector_heartbeat_timestamp_seconds", "Wall time of the gate loop's last turn.")
        self.deadline.labels(station).set(deadline_s)
        self.threshold = gauge("inspector_threshold", "Threshold of the score.")
        self.target = gauge("inspector_recipe_target_ratio", "False-reject rate that was asked for.")
        self.promise = gauge("inspector_recipe_promise_ratio", "False-reject rate that the calibration supports.")
        self.confidence = gauge("inspector_recipe_confidence_ratio", "Confidence of that promise.")
        self.recipe_info = gauge("inspector_recipe_info", "The recipe in use.", *recipe)
        self.recipe(threshold, recipe)
        gauge("inspector_build_info", "The program.", "version").labels(station, version).set(1)
        for look in (self.brightness, self.white, self.sharpness, self.median_ratio):
            look.labels(station).set(math.nan)  # nothing was seen yet
        for decision, causes in _CAUSES.items():
            for cause in causes:
                self.parts.labels(station, decision.value, cause.value)
        for process in ("camera", "worker"):
            self.up.labels(station, process)
            self.restarts.labels(station, process)
        for outcome in ("sent", "refused"):
            self.frames.labels(station, outcome)
        for carrier in ("slot", "message"):
            self.carried.labels(station, carrier)
        for metric in (self.triggers, self.stray_results, self.duplicate_triggers, self.log_dropped, self.score):
            metric.labels(station)
        self.expired_leases.labels(station)
        self.archive_restarts.labels(station)
        for outcome in ("written", "failed", "overrun", "refused", "unmatched"):
            self.archive_entries.labels(station, outcome)
        for receiver in ("gate", "camera", "worker", "archive"):
            self.malformed.labels(station, receiver)

    def recipe(self, threshold: Threshold, labels: dict[str, str]) -> None:
        """Shows the recipe in use.

        Args:
            threshold: Its threshold and promise.
            labels: As those of the first recipe.
        """
        station = self._station
        self.threshold.labels(station).set(threshold.value)
        self.target.labels(station).set(threshold.target)
        self.promise.labels(station).set(threshold.promise)
        self.confidence.labels(station).set(threshold.confidence)
        self.recipe_info.clear()
        self.recipe_info.labels(station, *labels.values()).set(1)

    def verdict(self, verdict: Verdict, threshold: float) -> None:
        """Counts a verdict, given by a threshold, and observes its stages."""
        self.parts.labels(self._station, verdict.decision.value, verdict.cause.value).inc()
        if verdict.score is not None and threshold > 0:
            self.score.labels(self._station).observe(verdict.score / threshold)
        for stage, duration_ns in verdict.stages_ns.items():
            self.stage.labels(self._station, stage).observe(duration_ns / 1e9)
        self.stage.labels(self._station, "whole").observe(verdict.whole_ns / 1e9)

    def total(self, metric: Counter, value: float, *labels: str) -> None:
        """Raises a counter by what a total that is kept elsewhere has grown; one that fell has begun at 0 again."""
        key = (str(metric), *labels)
        former = self._totals.get(key, 0.0)
        if value >= 0:  # not a number is no total
            metric.labels(self._station, *labels).inc(value - former if value >= former else value)
            self._totals[key] = value

    def serve(self, host: str, port: int) -> int:
        """Answers /metrics from a thread.

        Returns:
            The port, chosen by the system if 0 was asked for.

        Raises:
            ConfigError: The port is taken.
        """
        try:
            server, thread = start_http_server(port, addr=host, registry=self._registry)
        except OSError as error:
            raise ConfigError(
                f"metrics.port: can't listen on {host}:{port}: {error.strerror}; choose another port, or 0 for a "
                "free one"
            ) from error
        self._server = server, thread
        return server.server_port

    def close(self) -> None:
        """Stops answering. Idempotent."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join(2)
            self._server = None
