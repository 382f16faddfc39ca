"""The loop of the archive process, and the two sides that hand over to it, with sockets and processes made here."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from inspector.cameras.bayer import demosaiced
from inspector.config.cameras import SyntheticCamera
from inspector.config.schema import Archive, InspectorConfig
from inspector.domain.archiving import sampled
from inspector.domain.frame import Mosaic, PixelFormat, Pixels
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Cause, Decision, Verdict
from inspector.engines.base import Scored
from inspector.outputs.metrics import Families, LineMetrics
from inspector.recipe.store import load_recipe
from inspector.roles.anomaly_picture import map_drawer
from inspector.roles.archive import ArchiveRole
from inspector.roles.archive_link import ArchiveLink
from inspector.roles.job import Job
from inspector.roles.lifeline import Lifeline
from inspector.roles.taps import ArchiveTap, Taps
from inspector.wire.archive_socket import ArchivedFrame, ArchivedOutlines
from inspector.wire.messages import FrameHeader, State

PIXELS = np.zeros((4, 6), np.uint8)


def header(trigger: int, deadline_ns: int = 100) -> FrameHeader:
    return FrameHeader(trigger, 0, 0, 0, deadline_ns, PixelFormat.MONO8, 6, 4)


class Inbox:
    """Gives what the test put in; tells the role to stop when it is empty."""

    def __init__(self, stop: Any) -> None:
        self.turns: list[list[Any]] = []
        self.malformed = 0
        self.socket, self._end = os.pipe()
        self._stop = stop

    def messages(self, limit: int) -> list[Any]:
        if not self.turns:
            self._stop()
            return []
        return self.turns.pop(0)


class Writer:
    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, Any], Pixels]] = []
        self.outlined: list[ArchivedOutlines] = []
        self.stopped = False

    def offer(self, record: dict[str, Any], pixels: Pixels) -> None:
        self.taken.append((record, pixels))

    def outline(self, found: ArchivedOutlines) -> None:
        self.outlined.append(found)

    def counts(self) -> dict[str, float]:
        return {"written": len(self.taken)}

    def stop(self, timeout_s: float) -> None:
        self.stopped = True


class Gate:
    def __init__(self) -> None:
        self.said: list[State] = []

    def send(self, message: State) -> None:
        self.said.append(message)


def test_the_loop_brings_frames_and_verdicts_together_and_ends_with_the_disk(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    now_ns = 0

    def clock_ns() -> int:
        nonlocal now_ns
        now_ns += 60_000_000
        return now_ns

    inbox, gate, writer = Inbox(lambda: os.write(writing, b"stop\n")), Gate(), Writer()
    inbox.turns = [
        [ArchivedFrame(header(1), PIXELS), {"trigger": 2}, ArchivedOutlines("1", {"problem": ""}, b"")],
        [{"trigger": 1}, ArchivedFrame(header(2), PIXELS), ArchivedFrame(header(3), PIXELS)],
    ]
    settings = Archive(folder=tmp_path)
    config = InspectorConfig(station="s", recipe=tmp_path, camera=SyntheticCamera(kind="synthetic"), archive=settings)
    job = Job(config=config, incarnation=4, frames_endpoint="", gate_endpoint="")
    ends: tuple[Any, ...] = (inbox, gate, writer)
    ArchiveRole(job, settings, *ends, Lifeline(reading), clock_ns).run()
    assert [record["trigger"] for record, _ in writer.taken] == [1, 2]
    assert [found.entry for found in writer.outlined] == ["1"]
    assert writer.stopped
    assert [state.state for state in gate.said][:: len(gate.said) - 1] == ["ready", "stopped"]
    assert {(state.role, state.incarnation) for state in gate.said} == {("archive", 4)}
    assert gate.said[-1].details["written"] == 2
    assert State.decode(gate.said[-1].encode()) == gate.said[-1]
    os.close(writing)


class Outbox:
    """Has room as long as the test says so."""

    def __init__(self) -> None:
        self.room = True
        self.refused = 0
        self.frames: list[tuple[FrameHeader, Pixels]] = []
        self.verdicts: list[dict[str, Any]] = []

    def has_room(self) -> bool:
        self.refused += not self.room
        return self.room

    def frame(self, header: FrameHeader, pixels: Pixels) -> None:
        self.frames.append((header, pixels))

    def verdict(self, record: dict[str, Any]) -> None:
        self.verdicts.append(record)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("scored", "kept"),
    [
        (Scored(1.0, 0, 50), False),
        (Scored(1.0, 0, 101), True),  # late
        (Scored(1.1, 0, 50), True),
        (Scored(math.nan, 0, 50), True),
        (None, True),
    ],
)
def test_the_worker_hands_over_what_does_not_pass(scored: Scored | None, kept: bool) -> None:
    outbox: Any = Outbox()
    tap = Taps(ArchiveTap(outbox, threshold=1.0, pass_ratio=0.0), None)
    pixels = np.full((4, 6), 7, np.uint8)
    copied = tap.copy(header(1), pixels, scored)
    pixels[:] = 0  # the slot is written anew
    assert (copied is not None) == kept
    if copied is not None:
        assert (copied.frame == 7).all()
    outbox.room = False
    assert tap.copy(header(1), pixels, scored) is None
    assert tap.counts() == {"archive_refused": int(kept)}


def test_a_raw_bayer_frame_is_handed_over_as_a_picture() -> None:
    outbox: Any = Outbox()
    tap = Taps(ArchiveTap(outbox, threshold=1.0, pass_ratio=0.0), None)
    mosaic = Mosaic(np.random.default_rng(4).integers(0, 256, (4, 6), np.uint8), PixelFormat.BAYER_GB8)
    picture = demosaiced(mosaic)
    raw = replace(header(1), pixel_format=PixelFormat.BAYER_GB8)
    copied = tap.copy(raw, mosaic, None)
    assert copied is not None
    mosaic.pixels[:] = 0  # the slot is written anew
    tap.send(raw, copied)
    ((sent, pixels),) = outbox.frames
    assert sent == replace(raw, pixel_format=PixelFormat.RGB8)
    assert np.array_equal(pixels, picture)


def test_worker_and_gate_choose_the_same_passes() -> None:
    outbox: Any = Outbox()
    tap = ArchiveTap(outbox, threshold=1.0, pass_ratio=0.1)
    gate_side = link(outbox, pass_ratio=0.1)[0]
    chosen = [trigger for trigger in range(200) if tap.wants(header(trigger), Scored(0.5, 0, 0))]
    for trigger in range(200):
        gate_side.verdict(verdict(trigger, Decision.PASS), {"trigger": trigger})
    assert [record["trigger"] for record in outbox.verdicts] == chosen
    assert chosen == [trigger for trigger in range(200) if sampled(trigger, 0.1)]
    gate_side.verdict(verdict(1, Decision.FAIL), {"trigger": 1})
    gate_side.verdict(verdict(1, Decision.NOT_INSPECTED), {"trigger": 1})
    assert len(outbox.verdicts) == len(chosen) + 2


def verdict(trigger: int, decision: Decision) -> Verdict:
    return Verdict(1, trigger, decision, Cause.SCORE_WITHIN_THRESHOLD, None, None, 0, 0, 0)


class Child:
    """A process that can't be started while `broken`."""

    def __init__(self) -> None:
        self.role = "archive"
        self.broken = False
        self.incarnation = 1
        self.restarts = 0
        self.ready = False
        self.calls: list[str] = []

    def start(self, now_ns: int) -> None:
        self.calls.append("start")
        if self.broken:
            raise OSError(12, "Cannot allocate memory")

    def watch(self, now_ns: int) -> bool:
        self.calls.append("watch")
        if self.broken:
            raise OSError(12, "Cannot allocate memory")
        return False

    def saw(self, incarnation: int, progress: int, now_ns: int) -> None:
        self.ready = True

    def finish(self, timeout_s: float) -> None:
        self.calls.append("finish")


def link(outbox: Any, pass_ratio: float = 0.0) -> tuple[ArchiveLink, Child, CollectorRegistry]:
    registry = CollectorRegistry()
    metrics = LineMetrics(
        Families(registry, 1.0),
        station="s",
        threshold=Threshold(2.0, 0.01, 0.009, 0.95, "tolerance_limit", 300, 0, True, 0),
        recipe={},
        version="1",
    )
    child: Any = Child()
    settings = Archive(folder=Path("a"), pass_ratio=pass_ratio)
    return ArchiveLink(settings, child, outbox, metrics), child, registry


def test_a_process_that_can_not_be_started_is_no_matter_of_the_line(caplog: pytest.LogCaptureFixture) -> None:
    gate_side, child, _ = link(Outbox())
    child.broken = True
    gate_side.start(0)
    for now_s in range(31):
        gate_side.watch(now_s * 10**9)
    assert child.calls == ["start", "start"]
    child.broken = False
    gate_side.watch(61 * 10**9)
    gate_side.watch(62 * 10**9)
    assert child.calls == ["start", "start", "start", "watch"]
    assert caplog.text.count("can't be started") == 2


def test_its_figures_are_shown_and_go_on_over_restarts() -> None:
    gate_side, child, registry = link(Outbox())

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"station": "s"} | labels)

    def state(**details: float) -> State:
        return State("archive", child.incarnation, "running", details=details)

    gate_side.show()
    assert value("inspector_archive_up") == 0
    gate_side.saw(state(written=7, failed=1, overrun=2, unmatched=3, bytes=500, entries=5, oldest_s=60, waiting=4), 0)
    gate_side.saw(State("archive", 9, "running", details={"written": 100}), 0)  # of a former process
    gate_side.worker_says({"archive_refused": 4})
    child.incarnation, child.restarts = 2, 1
    gate_side.saw(state(written=1, bytes=600, entries=6, oldest_s=70), 0)
    gate_side.show()
    outcomes = ("written", "failed", "overrun", "unmatched", "refused")
    shown = [value("inspector_archive_entries_total", outcome=outcome) for outcome in outcomes]
    assert shown == [8, 1, 2, 3, 4]
    assert value("inspector_archive_size_bytes") == 600
    assert value("inspector_archive_stored_entries") == 6
    assert value("inspector_archive_oldest_age_seconds") == 70
    assert value("inspector_archive_queue_entries") == 0
    assert value("inspector_archive_up") == 1
    assert value("inspector_archive_restarts_total") == 1


def test_a_map_is_drawn_over_the_frame(random_recipe: Path) -> None:
    draw = map_drawer(load_recipe(random_recipe))
    picture = draw(np.random.default_rng(1).integers(0, 256, (48, 90), np.uint8))
    assert picture.shape == (48, 90, 3)
    assert picture.dtype == np.uint8
    assert draw(np.zeros((1200, 2000, 3), np.uint8)).shape == (614, 1024, 3)


def test_without_maps_the_process_does_not_load_the_network() -> None:
    # It would cost every archive the memory of a second worker.
    program = "import sys, inspector.roles.archive; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
