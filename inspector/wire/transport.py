"""How frames go from the camera process to the workers, as the roles see it: whichever way it is, the same calls."""

from __future__ import annotations

from typing import Protocol

import zmq

from inspector.domain.frame import Pixels
from inspector.domain.verdict import Cause
from inspector.wire.frames import ReceivedFrame, ZeromqReceiver, ZeromqSender
from inspector.wire.messages import FrameHeader
from inspector.wire.ring import Ring, RingHandle
from inspector.wire.ring_frames import RingReceiver, RingSender


class FrameSender(Protocol):
    """The camera process's end. Nothing of it waits."""

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller: readable when a worker gave credit."""

    @property
    def waiting(self) -> int:
        """Frames sent that the worker has not taken up yet."""

    def counts(self) -> dict[str, float]:
        """What the gate's metrics show of the transport, by name; at least "malformed"."""

    def take_credits(self) -> None:
        """Reads what the workers said."""

    def choose(self) -> int | Cause:
        """The worker that the next frame goes to, or why it goes nowhere."""

    def allocate(self, shape: tuple[int, ...]) -> Pixels:
        """Memory for a frame, from which it is sent without a copy where the transport can: uint8, C-contiguous."""

    def send(self, worker: int, header: FrameHeader, pixels: Pixels) -> Cause | None:
        """Hands a frame over.

        Args:
            worker: What `choose` gave.
            header: Goes before the pixels.
            pixels: C-contiguous, from `allocate` or elsewhere; must not be written to any more.

        Returns:
            None, or why the frame could not be sent.
        """

    def close(self) -> None:
        """Closes the socket. Idempotent."""


class FrameReceiver(Protocol):
    """The worker's end. Nothing of it waits.

    Attributes:
        malformed: Messages without a readable header: they name no part, so the gate's deadline settles it.
    """

    malformed: int

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller: readable when a frame waits."""

    @property
    def memory(self) -> Pixels | None:
        """The memory that frames lie in, as long as this process lives; None if there is none that could be pinned."""

    def grant(self, frames: int, *, beside: bool = False) -> None:
        """Lets the camera process, and each that comes after it, have so many frames on their way. Once.

        Args:
            frames: The bound of the queue.
            beside: The worker before this one is still at work on the frames that it has.
        """

    def receive(self) -> ReceivedFrame | None:
        """The next frame that waits, its credit given back, to be released by the caller; None if there is none."""

    def close(self) -> None:
        """Closes the socket. Idempotent."""


def open_sender(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, ring: RingHandle | None, lease_ns: int
) -> FrameSender:
    """The camera process's end of the transport.

    Args:
        context: ZeroMQ context.
        endpoint: Bound here.
        ring: Shared memory for the pixels; None sends them as messages.
        lease_ns: Longest time that a live worker takes from the frame's leaving to its release.
    """
    if ring is None:
        return ZeromqSender(context, endpoint)
    return RingSender(context, endpoint, Ring(ring), lease_ns)


def open_receiver(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, worker: int, ring: RingHandle | None
) -> FrameReceiver:
    """The worker's end of the transport.

    Args:
        context: ZeroMQ context.
        endpoint: Of the camera process.
        worker: The worker's incarnation, 1 and up.
        ring: As the camera process has it.
    """
    if ring is None:
        return ZeromqReceiver(context, endpoint, worker)
    return RingReceiver(context, endpoint, worker, Ring(ring))
