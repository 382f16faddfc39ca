"""Something that scores frames, and how long it takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inspector.domain.frame import Pixels
from inspector.domain.precision import Precision
from inspector.engines.base import PipelinedEngine
from inspector.engines.cuda import CudaEngine


@dataclass
class Contender:
    """Something that scores frames, and how long it took.

    Attributes:
        name: For people.
        precision: Of the network.
        score: Scores of a batch.
        batches: Batch sizes to measure.
        compared: Whether its scores must be the plain implementation's.
        engine: What gives the scores, where that takes the next batch before the former is computed.
        arithmetic: In which its rounds run.
        frames: The same frames in memory of its own; None where it takes everybody's.
        per_frame_ms: Time for a frame in each round, by batch size.
        calls_ms: Times of calls with one frame.
        device_ms: Times of one frame on the device, copies included.
        cpu_ms: Processor time of a frame in each round.
    """

    name: str
    precision: Precision
    score: Callable[[Sequence[Pixels]], list[float]]
    batches: tuple[int, ...]
    compared: bool = True
    engine: PipelinedEngine | None = None
    arithmetic: Callable[[], AbstractContextManager[None]] = nullcontext
    frames: Sequence[Pixels] | None = None
    per_frame_ms: dict[int, list[float]] = field(default_factory=dict)
    calls_ms: list[float] = field(default_factory=list)
    device_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def measure(self, frames: Sequence[Pixels], seconds: float) -> None:
        """One round: each batch size for `seconds`, at least three calls."""
        frames = frames if self.frames is None else self.frames
        with self.arithmetic():
            for batch in self.batches:
                each_ms = self._call(frames, batch, seconds) if self.engine is None or batch == 1 else 0.0
                if self.engine is not None:
                    each_ms = self._stream(self.engine, frames, batch, seconds)
                self.per_frame_ms.setdefault(batch, []).append(each_ms)

    def forget(self) -> None:
        """Drops what was measured."""
        self.per_frame_ms, self.calls_ms, self.device_ms, self.cpu_ms = {}, [], [], []

    def _call(self, frames: Sequence[Pixels], batch: int, seconds: float) -> float:
        """One call after the other: the median time for a frame, in milliseconds."""
        calls: list[float] = []
        cpu = time.process_time()
        begun = time.perf_counter()
        while len(calls) < 3 or time.perf_counter() - begun < seconds:
            chosen = _chosen(frames, batch, len(calls))
            start = time.perf_counter()
            self.score(chosen)
            calls.append(1e3 * (time.perf_counter() - start))
            if isinstance(self.engine, CudaEngine):
                self.device_ms.append(self.engine.device_ms)
        if batch == 1:
            self.calls_ms += calls
            self.cpu_ms.append(1e3 * (time.process_time() - cpu) / len(calls))
        return float(np.median(calls)) / batch

    def _stream(self, engine: PipelinedEngine, frames: Sequence[Pixels], batch: int, seconds: float) -> float:
        """As many batches on their way as the engine takes: the time for a frame, in milliseconds."""
        flight: deque[Any] = deque()
        done = 0
        begun = time.perf_counter()
        while done < 3 or time.perf_counter() - begun < seconds:
            flight.append(engine.submit(_chosen(frames, batch, done)))
            if len(flight) == engine.depth:
                engine.collect(flight.popleft())
                done += 1
        elapsed_ms = 1e3 * (time.perf_counter() - begun)
        while flight:
            engine.collect(flight.popleft())
        return elapsed_ms / (done * batch)


def _chosen(frames: Sequence[Pixels], batch: int, call: int) -> list[Pixels]:
    return [frames[(call * batch + index) % len(frames)] for index in range(batch)]
