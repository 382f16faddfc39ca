"""Every trigger gets exactly one verdict, whatever comes, in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inspector.domain.ledger import Ledger, OpenPart, incarnation_of, trigger_key
from inspector.domain.verdict import Cause, Decision, Verdict

SCORED = st.sampled_from(
    [
        (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD),
        (Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD),
        (Decision.NOT_INSPECTED, Cause.ENGINE_ERROR),
    ]
)


class AnyLine(RuleBasedStateMachine):
    """A line on which everything goes wrong at random, beside a plain account of what must hold."""

    @initialize(deadline_ns=st.integers(1, 50), capacity=st.integers(1, 6))
    def start(self, deadline_ns: int, capacity: int) -> None:
        self.ledger = Ledger(deadline_ns, capacity)
        self.deadline_ns = deadline_ns
        self.capacity = capacity
        self.now_ns = 1000
        self.next_sequence = dict.fromkeys(range(3), 0)
        self.open: dict[int, OpenPart] = {}
        self.lost_cameras: set[int] = set()
        self.verdicts: dict[int, Verdict] = {}
        self.strays = self.duplicates = 0

    def closed(self, verdict: Verdict) -> Verdict:
        """Books a verdict; a second one for the same trigger is the defect that this machine looks for."""
        assert verdict.trigger not in self.verdicts
        part = self.open.pop(verdict.trigger, None)
        assert part is None or part.part == verdict.part
        assert verdict.decided_ns == self.now_ns
        self.verdicts[verdict.trigger] = verdict
        return verdict

    @rule(
        camera=st.integers(0, 2),
        skipped=st.integers(0, 2),
        age_ns=st.integers(0, 60),
        worker=st.integers(1, 3),
    )
    def trigger(self, camera: int, skipped: int, age_ns: int, worker: int) -> None:
        first = self.next_sequence[camera]
        key = trigger_key(camera, first + skipped)
        missed = list(self.ledger.missed(key))
        assert missed == [trigger_key(camera, first + i) for i in range(skipped)]
        for each in (*missed, key):
            full = len(self.open) >= self.capacity
            opened = self.ledger.trigger(each, self.now_ns - age_ns, self.now_ns, source="part", worker=worker)
            assert isinstance(opened, Verdict if full else OpenPart)
            assert opened.part == len(self.verdicts) + len(self.open) + 1
            if isinstance(opened, Verdict):
                assert (opened.decision, opened.cause) == (Decision.NOT_INSPECTED, Cause.LEDGER_FULL)
                self.closed(opened)
            else:
                assert opened.deadline_ns == self.now_ns - age_ns + self.deadline_ns
                self.open[each] = opened
        self.next_sequence[camera] = first + skipped + 1

    @precondition(lambda self: self.open or self.verdicts)
    @rule(data=st.data())
    def trigger_again(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from(sorted({*self.open, *self.verdicts})))
        assert list(self.ledger.missed(known)) == []
        assert self.ledger.trigger(known, self.now_ns, self.now_ns) is None
        self.duplicates += 1

    @precondition(lambda self: self.open)
    @rule(data=st.data(), outcome=SCORED)
    def result(self, data: st.DataObject, outcome: tuple[Decision, Cause]) -> None:
        trigger = data.draw(st.sampled_from(sorted(self.open)))
        late = self.now_ns > self.open[trigger].deadline_ns
        verdict = self.ledger.settle(trigger, *outcome, self.now_ns, score=0.5)
        assert verdict is not None
        if late and outcome[0] is not Decision.NOT_INSPECTED:
            outcome = (Decision.NOT_INSPECTED, Cause.DEADLINE_MISSED)
        assert (verdict.decision, verdict.cause) == outcome
        self.closed(verdict)

    @rule(data=st.data(), outcome=SCORED)
    def stray_result(self, data: st.DataObject, outcome: tuple[Decision, Cause]) -> None:
        unknown = trigger_key(2, self.next_sequence[2])
        trigger = data.draw(st.sampled_from([unknown, *sorted(self.verdicts)]))
        assert self.ledger.find(trigger) is None
        assert self.ledger.settle(trigger, *outcome, self.now_ns) is None
        self.strays += 1

    @rule(duration_ns=st.integers(0, 40))
    def time_goes_by(self, duration_ns: int) -> None:
        self.now_ns += duration_ns

    @rule()
    def expire(self) -> None:
        due = {trigger for trigger, part in self.open.items() if part.deadline_ns <= self.now_ns}
        expired = [self.closed(verdict) for verdict in self.ledger.expire(self.now_ns)]
        assert {verdict.trigger for verdict in expired} == due
        assert [verdict.deadline_ns for verdict in expired] == sorted(verdict.deadline_ns for verdict in expired)
        for verdict in expired:
            lost = incarnation_of(verdict.trigger) in self.lost_cameras
            assert verdict.decision is Decision.NOT_INSPECTED
            assert verdict.cause is (Cause.CAMERA_LOST if lost else Cause.DEADLINE_MISSED)

    @rule(worker=st.integers(1, 4))
    def worker_dies(self, worker: int) -> None:
        held = {trigger for trigger, part in self.open.items() if part.worker == worker}
        lost = [self.closed(verdict) for verdict in self.ledger.lose_worker(worker, self.now_ns)]
        assert {verdict.trigger for verdict in lost} == held
        assert {verdict.cause for verdict in lost} <= {Cause.WORKER_LOST}

    @rule(camera=st.integers(0, 2))
    def camera_dies(self, camera: int) -> None:
        self.ledger.lose_camera(camera)
        self.lost_cameras.add(camera)

    @rule()
    def stop(self) -> None:
        held = set(self.open)
        settled = [self.closed(verdict) for verdict in self.ledger.settle_all(Cause.SHUTDOWN, self.now_ns)]
        assert {verdict.trigger for verdict in settled} == held
        assert {verdict.cause for verdict in settled} <= {Cause.SHUTDOWN}
        assert self.ledger.tally().pending == 0

    @invariant()
    def identity_holds(self) -> None:
        tally = self.ledger.tally()
        assert tally.balanced
        assert tally.triggered == sum(self.next_sequence.values())
        assert tally.pending == len(self.open) <= self.capacity
        for decision, count in (
            (Decision.PASS, tally.passed),
            (Decision.FAIL, tally.failed),
            (Decision.NOT_INSPECTED, tally.not_inspected),
        ):
            assert count == sum(verdict.decision is decision for verdict in self.verdicts.values())

    @invariant()
    def only_what_is_in_time_passes(self) -> None:
        for verdict in self.verdicts.values():
            assert verdict.decision is Decision.NOT_INSPECTED or verdict.decided_ns <= verdict.deadline_ns

    @invariant()
    def next_deadline_is_the_earliest(self) -> None:
        earliest = min((part.deadline_ns for part in self.open.values()), default=None)
        assert self.ledger.next_deadline_ns() == earliest

    @invariant()
    def oddities_are_counted(self) -> None:
        assert (self.ledger.stray_results, self.ledger.duplicate_triggers) == (self.strays, self.duplicates)


AnyLine.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestAnyLine = AnyLine.TestCase


def test_result_at_the_deadline_is_in_time_and_a_nanosecond_later_is_not() -> None:
    ledger = Ledger(deadline_ns=100, capacity=8)
    for sequence in range(2):
        ledger.trigger(trigger_key(1, sequence), 0, 0)
    in_time = ledger.settle(trigger_key(1, 0), Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, 100)
    late = ledger.settle(trigger_key(1, 1), Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, 101)
    assert in_time is not None
    assert in_time.decision is Decision.PASS
    assert late is not None
    assert (late.decision, late.cause) == (Decision.NOT_INSPECTED, Cause.DEADLINE_MISSED)


def test_late_failure_keeps_its_own_cause() -> None:
    ledger = Ledger(deadline_ns=100, capacity=8)
    ledger.trigger(trigger_key(1, 0), 0, 0)
    verdict = ledger.settle(trigger_key(1, 0), Decision.NOT_INSPECTED, Cause.EXPIRED_IN_QUEUE, 150)
    assert verdict is not None
    assert verdict.cause is Cause.EXPIRED_IN_QUEUE


def test_camera_that_died_does_not_take_its_parts_along() -> None:
    # Its frame was with the worker already: the result comes, and the part is judged like any other.
    ledger = Ledger(deadline_ns=100, capacity=8)
    ledger.trigger(trigger_key(1, 0), 0, 0, worker=1)
    ledger.lose_camera(1)
    assert ledger.tally().pending == 1
    verdict = ledger.settle(trigger_key(1, 0), Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, 50)
    assert verdict is not None
    assert verdict.decision is Decision.PASS


def test_incarnations_have_their_own_sequence() -> None:
    ledger = Ledger(deadline_ns=100, capacity=8)
    ledger.trigger(trigger_key(1, 6), 0, 0)
    assert len(ledger.missed(trigger_key(2, 0))) == 0
    assert ledger.missed(trigger_key(2, 3)) == range(trigger_key(2, 0), trigger_key(2, 3))
    assert ledger.missed(trigger_key(1, 9)) == range(trigger_key(1, 7), trigger_key(1, 9))


def test_trigger_is_announced_once_it_or_a_later_one_of_its_incarnation_came() -> None:
    ledger = Ledger(deadline_ns=100, capacity=10)
    ledger.trigger(trigger_key(1, 2), 0, 0)
    announced = {
        (camera, number) for camera in (0, 1, 2) for number in range(5) if ledger.announced(trigger_key(camera, number))
    }
    assert announced == {(1, 0), (1, 1), (1, 2)}


def test_verdict_carries_what_was_known_of_the_part() -> None:
    ledger = Ledger(deadline_ns=100, capacity=8)
    ledger.trigger(trigger_key(1, 0), 5, 9, source="a.png", worker=2)
    stages_ns = {"capture": 4, "compute": 7}
    verdict = ledger.settle(
        trigger_key(1, 0),
        Decision.FAIL,
        Cause.SCORE_ABOVE_THRESHOLD,
        40,
        score=2.5,
        p_value=0.01,
        stages_ns=stages_ns,
    )
    assert verdict == Verdict(
        part=1,
        trigger=trigger_key(1, 0),
        decision=Decision.FAIL,
        cause=Cause.SCORE_ABOVE_THRESHOLD,
        score=2.5,
        p_value=0.01,
        triggered_ns=5,
        decided_ns=40,
        deadline_ns=105,
        source="a.png",
        stages_ns=stages_ns,
    )


@pytest.mark.parametrize(("incarnation", "sequence"), [(-1, 0), (1 << 31, 0), (0, -1), (0, 1 << 32)])
def test_trigger_key_out_of_range_is_refused(incarnation: int, sequence: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        trigger_key(incarnation, sequence)


def test_trigger_keys_fit_a_signed_64_bit_number_and_grow() -> None:
    last = trigger_key((1 << 31) - 1, (1 << 32) - 1)
    assert last == (1 << 63) - 1
    assert incarnation_of(last) == (1 << 31) - 1
    assert trigger_key(4, (1 << 32) - 1) < trigger_key(5, 0)
