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


def test_a_gap_that_a_camera_finds_later_is_the_view_that_the_part_lacks() -> None:
    # Once it took the place of the next part's view: that good part was rejected, and a third one made up.
    parts = ledger(delays_ns={"main": 0, "side": 0})
    for key, at_ns in ((1, 0), (2, 60 * MS), (3, 120 * MS)):
        parts.trigger("main", key, at_ns, at_ns)
        parts.settle("main", said(key, Decision.PASS, at_ns), {}, at_ns)
        if key == 3:
            parts.missing("side", 2, at_ns)
            lost = Verdict(2, 2, Decision.NOT_INSPECTED, Cause.FRAME_MISSING, None, None, at_ns, at_ns, at_ns)
            second = parts.settle("side", lost, {}, at_ns)
            assert second is not None
            assert (second.part, second.cause, second.view) == (2, Cause.FRAME_MISSING, "side")
        if key != 2:
            parts.trigger("side", key, at_ns, at_ns)
            whole = parts.settle("side", said(key, Decision.PASS, at_ns), {}, at_ns)
            assert whole is not None
            assert whole.decision is Decision.PASS
    assert parts.tally().triggered == 3
    assert parts.tally().pending == 0


def test_a_part_that_no_camera_has_a_frame_of_has_its_verdict() -> None:
    parts = ledger(delays_ns={"main": 0, "side": DELAYS["side"]})
    given = see(parts, 1, {"main": Decision.PASS, "side": Decision.PASS}, 0)
    for view in ("main", "side"):
        parts.missing(view, 2, 120 * MS + DELAYS[view])
    given += see(parts, 3, {"main": Decision.PASS, "side": Decision.PASS}, 120 * MS)
    given += parts.expire(1000 * MS)
    assert [verdict.cause for verdict in given] == [Cause.SCORE_WITHIN_THRESHOLD] * 2 + [Cause.FRAME_MISSING]
    assert parts.tally().balanced
    assert parts.tally().triggered == 3


def test_at_the_end_parts_that_nobody_saw_are_settled_too() -> None:
    parts = ledger()
    parts.missing("main", 1, 100 * MS)
    parts.trigger("main", 2, 100 * MS, 100 * MS)
    assert len(parts.settle_all(Cause.SHUTDOWN, 101 * MS)) == 2
    assert parts.tally().balanced
    assert parts.tally().pending == 0


@dataclass(frozen=True)
class Seen:
    """One view of a real part, as its camera tells it: with a frame, or as a gap that its next frame shows."""

    part: int
    view: str
    triggered_ns: int
    decision: Decision | None
    told_ns: int


@st.composite
def conveyors(draw: st.DrawFn) -> list[Seen]:
    """Parts more than twice TOGETHER apart; each view jitters, is told late, and may lack any frame."""
    frames: dict[str, list[Seen]] = {view: [] for view in DELAYS}
    gaps: dict[str, list[int]] = {view: [] for view in DELAYS}
    at_ns = 0
    for part in range(draw(st.integers(1, 12))):
        at_ns += 2 * TOGETHER + draw(st.integers(1, 300 * MS))
        for view, delay_ns in DELAYS.items():
            triggered_ns = at_ns + delay_ns + draw(st.integers(0, TOGETHER))
            if draw(st.integers(0, 4)):
                frames[view] += [Seen(lost, view, triggered_ns, None, triggered_ns) for lost in gaps[view]]
                gaps[view] = []
                told_ns = triggered_ns + draw(st.integers(0, DEADLINE))
                frames[view].append(Seen(part, view, triggered_ns, draw(st.sampled_from(list(Decision))), told_ns))
            else:
                gaps[view].append(part)
    return [seen for view in frames.values() for seen in view]


@given(conveyors())
def test_each_part_gets_one_verdict_from_its_own_views_alone(seen: list[Seen]) -> None:
    parts, given = ledger(), []
    events = [(view.triggered_ns, 0 if view.decision is None else 1, index) for index, view in enumerate(seen)]
    events += [(view.told_ns, 2, index) for index, view in enumerate(seen)]
    for now_ns, kind, index in sorted(events):
        view = seen[index]
        given += parts.expire(now_ns)
        if kind == 0:
            parts.missing(view.view, index, view.triggered_ns)
        elif kind == 1:
            given += parts.trigger(view.view, index, view.triggered_ns, now_ns)
        else:
            lost = Verdict(1, index, Decision.NOT_INSPECTED, Cause.FRAME_MISSING, None, None, now_ns, now_ns, now_ns)
            verdict = lost if view.decision is None else said(index, view.decision, now_ns)
            whole = parts.settle(view.view, verdict, {"index": index}, now_ns)
            given += [] if whole is None else [whole]
        assert parts.tally().balanced
        assert parts.tally().pending == parts.tally().triggered - len(given)
    given += parts.expire(1 << 61)
    assert parts.tally().pending == 0
    with_frames = {view.part for view in seen if view.decision is not None}
    unseen = {view.part for view in seen} - with_frames
    by_part: list[int] = []
    for verdict in given:
        frames = [seen[record["index"]] for record in verdict.views.values() if record is not None]
        frames = [view for view in frames if view.decision is not None]
        assert len({view.part for view in frames}) <= 1
        by_part += {view.part for view in frames}
        passed = len(frames) == len(DELAYS) and all(view.decision is Decision.PASS for view in frames)
        assert (verdict.decision is Decision.PASS) == passed
    assert sorted(by_part) == sorted(with_frames), "one verdict for each part that a camera saw"
    # Gaps tell no time: parts that nobody saw are counted, at most one for each view that found the gap.
    assert bool(unseen) <= (len(given) - len(with_frames)) <= 3 * len(unseen)
    assert parts.stray_views == 0
