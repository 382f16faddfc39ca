"""The ledger: every trigger gets exactly one verdict. Pure: no clock, no I/O, no torch.

The identity that always holds is ``triggered = passed + failed + not inspected + pending``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from inspector.domain.verdict import Cause, Decision, Verdict

#: Triggers of one camera process are numbered from 0; the high 32 bits tell its incarnations apart.
_SEQUENCE_BITS = 32


def trigger_key(incarnation: int, sequence: int) -> int:
    """Identity of a trigger across restarts of the camera process.

    Args:
        incarnation: Number of the camera process in this run, 0 and up, below 2**31.
        sequence: Number of the trigger in that process, 0 and up, below 2**32.

    >>> hex(trigger_key(2, 5))
    '0x200000005'
    """
    if not (0 <= incarnation < 1 << 31 and 0 <= sequence < 1 << _SEQUENCE_BITS):
        raise ValueError(f"incarnation {incarnation} or sequence {sequence} out of range")
    return incarnation << _SEQUENCE_BITS | sequence


def incarnation_of(trigger: int) -> int:
    """The incarnation that `trigger_key` was given."""
    return trigger >> _SEQUENCE_BITS


@dataclass
class OpenPart:
    """A part without a verdict yet.

    Attributes:
        part: Its number in this run, 1 and up.
        trigger: Its `trigger_key`.
        triggered_ns: Monotonic time of the trigger.
        deadline_ns: Monotonic time by which its verdict is due.
        source: Label of the frame.
        worker: Incarnation of the worker that its frame goes to.
    """

    part: int
    trigger: int
    triggered_ns: int
    deadline_ns: int
    source: str
    worker: int


@dataclass(frozen=True)
class Tally:
    """Sums over a run.

    Attributes:
        triggered: Triggers so far.
        passed: Parts that passed.
        failed: Parts that failed.
        not_inspected: Parts that were not inspected.
        pending: Parts without a verdict yet.
    """

    triggered: int
    passed: int
    failed: int
    not_inspected: int
    pending: int

    @property
    def balanced(self) -> bool:
        """True if every trigger is accounted for; anything else is a defect of the program."""
        return self.triggered == self.passed + self.failed + self.not_inspected + self.pending


@dataclass
class Ledger:
    """Open parts, their deadlines and the sums.

    Attributes:
        deadline_ns: Time from trigger to deadline.
        capacity: Parts that may be open at once; one more is settled at once as LEDGER_FULL.
        stray_results: Results for a part that had its verdict already, or that was never triggered.
        duplicate_triggers: Triggers that were announced twice; the second is ignored.
    """

    deadline_ns: int
    capacity: int
    stray_results: int = 0
    duplicate_triggers: int = 0
    _open: dict[int, OpenPart] = field(default_factory=dict)
    _due: list[tuple[int, int]] = field(default_factory=list)
    _next: dict[int, int] = field(default_factory=dict)
    _lost_cameras: set[int] = field(default_factory=set)
    _triggered: int = 0
    _settled: dict[Decision, int] = field(default_factory=lambda: dict.fromkeys(Decision, 0))

    def missed(self, trigger: int) -> range:
        """Keys of the triggers between the last announced one of this incarnation and this one: their
        announcements were lost, their parts were not.
        """
        first = self._next.get(incarnation_of(trigger), trigger_key(incarnation_of(trigger), 0))
        return range(first, trigger)

    def trigger(
        self, trigger: int, triggered_ns: int, now_ns: int, *, source: str = "", worker: int = 0
    ) -> OpenPart | Verdict | None:
        """Opens a part.

        Args:
            trigger: Its `trigger_key`; within an incarnation the keys only grow.
            triggered_ns: When the trigger came; the deadline counts from here.
            now_ns: Present time.
            source: Label of its frame.
            worker: Incarnation of the worker that its frame goes to.

        Returns:
            The open part; a not-inspected verdict when the ledger is full; None for a trigger that was announced
            already.
        """
        incarnation = incarnation_of(trigger)
        if trigger < self._next.get(incarnation, 0):
            self.duplicate_triggers += 1
            return None
        self._next[incarnation] = trigger + 1
        self._triggered += 1
        deadline_ns = triggered_ns + self.deadline_ns
        part = OpenPart(self._triggered, trigger, triggered_ns, deadline_ns, source, worker)
        if len(self._open) >= self.capacity:
            return self._close(part, Decision.NOT_INSPECTED, Cause.LEDGER_FULL, now_ns)
        self._open[trigger] = part
        heapq.heappush(self._due, (part.deadline_ns, trigger))
        return part

    def announced(self, trigger: int) -> bool:
        """True if this trigger, or a later one of its incarnation, came already."""
        return trigger < self._next.get(incarnation_of(trigger), 0)

    def find(self, trigger: int) -> OpenPart | None:
        """The open part of a trigger; None if it has its verdict or was never announced."""
        return self._open.get(trigger)

    def settle(
        self,
        trigger: int,
        decision: Decision,
        cause: Cause,
        now_ns: int,
        *,
        score: float | None = None,
        p_value: float | None = None,
        stages_ns: dict[str, int] | None = None,
    ) -> Verdict | None:
        """Gives an open part its verdict.

        A pass or fail that comes after the deadline becomes not inspected: late is a reject.

        Returns:
            The verdict, or None if the part has one already (counted in `stray_results`).
        """
        part = self._open.pop(trigger, None)
        if part is None:
            self.stray_results += 1
            return None
        if decision is not Decision.NOT_INSPECTED and now_ns > part.deadline_ns:
            decision, cause = Decision.NOT_INSPECTED, Cause.DEADLINE_MISSED
        return self._close(part, decision, cause, now_ns, score, p_value, stages_ns)

    def expire(self, now_ns: int) -> Iterator[Verdict]:
        """Settles every part whose deadline is over: deadline missed, or camera lost if its process died since."""
        while self._due and self._due[0][0] <= now_ns:
            _, trigger = heapq.heappop(self._due)
            part = self._open.get(trigger)
            if part is not None:
                died = incarnation_of(trigger) in self._lost_cameras
                yield self._drop(part, Cause.CAMERA_LOST if died else Cause.DEADLINE_MISSED, now_ns)

    def next_deadline_ns(self) -> int | None:
        """Deadline of the most urgent open part."""
        while self._due and self._due[0][1] not in self._open:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def open_at(self, worker: int) -> bool:
        """True while a part without a verdict is in the hands of a worker."""
        return any(part.worker == worker for part in self._open.values())

    def lose_worker(self, worker: int, now_ns: int) -> list[Verdict]:
        """Settles the parts whose frames went to a worker that is gone."""
        lost = [part for part in self._open.values() if part.worker == worker]
        return [self._drop(part, Cause.WORKER_LOST, now_ns) for part in lost]

    def lose_camera(self, incarnation: int) -> None:
        """Notes that a camera process is gone. Its frames may be with the worker, so its parts stay open until
        their result or their deadline, whichever comes first.
        """
        self._lost_cameras.add(incarnation)

    def settle_all(self, cause: Cause, now_ns: int) -> list[Verdict]:
        """Settles everything that is open as not inspected."""
        return [self._drop(part, cause, now_ns) for part in list(self._open.values())]

    def tally(self) -> Tally:
        """The sums so far."""
        return Tally(
            triggered=self._triggered,
            passed=self._settled[Decision.PASS],
            failed=self._settled[Decision.FAIL],
            not_inspected=self._settled[Decision.NOT_INSPECTED],
            pending=len(self._open),
        )

    def _drop(self, part: OpenPart, cause: Cause, now_ns: int) -> Verdict:
        del self._open[part.trigger]
        return self._close(part, Decision.NOT_INSPECTED, cause, now_ns)

    def _close(
        self,
        part: OpenPart,
        decision: Decision,
        cause: Cause,
        now_ns: int,
        score: float | None = None,
        p_value: float | None = None,
        stages_ns: dict[str, int] | None = None,
    ) -> Verdict:
        self._settled[decision] += 1
        return Verdict(
            part=part.part,
            trigger=part.trigger,
            decision=decision,
            cause=cause,
            score=score,
            p_value=p_value,
            triggered_ns=part.triggered_ns,
            decided_ns=now_ns,
            deadline_ns=part.deadline_ns,
            source=part.source,
            stages_ns=stages_ns or {},
        )
