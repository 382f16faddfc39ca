"""The shadow process: judges copies of the worker's frames by a second recipe, at a low priority, and acts on none."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable

import zmq

from inspector.domain.errors import FatalError, PartError, RecipeError
from inspector.domain.frame import Pixels
from inspector.engines.base import Engine
from inspector.recipe.geometry import check_frame
from inspector.recipe.manifest import Geometry
from inspector.recipe.store import load_recipe
from inspector.roles.heartbeat import Heartbeat
from inspector.roles.job import Job, run_child
from inspector.roles.lifeline import Lifeline
from inspector.roles.priority import step_back
from inspector.wire.archive_socket import ArchivedFrame, ArchiveInbox
from inspector.wire.gate_socket import GateOutbox
from inspector.wire.messages import Opinion, State

log = logging.getLogger("inspector")

_TURN_MS = 50


class ShadowRole:
    """One frame after the other: the network, the opinion; lifeline and heartbeat.

    Args:
        job: The orders, with a shadow recipe.
        geometry: What frames must look like.
        engine: Of the shadow recipe, warmed up and proven.
        inbox: Frames.
        gate: Where opinions go.
        lifeline: The gate's commands.
        clock_ns: Monotonic clock.
    """

    def __init__(
        self,
        job: Job,
        geometry: Geometry,
        engine: Engine,
        inbox: ArchiveInbox,
        gate: GateOutbox,
        lifeline: Lifeline,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._incarnation = job.incarnation
        self._recipe = bytes.fromhex(job.shadow_hash)
        self._geometry = geometry
        self._engine = engine
        self._inbox = inbox
        self._gate = gate
        self._lifeline = lifeline
        self._heart = Heartbeat(self._report, clock_ns)

    def run(self) -> None:
        """Works until the lifeline says stop."""
        poller = zmq.Poller()
        poller.register(self._inbox.socket, zmq.POLLIN)
        poller.register(self._lifeline.fd, zmq.POLLIN)
        self._heart.say("ready")
        while not self._lifeline.stopping:
            poller.poll(_TURN_MS)
            self._lifeline.take()
            for message in self._inbox.messages(1):
                if isinstance(message, ArchivedFrame):
                    self._gate.send(Opinion(message.header.trigger, self._score(message.pixels), self._recipe))
            self._heart.turn()
        self._heart.say("stopped")

    def _score(self, pixels: Pixels) -> float:
        """The score; NaN for a frame that this recipe can't judge."""
        try:
            check_frame(pixels, self._geometry)
            return self._engine.infer([pixels])[0].score
        except FatalError:
            raise
        except PartError:
            return math.nan
        except Exception as error:  # noqa: BLE001  the one catch around a part
            log.warning("shadow: no opinion: %s: %s", type(error).__name__, error)
            return math.nan

    def _report(self, state: str, turns: int) -> None:
        details = {"malformed": float(self._inbox.malformed)}
        self._gate.send(State("shadow", self._incarnation, state, progress=turns, details=details))


def work(job: Job) -> None:
    """Runs the shadow process until it is told to stop."""
    from inspector.roles.engine import create_engine

    assert job.config.shadow is not None
    step_back()
    recipe = load_recipe(job.config.shadow)
    if recipe.content_hash != job.shadow_hash:
        raise RecipeError(f"{recipe.folder}: changed since the daemon started; restart the daemon to take it up")
    # One frame at a time on one thread: the line's worker wants the processor.
    changes = {"precision": recipe.manifest.precision, "threads": 1, "max_batch": 1}
    engine = create_engine(job.config.worker.model_copy(update=changes), recipe)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    inbox = ArchiveInbox(context, job.shadow_endpoint)
    gate = GateOutbox(context, job.gate_endpoint)
    try:
        ShadowRole(job, recipe.manifest.geometry, engine, inbox, gate, Lifeline()).run()
    finally:
        inbox.close()
        gate.close()
        context.term()


if __name__ == "__main__":
    sys.exit(run_child("shadow", work, sys.argv[1:]))
