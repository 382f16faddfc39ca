"""What an engine is to the worker: frames in, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from inspector.domain.frame import Frame, Pixels


@dataclass(frozen=True)
class Scored:
    """What the engine says of one frame.

    Attributes:
        score: Anomaly score; may be NaN, which never passes.
        copied_ns: Monotonic time at which the batch was ready for the network.
        computed_ns: Monotonic time at which the score was known.
    """

    score: float
    copied_ns: int
    computed_ns: int


class Engine(Protocol):
    """Runs the network on a device. Loaded and warmed up before the worker says that it is ready."""

    def warm_up(self, frame: Pixels) -> float:
        """Runs every batch size on the golden frame.

        Returns:
            The golden frame's score.
        """

    def infer(self, frames: Sequence[Frame]) -> list[Scored]:
        """Scores of 1 to `max_batch` frames, in their order. A mosaic has the score of the picture that it makes.

        Raises:
            EngineError: The device is in a state that only a new process mends.
        """


@runtime_checkable
class PipelinedEngine(Engine, Protocol):
    """An engine that takes the next batch while it computes the former one.

    Attributes:
        depth: Batches that may be on their way at once.
    """

    depth: int

    def submit(self, frames: Sequence[Frame]) -> Any:
        """Takes a batch of 1 to `max_batch` frames; at most `depth` may be on their way.

        Returns:
            A ticket. The frames' memory belongs to the engine until the ticket is collected.

        Raises:
            EngineError: As `Engine.infer`.
            ValueError: A frame can't be taken, and the batch was not.
        """

    def collect(self, ticket: Any) -> list[Scored]:
        """Waits for a batch: what `Engine.infer` gives. Each ticket once, in any order.

        Raises:
            EngineError: As `Engine.infer`.
        """

    def expected_ns(self, frames: int) -> int:
        """Time that a batch of so many frames takes from `submit` to its scores, as measured in the warm-up."""

    def register(self, memory: Pixels) -> None:
        """Names memory that frames will lie in, so that they are read from it without a copy of the processor's.

        Raises:
            EngineError: The device can't read it.
        """
