"""Batches on their way through an engine that takes the next one while it computes the former."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from inspector.domain.frame import Frame
from inspector.engines.base import PipelinedEngine, Scored
from inspector.engines.batching import frames_in_time
from inspector.wire.frames import ReceivedFrame


class Respondent(Protocol):
    """Who has taken a frame up, and answers it."""

    def answer(self, frame: ReceivedFrame, received_ns: int, scored: Scored | None) -> None:
        """As `Seat.answer`."""


class Taken(NamedTuple):
    """A frame in the worker's hands.

    Attributes:
        frame: As it was received.
        pixels: Its image.
        received_ns: Monotonic time at which it was taken up.
        seat: Who answers it.
    """

    frame: ReceivedFrame
    pixels: Frame
    received_ns: int
    seat: Respondent


class Pipeline:
    """Frames that the worker has taken up and not answered yet.

    Args:
        engine: Warmed up.
        clock_ns: Monotonic clock.
    """

    def __init__(self, engine: PipelinedEngine, clock_ns: Callable[[], int]) -> None:
        self._engine = engine
        self._clock_ns = clock_ns
        self._left: list[Taken] = []
        self._flight: deque[tuple[list[Taken], Any]] = deque()
        self._free_ns = 0

    @property
    def left(self) -> int:
        """Frames taken up that the engine has not got yet."""
        return len(self._left)

    @property
    def busy(self) -> bool:
        """True while a frame is unanswered."""
        return bool(self._left or self._flight)

    @property
    def full(self) -> bool:
        """True if a batch must be collected before the engine takes another."""
        return len(self._flight) >= self._engine.depth

    def feed(self, frames: Sequence[Taken]) -> bool:
        """Hands the engine a batch of the frames that are left and these, if it takes one: as many as cost none of
        them its deadline.

        Returns:
            True if a batch was handed over.

        Raises:
            EngineError: As `PipelinedEngine.submit`.
            ValueError: A frame can't be taken; `spoilt` gives the batch.
        """
        self._left += frames
        if self.full or not self._left:
            return False
        start_ns = max(self._clock_ns(), self._free_ns)
        deadlines_ns = [taken.frame.header.deadline_ns for taken in self._left]
        count = frames_in_time(deadlines_ns, start_ns, self._engine.expected_ns)
        batch = self._left[:count]
        ticket = self._engine.submit([taken.pixels for taken in batch])
        del self._left[:count]
        self._flight.append((batch, ticket))
        self._free_ns = start_ns + self._engine.expected_ns(count)
        return True

    def spoilt(self) -> list[Taken]:
        """The frames that the engine did not take, for the worker to try one by one."""
        frames, self._left = self._left, []
        return frames

    def collect(self) -> tuple[list[Taken], list[Scored]]:
        """Waits for the oldest batch on its way: its frames and their scores.

        Raises:
            EngineError: As `PipelinedEngine.collect`.
        """
        batch, ticket = self._flight.popleft()
        return batch, self._engine.collect(ticket)
