"""Every event has its series from the start, with a name that Prometheus' conventions ask for."""

from __future__ import annotations

import re
import socket
import urllib.request
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from inspector.domain.errors import ConfigError
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Cause, Decision, Verdict
from inspector.outputs.metrics import Families, LineMetrics, PartMetrics
from inspector.outputs.metrics_server import MetricsServer

THRESHOLD = Threshold(2.0, 0.01, 0.009, 0.95, "tolerance_limit", 300, 0, True, 0)
SCORED = {Cause.SCORE_WITHIN_THRESHOLD: Decision.PASS, Cause.SCORE_ABOVE_THRESHOLD: Decision.FAIL}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> LineMetrics:
    return make(registry)


def make(registry: CollectorRegistry, deadline_s: float = 0.123, **changes: Any) -> LineMetrics:
    settings: dict[str, Any] = {
        "station": "press",
        "threshold": THRESHOLD,
        "recipe": {"name": "tile", "hash": "ab12"},
        "version": "1.2.3",
    }
    return LineMetrics(Families(registry, deadline_s), **(settings | changes))


def verdict(decision: Decision, cause: Cause, **changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "part": 1,
        "trigger": 1,
        "decision": decision,
        "cause": cause,
        "score": None,
        "p_value": None,
        "triggered_ns": 0,
        "decided_ns": 10_000_000,
        "deadline_ns": 123_000_000,
    }
    return Verdict(**(fields | changes))


def value(registry: CollectorRegistry, series: str, /, **labels: str) -> float | None:
    return registry.get_sample_value(series, {"station": "press"} | labels)


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_there_before_it_happens(
    registry: CollectorRegistry, metrics: LineMetrics, cause: Cause
) -> None:
    decision = SCORED.get(cause, Decision.NOT_INSPECTED)
    labels = {"decision": decision.value, "cause": cause.value}
    assert value(registry, "inspector_parts_total", **labels) == 0
    metrics.verdict(verdict(decision, cause), THRESHOLD.value)
    assert value(registry, "inspector_parts_total", **labels) == 1


def test_no_pair_exists_that_cannot_happen(registry: CollectorRegistry, metrics: LineMetrics) -> None:
    series = [s for family in registry.collect() for s in family.samples if s.name == "inspector_parts_total"]
    assert len(series) == len(Cause)


def test_every_counter_starts_at_zero(registry: CollectorRegistry, metrics: LineMetrics) -> None:
    # A rate needs a zero before the first event.
    counters = [family for family in registry.collect() if family.type == "counter"]
    assert len(counters) == 15
    for family in counters:
        totals = [sample.value for sample in family.samples if sample.name == f"{family.name}_total"]
        assert totals
        assert set(totals) == {0.0}


def test_names_follow_the_conventions(registry: CollectorRegistry, metrics: LineMetrics) -> None:
    metrics.verdict(verdict(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, score=1.0), THRESHOLD.value)
    families = list(registry.collect())
    assert len(families) > 15
    for family in families:
        assert re.fullmatch(r"inspector_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation.endswith((".", "0."))
        assert not re.search(r"_(ms|ns|milliseconds|percent|count|total)$", family.name)
        for sample in family.samples:
            assert sample.labels["station"] == "press"
            if family.type == "counter" and not sample.name.endswith("_created"):
                assert sample.name == f"{family.name}_total"


def test_deadline_is_a_bucket_of_the_latency(registry: CollectorRegistry, metrics: LineMetrics) -> None:
    # So that the share of parts in time is read exactly, not interpolated.
    for decided_ns in (122_000_000, 123_000_000, 124_000_000):
        metrics.verdict(verdict(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, decided_ns=decided_ns), THRESHOLD.value)
    assert value(registry, "inspector_stage_seconds_bucket", stage="whole", le="0.123") == 2
    assert value(registry, "inspector_stage_seconds_count", stage="whole") == 3
    assert value(registry, "inspector_deadline_seconds") == 0.123


def test_latency_near_a_long_deadline_is_measured_not_interpolated(registry: CollectorRegistry) -> None:
    # With no bound between 1 s and a deadline of 20 s, a 99th percentile of 2 s read as up to 20 s.
    make(registry, deadline_s=20.0).verdict(
        verdict(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, decided_ns=15_900_000_000), THRESHOLD.value
    )
    shares = {"10.0": 0, "16.0": 1, "18.0": 1, "20.0": 1}
    for bound, count in shares.items():
        assert value(registry, "inspector_stage_seconds_bucket", stage="whole", le=bound) == count


@pytest.mark.parametrize("deadline_s", [0.5, 0.0001, 3600.0])
def test_any_deadline_makes_proper_buckets(registry: CollectorRegistry, deadline_s: float) -> None:
    metrics = make(registry, deadline_s=deadline_s)
    metrics.verdict(
        verdict(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, decided_ns=round(deadline_s * 1e9)), THRESHOLD.value
    )
    assert value(registry, "inspector_stage_seconds_bucket", stage="whole", le=str(deadline_s)) == 1


def test_score_is_measured_against_the_threshold(registry: CollectorRegistry, metrics: LineMetrics) -> None:
    for score in (1.0, 2.0, 2.2):
        metrics.verdict(verdict(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, score=score), THRESHOLD.value)
    metrics.verdict(verdict(Decision.NOT_INSPECTED, Cause.WORKER_LOST), THRESHOLD.value)
    assert value(registry, "inspector_score_ratio_bucket", le="0.5") == 1
    assert value(registry, "inspector_score_ratio_bucket", le="1.0") == 2
    assert value(registry, "inspector_score_ratio_count") == 3
    assert value(registry, "inspector_score_ratio_sum") == pytest.approx(2.6)


def test_threshold_that_is_not_positive_measures_no_score(registry: CollectorRegistry) -> None:
    threshold = Threshold(0.0, 0.01, 0.009, 0.95, "tolerance_limit", 300, 0, True, 0)
    metrics = make(registry, threshold=threshold)
    metrics.verdict(verdict(Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD, score=1.0), threshold.value)
    assert value(registry, "inspector_score_ratio_count") == 0


def test_another_recipe_takes_the_place_of_the_first(registry: CollectorRegistry) -> None:
    metrics = make(registry)
    names = [s.labels for f in registry.collect() for s in f.samples if s.name == "inspector_recipe_info"]
    other = Threshold(0.7, 0.02, 0.019, 0.9, "tolerance_limit", 300, 0, True, 0)
    labels = {name: f"other {name}" for name in names[0] if name != "station"}
    metrics.recipe(other, labels)
    named = [s.labels for f in registry.collect() for s in f.samples if s.name == "inspector_recipe_info"]
    assert named == [{"station": "press", **labels}]
    assert value(registry, "inspector_threshold") == 0.7
    assert value(registry, "inspector_recipe_promise_ratio") == 0.019


def test_stages_are_seconds(registry: CollectorRegistry, metrics: LineMetrics) -> None:
    metrics.verdict(
        verdict(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, stages_ns={"capture": 4_000_000, "compute": 6_000_000}),
        THRESHOLD.value,
    )
    assert value(registry, "inspector_stage_seconds_sum", stage="capture") == 0.004
    assert value(registry, "inspector_stage_seconds_sum", stage="compute") == 0.006
    assert value(registry, "inspector_stage_seconds_sum", stage="whole") == 0.01


def test_recipe_and_its_promise_are_shown(registry: CollectorRegistry, metrics: LineMetrics) -> None:
    assert value(registry, "inspector_recipe_info", name="tile", hash="ab12") == 1
    assert value(registry, "inspector_build_info", version="1.2.3") == 1
    assert value(registry, "inspector_threshold") == 2.0
    assert value(registry, "inspector_recipe_target_ratio") == 0.01
    assert value(registry, "inspector_recipe_promise_ratio") == 0.009
    assert value(registry, "inspector_recipe_confidence_ratio") == 0.95


def test_total_follows_what_is_counted_elsewhere_and_goes_on_where_that_begins_anew(
    registry: CollectorRegistry, metrics: LineMetrics
) -> None:
    # A child that starts again counts from 0 again; the counter must not. It once showed nothing of what the new
    # child had counted until that exceeded what the former had.
    shown = []
    for count in (0, 3, 3, 1, 0, 5, float("nan")):
        metrics.total(metrics.malformed, count, "camera")
        shown.append(value(registry, "inspector_malformed_messages_total", receiver="camera"))
    assert shown == [0, 3, 3, 4, 4, 9, 9]
    assert value(registry, "inspector_malformed_messages_total", receiver="worker") == 0
    metrics.total(metrics.restarts, 2, "camera")  # another counter with the same label keeps its own account
    assert value(registry, "inspector_process_restarts_total", process="camera") == 2


def scrape(port: int, host: str = "127.0.0.1") -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.parametrize(
    ("host", "url_host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "localhost")]
)
def test_metrics_are_served_on_a_free_port(
    registry: CollectorRegistry, metrics: LineMetrics, host: str, url_host: str
) -> None:
    server = MetricsServer(registry, host, 0)
    metrics.verdict(verdict(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, score=1.0), THRESHOLD.value)
    families = {family.name: family for family in text_string_to_metric_families(scrape(server.port, url_host))}
    server.close()
    passed = [s.value for s in families["inspector_parts"].samples if s.labels.get("decision") == "pass"]
    assert 1.0 in passed
    assert families["inspector_stage_seconds"].type == "histogram"


def test_close_frees_the_port(registry: CollectorRegistry) -> None:
    server = MetricsServer(registry, "127.0.0.1", 0)
    scrape(server.port)
    server.close()
    server.close()
    with pytest.raises(OSError, match="refused"):
        scrape(server.port)
    with socket.create_server(("127.0.0.1", server.port), reuse_port=False):
        pass


def test_taken_port_is_a_mistake_in_the_configuration(registry: CollectorRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"metrics\.port: can't listen on 127\.0\.0\.1:{port}"):
            MetricsServer(registry, "127.0.0.1", port)


def test_views_of_a_station_share_metrics_and_keep_their_labels_apart(registry: CollectorRegistry) -> None:
    families = Families(registry, 0.1)
    whole = PartMetrics(families, "press")
    top, side = (
        LineMetrics(families, station=f"press.{view}", threshold=THRESHOLD, recipe={"name": view}, version="1")
        for view in ("top", "side")
    )
    top.recipe(THRESHOLD, {"name": "other"})  # once took the other view's recipe away too
    side.verdict(verdict(Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD, score=3.0), THRESHOLD.value)
    whole.counted(Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD, 5_000_000)
    counted = {"decision": "fail", "cause": "score_above_threshold"}
    for station, count in (("press", 1), ("press.top", 0), ("press.side", 1)):
        assert registry.get_sample_value("inspector_parts_total", {"station": station, **counted}) == count
    named = [s.labels for f in registry.collect() for s in f.samples if s.name == "inspector_recipe_info"]
    assert {labels["station"]: labels["name"] for labels in named} == {"press.top": "other", "press.side": "side"}
