"""A worker that knows no network: gate, transport and supervision are tried with it faster than a CPU can judge.

Its score is a checksum of all pixels, so that every verdict says which frame it was given on. It judges nothing, and
runs only with a recipe that is flagged as unfit to inspect; no configuration asks for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

from inspector.domain.errors import RecipeError
from inspector.domain.frame import Frame, Pixels, pixels_of
from inspector.engines.base import Scored
from inspector.recipe.store import load_recipe
from inspector.roles.job import Job, run_child
from inspector.roles.worker import Duty, serve

#: Scores lie from 0 to below this.
LARGEST = 1 << 32


def checksum(pixels: Pixels) -> float:
    """Exclusive or of all words of 8 bytes, folded; a whole number below `LARGEST`.

    >>> checksum(np.array([[1, 0, 0, 0, 2, 0, 0, 0]], np.uint8))
    3.0
    """
    words = pixels.reshape(-1)[: pixels.size // 8 * 8].view(np.uint64)
    whole = int(np.bitwise_xor.reduce(words))
    return float((whole ^ whole >> 32) & (LARGEST - 1))


class ChecksumEngine:
    """An `Engine` without a network."""

    def warm_up(self, frame: Pixels) -> float:
        """The frame's checksum."""
        return checksum(frame)

    def infer(self, frames: Sequence[Frame]) -> list[Scored]:
        """Checksums of the frames."""
        copied_ns = time.monotonic_ns()
        return [Scored(checksum(pixels_of(frame)), copied_ns, time.monotonic_ns()) for frame in frames]


def work(job: Job) -> None:
    """Runs the worker until it is told to stop.

    Raises:
        RecipeError: The recipe is one that can inspect.
    """
    duties = []
    for line in job.lines:
        recipe = load_recipe(line.config.recipe)
        if not recipe.manifest.random_weights:
            raise RecipeError(f"{recipe.folder}: the checksum worker is for trials; it must not judge by a real recipe")
        duties.append(Duty([line], recipe, ChecksumEngine()))
    serve(duties)


if __name__ == "__main__":
    sys.exit(run_child("worker", work, sys.argv[1:]))
