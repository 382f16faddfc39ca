"""What becomes of incomplete, lost and missing frames, shown on an acquirer that follows a script."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inspector.cameras import genicam_driver as driver
from inspector.cameras.genicam_pulses import PulseCounter
from inspector.cameras.genicam_stream import FrameStream
from inspector.domain.camera_events import CameraEvent
from inspector.domain.errors import CameraError
from inspector.domain.frame import Capture
from inspector.domain.verdict import Cause

from .conftest import FakeClock, PulseNodes

GENTL_ERROR, GENAPI_ERROR = driver.GENICAM_ERRORS
NOT_AVAILABLE = driver.NOT_KNOWN[0]
MONO8 = 0x01080001


class Frame:
    """A buffer as the producer fills it: 4 x 3 pixels, each with the frame's id as its value."""

    def __init__(self, frame_id: int | None, **information: Any) -> None:
        self.parent = self
        self.queued = False
        self.underruns_before = information.pop("underruns_before", 0)
        self.pulses = information.pop("pulses", None)
        self.raw_buffer = bytes([(frame_id or 0) % 256] * 12)
        self._information: dict[str, Any] = {
            "frame_id": frame_id,
            "width": 4,
            "height": 3,
            "pixel_format": MONO8,
            "size_filled": 12,
            **information,
        }

    def __getattr__(self, name: str) -> Any:
        value = self._information.get(name)
        if value is None:
            raise NOT_AVAILABLE("not available")
        return value

    def queue_buffer(self, buffer: Frame) -> None:
        assert buffer is self
        assert not self.queued
        self.queued = True


class Acquirer:
    """Delivers a script: frames, "incomplete", None for silence, or an error to raise."""

    class Events:
        INCOMPLETE_BUFFER = 4

    num_awaiting_delivery: ClassVar[int] = 1
    num_underrun = 0

    def __init__(self, script: list[Any]) -> None:
        self.script = script
        self.data_streams = [self]
        self.device = self
        self.remote_device = self
        self.node_map = self
        self.access_status = 5
        self.started = False

    def add_callback(self, event: int, callback: Any) -> None:
        assert event == self.Events.INCOMPLETE_BUFFER
        self._callback = callback

    def start(self) -> None:
        self.started = True

    def has_node(self, name: str) -> bool:
        return False  # no chunks, no Width

    def try_fetch(self, *, timeout: float, is_raw: bool) -> Any:
        assert timeout > 0  # 0 waits for ever
        assert is_raw
        self.fetched_with_s = timeout
        item = self.script.pop(0) if self.script else None
        self.num_underrun += getattr(item, "underruns_before", 0)
        if isinstance(item, Exception):
            raise item
        if item == "incomplete":
            self._callback.emit(self)
            return None
        return item


def stream(
    acquirer: Acquirer, clock: Any, *, gige: bool = False, free_running: bool = False, missed: Any = None
) -> FrameStream:
    made = FrameStream(
        acquirer,
        driver,
        name="left",
        gige=gige,
        buffers=4,
        silence_ns=2_000_000_000,
        free_running=free_running,
        missed=missed,
        clock_ns=clock,
        sleep=clock.sleep,
    )
    made.start()
    return made


def play(script: list[Any], clock: Any, *, gige: bool = False) -> list[Capture]:
    made = stream(Acquirer(script), clock, gige=gige)
    captures = []
    while (capture := made.capture(0.05)) is not None:
        captures.append(capture)
    return captures


def loses(made: FrameStream, message: str) -> None:
    """The loss is one part that nobody saw, then an error that stays."""
    capture = made.capture(0.05)
    assert capture is not None
    assert (capture.pixels, capture.problem) == (None, Cause.CAMERA_LOST)
    for _ in range(2):
        with pytest.raises(CameraError, match=message):
            made.capture(0.05)


def problems(captures: list[Capture]) -> list[str]:
    return [capture.problem.value if capture.problem else capture.source for capture in captures]


def test_complete_frames_are_copied_and_their_buffers_queued(clock: Any) -> None:
    frames = [Frame(7), Frame(8)]
    captures = play(list(frames), clock)
    assert [capture.source for capture in captures] == ["frame 7", "frame 8"]
    assert [np.asarray(capture.pixels).tolist() for capture in captures] == [[[7] * 4] * 3, [[8] * 4] * 3]
    assert all(frame.queued for frame in frames)


def test_each_lost_frame_is_one_part(clock: Any) -> None:
    captures = play([Frame(1), Frame(4), Frame(5)], clock)
    assert problems(captures) == ["frame 1", "frame_missing", "frame_missing", "frame 4", "frame 5"]
    triggered = [capture.triggered_ns for capture in captures]
    assert triggered == sorted(triggered)


def test_ids_of_gige_vision_wrap_from_65535_to_1(clock: Any) -> None:
    assert problems(play([Frame(65535), Frame(1)], clock, gige=True)) == ["frame 65535", "frame 1"]
    assert problems(play([Frame(65534), Frame(2)], clock, gige=True)) == [
        "frame 65534",
        "frame_missing",
        "frame_missing",
        "frame 2",
    ]


def test_incomplete_frame_is_counted_once(clock: Any) -> None:
    """harvesters throws it away with its id, so the id is missing later: that gap is not a second part."""
    captures = play([Frame(1), "incomplete", Frame(3), Frame(4)], clock)
    assert problems(captures) == ["frame 1", "frame_incomplete", "frame 3", "frame 4"]


def test_incomplete_and_lost_frames_together_add_up(clock: Any) -> None:
    captures = play([Frame(1), "incomplete", "incomplete", Frame(6)], clock)
    assert sorted(problems(captures)) == [
        "frame 1",
        "frame 6",
        "frame_incomplete",
        "frame_incomplete",
        "frame_missing",
        "frame_missing",
    ]


def test_producer_without_frame_ids_still_delivers(clock: Any) -> None:
    assert problems(play([Frame(None), Frame(None)], clock)) == ["frame", "frame"]


def test_without_ids_the_frames_that_found_no_buffer_are_counted(clock: Any) -> None:
    captures = play([Frame(None), Frame(None, underruns_before=2), Frame(None)], clock)
    assert problems(captures) == ["frame", "frame_missing", "frame_missing", "frame", "frame"]


def test_with_ids_frames_that_found_no_buffer_are_not_counted_twice(clock: Any) -> None:
    captures = play([Frame(1), Frame(3, underruns_before=1), Frame(4)], clock)
    assert problems(captures) == ["frame 1", "frame_missing", "frame 3", "frame 4"]


def test_frame_that_comes_again_is_the_same_part(clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Some producers deliver a frame twice after a resend: its part has its verdict already."""
    made = stream(Acquirer([Frame(1), Frame(2), Frame(2), Frame(3)]), clock)
    captures = [made.capture(0.05) for _ in range(4)]
    assert problems([one for one in captures if one is not None]) == ["frame 1", "frame 2", "frame 3"]
    assert captures[2] is None
    assert "frame 2 came again, 1 such so far" in caplog.text


def test_producer_that_always_says_the_same_id_repeats_nothing(clock: Any) -> None:
    assert problems(play([Frame(0), Frame(0), Frame(0)], clock)) == ["frame 0"] * 3


def counting_stream(script: list[Any], clock: Any) -> FrameStream:
    """A stream whose frames bring their count of pulses as a chunk."""

    def read_chunks(acquirer: Acquirer, buffer: Frame, names: list[str]) -> dict[str, int]:
        assert "ChunkCounterValue" in names
        return {} if buffer.pulses is None else {"ChunkCounterValue": buffer.pulses}

    made = FrameStream(
        Acquirer(script),
        SimpleNamespace(**{**vars(driver), "read_chunks": read_chunks}),
        name="left",
        gige=False,
        buffers=4,
        silence_ns=2_000_000_000,
        free_running=False,
        clock_ns=clock,
        sleep=clock.sleep,
        pulses=PulseCounter(PulseNodes(), "ChunkCounterValue"),
    )
    made.start()
    return made


@given(
    st.lists(st.sampled_from(["frame", "missed", "lost", "incomplete", "unreadable"]), max_size=30),
    st.integers(0, 2**32 - 1) | st.integers(2**32 - 20, 2**32 - 1),
    st.booleans(),
)
@example(["lost", "missed", "incomplete", "missed", "unreadable", "missed", "lost"], 2**32 - 3, True)
@example(["lost", "missed", "incomplete", "missed", "unreadable", "missed", "lost"], 2**32 - 3, False)
def test_each_pulse_is_one_part_before_the_frame_that_shows_it(
    happenings: list[str], begin: int, with_ids: bool
) -> None:
    """Whatever is missed, lost, incomplete or without its chunk, with frame ids and without, over the counter's end."""
    script: list[Any] = []
    pulses = frame_id = 0
    shown_at: list[int] = []  # pulses so far at each frame that brings a count
    for happening in ["frame", *happenings, "frame"]:
        pulses += 1
        frame_id += happening != "missed"
        if happening == "incomplete":
            script.append("incomplete")
        elif happening in ("frame", "unreadable"):
            count = (begin + pulses) % 2**32 if happening == "frame" else None
            script.append(Frame(frame_id if with_ids else None, pulses=count))
            shown_at += [pulses] if happening == "frame" else []
    brings = [item.pulses is not None for item in script if item != "incomplete"]
    made = counting_stream(script, FakeClock())
    captures = list(iter(lambda: made.capture(0.05), None))

    assert len(captures) == pulses
    frames_at = [number for number, one in enumerate(captures, 1) if one is not None and one.problem is None]
    assert [number for number, shown in zip(frames_at, brings, strict=True) if shown] == shown_at
    lost = happenings.count("lost") if with_ids else 0
    assert made.events[CameraEvent.ID_GAP] == lost
    assert made.events[CameraEvent.OVERTRIGGER] == happenings.count("missed") + happenings.count("lost") - lost


def test_count_of_pulses_begins_with_the_first_frame(clock: Any) -> None:
    made = counting_stream([Frame(9, pulses=4711), Frame(10, pulses=4713)], clock)
    captures = [made.capture(0.05) for _ in range(3)]
    assert [capture.source for capture in captures if capture] == [
        "frame 9",
        "a trigger that the camera could not take before frame 10",
        "frame 10",
    ]


def test_count_of_something_else_is_an_error(clock: Any) -> None:
    made = counting_stream([Frame(1, pulses=5), Frame(2, pulses=40_000)], clock)
    assert made.capture(0.05) is not None
    loses(made, "ChunkCounterValue went from 5 to 40000, which the trigger's pulses do not")


def test_counter_that_begins_anew_is_not_a_loss_but_is_logged(clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert problems(play([Frame(500), Frame(1), Frame(2)], clock)) == ["frame 500", "frame 1", "frame 2"]
    assert "frame ids do not count on" in caplog.text


def test_short_frame_of_a_line_scan_camera_is_cropped(clock: Any) -> None:
    """The lines after the delivered ones are those of an older frame."""
    (capture,) = play([Frame(1, delivered_image_height=2)], clock)
    assert np.asarray(capture.pixels).shape == (2, 4)


def test_padding_is_cut_off(clock: Any) -> None:
    (capture,) = play([Frame(1, width=3, padding_x=1)], clock)
    assert np.asarray(capture.pixels).shape == (3, 3)


@pytest.mark.parametrize(
    ("information", "problem"),
    [
        ({"size_filled": 8}, Cause.FRAME_INCOMPLETE),
        ({"pixel_format": 0x01100007}, Cause.FRAME_CORRUPT),
        ({"width": None}, Cause.FRAME_CORRUPT),
    ],
)
def test_unusable_buffer_is_a_part_and_is_queued_again(
    clock: Any, caplog: pytest.LogCaptureFixture, information: dict[str, Any], problem: Cause
) -> None:
    frames = [Frame(1, **information), Frame(2, **information), Frame(3)]
    captures = play(list(frames), clock)
    assert [capture.problem for capture in captures] == [problem, problem, None]
    assert all(frame.queued for frame in frames)
    assert len(caplog.records) == 1  # the same trouble is logged once, not for each part


def test_silence_is_the_loss_of_a_free_running_camera(clock: Any) -> None:
    acquirer = Acquirer([Frame(1)])
    made = stream(acquirer, clock, free_running=True)
    assert made.capture(0.05) is not None
    clock.now_ns += 1_900_000_000
    assert made.capture(0.05) is None
    clock.now_ns += 200_000_000
    loses(made, r"camera left is lost: no frame for 2\.1 s")


@pytest.mark.parametrize("stopped", ["in a look", "between two"])
def test_a_process_that_stood_still_has_not_seen_a_silence(clock: Any, stopped: str) -> None:
    """On a busy machine once a camera was lost whose frames were still to be fetched."""

    class Acquiring(Acquirer):
        def try_fetch(self, *, timeout: float, is_raw: bool) -> Any:
            item = super().try_fetch(timeout=timeout, is_raw=is_raw)
            if item == "stop":
                clock.now_ns += 5_000_000_000
                return None
            return item

    made = stream(
        Acquiring([Frame(1), *(["stop"] if stopped == "in a look" else []), Frame(2)]), clock, free_running=True
    )
    assert made.capture(0.05) is not None
    if stopped == "in a look":
        assert made.capture(0.05) is None
    else:
        clock.now_ns += 5_000_000_000
    assert problems([one for one in [made.capture(0.05)] if one]) == ["frame 2"]


def test_counter_of_missed_triggers_is_read_before_the_acquisition_starts(clock: Any) -> None:
    acquirer, begun = Acquirer([]), []
    missed: Any = SimpleNamespace(
        reconciled=None,
        start=lambda: begun.append(acquirer.started),
        running=lambda: begun.append(acquirer.started),
    )
    stream(acquirer, clock, missed=missed)
    assert begun == [False, True]


def test_triggered_camera_may_rest_while_it_answers(clock: Any) -> None:
    acquirer = Acquirer([])
    made = stream(acquirer, clock)
    for _ in range(5):
        clock.now_ns += 3_000_000_000
        assert made.capture(0.05) is None
    acquirer.access_status = 3
    assert made.capture(0.05) is None  # asked only after a silence
    clock.now_ns += 3_000_000_000
    loses(made, "camera left is lost: its access status is 'no access'")


def test_uncached_read_shows_a_lost_device_whose_producer_does_not(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    acquirer = Acquirer([])

    class Width:
        def get_value(self, *, ignore_cache: bool) -> int:
            assert ignore_cache
            raise GENTL_ERROR("device lost")

    monkeypatch.setattr(acquirer, "has_node", lambda name: name == "Width")
    monkeypatch.setattr(acquirer, "get_node", lambda name: Width(), raising=False)
    made = stream(acquirer, clock)
    clock.now_ns += 3_000_000_000
    loses(made, "camera left is lost: device lost")


@pytest.mark.parametrize("error", [GENTL_ERROR("gone"), GENAPI_ERROR("gone")])
def test_error_of_the_driver_is_a_lost_camera(clock: Any, error: Exception) -> None:
    made = stream(Acquirer([Frame(1), error]), clock)
    assert made.capture(0.05) is not None
    loses(made, "camera left is lost: gone")


def test_frame_in_hand_when_the_device_is_lost_is_a_part_all_the_same(clock: Any) -> None:
    """The device goes between the copy of a frame and the return of its buffer: frame, gap before it, and the loss."""

    class Gone(Frame):
        def queue_buffer(self, buffer: Frame) -> None:
            raise GENTL_ERROR("gone")

    made = stream(Acquirer([Frame(1), Gone(3)]), clock)
    captures = [made.capture(0.05) for _ in range(4)]
    assert problems([one for one in captures if one]) == ["frame 1", "camera_lost", "frame_missing", "frame 3"]
    with pytest.raises(CameraError, match="camera left is lost: gone"):
        made.capture(0.05)


def test_wait_for_a_frame_ends_with_the_timeout(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Acquirer, "num_awaiting_delivery", 0)
    made = stream(Acquirer([]), clock)
    before_ns = clock.now_ns
    assert made.capture(0.05) is None
    assert clock.now_ns - before_ns <= 50_000_000


def test_frame_that_the_producer_does_not_announce_is_found_all_the_same(
    clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Acquirer, "num_awaiting_delivery", 0)
    made = stream(Acquirer([Frame(1)]), clock)
    capture = made.capture(0.05)
    assert capture is not None
    assert capture.source == "frame 1"


@pytest.mark.parametrize("error", driver.NOT_KNOWN)
def test_producer_that_does_not_count_is_fetched_from_with_the_whole_timeout(
    clock: Any, error: type[Exception]
) -> None:
    class Silent(Acquirer):
        @property
        def num_awaiting_delivery(self) -> int:  # type: ignore[override]
            raise error("not known")

    acquirer = Silent([Frame(1)])
    assert stream(acquirer, clock).capture(0.05) is not None
    assert acquirer.fetched_with_s == 0.05
