"""A line: one camera process, one worker, one recipe, and the ledger of their parts; no torch here.

A station has one line, or one for each view of its parts. The gate turns them.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from inspector.config.schema import InspectorConfig
from inspector.domain.errors import FatalError
from inspector.domain.ledger import Ledger, Tally
from inspector.outputs.audit_log import AuditLog
from inspector.outputs.metrics import LineMetrics
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles.active_recipe import recipe_labels
from inspector.roles.archive_link import ArchiveLink
from inspector.roles.crew import Aboard, Crew
from inspector.roles.judge import Desk, Judge
from inspector.roles.line_figures import show_line, show_state
from inspector.roles.recipe_desk import RecipeDesk
from inspector.roles.refiner_link import RefinerLink
from inspector.roles.shadow_link import ShadowLink
from inspector.roles.shared_worker import SharedWorker, Worker
from inspector.roles.side_process import SideProcess
from inspector.wire.archive_socket import ArchiveOutbox
from inspector.wire.endpoints import RuntimeFolder
from inspector.wire.gate_socket import GateInbox
from inspector.wire.messages import GateMessage, Opinion, Refused, Result, State, Trigger
from inspector.wire.ring import RingHandle

log = logging.getLogger("inspector")

#: What a process that is told to stop has at least, whatever the others took.
_LEAST_PATIENCE_S = 0.5
#: Messages taken in one turn, so that a flood never starves the deadlines.
_MESSAGES = 256
#: A new camera process waits so long for a worker that is at work; then triggers are rejects rather than unseen.
_ACQUAINTANCE_NS = 2_000_000_000
#: Where a process is gone, everything that it said before.
_ALL = 1_000_000


class Line:
    """Camera, worker and ledger.

    Args:
        config: The line's configuration.
        recipe: Its recipe, content hash checked.
        folder: Its runtime folder, locked.
        inbox: Messages of the children.
        desk: Where verdicts go out.
        metrics: Its metrics.
        ring: Shared memory for frames, handed to the children; None sends frames as messages.
        archive: Where verdicts for the archive go; None keeps none.
        shadow: The shadow recipe and who is told where it disagrees; None has none.
        shared: The worker process that it shares with other lines; None gives it one of its own.
        audit: Where changes of the recipe are written down.
        admit: Opens a recipe of this line, or raises.
        clock_ns: Monotonic clock.

    Attributes:
        camera: The camera process.
        worker: The worker process.
        recipes: The recipe in use, and its change.
        serving: True once the line has been armed for the first time.
    """

    def __init__(
        self,
        config: InspectorConfig,
        recipe: Recipe,
        folder: RuntimeFolder,
        inbox: GateInbox,
        desk: Desk,
        metrics: LineMetrics,
        *,
        ring: RingHandle | None = None,
        archive: ArchiveOutbox | None = None,
        shadow: tuple[Recipe, Callable[[dict[str, Any]], None]] | None = None,
        shared: SharedWorker | None = None,
        audit: AuditLog | None = None,
        admit: Callable[[Path], Recipe] = load_recipe,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._config = config
        self._inbox = inbox
        self._metrics = metrics
        self._clock_ns = clock_ns
        ledger = Ledger(round(config.line.deadline_ms * 1e6), config.line.open_parts)
        self._crew = Crew(config, folder, ring, self._aboard, None if shadow is None else shadow[0], shared)
        self.recipes = RecipeDesk(recipe, config.recipe, audit or AuditLog(None), admit, self._crew.worker)
        self.camera = self._crew.camera()
        self.worker = self._crew.first_worker(recipe)
        self._judge = Judge(ledger, self.recipes, desk, metrics, self._at_work)
        self._beside: dict[str, SideProcess] = {}
        self._shadow: ShadowLink | None = None
        if shadow is not None:
            self._shadow = self._beside["shadow"] = ShadowLink(self._crew.shadow(), metrics, *shadow)
            self._judge.followers.append(self._shadow.verdict)
        if config.archive is not None and archive is not None:
            if config.archive.refine:
                self._beside["refiner"] = RefinerLink(self._crew.refiner(), metrics)
            link = ArchiveLink(config.archive, self._crew.archive(), archive, metrics)
            self._judge.followers.append(link.verdict)
            self._beside["archive"] = link  # last to end: it waits for the verdicts of its frames
        self.serving = False
        self._armed = False
        self._paused = False
        self._ended = False
        self._camera_knows = 0
        metrics.queue_capacity.labels(metrics.station).set(config.line.queue_frames)
        metrics.slots_capacity.labels(metrics.station).set(0 if ring is None else ring.slots)

    def _aboard(self) -> Aboard:
        return Aboard(self.recipes.active.recipe, self._judge.ledger.tally().triggered)

    @property
    def name(self) -> str:
        """Its name on records and metrics."""
        return self._config.station

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller: readable when a child has said something."""
        return self._inbox.socket

    @property
    def finished(self) -> bool:
        """True once the source has ended and every part has its verdict."""
        return self._ended and self._judge.ledger.tally().pending == 0

    @property
    def state(self) -> str:
        """How it stands: "starting", "running" or "paused"."""
        if self._paused:
            return "paused"
        return "running" if self._armed else "starting"

    @property
    def prepared(self) -> bool:
        """True if a part that came now could be judged: camera process and worker are ready and know of each other."""
        return self.camera.ready and self.worker.ready and self._camera_knows == self.worker.incarnation

    def tally(self) -> Tally:
        """The sums of the ledger."""
        return self._judge.ledger.tally()

    def next_deadline_ns(self) -> int | None:
        """Deadline of the most urgent open part."""
        return self._judge.ledger.next_deadline_ns()

    def start(self) -> None:
        """Starts the processes."""
        memory = self._crew.memory
        shutil.rmtree(memory, ignore_errors=True)  # of the last run
        memory.mkdir()
        for child in (self.worker, self.camera):
            child.start(self._clock_ns())
        for process in self._beside.values():
            process.start(self._clock_ns())

    def turn(self) -> None:
        """Messages, deadlines, children.

        Raises:
            FatalError: A child can't be kept alive.
        """
        self.settle_due()
        self._watch_children(self._clock_ns())

    def settle_due(self) -> None:
        """Takes what the children said, and settles the parts whose deadline is over."""
        self._take_messages()
        self._judge.expire(self._clock_ns())

    def arm(self) -> None:
        """Wants triggers: the first time once a part can be judged, from a new camera process soon in any case."""
        if self._armed or self._paused or not self.camera.ready:
            return
        if not self.prepared and not (self.serving and self._must_see_triggers()):
            return
        self.camera.tell("arm")
        self._armed = True
        if not self.serving:
            self.serving = True
            log.info("ready: station %s, recipe %s", self.name, self.recipes.active.recipe.content_hash[:12])

    def _must_see_triggers(self) -> bool:
        """A part that nobody can judge is a reject; one that nobody sees is lost."""
        return not self.worker.ready or self._clock_ns() - self.camera.ready_ns >= _ACQUAINTANCE_NS

    def disarm(self) -> None:
        """Wants no more triggers; what is open gets its verdicts."""
        self.camera.tell("disarm")
        self._armed = False

    def pause(self) -> None:
        """Wants no more triggers until `resume`."""
        self._paused = True
        self.disarm()

    def resume(self) -> None:
        """Wants triggers again."""
        self._paused = False

    def activate(self, folder: Path, who: str, why: str) -> None:
        """Begins to take up another recipe; the line goes on meanwhile (`Changeover`).

        Raises:
            FatalError: It can't be begun now.
        """
        self.check_activation()
        self.recipes.begin(folder, who, why)

    def check_activation(self) -> None:
        """Raises FatalError if no change of the recipe can be begun now."""
        if not self.serving or self._judge.closing or not self.worker.ready:
            raise FatalError("the line does not run; a recipe is taken up by a line that does")
        self.recipes.check_idle()

    def follow(self, config: InspectorConfig, *, camera: bool, archive: bool, supervision: bool) -> None:
        """Takes up what has changed in the configuration, the recipe aside.

        Args:
            config: The new one.
            camera: The camera process starts anew.
            archive: So do the processes of the archive.
            supervision: Time limits and budgets are others.
        """
        self._config = config
        self._crew.follow(config)
        self.recipes.link = config.recipe
        if supervision:
            for child in (self.camera, *self._workers()):
                child.limits = self._crew.limits()
        if camera:
            self.camera.tell("stop")
        if archive:
            for process in self._beside.values():
                process.renew()

    def rollback(self, who: str, why: str) -> None:
        """Begins to take up the recipe that was in use before.

        Raises:
            FatalError: There was none, or it can't be begun now.
        """
        self.recipes.begin_rollback(who, why)

    def status(self) -> dict[str, Any]:
        """How the line stands, for people and for JSON."""
        tally = self._judge.ledger.tally()
        return {
            "station": self.name,
            "state": self.state,
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
            "prepared": self.prepared,
            "restarts": self.camera.restarts + self.worker.restarts,
            "drift_alarm": self.recipes.active.drift.alarm,
            **({} if self._shadow is None else self._shadow.describe()),
        }

    def close(self) -> None:
        """Settles what is open and tells the processes to stop; `finish` waits for them."""
        self._judge.closing = True
        self._judge.settle_all(self._clock_ns())
        for child in (self.camera, *self._workers()):
            child.tell("stop")

    def finish(self, until_ns: int) -> None:
        """Waits for the processes that work on parts, kills what takes longer, and settles what came meanwhile."""
        for child in (self.camera, *self._workers()):
            child.finish(self._left_s(until_ns))
        self._take_messages(_ALL)
        self._judge.settle_all(self._clock_ns())

    def finish_beside(self, until_ns: int) -> None:
        """Waits for the processes that no verdict depends on, and kills what takes longer."""
        for process in self._beside.values():
            process.finish(self._left_s(until_ns))
        self._take_messages(_ALL)

    def _left_s(self, until_ns: int) -> float:
        return max(_LEAST_PATIENCE_S, (until_ns - self._clock_ns()) / 1e9)

    def show(self) -> None:
        """Puts how it stands into the metrics."""
        metrics = self._metrics
        show_line(metrics, self._judge.ledger, self.recipes.active.drift, self.camera, self.worker, time.time())
        metrics.total(metrics.malformed, self._inbox.malformed, "gate")
        for process in self._beside.values():
            process.show()

    def _at_work(self, worker: int) -> bool:
        return any(child.alive and child.incarnation == worker for child in self._workers())

    def _still_served(self, worker: int) -> bool:
        """True while a part is open at a former worker, or the camera process may send it another one: until it says
        that it knows the worker in use.
        """
        unaware = self.camera.ready and self._camera_knows != self.worker.incarnation
        return unaware or self._judge.ledger.open_at(worker)

    def _workers(self) -> list[Worker]:
        """The worker in use, and the one that comes or goes during a change of the recipe."""
        return [self.worker] if self.recipes.beside is None else [self.worker, self.recipes.beside]

    def _change_over(self, now_ns: int) -> None:
        new = self.recipes.advance(self.worker, now_ns)
        if new is not None:
            self.worker = new
            active = self.recipes.active
            self._metrics.recipe(active.threshold, recipe_labels(active.recipe))
            for process in self._beside.values():
                process.renew()
        gone = self.recipes.retire(now_ns, self._still_served)
        if gone is not None:
            self._take_messages(_ALL)
            self._judge.lose_worker(gone, self._clock_ns())

    def _watch_children(self, now_ns: int) -> None:
        for child in (self.camera, self.worker):
            incarnation = child.incarnation
            if not child.watch(now_ns):
                continue
            self._take_messages(_ALL)  # what it said before it died still counts
            if child is self.worker:
                self.recipes.worker_died()
                self._judge.lose_worker(incarnation, self._clock_ns())
            else:
                self._judge.ledger.lose_camera(incarnation)
                self._armed, self._camera_knows = False, 0
            if child.exhausted and not (child is self.camera and self._ended):
                raise _ended_for_good(child)
        self._change_over(now_ns)
        for process in self._beside.values():
            process.watch(now_ns)

    def _take_messages(self, limit: int = _MESSAGES) -> None:
        for message in self._inbox.messages(limit):
            self._take(message, self._clock_ns())

    def _take(self, message: GateMessage, now_ns: int) -> None:
        if isinstance(message, Trigger):
            self._judge.triggered(message, now_ns)
        elif isinstance(message, Result):
            self._judge.judge(message, now_ns)
        elif isinstance(message, Opinion):
            if self._shadow is not None:
                self._shadow.heard(message)
        elif isinstance(message, Refused):
            self._judge.refused(message, now_ns)
        else:
            self._take_state(message, now_ns)

    def _take_state(self, message: State, now_ns: int) -> None:
        if message.role in self._beside:
            self._beside[message.role].saw(message, now_ns)
            return
        if message.role == "worker":
            for worker in self._workers():
                worker.saw(message.incarnation, message.progress, now_ns)
            current = self.worker
        else:
            self.camera.saw(message.incarnation, message.progress, now_ns)
            current = self.camera
        if message.incarnation != current.incarnation:
            return
        self._metrics.up.labels(self.name, message.role).set(int(current.ready))  # before what it does
        show_state(self._metrics, message)
        if message.role == "worker":
            for process in self._beside.values():
                process.worker_says(message.details)
        else:
            self._camera_knows = int(message.details.get("worker", 0)) if self.camera.alive else 0
            self._ended = self._ended or message.state == "ended"


def _ended_for_good(child: Worker) -> FatalError:
    error = FatalError(f"{child.role}: can't be kept running; its reasons stand in the log above")
    if child.exit_code is not None and child.exit_code > 0:
        error.exit_code = child.exit_code
    return error
