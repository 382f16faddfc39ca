"""The worker's loop with an engine, a socket and a gate made here."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector.config.cameras import SyntheticCamera
from inspector.config.schema import InspectorConfig
from inspector.config.schema import Worker as WorkerConfig
from inspector.domain.errors import EngineError, RecipeError
from inspector.domain.frame import PixelFormat, Pixels
from inspector.domain.verdict import Cause
from inspector.engines.base import Scored
from inspector.recipe.manifest import Geometry, Golden
from inspector.roles.golden_check import GoldenCheck
from inspector.roles.inference import Inference
from inspector.roles.job import Job
from inspector.roles.lifeline import Lifeline
from inspector.roles.seat import Seat
from inspector.roles.worker import WorkerRole, work
from inspector.wire.frames import ReceivedFrame
from inspector.wire.messages import FrameHeader, Result, State

NOW_NS = 1_000_000


class Receiver:
    def __init__(self) -> None:
        self.frames: list[ReceivedFrame] = []
        self.granted = 0
        self.malformed = 0
        self.socket, self._end = os.pipe()

    def grant(self, frames: int, *, beside: bool = False) -> None:
        self.granted += frames

    def receive(self) -> ReceivedFrame | None:
        return self.frames.pop(0) if self.frames else None


class Gate:
    def __init__(self) -> None:
        self.said: list[Any] = []

    def send(self, message: Any) -> None:
        self.said.append(message)

    @property
    def results(self) -> list[Result]:
        return [message for message in self.said if isinstance(message, Result)]


class Engine:
    """Scores a frame by its first pixel; 13 is a frame that it can't bear."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def warm_up(self, frame: Pixels) -> float:
        return 0.0

    def infer(self, frames: Sequence[Pixels]) -> list[Scored]:
        self.batches.append(len(frames))
        if any(frame[0, 0] == 13 for frame in frames):
            raise ValueError("unlucky frame")
        return [Scored(float(frame[0, 0]), NOW_NS, NOW_NS) for frame in frames]


def job(recipe: Path, max_batch: int = 4, recipe_hash: str = "00" * 32) -> Job:
    config = InspectorConfig(
        station="s",
        recipe=recipe,
        camera=SyntheticCamera(kind="synthetic"),
        worker=WorkerConfig(max_batch=max_batch, threads=1),
    )
    return Job(config=config, incarnation=3, frames_endpoint="", gate_endpoint="", recipe_hash=recipe_hash)


def frame(number: int, value: int = 1, *, deadline_ns: int = 2 * NOW_NS, side: int = 8) -> ReceivedFrame:
    header = FrameHeader(number, 0, 0, 0, deadline_ns, PixelFormat.MONO8, side, side)
    return ReceivedFrame(header, np.full((side, side), value, np.uint8))


class Bench:
    def __init__(self, engine: Engine, geometry: Geometry) -> None:
        self.receiver, self.gate, self.engine = Receiver(), Gate(), engine
        reading, self.gate_end = os.pipe()
        receiver: Any = self.receiver
        gate: Any = self.gate
        self.seat = Seat(job(Path("r")), geometry, receiver, gate, lambda: NOW_NS)
        self.inference = Inference(engine, [self.seat], 4, lambda: NOW_NS)
        self.role = WorkerRole([self.inference], Lifeline(reading), lambda: NOW_NS)

    def turn(self, *frames: ReceivedFrame) -> list[Result]:
        before = len(self.gate.results)
        self.receiver.frames += frames
        while self.receiver.frames:
            self.inference.work()
        return self.gate.results[before:]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(Engine(), Geometry(width_px=32, height_px=32, frame_px=(8, 8)))
    yield bench
    for fd in (bench.receiver.socket, bench.receiver._end, bench.gate_end, bench.role._lifeline.fd):
        os.close(fd)


def test_what_waits_is_computed_together_and_answered_one_by_one(bench: Bench) -> None:
    results = bench.turn(*(frame(number, number) for number in range(6)))
    assert bench.engine.batches == [4, 2]
    assert [(result.trigger, result.score) for result in results] == [(n, float(n)) for n in range(6)]
    assert all(result.problem is None and result.worker == 3 for result in results)


def test_a_frame_that_breaks_the_engine_costs_one_part_of_its_batch(bench: Bench) -> None:
    results = bench.turn(frame(0, 1), frame(1, 13), frame(2, 2))
    assert [result.problem for result in results] == [None, Cause.ENGINE_ERROR, None]
    assert math.isnan(results[1].score)


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (frame(0, deadline_ns=NOW_NS), Cause.EXPIRED_IN_QUEUE),
        (frame(0, side=9), Cause.FRAME_GEOMETRY),
        (dataclasses.replace(frame(0), pixels=None), Cause.FRAME_CORRUPT),
    ],
)
def test_a_frame_that_can_not_be_judged_is_answered_without_the_engine(
    bench: Bench, bad: ReceivedFrame, cause: Cause
) -> None:
    results = bench.turn(bad, frame(1))
    assert [result.problem for result in results] == [cause, None]
    assert bench.engine.batches == [1]


class Slot(ReceivedFrame):
    """A frame in shared memory, written over or not."""

    def __init__(self, frame: ReceivedFrame, intact: bool) -> None:
        super().__init__(frame.header, frame.pixels)
        object.__setattr__(self, "releases", [])
        object.__setattr__(self, "intact", intact)

    def release(self) -> bool:
        self.releases.append(None)  # type: ignore[attr-defined]
        return self.intact  # type: ignore[attr-defined,no-any-return]


def test_score_of_pixels_that_were_written_over_is_no_result(bench: Bench) -> None:
    frames = [Slot(frame(0), True), Slot(frame(1), False), Slot(frame(2, 13), False), Slot(frame(3), True)]
    results = bench.turn(*frames)
    assert [result.problem for result in results] == [None, Cause.FRAME_OVERWRITTEN, Cause.FRAME_OVERWRITTEN, None]
    assert [math.isnan(result.score) for result in results] == [False, True, True, False]


def test_every_frame_is_released_once(bench: Bench) -> None:
    frames = [Slot(frame(0), True), Slot(frame(1, deadline_ns=NOW_NS), True), Slot(frame(2, 13), True)]
    bench.turn(*frames)
    assert [len(slot.releases) for slot in frames] == [1, 1, 1]  # type: ignore[attr-defined]


def test_a_frame_without_pixels_is_answered_with_its_problem(bench: Bench) -> None:
    lost = dataclasses.replace(frame(0), pixels=None, problem=Cause.FRAME_OVERWRITTEN)
    assert [result.problem for result in bench.turn(lost)] == [Cause.FRAME_OVERWRITTEN]


def test_a_broken_device_is_no_matter_of_one_part(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(frames: Sequence[Pixels]) -> list[Scored]:
        raise EngineError("device lost")

    monkeypatch.setattr(bench.engine, "infer", lost)
    with pytest.raises(EngineError):
        bench.turn(frame(0))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
        RuntimeError("Exception from src/inference: std::bad_alloc"),
    ],
)
def test_a_worker_without_memory_leaves(bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """It once answered engine_error for every part from then on, for ever."""

    def starved(frames: Sequence[Pixels]) -> list[Scored]:
        raise error

    monkeypatch.setattr(bench.engine, "infer", starved)
    with pytest.raises(EngineError, match="out of memory"):
        bench.turn(frame(0))


def golden_check(bench: Bench, score: float, age_ns: int) -> GoldenCheck:
    """A golden frame of value 5, last proven so long before `NOW_NS`."""
    clock_ns = iter([NOW_NS - age_ns])
    golden = Golden(score=score, tolerance=0.01)
    return GoldenCheck(np.full((8, 8), 5, np.uint8), golden, 1e-6, lambda: next(clock_ns, NOW_NS))


def run_to_its_end(bench: Bench) -> None:
    os.write(bench.gate_end, b"stop\n")
    bench.role.run()


def test_the_golden_frame_is_computed_again_when_it_is_due_and_no_frame_waits(bench: Bench) -> None:
    bench.inference.golden = golden_check(bench, 5.0, age_ns=2000)
    bench.role._heart.say("running")
    assert bench.gate.said[-1].details["golden_age_s"] == pytest.approx(2e-6)
    run_to_its_end(bench)
    assert bench.engine.batches == [1]
    assert bench.gate.said[-1].details["golden_age_s"] == 0.0
    assert bench.gate.results == []


def test_the_golden_frame_lets_parts_go_first(bench: Bench) -> None:
    bench.inference.golden = golden_check(bench, 5.0, age_ns=2000)
    os.write(bench.receiver._end, b"x")  # a further frame waits, and goes on waiting
    bench.receiver.frames += [frame(0)]
    run_to_its_end(bench)
    assert bench.engine.batches == [1]
    assert [result.trigger for result in bench.gate.results] == [0]


def test_a_golden_frame_that_was_proven_lately_is_left_alone(bench: Bench) -> None:
    bench.inference.golden = golden_check(bench, 5.0, age_ns=500)
    run_to_its_end(bench)
    assert bench.engine.batches == []


def test_a_worker_that_no_longer_computes_the_golden_score_leaves(bench: Bench) -> None:
    bench.inference.golden = golden_check(bench, 5.2, age_ns=2000)
    with pytest.raises(EngineError, match=r"this engine's score is 5, the recipe's 5\.2"):
        run_to_its_end(bench)


def test_the_loop_reports_grants_and_leaves_when_told(bench: Bench) -> None:
    bench.receiver.frames += [frame(0), frame(1)]
    os.write(bench.receiver._end, b"x")
    os.write(bench.gate_end, b"stop\n")
    bench.role.run()
    states = [message.state for message in bench.gate.said if isinstance(message, State)]
    assert states == ["ready", "stopped"]
    assert bench.receiver.granted == 8
    assert [result.trigger for result in bench.gate.results] == [0, 1]


def test_a_recipe_that_changed_since_the_daemon_started_is_refused(random_recipe: Path) -> None:
    with pytest.raises(RecipeError, match="changed since the daemon started"):
        work(job(random_recipe, recipe_hash="ab" * 32))


class Tap:
    """Keeps copies of what scored above 1, or not at all."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []

    def copy(self, header: FrameHeader, pixels: Pixels, scored: Scored | None) -> Pixels | None:
        return pixels.copy() if scored is None or scored.score > 1 else None

    def send(self, header: FrameHeader, copied: Pixels) -> None:
        self.sent.append((header.trigger, int(copied[0, 0])))

    def counts(self) -> dict[str, float]:
        return {"archive_refused": 3}


def test_frames_for_the_archive_leave_after_their_result_and_never_if_they_were_written_over(bench: Bench) -> None:
    tap: Any = Tap()
    bench.seat._taps = tap
    results = bench.turn(
        frame(1, 1),
        frame(2, 5),
        frame(3, 13),  # breaks the engine
        Slot(frame(4, 5), False),
        frame(5, 6, deadline_ns=0),  # expired
        frame(6, 7, side=9),  # another size
    )
    assert len(results) == 6
    assert sorted(tap.sent) == [(2, 5), (3, 13), (5, 6), (6, 7)]
    bench.role._heart.say("running")
    assert bench.gate.said[-1].details["archive_refused"] == 3
