"""An engine and the seats that it judges for: what waits at them is computed together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from inspector.domain.errors import EngineError, FatalError
from inspector.engines.base import Engine, PipelinedEngine, Scored
from inspector.roles.golden_check import GoldenCheck
from inspector.roles.pipeline import Pipeline, Taken
from inspector.roles.seat import Seat

log = logging.getLogger("inspector")


class Inference:
    """One turn after the other: the frames that wait, the network, the results.

    Args:
        engine: Warmed up.
        seats: Lines whose recipe it computes.
        max_batch: Frames computed together at most.
        clock_ns: Monotonic clock.
        golden: Proves the engine again while no frame waits; None never does.
    """

    def __init__(
        self,
        engine: Engine,
        seats: Sequence[Seat],
        max_batch: int,
        clock_ns: Callable[[], int],
        golden: GoldenCheck | None = None,
    ) -> None:
        self.seats = list(seats)
        self.golden = golden
        self._engine = engine
        self._max_batch = max_batch
        self._pipeline = Pipeline(engine, clock_ns) if isinstance(engine, PipelinedEngine) else None

    @property
    def busy(self) -> bool:
        """True while a frame is unanswered."""
        return self._pipeline is not None and self._pipeline.busy

    @property
    def golden_age_s(self) -> float | None:
        """Seconds since the engine was last proven; None if that is never repeated."""
        return None if self.golden is None else self.golden.age_s

    def work(self) -> None:
        """Takes what waits and answers what is computed."""
        waiting = self._take()
        if self._pipeline is not None:
            self._advance(self._pipeline, waiting)
        elif waiting:
            self._judge(waiting)

    def finish(self) -> None:
        """Answers the frames that were taken up, and takes no more."""
        while self._pipeline is not None and self._pipeline.busy:
            self._advance(self._pipeline, [])

    def prove(self) -> None:
        """Has the engine compute the golden frame again; for a moment when no frame waits.

        Raises:
            EngineError: Its score is no longer the recipe's.
        """
        if self.golden is not None:
            self.golden.repeat(self._engine)

    def leave(self, seat: Seat) -> None:
        """Has done with a seat: what was taken from it is answered, and it is closed."""
        self.finish()
        self.seats.remove(seat)
        seat.report("stopped", 0, None)
        seat.close()

    def _take(self) -> list[Taken]:
        """The frames that wait, at most a batch: one of each seat in turn, so that none waits for another's queue."""
        taken: list[Taken] = []
        room = self._max_batch - (0 if self._pipeline is None else self._pipeline.left)
        hungry = list(self.seats)
        while hungry and len(taken) < room:
            seat = hungry.pop(0)
            frame = seat.take()
            if frame is not None:
                taken.append(frame)
                hungry.append(seat)
        if len(self.seats) > 1:
            self.seats.append(self.seats.pop(0))
        return taken

    def _advance(self, pipeline: Pipeline, waiting: Sequence[Taken]) -> None:
        """Hands the engine what waits; answers its oldest batch once it takes no more, or nothing more waits."""
        try:
            fed = pipeline.feed(waiting)
        except ValueError:
            self._judge(pipeline.spoilt())
            return
        if pipeline.full or (pipeline.busy and not fed):
            _answer(*pipeline.collect())

    def _judge(self, frames: Sequence[Taken]) -> None:
        _answer(frames, self._infer(frames))

    def _infer(self, frames: Sequence[Taken]) -> list[Scored | None]:
        """Scores of a batch; if it fails, of each frame alone, so that one bad frame costs one part."""
        try:
            return list(self._engine.infer([taken.pixels for taken in frames]))
        except FatalError:
            raise
        except Exception as error:  # the one catch around a part
            if _out_of_memory(error):  # the next frame would find none either; a new process begins with little
                raise EngineError(f"out of memory: {error}") from error
            log.warning("not inspected: %s: %s", type(error).__name__, error)
            if len(frames) == 1:
                return [None]
            return [scored for frame in frames for scored in self._infer([frame])]


def _answer(frames: Sequence[Taken], scores: Sequence[Scored | None]) -> None:
    for taken, scored in zip(frames, scores, strict=True):
        taken.seat.answer(taken.frame, taken.received_ns, scored)


def _out_of_memory(error: Exception) -> bool:
    """The frameworks have no type of their own for the host's memory."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in ("allocate memory", "bad_alloc"))
