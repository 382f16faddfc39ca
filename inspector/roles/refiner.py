"""The refiner process: finds the outlines of defects in archived fails, the newest first, in what time is left.

No verdict waits for it, and it changes none. It only reads the archive and hands what it finds to the archive process,
which alone writes there: a refiner that is killed at any moment leaves nothing half, and one that lags is only late.
"""

from __future__ import annotations

import logging
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import cv2
import torch
import zmq

from inspector.cameras.decoding import decode_image
from inspector.domain.frame import Pixels
from inspector.models.refinement.frame_refiner import FrameRefiner, RefinedFrame, stored_prior
from inspector.models.refinement.optimise import Progress
from inspector.models.refinement.outlines import draw_outlines
from inspector.models.refinement.settings import Settings
from inspector.outputs.archive import entry_frame
from inspector.outputs.archive_index import Entry
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles.heartbeat import Heartbeat
from inspector.roles.job import Job, run_child
from inspector.roles.lifeline import Lifeline
from inspector.roles.priority import step_back
from inspector.roles.refiner_backlog import Attempts, Backlog
from inspector.wire.archive_socket import ArchivedOutlines, ArchiveOutbox
from inspector.wire.gate_socket import GateOutbox
from inspector.wire.messages import State

log = logging.getLogger("inspector")

#: Longest wait in a turn, so that the heartbeat goes on.
_TURN_NS = 250_000_000
#: Where nothing waits it looks again so much later.
_IDLE_S = 2.0
#: So often it looks whether what it handed over is on the disk.
_LOOK_S = 0.2
#: What is not there after so long, on a full disk for example, is handed over again,
_AGAIN_NS = 30_000_000_000
#: or so much later, if the archive process did not even take it.
_REFUSED_NS = 1_000_000_000
#: After so long this process gives it up.
_PATIENCE_NS = 300_000_000_000
#: An entry that the process died at so often is tried no more.
_DEATHS = 2


class Refines(Protocol):
    """A recipe that finds defects in frames."""

    recipe: Recipe

    def refine(self, pixels: Pixels, progress: Progress) -> RefinedFrame:
        """Refines a frame."""


class _Stopped(Exception):  # noqa: N818  no error
    """The gate wants the process to finish, in the middle of a refinement."""


class RefinerRole:
    """One entry after the other: look, refine, hand over; lifeline and heartbeat at every step.

    Args:
        job: The orders, with an archive.
        refiner: With the recipe in use.
        folder: Of the archive.
        attempts: What the process died at.
        outbox: Where outlines go.
        gate: Where states go.
        lifeline: The gate's commands.
        clock_ns: Monotonic clock.
    """

    def __init__(
        self,
        job: Job,
        refiner: Refines,
        folder: Path,
        attempts: Attempts,
        outbox: ArchiveOutbox,
        gate: GateOutbox,
        lifeline: Lifeline,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._incarnation = job.incarnation
        self._refiner = refiner
        self._folder = folder
        self._backlog = Backlog(folder, refiner.recipe.content_hash)
        self._attempts = attempts
        self._outbox = outbox
        self._gate = gate
        self._lifeline = lifeline
        self._clock_ns = clock_ns
        self._given_up: set[str] = set()
        self._counts: Counter[str] = Counter(refined=0, failed=0, lost=0)
        self._waiting = 0
        self._heart = Heartbeat(self._report, clock_ns)

    def run(self) -> None:
        """Works until the lifeline says stop."""
        self._heart.say("ready")
        try:
            while True:
                entry, self._waiting = self._backlog.newest(self._given_up)
                if entry is None:
                    self._pause(_IDLE_S)
                else:
                    self._take(entry)
        except _Stopped:
            self._heart.say("stopped")

    def _take(self, entry: Entry) -> None:
        """Brings an entry to an end: outlines, a problem, or given up."""
        try:
            outcome = self._hand_over(self._found(entry))
        except _Stopped:
            self._attempts.end(entry.name)  # not its fault
            raise
        except OSError as error:
            log.warning("refiner: %s can't be read: %s", entry.name, error)
            outcome = "lost"
        self._attempts.end(entry.name)
        self._counts["lost" if outcome == "gone" else outcome] += 1
        if outcome == "lost":
            self._given_up.add(entry.name)

    def _found(self, entry: Entry) -> ArchivedOutlines:
        """What a refinement says of an entry; why it says nothing.

        Raises:
            OSError: The frame can't be read; somebody may have deleted it.
        """
        if self._attempts.begin(entry.name) >= _DEATHS:
            return self._problem(entry, f"the refiner's process ended {_DEATHS} times at this frame")
        data = entry_frame(self._folder, entry.name)
        try:
            pixels = decode_image(data)
            found = self._refiner.refine(pixels, self._step)
            picture = cv2.cvtColor(draw_outlines(pixels, found.outlines), cv2.COLOR_RGB2BGR)
            encoded = cv2.imencode(".png", picture)[1].tobytes()
        except _Stopped:
            raise
        except Exception as error:  # noqa: BLE001  the one catch around a part
            return self._problem(entry, f"{type(error).__name__}: {error}")
        record = found.as_record(entry.name, self._refiner.recipe, score=entry.score, decision=entry.decision)
        return ArchivedOutlines(entry.name, record, encoded)

    def _problem(self, entry: Entry, problem: str) -> ArchivedOutlines:
        log.warning("refiner: no outlines of %s: %s", entry.name, problem)
        record = {"image": entry.name, "recipe_hash": entry.recipe_hash, "problem": problem}
        return ArchivedOutlines(entry.name, record, b"")

    def _hand_over(self, found: ArchivedOutlines) -> str:
        """Waits until the archive process has written it; what became of it: refined, failed, gone or lost."""
        given_up_ns = self._clock_ns() + _PATIENCE_NS
        due_ns = self._clock_ns()
        while (now_ns := self._clock_ns()) < given_up_ns:
            if now_ns >= due_ns:
                due_ns = now_ns + (_AGAIN_NS if self._outbox.outlines(found) else _REFUSED_NS)
            self._pause(_LOOK_S)
            state = self._backlog.state(found.entry)
            if state == "done":
                return "failed" if "problem" in found.record else "refined"
            if state == "gone":
                return "gone"
        log.warning("refiner: the archive did not take the outlines of %s", found.entry)
        return "lost"

    def _step(self, iteration: int, loss: float) -> None:
        self._turn(0.0)

    def _pause(self, seconds: float) -> None:
        until_ns = self._clock_ns() + round(seconds * 1e9)
        while (left_ns := until_ns - self._clock_ns()) > 0:
            self._turn(min(left_ns, _TURN_NS) / 1e9)

    def _turn(self, wait_s: float) -> None:
        """Waits for the gate's commands, tells it that the process lives.

        Raises:
            _Stopped: The gate wants it to finish.
        """
        select.select([self._lifeline.fd], [], [], wait_s)
        self._lifeline.take()
        if self._lifeline.stopping:
            raise _Stopped
        self._heart.turn()

    def _report(self, state: str, turns: int) -> None:
        details: dict[str, Any] = {**self._counts, "waiting": self._waiting}
        self._gate.send(State("refiner", self._incarnation, state, progress=turns, details=details))


def work(job: Job) -> None:
    """Runs the refiner until it is told to stop."""
    settings = job.config.archive
    assert settings is not None
    assert job.memory is not None
    step_back(idle=True)
    torch.set_num_threads(1)
    recipe = load_recipe(job.config.recipe)
    # The frame without its defects, which re-estimation is for, is not kept.
    steps = Settings(iterations=settings.refine_iterations, reestimation=0)
    refiner = FrameRefiner(recipe, stored_prior(recipe), steps)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    outbox = ArchiveOutbox.for_outlines(context, job.archive_endpoint)
    gate = GateOutbox(context, job.gate_endpoint)
    attempts = Attempts(job.memory / "refiner.json")
    try:
        RefinerRole(job, refiner, settings.folder, attempts, outbox, gate, Lifeline()).run()
    finally:
        outbox.close()
        gate.close()
        context.term()


if __name__ == "__main__":
    sys.exit(run_child("refiner", work, sys.argv[1:]))
