"""The frames of an open GenICam device: copied, numbered, and with nothing lost in silence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from inspector.cameras.genicam_frames import Layout, ShortBuffer, UnsupportedFormat, copy_pixels
from inspector.cameras.genicam_losses import Losses
from inspector.domain.errors import CameraError
from inspector.domain.frame import Allocate, Capture, Frame, new_pixels
from inspector.domain.verdict import Cause

if TYPE_CHECKING:
    from inspector.cameras.genicam_guard import FeatureGuard
    from inspector.cameras.genicam_missed import MissedTriggerCounter
    from inspector.cameras.genicam_pulses import PulseCounter

log = logging.getLogger("inspector")

#: Pause between two looks for a frame. harvesters' own wait holds the interpreter and trusts the wall clock.
_LOOK_S = 0.0005
#: The shortest wait that harvesters knows; 0 would wait for ever.
_FETCH_S = 0.001


class FrameStream:
    """The frames of an open device, with nothing lost in silence.

    Args:
        acquirer: harvesters' ImageAcquirer.
        driver: The module `inspector.cameras.genicam_driver`.
        name: For messages.
        gige: True for GigE Vision: its frame ids skip 0.
        buffers: Frames that can wait to be taken.
        silence_ns: After so long without a frame the device is asked whether it is there.
        free_running: Silence alone means that it is lost.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.
        guard: Knows what the camera was set to.
        guard_ns: So often it is asked; None never.
        missed: Counts the triggers that the camera could not take.
        pulses: Finds them by the pulses that came before a frame.
        allocate: Memory for the frames.
        raw_bayer: Leave frames of Bayer formats as they are.

    Attributes:
        name: Model and serial number of the camera.
        events: As `inspector.cameras.base.CountsEvents`.
    """

    def __init__(
        self,
        acquirer: Any,
        driver: Any,
        *,
        name: str,
        gige: bool,
        buffers: int,
        silence_ns: int,
        free_running: bool,
        clock_ns: Callable[[], int],
        sleep: Callable[[float], None],
        guard: FeatureGuard | None = None,
        guard_ns: int | None = None,
        missed: MissedTriggerCounter | None = None,
        pulses: PulseCounter | None = None,
        allocate: Allocate = new_pixels,
        raw_bayer: bool = False,
    ) -> None:
        self._acquirer = acquirer
        self._driver = driver
        self.name = name
        self._silence_ns = silence_ns
        self._free_running = free_running
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._guard = guard
        self._guard_ns = guard_ns
        self._missed = missed
        self._pulses = pulses
        self._allocate = allocate
        self._raw_bayer = raw_bayer
        self._guarded_ns = 0
        self._incomplete = driver.IncompleteFrames()
        self._acquirer.add_callback(acquirer.Events.INCOMPLETE_BUFFER, self._incomplete)
        witnesses = None if missed is None else missed.reconciled
        self._losses = Losses(name, gige=gige, buffers=buffers, witnesses=witnesses, pulses=pulses)
        self.events = self._losses.events
        self._held: Capture | None = None
        self._lost: str | None = None
        self._heard_ns = 0
        self._warned: set[str] = set()

    def start(self) -> None:
        """Starts the acquisition.

        Raises:
            CameraError: The device refuses.
        """
        try:
            if self._missed is not None:
                self._missed.start()
            self._acquirer.start()
            if self._missed is not None:
                self._missed.running()
        except self._driver.GENICAM_ERRORS as error:
            raise CameraError(f"camera {self.name} does not start: {error}") from error
        self._heard_ns = self._guarded_ns = self._clock_ns()

    def capture(self, timeout_s: float) -> Capture | None:
        """As `Camera.capture`. A loss is a part first: what was under the camera then, nobody has seen."""
        if self._lost is None:
            try:
                return self._capture(timeout_s)
            except CameraError as error:
                self._lost = str(error)
            now_ns = self._clock_ns()
            return Capture(None, now_ns, now_ns, f"the loss of camera {self.name}", Cause.CAMERA_LOST)
        part = self._known()  # the device may be lost with a frame in hand
        if part is None:
            raise CameraError(self._lost)
        return part

    def _capture(self, timeout_s: float) -> Capture | None:
        begun_ns = self._clock_ns()
        if self._held is None and not self._losses.untold:
            try:
                self._look_at_settings()
                self._look_for_missed()
                if not self._losses.untold:
                    self._fetch(timeout_s)
            except self._driver.GENICAM_ERRORS as error:
                raise CameraError(f"camera {self.name} is lost: {error}") from error
        part = self._known()
        if part is None:
            self._ask_if_silent(begun_ns)
        return part

    def _known(self) -> Capture | None:
        """The next part that is known of: first those that brought no frame, then the frame that showed it."""
        lost = self._losses.tell()
        if lost is None:
            part, self._held = self._held, None
            return part
        if self._held is None:
            now_ns = self._clock_ns()
            return Capture(None, now_ns, now_ns, lost, Cause.FRAME_MISSING)
        at_ns = self._held.triggered_ns
        return Capture(None, at_ns, at_ns, f"{lost} before {self._held.source}", Cause.FRAME_MISSING)

    def _look_at_settings(self) -> None:
        if self._guard is None or self._guard_ns is None or self._clock_ns() - self._guarded_ns < self._guard_ns:
            return
        self._guarded_ns = self._clock_ns()
        difference = self._guard.difference()
        if difference is not None:
            raise CameraError(f"camera {self.name} lost its settings: {difference}; it will be set up again")

    def _look_for_missed(self) -> None:
        """Reads the counter of missed triggers; where there is a choice, while no frame waits."""
        if self._missed is None:
            return
        waiting = self._info(lambda: self._acquirer.data_streams[0].num_awaiting_delivery, 1)
        if self._missed.due(idle=not waiting):
            self._losses.missed(self._missed.look())

    def _fetch(self, timeout_s: float) -> None:
        """Takes the next frame in hand, complete or not; what was lost before it stands in the book then."""
        fetch_s = self._await_delivery(timeout_s)
        seen = self._incomplete.count
        buffer = self._acquirer.try_fetch(timeout=fetch_s, is_raw=True)
        now_ns = self._clock_ns()
        if buffer is None:
            if self._incomplete.count == seen:
                return
            self._heard_ns = now_ns
            self._losses.incomplete()
            self._held = Capture(None, now_ns, now_ns, "an incomplete frame", Cause.FRAME_INCOMPLETE)
            return
        self._heard_ns = now_ns
        try:
            self._held = self._take(buffer, now_ns)
        finally:
            buffer.parent.queue_buffer(buffer)

    def _numbers(self, buffer: Any) -> tuple[int | None, int | None, int | None]:
        """Frame id and device time in nanoseconds, from the buffer's information, else its chunks; count of pulses."""
        frame_id = self._info(lambda: buffer.frame_id, None)
        device_ns = self._info(lambda: buffer.timestamp_ns, None)
        names = [] if self._pulses is None else [self._pulses.chunk]
        names += ["ChunkFrameID"] if frame_id is None else []
        names += ["ChunkTimestamp"] if device_ns is None else []
        if not names:
            return frame_id, device_ns, None
        chunks = self._driver.read_chunks(self._acquirer, buffer, names)
        count = None if self._pulses is None else chunks.get(self._pulses.chunk)
        return chunks.get("ChunkFrameID", frame_id), chunks.get("ChunkTimestamp", device_ns), count

    def _await_delivery(self, timeout_s: float) -> float:
        """Waits until a frame is there or the time is over.

        A producer that counts wrongly costs a little delay: the fetch that follows finds the frame all the same.

        Returns:
            Seconds that the fetch may wait: hardly any, or all of them if the producer does not count.
        """
        until_ns = self._clock_ns() + round((timeout_s - _FETCH_S) * 1e9)
        stream = self._acquirer.data_streams[0]
        while self._clock_ns() < until_ns:
            try:
                if stream.num_awaiting_delivery:
                    break
            except self._driver.NOT_KNOWN:
                return max(timeout_s, _FETCH_S)
            self._sleep(_LOOK_S)
        return _FETCH_S

    def _take(self, buffer: Any, arrived_ns: int) -> Capture | None:
        frame_id, device_ns, count = self._numbers(buffer)
        if self._losses.repeated(frame_id):
            return None
        source = "frame" if frame_id is None else f"frame {frame_id}"
        if device_ns is not None:
            source += f" at {device_ns} ns"
        underruns = self._info(lambda: self._acquirer.data_streams[0].num_underrun, 0)
        self._losses.frame(frame_id, underruns, count)
        problem = None
        pixels: Frame | None = None
        try:
            pixels = self._pixels(buffer)
        except ShortBuffer as error:
            problem = Cause.FRAME_INCOMPLETE
            self._warn_once(f"camera {self.name}: {error}")
        except (UnsupportedFormat, *self._driver.GENICAM_ERRORS) as error:
            problem = Cause.FRAME_CORRUPT
            self._warn_once(f"camera {self.name}: {error}")
        return Capture(pixels, arrived_ns, self._clock_ns(), source, problem)

    def _pixels(self, buffer: Any) -> Frame:
        height_px = buffer.height
        layout = Layout(
            buffer.pixel_format,
            buffer.width,
            # A line-scan camera may end a frame early: the lines after are those of an older frame.
            min(height_px, self._info(lambda: buffer.delivered_image_height, 0) or height_px),
            self._info(lambda: buffer.padding_x, 0),
            self._info(lambda: buffer.image_offset, 0),
        )
        data = buffer.raw_buffer
        filled_bytes = self._info(lambda: buffer.size_filled, 0) or len(data)
        return copy_pixels(data, layout, filled_bytes, self._allocate, raw_bayer=self._raw_bayer)

    def _info(self, read: Callable[[], Any], otherwise: Any) -> Any:
        """An optional piece of information about a buffer."""
        try:
            return read()
        except self._driver.NOT_KNOWN:
            return otherwise

    def _ask_if_silent(self, looked_ns: int) -> None:
        """After a silence: is the device lost? A triggered one may rest for hours.

        Args:
            looked_ns: When the last look for a frame began. Where this process stood still, the frames of that time
                have not been looked for yet: a silence counts from there.
        """
        if looked_ns - self._heard_ns < self._silence_ns:
            return
        silent_ns = self._clock_ns() - self._heard_ns
        if self._free_running:
            raise CameraError(f"camera {self.name} is lost: no frame for {silent_ns / 1e9:.1f} s")
        self._driver.ask_device(self._acquirer, self.name)
        self._heard_ns = self._clock_ns()

    def _warn_once(self, message: str) -> None:
        if message not in self._warned and len(self._warned) < 16:
            self._warned.add(message)
            log.warning("%s", message)
