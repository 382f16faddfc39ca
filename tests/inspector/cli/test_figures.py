from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

from inspector.cli.figures import measure, worst_rejects
from inspector.cli.live import LiveLine
from inspector.domain.ledger import Tally
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Cause, Decision, Verdict

THRESHOLD = Threshold(1.0, 0.01, 0.009, 0.95, "tolerance_limit", 324, 0, True, 0)


def verdict(part: int, source: str, score: float | None, *, late: bool = False) -> Verdict:
    if score is None:
        decision, cause = Decision.NOT_INSPECTED, Cause.DEADLINE_MISSED if late else Cause.FRAME_CORRUPT
    elif score <= 1.0:
        decision, cause = Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD
    else:
        decision, cause = Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD
    at = part * 10_000_000
    return Verdict(part, part, decision, cause, score, None, at, at + 2_000_000 * part, at + 10**9, source)


VERDICTS = [
    verdict(1, "good/1", 0.5),
    verdict(2, "good/2", 1.5),
    verdict(3, "good/3", None),
    verdict(4, "dent/4", 2.0),
    verdict(5, "dent/5", 0.4),
    verdict(6, "scratch/6", None, late=True),
]
TALLY = Tally(6, 2, 2, 2, 0)


def test_rates_count_every_reject_and_ranking_only_what_was_scored() -> None:
    run = measure(VERDICTS, TALLY)
    assert (run.good, run.good_rejected, run.bad, run.bad_rejected) == (3, 2, 3, 2)
    assert run.by_class == {"dent": (2, 1), "scratch": (1, 1)}
    assert run.image_auroc == 0.5  # 2.0 beats both good ones, 0.4 neither
    assert run.latency(0) == 2.0
    assert run.latency(100) == 12.0
    assert run.seconds == pytest.approx(0.062)
    assert run.frames_per_second == pytest.approx(6 / 0.062)
    assert run.causes["deadline_missed"] == 1


def test_parts_that_nobody_knows_count_in_no_class() -> None:
    """A frame was lost, and with it the knowledge whether its part was good."""
    run = measure([*VERDICTS, verdict(7, "unknown", None), verdict(8, "unknown/8", 3.0)], Tally(8, 2, 3, 3, 0))
    former = measure(VERDICTS, TALLY)
    assert (run.unknown, former.unknown) == (2, 0)
    assert (run.good, run.bad, run.by_class) == (former.good, former.bad, former.by_class)
    assert run.image_auroc == former.image_auroc
    assert sum(run.causes.values()) == 8
    assert run.as_record(THRESHOLD)["unknown_parts"] == 2


def test_the_promise_is_doubted_only_when_the_rejects_would_surprise() -> None:
    few = measure([verdict(n, "good/x", 0.5 if n > 2 else 1.5) for n in range(1, 101)], Tally(100, 98, 2, 0, 0))
    assert few.keeps(0.01)
    many = measure([verdict(n, "good/x", 0.5 if n > 9 else 1.5) for n in range(1, 101)], Tally(100, 91, 9, 0, 0))
    assert not many.keeps(0.01)
    low, high = many.false_reject_interval()
    assert low < 0.09 < high


def test_the_record_is_json_without_nan_even_for_nothing() -> None:
    record = measure([], Tally(0, 0, 0, 0, 0)).as_record(THRESHOLD)
    assert json.loads(json.dumps(record, allow_nan=False))["image_auroc"] is None
    full = measure(VERDICTS, TALLY).as_record(THRESHOLD)
    wanted = "triggered pass fail not_inspected pending image_auroc false_reject_rate detection_rate"
    assert set(wanted.split()) | {"latency_p50_ms", "latency_p99_ms", "frames_per_second"} <= set(full)
    assert not math.isnan(full["detection_rate"])


def test_the_worst_rejects_come_first() -> None:
    assert [v.source for v in worst_rejects(VERDICTS, 5)] == ["dent/4", "good/2"]
    assert [v.source for v in worst_rejects(VERDICTS, 1)] == ["dent/4"]


def test_the_live_line_counts_everything_and_writes_seldom() -> None:
    stream = io.StringIO()
    now = iter(range(0, 10**12, 10**9))  # a second a verdict; a line each five seconds
    live = LiveLine(Console(file=stream, width=200), 6, lambda: next(now))
    for one in VERDICTS:
        live(one)
    live.close()
    lines = stream.getvalue().strip().splitlines()
    assert len(lines) == 2
    assert lines[-1].startswith("6 of 6 parts: 2 pass, 2 fail, 2 not inspected; ")
