"""One worker process to several lines: each settles its own parts, and leaves when it likes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inspector.config.cameras import SyntheticCamera
from inspector.config.schema import InspectorConfig
from inspector.domain.restarts import RestartBudget
from inspector.roles.child import Limits
from inspector.roles.job import Job
from inspector.roles.shared_worker import SharedWorker

#: Writes down what the lifeline says until it says stop.
OBEDIENT = """
import sys
with open(sys.argv[1] + ".said", "w", buffering=1) as said:
    for line in sys.stdin:
        said.write(line)
        if line == "stop\\n":
            break
"""


class Bench:
    """Three lines that share a process of this test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        limits = Limits(RestartBudget(2, 10**12, pause_ns=10), start_timeout_ns=10**12, heartbeat_timeout_ns=10**12)
        self.shared = SharedWorker(limits, folder)
        self.shared.child.command = [sys.executable, "-S", "-c", OBEDIENT]
        self.one, self.two, self.three = (
            self.shared.join(name, lambda number, name=name: _orders(name, number), ()) for name in ("a", "b", "c")
        )
        self.seats = [self.one, self.two, self.three]
        for seat in self.seats:
            seat.start(0)

    def say_ready(self) -> None:
        for seat in self.seats:
            seat.saw(self.shared.child.incarnation, 1, 0)

    def orders(self) -> list[str]:
        """The lines in the orders of the present process."""
        path = self.folder / f"worker-{self.shared.child.incarnation}.json"
        job = Job.model_validate(json.loads(path.read_text()))
        assert {line.incarnation for line in job.lines} == {self.shared.child.incarnation}
        return [line.config.station for line in job.lines]

    def said(self) -> str:
        path = self.folder / f"worker-{self.shared.child.incarnation}.json.said"
        return path.read_text() if path.exists() else ""

    def kill(self) -> None:
        process: Any = self.shared.child._process
        process.kill()
        process.wait(60)


def _orders(name: str, number: int) -> Job:
    config = InspectorConfig(station=name, recipe=Path("r"), camera=SyntheticCamera(kind="synthetic"))
    return Job(config=config, incarnation=number, frames_endpoint="", gate_endpoint="")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.shared.child.kill(60)
    bench.shared.child.finish(60)


def wait_for_words(bench: Bench, words: str) -> None:
    until = time.monotonic() + 60
    while bench.said() != words:
        assert time.monotonic() < until, bench.said()
        time.sleep(0.01)


def test_one_process_has_the_orders_of_all_and_is_ready_for_each_when_it_says_so(bench: Bench) -> None:
    assert bench.orders() == ["a", "b", "c"]
    assert [seat.incarnation for seat in bench.seats] == [1, 1, 1]
    bench.two.saw(1, 1, 0)
    assert [seat.ready for seat in bench.seats] == [False, True, False]
    bench.say_ready()
    assert all(seat.ready and seat.alive for seat in bench.seats)


def test_each_line_hears_of_a_death_once_before_it_knows_the_next_process(bench: Bench) -> None:
    """Else a line would settle the parts of the new process, and leave those of the dead one open."""
    bench.say_ready()
    bench.kill()
    assert bench.one.watch(100)
    assert bench.one.watch(10**9) is False  # the next one is started
    assert bench.shared.child.incarnation == 2
    assert [(seat.incarnation, seat.alive) for seat in bench.seats] == [(2, True), (1, False), (1, False)]
    bench.one.saw(2, 1, 0)
    assert not bench.two.ready
    assert bench.two.watch(10**9)
    assert bench.three.watch(10**9)
    assert [seat.watch(10**9) for seat in bench.seats] == [False, False, False]
    assert [(seat.incarnation, seat.ready) for seat in bench.seats] == [(2, True), (2, False), (2, False)]
    assert [seat.restarts for seat in bench.seats] == [1, 1, 1]


def test_a_line_that_leaves_is_no_matter_to_the_others_and_does_not_come_back(bench: Bench) -> None:
    bench.say_ready()
    bench.two.retire()
    bench.two.retire()
    wait_for_words(bench, "leave b\n")
    assert [seat.alive for seat in bench.seats] == [True, False, True]
    assert [seat.ready for seat in bench.seats] == [True, False, True]
    bench.kill()
    assert [seat.watch(100) for seat in bench.seats] == [True, False, True]
    bench.one.watch(10**9)
    assert bench.orders() == ["a", "c"]


def test_the_process_ends_with_the_last_line_that_needs_it(bench: Bench) -> None:
    bench.say_ready()
    bench.one.retire()
    bench.two.retire()
    bench.three.retire()
    assert [seat.alive for seat in bench.seats] == [False, False, True]
    until = time.monotonic() + 60
    while not bench.three.watch(100):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert not bench.three.alive
    bench.three.watch(10**12)
    assert not bench.shared.child.alive


def test_at_the_end_the_process_is_waited_for_once_nobody_needs_it(bench: Bench) -> None:
    bench.one.tell("stop")
    bench.one.finish(60)
    assert bench.shared.child.alive
    bench.two.tell("stop")
    bench.three.tell("stop")
    bench.two.finish(60)
    assert not bench.shared.child.alive
    bench.three.finish(60)
    assert (bench.folder / "worker-1.json.said").read_text() == "leave a\nleave b\nstop\n"


def test_numbers_of_workers_grow_over_all_lines(bench: Bench) -> None:
    """A line's own worker, after a change of its recipe, must have a higher number than the one before it."""
    assert next(bench.shared.numbers) == 2
    bench.kill()
    bench.one.watch(100)
    bench.one.watch(10**9)
    assert bench.shared.child.incarnation == 3
