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
        self._missed = False
        self._quiet_until_ns: int | None = None

    def start(self) -> None:
        """The first trigger is due now."""
        self._pace.start()

    def capture(self, timeout_s: float) -> Capture | None:
        """As `Camera.capture`; the time of a trigger is the one at which it was due."""
        begun_ns = self._clock_ns()
        until_ns = begun_ns + round(timeout_s * 1e9)
        if self._quiet_until_ns is not None:
            return self._await_late(timeout_s, begun_ns, self._quiet_until_ns)
        if self._triggered_ns is None:
            due_ns = self._pace.wait(timeout_s)
            if due_ns is None:
                return None
            if self._missed:  # a frame that is there now is no answer to what follows
                lost = self._leave_out(self._next_frame(_SHORTEST_S))
                if lost is not None:
                    return lost
            self._fire()
            self._triggered_ns, self._fired_ns = due_ns, self._clock_ns()
        capture = self._next_frame((until_ns - self._clock_ns()) / 1e9) or self._given_up(begun_ns)
        if capture is not None:
            capture = dataclasses.replace(capture, triggered_ns=self._triggered_ns)
            self._triggered_ns = None
        return capture

    def _next_frame(self, timeout_s: float) -> Capture | None:
        """What the stream has, without the gaps in its ids: each trigger without a frame is told by its own wait."""
        while True:
            capture = self._stream.capture(max(_SHORTEST_S, timeout_s))
            if capture is None or capture.problem is not Cause.FRAME_MISSING:
                return capture

    def _given_up(self, looked_ns: int) -> Capture | None:
        """The trigger without its frame, once the frame has had its time and a look that began then has not found it:
        where this process stood still, the frame may be there and not fetched yet.
        """
        now_ns = self._clock_ns()
        if looked_ns - self._fired_ns < _FRAME_NS:
            return None
        self._stream.events[CameraEvent.MISSED_TRIGGER] += 1
        self._missed = True
        self._quiet_until_ns = now_ns + _FRAME_NS
        return Capture(None, now_ns, now_ns, "a trigger without a frame", Cause.FRAME_MISSING)

    def _await_late(self, timeout_s: float, looked_ns: int, until_ns: int) -> Capture | None:
        """A frame that is late has as long again, before the next trigger is fired and would take it for its own."""
        late = self._next_frame(timeout_s)
        if late is not None or looked_ns >= until_ns:
            self._quiet_until_ns = None
        return self._leave_out(late)

    def _leave_out(self, late: Capture | None) -> Capture | None:
        """Leaves out a frame whose trigger has been told to be missing; only the loss of the camera is a part."""
        if late is None or late.problem is Cause.CAMERA_LOST:
            return late
        self._stream.events[CameraEvent.LATE] += 1
        log.warning("%s came too late for its trigger and is left out", late.source)
        return None
