"""The station's loop over lines that are only states: when it is ready, what it tells, how it ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from prometheus_client import CollectorRegistry

from inspector.domain.errors import FatalError
from inspector.domain.ledger import Tally
from inspector.domain.verdict import Cause, Decision, Verdict
from inspector.domain.views import PartLedger
from inspector.outputs.metrics import Families, PartMetrics
from inspector.outputs.publisher import Publisher
from inspector.outputs.service_manager import ServiceManager
from inspector.outputs.verdict_log import VerdictLog
from inspector.roles.desks import PartDesk
from inspector.roles.gate import Gate

S = 1_000_000_000
MS = 1_000_000


class Child:
    def __init__(self) -> None:
        self.ready = False


class Line:
    """What a line is to the gate."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.camera, self.worker = Child(), Child()
        self.serving = self.finished = False
        self.state = "starting"
        self.calls: list[str] = []
        self.pending = 0
        self.recipes: Any = type("R", (), {"active": type("A", (), {"recipe": type("H", (), {"content_hash": "ab"})})})
        self.socket = zmq.Context.instance().socket(zmq.PULL)

    @property
    def prepared(self) -> bool:
        return self.camera.ready and self.worker.ready

    def arm(self) -> None:
        self.serving, self.state = True, "running"
        self.calls.append("arm")

    def tally(self) -> Tally:
        return Tally(self.pending, 0, 0, 0, self.pending)

    def next_deadline_ns(self) -> int | None:
        return None

    def status(self) -> dict[str, Any]:
        return {"station": self.name}

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: self.calls.append(name)


class Bench:
    """A gate with two lines, or one."""

    def __init__(self, tmp_path: Path, lines: int) -> None:
        self.now_ns = 1000 * S
        self.lines: list[Any] = [Line(f"s.{name}") for name in ("main", "side")[:lines]]
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = tmp_path / "notify"
        self.notices.bind(os.fspath(path))
        self.notices.setblocking(False)
        self.registry = CollectorRegistry()
        publisher, log = Publisher(zmq.Context.instance(), None), VerdictLog(None, 1)
        metrics = PartMetrics(Families(self.registry, 0.1), "s")
        self.parts = None
        if lines > 1:
            ledger = PartLedger({"main": 0, "side": 0}, 10 * MS, 100 * MS, 10)
            self.parts = PartDesk(ledger, publisher, log, metrics, "run", lambda verdict: None, self.clock)
        self.gate = Gate(
            "s",
            self.lines,
            publisher,
            log,
            metrics,
            ServiceManager({"NOTIFY_SOCKET": os.fspath(path)}),
            run_id="run",
            stop_timeout_s=1,
            parts=self.parts,
            clock_ns=self.clock,
        )

    def clock(self) -> int:
        return self.now_ns

    def ready(self, *which: bool) -> None:
        for line, ready in zip(self.lines, which, strict=True):
            line.camera.ready = line.worker.ready = ready

    def turn(self) -> list[str]:
        """A second later; what the service manager was told."""
        self.now_ns += S
        self.gate.turn()
        return self.told()

    def told(self) -> list[str]:
        told = []
        while True:
            try:
                told.append(self.notices.recv(100).decode())
            except BlockingIOError:
                return told


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, 2)
    yield bench
    bench.notices.close()
    for line in bench.lines:
        line.socket.close()


def test_no_part_is_asked_for_before_every_view_can_be_judged(bench: Bench) -> None:
    bench.ready(True, False)
    assert "READY=1" not in bench.turn()
    assert not any("arm" in line.calls for line in bench.lines)
    bench.ready(True, True)
    assert "READY=1" in bench.turn()
    assert all("arm" in line.calls for line in bench.lines)
    assert bench.gate.serving
    assert "READY=1" not in bench.turn(), "once"


def test_the_watchdog_is_fed_only_while_every_view_can_be_judged(bench: Bench) -> None:
    assert bench.turn() == ["WATCHDOG=1"], "while models load nothing is wrong"
    bench.ready(True, True)
    assert "WATCHDOG=1" in bench.turn()
    bench.ready(True, False)
    assert bench.turn() == []
    bench.ready(True, True)
    assert bench.turn() == ["WATCHDOG=1"]


def test_it_has_ended_when_every_source_has_and_no_part_is_open(bench: Bench) -> None:
    assert bench.parts is not None
    bench.lines[0].finished = True
    assert not bench.gate._finished()
    bench.lines[1].finished = True
    bench.parts.triggered("main", 1, bench.now_ns)
    assert not bench.gate._finished(), "a part lacks a view"
    bench.now_ns += S
    bench.turn()
    assert bench.gate._finished()
    assert bench.gate.tally().not_inspected == 1


def test_at_the_end_every_line_is_closed_before_any_is_waited_for(bench: Bench) -> None:
    assert bench.parts is not None
    bench.parts.triggered("main", 1, bench.now_ns)
    bench.gate.stopping = True
    tally = bench.gate.run()
    assert tally.balanced
    assert tally.pending == 0
    assert bench.told()[0] == "STOPPING=1"
    for line in bench.lines:
        steps = [call for call in line.calls if call in ("start", "disarm", "close", "finish", "finish_beside")]
        assert steps == ["start", "disarm", "close", "finish", "finish_beside"]


def test_a_view_that_fails_counts_for_the_part_and_for_itself(bench: Bench) -> None:
    assert bench.parts is not None
    at_ns = bench.now_ns
    for view in ("main", "side"):
        bench.parts.view(view).triggered(5, at_ns)
    for view, decision in (("main", Decision.PASS), ("side", Decision.FAIL)):
        cause = Cause.SCORE_ABOVE_THRESHOLD if decision is Decision.FAIL else Cause.SCORE_WITHIN_THRESHOLD
        verdict = Verdict(1, 5, decision, cause, 1.0, 0.5, at_ns, at_ns, at_ns + 100 * MS)
        bench.parts.view(view).settled(verdict, {"station": f"s.{view}"})
    assert bench.gate.tally() == Tally(1, 0, 1, 0, 0)
    labels = {"station": "s", "decision": "fail", "cause": "score_above_threshold"}
    assert bench.registry.get_sample_value("inspector_parts_total", labels) == 1


def test_what_is_asked_of_a_view_names_it(bench: Bench) -> None:
    with pytest.raises(FatalError, match="--view: main, side"):
        bench.gate.rollback("me", "why")
    with pytest.raises(FatalError, match="no view top"):
        bench.gate.activate(Path("r"), "me", "why", "top")
    bench.gate.activate(Path("r"), "me", "why", "side")
    assert "activate" in bench.lines[1].calls
    assert "activate" not in bench.lines[0].calls
    assert bench.gate.status()["views"] == [{"station": "s.main"}, {"station": "s.side"}]


def test_a_station_with_one_camera_has_no_views(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1)
    bench.gate.rollback("me", "why")
    assert "rollback" in bench.lines[0].calls
    with pytest.raises(FatalError, match="omit --view"):
        bench.gate.rollback("me", "why", "top")
    assert bench.gate.status() == {"station": "s.main"}
    bench.notices.close()
    bench.lines[0].socket.close()
