"""The gate: the main process. It owns the ledger, the deadlines, the verdicts and the children; no torch here."""

from __future__ import annotations

import gc
import itertools
import logging
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from inspector.config.schema import InspectorConfig
from inspector.domain.errors import FatalError
from inspector.domain.ledger import Ledger, OpenPart, Tally
from inspector.domain.restarts import LossRetry, RestartBudget
from inspector.domain.threshold import conformal_p_value, decide
from inspector.domain.verdict import Cause, Decision, Verdict
from inspector.outputs.audit_log import AuditLog
from inspector.outputs.metrics import LineMetrics
from inspector.outputs.publisher import Publisher
from inspector.outputs.service_manager import ServiceManager
from inspector.outputs.verdict_log import VerdictLog
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles.active_recipe import ActiveRecipe, recipe_labels
from inspector.roles.archive_link import ArchiveLink
from inspector.roles.child import Child
from inspector.roles.control_desk import ControlDesk
from inspector.roles.job import Job
from inspector.roles.recipe_desk import RecipeDesk
from inspector.wire.archive_socket import ArchiveOutbox
from inspector.wire.endpoints import RuntimeFolder
from inspector.wire.gate_socket import GateInbox
from inspector.wire.messages import GateMessage, Refused, Result, State, Trigger
from inspector.wire.ring import RingHandle

log = logging.getLogger("inspector")

#: Longest wait for a message, so that children are watched and the heartbeat goes out.
_TURN_MS = 20
#: Messages taken in one turn, so that a flood never starves the deadlines.
_MESSAGES = 256
#: Where a process is gone, everything that it said before.
_ALL = 1_000_000
_HEARTBEAT_NS = 1_000_000_000
#: Deaths of the archive process that lie longer ago no longer lengthen the pause before its next start.
_ARCHIVE_WINDOW_NS = 600_000_000_000
#: It shares what processor time the others leave.
_ARCHIVE_HEARTBEAT_S = 60.0
_HOUSEKEEPING_NS = 100_000_000

#: Told every verdict, after it was published.
Watcher = Callable[[Verdict], None]


@dataclass
class Outputs:
    """Where the gate's decisions go.

    Attributes:
        publisher: ZeroMQ.
        verdict_log: JSON lines.
        metrics: Prometheus.
        service_manager: systemd.
    """

    publisher: Publisher
    verdict_log: VerdictLog
    metrics: LineMetrics
    service_manager: ServiceManager


class Gate:
    """One station's loop.

    Args:
        config: The configuration.
        recipe: Its recipe, content hash checked.
        folder: Locked runtime folder.
        inbox: Messages of the children.
        outputs: Where decisions go.
        run_id: Label of this run on the records.
        ring: Shared memory for frames, handed to the children; None sends frames as messages.
        archive: Where verdicts for the archive go; None keeps none.
        control: Requests of people; None takes none.
        admit: Opens a recipe of this station, or raises.
        watcher: Told every verdict.
        clock_ns: Monotonic clock.

    Attributes:
        stopping: Set by a signal handler; the loop does the rest.
        camera: The camera process.
        worker: The worker process.
    """

    def __init__(
        self,
        config: InspectorConfig,
        recipe: Recipe,
        folder: RuntimeFolder,
        inbox: GateInbox,
        outputs: Outputs,
        *,
        run_id: str,
        ring: RingHandle | None = None,
        archive: ArchiveOutbox | None = None,
        control: ControlDesk | None = None,
        admit: Callable[[Path], Recipe] = load_recipe,
        watcher: Watcher = lambda verdict: None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.stopping = False
        self._config = config
        audit = AuditLog(None) if control is None else control.audit
        self.recipes = RecipeDesk(recipe, config.recipe, audit, admit, self._worker)
        self._numbers = itertools.count(1)
        self._folder = folder
        self._ring = ring
        self._inbox = inbox
        self._outputs = outputs
        self._run_id = run_id
        self._watcher = watcher
        self._clock_ns = clock_ns
        self._ledger = Ledger(round(config.line.deadline_ms * 1e6), config.line.open_parts)
        self._memory = folder.path / "camera"
        self.camera = self._child("camera")
        self.worker = self._worker(recipe)
        self._archive: ArchiveLink | None = None
        if config.archive is not None and archive is not None:
            child = self._archive_child()
            self._archive = ArchiveLink(config.archive, child, archive, outputs.metrics, config.station)
        self._control = control
        self._paused = False
        self._early: dict[int, Result] = {}
        self._armed = False
        self._served = False
        self._ended = False
        self._closing = False
        self._heartbeat_ns = 0
        self._housekept_ns = 0

    def tally(self) -> Tally:
        """The sums of the ledger."""
        return self._ledger.tally()

    @property
    def serving(self) -> bool:
        """True once the line has been armed for the first time."""
        return self._served

    def run(self) -> Tally:
        """Runs the line until a signal, the end of the source, or an error.

        Returns:
            The final sums; nothing is pending.

        Raises:
            FatalError: A child can't be kept alive.
        """
        supervision = self._config.supervision
        shutil.rmtree(self._memory, ignore_errors=True)  # of the last run
        self._memory.mkdir()
        for child in (self.worker, self.camera):
            child.start(self._clock_ns())
        if self._archive is not None:
            self._archive.start(self._clock_ns())
        poller = zmq.Poller()
        poller.register(self._inbox.socket, zmq.POLLIN)
        if self._control is not None:
            poller.register(self._control.fileno(), zmq.POLLIN)
        gc.collect()
        gc.freeze()
        try:
            while not self.stopping and not self._finished():
                poller.poll(self._patience_ms())
                self._turn()
            self._drain(poller, supervision.stop_timeout_s)
        finally:
            self._closing = True
            self._outputs.service_manager.notify("STOPPING=1")
            self._settle(self._ledger.settle_all(Cause.SHUTDOWN, self._clock_ns()))
            share = max(0.5, supervision.stop_timeout_s / 4)
            children = (self.camera, *self._workers())
            for child in children:
                child.tell("stop")
            for child in children:
                child.finish(share)
            self._take_messages(_ALL)
            self._settle(self._ledger.settle_all(Cause.SHUTDOWN, self._clock_ns()))
            if self._archive is not None:  # last: it waits for the verdicts of its frames
                self._archive.finish(share)
                self._take_messages(_ALL)
            self._housekeep(self._clock_ns())
            self._heartbeat(self._clock_ns(), "stopped")
        return self._ledger.tally()

    def _job(self, incarnation: int, recipe: Recipe | None = None, *, standby: bool = False) -> Job:
        """Orders of a child; it works with the recipe in use unless another is named."""
        recipe = recipe or self.recipes.active.recipe
        return Job(
            config=self._config.model_copy(update={"recipe": recipe.folder}),
            incarnation=incarnation,
            frames_endpoint=self._folder.frames,
            gate_endpoint=self._folder.gate,
            archive_endpoint=self._folder.archive,
            first_part=self._ledger.tally().triggered,
            memory=self._memory,
            ring=self._ring,
            standby=standby,
            recipe_hash=recipe.content_hash,
        )

    def _worker(self, recipe: Recipe) -> Child:
        """A worker for a recipe; one whose recipe is not in use yet waits to be armed."""
        return self._child(
            "worker",
            lambda number: self._job(number, recipe, standby=self.recipes.active.recipe is not recipe),
            lambda: next(self._numbers),
        )

    def _child(
        self, role: str, make_job: Callable[[int], Job] | None = None, number: Callable[[], int] | None = None
    ) -> Child:
        supervision = self._config.supervision
        return Child(
            role,
            make_job or self._job,
            RestartBudget(supervision.restarts, round(supervision.restart_window_s * 1e9)),
            self._folder.path,
            start_timeout_ns=round(supervision.start_timeout_s * 1e9),
            heartbeat_timeout_ns=round(supervision.heartbeat_timeout_s * 1e9),
            retry=LossRetry(
                None if supervision.camera_retry_s is None else round(supervision.camera_retry_s * 1e9),
                longest_pause_ns=round(supervision.camera_pause_s * 1e9),
            ),
            number=number,
            pass_fds=() if self._ring is None else (self._ring.fd,),
        )

    def _archive_child(self) -> Child:
        """Started again for ever, with a pause that grows to a minute; at the lowest priority it may be slow."""
        supervision = self._config.supervision
        return Child(
            "archive",
            self._job,
            RestartBudget(_ALL, _ARCHIVE_WINDOW_NS, pause_ns=1_000_000_000, longest_pause_ns=60_000_000_000),
            self._folder.path,
            start_timeout_ns=round(supervision.start_timeout_s * 1e9),
            heartbeat_timeout_ns=round(max(supervision.heartbeat_timeout_s, _ARCHIVE_HEARTBEAT_S) * 1e9),
        )

    def _turn(self) -> None:
        self._take_messages()
        now_ns = self._clock_ns()
        self._settle(self._ledger.expire(now_ns))
        self._watch_children(now_ns)
        if self._control is not None:
            self._control.serve(self)
        self._arm()
        if now_ns - self._housekept_ns >= _HOUSEKEEPING_NS:
            self._housekeep(now_ns)
        if now_ns - self._heartbeat_ns >= _HEARTBEAT_NS:
            self._heartbeat(now_ns, self._state())

    def _patience_ms(self) -> int:
        due_ns = self._ledger.next_deadline_ns()
        if due_ns is None:
            return _TURN_MS
        return max(0, min(_TURN_MS, -((self._clock_ns() - due_ns) // 1_000_000)))

    def _finished(self) -> bool:
        return self._ended and self._ledger.tally().pending == 0

    def _drain(self, poller: zmq.Poller, stop_timeout_s: float) -> None:
        """After a stop signal: no more triggers, and half of the stop time for what is open."""
        self.camera.tell("disarm")
        until_ns = self._clock_ns() + round(stop_timeout_s * 0.5e9)
        self._armed = False
        while self._ledger.tally().pending and self._clock_ns() < until_ns:
            poller.poll(self._patience_ms())
            self._take_messages()
            self._settle(self._ledger.expire(self._clock_ns()))

    def _arm(self) -> None:
        """Triggers are wanted once a worker is ready; a camera process that is new is armed at once afterwards."""
        if self.stopping or self._armed or self._paused or not self.camera.ready:
            return
        if not self._served and not self.worker.ready:
            return
        self.camera.tell("arm")
        self._armed = True
        if not self._served:
            self._served = True
            log.info("ready: station %s, recipe %s", self._config.station, self.recipes.active.recipe.content_hash[:12])
            self._outputs.service_manager.notify("READY=1")

    def pause(self) -> None:
        """Wants no more triggers until `resume`; what is open gets its verdicts."""
        self._paused, self._armed = True, False
        self.camera.tell("disarm")

    def resume(self) -> None:
        """Wants triggers again."""
        self._paused = False

    def status(self) -> dict[str, Any]:
        """How the line stands, for people and for JSON."""
        tally = self._ledger.tally()
        return {
            "station": self._config.station,
            "state": self._state(),
            **self.recipes.active.on_record(),
            "folder": str(self.recipes.active.recipe.folder),
            "changeover": self.recipes.describe(),
            "triggered": tally.triggered,
            "pass": tally.passed,
            "fail": tally.failed,
            "not_inspected": tally.not_inspected,
            "pending": tally.pending,
            "camera_ready": self.camera.ready,
            "worker_ready": self.worker.ready,
            "restarts": self.camera.restarts + self.worker.restarts,
            "drift_alarm": self.recipes.active.drift.alarm,
        }

    def activate(self, folder: Path, who: str, why: str) -> None:
        """Begins to take up another recipe; the line goes on meanwhile (`Changeover`).

        Raises:
            FatalError: It can't be begun now.
        """
        if not self._served or self.stopping or not self.worker.ready:
            raise FatalError("the line does not run; a recipe is taken up by a line that does")
        self.recipes.begin(folder, who, why)

    def rollback(self, who: str, why: str) -> None:
        """Begins to take up the recipe that was in use before.

        Raises:
            FatalError: There was none, or it can't be begun now.
        """
        self.recipes.begin_rollback(who, why)

    def _workers(self) -> list[Child]:
        """The worker in use, and the one that comes or goes during a change of the recipe."""
        return [self.worker] if self.recipes.beside is None else [self.worker, self.recipes.beside]

    def _change_over(self, now_ns: int) -> None:
        new = self.recipes.advance(self.worker, now_ns)
        if new is not None:
            self.worker = new
            active = self.recipes.active
            self._outputs.metrics.recipe(active.threshold, recipe_labels(active.recipe))
            if self._archive is not None:
                self._archive.child.tell("stop")  # it comes back with the recipe in use
        gone = self.recipes.retire(now_ns, self._ledger.open_at)
        if gone is not None:
            self._take_messages(_ALL)
            self._settle(self._ledger.lose_worker(gone, self._clock_ns()))

    def _state(self) -> str:
        if self._paused:
            return "paused"
        return "running" if self._armed else "starting"

    def _watch_children(self, now_ns: int) -> None:
        for child in (self.camera, self.worker):
            incarnation = child.incarnation
            if not child.watch(now_ns):
                continue
            self._take_messages(_ALL)  # what it said before it died still counts
            if child is self.worker:
                self.recipes.worker_died()
                self._settle(self._ledger.lose_worker(incarnation, self._clock_ns()))
            else:
                self._ledger.lose_camera(incarnation)
                self._armed = False
            if child.exhausted and not (child is self.camera and self._ended):
                raise _ended_for_good(child)
        self._change_over(now_ns)
        if self._archive is not None:
            self._archive.watch(now_ns)

    def _take_messages(self, limit: int = _MESSAGES) -> None:
        for message in self._inbox.messages(limit):
            self._take(message, self._clock_ns())

    def _take(self, message: GateMessage, now_ns: int) -> None:
        if isinstance(message, Trigger):
            self._open_part(message, now_ns)
        elif isinstance(message, Result):
            self._judge(message, now_ns)
        elif isinstance(message, Refused):
            self._count_frame("refused")
            self._settle_one(message.trigger, Decision.NOT_INSPECTED, message.cause, now_ns)
        else:
            self._take_state(message, now_ns)

    def _open_part(self, message: Trigger, now_ns: int) -> None:
        for missed in self._ledger.missed(message.trigger):
            self._ledger.trigger(missed, message.triggered_ns, now_ns)
            self._outputs.metrics.triggers.labels(self._config.station).inc()
            self._settle_one(missed, Decision.NOT_INSPECTED, Cause.FRAME_MISSING, now_ns)
        opened = self._ledger.trigger(
            message.trigger, message.triggered_ns, now_ns, source=message.source, worker=message.worker
        )
        if opened is None:
            return
        self._outputs.metrics.triggers.labels(self._config.station).inc()
        early = self._early.pop(message.trigger, None)
        if isinstance(opened, Verdict):
            self._settle([opened])
            return
        self._count_frame("refused" if message.refusal else "sent")
        if message.refusal is not None:
            self._settle_one(message.trigger, Decision.NOT_INSPECTED, message.refusal, now_ns)
        elif early is not None:
            self._judge(early, now_ns)
        elif not any(child.alive and child.incarnation == message.worker for child in self._workers()):
            # Sent to a worker that died, or was told to stop, while the frame was on its way.
            cause = Cause.SHUTDOWN if self._closing else Cause.WORKER_LOST
            self._settle_one(message.trigger, Decision.NOT_INSPECTED, cause, now_ns)

    def _judge(self, result: Result, now_ns: int) -> None:
        if not self._ledger.announced(result.trigger):
            self._keep(result)
            return
        part = self._ledger.find(result.trigger)
        if result.problem is not None:
            self._settle_one(result.trigger, Decision.NOT_INSPECTED, result.problem, now_ns)
            return
        by = self.recipes.judge_of(result.recipe)
        if by is None:
            self._settle_one(result.trigger, Decision.NOT_INSPECTED, Cause.RECIPE_MISMATCH, now_ns)
            return
        decision, cause = decide(result.score, by.threshold)
        scored = decision is not Decision.NOT_INSPECTED
        verdict = self._ledger.settle(
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

    def _keep(self, result: Result) -> None:
        """Until its trigger is announced: the camera process has a connection of its own, and a fast worker's result
        may overtake it.
        """
        self._early[result.trigger] = result
        if len(self._early) > self._config.line.open_parts:
            del self._early[next(iter(self._early))]
            self._ledger.stray_results += 1

    def _settle_one(self, trigger: int, decision: Decision, cause: Cause, now_ns: int) -> None:
        verdict = self._ledger.settle(trigger, decision, cause, now_ns)
        if verdict is not None:
            self._settle([verdict])

    def _settle(self, verdicts: Iterable[Verdict], by: ActiveRecipe | None = None) -> None:
        """The one way out for verdicts: publish first, then write down and count."""
        by = by or self.recipes.active
        for verdict in verdicts:
            record = {"run": self._run_id, "station": self._config.station, **verdict.as_record()}
            record.update(by.on_record())
            self._outputs.publisher.publish("verdict", record)
            record["time"] = time.time()
            self._outputs.verdict_log.append(record)
            if self._archive is not None:
                self._archive.verdict(verdict, record)
            self._outputs.metrics.verdict(verdict, by.threshold.value)
            self._watcher(verdict)

    def _take_state(self, message: State, now_ns: int) -> None:
        if message.role == "archive":
            if self._archive is not None:
                self._archive.saw(message, now_ns)
            return
        if message.role == "worker":
            for worker in self._workers():
                worker.saw(message.incarnation, message.progress, now_ns)
        child = self.camera if message.role == "camera" else self.worker
        if child is self.camera:
            child.saw(message.incarnation, message.progress, now_ns)
        if message.incarnation != child.incarnation:
            return
        metrics = self._outputs.metrics
        metrics.total(metrics.malformed, message.details.get("malformed", 0), message.role)
        if self._archive is not None and message.role == "worker":
            self._archive.worker_refused(message.details.get("archive_refused", 0))
        if message.role == "camera":
            metrics.queue.labels(self._config.station).set(message.queue_frames)
            metrics.slots_in_use.labels(self._config.station).set(message.details.get("slots_in_use", 0))
            for carrier in ("slot", "message"):
                metrics.total(metrics.carried, message.details.get(f"frames_by_{carrier}", 0), carrier)
            metrics.total(metrics.expired_leases, message.details.get("expired_leases", 0))
            for gauge, name in (
                (metrics.brightness, "brightness"),
                (metrics.white, "white"),
                (metrics.sharpness, "sharpness"),
            ):
                if name in message.details:
                    gauge.labels(self._config.station).set(message.details[name])
            if message.state == "ended":
                self._ended = True

    def _count_frame(self, outcome: str) -> None:
        self._outputs.metrics.frames.labels(self._config.station, outcome).inc()

    def _housekeep(self, now_ns: int) -> None:
        self._housekept_ns = now_ns
        metrics, station, tally = self._outputs.metrics, self._config.station, self._ledger.tally()
        metrics.open_parts.labels(station).set(tally.pending)
        settled = tally.passed + tally.failed + tally.not_inspected
        metrics.imbalance.labels(station).set(tally.triggered - settled - tally.pending)
        metrics.heartbeat.labels(station).set(time.time())
        drift = self.recipes.active.drift
        metrics.drift_evidence.labels(station).set(drift.evidence_log10)
        metrics.drift_alarm.labels(station).set(int(drift.alarm))
        metrics.median_ratio.labels(station).set(drift.median_ratio)
        metrics.queue_capacity.labels(station).set(self._config.line.queue_frames)
        metrics.slots_capacity.labels(station).set(self._ring.slots if self._ring is not None else 0)
        metrics.total(metrics.stray_results, self._ledger.stray_results)
        metrics.total(metrics.duplicate_triggers, self._ledger.duplicate_triggers)
        metrics.total(metrics.malformed, self._inbox.malformed, "gate")
        metrics.total(metrics.log_dropped, self._outputs.verdict_log.dropped)
        for child in (self.camera, self.worker):
            metrics.up.labels(station, child.role).set(int(child.ready))
            metrics.total(metrics.restarts, child.restarts, child.role)
        if self._archive is not None:
            self._archive.show()

    def _heartbeat(self, now_ns: int, state: str) -> None:
        self._heartbeat_ns = now_ns
        tally = self._ledger.tally()
        self._outputs.publisher.publish(
            "heartbeat",
            {
                "run": self._run_id,
                "station": self._config.station,
                "state": state,
                "monotonic_ns": now_ns,
                "triggered": tally.triggered,
                "pass": tally.passed,
                "fail": tally.failed,
                "not_inspected": tally.not_inspected,
                "pending": tally.pending,
                "camera_ready": self.camera.ready,
                "worker_ready": self.worker.ready,
                "recipe_hash": self.recipes.active.recipe.content_hash,
            },
        )
        # Fed only by the loop that settles parts, and only while a worker can judge them.
        if self.worker.ready or not self._served:
            self._outputs.service_manager.notify("WATCHDOG=1")


def _ended_for_good(child: Child) -> FatalError:
    error = FatalError(f"{child.role}: can't be kept running; its reasons stand in the log above")
    if child.exit_code is not None and child.exit_code > 0:
        error.exit_code = child.exit_code
    return error


def _stages(part: OpenPart, result: Result, now_ns: int) -> dict[str, int]:
    """Durations by stage in nanoseconds; together they are the whole."""
    return {
        "capture": result.captured_ns - part.triggered_ns,
        "queue": result.received_ns - result.captured_ns,
        "copy": result.copied_ns - result.received_ns,
        "compute": result.computed_ns - result.copied_ns,
        "verdict": now_ns - result.computed_ns,
    }
