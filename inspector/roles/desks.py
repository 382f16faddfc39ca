"""Where verdicts go out: to subscribers first, then to the log and whoever watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from inspector.domain.ledger import Tally
from inspector.domain.verdict import Cause, Verdict
from inspector.domain.views import PartLedger, PartVerdict
from inspector.outputs.metrics import PartMetrics
from inspector.outputs.publisher import Publisher
from inspector.outputs.verdict_log import VerdictLog

#: Told every verdict of a line, after it was published.
Watcher = Callable[[Verdict], None]


class VerdictDesk:
    """For a station with one camera: its line's verdicts are the parts'.

    Args:
        publisher: ZeroMQ; topic "verdict".
        verdict_log: JSON lines.
        run_id: Label of this run on the records.
        watcher: Told every verdict.
    """

    def __init__(self, publisher: Publisher, verdict_log: VerdictLog, run_id: str, watcher: Watcher) -> None:
        self._publisher = publisher
        self._verdict_log = verdict_log
        self._run_id = run_id
        self._watcher = watcher

    def triggered(self, trigger: int, triggered_ns: int) -> None:
        """As `inspector.roles.judge.Desk.triggered`; the line's ledger knows all there is to know."""

    def missing(self, trigger: int, found_ns: int) -> None:
        """As `inspector.roles.judge.Desk.missing`; the line's ledger knows all there is to know."""

    def settled(self, verdict: Verdict, record: dict[str, Any]) -> None:
        """As `inspector.roles.judge.Desk.settled`."""
        record["run"] = self._run_id
        self._publisher.publish("verdict", record)
        record["time"] = time.time()
        self._verdict_log.append(record)
        self._watcher(verdict)


class PartDesk:
    """For a station with several views: verdicts of views under the topic "view", those of parts under "verdict".

    The log has one record for each part, with those of its views in it.

    Args:
        ledger: Brings the views together.
        publisher: ZeroMQ.
        verdict_log: JSON lines.
        metrics: Of the parts; their station's name.
        run_id: Label of this run on the records.
        watcher: Told every verdict of a view.
        clock_ns: Monotonic clock.
    """

    def __init__(
        self,
        ledger: PartLedger,
        publisher: Publisher,
        verdict_log: VerdictLog,
        metrics: PartMetrics,
        run_id: str,
        watcher: Watcher,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._verdict_log = verdict_log
        self._metrics = metrics
        self._run_id = run_id
        self._watcher = watcher
        self._clock_ns = clock_ns

    def view(self, name: str) -> ViewDesk:
        """The desk of a view's line."""
        return ViewDesk(name, self)

    def triggered(self, view: str, trigger: int, triggered_ns: int) -> None:
        """A view's camera announced a part."""
        self._give(self._ledger.trigger(view, trigger, triggered_ns, self._clock_ns()))
        self._count()

    def missing(self, view: str, trigger: int, found_ns: int) -> None:
        """A view's camera found that it has no frame of an earlier trigger."""
        self._ledger.missing(view, trigger, found_ns)

    def settled(self, view: str, verdict: Verdict, record: dict[str, Any]) -> None:
        """A view has its verdict."""
        record["run"], record["view"] = self._run_id, view
        self._publisher.publish("view", record)
        record["time"] = time.time()
        self._watcher(verdict)
        whole = self._ledger.settle(view, verdict, record, self._clock_ns())
        if whole is not None:
            self._give([whole])

    def expire(self) -> None:
        """Settles the parts that are due."""
        self._give(self._ledger.expire(self._clock_ns()))
        self._count()

    def next_deadline_ns(self) -> int | None:
        """When the next part is due."""
        return self._ledger.next_deadline_ns()

    def close(self) -> None:
        """Settles what is open: the daemon stops."""
        self._give(self._ledger.settle_all(Cause.SHUTDOWN, self._clock_ns()))

    def show(self) -> None:
        """Puts the sums into the metrics."""
        self._metrics.sums(self._ledger.tally(), time.time())
        self._metrics.total(self._metrics.stray_results, self._ledger.stray_views)

    def tally(self) -> Tally:
        """The sums of the parts."""
        return self._ledger.tally()

    def _count(self) -> None:
        self._metrics.total(self._metrics.triggers, self._ledger.tally().triggered)

    def _give(self, verdicts: Iterable[PartVerdict]) -> None:
        for verdict in verdicts:
            record = {"run": self._run_id, "station": self._metrics.station, **verdict.as_record()}
            self._publisher.publish("verdict", record)
            record["time"] = time.time()
            self._verdict_log.append(record)
            self._metrics.counted(verdict.decision, verdict.cause, verdict.whole_ns)


class ViewDesk:
    """A view's share of a `PartDesk`, as its line sees it.

    Args:
        view: Name of the view.
        parts: The desk of all views.
    """

    def __init__(self, view: str, parts: PartDesk) -> None:
        self._view = view
        self._parts = parts

    def triggered(self, trigger: int, triggered_ns: int) -> None:
        """As `inspector.roles.judge.Desk.triggered`."""
        self._parts.triggered(self._view, trigger, triggered_ns)

    def missing(self, trigger: int, found_ns: int) -> None:
        """As `inspector.roles.judge.Desk.missing`."""
        self._parts.missing(self._view, trigger, found_ns)

    def settled(self, verdict: Verdict, record: dict[str, Any]) -> None:
        """As `inspector.roles.judge.Desk.settled`."""
        self._parts.settled(self._view, verdict, record)


class LinesOwn:
    """To a station with one line, in the place of a `PartDesk`: the line's parts are the station's, and it does all.

    Args:
        tally: The line's sums.
    """

    def __init__(self, tally: Callable[[], Tally]) -> None:
        self._tally = tally

    def expire(self) -> None:
        """Nothing: the line settles what is due."""

    def next_deadline_ns(self) -> int | None:
        """None: the line has its own."""
        return None

    def close(self) -> None:
        """Nothing: the line settles what is open."""

    def show(self) -> None:
        """Nothing: the line shows its sums."""

    def tally(self) -> Tally:
        """The line's sums."""
        return self._tally()
