"""The gate: the main process. It turns the lines of a station, and answers to systemd and to people; no torch here."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zmq

from inspector.domain.errors import FatalError
from inspector.domain.ledger import Tally
from inspector.outputs.metrics import PartMetrics
from inspector.outputs.publisher import Publisher
from inspector.outputs.service_manager import ServiceManager
from inspector.outputs.verdict_log import VerdictLog
from inspector.roles.control_desk import ControlDesk
from inspector.roles.desks import LinesOwn, PartDesk
from inspector.roles.line import Line
from inspector.roles.reload_desk import ReloadDesk

#: Longest wait for a message, so that children are watched and the heartbeat goes out.
_TURN_MS = 20
_HEARTBEAT_NS = 1_000_000_000
_HOUSEKEEPING_NS = 100_000_000


class Gate:
    """One station's loop.

    Args:
        station: Its name.
        lines: Its lines: one, or one for each view.
        publisher: Where heartbeats go.
        verdict_log: Whose losses are shown.
        metrics: Of the station; with one line, that line's.
        service_manager: Told how the station stands.
        run_id: Label of this run on the records.
        stop_timeout_s: Time from a stop signal to the end.
        parts: Brings the views together; None for a station with one line.
        control: Requests of people; None takes none.
        reload_desk: Reads the configuration anew; None can't.
        clock_ns: Monotonic clock.

    Attributes:
        stopping: Set by a signal handler; the loop does the rest.
        reloading: The same, to read the configuration anew and to open the log anew.
        lines: The same.
    """

    def __init__(
        self,
        station: str,
        lines: Sequence[Line],
        publisher: Publisher,
        verdict_log: VerdictLog,
        metrics: PartMetrics,
        service_manager: ServiceManager,
        *,
        run_id: str,
        stop_timeout_s: float,
        parts: PartDesk | None = None,
        control: ControlDesk | None = None,
        reload_desk: ReloadDesk | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.stopping = False
        self.reloading = False
        self.lines = tuple(lines)
        self._station = station
        self._publisher = publisher
        self._verdict_log = verdict_log
        self._metrics = metrics
        self._service_manager = service_manager
        self._run_id = run_id
        self._stop_timeout_s = stop_timeout_s
        self._parts = parts or LinesOwn(self.lines[0].tally)
        self._control = control
        self._reload_desk = reload_desk
        self._clock_ns = clock_ns
        self._serving = False
        self._heartbeat_ns = 0
        self._housekept_ns = 0

    def tally(self) -> Tally:
        """The sums over parts."""
        return self._parts.tally()

    @property
    def serving(self) -> bool:
        """True once every line has been armed for the first time."""
        return self._serving

    def run(self) -> Tally:
        """Runs the station until a signal, the end of its sources, or an error.

        Returns:
            The final sums; nothing is pending.

        Raises:
            FatalError: A child can't be kept alive.
        """
        for line in self.lines:
            line.start()
        poller = zmq.Poller()
        for line in self.lines:
            poller.register(line.socket, zmq.POLLIN)
        if self._control is not None:
            poller.register(self._control.fileno(), zmq.POLLIN)
        gc.collect()
        gc.freeze()
        try:
            while not self.stopping and not self._finished():
                poller.poll(self._patience_ms())
                self.turn()
            self._drain(poller)
        finally:
            self._close()
        return self.tally()

    def turn(self) -> None:
        """Each line once, then people, then what is due now and then.

        Raises:
            FatalError: A child can't be kept alive.
        """
        for line in self.lines:
            line.turn()
        self._parts.expire()
        if self._control is not None:
            self._control.serve(self)
        if self.reloading:
            self.reloading = False
            self._follow_signal()
        if not self.stopping:
            self._arm()
        now_ns = self._clock_ns()
        if now_ns - self._housekept_ns >= _HOUSEKEEPING_NS:
            self._housekept_ns = now_ns
            self._show()
        if now_ns - self._heartbeat_ns >= _HEARTBEAT_NS:
            self._heartbeat(now_ns, self._state())

    def pause(self) -> None:
        """Wants no more triggers until `resume`; what is open gets its verdicts."""
        for line in self.lines:
            line.pause()

    def resume(self) -> None:
        """Wants triggers again."""
        for line in self.lines:
            line.resume()

    def activate(self, folder: Path, who: str, why: str, view: str | None = None) -> None:
        """Begins to take up another recipe; the line goes on meanwhile.

        Raises:
            FatalError: It can't be begun now.
        """
        if self.stopping:
            raise FatalError("the daemon is about to stop")
        self._line_of(view).activate(folder, who, why)

    def rollback(self, who: str, why: str, view: str | None = None) -> None:
        """Begins to take up the recipe that was in use before.

        Raises:
            FatalError: There was none, or it can't be begun now.
        """
        self._line_of(view).rollback(who, why)

    def reload(self, who: str, why: str) -> None:
        """Takes up what has changed in the configuration's file.

        Raises:
            FatalError: Something of it can't be taken up now; the station goes on as it was.
        """
        if self._reload_desk is None:
            raise FatalError("this station has no configuration file to read again")
        self._reload_desk.reload(self.lines, who, why, paused=self._at_rest())

    def _follow_signal(self) -> None:
        if self._serving:
            self._service_manager.notify("RELOADING=1")
        self._verdict_log.reopen()
        if self._reload_desk is not None:
            self._reload_desk.try_to_reload(self.lines, "SIGHUP", paused=self._at_rest())
        if self._serving:
            self._service_manager.notify("READY=1")

    def _at_rest(self) -> bool:
        return self._state() == "paused" and all(line.tally().pending == 0 for line in self.lines)

    def status(self) -> dict[str, Any]:
        """How the station stands, for people and for JSON; of its views each as a station of its own."""
        if len(self.lines) == 1:
            return self.lines[0].status()
        return {
            "station": self._station,
            "state": self._state(),
            **_sums(self._parts.tally()),
            "views": [line.status() for line in self.lines],
        }

    def _line_of(self, view: str | None) -> Line:
        names = [line.name for line in self.lines]
        sole = len(self.lines) == 1
        if view is None and sole:
            return self.lines[0]
        name = f"{self._station}.{view}"
        if view is None or name not in names:
            views = ", ".join(name.removeprefix(f"{self._station}.") for name in names)
            said = f"there is no view {view}" if view is not None else "each view has a recipe of its own"
            raise FatalError(f"{said}; omit --view" if sole else f"{said}; say which with --view: {views}")
        return self.lines[names.index(name)]

    def _patience_ms(self) -> int:
        deadlines = [self._parts.next_deadline_ns(), *(line.next_deadline_ns() for line in self.lines)]
        due = [deadline_ns for deadline_ns in deadlines if deadline_ns is not None]
        if not due:
            return _TURN_MS
        return max(0, min(_TURN_MS, -((self._clock_ns() - min(due)) // 1_000_000)))

    def _finished(self) -> bool:
        return all(line.finished for line in self.lines) and self.tally().pending == 0

    def _drain(self, poller: zmq.Poller) -> None:
        """After a stop signal: no more triggers, and half of the stop time for what is open."""
        for line in self.lines:
            line.disarm()
        until_ns = self._clock_ns() + round(self._stop_timeout_s * 0.5e9)
        while any(line.tally().pending for line in self.lines) and self._clock_ns() < until_ns:
            poller.poll(self._patience_ms())
            for line in self.lines:
                line.settle_due()
            self._parts.expire()

    def _close(self) -> None:
        self._service_manager.notify("STOPPING=1")
        for line in self.lines:
            line.close()
        share_ns = round(self._stop_timeout_s * 0.25e9)
        until_ns = self._clock_ns() + 2 * share_ns
        for line in self.lines:
            line.finish(until_ns)
        for line in self.lines:
            line.finish_beside(until_ns + share_ns)
        self._parts.close()
        self._show()
        self._heartbeat(self._clock_ns(), "stopped")

    def _arm(self) -> None:
        """No part is asked for before every line can judge its view of it."""
        if not self._serving and not all(line.prepared for line in self.lines):
            return
        for line in self.lines:
            line.arm()
        if not self._serving and all(line.serving for line in self.lines):
            self._serving = True
            self._service_manager.notify("READY=1")

    def _state(self) -> str:
        states = [line.state for line in self.lines]
        return "starting" if "starting" in states else states[0]

    def _show(self) -> None:
        for line in self.lines:
            line.show()
        self._parts.show()
        self._metrics.total(self._metrics.log_dropped, self._verdict_log.dropped)

    def _heartbeat(self, now_ns: int, state: str) -> None:
        self._heartbeat_ns = now_ns
        self._publisher.publish(
            "heartbeat",
            {
                "run": self._run_id,
                "station": self._station,
                "state": state,
                "monotonic_ns": now_ns,
                **_sums(self.tally()),
                "camera_ready": all(line.camera.ready for line in self.lines),
                "worker_ready": all(line.worker.ready for line in self.lines),
                "recipe_hash": self.lines[0].recipes.active.recipe.content_hash,
            },
        )
        # Fed only by the loop that settles parts, and only while workers can judge them.
        if not self._serving or all(line.worker.ready for line in self.lines):
            self._service_manager.notify("WATCHDOG=1")


def _sums(tally: Tally) -> dict[str, int]:
    return {
        "triggered": tally.triggered,
        "pass": tally.passed,
        "fail": tally.failed,
        "not_inspected": tally.not_inspected,
        "pending": tally.pending,
    }
