"""Exposures of a GenICam camera that brought no frame: each is told once, whichever witness saw it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from inspector.cameras.genicam_frames import frames_lost
from inspector.domain.camera_events import CameraEvent

if TYPE_CHECKING:
    from inspector.cameras.genicam_missed import Reconciled
    from inspector.cameras.genicam_pulses import PulseCounter

log = logging.getLogger("inspector")


class Losses:
    """The book of what was lost before each frame.

    Two witnesses see the same frame lost for want of a buffer. The ids leave one out, before the next frame. The
    producer counts it at once, and a frame is taken out of its buffer some time after it came: the count that is read
    then may speak of frames that were exposed after it. So where the ids count on, they tell. Where they say nothing
    (frames without one, ids that begin anew) the count tells, and the next gap in the ids is so much shorter. No more
    than `buffers` frames wait, so what no gap has shown after so many lay before.

    Where frames bring a count of pulses, that tells what the ids do not.

    Args:
        name: For messages.
        gige: True for GigE Vision: its frame ids skip 0.
        buffers: Frames that can wait to be taken.
        witnesses: Of missed triggers that leave out ids too.
        pulses: Finds missed triggers by the pulses that came before a frame.

    Attributes:
        events: As `inspector.cameras.base.CountsEvents`.
    """

    def __init__(
        self,
        name: str,
        *,
        gige: bool,
        buffers: int,
        witnesses: Reconciled | None = None,
        pulses: PulseCounter | None = None,
    ) -> None:
        self.events = Counter[CameraEvent]()
        self._name = name
        self._gige = gige
        self._buffers = buffers
        self._witnesses = witnesses
        self._pulses = pulses
        self._missing = 0
        self._untaken = 0
        self._last_id: int | None = None
        self._counting = False
        self._warned = False
        self._incomplete = 0  # since the former frame
        self._between = 0  # frames since the last id whose own are not known
        self._came = 0  # frames out of a buffer, of any kind
        self._underruns = 0
        self._owed = 0  # underruns whose gap in the ids is to come, and will tell them
        self._early = 0  # those that were told before their gap
        self._early_at = 0

    @property
    def untold(self) -> bool:
        """True while `tell` has parts."""
        return self._missing > 0 or self._untaken > 0

    def tell(self) -> str | None:
        """What became of the next part that brought no frame; None once all of them are told."""
        if self._missing:
            self._missing -= 1
            return "a frame lost"
        if self._untaken:
            self._untaken -= 1
            return "a trigger that the camera could not take"
        return None

    def missed(self, triggers: int) -> None:
        """So many triggers were missed and are parts: each is to be told."""
        self._untaken += triggers
        self.events[CameraEvent.OVERTRIGGER] += triggers

    def incomplete(self) -> None:
        """A frame came incomplete and is a part of its own; its id is not known."""
        self._came += 1
        self._incomplete += 1
        self._between += 1

    def repeated(self, frame_id: int | None) -> bool:
        """True for a frame that came already: its part has its verdict.

        A producer that always says the same id repeats nothing, so the ids must have counted on before.
        """
        if frame_id is None or frame_id != self._last_id or not self._counting:
            return False
        self._came += 1
        self.events[CameraEvent.REPEATED] += 1
        times = self.events[CameraEvent.REPEATED]
        if times.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ...: a fault that lasts must not fill the log
            log.warning("camera %s: frame %d came again, %d such so far", self._name, frame_id, times)
        return True

    def frame(self, frame_id: int | None, underruns: int, count: int | None = None) -> None:
        """A frame has come; what was lost before it is to be told.

        Args:
            frame_id: Its id, if it has one.
            underruns: Frames that found no buffer, as the producer counts them, read after this frame was taken.
            count: Pulses as the frame's chunk has them.
        """
        self._came += 1
        unbuffered = max(0, underruns - self._underruns)
        self._underruns = underruns
        self.events[CameraEvent.UNDERRUN] += unbuffered
        begins = frame_id is not None and self._last_id is None
        left_out = self._left_out(frame_id)
        if begins and self._came <= self._buffers:  # each frame so far found one, so those that did not come later
            left_out = 0
        missing = self._by_underruns(unbuffered) if left_out is None else self._by_ids(left_out, unbuffered)
        if frame_id is not None and self._came - self._early_at >= self._buffers:
            self._early = 0
        self._missing += missing
        if self._pulses is not None:
            self.missed(self._pulses.missed(count, 1 + missing + self._incomplete))
        self._incomplete = 0

    def _left_out(self, frame_id: int | None) -> int | None:
        """Ids of frames that never came, since the last one; None where the ids say nothing."""
        if frame_id is None:
            self._between += 1
            if self._pulses is not None:  # what was lost before this frame they tell, and no gap may tell it again
                self._last_id = None
            return None
        last, between = self._last_id, self._between
        self._last_id, self._between = frame_id, 0
        if last is not None:
            lost = frames_lost(last, frame_id, gige=self._gige)
            self._counting = lost is not None
            if lost is not None:
                return max(0, lost - between)
            if not self._warned:
                self._warned = True
                log.warning("camera %s: frame ids do not count on, so they can't show lost frames", self._name)
        if self._witnesses is not None:
            self._witnesses.ids_say_nothing()
        return None

    def _by_underruns(self, unbuffered: int) -> int:
        """Frames lost by the count of those that found no buffer, here where the ids say nothing."""
        if self._pulses is not None:
            return 0
        told = self._owed + unbuffered
        self._owed = 0
        if told:
            self._early += told
            self._early_at = self._came
        return told

    def _by_ids(self, left_out: int, unbuffered: int) -> int:
        """Frames lost by their ids, less those that are told already."""
        known = min(left_out, self._early)
        self._early -= known
        new = left_out - known
        self._owed = max(0, self._owed + unbuffered - new)
        if self._witnesses is not None:
            new = self._witnesses.left_out(new)
        self.events[CameraEvent.ID_GAP] += known + new
        return new
