"""Views of a part find each other by time; whatever is missing, late or doubtful makes the part a reject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.domain.verdict import Cause, Decision, Verdict
from inspector.domain.views import PartLedger, PartVerdict

MS = 1_000_000
DELAYS = {"main": 0, "side": 40 * MS, "below": 500 * MS}
TOGETHER = 20 * MS
DEADLINE = 100 * MS
CAUSES = {
    Decision.PASS: Cause.SCORE_WITHIN_THRESHOLD,
    Decision.FAIL: Cause.SCORE_ABOVE_THRESHOLD,
    Decision.NOT_INSPECTED: Cause.FRAME_INCOMPLETE,
}


def ledger(**changes: Any) -> PartLedger:
    settings: dict[str, Any] = {
        "delays_ns": DELAYS,
        "together_ns": TOGETHER,
        "deadline_ns": DEADLINE,
        "capacity": 100,
    }
    return PartLedger(**(settings | changes))


def said(key: int, decision: Decision, at_ns: int) -> Verdict:
    return Verdict(key, key, decision, CAUSES[decision], None, None, at_ns, at_ns, at_ns + DEADLINE)


def see(parts: PartLedger, key: int, decisions: dict[str, Decision], at_ns: int) -> list[PartVerdict]:
    """A part's views, each announced and judged in its time."""
    given: list[PartVerdict] = []
    for view, decision in decisions.items():
        seen_ns = at_ns + DELAYS[view]
        given += parts.trigger(view, key, seen_ns, seen_ns)
        whole = parts.settle(view, said(key, decision, seen_ns), {"key": key}, seen_ns)
        given += [] if whole is None else [whole]
    return given


def test_a_part_passes_when_all_of_its_views_pass() -> None:
    parts = ledger()
    (verdict,) = see(parts, 7, dict.fromkeys(DELAYS, Decision.PASS), 1000 * MS)
    assert (verdict.decision, verdict.cause, verdict.view) == (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, None)
    assert verdict.views == {view: {"key": 7} for view in DELAYS}
    assert verdict.triggered_ns == 1000 * MS
    assert verdict.whole_ns == 500 * MS
    assert parts.tally().balanced


@pytest.mark.parametrize(
    ("main", "side", "expected", "view"),
    [
        (Decision.PASS, Decision.FAIL, Decision.FAIL, "side"),
        (Decision.FAIL, Decision.NOT_INSPECTED, Decision.FAIL, "main"),
        (Decision.NOT_INSPECTED, Decision.FAIL, Decision.FAIL, "side"),
        (Decision.NOT_INSPECTED, Decision.PASS, Decision.NOT_INSPECTED, "main"),
    ],
)
def test_the_worst_view_decides_and_is_named(main: Decision, side: Decision, expected: Decision, view: str) -> None:
    (verdict,) = see(ledger(), 1, {"main": main, "side": side, "below": Decision.PASS}, 0)
    assert (verdict.decision, verdict.view, verdict.cause) == (expected, view, CAUSES[expected])


def test_a_view_that_never_comes_is_a_reject_when_it_is_due() -> None:
    parts = ledger()
    assert see(parts, 1, {"main": Decision.PASS, "side": Decision.PASS}, 0) == []
    due_ns = parts.next_deadline_ns()
    assert due_ns == max(DELAYS.values()) + TOGETHER + DEADLINE
    assert parts.expire(due_ns - 1) == []
    (verdict,) = parts.expire(due_ns)
    assert (verdict.decision, verdict.cause, verdict.view) == (Decision.NOT_INSPECTED, Cause.VIEW_MISSING, "below")
    assert verdict.views["below"] is None
    assert parts.next_deadline_ns() is None


def test_a_trigger_that_one_camera_missed_does_not_shift_the_next_part() -> None:
    # Counted views would put the second part's side beside the first part's front, and so on for ever.
    parts = ledger(delays_ns={"main": 0, "side": 0})
    parts.trigger("main", 1, 0, 0)
    parts.settle("main", said(1, Decision.PASS, 0), {"key": 1}, 0)
    for view in ("side", "main"):
        parts.trigger(view, 2, 60 * MS, 60 * MS)
    assert parts.settle("side", said(2, Decision.FAIL, 60 * MS), {"key": 2}, 60 * MS) is None
    second = parts.settle("main", said(2, Decision.PASS, 60 * MS), {"key": 2}, 60 * MS)
    assert second is not None
    assert (second.part, second.decision) == (2, Decision.FAIL)
    (first,) = parts.expire(1000 * MS)
    assert (first.part, first.decision, first.cause) == (1, Decision.NOT_INSPECTED, Cause.VIEW_MISSING)


def test_more_open_parts_than_the_bound_settle_the_oldest() -> None:
    parts = ledger(capacity=2)
    given = [verdict for number in range(4) for verdict in parts.trigger("main", number, number * 50 * MS, 0)]
    assert [(verdict.part, verdict.cause) for verdict in given] == [(1, Cause.LEDGER_FULL), (2, Cause.LEDGER_FULL)]
    assert parts.settle("main", said(0, Decision.PASS, 0), {}, 0) is None
    assert parts.stray_views == 1
    assert [verdict.cause for verdict in parts.settle_all(Cause.SHUTDOWN, 0)] == [Cause.SHUTDOWN] * 2
    assert parts.tally().balanced


@dataclass(frozen=True)
class Seen:
    """One view of a real part, as its camera tells it."""

    part: int
    view: str
    triggered_ns: int
    decision: Decision
    told_ns: int


@st.composite
def conveyors(draw: st.DrawFn) -> list[Seen]:
    """Parts more than twice TOGETHER apart; each view may miss any, jitters, and is told late."""
    seen, at_ns = [], 0
    for part in range(draw(st.integers(1, 12))):
        at_ns += 2 * TOGETHER + draw(st.integers(1, 300 * MS))
        for view, delay_ns in DELAYS.items():
            if draw(st.integers(0, 4)):
                triggered_ns = at_ns + delay_ns + draw(st.integers(0, TOGETHER))
                told_ns = triggered_ns + draw(st.integers(0, DEADLINE))
                seen.append(Seen(part, view, triggered_ns, draw(st.sampled_from(list(Decision))), told_ns))
    return seen


@given(conveyors())
def test_each_part_gets_one_verdict_from_its_own_views_alone(seen: list[Seen]) -> None:
    parts, given = ledger(), []
    events = [(view.triggered_ns, 0, index) for index, view in enumerate(seen)]
    events += [(view.told_ns, 1, index) for index, view in enumerate(seen)]
    for now_ns, kind, index in sorted(events):
        view = seen[index]
        given += parts.expire(now_ns)
        if kind == 0:
            given += parts.trigger(view.view, index, view.triggered_ns, now_ns)
        else:
            whole = parts.settle(view.view, said(index, view.decision, now_ns), {"index": index}, now_ns)
            given += [] if whole is None else [whole]
        assert parts.tally().balanced
        assert parts.tally().pending == parts.tally().triggered - len(given)
    given += parts.expire(1 << 62)
    assert parts.tally().pending == 0
    real = {view.part: [other for other in seen if other.part == view.part] for view in seen}
    assert len(given) == len(real)
    for verdict in given:
        own = [seen[record["index"]] for record in verdict.views.values() if record is not None]
        assert len({view.part for view in own}) == 1
        assert own == sorted(real[own[0].part], key=lambda view: list(DELAYS).index(view.view))
        passed = len(own) == len(DELAYS) and all(view.decision is Decision.PASS for view in own)
        assert (verdict.decision is Decision.PASS) == passed
    assert parts.stray_views == 0
