"""The worker: loads the recipe, proves itself on the golden frame, then turns frames into results."""

from __future__ import annotations

import gc
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence

import zmq

from inspector.domain.errors import EngineError, FatalError, PartError, RecipeError
from inspector.domain.frame import Frame
from inspector.domain.verdict import Cause
from inspector.engines.base import Engine, PipelinedEngine, Scored
from inspector.recipe.geometry import check_frame
from inspector.recipe.manifest import Geometry
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles.golden_check import GoldenCheck
from inspector.roles.job import Job, run_child
from inspector.roles.lifeline import Lifeline
from inspector.roles.pipeline import Pipeline, Taken
from inspector.roles.taps import Copied, Taps, open_taps
from inspector.wire.frames import ReceivedFrame
from inspector.wire.gate_socket import GateOutbox
from inspector.wire.messages import FrameHeader, Result, State
from inspector.wire.transport import FrameReceiver, open_receiver

log = logging.getLogger("inspector")

_TURN_MS = 50
_HEARTBEAT_NS = 250_000_000


class WorkerRole:
    """One turn after the other: lifeline, the frames that wait, the network, the results, heartbeat.

    Args:
        job: The orders.
        geometry: What frames must look like.
        engine: Warmed up.
        receiver: Where frames come from.
        gate: Where results go.
        lifeline: The gate's commands.
        clock_ns: Monotonic clock.
        taps: Take copies of frames for processes beside the line; None takes none.
        golden: Proves the engine again while no frame waits; None never does.
    """

    def __init__(
        self,
        job: Job,
        geometry: Geometry,
        engine: Engine,
        receiver: FrameReceiver,
        gate: GateOutbox,
        lifeline: Lifeline,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        taps: Taps | None = None,
        golden: GoldenCheck | None = None,
    ) -> None:
        self._incarnation = job.incarnation
        self._recipe = bytes.fromhex(job.recipe_hash)
        self._queue_frames = job.config.line.queue_frames
        self._standby = job.standby
        self._max_batch = job.config.worker.max_batch
        self._geometry = geometry
        self._engine = engine
        self._pipeline = Pipeline(engine, clock_ns) if isinstance(engine, PipelinedEngine) else None
        self._receiver = receiver
        self._gate = gate
        self._lifeline = lifeline
        self._taps = taps
        self._golden = golden
        self._clock_ns = clock_ns
        self._progress = 0
        self._reported_ns = 0
        self._computed = 0

    def run(self) -> None:
        """Works until the lifeline says stop."""
        poller = zmq.Poller()
        poller.register(self._receiver.socket, zmq.POLLIN)
        poller.register(self._lifeline.fd, zmq.POLLIN)
        serving = not self._standby
        if serving:  # before it says so: the first part comes as soon as the gate knows
            self._receiver.grant(self._queue_frames)
        self._report("ready")
        while not self._lifeline.stopping:
            if not serving and self._lifeline.armed:
                self._receiver.grant(self._queue_frames, beside=True)
                serving = True
            poller.poll(0 if self._pipeline is not None and self._pipeline.busy else _TURN_MS)
            self._lifeline.take()
            self._work()
            if self._golden is not None and self._golden.due and self._idle(poller):
                self._golden.repeat(self._engine)
            self._progress += 1
            if self._clock_ns() - self._reported_ns >= _HEARTBEAT_NS:
                self._report("running")
        while self._pipeline is not None and self._pipeline.busy:
            self._advance(self._pipeline, [])
        self._report("stopped")

    def _idle(self, poller: zmq.Poller) -> bool:
        """No frame is being computed, and none waits."""
        return (self._pipeline is None or not self._pipeline.busy) and not poller.poll(0)

    def _work(self) -> None:
        waiting = self._take()
        if self._pipeline is not None:
            self._advance(self._pipeline, waiting)
        elif waiting:
            self._judge(waiting)

    def _advance(self, pipeline: Pipeline, waiting: Sequence[Taken]) -> None:
        """Hands the engine what waits; answers its oldest batch once it takes no more, or nothing more waits."""
        try:
            fed = pipeline.feed(waiting)
        except ValueError:
            self._judge(pipeline.spoilt())
            return
        if pipeline.full or (pipeline.busy and not fed):
            self._answer(*pipeline.collect())

    def _take(self) -> list[Taken]:
        """The frames that wait, at most a batch; those that can't be judged are answered at once."""
        taken: list[Taken] = []
        room = self._max_batch - (0 if self._pipeline is None else self._pipeline.left)
        while len(taken) < room:
            frame = self._receiver.receive()
            if frame is None:
                break
            received_ns = self._clock_ns()
            try:
                taken.append((frame, self._usable(frame, received_ns), received_ns))
            except PartError as error:
                kept = self._copy(frame, None)
                if not frame.release():
                    kept = None
                self._refuse(frame.header, error.cause, received_ns, kept)
        return taken

    def _usable(self, frame: ReceivedFrame, now_ns: int) -> Frame:
        if frame.pixels is None:
            raise PartError(frame.problem, "the frame came without its pixels")
        if now_ns >= frame.header.deadline_ns:
            raise PartError(Cause.EXPIRED_IN_QUEUE, "the deadline is over")
        check_frame(frame.pixels, self._geometry)
        return frame.pixels

    def _judge(self, frames: Sequence[Taken]) -> None:
        self._answer(frames, self._infer(frames))

    def _answer(self, frames: Sequence[Taken], scores: Sequence[Scored | None]) -> None:
        for (frame, _pixels, received_ns), scored in zip(frames, scores, strict=True):
            header = frame.header
            kept = self._copy(frame, scored)
            if not frame.release():  # the score is that of pixels written over while they were read
                self._refuse(header, Cause.FRAME_OVERWRITTEN, received_ns)
                continue
            if scored is None:
                self._refuse(header, Cause.ENGINE_ERROR, received_ns, kept)
                continue
            self._gate.send(
                Result(
                    trigger=header.trigger,
                    worker=self._incarnation,
                    score=scored.score,
                    problem=None,
                    captured_ns=header.captured_ns,
                    received_ns=received_ns,
                    copied_ns=scored.copied_ns,
                    computed_ns=scored.computed_ns,
                    recipe=self._recipe,
                )
            )
            self._computed += 1
            self._keep(header, kept)

    def _copy(self, frame: ReceivedFrame, scored: Scored | None) -> Copied | None:
        """What processes beside the line get of a frame that is about to be released."""
        if self._taps is None or frame.pixels is None:
            return None
        return self._taps.copy(frame.header, frame.pixels, scored)

    def _keep(self, header: FrameHeader, kept: Copied | None) -> None:
        if self._taps is not None and kept is not None:
            self._taps.send(header, kept)

    def _infer(self, frames: Sequence[Taken]) -> list[Scored | None]:
        """Scores of a batch; if it fails, of each frame alone, so that one bad frame costs one part."""
        try:
            return list(self._engine.infer([pixels for _, pixels, _ in frames]))
        except FatalError:
            raise
        except Exception as error:  # the one catch around a part
            if _out_of_memory(error):  # the next frame would find none either; a new process begins with little
                raise EngineError(f"out of memory: {error}") from error
            log.warning("not inspected: %s: %s", type(error).__name__, error)
            if len(frames) == 1:
                return [None]
            return [scored for frame in frames for scored in self._infer([frame])]

    def _refuse(self, header: FrameHeader, cause: Cause, received_ns: int, kept: Copied | None = None) -> None:
        self._gate.send(
            Result(
                trigger=header.trigger,
                worker=self._incarnation,
                score=math.nan,
                problem=cause,
                captured_ns=header.captured_ns,
                received_ns=received_ns,
                copied_ns=0,
                computed_ns=0,
                recipe=self._recipe,
            )
        )
        self._keep(header, kept)

    def _report(self, state: str) -> None:
        self._reported_ns = self._clock_ns()
        self._gate.send(
            State(
                "worker",
                self._incarnation,
                state,
                progress=self._progress,
                details={
                    "computed": self._computed,
                    "malformed": self._receiver.malformed,
                    **({"golden_age_s": self._golden.age_s} if self._golden is not None else {}),
                    **(self._taps.counts() if self._taps is not None else {}),
                },
            )
        )


def _out_of_memory(error: Exception) -> bool:
    """The frameworks have no type of their own for the host's memory."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in ("allocate memory", "bad_alloc"))


def work(job: Job, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
    """Runs the worker until it is told to stop.

    Args:
        job: The orders.
        clock_ns: Monotonic clock.
    """
    from inspector.roles.engine import create_engine  # seconds to load, which a worker without torch need not wait for

    recipe = load_recipe(job.config.recipe)
    if recipe.content_hash != job.recipe_hash:
        raise RecipeError(f"{recipe.folder}: changed since the daemon started; restart the daemon to take it up")
    engine = create_engine(job.config.worker, recipe, clock_ns)
    gc.collect()
    gc.freeze()  # a full collection with torch loaded takes a tenth of a second
    golden = GoldenCheck(recipe.golden_frame(), recipe.manifest.golden, job.config.worker.golden_check_s)
    serve(job, recipe, engine, golden, clock_ns)


def serve(
    job: Job,
    recipe: Recipe,
    engine: Engine,
    golden: GoldenCheck | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Runs the loop between its sockets until it is told to stop.

    Args:
        job: The orders.
        recipe: Of the engine.
        engine: Warmed up.
        golden: Proves the engine again from time to time; None never does.
        clock_ns: Monotonic clock.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    gate = GateOutbox(context, job.gate_endpoint)
    receiver = open_receiver(context, job.frames_endpoint, job.incarnation, job.ring)
    memory = receiver.memory
    if memory is not None and isinstance(engine, PipelinedEngine):
        engine.register(memory)
    taps = open_taps(context, job, recipe)
    try:
        geometry = recipe.manifest.geometry
        WorkerRole(job, geometry, engine, receiver, gate, Lifeline(), clock_ns, taps, golden).run()
    finally:
        if taps is not None:
            taps.close()
        receiver.close()
        gate.close()
        context.term()


if __name__ == "__main__":
    sys.exit(run_child("worker", work, sys.argv[1:]))
