"""Software triggers and their frames, with a stream that follows a script."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from inspector.cameras.genicam_trigger import SoftwareTrigger
from inspector.domain.camera_events import CameraEvent
from inspector.domain.frame import Capture
from inspector.domain.verdict import Cause

from .conftest import FakeClock

S = 1_000_000_000


class Stream:
    """Delivers the frames of a script; a number instead is a look in vain that takes so many seconds."""

    def __init__(self, script: list[Any], clock: FakeClock) -> None:
        self.script = script
        self.events = Counter[CameraEvent]()
        self._clock = clock

    def capture(self, timeout_s: float) -> Capture | None:
        item = self.script.pop(0) if self.script else timeout_s
        if isinstance(item, str):
            return Capture(None, self._clock.now_ns, self._clock.now_ns, item, Cause.FRAME_CORRUPT)
        self._clock.sleep(item)
        return None


def triggered(script: list[Any], clock: FakeClock) -> tuple[SoftwareTrigger, Stream, list[int]]:
    stream, fired = Stream(script, clock), list[int]()
    made: Any = stream
    trigger = SoftwareTrigger(made, lambda: fired.append(clock.now_ns), 10.0, clock, clock.sleep)
    trigger.start()
    return trigger, stream, fired


def test_a_trigger_is_given_up_after_a_second_and_its_late_frame_is_waited_for_as_long(clock: FakeClock) -> None:
    trigger, stream, fired = triggered([], clock)
    captures = [trigger.capture(0.05) for _ in range(60)]
    missing = [place for place, one in enumerate(captures) if one is not None]
    assert missing[0] in (20, 21)
    assert stream.events == {CameraEvent.MISSED_TRIGGER: len(missing)}
    assert 2 * S <= fired[1] - fired[0] <= 2.2 * S


@pytest.mark.parametrize("stopped", [0.01, 0.05])
def test_a_frame_that_came_while_the_process_stood_still_is_its_triggers(clock: FakeClock, stopped: float) -> None:
    """It is there once the producer's thread has had its turn, and was given up before that once."""
    trigger, stream, _ = triggered([stopped, 5.0, "frame 1", "frame 2"], clock)
    found = [one.source for one in (trigger.capture(0.05) for _ in range(6)) if one is not None]
    assert found == ["frame 1", "frame 2"]
    assert not stream.events


def test_a_late_frame_that_came_while_the_process_stood_still_is_not_the_next_triggers(clock: FakeClock) -> None:
    trigger, stream, _ = triggered([*[0.05] * 22, 5.0, "frame 1", 0.001, "frame 2"], clock)
    found = [one.source for one in (trigger.capture(0.05) for _ in range(30)) if one is not None]
    assert found[:2] == ["a trigger without a frame", "frame 2"]
    assert stream.events[CameraEvent.LATE] == 1
