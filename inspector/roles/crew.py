"""The child processes of a line: their orders, and when they may be started again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inspector.config.schema import InspectorConfig, Supervision
from inspector.domain.restarts import LossRetry, RestartBudget
from inspector.recipe.store import Recipe
from inspector.roles.child import Child, Limits
from inspector.roles.job import Job
from inspector.roles.shared_worker import SharedWorker, Worker
from inspector.wire.endpoints import RuntimeFolder
from inspector.wire.ring import RingHandle

#: Starts that a process may have which the line does not depend on.
_ANY_NUMBER = 1_000_000
#: Deaths of such a process that lie longer ago no longer lengthen the pause before its next start.
_SIDE_WINDOW_NS = 600_000_000_000
#: The archive process shares what processor time the others leave;
_ARCHIVE_HEARTBEAT_S = 60.0
#: the refiner has only what nobody wants, and one of its steps may take seconds of that.
_REFINER_HEARTBEAT_S = 900.0


@dataclass(frozen=True)
class Aboard:
    """What the orders of a process say of the line as it stands.

    Attributes:
        recipe: In use.
        triggered: Triggers so far.
    """

    recipe: Recipe
    triggered: int


def limits_of(supervision: Supervision) -> Limits:
    """When a camera process or worker may be started again, and how long things may take."""
    return Limits(
        RestartBudget(supervision.restarts, round(supervision.restart_window_s * 1e9)),
        start_timeout_ns=round(supervision.start_timeout_s * 1e9),
        heartbeat_timeout_ns=round(supervision.heartbeat_timeout_s * 1e9),
        retry=LossRetry(
            None if supervision.camera_retry_s is None else round(supervision.camera_retry_s * 1e9),
            longest_pause_ns=round(supervision.camera_pause_s * 1e9),
        ),
    )


class Crew:
    """Makes the processes of one line; starts none.

    Args:
        config: The line's configuration.
        folder: Its runtime folder.
        ring: Shared memory for frames, handed to the children; None sends frames as messages.
        aboard: How the line stands when a process is started.
        shadow: The shadow recipe, if there is one.
        shared: The worker process that the line shares with others; None gives it one of its own.

    Attributes:
        memory: Folder in which a process keeps what the next one of its role in this run must know.
    """

    def __init__(
        self,
        config: InspectorConfig,
        folder: RuntimeFolder,
        ring: RingHandle | None,
        aboard: Callable[[], Aboard],
        shadow: Recipe | None = None,
        shared: SharedWorker | None = None,
    ) -> None:
        self.memory: Path = folder.path / "camera"
        self._config = config
        self._folder = folder
        self._ring = ring
        self._aboard = aboard
        self._shadow = shadow
        self._shared = shared
        self._workers = itertools.count(1) if shared is None else shared.numbers

    def follow(self, config: InspectorConfig) -> None:
        """Takes up a changed configuration: for processes that are started from now on."""
        self._config = config

    def limits(self) -> Limits:
        """When a camera process or worker may be started again, and how long things may take."""
        return limits_of(self._config.supervision)

    def camera(self) -> Child:
        """The camera process."""
        return self._child("camera", self._job, None)

    def first_worker(self, recipe: Recipe) -> Worker:
        """The line's worker from its start on."""
        if self._shared is None:
            return self.worker(recipe)
        return self._shared.join(self._config.station, lambda number: self._job(number, recipe), self._pass_fds)

    def worker(self, recipe: Recipe) -> Child:
        """A worker of the line's own for a recipe; one whose recipe is not in use yet waits to be armed."""

        def orders(number: int) -> Job:
            return self._job(number, recipe, standby=self._aboard().recipe is not recipe)

        return self._child("worker", orders, lambda: next(self._workers))

    def archive(self) -> Child:
        """The archive process; at the lowest priority it may be slow."""
        supervision = self._config.supervision
        heartbeat_s = max(supervision.heartbeat_timeout_s, _ARCHIVE_HEARTBEAT_S)
        return self._side_process("archive", supervision.start_timeout_s, heartbeat_s)

    def shadow(self) -> Child:
        """The shadow process; it loads a network with what processor time the others leave."""
        supervision = self._config.supervision
        start_s = max(supervision.start_timeout_s, _REFINER_HEARTBEAT_S)
        return self._side_process("shadow", start_s, max(supervision.heartbeat_timeout_s, _ARCHIVE_HEARTBEAT_S))

    def refiner(self) -> Child:
        """The refiner process; on a busy machine it stands still for a long time."""
        start_s = max(self._config.supervision.start_timeout_s, _REFINER_HEARTBEAT_S)
        return self._side_process("refiner", start_s, _REFINER_HEARTBEAT_S)

    def _side_process(self, role: str, start_timeout_s: float, heartbeat_timeout_s: float) -> Child:
        """A process that the line does not depend on: started again for ever, with a pause that grows to a minute."""
        return Child(
            role,
            self._job,
            Limits(
                RestartBudget(_ANY_NUMBER, _SIDE_WINDOW_NS, pause_ns=1_000_000_000, longest_pause_ns=60_000_000_000),
                start_timeout_ns=round(start_timeout_s * 1e9),
                heartbeat_timeout_ns=round(heartbeat_timeout_s * 1e9),
            ),
            self._folder.path,
        )

    def _job(self, incarnation: int, recipe: Recipe | None = None, *, standby: bool = False) -> Job:
        """Orders of a child; it works with the recipe in use unless another is named."""
        aboard = self._aboard()
        recipe = recipe or aboard.recipe
        return Job(
            config=self._config.model_copy(update={"recipe": recipe.folder}),
            incarnation=incarnation,
            frames_endpoint=self._folder.frames,
            gate_endpoint=self._folder.gate,
            archive_endpoint=self._folder.archive,
            shadow_endpoint=self._folder.shadow,
            shadow_hash="" if self._shadow is None else self._shadow.content_hash,
            first_part=aboard.triggered,
            memory=self.memory,
            ring=self._ring,
            standby=standby,
            recipe_hash=recipe.content_hash,
        )

    def _child(self, role: str, make_job: Callable[[int], Job], number: Callable[[], int] | None) -> Child:
        return Child(
            role,
            make_job,
            self.limits(),
            self._folder.path,
            number=number,
            pass_fds=self._pass_fds,
        )

    @property
    def _pass_fds(self) -> tuple[int, ...]:
        return () if self._ring is None else (self._ring.fd,)
