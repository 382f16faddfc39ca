"""The gate's Prometheus metrics: one registry, owned by one process."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from inspector.domain.camera_events import CameraEvent
from inspector.domain.ledger import Tally
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


class Families:
    """Metrics of a registry, each made once; every station and view has its own label on them.

    Args:
        registry: Where they are registered.
        deadline_s: Deadline in seconds, one of the bucket bounds of latencies.
    """

    def __init__(self, registry: CollectorRegistry, deadline_s: float) -> None:
        self._registry = registry
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self.deadline_s = deadline_s
        shares = (round(share * deadline_s, 9) for share in _DEADLINE_SHARES)
        self._latency_bounds = tuple(sorted({*_LATENCY_BOUNDS, *shares, deadline_s}))

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """The counter of this name."""
        if name not in self._counters:
            self._counters[name] = Counter(name, text, ("station", *labels), registry=self._registry)
        return self._counters[name]

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """The gauge of this name."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, text, ("station", *labels), registry=self._registry)
        return self._gauges[name]

    def latency(self, name: str, text: str, *labels: str) -> Histogram:
        """The histogram of durations of this name."""
        return self._histogram(name, text, labels, self._latency_bounds)

    def score_ratio(self, name: str, text: str) -> Histogram:
        """The histogram of scores over the threshold of this name."""
        return self._histogram(name, text, (), _SCORE_BOUNDS)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> Histogram:
        if name not in self._histograms:
            self._histograms[name] = Histogram(
                name, text, ("station", *labels), buckets=bounds, registry=self._registry
            )
        return self._histograms[name]


class PartMetrics:
    """What is exported of parts and their verdicts.

    Args:
        families: Where the metrics are made.
        station: Value of the label `station`.
    """

    def __init__(self, families: Families, station: str) -> None:
        self.station = station
        self.families = families
        counter, gauge = families.counter, families.gauge
        self.parts = counter("inspector_parts", "Parts by decision and cause.", "decision", "cause")
        self.triggers = counter("inspector_triggers", "Triggers announced by the camera process.")
        self.stage = families.latency(
            "inspector_stage_seconds", "Latency by stage; whole is from trigger to verdict.", "stage"
        )
        self.open_parts = gauge("inspector_open_parts", "Parts without a verdict yet.")
        self.imbalance = gauge(
            "inspector_ledger_imbalance_parts", "triggered - (pass + fail + not inspected + pending); always 0."
        )
        self.deadline = gauge("inspector_deadline_seconds", "Time from trigger to the deadline of its verdict.")
        self.heartbeat = gauge("inspector_heartbeat_timestamp_seconds", "Wall time of the gate loop's last turn.")
        self.stray_results = counter("inspector_stray_results", "Results for parts that had their verdict already.")
        self.log_dropped = counter("inspector_log_records_dropped", "Verdicts missing in the JSON-lines file.")
        self._totals: dict[tuple[str, ...], float] = {}
        self.deadline.labels(station).set(families.deadline_s)
        for metric in (self.triggers, self.stray_results, self.log_dropped):
            metric.labels(station)
        for decision, causes in _CAUSES.items():
            for cause in causes:
                self.parts.labels(station, decision.value, cause.value)

    def counted(self, decision: Decision, cause: Cause, whole_ns: int) -> None:
        """Counts a verdict, and how long it took from the trigger."""
        self.parts.labels(self.station, decision.value, cause.value).inc()
        self.stage.labels(self.station, "whole").observe(whole_ns / 1e9)

    def sums(self, tally: Tally, now_s: float) -> None:
        """Shows the sums of a ledger, and that somebody looked at them.

        Args:
            tally: The sums.
            now_s: Wall time.
        """
        settled = tally.passed + tally.failed + tally.not_inspected
        self.open_parts.labels(self.station).set(tally.pending)
        self.imbalance.labels(self.station).set(tally.triggered - settled - tally.pending)
        self.heartbeat.labels(self.station).set(now_s)

    def total(self, metric: Counter, value: float, *labels: str) -> None:
        """Raises a counter by what a total that is kept elsewhere has grown; one that fell has begun at 0 again."""
        self.grow(metric.labels(self.station, *labels), str(metric), value, *labels)

    def grow(self, series: Counter, name: str, value: float, *labels: str) -> None:
        """The same for a counter whose labels are chosen; `name` and `labels` tell it from others."""
        key = (name, *labels)
        former = self._totals.get(key, 0.0)
        if value >= 0:  # not a number is no total
            series.inc(value - former if value >= former else value)
            self._totals[key] = value


class LineMetrics(PartMetrics):
    """What is exported of a line: its parts, its processes and its recipe.

    Args:
        families: Where the metrics are made.
        station: Value of the label `station`.
        threshold: The recipe's threshold and promise.
        recipe: Labels of `inspector_recipe_info`.
        version: The program's version.
    """

    def __init__(
        self, families: Families, *, station: str, threshold: Threshold, recipe: dict[str, str], version: str
    ) -> None:
        super().__init__(families, station)
        counter, gauge = families.counter, families.gauge
        self._recipe: tuple[str, ...] = ()
        self.frames = counter("inspector_frames", "Frames by what became of them.", "outcome")
        self.carried = counter(
            "inspector_carried_frames", "Frames sent to the worker, by what carried them.", "carrier"
        )
        self.expired_leases = counter(
            "inspector_expired_leases", "Slots taken back that the worker did not release in time."
        )
        self.duplicate_triggers = counter("inspector_duplicate_triggers", "Triggers announced twice; ignored.")
        self.malformed = counter("inspector_malformed_messages", "Messages that could not be read.", "receiver")
        self.camera_events = counter(
            "inspector_camera_events",
            "What happened to the camera besides good frames, by kind; a lost frame may be several: missing, an id "
            "left out, no buffer.",
            "event",
        )
        self.restarts = counter("inspector_process_restarts", "Starts after the first.", "process")
        self.archive_entries = counter(
            "inspector_archive_entries",
            "Archive entries by what became of them: written; failed (disk); overrun (disk too slow); refused (archive "
            "process not there or full); unmatched (no verdict came).",
            "outcome",
        )
        self.archive_restarts = counter("inspector_archive_restarts", "Starts of the archive process after the first.")
        self.refinements = counter(
            "inspector_refinements",
            "Fails in the archive by what their refinement came to: refined; failed (the entry says why); lost (the "
            "frame can't be read, or the archive did not take the outlines).",
            "outcome",
        )
        self.refiner_restarts = counter("inspector_refiner_restarts", "Starts of the refiner process after the first.")
        self.score = families.score_ratio("inspector_score_ratio", "Anomaly score divided by the threshold.")
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
        self.clock_error = gauge(
            "inspector_camera_clock_error_seconds", "A remote camera's triggers may be earlier by so much; else absent."
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
        self.refiner_up = gauge("inspector_refiner_up", "1 while the refiner process runs; absent without refinement.")
        self.refiner_queue = gauge("inspector_refiner_queue_entries", "Fails in the archive without outlines yet.")
        self.up = gauge("inspector_process_up", "1 while the process runs and is ready.", "process")
        self.golden_age = gauge(
            "inspector_golden_check_age_seconds", "Time since the worker last gave the golden frame the recipe's score."
        )
        self.threshold = gauge("inspector_threshold", "Threshold of the score.")
        self.target = gauge("inspector_recipe_target_ratio", "False-reject rate that was asked for.")
        self.promise = gauge("inspector_recipe_promise_ratio", "False-reject rate that the calibration supports.")
        self.confidence = gauge("inspector_recipe_confidence_ratio", "Confidence of that promise.")
        self.recipe_info = gauge("inspector_recipe_info", "The recipe in use.", *recipe)
        self.recipe(threshold, recipe)
        gauge("inspector_build_info", "The program.", "version").labels(station, version).set(1)
        for look in (self.brightness, self.white, self.sharpness, self.median_ratio):
            look.labels(station).set(math.nan)  # nothing was seen yet
        for process in ("camera", "worker"):
            self.up.labels(station, process)
            self.restarts.labels(station, process)
        for outcome in ("sent", "refused"):
            self.frames.labels(station, outcome)
        for event in CameraEvent:
            self.camera_events.labels(station, event.value)
        for carrier in ("slot", "message"):
            self.carried.labels(station, carrier)
        for metric in (self.duplicate_triggers, self.score):
            metric.labels(station)
        self.expired_leases.labels(station)
        self.archive_restarts.labels(station)
        self.refiner_restarts.labels(station)
        for outcome in ("refined", "failed", "lost"):
            self.refinements.labels(station, outcome)
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
        station = self.station
        self.threshold.labels(station).set(threshold.value)
        self.target.labels(station).set(threshold.target)
        self.promise.labels(station).set(threshold.promise)
        self.confidence.labels(station).set(threshold.confidence)
        if self._recipe:
            self.recipe_info.remove(*self._recipe)
        self._recipe = (station, *labels.values())
        self.recipe_info.labels(*self._recipe).set(1)

    def verdict(self, verdict: Verdict, threshold: float) -> None:
        """Counts a verdict, given by a threshold, and observes its stages."""
        self.counted(verdict.decision, verdict.cause, verdict.whole_ns)
        if verdict.score is not None and threshold > 0:
            self.score.labels(self.station).observe(verdict.score / threshold)
        for stage, duration_ns in verdict.stages_ns.items():
            self.stage.labels(self.station, stage).observe(duration_ns / 1e9)
