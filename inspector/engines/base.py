"""What an engine is to the worker: frames in, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inspector.domain.frame import Pixels


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

    def infer(self, frames: Sequence[Pixels]) -> list[Scored]:
        """Scores of 1 to `max_batch` frames, in their order.

        Raises:
            EngineError: The device is in a state that only a new process mends.
        """
