"""Software triggers: fires a GenICam camera at a rate and pairs each frame with its trigger."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from inspector.cameras.genicam_stream import FrameStream
from inspector.cameras.pacing import Pace
from inspector.domain.camera_events import CameraEvent
from inspector.domain.frame import Capture
from inspector.domain.verdict import Cause

log = logging.getLogger("inspector")

#: A frame that is not there so long after its trigger is missing.
_FRAME_NS = 1_000_000_000
_SHORTEST_S = 0.001


class SoftwareTrigger:
    """Fires, waits for the frame, and only then fires again, so that no frame can be taken for another's.

    Args:
        stream: The started stream.
        fire: Executes TriggerSoftware.
        rate: Triggers a second.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        stream: FrameStream,
        fire: Callable[[], None],
        rate: float,
        clock_ns: Callable[[], int],
        sleep: Callable[[float], None],
    ) -> None:
        self._stream = stream
        self._fire = fire
        self._pace = Pace(rate, clock_ns, sleep)
        self._clock_ns = clock_ns
        self._triggered_ns: int | None = None
        self._fired_ns = 0
        self._told = 0  # triggers that were called missing and whose gap in the ids was not met yet

    def start(self) -> None:
        """The first trigger is due now."""
        self._pace.start()

    def capture(self, timeout_s: float) -> Capture | None:
        """As `Camera.capture`; the time of a trigger is the one at which it was due."""
        until_ns = self._clock_ns() + round(timeout_s * 1e9)
        if self._triggered_ns is None:
            due_ns = self._pace.wait(timeout_s)
            if due_ns is None:
                return None
            if self._told:
                self._leave_out_late_frames()
            self._fire()
            self._triggered_ns, self._fired_ns = due_ns, self._clock_ns()
        capture = self._stream.capture(max(_SHORTEST_S, (until_ns - self._clock_ns()) / 1e9))
        if capture is not None and capture.problem is Cause.FRAME_MISSING and self._told:
            self._told -= 1  # the gap in the ids that a missing frame leaves: its trigger has been told already
            return None
        now_ns = self._clock_ns()
        if capture is None:
            if now_ns - self._fired_ns < _FRAME_NS:
                return None
            self._told += 1
            self._stream.events[CameraEvent.MISSED_TRIGGER] += 1
            capture = Capture(None, now_ns, now_ns, "a trigger without a frame", Cause.FRAME_MISSING)
        capture = dataclasses.replace(capture, triggered_ns=self._triggered_ns)
        self._triggered_ns = None
        return capture

    def _leave_out_late_frames(self) -> None:
        """Frames whose triggers were told to be missing must not be taken for the next one's."""
        while (late := self._stream.capture(_SHORTEST_S)) is not None:
            self._told = max(0, self._told - 1)
            if late.problem is None:
                self._stream.events[CameraEvent.LATE] += 1
                log.warning("%s came too late for its trigger and is left out", late.source)
