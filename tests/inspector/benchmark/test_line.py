"""The line's benchmark runs real processes, loses nothing, and draws what it measured."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from inspector.benchmark.chart import latency_chart
from inspector.benchmark.line import LineRun, measure_line, processor_seconds
from inspector.benchmark.samples import Latency
from inspector.config.schema import Worker


@pytest.mark.process
def test_every_part_is_counted_and_timed(random_recipe: Path) -> None:
    worker = Worker(engine="pytorch", threads=1, allow_random_weights=True)
    # So few a second that the queue has room for all that come while a process of a busy machine stands still.
    run = measure_line(random_recipe, worker, offered=4.0, parts=20, frame_px=64, deadline_ms=20_000)
    assert run.parts == run.judged == 20
    assert sum(run.causes.values()) == 20
    assert run.latency.samples == 20
    assert 0 < run.latency.p50_ms <= run.latency.p999_ms <= 20_000
    assert 0 < run.parts_per_second < 100
    assert run.cpu_ms_per_part > 0
    assert run.as_record()["latency"]["samples"] == 20


def test_processor_time_counts_this_process() -> None:
    before, own = processor_seconds(), sum(os.times()[:2])
    while sum(os.times()[:2]) < own + 0.05:
        pass
    assert processor_seconds() >= before + 0.03


def run(offered: float, *latencies_ms: float) -> LineRun:
    return LineRun(offered, len(latencies_ms), len(latencies_ms), {}, Latency.of(latencies_ms), offered, 1.0)


def test_the_chart_shows_every_rate_and_the_deadline() -> None:
    text = latency_chart([run(60, 20, 300), run(30, 10, 20)], 500.0, "light pair <256 px>")
    root = ElementTree.fromstring(text)
    written = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"30", "60", "deadline", "median", "99 %", "99.9 %", "light pair <256 px>"} <= set(written)
    lines = [node.get("points", "").split() for node in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points) for points in lines] == [2, 2, 2]
    for points in lines:
        (left, low), (right, high) = (map(float, point.split(",")) for point in points)
        assert left < right
        assert high < low  # longer at 60 than at 30, and upwards is less


def test_a_chart_of_one_rate_can_be_drawn() -> None:
    ElementTree.fromstring(latency_chart([run(60, 5.0)], 500.0, "one"))
