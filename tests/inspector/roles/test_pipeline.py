"""The worker hands the next batch over while the former is computed, and every frame is answered once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.config.cameras import SyntheticCamera
from inspector.config.schema import InspectorConfig
from inspector.config.schema import Worker as WorkerConfig
from inspector.domain.errors import EngineError
from inspector.domain.frame import PixelFormat, Pixels
from inspector.domain.verdict import Cause
from inspector.engines.base import PipelinedEngine, Scored
from inspector.recipe.manifest import Geometry
from inspector.roles.inference import Inference
from inspector.roles.job import Job
from inspector.roles.lifeline import Lifeline
from inspector.roles.pipeline import Pipeline, Taken
from inspector.roles.seat import Seat
from inspector.roles.worker import WorkerRole
from inspector.wire.frames import ReceivedFrame
from inspector.wire.messages import FrameHeader, Result

NOW_NS = 1_000_000
EACH_NS = 100


class Engine:
    """Scores a frame by its first pixel when it is collected; takes no frame with 13."""

    depth = 2

    def __init__(self) -> None:
        self.log: list[str] = []
        self.tickets: dict[int, list[Pixels]] = {}
        self.number = 0

    def warm_up(self, frame: Pixels) -> float:
        return 0.0

    def expected_ns(self, frames: int) -> int:
        return EACH_NS * frames

    def register(self, memory: Pixels) -> None:
        raise AssertionError("not here")

    def submit(self, frames: Sequence[Pixels]) -> int:
        assert len(self.tickets) < self.depth
        if any(frame[0, 0] == 13 for frame in frames):
            raise ValueError("unlucky frame")
        self.number += 1
        self.log.append(f"submit {len(frames)}")
        self.tickets[self.number] = list(frames)
        return self.number

    def collect(self, ticket: int) -> list[Scored]:
        self.log.append("collect")
        return [Scored(float(frame[0, 0]), NOW_NS, NOW_NS) for frame in self.tickets.pop(ticket)]

    def infer(self, frames: Sequence[Pixels]) -> list[Scored]:
        return self.collect(self.submit(frames))


class Slot(ReceivedFrame):
    """A frame in shared memory that is written over as soon as it is released."""

    def __init__(self, number: int, value: int = 1, deadline_ns: int = 2 * NOW_NS) -> None:
        header = FrameHeader(number, 0, 0, 0, deadline_ns, PixelFormat.MONO8, 8, 8)
        super().__init__(header, np.full((8, 8), value, np.uint8))

    def release(self) -> bool:
        assert self.pixels is not None
        assert self.pixels[0, 0] != 255, "released twice"
        self.pixels[:] = 255
        return True


class Receiver:
    malformed = 0

    def __init__(self) -> None:
        self.frames: list[ReceivedFrame] = []
        self.socket, self.end = os.pipe()

    def grant(self, frames: int, *, beside: bool = False) -> None:
        pass

    def receive(self) -> ReceivedFrame | None:
        return self.frames.pop(0) if self.frames else None


class Gate:
    def __init__(self) -> None:
        self.said: list[Any] = []

    def send(self, message: Any) -> None:
        self.said.append(message)

    @property
    def scores(self) -> list[tuple[int, float]]:
        return [(message.trigger, message.score) for message in self.said if isinstance(message, Result)]


class Bench:
    def __init__(self) -> None:
        self.engine, self.receiver, self.gate = Engine(), Receiver(), Gate()
        reading, self.gate_end = os.pipe()
        config = InspectorConfig(
            station="s",
            recipe=Path("r"),
            camera=SyntheticCamera(kind="synthetic"),
            worker=WorkerConfig(max_batch=4, threads=1),
        )
        job = Job(config=config, incarnation=3, frames_endpoint="", gate_endpoint="", recipe_hash="00" * 32)
        self.lifeline = Lifeline(reading)
        receiver: Any = self.receiver
        gate: Any = self.gate
        geometry = Geometry(width_px=32, height_px=32, frame_px=(8, 8))
        self.inference = Inference(
            self.engine, [Seat(job, geometry, receiver, gate, lambda: NOW_NS)], 4, lambda: NOW_NS
        )
        self.role = WorkerRole([self.inference], self.lifeline, lambda: NOW_NS)

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.inference.work()

    def close(self) -> None:
        for fd in (self.receiver.socket, self.receiver.end, self.gate_end, self.lifeline.fd):
            os.close(fd)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_the_double_is_a_pipelined_engine() -> None:
    assert isinstance(Engine(), PipelinedEngine)


def test_a_lone_frame_is_answered_as_soon_as_nothing_follows(bench: Bench) -> None:
    bench.receiver.frames.append(Slot(0, 7))
    bench.turns(2)
    assert bench.gate.scores == [(0, 7.0)]
    assert bench.engine.log == ["submit 1", "collect"]


def test_the_next_batch_is_handed_over_before_the_former_is_collected(bench: Bench) -> None:
    bench.receiver.frames += [Slot(number, number + 20) for number in range(10)]
    bench.turns(5)
    assert bench.engine.log == ["submit 4", "submit 4", "collect", "submit 2", "collect", "collect"]
    assert bench.gate.scores == [(number, number + 20.0) for number in range(10)]


def test_a_frame_that_the_engine_does_not_take_costs_one_part(bench: Bench) -> None:
    bench.receiver.frames += [Slot(0, 1), Slot(1, 13), Slot(2, 2)]
    bench.turns(3)
    problems = {message.trigger: message.problem for message in bench.gate.said}
    assert problems == {0: None, 1: Cause.ENGINE_ERROR, 2: None}


def test_a_batch_is_no_larger_than_the_deadlines_of_its_frames_allow(bench: Bench) -> None:
    soon = NOW_NS + 2 * EACH_NS
    bench.receiver.frames += [Slot(number, number, soon) for number in range(3)]
    bench.turns(4)
    assert bench.engine.log[:2] == ["submit 2", "submit 1"]
    assert sorted(number for number, _ in bench.gate.scores) == [0, 1, 2]


def test_what_is_on_its_way_is_answered_before_the_worker_leaves(bench: Bench) -> None:
    bench.receiver.frames += [Slot(number) for number in range(9)]
    os.write(bench.receiver.end, b"x")
    os.write(bench.gate_end, b"stop\n")
    bench.role.run()
    answered = [number for number, _ in bench.gate.scores]
    assert answered == list(range(len(answered)))  # one turn's worth, each once
    assert 4 <= len(answered) < 9
    assert not bench.engine.tickets


def test_a_broken_device_ends_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(ticket: int) -> list[Scored]:
        raise EngineError("device lost")

    monkeypatch.setattr(bench.engine, "collect", lost)
    bench.receiver.frames.append(Slot(0))
    with pytest.raises(EngineError):
        bench.turns(2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400)), max_size=20))
def test_every_frame_is_answered_once_and_in_its_order(arrivals: list[tuple[int, int]]) -> None:
    bench = Bench()
    try:
        number = 0
        for count, slack in arrivals:
            bench.receiver.frames += [
                Slot(number + n, (number + n) % 200 + 20, NOW_NS + slack + 1) for n in range(count)
            ]
            number += count
            bench.turns(1)
        while bench.receiver.frames or bench.inference.busy:
            bench.turns(1)
        assert bench.gate.scores == [(n, float(n % 200 + 20)) for n in range(number)]
    finally:
        bench.close()


def test_a_batch_begins_when_the_engine_is_through_with_the_former() -> None:
    pipeline = Pipeline(Engine(), lambda: 0)
    nobody: Any = None
    taken: list[Any] = [
        Taken(frame, frame.pixels, 0, nobody) for frame in (Slot(number, deadline_ns=650) for number in range(8))
    ]
    assert pipeline.feed(taken[:4])
    assert pipeline.feed(taken[4:])  # free after 400: two more are through at 600, four would be at 800
    assert pipeline.full
    assert pipeline.left == 2
