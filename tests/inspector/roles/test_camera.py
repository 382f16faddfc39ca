"""The camera process's loop with a camera, a transport and a gate made here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector.cameras.base import SourceEnded
from inspector.config.cameras import SyntheticCamera
from inspector.config.schema import InspectorConfig, Line, Worker
from inspector.domain.camera_events import CameraEvent
from inspector.domain.errors import CameraError
from inspector.domain.frame import Capture, Mosaic, PixelFormat, Pixels
from inspector.domain.ledger import trigger_key
from inspector.domain.verdict import Cause
from inspector.roles import camera as module
from inspector.roles.camera import CameraRole
from inspector.roles.job import Job
from inspector.roles.lifeline import Lifeline
from inspector.wire.messages import FrameHeader, Refused, State, Trigger


class Camera:
    """Delivers what it was given, then ends."""

    on_demand = False

    def __init__(self, *captures: Capture) -> None:
        self.captures = list(captures)
        self.calls: list[str] = []
        self.at_end: Any = None

    def open(self) -> None:
        self.calls.append("open")

    def start(self) -> None:
        self.calls.append("start")

    def capture(self, timeout_s: float) -> Capture | None:
        if self.captures:
            return self.captures.pop(0)
        self.at_end()
        raise SourceEnded

    def close(self) -> None:
        self.calls.append("close")


class Socket:
    def poll(self, timeout_ms: int) -> int:
        return 0


class Sender:
    """The transport: what it chooses and answers is up to the test."""

    def __init__(self, order: list[str]) -> None:
        self.choice: int | Cause = 1
        self.answer: Cause | None = None
        self.sent: list[tuple[FrameHeader, Pixels]] = []
        self.waiting = 0
        self.socket = Socket()
        self._order = order

    def counts(self) -> dict[str, float]:
        return {"malformed": 0}

    def take_credits(self) -> None:
        pass

    def choose(self) -> int | Cause:
        return self.choice

    def send(self, worker: int, header: FrameHeader, pixels: Pixels) -> Cause | None:
        self._order.append("frame")
        self.sent.append((header, pixels))
        return self.answer


class Gate:
    def __init__(self, order: list[str]) -> None:
        self.said: list[Any] = []
        self._order = order

    def send(self, message: Any) -> None:
        self._order.append(type(message).__name__)
        self.said.append(message)

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]


class Bench:
    def __init__(self, *captures: Capture) -> None:
        self.order: list[str] = []
        self.camera, self.sender, self.gate = Camera(*captures), Sender(self.order), Gate(self.order)
        self.reading, self.gate_end = os.pipe()
        os.write(self.gate_end, b"arm\n")
        self.camera.at_end = lambda: os.write(self.gate_end, b"stop\n")
        config = InspectorConfig(
            station="s", recipe=Path("r"), camera=SyntheticCamera(kind="synthetic"), line=Line(deadline_ms=5)
        )
        job = Job(config=config, incarnation=2, frames_endpoint="", gate_endpoint="")
        sender: Any = self.sender
        gate: Any = self.gate
        self.role = CameraRole(job, self.camera, sender, gate, Lifeline(self.reading), lambda: 77)


def picture(name: str = "a") -> Capture:
    return Capture(np.zeros((4, 6, 3), np.uint8), triggered_ns=10, captured_ns=20, source=name)


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(*request.param)
    yield bench
    os.close(bench.reading)
    os.close(bench.gate_end)


@pytest.mark.parametrize("bench", [[picture("a"), picture("b")]], indirect=True)
def test_the_gate_hears_of_a_part_before_its_frame_leaves(bench: Bench) -> None:
    bench.role.run()
    assert bench.order == ["State", "State", "Trigger", "frame", "Trigger", "frame", "State", "State"]
    assert bench.gate.of(Trigger) == [
        Trigger(trigger_key(2, number), 10, 1, None, name) for number, name in enumerate("ab")
    ]
    header, _pixels = bench.sender.sent[0]
    assert (header.width_px, header.height_px, header.triggered_ns, header.captured_ns) == (6, 4, 10, 20)
    assert header.deadline_ns == 10 + 5_000_000
    assert [state.state for state in bench.gate.of(State)] == ["ready", "running", "ended", "stopped"]
    assert bench.camera.calls == ["open", "start", "close"]


@pytest.mark.parametrize("bench", [[Capture(None, 10, 20, "x", Cause.FRAME_INCOMPLETE)]], indirect=True)
def test_a_trigger_without_an_image_is_a_part_too(bench: Bench) -> None:
    bench.role.run()
    assert bench.gate.of(Trigger) == [Trigger(trigger_key(2, 0), 10, 0, Cause.FRAME_INCOMPLETE, "x")]
    assert bench.sender.sent == []


@pytest.mark.parametrize("bench", [[picture()]], indirect=True)
def test_a_frame_that_nobody_can_take_is_announced_as_refused(bench: Bench) -> None:
    bench.sender.choice = Cause.QUEUE_FULL
    bench.role.run()
    assert bench.gate.of(Trigger)[0].refusal is Cause.QUEUE_FULL
    assert bench.sender.sent == []


@pytest.mark.parametrize("bench", [[picture()]], indirect=True)
def test_a_frame_that_could_not_be_sent_after_all_is_taken_back(bench: Bench) -> None:
    bench.sender.answer = Cause.WORKER_LOST
    bench.role.run()
    assert bench.gate.of(Trigger)[0].refusal is None
    assert bench.gate.of(Refused) == [Refused(trigger_key(2, 0), Cause.WORKER_LOST)]


@pytest.mark.parametrize("bench", [[picture()]], indirect=True)
def test_a_source_on_demand_is_not_asked_while_nobody_can_take_its_frame(bench: Bench) -> None:
    bench.camera.on_demand = True
    bench.sender.choice = Cause.WORKER_NOT_READY
    turns = 0

    def poll(timeout_ms: int) -> int:
        nonlocal turns
        turns += 1
        if turns == 3:
            bench.sender.choice = 1
        return 0

    bench.sender.socket.poll = poll  # type: ignore[method-assign]
    bench.role.run()
    assert len(bench.sender.sent) == 1
    assert bench.gate.of(Trigger)[0].refusal is None


@pytest.mark.parametrize("bench", [[picture()]], indirect=True)
def test_the_gate_is_told_at_once_which_worker_takes_the_frames(bench: Bench) -> None:
    """The gate wants no trigger before. The clock of this test stands still: no heartbeat is due."""
    bench.role.run()
    assert [state.details["worker"] for state in bench.gate.of(State)] == [0, 1, 1, 1]


@pytest.mark.parametrize("bench", [[picture()]], indirect=True)
def test_the_camera_is_closed_whatever_happens(bench: Bench) -> None:
    def lost(timeout_s: float) -> Capture | None:
        raise RuntimeError("driver crashed")

    bench.camera.capture = lost  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        bench.role.run()
    assert bench.camera.calls[-1] == "close"


@pytest.mark.parametrize("bench", [[picture("a")]], indirect=True)
def test_a_raw_bayer_frame_leaves_with_its_format(bench: Bench) -> None:
    mosaic = Mosaic(np.full((4, 6), 51, np.uint8), PixelFormat.BAYER_GB8)
    bench.camera.captures = [Capture(mosaic, triggered_ns=10, captured_ns=20, source="raw")]
    bench.role.run()
    ((header, pixels),) = bench.sender.sent
    assert (header.pixel_format, header.shape) == (PixelFormat.BAYER_GB8, (4, 6))
    assert pixels is mosaic.pixels
    assert bench.gate.of(State)[-1].details["brightness"] == 0.2


@pytest.mark.parametrize(
    ("worker", "raw_bayer"),
    [
        ({"device": "cuda"}, True),
        ({"device": "cuda", "engine": "pytorch"}, False),
        ({"device": "cpu"}, False),
    ],
)
def test_frames_are_wanted_raw_where_a_gpu_demosaics_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, worker: dict[str, Any], raw_bayer: bool
) -> None:
    asked: list[Any] = []

    def create(config: Any, **options: Any) -> Any:
        asked.append(options["raw_bayer"])
        raise CameraError("no camera here")

    monkeypatch.setattr(module, "create_camera", create)
    config = InspectorConfig(
        station="s", recipe=Path("r"), camera=SyntheticCamera(kind="synthetic"), worker=Worker.model_validate(worker)
    )
    frames, gate = f"ipc://{tmp_path}/f", f"ipc://{tmp_path}/g"
    with pytest.raises(CameraError, match="no camera here"):
        module.work(Job(config=config, incarnation=1, frames_endpoint=frames, gate_endpoint=gate))
    assert asked == [raw_bayer]


LOST = [Capture(None, 10, 20, "x", cause) for cause in (Cause.FRAME_MISSING, Cause.FRAME_MISSING, Cause.CAMERA_LOST)]


@pytest.mark.parametrize("bench", [LOST], indirect=True)
def test_what_happens_to_the_camera_is_counted_and_its_loss_told_at_once(bench: Bench) -> None:
    """After a loss the camera's next word is an error that ends the process: the heartbeat would come too late."""
    bench.camera.events = lambda: {CameraEvent.ID_GAP: 2, CameraEvent.REPEATED: 7}  # type: ignore[attr-defined]
    bench.role.run()
    assert bench.order == ["State", "State", "Trigger", "Trigger", "Trigger", "State", "State", "State"]
    _ready, ready, lost, *_ = [state.details for state in bench.gate.of(State)]
    assert "event_frame_missing" not in ready
    assert {name: count for name, count in lost.items() if name.startswith("event_")} == {
        "event_frame_missing": 2,
        "event_camera_lost": 1,
        "event_id_gap": 2,
        "event_repeated": 7,
    }


@pytest.mark.parametrize("bench", [[picture("a"), picture("b")]], indirect=True)
def test_light_and_focus_are_told_with_the_state(bench: Bench) -> None:
    bench.camera.captures[1].pixels[:] = 255  # type: ignore[index]  # not looked at again so soon
    bench.role.run()
    assert "brightness" not in bench.gate.of(State)[0].details
    told = bench.gate.of(State)[-1].details
    assert told == {"worker": 1, "malformed": 0, "brightness": 0.0, "white": 0.0, "sharpness": 0.0}


class PausingCamera(Camera):
    """One that counts its triggers elsewhere, and has a figure."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(picture("a"))
        self.at_end = lambda: None
        self._bench = bench

    def capture(self, timeout_s: float) -> Capture | None:
        if "resume" in self.calls:
            os.write(self._bench.gate_end, b"stop\n")
        elif "pause" not in self.calls:
            os.write(self._bench.gate_end, b"disarm\n")
        return None

    def pause(self) -> None:
        self.calls.append("pause")
        os.write(self._bench.gate_end, b"arm\n")

    def resume(self) -> None:
        self.calls.append("resume")

    def figures(self) -> dict[str, float]:
        return {"clock_error_s": 0.25}


@pytest.mark.parametrize("bench", [[]], indirect=True)
def test_a_camera_that_wants_to_know_is_told_of_a_pause_and_its_figures_are_passed_on(bench: Bench) -> None:
    bench.role._camera = camera = PausingCamera(bench)
    bench.role.run()
    assert camera.calls == ["open", "start", "pause", "resume", "close"]
    assert bench.gate.of(State)[-1].details["clock_error_s"] == 0.25
