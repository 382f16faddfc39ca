"""The measurement measures, and can't come to its end on frames that were lost or changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inspector.domain.errors import FatalError
from inspector.wire import bench


@pytest.mark.process
@pytest.mark.parametrize("source", ["driver", "ready"])
def test_all_transports_are_measured_in_real_processes(source: Any, capfd: pytest.CaptureFixture[str]) -> None:
    figures = bench.measure_transports(320, 240, source=source, seconds=0.2, rounds=2)
    assert (figures.frame_bytes, figures.source) == (76_800, source)
    for carrier in (figures.copies, figures.message, figures.slot):
        assert len(carrier.rounds_frames_per_s) == 2
        assert all(rate > 0 for rate in carrier.rounds_frames_per_s)
        assert carrier.frames > 0
        assert carrier.checked > 0
        assert carrier.cpu_ms > 0
        assert 0 < carrier.latency_p50_ms <= carrier.latency_p99_ms
    for ratio, other in ((figures.ratio_to_copies, figures.copies), (figures.ratio_to_message, figures.message)):
        rounds = zip(figures.slot.rounds_frames_per_s, other.rounds_frames_per_s, strict=True)
        assert ratio == pytest.approx(sum(one / another for one, another in rounds) / 2, abs=0.001)
    assert capfd.readouterr().err == ""


@pytest.mark.process
def test_figures_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--size", "64x32", "--seconds", "0.05", "--rounds", "1", "--reading", "nothing"])
    figures = json.loads(capsys.readouterr().out)
    assert (figures["width_px"], figures["height_px"], figures["reading"]) == (64, 32, "nothing")


GOOD = {"received": 100, "wrong": 0, "checked": 7, "seconds": 1.0, "latencies_ns": [1], "cpu_s": 0.5}
SENT = {"sent": 100, "frames": 60, "cpu_s": 0.25, "counts": {"frames_by_slot": 100, "frames_by_message": 0}}


def test_processor_time_of_both_sides_counts() -> None:
    joined = bench._joined("slot", SENT, GOOD)
    assert (joined["cpu_s"], joined["frames"]) == (0.75, 60)


@pytest.mark.parametrize("change", [{"received": 99}, {"wrong": 1}, {"checked": 0}])
def test_frames_lost_changed_or_never_checked_end_the_measurement(change: dict[str, int]) -> None:
    with pytest.raises(FatalError, match="100 frames sent"):
        bench._joined("slot", SENT, GOOD | change)


def test_frames_that_went_another_way_end_the_measurement() -> None:
    with pytest.raises(FatalError, match="not every frame went by message"):
        bench._joined("message", SENT, GOOD)


def test_process_that_died_ends_the_measurement() -> None:
    with pytest.raises(FatalError, match="failed"):
        bench._joined("slot", SENT, None)
