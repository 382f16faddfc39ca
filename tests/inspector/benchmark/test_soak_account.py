"""What a soak would overlook if it counted wrongly."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from inspector.benchmark.soak_account import Account, Samples, process_figures, read_log, rise
from inspector.domain.verdict import Cause, Decision, Verdict


def verdict(part: int, score: float | None = 1.0, *, source: str = "a.bmp", at_ms: float = 0.0) -> Verdict:
    decision, cause = (
        (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD)
        if score is not None
        else (Decision.NOT_INSPECTED, Cause.WORKER_LOST)
    )
    triggered_ns = round(at_ms * 1e6)
    return Verdict(
        part, part, decision, cause, score, None, triggered_ns, triggered_ns + 10_000_000, triggered_ns, source
    )


def account_of(*parts: int) -> Account:
    account = Account(0.0)
    for part in parts:
        account(verdict(part))
    return account


def test_parts_in_any_order_are_all_there() -> None:
    account = account_of(2, 1, 3, 5, 4)
    assert (account.parts, account.strays, account.missing) == (5, 0, 0)


@pytest.mark.parametrize(("parts", "strays", "missing"), [((1, 2, 2, 3), 1, 0), ((1, 3, 4), 0, 1), ((2, 2), 1, 1)])
def test_a_part_with_two_verdicts_and_one_without_are_found(parts: tuple[int, ...], strays: int, missing: int) -> None:
    account = account_of(*parts)
    assert (account.strays, account.missing) == (strays, missing)


def test_a_score_that_is_not_that_of_its_picture_is_found() -> None:
    account = Account(0.0, {"a.bmp": 1.0, "b.bmp": 2.0})
    for part, (source, score) in enumerate([("a.bmp", 1.0), ("b.bmp", 2.0), ("b.bmp", 1.0), ("a.bmp", None)], 1):
        account(verdict(part, score, source=source))
    assert (account.scored, account.foreign) == (3, 1)


def test_without_known_scores_the_first_of_a_picture_is_the_measure() -> None:
    account = Account(0.01)
    for part, score in enumerate([5.0, 5.04, 5.2], 1):
        account(verdict(part, score))
    assert account.foreign == 1


def test_recovery_counts_from_the_fault_to_the_first_good_verdict_on_a_later_part() -> None:
    account = Account(0.0)
    account.fault("kill-worker", 100_000_000)
    account(verdict(1, at_ms=95))  # triggered before
    account(verdict(2, None, at_ms=110))  # not inspected
    assert account.recoveries_s == {}
    account(verdict(3, at_ms=290))
    account(verdict(4, at_ms=300))
    assert account.recoveries_s == {"kill-worker": [pytest.approx(0.2)]}


def test_quantiles_are_good_to_two_percent() -> None:
    account = account_of(*range(1, 101))
    assert account.latency_ms() == dict.fromkeys(("p50", "p99", "p99.9", "largest"), pytest.approx(10.0, rel=0.02))
    assert Account(0.0).latency_ms() == {}


def test_growth_of_a_process_that_is_sometimes_not_there() -> None:
    flat = [5.0, None] * 30
    assert rise(flat) == 0.0
    assert rise([*range(100)]) == pytest.approx(50, abs=2)
    assert math.isnan(rise([1.0] * 10))


def test_samples_are_thinned_out_and_look_at_real_processes() -> None:
    samples = Samples(1.0)
    for second in range(700):
        samples.take(second, second, {"gate": os.getpid(), "worker": None})
    assert len(samples.time_s) == len(samples.memory_mb["gate"]) == len(samples.descriptors["worker"]) < 600
    assert samples.interval_s == 2.0
    assert samples.time_s[:3] == [0, 2, 4]
    assert set(samples.growth()) == {"gate"}


def test_figures_of_a_process_are_its_own() -> None:
    before = process_figures(os.getpid())
    assert before[0] is not None
    assert before[1] is not None
    with open(os.devnull), open(os.devnull):
        assert process_figures(os.getpid())[1] == before[1] + 2
    assert process_figures(None) == (None, None)


def test_sums_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    records = [(1, "pass"), (2, "fail"), (2, "fail"), (3, "pass")]
    path.write_text("".join(json.dumps({"part": part, "decision": said}) + "\n" for part, said in records))
    assert read_log(path) == {"records": 4, "by_decision": {"pass": 2, "fail": 2}, "twice": 1}
