"""One verdict for a part that several cameras look at. Pure: no clock, no I/O.

Each view has a ledger of its own (`inspector.domain.ledger`), in which every trigger gets one verdict. Here the views'
triggers are brought together by their time, never by counting: a trigger that one camera missed can't shift later
views onto the wrong part. A part passes if all of its views have passed; a view that never came is a reject.

A camera that finds by its next frame that one is missing knows the time of that trigger only as between its last frame
and this one. Such a trigger belongs to the part in that time that lacks this view; if no view has seen one, it is a
part that nobody saw, and gets its verdict too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inspector.domain.ledger import Tally
from inspector.domain.verdict import Cause, Decision, Verdict

#: Longer than any run, in nanoseconds.
_EVER_NS = 1 << 62
#: Settled parts that lacked a view, kept for a camera that finds the gap later.
_REMEMBERED = 100


@dataclass(frozen=True)
class PartVerdict:
    """The one judgement of a part over all of its views.

    Attributes:
        part: Number of the part in this run of the station, 1 and up.
        decision: Pass if every view has passed; fail if one has failed; else not inspected.
        cause: That of the view that decided.
        view: The view that decided; None for a pass.
        triggered_ns: Monotonic time of the part's trigger, seen from the first camera.
        decided_ns: Monotonic time of the verdict.
        deadline_ns: Monotonic time by which it was due.
        views: The views' records, by name; None for a view that never came.
    """

    part: int
    decision: Decision
    cause: Cause
    view: str | None
    triggered_ns: int
    decided_ns: int
    deadline_ns: int
    views: Mapping[str, dict[str, Any] | None]

    @property
    def whole_ns(self) -> int:
        """Nanoseconds from the trigger to the verdict."""
        return self.decided_ns - self.triggered_ns

    def as_record(self) -> dict[str, Any]:
        """The verdict as a JSON-ready dict."""
        return {
            "part": self.part,
            "decision": self.decision.value,
            "cause": self.cause.value,
            "view": self.view,
            "triggered_ns": self.triggered_ns,
            "decided_ns": self.decided_ns,
            "deadline_ns": self.deadline_ns,
            "whole_ms": round(self.whole_ns / 1e6, 4),
            "views": dict(self.views),
        }


@dataclass
class _Part:
    part: int
    triggered_ns: int
    keys: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, tuple[Verdict, dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Gap:
    """A trigger without a frame: when it can have been, seen from the first camera, and its key."""

    after_ns: int
    before_ns: int
    key: int


@dataclass
class PartLedger:
    """Parts whose views are not all judged.

    Attributes:
        delays_ns: For each view, how much later than the first camera it sees a part.
        together_ns: Triggers of a part, less their view's delay, lie at most so far from the first of them.
        deadline_ns: Time from a view's trigger to its deadline.
        capacity: Parts that may be open at once; one more settles the oldest as LEDGER_FULL.
        stray_views: Verdicts of views whose part had its own already.
    """

    delays_ns: Mapping[str, int]
    together_ns: int
    deadline_ns: int
    capacity: int
    stray_views: int = 0
    _open: dict[int, _Part] = field(default_factory=dict)
    _gaps: dict[str, list[_Gap]] = field(default_factory=dict)
    _lacking: dict[str, list[int]] = field(default_factory=dict)
    _last_ns: dict[str, int] = field(default_factory=dict)
    _part_of: dict[tuple[str, int], int] = field(default_factory=dict)
    _triggered: int = 0
    _settled: dict[Decision, int] = field(default_factory=lambda: dict.fromkeys(Decision, 0))

    def trigger(self, view: str, key: int, triggered_ns: int, now_ns: int) -> list[PartVerdict]:
        """A view's trigger: of the nearest open part that lacks this view, or of a new one.

        Returns:
            The oldest part's verdict if too many are open; else nothing.
        """
        at_ns = self._last_ns[view] = triggered_ns - self.delays_ns[view]
        near = [
            part
            for part in self._open.values()
            if view not in part.keys and abs(part.triggered_ns - at_ns) <= self.together_ns
        ]
        given: list[PartVerdict] = []
        if near:
            part = min(near, key=lambda part: abs(part.triggered_ns - at_ns))
        else:
            if len(self._open) >= self.capacity:
                given.append(self._close(next(iter(self._open.values())), Cause.LEDGER_FULL, now_ns))
            part = self._opened(at_ns)
        self._assign(part, view, key)
        return given

    def missing(self, view: str, key: int, found_ns: int) -> None:
        """A view's trigger whose frame never came.

        Args:
            view: Name of the view.
            key: The trigger's.
            found_ns: Monotonic time at which that was found: no later than the next trigger.
        """
        gap = _Gap(self._last_ns.get(view, -_EVER_NS), found_ns - self.delays_ns[view], key)
        settled = self._lacking.get(view, [])
        for at_ns in settled:
            if self._fits(gap, at_ns):
                settled.remove(at_ns)
                return
        for part in self._open.values():
            if view not in part.keys and self._fits(gap, part.triggered_ns):
                self._assign(part, view, key)
                return
        self._gaps.setdefault(view, []).append(gap)

    def settle(self, view: str, verdict: Verdict, record: dict[str, Any], now_ns: int) -> PartVerdict | None:
        """A view's verdict.

        Args:
            view: Name of the view.
            verdict: Its verdict.
            record: What is published of it.
            now_ns: Monotonic time.

        Returns:
            The part's verdict if this was its last view.
        """
        number = self._part_of.pop((view, verdict.trigger), None)
        part = None if number is None else self._open.get(number)
        if part is None:  # the part was settled before, or its trigger has no time, and then no part yet
            self.stray_views += verdict.cause is not Cause.FRAME_MISSING
            return None
        part.verdicts[view] = verdict, record
        return self._close(part, Cause.VIEW_MISSING, now_ns) if len(part.verdicts) == len(self.delays_ns) else None

    def expire(self, now_ns: int) -> list[PartVerdict]:
        """Settles the parts whose last view should have come and been judged by now."""
        due = [part for part in self._open.values() if self._due_ns(part.triggered_ns) <= now_ns]
        given = [self._close(part, Cause.VIEW_MISSING, now_ns) for part in due]
        return given + self._unseen(now_ns)

    def settle_all(self, cause: Cause, now_ns: int) -> list[PartVerdict]:
        """Settles everything that is open."""
        given = [self._close(part, cause, now_ns) for part in list(self._open.values())]
        return given + self._unseen(now_ns, all_of_them=True)

    def next_deadline_ns(self) -> int | None:
        """When the next part is due."""
        return min((self._due_ns(part.triggered_ns) for part in self._open.values()), default=None)

    def tally(self) -> Tally:
        """The sums so far."""
        return Tally(
            triggered=self._triggered,
            passed=self._settled[Decision.PASS],
            failed=self._settled[Decision.FAIL],
            not_inspected=self._settled[Decision.NOT_INSPECTED],
            pending=len(self._open),
        )

    def _opened(self, at_ns: int) -> _Part:
        """A new part, with the triggers without a frame that belong to it."""
        self._triggered += 1
        part = self._open[self._triggered] = _Part(self._triggered, at_ns)
        for view, gaps in self._gaps.items():
            fitting = next((gap for gap in gaps if self._fits(gap, at_ns)), None)
            if fitting is not None:
                gaps.remove(fitting)
                part.keys[view] = fitting.key  # its verdict was given before
        return part

    def _assign(self, part: _Part, view: str, key: int) -> None:
        part.keys[view] = key
        self._part_of[view, key] = part.part

    def _fits(self, gap: _Gap, at_ns: int) -> bool:
        """True if a part of this time can be the one: the camera's frames before and after are of other parts."""
        return gap.after_ns + self.together_ns < at_ns < gap.before_ns - self.together_ns

    def _unseen(self, now_ns: int, *, all_of_them: bool = False) -> list[PartVerdict]:
        """Parts that no view has seen: triggers without a frame, of which no view's frame has told in time."""
        given = []
        while old := [
            gap for gaps in self._gaps.values() for gap in gaps if all_of_them or self._due_ns(gap.before_ns) <= now_ns
        ]:
            first = min(old, key=lambda gap: gap.before_ns)
            for gaps in self._gaps.values():
                same = next((g for g in gaps if g.after_ns < first.before_ns and first.after_ns < g.before_ns), None)
                if same is not None:
                    gaps.remove(same)
            self._triggered += 1
            part = self._open[self._triggered] = _Part(self._triggered, first.before_ns)
            given.append(self._close(part, Cause.FRAME_MISSING, now_ns))
        return given

    def _due_ns(self, at_ns: int) -> int:
        return at_ns + max(self.delays_ns.values()) + self.together_ns + self.deadline_ns

    def _close(self, part: _Part, missing: Cause, now_ns: int) -> PartVerdict:
        del self._open[part.part]
        for view, key in part.keys.items():
            self._part_of.pop((view, key), None)
        if part.keys:
            for view in self.delays_ns:
                if view not in part.keys:  # if its camera finds the gap later, it is this one
                    self._lacking[view] = [*self._lacking.get(view, []), part.triggered_ns][-_REMEMBERED:]
        decision, cause, decided_by = self._decide(part, missing)
        self._settled[decision] += 1
        return PartVerdict(
            part=part.part,
            decision=decision,
            cause=cause,
            view=decided_by,
            triggered_ns=part.triggered_ns,
            decided_ns=now_ns,
            deadline_ns=self._due_ns(part.triggered_ns),
            views={view: part.verdicts[view][1] if view in part.verdicts else None for view in self.delays_ns},
        )

    def _decide(self, part: _Part, missing: Cause) -> tuple[Decision, Cause, str | None]:
        """A defect that was seen says more than a view that was not."""
        for decision in (Decision.FAIL, Decision.NOT_INSPECTED):
            for view, (verdict, _record) in part.verdicts.items():
                if verdict.decision is decision:
                    return decision, verdict.cause, view
        for view in self.delays_ns:
            if view not in part.verdicts:
                return Decision.NOT_INSPECTED, missing, view
        return Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, None
