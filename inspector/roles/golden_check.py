"""An engine is trusted as long as it gives the golden frame the recipe's score; no torch here."""

from __future__ import annotations

import time
from collections.abc import Callable

from inspector.domain.errors import EngineError
from inspector.domain.frame import Pixels
from inspector.engines.base import Engine
from inspector.recipe.manifest import Golden


def prove(score: float, golden: Golden) -> None:
    """Compares a score of the golden frame with the recipe's.

    Raises:
        EngineError: It is another, or not a number.
    """
    if not abs(score - golden.score) <= golden.tolerance * max(abs(golden.score), 1e-9):
        raise EngineError(
            f"golden frame: this engine's score is {score:.6g}, the recipe's {golden.score:.6g} "
            f"(tolerance {golden.tolerance:.1%}); the engine does not compute the recipe's network; take another "
            "worker.engine"
        )


class GoldenCheck:
    """Computes the golden frame again from time to time: memory and devices go bad while a worker runs for months.

    Args:
        frame: The recipe's golden frame.
        golden: Its score and tolerance.
        every_s: Time between two checks.
        clock_ns: Monotonic clock. The engine was proven just now.
    """

    def __init__(
        self, frame: Pixels, golden: Golden, every_s: float, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._frame = frame
        self._golden = golden
        self._every_ns = round(every_s * 1e9)
        self._clock_ns = clock_ns
        self._proven_ns = clock_ns()

    @property
    def due(self) -> bool:
        """True if it is time for the next check."""
        return self._clock_ns() - self._proven_ns >= self._every_ns

    @property
    def age_s(self) -> float:
        """Seconds since the engine was last proven."""
        return (self._clock_ns() - self._proven_ns) / 1e9

    def repeat(self, engine: Engine) -> None:
        """Has the engine compute the golden frame; takes as long as a part.

        Raises:
            EngineError: Its score is no longer the recipe's.
        """
        prove(engine.infer([self._frame])[0].score, self._golden)
        self._proven_ns = self._clock_ns()
