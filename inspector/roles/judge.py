"""The parts of a line: from what its processes say to one verdict for each trigger; no torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from inspector.domain.ledger import Ledger, OpenPart
from inspector.domain.threshold import conformal_p_value, decide
from inspector.domain.verdict import Cause, Decision, Verdict
from inspector.outputs.metrics import LineMetrics
from inspector.roles.active_recipe import ActiveRecipe
from inspector.wire.messages import Refused, Result, Trigger

#: Told every verdict with its record, after it was published.
Follower = Callable[[Verdict, dict[str, Any]], None]


class Desk(Protocol):
    """Where a line's verdicts go out."""

    def triggered(self, trigger: int, triggered_ns: int) -> None:
        """A part was announced."""

    def missing(self, trigger: int, found_ns: int) -> None:
        """A trigger without a frame was found out by the next one; it was some time before."""

    def settled(self, verdict: Verdict, record: dict[str, Any]) -> None:
        """A part has its verdict; publishes it, writes it down and adds the wall time to the record."""


class Recipes(Protocol):
    """Which recipes may judge."""

    active: ActiveRecipe

    def judge_of(self, recipe_hash: bytes) -> ActiveRecipe | None:
        """The recipe that a result was computed with, if it may judge."""


class Judge:
    """Keeps the ledger, and gives the verdicts.

    Args:
        ledger: Of the line.
        recipes: Which may judge.
        desk: Where verdicts go out.
        metrics: The line's; its station's name stands on the records.
        at_work: True while the worker of this number lives.

    Attributes:
        ledger: The same.
        followers: Told every verdict after the desk.
        closing: Set when the line stops: parts that come now are nobody's fault.
    """

    def __init__(
        self,
        ledger: Ledger,
        recipes: Recipes,
        desk: Desk,
        metrics: LineMetrics,
        at_work: Callable[[int], bool],
    ) -> None:
        self.ledger = ledger
        self.followers: list[Follower] = []
        self.closing = False
        self._recipes = recipes
        self._desk = desk
        self._metrics = metrics
        self._at_work = at_work
        self._early: dict[int, Result] = {}

    def triggered(self, message: Trigger, now_ns: int) -> None:
        """A part was announced, and with it those whose announcements were lost."""
        for missed in self.ledger.missed(message.trigger):
            self.ledger.trigger(missed, message.triggered_ns, now_ns)
            self._count_trigger()
            self._desk.missing(missed, message.triggered_ns)
            self._settle_one(missed, Decision.NOT_INSPECTED, Cause.FRAME_MISSING, now_ns)
        opened = self.ledger.trigger(
            message.trigger, message.triggered_ns, now_ns, source=message.source, worker=message.worker
        )
        if opened is None:
            return
        self._count_trigger()
        if message.refusal is Cause.FRAME_MISSING:
            self._desk.missing(message.trigger, message.triggered_ns)
        else:
            self._desk.triggered(message.trigger, message.triggered_ns)
        early = self._early.pop(message.trigger, None)
        if isinstance(opened, Verdict):
            self._settle([opened])
            return
        self._count_frame("refused" if message.refusal else "sent")
        if message.refusal is not None:
            self._settle_one(message.trigger, Decision.NOT_INSPECTED, message.refusal, now_ns)
        elif early is not None:
            self.judge(early, now_ns)
        elif not self._at_work(message.worker):
            # Sent to a worker that died, or was told to stop, while the frame was on its way.
            cause = Cause.SHUTDOWN if self.closing else Cause.WORKER_LOST
            self._settle_one(message.trigger, Decision.NOT_INSPECTED, cause, now_ns)

    def judge(self, result: Result, now_ns: int) -> None:
        """A worker has said something of a frame."""
        if not self.ledger.announced(result.trigger):
            self._keep(result)
            return
        part = self.ledger.find(result.trigger)
        if result.problem is not None:
            self._settle_one(result.trigger, Decision.NOT_INSPECTED, result.problem, now_ns)
            return
        by = self._recipes.judge_of(result.recipe)
        if by is None:
            self._settle_one(result.trigger, Decision.NOT_INSPECTED, Cause.RECIPE_MISMATCH, now_ns)
            return
        decision, cause = decide(result.score, by.threshold)
        scored = decision is not Decision.NOT_INSPECTED
        verdict = self.ledger.settle(
            result.trigger,
            decision,
            cause,
            now_ns,
            score=result.score if scored else None,
            p_value=conformal_p_value(result.score, by.scores) if scored else None,
            stages_ns=_stages(part, result, now_ns) if part is not None else None,
        )
        if verdict is not None:
            self._settle([verdict], by)
            if verdict.decision is Decision.PASS:
                by.passed(result.score)

    def refused(self, message: Refused, now_ns: int) -> None:
        """A frame that was announced could not be sent after all."""
        self._count_frame("refused")
        self._settle_one(message.trigger, Decision.NOT_INSPECTED, message.cause, now_ns)

    def expire(self, now_ns: int) -> None:
        """Settles the parts whose deadline is over."""
        self._settle(self.ledger.expire(now_ns))

    def lose_worker(self, worker: int, now_ns: int) -> None:
        """Settles the parts whose frames went to a worker that is gone."""
        self._settle(self.ledger.lose_worker(worker, now_ns))

    def settle_all(self, now_ns: int) -> None:
        """Settles everything that is open: the line stops."""
        self._settle(self.ledger.settle_all(Cause.SHUTDOWN, now_ns))

    def _keep(self, result: Result) -> None:
        """Until its trigger is announced: the camera process has a connection of its own, and a fast worker's result
        may overtake it.
        """
        self._early[result.trigger] = result
        if len(self._early) > self.ledger.capacity:
            del self._early[next(iter(self._early))]
            self.ledger.stray_results += 1

    def _settle_one(self, trigger: int, decision: Decision, cause: Cause, now_ns: int) -> None:
        verdict = self.ledger.settle(trigger, decision, cause, now_ns)
        if verdict is not None:
            self._settle([verdict])

    def _settle(self, verdicts: Iterable[Verdict], by: ActiveRecipe | None = None) -> None:
        """The one way out for verdicts: the desk first, then followers and metrics."""
        by = by or self._recipes.active
        for verdict in verdicts:
            record = {"station": self._metrics.station, **verdict.as_record(), **by.on_record()}
            self._desk.settled(verdict, record)
            for follow in self.followers:
                follow(verdict, record)
            self._metrics.verdict(verdict, by.threshold.value)

    def _count_trigger(self) -> None:
        self._metrics.triggers.labels(self._metrics.station).inc()

    def _count_frame(self, outcome: str) -> None:
        self._metrics.frames.labels(self._metrics.station, outcome).inc()


def _stages(part: OpenPart, result: Result, now_ns: int) -> dict[str, int]:
    """Durations by stage in nanoseconds; together they are the whole."""
    return {
        "capture": result.captured_ns - part.triggered_ns,
        "queue": result.received_ns - result.captured_ns,
        "copy": result.copied_ns - result.received_ns,
        "compute": result.computed_ns - result.copied_ns,
        "verdict": now_ns - result.computed_ns,
    }
