"""A line's place at a worker: its frames come in here, and their results go out."""

from __future__ import annotations

import math
from collections.abc import Callable

import zmq

from inspector.domain.errors import PartError
from inspector.domain.frame import Frame
from inspector.domain.verdict import Cause
from inspector.engines.base import Scored
from inspector.recipe.geometry import check_frame
from inspector.recipe.manifest import Geometry
from inspector.roles.job import Job
from inspector.roles.pipeline import Taken
from inspector.roles.taps import Copied, Taps
from inspector.wire.frames import ReceivedFrame
from inspector.wire.gate_socket import GateOutbox
from inspector.wire.messages import FrameHeader, Result, State
from inspector.wire.transport import FrameReceiver

#: Of a frame that was not judged.
_NOTHING = Scored(math.nan, copied_ns=0, computed_ns=0)


class Seat:
    """Takes frames that can be judged and answers every frame once.

    Args:
        job: The line's orders.
        geometry: What frames must look like.
        receiver: Where frames come from.
        gate: Where results go.
        clock_ns: Monotonic clock.
        taps: Take copies of frames for processes beside the line; None takes none.
    """

    def __init__(
        self,
        job: Job,
        geometry: Geometry,
        receiver: FrameReceiver,
        gate: GateOutbox,
        clock_ns: Callable[[], int],
        taps: Taps | None = None,
    ) -> None:
        self._job = job
        self._recipe = bytes.fromhex(job.recipe_hash)
        self._geometry = geometry
        self._receiver = receiver
        self._gate = gate
        self._clock_ns = clock_ns
        self._taps = taps
        self._serving = False
        self._computed = 0

    @property
    def name(self) -> str:
        """The line's name."""
        return self._job.config.station

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller: readable when a frame waits."""
        return self._receiver.socket

    def serve(self, *, armed: bool) -> None:
        """Lets frames come, once: at the start, or when armed in the place of a worker that is still at work."""
        if self._serving or (self._job.standby and not armed):
            return
        self._receiver.grant(self._job.config.line.queue_frames, beside=self._job.standby)
        self._serving = True

    def take(self) -> Taken | None:
        """The next frame that waits and can be judged; None if none waits. Those that can't be are answered at once."""
        while (frame := self._receiver.receive()) is not None:
            received_ns = self._clock_ns()
            try:
                return Taken(frame, self._usable(frame, received_ns), received_ns, self)
            except PartError as error:
                kept = self._copy(frame, None)
                if not frame.release():
                    kept = None
                self._refuse(frame.header, error.cause, received_ns, kept)
        return None

    def _usable(self, frame: ReceivedFrame, now_ns: int) -> Frame:
        if frame.pixels is None:
            raise PartError(frame.problem, "the frame came without its pixels")
        if now_ns >= frame.header.deadline_ns:
            raise PartError(Cause.EXPIRED_IN_QUEUE, "the deadline is over")
        check_frame(frame.pixels, self._geometry)
        return frame.pixels

    def answer(self, frame: ReceivedFrame, received_ns: int, scored: Scored | None) -> None:
        """Releases a frame and sends its result.

        Args:
            frame: What `take` gave.
            received_ns: When.
            scored: What the network says of it; None if it could not say anything.
        """
        header = frame.header
        kept = self._copy(frame, scored)
        if not frame.release():  # the score is that of pixels written over while they were read
            self._refuse(header, Cause.FRAME_OVERWRITTEN, received_ns)
            return
        if scored is None:
            self._refuse(header, Cause.ENGINE_ERROR, received_ns, kept)
            return
        self._send(header, received_ns, scored)
        self._computed += 1
        self._keep(header, kept)

    def _refuse(self, header: FrameHeader, cause: Cause, received_ns: int, kept: Copied | None = None) -> None:
        self._send(header, received_ns, _NOTHING, cause)
        self._keep(header, kept)

    def _send(self, header: FrameHeader, received_ns: int, scored: Scored, problem: Cause | None = None) -> None:
        self._gate.send(
            Result(
                trigger=header.trigger,
                worker=self._job.incarnation,
                score=scored.score,
                problem=problem,
                captured_ns=header.captured_ns,
                received_ns=received_ns,
                copied_ns=scored.copied_ns,
                computed_ns=scored.computed_ns,
                recipe=self._recipe,
            )
        )

    def _copy(self, frame: ReceivedFrame, scored: Scored | None) -> Copied | None:
        """What processes beside the line get of a frame that is about to be released."""
        if self._taps is None or frame.pixels is None:
            return None
        return self._taps.copy(frame.header, frame.pixels, scored)

    def _keep(self, header: FrameHeader, kept: Copied | None) -> None:
        if self._taps is not None and kept is not None:
            self._taps.send(header, kept)

    def report(self, state: str, progress: int, golden_age_s: float | None) -> None:
        """Tells the line's gate how the worker stands."""
        self._gate.send(
            State(
                "worker",
                self._job.incarnation,
                state,
                progress=progress,
                details={
                    "computed": self._computed,
                    "malformed": self._receiver.malformed,
                    **({"golden_age_s": golden_age_s} if golden_age_s is not None else {}),
                    **(self._taps.counts() if self._taps is not None else {}),
                },
            )
        )

    def close(self) -> None:
        """Closes its sockets. Idempotent."""
        if self._taps is not None:
            self._taps.close()
        self._receiver.close()
        self._gate.close()
