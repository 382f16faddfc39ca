"""Frames from the camera process to the workers over ZeroMQ, with credits, so that the queue's bound is exact.

A worker says how many frames it takes and gives one credit back for each frame that it took up. The camera
process sends only against credit: high-water marks don't bound small messages, and a frame sent to a dead worker
would be lost without a word.

The credit of a camera process dies with it. Its successor greets every connection with an empty message
(ZMQ_PROBE_ROUTER), and the worker answers with all of its credit again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import zmq

from inspector.domain.frame import Frame, Pixels, new_pixels
from inspector.domain.verdict import Cause
from inspector.wire.messages import Credit, FrameHeader, WireError


class ZeromqSender:
    """The camera process's end; a `FrameSender`.

    Args:
        context: ZeroMQ context.
        endpoint: Bound here.

    Attributes:
        malformed: Messages from workers that could not be read.
        sent: Frames sent with their pixels in the message.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.PROBE_ROUTER, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)  # credits are the bound
        self._socket.bind(endpoint)
        self._credit: dict[int, int] = {}
        self._granted: dict[int, int] = {}
        self.malformed = 0
        self.sent = 0

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller: readable when a worker gave credit."""
        return self._socket

    def take_credits(self) -> None:
        """Reads what the workers said; never waits."""
        while True:
            try:
                identity, *parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                credit = Credit.decode(parts[-1] if parts else b"")
                if identity != worker_identity(credit.worker):
                    raise WireError(f"credit of worker {credit.worker} from {identity!r}")
            except WireError:
                self.malformed += 1
                continue
            self._take(credit)

    def _take(self, credit: Credit) -> None:
        if credit.worker in self._credit:
            if not credit.opening:  # an opening that comes twice grants nothing more
                self._credit[credit.worker] += credit.frames
        elif credit.opening and credit.worker > max(self._credit, default=0):  # it takes the place of the former
            self._credit = {credit.worker: credit.frames}
            self._granted = {credit.worker: credit.frames}
            if not credit.beside:
                self._forget_former(credit.worker)

    def _forget_former(self, worker: int) -> None:
        """For transports that keep something for the workers before this one, which are gone."""

    @property
    def waiting(self) -> int:
        """Frames sent that the worker has not taken up yet."""
        return sum(self._granted[worker] - credit for worker, credit in self._credit.items())

    def choose(self) -> int | Cause:
        """The worker that the next frame goes to, or why it goes nowhere."""
        if not self._credit:
            return Cause.WORKER_NOT_READY
        worker, credit = max(self._credit.items(), key=lambda item: item[1])
        return worker if credit > 0 else Cause.QUEUE_FULL

    def counts(self) -> dict[str, float]:
        """What the gate's metrics show of the transport, by name."""
        return {"malformed": self.malformed, "frames_by_message": self.sent}

    def allocate(self, shape: tuple[int, ...]) -> Pixels:
        """Memory for a frame: uint8, C-contiguous, of this shape, not initialised."""
        return new_pixels(shape)

    def send(self, worker: int, header: FrameHeader, pixels: Pixels) -> Cause | None:
        """Hands a frame to the transport without a copy and without waiting.

        Args:
            worker: What `choose` gave.
            header: Goes before the pixels.
            pixels: C-contiguous; must not be written to any more.

        Returns:
            None, or why the frame could not be sent.
        """
        refusal = self._deliver(worker, header.encode(), pixels.data.cast("B"))
        self.sent += refusal is None
        return refusal

    def _deliver(self, worker: int, *parts: bytes | memoryview) -> Cause | None:
        """A message to a worker, against its credit."""
        try:
            self._socket.send_multipart([worker_identity(worker), *parts], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return Cause.QUEUE_FULL
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._credit.pop(worker, None)
            self._granted.pop(worker, None)
            return Cause.WORKER_LOST
        self._credit[worker] -= 1
        return None

    def close(self) -> None:
        """Closes the socket. Idempotent."""
        self._socket.close()


@dataclass(frozen=True)
class ReceivedFrame:
    """A frame in the worker's hands, until it is released.

    Attributes:
        header: As sent.
        pixels: On the transport's memory, uint8, (H, W) or (H, W, 3), or a `Mosaic`; None if there are none to be
            had.
        problem: Why there are none.
    """

    header: FrameHeader
    pixels: Frame | None
    problem: Cause = Cause.FRAME_CORRUPT

    def release(self) -> bool:
        """The worker has done with the pixels: it must not read them any more. To be called for every frame, once.

        Returns:
            True if the pixels were those that were sent until now; otherwise what was made of them is void.
        """
        return True


class ZeromqReceiver:
    """The worker's end; a `FrameReceiver`.

    Args:
        context: ZeroMQ context.
        endpoint: Of the camera process.
        worker: This worker's incarnation, 1 and up.

    Attributes:
        malformed: Messages without a readable header: they name no part, so the gate's deadline settles it.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, worker: int) -> None:
        self._worker = worker
        self._frames = 0
        self._beside = False
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, worker_identity(worker))
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)  # credits are the bound
        self._socket.connect(endpoint)
        self.malformed = 0

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller: readable when a frame waits."""
        return self._socket

    @property
    def memory(self) -> Pixels | None:
        """As `FrameReceiver.memory`: none, each message has its own."""
        return None

    def grant(self, frames: int, *, beside: bool = False) -> None:
        """As `FrameReceiver.grant`."""
        self._frames, self._beside = frames, beside
        self._give(frames, opening=True)

    def receive(self) -> ReceivedFrame | None:
        """The next frame that waits, its credit given back; None if none waits or it has no readable header."""
        try:
            parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        if len(parts) == 1 and len(parts[0]) == 0:  # a camera process greets, perhaps a new one
            if self._frames:
                self._give(self._frames, opening=True)
            return None
        self._give(1)
        try:
            return self._unpack([part.buffer for part in parts])
        except WireError:
            self.malformed += 1
            return None

    def _unpack(self, parts: list[memoryview]) -> ReceivedFrame:
        """The frame in a message; raises WireError."""
        header = FrameHeader.decode(parts[0])
        buffer = parts[1] if len(parts) == 2 else memoryview(b"")
        if buffer.nbytes != header.pixel_bytes or header.pixel_bytes == 0:
            return ReceivedFrame(header, None)
        return ReceivedFrame(header, header.frame(np.frombuffer(buffer, np.uint8)))

    def close(self) -> None:
        """Closes the socket. Idempotent."""
        self._socket.close()

    def _give(self, frames: int, opening: bool = False) -> None:
        self._socket.send(Credit(self._worker, frames, opening, self._beside).encode(), zmq.NOBLOCK)


def worker_identity(worker: int) -> bytes:
    """ZeroMQ identity of a worker."""
    return b"worker-%d" % worker
