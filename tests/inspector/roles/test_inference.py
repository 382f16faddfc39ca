"""Lines that share an engine: one batch, fair turns, every answer at its own line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inspector.recipe.manifest import Geometry
from inspector.roles.inference import Inference
from inspector.roles.lifeline import Lifeline
from inspector.roles.seat import Seat
from inspector.roles.worker import WorkerRole
from inspector.wire.messages import Result, State

from .test_pipeline import Engine as Pipelined
from .test_worker import NOW_NS, Engine, Gate, Receiver, frame, job

GEOMETRY = Geometry(width_px=32, height_px=32, frame_px=(8, 8))


class Line:
    """A seat with its surroundings."""

    def __init__(self, name: str, *, standby: bool = False) -> None:
        self.receiver, self.gate = Receiver(), Gate()
        orders = job(Path("r"))
        config = orders.config.model_copy(update={"station": name})
        receiver: Any = self.receiver
        gate: Any = self.gate
        self.closed: list[str] = []
        receiver.close = lambda: self.closed.append("receiver")
        gate.close = lambda: self.closed.append("gate")
        orders = orders.model_copy(update={"config": config, "standby": standby})
        self.seat = Seat(orders, GEOMETRY, receiver, gate, lambda: NOW_NS)

    @property
    def answers(self) -> list[tuple[int, float]]:
        return [(message.trigger, message.score) for message in self.gate.said if isinstance(message, Result)]

    @property
    def states(self) -> list[str]:
        return [message.state for message in self.gate.said if isinstance(message, State)]

    def close(self) -> None:
        os.close(self.receiver.socket)
        os.close(self.receiver._end)


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    lines = [Line("top"), Line("side"), Line("back")]
    yield lines
    for line in lines:
        line.close()


def test_what_waits_at_several_lines_is_one_batch_and_each_gets_its_own_answer(lines: list[Line]) -> None:
    engine = Engine()
    inference = Inference(engine, [line.seat for line in lines], 4, lambda: NOW_NS)
    for number, line in enumerate(lines):
        line.receiver.frames.append(frame(7, number + 1))  # each line counts its triggers for itself
    inference.work()
    assert engine.batches == [3]
    assert [line.answers for line in lines] == [[(7, 1.0)], [(7, 2.0)], [(7, 3.0)]]


def test_a_line_with_a_long_queue_takes_no_places_from_the_others(lines: list[Line]) -> None:
    inference = Inference(Engine(), [line.seat for line in lines], 4, lambda: NOW_NS)
    busy, quiet, _ = lines
    busy.receiver.frames += [frame(number, 1) for number in range(8)]
    quiet.receiver.frames += [frame(number, 2) for number in range(2)]
    inference.work()
    assert len(busy.answers) == len(quiet.answers) == 2
    inference.work()
    inference.work()
    assert [number for number, _ in busy.answers] == list(range(8))


def test_lines_take_turns_where_a_batch_holds_fewer_frames_than_there_are_lines(lines: list[Line]) -> None:
    inference = Inference(Engine(), [line.seat for line in lines], 1, lambda: NOW_NS)
    for line in lines:
        line.receiver.frames += [frame(number, 1) for number in range(2)]
    for _ in range(6):
        inference.work()
        answered = [len(line.answers) for line in lines]
        assert max(answered) - min(answered) <= 1
    assert [len(line.answers) for line in lines] == [2, 2, 2]


def test_a_batch_of_several_lines_goes_through_one_pipeline(lines: list[Line]) -> None:
    """Two pipelines on one engine would hand it more batches than it takes."""
    engine = Pipelined()
    inference = Inference(engine, [line.seat for line in lines], 4, lambda: NOW_NS)
    for line in lines:
        line.receiver.frames += [frame(number, number + 1) for number in range(4)]
    while inference.busy or not engine.log:
        inference.work()
    assert engine.log == ["submit 4", "submit 4", "collect", "submit 4", "collect", "collect"]
    assert all(line.answers == [(number, number + 1.0) for number in range(4)] for line in lines)


def test_a_line_leaves_and_the_others_go_on(lines: list[Line]) -> None:
    top, side, back = lines
    engine = Pipelined()
    shared = Inference(engine, [top.seat, side.seat], 4, lambda: NOW_NS)
    alone = Inference(Engine(), [back.seat], 4, lambda: NOW_NS)
    reading, writing = os.pipe()
    lifeline = Lifeline(reading)
    role = WorkerRole([shared, alone], lifeline, lambda: NOW_NS)
    top.receiver.frames.append(frame(0, 5))
    shared.work()  # on its way through the engine
    assert top.answers == []
    os.write(writing, b"leave top\nleave back\n")
    side.receiver.frames.append(frame(0, 6))

    take = lifeline.take

    def take_then_stop() -> None:
        take()
        if side.answers:
            lifeline.stopping = True

    lifeline.take = take_then_stop  # type: ignore[method-assign]
    role.run()
    assert top.answers == [(0, 5.0)]
    assert top.closed == back.closed == ["receiver", "gate"]
    assert top.states == back.states == ["ready", "stopped"]
    assert side.answers == [(0, 6.0)]
    assert side.states == ["ready", "stopped"]
    assert side.closed == []
    os.close(reading)
    os.close(writing)


def test_a_worker_that_nobody_needs_any_more_ends(lines: list[Line]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"leave top\n")
    role = WorkerRole([Inference(Engine(), [lines[0].seat], 4, lambda: NOW_NS)], Lifeline(reading), lambda: NOW_NS)
    role.run()
    assert lines[0].states == ["ready", "stopped"]
    os.close(reading)
    os.close(writing)


def test_a_worker_that_waits_to_be_armed_lets_no_frames_come_before() -> None:
    line = Line("top", standby=True)
    line.seat.serve(armed=False)
    assert line.receiver.granted == 0
    line.seat.serve(armed=True)
    line.seat.serve(armed=True)
    assert line.receiver.granted == 8
    line.close()
